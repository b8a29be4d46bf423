"""Damage model files in thousands of ways; each must give a graph or one clear error.

    python tests/fuzz/run.py                        all models in ELLC_TEST_DATA
    python tests/fuzz/run.py --quick [MODEL ...]    a few hundred cases, as `make test` does
    python tests/fuzz/run.py --only mnist --keep DIR

A small file (under 100 kB) is truncated at every 64th byte, and changed at random 2,000 times. A
larger file is truncated at 200 positions. Each result is read in a separate process, with 2 s of
processor time and 512 MB of additional memory. Only `EllcError` may be raised, and no warnings.
Failures are listed, and their files written to the folder `--keep`; the exit code is then 1.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # a forked process does not have threads
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from damage import Damaged, cut_evenly, cut_every, mutants
from trial import Verdict, try_all

from ellc.ir.errors import EllcError
from ellc.ir.verify import verify
from ellc.models import read_model

SMALL_BYTES = 100_000
SUFFIXES = (".onnx", ".tflite")


def outcome(path: Path) -> str:
    """`graph` if the file gives a valid graph, else the code of the error that it gives."""
    try:
        verify(read_model(path))
    except EllcError as error:
        if not error.message or not error.report().startswith("error[E"):
            raise AssertionError(f"an error without a message: {error.report()!r}") from error
        return error.code
    return "graph"


def cases(data: bytes, *, seed: int, quick: bool) -> Iterator[Damaged]:
    """The damaged versions of a file."""
    small = len(data) < SMALL_BYTES
    if quick:
        yield from cut_evenly(data, 25 if small else 8)
        yield from mutants(data, seed, 75 if small else 6)
    elif small:
        yield from cut_every(data, 64)
        yield from mutants(data, seed, 2000)
    else:
        yield from cut_evenly(data, 200)


def models(given: list[Path], only: str) -> list[Path]:
    """The given models, or all models in the data folder."""
    folder = Path(os.environ.get("ELLC_TEST_DATA", "")) / "models"
    found = given or sorted(p for p in folder.glob("*") if p.suffix in SUFFIXES)
    if not found:
        sys.exit("no models: name some, or set ELLC_TEST_DATA")
    return [path for path in found if only in path.name]


def fuzz(path: Path, given: argparse.Namespace) -> list[Verdict]:
    """Test all damaged versions of a model, and print a line; returns the failures."""
    data = path.read_bytes()
    whole = outcome(path)  # also imports all modules for reading, before the forks
    if whole != "graph":
        print(f"{path.name}: {whole} even before it is damaged", flush=True)
        return [Verdict("whole", whole, True, 0.0, 0)]
    start = time.monotonic()
    damaged = {case.label: case.data for case in cases(data, seed=given.seed, quick=given.quick)}
    with tempfile.TemporaryDirectory(prefix="ellc-fuzz-") as name:
        todo = (Damaged(label, bytes_) for label, bytes_ in damaged.items())
        verdicts = list(try_all(todo, path.suffix, outcome, Path(name), given.jobs))
    wrong = [verdict for verdict in verdicts if verdict.failed]
    codes = Counter(verdict.said for verdict in verdicts if not verdict.failed)
    counted = ", ".join(f"{said} {count}" for said, count in sorted(codes.items()))
    print(
        f"{path.name}: {len(verdicts)} cases in {time.monotonic() - start:.0f} s: {counted}, "
        f"failed {len(wrong)}; at most {max(v.cpu_s for v in verdicts):.2f} s and "
        f"{max(v.memory_bytes for v in verdicts) >> 20} MB",
        flush=True,
    )
    for number, verdict in enumerate(wrong):
        print(f"  {verdict.label}: {verdict.said}", flush=True)
        if given.keep:
            given.keep.mkdir(parents=True, exist_ok=True)
            kept = given.keep / f"{path.stem}-{number}{path.suffix}"
            kept.write_bytes(damaged[verdict.label])
    return wrong


def main() -> None:
    """Parse the arguments, test, and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--only", default="", help="models whose name contains this")
    parser.add_argument("--quick", action="store_true", help="a hundred cases for each small model")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--keep", type=Path, help="folder for the files that failed")
    given = parser.parse_args()
    wrong = [verdict for path in models(given.models, given.only) for verdict in fuzz(path, given)]
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()

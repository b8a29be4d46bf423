"""Measure compile times: a row per network with seconds per stage and bytes of code.

    python tests/benchmarks/compile_times.py                           chains of dense layers
    python tests/benchmarks/compile_times.py --layers 100 1000 10000   of these lengths
    python tests/benchmarks/compile_times.py FILE ... --target host    model files
    python tests/benchmarks/compile_times.py --update-docs             write the page of benchmarks

Seconds are processor time of this process and of the compilers that it starts. (On an idle machine
with two cores, the stage "code" is over in half of this time.) The layers of a chain have the same
shape and different constants, so the times should grow in proportion to the number of layers.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

from benchmark_page import markdown_table, write_table  # noqa: E402

from ellc.driver import CompileOptions, compile_model  # noqa: E402
from ellc.ir.builder import GraphBuilder  # noqa: E402
from ellc.ir.graph import Graph  # noqa: E402
from ellc.ir.ops.conv import Conv2D  # noqa: E402
from ellc.ir.ops.pointwise import Add, Relu  # noqa: E402
from ellc.ir.types import DType, TensorType  # noqa: E402
from ellc.progress import Progress  # noqa: E402

CHANNELS = 16
STAGES = {
    "reading the model": "read",
    "passes": "passes",
    "planning": "plan",
    "code": "code",
    "package": "package",
}


def chain(layers: int) -> Graph:
    """A chain of dense layers with bias and ReLU."""
    rng = np.random.default_rng(0)
    b = GraphBuilder(f"dense_{layers}")
    value = b.input("x", TensorType(DType.F32, (1, 1, 1, CHANNELS)))
    for _ in range(layers):
        weights = rng.normal(size=(CHANNELS, 1, 1, CHANNELS)) / CHANNELS
        bias = rng.normal(size=CHANNELS)
        value = b.add(Conv2D(), value, b.constant(weights.astype(np.float32)))
        value = b.add(Relu(), b.add(Add(), value, b.constant(bias.astype(np.float32))))
    b.output("y", value)
    return b.build()


class _Stages:
    """Measures the processor seconds of each stage of the compiler."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._stage, self._since = "", _processor_s()

    def progress(self) -> Progress:
        def enter(what: str, done: int, total: int) -> None:
            if what in STAGES:
                self.enter(what)

        return enter

    def enter(self, stage: str) -> None:
        now = _processor_s()
        if self._stage:
            self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + now - self._since
        self._stage, self._since = stage, now


def _processor_s() -> float:
    """Processor seconds of this process and of child processes that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def row(source: Graph | Path, target: str) -> list[str]:
    """The cells of a row of the table."""
    stages = _Stages()
    with tempfile.TemporaryDirectory() as folder:
        options = CompileOptions(emit=("obj",))
        compiled = compile_model(source, target, options, Path(folder) / "o", stages.progress())
    stages.enter("")
    seconds = [stages.seconds.get(stage, 0.0) for stage in STAGES]
    numbers = [f"{s:.2f}" for s in (*seconds, sum(seconds))]
    return [compiled.name, *numbers, f"{compiled.costs.flash_bytes:,}"]


def _sources(files: Sequence[Path], layers: Sequence[int]) -> Iterator[Graph | Path]:
    yield from files
    if not files:
        yield from map(chain, layers)


def main() -> None:
    """Run the program that the module docstring describes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--layers", nargs="*", type=int, default=[100, 1000])
    parser.add_argument("--target", default="pi3_64")
    parser.add_argument("--update-docs", action="store_true", help="write the page of benchmarks")
    given = parser.parse_args()
    header = ["network", *(f"{name} s" for name in STAGES.values()), "all s", "flash bytes"]
    rows = []
    for source in _sources(given.files, given.layers):
        rows.append(row(source, given.target))
        print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
    table = markdown_table(header, rows)
    print(table)
    if given.update_docs:
        kind = "models" if given.files else "chains"
        write_table(f"compile times {kind} {given.target}", f"By `{_command(given)}`.\n\n{table}")


def _command(given: argparse.Namespace) -> str:
    what = [file.name for file in given.files] or ["--layers", *map(str, given.layers)]
    return " ".join(["python tests/benchmarks/compile_times.py", *what, "--target", given.target])


if __name__ == "__main__":
    main()

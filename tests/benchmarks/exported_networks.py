"""Compile networks that PyTorch and Keras exported, run them, and compare the results.

    python tests/benchmarks/exported_networks.py FOLDER [--only TEXT]

FOLDER contains the files that `torch_networks.py` and `keras_networks.py` wrote. Every file is
imported and compiled. For each pattern of uninitialised memory, an instance in an arena with this
pattern is called with all samples, twice. This finds values that are read before they are written,
or kept from an earlier call. Results are compared with those of the framework. Networks with 8-bit
weights and float activations (dynamic range) are compared with ellc's reference, since TensorFlow
rounds the activations. The exit code is 1 if any file fails.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from junk_memory import JUNK, JunkInstance  # noqa: E402
from real_models import Arrays, RealModel, disagreement  # noqa: E402

from ellc.driver import CompileOptions, compile_model  # noqa: E402
from ellc.execute import open_library  # noqa: E402
from ellc.ir.errors import EllcError  # noqa: E402
from ellc.ir.interp import evaluate  # noqa: E402


@dataclass(frozen=True)
class Verdict:
    """The result for a file. `said` is an error, or describes calls that disagree; else empty."""

    said: str
    seconds: float = 0.0
    library_bytes: int = 0


def expected(model: RealModel) -> Iterator[tuple[Arrays, Arrays]]:
    """Inputs and expected outputs of compiled code, sample by sample."""
    is_hybrid = model.path.name.endswith(".dynamic.tflite")
    for inputs, stored in model.samples():
        yield inputs, evaluate(model.graph(), inputs).outputs if is_hybrid else stored


def check(model: RealModel, folder: Path) -> Verdict:
    """Compile a model for this machine and compare every call."""
    start = time.perf_counter()
    try:
        options = CompileOptions(emit=("so",), threads=1, name="model")
        made = compile_model(model.path, "host", options, folder)
    except EllcError as error:
        return Verdict(error.report())
    assert made.library is not None
    seconds = time.perf_counter() - start
    library = open_library(made.library)
    samples = list(expected(model))
    said: list[str] = []
    for pattern in JUNK:
        instance = JunkInstance(library, pattern)
        for number, (inputs, want) in enumerate([*samples, samples[0]]):
            with np.errstate(invalid="ignore", over="ignore"):  # infinities are subtracted
                wrong = disagreement(model, instance.run(inputs), want)
            if wrong:
                said.append(f"junk {pattern.name}, call {number}: {wrong}")
    return Verdict("\n".join(said[:3]), seconds, made.library.stat().st_size)


def main() -> int:
    """Run the program that the module docstring describes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="", help="files whose name holds this text")
    asked = parser.parse_args()
    files = sorted(p.with_suffix("") for p in asked.folder.glob("*.npz") if asked.only in p.name)
    failed = 0
    for path in files:
        with tempfile.TemporaryDirectory(prefix="ellc-exported-") as folder:
            verdict = check(RealModel(path), Path(folder) / "out")
        failed += bool(verdict.said)
        result = verdict.said.replace("\n", "\n    ") or "right"
        print(f"{path.name:<44} {verdict.seconds:5.1f} s {verdict.library_bytes:>9} B  {result}")
    print(f"{len(files) - failed} of {len(files)} files right")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

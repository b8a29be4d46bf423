"""Measure the cost of the steps of recurrent networks: seconds to compile, and bytes in flash.

    python tests/benchmarks/recurrent_sizes.py [FILE ...] [--steps 10 200] [--target imxrt1050]

Prints a line for each of ONNX's RNN, GRU and LSTM and each number of steps, then a line for each
model file, such as one with Keras layers that TFLite writes as `WHILE`. Flash is the size of code
and constants in the object file.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from onnx_models import floats, model, node, read  # noqa: E402

from ellc.driver import CompileOptions, compile_model  # noqa: E402
from ellc.ir.graph import Graph  # noqa: E402

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
INPUTS, HIDDEN = 8, 16


def layer(operator: str, steps: int) -> Graph:
    """A recurrent layer of ONNX that returns the hidden state of every step."""
    rows = GATES[operator] * HIDDEN
    fixed = {"w": floats(1, rows, INPUTS, seed=1) / 4, "r": floats(1, rows, HIDDEN, seed=2) / 4}
    made = node(operator, ["x", "w", "r"], ["y"], hidden_size=HIDDEN)
    return read(model([made], {"x": floats(steps, 1, INPUTS)}, ["y"], fixed))


def flash_bytes(source: Graph | Path, target: str) -> int:
    """The bytes of code and constants of a compiled network."""
    with tempfile.TemporaryDirectory() as folder:
        artifact = compile_model(source, target, CompileOptions(emit=("obj",)), Path(folder) / "o")
        assert artifact.costs.flash_bytes is not None
        return artifact.costs.flash_bytes


def _sources(files: list[Path], steps: list[int]) -> Iterator[tuple[str, Graph | Path]]:
    for operator in GATES:
        for count in steps:
            yield f"{operator}, {count} steps", layer(operator, count)
    for path in files:
        yield path.name, path


def main() -> None:
    """Run the program that the module docstring describes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--steps", nargs="*", type=int, default=[10, 200])
    parser.add_argument("--target", default="imxrt1050")
    given = parser.parse_args()
    for name, source in _sources(given.files, given.steps):
        start = time.perf_counter()
        flash = flash_bytes(source, given.target)
        print(f"{name:<40} {time.perf_counter() - start:6.2f} s {flash:>9,} bytes", flush=True)


if __name__ == "__main__":
    main()

"""A network of AlexNet's size, with 250 MB of weights, is compiled in bounded time and memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ellc.ir.builder import GraphBuilder
from ellc.ir.container import save
from ellc.ir.ops.dense import Dense
from ellc.ir.types import DType, TensorType

SECONDS = 20
PEAK_BYTES = 1.5e9
ROOT = Path(__file__).resolve().parents[2]

_COMPILE = """
import resource, sys, time
from peak_memory import peak_bytes
from ellc.cli import run
start = time.perf_counter()
assert run(["compile", sys.argv[1], "--target", "pi3", "-o", sys.argv[2]]) == 0
seconds = time.perf_counter() - start
print(seconds, peak_bytes())
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
"""


@pytest.mark.slow
def test_weights_cost_little_time_and_memory(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    b = GraphBuilder("large")
    value = b.input("x", TensorType(DType.F32, (1, 9216)))
    for outputs, inputs in ((4096, 9216), (4096, 4096), (1000, 4096)):
        value = b.add(Dense(), value, b.constant(rng.random((outputs, inputs), np.float32)))
    b.output("y", value)
    save(b.build(), tmp_path / "large.eir")
    assert (tmp_path / "large.eir").stat().st_size > 230e6
    said = subprocess.run(
        [sys.executable, "-c", _COMPILE, "large.eir", "out"],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "tests" / "support"))),
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    seconds, own, child = (float(word) for word in said[-3:])
    assert seconds < SECONDS
    assert own + child < PEAK_BYTES
    assert (tmp_path / "out" / "liblarge.so").stat().st_size > 230e6

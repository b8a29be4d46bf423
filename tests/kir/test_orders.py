"""Scheduled loops take fewer cycles than LLVM's order, by the model of the core's pipeline."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tiles import Tile

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

from orders import listings, longest

from ellc.codegen.machine.pipeline import pipeline_of
from ellc.codegen.machine.resolve import resolve

CYCLES = {"pi3_64": (90, 64), "imx93": (72, 48)}
"""For a tile of 6x8: fewer cycles than LLVM's order takes, and those of the scheduled loop."""


@pytest.mark.parametrize("name", CYCLES)
def test_scheduled_loops_are_shorter_than_those_of_llvm(name: str) -> None:
    target = resolve(name)
    rows = pipeline_of(target)
    assert rows is not None
    found = [longest(text, rows) for text in listings(Tile(6, 2).kernel(), target)]
    assert all(loop is not None and loop[0] == 48 for loop in found), found
    of_llvm, _, scheduled = (loop[1] for loop in found if loop is not None)
    least, cycles = CYCLES[name]
    assert of_llvm > least and scheduled == cycles

"""The stack size in the manifest is enough for every call, on each kind of machine."""

from __future__ import annotations

import pytest
from onnx_models import read
from painted_stack import measure_stacks
from parts import quick_seeds
from random_graphs import random_graph
from random_onnx import RandomOnnx
from small_networks import convolution_network

from ellc.codegen.blocks.calls import Options
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.planning.planner import make_plan
from ellc.ir.ops.loop import Loop
from ellc.ir.pipeline import run_pipeline

MOST_OVER_BYTES = 160
"""The stack size in the manifest may be this much larger than what a call uses, since a call need
not reach the largest functions."""


TARGETS = {
    "host": (),
    "pi3": ("qemu-arm",),
    "pi3_64": ("qemu-aarch64",),
    "imxrt1050": ("qemu-system-arm",),
    "mcxn947": ("qemu-system-arm",),
    "pico": ("qemu-system-arm",),
    "esp32c3": ("qemu-system-riscv32",),
}
"""Targets, and the programs that emulate them."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "target",
    [pytest.param(t, marks=[pytest.mark.emulated(*e)] * bool(e)) for t, e in TARGETS.items()],
)
def test_painted_stack_stays_within_the_said_bytes(target: str) -> None:
    row = resolve(target)
    graphs = [
        convolution_network(),
        *map(random_graph, quick_seeds(3, list(TARGETS).index(target), 3)),
    ]
    graphs.append(read(RandomOnnx(1).proto))
    assert any(isinstance(node.op, Loop) for node in graphs[-1].nodes)
    plans = [
        make_plan(run_pipeline(graph)[0], row, Options(), f"m{index}")
        for index, graph in enumerate(graphs)
    ]
    for use in measure_stacks(plans, row):
        assert 0 < use.used <= use.said <= use.used + MOST_OVER_BYTES, use

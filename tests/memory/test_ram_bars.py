"""How little RAM published 8-bit networks need on a Cortex-M7: less than with other engines."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ellc.codegen.blocks.calls import Options
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.planning.ram_limit import plan_within
from ellc.ir.graph import Graph
from ellc.ir.pipeline import run_pipeline
from ellc.memory_use import STACK_RESERVE_BYTES

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

from ram_curves import mobilenet_v2_80, visual_wake_words

KIB = 1024


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "most_bytes"),
    [
        # X-CUBE-AI: 67 KiB of activations and 16 KiB for its library (ST's model zoo).
        pytest.param(visual_wake_words, 34 * KIB, id="visual wake words"),
        # Plumerai 80 KiB, TinyEngine 98, X-CUBE-AI 109, TFLM 155 (Plumerai's blog, October 2021).
        pytest.param(mobilenet_v2_80, 64 * KIB, id="MobileNet V2 0.30, 80x80"),
    ],
)
def test_arena_and_stack_fit_without_computing_anything_twice(
    network: Callable[[], Graph], most_bytes: int
) -> None:
    graph, _ = run_pipeline(network())
    target = resolve("imxrt1050")
    layers = plan_within(graph, target, Options(depth_first=False), "layers")
    assert layers.arena.arena_bytes > most_bytes
    limited = Options(max_ram_bytes=most_bytes - STACK_RESERVE_BYTES)
    plan = plan_within(graph, target, limited, "bands")
    assert plan.arena.arena_bytes + STACK_RESERVE_BYTES <= most_bytes
    assert sum(s.macs for s in plan.steps) == sum(s.macs for s in layers.steps)

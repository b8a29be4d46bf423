"""The cache of modelled cycles: only kernels that it does not have are measured."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import layer_cycles  # noqa: E402

from ellc.codegen.machine.resolve import resolve  # noqa: E402
from ellc.codegen.planning.plan import Plan  # noqa: E402
from ellc.ir.builder import GraphBuilder  # noqa: E402
from ellc.ir.graph import Graph  # noqa: E402
from ellc.ir.ops.conv import Conv2D  # noqa: E402
from ellc.ir.types import DType, TensorType  # noqa: E402


def network(filters: int) -> Graph:
    b = GraphBuilder("net")
    x = b.input("x", TensorType(DType.F32, (1, 4, 4, 16)))
    b.output("y", b.add(Conv2D(), x, b.constant(np.ones((filters, 1, 1, 16), np.float32))))
    return b.build()


@pytest.mark.slow
def test_what_the_cache_has_is_not_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[str] = []

    def cycles(plans: Sequence[tuple[str, Plan]], *_: object) -> dict[str, float]:
        measured.extend(step.predictions[0].name for _, plan in plans for step in plan.steps)
        return {s.call.kernel.name: 1000.0 * len(measured) for _, p in plans for s in p.steps}

    target, size = resolve("pi3_64"), [16]
    monkeypatch.setattr(layer_cycles, "kernel_cycles", cycles)
    monkeypatch.setattr(layer_cycles, "build", lambda _: network(size[0]))

    def layers(most: int, *, unchanged: bool = False) -> list[layer_cycles.LayerCycles]:
        cache = layer_cycles.Cache(tmp_path, target)
        found = layer_cycles.network_layers("net", target, most, cache, unchanged=unchanged)
        return list(found)

    (few,) = layers(2)
    assert len(measured) == len(few.candidates) == 2 and few.loss == 0.0
    (many,) = layers(3)
    assert len(measured) == len(many.candidates) == 3
    assert [c.cycles for c in many.candidates] == [1000.0, 2000.0, 3000.0]
    assert layers(3) == layers(3, unchanged=True) == [many] and len(measured) == 3
    size[0] = 32  # another layer, for which the cache has nothing
    layers(2)
    assert len(measured) == 5


@pytest.mark.slow
def test_neighbours_of_a_measured_layer_have_their_usual_kernels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builds: list[list[str]] = []

    def cycles(plans: Sequence[tuple[str, Plan]], *_: object) -> dict[str, float]:
        builds.extend([step.predictions[0].name for step in plan.steps] for _, plan in plans)
        return {step.call.kernel.name: 1.0 for _, plan in plans for step in plan.steps}

    b = GraphBuilder("net")
    x = b.input("x", TensorType(DType.F32, (1, 4, 4, 16)))
    for depth, filters in ((16, 32), (32, 48), (48, 64)):
        x = b.add(Conv2D(), x, b.constant(np.ones((filters, 1, 1, depth), np.float32)))
    b.output("y", x)
    graph, target = b.build(), resolve("pi3_64")
    monkeypatch.setattr(layer_cycles, "kernel_cycles", cycles)
    monkeypatch.setattr(layer_cycles, "build", lambda _: graph)
    cache = layer_cycles.Cache(tmp_path, target)
    layers = list(layer_cycles.network_layers("net", target, 3, cache, unchanged=False))
    usual = [layer.candidates[0].prediction.name for layer in layers]
    changed = [sum(a != b for a, b in zip(names, usual, strict=True)) for names in builds]
    assert len(layers) == 3 and max(changed) == 1 and sum(changed) == 6

"""Schedules of a family give the same results: a third of them, or all with `pytest --whole`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from agreement import disagreement
from interpreted_plan import run_plan
from parts import quick_part
from small_networks import inputs_of, reference_of

from ellc.codegen.blocks.calls import Options
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.machine.target import Target
from ellc.codegen.planning.choice import families_of
from ellc.codegen.planning.planner import make_plan
from ellc.codegen.planning.storage import Storage
from ellc.ir.branches import needs
from ellc.ir.builder import GraphBuilder
from ellc.ir.graph import Graph
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.dense import Dense
from ellc.ir.ops.quantised_conv import IntConv2D
from ellc.ir.pipeline import run_pipeline
from ellc.ir.types import DType, Padding, TensorType


@dataclass(frozen=True)
class Layer:
    """A layer, and the shapes of its operands."""

    op: Conv2D | IntConv2D | Dense
    image: tuple[int, ...]
    weights: tuple[int, ...]

    def graph(self) -> Graph:
        """A network of only this layer."""
        b = GraphBuilder("net")
        is_float = not isinstance(self.op, IntConv2D)
        value = b.input("x", TensorType(DType.F32 if is_float else DType.I8, self.image))
        numbers = np.random.default_rng(1).integers(-8, 8, self.weights)
        weights = b.constant(numbers.astype(np.float32 if is_float else np.int8))
        b.output("y", b.add(self.op, value, weights, source="layer"))
        return run_pipeline(b.build())[0]


LAYERS = {
    "edges": Layer(Conv2D(padding=Padding(1, 1, 1, 1)), (1, 5, 5, 3), (10, 3, 3, 3)),
    "groups": Layer(Conv2D(groups=2), (1, 4, 6, 4), (6, 2, 2, 2)),
    "depthwise": Layer(Conv2D(groups=9, padding=Padding(1, 1, 1, 1)), (1, 3, 4, 9), (9, 3, 3, 1)),
    "dense": Layer(Dense(), (3, 7), (9, 7)),
    "bytes": Layer(IntConv2D(), (1, 3, 4, 16), (6, 2, 2, 16)),
}


def names_of(graph: Graph, target: Target) -> list[str]:
    """The names of all candidates of the only node."""
    storage = Storage(graph, needs(graph), target)
    (node,) = graph.nodes
    placed = storage.placed(node, 1, "k")
    return [c.prediction.name for family in families_of(node.op) for c in family.offer(placed)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layer", "target"), [*((layer, "pi3_64") for layer in LAYERS), ("edges", "pi3")]
)
def test_every_schedule_computes_the_same(layer: str, target: str) -> None:
    graph, machine = LAYERS[layer].graph(), resolve(target)
    inputs = inputs_of(graph)
    expected = reference_of(graph, inputs)
    names = names_of(graph, machine)
    assert len(names) == len(set(names)) > 1
    number = 1 if target == "pi3" else 0
    for name in quick_part(names, number, 3, covers=lambda name: [name.partition(":")[0]]):
        plan = make_plan(graph, machine, Options(kernels=(("layer", name),)), "net")
        (made,) = run_plan(plan, inputs)
        assert not disagreement(made, expected[0]), name

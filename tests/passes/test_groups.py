"""Groups of passes run to a fixpoint, and required properties are ensured by earlier passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from random_byte_graphs import random_byte_graph
from random_graphs import random_graph
from random_lines import random_lines
from random_planes import random_planes

from ellc.ir.builder import GraphBuilder
from ellc.ir.errors import InternalError
from ellc.ir.graph import Graph
from ellc.ir.ops.pointwise import Neg, Relu
from ellc.ir.passes.base import Pass, run_nested
from ellc.ir.passes.properties import ALL_USED, AS_READ
from ellc.ir.pipeline import Group, all_passes, default_groups, run_pipeline
from ellc.ir.types import DType, TensorType

SEEDS = range(6)
MAKERS = [random_graph, random_byte_graph, random_planes, random_lines]


def test_every_pass_is_in_a_group() -> None:
    assert {p.name for group in default_groups() for p in group.passes} == set(all_passes())


def test_a_pass_lies_in_the_folder_of_the_first_group_that_runs_it() -> None:
    first: dict[str, str] = {}
    for group in default_groups():
        for step in group.passes:
            first.setdefault(step.name, group.name)
    assert {name: cls.__module__.split(".")[3] for name, cls in all_passes().items()} == first


def test_what_a_pass_requires_is_ensured_before_it() -> None:
    ensured = set(AS_READ)
    for group in default_groups():
        for step in group.passes:
            assert ensured.issuperset(step.requires), f"{group.name}: {step}"
            ensured.update(step.ensures)


@pytest.mark.parametrize("make", MAKERS)
def test_a_group_leaves_nothing_to_do(make: Callable[[int], Graph]) -> None:
    """After a group, its passes change nothing, and their ensured properties hold."""
    for seed in SEEDS:
        graph = make(seed)
        for group in default_groups():
            graph = group.run(graph)
            for step in group.passes:
                assert run_nested(step, graph) == graph, f"seed {seed}, {group.name}: {step}"
                assert all(p.holds(graph) for p in step.ensures), f"seed {seed}, {step}"


@dataclass(frozen=True)
class Undo(Pass):
    """Replaces a function by another function."""

    name = "undo"
    old: type = Neg
    new: type = Relu

    def run(self, graph: Graph) -> Graph:
        changed = (replace(n, op=self.new()) if n.op == self.old() else n for n in graph.nodes)
        return replace(graph, nodes=tuple(changed))


def small() -> Graph:
    b = GraphBuilder("small")
    x = b.input("x", TensorType(DType.F32, (4,)))
    b.add(Relu(), x)  # its result is not read
    b.output("y", b.add(Neg(), x))
    return b.build()


def test_a_pass_does_not_look_again_at_what_it_has_seen() -> None:
    seen = []
    run_pipeline(small(), [Group("one", (Undo(),))], watch=lambda *step: seen.append(step))
    assert len(seen) == 1
    seen.clear()
    once = Group("two", (Undo(Relu, Neg), Undo(Relu, Neg)))
    run_pipeline(small(), [once], watch=lambda *step: seen.append(step))
    assert len(seen) == 1, "a pass ran twice on the same graph"


def test_passes_that_undo_each_other_come_to_an_end() -> None:
    run_pipeline(small(), [Group("circle", (Undo(Neg, Relu), Undo(Relu, Neg)))])


@dataclass(frozen=True)
class Careless(Pass):
    """Declares that it ensures a property, but does not."""

    name = "careless"
    ensures = (ALL_USED,)

    def run(self, graph: Graph) -> Graph:
        return graph


@dataclass(frozen=True)
class Particular(Pass):
    """Requires a property."""

    name = "particular"
    requires = (ALL_USED,)

    def run(self, graph: Graph) -> Graph:
        return graph


def test_a_promise_that_is_not_kept_is_seen() -> None:
    with pytest.raises(
        InternalError, match="'careless' ensures a property that does not hold: something"
    ):
        run_pipeline(small(), [Careless()], paranoid=True)


def test_a_promise_that_is_broken_later_is_seen() -> None:
    b = GraphBuilder("used")
    x = b.input("x", TensorType(DType.F32, (4,)))
    b.output("y", b.add(Neg(), x))

    @dataclass(frozen=True)
    class Wasteful(Pass):
        name = "wasteful"

        def run(self, graph: Graph) -> Graph:
            return small()

    with pytest.raises(InternalError, match="'particular' requires a property that does not hold"):
        run_pipeline(
            replace(b.build(), name="small"), [Careless(), Wasteful(), Particular()], paranoid=True
        )

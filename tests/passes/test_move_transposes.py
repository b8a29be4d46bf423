"""Transposes are removed if operators can work in any order of axes, and none are added."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations, product

import numpy as np
import pytest
from parts import quick_seeds
from random_lines import random_lines
from random_planes import random_planes

import ellc.ir.passes.layout.layout_flow
import ellc.ir.passes.layout.move_transposes
import ellc.ir.passes.layout.transposes
from ellc.ir.errors import InternalError
from ellc.ir.graph import Graph
from ellc.ir.op import Arranged, Case, all_ops
from ellc.ir.ops.reduce import Softmax
from ellc.ir.ops.shape import Transpose
from ellc.ir.passes.layout.layout_flow import Flow, Layout, is_flexible, lowered
from ellc.ir.passes.layout.min_cut import MinCut
from ellc.ir.passes.layout.move_transposes import MoveTransposes
from ellc.ir.pipeline import parse_passes, run_pipeline
from ellc.ir.types import Array

SEEDS = quick_seeds(80, 0, 3)
FLEXIBLE = [
    pytest.param(case, id=f"{name}-{case.label}")
    for name, op in all_ops().items()
    for case in op.samples(np.random.default_rng(0))
    if is_flexible(case.op)
]


def moved_inside(graph: Graph) -> list[str]:
    """The transposes that neither read an input nor compute an output."""
    ports = {p.value for p in (*graph.inputs, *graph.outputs)}
    transposes = [n for n in graph.nodes if isinstance(n.op, Transpose)]
    return [n.output for n in transposes if not ports & {*n.inputs, *n.outputs}]


@pytest.mark.parametrize("seed", SEEDS)
def test_planes_become_pixels(seed: int) -> None:
    graph, _ = run_pipeline(random_planes(seed), paranoid=True, seed=seed)
    assert not moved_inside(graph)


@pytest.mark.parametrize("seed", SEEDS)
def test_pixels_in_and_out_need_no_transpose(seed: int) -> None:
    graph, _ = run_pipeline(random_planes(seed, pixels=True), paranoid=True, seed=seed)
    assert not [n for n in graph.nodes if isinstance(n.op, Transpose)]


@pytest.mark.parametrize("seed", quick_seeds(40, 1, 3))
def test_signals(seed: int) -> None:
    graph, _ = run_pipeline(random_lines(seed), paranoid=True, seed=seed)
    assert not moved_inside(graph)
    assert run_pipeline(graph)[0] == graph


@pytest.mark.parametrize("seed", quick_seeds(30, 2, 3))
def test_one_run_does_all_there_is_to_do(seed: int) -> None:
    graph, _ = run_pipeline(random_planes(seed))
    _, report = run_pipeline(graph)
    assert not [r.name for r in report.records if r.changed]


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_moved_never_grows(seed: int) -> None:
    """With arbitrary transposes anywhere, the pass never raises the cost of moves, either."""
    before = random_planes(seed, twists=True)
    after, _ = run_pipeline(before, parse_passes("move_transposes"), paranoid=True)
    assert Layout(Flow(after)).total() <= Layout(Flow(before)).total()
    assert MoveTransposes().run(after) == after
    run_pipeline(before, paranoid=True, seed=seed)


def columns_as_they_are(patch: pytest.MonkeyPatch) -> None:
    """Broken rule: a flattened image in another order is multiplied by unchanged columns."""
    patch.setattr(
        ellc.ir.passes.layout.move_transposes,
        "columns",
        lambda before, after, p: np.arange(after[-1]),
    )


def axes_as_they_are(patch: pytest.MonkeyPatch) -> None:
    """Broken rule: a softmax on another arrangement keeps its axes."""
    patch.setattr(Softmax, "arranged", lambda op, x, y, p: Arranged(op, (p,), (p,)))


def vectors_as_they_are(patch: pytest.MonkeyPatch) -> None:
    """Broken rule: a slope per channel of NCHW is applied to NHWC unchanged."""
    patch.setattr(
        ellc.ir.passes.layout.move_transposes, "_moved_constant", lambda e, value, *_, **__: value
    )


def lost_permutations(patch: pytest.MonkeyPatch) -> None:
    """Broken rule: of two consecutive transposes, only the last has an effect."""
    patch.setattr(ellc.ir.passes.layout.layout_flow, "compose", lambda first, then: then)
    patch.setattr(ellc.ir.passes.layout.transposes, "order", lambda shape, p: tuple(range(len(p))))


@pytest.mark.slow
@pytest.mark.parametrize(
    "sabotage",
    [columns_as_they_are, axes_as_they_are, vectors_as_they_are, lost_permutations],
)
def test_a_broken_rule_is_seen_and_blamed(
    sabotage: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    sabotage(monkeypatch)
    with pytest.raises(InternalError, match="pass 'move_transposes"):
        for seed in SEEDS:
            run_pipeline(random_planes(seed), paranoid=True)


@pytest.mark.parametrize("case", FLEXIBLE)
def test_an_operator_on_another_arrangement_makes_the_same(case: Case) -> None:
    types = case.types()
    results = case.op.infer(*types)
    tried = 0
    for permutation in permutations(range(types[0].rank)):
        made = case.op.arranged(types, results, permutation)
        if made is None:
            continue
        operands = [
            x if p is None else np.transpose(x, lowered(p, x.ndim))
            for x, p in zip(full(case, made), made.operands, strict=True)
        ]
        with np.errstate(all="ignore"):
            wanted = case.op.reference(*case.inputs)
            got = made.op.reference(*operands)
        for g, w, p in zip(got, wanted, made.results, strict=True):
            np.testing.assert_allclose(g, np.transpose(w, p), rtol=1e-5, atol=1e-5)
        tried += permutation != tuple(range(types[0].rank))
    assert tried or types[0].rank < 3


def full(case: Case, made: Arranged) -> list[Array]:
    """The operands with as many axes as they have after broadcasting."""
    found = []
    for x, p in zip(case.inputs, made.operands, strict=True):
        missing = 0 if p is None else len(p) - x.ndim
        found.append(x.reshape((1,) * missing + x.shape))
    return found


@pytest.mark.parametrize("seed", quick_seeds(40, 1, 3))
def test_cuts_are_the_cheapest(seed: int) -> None:
    rng = np.random.default_rng(seed)
    nodes = ["s", "a", "b", "c", "d", "t"]
    arcs = [(*rng.choice(nodes, 2, replace=False), int(rng.integers(0, 9))) for _ in range(12)]
    cut = MinCut("s", "t")
    for tail, head, price in arcs:
        cut.arc(str(tail), str(head), price)

    def price_of(kept: set[object]) -> int:
        return sum(p for tail, head, p in arcs if tail in kept and head not in kept)

    choices = [
        {"s", *(n for n, chosen in zip("abcd", bits, strict=True) if chosen)}
        for bits in product([False, True], repeat=4)
    ]
    cheapest = min(map(price_of, choices))  # type: ignore[arg-type]
    found = cut.source_side()
    assert price_of(found) == cheapest
    assert len(found) == min(len(c) for c in choices if price_of(c) == cheapest)  # type: ignore[arg-type]

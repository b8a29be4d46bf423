"""The pipeline keeps the meaning of random networks, and a broken rule is detected."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from parts import quick_seeds
from pass_cases import GoldenCase
from random_graphs import random_graph
from special_values import sprinkled

import ellc.ir.passes.affine
import ellc.ir.passes.canonicalise.eliminate_common
import ellc.ir.passes.fold.absorb_order
import ellc.ir.passes.fold.fold_affine
import ellc.ir.passes.layout.sink_reshape
from ellc.ir.builder import GraphBuilder
from ellc.ir.errors import InternalError, ShapeError
from ellc.ir.graph import Graph, Node
from ellc.ir.interp import evaluate
from ellc.ir.meaning import TOLERANCE, MeaningCheck, apart, sample_array
from ellc.ir.op import Op
from ellc.ir.ops.binary import Binarize
from ellc.ir.ops.common import pad_image
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.fused import Fused
from ellc.ir.ops.pointwise import Add, Mul, Sub
from ellc.ir.ops.pool import AvgPool2D, MaxPool2D
from ellc.ir.ops.shape import Concat, Gather, Reshape, Slice, Split
from ellc.ir.passes.affine import Affine
from ellc.ir.pipeline import run_pipeline
from ellc.ir.rewrite import Editor
from ellc.ir.text import parse, print_graph
from ellc.ir.types import DType, Padding, TensorType

SEEDS = quick_seeds(120, 0, 2)
GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "passes"


@pytest.mark.parametrize("seed", SEEDS)
def test_the_pipeline_keeps_the_meaning(seed: int) -> None:
    graph = random_graph(seed)
    after, report = run_pipeline(graph, paranoid=True, seed=seed)
    assert report.records[-1].difference is not None
    # Also compare with the first graph, so that errors of passes do not add up.
    assert any(r.changed for r in report.records)
    check_structure(graph, after)


@pytest.mark.slow
def test_the_networks_reach_every_pass() -> None:
    changed = {r.name for s in SEEDS for r in run_pipeline(random_graph(s))[1].records if r.changed}
    # These graphs have nothing that `fold_constants` folds, unlike graphs of frontends.
    assert changed >= {
        "lower_composites",
        "simplify",
        "sink_reshape",
        "absorb_padding",
        "fold_affine",
        "eliminate_common",
        "eliminate_dead",
        "fuse_epilogue",
        "fold_padding",
    }


@pytest.mark.slow
def test_float32_stays_as_close_to_the_truth_as_tolerated() -> None:
    compared = 0
    for seed in SEEDS:
        graph = random_graph(seed)
        if any(isinstance(n.op, Binarize) for n in graph.nodes):
            continue  # a sign may differ
        after, _ = run_pipeline(graph)
        rng = np.random.default_rng(seed)
        inputs = tuple(sample_array(t, rng, 255.0) for t in graph.input_types())
        pairs = zip(
            evaluate(after, inputs).outputs,
            evaluate(graph, inputs, double=True).outputs,
            strict=True,
        )
        for got, want in pairs:
            bound = 1e-4 * np.maximum(np.abs(want), 1e-2 * np.max(np.abs(want)))
            assert np.all(np.abs(got - want) <= bound), seed
        compared += 1
    assert compared > len(SEEDS) // 6


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["nan", "infinities"])
def test_nan_and_infinities_come_out_in_the_same_places(kind: str) -> None:
    graphs = [random_graph(seed) for seed in range(12)]
    graphs += [GoldenCase.read(path).graph() for path in sorted(GOLDEN.glob("*.txt"))]
    reached = 0
    for number, graph in enumerate(graphs):
        after, _ = run_pipeline(graph)
        rng = np.random.default_rng(number)
        drawn = [sample_array(t, rng, 3.0) for t in graph.input_types()]
        inputs = tuple(sprinkled(x, kind, rng) for x in drawn)
        with np.errstate(all="ignore"):
            wanted, found = evaluate(graph, inputs).outputs, evaluate(after, inputs).outputs
        for want, got in zip(wanted, found, strict=True):
            special = ~np.isfinite(want)
            np.testing.assert_array_equal(~np.isfinite(got), special, err_msg=graph.name)
            np.testing.assert_array_equal(got[special], want[special], err_msg=graph.name)
            reached += int(special.sum())
    assert reached > 100


def slices(extent: int) -> Iterator[Slice]:
    """Slices of a vector, also with starts and steps that no element uses."""
    for size, start, step in product((0, 1, 2), (0, 1, 2**62), (1, -1, 3, 2**62, -(2**62))):
        op = Slice((start,), (size,), (step,))
        with suppress(ShapeError):
            op.infer(TensorType(DType.F32, (extent,)))
            yield op


def test_slices_of_slices_keep_their_meaning() -> None:
    b = GraphBuilder("slices")
    x = b.input("x", TensorType(DType.F32, (5,)))
    pairs = [(inner, outer) for inner in slices(5) for outer in slices(inner.sizes[0])]
    for number, (inner, outer) in enumerate(pairs):
        b.output(f"y{number}", b.add(outer, b.add(inner, x)))
    before = b.build()
    after, _ = run_pipeline(before)
    assert len(before.nodes) > len(after.nodes) > 1
    again = parse(print_graph(after), after.weights)
    drawn = (np.arange(5, dtype=np.float32),)
    results = (evaluate(graph, drawn).outputs for graph in (before, again))
    for want, got in zip(*results, strict=True):
        np.testing.assert_array_equal(got, want)


def check_structure(before: Graph, after: Graph) -> None:
    """Check properties that every graph has after the passes."""
    public = {p.value for p in (*after.inputs, *after.outputs)}
    held = {v for s in after.states for v in (s.current, s.next)} | {
        c.value for c in after.constants
    }
    producers = {v: n for n in after.nodes for v in n.outputs}
    for value, type_ in after.types.items():
        if type_.border is not None:
            assert value not in public | held
            assert type_.rank == 4 and type_.shape[0] == 1 and type_.dtype.is_float
            assert not isinstance(producers[value].op, Reshape | Split | Slice)
            consumers = [n for n in after.nodes if value in n.inputs]
            assert not any(isinstance(n.op, Reshape | Concat | Split | Slice) for n in consumers)
            assert any(
                type_.border.covers(f) for n in consumers if (f := padding_of(n)) is not None
            )
    names = {s for n in before.nodes for s in n.source}
    for node in after.nodes:
        assert not node.op.composite
        assert set(node.source) <= names
        if isinstance(node.op, Fused):
            assert not any(isinstance(s.op, Binarize) for s in node.op.stages[:-1])


def padding_of(node: Node) -> Padding | None:
    anchor = node.op.anchor if isinstance(node.op, Fused) else node.op
    wants = isinstance(anchor, Conv2D | MaxPool2D | AvgPool2D)
    return anchor.padding if wants and not anchor.padding.is_empty else None  # type: ignore[union-attr]


@pytest.mark.parametrize("seed", quick_seeds(60, 1, 3))
def test_a_border_holds_the_padding_of_its_consumers(seed: int) -> None:
    """An operator without padding on a buffer with a border gives the result that padding gives."""
    graph, _ = run_pipeline(random_graph(seed))
    rng = np.random.default_rng(seed)
    inputs = tuple(sample_array(t, rng, 1.0) for t in graph.input_types())
    values = evaluate(graph, inputs, keep=True).values
    for node in graph.nodes:
        wanted, border = (
            padding_of(node),
            graph.types[node.inputs[0]].border if node.inputs else None,
        )
        if wanted is None or border is None or not border.covers(wanted):
            continue
        buffer = pad_image(values[node.inputs[0]], border)
        top, left = border.top - wanted.top, border.left - wanted.left
        bottom = buffer.shape[1] - border.bottom + wanted.bottom
        right = buffer.shape[2] - border.right + wanted.right
        operands = [buffer[:, top:bottom, left:right], *(values[v] for v in node.inputs[1:])]
        (result,) = without_padding(node.op).reference(*operands)
        np.testing.assert_array_equal(result, values[node.output])


def without_padding(op: Op) -> Op:
    if isinstance(op, Fused):
        return replace(op, anchor=without_padding(op.anchor))
    return replace(op, padding=Padding())  # type: ignore[call-arg]


# ---- broken rules: the comparison must find each, and name the pass ----

Sabotage = Callable[[pytest.MonkeyPatch], None]


def keep_padding(patch: pytest.MonkeyPatch) -> None:
    """Broken rule: an affine is moved across padding without changing the padding's value."""
    patch.setattr(
        ellc.ir.passes.fold.fold_affine, "moved_padding", lambda padding, scale, shift: padding
    )


def forget_the_division(patch: pytest.MonkeyPatch) -> None:
    """Broken rule: the padding's value is changed by the shift, but not divided by the scale."""

    def moved(padding: Padding, scale: object, shift: np.ndarray) -> Padding:
        values = np.broadcast_to(np.array(padding.values), shift.shape) - shift
        return Padding.of(padding.amounts, values.tolist())

    patch.setattr(ellc.ir.passes.fold.fold_affine, "moved_padding", moved)


def forget_older_shift(patch: pytest.MonkeyPatch) -> None:
    """Broken rule: (x + 1) * 2 becomes x * 2 + 1."""
    patch.setattr(
        Affine,
        "then",
        lambda a, b: Affine(a.value, a.scale * b.scale, a.shift + b.shift),
    )


def round_twice(patch: pytest.MonkeyPatch) -> None:
    """Broken rule: rounded float32 constants are folded further as if they were exact."""
    patch.setattr(Editor, "rounded", lambda e, x, dtype: e.constant(x.astype(dtype.numpy)))


def lose_signs_of_scales(patch: pytest.MonkeyPatch) -> None:
    original = ellc.ir.passes.affine.merge

    def merge(editor: Editor, inner: Affine, outer: Affine, growth_bytes: int) -> Affine | None:
        return original(editor, replace(inner, scale=np.abs(inner.scale)), outer, growth_bytes)

    patch.setattr(ellc.ir.passes.fold.fold_affine, "merge", merge)


def swap_differences(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Sub, "commutative", True)


def mix_paddings(patch: pytest.MonkeyPatch) -> None:
    """Broken rule: padding around padding with another value takes the inner value."""
    patch.setattr(
        Padding, "around", lambda own, inner: Padding.of(own.widened(inner), inner.values)
    )


def leave_out_the_padding(patch: pytest.MonkeyPatch) -> None:
    """Broken rule: a mean that absorbed a pad does not count the added elements."""
    original = AvgPool2D.with_border

    def with_border(op: AvgPool2D, border: Padding) -> AvgPool2D | None:
        made = original(op, border)
        return made and replace(made, include_padding=op.include_padding)

    patch.setattr(AvgPool2D, "with_border", with_border)


def ignore_attributes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ellc.ir.passes.canonicalise.eliminate_common, "print_op", lambda op: op.name)


def fuse_what_others_read(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Editor, "used_once", lambda editor, value: True)


def keep_vectors(patch: pytest.MonkeyPatch) -> None:
    """Broken rule: an operand for a flattened tensor is used for the image without a reshape."""
    patch.setattr(
        ellc.ir.passes.layout.sink_reshape, "_moved", lambda editor, value, inside, outside: value
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sabotage", "blamed"),
    [
        (keep_padding, "fold_affine"),
        (forget_the_division, "fold_affine"),
        (forget_older_shift, "fold_affine"),
        (round_twice, "fold_affine"),
        (lose_signs_of_scales, "fold_affine"),
        (swap_differences, "simplify"),
        (mix_paddings, "absorb_padding"),
        (leave_out_the_padding, "absorb_padding"),
        (ignore_attributes, "eliminate_common"),
        (fuse_what_others_read, "fuse_epilogue"),
        (keep_vectors, "sink_reshape"),
    ],
)
def test_a_broken_rule_is_found_and_blamed(
    sabotage: Sabotage, blamed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sabotage(monkeypatch)
    caught = []
    for seed in range(400):
        try:
            run_pipeline(random_graph(seed), paranoid=True)
        except InternalError as error:
            caught.append(str(error))
            break
    assert caught, "nothing failed"
    assert f"pass '{blamed}" in caught[0]


def test_an_order_that_only_half_the_network_takes_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    b = GraphBuilder("colours")
    x = b.input("x", TensorType(DType.F32, (1, 4, 4, 3)))
    x = b.add(Gather(3), x, b.constant(np.array([1, 2, 0], np.int32)))
    x = b.add(Sub(), x, b.constant(np.array([1, 2, 3], np.float32)))
    w = np.random.default_rng(0).standard_normal((2, 3, 3, 3)).astype(np.float32)
    b.output("y", b.add(Conv2D(padding=Padding.same(1)), x, b.constant(w)))
    graph = b.build()
    after, _ = run_pipeline(graph, paranoid=True)
    assert not [node for node in after.nodes if isinstance(node.op, Gather)]
    kept = ellc.ir.passes.fold.absorb_order._reordered
    monkeypatch.setattr(
        ellc.ir.passes.fold.absorb_order,
        "_reordered",
        lambda e, v, axis, back: v if e.type(v).rank == 1 else kept(e, v, axis, back),
    )
    with pytest.raises(InternalError, match="pass 'absorb_order"):
        run_pipeline(graph, paranoid=True)


# ---- the comparison itself ----


def masked_signs(offset: float) -> Graph:
    """Signs of x * mask + offset; with a tiny offset, masked elements are undecided."""
    b = GraphBuilder("signs")
    x = b.input("x", TensorType(DType.F32, (1, 4, 4, 3)))
    mask = b.constant(np.array([1, 0, 1], np.float32))
    numbers = b.add(Mul(), x, mask)
    if offset:
        numbers = b.add(Add(), numbers, b.constant(np.full(1, offset, np.float32)))
    graph_value = b.add(Binarize(), numbers)
    b.output("y", graph_value)
    graph = b.build()
    # The sign has the same id in all graphs, as after edits.
    return rename(graph, graph_value.id, "signs")


def rename(graph: Graph, old: str, new: str) -> Graph:
    nodes = tuple(
        replace(n, outputs=tuple(new if v == old else v for v in n.outputs)) for n in graph.nodes
    )
    outputs = tuple(replace(p, value=new if p.value == old else p.value) for p in graph.outputs)
    types = {new if v == old else v: t for v, t in graph.types.items()}
    return replace(graph, nodes=nodes, outputs=outputs, types=types)


def test_undecided_signs_are_counted_and_follow_the_graph_before() -> None:
    difference = MeaningCheck(masked_signs(0)).compare(masked_signs(1e-12))
    assert difference.undecided == 2 * 16  # two inputs, one channel of three
    assert difference.worst <= TOLERANCE


def test_a_decided_sign_that_flips_is_a_difference() -> None:
    difference = MeaningCheck(masked_signs(0)).compare(masked_signs(0.01))
    assert difference.worst > TOLERANCE
    assert difference.where == "steps %signs"


def test_differences_are_relative_to_the_tensor() -> None:
    a = np.array([1.0, 1000.0])
    assert apart(a + np.array([0, 1e-3]), a) == pytest.approx(1e-6)
    assert apart(a, a) == 0
    assert apart(np.array([np.nan, 1000]), a) == np.inf
    assert apart(np.array([np.inf, np.nan]), np.array([np.inf, np.nan])) == 0
    assert apart(np.array([1, 2]), np.array([1, 3])) == np.inf
    assert apart(a, a[:1]) == np.inf


@pytest.mark.parametrize("dtype", list(DType))
def test_inputs_suit_their_element_type(dtype: DType) -> None:
    array = sample_array(TensorType(dtype, (40, 3)), np.random.default_rng(0), 255.0)
    assert array.dtype == dtype.numpy and array.shape == (40, 3)
    assert len(np.unique(array)) > 1

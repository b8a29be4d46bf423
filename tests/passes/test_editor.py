"""The editor, with which passes change graphs."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from ellc.ir.builder import GraphBuilder
from ellc.ir.graph import Graph
from ellc.ir.ops.pointwise import Abs, Add, Exp, Neg, Relu
from ellc.ir.pipeline import run_pipeline
from ellc.ir.rewrite import Editor, merged_source
from ellc.ir.types import DType, TensorType
from ellc.ir.verify import verify


def chain() -> Graph:
    """x -> relu -> exp -> neg -> y, and exp(relu) + relu -> z."""
    b = GraphBuilder("chain")
    x = b.input("x", TensorType(DType.F32, (3,)))
    r = b.add(Relu(), x, source="r")
    e = b.add(Exp(), r, source="e")
    b.output("y", b.add(Neg(), e, source="n"))
    b.output("z", b.add(Add(), e, r, source="s"))
    return b.build()


def names(graph: Graph) -> list[str]:
    return [n.op.name for n in graph.nodes]


def test_constants_that_nothing_reads_any_more_are_forgotten() -> None:
    """Folding a chain of sums makes a constant per node, each perhaps as large as the file."""
    b = GraphBuilder("chain")
    value = b.input("x", TensorType(DType.F32, (2, 1 << 16)))
    numbers = np.linspace(0, 1, 1 << 16, dtype=np.float32)
    added = b.constant(numbers)
    for _ in range(100):
        value = b.add(Add(), value, added)
    b.output("y", value)
    graph = b.build()
    tracemalloc.start()
    try:
        (node,) = run_pipeline(graph)[0].nodes
        assert tracemalloc.get_traced_memory()[1] < 40 * numbers.nbytes
    finally:
        tracemalloc.stop()
    assert isinstance(node.op, Add)


def test_nothing_done_is_an_equal_graph() -> None:
    graph = chain()
    editor = Editor(graph)
    assert editor.graph() == graph and not editor.changed


def test_forwarding_renames_every_use() -> None:
    graph = chain()
    editor = Editor(graph)
    relu, exp, neg, add = graph.nodes
    editor.forward(exp, relu.output)
    assert {n.op.name for n in editor.users(relu.output)} == {"add", "neg"}
    assert editor.uses(relu.output) == 3
    editor.forward(relu, graph.inputs[0].value)
    assert editor.current(exp.output) == graph.inputs[0].value
    after = editor.graph()
    verify(after)
    assert names(after) == ["neg", "add"]
    assert after.nodes[1].inputs == (graph.inputs[0].value,) * 2
    assert set(after.types) == {"in0", neg.output, add.output}


def test_replacing_keeps_place_and_result() -> None:
    graph = chain()
    editor = Editor(graph)
    relu, exp, *_ = graph.nodes
    new = editor.replace(exp, Abs(), graph.inputs[0].value, source=["a", "b", "a"])
    assert new.source == ("a", "b") and new.outputs == exp.outputs
    assert editor.producer(exp.output) is new
    assert editor.used_once(relu.output)
    again = editor.replace(new, Neg(), relu.output)
    assert again.source == ("a", "b") and not editor.used_once(relu.output)
    after = editor.graph()
    verify(after)
    assert names(after) == ["relu", "neg", "neg", "add"]


def test_inserted_nodes_stand_before_their_user_and_are_visited() -> None:
    graph = chain()
    editor = Editor(graph)
    seen = []
    for node in editor.nodes():
        seen.append(node.op.name)
        if isinstance(node.op, Exp):
            value = editor.insert(node, Neg(), node.inputs[0])
            value = editor.insert(node, Abs(), value)
            editor.replace(node, Exp(), value)
        if isinstance(node.op, Neg) and node.source == ("n",):
            editor.forward(node, node.inputs[0])
    assert seen == ["relu", "exp", "neg", "add"]
    assert [n.op.name for n in editor.nodes()] == ["relu", "neg", "abs", "exp", "add"]
    after = editor.graph()
    verify(after)
    assert after.outputs[0].value == graph.nodes[1].output


def test_removing_while_walking() -> None:
    graph = chain()
    editor = Editor(graph)
    walked = []
    for node in editor.nodes():
        walked.append(node.op.name)
        if isinstance(node.op, Relu):
            (exp, _) = editor.users(node.output)
            editor.forward(exp, node.output)
            editor.forward(node, node.inputs[0])
    assert walked == ["relu", "neg", "add"]
    verify(editor.graph())


def test_public_results_are_not_used_once() -> None:
    graph = chain()
    editor = Editor(graph)
    relu, _, neg, _ = graph.nodes
    assert editor.uses(neg.output) == 1 and editor.is_kept(neg.output)
    assert not editor.used_once(neg.output)
    assert not editor.can_forward(neg, graph.inputs[0].value)
    assert not editor.can_forward(neg, graph.outputs[1].value)
    assert editor.can_forward(neg, relu.output)
    editor.forward(neg, relu.output)
    assert editor.is_kept(relu.output)


def test_equal_constants_share_a_value() -> None:
    editor = Editor(chain())
    one = editor.constant(np.ones(2, np.float32))
    assert editor.constant(np.ones(2, np.float32)) == one
    assert editor.constant(np.ones(3, np.float32)) != one
    assert editor.constant(np.ones(2, np.bool_)) != editor.constant(np.ones(2, np.bool_), DType.BIT)


def test_constants_remember_what_they_were_before_rounding() -> None:
    editor = Editor(chain())
    third = np.array([1 / 3])
    value = editor.rounded(third, DType.F32)
    exact = editor.exact(value)
    assert exact is not None and exact[0] == 1 / 3
    array = editor.array(value)
    assert array is not None and array.dtype == np.float32
    # The same float32 number without an unrounded array is another constant.
    plain = editor.constant(third.astype(np.float32))
    assert plain != value
    stated = editor.exact(plain)
    assert stated is not None and stated[0] == np.float32(1 / 3)
    assert editor.rounded(np.array([0.5]), DType.F32) == editor.constant(
        np.full(1, 0.5, np.float32)
    )
    assert editor.exact(editor.constant(np.ones(1, np.int32))) is None
    assert editor.exact("in0") is None


def test_new_ids_differ_from_old_ones() -> None:
    editor = Editor(chain())
    first = editor.constant(np.zeros(1, np.float32))
    relu = next(editor.nodes())
    editor.replace(relu, Add(), relu.inputs[0], first)
    second = Editor(editor.graph())
    assert second.constant(np.ones(1, np.float32)) != first


def test_sources_merge_in_order() -> None:
    nodes = chain().nodes
    assert merged_source(nodes[1], nodes[0], nodes[1]) == ("e", "r")


@pytest.mark.parametrize("length", [20_000])
def test_long_chains_of_renames(length: int) -> None:
    b = GraphBuilder("long")
    x = b.input("x", TensorType(DType.F32, (1,)))
    y = b.add(Exp(), x)
    for _ in range(length):
        y = b.add(Relu(), y)
    b.output("y", y)
    graph = b.build()
    editor = Editor(graph)
    for node in reversed(graph.nodes[1:]):
        editor.forward(node, node.inputs[0])
    assert editor.current(y.id) == graph.nodes[0].output
    assert len(editor.graph().nodes) == 1

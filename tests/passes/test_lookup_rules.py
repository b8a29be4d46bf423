"""Tables of bytes that can be replaced by cheaper operators, and those that cannot."""

from __future__ import annotations

import numpy as np
import pytest

from ellc.ir.builder import GraphBuilder
from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate
from ellc.ir.op import Op
from ellc.ir.ops.pointwise import Add, Cast, Clip
from ellc.ir.ops.quantised import Lookup
from ellc.ir.pipeline import parse_passes, run_pipeline
from ellc.ir.types import Array, DType, TensorType

SIGNED, UNSIGNED = np.arange(-128, 128), np.arange(256)
ALL = {DType.I8: SIGNED.astype(np.int8), DType.U8: UNSIGNED.astype(np.uint8)}


def looked_up(x: DType, *tables: Array) -> Graph:
    """A chain of tables on all bytes, and a sum, so that no table computes an output."""
    b = GraphBuilder("tables")
    made = b.input("x", TensorType(x, (256,)))
    for table in tables:
        made = b.add(Lookup(DType.of(table.dtype)), made, b.constant(table))
    b.output("y", b.add(Add(), made, made))
    return b.build()


def simplified(graph: Graph) -> list[Op]:
    """The operators after `simplify`, which must give the same results as the tables."""
    after, _ = run_pipeline(graph, parse_passes("simplify, eliminate_dead"))
    codes = ALL[graph.input_types()[0].dtype]
    (got,), (want,) = evaluate(after, (codes,)).outputs, evaluate(graph, (codes,)).outputs
    np.testing.assert_array_equal(got, want, strict=True)
    return [node.op for node in after.nodes[:-1]]


@pytest.mark.parametrize(
    ("x", "table", "want"),
    [
        (DType.I8, SIGNED.astype(np.int8), []),
        (DType.I8, np.clip(SIGNED, -3, 127).astype(np.int8), [Clip(-3.0, 127.0)]),
        (DType.U8, np.clip(UNSIGNED, 10, 200).astype(np.uint8), [Clip(10.0, 200.0)]),
        (DType.U8, np.full(256, 7, np.uint8), [Clip(7.0, 7.0)]),
        (DType.U8, (UNSIGNED + 5).astype(np.uint8), [Add()]),
        (DType.U8, SIGNED.astype(np.int8), [Cast(DType.I8), Add()]),
        (DType.I8, UNSIGNED.astype(np.uint8), [Cast(DType.U8), Add()]),
        (DType.I8, SIGNED[::-1].astype(np.int8), [Lookup(DType.I8)]),
        (DType.I8, np.clip(SIGNED + 1, -128, 127).astype(np.int8), [Lookup(DType.I8)]),
        (DType.I8, UNSIGNED.astype(np.float32), [Lookup(DType.F32)]),
    ],
)
def test_a_table_becomes(x: DType, table: Array, want: list[Op]) -> None:
    assert simplified(looked_up(x, table)) == want


def test_tables_of_tables_are_one() -> None:
    rng = np.random.default_rng(4)
    first, second = rng.permutation(256).astype(np.uint8), rng.permutation(256).astype(np.uint8)
    assert simplified(looked_up(DType.I8, first, second.view(np.int8))) == [Lookup(DType.I8)]
    inverse = np.argsort(first).astype(np.uint8)
    assert simplified(looked_up(DType.U8, first, inverse)) == []

"""Every attribute, optional operand and element type is read correctly, or declined."""

from __future__ import annotations

import numpy as np
import onnx_graph_bases as graphs
import pytest
from onnx_declined import DOCUMENT, page
from onnx_models import Arrays, expected, read
from onnx_references import run
from onnx_schema_cases import Case, cases, specified_operators, versions

from ellc.frontends.onnx.registry import all_operators
from ellc.ir.errors import EllcError
from ellc.ir.interp import evaluate
from ellc.ir.types import Array

TABLE = all_operators()
OPERATORS = specified_operators()


@pytest.mark.slow
@pytest.mark.parametrize("operator", OPERATORS)
def test_what_the_specification_allows_is_read_or_declined(operator: str) -> None:
    problems = [f"{case}: {wrong}" for case in cases(operator) if (wrong := _wrong(case))]
    assert not problems, "\n".join(problems)


def _wrong(case: Case) -> str:
    """A description of what is wrong with the import of a case; empty if it is correct."""
    try:
        graph = read(case.proto)
    except EllcError as error:
        said = "; ".join(error.problems) or error.message
        part = case.part.split()[0]
        reasons = [d.reason for d in TABLE.declined[case.operator] if d.part == part]
        return "" if any(reason in said for reason in reasons) else said
    results = evaluate(graph, tuple(case.inputs[p.name] for p in graph.inputs)).outputs
    wanted = _expected(case) if case.judged else None
    if wanted is None:
        return ""
    if case.operator == "NonMaxSuppression":  # ellc returns the largest number of rows
        (rows,), (kept,) = results, wanted
        assert (rows[len(kept) :] == -1).all()
        results = (rows[: len(kept)],)
    differing = (_difference(*pair) for pair in zip(results, wanted, strict=True))
    return next(filter(None, differing), "")


def _expected(case: Case) -> list[Array] | None:
    """The results of ONNX's evaluator (or of ours) for a case; None if it cannot evaluate it."""
    inputs: Arrays = case.inputs
    if any(n.op_type in graphs.BASES for n in case.proto.graph.node):
        return [np.asarray(y) for y in run(case.proto.graph, inputs)]
    try:
        return expected(case.proto, inputs)
    except Exception:  # various exceptions mean that it does not support the version or value
        return None


def _difference(got: Array, want: Array) -> str:
    half = want.dtype.kind not in "biuf" or want.dtype == np.float16
    if got.shape != want.shape or (got.dtype != want.dtype and not half):
        return f"{got.dtype}{got.shape} instead of {want.dtype}{want.shape}"
    # The evaluator rounds to half precision after every internal operation.
    tolerance = 5e-2 if half else 1e-4
    if np.allclose(got.astype(float), want.astype(float), tolerance, tolerance, equal_nan=True):
        return ""
    return f"off by {np.abs(got.astype(float) - want.astype(float)).max()}"


@pytest.mark.parametrize("operator", OPERATORS)
def test_the_table_names_what_the_specification_has(operator: str) -> None:
    every = versions(operator)
    known = {a for s in every for a in s.attributes} | {i.name for s in every for i in s.inputs}
    known |= {o.name for s in every for o in s.outputs}
    named = [d.name for d in TABLE.declined[operator] if d.part != "type"]
    assert known >= {*named}


def test_the_page_is_what_the_table_says() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert text == page(), "python tests/support/onnx_declined.py --write"

"""Operands of rank 0 for every operator of both importers, compared with the references."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_graph_bases as graphs
import pytest
from axis_cases import names_axes
from onnx_models import expected, read
from onnx_schema_cases import (
    BASES,
    Base,
    Case,
    X,
    case_of,
    in_version,
    specified_operators,
    versions,
)
from tflite_agreement import difference, every_case, imported
from tflite_cases import TfliteCase
from tflite_files import T, reference

from ellc.ir.errors import EllcError
from ellc.ir.interp import evaluate
from ellc.ir.types import Array

# Operators along axes. ONNX's evaluator accepts what numpy accepts; LiteRT reads past a scalar.
_ALONG_AXES = {
    *("ArgMax", "ArgMin", "BatchNormalization", "CenterCropPad", "Flatten", "Gemm"),
    *("GlobalAveragePool", "InstanceNormalization", "LayerNormalization", "LpNormalization"),
    *("MatMul", "PRelu", "Resize", "Shape", "Softmax", "Tile", "LOG_SOFTMAX"),
}


@pytest.mark.slow
def test_onnx() -> None:
    cases = list(onnx_cases())
    wrong = [f"{case}: {why}" for case in cases if (why := _onnx_wrong(case))]
    assert not wrong, "\n".join(wrong)


def onnx_cases() -> Iterator[Case]:
    """The newest version of each operator, with a first operand, or all operands, of rank 0."""
    for name in specified_operators():
        if name in graphs.BASES:
            continue
        schema = versions(name)[-1]
        base = in_version(BASES.get(name, Base((X,))), schema, schema)
        if not base.operands or isinstance(base.operands[0], tuple):
            continue
        first, *rest = base.operands
        for label, others in ("first", rest), ("all", [_onnx_scalar(x) for x in rest]):
            said = replace(base, operands=(_onnx_scalar(first), *others))
            yield case_of(schema, said, "rank 0", label)


def _onnx_scalar(x: object) -> Array | None:
    return None if x is None else np.asarray(x).reshape(-1)[:1].reshape(())


def _onnx_wrong(case: Case) -> str:
    try:
        with warnings.catch_warnings(action="ignore"):
            wanted = expected(case.proto, case.inputs)
    except Exception:  # various exceptions mean that the evaluator does not accept a scalar
        return ""
    try:
        graph = read(case.proto)
    except EllcError as error:
        return "" if case.operator in _ALONG_AXES else "; ".join(error.problems)
    found = evaluate(graph, tuple(case.inputs[p.name] for p in graph.inputs)).outputs
    return next((why for a, b in zip(found, wanted, strict=True) if (why := _differs(a, b))), "")


def _differs(found: Array, wanted: Array) -> str:
    if found.shape != wanted.shape:
        return f"shape {found.shape} instead of {wanted.shape}"
    same = np.allclose(found.astype(float), wanted.astype(float), 1e-4, 1e-4, equal_nan=True)
    return "" if same else f"{found} instead of {wanted}"


def test_tflite(tmp_path: Path) -> None:
    cases = list(tflite_cases())
    wrong = [f"{case}: {why}" for case in cases if (why := _tflite_wrong(case, tmp_path))]
    assert not wrong, "\n".join(wrong)


def tflite_cases() -> Iterator[TfliteCase]:
    """Operators whose result has the shape of the first operand, for every element type."""
    tried = set()
    for case in every_case():
        first, result = case.operands[0], case.results[0]
        kind = case.kind, *((t.dtype, bool(t.scale)) for t in case.operands if t)
        like = first is not None and first.shape == result.shape and len(case.results) == 1
        along = names_axes(case) or case.kind in _ALONG_AXES
        if like and kind not in tried and not along and case.calls == 1:
            tried.add(kind)
            operands = tuple(t and _tflite_scalar(t) for t in case.operands)
            yield replace(case, operands=operands, results=(_tflite_scalar(result),), given=())


def _tflite_scalar(tensor: T) -> T:
    data = None if tensor.data is None else np.asarray(tensor.data).reshape(-1)[:1].reshape(())
    return replace(tensor, shape=(), data=data)


def _tflite_wrong(case: TfliteCase, folder: Path) -> str:
    try:
        ((wanted,),) = reference(case.data(), case.inputs())
    except (RuntimeError, ValueError):
        return ""
    try:
        ((found,),) = imported(case, folder)
    except EllcError as error:
        return "; ".join(error.problems)
    return difference(found, wanted)

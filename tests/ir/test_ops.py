"""Tests that every registered operator must pass."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path

import numpy as np
import pytest

from ellc.ir.builder import GraphBuilder, Ref
from ellc.ir.container import load, save
from ellc.ir.errors import ShapeError
from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate
from ellc.ir.op import Case, Op, Pointwise, all_ops
from ellc.ir.text import parse, print_graph
from ellc.ir.types import Array
from ellc.ir.verify import verify


def all_cases() -> list[tuple[str, Case]]:
    found = []
    for name, cls in all_ops().items():
        for index, case in enumerate(cls.samples(np.random.default_rng(7))):
            found.append((f"{name}-{index}-{case.label.replace(' ', '_')}", case))
    return found


CASES = all_cases()
each_case = pytest.mark.parametrize("case", [c for _, c in CASES], ids=[n for n, _ in CASES])
each_op = pytest.mark.parametrize("cls", all_ops().values(), ids=all_ops().keys())


def graph_of(case: Case) -> tuple[Graph, tuple[Array, ...]]:
    """(graph of the operator of a case, arrays for its inputs)."""
    builder = GraphBuilder(case.label)
    operands: list[Ref] = []
    inputs: list[Array] = []
    for index, (array, type_) in enumerate(zip(case.inputs, case.types(), strict=True)):
        if index in case.constants:
            operands.append(builder.constant(array, type_.dtype))
        else:
            operands.append(builder.input(f"x{index}", type_))
            inputs.append(array)
    for index, result in enumerate(builder.add_multi(case.op, *operands, source="layer")):
        builder.output(f"y{index}", result)
    return builder.build(), tuple(inputs)


def assert_close(got: Array, want: Array) -> None:
    """Assert that arrays are equal; floats may differ by float32 rounding."""
    assert got.shape == want.shape
    if want.dtype.kind != "f":
        np.testing.assert_array_equal(got, want)
        return
    with np.errstate(over="ignore"):
        stored = want.astype(got.dtype)  # finite float64 numbers may be infinite in float32
    finite = np.isfinite(stored)
    np.testing.assert_array_equal(got[~finite], stored[~finite])
    scale = np.max(np.abs(want[finite]), initial=0.0)
    bound = 1e-4 * np.maximum(np.abs(want[finite]), 1e-2 * scale)
    assert np.all(np.abs(got[finite].astype(np.float64) - want[finite]) <= bound)


@each_case
def test_inference_agrees_with_the_reference(case: Case) -> None:
    with np.errstate(all="ignore"):
        results = case.op.reference(*case.inputs)
    types = case.op.infer(*case.types())
    assert len(results) == len(types)
    for array, type_ in zip(results, types, strict=True):
        assert isinstance(array, np.ndarray)
        assert array.shape == type_.shape
        assert array.dtype == type_.dtype.numpy


@each_case
def test_float64_agrees_with_float32(case: Case) -> None:
    graph, inputs = graph_of(case)
    single, double = evaluate(graph, inputs), evaluate(graph, inputs, double=True)
    for got, want in zip(single.outputs, double.outputs, strict=True):
        assert want.dtype == (np.float64 if got.dtype == np.float32 else got.dtype)
        assert_close(got, want)


@each_case
def test_the_reference_leaves_its_operands_alone(case: Case) -> None:
    copies = [x.copy() for x in case.inputs]
    with np.errstate(all="ignore"):
        results = case.op.reference(*case.inputs)
    for array, copy in zip(case.inputs, copies, strict=True):
        np.testing.assert_array_equal(array, copy)
    assert all(np.isfinite(r).all() or "special" in case.label for r in results)


@each_case
def test_text_and_container_round_trip(case: Case, tmp_path: Path) -> None:
    graph, _ = graph_of(case)
    verify(graph)
    again = parse(print_graph(graph), graph.weights)
    assert again == graph
    assert hash(again) == hash(graph)
    save(graph, tmp_path / "case.eir")
    loaded = load(tmp_path / "case.eir", check=True)
    assert loaded == graph
    for value, array in graph.constant_arrays().items():
        np.testing.assert_array_equal(loaded.constant_arrays()[value], array, strict=True)


@each_case
def test_samples_are_small_and_frozen(case: Case) -> None:
    assert sum(x.size for x in case.inputs) < 40_000
    graph, _ = graph_of(case)
    (node,) = graph.nodes
    operands, results = graph.node_types(node)
    assert 0 <= case.op.macs(operands, results) < 3_000_000
    assert hash(case.op) == hash(dataclasses.replace(case.op))


@each_case
def test_wrong_operands_are_shape_errors(case: Case) -> None:
    types = case.types()
    with pytest.raises(ShapeError):
        case.op.infer()
    if case.op.name != "concat":
        with pytest.raises(ShapeError):
            case.op.infer(*types, *[types[0]] * 12)


@each_op
def test_every_operator_is_documented_and_sampled(cls: type[Op]) -> None:
    assert dataclasses.is_dataclass(cls)
    assert cls.__dataclass_params__.frozen  # type: ignore[attr-defined]
    doc = inspect.getdoc(cls) or ""
    assert doc and not doc.startswith(cls.__name__ + "("), "the class has no docstring"
    cases = list(cls.samples(np.random.default_rng(1)))
    assert cases
    labels = [c.label for c in cases]
    assert len(set(labels)) == len(labels), f"labels repeat: {labels}"
    assert all(labels)


@each_op
def test_samples_depend_on_the_generator_only(cls: type[Op]) -> None:
    first = list(cls.samples(np.random.default_rng(3)))
    second = list(cls.samples(np.random.default_rng(3)))
    for a, b in zip(first, second, strict=True):
        assert (a.op, a.constants, a.dtypes) == (b.op, b.constants, b.dtypes)
        for x, y in zip(a.inputs, b.inputs, strict=True):
            np.testing.assert_array_equal(x, y)


POINTWISE = [c for n, c in CASES if isinstance(c.op, Pointwise)]


def test_pointwise_results_keep_the_first_operand_s_shape() -> None:
    for case in POINTWISE:
        (result,) = case.op.infer(*case.types())
        assert result.shape == case.inputs[0].shape


def test_pointwise_results_depend_on_their_own_element_only() -> None:
    for case in POINTWISE:
        x, *rest = case.inputs
        with np.errstate(all="ignore"):
            (whole,) = case.op.reference(x, *rest)
            last = (np.broadcast_to(r, x.shape)[..., -1:] for r in rest)
            (part,) = case.op.reference(x[..., -1:], *last)
        np.testing.assert_array_equal(part, whole[..., -1:])

"""Every operator with operands of another rank, type or value gives an error with the reason.

An error that only hides a Python exception, raised for an unchecked number, is a mistake
(`hidden_cause`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from hidden import hidden_cause
from onnx_models import model, node
from onnx_schema_cases import BASES, Base
from tflite_byte_cases import byte_cases
from tflite_cases import TfliteCase
from tflite_files import T, TFLiteFile, options
from tflite_float_cases import float_cases
from tflite_layer_cases import layer_cases
from tflite_movement_cases import movement_cases

from ellc.frontends.onnx.read import read_onnx
from ellc.frontends.tflite.read import read_tflite
from ellc.ir.errors import EllcError
from ellc.ir.interp import evaluate
from ellc.ir.text import parse, print_graph
from ellc.ir.types import Array

ODD = {"f": (np.nan, np.inf), "i": (-1, 2**62), "u": (255,)}


def others(array: Array) -> Iterator[Array]:
    """Versions of the array with another rank, number of elements or type, or with odd elements."""
    yield np.resize(array, ())
    yield array[None]
    yield array[:0] if array.ndim else array.reshape(1)[:0]
    yield array.astype(np.int32 if array.dtype.kind == "f" else np.float32)
    for number in ODD.get(array.dtype.kind, ()):
        if array.dtype.kind == "f" or number <= np.iinfo(array.dtype).max:
            yield np.full_like(array, number)


def odd_onnx(operator: str, base: Base) -> Iterator[onnx.ModelProto]:
    """Models in which one operand is odd: once as a constant, once as a computed value."""
    for index, changed in enumerate(base.operands):
        for array in () if changed is None else others(np.asarray(changed)):
            for computed in {0, index} if array.size else {0}:
                given = [array if i == index else x for i, x in enumerate(base.operands)]
                names = [f"x{i}" if x is not None else "" for i, x in enumerate(given)]
                outputs = [f"y{i}" for i in range(base.outputs)]
                values = {n: np.asarray(x) for n, x in zip(names, given, strict=True) if n}
                inputs = {f"x{computed}": values.pop(f"x{computed}")}
                nodes = [node(operator, names, outputs, **base.attributes)]
                yield model(nodes, inputs, outputs, values, opset=23)


def odd_tflite(cases: Iterable[TfliteCase]) -> Iterator[TfliteCase]:
    """The first case of each operator, quantised and not, with one operand or option changed."""
    firsts: dict[object, TfliteCase] = {}
    for case in cases:
        firsts.setdefault((case.kind, any(t and t.scale for t in case.operands)), case)
    for case in firsts.values():
        for index, operand in enumerate(case.operands):
            for changed in () if operand is None else _other_tensors(operand):
                given = list(case.operands)
                given[index] = changed
                yield replace(case, operands=tuple(given))
        yield from (replace(case, options=o) for o in _other_options(case.options))


def _other_options(options: object) -> Iterator[object]:
    """Options with an integer negated, or another number replaced by NaN."""
    for name, value in (
        () if options is None or isinstance(options, dict) else vars(options).items()
    ):
        if isinstance(value, int | float) and not isinstance(value, bool):
            changed = copy.copy(options)
            setattr(changed, name, np.nan if isinstance(value, float) else -1)
            yield changed


def _other_tensors(tensor: T) -> Iterator[T]:
    if tensor.data is not None:
        for data in others(tensor.data):
            yield replace(tensor, shape=data.shape, data=data, dtype=data.dtype.name)
        return
    for shape in ((), (1, *tensor.shape), (0, *tensor.shape[1:])):
        yield replace(tensor, shape=shape)
    yield replace(tensor, dtype="int32" if tensor.dtype == "float32" else "float32")


def slip(data: bytes, path: Path, read: Callable[[Path], object]) -> str:
    """The mistake of ellc that an error about a file hides; empty if there is none."""
    path.unlink(missing_ok=True)  # a new name, because replacing an existing file can be slow
    path.write_bytes(data)
    try:
        read(path)
    except EllcError as error:
        hidden = hidden_cause(error)
        return "" if hidden is None else f"{error.report()}: {hidden!r}"
    return ""


@pytest.mark.slow
def test_onnx_operators_look_at_their_operands(tmp_path: Path) -> None:
    path, found = tmp_path / "x.onnx", {}
    for operator, base in BASES.items():
        for odd in odd_onnx(operator, base):
            if said := slip(odd.SerializeToString(), path, read_onnx):
                found[operator] = said
    assert not found


@pytest.mark.slow
def test_tflite_operators_look_at_their_operands(tmp_path: Path) -> None:
    path, found = tmp_path / "x.tflite", {}
    families = (byte_cases, float_cases, layer_cases, movement_cases)
    for odd in odd_tflite(case for family in families for case in family()):
        if said := slip(odd.data(), path, read_tflite):
            found[odd.kind] = said
    assert not found


@pytest.mark.slow
def test_a_variable_of_another_type_is_refused(tmp_path: Path) -> None:
    """This holds even if only the next value of the variable has another type."""
    path = tmp_path / "x.tflite"
    for case in layer_cases():
        for index, operand in enumerate(case.operands):
            if operand is None or not operand.variable:
                continue
            for dtype in {"int8", "int16", "float32"} - {operand.dtype}:
                changed = replace(operand, dtype=dtype)
                given = (*case.operands[:index], changed, *case.operands[index + 1 :])
                path.write_bytes(replace(case, operands=given).data())
                with pytest.raises(EllcError, match="E212"):
                    read_tflite(path)


@pytest.mark.parametrize("step", [np.iinfo(np.int64).min, np.iinfo(np.int64).max])
def test_a_step_that_no_element_takes_is_any_number(step: int, tmp_path: Path) -> None:
    begin, end = (-1, -9) if step < 0 else (0, 9)
    bounds = {
        "s": np.array([begin]),
        "e": np.array([end]),
        "a": np.array([0]),
        "t": np.array([step]),
    }
    x = np.arange(5, dtype=np.float32)
    made = model([node("Slice", ["x", *bounds], ["y"])], {"x": x}, ["y"], bounds)
    (tmp_path / "x.onnx").write_bytes(made.SerializeToString())
    operands = (T((5,)), *(T.of(np.array([n], np.int64)) for n in (begin, end, step)))
    case = TfliteCase("STRIDED_SLICE", "", operands, (T((1,)),), options("StridedSliceOptions"))
    (tmp_path / "x.tflite").write_bytes(case.data())
    for graph in (read_onnx(tmp_path / "x.onnx"), read_tflite(tmp_path / "x.tflite")):
        again = parse(print_graph(graph), graph.weights)
        np.testing.assert_array_equal(evaluate(again, (x,)).outputs[0], x[[begin]])


def test_what_an_operator_says_of_its_operands(tmp_path: Path) -> None:
    """Messages about an axis, a finite number, a range, and an output of a body."""
    scalar = np.float32(1)
    body = onnx.helper.make_graph([], "body", [], [onnx.ValueInfoProto(name="")])
    branches = {"then_branch": body, "else_branch": body}
    for made, given, known, said in (
        (node("Trilu", ["x"], ["y"]), scalar, {}, "its operand 'x' of shape [] has no axis -2"),
        (node("Range", ["a", "a", "x"], ["y"]), scalar, {"a": np.float32(np.nan)}, "start is nan"),
        (node("If", ["c"], ["y"], **branches), scalar, {"c": np.array(True)},
         "no node inside it makes its output ''"),
        (node("OneHot", ["i", "d", "v"], ["y"]), scalar,
         {"i": np.zeros(2, np.int32), "d": np.int64(2**40), "v": np.zeros(2, np.float32)},
         "1099511627776 does not fit into i32"),
        (node("MaxUnpool", ["x", "i"], ["y"], kernel_shape=[2**31, 2**31]),
         np.ones((1, 1, 2, 2), np.float32), {"i": np.zeros((1, 1, 2, 2), np.int64)},
         "a constant would have more than"),
    ):  # fmt: skip
        onnx.save(model([made], {"x": given}, ["y"], known), tmp_path / "x.onnx")
        with pytest.raises(EllcError) as caught:
            read_onnx(tmp_path / "x.onnx")
        assert said in caught.value.report()
    shape = TfliteCase("SHAPE", "", (T((1, 200)),), (T((2,), "int8"),))
    option = schema.LeakyReluOptionsT()
    option.alpha = np.nan
    bytes_ = T((1, 4), "int8", scale=(0.1,))
    slope = TfliteCase("LEAKY_RELU", "", (bytes_,), (bytes_,), option)
    alone = TfliteCase("WHILE", "", (T((1, 4)),), (T((1, 4)),))
    huge = TfliteCase("RELU", "", (T((0, 2**31 - 1, 2**31 - 1)),), (T((1, 2)),))
    for data, said in (
        (shape.data(), "200 does not fit into i8"),
        (slope.data(), "its option Alpha is nan, which is not finite"),
        (huge.data(), "would have more than"),
        (alone.data(), "its number of graphs is 0, not 2"),
        (_two_cells_of_one_state(), "its state 'h' is also the state of another operator"),
    ):
        (tmp_path / "x.tflite").write_bytes(data)
        with pytest.raises(EllcError) as caught:
            read_tflite(tmp_path / "x.tflite")
        assert said in caught.value.report()


def _two_cells_of_one_state() -> bytes:
    file, square = TFLiteFile(), np.eye(2, dtype=np.float32)
    tensors = (T((1, 2)), T.of(square), T.of(square), T.of(square[0]))
    operands = [*map(file.add, tensors), file.add(T((1, 2), variable=True, name="h"))]
    options = schema.RNNOptionsT()
    options.fusedActivationFunction = 4
    made = [file.add(T((1, 2))) for _ in range(2)]
    for result in made:
        file.apply("RNN", operands, [result], options)
    return file.data(operands[:1], made)

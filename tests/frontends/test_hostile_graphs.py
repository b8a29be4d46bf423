"""Models with numbers that are invalid, or need too much memory, give one clear error."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx_models import compare, computed, model, node, read
from tflite_cases import TfliteCase, ints, stored
from tflite_files import T, options, reference

from ellc.codegen.blocks.operands import expanded
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.planning.planner import Options, make_plan
from ellc.driver import CompileOptions, compile_model
from ellc.frontends.graph_import.values import Nonsense
from ellc.frontends.tflite.read import read_tflite
from ellc.ir.errors import EllcError, ShapeError
from ellc.ir.graph import Graph
from ellc.ir.ops.padding import Pad
from ellc.ir.ops.resize import Resize
from ellc.ir.pipeline import run_pipeline
from ellc.ir.types import DType, TensorType
from ellc.ir.verify import verify

X = np.linspace(-1, 1, 4, dtype=np.float32).reshape(1, 4)
HUGE = 2**31 - 1
HOST = resolve("host")


def outcome(proto: onnx.ModelProto) -> str:
    """`graph`, or the code of the error."""
    try:
        verify(read(proto))
    except EllcError as error:
        assert error.message
        return error.code
    return "graph"


# ---- indices that are constants ---------------------------------------------------------------


def reading_at(kind: str, index: int, is_known: bool) -> onnx.ModelProto:
    """An operator that reads or writes row `index` of a table of two rows, constant or not."""
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    given = {"i": np.array([0, index]), "j": np.array([[index, 0, 1]]), "k": np.array([[index]])}
    given |= {"u": np.ones((1, 3), "f4"), **({"t": x} if is_known else {})}
    table = "t" if is_known else "x"
    nodes = {
        "Gather": node(kind, [table, "i"], ["y"]),
        "GatherElements": node(kind, [table, "j"], ["y"]),
        "GatherND": node(kind, [table, "k"], ["y"]),
        "ScatterElements": node(kind, [table, "j", "u"], ["y"]),
        "ScatterND": node(kind, [table, "k", "u"], ["y"]),
    }
    return model([nodes[kind], node("Add", ["x", "x"], ["z"])], {"x": x}, ["y", "z"], given)


@pytest.mark.parametrize("is_known", [False, True])
@pytest.mark.parametrize(
    "kind", ["Gather", "GatherElements", "GatherND", "ScatterElements", "ScatterND"]
)
def test_a_constant_index_is_inside_or_refused(kind: str, is_known: bool) -> None:
    """In ONNX, -1 counts from the end; other indices outside of the axis are an error."""
    for index in (-2, -1, 0, 1):
        assert outcome(reading_at(kind, index, is_known)) == "graph"
    for index in (-HUGE, -3, 2, HUGE):
        with pytest.raises(EllcError, match="E212") as caught:
            read(reading_at(kind, index, is_known))
        assert f"index {index} " in caught.value.problems[0]
        assert kind in caught.value.problems[0]


TFLITE_READERS = {
    "GATHER": lambda i: ((T((2, 3)), ints(0, i)), (2, 3), options("GatherOptions")),
    "GATHER in batches": lambda i: (
        (T((2, 2)), T.of(np.array([[0], [i]], np.int32))),
        (2, 1),
        options("GatherOptions", axis=1, batchDims=1),
    ),
    "GATHER_ND": lambda i: (
        (T((2, 3)), T.of(np.array([[0, i]], np.int32))),
        (1,),
        options("GatherNdOptions"),
    ),
    "EMBEDDING_LOOKUP": lambda i: ((ints(0, i), T((2, 3))), (2, 3), None),
}


@pytest.mark.parametrize("kind", TFLITE_READERS)
def test_a_constant_index_of_tflite_is_inside_or_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x.tflite"

    def written(index: int) -> Path:
        operands, shape, chosen = TFLITE_READERS[kind](index)
        path.write_bytes(TfliteCase(kind.split()[0], "", operands, (T(shape),), chosen).data())
        return path

    verify(read_tflite(written(1)))
    for index in (-HUGE, -1, 3, HUGE):
        with pytest.raises(EllcError, match="E212") as caught:
            read_tflite(written(index))
        assert str(index) in caught.value.problems[0]


# ---- numbers that no handler can use ------------------------------------------------------------


def with_operand(kind: str, operand: object) -> onnx.ModelProto:
    """A model of one operator with this operand."""
    given = {"n": np.array(operand), "v": np.array([0, 1], "f4"), "i": np.zeros((1, 1), np.int64)}
    nodes = {
        "OneHot": node(kind, ["i", "n", "v"], ["y"]),
        "EyeLike": node(kind, ["n"], ["y"]),
        "Trilu": node(kind, ["x", "n"], ["y"]),
        "CumSum": node(kind, ["x", "n"], ["y"]),
        "TopK": node(kind, ["x", "n"], ["y", "places"]),
        "HannWindow": node(kind, ["n"], ["y"]),
    }
    return model([nodes[kind], node("Add", ["x", "x"], ["z"])], {"x": X}, ["z", "y"], given)


@pytest.mark.parametrize("operand", [np.nan, np.inf, [], [1, 2, 3], [[[1]]]])
@pytest.mark.parametrize("kind", ["OneHot", "EyeLike", "Trilu", "CumSum", "TopK", "HannWindow"])
def test_a_number_that_is_none_is_said_by_a_check(kind: str, operand: object) -> None:
    """A check must find the number; it must not be found by a Python exception (`Nonsense`)."""
    try:
        read(with_operand(kind, operand))
    except EllcError as error:
        assert not isinstance(error.__cause__, Nonsense), error


# ---- constants that are computed at import ------------------------------------------------------


def asking(kind: str, numbers: int) -> onnx.ModelProto:
    """A model of an operator that fills a tensor with this number of elements."""
    shape = [1, numbers]
    info = helper.make_tensor_value_info("x", 1, shape)
    given = {"n": np.array(shape), "i": np.zeros((1, 1), np.int64), "v": np.array([0, 1], "f4")}
    given |= {"d": np.array(numbers), "u": np.zeros((1, 1), "f4"), "one": np.array(1)}
    nodes = {
        "Hardmax": [node(kind, ["x"], ["y"])],
        "EyeLike": [node(kind, ["x"], ["e"]), node("Add", ["x", "e"], ["y"])],
        "Trilu": [node(kind, ["x"], ["y"])],
        "OneHot": [node(kind, ["i", "d", "v"], ["o"]), node("ReduceMax", ["o"], ["y"])],
        "ScatterElements": [node(kind, ["x", "i", "u"], ["y"], axis=1)],
        "ScatterND": [node(kind, ["x", "n", "s"], ["y"])],
        "HannWindow": [node(kind, ["d"], ["w"]), node("Add", ["x", "w"], ["y"])],
        "ConstantOfShape": [node(kind, ["n"], ["c"]), node("Add", ["x", "c"], ["y"])],
        "Expand": [node(kind, ["v", "n"], ["c"]), node("Add", ["x", "c"], ["y"])],
        "Range": [node(kind, ["z", "d", "one"], ["c"]), node("Cast", ["c"], ["y"], to=1)],
        "Tile": [node(kind, ["u", "n"], ["c"]), node("Add", ["x", "c"], ["y"])],
        "Pad": [node(kind, ["x", "p"], ["y"])],
        "MelWeightMatrix": [node(kind, ["d", "d", "d", "f", "f"], ["w"]),
                            node("ReduceMax", ["w"], ["y"])],
        "Resize": [node(kind, ["x", "", "", "n"], ["y"], mode="cubic")],
    }  # fmt: skip
    given |= {"z": np.array(0), "p": np.array([0, 0, 0, numbers]), "f": np.array(9.0, "f4")}
    given |= {"s": np.zeros(1, "f4")}
    return model(nodes[kind], [info], ["y"], given)


KINDS = (
    *("Hardmax", "EyeLike", "Trilu", "OneHot", "ScatterElements", "ScatterND", "HannWindow"),
    *("ConstantOfShape", "Expand", "Range", "Tile", "Pad", "MelWeightMatrix", "Resize"),
)


@pytest.mark.parametrize("numbers", [HUGE, 2**40, 2**62])
@pytest.mark.parametrize("kind", KINDS)
def test_a_small_file_does_not_fill_the_memory(kind: str, numbers: int) -> None:
    """The model is refused, or keeps the operator; no array of that size is made at import."""
    if kind == "MelWeightMatrix":
        numbers = min(numbers, 2**40)  # here the number is also multiplied by a rate
    assert outcome(asking(kind, numbers)) in ("E203", "E212", "graph")


def test_many_constants_are_left_to_the_graph() -> None:
    """The total work of an import is bounded, not only that of each operator."""
    names = [f"c{i}" for i in range(400)]
    nodes = [node("Exp", [a], [b]) for a, b in pairwise(names)]
    nodes.append(node("Add", ["x", names[-1]], ["y"]))
    graph = read(model(nodes, {"x": X[:, :1]}, ["y"], {"c0": np.zeros((1, 1 << 20), "f4")}))
    assert any(n.op.name == "exp" for n in graph.nodes)


def counting(trips: int, filled: int) -> onnx.ModelProto:
    """A loop that fills a constant on every trip, from which it computes its counter."""
    inside = helper.make_graph(
        [
            node("Range", ["zero", "size", "one"], ["all"]),
            node("ReduceMax", ["all", "axis"], ["most"], keepdims=0),
            node("Min", ["most", "j"], ["less"]),
            node("Max", ["less", "one"], ["j_o"]),
            node("Identity", ["c"], ["c_o"]),
            node("Mul", ["s", "j_float"], ["s_o"]),
            node("Cast", ["j"], ["j_float"], to=1),
        ],
        "body",
        [onnx.ValueInfoProto(name=n) for n in ("i", "c", "j", "s")],
        [onnx.ValueInfoProto(name=n) for n in ("c_o", "j_o", "s_o")],
    )
    given = {"zero": np.array(0), "one": np.array(1), "size": np.array(filled)}
    given |= {"axis": np.array([0]), "trips": np.array(trips), "go": np.array(True)}
    loop = node("Loop", ["trips", "go", "one", "x"], ["j_last", "y"], body=inside)
    return model([loop], {"x": X}, ["y"], given)


def test_one_budget_for_all_trips() -> None:
    """All trips of a body share the budget of the import."""
    assert outcome(counting(20, 1000)) == "graph"
    assert outcome(counting(1000, 1 << 16)) == "E212"


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("dtype", [DType.F32, DType.I8, DType.U8])
def test_resize_to_no_end(mode: str, dtype: DType) -> None:
    for op in (
        Resize((1, HUGE, HUGE, 1), mode),
        Resize((1, 2, 2, 1), mode, scales=(1.0, 1e-30, 1.0, 1.0), antialias=True),
        Resize((1, 2, 2, 1), mode, scales=(1.0, float("nan"), 1.0, 1.0)),
        Resize((1, 2, 2, 1), mode, "tf_crop_and_resize", roi=(float("inf"),) * 8),
    ):
        if op.antialias and (mode == "nearest" or dtype is not DType.F32):
            continue
        with pytest.raises(ShapeError):
            op.infer(TensorType(dtype, (1, 4, 4, 1)))


# ---- quantisation -------------------------------------------------------------------------------


def quantised(zero_a: np.generic, zero_b: np.generic, zero_y: np.generic, kind: str = "Add"):
    """A QDQ sum or product whose operands may have different types."""
    nodes = [
        node("QuantizeLinear", ["x", "s", "za"], ["qa"]),
        node("DequantizeLinear", ["qa", "s", "za"], ["a"]),
        node("QuantizeLinear", ["x", "s", "zb"], ["qb"]),
        node("DequantizeLinear", ["qb", "s", "zb"], ["b"]),
        node(kind, ["a", "b"], ["c"]),
        node("QuantizeLinear", ["c", "s", "zy"], ["qy"]),
        node("DequantizeLinear", ["qy", "s", "zy"], ["y"]),
    ]
    zeros = {"za": np.array(zero_a), "zb": np.array(zero_b), "zy": np.array(zero_y)}
    return model(nodes, {"x": X}, ["y"], {"s": np.array(0.05, "f4"), **zeros}, opset=21)


@pytest.mark.parametrize("kind", ["Add", "Mul"])
@pytest.mark.parametrize("types", ["ub b", "bub", "buu", "ubu", "uub", "bbb", "uuu"])
def test_stored_operands_of_different_types(kind: str, types: str) -> None:
    zeros = [np.uint8(128) if t == "u" else np.int8(-3) for t in types.replace(" ", "")]
    compare(quantised(*zeros, kind=kind), {"x": X}, rtol=0, atol=1e-6)


BAD = {
    "no scale": lambda p: p.graph.node[0].input.__delitem__(slice(1, None)),
    "no operand": lambda p: p.graph.node[0].ClearField("input"),
    "no result": lambda p: p.graph.node[0].ClearField("output"),
    "sum of one": lambda p: p.graph.node[4].input.pop(),
    "sum of none": lambda p: p.graph.node[4].ClearField("input"),
    "infinite": lambda p: p.graph.initializer[0].CopyFrom(scale(np.inf)),
    "nan": lambda p: p.graph.initializer[0].CopyFrom(scale(np.nan)),
    "negative": lambda p: p.graph.initializer[0].CopyFrom(scale(-1.0)),
    "zero": lambda p: p.graph.initializer[0].CopyFrom(scale(0.0)),
    "none": lambda p: p.graph.initializer[0].CopyFrom(scale([])),
    "many": lambda p: p.graph.initializer[0].CopyFrom(scale([[1.0, 2.0], [3.0, 4.0]])),
    "integer": lambda p: p.graph.initializer[0].CopyFrom(scale(1, np.int32)),
    "zero points": lambda p: p.graph.initializer[1].CopyFrom(scale([1, 2, 3], np.uint8, "za")),
    "zero point nan": lambda p: p.graph.initializer[1].CopyFrom(scale(np.nan, name="za")),
    "zero point far": lambda p: p.graph.initializer[1].CopyFrom(scale(2**62, np.int64, "za")),
}


def scale(value: object, dtype: type = np.float32, name: str = "s") -> onnx.TensorProto:
    return onnx.numpy_helper.from_array(np.array(value, dtype), name)


@pytest.mark.parametrize("what", BAD)
def test_parameters_of_any_shape_and_value(what: str) -> None:
    proto = quantised(np.uint8(1), np.uint8(2), np.uint8(3))
    BAD[what](proto)
    assert outcome(proto) in ("E210", "E212") or what == "many"


@pytest.mark.parametrize("what", BAD)
def test_parameters_of_an_input(what: str) -> None:
    """The quantisation of an input is checked before any node is imported."""
    nodes = [node("DequantizeLinear", ["x", "s", "za"], ["y"])]
    given = {"s": np.array(0.05, "f4"), "za": np.array(1, np.uint8)}
    proto = model(nodes, {"x": np.zeros((1, 4), np.uint8)}, ["y"], given, opset=17)
    if "sum" not in what:
        BAD[what](proto)
        assert outcome(proto) in ("E210", "E212", "graph")


def relu6(factor: float, folder: Path) -> Graph:
    """An 8-bit sum with a fused ReLU6 and scales multiplied by a factor."""
    x = stored("int8", (1, 4), 0.1 * factor)
    chosen = options("AddOptions", fusedActivationFunction=3)
    data = TfliteCase("ADD", "", (x, x), (stored("int8", (1, 4), 0.2 * factor),), chosen).data()
    path = folder / "x.tflite"
    path.write_bytes(data)
    return read_tflite(path)


def test_activation_beyond_what_a_scale_can_say(tmp_path: Path) -> None:
    """If 6 / scale is infinite or needs more than 32 bits, TFLite also refuses the model."""
    for factor in (1e-44, 1e-38, 1e-8):
        with pytest.raises(EllcError, match="too small"):
            relu6(factor, tmp_path)
        data = (tmp_path / "x.tflite").read_bytes()
        with pytest.raises(RuntimeError, match="overflow"):
            reference(data, [np.zeros((1, 4), np.int8)] * 2)
    verify(relu6(1e-5, tmp_path))


@pytest.mark.parametrize("bad", [np.inf, np.nan, -1.0])
def test_scales_that_are_none(bad: float, tmp_path: Path) -> None:
    with pytest.raises(EllcError) as caught:
        relu6(bad, tmp_path)
    assert caught.value.code == "E210"


@pytest.mark.parametrize("size", [(HUGE, 4), (HUGE, HUGE), (-1, 4), (0, 4)])
@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_resize_of_a_small_file(size: tuple[int, int], dtype: str, tmp_path: Path) -> None:
    port = stored("int8", (1, 2, 2, 1), 0.1) if dtype == "int8" else T((1, 2, 2, 1))
    case = TfliteCase("RESIZE_BILINEAR", "", (port, ints(*size)), (port,),
                      options("ResizeBilinearOptions"))  # fmt: skip
    (tmp_path / "x.tflite").write_bytes(case.data())
    with pytest.raises(EllcError):
        read_tflite(tmp_path / "x.tflite")


# ---- a number has no edge -----------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect"])
def test_pad_of_a_number(mode: str) -> None:
    (got,) = Pad((), (), mode=mode).reference(np.array(3.0, np.float32))
    assert got.shape == () and got == 3
    nodes = [
        node("ReduceSum", ["x"], ["s"], keepdims=0),
        node("Pad", ["s", "p"], ["y"], mode=mode),
    ]
    proto = model(nodes, {"x": X}, ["y"], {"p": np.zeros(0, np.int64)})
    np.testing.assert_allclose(computed(proto, {"x": X})[0], X.sum(), atol=1e-6)


# ---- memory of the graph itself -----------------------------------------------------------------


def test_more_memory_than_can_be_addressed(tmp_path: Path) -> None:
    """Each tensor alone is within the limits; the error names the total size."""
    shape = [1, 1 << 29]
    info = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)
    nodes = [node("Softmax", [a], [b], axis=1) for a, b in pairwise("xabcy")]
    path = tmp_path / "x.onnx"
    path.write_bytes(model(nodes, [info], ["y"]).SerializeToString())
    with pytest.raises(EllcError, match="needs 4,294,967,296 bytes of memory") as caught:
        compile_model(path, "host", CompileOptions(), tmp_path / "out")
    assert caught.value.code == "E304"


@pytest.mark.parametrize("kind", ["AveragePool", "MaxPool"])
def test_pool_with_a_border_without_end(kind: str) -> None:
    """The result is small, because the window is as large as the border."""
    far = 2**62 - 1
    chosen = {"kernel_shape": [2, 2 * far + 1], "pads": [1, far, 0, far]}
    proto = model([node(kind, ["x"], ["y"], **chosen)], {"x": np.ones((1, 1, 4, 4), "f4")}, ["y"])
    assert outcome(proto) == "E212"


# ---- a small file whose code, plan or constants would be large ----------------------------------

GROWING = {
    "a trip for every row": (
        [node("RNN", ["x", "w", "r"], ["y"], hidden_size=1)],
        (1 << 20, 1, 1),
        {"w": np.ones((1, 1, 1), "f4"), "r": np.ones((1, 1, 1), "f4")},
        "",
    ),
    "code for every column of an edge": (
        [node("MaxPool", ["x"], ["y"], kernel_shape=[1, 1 << 14], pads=[0, (1 << 14) - 1] * 2)],
        (1, 1, 1, 8),
        {},
        "E304",
    ),
    "code for every tap": (
        [
            node(
                "AveragePool",
                ["x"],
                ["y"],
                kernel_shape=[1000, 1000],
                pads=[999] * 4,
                count_include_pad=1,
            )
        ],
        (1, 1, 8, 8),
        {},
        "E304",
    ),
    "zeros between taps": (
        [
            node("ConvTranspose", ["x", "w"], ["r"], dilations=[5000, 5000]),
            node("ReduceMax", ["r"], ["y"]),
        ],
        (1, 1, 8, 8),
        {"w": np.ones((1, 1, 3, 3), "f4")},
        "E302",
    ),
    "many axes": (
        [node("Unsqueeze", ["x", "a"], ["y"])],
        (1, 2),
        {"a": np.arange(100_000)},
        "E212",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", GROWING)
def test_a_small_file_is_planned_or_refused_soon(kind: str) -> None:
    """Each of these files once took more than ten seconds or 400 MB."""
    nodes, shape, constants, code = GROWING[kind]
    info = helper.make_tensor_value_info("x", 1, shape)
    start, said = time.process_time(), ""
    try:
        make_plan(
            run_pipeline(read(model(nodes, [info], ["y"], constants)))[0], HOST, Options(), "m"
        )
    except EllcError as error:
        said = error.code
    assert said == code
    assert time.process_time() - start < 6


def test_a_constant_is_repeated_without_memory() -> None:
    assert expanded(np.ones(1000, "f4"), (1 << 40, 1000), (4096,)).shape == (1 << 40, 1000)

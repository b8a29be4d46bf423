"""Files, inputs, outputs and names: what is read, and what is refused in one report."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_models import compare, expected, floats, model, node, of_array, read

from ellc.frontends.onnx.external import ExternalFiles
from ellc.frontends.onnx.read import read_onnx
from ellc.frontends.onnx.tensors import ELEMENT_TYPES, StoredTensor
from ellc.frontends.options import ImportOptions
from ellc.ir.errors import EllcError
from ellc.ir.interp import evaluate
from ellc.ir.limits import Limits
from ellc.ir.ops.shape import Transpose
from ellc.ir.types import Array

X = floats(2, 3)


def error_of(proto: onnx.ModelProto, options: ImportOptions | None = None) -> EllcError:
    with pytest.raises(EllcError) as caught:
        read(proto, options or ImportOptions())
    return caught.value


def relu(x: str = "x", y: str = "y", name: str = "") -> onnx.NodeProto:
    return node("Relu", [x], [y], name)


# ---- the file -----------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"\x08\x07", b"not a model", bytes(range(256))])
def test_file_that_is_no_model(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(EllcError) as caught:
        read_onnx(path)
    assert caught.value.code == "E210"
    assert caught.value.where == str(path)


def test_missing_and_too_large_file(tmp_path: Path) -> None:
    with pytest.raises(EllcError, match="No such file") as caught:
        read_onnx(tmp_path / "none.onnx")
    assert caught.value.code == "E210"
    proto = model([relu()], {"x": X}, ["y"])
    small = ImportOptions(limits=Limits(file_bytes=20))
    assert error_of(proto, small).code == "E203"


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    proto = model([relu()], {"x": X}, ["y"])
    monkeypatch.setitem(sys.modules, "onnx", None)
    error = error_of(proto)
    assert error.code == "E211"
    assert "ellc-compiler[onnx]" in error.hint


def test_number_of_nodes_is_bounded() -> None:
    proto = model([relu("x", "a"), relu("a", "y")], {"x": X}, ["y"])
    assert error_of(proto, ImportOptions(limits=Limits(graph_nodes=1))).code == "E203"


def test_nodes_may_stand_in_any_order() -> None:
    nodes = [relu("b", "y"), relu("a", "b"), node("Exp", ["x"], ["a"])]
    (got,) = evaluate(read(model(nodes, {"x": X}, ["y"])), (X,)).outputs
    np.testing.assert_array_equal(got, np.exp(X))


def test_nodes_that_depend_on_themselves() -> None:
    proto = model([node("Add", ["x", "b"], ["a"]), relu("a", "b")], {"x": X}, ["b"])
    assert "depends on itself" in error_of(proto).message


@pytest.mark.parametrize("second", [relu("x", "y"), relu("y", "x")])
def test_name_that_is_made_twice(second: onnx.NodeProto) -> None:
    assert error_of(model([relu(), second], {"x": X}, ["y"])).code == "E210"


def test_long_chain_needs_no_recursion() -> None:
    names = [f"v{i}" for i in range(3000)]
    nodes = [relu(a, b) for a, b in pairwise(names)][::-1]
    graph = read(model(nodes, {"v0": X}, [names[-1]]))
    assert len(graph.nodes) == 2999


# ---- stored tensors -----------------------------------------------------------------------------


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("number", list(ELEMENT_TYPES))
def test_stored_elements_of_every_type(number: int, raw: bool) -> None:
    kind = helper.tensor_dtype_to_np_dtype(number)
    values = np.array([[0, 1, 3], [1, 0, 100]]).astype(kind)
    flat = values.tobytes() if raw else values.reshape(-1).tolist()
    proto = helper.make_tensor("t", number, values.shape, flat, raw)
    got = StoredTensor(proto, ExternalFiles(None, Limits()), Limits()).array()
    np.testing.assert_array_equal(got, values.astype(got.dtype))
    assert got.shape == (2, 3)


@pytest.mark.parametrize("raw", [True, False])
def test_shape_that_the_elements_do_not_fill(raw: bool) -> None:
    tensor = numpy_helper.from_array(floats(6), "c")
    if not raw:
        tensor = helper.make_tensor("c", TensorProto.FLOAT, [6], floats(6).tolist())
    proto = model([node("Add", ["x", "c"], ["y"])], {"x": X}, ["y"])
    proto.graph.initializer.append(tensor)
    for dims in ([7], [3, 1], [-6], [1 << 40, 1 << 40], [1] * 40):
        del proto.graph.initializer[0].dims[:]
        proto.graph.initializer[0].dims.extend(dims)
        assert error_of(proto).code in ("E203", "E210")


def test_large_constant_of_a_small_file_is_not_filled() -> None:
    """A file of a few bytes can declare a shape of gigabytes."""
    nodes = [node("ConstantOfShape", ["shape"], ["c"]), node("Add", ["x", "c"], ["y"])]
    for shape in ([1 << 20, 2, 3], [1 << 40, 2, 3]):
        proto = model(nodes, {"x": X}, ["y"], {"shape": np.array(shape)})
        try:
            graph = read(proto)
        except EllcError as error:
            assert error.code in ("E203", "E212")
        else:
            assert max(a.size for a in graph.constant_arrays().values()) < 1000


def external(folder: Path, location: str, **entries: str) -> Path:
    proto = model([node("Add", ["x", "c"], ["y"])], {"x": X}, ["y"], {"c": X})
    tensor = proto.graph.initializer[0]
    (folder / "data").mkdir(exist_ok=True)
    (folder / "data" / "weights").write_bytes(b"1234" + tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": "4", **entries}.items():
        tensor.external_data.add(key=key, value=value)
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def test_elements_beside_the_model(tmp_path: Path) -> None:
    graph = read_onnx(external(tmp_path, "data/weights", length="24"))
    (got,) = evaluate(graph, (X,)).outputs
    np.testing.assert_array_equal(got, X + X)


def _elsewhere(folder: Path) -> str:
    (folder.parent / "outside").write_bytes(bytes(40))
    return "../outside"


def _absolute(folder: Path) -> str:
    return str(folder / "data" / "weights")


def _link(folder: Path) -> str:
    (folder / "link").symlink_to(folder / "data" / "weights")
    return "link"


def _linked_folder(folder: Path) -> str:
    (folder / "links").symlink_to(folder / "data")
    return "links/weights"


def _pipe(folder: Path) -> str:
    os.mkfifo(folder / "pipe")
    return "pipe"


@pytest.mark.parametrize("place", [_elsewhere, _absolute, _link, _linked_folder, _pipe])
def test_elements_anywhere_else(place: Callable[[Path], str], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    with pytest.raises(EllcError, match="is stored in another file") as caught:
        read_onnx(external(folder, place(folder)))
    assert caught.value.code == "E210"


@pytest.mark.parametrize(
    "entries",
    [{"offset": "5"}, {"offset": "-1"}, {"offset": "9" * 30}, {"length": "23"}, {"length": "x"}],
    ids=str,
)
def test_elements_outside_of_their_file(entries: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(EllcError) as caught:
        read_onnx(external(tmp_path, "data/weights", **entries))
    assert caught.value.code == "E210"


# ---- inputs and outputs -------------------------------------------------------------------------


def open_input(*shape: int | str | None) -> onnx.ModelProto:
    info = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    return model([relu()], [info], ["y"])


def test_open_batch_is_one() -> None:
    for first in ("batch", None, -1):
        assert read(open_input(first, 3)).input_types()[0].shape == (1, 3)
    assert error_of(open_input(0, 3)).hint == "--shape x=1,3"


def test_other_open_dimensions_must_be_given() -> None:
    error = error_of(open_input("batch", 3, "height", None))
    assert error.code == "E213"
    assert "[batch,3,height,?]" in error.message
    assert error.hint == "--shape x=1,3,N,N"
    given = ImportOptions(shapes={"x": (2, 3, 4, 5)})
    assert read(open_input("batch", 3, "height", None), given).input_types()[0].shape == (
        2,
        3,
        4,
        5,
    )
    assert error_of(open_input("n", 3, "h", None), ImportOptions(shapes={"x": (1,)})).code == "E213"


def test_symbol_means_the_same_in_every_input() -> None:
    infos = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("a", ["batch", 3, "h"]), ("b", [1, "batch", "h"]))
    ]
    proto = model([relu("a", "y"), relu("b", "z")], infos, ["y", "z"])
    for given, want in (((1, 3, 5), (1, 1, 5)), ((2, 3, 7), (1, 2, 7))):
        graph = read(proto, ImportOptions(shapes={"a": given}))
        assert [t.shape for t in graph.input_types()] == [given, want]


def test_given_shape_replaces_the_file_s() -> None:
    given = ImportOptions(shapes={"x": (1, 5)})
    assert read(open_input(1, 3), given).output_types()[0].shape == (1, 5)


@pytest.mark.parametrize(
    "options", [ImportOptions(outputs=("z",)), ImportOptions(shapes={"z": (1,)})], ids=str
)
def test_options_with_unknown_names(options: ImportOptions) -> None:
    assert error_of(model([relu()], {"x": X}, ["y"]), options).code == "E214"


HALF = X.astype(np.float16)
BETWEEN_CASTS = [
    node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
    node("MatMul", ["h", "w"], ["p"]),
    node("Relu", ["p"], ["q"]),
    node("Cast", ["q"], ["y"], to=TensorProto.FLOAT),
]


@pytest.mark.parametrize(
    ("nodes", "x"),
    [(BETWEEN_CASTS, X), ([node("MatMul", ["x", "w"], ["p"]), relu("p")], HALF)],
    ids=["between casts", "everything"],
)
@pytest.mark.parametrize("weights", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_is_computed_in_float32(
    nodes: list[onnx.NodeProto], x: Array, weights: type
) -> None:
    if weights is not np.float16:
        nodes = [_with_bfloat16(n) for n in nodes]
        x = x if x.dtype == np.float32 else X.astype(weights)
    proto = model(nodes, {"x": x}, ["y"], {"w": floats(3, 4, seed=1).astype(weights)})
    graph = read(proto)
    (got,) = evaluate(graph, (x.astype(np.float32),)).outputs
    (want,) = expected(proto, {"x": x})
    tolerance = 2e-3 if weights is np.float16 else 3e-2
    np.testing.assert_allclose(got, want.astype(np.float32), rtol=tolerance, atol=tolerance)
    assert got.dtype == np.float32
    assert "computed in float32" in graph.metadata["note.0"]


def _with_bfloat16(proto: onnx.NodeProto) -> onnx.NodeProto:
    made = onnx.NodeProto()
    made.CopyFrom(proto)
    for attribute in made.attribute:
        if attribute.name == "to" and attribute.i == TensorProto.FLOAT16:
            attribute.i = TensorProto.BFLOAT16
    return made


def test_weights_of_half_precision_are_read_exactly() -> None:
    half = X.astype(np.float16)
    nodes = [node("Cast", ["c"], ["d"], to=TensorProto.FLOAT), node("Add", ["x", "d"], ["y"])]
    compare(model(nodes, {"x": X}, ["y"], {"c": half}), {"x": X})


def test_initialiser_that_is_an_input_too_is_a_constant() -> None:
    proto = model([node("Add", ["x", "c"], ["y"])], {"x": X, "c": X}, ["y"], {"c": X})
    assert [p.name for p in read(proto).inputs] == ["x"]


def test_outputs_cut_the_model() -> None:
    """What follows the outputs is not read: neither its operators nor its inputs."""
    nodes = [relu("x", "a"), node("NoSuchOperator", ["a", "z"], ["y"])]
    graph = read(model(nodes, {"x": X, "z": X}, ["y"]), ImportOptions(outputs=("a",)))
    assert [p.name for p in graph.inputs] == ["x"]
    assert [p.name for p in graph.outputs] == ["a"]


def test_planes_become_pixels_if_asked() -> None:
    x, w = floats(1, 3, 5, 4), floats(2, 3, 1, 1, seed=1)
    proto = model([node("Conv", ["x", "w"], ["y"])], {"x": x}, ["y"], {"w": w})
    graph = read(proto, ImportOptions(layout="nhwc"))
    (got,) = evaluate(graph, (np.asarray(x.transpose(0, 2, 3, 1), order="C"),)).outputs
    (want,) = expected(proto, {"x": x})
    np.testing.assert_allclose(got, want.transpose(0, 2, 3, 1), rtol=1e-5)


def test_what_is_pixels_in_the_file_stays() -> None:
    x = floats(1, 5, 4, 3)
    nodes = [
        node("Transpose", ["x"], ["planes"], perm=[0, 3, 1, 2]),
        relu("planes", "r"),
        node("Transpose", ["r"], ["y"], perm=[0, 2, 3, 1]),
    ]
    graph = read(model(nodes, {"x": x}, ["y"]), ImportOptions(layout="nhwc"))
    assert graph.input_types()[0].shape == graph.output_types()[0].shape == x.shape
    assert sum(isinstance(n.op, Transpose) for n in graph.nodes) == 2


def test_metadata_of_the_file_is_kept() -> None:
    proto = model([relu()], {"x": X}, ["y"])
    proto.metadata_props.add(key="labels", value="cat,dog")
    assert read(proto).metadata["labels"] == "cat,dog"


def test_input_that_is_fixed_is_a_constant() -> None:
    """Examples of such inputs are a flag, and a sample rate on which a network branches."""
    nodes = [node("Equal", ["rate", "c"], ["is"]), node("Where", ["is", "x", "z"], ["y"])]
    given = {"x": X, "rate": np.array(0, np.int64)}
    proto = model(nodes, given, ["y"], {"c": np.array(16000), "z": floats(2, 3, seed=1)})
    for rate in (16000.0, 8000.0):
        graph = read(proto, ImportOptions(fixed={"rate": (rate,)}))
        assert [p.name for p in graph.inputs] == ["x"]
        (got,) = evaluate(graph, (X,)).outputs
        (want,) = expected(proto, {"x": X, "rate": np.array(int(rate))})
        np.testing.assert_array_equal(got, want)
    each = ImportOptions(fixed={"x": tuple(map(float, range(6)))})
    assert [p.name for p in read(proto, each).inputs] == ["rate"]


@pytest.mark.parametrize(
    ("fixed", "code"),
    [({"no": (1.0,)}, "E214"), ({"x": (1.0, 2.0)}, "E215"), ({"n": (0.5,)}, "E215"),
     ({"n": (1e30,)}, "E215")],
)  # fmt: skip
def test_input_that_cannot_be_fixed_so(fixed: dict[str, tuple[float, ...]], code: str) -> None:
    nodes = [node("Cast", ["n"], ["f"], to=TensorProto.FLOAT), node("Add", ["x", "f"], ["y"])]
    proto = model(nodes, {"x": X, "n": np.array([1], np.int32)}, ["y"])
    assert error_of(proto, ImportOptions(fixed=fixed)).code == code


# ---- what is not supported ----------------------------------------------------------------------


def test_one_report_of_everything() -> None:
    nodes = [
        relu("x", "a"),
        node("Convv", ["a", "a"], ["b"], "first"),
        node("Relu", ["a"], ["c"], "second", alpha=2.0),
        node("Add", ["b", "c"], ["y"]),
        node("Softmax", ["a"], ["z"], "third", axis=7),
    ]
    error = error_of(model(nodes, {"x": X}, ["y", "z"]))
    assert error.code == "E212"
    assert [p.split(":")[0] for p in error.problems] == [
        "first (Convv)", "second (Relu)", "third (Softmax)",
    ]  # fmt: skip
    assert "similar: Conv" in error.problems[0]
    assert "'alpha' is not supported" in error.problems[1]
    assert "--outputs a" in error.hint


def test_a_cut_stands_after_what_computes() -> None:
    """No cut is proposed at a cast, or if almost nothing is computed before the node."""
    w = floats(4, 3, 3, 3)
    nodes = [
        node("Unsqueeze", ["x", "axes"], ["lifted"]),
        node("Less", ["x", "x"], ["compared"]),
        node("Conv", ["x", "w"], ["c"]),
        node("Conv", ["c", "v"], ["d"]),
        node("Cast", ["d"], ["whole"], to=TensorProto.INT32),
        node("Relu", ["x"], ["little"]),
        node("Unknown", ["lifted", "compared", "c", "whole", "little"], ["y"]),
    ]
    constants = {"w": w, "v": floats(4, 4, 3, 3), "axes": np.array([0])}
    proto = model(nodes, {"x": floats(1, 3, 16, 16)}, ["y"], constants)
    assert error_of(proto).hint.startswith("--outputs d,c reads only the part before them")
    bare = model([nodes[0], nodes[1], node("Unknown", ["lifted", "compared"], ["y"])],
                 {"x": X}, ["y"], {"axes": np.array([0])})  # fmt: skip
    assert "--outputs" not in error_of(bare).hint


def test_a_report_names_the_operators_of_the_file() -> None:
    """The report does not name operators that ellc makes from groups of quantised nodes."""
    one = np.array([0.1], np.float32)
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        node("DequantizeLinear", ["q", "s", "z"], ["r"]),
        node("Conv", ["r", "w"], ["c"], "the node", strides=[0, 0]),
        node("QuantizeLinear", ["c", "s", "z"], ["y"]),
        node("DequantizeLinear", ["wq", "s", "wz"], ["w"]),
    ]
    constants = {"s": one, "z": np.uint8([3]), "wz": np.int8([0]),
                 "wq": np.ones((2, 3, 1, 1), np.int8)}  # fmt: skip
    error = error_of(model(nodes, {"x": floats(1, 3, 4, 4)}, ["y"], constants))
    assert error.problems[0].startswith("the node (Conv): ")


def test_damaged_attributes_and_operands_are_reported() -> None:
    damaged = [
        node("Conv", ["x"], ["y"]),
        node("Conv", ["x", ""], ["y"]),
        node("Transpose", ["x"], ["y"], perm=[5, 6]),
        node("Transpose", ["x"], ["y"], perm="no"),
        node("Concat", [], ["y"], axis=0),
        node("Concat", ["x"], ["y"]),
        node("Split", ["x"], ["y"], num_outputs=0),
        node("Reshape", ["x", "x"], ["y"]),
        node("Cast", ["x"], ["y"], to=99),
        node("Pad", ["x", "x"], ["y"]),
        node("Constant", [], ["y"]),
    ]
    for made in damaged:
        error = error_of(model([made], {"x": X}, ["y"]))
        assert (error.code, len(error.problems)) == ("E212", 1), made.op_type


def test_results_have_a_bounded_rank() -> None:
    axes = np.arange(200)
    proto = model([node("Unsqueeze", ["x", "axes"], ["y"])], {"x": X}, ["y"], {"axes": axes})
    assert "202 dimensions" in error_of(proto).problems[0]


def test_inputs_are_no_place_to_cut() -> None:
    assert "--outputs" not in error_of(model([node("Foo", ["x"], ["y"])], {"x": X}, ["y"])).hint


def test_result_that_nobody_makes() -> None:
    proto = model([node("Relu", ["x"], ["y", "more"])], {"x": X}, ["y", "more"])
    assert "'more' is not supported" in error_of(proto).problems[0]


# ---- functions ----------------------------------------------------------------------------------


def _function(name: str, nodes: list[onnx.NodeProto], attributes: list[str]) -> onnx.FunctionProto:
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("own", 1)]
    return helper.make_function("own", name, ["a", "b"], ["c"], nodes, opsets, attributes)


def test_functions_of_the_model_are_inlined() -> None:
    leaky = node("LeakyRelu", ["a"], ["t"])
    reference = onnx.AttributeProto(name="alpha", type=onnx.AttributeProto.FLOAT)
    reference.ref_attr_name = "slope"
    leaky.attribute.append(reference)
    inner = _function("Inner", [leaky, node("Add", ["t", "b"], ["c"])], ["slope"])
    call = node("Inner", ["b", "t"], ["c"], domain="own", slope=0.5)
    outer = _function("Outer", [node("Exp", ["a"], ["t"]), call], [])
    nodes = [
        node("Outer", ["x", "z"], ["t"], "one", domain="own"),
        node("Inner", ["t", "x"], ["y"], "two", domain="own", slope=0.25),
    ]
    z = floats(2, 3, seed=1)
    proto = model(nodes, {"x": X, "z": z}, ["y"], functions=[inner, outer], domains={"own": 1})
    (got,) = evaluate(read(proto), (X, z)).outputs
    t = np.where(z > 0, z, z / 2) + np.exp(X)
    np.testing.assert_allclose(got, np.where(t > 0, t, t / 4) + X, rtol=1e-6)


def test_function_that_calls_itself() -> None:
    call = node("Self", ["a", "b"], ["c"], domain="own")
    proto = model([node("Self", ["x", "x"], ["y"], domain="own")], {"x": X}, ["y"],
                  functions=[_function("Self", [call], [])], domains={"own": 1})  # fmt: skip
    assert error_of(proto).code == "E203"


def test_functions_that_double_are_bounded() -> None:
    """Thirty nested functions with two calls each would expand to a thousand million nodes."""
    functions = [_function("F0", [node("Add", ["a", "b"], ["c"])], [])]
    for i in range(1, 30):
        calls = [
            node(f"F{i - 1}", ["a", "b"], ["t"], domain="own"),
            node(f"F{i - 1}", ["t", "b"], ["c"], domain="own"),
        ]
        functions.append(_function(f"F{i}", calls, []))
    nodes = [node("F29", ["x", "x"], ["y"], domain="own")]
    proto = model(nodes, {"x": X}, ["y"], functions=functions, domains={"own": 1})
    limits = replace(Limits(), graph_nodes=2000)
    assert error_of(proto, ImportOptions(limits=limits)).code == "E203"


def test_inputs_are_described_by_what_stands_behind_them() -> None:
    x = np.array([[3, 200]], np.uint8)
    nodes = [
        node("Transpose", ["x"], ["t"]),
        node("DequantizeLinear", ["t", "scale", "zero"], ["y"]),
    ]
    constants = {"scale": np.float32(0.5), "zero": np.uint8(3)}
    graph = read(model(nodes, [of_array("x", x)], ["y"], constants))
    quant = graph.input_types()[0].quant
    assert quant is not None
    assert (quant.scale, quant.zero_point) == ((0.5,), (3,))

"""Files: names, shapes, labels, cuts, unsupported and damaged files."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from tflite_cases import ints, stored
from tflite_files import T, TFLiteFile, options, saved, single

from ellc.frontends.budget import Budget
from ellc.frontends.graph_import.handlers import Handler, Inputs
from ellc.frontends.graph_import.values import Emitter, Value
from ellc.frontends.options import ImportOptions
from ellc.frontends.tflite.checks import checked_handler
from ellc.frontends.tflite.model import NodeOptions, TfliteNode
from ellc.frontends.tflite.read import read_tflite
from ellc.frontends.tflite.tables import CheckedTable, Damaged, EntryBudget
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate
from ellc.ir.limits import Limits
from ellc.ir.ops.conv import Conv2D
from ellc.ir.types import DType, Padding, Quant


def chain_of(*kinds: str, shape: tuple[int, ...] = (1, 4), first: T | None = None) -> TFLiteFile:
    """A chain of operators with one operand."""
    file = TFLiteFile()
    value = file.add(first or T(shape, name="x"))
    for index, kind in enumerate(kinds):
        result = file.add(T(shape, name=f"v{index}"))
        file.apply(kind, [value], [result])
        value = result
    return file


def read(data: bytes, folder: Path, chosen: ImportOptions | None = None) -> Graph:
    return read_tflite(saved(data, folder), chosen or ImportOptions())


def refused(data: bytes, folder: Path, chosen: ImportOptions | None = None) -> EllcError:
    with pytest.raises(EllcError) as caught:
        read(data, folder, chosen)
    return caught.value


def ops(graph: Graph) -> list[str]:
    return [node.op.name for node in graph.nodes]


# ---- names and shapes ---------------------------------------------------------------------------


def test_names_are_those_of_the_tensors(tmp_path: Path) -> None:
    graph = read(chain_of("RELU", "TANH").data([0], [2]), tmp_path)
    assert graph.name == "model"
    assert [p.name for p in (*graph.inputs, *graph.outputs)] == ["x", "v1"]
    assert [node.source for node in graph.nodes] == [("v0",), ("v1",)]


def test_a_signature_names_inputs_and_outputs(tmp_path: Path) -> None:
    file = chain_of("RELU", "TANH")
    file.names = {"inputs": {0: "pixels"}, "outputs": {2: "scores"}}
    graph = read(file.data([0], [2]), tmp_path)
    assert [p.name for p in (*graph.inputs, *graph.outputs)] == ["pixels", "scores"]
    for name in ("scores", "v1"):
        cut = read(file.data([0], [2]), tmp_path, ImportOptions(outputs=(name,)))
        assert cut.outputs[0].name == name


def test_a_signature_is_a_graph_of_its_own(tmp_path: Path) -> None:
    """Each signature gives the results of the runtime; without a name, a note lists the others."""
    file, other = TFLiteFile(), TFLiteFile()
    file.apply("RELU", [file.add(T((1, 4), name="x"))], [file.add(T((1, 4), name="y"))])
    other.apply("TANH", [other.add(T((1, 3), name="a"))], [other.add(T((1, 3), name="b"))])
    file.inner = [(other, [0], [1])]
    file.entrances = {"first": 0, "second": 1}
    data = file.data([0], [1])
    runtime = Interpreter(model_content=data, experimental_op_resolver_type=OpResolverType.BUILTIN)
    for name, (given, made) in {"first": ("x", "y"), "second": ("a", "b")}.items():
        graph = read(data, tmp_path, ImportOptions(signature=name))
        assert [p.name for p in (*graph.inputs, *graph.outputs)] == [given, made]
        assert "note.0" not in graph.metadata
        x = np.linspace(-2, 2, graph.input_types()[0].elements, dtype=np.float32)[None]
        (found,) = evaluate(graph, (x,)).outputs
        wanted = runtime.get_signature_runner(name)(**{given: x})[made]
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
    usual = read(data, tmp_path)
    assert usual.inputs[0].name == "x"
    assert "'first' is read; --signature reads 'second'" in usual.metadata["note.0"]
    error = refused(data, tmp_path, ImportOptions(signature="secund"))
    assert (error.code, error.where != "", error.hint) == ("E214", True, "similar names: second")
    file.entrances = {"first": 0, "second": 0}
    both = read(file.data([0], [1]), tmp_path)
    assert "its first graph is read" in both.metadata["note.0"]


def test_a_signature_of_a_graph_that_is_not_there_is_damage(tmp_path: Path) -> None:
    file = chain_of("RELU")
    file.entrances = {"first": 0}
    data = bytearray(file.data([0], [1]))
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    model.signatureDefs[0].subgraphIndex = 1
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    error = refused(bytes(builder.Output()), tmp_path, ImportOptions(signature="first"))
    assert (error.code, "names graph 1, but the last graph is 0" in error.message) == ("E210", True)


def test_equal_names_get_numbers(tmp_path: Path) -> None:
    file = TFLiteFile()
    tensors = [file.add(T((1, 4), name="same")) for _ in range(3)]
    file.apply("RELU", tensors[:1], tensors[1:2])
    file.apply("TANH", tensors[1:2], tensors[2:])
    graph = read(file.data([0], [2, 2]), tmp_path)
    assert [p.name for p in (*graph.inputs, *graph.outputs)] == ["same", "same#2", "same#2#1"]


def test_types_have_scale_and_zero_point(tmp_path: Path) -> None:
    x, y = stored("int8", (1, 4), 0.5, 130), stored("int8", (1, 4), 1 / 256, 0)
    graph = read(single("SOFTMAX", [x], [y], options("SoftmaxOptions", beta=1.0)), tmp_path)
    (given,), (made,) = graph.input_types(), graph.output_types()
    assert (given.dtype, given.quant) == (DType.I8, Quant((0.5,), (2,)))
    assert (made.dtype, made.quant) == (DType.I8, Quant((1 / 256,), (-128,)))


def test_an_open_batch_is_one_and_other_open_axes_are_asked_for(tmp_path: Path) -> None:
    def file(*signature: int) -> bytes:
        first = T((1, 1, 4), signature=signature, name="x")
        return chain_of("RELU", shape=(1, 1, 4), first=first).data([0], [1])

    assert read(file(-1, 1, 4), tmp_path).input_types()[0].shape == (1, 1, 4)
    error = refused(file(-1, -1, 4), tmp_path)
    assert (error.code, "1,?,4" in error.message) == ("E213", True)
    given = ImportOptions(shapes={"x": (2, 9, 4)})
    assert read(file(-1, -1, 4), tmp_path, given).output_types()[0].shape == (2, 9, 4)
    for unknown in (ImportOptions(shapes={"y": (1,)}), ImportOptions(fixed={"y": (1.0,)})):
        error = refused(file(-1, 1, 4), tmp_path, unknown)
        assert (error.code, "x" in error.hint) == ("E214", True)
    fixed = read(file(-1, 1, 4), tmp_path, ImportOptions(fixed={"x": (-1.0, 0.0, 2.0, 3.0)}))
    assert not fixed.inputs
    np.testing.assert_array_equal(evaluate(fixed, ()).outputs[0].reshape(-1), (0, 0, 2, 3))


def test_shape_arithmetic_is_done_at_import(tmp_path: Path) -> None:
    file = TFLiteFile()
    x = file.add(T((2, 3, 4)))
    shape, part = file.add(T((3,), "int32")), file.add(T((), "int32"))
    bounds = [file.add(ints(n)) for n in (0, 1, 1)]
    rest, wanted = file.add(T.of(np.array(-1, np.int32))), file.add(T((2,), "int32"))
    flat = file.add(T((2, 12)))
    file.apply("SHAPE", [x], [shape], options("ShapeOptions", outType=2))
    chosen = options("StridedSliceOptions", shrinkAxisMask=1)
    file.apply("STRIDED_SLICE", [shape, *bounds], [part], chosen)
    file.apply("PACK", [part, rest], [wanted], options("PackOptions", valuesCount=2))
    file.apply("RESHAPE", [x, wanted], [flat])
    assert ops(read(file.data([x], [flat]), tmp_path)) == ["reshape"]


# ---- cuts and reports ---------------------------------------------------------------------------


def test_a_cut_reads_only_what_it_needs(tmp_path: Path) -> None:
    data = chain_of("RELU", "CUSTOM:Magic", "TANH").data([0], [3])
    error = refused(data, tmp_path)
    assert error.code == "E212"
    assert error.problems == ("v1 (CUSTOM:Magic): operator CUSTOM:Magic is not supported",)
    assert "--outputs v0" in error.hint
    assert ops(read(data, tmp_path, ImportOptions(outputs=("v0",)))) == ["relu"]


def test_an_unknown_output_is_answered_with_what_is_close(tmp_path: Path) -> None:
    error = refused(chain_of("RELU").data([0], [1]), tmp_path, ImportOptions(outputs=("v00",)))
    assert (error.code, "v0" in error.hint) == ("E214", True)


@pytest.mark.parametrize(
    ("kind", "operands", "said"),
    [
        ("HASHTABLE", [T((1, 4))], "operator HASHTABLE is not supported"),
        ("RELU", [T((1, 4), variable=True)], "is a variable"),
        ("LOG_SOFTMAX", [stored("int8", (1, 4))], "a result of scale 0.05"),
        ("L2_NORMALIZATION", [stored("int8", (1, 4))], "a result of scale 0.05"),
        ("ROUND", [stored("uint8", (1, 4))], "of 8 or 16 bits"),
        ("RELU", [T((1, 4), "int8")], "only float32"),
    ],
)
def test_what_is_not_supported_is_said(
    kind: str, operands: list[T], said: str, tmp_path: Path
) -> None:
    error = refused(single(kind, operands, [operands[0]]), tmp_path)
    assert error.code == "E212"
    assert said in error.problems[0]


def test_an_option_that_nobody_reads_is_refused() -> None:
    def handler(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
        assert node.options.whole("Axis") == 1
        return emitter.constant(np.zeros(1, np.float32))

    checked = checked_handler(Handler(handler))
    emitter = Emitter("", Budget(Limits()))
    for values, said in (
        ({"Axis": 1, "Keep": False, "OutType": 2}, ""),
        ({"Axis": 1, "Keep": True}, "its option Keep = True is not supported"),
    ):
        node = TfliteNode("", "PACK", (), (), NodeOptions(values))
        if not said:
            checked.function(emitter, node, ())
            continue
        with pytest.raises(EllcError, match=said):
            checked.function(emitter, node, ())


def test_tensors_of_text_are_refused_where_they_are_read(tmp_path: Path) -> None:
    def change(model: schema.ModelT) -> None:
        model.subgraphs[0].tensors[1].type = schema.TensorType.STRING

    error = refused(repacked(chain_of("RELU").data([0], [1]), change), tmp_path)
    assert error.problems == ("v0 (RELU): 'v0' is of type STRING, which is not supported",)


# ---- groups and special operators ---------------------------------------------------------------


def dilated(pads: list[list[int]], crop: list[list[int]]) -> bytes:
    """A convolution between SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND, with blocks of 2 x 3."""
    file = TFLiteFile()
    pad = np.sum(pads, axis=1) + np.array([6, 6])
    rows, columns = pad[0] // 2, pad[1] // 3
    made = [2 * (rows - 2) - sum(crop[0]), 3 * (columns - 2) - sum(crop[1])]
    x = file.add(T((1, 6, 6, 2), name="x"))
    weights = np.random.default_rng(0).normal(size=(4, 3, 3, 2)).astype(np.float32)
    block, w = file.add(ints(2, 3)), file.add(T.of(weights))
    bias = file.add(T.of(np.arange(4, dtype=np.float32)))
    amounts, cut = (file.add(T.of(np.array(a, np.int32))) for a in (pads, crop))
    batch = file.add(T((6, int(rows), int(columns), 2)))
    done = file.add(T((6, int(rows) - 2, int(columns) - 2, 4)))
    y = file.add(T((1, int(made[0]), int(made[1]), 4), name="y"))
    chosen = options("Conv2DOptions", padding=1, strideH=1, strideW=1, fusedActivationFunction=1)
    file.apply("SPACE_TO_BATCH_ND", [x, block, amounts], [batch])
    file.apply("CONV_2D", [batch, w, bias], [done], chosen)
    file.apply("BATCH_TO_SPACE_ND", [done, block, cut], [y])
    return file.data([x], [y])


@pytest.mark.parametrize("crop", [[[0, 0], [0, 0]], [[0, 1], [0, 2]], [[2, 0], [0, 0]]])
def test_convolutions_between_blocks_become_dilated_ones(
    crop: list[list[int]], tmp_path: Path
) -> None:
    data = dilated([[2, 2], [3, 3]], crop)
    graph = read(data, tmp_path)
    assert ops(graph) == ["conv2d", "relu"]
    (top, bottom), (left, right) = np.array([[2, 2], [3, 3]]) - np.array(crop)
    assert graph.nodes[0].op == Conv2D((1, 1), Padding(top, left, bottom, right), (2, 3))
    x = np.random.default_rng(1).normal(size=(1, 6, 6, 2)).astype(np.float32)
    whole = read(data, tmp_path, ImportOptions(outputs=("y", "t5", "t6", "t7")))
    assert "transpose" in ops(whole), "if its inner values are outputs, the group is not fused"
    np.testing.assert_allclose(
        evaluate(graph, (x,)).outputs[0], evaluate(whole, (x,)).outputs[0], rtol=1e-5, atol=1e-5
    )


def test_local_response_normalisation_looks_both_ways(tmp_path: Path) -> None:
    # The reference kernel omits the last neighbour, unlike TensorFlow and the optimised kernel.
    chosen = options("LocalResponseNormalizationOptions", radius=1, bias=1.5, alpha=0.3, beta=0.6)
    shape = (1, 1, 1, 3)
    graph = read(single("LOCAL_RESPONSE_NORMALIZATION", [T(shape)], [T(shape)], chosen), tmp_path)
    x = np.array([1.0, 2.0, 4.0], np.float32)
    sums = np.array([1 + 4, 1 + 4 + 16, 4 + 16])
    (y,) = evaluate(graph, (x.reshape(shape),)).outputs
    np.testing.assert_allclose(y.reshape(-1), x * (1.5 + 0.3 * sums) ** -0.6, rtol=1e-6)


def test_broadcast_to_repeats(tmp_path: Path) -> None:
    data = single("BROADCAST_TO", [T((3, 1)), ints(2, 3, 4)], [T((2, 3, 4))])
    x = np.arange(3, dtype=np.float32).reshape(3, 1)
    (y,) = evaluate(read(data, tmp_path), (x,)).outputs
    np.testing.assert_array_equal(y, np.broadcast_to(x, (2, 3, 4)))


def test_small_weights_beside_floats_become_floats(tmp_path: Path) -> None:
    weights = np.array([[1, -2], [3, 127]], np.int8)
    operands = [T((1, 2)), stored("int8", (2, 2), 0.5, 128, weights), None]
    data = single("FULLY_CONNECTED", operands, [T((1, 2))], options("FullyConnectedOptions"))
    (y,) = evaluate(read(data, tmp_path), (np.ones((1, 2), np.float32),)).outputs
    np.testing.assert_array_equal(y, [[-0.5, 65.0]])


def repacked(data: bytes, change: Callable[[schema.ModelT], None]) -> bytes:
    """The file after `change` has been applied to its decoded objects."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data))
    change(model)
    builder = flatbuffers.Builder(64)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


# ---- after and beyond the file -----------------------------------------------------------------


def zipped(name: str, text: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, text)
    return packed.getvalue()


def test_labels_behind_the_file_become_metadata(tmp_path: Path) -> None:
    data = chain_of("RELU").data([0], [1])
    assert read(data + zipped("labels.txt", b"cat\ndog\n"), tmp_path).metadata == {
        "labels": "cat\ndog"
    }
    for extra in (
        zipped("vocabulary.txt", b"cat"),
        zipped("labels.txt", b"a" * (2 << 20)),
        zipped("labels.txt", b"\xff\xfe"),
        zipped("labels.txt", b"cat\ndog\n")[:-4],
    ):
        assert not read(data + extra, tmp_path).metadata


def pictures(means: list[float], deviations: list[float]) -> bytes:
    """The metadata of a model whose first input is normalised."""
    b = flatbuffers.Builder(64)

    def floats(numbers: list[float]) -> int:
        return int(b.CreateNumpyVector(np.array(numbers, np.float32)))

    def table(*fields: tuple[int, int]) -> int:
        b.StartObject(8)
        for slot, offset in fields:
            b.PrependUOffsetTRelativeSlot(slot, offset, 0)
        return int(b.EndObject())

    def only(entry: int) -> int:
        b.StartVector(4, 1, 4)
        b.PrependUOffsetTRelative(entry)
        return int(b.EndVector())

    numbers = [floats(means), floats(deviations)]
    step = table(*enumerate(numbers))
    b.StartObject(2)
    b.PrependUint8Slot(0, 1, 0)
    b.PrependUOffsetTRelativeSlot(1, step, 0)
    steps = only(int(b.EndObject()))
    tensors = only(table((4, steps)))
    graphs = only(table((2, tensors)))
    b.Finish(table((3, graphs)), b"M001")
    return bytes(b.Output())


def with_metadata(data: bytes, content: bytes) -> bytes:
    def change(model: schema.ModelT) -> None:
        entry, buffer = schema.MetadataT(), schema.BufferT()
        entry.name, entry.buffer = "TFLITE_METADATA", len(model.buffers)
        buffer.data = np.frombuffer(content, np.uint8)
        model.buffers.append(buffer)
        model.metadata = [entry]

    return repacked(data, change)


def test_what_metadata_says_of_pictures_is_kept_for_float_inputs(tmp_path: Path) -> None:
    data = chain_of("RELU").data([0], [1])
    said = read(with_metadata(data, pictures([127.5], [64.0])), tmp_path).metadata
    assert len(said) == 6
    assert said["model.input.greenChannelMean"] == "127.5"
    assert said["model.input.blueChannelStdDev"] == "64.0"
    each = read(with_metadata(data, pictures([1.0, 2.0, 3.0], [4.0])), tmp_path).metadata
    assert [each[f"model.input.{c}ChannelMean"] for c in ("red", "green", "blue")] == [
        "1.0", "2.0", "3.0",
    ]  # fmt: skip
    for content in (pictures([1.0], [0.0]), pictures([1.0, 2.0], [1.0]), b"\xff" * 40):
        assert not read(with_metadata(data, content), tmp_path).metadata
    sound = pictures([127.5], [64.0])
    for length in range(len(sound)):
        read(with_metadata(data, sound[:length]), tmp_path)
    x = stored("uint8", (1, 4))
    quantised = single("RELU", [x], [x])
    assert not read(with_metadata(quantised, sound), tmp_path).metadata


def test_damaged_files_are_one_error(tmp_path: Path) -> None:
    data = single(
        "FULLY_CONNECTED",
        [T((1, 4)), T.of(np.ones((3, 4), np.float32)), T.of(np.ones(3, np.float32))],
        [T((1, 3))],
        options("FullyConnectedOptions"),
    )
    rng = np.random.default_rng(5)
    codes = set()
    for round_ in range(600):
        broken = bytearray(data[: rng.integers(1, len(data))] if round_ % 3 == 0 else data)
        for at in rng.integers(0, len(broken), 1 + round_ % 4):
            broken[at] = rng.choice([0, 1, 0x7F, 0xFF, rng.integers(256)])
        try:
            read(bytes(broken), tmp_path)
        except EllcError as error:
            codes.add(error.code)
    assert {"E210", "E212"} <= codes <= {"E203", "E210", "E212", "E213"}


def test_a_list_longer_than_the_file_is_not_walked(tmp_path: Path) -> None:
    data = chain_of(*["RELU"] * 9).data([0], [9])
    table = schema.Model.GetRootAs(data).Subgraphs(0)
    start = table._tab.Vector(table._tab.Offset(10))  # the vector of operators
    huge = bytearray(data)
    huge[start - 4 : start] = (2**31).to_bytes(4, "little")
    error = refused(bytes(huge), tmp_path)
    assert error.code == "E210"


def test_files_beyond_the_limits_and_missing_ones(tmp_path: Path) -> None:
    data = chain_of("RELU").data([0], [1])
    small = ImportOptions(limits=Limits(file_bytes=len(data) - 1))
    assert refused(data, tmp_path, small).code == "E203"
    few = ImportOptions(limits=Limits(tensor_elements=3))
    assert refused(data, tmp_path, few).code == "E203"
    with pytest.raises(EllcError) as caught:
        read_tflite(tmp_path / "missing.tflite")
    assert caught.value.code == "E210"


def test_without_its_package_the_reader_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    data = chain_of("RELU").data([0], [1])
    for name in [n for n in sys.modules if n.startswith("ellc.frontends.tflite.")]:
        if name.rpartition(".")[2] in ("container", "tables"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tflite", None)
    error = refused(data, tmp_path)
    assert error.code == "E211"
    assert "ellc-compiler[tflite]" in error.hint


def test_a_scale_axis_beyond_the_shape_is_the_only_one_that_fits(tmp_path: Path) -> None:
    # Converters of 2020 gave a bias the quantised dimension of depthwise weights, an axis it lacks.
    def change(axis: int, shape: list[int]) -> Callable[[schema.ModelT], None]:
        def changed(model: schema.ModelT) -> None:
            model.subgraphs[0].tensors[2].quantization.quantizedDimension = axis
            model.subgraphs[0].tensors[2].shape = shape

        return changed

    scales, bias = (0.01, 0.02, 0.03), np.array([100, -7, 0], np.int32)
    operands = [
        stored("int8", (1, 4)),
        T.of(np.ones((3, 4), np.int8), scale=scales, zero=(0, 0, 0)),
        T.of(bias, scale=(0.05 * 0.01,) * 3, zero=(0, 0, 0)),
    ]
    chosen = options("FullyConnectedOptions")
    data = single("FULLY_CONNECTED", operands, [stored("int8", (1, 3), 0.1)], chosen)
    x = (np.array([[1, 2, 3, 4]], np.int8),)
    (want,) = evaluate(read(data, tmp_path), x).outputs
    (found,) = evaluate(read(repacked(data, change(3, [3])), tmp_path), x).outputs
    np.testing.assert_array_equal(found, want)
    assert refused(repacked(data, change(3, [1, 3, 1])), tmp_path).code == "E212"
    for axis, shape in ((1, [3, 1]), (-1, [3])):
        assert refused(repacked(data, change(axis, shape)), tmp_path).code == "E210"


@pytest.mark.parametrize("position", [-1, 8, 2**32 + 163])
def test_tables_outside_of_the_file_are_damage(position: int) -> None:
    with pytest.raises(Damaged, match=f"byte {position} is outside"):
        CheckedTable(bytes(8), position, EntryBudget(1))

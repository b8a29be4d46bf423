"""ONNX files on the command line: recognised, imported, written as .ell and .eir, cut, refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from small_model_files import small_tflite
from to_onnx import onnx_model

from ellc.frontends.ell.read import read_ell
from ellc.frontends.options import ImportOptions
from ellc.importing import import_file, tidied
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate
from ellc.models import ModelOptions, format_of, read_model

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits"
NHWC = ModelOptions(ImportOptions(layout="nhwc"))


@pytest.fixture(scope="module")
def trained() -> Graph:
    return read_ell(DIGITS / "digits_float.ell")


@pytest.fixture(scope="module")
def digits(trained: Graph, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network of the digits example as an ONNX file."""
    path = tmp_path_factory.mktemp("onnx") / "digits.onnx"
    path.write_bytes(onnx_model(trained).SerializeToString())
    return path


def pictures(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.uniform(0, 1, (1, 8, 8, 1)).astype(np.float32) for _ in range(count)]


def outputs(graph: Graph, x: np.ndarray) -> np.ndarray:
    (result,) = evaluate(graph, (x,)).outputs
    return result


def test_onnx_is_known_by_content_and_by_name(digits: Path, tmp_path: Path) -> None:
    renamed = tmp_path / "model.bin"
    renamed.write_bytes(digits.read_bytes())
    assert format_of(renamed).name == format_of(digits).name == "onnx"
    (tmp_path / "empty.onnx").write_bytes(b"")
    assert format_of(tmp_path / "empty.onnx").name == "onnx"
    (tmp_path / "m.bin").write_bytes(b"\x1c\x00\x00\x00TFL3" + bytes(16))
    assert format_of(tmp_path / "m.bin").name == "tflite"
    for name in ("empty.onnx", "m.bin"):
        with pytest.raises(EllcError) as caught:
            read_model(tmp_path / name)
        assert caught.value.code == "E210"


def test_the_example_is_the_trained_network(trained: Graph, digits: Path) -> None:
    read = read_model(digits)
    assert read.input_types()[0].shape == (1, 1, 8, 8)
    for picture in pictures(5):
        planes = picture.transpose(0, 3, 1, 2)
        np.testing.assert_allclose(outputs(read, planes), outputs(trained, picture), rtol=1e-4)


@pytest.mark.parametrize("suffix", [".ell", ".eir"])
def test_a_round_trip_keeps_the_network(
    trained: Graph, digits: Path, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"digits{suffix}"
    made = import_file(digits, path, NHWC)
    assert made.file_bytes == path.stat().st_size and made.parameters == 15338
    assert "transpose" not in {node.op.name for node in made.graph.nodes}
    again = read_model(path)
    for picture in pictures(5):
        np.testing.assert_allclose(outputs(again, picture), outputs(trained, picture), rtol=1e-4)


def test_ell_files_hold_pictures_pixel_by_pixel(digits: Path, tmp_path: Path) -> None:
    assert import_file(digits, tmp_path / "a.ell").graph.input_types()[0].shape == (1, 8, 8, 1)
    assert import_file(digits, tmp_path / "a.eir").graph.input_types()[0].shape == (1, 1, 8, 8)


@pytest.mark.slow
def test_the_command_writes_and_counts(digits: Path, tmp_path: Path, ellc_command) -> None:
    done = ellc_command("import", digits, "-o", "digits.ell")
    assert done.returncode == 0, done.stderr
    assert "15,338 parameters" in done.stdout
    document = json.loads(ellc_command("import", digits, "-o", "d.eir", "--json").stdout)
    assert document["bytes"] == (tmp_path / "d.eir").stat().st_size
    shown = ellc_command("inspect", "digits.ell")
    assert shown.returncode == 0 and "parameters 15,338" in shown.stdout


@pytest.mark.parametrize(
    ("name", "code"), [("m.onnx", "E742"), ("m", "E742"), ("none/m.ell", "E703")]
)
def test_where_nothing_can_be_written(digits: Path, ellc_command, name: str, code: str) -> None:
    done = ellc_command("import", digits, "-o", name)
    assert done.returncode == 2 and f"error[{code}]" in done.stderr


def test_ell_has_a_binary_layer_for_a_convolution_of_signs(tmp_path: Path) -> None:
    """Weights, too, may be a choice between 1 and -1, which is smaller than its result."""
    rng = np.random.default_rng(0)
    shapes = {"kept": (96, 64, 3, 3), "x": (1, 64, 5, 5), "y": (1, 96, 5, 5)}
    constants = {
        "kept": rng.random(shapes["kept"]) > 0.5,
        "zero": np.zeros((), np.float32),
        "one": np.ones((), np.float32),
        "minus": -np.ones((), np.float32),
    }
    nodes = [
        helper.make_node("Greater", ["x", "zero"], ["above"]),
        helper.make_node("Where", ["above", "one", "minus"], ["signs"]),
        helper.make_node("Where", ["kept", "one", "minus"], ["weights"]),
        helper.make_node("Conv", ["signs", "weights"], ["y"], pads=[1, 1, 1, 1]),
    ]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shapes[n]) for n in "xy"]
    weights = [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()]
    made = helper.make_graph(nodes, "signs", ends[:1], ends[1:], weights)
    source, path = tmp_path / "signs.onnx", tmp_path / "signs.ell"
    source.write_bytes(helper.make_model(made, ir_version=8).SerializeToString())
    graph = import_file(source, path).graph
    assert [node.op.name for node in graph.nodes] == ["binarize", "binary_conv2d"]
    x = rng.normal(size=(1, 5, 5, 64)).astype(np.float32)
    np.testing.assert_array_equal(
        outputs(read_model(path), x), outputs(read_model(source, NHWC), x)
    )


# --- what does not fit, what is not supported -----------------------------------------------------


def chain(tmp_path: Path, *kinds: str) -> Path:
    """A file with a chain of unary operators on a vector of four; the values are `a`, `b`, ..."""
    names = [chr(ord("a") + i) for i in range(len(kinds) + 1)]
    nodes = [
        helper.make_node(kind, [names[i]], [names[i + 1]], f"node {kind}")
        for i, kind in enumerate(kinds)
    ]
    ends = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 4]) for n in (names[0], names[-1])
    ]
    made = helper.make_graph(nodes, "chain", ends[:1], ends[1:])
    path = tmp_path / "chain.onnx"
    path.write_bytes(helper.make_model(made, ir_version=8).SerializeToString())
    return path


@pytest.mark.slow
def test_ell_says_what_it_cannot_hold_and_where_it_fits(tmp_path: Path, ellc_command) -> None:
    chain(tmp_path, "Relu", "Sin", "Elu")
    done = ellc_command("import", "chain.onnx", "-o", "chain.ell")
    assert done.returncode == 2 and "E206" in done.stderr
    assert "node Sin" in done.stderr and "node Elu" in done.stderr
    assert "-o chain.eir" in done.stderr
    assert not (tmp_path / "chain.ell").exists()
    assert ellc_command("import", "chain.onnx", "-o", "chain.eir").returncode == 0


@pytest.mark.slow
def test_unsupported_operators_are_one_report_with_a_cut(tmp_path: Path, ellc_command) -> None:
    chain(tmp_path, "Relu", "Reluu", "Tanh", "Sinn")
    for command in ("compile", "inspect", "check", "print", "bench"):
        done = ellc_command(command, "chain.onnx")
        assert done.returncode == 2, command
        assert done.stderr.startswith("error[E212]: chain.onnx: ")
        assert "node Reluu" in done.stderr and "--outputs b" in done.stderr
    cut = ellc_command("inspect", "chain.onnx", "--outputs", "b", "--json")
    assert cut.returncode == 0, cut.stderr
    assert [p["name"] for p in json.loads(cut.stdout)["outputs"]] == ["b"]
    unknown = ellc_command("inspect", "chain.onnx", "--outputs", "z")
    assert unknown.returncode == 2 and "E214" in unknown.stderr


@pytest.mark.parametrize(
    ("option", "values"), [("--shape", ("x=1,2", "x=1,3")), ("--set", ("x=1", "x=2"))]
)
def test_an_input_is_given_once(option: str, values: tuple[str, str], ellc_command) -> None:
    done = ellc_command("inspect", "net.onnx", *(w for v in values for w in (option, v)))
    assert done.returncode == 2
    assert f"'{option}'" in done.stderr and "more than once for 'x'" in done.stderr


@pytest.mark.slow
def test_open_shapes_are_given_on_the_command_line(tmp_path: Path, ellc_command) -> None:
    path = chain(tmp_path, "Relu")
    model = onnx.load(path)
    for port in (*model.graph.input, *model.graph.output):
        port.type.tensor_type.shape.dim[1].dim_param = "width"
    path.write_bytes(model.SerializeToString())
    open_ = ellc_command("inspect", "chain.onnx")
    assert open_.returncode == 2 and "E213" in open_.stderr and "--shape a=" in open_.stderr
    given = ellc_command("inspect", "chain.onnx", "--shape", "a=1,6", "--json")
    assert json.loads(given.stdout)["inputs"][0]["shape"] == [1, 6]
    compiled = ellc_command("compile", "chain.onnx", "--shape", "a=1,6", "-o", "out")
    assert compiled.returncode == 0, compiled.stderr
    assert "#define chain_INPUT0_SHAPE { 1, 6 }" in (tmp_path / "out" / "chain.h").read_text()


@pytest.mark.slow
def test_a_picture_runs_through_onnx_as_through_ell(digits: Path, ellc_command) -> None:
    picture = DIGITS / "images" / "seven.png"
    options = ("--scale", "1/255", "--json")
    ours = json.loads(ellc_command("run", digits, picture, *options).stdout)[0]["top"]
    theirs = ellc_command("run", DIGITS / "digits_float.ell", picture, "--json").stdout
    wanted = json.loads(theirs)[0]["top"]
    assert [row["index"] for row in ours] == [row["index"] for row in wanted]
    np.testing.assert_allclose(
        [row["value"] for row in ours], [row["value"] for row in wanted], rtol=1e-3
    )


def test_networks_from_elsewhere_take_red_first(tmp_path: Path) -> None:
    path = chain(tmp_path, "Relu")
    model = onnx.load(path)
    for port in (*model.graph.input, *model.graph.output):
        del port.type.tensor_type.shape.dim[:]
        for extent in (1, 3, 8, 8):
            port.type.tensor_type.shape.dim.add().dim_value = extent
    path.write_bytes(model.SerializeToString())
    assert read_model(path).metadata["model.input.expectedColorChannelOrder"] == "rgb"


@pytest.mark.slow
def test_tflite_goes_the_same_way(tmp_path: Path, ellc_command) -> None:
    (tmp_path / "small.tflite").write_bytes(small_tflite())
    shown = ellc_command("inspect", "small.tflite")
    assert shown.returncode == 0, shown.stderr
    assert "x: i8 1x8x8x2, scale 0.1, zero point" in shown.stdout
    assert re.search(r"^ *# .* scale +zero$", shown.stdout, re.MULTILINE)
    assert ellc_command("import", "small.tflite", "-o", "small.eir").returncode == 0
    refused = ellc_command("import", "small.tflite", "-o", "small.ell")
    assert refused.returncode == 2 and "E206" in refused.stderr
    for name in ("small.tflite", "small.eir"):
        checked = ellc_command("check", name, "--layers", "--json")
        assert checked.returncode == 0, checked.stderr + checked.stdout
        document = json.loads(checked.stdout)
        assert document["agrees"] and document["layers"]
        assert not any(layer["wrong"] for layer in document["outputs"])
    compiled = ellc_command("compile", "small.tflite", "-o", "out")
    assert compiled.returncode == 0, compiled.stderr
    header = (tmp_path / "out" / "small.h").read_text()
    assert "#define small_INPUT0_SCALE 0.1" in header and "small_OUTPUT0_ZERO_POINT" in header


def test_pixels_of_the_file_stay_pixels(tmp_path: Path) -> None:
    """The exporter has added a cast and a transpose of the input, whose channels are last."""
    nodes = [
        helper.make_node("Cast", ["x"], ["c"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["c"], ["p"], perm=[0, 3, 1, 2]),
        helper.make_node("GlobalAveragePool", ["p"], ["y"]),
    ]
    ends = [
        helper.make_tensor_value_info("x", TensorProto.UINT8, [1, 6, 5, 3]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 1, 1]),
    ]
    made = helper.make_graph(nodes, "pixels", ends[:1], ends[1:])
    path = tmp_path / "pixels.onnx"
    path.write_bytes(helper.make_model(made, ir_version=8).SerializeToString())
    assert read_model(path, NHWC).input_types()[0].shape == (1, 6, 5, 3)


@pytest.mark.slow
def test_the_header_knows_planes_from_pixels(digits: Path, tmp_path: Path, ellc_command) -> None:
    for name, options in (("planes", ()), ("pixels", ("--layout", "nhwc"))):
        done = ellc_command("compile", digits, *options, "--emit", "h", "-o", name)
        assert done.returncode == 0, done.stderr
        header = (tmp_path / name / "digits.h").read_text()
        shape = "1, 1, 8, 8" if name == "planes" else "1, 8, 8, 1"
        assert f"#define digits_INPUT0_SHAPE {{ {shape} }}" in header
        assert "#define digits_INPUT0_ROWS 8" in header
        assert "#define digits_INPUT0_CHANNELS 1\n" in header
        assert ("stored by channel" in header) == (name == "planes")


def test_tidying_is_idempotent(digits: Path) -> None:
    once = tidied(read_model(digits))
    assert tidied(once) == once

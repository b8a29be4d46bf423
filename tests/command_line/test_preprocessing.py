"""Preprocessing: one graph prepares pictures before a call, and is compiled into networks."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from ellc.codegen.blocks.calls import Options
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.planning.planner import make_plan
from ellc.commands.compile import command as compile_command
from ellc.ir.builder import GraphBuilder, Ref
from ellc.ir.container import load, save
from ellc.ir.errors import EllcError
from ellc.ir.graph import INPUT_PREFIX, Graph
from ellc.ir.interp import evaluate
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.pointwise import Add, Cast, Relu
from ellc.ir.ops.quantised_conv import IntConv2D
from ellc.ir.ops.shape import Transpose
from ellc.ir.pipeline import run_pipeline
from ellc.ir.printable import LONGEST_LINE
from ellc.ir.types import DType, Padding, Quant, TensorType
from ellc.ir.verify import verify
from ellc.pictures.pixels import _KEYS, Geometry, PixelOptions, Preprocessing
from ellc.pictures.preprocessing import PREPROCESSING_KEY, pixel_graph, prepare, with_preprocessing

IMAGENET = Preprocessing(
    order="bgr", high=1, mean=(0.485, 0.456, 0.406), scale=(1 / 0.229, 1 / 0.224, 1 / 0.225)
)
FLOAT = TensorType(DType.F32, (1, 6, 5, 3))
PLANES = TensorType(DType.F32, (1, 3, 6, 5))
STEPS = Quant((1 / 128,), (127,))
BYTES = TensorType(DType.U8, (1, 6, 5, 3), quant=STEPS)
SIGNED = TensorType(DType.I8, (1, 6, 5, 3), quant=Quant((0.5,), (-3,)))
GREY = TensorType(DType.F32, (1, 6, 5, 1))
TYPES = [
    FLOAT,
    PLANES,
    BYTES,
    SIGNED,
    GREY,
    TensorType(DType.F64, (6, 5, 3)),
    TensorType(DType.I16, (1, 3, 6, 5), quant=Quant((0.01,), (0,))),
    TensorType(DType.I32, (1, 6, 5, 3)),
    replace(BYTES, quant=None),
]
DESCRIPTIONS = [
    Preprocessing("rgb"),
    Preprocessing("bgr"),
    IMAGENET,
    Preprocessing("rgb", mean=(127.5,) * 3, scale=(1 / 127.5,) * 3),
    Preprocessing("bgr", -1, 1, pixels="bgr"),
    replace(IMAGENET, size=(9, 7)),
]


def pixels(how: Preprocessing, type: TensorType, seed: int = 0) -> np.ndarray:
    geometry = Geometry.of(type)
    rows, columns = how.size or (geometry.rows, geometry.columns)
    return np.random.default_rng(seed).integers(
        0, 256, (rows, columns, geometry.channels), np.uint8
    )


def bilinear(picture: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Bilinear interpolation between the centres of pixels, with repeated edges."""
    for axis, size in ((0, rows), (1, columns)):
        extent = picture.shape[axis]
        place = np.clip((np.arange(size) + 0.5) * extent / size - 0.5, 0, extent - 1)
        low = np.minimum(place.astype(int), extent - 2)
        shape = [1, 1, 1]
        shape[axis] = size
        part = (place - low).reshape(shape)
        picture = np.take(picture, low, axis) * (1 - part) + np.take(picture, low + 1, axis) * part
    return picture


def by_hand(picture: np.ndarray, type: TensorType, how: Preprocessing) -> np.ndarray:
    """The documented formula, in float64."""
    inner = Geometry.of(type)
    x = picture.astype(np.float64)
    if picture.shape[:2] != (inner.rows, inner.columns):
        x = bilinear(x, inner.rows, inner.columns)
    mean, scale = np.array(how.mean), np.array(how.scale)
    if inner.channels == 1:
        mean, scale = mean.mean(), 1 / (1 / scale).mean()
    elif how.pixels == "bgr":
        x = x[..., ::-1]
    x = (how.low + (how.high - how.low) * x / 255 - mean) * scale
    if inner.channels == 3 and how.order == "bgr":
        x = x[..., ::-1]
    return (x.transpose(2, 0, 1) if inner.planes else x).reshape(type.shape)


@pytest.mark.parametrize("how", DESCRIPTIONS, ids=range(len(DESCRIPTIONS)))
@pytest.mark.parametrize("type", TYPES, ids=lambda t: f"{t.dtype.value}{list(t.shape)}")
def test_pixels_become_what_the_formula_says(type: TensorType, how: Preprocessing) -> None:
    picture = pixels(how, type)
    made, want = prepare(picture, type, how), by_hand(picture, type, how)
    assert made.shape == type.shape and made.dtype == type.dtype.numpy
    if type.dtype.is_float:
        largest = np.abs(want).max()
        np.testing.assert_allclose(made, want, rtol=1e-6, atol=1e-6 * largest)
        return
    limits = np.iinfo(type.dtype.numpy)
    bytes_of_pixels = type.quant is not None and limits.bits == 8 and how.is_plain
    scale, zero = (type.quant.scale[0], type.quant.zero_point[0]) if type.quant else (1.0, 0)
    stored = want + limits.min if bytes_of_pixels else np.rint(want / scale) + zero
    stored = np.clip(stored, limits.min, limits.max)
    # Only halves may differ: after float32 arithmetic, they may be rounded in either direction.
    near_half = np.abs(want / scale % 1 - 0.5) < 1e-3
    assert np.all((made == stored) | (near_half & (np.abs(made - stored) <= 1)))
    assert np.mean(made == stored) > 0.9


def test_pixels_as_a_quantised_network_stores_them_cost_nothing() -> None:
    assert not pixel_graph(BYTES, Preprocessing("rgb")).nodes
    (table,) = pixel_graph(SIGNED, Preprocessing("rgb")).nodes
    assert table.op.name == "lookup"
    halved = TensorType(DType.U8, BYTES.shape, quant=Quant((1 / 127.5,), (127,)))
    to_unit = Preprocessing("rgb", mean=(127.0,) * 3, scale=(1 / 127.5,) * 3)
    assert not pixel_graph(halved, to_unit).nodes, "the quantisation of the input cancels it"


IMPOSSIBLE = [
    *({"scale": (s,) * 3} for s in (1e308, 1e39, 0.0, 1e-60, math.inf)),
    *({"mean": (m,) * 3} for m in (1e39, -1e300)),
    {"low": -1e308, "high": 1e308},
    {"low": 0.0, "high": 1e308, "scale": (1e10,) * 3},
    {"mean": (1e300,) * 3, "scale": (1e300,) * 3},
    {"low": 5.0, "high": 5.0},
    {"scale": (1.0, 0.0, 1.0)},
    {"high": 3e38, "scale": (1.2,) * 3},
]


@pytest.mark.parametrize("type", TYPES, ids=lambda t: f"{t.dtype.value}{list(t.shape)}")
def test_pixels_become_different_finite_numbers_or_are_refused(type: TensorType) -> None:
    """Parameters are refused only if results in the float type of the computation are invalid."""
    for said in IMPOSSIBLE:
        how = replace(Preprocessing("rgb"), **said)
        try:
            made = pixel_graph(type, how)
        except EllcError as error:
            assert error.code == "E711", said
            continue
        assert type.dtype is DType.F64, said
        black, white = (np.full((1, 6, 5, 3), v, np.uint8) for v in (0, 255))
        (low,), (high,) = (evaluate(made, (p,)).outputs for p in (black, white))
        assert np.isfinite(low).all() and np.isfinite(high).all() and (low != high).all(), said


def test_metadata_that_an_option_overrides_may_say_anything() -> None:
    """An invalid value is no error if an option overrides it; else the hint names the option."""
    options = {
        "color": PixelOptions(color="rgb"),
        "range": PixelOptions(range=(0, 1)),
        "mean": PixelOptions(mean=(1, 2, 3)),
        "scale": PixelOptions(scale=(1, 2, 3)),
    }
    keys = {f"{INPUT_PREFIX}{key}": option for option, keys in _KEYS.items() for key in keys}
    assert set(options) == set(_KEYS) and len(keys) == 9
    for key, option in keys.items():
        for text in ("nan", "x", "1e999", "9" * 5000):
            for name, asked in options.items():
                if name == option:
                    assert asked.over_metadata({key: text}) == asked.over(Preprocessing())
                    continue
                with pytest.raises(EllcError) as caught:
                    asked.over_metadata({key: text})
                assert caught.value.code == "E711" and f"--{option}" in caught.value.hint
                assert max(map(len, caught.value.report().splitlines())) <= LONGEST_LINE


# --- before a network ------------------------------------------------------------------------


def weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32) / 8


def network(type: TensorType) -> Graph:
    """A padded convolution of a picture in NHWC or NCHW."""
    b = GraphBuilder("net")
    x = b.input("image", type)
    x = b.add(Transpose((0, 2, 3, 1)), x) if Geometry.of(type).planes else x
    b.output("y", b.add(Relu(), convolution(b, x)))
    b.metadata({"model.input.expectedPixelRangeHigh": "1", "labels": "a\nb"})
    return b.build()


def convolution(b: GraphBuilder, x: Ref) -> Ref:
    if x.type.dtype.is_float:
        return b.add(Conv2D((2, 2), Padding.same(1)), x, b.constant(weights(8, 3, 3, 3)))
    w = np.random.default_rng(1).integers(-9, 9, (8, 3, 3, 3), np.int8)
    y = b.add(IntConv2D((2, 2), Padding.same(1), input_zero=127), x, b.constant(w))
    return b.add(Cast(DType.F32), y)


@pytest.mark.parametrize("how", DESCRIPTIONS, ids=range(len(DESCRIPTIONS)))
@pytest.mark.parametrize("type", [FLOAT, PLANES, BYTES], ids=["float", "planes", "bytes"])
def test_inside_is_the_same_as_before(type: TensorType, how: Preprocessing) -> None:
    graph, picture = network(type), pixels(how, type)
    inside = with_preprocessing(graph, how)
    verify(inside)
    port = inside.types[inside.inputs[0].value]
    assert port.meaning.with_dtype(DType.U8) == TensorType(DType.U8, (1, *picture.shape))
    (got,) = evaluate(inside, (picture[np.newaxis],)).outputs
    (want,) = evaluate(graph, (prepare(picture, type, how),)).outputs
    np.testing.assert_array_equal(got, want)
    # The passes do not change the results, even with borders.
    run_pipeline(inside, paranoid=True)


@pytest.mark.parametrize("type", [FLOAT, PLANES], ids=["float", "planes"])
def test_one_pass_over_memory_remains(type: TensorType) -> None:
    """Mean, scale, order and layout are folded into the convolution; one conversion remains."""
    ready, _ = run_pipeline(with_preprocessing(network(type), IMAGENET))
    plan = make_plan(ready, resolve("host"), Options(), "net")
    assert [step.op for step in plan.steps] == ["cast", "conv2d"]


def test_bytes_go_straight_into_a_quantised_network() -> None:
    ready, _ = run_pipeline(with_preprocessing(network(BYTES), Preprocessing("bgr")))
    assert "gather" not in {node.op.name for node in ready.nodes}
    assert ready.nodes[0].inputs[0] == ready.inputs[0].value


def test_the_description_is_that_of_the_new_input() -> None:
    inside = with_preprocessing(network(PLANES), replace(IMAGENET, size=(9, 7), pixels="bgr"))
    assert Preprocessing.from_metadata(inside.metadata) == Preprocessing("bgr", pixels="rgb")
    assert inside.metadata["labels"] == "a\nb"
    said = inside.metadata[PREPROCESSING_KEY]
    assert said.startswith("image: pixels 9x7x3 (blue, green, red), uint8")
    assert "scaled to 6x5 (bilinear)" in said and "0.0171247538" in said


def test_what_has_no_picture_or_several_or_is_done_already() -> None:
    with pytest.raises(EllcError) as caught:
        with_preprocessing(with_preprocessing(network(FLOAT), IMAGENET), IMAGENET)
    assert caught.value.code == "E719"
    for shapes, code in ((((1, 10),), "E714"), ((FLOAT.shape, FLOAT.shape), "E717")):
        b = GraphBuilder("others")
        ports = [b.input(f"x{i}", TensorType(DType.F32, s)) for i, s in enumerate(shapes)]
        b.output("y", b.add(Add(), ports[0], ports[-1]))
        with pytest.raises(EllcError) as caught:
            with_preprocessing(b.build(), IMAGENET)
        assert caught.value.code == code


# --- on the command line --------------------------------------------------------------------------

ASKED = ("--range", "0,1", "--mean", "0.485,0.456,0.406", "--scale", "1/0.229,1/0.224,1/0.225")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with net.eir (NCHW, without metadata about pictures) and picture.png."""
    save(replace(network(PLANES), metadata={}), tmp_path / "net.eir")
    picture = np.random.default_rng(0).integers(0, 256, (12, 10, 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / "picture.png")
    return tmp_path


def results(folder: Path, ellc_command, *arguments: str) -> np.ndarray:
    done = ellc_command("run", *arguments, "-o", "y.npy")
    assert done.returncode == 0, done.stderr
    return np.load(folder / "y.npy")


@pytest.mark.slow
@pytest.mark.parametrize("resize", [(), ("--resize", "9x7")])
def test_a_picture_gives_the_same_inside_and_before(folder: Path, ellc_command, resize) -> None:
    options = (*ASKED, *resize)
    for name, chosen in (("plain", ()), ("pixels", options)):
        made = ellc_command("compile", "net.eir", *chosen, "-o", name, "--name", name)
        assert made.returncode == 0, made.stderr
    inside = results(folder, ellc_command, "pixels/libpixels.so", "picture.png")
    before = results(folder, ellc_command, "plain/libplain.so", "picture.png", *options)
    reference = results(folder, ellc_command, "net.eir", "picture.png", "--reference", *options)
    largest = np.abs(reference).max()
    np.testing.assert_allclose(inside, reference, rtol=1e-4, atol=1e-6 * largest)
    np.testing.assert_allclose(before, reference, rtol=1e-4, atol=1e-6 * largest)
    plain = results(folder, ellc_command, "plain/libplain.so", "picture.png")
    assert not np.allclose(plain, reference, rtol=1e-2)
    refused = ellc_command("run", "pixels/libpixels.so", "picture.png", *options)
    assert refused.returncode == 2 and "E719" in refused.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "target",
    ["host", *(pytest.param(t, marks=pytest.mark.emulated) for t in ("pi0", "pi3", "pi3_64"))],
)
def test_compiled_code_agrees(folder: Path, ellc_command, target: str) -> None:
    options = (*ASKED, "--resize", "9x7", "--color", "bgr", "--layers", "--seeds", "1")
    done = ellc_command("check", "net.eir", "--target", target, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "preprocessing of image" in done.stdout


@pytest.mark.slow
def test_metadata_is_enough(folder: Path, ellc_command) -> None:
    graph = network(FLOAT).with_metadata(
        {"model.input.redChannelMean": "0.4", "model.input.blueChannelStdDev": "0.2"}
    )
    save(graph, folder / "told.eir")
    plain = results(folder, ellc_command, "told.eir", "picture.png")
    inside = results(folder, ellc_command, "told.eir", "picture.png", "--pixels", "rgb")
    np.testing.assert_allclose(inside, plain, rtol=1e-4, atol=1e-6 * np.abs(plain).max())
    bgr = ellc_command("compile", "told.eir", "--pixels", "bgr", "-o", "out")
    assert bgr.returncode == 0, bgr.stderr
    by_library = results(folder, ellc_command, "out/libtold.so", "picture.png")
    np.testing.assert_allclose(by_library, plain, rtol=1e-4, atol=1e-6 * np.abs(plain).max())


@pytest.mark.slow
def test_header_manifest_and_module_say_what_goes_in(folder: Path, ellc_command) -> None:
    done = ellc_command("compile", "net.eir", *ASKED, "--pixels", "bgr", "-o", "out")
    assert done.returncode == 0, done.stderr
    for name in ("net.h", "net.py"):
        text = (folder / "out" / name).read_text()
        assert "image: pixels 6x5x3 (blue, green, red), uint8 0 to 255" in text
        assert "value = pixel * (" in text
    assert "#define net_INPUT0_SHAPE { 1, 6, 5, 3 }" in (folder / "out" / "net.h").read_text()
    document = json.loads((folder / "out" / "net.json").read_text())
    assert document["inputs"][0]["type"] == "u8"
    assert "value = pixel" in document["metadata"][PREPROCESSING_KEY]
    assert ellc_command("check", "net.eir", *ASKED, "--seeds", "1").returncode == 0


@pytest.mark.slow
def test_vectors_of_floats_become_pixels(folder: Path, ellc_command) -> None:
    """ELL's tutorials pass pixels as vectors of floats."""
    assert ellc_command("compile", "net.eir", *ASKED, "-o", "out").returncode == 0
    program = (
        "import sys; sys.path.insert(0, 'out')\n"
        "import numpy as np, net\n"
        "pixels = np.arange(90).reshape(1, 6, 5, 3).astype(np.uint8)\n"
        "vector = net.FloatVector(pixels.astype(np.float32) + 0.25)\n"
        "assert np.array_equal(net.predict(vector), net.Model().predict(pixels).ravel())\n"
        "assert net.get_default_input_shape().Size() == 90\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_quantisation_is_told_of_every_port(tmp_path: Path, ellc_command) -> None:
    b = GraphBuilder("stored")
    x = b.input("image", BYTES)
    b.output("same", b.add(Transpose((0, 3, 1, 2)), x))
    save(b.build(), tmp_path / "stored.eir")
    done = ellc_command("compile", "stored.eir", "-o", "out")
    assert done.returncode == 0, done.stderr
    header = (tmp_path / "out" / "stored.h").read_text()
    for port in ("INPUT0", "OUTPUT0"):
        assert f"#define stored_{port}_SCALE 0.0078125 " in header
        assert f"#define stored_{port}_ZERO_POINT 127\n" in header
    assert "image 1x6x5x3 uint8_t, stands for 0.0078125 * (stored - 127)" in header
    module = (tmp_path / "out" / "stored.py").read_text()
    assert "'image': (0.0078125, 127)," in module and "'same': (0.0078125, 127)," in module
    document = json.loads((tmp_path / "out" / "stored.json").read_text())
    assert document["outputs"][0]["quantisation"]["zero_point"] == [127]
    shown = ellc_command("inspect", "stored.eir").stdout
    assert "image: u8 1x6x5x3, scale 0.0078125, zero point 127" in shown


@pytest.mark.parametrize(
    "wrong",
    [
        *("--mean 1,2", "--mean x", "--scale 1/0", "--scale inf", "--range 1", "--resize 5"),
        *(
            "--resize 0x5",
            "--resize 5x16385",
            "--resize -1x5",
            "--color cmyk",
            "--shape 1,2",
            "--shape x=0",
        ),
        *("--shape x=a", "--outputs a,,b", "--layout nchw", "--set x", "--set x=a"),
    ],
)
def test_options_that_say_nothing_sensible_are_wrong_usage(
    folder: Path, ellc_command, wrong: str
) -> None:
    done = ellc_command("inspect", "net.eir", *wrong.split())
    assert done.returncode == 2
    assert wrong.split()[0] in done.stderr and "Traceback" not in done.stderr


def test_programs_that_no_shell_could_split_are_wrong_usage() -> None:
    for option in ("--cc", "--linker"):
        for text in ('no such "', "it's", "ld \\", " ", "''"):
            done = CliRunner().invoke(compile_command, ["net.eir", option, text])
            assert done.exit_code == 2 and option in done.stderr, (text, done)


def test_options_of_other_kinds_of_file_are_refused(folder: Path, ellc_command) -> None:
    done = ellc_command("inspect", "net.eir", "--shape", "image=1,3,8,8", "--outputs", "y",
                        "--set", "image=true")  # fmt: skip
    assert done.returncode == 2 and "--shape and --set and --outputs" in done.stderr


def test_a_model_with_pixels_can_be_kept(folder: Path) -> None:
    inside = with_preprocessing(network(PLANES), PixelOptions(pixels="rgb").over(IMAGENET))
    save(inside, folder / "inside.eir")
    assert load(folder / "inside.eir") == inside

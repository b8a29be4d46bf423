"""The page that runs a network in the browser: which networks have it, and its answers."""

from __future__ import annotations

import base64
import io
import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Tab, browser_tab, find_browser
from PIL import Image

from ellc.gallery.site import build_site
from ellc.ir.builder import GraphBuilder
from ellc.ir.container import save
from ellc.ir.errors import EllcError
from ellc.ir.interp import evaluate
from ellc.ir.ops.dense import Dense
from ellc.ir.ops.shape import Reshape
from ellc.ir.types import Array, DType, TensorType
from ellc.models import ModelOptions, read_model
from ellc.pictures.images import dequantise, fitted_pixels, load_picture
from ellc.pictures.pixels import PRESETS, Geometry, PixelOptions
from ellc.pictures.preprocessing import prepare

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits"
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TOLERANCE = 1e-4


def colour_network(path: Path) -> Path:
    """A network of four classes for NCHW pictures of 5 x 7 pixels, without softmax."""
    rng = np.random.default_rng(5)
    b = GraphBuilder("colours")
    x = b.input("x", TensorType(DType.F32, (1, 3, 5, 7)))
    flat = b.add(Reshape((1, 105)), x)
    weights = b.constant(rng.standard_normal((4, 105)).astype(np.float32) / 8)
    b.output("scores", b.add(Dense(), flat, weights))
    save(b.build(), path)
    return path


def result(folder: Path, name: str, **changed: Any) -> Path:
    """A result for a network, with all keys that the page needs."""
    document = {
        "format": "ellc gallery 1",
        "model": name,
        "precision": "fp32",
        "board": "here",
        "engine": "ellc",
        "input": [8, 8, 1],
        "colours": "grey",
        "dataset": "digits",
        "figures": [{"of": "ms", "provenance": "measured", "command": "ellc bench x"}],
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(document | changed), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two networks, their results, and the site."""
    folder = tmp_path_factory.mktemp("trial")
    shutil.copy(DIGITS / "digits8.tflite", folder)
    colour_network(folder / "colours.eir")
    (folder / "labels.txt").write_text("red\ngreen\nblue\n<b>white</b>\n", encoding="utf-8")
    shutil.copy(DIGITS / "images" / "labels.txt", folder / "words.txt")
    digits = {
        "precision": "int8",
        "network": {"file": "digits8.tflite"},
        "try": {"labels": "words.txt", "drawing": 1},
    }
    colours = {
        "network": {"file": "colours.eir"},
        "input": [5, 7, 3],
        "colours": "bgr",
        "try": {"labels": "labels.txt", "preprocess": "imagenet-torch"},
    }
    paths = [result(folder, "digits8", **digits), result(folder, "colours", **colours)]
    # The same network with built-in preprocessing; its input is pixels in OpenCV's order.
    options = replace(PRESETS["imagenet-torch"], color="bgr", pixels="bgr")
    graph = read_model(folder / "colours.eir", ModelOptions(pixels=options))
    save(graph, folder / "inside.eir")
    inside = colours | {"network": {"file": "inside.eir"}, "try": {}}
    paths.append(result(folder, "inside", **inside))
    built = build_site(paths, folder / "site", with_published=False)
    assert built.trials == len(paths)
    return folder


# --- which networks ---


@pytest.mark.slow
def test_only_networks_that_can_be_tried_have_a_page(folder: Path, tmp_path: Path) -> None:
    shutil.copy(DIGITS / "digits8.tflite", tmp_path)
    colour_network(tmp_path / "colours.eir")
    paths = [
        result(tmp_path, "digits8", precision="int8", network={"file": "digits8.tflite"}),
        result(tmp_path, "unknown", network={"file": "colours.eir"}, input=[5, 7, 3]),
        result(tmp_path, "drawn", network={"zoo": "lenet5"}, input=[28, 28, 1]),
        result(tmp_path, "sound", network={"file": "digits8.tflite"}, colours="none"),
    ]
    site = tmp_path / "site"
    built = build_site(paths, site, with_published=False)
    assert built.trials == 1 and [x.name for x in site.glob("try-*")] == ["try-int8-digits8.html"]
    assert 'href="try-int8-digits8.html"' in (site / "model-digits8.html").read_text("utf-8")
    assert build_site(paths, site, with_published=False, most_trial_bytes=1000).trials == 0


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"network": {"zoo": "lenet5"}, "try": {}}, "the zoo's networks have random weights"),
        ({"network": {"file": "flat.eir"}, "try": {}}, "does not take one picture"),
        ({"network": {"file": "colours.eir"}, "try": {"labels": "labels.txt"}}, "labels is 2"),
        ({"network": {"file": "colours.eir"}, "try": {"labels": "odd.txt"}}, "odd.txt: not a read"),
        ({"try": {}}, "try: there is no network"),
        ({"network": {"file": "colours.eir"}, "try": {"preprocess": "x"}}, "'x' is not one of"),
        ({"network": {"file": "colours.eir"}, "try": {"drawing": 0}}, "0 is not between 0.1 and 1"),
        ({"network": {"file": "colours.eir"}, "try": {"labels": "../x"}}, "labels: the name must"),
        ({"network": {"file": "colours.eir"}, "try": {"colour": 1}}, "colour: unknown key"),
    ],
)
def test_what_cannot_be_tried_is_a_problem(
    tmp_path: Path, changed: dict[str, Any], problem: str
) -> None:
    colour_network(tmp_path / "colours.eir")
    (tmp_path / "labels.txt").write_text("one\ntwo\n", encoding="utf-8")
    (tmp_path / "odd.txt").write_bytes(b"\xff")
    b = GraphBuilder("flat")
    weights = b.constant(np.ones((2, 4), np.float32))
    b.output("y", b.add(Dense(), b.input("x", TensorType(DType.F32, (1, 4))), weights))
    save(b.build(), tmp_path / "flat.eir")
    with pytest.raises(EllcError, match=r"net\.json") as caught:
        build_site([result(tmp_path, "net", **changed)], tmp_path / "site", with_published=False)
    assert caught.value.code == "E780" and problem in caught.value.problems[0]


# --- in a browser ---


@pytest.fixture(scope="module")
def browser() -> str:
    found = find_browser()
    if found is None:
        pytest.skip("no Chromium found: on Debian, apt-get install chromium-headless-shell")
    return found


@pytest.fixture(scope="module")
def tab(browser: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with browser_tab(browser, tmp_path_factory.mktemp("profile")) as tab:
        yield tab
        assert tab.errors == []
        assert all(address.startswith(("file://", "data:")) for address in tab.requests)


def drop(tab: Tab, name: str, content: bytes) -> dict[int, float]:
    """Drop a file on the page; returns the shown classes with their probabilities."""
    text = base64.b64encode(content).decode()
    before = tab.evaluate("document.getElementById('status').textContent")
    tab.evaluate(
        "{ const bytes = Uint8Array.from(atob('" + text + "'), (c) => c.charCodeAt(0));"
        "const files = new DataTransfer();"
        f"files.items.add(new File([bytes], {json.dumps(name)}));"
        "document.querySelector('.try').dispatchEvent("
        "new DragEvent('drop', {dataTransfer: files, bubbles: true, cancelable: true})); }"
    )
    return answers(tab, before)


def answers(tab: Tab, before: str) -> dict[int, float]:
    """The classes that the page shows once it has a new final message."""
    tab.evaluate(
        "new Promise((done) => { const look = () => { const now ="
        f"document.getElementById('status').textContent; if (now !== {json.dumps(before)}"
        " && !now.endsWith('being read.')) done(); else setTimeout(look, 5); }; look(); })"
    )
    rows = tab.evaluate(
        "[...document.querySelectorAll('#answers tr')]"
        ".map((row) => [row.dataset.index, row.dataset.share])"
    )
    return {int(index): float(share) for index, share in rows}


def png(pixels: Array) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(file, "PNG")
    return file.getvalue()


def expected(path: Path, picture: Path, options: PixelOptions | None = None) -> Array:
    """The real-valued outputs of ellc's reference for a picture."""
    graph = read_model(path)
    (type_,) = graph.input_types()
    size = Geometry.of(type_)
    pixels = load_picture(picture, (size.rows, size.columns), size.channels)
    how = (options or PixelOptions()).over_metadata(graph.metadata)
    values = prepare(pixels, type_, replace(how, pixels="rgb"))
    (output,) = evaluate(graph, (values,)).outputs
    return dequantise(output, graph.output_types()[0]).astype(np.float64).ravel()


@pytest.mark.slow
def test_pixels_are_scaled_as_ellc_scales_them(folder: Path, tab: Tab) -> None:
    tab.open((folder / "site" / "try-int8-digits8.html").as_uri(), 800, 600)
    rng = np.random.default_rng(1)
    for height, width, channels, rows, columns in (
        *((5, 7, 3, 28, 28), (64, 48, 3, 8, 8), (33, 100, 1, 28, 28), (1, 9, 3, 8, 8)),
        *((131, 3, 1, 28, 28), (28, 28, 3, 28, 28), (97, 61, 3, 8, 8), (50, 80, 3, 31, 17)),
    ):
        pixels = rng.integers(0, 256, (height, width, 4), np.uint8)
        pixels[..., 3] = 255
        given = {"data": pixels.ravel().tolist(), "width": width, "height": height}
        ours = tab.evaluate(
            f"(() => {{ const p = {json.dumps(given)};"
            f"const all = withoutAlpha(p.data, p.width, p.height, {channels});"
            f"const box = cropBox(p.width, p.height, {rows}, {columns});"
            "const data = new Uint8Array(box.width * box.height * all.channels);"
            "for (let y = 0; y < box.height; y += 1) {"
            "const from = ((box.top + y) * p.width + box.left) * all.channels;"
            "data.set(all.data.subarray(from, from + box.width * all.channels),"
            " y * box.width * all.channels); }"
            "const part = {...box, channels: all.channels, data};"
            f"return [...scaledTo(part, {rows}, {columns}).data]; }})()"
        )
        colours = pixels[..., :3]
        if channels == 1:
            colours = np.asarray(Image.fromarray(colours).convert("L"))[..., np.newaxis]
        theirs = fitted_pixels(colours, (rows, columns), 1 if channels == 1 else 3)
        assert np.array_equal(np.array(ours, np.uint8), theirs.ravel()), (height, width, rows)


@pytest.mark.slow
def test_a_dropped_picture_has_the_answer_of_ellc(folder: Path, tab: Tab, tmp_path: Path) -> None:
    tab.open((folder / "site" / "try-int8-digits8.html").as_uri(), 1280, 900)
    for word in ("seven", "two", "zero"):
        picture = DIGITS / "images" / f"{word}.png"
        right = expected(folder / "digits8.tflite", picture)
        shown = drop(tab, f"{word}.png", picture.read_bytes())
        assert next(iter(shown)) == WORDS.index(word) == int(right.argmax())
        assert all(abs(share - right[index]) <= TOLERANCE for index, share in shown.items())
        text = tab.evaluate("document.getElementById('status').textContent")
        assert text.startswith(f"{word}.png: {word}, ") and " ms a prediction" in text
    # The file input gives the same answer. For a file that is no picture, a message appears and the
    # previous answer stays.
    before = tab.evaluate("document.getElementById('status').textContent")
    tab.choose_files("#file", [DIGITS / "images" / "nine.png"])
    assert next(iter(answers(tab, before))) == WORDS.index("nine")
    drop(tab, "<i>no.png", b"no picture")
    said = tab.evaluate("document.getElementById('status').textContent")
    assert said == "<i>no.png is not a picture that this browser can read."
    tab.screenshot(tmp_path / "digits.png")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["colours", "inside"])
def test_colours_planes_and_scores_without_softmax(
    folder: Path, tab: Tab, tmp_path: Path, name: str
) -> None:
    rng = np.random.default_rng(2)
    pixels = rng.integers(0, 256, (40, 31, 3), np.uint8)
    content = png(pixels)
    (tmp_path / "x.png").write_bytes(content)
    options = replace(PRESETS["imagenet-torch"], color="bgr")
    logits = expected(folder / "colours.eir", tmp_path / "x.png", options)
    powers = np.exp(logits - logits.max())
    right = powers / powers.sum()
    tab.open((folder / "site" / f"try-fp32-{name}.html").as_uri(), 390, 844, "dark")
    shown = drop(tab, "x.png", content)
    assert list(shown) == np.argsort(-right, kind="stable").tolist()
    assert all(abs(share - right[index]) <= TOLERANCE for index, share in shown.items())
    assert math.isclose(sum(shown.values()), 1, rel_tol=1e-6)
    names = tab.evaluate("[...document.querySelectorAll('#answers th')].map((x) => x.textContent)")
    if name == "colours":
        assert set(names) == {"red", "green", "blue", "<b>white</b>"}
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.slow
def test_a_drawn_digit_is_read(folder: Path, tab: Tab) -> None:
    """A one and a seven are drawn with the mouse, and the canvas is cleared between them."""
    tab.open((folder / "site" / "try-int8-digits8.html").as_uri(), 1280, 900)
    before = tab.evaluate("document.getElementById('status').textContent")
    tab.drag("#draw", [(0.3, 0.2), (0.7, 0.2), (0.45, 0.8)])
    assert next(iter(answers(tab, before))) == 7
    tab.click("#clear")
    before = tab.evaluate("document.getElementById('status').textContent")
    assert before == "The drawing is cleared."
    tab.drag("#draw", [(0.5, 0.2), (0.3, 0.5), (0.5, 0.8), (0.7, 0.5), (0.5, 0.2)])
    assert next(iter(answers(tab, before))) == 0


@pytest.mark.slow
@pytest.mark.needs_data
def test_a_real_network_answers_as_ellc_does(test_data: Path, tab: Tab, tmp_path: Path) -> None:
    """For two lossless pictures, an 8-bit MobileNet V1 has the same outputs as in ellc."""
    name = "mobilenet_v1_0.25_128_quant.tflite"
    shutil.copy(test_data / "models" / name, tmp_path)
    shutil.copy(test_data / "labels" / "imagenet_1001.txt", tmp_path)
    facts = {
        "precision": "int8",
        "network": {"file": name},
        "input": [128, 128, 3],
        "colours": "rgb",
        "try": {"labels": "imagenet_1001.txt"},
    }
    build_site([result(tmp_path, "net", **facts)], tmp_path / "site", with_published=False)
    tab.open((tmp_path / "site" / "try-int8-net.html").as_uri(), 1280, 900)
    labels = (test_data / "labels" / "imagenet_1001.txt").read_text(encoding="utf-8").split("\n")
    for picture in ("cat.bmp", "sunflower.bmp"):
        path = test_data / "images" / picture
        right = expected(tmp_path / name, path, PixelOptions(color="rgb"))
        shown = drop(tab, picture, path.read_bytes())
        assert list(shown) == np.argsort(-right, kind="stable")[: len(shown)].tolist()
        assert all(abs(share - right[index]) <= 1e-9 for index, share in shown.items())
        text = tab.evaluate("document.getElementById('status').textContent")
        assert text.startswith(f"{picture}: {labels[int(right.argmax())].strip()}, ")

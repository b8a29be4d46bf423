"""Class names are available in C, the demo and Python; inputs can be given by name."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from small_model_files import small_onnx
from small_networks import two_way_network

from ellc.cli import run
from ellc.driver import CompileOptions, compile_model
from ellc.frontends.onnx.labels import stated_labels
from ellc.ir.builder import GraphBuilder
from ellc.ir.container import save
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph
from ellc.ir.ops.dense import Dense
from ellc.ir.ops.shape import Reshape
from ellc.ir.types import DType, TensorType
from ellc.pictures.pixels import PRESETS, PixelOptions, Preprocessing

CLASSES = 12
NAMES = tuple(f'class "{n}" %s ??/' for n in range(CLASSES))


def classifier() -> Graph:
    """A network that computes scores from a picture of 4 x 4 pixels."""
    weights = np.random.default_rng(0).standard_normal((CLASSES, 48)).astype(np.float32)
    b = GraphBuilder("small")
    x = b.input("image", TensorType(DType.F32, (1, 4, 4, 3)))
    b.output("scores", b.add(Dense(), b.add(Reshape((1, 48)), x), b.constant(weights)))
    return b.build()


def compiled(folder: Path, *kinds: str, labels: tuple[str, ...] = NAMES) -> Path:
    options = CompileOptions(emit=kinds, threads=1, labels=labels)
    compile_model(classifier(), "host", options, folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("words", [("gcc", "-std=c99"), ("g++", "-std=c++11", "-x", "c++")])
def test_names_are_an_array_in_c_and_the_demo_prints_them(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    folder = compiled(tmp_path / "out", "obj", "demo")
    main = tmp_path / "main.c"
    main.write_text(
        '#include <stdio.h>\n#include "small.h"\n#include "small_labels.h"\n'
        "int main(void) { for (int i = 0; i < small_LABEL_COUNT; i++) puts(small_labels[i]); }\n"
    )
    subprocess.run(
        [*words, "-Wall", "-Wextra", "-Werror", main, "-I", folder, "-o", tmp_path / "main"],
        check=True,
    )
    printed = subprocess.run([tmp_path / "main"], capture_output=True, text=True, check=True).stdout
    assert tuple(printed.splitlines()) == NAMES
    sources = [folder / name for name in ("demo.c", "ellc_clock.c", "small.o")]
    subprocess.run(["gcc", "-Wall", *sources, "-o", tmp_path / "demo"], check=True)
    printed = subprocess.run([tmp_path / "demo"], capture_output=True, text=True, check=True).stdout
    shown = [line.split("  ", 2) for line in printed.splitlines() if line.startswith("  [")]
    assert len(shown) == 5
    for _, number, name in shown:
        assert name == NAMES[int(number[1 : number.index("]")])]


@pytest.mark.slow
def test_python_has_labels_and_takes_inputs_by_name(tmp_path: Path) -> None:
    compiled(tmp_path, "so", "py")
    compile_model(two_way_network(), "host", CompileOptions(emit=("so", "py"), threads=1), tmp_path)
    names = [port.name for port in two_way_network().inputs]
    script = f"""
import sys; sys.path.insert(0, {str(tmp_path)!r})
import json, numpy as np, small, {two_way_network().name} as two
x = np.ones((4, 4, 3), np.float32)
m = small.Model()
y = m.predict(x)
assert all(np.array_equal(y, other) for other in (m(x), m(image=x), m.predict({{"image": x}})))
t = two.Model()
inputs = {{n: np.ones(s, d) for n, d, s, _ in two.INPUTS}}
wanted = t(*inputs.values())
for given in (inputs, dict(reversed(inputs.items()))):
    t.reset()
    assert all(map(np.array_equal, wanted, t(given)))
for wrong in ({{}}, {{"image": x}}, inputs | {{"more": x}}):
    try: t(wrong)
    except TypeError as error: pass
    else: raise AssertionError(wrong)
assert two.Model.labels == ()
print(json.dumps([small.LABELS, m.labels]))
"""
    ran = subprocess.run(
        [sys.executable, "-I", "-c", script], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == [list(NAMES)] * 2
    assert len(names) > 1


def test_another_number_of_names_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EllcError, match="the number of labels is 3") as caught:
        compiled(tmp_path / "out", "obj", labels=("a", "b", "c"))
    assert caught.value.code == "E709"


@pytest.mark.slow
def test_presets_fill_in_what_is_not_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = PixelOptions(range=(0.0, 2.0)).with_defaults(PRESETS["imagenet-torch"])
    how = given.over(Preprocessing())
    assert (how.order, how.low, how.high, how.mean) == ("rgb", 0.0, 2.0, (0.485, 0.456, 0.406))
    model, labels = tmp_path / "small.eir", tmp_path / "names.txt"
    save(classifier(), model)
    labels.write_text("\n".join(NAMES))
    words = ["--preprocess", "imagenet-tf", "--labels", labels, "-o", tmp_path / "out"]
    assert run(["compile", *map(str, [model, *words])]) == 0
    capsys.readouterr()
    manifest = json.loads((tmp_path / "out" / "small.json").read_text())
    assert "value = pixel * 0.00784313725 + -1" in json.dumps(manifest)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_give_finite_numbers(name: str) -> None:
    factor, offset = PRESETS[name].over(Preprocessing()).affine(3)
    assert np.all(np.isfinite([factor, offset]))


@pytest.mark.parametrize(
    ("key", "text", "names"),
    [
        ("names", "{0: 'cat', 1: \"a 'dog'\"}", ["cat", "a 'dog'"]),
        ("names", '{"1": "dog", "0": "cat"}', ["cat", "dog"]),
        ("classes", '["cat", "d\\u00f6g"]', ["cat", "dög"]),
        ("class_names", "('cat', 'dog')", ["cat", "dog"]),
        ("labels", '["cat", "dog"]', ["cat", "dog"]),
        ("names", "{0: 'cat', 2: 'dog'}", []),
        ("names", "['cat', 3]", []),
        ("names", "['a\\nb']", []),
        ("names", "__import__('os').abort()", []),
        ("names", "[__import__('os').abort()]", []),
        ("names", "[" * 100_000, []),
        ("names", "a net of mine", []),
    ],
)
def test_names_in_the_metadata_of_an_onnx_file(key: str, text: str, names: list[str]) -> None:
    assert stated_labels({"other": "['x']", key: text}).splitlines() == names


def test_names_of_an_onnx_file_reach_python(tmp_path: Path) -> None:
    model = onnx.load_from_string(small_onnx())
    onnx.helper.set_model_props(model, {"names": "{0: 'cat', 1: 'dog', 2: 'cow'}"})
    onnx.save(model, tmp_path / "seen.onnx")
    options = CompileOptions(emit=("so", "py"), threads=1)
    compile_model(tmp_path / "seen.onnx", "host", options, tmp_path / "out")
    words = [sys.executable, "-c", "import seen; print(seen.Model.labels)"]
    told = subprocess.run(words, cwd=tmp_path / "out", capture_output=True, text=True, check=True)
    assert told.stdout == "('cat', 'dog', 'cow')\n"

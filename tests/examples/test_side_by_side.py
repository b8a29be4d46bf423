"""Two networks side by side: both labels are those of the references, and agreement is counted."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from digit_clips import ROOT, Program
from digits_data import LABELS
from PIL import Image

from ellc.driver import CompileOptions, compile_model
from ellc.ir.interp import evaluate
from ellc.models import ModelOptions, read_model
from ellc.pictures.pixels import PixelOptions

DIGITS = ROOT / "examples" / "digits"
PROGRAM = "side_by_side/side_by_side.py"
LINE = re.compile(r"(\d)\.png +(\w+) [\d.]+ +[\d.]+ ms +(\w+) [\d.]+ +[\d.]+ ms( +differ)?")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def binary_network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("binary") / "network"
    model = ModelOptions(pixels=PixelOptions(pixels="rgb"))
    compile_model(DIGITS / "digits_binary.ell", "host", CompileOptions(model=model), folder)
    return folder


def test_labels_and_agreement(
    digits_network: Path, binary_network: Path, python_program: Program, tmp_path: Path
) -> None:
    """The pictures are noise, because the two networks agree on all pictures of digits."""
    blots = np.random.default_rng(2).integers(0, 256, (10, 8, 8)).astype(np.uint8)
    inputs = (blots / 255).astype(np.float32)
    float_graph = read_model(DIGITS / "digits.onnx")
    binary_graph = read_model(DIGITS / "digits_binary.ell")
    wanted = [
        (
            LABELS[int(evaluate(float_graph, (x.reshape(1, 1, 8, 8),)).outputs[0].argmax())],
            LABELS[int(evaluate(binary_graph, (x.reshape(1, 8, 8, 1),)).outputs[0].argmax())],
        )
        for x in inputs
    ]
    agreed = sum(a == b for a, b in wanted)
    assert 0 < agreed < len(wanted)
    for i, blot in enumerate(blots):
        Image.fromarray(blot).save(tmp_path / f"{i}.png")
    ran = python_program(PROGRAM, digits_network, binary_network, "--folder", tmp_path)
    assert ran.returncode == 0, ran.stderr
    title, *lines, agreement, times = ran.stdout.splitlines()
    assert title.split() == ["digits", "digits_binary"]
    found = [LINE.fullmatch(line) for line in lines]
    assert [(m[2], m[3]) for m in found if m] == wanted
    assert [bool(m[4]) for m in found if m] == [a != b for a, b in wanted]
    assert agreement.startswith(f"they agree on {agreed} of {len(wanted)} (")
    assert re.fullmatch(
        r"median of a call: digits [\d.]+ ms, digits_binary [\d.]+ ms; \w+ is [\d.]+ x as fast",
        times,
    )
    few = python_program(PROGRAM, digits_network, binary_network, "--folder", ".", "--frames", "3")
    assert "of 3 (" in few.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("FLOAT", "nowhere", "--folder", "."), "nowhere: not the NAME.py"),
        (("FLOAT", "BINARY"), "one of the arguments --folder --clip --camera --picamera"),
        (("FLOAT", "BINARY", "--folder", "nowhere"), "nowhere: no such folder"),
        (("FLOAT", "BINARY", "--folder", ".", "--frames", "0"), "--frames 0: at least 1"),
        (("FLOAT", "EIGHT", "--folder", "."), "name their classes differently: give --labels FILE"),
    ],
)
def test_mistakes_are_said_in_words(
    words: tuple[str, ...],
    said: str,
    digits_network: Path,
    binary_network: Path,
    python_program: Program,
    tmp_path: Path,
) -> None:
    places = {"FLOAT": digits_network, "BINARY": binary_network, "EIGHT": tmp_path / "eight"}
    if "EIGHT" in words:
        compile_model(DIGITS / "digits8.tflite", "host", CompileOptions(), places["EIGHT"])
    ran = python_program(PROGRAM, *(places.get(word, word) for word in words))
    assert ran.returncode != 0
    assert said in ran.stderr and "Traceback" not in ran.stderr

"""The ONNX and TFLite files of the digits example give the answers of the trained network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from digits_data import Digits, load_split
from to_tflite import CALIBRATION_DIGITS, tflite_model

from ellc.execute import compiled
from ellc.frontends.ell.read import read_ell
from ellc.ir.interp import evaluate
from ellc.models import read_model

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "digits"


@pytest.fixture(scope="module")
def split() -> tuple[Digits, Digits]:
    return load_split()


@pytest.fixture(scope="module")
def model(split: tuple[Digits, Digits], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the float network quantised to 8 bits."""
    path = tmp_path_factory.mktemp("tflite") / "digits.tflite"
    graph = read_ell(FOLDER / "digits_float.ell")
    path.write_bytes(tflite_model(graph, split[0].inputs[:CALIBRATION_DIGITS]))
    return path


def bytes_of(digits: Digits) -> np.ndarray:
    """Pixels minus 128, the input of the network."""
    return (digits.pictures.astype(np.int16) - 128).astype(np.int8)[:, np.newaxis, :, :, np.newaxis]


@pytest.mark.slow
def test_eight_bits_cost_few_digits(model: Path, split: tuple[Digits, Digits]) -> None:
    held_back = split[1]
    with compiled(model, "host") as library:
        scores = np.array([library.run((x,))[0][0][0] for x in bytes_of(held_back)[:60]])
    assert np.mean(scores.argmax(axis=1) == held_back.labels[:60]) > 0.97
    graph = read_model(model)
    reference = [evaluate(graph, (x,)).outputs[0][0] for x in bytes_of(held_back)[:30]]
    np.testing.assert_array_equal(scores[:30], reference)


def test_the_formats_own_runtime_says_the_same(model: Path, split: tuple[Digits, Digits]) -> None:
    interpreter: Any = pytest.importorskip("ai_edge_litert.interpreter")
    runtime = interpreter.Interpreter(
        model_path=str(model),
        experimental_op_resolver_type=interpreter.OpResolverType.BUILTIN_REF,
    )
    runtime.allocate_tensors()
    graph = read_model(model)
    for x in bytes_of(split[1])[:30]:
        runtime.set_tensor(runtime.get_input_details()[0]["index"], x)
        runtime.invoke()
        theirs = runtime.get_tensor(runtime.get_output_details()[0]["index"])
        np.testing.assert_array_equal(evaluate(graph, (x,)).outputs[0], theirs)

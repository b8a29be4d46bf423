"""TFLite files of quantised networks give nearly the same integers, here and in LiteRT."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from quantisable import NETWORKS, Drawn, inputs, quantised

from ellc.ir.errors import EllcError
from ellc.ir.interp import evaluate
from ellc.ir.ops.functions import Erf
from ellc.ir.ops.reduce import Softmax
from ellc.ir.types import Array
from ellc.models import read_model
from ellc.quantise.quantising import Quantised
from ellc.quantise.tflite_file import write_tflite
from ellc.quantise.writing import write

WRITTEN = [name for name in NETWORKS if name != "groups"]
STEPS = {"mean pool": 8, "reduced": 4, "joined": 2}
"""How many steps of the last layer's integers may differ, if not one: here another layer before it
may differ by one as well, and the last layer adds several of its results."""


def far(result: Quantised, got: Array, want: Array) -> float:
    """The largest difference in steps of the last layer."""
    step = float(result.quantisations[result.layers[-1].results[0]].one_scale)
    return float(np.abs(got - want).max()) / step


@pytest.mark.parametrize("name", WRITTEN)
def test_the_file_means_nearly_the_same(
    name: str, drawn: Callable[[str], Quantised], tmp_path: Path
) -> None:
    result = drawn(name)
    write_tflite(result, tmp_path / "q.tflite")
    again = read_model(tmp_path / "q.tflite")
    assert [p.name for p in again.inputs] == ["x"] and [p.name for p in again.outputs] == ["y0"]
    integers = [node.op.name for node in again.nodes if node.op.name.startswith("int_")]
    assert len(integers) >= sum(layer.kind == "product" for layer in result.layers)
    for sample in inputs(2):
        (want,), (got,) = (evaluate(g, (sample,)).outputs for g in (result.graph, again))
        assert far(result, got, want) <= STEPS.get(name, 1) + 0.01
    first = (tmp_path / "q.tflite").read_bytes()
    write_tflite(result, tmp_path / "q.tflite")
    assert (tmp_path / "q.tflite").read_bytes() == first


@pytest.mark.parametrize("name", WRITTEN)
def test_litert_gives_nearly_the_same(
    name: str, drawn: Callable[[str], Quantised], tmp_path: Path
) -> None:
    runtime = pytest.importorskip("ai_edge_litert.interpreter")
    result = drawn(name)
    write(result, tmp_path / "q.tflite")
    interpreter = runtime.Interpreter(str(tmp_path / "q.tflite"))
    interpreter.allocate_tensors()
    for sample in inputs(2):
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], sample)
        interpreter.invoke()
        got = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
        (want,) = evaluate(result.graph, (sample,)).outputs
        assert far(result, got, want) <= STEPS.get(name, 1) + 0.01


def test_all_operators_that_do_not_fit_are_named(
    drawn: Callable[[str], Quantised], tmp_path: Path
) -> None:
    with pytest.raises(EllcError, match="cannot be written for TensorFlow Lite") as caught:
        write(drawn("groups"), tmp_path / "q.tflite")
    assert caught.value.code == "E742" and len(caught.value.problems) == 1
    d = Drawn()
    y = d.add(Softmax((1,)), d.add(Erf(), d.conv(d.x, 3)))
    with pytest.raises(EllcError) as caught:
        write(quantised(d.built(y), tmp_path), tmp_path / "q.tflite")
    assert "'erf'" in caught.value.report() and "'softmax'" in caught.value.report()
    assert not (tmp_path / "q.tflite").exists()

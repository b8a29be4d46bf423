"""ONNX files of quantised networks compute what the networks compute, here and in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from quantisable import NETWORKS, Drawn, inputs, quantised

from ellc.ir.builder import GraphBuilder
from ellc.ir.container import load
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate
from ellc.ir.op import Case, Op
from ellc.ir.ops.cast import Cast
from ellc.ir.ops.quantised import Dequantize
from ellc.ir.ops.scan import CumProd
from ellc.ir.ops.thresholds import CountReached
from ellc.ir.types import DType
from ellc.models import read_model
from ellc.quantise.onnx_file import write_onnx
from ellc.quantise.onnx_operators import IMAGES, WRITERS
from ellc.quantise.quantising import Quantised
from ellc.quantise.writing import write

STEPS = {"mean pool": 8, "float inside": 2}
"""How many steps of the last layer's integers may differ. Means under windows are floats in ONNX,
and a mean between two integers may be rounded to either."""


def last_step(result: Quantised) -> float:
    return float(result.quantisations[result.layers[-1].results[0]].one_scale)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_file_means_the_same(
    name: str, drawn: Callable[[str], Quantised], tmp_path: Path
) -> None:
    result = drawn(name)
    path = tmp_path / "q.onnx"
    write_onnx(result, path)
    again = read_model(path)
    assert [p.name for p in again.inputs] == ["x"] and [p.name for p in again.outputs] == ["y0"]
    for sample in inputs(2):
        (want,), (got,) = (evaluate(g, (sample,)).outputs for g in (result.graph, again))
        far = np.abs(want - got).max()
        assert far <= STEPS.get(name, 0) * last_step(result) * 1.001


@pytest.mark.parametrize("name", NETWORKS)
def test_onnx_runtime_gives_the_same(
    name: str, drawn: Callable[[str], Quantised], tmp_path: Path
) -> None:
    runtime = pytest.importorskip("onnxruntime")
    result = drawn(name)
    write(result, tmp_path / "q.onnx")
    session = runtime.InferenceSession(tmp_path / "q.onnx")
    for sample in inputs(2):
        (want,), (got,) = (
            evaluate(result.graph, (sample,)).outputs,
            session.run(None, {"x": sample}),
        )
        far = np.abs(want - got).max()
        assert far <= max(STEPS.get(name, 0) * last_step(result), 1e-6) * 1.001


def float_graph(case: Case) -> Graph | None:
    """A network of one operator; None if it computes with integers that are not constant."""
    builder = GraphBuilder("one")
    operands = []
    for index, (array, type_) in enumerate(zip(case.inputs, case.types(), strict=True)):
        if index in case.constants:
            operands.append(builder.constant(array))
        elif type_.dtype in (DType.F32, DType.BOOL) or isinstance(case.op, Dequantize):
            operands.append(builder.input(f"x{index}", type_))
        else:
            return None
    for number, value in enumerate(builder.add_multi(case.op, *operands)):
        of_bools = value.type.dtype is DType.BOOL
        builder.output(f"y{number}", builder.add(Cast(DType.I32), value) if of_bools else value)
    return builder.build()


@pytest.mark.parametrize("op", [*IMAGES, *WRITERS], ids=lambda op: op.name)
def test_every_operator_that_can_be_written(op: type[Op], tmp_path: Path) -> None:
    """The importer reads each operator as the same function; so do NaN and infinities."""
    rng, seen = np.random.default_rng(5), 0
    for case in op.samples(rng):
        graph = float_graph(case)
        if graph is None or any(t.elements > 20_000 for t in case.types()):
            continue
        plain = Quantised(graph, graph, graph, (), {}, {}, {}, {}, {})
        try:
            write_onnx(plain, tmp_path / "one.onnx")
        except EllcError as error:
            assert error.code == "E742", case.label
            continue
        given = tuple(a for i, a in enumerate(case.inputs) if i not in case.constants)
        again = read_model(tmp_path / "one.onnx")
        wanted, got = (evaluate(g, given).outputs for g in (graph, again))
        for want, result in zip(wanted, got, strict=True):
            np.testing.assert_allclose(result, want, rtol=1e-4, atol=1e-5, err_msg=case.label)
        seen += 1
    assert seen, "no sample was written"


def test_all_operators_without_a_counterpart_are_named(tmp_path: Path) -> None:
    d = Drawn(shape=(1, 4, 4, 6))
    y = d.add(CumProd(3, False, False), d.conv(d.x, 5))
    y = d.add(CountReached(), y, d.constant(2, 1, 1, 1, 1))
    d.builder.output("state", d.builder.state("kept", np.zeros(3, np.float32)))
    d.builder.set_state("kept", d.builder.constant(np.ones(3, np.float32)))
    result = quantised(d.built(y), tmp_path)
    with pytest.raises(EllcError, match="cannot be written as ONNX") as caught:
        write(result, tmp_path / "q.onnx")
    for problem in ("states", "'cum_prod'", "'count_reached'"):
        assert problem in caught.value.report()
    assert not (tmp_path / "q.onnx").exists()
    write(result, tmp_path / "q.eir")
    assert load(tmp_path / "q.eir").states

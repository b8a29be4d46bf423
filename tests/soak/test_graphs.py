"""The check of random networks accepts only rounding differences; findings are minimised."""

from __future__ import annotations

import io
from pathlib import Path

import graphs
import numpy as np
import onnx
import pytest
from graphs import Graphs, Network, Result, judged, network
from minimised_onnx import Case
from onnx_models import model, node

from ellc.ir.interp import evaluate
from ellc.ir.types import Array


def case_of(nodes: list[onnx.NodeProto], x: Array, constants: dict[str, Array]) -> Case:
    return Case.of(model(nodes, {"x": x}, ["y"], constants), {"x": x}, "y")


def test_a_step_is_forgiven_only_where_rounding_decides_it() -> None:
    nodes = [
        node("MatMul", ["x", "w"], ["s"]),
        node("QuantizeLinear", ["s", "scale", "zero"], ["q"]),
        node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    w = np.array([[0.1, 0.3], [0.2, 0.1]], np.float32)
    constants = {"w": w, "scale": np.float32(0.2), "zero": np.array(3, np.int8)}
    each = network(case_of(nodes, np.ones((1, 2), np.float32), constants))
    low, high = np.float32(0.2), np.float32(0.4)  # 0.3 is halfway between them, 0.4 is not
    for first, second, is_right in ((low, high, True), (high, high, True), (high, low, False)):
        assert (judged(each, np.array([[first, second]])) == "") is is_right
    assert judged(each, np.array([[np.float32(0.41), high]]))


def test_a_comparison_that_rounding_decides_stays_open_as_a_number() -> None:
    nodes = [
        node("MatMul", ["x", "w"], ["s"]),
        node("GreaterOrEqual", ["s", "edge"], ["b"]),
        node("Cast", ["b"], ["y"], to=onnx.TensorProto.FLOAT),
    ]
    constants = {"w": np.array([[0.1, 0.4], [0.2, 0.1]], np.float32), "edge": np.float32([0.3])}
    each = network(case_of(nodes, np.ones((1, 2), np.float32), constants))
    for first in (0.0, 1.0):  # 0.1 + 0.2 is 0.3 up to rounding
        assert not judged(each, np.array([[first, 1.0]], np.float32))
    assert judged(each, np.array([[1.0, 0.0]], np.float32))


@pytest.mark.slow
def test_wrong_way_is_found_and_its_model_minimised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong_softplus(networks: list[Network], folder: Path) -> list[Result]:
        made: list[Result] = []
        for each in networks:
            result = evaluate(each.graph, each.inputs).outputs[0]
            has_it = any(n.op_type == "Softplus" for n in each.case.nodes)
            made.append(result + np.float32(0.5) if has_it else result)
        return made

    monkeypatch.setattr(graphs, "QUICK_WAYS", ("reader", "wrong"))
    monkeypatch.setitem(graphs.WAYS, "wrong", wrong_softplus)
    found = Graphs(quick=True).run(1, 20, tmp_path)
    (finding,) = found.found.values()
    assert finding.place == "wrong: Softplus" and found.outcomes["equal"] > 10
    least = onnx.load_from_string(finding.files["graph.onnx"])
    assert [n.op_type for n in least.graph.node] == ["Softplus"]
    with np.load(io.BytesIO(finding.files["graph.npz"])) as inputs:
        assert [x.size for x in inputs.values()] == [1]

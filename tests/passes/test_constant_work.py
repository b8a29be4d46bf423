"""Values that depend only on constants are folded if that takes seconds at most."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx_models import model, node, read

from ellc.ir.pipeline import run_pipeline
from ellc.ir.types import Array


def ones(*shape: int) -> Array:
    return np.ones(shape, np.float32)


WORK: dict[str, tuple[list[onnx.NodeProto], dict[str, Array]]] = {
    "a product": ([node("MatMul", ["a", "a"], ["b"])], {"a": ones(700, 700)}),
    "products": (
        [node("MatMul", ["a", "a"], ["a1"])]
        + [node("MatMul", [f"a{i}"] * 2, [f"a{i + 1}"]) for i in range(1, 32)]
        + [node("Identity", ["a32"], ["b"])],
        {"a": 0 * ones(400, 400)},
    ),
    "a convolution": (
        [node("Conv", ["a", "w"], ["b"], pads=[2, 2, 2, 2])],
        {"a": ones(1, 16, 300, 300), "w": ones(16, 16, 5, 5)},
    ),
    "a recurrence": (
        [node("GRU", ["a", "w", "r"], ["", "b"], hidden_size=160)],
        {"a": ones(4000, 1, 2), "w": ones(1, 480, 2), "r": ones(1, 480, 160)},
    ),
    "a maximum": (
        [node("MaxPool", ["a"], ["b"], kernel_shape=[40, 40])],
        {"a": ones(1, 1, 600, 600)},
    ),
    "padding": (
        [
            node(
                "MaxPool",
                ["a"],
                ["b"],
                kernel_shape=[1, 1],
                strides=[40000, 40000],
                pads=[50000] * 4,
            )
        ],
        {"a": ones(1, 1, 2, 2)},
    ),
}


@pytest.mark.parametrize("what", WORK)
def test_constants_may_not_ask_for_hours(what: str) -> None:
    """Values that take longer are computed on the device."""
    nodes, constants = WORK[what]
    nodes = [*nodes, node("Add", ["x", "b"], ["y"])]
    graph, _ = run_pipeline(read(model(nodes, {"x": ones(1, 1)}, ["y"], constants)))
    assert sum(n.op.inner_steps(*graph.node_types(n)) for n in graph.nodes) > 0

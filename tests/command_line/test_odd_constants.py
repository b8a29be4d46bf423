"""Weights that are NaN or too large cause no numpy warnings (warnings are errors in tests)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx_models import model, node

from ellc import cli
from ellc.codegen.blocks.calls import Options
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.planning.planner import make_plan
from ellc.ir.pipeline import run_pipeline
from ellc.models import read_model

ODD = {
    TensorProto.FLOAT: (np.dtype(np.uint32), (0x7FA00000, 0x7F800000, 0xFF800000, 0x7F7FFFFF)),
    TensorProto.DOUBLE: (
        np.dtype(np.uint64),
        (0x7FF4000000000000, 0x7FF0000000000000, 0xFFF0000000000000, 0x7FEFFFFFFFFFFFFF),
    ),
    TensorProto.FLOAT16: (np.dtype(np.uint16), (0x7D00, 0x7C00, 0xFC00, 0x7BFF)),
    TensorProto.BFLOAT16: (np.dtype(np.uint16), (0x7FA0, 0x7F80, 0xFF80, 0x7F7F)),
}
"""The bits of a signalling NaN, of the infinities, and of the largest number."""


def odd_network(kind: int) -> bytes:
    """A network whose weights are folded together, folded into a convolution, and packed."""
    bits, odd = ODD[kind]

    def constant(name: str, *shape: int) -> TensorProto:
        content = np.resize(np.array(odd, bits), shape).tobytes()
        return helper.make_tensor(name, kind, shape, content, raw=True)

    weights = [constant("w", 4, 4, 3, 3), constant("v", 4, 4, 1, 1), constant("d", 4, 1, 5, 5)]
    weights += [constant("m", 64, 8)] + [constant(n, 4, 1, 1) for n in "abc"]
    nodes = [
        *(node("Cast", [t.name], [f"{t.name}_"], to=TensorProto.FLOAT) for t in weights),
        node("Sub", ["a_", "a_"], ["none"]),
        node("Exp", ["b_"], ["large"]),
        node("Mul", ["large", "b_"], ["larger"]),
        node("Conv", ["x", "w_"], ["x1"], pads=[1, 1, 1, 1]),
        node("Mul", ["x1", "a_"], ["x2"]),
        node("Add", ["x2", "none"], ["x3"]),
        node("PRelu", ["x3", "larger"], ["x4"]),
        node("Conv", ["x4", "d_"], ["x5"], group=4, pads=[2, 2, 2, 2]),
        node("Div", ["x5", "b_"], ["x6"]),
        node("Conv", ["x6", "v_"], ["x7"]),
        node("Sub", ["x7", "c_"], ["x8"]),
        node("Reshape", ["x8", "flat"], ["x9"]),
        node("MatMul", ["x9", "m_"], ["y"]),
    ]
    x = {"x": np.ones((1, 4, 4, 4), np.float32)}
    proto = model(nodes, x, ["y"], {"flat": np.array([1, 64])})
    proto.graph.initializer.extend(weights)
    return proto.SerializeToString()


@pytest.mark.parametrize("kind", ODD)
def test_numpy_says_nothing(kind: int, tmp_path: Path) -> None:
    path = tmp_path / "odd.onnx"
    path.write_bytes(odd_network(kind))
    for target in ("pi3", "imxrt1050"):
        words = ["compile", str(path), "--target", target, "--emit", "c", "-o", str(tmp_path / "o")]
        assert cli.run(words) == 0
    plan = make_plan(run_pipeline(read_model(path))[0], resolve("pi3"), Options(), "m")
    for weight, _ in plan.weights:
        assert weight.array().nbytes == weight.bytes

"""Convert a trained network to an ONNX file like one that PyTorch exports.

    python examples/digits/to_onnx.py [OUTPUT.onnx]

Needs the package onnx (`pip install 'ellc-compiler[onnx]'`). Channels are the first axis of a
picture, and there is no metadata. The file shows how ellc handles models of other tools. The
network's input is pixels divided by 255.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from ellc.frontends.ell.read import read_ell
from ellc.ir.graph import Graph, Node
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.dense import Dense
from ellc.ir.ops.pointwise import Relu
from ellc.ir.ops.pool import MaxPool2D
from ellc.ir.ops.reduce import Softmax
from ellc.ir.ops.shape import Reshape
from ellc.ir.pipeline import PipelineOptions, default_passes, run_pipeline

FOLDER = Path(__file__).resolve().parent
OPSET, IR_VERSION = 17, 8


def onnx_model(graph: Graph) -> onnx.ModelProto:
    """The graph as an ONNX model, with batch norms folded into the weights."""
    passes = default_passes(PipelineOptions(skip=("fuse_epilogue", "fold_padding")))
    folded, _ = run_pipeline(graph, passes)
    arrays, (source,), (result,) = folded.constant_arrays(), folded.inputs, folded.outputs
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []
    for node in folded.nodes:
        kind, attributes, constants = _onnx_node(folded, node, [arrays[v] for v in node.inputs[1:]])
        names = [f"{node.output}.{i}" for i in range(len(constants))]
        weights += map(numpy_helper.from_array, constants, names)
        nodes.append(
            helper.make_node(
                kind, [node.inputs[0], *names], [node.output], node.output, **attributes
            )
        )
    rows, columns, channels = folded.types[source.value].shape[1:]
    classes = folded.types[result.value].shape[-1]
    ends = [
        _port(source.value, ["batch", channels, rows, columns]),
        _port(result.value, ["batch", classes]),
    ]
    onnx_graph = helper.make_graph(nodes, graph.name, ends[:1], ends[1:], weights)
    _rename(onnx_graph, {source.value: source.name, result.value: result.name})
    opset = [helper.make_opsetid("", OPSET)]
    return helper.make_model(onnx_graph, opset_imports=opset, ir_version=IR_VERSION)


Array = npt.NDArray[np.float32]


def _onnx_node(
    graph: Graph, node: Node, constants: list[Array]
) -> tuple[str, dict[str, Any], list[Array]]:
    """The ONNX operator for a node, its attributes, and its constants with channels before rows."""
    match node.op:
        case Conv2D(stride=stride, padding=padding):
            first, *bias = constants
            attributes: dict[str, Any] = {"strides": stride, "pads": padding.amounts}
            return "Conv", attributes, [first.transpose(0, 3, 1, 2).copy(), *bias]
        case Relu():
            return "Relu", {}, []
        case MaxPool2D(window=window, stride=stride):
            return "MaxPool", {"kernel_shape": window, "strides": stride}, []
        case Reshape():
            return "Flatten", {}, []
        case Dense():
            first, *bias = constants
            image = graph.types[_image_before(graph, node)].shape[1:]
            planes = first.reshape(-1, *image).transpose(0, 3, 1, 2).reshape(first.shape)
            return "Gemm", {"transB": 1}, [planes, *bias]
        case Softmax():
            return "Softmax", {"axis": 1}, []
    raise TypeError(f"no ONNX operator for {node.op.name}")


def _image_before(graph: Graph, dense: Node) -> str:
    """The name of the picture that a reshape flattens for a dense layer."""
    (flatten,) = (n for n in graph.nodes if n.output == dense.inputs[0])
    return flatten.inputs[0]


def _port(name: str, shape: list[str | int | None]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _rename(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    for port in (*graph.input, *graph.output):
        port.name = names.get(port.name, port.name)
    for node in graph.node:
        for values in (node.input, node.output):
            values[:] = [names.get(v, v) for v in values]


if __name__ == "__main__":
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "digits.onnx")
    model = onnx_model(read_ell(FOLDER / "digits_float.ell"))
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))
    print(f"{path}: {path.stat().st_size:,} bytes")

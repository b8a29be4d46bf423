"""Small ONNX and TFLite files with the parts that published files have."""

from __future__ import annotations

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper, numpy_helper

from ellc.ir.types import Array


def small_onnx() -> bytes:
    """Convolution, unfolded batch norm, pooling, a computed shape, dense layer, softmax."""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.normal(size=(4, 2, 3, 3)),
        **{name: rng.uniform(0.5, 1.5, 4) for name in ("scale", "shift", "mean", "var")},
        "dense": rng.normal(size=(36, 3)),
        "bias": rng.normal(size=3),
    }
    numbers = {"zero": [0], "rest": [-1]}
    tensors = [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()]
    tensors += [numpy_helper.from_array(np.array(v, np.int64), k) for k, v in numbers.items()]
    norm = ["scale", "shift", "mean", "var"]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv", pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("BatchNormalization", ["c", *norm], ["n"], "norm"),
        helper.make_node("Relu", ["n"], ["r"], "relu"),
        helper.make_node("MaxPool", ["r"], ["p"], "pool", kernel_shape=[2, 2]),
        helper.make_node("Shape", ["p"], ["shape"], "shape"),
        helper.make_node("Gather", ["shape", "zero"], ["batch"], "batch"),
        helper.make_node("Concat", ["batch", "rest"], ["wanted"], "wanted", axis=0),
        helper.make_node("Reshape", ["p", "wanted"], ["flat"], "flatten"),
        helper.make_node("Gemm", ["flat", "dense", "bias"], ["d"], "dense"),
        helper.make_node("Softmax", ["d"], ["y"], "softmax", axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    data: bytes = model.SerializeToString()
    return data


def small_tflite() -> bytes:
    """Convolution, pooling, reshape, dense layer and softmax in 8 bits."""
    rng = np.random.default_rng(0)
    builder = _TFLite()
    x = builder.tensor("x", (1, 8, 8, 2), scale=(0.1,))
    w = builder.tensor("w", (4, 3, 3, 2), rng.integers(-127, 128, 72), (0.01, 0.02, 0.03, 0.04))
    b = builder.tensor("b", (4,), rng.integers(-500, 500, 4), (0.001, 0.002, 0.003, 0.004), "i4")
    c = builder.tensor("c", (1, 4, 4, 4), scale=(0.2,))
    p = builder.tensor("p", (1, 2, 2, 4), scale=(0.2,))
    to = builder.tensor("to", (2,), np.array([1, -1]), dtype="i4")
    flat = builder.tensor("flat", (1, 16), scale=(0.2,))
    dense = builder.tensor("dense", (3, 16), rng.integers(-127, 128, 48), (0.01,))
    d = builder.tensor("d", (1, 3), scale=(0.3,))
    y = builder.tensor("y", (1, 3), scale=(1 / 256,), zero=-128)
    conv = schema.Conv2DOptionsT()
    conv.strideH = conv.strideW = 2
    conv.dilationHFactor = conv.dilationWFactor = 1
    conv.fusedActivationFunction = schema.ActivationFunctionType.RELU
    builder.node("CONV_2D", [x, w, b], c, conv)
    pool = schema.Pool2DOptionsT()
    pool.strideH = pool.strideW = pool.filterHeight = pool.filterWidth = 2
    builder.node("MAX_POOL_2D", [c], p, pool)
    builder.node("RESHAPE", [p, to], flat, schema.ReshapeOptionsT())
    builder.node("FULLY_CONNECTED", [flat, dense, -1], d, schema.FullyConnectedOptionsT())
    softmax = schema.SoftmaxOptionsT()
    softmax.beta = 1.0
    builder.node("SOFTMAX", [d], y, softmax)
    return builder.finish(x, y)


class _TFLite:
    """Collects the tensors and operators of a subgraph."""

    def __init__(self) -> None:
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.description = "small"
        self.model.buffers, self.model.operatorCodes = [schema.BufferT()], []
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.model.subgraphs = [self.graph]

    def tensor(
        self,
        name: str,
        shape: tuple[int, ...],
        values: Array | None = None,
        scale: tuple[float, ...] = (),
        dtype: str = "i1",
        zero: int = 0,
    ) -> int:
        """Add a tensor, which is a constant if it has values; returns its index."""
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = name, list(shape), 0
        tensor.type = {"i1": schema.TensorType.INT8, "i4": schema.TensorType.INT32}[dtype]
        if scale:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = list(scale)
            tensor.quantization.zeroPoint = [zero] * len(scale)
        if values is not None:
            buffer = schema.BufferT()
            buffer.data = list(values.astype(f"<{dtype}").tobytes())
            tensor.buffer = len(self.model.buffers)
            self.model.buffers.append(buffer)
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def node(self, kind: str, inputs: list[int], output: int, options: object) -> None:
        """Add an operator."""
        code = schema.OperatorCodeT()
        number = getattr(schema.BuiltinOperator, kind)
        code.builtinCode = code.deprecatedBuiltinCode = number
        code.version = 1
        node = schema.OperatorT()
        node.opcodeIndex = len(self.model.operatorCodes)
        node.inputs, node.outputs = inputs, [output]
        node.builtinOptions = options
        kind_of_options = type(options).__name__.removesuffix("T")
        node.builtinOptionsType = getattr(schema.BuiltinOptions, kind_of_options)
        self.model.operatorCodes.append(code)
        self.graph.operators.append(node)

    def finish(self, x: int, y: int) -> bytes:
        """The bytes of the file."""
        self.graph.inputs, self.graph.outputs = [x], [y]
        builder = flatbuffers.Builder(4096)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

"""Converts a trained network to a graph, which can be written as an `.ell` file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy_layers import (
    Array,
    BatchNorm,
    BinaryConvolution,
    Convolution,
    Dense,
    Layer,
    MaxPool,
    Relu,
)

from ellc.ir.builder import GraphBuilder, Ref
from ellc.ir.graph import Graph
from ellc.ir.ops import binary, conv, dense, norm, pointwise, pool, reduce, shape
from ellc.ir.types import DType, Padding, TensorType


def network_graph(
    name: str, layers: Sequence[Layer], input_shape: tuple[int, ...], metadata: Mapping[str, str]
) -> Graph:
    """The network as a graph of batch 1, with float32 weights and a softmax as the last node."""
    builder = GraphBuilder(name)
    value = builder.input("image", TensorType(DType.F32, (1, *input_shape)))
    for layer in layers:
        value = _add(builder, layer, value)
    builder.output("probabilities", builder.add(reduce.Softmax((1,)), value))
    builder.metadata(metadata)
    return builder.build()


def _add(builder: GraphBuilder, layer: Layer, value: Ref) -> Ref:
    def constant(array: Array) -> Ref:
        return builder.constant(array.astype(np.float32))

    match layer:
        case BinaryConvolution():
            padding = Padding.same(layer.size // 2)
            bits = builder.constant(layer.weights.value > 0, DType.BIT)
            value = builder.add(binary.Binarize(), value)
            return builder.add(binary.BinaryConv2D(padding=padding), value, bits)
        case Convolution():
            padding = Padding.same(layer.size // 2)
            weights = constant(layer.weights.value)
            return builder.add(conv.Conv2D(padding=padding), value, weights)
        case BatchNorm():
            vectors = (layer.gamma.value, layer.beta.value, layer.mean, layer.variance)
            return builder.add(norm.BatchNorm(layer.EPSILON), value, *map(constant, vectors))
        case Relu():
            return builder.add(pointwise.Relu(), value)
        case MaxPool():
            return builder.add(pool.MaxPool2D((2, 2), (2, 2)), value)
        case Dense():
            flat = builder.add(shape.Reshape((1, value.type.elements)), value)
            operands = constant(layer.weights.value), constant(layer.bias.value)
            return builder.add(dense.Dense(), flat, *operands)
        case _:
            raise TypeError(f"no operator for {type(layer).__name__}")

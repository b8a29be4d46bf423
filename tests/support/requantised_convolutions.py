"""Convolutions of bytes with a requantisation, as a quantised network has them."""

from __future__ import annotations

import numpy as np
from small_networks import ready

from ellc.ir.builder import GraphBuilder
from ellc.ir.graph import Graph
from ellc.ir.ops.quantised import Requantize
from ellc.ir.ops.quantised_conv import IntConv2D
from ellc.ir.types import Array, DType, TensorType

LAYER = "layer"
ZERO_POINT = -5


def convolution(
    conv: IntConv2D,
    image: tuple[int, ...],
    filters: tuple[int, int, int],
    low: int,
    seed: int,
    shifts: tuple[int, int] = (6, 10),
) -> Graph:
    """A convolution with a bias: `filters` are the number of filters and the window.

    The image has signed bytes if its zero point is negative, otherwise unsigned ones. Results are
    at least `low`; their zero point is `ZERO_POINT`. Right shifts are in the range `shifts`.
    """
    rng = np.random.default_rng(seed)
    kind = DType.I8 if conv.input_zero < 0 else DType.U8
    b = GraphBuilder("net")
    x = b.input("x", TensorType(kind, image))
    count, depth = filters[0], image[3] // conv.groups
    weights = rng.integers(-127, 128, (*filters, depth)).astype(np.int8)
    bias = rng.integers(-3000, 3000, count).astype(np.int32)
    sums = b.add(conv, x, b.constant(weights), b.constant(bias), source=LAYER)
    mantissas = rng.integers(1 << 30, (1 << 31) - 1, count).astype(np.int32)
    right = -rng.integers(*shifts, count).astype(np.int32)
    scale = Requantize("tflite", ZERO_POINT, low, 127, DType.I8)
    b.output("y", b.add(scale, sums, b.constant(mantissas), b.constant(right)))
    return ready(b.build())


def image_of(graph: Graph, seed: int) -> Array:
    """A random image, with the extremes of its type."""
    (type_,) = graph.input_types()
    info = np.iinfo(type_.dtype.numpy)
    rng = np.random.default_rng(seed)
    return rng.integers(info.min, info.max, type_.shape, info.dtype, endpoint=True)

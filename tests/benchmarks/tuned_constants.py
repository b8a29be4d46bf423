"""The tuned constants of kernels, with values to try and affected layers, for `constants.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from layer_list import Layer

from ellc.ir.builder import GraphBuilder
from ellc.ir.fixed_point import softmax_scaling
from ellc.ir.graph import Graph
from ellc.ir.op import Op
from ellc.ir.ops.activations import Relu, Sigmoid, Tanh
from ellc.ir.ops.binary import Binarize, BinaryConv2D
from ellc.ir.ops.dense import MatMul
from ellc.ir.ops.fixed_point_functions import Interpolate
from ellc.ir.ops.functions import Erf, Log, Sin
from ellc.ir.ops.norm import LRN
from ellc.ir.ops.padding import Pad
from ellc.ir.ops.pointwise import Add, Cast, Mul
from ellc.ir.ops.pool import MaxPool2D
from ellc.ir.ops.quantised import Lookup
from ellc.ir.ops.quantised_conv import IntMatMul
from ellc.ir.ops.quantised_softmax import QuantSoftmax
from ellc.ir.ops.reduce import Reduce, Softmax
from ellc.ir.ops.resize import Resize
from ellc.ir.ops.shape import Transpose
from ellc.ir.types import DType, Padding, TensorType


@dataclass(frozen=True)
class Other:
    """A network other than a single convolution. `build` adds its nodes to a builder."""

    name: str
    build: Callable[[GraphBuilder], str]

    def graph(self) -> Graph:
        """The network."""
        b = GraphBuilder("layer")
        b.output("y", self.build(b))
        return b.build()


def floats(b: GraphBuilder, name: str, *shape: int) -> str:
    """A float32 input."""
    return b.input(name, TensorType(DType.F32, shape))


def pool(window: int, channels: int, pixels: int) -> Other:
    """A max pool with stride 1."""

    def build(b: GraphBuilder) -> str:
        x = floats(b, "x", 1, pixels, pixels, channels)
        return b.add(MaxPool2D((window, window), (1, 1)), x)

    return Other(f"max pool {window}x{window}, {channels}, {pixels}x{pixels}", build)


def product(rows: int, depth: int, columns: int) -> Other:
    """A product of two computed matrices, the second one transposed."""

    def build(b: GraphBuilder) -> str:
        x, y = floats(b, "x", rows, depth), floats(b, "z", columns, depth)
        return b.add(MatMul(transpose_b=True), x, y)

    return Other(f"matmul {rows}x{depth}x{columns}", build)


def byte_product(rows: int, depth: int, columns: int) -> Other:
    """A product of two computed matrices of bytes."""

    def build(b: GraphBuilder) -> str:
        x, y = (
            b.input(n, TensorType(DType.I8, shape))
            for n, shape in (("x", (rows, depth)), ("z", (depth, columns)))
        )
        return b.add(IntMatMul(), x, y)

    return Other(f"8-bit matmul {rows}x{depth}x{columns}", build)


def pointwise(op: Op, pixels: int, channels: int) -> Other:
    """A pointwise operator."""

    def build(b: GraphBuilder) -> str:
        return b.add(op, floats(b, "x", 1, pixels, pixels, channels))

    return Other(f"{op.name}, {channels}, {pixels}x{pixels}", build)


def added(dtype: DType, pixels: int, channels: int) -> Other:
    """A sum of two images."""

    def build(b: GraphBuilder) -> str:
        type_ = TensorType(dtype, (1, pixels, pixels, channels))
        return b.add(Add(), b.input("x", type_), b.input("z", type_))

    return Other(f"add {dtype.value}, {channels}, {pixels}x{pixels}", build)


def reduced(rows: int, columns: int, axis: int) -> Other:
    """Sums of rows or of columns."""

    def build(b: GraphBuilder) -> str:
        return b.add(Reduce("sum", (axis,)), floats(b, "x", rows, columns))

    return Other(f"sum {rows}x{columns} axis {axis}", build)


def scaled(pixels: int, channels: int) -> Other:
    """A product with a factor per channel."""

    def build(b: GraphBuilder) -> str:
        factors = np.linspace(1, 2, channels, dtype=np.float32)
        return b.add(Mul(), floats(b, "x", 1, pixels, pixels, channels), b.constant(factors))

    return Other(f"factor per channel, {channels}, {pixels}x{pixels}", build)


def normalised(pixels: int) -> Other:
    """Pixels of three bytes as floats, with a factor and an offset for each colour."""

    def build(b: GraphBuilder) -> str:
        x = b.add(Cast(DType.F32), b.input("x", TensorType(DType.U8, (1, pixels, pixels, 3))))
        factors, offsets = (b.constant(np.full(3, n, np.float32)) for n in (0.02, -2.0))
        return b.add(Add(), b.add(Mul(), x, factors), offsets)

    return Other(f"pixels, {pixels}x{pixels}", build)


def looked_up(pixels: int, channels: int, dtype: DType) -> Other:
    """A table of bytes with results of the given type."""

    def build(b: GraphBuilder) -> str:
        x = b.input("x", TensorType(DType.I8, (1, pixels, pixels, channels)))
        table = np.arange(-128, 128).astype(dtype.numpy)
        return b.add(Lookup(dtype), x, b.constant(table))

    return Other(f"lookup to {dtype.value}, {channels}, {pixels}x{pixels}", build)


def interpolated(elements: int) -> Other:
    """A piecewise linear function of 16-bit numbers."""

    def build(b: GraphBuilder) -> str:
        x = b.input("x", TensorType(DType.I32, (1, elements)))
        tables = (b.constant(np.arange(64, dtype=np.int32)) for _ in range(2))
        return b.add(Interpolate(7), x, *tables)

    return Other(f"linear in pieces, {elements}", build)


def softmax(rows: int, classes: int, axis: int = 1) -> Other:
    """Softmax of floats."""

    def build(b: GraphBuilder) -> str:
        return b.add(Softmax((axis,)), floats(b, "x", rows, classes))

    return Other(f"softmax {rows}x{classes} axis {axis}", build)


def byte_softmax(rows: int, classes: int) -> Other:
    """Softmax of bytes."""

    def build(b: GraphBuilder) -> str:
        x = b.input("x", TensorType(DType.I8, (rows, classes)))
        return b.add(QuantSoftmax(*softmax_scaling(1.0, 0.1), DType.I8), x)

    return Other(f"8-bit softmax {rows}x{classes}", build)


def resized(pixels: int, channels: int, size: int, mode: str = "linear") -> Other:
    """A resized image."""

    def build(b: GraphBuilder) -> str:
        x = floats(b, "x", 1, pixels, pixels, channels)
        return b.add(Resize((1, size, size, channels), mode, antialias=size < pixels), x)

    return Other(f"resize {mode} {channels}, {pixels} -> {size}", build)


def turned(rows: int, columns: int, dtype: DType) -> Other:
    """A transposed matrix."""

    def build(b: GraphBuilder) -> str:
        x = b.input("x", TensorType(dtype, (rows, columns)))
        return b.add(Transpose((1, 0)), x)

    return Other(f"transpose {dtype.value} {rows}x{columns}", build)


def spread(pixels: int, channels: int) -> Other:
    """A copy into a larger image: a border of one pixel."""

    def build(b: GraphBuilder) -> str:
        border = (0, 1, 1, 0)
        return b.add(Pad(border, border), floats(b, "x", 1, pixels, pixels, channels))

    return Other(f"border of {channels}, {pixels}x{pixels}", build)


def signs(channels: int, pixels: int) -> Other:
    """A binary convolution after the operator that makes its signs, which are aligned to words."""

    def build(b: GraphBuilder) -> str:
        weights = np.random.default_rng(0).standard_normal((channels, 3, 3, channels)) > 0
        bits = b.add(Binarize(), floats(b, "x", 1, pixels, pixels, channels))
        return b.add(BinaryConv2D(padding=Padding.same(1)), bits, b.constant(weights, DType.BIT))

    return Other(f"signs of {channels}, {pixels}x{pixels}", build)


DEPTHWISE = Layer(3, 96, 96, 56, 96, label="depthwise 3x3, 96, 56x56")
SMALL_DEPTHWISE = Layer(3, 256, 256, 14, 256, label="depthwise 3x3, 256, 14x14")
BYTES = Layer(1, 64, 64, 28, kind="8-bit")
WINDOWS = Layer(3, 64, 64, 28, kind="8-bit")
SHORT_SUMS = tuple(Layer(1, depth, 64, 28, kind="8-bit") for depth in (16, 32, 48))
SQUARE_PRODUCTS = tuple(product(rows, 64, 64) for rows in (6, 24))
SMALL_POOLS = tuple(pool(window, 32, 28) for window in (2, 3, 5))
BYTE_LARGE_WINDOWS = Layer(5, 64, 64, 28, 64, kind="8-bit", label="8-bit depthwise 5x5, 64, 28x28")
BYTE_DEPTHWISE = Layer(3, 64, 64, 28, 64, kind="8-bit", label="8-bit depthwise 3x3, 64, 28x28")
LARGE_WINDOWS = tuple(
    Layer(w, 32, 32, 28, 32, label=f"depthwise {w}x{w}, 32, 28x28") for w in (5, 7, 9)
)
WINDOWS_OF_CHANNELS = (DEPTHWISE, SMALL_DEPTHWISE, BYTE_DEPTHWISE, *LARGE_WINDOWS)


@dataclass(frozen=True)
class Tuned:
    """A constant or table of constants in a module, values to try, and the affected layers."""

    module: str
    name: str
    values: tuple[int, ...]
    layers: tuple[Layer | Other, ...]


BINARY = tuple(signs(n, pixels) for n, pixels in ((128, 28), (256, 14), (64, 7)))
BYTE_PRODUCTS = tuple(byte_product(rows, 64, 64) for rows in (6, 24))
HEAVY = (  # weights larger than the first-level cache; some also exceed the second level
    Layer(1, 256, 256, 28),
    Layer(3, 64, 64, 28),
    Layer(3, 128, 128, 28),
    Layer(3, 192, 192, 14),
)
LIGHT = (
    Layer(1, 64, 64, 28),
    Layer(1, 48, 48, 28),
    Layer(1, 32, 64, 56),
    Layer(1, 16, 96, 56),
    Layer(3, 16, 16, 28),
    Layer(3, 16, 16, 56),
    Layer(1, 16, 16, 14),
    Layer(1, 32, 32, 7),
    Layer(3, 8, 8, 14),
    BYTES,
    Layer(1, 16, 16, 14, kind="8-bit"),
    Layer(3, 32, 32, 28, kind="8-bit"),
    *BINARY[2:],
)
PIXELS = tuple(Layer(1, depth, 256, 1) for depth in (64, 128))
COPIES = (turned(256, 196, DType.I8), turned(196, 250, DType.I16), turned(128, 128, DType.F32))

SMALL_SUMS = (
    pointwise(Relu(), 14, 64),
    added(DType.F32, 14, 32),
    added(DType.I32, 14, 32),
    added(DType.I8, 14, 32),
)
FUNCTIONS = tuple(pointwise(op, 14, 64) for op in (Sigmoid(), Tanh(), Erf(), Sin(), Log()))

TUNED = (
    Tuned("kernels.depthwise", "_LOADED_AT_ONCE", (1, 3, 5, 7, 9, 14), WINDOWS_OF_CHANNELS),
    Tuned("kernels.depthwise", "_LOADED_WITHOUT_OFFSETS", (1, 3, 4, 5, 7), WINDOWS_OF_CHANNELS),
    Tuned(
        "kernels.depthwise_tile",
        "_STRAIGHT",
        (100, 150, 200, 300, 700, 1500),
        (DEPTHWISE, SMALL_DEPTHWISE, *LARGE_WINDOWS, BYTE_LARGE_WINDOWS),
    ),
    Tuned("kernels.byte_dots", "_GROUP", (1, 2, 4, 8), (BYTES, WINDOWS)),
    Tuned("kernels.byte_dots", "_SHORTEST_SUM", (16, 32, 40, 64), SHORT_SUMS),
    Tuned("kernels.pool", "_REGISTERS", (6, 9, 12, 16, 24), SMALL_POOLS),
    Tuned("kernels.pool", "_FEW_REGISTERS", (4, 5, 7, 9, 10, 12), SMALL_POOLS),
    Tuned(
        "kernels.matmul", "_SHARE_OF_ROWS", (2, 3, 4, 5), tuple(product(n, 64, 64) for n in (6, 24))
    ),
    Tuned("kernels.matmul", "_SHARE_OF_BYTE_ROWS", (2, 3, 4, 5), BYTE_PRODUCTS),
    Tuned("kernels.matmul", "_MOST_ROWS", (4, 6, 8, 12), SQUARE_PRODUCTS),
    Tuned("kernels.pool", "_SMALL_WINDOW", (1, 2, 3, 4), tuple(pool(w, 32, 28) for w in (3, 7, 9))),
    Tuned("kernels.matmul", "_FEW_ROWS", (1, 3, 6), tuple(product(n, 64, 64) for n in (2, 4, 6))),
    Tuned("kernels.matmul", "_DOTS", (1, 2, 4, 8), (product(2, 64, 64), product(3, 256, 32))),
    Tuned(
        "blocks.operands",
        "_ROW_ELEMENTS",
        (1, 256, 4096, 16384),
        (scaled(28, 6), scaled(9, 64)),
    ),
    Tuned("blocks.terms", "_MOST_PRODUCTS", (1, 2, 4, 8), (BYTES, WINDOWS)),
    Tuned("kernels.interpolate", "_UNROLLED", (1, 2, 4, 8), (interpolated(4096),)),
    Tuned("kernels.lookup", "_UNROLLED", (1, 2, 4, 8, 16), (looked_up(28, 64, DType.I16),)),
    Tuned("kernels.lookup", "_VECTORS", (1, 2, 4), (looked_up(28, 64, DType.I8),)),
    Tuned("kernels.softmax", "_UNROLL", (1, 2, 4), (softmax(16, 1000), softmax(64, 64, 0))),
    Tuned("kernels.quantised_softmax", "_UNROLL", (1, 2, 4, 8), (byte_softmax(16, 1000),)),
    Tuned(
        "kernels.resample",
        "_UNROLLED_TAPS",
        (1, 2, 4, 8, 16),
        tuple(resized(56, c, s) for c in (3, 64) for s in (28, 10, 112)),
    ),
    Tuned("kernels.resample", "_VECTORS", (1, 2, 4, 8), (resized(56, 64, 112), resized(56, 3, 28))),
    Tuned(
        "blocks.movement",
        "_GATHER_LANES",
        (1, 4, 8, 16),
        (turned(256, 196, DType.I8), turned(196, 250, DType.I16)),
    ),
    Tuned("blocks.movement", "_VECTORS", (1, 2, 4, 8), (spread(14, 64), spread(7, 250))),
    Tuned("blocks.movement", "_UNROLLED", (1, 4, 8, 16, 32), COPIES),
    Tuned("kernels.softmax", "_SCALAR_UNROLL", (1, 2, 4), (softmax(16, 1000), softmax(64, 64, 0))),
    Tuned("kernels.binary_conv2d", "_VECTORS", (1, 2, 3), BINARY),
    Tuned("kernels.binary_conv2d", "_PIXELS", (1, 2, 3, 4, 5, 6), BINARY),
    Tuned("kernels.binary_conv2d", "_WORD_PIXELS", (4, 8, 10, 12, 14), BINARY),
    Tuned("kernels.binary_conv2d", "_SCALAR_FILTERS", (2, 4, 8), BINARY[2:]),
    Tuned("kernels.binary_conv2d", "_SCALAR_PIXELS", (1, 2, 3), BINARY[2:]),
    Tuned("kernels.byte_dots", "_PIXELS", (2, 3, 4, 5), (BYTES, WINDOWS)),
    Tuned("kernels.byte_dots", "_FEW_PIXELS", (1, 2, 3), (BYTES, WINDOWS)),
    Tuned("kernels.depthwise_tile", "_SUMS", (4, 8, 12, 16, 20), WINDOWS_OF_CHANNELS),
    Tuned("kernels.depthwise_tile", "_FEW_SUMS", (4, 6, 8, 10), WINDOWS_OF_CHANNELS),
    Tuned("kernels.depthwise_tile", "_MOST_ROWS", (1, 2, 4, 6), WINDOWS_OF_CHANNELS),
    Tuned("kernels.depthwise_tile", "_FEW_MOST_ROWS", (1, 2, 4), WINDOWS_OF_CHANNELS),
    Tuned("kernels.elementwise", "_VECTORS", (1, 2, 4, 8), SMALL_SUMS),
    Tuned("kernels.elementwise", "_VECTORS", (1, 2, 4), FUNCTIONS),
    Tuned("kernels.elementwise", "_FEW_VECTORS", (1, 2, 4), FUNCTIONS),
    Tuned("kernels.elementwise", "_LEAST_LOADED_BYTES", (1, 8, 16), (normalised(128),)),
    Tuned("kernels.reduce", "_UNROLL", (1, 2, 4, 8), (reduced(64, 256, 1), reduced(256, 64, 0))),
    Tuned("kernels.norm", "_VECTORS", (1, 2, 4, 8), (pointwise(LRN(5), 28, 64),)),
    Tuned("kernels.pool", "_MOST_COLUMNS", (1, 6, 12), tuple(pool(w, 32, 28) for w in (5, 7, 9))),
    Tuned("kernels.pool", "_BUSY", (1, 2, 4, 8), SMALL_POOLS),
    Tuned("blocks.schedule", "_PIXEL_VECTORS", (2, 4, 6, 8, 12), PIXELS),
    Tuned("blocks.schedule", "_FEW_PIXEL_VECTORS", (1, 2, 4, 6, 8), PIXELS),
    Tuned("blocks.schedule", "_WEIGHT_EIGHTHS", (2, 4, 6), (*LIGHT, *HEAVY[:1])),
    Tuned("blocks.schedule", "_L1_EIGHTHS", (1, 2, 3, 4, 6), LIGHT),
    Tuned("blocks.schedule", "_L2_TENTHS", (3, 5, 6, 7, 8, 9, 10), HEAVY),
)

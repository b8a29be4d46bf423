"""Try other values of tuned constants, and count modelled Cortex-A53 cycles of affected layers.

    ELLC_CYCLE_TOOL=... python tests/benchmarks/constants.py [--only NAME] [--target pi3_64]

Prints a line for each constant and layer, with the cycles for each value; the current value is in
brackets. To test another constant, add a row to `TUNED`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from unittest.mock import patch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from cycles import kernel_cycles  # noqa: E402
from layer_list import Layer, plan_of  # noqa: E402

from ellc.codegen.machine.resolve import resolve  # noqa: E402
from ellc.codegen.machine.target import Target  # noqa: E402
from ellc.ir.builder import GraphBuilder  # noqa: E402
from ellc.ir.fixed_point import softmax_scaling  # noqa: E402
from ellc.ir.graph import Graph  # noqa: E402
from ellc.ir.ops.dense import MatMul  # noqa: E402
from ellc.ir.ops.fixed_point_functions import Interpolate  # noqa: E402
from ellc.ir.ops.pointwise import Mul  # noqa: E402
from ellc.ir.ops.pool import MaxPool2D  # noqa: E402
from ellc.ir.ops.quantised import Lookup  # noqa: E402
from ellc.ir.ops.quantised_softmax import QuantSoftmax  # noqa: E402
from ellc.ir.ops.reduce import Softmax  # noqa: E402
from ellc.ir.ops.resize import Resize  # noqa: E402
from ellc.ir.ops.shape import Transpose  # noqa: E402
from ellc.ir.types import DType, TensorType  # noqa: E402


@dataclass(frozen=True)
class Other:
    """A network that is not a single convolution, with the function that builds it with `b`."""

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


def scaled(pixels: int, channels: int) -> Other:
    """A product with a factor per channel."""

    def build(b: GraphBuilder) -> str:
        factors = np.linspace(1, 2, channels, dtype=np.float32)
        return b.add(Mul(), floats(b, "x", 1, pixels, pixels, channels), b.constant(factors))

    return Other(f"factor per channel, {channels}, {pixels}x{pixels}", build)


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
    """A constant, or table of constants, of a module, values to try, and layers that it affects."""

    module: str
    name: str
    values: tuple[int, ...]
    layers: tuple[Layer | Other, ...]


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
    Tuned("kernels.pool", "_FEW_REGISTERS", (4, 5, 7, 9, 12), SMALL_POOLS),
    Tuned(
        "kernels.matmul", "_SHARE_OF_ROWS", (2, 3, 4, 5), tuple(product(n, 64, 64) for n in (6, 24))
    ),
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
)


def cycles(tuned: Tuned, layer: Layer | Other, target: Target) -> dict[int, float]:
    """The cycles of a layer's kernels for each value of the constant."""
    module = import_module(f"ellc.codegen.{tuned.module}")
    plans = []
    own = getattr(module, tuned.name)
    for value in tuned.values:
        tried = dict.fromkeys(own, value) if isinstance(own, dict) else value
        with patch.object(module, tuned.name, tried):
            plans.append((f"v{value}", plan_of(layer, target, f"v{value}")))
    counted = kernel_cycles(plans, target)
    return {
        value: sum(n for name, n in counted.items() if name.startswith(f"v{value}_"))
        for value in tuned.values
    }


def line(tuned: Tuned, layer: Layer | Other, target: Target) -> str:
    """A line of the output."""
    own = getattr(import_module(f"ellc.codegen.{tuned.module}"), tuned.name)
    found = cycles(tuned, layer, target)
    own = set(own.values()) if isinstance(own, dict) else {own}
    shown = [f"[{v}: {n:,.0f}]" if v in own else f"{v}: {n:,.0f}" for v, n in found.items()]
    return f"{tuned.module}.{tuned.name}  {layer.name}  {'  '.join(shown)}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="constants whose name contains this")
    parser.add_argument("--target", default="pi3_64")
    given = parser.parse_args()
    target = resolve(given.target)
    for tuned in TUNED:
        if given.only in tuned.name:
            for layer in tuned.layers:
                print(line(tuned, layer, target), flush=True)


if __name__ == "__main__":
    main()

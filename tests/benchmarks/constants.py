"""What tuned constants cost at other values: modelled Cortex-A53 cycles of layers they rule.

    ELLC_CYCLE_TOOL=... python tests/benchmarks/constants.py [--only NAME] [--target pi3_64]

A line for each constant and layer: cycles at each value, the code's own in brackets. A constant of
`TUNED` has the measurement beside it; another is added by a row.
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
from ellc.ir.graph import Graph  # noqa: E402
from ellc.ir.ops.dense import MatMul  # noqa: E402
from ellc.ir.ops.pointwise import Mul  # noqa: E402
from ellc.ir.ops.pool import MaxPool2D  # noqa: E402
from ellc.ir.types import DType, TensorType  # noqa: E402


@dataclass(frozen=True)
class Other:
    """A network that is no single convolution, by the function that builds it from `b`."""

    name: str
    build: Callable[[GraphBuilder], str]

    def graph(self) -> Graph:
        """The network."""
        b = GraphBuilder("layer")
        b.output("y", self.build(b))
        return b.build()


def floats(b: GraphBuilder, name: str, *shape: int) -> str:
    """An input of float32."""
    return b.input(name, TensorType(DType.F32, shape))


def pool(window: int, channels: int, pixels: int) -> Other:
    """A maximum of windows, stride 1."""

    def build(b: GraphBuilder) -> str:
        x = floats(b, "x", 1, pixels, pixels, channels)
        return b.add(MaxPool2D((window, window), (1, 1)), x)

    return Other(f"max pool {window}x{window}, {channels}, {pixels}x{pixels}", build)


def product(rows: int, depth: int, columns: int) -> Other:
    """A product of two computed matrices, the right one transposed."""

    def build(b: GraphBuilder) -> str:
        x, y = floats(b, "x", rows, depth), floats(b, "z", columns, depth)
        return b.add(MatMul(transpose_b=True), x, y)

    return Other(f"matmul {rows}x{depth}x{columns}", build)


def scaled(pixels: int, channels: int) -> Other:
    """A factor per channel."""

    def build(b: GraphBuilder) -> str:
        factors = np.linspace(1, 2, channels, dtype=np.float32)
        return b.add(Mul(), floats(b, "x", 1, pixels, pixels, channels), b.constant(factors))

    return Other(f"factor per channel, {channels}, {pixels}x{pixels}", build)


DEPTHWISE = Layer(3, 96, 96, 56, 96, label="depthwise 3x3, 96, 56x56")
SMALL_DEPTHWISE = Layer(3, 256, 256, 14, 256, label="depthwise 3x3, 256, 14x14")
BYTES = Layer(1, 64, 64, 28, kind="8-bit")
WINDOWS = Layer(3, 64, 64, 28, kind="8-bit")
BYTE_LARGE_WINDOWS = Layer(5, 64, 64, 28, 64, kind="8-bit", label="8-bit depthwise 5x5, 64, 28x28")
BYTE_DEPTHWISE = Layer(3, 64, 64, 28, 64, kind="8-bit", label="8-bit depthwise 3x3, 64, 28x28")
LARGE_WINDOWS = tuple(
    Layer(w, 32, 32, 28, 32, label=f"depthwise {w}x{w}, 32, 28x28") for w in (5, 7, 9)
)
WINDOWS_OF_CHANNELS = (DEPTHWISE, SMALL_DEPTHWISE, BYTE_DEPTHWISE, *LARGE_WINDOWS)


@dataclass(frozen=True)
class Tuned:
    """A constant of a module, values to try, and layers that it rules."""

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
)


def cycles(tuned: Tuned, layer: Layer | Other, target: Target) -> dict[int, float]:
    """Cycles of the layer's kernels by the constant's value."""
    module = import_module(f"ellc.codegen.{tuned.module}")
    plans = []
    for value in tuned.values:
        with patch.object(module, tuned.name, value):
            plans.append((f"v{value}", plan_of(layer, target, f"v{value}")))
    counted = kernel_cycles(plans, target)
    return {
        value: sum(n for name, n in counted.items() if name.startswith(f"v{value}_"))
        for value in tuned.values
    }


def line(tuned: Tuned, layer: Layer | Other, target: Target) -> str:
    """The cycles as text."""
    own = getattr(import_module(f"ellc.codegen.{tuned.module}"), tuned.name)
    found = cycles(tuned, layer, target)
    shown = [f"[{v}: {n:,.0f}]" if v == own else f"{v}: {n:,.0f}" for v, n in found.items()]
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

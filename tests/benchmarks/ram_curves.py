"""Print how little RAM 8-bit networks need on a Cortex-M7, as a table of docs/guide/memory.md.

    python tests/benchmarks/ram_curves.py [--update-docs]

The networks are MobileNet V2 0.35 for 144x144 pixels, MobileNet V2 0.30 for 80x80 pixels, and the
Visual Wake Words network of MLPerf Tiny. They are drawn, not trained: RAM and multiply-adds depend
on shapes only.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from benchmark_page import markdown_table, write_table  # noqa: E402

from ellc.codegen.blocks.calls import Options  # noqa: E402
from ellc.codegen.machine.resolve import resolve  # noqa: E402
from ellc.codegen.planning.ram_limit import RamPoint, ram_curve  # noqa: E402
from ellc.ir.builder import GraphBuilder, Ref  # noqa: E402
from ellc.ir.graph import Graph  # noqa: E402
from ellc.ir.ops.quantised import Requantize  # noqa: E402
from ellc.ir.ops.quantised_arithmetic import QuantAdd  # noqa: E402
from ellc.ir.ops.quantised_conv import IntConv2D  # noqa: E402
from ellc.ir.ops.quantised_pool import IntAvgPool2D  # noqa: E402
from ellc.ir.pipeline import run_pipeline  # noqa: E402
from ellc.ir.types import DType, Padding, Quant, TensorType  # noqa: E402
from ellc.zoo.architecture import divisible  # noqa: E402
from ellc.zoo.families.mobilenet import V2_BLOCKS  # noqa: E402

TARGET = "imxrt1050"
PAGE = ROOT / "docs" / "guide" / "memory.md"
_QUANT = Quant((0.05,), (0,))
# Pairs (stride, filters) of the depthwise and pointwise layers of MobileNet V1 with width 0.25.
_V1_BLOCKS = (
    *((1, 16), (2, 32), (1, 32), (2, 64), (1, 64), (2, 128)),
    *((1, 128),) * 5,
    *((2, 256), (1, 256)),
)


@dataclass
class ByteNet:
    """A network of signed bytes, layer after layer. `here` is the last result [1,H,W,C]."""

    size: int
    builder: GraphBuilder = field(default_factory=lambda: GraphBuilder("drawn"))
    here: Ref = field(init=False)
    shape: tuple[int, int] = field(init=False)  # pixels along a side, channels

    def __post_init__(self) -> None:
        image = TensorType(DType.I8, (1, self.size, self.size, 3), quant=_QUANT)
        self.here = self.builder.input("image", image)
        self.shape = (self.size, 3)

    def conv(self, filters: int, window: int = 1, stride: int = 1, *, groups: int = 1) -> None:
        """A convolution with TensorFlow's SAME padding, requantised to bytes."""
        pixels, channels = self.shape
        result = -(-pixels // stride)
        amount = max(0, (result - 1) * stride + window - pixels)
        before, after = amount // 2, amount - amount // 2
        op = IntConv2D((stride, stride), Padding(before, before, after, after), groups=groups)
        rng = np.random.default_rng(filters)
        stored = rng.integers(-127, 128, (filters, window, window, channels // groups))
        b = self.builder
        bias = b.constant(np.zeros(filters, np.int32))
        total = b.add(op, self.here, b.constant(stored.astype(np.int8)), bias)
        factors = np.full(filters, 1 << 30, np.int32), np.full(filters, -8, np.int32)
        rule = Requantize("tflite", 0, -128, 127, DType.I8, _QUANT)
        self.here = b.add(rule, total, *(b.constant(f) for f in factors))
        self.shape = (result, filters)

    def depthwise(self, stride: int) -> None:
        """A depthwise 3x3 convolution."""
        self.conv(self.shape[1], 3, stride, groups=self.shape[1])

    def add(self, other: Ref) -> None:
        """The sum with an earlier result."""
        op = QuantAdd.of(_QUANT, _QUANT, DType.I8, _QUANT, -128, 127, subtract=False)
        self.here = self.builder.add(op, other, self.here)

    def classify(self, classes: int) -> Graph:
        """The mean of all pixels, a number for each class, and the end of the network."""
        window = (self.shape[0],) * 2
        pool = IntAvgPool2D(window, window, Padding(), -128, 127)
        self.here = self.builder.add(pool, self.here)
        self.shape = (1, self.shape[1])
        self.conv(classes)
        self.builder.output("classes", self.here)
        return self.builder.build()


def mobilenet_v2(width: Fraction, size: int, last: int, classes: int) -> Graph:
    """MobileNet V2 for size x size pixels, with `last` channels before the mean of all pixels."""
    net = ByteNet(size)
    net.conv(divisible(32 * width), 3, 2)
    for expansion, filters, count, first in V2_BLOCKS:
        for index in range(count):
            start, (_, inputs) = net.here, net.shape
            outputs, stride = divisible(filters * width), 1 if index else first
            if expansion != 1:
                net.conv(expansion * inputs)
            net.depthwise(stride)
            net.conv(outputs)
            if stride == 1 and inputs == outputs:
                net.add(start)
    net.conv(last)
    return net.classify(classes)


def mobilenet_v2_144() -> Graph:
    """MobileNet V2 of width 0.35 for 144x144 pixels and 1000 classes."""
    return mobilenet_v2(Fraction(35, 100), 144, 1280, 1000)


def mobilenet_v2_80() -> Graph:
    """MobileNet V2 of width 0.30 for 80x80 pixels and 2 classes, whose last layer is as narrow."""
    return mobilenet_v2(Fraction(30, 100), 80, divisible(1280 * Fraction(30, 100)), 2)


def visual_wake_words() -> Graph:
    """MLPerf Tiny's network for Visual Wake Words: MobileNet V1 of width 0.25, 96x96 pixels."""
    net = ByteNet(96)
    net.conv(8, 3, 2)
    for stride, filters in _V1_BLOCKS:
        net.depthwise(stride)
        net.conv(filters)
    return net.classify(2)


@dataclass(frozen=True)
class Network:
    """A network, and points of its curve that were published, from `source`."""

    name: str
    graph: Callable[[], Graph]
    published: str
    factors: tuple[float, ...]


# Published: msf-CNN (NeurIPS 2025), whose network for wake words is another one, VWW-5fps;
# Plumerai's blog of October 2021 on inference software for Cortex-M; ST's model zoo (X-CUBE-AI 10).
NETWORKS = (
    Network(
        "MobileNet V2 0.35, 144x144",
        mobilenet_v2_144,
        "msf-CNN: 194 kB; 67.9 at 1.1x, 21.3 at 1.3x, 7.9 at 1.68x",
        (1.0, 1.1, 1.3, 1.68),
    ),
    Network(
        "MobileNet V2 0.30, 80x80",
        mobilenet_v2_80,
        "Plumerai 82 kB, TinyEngine 100, X-CUBE-AI 112, TFLM 159",
        (1.0, 1.3),
    ),
    Network(
        "visual wake words",
        visual_wake_words,
        "msf-CNN: 96 kB, 13.4 at 1.4x; X-CUBE-AI: 69 kB and 17 for its library",
        (1.0, 1.1, 1.4),
    ),
)


def smallest(points: Sequence[RamPoint], factor: float) -> RamPoint:
    """The plan of the smallest arena among those with at most `factor` times the multiply-adds."""
    least = min(p.macs for p in points)
    return min((p for p in points if p.macs <= factor * least), key=lambda p: p.arena_bytes)


def row(network: Network) -> tuple[str, ...]:
    """The line of a network in the table."""
    graph, _ = run_pipeline(network.graph())
    points = ram_curve(graph, resolve(TARGET), Options(), "drawn")
    least = min(p.macs for p in points)
    chosen = dict.fromkeys(smallest(points, factor) for factor in network.factors)
    texts = [f"{p.arena_bytes / 1e3:.1f} kB at {p.macs / least:.2f}x" for p in chosen]
    return (
        network.name,
        f"{points[0].arena_bytes / 1e3:.1f} kB",
        ", ".join(texts),
        network.published,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Print how little RAM drawn networks need.")
    parser.add_argument(
        "--update-docs", action="store_true", help=f"write the table of {PAGE.name}"
    )
    wanted = parser.parse_args()
    head = ("network", "layers", "RAM, multiply-adds", "others")
    text = markdown_table(head, [row(network) for network in NETWORKS], texts=4)
    print(text)
    if wanted.update_docs:
        write_table("RAM", text, PAGE)


if __name__ == "__main__":
    main()

"""The layers that are measured: a fixed list of single layers, or the layers of a model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from ellc.codegen.blocks.calls import Options
from ellc.codegen.languages.names import valid_name
from ellc.codegen.machine.target import Target
from ellc.codegen.planning.plan import Plan
from ellc.codegen.planning.planner import make_plan
from ellc.ir.builder import GraphBuilder
from ellc.ir.graph import Graph
from ellc.ir.ops.binary import BinaryConv2D
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.quantised import Requantize
from ellc.ir.ops.quantised_conv import IntConv2D
from ellc.ir.pipeline import run_pipeline
from ellc.ir.types import DType, Padding, TensorType
from ellc.models import read_model

Kind = Literal["float", "binary", "8-bit"]
_DTYPES = {"float": DType.F32, "binary": DType.BIT, "8-bit": DType.I8}


@dataclass(frozen=True)
class Layer:
    """A convolution: window, channels, filters, groups, and rows and columns of its input.

    Its numbers are floats, signs (`binary`), or bytes that are requantised (`8-bit`).
    """

    window: int
    channels: int
    filters: int
    pixels: int
    groups: int = 1
    kind: Kind = "float"
    label: str = ""
    stride: int = 1

    @property
    def name(self) -> str:
        """The name in tables."""
        if self.label:
            return self.label
        kind = "" if self.kind == "float" else f"{self.kind} "
        shape = f"{self.channels} -> {self.filters}"
        stride = f" stride {self.stride}" if self.stride > 1 else ""
        window = f"{kind}{self.window}x{self.window}{stride}"
        return f"{window}, {shape}, {self.pixels}x{self.pixels}"

    def graph(self) -> Graph:
        """A network of only this layer. With stride 1 and an odd window, the size stays the same.

        Only float layers may have another stride.
        """
        b = GraphBuilder("layer")
        rng = np.random.default_rng(0)
        padding = Padding.same(self.window // 2)
        shape = (self.filters, self.window, self.window, self.channels // self.groups)
        weights = rng.standard_normal(shape).astype(np.float32)
        x = b.input(
            "x", TensorType(_DTYPES[self.kind], (1, self.pixels, self.pixels, self.channels))
        )
        if self.kind == "binary":
            y = b.add(BinaryConv2D(padding=padding), x, b.constant(weights > 0, DType.BIT))
        elif self.kind == "8-bit":
            stored = np.clip(np.rint(weights * 40), -127, 127).astype(np.int8)
            op = IntConv2D(padding=padding, groups=self.groups, input_zero=-5)
            bias = b.constant(rng.integers(-999, 999, self.filters).astype(np.int32))
            total = b.add(op, x, b.constant(stored), bias)
            factors = rng.integers(1 << 30, (1 << 31) - 1, self.filters).astype(np.int32)
            shifts = rng.integers(-9, -6, self.filters).astype(np.int32)
            rule = Requantize("tflite", 3, -128, 127, DType.I8)
            y = b.add(rule, total, b.constant(factors), b.constant(shifts))
        else:
            bias = b.constant(rng.standard_normal(self.filters).astype(np.float32))
            conv = Conv2D((self.stride, self.stride), padding, groups=self.groups)
            y = b.add(conv, x, b.constant(weights), bias)
        b.output("y", y)
        return b.build()


LAYERS = (
    *(Layer(w, c, c, p) for w in (1, 3) for c in (64, 128, 256) for p in (14, 28, 56)),
    *(
        Layer(1, channels, filters, pixels)
        for channels, filters, pixels in (
            (32, 16, 112),
            (64, 128, 56),
            (144, 24, 56),
            (128, 256, 28),
            (512, 512, 14),
            (576, 96, 14),
            (1024, 1024, 7),
        )
    ),
    Layer(3, 512, 512, 7),
    Layer(3, 3, 32, 224, stride=2),
    *(
        Layer(3, c, c, p, c, label=f"depthwise 3x3, {c}, {p}x{p}")
        for c, p in ((128, 56), (256, 28), (512, 14))
    ),
    Layer(3, 256, 384, 13, label="AlexNet conv3: 3x3, 256 -> 384, 13x13"),
    Layer(3, 384, 384, 13, 2, label="AlexNet conv4: 3x3, 384 -> 384, 2 groups, 13x13"),
    Layer(3, 384, 256, 13, 2, label="AlexNet conv5: 3x3, 384 -> 256, 2 groups, 13x13"),
    *(Layer(3, c, c, p, kind="binary") for c, p in ((128, 28), (256, 14), (512, 7))),
    *(Layer(w, c, c, p, kind="8-bit") for w in (1, 3) for c, p in ((64, 56), (128, 28), (256, 14))),
    *(
        Layer(3, c, c, p, c, kind="8-bit", label=f"8-bit depthwise 3x3, {c}, {p}x{p}")
        for c, p in ((64, 56), (128, 28), (256, 14))
    ),
)


def layer_plans(target: Target, only: str) -> list[tuple[str, Plan, str]]:
    """(kernel prefix, plan, name) of the layers whose name contains `only`."""
    chosen = [layer for layer in LAYERS if only in layer.name]
    return [
        (f"l{index}", plan_of(layer, target, f"l{index}"), layer.name)
        for index, layer in enumerate(chosen)
    ]


FIRST_LAYERS = tuple(
    Layer(window, channels, filters, pixels, stride=stride)
    for window, stride, channels, filters, pixels in (
        (3, 2, 3, 32, 224),
        (3, 2, 3, 16, 224),
        (3, 1, 3, 64, 96),
        (3, 1, 1, 8, 96),
        (3, 1, 1, 32, 96),
        (3, 2, 4, 16, 128),
        (3, 2, 3, 24, 192),
        (3, 1, 4, 32, 96),
        (5, 2, 3, 32, 128),
        (5, 1, 1, 16, 96),
        (5, 2, 3, 8, 160),
        (5, 1, 4, 24, 96),
        (5, 2, 1, 64, 128),
        (3, 2, 3, 8, 96),
        (3, 1, 3, 12, 112),
    )
)


class Measured(Protocol):
    """A network of one layer."""

    def graph(self) -> Graph:
        """The network before passes."""
        ...


def plan_of(layer: Measured, target: Target, prefix: str) -> Plan:
    """The plan of a layer after all passes; the names of its kernels begin with `prefix`."""
    return make_plan(run_pipeline(layer.graph())[0], target, Options(), prefix)


def model_plan(path: Path, target: Target, options: Options | None = None) -> tuple[str, Plan, str]:
    """(kernel prefix, plan, name) of a model file."""
    graph, _ = run_pipeline(read_model(path))
    prefix = valid_name(graph.name)
    return prefix, make_plan(graph, target, options or Options(), prefix), graph.name

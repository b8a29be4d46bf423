"""Operands and results with every layout: views, gaps, shared buffers, signs, threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from agreement import disagreement
from parts import quick_part

from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Trial, run_trials
from ellc.ir.builder import GraphBuilder, Ref
from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate
from ellc.ir.ops.binary import Binarize
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.dense import Dense, MatMul
from ellc.ir.ops.fused import Fused, Stage
from ellc.ir.ops.padding import Pad
from ellc.ir.ops.pointwise import Add, Neg, Relu
from ellc.ir.ops.pool import AvgPool2D, MaxPool2D
from ellc.ir.ops.reduce import Reduce, Softmax
from ellc.ir.ops.resize import Resample
from ellc.ir.ops.scan import CumProd, CumSum
from ellc.ir.ops.shape import Concat, Expand, Reshape, Slice, Split, Transpose
from ellc.ir.ops.sorting import TopK
from ellc.ir.ops.thresholds import CountReached
from ellc.ir.types import Array, DType, Padding, TensorType

Build = Callable[[GraphBuilder, Sequence[Ref]], Ref | Sequence[Ref]]
Shapes = tuple[tuple[int, ...], ...]


def quarters(seed: int, *shape: int) -> Array:
    """Multiples of 1/4, whose products have exact small sums, so that signs are decided."""
    drawn: Array = np.random.default_rng(seed).integers(-8, 9, shape) / 4
    return drawn.astype(np.float32)


def on_signs(build: Build) -> Build:
    """The same network on the signs of its inputs."""
    return lambda b, xs: build(b, [b.add(Binarize(), x) for x in xs])


def crop(b: GraphBuilder, x: Ref, starts: tuple[int, ...], sizes: tuple[int, ...]) -> Ref:
    """A slice with steps of 1, which is a view."""
    return b.add(Slice(starts, sizes, (1,) * len(sizes)), x)


def column(b: GraphBuilder, x: Ref, place: int, rows: int) -> Ref:
    """A column of a matrix as a vector, whose elements are not contiguous."""
    return b.add(Reshape((rows,)), crop(b, x, (0, place), (rows, 1)))


def resampled(b: GraphBuilder, x: Ref, axis: int, taps: int = 2) -> Ref:
    """A `Resample` to seven elements along an axis."""
    extent = x.type.shape[axis]
    indices = np.arange(7 * taps, dtype=np.int32).reshape(7, taps) % extent
    weights = b.constant(quarters(10, 7, taps))
    return b.add(Resample(axis), x, b.constant(indices), weights)


LAYOUTS: dict[str, tuple[Build, Shapes]] = {
    "signs side by side": (
        on_signs(lambda b, xs: b.add(Concat(3), *xs)),
        ((1, 3, 4, 10), (1, 3, 4, 21)),
    ),
    "rows of signs": (
        on_signs(lambda b, xs: b.add(Concat(1), *xs)),
        ((1, 3, 4, 10), (1, 2, 4, 10)),
    ),
    "signs transposed": (
        on_signs(lambda b, xs: b.add(Transpose((0, 3, 1, 2)), *xs)),
        ((1, 3, 4, 10),),
    ),
    "signs reshaped": (on_signs(lambda b, xs: b.add(Reshape((2, 60)), *xs)), ((1, 3, 4, 10),)),
    "signs cropped": (
        on_signs(lambda b, xs: crop(b, xs[0], (0, 0, 1, 3), (1, 3, 2, 5))),
        ((1, 3, 4, 10),),
    ),
    "signs split": (on_signs(lambda b, xs: b.add_multi(Split(3, (3, 37)), *xs)), ((1, 3, 4, 40),)),
    "signs repeated": (on_signs(lambda b, xs: b.add(Expand((2, 3, 10)), *xs)), ((3, 1),)),
    "rows with gaps flattened": (
        lambda b, xs: b.add(Reshape((30,)), crop(b, xs[0], (0, 1), (6, 5))),
        ((6, 8),),
    ),
    "one column": (lambda b, xs: b.add(Relu(), column(b, xs[0], 1, 6)), ((6, 8),)),
    "rows with gaps and one row": (
        lambda b, xs: b.add(Add(), crop(b, xs[0], (0, 1), (6, 5)), crop(b, xs[1], (0, 2), (1, 5))),
        ((6, 8), (6, 8)),
    ),
    "results side by side": (
        lambda b, xs: b.add(Concat(2), b.add(Relu(), xs[0]), b.add(Neg(), xs[1])),
        ((1, 5, 3), (1, 5, 1)),
    ),
    "one operand twice": (lambda b, xs: b.add(Concat(1), xs[0], xs[0]), ((1, 5, 3),)),
    "split and used": (
        lambda b, xs: [
            b.add(Relu(), part)
            for part in b.add_multi(Split(2, (1, 2)), b.add(Reshape((5, 7, 3)), xs[0]))
        ],
        ((1, 35, 3),),
    ),
    "an input handed out": (lambda b, xs: b.add(Reshape((5, 6)), xs[0]), ((2, 15),)),
    "channels first": (lambda b, xs: b.add(Transpose((0, 3, 1, 2)), xs[0]), ((1, 13, 17, 37),)),
    "channels last": (lambda b, xs: b.add(Transpose((0, 2, 3, 1)), xs[0]), ((1, 32, 16, 24),)),
    "dense of a column": (
        lambda b, xs: b.add(Dense(), column(b, xs[0], 1, 6), b.constant(quarters(1, 4, 6))),
        ((6, 8),),
    ),
    "dense of rows with gaps": (
        lambda b, xs: b.add(
            Dense(), crop(b, xs[0], (0, 0, 1), (2, 3, 6)), b.constant(quarters(2, 4, 6))
        ),
        ((3, 4, 8),),
    ),
    "dense between rows": (
        lambda b, xs: b.add(
            Concat(1),
            b.add(Dense(), xs[0], b.constant(quarters(3, 4, 6))),
            b.add(Relu(), xs[1]),
        ),
        ((2, 3, 6), (2, 1, 4)),
    ),
    "convolution of a crop": (
        lambda b, xs: b.add(
            Conv2D(padding=Padding.same(1)),
            crop(b, xs[0], (0, 1, 1, 2), (1, 4, 5, 4)),
            b.constant(quarters(4, 5, 3, 3, 4)),
        ),
        ((1, 6, 7, 8),),
    ),
    "depthwise of a crop": (
        lambda b, xs: b.add(
            Conv2D(padding=Padding.same(1), groups=4),
            crop(b, xs[0], (0, 1, 1, 2), (1, 4, 5, 4)),
            b.constant(quarters(5, 4, 3, 3, 1)),
        ),
        ((1, 6, 7, 8),),
    ),
    "1x1 convolution into columns": (
        lambda b, xs: b.add(
            Concat(2),
            b.add(Conv2D(), xs[0], b.constant(quarters(6, 5, 1, 1, 4))),
            b.add(Relu(), xs[1]),
        ),
        ((1, 6, 7, 4), (1, 6, 2, 5)),
    ),
    "pools into channels": (
        lambda b, xs: b.add(
            Concat(3),
            b.add(MaxPool2D((3, 3), (2, 2)), xs[0]),
            b.add(AvgPool2D((3, 3), (2, 2)), xs[0]),
        ),
        ((1, 9, 9, 5),),
    ),
    "mean of a large image": (
        lambda b, xs: b.add(AvgPool2D((19, 21), (1, 1)), xs[0]),
        ((1, 19, 21, 37),),
    ),
    "large window": (lambda b, xs: b.add(MaxPool2D((9, 11), (2, 3)), xs[0]), ((1, 20, 25, 9),)),
    "sums of a crop": (
        lambda b, xs: b.add(Reduce("sum", (1,)), crop(b, xs[0], (1, 1, 2), (3, 4, 5))),
        ((5, 6, 8),),
    ),
    "weighted rows of a crop": (
        lambda b, xs: resampled(b, crop(b, xs[0], (1, 1, 2), (3, 4, 5)), 1),
        ((5, 6, 8),),
    ),
    "weighted columns of a padded image": (
        lambda b, xs: b.add(
            Concat(3),
            resampled(b, b.add(MaxPool2D((3, 3), (2, 2)), xs[0]), 2),
            resampled(b, b.add(AvgPool2D((3, 3), (2, 2)), xs[0]), 2),
        ),
        ((2, 9, 9, 5),),
    ),
    "many weights": (lambda b, xs: resampled(b, xs[0], 0, taps=11), ((13, 3, 37),)),
    "running sums of a crop": (
        lambda b, xs: b.add(CumSum(1), crop(b, xs[0], (1, 1, 2), (3, 4, 5))),
        ((5, 6, 8),),
    ),
    "running products side by side": (
        lambda b, xs: b.add(
            Concat(2), b.add(CumProd(1, True), xs[0]), b.add(CumSum(1, reverse=True), xs[1])
        ),
        ((2, 3, 20), (2, 3, 3)),
    ),
    "largest of a crop": (
        lambda b, xs: b.add_multi(TopK(1, 3), crop(b, xs[0], (1, 1, 2), (3, 4, 5))),
        ((5, 6, 8),),
    ),
    "largest side by side": (
        lambda b, xs: b.add(Concat(1), *(b.add_multi(TopK(1, k, k > 1), xs[0])[0] for k in (1, 4))),
        ((3, 9, 21),),
    ),
    "thresholds reached by a crop": (
        lambda b, xs: b.add(
            CountReached(),
            crop(b, xs[0], (1, 1, 2), (3, 4, 5)),
            b.add(Transpose((2, 0, 1, 3)), xs[1]),
        ),
        ((5, 6, 8), (3, 1, 7, 5)),
    ),
    "softmax of a column": (lambda b, xs: b.add(Softmax((0,)), column(b, xs[0], 2, 9)), ((9, 4),)),
    "padded transpose": (
        lambda b, xs: b.add(
            Pad((1, 0, 2), (0, 1, 1), mode="edge"), b.add(Transpose((2, 0, 1)), xs[0])
        ),
        ((3, 4, 5),),
    ),
    "signs of a product": (
        lambda b, xs: b.add(Fused(MatMul(), 2, (Stage(Add(), 1), Stage(Binarize()))), *xs),
        ((5, 9), (9, 37), (37,)),
    ),
    "signs of sums": (
        lambda b, xs: b.add(Fused(MatMul(False, True), 2, (Stage(Binarize()),)), *xs),
        ((2, 9), (37, 9)),
    ),
    "product with a broadcast stage": (
        lambda b, xs: b.add(Fused(MatMul(), 2, (Stage(Add(), 1),)), *xs),
        ((4, 2, 5, 9), (2, 9, 37), (4, 1, 5, 1)),
    ),
    "tall product": (lambda b, xs: b.add(MatMul(True), *xs), ((3, 50, 37), (50, 70))),
    "computed dense with stages": (
        lambda b, xs: b.add(Fused(Dense(), 2, (Stage(Relu()), Stage(Add(), 1))), *xs),
        ((3, 5, 20), (33, 20), (5, 33)),
    ),
    "dense with a computed bias": (
        lambda b, xs: b.add(Dense(), xs[0], b.constant(quarters(7, 33, 20)), xs[1]),
        ((20,), (33,)),
    ),
}


def depthwise(
    image: tuple[int, int, int], many: int, window: int, op: Conv2D, *, signs: bool
) -> tuple[Build, Shapes]:
    """A depthwise convolution with `many` filters per channel, also on signs."""
    rows, columns, channels = image
    filters = channels * many

    def build(b: GraphBuilder, xs: Sequence[Ref]) -> Ref:
        w = b.constant(quarters(8, filters, window, window, 1))
        if signs:
            return b.add(Fused(op, 2, (Stage(Binarize()),)), xs[0], w)
        return b.add(op, xs[0], w, b.constant(quarters(9, filters)))

    return build, ((2, rows, columns, channels),)


for _image, _many, _window, _op in (
    ((9, 11, 5), 1, 3, Conv2D(padding=Padding.same(1), groups=5)),
    ((9, 11, 6), 3, 3, Conv2D((2, 1), Padding.same(1, 0.5), groups=6)),
    ((12, 12, 3), 16, 3, Conv2D(padding=Padding.same(1), groups=3)),
    ((8, 8, 7), 2, 5, Conv2D((1, 2), Padding(2, 1, 2, 3, (-1.0,)), groups=7)),
    ((16, 16, 9), 1, 3, Conv2D(padding=Padding.same(3), dilation=(2, 3), groups=9)),
    ((7, 7, 40), 1, 7, Conv2D(groups=40)),
    ((14, 14, 3), 1, 13, Conv2D(padding=Padding.same(6), groups=3)),
    ((20, 20, 33), 1, 3, Conv2D(padding=Padding.same(1), groups=33)),
    ((6, 5, 2), 64, 3, Conv2D(padding=Padding.same(1), groups=2)),
    ((6, 5, 3), 12, 3, Conv2D((3, 3), Padding.same(2, 1.0), groups=3)),
):
    for _signs in (False, True):
        _name = f"depthwise {_image} {_many}x{_window} {'signs' if _signs else ''}"
        LAYOUTS[_name] = depthwise(_image, _many, _window, _op, signs=_signs)


def layout_graph(name: str) -> Graph:
    build, shapes = LAYOUTS[name]
    builder = GraphBuilder("layout")
    inputs = [builder.input(f"x{i}", TensorType(DType.F32, s)) for i, s in enumerate(shapes)]
    made = build(builder, inputs)
    for index, result in enumerate([made] if isinstance(made, Ref) else made):
        builder.output(f"y{index}", result)
    return builder.build()


ARM = [pytest.mark.slow, pytest.mark.emulated("qemu-arm")]
WAYS = [
    pytest.param("host", (1, 4), (1, 2), id="host"),
    pytest.param("pi0", (1,), (0, 6), id="pi0", marks=ARM),
    pytest.param("pi3", (1,), (2, 6), id="pi3", marks=ARM),
    pytest.param("pi3_64", (1,), (4, 6), id="pi3_64", marks=pytest.mark.emulated("qemu-aarch64")),
]
"""Targets, numbers of threads, and the parts of all layouts."""


@pytest.mark.slow
@pytest.mark.parametrize(("target", "threads", "part"), WAYS)
def test_every_layout(target: str, threads: tuple[int, ...], part: tuple[int, int]) -> None:
    """One program per target has its layouts, with and without threads: they share kernels."""
    trials, wanted = [], []
    chosen = quick_part(list(LAYOUTS), *part)
    for name in chosen:
        graph = layout_graph(name)
        inputs = tuple(quarters(i + 20, *t.shape) for i, t in enumerate(graph.input_types()))
        trials.append(Trial(graph, (inputs,)))
        wanted.append(evaluate(graph, inputs).outputs)
    wrong: list[str] = []
    every = [replace(trial, threads=count) for count in threads for trial in trials]
    labels = [f"{name} ({count} threads)" for count in threads for name in chosen]
    results = run_trials(every, resolve(target))
    for label, result, want in zip(labels, results, wanted * len(threads), strict=True):
        if isinstance(result, Exception):
            wrong.append(f"{label}: {str(result).splitlines()[0]}")
            continue
        said = [disagreement(a, b) for a, b in zip(result[0], want, strict=True)]
        wrong += [f"{label}: {text}" for text in said if text]
    assert not wrong, "\n".join(wrong)

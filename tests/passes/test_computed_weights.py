"""Convolutions whose weights are computed: they are folded, or lowered to matrix products."""

from __future__ import annotations

import numpy as np
import pytest

from ellc.ir.builder import GraphBuilder, Ref
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate
from ellc.ir.ops.cast import Cast
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.conv_transpose import ConvTranspose2D
from ellc.ir.ops.pointwise import Mul
from ellc.ir.pipeline import PipelineOptions, default_passes, run_pipeline
from ellc.ir.types import DType, Padding, TensorType

IMAGE = TensorType(DType.F32, (1, 6, 6, 64))


def lowered(builder: GraphBuilder, *, optimize: bool) -> Graph:
    return run_pipeline(builder.build(), default_passes(PipelineOptions(optimize=optimize)))[0]


def stored_as_bytes(builder: GraphBuilder) -> Ref:
    """The weights of 96 filters, stored as bytes. As floats they take four times the memory."""
    numbers = np.random.default_rng(2).integers(-9, 9, (96, 3, 3, 64)).astype(np.int8)
    floats = builder.add(Cast(DType.F32), builder.constant(numbers))
    return builder.add(Mul(), floats, builder.constant(np.full((1,), 0.125, np.float32)))


@pytest.mark.parametrize("optimize", [True, False])
@pytest.mark.parametrize("op", [Conv2D(padding=Padding.same(1)), ConvTranspose2D((2, 2))])
def test_weights_stored_as_bytes_become_constants(
    op: Conv2D | ConvTranspose2D, optimize: bool
) -> None:
    builder = GraphBuilder("bytes")
    x, weights = builder.input("x", IMAGE), stored_as_bytes(builder)
    builder.output("y", builder.add(op, x, weights))
    graph = lowered(builder, optimize=optimize)
    (conv,) = [n for n in graph.nodes if isinstance(n.op, Conv2D)]
    assert conv.inputs[1] in graph.constant_arrays()
    assert not any(isinstance(n.op, Cast) for n in graph.nodes)
    image = np.random.default_rng(3).standard_normal(IMAGE.shape).astype(np.float32)
    (want,), (got,) = evaluate(builder.build(), (image,)).outputs, evaluate(graph, (image,)).outputs
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("stride", [(2, 2**31 - 1), (1000, 1000)])
def test_strides_with_many_phases_are_refused(stride: tuple[int, int]) -> None:
    builder = GraphBuilder("strides")
    weights = builder.constant(np.ones((8, 3, 3, 64), np.float32))
    crop = (0, 0, 0, (IMAGE.shape[2] - 1) * stride[1])
    builder.output(
        "y", builder.add(ConvTranspose2D(stride, crop), builder.input("x", IMAGE), weights)
    )
    with pytest.raises(EllcError, match="too many phases"):
        lowered(builder, optimize=False)


def test_computed_windows_of_many_pixels_are_refused() -> None:
    builder = GraphBuilder("window")
    x = builder.input("x", TensorType(DType.F32, (1, 65, 64, 1)))
    weights = builder.input("w", TensorType(DType.F32, (1, 65, 64, 1)))
    builder.output("y", builder.add(Conv2D(), x, weights))
    with pytest.raises(EllcError, match="a window of at most"):
        lowered(builder, optimize=False)


def test_weights_that_are_computed_make_a_product() -> None:
    builder = GraphBuilder("computed")
    x = builder.input("x", IMAGE)
    weights = builder.input("w", TensorType(DType.F32, (4, 3, 3, 64)))
    builder.output("y", builder.add(Conv2D(), x, builder.add(Mul(), weights, weights)))
    names = [n.op.name for n in lowered(builder, optimize=False).nodes]
    assert "mat_mul" in names and "conv2d" not in names

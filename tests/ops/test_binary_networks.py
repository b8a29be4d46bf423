"""Every bit of the binary layers of compiled networks equals the reference without any pass."""

from __future__ import annotations

import numpy as np
import pytest
from binary_layers import binary_part, images, residual_part, wrong_bits

from ellc.codegen.machine.resolve import resolve
from ellc.ir.builder import GraphBuilder
from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate
from ellc.ir.ops.binary import Binarize, BinaryConv2D
from ellc.ir.ops.norm import BatchNorm
from ellc.ir.ops.pointwise import Add, MulAdd, PRelu, Relu
from ellc.ir.ops.pool import LOWEST, MaxPool2D
from ellc.ir.pipeline import run_pipeline
from ellc.ir.types import Array, DType, Padding, TensorType

POOL = MaxPool2D((3, 3), (2, 2), Padding(1, 1, 1, 1, LOWEST.values))
TARGETS = [
    "host",
    pytest.param("pi3_64", marks=pytest.mark.emulated("qemu-aarch64")),
    pytest.param("pi3", marks=pytest.mark.emulated("qemu-arm")),
]


def network() -> Graph:
    """Three binary layers as ELL has them: bias, PReLU by element, pool, batch norm, signs."""
    rng = np.random.default_rng(3)
    b = GraphBuilder("layers")
    value = b.add(Binarize(), b.input("x", TensorType(DType.F32, (1, 9, 11, 64))))
    size, channels = (9, 11), 64

    def floats(*shape: int, low: float = -2.0) -> str:
        return b.constant(rng.uniform(low, 2, shape).astype(np.float32))

    for filters in (128, 64, 24):
        weights: Array = rng.random((filters, 3, 3, channels)) < 0.5
        conv = BinaryConv2D(padding=Padding.same(1))
        value = b.add(conv, value, b.constant(weights, DType.BIT))
        value = b.add(Add(), value, floats(filters))
        value = b.add(PRelu(), value, floats(*size, filters, low=0.0))
        value = b.add(POOL, value)
        norm = (floats(filters), floats(filters), floats(filters), floats(filters, low=0.5))
        value = b.add(BatchNorm(1e-5), value, *norm)
        value = b.add(Binarize(), value)
        size, channels = ((size[0] + 1) // 2, (size[1] + 1) // 2), filters
    b.output("y", value)
    return b.build()


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_bits_of_binary_layers(target: str) -> None:
    for on_thresholds in (False, True):
        part = binary_part(network(), on_thresholds=on_thresholds)
        assert part is not None and len(part.outputs) == 3
        assert wrong_bits(part, images(part), resolve(target)) == []


def test_signs_of_sums_with_shortcuts() -> None:
    """Blocks as QuickNet has them: signs, a binary convolution, and an addition of its input."""
    rng = np.random.default_rng(4)
    b = GraphBuilder("blocks")
    value = b.add(Relu(), b.input("x", TensorType(DType.F32, (1, 6, 5, 64))))
    for _ in range(3):
        weights = b.constant(rng.random((64, 3, 3, 64)) < 0.5, DType.BIT)
        total = b.add(BinaryConv2D(padding=Padding.same(1, 1.0)), b.add(Binarize(), value), weights)
        factors = (b.constant(rng.normal(0, 2, 64).astype(np.float32)) for _ in range(2))
        value = b.add(Add(), value, b.add(MulAdd(), total, *factors))
    b.output("y", value)
    part = residual_part(b.build())
    assert part is not None and len(part.outputs) == 2
    inputs = images(part, 6)
    sums = [evaluate(part, given).outputs for given in inputs]
    assert 0.1 < np.mean(sums) < 0.9
    assert wrong_bits(part, inputs, resolve("host")) == []


def test_nothing_is_float_between_binary_layers() -> None:
    part = binary_part(network())
    assert part is not None
    optimised, _ = run_pipeline(part)
    kinds = [n.op.name for n in optimised.nodes]
    assert kinds == ["fused", "bit_pool2d"] * 3
    assert not any(isinstance(n.op, MaxPool2D) for n in optimised.nodes)


def test_a_wrong_threshold_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """With thresholds that are wrong by one sum, bits differ."""
    part = binary_part(network(), on_thresholds=True)
    assert part is not None
    name = "ellc.ir.passes.fold.binary_thresholds._first_true"
    from ellc.ir.passes.fold import binary_thresholds

    right = binary_thresholds._first_true
    monkeypatch.setattr(name, lambda *given: right(*given) + 1)
    assert wrong_bits(part, images(part, 3), resolve("host"))

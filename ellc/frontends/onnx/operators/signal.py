"""Imports Fourier transforms (as products with constant matrices), windows and mel filters."""

from __future__ import annotations

from math import prod

import numpy as np

from ellc.frontends.graph_import.axes import axis_of
from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.shapes import reshaped, transposed
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value, known_int, known_number
from ellc.frontends.onnx.model import OnnxNode
from ellc.frontends.onnx.registry import ONNX, Declined, operand, optional
from ellc.frontends.onnx.tensors import dtype_of
from ellc.ir.ops.dense import Dense
from ellc.ir.ops.pointwise import Mul
from ellc.ir.ops.shape import Gather
from ellc.ir.types import Array, DType

# The greatest length of a transform. With as many samples, its matrix has (2 * 2048) ** 2 elements.
_MOST_FREQUENCIES = 2048
_NO_COMPLEX = "an inverse transform to complex signals"
_COSINES = {
    "HannWindow": (0.5, 0.5, 0.0),
    "HammingWindow": (25 / 46, 21 / 46, 0.0),
    "BlackmanWindow": (0.42, 0.5, 0.08),
}
_MEL_HERTZ, _MEL_FACTOR = 700.0, 2595.0 / np.log(10.0)


@ONNX.imports(
    "DFT",
    limits="length and axis known at import, at most 2,048 frequencies; inverse to real signals",
    declines=(Declined("attribute", "inverse", _NO_COMPLEX),),
)
def dft(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The Fourier transform or its inverse along an axis; the last axis is (real, imaginary)."""
    x = operand(inputs, 0)
    inverse, onesided = node.flag("inverse"), node.flag("onesided")
    if inverse and not onesided:
        # Where the exact result is 0, ONNX's own test of this operator expects rounding noise that
        # is larger than the test's tolerance.
        raise Unsupported(_NO_COMPLEX)
    axis = axis_of(_axis(node, inputs), x.type.rank)
    length = optional(inputs, 1)
    taps = x.shape[axis]
    full_length = 2 * (taps - 1) if inverse and onesided else taps
    count = known_int(length, "the length") if length else full_length
    last = x.type.rank - 1
    order = (*(a for a in range(last) if a != axis), axis, last)
    back = tuple(order.index(a) for a in range(last + 1))
    rows = transposed(emitter, x, order)
    result = _transformed(emitter, rows, count, inverse, onesided)
    return transposed(emitter, result, back)


def _axis(node: OnnxNode, inputs: Inputs) -> int:
    if node.version < 20:
        return node.integer("axis", 1)
    given = optional(inputs, 2)
    return known_int(given, "the axis") if given else -2


@ONNX.imports("STFT", limits="steps and lengths known at import, at most 2,048 frequencies")
def stft(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The Fourier transforms of overlapping segments of signals [batch, length, 1 or 2]."""
    x, window, size = operand(inputs, 0), optional(inputs, 2), optional(inputs, 3)
    step = known_int(operand(inputs, 1), "the step")
    length = x.shape[1] if window is None else window.shape[0]
    if size is not None:
        length = known_int(size, "the length of a part")
    if step < 1 or not 1 <= length <= x.shape[1]:
        raise Unsupported(
            f"parts of length {length} with step {step}, of signals of shape {list(x.shape)}"
        )
    count = 1 + (x.shape[1] - length) // step
    emitter.want_room(count, length)
    positions = step * emitter.counted(count, 1) + emitter.counted(length)
    parts = emitter.add(Gather(1), x, emitter.constant(positions))
    if window is not None:
        parts = emitter.add(Mul(), parts, reshaped(emitter, window, (length, 1)))
    return _transformed(emitter, parts, length, False, node.flag("onesided", True))


def _transformed(
    emitter: Emitter, rows: Value, length: int, inverse: bool, onesided: bool
) -> Value:
    """Transform [..., taps, parts] to [..., frequencies, their parts] with one constant matrix.

    Real numbers have 1 part and complex ones 2. The result is complex, or real with `inverse`.
    """
    *outer, taps, parts = rows.shape
    if parts not in (1, 2):
        raise Unsupported(f"its last axis has the extent {parts}, not 1 (real) or 2 (complex)")
    if not 1 <= length <= _MOST_FREQUENCIES:
        raise Unsupported(f"its length is {length}; 1 to {_MOST_FREQUENCIES:,} are supported")
    emitter.want_room(length, parts, taps, parts)
    number = emitter.counted(taps * parts, taps * parts)
    units = 1.0 * (number // (taps * parts) == number % (taps * parts))
    matrix = _matrix(units.reshape(taps, parts, -1), length, inverse, onesided)
    weights = emitter.constant(matrix.reshape(-1, taps * parts).astype(rows.dtype.numpy))
    flat = reshaped(emitter, rows, (prod(outer), taps * parts))
    return reshaped(emitter, emitter.add(Dense(), flat, weights), (*outer, *matrix.shape[:2]))


def _matrix(units: Array, length: int, inverse: bool, onesided: bool) -> Array:
    """Transform every unit signal; the result is [frequencies, their parts, taps, parts].

    `units` is [taps, parts, taps * parts].
    """
    taps, parts, _ = units.shape
    signal = units[:, 0] + (1j * units[:, 1] if parts == 2 else 0)
    if inverse:
        result = np.fft.irfft(signal, length, 0)[:, None]
    else:
        spectrum = np.fft.fft(signal, length, 0)
        spectrum = spectrum[: length // 2 + 1] if onesided else spectrum
        result = np.stack([spectrum.real, spectrum.imag], 1)
    return result.reshape(*result.shape[:2], taps, parts)


@ONNX.imports(*_COSINES, limits="a size known at import")
def window(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """A Hann, Hamming or Blackman window."""
    size = known_int(operand(inputs, 0), "the size")
    constant, first, second = _COSINES[node.operator]
    turn = (
        2
        * np.pi
        * emitter.counted(size)
        / max(1, size if node.flag("periodic", True) else size - 1)
    )
    result = constant - first * np.cos(turn) + second * np.cos(2 * turn)
    return emitter.constant(result.astype(_result_type(node).numpy))


@ONNX.imports("MelWeightMatrix", limits="operands known at import")
def mel_weight_matrix(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The matrix of triangular filters whose centres are equally spaced in mel."""
    bands, length, rate = (known_int(operand(inputs, i), "a size") for i in range(3))
    edges = [known_number(operand(inputs, i), "an edge") for i in (3, 4)]
    if min(bands, length, rate) < 1 or min(edges) < 0:
        raise Unsupported(f"{bands} bands of {length} samples at {rate} Hz from {edges} Hz")
    low, high = (_MEL_FACTOR * np.log1p(edge / _MEL_HERTZ) for edge in edges)
    mel = low + emitter.counted(bands + 2) * (high - low) / (bands + 2)
    hertz = _MEL_HERTZ * np.expm1(mel / _MEL_FACTOR)
    bins = np.floor((length + 1) * hertz / rate).astype(np.int64)
    result = emitter.full((length // 2 + 1, bands), 0, np.float64)
    position = emitter.counted(len(result))
    for band, (left, middle, right) in enumerate(zip(bins, bins[1:], bins[2:], strict=False)):
        rising = (position >= left) & (position <= middle)
        result[rising, band] = (position[rising] - left) / max(middle - left, 1)
        falling = (position >= middle) & (position < right)
        result[falling, band] = (right - position[falling]) / max(right - middle, 1)
        if left == middle < len(result):
            result[middle, band] = 1
    return emitter.constant(result.astype(_result_type(node).numpy))


def _result_type(node: OnnxNode) -> DType:
    return dtype_of(node.integer("output_datatype", 1))

"""Imports TensorFlow Lite Micro's signal operators on filter banks: sums, roots, noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.shapes import reshaped
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value, known
from ellc.frontends.tflite.common import operand, result
from ellc.frontends.tflite.model import TfliteNode
from ellc.frontends.tflite.operators.signal_parts import (
    as_type,
    bits_option,
    require_type,
    u32_option,
    with_number,
)
from ellc.frontends.tflite.registry import TFLITE
from ellc.ir.ops.arithmetic import Add, Maximum, Minimum, Mul, Sub
from ellc.ir.ops.comparisons import ShiftLeft, ShiftRight
from ellc.ir.ops.fixed_point_functions import RoundedRoot
from ellc.ir.ops.padding import Pad
from ellc.ir.ops.scan import CumSum
from ellc.ir.ops.shape import Gather, Slice
from ellc.ir.types import Array, DType


@TFLITE.imports("CUSTOM:SignalFilterBank", limits="constant weights and positions")
def filter_bank(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Compute the energy of each channel: a weighted sum over a range of frequencies.

    Each frequency also contributes to the next channel, multiplied by its "unweight".
    """
    x = require_type(operand(inputs, 0), DType.U32, "operand", 1)
    names = ("weights", "unweights", "frequency starts", "weight starts", "widths")
    tables = [
        known(require_type(operand(inputs, i), DType.I16, name, 1), f"its {name}").astype(np.int64)
        for i, name in enumerate(names, 1)
    ]
    weights, unweights, *positions = tables
    channels = node.options.whole("num_channels") + 1
    if channels < 2 or any(len(table) < channels for table in positions):
        raise Unsupported(
            f"num_channels is {channels - 1}, but the tables of positions have the lengths"
            f" {[len(t) for t in positions]}"
        )
    frequencies, firsts, widths = (table[:channels] for table in positions)
    emitter.want_room(int(np.maximum(widths, 0).sum()))
    bins = _runs(emitter, frequencies, widths, x.shape[0], "energies")
    chosen = _runs(emitter, firsts, widths, min(len(weights), len(unweights)), "weights")
    if not len(bins):
        return emitter.constant(emitter.full((channels - 1,), 0, np.uint64))
    picked = emitter.add(Gather(0), as_type(emitter, x, DType.U64), emitter.constant(bins))
    ends = np.cumsum(np.maximum(widths, 0))
    own, passed = (_sums(emitter, picked, table[chosen], ends) for table in (weights, unweights))
    count = channels - 1
    own = emitter.add(Slice((1,), (count,), (1,)), own)
    return emitter.add(Add(), own, emitter.add(Slice((0,), (count,), (1,)), passed))


def _runs(emitter: Emitter, starts: Array, widths: Array, count: int, what: str) -> Array:
    """Concatenate the indices of all runs; run i has `widths[i]` indices, from `starts[i]` on.

    Raises `Unsupported` if an index is negative or not below `count`.
    """
    pairs = zip(starts, widths, strict=True)
    indices = np.concatenate([start + emitter.counted(max(int(n), 0)) for start, n in pairs])
    if len(indices) and not 0 <= indices.min() <= indices.max() < count:
        raise Unsupported(f"positions {indices.min()} to {indices.max()} of only {count} {what}")
    return indices.astype(np.int32)


def _sums(emitter: Emitter, x: Value, weights: Array, ends: Array) -> Value:
    """Compute weighted sums of consecutive runs that end at `ends`, modulo 2^64.

    Each result is the difference of two running sums.
    """
    weighted = emitter.add(Mul(), x, emitter.constant(weights.astype(np.uint64)))
    running = emitter.add(Pad((1,), (0,), 0.0), emitter.add(CumSum(0), weighted))
    first = np.concatenate(([0], ends[:-1]))
    upper, lower = (
        emitter.add(Gather(0), running, emitter.constant(positions.astype(np.int32)))
        for positions in (ends, first)
    )
    return emitter.add(Sub(), upper, lower)


@TFLITE.imports("CUSTOM:SignalFilterBankSquareRoot")
def square_root(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Compute rounded square roots, and shift them right to undo the left shift of the samples."""
    x = require_type(operand(inputs, 0), DType.U64, "operand", 1)
    subtraction_bits = require_type(operand(inputs, 1), DType.I32, "number of bits")
    if subtraction_bits.type.elements != 1:
        raise Unsupported(f"its number of bits is {list(subtraction_bits.shape)}")
    shift = as_type(emitter, reshaped(emitter, subtraction_bits, (1,)), DType.U32)
    return emitter.add(ShiftRight(), emitter.add(RoundedRoot(), x), shift)


@TFLITE.imports("CUSTOM:SignalFilterBankSpectralSubtraction")
def spectral_subtraction(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> list[Value]:
    """Return the energies minus the noise, and the estimate of the noise, which is a state.

    At least a fraction of each energy remains; `min_signal_remaining` gives this fraction.
    """
    x, options = require_type(operand(inputs, 0), DType.U32, "operand", 1), node.options
    (channels,) = x.shape
    if options.whole("num_channels") != channels:
        raise Unsupported(
            f"num_channels is {options.whole('num_channels')}, not {channels} as the operand says"
        )
    subtraction_bits, smoothing_bits = (
        bits_option(node, n) for n in ("spectral_subtraction_bits", "smoothing_bits")
    )
    name = f"{result(node, 1).name}.noise"
    before = emitter.state(name, emitter.full((channels,), 0, np.uint32))
    scaled = with_number(emitter, ShiftLeft(), x, smoothing_bits)
    latest = _per_channel(emitter, node, scaled, ("smoothing", "alternate_smoothing"))
    rest = ("one_minus_smoothing", "alternate_one_minus_smoothing")
    total = emitter.add(Add(), latest, _per_channel(emitter, node, before, rest))
    noise = as_type(emitter, with_number(emitter, ShiftRight(), total, subtraction_bits), DType.U32)
    below = emitter.add(Minimum(), noise, scaled)
    if options.flag("clamping"):
        noise = below
    emitter.set_state(name, noise)
    least = with_number(
        emitter, Mul(), as_type(emitter, x, DType.U64), u32_option(node, "min_signal_remaining")
    )
    least = as_type(emitter, with_number(emitter, ShiftRight(), least, subtraction_bits), DType.U32)
    signal = with_number(emitter, ShiftRight(), emitter.add(Sub(), scaled, below), smoothing_bits)
    return [emitter.add(Maximum(), signal, least), noise]


def _per_channel(emitter: Emitter, node: TfliteNode, x: Value, names: Sequence[str]) -> Value:
    """Multiply x (u32) by one option in even channels and by another in odd ones, in u64."""
    factors = np.array([u32_option(node, name) for name in names], np.uint64)
    every = emitter.constant(factors[emitter.counted(*x.shape) % len(names)])
    return emitter.add(Mul(), as_type(emitter, x, DType.U64), every)

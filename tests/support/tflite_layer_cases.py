"""Test cases of convolutions, pools, dense and recurrent layers, with floats and bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from tflite_cases import TfliteCase, drawn_once, ints, stored
from tflite_files import T, options

from ellc.ir.types import Array

_RNG = np.random.default_rng(12)
_GEOMETRY = (
    ((1, 1), (1, 1), (3, 3), 0),
    ((2, 2), (1, 1), (3, 3), 1),
    ((2, 1), (1, 1), (2, 4), 3),
    ((1, 1), (2, 2), (3, 3), 2),
)
_SHAPE = (2, 9, 8, 4)


@drawn_once
def layer_cases() -> Iterator[TfliteCase]:
    """Cases of all layers with weights, and of pools."""
    for padding in (0, 1):
        for stride, dilation, window, activation in _GEOMETRY:
            shape = _result(padding, stride, dilation, window)
            chosen = {
                "padding": padding,
                "strideH": stride[0],
                "strideW": stride[1],
                "fusedActivationFunction": activation,
            }
            if dilation == (1, 1):
                yield from _pools(shape, window, chosen)
            chosen |= {"dilationHFactor": dilation[0], "dilationWFactor": dilation[1]}
            yield from _convolutions(shape, window, chosen)
        yield from _transposed(padding)
    yield from _dense()
    yield from _recurrent()
    for padding in (0, 1):
        yield from _volumes(padding)


def _floats(*shape: int, deviation: float = 1.0) -> T:
    return T.of(_RNG.normal(0, deviation, shape).astype(np.float32))


def _weights(dtype: str, shape: tuple[int, ...], filters: int, axis: int) -> T:
    """Constant weights: floats, int8 with a scale per filter, or uint8 with a single scale."""
    if dtype == "float32":
        return _floats(*shape)
    if dtype == "uint8":
        return stored(dtype, shape, 0.0113, 117, _RNG.integers(0, 256, shape, np.uint8))
    scales = tuple(_RNG.uniform(0.001, 0.02, filters).astype(np.float32).tolist())
    data = _RNG.integers(-127, 128, shape, np.int8)
    return T(shape, dtype, data, scale=scales, zero=(0,) * filters, axis=axis)


def _bias(dtype: str, filters: int) -> T:
    if dtype == "float32":
        return _floats(filters)
    data = _RNG.integers(-2000, 2000, filters, np.int32)
    scale = (np.float32(0.05) * np.float32(0.0113),) if dtype == "uint8" else ()
    return T((filters,), "int32", data, scale=scale, zero=(0,) * len(scale))


def _tensor(dtype: str, shape: tuple[int, ...], scale: float = 0.05) -> T:
    return T(shape) if dtype == "float32" else stored(dtype, shape, scale)


def _result(
    padding: int, stride: tuple[int, int], dilation: tuple[int, int], window: tuple[int, int]
) -> tuple[int, int, int]:
    reach = [(w - 1) * d + 1 for w, d in zip(window, dilation, strict=True)]
    free = [0, 0] if padding == 0 else [r - 1 for r in reach]
    rows, columns = (-(-(e - f) // s) for e, f, s in zip(_SHAPE[1:3], free, stride, strict=True))
    return _SHAPE[0], rows, columns


def _convolutions(
    shape: tuple[int, int, int], window: tuple[int, int], chosen: dict[str, int]
) -> Iterator[TfliteCase]:
    label = " ".join(map(str, chosen.values()))
    for dtype in ("float32", "int8", "uint8"):
        x = _tensor(dtype, _SHAPE)
        for filters, depth in ((6, 4), (6, 2)):
            if dtype == "uint8" and depth != 4:
                continue
            weights = _weights(dtype, (filters, *window, depth), filters, 0)
            to = (_tensor(dtype, (*shape, filters), 0.09),)
            operands = (x, weights, _bias(dtype, filters))
            name = f"{dtype} {window} {depth} {label}"
            yield TfliteCase("CONV_2D", name, operands, to, options("Conv2DOptions", **chosen))
        for times in (1, 3):
            filters = 4 * times
            weights = _weights(dtype, (1, *window, filters), filters, 3)
            to = (_tensor(dtype, (*shape, filters), 0.09),)
            operands = (x, weights, _bias(dtype, filters))
            more = options("DepthwiseConv2DOptions", depthMultiplier=times, **chosen)
            name = f"{dtype} {window} {times} {label}"
            yield TfliteCase("DEPTHWISE_CONV_2D", name, operands, to, more)


def _volumes(padding: int) -> Iterator[TfliteCase]:
    """Cases with three spatial axes; depth has another stride or dilation than rows and columns."""
    x = T((2, 5, 6, 7, 3))
    deviation = 0.1  # standard deviation of weights: sums stay near the bounds of activations
    for stride, dilation, window in (
        ((1, 1, 1), (1, 1, 1), (3, 3, 3)),
        ((2, 1, 2), (1, 1, 1), (3, 2, 1)),
        ((1, 1, 1), (2, 1, 3), (2, 3, 2)),
    ):
        chosen = {
            "padding": padding,
            **{f"stride{axis}": n for axis, n in zip("DHW", stride, strict=True)},
            **{f"dilation{axis}Factor": n for axis, n in zip("DHW", dilation, strict=True)},
            "fusedActivationFunction": stride[0] - 1,
        }
        label, bias = f"{padding} {stride} {dilation} {window}", _floats(4)
        reach = [d * (w - 1) + 1 for d, w in zip(dilation, window, strict=True)]
        free = [r - 1 if padding else 0 for r in reach]
        small = [-(-(e - f) // s) for e, f, s in zip(x.shape[1:4], free, stride, strict=True)]
        operands = (x, _floats(*window, 3, 4, deviation=deviation), bias)
        more = options("Conv3DOptions", **chosen)
        yield TfliteCase("CONV_3D", label, operands, (T((2, *small, 4)),), more)
        large = [
            e * s if padding == 0 else (e - 1) * s + r
            for e, s, r in zip(x.shape[1:4], stride, reach, strict=True)
        ]
        to = T((2, *large, 4))
        for last in ((bias,), ()):
            operands = (ints(*to.shape), _floats(*window, 4, 3, deviation=deviation), x, *last)
            name = f"{label} {len(last)}"
            yield TfliteCase("CONV_3D_TRANSPOSE", name, operands, (to,), more)


def _pools(
    shape: tuple[int, int, int], window: tuple[int, int], chosen: dict[str, int]
) -> Iterator[TfliteCase]:
    more = options("Pool2DOptions", filterHeight=window[0], filterWidth=window[1], **chosen)
    for dtype in ("float32", "int8", "uint8"):
        for kind in ("AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D"):
            if kind != "L2_POOL_2D" or dtype == "float32":
                label = f"{dtype} {window} {' '.join(map(str, chosen.values()))}"
                x, to = _tensor(dtype, _SHAPE), (_tensor(dtype, (*shape, 4)),)
                yield TfliteCase(kind, label, (x,), to, more)


def _transposed(padding: int) -> Iterator[TfliteCase]:
    for stride, window in (((1, 1), (3, 3)), ((2, 2), (3, 3)), ((3, 2), (2, 4)), ((2, 2), (2, 2))):
        rows, columns = (
            e * s if padding == 0 else (e - 1) * s + w
            for e, s, w in zip((5, 4), stride, window, strict=True)
        )
        shape = (1, rows, columns, 6)
        for dtype in ("float32", "int8", "uint8"):
            weights = _weights(dtype, (6, *window, 3), 6, 0)
            chosen = options(
                "TransposeConvOptions", padding=padding, strideH=stride[0], strideW=stride[1]
            )
            operands = (ints(*shape), weights, _tensor(dtype, (1, 5, 4, 3)))
            label = f"{dtype} {padding} {stride} {window}"
            to = (_tensor(dtype, shape, 0.09),)
            yield TfliteCase("TRANSPOSE_CONV", label, operands, to, chosen)
            with_bias = (*operands, _bias(dtype, 6))
            yield TfliteCase("TRANSPOSE_CONV", f"{label} bias", with_bias, to, chosen)


def _dense() -> Iterator[TfliteCase]:
    for keep, shape in ((False, (6, 9)), (True, (2, 3, 9))):
        for activation in (0, 1, 3):
            chosen = options(
                "FullyConnectedOptions", keepNumDims=keep, fusedActivationFunction=activation
            )
            for dtype in ("float32", "int8", "uint8"):
                x = _tensor(dtype, (2, 3, 200))
                to = (_tensor(dtype, shape, 0.5),)
                for weights in (_weights(dtype, (9, 200), 9, 0), _one_scale(dtype, (9, 200))):
                    operands = (x, weights, _bias(dtype, 9))
                    label = f"{dtype} {keep} {activation} {len(weights.scale)}"
                    yield TfliteCase("FULLY_CONNECTED", label, operands, to, chosen)
                computed = (x, _tensor(dtype, (9, 200), 0.0113), None)
                label = f"{dtype} computed {keep} {activation}"
                yield TfliteCase("FULLY_CONNECTED", label, computed, to, chosen)
    for turn_a, turn_b in ((False, False), (True, False), (False, True)):
        a = T((2, 3, 20, 5) if turn_a else (2, 3, 5, 20))
        b = T((3, 7, 20) if turn_b else (3, 20, 7))
        chosen = options("BatchMatMulOptions", adjX=turn_a, adjY=turn_b)
        yield TfliteCase("BATCH_MATMUL", f"{turn_a} {turn_b}", (a, b), (T((2, 3, 5, 7)),), chosen)


def _one_scale(dtype: str, shape: tuple[int, ...]) -> T:
    if dtype != "int8":
        return _weights(dtype, shape, shape[0], 0)
    return stored(dtype, shape, 0.0113, 133, _RNG.integers(-127, 128, shape, np.int8))


def _state(*shape: int) -> T:
    return T(shape, variable=True)


def _recurrent() -> Iterator[TfliteCase]:
    batch, steps, inputs, hidden = 2, 4, 5, 3
    for first in (True, False):
        x = T((steps, batch, inputs) if first else (batch, steps, inputs))
        to = (T((steps, batch, hidden) if first else (batch, steps, hidden)),)
        for activation in (1, 4):
            operands = (x, *_rnn(inputs, hidden), _state(batch, hidden))
            chosen = options(
                "SequenceRNNOptions", timeMajor=first, fusedActivationFunction=activation
            )
            label = f"{first} {activation}"
            yield TfliteCase("UNIDIRECTIONAL_SEQUENCE_RNN", label, operands, to, chosen, calls=3)
        yield from _lstms(first)
        yield from _stored_lstms(first)
    operands = (T((batch, inputs)), *_rnn(inputs, hidden), _state(batch, hidden))
    chosen = options("RNNOptions", fusedActivationFunction=4)
    yield TfliteCase("RNN", "", operands, (T((batch, hidden)),), chosen, calls=3)
    for rank, memory, bias in ((1, 5, _floats(6)), (2, 3, _floats(6)), (3, 1, None)):
        chosen = options("SVDFOptions", rank=rank, fusedActivationFunction=1)
        matrices = (_half(6 * rank, inputs), _half(6 * rank, memory))
        operands = (T((batch, inputs)), *matrices, bias, _state(batch, 6 * rank * memory))
        yield TfliteCase("SVDF", f"rank {rank}", operands, (T((batch, 6)),), chosen, calls=4)
    yield from _stored_svdf()


def _stored_svdf() -> Iterator[TfliteCase]:
    """Cases of int8 SVDF with a 16-bit state, which overflows in the last case."""
    scales = ((0.05, 0.0113, 0.004), (0.031, 0.0171, 0.0023), (0.05, 0.0113, 0.0004))
    sizes = ((1, 5, True), (2, 3, True), (3, 1, False))
    for (x, weight, held), (rank, memory, biased) in zip(scales, sizes, strict=True):
        filters, batch = 6 * rank, 2
        features = _RNG.integers(-127, 128, (filters, 9), np.int8)
        times = _RNG.integers(-32767, 32768, (filters, memory), np.int16)
        operands = (
            stored("int8", (batch, 9), x),
            stored("int8", (filters, 9), weight, 128, features),
            stored("int16", (filters, memory), 0.00003, data=times),
            T.of(_RNG.integers(-(2**22), 2**22, 6, np.int32)) if biased else None,
            T((batch, filters * memory), "int16", scale=(held,), zero=(0,), variable=True),
        )
        to = stored("int8", (batch, 6), 0.05, 140)
        chosen = options("SVDFOptions", rank=rank, fusedActivationFunction=1)
        yield TfliteCase("SVDF", f"int8 rank {rank}", operands, (to,), chosen, calls=10)


def _lstms(first: bool) -> Iterator[TfliteCase]:
    """Cases of both kinds of LSTM layers, with time along the first or the second axis."""
    hidden = 3
    for clip, peepholes in ((0.0, False), (0.3, False), (0.4, True)):
        given = {"timeMajor": first, "fusedActivationFunction": 4, "cellClip": clip}
        label = f"{first} {clip} {peepholes}"
        chosen = options("UnidirectionalSequenceLSTMOptions", **given)
        operands = (_steps(2, first, 5), *_lstm(peepholes), *_lstm_states(2, 2), *[None] * 4)
        to = _steps(2, first, hidden)
        yield TfliteCase("UNIDIRECTIONAL_SEQUENCE_LSTM", label, operands, (to,), chosen, calls=3)
        for merge in (False, True):
            # With the batch first, concatenated results and a batch above 1, the runtime's kernel
            # reads beyond the end of the states, since it takes the width of the result for theirs.
            batch = 1 if merge and not first else 2
            chosen = options("BidirectionalSequenceLSTMOptions", mergeOutputs=merge, **given)
            both = (*_lstm(peepholes), *_lstm(peepholes), *_lstm_states(4, batch))
            operands = (_steps(batch, first, 5), *both, *[None] * 9)
            to = _steps(batch, first, 2 * hidden if merge else hidden)
            results, said = (to,) * (1 if merge else 2), f"{label} {merge}"
            yield TfliteCase(
                "BIDIRECTIONAL_SEQUENCE_LSTM", said, operands, results, chosen, calls=3
            )


def _stored_lstms(first: bool) -> Iterator[TfliteCase]:
    """Cases of int8 LSTMs with int16 cells and scales of powers of two; some gates saturate."""
    plain = ((11, 0.0, 0.02, 12), (15, 0.5, 0.004, -30), (9, 3.0, 0.09, 0))
    for bits, clip, size, zero in plain:
        yield _stored_lstm(first, f"stored {bits}", size, bits, zero, cellClip=clip)
    yield _stored_lstm(first, "coupled", 0.01, 11, 7, coupled=True)
    yield _stored_lstm(first, "projected", 0.01, 12, 3, outputs=7, coupled=first)
    yield _stored_lstm(first, "projection clipped", 0.01, 12, -9, outputs=4, projClip=0.2)
    yield _stored_lstm(first, "peepholes", 0.01, 11, 6, peepholes=3e-4)
    yield _stored_lstm(first, "saturating peepholes", 0.02, 13, 0, peepholes=0.1, coupled=first)
    yield _stored_lstm(first, "projected peepholes", 0.01, 12, 3, peepholes=1e-4, outputs=11)
    yield _stored_lstm(first, "normalised", 0.01, 11, 5, norms=3e-5)
    yield _stored_lstm(first, "normalised by much", 0.02, 12, 0, norms=4e-3, coupled=first)
    yield _stored_lstm(first, "normalised equals", 1e-6, 11, 5, norms=4e-4)
    given = {"norms": 2e-5, "peepholes": 1e-4, "outputs": 11, "coupled": not first}
    yield _stored_lstm(first, "normalised peepholes", 0.01, 12, 3, cellClip=0.4, **given)


def _stored_lstm(
    first: bool, label: str, size: float, bits: int, zero: int, *, outputs: int = 0,
    coupled: bool = False, peepholes: float = 0.0, norms: float = 0.0, **given: float,
) -> TfliteCase:  # fmt: skip
    """A case of an int8 LSTM: with a projection to `outputs`, or `coupled`, without an input gate.

    `peepholes` and `norms` are the scales of the weights of peepholes and of layer normalisation.
    """
    inputs, hidden = 5, 11
    width = outputs or hidden
    chosen = options(
        "UnidirectionalSequenceLSTMOptions", timeMajor=first, fusedActivationFunction=4, **given
    )
    gates: list[T | None] = [_small(size, hidden, n) for n in (inputs, width) for _ in range(4)]
    biases: list[T | None] = [_small_bias(hidden) for _ in range(4)]
    seen: list[T | None] = [_peephole(peepholes, hidden) if peepholes else None for _ in range(3)]
    scaled: list[T | None] = [_norm(norms, hidden) if norms else None for _ in range(4)]
    if coupled:
        seen[0] = gates[0] = gates[4] = biases[0] = scaled[0] = None
    projection = (_small(size, width, hidden), _small_bias(width)) if outputs else (None, None)
    output = {"scale": (0.0071,), "zero": (zero,)}
    state = T((2, width), "int8", variable=True, **output)
    cell = T((2, hidden), "int16", variable=True, scale=(2.0**-bits,))
    x = replace(_steps(2, first, inputs), dtype="int8", scale=(0.03,), zero=(5,))
    operands = (x, *gates, *seen, *biases, *projection, state, cell, *scaled)
    to = replace(_steps(2, first, width), dtype="int8", **output)
    between = {"scale": (0.0083,), "zero": (-4,)} if outputs else output
    sums = [T((0,), "int16", scale=(2.0**-12 * n,), zero=(0,)) for n in (1.0, 0.7, 1.3, 0.9)]
    within = (*sums, T((0,), "int8", **between))
    return TfliteCase(
        "UNIDIRECTIONAL_SEQUENCE_LSTM", f"{first} {label}", operands, (to,), chosen,
        calls=4, intermediates=within,
    )  # fmt: skip


def _peephole(scale: float, units: int) -> T:
    return T.of(_RNG.integers(-32767, 32768, units, np.int16), scale=(scale / 100,))


def _norm(scale: float, units: int) -> T:
    return T.of(_RNG.integers(-32767, 32768, units, np.int16), scale=(scale,))


def _small_bias(rows: int) -> T:
    return T.of(_RNG.integers(-2000, 2000, rows, np.int32), scale=(1e-4,))


def _small(size: float, rows: int, columns: int) -> T:
    """Stored weights for real numbers of up to `size` * 127."""
    data = _RNG.integers(-127, 128, (rows, columns), np.int8)
    return T.of(data, scale=(size * float(_RNG.uniform(0.5, 1.0)),))


def _steps(batch: int, first: bool, size: int) -> T:
    """A sequence of four steps."""
    return T((4, batch, size) if first else (batch, 4, size))


def _lstm(peepholes: bool) -> tuple[T | None, ...]:
    """The operands of one direction without projection, for 5 inputs and 3 units."""
    matrices = [_half(3, 5) for _ in range(4)] + [_half(3, 3) for _ in range(4)]
    seen = [_floats(3) if peepholes else None for _ in range(3)]
    return (*matrices, *seen, *(_floats(3) for _ in range(4)), None, None)


def _lstm_states(count: int, batch: int) -> list[T]:
    return [_state(batch, 3) for _ in range(count)]


def _rnn(inputs: int, hidden: int) -> tuple[T, T, T]:
    return _half(hidden, inputs), _half(hidden, hidden), _floats(hidden)


def _half(*shape: int) -> T:
    data: Array = _RNG.normal(size=shape) * 0.5
    return T.of(data.astype(np.float32))

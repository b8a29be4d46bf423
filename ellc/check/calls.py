"""The calls with which a network is checked, and what the reference returns for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate
from ellc.ir.types import Array, TensorType
from ellc.pictures.pixels import Geometry, Preprocessing, is_picture

CALLS_WITH_STATE = 3
"""The number of consecutive calls, for each seed, of a network with states."""
_SIGNAL_SPAN = 1.0


def plausible_inputs(graph: Graph, seed: int) -> tuple[Array, ...]:
    """Seeded random inputs in the range that a network expects.

    Float pictures (1 or 3 channels) are random pixels, preprocessed as the metadata describe
    (without a description: 0 to 255). Other floats are between -1 and 1. Booleans and bits have
    both values, and 8-bit integers their whole range. Wider integers are from 0 to 9, because they
    may be indices.
    """
    rng = np.random.default_rng(seed)
    preprocessing = Preprocessing.from_metadata(graph.metadata)
    return tuple(_plausible(type_, preprocessing, rng) for type_ in graph.input_types())


def _plausible(type_: TensorType, how: Preprocessing, rng: np.random.Generator) -> Array:
    dtype, shape = type_.dtype, type_.shape
    if dtype.is_float and is_picture(type_):
        picture = Geometry.of(type_)
        factor, offset = how.affine(picture.channels)
        axes = (-1, 1, 1) if picture.planes else (-1,)
        values = rng.integers(0, 256, shape) * factor.reshape(axes) + offset.reshape(axes)
        return np.asarray(values.astype(dtype.numpy))
    if dtype.is_float:
        return rng.uniform(-_SIGNAL_SPAN, _SIGNAL_SPAN, shape).astype(dtype.numpy)
    if not dtype.is_integer:
        return rng.integers(0, 2, shape).astype(np.bool_)
    info = np.iinfo(dtype.numpy)
    low, high = (info.min, info.max + 1) if info.bits == 8 else (0, 10)
    return rng.integers(low, high, shape).astype(dtype.numpy)


def calls_of(graph: Graph, seed: int) -> list[tuple[Array, ...]]:
    """The inputs of consecutive calls for a seed."""
    count = CALLS_WITH_STATE if graph.states else 1
    return [plausible_inputs(graph, seed * CALLS_WITH_STATE + i) for i in range(count)]


def references(graph: Graph, calls: Sequence[tuple[Array, ...]]) -> list[tuple[Array, ...]]:
    """The outputs of the reference for consecutive calls that begin with reset states."""
    outputs = []
    states: Mapping[str, Array] | None = None
    for inputs in calls:
        result = evaluate(graph, inputs, states=states)
        states = result.states
        outputs.append(typed(graph, result.outputs))
    return outputs


def typed(graph: Graph, outputs: Sequence[Array]) -> tuple[Array, ...]:
    """The outputs in the element types of the graph."""
    return tuple(as_type(x, t) for x, t in zip(outputs, graph.output_types(), strict=True))


def as_type(array: Array, type_: TensorType) -> Array:
    """The array in the element type of a value."""
    return np.asarray(array, type_.dtype.numpy)

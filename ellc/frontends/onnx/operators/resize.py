"""Imports Resize and Upsample."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import floor
from typing import TypeVar

import numpy as np

from ellc.frontends.graph_import.axes import axes_of
from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value, known
from ellc.frontends.onnx.images import to_pixels, to_planes
from ellc.frontends.onnx.model import OnnxNode
from ellc.frontends.onnx.operators.constants import to_dtype
from ellc.frontends.onnx.ports import TO_PIXELS
from ellc.frontends.onnx.registry import ONNX, operand, optional
from ellc.ir.ops.pointwise import Add, Mul
from ellc.ir.ops.resize import Resize
from ellc.ir.ops.resize_maps import AxisRule
from ellc.ir.ops.shape import Gather
from ellc.ir.types import Array, DType

T = TypeVar("T")
_MODES = {"nearest": "nearest", "linear": "linear", "bilinear": "linear", "cubic": "cubic"}


@dataclass(frozen=True, slots=True)
class _Target:
    """The new extent and the scale of every axis; `region` has all starts and then all ends."""

    sizes: tuple[int, ...]
    scales: tuple[float, ...]
    region: tuple[float, ...] = ()


@ONNX.imports("Upsample", limits="scales known at import")
def upsample(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Import the predecessor of `Resize`."""
    x = operand(inputs, 0)
    if node.version < 9:
        scales = node.numbers("scales")
    else:
        scales = _numbers(operand(inputs, 1), "the scales")
    return _old(emitter, node, x, scales)


@ONNX.imports("Resize", limits="scales or sizes known at import")
def resize(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Import nearest, linear or cubic interpolation along any axes, in every coordinate mode."""
    x = operand(inputs, 0)
    if node.version < 11:
        return _old(emitter, node, x, _numbers(operand(inputs, 1), "the scales"))
    coordinates = node.text("coordinate_transformation_mode", "half_pixel")
    target = _target(node, inputs, x.shape)
    node.ignore("nearest_mode", "cubic_coeff_a")  # each has an effect only in one of the modes
    op = Resize(
        target.sizes,
        _mode(node),
        coordinates,
        target.scales,
        node.text("nearest_mode", "round_prefer_floor"),
        node.number("cubic_coeff_a", -0.75),
        node.flag("exclude_outside"),
        node.flag("antialias"),
        target.region if coordinates == "tf_crop_and_resize" else (),
        node.number("extrapolation_value", 0.0),
    )
    return _resized(emitter, x, op)


def _old(emitter: Emitter, node: OnnxNode, x: Value, scales: Sequence[float]) -> Value:
    """Resize as before version 11, where the position of a result element is index / scale.

    The index of the nearest element is the position rounded down, or rounded up along an axis that
    shrinks (`get_nearest_pixel_` in ONNX Runtime's `upsample.cc`). If some axes shrink and others
    grow, the function adds two operators.
    """
    if len(scales) != x.type.rank or min(scales, default=1.0) <= 0:
        raise Unsupported(f"scales {tuple(scales)} of a tensor of shape {x.shape}")
    mode, sizes = _mode(node), _scaled(x.shape, scales)
    if sizes == x.shape:
        return x
    _want_elements(x.shape, sizes)
    shrinking, growing = (tuple(limit(s, 1.0) for s in scales) for limit in (min, max))
    if mode != "nearest" or min(shrinking, default=1.0) == 1:
        return _laid_out(emitter, x, Resize(sizes, mode, "asymmetric", tuple(scales), "floor"))
    above = Resize(_scaled(x.shape, shrinking), mode, "asymmetric", shrinking, "ceil")
    x = _laid_out(emitter, x, above)
    if max(growing) == 1:
        return x
    return _laid_out(emitter, x, Resize(sizes, mode, "asymmetric", growing, "floor"))


def resized_by(
    emitter: Emitter, x: Value, scales: Sequence[float], mode: str, coordinates: str
) -> Value:
    """Resize x by scales; the mode `nearest` rounds positions down."""
    sizes = _scaled(x.shape, scales)
    return _resized(emitter, x, Resize(sizes, mode, coordinates, tuple(scales), "floor"))


def _mode(node: OnnxNode) -> str:
    mode = node.text("mode", "nearest")
    if mode not in _MODES:
        raise Unsupported(f"the mode '{mode}'; nearest, linear and cubic are supported")
    return _MODES[mode]


def _resized(emitter: Emitter, x: Value, op: Resize) -> Value:
    """Resize x with the operator; return x itself if its shape would not change."""
    if op.sizes == x.shape:
        return x
    _want_elements(x.shape, op.sizes)
    return _laid_out(emitter, x, op)


def _want_elements(shape: tuple[int, ...], sizes: tuple[int, ...]) -> None:
    if 0 in sizes:
        raise Unsupported(f"its result of shape {sizes} has no elements; the operand is {shape}")


def _laid_out(emitter: Emitter, x: Value, op: Resize) -> Value:
    """Apply the operator to x, via NHWC if x has 4 axes; write out linear modes of integers."""
    if op.mode == "linear" and x.dtype.is_integer:
        return _between_integers(emitter, x, op)
    if x.type.rank != 4:
        return emitter.add(op, x)
    permuted = replace(
        op,
        sizes=_turned(op.sizes),
        scales=_turned(op.scales),
        roi=(*_turned(op.roi[:4]), *_turned(op.roi[4:])),
    )
    return to_planes(emitter, emitter.add(permuted, to_pixels(emitter, x)), 4)


def _between_integers(emitter: Emitter, x: Value, op: Resize) -> Value:
    """Interpolate integers linearly: sum the terms in float32, and truncate the sum.

    The terms are added in the order of `UpsampleBilinear` and `UpsampleTrilinear` in ONNX Runtime.
    """
    if op.antialias or op.coordinates == "tf_crop_and_resize":
        raise Unsupported(
            f"linear interpolation of {x.dtype.value} with antialias or tf_crop_and_resize; "
            "cast the operand to float32"
        )
    rank = x.type.rank
    changed = {a for a in range(rank) if op.sizes[a] != x.shape[a] or op.scales[a] != 1}
    axes = sorted(changed | set(range(rank)[-2 - rank % 2 :]))
    emitter.want_room(*(op.sizes[a] for a in axes))
    pairs = [_neighbours(_rule(op, x, axis)) for axis in axes]
    real, total = to_dtype(emitter, x, DType.F32), None
    for sides in product(*pairs):
        part, weight = real, np.ones((), np.float32)
        for axis, (index, share) in reversed(list(zip(axes, sides, strict=True))):
            part = emitter.add(Gather(axis), part, emitter.constant(index))
            weight = weight * share.reshape(-1, *(1,) * (rank - axis - 1))
        part = emitter.add(Mul(), part, emitter.constant(weight))
        total = part if total is None else emitter.add(Add(), total, part)
    return to_dtype(emitter, total or real, x.dtype)


def _rule(op: Resize, x: Value, axis: int) -> AxisRule:
    return AxisRule(x.shape[axis], op.sizes[axis], op.scales[axis], op.coordinates)


def _neighbours(rule: AxisRule) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Return (indices, weights) of the lower neighbours and (indices, weights) of the upper ones.

    If both neighbours are the same element, as at the last one, each has the weight 0.5.
    """
    last = np.float32(rule.extent - 1)
    at = np.clip(rule.positions(), 0, last)
    lower = at.astype(np.int32)
    upper = np.minimum(lower + 1, rule.extent - 1).astype(np.int32)
    below, above = (np.abs(at - side.astype(np.float32)) for side in (lower, upper))
    alone, half = lower == upper, np.float32(0.5)
    return (lower, np.where(alone, half, above)), (upper, np.where(alone, half, below))


def _turned(entries: tuple[T, ...]) -> tuple[T, ...]:
    return tuple(entries[a] for a in TO_PIXELS) if entries else ()


def _target(node: OnnxNode, inputs: Inputs, shape: tuple[int, ...]) -> _Target:
    rank = len(shape)
    axes = axes_of(node.integers("axes", tuple(range(rank))), rank)
    roi, scales, sizes = (
        () if value is None else _numbers(value, what)
        for value, what in (
            (optional(inputs, 1), "its region"),
            (optional(inputs, 2), "the list of scales"),
            (optional(inputs, 3), "the list of sizes"),
        )
    )
    policy = node.text("keep_aspect_ratio_policy", "stretch")
    if len(scales) == len(axes) and not sizes:
        every = _spread(scales, axes, (1.0,) * rank)
        new_shape = _scaled(shape, every)
    elif len(sizes) == len(axes) and not scales:
        new_shape, every = _sized(shape, axes, [int(s) for s in sizes], policy)
    else:
        raise Unsupported(
            f"its numbers of scales ({len(scales)}) and sizes ({len(sizes)}) do not fit its number"
            f" of axes ({len(axes)})"
        )
    if min(every, default=1.0) <= 0:
        raise Unsupported(f"scales {every}")
    region: tuple[float, ...] = ()
    if len(roi) == 2 * len(axes):
        starts = _spread(roi[: len(axes)], axes, (0.0,) * rank)
        region = (*starts, *_spread(roi[len(axes) :], axes, (1.0,) * rank))
    return _Target(new_shape, every, region)


def _sized(
    shape: tuple[int, ...], axes: tuple[int, ...], sizes: Sequence[int], policy: str
) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Return (sizes, scales) of all axes, computed from the new sizes of the named axes."""
    if not all(shape[a] for a in axes):
        raise Unsupported(f"sizes {list(sizes)} for {list(shape)}, which has no elements")
    ratios = [size / shape[a] for a, size in zip(axes, sizes, strict=True)]
    if policy in ("not_larger", "not_smaller"):
        ratio = min(ratios) if policy == "not_larger" else max(ratios)
        ratios = [ratio] * len(axes)
        # The product is rounded to float32, as in ONNX Runtime.
        sizes = [floor(float(np.float32(ratio) * np.float32(shape[a])) + 0.5) for a in axes]
    elif policy != "stretch":
        raise Unsupported(f"the policy '{policy}' is not supported")
    new_shape = list(shape)
    for axis, size in zip(axes, sizes, strict=True):
        new_shape[axis] = size
    rounded = [float(np.float32(r)) for r in ratios]
    return tuple(new_shape), _spread(rounded, axes, (1.0,) * len(shape))


def _scaled(shape: tuple[int, ...], scales: Sequence[float]) -> tuple[int, ...]:
    """Multiply extents by scales in float32, as ONNX Runtime does, and round down."""
    extents = [np.float32(e) * np.float32(s) for e, s in zip(shape, scales, strict=True)]
    if not np.isfinite(extents).all():
        raise Unsupported(f"scales {list(scales)} of {list(shape)}")
    return tuple(int(np.floor(e)) for e in extents)


def _spread(
    given: Sequence[float], axes: Sequence[int], others: tuple[float, ...]
) -> tuple[float, ...]:
    by_axis = dict(zip(axes, given, strict=True))
    return tuple(by_axis.get(a, other) for a, other in enumerate(others))


def _numbers(value: Value, what: str) -> tuple[float, ...]:
    array: Array = known(value, what)
    numbers = tuple(float(v) for v in array.reshape(-1).tolist())
    if not all(map(math.isfinite, numbers)):
        raise Unsupported(f"{what} contains numbers that are not finite: {numbers}")
    return numbers

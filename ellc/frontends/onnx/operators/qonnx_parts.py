"""Provides domains, constant operands and rounding modes for QONNX's operators."""

from __future__ import annotations

import numpy as np

from ellc.frontends.graph_import.broadcast import pointwise
from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value, known
from ellc.frontends.onnx.registry import operand
from ellc.ir.op import Op
from ellc.ir.ops.pointwise import Abs, Add, Ceil, Floor, Mul, Round, Sign
from ellc.ir.types import Array

DOMAINS = ("onnx.brevitas", "qonnx.custom_op.general", "finn.custom_op.general")
_ROUNDING: dict[str, Op] = {
    "ROUND": Round(),
    "HALF_EVEN": Round(),
    "CEIL": Ceil(),
    "FLOOR": Floor(),
}
# Rounding modes that are symmetric around 0: the number that is added to the magnitude, and the
# operator that rounds the sum.
_MIRRORED: dict[str, tuple[float, Op]] = {
    "UP": (0.0, Ceil()),
    "DOWN": (0.0, Floor()),
    "ROUND_TO_ZERO": (0.0, Floor()),
    "HALF_UP": (0.5, Floor()),
    "HALF_DOWN": (-0.5, Ceil()),
}


def names(operator: str) -> list[str]:
    """The names of an operator in every domain that QONNX has used over the years."""
    return [f"{domain}.{operator}" for domain in DOMAINS]


def constant_operand(inputs: Inputs, index: int, what: str) -> Array:
    """A constant operand as a float32 array with at least one axis."""
    return np.atleast_1d(known(operand(inputs, index), f"its {what}")).astype(np.float32)


def rounded(emitter: Emitter, mode: str, number: Value) -> Value:
    """Round a value by one of QONNX's modes; raise `Unsupported` for an unknown mode."""
    if mode in _ROUNDING:
        return emitter.add(_ROUNDING[mode], number)
    if mode not in _MIRRORED:
        known_modes = ", ".join([*_ROUNDING, *_MIRRORED])
        raise Unsupported(f"rounding_mode '{mode}'; {known_modes} are supported")
    offset, op = _MIRRORED[mode]
    size = emitter.add(Abs(), number)
    if offset:
        size = pointwise(emitter, Add(), size, emitter.constant(np.full(1, offset, np.float32)))
    return emitter.add(Mul(), emitter.add(op, size), emitter.add(Sign(), number))

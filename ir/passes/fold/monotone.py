"""Chains of pointwise functions, and a proof that they are monotone between two numbers.

The proof is for float32 arithmetic with its rounding: rounding to the nearest number is monotone,
so sums with a constant, products with a constant, minima, maxima and ReLU are. PReLU is if its
slope is not negative, or if its operand does not change its sign between the two numbers. The chain
of monotone functions is monotone. What it does between the two numbers is then between its results
for them, so it is also finite if all these results are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ellc.ir.graph import Node
from ellc.ir.op import Pointwise
from ellc.ir.ops.pointwise import (
    Add,
    Clip,
    Div,
    LeakyRelu,
    Maximum,
    Minimum,
    Mul,
    MulAdd,
    Neg,
    PRelu,
    Relu,
    Sub,
)
from ellc.ir.rewrite import Editor
from ellc.ir.types import Array, DType

_SHAPE = 4


@dataclass(frozen=True)
class Step:
    """A pointwise operator; all operands but the one at `position` are constants.

    The constants have four axes, as images have.
    """

    op: Pointwise
    position: int
    constants: tuple[Array, ...]

    def run(self, x: Array) -> Array:
        """The result as the reference computes it."""
        operands = (*self.constants[: self.position], x, *self.constants[self.position :])
        (result,) = self.op.reference(*operands)
        return result

    def is_monotone(self, ends: tuple[Array, Array]) -> bool:
        """Whether it rises or falls, for every element, between the two numbers in `ends`."""
        match self.op:
            case Add() | Sub() | Mul() | MulAdd() | Maximum() | Minimum():
                return True
            case Neg() | Relu() | Clip():
                return True
            case Div():
                return self.position == 0
            case LeakyRelu(slope=slope):
                return slope >= 0
            case PRelu() if self.position == 0:
                same_sign = (np.minimum(*ends) >= 0) | (np.maximum(*ends) <= 0)
                return bool(np.all((self.constants[0] >= 0) | same_sign))
        return False


@dataclass(frozen=True)
class Steps:
    """Steps, one after another."""

    steps: tuple[Step, ...] = ()

    def run(self, x: Array) -> Array:
        """The result of all steps."""
        for step in self.steps:
            x = step.run(x)
        return x

    def proved(self, low: Array, high: Array) -> tuple[Array, Array] | None:
        """The results for two numbers; None if the chain is not monotone or finite between them."""
        ends = (low, high)
        for step in self.steps:
            if not step.is_monotone(ends):
                return None
            ends = (step.run(ends[0]), step.run(ends[1]))
            if not (np.all(np.isfinite(ends[0])) and np.all(np.isfinite(ends[1]))):
                return None
        return ends

    @property
    def differ_by_pixel(self) -> bool:
        """Whether a constant differs between rows or columns."""
        return any(c.shape[1:3] != (1, 1) for step in self.steps for c in step.constants)


def step_of(editor: Editor, node: Node) -> Step | None:
    """A node as a step; None if it is none, or if an operand has more than one image."""
    if not isinstance(node.op, Pointwise) or editor.type(node.output).dtype is not DType.F32:
        return None
    arrays = [editor.array(v) for v in node.inputs]
    computed = [i for i, array in enumerate(arrays) if array is None]
    shape = editor.type(node.output).shape
    if len(computed) != 1 or len(shape) != _SHAPE:
        return None
    (position,) = computed
    if editor.type(node.inputs[position]).shape != shape:
        return None
    constants = [a.reshape((1,) * (_SHAPE - a.ndim) + a.shape) for a in arrays if a is not None]
    if any(c.shape[0] != 1 for c in constants):
        return None
    return Step(node.op, position, tuple(constants))

"""Lower one step of a recurrent layer to dense layers and pointwise operators."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ellc.ir.graph import Node
from ellc.ir.op import Op, Pointwise
from ellc.ir.ops.dense import Dense
from ellc.ir.ops.pointwise import Add, Clip, Mul, MulAdd
from ellc.ir.ops.recurrent import FastGRNNCell, GRUCell, LSTMCell, RNNCell
from ellc.ir.ops.shape import Slice, Split
from ellc.ir.rewrite import Editor


def lower_cell(editor: Editor, node: Node, op: RNNCell | GRUCell | LSTMCell | FastGRNNCell) -> None:
    """Replace a cell by operators with kernels."""
    step = _Step(editor, node)
    match op:
        case RNNCell():
            results = _rnn(step, op)
        case GRUCell():
            results = _gru(step, op)
        case LSTMCell():
            results = _lstm(step, op)
        case FastGRNNCell():
            results = _fast_grnn(step, op)
    editor.forward(node, *results)


@dataclass(frozen=True, slots=True)
class _Step:
    """Inserts operators before the cell."""

    editor: Editor
    node: Node

    def add(self, op: Op, *operands: str) -> str:
        """Insert one operator with one result."""
        return self.editor.insert(self.node, op, *operands, source=self.node.source)

    def split(self, value: str, count: int) -> tuple[str, ...]:
        """Insert a split into `count` equal parts along the last axis."""
        type_ = self.editor.type(value)
        size = type_.shape[-1] // count
        op = Split(type_.rank - 1, (size,) * count)
        return self.editor.insert_multi(self.node, op, value, source=self.node.source)

    def rows(self, weights: str, first: int, count: int) -> str:
        """`count` rows of weights from `first` on: a constant if the weights are constant."""
        type_ = self.editor.type(weights)
        exact = self.editor.exact(weights)
        if exact is not None:
            return self.editor.rounded(exact[first : first + count], type_.dtype)
        rest = type_.shape[1:]
        starts, steps = (first, *(0 for _ in rest)), (1,) * type_.rank
        return self.add(Slice(starts, (count, *rest), steps), weights)

    def number(self, value: float, like: str) -> str:
        """A constant of one element."""
        return self.editor.rounded(np.array([value]), self.editor.type(like).dtype)

    def within(self, value: str, limit: float) -> str:
        """The value clipped to -limit..limit."""
        return value if limit == math.inf else self.add(Clip(-limit, limit), value)

    def rest_of_one(self, gate: str) -> str:
        """1 - gate."""
        return self.add(MulAdd(), gate, self.number(-1.0, gate), self.number(1.0, gate))

    def blend(self, factor: str, new: str, gate: str, old: str) -> str:
        """factor * new + gate * old."""
        return self.add(Add(), self.add(Mul(), factor, new), self.add(Mul(), gate, old))

    def sum_of_products(self, x: str, h: str, wx: str, wh: str, bx: str, bh: str) -> str:
        """wx x + bx + wh h + bh."""
        return self.add(Add(), self.add(Dense(), h, wh, bh), self.add(Dense(), x, wx, bx))


def _rnn(step: _Step, op: RNNCell) -> tuple[str, ...]:
    total = step.sum_of_products(*step.node.inputs)
    return (step.add(op.activation, step.within(total, op.clip)),)


def _gru(step: _Step, op: GRUCell) -> tuple[str, ...]:
    x, h, wx, wh, bx, bh = step.node.inputs
    size = step.editor.type(h).shape[-1]

    def gate(*parts: str) -> str:
        total = step.within(step.add(Add(), *parts), op.clip)
        return step.add(op.recurrent_activation, total)

    xz, xr, xn = step.split(step.add(Dense(), x, wx, bx), 3)
    if op.reset_after:
        hz, hr, hn = step.split(step.add(Dense(), h, wh, bh), 3)
        reset = gate(xr, hr)
        inner = step.add(Mul(), reset, hn)
    else:
        first = step.add(Dense(), h, step.rows(wh, 0, 2 * size), step.rows(bh, 0, 2 * size))
        hz, hr = step.split(first, 2)
        reset = gate(xr, hr)
        last = step.rows(wh, 2 * size, size), step.rows(bh, 2 * size, size)
        inner = step.add(Dense(), step.add(Mul(), reset, h), *last)
    update = gate(xz, hz)
    new = step.add(op.activation, step.within(step.add(Add(), inner, xn), op.clip))
    return (step.blend(step.rest_of_one(update), new, update, h),)


def _lstm(step: _Step, op: LSTMCell) -> tuple[str, ...]:
    x, h, c, wx, wh, bx, bh = step.node.inputs[:7]
    size = step.editor.type(c).shape[-1]
    i, f, g, o = step.split(step.sum_of_products(x, h, wx, wh, bx, bh), 4)

    def gate(total: str, cell: str, index: int) -> str:
        if op.peepholes:
            through_peephole = step.add(
                Mul(), cell, step.rows(step.node.inputs[7], index * size, size)
            )
            total = step.add(Add(), total, through_peephole)
        return step.add(op.recurrent_activation, step.within(total, op.clip))

    write_gate = gate(i, c, 0)
    forget_gate = step.rest_of_one(write_gate) if op.coupled else gate(f, c, 1)
    new = step.add(op.activation, step.within(g, op.clip))
    cell = step.within(step.blend(write_gate, new, forget_gate, c), op.cell_clip)
    return (step.add(Mul(), step.add(op.output_activation, cell), gate(o, cell, 2)), cell)


def _fast_grnn(step: _Step, op: FastGRNNCell) -> tuple[str, ...]:
    x, h, *rest = step.node.inputs
    parts = []
    for value, rank in ((x, op.input_rank), (h, op.hidden_rank)):
        inner = step.add(Dense(), value, rest.pop(0)) if rank else value
        parts.append(step.add(Dense(), inner, rest.pop(0)))
    product = step.add(Add(), parts[1], parts[0])
    gate_bias, update_bias, zeta, nu = rest
    gate = _activated(step, op.gate, product, gate_bias)
    update = _activated(step, op.update, product, update_bias)
    factor = step.add(Add(), step.add(Mul(), step.rest_of_one(gate), zeta), nu)
    return (step.blend(factor, update, gate, h),)


def _activated(step: _Step, activation: Pointwise, product: str, bias: str) -> str:
    return step.add(activation, step.add(Add(), product, bias))

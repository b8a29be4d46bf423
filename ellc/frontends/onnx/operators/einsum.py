"""Imports Einstein summation: operands are multiplied one after another, as matrix products."""

from __future__ import annotations

import string
from math import prod

import numpy as np

from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.shapes import reshaped, transposed
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.onnx.model import OnnxNode
from ellc.frontends.onnx.operators.dense import NO_INTEGER_PRODUCTS
from ellc.frontends.onnx.registry import ONNX, operand
from ellc.ir.ops.dense import MatMul
from ellc.ir.ops.reduce import Reduce
from ellc.ir.ops.shape import Gather


@ONNX.imports("Einsum", limits="floating point", declines=(NO_INTEGER_PRODUCTS,))
def einsum(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The product of the operands, from left to right, summed over letters the result lacks."""
    operands = [operand(inputs, i) for i in range(len(inputs))]
    terms, result = _terms(node.text("equation"), operands)
    pairs = [
        _diagonals(emitter, value, letters) for value, letters in zip(operands, terms, strict=True)
    ]
    while len(pairs) > 1:
        (a, left), (b, right), *rest = pairs
        wanted = set(result).union(*(letters for _, letters in rest))
        pairs = [_product(emitter, a, left, b, right, wanted), *rest]
    ((value, letters),) = pairs
    value, letters = _summed(emitter, value, letters, set(result))
    if sorted(letters) != sorted(result):
        raise Unsupported(f"the operands do not have all letters of the result '{result}'")
    return transposed(emitter, value, tuple(letters.index(c) for c in result))


def _terms(equation: str, operands: list[Value]) -> tuple[list[str], str]:
    """The letters of each operand's axes, and the letters of the result's axes.

    An ellipsis is replaced by letters that the equation does not use.
    """
    text = equation.replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(operands):
        raise Unsupported(
            f"the number of terms in '{equation}' is {len(terms)}, that of operands {len(operands)}"
        )
    free = [c for c in string.ascii_letters if c not in text]
    hidden = [v.type.rank - len(t) + 3 for t, v in zip(terms, operands, strict=True) if "..." in t]
    common = "".join(free[: max(hidden, default=0)])
    shown = []
    for term, value in zip(terms, operands, strict=True):
        count = value.type.rank - len(term) + 3
        shown.append(term.replace("...", common[len(common) - count :] if count > 0 else ""))
        if len(shown[-1]) != value.type.rank:
            raise Unsupported(f"'{term}' for an operand of rank {value.type.rank}")
    if arrow:
        return shown, right.replace("...", common)
    letters = "".join(shown)
    once = sorted(c for c in set(letters) - set(common) if letters.count(c) == 1)
    return shown, common + "".join(once)


def _diagonals(emitter: Emitter, value: Value, letters: str) -> tuple[Value, str]:
    """Take the diagonal for each repeated letter; also return the remaining letters."""
    for letter in dict.fromkeys(letters):
        while letters.count(letter) > 1:
            first = letters.index(letter)
            second = letters.index(letter, first + 1)
            others = [a for a in range(len(letters)) if a not in (first, second)]
            extent = value.shape[first]
            if value.shape[second] != extent:
                raise Unsupported(f"'{letter}' has the extents {extent} and {value.shape[second]}")
            permuted = transposed(emitter, value, (*others, first, second))
            flat = reshaped(emitter, permuted, (*permuted.shape[:-2], extent * extent))
            positions = emitter.constant(emitter.counted(extent, dtype=np.int32) * (extent + 1))
            value = emitter.add(Gather(len(others)), flat, positions)
            letters = "".join(letters[a] for a in others) + letter
    return value, letters


def _summed(emitter: Emitter, value: Value, letters: str, wanted: set[str]) -> tuple[Value, str]:
    """Sum a value over all axes whose letter is not wanted; also return the remaining letters."""
    axes = tuple(a for a, c in enumerate(letters) if c not in wanted)
    if axes:
        value = emitter.add(Reduce("sum", axes, False), value)
    return value, "".join(c for c in letters if c in wanted)


def _product(
    emitter: Emitter, a: Value, left: str, b: Value, right: str, wanted: set[str]
) -> tuple[Value, str]:
    """Multiply two operands, and sum over letters that are not wanted; also return the rest."""
    a, left = _summed(emitter, a, left, wanted | set(right))
    b, right = _summed(emitter, b, right, wanted | set(left))
    both = [c for c in left if c in right]
    batch = [c for c in both if c in wanted]
    inner = [c for c in both if c not in wanted]
    rows = [c for c in left if c not in right]
    columns = [c for c in right if c not in left]
    extent = {
        **dict(zip(right, b.shape, strict=True)),
        **dict(zip(left, a.shape, strict=True)),
    }
    if any(b.shape[right.index(c)] != extent[c] for c in both):
        raise Unsupported("axes with the same letter have different extents")

    def grouped(value: Value, letters: str, groups: list[list[str]]) -> Value:
        order = [letters.index(c) for group in groups for c in group]
        permuted = transposed(emitter, value, tuple(order))
        return reshaped(emitter, permuted, tuple(prod(extent[c] for c in g) for g in groups))

    result = emitter.add(
        MatMul(),
        grouped(a, left, [batch, rows, inner]),
        grouped(b, right, [batch, inner, columns]),
    )
    letters = "".join([*batch, *rows, *columns])
    return reshaped(emitter, result, tuple(extent[c] for c in letters)), letters

"""Predicts the cycles of a function from the issue rules of its core."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ellc.codegen.kir.in_order.code import Code, Loop, Node
from ellc.codegen.kir.in_order.encoding import Encoding
from ellc.codegen.kir.in_order.placing import LEAST_PRODUCTS
from ellc.codegen.machine.pipeline import Issue, cycles_of, loop_cycles

_MANY_LOADS = 8
"""The fewest loads of a block for which also code with loads in parts is tried. Thousands of
modelled cycles on pi3_64 of F(4x4), 28x28, 16 -> 64 channels: loads of whole vectors 1,197, in
parts 1,145."""


def predicted_cycles(nodes: Sequence[Node], encoding: Encoding, rows: Mapping[str, Issue]) -> float:
    """The cycles of a function. Loops with an unknown number of trips count as `Loop.trips`."""
    total = 0.0
    for node in nodes:
        if isinstance(node, Code):
            total += cycles_of([encoding.timed(op) for op in node.ops], rows)
        else:
            total += node.trips * trip_cycles(node, encoding, rows)
    return total


def trip_cycles(loop: Loop, encoding: Encoding, rows: Mapping[str, Issue]) -> float:
    """The cycles of a trip of a loop."""
    match loop.body:
        case [Code() as only]:
            ops = (*only.ops, *loop.latch)
            return loop_cycles([encoding.timed(op) for op in ops], rows)
    return predicted_cycles(loop.body, encoding, rows) + len(loop.latch)


def is_dense(block: Code) -> bool:
    """Whether a block has many multiply-adds."""
    return sum(op.kind == "multiply_add" for op in block.ops) >= LEAST_PRODUCTS


def dense_loops(nodes: Sequence[Node]) -> Iterator[Loop]:
    """The innermost loops that consist of many multiply-adds."""
    for node in nodes:
        if isinstance(node, Loop):
            match node.body:
                case [Code() as only]:
                    if is_dense(only):
                        yield node
                case _:
                    yield from dense_loops(node.body)


def counts_bits(nodes: Sequence[Node]) -> bool:
    """Whether a block adds up many counts of bits."""
    for node in nodes:
        if isinstance(node, Loop):
            if counts_bits(node.body):
                return True
        elif sum(op.kind == "vector_logic" for op in node.ops) >= LEAST_PRODUCTS:
            return True
    return False


def loads_much(nodes: Sequence[Node]) -> bool:
    """Whether there is a loop of straight-line code that is full of loads of whole vectors."""
    for node in nodes:
        if isinstance(node, Loop) and not node.peeled:
            match node.body:
                case [Code() as only]:
                    if sum(op.kind == "vector_load" for op in only.ops) >= _MANY_LOADS:
                        return True
                case _:
                    if loads_much(node.body):
                        return True
    return False


def steady_loops(nodes: Sequence[Node]) -> Iterator[Loop]:
    """The loops whose loads are placed between multiply-adds."""
    for node in nodes:
        if isinstance(node, Loop):
            if node.peeled:
                yield node
            yield from steady_loops(node.body)

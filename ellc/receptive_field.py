"""Receptive fields: the part of the network's input on which one element of a value depends.

Fields are derived axis by axis from `Op.reads`, in which operators declare what they read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ellc.ir.graph import LAYOUT_KEY, Graph, Node
from ellc.ir.reads import Reads, Shape

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Side:
    """The rows or the columns of a field, in input pixels, including padding.

    The field moves by `stride` pixels from one element to the next along `axis` of the value.
    `axis` is None if all elements have the same field.
    """

    axis: int | None
    size: int = 1
    stride: int = 1

    def read_by(self, reads: Reads, shape: Shape) -> Side | None:
        """The side for the result of an operator; `reads` and `shape` describe the operand.

        Returns None if the result may depend on the whole input.
        """
        if self.axis is None:
            return self
        along = reads[self.axis]
        if along is None:
            return replace(self, axis=None) if shape[self.axis] == 1 else None
        size = self.size + (along.extent - 1) * self.stride
        return Side(along.axis, size, self.stride * abs(along.stride))


@dataclass(frozen=True, slots=True)
class Field:
    """The rows and columns of the input on which an element depends; None stands for all."""

    rows: Side | None
    columns: Side | None

    @property
    def size(self) -> Pair | None:
        """The number of rows and columns; None if the field is the whole input."""
        if self.rows is None or self.columns is None:
            return None
        return (self.rows.size, self.columns.size)

    @property
    def stride(self) -> Pair | None:
        """The pixels between the fields of neighbouring elements; None for the whole input."""
        if self.rows is None or self.columns is None:
            return None
        return (self.rows.stride, self.columns.stride)

    def read_by(self, reads: Reads, shape: Shape) -> Field:
        """The field for the result of an operator; `reads` and `shape` describe the operand."""
        sides = (self.rows, self.columns)
        return Field(*(side and side.read_by(reads, shape) for side in sides))


EVERYTHING = Field(None, None)


def fields(graph: Graph) -> Iterator[Field | None]:
    """For each node in order, the field of its first result; None if that depends on no input."""
    planes = graph.metadata.get(LAYOUT_KEY) == "NCHW"
    image = Field(Side(2), Side(3)) if planes else Field(Side(1), Side(2))
    known = {
        port.value: image if graph.types[port.value].rank == 4 else EVERYTHING
        for port in graph.inputs
    }
    known |= {state.current: EVERYTHING for state in graph.states}
    for node in graph.nodes:
        for index, value in enumerate(node.outputs):
            if (field := _field(graph, node, index, known)) is not None:
                known[value] = field
        yield known.get(node.outputs[0])


def _field(graph: Graph, node: Node, index: int, known: dict[str, Field]) -> Field | None:
    """The field of one result; None if it does not depend on the network's inputs."""
    operands, results = graph.node_types(node)
    of_operands = [
        known[value].read_by(reads, type_.shape)
        for value, reads, type_ in zip(
            node.inputs, node.op.reads(operands, results, index), operands, strict=True
        )
        if value in known
    ]
    if not of_operands:
        return None
    return Field(_joined([f.rows for f in of_operands]), _joined([f.columns for f in of_operands]))


def _joined(sides: Sequence[Side | None]) -> Side | None:
    """The smallest side that covers all `sides`.

    Returns None, the whole input, if one of them is None or if two move along different axes.
    """
    certain = [side for side in sides if side is not None]
    axes = {side.axis for side in certain if side.axis is not None}
    if len(certain) < len(sides) or len(axes) > 1:
        return None
    axis = axes.pop() if axes else None
    return Side(axis, max(s.size for s in certain), max(s.stride for s in certain))

"""Build a graph node by node: the public Python interface."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ellc.ir.graph import Constant, Graph, Node, Port, State
from ellc.ir.nested import adopted
from ellc.ir.op import Op
from ellc.ir.types import Array, DType, Quant, TensorType, type_of
from ellc.ir.weights import WeightPool


@dataclass(frozen=True, slots=True)
class Ref:
    """A value of a graph under construction."""

    id: str
    type: TensorType


class GraphBuilder:
    """Collects nodes in order, and infers the types of their results when they are added.

    >>> b = GraphBuilder("tiny")
    >>> x = b.input("x", TensorType(DType.F32, (1, 4, 4, 1)))
    >>> b.output("y", b.add(Relu(), x))
    >>> graph = b.build()
    """

    def __init__(self, name: str, weights: WeightPool | None = None) -> None:
        self._name = name
        self._weights = WeightPool() if weights is None else weights
        self._inputs: list[Port] = []
        self._outputs: list[Port] = []
        self._nodes: list[Node] = []
        self._types: dict[str, TensorType] = {}
        self._constants: dict[tuple[str, DType], str] = {}
        self._states: list[State] = []
        self._metadata: dict[str, str] = {}
        self._pending: dict[str, tuple[str, str]] = {}

    def input(self, name: str, type: TensorType) -> Ref:
        """Add a public input."""
        ref = self._new(type, "in")
        self._inputs.append(Port(name, ref.id))
        return ref

    def output(self, name: str, value: Ref) -> None:
        """Make a value a public output."""
        self._outputs.append(Port(name, value.id))

    def describe(self, value: Ref, quant: Quant) -> None:
        """Note a value's quantisation for the user, unless its type already has a quantisation."""
        type_ = self._types[value.id]
        if type_.quant is None:
            self._types[value.id] = replace(type_, quant=quant)

    def constant(self, array: Array, dtype: DType | None = None) -> Ref:
        """Add a constant; equal arrays share one value.

        With `dtype=DType.BIT`, a bool array is stored as bits.
        """
        data = np.asarray(array)
        kind = dtype or DType.of(data.dtype)
        key = self._weights.add(data)
        if (key, kind) not in self._constants:
            self._constants[key, kind] = self._new(type_of(data, kind), "c").id
        value = self._constants[key, kind]
        return Ref(value, self._types[value])

    def state(self, name: str, initial: Array) -> Ref:
        """Add a state and return its current value; `set_state` sets its next value."""
        data = np.asarray(initial)
        ref = self._new(type_of(data), "s")
        self._pending[name] = (ref.id, self._weights.add(data))
        return ref

    def set_state(self, name: str, value: Ref) -> None:
        """Set the value that the state `name` holds after the call."""
        current, key = self._pending.pop(name)
        self._states.append(State(name, current, value.id, key))

    def add_multi(self, op: Op, *operands: Ref, source: str | tuple[str, ...] = ()) -> list[Ref]:
        """Apply an operator; returns one `Ref` per result. Raises `ShapeError`."""
        op = adopted(op, self._weights)
        results = [self._new(t, "v") for t in op.infer(*(r.type for r in operands))]
        names = (source,) if isinstance(source, str) else source
        ids = tuple(r.id for r in results)
        self._nodes.append(Node(op, tuple(r.id for r in operands), ids, names))
        return results

    def add(self, op: Op, *operands: Ref, source: str | tuple[str, ...] = ()) -> Ref:
        """Apply an operator that has one result."""
        (result,) = self.add_multi(op, *operands, source=source)
        return result

    def metadata(self, entries: Mapping[str, str]) -> None:
        """Add metadata (labels, preprocessing)."""
        self._metadata.update(entries)

    def build(self) -> Graph:
        """The finished graph; raises `ValueError` if a state has no next value."""
        if self._pending:
            raise ValueError(f"states without a next value: {sorted(self._pending)}")
        constants = tuple(Constant(v, key) for (key, _), v in self._constants.items())
        return Graph(
            self._name,
            tuple(self._inputs),
            tuple(self._outputs),
            tuple(self._nodes),
            self._types,
            constants,
            tuple(self._states),
            self._metadata,
            self._weights,
        )

    def _new(self, type: TensorType, prefix: str) -> Ref:
        ref = Ref(f"{prefix}{len(self._types)}", type)
        self._types[ref.id] = type
        return ref

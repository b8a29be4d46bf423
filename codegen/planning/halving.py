"""Computes in half precision (float16) where the graph asks for it and kernels can do it.

Inputs, outputs and states of the network stay float32. Convolutions and dense layers read and write
float16, and so do the layers between them in `IN_HALF`. All others compute in float32; numbers are
converted in front of them and behind them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from ellc.codegen.machine.target import Target
from ellc.ir.errors import EllcError
from ellc.ir.graph import ARITHMETIC_KEY, HALF, Constant, Graph, Node
from ellc.ir.op import Op
from ellc.ir.ops import activations, arithmetic, functions
from ellc.ir.ops.cast import Cast
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.dense import Dense
from ellc.ir.ops.fused import Fused
from ellc.ir.ops.padding import Pad
from ellc.ir.ops.pool import MaxPool2D
from ellc.ir.ops.shape import Concat, Reshape, Slice, Transpose
from ellc.ir.types import DType

PRODUCTS: tuple[type[Op], ...] = (Conv2D, Dense)
"""Operators for whose sake numbers are converted to float16."""
POINTWISE: tuple[type[Op], ...] = (
    arithmetic.Add,
    arithmetic.Sub,
    arithmetic.Mul,
    arithmetic.Minimum,
    arithmetic.Maximum,
    activations.Relu,
    activations.LeakyRelu,
    activations.Clip,
    activations.HardSigmoid,
    activations.HardSwish,
    activations.PRelu,
    activations.Sigmoid,
    activations.Tanh,
    activations.Elu,
    activations.Selu,
    activations.Softplus,
    activations.Gelu,
    activations.Swish,
    activations.Mish,
    activations.Celu,
    functions.Abs,
    functions.Neg,
)
"""Operators that may also be stages of others. Their results are hardly larger than their operands.
Kernels compute the elementary functions among them in float32, and round the result."""
IN_HALF = (*PRODUCTS, *POINTWISE, MaxPool2D, Reshape, Transpose, Concat, Slice, Pad)
"""Operators that compute in float16 if their operands have this type."""


@dataclass(frozen=True, slots=True)
class Halved:
    """A graph with float16 values, and how many of its layers of products have them.

    `asked` is false if the graph asks for nothing, and is then unchanged.
    """

    graph: Graph
    asked: bool = False
    layers: int = 0
    others: int = 0

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know."""
        if not self.asked:
            return ()
        count = {0: "no layer computes", 1: "1 layer computes"}.get(
            self.layers, f"{self.layers} layers compute"
        )
        rest = f"; {self.others} with products in float32" if self.others else ""
        return (f"fp16: {count} products in float16{rest}",)


def halved(graph: Graph, target: Target) -> Halved:
    """The graph with float16 values, if its metadata ask for half precision.

    A layer whose weights do not fit in float16, or whose weights are computed, stays in float32.
    Raises `EllcError` E607 if the target cannot compute in float16, and E606 if the graph has
    inputs, outputs or states of this type.
    """
    interface = (*graph.inputs, *graph.outputs)
    values = {port.value: port.name for port in interface}
    values |= {state.current: state.name for state in graph.states}
    if found := [n for v, n in values.items() if graph.types[v].dtype is DType.F16]:
        raise EllcError(
            f"inputs, outputs and states cannot be float16: {', '.join(found)}",
            code="E606",
            hint="use float32 there; --fp16 converts numbers between layers",
        )
    asked = graph.metadata.get(ARITHMETIC_KEY) == HALF
    if not asked and not any(t.dtype is DType.F16 for t in graph.types.values()):
        return Halved(graph)
    if not (target.has("fp16") and target.isa.always_has_neon):
        raise EllcError(
            f"{target.name} ({target.cpu}) has no arithmetic in half precision",
            code="E607",
            hint="leave out --fp16, or choose a target with it: pi5, imx93, mac; "
            "`--weights f16` stores weights in 16 bits and computes in float32",
        )
    return _Halving(graph).halved() if asked else Halved(graph)


def can_halve(op: Op) -> bool:
    """Whether kernels can compute an operator in float16."""
    if isinstance(op, Fused):
        return isinstance(op.anchor, IN_HALF) and all(
            isinstance(s.op, POINTWISE) for s in op.stages
        )
    return isinstance(op, IN_HALF)


@dataclass
class _Halving:
    """Rewrites a graph node by node."""

    graph: Graph
    nodes: list[Node] = field(default_factory=list)
    layers: int = 0
    others: int = 0

    def __post_init__(self) -> None:
        self._keys = {c.value: c.key for c in self.graph.constants}
        self._constants = list(self.graph.constants)
        self._types = dict(self.graph.types)
        self._half: dict[str, str] = {}
        self._full: dict[str, str] = {}

    def halved(self) -> Halved:
        for node in self.graph.nodes:
            if self._is_chosen(node):
                self._compute_in_half(node)
            else:
                self.nodes.append(replace(node, inputs=tuple(map(self._as_full, node.inputs))))
        outputs = tuple(replace(p, value=self._as_full(p.value)) for p in self.graph.outputs)
        states = tuple(replace(s, next=self._as_full(s.next)) for s in self.graph.states)
        used = {v for node in self.nodes for v in node.inputs}
        used |= {p.value for p in outputs} | {s.next for s in states}
        graph = replace(
            self.graph,
            nodes=tuple(self.nodes),
            constants=tuple(c for c in self._constants if c.value in used),
            types=self._types,
            outputs=outputs,
            states=states,
        )
        return Halved(graph, True, self.layers, self.others)

    def _is_chosen(self, node: Node) -> bool:
        anchor = node.op.anchor if isinstance(node.op, Fused) else node.op
        is_product = isinstance(anchor, PRODUCTS)
        types = [self.graph.types[v] for v in (*node.inputs, *node.outputs)]
        chosen = (
            can_halve(node.op)
            and all(t.dtype is DType.F32 for t in types)
            and all(self._fits(v) for v in node.inputs if v in self._keys)
        )
        variable = [v for v in node.inputs if v not in self._keys]
        if is_product:
            operands = node.op.operands if isinstance(node.op, Fused) else len(node.inputs)
            chosen = chosen and all(v in self._keys for v in node.inputs[1:operands])
            self.layers += chosen
            self.others += not chosen and types[0].dtype is DType.F32
            return chosen
        return chosen and bool(variable) and all(v in self._full_of for v in variable)

    @property
    def _full_of(self) -> frozenset[str]:
        """The values of the old graph that are float16 in the new one."""
        return frozenset(v for v in self._half if self._half[v] == v)

    def _fits(self, constant: str) -> bool:
        with np.errstate(over="ignore"):
            rounded = self.graph.weights[self._keys[constant]].astype(np.float16)
        return bool(np.isfinite(rounded).all())

    def _compute_in_half(self, node: Node) -> None:
        inputs = tuple(map(self._as_half, node.inputs))
        self.nodes.append(replace(node, inputs=inputs))
        for value in node.outputs:
            self._types[value] = replace(self._types[value], dtype=DType.F16)
            self._half[value] = value

    def _as_half(self, value: str) -> str:
        """The float16 version of a value; it is made if there is none."""
        if value not in self._half:
            self._half[value] = self._fresh(f"{value}.{HALF}", value, DType.F16)
            if value in self._keys:
                rounded = self.graph.weights[self._keys[value]].astype(np.float16)
                key = self.graph.weights.add(rounded)
                self._constants.append(Constant(self._half[value], key))
            else:
                self._convert(value, self._half[value], DType.F16)
        return self._half[value]

    def _as_full(self, value: str) -> str:
        """The float32 version of a value; the value itself if it is not float16."""
        if self._half.get(value) != value:
            return value
        if value not in self._full:
            self._full[value] = self._fresh(f"{value}.f32", value, DType.F32)
            self._convert(value, self._full[value], DType.F32)
        return self._full[value]

    def _convert(self, value: str, to: str, dtype: DType) -> None:
        self.nodes.append(Node(Cast(dtype), (value,), (to,)))

    def _fresh(self, name: str, like: str, dtype: DType) -> str:
        new = next(n for n in _names(name) if n not in self._types)
        self._types[new] = replace(self.graph.types[like], dtype=dtype)
        return new


def _names(name: str) -> Iterator[str]:
    while True:
        yield name
        name += "_"

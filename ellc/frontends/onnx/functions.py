"""Inlines functions: replaces every call of a function in the model with the function's nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from ellc.frontends.onnx.model import (
    Attribute,
    AttributeReference,
    OnnxFunction,
    OnnxGraph,
    OnnxModel,
    OnnxNode,
)
from ellc.ir.errors import EllcError

_DEPTH = 32
# Functions that call functions can double the number of nodes at each level. So the inlined graph
# may have at most `_MOST_NODES` nodes, plus `_MOST_PER_NODE` nodes for each node in the file.
_MOST_NODES, _MOST_PER_NODE = 10_000, 10


def without_calls(model: OnnxModel, most_nodes: int, where: str) -> OnnxGraph:
    """Inline all calls of functions in the main graph.

    Raises `EllcError`: E203 if the result has too many nodes, or if calls are nested too deeply;
    E210 if a call has more operands or results than the function.
    """
    if not model.functions:
        return model.graph
    written = len(model.graph.nodes) + sum(len(f.nodes) for f in model.functions.values())
    limit = min(most_nodes, _MOST_NODES + _MOST_PER_NODE * written)
    return _Inliner(model.functions, limit, where).graph(model.graph, _Scope())


@dataclass(frozen=True, slots=True)
class _Scope:
    """The names and attributes that the nodes of a function get in one call of it."""

    names: Mapping[str, str] | None = None  # None in the main graph, whose names are kept
    prefix: str = ""
    attributes: Mapping[str, Attribute | None] | None = None
    depth: int = 0

    def name(self, name: str) -> str:
        if not name or self.names is None:
            return name
        return self.names.get(name, self.prefix + name)


@dataclass(slots=True)
class _Inliner:
    functions: Mapping[tuple[str, str, str], OnnxFunction]
    most_nodes: int
    where: str
    inlined: int = 0
    calls: int = 0

    def graph(self, graph: OnnxGraph, scope: _Scope) -> OnnxGraph:
        return OnnxGraph(
            tuple(replace(i, name=scope.name(i.name)) for i in graph.inputs),
            tuple(map(scope.name, graph.outputs)),
            tuple(self.nodes(graph.nodes, scope)),
            MappingProxyType({scope.name(n): t for n, t in graph.constants.items()}),
        )

    def nodes(self, nodes: Sequence[OnnxNode], scope: _Scope) -> Iterator[OnnxNode]:
        for node in nodes:
            self.inlined += 1
            if self.inlined > self.most_nodes or scope.depth > _DEPTH:
                raise EllcError(
                    f"the model has more than {self.most_nodes} nodes after inlining its "
                    f"functions, or calls are nested more than {_DEPTH} deep",
                    code="E203",
                    where=self.where,
                )
            resolved = self.resolved(node, scope)
            function = self.functions.get((node.domain, node.operator, node.overload))
            if function is None:
                yield resolved
            else:
                yield from self.body(function, resolved, scope.depth + 1)

    def resolved(self, node: OnnxNode, scope: _Scope) -> OnnxNode:
        """A copy of a node with the names and attributes that the scope gives it."""
        attributes = {}
        for key, value in node.attributes.items():
            if isinstance(value, AttributeReference):
                given = (scope.attributes or {}).get(value.name)
                if given is not None:
                    attributes[key] = given
            elif isinstance(value, OnnxGraph):
                attributes[key] = self.graph(value, scope)
            else:
                attributes[key] = value
        return replace(
            node,
            name=scope.prefix + node.name if node.name else "",
            inputs=tuple(map(scope.name, node.inputs)),
            outputs=tuple(map(scope.name, node.outputs)),
            captured=tuple(map(scope.name, node.captured)),
            attributes=MappingProxyType(attributes),
            asked=set(),
        )

    def body(self, function: OnnxFunction, call: OnnxNode, depth: int) -> Iterator[OnnxNode]:
        """The nodes of a function, which read the operands of a call and make its results."""
        if len(call.inputs) > len(function.inputs) or len(call.outputs) > len(function.outputs):
            raise EllcError(
                f"'{call.label}' has more operands or results than the function '{call.operator}'",
                code="E210",
                where=self.where,
            )
        self.calls += 1
        inputs = dict.fromkeys(function.inputs, "")
        inputs.update(zip(function.inputs, call.inputs, strict=False))
        outputs = dict(zip(function.outputs, call.outputs, strict=False))
        names = {**inputs, **{formal: actual for formal, actual in outputs.items() if actual}}
        attributes = {**function.attributes, **call.attributes}
        prefix = f"{call.label}.{self.calls}/"
        yield from self.nodes(function.nodes, _Scope(names, prefix, attributes, depth))

"""Reduce an ONNX model to the smallest model that still fails."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx_models import model

from ellc.ir.types import Array


@dataclass(frozen=True)
class Case:
    """The parts of a model with one output, and arrays for its inputs."""

    nodes: tuple[onnx.NodeProto, ...]
    inputs: Mapping[str, Array]
    constants: Mapping[str, Array]
    output: str

    @classmethod
    def of(cls, proto: onnx.ModelProto, inputs: Mapping[str, Array], output: str) -> Case:
        """The part of a model that computes one of its values."""
        constants = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
        return cls(tuple(proto.graph.node), inputs, constants, output).pruned()

    @property
    def proto(self) -> onnx.ModelProto:
        """The model."""
        return model(self.nodes, self.inputs, [self.output], self.constants)

    def pruned(self) -> Case:
        """The case without nodes and inputs that its output does not need."""
        needed, nodes = {self.output}, []
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                nodes.append(node)
                needed.update(_reads(node))
        return Case(
            tuple(reversed(nodes)),
            {name: x for name, x in self.inputs.items() if name in needed},
            {name: x for name, x in self.constants.items() if name in needed},
            self.output,
        )


def minimised(case: Case, fails: Callable[[Case], bool]) -> Case:
    """The smallest failing case: nodes, then elements, are removed while the case still fails."""
    for forms in (_earlier_outputs, _later_inputs, _constant_inputs, _smaller):
        simpler: Case | None = case
        while simpler is not None:
            case = simpler
            simpler = next((form for form in forms(case) if _sound(form) and fails(form)), None)
    return case


def _sound(case: Case) -> bool:
    try:
        ReferenceEvaluator(case.proto).run(None, dict(case.inputs))
    except Exception:  # the smaller case is not a valid model
        return False
    return bool(case.inputs)


def _values(case: Case) -> dict[str, Array]:
    """The arrays of all values between nodes."""
    names = [name for node in case.nodes for name in node.output if name]
    exposed = model(case.nodes, case.inputs, names, case.constants)
    return dict(zip(names, ReferenceEvaluator(exposed).run(None, dict(case.inputs)), strict=True))


def _earlier_outputs(case: Case) -> Iterator[Case]:
    for node in case.nodes[:-1]:
        for name in filter(None, node.output):
            yield Case(case.nodes, case.inputs, case.constants, name).pruned()


def _later_inputs(case: Case) -> Iterator[Case]:
    """Cases in which a computed value becomes an input, starting with the last value."""
    values = _values(case)
    for node in reversed(case.nodes[:-1]):
        rest = tuple(n for n in case.nodes if n is not node)
        new_inputs = {name: values[name] for name in node.output if name}
        yield Case(rest, {**case.inputs, **new_inputs}, case.constants, case.output).pruned()


def _constant_inputs(case: Case) -> Iterator[Case]:
    for name, x in case.inputs.items():
        rest = {n: y for n, y in case.inputs.items() if n != name}
        yield Case(case.nodes, rest, {**case.constants, name: x}, case.output)


def _smaller(case: Case) -> Iterator[Case]:
    """Cases in which one extent is halved or reduced by 1, along all axes that have it."""
    arrays = (*case.inputs.values(), *case.constants.values())
    for extent in sorted({n for x in arrays for n in x.shape if n > 1}, reverse=True):
        for keep in (extent // 2, extent - 1):
            parts = [
                {name: _cut(x, extent, keep) for name, x in some.items()}
                for some in (case.inputs, case.constants)
            ]
            if keep:
                yield Case(tuple(map(copy.copy, case.nodes)), parts[0], parts[1], case.output)


def _cut(x: Array, extent: int, keep: int) -> Array:
    return np.asarray(x[tuple(slice(keep if n == extent else n) for n in x.shape)], order="C")


def _reads(node: onnx.NodeProto) -> Iterator[str]:
    """The values that a node reads, also in its bodies."""
    yield from node.input
    for attribute in node.attribute:
        for inner in attribute.g.node:
            yield from _reads(inner)

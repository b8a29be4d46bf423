"""Checks of a graph's structure and constants, run before the first pass and after every change."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph, Node, State
from ellc.ir.nested import bodies
from ellc.ir.ranges import CODE, constants_outside
from ellc.ir.text import print_type
from ellc.ir.types import TensorType


def verify(graph: Graph, stage: str = "") -> None:
    """Raise an `EllcError` that lists all problems of the graph, if there are any.

    E110: the graph is not well formed. E111: it is well formed, but operators do not accept some of
    its constants.
    """
    problems = _problems(graph)
    if problems:
        raise EllcError(
            f"graph '{graph.name}' is not well formed",
            code="E110",
            where=stage,
            problems=problems,
            hint="the pass or frontend that built the graph has a mistake",
        )
    if problems := constants_outside(graph):
        raise EllcError(
            f"graph '{graph.name}' has constants that its operators do not accept",
            code=CODE,
            where=stage,
            problems=problems,
            hint="correct these numbers in the model, or export it again",
        )


def _problems(graph: Graph) -> list[str]:
    return [*_check_values(graph), *_check_nodes(graph), *_check_ports(graph)]


def _check_bodies(graph: Graph, node: Node) -> list[str]:
    """Problems inside a node's bodies, which must share the outer graph's weight pool."""
    problems = []
    for body in bodies(node.op):
        problems += [f"{_label(node)}: body '{body.name}': {p}" for p in _problems(body)]
        if body.weights is not graph.weights:
            problems.append(f"{_label(node)}: body '{body.name}' has a separate weight pool")
    return problems


def _check_values(graph: Graph) -> list[str]:
    problems = []
    for constant in graph.constants:
        if constant.key not in graph.weights:
            problems.append(f"%{constant.value}: no array under {constant.key}")
            continue
        have, want = graph.weights[constant.key], graph.types.get(constant.value)
        if want is None:
            problems.append(f"%{constant.value}: no type")
        elif have.shape != want.shape or have.dtype != want.dtype.numpy:
            shown = f"{have.dtype}{have.shape} is not {print_type(want)}"
            problems.append(f"%{constant.value}: array {shown}")
    for value, type_ in graph.types.items():
        if any(d < 0 for d in type_.shape):
            problems.append(f"%{value}: negative extent in {type_.shape}")
        if type_.border is not None:
            problems += _check_border(value, type_)
    return problems


def _check_border(value: str, type_: TensorType) -> list[str]:
    border = type_.border
    assert border is not None
    if type_.rank != 4:
        return [f"%{value}: a border needs an NHWC tensor, not rank {type_.rank}"]
    if min(border.amounts) < 0:
        return [f"%{value}: negative border {border.amounts}"]
    if len(border.values) not in (1, type_.shape[3]):
        return [f"%{value}: {len(border.values)} border values for {type_.shape[3]} channels"]
    return []


def _check_nodes(graph: Graph) -> list[str]:
    known = {p.value for p in graph.inputs} | {c.value for c in graph.constants}
    known |= {s.current for s in graph.states}
    problems = []
    for node in graph.nodes:
        problems += [
            f"{_label(node)}: uses %{v} before it is defined" for v in node.inputs if v not in known
        ]
        problems += [f"{_label(node)}: defines %{v} again" for v in node.outputs if v in known]
        known.update(node.outputs)
        untyped = [v for v in (*node.inputs, *node.outputs) if v not in graph.types]
        if untyped:
            problems.append(f"{_label(node)}: no type for {', '.join(f'%{v}' for v in untyped)}")
            continue
        problems += _check_inference(graph, node)
    return problems


def _check_inference(graph: Graph, node: Node) -> list[str]:
    if problems := _check_bodies(graph, node):
        return problems
    operands, results = graph.node_types(node)
    try:
        inferred = node.op.infer(*(t.meaning for t in operands))
    except EllcError as error:
        return [f"{_label(node)}: {error.message}"]
    # Quantisation is a note for the user. Passes need not keep it on inner values.
    if [(t.dtype, t.shape) for t in results] != [(t.dtype, t.shape) for t in inferred]:
        declared, expected = (", ".join(map(print_type, types)) for types in (results, inferred))
        return [f"{_label(node)}: declared as {declared}, but inferred as {expected}"]
    return []


def _check_ports(graph: Graph) -> list[str]:
    defined = {p.value for p in graph.inputs} | {c.value for c in graph.constants}
    defined |= {s.current for s in graph.states} | {v for n in graph.nodes for v in n.outputs}
    problems = [
        f"output '{p.name}': %{p.value} is never defined"
        for p in graph.outputs
        if p.value not in defined
    ]
    for state in graph.states:
        problems += [f"state '{state.name}': {p}" for p in _check_state(graph, state, defined)]
    for kind, ports in (("input", graph.inputs), ("output", graph.outputs)):
        untyped = [p for p in ports if p.value not in graph.types]
        problems += [f"{kind} '{p.name}': no type for %{p.value}" for p in untyped]
        counts = Counter(p.name for p in ports)
        problems += [f"two {kind}s are called '{n}'" for n in sorted(counts) if counts[n] > 1]
    return problems


def _check_state(graph: Graph, state: State, defined: set[str]) -> list[str]:
    current, following = graph.types.get(state.current), graph.types.get(state.next)
    problems = []
    if state.next not in defined:
        problems.append(f"%{state.next} is never defined")
    elif current is None or following is None:
        problems.append(f"no type for %{state.current if current is None else state.next}")
    elif _numbers(current) != _numbers(following):
        change = f"from {print_type(current)} to {print_type(following)}"
        problems.append(f"changes its type {change}")
    if state.key not in graph.weights:
        problems.append(f"no array under {state.key}")
    elif current is not None:
        initial = graph.weights[state.key]
        if initial.shape != current.shape or initial.dtype != current.dtype.numpy:
            shown = f"{initial.dtype}{initial.shape} is not {print_type(current)}"
            problems.append(f"initial array {shown}")
    return problems


def _numbers(type: TensorType) -> TensorType:
    """The type without quantisation, a note that may differ between a state's two values."""
    return replace(type.meaning, quant=None)


def _label(node: Node) -> str:
    return f"%{node.outputs[0] if node.outputs else '?'} = {node.op.name}"

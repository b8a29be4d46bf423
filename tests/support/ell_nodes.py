"""Make archives of single nodes, and evaluate the graphs that are read from them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ell_oracle import graph_map, layout, port

from ellc.frontends.ell.layout import MemoryLayout, layout_object
from ellc.frontends.ell.options import EllOptions
from ellc.frontends.ell.read import read_ell
from ellc.frontends.ell.values import ArchiveObject, ArchiveValue
from ellc.frontends.ell.writer import archive_bytes
from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate, initial_states
from ellc.ir.verify import verify

CODES = {"float": 1, "double": 2, "int": 3, "bool": 6}


def numbers(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def node(kind: str, name: str, *fields: tuple[str, ArchiveValue]) -> ArchiveObject:
    return ArchiveObject(kind, "0", (("id", name), *fields))


def link(name: str, reference: str, owner: str, kind: str = "float") -> tuple[str, ArchiveValue]:
    return name, port(owner, name, reference, kind, CODES[kind])


def source(name: str, *size: int, kind: str = "float") -> ArchiveObject:
    return node(f"InputNode<{kind}>", name, ("layout", layout(*size)))


def constant(name: str, values: np.ndarray, kind: str = "float") -> ArchiveObject:
    stored = tuple(bool(v) for v in values) if kind == "bool" else values.reshape(-1)
    return node(f"ConstantNode<{kind}>", name, ("values", stored), ("layout", layout(values.size)))


def read(nodes: list[ArchiveObject], outputs: list[str], **options: object) -> Graph:
    inputs = [str(n.get("id")) for n in nodes if (n.type or "").startswith("InputNode")]
    data = archive_bytes(graph_map(nodes, inputs, outputs))
    graph = read_ell(data, EllOptions(**options))  # type: ignore[arg-type]
    verify(graph)
    return graph


def run(graph: Graph, *inputs: np.ndarray) -> list[np.ndarray]:
    shaped = tuple(x.reshape(t.shape) for x, t in zip(inputs, graph.input_types(), strict=True))
    return list(evaluate(graph, shaped).outputs)


def steps(graph: Graph, calls: list[tuple[np.ndarray, ...]]) -> list[list[np.ndarray]]:
    """The results of several calls; each starts with the states that the previous one left."""
    states: Mapping[str, np.ndarray] = initial_states(graph)
    results = []
    for inputs in calls:
        shaped = tuple(x.reshape(t.shape) for x, t in zip(inputs, graph.input_types(), strict=True))
        result = evaluate(graph, shaped, states=states)
        states = result.states
        results.append(list(result.outputs))
    return results


def unary(
    kind: str, x: np.ndarray, *fields: tuple[str, ArchiveValue], out: str = "output"
) -> np.ndarray:
    """The result of a node with one input."""
    graph = read(
        [source("1", x.size), node(kind, "2", link("input", "1.output", "2"), *fields)],
        [f"2.{out}"],
    )
    (got,) = run(graph, x)
    return got


def two_inputs(kind: str, element: str, *fields: tuple[str, ArchiveValue]) -> Graph:
    nodes = [
        source("1", 5, kind=element),
        source("2", 5, kind=element),
        node(
            kind,
            "3",
            link("input1", "1.output", "3", element),
            link("input2", "2.output", "3", element),
            *fields,
        ),
    ]
    return read(nodes, ["3.output"])


def planar(rows: int, columns: int, channels: int, *, pad: int = 0) -> ArchiveObject:
    """A channel-major layout; its sizes are in the order in memory."""
    plain = MemoryLayout.of((channels, rows, columns), (0, pad, pad))
    return layout_object(
        MemoryLayout(plain.size, plain.extent, plain.offset, (2, 0, 1), plain.increment)
    )

"""Ways to run a network once: the reference in numpy, or a compiled library, here or emulated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ellc.models import read_model
from ir.graph import Graph
from ir.interp import evaluate
from ir.types import Array, TensorType

Arrays = tuple[Array, ...]


@dataclass(frozen=True)
class Executable:
    """A network that can be run: what it takes and gives, and how to call it.

    `call` takes one array per input, of exactly its type, and returns one per output.
    """

    name: str
    inputs: tuple[tuple[str, TensorType], ...]
    outputs: tuple[tuple[str, TensorType], ...]
    metadata: Mapping[str, str]
    call: Callable[[Arrays], Arrays]


def reference(path: Path) -> Executable:
    """The network of a model file computed by numpy: slow, and what all else is compared with."""
    graph = read_model(path)
    return executable(graph, lambda inputs: evaluate(graph, inputs).outputs)


def executable(graph: Graph, call: Callable[[Arrays], Arrays]) -> Executable:
    """An executable with a graph's interface."""
    return Executable(
        graph.name,
        tuple((p.name, graph.types[p.value]) for p in graph.inputs),
        tuple((p.name, graph.types[p.value]) for p in graph.outputs),
        graph.metadata,
        call,
    )

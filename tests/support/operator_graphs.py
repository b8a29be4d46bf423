"""Graphs of the test cases of operators, ready to be compiled."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ellc.codegen.measure.testing import Trial
from ellc.ir.builder import GraphBuilder, Ref
from ellc.ir.graph import Graph
from ellc.ir.op import Case, Op
from ellc.ir.pipeline import parse_passes, run_pipeline
from ellc.ir.types import Array, TensorType


@dataclass(frozen=True)
class Sample:
    """The graph of a test case of an operator, with its inputs and expected outputs."""

    label: str
    trial: Trial
    want: tuple[Array, ...]


def sample_graph(case: Case, name: str) -> tuple[Graph, tuple[Array, ...]]:
    """(graph, inputs) of a case: operands that are not constants are inputs of the graph."""
    builder = GraphBuilder(name)
    operands: list[Ref] = []
    inputs: list[Array] = []
    for index, (array, type_) in enumerate(zip(case.inputs, case.types(), strict=True)):
        if index in case.constants:
            operands.append(builder.constant(array, type_.dtype))
        else:
            operands.append(builder.input(f"x{index}", TensorType(type_.dtype, type_.shape)))
            inputs.append(array)
    for index, result in enumerate(builder.add_multi(case.op, *operands)):
        builder.output(f"y{index}", result)
    return builder.build(), tuple(inputs)


def sample_of(case: Case, label: str, name: str) -> Sample:
    """The sample of a case, after the passes that kernels need."""
    graph, inputs = sample_graph(case, name)
    ready, _ = run_pipeline(graph, parse_passes("lower_composites, eliminate_dead"))
    with np.errstate(all="ignore"):
        want = case.op.reference(*case.inputs)
    return Sample(f"{label} {case.op}", Trial(ready, (inputs,)), want)


def samples(op: type[Op]) -> Iterator[Sample]:
    """The samples of all cases of an operator."""
    rng = np.random.default_rng(zlib.crc32(op.name.encode()))
    for index, case in enumerate(op.samples(rng)):
        yield sample_of(case, f"{index} {case.label}", f"{op.name}_{index}")

"""Every operator's samples as graphs of their own, ready to compile."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from codegen.testing import Trial
from ir.builder import GraphBuilder, Ref
from ir.graph import Graph
from ir.op import Case, Op
from ir.pipeline import PipelineOptions, default_passes, run_pipeline
from ir.types import Array, TensorType


@dataclass(frozen=True)
class Sample:
    """One case of an operator as a graph of its own, with inputs and what must come out."""

    label: str
    trial: Trial
    want: tuple[Array, ...]


def sample_graph(case: Case, name: str) -> tuple[Graph, tuple[Array, ...]]:
    """The case as a graph: operands that are not constants are its inputs."""
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


def samples(op: type[Op]) -> Iterator[Sample]:
    """All cases of one operator, through the passes that make it fit for kernels."""
    rng = np.random.default_rng(zlib.crc32(op.name.encode()))
    for index, case in enumerate(op.samples(rng)):
        graph, inputs = sample_graph(case, f"{op.name}_{index}")
        ready, _ = run_pipeline(graph, default_passes(PipelineOptions(optimize=False)))
        with np.errstate(all="ignore"):
            want = case.op.reference(*case.inputs)
        yield Sample(f"{index} {case.label} {case.op}", Trial(ready, (inputs,)), want)

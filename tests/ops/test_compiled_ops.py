"""Every operator's samples, compiled, against the reference: each target and each emitter."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

import numpy as np
import pytest
from agreement import disagreement

from codegen.targets import resolve
from codegen.testing import Emitter, Trial, run_trials
from ir.builder import GraphBuilder, Ref
from ir.graph import Graph
from ir.op import Case, Op, all_ops
from ir.pipeline import PipelineOptions, default_passes, run_pipeline
from ir.types import Array, TensorType

WAYS = [
    pytest.param("host", "llvm", id="host-llvm"),
    pytest.param("host", "c", id="host-c"),
    *(
        pytest.param(name, "llvm", id=f"{name}-llvm", marks=pytest.mark.emulated(program))
        for name, program in (("pi0", "qemu-arm"), ("pi3", "qemu-arm"), ("pi3_64", "qemu-aarch64"))
    ),
]


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


@functools.cache
def problems(target: str, emitter: Emitter) -> dict[str, list[str]]:
    """What is wrong with each operator; all of them are compiled into one program."""
    every = [(name, sample) for name, op in all_ops().items() for sample in samples(op)]
    results = run_trials([s.trial for _, s in every], resolve(target), emitter)
    wrong: dict[str, list[str]] = {}
    for (name, sample), result in zip(every, results, strict=True):
        said = wrong.setdefault(name, [])
        if isinstance(result, Exception):
            said.append(f"{sample.label}: {str(result).splitlines()[0]}")
            continue
        (outputs,) = result
        for number, (got, want) in enumerate(zip(outputs, sample.want, strict=True)):
            difference = disagreement(got, np.asarray(want))
            if difference:
                said.append(f"{sample.label}: result {number}: {difference}")
    return wrong


@pytest.mark.slow
@pytest.mark.parametrize("op", list(all_ops()))
@pytest.mark.parametrize(("target", "emitter"), WAYS)
def test_compiled_operator_agrees_with_its_reference(target: str, emitter: str, op: str) -> None:
    assert emitter in get_args(Emitter)
    found = problems(target, "c" if emitter == "c" else "llvm")
    assert op in found, "an operator without samples"
    assert not found[op], "\n".join(found[op])

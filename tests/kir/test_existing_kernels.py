"""All kernels of operator samples are valid, can be printed, and stay inside their buffers.

tests/conftest.py runs these tests in one process: they share plans, and programs that are equal for
several targets are interpreted once. Each sample is tested for one of the targets, or for all with
`pytest --whole`.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Hashable, Iterator

import numpy as np
import pytest
from agreement import disagreement
from interpreted_plan import program, run_plan
from operator_graphs import Sample, samples
from parts import quick_part

from ellc.codegen.blocks.calls import Options
from ellc.codegen.kir.text import parse, print_kernel
from ellc.codegen.kir.verify import problems
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.output.emit import plan_kernels
from ellc.codegen.planning.plan import Plan
from ellc.codegen.planning.planner import make_plan
from ellc.codegen.planning.sharing import SharedKernels
from ellc.ir.errors import EllcError
from ellc.ir.op import all_ops
from ellc.ir.types import Array

TARGETS = ("pi0", "pi3", "pi3_64", "linux")


@functools.cache
def every_sample() -> tuple[Sample, ...]:
    return tuple(s for op in all_ops().values() for s in samples(op))


def operators(sample: Sample) -> set[tuple[str, str]]:
    """The operators of a sample, each with the element type of the sample's first result."""
    graph = sample.trial.graph
    kind = str(graph.output_types()[0].dtype)
    return {(node.op.name, kind) for node in graph.nodes}


@functools.cache
def plans(target: str) -> tuple[tuple[Sample, Plan], ...]:
    """The plans of a target's samples; another test checks operators without a kernel."""
    return tuple(_plans(target))


def _plans(target: str) -> Iterator[tuple[Sample, Plan]]:
    number, parts = 2 * TARGETS.index(target) + 1, 2 * len(TARGETS)
    chosen = quick_part(every_sample(), number, parts, covers=operators)
    for index, sample in enumerate(chosen):
        try:
            yield sample, make_plan(sample.trial.graph, resolve(target), Options(), f"k{index}")
        except EllcError as error:
            assert error.code in ("E300", "E301")


class Interpreted:
    """Interprets plans and checks their outputs; equal programs of several targets run once."""

    def __init__(self) -> None:
        self._wrong: dict[Hashable, list[str]] = {}

    def wrong(self, sample: Sample, plan: Plan) -> list[str]:
        key = (id(sample), program(plan))  # `every_sample` keeps the samples alive
        if key not in self._wrong:
            self._wrong[key] = wrong_outputs(sample, plan)
        return self._wrong[key]


@pytest.fixture(scope="module")
def interpreted() -> Interpreted:
    return Interpreted()


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_kernels_are_sound_and_survive_the_round_trip(target: str) -> None:
    wrong, shared = [], SharedKernels()
    kernels = {k.name: (s, k) for s, p in plans(target) for k in plan_kernels(shared.plan(p))}
    for sample, kernel in kernels.values():
        wrong += [f"{sample.label}: {p}" for p in problems(kernel)]
        if parse(print_kernel(kernel)) != kernel:
            wrong.append(f"{sample.label}: {kernel.name} reads back differently")
    assert not wrong, "\n".join(wrong[:40])


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_kernels_stay_inside_their_buffers_and_are_right(
    target: str, interpreted: Interpreted
) -> None:
    wrong = [line for sample, plan in plans(target) for line in interpreted.wrong(sample, plan)]
    assert not wrong, f"{len(wrong)} lines\n" + "\n".join(wrong[:40])


def wrong_outputs(sample: Sample, plan: Plan) -> list[str]:
    (inputs,) = sample.trial.calls
    try:
        outputs = run_plan(plan, inputs)
    except Exception as error:
        return [f"{sample.label}: {error}"]
    return [f"{sample.label}: {d}" for d in differences(outputs, sample.want)]


def differences(outputs: tuple[Array, ...], want: tuple[Array, ...]) -> Iterator[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for got, expected in zip(outputs, want, strict=True):
            if difference := disagreement(got, np.asarray(expected)):
                yield difference

"""Compare compiled results with the reference, and describe differences in a sentence."""

from __future__ import annotations

from collections.abc import Sequence

from small_networks import reference_of

from ellc.check.agreement import compare
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Trial, run_trials
from ellc.codegen.toolchain.emulate import Guard
from ellc.ir.types import Array


def disagreement(got: Array, want: Array) -> str:
    """A description of how results differ; empty if they agree (`ellc.check.agreement`)."""
    if got.dtype != want.dtype or got.shape != want.shape:
        return f"{got.dtype}{got.shape} instead of {want.dtype}{want.shape}"
    found = compare(got, want)
    if not found.wrong:
        return ""
    return f"{found.wrong} of {found.elements} elements differ, first {found.first}"


def trials_agree(trials: Sequence[Trial], target: str, guard: Guard) -> None:
    """Compile and run trials for a target; assert that every result agrees with the reference."""
    every = run_trials(trials, resolve(target), guard=guard)
    for trial, found in zip(trials, every, strict=True):
        assert not isinstance(found, Exception), found
        for call, made in zip(trial.calls, found, strict=True):
            for value, expected in zip(made, reference_of(trial.graph, call), strict=True):
                assert not disagreement(value, expected), trial.graph.nodes

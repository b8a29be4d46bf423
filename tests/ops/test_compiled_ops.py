"""Samples of every operator, compiled for each target with each emitter, equal the reference.

Each is called again with NaN, infinities, zeros of both signs and denormals in its inputs.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from operator_graphs import Sample
from special_values import differences, special_samples

from ellc.codegen.blocks.candidates import FAMILIES
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.machine.target import Target
from ellc.codegen.measure.testing import Emitter, rivals, run_trials
from ellc.ir.op import Op, all_ops

# Tests for a target and emitter share a program, so tests/conftest.py runs them in one process.
WAYS = [
    pytest.param("host", "llvm", id="host-llvm"),
    pytest.param("host", "c", id="host-c"),
    *(
        pytest.param(name, "llvm", id=f"{name}-llvm", marks=pytest.mark.emulated(program))
        for name, program in (("pi0", "qemu-arm"), ("pi3", "qemu-arm"), ("pi3_64", "qemu-aarch64"))
    ),
]


@functools.cache
def problems(target: str, emitter: Emitter) -> dict[str, list[str]]:
    """The problems of each operator. All operators are compiled into one program."""
    board = resolve(target)
    every = [
        (name, one)
        for name, op in all_ops().items()
        for sample in special_samples(op, np.random.default_rng(zlib.crc32(name.encode())))
        for one in (sample, *_with_rivals(op, sample, board))
    ]
    results = run_trials([s.trial for _, s in every], board, emitter)
    wrong: dict[str, list[str]] = {}
    for (name, sample), result in zip(every, results, strict=True):
        lines = wrong.setdefault(name, [])
        if isinstance(result, Exception):
            lines.append(f"{sample.label}: {str(result).splitlines()[0]}")
        else:
            lines += differences(sample, result, board)
    return wrong


def _with_rivals(op: type[Op], sample: Sample, board: Target) -> Iterator[Sample]:
    """The sample once for each kernel that could compute it, except the cheapest."""
    if len(FAMILIES.get(op, ())) > 1:
        for trial in rivals(sample.trial, board):
            ((_, asked),) = trial.kernels
            yield replace(sample, label=f"{sample.label} by {asked}", trial=trial)


@pytest.mark.slow
@pytest.mark.parametrize("op", list(all_ops()))
@pytest.mark.parametrize(("target", "emitter"), WAYS)
def test_compiled_operator_agrees_with_its_reference(target: str, emitter: str, op: str) -> None:
    assert emitter in get_args(Emitter)
    found = problems(target, "c" if emitter == "c" else "llvm")
    assert op in found, "an operator without samples"
    assert not found[op], "\n".join(found[op])

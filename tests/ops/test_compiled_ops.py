"""Samples of every operator, compiled for each target with each emitter, equal the reference.

Each is called again with NaN, infinities, zeros of both signs and denormals in its inputs.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Iterator
from typing import get_args

import numpy as np
import pytest
from special_values import SpecialSample, differences, is_declined, special_samples, with_rivals

from ellc.codegen.machine.resolve import resolve
from ellc.codegen.machine.target import Target
from ellc.codegen.measure.testing import Emitter, run_trials
from ellc.ir.op import Op, all_ops

# Tests for a target and emitter share a program, so tests/conftest.py runs them in one process.
PARTS = {
    "host-llvm": (0, 1),
    "host-c": (0, 2),
    "pi0-llvm": (1, 2),
    "pi3-llvm": (0, 2),
    "pi3_64-llvm": (1, 2),
    "imxrt1050-llvm": (0, 6),
    "mcxn947-llvm": (2, 6),
    "nucleo_l4r5-llvm": (4, 6),
    "pico-llvm": (0, 16),
    "corstone300-llvm": (8, 16),
    "esp32c3-llvm": (4, 16),
    "bpi_f3-llvm": (12, 16),
    "wasm-llvm": (0, 3),
}
"""The part of every operator's samples that a target and emitter run: with (n, m), every m-th one
from number n on. Every sample runs on this machine, in one of the two states of a Cortex-A53, and
either as C or as code without vectors. `make soak` runs all samples in all ways."""


def _way(name: str) -> object:
    """The parameters of a test, with the mark that names the emulator it needs."""
    target, _, emitter = name.partition("-")
    emulator = resolve(target).emulator if target != "host" else None
    marks = [pytest.mark.emulated(emulator[0])] if emulator else []
    return pytest.param(target, emitter, id=name, marks=marks)


@functools.cache
def problems(target: str, emitter: Emitter) -> dict[str, list[str]]:
    """The problems of each operator. All operators are compiled into one program."""
    board = resolve(target)
    every = [(name, one) for name, op in all_ops().items() for one in _chosen(op, board, emitter)]
    results = run_trials([s.trial for _, s in every], board, emitter)
    wrong: dict[str, list[str]] = {}
    for (name, sample), result in zip(every, results, strict=True):
        lines = wrong.setdefault(name, [])
        if is_declined(result, board):
            continue
        if isinstance(result, Exception):
            lines.append(f"{sample.label}: {str(result).splitlines()[0]}")
        else:
            lines += differences(sample, result, board)
    return wrong


def _chosen(op: type[Op], board: Target, emitter: Emitter) -> Iterator[SpecialSample]:
    """The samples of an operator that run on the board, each with all kernels for it."""
    every = list(special_samples(op, np.random.default_rng(zlib.crc32(op.name.encode()))))
    first, step = PARTS[f"{board.name}-{emitter}"]
    every = every[first::step] or every[:1]
    for sample in every:
        yield sample
        yield from with_rivals(op, sample, board)


@pytest.mark.slow
@pytest.mark.parametrize("op", list(all_ops()))
@pytest.mark.parametrize(("target", "emitter"), [_way(name) for name in PARTS])
def test_compiled_operator_agrees_with_its_reference(target: str, emitter: str, op: str) -> None:
    assert emitter in get_args(Emitter)
    found = problems(target, "c" if emitter == "c" else "llvm")
    assert op in found, "an operator without samples"
    assert not found[op], "\n".join(found[op])

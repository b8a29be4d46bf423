"""Samples of every operator, compiled for each target with each emitter, equal the reference.

Each is called again with NaN, infinities, zeros of both signs and denormals in its inputs.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Iterator
from typing import NamedTuple, get_args

import numpy as np
import pytest
from parts import quick_part
from special_values import SpecialSample, differences, is_declined, special_samples, with_rivals

from ellc.codegen.blocks.candidates import FAMILIES
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.machine.target import Target
from ellc.codegen.measure.testing import Emitter, run_trials
from ellc.ir.op import Op, all_ops


class Share(NamedTuple):
    """Part `number` of `parts` of every operator's samples, for every `turns`-th operator."""

    number: int
    parts: int
    turns: int = 1

    def operators(self) -> list[str]:
        """The operators of which samples run, including all with several kernels."""
        return quick_part(
            list(all_ops()), self.number, self.turns, always=lambda op: _families(all_ops()[op]) > 1
        )


# Tests for a target and emitter share a program, so tests/conftest.py runs them in one process.
SHARES = {
    "host-llvm": Share(0, 6),
    "host-c": Share(1, 12, 2),
    "pi0-llvm": Share(2, 12, 2),
    "pi3-llvm": Share(1, 12, 2),
    "pi3_64-llvm": Share(2, 12, 2),
    "imxrt1050-llvm": Share(0, 24, 3),
    "mcxn947-llvm": Share(4, 24, 3),
    "nucleo_l4r5-llvm": Share(8, 24, 3),
    "pico-llvm": Share(12, 24, 3),
    "corstone300-llvm": Share(16, 24, 3),
    "esp32c3-llvm": Share(20, 24, 3),
    "bpi_f3-llvm": Share(22, 24, 3),
    "wasm-llvm": Share(5, 12, 2),
}
"""The samples that a target and emitter run: every operator on this machine, in a state of a
Cortex-A53, on another Linux board or in Node, and on two of the smaller boards; operators with
several kernels, with each of them on every target.

`kir/test_existing_kernels.py` interprets the kernels of samples, and `kir/test_replay.py` detects
every change of a kernel or of C code. `soak/boards.py` runs all samples in all ways."""


def _families(op: type[Op]) -> int:
    return len(FAMILIES.get(op, ()))


def _tests() -> Iterator[object]:
    """The parameters of tests, with the mark that names the emulator they need."""
    for name, share in SHARES.items():
        target, _, emitter = name.partition("-")
        emulator = resolve(target).emulator if target != "host" else None
        marks = [pytest.mark.emulated(emulator[0])] if emulator else []
        for op in share.operators():
            yield pytest.param(target, emitter, op, id=f"{name}-{op}", marks=marks)


@functools.cache
def problems(target: str, emitter: Emitter) -> dict[str, list[str]]:
    """The problems of each operator. All operators are compiled into one program."""
    board = resolve(target)
    share = SHARES[f"{target}-{emitter}"]
    every = [(name, one) for name in share.operators() for one in _chosen(name, board, share)]
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


def _chosen(name: str, board: Target, share: Share) -> list[SpecialSample]:
    """The samples of an operator that run on the board, at least one for each kernel."""
    op = all_ops()[name]
    every = [one for s in _samples(name) for one in (s, *with_rivals(op, s, board))]
    return quick_part(every, *share[:2], covers=lambda sample: sample.trial.kernels)


@functools.cache
def _samples(name: str) -> list[SpecialSample]:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return list(special_samples(all_ops()[name], rng))


@pytest.mark.slow
@pytest.mark.parametrize(("target", "emitter", "op"), list(_tests()))
def test_compiled_operator_agrees_with_its_reference(target: str, emitter: str, op: str) -> None:
    assert emitter in get_args(Emitter)
    found = problems(target, "c" if emitter == "c" else "llvm")
    assert op in found, "an operator without samples"
    assert not found[op], "\n".join(found[op])

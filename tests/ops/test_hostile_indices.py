"""For any integers, computed or constant, no operator accesses memory outside of its buffers.

Operators with integer operands get the ends of the types, -1, and extents of their operands.
Pointwise operators are left out, since they do not use integers as indices. In the compiled
program, every buffer and every graph's constants are between guard pages.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from agreement import disagreement
from operator_graphs import Sample, sample_of

from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Emitter, run_trials
from ellc.codegen.toolchain.emulate import Guard
from ellc.ir.errors import EllcError
from ellc.ir.op import Case, Op, Pointwise, all_ops
from ellc.ir.ops.fused import Fused
from ellc.ir.types import Array

SOME, MOST_ELEMENTS = 4, 1000
"""Bounds for all operands of a case together."""


def hostile(array: Array, extents: set[int]) -> Array:
    """An integer operand filled with invalid indices; other types are unchanged."""
    if array.dtype.kind not in "iu":
        return array
    info = np.iinfo(array.dtype)
    odd = [info.min, info.max, -1, 0, *sorted({e + d for e in extents for d in (-1, 0)})]
    kept = np.array([n for n in odd if info.min <= n <= info.max], array.dtype)
    return np.resize(kept, array.shape)


@functools.cache
def hostile_samples() -> tuple[Sample, ...]:
    """The smallest case of every operator for all operand types, computed and constant."""
    chosen = (op for op in all_ops().values() if not issubclass(op, Pointwise | Fused))
    return tuple(sample for op in chosen for sample in _of(op))


def _of(op: type[Op]) -> Iterator[Sample]:
    name = op.name
    smallest: dict[object, Case] = {}
    for case in op.samples(np.random.default_rng(zlib.crc32(name.encode()))):
        size = sum(x.size for x in case.inputs)
        kind = tuple(x.dtype.str for x in case.inputs), bool(case.constants)
        if SOME < size < MOST_ELEMENTS and any(x.dtype.kind in "iu" for x in case.inputs):
            best = smallest.get(kind)
            if best is None or size < sum(x.size for x in best.inputs):
                smallest[kind] = case
    for index, case in enumerate(smallest.values()):
        extents = {extent for x in case.inputs for extent in x.shape}
        odd = replace(case, inputs=tuple(hostile(x, extents) for x in case.inputs))
        for constants in dict.fromkeys((case.constants, ())):
            with suppress(EllcError):  # a pass refuses computed operands
                label = f"{name} {index}, constants {constants}"
                yield sample_of(replace(odd, constants=constants), label, f"{name}_{index}")


@pytest.mark.slow
@pytest.mark.parametrize(("emitter", "guard"), [("llvm", "end"), ("c", "start")])
def test_hostile_integers_stay_inside(emitter: Emitter, guard: Guard) -> None:
    found = run_trials([s.trial for s in hostile_samples()], resolve("host"), emitter, guard=guard)
    wrong = []
    for sample, result in zip(hostile_samples(), found, strict=True):
        match result:
            case EllcError():  # there is no kernel for computed operands
                continue
            case Exception():
                wrong.append(f"{sample.label}: {result}")
            case [outputs]:
                for got, want in zip(outputs, sample.want, strict=True):
                    said = disagreement(got, np.asarray(want))
                    wrong += [f"{sample.label}: {said}"] if said else []
    assert not wrong, "\n".join(wrong)
    assert len(hostile_samples()) > 50

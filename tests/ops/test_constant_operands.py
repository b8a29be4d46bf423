"""Every operator with constant operands that are computed in all of its samples.

Passes fold most of these nodes. Nodes that stay (with results that are too large, or in graphs that
are compiled without the passes) must read the constant, not an address in the arena.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, combinations

import numpy as np
import pytest
from agreement import disagreement
from operator_graphs import sample_of
from parts import quick_part

from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import run_trials
from ellc.codegen.planning.choice import families_of
from ellc.ir.op import Case, all_ops
from ellc.ir.ops.fused import Fused
from ellc.ir.ranges import outside

MOST_FREE_OPERANDS = 3
"""With up to this many free operands, every subset becomes constant in some case. With more, only
each operand alone and all together do."""


def with_constants(case: Case) -> Iterator[Case]:
    """The case with every subset of further operands as constants.

    Operands with a range are left out: samples contain numbers outside of the range, which are
    valid only if they are computed.
    """
    free = [i for i in range(len(case.inputs)) if i not in case.constants]
    sizes = range(1, len(free) + 1) if len(free) <= MOST_FREE_OPERANDS else (1, len(free))
    for chosen in chain.from_iterable(combinations(free, n) for n in sizes):
        constant = [x if i in chosen else None for i, x in enumerate(case.inputs)]
        if outside(case.op, case.types(), constant):
            continue
        label = f"{case.label}, constant {', '.join(map(str, chosen))}"
        yield replace(case, constants=(*case.constants, *chosen), label=label)


def cases() -> Iterator[tuple[str, Case]]:
    """A case for each lowering, types of operands and subset of constants."""
    known: set[object] = set()
    for name, op in all_ops().items():
        for sample in op.samples(np.random.default_rng(0)):
            anchor = sample.op.anchor if isinstance(sample.op, Fused) else sample.op
            kinds = tuple((t.dtype, t.rank) for t in sample.types())
            for case in with_constants(sample):
                key = (families_of(anchor) or anchor.name, kinds, case.constants)
                if key not in known:
                    known.add(key)
                    yield name, case


@functools.cache
def problems() -> dict[str, list[str]]:
    """What is wrong with each operator; all of them are compiled into one program."""
    every = quick_part(list(cases()), 0, 3, covers=lambda case: [case[0]])
    made = [sample_of(case, case.label, f"{name}_{i}") for i, (name, case) in enumerate(every)]
    results = run_trials([s.trial for s in made], resolve("host"))
    wrong: dict[str, list[str]] = {name: [] for name in all_ops()}
    for (name, _), sample, result in zip(every, made, results, strict=True):
        if isinstance(result, Exception):
            wrong[name].append(f"{sample.label}: {str(result).splitlines()[0]}")
            continue
        for number, (got, want) in enumerate(zip(result[0], sample.want, strict=True)):
            if difference := disagreement(got, np.asarray(want)):
                wrong[name].append(f"{sample.label}: result {number}: {difference}")
    return wrong


@pytest.mark.slow
@pytest.mark.parametrize("op", list(all_ops()))
def test_constant_operands_are_read(op: str) -> None:
    found = problems()
    assert not found.get(op), "\n".join(found[op])

"""Every operator's samples, compiled, against the reference: each target and each emitter."""

from __future__ import annotations

import functools
from typing import get_args

import numpy as np
import pytest
from _pytest.mark import ParameterSet
from agreement import disagreement
from operator_graphs import samples

from codegen.targets import resolve
from codegen.testing import Emitter, run_trials
from ir.op import all_ops


def way(target: str, emitter: Emitter, *marks: pytest.MarkDecorator) -> ParameterSet:
    """One way to compile; its tests go to one process, which makes the program they share."""
    name = f"{target}-{emitter}"
    return pytest.param(target, emitter, id=name, marks=[pytest.mark.xdist_group(name), *marks])


WAYS = [
    way("host", "llvm"),
    way("host", "c"),
    way("pi0", "llvm", pytest.mark.emulated("qemu-arm")),
    way("pi3", "llvm", pytest.mark.emulated("qemu-arm")),
    way("pi3_64", "llvm", pytest.mark.emulated("qemu-aarch64")),
]


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

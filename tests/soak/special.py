"""Test NaN, infinities, zeros and denormals in any operands of any operator, also in constants.

An input is a sample of an operator with special values of one kind in some of its float operands. A
batch is a program. The batches use all targets and emitters in turn.
"""

from __future__ import annotations

import io
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from findings import Finding, Findings
from operator_graphs import sample_of
from special_values import KINDS, SpecialSample, differences, float_places, injected

from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Emitter, run_trials
from ellc.ir.op import Case, all_ops
from ellc.ir.text import print_graph

WAYS: tuple[tuple[str, Emitter, str], ...] = (
    ("host", "llvm", ""),
    ("pi3_64", "llvm", "qemu-aarch64"),
    ("host", "c", ""),
    ("pi3", "llvm", "qemu-arm"),
    ("pi0", "llvm", "qemu-arm"),
)
"""The ways to run a sample: (target, emitter, emulator, which is empty for this machine)."""
_MOST_ELEMENTS = 6000


@dataclass(frozen=True)
class SpecialValues:
    """The campaign of special values."""

    name: str = "special-values"
    batch: int = 400
    quick_count: int = 12
    quick: bool = False

    def run(self, seed: int, count: int, folder: Path) -> Findings:
        """Test `count` samples, compiled for the target and emitter that the seed selects."""
        ways = [way for way in WAYS if not way[2] or shutil.which(way[2])]
        name, emitter, _ = ways[0 if self.quick else (seed - 1) % len(ways)]
        target = resolve(name)
        drawn = _drawn(np.random.default_rng(seed), count)
        findings = Findings()
        results = run_trials([sample.trial for sample in drawn], target, emitter)
        for number, (sample, result) in enumerate(zip(drawn, results, strict=True)):
            failed = isinstance(result, Exception)
            said = [str(result)] if failed else differences(sample, result, target)
            findings.outcomes["different" if said else "equal"] += 1
            if said:
                place = f"{sample.cases[0].op.name} on {name}, {emitter}: {sample.kinds[0]}"
                again = f"--only {self.name} --seed {seed} --number {number}"
                findings.add(Finding(place, said[0], again, _files(sample)))
        return findings

    def input(self, seed: int, number: int, folder: Path) -> dict[str, bytes]:
        """The files of a sample: its graph and its operands."""
        return _files(_drawn(np.random.default_rng(seed), number + 1)[number])


def _drawn(rng: np.random.Generator, count: int) -> list[SpecialSample]:
    every = _cases()
    names = list(every)
    found = []
    for number in range(count):
        cases = every[names[rng.integers(len(names))]]
        label, case = cases[rng.integers(len(cases))]
        places = float_places(case)
        chosen = rng.permutation(places)[: rng.integers(1, len(places) + 1)].tolist()
        kind = list(KINDS)[rng.integers(len(KINDS))]
        changed = injected(case, kind, chosen, rng)
        sample = sample_of(changed, f"{label} {kind} in {chosen}", f"special{number}")
        found.append(SpecialSample(sample.label, sample.trial, (kind,), (changed,)))
    return found


def _cases() -> dict[str, list[tuple[str, Case]]]:
    """The small samples with floats, by operator."""
    found = {}
    for name, op in all_ops().items():
        cases = [
            (f"{index} {case.label}", case)
            for index, case in enumerate(op.samples(np.random.default_rng(0)))
            if float_places(case) and sum(x.size for x in case.inputs) <= _MOST_ELEMENTS
        ]
        if cases:
            found[name] = cases
    return found


def _files(sample: SpecialSample) -> dict[str, bytes]:
    """The files of a sample: the text of its graph and the operands."""
    held = io.BytesIO()
    np.savez(held, *sample.cases[0].inputs)
    return {
        "graph.txt": print_graph(sample.trial.graph).encode(),
        "operands.npz": held.getvalue(),
    }


CAMPAIGNS = (SpecialValues(),)

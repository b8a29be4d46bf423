"""Run all samples of all operators through scheduled assembly, and compare the bits of results.

The inputs are the samples in the order of operators. A batch tests the next inputs of this list,
and the campaign ends with the list. A sample that contains no nest that can be scheduled counts as
`no nest`. The test run has a part of them, in `kir/test_in_order.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from findings import Finding, Findings
from operator_graphs import Sample, samples
from scheduled_nests import differences

from ellc.codegen.machine.resolve import resolve
from ellc.codegen.toolchain import emulate
from ellc.ir.op import all_ops
from ellc.ir.text import print_graph


@dataclass(frozen=True)
class ScheduledSamples:
    """The campaign for one state of the core."""

    name: str
    target: str
    batch: int = 250
    quick_count: int = 0
    quick: bool = False

    def run(self, seed: int, count: int, folder: Path) -> Findings:
        """Test the next `count` samples."""
        findings, target = Findings(), resolve(self.target)
        if not emulate.can_run(target):
            said = f"this machine cannot run programs for {self.target}"
            findings.add(Finding(f"{self.name}: nothing can be tested", said, ""))
            return findings
        chosen = self._chosen(seed, count)
        found = differences([sample.trial for sample in chosen], target)
        for number, (sample, wrong) in enumerate(zip(chosen, found, strict=True)):
            outcome = "no nest" if wrong is None else "different" if wrong else "equal"
            findings.outcomes[outcome] += 1
            if wrong:
                again = f"--only {self.name} --seed {seed} --number {number}"
                place = f"{self.name}: {sample.label}"
                findings.add(Finding(place, wrong, again, _files(sample)))
        return findings

    def input(self, seed: int, number: int, folder: Path) -> dict[str, bytes]:
        """The file of a sample: the text of its graph."""
        return _files(self._chosen(seed, number + 1)[number])

    def _chosen(self, seed: int, count: int) -> list[Sample]:
        first = (seed - 1) * self.batch
        return _samples()[first : first + count]


@cache
def _samples() -> list[Sample]:
    return [sample for op in all_ops().values() for sample in samples(op)]


def _files(sample: Sample) -> dict[str, bytes]:
    return {"graph.txt": print_graph(sample.trial.graph).encode()}


CAMPAIGNS = (
    ScheduledSamples("scheduled-pi3_64", "pi3_64"),
    ScheduledSamples("scheduled-pi3", "pi3"),
)

"""Run all samples of all operators, with all kernels: on emulated boards, in Node, and here.

The inputs are the operators. A batch tests the next operators, and the campaign ends with the last.
The test run has a part of the samples in each of these ways, in `ops/test_compiled_ops.py`.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from findings import Finding, Findings
from special_values import differences, is_declined, special_samples, with_rivals

from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Emitter, run_trials
from ellc.codegen.toolchain import emulate
from ellc.ir.op import all_ops


@dataclass(frozen=True)
class BoardSamples:
    """The campaign on one board, or with one emitter of code for this machine."""

    target: str
    emitter: Emitter = "llvm"
    batch: int = 20
    quick_count: int = 0
    quick: bool = False

    @property
    def name(self) -> str:
        """The name of the campaign."""
        return f"samples-{self.target}" + ("-c" if self.emitter == "c" else "")

    def run(self, seed: int, count: int, folder: Path) -> Findings:
        """Test the samples of the next `count` operators."""
        findings = Findings()
        if not emulate.can_run(resolve(self.target)):
            said = f"this machine cannot run programs for {self.target}"
            findings.add(Finding(f"{self.name}: nothing can be tested", said, ""))
            return findings
        for number, op in enumerate(self._chosen(seed, count)):
            for label, said in self._wrong(op):
                again = f"--only {self.name} --seed {seed} --number {number}"
                findings.add(Finding(f"{self.name}: {op} {label}", said, again))
            findings.outcomes["operators"] += 1
        return findings

    def input(self, seed: int, number: int, folder: Path) -> dict[str, bytes]:
        """The file of an input: the name of its operator."""
        return {"operator.txt": self._chosen(seed, number + 1)[number].encode()}

    def _chosen(self, seed: int, count: int) -> list[str]:
        first = (seed - 1) * self.batch
        return list(all_ops())[first : first + count]

    def _wrong(self, name: str) -> list[tuple[str, str]]:
        """(label, what is wrong) for each sample of an operator that fails."""
        op, target = all_ops()[name], resolve(self.target)
        every = [
            one
            for sample in special_samples(op, np.random.default_rng(zlib.crc32(name.encode())))
            for one in (sample, *with_rivals(op, sample, target))
        ]
        wrong: list[tuple[str, str]] = []
        results = run_trials([sample.trial for sample in every], target, self.emitter)
        for sample, result in zip(every, results, strict=True):
            if is_declined(result, target):
                continue
            if isinstance(result, Exception):
                wrong.append((sample.label, str(result)))
            elif said := differences(sample, result, target):
                wrong.append((sample.label, "; ".join(said)))
        return wrong


BOARDS = (
    *("imxrt1050", "mcxn947", "nucleo_l4r5", "pico", "corstone300", "ek_ra8m1"),
    *("esp32c3", "bpi_f3", "wasm", "pi0", "pi3", "pi3_64"),
)
CAMPAIGNS = (
    *(BoardSamples(name) for name in BOARDS),
    BoardSamples("host"),
    BoardSamples("host", "c"),
)

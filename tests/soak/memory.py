"""Find memory accesses outside of buffers, with guard pages, sanitizers and painted stacks.

The inputs of these campaigns are not random. They are all samples of all operators, and the models
in ELLC_TEST_DATA. A batch tests the next inputs of this list, and the campaign ends with the list.
Quick runs use small networks instead of these models.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import get_args

import numpy as np
from agreement import disagreement
from findings import Finding, Findings
from onnx_models import read
from operator_graphs import Sample, samples
from painted_stack import measure_stacks
from random_onnx import RandomOnnx
from real_models import RealModel, macs, real_models
from real_models import disagreement as model_disagreement
from sanitizers import ADDRESS, THREAD
from small_networks import convolution_network, inputs_of
from special_values import is_declined

from ellc.codegen.blocks.calls import Options
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Outputs, Trial, run_trials
from ellc.codegen.planning.plan import Plan
from ellc.codegen.planning.planner import make_plan
from ellc.codegen.toolchain import emulate
from ellc.ir.container import save
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate
from ellc.ir.op import all_ops
from ellc.ir.pipeline import run_pipeline

MOST_EMULATED_MACS = 20_000_000
SMALL_FILE_BYTES = 60_000
"""Larger models are not compiled with sanitizers, since GCC needs minutes for them."""
THREADS = 3

Wrong = list[list[str]]
"""For each input, a list of what is wrong."""


@dataclass(frozen=True)
class Item:
    """An input, made only when it is needed; `judge` describes what is wrong with results.

    `macs` are the multiply-adds of a call, and `file_bytes` is the size of a model file.
    """

    label: str
    make: Callable[[], Sample]
    judge: Callable[[Outputs, Outputs], str]
    macs: Callable[[], int] = lambda: 0
    file_bytes: int = 0


@dataclass(frozen=True)
class _Listed:
    """The common part of the campaigns, whose inputs are a list. `target` names the target."""

    name: str
    target: str = "host"
    batch: int = 100
    quick_count: int = 0
    quick: bool = False

    def run(self, seed: int, count: int, folder: Path) -> Findings:
        """Test the next `count` inputs."""
        findings = Findings()
        for said in self.missing():
            findings.add(Finding(f"{self.name}: not everything can be tested", said, ""))
        if findings.found and self.quick:
            return Findings()
        chosen = self._chosen(seed, count)
        for number, (item, wrong) in enumerate(zip(chosen, self.wrong(chosen), strict=True)):
            findings.outcomes["WRONG" if wrong else "good"] += 1
            if wrong:
                again = f"--only {self.name} --seed {seed} --number {number}"
                place, files = f"{self.name}: {item.label}", self._files(item, folder)
                findings.add(Finding(place, "; ".join(wrong), again, files))
        return findings

    def input(self, seed: int, number: int, folder: Path) -> dict[str, bytes]:
        """The file of an input: its graph after the passes."""
        return self._files(self._chosen(seed, number + 1)[number], folder)

    def items(self) -> Sequence[Item]:
        """All inputs of the campaign."""
        raise NotImplementedError

    def wrong(self, chosen: Sequence[Item]) -> Wrong:
        """Test these inputs; returns what is wrong with each."""
        raise NotImplementedError

    def missing(self) -> list[str]:
        """The reasons why this machine cannot test everything."""
        said = []
        if not self.quick and not real_models():
            said.append("no real models: ELLC_TEST_DATA names no folder that has any in `models`")
        if not emulate.can_run(resolve(self.target)):
            said.append(f"this machine cannot run programs for {self.target}")
        return said

    def _chosen(self, seed: int, count: int) -> Sequence[Item]:
        first = (seed - 1) * self.batch
        return self.items()[first : first + count]

    def _files(self, item: Item, folder: Path) -> dict[str, bytes]:
        path = folder / f"{self.name}.eir"
        save(item.make().trial.graph, path)
        return {path.name: path.read_bytes()}


@dataclass(frozen=True)
class Guards(_Listed):
    """Runs networks with each end of arena, inputs, outputs and constants at a guard page."""

    def items(self) -> Sequence[Item]:
        target = resolve(self.target)
        items = _networks(self.quick)
        return [i for i in items if not target.emulator or i.macs() <= MOST_EMULATED_MACS]

    def wrong(self, chosen: Sequence[Item]) -> Wrong:
        return [
            [t for guard in get_args(emulate.Guard) for t in self._at(guard, i)] for i in chosen
        ]

    def _at(self, guard: emulate.Guard, item: Item) -> list[str]:
        sample = item.make()
        (result,) = run_trials([sample.trial], resolve(self.target), guard=guard)
        return [f"{guard}: {text}" for text in _said(item, sample, result)]


@dataclass(frozen=True)
class Sanitized(_Listed):
    """Runs portable C code of operators and networks, compiled with a sanitizer by `cc`."""

    cc: tuple[str, ...] = ADDRESS
    threads: int = 1

    def items(self) -> Sequence[Item]:
        small = [i for i in _networks(self.quick) if i.file_bytes <= SMALL_FILE_BYTES]
        return small if self.quick else [*_operators(), *small]

    def wrong(self, chosen: Sequence[Item]) -> Wrong:
        made = [item.make() for item in chosen]
        results = run_trials(
            [s.trial for s in made], resolve("host"), "c", Options(threads=self.threads), cc=self.cc
        )
        return [_said(*of_one) for of_one in zip(chosen, made, results, strict=True)]

    def missing(self) -> list[str]:
        absent = [] if shutil.which(self.cc[0]) else [f"{self.cc[0]} is not installed"]
        return absent + super().missing()


@dataclass(frozen=True)
class Stacks(_Listed):
    """Checks with painted stacks that no call uses more bytes than the manifest states."""

    def items(self) -> Sequence[Item]:
        return [*([] if self.quick else _operators()), *_networks(self.quick)]

    def wrong(self, chosen: Sequence[Item]) -> Wrong:
        target = resolve(self.target)
        plans: dict[int, Plan] = {}
        for number, item in enumerate(chosen):
            try:
                graph = item.make().trial.graph
                plans[number] = make_plan(graph, target, Options(), f"m{number}")
            except EllcError as error:
                if not is_declined(error, target):
                    raise
        uses = dict(zip(plans, measure_stacks(list(plans.values()), target), strict=True))
        return [
            [f"a call used {use.used} bytes of stack, not {use.said} as the manifest states"]
            if (use := uses.get(number)) and use.used > use.said
            else []
            for number in range(len(chosen))
        ]


def _said(item: Item, sample: Sample, result: list[Outputs] | Exception) -> list[str]:
    """What is wrong with the calls of a run; if there is a state, only the first is compared."""
    if isinstance(result, Exception):
        return [str(result)]
    calls = result[:1] if sample.trial.graph.states else result
    return [said for outputs in calls if (said := item.judge(outputs, sample.want))]


# ---- inputs --------------------------------------------------------------------------------------


@cache
def _operators() -> list[Item]:
    found = [sample for op in all_ops().values() for sample in samples(op)]
    return [Item(s.label, partial(_itself, s), _difference) for s in found]


@cache
def _networks(quick: bool) -> list[Item]:
    if not quick:
        return [_real_model(model) for model in real_models()]
    graphs = convolution_network(), read(RandomOnnx(1).proto)
    return [Item(g.name, partial(_small, g), _difference) for g in graphs]


def _itself(sample: Sample) -> Sample:
    return sample


def _small(graph: Graph) -> Sample:
    inputs = inputs_of(graph)
    return _sample(graph.name, graph, inputs, evaluate(graph, inputs).outputs)


def _real_model(model: RealModel) -> Item:
    def make() -> Sample:
        return _sample(str(model), model.graph(), *next(model.computed_samples()))

    size = model.path.stat().st_size
    judge = partial(model_disagreement, model)
    return Item(str(model), make, judge, lambda: macs(model.graph()), size)


def _sample(label: str, graph: Graph, inputs: Outputs, want: Outputs) -> Sample:
    return Sample(label, Trial(run_pipeline(graph)[0], (inputs, inputs)), want)


def _difference(got: Outputs, want: Outputs) -> str:
    pairs = zip(got, want, strict=True)
    return "; ".join(t for a, b in pairs if (t := disagreement(a, np.asarray(b))))


CAMPAIGNS = (
    Guards("guards-host", batch=4, quick_count=2),
    Guards("guards-pi3", "pi3", batch=4),
    Guards("guards-pi3_64", "pi3_64", batch=4),
    Sanitized("addresses", quick_count=1),
    Sanitized("races", cc=THREAD, threads=THREADS),
    Stacks("stacks-host", quick_count=1),
    Stacks("stacks-pi3", "pi3"),
    Stacks("stacks-pi3_64", "pi3_64"),
    Stacks("stacks-imxrt1050", "imxrt1050"),
    Stacks("stacks-mcxn947", "mcxn947"),
)

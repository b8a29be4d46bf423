"""Runs graphs twice: with every nest that can be scheduled as assembly, and with none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ellc.codegen.blocks.calls import Options
from ellc.codegen.kir.assembly import frame
from ellc.codegen.kir.in_order.code import Unsupported
from ellc.codegen.kir.in_order.proof.prove import problem
from ellc.codegen.kir.in_order.scheduler import MACHINES
from ellc.codegen.kir.in_order.states import ENCODINGS
from ellc.codegen.kir.in_order.translate import lowered, translate
from ellc.codegen.kir.ir import Assembled, AssemblyFunction, walk
from ellc.codegen.kir.nests import NEST_SCHEDULERS, Nest, NestScheduler
from ellc.codegen.machine.pipeline import PIPELINES
from ellc.codegen.machine.target import Target
from ellc.codegen.measure.testing import Trial, run_trials
from ellc.codegen.planning.planner import make_plan
from ellc.ir.errors import EllcError

NAME = "in_order"


def differences(trials: Sequence[Trial], target: Target) -> list[str | None]:
    """For each trial how the results of the two runs differ; empty if they have the same bits.

    None stands for a trial without nests that can be scheduled, or without a kernel for its
    operator.
    """
    found: list[str | None] = [None] * len(trials)
    with _scheduler(everything):
        chosen = [i for i, trial in enumerate(trials) if _has_assembly(trial, target)]
        scheduled = run_trials([trials[i] for i in chosen], target)
    with _scheduler(lambda nest, target: None):
        plain = run_trials([trials[i] for i in chosen], target)
    for number, a, b in zip(chosen, scheduled, plain, strict=True):
        if isinstance(a, Exception) or isinstance(b, Exception):
            found[number] = f"scheduled: {a!r}; as LLVM compiles it: {b!r}"
            continue
        both = [(x, y) for u, v in zip(a, b, strict=True) for x, y in zip(u, v, strict=True)]
        wrong = [i for i, (x, y) in enumerate(both) if x.tobytes() != y.tobytes()]
        found[number] = f"the bits of outputs {wrong} differ" if wrong else ""
    return found


def everything(nest: Nest, target: Target) -> AssemblyFunction | None:
    """A scheduler that translates all nests that it can, also if this is slower."""
    encoding, rows = ENCODINGS[target.arch], PIPELINES[target.core.name, target.arch]
    layout = frame((nest.loop,), nest.results, target.word_bits)
    try:
        nodes = lowered(nest.loop, nest.results, layout, nest.aliases, encoding)
        found = translate(nodes, layout, encoding, rows)
    except Unsupported:
        return None
    rest = (found.function, found.witnesses, MACHINES[target.arch])
    assert problem(nest.loop, nest.results, layout, nest.aliases, *rest) == ""
    return found.function


@contextmanager
def _scheduler(scheduler: NestScheduler) -> Iterator[None]:
    before = NEST_SCHEDULERS[NAME]
    NEST_SCHEDULERS[NAME] = scheduler
    try:
        yield
    finally:
        NEST_SCHEDULERS[NAME] = before


def _has_assembly(trial: Trial, target: Target) -> bool:
    try:
        plan = make_plan(trial.graph, target, Options(), "k")
    except EllcError as error:
        if error.code not in ("E300", "E301"):
            raise
        return False
    kernels = [step.call.kernel for step in plan.steps]
    return any(isinstance(s, Assembled) for kernel in kernels for s in walk(kernel.body))

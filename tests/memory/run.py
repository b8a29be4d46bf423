"""Look for every byte touched outside: guard pages, sanitizers, painted stacks.

    python tests/memory/run.py                      everything, an hour or more
    python tests/memory/run.py --only guards        real models between guard pages, both ends
    python tests/memory/run.py --only sanitizers    operator samples and small real models
    python tests/memory/run.py --only stacks        painted stacks of operator samples and models
    python tests/memory/run.py --target pi3 --every 10

Real models are those in ELLC_TEST_DATA. `--every N` takes each Nth of the operators' samples. What
is wrong is listed; exit code 1 if anything is.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from operator_graphs import Sample, samples
from painted_stack import measure_stacks
from real_models import disagreement, macs, real_models
from sanitizers import ADDRESS, sanitized

from codegen.lowering import Options
from codegen.plan import make_plan
from codegen.targets import Target, resolve
from codegen.testing import Trial, run_trials
from codegen.toolchain.emulate import Guard
from ir.op import all_ops
from ir.pipeline import run_pipeline

BATCH = 100
MOST_EMULATED_MACS = 20_000_000
SMALL_FILE_BYTES = 60_000
"""GCC takes minutes for the C of a larger model under its sanitizers."""


def operator_samples(every: int) -> list[Sample]:
    """Each `every`th sample of all operators."""
    return [sample for op in all_ops().values() for sample in samples(op)][::every]


def batches(items: Sequence[Sample]) -> list[Sequence[Sample]]:
    """So many samples at a time that one program holds them."""
    return [items[start : start + BATCH] for start in range(0, len(items), BATCH)]


def guards(target: Target, every: int) -> list[str]:
    """Real models with each end of arena, inputs, outputs and constants at a guard page."""
    wrong = []
    for model in real_models()[::every]:
        if target.emulator and macs(model.graph()) > MOST_EMULATED_MACS:
            continue
        ready, _ = run_pipeline(model.graph())
        inputs, want = next(model.computed_samples())
        for guard in get_args(Guard):
            (result,) = run_trials([Trial(ready, (inputs, inputs))], target, guard=guard)
            if isinstance(result, Exception):
                wrong.append(f"{model} {guard}: {result}")
            elif not ready.states:
                said = [disagreement(model, outputs, want) for outputs in result]
                wrong += [f"{model} {guard}: {text}" for text in said if text]
            print(f"{target.name} {model}: {guard} of every buffer guarded", flush=True)
    return wrong


def sanitizers(target: Target, every: int) -> list[str]:
    """Portable C of operator samples and small real models under address and UB sanitizers."""
    wrong = []
    for batch in batches(operator_samples(every)):
        wrong += sanitized(batch, ADDRESS)
        print(f"{len(batch)} operator samples sanitized, {len(wrong)} wrong", flush=True)
    for model in real_models():
        if model.path.stat().st_size > SMALL_FILE_BYTES:
            continue
        inputs, want = next(model.computed_samples())
        ready, _ = run_pipeline(model.graph())
        wrong += sanitized([Sample(str(model), Trial(ready, (inputs,)), want)], ADDRESS)
        print(f"{model} sanitized, {len(wrong)} wrong", flush=True)
    return wrong


def stacks(target: Target, every: int) -> list[str]:
    """Bytes of stack used and said, of operator samples and real models."""
    named = [(s.label, s.trial.graph) for s in operator_samples(every)]
    named += [(str(model), run_pipeline(model.graph())[0]) for model in real_models()[::every]]
    wrong = []
    for start in range(0, len(named), BATCH):
        batch = named[start : start + BATCH]
        plans = [make_plan(g, target, Options(), f"m{i}") for i, (_, g) in enumerate(batch)]
        with tempfile.TemporaryDirectory(prefix="ellc-stacks-") as folder:
            uses = measure_stacks(plans, target, Path(folder))
        for (label, _), use in zip(batch, uses, strict=True):
            if use.used > use.said:
                wrong.append(f"{label}: {use.used} bytes of stack used, {use.said} said")
        least = min(use.said - use.used for use in uses)
        print(f"{target.name}: {len(batch)} stacks, said - used at least {least}", flush=True)
    return wrong


WAYS: dict[str, Callable[[Target, int], list[str]]] = {
    "guards": guards,
    "sanitizers": sanitizers,
    "stacks": stacks,
}


def main() -> None:
    """Parse, run, report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=list(WAYS))
    parser.add_argument("--target", default="host")
    parser.add_argument("--every", type=int, default=1)
    given = parser.parse_args()
    wrong: list[str] = []
    for name in [given.only] if given.only else list(WAYS):
        wrong += WAYS[name](resolve(given.target), given.every)
    print("\n".join([*wrong, f"{len(wrong)} wrong"]))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()

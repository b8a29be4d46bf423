"""Fit the costs of a step, per issue slot and per byte, to modelled cycles of steps.

    python tests/benchmarks/step_costs.py [--target pi3_64]
    ELLC_CYCLE_TOOL=... python tests/benchmarks/step_costs.py --measure [--target pi3_64]

Prints `slot_cycles` and `byte_cycles` of the target's core (`codegen/machine/core.py`) as fitted to
`measured_steps.json`, beside those in the source, and how far predictions with them are from the
measurements. `--measure` first measures again all steps of `NETWORKS` from the zoo, each inside its
network (`layer_cycles.py`), and writes them to that file. This is needed after kernels have
changed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from cycles import kernel_cycles  # noqa: E402
from layer_cycles import calls_of  # noqa: E402

from ellc.codegen.blocks.calls import Options  # noqa: E402
from ellc.codegen.machine.core import Core  # noqa: E402
from ellc.codegen.machine.resolve import resolve  # noqa: E402
from ellc.codegen.machine.target import Target  # noqa: E402
from ellc.codegen.planning.planner import make_plan  # noqa: E402
from ellc.codegen.planning.step_costs import StepCost, step_costs  # noqa: E402
from ellc.ir.pipeline import run_pipeline  # noqa: E402
from ellc.zoo.catalogue import build  # noqa: E402

FILE = Path(__file__).with_name("measured_steps.json")
NETWORKS = (
    "mobilenet_v1_0.25_128",
    "mobilenet_v2_1.0_224",
    "mnasnet_b1_1.0",
    "squeezenet_1.1",
    "resnet18",
    "resnet8",
    "vww96",
    "deepface_emotion",
)
LEAST_CYCLES = 2000
"""Shorter steps are left out: calling them takes most of their time."""
_ROUNDS = 30


@dataclass(frozen=True)
class MeasuredStep:
    """A step of a network: its family of kernels, its cost, and its modelled cycles."""

    network: str
    kernel: str
    slots: int
    moved_bytes: int
    cycles: int


@dataclass(frozen=True)
class Fit:
    """Fitted costs, and errors: the factors by which half, and 90 %, of the predictions are off."""

    slot_cycles: float
    byte_cycles: float
    half: float
    most: float


def measure(target: Target) -> Iterator[MeasuredStep]:
    """Measure every step that moves bytes; steps that share a kernel share its cycles equally."""
    for name in NETWORKS:
        options = Options(depth_first=False)  # a band of a chain is too short to be measured
        plan = make_plan(run_pipeline(build(name))[0], target, options, "net")
        by_kernel = kernel_cycles([("net", plan)], target, calls_of(plan))
        names = [step.call.kernel.name for step in plan.steps]
        for step, cost in zip(plan.steps, step_costs(plan.steps, target), strict=True):
            kernel = step.call.kernel.name
            trips = 1 if step.repeat is None else step.repeat.trips
            cycles = by_kernel.get(kernel, 0.0) / names.count(kernel) / trips
            if step.moved_bytes and cycles >= LEAST_CYCLES:
                family = step.predictions[0].kernel if step.predictions else step.op
                slots, moved = round(cost.slots), cost.moved_bytes
                yield MeasuredStep(name, family, slots, moved, round(cycles))


def fit(steps: Sequence[MeasuredStep]) -> Fit:
    """Least squares of the errors relative to the geometric mean of prediction and measurement.

    The predictions in the weights are those of the last round.
    """
    costs = np.array([[s.slots, s.moved_bytes] for s in steps], np.float64)
    cycles = np.array([s.cycles for s in steps], np.float64)
    predicted = cycles
    for _ in range(_ROUNDS):
        weights = 1 / np.sqrt(predicted * cycles)
        solved, *_ = np.linalg.lstsq(costs * weights[:, None], cycles * weights, rcond=None)
        predicted = np.maximum(costs @ solved, 1.0)
    slot, byte = map(float, solved)
    return Fit(slot, byte, *errors(steps, Core("", slot_cycles=slot, byte_cycles=byte)))


def errors(steps: Sequence[MeasuredStep], core: Core) -> tuple[float, float]:
    """The factors by which half, and 90 %, of the predictions with a core's costs are off."""
    logs = [abs(np.log(StepCost(s.slots, s.moved_bytes).cycles(core) / s.cycles)) for s in steps]
    half, most = np.exp(np.percentile(logs, [50, 90]))
    return float(half), float(most)


def read(target: str) -> list[MeasuredStep]:
    """The stored measurements for a target."""
    document = json.loads(FILE.read_text(encoding="utf-8"))
    return [MeasuredStep(*row) for row in document[target]]


def write(target: str, steps: Sequence[MeasuredStep]) -> None:
    """Store the measurements for a target, one step in a line."""
    document = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    document[target] = [astuple(step) for step in steps]
    parts = []
    for name in sorted(document):
        rows = ",\n".join(f"  {json.dumps(row)}" for row in document[name])
        parts.append(f" {json.dumps(name)}: [\n{rows}\n ]")
    FILE.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


def line(what: str, costs: Fit) -> str:
    """A line with costs, to two digits as in the source, and errors."""
    return (
        f"{what}: slot_cycles={costs.slot_cycles:.2g}, byte_cycles={costs.byte_cycles:.2g}; "
        f"half of the predictions are off by {costs.half:.2f} times at most, 90 % by "
        f"{costs.most:.2f}"
    )


def main() -> None:
    """Fit, and print the costs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", default="pi3_64")
    parser.add_argument("--measure", action="store_true", help="measure all steps again")
    options = parser.parse_args()
    target = resolve(options.target)
    if options.measure:
        write(options.target, list(measure(target)))
    steps = read(options.target)
    fitted, core = fit(steps), target.core
    half, most = errors(steps, core)
    print(f"{len(steps)} steps of {len({s.network for s in steps})} networks on {core.name}")
    print(line("fitted", fitted))
    print(line("source", Fit(core.slot_cycles, core.byte_cycles, half, most)))


if __name__ == "__main__":
    main()

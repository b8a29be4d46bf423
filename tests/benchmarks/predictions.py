"""Compare the predictions of kernel families with modelled Cortex-A53 cycles.

    ELLC_CYCLE_TOOL=... python tests/benchmarks/predictions.py [--target pi3_64] [--only NAME]
        [--schedules] [--first-layers]

The layers are those of the samples and small networks in `tests/golden/replay` that several
families can compute, or with --first-layers those in `layer_list.FIRST_LAYERS`. Each is compiled
with every family, or with --schedules with every schedule in the plan. A line for each layer has
the predicted and modelled cycles of its candidates, the chosen one first, and `!` if another
candidate has fewer modelled cycles. The last two lines have the number of these layers, and on how
many layers the planner's choice takes at most 5 % more cycles than the best candidate.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support"), str(Path(__file__).parent)]

from cycles import kernel_cycles  # noqa: E402
from layer_list import FIRST_LAYERS  # noqa: E402
from replay import programs  # noqa: E402

from ellc.codegen.blocks.calls import Options  # noqa: E402
from ellc.codegen.blocks.candidates import Prediction  # noqa: E402
from ellc.codegen.machine.resolve import resolve  # noqa: E402
from ellc.codegen.machine.target import Target  # noqa: E402
from ellc.codegen.planning.plan import Plan  # noqa: E402
from ellc.codegen.planning.planner import make_plan  # noqa: E402
from ellc.ir.errors import EllcError  # noqa: E402
from ellc.ir.graph import Graph  # noqa: E402
from ellc.ir.pipeline import run_pipeline  # noqa: E402

NEAR = 1.05
AT_ONCE = 40  # number of plans in a program that the tool runs


@dataclass(frozen=True)
class Way:
    """A layer computed by one candidate, in a plan with only this kernel."""

    layer: str
    prediction: Prediction
    kernel: str
    prefix: str
    plan: Plan


def ways(
    label: str, graph: Graph, target: Target, prefix: str, *, schedules: bool
) -> Iterator[Way]:
    """All candidates of layers that have several.

    Layers that share their kernel with another step are left out.
    """
    try:
        planned = make_plan(graph, target, Options(), prefix)
    except EllcError:  # the target has no kernel for an operator
        return
    for number, step in enumerate(planned.steps):
        compared = step.predictions if schedules else firsts(step.predictions)
        if len(compared) < 2:
            continue
        for place, prediction in enumerate(compared):
            own = f"{prefix}_{number}_{place}"
            name = prediction.name if schedules else prediction.kernel
            asked = Options(kernels=((step.values[0], name),))
            plan = make_plan(graph, target, asked, own)
            (kernel,) = (s.call.kernel.name for s in plan.steps if s.values == step.values)
            (taken,) = (s.predictions[0] for s in plan.steps if s.values == step.values)
            if sum(s.call.kernel.name == kernel for s in plan.steps) == 1:
                yield Way(f"{label} {step.values[0]}", taken, kernel, own, plan)


def firsts(predictions: Sequence[Prediction]) -> list[Prediction]:
    """A candidate of each family, the chosen one first."""
    found: dict[str, Prediction] = {}
    for prediction in predictions:
        found.setdefault(prediction.kernel, prediction)
    return list(found.values())


def first_layers() -> dict[str, Graph]:
    """Convolutions with few channels after all passes, by name."""
    return {layer.name: run_pipeline(layer.graph())[0] for layer in FIRST_LAYERS}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", default="pi3_64", choices=["pi3", "pi3_64"])
    parser.add_argument("--schedules", action="store_true", help="all that the plan lists")
    parser.add_argument("--only", default="", help="samples and networks whose name contains this")
    parser.add_argument("--first-layers", action="store_true", help="convolutions of few channels")
    options = parser.parse_args()
    target = resolve(options.target)
    graphs = first_layers() if options.first_layers else programs()
    every = [
        way
        for number, (label, graph) in enumerate(graphs.items())
        if options.only in label
        for way in ways(label, graph, target, f"p{number}", schedules=options.schedules)
    ]
    layers: dict[str, list[tuple[Prediction, float]]] = {}
    for begin in range(0, len(every), AT_ONCE):
        some = every[begin : begin + AT_ONCE]
        cycles = kernel_cycles([(way.prefix, way.plan) for way in some], target)
        for way in some:
            layers.setdefault(way.layer, []).append((way.prediction, cycles[way.kernel]))
    wrong = near = 0
    for layer, found in layers.items():
        best = min(counted for _, counted in found)
        is_wrong = found[0][1] > best
        wrong += is_wrong
        near += found[0][1] <= NEAR * best
        shown = [f"{p.name} {p.cycles:.0f} {counted:.0f}" for p, counted in found]
        print(f"{'!' if is_wrong else ' '} {layer}: {', '.join(shown)}")
    print(f"{len(layers)} layers; of {wrong} another candidate is faster by the model")
    print(f"within 5 % of the best on {near} of {len(layers)} layers")


if __name__ == "__main__":
    main()

"""Compare the predictions of kernel families with modelled Cortex-A53 cycles.

    ELLC_CYCLE_TOOL=... python tests/benchmarks/predictions.py [--target pi3_64] [--only NAME]
        [--networks | --first-layers] [--schedules] [--cache FOLDER [--unchanged]]

The layers are those of the samples and small networks in `tests/golden/replay` that several
families can compute, or with --first-layers those in `layer_list.FIRST_LAYERS`. Each is compiled
with every family, or with --schedules with every schedule in the plan. With --networks, the layers
are those of ten networks, each measured inside its network with at most --candidates schedules.

A line for each layer has the predicted and modelled cycles of its candidates, the chosen one first,
and `!` if another candidate takes at least 5 % less modelled cycles, `-` if it takes less. The last
lines have the number of these layers, and on how many layers the planner's choice takes at most 5 %
more cycles than the best candidate.

--cache keeps the modelled cycles of each kernel in a folder, so that only kernels that have changed
are modelled again. --unchanged trusts the names of candidates in the folder: after a change of
predictions alone, the table then takes seconds.
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
from layer_cycles import NETWORKS, Cache, Counted, LayerCycles, network_layers, text_digest  # noqa: E402
from layer_list import FIRST_LAYERS  # noqa: E402
from replay import programs  # noqa: E402

from ellc.codegen.blocks.calls import Options  # noqa: E402
from ellc.codegen.blocks.candidates import Prediction  # noqa: E402
from ellc.codegen.kir.ir import Kernel  # noqa: E402
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

    label: str
    value: str
    prediction: Prediction
    kernel: Kernel
    prefix: str
    plan: Plan

    @property
    def names(self) -> tuple[str, str]:
        """What the cache calls it."""
        return self.value, self.prediction.name


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
            (kernel,) = (s.call.kernel for s in plan.steps if s.values == step.values)
            (taken,) = (s.predictions[0] for s in plan.steps if s.values == step.values)
            if sum(s.call.kernel.name == kernel.name for s in plan.steps) == 1:
                yield Way(label, step.values[0], taken, kernel, own, plan)


def firsts(predictions: Sequence[Prediction]) -> list[Prediction]:
    """A candidate of each family, the chosen one first."""
    found: dict[str, Prediction] = {}
    for prediction in predictions:
        found.setdefault(prediction.kernel, prediction)
    return list(found.values())


def first_layers() -> dict[str, Graph]:
    """Convolutions with few channels after all passes, by name."""
    return {layer.name: run_pipeline(layer.graph())[0] for layer in FIRST_LAYERS}


def single_layers(every: Sequence[Way], target: Target, cache: Cache | None) -> list[LayerCycles]:
    """The layers of samples, each candidate measured in a plan of its own."""
    known = {way.prefix: _known(way, cache) for way in every}
    missing = [way for way in every if known[way.prefix] is None]
    for begin in range(0, len(missing), AT_ONCE):
        some = missing[begin : begin + AT_ONCE]
        cycles = kernel_cycles([(way.prefix, way.plan) for way in some], target)
        for way in some:
            known[way.prefix] = counted = cycles[way.kernel.name]
            if cache:
                cache.add(way.label, way.names, text_digest([way.kernel]), counted)
    layers: dict[tuple[str, str], list[Counted]] = {}
    for way in every:
        counted = known[way.prefix] or 0.0
        layers.setdefault((way.label, way.value), []).append(Counted(way.prediction, counted))
    return [LayerCycles(label, "", value, tuple(c)) for (label, value), c in layers.items()]


def _known(way: Way, cache: Cache | None) -> float | None:
    return cache.of(way.label, way.names, text_digest([way.kernel])) if cache else None


def show(layers: Sequence[LayerCycles]) -> None:
    """Print the table."""
    wrong = near = 0
    for layer in layers:
        chosen = layer.candidates[0].cycles
        best = chosen - layer.loss
        wrong += chosen > best
        near += chosen <= NEAR * best
        sign = "!" if chosen > NEAR * best else "-" if chosen > best else " "
        shown = [
            f"{c.prediction.name} {c.prediction.cycles:.0f} {c.cycles:.0f}"
            for c in layer.candidates
        ]
        loss = f" ({layer.loss:.0f} lost)" if chosen > NEAR * best else ""
        print(f"{sign} {layer.network} {layer.source}{loss}: {', '.join(shown)}")
    total = sum(layer.candidates[0].cycles for layer in layers)
    lost = sum(layer.loss for layer in layers)
    print(f"{len(layers)} layers; of {wrong} another candidate is faster by the model")
    print(f"all choices take {total:.0f} cycles, {lost:.0f} more than the best candidates")
    print(f"within 5 % of the best on {near} of {len(layers)} layers")


def main() -> None:
    """Measure the layers, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", default="pi3_64", choices=["pi3", "pi3_64"])
    parser.add_argument("--schedules", action="store_true", help="all that the plan lists")
    parser.add_argument("--only", default="", help="samples and networks whose name contains this")
    parser.add_argument("--first-layers", action="store_true", help="convolutions of few channels")
    parser.add_argument("--networks", action="store_true", help="the layers of ten networks")
    parser.add_argument("--candidates", type=int, default=8, help="schedules of a network's layer")
    parser.add_argument("--cache", type=Path, metavar="FOLDER", help="keep modelled cycles here")
    parser.add_argument("--unchanged", action="store_true", help="the cache's kernels are today's")
    options = parser.parse_args()
    if (options.networks or options.unchanged) and not options.cache:
        parser.error("--networks and --unchanged need --cache FOLDER")
    target = resolve(options.target)
    cache = Cache(options.cache, target) if options.cache else None
    if options.networks and cache:
        show(
            [
                layer
                for network in NETWORKS
                if options.only in network
                for layer in network_layers(
                    network, target, options.candidates, cache, unchanged=options.unchanged
                )
            ]
        )
        return
    graphs = first_layers() if options.first_layers else programs()
    every = [
        way
        for number, (label, graph) in enumerate(graphs.items())
        if options.only in label
        for way in ways(label, graph, target, f"p{number}", schedules=options.schedules)
    ]
    show(single_layers(every, target, cache))


if __name__ == "__main__":
    main()

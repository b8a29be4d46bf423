"""Write the tuning file in ellc's package: the fastest kernels of layers in the zoo.

    ELLC_CYCLE_TOOL=... python tests/benchmarks/shipped_tuning.py --cache FOLDER
        [--target pi3_64] [--only NETWORK] [--candidates 8] [--unchanged]

The layers of networks are measured by the cycle tool, as `predictions.py --networks --cache FOLDER`
does it, with the same cache: only kernels that have changed are measured again. A layer that
several networks have keeps the result of the first. The file gets only the layers for which the
planner's own choice is more than 5 % slower than the fastest kernel, and also by `LEAST_GAIN`.
Entries for other cores stay in it, and so do those of other architectures.

Layers are measured one by one, without chains. Where a network with the file takes more cycles as a
whole, a person removes its entries: MNasNet took 146.3 instead of 143.9 million with three.

For each network, and at the end for all, a line says on how many layers the planner's choice, and
the file's, is within 5 % of the fastest.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from layer_cycles import NETWORKS, Cache, LayerCycles, network_layers  # noqa: E402

from ellc import __version__  # noqa: E402
from ellc.codegen.machine.resolve import resolve  # noqa: E402
from ellc.codegen.machine.target import Target  # noqa: E402
from ellc.codegen.planning.tuning import SHIPPED_MOST  # noqa: E402
from ellc.tuning import SHIPPED, Entry, read_tuning, write_tuning  # noqa: E402
from ellc.zoo.catalogue import networks  # noqa: E402

NEAR = 1.05
LEAST_GAIN, LEAST_PART = 20_000, 0.002
"""The cycles that an entry must gain, and the part of its network's cycles. Less is lost in what
other layers find in the caches: with three entries that gained 6, 18 and 1 thousand, ResNet8 took
3.55 instead of 3.47 million, and d_I160 with two that gained 55 and 31 thousand 72.97 instead of
72.64 million."""
HOW = "modelled by ELLC_CYCLE_TOOL, inside the network, one thread"


def entries(layers: Sequence[LayerCycles], target: Target) -> dict[str, Entry]:
    """The entries for layers whose fastest kernel the planner would not choose."""
    found: dict[str, Entry] = {}
    core = target.core.name, target.arch, __version__
    whole: dict[str, float] = {}
    for layer in layers:
        whole[layer.network] = whole.get(layer.network, 0.0) + layer.candidates[0].cycles
    for layer in layers:
        chosen = layer.candidates[0]
        limit = SHIPPED_MOST * chosen.prediction.known_cycles
        usable = [c for c in layer.candidates if c.prediction.known_cycles <= limit]
        best = min(usable, key=lambda c: c.cycles)
        least = max(LEAST_GAIN, LEAST_PART * whole[layer.network])
        if chosen.cycles > max(NEAR * best.cycles, best.cycles + least):
            made = Entry(layer.layer, *core, best.prediction.name, best.cycles, "cycles", HOW)
            found.setdefault(layer.layer, made)
    return found


def summary(layers: Sequence[LayerCycles], found: dict[str, Entry]) -> str:
    """How often the planner's choice and that of the file are within 5 % of the fastest."""
    fastest = [min(c.cycles for c in layer.candidates) for layer in layers]
    alone = [layer.candidates[0].cycles for layer in layers]
    tuned = [
        next(
            (
                c.cycles
                for c in layer.candidates
                if layer.layer in found and c.prediction.name == found[layer.layer].kernel
            ),
            layer.candidates[0].cycles,
        )
        for layer in layers
    ]

    def near(times: list[float]) -> int:
        return sum(time <= NEAR * best for time, best in zip(times, fastest, strict=True))

    return (
        f"within 5 % of the fastest of {len(layers)} layers: predicted {near(alone)}, "
        f"with the file {near(tuned)}; {sum(alone) / 1e6:.2f} and {sum(tuned) / 1e6:.2f} million "
        "cycles"
    )


def main() -> None:
    """Measure, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", default="pi3_64")
    parser.add_argument("--only", default="", help="all networks whose name contains this")
    parser.add_argument("--candidates", type=int, default=8)
    parser.add_argument("--cache", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--unchanged", action="store_true", help="the cache's kernels are today's")
    options = parser.parse_args()
    target = resolve(options.target)
    cache = Cache(options.cache, target)
    every: list[LayerCycles] = []
    named = [network.name for network in networks() if options.only in network.name]
    for name in named if options.only else NETWORKS:
        layers = list(
            network_layers(name, target, options.candidates, cache, unchanged=options.unchanged)
        )
        print(f"{name}: {summary(layers, entries(layers, target))}", flush=True)
        every += layers
    found = entries(every, target)
    mine = target.core.name, target.arch
    kept = [e for e in read_tuning(SHIPPED) if (e.core, e.architecture) != mine]
    write_tuning(SHIPPED, [*kept, *found.values()])
    print(f"all: {summary(every, found)}")
    print(f"{len(found)} entries; {SHIPPED.relative_to(ROOT)}")


if __name__ == "__main__":
    main()

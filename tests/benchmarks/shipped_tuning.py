"""Write the tuning file in ellc's package: the fastest kernels of layers in the zoo.

    ELLC_CYCLE_TOOL=... python tests/benchmarks/shipped_tuning.py --journals FOLDER
        [--target pi3_64] [--only NETWORK] [--candidates 8]

`NETWORKS` of the zoo are built and tuned one after the other (`ellc tune`) with modelled cycles.
Each has a journal in the folder, from which an interrupted run continues; after a change of kernels
the folder must be empty. A layer that several networks have keeps the result of the first. The file
gets only the layers for which a kernel takes at most 98 % of the cycles of the planner's choice.
Entries for other cores stay in it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from ellc.codegen.machine.resolve import resolve  # noqa: E402
from ellc.codegen.machine.target import Target  # noqa: E402
from ellc.ir.pipeline import run_pipeline  # noqa: E402
from ellc.tune import MeasuredKernel, fastest, measure, method_here, tuned  # noqa: E402
from ellc.tuning import SHIPPED, Entry, read_tuning, write_tuning  # noqa: E402
from ellc.zoo.catalogue import build, networks  # noqa: E402

NETWORKS = (
    "mobilenet_v1_0.25_128",
    "mobilenet_v1_0.25_224",
    "mobilenet_v1_1.0_224",
    "mobilenet_v2_1.0_224",
    "mobilenet_v3_small",
    "mnasnet_b1_1.0",
    "efficientnet_lite0",
    "squeezenet_1.1",
    "resnet8",
    "resnet18",
    "vww96",
    "ds_cnn",
    "lenet5",
    "deepface_emotion",
    "d_I160x160x3CMCMCMCMCMCMC1A",
)
GAIN = 0.98
"""A kernel is written to the file if it takes at most this fraction of the default's cycles."""


def of_network(name: str, target: Target, candidates: int, journals: Path) -> Iterator[Entry]:
    """The entries of layers of a network that gain enough."""
    graph, _ = run_pipeline(build(name))
    method = method_here(target, 0)
    what = tuned(graph, target, candidates)
    measured = measure(what, method, journals / f"{name}-{target.name}.jsonl")
    usual = {m.layer: m.time for m in measured if m.kernel == what.names[m.layer][0]}
    print(summary(name, measured, usual), flush=True)
    for entry in fastest(measured, target, method):
        if entry.measured <= GAIN * usual[entry.layer]:
            yield entry


def summary(name: str, measured: tuple[MeasuredKernel, ...], usual: dict[str, float]) -> str:
    """How often the planner's choice is within 5 % of the best candidate."""
    best = {layer: min(m.time for m in measured if m.layer == layer) for layer in usual}
    near = sum(usual[layer] <= 1.05 * best[layer] for layer in usual)
    return f"{name}: within 5 % of the best on {near} of {len(usual)} layers"


def main() -> None:
    """Tune, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", default="pi3_64")
    parser.add_argument("--only", default="", help="all networks whose name contains this")
    parser.add_argument("--candidates", type=int, default=8)
    parser.add_argument("--journals", type=Path, required=True, metavar="FOLDER")
    options = parser.parse_args()
    target = resolve(options.target)
    options.journals.mkdir(parents=True, exist_ok=True)
    found: dict[str, Entry] = {}
    every = [network.name for network in networks() if options.only in network.name]
    for name in every if options.only else NETWORKS:
        for entry in of_network(name, target, options.candidates, options.journals):
            found.setdefault(entry.layer, entry)
    mine = target.core.name, target.arch
    kept = [e for e in read_tuning(SHIPPED) if (e.core, e.architecture) != mine]
    write_tuning(SHIPPED, [*kept, *found.values()])
    print(f"{len(found)} layers; {SHIPPED.relative_to(ROOT)}")


if __name__ == "__main__":
    main()

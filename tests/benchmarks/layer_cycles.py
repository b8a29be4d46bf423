"""Modelled cycles of the candidates of layers inside networks, with a cache.

Every layer is measured inside its network, as `ellc tune` does it: in the build number n, every
layer has its candidate n. In a small network, what a layer finds in the second-level cache depends
on its neighbours: strided 1x1 of 16x16x32 takes 56 thousand cycles on pi3_64 behind one kernel, and
68 behind another. There, only each third layer has its candidate n in a build, and the others have
the planner's choice.

The cache is a file in a folder of the user's choice. It has the cycles of each candidate of each
layer, with a digest of the text of its kernels. Only candidates whose kernels have changed, or that
the file does not have, are measured again.

A network is measured in its second call. One whose weights fill the second-level cache several
times finds nothing there that an earlier call has left, and is measured in its first call, which
takes a third of the time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from cycles import kernel_cycles

from ellc.codegen.blocks.calls import Options
from ellc.codegen.blocks.candidates import Prediction
from ellc.codegen.kir.ir import Kernel
from ellc.codegen.kir.text import print_kernel
from ellc.codegen.machine.target import Target
from ellc.codegen.planning.plan import Plan
from ellc.codegen.planning.planner import make_plan
from ellc.ir.pipeline import run_pipeline
from ellc.tune import Tuned, of_layers, of_steps, tuned
from ellc.zoo.catalogue import build

NETWORKS = (
    "resnet8",
    "vww96",
    "mobilenet_v1_0.25_128",
    "deepface_emotion",
    "d_I160x160x3CMCMCMCMCMCMC1A",
    "mobilenet_v2_1.0_224",
    "mobilenet_v1_1.0_224",
    "resnet18",
    "squeezenet_1.1",
    "mnasnet_b1_1.0",
)
"""The networks of the zoo that `networks.py` compares with other programs."""

_TIMES_L2 = 4
_APART = 3
"""In a small network, one of so many neighbouring layers has another kernel than usual."""

Names = tuple[str, str]
"""A layer's key and the name of a candidate."""


@dataclass(frozen=True)
class Counted:
    """A candidate of a layer: its prediction and its modelled cycles."""

    prediction: Prediction
    cycles: float


@dataclass(frozen=True)
class LayerCycles:
    """A layer of a network and its candidates, the planner's choice first.

    `source` names the layers of the model that it computes.
    """

    network: str
    layer: str
    source: str
    candidates: tuple[Counted, ...]

    @property
    def loss(self) -> float:
        """The cycles that the choice takes more than the best candidate."""
        return self.candidates[0].cycles - min(c.cycles for c in self.candidates)


class Cache:
    """Cycles by network, layer and candidate, in a file; each with a digest of its kernels."""

    def __init__(self, folder: Path, target: Target) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"layers-{target.name}.jsonl"
        self._known: dict[tuple[str, str, str], dict[str, float]] = {}
        lines = self._path.read_text(encoding="utf-8").splitlines() if self._path.exists() else []
        for line in lines:
            network, layer, kernel, digest, cycles = json.loads(line)
            self._known.setdefault((network, layer, kernel), {})[digest] = cycles

    def of(self, network: str, names: Names, digest: str | None) -> float | None:
        """The cycles of a candidate whose kernels have this digest, or the latest if it is None."""
        found = self._known.get((network, *names), {})
        if digest is None:
            return list(found.values())[-1] if found else None
        return found.get(digest)

    def digest(self, network: str, names: Names) -> str:
        """The digest of the kernels of a candidate that was measured last; empty if none was."""
        return next(reversed(self._known.get((network, *names), {"": 0.0})))

    def add(self, network: str, names: Names, digest: str, cycles: float) -> None:
        """Store the cycles of a candidate."""
        self._known.setdefault((network, *names), {})[digest] = cycles
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([network, *names, digest, cycles]) + "\n")


def text_digest(kernels: Iterable[Kernel]) -> str:
    """A digest of the texts of kernels, without their names."""
    text = "\n".join(print_kernel(replace(kernel, name="")) for kernel in kernels)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def digests(what: Tuned, plan: Plan) -> dict[Names, str]:
    """For each layer of a build, a digest of the kernels of all nodes that compute such a layer."""
    found: dict[Names, list[Kernel]] = {}
    of_node: list[Kernel] = []
    for step in plan.steps:
        of_node.append(step.call.kernel)
        if step.layer in what.names:
            found.setdefault((step.layer, step.predictions[0].name), []).extend(of_node)
        if step.values:
            of_node = []
    return {names: text_digest(kernels) for names, kernels in found.items()}


def network_layers(
    network: str, target: Target, most: int, cache: Cache, *, unchanged: bool
) -> Iterator[LayerCycles]:
    """The layers of a network that have several candidates; at most `most` of each are counted.

    With `unchanged`, the kernels are taken to be those of the cache. They are neither made nor
    measured again, and what the cache lacks is left out.
    """
    what = tuned(run_pipeline(build(network))[0], target, most)
    wanted = {(layer, name): "" for layer, names in what.names.items() for name in names}
    if not unchanged:
        for number in range(what.builds):
            wanted.update(digests(what, what.plan(number)))
        missing = [n for n, digest in wanted.items() if cache.of(network, n, digest) is None]
        _measure(network, what, missing, cache)
    steps = {step.layer: step for step in reversed(what.first.steps) if step.layer in what.names}
    for layer, names in what.names.items():
        predictions = {p.name: p for p in steps[layer].predictions}
        digests_of = {n: wanted[layer, n] or cache.digest(network, (layer, n)) for n in names}
        counted = shared_cycles(network, layer, digests_of, cache)
        found = [Counted(predictions[name], c) for name, c in counted.items()]
        if found and found[0].prediction.name == names[0]:
            yield LayerCycles(network, layer, ", ".join(steps[layer].source), tuple(found))


def shared_cycles(
    network: str, layer: str, digests_of: Mapping[str, str], cache: Cache
) -> dict[str, float]:
    """The cycles of the candidates of a layer that the cache has, by name.

    Several names may mean the same kernel, such as a tile of 8 pixels where rows have 7. They get
    the mean of their measurements, which differ by up to 10 %: caches replace lines at random.
    """
    counted: dict[str, list[float]] = {}
    for name, digest in digests_of.items():
        cycles = cache.of(network, (layer, name), digest) if digest else None
        if cycles is not None:
            counted.setdefault(digest, []).append(cycles)
    return {n: fmean(counted[d]) for n, d in digests_of.items() if d in counted}


def _measure(network: str, what: Tuned, missing: Sequence[Names], cache: Cache) -> None:
    """Measure candidates in as few builds as possible. Other layers have their first candidate."""
    by_layer: dict[str, list[str]] = {}
    for layer, name in missing:
        by_layer.setdefault(layer, []).append(name)
    apart = 1 if _is_large(what.plan(0)) else _APART
    for number in range(max(map(len, by_layer.values()), default=0)):
        chosen = {k: names[number] for k, names in by_layer.items() if number < len(names)}
        for group in range(apart):
            mine = {k: chosen[k] for k in list(by_layer)[group::apart] if k in chosen}
            if mine:
                _measure_build(network, what, mine, f"m{number}_{group}", cache)


def _measure_build(
    network: str, what: Tuned, chosen: Mapping[str, str], prefix: str, cache: Cache
) -> None:
    plan = _build(what, chosen, prefix)
    times, found = _times(plan, prefix), digests(what, plan)
    for names, cycles in of_layers(what, plan, times).items():
        if chosen.get(names[0]) == names[1]:
            cache.add(network, names, found[names], round(cycles))


def calls_of(plan: Plan) -> tuple[int, int]:
    """The calls whose difference is measured: the first call of a large network, or the second."""
    return (0, 1) if _is_large(plan) else (1, 2)


def _is_large(plan: Plan) -> bool:
    """Whether a call finds nothing in the second-level cache that an earlier call has left."""
    return plan.weight_bytes > _TIMES_L2 * plan.target.l2_bytes


def _times(plan: Plan, prefix: str) -> list[float]:
    """The cycles of every step; those of a kernel are divided among the steps that call it."""
    return of_steps(plan.steps, kernel_cycles([(prefix, plan)], plan.target, calls_of(plan)))


def _build(what: Tuned, chosen: Mapping[str, str], prefix: str) -> Plan:
    """The network with these candidates; other layers have their first."""
    asked = tuple(
        (step.values[0], chosen[step.layer]) for step in what.first.steps if step.layer in chosen
    )
    return make_plan(what.graph, what.target, Options(kernels=asked, depth_first=False), prefix)

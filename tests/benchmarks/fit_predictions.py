"""Compare predictions with stored measurements of layers, and fit their coefficients to these.

    python tests/benchmarks/fit_predictions.py [--target pi3_64] [--only NETWORK] [--fit]
    python tests/benchmarks/fit_predictions.py --take FOLDER [--target pi3_64] [--only NETWORK]

`measured_candidates.json` has the modelled cycles of the candidates of layers in ten networks.
Prints each layer on which the planner's choice takes more than 5 % longer than the best candidate,
with the predicted and measured cycles of its candidates. Then a line for each family of kernels
says how far its predictions are off, and the last line on how many layers choices are good.

`--fit` also fits coefficients by least squares of the logarithms of predicted / measured, and
prints them beside those in the source.

`--take` first replaces the stored measurements of networks by those in the cache of
`predictions.py --networks --cache FOLDER`. This is needed after kernels have changed.

Choices are good on 202 of 212 layers for pi3_64, and on 189 of 198 for pi3. On the others of pi3,
another number of rows or columns of a depthwise strip takes 4 to 12 % less (6 layers), a smaller
tile of the first layer of MNasNet 11 %, and other tiles of two small layers at most 2 thousand
cycles. On the others of pi3_64:

* Three lose at most 6 thousand cycles or 7 %: a mean of 3x3 and a small dense layer of DeepFace,
  and the first layer of ResNet8. Another of ResNet8 loses 5.04 % by Winograd's larger tiles.
* Depthwise strips of three rows of 28 columns (56x56x72) and of two rows of 11 (64x64x8) take 1.38
  and 1.16 times as long as predicted, the best ones 1.06 and 1.08 times.
* All tiles of two 1x1 layers with a residual sum take 1.1 to 1.3 times as long as predicted, and
  the tile of 4x12 least.
* Tiles of a dense layer of 512 -> 1000 are predicted to take the same time within 1 %, and differ
  by 8 %.
* A pool of 20x20x128 takes 1.66 times as long as predicted; its best candidate takes 0.97 times.

Earlier, rows of large tiles were not prefetched in the model that counts cycles: it takes the
address of a prefetch from the next access by the same pointer in a block (`steady.py`).
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from layer_cycles import NETWORKS, Cache, shared_cycles  # noqa: E402

from ellc.codegen.blocks.candidates import Offer  # noqa: E402
from ellc.codegen.blocks.placed_node import PlacedNode  # noqa: E402
from ellc.codegen.machine.resolve import resolve  # noqa: E402
from ellc.codegen.machine.target import Target  # noqa: E402
from ellc.codegen.planning.choice import Wishes, families_of, predictions_of  # noqa: E402
from ellc.codegen.planning.storage import Storage  # noqa: E402
from ellc.codegen.planning.tuning import layer_key  # noqa: E402
from ellc.ir.branches import needs  # noqa: E402
from ellc.ir.pipeline import run_pipeline  # noqa: E402
from ellc.ir.types import DType  # noqa: E402
from ellc.zoo.catalogue import build  # noqa: E402

FILE = Path(__file__).with_name("measured_candidates.json")
NEAR = 1.05
_EVERY = Wishes(listed=1000)
_RIVAL, _COMMON = 1.5, 0.5
_ROUNDS, _STEP = 5, 1e-3

Cycles = dict[str, dict[str, float]]
"""Measured cycles by layer and candidate."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Coefficient:
    """A number in the source that predictions depend on: a constant, or the entry of a table."""

    module: str
    name: str
    key: int | None = None

    @property
    def label(self) -> str:
        """How output calls it."""
        return self.name if self.key is None else f"{self.name}[{self.key}]"

    @property
    def value(self) -> float:
        """The value in the source."""
        found = getattr(self._owner, self.name)
        return float(found if self.key is None else found[self.key])

    @contextmanager
    def changed(self, value: float) -> Iterator[None]:
        """A context in which it has another value."""
        owner, before = self._owner, self.value
        self._set(owner, value)
        yield
        self._set(owner, before)

    def _set(self, owner: object, value: float) -> None:
        if self.key is None:
            object.__setattr__(owner, self.name, value)  # the owner may be a frozen dataclass
        else:
            getattr(owner, self.name)[self.key] = value

    @property
    def _owner(self) -> object:
        """A module, or a dataclass in it."""
        module, _, name = self.module.partition(":")
        found = import_module(f"ellc.codegen.{module}")
        return getattr(found, name) if name else found


def _of(module: str, *names: str, keys: Sequence[int | None] = (None,)) -> tuple[Coefficient, ...]:
    return tuple(Coefficient(module, name, key) for name in names for key in keys)


_DEPTHWISE = "kernels.depthwise_cost"
COEFFICIENTS: Mapping[tuple[str, str], tuple[Coefficient, ...]] = {
    ("pi3", "depthwise_columns"): (
        *_of(_DEPTHWISE, "_STREAM_COLUMN", keys=(1, 2)),
        *_of(_DEPTHWISE, "_STREAM_OPENING", "_ROW_RESULT", "_ROW_TRIP", "_LOWER_ROW"),
        *_of(f"{_DEPTHWISE}:_FEW_WAITS", "near", "stream", "crowded"),
        *_of(f"{_DEPTHWISE}:_FEW_WAITS", "in_place", "crowded_in_place"),
    ),
    ("pi3_64", "depthwise_columns"): (
        *_of(f"{_DEPTHWISE}:_WAITS", "near", "stream", "crowded"),
        *_of(f"{_DEPTHWISE}:_WAITS", "in_place", "crowded_in_place"),
    ),
    ("pi3", "winograd"): (
        *_of("kernels.winograd_cost", "_TRANSFORM_CYCLES", "_BLOCK_OF_SUMS", keys=(32,)),
    ),
    ("pi3_64", "winograd"): (
        *_of("kernels.winograd_cost", "_TRANSFORM_CYCLES", "_BLOCK_OF_SUMS", keys=(64,)),
        *_of("kernels.winograd_cost", "_NEAR_LINE_CYCLES", "_LOST_LINE_CYCLES"),
        *_of("kernels.winograd_cost", "_LOST_REREAD_LINE_CYCLES"),
    ),
    ("pi3", "direct"): _of("kernels.direct", "_RETURN_SLOTS", keys=(32,)),
    ("pi3_64", "direct"): _of("kernels.direct", "_RETURN_SLOTS", keys=(64,)),
    ("pi3_64", "pool_columns"): (
        *_of("kernels.pool_columns", "_SLOT", "_OPENING", "_CODE_SLOT", "_STREAM", "_CROWDED"),
    ),
    ("pi3_64", "gemm"): (*_of("machine.core:_WAITS", "near_wait", "far_wait", "store_wait"),),
}
"""The coefficients that may be fitted, by target and family. Those in the source are fitted values
in two digits only where their comments do not name another source: what a few layers decide, a
person has judged."""


@dataclass(frozen=True)
class Pair:
    """A candidate of a layer: its family, its predicted and its measured cycles."""

    name: str
    family: str
    predicted: float
    measured: float


@dataclass(frozen=True)
class Layer:
    """A layer of a network in memory, and the measured cycles of its candidates."""

    network: str
    source: str
    node: PlacedNode
    cycles: Mapping[str, float]

    def pairs(self) -> list[Pair]:
        """The planner's choice, then the other measured candidates, as they are predicted now.

        A choice that was not measured has infinite cycles.
        """
        chosen, *others = predictions_of(self.node, wishes=_EVERY)
        return [
            Pair(p.name, p.kernel, p.known_cycles, self.cycles.get(p.name, math.inf))
            for p in (chosen, *others)
            if p is chosen or p.name in self.cycles
        ]


def nodes_of(network: str, target: Target) -> Iterator[tuple[str, str, PlacedNode]]:
    """(key, source, node) of the layers of a network; of equal layers, only the first."""
    graph, _ = run_pipeline(build(network))
    storage, keys = Storage(graph, needs(graph), target), set[str]()
    for node in graph.nodes:
        placed = storage.placed(node, 1, "k")
        key = layer_key(placed)
        if key not in keys and len(families_of(placed.anchor)) > 1:
            yield key, ", ".join(node.source), placed
        keys.add(key)


def taken(network: str, target: Target, cache: Cache) -> Cycles:
    """What a cache knows of the layers of a network that have several candidates."""
    found: Cycles = {}
    for key, source, node in nodes_of(network, target):
        names = [p.name for p in predictions_of(node, wishes=_EVERY)]
        digests_of = {name: cache.digest(network, (key, name)) for name in names}
        cycles = shared_cycles(network, key, digests_of, cache)
        if len(cycles) > 1:
            found[source] = {name: round(count) for name, count in cycles.items()}
    return found


def read(target: str) -> dict[str, Cycles]:
    """The stored measurements for a target, by network."""
    document = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    found: dict[str, Cycles] = document.get(target, {})
    return found


def write(target: str, cycles: Mapping[str, Cycles]) -> None:
    """Store the measurements for a target, a layer in a line."""
    document = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    document[target] = cycles
    lines = ["{"]
    for name in sorted(document):
        lines.append(f"{json.dumps(name)}: {{")
        for network in (n for n in NETWORKS if n in document[name]):
            rows = [f"{json.dumps(k)}: {json.dumps(v)}" for k, v in document[name][network].items()]
            lines += [f"{json.dumps(network)}: {{", ",\n".join(rows), "},"]
        lines[-1:] = ["}", "},"]
    lines[-1:] = ["}", "}"]
    FILE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def layers_of(target: Target, only: str = "") -> list[Layer]:
    """The measured layers of the networks whose name contains `only`."""
    return [
        Layer(network, source, node, cycles[source])
        for network, cycles in read(target.name).items()
        if only in network
        for _, source, node in nodes_of(network, target)
        if source in cycles
    ]


def off(pairs: Sequence[Pair]) -> Floats:
    """The logarithms of predicted / measured of candidates that have a prediction."""
    known = [p for p in pairs if math.isfinite(p.predicted) and math.isfinite(p.measured)]
    return np.array([math.log(p.predicted / p.measured) for p in known])


class _Rivals:
    """The candidates of a family that are not far slower than the best one of their layer."""

    def __init__(self, layers: Sequence[Layer], family: str) -> None:
        self._cycles = dict[tuple[int, str], float]()
        self._offers: list[tuple[int, PlacedNode, Offer]] = []
        for number, layer in enumerate(layers):
            limit = _RIVAL * min(layer.cycles.values())
            for offered in families_of(layer.node.anchor):
                if offered.name == family and layer.node.inputs[0].type.dtype is DType.F32:
                    self._offers.append((number, layer.node, offered.offer))
            for name, cycles in layer.cycles.items():
                if cycles <= limit and name.partition(":")[0] == family:
                    self._cycles[number, name] = cycles

    def off(self) -> Floats:
        """The logarithms of predicted / measured, weighted, as predicted now."""
        predicted = {
            (number, candidate.prediction.name): candidate.prediction.known_cycles
            for number, node, offer in self._offers
            for candidate in offer(node)
        }
        logs: dict[int, list[float]] = {}
        for (number, name), cycles in self._cycles.items():
            logs.setdefault(number, []).append(math.log(predicted[number, name] / cycles))
        return np.concatenate([_weighted(np.array(of_layer)) for of_layer in logs.values()])


def _weighted(logs: Floats) -> Floats:
    """Errors in a layer: what all candidates have in common counts less, as it decides nothing."""
    mean = logs.mean()
    return np.array([*(logs - mean), _COMMON * mean])


def fit(layers: Sequence[Layer], family: str, coefficients: Sequence[Coefficient]) -> list[float]:
    """The values of the coefficients with the least squares of `_Rivals.off`."""
    values = np.array([c.value for c in coefficients])
    rivals = _Rivals([x for x in layers if any(n.startswith(family) for n in x.cycles)], family)

    def of(values: Floats) -> Floats:
        with ExitStack() as stack:
            for coefficient, value in zip(coefficients, values, strict=True):
                stack.enter_context(coefficient.changed(float(value)))
            return rivals.off()

    for _ in range(_ROUNDS):
        now = of(values)
        others = values * (1 + _STEP * np.eye(len(values)))
        jacobian = np.stack([(of(other) - now) / _STEP for other in others], axis=1)
        change, *_ = np.linalg.lstsq(jacobian, -now, rcond=1e-3)
        values = values * np.clip(1 + change, 0.5, 2.0)
    return [float(v) for v in values]


def is_near(pairs: Sequence[Pair]) -> bool:
    """Whether the choice takes at most 5 % more than the best candidate."""
    return pairs[0].measured <= NEAR * min(p.measured for p in pairs)


def show(layers: Sequence[Layer]) -> None:
    """Print the layers whose choices are not good, how far families are off, and the sum."""
    compared = [(layer, layer.pairs()) for layer in layers]
    for layer, pairs in compared:
        if not is_near(pairs):
            shown = [f"{p.name} {p.predicted:.0f} {p.measured:.0f}" for p in pairs]
            print(f"! {layer.network} {layer.source}: {', '.join(shown)}")
    every = [pair for _, pairs in compared for pair in pairs]
    for family in sorted({p.family for p in every}):
        logs = off([p for p in every if p.family == family])
        if len(logs):
            half, most = np.exp(np.percentile(np.abs(logs), [50, 90]))
            print(
                f"{family}: {len(logs)} candidates, predicted {np.exp(logs.mean()):.2f} times; "
                f"half are off by {half:.2f} times at most, 90 % by {most:.2f}"
            )
    near = sum(is_near(pairs) for _, pairs in compared)
    known = [pairs for _, pairs in compared if math.isfinite(pairs[0].measured)]
    chosen = sum(pairs[0].measured for pairs in known)
    best = sum(min(p.measured for p in pairs) for pairs in known)
    print(f"choices take {chosen:.0f} cycles, {chosen / best - 1:.1%} more than the best")
    print(f"within 5 % of the best on {near} of {len(compared)} layers")


def main() -> None:
    """Take measurements, compare, and fit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", default="pi3_64", choices=["pi3", "pi3_64"])
    parser.add_argument("--only", default="", help="networks whose name contains this")
    parser.add_argument("--take", type=Path, metavar="FOLDER", help="store what a cache has")
    families = sorted({family for _, family in COEFFICIENTS})
    parser.add_argument("--fit", choices=[*families, "all"], help="fit coefficients of a family")
    options = parser.parse_args()
    target = resolve(options.target)
    if options.take:
        cache, known = Cache(options.take, target), read(target.name)
        for network in NETWORKS:
            if options.only in network and (found := taken(network, target, cache)):
                known[network] = found
        write(target.name, known)
    layers = layers_of(target, options.only)
    if not layers:
        parser.error(f"nothing is stored for '{options.only}' on {target.name}")
    show(layers)
    for (name, family), coefficients in COEFFICIENTS.items():
        if options.fit in (family, "all") and name == target.name:
            for coefficient, value in zip(
                coefficients, fit(layers, family, coefficients), strict=True
            ):
                print(f"{coefficient.label}: fitted {value:.3g}, source {coefficient.value:.3g}")


if __name__ == "__main__":
    main()

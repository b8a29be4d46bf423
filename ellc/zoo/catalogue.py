"""Lists the networks of the zoo, and finds and builds them by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache
from pathlib import Path

from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph
from ellc.progress import Progress, silent
from ellc.zoo.alexnet import IMAGE, build_alexnet
from ellc.zoo.architecture import Architecture
from ellc.zoo.construction import ZooOptions
from ellc.zoo.families import FAMILIES
from ellc.zoo.gallery import Page, pages
from ellc.zoo.page_network import at_width, build_page
from ellc.zoo.plots import Plot, build_plot, missing, plots
from ellc.zoo.weights import supply_for

_ALL = "`ellc zoo list` shows all names"
_Build = Callable[[ZooOptions, dict[str, str]], Graph]


@dataclass(frozen=True, slots=True)
class ZooNetwork:
    """A network of the zoo.

    `input` is the shape of its input without the batch axis. `inferred` maps each fact that is not
    published to the origin of the assumed value.
    """

    name: str
    input: tuple[int, ...]
    origin: str
    formats: tuple[str, ...]
    make: _Build = field(repr=False)
    inferred: dict[str, str] = field(default_factory=dict)
    takes_weights: bool = False


@cache
def networks() -> tuple[ZooNetwork, ...]:
    """All networks in the order in which commands list them.

    These are the pages of ELL's gallery that list all layers, AlexNet and CaffeNet, the listed
    networks of the families, and the pages of ELL's gallery with a plot or a table.
    """
    listed = [family.find(name) for family in FAMILIES for name in family.listed]
    return (
        *map(_of_page, pages()),
        _alexnet("AlexNet", pool_first=False),
        _alexnet("CaffeNet", pool_first=True),
        *[_of_architecture(architecture) for architecture in listed if architecture],
        *map(_of_plot, plots()),
    )


def patterns() -> tuple[str, ...]:
    """The patterns of names with parameters, such as `mobilenet_v1_<width>_<size>`."""
    return tuple(family.pattern for family in FAMILIES if "<" in family.pattern)


def find(name: str) -> ZooNetwork:
    """The network with this name, in `networks` or not; raises `EllcError` E740 if unknown."""
    by_name = {network.name: network for network in networks()}
    if name in by_name:
        return by_name[name]
    for family in FAMILIES:
        if architecture := family.find(name):
            return _of_architecture(architecture)
    if why := missing().get(name):
        raise EllcError(f"{name} cannot be built: {why}", code="E740", hint=_ALL)
    close = difflib.get_close_matches(name, [*by_name, *patterns()], 3, 0.6)
    question = f"did you mean {' or '.join(close)}? " if close else ""
    raise EllcError(
        f"the zoo has no network called '{name}'",
        code="E740",
        hint=f"{question}{_ALL}",
    )


def build(
    name: str,
    seed: int = 0,
    width: Fraction = Fraction(1),
    progress: Progress = silent,
    *,
    keep_batch_norm: bool = False,
    blank: bool = False,
    weights: Path | None = None,
) -> Graph:
    """Build a network as a graph; the same arguments give the same graph on every machine.

    The graph has an input `input` [1, ...] f32, whose numbers the metadata describe, and an output
    `output` f32. The weights are random numbers with the scale of trained weights, so the outputs
    mean nothing; `weights` is a file with trained weights to use instead (`ellc.zoo.weights`).
    `width` scales the channels of inner layers. With `keep_batch_norm`, batch normalisation is a
    separate layer and not folded into weights. With `blank`, all weights are views of a single
    zero: such a graph is built quickly and can be inspected, but not run.

    Raises `EllcError` E740 for an unknown name, E744 if `weights` do not fit or the network cannot
    take any, and the errors of `read_tensors`; `ValueError` for a negative seed or a width outside
    (0, 1].
    """
    network = find(name)
    if seed < 0 or not 0 < width <= 1:
        raise ValueError(f"seed {seed}, width {width}")
    metadata = {"zoo.network": name, "zoo.weights": "seeded, not trained", "zoo.seed": str(seed)}
    if width != 1:
        metadata["zoo.width"] = str(width)
    options = ZooOptions(seed, width, keep_batch_norm, blank, progress)
    if weights is None:
        return network.make(options, metadata)
    if not network.takes_weights:
        raise EllcError(
            f"{name} cannot take trained weights",
            code="E744",
            hint="networks from ELL's pages and from Caffe cannot; choose another network",
        )
    supply = supply_for(weights, lambda probe: network.make(replace(options, supply=probe), {}))
    about = {"zoo.network": name, "zoo.weights": f"from {weights.name}"}
    return network.make(replace(options, supply=supply), about)


def _of_page(page: Page) -> ZooNetwork:
    def make(options: ZooOptions, metadata: dict[str, str]) -> Graph:
        return build_page(at_width(page, options.width), options, metadata)

    return ZooNetwork(
        page.name,
        page.input,
        "ELL gallery",
        (".ell", ".eir"),
        make,
        page.inferred(),
    )


def _of_plot(plot: Plot) -> ZooNetwork:
    def make(options: ZooOptions, metadata: dict[str, str]) -> Graph:
        return build_plot(plot, options, metadata)

    formats = (".ell", ".eir") if plot.is_chain else (".eir",)
    return ZooNetwork(plot.name, plot.input, "ELL gallery", formats, make, plot.inferred)


def _alexnet(name: str, *, pool_first: bool) -> ZooNetwork:
    def make(options: ZooOptions, metadata: dict[str, str]) -> Graph:
        return build_alexnet(name, options, metadata, pool_first=pool_first)

    # ELL has no grouped convolutions and no local normalisation.
    return ZooNetwork(name, IMAGE, "Caffe", (".eir",), make)


def _of_architecture(network: Architecture) -> ZooNetwork:
    # An `.ell` archive holds a chain of ELL's own layers, without branches.
    make, name = network.build, network.name
    return ZooNetwork(name, network.shape, network.origin, (".eir",), make, takes_weights=True)

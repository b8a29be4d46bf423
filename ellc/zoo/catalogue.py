"""The networks that can be built, by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache

from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph
from ellc.progress import Progress, silent
from ellc.zoo.alexnet import IMAGE, build_alexnet
from ellc.zoo.architecture import Architecture
from ellc.zoo.construction import Making
from ellc.zoo.families import FAMILIES
from ellc.zoo.gallery import Page, pages
from ellc.zoo.page_network import at_width, build_page
from ellc.zoo.plots import Plot, build_plot, missing, plots

_ALL = "`ellc zoo list` shows all"
_Build = Callable[[Making, dict[str, str]], Graph]


@dataclass(frozen=True, slots=True)
class Network:
    """A network of the zoo; `input` is the shape of its input without the 1 of the batch.

    `inferred` says which facts are not published, and their origin.
    """

    name: str
    input: tuple[int, ...]
    origin: str
    formats: tuple[str, ...]
    make: _Build = field(repr=False)
    inferred: dict[str, str] = field(default_factory=dict)


@cache
def networks() -> tuple[Network, ...]:
    """All networks, in the order to show them.

    First the pages of ELL's gallery that list all layers, AlexNet and CaffeNet; the families' best
    known; then the pages with a plot or a table.
    """
    listed = [family.find(name) for family in FAMILIES for name in family.listed]
    return (
        *map(_of_page, pages()),
        _alexnet("AlexNet", pool_first=False),
        _alexnet("CaffeNet", pool_first=True),
        *[_of_architecture(made) for made in listed if made],
        *map(_of_plot, plots()),
    )


def patterns() -> tuple[str, ...]:
    """The names with parameters, such as `mobilenet_v1_<width>_<size>`."""
    return tuple(family.pattern for family in FAMILIES if "<" in family.pattern)


def find(name: str) -> Network:
    """The network of this name, listed or not. Raises `EllcError` E740 with names like it."""
    by_name = {network.name: network for network in networks()}
    if name in by_name:
        return by_name[name]
    for family in FAMILIES:
        if made := family.find(name):
            return _of_architecture(made)
    if why := missing().get(name):
        raise EllcError(f"{name} cannot be built: {why}", code="E740", hint=_ALL)
    close = difflib.get_close_matches(name, [*by_name, *patterns()], 3, 0.6)
    meant = f"did you mean {' or '.join(close)}? " if close else ""
    raise EllcError(
        f"the zoo has no network called '{name}'",
        code="E740",
        hint=f"{meant}{_ALL}",
    )


def build(
    name: str,
    seed: int = 0,
    width: Fraction = Fraction(1),
    progress: Progress = silent,
    *,
    keep_batch_norm: bool = False,
    blank: bool = False,
) -> Graph:
    """A network with seeded weights: the same graph for the same arguments, on every machine.

    The input is `input` [1, ...] f32; metadata say what its numbers are. The output is `output`,
    f32. The weights are not trained: their scale is a trained network's, the answers mean nothing.
    `width` scales the channels of inner layers. `keep_batch_norm` leaves batch normalisation as
    layers where it would be folded into weights. A `blank` graph can be measured, not run: its
    weights have no numbers, and it costs no time. Raises `EllcError` E740 for an unknown name,
    `ValueError` for a negative seed or a width outside (0, 1].
    """
    network = find(name)
    if seed < 0 or not 0 < width <= 1:
        raise ValueError(f"seed {seed}, width {width}")
    metadata = {"zoo.network": name, "zoo.weights": "seeded, not trained", "zoo.seed": str(seed)}
    if width != 1:
        metadata["zoo.width"] = str(width)
    making = Making(seed, width, keep_batch_norm, blank, progress)
    return network.make(making, metadata)


def _of_page(page: Page) -> Network:
    def make(making: Making, metadata: dict[str, str]) -> Graph:
        return build_page(at_width(page, making.width), making, metadata)

    return Network(
        page.name,
        page.input,
        "ELL gallery",
        (".ell", ".eir"),
        make,
        page.inferred(),
    )


def _of_plot(plot: Plot) -> Network:
    def make(making: Making, metadata: dict[str, str]) -> Graph:
        return build_plot(plot, making, metadata)

    formats = (".ell", ".eir") if plot.is_chain else (".eir",)
    return Network(plot.name, plot.input, "ELL gallery", formats, make, plot.inferred)


def _alexnet(name: str, *, pool_first: bool) -> Network:
    def make(making: Making, metadata: dict[str, str]) -> Graph:
        return build_alexnet(name, making, metadata, pool_first=pool_first)

    # Grouped convolutions and local normalisation: no layers of ELL's.
    return Network(name, IMAGE, "Caffe", (".eir",), make)


def _of_architecture(made: Architecture) -> Network:
    # An archive of ELL's holds a chain of its own layers, none with branches.
    return Network(made.name, made.shape, made.origin, (".eir",), made.build)

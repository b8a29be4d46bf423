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
from ellc.zoo.gallery import Page, Shape3, pages
from ellc.zoo.page_network import at_width, build_page

_Build = Callable[[int, Fraction, dict[str, str], Progress], Graph]


@dataclass(frozen=True, slots=True)
class Network:
    """A network of the zoo. `inferred` says which facts are not published, and their origin."""

    name: str
    input: Shape3
    layers: int
    origin: str
    formats: tuple[str, ...]
    make: _Build = field(repr=False)
    inferred: dict[str, str] = field(default_factory=dict)


@cache
def networks() -> tuple[Network, ...]:
    """All networks: those of ELL's gallery, then AlexNet and CaffeNet."""
    return (
        *map(_of_page, pages()),
        _alexnet("AlexNet", pool_first=False),
        _alexnet("CaffeNet", pool_first=True),
    )


def find(name: str) -> Network:
    """The network of this name. Raises `EllcError` E740 with names like it."""
    by_name = {network.name: network for network in networks()}
    if name in by_name:
        return by_name[name]
    close = difflib.get_close_matches(name, by_name, 3, 0.6)
    meant = f"did you mean {' or '.join(close)}? " if close else ""
    raise EllcError(
        f"the zoo has no network called '{name}'",
        code="E740",
        hint=f"{meant}`ellc zoo list` shows all",
    )


def build(
    name: str, seed: int = 0, width: Fraction = Fraction(1), progress: Progress = silent
) -> Graph:
    """A network with seeded weights: the same graph for the same arguments, on every machine.

    The input is [1,R,C,3] f32 with pixels 0..255 in the order of the metadata, the output
    [1,1,1,1000] f32 probabilities. The weights are not trained: their scale is a trained network's,
    the answers mean nothing. `width` scales the channels of inner layers. Raises `EllcError` E740
    for an unknown name, `ValueError` for a negative seed or a width outside (0, 1].
    """
    network = find(name)
    if seed < 0 or not 0 < width <= 1:
        raise ValueError(f"seed {seed}, width {width}")
    metadata = {"zoo.network": name, "zoo.weights": "seeded, not trained", "zoo.seed": str(seed)}
    if width != 1:
        metadata["zoo.width"] = str(width)
    return network.make(seed, width, metadata, progress)


def _of_page(page: Page) -> Network:
    def make(seed: int, width: Fraction, metadata: dict[str, str], progress: Progress) -> Graph:
        return build_page(at_width(page, width), seed, metadata, progress)

    return Network(
        page.name,
        page.input,
        len(page.layers),
        "ELL gallery",
        (".ell", ".eir"),
        make,
        page.inferred(),
    )


def _alexnet(name: str, *, pool_first: bool) -> Network:
    def make(seed: int, width: Fraction, metadata: dict[str, str], progress: Progress) -> Graph:
        return build_alexnet(name, seed, width, metadata, pool_first=pool_first, progress=progress)

    # Grouped convolutions and local normalisation: no layers of ELL's.
    return Network(name, IMAGE, 15, "Caffe", (".eir",), make)

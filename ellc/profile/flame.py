"""Draws one call: layers side by side, each as wide as its cost, below the scopes of its name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from ellc.codegen.languages.foreign_text import HtmlCode, html_code, html_joined, html_text
from ellc.ir.printable import visible
from ellc.profile.figures import Layer, Profile
from ellc.profile.report import cost_text, percent

COLOURS = 8
"""The number of colours in the template; all further kinds share the last colour."""
_WIDTH, _ROW = 1000, 24
_DEEPEST = 3  # the most rows of scopes
_CHARACTER = 7  # the width of a character of a label


@dataclass(frozen=True, slots=True)
class _Placed:
    """A layer with its left and right edge, in thousandths of the whole call, and its scopes."""

    layer: Layer
    left: int
    right: int
    scopes: tuple[str, ...]


def flame(profile: Profile) -> HtmlCode:
    """The picture as SVG: one row each for the whole call, the scopes and the layers."""
    placed = list(_places(profile))
    deepest = max((len(p.scopes) for p in placed), default=0)
    kinds = colours(profile)
    call_tooltip = f"{profile.name}\n{cost_text(profile, profile.whole)}, {profile.macs:,} MACs"
    parts = [
        html_code('<svg class="flame" viewBox="0 0 {} {}">', _WIDTH, (deepest + 2) * _ROW),
        _bar("whole", 0, 0, _WIDTH, visible(profile.name), call_tooltip),
        *(bar for depth in range(deepest) for bar in _scopes(profile, placed, depth)),
        *(
            _bar(
                kinds[p.layer.kind],
                deepest + 1,
                p.left,
                p.right,
                *_label_and_tooltip(profile, p.layer),
            )
            for p in placed
        ),
        HtmlCode("</svg>"),
    ]
    return html_joined(parts, "\n")


def colours(profile: Profile) -> dict[str, str]:
    """The CSS class that colours each kind; the most expensive kinds share no colour."""
    return {
        kind.kind: f"kind{min(number, COLOURS - 1)}" for number, kind in enumerate(profile.kinds)
    }


def _places(profile: Profile) -> Iterator[_Placed]:
    """The positions of the layers, side by side; layers without a cost are left out."""
    spent = sum(layer.figures.cost for layer in profile.layers)
    call_cost, before = max(profile.whole, spent), 0.0
    for layer in profile.layers:
        after = before + layer.figures.cost
        if layer.figures.cost > 0:
            left, right = round(_WIDTH * before / call_cost), round(_WIDTH * after / call_cost)
            yield _Placed(layer, left, right, _scopes_of(layer))
        before = after


def _scopes_of(layer: Layer) -> tuple[str, ...]:
    """The scopes in a layer's name: `block1` and `conv` for `block1/conv/relu`."""
    name = layer.layers[0].split(";")[0] if layer.layers else ""
    return tuple(name.split("/")[:-1][:_DEEPEST])


def _scopes(profile: Profile, placed: Sequence[_Placed], depth: int) -> Iterator[HtmlCode]:
    """The bars of one row of scopes; neighbouring layers with the same scope share a bar."""
    for scopes, members in groupby(placed, key=lambda p: p.scopes[: depth + 1]):
        group = list(members)
        if len(scopes) <= depth:
            continue
        cost = sum(p.layer.figures.cost for p in group)
        tooltip = f"{'/'.join(scopes)}\nlayers: {len(group)}, {cost_text(profile, cost)}"
        yield _bar("scope", depth + 1, group[0].left, group[-1].right, visible(scopes[-1]), tooltip)


def _label_and_tooltip(profile: Profile, layer: Layer) -> tuple[str, str]:
    """The label and the tooltip of a layer."""
    figures = layer.figures
    lines = [
        f"%{layer.value} {layer.name}",
        f"{layer.operator}, {layer.result}",
        f"{cost_text(profile, figures.cost)}, {figures.share:.1%}",
    ]
    if figures.of_peak is not None:
        lines.append(f"{percent(figures.of_peak)} of the core's peak")
    return layer.name, "\n".join(lines)


def _bar(kind: str, row: int, left: int, right: int, label: str, tooltip: str) -> HtmlCode:
    width = max(1, right - left)
    fits = len(label) * _CHARACTER < width
    text = html_code('<text x="{}" y="{}">{}</text>', left + 4, row * _ROW + 16, html_text(label))
    return html_code(
        '<g class="{}"><title>{}</title><rect x="{}" y="{}" width="{}" height="{}"/>{}</g>',
        HtmlCode(kind),
        html_joined(map(html_text, tooltip.split("\n")), "\n"),
        *(left, row * _ROW, width, _ROW - 2),
        text if fits else HtmlCode(""),
    )

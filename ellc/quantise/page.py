"""Writes a quantisation as an HTML page: accuracy, all layers, and histograms of their values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ellc.codegen.languages.foreign_text import HtmlCode, html_code, html_joined, html_text
from ellc.codegen.languages.render import render_html
from ellc.evaluate.tally import agreement, tally
from ellc.ir.files import write_text
from ellc.ir.types import Array
from ellc.quantise.damage import LayerDamage
from ellc.quantise.observers import BINS, Histogram
from ellc.quantise.report import Outcome, summary

_BARS = 96
_BAR_PX, _HEIGHT_PX = 4, 60


@dataclass(frozen=True, slots=True)
class _Row:
    """The texts and the picture with which the page shows a layer."""

    name: HtmlCode
    kind: HtmlCode
    ends: HtmlCode
    scale: HtmlCode
    chosen_by: HtmlCode
    decibels: HtmlCode
    saturated: HtmlCode
    picture: HtmlCode


def write_page(outcome: Outcome, path: Path) -> None:
    """Write the page to `path`; raises `EllcError` E703 if the file cannot be written."""
    networks, same = [], ""
    if outcome.evaluation is not None:
        answers = outcome.evaluation.answers
        for number, name in enumerate(outcome.evaluation.subjects):
            c = tally(answers, number)
            ratios = html_text(f"{c.top1:.2%}"), html_text(f"{c.top5:.2%}")
            networks.append((html_text(name), c.samples, *ratios))
        both = agreement(answers)
        total = both.same + len(both.different)
        same = f"Both networks rank the same class first for {both.same} of {total} samples."
    page = render_html(
        "quantisation.html.j2",
        "ellc.quantise",
        title=html_text(f"{Path(outcome.file).name}: {outcome.quantised.graph.name} in 8 bits"),
        summary=html_text(summary(outcome)),
        networks=networks,
        agreement=html_text(same),
        not_evaluated=html_text(outcome.not_evaluated),
        layers=[_row(damage, outcome) for damage in outcome.damages],
        left_float=[
            (html_text(name), html_text(why)) for name, why in outcome.quantised.left_float.items()
        ],
    )
    write_text(path, page)


def _row(damage: LayerDamage, outcome: Outcome) -> _Row:
    seen = outcome.quantised.observations[damage.value].histogram
    return _Row(
        html_text(damage.name),
        html_text(damage.kind),
        html_text(f"{damage.low:.4g} to {damage.high:.4g}"),
        html_text(f"{damage.scale:.4g}, {damage.zero}"),
        html_text(damage.chosen_by),
        html_text(f"{damage.decibels:.1f} dB"),
        html_text(f"{damage.saturated:.2%}"),
        picture(seen, damage),
    )


def picture(seen: Histogram, damage: LayerDamage) -> HtmlCode:
    """Draw the histogram of a layer's values as SVG; heights are logarithms of counts.

    The frame is the range of the stored integers; bars outside it are saturated numbers.
    """
    first, last, counts = bars(seen, damage)
    width = _BAR_PX * len(counts)
    parts = [
        html_code(
            '<svg class="histogram" viewBox="0 0 {} {}" role="img"><title>{}</title>',
            width,
            _HEIGHT_PX,
            html_text(f"{seen.low:.4g} to {seen.high:.4g}"),
        )
    ]
    most = np.log1p(counts.max(initial=1))
    for index, count in enumerate(counts.tolist()):
        height = int(np.ceil(_HEIGHT_PX * np.log1p(count) / most))
        if height:
            kind = HtmlCode("inside" if first <= index <= last else "outside")
            x, y = _BAR_PX * index, _HEIGHT_PX - height
            text = '<rect class="{}" x="{}" y="{}" width="{}" height="{}"/>'
            parts.append(html_code(text, kind, x, y, _BAR_PX, height))
    frame = '<rect class="range" x="{}" y="0" width="{}" height="{}"/>'
    parts.append(html_code(frame, _BAR_PX * first, _BAR_PX * (last - first + 1), _HEIGHT_PX))
    return html_joined([*parts, HtmlCode("</svg>")])


def bars(seen: Histogram, damage: LayerDamage) -> tuple[int, int, Array]:
    """Join the bins of a histogram to at most `_BARS` bars.

    Returns the first and the last bar inside the layer's range, and the counts of all bars.
    """
    low, high = min(damage.low, seen.low), max(damage.high, seen.high)
    half = BINS // 2
    ends = [int(np.floor(x / seen.width)) + half if seen.width else half for x in (low, high)]
    first, last = (int(np.clip(end, 0, BINS - 1)) for end in ends)
    joined = -(-(last - first + 1) // _BARS)
    counts = np.zeros(-(-(last - first + 1) // joined) * joined, np.int64)
    counts[: last - first + 1] = seen.counts[first : last + 1]

    def bar(x: float) -> int:
        at = int(np.floor(x / seen.width)) + half if seen.width else half
        return (int(np.clip(at, first, last)) - first) // joined

    return bar(damage.low), bar(damage.high), counts.reshape(-1, joined).sum(1)

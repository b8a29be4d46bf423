"""Shows figures as HTML: a number, and a mark for its provenance."""

from __future__ import annotations

from collections.abc import Callable

from ellc.codegen.languages.foreign_text import HtmlCode, html_code, html_text
from ellc.commands.output import bytes_text
from ellc.gallery.rows import Figure

MEANINGS = {
    "measured": "measured here",
    "modelled": "modelled",
    "published": "published",
}
EXPLANATIONS = {
    "measured": "the command next to the figure printed it or counted it in the model's layers",
    "modelled": "the command next to the figure computed it for a board without running there",
    "published": "the figure comes from the named source and was not measured here",
}
TITLES = {
    "top1": "Top-1 accuracy",
    "top5": "Top-5 accuracy",
    "ms": "Time of a prediction",
    "parameters": "Parameters",
    "macs": "Multiply-adds",
    "weight_bytes": "Weights",
    "file_bytes": "File",
    "ram_bytes": "RAM for values",
}
NOTHING = HtmlCode("")


def number_text(figure: Figure) -> str:
    """The number of a figure, with its unit unless the column's heading names the unit."""
    assert figure.value is not None
    return _FORMS[figure.of](figure.value)


def _percent(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _short(value: float) -> str:
    """A value with three significant digits; from 100 on, it is rounded to an integer."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _count(value: float) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{_short(value / size)} {unit}"
    return f"{value:,.0f}"


def _bytes(value: float) -> str:
    return bytes_text(round(value))


_FORMS: dict[str, Callable[[float], str]] = {
    "top1": _percent,
    "top5": _percent,
    "ms": _short,
    "parameters": _count,
    "macs": _count,
    "weight_bytes": _bytes,
    "file_bytes": _bytes,
    "ram_bytes": _bytes,
}


def mark(provenance: str) -> HtmlCode:
    """The symbol of a provenance; screen readers and tooltips give its meaning."""
    assert provenance in MEANINGS
    meaning = html_text(MEANINGS[provenance])
    form = '<span class="mark {}" title="{}"><span class="unseen"> {}</span></span>'
    return html_code(form, HtmlCode(provenance), meaning, meaning)


def badge(provenance: str) -> HtmlCode:
    """The symbol of a provenance, followed by its meaning as visible text."""
    assert provenance in MEANINGS
    form = '<span class="badge {0}"><span class="mark {0}"></span> {1}</span>'
    return html_code(form, HtmlCode(provenance), html_text(MEANINGS[provenance]))


def marked(figure: Figure | None) -> HtmlCode:
    """The number, a star if it is of a sample, and the symbol of the provenance; "" if no value."""
    if figure is None or figure.value is None:
        return NOTHING
    number = html_text(number_text(figure))
    if not figure.sample:
        return html_code("{} {}", number, mark(figure.provenance))
    star = '<span title="{}">*<span class="unseen"> {}</span></span>'
    note = html_text(f"of a sample: {figure.sample}")
    return html_code("{}{} {}", number, html_code(star, note, note), mark(figure.provenance))


def origin(figure: Figure) -> HtmlCode:
    """The command of a figure, or a link to its source."""
    if figure.source is None:
        return html_code("<code>{}</code>", html_text(figure.command))
    return html_code(
        '<a href="{}" rel="noreferrer">{}</a>',
        html_text(figure.source.url),
        html_text(figure.source.title),
    )

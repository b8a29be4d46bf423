"""Writes an evaluation as an HTML page.

The page has the accuracy of each network, the agreement of two networks, the confusion matrix, the
accuracy by class, the worst mistakes, and the problems.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ellc.codegen.languages.foreign_text import HtmlCode, html_code, html_joined, html_text
from ellc.codegen.languages.render import render_html
from ellc.evaluate.report import Evaluation
from ellc.evaluate.samples import Data, Sample
from ellc.evaluate.tally import Mistake, agreement, confusion, tally, worst_mistakes
from ellc.ir.errors import EllcError
from ellc.ir.files import write_text
from ellc.ir.types import Array
from ellc.pictures.images import load_picture

MISTAKES = 24
"""The most mistakes that the page shows."""
_THUMBNAIL_PX = 112
_MATRIX_PX = 640
_MOST_NAMED = 40
"""The rows of the matrix have names only if there are at most this many classes."""
_NAME_PX, _NAME_LETTERS = 130, 18


@dataclass(frozen=True, slots=True)
class _Shown:
    """The texts and the picture with which the page shows one mistake."""

    name: HtmlCode
    right: HtmlCode
    chosen: HtmlCode
    score: HtmlCode
    picture: HtmlCode


def write_page(evaluation: Evaluation, data: Data, path: Path) -> None:
    """Write the page to `path`; raises `EllcError` E703 if the file cannot be written."""
    counts = [tally(evaluation.answers, n) for n, _ in enumerate(evaluation.subjects)]
    networks = [
        (html_text(name), c.samples, html_text(f"{c.top1:.2%}"), html_text(f"{c.top5:.2%}"))
        for name, c in zip(evaluation.subjects, counts, strict=True)
    ]
    classes = [
        (html_text(evaluation.label(c.label)), c.samples, c.first, 100 * c.first // c.samples)
        for c in counts[0].classes
    ]
    both = agreement(evaluation.answers) if len(counts) > 1 else None
    mistakes = worst_mistakes(evaluation.answers, MISTAKES)
    page = render_html(
        "evaluation.html.j2",
        "ellc.evaluate",
        title=html_text(f"{evaluation.subjects[0]} on {evaluation.data}"),
        networks=networks,
        agreement=html_text(_agreement_text(both.same, len(both.different)) if both else ""),
        matrix=_matrix(evaluation, *confusion(evaluation.answers)),
        classes=classes,
        mistakes=[_shown(evaluation, data, mistake) for mistake in mistakes],
        problems=[html_text(problem) for problem in evaluation.problems],
    )
    write_text(path, page)


def _agreement_text(same: int, different: int) -> str:
    return f"Both networks rank the same class first for {same} of {same + different} samples."


def _matrix(evaluation: Evaluation, labels: tuple[int, ...], counts: Array) -> HtmlCode:
    """Draw counts [right, chosen] as SVG; opacity is a cell's share of its row, at least 0.08."""
    count = max(1, len(labels))
    side, named = _MATRIX_PX // count if count <= _MATRIX_PX else 1, len(labels) <= _MOST_NAMED
    left = _NAME_PX if named else 0
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    size = (left + side * count, side * count)
    parts = [html_code('<svg class="matrix" viewBox="0 0 {} {}" role="img">', *size)]
    for row, column in np.argwhere(counts > 0).tolist():
        right, chosen = (evaluation.label(labels[i]) for i in (row, column))
        parts.append(
            html_code(
                '<rect class="{}" x="{}" y="{}" width="{}" height="{}" fill-opacity="{}">'
                "<title>{}</title></rect>",
                HtmlCode("right" if row == column else "wrong"),
                *(left + column * side, row * side, side, side),
                html_text(f"{max(0.08, shares[row, column]):.2f}"),
                html_text(f"{right} classified as {chosen}: {counts[row, column]}"),
            )
        )
    if named:
        for row, label in enumerate(labels):
            name = html_text(evaluation.label(label)[:_NAME_LETTERS])
            x_px, y_px = left - 6, row * side + side // 2 + 4
            parts.append(html_code('<text x="{}" y="{}">{}</text>', x_px, y_px, name))
    return html_joined([*parts, HtmlCode("</svg>")])


def _shown(evaluation: Evaluation, data: Data, mistake: Mistake) -> _Shown:
    answer = mistake.answer
    return _Shown(
        html_text(answer.name),
        html_text(evaluation.label(answer.label)),
        html_text(evaluation.label(mistake.chosen)),
        html_text(f"{mistake.score:.4g}"),
        html_text(_thumbnail(data[answer.index])),
    )


def _thumbnail(sample: Sample) -> str:
    """A PNG of a sample as a `data:` URL; empty if the sample is not a readable picture.

    A picture file is scaled to the size of a thumbnail; an array of pixels keeps its size.
    """
    if isinstance(sample.content, Path):
        try:
            pixels = load_picture(sample.content, (_THUMBNAIL_PX, _THUMBNAIL_PX), 3)
        except EllcError:
            return ""
    elif sample.is_pixels:
        pixels = sample.content
    else:
        return ""
    grey = pixels.shape[2] == 1
    packed = io.BytesIO()
    Image.fromarray(pixels[..., 0] if grey else pixels).save(packed, "PNG")
    return f"data:image/png;base64,{base64.b64encode(packed.getvalue()).decode()}"

"""The pages of the gallery: the index with plot and table, and one page for each model."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ellc.codegen.languages.foreign_text import HtmlCode, html_code, html_joined, html_text
from ellc.codegen.languages.render import render_html
from ellc.commands.output import bytes_text
from ellc.drawing.svg import svg
from ellc.gallery.assets import asset, hash_of
from ellc.gallery.figures import (
    EXPLANATIONS,
    MEANINGS,
    NOTHING,
    TITLES,
    badge,
    marked,
    number_text,
    origin,
)
from ellc.gallery.models import Counted, Model, layer_rows
from ellc.gallery.names import download_name, page_name, trial_name
from ellc.gallery.packages import Package
from ellc.gallery.rows import ACCURACIES, PRECISIONS, PROVENANCES, SIZES, Figure, Result
from ellc.gallery.trial import Trial

HUES = 8
"""The number of colours for points. Each input size has a colour; if there are more sizes than
colours, some sizes share a colour."""
_IMAGE_EXTENTS = 3


@dataclass(frozen=True, slots=True)
class Described:
    """A model and, for each precision, the sizes that were counted in its network.

    `tried` lists the precisions in which visitors can try the model.
    """

    model: Model
    counted: dict[str, tuple[Figure, ...]]
    tried: tuple[str, ...] = ()

    def size(self, of: str, near: Result, provenance: str) -> Figure | None:
        """The size of the kind `of` that is shown for the result `near`; None if unknown.

        The size that the result gives is preferred, then the counted one, then that of another
        result.
        """
        given = near.first(of)
        own = (figure for figure in self.counted.get(near.precision, ()) if figure.of == of)
        return given or next(own, None) or self.model.best(of, near, provenance)


# --- the index ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of the index.

    For each of its precisions, a model has one row per measured time, or a single row if none was
    measured.
    """

    described: Described
    result: Result
    time: Figure | None

    @property
    def provenance(self) -> str:
        return self.time.provenance if self.time else self.result.known[0].provenance

    def accuracy(self, of: str) -> Figure | None:
        return self.described.model.best(of, self.result, self.provenance)

    def size(self, *kinds: str) -> Figure | None:
        found = (self.described.size(of, self.result, self.provenance) for of in kinds)
        return next((figure for figure in found if figure), None)

    @property
    def order(self) -> tuple[object, ...]:
        """The sort key: small inputs first, then accurate models, then fast ones."""
        top1 = self.accuracy("top1")
        return (
            image_order(self.result.input),
            -(top1.value or 0) if top1 else 1,
            self.time.value if self.time else math.inf,
            self.result.key,
            (self.time.threads or 0) if self.time else 0,
        )


def index_page(models: Sequence[Described]) -> str:
    """The HTML of the index."""
    rows = sorted(
        (row for described in models for row in _rows(described)), key=lambda row: row.order
    )
    inputs = sorted({row.result.input for row in rows}, key=image_order)
    hues = _hues(rows, inputs)
    datasets = Counter(row.result.dataset for row in rows)
    common = [name for name, _ in sorted(datasets.items(), key=lambda x: (-x[1], x[0]))]
    sources = sorted(
        {(s.title, s.url) for described in models for r in described.model.results for f in r.known
         if (s := f.source)}
    )  # fmt: skip
    style, script = asset("site.css"), asset("index.js")
    return render_html(
        "index.html.j2",
        "ellc.gallery",
        style=style,
        style_hash=hash_of(style),
        script=script,
        script_hash=hash_of(script),
        models=len(models),
        tried=any(described.tried for described in models),
        rows=[_row(row, hues[row.result.input]) for row in rows],
        datasets=list(map(html_text, common)),
        boards=[html_text(b) for b in sorted({_board(r.result) for r in rows} - {""})],
        sizes=[(html_text(image_text(x)), hues[x]) for x in inputs],
        precisions=[HtmlCode(p) for p in PRECISIONS if any(r.result.precision == p for r in rows)],
        provenances=[
            (HtmlCode(p), html_text(MEANINGS[p]), html_text(EXPLANATIONS[p])) for p in PROVENANCES
        ],
        sources=[(html_text(title), html_text(url)) for title, url in sources],
    )


def _hues(rows: Sequence[_Row], inputs: Sequence[tuple[int, ...]]) -> dict[tuple[int, ...], int]:
    """The colour of each input shape; shapes of one data set differ if there are enough colours."""
    by_data: dict[str, list[tuple[int, ...]]] = {}
    for shape in inputs:
        for data in sorted({row.result.dataset for row in rows if row.result.input == shape}):
            by_data.setdefault(data, []).append(shape)
    hues: dict[tuple[int, ...], int] = {}
    for shapes in sorted(by_data.values(), key=len, reverse=True):
        taken = {hues[shape] for shape in shapes if shape in hues}
        free = [hue for hue in range(HUES) if hue not in taken] or list(range(HUES))
        for shape in (shape for shape in shapes if shape not in hues):
            hues[shape] = free[len(hues) % len(free)]
    return hues


def _rows(described: Described) -> Iterator[_Row]:
    model = described.model
    for precision in model.precisions:
        timed = list(model.figures("ms", precision))
        for result, time in timed:
            yield _Row(described, result, time)
        if timed:
            continue
        known = [r for r in model.results if r.precision == precision and r.known]
        yield from (_Row(described, result, None) for result in known[:1])


def _row(row: _Row, hue: int) -> dict[str, HtmlCode]:
    result, time = row.result, row.time
    threads = str(time.threads) if time and time.threads else ""
    figures = {
        "top1": row.accuracy("top1"),
        "top5": row.accuracy("top5"),
        "ms": time,
        "parameters": row.size("parameters"),
        "weights": row.size("weight_bytes", "file_bytes"),
        "ram": row.size("ram_bytes"),
    }
    data = {
        "name": result.model,
        "image": str(image_order(result.input)),
        "size": image_text(result.input),
        "hue": str(hue),
        "precision": result.precision,
        "dataset": result.dataset,
        "board": _board(result),
        "threads": threads,
        "engine": result.engine,
        "speed": time.provenance if time else "",
        "accuracy": figures["top1"].provenance if figures["top1"] else "",
        "sample": figures["top1"].sample if figures["top1"] else "",
        **{key: repr(figure.value) if figure else "" for key, figure in figures.items()},
    }
    attributes = [html_code(' data-{}="{}"', HtmlCode(k), html_text(v)) for k, v in data.items()]
    return {
        "attributes": html_joined(attributes),
        "page": html_text(page_name(result.model)),
        "trial": html_text(trial_name(result.model, result.precision))
                 if result.precision in row.described.tried else NOTHING,
        **{key: html_text(data[key]) for key in ("name", "size", "precision", "board", "threads",
                                                 "engine")},
        **{key: marked(figure) for key, figure in figures.items()},
    }  # fmt: skip


def image_order(shape: tuple[int, ...]) -> int:
    """The sort key of an input's size: the pixels of an image, the values of any other input."""
    return math.prod(shape[:2]) if len(shape) == _IMAGE_EXTENTS else math.prod(shape)


def image_text(shape: tuple[int, ...]) -> str:
    """The size of an input as short text, such as `224` (square), `49x10` or `640 values`."""
    if len(shape) != _IMAGE_EXTENTS:
        return f"{math.prod(shape)} values"
    rows, columns, _ = shape
    return str(rows) if rows == columns else f"{rows}x{columns}"


def _board(result: Result) -> str:
    if not result.clock_mhz or not result.board:
        return result.board
    return f"{result.board}, {result.clock_mhz} MHz"


# --- the page of a model --------------------------------------------------------------------------


def model_page(
    described: Described,
    network: Counted | None,
    trials: Sequence[Trial] = (),
    packages: Sequence[Package] = (),
) -> str:
    """The HTML of a model's page: figures, links to trials and packages, layers of `network`."""
    model, style = described.model, asset("site.css")
    about = model.about
    layers = layer_rows(network) if network else []
    return render_html(
        "model.html.j2",
        "ellc.gallery",
        style=style,
        style_hash=hash_of(style),
        name=html_text(model.name),
        facts=[(html_text(what), html_text(value)) for what, value in _facts(about)],
        speeds=[_speed(result, figure) for p in model.precisions
                for result, figure in _by_board(model, p)],
        accuracies=[_accuracy(r, f) for p in model.precisions for of in ACCURACIES
                    for r, f in model.figures(of, p)],
        sizes=[_size(p, f) for p in model.precisions for f in _sizes(described, p)],
        trials=[
            (html_text(trial_name(model.name, trial.precision)), HtmlCode(trial.precision))
            for trial in trials
        ],
        notes=list(map(html_text, dict.fromkeys(n for r in model.results for n in r.notes))),
        commands=list(map(html_text, _commands(model))),
        downloads=[
            (html_text(x.title), html_text(download_name(model.name, x.file.name)),
             html_text(bytes_text(x.file.stat().st_size)))
            for x in dict.fromkeys(x for r in model.results for x in r.downloads)
        ] + [
            (html_text(x.title), html_text(x.file), html_text(bytes_text(x.bytes)))
            for x in packages
        ],
        layers_from=html_text(network.command if network else ""),
        totals=html_text(_totals(network)) if network else NOTHING,
        layers=[
            {
                "number": x.number,
                "parameters": html_text(f"{x.parameters:,}" if x.parameters else ""),
                "macs": html_text(f"{x.macs:,}" if x.macs else ""),
                "live": html_text(bytes_text(x.live_bytes)),
                "shape_in": html_text("x".join(map(str, x.shape_in))),
                "shape_out": html_text("x".join(map(str, x.shape_out))),
                "name": html_text(x.name), "operator": html_text(x.operator),
                "pad_in": html_text(x.pad_in), "pad_out": html_text(x.pad_out),
            }
            for x in layers
        ],
        drawing=svg(network.graph) if network else NOTHING,
        provenances=[
            (badge(provenance), html_text(EXPLANATIONS[provenance])) for provenance in PROVENANCES
        ],
    )  # fmt: skip


def _commands(model: Model) -> list[str]:
    lines = (line for r in model.results for line in (*r.prepare, *r.commands))
    return list(dict.fromkeys(lines))


def _facts(about: Result) -> Iterator[tuple[str, str]]:
    extents = " x ".join(map(str, about.input))
    is_image = len(about.input) == _IMAGE_EXTENTS
    yield "input", f"{extents} (rows, columns, channels)" if is_image else extents
    colours = {"rgb": "red, green, blue", "bgr": "blue, green, red", "grey": "grey"}
    if about.colours in colours:
        yield "order of colours", colours[about.colours]
    yield "data", about.dataset
    if about.origin:
        yield "origin", about.origin


def _by_board(model: Model, precision: str) -> list[tuple[Result, Figure]]:
    """The times of one precision, sorted by provenance, then by board, then by time."""
    found = list(model.figures("ms", precision))
    return sorted(
        found,
        key=lambda x: (PROVENANCES.index(x[1].provenance), _board(x[0]), x[1].value or 0.0),
    )


def _speed(result: Result, figure: Figure) -> dict[str, HtmlCode]:
    return _figure(figure) | {
        "board": html_text(result.board),
        "clock": html_text(str(result.clock_mhz or "")),
        "threads": html_text(str(figure.threads or "")),
        "engine": html_text(result.engine),
        "precision": html_text(result.precision),
        "machine": html_text("" if result.machine == result.board else result.machine),
    }


def _accuracy(result: Result, figure: Figure) -> dict[str, HtmlCode]:
    engine = ", ".join(filter(None, (result.engine, _board(result))))
    return _figure(figure) | {
        "precision": html_text(result.precision),
        "engine": html_text(engine),
        "sample": html_text(figure.sample),
    }


def _sizes(described: Described, precision: str) -> list[Figure]:
    """All given and counted sizes of one precision, without duplicates."""
    given = [f for of in SIZES for _, f in described.model.figures(of, precision)]
    every = [*given, *described.counted.get(precision, ())]
    return sorted(dict.fromkeys(every), key=lambda f: (SIZES.index(f.of), f.provenance))


def _size(precision: str, figure: Figure) -> dict[str, HtmlCode]:
    return _figure(figure) | {"precision": html_text(precision)}


def _figure(figure: Figure) -> dict[str, HtmlCode]:
    return {
        "what": html_text(TITLES[figure.of]),
        "number": html_text(number_text(figure)),
        "badge": badge(figure.provenance),
        "provenance": HtmlCode(figure.provenance),
        "origin": origin(figure),
    }


def _totals(network: Counted) -> str:
    report = network.report
    return (
        f"{report.parameters:,} parameters ({bytes_text(report.parameter_bytes)}), "
        f"{report.macs:,} multiply-adds, largest live memory {bytes_text(report.peak_live_bytes)}"
    )

"""Turns the published figures that the zoo records into results."""

from __future__ import annotations

from functools import cache
from pathlib import PurePosixPath

from ellc.gallery.rows import Figure, NetworkName, Result, Source
from ellc.zoo import find
from ellc.zoo.facts import Facts, facts
from ellc.zoo.plots import missing

_SIZES = {
    ("parameters", ""): "parameters",
    ("macs", ""): "macs",
    ("fp32 file", "fp32"): "file_bytes",
    ("int8 file", "int8"): "file_bytes",
    ("memory", "fp32"): "weight_bytes",
    ("memory", "binary"): "weight_bytes",
}
"""The kind of figure for each kind of published size and precision; "" matches any precision."""
_UNBUILT = {
    "Asparagus": (64, "bgr"),
    "DN-160": (160, "rgb"),
    "DN-192": (192, "rgb"),
    "DN-224": (224, "rgb"),
    "DN-256": (256, "rgb"),
    "Pear": (64, "bgr"),
    "V16-160": (160, "rgb"),
    "V16-192": (192, "rgb"),
    "V16-64": (64, "rgb"),
}
"""Models whose page in ELL's gallery lists no layers: side of the image and colour order."""


@cache
def published() -> tuple[Result, ...]:
    """All published figures as results, sorted by model, precision, board, clock and engine."""
    by_network, sources = facts()
    titles = {name: Source(source.title, source.url) for name, source in sources.items()}
    results = [x for known in by_network.values() for x in _results(known, titles)]
    return tuple(sorted(results, key=lambda x: x.key))


def _results(known: Facts, sources: dict[str, Source]) -> list[Result]:
    """Make one result for each precision, board, clock and engine.

    Accuracies and sizes do not depend on the board or engine: their result has empty names for
    both.
    """
    groups: dict[tuple[str, str, int | None, str], list[Figure]] = {}
    for speed in known.speeds:
        key = (speed.precision, speed.board, speed.clock_mhz, speed.engine)
        source = sources[speed.source]
        time = Figure("ms", speed.ms, "published", source=source, threads=speed.threads)
        groups.setdefault(key, []).append(time)
    for row in known.accuracies:
        figures = groups.setdefault((row.precision, "", None, ""), [])
        for of, value in (("top1", row.top1), ("top5", row.top5)):
            if value is not None:
                figures.append(Figure(of, value, "published", source=sources[row.source]))
    for precision in dict.fromkeys(key[0] for key in groups):
        sizes = [
            Figure(kind, size.value, "published", source=sources[size.source])
            for size in known.sizes
            if (kind := _SIZES.get((size.of, precision)) or _SIZES.get((size.of, "")))
        ]
        if sizes:
            groups.setdefault((precision, "", None, ""), []).extend(sizes)
    shape, colours, network = _network(known)
    notes = (*known.notes, *([missing()[known.name]] if known.name in missing() else []))
    return [
        Result(
            known.name, precision, board, engine, shape, colours, known.dataset, tuple(figures),
            clock, known.origin, network, notes=notes,
            commands=_commands(known) if network else (),
        )
        for (precision, board, clock, engine), figures in groups.items()
    ]  # fmt: skip


def _network(known: Facts) -> tuple[tuple[int, ...], str, NetworkName | None]:
    """The input shape, the colour order, and the zoo's network or None if the zoo lacks it."""
    if known.name in _UNBUILT:
        side, colours = _UNBUILT[known.name]
        return (side, side, 3), colours, None
    return find(known.name).input, known.colours, NetworkName(zoo=known.name)


def _commands(known: Facts) -> tuple[str, ...]:
    show, compile_ = f"ellc zoo show {known.name}", f"ellc zoo compile {known.name} --target pi3_64"
    if known.weights is None:
        return show, compile_
    file = known.name + PurePosixPath(known.weights.member or known.weights.url).suffix
    return show, f"ellc zoo fetch {known.name} -o {file}", f"{compile_} --weights {file}"

"""Reads the figures on the pages of ELL's gallery: accuracies, and times on boards."""

from __future__ import annotations

import json
import re
from pathlib import Path

from ellc.zoo.facts.rows import Accuracy, Facts, Speed
from ellc.zoo.gallery import pages
from ellc.zoo.plots import plots

PAGES = "gallery.json"
SOURCE = "ell-gallery"
_BOARD = re.compile(r"(.*) @ ([\d.]+)(MHz|GHz)")


def page_facts(path: Path) -> dict[str, Facts]:
    """The facts on every page, including pages of networks that cannot be built."""
    colours = {page.name: page.colours for page in pages()}
    colours |= {plot.name: plot.colours for plot in plots()}
    signs = {page.name for page in pages() if any("Binary" in x.kind for x in page.layers)}
    signs |= {plot.name for plot in plots() if any("binary" in x for x in plot.layers)}
    by_network = {}
    for name, date, top1, top5, times in json.loads(path.read_text(encoding="utf-8")):
        precision = "binary" if name in signs else "fp32"
        by_network[name] = Facts(
            name,
            "ImageNet",
            colours.get(name, "bgr"),
            "ELL gallery",
            accuracies=(Accuracy(precision, top1, SOURCE, top5),) if top1 else (),
            speeds=tuple(_speed(board, ms, precision) for board, ms in times.items()),
            notes=(f"The figures are from the page as of {date}.",),
        )
    return by_network


def _speed(board: str, ms: float, precision: str) -> Speed:
    match = _BOARD.fullmatch(board)
    if not match:
        raise ValueError(board)
    clock = float(match[2]) * (1000 if match[3] == "GHz" else 1)
    return Speed(ms, match[1], precision, "ELL", SOURCE, clock_mhz=round(clock))

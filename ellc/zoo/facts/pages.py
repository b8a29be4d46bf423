"""Reads the figures on the pages of ELL's gallery: accuracies, and times on boards."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from ellc.zoo.gallery import pages
from ellc.zoo.plots import plots

PAGES = "gallery.json"
SOURCE = "ell-gallery"
_BOARD = re.compile(r"(.*) @ ([\d.]+)(MHz|GHz)")


def page_tables(path: Path) -> dict[str, dict[str, Any]]:
    """The facts on every page, including pages of networks that cannot be built.

    The facts have the form of the other files of facts. Names and values are not checked. Raises
    `ValueError` if the file is not JSON, or has an entry that is not a page, or the name of a board
    without its clock.
    """
    colours = {page.name: page.colours for page in pages()}
    colours |= {plot.name: plot.colours for plot in plots()}
    signs = {page.name for page in pages() if any("Binary" in x.kind for x in page.layers)}
    signs |= {plot.name for plot in plots() if any("binary" in x for x in plot.layers)}
    by_network = {}
    for page in json.loads(path.read_text(encoding="utf-8")):
        if not isinstance(page, list) or len(page) != 5 or not isinstance(page[4], dict):
            raise ValueError(f"not a page: {str(page)[:80]}")
        name, date, top1, top5, times = page
        precision = "binary" if name in signs else "fp32"
        accuracy = {"precision": precision, "top1": top1, "top5": top5, "source": SOURCE}
        by_network[str(name)] = {
            "dataset": "ImageNet",
            "colours": colours.get(name, "bgr"),
            "origin": "ELL gallery",
            "accuracy": [accuracy] if top1 else [],
            "speed": [_speed(board, ms, precision) for board, ms in times.items()],
            "notes": [f"The figures are from the page as of {date}."],
        }
    return by_network


def _speed(board: str, ms: object, precision: str) -> dict[str, Any]:
    match = _BOARD.fullmatch(board)
    if not match:
        raise ValueError(f"not a board with its clock: {board[:80]}")
    clock = float(match[2]) * (1000 if match[3] == "GHz" else 1)
    row = {"ms": ms, "board": match[1], "precision": precision, "engine": "ELL"}
    return {**row, "source": SOURCE, "clock_mhz": round(clock)}

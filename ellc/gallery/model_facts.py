"""Reads facts about model files from the TOML file of `ellc gallery measure --facts`.

The TOML file has one table for each model file:

    ["digits8.tflite"]
    model = "digits8"              # the name in the gallery; default: the file's name
    precision = "int8"             # one of `PRECISIONS`; default: as in most multiply-adds
    dataset = "digits"
    colours = "grey"               # one of `COLOURS`; default: from the model's metadata
    preprocess = "unit"            # one of `PRESETS`
    labels = "labels.txt"          # a file with one class name per line
    drawing = 0.72                 # lets visitors draw, see `ellc.gallery`
    data = "digits.npz"            # the data with which the accuracy is measured
    truth = "truth.csv"            # a table of the classes, for `ellc evaluate --truth`
    sample = "300 pictures"        # describes the data if it is not the whole test data
    evaluate = "--background"      # more options of `ellc evaluate`
    next = "head.tflite"           # a second model file; the accuracy is that of both in a chain
    origin = "..."
    notes = ["..."]

All keys are optional. File names are relative to the folder of the models.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from ellc.gallery.load import refuse
from ellc.gallery.rows import COLOURS, PRECISIONS
from ellc.pictures.pixels import PRESETS
from ellc.tables import Table


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """The facts about a model file; the docstring of this module describes the fields."""

    model: str = ""
    precision: str = ""
    dataset: str = ""
    colours: str = ""
    preprocess: str = ""
    labels: Path | None = None
    drawing: float | None = None
    data: Path | None = None
    truth: Path | None = None
    sample: str = ""
    evaluate: str = ""
    next: str = ""
    origin: str = ""
    notes: tuple[str, ...] = ()


def read_facts(path: Path, folder: Path) -> dict[str, ModelFacts]:
    """Read the facts in the TOML file `path`, by the names of the model files in `folder`.

    Raises `EllcError` E780 with every problem in the file.
    """
    problems: list[str] = []
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        refuse([f"{path}: {error.strerror if isinstance(error, OSError) else error}"])
        return {}
    found = {}
    for name, entry in document.items():
        table = Table(entry if isinstance(entry, dict) else {}, f"{path}: {name}", problems)
        if not isinstance(entry, dict):
            table.problem("it is not a table")
        found[name] = _facts(table, folder)
    refuse(problems)
    return found


def _facts(table: Table, folder: Path) -> ModelFacts:
    def file(key: str) -> Path | None:
        name = table.text(key, needed=False)
        if name and not (folder / name).exists():
            table.problem(f"{key}: the file {name} is missing")
        return folder / name if name else None

    def text(key: str, among: tuple[str, ...] = ()) -> str:
        return table.text(key, among=among, needed=False)

    facts = ModelFacts(
        text("model"),
        text("precision", PRECISIONS),
        text("dataset"),
        text("colours", COLOURS),
        text("preprocess", tuple(PRESETS)),
        file("labels"),
        table.number("drawing", 0.1, 1.0, needed=False),
        file("data"),
        file("truth"),
        text("sample"),
        text("evaluate"),
        text("next"),
        text("origin"),
        table.texts("notes"),
    )
    table.end()
    return facts

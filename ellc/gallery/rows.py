"""Represents results as typed data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

FORMAT = "ellc gallery 1"
PRECISIONS = ("fp32", "fp16", "int8", "binary")
COLOURS = ("rgb", "bgr", "grey", "none")
PROVENANCES = ("measured", "modelled", "published")
FIGURES = {
    "top1": (0.0, 100.0),
    "top5": (0.0, 100.0),
    "ms": (1e-6, 1e9),
    "parameters": (0.0, 1e15),
    "macs": (0.0, 1e18),
    "weight_bytes": (0.0, 1e15),
    "file_bytes": (0.0, 1e15),
    "ram_bytes": (0.0, 1e15),
}
"""The kinds of figures, each with its least and largest allowed value."""
ACCURACIES = ("top1", "top5")
SIZES = ("parameters", "macs", "weight_bytes", "file_bytes", "ram_bytes")


@dataclass(frozen=True, slots=True)
class Source:
    """A publication."""

    title: str
    url: str


@dataclass(frozen=True, slots=True)
class Figure:
    """One number and its provenance.

    A published figure has a source. Any other figure has a command; its `value` may be None until
    it is measured. `of` is the kind of figure, a key of `FIGURES`. Only times have `threads`. An
    accuracy that was not measured with the whole test data has a `sample`, which describes the data
    that was used.
    """

    of: str
    value: float | None
    provenance: str
    command: str = ""
    source: Source | None = None
    threads: int | None = None
    sample: str = ""


@dataclass(frozen=True, slots=True)
class NetworkName:
    """The network of a model: a model file, or the name of a network in the zoo."""

    file: Path | None = None
    zoo: str = ""


@dataclass(frozen=True, slots=True)
class Download:
    """A file that the site offers for download."""

    title: str
    file: Path


@dataclass(frozen=True, slots=True)
class TrialFacts:
    """The facts that a result gives for its trial page.

    `preprocess` is one of `ellc.pictures.pixels.PRESETS`; it is empty if the model's metadata
    describe the preprocessing. `drawing` is the share of the picture that a drawn digit or sign
    fills; it is None if the network is not for drawings.
    """

    labels: Path | None = None
    preprocess: str = ""
    drawing: float | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """The figures of one model, in one precision, on one board, as computed by one engine.

    `path` is the result file; None for published figures of the zoo.
    """

    model: str
    precision: str
    board: str
    engine: str
    input: tuple[int, ...]
    colours: str
    dataset: str
    figures: tuple[Figure, ...]
    clock_mhz: int | None = None
    origin: str = ""
    network: NetworkName | None = None
    trial: TrialFacts | None = None
    prepare: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    downloads: tuple[Download, ...] = ()
    notes: tuple[str, ...] = ()
    machine: str = ""
    path: Path | None = None

    @property
    def key(self) -> tuple[str, str, str, int, str]:
        """The fields that identify a result; two results must not have the same key."""
        return self.model, self.precision, self.board, self.clock_mhz or 0, self.engine

    @property
    def known(self) -> tuple[Figure, ...]:
        """The figures that have a value."""
        return tuple(figure for figure in self.figures if figure.value is not None)

    def first(self, of: str, wanted: Callable[[Figure], bool] = lambda _: True) -> Figure | None:
        """The first figure of one kind that has a value and is `wanted`; None if there is none."""
        return next((x for x in self.known if x.of == of and wanted(x)), None)

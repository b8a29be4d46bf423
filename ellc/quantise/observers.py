"""Watches the values of a float network on calibration data, in bounded memory.

Each value has a histogram with a fixed number of bins. If a number is outside the histogram, the
width of its bins doubles: pairs of bins are joined, so one pass over the data is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ellc.driver import CompileOptions, compile_model
from ellc.execute import Arrays, open_library
from ellc.ir.graph import Graph, Port
from ellc.ir.interp import evaluate
from ellc.ir.types import Array
from ellc.progress import Progress

BINS = 4096
"""Bins of a histogram; half of them are for negative numbers."""
_LOWEST_EXPONENT = -120
_FEW_MACS = 1_000_000


@dataclass
class Histogram:
    """How often each number occurs: bin i has the numbers from (i - BINS / 2) * width.

    `width` is a power of two. `low` and `high` are the smallest and largest number, exactly.
    `lost` counts numbers that are NaN or infinite; they are in no bin.
    """

    width: float = 0.0
    counts: Array = field(default_factory=lambda: np.zeros(BINS, np.int64))
    low: float = np.inf
    high: float = -np.inf
    lost: int = 0

    def add(self, values: Array) -> None:
        """Count the elements of an array."""
        flat = np.asarray(values, np.float32).reshape(-1)
        finite = np.isfinite(flat)
        if not finite.all():
            self.lost += int(flat.size - np.count_nonzero(finite))
            flat = flat[finite]
        if not flat.size:
            return
        low, high = float(flat.min()), float(flat.max())
        self.low, self.high = min(self.low, low), max(self.high, high)
        self._reach(max(-low, high))
        at = np.floor(flat.astype(np.float64) / self.width).astype(np.int64) + BINS // 2
        self.counts += np.bincount(np.clip(at, 0, BINS - 1), minlength=BINS)

    def joined(self, other: Histogram) -> Histogram:
        """The histogram of the numbers in both."""
        first, second = (replace(h, counts=h.counts.copy()) for h in (self, other))
        width = max(first.width, second.width)
        for histogram in (first, second):
            while 0 < histogram.width < width:
                histogram._double()
        return Histogram(
            width,
            first.counts + second.counts,
            min(first.low, second.low),
            max(first.high, second.high),
            first.lost + second.lost,
        )

    @property
    def is_empty(self) -> bool:
        """Whether no finite number was counted."""
        return not self.width

    @property
    def centres(self) -> Array:
        """The number in the middle of each bin."""
        return (np.arange(BINS) - BINS / 2 + 0.5) * self.width

    def _reach(self, size: float) -> None:
        """Widen the bins until the histogram has one for numbers of this size."""
        if not self.width:
            exponent = max(int(np.frexp(size)[1]), _LOWEST_EXPONENT)
            self.width = 2.0**exponent / (BINS // 2)
        while size > self.width * (BINS // 2):
            self._double()

    def _double(self) -> None:
        half = self.counts.reshape(-1, 2).sum(1)
        self.counts = np.zeros(BINS, np.int64)
        self.counts[BINS // 4 : BINS // 4 + BINS // 2] = half
        self.width *= 2


@dataclass
class Observation:
    """A value's histogram, and the sum and the peak for each index of the last axis."""

    histogram: Histogram = field(default_factory=Histogram)
    sums: Array | None = None
    peaks: Array | None = None
    rows: int = 0

    def add(self, values: Array) -> None:
        """Count the elements of an array."""
        self.histogram.add(values)
        rows = values.reshape(-1, values.shape[-1] if values.ndim else 1)
        total = rows.sum(0, dtype=np.float64)
        self.sums = total if self.sums is None else self.sums + total
        peaks = np.abs(rows).max(0, initial=0.0)
        self.peaks = peaks if self.peaks is None else np.maximum(self.peaks, peaks)
        self.rows += len(rows)

    @property
    def means(self) -> Array:
        """The mean for each index of the last axis."""
        assert self.sums is not None
        return self.sums / max(self.rows, 1)


Watched = Callable[[Arrays], Mapping[str, Array]]
"""Calls a network and returns the watched values."""


@contextmanager
def watched(
    graph: Graph, values: Sequence[str], folder: Path, report: Progress
) -> Iterator[Watched]:
    """Open a graph with `values` as its outputs, among them perhaps inputs and constants.

    A small network is computed by the reference, because compiling it would take longer. Others are
    compiled for this machine, into `folder`.
    """
    macs = sum(node.op.macs(*graph.node_types(node)) for node in graph.nodes)
    if macs <= _FEW_MACS:
        yield by_reference(graph, values)
        return
    with compiled(graph, values, folder, report) as call:
        yield call


def by_reference(graph: Graph, values: Sequence[str]) -> Watched:
    """A function that computes `values` in numpy."""
    ports = tuple(Port(value, value) for value in values)
    outputs = replace(graph, outputs=ports)
    return lambda inputs: dict(zip(values, evaluate(outputs, inputs).outputs, strict=True))


@contextmanager
def compiled(
    graph: Graph, values: Sequence[str], folder: Path, report: Progress
) -> Iterator[Watched]:
    """Compile a graph for this machine, with `values` as its outputs, and open it."""
    given = [port.value for port in graph.inputs]
    known = graph.constant_arrays()
    computed = [v for v in dict.fromkeys(values) if v not in known and v not in given]
    if not computed:
        yield lambda inputs: _chosen(values, known, dict(zip(given, inputs, strict=True)))
        return
    ports = tuple(Port(f"value{i}", value) for i, value in enumerate(computed))
    open_graph = replace(graph, outputs=ports, metadata={})
    options = CompileOptions(emit=("so", "obj"), threads=1, name="watched")
    built = compile_model(open_graph, "host", options, folder, report)
    assert built.library is not None
    with open_library(built.library).session(threads=1) as call:

        def all_values(inputs: Arrays) -> Mapping[str, Array]:
            results = zip(computed, call(inputs), strict=True)
            return _chosen(values, known, dict(zip(given, inputs, strict=True)), dict(results))

        yield all_values


def _chosen(values: Sequence[str], *sources: Mapping[str, Array]) -> dict[str, Array]:
    found = {k: v for source in sources for k, v in source.items()}
    return {value: found[value] for value in values}


def observe(
    call: Watched, samples: Iterable[Array], values: Sequence[str], report: Progress, total: int
) -> dict[str, Observation]:
    """Call a network with every sample and collect what its values are."""
    seen = {value: Observation() for value in values}
    for done, sample in enumerate(samples, 1):
        for value, array in call((sample,)).items():
            seen[value].add(array)
        report("calibrating", done, total)
    return seen

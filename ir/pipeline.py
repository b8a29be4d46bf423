"""The pass manager: runs passes in order, verifies, times and dumps, and names a faulty pass."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ellc.ir.container import load_weights, save_weights, used_keys
from ellc.ir.errors import EllcError, InternalError, ShapeError
from ellc.ir.files import cannot_write, write_text
from ellc.ir.graph import Graph
from ellc.ir.meaning import Difference, MeaningCheck
from ellc.ir.nested import map_bodies
from ellc.ir.passes.base import Pass, all_passes, parse_passes, register_pass, run_nested
from ellc.ir.passes.properties import AS_READ, Property
from ellc.ir.ranges import CODE
from ellc.ir.text import parse, print_graph
from ellc.ir.verify import verify

__all__ = [
    "Group",
    "Pass",
    "PassRecord",
    "PipelineOptions",
    "PipelineReport",
    "all_passes",
    "default_groups",
    "default_passes",
    "load_dump",
    "parse_passes",
    "register_pass",
    "run_pipeline",
]

WEIGHTS_FILE = "weights.eir"

# The order of all passes. A group runs from left to right, repeatedly, until none of its passes
# changes the graph. Nodes without readers are removed before passes that ask whether a value has a
# single reader. `fold_affine` and `absorb_padding` are in one group, since a `Pad` may come before
# or after a subtraction of a mean, or between two subtractions.
_GROUPS = (
    (
        "canonicalise",
        "unroll_loops, unroll_nested_loops, simplify_loops, fold_constants, lower_composites, "
        "eliminate_common, simplify, eliminate_dead",
    ),
    (
        "layout",
        "sink_reshape, eliminate_dead, move_transposes, binary_products, simplify, eliminate_dead",
    ),
    (
        "fold",
        "recognise_activations, eliminate_dead, binary_thresholds, absorb_order, absorb_padding, "
        "fold_affine, "
        "fold_constants, simplify, eliminate_common, eliminate_dead",
    ),
    ("fuse", "fuse_epilogue, fold_padding"),
)
_NEEDED = ("needed by kernels", "unroll_nested_loops, lower_composites, eliminate_dead")
_REQUIRED = ("unroll_nested_loops", "lower_composites")
_MOST_ROUNDS = 16  # for a group; without a limit, passes that undo each other would run forever


@dataclass(frozen=True)
class Group:
    """Passes that run in order, repeatedly, until none of them changes the graph."""

    name: str
    passes: tuple[Pass, ...]

    def run(self, graph: Graph, run_pass: Callable[[Pass, Graph], Graph] = run_nested) -> Graph:
        """The graph after all passes; `run_pass` runs a single pass.

        A pass is skipped if no other pass has changed the graph since it ran. After `_MOST_ROUNDS`
        rounds, the group ends even if the graph still changes.
        """
        returned: dict[Pass, Graph] = {}
        for _ in range(_MOST_ROUNDS):
            if all(returned.get(step) is graph for step in self.passes):
                break
            for step in self.passes:
                if returned.get(step) is not graph:
                    after = run_pass(step, graph)
                    graph = graph if after == graph else after
                    returned[step] = graph
        return graph


@dataclass(frozen=True)
class PipelineOptions:
    """Which passes run: all except those in `skip`; without `optimize`, only required passes."""

    optimize: bool = True
    skip: tuple[str, ...] = ()


def default_groups(options: PipelineOptions | None = None) -> tuple[Group, ...]:
    """All passes in groups.

    Raises `EllcError` (E150) if a pass to skip does not exist or kernels need it.

    >>> [g.name for g in default_groups()]
    ['canonicalise', 'layout', 'fold', 'fuse']
    """
    chosen = options or PipelineOptions()
    for name in chosen.skip:
        if name not in all_passes() or name in _REQUIRED:
            reason = "is needed by every kernel" if name in _REQUIRED else "does not exist"
            raise EllcError(f"pass '{name}' cannot be skipped: it {reason}", code="E150")
    groups = []
    for name, text in _GROUPS if chosen.optimize else (_NEEDED,):
        groups.append(
            Group(name, tuple(p for p in parse_passes(text) if p.name not in chosen.skip))
        )
    return tuple(groups)


def default_passes(options: PipelineOptions | None = None) -> tuple[Pass, ...]:
    """The passes of `default_groups` as one list.

    >>> [p.name for p in default_passes(PipelineOptions(optimize=False))]
    ['unroll_nested_loops', 'lower_composites', 'eliminate_dead']
    """
    return tuple(each for group in default_groups(options) for each in group.passes)


@dataclass(frozen=True)
class PassRecord:
    """What a pass did. `difference` is None unless the pipeline ran with `paranoid`."""

    name: str
    changed: bool
    nodes_before: int
    nodes_after: int
    seconds: float
    difference: Difference | None = None


@dataclass(frozen=True)
class PipelineReport:
    """A record of every pass that ran, in order."""

    records: tuple[PassRecord, ...]

    @property
    def seconds(self) -> float:
        """The time that the passes took, without verification and comparison."""
        return sum(r.seconds for r in self.records)

    def table(self) -> str:
        """One line per pass: nodes before and after, milliseconds, and the difference, if known."""
        lines = []
        width = max((len(r.name) for r in self.records), default=0)
        for r in self.records:
            nodes = f"{r.nodes_before} -> {r.nodes_after} nodes" if r.changed else "unchanged"
            line = f"{r.name:<{width}} {nodes:<22} {r.seconds * 1e3:9.1f} ms"
            if r.difference is not None:
                line += f"  {r.difference.worst:.1e}"
                undecided = r.difference.undecided
                line += f" ({undecided} undecided signs)" if undecided else ""
            lines.append(line)
        return "\n".join(lines)


# numpy warns if arithmetic on weights overflows, or if weights contain signalling NaNs. The device
# computes the same results without a warning, so there must be no warning here either.
@np.errstate(all="ignore")
def run_pipeline(
    graph: Graph,
    passes: Sequence[Pass | Group] | None = None,
    *,
    dump_dir: Path | None = None,
    paranoid: bool = False,
    seed: int = 0,
    watch: Callable[[str, Graph, Graph], None] | None = None,
) -> tuple[Graph, PipelineReport]:
    """Run passes (all by default), and verify the graph before the first and after every change.

    A group runs repeatedly until it changes nothing. In it, a pass is skipped if no other pass has
    changed the graph since it ran.

    With `dump_dir`, `00_input.txt` holds the graph before the first pass, `NN_PASS.txt` the graph
    after each pass, and `weights.eir` all their weights (`load_dump` reads them). With `paranoid`,
    the graphs before and after every pass that changed something are compared in float64, on inputs
    drawn from `seed`, and the properties that passes require and ensure are checked. `watch` is
    called after every pass with its name and the graphs before and after it.

    Raises `EllcError` if the given graph is not well formed (E110), if an operator cannot take a
    constant of the graph or one that a pass computed (E111), if a pass does not support an
    operator's attributes (E302), if loops are nested too deeply (E304), or if a dump cannot be
    written. Any other failure of a pass, except a lack of memory, raises an `InternalError` with
    the pass's name, and so does a pass after which the graph is not well formed or has another
    interface or meaning. If graphs are dumped, the file of the graph before that pass is the
    reproducer.
    """
    dump = _Dump(dump_dir)
    try:
        verify(graph, "before the first pass")
        dump.write("input", graph)
        check = MeaningCheck(graph, seed) if paranoid else None
        run = _Run(check, dump, watch)
        for each in default_groups() if passes is None else passes:
            if isinstance(each, Group):
                graph = each.run(graph, run.step)
            else:
                graph = run.step(each, graph)
    finally:
        dump.finish()
    return _stored(graph), PipelineReport(tuple(run.records))


@dataclass
class _Run:
    """One run of the pipeline. `check`, if given, compares the graphs around each pass."""

    check: MeaningCheck | None
    dump: _Dump
    watch: Callable[[str, Graph, Graph], None] | None
    records: list[PassRecord] = field(default_factory=list)
    ensured: set[Property] = field(default_factory=lambda: set(AS_READ))

    def step(self, step: Pass, graph: Graph) -> Graph:
        """Run one pass and record it; returns the graph after it."""
        if self.check:
            required = self.ensured.intersection(step.requires)
            _want_properties(required, graph, f"pass '{step}' requires", self.dump.latest)
        after, record = _run_one(step, graph, self.check, self.dump)
        if self.watch is not None:
            self.watch(step.name, graph, after)
        if self.check:
            _want_properties(step.ensures, after, f"pass '{step}' ensures", self.dump.latest)
        self.ensured.update(step.ensures)
        self.records.append(record)
        return after


def _want_properties(
    properties: Iterable[Property], graph: Graph, what: str, reproducer: str
) -> None:
    missing = sorted(p.name for p in properties if not p.holds(graph))
    if missing:
        broken = "a property that does" if len(missing) == 1 else "properties that do"
        message = f"{what} {broken} not hold: {', '.join(missing)}"
        raise InternalError(message, reproducer=reproducer)


def _stored(graph: Graph) -> Graph:
    """The graph without unrounded arrays of constants, which files do not store."""
    return replace(map_bodies(graph, _stored), exact={})


def load_dump(path: Path) -> Graph:
    """Read a graph from a file of a dump. Raises `EllcError` (E130, E140) if it is damaged."""
    graph = parse(path.read_text(encoding="utf-8"), load_weights(path.parent / WEIGHTS_FILE))
    verify(graph, str(path))
    return graph


def _run_one(
    step: Pass, graph: Graph, check: MeaningCheck | None, dump: _Dump
) -> tuple[Graph, PassRecord]:
    reproducer = dump.latest
    start = time.perf_counter()
    try:
        step.refuse(graph)
        after = _described(run_nested(step, graph), graph)
    except MemoryError:  # a limit of the machine, not a fault of the pass
        raise
    except Exception as error:  # the graph is well formed: the pass refuses it or is faulty
        if isinstance(error, EllcError) and not isinstance(error, ShapeError):
            raise
        raise InternalError(f"pass '{step}' failed: {error!r}", reproducer=reproducer) from error
    seconds = time.perf_counter() - start
    changed = after != graph
    after = after if changed else graph
    dump.write(step.name, after)
    difference = None
    if changed:
        _check_form(step, graph, after, reproducer)
        difference = check.compare(after, step.tolerance) if check else None
        if difference is not None and not difference.worst <= step.tolerance:
            raise InternalError(
                f"pass '{step}' changes {difference.where} by {difference.worst:.3g} of its "
                f"largest magnitude (bound {step.tolerance:g}, float64)",
                reproducer=reproducer,
            )
    elif check:
        difference = Difference()
    counts = len(graph.nodes), len(after.nodes)
    return after, PassRecord(step.name, changed, *counts, seconds, difference)


def _check_form(step: Pass, before: Graph, after: Graph, reproducer: str) -> None:
    try:
        verify(after, f"after pass '{step}'")
    except EllcError as error:
        if error.code == CODE:  # the pass computed an unusable constant from the model's numbers
            raise
        raise InternalError(error.report(), reproducer=reproducer) from error
    if _interface(before) != _interface(after):
        raise InternalError(f"pass '{step}' changes the interface", reproducer=reproducer)


def _described(after: Graph, before: Graph) -> Graph:
    """`after`, in which outputs without a quantisation note have the note that `before` has."""
    types = dict(after.types)
    for old, new in zip(before.outputs, after.outputs, strict=False):
        if types[new.value].quant is None:
            types[new.value] = replace(types[new.value], quant=before.types[old.value].quant)
    return after if types == after.types else replace(after, types=types)


def _interface(graph: Graph) -> object:
    """The public interface: the graph's name, inputs, outputs, states and metadata."""
    ports = [[(p.name, graph.types[p.value]) for p in x] for x in (graph.inputs, graph.outputs)]
    states = [(s.name, graph.types[s.current].meaning, s.key) for s in graph.states]
    return graph.name, ports, states, dict(graph.metadata)


class _Dump:
    """Writes numbered graph files into a folder; does nothing if the folder is None.

    Each file is written right after its pass, so that a dump of a crashed run is complete up to
    the crash.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._count = 0
        self._keys: dict[str, None] = {}
        self._graph: Graph | None = None
        self.latest = ""
        if folder is not None:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                for old in (*folder.glob("[0-9][0-9]_*.txt"), *folder.glob(WEIGHTS_FILE)):
                    old.unlink()
            except OSError as error:
                raise cannot_write(folder, error) from error

    def write(self, stage: str, graph: Graph) -> None:
        if self._folder is None:
            return
        path = self._folder / f"{self._count:02d}_{stage}.txt"
        write_text(path, print_graph(graph))
        self._keys.update(dict.fromkeys(used_keys(graph)))
        self._count, self._graph, self.latest = self._count + 1, graph, str(path)

    def finish(self) -> None:
        if self._folder is not None and self._graph is not None:
            save_weights(self._graph.weights, self._keys, self._folder / WEIGHTS_FILE)

"""Test operators with NaN, infinities, zeros of both signs and denormal numbers in their samples.

Results must equal the reference, with NaN and infinities at the same elements. A table in
`codegen/README.md` lists what may differ, and why.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
from agreement import disagreement
from operator_graphs import sample_graph, sample_of

from ellc.codegen.blocks.calls import Options
from ellc.codegen.blocks.candidates import FAMILIES, WINOGRAD
from ellc.codegen.machine.target import Target
from ellc.codegen.measure.testing import Outputs, Trial, rivals
from ellc.codegen.planning.planner import make_plan
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph, Node
from ellc.ir.interp import evaluate, run_node
from ellc.ir.op import Arrays, Case, Op
from ellc.ir.ops.arithmetic import FloorDiv
from ellc.ir.ops.binary import Binarize
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.conv_transpose import ConvTranspose2D
from ellc.ir.ops.fused import Fused, anchor_of
from ellc.ir.types import Array

KINDS: dict[str, tuple[float, ...]] = {
    "nan": (np.nan,),
    "infinities": (np.inf, -np.inf),
    "zeros": (0.0, -0.0),
    "denormals": (1e-40, -1e-40, 1e-45, -1e-45),
}
_SEARCHES = ("clip", "max_pool2d", "maximum", "minimum", "reduce", "relu")
_PRODUCTS = ("conv2d", "conv_transpose2d", "dense", "fused", "mat_mul")
_CELLS = ("fast_grnn_cell", "gru_cell", "loop", "lstm_cell", "rnn_cell")
_SUMS = ("avg_pool2d", "batch_norm", "cum_sum", "interpolate", "lrn", "normalize")
_PLACES = ("resample", "resize")
_FUNCTIONS = ("expm1", "floor_mod", "log1p", "mod", "sign", "sin", "tan")
SIGN_IS_OPEN = frozenset(_SEARCHES + _PRODUCTS + _CELLS + _SUMS + _PLACES + _FUNCTIONS)
"""Operators whose zeros may have either sign."""
_SPARSE = 16  # every 16th element is replaced, to find wrong effects on other elements


@dataclass(frozen=True)
class SpecialSample:
    """The graph of a sample, called with its operands and then with special values of each kind.

    `kinds` names the kinds; the cases differ only in their operands.
    """

    label: str
    trial: Trial
    kinds: tuple[str, ...]
    cases: tuple[Case, ...]


def injected(case: Case, kind: str, places: Sequence[int], rng: np.random.Generator) -> Case:
    """The case with special values of one kind in the operands at `places`."""
    operands = list(case.inputs)
    for place in places:
        operands[place] = sprinkled(operands[place], kind, rng)
    return replace(case, inputs=tuple(operands))


def sprinkled(x: Array, kind: str, rng: np.random.Generator) -> Array:
    """Floats, of which at least one is replaced by a special value; other types are unchanged."""
    changed = x.copy()
    if x.dtype.kind == "f" and x.size:
        count = max(1, x.size // _SPARSE)
        at = rng.choice(x.size, count, replace=False)
        changed.reshape(-1)[at] = rng.choice(np.array(KINDS[kind], x.dtype), count)
    return changed


def float_places(case: Case) -> list[int]:
    """The positions of operands that can hold special values."""
    return [place for place, x in enumerate(case.inputs) if x.dtype.kind == "f" and x.size]


def special_samples(op: type[Op], rng: np.random.Generator) -> Iterator[SpecialSample]:
    """All samples of an operator; with float inputs, also with every kind of special values."""
    other = np.random.default_rng(zlib.crc32(op.name.encode()))
    for index, case in enumerate(op.samples(rng)):
        places = [p for p in float_places(case) if p not in case.constants]
        kinds = ("", *KINDS) if places else ("",)
        cases = (case, *(injected(case, kind, places, other) for kind in kinds[1:]))
        trial = sample_of(case, case.label, f"{op.name}_{index}").trial
        calls = tuple(sample_graph(c, "inputs")[1] for c in cases)
        label = f"{index} {case.label} {case.op}"
        yield SpecialSample(label, replace(trial, calls=calls), kinds, cases)


def differences(sample: SpecialSample, found: Sequence[Outputs], target: Target) -> list[str]:
    """A line for each result that differs from the reference."""
    said = []
    tiles = cache(partial(winograd_tiles, sample.trial, target))
    calls = zip(sample.kinds, sample.cases, sample.trial.calls, found, strict=True)
    for kind, case, call, outputs in calls:
        wanted = references(case, target) if kind else [reference(case)]
        spread = spreading(case, sample.trial.graph, call, tiles) if kind else None
        for number, got in enumerate(outputs):
            choices = [np.asarray(want[number]) for want in wanted]
            if spread is not None:
                choices = [_adopted(got, np.asarray(spread[number]), want) for want in choices]
            why = difference(got, choices) if kind else disagreement(got, *choices)
            if kind == "zeros":
                why = why or wrong_signs(case.op, got, choices[0])
            said += [f"{sample.label}: {kind} result {number}: {why}"] if why else []
    return said


def reference(case: Case) -> Arrays:
    """The results of the operator's reference."""
    with np.errstate(all="ignore"):
        return case.op.reference(*case.inputs)


def references(case: Case, target: Target) -> list[Arrays]:
    """The correct results: the reference, also with flushed denormals if they may be flushed."""
    if target.calls_runtime and isinstance(case.op, FloorDiv):
        return [reference(case), (np.floor(_flushed(_quotient(*case.inputs))),)]
    if not flushes(target):
        return [reference(case)]
    return [reference(case), reference(replace(case, inputs=tuple(map(_flushed, case.inputs))))]


def _quotient(x: Array, y: Array) -> Array:
    """The quotient of `FloorDiv`, before it is rounded."""
    with np.errstate(all="ignore"):
        return np.asarray(x / y if x.dtype.kind == "f" else FloorDiv().value(x, y))


def flushes(target: Target) -> bool:
    """Whether vector instructions take a denormal float32 as 0, as 32-bit NEON does."""
    return target.arch == "arm" and target.has("neon")


def difference(got: Array, wanted: Sequence[Array]) -> str:
    """A description of elements that equal none of the references; empty if there are none."""
    best, *flushed = wanted
    for other in flushed:
        best = np.where(_equal(_flushed(got), other), got, best)
    return disagreement(got, best)


def wrong_signs(op: Op, got: Array, want: Array) -> str:
    """A description of zeros with a wrong sign; empty if there are none or any sign is allowed."""
    if got.dtype.kind != "f" or op.name in SIGN_IS_OPEN:
        return ""
    wrong = (got == 0) & (want == 0) & (np.signbit(got) != np.signbit(want))
    return f"{int(wrong.sum())} zeros of the other sign" if wrong.any() else ""


def spreading(
    case: Case, lowered: Graph, call: Arrays, tiles: Callable[[], Mapping[str, int]]
) -> Arrays | None:
    """The results with NaN where the kernels may give NaN, but not the reference; None if nowhere.

    See the table in `codegen/README.md`. `tiles` gives the `winograd_tiles`, for which a plan is
    made; only calls with NaN or infinities need them.
    """
    is_finite = all(np.isfinite(x).all() for x in call if x.dtype.kind == "f")
    if not is_finite and (sizes := tiles()):
        with np.errstate(all="ignore"):
            return evaluate(lowered, call, run=partial(_in_tiles, sizes)).outputs
    return with_zeros(case, lowered, call)


def winograd_tiles(trial: Trial, target: Target) -> dict[str, int]:
    """The values of a trial that a Winograd convolution computes, and the size of its tiles."""
    layers = sum(isinstance(anchor_of(node.op), Conv2D) for node in trial.graph.nodes)
    asked = [family for _, family in trial.kernels]
    if not layers or (layers == len(asked) and not any(WINOGRAD in name for name in asked)):
        return {}
    options = Options(kernels=trial.kernels, threads=trial.threads or 1)
    steps = make_plan(trial.graph, target, options, "tiles").steps
    return {
        value: int(step.predictions[0].schedule[0])
        for step in steps
        if step.sums.algorithm == WINOGRAD
        for value in step.values
    }


def _in_tiles(tiles: Mapping[str, int], node: Node, env: Mapping[str, Array]) -> Arrays:
    """The results of a node, with NaN wherever a Winograd convolution may give it.

    It may subtract infinities of its image. With tiles of 4x4, NaN reaches a whole tile.
    """
    size = tiles.get(node.output)
    if size is None:
        return run_node(node, env)
    image = env[node.inputs[0]]
    holed = {**env, node.inputs[0]: np.where(np.isinf(image), np.nan, image)}
    (result,) = run_node(node, holed)
    if size == 4:
        _, rows, columns, _ = result.shape
        for row in range(0, rows, size):
            for column in range(0, columns, size):
                tile = result[:, row : row + size, column : column + size]
                tile[np.isnan(tile).any(axis=(1, 2, 3))] = np.nan
    return (result,)


def with_zeros(case: Case, lowered: Graph, call: Arrays) -> Arrays | None:
    """The results with products of zeros that kernels add to the weights; None if they add none.

    A lowered transposed convolution has zeros in the windows of its phases. If the signs of
    several groups share a byte, the kernel computes with filters over all groups.
    """
    with np.errstate(all="ignore"):
        match case.op:
            case ConvTranspose2D():
                return evaluate(lowered, call).outputs
            case Fused(Conv2D() as conv, _, stages) if any(
                isinstance(s.op, Binarize) for s in stages
            ):
                x, w, *rest = case.inputs
                if w.shape[3] > 1 and w.shape[0] // conv.groups % 8:
                    over_all = replace(case.op, anchor=replace(conv, groups=1))
                    return over_all.reference(x, _over_all_groups(w, conv.groups), *rest)
    return None


def _over_all_groups(w: Array, groups: int) -> Array:
    """Filters [F,kh,kw,C/groups] extended to all channels, with 0 for those of other groups."""
    extended = np.zeros((*w.shape[:3], groups, w.shape[3]), w.dtype)
    filters = np.arange(w.shape[0])
    extended[filters, :, :, filters // (w.shape[0] // groups)] = w
    return extended.reshape(*w.shape[:3], groups * w.shape[3])


def _adopted(got: Array, spread: Array, want: Array) -> Array:
    """The reference; elements that zeros in the weights affect are taken from the result."""
    if got.dtype.kind == "f":
        return np.where(np.isnan(got) & np.isnan(spread), got, want)
    return np.where(got == spread, got, want)


def _equal(got: Array, want: Array) -> Array:
    return np.asarray((got == want) | ((got != got) & (want != want)))


def _flushed(x: Array) -> Array:
    if x.dtype != np.float32:
        return x
    return np.where(np.abs(x) < np.finfo(np.float32).tiny, np.copysign(np.float32(0), x), x)


def with_rivals(op: type[Op], sample: SpecialSample, board: Target) -> Iterator[SpecialSample]:
    """The sample once for each kernel that could compute it, except the cheapest."""
    if len(FAMILIES.get(op, ())) > 1:
        for trial in rivals(sample.trial, board):
            ((_, asked),) = trial.kernels
            yield replace(sample, label=f"{sample.label} by {asked}", trial=trial)


def is_declined(result: object, target: Target) -> bool:
    """Whether it says that the machine computes no float64, which is the only reason to decline."""
    return isinstance(result, EllcError) and result.code == "E303" and not target.scalar_f64

"""The scheduler of cores that execute in order: it translates whole loop nests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import count

from ellc.codegen.kir.assembly import Frame, frame
from ellc.codegen.kir.in_order.allocate import spill
from ellc.codegen.kir.in_order.code import Unsupported
from ellc.codegen.kir.in_order.encoding import Encoding
from ellc.codegen.kir.in_order.kept import DECLINED, Answer, keep, kept, key_of, shelf
from ellc.codegen.kir.in_order.live import without_dead_code
from ellc.codegen.kir.in_order.lower import Lowering
from ellc.codegen.kir.in_order.placing import LEAST_PRODUCTS
from ellc.codegen.kir.in_order.predict import (
    counts_bits,
    dense_loops,
    loads_much,
    predicted_cycles,
    steady_loops,
)
from ellc.codegen.kir.in_order.proof.machine import Machine
from ellc.codegen.kir.in_order.proof.machine_a32 import MachineA32
from ellc.codegen.kir.in_order.proof.machine_a64 import MachineA64
from ellc.codegen.kir.in_order.proof.prove import problem
from ellc.codegen.kir.in_order.states import encoding_of
from ellc.codegen.kir.in_order.translate import Translated, lowered, translate
from ellc.codegen.kir.instructions.neon import SIGNED_DOT
from ellc.codegen.kir.ir import AssemblyFunction, For, Let, Var, walk
from ellc.codegen.kir.nests import Nest, nest_scheduler
from ellc.codegen.machine.core import Arch
from ellc.codegen.machine.pipeline import Issue, pipeline_of
from ellc.codegen.machine.target import Target
from ellc.ir.errors import InternalError

NAME = "in_order"
MACHINES: Mapping[Arch, type[Machine]] = {"aarch64": MachineA64, "arm": MachineA32}


_GAIN = 0.85
"""Straight code for the Cortex-A55 must be predicted to take at most this part of the cycles of
code in the order of the kernel. LLVM's order, the alternative, takes 0.81 to 0.95 of them in
depthwise layers (`tests/benchmarks/orders.py`)."""


@nest_scheduler(NAME)
def in_order(nest: Nest, target: Target) -> AssemblyFunction | None:
    """A function for a nest with loops of products, if it is predicted to be faster.

    It is proved equal to the nest, also if an earlier compilation has found it.
    """
    rows, encoding = pipeline_of(target), encoding_of(target)
    if rows is None or encoding is None or not _may_win(nest.loop):
        return None
    layout = frame((nest.loop,), nest.results, target.word_bits)
    key = "" if shelf() is None else key_of(nest, layout, target, rows)
    known = kept(key, target)
    if known is not None and not _problem(nest, layout, target, known):
        return known.function
    found = _answer(nest, layout, encoding, rows)
    wrong = _problem(nest, layout, target, found)
    if wrong:
        raise InternalError(f"scheduled assembly is not proved equal to its source: {wrong}")
    keep(key, found)
    return found.function


def _may_win(loop: For) -> bool:
    """Whether there may be loops of products in a nest, or counts of bits. Most nests have none."""
    for statement in walk((loop,)):
        match statement:
            case Let(_, op, _, _) if op in ("popcount", SIGNED_DOT):
                return True
            case For():
                ops = Counter(s.op for s in statement.body if isinstance(s, Let))
                if ops["mul_add"] >= LEAST_PRODUCTS or (ops["wide_mul"] and ops["add_pairs"]):
                    return True
    return False


def _answer(nest: Nest, layout: Frame, encoding: Encoding, rows: Mapping[str, Issue]) -> Answer:
    """The function if it is faster than LLVM's code; none if the nest cannot be translated.

    It is compared with code whose loads stay in groups, as in the kernel, and whose values are
    spilled if registers are short: LLVM's code is like that.
    """
    inputs = (nest.loop, nest.results, layout, nest.aliases, encoding)
    try:
        nodes = lowered(*inputs)
        may_be_dense = encoding.offsets_are_rare or encoding.loads_beside
        is_steady = any(steady_loops(nodes))
        is_counting = counts_bits(nodes)
        if not (is_steady or is_counting or (may_be_dense and any(dense_loops(nodes)))):
            return DECLINED
        translated = translate(nodes, layout, encoding, rows)
        if not (encoding.offsets_are_rare or encoding.loads_beside) and loads_much(nodes):
            translated = _shorter(translated, inputs, rows)
        plain = without_dead_code(Lowering(*inputs, places_loads=False).nodes)
        plain = spill(plain, layout.bytes, count(1_000_000), encoding).nodes
    except Unsupported:
        return DECLINED
    gain = 1.0 if is_steady or is_counting or not encoding.loads_beside else _GAIN
    if translated.cycles >= gain * predicted_cycles(plain, encoding, rows):
        return DECLINED
    return Answer(translated.function, translated.witnesses)


def _shorter(
    known: Translated,
    inputs: tuple[For, Sequence[Var], Frame, Mapping[str, str], Encoding],
    rows: Mapping[str, Issue],
) -> Translated:
    """The known function, or that with loads in parts if it takes fewer cycles."""
    try:
        parts = translate(lowered(*inputs, in_parts=True), inputs[2], inputs[4], rows)
    except Unsupported:
        return known
    return parts if parts.cycles < known.cycles else known


def _problem(nest: Nest, layout: Frame, target: Target, answer: Answer) -> str:
    """Why the function of an answer is not proved to compute the nest; empty if it is."""
    function = answer.function
    if function is None:
        return ""
    rest = (layout, nest.aliases, function, answer.witnesses, MACHINES[target.arch])
    return problem(nest.loop, nest.results, *rest)

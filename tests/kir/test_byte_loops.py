"""Convolutions of bytes as scheduled assembly: proved, as long as predicted, faults are found."""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from ellc.codegen.blocks.calls import Options
from ellc.codegen.kir.assembly import Frame, frame
from ellc.codegen.kir.in_order.predict import steady_loops, trip_cycles
from ellc.codegen.kir.in_order.proof.prove import problem
from ellc.codegen.kir.in_order.scheduler import MACHINES
from ellc.codegen.kir.in_order.states import encoding_of
from ellc.codegen.kir.in_order.translate import Translated, lowered, translate
from ellc.codegen.kir.ir import Assembled, For
from ellc.codegen.machine.pipeline import pipeline_of
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.machine.target import Target
from ellc.codegen.planning.planner import make_plan
from ellc.ir.builder import GraphBuilder
from ellc.ir.ops.quantised import Requantize
from ellc.ir.ops.quantised_conv import IntConv2D
from ellc.ir.pipeline import run_pipeline
from ellc.ir.types import DType, Padding, TensorType

PI, A55 = resolve("pi3_64"), resolve("imx93")


@dataclass(frozen=True)
class Case:
    """A nest and the function for it."""

    target: Target
    loop: For
    frame: Frame
    made: Translated

    def problem(self, lines: Sequence[str]) -> str:
        """Why a function with other lines is not proved to compute the nest."""
        function = replace(self.made.function, lines=tuple(lines))
        rest = ({}, function, self.made.witnesses, MACHINES[self.target.arch])
        return problem(self.loop, (), self.frame, *rest)

    @property
    def trip_cycles(self) -> float:
        """The cycles of a trip of the slowest loop of products."""
        encoding, rows = encoding_of(self.target), pipeline_of(self.target)
        assert encoding is not None and rows is not None
        return max(trip_cycles(loop, encoding, rows) for loop in steady_loops(self.made.nodes))


@functools.cache
def case(target: Target, window: int, unsigned: bool, kernel: str) -> Case:
    """A convolution of 48 channels with requantised results; its weights may need 9 bits.

    Those of unsigned pairs are shifted by the same number in all filters.
    """
    filters = 16 if kernel.endswith("pairs") else 8
    rng, b = np.random.default_rng(0), GraphBuilder("layer")
    dtype = DType.U8 if unsigned else DType.I8
    weights = rng.integers(-60, 60, (filters, window, window, 48)).astype(np.int8)
    weights[0, 0, 0, :2] = -127
    op = IntConv2D(padding=Padding.same(window // 2), input_zero=9, weight_zero=(3 * unsigned,))
    x = b.input("x", TensorType(dtype, (1, 6, 8, 48)))
    total = b.add(op, x, b.constant(weights), b.constant(np.arange(filters, dtype=np.int32)))
    is_uniform = unsigned and kernel.endswith("pairs")
    factors = np.full(filters, 1 << 30, np.int32)
    shifts = np.linspace(-9, -9 if is_uniform else -2, filters).astype(np.int32)
    rule = Requantize("tflite", 3, 0 if unsigned else -128, 120, dtype)
    b.output("y", b.add(rule, total, b.constant(factors), b.constant(shifts), source="layer"))
    options = Options(kernels=(("layer", kernel),))
    plan = make_plan(run_pipeline(b.build())[0], target, options, "k")
    (assembled,) = plan.steps[-1].call.kernel.body
    assert isinstance(assembled, Assembled)
    (loop,) = assembled.source
    assert isinstance(loop, For)
    encoding, rows = encoding_of(target), pipeline_of(target)
    assert encoding is not None and rows is not None
    layout = frame((loop,), (), target.word_bits)
    nodes = lowered(loop, (), layout, {}, encoding)
    return Case(target, loop, layout, translate(nodes, layout, encoding, rows))


CASES = [
    (1, False, "dots"),
    (1, True, "centred_dots"),
    (1, True, "centred_pairs"),
    (3, False, "dots"),
    (3, False, "byte_pairs"),
]


@pytest.mark.parametrize(("window", "unsigned", "kernel"), CASES)
def test_functions_are_proved_and_their_loops_are_short(
    window: int, unsigned: bool, kernel: str
) -> None:
    found = case(PI, window, unsigned, kernel)
    assert found.problem(found.made.function.lines) == ""
    if kernel.endswith("pairs"):
        # 96 products and sums, 8 loads, 4 of halves, 8 instructions that repeat channels; 4 more,
        # and 4 flips, for vectors without sign.
        assert 116 <= found.trip_cycles <= (126 if unsigned else 120)
    else:
        # 48 products and sums, 8 loads; 4 vectors without sign are flipped.
        assert 56 <= found.trip_cycles <= (61 if unsigned else 58)


@pytest.mark.parametrize(("window", "unsigned"), [(1, False), (3, False)])
def test_dot_products_hide_their_loads_on_a_cortex_a55(window: int, unsigned: bool) -> None:
    found = case(A55, window, unsigned, "quads")
    lines = found.made.function.lines
    assert found.problem(lines) == ""
    assert any(line.startswith("sdot") for line in lines)
    # A tile of 8 pixels and 8 filters, sixteen channels in a trip: 64 dot products.
    assert 64 <= found.trip_cycles <= 76


def _other_register(found: re.Match[str], rng: random.Random) -> str:
    return found[1] + str((int(found[2]) + rng.randrange(1, 32)) % 32)


def _other_number(found: re.Match[str], rng: random.Random) -> str:
    return found[1] + str(int(found[2]) + rng.choice((-16, -8, -4, 4, 8, 16)))


FAULTS = {
    "another factor": (r"(sm[ul][a-z0-9]* v\d+\.8h, v)(\d+)", _other_register),
    "another product": (r"(sadalp v\d+\.4s, v)(\d+)", _other_register),
    "another sum": (r"(sadalp v)(\d+)", _other_register),
    "another channel": (r"(tbl v\d+\.16b, \{v)(\d+)", _other_register),
    "other channels": (r"(tbl v\d+\.16b, \{v\d+\.16b\}, v)(\d+)", _other_register),
    "another half of the places": (r"(zip1 v\d+\.2d, v)(\d+)", _other_register),
    "other halves of the places": (r"(zip)(1)(?= v\d+\.2d)", lambda f, rng: f[1] + "2"),
    "another pair": (r"(zip[12] v\d+\.(?:4s|8h), v)(\d+)", _other_register),
    "other pairs": (r"(zip)(1)(?= v\d+\.(?:4s|8h))", lambda f, rng: f[1] + "2"),
    "another half": (r"(smlal)(2)(?= )", lambda found, rng: found[1]),
    "another vector in the epilogue": (
        r"((?:addp|sqrdmulh|srshl) v\d+\.4s, v)(\d+)",
        _other_register,
    ),
    "another lane": (r"(mla .*\.s\[)(\d)", lambda f, rng: f[1] + str((int(f[2]) + 1) % 4)),
    "no saturation": (r"sq(xt)u?(n2?)", lambda found, rng: found[1] + found[2]),
    "saturation to other limits": (r"sqxtu(n2?)", lambda found, rng: "sqxt" + found[1]),
    "another half to narrow into": (r"((?:sqxtu?|sqrshr)n2 v)(\d+)", _other_register),
    "narrows into the wrong half": (r"((?:sqxtu?|sqrshr)n)2", lambda found, rng: found[1]),
    "a shift by another number": (r"((?:ssra|sqrshrn2?) .*#)(\d+)", _other_number),
    "another register to store": (r"(str [sdq])(\d+)", _other_register),
    "another factor of a dot product": (r"(sdot v\d+\.4s, v)(\d+)", _other_register),
    "other bytes": (r"(sdot .*\.4b\[)(\d)", lambda f, rng: f[1] + str((int(f[2]) + 1) % 4)),
    "another place": (r"((?:str [sdq]|ldr [dqx])\d+, \[x[1-9]\d*, #)(\d+)", _other_number),
    "another half of a load": (r"(ins v)(\d+)(?=\.d\[1\])", _other_register),
    "another minimum": (r"(smin )(v)", lambda found, rng: "smax v"),
}


DOTS = ("another factor of a dot product", "other bytes")
PRODUCTS = ("another factor", "another product", "another sum", "another half")
PLACES = (
    "another channel",
    "other channels",
    "another half of the places",
    "other halves of the places",
)
ZIPPED = ("another pair", "other pairs")
PAIRS = (*PLACES, *ZIPPED)
UNSIGNED = ("saturation to other limits",)
JOINED = ("another half to narrow into", "narrows into the wrong half", *UNSIGNED)
FAULTY = [
    (PI, False, "dots", (*DOTS, *PAIRS, *JOINED, "another lane")),
    (PI, True, "centred_dots", (*DOTS, *PAIRS, *JOINED)),
    (PI, False, "byte_pairs", (*DOTS, *ZIPPED, *UNSIGNED, "another lane")),
    (PI, True, "centred_pairs", (*DOTS, *PLACES)),
    (A55, False, "quads", (*PRODUCTS, *PAIRS, *UNSIGNED, "another lane")),
]
"""Cases, and the faults for which they have no place."""


@pytest.mark.parametrize("what", [*FAULTS, "a dropped line"])
@pytest.mark.parametrize(("target", "unsigned", "kernel", "absent"), FAULTY)
def test_the_checker_catches_faults(
    target: Target, unsigned: bool, kernel: str, absent: tuple[str, ...], what: str
) -> None:
    found, rng = case(target, 1, unsigned, kernel), random.Random(what)
    pattern, change = FAULTS.get(what, (r"(?!nop|prfm|\.)", None))
    lines = found.made.function.lines
    places = [at for at, line in enumerate(lines) if re.match(pattern, line)]
    assert bool(places) != (what in absent)
    for at in rng.sample(places, min(len(places), 8)):
        changed = list(lines)
        if change is None:
            del changed[at]
        else:
            changed[at] = re.sub(pattern, lambda match: change(match, rng), lines[at], count=1)
        if changed != list(lines):
            assert found.problem(changed), lines[at]

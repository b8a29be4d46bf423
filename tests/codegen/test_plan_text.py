"""Print and parse plans: exact round trips, clear errors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from operator_graphs import samples
from small_networks import convolution_network, two_way_network

from ellc.codegen.blocks.calls import Options
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.planning.listing import listing
from ellc.codegen.planning.plan import Plan
from ellc.codegen.planning.plan_text import parse, print_listing, print_plan
from ellc.codegen.planning.planner import make_plan
from ellc.ir.builder import GraphBuilder
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph
from ellc.ir.op import all_ops
from ellc.ir.ops.comparisons import Greater, Select
from ellc.ir.ops.dense import MatMul
from ellc.ir.pipeline import run_pipeline
from ellc.ir.types import DType, TensorType

SAMPLES = (("loop", 0), ("int_conv2d", 21), ("rfft", 1))
"""Samples with a loop, with several candidates, and with scratch memory."""


def planned(graph: Graph) -> Plan:
    return make_plan(graph, resolve("pi3_64"), Options(), "m")


def graphs() -> list[Graph]:
    """Graphs with a border that is written once, with states, with conditions, and the samples."""
    networks = [run_pipeline(make())[0] for make in (convolution_network, two_way_network)]
    some = [list(samples(all_ops()[name]))[index].trial.graph for name, index in SAMPLES]
    return [*networks, branches(), *some]


def branches() -> Graph:
    """A condition that selects one of two products; a value has an unusual name."""
    b = GraphBuilder('two "ways"')
    x = b.input("x", TensorType(DType.F32, (1, 16)))
    flag = b.add(Greater(), b.input("flag", TensorType(DType.F32, (1, 1))), b.constant(_ones(1)))
    sides = [b.add(MatMul(), x, b.constant(_ones(n)), source=f"\u00e4 \\ {n}") for n in (16, 17)]
    b.output("y", b.add(Select(), sides[0], sides[1], flag))
    return run_pipeline(b.build())[0]


def _ones(seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    width = 1 if seed == 1 else 16
    return np.random.default_rng(seed).normal(size=(width, width)).astype(np.float32)


def test_the_printed_form_is_the_documented_one(golden: Callable[[str, str], None]) -> None:
    texts = [print_plan(planned(graph)) for graph in graphs()]
    golden("plan/samples.txt", "\n".join(texts))
    for word in ("once ", "in loop ", "  if ", ": scratch", ": state", "a trip", "  candidate "):
        assert any(word in text for text in texts), word


def test_parsing_what_was_printed_gives_the_listing_back() -> None:
    # `replay.text_of` tests all samples for all classes of machines.
    plan = planned(branches())
    listed = listing(plan)
    assert parse(print_plan(plan)) == listed
    assert print_listing(parse(print_plan(plan))) == print_plan(plan)
    assert any(call.conditions for call in listed.steps)


def test_live_ranges_cover_the_steps_that_use_a_buffer() -> None:
    for graph in graphs():
        listed = listing(planned(graph))
        live = {b.id: b.live for b in listed.buffers}
        for number, call in enumerate(listed.steps):
            for pointer in call.arguments:
                span = live[pointer.memory] if isinstance(pointer.memory, str) else None
                assert span is None or span[0] <= number <= span[1], call.name


def test_every_bad_line_is_reported_at_once() -> None:
    text = print_plan(planned(run_pipeline(two_way_network())[0]))
    damaged = text.replace(" bytes at ", " bites at ", 1).replace("  computes ", "  invents ", 1)
    with pytest.raises(EllcError) as caught:
        parse(damaged)
    assert caught.value.code == "E321" and len(caught.value.problems) == 2
    assert all(line.startswith("line ") for line in caught.value.problems)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "are required"),
        ('plan "a" for "b", threads ' + "9" * 5000, "line 1"),
        ('  makes "v1"', "this line must follow a 'once' or 'step' line"),
        ("constant 3: 4 bytes at 0", "expected constant 0, not 3"),
        ('plan "\\x" for "b", threads 1', "not a JSON string"),
    ],
)
def test_what_is_no_plan_is_refused(text: str, said: str) -> None:
    with pytest.raises(EllcError) as caught:
        parse(text)
    assert caught.value.code == "E321" and said in "\n".join(caught.value.problems)

"""Every order that respects dependences gives the same bits; all other orders are refused."""

from __future__ import annotations

import functools
import random
import zlib
from collections.abc import Sequence
from dataclasses import replace

import pytest
from interpreted_plan import run_plan
from kernel_samples import guarded, in_place, product, sample_kernels
from operator_graphs import Sample, samples

from ellc.codegen.blocks.calls import Options
from ellc.codegen.kir.ir import For, Kernel, walk
from ellc.codegen.kir.scheduling import schedule
from ellc.codegen.kir.straight_line import SCHEDULERS, Block
from ellc.codegen.kir.text import parse, print_kernel
from ellc.codegen.machine.core import core_named, core_names
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.machine.target import Target
from ellc.codegen.measure.testing import run_trials
from ellc.codegen.planning.planner import make_plan
from ellc.ir.errors import EllcError, InternalError
from ellc.ir.op import all_ops
from ellc.ir.types import Array

INTERPRETED_SHARE, COMPILED_SHARE = 12, 50  # every 12th or 50th sample; all would take a minute


def shuffled(block: Block, target: Target) -> Sequence[int]:
    """A random order that respects dependences; it depends only on the statements."""
    rng = random.Random(zlib.crc32(repr(block.statements).encode()))
    order: list[int] = []
    waiting = [len(needed) for needed in block.after]
    users: list[list[int]] = [[] for _ in block.after]
    for late, needed in enumerate(block.after):
        for early in needed:
            users[early].append(late)
    ready = [place for place, count in enumerate(waiting) if not count]
    while ready:
        place = ready.pop(rng.randrange(len(ready)))
        order.append(place)
        for user in users[place]:
            waiting[user] -= 1
            if not waiting[user]:
                ready.append(user)
    return order


@pytest.fixture(autouse=True)
def schedulers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, function in (
        ("shuffled", shuffled),
        ("backwards", lambda block, target: range(len(block.statements))[::-1]),
        ("forgetful", lambda block, target: range(len(block.statements) - 1)),
    ):
        monkeypatch.setitem(SCHEDULERS, name, function)


def with_scheduler(target: Target, name: str) -> Target:
    return replace(target, core=replace(target.core, scheduler=name))


def asking(name: str) -> Target:
    return with_scheduler(resolve("pi3_64"), name)


@functools.cache
def every_sample() -> tuple[Sample, ...]:
    return tuple(s for op in all_ops().values() for s in samples(op))


# --- what is promised ----------------------------------------------------------------------------


def test_every_core_asks_for_a_scheduler_that_exists() -> None:
    for name in core_names():
        schedule(product(), replace(resolve("pi3_64"), core=core_named(name, "aarch64")))


def test_a_core_without_a_scheduler_changes_nothing() -> None:
    for kernel in sample_kernels():
        assert schedule(kernel, asking("")) is kernel


@pytest.mark.slow
def test_random_orders_give_the_same_bits_in_the_interpreter() -> None:
    as_built, target = resolve("pi3_64"), with_scheduler(resolve("pi3_64"), "shuffled")
    wrong, changed = [], 0
    for sample in every_sample()[::INTERPRETED_SHARE]:
        (inputs,) = sample.trial.calls
        try:
            plan = make_plan(sample.trial.graph, as_built, Options(), "k")
        except EllcError as error:
            assert error.code in ("E300", "E301")
            continue
        other = make_plan(sample.trial.graph, target, Options(), "k")
        calls = zip(plan.steps, other.steps, strict=True)
        if all(a.call.kernel == b.call.kernel for a, b in calls):
            continue
        changed += 1
        if not same(run_plan(plan, inputs), run_plan(other, inputs)):
            wrong.append(sample.label)
    assert not wrong
    assert changed > 900 / INTERPRETED_SHARE


@pytest.mark.slow
def test_random_orders_give_the_same_bits_compiled() -> None:
    trials = [sample.trial for sample in every_sample()][::COMPILED_SHARE]
    host = resolve("host")
    as_built, other = (run_trials(trials, t) for t in (host, with_scheduler(host, "shuffled")))
    for a, b in zip(as_built, other, strict=True):
        assert isinstance(a, list) and isinstance(b, list), (a, b)
        assert all(same(x, y) for x, y in zip(a, b, strict=True))


def same(a: Sequence[Array], b: Sequence[Array]) -> bool:
    return all(x.tobytes() == y.tobytes() for x, y in zip(a, b, strict=True))


# --- what is refused -----------------------------------------------------------------------------


def test_an_order_against_a_dependence_is_refused() -> None:
    with pytest.raises(InternalError, match=r"'backwards' puts\n  v3.*\nbefore\n  v2.*\n.*depends"):
        schedule(in_place(), asking("backwards"))


def test_an_order_without_a_statement_is_refused() -> None:
    with pytest.raises(InternalError, match=r"'forgetful' returns .* a permutation of 0..2"):
        schedule(in_place(), asking("forgetful"))


def test_a_scheduler_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(InternalError, match="core cortex-a53: there is no scheduler 'missing'"):
        schedule(in_place(), asking("missing"))


# --- blocks --------------------------------------------------------------------------------------


def blocks_of(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> list[Block]:
    blocks = []

    def look(block: Block, target: Target) -> Sequence[int]:
        blocks.append(block)
        return range(len(block.statements))

    monkeypatch.setitem(SCHEDULERS, "looking", look)
    assert schedule(kernel, asking("looking")) == kernel
    return blocks


def orders(body: str, monkeypatch: pytest.MonkeyPatch, alias: str = "") -> list[list[int]]:
    """For each statement of a block, the statements that must come before it."""
    text = f"""
    kernel k(x: f32 align 4, y: f32 align 4 writable, z: f32 align 4 writable; begin, end){alias} {{
      {body}
    }}
    """
    (block,) = blocks_of(parse(text), monkeypatch)
    return [sorted(needed) for needed in block.after]


def test_a_value_comes_before_its_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    body = """
      v1: f32x4 = load x[begin] align 4
      v2: f32x4 = add v1, v1
      prefetch x[end + 64]
      store v2 -> y[begin] align 4
    """
    assert orders(body, monkeypatch) == [[], [0], [], [1]]


def test_accesses_keep_their_order_where_they_may_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    body = """
      store f32x4(1.0) -> y[begin] align 4
      v1: f32x4 = load y[begin + 4] align 4
      v2: f32x4 = load y[begin + 3] align 4
      v3: f32 = load y[end] align 4
      store f32(2.0) -> z[begin] align 4
      store v1 -> y[begin + 4] align 4
    """
    assert orders(body, monkeypatch) == [[], [], [0], [0], [], [1, 2, 3]]


def test_parameters_that_may_be_one_buffer_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    body = """
      v1: f32 = load x[begin] align 4
      store f32(2.0) -> y[end] align 4
      store f32(3.0) -> z[begin] align 4
    """
    assert orders(body, monkeypatch) == [[], [], []]
    assert orders(body, monkeypatch, " alias (x y)") == [[], [0], []]


def test_a_block_knows_its_registers_and_its_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    *_, depth, _ = blocks_of(product(), monkeypatch)
    (inner,) = [s for s in walk(product().body) if isinstance(s, For) and s.carried]
    assert depth.loop == inner and depth.statements == inner.body
    (rows,) = {v.name for v in depth.live_in} - {v.name for v in (inner.index, *inner.carried)}
    assert rows.startswith("i")
    assert depth.live_out == inner.yields


def test_blocks_end_at_branches(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = guarded()
    blocks = blocks_of(kernel, monkeypatch)
    assert [block.loop for block in blocks] == [None] * len(blocks)
    plain = sum(len(block.statements) for block in blocks)
    assert plain + print_kernel(kernel).count("for ") + print_kernel(kernel).count("if ") == len(
        [*walk(kernel.body)]
    )

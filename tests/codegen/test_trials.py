"""The check of compiled operators finds results that depend on uninitialised memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from small_networks import convolution_network, inputs_of, ready, two_way_network

from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure import testing
from ellc.codegen.measure.testing import Trial, run_trials
from ellc.codegen.planning.plan import Plan
from ellc.codegen.planning.planner import make_plan
from ellc.ir.errors import InternalError


def test_steps_that_are_missing_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a step is missing, or a part of what init writes, the results of a network vary."""
    graph = ready(convolution_network())
    plan = make_plan(graph, resolve("host"), testing.Options(), "t")
    broken = [replace(plan, once=())] if plan.once else []
    broken += [
        replace(plan, steps=plan.steps[:i] + plan.steps[i + 1 :]) for i in range(len(plan.steps))
    ]
    plans = iter([plan, *broken])

    def planned(*args: Any) -> Plan:
        made = next(plans)
        name = args[-1]
        return replace(made, once=_renamed(made.once, name), steps=_renamed(made.steps, name))

    monkeypatch.setattr(testing, "make_plan", planned)
    trial = Trial(graph, (inputs_of(graph),))
    right, *wrong = run_trials([trial] * (1 + len(broken)), resolve("host"))
    assert not isinstance(right, Exception), right
    for result in wrong:
        assert isinstance(result, InternalError) and "depend on what memory held" in str(result)


def _renamed(steps: tuple[Any, ...], name: str) -> tuple[Any, ...]:
    return tuple(
        replace(s, call=replace(s.call, kernel=replace(s.call.kernel, name=f"{name}_{s.name}")))
        for s in steps
    )


def test_states_are_carried_and_reset() -> None:
    graph = ready(two_way_network())
    (got,) = run_trials([Trial(graph, (inputs_of(graph), inputs_of(graph, 1)))], resolve("host"))
    assert not isinstance(got, Exception), got

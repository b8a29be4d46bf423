"""The bound of `ellc check` for growing rounding errors accepts these errors and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import pytest
from operator_graphs import samples
from parts import quick_part
from small_networks import convolution_network

from ellc.check.agreement import Agreement, compare
from ellc.check.calls import plausible_inputs
from ellc.check.checking import CheckOptions, check
from ellc.check.growth import movement, recurrent_values, sampled_movement
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Trial, run_trials
from ellc.codegen.planning import ram_limit
from ellc.codegen.planning.plan import Plan
from ellc.codegen.planning.planner import make_plan
from ellc.commands.check import document, text
from ellc.ir.builder import GraphBuilder
from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate
from ellc.ir.op import Op, all_ops
from ellc.ir.ops.dense import Dense
from ellc.ir.ops.loop import Loop, Walk
from ellc.ir.ops.pointwise import Add, HardSigmoid, Sigmoid, Sign, Tanh
from ellc.ir.ops.recurrent import GRUCell, LSTMCell, RNNCell
from ellc.ir.pipeline import run_pipeline
from ellc.ir.types import DType, TensorType

CALLS = 2
INPUTS, HIDDEN = 5, 12


@dataclass(frozen=True)
class Recipe:
    """A random recurrent network. The fields after `seed` can build in a mistake.

    `gain` is the approximate factor by which a recurrent product changes the length of the state;
    large gains amplify errors.
    """

    cell: Op
    gain: float
    trips: int
    seed: int
    weight_off_by: float = 0.0
    step_without_bias: int | None = None
    keeps_state: bool = True
    resets_state: bool = True

    def graph(self) -> Graph:
        """A loop over x with a bias per step, whose states are kept for the next call."""
        rng = np.random.default_rng(self.seed)
        gates = {RNNCell: 1, GRUCell: 3, LSTMCell: 4}[type(self.cell)]
        states = ("h", "c") if isinstance(self.cell, LSTMCell) else ("h",)
        wx = _weights(rng, gates * HIDDEN, INPUTS)
        wh = _weights(rng, gates * HIDDEN, HIDDEN) * np.float32(self.gain)
        wh[0, 0] += self.weight_off_by
        bias = _weights(rng, self.trips, 1, INPUTS)
        if self.step_without_bias is not None:
            bias[self.step_without_bias] = 0
        start = _weights(rng, 1, HIDDEN) if self.resets_state else np.ones((1, HIDDEN))

        b = GraphBuilder("step")
        carried = [b.input(name, floats(1, HIDDEN)) for name in states]
        x = b.add(Add(), b.input("x", floats(1, INPUTS)), b.input("bias", floats(1, INPUTS)))
        zeros = b.constant(np.zeros(gates * HIDDEN, np.float32))
        following = b.add_multi(
            self.cell, x, *carried, b.constant(wx), b.constant(wh), zeros, zeros
        )
        for name, value in zip((*states, "y"), (*following, following[0]), strict=True):
            b.output(name, value)
        loop = Loop(b.build(), self.trips, len(states), (Walk(), Walk()), (Walk(),))

        g = GraphBuilder("recurrent")
        x = g.input("x", floats(self.trips, 1, INPUTS))
        old = [g.state(name, start.astype(np.float32)) for name in states]
        *new, y = g.add_multi(loop, *old, x, g.constant(bias))
        for name, before, value in zip(states, old, new, strict=True):
            g.set_state(name, value if self.keeps_state else before)
        g.output("y", g.add(Dense(), y, g.constant(_weights(rng, 3, HIDDEN))))
        return g.build()

    def mistakes(self) -> Iterator[tuple[str, Recipe]]:
        """The same network with different mistakes, by name."""
        yield "a weight", replace(self, weight_off_by=1e-3)
        yield "a bias", replace(self, step_without_bias=self.trips // 2)
        yield "a state that is not kept", replace(self, keeps_state=False)
        yield "a state that is not reset", replace(self, resets_state=False)
        other = {
            RNNCell: RNNCell(Sigmoid()),
            GRUCell: GRUCell(Tanh(), HardSigmoid()),
            LSTMCell: LSTMCell(Tanh(), Sigmoid(), Sigmoid()),
        }
        yield "an activation", replace(self, cell=other[type(self.cell)])


def _weights(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """A weight matrix whose products have about the same length as the vectors."""
    return (rng.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32)


def floats(*shape: int) -> TensorType:
    return TensorType(DType.F32, shape)


RECIPES = [
    Recipe(RNNCell(), 3.0, 12, 0),
    Recipe(GRUCell(), 5.0, 20, 1),
    Recipe(LSTMCell(), 6.0, 20, 0),
]
"""Networks whose correct results exceed the usual tolerance by a factor of ten."""


def judged(recipes: list[Recipe], compiled: list[Recipe]) -> list[tuple[Agreement, Agreement]]:
    """Compare compiled networks with the reference: by the usual tolerance, and by the bounds."""
    trials, found = [], []
    for recipe in compiled:
        ready, _ = run_pipeline(recipe.graph())
        trials.append(Trial(ready, tuple(plausible_inputs(ready, i) for i in range(CALLS))))
    results = run_trials(trials, resolve("host"))
    for recipe, trial, calls in zip(recipes, trials, results, strict=True):
        assert not isinstance(calls, Exception), calls
        graph, states = recipe.graph(), None
        plain, grown = Agreement(0), Agreement(0)
        moved = movement(trial.graph, trial.calls)
        for inputs, got, far in zip(trial.calls, calls, moved, strict=True):
            result = evaluate(graph, inputs, states=states)
            states = result.states
            plain = plain.merged(compare(got[0], result.outputs[0]))
            grown = grown.merged(compare(got[0], result.outputs[0], movement=far[0]))
        found.append((plain, grown))
    return found


@pytest.mark.slow
def test_grown_rounding_is_no_error() -> None:
    found = judged(RECIPES, RECIPES)
    for plain, grown in found:
        assert plain.wrong, "rounding errors do not grow in this network"
        assert (grown.wrong, grown.grown, grown.growth) == (0, plain.wrong, plain.worst)
        assert grown.worst < 0.5


@pytest.mark.slow
def test_mistakes_are_seen_in_networks_in_which_rounding_grows() -> None:
    pairs = [(r, name, wrong) for r in RECIPES for name, wrong in r.mistakes()]
    found = judged([r for r, _, _ in pairs], [wrong for _, _, wrong in pairs])
    # The mistake must exceed the measured bound, not just the largest accepted error of 1/100.
    missed = [
        f"{name} in {recipe}"
        for (recipe, name, _), (_, grown) in zip(pairs, found, strict=True)
        if grown.wrong <= grown.unbounded
    ]
    assert not missed, "\n".join(missed)


@pytest.mark.slow
def test_the_report_tells_where_rounding_grew(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = RECIPES[0]
    report = check(recipe.graph(), resolve("host"), CheckOptions(layers=True))
    assert report.agrees and report.same_bytes
    assert "y" in [c.name for c in report.grown]
    assert "y" in cast(list[str], document(report)["rounding_grew"])
    assert "but by no more than rounding alone moves them" in text(report)

    def mistaken(graph: Graph, *args: Any) -> Plan:
        ready, _ = run_pipeline(replace(recipe, weight_off_by=1e-3).graph())
        return make_plan(ready, *args)

    monkeypatch.setattr(ram_limit, "make_plan", mistaken)
    assert not check(recipe.graph(), resolve("host")).agrees


def test_more_than_a_hundredth_of_the_largest_is_not_forgiven() -> None:
    want = np.array([1.0, 0.5, 0.5], np.float32)
    got = want + np.array([0.0, 0.009, 0.02], np.float32)
    found = compare(got, want, movement=np.full(3, 0.03))
    assert (found.wrong, found.unbounded, found.grown) == (1, 1, 1)
    assert compare(got, want).wrong == 2


def test_values_that_depend_on_a_recurrence() -> None:
    """A sum kept between calls is a recurrence; a delay line and feed-forward values are not."""
    b = GraphBuilder("some")
    x = b.input("x", floats(1, 3))
    near, far, total = (b.state(n, np.zeros((1, 3), np.float32)) for n in ("near", "far", "total"))
    b.set_state("near", x)
    b.set_state("far", near)
    following = b.add(Add(), total, x)
    b.set_state("total", following)
    late, sharp = b.add(Add(), far, near), b.add(Tanh(), following)
    b.output("late", late)
    b.output("sharp", sharp)
    assert recurrent_values(b.build()) == {v.id for v in (total, following, sharp)}
    loop = RECIPES[0].graph()
    assert {p.value for p in loop.outputs} <= recurrent_values(loop)
    assert not recurrent_values(convolution_network())


@pytest.mark.slow
def test_every_operator_can_be_moved() -> None:
    """Rounding moves results of all operators by finite amounts, but not signs and integers."""
    for op in all_ops().values():
        for sample in quick_part(list(samples(op)), 0, 2):
            (moved,) = movement(sample.trial.graph, sample.trial.calls)
            (sampled,) = sampled_movement((sample.trial.graph,), sample.trial.calls)
            for far, want in [
                *zip(moved, sample.want, strict=True),
                *zip(sampled, sample.want, strict=True),
            ]:
                assert far.shape == want.shape and np.isfinite(far).all(), sample.label
                assert want.dtype.kind == "f" or not far.any(), sample.label


def test_signs_are_not_moved() -> None:
    """Signs that rounding may change are not moved; the guided reference handles them."""
    b = GraphBuilder("step")
    total, x = b.input("total", floats(1, 3)), b.input("x", floats(1, 3))
    total = b.add(Add(), total, x)
    b.output("total", total)
    b.output("sign", b.add(Sign(), b.add(Add(), total, x)))
    g = GraphBuilder("signs")
    x = g.input("x", floats(4, 1, 3))
    zero = g.constant(np.zeros((1, 3), np.float32))
    last, signs = g.add_multi(Loop(b.build(), 4, 1, (Walk(),), (Walk(),)), zero, x)
    g.output("last", last)
    g.output("signs", signs)
    graph, _ = run_pipeline(g.build())
    tenths = np.float32([0.1, -0.1, 0.1, -0.2]).reshape(4, 1, 1).repeat(3, 2)
    (moved,) = movement(graph, [(tenths,)])
    assert 0 < moved[0].max() < 1e-5
    assert not moved[1].any()

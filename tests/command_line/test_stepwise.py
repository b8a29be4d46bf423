"""`--stepwise` in every command that takes a model, and the messages about it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ellc.cli import run
from ellc.ir.builder import GraphBuilder
from ellc.ir.container import save
from ellc.ir.ops.loop import Loop, Walk
from ellc.ir.ops.pointwise import Add, Tanh
from ellc.ir.ops.reduce import Reduce
from ellc.ir.types import DType, TensorType

STEP, WHOLE = (TensorType(DType.F32, shape) for shape in ((2, 5), (6, 2, 5)))


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a network with a running sum over 6 steps and its tangent."""
    body = GraphBuilder("sum")
    total, x = body.input("total", STEP), body.input("x", STEP)
    total = body.add(Add(), total, x)
    body.output("total", total)
    body.output("every", total)
    b = GraphBuilder("sums")
    zero, x = b.constant(np.zeros((2, 5), np.float32)), b.input("x", WHOLE)
    loop = Loop(body.build(), 6, 1, (Walk(),), (Walk(),))
    _, every = b.add_multi(loop, zero, x, source="sum")
    b.output("y", b.add(Tanh(), every, source="tanh"))
    monkeypatch.chdir(tmp_path)
    save(b.build(), Path("sums.eir"))
    mean = b.add(Reduce("mean", (0,)), every, source="mean")
    b.output("mean", mean)
    save(b.build(), Path("mean.eir"))
    return Path("sums.eir")


def test_a_compiled_step_says_what_a_call_is(model: Path) -> None:
    assert run(["compile", str(model), "--stepwise", "--emit", "c", "-o", "out"]) == 0
    header = Path("out/sums.h").read_text()
    assert "* in:  x 1x2x5 float" in header
    assert "* One call is one step: a reset begins a new sequence" in header
    assert "this model has none" not in header


@pytest.mark.slow
def test_check_and_run_take_one_step(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", str(model), "--stepwise", "--layers", "--seeds", "1"]) == 0
    np.save("step.npy", np.full((1, 2, 5), 0.5, np.float32))
    assert run(["run", str(model), "step.npy", "--stepwise", "-o", "y.npy"]) == 0
    np.testing.assert_allclose(np.load("y.npy"), np.full((1, 2, 5), np.tanh(0.5)), 1e-5)
    assert run(["inspect", str(model), "--stepwise"]) == 0
    assert "One call is one step" in capsys.readouterr().out


def test_what_is_in_the_way_is_named(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compile", "mean.eir", "--stepwise"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error[E160]: mean.eir: the network cannot be computed step by step\n")
    assert "\n  mean: needs other steps, too\n" in said
    assert "hint: " in said

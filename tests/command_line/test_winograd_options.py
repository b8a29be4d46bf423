"""`--exact` and `--no-winograd`, and how commands report layers with a tolerance of their own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ellc import cli
from ellc.check.transformed import OUTPUT_OF_LARGEST, output_tolerances
from ellc.codegen.blocks.calls import Options
from ellc.codegen.kernels.winograd import OF_LARGEST
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.planning.planner import make_plan
from ellc.ir.builder import GraphBuilder
from ellc.ir.container import save
from ellc.ir.graph import SUMS_KEY, Graph
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.dense import Dense
from ellc.ir.ops.pointwise import Relu
from ellc.ir.ops.shape import Reshape
from ellc.ir.pipeline import run_pipeline
from ellc.ir.types import DType, Padding, TensorType

FAST = resolve("pi3_64")


def network() -> Graph:
    """Two outputs; one of them depends on a convolution for which F(4x4) is fastest."""
    rng = np.random.default_rng(0)
    b = GraphBuilder("net")
    x = b.input("x", TensorType(DType.F32, (1, 16, 16, 32)))
    filters = b.constant(rng.normal(size=(32, 3, 3, 32)).astype(np.float32))
    y = b.add(Conv2D(padding=Padding.same(1)), x, filters, source="wide")
    b.output("after", b.add(Relu(), y))
    flat = b.add(Reshape((1, 16 * 16 * 32)), x)
    weights = b.constant(rng.normal(size=(4, 16 * 16 * 32)).astype(np.float32))
    b.output("beside", b.add(Dense(), flat, weights, source="dense"))
    return b.build()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "net.eir"
    save(network(), path)
    return path


@pytest.mark.slow
def test_the_check_lists_layers_with_a_tolerance_of_their_own(
    saved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["check", str(saved), "--seeds", "1", "--layers", "--threads", "1"]
    assert cli.run(words) == 0
    assert "1 layer is computed by winograd:4x4" in capsys.readouterr().out
    assert cli.run([*words, "--json"]) == 0
    (layer,) = json.loads(capsys.readouterr().out)["transformed"]
    assert layer["layer"] == "wide" and layer["of_largest"] == OF_LARGEST


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--exact", "--no-winograd"])
def test_options_forbid_them(saved: Path, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["check", str(saved), option, "--seeds", "1"]) == 0
    assert "winograd" not in capsys.readouterr().out
    plan = ["explain", str(saved), "--level", "plan", "--target", "pi3_64"]
    assert cli.run(plan) == 0
    assert "winograd:4x4" in capsys.readouterr().out
    assert cli.run([*plan, option]) == 0
    assert "winograd" not in capsys.readouterr().out
    asked = ["compile", str(saved), "-o", str(saved.parent / "out"), "--kernel", "wide=winograd"]
    assert cli.run([*asked, option]) == 2
    said = capsys.readouterr().err
    assert "E305" in said and "does not add the products of 'conv2d' directly" in said


def test_only_what_follows_has_another_tolerance() -> None:
    graph = run_pipeline(network())[0]
    plan = make_plan(graph, FAST, Options(), "net")
    assert output_tolerances(plan) == (OUTPUT_OF_LARGEST, 0.0)
    exact = make_plan(graph.with_metadata({SUMS_KEY: "exact"}), FAST, Options(), "net")
    assert output_tolerances(exact) == (0.0, 0.0)
    assert not any(step.sums.algorithm for step in exact.steps)

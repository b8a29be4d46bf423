"""`--max-ram`, `--no-chains` and `ellc explain --ram-curve`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ellc import cli
from ellc.codegen.blocks.calls import Options
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.planning.planner import make_plan
from ellc.ir.builder import GraphBuilder
from ellc.ir.container import save
from ellc.ir.graph import Graph
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.dense import Dense
from ellc.ir.ops.pointwise import Relu
from ellc.ir.ops.pool import AvgPool2D
from ellc.ir.ops.shape import Reshape
from ellc.ir.pipeline import run_pipeline
from ellc.ir.types import DType, Padding, TensorType

TARGET = ("--target", "imxrt1050")


def network(side: int = 32, channels: int = 4) -> Graph:
    """Convolutions, depthwise and pointwise in turn, then the mean of all pixels and classes."""
    rng = np.random.default_rng(6)
    b = GraphBuilder("small")
    x = b.input("x", TensorType(DType.F32, (1, side, side, 3)))
    weights = b.constant(rng.normal(size=(channels, 3, 3, 3)).astype(np.float32))
    x = b.add(Relu(), b.add(Conv2D((2, 2), Padding.same(1)), x, weights), source="first")
    for name in ("second", "third"):
        deep = b.constant(rng.normal(size=(channels, 3, 3, 1)).astype(np.float32))
        wide = b.constant(rng.normal(size=(channels, 1, 1, channels)).astype(np.float32))
        x = b.add(Conv2D((1, 1), Padding.same(1), (1, 1), channels), x, deep, source=name)
        x = b.add(Relu(), b.add(Conv2D(), x, wide), source=name)
    x = b.add(AvgPool2D((side // 2, side // 2), (1, 1)), x, source="mean")
    classes = b.constant(rng.normal(size=(3, channels)).astype(np.float32))
    b.output("y", b.add(Dense(), b.add(Reshape((1, channels)), x), classes, source="classes"))
    return b.build()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save(network(), tmp_path / "small.eir")
    return tmp_path / "small.eir"


def arena_bytes(model: Path, *options: str) -> int:
    """The size of the arena in the manifest of a compilation."""
    folder = model.parent / "out"
    words = ["compile", str(model), *TARGET, "--emit", "c", "-o", str(folder), *options]
    assert cli.run(words) == 0
    manifest = json.loads((folder / "small.json").read_text())
    return int(manifest["memory"]["arena_bytes"])


@pytest.mark.slow
def test_the_fastest_plan_that_fits(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    usual = arena_bytes(model)
    assert arena_bytes(model, "--max-ram", str(usual)) == usual == arena_bytes(model, "--no-chains")
    assert arena_bytes(model, "--max-ram", str(usual * 3 // 4)) <= usual * 3 // 4
    assert arena_bytes(model, "--max-ram", str(usual - 1)) < usual
    capsys.readouterr()
    assert cli.run(["compile", str(model), *TARGET, "--max-ram", "64"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error[E317]: the network needs at least ")
    least = error.partition("--max-ram ")[2].split(";")[0]
    assert arena_bytes(model, "--max-ram", least) == int(least)
    assert cli.run(["compile", str(model), *TARGET, "--max-ram", str(int(least) - 1)]) == 2
    assert cli.run(["compile", str(model), *TARGET, "--max-ram", "-5"]) == 2


@pytest.mark.slow
def test_the_curve(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["explain", str(model), *TARGET, "--ram-curve", "--json"]) == 0
    points = json.loads(capsys.readouterr().out)["points"]
    sizes = [point["arena_bytes"] for point in points]
    assert sizes == sorted(sizes, reverse=True) and len(sizes) > 2
    assert points[0]["chains"] == [] and points[0]["macs_ratio"] == 1
    assert all(point["macs_ratio"] >= 1 for point in points)
    assert cli.run(["explain", str(model), *TARGET, "--ram-curve"]) == 0
    table = capsys.readouterr().out
    assert all(f"{size:,}" in table for size in sizes)
    for other in (["--no-chains"], ["--max-ram", "99"], ["--level", "plan"], ["--node", "first"]):
        assert cli.run(["explain", str(model), *TARGET, "--ram-curve", *other]) == 2


@pytest.mark.slow
def test_layers_are_checked_in_chains(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A part of an inner result is compared although its window is overwritten later."""
    usual = arena_bytes(model)
    limit = str(usual * 3 // 4)
    words = [
        "check",
        str(model),
        "--layers",
        "--seeds",
        "1",
        "--max-ram",
        limit,
        "--json",
    ]
    capsys.readouterr()
    assert cli.run(words) == 0
    document = json.loads(capsys.readouterr().out)
    assert len(document["layers"]) >= 5


def inverted_bottleneck() -> Graph:
    """A first layer, then 16 channels that become 96, a depthwise convolution, and 16 channels."""
    rng = np.random.default_rng(6)
    b = GraphBuilder("bottleneck")
    x = b.input("x", TensorType(DType.F32, (1, 224, 224, 3)))
    for filters, side, stride, groups in ((16, 3, 2, 1), (96, 1, 1, 1), (96, 3, 2, 96)):
        depth = x.type.shape[3] // groups
        weights = b.constant(rng.normal(size=(filters, side, side, depth)).astype(np.float32))
        conv = Conv2D((stride, stride), Padding.same(side // 2), (1, 1), groups)
        x = b.add(Relu(), b.add(conv, x, weights))
    narrow = b.constant(rng.normal(size=(16, 1, 1, 96)).astype(np.float32))
    b.output("y", b.add(Conv2D(), x, narrow))
    return b.build()


@pytest.mark.slow
def test_chains_are_chosen_where_memory_is_slow() -> None:
    ready, _ = run_pipeline(inverted_bottleneck())
    sizes = {}
    for name in ("pi3_64", "host"):
        for depth_first in (True, False):
            options = Options(depth_first=depth_first)
            plan = make_plan(ready, resolve(name), options, "m")
            sizes[name, depth_first] = plan.arena.arena_bytes
    assert sizes["pi3_64", True] < 0.7 * sizes["pi3_64", False]
    assert sizes["host", True] == sizes["host", False]

"""Tuning files: their kernels are used, impossible kernels are reported, damage is an error."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import ellc.tune
from ellc import __version__, cli
from ellc.codegen.blocks.calls import Options
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.planning.planner import make_plan
from ellc.driver import CompileOptions, compile_model
from ellc.explain.cycle_tool import Modelled
from ellc.ir.builder import GraphBuilder
from ellc.ir.container import save
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph
from ellc.ir.ops.conv import Conv2D
from ellc.ir.pipeline import run_pipeline
from ellc.ir.types import DType, TensorType
from ellc.tuning import Entry, merged, read_tuning, write_tuning

TARGET = resolve("pi3_64")


def network() -> Graph:
    b = GraphBuilder("net")
    value = b.input("x", TensorType(DType.F32, (1, 9, 9, 16)))
    weights = b.constant(np.ones((16, 3, 3, 1), np.float32))
    b.output("y", b.add(Conv2D(groups=16), value, weights, source="first"))
    return b.build()


def entry(kernel: str, version: str = __version__) -> Entry:
    plan = make_plan(run_pipeline(network())[0], TARGET, Options(), "net")
    layer = plan.steps[0].layer
    return Entry(layer, "cortex-a53", "aarch64", version, kernel, 12.5, "cycles", "by hand")


def variant(tuning: Path, out: Path, kernels: tuple[tuple[str, str], ...] = ()) -> tuple[str, str]:
    """(the manifest of a compilation with a tuning file, the notes)."""
    options = CompileOptions(emit=("c",), tuning=tuning, kernels=kernels)
    made = compile_model(network(), TARGET, options, out)
    return json.dumps(made.manifest), "\n".join(made.notes)


def test_a_measured_kernel_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "tuning.json"
    write_tuning(path, [entry("gemm:5x4"), replace(entry("gemm:1x4"), architecture="arm")])
    assert read_tuning(path)[0] == entry("gemm:5x4")
    kernel, notes = variant(path, tmp_path / "out")
    assert "gemm 5x4" in kernel and not notes
    kernel, _ = variant(path, tmp_path / "out", (("first", "depthwise"),))
    assert "depthwise" in kernel, "--kernel comes first"


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (entry("gemm:5x4", "0.0.9"), "measured with ellc 0.0.9, which ellc"),
        (entry("wobble:5x4"), "kernel 'wobble:5x4' cannot compute conv2d"),
        (entry("gemm:99x4"), "kernel 'gemm:99x4' cannot compute conv2d"),
    ],
)
def test_what_cannot_be_used_is_a_note(tmp_path: Path, made: Entry, said: str) -> None:
    path = tmp_path / "tuning.json"
    write_tuning(path, [made])
    kernel, notes = variant(path, tmp_path / "out")
    assert "depthwise" in kernel and said in notes


def damaged() -> Iterator[tuple[str, str]]:
    """(text of a damaged file, expected error)."""
    good = {"format": "ellc tuning 1", "entries": [json.loads(json.dumps(vars_of(entry("gemm"))))]}
    yield "", "Expecting value: line 1 column 1"
    yield "[" * 100_000, "nested too deeply"
    yield '{"format": 1, "format": 1}', "the same key appears twice"
    yield "[]", "format"
    yield json.dumps({**good, "format": "ellc tuning 2"}), "format"
    yield json.dumps({**good, "entries": {}}), "a list"
    yield json.dumps({**good, "entries": [5]}), "entries[0]: the entry must be an object"
    yield (
        json.dumps({**good, "entries": good["entries"] * 2}),
        "entries[0] is for the same layer and core",
    )
    for name, value in (("measured", True), ("measured", -1), ("unit", "s"), ("kernel", 7)):
        changed = {**good["entries"][0], name: value}  # type: ignore[dict-item]
        yield json.dumps({**good, "entries": [changed]}), f"entries[0].{name}: it must be"
    yield json.dumps(good).replace("12.5", "NaN"), "entries[0].measured"
    yield json.dumps(good).replace("12.5", "1" + "0" * 6000), "integer string"
    yield json.dumps(good).replace('"how"', '"who"'), "entries[0].who: is unknown"


def vars_of(made: Entry) -> dict[str, object]:
    return {name: getattr(made, name) for name in Entry.__slots__}


@pytest.mark.parametrize(("text", "said"), list(damaged()))
def test_a_damaged_file_is_an_error_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "tuning.json"
    path.write_text(text)
    with pytest.raises(EllcError) as caught:
        read_tuning(path)
    assert caught.value.code == "E760" and caught.value.where == str(path)
    assert said in caught.value.report()


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EllcError, match="E760"):
        read_tuning(tmp_path / "none.json")


def test_new_entries_take_the_place_of_old_ones() -> None:
    old, other = entry("gemm:5x4", "0.0.9"), replace(entry("gemm"), core="cortex-a72")
    assert merged([old, other], [entry("gemm:6x4")]) == (entry("gemm:6x4"), other)


def test_the_command_keeps_the_fastest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The cycle model is a fake that prefers `gemm:7x4`; another test runs the real tool."""

    def modelled(plan: object, prefix: str) -> Modelled:
        (step,) = plan.steps  # type: ignore[attr-defined]
        cycles = 10.0 if step.predictions[0].name == "gemm:7x4" else 1000.0
        return Modelled({step.call.kernel.name: cycles})

    monkeypatch.setattr(ellc.tune, "modelled_cycles", modelled)
    save(network(), tmp_path / "net.eir")
    path = tmp_path / "tuning.json"
    write_tuning(path, [replace(entry("gemm"), core="cortex-a72")])
    words = [str(tmp_path / "net.eir"), "--target", "pi3_64", "--tuning", str(path)]
    assert cli.run(["tune", *words]) == 0
    printed = capsys.readouterr().out
    assert "layers with several kernels: 1, faster with another kernel: 1;" in printed
    (made, kept) = sorted(read_tuning(path), key=lambda e: e.core)
    assert (made.kernel, made.measured, made.unit) == ("gemm:7x4", 10.0, "cycles")
    assert kept.core == "cortex-a72" and made.layer == entry("gemm").layer
    assert "gemm 7x4" in variant(path, tmp_path / "out")[0]


def test_a_target_that_nothing_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ELLC_CYCLE_TOOL", raising=False)
    with pytest.raises(EllcError, match="E761"):
        ellc.tune.measure(run_pipeline(network())[0], TARGET)

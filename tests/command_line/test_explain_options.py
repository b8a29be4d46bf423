"""`ellc explain` with the options of `ellc compile`, and its figures as JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import click
import pytest
from small_networks import convolution_network

from ellc import __version__, cli
from ellc.codegen.machine.resolve import Overrides, resolve
from ellc.explain.cycle_tool import VARIABLE
from ellc.explain.levels import explanation
from ellc.explain.study import StudyOptions, study
from ellc.ir.container import save
from ellc.tuning import Entry, write_tuning

OF_FILES = {
    *("output", "emit", "name", "strip", "wheel", "paranoid", "dump_dir", "cc", "linker"),
    "labels",
    "profile",
    "version",
}
"""Options of `ellc compile` that change the files that are written, but not the generated code."""


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The file of a network, in an environment without a cycle model."""
    monkeypatch.delenv(VARIABLE, raising=False)
    path = tmp_path / "m.eir"
    save(convolution_network(), path)
    return str(path)


def options_of(name: str) -> set[str]:
    command = cli.cli.get_command(click.Context(cli.cli), name)
    assert command is not None
    return {p.name for p in command.params if isinstance(p, click.Option) and p.name}


def test_explain_has_every_option_that_changes_what_is_computed() -> None:
    assert options_of("compile") - OF_FILES <= options_of("explain")


def test_measured_kernels_are_taken_and_said(tmp_path: Path) -> None:
    target, path = resolve("pi3_64"), tmp_path / "tuning.json"
    plain = study(convolution_network(), target)
    node = next(n for n in plain.nodes if len(n.predictions) > 1)
    other = node.predictions[1].name
    entry = Entry(
        *(node.steps[-1].layer, target.core.name, target.arch, __version__, other),
        *(1.0, "cycles", "by hand"),
    )
    write_tuning(path, [entry, replace(entry, compiler="0.0.9")])
    found = study(convolution_network(), target, StudyOptions(tuning=path, threads=1))
    assert found.plan.options.threads == 1
    said = explanation(found, f"%{node.value}", ("plan",))
    assert f"{other} was measured to be fastest (--tuning)." in said
    assert "0.0.9" in "\n".join(found.plan.notes)


def test_json_has_the_figures_of_the_study(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--triple", "aarch64-unknown-linux-gnu", "--cpu", "cortex-a72", "--threads", "2"]
    assert cli.run(["explain", model, "--target", "custom", *words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    overrides = Overrides(triple=words[1], cpu=words[3])
    found = study(Path(model), resolve("custom", overrides), StudyOptions(threads=2))
    assert (document["target"], document["threads"]) == ("custom", 2)
    assert document["cycles"] is None and VARIABLE in document["cycles_missing"]
    assert document["slots"] == round(found.all_slots)
    for node, row in zip(found.nodes, document["nodes"], strict=True):
        assert (row["value"], row["macs"]) == (node.value, node.macs)
        assert [c["kernel"] for c in row["candidates"]] == [p.name for p in node.predictions]
        assert [s["name"] for s in row["steps"]] == [s.name for s in node.steps]


def test_json_of_one_node(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["explain", model, "--target", "pi3", "--node", "conv1", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["nodes"]
    assert "conv1" in row["layers"] and row["slots"] > 0


@pytest.mark.parametrize("other", [["--level", "plan"], ["--html", "page.html"]])
def test_json_is_not_mixed_with_text(model: str, other: list[str]) -> None:
    assert cli.run(["explain", model, "--json", *other]) == cli.EXIT_BAD_INPUT

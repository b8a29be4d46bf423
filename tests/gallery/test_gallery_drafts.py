"""`ellc gallery measure --models` and `--zoo`: new results of model files and zoo networks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ellc import cli
from ellc.explain.cycle_tool import VARIABLE
from ellc.gallery import read_results
from ellc.gallery.drafts import drafts_of_models, drafts_of_zoo, write_drafts
from ellc.gallery.measure import _READERS, _words, this_machine
from ellc.gallery.model_facts import ModelFacts, read_facts
from ellc.gallery.published import published
from ellc.ir.errors import EllcError

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits"
FACTS = Path(__file__).parent / "models.toml"
TARGETS = ("host", "pi3_64")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder with a valid model, a broken model, and other files."""
    folder = tmp_path / "models"
    folder.mkdir()
    shutil.copy(DIGITS / "digits8.tflite", folder / "di gits.tflite")
    shutil.copy(DIGITS / "images" / "labels.txt", folder)
    (folder / "broken.onnx").write_bytes(b"no model")
    rng = np.random.default_rng(1)
    pictures = rng.integers(0, 256, (12, 8, 8, 1), np.uint8)
    np.savez(folder / "data.npz", x=pictures, y=np.arange(12) % 10)
    return folder


def test_a_folder_of_models_becomes_results(models: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    facts = {
        "di gits.tflite": ModelFacts(
            model="digits8",
            dataset="digits",
            labels=models / "labels.txt",
            drawing=1.0,
            data=models / "data.npz",
            sample="12 pictures",
            evaluate="--limit 10",
        )
    }
    drafts = drafts_of_models(models, facts, TARGETS, "a CPU", out)
    assert [path.name for path in drafts.skipped] == ["broken.onnx"]
    paths = write_drafts(drafts, out)
    host, pi = read_results(paths, published())
    assert {host.model, pi.model} == {"digits8"} and host.precision == "int8"
    assert (host.board, pi.board, pi.clock_mhz) == ("a CPU", "Raspberry Pi 3 (64 bit)", 1200)
    assert (host.input, host.colours) == ((8, 8, 1), "grey")
    assert host.network and host.network.file == out / "di gits.tflite"
    (top1,) = [figure for figure in host.figures if figure.of == "top1"]
    assert top1.command == ("ellc evaluate 'di gits.tflite' --data ../models/data.npz --limit 10")
    assert top1.sample == "12 pictures" and host.trial and host.trial.drawing == 1


def test_odd_names_of_files_become_results(tmp_path: Path) -> None:
    """A name that looks like an option, one name in two formats, and an unprintable name."""
    folder, out = tmp_path / "models", tmp_path / "out"
    folder.mkdir()
    for name in ("-o.tflite", "a.tflite", "a.eir", "é" * 90 + ".tflite", "b\n.tflite"):
        shutil.copy(DIGITS / "digits8.tflite", folder / name)
    drafts = drafts_of_models(folder, {}, ["host"], "a CPU", out)
    assert [path.name for path in drafts.skipped] == ["b\n.tflite"]
    results = read_results(write_drafts(drafts, out), published())
    assert sorted(result.model for result in results) == ["a.eir", "a.tflite", "model", "o"]
    commands = {figure.command for result in results for figure in result.figures}
    assert "ellc bench ./-o.tflite --threads 1" in commands
    assert all(_words(command, _READERS) for command in commands)


def test_only_times_that_can_be_modelled_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = []
    for tool in ("", "tool"):
        monkeypatch.setenv(VARIABLE, tool)
        results = drafts_of_zoo(["resnet8"], TARGETS, "a CPU").results
        assert [row["board"] for row in results.values()] == ["a CPU", "Raspberry Pi 3 (64 bit)"]
        kinds.append([figure["of"] for figure in results["resnet8-pi3_64.json"]["figures"]])
    assert kinds == [["weight_bytes", "ram_bytes"], ["ms", "weight_bytes", "ram_bytes"]]
    other = drafts_of_zoo(["resnet8"], ["pi0"], "a CPU").results["resnet8-pi0.json"]
    assert [figure["of"] for figure in other["figures"]] == ["weight_bytes", "ram_bytes"]
    assert "cycles" not in other["notes"][0]
    quick = drafts_of_zoo(["quicknet"], ["host"], "a CPU").results["quicknet-host.json"]
    assert quick["precision"] == "binary" and quick["colours"] == "rgb"
    with pytest.raises(EllcError, match="resnet9"):
        drafts_of_zoo(["resnet9"], TARGETS, "a CPU")
    with pytest.raises(EllcError, match="unknown target"):
        drafts_of_models(DIGITS, {}, ["pi33"], "a CPU", DIGITS)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x = 1", "x: it is not a table"),
        ("['x']\ncolour = 'rgb'", "colour: unknown key"),
        ("['x']\nprecision = 'int9'", "'int9' is not one of"),
        ("['x']\nlabels = 'missing.txt'", "labels: the file missing.txt is missing"),
        ("['x", "facts.toml"),
        (None, "facts.toml: No such file"),
    ],
)
def test_wrong_facts_are_problems(tmp_path: Path, text: str | None, problem: str) -> None:
    path = tmp_path / "facts.toml"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(EllcError) as caught:
        read_facts(path, tmp_path)
    assert caught.value.code == "E780" and problem in "\n".join(caught.value.problems)


def test_facts_and_folders_that_do_not_fit_are_problems(models: Path, tmp_path: Path) -> None:
    for folder, facts, problem in (
        (models, {"other.onnx": ModelFacts()}, "the file other.onnx, which has facts, is missing"),
        (
            models,
            {"di gits.tflite": ModelFacts(next="head.tflite")},
            "the file head.tflite is missing",
        ),
        (tmp_path / "nowhere", {}, "No such file"),
        (tmp_path, {}, "no model file is in this folder"),
    ):
        with pytest.raises(EllcError) as caught:
            drafts_of_models(folder, facts, TARGETS, "a CPU", tmp_path / "out")
        assert problem in "\n".join(caught.value.problems)


@pytest.mark.slow
def test_the_command_measures_new_results(models: Path, tmp_path: Path, ellc_command: Any) -> None:
    (tmp_path / "facts.toml").write_text(
        "['di gits.tflite']\nmodel = 'digits8'\ndata = 'data.npz'\nevaluate = '--jobs 1'\n"
    )
    words = ("--models", "models", "--facts", "facts.toml", "-t", "host", "-o", "out", "--json")
    done = ellc_command("gallery", "measure", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    left_out, *rest = json.loads(done.stdout)
    assert left_out["file"] == "models/broken.onnx" and "left out" in left_out["kept"]
    assert {row["of"] for row in rest} == {"ms", "weight_bytes", "ram_bytes", "top1", "top5"}
    assert all(row["now"] is not None for row in rest)
    (result,) = read_results([tmp_path / "out"])
    assert result.machine == this_machine() == result.board
    built = ellc_command("gallery", "build", "out", "-o", "site", "--no-published", cwd=tmp_path)
    assert built.returncode == 0 and (tmp_path / "site" / "try-int8-digits8.html").is_file()


@pytest.mark.parametrize(
    "words",
    [
        *((), ("--facts", "x"), ("x.json", "-o", "out"), ("--zoo", "resnet8")),
        ("--models", "x", "--facts", "y"),
    ],
)
def test_options_that_do_not_fit_are_said(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["gallery", "measure", *words]) == cli.EXIT_BAD_INPUT
    assert "Error: " in capsys.readouterr().err


@pytest.mark.needs_data
def test_facts_of_the_real_models_fit_them(test_data: Path) -> None:
    facts = read_facts(FACTS, test_data / "models")
    assert all((test_data / "models" / name).is_file() for name in facts)
    assert sum(row.data is not None for row in facts.values()) >= 12

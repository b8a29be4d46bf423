"""`ellc quantize`: its files, reports and errors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from quantisable import NETWORKS, SHAPE, inputs

from ellc import cli
from ellc.ir.container import load, save

CLASSES = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a classifier and data: with classes, without, and damaged."""
    place = tmp_path_factory.mktemp("quantize")
    save(NETWORKS["classifier"](), place / "net.eir")
    x = np.concatenate(inputs(24))
    np.savez(place / "labelled.npz", x=x, y=np.arange(24) % CLASSES)
    np.savez(place / "unlabelled.npz", x=x)
    np.savez(place / "other.npz", x=x[:, 1:])
    return place


@pytest.mark.slow
def test_a_network_is_quantised_and_measured(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "q.eir"
    line = ["quantize", str(folder / "net.eir"), "--data", str(folder / "labelled.npz"), "-o"]
    assert cli.run([*line, str(out), "--samples", "5", "--jobs", "1", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["calibration_samples"] == 5
    assert document["weighted_layers"] == document["weighted_layers_in_8_bits"] == 3
    before, after = document["accuracy"]
    assert (before["samples"], after["samples"]) == (24, 24)
    assert document["same_class"] >= 20
    quantised = load(out)
    assert quantised.input_types()[0].shape == SHAPE
    assert [p.name for p in quantised.outputs] == ["y0"]


def test_data_need_no_classes(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    line = ["quantize", str(folder / "net.eir"), "--data", str(folder / "unlabelled.npz")]
    assert cli.run([*line, "--limit", "3"]) == 0
    shown = capsys.readouterr().out
    assert "accuracy not measured: the data have no classes" in shown
    assert "net_int8.eir: 3 of 3 convolutions and dense layers in 8 bits" in shown
    assert "calibrated with 3 samples" in shown
    first = (tmp_path / "net_int8.eir").read_bytes()
    assert cli.run([*line, "--limit", "3"]) == 0
    assert (tmp_path / "net_int8.eir").read_bytes() == first
    # A quantised network has nothing to quantise.
    assert cli.run(["quantize", "net_int8.eir", *line[2:], "-o", "again.eir"]) == 2
    assert "error[E790]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data", "labelled.npz", "-o", "q.txt"], "error[E742]"),
        (["--data", "labelled.npz", "-o", "none/q.eir"], "error[E703]"),
        (["--data", "labelled.npz", "-o", "."], "error[E"),
        (["--data", "labelled.npz", "-o", "net.eir"], "would replace the model"),
        (["--data", "none.npz", "-o", "q.eir"], "error[E713]"),
        (["--data", "other.npz", "-o", "q.eir"], "error[E721]"),
        (["--data", "labelled.npz", "-o", "q.eir", "--fp16"], "give them to `ellc compile`"),
        (["-o", "q.eir"], "--data"),
    ],
)
def test_errors(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(folder)
    assert cli.run(["quantize", "net.eir", *options]) == cli.EXIT_BAD_INPUT
    assert message in capsys.readouterr().err
    assert not (folder / "q.eir").exists()

"""`ELLC_DEBUG` prints what the compiler does."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_networks import convolution_network

from ellc import cli
from ellc.debug import WORDS, debug_words
from ellc.ir.container import save
from ellc.ir.errors import EllcError
from ellc.ir.pipeline import default_passes


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save(convolution_network(), tmp_path / "small.eir")
    return tmp_path / "small.eir"


def shown(
    model: Path, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    monkeypatch.setenv("ELLC_DEBUG", words)
    out = model.parent / "out"
    assert cli.run(["compile", str(model), "-t", "pi3_64", "--emit", "c", "-o", str(out)]) == 0
    printed = capsys.readouterr()
    assert "flash" in printed.out or "arena" in printed.out
    return printed.err


@pytest.mark.slow
def test_every_level(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(model, "", monkeypatch, capsys) == ""
    said = shown(model, "passes, plan,kernels,time", monkeypatch, capsys)
    for step in default_passes():
        assert f"after {step.name}" in said or f"--- {step.name}: nothing changed" in said
    assert "+++ after fuse_epilogue" in said and "\n-  " in said and "\n+  " in said
    assert "arena " in said and " at 0, live 0.." in said
    assert "kernel small_000_" in said and "= load " in said
    assert "fuse_epilogue " in said and " ms" in said and "planning " in said and "all " in said


def test_words_that_mean_nothing(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert debug_words({"ELLC_DEBUG": " time,,plan "}) == {"time", "plan"}
    with pytest.raises(EllcError, match="unknown words: passed") as caught:
        debug_words({"ELLC_DEBUG": "time,passed"})
    assert caught.value.code == "E314" and all(word in caught.value.hint for word in WORDS)
    monkeypatch.setenv("ELLC_DEBUG", "passed")
    assert cli.run(["compile", str(model), "-o", str(model.parent / "out")]) == cli.EXIT_BAD_INPUT

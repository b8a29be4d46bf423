"""Deploy the camera example with the README's `ellc deploy` to a local server as the board."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from digit_clips import ROOT, Clip
from local_sshd import LocalBoard, local_board, why_not
from readme import fenced_blocks

from ellc.cli import run

README = ROOT / "examples" / "camera" / "README.md"


@pytest.fixture
def board(tmp_path: Path) -> Iterator[LocalBoard]:
    if reason := why_not():
        pytest.skip(reason)
    (tmp_path / "home").mkdir()
    with local_board(tmp_path, tmp_path / "home") as running:
        yield running


@pytest.mark.slow
def test_the_service_that_is_deployed_sees(
    board: LocalBoard,
    clip: Clip,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (text,) = (
        block.text
        for block in fenced_blocks(README.read_text(encoding="utf-8"))
        if block.text.startswith("ellc deploy")
    )
    _, *words = shlex.split(text.replace("\\\n", ""))
    at = words.index("--ssh")
    monkeypatch.chdir(ROOT)
    assert run([*words[:at], *words[at + 2 :], *board.options]) == 0, capsys.readouterr().err

    unit = (tmp_path / "home" / "ellc" / "digits" / "digits.service").read_text()
    lines = dict(line.split("=", 1) for line in unit.splitlines() if "=" in line)
    shell, option, command = shlex.split(lines["ExecStart"])
    pictures = clip.save(tmp_path / "pictures", "png")
    python = tmp_path / "bin" / "python3"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    seen = subprocess.run(
        [shell, option, f"{command} --interval 0 --folder {pictures}"],
        cwd=lines["WorkingDirectory"],
        env={"PATH": f"{python.parent}{os.pathsep}/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert seen.returncode == 0, seen.stderr
    labels = [line.split()[1] for line in seen.stdout.splitlines()[:-1]]
    assert tuple(labels) == clip.labels

"""Temporary folders of running processes are not removed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ellc.ir.work_folders import temporary_folder

MANY_FOLDERS = """
from ellc.ir.work_folders import temporary_folder
for number in range(300):
    with temporary_folder("test") as folder:
        (folder / "file").write_bytes(b"mine")
        assert (folder / "file").read_bytes() == b"mine"
"""


def test_processes_leave_each_other_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    root = Path(__file__).resolve().parent.parent.parent
    workers = [
        subprocess.Popen([sys.executable, "-c", MANY_FOLDERS], cwd=root, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    said = [worker.communicate(timeout=120)[1].decode() for worker in workers]
    assert said == [""] * len(workers)
    assert not list(tmp_path.iterdir())


def test_a_dead_process_leaves_nothing_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "ellc-test-dead").mkdir()
    with temporary_folder("test") as folder:
        assert list(tmp_path.iterdir()) == [folder]


def test_ctrl_c_while_a_folder_is_made_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = os.mkdir

    def interrupted(*said: object) -> None:
        make(*said)  # type: ignore[arg-type]
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("os.mkdir", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), temporary_folder("test"):
            pass
    finally:
        signal.signal(signal.SIGINT, before)
    assert not list(tmp_path.iterdir())

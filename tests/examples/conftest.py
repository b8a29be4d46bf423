"""Fixtures: pictures of digits, a compiled network for them, and programs of the examples."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from digit_clips import MODEL, ROOT, SCALE, Clip, Program, recorded_clip
from digits_data import LABELS

from ellc.driver import CompileOptions, compile_model


@pytest.fixture(scope="session")
def clip() -> Clip:
    """Frames with the classes of the reference."""
    return recorded_clip()


@pytest.fixture(scope="session")
def digits_network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the network, which is compiled for this machine and takes pixels."""
    folder = tmp_path_factory.mktemp("digits") / "network"
    options = CompileOptions(model=SCALE, labels=LABELS)
    compile_model(MODEL, "host", options, folder)
    return folder


@pytest.fixture
def python_program(tmp_path: Path) -> Program:
    """A function that runs a copy of a program of `examples/` in an empty folder, without ellc."""

    def run(
        program: str,
        *args: str | Path,
        env: dict[str, str] | None = None,
        stdin: str = "",
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, ROOT / "examples" / program, *map(str, args)],
            cwd=tmp_path,
            env={"PATH": "/usr/bin:/bin", **(env or {})},
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )

    return run

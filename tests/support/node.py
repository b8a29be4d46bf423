"""Runs JavaScript modules in Node."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


def find_node() -> str | None:
    """The path of Node; None if there is none."""
    return shutil.which("node") or shutil.which("nodejs")


def run_module(folder: Path, program: str, *arguments: str, data: bytes = b"") -> str:
    """Run a program as a module in this folder; returns its output.

    Raises `AssertionError` with what Node said if the program fails.
    """
    node = find_node()
    assert node is not None
    ran = subprocess.run(
        [node, "--input-type=module", "--eval", program, *arguments],
        cwd=folder,
        input=data,
        capture_output=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr.decode()
    return ran.stdout.decode()

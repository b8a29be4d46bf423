"""Programs for Windows in Wine, without a display."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

_PROGRAMS = ("wine64", "wine", "/usr/lib/wine/wine64")
"""Debian's package `wine64` has the last one only."""
_LIMIT_S = 300.0
"""The first program also fills the folder of the Windows system, which takes several seconds."""


def find_wine() -> str | None:
    """The path of Wine; None if there is none."""
    return next((path for name in _PROGRAMS if (path := shutil.which(name))), None)


def run_in_wine(program: Path, stdin: bytes, system: Path) -> bytes:
    """Run a program and return its standard output. `system` is the folder of its Windows.

    Raises `subprocess.CalledProcessError` if the program fails.
    """
    wine = find_wine()
    assert wine
    # Without the two libraries, Wine does not ask whether to load .NET and a browser from the net.
    settings = {
        "WINEPREFIX": str(system),
        "WINEDEBUG": "-all",
        "WINEDLLOVERRIDES": "mscoree,mshtml=",
    }
    ran = subprocess.run(
        [wine, program.name],
        input=stdin,
        capture_output=True,
        check=True,
        cwd=program.parent,
        env={**os.environ, **settings},
        timeout=_LIMIT_S,
    )
    return ran.stdout

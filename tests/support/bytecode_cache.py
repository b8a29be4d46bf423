"""Bytecode of the sources for every process that a run of the tests starts, and for later runs.

Where Python is told to write no bytecode (`PYTHONDONTWRITEBYTECODE`, common in containers), each
process compiles all sources again, which takes longer than many a command. The tests then keep
bytecode in pytest's own cache: nothing is written beside the sources.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest


class BytecodeCache:
    """A pytest plugin for the main process; what it starts inherits the variables."""

    def pytest_configure(self, config: pytest.Config) -> None:
        cache = getattr(config, "cache", None)  # there is none under `-p no:cacheprovider`
        if not sys.dont_write_bytecode or sys.pycache_prefix is not None or cache is None:
            return
        folder = cache.mkdir("bytecode")
        # Sources of earlier runs, whose folders' names this run may use again.
        temporary = Path(tempfile.gettempdir()).absolute()
        shutil.rmtree(folder / temporary.relative_to(temporary.anchor), ignore_errors=True)
        sys.dont_write_bytecode, sys.pycache_prefix = False, str(folder)
        os.environ["PYTHONPYCACHEPREFIX"] = str(folder)
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

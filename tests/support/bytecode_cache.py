"""Bytecode of the sources for every process that a run of the tests starts.

Where Python is told to write no bytecode (`PYTHONDONTWRITEBYTECODE`, common in containers), each
process compiles all sources again, which takes longer than many a command. The run then keeps
bytecode in a temporary folder of its own: nothing is written beside the sources.
"""

from __future__ import annotations

import os
import sys
import tempfile

import pytest


class BytecodeCache:
    """A pytest plugin for the main process; what it starts inherits the variables."""

    def pytest_configure(self, config: pytest.Config) -> None:
        if not sys.dont_write_bytecode or sys.pycache_prefix is not None:
            return
        folder = tempfile.TemporaryDirectory(prefix="ellc-bytecode-", ignore_cleanup_errors=True)
        config.add_cleanup(folder.cleanup)
        os.environ["PYTHONPYCACHEPREFIX"] = folder.name
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

"""Keep Python bytecode for all processes that the tests start, and for later runs.

If Python is configured to write no bytecode (`PYTHONDONTWRITEBYTECODE`, common in containers), each
process would compile all sources again, which often takes longer than the command that it runs. The
tests then keep bytecode in pytest's cache, and still write nothing beside the sources.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest


class BytecodeCache:
    """A pytest plugin for the main process; processes that it starts inherit the variables."""

    def pytest_configure(self, config: pytest.Config) -> None:
        cache = getattr(config, "cache", None)  # with `-p no:cacheprovider` there is no cache
        if not sys.dont_write_bytecode or sys.pycache_prefix is not None or cache is None:
            return
        folder = cache.mkdir("bytecode")
        # Remove bytecode of temporary sources: this run may use the same folder names again.
        temporary = Path(tempfile.gettempdir()).absolute()
        shutil.rmtree(folder / temporary.relative_to(temporary.anchor), ignore_errors=True)
        sys.dont_write_bytecode, sys.pycache_prefix = False, str(folder)
        os.environ["PYTHONPYCACHEPREFIX"] = str(folder)
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

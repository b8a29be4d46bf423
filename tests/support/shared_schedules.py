"""Share the answers of the scheduler between the tests of a run.

The kept answers have no influence on generated code (`codegen/kir/in_order/kept.py`), so tests of
other parts need not compute the same schedules again in every process. A run starts without any.
Tests that change parts of the scheduler, and those that compare what two processes write, keep
nothing.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

VARIABLE = "ELLC_SCHEDULE_CACHE"


class SharedSchedules:
    """A pytest plugin for the main process; processes that it starts inherit the variable."""

    def pytest_configure(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="ellc-schedules-")
        os.environ[VARIABLE] = self._folder.name

    def pytest_unconfigure(self) -> None:
        self._folder.cleanup()


@contextmanager
def nothing_kept() -> Iterator[None]:
    """Every schedule is computed, also in processes that are started meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, "")
        yield

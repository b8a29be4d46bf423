"""Share the answers of the scheduler between the tests of a run.

The kept answers have no influence on generated code (`codegen/kir/in_order/kept.py`), so tests of
other parts need not compute the same schedules again in every process. A run starts without any.
The tests of `kir/` and `machine/`, which change parts of the scheduler, keep nothing.
"""

from __future__ import annotations

import os
import tempfile

import pytest

VARIABLE = "ELLC_SCHEDULE_CACHE"


class SharedSchedules:
    """A pytest plugin for the main process; processes that it starts inherit the variable."""

    def pytest_configure(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="ellc-schedules-")
        os.environ[VARIABLE] = self._folder.name

    def pytest_unconfigure(self) -> None:
        self._folder.cleanup()


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every schedule of the test is computed. A `conftest.py` imports this fixture."""
    monkeypatch.setenv(VARIABLE, "")

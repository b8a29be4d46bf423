"""Tests of models of cores do not see what other tests have scheduled."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from shared_schedules import nothing_kept


@pytest.fixture(autouse=True)
def _own_schedules() -> Iterator[None]:
    with nothing_kept():
        yield

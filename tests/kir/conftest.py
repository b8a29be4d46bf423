"""Tests of the scheduler do not see what other tests have scheduled."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from shared_schedules import nothing_kept

SHARING = ("test_existing_kernels.py", "test_replay.py")
"""Files that change nothing, and make plans for all samples: the same nests occur many times."""


@pytest.fixture(autouse=True)
def _own_schedules(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.path.name in SHARING:
        yield
        return
    with nothing_kept():
        yield

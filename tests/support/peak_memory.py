"""The most memory that a process has held, for programs that tests start."""

from __future__ import annotations

import re
from pathlib import Path


def peak_bytes() -> int:
    """Of this process alone.

    Linux counts in `ru_maxrss` what the process held that started this one: in a test that is all
    that the tests before it keep.
    """
    found = re.search(r"^VmHWM:\s*(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024

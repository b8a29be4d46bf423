"""The peak memory of a process, for programs that tests start."""

from __future__ import annotations

import re
from pathlib import Path


def peak_bytes() -> int:
    """The peak memory of this process in bytes.

    `ru_maxrss` is not used: on Linux it includes the memory of the parent process, which is a
    process of tests.
    """
    found = re.search(r"^VmHWM:\s*(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024

"""Run every campaign for a second or two, and check that campaigns find errors."""

from __future__ import annotations

import ast
import errno
import linecache
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hidden import hidden_cause
from interrupted import resize_disk, small_disk

from ellc.ir.errors import EllcError

HERE = Path(__file__).resolve().parent

BAD_JUDGE = """
import mmap, os, signal, sys, time, warnings
sys.path.insert(0, sys.argv[1])
import workers
workers.CPU_S, workers.HANG_S = 0.5, 3

kept = []

def judge(number):
    match number:
        case 1: raise IndexError("list index out of range")
        case 2: warnings.warn("overflow")
        case 3: os.kill(os.getpid(), signal.SIGSEGV)
        case 4:
            while True: pass
        case 5: time.sleep(60)
        case 6: return str(len(bytearray(600 << 20)))
        case 7: os._exit(0)
        case 8 | 9: kept.append(mmap.mmap(-1, 300 << 20))  # touches no page, so takes no time
    return "good"

findings = workers.judge_all(range(10), judge, 2, "{}")
print(sorted((int(f.again), f.place.split(" outside")[0]) for f in findings.found.values()))
print(findings.outcomes["good"], findings.outcomes["FAILED"])
"""


@pytest.mark.slow
def test_workers_see_every_way_to_fail() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BAD_JUDGE, HERE], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    found, counts = done.stdout.splitlines()
    assert ast.literal_eval(found) == [
        (1, "IndexError"),
        (2, "UserWarning"),
        (3, "dies: SIGSEGV"),
        (4, "TimeIsUp"),
        (5, "dies: SIGKILL"),
        (6, "MemoryError"),
        (7, "dies: no word"),
    ]
    assert counts == "3 7"


READER = """
def size_of(entries):
    return entries["size"]

def checked(entries):
    if "size" not in entries:
        raise KeyError("no size")
    return size_of(entries)

def read(look, entries):
    try:
        return look(entries)
    except KeyError:
        raise EllcError("no size", code="E705") from None
"""


def test_a_slip_behind_an_error_is_seen() -> None:
    """The exception comes from a called function, and no `raise` statement raised it."""
    name = str(HERE.parents[1] / "ellc" / "reader.py")
    linecache.cache[name] = (len(READER), None, READER.splitlines(True), name)
    own: dict[str, Any] = {"EllcError": EllcError}
    exec(compile(READER, name, "exec"), own)
    for look, is_slip in ((own["size_of"], True), (own["checked"], False)):
        with pytest.raises(EllcError) as caught:
            own["read"](look, {})
        assert isinstance(hidden_cause(caught.value), KeyError) is is_slip


def test_a_disk_without_room_is_full_and_grows_again(tmp_path: Path) -> None:
    """The disk is empty at first, as for a command that writes only temporary files."""
    with small_disk(tmp_path, 1 << 20) as mounted:
        if not mounted:
            pytest.skip("only the superuser mounts a disk")
        resize_disk(tmp_path, 0)
        with pytest.raises(OSError) as caught:
            (tmp_path / "file").write_bytes(bytes(1 << 14))
        assert caught.value.errno == errno.ENOSPC
        resize_disk(tmp_path, 1 << 20)
        (tmp_path / "file").write_bytes(bytes(1 << 14))


@pytest.mark.slow
def test_every_campaign_for_a_moment(tmp_path: Path) -> None:
    command = [sys.executable, HERE / "run.py", "--quick", "--keep", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr

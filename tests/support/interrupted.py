"""Run functions that write files, with a kill or a full disk at any of their file operations.

Each run is a forked process with an audit hook, which Python calls before every operation.
Operations that change no file are not counted: killing the process before them leaves the same
files as killing it before the next operation.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ellc.ir.errors import EllcError

DONE, REFUSED, KILLED, BROKEN = 0, 10, 20, 30
"""Exit codes of a run: success, an `EllcError`, the kill, or anything else."""

Write = Callable[[], object]

_FULL = "no space left on the disk"
_MAKING = frozenset(f"os.{name}" for name in ("mkdir", "link", "symlink", "rename"))
_CHANGING = _MAKING | {f"os.{name}" for name in ("chmod", "remove", "rmdir", "utime", "truncate")}
_CHANGING |= {"subprocess.Popen"}


def killed_at(count: int, write: Write) -> int:
    """Kill `write` before its file operation number `count`."""
    return _tried(write, lambda: _at(count, lambda: os._exit(KILLED), _CHANGING))


def full_from(count: int, write: Write) -> int:
    """From file operation number `count` on, let all but removals fail, as on a full disk."""

    def fail() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return _tried(write, lambda: _at(count, fail, _MAKING), _FULL)


def limited(file_bytes: int, write: Write) -> int:
    """Limit files to `file_bytes`; a write beyond the limit is cut off there."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))

    return _tried(write, limit)


def on_small_disk(write: Write) -> int:
    """Run `write` on a disk that is small."""
    return _tried(write, lambda: None, _FULL)


def killed_everywhere(write: Write) -> Iterator[int]:
    """Run `write` once per file operation, and kill it there; yields after every kill."""
    count = 0
    while killed_at(count, write) == KILLED:
        yield count
        count += 1


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[bool]:
    """Mount a disk of this size at `folder`; yields False if this user may not do that."""
    words = ["mount", "-t", "tmpfs", "-o", _size(size_bytes), "none", str(folder)]
    mounted = subprocess.run(words, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def resize_disk(folder: Path, size_bytes: int) -> None:
    """Change the size of a `small_disk`."""
    words = ["mount", "-o", f"remount,{_size(size_bytes)}", str(folder)]
    subprocess.run(words, check=True)


def _size(size_bytes: int) -> str:
    """The option of tmpfs for this size: at least a page, since 0 means no limit."""
    return f"size={max(size_bytes, resource.getpagesize())}"


def tree(folder: Path) -> dict[str, bytes]:
    """The bytes of all files in a folder and its subfolders; links are followed."""
    return {
        str(path.relative_to(folder)): os.fsencode(os.readlink(path))
        if path.is_symlink()
        else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def _at(count: int, act: Callable[[], None], operations: frozenset[str]) -> None:
    seen = 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        if event in operations or _opens_to_write(event, arguments):
            seen += 1
            if seen > count:
                act()

    sys.addaudithook(hook)


def _opens_to_write(event: str, arguments: tuple[object, ...]) -> bool:
    flags = arguments[2] if event == "open" else 0
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))


def _tried(write: Write, prepare: Callable[[], None], refusal: str = "") -> int:
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    outcome = BROKEN
    try:
        prepare()
        write()
        outcome = DONE
    except EllcError as error:
        is_right = error.code in ("E703", "E207", "E612") and refusal in error.report()
        outcome = REFUSED if is_right else BROKEN
        if outcome == BROKEN:
            traceback.print_exc()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(outcome)

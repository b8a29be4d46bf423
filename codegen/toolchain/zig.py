"""Runs zig: the compiler, linkers and archiver of the `ziglang` wheel. No other module does.

`run_tool` also runs other build tools, such as a user's own compiler.

Every call has a time limit. Every call names a cache folder, because zig fails in unclear ways, or
never ends, without a usable home folder. zig never removes files from a cache. Therefore the
permanent cache contains only files that are used again: C libraries for targets, and objects that
are compiled with `keep`.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path

from ellc.codegen.toolchain.kept import user_cache_folders
from ellc.ir.errors import EllcError
from ellc.ir.files import FULL_DISK_HINT
from ellc.ir.installing import core_hint
from ellc.ir.work_folders import temporary_folder

FIRST_USE_LIMIT_S = 900.0
"""The default time limit: enough for zig to build a C library for a new target on a slow machine. A
PC takes a minute."""


def command() -> tuple[str, ...]:
    """Return the command that starts zig. Raises `EllcError` (E611) if it is not installed."""
    binary = _home() / "zig"
    # Starting the program directly saves the start of Python that `python -m ziglang` needs.
    return (str(binary),) if binary.exists() else (sys.executable, "-m", "ziglang")


def _home() -> Path:
    """The folder of zig, with the sources of its C libraries. Raises `EllcError` (E611)."""
    spec = importlib.util.find_spec("ziglang")
    if spec is None or not spec.submodule_search_locations:
        raise EllcError(
            "the Python package ziglang, which contains the linker, is missing",
            code="E611",
            hint=f"{core_hint('ziglang')}; or name your own tools with --cc and --linker",
        )
    return Path(next(iter(spec.submodule_search_locations))).absolute()


def cache_folder() -> Path:
    """Return the folder for zig's permanent cache.

    It is `ZIG_GLOBAL_CACHE_DIR` if set; that path is not checked. Otherwise it is `ellc/zig` in
    `XDG_CACHE_HOME` or `~/.cache`; if neither is writable, it is a folder of this user in the
    system's temporary folder. Such a folder is created if necessary.
    """
    named = os.environ.get("ZIG_GLOBAL_CACHE_DIR")
    if named:
        return Path(named)
    for base in user_cache_folders():
        folder = base / "ellc" / "zig"
        if _usable(folder):
            return folder
    return _private_temporary_folder()


def run(
    arguments: Sequence[str | Path],
    *,
    what: str,
    code: str = "E610",
    cwd: Path | None = None,
    limit_s: float = FIRST_USE_LIMIT_S,
    keep: bool = False,
) -> bytes:
    """Run zig and return its standard output.

    With `keep`, compiled objects stay in the cache folder, for sources that will be compiled again
    from the same path. Without it, they go to a temporary cache, which is removed after the call.
    Sources in temporary folders need no cache: their path, which is part of the key, never occurs
    again.

    `what` describes the action in error messages. Raises `EllcError`: `code` with zig's output if
    zig fails or takes longer than `limit_s` seconds, E703 if the disk is full, E611 if zig is not
    installed.
    """
    words, permanent_cache = (*command(), *map(str, arguments)), cache_folder()
    with nullcontext(permanent_cache) if keep else temporary_folder("zig") as local:
        environment = {
            **os.environ,
            "ZIG_GLOBAL_CACHE_DIR": str(permanent_cache),
            "ZIG_LOCAL_CACHE_DIR": str(local),
        }
        return run_tool(
            words, what=what, code=code, cwd=cwd, limit_s=limit_s, environment=environment
        )


def build(arguments: Sequence[str | Path], *, what: str, code: str = "E610") -> None:
    """Run zig to link a program, for which it may first have to build a C library.

    zig finds a C library that it has built by the names of its sources as seen from the folder in
    which it runs. Always in its own folder, it builds each library once, for all folders of users
    and all environments that contain the same version; a library takes 70 to 110 s of processor
    time. Arguments that are paths are made absolute; no other argument may contain a relative path.

    `what`, `code` and the errors are those of `run`.
    """
    words = [a.absolute() if isinstance(a, Path) else a for a in arguments]
    run(words, what=what, code=code, cwd=_home())


def run_tool(
    words: Sequence[str],
    *,
    what: str,
    code: str,
    cwd: Path | None = None,
    limit_s: float = FIRST_USE_LIMIT_S,
    environment: dict[str, str] | None = None,
) -> bytes:
    """Run any build tool and return its standard output.

    Raises `EllcError`: `code` if the tool is missing, fails or takes longer than `limit_s` seconds,
    E703 if the disk is full.
    """
    try:
        ran = subprocess.run(
            words,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=limit_s,
            check=False,
        )
    except FileNotFoundError as error:
        raise EllcError(
            f"{what}: there is no program {words[0]!r}",
            code=code,
            hint="give its full path, or leave out --cc and --linker to use the built-in tools",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise EllcError(
            f"{what}: {words[0]} took longer than {limit_s:.0f} s",
            code=code,
            hint=f"the cache folder {cache_folder()} may be damaged or on a very slow disk; "
            "set ZIG_GLOBAL_CACHE_DIR to use another one",
        ) from error
    if ran.returncode != 0:
        printed = (ran.stderr + ran.stdout).decode(errors="replace").strip().splitlines()
        no_page = ran.returncode == _BUS_ERROR_STATUS
        if no_page or _is_full(printed) or _stopped_by_a_full_disk(ran, cwd):
            raise EllcError(
                f"{what}: no space left on the disk",
                code="E703",
                problems=tuple(printed[:3]),
                hint=FULL_DISK_HINT,
            )
        raise EllcError(
            f"{what} failed ({_status(ran.returncode)})",
            code=code,
            problems=tuple(printed[:40]),
            hint=f"the command was: {' '.join(words)}"[:2000],
        )
    return ran.stdout


_BUS_ERROR_STATUS = -getattr(signal, "SIGBUS", 0) or None
"""The exit status of lld on a full disk: it writes to mapped pages for which there is no space."""


_LEAST_BYTES = 1 << 20
"""If a tool ends without a message, a disk with less free space than this counts as full."""


def _stopped_by_a_full_disk(ran: subprocess.CompletedProcess[bytes], cwd: Path | None) -> bool:
    """Whether a tool ended by a signal without a message, and a disk that it used is full.

    On a full disk, Clang removes the file that it cannot finish, and aborts.
    """
    if ran.returncode >= 0 or ran.stderr:
        return False
    output_folders = [Path(b).parent for a, b in pairwise(map(str, ran.args)) if a == "-o"]
    folders = [cwd or Path(), *((cwd or Path()) / folder for folder in output_folders)]
    folders.append(Path(tempfile.gettempdir()))
    return any(f.is_dir() and shutil.disk_usage(f).free < _LEAST_BYTES for f in folders)


def _is_full(printed: Sequence[str]) -> bool:
    """Whether the output contains the message of the C library or of zig about a full disk."""
    return any("No space left on device" in line or "NoSpaceLeft" in line for line in printed)


def _status(returncode: int) -> str:
    return f"killed by signal {-returncode}" if returncode < 0 else f"exit status {returncode}"


def _usable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


@functools.cache
def _private_temporary_folder() -> Path:
    """A folder of fixed name, so that later runs find its files. If unusable, a new folder."""
    user = getattr(os, "getuid", lambda: "user")()
    folder = Path(tempfile.gettempdir()) / f"ellc-zig-{user}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        owned = not hasattr(os, "getuid") or folder.lstat().st_uid == os.getuid()
    except OSError:
        owned = False
    # If the folder belongs to another user, it could contain a manipulated C library.
    return folder if owned and _usable(folder) else Path(tempfile.mkdtemp(prefix="ellc-zig-"))

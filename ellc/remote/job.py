"""Copies files to a board and runs a program there, all in one connection.

The files are sent as a tar archive on the standard input of a script. The script unpacks them into
a new folder, and then renames this folder to the final one. So the final folder is either replaced
as a whole or left unchanged. The script removes its temporary files, even if the connection breaks:
its next write then raises SIGPIPE, which it traps in order to clean up.
"""

from __future__ import annotations

import io
import posixpath
import shlex
import tarfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ellc.codegen.toolchain.emulate import ending
from ellc.ir.errors import EllcError
from ellc.ir.work_folders import temporary_folder
from ellc.remote.connection import Connection, Ran

MARK = ".ellc-deployed"
"""A file that marks a folder as made by ellc; a folder without it is not replaced.

It is also the last file of the archive. The script checks that it arrived, because tar reports no
error for an archive that was cut off between two files.
"""
RUN = ".ellc-run"
"""A subfolder for the files that only a run needs; it is removed after the run."""
LOADER = f"{RUN}/load_library"
INPUTS = f"{RUN}/inputs"
_UPLOAD_LIMIT_S = 3600.0

_NO_FOLDER, _NO_SPACE, _NOT_OURS, _NOT_RUN = 81, 82, 83, 84
_BROKEN = 255  # the exit status of ssh if the connection fails

_UNPACK = f"""\
umask 022
new=$(mktemp -d "$parent/.ellc-XXXXXX") || exit {_NO_FOLDER}
trap clean EXIT
trap 'exit 129' HUP INT TERM PIPE
tar -xomf - -C "$new" && [ -f "$new/{MARK}" ] || exit {_NO_SPACE}
"""
_CLEAN = 'clean() { rm -rf "$new"; }\n'
# `_REPLACE` renames twice. After the first rename `$new.old` is the only copy of the old files, so
# `clean` renames it back if there is no `$final`.
_CLEAN_BESIDE = f"""\
clean() {{
    [ ! -e "$new.old" ] || [ -e "$final" ] || mv "$new.old" "$final"
    rm -rf "$new" "$new.old" "$final/{RUN}"
}}
"""
_REPLACE = f"""\
chmod 755 "$new"
if [ -e "$final" ]; then
    [ -f "$final/{MARK}" ] || exit {_NOT_OURS}
    mv "$final" "$new.old" || exit {_NO_FOLDER}
fi
mv "$new" "$final" || exit {_NO_FOLDER}
cd "$final" || exit {_NO_FOLDER}
"""


@dataclass(frozen=True, slots=True)
class BoardProgram:
    """A program to run in the folder of the files, and the bytes of its standard input."""

    words: Sequence[str]
    stdin: bytes
    limit_s: float = 600.0


def copy_and_run(
    connection: Connection,
    files: Mapping[str, Path | bytes],
    folder: str | None,
    program: BoardProgram | None = None,
) -> bytes:
    """Copy files to the board, run a `program` among them, and return its standard output.

    `files` maps names on the board to paths on this machine, or to contents. `folder` is the
    absolute path of the final folder. If it is None, the files are unpacked into a temporary folder
    in the home folder, which is removed afterwards. Raises `EllcError`: E632 if the connection
    fails, E635 if the files cannot be stored on the board, E701 if a file cannot be read here, E621
    if the program fails.
    """
    with temporary_folder("board") as local:
        archive = local / "files.tar"
        own = {INPUTS: program.stdin} if program else {}
        runs = (
            {LOADER, *(posixpath.normpath(word) for word in program.words[:1])}
            if program
            else set()
        )
        _pack(archive, {**files, **own, MARK: b""}, runs)
        limit_s = _UPLOAD_LIMIT_S + (program.limit_s if program else 0.0)
        with archive.open("rb") as stdin:
            ran = connection.run(script(folder, program), stdin, limit_s)
    if ran.status:
        raise _failure(connection.host, folder, ran)
    return ran.output


def script(folder: str | None, program: BoardProgram | None) -> str:
    """A script that unpacks the archive on its standard input, and runs the program if given."""
    if folder is None:
        text = f'parent=$HOME\n{_CLEAN}{_UNPACK}cd "$new" || exit {_NO_FOLDER}\n'
    else:
        parent = shlex.quote(posixpath.dirname(folder))
        start = f"parent={parent}; final={shlex.quote(folder)}\n"
        make_parent = f'mkdir -p "$parent" || exit {_NO_FOLDER}\n'
        text = f"{start}{make_parent}{_CLEAN_BESIDE}{_UNPACK}{_REPLACE}"
    if program is None:
        return text
    words = shlex.join(program.words)
    return f'{text}{words} < {INPUTS} || {{ echo "exit status $?" >&2; exit {_NOT_RUN}; }}\n'


def _pack(archive: Path, files: Mapping[str, Path | bytes], programs: Collection[str]) -> None:
    with tarfile.open(archive, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files.items():
            with _opened(content) as data:
                entry = tarfile.TarInfo(name)
                entry.size = data.seek(0, io.SEEK_END)
                entry.mode = 0o755 if name in programs else 0o644
                data.seek(0)
                tar.addfile(entry, data)


def _opened(content: Path | bytes) -> IO[bytes]:
    if isinstance(content, bytes):
        return io.BytesIO(content)
    try:
        return content.open("rb")
    except OSError as error:
        raise EllcError(str(error.strerror), code="E701", where=str(content)) from error


def _failure(host: str, folder: str | None, ran: Ran) -> EllcError:
    """The error for the exit status of the script."""
    where = f"{host}:{folder}" if folder else host
    if ran.status == _BROKEN:
        return EllcError(
            "the connection to the board was lost", code="E632", where=host, problems=ran.messages
        )
    texts = {
        _NO_FOLDER: (
            "the folder cannot be created on the board",
            "check that the user on the board may write to the parent folder",
        ),
        _NO_SPACE: (
            "the files cannot be unpacked on the board",
            "check the free space on the board with `df -h`",
        ),
        _NOT_OURS: (
            "this folder exists on the board, but ellc did not create it",
            "name another folder with --to, or remove this folder on the board",
        ),
    }
    if ran.status in texts:
        message, hint = texts[ran.status]
        return EllcError(message, code="E635", where=where, problems=ran.messages, hint=hint)
    end = "failed" if ran.status == _NOT_RUN else ending(ran.status)
    return EllcError(
        f"the program on the board {end}", code="E621", where=host, problems=ran.messages
    )

"""Prepares a network for a board, copies its files there, and runs it there."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from ellc.codegen.machine.target import Target
from ellc.codegen.toolchain.load import build_loader, loader_numbers, split_answer
from ellc.driver import CompileOptions, compile_model
from ellc.execute import Arrays, Library, described_library, is_library, open_library
from ellc.ir.errors import EllcError
from ellc.ir.file_interface import Runtime
from ellc.ir.work_folders import temporary_folder
from ellc.progress import Progress, silent
from ellc.remote.choice import check_libc, chosen_target, loader_glibc
from ellc.remote.connection import Connection
from ellc.remote.facts import BoardFacts, ask
from ellc.remote.job import LOADER, BoardProgram, copy_and_run
from ellc.remote.service import unit_name, unit_text

_LONGEST_NAME = 90
"""The most bytes of a name: the ustar format, which every tar reads, has 100 bytes for it."""


@dataclass(frozen=True, slots=True)
class ReachedBoard:
    """A board that answered: how to reach it, its facts, and the target for it."""

    connection: Connection
    facts: BoardFacts
    target: Target


@dataclass(frozen=True, slots=True)
class Package:
    """A network compiled for a board: its library, and all files to copy there by their names."""

    library: Library
    files: Mapping[str, Path]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BoardCall:
    """The outputs of a call on the board, and the nanoseconds of each call after the first."""

    outputs: Arrays
    call_ns: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BoardRun:
    """What to run on the board: calls with the same inputs are repeated for `repeat_ms`.

    With `threads` 0 the library chooses the number of threads.
    """

    inputs: Arrays
    threads: int = 0
    repeat_ms: int = 1000


def find_board(connection: Connection, asked: Target | None) -> ReachedBoard:
    """Ask the board for its facts, and choose the target.

    Raises `EllcError` as `chosen_target` and `Connection.run`.
    """
    facts = ask(connection)
    return ReachedBoard(connection, facts, chosen_target(connection.host, facts, asked))


@contextmanager
def package(
    model: Path,
    board: ReachedBoard,
    options: CompileOptions,
    progress: Progress = silent,
    *,
    is_run: bool,
) -> Iterator[Package]:
    """Prepare the files for a board; `model` is a compiled library, or a model file to compile.

    Files that were compiled here are removed when the block ends. `is_run` says whether the network
    will run on the board. Raises `EllcError` E634 for a library that cannot run on the board, and
    for a board whose C library is too old.
    """
    host, facts = board.connection.host, board.facts
    if is_library(model):
        library = open_library(model)
        check_libc(host, facts, chosen_target(host, facts, library.target), is_run=is_run)
        endings = (".json", ".h", ".py", *(f"_{runtime}.py" for runtime in get_args(Runtime)))
        names = (f"{library.prefix}{ending}" for ending in endings)
        beside = {name: path for name in names if (path := model.with_name(name)).is_file()}
        yield Package(library, {model.name: model, **beside})
        return
    check_libc(host, facts, board.target, is_run=is_run)
    with temporary_folder("deploy") as folder:
        artifact = compile_model(model, board.target, options, folder / "out", progress)
        assert artifact.library is not None
        files = dict(zip(artifact.names, artifact.files, strict=True))
        yield Package(described_library(artifact.library), files, artifact.notes)


def deployed_folder(board: ReachedBoard, name: str, asked: str) -> str:
    """The absolute path of the folder on the board.

    It is `asked`, or `ellc/NAME` if `asked` is empty, relative to the home folder. Raises
    `EllcError` E636 if the folder is the home folder or a parent of it, if its name is not
    printable, or if the home folder is not known.
    """
    home = board.facts.home
    folder = posixpath.normpath(posixpath.join(home, asked or f"ellc/{name}")).replace("//", "/")
    is_above = folder == posixpath.commonpath((folder, home)) if home.startswith("/") else True
    if is_above or not folder.isprintable():
        raise EllcError(
            f"{folder!r} cannot be the folder for the files",
            code="E636",
            where=board.connection.host,
            hint="name a folder for this network only, such as --to ellc/network",
        )
    return folder


def deploy(
    board: ReachedBoard,
    package: Package,
    folder: str | None,
    *,
    run: BoardRun | None = None,
    service: str | None = None,
    others: Sequence[Path] = (),
) -> BoardCall | None:
    """Copy the files to the board and, if `run` is given, call the network there.

    Returns the result of the call, None without `run`. The files stay in `folder`; if it is None,
    they are removed after the run. If `service` and `folder` are given, a systemd unit with
    the command `service` is written next to the files. `others` are further files to copy. Raises
    `EllcError`: E636 if two files have the same name or a name is too long; E621, E632, E635 and
    E701 as `copy_and_run`.
    """
    connection, library = board.connection, package.library
    name = library.prefix
    files: dict[str, Path | bytes] = {}
    if service is not None and folder is not None:
        files[unit_name(name)] = unit_text(name, folder, service)
    for known, path in (*package.files.items(), *((path.name, path) for path in others)):
        if known in files or len(known.encode()) > _LONGEST_NAME:
            raise EllcError(
                "two files have this name" if known in files else "the name is too long",
                code="E636",
                where=str(path),
                hint="rename the file",
            )
        files[known] = path
    if run is None:
        copy_and_run(connection, files, folder)
        return None
    with temporary_folder("board") as local:
        loader = local / "load_library"
        build_loader(library.target, loader, loader_glibc(library.target))
        inputs = library.bytes_of(run.inputs)
        numbers = loader_numbers(map(len, inputs), library.output_bytes, run.threads, run.repeat_ms)
        words = (f"./{LOADER}", f"./{library.path.name}", name, *numbers)
        program = BoardProgram(words, b"".join(inputs))
        answer = copy_and_run(connection, {**files, LOADER: loader}, folder, program)
    parts = split_answer(answer, library.output_bytes)
    return BoardCall(library.arrays_of(parts.outputs), parts.call_ns)

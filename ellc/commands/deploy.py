"""`ellc deploy`: put a network on a board and run it there."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ellc.commands.calls import (
    answer_document,
    answer_text,
    class_names,
    prepared_inputs,
    want_files,
)
from ellc.commands.output import echo, echo_json, echo_note, json_option
from ellc.commands.parameters import (
    FILE_PATH,
    board_target_option,
    model_options,
    ssh_command_option,
    ssh_option,
    threads_option,
)
from ellc.execute import is_library
from ellc.ir.printable import visible
from ellc.models import ModelOptions

if TYPE_CHECKING:
    from ellc.remote.deploy import BoardCall, Package, ReachedBoard


@click.command("deploy")
@click.argument("model", type=FILE_PATH)
@ssh_option
@click.option(
    "--run",
    "inputs",
    type=FILE_PATH,
    metavar="FILE",
    multiple=True,
    help="Run the network on the board, with this picture or .npy file; give one for each input.",
)
@click.option(
    "--service",
    metavar="COMMAND",
    help="Also write a systemd unit that runs this command, such as 'python3 camera.py', in the "
    "folder whenever the board starts, and print the commands that enable the unit.",
)
@click.option(
    "--with",
    "others",
    type=FILE_PATH,
    metavar="FILE",
    multiple=True,
    help="Also copy this file, such as a program that calls the network. May be repeated.",
)
@click.option(
    "--to",
    "folder",
    metavar="FOLDER",
    default="",
    help="Folder on the board; default: ellc/NAME in the home folder.",
)
@click.option("--remove", is_flag=True, help="Leave nothing on the board after --run.")
@board_target_option
@threads_option
@click.option(
    "--labels", type=FILE_PATH, metavar="FILE", help="File with the class names, one per line."
)
@click.option(
    "--top", default=5, show_default=True, type=click.IntRange(1), help="Classes to show."
)
@ssh_command_option
@model_options
@json_option
def command(
    model: Path,
    host: str | None,
    inputs: tuple[Path, ...],
    service: str | None,
    others: tuple[Path, ...],
    folder: str,
    remove: bool,
    target: str | None,
    threads: int | None,
    labels: Path | None,
    top: int,
    ssh_command: tuple[str, ...],
    options: ModelOptions,
    as_json: bool,
) -> None:
    """Compile MODEL for the board of --ssh and copy the files there; with --run, also run MODEL.

    ellc asks the board for its CPU and C library, and chooses the target that fits. Nothing is
    built or installed on the board. The files that `ellc compile` writes are copied into a folder
    of their own. An older version of this folder is replaced as a whole; a folder that ellc did not
    make is never changed. If MODEL is a compiled library, it is copied without compiling.
    """
    from ellc.codegen.machine.resolve import resolve
    from ellc.driver import CompileOptions
    from ellc.pictures.images import load_labels
    from ellc.progress import progress
    from ellc.remote.connection import Connection
    from ellc.remote.deploy import BoardRun, deploy, deployed_folder, find_board, package

    _check_usage(service, remove=remove, is_run=bool(inputs))
    want_files((*inputs, *others))
    connection = Connection(_named(host), ssh_command)
    asked = resolve(target) if target else None
    names = load_labels(labels) if labels else ()
    chosen = CompileOptions(threads=threads, model=options, labels=names)
    with progress(quiet=as_json) as report:
        report("asking the board", 0, 0)
        board = find_board(connection, asked)
        with package(model, board, chosen, report, is_run=bool(inputs)) as prepared:
            network, run = prepared.library.network, None
            if inputs:
                arrays = prepared_inputs(model, network, inputs, options.pixels)
                run = BoardRun(arrays, (threads or 0) if is_library(model) else 0)
            target_folder = deployed_folder(board, prepared.library.prefix, folder)
            kept_folder = None if remove else target_folder
            report("copying", 0, 0)
            call = deploy(board, prepared, kept_folder, run=run, service=service, others=others)
    for note in prepared.notes:
        echo_note(note)
    shown = (board, prepared, kept_folder, call)
    if as_json:
        echo_json(_document(*shown, class_names(network, labels), top))
    else:
        echo(_text(*shown, class_names(network, labels), top))
        if service is not None:
            echo(_service_text(board, prepared, target_folder))


def _named(host: str | None) -> str:
    if not host:
        raise click.UsageError("name the board: --ssh [USER@]HOST")
    return host


def _check_usage(service: str | None, *, remove: bool, is_run: bool) -> None:
    from ellc.remote.service import check_command

    if remove and (service is not None or not is_run):
        raise click.UsageError("--remove needs --run, and cannot be used with --service")
    if service is not None:
        check_command(service)


def _text(
    board: ReachedBoard,
    package: Package,
    folder: str | None,
    call: BoardCall | None,
    labels: tuple[str, ...],
    top: int,
) -> str:
    from ellc.commands.bench import summary, text

    facts, name = board.facts, board.facts.machine.model if board.facts.machine else ""
    parts = (name or facts.kernel, facts.libc, f"target {package.library.target.name}")
    lines = [f"{visible(board.connection.host)}: {visible(', '.join(filter(None, parts)))}"]
    if folder is not None:
        files = ", ".join(package.files)
        lines.append(f"{visible(folder)}: {visible(files)}")
    if call is not None:
        network = package.library.network
        ported = zip(network.outputs, call.outputs, strict=True)
        lines += [answer_text(*port, result, labels, top) for port, result in ported]
        lines.append(text(summary(network, board.connection.host, call.call_ns)))
    return "\n".join(lines)


def _service_text(board: ReachedBoard, package: Package, folder: str) -> str:
    from ellc.remote.service import start_commands

    commands = start_commands(board.connection, folder, package.library.prefix)
    lines = ["to start the service now and whenever the board starts:", *commands]
    return "\n  ".join(map(visible, lines))


def _document(
    board: ReachedBoard,
    package: Package,
    folder: str | None,
    call: BoardCall | None,
    labels: tuple[str, ...],
    top: int,
) -> dict[str, object]:
    from ellc.commands.bench import summary

    facts, network = board.facts, package.library.network
    document: dict[str, object] = {
        "host": board.connection.host,
        "board": facts.machine.model if facts.machine else "",
        "libc": facts.libc,
        "target": package.library.target.name,
        "folder": folder,
    }
    if call is not None:
        ported = zip(network.outputs, call.outputs, strict=True)
        document["outputs"] = [answer_document(*port, r, labels, top) for port, r in ported]
        document["times"] = asdict(summary(network, board.connection.host, call.call_ns))
    return document

"""`ellc compile`: compile a model to files for a board."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ellc.commands.output import bytes_text, echo, echo_files, echo_json, echo_note, json_option
from ellc.commands.parameters import (
    FILE_PATH,
    command_words,
    model_options,
    overrides_options,
    planning_options,
    target_option,
    threads_option,
)
from ellc.ir.printable import visible

if TYPE_CHECKING:
    from ellc.codegen.machine.resolve import Overrides
    from ellc.codegen.machine.target import Target
    from ellc.codegen.output.package.manifest import MemoryUse
    from ellc.commands.parameters import Planning
    from ellc.debug import Watch
    from ellc.driver import Artifact
    from ellc.models import ModelOptions


def _list_kinds(context: click.Context, _: click.Parameter, emit: str | None) -> str | None:
    """List the kinds of files for `--emit help`."""
    from ellc.driver import emit_kinds

    if emit == "help":
        echo("\n".join(f"{kind:<11}  {what}" for kind, what in emit_kinds().items()))
        context.exit()
    return emit


@click.command("compile")
@click.argument("model", type=FILE_PATH)
@target_option
@overrides_options
@click.option(
    "-o",
    "--output",
    type=FILE_PATH,
    help="Folder for the files; default: the target's name.",
)
@click.option(
    "--emit",
    callback=_list_kinds,
    help="Kinds of files, separated by commas; `--emit help` lists them.",
)
@threads_option
@click.option("--name", default="", help="Name in C and Python; default: the file's name.")
@click.option(
    "--strip", is_flag=True, help="Leave out local symbols: then profilers cannot show layers."
)
@click.option("--wheel", is_flag=True, help="Also make a Python package for `pip install`.")
@click.option(
    "--package-version",
    "version",
    default=None,
    metavar="VERSION",
    help="Version of the package, for pip and CMake, such as 1.2.3; default for pip: ellc's, with "
    "a hash of the network.",
)
@click.option("--no-optimize", is_flag=True, help="Run only the passes that kernels need.")
@click.option("--paranoid", is_flag=True, help="Check in float64 that no pass changes a result.")
@click.option("--dump-dir", type=FILE_PATH, help="Folder for the network's text after every pass.")
@click.option(
    "--cc",
    type=command_words,
    default="",
    metavar="COMMAND",
    help="Your own C compiler for the target, with its options.",
)
@click.option(
    "--linker",
    type=command_words,
    default="",
    metavar="COMMAND",
    help="Your own linker for ELF targets (GNU ld or lld).",
)
@click.option(
    "--labels",
    type=FILE_PATH,
    metavar="FILE",
    help="File with the class names, one per line, to put into the C and Python code.",
)
@click.option(
    "--profile",
    is_flag=True,
    help="Measure the time of each layer; the C functions NAME_profile_... return the times.",
)
@planning_options
@model_options
@json_option
def command(
    model: Path,
    target: str,
    overrides: Overrides,
    output: Path | None,
    emit: str | None,
    threads: int | None,
    name: str,
    strip: bool,
    wheel: bool,
    version: str | None,
    no_optimize: bool,
    paranoid: bool,
    dump_dir: Path | None,
    cc: tuple[str, ...],
    linker: tuple[str, ...],
    planning: Planning,
    labels: Path | None,
    profile: bool,
    options: ModelOptions,
    as_json: bool,
) -> None:
    """Compile a model (.onnx, .tflite, .ell, .eir) for a device.

    Writes a library, an object file, a C header, a Python or JavaScript module, a manifest, a CMake
    file and a demo. Names that are not allowed in C or Python are changed: characters other than
    letters, digits and _ become _; a _ is put before a leading digit and after a keyword.

    With any of --pixels, --color, --range, --mean, --scale and --resize, the compiled function
    takes the uint8 pixels of a picture, rows x columns x 3, and itself computes (low + (high - low)
    * pixel / 255 - mean) * scale. Values without an option come from the model's metadata.
    """
    from ellc.codegen.machine.resolve import resolve
    from ellc.codegen.output.package.version import PackageVersion
    from ellc.codegen.toolchain.link import Tools
    from ellc.driver import CompileOptions, compile_model
    from ellc.pictures.images import load_labels
    from ellc.progress import progress

    row = resolve(target, overrides)
    chosen = CompileOptions(
        emit=_kinds(emit, row, wheel=wheel),
        threads=threads,
        name=name,
        strip=strip,
        paranoid=paranoid,
        optimize=not no_optimize,
        dump_dir=dump_dir,
        tools=Tools(cc, linker),
        model=options,
        labels=load_labels(labels) if labels else (),
        profile=profile,
        version=PackageVersion() if version is None else PackageVersion.of(version),
        **planning,
    )
    with progress(quiet=as_json) as report:
        artifact = compile_model(model, row, chosen, output, report, _watch())
    _show(artifact, row, as_json=as_json)


def _kinds(emit: str | None, target: Target, *, wheel: bool) -> tuple[str, ...]:
    """The kinds of files to write."""
    from ellc.driver import default_emit

    kinds = tuple(word.strip() for word in emit.split(",")) if emit else default_emit(target)
    return (*kinds, "wheel") if wheel else kinds


def _watch() -> Watch:
    """A watcher that prints on stderr what ELLC_DEBUG asks for."""
    from ellc.debug import debug_words, watch

    return watch(debug_words(), partial(echo, err=True, uncut=True))


def _show(artifact: Artifact, target: Target, *, as_json: bool) -> None:
    for note in artifact.notes:
        echo_note(note)
    if as_json:
        echo_json(_document(artifact, target))
    else:
        echo_files(_text(artifact, target))


def _document(artifact: Artifact, target: Target) -> dict[str, object]:
    return {
        "name": artifact.name,
        "target": target.name,
        "folder": str(artifact.folder),
        "files": list(artifact.names),
        "library": str(artifact.library) if artifact.library else None,
        "module_bytes": _module_bytes(artifact, target),
        "flash_bytes": artifact.costs.flash_bytes,
        "flash": None if artifact.costs.flash is None else asdict(artifact.costs.flash),
        "arena_bytes": artifact.costs.arena_bytes,
        "stack_bytes": artifact.costs.stack_bytes,
        "memories": {
            use.memory: {"bytes": use.bytes, "most_bytes": use.most_bytes, **dict(use.parts)}
            for use in artifact.costs.memories
        },
        "seconds": artifact.seconds,
    }


def _text(artifact: Artifact, target: Target) -> str:
    files = ", ".join(artifact.names)
    costs = [
        ("module", _module_bytes(artifact, target)),
        ("flash", artifact.costs.flash_bytes),
        ("arena", artifact.costs.arena_bytes),
        ("stack", artifact.costs.stack_bytes),
    ]
    parts = [f"{word} {_bytes(count)}" for word, count in costs if count is not None]
    duration = f"{sum(artifact.seconds.values()):.1f} s"
    folder = visible(str(artifact.folder))
    lines = [f"{folder}: {files}"]
    lines.append(f"{artifact.name} for {target.name} in {duration}: {', '.join(parts)}")
    return "\n".join([*lines, *map(_memory_text, artifact.costs.memories)])


def _memory_text(use: MemoryUse) -> str:
    parts = ", ".join(f"{what} {count:,}" for what, count in use.parts)
    shown = f"{use.bytes:,} of {use.most_bytes:,} bytes"
    return f"  {use.memory:<8} {shown}{f': {parts}' if parts else ''}"


def _module_bytes(artifact: Artifact, target: Target) -> int | None:
    """The size of the WebAssembly module, which is what a browser loads; None for other targets."""
    if target.os != "wasm" or artifact.library is None:
        return None
    return artifact.library.stat().st_size


def _bytes(count: int) -> str:
    exact = f"{count:,} bytes"
    return exact if count < 1024 else f"{exact} ({bytes_text(count)})"

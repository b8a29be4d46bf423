"""`ellc run`: run a model on pictures or arrays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import numpy as np

from ellc.commands.calls import (
    answer_document,
    answer_text,
    class_names,
    prepared_inputs,
    want_files,
)
from ellc.commands.output import echo, echo_files, echo_json, echo_notes, json_option
from ellc.commands.parameters import FILE_PATH, model_options, target_option, threads_option
from ellc.execute import Executable
from ellc.ir.errors import EllcError
from ellc.ir.files import whole_file
from ellc.ir.types import Array
from ellc.models import ModelOptions


@click.command("run")
@click.argument("model", type=FILE_PATH)
@click.argument("inputs", type=FILE_PATH, nargs=-1, required=True)
@target_option
@threads_option
@click.option(
    "--reference", is_flag=True, help="Compute with numpy, not with compiled code (slow)."
)
@click.option(
    "--labels", type=FILE_PATH, metavar="FILE", help="File with the class names, one per line."
)
@click.option(
    "--top", default=5, show_default=True, type=click.IntRange(1), help="Classes to show."
)
@click.option(
    "-o",
    "--output",
    type=FILE_PATH,
    help="Also save the first output as a .npy file.",
)
@model_options
@json_option
def command(
    model: Path,
    inputs: tuple[Path, ...],
    target: str,
    threads: int | None,
    reference: bool,
    labels: Path | None,
    top: int,
    output: Path | None,
    options: ModelOptions,
    as_json: bool,
) -> None:
    """Run MODEL, or a compiled library, on INPUTS: a picture or .npy file for each input.

    A library needs its manifest NAME.json in the same folder. Code for a foreign target runs in
    qemu.

    Pictures are cropped and scaled to the size of the model's input. The order of colours, range,
    means and scales come from the model's metadata; without metadata, pixels are passed unchanged.
    Preprocessing options for a model file are compiled in; for a library, they are applied to the
    picture before the call. Arrays are not preprocessed. For an output with scores the best classes
    are shown, for other outputs the shape and the range of the values.
    """
    want_files(inputs)
    with _executable(model, target, threads, options, reference) as executable:
        network = executable.network
        echo_notes(network.metadata)
        names = class_names(network, labels)
        results = executable.call(prepared_inputs(model, network, inputs, options.pixels))
    if output is not None:
        _save(output, results[0])
    ported = list(zip(network.outputs, results, strict=True))
    if as_json:
        echo_json([answer_document(*port, r, names, top) for port, r in ported])
        return
    show = echo if output is None else echo_files
    for port, result in ported:
        show(answer_text(*port, result, names, top))


@contextmanager
def _executable(
    model: Path, target: str, threads: int | None, options: ModelOptions, use_reference: bool
) -> Iterator[Executable]:
    from ellc.execute import compiled, is_library, reference
    from ellc.progress import progress

    if use_reference and is_library(model):
        raise EllcError("--reference needs a model file, but this is a library", code="E706")
    if use_reference:
        yield reference(model, options)
        return
    with progress() as report, compiled(model, target, threads, options, report) as library:
        own = (threads or 0) if is_library(model) else 0
        yield Executable(library.network, lambda inputs: library.run(inputs, threads=own)[0])


def _save(path: Path, result: Array) -> None:
    with whole_file(path, needed_bytes=result.nbytes) as partial, partial.open("wb") as file:
        np.save(file, result)

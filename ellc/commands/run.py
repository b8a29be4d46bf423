"""`ellc run`: run a model on pictures or arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import click
import numpy as np

from ellc.commands.output import (
    echo,
    echo_files,
    echo_json,
    echo_note,
    echo_notes,
    json_option,
    table,
)
from ellc.commands.parameters import FILE_PATH, model_options, target_option, threads_option
from ellc.execute import Arrays, Executable, Network
from ellc.ir.errors import EllcError
from ellc.ir.files import whole_file
from ellc.ir.graph import INPUT_PREFIX, LABELS_KEY
from ellc.ir.printable import visible
from ellc.ir.types import Array, TensorType
from ellc.models import ModelOptions
from ellc.pictures.images import dequantise, load_input, load_labels, top_scores
from ellc.pictures.pixels import ORDER_KEY, PixelOptions, Preprocessing
from ellc.pictures.preprocessing import PREPROCESSING_KEY, has_preprocessing

_GUESS = {
    order: f"pixels go in as 0 to 255, {words}; --preprocess, --range and --color change that"
    for order, words in (("bgr", "blue first"), ("rgb", "red first"))
}


@click.command("run")
@click.argument("model", type=FILE_PATH)
@click.argument("inputs", type=FILE_PATH, nargs=-1, required=True)
@target_option
@threads_option
@click.option("--reference", is_flag=True, help="Compute with numpy, not with compiled code: slow.")
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
    """Run MODEL, or a compiled library, on INPUTS: a picture or .npy file for each of its inputs.

    A library needs its manifest NAME.json in the same folder. Code for a foreign target runs under
    qemu.

    Pictures are cropped and scaled to the model's shape. Order of colours, range, means and scales
    come from its metadata; without metadata, pixels are passed unchanged. For a model,
    preprocessing options are compiled in; for a library, they are applied to the picture before the
    call. Arrays are not preprocessed. Outputs that are lists of scores are shown by their highest
    elements, others by their shape and range.
    """
    _want_files(inputs)
    with _executable(model, target, threads, options, reference) as executable:
        network = executable.network
        echo_notes(network.metadata)
        names = _labels(network, labels)
        how = _preprocessing(model, network, options.pixels)
        if _is_guessed(network, how) and any(file.suffix.lower() != ".npy" for file in inputs):
            echo_note(f"the model does not say how pictures are prepared: {_GUESS[how.order]}")
        results = executable.call(_tensors(network, inputs, how))
    if output is not None:
        _save(output, results[0])
    ported = list(zip(network.outputs, results, strict=True))
    if as_json:
        echo_json([_document(*port, r, names, top) for port, r in ported])
        return
    show = echo if output is None else echo_files
    for port, result in ported:
        show(_text(*port, result, names, top))


def _is_guessed(network: Network, how: Preprocessing) -> bool:
    """Whether pixels become floats from 0 to 255 only because nothing describes preprocessing."""
    described = {key for key in network.metadata if key.startswith(INPUT_PREFIX)} - {ORDER_KEY}
    floats = any(type_.dtype.is_float for _, type_ in network.inputs)
    return floats and how.is_plain and not described and PREPROCESSING_KEY not in network.metadata


def _want_files(files: Sequence[Path]) -> None:
    """Report missing files before compiling, which may take a minute."""
    missing = [str(file) for file in files if not file.exists()]
    if len(missing) == 1:
        raise EllcError("no such file", code="E713", where=missing[0])
    if missing:
        problems = [f"{file}: no such file" for file in missing]
        raise EllcError(f"{len(missing)} inputs are missing", code="E713", problems=problems)


@contextmanager
def _executable(
    model: Path, target: str, threads: int | None, options: ModelOptions, use_reference: bool
) -> Iterator[Executable]:
    from ellc.execute import compiled, is_library, reference
    from ellc.progress import progress

    if use_reference and is_library(model):
        raise EllcError("--reference needs the model, and this is a library", code="E706")
    if use_reference:
        yield reference(model, options)
        return
    with progress() as report, compiled(model, target, threads, options, report) as library:
        own = (threads or 0) if is_library(model) else 0
        yield Executable(library.network, lambda inputs: library.run(inputs, threads=own)[0])


def _preprocessing(model: Path, network: Network, asked: PixelOptions) -> Preprocessing:
    """The preprocessing of a picture before the call."""
    from ellc.execute import is_library

    if not is_library(model) or not asked.is_given:
        # A model was compiled with its options, and the metadata describe what is left to do.
        return Preprocessing.from_metadata(network.metadata)
    if PREPROCESSING_KEY in network.metadata:
        raise has_preprocessing(str(model))
    return asked.over_metadata(network.metadata)


def _tensors(network: Network, files: Sequence[Path], preprocessing: Preprocessing) -> Arrays:
    """The input arrays. One error reports all files that do not fit."""
    if len(files) != len(network.inputs):
        wanted = ", ".join(name for name, _ in network.inputs)
        raise EllcError(
            f"{len(files)} input files, the model takes {len(network.inputs)}: {wanted}",
            code="E723",
        )
    tensors: list[Array] = []
    errors: list[EllcError] = []
    for file, (_, type_) in zip(files, network.inputs, strict=True):
        try:
            tensors.append(load_input(file, type_, preprocessing))
        except EllcError as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise EllcError(
            f"{len(errors)} inputs cannot be used",
            code="E724",
            problems=[f"{error.where}: {error.message}" for error in errors],
        )
    return tuple(tensors)


def _labels(network: Network, file: Path | None) -> tuple[str, ...]:
    if file is not None:
        return load_labels(file)
    return tuple(network.metadata.get(LABELS_KEY, "").splitlines())


def _is_list(result: Array) -> bool:
    """Whether a result looks like scores of classes: only one axis has more than one element."""
    return result.size > 1 and max(result.shape) == result.size and result.dtype.kind in "fiu"


def _text(name: str, type_: TensorType, result: Array, labels: Sequence[str], top: int) -> str:
    head = f"{visible(name)}: {type_.dtype.value} {'x'.join(map(str, type_.shape)) or 'scalar'}"
    result = dequantise(result, type_)
    if not _is_list(result):
        return f"{head}, {_extent_text(result)}"
    rows = [(s.index, f"{s.value:.6g}", s.label) for s in top_scores(result, labels, top)]
    return f"{head}\n{table(('class', 'score', 'label'), rows, 'rr')}"


def _extent_text(result: Array) -> str:
    if result.size == 0:
        return "empty"
    if result.size == 1:
        return f"value {result.reshape(-1)[0]:.9g}"
    values = result.astype(np.float64)
    return f"from {values.min():.6g} to {values.max():.6g}, mean {values.mean():.6g}"


def _document(
    name: str, type_: TensorType, result: Array, labels: Sequence[str], top: int
) -> dict[str, object]:
    document: dict[str, object] = {
        "name": name,
        "type": type_.dtype.value,
        "shape": list(type_.shape),
    }
    result = dequantise(result, type_)
    if _is_list(result):
        document["top"] = [asdict(score) for score in top_scores(result, labels, top)]
    elif result.size:
        values = result.astype(np.float64)
        document |= {"min": values.min(), "max": values.max(), "mean": values.mean()}
    return document


def _save(path: Path, result: Array) -> None:
    with whole_file(path, needed_bytes=result.nbytes) as partial, partial.open("wb") as file:
        np.save(file, result)

"""Reads the inputs of a call from files, and shows its outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ellc.commands.output import echo_note, table
from ellc.execute import Arrays, Network
from ellc.ir.errors import EllcError
from ellc.ir.graph import INPUT_PREFIX, class_labels
from ellc.ir.printable import visible
from ellc.ir.types import Array, TensorType
from ellc.pictures.images import dequantise, load_input, load_labels, top_scores
from ellc.pictures.pixels import ORDER_KEY, PixelOptions, Preprocessing
from ellc.pictures.preprocessing import PREPROCESSING_KEY, has_preprocessing

_COLOURS = 3
_ORDERS = {"bgr": "blue first", "rgb": "red first"}


def prepared_inputs(
    model: Path, network: Network, files: Sequence[Path], asked: PixelOptions
) -> Arrays:
    """Read the inputs of a call from pictures and `.npy` files, one file for each input.

    Prints a note if a picture is given for a network with float inputs, and neither the model nor
    the options describe how pictures become numbers. Raises `EllcError` if a file does not fit.
    """
    how = _preprocessing(model, network, asked)
    if _is_guessed(network, how) and any(file.suffix.lower() != ".npy" for file in files):
        echo_note(f"the model does not say how pictures are prepared: {_guess(network, how)}")
    return _input_arrays(network, files, how)


def _is_guessed(network: Network, how: Preprocessing) -> bool:
    """Whether pixels become floats from 0 to 255 only because nothing says how to convert them."""
    described = {key for key in network.metadata if key.startswith(INPUT_PREFIX)} - {ORDER_KEY}
    floats = any(type_.dtype.is_float for _, type_ in network.inputs)
    return floats and how.is_plain and not described and PREPROCESSING_KEY not in network.metadata


def _guess(network: Network, how: Preprocessing) -> str:
    shapes = [type_.shape for _, type_ in network.inputs if type_.rank >= 3]
    if any(_COLOURS in (shape[-1], shape[-3]) for shape in shapes):
        order, options = f", {_ORDERS[how.order]}", "--preprocess, --range and --color"
    else:
        order, options = "", "--preprocess and --range"
    return f"pixels are passed as 0 to 255{order}; {options} change that"


def want_files(files: Sequence[Path]) -> None:
    """Raise `EllcError` E713 for missing files before the compilation, which may take a minute."""
    missing = [str(file) for file in files if not file.exists()]
    if len(missing) == 1:
        raise EllcError("no such file", code="E713", where=missing[0])
    if missing:
        problems = [f"{file}: no such file" for file in missing]
        raise EllcError("input files are missing", code="E713", problems=problems)


def _preprocessing(model: Path, network: Network, asked: PixelOptions) -> Preprocessing:
    """The preprocessing that is applied to a picture before the call."""
    from ellc.execute import is_library

    if not is_library(model) or not asked.is_given:
        # Without options, the metadata say everything. Options for a model file have already been
        # compiled in; the metadata then say only what is left for the caller.
        return Preprocessing.from_metadata(network.metadata)
    if PREPROCESSING_KEY in network.metadata:
        raise has_preprocessing(str(model))
    return asked.over_metadata(network.metadata)


def _input_arrays(network: Network, files: Sequence[Path], preprocessing: Preprocessing) -> Arrays:
    """Read the input arrays; raises one `EllcError` that names all files that do not fit."""
    if len(files) != len(network.inputs):
        names = ", ".join(name for name, _ in network.inputs)
        raise EllcError(
            f"input files given: {len(files)}, but the model takes {len(network.inputs)}: {names}",
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
            "several inputs cannot be used",
            code="E724",
            problems=[f"{error.where}: {error.message}" for error in errors],
        )
    return tuple(tensors)


def class_names(network: Network, file: Path | None) -> tuple[str, ...]:
    """The names of the classes: from `file` if it is given, otherwise from the metadata."""
    if file is not None:
        return load_labels(file)
    return class_labels(network.metadata)


def _is_list(result: Array) -> bool:
    """Whether a result looks like scores of classes: only one axis has more than one element."""
    return result.size > 1 and max(result.shape) == result.size and result.dtype.kind in "fiu"


def answer_text(
    name: str, type_: TensorType, result: Array, labels: Sequence[str], top: int
) -> str:
    """Describe an output for people: its `top` best classes, or its range if it has no scores."""
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


def answer_document(
    name: str, type_: TensorType, result: Array, labels: Sequence[str], top: int
) -> dict[str, object]:
    """Describe an output for scripts: the facts of `answer_text` as a JSON document."""
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

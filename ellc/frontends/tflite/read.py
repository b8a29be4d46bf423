"""Reads a TensorFlow Lite file as a graph, or only the declarations of its inputs and outputs."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Sequence
from pathlib import Path

from ellc.frontends.budget import Budget
from ellc.frontends.graph_import.fixed import fixed_input
from ellc.frontends.graph_import.handlers import import_nodes, needed_nodes
from ellc.frontends.graph_import.values import Emitter, Value
from ellc.frontends.options import ImportOptions
from ellc.frontends.tflite.checks import STATEFUL, checked_operators, is_packed_signs
from ellc.frontends.tflite.dilation import merge_dilations
from ellc.frontends.tflite.inner import constants
from ellc.frontends.tflite.labels import appended_labels
from ellc.frontends.tflite.model import TfliteModel, TfliteNode, TflitePort
from ellc.frontends.tflite.resources import keep_variables, variable_values, without_handles
from ellc.frontends.tflite.spectra import without_complex
from ellc.ir.errors import EllcError
from ellc.ir.file_interface import FileInterface, FilePort
from ellc.ir.graph import LABELS_KEY, Graph
from ellc.ir.installing import extra_hint
from ellc.ir.reading import read_file
from ellc.ir.types import TensorType

_DEFAULT = ImportOptions()
_MOST_SHOWN = 5


def read_tflite(source: Path, options: ImportOptions = _DEFAULT) -> Graph:
    """Read a `.tflite` file as a graph.

    Inputs and outputs have the shapes and element types of the file. Their names come from the
    signature, or from the tensors if there is no signature. If the file has several signatures,
    only one graph is read. Class names appended to the file become the metadata `labels`. If the
    first input is float32, means and deviations of pictures become metadata under ELL's keys.
    Raises only `EllcError`: E203 if the model exceeds the limits, E210 if the file is unreadable or
    damaged, E211 if a package is missing, E212 if operators are not supported (the message lists
    them all), E213 if a shape is open, E214 if a name is unknown, E215 if the fixed values of
    an input do not fit.
    """
    data = read_file(source, options.limits, code="E210")
    model = _model(source, data, options)
    try:
        return _graph(source.stem, model, appended_labels(data), options)
    except EllcError as error:
        error.where = error.where or str(source)
        raise


def read_interface(source: Path, options: ImportOptions = _DEFAULT) -> FileInterface:
    """Read the declarations of a file's ports. Raises `EllcError` like `read_tflite`."""
    data = read_file(source, options.limits, code="E210")
    model = _model(source, data, options)
    numbers = {tensor.name: index for index, tensor in enumerate(model.tensors)}

    def port(known: TflitePort) -> FilePort:
        tensor = known.tensor
        declared = [None if i in tensor.open_axes else e for i, e in enumerate(tensor.shape)]
        is_half = tensor.kind == "FLOAT16"
        return FilePort(known.name, tensor.name, numbers[tensor.name], tuple(declared), is_half)

    return FileInterface(
        "litert",
        hashlib.sha256(data).hexdigest(),
        tuple(map(port, model.inputs)),
        tuple(map(port, model.outputs)),
        model.signature or "",
    )


def _model(source: Path, data: bytes, options: ImportOptions) -> TfliteModel:
    try:
        from ellc.frontends.tflite.container import read_container
        from ellc.frontends.tflite.tables import Damaged
    except ImportError as error:
        raise EllcError(
            f"TensorFlow Lite files need the Python package '{error.name}'",
            code="E211",
            where=str(source),
            hint=extra_hint("tflite", "tflite", "flatbuffers"),
        ) from None
    try:
        return read_container(data, options.limits, options.signature)
    except KeyError as error:
        raise _unknown(options.signature, error.args, "signature", str(source)) from None
    except Damaged as error:
        raise EllcError(
            f"is damaged, or not a TensorFlow Lite model: {error}",
            code="E210",
            where=str(source),
            hint="download or export the file again",
        ) from None


def _graph(name: str, model: TfliteModel, labels: str, options: ImportOptions) -> Graph:
    emitter = Emitter(name, Budget(options.limits))
    if not options.signature and len(model.signatures) > 1:
        emitter.note(_several(model))
    outputs = _wanted(model, options.outputs)
    values = constants(emitter, model.tensors) | _inputs(emitter, model, options)
    nodes, variables, unread = without_handles(model.nodes, [o.tensor.name for o in outputs])
    values |= variable_values(emitter, variables)
    wanted = [t.name for t in (*(o.tensor for o in outputs), *(v.after for v in variables)) if t]
    nodes = without_complex(merge_dilations(nodes, wanted))
    nodes = needed_nodes(nodes, [*wanted, *_results_of_stateful(nodes, wanted)])
    known = import_nodes(emitter, checked_operators(), nodes, values, "", unread)
    keep_variables(emitter, variables, known)
    for output in outputs:
        value = emitter.after_call(output.tensor.name) or known.get(output.tensor.name)
        if value is None:
            raise EllcError(f"no operator makes the output '{output.name}'", code="E210")
        if is_packed_signs(output.tensor, value):
            raise EllcError(
                f"the output '{output.name}' packs 32 signs in a word",
                code="E212",
                hint="choose the operator after it, or another value, with --outputs",
            )
        quant = output.tensor.quant if value.dtype.is_integer else None
        emitter.output(output.name, value, quant)
    if model.inputs and model.inputs[0].tensor.kind == "FLOAT32":
        # An 8-bit input takes the pixels as they are, because its scale and zero point do what
        # this metadata describes.
        emitter.metadata(dict(model.metadata))
    if labels:
        emitter.metadata({LABELS_KEY: labels})
    return emitter.build()


def _results_of_stateful(nodes: Sequence[TfliteNode], wanted: Sequence[str]) -> list[str]:
    """The first results of the operators that have a variable tensor in `wanted`."""
    variables = set(wanted)
    return [
        node.outputs[0]
        for node in nodes
        if node.kind in STATEFUL and node.outputs and variables.intersection(node.inputs)
    ]


def _inputs(emitter: Emitter, model: TfliteModel, options: ImportOptions) -> dict[str, Value]:
    shapes, fixed = options.shapes, options.fixed
    names = [port.name for port in model.inputs] + [port.tensor.name for port in model.inputs]
    for name in (*shapes, *fixed):
        if name not in names:
            raise _unknown(name, names, "input")
    values = {}
    for port in model.inputs:
        given = shapes.get(port.name, shapes.get(port.tensor.name))
        type_ = TensorType(port.tensor.dtype, _shape(port, given), quant=port.tensor.quant)
        numbers = fixed.get(port.name, fixed.get(port.tensor.name))
        values[port.tensor.name] = (
            emitter.input(port.name, type_)
            if numbers is None
            else fixed_input(emitter, port.name, type_, numbers)
        )
    return values


def _shape(port: TflitePort, given: Sequence[int] | None) -> tuple[int, ...]:
    declared = port.tensor.shape
    if given is not None:
        return tuple(given)
    # The converter writes 1 for an open extent. 1 is a good default only for the batch size.
    open_axes = [axis for axis in port.tensor.open_axes if axis and declared[axis] <= 1]
    if open_axes:
        shown = ",".join("?" if axis in open_axes else str(e) for axis, e in enumerate(declared))
        raise EllcError(
            f"the shape of the input '{port.name}' is open: {shown}",
            code="E213",
            hint=f"--shape {port.name}={shown} with numbers for the question marks",
        )
    return tuple(
        max(1, e) if axis in port.tensor.open_axes else e for axis, e in enumerate(declared)
    )


def _wanted(model: TfliteModel, names: Sequence[str]) -> list[TflitePort]:
    """The outputs with these public names or tensor names; by default the file's own outputs."""
    if not names:
        return list(model.outputs)
    public = {port.name: port.tensor for port in model.outputs}
    tensors = {tensor.name: tensor for tensor in model.tensors} | public
    for name in names:
        if name not in tensors:
            computed = [t.name for node in model.nodes for t in node.results]
            raise _unknown(name, [*public, *computed], "value")
    return [TflitePort(name, tensors[name]) for name in names]


def _several(model: TfliteModel) -> str:
    """A note that names the signature that is read and the first few of the others."""
    chosen = "its first graph" if model.signature is None else f"'{model.signature}'"
    others = [name for name in model.signatures if name != model.signature]
    shown = ", ".join(f"'{name}'" for name in others[:_MOST_SHOWN])
    more = ", ..." if len(others) > _MOST_SHOWN else ""
    return f"the file has several signatures: {chosen} is read; --signature reads {shown}{more}"


def _unknown(name: str, names: Sequence[str], what: str, where: str = "") -> EllcError:
    close = difflib.get_close_matches(name, names, 3, 0.5) or list(dict.fromkeys(names))[:5]
    return EllcError(
        f"has no {what} called '{name}'",
        code="E214",
        where=where,
        hint=f"similar names: {', '.join(close)}" if close else "",
    )

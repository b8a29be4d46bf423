"""`ellc inspect`: show the costs of a network, layer by layer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ellc.commands.output import (
    bytes_text,
    echo,
    echo_json,
    echo_notes,
    json_option,
    shortened,
    table,
)
from ellc.commands.parameters import FILE_PATH, model_options
from ellc.inspect import Layer, NetworkReport, PortFacts
from ellc.ir.printable import visible

if TYPE_CHECKING:
    from ellc.ir.graph import Graph
    from ellc.ir.types import Quant
    from ellc.models import ModelOptions


@click.command("inspect")
@click.argument("model", type=FILE_PATH)
@model_options
@json_option
def command(model: Path, options: ModelOptions, as_json: bool) -> None:
    """Show a model's layers: shapes, parameters, arithmetic, memory, receptive field.

    MACs are multiply-adds (sign products in binary layers). "live" is the memory of all values that
    are needed while the layer runs, without parameters; the largest "live" is a lower bound for the
    arena if layers run one by one. "sees" is the size of the part of the input on which one output
    pixel depends. "step" is the distance, in input pixels, between these parts for neighbouring
    output pixels. Networks from ONNX and TFLite are shown without the transposes and shape
    arithmetic that their formats need. "scale" and "zero" describe quantised results: the real
    value is scale * (stored - zero).
    """
    from ellc.importing import tidied
    from ellc.models import format_of, read_model

    graph = read_model(model, options)
    if format_of(model).is_exported:
        graph = tidied(graph)
    show(graph, as_json=as_json)


def show(graph: Graph, *, as_json: bool) -> None:
    """Print the costs of a network, as text or as JSON."""
    from ellc.inspect import inspect

    echo_notes(graph.metadata)
    report = inspect(graph)
    if as_json:
        echo_json(report.document())
    else:
        echo(text(report))


def text(report: NetworkReport) -> str:
    """The report as text."""
    lines = [visible(report.name)]
    lines += [f"  input  {_port(port)}" for port in report.inputs]
    lines += [f"  output {_port(port)}" for port in report.outputs]
    lines += [f"  {visible(line)}" for line in report.about]
    header = ["#", "layer", "operator", "output", "parameters", "MACs", "live", "sees", "step"]
    rows = [list(_row(layer)) for layer in report.layers]
    if any(layer.quantisation for layer in report.layers):
        header += ["scale", "zero"]
        rows = [[*r, *_steps(x.quantisation)] for r, x in zip(rows, report.layers, strict=True)]
    totals = [
        f"parameters {report.parameters:,} ({bytes_text(report.parameter_bytes)})",
        f"MACs {report.macs:,}",
        f"largest live memory {bytes_text(report.peak_live_bytes)}",
    ]
    if report.state_bytes:
        totals.append(f"state {bytes_text(report.state_bytes)}")
    return "\n".join([*lines, "", table(header, rows, "r   rrrrrrr"), "", ", ".join(totals)])


def _port(port: PortFacts) -> str:
    text = f"{visible(port.name)}: {port.type} {_shape(port.shape)}"
    if port.quantisation is None:
        return text
    scale, zero = _steps(port.quantisation)
    return f"{text}, scale {scale}, zero point {zero}"


def _steps(quant: Quant | None) -> tuple[str, str]:
    """Scale and zero point as text; several scales or zero points are shown as a range."""
    if quant is None:
        return "", ""
    scale = _range([f"{x:.6g}" for x in (min(quant.scale), max(quant.scale))])
    return scale, _range([str(z) for z in (min(quant.zero_point), max(quant.zero_point))])


def _range(ends: list[str]) -> str:
    return "..".join(dict.fromkeys(ends))


def _row(layer: Layer) -> tuple[str, ...]:
    return (
        str(layer.index),
        shortened(layer.name),
        layer.operator,
        f"{_shape(layer.output_shape)} {layer.output_type}",
        f"{layer.parameters:,}" if layer.parameters else "",
        f"{layer.macs:,}" if layer.macs else "",
        bytes_text(layer.live_bytes),
        "all" if layer.field is None else _shape(layer.field),
        "" if layer.field_stride is None else _shape(layer.field_stride),
    )


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"

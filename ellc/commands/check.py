"""`ellc check`: compare the compiled code with the reference."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ellc.commands.output import (
    echo,
    echo_json,
    echo_note,
    echo_notes,
    json_option,
    shortened,
    table,
)
from ellc.commands.parameters import (
    FILE_PATH,
    max_ram_option,
    model_options,
    target_option,
    threads_option,
)
from ellc.ir.printable import visible

if TYPE_CHECKING:
    from ellc.check.checking import Checked, CheckReport
    from ellc.models import ModelOptions

EXIT_DIFFERENT = 1


@click.command("check")
@click.argument("model", type=FILE_PATH)
@target_option
@click.option("--layers", is_flag=True, help="Compare every kernel, not only the outputs.")
@click.option(
    "--seeds",
    default=3,
    show_default=True,
    type=click.IntRange(1),
    help="Number of random inputs to try.",
)
@threads_option
@max_ram_option
@model_options
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    model: Path,
    target: str,
    layers: bool,
    seeds: int,
    threads: int | None,
    max_ram: int | None,
    options: ModelOptions,
    as_json: bool,
) -> None:
    """Compare the compiled code of MODEL with the reference.

    Code for a foreign target runs in qemu. Integers and bits must be equal. Floats may differ by
    1e-4 * max(|b|, 1e-2 * max|tensor|), where b is the value of the reference. A larger difference
    is allowed, up to 1e-2 * max|tensor|, if rounding alone can cause it. How far rounding moves a
    value is measured with 8 runs of the reference. In a recurrence (a loop, a recurrent cell, a
    state that depends on itself), each run moves every value at random within the error bound of
    its operator, and the largest movement counts. Elsewhere, each run computes in float32 and moves
    each value at random by at most the distance to a neighbouring float, and 8 times the largest
    movement counts. The report shows where this rule was needed.

    A convolution computed by Winograd's F(4x4), or by F(2x2) with windows of 5x5, may differ by
    2e-5 * max|tensor|, and an output that depends on one by 1e-4 * max|tensor|. The report lists
    such layers; --exact and --no-winograd avoid them.

    With --layers, a second build of the same kernels records every intermediate result. Each kernel
    is compared with the reference on the operands that the compiled code had. The first kernel that
    differs is named, with the layers of the model that it computes.

    Step functions are the sign of a float and rounding a float to an integer. Their results may
    differ if the float is closer to a step than the error bound of its sum (terms * 2^-24 * sum of
    |terms|); the report counts such differences. If a network with step functions has outputs that
    differ, its layers are compared even without --layers, and its outputs are compared with a
    reference that takes signs and rounded integers from the compiled code.

    The exit code is 1 if something differs.
    """
    from ellc.check.checking import CheckOptions, check
    from ellc.codegen.machine.resolve import resolve
    from ellc.models import read_model
    from ellc.progress import progress

    graph = read_model(model, options)
    echo_notes(graph.metadata)
    with progress(quiet=as_json) as report:
        result = check(
            graph, resolve(target), CheckOptions(seeds, layers, threads, max_ram), report
        )
    for note in result.notes:
        echo_note(note)
    if as_json:
        echo_json(document(result))
    else:
        echo(text(result))
    if not result.agrees:
        ctx.exit(EXIT_DIFFERENT)


def document(report: CheckReport) -> dict[str, object]:
    """The report as plain data for JSON."""
    from ellc.check.checking import documents

    first = report.first_difference
    return {
        "name": report.name,
        "target": report.target,
        "seeds": report.seeds,
        "agrees": report.agrees,
        "same_bytes_as_shipped": report.same_bytes,
        "steady": report.steady,
        "undecided_signs": report.undecided,
        "undecided_signs_in_kernels": report.undecided_in_kernels,
        "transformed": [asdict(layer) for layer in report.transformed],
        "rounding_grew": [c.name for c in report.grown],
        "weights_change": asdict(report.weights) if report.weights else None,
        "first_difference": None if first is None else first.name,
        "outputs": list(documents(report.outputs)),
        "layers": list(documents(report.layers)),
        "guided": list(documents(report.guided)),
    }


def text(report: CheckReport) -> str:
    """The report as text."""
    from ellc.check.transformed import lines as transformed_lines

    lines = []
    header = ("kernel", "layers of the model", "result", "wrong", "undecided", "error/allowed")
    if report.layers:
        shown = [c for c in report.layers if not (c.is_view and c.agrees)]
        lines += [table(header, [_row(c) for c in shown], "   rrr"), ""]
    lines += [table(("output", *header[1:]), [_row(c) for c in report.outputs], "   rrr"), ""]
    if report.same_bytes is not None:
        same = "the same bytes as" if report.same_bytes else "OTHER BYTES THAN"
        lines.append(f"the build that records results gives {same} the shipped one")
    if not report.steady:
        lines.append("repeated calls give OTHER BYTES: results depend on what memory held before")
    lines += transformed_lines(report.transformed)
    lines += _guided(report)
    lines += [_grown(c) for c in report.grown]
    lines += [] if report.weights is None else [str(report.weights)]
    seeds = "1 input" if report.seeds == 1 else f"{report.seeds} inputs"
    if report.agrees:
        return "\n".join([*lines, f"{visible(report.name)} on {report.target}: agrees on {seeds}"])
    lines.append(f"{visible(report.name)} on {report.target}: DIFFERS")
    if report.first_difference is not None:
        lines += _difference(report.first_difference)
    return "\n".join(lines)


def _guided(report: CheckReport) -> list[str]:
    """Lines about a reference that takes the results of step functions from the compiled code."""
    if not report.guided:
        return []
    steps = [c for c in report.guided if c.operator == "step"]
    outputs = [c for c in report.guided if c.operator == "output"]
    agree = "agree" if all(c.agrees for c in outputs) else "DIFFER"
    if all(c.agrees for c in steps):
        count = sum(c.agreement.elements for c in steps)
        summary = (
            f"{report.undecided_in_kernels:,} of {count:,} differ within a kernel, "
            f"{report.undecided:,} over the whole network, all within the bound of rounding"
        )
    else:
        summary = f"{sum(c.agreement.wrong for c in report.guided):,} differ too much"
    return [
        f"signs and other steps of floats: {summary}",
        f"with the steps of the compiled code the outputs {agree}"
        f" (error/allowed {max((c.agreement.worst for c in outputs), default=0.0):.3f})",
    ]


def _grown(c: Checked) -> str:
    """A line about a result that agrees only because measured rounding explains its error."""
    a = c.agreement
    return (
        f"{visible(c.name)}: {a.grown:,} of {a.elements:,} elements exceed the tolerance by up to "
        f"{a.growth:.1f} times, but by no more than rounding alone moves them"
    )


def _difference(first: Checked) -> list[str]:
    layers = f", layers {visible(', '.join(first.source))}" if first.source else ""
    a = first.agreement
    lost = [
        f"  rounding alone moves {a.unbounded:,} of them as far, which is more than 1e-2 of the "
        "largest: float32 does not determine the result"
    ]
    return [
        f"  first difference: {visible(first.name)} ({first.operator}{layers})",
        f"  {a.wrong:,} of {a.elements:,} elements, in seed {first.seed} {a.first}",
        *(lost if a.unbounded else ()),
    ]


def _row(c: Checked) -> tuple[str, ...]:
    a = c.agreement
    return (
        shortened(c.name),
        f"{shortened(c.source[0])} +{len(c.source) - 1}"
        if len(c.source) > 1
        else shortened(", ".join(c.source)),
        c.type,
        f"{a.wrong:,} of {a.elements:,}" if a.wrong else "0",
        str(a.undecided) if a.undecided else "",
        f"{a.worst:.3f}" if c.type.endswith(("f16", "f32", "f64")) else "",
    )

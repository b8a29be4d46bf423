"""`ellc quantize`: turn a float network into one with integers of 8 bits."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ellc.commands.data_parameters import data_options
from ellc.commands.output import echo_files, echo_json, echo_notes, json_option
from ellc.commands.parameters import FILE_PATH, decorated, model_options
from ellc.ir.errors import EllcError


class Percent(click.ParamType["float"]):
    """The type of a percentage from 0 to 100, with or without `%`; the value is a fraction."""

    name = "percent"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            number = float(str(value).removesuffix("%"))
        except ValueError:
            number = -1.0
        if not 0 <= number <= 100:
            self.fail(f"{value!r} is not a percentage from 0% to 100%, such as 1%", param, ctx)
        return number / 100


if TYPE_CHECKING:
    from ellc.commands.data_parameters import DataChoice
    from ellc.models import ModelOptions
    from ellc.quantise.quantising import Method


_METHOD_OPTIONS = (
    click.option(
        "--calibration",
        type=click.Choice(["auto", "min-max", "percentile", "mse", "entropy"]),
        default="auto",
        show_default=True,
        help="How to choose the range of each value: all numbers, without the outermost 0.01 %, "
        "with the smallest mean square error, with the least loss of information; auto: for each "
        "value the way that damages the last layers least.",
    ),
    click.option(
        "--bias-correction/--no-bias-correction",
        default=True,
        show_default=True,
        help="Let biases make up for what rounding the weights adds to the means of results.",
    ),
    click.option(
        "--rounding",
        type=click.Choice(["nearest", "adaptive"]),
        default="nearest",
        show_default=True,
        help="adaptive: round each weight up or down, so that the results of its layer change "
        "least on the samples.",
    ),
    click.option(
        "--equalize",
        is_flag=True,
        help="First give the channels between two layers similar ranges; the float network stays "
        "the same. For networks whose channels differ much.",
    ),
)


def _method_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator that adds options for scales and biases, passed as `method: Method`."""

    @wraps(command)
    def call(*args: Any, **values: Any) -> Any:
        from ellc.quantise.quantising import Method

        method = Method(
            values.pop("calibration"),
            values.pop("bias_correction"),
            values.pop("equalize"),
            values.pop("rounding") == "adaptive",
        )
        return command(*args, method=method, **values)

    return decorated(call, _METHOD_OPTIONS)


@click.command("quantize")
@click.argument("model", type=FILE_PATH)
@data_options
@click.option(
    "-o",
    "--output",
    type=FILE_PATH,
    help="File to write: FILE.eir, FILE.onnx with QuantizeLinear and DequantizeLinear, or "
    "FILE.tflite if the network has only operators of TensorFlow Lite; default: "
    "the model's name with _int8.eir, in this folder.",
)
@click.option(
    "--samples",
    type=click.IntRange(1),
    default=128,
    show_default=True,
    metavar="N",
    help="Number of samples for calibration, at equal distances in the data.",
)
@_method_options
@click.option(
    "-t",
    "--target",
    metavar="TARGET",
    help="Let layers stay float that are predicted to be slower with 8 bits on this target.",
)
@click.option(
    "--max-drop",
    type=Percent(),
    metavar="PERCENT",
    help="Let the layers that add most noise stay float until the top-1 accuracy drops by at most "
    "this much, such as 1%.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1),
    metavar="N",
    help="Number of processes that measure accuracy; default: one for each core.",
)
@click.option(
    "--html",
    type=FILE_PATH,
    metavar="FILE",
    help="Also write an HTML page with histograms of all layers.",
)
@model_options
@json_option
def command(
    model: Path,
    chosen: DataChoice,
    output: Path | None,
    samples: int,
    method: Method,
    target: str | None,
    max_drop: float | None,
    jobs: int | None,
    html: Path | None,
    options: ModelOptions,
    as_json: bool,
) -> None:
    """Turn the float network MODEL into one with integers of 8 bits.

    Convolutions, dense layers and what is between them compute with stored integers, with a scale
    for each filter. All other layers stay float, and so do the inputs and outputs. An .eir file
    holds any network; an .onnx or .tflite file is also for other runtimes. Scales are chosen with
    samples of the data. Pictures are prepared as in `ellc run`; options such as --preprocess are
    not stored in the file.

    The report has the range of each layer, the ratio of signal to noise, and how many numbers are
    outside the range; if the data have classes, also the accuracy before and after.
    """
    from ellc.codegen.machine.resolve import resolve
    from ellc.models import default_name
    from ellc.progress import progress
    from ellc.quantise.page import write_page
    from ellc.quantise.report import document, text
    from ellc.quantise.running import Request, run
    from ellc.quantise.writing import check_output

    _check(options, html)
    file = output or Path(f"{default_name(model)}_int8.eir")
    check_output(file, model)
    data = chosen.open(labelled=False)
    request = Request(
        model,
        file,
        options,
        data,
        chosen.path.name,
        chosen.indices(data),
        chosen.crop,
        int(chosen.background),
        samples,
        method,
        resolve(target) if target is not None else None,
        max_drop,
        jobs,
    )
    with progress(quiet=as_json) as report:
        outcome = run(request, report)
    if html is not None:
        write_page(outcome, html)
    echo_notes(outcome.quantised.before.metadata)
    if as_json:
        echo_json(document(outcome))
    else:
        echo_files(text(outcome))


def _check(options: ModelOptions, html: Path | None) -> None:
    """Refuse options that have no effect, and a page that cannot be written."""
    if options.weights or options.fp16 or options.sums:
        raise click.UsageError(
            "--weights, --fp16, --exact and --no-winograd change the code of float layers: give "
            "them to `ellc compile`"
        )
    if html is not None and not html.parent.is_dir():
        raise EllcError("the folder does not exist", code="E703", where=str(html.parent))

"""Options that several commands share."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from ellc.codegen.machine.resolve import Overrides
    from ellc.models import ModelOptions

_LONGEST_SIDE = 16384
Command = TypeVar("Command", bound=Callable[..., Any])
Option = Callable[[Callable[..., Any]], Callable[..., Any]]
Named = tuple[tuple[str, Any], ...]


class _FilePath(click.Path):
    """A file or folder as a `Path`.

    It refuses an empty text, which `Path` takes for `.`, and a path that the system cannot follow
    (too long, a loop of links, a folder that may not be read), for which `Path.exists` would raise
    `OSError`.
    """

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not os.fspath(value):
            self.fail("'' names no file or folder", param, ctx)
        try:
            os.stat(value)
        except (FileNotFoundError, NotADirectoryError):
            pass  # the command reports that it is missing, or creates it
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            self.fail(f"{os.fspath(value)!r}: {reason}", param, ctx)
        return super().convert(value, param, ctx)


FILE_PATH = _FilePath(path_type=Path)
"""The type of every option and argument that names a file or a folder."""


def _complete_target(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    from ellc.codegen.machine.resolve import target_names

    return [name for name in target_names() if name.startswith(incomplete)]


# Not a `Choice`: `resolve` reports a wrong name and suggests similar ones.
target_option = click.option(
    "-t",
    "--target",
    default="host",
    show_default=True,
    metavar="TARGET",
    shell_complete=_complete_target,
    help="Machine for which to compile; `ellc targets` lists them.",
)

_OVERRIDES_OPTIONS = (
    click.option(
        "--triple", help="LLVM triple, for --target custom or in place of the target's own."
    ),
    click.option("--cpu", help="LLVM's name of the CPU, in place of the target's own."),
    click.option("--features", help="LLVM features such as +dotprod,-neon, for --cpu."),
)

threads_option = click.option(
    "--threads", type=click.IntRange(1, 32), help="Threads of a call; default: the target's cores."
)


ssh_option = click.option(
    "--ssh",
    "host",
    metavar="[USER@]HOST",
    help="The Linux board, named as for `ssh`; `ssh HOST` must work without a password.",
)

ssh_command_option = click.option(
    "--ssh-command",
    type=lambda text: command_words(text),
    default="ssh",
    show_default=True,
    metavar="COMMAND",
    help="Your own ssh client, or ssh with options, such as 'ssh -p 2222 -i key'.",
)

board_target_option = click.option(
    "-t",
    "--target",
    metavar="TARGET",
    shell_complete=_complete_target,
    help="Target of the board; default: the one that fits its CPU and system.",
)


def overrides_options(command: Command) -> Callable[..., Any]:
    """Decorator: options that change a target, passed to the command as `overrides: Overrides`."""

    @wraps(command)
    def call(*args: Any, **values: Any) -> Any:
        return command(*args, overrides=_overrides(values), **values)

    return _decorated(call, _OVERRIDES_OPTIONS)


def _overrides(values: dict[str, Any]) -> Overrides:
    """Pop the values of `_OVERRIDES_OPTIONS` from a command's values."""
    from ellc.codegen.machine.resolve import Overrides

    return Overrides(
        triple=values.pop("triple"), cpu=values.pop("cpu"), llvm_features=values.pop("features")
    )


def _decorated(call: Callable[..., Any], options: Sequence[Option]) -> Callable[..., Any]:
    """The command with these options, which `--help` lists in this order."""
    for option in reversed(options):
        call = option(call)
    return call


def command_words(text: str) -> tuple[str, ...]:
    """The words of a program with options, quoted as for a shell; empty for an empty text."""
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:  # an unclosed quotation or escape
        raise click.BadParameter(f"{text!r} is not a command: {error}") from None
    if text and not (words and words[0]):
        raise click.BadParameter(f"{text!r} names no program")
    return words


def _kernel_request(text: str) -> tuple[str, str]:
    """(layer, kernel) from `LAYER=KERNEL`."""
    layer, _, kernel = text.rpartition("=")  # names of layers may hold a =
    if not layer or not kernel:
        raise click.BadParameter(f"{text!r} is not a layer and a kernel, such as conv1=gemm")
    return layer, kernel


kernels_option = click.option(
    "--kernel",
    "kernels",
    type=_kernel_request,
    metavar="LAYER=KERNEL",
    multiple=True,
    help="Use this kernel for a layer instead of the one that is predicted to be fastest; "
    "`ellc explain MODEL --level plan` lists candidates. May be repeated.",
)

tuning_option = click.option(
    "--tuning",
    type=FILE_PATH,
    metavar="FILE",
    help="Use the kernels that `ellc tune` measured to be fastest.",
)


def _numbers(text: str) -> tuple[float, ...]:
    """Numbers separated by commas; fractions such as 1/255 are allowed."""
    try:
        numbers = tuple(map(_number, text.split(",")))
    except (ValueError, ZeroDivisionError):
        raise click.BadParameter(f"{text!r} contains something that is not a number") from None
    return numbers


def _number(text: str) -> float:
    above, _, below = text.partition("/")
    value = float(above) / (float(below) if below else 1.0)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _pair(text: str) -> tuple[float, ...]:
    numbers = _numbers(text)
    if len(numbers) != 2:
        raise click.BadParameter(f"{text!r} is not two numbers, such as 0,1")
    return numbers


def _per_colour(text: str) -> tuple[float, ...]:
    """Three numbers, or one number for all three colours."""
    numbers = _numbers(text)
    if len(numbers) not in (1, 3):
        raise click.BadParameter(f"{text!r} is neither one number nor three, for red, green, blue")
    return numbers if len(numbers) == 3 else numbers * 3


def _is_number(text: str) -> bool:
    """Whether a text is a whole number in the digits 0 to 9; Unicode has others."""
    return text.isascii() and text.isdecimal()


def _size(text: str) -> tuple[int, int]:
    rows, _, columns = text.partition("x")
    numbers = _is_number(rows) and _is_number(columns)
    if not numbers or not all(0 < int(n) <= _LONGEST_SIDE for n in (rows, columns)):
        raise click.BadParameter(
            f"{text!r} is not rows and columns up to {_LONGEST_SIDE}, such as 480x640"
        )
    return int(rows), int(columns)


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    name, _, shown = text.rpartition("=")  # names may hold a =
    extents = shown.split(",") if shown else []
    if not name or not all(_is_number(e) and int(e) for e in extents):
        raise click.BadParameter(f"{text!r} is not a name and extents, such as data=1,3,224,224")
    return name, tuple(map(int, extents))


def _setting(text: str) -> tuple[str, tuple[float, ...]]:
    name, _, shown = text.rpartition("=")  # names may hold a =
    if not name:
        raise click.BadParameter(f"{text!r} is not a name and numbers, such as rate=16000")
    flags = {"true": "1", "false": "0"}
    return name, _numbers(flags.get(shown.lower(), shown))


def _once_each(_ctx: click.Context, _param: click.Parameter, pairs: Named) -> Named:
    """The pairs, after a check that no input is named twice."""
    names = [name for name, _ in pairs]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        shown = ", ".join(f"'{name}'" for name in repeated)
        raise click.BadParameter(f"given more than once for {shown}; give it once for each input")
    return pairs


def _name(text: str) -> str:
    if not text.strip():
        raise click.BadParameter("the name is empty")
    return text


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise click.BadParameter(f"{text!r} has an empty name")
    return names


_COLOURS = click.Choice(["rgb", "bgr"])

_MODEL_OPTIONS = (
    click.option(
        "--shape",
        "shapes",
        type=_shape,
        callback=_once_each,
        metavar="INPUT=N,N,...",
        multiple=True,
        help="Shape of an ONNX or TFLite input that the file leaves open. May be repeated.",
    ),
    click.option(
        "--set",
        "fixed",
        type=_setting,
        callback=_once_each,
        metavar="INPUT=VALUE[,...]",
        multiple=True,
        help="Make an input of an ONNX or TFLite file a constant, such as a sample rate or a flag: "
        "one number for all its elements, or one for each. May be repeated.",
    ),
    click.option(
        "--outputs",
        type=_names,
        metavar="NAME,...",
        help="Compile only the part of the network that computes these values, which become the "
        "outputs (for .ell: ports such as 1003.output).",
    ),
    click.option(
        "--signature",
        type=_name,
        metavar="NAME",
        help="The signature to compile, if a TFLite file has several; default: that of its first "
        "graph.",
    ),
    click.option(
        "--layout",
        type=click.Choice(["file", "nhwc"]),
        default="file",
        show_default=True,
        help="nhwc: inputs and outputs are NHWC pictures, even if those of the file are NCHW.",
    ),
    click.option(
        "--double-is",
        type=click.Choice(["float", "double"]),
        default="float",
        show_default=True,
        help="The precision in which to compute values that an .ell model declares as double.",
    ),
    click.option(
        "--stepwise",
        is_flag=True,
        help="One call computes one step of the sequence of recurrent layers; their state is kept "
        "until a reset.",
    ),
    click.option(
        "--pixels",
        type=_COLOURS,
        help="Take uint8 pixels with colours in this order, and preprocess them for the model.",
    ),
    click.option(
        "--preprocess",
        type=click.Choice(["imagenet-torch", "imagenet-tf", "imagenet-caffe", "unit", "raw"]),
        help="Set --color, --range, --mean and --scale as in torchvision (imagenet-torch), as in "
        "the modes tf and caffe of Keras, or for values from 0 to 1 (unit) or 0 to 255 (raw). "
        "Options that are also given override these values.",
    ),
    click.option("--color", type=_COLOURS, help="Order of colours that the model was trained on."),
    click.option(
        "--range",
        "span",
        type=_pair,
        metavar="LOW,HIGH",
        help="The values of black and white before --mean; default: 0,255.",
    ),
    click.option(
        "--mean",
        type=_per_colour,
        metavar="M[,M,M]",
        help="Subtracted from red, green and blue; one number applies to all.",
    ),
    click.option(
        "--scale",
        type=_per_colour,
        metavar="S[,S,S]",
        help="Multiplied after --mean, such as 1/127.5.",
    ),
    click.option(
        "--resize",
        type=_size,
        metavar="ROWSxCOLUMNS",
        help="Size of the pictures that a call takes; it scales them to the model's (bilinear).",
    ),
)


def model_options(command: Command) -> Callable[..., Any]:
    """Decorator: options of reading a model, passed to the command as `options: ModelOptions`."""

    @wraps(command)
    def call(*args: Any, **values: Any) -> Any:
        options = _options(values)
        return command(*args, options=options, **values)

    return _decorated(call, _MODEL_OPTIONS)


def _options(values: dict[str, Any]) -> ModelOptions:
    """Pop the values of `_MODEL_OPTIONS` from a command's values."""
    from ellc.frontends.options import ImportOptions
    from ellc.models import ModelOptions
    from ellc.pictures.pixels import PRESETS, PixelOptions

    preset = values.pop("preprocess")
    imports = ImportOptions(
        shapes=MappingProxyType(dict(values.pop("shapes"))),
        fixed=MappingProxyType(dict(values.pop("fixed"))),
        outputs=values.pop("outputs") or (),
        signature=values.pop("signature") or "",
        layout=values.pop("layout"),
        keep_double=values.pop("double_is") == "double",
    )
    return ModelOptions(
        imports=imports,
        stepwise=values.pop("stepwise"),
        pixels=PixelOptions(
            pixels=values.pop("pixels"),
            color=values.pop("color"),
            range=values.pop("span"),
            mean=values.pop("mean"),
            scale=values.pop("scale"),
            size=values.pop("resize"),
        ).with_defaults(PRESETS[preset] if preset else PixelOptions()),
    )

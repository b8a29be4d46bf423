"""The options that several commands share."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

import click

from ellc.commands.memory_option import memory_option

if TYPE_CHECKING:
    from ellc.codegen.blocks.calls import CodeGoal
    from ellc.codegen.machine.resolve import Overrides
    from ellc.models import ModelOptions

_LONGEST_SIDE = 16384
Command = TypeVar("Command", bound=Callable[..., Any])
Option = Callable[[Callable[..., Any]], Callable[..., Any]]
Named = tuple[tuple[str, Any], ...]


class _FilePath(click.Path):
    """The type of an argument that names a file or folder; the value is a `Path`.

    It refuses an empty text, which `Path` would take as `.`. It also refuses a path that the system
    cannot resolve (too long, a loop of links, a folder that may not be read), because `Path.exists`
    would raise `OSError` for it.
    """

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not os.fspath(value):
            self.fail("the name of the file or folder is empty", param, ctx)
        try:
            os.stat(value)
        except (FileNotFoundError, NotADirectoryError):
            pass  # the command reports a missing file, or creates it
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            self.fail(f"{os.fspath(value)!r}: {reason}", param, ctx)
        return super().convert(value, param, ctx)


class Between(click.FloatRange):
    """The type of a number in a range. It refuses NaN, which `click.FloatRange` takes."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if math.isnan(number := super().convert(value, param, ctx)):
            self.fail(f"{value} is not in the range {self._describe_range()}.", param, ctx)
        return number


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
    help="Machine for which to compile; `ellc targets` lists all machines.",
)

_OVERRIDES_OPTIONS = (
    click.option(
        "--triple", help="LLVM triple, for --target custom or to replace the target's triple."
    ),
    click.option("--cpu", help="LLVM's name of a CPU, to replace the target's CPU."),
    click.option("--features", help="LLVM features to add or remove, such as +dotprod,-neon."),
)

threads_option = click.option(
    "--threads",
    type=click.IntRange(1, 32),
    help="Threads of a call; default: as many as it can use, the target's cores at most.",
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
    help="Target of the board; default: the target that fits its CPU and system.",
)


def is_target_given() -> bool:
    """Whether the user named a target, or changed the default one."""
    source = click.get_current_context().get_parameter_source
    names = ("target", "triple", "cpu", "features")
    return any(source(n) not in (None, click.core.ParameterSource.DEFAULT) for n in names)


def overrides_options(command: Command) -> Callable[..., Any]:
    """Decorator that adds options to change a target, passed as `overrides: Overrides`."""

    @wraps(command)
    def call(*args: Any, **values: Any) -> Any:
        return command(*args, overrides=_overrides(values), **values)

    return decorated(call, _OVERRIDES_OPTIONS)


def _overrides(values: dict[str, Any]) -> Overrides:
    """Remove the values of `_OVERRIDES_OPTIONS` from `values`, and return them as `Overrides`."""
    from ellc.codegen.machine.resolve import Overrides

    return Overrides(
        triple=values.pop("triple"), cpu=values.pop("cpu"), llvm_features=values.pop("features")
    )


def decorated(call: Callable[..., Any], options: Sequence[Option]) -> Callable[..., Any]:
    """Add options to a command; `--help` lists them in this order."""
    for option in reversed(options):
        call = option(call)
    return call


def command_words(text: str) -> tuple[str, ...]:
    """Split a command line into words as a shell does; an empty text gives no words."""
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:  # an unclosed quotation or escape
        raise click.BadParameter(f"{text!r} is not a command: {error}") from None
    if text and not (words and words[0]):
        raise click.BadParameter(f"{text!r} does not name a program")
    return words


def _kernel_request(text: str) -> tuple[str, str]:
    """Split `LAYER=KERNEL` into the layer and the kernel."""
    layer, _, kernel = text.rpartition("=")  # the name of a layer may contain =
    if not layer or not kernel:
        raise click.BadParameter(f"{text!r} is not a layer and a kernel, such as conv1=gemm")
    return layer, kernel


kernels_option = click.option(
    "--kernel",
    "kernels",
    type=_kernel_request,
    metavar="LAYER=KERNEL",
    multiple=True,
    help="Use this kernel for a layer, not the kernel that is predicted to be fastest; "
    "`ellc explain MODEL --level plan` lists the candidates. May be repeated.",
)

tuning_option = click.option(
    "--tuning",
    type=FILE_PATH,
    metavar="FILE",
    help="Use the kernels that `ellc tune` measured to be fastest.",
)

no_tuning_option = click.option(
    "--no-tuning",
    is_flag=True,
    help="Choose kernels by predicted costs and --tuning alone, not by the tuning file in ellc's "
    "package, which has the fastest kernels of common layers.",
)


max_ram_option = click.option(
    "--max-ram",
    type=click.IntRange(1),
    metavar="BYTES",
    help="Most bytes of RAM for intermediate results. If layers need more, they are computed "
    "together, in bands of rows and strips of columns; `ellc explain --ram-curve` shows the cost.",
)

no_chains_option = click.option(
    "--no-chains",
    is_flag=True,
    help="Compute one layer after the other, never several together in bands of rows.",
)


code_option = click.option(
    "--optimize",
    "code",
    type=click.Choice(["speed", "balanced", "size"]),
    help="What code is written for. Shorter code may be predicted to be slower: up to twice "
    "(balanced), up to three times (size). Default: balanced without an operating system, "
    "otherwise speed.",
)


class Planning(TypedDict):
    """The fields of `driver.CompileOptions` and `StudyOptions` that say how layers are planned."""

    kernels: tuple[tuple[str, str], ...]
    chains: bool
    max_ram_bytes: int | None
    memories: tuple[tuple[str, int], ...] | None
    tuning: Path | None
    shipped_tuning: bool
    code: CodeGoal | None


def planning_options(command: Command) -> Callable[..., Any]:
    """Decorator that adds options for plans, passed as `planning: Planning`."""

    @wraps(command)
    def call(*args: Any, **values: Any) -> Any:
        return command(*args, planning=_planning(values), **values)

    memory = (memory_option, max_ram_option, no_chains_option, code_option)
    return decorated(call, (*memory, kernels_option, tuning_option, no_tuning_option))


def _planning(values: dict[str, Any]) -> Planning:
    """Remove the values of `planning_options` from `values`, and return them as `Planning`."""
    return Planning(
        kernels=values.pop("kernels"),
        chains=not values.pop("no_chains"),
        max_ram_bytes=values.pop("max_ram"),
        memories=values.pop("memories"),
        tuning=values.pop("tuning"),
        shipped_tuning=not values.pop("no_tuning"),
        code=values.pop("code"),
    )


def _numbers(text: str) -> tuple[float, ...]:
    """Parse numbers that are separated by commas; fractions such as 1/255 are allowed."""
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
        raise click.BadParameter(f"{text!r} is not a pair of numbers, such as 0,1")
    return numbers


def _per_colour(text: str) -> tuple[float, ...]:
    """Parse three numbers, or one number that applies to all three colours."""
    numbers = _numbers(text)
    if len(numbers) not in (1, 3):
        raise click.BadParameter(
            f"{text!r} is neither one number nor three numbers, for red, green and blue"
        )
    return numbers if len(numbers) == 3 else numbers * 3


def _is_number(text: str) -> bool:
    """Whether a text has only the digits 0 to 9; other digits of Unicode are not accepted."""
    return text.isascii() and text.isdecimal()


def _size(text: str) -> tuple[int, int]:
    rows, _, columns = text.partition("x")
    numbers = _is_number(rows) and _is_number(columns)
    if not numbers or not all(0 < int(n) <= _LONGEST_SIDE for n in (rows, columns)):
        raise click.BadParameter(
            f"{text!r} is not a size such as 480x640, with rows and columns from 1 to "
            f"{_LONGEST_SIDE}"
        )
    return int(rows), int(columns)


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    name, _, shown = text.rpartition("=")  # a name may contain =
    extents = shown.split(",") if shown else []
    if not name or not all(_is_number(e) and int(e) for e in extents):
        raise click.BadParameter(f"{text!r} is not INPUT=N,N,... such as data=1,3,224,224")
    return name, tuple(map(int, extents))


def _setting(text: str) -> tuple[str, tuple[float, ...]]:
    name, _, shown = text.rpartition("=")  # a name may contain =
    if not name:
        raise click.BadParameter(f"{text!r} is not INPUT=VALUE, such as rate=16000")
    flags = {"true": "1", "false": "0"}
    return name, _numbers(flags.get(shown.lower(), shown))


def _once_each(_ctx: click.Context, _param: click.Parameter, pairs: Named) -> Named:
    """Check that no input is named twice, and return the pairs."""
    names = [name for name, _ in pairs]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        shown = ", ".join(f"'{name}'" for name in repeated)
        raise click.BadParameter(f"the option is given more than once for {shown}")
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
        help="Replace an input of an ONNX or TFLite file, such as a sample rate or a flag, by a "
        "constant: one number for all elements, or one number for each element. May be repeated.",
    ),
    click.option(
        "--outputs",
        type=_names,
        metavar="NAME,...",
        help="Compile only the part of the network that computes these values; they become the "
        "outputs (in an .ell file: ports such as 1003.output).",
    ),
    click.option(
        "--signature",
        type=_name,
        metavar="NAME",
        help="The signature to compile, if a TFLite file has several signatures; default: the "
        "signature of the first graph.",
    ),
    click.option(
        "--layout",
        type=click.Choice(["file", "nhwc"]),
        default="file",
        show_default=True,
        help="nhwc: inputs and outputs are NHWC pictures, even if they are NCHW in the file.",
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
        help="One call computes one element of the sequence of recurrent layers, whose states are "
        "kept until a reset.",
    ),
    click.option(
        "--weights",
        type=click.Choice(["file", "f16", "bf16", "int8"]),
        default="file",
        show_default=True,
        help="How compiled code stores the weights of layers that are bound by memory; arithmetic "
        "stays float. file: as in the model file; int8: with a scale for each filter.",
    ),
    click.option(
        "--fp16",
        is_flag=True,
        help="Compute in half precision where kernels can, on a core that has such arithmetic "
        "(pi5, imx93, mac). Inputs and outputs stay float32. `ellc check` shows what changes.",
    ),
    click.option(
        "--exact",
        is_flag=True,
        help="Use only kernels that add the products of each layer's definition, and therefore "
        "meet the usual tolerance for every layer. Implies --no-winograd.",
    ),
    click.option(
        "--no-winograd",
        is_flag=True,
        help="Do not compute convolutions by Winograd's algorithms; F(4x4) has a tolerance of its "
        "own (`ellc check --help`).",
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
        "An option that is given as well takes precedence.",
    ),
    click.option("--color", type=_COLOURS, help="Order of colours used in training the model."),
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
        help="Size of the pictures that a call takes; the call scales them (bilinear) to the "
        "model's size.",
    ),
)


def model_options(command: Command) -> Callable[..., Any]:
    """Decorator that adds options for reading a model, passed as `options: ModelOptions`."""

    @wraps(command)
    def call(*args: Any, **values: Any) -> Any:
        options = _options(values)
        return command(*args, options=options, **values)

    return decorated(call, _MODEL_OPTIONS)


def _options(values: dict[str, Any]) -> ModelOptions:
    """Remove the values of `_MODEL_OPTIONS` from `values`, and return them as `ModelOptions`."""
    from ellc.frontends.options import ImportOptions
    from ellc.models import ModelOptions
    from ellc.pictures.pixels import PRESETS, PixelOptions

    preset, weights = values.pop("preprocess"), values.pop("weights")
    exact, no_winograd = values.pop("exact"), values.pop("no_winograd")
    fp16 = values.pop("fp16")
    if fp16 and weights != "file":
        raise click.UsageError(
            "--fp16 and --weights cannot be combined: --fp16 stores weights, too"
        )
    if fp16 and exact:
        raise click.UsageError("--fp16 and --exact cannot be combined: half precision is not exact")
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
        weights="" if weights == "file" else weights,
        fp16=fp16,
        sums="exact" if exact else "no-winograd" if no_winograd else "",
        pixels=PixelOptions(
            pixels=values.pop("pixels"),
            color=values.pop("color"),
            range=values.pop("span"),
            mean=values.pop("mean"),
            scale=values.pop("scale"),
            size=values.pop("resize"),
        ).with_defaults(PRESETS[preset] if preset else PixelOptions()),
    )

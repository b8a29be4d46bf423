"""Describes preprocessing: how pixels become the values for which a network was trained.

First a picture is scaled to the size of the network's input, and its channels are put into the
network's order. Then each 8-bit pixel becomes a value, with the numbers of its colour:

    value = (low + (high - low) * pixel / 255 - mean) * scale

`ellc.pictures.preprocessing` makes the graph that computes this.

The metadata keys are those of ELL (`model.input.expectedColorChannelOrder` and so on). Missing keys
have ELL's defaults: the order blue, green, red and values from 0 to 255.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Literal

import numpy as np

from ellc.ir.errors import EllcError
from ellc.ir.graph import INPUT_PREFIX
from ellc.ir.types import Array, DType, TensorType

ColourOrder = Literal["bgr", "rgb"]
Colours = tuple[float, float, float]

ORDER_KEY = f"{INPUT_PREFIX}expectedColorChannelOrder"
_COLOURS = ("red", "green", "blue")
_KEYS = {
    "color": ("expectedColorChannelOrder",),
    "range": ("expectedPixelRangeLow", "expectedPixelRangeHigh"),
    "mean": tuple(f"{c}ChannelMean" for c in _COLOURS),
    "scale": tuple(f"{c}ChannelStdDev" for c in _COLOURS),
}
"""The metadata keys that each option of `PixelOptions` overrides."""
_HINT = "override the metadata with --color, --range, --mean and --scale"


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How pixels become the values for which a network was trained.

    `order` is the colour order of the network's input, and `pixels` the colour order of the
    picture. `mean` and `scale` are always in the order red, green, blue. `size` is the number of
    rows and columns of the picture; None means the size of the network's input.
    """

    order: ColourOrder = "bgr"
    low: float = 0.0
    high: float = 255.0
    mean: Colours = (0.0, 0.0, 0.0)
    scale: Colours = (1.0, 1.0, 1.0)
    pixels: ColourOrder = "rgb"
    size: tuple[int, int] | None = None

    @staticmethod
    def from_metadata(metadata: Mapping[str, str]) -> Preprocessing:
        """Read ELL's keys from a graph's metadata; raises `EllcError` listing every bad value.

        The keys are `model.input.expectedColorChannelOrder` (`bgr` or `rgb`),
        `model.input.expectedPixelRangeLow` and `High`, and for each colour such as red
        `model.input.redChannelMean` and `redChannelStdDev`. Missing keys have the default values.
        """
        given = {
            k.removeprefix(INPUT_PREFIX): v
            for k, v in metadata.items()
            if k.startswith(INPUT_PREFIX)
        }
        problems: list[str] = []

        def number(key: str, default: float) -> float:
            text = given.get(key, "")
            try:
                value = float(text) if text.strip() else default
            except ValueError:
                value = float("nan")
            if not np.isfinite(value) or (key.endswith("StdDev") and value == 0):
                problems.append(f"{INPUT_PREFIX}{key}: {text!r} is not a usable number")
                return default
            return value

        order = given.get("expectedColorChannelOrder", "bgr").strip().lower() or "bgr"
        if order not in ("bgr", "rgb"):
            problems.append(f"{ORDER_KEY}: {order!r} is neither bgr nor rgb")
        means = [number(f"{c}ChannelMean", 0.0) for c in _COLOURS]
        scales = [1.0 / number(f"{c}ChannelStdDev", 1.0) for c in _COLOURS]
        result = Preprocessing(
            order="rgb" if order == "rgb" else "bgr",
            low=number("expectedPixelRangeLow", 0.0),
            high=number("expectedPixelRangeHigh", 255.0),
            mean=(means[0], means[1], means[2]),
            scale=(scales[0], scales[1], scales[2]),
        )
        if problems:
            raise EllcError(
                "the model's metadata about its input pictures is invalid",
                code="E711",
                hint=_HINT,
                problems=problems,
            )
        return result

    @property
    def is_plain(self) -> bool:
        """Whether the preprocessing changes at most the size and the colour order."""
        return replace(self, order="rgb", pixels="rgb", size=None) == Preprocessing("rgb")

    def affine(self, channels: int, dtype: DType = DType.F32) -> tuple[Array, Array]:
        """The float64 factor and offset of each channel, in the network's order.

        A single channel is grey: its mean and deviation are the averages of those of the colours.
        Raises `EllcError` E711 if, computed in the float type `dtype`, all pixels would have the
        same value or a pixel would have a value that is not finite.
        """
        with np.errstate(all="ignore"):  # the results are checked
            mean, scale = np.array(self.mean), np.array(self.scale)
            if channels == 1:
                mean, scale = mean.mean(keepdims=True), 1.0 / (1.0 / scale).mean(keepdims=True)
            if self.order == "bgr":
                mean, scale = mean[::-1], scale[::-1]
            factor, offset = (self.high - self.low) / 255.0 * scale, (self.low - mean) * scale
            _check_affine(factor, offset, dtype)
        return factor, offset


def _check_affine(factor: Array, offset: Array, dtype: DType) -> None:
    """Raise `EllcError` E711 for factors and offsets that `affine` must not return."""
    black = offset.astype(dtype.numpy)
    change = factor.astype(dtype.numpy) * dtype.numpy.type(255)
    white = change + black
    # The products and sums of all other pixels are between those of black and white.
    if not np.all(np.isfinite([black, change, white])):
        problem = f"numbers beyond the range of {dtype.value}"
    elif np.any(black == white):
        problem = f"the same {dtype.value} for every pixel"
    else:
        return
    raise EllcError(
        f"pixels would become {problem}: value = pixel * {factor.tolist()} + {offset.tolist()}",
        code="E711",
        hint=_HINT,
    )


@dataclass(frozen=True, slots=True)
class PixelOptions:
    """Preprocessing options of the user; None keeps the value in the model's metadata."""

    pixels: ColourOrder | None = None
    color: ColourOrder | None = None
    range: tuple[float, float] | None = None
    mean: Colours | None = None
    scale: Colours | None = None
    size: tuple[int, int] | None = None

    @property
    def is_given(self) -> bool:
        """Whether any option is set."""
        return self != PixelOptions()

    def over_metadata(self, metadata: Mapping[str, str]) -> Preprocessing:
        """The preprocessing in a graph's metadata, overridden by these options.

        Metadata that an option overrides is not read, so it may be invalid. Raises `EllcError` E711
        for any other invalid metadata, like `Preprocessing.from_metadata`.
        """
        overridden = {
            f"{INPUT_PREFIX}{key}"
            for option, keys in _KEYS.items()
            if getattr(self, option) is not None
            for key in keys
        }
        read = {key: text for key, text in metadata.items() if key not in overridden}
        return self.over(Preprocessing.from_metadata(read))

    def with_defaults(self, others: PixelOptions) -> PixelOptions:
        """These options, with options that are not set taken from `others`."""
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(others, **{name: value for name, value in own.items() if value is not None})

    def over(self, base: Preprocessing) -> Preprocessing:
        """`base`, overridden by these options."""
        low, high = self.range or (base.low, base.high)
        return Preprocessing(
            order=self.color or base.order,
            low=low,
            high=high,
            mean=self.mean or base.mean,
            scale=self.scale or base.scale,
            pixels=self.pixels or base.pixels,
            size=self.size or base.size,
        )


PRESETS: Mapping[str, PixelOptions] = MappingProxyType(
    {
        "imagenet-torch": PixelOptions(
            color="rgb",
            range=(0.0, 1.0),
            mean=(0.485, 0.456, 0.406),
            scale=(1 / 0.229, 1 / 0.224, 1 / 0.225),
        ),
        "imagenet-tf": PixelOptions(color="rgb", range=(-1.0, 1.0)),
        "imagenet-caffe": PixelOptions(color="bgr", mean=(123.68, 116.779, 103.939)),
        "unit": PixelOptions(color="rgb", range=(0.0, 1.0)),
        "raw": PixelOptions(color="rgb", range=(0.0, 255.0)),
    }
)
"""Common preprocessing options. `imagenet-torch`: the mean and deviation of the colours that
torchvision documents for its trained networks; `imagenet-tf` and `imagenet-caffe`: the modes `tf`
and `caffe` of `preprocess_input` in Keras; `unit`: values from 0 to 1; `raw`: 0 to 255."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """The extents of a picture input; its layout is NCHW if `planes` is true, otherwise NHWC."""

    rows: int
    columns: int
    channels: Literal[1, 3]
    planes: bool = False

    @staticmethod
    def of(type: TensorType) -> Geometry:
        """The geometry of a picture's type, with the channels last or first.

        The leading 1 may be missing. Raises `EllcError` E714 for a type that cannot take a picture.
        """
        shape = type.shape[1:] if type.rank == 4 and type.shape[0] == 1 else type.shape
        numeric = type.dtype.is_float or type.dtype.is_integer
        match shape:
            case (int(rows), int(columns), 1 | 3 as channels) if numeric:
                return Geometry(rows, columns, 3 if channels == 3 else 1)
            case (1 | 3 as channels, int(rows), int(columns)) if numeric and min(shape[1:]) > 1:
                return Geometry(rows, columns, 3 if channels == 3 else 1, planes=True)
        raise EllcError(
            f"an input of shape {type.shape} does not take a picture",
            code="E714",
            hint="give the values as a .npy file (numpy.save)",
        )


def is_picture(type: TensorType) -> bool:
    """Whether an input of this type can take a picture."""
    try:
        Geometry.of(type)
    except EllcError:
        return False
    return True

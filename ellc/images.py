"""Pictures in, labels out: what `ellc run` does around a network.

A picture becomes a tensor the way ELL's tutorials do it: crop the middle to the shape the network
wants, scale it to that size, bring the colours into the network's order, then

    value = (low + (high - low) * pixel / 255 - mean) / deviation

per channel, pixel being 0..255. What a model's metadata does not say has ELL's defaults: colours in
the order blue, green, red, values 0..255, mean 0, deviation 1. The metadata keys are those that ELL
wrote (`model.input.expectedColorChannelOrder` and so on, see `Preprocessing.from_metadata`).

Scaling down averages over the pixels that fall together (Pillow's bilinear filter), where OpenCV's
default picks four neighbours; results can differ in the last digits from ELL's own scripts.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ir.errors import EllcError
from ir.types import Array, DType, TensorType

ColourOrder = Literal["bgr", "rgb"]

_PREFIX = "model.input."
_COLOURS = ("red", "green", "blue")


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How pixels become the numbers a network was trained on. Means and deviations are R, G, B."""

    order: ColourOrder = "bgr"
    low: float = 0.0
    high: float = 255.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    deviation: tuple[float, float, float] = (1.0, 1.0, 1.0)

    @staticmethod
    def from_metadata(metadata: Mapping[str, str]) -> Preprocessing:
        """Read ELL's keys from a graph's metadata; raises `EllcError` listing every bad value.

        `model.input.expectedColorChannelOrder` (`bgr` or `rgb`),
        `model.input.expectedPixelRangeLow` / `High`, and `model.input.redChannelMean`,
        `...redChannelStdDev` and the same for green and blue. Missing keys keep the defaults.
        """
        given = {k.removeprefix(_PREFIX): v for k, v in metadata.items() if k.startswith(_PREFIX)}
        problems: list[str] = []

        def number(key: str, default: float) -> float:
            text = given.get(key, "")
            try:
                value = float(text) if text.strip() else default
            except ValueError:
                value = float("nan")
            if not np.isfinite(value) or (key.endswith("StdDev") and value == 0):
                problems.append(f"{_PREFIX}{key}: {text!r} is not a usable number")
                return default
            return value

        order = given.get("expectedColorChannelOrder", "bgr").strip().lower() or "bgr"
        if order not in ("bgr", "rgb"):
            problems.append(f"{_PREFIX}expectedColorChannelOrder: {order!r} is neither bgr nor rgb")
        red, green, blue = (
            (number(f"{c}ChannelMean", 0.0), number(f"{c}ChannelStdDev", 1.0)) for c in _COLOURS
        )
        result = Preprocessing(
            order="rgb" if order == "rgb" else "bgr",
            low=number("expectedPixelRangeLow", 0.0),
            high=number("expectedPixelRangeHigh", 255.0),
            mean=(red[0], green[0], blue[0]),
            deviation=(red[1], green[1], blue[1]),
        )
        if problems:
            raise EllcError(
                "the model's metadata says something impossible about its input pictures",
                code="E711",
                hint="override it: --order, --range, --mean and --deviation",
                problems=problems,
            )
        return result

    def overridden(
        self,
        order: ColourOrder | None = None,
        range: tuple[float, float] | None = None,
        mean: tuple[float, float, float] | None = None,
        deviation: tuple[float, float, float] | None = None,
    ) -> Preprocessing:
        """The same with what a user asked for in place; None keeps."""
        result = self
        if order is not None:
            result = replace(result, order=order)
        if range is not None:
            result = replace(result, low=range[0], high=range[1])
        if mean is not None:
            result = replace(result, mean=mean)
        if deviation is not None:
            if not all(np.isfinite(d) and d != 0 for d in deviation):
                raise EllcError(f"a deviation of {deviation} cannot be divided by", code="E712")
            result = replace(result, deviation=deviation)
        return result


@dataclass(frozen=True, slots=True)
class Geometry:
    """The picture a network takes."""

    rows: int
    columns: int
    channels: Literal[1, 3]

    @staticmethod
    def of(type: TensorType) -> Geometry:
        """Read it off an input of shape (1, rows, columns, channels) or without the leading 1.

        Raises `EllcError` for an input that no picture fits.
        """
        shape = type.shape[1:] if type.rank == 4 and type.shape[0] == 1 else type.shape
        if len(shape) != 3 or shape[2] not in (1, 3):
            raise EllcError(
                f"an input of shape {type.shape} does not take a picture",
                code="E714",
                hint="give the values as a .npy file (numpy.save)",
            )
        return Geometry(shape[0], shape[1], 1 if shape[2] == 1 else 3)


def crop_box(width: int, height: int, geometry: Geometry) -> tuple[int, int, int, int]:
    """The largest centred part with the network's aspect ratio: (left, top, right, bottom).

    For a square network this is ELL's centre crop to a square.
    """
    scale = min(width / geometry.columns, height / geometry.rows)
    box_width = min(width, max(1, round(geometry.columns * scale)))
    box_height = min(height, max(1, round(geometry.rows * scale)))
    left, top = (width - box_width) // 2, (height - box_height) // 2
    return (left, top, left + box_width, top + box_height)


def _eight_bit(picture: Image.Image) -> Image.Image:
    """16-bit greyscale (mode `I` in older Pillows) scaled: `convert` would clip it."""
    if not picture.mode.startswith("I"):
        return picture
    values = np.asarray(picture).clip(0, 0xFFFF)
    return Image.fromarray(np.rint(values / 257).astype(np.uint8))


def _open(path: Path, channels: Literal[1, 3]) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as file:
                upright = _eight_bit(ImageOps.exif_transpose(file))
                return upright.convert("L" if channels == 1 else "RGB")
    except FileNotFoundError as error:
        raise EllcError("no such file", code="E713", where=str(path)) from error
    except UnidentifiedImageError as error:
        raise EllcError(
            "this is no picture in a format that Pillow knows",
            code="E715",
            where=str(path),
            hint="give a JPEG, PNG or BMP file, or the values as a .npy file",
        ) from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombWarning) as error:
        raise EllcError(
            f"the picture cannot be read: {error}", code="E715", where=str(path)
        ) from error
    except Image.DecompressionBombError as error:
        raise EllcError(str(error), code="E715", where=str(path)) from error


def load_picture(path: Path, geometry: Geometry, preprocessing: Preprocessing) -> Array:
    """Read a picture file as float64 values, shape (rows, columns, channels).

    For one channel the picture is turned to grey; the means and deviations of the three colours are
    then averaged. Raises `EllcError` for a file that is missing or is no picture.
    """
    picture = _open(path, geometry.channels)
    # Cropped first: the filter must not see the pixels that were cut off.
    picture = picture.crop(crop_box(*picture.size, geometry))
    picture = picture.resize((geometry.columns, geometry.rows), Image.Resampling.BILINEAR)
    pixels = np.asarray(picture, dtype=np.float64).reshape(
        geometry.rows, geometry.columns, geometry.channels
    )
    mean, deviation = np.array(preprocessing.mean), np.array(preprocessing.deviation)
    if geometry.channels == 1:
        mean, deviation = mean.mean(keepdims=True), deviation.mean(keepdims=True)
    span = preprocessing.high - preprocessing.low
    values: Array = (preprocessing.low + span * pixels / 255.0 - mean) / deviation
    return values[:, :, ::-1] if preprocessing.order == "bgr" else values


def quantise(values: Array, type: TensorType) -> Array:
    """Turn real values into the input's element type, in its shape.

    Integers go through the input's quantisation (value / scale + zero point, rounded to nearest,
    saturated); integers without one take the values themselves, rounded and saturated.
    """
    shaped = values.reshape(type.shape)
    if type.dtype in (DType.BOOL, DType.BIT):
        return shaped > 0
    if not type.dtype.is_integer:
        return shaped.astype(type.dtype.numpy)
    if type.quant is not None:
        shaped = shaped / type.quant.scale[0] + type.quant.zero_point[0]
    limits = np.iinfo(type.dtype.numpy)
    return np.clip(np.rint(shaped), limits.min, limits.max).astype(type.dtype.numpy)


def dequantise(values: Array, type: TensorType) -> Array:
    """The real numbers behind a quantised output; any other output as it is."""
    if type.quant is None:
        return values
    return type.quant.scale[0] * (values.astype(np.float64) - type.quant.zero_point[0])


def load_array(path: Path, type: TensorType) -> Array:
    """Read a .npy file as an input tensor: the values as they are, no preprocessing.

    The shape may differ as long as the number of elements is right (row, column, channel order).
    Integers must be in range for an integer input; floats are converted to the input's precision.
    Raises `EllcError` for a file that is no .npy, holds objects, or does not fit.
    """
    try:
        array = np.load(path, allow_pickle=False, mmap_mode="r")
    except FileNotFoundError as error:
        raise EllcError("no such file", code="E713", where=str(path)) from error
    except (OSError, ValueError, EOFError) as error:
        raise EllcError(
            f"not a readable .npy file: {error}", code="E720", where=str(path)
        ) from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub":
        raise EllcError("the file does not hold one array of numbers", code="E720", where=str(path))
    if array.size != type.elements:
        raise EllcError(
            f"{array.size} values of shape {array.shape}; the network takes {type.elements} "
            f"of shape {type.shape}",
            code="E721",
            where=str(path),
        )
    shaped = np.asarray(array).reshape(type.shape)
    if type.dtype.is_float or type.dtype in (DType.BOOL, DType.BIT):
        return shaped.astype(type.dtype.numpy)
    converted = shaped.astype(type.dtype.numpy)
    if not np.array_equal(converted, shaped):
        raise EllcError(
            f"the values do not fit the network's input type {type.dtype.value}",
            code="E722",
            where=str(path),
        )
    return converted


def load_input(path: Path, type: TensorType, preprocessing: Preprocessing) -> Array:
    """Read a .npy file or a picture as one input tensor of exactly this type."""
    if path.suffix.lower() == ".npy":
        return load_array(path, type)
    return quantise(load_picture(path, Geometry.of(type), preprocessing), type)


def load_labels(path: Path) -> tuple[str, ...]:
    """Read class names, one a line (ELL's categories.txt); empty lines at the end do not count."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise EllcError("no such file", code="E713", where=str(path)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise EllcError(
            f"not a readable text file: {error}", code="E730", where=str(path)
        ) from error
    while lines and not lines[-1].strip():
        lines.pop()
    return tuple(line.strip() for line in lines)


@dataclass(frozen=True, slots=True)
class Score:
    """One class and the number the network gives it; `label` is empty when names are not known."""

    index: int
    label: str
    value: float


def top_scores(output: Array, labels: Sequence[str] = (), count: int = 5) -> tuple[Score, ...]:
    """The `count` highest elements of an output, highest first; equal ones in order of index.

    NaN ranks below every number.
    """
    values = np.asarray(output, dtype=np.float64).ravel()
    ranked = np.where(np.isnan(values), -np.inf, values)
    order = np.lexsort((np.arange(values.size), np.isnan(values), -ranked))[:count]
    return tuple(
        Score(int(i), labels[i] if i < len(labels) else "", float(values[i])) for i in order
    )

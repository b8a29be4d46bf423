"""Pictures in, labels out: what `ellc run` does around a network.

A picture becomes a tensor the way ELL's tutorials do it: crop the middle to the shape wanted, scale
it to that size, and let `ellc.preprocessing` make numbers of the pixels. A network that takes
pixels gets them as they are.

Scaling down averages over the pixels that fall together (Pillow's bilinear filter), where OpenCV's
default picks four neighbours; results can differ in the last digits from ELL's own scripts.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ellc.pixels import Geometry, Preprocessing
from ellc.preprocessing import prepare
from ir.errors import EllcError
from ir.types import Array, DType, TensorType


def crop_box(width: int, height: int, rows: int, columns: int) -> tuple[int, int, int, int]:
    """The largest centred part with the aspect ratio wanted: (left, top, right, bottom).

    For a square network this is ELL's centre crop to a square.
    """
    scale = min(width / columns, height / rows)
    box_width = min(width, max(1, round(columns * scale)))
    box_height = min(height, max(1, round(rows * scale)))
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


def load_picture(path: Path, size: tuple[int, int], channels: Literal[1, 3]) -> Array:
    """Read a picture file as uint8 pixels [rows,columns,channels]: red, green, blue, or grey.

    Raises `EllcError` for a file that is missing or is no picture.
    """
    rows, columns = size
    picture = _open(path, channels)
    # Cropped first: the filter must not see the pixels that were cut off.
    picture = picture.crop(crop_box(*picture.size, rows, columns))
    picture = picture.resize((columns, rows), Image.Resampling.BILINEAR)
    return np.asarray(picture, dtype=np.uint8).reshape(rows, columns, channels)


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
    wanted = Geometry.of(type)
    size = preprocessing.size or (wanted.rows, wanted.columns)
    pixels = load_picture(path, size, wanted.channels)
    return prepare(pixels, type, replace(preprocessing, pixels="rgb"))  # what Pillow gives


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

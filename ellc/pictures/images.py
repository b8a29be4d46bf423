"""Reads pictures as inputs of a network, and labels its outputs.

A picture becomes a tensor as in ELL's tutorials: it is cropped to a centred part with the aspect
ratio of the input, and this part is scaled to the size of the input. Then
`ellc.pictures.preprocessing` converts the pixels to numbers. A network that takes pixels gets the
pixels unchanged.

When a picture is scaled down, Pillow's bilinear filter averages all pixels that become one pixel.
OpenCV's default uses only four neighbours. So results can differ slightly from those of ELL's own
scripts, which use OpenCV.
"""

from __future__ import annotations

import mmap
import re
import struct
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from ellc.arrays import as_input
from ellc.ir.errors import EllcError
from ellc.ir.limits import DEFAULT_LIMITS
from ellc.ir.printable import lines_of
from ellc.ir.reading import read_stream
from ellc.ir.types import Array, TensorType
from ellc.npy import read_npy
from ellc.pictures.pixels import Geometry, Preprocessing
from ellc.pictures.preprocessing import prepare

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "PPM")
"""The supported picture formats, with the names that Pillow gives them."""
_PICTURE_DAMAGE = (
    *(OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError, OverflowError),
    *(AttributeError, NotImplementedError, RuntimeError, struct.error, zlib.error),
)
"""The exceptions that Pillow's decoders raise for damaged files; Pillow does not document them."""

SCANS = 16
"""The most scans of a progressive JPEG of the largest size; encoders write 6 to 10 scans."""
_START_OF_SCAN = rb"\xff\xda"


def crop_box(
    width: int, height: int, rows: int, columns: int, share: float = 1.0
) -> tuple[int, int, int, int]:
    """The largest centred box with the aspect ratio rows x columns: (left, top, right, bottom).

    For a square input this is ELL's centre crop. Both sides of the box are multiplied by `share`;
    for example, 0.875 is the usual crop from 256 to 224 pixels.
    """
    scale = min(width / columns, height / rows) * share
    box_width = min(width, max(1, round(columns * scale)))
    box_height = min(height, max(1, round(rows * scale)))
    left, top = (width - box_width) // 2, (height - box_height) // 2
    return (left, top, left + box_width, top + box_height)


def _eight_bit(picture: Image.Image) -> Image.Image:
    """Scale 16-bit grey (modes `I`) to 8 bits; other pictures are returned as they are.

    Pillow's `convert` would clip the 16-bit numbers.
    """
    if not picture.mode.startswith("I"):
        return picture
    values = np.asarray(picture).clip(0, 0xFFFF).astype(np.int32)
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""How to turn a picture upright, by the EXIF orientation in the file."""
_MIRRORED_COLUMNS = (2, 3, 7, 8)
_MIRRORED_ROWS = (3, 4, 6, 7)
_FROM_SIDE_TO_SIDE = (5, 6, 7, 8)
_BAND_PIXELS = 1 << 20


@dataclass(frozen=True, slots=True)
class _Upright:
    """A picture as it looks after turning it upright.

    The stored picture is not turned as a whole: `part` turns only the pixels that it returns.
    """

    stored: Image.Image
    orientation: int = 1

    @property
    def size(self) -> tuple[int, int]:
        """The width and height of the upright picture."""
        width, height = self.stored.size
        return (height, width) if self.orientation in _FROM_SIDE_TO_SIDE else (width, height)

    def part(self, box: tuple[int, int, int, int]) -> Image.Image:
        """The pixels of a box (left, top, right, bottom) of the upright picture."""
        (left, top, right, bottom), orientation = box, self.orientation
        if orientation in _FROM_SIDE_TO_SIDE:
            left, top, right, bottom = top, left, bottom, right
        width, height = self.stored.size
        if orientation in _MIRRORED_COLUMNS:
            left, right = width - right, width - left
        if orientation in _MIRRORED_ROWS:
            top, bottom = height - bottom, height - top
        part = self.stored
        if (left, top, right, bottom) != (0, 0, width, height):
            part = part.crop((left, top, right, bottom))
        return part.transpose(_TURNS[orientation]) if orientation in _TURNS else part


def _scaled(
    picture: _Upright, size: tuple[int, int], channels: Literal[1, 3], share: float
) -> Image.Image:
    """Crop a picture to its centred part, and scale it to (rows, columns), grey or in colours.

    To save memory, bands of rows are copied, converted and scaled in width; then all rows together
    are scaled in height. The result does not depend on the height of the bands. A single call of
    Pillow's `resize` could give pixels that differ by one level, because Pillow 13 scales some
    pictures in height first.

    The picture is cropped before it is scaled, because with the argument `box` of `resize` the
    filter would use pixels outside the box.
    """
    rows, columns = size
    mode: Literal["L", "RGB"] = "L" if channels == 1 else "RGB"
    left, top, right, bottom = crop_box(*picture.size, rows, columns, share)
    step = max(1, _BAND_PIXELS // (right - left))
    narrow = Image.new(mode, (columns, bottom - top))
    for first in range(top, bottom, step):
        band = _eight_bit(picture.part((left, first, right, min(bottom, first + step))))
        band = band if band.mode == mode else band.convert(mode)
        part = band.resize((columns, band.height), Image.Resampling.BILINEAR)
        narrow.paste(part, (0, first - top))
    return narrow.resize((columns, rows), Image.Resampling.BILINEAR)


def _check_scans(picture: Image.Image, path: Path, most_pixels: int) -> None:
    """Raise `EllcError` E715 for a progressive JPEG that would take too long to decode.

    Each scan visits all pixels, even if it has only a few bytes in the file. So a small file can
    hold very many scans. The limit is `SCANS * most_pixels` visited pixels.
    """
    if not picture.info.get("progressive"):
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        scans = sum(1 for _ in re.finditer(_START_OF_SCAN, content))
    if scans * picture.width * picture.height > SCANS * most_pixels:
        raise EllcError(
            f"the picture has {picture.width} x {picture.height} pixels in {scans} scans, which"
            " takes too long to read",
            code="E715",
            where=str(path),
            hint="save it with fewer scans, or not as a progressive JPEG",
        )


def load_picture(
    path: Path,
    size: tuple[int, int],
    channels: Literal[1, 3],
    most_pixels: int = DEFAULT_LIMITS.pixels,
    share: float = 1.0,
) -> Array:
    """Read a picture file as uint8 pixels [rows,columns,channels]: red, green, blue, or grey.

    The picture is cropped to the box that `crop_box` gives and scaled to `size`. Raises
    `EllcError`: E713 if there is no such file; E715 if the file is not a picture in one of
    `FORMATS`, is damaged, has more than `most_pixels` pixels, or is a progressive JPEG with too
    many scans.
    """
    rows, columns = size
    try:
        # Only `FORMATS` are allowed, because Pillow may start a program (Ghostscript) for others.
        # Pillow's warnings are ignored: they are about sizes, which are checked here, and about
        # metadata, which is not used.
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=FORMATS) as picture:
            if picture.width * picture.height > most_pixels:
                raise EllcError(
                    f"the picture has {picture.width} x {picture.height} pixels, but at most"
                    f" {most_pixels} pixels are read",
                    code="E715",
                    where=str(path),
                    hint="scale it down first",
                )
            _check_scans(picture, path, most_pixels)
            picture.load()
            upright = _Upright(picture, picture.getexif().get(ExifTags.Base.Orientation, 1))
            scaled = _scaled(upright, size, channels, share)
    except FileNotFoundError as error:
        raise EllcError("no such file", code="E713", where=str(path)) from error
    except MemoryError:
        raise EllcError(
            "the picture needs more memory than there is",
            code="E715",
            where=str(path),
            hint="scale it down first",
        ) from None
    except UnidentifiedImageError as error:
        raise EllcError(
            "this is not a picture in a supported format",
            code="E715",
            where=str(path),
            hint=f"give a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file, or the values as a"
            " .npy file",
        ) from error
    except (*_PICTURE_DAMAGE, Image.DecompressionBombError) as error:
        raise EllcError(
            f"the picture cannot be read: {error}", code="E715", where=str(path)
        ) from error
    return np.asarray(scaled, dtype=np.uint8).reshape(rows, columns, channels)


def fitted_pixels(
    pixels: Array, size: tuple[int, int], channels: Literal[1, 3], share: float = 1.0
) -> Array:
    """Crop and scale pixels [rows,columns,1|3] of any size like `load_picture`."""
    rows, columns = size
    if pixels.shape == (rows, columns, channels) and share == 1.0:
        return pixels
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    scaled = _scaled(_Upright(picture), size, channels, share)
    return np.asarray(scaled, dtype=np.uint8).reshape(rows, columns, channels)


def dequantise(values: Array, type: TensorType) -> Array:
    """Convert a quantised output to real numbers; any other output is returned unchanged."""
    if type.quant is None:
        return values
    return type.quant.scale[0] * (values.astype(np.float64) - type.quant.zero_point[0])


def load_array(path: Path, type: TensorType) -> Array:
    """Read a .npy file as an input tensor, without preprocessing.

    `as_input` checks the shape and the values. Raises `EllcError` if the file is not a .npy file
    with numbers, or if the array does not fit.
    """
    return as_input(read_npy(path, type.elements), type, str(path))


def load_input(path: Path, type: TensorType, preprocessing: Preprocessing) -> Array:
    """Read a .npy file or a picture as one input tensor of exactly this type."""
    if path.suffix.lower() == ".npy":
        return load_array(path, type)
    wanted = Geometry.of(type)
    size = preprocessing.size or (wanted.rows, wanted.columns)
    pixels = load_picture(path, size, wanted.channels)
    return prepare(pixels, type, replace(preprocessing, pixels="rgb"))  # Pillow's order


def load_labels(path: Path) -> tuple[str, ...]:
    """Read class names from a file with one name per line, such as ELL's categories.txt.

    Empty lines at the end are ignored. Raises `EllcError`: E713 if there is no such file, E730 if
    it is not readable as UTF-8 or has no name.
    """
    try:
        with path.open("rb") as file:
            data = read_stream(file, DEFAULT_LIMITS.text_bytes, str(path))
        lines = lines_of(data.decode("utf-8-sig"))
    except FileNotFoundError as error:
        raise EllcError("no such file", code="E713", where=str(path)) from error
    except (OSError, ValueError) as error:
        raise EllcError(
            f"not a readable text file: {error}", code="E730", where=str(path)
        ) from error
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise EllcError("a file of class names without a name", code="E730", where=str(path))
    return tuple(line.strip() for line in lines)


@dataclass(frozen=True, slots=True)
class Score:
    """A class and its score; `label` is empty if the name of the class is not known."""

    index: int
    label: str
    value: float


def top_scores(output: Array, labels: Sequence[str] = (), count: int = 5) -> tuple[Score, ...]:
    """The `count` highest elements of an output, the highest first.

    Equal elements are in the order of their indices. NaN ranks below every number.
    """
    values = np.asarray(output, dtype=np.float64).ravel()
    ranked = np.where(np.isnan(values), -np.inf, values)
    order = np.lexsort((np.arange(values.size), np.isnan(values), -ranked))[:count]
    return tuple(
        Score(int(i), labels[i] if i < len(labels) else "", float(values[i])) for i in order
    )

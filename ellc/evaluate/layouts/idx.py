"""Reads idx files, the format of MNIST and similar data sets, compressed by gzip or not.

The format is described at http://yann.lecun.com/exdb/mnist. An idx file begins with a 4-byte magic
number, whose last byte is the number of axes. Then come the extents as big-endian 32-bit integers,
and then the bytes of the array. The names of test files begin with `t10k-`, and the names of
training files with `train-`.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from ellc.evaluate.layouts.arrays import ArrayData, with_channel
from ellc.evaluate.layouts.options import DataOptions
from ellc.ir.errors import EllcError
from ellc.ir.limits import DEFAULT_LIMITS
from ellc.ir.types import Array

_BYTES = 0x08  # the element type uint8, in the third byte of the magic number
_PARTS = {"test": "t10k", "train": "train"}


def read(path: Path, options: DataOptions) -> ArrayData | None:
    """Read a file of images, and the file in the same folder that has their labels.

    `path` is the file of images, or a folder that has one for `options.split`. Returns `None` if
    `path` is neither.
    """
    images = _images(path, options.split)
    if images is None:
        return None
    labels = images.with_name(images.name.replace("images", "labels").replace("idx3", "idx1"))
    if not labels.is_file():
        raise EllcError(
            f"the file with the labels is missing: {labels.name} in the same folder",
            code="E771",
            where=str(images),
        )
    return ArrayData(str(path), with_channel(_array(images)), _array(labels).astype(np.int64))


def _images(path: Path, split: str) -> Path | None:
    if path.is_dir():
        return next(iter(sorted(path.glob(f"{_PARTS[split]}-images*idx3-ubyte*"))), None)
    return path if "images" in path.name and "ubyte" in path.name else None


def _array(file: Path) -> Array:
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            zeros, kind, axes = struct.unpack(">HBB", stream.read(4))
            shape = struct.unpack(f">{axes}I", stream.read(4 * axes))
            size = math.prod(shape)
            if zeros or kind != _BYTES or not 1 <= axes <= 3 or size > _most_bytes(file):
                raise ValueError(f"the header has element type {kind} and shape {shape}")
            content = stream.read(size)
            if len(content) != size:
                raise ValueError(f"the file ends after {len(content)} of {size} bytes")
            return np.frombuffer(content, np.uint8).reshape(shape)
    except (OSError, ValueError, EOFError, struct.error, zlib.error) as error:
        raise EllcError(
            f"the idx file is not readable: {error}", code="E771", where=str(file)
        ) from error


def _most_bytes(file: Path) -> int:
    """The most bytes that the array in a file may have.

    The limit depends on the file's size, so that a small compressed file cannot fill the memory.
    """
    limits = DEFAULT_LIMITS
    unpacked = limits.small_bytes + limits.growth_ratio * file.stat().st_size
    return min(limits.unpacked_bytes, unpacked)

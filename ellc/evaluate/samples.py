"""Labelled samples, and their conversion into inputs of a network."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from ellc.arrays import as_input
from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate
from ellc.ir.types import Array, TensorType
from ellc.pictures.images import fitted_pixels, load_picture
from ellc.pictures.pixels import Geometry, Preprocessing
from ellc.pictures.preprocessing import pixel_graph

NO_LABEL = -1
"""The label of samples whose classes are unknown."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample with its class.

    `content` is a picture file, an array of uint8 pixels [rows,columns,channels], or the values of
    an input. `label` is the index of the class in the data set, from 0, or `NO_LABEL`.
    """

    name: str
    label: int
    content: Path | Array

    @property
    def is_pixels(self) -> bool:
        """Whether the content is an array of pixels."""
        content = self.content
        return (
            isinstance(content, np.ndarray)
            and content.dtype == np.uint8
            and content.ndim == 3
            and content.shape[2] in (1, 3)
        )


class Data(Protocol):
    """A data set: a sequence of samples. It can be pickled; `__getitem__` reads one sample."""

    @property
    def classes(self) -> Sequence[str]:
        """The class names in order of their labels; empty if the data set has no names."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample:
        """Read one sample; raises `EllcError` if it cannot be read."""
        ...


def is_labelled(data: Data) -> bool:
    """Whether the classes of the samples are known; data without samples count as labelled."""
    return not len(data) or data[0].label != NO_LABEL


@dataclass(frozen=True)
class Preparation:
    """Converts a sample into the input of a network, an array of `type`.

    A picture is first cropped to the middle `share` of each side. Then it is cropped to the aspect
    ratio of `how.size` and scaled to this size; by default this is the size of the input. Last,
    `how` turns its pixels into numbers. A sample that is not a picture is only converted by
    `ellc.arrays.as_input`.
    """

    type: TensorType
    how: Preprocessing
    share: float = 1.0

    def __call__(self, sample: Sample) -> Array:
        """Convert a sample; raises `EllcError` if it does not fit the input."""
        content = sample.content
        if isinstance(content, Path):
            pixels = load_picture(content, self._size, self._geometry.channels, share=self.share)
        elif sample.is_pixels:
            pixels = fitted_pixels(content, self._size, self._geometry.channels, self.share)
        else:
            return as_input(content, self.type, sample.name)
        (values,) = evaluate(self._graph, (pixels[np.newaxis],)).outputs
        return values

    @cached_property
    def _geometry(self) -> Geometry:
        return Geometry.of(self.type)

    @cached_property
    def _size(self) -> tuple[int, int]:
        return self.how.size or (self._geometry.rows, self._geometry.columns)

    @cached_property
    def _graph(self) -> Graph:
        return pixel_graph(self.type, replace(self.how, pixels="rgb"))


def fingerprint(data: Data) -> str:
    """A hash by which data sets can be told apart.

    It covers the number of samples, the class names, and the names and labels of the first 64
    samples and of the last one. It does not cover the contents of the samples, so it takes little
    time for data of any size.
    """
    digest = hashlib.sha256(repr((len(data), list(data.classes))).encode())
    for index in {*range(min(len(data), 64)), len(data) - 1}:
        sample = data[index]
        digest.update(repr((sample.name, sample.label)).encode())
    return digest.hexdigest()[:32]

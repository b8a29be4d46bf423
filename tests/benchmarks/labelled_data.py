"""Read labelled pictures from the folder of real models, and prepare them for a network."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ellc.ir.types import Array

CROP = 224
"""Rows and columns of the central part of an ImageNet picture that is used."""


@dataclass(frozen=True)
class Labelled:
    """Inputs of a network, and the class of each."""

    inputs: Array
    classes: Array


def cifar10(folder: Path, _: int, prepare: Callable[[Array], Array]) -> Labelled:
    """2,000 pictures of the CIFAR-10 test set, [n, 32, 32, 3]."""
    with np.load(folder / "cifar10_test_2000.npz") as stored:
        return Labelled(prepare(stored["x"]), stored["y"].ravel())


def mnist(folder: Path, _: int, prepare: Callable[[Array], Array]) -> Labelled:
    """5,000 pictures of the MNIST test set, [n, 28, 28, 1]."""
    with np.load(folder / "mnist_t10k_5000.npz") as stored:
        return Labelled(prepare(stored["x"][..., np.newaxis]), stored["y"].ravel())


def imagenet(folder: Path, size: int, prepare: Callable[[Array], Array]) -> Labelled:
    """300 pictures of ImageNet, [n, size, size, 3], without a background class."""
    with (folder / "imagenet_eval_labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    pictures = np.stack([_picture(folder / "imagenet_eval" / row["file"], size) for row in rows])
    return Labelled(prepare(pictures), np.array([int(row["class_1000"]) for row in rows]))


def _picture(path: Path, size: int) -> Array:
    with Image.open(path) as picture:
        left, top = (picture.width - CROP) // 2, (picture.height - CROP) // 2
        middle = picture.convert("RGB").crop((left, top, left + CROP, top + CROP))
        if size != CROP:
            middle = middle.resize((size, size), Image.Resampling.BILINEAR)
        return np.asarray(middle)


# --- from pixels to what a network takes ----------------------------------------------------------


def raw(pixels: Array) -> Array:
    """Pixels unchanged."""
    return pixels


def signed(pixels: Array) -> Array:
    """Pixels minus 128."""
    return (pixels.astype(np.int16) - 128).astype(np.int8)


def plain_float(pixels: Array) -> Array:
    """Pixels as floats, 0 to 255."""
    return pixels.astype(np.float32)


def unit_float(pixels: Array) -> Array:
    """Pixels scaled to -1..1."""
    return pixels.astype(np.float32) / np.float32(127.5) - np.float32(1)


def planes(pixels: Array) -> Array:
    """Pixels as floats in NCHW, 0 to 255."""
    return np.moveaxis(plain_float(pixels), -1, 1)


def normalised_planes(pixels: Array) -> Array:
    """Pixels in NCHW, normalised with the mean and deviation of ImageNet."""
    mean, deviation = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], np.float32)
    return np.moveaxis((pixels.astype(np.float32) / np.float32(255) - mean) / deviation, -1, 1)

"""Pictures of digits for the tests of the examples, with the classes that the reference gives."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from digits_data import LABELS, Array, load_split
from PIL import Image

from ellc.ir.interp import evaluate
from ellc.models import ModelOptions, read_model
from ellc.pictures.pixels import PixelOptions

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "examples" / "digits" / "digits.onnx"
SCALE = ModelOptions(pixels=PixelOptions(scale=(1 / 255,) * 3))
FRAMES = 8

Program = Callable[..., subprocess.CompletedProcess[str]]


@dataclass(frozen=True)
class Clip:
    """Frames [n,8,8] of uint8, and the classes that the reference gives them."""

    frames: Array
    labels: tuple[str, ...]
    scores: tuple[float, ...]

    def save(self, folder: Path, kind: str, times: int = 1) -> Path:
        """Write the frames to a folder as pictures, enlarged `times` times."""
        folder.mkdir()
        for i, frame in enumerate(self.frames):
            mode = "RGB" if kind == "ppm" else "L"
            large = Image.fromarray(frame.repeat(times, 0).repeat(times, 1)).convert(mode)
            large.save(folder / f"{i}.{kind}")
        return folder


def recorded_clip() -> Clip:
    """Digits that were not used in training."""
    pictures = load_split()[1].pictures[:FRAMES]
    graph = read_model(MODEL)
    inputs = (pictures / 255).astype(np.float32)[:, np.newaxis, np.newaxis]
    scores = [evaluate(graph, (x,)).outputs[0][0] for x in inputs]
    labels = tuple(LABELS[int(s.argmax())] for s in scores)
    assert len(set(labels)) > 4
    return Clip(pictures, labels, tuple(float(s.max()) for s in scores))

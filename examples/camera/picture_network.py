"""Runs a compiled network on pictures. Needs numpy, cffi and Pillow, but not ellc."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

PIXEL_OPTIONS = "--preprocess imagenet-torch, or --scale 1/255, or what else the network needs"


def load_module(path: Path) -> Any:
    """Load a compiled network's Python module, given its file or the folder that ellc wrote."""
    if path.is_dir():
        found = sorted(f for f in path.glob("*.py") if f.with_suffix(".json").exists())
        if len(found) != 1:
            names = ", ".join(f.name for f in found) or "none"
            raise SystemExit(f"{path}: it must hold one compiled network, but holds {names}")
        path = found[0]
    if path.suffix != ".py" or not path.is_file():
        raise SystemExit(f"{path}: not the NAME.py, or its folder, that `ellc compile` writes")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ModuleNotFoundError as error:
        raise SystemExit(f"{path}: {error}: sudo apt-get install python3-{error.name}") from None
    except (ImportError, OSError, SyntaxError) as error:
        raise SystemExit(f"{path}: {error}; was it compiled for this machine?") from None
    if not hasattr(module, "INPUTS") or not hasattr(module, "Model"):
        raise SystemExit(f"{path}: not the NAME.py that `ellc compile` writes")
    return module


class PictureNetwork:
    """A network whose only input is a picture and whose first output has a score for each class."""

    def __init__(self, path: Path, labels: Path | None = None, threads: int | None = None) -> None:
        module = load_module(path)
        self.name: str = module.__name__
        name, self._dtype, shape, _ = module.INPUTS[0]
        if (
            len(module.INPUTS) != 1
            or np.dtype(self._dtype) not in (np.uint8, np.int8)
            or len(shape) not in (3, 4)
            or shape[:-3] not in ((), (1,))
            or shape[-1] not in (1, 3)
        ):
            raise SystemExit(
                f"{self.name}: its input {name!r} is {np.dtype(self._dtype)} {shape}, not pixels."
                f" Compile it so that it takes pixels: ellc compile MODEL with {PIXEL_OPTIONS}"
            )
        self._rows, self._columns, self._channels = shape[-3:]
        output, _, output_shape, _ = module.OUTPUTS[0]
        self._scale, self._zero_point = module.QUANTISATION.get(output, (1.0, 0))
        self.classes = int(np.prod(output_shape))
        self.labels = self._labels(module.LABELS, labels)
        try:
            self._model = module.Model(threads)
        except RuntimeError as error:
            raise SystemExit(str(error)) from None

    def _labels(self, known: Sequence[str], file: Path | None) -> tuple[str, ...]:
        labels = tuple(known) or tuple(f"class {i}" for i in range(self.classes))
        if file is not None:
            try:
                text = file.read_text(encoding="utf-8-sig").rstrip()
                labels = tuple(text.split("\n")) if text else ()
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or error
                raise SystemExit(f"{file}: {reason}") from None
        if len(labels) != self.classes:
            raise SystemExit(f"classes of {self.name}: {self.classes}, but labels: {len(labels)}")
        return labels

    def pixels(self, frame: Any) -> Any:
        """The middle of a frame, scaled to the size of the network's input.

        A picture that already has this size stays unchanged.
        """
        rows, columns = frame.shape[:2]
        scale = min(columns / self._columns, rows / self._rows)
        width = min(columns, max(1, round(self._columns * scale)))
        height = min(rows, max(1, round(self._rows * scale)))
        left, top = (columns - width) // 2, (rows - height) // 2
        part = Image.fromarray(
            np.require(frame[top : top + height, left : left + width], None, "C")
        )
        mode = "L" if self._channels == 1 else "RGB"
        # When Pillow scales down, each new pixel is an average of all pixels that it covers.
        bilinear = getattr(Image, "Resampling", Image).BILINEAR  # Image.BILINEAR before Pillow 9.1
        small = part.convert(mode).resize((self._columns, self._rows), bilinear)
        pixels = np.asarray(small).reshape(self._rows, self._columns, self._channels)
        if np.dtype(self._dtype) == np.int8:
            return (pixels.astype(np.int16) - 128).astype(np.int8)
        return pixels

    def scores(self, pixels: Any) -> Any:
        """The score of each class as a real number, even if the network's output is quantised."""
        made = self._model.predict(pixels)
        made = made[0] if isinstance(made, tuple) else made
        return self._scale * (made.reshape(-1).astype(np.float64) - self._zero_point)

    def best(self, scores: Any, count: int, threshold: float) -> list[tuple[str, float]]:
        """At most `count` labels with their scores of at least `threshold`, the best first."""
        order = np.argsort(-scores, kind="stable")[:count]
        return [(self.labels[i], float(scores[i])) for i in order if scores[i] >= threshold]

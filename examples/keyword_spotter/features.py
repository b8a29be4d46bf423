"""Computes the features (MFCC) on which MLPerf Tiny's keyword spotters were trained.

One second of sound has 49 frames of 30 ms, which start 20 ms apart. Each frame becomes 10 numbers
in four steps: compute its spectrum; sum the spectrum over each of 40 mel bands; take the
logarithms; and keep the first 10 coefficients of their cosine transform. Every step is written in
plain numpy, so that it is easy to read and to port to C.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

RATE = 16000
"""Samples per second."""
FRAME, HOP, FRAMES = 480, 320, 49
SPECTRUM = 512
BANDS, LOWEST_HZ, HIGHEST_HZ = 40, 20.0, 4000.0
COEFFICIENTS = 10
WINDOW = RATE
"""The samples of one set of features: one second, although 49 frames need only 15,840 samples."""


def _mel(hertz: Any) -> Any:
    return 1127.0 * np.log1p(np.asarray(hertz) / 700.0)


def band_weights() -> Any:
    """The weights [257, 40] of the spectrum's lines in the bands: overlapping triangles."""
    edges = np.linspace(_mel(LOWEST_HZ), _mel(HIGHEST_HZ), BANDS + 2)
    lines = _mel(np.arange(SPECTRUM // 2 + 1) * (RATE / SPECTRUM))[:, np.newaxis]
    rising = (lines - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - lines) / (edges[2:] - edges[1:-1])
    return np.maximum(0.0, np.minimum(rising, falling))


def cosines() -> Any:
    """The cosine transform [40, 10] from the bands' logarithms to the coefficients."""
    angles = np.outer(np.arange(BANDS) + 0.5, np.arange(COEFFICIENTS)) * (np.pi / BANDS)
    return 2.0 * np.cos(angles) / np.sqrt(2.0 * BANDS)


HANN = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(FRAME) / FRAME)
BAND_WEIGHTS = band_weights()
COSINES = cosines()


def band_energies(frame: Any) -> Any:
    """The sums of the spectrum over the bands [40], for a frame of samples [480]."""
    return np.abs(np.fft.rfft(frame * HANN, SPECTRUM)) @ BAND_WEIGHTS


def coefficients(energies: Any, loudest: float) -> Any:
    """The MFCC [49, 10] of one second, given its frames' band energies and its loudest sample.

    In training, the sound was divided by its loudest sample. The energies are proportional to the
    sound, so the result is the same if the energies are divided. This way the energies of a frame
    need to be computed only once, although the frame belongs to many windows of one second.
    """
    scale = 1.0 / loudest if loudest > 0 else 0.0
    return (np.log(energies * scale + 1e-6) @ COSINES).astype(np.float32)


def features(samples: Any) -> Any:
    """The MFCC [49, 10] of one second of samples. If it is shorter, silence is appended."""
    sound = np.zeros(WINDOW)
    sound[: len(samples)] = samples[:WINDOW]
    frames = [sound[i * HOP : i * HOP + FRAME] for i in range(FRAMES)]
    return coefficients(np.array([band_energies(f) for f in frames]), float(sound.max()))


class Stream:
    """The features of the latest second of a sound that arrives in blocks of `HOP` samples."""

    def __init__(self) -> None:
        self._sound: deque[Any] = deque(maxlen=WINDOW // HOP)
        self._energies: deque[Any] = deque(maxlen=FRAMES)

    def add(self, samples: Any) -> Any | None:
        """Append `HOP` samples. Returns the features, or None during the first second."""
        assert len(samples) == HOP
        self._sound.append(np.asarray(samples, np.float64))
        if len(self._sound) > 1:  # a frame ends in the middle of this block
            piece, last = self._sound[-2], self._sound[-1]
            self._energies.append(band_energies(np.concatenate([piece, last[: FRAME - HOP]])))
        if len(self._sound) < WINDOW // HOP:
            return None
        return coefficients(np.array(self._energies), max(float(s.max()) for s in self._sound))

"""From sound to the features that MLPerf Tiny's keyword spotters were trained on.

A second of sound is 49 frames of 30 ms, 20 ms apart. Each becomes 10 numbers (MFCC): its spectrum,
how much of it lies in each of 40 bands as the ear hears them, the logarithm of that, and the slow
part of it along the bands by a cosine transform. Everything is written out in numpy, so that it can
be read, and moved to C.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

RATE = 16000
"""Samples a second."""
FRAME, HOP, FRAMES = 480, 320, 49
SPECTRUM = 512
BANDS, LOWEST_HZ, HIGHEST_HZ = 40, 20.0, 4000.0
COEFFICIENTS = 10
WINDOW = RATE
"""Samples of which one set of features is made: 49 frames end a little before them."""


def _mel(hertz: Any) -> Any:
    return 1127.0 * np.log1p(np.asarray(hertz) / 700.0)


def band_weights() -> Any:
    """How much each line of the spectrum [257] belongs to each band [40]: overlapping triangles."""
    edges = np.linspace(_mel(LOWEST_HZ), _mel(HIGHEST_HZ), BANDS + 2)
    lines = _mel(np.arange(SPECTRUM // 2 + 1) * (RATE / SPECTRUM))[:, np.newaxis]
    rising = (lines - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - lines) / (edges[2:] - edges[1:-1])
    return np.maximum(0.0, np.minimum(rising, falling))


def cosines() -> Any:
    """The transform [40, 10] from logarithms of bands to coefficients."""
    angles = np.outer(np.arange(BANDS) + 0.5, np.arange(COEFFICIENTS)) * (np.pi / BANDS)
    return 2.0 * np.cos(angles) / np.sqrt(2.0 * BANDS)


HANN = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(FRAME) / FRAME)
BAND_WEIGHTS = band_weights()
COSINES = cosines()


def band_energies(frame: Any) -> Any:
    """What each band [40] has of a frame of samples [480]."""
    return np.abs(np.fft.rfft(frame * HANN, SPECTRUM)) @ BAND_WEIGHTS


def coefficients(energies: Any, loudest: float) -> Any:
    """MFCC [49, 10] of the frames of a second whose loudest sample is this.

    Training divided the sound by its loudest sample. Energies are proportional to it, so that they
    can be divided instead, and each frame's are computed once for all the seconds that it is in.
    """
    scale = 1.0 / loudest if loudest > 0 else 0.0
    return (np.log(energies * scale + 1e-6) @ COSINES).astype(np.float32)


def features(samples: Any) -> Any:
    """MFCC [49, 10] of one second of samples; what is missing at its end is silence."""
    sound = np.zeros(WINDOW)
    sound[: len(samples)] = samples[:WINDOW]
    frames = [sound[i * HOP : i * HOP + FRAME] for i in range(FRAMES)]
    return coefficients(np.array([band_energies(f) for f in frames]), float(sound.max()))


class Stream:
    """Features of the last second of sound that comes in pieces."""

    def __init__(self) -> None:
        self._sound: deque[Any] = deque(maxlen=WINDOW // HOP)
        self._energies: deque[Any] = deque(maxlen=FRAMES)

    def add(self, samples: Any) -> Any | None:
        """Take the next `HOP` samples; the features, or None in the first second."""
        assert len(samples) == HOP
        self._sound.append(np.asarray(samples, np.float64))
        if len(self._sound) > 1:  # a frame begins with the piece before
            piece, last = self._sound[-2], self._sound[-1]
            self._energies.append(band_energies(np.concatenate([piece, last[: FRAME - HOP]])))
        if len(self._sound) < WINDOW // HOP:
            return None
        return coefficients(np.array(self._energies), max(float(s.max()) for s in self._sound))

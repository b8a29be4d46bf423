"""Sources of sound: a WAV file or a microphone. Samples are 16-bit integers."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from features import HOP, RATE

Pieces = Iterator[Any]


def from_wav(file: Path) -> Pieces:
    """The sound of a file in blocks of `HOP` samples. The last block is filled up with silence."""
    samples = wav_samples(file)
    for start in range(0, len(samples), HOP):
        piece = samples[start : start + HOP]
        yield np.pad(piece, (0, HOP - len(piece)))


def wav_samples(file: Path) -> Any:
    """All samples of a WAV file, averaged over its channels."""
    try:
        with wave.open(str(file), "rb") as opened:
            channels, width, rate = opened.getparams()[:3]
            data = opened.readframes(opened.getnframes())
    except (OSError, EOFError, wave.Error) as error:
        reason = getattr(error, "strerror", None) or str(error) or "the file ends too early"
        raise SystemExit(f"{file}: not a WAV file that can be read: {reason}") from None
    if rate != RATE or width != 2:
        raise SystemExit(
            f"{file}: {rate} samples per second of {8 * width} bits, but {RATE} of 16 are needed:"
            f" sox {file.name} -r {RATE} -b 16 -c 1 other.wav"
        )
    count = len(data) // (2 * channels) * channels
    return np.frombuffer(data, "<i2", count).reshape(-1, channels).mean(axis=1)


def from_microphone(device: str | None) -> Pieces:
    """Live sound, read by the Python package sounddevice or else by the program arecord."""
    if importlib.util.find_spec("sounddevice"):
        yield from _sounddevice(device)
    elif shutil.which("arecord"):
        yield from _arecord(device)
    else:
        raise SystemExit(
            "a microphone needs the program arecord (sudo apt-get install alsa-utils) or the Python"
            " package sounddevice; `--wav FILE` needs neither"
        )


def _sounddevice(device: str | None) -> Pieces:
    import sounddevice

    chosen = int(device) if device and device.isdigit() else device
    try:
        with sounddevice.RawInputStream(
            RATE, blocksize=HOP, device=chosen, channels=1, dtype="int16"
        ) as stream:
            while True:
                data, _ = stream.read(HOP)
                yield np.frombuffer(bytes(data), np.int16)
    except (sounddevice.PortAudioError, ValueError) as error:
        raise SystemExit(f"microphone: {error}") from None


def _arecord(device: str | None) -> Pieces:
    words = ["arecord", "-q", "-t", "raw", "-f", "S16_LE", "-r", str(RATE), "-c", "1"]
    if device:
        words += ["-D", device]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as recorder:
        assert recorder.stdout is not None and recorder.stderr is not None
        try:
            while len(data := recorder.stdout.read(2 * HOP)) == 2 * HOP:
                yield np.frombuffer(data, "<i2")
            message = recorder.stderr.read().decode("utf-8", "replace").strip()
            raise SystemExit(f"microphone: no more sound; arecord says: {message or 'nothing'}")
        finally:
            recorder.terminate()

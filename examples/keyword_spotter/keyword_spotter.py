"""Print the words that a compiled network recognises in a microphone's sound or a WAV file.

    python3 keyword_spotter.py NETWORK                  # a microphone; Ctrl-C ends the program
    python3 keyword_spotter.py NETWORK --wav FILE

NETWORK is the folder that `ellc compile` wrote. The input of the network must be MLPerf Tiny's
features: 49 frames of 10 numbers. Needs numpy and cffi, but not ellc.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

try:
    import numpy as np
    from features import COEFFICIENTS, FRAMES, HOP, RATE, Stream
    from sound import from_microphone, from_wav
except ModuleNotFoundError as error:
    needed = "python3-numpy python3-cffi"
    raise SystemExit(f"{error}: copy the whole folder, and sudo apt-get install {needed}") from None

STEP = 5
"""The network is called once every this many blocks of 20 ms."""
PAUSE_S = 1.0
"""The pause, in seconds, after which a word is printed again: it is in the input for so long."""


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Print the words that a network recognises.")
    parser.add_argument("network", type=Path, help="folder that `ellc compile` wrote, or NAME.py")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--wav", type=Path, metavar="FILE", help="a WAV file, 16 kHz, 16 bits")
    source.add_argument("--microphone", metavar="DEVICE", help="device of sounddevice or arecord")
    parser.add_argument("--labels", type=Path, metavar="FILE", help="class names, one a line")
    parser.add_argument(
        "--ignore",
        default="Silence,Unknown,_silence_,_unknown_,_background_noise_",
        metavar="LABEL,...",
        help="classes that are not words [%(default)s]",
    )
    parser.add_argument("--threshold", type=number, default=0.6, help="lowest mean score [0.6]")
    parser.add_argument(
        "--smooth", type=float, default=0.5, metavar="S", help="average scores over S seconds [0.5]"
    )
    parser.add_argument("--scores", action="store_true", help="print the best class of each call")
    options = parser.parse_args(words)
    if not STEP * HOP / RATE <= options.smooth <= 10:
        parser.error(f"--smooth {options.smooth}: {STEP * HOP / RATE} to 10 seconds")
    return options


def number(text: str) -> float:
    """An argument type: a number, which NaN is not."""
    value = float(text)
    if math.isnan(value):
        raise argparse.ArgumentTypeError(f"{text}: not a number")
    return value


def load_module(path: Path) -> Any:
    """Load a compiled network's Python module, given its file or the folder that ellc wrote."""
    if path.is_dir():
        found = sorted(f for f in path.glob("*.py") if f.with_suffix(".json").exists())
        path = found[0] if len(found) == 1 else path / "NAME.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise SystemExit(f"{path}: no compiled network; give the folder that `ellc compile` wrote")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ModuleNotFoundError as error:
        raise SystemExit(f"{path}: {error}: sudo apt-get install python3-{error.name}") from None
    except (ImportError, OSError, SyntaxError) as error:
        raise SystemExit(f"{path}: {error}; was it compiled for this machine?") from None
    return module


class Spotter:
    """A compiled network whose input is the features of one second of sound."""

    def __init__(self, path: Path, labels: Path | None = None) -> None:
        module = load_module(path)
        try:
            ((name, dtype, shape, _),) = module.INPUTS
            (output, _, output_shape, _), *_ = module.OUTPUTS
        except (AttributeError, ValueError):
            raise SystemExit(f"{path}: not a compiled network with one input") from None
        self._dtype, self._shape = np.dtype(dtype), shape
        fits = np.prod(shape) == FRAMES * COEFFICIENTS
        if self._dtype not in (np.float32, np.int8, np.uint8) or not fits:
            raise SystemExit(
                f"{path}: its input {name!r} is {self._dtype} {shape}, not {FRAMES} frames of"
                f" {COEFFICIENTS} features"
            )
        self._input = module.QUANTISATION.get(name, (1.0, 0))
        self._output = module.QUANTISATION.get(output, (1.0, 0))
        self._model = module.Model(1)
        self.labels = _labels(labels, module.LABELS, int(np.prod(output_shape)))

    def scores(self, heard: Any) -> Any:
        """The score of each class as a real number, for features [49, 10]."""
        values = heard
        if self._dtype.kind != "f":
            scale, zero_point = self._input
            limits = np.iinfo(self._dtype)
            stored = np.rint(heard / np.float32(scale)) + zero_point
            values = np.clip(stored, limits.min, limits.max).astype(self._dtype)
        outputs = self._model.predict(values.reshape(self._shape))
        outputs = outputs[0] if isinstance(outputs, tuple) else outputs
        scale, zero_point = self._output
        return scale * (outputs.reshape(-1).astype(np.float64) - zero_point)


def _labels(file: Path | None, known: Sequence[str], classes: int) -> tuple[str, ...]:
    labels = tuple(known) or tuple(f"class {i}" for i in range(classes))
    if file is not None:
        try:
            text = file.read_text(encoding="utf-8-sig").rstrip()
            labels = tuple(text.split("\n")) if text else ()
        except (OSError, ValueError) as error:
            raise SystemExit(f"{file}: {getattr(error, 'strerror', None) or error}") from None
    if len(labels) != classes:
        raise SystemExit(f"classes of the network: {classes}, but labels: {len(labels)}")
    return labels


@dataclass(frozen=True)
class Heard:
    """The best class of one call, and the best class by the mean scores of the latest calls."""

    end_s: float
    label: str
    score: float
    mean_label: str
    mean_score: float


def listen(spotter: Spotter, pieces: Iterator[Any], smooth_s: float) -> Iterator[Heard]:
    """Call the network on the latest second of sound, once for every `STEP` blocks."""
    stream = Stream()
    recent: deque[Any] = deque(maxlen=max(1, round(smooth_s * RATE / HOP / STEP)))
    first = None
    for number, piece in enumerate(pieces):
        heard = stream.add(piece)
        if heard is None:
            continue
        first = number if first is None else first
        if (number - first) % STEP:
            continue
        scores = spotter.scores(heard)
        recent.append(scores)
        mean = np.mean(recent, axis=0)
        best, mean_best = int(scores.argmax()), int(mean.argmax())
        end_s = (number + 1) * HOP / RATE
        yield Heard(
            *(end_s, spotter.labels[best], float(scores[best])),
            *(spotter.labels[mean_best], float(mean[mean_best])),
        )
    if first is None:
        raise SystemExit("the sound is shorter than a second")


def words_of(
    calls: Iterator[Heard], threshold: float, ignored: Sequence[str], show_calls: bool
) -> Iterator[Heard]:
    """The results that are words.

    A word is yielded again after another word, or after `PAUSE_S` without any word.
    """
    last: tuple[str, float] = ("", float("-inf"))
    for heard in calls:
        if show_calls:
            print(f"  {heard.end_s:7.2f} s  {heard.label} {heard.score:.2f}", flush=True)
        if heard.mean_label in ignored or heard.mean_score < threshold:
            continue
        if heard.mean_label != last[0] or heard.end_s - last[1] >= PAUSE_S:
            yield heard
        last = (heard.mean_label, heard.end_s)


def stop(signal_number: int, frame: Any) -> None:
    """Handle SIGTERM like Ctrl-C, since systemd stops programs with SIGTERM."""
    raise KeyboardInterrupt


def main() -> None:
    """Run the program."""
    options = parse_arguments()
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # end silently when `head` has enough
    spotter = Spotter(options.network, options.labels)
    pieces = from_wav(options.wav) if options.wav else from_microphone(options.microphone)
    count = 0
    try:
        calls = listen(spotter, pieces, options.smooth)
        for word in words_of(calls, options.threshold, options.ignore.split(","), options.scores):
            print(f"{word.end_s:7.2f} s  {word.mean_label} {word.mean_score:.2f}", flush=True)
            count += 1
    except KeyboardInterrupt:
        print()
    print(f"{count} words")


if __name__ == "__main__":
    main()

"""Make a small network that recognises three kinds of whistles, to try the keyword spotter.

    python3 whistles.py FOLDER      # whistles.onnx, labels.txt, and a recording, whistles.wav

The pitch of a whistle rises, falls, or stays the same. numpy makes the whistles and the noise. The
network has one hidden layer with fixed random weights. The weights of its last layer solve a system
of linear equations, so training takes a second and always gives the same result. Needs the Python
package onnx.
"""

from __future__ import annotations

import sys
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from features import COEFFICIENTS, FRAMES, RATE, features

LABELS = ("Silence", "rising", "falling", "steady")
EXAMPLES = 250
"""The number of training examples for each class. Each is a second long."""
HIDDEN = 256
SAID = ("rising", "steady", "falling", "rising")
"""The whistles of the recording, which start two seconds apart."""


def whistle(label: str, random: np.random.RandomState) -> Any:
    """A whistle of about half a second, as samples between -1 and 1."""
    length = int(RATE * random.uniform(0.45, 0.6))
    low, high = random.uniform(500, 700), random.uniform(1600, 2200)
    ends = {"rising": (low, high), "falling": (high, low), "steady": (1000.0, 1000.0)}[label]
    hertz = np.geomspace(*ends, length) * random.uniform(0.9, 1.1)
    fade = np.minimum(1, np.minimum(np.arange(length), np.arange(length)[::-1]) / 800)
    return fade * np.sin(2 * np.pi * np.cumsum(hertz) / RATE)


def second(label: str, complete: bool, random: np.random.RandomState) -> Any:
    """One second of noise with a whistle, of which a part is cut off unless it is `complete`."""
    sound = random.normal(size=3 * RATE) * random.uniform(0.002, 0.02)
    if label != "Silence":
        made = whistle(label, random)
        missing = 0 if complete else int(len(made) * random.uniform(0.25, 1))
        starts = (RATE - missing, 2 * RATE - len(made) + missing)
        start = random.randint(*starts) if complete else starts[random.randint(2)]
        sound[start : start + len(made)] += made
    return sound[RATE : 2 * RATE]


def examples(random: np.random.RandomState) -> Iterator[tuple[str, Any]]:
    """Labels and sounds of one second. A sound with only a part of a whistle counts as silence."""
    for label in LABELS:
        for _ in range(EXAMPLES):
            yield label, second(label, True, random)
            yield "Silence", second(label, False, random)


def recording(random: np.random.RandomState) -> Any:
    """Nine seconds of noise with the whistles of `SAID`, as 16-bit integers."""
    sound = random.normal(size=RATE * (2 * len(SAID) + 1)) * 0.01
    for i, label in enumerate(SAID):
        made = whistle(label, random)
        start = RATE + 2 * RATE * i
        sound[start : start + len(made)] += made
    return np.rint(np.clip(sound, -1, 1) * 20000).astype("<i2")


def train(random: np.random.RandomState) -> tuple[Any, ...]:
    """Train the network. Returns the weights and biases of both layers."""
    labels, sounds = zip(*examples(random), strict=True)
    kinds = np.array([LABELS.index(label) for label in labels])
    heard = np.array([features(sound).ravel() for sound in sounds], np.float64)
    mean, spread = heard.mean(axis=0), heard.std(axis=0)
    first = random.normal(size=(heard.shape[1], HIDDEN)) / np.sqrt(heard.shape[1])
    weights, bias = first / spread[:, np.newaxis], -(mean / spread) @ first
    hidden = np.maximum(0, heard @ weights + bias)
    hidden = np.hstack([hidden, np.ones((len(hidden), 1))])
    wanted = 12.0 * np.eye(len(LABELS))[kinds] - 3.0  # so far apart that softmax gives nearly 1
    equations = hidden.T @ hidden + np.eye(hidden.shape[1])
    last = np.linalg.solve(equations, hidden.T @ wanted)
    return weights, bias, last[:-1], last[-1]


def save_network(layers: tuple[Any, ...], file: Path) -> None:
    """Write the network as an ONNX file."""
    try:
        from onnx import TensorProto, helper, numpy_helper, save
    except ModuleNotFoundError as error:
        raise SystemExit(f"{error}: pip install onnx") from None

    names = ("weights", "bias", "last_weights", "last_bias")
    stored = [
        numpy_helper.from_array(np.asarray(a, np.float32), n)
        for a, n in zip(layers, names, strict=True)
    ]
    nodes = [
        helper.make_node("Flatten", ["features"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weights", "bias"], ["sums"]),
        helper.make_node("Relu", ["sums"], ["hidden"]),
        helper.make_node("Gemm", ["hidden", "last_weights", "last_bias"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["probabilities"]),
    ]
    shapes = {"features": (1, FRAMES, COEFFICIENTS), "probabilities": (1, len(LABELS))}
    given, made = (
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s)] for n, s in shapes.items()
    )
    graph = helper.make_graph(nodes, "whistles", given, made, stored)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]), file)


def save_wav(samples: Any, file: Path) -> None:
    """Write 16-bit samples as a WAV file with one channel."""
    with wave.open(str(file), "wb") as opened:
        opened.setnchannels(1)
        opened.setsampwidth(2)
        opened.setframerate(RATE)
        opened.writeframes(samples.tobytes())


def main() -> None:
    """Run the program."""
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        raise SystemExit("usage: whistles.py FOLDER")
    folder = Path(sys.argv[1])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_network(train(np.random.RandomState(0)), folder / "whistles.onnx")
        save_wav(recording(np.random.RandomState(1)), folder / "whistles.wav")
        (folder / "labels.txt").write_text("\n".join(LABELS) + "\n", encoding="utf-8")
    except OSError as error:
        raise SystemExit(f"{folder}: {error.strerror}") from None


if __name__ == "__main__":
    main()

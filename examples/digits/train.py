"""Train two small networks on handwritten digits, with numpy alone.

    python examples/digits/train.py

writes `digits_float.ell`, `digits_binary.ell` and a report of the training, `digits.json`, into the
folder of this script. The same seed gives the same networks, except for rounding differences
between processors.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from digits_data import METADATA, SPLIT_SEED, Array, Digits, load_split
from export import network_graph
from numpy_layers import (
    Adam,
    BatchNorm,
    BinaryConvolution,
    Convolution,
    Dense,
    Layer,
    MaxPool,
    Relu,
    cross_entropy,
)
from threadpoolctl import threadpool_limits

from ellc.frontends.ell.write import write_ell

FOLDER = Path(__file__).resolve().parent
IMAGE_SHAPE = (8, 8, 1)


def float_layers(random: np.random.RandomState) -> list[Layer]:
    """The layers of the float network, which has 15 thousand weights."""
    return [
        *(Convolution(random, 1, 16), BatchNorm(16), Relu()),
        *(Convolution(random, 16, 32), BatchNorm(32), Relu(), MaxPool()),
        *(Convolution(random, 32, 32), BatchNorm(32), Relu(), MaxPool()),
        Dense(random, 2 * 2 * 32, 10),
    ]


def binary_layers(random: np.random.RandomState) -> list[Layer]:
    """The layers of the binary network.

    Its two binary convolutions are between a convolution and a dense layer with real numbers.
    """
    return [
        *(Convolution(random, 1, 16), BatchNorm(16)),
        *(BinaryConvolution(random, 16, 64), MaxPool(), BatchNorm(64)),
        *(BinaryConvolution(random, 64, 64), MaxPool(), BatchNorm(64), Relu()),
        Dense(random, 2 * 2 * 64, 10),
    ]


@dataclass(frozen=True)
class Recipe:
    """A network and the settings of its training. The step size falls linearly to zero."""

    name: str
    layers: Callable[[np.random.RandomState], list[Layer]]
    epochs: int
    rate: float
    seed: int = 7
    batch: int = 32


@dataclass(frozen=True)
class Epoch:
    """Mean loss and accuracy of one epoch. Each batch is measured before it updates the network."""

    loss: float
    accuracy: float


RECIPES = (
    Recipe("digits_float", float_layers, epochs=15, rate=0.003),
    Recipe("digits_binary", binary_layers, epochs=30, rate=0.01),
)


def run(layers: list[Layer], x: Array, training: bool = False) -> Array:
    """Compute the scores [n,10] of images [n,8,8,1]."""
    for layer in layers:
        x = layer.forward(x, training)
    return x


def start(recipe: Recipe) -> tuple[list[Layer], np.random.RandomState]:
    """The untrained layers, and the random generator for the rest of the training."""
    random = np.random.RandomState(recipe.seed)
    return recipe.layers(random), random


def train(
    recipe: Recipe, layers: list[Layer], random: np.random.RandomState, digits: Digits
) -> Iterator[Epoch]:
    """Train the network. Each step of the iterator trains one epoch and yields its statistics."""
    adam = Adam([p for layer in layers for p in layer.parameters])
    inputs = digits.inputs.astype(np.float64)
    steps = len(inputs) // recipe.batch * recipe.epochs
    for _ in range(recipe.epochs):
        # Digits that do not fill a last batch are left out of this epoch.
        order = random.permutation(len(inputs))[: len(inputs) // recipe.batch * recipe.batch]
        losses, hits = [], 0
        for chosen in order.reshape(-1, recipe.batch):
            scores = run(layers, inputs[chosen], training=True)
            loss, gradient = cross_entropy(scores, digits.labels[chosen])
            for layer in reversed(layers):
                gradient = layer.backward(gradient)
            adam.step(recipe.rate * (1 - adam.steps / steps))
            losses.append(loss)
            hits += int((scores.argmax(axis=1) == digits.labels[chosen]).sum())
        yield Epoch(float(np.mean(losses)), hits / len(order))


def accuracy(layers: list[Layer], digits: Digits) -> float:
    """The fraction of the digits that the network classifies correctly."""
    scores = run(layers, digits.inputs.astype(np.float64))
    return float((scores.argmax(axis=1) == digits.labels).mean())


def main() -> None:
    """Train both networks, and write them and the report."""
    training, held_back = load_split()
    report: dict[str, object] = {
        "data": {
            "training": len(training.labels),
            "held_back": len(held_back.labels),
            "split_seed": SPLIT_SEED,
        }
    }
    for recipe in RECIPES:
        history = []
        layers, random = start(recipe)
        for epoch in train(recipe, layers, random, training):
            history.append(epoch)
            print(f"{recipe.name} {len(history):3d}  {epoch.loss:.4f}  {epoch.accuracy:7.2%}")
        graph = network_graph(recipe.name, layers, IMAGE_SHAPE, METADATA)
        write_ell(graph, FOLDER / f"{recipe.name}.ell")
        report[recipe.name] = {
            "seed": recipe.seed,
            "epochs": recipe.epochs,
            "batch": recipe.batch,
            "rate": recipe.rate,
            "first_epoch": {"loss": history[0].loss, "accuracy": history[0].accuracy},
            "last_epoch": {"loss": history[-1].loss, "accuracy": history[-1].accuracy},
            "held_back_accuracy": accuracy(layers, held_back),
        }
        print(f"{recipe.name}: {accuracy(layers, held_back):.2%} of the held-back digits")
    text = json.dumps(report, indent=2)
    (FOLDER / "digits.json").write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    # The matrix products are too small to gain from a second thread.
    with threadpool_limits(1):
        main()

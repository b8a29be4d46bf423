"""Train a float and a binary network of the same shape, and write them as `.onnx` and `.ell`.

    python examples/binary_training/train_binary.py [--data FILE.npz] [--epochs N] [-o FOLDER]

Needs PyTorch: `pip install 'ellc-compiler[train]'`. Without `--data`, the pictures are
scikit-learn's digits; the training takes about two minutes. The same seed gives the same networks
on the same processor.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from sign_network import network, usual_widths
from torch import nn
from training_data import Pictures, load

from ellc.frontends.options import ImportOptions
from ellc.importing import import_file
from ellc.models import ModelOptions

FOLDER = Path(__file__).resolve().parent
BATCH = 64
RATES = {"float": 0.003, "binary": 0.01}


@dataclass(frozen=True)
class Epoch:
    """Mean loss and accuracy of one epoch. Each batch is measured before it updates the network."""

    loss: float
    accuracy: float


def train(model: nn.Module, pictures: Pictures, epochs: int, rate: float) -> Iterator[Epoch]:
    """Train a network. Each step of the iterator trains one epoch and yields its statistics."""
    inputs, labels = torch.from_numpy(pictures.planes), torch.from_numpy(pictures.labels).long()
    adam = torch.optim.Adam(model.parameters(), lr=rate)
    batches = -(-len(inputs) // BATCH)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(adam, epochs * batches)
    for _ in range(epochs):
        model.train()
        losses, hits = [], 0
        for chosen in torch.randperm(len(inputs)).split(BATCH):
            scores = model(inputs[chosen])
            loss = nn.functional.cross_entropy(scores, labels[chosen])
            adam.zero_grad()
            loss.backward()
            adam.step()
            falling.step()
            losses.append(float(loss))
            hits += int((scores.argmax(1) == labels[chosen]).sum())
        yield Epoch(float(np.mean(losses)), hits / len(inputs))


def accuracy(model: nn.Module, pictures: Pictures) -> float:
    """The fraction of the pictures that the network classifies correctly."""
    model.eval()
    with torch.no_grad():
        hits = [
            model(part).argmax(1).numpy() for part in torch.from_numpy(pictures.planes).split(512)
        ]
    return float((np.concatenate(hits) == pictures.labels).mean())


def export(model: nn.Module, shape: Sequence[int], path: Path) -> None:
    """Write a network as `path`, an `.onnx` file, and beside it as `.ell`."""
    model.eval()
    with torch.no_grad():
        torch.onnx.export(
            model,
            (torch.zeros(1, *shape),),
            path,
            input_names=["picture"],
            output_names=["scores"],
            external_data=False,
            verbose=False,
        )
    forget_sources(path)
    options = ModelOptions(ImportOptions(layout="nhwc"))
    import_file(path, path.with_suffix(".ell"), options)


def forget_sources(path: Path) -> None:
    """Remove what PyTorch notes for operators: lines of source code and paths of this machine."""
    model = onnx.load(path)
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info):
        del part.metadata_props[:]
    onnx.save(model, path)


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, help="x_train, y_train, x_test, y_test (.npz)")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--widths", type=int, nargs="+", help="channels of each convolution")
    parser.add_argument("-o", "--output", type=Path, default=FOLDER, help="an existing folder")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Train both networks, and write them, the test pictures and a report."""
    options = arguments(words)
    training, test = load(options.data)
    shape, classes = training.planes.shape[1:], int(training.labels.max()) + 1
    widths = options.widths or usual_widths(shape[1])
    name = options.data.stem if options.data else "digits"
    report: dict[str, object] = {"seed": options.seed, "widths": widths}
    for kind, rate in RATES.items():
        torch.manual_seed(options.seed)
        model = network(shape, widths, classes, binary=kind == "binary")
        history = []
        for number, epoch in enumerate(train(model, training, options.epochs, rate), 1):
            history.append(round(epoch.loss, 4))
            print(f"{kind} {number}/{options.epochs}: loss {epoch.loss:.4f}", flush=True)
        reached = accuracy(model, test)
        print(f"{kind}: {reached:.1%} of {len(test.labels)} test pictures")
        report[kind] = {"accuracy": round(reached, 4), "losses": history}
        export(model, shape, options.output / f"{name}_{kind}.onnx")
    test.save(options.output / f"{name}_test.npz")
    text = json.dumps(report)
    (options.output / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Export small networks of common architectures from PyTorch to ONNX, with PyTorch's results.

    python tests/benchmarks/torch_networks.py FOLDER [--only NAME]

Run it in a separate environment with `torch`, `onnx` and `onnxscript`; ellc is not needed. Each
network is exported by both exporters, with operator sets 13 and 18 if the exporter supports them,
to FOLDER/NAME.EXPORTER.onnx. For each file, FOLDER/NAME.EXPORTER.onnx.npz has `input0`, ...,
`output0`, ..., with a first axis of `SAMPLES` random inputs. Weights are random, not trained.
`exported_networks.py` compiles the files and compares results.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch_architectures as architectures
from torch import Tensor, nn
from torch.nn import functional as F

SAMPLES = 3
SEED = 20


class Recurrent(nn.Module):
    """A recurrent layer whose initial state the model computes, and a classifier."""

    def __init__(self, kind: type[nn.RNNBase], *, bidirectional: bool = False, layers: int = 1):
        super().__init__()
        self.cells = kind(12, 20, layers, batch_first=True, bidirectional=bidirectional)
        self.scores = nn.Linear(20 * (1 + bidirectional), 5)

    def forward(self, x: Tensor) -> Tensor:
        steps, _ = self.cells(x)
        return self.scores(steps[:, -1])


class Crnn(nn.Module):
    """Convolutions on a line of text, and a recurrent layer along it."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d((2, 1)),
        )
        self.line = nn.LSTM(16 * 4, 24, bidirectional=True)
        self.scores = nn.Linear(48, 11)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.image(x)  # [1, 16, 4, columns]
        columns = maps.flatten(1, 2).permute(2, 0, 1)
        steps, _ = self.line(columns)
        return self.scores(steps).log_softmax(2)


class UNet(nn.Module):
    """A U-Net that enlarges by transposed convolution and by interpolation."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = self._block(3, 8), self._block(8, 16)
        self.third = self._block(16, 24)
        self.up = nn.ConvTranspose2d(24, 16, 2, stride=2)
        self.fourth, self.fifth = self._block(32, 16), self._block(24, 8)
        self.mask = nn.Conv2d(8, 2, 1)

    @staticmethod
    def _block(inputs: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.1)
        )

    def forward(self, x: Tensor) -> Tensor:
        one = self.first(x)
        two = self.second(F.max_pool2d(one, 2))
        three = self.third(F.max_pool2d(two, 2))
        four = self.fourth(torch.cat([self.up(three), two], 1))
        wide = F.interpolate(four, scale_factor=2.0, mode="bilinear", align_corners=False)
        return self.mask(self.fifth(torch.cat([wide, one], 1)))


class Encoder(nn.Module):
    """A transformer layer without fused attention, which the exporter for set 13 does not have."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.operands, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        parts = self.operands(self.first(x)).view(batch, tokens, 3, self.heads, -1)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        scores = query @ key.transpose(-1, -2) * (width // self.heads) ** -0.5
        mixed = (scores.softmax(-1) @ value).transpose(1, 2).reshape(batch, tokens, width)
        x = x + self.out(mixed)
        return x + self.narrow(F.gelu(self.wide(self.second(x))))


class VisionTransformer(nn.Module):
    """Patches, a class token, positions, two encoder layers."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 32, 8, stride=8)
        self.token = nn.Parameter(torch.randn(1, 1, 32))
        self.positions = nn.Parameter(torch.randn(1, 17, 32))
        self.encoder = nn.Sequential(Encoder(32, 4), Encoder(32, 4))
        self.scores = nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 7))

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(x.shape[0], -1, -1), patches], 1) + self.positions
        return self.scores(self.encoder(tokens)[:, 0])


class YoloHead(nn.Module):
    """Two scales of boxes, decoded with a grid and concatenated."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.SiLU())
        self.fine = nn.Conv2d(16, 3 * 9, 1)
        self.down = nn.Sequential(nn.Conv2d(16, 24, 3, 2, 1), nn.BatchNorm2d(24), nn.SiLU())
        self.coarse = nn.Conv2d(24, 3 * 9, 1)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.stem(x)
        coarse = self.down(fine)
        return torch.cat([self._boxes(self.fine(fine), 2), self._boxes(self.coarse(coarse), 4)], 1)

    @staticmethod
    def _boxes(y: Tensor, stride: int) -> Tensor:
        batch, _, rows, columns = y.shape
        y = y.view(batch, 3, 9, rows, columns).permute(0, 1, 3, 4, 2).sigmoid()
        down, right = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        grid = torch.stack([right, down], -1).to(y.dtype)
        places = (y[..., 0:2] * 2 - 0.5 + grid) * stride
        sizes = (y[..., 2:4] * 2) ** 2 * stride
        return torch.cat([places, sizes, y[..., 4:]], -1).reshape(batch, -1, 9)


class MobileNetV3(nn.Module):
    """An inverted residual with squeeze and excitation, and hard activations."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16))
        self.wide = nn.Sequential(nn.Conv2d(16, 48, 1, bias=False), nn.BatchNorm2d(48))
        self.deep = nn.Sequential(
            nn.Conv2d(48, 48, 5, 1, 2, groups=48, bias=False), nn.BatchNorm2d(48)
        )
        self.squeeze, self.excite = nn.Conv2d(48, 12, 1), nn.Conv2d(12, 48, 1)
        self.narrow = nn.Sequential(nn.Conv2d(48, 16, 1, bias=False), nn.BatchNorm2d(16))
        self.scores = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.hardswish(self.stem(x))
        y = F.hardswish(self.deep(F.hardswish(self.wide(x))))
        gate = self.excite(F.relu(self.squeeze(F.adaptive_avg_pool2d(y, 1))))
        x = x + self.narrow(y * F.hardsigmoid(gate))
        return self.scores(x.mean((2, 3)))


class ConvNext(nn.Module):
    """Two blocks of a depthwise 7x7 convolution, layer norm over channels, and a bottleneck."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 24, 4, 4)
        self.deep = nn.ModuleList(nn.Conv2d(24, 24, 7, 1, 3, groups=24) for _ in range(2))
        self.norm = nn.ModuleList(nn.LayerNorm(24, 1e-6) for _ in range(2))
        self.wide = nn.ModuleList(nn.Linear(24, 96) for _ in range(2))
        self.narrow = nn.ModuleList(nn.Linear(96, 24) for _ in range(2))
        self.gamma = nn.Parameter(torch.randn(24))
        self.scores = nn.Linear(24, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for deep, norm, wide, narrow in zip(
            self.deep, self.norm, self.wide, self.narrow, strict=True
        ):
            y = norm(deep(x).permute(0, 2, 3, 1))
            y = narrow(F.gelu(wide(y))) * self.gamma
            x = x + y.permute(0, 3, 1, 2)
        return self.scores(x.mean((-2, -1)))


class TemporalConvolutions(nn.Module):
    """Causal dilated convolutions with residuals."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(4, 16, 3)
        self.layers = nn.ModuleList(nn.Conv1d(16, 16, 3, dilation=2**i) for i in range(1, 4))
        self.last = nn.Conv1d(16, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(F.pad(x, (2, 0))))
        for layer in self.layers:
            x = x + F.relu(layer(F.pad(x, (2 * layer.dilation[0], 0))))
        return self.last(x)


class Audio(nn.Module):
    """Audio to words: a trained filter bank, log energies, separable convolutions, attention."""

    def __init__(self) -> None:
        super().__init__()
        self.filters = nn.Conv1d(1, 32, 64, stride=32)
        self.deep = nn.Conv1d(32, 32, 9, padding=4, groups=32)
        self.wide = nn.Conv1d(32, 48, 1)
        self.norm = nn.GroupNorm(4, 48)
        self.attention = nn.Conv1d(48, 1, 1)
        self.scores = nn.Linear(48, 12)

    def forward(self, x: Tensor) -> Tensor:
        energy = torch.log(self.filters(x.unsqueeze(1)) ** 2 + 1e-4)
        y = F.elu(self.norm(self.wide(self.deep(energy))))
        weights = self.attention(y).softmax(-1)
        return self.scores((y * weights).sum(-1))


@dataclass(frozen=True)
class Network:
    """A network: its name, the function that makes it, and the shapes of its inputs."""

    name: str
    make: Callable[[], nn.Module]
    shapes: tuple[tuple[int, ...], ...]


NETWORKS = (
    Network("lstm", lambda: Recurrent(nn.LSTM), ((1, 15, 12),)),
    Network("lstm_two_layers", lambda: Recurrent(nn.LSTM, layers=2), ((1, 9, 12),)),
    Network("gru", lambda: Recurrent(nn.GRU), ((1, 15, 12),)),
    Network("bidirectional", lambda: Recurrent(nn.GRU, bidirectional=True), ((1, 8, 12),)),
    Network("crnn", Crnn, ((1, 1, 16, 40),)),
    Network("unet", UNet, ((1, 3, 32, 48),)),
    Network("vit", VisionTransformer, ((1, 3, 32, 32),)),
    Network("yolo_head", YoloHead, ((1, 3, 32, 48),)),
    Network("mobilenet_v3", MobileNetV3, ((1, 3, 32, 32),)),
    Network("convnext", ConvNext, ((1, 3, 32, 32),)),
    Network("tcn", TemporalConvolutions, ((1, 4, 50),)),
    Network("audio", Audio, ((1, 1600),)),
    *(Network(name, make, (shape,)) for name, (make, shape) in architectures.NETWORKS.items()),
)

EXPORTERS = {"script13": (13, False), "script18": (18, False), "dynamo18": (18, True)}
"""(operator set, whether to use the newer exporter, which needs at least set 18)."""


def randomise_statistics(module: nn.Module) -> None:
    """Set the statistics and factors of batch norms to values other than 0 and 1."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(part.running_mean, 0, 0.3)
            nn.init.uniform_(part.running_var, 0.5, 2)
            nn.init.uniform_(part.weight, 0.5, 1.5)


def export(network: Network, exporter: str, folder: Path) -> Path:
    """Write a file and its samples; returns the path of the file."""
    torch.manual_seed(SEED)
    module = network.make().eval()
    randomise_statistics(module)
    drawn = [[torch.randn(shape) for shape in network.shapes] for _ in range(SAMPLES)]
    version, dynamo = EXPORTERS[exporter]
    path = folder / f"{network.name}.{exporter}.onnx"
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, tuple(drawn[0]), path, opset_version=version, dynamo=dynamo, external_data=False
        )
        results = [module(*inputs) for inputs in drawn]
    stored = {f"input{i}": np.stack([x[i].numpy() for x in drawn]) for i in range(len(drawn[0]))}
    np.savez(f"{path}.npz", output0=np.stack([y.numpy() for y in results]), **stored)
    return path


def main() -> None:
    """Run the program that the module docstring describes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", help="one network")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    for network in NETWORKS:
        if asked.only in (None, network.name):
            for exporter in EXPORTERS:
                print(export(network, exporter, asked.folder), flush=True)


if __name__ == "__main__":
    main()

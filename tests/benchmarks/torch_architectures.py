"""A block or two of further published architectures, for `torch_networks.py`."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def convolution(
    inputs: int, outputs: int, size: int = 3, stride: int = 1, groups: int = 1, **given: int
) -> nn.Sequential:
    """A convolution that keeps the size except for its stride, and batch norm."""
    same = (size - 1) // 2 * given.get("dilation", 1)
    layer = nn.Conv2d(inputs, outputs, size, stride, same, groups=groups, bias=False, **given)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs))


class EfficientNet(nn.Module):
    """Inverted residuals with squeeze and excitation, SiLU, and windows of 3 and 5."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = convolution(3, 12, 3, 2)
        self.wide = nn.ModuleList([convolution(12, 48, 1), convolution(16, 64, 1)])
        self.deep = nn.ModuleList([convolution(48, 48, 3, 2, 48), convolution(64, 64, 5, 1, 64)])
        self.squeeze = nn.ModuleList([nn.Conv2d(48, 3, 1), nn.Conv2d(64, 4, 1)])
        self.excite = nn.ModuleList([nn.Conv2d(3, 48, 1), nn.Conv2d(4, 64, 1)])
        self.narrow = nn.ModuleList([convolution(48, 16, 1), convolution(64, 16, 1)])
        self.scores = nn.Sequential(nn.Dropout(0.2), nn.Linear(16, 10))

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(self.stem(x))
        for wide, deep, squeeze, excite, narrow in zip(
            self.wide, self.deep, self.squeeze, self.excite, self.narrow, strict=True
        ):
            y = F.silu(deep(F.silu(wide(x))))
            y = narrow(y * excite(F.silu(squeeze(y.mean((2, 3), keepdim=True)))).sigmoid())
            x = x + y if x.shape == y.shape else y
        return self.scores(F.adaptive_avg_pool2d(x, 1).flatten(1))


class ShuffleNet(nn.Module):
    """Blocks that compute on half of the channels, and a channel shuffle."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = convolution(3, 24, 3, 2)
        self.left = nn.Sequential(convolution(24, 24, 3, 2, 24), convolution(24, 24, 1), nn.ReLU())
        self.right = self._branch(24, 24, 2)
        self.again = self._branch(24, 24, 1)
        self.scores = nn.Linear(48, 10)

    @staticmethod
    def _branch(inputs: int, outputs: int, stride: int) -> nn.Sequential:
        return nn.Sequential(
            convolution(inputs, outputs, 1), nn.ReLU(inplace=True),
            convolution(outputs, outputs, 3, stride, outputs),
            convolution(outputs, outputs, 1), nn.ReLU(inplace=True),
        )  # fmt: skip

    @staticmethod
    def _shuffled(x: Tensor) -> Tensor:
        batch, channels, rows, columns = x.shape
        pairs = x.view(batch, 2, channels // 2, rows, columns).transpose(1, 2)
        return pairs.contiguous().view(batch, channels, rows, columns)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.stem(x)), 3, 2, 1)
        x = self._shuffled(torch.cat([self.left(x), self.right(x)], 1))
        same, changed = x.chunk(2, 1)
        return self.scores(self._shuffled(torch.cat([same, self.again(changed)], 1)).mean((2, 3)))


class SqueezeNet(nn.Module):
    """Fire modules, pooling with ceil_mode, a convolution as classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 2)
        self.squeeze = nn.ModuleList([nn.Conv2d(16, 8, 1), nn.Conv2d(32, 8, 1)])
        self.one = nn.ModuleList([nn.Conv2d(8, 16, 1), nn.Conv2d(8, 16, 1)])
        self.three = nn.ModuleList([nn.Conv2d(8, 16, 3, padding=1) for _ in range(2)])
        self.scores = nn.Conv2d(32, 10, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        for squeeze, one, three in zip(self.squeeze, self.one, self.three, strict=True):
            x = F.max_pool2d(x, 3, 2, ceil_mode=True)
            y = F.relu(squeeze(x))
            x = torch.cat([F.relu(one(y)), F.relu(three(y))], 1)
        return torch.flatten(F.adaptive_avg_pool2d(F.relu(self.scores(x)), (1, 1)), 1)


class DenseNet(nn.Module):
    """Layers that read all previous layers, with batch norm first, and a transition."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = convolution(3, 16, 7, 2)
        self.norms = nn.ModuleList(nn.BatchNorm2d(16 + 8 * i) for i in range(3))
        self.layers = nn.ModuleList(nn.Conv2d(16 + 8 * i, 8, 3, padding=1) for i in range(3))
        self.transition = nn.Sequential(
            nn.BatchNorm2d(40), nn.ReLU(), nn.Conv2d(40, 20, 1), nn.AvgPool2d(2, 2)
        )
        self.scores = nn.Linear(20, 10)

    def forward(self, x: Tensor) -> Tensor:
        found = [F.max_pool2d(F.relu(self.stem(x)), 3, 2, 1)]
        for norm, layer in zip(self.norms, self.layers, strict=True):
            found.append(layer(F.relu(norm(torch.cat(found, 1)))))
        y = self.transition(torch.cat(found, 1))
        return self.scores(F.adaptive_avg_pool2d(F.relu(y), (1, 1)).flatten(1))


class ResNext(nn.Module):
    """A bottleneck of grouped convolutions with a strided shortcut, and a bottleneck without."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = convolution(3, 16, 3, 2)
        self.first = self._bottleneck(16, 2)
        self.short = convolution(16, 32, 1, 2)
        self.second = self._bottleneck(32, 1)
        self.scores = nn.Linear(32, 10)

    @staticmethod
    def _bottleneck(inputs: int, stride: int) -> nn.Sequential:
        return nn.Sequential(
            convolution(inputs, 24, 1), nn.ReLU(),
            convolution(24, 24, 3, stride, 8), nn.ReLU(), convolution(24, 32, 1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        x = F.relu(self.first(x) + self.short(x))
        return self.scores(F.relu(self.second(x) + x).mean((-1, -2)))


class SwinBlock(nn.Module):
    """Attention in shifted windows with a table of relative positions, and patch merging."""

    def __init__(self, size: int = 8, window: int = 4, width: int = 24, heads: int = 3) -> None:
        super().__init__()
        self.window, self.heads, self.shift = window, heads, window // 2
        self.patches = nn.Conv2d(3, width, 4, 4)
        self.norm, self.last = nn.LayerNorm(width), nn.LayerNorm(width)
        self.operands, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.merge = nn.Linear(4 * width, 2 * width, bias=False)
        self.table = nn.Parameter(torch.randn((2 * window - 1) ** 2, heads))
        places = torch.stack(torch.meshgrid(*[torch.arange(window)] * 2, indexing="ij")).flatten(1)
        offsets = (places[:, :, None] - places[:, None]) + window - 1
        self.register_buffer("index", offsets[0] * (2 * window - 1) + offsets[1])
        regions = torch.zeros(1, size, size, 1)
        parts = (slice(0, -window), slice(-window, -self.shift), slice(-self.shift, None))
        for number, (rows, columns) in enumerate((a, b) for a in parts for b in parts):
            regions[:, rows, columns] = number
        regions = self._windows(regions).squeeze(-1)
        apart = regions[:, None] != regions[:, :, None]
        self.register_buffer("mask", torch.where(apart, -100.0, 0.0))

    def _windows(self, x: Tensor) -> Tensor:
        batch, rows, columns, width = x.shape
        w = self.window
        x = x.view(batch, rows // w, w, columns // w, w, width).permute(0, 1, 3, 2, 4, 5)
        return x.reshape(-1, w * w, width)

    def _attention(self, x: Tensor) -> Tensor:
        windows, tokens, width = x.shape
        parts = self.operands(x).reshape(windows, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind(0)
        bias = self.table[self.index.view(-1)].view(tokens, tokens, -1).permute(2, 0, 1)
        scores = query * (width // self.heads) ** -0.5 @ key.transpose(-2, -1) + bias
        scores = (scores + self.mask.unsqueeze(1)).softmax(-1)
        return self.out((scores @ value).transpose(1, 2).reshape(windows, tokens, width))

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).permute(0, 2, 3, 1)
        batch, rows, columns, width = x.shape
        w = self.window
        y = torch.roll(self.norm(x), (-self.shift, -self.shift), (1, 2))
        y = self._attention(self._windows(y)).view(batch, rows // w, columns // w, w, w, width)
        y = y.permute(0, 1, 3, 2, 4, 5).reshape(batch, rows, columns, width)
        x = x + torch.roll(y, (self.shift, self.shift), (1, 2))
        x = x + self.narrow(F.gelu(self.wide(self.last(x))))
        four = [x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]
        return self.merge(torch.cat(four, -1))


class Mixer(nn.Module):
    """Perceptrons over tokens and over channels."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 32, 8, 8)
        self.first, self.second, self.last = (nn.LayerNorm(32) for _ in range(3))
        self.tokens = nn.Sequential(nn.Linear(16, 24), nn.GELU(), nn.Linear(24, 16))
        self.channels = nn.Sequential(
            nn.Linear(32, 64), nn.GELU(approximate="tanh"), nn.Linear(64, 32)
        )
        self.scores = nn.Linear(32, 9)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = x + self.tokens(self.first(x).transpose(1, 2)).transpose(1, 2)
        x = x + self.channels(self.second(x))
        return self.scores(self.last(x).mean(1))


class Decoder(nn.Module):
    """A GPT: embeddings of tokens and positions, causal attention, logits with tied embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(50, 32), nn.Embedding(16, 32)
        self.first, self.second, self.last = (nn.LayerNorm(32) for _ in range(3))
        self.operands, self.out = nn.Linear(32, 96), nn.Linear(32, 32)
        self.wide, self.narrow = nn.Linear(32, 128), nn.Linear(128, 32)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, _ = x.shape
        x = self.words(x.abs().sum(-1).mul(7).long() % 50) + self.places(torch.arange(tokens))
        split = self.operands(self.first(x)).split(32, -1)
        query, key, value = (v.view(batch, tokens, 4, 8).transpose(1, 2) for v in split)
        scores = query @ key.transpose(-2, -1) / math.sqrt(8)
        places = torch.arange(tokens)
        future = places > places[:, None]  # operator set 13 has no `Trilu`
        scores = scores.masked_fill(future, float("-inf")).softmax(-1)
        x = x + self.out((scores @ value).transpose(1, 2).contiguous().view(batch, tokens, 32))
        x = x + self.narrow(F.gelu(self.wide(self.second(x)), approximate="tanh"))
        return self.last(x) @ self.words.weight.T


class Llama(nn.Module):
    """RMS norm, rotary positions, grouped-query attention, a gated perceptron."""

    def __init__(self) -> None:
        super().__init__()
        self.scales = nn.ParameterList(nn.Parameter(torch.rand(32) + 0.5) for _ in range(2))
        self.query, self.key, self.value = nn.Linear(32, 32), nn.Linear(32, 16), nn.Linear(32, 16)
        self.out = nn.Linear(32, 32, bias=False)
        self.gate, self.up, self.down = nn.Linear(32, 64), nn.Linear(32, 64), nn.Linear(64, 32)

    @staticmethod
    def _norm(x: Tensor, scale: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * scale

    @staticmethod
    def _turned(x: Tensor) -> Tensor:
        tokens, size = x.shape[-2:]
        speeds = 10000.0 ** -(torch.arange(0, size, 2).float() / size)
        angles = torch.outer(torch.arange(tokens).float(), speeds)
        angles = torch.cat([angles, angles], -1)
        low, high = x[..., : size // 2], x[..., size // 2 :]
        return x * angles.cos() + torch.cat([-high, low], -1) * angles.sin()

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, _ = x.shape
        y = self._norm(x, self.scales[0])
        query, key, value = (
            part(y).view(batch, tokens, -1, 8).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        key = self._turned(key).repeat_interleave(2, 1)
        value = value[:, :, None].expand(-1, -1, 2, -1, -1).reshape(query.shape)
        places = torch.arange(tokens)
        scores = self._turned(query) @ key.transpose(-1, -2) * 8**-0.5
        scores = scores.masked_fill(places > places[:, None], -1e9).softmax(-1)
        x = x + self.out((scores @ value).transpose(1, 2).flatten(2))
        y = self._norm(x, self.scales[1])
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class WaveNet(nn.Module):
    """Gated dilated convolutions with a sum of skip connections."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(1, 16, 1)
        self.layers = nn.ModuleList(nn.Conv1d(16, 32, 2, dilation=2**i) for i in range(4))
        self.out = nn.ModuleList(nn.Conv1d(16, 16, 1) for _ in range(4))
        self.skip = nn.ModuleList(nn.Conv1d(16, 24, 1) for _ in range(4))
        self.last = nn.Sequential(nn.ReLU(), nn.Conv1d(24, 24, 1), nn.ReLU(), nn.Conv1d(24, 8, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        skips = torch.zeros(1)
        for layer, out, skip in zip(self.layers, self.out, self.skip, strict=True):
            wave, gate = layer(F.pad(x, (layer.dilation[0], 0))).chunk(2, 1)
            y = torch.tanh(wave) * torch.sigmoid(gate)
            skips = skips + skip(y)
            x = x + out(y)
        return self.last(skips)


class Conformer(nn.Module):
    """Half-step perceptrons, attention, and a gated depthwise convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.after = self._perceptron(), self._perceptron()
        self.norms = nn.ModuleList(nn.LayerNorm(24) for _ in range(3))
        self.operands, self.out = nn.Linear(24, 72), nn.Linear(24, 24)
        self.wide, self.narrow = nn.Conv1d(24, 48, 1), nn.Conv1d(24, 24, 1)
        self.deep, self.norm = nn.Conv1d(24, 24, 7, padding=3, groups=24), nn.BatchNorm1d(24)

    @staticmethod
    def _perceptron() -> nn.Sequential:
        return nn.Sequential(nn.LayerNorm(24), nn.Linear(24, 48), nn.SiLU(), nn.Linear(48, 24))

    def forward(self, x: Tensor) -> Tensor:
        x = x + 0.5 * self.before(x)
        parts = self.operands(self.norms[0](x)).view(*x.shape[:2], 3, 3, 8).permute(2, 0, 3, 1, 4)
        scores = torch.einsum("bhqd,bhkd->bhqk", parts[0], parts[1]) * 8**-0.5
        mixed = torch.einsum("bhqk,bhkd->bqhd", scores.softmax(-1), parts[2])
        x = x + self.out(mixed.flatten(2))
        y = F.glu(self.wide(self.norms[1](x).transpose(1, 2)), 1)
        x = x + self.narrow(F.silu(self.norm(self.deep(y)))).transpose(1, 2)
        return self.norms[2](x + 0.5 * self.after(x))


class DeepLab(nn.Module):
    """An atrous pyramid with a branch of global pooling, and a decoder with a skip connection."""

    def __init__(self) -> None:
        super().__init__()
        self.low, self.high = convolution(3, 12, 3, 2), convolution(12, 24, 3, 2)
        self.one = convolution(24, 16, 1)
        self.wide = nn.ModuleList(convolution(24, 16, dilation=d) for d in (2, 4))
        self.pool = nn.Conv2d(24, 16, 1)
        self.join, self.thin = convolution(64, 16, 1), convolution(12, 8, 1)
        self.mask = nn.Conv2d(24, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        size, low = x.shape[-2:], F.relu(self.low(x))
        y = F.relu(self.high(low))
        whole = F.relu(self.pool(F.adaptive_avg_pool2d(y, 1)))
        whole = F.interpolate(whole, y.shape[-2:], mode="bilinear", align_corners=False)
        every = [F.relu(self.one(y)), *(F.relu(layer(y)) for layer in self.wide), whole]
        y = F.relu(self.join(torch.cat(every, 1)))
        y = F.interpolate(y, low.shape[-2:], mode="bilinear", align_corners=True)
        y = self.mask(torch.cat([y, F.relu(self.thin(low))], 1))
        return F.interpolate(y, size, mode="bicubic", align_corners=False)


class SsdHead(nn.Module):
    """Two maps of classes and boxes, decoded with anchors that are computed from their shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.down = convolution(3, 16, 3, 4), convolution(16, 24, 3, 2)
        self.classes = nn.ModuleList([nn.Conv2d(16, 9, 3, padding=1), nn.Conv2d(24, 9, 1)])
        self.boxes = nn.ModuleList([nn.Conv2d(16, 12, 3, padding=1), nn.Conv2d(24, 12, 1)])

    def forward(self, x: Tensor) -> Tensor:
        fine = F.relu6(self.stem(x))
        found = []
        for y, classes, boxes in zip(
            (fine, F.relu6(self.down(fine))), self.classes, self.boxes, strict=True
        ):
            rows, columns = y.shape[-2:]
            down, right = torch.meshgrid(
                (torch.arange(rows).float() + 0.5) / rows,
                (torch.arange(columns).float() + 0.5) / columns,
                indexing="ij",
            )  # fmt: skip
            anchors = torch.stack([right, down], -1).view(-1, 1, 2).repeat(1, 3, 1).view(-1, 2)
            scores = classes(y).permute(0, 2, 3, 1).reshape(1, -1, 3).softmax(-1)
            place = boxes(y).permute(0, 2, 3, 1).reshape(1, -1, 4)
            middle = place[..., :2] * 0.1 / rows + anchors
            half = torch.exp(place[..., 2:] * 0.2).clamp(max=1.0) / 2
            found.append(torch.cat([middle - half, middle + half, scores], -1))
        return torch.cat(found, 1)


class NestedUNet(nn.Module):
    """U-Net++: nested decoders that read all previous maps of their level."""

    def __init__(self) -> None:
        super().__init__()
        wide = (6, 8, 12)
        self.down = nn.ModuleList(convolution(a, b) for a, b in zip((3, *wide), wide, strict=False))
        self.first = convolution(6 + 8, 6)
        self.second = convolution(8 + 12, 8)
        self.third = convolution(6 + 6 + 8, 6)
        self.mask = nn.Conv2d(6, 2, 1)
        self.up = nn.Upsample(scale_factor=2, mode="nearest")

    def forward(self, x: Tensor) -> Tensor:
        zero = F.relu(self.down[0](x))
        one = F.relu(self.down[1](F.max_pool2d(zero, 2)))
        two = F.relu(self.down[2](F.max_pool2d(one, 2)))
        first = F.relu(self.first(torch.cat([zero, self.up(one)], 1)))
        second = F.relu(self.second(torch.cat([one, self.up(two)], 1)))
        third = F.relu(self.third(torch.cat([zero, first, self.up(second)], 1)))
        return self.mask(third).sigmoid()


class SuperResolution(nn.Module):
    """Residual convolutions, PReLU, and a pixel shuffle that is added to the enlarged picture."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 5, padding=2, padding_mode="reflect")
        self.acts = nn.ModuleList([nn.PReLU(16), nn.PReLU()])
        self.middle = nn.ModuleList(nn.Conv2d(16, 16, 3, padding=1) for _ in range(2))
        self.last = nn.Sequential(nn.Conv2d(16, 12, 3, padding=1), nn.PixelShuffle(2))
        self.norm = nn.InstanceNorm2d(16, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        for act, layer in zip(self.acts, self.middle, strict=True):
            y = y + self.norm(layer(act(y)))
        return self.last(y) + F.interpolate(x, scale_factor=2, mode="bicubic")


class GatedDecoder(nn.Module):
    """A speech enhancer: a GRU on the bands of a spectrum, and interpolated gains."""

    def __init__(self) -> None:
        super().__init__()
        self.bands = nn.Linear(33, 12)
        self.cells = nn.GRU(12, 16, 2)
        self.gains = nn.Linear(16, 12)

    def forward(self, x: Tensor) -> Tensor:
        size = torch.log1p(x.abs())
        steps, last = self.cells(self.bands(size).transpose(0, 1))
        gains = self.gains(steps).sigmoid().transpose(0, 1)
        fine = F.interpolate(gains, size=33, mode="linear", align_corners=True)
        return x * fine + last.sum() * 0.01


NETWORKS = {
    "efficientnet": (EfficientNet, (1, 3, 32, 32)),
    "shufflenet": (ShuffleNet, (1, 3, 32, 32)),
    "squeezenet": (SqueezeNet, (1, 3, 37, 33)),
    "densenet": (DenseNet, (1, 3, 32, 32)),
    "resnext": (ResNext, (1, 3, 32, 32)),
    "swin": (SwinBlock, (1, 3, 32, 32)),
    "mixer": (Mixer, (1, 3, 32, 32)),
    "gpt": (Decoder, (1, 11, 3)),
    "llama": (Llama, (1, 9, 32)),
    "wavenet": (WaveNet, (1, 1, 64)),
    "conformer": (Conformer, (1, 20, 24)),
    "deeplab": (DeepLab, (1, 3, 32, 48)),
    "ssd_head": (SsdHead, (1, 3, 32, 48)),
    "unet_nested": (NestedUNet, (1, 3, 24, 32)),
    "super_resolution": (SuperResolution, (1, 3, 12, 16)),
    "speech": (GatedDecoder, (1, 10, 33)),
}
"""The architectures by name, with the shapes of their inputs."""

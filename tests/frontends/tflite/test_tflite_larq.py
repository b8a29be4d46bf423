"""Larq's operators, as loops over packed words compute them.

No available runtime has these operators. The loops work on words, as the kernels of Larq Compute
Engine do: 32 channels in an int32, the first one in the lowest bit, and a bit that is 1 means -1.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from tflite_files import T, TFLiteFile, saved

from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Trial, run_trials
from ellc.frontends.tflite.read import read_tflite
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate
from ellc.ir.ops.binary import BinaryConv2D
from ellc.ir.ops.fused import anchor_of
from ellc.ir.pipeline import run_pipeline
from ellc.ir.types import Array

SAME, VALID = 0, 1
QUANTIZE, DEQUANTIZE = "CUSTOM:LceQuantize", "CUSTOM:LceDequantize"
CONVOLUTION, POOL = "CUSTOM:LceBconv2d", "CUSTOM:LceBMaxPool2d"
CLAMPS = {0: (-np.inf, np.inf), 1: (0, np.inf), 2: (-1, 1), 3: (0, 6)}
"""By number of the fused activation: the range of the sum."""


def words(negative: Array) -> Array:
    """Pack flags along the last axis into int32, 32 in a word."""
    channels = negative.shape[-1]
    padded = np.pad(negative, [(0, 0)] * (negative.ndim - 1) + [(0, -channels % 32)])
    groups = padded.reshape(*negative.shape[:-1], -1, 32).astype(np.uint64)
    return (groups << np.arange(32, dtype=np.uint64)).sum(-1).astype(np.uint32).view(np.int32)


@dataclass(frozen=True)
class Layer:
    """A convolution: options, weights and factors of filters."""

    channels: int = 40
    filters: int = 35
    window: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: int = SAME
    outside: int = 1
    activation: int = 0
    groups: int = 1

    @property
    def options(self) -> dict[str, int]:
        return {
            "channels_in": self.channels,
            "stride_height": self.stride[0],
            "stride_width": self.stride[1],
            "dilation_height_factor": self.dilation[0],
            "dilation_width_factor": self.dilation[1],
            "padding": self.padding,
            "pad_values": self.outside,
            "fused_activation_function": self.activation,
        }

    @property
    def negative(self) -> Array:
        """Where a weight is -1: [filters, rows, columns, channels of a group]."""
        shape = (self.filters, *self.window, self.channels // self.groups)
        return np.random.default_rng(self.filters).random(shape) < 0.5

    def before(self, size: Array) -> tuple[Array, Array]:
        """The extents of the result, and the rows and columns of padding before the image."""
        reach = np.array(self.dilation) * (np.array(self.window) - 1) + 1
        if self.padding == VALID:
            return (size - reach) // self.stride + 1, np.zeros(2, int)
        count = -(-size // np.array(self.stride))
        return count, np.maximum((count - 1) * self.stride + reach - size, 0) // 2

    def counts(self, negative: Array) -> tuple[Array, Array]:
        """For each result: the count of different signs, and the number of products that count."""
        size = np.array(negative.shape[1:3])
        extents, before = self.before(size)
        different = np.zeros((len(negative), *extents, self.filters), np.int64)
        products = np.zeros(different.shape, np.int64)
        of_image, of_group = self.channels // self.groups, self.filters // self.groups
        weights = words(self.negative).view(np.uint32)
        for n, row, column, f in np.ndindex(different.shape):
            group = f // of_group * of_image
            for y, x in np.ndindex(self.window):
                at = (
                    np.array((row, column)) * self.stride
                    - before
                    + np.array((y, x)) * self.dilation
                )
                inside = (at >= 0).all() and (at < size).all()
                pixel = np.zeros(of_image, bool)
                if inside:
                    pixel = negative[n, *at, group : group + of_image]
                if inside or self.outside == 1:
                    differing = words(pixel).view(np.uint32) ^ weights[f, y, x]
                    different[n, row, column, f] += sum(int(w).bit_count() for w in differing)
                    products[n, row, column, f] += of_image
        return different, products


def signs_file(x: Array, *, scale: tuple[float, ...] = (), zero: int = 0) -> tuple[TFLiteFile, int]:
    """A file that begins with the signs of its input, and the place of the packed tensor."""
    file = TFLiteFile()
    quant = {"scale": scale, "zero": (zero,)} if scale else {}
    file.add(T(x.shape, x.dtype.name, **quant))  # type: ignore[arg-type]
    packed = file.add(T((*x.shape[:-1], -(-x.shape[-1] // 32)), "int32"))
    file.apply(QUANTIZE, [0], [packed])
    return file, packed


def convolved(file: TFLiteFile, packed: int, layer: Layer, result: T, least: Array | None) -> int:
    """Add a convolution; with `least`, its results are signs."""
    rng = np.random.default_rng(1)
    factors = [rng.normal(size=layer.filters).astype(np.float32) for _ in range(2)]
    places = [file.add(T.of(words(layer.negative)))]
    places += [file.add(T.of(a)) for a in factors] if least is None else [-1, -1]
    places += [-1] if least is None else [file.add(T.of(least))]
    y = file.add(result)
    file.apply(CONVOLUTION, [packed, *places], [y], layer.options)
    return y


def image(layer: Layer, rows: int = 6, columns: int = 5) -> Array:
    x = np.random.default_rng(2).normal(size=(1, rows, columns, layer.channels)).astype(np.float32)
    x[0, 0, 0, :5] = (0.0, -0.0, 1e-40, -1e-40, -1.0)  # zeros are positive
    return x


def same_compiled(graph: Graph, x: Array, *, bits: bool) -> None:
    """The compiled network gives the same, and computes on bits."""
    made, _ = run_pipeline(graph)
    assert any(isinstance(anchor_of(n.op), BinaryConv2D) for n in made.nodes) == bits
    (found,) = run_trials([Trial(made, ((x,),))], resolve("host"))
    assert not isinstance(found, Exception), found
    np.testing.assert_allclose(found[0][0], evaluate(graph, (x,)).outputs[0], rtol=1e-5, atol=1e-4)


LAYERS = {
    "ones outside": Layer(),
    "zeros outside": Layer(outside=0),
    "no padding, strides": Layer(padding=VALID, stride=(2, 1)),
    "an activation": Layer(activation=1),
    "a clamp": Layer(channels=5, activation=2, window=(1, 1)),
    "few channels": Layer(channels=7, filters=3, window=(2, 3), stride=(2, 2)),
    "a dilation": Layer(dilation=(2, 1), padding=VALID),
    "groups": Layer(channels=64, filters=6, groups=2),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYERS)
def test_a_convolution_of_signs(name: str, tmp_path: Path) -> None:
    layer = LAYERS[name]
    x = image(layer)
    file, packed = signs_file(x)
    different, products = layer.counts(x < 0)
    y = convolved(file, packed, layer, T(different.shape), None)
    factor, bias = (file.tensors[y - 2].data, file.tensors[y - 1].data)
    sums = np.clip(products - 2 * different, *CLAMPS[layer.activation])
    graph = read_tflite(saved(file.data([0], [y]), tmp_path))
    (found,) = evaluate(graph, (x,)).outputs
    np.testing.assert_allclose(found, sums * factor + bias, rtol=1e-5, atol=1e-4)
    same_compiled(graph, x, bits=layer.groups == 1 and layer.dilation == (1, 1))


@pytest.mark.slow
@pytest.mark.parametrize("padding", [SAME, VALID])
def test_signs_by_thresholds_a_pool_and_numbers(padding: int, tmp_path: Path) -> None:
    """Counts that equal their threshold are positive; thresholds may be beyond every count."""
    layer = Layer(channels=32, filters=40, padding=padding)
    x = image(layer)
    file, packed = signs_file(x)
    different, _ = layer.counts(x < 0)
    least = different.reshape(-1, layer.filters)[::7][:1].reshape(-1).astype(np.int32)
    least[:4] = (-1, 2**31 - 1, -(2**31), layer.negative[0].size)
    y = convolved(file, packed, layer, T((*different.shape[:3], 2), "int32"), least)
    negative = different > least
    pooled = file.add(T((1, different.shape[1] // 2, different.shape[2] // 2, 2), "int32"))
    window = {"filter_height": 2, "filter_width": 2, "stride_height": 2, "stride_width": 2}
    file.apply(POOL, [y], [pooled], {**window, "padding": "VALID"})
    end = file.add(T((*file.tensors[pooled].shape[:3], layer.filters)))
    file.apply(DEQUANTIZE, [pooled], [end])
    rows, columns = (n // 2 * 2 for n in different.shape[1:3])
    cells = negative[:, :rows, :columns].reshape(1, rows // 2, 2, columns // 2, 2, layer.filters)
    graph = read_tflite(saved(file.data([0], [end]), tmp_path))
    (found,) = evaluate(graph, (x,)).outputs
    np.testing.assert_array_equal(found, np.where(cells.all((2, 4)), -1, 1))
    same_compiled(graph, x, bits=True)


def test_stored_integers_in_and_out(tmp_path: Path) -> None:
    layer = Layer(channels=32, filters=4)
    x = np.random.default_rng(3).integers(-128, 128, (1, 4, 4, 32), np.int8)
    file, packed = signs_file(x, scale=(0.5,), zero=-3)
    different, products = layer.counts(x < -3)
    y = convolved(file, packed, layer, T(different.shape, "int8", scale=(2.5,), zero=(7,)), None)
    factor, bias = (file.tensors[y - 2].data, file.tensors[y - 1].data)
    back = file.add(T(x.shape, "int8", scale=(0.01,), zero=(5,)))
    file.apply(DEQUANTIZE, [packed], [back])
    graph = read_tflite(saved(file.data([0], [y, back]), tmp_path))
    found, ones = evaluate(graph, (x,)).outputs
    real = (products - 2 * different) * factor + bias
    np.testing.assert_array_equal(found, np.clip(np.rint(real / 2.5) + 7, -128, 127))
    np.testing.assert_array_equal(ones, np.where(x < -3, -95, 105))


def refused(file: TFLiteFile, outputs: list[int], folder: Path) -> str:
    with pytest.raises(EllcError) as caught:
        read_tflite(saved(file.data([0], outputs), folder))
    assert caught.value.code == "E212"
    return str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"padding": 2}, "padding scheme 2 is unknown"),
        ({"padding": "FULL"}, "padding scheme -1 is unknown"),
        ({"pad_values": -1}, "pad_values = -1"),
        ({"channels_in": 100}, "words for 100 channels"),
        ({"channels_in": 36}, "channels_in = 36"),
        ({"stride_width": 0}, "with strides (1, 0)"),
        ({"padding": VALID}, "but the file says"),
        ({"fused_activation_function": "GELU"}, "fused activation is unknown"),
        ({"rounding": 1}, "its option rounding = 1 is not supported"),
    ],
)
def test_what_is_refused(change: dict[str, object], said: str, tmp_path: Path) -> None:
    layer = Layer()
    file, packed = signs_file(image(layer))
    y = convolved(file, packed, layer, T((1, 6, 5, 35)), None)
    kind, places, results, options, more = file.operators[-1]
    file.operators[-1] = (kind, places, results, {**options, **change}, more)  # type: ignore[dict-item]
    assert said in refused(file, [y], tmp_path)


def test_no_other_operator_reads_packed_signs(tmp_path: Path) -> None:
    file, packed = signs_file(image(Layer()))
    shifted = file.add(T((1, 6, 5, 2), "int32"))
    file.apply("ABS", [packed], [shifted])
    assert "packs 32 signs in a word" in refused(file, [shifted], tmp_path)
    assert "packs 32 signs in a word" in refused(file, [packed], tmp_path)
    plain = TFLiteFile()
    places = [plain.add(T((1, 4, 4, 1), "int32")), plain.add(T((1, 4, 4, 20)))]
    plain.apply(DEQUANTIZE, places[:1], places[1:])
    assert "not the result of an operator that makes signs" in refused(plain, [1], tmp_path)

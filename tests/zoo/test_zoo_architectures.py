"""Families of networks: published sizes, the layers of published files, plausible results."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from ellc.check.checking import CheckOptions, check
from ellc.codegen.machine.resolve import resolve
from ellc.inspect import NetworkReport, inspect
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate
from ellc.ir.verify import verify
from ellc.models import read_model
from ellc.pictures.pixels import Preprocessing
from ellc.zoo import build, find
from ellc.zoo.families import FAMILIES

LISTED = [name for family in FAMILIES for name in family.listed]
SMALL = ("lenet5", "resnet8", "ds_cnn", "deep_autoencoder")


@cache
def blank(name: str, *, keep: bool = False) -> Graph:
    return build(name, blank=True, keep_batch_norm=keep)


@cache
def measured(name: str) -> NetworkReport:
    return inspect(blank(name))


def input_of(graph: Graph) -> np.ndarray:
    return np.random.default_rng(0).normal(size=graph.input_types()[0].shape).astype(np.float32)


@pytest.mark.parametrize("name", LISTED)
def test_every_listed_network_is_well_formed(name: str) -> None:
    for keep in (False, True):
        verify(blank(name, keep=keep))
    (given,), (made,) = blank(name).input_types(), measured(name).outputs
    assert given.shape == (1, *find(name).input)
    assert len(made.shape) == 2 and made.shape[0] == 1


@pytest.mark.parametrize("name", [*SMALL, "quicknet_small", "mobilenet_v3_small", "googlenet"])
def test_folded_batch_normalisation_is_the_same_function(name: str) -> None:
    width = Fraction(1) if name in SMALL else Fraction(1, 16)
    folded, kept = (build(name, width=width, keep_batch_norm=keep) for keep in (False, True))
    x = input_of(folded)
    (got,), (want,) = (evaluate(graph, (x,)).outputs for graph in (folded, kept))
    assert np.isfinite(want).all() and np.ptp(want) > 0
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-4 * np.abs(want).max())


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["googlenet", "resnet50", "shufflenet_v2_1.0", "squeezenet_1.1", "mobilenet_v3_small"]
)
def test_classes_of_deep_networks_have_probabilities_of_the_same_order(name: str) -> None:
    """If weights did not add up to zero, some networks would have logarithms that differ by 100."""
    graph = build(name, width=Fraction(1, 8))
    _, rows, columns, channels = graph.input_types()[0].shape
    rng = np.random.default_rng(0)
    picture = np.zeros((rows, columns, channels))
    for cells in (2, 5, 11, 23):
        coarse = rng.standard_normal((cells, cells, channels))
        picture += coarse[np.arange(rows) * cells // rows][:, np.arange(columns) * cells // columns]
    pixels = np.clip(picture / picture.std() * 60 + 114, 0, 255)
    factor, offset = Preprocessing.from_metadata(graph.metadata).affine(channels)
    (made,) = evaluate(graph, ((pixels * factor + offset).astype(np.float32)[None],)).outputs
    spread = np.log(np.maximum(made.astype(np.float64), 1e-300)).std()
    assert 0.3 < spread < 6


def test_blank_networks_are_the_real_ones_without_numbers() -> None:
    for name in ("resnet8", "quicknet_small"):
        real = build(name)
        assert [n.op for n in real.nodes] == [n.op for n in blank(name).nodes]
        assert list(real.types.values()) == list(blank(name).types.values())


@pytest.mark.needs_data
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("resnet8", "mlperf_resnet8_cifar10_float.tflite"),
        ("vww96", "mlperf_vww96_float.tflite"),
        ("ds_cnn", "mlperf_kws_dscnn_float.tflite"),
        ("deep_autoencoder", "mlperf_ad01_float.tflite"),
        ("mobilenet_v1_0.25_224", "mobilenet_v1_0.25_224_float.tflite"),
    ],
)
def test_the_real_files_have_the_same_layers(name: str, file: str, test_data: Path) -> None:
    real, ours = inspect(read_model(test_data / "models" / file)), measured(name)
    assert work(real) == work(ours)
    assert real.macs == ours.macs


def work(report: NetworkReport) -> list[tuple[int, int]]:
    """(MACs, elements of the result) of every layer with weights."""
    rows = [(x.macs, int(np.prod(x.output_shape))) for x in report.layers]
    return [row for row in rows if row[0]]


@pytest.mark.parametrize(
    ("name", "input_shape"),
    [
        ("mobilenet_v1_0.5_96", (96, 96, 3)),
        ("mobilenet_v2_0.35_128", (128, 128, 3)),
        ("mobilenet_v3_small_0.75_160", (160, 160, 3)),
        ("mnasnet_a1_1.0_224", (224, 224, 3)),
    ],
)
def test_other_widths_and_sizes(name: str, input_shape: tuple[int, ...]) -> None:
    assert find(name).input == input_shape
    verify(blank(name))


@pytest.mark.parametrize(
    "name", ["mobilenet_v1_0_128", "mobilenet_v1_0.0_128", "mobilenet_v1_1.0_", "vgg17", "resnet"]
)
def test_names_of_no_network(name: str) -> None:
    with pytest.raises(EllcError) as caught:
        find(name)
    assert caught.value.code == "E740"


LIGHT = [name for name in LISTED if measured(name).macs < 100_000_000]


@pytest.mark.slow
@pytest.mark.parametrize("name", LIGHT)
def test_light_networks_compiled_agree_with_the_reference(name: str) -> None:
    report = check(build(name), resolve("host"), CheckOptions(seeds=1))
    assert report.agrees, report.outputs


def test_ten_networks_are_light() -> None:
    assert len(LIGHT) == 10

"""Networks of the zoo: published shapes, identity after writing `.ell`, plausible values."""

from __future__ import annotations

import json
from fractions import Fraction
from functools import cache
from pathlib import Path

import gallery_pages
import numpy as np
import pytest

from ellc.frontends.ell.chain import planned_layers
from ellc.frontends.ell.layers import Layer
from ellc.frontends.ell.read import read_ell
from ellc.frontends.ell.write import chain_layers, write_ell
from ellc.inspect import inspect
from ellc.ir.container import load, save
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate
from ellc.ir.types import Array, DType
from ellc.ir.verify import verify
from ellc.zoo import build, find, networks
from ellc.zoo.gallery import Page, pages
from ellc.zoo.page_network import at_width
from ellc.zoo.plots import missing, plots, twice

SEED_NETWORK = "d_I224x224x3NCMNCMNBMNBMNBMNBMNC1A"
NARROW = Fraction(1, 16)
PAGE_NAMES = [page.name for page in pages()]
PLOT_NAMES = [plot.name for plot in plots()]
# One network of each family whose networks are chains.
CHAINS = (
    "d_I128x128x3CMCMCMCMCMCMC1A",
    "d_I160x160x3CMCMBMBMBMBMB1AS",
    "dr_19_I64x64x3CMCMCMCMCMC1AS",
    "dscs2_I128x128x3CCCCCCC1AS",
    "v_I64x64x3CCMCCMCMCMCMF3072S",
)
NAMES = [*PAGE_NAMES, "AlexNet", "CaffeNet"]
# Networks with a few million weights are built at full width, larger networks narrower.
FULL = [name for name in PAGE_NAMES if name.startswith("d_")]

# The number of ELL's layers that a line of a page stands for, without its activation.
EXPANSION = {"Convolution": 2, "Dense": 2, "BatchNormalization": 3}


@cache
def narrow(name: str) -> Graph:
    return build(name, width=NARROW)


@cache
def page_of(name: str) -> Page:
    return next(page for page in pages() if page.name == name)


def picture(graph: Graph, seed: int = 0) -> Array:
    """A random picture that resembles a photograph, with pixels from 0 to 255."""
    _, rows, columns, channels = graph.input_types()[0].shape
    rng = np.random.default_rng(seed)
    image = np.zeros((rows, columns, channels))
    for cells in (2, 5, 11, 23):
        coarse = rng.standard_normal((cells, cells, channels))
        image += coarse[np.arange(rows) * cells // rows][:, np.arange(columns) * cells // columns]
    return np.clip(image / image.std() * 60 + 114, 0, 255).astype(np.float32)[None]


def frames(graph: Graph) -> list[Layer]:
    """The layers of the graph in an archive, without the input layer."""
    return chain_layers(*planned_layers(graph))[1:]


# ---- facts --------------------------------------------------------------------------------------


def test_the_best_known_network_is_the_first_of_all() -> None:
    listed = [network.name for network in networks()]
    assert NAMES[0] == SEED_NETWORK
    assert len(PAGE_NAMES) == 19 and listed[: len(NAMES)] == NAMES
    assert len(set(listed)) == len(listed)


@pytest.mark.needs_data
def test_the_facts_are_the_gallerys(test_data: Path) -> None:
    models = json.loads((test_data / "ell" / "gallery_models.json").read_text(encoding="utf-8"))
    file = Path(gallery_pages.__file__).parents[2] / "ellc" / "zoo" / "gallery.json"
    assert file.read_text(encoding="utf-8") == gallery_pages.text(gallery_pages.document(models))


@pytest.mark.needs_data
def test_the_plots_are_the_gallerys(test_data: Path) -> None:
    models = json.loads((test_data / "ell" / "gallery_models.json").read_text(encoding="utf-8"))
    file = Path(gallery_pages.__file__).parents[2] / "ellc" / "zoo" / "plots.json"
    document = gallery_pages.plots_document(models)
    assert file.read_text(encoding="utf-8") == gallery_pages.plots_text(document)
    named = {*PAGE_NAMES, *PLOT_NAMES, *missing()}
    assert named == {model["name"] for model in models}
    assert len(named) + len(twice()) == len(models) == 115


@pytest.mark.slow
@pytest.mark.needs_data
def test_work_and_size_of_plots(test_data: Path) -> None:
    models = json.loads((test_data / "ell" / "gallery_models.json").read_text(encoding="utf-8"))
    plotted = {model["name"]: model["graph"] for model in models if model.get("graph")}
    assert len(plotted) == 77
    for name, plot in plotted.items():
        report = inspect(build(name, blank=True))
        # The plot counts neither means, nor statistics of batch normalisation, nor dense layers.
        uncounted = sum(x.parameters for x in report.layers if x.operator == "mul_add")
        uncounted += 3 * any("minus" in x.name for x in report.layers)
        dense = sum(x.macs for x in report.layers if x.operator == "dense")
        assert report.parameters - uncounted == plot["parameters"], name
        assert report.macs - dense == plot["conv_macs"], name


def test_plots_that_are_chains_go_through_ell_files(tmp_path: Path) -> None:
    for name in CHAINS:
        graph = narrow(name)
        write_ell(graph, tmp_path / "net.ell")
        x = picture(graph)
        (want,), (got,) = (
            evaluate(g, (x,)).outputs for g in (graph, read_ell(tmp_path / "net.ell"))
        )
        assert np.isfinite(want).all() and np.array_equal(got.reshape(-1), want.reshape(-1)), name


@pytest.mark.slow
def test_every_plot_is_well_formed() -> None:
    for name in PLOT_NAMES:
        graph = build(name, blank=True)
        verify(graph)
        assert inspect(graph).outputs[0].shape == (1, 1000)


@pytest.mark.needs_data
@pytest.mark.parametrize("name", FULL)
def test_padded_shapes_are_the_pages(name: str, test_data: Path) -> None:
    models = json.loads((test_data / "ell" / "gallery_models.json").read_text(encoding="utf-8"))
    listed = next(model for model in models if model["name"] == name)["architecture"]["layers"]
    want = [(tuple(line["out"]), line["in_pad"], line["out_pad"]) for line in listed]
    # The page's last line has the wrong size for the softmax: its result is as large as its input.
    want[-1] = (tuple(listed[-1]["in"]), *want[-1][1:])
    assert padded_shapes(build(name)) == want


@pytest.mark.parametrize("name", PAGE_NAMES)
def test_padded_shapes_of_narrow_networks(name: str) -> None:
    page = at_width(page_of(name), NARROW)
    outs = [layer.out for layer in page.layers[:-1]]
    pads = [layer.out_pad for layer in page.layers]
    want = [*zip([*outs, outs[-1]], [0, *pads], pads, strict=False)]
    assert padded_shapes(narrow(name)) == want


def padded_shapes(graph: Graph) -> list[tuple[tuple[int, ...], int, int]]:
    """For each line of the page: padded output shape, border that is read, border written."""
    layers = frames(graph)
    rows = []
    for kind, count in source_lines(graph):
        own, layers = layers[:count], layers[count:]
        assert own, kind
        first, last = own[0].parameters, own[-1].parameters
        rows.append((last.output_shape, first.input_padding, last.output_padding))
        inner = [layer.parameters.output_padding for layer in own[:-1]]
        assert not any(inner), f"{kind}: a border inside of a line"
    assert not layers
    return rows


def source_lines(graph: Graph) -> list[tuple[str, int]]:
    """The lines of the page from which nodes come, each with its number of ELL's layers."""
    lines: dict[str, int] = {}
    for node in graph.nodes:
        (source,) = node.source
        lines.setdefault(source, 0)
        # ELL's binary convolution includes the sign function; views are not layers.
        lines[source] += node.op.name not in ("binarize", "reshape")
    for line, count in lines.items():
        kind = line.split()[1]
        assert EXPANSION.get(kind, 1) <= count <= EXPANSION.get(kind, 1) + 1
    return [(line.split()[1], count) for line, count in lines.items()]


def test_work_and_size_are_those_of_the_plotted_graph() -> None:
    report = inspect(build(SEED_NETWORK))
    # The plot does not count the three means and the statistics of batch normalisation.
    statistics = 2 * (16 + 64 + 64 + 128 + 256 + 512 + 1024)
    assert report.macs == 505_888_768
    assert report.parameters == 7_738_288 + statistics + 3


@pytest.mark.needs_data
@pytest.mark.parametrize("name", FULL)
def test_work_and_size_are_those_of_the_network_trained_again(name: str, test_data: Path) -> None:
    models = json.loads((test_data / "ell" / "gallery_models.json").read_text(encoding="utf-8"))
    page = next(m for m in models if m["name"] == name)
    plot = next(m for m in models if m["name"] == page["later_name"])["graph"]
    report = inspect(build(name))
    statistics = sum(x.parameters for x in report.layers if x.operator == "mul_add")
    # After training again, two networks begin with a batch normalisation that is not on their
    # pages.
    ours, theirs = (
        sum(kind == "BatchNormalization" for kind in kinds)
        for kinds in (
            [layer.kind for layer in page_of(name).layers],
            [op["op"] for op in plot["ops"]],
        )
    )
    first = 2 * 3 * (theirs - ours)
    assert report.macs == plot["conv_macs"]
    assert report.parameters - 3 - statistics == plot["parameters"] - first


@pytest.mark.slow
@pytest.mark.parametrize("name", ["AlexNet", "CaffeNet"])
def test_caffes_networks_have_their_published_size(name: str) -> None:
    graph = build(name)
    verify(graph)
    assert inspect(graph).parameters == 60_965_224 + 3
    kinds = [node.op.name for node in graph.nodes if node.op.name in ("lrn", "max_pool2d")]
    pair = ["lrn", "max_pool2d"] if name == "AlexNet" else ["max_pool2d", "lrn"]
    assert kinds == [*pair, *pair, "max_pool2d"]
    shapes = [graph.types[n.outputs[0]].shape[1:] for n in graph.nodes if n.op.name == "conv2d"]
    assert shapes == [(55, 55, 96), (27, 27, 256), (13, 13, 384), (13, 13, 384), (13, 13, 256)]
    groups = [n.op.groups for n in graph.nodes if n.op.name == "conv2d"]  # type: ignore[attr-defined]
    assert groups == [1, 2, 1, 2, 2]


def test_inferred_facts_are_marked() -> None:
    seed = find(SEED_NETWORK).inferred
    assert seed["windows and strides"] == "table" and seed["mean"] == "plot"
    dense = find("v_I192x192x3CCMCCMCCCMCCCMCCCMF1024F1024").inferred
    assert dense["windows and strides"] == "shapes" and dense["mean"] == "assumed"
    assert dense["hidden activation"] == "plot"
    assert find("d_I160x160x3CMCMCMCMCMCMC1A").inferred["leaky slope"] == "assumed"


# ---- graphs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_network_is_well_formed_and_answers(name: str) -> None:
    graph = narrow(name)
    verify(graph)
    (answer,) = evaluate(graph, (picture(graph),)).outputs
    assert answer.shape == (1, 1, 1, 1000)
    assert answer.sum() == pytest.approx(1, abs=1e-4)
    assert 2e-3 < answer.max() < 1, "all classes are equal, or one class has everything"


@pytest.mark.parametrize("name", PAGE_NAMES)
def test_ell_file_reads_back_as_the_same_graph(name: str, tmp_path: Path) -> None:
    graph = narrow(name)
    write_ell(graph, tmp_path / "net.ell")
    again = read_ell(tmp_path / "net.ell")
    assert essence(again) == essence(graph)
    x = picture(graph)
    (want,), (got,) = (evaluate(g, (x,)).outputs for g in (graph, again))
    assert np.array_equal(got, want)


@pytest.mark.slow
def test_the_first_network_comes_back_whole(tmp_path: Path) -> None:
    graph = build(SEED_NETWORK)
    write_ell(graph, tmp_path / "net.ell")
    assert essence(read_ell(tmp_path / "net.ell")) == essence(graph)
    save(graph, tmp_path / "net.eir")
    assert load(tmp_path / "net.eir") == graph


def essence(graph: Graph) -> object:
    """A graph without its name, the sources of nodes, and the names of values."""
    names: dict[str, str] = {}
    for port in graph.inputs:
        names[port.value] = f"in {port.name} {graph.types[port.value]}"
    for constant in graph.constants:
        names[constant.value] = f"{constant.key} {graph.types[constant.value]}"
    nodes = []
    for index, node in enumerate(graph.nodes):
        names.update({v: f"{index}.{i}" for i, v in enumerate(node.outputs)})
        types = [graph.types[v] for v in node.outputs]
        nodes.append((node.op, [names[v] for v in node.inputs], types))
    outputs = [(port.name, names[port.value]) for port in graph.outputs]
    return nodes, outputs, sorted(graph.metadata.items()), len(graph.inputs), graph.states


def test_seeds_and_widths_make_different_weights() -> None:
    keys = [
        {c.key for c in build(SEED_NETWORK, seed, width).constants}
        for seed, width in ((0, NARROW), (0, NARROW), (1, NARROW), (0, Fraction(1, 8)))
    ]
    assert keys[0] == keys[1]
    assert not keys[0] & keys[2] - {c.key for c in shared_constants()}
    assert keys[0] != keys[3]


def shared_constants() -> list[object]:
    """Constants that do not depend on the seed: the means of pictures."""
    graph = narrow(SEED_NETWORK)
    mean = graph.nodes[0].inputs[1]
    return [constant for constant in graph.constants if constant.value == mean]


def test_weights_are_the_same_on_every_machine() -> None:
    """Stored bytes show if a machine, a version of numpy or a change of code changes weights."""
    graph = narrow(SEED_NETWORK)
    constants = {c.value: c.key for c in graph.constants}
    convolution, signs = (
        next(n for n in graph.nodes if n.op.name == kind) for kind in ("conv2d", "binary_conv2d")
    )
    assert constants[convolution.inputs[1]] == "8477e6c808e8a1eda04a8dbd8888a257"
    assert constants[signs.inputs[1]] == "9f1a1d7649c5fc3a5e34e702f8a17e59"


# ---- values -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", [SEED_NETWORK, "d_I160x160x3NCMNCMNBMNBMNBMNBMNB1A"])
def test_binary_layers_see_both_signs_and_values_stay_in_range(name: str) -> None:
    graph = build(name)
    runs = [evaluate(graph, (picture(graph, seed),), keep=True).values for seed in range(4)]
    for node in graph.nodes:
        result = np.concatenate([values[node.outputs[0]] for values in runs])
        if graph.types[node.outputs[0]].dtype is DType.BIT:
            share = result.mean((0, 1, 2))
            assert 0.3 < share.mean() < 0.7, node.source
            stuck = np.minimum(share, 1 - share) < 0.01
            assert stuck.mean() < 0.2, node.source
        else:
            assert np.isfinite(result).all() and np.abs(result).max() < 5e3, node.source


def test_slopes_are_one_for_each_element() -> None:
    graph = narrow(SEED_NETWORK)
    arrays = graph.constant_arrays()
    slopes = [arrays[n.inputs[1]] for n in graph.nodes if n.op.name == "prelu"]
    assert [a.shape[1:3] for a in slopes] == [(56, 56), (28, 28), (14, 14), (7, 7), (4, 4)]
    for alpha in slopes:
        assert alpha.mean() == pytest.approx(0.25, abs=0.03)
        assert np.unique(alpha).size > alpha.size / 2


# ---- errors -------------------------------------------------------------------------------------


def test_unknown_names_are_reported_with_what_may_have_been_meant() -> None:
    with pytest.raises(EllcError) as caught:
        find("alexnet")
    assert caught.value.code == "E740" and "AlexNet" in caught.value.hint


@pytest.mark.parametrize(("seed", "width"), [(-1, Fraction(1)), (0, Fraction(0)), (0, Fraction(2))])
def test_impossible_arguments(seed: int, width: Fraction) -> None:
    with pytest.raises(ValueError, match="seed"):
        build(SEED_NETWORK, seed, width)

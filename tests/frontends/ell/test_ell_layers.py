"""Imported layers, compared with plain loops over padded buffers."""

from __future__ import annotations

import random

import numpy as np
import pytest
from ell_oracle import graph_map, layout, port, predictor_map, run_layers

from ellc.frontends.ell import layers as ell
from ellc.frontends.ell.chain import pack_bits
from ellc.frontends.ell.layer_objects import layer_object
from ellc.frontends.ell.read import read_ell
from ellc.frontends.ell.values import ArchiveObject
from ellc.frontends.ell.writer import archive_bytes
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate
from ellc.ir.verify import verify

S = ell.PaddingScheme


def graph_of(root: ArchiveObject) -> Graph:
    graph = read_ell(archive_bytes(root))
    verify(graph)
    return graph


def agree(got: np.ndarray, want: np.ndarray) -> None:
    scale = np.abs(want[np.abs(want) < 1e30]).max(initial=1.0)
    np.testing.assert_allclose(got.reshape(-1), want.reshape(-1), rtol=1e-4, atol=1e-5 * scale)


def check(layers: list[ell.Layer], seed: int = 0) -> Graph:
    """Compare the import with the loops on two inputs; returns the imported graph."""
    root = predictor_map(layers)
    graph = graph_of(root)
    rng = np.random.default_rng(seed)
    first = layers[0]
    assert isinstance(first, ell.InputLayer)
    for _ in range(2):
        x = rng.normal(size=first.data_shape).astype(np.float32)
        want = run_layers(layers, x)
        (got,) = evaluate(graph, (x[None],)).outputs
        assert got.shape == (1, *want.shape)
        agree(got, want)
    return graph


def parameters(
    shape: tuple[int, int, int],
    into: int = 0,
    out: int = 0,
    in_scheme: S = S.ZEROS,
    out_scheme: S = S.ZEROS,
) -> ell.LayerParameters:
    rows, columns, channels = shape
    return ell.LayerParameters(
        (rows + 2 * out, columns + 2 * out, channels), into, out, in_scheme, out_scheme
    )


def input_layer(shape: tuple[int, int, int], out: int = 0, scheme: S = S.ZEROS) -> ell.InputLayer:
    return ell.InputLayer(parameters(shape, 0, out, S.ZEROS, scheme), shape)


def normal(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def conv(
    given: ell.LayerParameters,
    k: int,
    channels: int,
    stride: int = 1,
    out: ell.LayerParameters | None = None,
) -> ell.ConvolutionalLayer:
    target = out or given
    filters = target.output_shape[2]
    return ell.ConvolutionalLayer(target, k, stride, 0, 0, normal(filters * k, k, channels))


def binary_layer(
    target: ell.LayerParameters, k: int, channels: int, stride: int = 1, scaled: int = 0
) -> ell.BinaryConvolutionalLayer:
    filters = target.output_shape[2]
    words = pack_bits(normal(filters, k * k * channels) > 0)
    means = np.abs(normal(filters))
    return ell.BinaryConvolutionalLayer(target, k, stride, 1, scaled, filters, words, means)


# All products and sums of the largest floats would be infinite.
SMALL = [S.ZEROS, S.MINUS_ONES, S.ALTERNATING_ZERO_AND_ONES, S.RANDOM_ZERO_AND_ONES]


@pytest.mark.parametrize("scheme", SMALL)
def test_convolution_reads_whatever_border_there_is(scheme: S) -> None:
    target = parameters((5, 4, 3), 1, 0, scheme)
    check([input_layer((5, 4, 2), 1, scheme), conv(target, 3, 2)])


def test_borders_of_largest_floats_reach_the_operator() -> None:
    target = parameters((3, 3, 1), 1, 0, S.MIN)
    graph = check([input_layer((3, 3, 1), 1, S.MIN), ell.PoolingLayer(target, "Max", 3, 1)])
    (node,) = graph.nodes
    assert node.op.padding.values == (-float(np.finfo(np.float32).max),)  # type: ignore[attr-defined]
    target = parameters((3, 3, 1), 1, 0, S.MAX)
    check([input_layer((3, 3, 1), 1, S.MAX), ell.PoolingLayer(target, "Max", 3, 1)])


def test_depthwise_and_single_channel() -> None:
    check([input_layer((6, 5, 4), 1), conv(parameters((6, 5, 4), 1), 3, 1)])
    check([input_layer((6, 5, 1), 1), conv(parameters((6, 5, 3), 1), 3, 1)])


def test_strides_and_unread_rows() -> None:
    # 3x3 with stride 2 on 8+2 rows leaves a row unread, and so do 7 of 10 possible outputs.
    check([input_layer((8, 9, 2), 1), conv(parameters((4, 5, 3), 1), 3, 2, 2)])
    check([input_layer((8, 8, 2), 2), conv(parameters((4, 3, 3), 2), 2, 2, 1)])
    check([input_layer((4, 4, 1)), conv(parameters((2, 2, 2)), 2, 1, 2)])


def test_a_convolution_beyond_its_input_is_refused() -> None:
    root = predictor_map([input_layer((4, 4, 1)), conv(parameters((4, 4, 1)), 3, 1)])
    with pytest.raises(EllcError) as caught:
        graph_of(root)
    assert caught.value.code == "E204"
    assert "model.nodes[1].predictor.layers[0]" in caught.value.report()
    assert "4 output rows need 6 input rows" in caught.value.report()


def test_layers_that_begin_with_none_of_the_input_are_refused() -> None:
    root = predictor_map([input_layer((4, 4, 1)), conv(parameters((2, 2, 2)), 2, 1, 2)])
    text = archive_bytes(root).decode()
    with pytest.raises(EllcError) as caught:
        read_ell(text.replace("InputLayer<float>", "SoftmaxLayer<float>").encode())
    assert "the first layer is SoftmaxLayer, not an input layer" in caught.value.report()


@pytest.mark.parametrize("scaled", [0, 1])
@pytest.mark.parametrize("channels", [1, 7, 16, 64, 65])
def test_binary_convolution_masks_zero_padding(channels: int, scaled: int) -> None:
    layers = [
        input_layer((5, 4, channels), 1),
        binary_layer(parameters((5, 4, 3), 1), 3, channels, 1, scaled),
    ]
    graph = check(layers)
    x = np.zeros((1, 5, 4, channels), np.float32)
    (got,) = evaluate(graph, (x,)).outputs
    agree(got, run_layers(layers, x[0]))  # the sign of zero is -1


@pytest.mark.parametrize("scheme", list(S))
def test_binary_convolution_with_other_borders(scheme: S) -> None:
    target = parameters((4, 5, 2), 1, 0, scheme)
    check([input_layer((4, 5, 3), 1, scheme), binary_layer(target, 3, 3)])
    # The padding that the layer declares may differ from the content of the border.
    check([input_layer((4, 5, 3), 1, S.MAX), binary_layer(target, 3, 3)])
    check([input_layer((4, 5, 3), 1, S.ALTERNATING_ZERO_AND_ONES), binary_layer(target, 3, 3)])


def test_the_binary_layer_of_the_format_page() -> None:
    target = parameters((5, 5, 1), 1)
    words = np.array([[262141]], np.uint64)
    layer = ell.BinaryConvolutionalLayer(target, 3, 1, 1, 0, 1, words, np.array([0.25], np.float32))
    graph = check([input_layer((5, 5, 2), 1), layer])
    ones = np.ones((1, 5, 5, 2), np.float32)
    (got,) = evaluate(graph, (ones,)).outputs
    # At the corner, 8 of 18 taps are inside the image; the only negative weight is outside.
    assert got[0, 0, 0, 0] == 8
    assert got[0, 2, 2, 0] == 16


@pytest.mark.parametrize(
    ("function", "scheme"),
    [("Max", S.MIN), *((function, scheme) for function in ("Max", "Mean") for scheme in SMALL)],
)
@pytest.mark.parametrize(("size", "out"), [(8, 4), (7, 4), (8, 5), (9, 6)])
def test_pooling_windows_may_leave_the_buffer(
    function: str, scheme: S, size: int, out: int
) -> None:
    target = parameters((out, out, 2), 1, 0, scheme)
    layers = [input_layer((size, size, 2), 1, scheme), ell.PoolingLayer(target, function, 3, 2)]
    check(layers)


def test_pooling_without_padding_beyond_the_buffer() -> None:
    for function in ("Max", "Mean"):
        check([input_layer((5, 5, 2)), ell.PoolingLayer(parameters((3, 3, 2)), function, 2, 2)])
        check([input_layer((4, 4, 2)), ell.PoolingLayer(parameters((1, 1, 2)), function, 4, 1)])


@pytest.mark.parametrize("kind", list(ell.ActivationKind))
def test_activations(kind: ell.ActivationKind) -> None:
    alpha = normal(4, 3, 2) if kind is ell.ActivationKind.PARAMETRIC_RELU else None
    activation = ell.Activation(kind, 0.01, alpha)
    target = parameters((4, 3, 2), 0, 1, S.ZEROS, S.MIN)
    check([input_layer((4, 3, 2)), ell.ActivationLayer(target, activation)])


def test_alpha_that_repeats_itself_becomes_per_channel() -> None:
    alpha = np.broadcast_to(normal(2), (4, 3, 2)).copy()
    activation = ell.Activation(ell.ActivationKind.PARAMETRIC_RELU, 0.0, alpha)
    graph = check([input_layer((4, 3, 2)), ell.ActivationLayer(parameters((4, 3, 2)), activation)])
    (array,) = graph.constant_arrays().values()
    assert array.shape == (2,)


def test_per_channel_layers_and_scale() -> None:
    scaled = ell.InputLayer(parameters((3, 4, 5), 0, 2), (3, 4, 5), 0.25)
    inner = parameters((3, 4, 5), 2)
    plain = parameters((3, 4, 5))
    check([scaled, ell.BiasLayer(inner, normal(5)), ell.ScalingLayer(plain, normal(5, seed=2))])
    check([scaled, ell.BatchNormalizationLayer(inner, normal(5), normal(5, seed=3))])


@pytest.mark.parametrize("scheme", [S.ZEROS, S.MINUS_ONES, S.ALTERNATING_ZERO_AND_ONES])
def test_dense_layers_read_the_border_too(scheme: S) -> None:
    layers = [
        input_layer((3, 4, 2), 1, scheme),
        ell.FullyConnectedLayer(parameters((2, 1, 3), 1), normal(6, 5 * 6 * 2)),
        ell.SoftmaxLayer(parameters((2, 1, 3))),
    ]
    check(layers)


def test_region_detection() -> None:
    layer = ell.RegionDetectionLayer(parameters((3, 2, 14)), 3, 2, 2, 2, 4)
    check([input_layer((3, 2, 14)), layer])


def random_layers(rng: random.Random) -> list[ell.Layer]:
    """A chain of layers; one output padding may differ from the next layer's input padding."""
    shape = (rng.randrange(4, 9), rng.randrange(4, 9), rng.randrange(1, 5))
    pad, scheme = rng.randrange(3), rng.choice(SMALL)
    layers: list[ell.Layer] = [input_layer(shape, pad, scheme)]
    for _ in range(rng.randrange(1, 6)):
        rows, columns, channels = layers[-1].parameters.output_shape
        into = rng.choice([0, pad, pad])
        active = (rows - 2 * into, columns - 2 * into, channels)
        if min(active) < 1:
            break
        pad, scheme = rng.randrange(3), rng.choice(SMALL)
        in_scheme = rng.choice(SMALL)
        layers.append(
            random_layer(rng, (rows, columns, channels), active, into, pad, in_scheme, scheme)
        )
    return layers


def random_layer(
    rng: random.Random,
    given: tuple[int, int, int],
    active: tuple[int, int, int],
    into: int,
    out: int,
    in_scheme: S,
    out_scheme: S,
) -> ell.Layer:
    same = parameters(active, into, out, in_scheme, out_scheme)
    channels = active[2]
    k = rng.randrange(1, min(4, given[0] + 1, given[1] + 1))
    stride = rng.randrange(1, 3)
    windows = ((given[0] - k) // stride + 1, (given[1] - k) // stride + 1)
    smaller = parameters((*windows, rng.randrange(1, 5)), into, out, in_scheme, out_scheme)
    match rng.randrange(7):
        case 0:
            return ell.BiasLayer(same, normal(channels))
        case 1:
            return ell.ActivationLayer(same, ell.Activation(ell.ActivationKind.LEAKY_RELU, 0.1))
        case 2:
            return ell.BatchNormalizationLayer(same, normal(channels), normal(channels, seed=4))
        case 3:
            return conv(smaller, k, channels, stride)
        case 4:
            return binary_layer(smaller, k, channels, stride, rng.randrange(2))
        case 5:
            beyond = rng.randrange(2)
            wide = (windows[0] + beyond, windows[1], channels)
            function = rng.choice(["Max", "Mean"])
            target = parameters(wide, into, out, in_scheme, out_scheme)
            return ell.PoolingLayer(target, function, k, stride)
        case _:
            size = given[0] * given[1] * given[2]
            target = parameters((1, 2, 3), into, out, in_scheme, out_scheme)
            return ell.FullyConnectedLayer(target, normal(6, size) / np.float32(size))


def stable(layers: list[ell.Layer], seed: int) -> bool:
    """Whether rounding cannot change results: no sign is near 0, and nothing overflows float32."""
    x = np.random.default_rng(seed).normal(size=layers[0].parameters.active_shape)
    for at, layer in enumerate(layers):
        if np.abs(run_layers(layers[: at + 1], x.astype(np.float32))).max() > 1e30:
            return False
        if isinstance(layer, ell.BinaryConvolutionalLayer):
            reached = np.abs(run_layers(layers[:at], x.astype(np.float32)))
            if np.any((reached > 0) & (reached < 1e-4)):
                return False
    return True


@pytest.mark.parametrize("seed", range(120))
def test_random_chains(seed: int) -> None:
    layers = random_layers(random.Random(seed))
    if stable(layers, seed):
        check(layers, seed)


def layer_node(name: str, source: str, layer: ell.Layer, shape: tuple[int, ...]) -> ArchiveObject:
    """A node `name` for a layer, which reads the output `source` of this shape."""
    kind = layer_object(layer).type or ""
    return ArchiveObject(
        kind.replace("Layer<", "LayerNode<"),
        "5",
        (
            ("id", name),
            ("input", port(name, "input", source)),
            ("inputLayout", layout(*shape)),
            ("outputLayout", layout(*layer.parameters.output_shape)),
            ("inputShape", np.array(shape)),
            ("layer", layer_object(layer)),
        ),
    )


def test_layer_nodes_and_residual_add() -> None:
    """A graph with a node for each layer, and an addition of values with different layouts."""
    first = input_layer((4, 4, 2), 1)
    one = conv(parameters((4, 4, 2), 1, 1), 3, 2)
    two = ell.BiasLayer(parameters((4, 4, 2), 1, 0), normal(2))
    reorder = ArchiveObject(
        "ReorderDataNode<float>",
        "8",
        (
            ("id", "2"),
            ("input", port("2", "input", "1.output")),
            ("inputLayout", layout(4, 4, 2)),
            ("outputLayout", layout(4, 4, 2, padding=(1, 1, 0))),
            ("paddingValue", 0),
        ),
    )
    add = ArchiveObject(
        "BinaryOperationNode<float>",
        "7",
        (
            ("id", "5"),
            ("input1", port("5", "input1", "4.output")),
            ("input2", port("5", "input2", "3.output")),
            ("inputLayout1", layout(4, 4, 2)),
            ("inputLayout2", layout(4, 4, 2, padding=(1, 1, 0))),
            ("operation", "add"),
            ("outputLayout", layout(4, 4, 2, padding=(1, 1, 0))),
            ("padding", 0),
        ),
    )
    source = ArchiveObject("InputNode<float>", "2", (("id", "1"), ("layout", layout(4, 4, 2))))
    nodes = [
        source,
        reorder,
        layer_node("3", "2.output", one, (6, 6, 2)),
        layer_node("4", "3.output", two, (6, 6, 2)),
        add,
    ]
    graph = graph_of(graph_map(nodes, ["1"], ["5.output", "4.output"]))
    x = normal(4, 4, 2, seed=9)
    padded = run_layers([first, one], x)
    biased = run_layers([first, one, two], x)
    want = np.pad(padded[1:-1, 1:-1] + biased, ((1, 1), (1, 1), (0, 0)))
    got = evaluate(graph, (x[None],)).outputs
    agree(got[0], want)
    agree(got[1], biased)


def test_every_problem_of_a_file_is_told_at_once() -> None:
    good = [input_layer((4, 4, 2)), ell.BiasLayer(parameters((4, 4, 2)), normal(2))]
    text = archive_bytes(predictor_map(good)).decode()
    bad = text.replace('"bias": [', '"bias": "x", "no": [').replace(
        '"outputPaddingScheme": 0', '"outputPaddingScheme": 9'
    )
    with pytest.raises(EllcError) as caught:
        read_ell(bad.encode())
    report = caught.value.report()
    assert "model.nodes[1].predictor.layers[0].bias: expected an array of numbers" in report
    assert "model.nodes[1].predictor.inputLayer.outputPaddingScheme: 9" in report
    assert "model.nodes[1].predictor.layers[0].outputPaddingScheme: 9" in report

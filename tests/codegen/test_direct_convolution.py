"""The direct convolution of few channels: results of random layers, and when it is chosen."""

from __future__ import annotations

import numpy as np
import pytest
from agreement import trials_agree
from parts import quick_seeds
from small_networks import inputs_of, ready

from ellc.codegen.blocks.calls import Options
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Trial
from ellc.codegen.planning.plan import Step
from ellc.codegen.planning.planner import make_plan
from ellc.codegen.toolchain.emulate import Guard
from ellc.ir.builder import GraphBuilder
from ellc.ir.graph import Graph
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.pointwise import Add, Relu
from ellc.ir.ops.shape import Transpose
from ellc.ir.types import DType, Padding, TensorType

LAYERS = 24
LAYER = "layer"


def network(
    conv: Conv2D,
    image: tuple[int, ...],
    weights: tuple[int, ...],
    *,
    fused: bool = False,
    planes: bool = False,
) -> Graph:
    """A convolution with a bias; with `fused`, also a sum with another input and a ReLU.

    With `planes`, each channel of the network's input is a plane.
    """
    b = GraphBuilder("net")
    rng = np.random.default_rng(0)
    images, rows, columns, channels = image
    if planes:
        planar = b.input("x", TensorType(DType.F32, (images, channels, rows, columns)))
        x = b.add(Transpose((0, 2, 3, 1)), planar)
    else:
        x = b.input("x", TensorType(DType.F32, image))
    filters = b.constant(rng.normal(size=weights).astype(np.float32))
    y = b.add(conv, x, filters, b.constant(np.float32(rng.normal(size=weights[0]))), source=LAYER)
    if fused:
        type_ = ready_type(conv, image, weights)
        y = b.add(Relu(), b.add(Add(), y, b.input("z", type_)))
    b.output("y", y)
    return ready(b.build())


def ready_type(conv: Conv2D, image: tuple[int, ...], weights: tuple[int, ...]) -> TensorType:
    """The type of the convolution's result."""
    (made,) = network(conv, image, weights).output_types()
    return made


def random_network(seed: int) -> Graph:
    """A convolution of one or two images: windows of 3 to 5, strides of 1 to 3, any padding.

    The rows of the result have from two pixels to several tiles. Every other image has planes.
    """
    rng = np.random.default_rng(seed)
    rows, columns, channels = (int(n) for n in rng.integers((3, 3, 1), (6, 6, 5)))
    padding = Padding(*(int(n) for n in rng.integers(0, 3, 4)))
    size = rng.integers((rows, columns + 3), (rows + 6, columns + 30))
    image = (int(rng.integers(1, 3)), *(int(n) for n in size), channels)
    conv = Conv2D(padding=padding, stride=tuple(int(n) for n in rng.integers(1, 4, 2)))
    weights = (int(rng.integers(1, 20)), rows, columns, channels)
    return network(conv, image, weights, fused=seed % 3 == 0, planes=seed % 2 == 1)


def only_step(graph: Graph, target: str) -> Step:
    """The only step in the plan of a layer."""
    (step,) = make_plan(graph, resolve(target), Options(), "net").steps
    return step


def trials(number: int) -> tuple[Trial, ...]:
    """Random layers, with the direct convolution as the requested kernel."""
    graphs = {seed: random_network(seed) for seed in quick_seeds(LAYERS, number, 4)}
    asked = ((LAYER, "direct"),)
    return tuple(Trial(g, (inputs_of(g, seed),), asked) for seed, g in graphs.items())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "guard", "number"),
    [
        pytest.param("pi3", "end", 0, marks=pytest.mark.emulated("qemu-arm")),
        pytest.param("pi3_64", "start", 1, marks=pytest.mark.emulated("qemu-aarch64")),
    ],
)
def test_random_layers_agree_with_the_reference(target: str, guard: Guard, number: int) -> None:
    trials_agree(trials(number), target, guard)


HALVING = Conv2D(padding=Padding(0, 1, 0, 1), stride=(2, 2))
FIRST = network(HALVING, (1, 224, 224, 3), (32, 3, 3, 3))
PLANES = network(HALVING, (1, 224, 224, 3), (32, 3, 3, 3), planes=True)
GREY = network(Conv2D(padding=Padding.same(1)), (1, 96, 96, 1), (8, 3, 3, 1))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("graph", "target", "wanted"),
    [
        (FIRST, "pi3_64", "direct:6x8"),  # in networks 4.76 million cycles, 8x8 5.57
        (PLANES, "pi3_64", "direct:4x16"),
        (FIRST, "pi3", "direct:5x4"),  # modelled at 96x96: 1.03 million cycles, 4x4 1.21
        (GREY, "pi3_64", "direct:10x8"),  # modelled 0.29 million cycles, as 11x8
        (GREY, "pi3", "direct:10x4"),  # modelled 0.36 million cycles, 5x8 0.56, 6x8 0.68
    ],
)
def test_it_is_taken_where_it_is_predicted_to_be_faster(
    graph: Graph, target: str, wanted: str
) -> None:
    step = only_step(graph, target)
    assert step.predictions[0].name == wanted
    assert step.predictions[0].known_cycles == min(p.known_cycles for p in step.predictions)


@pytest.mark.parametrize("target", ["host", "pi0", "pi4", "imxrt1050"])
def test_it_is_not_offered_where_it_was_not_measured(target: str) -> None:
    assert "direct" not in {p.kernel for p in only_step(GREY, target).predictions}


def test_more_channels_smaller_windows_and_gaps_are_left_to_others() -> None:
    others = [
        network(Conv2D(), (1, 9, 9, 5), (8, 3, 3, 5)),
        network(Conv2D(), (1, 9, 9, 3), (8, 2, 3, 3)),
        network(Conv2D(dilation=(1, 2)), (1, 9, 9, 3), (8, 3, 3, 3)),
        network(Conv2D(), (1, 20, 20, 4), (8, 3, 13, 4)),
    ]
    for graph in others:
        assert "direct" not in {p.kernel for p in only_step(graph, "pi3_64").predictions}


@pytest.mark.slow
def test_planes_of_the_input_are_not_moved() -> None:
    """Other readers of the transposed image, and other targets, still need the transposition."""
    assert only_step(PLANES, "pi3_64").op == "conv2d"
    assert len(make_plan(PLANES, resolve("host"), Options(), "net").steps) == 2
    b = GraphBuilder("net")
    x = b.add(Transpose((0, 2, 3, 1)), b.input("x", TensorType(DType.F32, (1, 3, 12, 12))))
    b.output("image", x)
    b.output("y", b.add(HALVING, x, b.constant(np.ones((8, 3, 3, 3), np.float32))))
    assert len(make_plan(ready(b.build()), resolve("pi3_64"), Options(), "net").steps) == 2


def test_kernels_that_need_pixels_copy_the_planes() -> None:
    options = Options(kernels=((LAYER, "gemm"),))
    steps = make_plan(PLANES, resolve("pi3_64"), options, "net").steps
    assert [step.call.note.split()[0] for step in steps] == ["copy", "gemm"]

"""Convolution nodes in refined models, in which ELL has split layers into nodes."""

from __future__ import annotations

import numpy as np
import pytest
from ell_nodes import constant, link, node, numbers, planar, read, run, source
from ell_oracle import layout

from ellc.frontends.ell.values import ArchiveObject


def correlate(x: np.ndarray, w: np.ndarray, pad: int) -> np.ndarray:
    """Cross-correlation with stride 1; w is [filters, k, k, channels]."""
    k = w.shape[1]
    padded = np.pad(x, ((pad, pad), (pad, pad), (0, 0)))
    rows, columns = padded.shape[0] - k + 1, padded.shape[1] - k + 1
    return sum(
        np.einsum("rcd,fd->rcf", padded[i : i + rows, j : j + columns], w[:, i, j])
        for i in range(k)
        for j in range(k)
    )


def padded_source() -> list[ArchiveObject]:
    return [
        source("1", 4, 5, 2),
        node(
            "ReorderDataNode<float>",
            "2",
            link("input", "1.output", "2"),
            ("inputLayout", layout(4, 5, 2)),
            ("outputLayout", layout(4, 5, 2, padding=(1, 1, 0))),
            ("paddingValue", 0),
        ),
    ]


CONVOLUTION_LAYOUTS = (
    ("inputLayout", layout(4, 5, 2, padding=(1, 1, 0))),
    ("outputLayout", layout(4, 5, 3)),
)


@pytest.mark.parametrize("kind", ["Simple", "Diagonal", "Unrolled"])
def test_convolution_nodes(kind: str) -> None:
    x, w = numbers(4, 5, 2), numbers(3, 3, 3, 2)
    if kind == "Unrolled":
        fields = [("filterSize", 3), ("stride", 1), ("weights_rows", 3), ("weights_columns", 18)]
    else:
        fields = [
            ("stride", 1),
            ("weights_rows", 9),
            ("weights_columns", 3),
            ("weights_channels", 2),
        ]
    fields.append(("weights_values", w))
    kind = f"{kind}ConvolutionNode<float>"
    nodes = [
        *padded_source(),
        node(kind, "3", link("input", "2.output", "3"), *CONVOLUTION_LAYOUTS, *fields),
    ]
    (got,) = run(read(nodes, ["3.output"]), x)
    np.testing.assert_allclose(got[0], correlate(x, w, 1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["Simple", "Diagonal"])
def test_convolution_compute_nodes(kind: str) -> None:
    x, w = numbers(4, 5, 2), numbers(3, 3, 3, 2)
    stored = w if kind == "Simple" else w.reshape(9, 6).T
    nodes = [
        *padded_source(),
        constant("w", stored.reshape(-1)),
        node(
            f"{kind}ConvolutionComputeNode<float>",
            "3",
            link("input", "2.output", "3"),
            link("filterWeights", "w.output", "3"),
            *CONVOLUTION_LAYOUTS,
            ("filterSize", 3),
            ("stride", 1),
        ),
    ]
    (got,) = run(read(nodes, ["3.output"]), x)
    np.testing.assert_allclose(got[0], correlate(x, w, 1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("planes", [False, True])
def test_receptive_fields_times_weights(planes: bool) -> None:
    """ELL refines an unrolled convolution to a product: weights, transposed matrix of windows."""
    x, w = numbers(4, 5, 2), numbers(3, 3, 3, 2)
    order = np.array([2, 0, 1] if planes else [0, 1, 2])
    given = planar(4, 5, 2) if planes else layout(4, 5, 2, padding=(1, 1, 0))
    nodes = [
        *padded_source(),
        node(
            "ReorderDataNode<float>",
            "p",
            link("input", "1.output", "p"),
            ("inputLayout", layout(4, 5, 2)),
            ("outputLayout", planar(4, 5, 2)),
            ("paddingValue", 0),
        ),
        node(
            "ReceptiveFieldMatrixNode<float>",
            "3",
            link("input", "p.output" if planes else "2.output", "3"),
            ("inputLayout", given),
            ("filterWidth", 3),
            ("stride", 1),
            ("convolutionPadding", 1),
            ("dataOrder", order),
            ("outputWidth", 5),
            ("outputHeight", 4),
        ),
        constant("w", w.reshape(-1)),
        node(
            "MatrixMatrixMultiplyNode<float>",
            "4",
            link("input1", "w.output", "4"),
            link("input2", "3.output", "4"),
            ("m", 3),
            ("n", 20),
            ("k", 18),
            ("transpose1", False),
            ("transpose2", False),
            ("transposeOutput", True),
        ),
        node("OutputNode<float>", "5", link("input", "4.output", "5"), ("layout", layout(4, 5, 3))),
    ]
    (got,) = run(read(nodes, ["5.output"]), x)
    np.testing.assert_allclose(got[0], correlate(x, w, 1), rtol=1e-4, atol=1e-5)


# F(2,3) and F(4,3): the matrices that transform a filter to the size of a window.
G = {
    2: np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]]),
    4: np.array(
        [
            [1 / 4, 0, 0],
            [-1 / 6, -1 / 6, -1 / 6],
            [-1 / 6, 1 / 6, -1 / 6],
            [1 / 24, 1 / 12, 1 / 6],
            [1 / 24, -1 / 12, 1 / 6],
            [0, 0, 1],
        ]
    ),
}


@pytest.mark.parametrize("compute", [False, True])
@pytest.mark.parametrize("order", ["filtersFirst", "tilesFirst"])
@pytest.mark.parametrize("tile", [2, 4])
def test_winograd_nodes_hold_transformed_filters(tile: int, order: str, compute: bool) -> None:
    x, w = numbers(4, 5, 2), numbers(3, 3, 3, 2)
    spread = np.einsum("pi,fijc,qj->fcpq", G[tile], w, G[tile])
    area = spread.shape[2] ** 2
    shape = (3, 2, area)
    if order == "tilesFirst":
        spread, shape = spread.transpose(2, 3, 0, 1), (area, 3, 2)
    weights = spread.astype(np.float32).reshape(-1)
    fields = [("tileSize", tile), ("filterSize", 3), ("stride", 1), ("order", order)]
    nodes = padded_source()
    kind = "WinogradConvolutionNode<float>"
    if compute:
        kind = "WinogradConvolutionComputeNode<float>"
        nodes.append(constant("w", weights))
        fields += [link("filterWeights", "w.output", "3"), ("numFilterChannels", 2)]
    else:
        names = ("weights_rows", "weights_columns", "weights_channels")
        fields += [*zip(names, shape, strict=True), ("weights_values", weights)]
    nodes.append(node(kind, "3", link("input", "2.output", "3"), *CONVOLUTION_LAYOUTS, *fields))
    (got,) = run(read(nodes, ["3.output"]), x)
    np.testing.assert_allclose(got[0], correlate(x, w, 1), rtol=1e-3, atol=1e-4)


def test_convolutions_of_planes() -> None:
    """In refined models, depthwise convolutions have channel-major inputs and outputs."""
    x, w = numbers(4, 5, 2), numbers(2, 3, 3, 1)
    nodes = [
        source("1", 4, 5, 2),
        node(
            "ReorderDataNode<float>",
            "2",
            link("input", "1.output", "2"),
            ("inputLayout", layout(4, 5, 2)),
            ("outputLayout", planar(4, 5, 2, pad=1)),
            ("paddingValue", 0),
        ),
        node(
            "SimpleConvolutionNode<float>",
            "3",
            link("input", "2.output", "3"),
            ("inputLayout", planar(4, 5, 2, pad=1)),
            ("outputLayout", planar(4, 5, 2)),
            ("stride", 1),
            ("weights_rows", 6),
            ("weights_columns", 3),
            ("weights_channels", 1),
            ("weights_values", w),
        ),
    ]
    (got,) = run(read(nodes, ["3.output"]), x)
    planes = [correlate(x[..., [c]], w[[c]], 1)[..., 0] for c in range(2)]
    np.testing.assert_allclose(got[0], np.stack(planes), rtol=1e-4, atol=1e-5)

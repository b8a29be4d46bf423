"""Lowers nodes of refined models that convolve or that arrange the windows of an image.

The first window starts at the border's corner. A refined model is one in which ELL has already
replaced layers by simpler nodes.
"""

from __future__ import annotations

import numpy as np

from ellc.frontends.ell import layers as ell
from ellc.frontends.ell.layout import MemoryLayout, increments
from ellc.frontends.ell.lower.buffers import StoredValue, plain_layout
from ellc.frontends.ell.lower.context import Handler, Job, Lowering, Refused
from ellc.frontends.ell.lower.layers import convolution_weights, convolve
from ellc.frontends.ell.lower.winograd import original_filters
from ellc.ir.builder import Ref
from ellc.ir.ops.padding import Pad
from ellc.ir.ops.shape import Concat, Slice, Transpose


def lower_tensor_convolution(lw: Lowering, job: Job) -> None:
    """`SimpleConvolutionNode` and `DiagonalConvolutionNode`.

    ELL computes the two with different algorithms that have the same result.
    """
    weights = job.view.tensor("weights")
    _convolve(lw, job, weights, weights.shape[1])


def lower_winograd(lw: Lowering, job: Job) -> None:
    """`WinogradConvolutionNode`: the archive holds transformed filters."""
    weights = job.view.tensor("weights")
    job.must_be_sound()
    _winograd(lw, job, weights.reshape(-1))


def lower_winograd_compute(lw: Lowering, job: Job) -> None:
    """`WinogradConvolutionComputeNode`: an input port provides the transformed filters."""
    _winograd(lw, job, _constant_weights(lw, job))


def _winograd(lw: Lowering, job: Job, stored: ell.FloatArray) -> None:
    tile, field = job.view.integer("tileSize", low=1), job.view.integer("filterSize", low=1)
    order = job.view.text("order", default="tilesFirst")
    job.must_be_sound()
    _, target = _layouts(job)
    filters = target.logical_size[2]
    _convolve(lw, job, original_filters(stored, filters, tile, field, order), field)


def lower_unrolled_convolution(lw: Lowering, job: Job) -> None:
    """`UnrolledConvolutionNode`: a matrix with one row for each filter."""
    matrix = job.view.matrix("weights")
    field = job.view.integer("filterSize", low=1)
    job.must_be_sound()
    _convolve(lw, job, _from_rows(matrix, field), field)


def _from_rows(matrix: ell.FloatArray, field: int) -> ell.FloatArray:
    """Reshape weights [filters, k * k * depth] to ELL's order [filters * k, k, depth]."""
    filters, columns = matrix.shape
    if not columns or columns % (field * field):
        raise Refused(f"{columns} weights for a {field}x{field} filter", "weights")
    return matrix.reshape(filters * field, field, columns // (field * field))


def lower_simple_compute(lw: Lowering, job: Job) -> None:
    """`SimpleConvolutionComputeNode`: an input port provides weights in the order of a layer."""
    field = job.view.integer("filterSize", low=1)
    _convolve(lw, job, _port_weights(lw, job, field), field)


def lower_diagonal_compute(lw: Lowering, job: Job) -> None:
    """`DiagonalConvolutionComputeNode`: an input port provides weights [k * depth, filters * k]."""
    field = job.view.integer("filterSize", low=1)
    job.must_be_sound()
    flat = _constant_weights(lw, job)
    _, output = _layouts(job)
    filters = output.logical_size[2]
    if not filters or flat.size % (filters * field):
        raise Refused(f"{flat.size} weights for {filters} filters", "filterWeights")
    transposed = flat.reshape(-1, filters * field).T
    weights = transposed.reshape(filters * field, field, -1)
    _convolve(lw, job, np.asarray(weights, order="C"), field)


def _port_weights(lw: Lowering, job: Job, field: int) -> ell.FloatArray:
    flat = _constant_weights(lw, job)
    _, output = _layouts(job)
    filters = output.logical_size[2]
    job.must_be_sound()
    if not filters or flat.size % (filters * field * field):
        raise Refused(f"{flat.size} weights for {filters} filters", "filterWeights")
    return flat.reshape(filters * field, field, -1)


def _constant_weights(lw: Lowering, job: Job) -> ell.FloatArray:
    ref = lw.vector(job, "filterWeights")
    if ref.id not in lw.constants:
        raise Refused("the weights are not constant", "filterWeights")
    return lw.constants[ref.id].astype(np.float32)


def _layouts(job: Job) -> tuple[MemoryLayout, MemoryLayout]:
    given, target = job.layout("inputLayout"), job.layout("outputLayout")
    if given is None or target is None:
        raise Refused("inputLayout or outputLayout is missing")
    for layout, key in ((given, "inputLayout"), (target, "outputLayout")):
        if len(layout.size) != 3:
            raise Refused("expected a layout of rows, columns and channels", key)
    return given, target


def _convolve(lw: Lowering, job: Job, weights: ell.FloatArray, field: int) -> None:
    given, target = _layouts(job)
    stride = job.view.integer("stride", low=1)
    job.must_be_sound()
    value, layout = _row_major(lw, lw.read(job, "input"), given)
    shaped, groups = convolution_weights(weights, field, layout.size[2])
    rows, columns, channels = target.logical_size
    if shaped.shape[0] != channels:
        raise Refused(f"{shaped.shape[0]} filters for {channels} channels", "weights")
    active = (rows, columns, channels)
    ref = convolve(lw, value, layout, shaped, stride, groups, active)
    ref = lw.slice(ref, (0, 0, 0, 0), (1, *active))
    if target.order != (0, 1, 2):
        ref = lw.emit(Transpose((0, *(1 + dimension for dimension in target.order))), ref)
    lw.write(job, StoredValue(ref, target))


def _row_major(
    lw: Lowering, value: StoredValue, layout: MemoryLayout
) -> tuple[StoredValue, MemoryLayout]:
    """Transpose a port's image with its border to rows, columns, channels; adapt the layout."""
    if layout.order == (0, 1, 2):
        return value, layout
    region = lw.region(value, layout)
    if isinstance(region.fill, np.ndarray):
        region = StoredValue(lw.with_border(region), plain_layout(region.layout.extent))
    positions = [layout.order.index(dimension) for dimension in range(3)]
    ref = lw.emit(Transpose((0, *(1 + position for position in positions))), region.ref)
    size, extent, offset = (
        tuple(values[position] for position in positions)
        for values in (region.layout.size, region.layout.extent, region.layout.offset)
    )
    row_major = MemoryLayout(size, extent, offset, (0, 1, 2), increments(extent))
    return StoredValue(ref, row_major, region.fill), row_major


def lower_receptive_field(lw: Lowering, job: Job) -> None:
    """`ReceptiveFieldMatrixNode`: a matrix whose columns are the windows of all output pixels.

    The border of a row-major image is a part of the image. The border of a channel-major image
    (`dataOrder` 2, 0, 1) is not read; `convolutionPadding` zeros take its place on each side.
    """
    field = job.view.integer("filterWidth", low=1, high=1 << 10)
    stride = job.view.integer("stride", low=1)
    padding = job.view.integer("convolutionPadding", default=0, high=1 << 16)
    order = job.view.integers("dataOrder", length=3)
    width, height = (job.view.integer(key, low=1) for key in ("outputWidth", "outputHeight"))
    layout = job.layout("inputLayout")
    job.must_be_sound()
    if layout is None or len(layout.size) != 3 or order not in ((0, 1, 2), (2, 0, 1)):
        raise Refused("expected an image with the order 0, 1, 2 or 2, 0, 1", "dataOrder")
    image = _padded_image(lw, lw.read(job, "input"), layout, order == (2, 0, 1), padding)
    rows, columns, channels = image.type.shape[1:]
    reach = ((height - 1) * stride + field, (width - 1) * stride + field)
    if reach[0] > rows or reach[1] > columns:
        raise Refused(
            f"windows need {reach[0]}x{reach[1]} inputs, but the image has {rows}x{columns}"
        )
    lw.limits.product(
        (height, width, channels, field, field),
        where=job.node.path,
        what="a receptive field matrix",
    )
    sizes, steps = (1, height, width, channels), (1, stride, stride, 1)
    taps = [
        lw.emit(Slice((0, row, column, 0), sizes, steps), image)
        for row in range(field)
        for column in range(field)
    ]
    matrix = lw.reshape(lw.emit(Concat(3), *taps), (height * width, field * field * channels))
    lw.write(job, lw.reshape(lw.emit(Transpose((1, 0)), matrix), (matrix.type.elements,)))


def _padded_image(
    lw: Lowering, value: StoredValue, layout: MemoryLayout, channel_major: bool, padding: int
) -> Ref:
    """The input image [1, rows, columns, channels], including its border."""
    if not channel_major:
        x, border = lw.padded_input(value, layout)
        if border.is_empty:
            return x
        return lw.with_border(lw.region(value, layout))
    planes = lw.active(value, layout)
    image = lw.emit(Transpose((0, 2, 3, 1)), planes)
    around = (0, padding, padding, 0)
    return lw.emit(Pad(around, around), image) if padding else image


HANDLERS: dict[str, Handler] = {
    "SimpleConvolutionNode": lower_tensor_convolution,
    "DiagonalConvolutionNode": lower_tensor_convolution,
    "WinogradConvolutionNode": lower_winograd,
    "WinogradConvolutionComputeNode": lower_winograd_compute,
    "UnrolledConvolutionNode": lower_unrolled_convolution,
    "SimpleConvolutionComputeNode": lower_simple_compute,
    "DiagonalConvolutionComputeNode": lower_diagonal_compute,
    "ReceptiveFieldMatrixNode": lower_receptive_field,
}

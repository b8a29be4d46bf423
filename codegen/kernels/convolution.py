"""The normal form of a convolution's node, and the parts of its kernel that all families share.

A dense layer is computed as a 1x1 convolution: the rows along the last axis of its input are the
pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic, TypeVar

import numpy as np

from ellc.codegen.blocks.calls import Arg, KernelCall, access_arg
from ellc.codegen.blocks.candidates import Candidate, Prediction, preferred_first
from ellc.codegen.blocks.epilogue import Epilogue
from ellc.codegen.blocks.placed_node import NodeOperand, PlacedNode
from ellc.codegen.blocks.schedule import GemmSchedule, GemmTraffic, band_rows
from ellc.codegen.blocks.scratch import copy_cycles, reshaped
from ellc.codegen.blocks.terms import ProductTypes, Terms, ZeroPoints, float_terms, integer_terms
from ellc.codegen.blocks.views import regrouped
from ellc.codegen.blocks.window import Axis, fold_rows, window_axes
from ellc.codegen.kernels.edge_table import EdgeTable
from ellc.codegen.kernels.implicit_gemm import ConvShape, TileArithmetic, TileNest, split_bands
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.in_order.states import encoding_of
from ellc.codegen.kir.ir import Param
from ellc.codegen.kir.types import Elem
from ellc.codegen.machine.target import Target
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.dense import Dense
from ellc.ir.ops.quantised_conv import IntConv2D, IntDense
from ellc.ir.types import Array, DType, Padding


def has_filter_per_channel(node: PlacedNode) -> bool:
    """Whether a node is a depthwise convolution: several groups, each with one input channel."""
    conv = node.anchor
    return isinstance(conv, Conv2D | IntConv2D) and (
        conv.groups > 1 and node.inputs[1].type.shape[3] == 1
    )


def has_constant_operands(node: PlacedNode) -> bool:
    """Whether weights and bias are constants; in a convolution they always are."""
    is_dense = isinstance(node.anchor, Dense | IntDense)
    return not is_dense or all(x.array is not None for x in node.inputs[1:])


def terms_of(node: PlacedNode) -> Terms:
    """What a convolution or dense layer multiplies and adds.

    Raises `EllcError` (E302) if weights or bias are computed.
    """
    image = Elem.of(node.inputs[0].type.dtype)
    weights = node.constant(1, "weights")
    bias = node.constant(2, "bias") if len(node.inputs) > 2 else None
    # The weights of a dense layer are filters with a 1x1 window.
    filters = weights if weights.ndim == 4 else weights[:, None, None, :]
    conv = node.anchor
    padding = conv.padding if isinstance(conv, Conv2D | IntConv2D) else Padding()
    if isinstance(conv, IntConv2D | IntDense):
        zeros = ZeroPoints(conv.input_zero, conv.weight_zero)
        return integer_terms(image, filters, bias, padding, zeros, node.target)
    return float_terms(image, filters, bias, padding)


@dataclass(frozen=True, eq=False, slots=True)
class Problem:
    """A convolution or dense layer: the shape of its loops, and what it multiplies and adds."""

    shape: ConvShape
    terms: Terms


def problem_of(node: PlacedNode, *, channels_apart: bool = False) -> Problem:
    """The problem of a node. An image whose strides no kernel can walk is copied first.

    So is an image whose channels are not neighbours, unless the kernel reads `channels_apart`. If
    results are bits and a byte would hold results of several groups, all groups become one.
    """
    terms = terms_of(node)
    if isinstance(node.anchor, Dense | IntDense):
        return Problem(_dense_shape(node.inputs[0], terms), terms)
    conv = node.anchor
    assert isinstance(conv, Conv2D | IntConv2D)
    image = node.inputs[0]
    x = reshaped(image.access, image.type.shape, inner_dense=not channels_apart)
    groups, filters = conv.groups, terms.weights.shape[0]
    if node.result.type.dtype is DType.BIT and filters // groups % 8:
        terms, groups = replace(terms, weights=_ungrouped(terms.weights, groups)), 1
    _, window_rows, window_columns, depth = terms.weights.shape
    images, out_rows, out_columns, _ = node.anchor_type().shape
    axes = window_axes(
        x,
        (out_rows, out_columns),
        (window_rows, window_columns),
        conv.stride,
        conv.dilation,
        terms.padding,
    )
    walk = (images, out_rows, out_columns, filters)
    return Problem(ConvShape(x, walk, *axes, depth, filters // groups, groups), terms)


def _dense_shape(image: NodeOperand, terms: Terms) -> ConvShape:
    filters, _, _, depth = terms.weights.shape
    pixels = image.type.elements // depth
    x = reshaped(image.access, (1, 1, pixels, depth))
    rows = Axis(1, 1, 1, 1, 1, 0, True)
    columns = Axis(pixels, pixels, 1, 1, 1, 0, True)
    return ConvShape(x, (1, 1, pixels, filters), rows, columns, depth, filters, 1)


def _ungrouped(weights: Array, groups: int) -> Array:
    """The filters, extended to the channels of all groups by weights of 0."""
    filters, rows, columns, depth = weights.shape
    ungrouped = np.zeros((filters, rows, columns, groups * depth), weights.dtype)
    for group, own_filters in enumerate(np.split(np.arange(filters), groups)):
        ungrouped[own_filters, :, :, group * depth : (group + 1) * depth] = weights[own_filters]
    return ungrouped


@dataclass(frozen=True, eq=False, slots=True)
class TileInputs:
    """What a tile reads (image, packed weights, start values), and the products' element types."""

    x: Param
    w: Param
    table: EdgeTable | None
    types: ProductTypes


class ProductArithmetic(TileArithmetic):
    """The arithmetic of a tile of products. Sums start from values of an edge table, or from 0.

    `args` are the arguments of parameters that the arithmetic has added to the kernel.
    """

    def __init__(
        self,
        b: KernelBuilder,
        shape: ConvShape,
        schedule: GemmSchedule,
        inputs: TileInputs,
    ) -> None:
        super().__init__(b, shape, schedule, inputs.x, inputs.w)
        self._table, self._types = inputs.table, inputs.types
        self.args: tuple[Arg, ...] = ()


ArithmeticT = TypeVar("ArithmeticT", bound=ProductArithmetic)


@dataclass(frozen=True, eq=False, slots=True)
class Product(Generic[ArithmeticT]):
    """A convolution and the family that computes it: everything that a kernel needs except a tile.

    `pack(weights, groups, block)` puts the weights in the order in which the kernel reads them.
    `nest` writes the loops.
    """

    kernel: str
    problem: Problem
    arithmetic: Callable[[KernelBuilder, ConvShape, GemmSchedule, TileInputs], ArithmeticT]
    pack: Callable[[Array, int, int], Array]
    nest: type[TileNest[ArithmeticT]] = TileNest

    def candidates(
        self,
        node: PlacedNode,
        cycles: Callable[[Target, ConvShape, GemmSchedule, ProductTypes], float],
        usual: GemmSchedule,
        tiles: Iterable[GemmSchedule],
    ) -> Iterator[Candidate]:
        """A candidate with the usual tile, then one with each of the other `tiles`.

        The usual tile is first adapted by `fitted`. If results are bits, tiles that do not fill
        whole bytes are left out. `cycles` predicts the cost of a tile; the others come in the order
        of these costs.
        """
        shape, types = self.problem.shape, self.problem.terms.types

        def candidate(tile: GemmSchedule) -> Candidate:
            predicted_cycles = cycles(node.target, shape, tile, types) + copy_cycles(shape.x)
            prediction = Prediction(self.kernel, tile.note, predicted_cycles)
            return Candidate(prediction, partial(self.call, node, tile))

        dtype = node.result.type.dtype
        fitting = (tile for tile in tiles if has_whole_bytes(dtype, tile))
        return preferred_first(candidate(fitted(dtype, shape, usual)), map(candidate, fitting))

    def call(self, node: PlacedNode, tile: GemmSchedule) -> list[KernelCall]:
        """Write the kernels with this schedule, and return their calls."""
        return [self.written(node, tile)[0]]

    def written(self, node: PlacedNode, tile: GemmSchedule) -> tuple[KernelCall, ArithmeticT]:
        """The call of the kernel of products with this schedule, and its arithmetic.

        Unless the schedule has a loop order, the height of its bands is chosen here.
        """
        shape, terms = self.problem.shape, self.problem.terms
        schedule = tile if tile.order else _banded(node, shape, tile, terms.types)
        b = KernelBuilder(node.name)
        x = b.param("x", terms.types.image, shape.x.align_bytes)
        w = b.param("w", terms.types.weight, 64)
        args: list[Arg] = [access_arg(shape.x), self._packed(node.inputs[1], schedule.block)]
        table = _start_table(b, shape, schedule, terms)
        arithmetic = self.arithmetic(b, shape, schedule, TileInputs(x, w, table, terms.types))
        args += [*(table.args if table else ()), *arithmetic.args]
        epilogue = Epilogue(node, b, shape.walk)
        if node.target.core.memory is not None and terms.types.total.is_float:
            # In order, each line of a residual is waited for. Thousand modelled cycles on pi3_64,
            # 1x1, 56x56, 72 -> 24, without and with prefetches: 8x8 2,871
            # and 2,314, 6x8 2,977 and 2,574.
            epilogue.fetch_ahead((0, 0, schedule.pixels, 0))
        extent = self.nest(b, shape, schedule, arithmetic, epilogue).write()
        note = f"{self.kernel} {schedule.note} {schedule.order}".rstrip()
        call = KernelCall(b.finish(), (*args, *epilogue.args), extent, note)
        return call, arithmetic

    def _packed(self, stored: NodeOperand, block: int) -> Arg:
        """The packed weights as an argument. Zeros fill the last block of filters."""
        shape, terms = self.problem.shape, self.problem.terms
        weights = terms.weights
        blocks = -(-shape.filters // block)
        count = shape.groups * blocks * block * int(np.prod(weights.shape[1:]))
        size = count * terms.types.weight.bytes
        make = partial(_pack, self.pack, terms, shape.groups, block)
        what = f"{self.kernel}:{shape.groups}:{block}:{terms.key}{weights.shape}"
        return stored.derived(what, size, make)


def _pack(pack: Callable[[Array, int, int], Array], terms: Terms, groups: int, block: int) -> Array:
    """The packed weights. `terms.stored` is computed only here, because it takes memory."""
    return pack(terms.stored, groups, block)


def has_whole_bytes(dtype: DType, tile: GemmSchedule) -> bool:
    """Whether results of a block of filters fill whole bytes. Always true unless they are bits."""
    return dtype is not DType.BIT or tile.block % 8 == 0


def fitted(dtype: DType, shape: ConvShape, tile: GemmSchedule) -> GemmSchedule:
    """The usual tile, adapted to results that are bits and to tiles at edges.

    It gets enough filters to fill whole bytes. If there are edges it gets one pixel fewer, unless
    values are multiplied by lane.
    """
    while not has_whole_bytes(dtype, tile):
        tile = replace(tile, vectors=tile.vectors + 1)
    if not shape.columns.is_interior and not tile.by_lane:
        # A tile at an edge has several inner loops, and all sums stay in registers throughout them.
        # With one pixel fewer there are enough registers for this.
        tile = replace(tile, pixels=max(1, tile.pixels - 1))
    return tile


def _banded(
    node: PlacedNode, shape: ConvShape, tile: GemmSchedule, types: ProductTypes
) -> GemmSchedule:
    """The schedule: the tile, with the number of rows in a band."""
    columns = shape.columns
    taps = shape.rows.taps * columns.taps
    traffic = GemmTraffic(
        shape.rows.outputs,
        shape.x.strides[1] * shape.rows.stride * types.image.bytes,
        shape.walk[2] * shape.walk[3] * Elem.of(node.result.type.dtype).bytes,
        taps * shape.channels * shape.walk[3] * types.weight.bytes,
        types.factor is Elem.I8 and is_scheduled(node.target),
    )
    blocks = -(-shape.filters // tile.block)
    schedule = replace(tile, band_rows=band_rows(traffic, blocks, node.target))
    return split_bands(schedule, shape, node.threads)


def is_scheduled(target: Target) -> bool:
    """Whether ellc schedules loops of products of bytes for the target's core."""
    encoding = encoding_of(target)
    return encoding is not None and encoding.has_integers


def folded(node: PlacedNode, shape: ConvShape, limit: int, *, short: bool = False) -> ConvShape:
    """The shape with all pixels in one sequence, cut into rows that suit tiles of `limit` pixels.

    `short` rows have a few tiles more, if need be.

    This is possible for a 1x1 convolution with stride 1 over one image without gaps, provided that
    its result and the operands of its stages can be folded in the same way. Any other shape is
    returned unchanged.
    """
    rows, columns = shape.rows, shape.columns
    is_pointwise = (rows.taps, columns.taps, rows.stride, columns.stride) == (1, 1, 1, 1)
    if not is_pointwise or rows.before or columns.before or rows.size != rows.outputs:
        return shape
    if columns.size != columns.outputs or shape.walk[0] != 1:
        return shape
    pixels = rows.outputs * columns.outputs
    walk = (1, *fold_rows(pixels, limit, short=short), shape.walk[3])
    depth = shape.x.shape[3]
    strides = regrouped(shape.x.shape, shape.x.strides, (*walk[:3], depth))
    operands = [x.computed for x in node.extras if x.computed is not None]
    foldable = all(_folds(x.type.shape, node.anchor_type().shape) for x in node.extras)
    if strides is None or not foldable:
        return shape
    targets = [
        a for a in (*operands, node.result.access) if len(a.shape) == 4 and a.shape[1:3] != (1, 1)
    ]
    if any(regrouped(a.shape, a.strides, (*walk[:3], a.shape[3])) is None for a in targets):
        return shape
    x = replace(shape.x, shape=(*walk[:3], depth), strides=strides, border=None)
    axis = partial(Axis, taps=1, stride=1, dilation=1, before=0, bordered=True)
    return replace(
        shape, x=x, walk=walk, rows=axis(walk[1], walk[1]), columns=axis(walk[2], walk[2])
    )


def _folds(operand: tuple[int, ...], result: tuple[int, ...]) -> bool:
    """Whether an operand has the result's shape, or is the same for every pixel."""
    return operand == result or all(n == 1 for n in operand[:-1])


def _start_table(
    b: KernelBuilder, shape: ConvShape, schedule: GemmSchedule, terms: Terms
) -> EdgeTable | None:
    """The table of the sums' start values, or None if all are 0.

    A start value is the bias plus the contribution of taps outside the image.
    """
    edges = not (shape.rows.is_interior and shape.columns.is_interior)
    if terms.starts_at_zero(edges=edges):
        return None
    by_class = terms.depends_on_taps(edges=edges)

    def row(rows: tuple[int, int], columns: tuple[int, int]) -> Array:
        return terms.start(shape.groups, (rows, columns) if by_class else None)

    return EdgeTable(b, shape, schedule, terms.types.total, row, by_class=by_class)

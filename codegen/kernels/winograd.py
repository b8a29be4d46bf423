"""Winograd convolutions of floats with 3x3 windows and stride 1: fewer multiplications.

F(2x2) needs 16 products for 4 results instead of 36, F(4x4) 36 for 16 results instead of 144; the
transforms of data and sums come on top. `winograd_transform.py` derives the matrices,
`winograd_stages.py` writes the loops. Filters are transformed at compile time, in float64.

V and M hold a band of tiles. If every thread has bands of its own, one kernel computes them, band
by band; otherwise each stage is a kernel for all tiles, and threads share its loop.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np

from ellc.codegen.blocks.calls import Arg, KernelCall, access_arg
from ellc.codegen.blocks.candidates import WINOGRAD, Candidate, Prediction, Sums, kernel
from ellc.codegen.blocks.epilogue import Epilogue
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.schedule import (
    LINE_BYTES,
    NOTHING_AHEAD,
    Ahead,
    GemmSchedule,
    gemm_tile,
)
from ellc.codegen.blocks.scratch import copy_cycles, scratch
from ellc.codegen.blocks.weights import constant
from ellc.codegen.blocks.window import cut
from ellc.codegen.kernels.convolution import Problem, problem_of
from ellc.codegen.kernels.error_growth import growth_of_stages
from ellc.codegen.kernels.winograd_cost import moved_bytes, winograd_cycles
from ellc.codegen.kernels.winograd_error import error_bound
from ellc.codegen.kernels.winograd_stages import (
    DataStage,
    Layout,
    ProductStage,
    SumStage,
    Tiled,
)
from ellc.codegen.kernels.winograd_transform import TAPS, Winograd, winograd
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Imm, Operand, Param
from ellc.codegen.kir.types import Elem
from ellc.codegen.machine.target import Target
from ellc.ir.ops.conv import Conv2D
from ellc.ir.types import Array, DType

OF_LARGEST = 2e-5
"""The error that a layer computed by F(4x4) may have, relative to its largest result. F(2x2) keeps
the usual tolerance: with drawn weights, its errors are below those of direct sums."""
_SUMS = {2: Sums(WINOGRAD), 4: Sums(WINOGRAD, OF_LARGEST)}
_AHEAD = Ahead(image_bytes=64, weight_bytes=512)
"""The filters come from memory, and those of a plane are read for only a few tiles. Thousand
modelled cycles on pi3_64 for F(4x4), 14x14, 256 -> 256 channels: without prefetches the products
take 27,723, with prefetches of filters 17,619."""


@kernel(Conv2D, name="winograd")
def winograd_convolution(node: PlacedNode) -> Iterator[Candidate]:
    """Candidates for ungrouped convolutions of float32 with 3x3 windows and stride 1."""
    problem = _suitable(node)
    if problem is None:
        return

    def candidate(layout: Layout, aliases: tuple[str, ...]) -> Candidate:
        cycles = winograd_cycles(node.target, layout) + copy_cycles(problem.shape.x)
        results = layout.transform.results
        sums = _SUMS[results]
        prediction = Prediction("winograd", layout.note, cycles, sums, results, aliases=aliases)
        return Candidate(prediction, partial(_calls, node, problem, layout))

    layouts: dict[str, Layout] = {}
    names: dict[str, tuple[str, ...]] = {}
    for results, panels_first in product(_accurate(node, problem), (False, True)):
        layout = _layout(node, problem, results, panels_first=panels_first)
        # Threads that share the stages of all tiles cannot take one block of filters after the
        # other: then both names mean the same layout.
        layouts[layout.note] = layout
        asked = replace(layout, panels_first=panels_first).note
        names[layout.note] = (*names.get(layout.note, ()), asked)
    candidates = [candidate(layout, names[note]) for note, layout in layouts.items()]
    yield from sorted(candidates, key=lambda c: c.prediction.known_cycles)


def _accurate(node: PlacedNode, problem: Problem) -> list[int]:
    """The transforms, by results, whose errors are within their tolerance.

    That of F(4x4) is relative to the largest result after all stages, so they count as well.
    """
    weights = problem.terms.weights
    growth = growth_of_stages(node)

    def bound(results: int, scales: Array) -> float:
        make = partial(error_bound, winograd(results), weights, scales)
        return node.inputs[1].once(("winograd error", results, scales.tobytes()), make)

    usual = [2] if bound(2, np.ones_like(growth.scales)) < np.inf else []
    if not np.isfinite(growth.factor) or growth.factor * bound(4, growth.scales) > OF_LARGEST:
        return usual
    return [*usual, 4]


def _calls(node: PlacedNode, problem: Problem, layout: Layout) -> list[KernelCall]:
    """The kernel of all stages, or a kernel for each stage if threads cannot share the bands."""
    kernels = _Kernels(node, problem, layout)
    if node.threads == 1 or layout.parts > 1:
        return [kernels.all_stages()]
    return kernels.separate_stages()


def _suitable(node: PlacedNode) -> Problem | None:
    """The problem, if its window, types and weights are those of a Winograd convolution."""
    conv, target = node.anchor, node.target
    assert isinstance(conv, Conv2D)
    if node.inputs[1].type.shape[1:3] != (TAPS, TAPS) or conv.groups > 1:
        return None
    if conv.stride != (1, 1) or conv.dilation != (1, 1) or target.lanes(4) == 1:
        return None
    problem = problem_of(node)
    terms, shape = problem.terms, problem.shape
    if terms.types.total is not Elem.F32 or node.result.type.dtype is not DType.F32:
        return None
    is_edged = not (shape.rows.is_interior and shape.columns.is_interior)
    if terms.depends_on_taps(edges=is_edged) or not terms.padding.is_zero:
        return None
    return problem


def _layout(node: PlacedNode, problem: Problem, results: int, *, panels_first: bool) -> Layout:
    """The bands and the order for a convolution.

    The bands are those with the fewest predicted cycles, or those that move the fewest bytes if
    waits for bytes are not known.
    """
    target, transform = node.target, winograd(results)
    images, rows, columns, filters = problem.shape.walk
    tiles = images * -(-rows // results) * -(-columns // results)
    counts = sorted({-(-tiles // size) for size in range(1, tiles + 1)})
    depths = problem.shape.channels, filters

    def moved(bands: int) -> int:
        planes = transform.products
        return moved_bytes(target, planes, tiles, bands, depths, panels=panels_first)

    if target.core.memory is None:
        counts = [min(counts, key=moved)]
    make = partial(_banded, node, problem, transform, panels_first=panels_first)
    layout = min(map(make, counts), key=partial(winograd_cycles, target))
    if node.threads == 1:
        return layout
    if layout.bands < 2 * node.threads:
        return replace(layout, band=tiles, panels_first=False)
    return replace(layout, parts=node.threads)


def _banded(
    node: PlacedNode, problem: Problem, transform: Winograd, bands: int, *, panels_first: bool
) -> Layout:
    """The layout with so many bands, whose heights are multiples of a tile of the products."""
    target, shape = node.target, problem.shape
    images, rows, columns, filters = shape.walk
    results = transform.results
    grid = (images, -(-rows // results), -(-columns // results))
    tiles = grid[0] * grid[1] * grid[2]
    band = -(-tiles // bands)
    usual = gemm_tile(target, Elem.F32, band, filters, depth=shape.channels)
    ahead = _AHEAD if target.core.in_order else NOTHING_AHEAD
    schedule = replace(usual, pixels=cut(band, usual.pixels).size, ahead=ahead)
    band = min(tiles, -(-band // schedule.pixels) * schedule.pixels)
    counts = (shape.channels, filters)
    passes = _in_memory(target, transform, schedule), _at_once(target, schedule)
    return Layout(transform, grid, *counts, schedule, band, panels_first, 1, *passes)


_OTHER_REGISTERS = 12
"""The vector registers that a transform uses for factors and for the values of two rows."""


def _in_memory(target: Target, transform: Winograd, schedule: GemmSchedule) -> bool:
    """Whether values between the two passes of a transform are kept in V and M, by short loops.

    In the 32-bit state of a core whose loops ellc schedules, straight-line code is faster, as there
    are too few core registers for the addresses of these loops: modelled, 32x32, 16 -> 16 channels
    takes 0.95 million cycles instead of 1.27, 8x8, 64 -> 64 channels 0.58 instead of 0.71.
    """
    scheduled = _has_few_registers(target, schedule)
    return not scheduled and transform.products > target.vector_registers - _OTHER_REGISTERS


def _at_once(target: Target, schedule: GemmSchedule) -> int:
    """How many rows a transform computes at a time."""
    return 1 if _has_few_registers(target, schedule) else 2


def _has_few_registers(target: Target, schedule: GemmSchedule) -> bool:
    """Whether ellc schedules the code, for the 32-bit state of a core."""
    return bool(target.core.scheduler) and schedule.by_lane and not schedule.weights_first


class _Kernels:
    """Writes the kernels of a node. Parameters are declared in the order in which stages need them.

    `name` is the kernel's name; V and M are scratch memory that all kernels of the node share.
    """

    def __init__(self, node: PlacedNode, problem: Problem, layout: Layout) -> None:
        self._node, self._problem, self._layout = node, problem, layout
        shape = problem.shape
        self._tiled = Tiled(shape.x, shape.walk, shape.rows, shape.columns)
        self._v = scratch(Elem.F32, (layout.parts * layout.v_floats,))
        self._m = scratch(Elem.F32, (layout.parts * layout.m_floats,))

    def all_stages(self) -> KernelCall:
        """One kernel, which is parallel over parts of the bands."""
        kernel = _Kernel(self._node.name)
        x, w = self._image(kernel), self._filters(kernel)
        v, m = self._scratch(kernel)
        bias = self._bias(kernel)
        epilogue = self._epilogue(kernel)
        b, layout = kernel.b, self._layout
        data = DataStage(b, self._tiled, layout, (x, v, m))
        products = self._products(b, v, w, m)
        sums = SumStage(b, layout, m, bias, epilogue, self._tiled.walk)
        share = -(-layout.bands // layout.parts)
        with b.loop("part", b.begin, b.end) as part:
            starts = b.mul(part.index, layout.v_floats), b.mul(part.index, layout.m_floats)
            first = b.mul(part.index, share)
            with b.loop("band", first, b.min(b.add(first, share), layout.bands)) as band:
                begin = b.mul(band.index, layout.band)
                count = b.min(b.sub(layout.tiles, begin), layout.band)
                with b.loop("tile", 0, count) as tile:
                    data.write(b.add(begin, tile.index), tile.index, *starts)
                _products_and_sums(b, layout, products, sums, begin, count, starts)
        return kernel.call(epilogue.args, layout.parts, f"winograd {layout.note}")

    def separate_stages(self) -> list[KernelCall]:
        """A kernel for each stage of one band: parallel over tiles, planes and blocks, tiles."""
        return [self._data_call(), self._product_call(), self._sum_call()]

    def _data_call(self) -> KernelCall:
        kernel = _Kernel(self._node.name)
        x = self._image(kernel)
        v, m = self._scratch(kernel)
        b = kernel.b
        stage = DataStage(b, self._tiled, self._layout, (x, v, m))
        with b.loop("tile", b.begin, b.end) as tile:
            patch = b.mul(tile.index, self._layout.patch)
            stage.write(tile.index, tile.index, Imm(0), patch)
        return kernel.call([], self._layout.tiles, f"winograd {self._layout.note} data")

    def _product_call(self) -> KernelCall:
        kernel, layout = _Kernel(self._node.name), self._layout
        w = self._filters(kernel)
        v, m = self._scratch(kernel)
        b = kernel.b
        stage = self._products(b, v, w, m)
        with b.loop("product", b.begin, b.end) as product:
            block, plane = b.rem(product.index, layout.blocks), b.div(product.index, layout.blocks)
            stage.write(plane, block, layout.tiles, (Imm(0), Imm(0)))
        return kernel.call(
            [], layout.transform.products * layout.blocks, f"winograd {layout.note} products"
        )

    def _sum_call(self) -> KernelCall:
        kernel = _Kernel(self._node.name)
        m = kernel.param("m", access_arg(self._m), writable=True)
        bias = self._bias(kernel)
        epilogue = self._epilogue(kernel)
        b = kernel.b
        stage = SumStage(b, self._layout, m, bias, epilogue, self._tiled.walk)
        with b.loop("tile", b.begin, b.end) as tile:
            stage.write(tile.index, tile.index, Imm(0))
        return kernel.call(epilogue.args, self._layout.tiles, f"winograd {self._layout.note} sums")

    def _image(self, kernel: _Kernel) -> Param:
        x = self._tiled.x
        return kernel.param("x", access_arg(x), x.align_bytes)

    def _scratch(self, kernel: _Kernel) -> tuple[Param, Param]:
        return (
            kernel.param("v", access_arg(self._v), writable=True),
            kernel.param("m", access_arg(self._m), writable=True),
        )

    def _products(self, b: KernelBuilder, v: Param, w: Param, m: Param) -> ProductStage:
        return ProductStage(b, self._layout, self._v, (v, w, m))

    def _filters(self, kernel: _Kernel) -> Param:
        """The transformed filters, in the order in which the products read them."""
        layout, weights = self._layout, self._problem.terms.weights
        block, order = layout.schedule.block, layout.order
        size = 4 * layout.transform.products * layout.depth * layout.blocks * block
        what = f"winograd{layout.transform.results}:{order}:{block}:{layout.depth}{weights.shape}"
        make = partial(_packed, weights, layout)
        return kernel.param("w", self._node.inputs[1].derived(what, size, make))

    def _epilogue(self, kernel: _Kernel) -> Epilogue:
        """The stages of all results. Their operands, such as a residual, come a line earlier."""
        epilogue = Epilogue(self._node, kernel.b, self._tiled.walk)
        if self._node.target.core.memory is not None:
            epilogue.fetch_ahead((0, 0, 0, LINE_BYTES // Elem.F32.bytes))
        return epilogue

    def _bias(self, kernel: _Kernel) -> Param | None:
        """The bias of every filter, up to a whole vector; None if there is none."""
        exact = self._problem.terms.exact
        if exact is None:
            return None
        values = np.zeros(self._layout.blocks * self._layout.schedule.block, np.float32)
        values[: len(exact)] = exact
        return kernel.param("bias", constant(values))


class _Kernel:
    """A kernel that is being written, and the arguments of its parameters."""

    def __init__(self, name: str) -> None:
        self.b = KernelBuilder(name)
        self._args: list[Arg] = []

    def param(self, name: str, arg: Arg, align_bytes: int = 64, *, writable: bool = False) -> Param:
        """Declare a pointer to float32, and its argument."""
        self._args.append(arg)
        return self.b.param(name, Elem.F32, align_bytes, writable=writable)

    def call(self, epilogue: Sequence[Arg], extent: int, note: str) -> KernelCall:
        """The call of the finished kernel, whose last parameters are those of the epilogue."""
        return KernelCall(self.b.finish(), (*self._args, *epilogue), extent, note)


def _products_and_sums(
    b: KernelBuilder,
    layout: Layout,
    products: ProductStage,
    sums: SumStage,
    begin: Operand,
    count: Operand,
    starts: tuple[Operand, Operand],
) -> None:
    """Write the products and the results of a band of `count` tiles from `begin` on."""
    planes = layout.transform.products
    if not layout.panels_first:
        with b.loop("plane", 0, planes) as plane, b.loop("block", 0, layout.blocks) as block:
            products.write(plane.index, block.index, count, starts)
        with b.loop("tile", 0, count) as tile:
            sums.write(b.add(begin, tile.index), tile.index, starts[1])
        return
    with b.loop("block", 0, layout.blocks) as block:
        with b.loop("plane", 0, planes) as plane:
            products.write(plane.index, block.index, count, starts)
        with b.loop("tile", 0, count) as tile:
            sums.write(b.add(begin, tile.index), tile.index, starts[1], block.index)


def _packed(weights: Array, layout: Layout) -> Array:
    """Filters [F,3,3,C] -> float32 [planes, blocks, depth, block], or blocks before planes."""
    block, planes = layout.schedule.block, layout.transform.products
    packed = np.zeros((planes, layout.blocks, layout.depth, block), np.float32)
    for index in range(layout.blocks):
        filters = weights[index * block : (index + 1) * block]
        values = layout.transform.transformed(filters)
        values = np.moveaxis(values.reshape(planes, len(filters), -1), 1, 2)
        packed[:, index, : layout.channels, : len(filters)] = values
    return np.asarray(packed.swapaxes(0, 1), order="C") if layout.panels_first else packed

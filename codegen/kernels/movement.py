"""Kernels that only move elements: copies between any two layouts of one shape."""

from __future__ import annotations

from contextlib import ExitStack

from codegen.kir.build import KernelBuilder
from codegen.kir.ir import Imm, Operand
from codegen.lowering import Arg, KernelCall, access_arg
from codegen.storage import Access
from codegen.targets import Target


def copy_call(name: str, target: Target, source: Access, arg: Arg, result: Access) -> KernelCall:
    """Copy every element of `source` (found through `arg`) to the same place of `result`.

    Both have one shape and any strides. Axes that are consecutive in both are walked as one; the
    first remaining axis is the parallel loop.
    """
    axes = merged_axes(source, result)
    b = KernelBuilder(name)
    x = b.param("x", source.elem, source.align_bytes)
    y = b.param("y", result.elem, result.align_bytes, writable=True)
    *outer, (inner, x_step, y_step) = axes
    if not outer:
        outer = [(1, 0, 0)]
    lanes = target.lanes(source.elem.bytes) if x_step == y_step == 1 else 1
    with ExitStack() as stack:
        x_index: Operand = Imm(0)
        y_index: Operand = Imm(0)
        for place, (extent, x_stride, y_stride) in enumerate(outer):
            bounds = (b.begin, b.end) if place == 0 else (Imm(0), Imm(extent))
            loop = stack.enter_context(b.loop(f"axis{place}", *bounds))
            x_index = b.add(x_index, b.mul(loop.index, x_stride))
            y_index = b.add(y_index, b.mul(loop.index, y_stride))
        whole = inner - inner % lanes
        with b.loop("element", 0, whole, lanes) as element:
            value = b.load(x, b.add(x_index, b.mul(element.index, x_step)), lanes)
            b.store(value, y, b.add(y_index, b.mul(element.index, y_step)))
        if inner - whole:
            rest = b.load_some(x, b.add(x_index, whole), lanes, inner - whole)
            b.store_some(rest, y, b.add(y_index, whole), inner - whole)
    return KernelCall(b.finish(), (arg, access_arg(result)), outer[0][0], "copy")


def merged_axes(source: Access, result: Access) -> list[tuple[int, int, int]]:
    """(extent, source stride, result stride) of each axis, neighbours merged where both allow."""
    axes: list[tuple[int, int, int]] = []
    for extent, a, b in zip(source.shape, source.strides, result.strides, strict=True):
        if extent == 1:
            continue
        if axes and axes[-1][1] == extent * a and axes[-1][2] == extent * b:
            outer, _, _ = axes.pop()
            axes.append((outer * extent, a, b))
        else:
            axes.append((extent, a, b))
    return axes or [(1, 1, 1)]

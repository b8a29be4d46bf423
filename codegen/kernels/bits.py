"""Kernels that unpack bits to bytes and pack them again, for operators that move single bits."""

from __future__ import annotations

from ellc.codegen.blocks.access import Access, bit_bytes
from ellc.codegen.blocks.calls import KernelCall, access_arg
from ellc.codegen.blocks.scratch import scratch
from ellc.codegen.blocks.views import viewed_as
from ellc.codegen.blocks.walking import ElementWalk
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Imm, Operand
from ellc.codegen.kir.types import Elem, VType
from ellc.ir.errors import InternalError


def unpacked(
    name: str, source: Access, shape: tuple[int, ...], threads: int
) -> tuple[Access, KernelCall]:
    """(scratch memory of `shape` with one byte, 0 or 1, per bit; the call that fills it)."""
    unpacked_bits = scratch(Elem.U8, shape)
    *outer, channels = shape
    b = KernelBuilder(f"{name}_unpack")
    x = b.param("x", Elem.U8, source.align_bytes)
    y = b.param("y", Elem.U8, unpacked_bits.align_bytes, writable=True)

    def body(at: list[Operand], length: int, last: bool) -> None:
        x_index = _index(b, at[:-1], source.strides)
        y_index = _index(b, at[:-1], unpacked_bits.strides)
        byte = b.load(x, b.add(x_index, b.mul(b.div(at[-1], 8), source.strides[-1])))
        for bit in range(length):
            value = b.op("and", b.shift_right(byte, bit) if bit else byte, b.const(1, byte))
            b.store(value, y, b.add(y_index, at[-1]), offset=bit)

    extent = ElementWalk((*outer, channels), 8, threads).write(b, body)
    args = (access_arg(source), access_arg(unpacked_bits))
    return unpacked_bits, KernelCall(b.finish(), args, extent, "unpack bits")


def pack(
    name: str, source: Access, shape: tuple[int, ...], result: Access, threads: int
) -> KernelCall:
    """The call that packs `source`, dense bytes of 0 or 1, into the bits of `result`.

    Bits after the last element of a row are 0.
    """
    *outer, channels = shape
    view = viewed_as(result, (*outer, result.shape[-1]))
    if view is None:
        raise InternalError(
            f"{name}: bits of shape {shape} cannot be packed into bytes of shape {result.shape}"
        )
    b = KernelBuilder(f"{name}_pack")
    x = b.param("x", Elem.U8, source.align_bytes)
    y = b.param("y", Elem.U8, result.align_bytes, writable=True)

    def body(at: list[Operand], length: int, last: bool) -> None:
        x_index, y_index = _index(b, at[:-1], source.strides), _index(b, at[:-1], view.strides)
        byte: Operand = b.load(x, b.add(x_index, at[-1]))
        for bit in range(1, length):
            value = b.load(x, b.add(x_index, at[-1]), offset=bit)
            byte = b.op("or", byte, b.shift_left(value, bit))
        byte_index = b.add(y_index, b.mul(b.div(at[-1], 8), view.strides[-1]))
        b.store(byte, y, byte_index)
        if last:
            for extra in range(1, bit_bytes(channels) - (channels - 1) // 8):
                zero = Imm(0, VType(Elem.U8))
                b.store(zero, y, byte_index, offset=extra * view.strides[-1])

    walk = ElementWalk((*outer, channels), 8, threads, split_last=True)
    extent = walk.write(b, body)
    return KernelCall(b.finish(), (access_arg(source), access_arg(result)), extent, "pack bits")


def _index(b: KernelBuilder, at: list[Operand], strides: tuple[int, ...]) -> Operand:
    """The offset, in elements, of the coordinates `at` along all axes but the last."""
    index: Operand = Imm(0)
    for coordinate, stride in zip(at, strides, strict=False):
        index = b.add(index, b.mul(coordinate, stride))
    return index

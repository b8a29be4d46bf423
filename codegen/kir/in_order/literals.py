"""Literals that are factors, as lanes of vector registers that they share."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ellc.codegen.kir.in_order.affine import Affine, Writer
from ellc.codegen.kir.in_order.code import Reg, undefined
from ellc.codegen.kir.ir import Imm

_LANES = 4


def float_bits(value: float) -> int:
    """The bits of a float32."""
    (bits,) = struct.unpack("<I", struct.pack("<f", value))
    return int(bits)


@dataclass(frozen=True, slots=True)
class Lane:
    """All lanes are one lane of a register."""

    reg: Reg
    lane: int


class LiteralLanes:
    """The literals of the block that is being written.

    F(4x4) multiplies by six literals: in registers of their own, they would take six of 16.
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._places: dict[int, dict[Imm, Lane]] = {}

    def forget(self) -> None:
        """A loop begins or ends."""
        self._places.clear()

    def place(self, literal: Imm) -> Lane:
        """The register and the lane of a literal."""
        writer, places = self._writer, self._places.setdefault(self._writer.depth, {})
        if literal not in places:
            lane = len(places) % _LANES
            reg = next(reversed(places.values())).reg if lane else writer.new("v")
            if not lane:
                writer.emit(undefined(reg))
            word = writer.index(Affine((), float_bits(literal.value)))
            writer.emit(writer.encoding.word_insertion(reg, lane, word))
            places[literal] = Lane(reg, lane)
        return places[literal]

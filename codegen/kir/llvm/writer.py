"""Writes LLVM instructions, with types, literals and registers as text."""

from __future__ import annotations

import functools
import re
import struct
from collections.abc import Iterable, Sequence

from ellc.codegen.kir.instructions.row import Instruction
from ellc.codegen.kir.ir import Operand, Var
from ellc.codegen.kir.types import Elem, VType
from ellc.codegen.machine.target import Target


@functools.cache
def scalar_type(elem: Elem, word_bits: int) -> str:
    """The LLVM type of an element type."""
    match elem:
        case Elem.F16:
            return "half"
        case Elem.F32:
            return "float"
        case Elem.F64:
            return "double"
        case Elem.MASK:
            return "i1"
        case Elem.INDEX:
            return f"i{word_bits}"
    return f"i{elem.bytes * 8}"


@functools.cache
def type_name(type_: VType, word_bits: int) -> str:
    """The LLVM type of a scalar or vector type."""
    scalar = scalar_type(type_.elem, word_bits)
    return scalar if type_.lanes == 1 else f"<{type_.lanes} x {scalar}>"


def float_literal(value: float, elem: Elem) -> str:
    """The exact hexadecimal literal. LLVM writes a float32, too, with the bits of a float64."""
    if elem is Elem.F16:
        return f"0xH{struct.unpack('<H', struct.pack('<e', value))[0]:04X}"
    if elem is Elem.F32:
        value = struct.unpack("<f", struct.pack("<f", value))[0]
    return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"


class InstructionWriter:
    """Appends instructions to `lines`.

    `names` maps a register of the kernel to its LLVM name if the two differ. Methods take and
    return values as text. A *value* is the name of a register, or a literal. A *typed* value has
    its type in front.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self._word_bits = target.word_bits
        self.lines: list[str] = []
        self.names: dict[str, str] = {}
        self._count = 0
        # Parts of vectors, by (whole vector, first lane, number of lanes). Vectors in `_parts` have
        # been concatenated to the whole vector. Vectors in `_slices` have been extracted from it in
        # this block. Reusing both saves LLVM time.
        self._parts: dict[tuple[str, int, int], str] = {}
        self._slices: dict[tuple[str, int, int], str] = {}
        # The instruction for (operation, types of its operands, type of its result); None if the
        # target has none. `instructions.py` fills it.
        self.rows: dict[tuple[str, tuple[VType, ...], VType], Instruction | None] = {}
        self.declarations: set[str] = set()
        self.helpers: set[str] = set()

    # --- instructions ----------------------------------------------------------------------------

    def append_line(self, line: str) -> None:
        """Append an instruction."""
        self.lines.append(f"  {line}")

    def let(self, text: str) -> str:
        """Append an instruction that has a result. Returns the name of the result."""
        name = self.temporary()
        self.append_line(f"{name} = {text}")
        return name

    def temporary(self) -> str:
        """A new name, which no register of the kernel has."""
        self._count += 1
        return f"%.{self._count}"

    def open_block(self, label: str) -> None:
        """Begin a block. Vectors that other blocks have extracted are not reused in it."""
        self.lines.append(f"{label}:")
        self._slices.clear()

    def label(self, kind: str) -> str:
        """A name for a new block."""
        self._count += 1
        return f".{kind}{self._count}"

    def call(self, name: str, result: VType, args: list[str], suffix: VType | None = None) -> str:
        """Call an overloaded intrinsic, and declare it. `args` are typed values."""
        full = f"{name}.{self._mangled(result)}"
        if suffix is not None:
            full += f".{self._mangled(suffix)}"
        types = ", ".join(
            re.sub(r" [^ ]+$", "", a) if "<" not in a else _vector_of(a) for a in args
        )
        self.declarations.add(f"declare {self.type(result)} {full}({types})")
        return self.let(f"call {self.type(result)} {full}({', '.join(args)})")

    def shuffle(self, vector: VType, first: str, second: str, picks: Iterable[int | str]) -> str:
        """A vector of the lanes `picks` of the concatenation of `first` and `second`."""
        t = self.type(vector)
        return self.let(f"shufflevector {t} {first}, {t} {second}, {_index_list(tuple(picks))}")

    # --- types and values ------------------------------------------------------------------------

    def type(self, type_: VType) -> str:
        """The LLVM type of a scalar or vector type."""
        return type_name(type_, self._word_bits)

    def mask(self, type_: VType) -> str:
        """The LLVM type of the mask that a comparison of values of this type gives."""
        return self.type(type_.with_elem(Elem.MASK))

    def typed(self, operand: Operand) -> str:
        """The typed value of an operand."""
        return f"{self.type(operand.type)} {self.value(operand)}"

    def value(self, operand: Operand) -> str:
        """The value of an operand."""
        if isinstance(operand, Var):
            return self.names.get(operand.name, f"%{operand.name}")
        elem = operand.type.elem
        if elem.is_float:
            text = float_literal(float(operand.value), elem)
        elif elem is Elem.MASK:
            text = "true" if operand.value else "false"
        else:
            text = str(_signed(int(operand.value), elem))
        if operand.type.lanes == 1:
            return text
        return f"splat ({scalar_type(elem, self.target.word_bits)} {text})"

    def number(self, value: int, type_: VType) -> str:
        """The literal of type `type_` with an integer in every lane."""
        one = f"{self.type(type_.with_lanes(1))} {value}"
        return str(value) if type_.lanes == 1 else f"splat ({one})"

    # --- lanes -----------------------------------------------------------------------------------

    def scalar(self, operand: Operand, lane: int) -> str:
        """The typed value of one lane of an operand."""
        if operand.type.lanes == 1:
            return self.typed(operand)
        name = self.let(f"extractelement {self.typed(operand)}, i32 {lane}")
        return f"{self.type(operand.type.with_lanes(1))} {name}"

    def inserted(self, vector: VType, value: str, scalar: str, lane: int) -> str:
        """The vector `value`, with lane `lane` replaced by `scalar`."""
        one = self.type(vector.with_lanes(1))
        return self.let(f"insertelement {self.type(vector)} {value}, {one} {scalar}, i32 {lane}")

    def lanes_of(self, value: str, type_: VType, start: int, count: int) -> str:
        """A vector of `count` lanes of a value, from lane `start` on."""
        if type_.lanes == count or is_the_same_everywhere(value):
            return value
        key = (value, start, count)
        known = self._parts.get(key) or self._slices.get(key)
        if known is None:
            known = self._slices[key] = self.shuffle(
                type_, value, "poison", range(start, start + count)
            )
        return known

    def concatenated(self, parts: Sequence[str], part: VType) -> str:
        """The concatenation of `parts`: vectors of type `part`, whose number is a power of two."""
        lanes, originals = part.lanes, tuple(parts)
        while len(parts) > 1:
            both = range(2 * lanes)
            parts = [
                self.shuffle(part.with_lanes(lanes), low, high, both)
                for low, high in zip(parts[::2], parts[1::2], strict=True)
            ]
            lanes *= 2
        # The parts are available wherever the whole vector is, and need not be extracted again.
        for index, original in enumerate(originals):
            self._parts[parts[0], index * part.lanes, part.lanes] = original
        return parts[0]

    def _mangled(self, type_: VType) -> str:
        bits = {Elem.INDEX: self.target.word_bits, Elem.MASK: 1}.get(type_.elem)
        bits = type_.elem.bytes * 8 if bits is None else bits
        scalar = f"{'f' if type_.elem.is_float else 'i'}{bits}"
        return scalar if type_.lanes == 1 else f"v{type_.lanes}{scalar}"


def is_the_same_everywhere(value: str) -> bool:
    """Whether a value is a literal with equal lanes.

    The text of such a literal is the same for every number of lanes.
    """
    return not value.startswith(("%", "<"))


@functools.cache
def _index_list(picks: tuple[int | str, ...]) -> str:
    return f"<{len(picks)} x i32> <{', '.join(f'i32 {index}' for index in picks)}>"


def _vector_of(typed: str) -> str:
    return typed[: typed.index(">") + 1]


def _signed(value: int, elem: Elem) -> int:
    """The value as a signed integer. LLVM accepts no literal that is wider than its type."""
    if elem is Elem.INDEX:
        return value
    bits = elem.bytes * 8
    return value - (1 << bits) if value >= 1 << (bits - 1) and not elem.is_signed else value

"""LLVM instructions of the rounding 32-bit operations that fixed-point arithmetic is made of."""

from __future__ import annotations

from ellc.codegen.kir.ir import Let
from ellc.codegen.kir.llvm_text import InstructionWriter
from ellc.codegen.kir.types import Elem, VType

_NEON_MUL_HIGH = {"arm": "@llvm.arm.neon.vqrdmulh", "aarch64": "@llvm.aarch64.neon.sqrdmulh"}
_NEON_SHIFT = {"arm": "@llvm.arm.neon.vrshifts", "aarch64": "@llvm.aarch64.neon.srshl"}


class FixedPointWriter(InstructionWriter):
    """Writes them: one instruction each on NEON, a few elsewhere."""

    def mul_high(self, let: Let) -> str:
        """A product of 64 bits, of which the upper half is kept."""
        narrow = let.result.type
        a, b = (self._value(x) for x in let.args)
        if self._fills_neon(narrow):
            return self._by_neon(_NEON_MUL_HIGH[self._target.arch], narrow, a, b)
        wide = narrow.with_elem(Elem.I64)
        t, w = self._type(narrow), self._type(wide)
        a, b = (self._let_text(f"sext {t} {x} to {w}") for x in (a, b))
        product = self._let_text(f"mul {w} {a}, {b}")
        rounded = self._let_text(f"add {w} {product}, {self._number(1 << 30, wide)}")
        # Only the lower 32 bits are kept, so that zeros may come in from above.
        high = self._let_text(f"lshr {w} {rounded}, {self._number(31, wide)}")
        result = self._let_text(f"trunc {w} {high} to {t}")
        # The lowest number by itself is the only product that gives the lowest number.
        lowest, highest = (self._number(n, narrow) for n in (-(1 << 31), (1 << 31) - 1))
        over = self._let_text(f"icmp eq {t} {result}, {lowest}")
        mask = self._type(narrow.with_elem(Elem.MASK))
        return self._let_text(f"select {mask} {over}, {t} {highest}, {t} {result}")

    def shr_round(self, let: Let) -> str:
        """A shift, and the last bit that it lost; NEON shifts left by a negative number."""
        type_ = let.result.type
        t = self._type(type_)
        x, bits = (self._value(a) for a in let.args)
        if self._fills_neon(type_):
            left = self._let_text(f"sub {t} zeroinitializer, {bits}")
            return self._by_neon(_NEON_SHIFT[self._target.arch], type_, x, left)
        one = self._number(1, type_)
        power = self._let_text(f"shl {t} {one}, {bits}")
        half = self._let_text(f"lshr {t} {power}, {one}")
        lost = self._let_text(f"and {t} {x}, {half}")
        mask = self._type(type_.with_elem(Elem.MASK))
        up = self._let_text(f"icmp ne {t} {lost}, zeroinitializer")
        carry = self._let_text(f"zext {mask} {up} to {t}")
        shifted = self._let_text(f"ashr {t} {x}, {bits}")
        return self._let_text(f"add {t} {shifted}, {carry}")

    def _fills_neon(self, type_: VType) -> bool:
        """Whether these lanes are half a NEON register, or one or more whole ones."""
        return self._target.has_neon and type_.lanes > 1 and type_.lanes & (type_.lanes - 1) == 0

    def _by_neon(self, name: str, type_: VType, a: str, b: str) -> str:
        """An intrinsic of two vectors, register by register: LLVM does not split its operands."""
        lanes = min(type_.lanes, 4)
        one = type_.with_lanes(lanes)
        results = []
        for start in range(0, type_.lanes, lanes):
            args = [f"{self._type(one)} {self._lanes_of(x, type_, start, lanes)}" for x in (a, b)]
            results.append(self.call(name, one, args))
        return self._in_one(results, one)

    def _in_one(self, parts: list[str], part: VType) -> str:
        """Vectors of one type side by side; their number is a power of two."""
        lanes, whole = part.lanes, tuple(parts)
        while len(parts) > 1:
            t = self._type(part.with_lanes(lanes))
            picks = ", ".join(f"i32 {i}" for i in range(2 * lanes))
            mask = f"<{2 * lanes} x i32> <{picks}>"
            parts = [
                self._let_text(f"shufflevector {t} {low}, {t} {high}, {mask}")
                for low, high in zip(parts[::2], parts[1::2], strict=True)
            ]
            lanes *= 2
        # What was put together need not be taken apart: the parts are known wherever the whole is.
        for index, one in enumerate(whole):
            self._parts[parts[0], index * part.lanes, part.lanes] = one
        return parts[0]

    def _lanes_of(self, value: str, type_: VType, start: int, count: int) -> str:
        """Some lanes of a vector; a literal is the same everywhere."""
        if type_.lanes == count or not value.startswith("%"):
            return value
        key = (value, start, count)
        found = self._parts.get(key) or self._slices.get(key)
        if found is None:
            picks = ", ".join(f"i32 {start + i}" for i in range(count))
            t = self._type(type_)
            text = f"shufflevector {t} {value}, {t} poison, <{count} x i32> <{picks}>"
            found = self._slices[key] = self._let_text(text)
        return found

    def _number(self, value: int, type_: VType) -> str:
        """A literal in every lane."""
        one = f"{self._type(type_.with_lanes(1))} {value}"
        return str(value) if type_.lanes == 1 else f"splat ({one})"

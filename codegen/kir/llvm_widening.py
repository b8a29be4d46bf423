"""LLVM instructions of products that are twice as wide as their factors, and of sums of pairs."""

from __future__ import annotations

from ellc.codegen.kir.ir import Let
from ellc.codegen.kir.llvm_fixed_point import FixedPointWriter
from ellc.codegen.kir.types import VType

_NEON_PRODUCT = {
    ("aarch64", True): "@llvm.aarch64.neon.smull",
    ("aarch64", False): "@llvm.aarch64.neon.umull",
    ("arm", True): "@llvm.arm.neon.vmulls",
    ("arm", False): "@llvm.arm.neon.vmullu",
}


# AArch64's does not add to anything: LLVM puts the sum after it into one instruction with it.
_NEON_PAIRS = {
    ("aarch64", True): "@llvm.aarch64.neon.saddlp",
    ("aarch64", False): "@llvm.aarch64.neon.uaddlp",
    ("arm", True): "@llvm.arm.neon.vpadals",
    ("arm", False): "@llvm.arm.neon.vpadalu",
}


class WideningWriter(FixedPointWriter):
    """Writes them. NEON's are intrinsics, because of plain code LLVM makes what it thinks best:

    it shortens the factors of 16 bits that were bytes, and then has to widen every product.
    """

    def wide_mul(self, let: Let) -> str:
        """A product of two narrow values."""
        return self._wide_product(let)

    def wide_mul_add(self, let: Let) -> str:
        """A product added to a wide value: LLVM makes one instruction of the two."""
        product = self._wide_product(let)
        total = self._value(let.args[2])
        return self._let_text(f"add {self._type(let.result.type)} {product}, {total}")

    def _wide_product(self, let: Let) -> str:
        narrow, wide = let.args[0].type, let.result.type
        a, b = (self._value(x) for x in let.args[:2])
        if self._fills_neon(narrow) and narrow.lanes * narrow.elem.bytes >= 8:
            return self._by_half_registers(narrow, wide, a, b)
        verb = "sext" if narrow.elem.is_signed else "zext"
        t, w = self._type(narrow), self._type(wide)
        a, b = (self._let_text(f"{verb} {t} {x} to {w}") for x in (a, b))
        return self._let_text(f"mul {w} {a}, {b}")

    def _by_half_registers(self, narrow: VType, wide: VType, a: str, b: str) -> str:
        """One instruction for every 64 bits of factors, which fill a register as products."""
        lanes = 8 // narrow.elem.bytes
        name = _NEON_PRODUCT[self._target.arch, narrow.elem.is_signed]
        half, one = self._type(narrow.with_lanes(lanes)), wide.with_lanes(lanes)
        products = []
        for start in range(0, narrow.lanes, lanes):
            args = [f"{half} {self._lanes_of(x, narrow, start, lanes)}" for x in (a, b)]
            # The factors have another type than the result that names the intrinsic.
            self.declarations.add(
                f"declare {self._type(one)} {name}.{self._mangled(one)}({half}, {half})"
            )
            call = f"call {self._type(one)} {name}.{self._mangled(one)}({', '.join(args)})"
            products.append(self._let_text(call))
        return self._in_one(products, one)

    def add_pairs(self, let: Let) -> str:
        """Sums of two neighbours, widened, added: one NEON instruction."""
        wide, narrow = let.args[0].type, let.args[1].type
        total, pairs = (self._value(a) for a in let.args)
        if self._fills_neon(narrow) and narrow.lanes * narrow.elem.bytes >= 16:
            return self._pairs_by_registers(narrow, wide, total, pairs)
        verb = "sext" if narrow.elem.is_signed else "zext"
        half, w = self._type(narrow.with_lanes(wide.lanes)), self._type(wide)
        for lanes in self._halves(narrow, pairs):
            wider = self._let_text(f"{verb} {half} {lanes} to {w}")
            total = self._let_text(f"add {w} {total}, {wider}")
        return total

    def pair_sums(self, let: Let) -> str:
        """Sums of two neighbours."""
        even, odd = self._halves(let.args[0].type, self._value(let.args[0]))
        return self._let_text(f"add {self._type(let.result.type)} {even}, {odd}")

    def _pairs_by_registers(self, narrow: VType, wide: VType, total: str, pairs: str) -> str:
        lanes = 16 // narrow.elem.bytes
        one, part = wide.with_lanes(lanes // 2), narrow.with_lanes(lanes)
        name = _NEON_PAIRS[self._target.arch, narrow.elem.is_signed]
        sums = []
        for start in range(0, narrow.lanes, lanes):
            added = f"{self._type(part)} {self._lanes_of(pairs, narrow, start, lanes)}"
            to = f"{self._type(one)} {self._lanes_of(total, wide, start // 2, lanes // 2)}"
            if self._target.isa.pairs_accumulate:
                sums.append(self.call(name, one, [to, added], part))
            else:
                both = self.call(name, one, [added], part)
                sums.append(self._let_text(f"add {to}, {both}"))
        return self._in_one(sums, one)

    def _halves(self, type_: VType, value: str) -> tuple[str, str]:
        """The lanes with even and those with odd numbers."""
        if not value.startswith("%"):
            return value, value
        t, count = self._type(type_), type_.lanes // 2
        if count == 1:
            even, odd = (self._let_text(f"extractelement {t} {value}, i32 {i}") for i in (0, 1))
            return even, odd
        picks = [", ".join(f"i32 {2 * i + n}" for i in range(count)) for n in (0, 1)]
        even, odd = (
            self._let_text(f"shufflevector {t} {value}, {t} poison, <{count} x i32> <{p}>")
            for p in picks
        )
        return even, odd

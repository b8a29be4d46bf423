"""LLVM instructions of products that are twice as wide as their factors."""

from __future__ import annotations

from codegen.kir.ir import Let
from codegen.kir.llvm_fixed_point import FixedPointWriter
from codegen.kir.types import VType

_NEON_PRODUCT = {
    ("aarch64", True): "@llvm.aarch64.neon.smull",
    ("aarch64", False): "@llvm.aarch64.neon.umull",
    ("arm", True): "@llvm.arm.neon.vmulls",
    ("arm", False): "@llvm.arm.neon.vmullu",
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

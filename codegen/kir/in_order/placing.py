"""Places the loads of a product loop in the way that suits a core."""

from __future__ import annotations

from collections.abc import Sequence

from ellc.codegen.kir.in_order import beside, modulo
from ellc.codegen.kir.in_order.encoding import Encoding
from ellc.codegen.kir.in_order.modulo import Schedule, loads_of
from ellc.codegen.kir.in_order.product_loop import Product


def placed(products: Sequence[Product], loads: int, registers: int, encoding: Encoding) -> Schedule:
    """The shortest schedule of so many loads and of products. Raises `NoSchedule`."""
    found = loads_of(products, loads, apart=encoding.loads_halves_apart)
    schedule = beside.schedule if encoding.loads_beside else modulo.schedule
    return schedule(found, len(products), registers)

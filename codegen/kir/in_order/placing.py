"""Places the loads of a product loop in the way that suits a core."""

from __future__ import annotations

from collections.abc import Sequence

from ellc.codegen.kir.in_order import beside, modulo, modulo_halves
from ellc.codegen.kir.in_order.encoding import Encoding
from ellc.codegen.kir.in_order.loop_schedule import NoSchedule, Schedule
from ellc.codegen.kir.in_order.product_loop import Product, uses_of

LEAST_PRODUCTS = 12
"""Multiply-adds in the body of a loop whose loads are placed."""
LEAST_REUSE = 2
"""Products for each load. Loops with fewer wait for memory: split loads, of which the core has only
two at a time, would wait longer."""


def placed(products: Sequence[Product], loads: int, registers: int, encoding: Encoding) -> Schedule:
    """The shortest schedule of products and of so many loads into so many registers.

    Raises `NoSchedule`, also if such a loop is better left alone.
    """
    if len(products) < max(LEAST_PRODUCTS, LEAST_REUSE * loads):
        raise NoSchedule
    if encoding.loads_halves_apart:
        halves = modulo_halves.half_loads(products, loads)
        return modulo_halves.schedule(halves, len(products), registers, encoding.half_registers)
    schedule = beside.schedule if encoding.loads_beside else modulo.schedule
    return schedule(uses_of(products, loads), len(products), registers)

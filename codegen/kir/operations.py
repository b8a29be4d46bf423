"""All operations that a `Let` may name: those of `ops.py`, and the instructions of machines."""

from __future__ import annotations

import functools

from ellc.codegen.kir.instructions import INSTRUCTIONS
from ellc.codegen.kir.instructions.row import Instruction
from ellc.codegen.kir.ops import OPS, OpRow
from ellc.codegen.kir.types import VType

OPERATIONS: dict[str, OpRow | Instruction] = {**OPS, **INSTRUCTIONS}


@functools.cache
def result_type(name: str, types: tuple[VType, ...], attrs: tuple[int, ...]) -> VType:
    """The type of an operation's result. It is cached, as kernels use few combinations of types."""
    return OPERATIONS[name].result(types, attrs)

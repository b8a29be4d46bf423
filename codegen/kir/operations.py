"""Everything that a `Let` may name: the operations of `ops.py`, and instructions of machines."""

from __future__ import annotations

from ellc.codegen.kir.instructions import INSTRUCTIONS
from ellc.codegen.kir.instructions.row import Instruction
from ellc.codegen.kir.ops import OPS, OpRow

OPERATIONS: dict[str, OpRow | Instruction] = {**OPS, **INSTRUCTIONS}

"""Test cases for every row of the instruction table: extreme operands, then random ones."""

from __future__ import annotations

import functools
import zlib

import numpy as np
from kernel_cases import KernelCase

from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.instructions.row import Instruction
from ellc.codegen.kir.types import VType
from ellc.ir.types import Array

TURNS = 120


@functools.cache
def instruction_case(row: Instruction) -> KernelCase:
    """A kernel, named after the row, that applies the instruction to several sets of registers."""
    rng = np.random.default_rng(zlib.crc32(row.name.encode()))
    b = KernelBuilder(f"case_{row.name}")
    params = [b.param(f"p{i}", type_.elem) for i, type_ in enumerate(row.takes)]
    y = b.param("y", row.gives.elem, writable=True)
    with b.loop("i", b.begin, b.end) as loop:
        args = [
            b.load(param, b.mul(loop.index, type_.lanes), type_.lanes)
            for param, type_ in zip(params, row.takes, strict=True)
        ]
        b.store(b.op(row.name, *args), y, b.mul(loop.index, row.gives.lanes))
    arrays = {param.name: _data(row, i, rng) for i, param in enumerate(params)}
    arrays["y"] = np.zeros(TURNS * row.gives.lanes, row.gives.elem.numpy)
    return KernelCase(b.finish(), arrays, TURNS)


def _data(row: Instruction, operand: int, rng: np.random.Generator) -> Array:
    """Lanes for all repetitions: one extreme in all, several extremes, or random numbers."""
    type_ = row.takes[operand]
    if row.implements == "shl_round" and operand == 1:
        return rng.integers(-31, 32, (TURNS, type_.lanes)).astype(np.int32).reshape(-1)
    return np.concatenate([_registers(type_, turn, operand, rng) for turn in range(TURNS)])


def _registers(type_: VType, turn: int, operand: int, rng: np.random.Generator) -> Array:
    info = np.iinfo(type_.elem.numpy)
    extremes = np.array([info.min, info.max, 0, info.max // 2 + 1, 1], type_.elem.numpy)
    if turn < len(extremes) ** 2:  # all pairs of extremes in adjacent operands
        place = turn // len(extremes) if operand % 2 else turn % len(extremes)
        return np.repeat(extremes[place], type_.lanes)
    if turn % 2:
        return rng.choice(extremes, type_.lanes)
    return rng.integers(info.min, info.max, type_.lanes, type_.elem.numpy, endpoint=True)

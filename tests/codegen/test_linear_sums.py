"""Sums of bytes as a linear function: the same results as the definition, for every pair."""

from __future__ import annotations

import numpy as np
import pytest

from ellc.codegen.blocks.linear_sums import linear_sum
from ellc.codegen.kir.types import Elem
from ellc.ir.ops.quantised_arithmetic import QuantAdd
from ellc.ir.types import DType, Quant


def random_sum(seed: int, dtype: DType) -> QuantAdd | None:
    rng = np.random.default_rng(seed)
    info = np.iinfo(dtype.numpy)
    x, y, z = (
        Quant((float(10 ** rng.uniform(-3, -1)),), (int(rng.integers(info.min, info.max + 1)),))
        for _ in range(3)
    )
    low = z.zero_point[0] if seed % 2 else int(info.min)
    try:
        return QuantAdd.of(x, y, dtype, z, low, int(info.max), seed % 5 == 0)
    except ValueError:  # a factor of 1 or more
        return None


@pytest.mark.parametrize("dtype", [DType.I8, DType.U8])
def test_all_pairs(dtype: DType) -> None:
    kind = dtype.numpy
    every = np.arange(np.iinfo(kind).min, np.iinfo(kind).max + 1)
    x, y = np.meshgrid(every, every, indexing="ij")
    found = 0
    for seed in range(25):
        op = random_sum(seed, dtype)
        form = None if op is None else linear_sum(op, Elem.of(dtype))
        if op is None or form is None:
            continue
        found += 1
        total = form.x_factor * x + form.y_factor * y + form.offset
        (wanted,) = op.reference(x.astype(kind), y.astype(kind))
        assert abs(total).max() < 2**31
        assert abs(form.x_factor * x + form.offset).max() < 2**31
        np.testing.assert_array_equal(np.clip(total >> form.bits, op.low, op.high), wanted)
    assert found > 15


def test_there_is_none_for_words() -> None:
    op = random_sum(0, DType.I8)
    assert op is not None and linear_sum(op, Elem.I16) is None

"""The interpreter gives the results that were computed by hand, and refuses wrong accesses."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_samples import guarded, in_place, product, swapped

from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.interp import literal, run
from ellc.codegen.kir.ir import Imm
from ellc.codegen.kir.text import parse
from ellc.codegen.kir.types import Elem, VType
from ellc.ir.errors import InternalError
from ellc.ir.types import Array


def test_a_register_tile_is_a_matrix_product() -> None:
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, (2, 3, 16)).astype(np.float32)
    w = rng.uniform(-1, 1, (16, 4)).astype(np.float32)
    y = np.zeros(24, np.float32)
    run(product(), {"x": x.ravel(), "w": w.ravel(), "y": y}, 0, 2)
    np.testing.assert_allclose(y.reshape(2, 3, 4), x @ w, rtol=1e-5, atol=1e-6)


def test_carried_values_change_all_at_once() -> None:
    y = np.zeros(10, np.uint32)
    run(swapped(), {"y": y}, 0, 8)
    np.testing.assert_array_equal(y, [1, 1, 2, 3, 5, 8, 13, 21, 34, 55])


def test_a_range_is_run_and_no_more() -> None:
    x = np.arange(-8, 8, dtype=np.float32)
    y = np.full(16, 9, np.float32)
    run(in_place(), {"x": x, "y": y}, 4, 12)
    np.testing.assert_array_equal(y, [9] * 4 + [0] * 4 + [0, 1, 2, 3] + [9] * 4)


def test_in_place_is_the_same_array() -> None:
    x = np.arange(-4, 4, dtype=np.float32)
    run(in_place(), {"x": x, "y": x}, 0, 8)
    np.testing.assert_array_equal(x, [0, 0, 0, 0, 0, 1, 2, 3])


def test_conditions_and_parts_of_vectors() -> None:
    x = np.array([-9, 1, -5, 0, 2, 77, 77, 77], np.int8)
    y = np.full(13, 33, np.int8)
    bits = np.zeros(2, np.uint8)
    run(guarded(), {"x": x, "y": y, "bits": bits}, 0, 2)
    np.testing.assert_array_equal(bits, [0, 0b101])
    np.testing.assert_array_equal(y, [33] * 8 + [100, 1, 100, 0, 2])


@pytest.mark.parametrize("index, lanes", [(-1, 1), (8, 1), (5, 4), (1 << 40, 1)])
def test_an_access_outside_is_an_error(index: int, lanes: int) -> None:
    b = KernelBuilder("k")
    x = b.param("x", Elem.F32)
    b.load(x, index, lanes)
    with pytest.raises(InternalError, match=r"accesses x\[.*8 elements"):
        run(b.finish(), {"x": np.zeros(8, np.float32)}, 0, 1)


def test_a_store_outside_is_an_error_and_changes_nothing() -> None:
    b = KernelBuilder("k")
    y = b.param("y", Elem.F32, writable=True)
    b.store(Imm(1.0, VType(Elem.F32, 4)), y, b.end)
    array = np.zeros(6, np.float32)
    with pytest.raises(InternalError, match="accesses y"):
        run(b.finish(), {"y": array}, 0, 3)
    assert not array.any()


def test_a_wrong_promise_of_alignment_is_an_error() -> None:
    b = KernelBuilder("k")
    x = b.param("x", Elem.F32, 16)
    b.load(x, b.end, 4, align_bytes=16)
    run(b.finish(), {"x": np.zeros(8, np.float32)}, 0, 4)
    with pytest.raises(InternalError, match="aligned to 16 bytes"):
        run(b.finish(), {"x": np.zeros(8, np.float32)}, 0, 3)


def test_a_write_to_what_is_not_writable_is_an_error() -> None:
    kernel = parse("kernel k(x: f32 align 4; begin, end) {\n store f32(1.0) -> x[0] align 4\n}")
    with pytest.raises(InternalError, match="not writable"):
        run(kernel, {"x": np.zeros(1, np.float32)}, 0, 1)


@pytest.mark.parametrize(
    "buffers",
    [{}, {"x": np.zeros(4)}, {"x": np.zeros((2, 2), np.float32)}],
    ids=["missing", "wrong type", "two dimensions"],
)
def test_arrays_must_fit_the_parameters(buffers: dict[str, Array]) -> None:
    b = KernelBuilder("k")
    b.load(b.param("x", Elem.F32), 0)
    with pytest.raises(InternalError, match="x must be a 1-D array of f32"):
        run(b.finish(), buffers, 0, 1)


def test_literals_wrap_to_their_width() -> None:
    assert literal(Imm(255, VType(Elem.I8, 2))).tolist() == [-1, -1]
    assert literal(Imm(-1, VType(Elem.U32))).tolist() == [2**32 - 1]
    assert literal(Imm(1e39, VType(Elem.F32))).tolist() == [np.inf]

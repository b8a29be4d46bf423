"""The parts of byte convolutions: products that fit into 16 bits, packed weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ellc.codegen.blocks.terms import ProductTypes, Terms, in_bytes, in_fewest_bytes
from ellc.codegen.kernels.byte_dots import pack_rows
from ellc.codegen.kernels.byte_pairs import pack_fours
from ellc.codegen.kernels.centred_dots import centred_terms
from ellc.codegen.kernels.pairs import pack_pairs
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.llvm import llvm_module
from ellc.codegen.kir.types import Elem
from ellc.codegen.machine.resolve import Overrides, resolve
from ellc.codegen.toolchain.llvm import EmitKind, IrJob, LlvmPool
from ellc.ir.types import Array, Padding

NEON = resolve("pi3_64")


def terms_of(weights: Array, image: Elem = Elem.I8, zero: int = 0) -> Terms:
    types = ProductTypes.integers(image, Elem.I8, NEON)
    padding = Padding.same(1, float(zero))
    return Terms(types, weights.astype(np.int8).reshape(-1, 1, 1, weights.shape[-1]), None, padding)


@pytest.mark.parametrize(
    "weights, at_once",
    [
        ([[-128, -128, 0, 0]], 1),
        ([[-128, 127, 0, 0]], 3 + 1),
        ([[127, 127, 1, 0]], 4),
        ([[127, 127, 2, 0]], 2),
        ([[1, 1, 1, 1], [100, 100, 100, 1]], 2),
        ([[63, 63, 64, 65]], 4),
        ([[63, 64, 64, 65]], 3),
        ([[5]], 1),
    ],
)
def test_as_many_products_are_summed_as_fit_in_16_bits(
    weights: list[list[int]], at_once: int
) -> None:
    array = np.array(weights)
    made = in_bytes(terms_of(array), NEON).types
    assert made.products_at_once == at_once
    largest = np.sort(np.abs(array), axis=1)[:, ::-1]
    assert largest[:, : made.products_at_once].sum(axis=1).max() * 128 <= np.iinfo(
        np.int16
    ).max or (made.products_at_once == 1)


def test_a_target_without_neon_keeps_its_terms() -> None:
    terms = terms_of(np.ones((2, 4)))
    assert in_bytes(terms, resolve("pi0")) is terms


def test_bytes_without_sign_are_moved_and_so_is_where_sums_start() -> None:
    rng = np.random.default_rng(0)
    weights, x = rng.integers(-60, 60, (3, 4)), rng.integers(0, 256, 4)
    terms = terms_of(weights, Elem.U8, zero=131)
    terms = replace(terms, exact=-131 * weights.sum(axis=1))
    moved = in_bytes(terms, NEON)
    assert moved.types.flipped and moved.types.factor is Elem.I8
    for some, values in ((terms, x), (moved, x - 128)):
        np.testing.assert_array_equal(some.start(1, None) + weights @ values, weights @ (x - 131))
        # A pixel outside the image equals the zero point; the start of the sum includes its terms.
        np.testing.assert_array_equal(some.start(1, ((0, 0), (0, 0))), 0)


def differences(*numbers: int) -> Terms:
    """Terms with these weights, which do not fit into signed bytes."""
    types = ProductTypes.integers(Elem.U8, Elem.I16, NEON)
    weights = np.array(numbers, np.int16).reshape(-1, 1, 1, 1)
    return Terms(types, weights, None, Padding())


@pytest.mark.parametrize("numbers", [(-131, 5, 124), (-255, 0), (1, 256), (-1, 254)])
def test_differences_of_bytes_are_stored_as_bytes(numbers: tuple[int, ...]) -> None:
    terms = in_fewest_bytes(differences(*numbers))
    stored, zero = terms.stored, terms.types.weight_zero
    assert stored.dtype == np.uint8 and terms.types.weight is Elem.U8
    np.testing.assert_array_equal(stored.astype(np.int16) - zero, terms.weights)
    assert terms.key != differences(*numbers).key


def test_differences_that_fit_in_no_byte_keep_16_bits() -> None:
    wide = differences(-128, 128)
    assert in_fewest_bytes(wide) is wide and wide.stored is wide.weights


@pytest.mark.parametrize("depth", [2, 6])
def test_neighbouring_channels_of_a_filter_are_packed_side_by_side(depth: int) -> None:
    weights = np.arange(10 * 2 * 3 * depth).reshape(10, 2, 3, depth)
    packed = pack_pairs(weights, 2, 4)
    assert packed.shape == (2, 2, 2, 3, depth // 2, 4, 2)
    for group, index, row, column, pair, place, side in np.ndindex(packed.shape):
        filter_ = index * 4 + place
        inside = weights[group * 5 + min(filter_, 4), row, column, 2 * pair + side]
        assert packed[group, index, row, column, pair, place, side] == (
            inside if filter_ < 5 else 0
        )


@pytest.mark.parametrize("depth", [8, 24])
def test_pairs_of_channels_of_four_filters_are_packed_side_by_side(depth: int) -> None:
    weights = np.arange(10 * 2 * 3 * depth).reshape(10, 2, 3, depth)
    packed = pack_fours(weights, 2, 8)
    assert packed.shape == (2, 1, 2, 3, depth // 4, 2, 2, 4, 2)
    for group, index, row, column, four, vector, pair, lane, side in np.ndindex(packed.shape):
        filter_ = 8 * index + 4 * vector + lane
        inside = weights[group * 5 + min(filter_, 4), row, column, 4 * four + 2 * pair + side]
        assert packed[group, index, row, column, four, vector, pair, lane, side] == (
            inside if filter_ < 5 else 0
        )


@pytest.mark.parametrize("depth", [16, 24, 40, 8])
def test_rows_are_packed_in_the_order_in_which_they_are_read(depth: int) -> None:
    filters, groups, block = 10, 2, 4
    weights = np.arange(filters * 2 * 3 * depth).reshape(filters, 2, 3, depth)
    packed = pack_rows(weights, groups, block)
    assert packed.shape == (groups, 2, 2, 3, depth * block)
    for group, index, row, column in np.ndindex(packed.shape[:4]):
        read = iter(packed[group, index, row, column])
        for first in range(0, depth, 16):
            for place in range(block):
                filter_ = index * block + place
                inside = filter_ < filters // groups
                for channel in range(first, min(depth, first + 16)):
                    want = weights[group * 5 + filter_, row, column, channel] if inside else 0
                    assert next(read) == want


def test_avx_512_multiplies_signed_bytes_as_numbers_of_16_bits() -> None:
    """Products of 32 bits need a second instruction to be added."""
    triple = "x86_64-unknown-linux-gnu"
    cores = {
        cpu: resolve("custom", Overrides(triple=triple, cpu=cpu)) for cpu in ("znver4", "x86-64-v4")
    }
    assert ProductTypes.integers(Elem.I8, Elem.I8, cores["znver4"]).short
    # For unsigned bytes, LLVM finds the instruction by itself.
    assert not ProductTypes.integers(Elem.U8, Elem.I16, cores["znver4"]).short
    assert not ProductTypes.integers(Elem.I8, Elem.I8, cores["x86-64-v4"]).short
    b = KernelBuilder("products")
    x, w = b.param("x", Elem.I8), b.param("w", Elem.I8)
    y = b.param("y", Elem.I32, writable=True)
    numbers = ProductTypes.integers(Elem.I8, Elem.I8, cores["znver4"])
    with b.loop("i", b.begin, b.end, 16) as loop:
        value = numbers.image_factor(b, b.load(x, loop.index, 16))
        weight = numbers.weight_factor(b, b.load(w, loop.index, 16))
        first = numbers.multiply_add(b, weight, value, None)
        other = numbers.image_factor(b, b.load(x, loop.index, 16, offset=16))
        b.store(numbers.multiply_add(b, weight, other, first), y, loop.index)
    module = llvm_module([b.finish()], cores["znver4"])
    with LlvmPool() as pool:
        (assembly,) = pool.compile([IrJob("products", module, EmitKind.ASM)], cores["znver4"])
    assert b"vpdpwssd" in assembly and b"vpmulld" not in assembly


def centred(*filters: list[int]) -> tuple[Array, Array] | None:
    """What is multiplied for these weights, and the numbers c; None if nothing is gained."""
    types = ProductTypes.integers(Elem.U8, Elem.I16, NEON)
    weights = np.array(filters, np.int16).reshape(len(filters), 1, 1, -1)
    found = centred_terms(Terms(types, weights, None, Padding()), NEON)
    return None if found is None else (found[0].weights.reshape(len(filters), -1), found[1])


@pytest.mark.parametrize(
    "weights, middle",
    [
        ([-155, 0, 99], -28),  # too large for a byte
        ([-128, -128, 126], -1),  # two products of -128 do not fit in 16 bits
        ([-200, 54, 0], -73),
        ([127, -128, 5], 0),
        ([255, 0, 1], 128),
    ],
)
def test_weights_are_centred_until_two_products_fit(weights: list[int], middle: int) -> None:
    made = centred(weights, [-131, 3, 2])
    assert made is not None
    moved, centres = made
    assert centres.tolist() == [middle, -64] and moved.dtype == np.int8
    np.testing.assert_array_equal(moved + centres[:, None], [weights, [-131, 3, 2]])
    sizes = np.sort(np.abs(moved.astype(int)), axis=1)
    assert sizes[:, -2:].sum(axis=1).max() <= 255


def test_weights_are_not_centred_in_vain() -> None:
    assert centred([0, 255, 255, 0]) is None  # -128 twice
    assert centred([256, 0, 0]) is None
    small = terms_of(np.array([[1, 2, 3]]))
    assert centred_terms(small, NEON) is None

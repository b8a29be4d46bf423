"""Test cases for every operation of kernel IR: all element types, and 1, 4, 8 and 16 lanes."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import numpy as np
from kernel_cases import KernelCase

from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Operand, Param
from ellc.codegen.kir.ops import ELEM_CODES, OPS, OpRow, elem_code
from ellc.codegen.kir.types import Elem, VType
from ellc.codegen.kir.verify import operation_problems, verify
from ellc.ir.types import Array

LANES = (1, 4, 8, 16)
COUNT = 160  # number of elements of every operand
_WIDER = {e: e.wider for e in (Elem.I8, Elem.U8, Elem.I16, Elem.U16)}
_NARROWER = {wide: narrow for narrow, wide in _WIDER.items()}
BETWEEN_LANES = (
    "pair_sums",
    "pair_products",
    "repeat",
    "splat",
    "splat_lane",
    "lane",
    "part",
    "join",
    "iota",
    "pack_bits",
    "largest",
)


def operation_cases(lane_counts: Sequence[int] = LANES) -> tuple[KernelCase, ...]:
    """A case for each operation, element type and number of lanes, except those of `half_cases`."""
    return tuple(case for lanes in lane_counts for case in _cases_of(lanes, half=False))


def half_cases(lane_counts: Sequence[int] = LANES) -> tuple[KernelCase, ...]:
    """The cases with float16, for targets that compute in half precision."""
    return tuple(case for lanes in lane_counts for case in _cases_of(lanes, half=True))


@functools.cache
def _cases_of(lanes: int, *, half: bool) -> tuple[KernelCase, ...]:
    """The cases for a number of lanes; cached, so that each is interpreted only once."""
    return tuple(
        _case(row, elem, lanes, attrs)
        for row in OPS.values()
        for elem in Elem
        for attrs in _attributes(row, elem, lanes)
        if _is_half(row, elem, attrs) is half
    )


def _is_half(row: OpRow, elem: Elem, attrs: tuple[int, ...]) -> bool:
    to = ELEM_CODES[attrs[0]] if row.name in ("convert", "bitcast") else elem
    return Elem.F16 in (elem, to)


def _attributes(row: OpRow, elem: Elem, lanes: int) -> Iterator[tuple[int, ...]]:
    """The attributes to test; nothing for an element type that the operation does not take."""
    bits = 32 if elem is Elem.INDEX else 1 if elem is Elem.MASK else elem.bytes * 8
    tried: dict[str, list[tuple[int, ...]]] = {
        "shl": [(0,), (1,), (bits - 1,)],
        "shr": [(0,), (3,), (bits - 1,)],
        "convert": [(elem_code(to),) for to in ELEM_CODES],
        "bitcast": [(elem_code(to),) for to in ELEM_CODES],
        "splat": [(lanes,)],
        "splat_lane": [(lanes - 1, lanes), (lanes // 2, 4)],
        "repeat": [(1,), (4,)],
        "lane": [(0,), (lanes - 1,)],
        "part": [(lanes // 2, max(1, lanes // 2)), (lanes // 4, 1)],
        "iota": [(elem_code(elem), lanes)],
    }
    if elem is Elem.INDEX and row.name == "shl":
        tried["shl"] = [(0,), (1,), (8,)]  # shifts that do not overflow an index
    for attrs in dict.fromkeys(tried.get(row.name, [()])):
        if not any(operation_problems(row, _types(row, elem, lanes), attrs)):
            yield attrs


def _types(row: OpRow, elem: Elem, lanes: int) -> tuple[VType, ...]:
    by_letter = {
        "T": VType(elem, lanes),
        "E": VType(elem, lanes),
        "S": VType(elem, 1),
        "M": VType(Elem.MASK, lanes),
        "W": VType(_WIDER.get(elem, elem), lanes),
        "N": VType(_NARROWER.get(elem, elem), 2 * lanes),
    }
    return tuple(by_letter[letter] for letter in row.takes)


def _case(row: OpRow, elem: Elem, lanes: int, attrs: tuple[int, ...]) -> KernelCase:
    types = _types(row, elem, lanes)
    result = row.result(types, attrs)
    b = KernelBuilder("_".join([row.name, elem.value, *map(str, (lanes, *attrs))]))
    arrays: dict[str, Array] = {}
    params: list[Param] = []
    for i, type_ in enumerate(types):
        stored = _stored(type_.elem)
        params.append(b.param(f"p{i}", stored))
        arrays[f"p{i}"] = np.resize(_data(row, type_.elem, i), COUNT + max(0, type_.lanes - lanes))
    width = result.lanes if row.name in BETWEEN_LANES else lanes
    y = b.param("y", _stored(result.elem), writable=True)
    step = lanes
    turns = COUNT // step
    with b.loop("i", b.begin, b.end) as loop:
        place = b.mul(loop.index, step)
        args = [_load(b, p, t, place) for p, t in zip(params, types, strict=True)]
        value = b.op(row.name, *args, attrs=attrs)
        _store(b, value, y, b.mul(loop.index, width))
    arrays["y"] = np.zeros(turns * width, y.elem.numpy)
    kernel = b.finish()
    verify(kernel)
    return KernelCase(kernel, arrays, turns)


def _stored(elem: Elem) -> Elem:
    """The type in memory for an element type that has none itself."""
    return {Elem.INDEX: Elem.I32, Elem.MASK: Elem.U8}.get(elem, elem)


def _load(b: KernelBuilder, param: Param, type_: VType, place: Operand) -> Operand:
    value: Operand = b.load(param, place, type_.lanes)
    match type_.elem:
        case Elem.INDEX:
            return b.convert(value, Elem.INDEX)
        case Elem.MASK:
            return b.compare("ne", value, b.const(0, value))
    return value


def _store(b: KernelBuilder, value: Operand, param: Param, place: Operand) -> None:
    b.store(b.convert(value, param.elem), param, place)


# --- data ----------------------------------------------------------------------------------------


def _data(row: OpRow, elem: Elem, operand: int) -> Array:
    """All pairs of special values, then random values, that are valid for the operation."""
    if elem is Elem.MASK:
        return np.random.default_rng(operand).integers(0, 2, COUNT).astype(np.uint8)
    if elem is Elem.INDEX:
        # These are so small that no operation except shl overflows 32 bits.
        low = -3 if row.name != "shl" else 0
        values = np.random.default_rng(operand).integers(low, 1000, COUNT).astype(np.int32)
        return np.where(values == 0, 1, values) if row.name in ("div", "rem") else values
    values = _special_pairs(elem, operand)
    if row.name in ("div", "rem") and not elem.is_float and operand == 1:
        values = np.where(values == 0, 3, values).astype(values.dtype)
        if elem.is_signed:
            # The lowest number divided by -1 overflows.
            values = np.where(values == -1, -2, values).astype(values.dtype)
    if row.name in ("shl_by", "shr_by", "shr_round") and operand == 1:
        values = values & values.dtype.type(elem.bytes * 8 - 1)
    return values


@functools.cache
def _special_pairs(elem: Elem, operand: int) -> Array:
    special = _special_floats(elem) if elem.is_float else _special_integers(elem)
    pairs = np.meshgrid(special, special, indexing="ij")
    rng = np.random.default_rng(100 + operand)
    values = pairs[operand % 2].ravel()
    rest = COUNT - len(values)
    if elem.is_float:
        sizes = 10.0 ** rng.uniform(-3, 11, rest) * rng.choice([-1, 1], rest)
        more = np.where(rng.random(rest) < 0.3, rng.uniform(-200, 300, rest), sizes)
    else:
        more = rng.integers(0, 1 << 63, rest, dtype=np.uint64) * np.uint64(3)
    with np.errstate(all="ignore"):
        return np.concatenate([values, more.astype(elem.numpy)])


def _special_floats(elem: Elem) -> Array:
    edges = [
        0.0,
        -0.0,
        1.0,
        -1.5,
        np.inf,
        -np.inf,
        np.nan,
        2.5,
        -(2.0**31),
        2.0**31,
        127.5,
        2.0**63,
    ]
    with np.errstate(over="ignore"):  # the largest ones are infinite in float16
        return np.array(edges, elem.numpy)


def _special_integers(elem: Elem) -> Array:
    info = np.iinfo(elem.numpy)
    edges = [0, 1, 2, 3, 7, 100, info.max, info.max - 1, info.min, info.min + 1, info.max // 2, -1]
    wrapped = [e & ((1 << info.bits) - 1) for e in edges]
    return np.array(wrapped, f"u{elem.bytes}").view(elem.numpy)

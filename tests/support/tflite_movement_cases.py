"""Test cases of operators that move elements or compute shapes, for every element type."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from tflite_cases import I32, TfliteCase, ints, scalar, stored
from tflite_files import T, options

_FRAME = T.of(np.array([[0, 0], [1, 2], [3, 0]], I32))


def movement_cases() -> Iterator[TfliteCase]:
    """Cases of all operators that compute nothing."""
    for dtype in ("float32", "int8", "uint8", "int32"):
        yield from _shapes(dtype)
        yield from _parts(dtype)
        yield from _slices(dtype)
        yield from _picks(dtype)
        yield from _replaced(dtype)
        yield from _blocks(dtype)
    yield from _constants()
    yield from _places()


def _tensor(dtype: str, *shape: int) -> T:
    return stored(dtype, shape) if dtype in ("int8", "uint8") else T(shape, dtype)


def _shapes(dtype: str) -> Iterator[TfliteCase]:
    def t(*shape: int) -> T:
        return _tensor(dtype, *shape)

    chosen = options("ReshapeOptions", newShape=[5, -1])
    yield TfliteCase("RESHAPE", dtype, (t(3, 4, 5), ints(5, -1)), (t(5, 12),), chosen)
    yield TfliteCase("RESHAPE", f"{dtype} option", (t(3, 4, 5),), (t(5, 12),), chosen)
    for dims, shape in (((), (3, 5)), ((-2,), (1, 3, 5)), ((0, 2), (3, 5))):
        more = options("SqueezeOptions", squeezeDims=list(dims))
        yield TfliteCase("SQUEEZE", f"{dtype} {dims}", (t(1, 3, 1, 5),), (t(*shape),), more)
    for axis, shape in ((0, (1, 3, 5)), (1, (3, 1, 5)), (-1, (3, 5, 1))):
        operands = (t(3, 5), scalar(axis))
        yield TfliteCase("EXPAND_DIMS", f"{dtype} {axis}", operands, (t(*shape),))
    operands = (t(2, 3, 4, 5), ints(0, 3, 1, 2))
    yield TfliteCase("TRANSPOSE", dtype, operands, (t(2, 5, 3, 4),))
    yield TfliteCase("TILE", dtype, (t(2, 3), ints(2, 3)), (t(4, 9),))
    if dtype in ("float32", "int32"):
        yield TfliteCase("ZEROS_LIKE", dtype, (t(3, 1),), (t(3, 1),))
    yield TfliteCase(
        "REVERSE_V2", dtype, (t(3, 4, 5), ints(1)), (t(3, 4, 5),), options("ReverseV2Options")
    )
    yield TfliteCase("PAD", dtype, (t(2, 3, 4), _FRAME), (t(2, 6, 7),))
    for mode in (0, 1):
        frame = T.of(np.array([[0, 0], [1, 2], [2, 2]], I32))
        chosen = options("MirrorPadOptions", mode=mode)
        operands = (t(2, 3, 4), frame)
        yield TfliteCase("MIRROR_PAD", f"{dtype} {mode}", operands, (t(2, 6, 8),), chosen)
    for other in ("float32", "int32", "bool", "int64"):
        operands, to = (T((3, 9), dtype),), (T((3, 9), other),)
        yield TfliteCase("CAST", f"{dtype} {other}", operands, to, options("CastOptions"))


def _parts(dtype: str) -> Iterator[TfliteCase]:
    def t(*shape: int) -> T:
        return _tensor(dtype, *shape)

    chosen = options("ConcatenationOptions", axis=-2)
    parts = (t(2, 3, 4), t(2, 1, 4), t(2, 2, 4))
    yield TfliteCase("CONCATENATION", dtype, parts, (t(2, 6, 4),), chosen)
    for axis, shape in ((1, (2, 2, 3)), (-1, (2, 3, 2))):
        chosen = options("PackOptions", axis=axis, valuesCount=2)
        yield TfliteCase("PACK", f"{dtype} {axis}", (t(2, 3), t(2, 3)), (t(*shape),), chosen)
    chosen = options("UnpackOptions", axis=1, num=3)
    yield TfliteCase("UNPACK", dtype, (t(2, 3, 4),), (t(2, 4),) * 3, chosen)
    chosen = options("SplitOptions", numSplits=2)
    yield TfliteCase("SPLIT", dtype, (scalar(-1), t(2, 3, 4)), (t(2, 3, 2),) * 2, chosen)
    chosen = options("SplitVOptions", numSplits=3)
    operands = (t(2, 3, 7), ints(2, -1, 1), scalar(2))
    to = (t(2, 3, 2), t(2, 3, 4), t(2, 3, 1))
    yield TfliteCase("SPLIT_V", dtype, operands, to, chosen)


def _slices(dtype: str) -> Iterator[TfliteCase]:
    x = _tensor(dtype, 4, 5, 6)
    operands = (x, ints(1, 0, 2), ints(2, -1, 3))
    yield TfliteCase("SLICE", dtype, operands, (_tensor(dtype, 2, 5, 3),))
    for begin, end, step, masks in (
        ((0, 1, 0), (2, 4, 6), (1, 1, 2), {}),
        ((3, -1, 0), (0, 0, 6), (-1, -2, 1), {}),
        ((0, 0, 0), (0, 0, 0), (1, 1, 1), {"beginMask": 7, "endMask": 7}),
        ((1, 2, 3), (2, 3, 4), (1, 1, 1), {"shrinkAxisMask": 2}),
        ((0, -1), (1, 0), (1, 1), {"shrinkAxisMask": 2}),
        ((0, 2), (0, 4), (1, 1), {"ellipsisMask": 1}),
        ((0, 0, 1), (2, 0, 3), (1, 1, 1), {"newAxisMask": 2}),
        ((-10,), (100,), (1,), {}),
    ):
        operands = (x, ints(*begin), ints(*end), ints(*step))
        label = f"{dtype} {begin} {end} {step} {masks}"
        chosen = options("StridedSliceOptions", **masks)
        yield TfliteCase("STRIDED_SLICE", label, operands, (_tensor(dtype, 4),), chosen)


def _picks(dtype: str) -> Iterator[TfliteCase]:
    x = _tensor(dtype, 4, 5, 6)
    chosen = options("GatherOptions", axis=1)
    operands = (x, ints(3, 0, 2, 2))
    yield TfliteCase("GATHER", dtype, operands, (_tensor(dtype, 4, 4, 6),), chosen)
    places = T.of(np.array([[3, 0], [2, 2]], I32))
    to = (_tensor(dtype, 2, 2, 5, 6),)
    yield TfliteCase("GATHER", f"{dtype} matrix", (x, places), to, options("GatherOptions"))
    rows = T.of(np.array([[1, 4], [0, 0], [2, 2], [3, 1]], I32))
    chosen = options("GatherOptions", axis=1, batchDims=1)
    yield TfliteCase("GATHER", f"{dtype} batch", (x, rows), (_tensor(dtype, 4, 2, 6),), chosen)
    chosen = options("GatherNdOptions")
    operands = (x, T((3, 1), "int32"))
    to = (_tensor(dtype, 3, 5, 6),)
    yield TfliteCase("GATHER_ND", f"{dtype} computed", operands, to, chosen, low=0, high=3)
    yield TfliteCase("GATHER_ND", dtype, (x, places), (_tensor(dtype, 2, 6),), chosen)


def _replaced(dtype: str) -> Iterator[TfliteCase]:
    for shape in ((2, 3, 4), (2, 1, 4), (1, 5, 2), (2, 5, 4)):
        x, update = _tensor(dtype, 2, 5, 4), _tensor(dtype, *shape)
        for starts in (ints(0, 1, 0), ints(-3, 9, 1), T((3,), "int32"), T((3,), "int64")):
            label = f"{dtype} {shape} at {starts.dtype if starts.data is None else starts.data}"
            yield TfliteCase(
                "DYNAMIC_UPDATE_SLICE", label, (x, update, starts), (x,), low=-6, high=6
            )


def _blocks(dtype: str) -> Iterator[TfliteCase]:
    deep, wide = _tensor(dtype, 1, 3, 4, 12), _tensor(dtype, 1, 6, 8, 3)
    chosen = options("DepthToSpaceOptions", blockSize=2)
    yield TfliteCase("DEPTH_TO_SPACE", dtype, (deep,), (wide,), chosen)
    chosen = options("SpaceToDepthOptions", blockSize=2)
    yield TfliteCase("SPACE_TO_DEPTH", dtype, (wide,), (deep,), chosen)
    image, batch = _tensor(dtype, 2, 5, 7, 3), _tensor(dtype, 12, 3, 3, 3)
    frame = T.of(np.array([[1, 0], [1, 1]], I32))
    chosen = options("SpaceToBatchNDOptions")
    operands = (image, ints(2, 3), frame)
    yield TfliteCase("SPACE_TO_BATCH_ND", dtype, operands, (batch,), chosen)
    chosen = options("BatchToSpaceNDOptions")
    operands = (batch, ints(2, 3), frame)
    yield TfliteCase("BATCH_TO_SPACE_ND", dtype, operands, (image,), chosen)


def _constants() -> Iterator[TfliteCase]:
    x = T((3, 4))
    yield TfliteCase("SHAPE", "", (x,), (T((2,), "int32"),), options("ShapeOptions", outType=2))
    yield TfliteCase("RANK", "", (x,), (T((), "int32"),), options("RankOptions"))
    to = (T((3,), "int32"),)
    yield TfliteCase("BROADCAST_ARGS", "", (ints(3, 1), ints(2, 1, 4)), to)
    yield TfliteCase("FILL", "", (ints(3, 2), T(())), (T((3, 2)),), options("FillOptions"))
    chosen = options("RangeOptions")
    yield TfliteCase("RANGE", "", (scalar(2), scalar(11), scalar(3)), to, chosen)
    numbers = (scalar(n, "float32") for n in (2, 4, 0.3))
    yield TfliteCase("RANGE", "float32", tuple(numbers), (T((7,)),), chosen)
    table = T.of(np.arange(36, dtype=np.float32).reshape(9, 4))
    small = stored("int8", (9, 4), 0.01, 128, np.arange(36).astype(np.int8).reshape(9, 4))
    for rows in (table, small):
        operands = (T((3,), "int32"), rows)
        to = (T((3, 4)),)
        yield TfliteCase("EMBEDDING_LOOKUP", rows.dtype, operands, to, low=0, high=8)
    half = T.of(np.linspace(-9, 9, 12).astype(np.float16).reshape(3, 4))
    yield TfliteCase("DEQUANTIZE", "float16", (half,), (x,))
    yield TfliteCase("GATHER", "computed", (T((4, 5)), T((3,), "int32")), (T((3, 5)),),
                     options("GatherOptions"), low=0, high=3)  # fmt: skip


def _places() -> Iterator[TfliteCase]:
    chosen = options("TopKV2Options")
    for dtype in ("float32", "int8", "int32"):
        x, few = _tensor(dtype, 3, 9), _tensor(dtype, 3, 4)
        places = T((3, 4), "int32")
        yield TfliteCase("TOPK_V2", dtype, (x, scalar(4)), (few, places), chosen)
    chosen = options("ScatterNdOptions")
    once = T.of(np.array([[4], [0], [2]], I32))
    operands = (once, T((3, 5)), ints(6, 5))
    yield TfliteCase("SCATTER_ND", "rows", operands, (T((6, 5)),), chosen)
    twice = T.of(np.array([[1, 0], [0, 2], [1, 0]], I32))
    operands = (twice, T((3,), "int32"), ints(2, 3))
    yield TfliteCase("SCATTER_ND", "repeated indices", operands, (T((2, 3), "int32"),), chosen)
    for dtype in ("float32", "int32", "bool"):
        at = np.array([[[1, 4], [0, 0]], [[1, 4], [2, 3]]], I32)
        updates = (np.arange(8).reshape(2, 2, 2) % 3 - 1).astype(dtype)
        operands = T((2, 2, 2), "int32"), T((2, 2, 2), dtype), ints(3, 5, 2)
        y, given = T((3, 5, 2), dtype), (at, updates)
        yield TfliteCase("SCATTER_ND", f"computed, {dtype}", operands, (y,), chosen, given=given)
    rows = np.array([[1], [0], [1]], I32)
    for dtype in ("int8", "uint8"):
        updates, y = stored(dtype, (3, 2), 0.1), stored(dtype, (5, 2), 0.1)
        numbers = np.array([[100, 7], [-3, 5], [90, -100]]).astype(dtype)
        for label, at, given in (
            ("known", T.of(rows), (numbers,)),
            ("computed", T((3, 1), "int32"), (rows, numbers)),
        ):
            operands, name = (at, updates, ints(5, 2)), f"stored {dtype}, {label}"
            yield TfliteCase("SCATTER_ND", name, operands, (y,), chosen, given=given)
    for time, batch in ((0, 1), (1, 0)):
        chosen = options("ReverseSequenceOptions", seqDim=time, batchDim=batch)
        lengths = ints(*((3, 1, 0, 2, 3) if batch else (4, 5, 1)))
        operands = (T((3, 5, 2)), lengths)
        yield TfliteCase("REVERSE_SEQUENCE", f"axis {time}", operands, (T((3, 5, 2)),), chosen)

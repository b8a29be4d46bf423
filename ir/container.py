"""ellc's own file format, `.eir`: a zip file with a graph, its weights and their index.

The members are `graph.txt`, `weights.bin` (aligned bytes) and `ellc.json` (the index). They are
not compressed, so that a reader can map the weights into memory instead of copying them. A file can
also hold weights alone, without `graph.txt`.
"""

from __future__ import annotations

import json
import re
import struct
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import TypedDict

import numpy as np

from ellc.ir.errors import EllcError
from ellc.ir.files import whole_file
from ellc.ir.graph import Graph
from ellc.ir.json_values import values_of
from ellc.ir.limits import DEFAULT_LIMITS, Limits
from ellc.ir.nested import all_graphs
from ellc.ir.reading import ZIP_DAMAGE, opened_zip, read_member
from ellc.ir.text import parse, print_graph
from ellc.ir.types import Array
from ellc.ir.verify import verify
from ellc.ir.weights import WeightPool, content_key

ALIGN_BYTES = 64
_ELEMENT = re.compile(r"[<>=|]?(b1|[iu][1248]|f[248])")
FORMAT = 1
_DAMAGE = (*ZIP_DAMAGE, TypeError, AttributeError, RecursionError)
_ZIP64_EXTRA_BYTES = 20
_EXTRA_ID = 0xE11C  # the number of ellc's extra field; no registered field has this number
_EPOCH = (1980, 1, 1, 0, 0, 0)  # zip requires a time; a fixed one keeps files identical


def used_keys(graph: Graph) -> list[str]:
    """The keys of all weights of the graph and its bodies, each once, in order of first use."""
    keys: dict[str, None] = {}
    for each in all_graphs(graph):
        keys.update(dict.fromkeys(c.key for c in each.constants))
        keys.update(dict.fromkeys(s.key for s in each.states))
    return list(keys)


def save(graph: Graph, path: Path) -> None:
    """Write the graph and its weights; the same graph gives the same bytes.

    Raises `EllcError` (E703) if the file cannot be written.
    """
    _write(path, graph.weights, used_keys(graph), print_graph(graph))


def save_weights(pool: WeightPool, keys: Iterable[str], path: Path) -> None:
    """Write weights without a graph; `load_weights` reads them."""
    _write(path, pool, keys, None)


def _write(path: Path, pool: WeightPool, keys: Iterable[str], text: str | None) -> None:
    index: list[dict[str, object]] = []
    offset = 0
    for key in keys:
        array = pool[key]
        offset = -(-offset // ALIGN_BYTES) * ALIGN_BYTES
        index.append(
            {
                "key": key,
                "dtype": array.dtype.str,
                "shape": list(array.shape),
                "offset": offset,
            }
        )
        offset += array.nbytes
    with (
        whole_file(path, needed_bytes=offset) as partial,
        zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED, allowZip64=True) as archive,
    ):
        archive.writestr(_member("ellc.json"), json.dumps({"format": FORMAT, "weights": index}))
        if text is not None:
            archive.writestr(_member("graph.txt"), text)
        with archive.open(_aligned_member(archive), "w", force_zip64=True) as out:
            written = 0
            for entry in index:
                start = int(str(entry["offset"]))
                out.write(b"\0" * (start - written))
                array = pool[str(entry["key"])]
                out.write(array.reshape(-1).view(np.uint8).data)
                written = start + array.nbytes


def load(path: Path, *, check: bool = False, limits: Limits = DEFAULT_LIMITS) -> Graph:
    """Read a graph and map its weights into memory.

    `check` compares every array with its hash (one pass over the weights).

    Raises `EllcError`: E140 for a damaged file, E130 and E110 if the text is not a valid graph,
    E203 if the file exceeds the limits.
    """
    pool, text = _read(path, limits)
    if text is None:
        raise EllcError("holds weights but no graph", code="E140", where=str(path))
    if check and any(content_key(pool[k]) != k for k in pool):
        raise EllcError("the weights do not match their hashes", code="E140", where=str(path))
    graph = parse(text, pool, limits)
    verify(graph, str(path))
    return graph


def load_weights(path: Path, limits: Limits = DEFAULT_LIMITS) -> WeightPool:
    """Map the weights of a file into memory. Raises `EllcError` as `load` does."""
    return _read(path, limits)[0]


def _read(path: Path, limits: Limits) -> tuple[WeightPool, str | None]:
    def content(archive: zipfile.ZipFile, name: str) -> bytes:
        member = archive.getinfo(name)
        return read_member(archive, member, limits, str(path), limits.text_bytes)

    try:
        with opened_zip(path, limits, str(path)) as archive:
            head = values_of(content(archive, "ellc.json"))
            has_text = "graph.txt" in archive.namelist()
            text = content(archive, "graph.txt").decode("utf-8") if has_text else None
            start = _data_offset(path, archive.getinfo("weights.bin"))
            size = archive.getinfo("weights.bin").file_size
        entries = _entries(head)
        raw = np.memmap(path, np.uint8, "r", start, (size,)) if size else np.empty(0, np.uint8)
        return _MappedPool(_slices(raw, entries)), text
    except _DAMAGE as e:
        raise EllcError(f"cannot be read: {e}", code="E140", where=str(path)) from None


class _MappedPool(WeightPool):
    """A pool of arrays from a file, with the file's keys: no array is hashed again."""

    def __init__(self, arrays: dict[str, Array]) -> None:
        super().__init__()
        self._arrays.update(arrays)


def _member(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.external_attr = 0o644 << 16
    return info


def _aligned_member(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """The entry for weights.bin, with an extra field that aligns the offset of its data.

    Alignment only makes access faster; readers take the offset from the header.
    """
    info = _member("weights.bin")
    at = archive.fp.tell() if archive.fp else 0
    header_bytes = 30 + len(info.filename) + _ZIP64_EXTRA_BYTES + 4
    fill = -(at + header_bytes) % ALIGN_BYTES
    info.extra = struct.pack("<HH", _EXTRA_ID, fill) + bytes(fill)
    return info


def _data_offset(path: Path, info: zipfile.ZipInfo) -> int:
    """The offset of an uncompressed member's bytes in the file.

    They follow the member's local header: 30 bytes, the name and the extra field.
    """
    if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError("weights.bin is compressed")
    with path.open("rb") as file:
        file.seek(info.header_offset)
        header = file.read(30)
    name_bytes, extra_bytes = header[26:28], header[28:30]
    lengths = int.from_bytes(name_bytes, "little") + int.from_bytes(extra_bytes, "little")
    return info.header_offset + 30 + lengths


class _Entry(TypedDict):
    """The key and the type of an array, and its offset in `weights.bin`."""

    key: str
    dtype: str
    shape: list[int]
    offset: int


def _entries(head: object) -> list[_Entry]:
    """The index of the weights in `ellc.json`. Raises `ValueError` if it is malformed."""
    match head:
        case {"format": int(format_), "weights": list(entries)}:
            if format_ != FORMAT:
                problem = f"the file has format {format_}, but this ellc reads format {FORMAT}"
                raise ValueError(problem)
        case _:
            raise ValueError("ellc.json does not hold a format and a list of weights")
    for index, entry in enumerate(entries):
        match entry:
            case {"key": str(), "dtype": str(), "shape": list(shape), "offset": int()}:
                is_sound = all(type(extent) is int for extent in shape)
            case _:
                is_sound = False
        if not is_sound:
            problem = "lacks a valid key, dtype, shape or offset"
            raise ValueError(f"weights[{index}] of ellc.json {problem}")
    return entries


def _slices(raw: Array, entries: list[_Entry]) -> dict[str, Array]:
    """The arrays by key.

    Raises `ValueError` if an entry is invalid, or if the arrays have more bytes than `weights.bin`,
    so that some must overlap: a small file with many large, overlapping arrays could take very long
    to check.
    """
    arrays = [_slice(raw, entry) for entry in entries]
    if sum(array.nbytes for array in arrays) > raw.size:
        raise ValueError("the arrays overlap")
    return {entry["key"]: array for entry, array in zip(entries, arrays, strict=True)}


def _slice(raw: Array, entry: _Entry) -> Array:
    kind, extents, start = entry["dtype"], entry["shape"], entry["offset"]
    if not _ELEMENT.fullmatch(kind):  # np.dtype evaluates other strings
        raise ValueError(f"the element type {kind[:40]!r} is not supported")
    dtype = np.dtype(kind)
    shape = tuple(extents)
    count = 1
    for extent in shape:
        count *= extent
    if min(shape, default=0) < 0 or start < 0 or start + count * dtype.itemsize > raw.size:
        raise ValueError(f"array {entry['key']} is outside the file")
    content = raw[start : start + count * dtype.itemsize]
    if dtype.kind == "b" and content.size and content.max() > 1:
        raise ValueError(f"array {entry['key']} of booleans holds the byte {content.max()}")
    return content.view(dtype).reshape(shape)

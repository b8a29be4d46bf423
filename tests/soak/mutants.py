"""Mutants of every kind of file that ellc reads; each must give a valid result or an `EllcError`.

A valid file is decoded, edited at a few locations (`edits.py`) and encoded again. So the parser
accepts it, and the importer sees the edits. In some mutants, random bytes are changed instead.
"""

from __future__ import annotations

import io
import json
import os
import random
import re
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from damage import mutants as damaged
from edits import Walk, edit, walk_json, walk_message, walk_objects
from ell_samples import ALL_TEXTS
from findings import Findings
from hidden import hidden_cause
from operands import edit_onnx_node, edit_tflite_operator
from operator_graphs import sample_graph
from PIL import Image
from random_graphs import random_graph
from small_model_files import small_onnx, small_tflite
from small_networks import convolution_network, two_way_network
from workers import judge_all

from ellc.codegen.machine.resolve import resolve
from ellc.execute import open_library
from ellc.frontends.ell.write import write_ell
from ellc.ir.container import save
from ellc.ir.errors import EllcError
from ellc.ir.interp import evaluate
from ellc.ir.op import all_ops
from ellc.ir.types import DType, TensorType
from ellc.ir.verify import verify
from ellc.manifest import read_manifest
from ellc.models import read_model
from ellc.pictures.images import load_input
from ellc.pictures.pixels import Preprocessing

_MOST_WORK = 1 << 16
Bases = tuple[bytes, ...]


@dataclass(frozen=True)
class Mutants:
    """A campaign with files of one kind; `name` selects it on the command line.

    `decoded` converts bytes to a structure, `walk` lists its locations, and `encoded` converts it
    to bytes. `bases` makes the valid files; with an argument of True, only a few of them.
    `edit_node` changes an operator of a model; some mutants are edited by it first.
    """

    name: str
    file: str
    bases: Callable[[bool], Bases]
    decoded: Callable[[bytes], Any]
    encoded: Callable[[Any], bytes]
    walk: Walk
    outcome: Callable[[Path], str]
    batch: int = 20_000
    edit_node: Callable[[Any, random.Random], None] | None = None
    quick_count: int = 150
    quick: bool = False

    def run(self, seed: int, count: int, folder: Path) -> Findings:
        """Test `count` mutants; findings are minimised, and contain the mutant's file."""
        bases = self.bases(self.quick)
        for data in bases[:3]:  # to import all modules before the fork
            with suppress(EllcError):
                self.outcome(self._written(data, folder))
        again = f"--only {self.name} --seed {seed} --number {{}}"

        def judge(number: int) -> str:
            return self._judged(self.mutant(bases, seed, number), folder)

        findings = judge_all(range(count), judge, os.cpu_count() or 1, again)
        for place, finding in findings.found.items():
            number = int(finding.again.rsplit(" ", 1)[1])
            finding.files = {self.file: self._least(bases, seed, number, place, folder)}
        return findings

    def input(self, seed: int, number: int, folder: Path) -> dict[str, bytes]:
        """The file of a mutant."""
        return {self.file: self.mutant(self.bases(self.quick), seed, number)}

    def mutant(self, bases: Bases, seed: int, number: int, left_out: Sequence[int] = ()) -> bytes:
        """The mutant with this number, without the edits whose indices are in `left_out`.

        Some mutants are a base in which random bytes are changed instead. If the format cannot
        express the edits, the result is the base itself.
        """
        rng = random.Random(f"{seed} {number}")
        data = rng.choice(bases)
        if rng.random() < 0.15:
            return next(damaged(data, rng.randrange(2**32), 1)).data
        structure = self.decoded(data)
        edits = [i for i in range(rng.choice((1, 1, 1, 2, 3, 5))) if i not in left_out]
        on_node = self.edit_node if rng.random() < 0.4 else None
        seeds = [f"{seed} {number} {i}" for i in edits]
        try:
            if on_node is not None and 0 in edits:
                on_node(structure, random.Random(seeds.pop(0)))
            edit(structure, self.walk, seeds)
            return self.encoded(structure)
        except Exception:  # the format cannot express the edits
            return data

    def _judged(self, data: bytes, folder: Path) -> str:
        try:
            return self.outcome(self._written(data, folder))
        except EllcError as error:
            if not error.message or not error.report().startswith("error[E"):
                raise AssertionError(f"an error without a message: {error.report()!r}") from error
            if error.code == "E110" and self.name in ("onnx", "tflite", "ell"):
                raise AssertionError(error.report()) from error
            hidden = hidden_cause(error)
            if hidden is not None:
                raise hidden from error
            return error.code

    def _written(self, data: bytes, folder: Path) -> Path:
        own = folder / str(os.getpid())
        own.mkdir(exist_ok=True)
        path = own / self.file
        path.unlink(missing_ok=True)  # replacing an existing file can be slow
        path.write_bytes(data)
        return path

    def _least(self, bases: Bases, seed: int, number: int, place: str, folder: Path) -> bytes:
        """The mutant without the edits that are not needed to reproduce the finding at `place`."""
        left_out: list[int] = []
        for index in range(5):
            trial = self.mutant(bases, seed, number, [*left_out, index])
            shown = judge_all(range(1), lambda _, t=trial: self._judged(t, folder), 1, "{}")
            if place in shown.found:
                left_out.append(index)
        return self.mutant(bases, seed, number, left_out)


# ---- the outcome of reading a file ---------------------------------------------------------------


def _model(path: Path) -> str:
    graph = read_model(path)
    verify(graph)
    work = sum(t.elements for t in graph.types.values())
    work += sum(node.op.inner_steps(*graph.node_types(node)) for node in graph.nodes)
    if work > _MOST_WORK:
        return "graph"
    zeros = tuple(np.zeros(t.shape, t.dtype.numpy) for t in graph.input_types())
    with np.errstate(all="ignore"):
        evaluate(graph, zeros)
    return "value"


def _input(path: Path) -> str:
    load_input(path, TensorType(DType.U8, (1, 4, 4, 3)), Preprocessing())
    return "input"


def _manifest(path: Path) -> str:
    """Read a manifest, and open the library if the manifest has another network or target.

    The right library is not opened, because that would start processes.
    """
    library = path.with_name("libsmall.so")
    library.touch()
    manifest = read_manifest(path, library)
    if (manifest.name, manifest.target) == ("small", resolve("host")):
        return "manifest"
    open_library(library)
    return "library"


# ---- bases --------------------------------------------------------------------------------------


@cache
def _onnx_bases(quick: bool) -> Bases:
    if quick:
        return (small_onnx(),)
    from onnx_node_cases import node_tests

    models = [test.model.SerializeToString() for test in node_tests()]
    return (small_onnx(), *(data for data in models if len(data) < 20_000))


@cache
def _tflite_bases(quick: bool) -> Bases:
    if quick:
        return (small_tflite(),)
    from tflite_byte_cases import byte_cases
    from tflite_float_cases import float_cases
    from tflite_layer_cases import layer_cases
    from tflite_movement_cases import movement_cases

    families = (byte_cases, float_cases, layer_cases, movement_cases)
    cases = [case.data() for family in families for case in family()]
    return (small_tflite(), *(data for data in cases if len(data) < 20_000))


@cache
def _eir_bases(quick: bool) -> Bases:
    graphs = [convolution_network(), two_way_network()]
    if not quick:
        graphs += [random_graph(seed) for seed in range(30)]
        rng = np.random.default_rng(0)
        cases = [case for op in all_ops().values() for case in op.samples(rng)]
        graphs += [sample_graph(case, "sample")[0] for case in cases]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.eir"
        made = []
        for graph in graphs:
            save(graph, path)
            made.append(path.read_bytes())
    return tuple(data for data in made if len(data) < 100_000)


@cache
def _ell_bases(quick: bool) -> Bases:
    made = [text.encode() if isinstance(text, str) else text for text in ALL_TEXTS.values()]
    graphs = [convolution_network(), two_way_network()]
    graphs += [] if quick else [random_graph(seed) for seed in range(30)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.ell"
        for graph in graphs:
            try:
                write_ell(graph, path)
            except EllcError:  # `.ell` cannot express the network
                continue
            made.append(path.read_bytes())
    return tuple(data for data in made if _is_json(data) and len(data) < 100_000)


@cache
def _picture_bases(quick: bool) -> Bases:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    picture, made = Image.fromarray(pixels), []
    for kind in ("PNG", "JPEG", "BMP", "GIF", "WEBP", "PPM"):
        for mode in ("RGB", "L", "1", "P", "RGBA", "CMYK"):
            content = io.BytesIO()
            try:
                picture.convert(mode).save(content, kind)
            except (OSError, ValueError):  # the format does not have this mode
                continue
            made.append(content.getvalue())
    return tuple(made)


@cache
def _npy_bases(quick: bool) -> Bases:
    made = []
    for dtype in ("<f4", ">f8", "|u1", "<i8", "|b1", "<f2", "<c8", "<U2"):
        for shape in ((1, 4, 4, 3), (48,), (), (0, 3)):
            for version in ((1, 0), (2, 0), (3, 0)):
                content = io.BytesIO()
                np.lib.format.write_array(content, np.zeros(shape, dtype), version)
                made.append(content.getvalue())
    return tuple(made)


@cache
def _manifest_bases(quick: bool) -> Bases:
    from ellc.driver import CompileOptions, compile_model

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save(convolution_network("small"), folder / "small.eir")
        made = compile_model(folder / "small.eir", "host", CompileOptions(), folder / "out")
        return (made.folder.joinpath("small.json").read_bytes(),)


# ---- from bytes to structures and back ----------------------------------------------------------


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    return True


def _to_json(tree: Any) -> bytes:
    return json.dumps(tree[0]).encode("utf-8", "surrogatepass")


def _from_json(data: bytes) -> Any:
    return [json.loads(data)]


def _from_tflite(data: bytes) -> Any:
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(data))


def _to_tflite(model: Any) -> bytes:
    builder = flatbuffers.Builder(4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|[%@]?[\w.]+|->|-?\d+\.?\d*(?:e[-+]?\d+)?|\S', re.ASCII)


def _from_eir(data: bytes) -> Any:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        text = archive.read("graph.txt").decode()
        return {
            "head": json.loads(archive.read("ellc.json")),
            "text": [_number(word) for word in _WORD.findall(text)],
            "members": archive.namelist(),
            "methods": [0 for _ in archive.namelist()],
            "weights": archive.read("weights.bin").decode("latin-1"),
        }


def _number(word: str) -> str | int | float:
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word


def _to_eir(parts: Any) -> bytes:
    contents = {
        "ellc.json": json.dumps(parts["head"]),
        "graph.txt": " ".join(map(str, parts["text"])),
        "weights.bin": parts["weights"].encode("latin-1"),
    }
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, method in zip(parts["members"], parts["methods"], strict=False):
            archive.writestr(name, contents.get(name, ""), 8 if method else 0)
    return made.getvalue()


def _from_picture(data: bytes) -> Any:
    """The chunks of a PNG, without sizes and checksums; for other formats, seven parts."""
    if not data.startswith(b"\x89PNG"):
        cuts = [0, *sorted(random.Random(len(data)).sample(range(len(data)), 6)), len(data)]
        return [data[a:b] for a, b in pairwise(cuts)]
    chunks, at = [], 8
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        body = data[at + 8 : at + 8 + size]
        kind = data[at + 4 : at + 8]
        words = [int.from_bytes(body[i : i + 4], "big") for i in (0, 4)] if kind == b"IHDR" else []
        chunks.append([kind, words, body[8:] if words else body])
        at += 12 + size
    return {"png": chunks}


def _to_picture(parts: Any) -> bytes:
    if isinstance(parts, list):
        return b"".join(parts)
    made = b"\x89PNG\r\n\x1a\n"
    for kind, words, body in parts["png"]:
        content = b"".join((word % 2**32).to_bytes(4, "big") for word in words) + body
        sum_ = zlib.crc32(kind + content).to_bytes(4, "big")
        made += len(content).to_bytes(4, "big") + kind + content + sum_
    return made


def _from_npy(data: bytes) -> Any:
    size = 2 if data[6] == 1 else 4
    header = data[8 + size : 8 + size + int.from_bytes(data[8 : 8 + size], "little")]
    words = re.findall(r"'[^']*'|\w+|\S|\s+", header.decode())
    return {
        "version": [data[6], data[7]],
        "words": [_number(word) for word in words],
        "rest": data[8 + size + len(header) :],
    }


def _to_npy(parts: Any) -> bytes:
    header = "".join(map(str, parts["words"])).encode("utf-8", "surrogatepass")
    version = bytes(v % 256 for v in parts["version"])
    size = len(header).to_bytes(2 if version[:1] == b"\1" else 4, "little")
    return b"\x93NUMPY" + version + size + header + parts["rest"]


CAMPAIGNS = (
    Mutants(
        "onnx", "x.onnx", _onnx_bases, onnx.ModelProto.FromString,
        lambda model: model.SerializeToString(), walk_message, _model, 40_000, edit_onnx_node,
    ),
    Mutants("tflite", "x.tflite", _tflite_bases, _from_tflite, _to_tflite, walk_objects, _model,
            40_000, edit_tflite_operator),
    Mutants("eir", "x.eir", _eir_bases, _from_eir, _to_eir, walk_json, _model),
    Mutants("ell", "x.ell", _ell_bases, _from_json, _to_json, walk_json, _model),
    Mutants("pictures", "x.png", _picture_bases, _from_picture, _to_picture, walk_json, _input),
    Mutants("npy", "x.npy", _npy_bases, _from_npy, _to_npy, walk_json, _input),
    Mutants("manifests", "small.json", _manifest_bases, _from_json, _to_json, walk_json, _manifest),
)  # fmt: skip

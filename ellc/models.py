"""Model files of every kind that ellc reads, told apart by what is in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ellc.frontends.options import ImportOptions
from ellc.ir.container import load
from ellc.ir.errors import EllcError
from ellc.ir.graph import LAYOUT_KEY, Graph
from ellc.ir.limits import DEFAULT_LIMITS
from ellc.ir.reading import ZIP_DAMAGE, opened_zip
from ellc.ir.types import TensorType
from ellc.pictures.pixels import ORDER_KEY, Geometry, PixelOptions, is_picture

Kind = Literal["eir", "ell", "onnx", "tflite"]

SUFFIXES = (".ell.zip", ".ell", ".eir", ".onnx", ".tflite", ".map", ".model", ".zip")
"""What the names of model files end in; a model's name is what stands before."""
LIBRARY_SUFFIXES = (".so", ".dylib", ".dll")
"""What the names of compiled libraries end in."""
_MANIFEST_MARK = b'"made_by": "ellc '
_HINT = "ellc reads .ell, .ell.zip, .eir, .onnx and .tflite"
_ZIP_MAGIC = b"PK"
_SNIFF_BYTES = 4096
_TFLITE_MARK = slice(4, 8), b"TFL3"
# An ONNX file begins with its format's version (field 1, a small number) and another field.
_ONNX_VERSION_TAG = 0x08
_ONNX_VERSIONS = range(1, 64)
_ONNX_NEXT_TAGS = b"\x12\x1a\x22\x28\x32\x3a\x42\x72\xa2"
_BY_SUFFIX: dict[str, Kind] = {".onnx": "onnx", ".tflite": "tflite", ".lite": "tflite"}


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """What a user may choose when a model is read; every command that takes a model has these.

    `keep_double` computes in double what an `.ell` model says is double, not in float32. With
    `stepwise` a call computes one step of the sequences that loops go through (`ellc.ir.stepwise`).
    `pixels` are compiled in (`ellc.pictures.pixels`) if anything is said there.
    """

    imports: ImportOptions = field(default_factory=ImportOptions)
    keep_double: bool = False
    stepwise: bool = False
    pixels: PixelOptions = field(default_factory=PixelOptions)


DEFAULT_OPTIONS = ModelOptions()


def read_model(path: Path, options: ModelOptions = DEFAULT_OPTIONS) -> Graph:
    """Read a model file as a verified graph.

    Raises `EllcError` for a file that is missing, damaged, of an unknown kind, or holds something
    that is not supported; the report lists every problem. E211: a package for the format is
    missing; E704: an option means nothing for the format; E160: it cannot be made stepwise.
    """
    kind = model_kind(path)
    _check_options(path, kind, options.imports)
    try:
        graph = _READERS[kind](path, options)
    except MemoryError:
        raise EllcError(
            "the model needs more memory than there is", code="E203", where=str(path)
        ) from None
    if options.stepwise:
        from ellc.ir.stepwise import stepwise

        graph = stepwise(graph, str(path))
    if not options.pixels.is_given:
        return graph
    from ellc.pictures.preprocessing import with_preprocessing

    return with_preprocessing(graph, options.pixels.over_metadata(graph.metadata))


def default_name(path: Path) -> str:
    """A model's name: that of its file, without what says its kind."""
    for suffix in SUFFIXES:
        if path.name.lower().endswith(suffix) and len(path.name) > len(suffix):
            return path.name[: -len(suffix)]
    return path.stem


def _read_eir(path: Path, options: ModelOptions) -> Graph:
    return load(path, limits=options.imports.limits)


def _read_ell(path: Path, options: ModelOptions) -> Graph:
    from ellc.frontends.ell.options import EllOptions
    from ellc.frontends.ell.read import read_ell

    chosen = EllOptions(
        double_is="double" if options.keep_double else "float",
        outputs=options.imports.outputs,
        limits=options.imports.limits,
    )
    return read_ell(path, chosen)


def _read_onnx(path: Path, options: ModelOptions) -> Graph:
    from ellc.frontends.onnx.read import read_onnx

    graph = _with_colours(read_onnx(path, options.imports))
    has_planes = options.imports.layout == "file" and any(t.rank == 4 for t in _port_types(graph))
    return graph.with_metadata({LAYOUT_KEY: "NCHW"}) if has_planes else graph


def _read_tflite(path: Path, options: ModelOptions) -> Graph:
    from ellc.frontends.tflite.read import read_tflite

    return _with_colours(read_tflite(path, options.imports))


_READERS: dict[Kind, Callable[[Path, ModelOptions], Graph]] = {
    "eir": _read_eir,
    "ell": _read_ell,
    "onnx": _read_onnx,
    "tflite": _read_tflite,
}


def _port_types(graph: Graph) -> tuple[TensorType, ...]:
    return (*graph.input_types(), *graph.output_types())


def _with_colours(graph: Graph) -> Graph:
    """With the order of colours that networks of these formats take, unless it is said.

    ELL's default, which holds where nothing is said, is blue first.
    """
    pictures = [Geometry.of(t) for t in graph.input_types() if is_picture(t)]
    if ORDER_KEY in graph.metadata or not any(p.channels == 3 for p in pictures):
        return graph
    return graph.with_metadata({ORDER_KEY: "rgb"})


def _check_options(path: Path, kind: Kind, chosen: ImportOptions) -> None:
    """Refuse what would have no effect."""
    useless = []
    if kind in ("ell", "eir"):
        useless += ["--shape"] if chosen.shapes else []
        useless += ["--set"] if chosen.fixed else []
        useless += ["--layout"] if chosen.layout != "file" else []
    if kind == "eir":
        useless += ["--outputs"] if chosen.outputs else []
    if useless:
        raise EllcError(
            f"{' and '.join(useless)} cannot be used with this kind of file",
            code="E704",
            where=str(path),
            hint="--shape, --set and --layout are for ONNX and TFLite, --outputs for all but .eir",
        )


def model_kind(path: Path) -> Kind:
    """The kind of a file by its content, else by its suffix. Raises `EllcError` E701 or E702."""
    try:
        with path.open("rb") as file:
            head = file.read(_SNIFF_BYTES)
    except OSError as error:
        reason = error.strerror or error
        raise EllcError(
            f"cannot be read: {reason}", code="E701", where=str(path), hint=_library_hint(path)
        ) from None
    if path.suffix.lower() == ".json" and _MANIFEST_MARK in head:
        said = "this is the manifest that ellc writes for a library, no model"
        raise EllcError(said, code="E702", where=str(path), hint=_library_hint(path))
    kind = _kind_of(head, path)
    if kind is None:
        raise EllcError("this is no model file", code="E702", where=str(path), hint=_HINT)
    return kind


def _library_hint(path: Path) -> str:
    """The one compiled library that a folder holds, or that a manifest is of."""
    folder = path if path.is_dir() else path.parent
    names = {f"{lib}{path.stem}{suffix}" for lib in ("", "lib") for suffix in LIBRARY_SUFFIXES}
    try:
        every = [file for file in folder.iterdir() if file.suffix in LIBRARY_SUFFIXES]
    except OSError:
        return _HINT
    found = [file for file in every if file.name in names or folder == path]
    return f"`ellc run` takes the library {found[0]}" if len(found) == 1 else _HINT


def _kind_of(head: bytes, path: Path) -> Kind | None:
    if head.startswith(_ZIP_MAGIC):
        return "eir" if _is_eir(path) else "ell"
    place, mark = _TFLITE_MARK
    if head[place] == mark:
        return "tflite"
    suffix = path.suffix.lower()
    if suffix in _BY_SUFFIX:  # a damaged one: its reader says what is wrong
        return _BY_SUFFIX[suffix]
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return "ell"
    is_onnx = len(head) > 2 and head[0] == _ONNX_VERSION_TAG and head[1] in _ONNX_VERSIONS
    return "onnx" if is_onnx and head[2] in _ONNX_NEXT_TAGS else None


def _is_eir(path: Path) -> bool:
    try:
        with opened_zip(path, DEFAULT_LIMITS, str(path)) as archive:
            return "graph.txt" in archive.namelist()
    except (*ZIP_DAMAGE, EllcError):
        # What is wrong with it is said by its reader; only .eir promises to be one.
        return path.suffix.lower() == ".eir"

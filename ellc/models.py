"""Reads model files of all formats; a format is recognised by the file's content, or its name."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ellc.frontends.format import Evidence, Format, formats, suffixes
from ellc.frontends.options import OPTIONS, ImportOptions
from ellc.ir.errors import EllcError
from ellc.ir.file_interface import FileInterface
from ellc.ir.graph import ARITHMETIC_KEY, HALF, SUMS_KEY, WEIGHTS_KEY, Graph
from ellc.pictures.pixels import PixelOptions

LIBRARY_SUFFIXES = (".so", ".dylib", ".dll")
"""The suffixes of compiled libraries."""
_MANIFEST_MARK = b'"made_by": "ellc '
_SNIFF_BYTES = 4096


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """Options for reading a model; every command that takes a model has them.

    With `stepwise`, each call computes one element of the sequences over which loops run
    (`ellc.ir.stepwise`). If any field of `pixels` is set, this preprocessing becomes part of the
    network (`ellc.pictures.pixels`). `weights` names the coding in which compiled code stores the
    weights of layers that are bound by memory (`ellc.codegen.planning.narrowing`); if it is empty,
    they stay as they are in the file. `sums` restricts how kernels add products
    (`ellc.codegen.planning.choice.SUMS`); if it is empty, every kernel is allowed. With `fp16`,
    compiled code computes in half precision where it can (`ellc.codegen.planning.halving`).
    """

    imports: ImportOptions = field(default_factory=ImportOptions)
    stepwise: bool = False
    pixels: PixelOptions = field(default_factory=PixelOptions)
    weights: str = ""
    sums: str = ""
    fp16: bool = False


DEFAULT_OPTIONS = ModelOptions()


def read_model(path: Path, options: ModelOptions = DEFAULT_OPTIONS) -> Graph:
    """Read a model file as a verified graph.

    Raises `EllcError` if the file is missing, damaged or of an unknown format, or if it has
    something unsupported; the report lists every problem. E211: a package for the format is
    missing; E704: an option has no effect for the format; E160: the network cannot be computed
    stepwise.
    """
    form = format_of(path)
    _check_options(path, form, options.imports)
    try:
        graph = form.read(path, options.imports)
    except MemoryError:
        raise EllcError(
            "the model needs more memory than there is", code="E203", where=str(path)
        ) from None
    if options.weights:
        graph = graph.with_metadata({WEIGHTS_KEY: options.weights})
    if options.sums:
        graph = graph.with_metadata({SUMS_KEY: options.sums})
    if options.fp16:
        graph = graph.with_metadata({ARITHMETIC_KEY: HALF})
    if options.stepwise:
        from ellc.ir.stepwise import stepwise

        graph = stepwise(graph, str(path))
    if not options.pixels.is_given:
        return graph
    from ellc.pictures.preprocessing import with_preprocessing

    return with_preprocessing(graph, options.pixels.over_metadata(graph.metadata))


def file_interface(path: Path, options: ModelOptions = DEFAULT_OPTIONS) -> FileInterface | None:
    """What a file that `read_model` accepts declares about its inputs and outputs.

    None for a format without a runtime of its own. Raises `EllcError` as the format's reader.
    """
    interface = format_of(path).interface
    return interface(path, options.imports) if interface is not None else None


def default_name(path: Path) -> str:
    """The default name of a model: the name of its file without the suffix of the format."""
    for suffix in suffixes():
        if path.name.lower().endswith(suffix) and len(path.name) > len(suffix):
            return path.name[: -len(suffix)]
    return path.stem


def format_of(path: Path) -> Format:
    """The format of a file, recognised by its content or, if that does not tell, by its name.

    Raises `EllcError`: E701 if the file cannot be read, E702 if it is not a model file.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_SNIFF_BYTES)
    except OSError as error:
        reason = error.strerror or error
        raise EllcError(
            f"cannot be read: {reason}", code="E701", where=str(path), hint=_library_hint(path)
        ) from None
    if path.suffix.lower() == ".json" and _MANIFEST_MARK in head:
        message = "this is the manifest that ellc writes for a library, not a model"
        raise EllcError(message, code="E702", where=str(path), hint=_library_hint(path))
    ranked = [(form.evidence(head, path), form) for form in formats()]
    evidence, best = max(ranked, key=lambda one: one[0])
    if evidence is Evidence.NONE:
        raise EllcError("this is not a model file", code="E702", where=str(path), hint=_known())
    return best


def _check_options(path: Path, form: Format, imports: ImportOptions) -> None:
    """Raise `EllcError` E704 for options that have no effect for the format."""
    useless = [name for name in imports.chosen() if name not in form.takes]
    if useless:
        names = " and ".join(OPTIONS[name] for name in useless)
        raise EllcError(
            f"{names} cannot be used with this kind of file",
            code="E704",
            where=str(path),
            hint="; ".join(f"{OPTIONS[name]} is for {_takers(name)}" for name in useless),
        )


def _takers(option: str) -> str:
    return " and ".join(form.suffixes[0] for form in formats() if option in form.takes)


def _known() -> str:
    *most, last = (form.suffixes[0] for form in formats())
    return f"ellc reads {', '.join(most)} and {last}"


def _library_hint(path: Path) -> str:
    """A hint for a path that is not a model.

    It names a library if `path` is a folder with exactly one library, or the manifest of a library.
    Otherwise it lists the formats that ellc reads.
    """
    folder = path if path.is_dir() else path.parent
    names = {f"{lib}{path.stem}{suffix}" for lib in ("", "lib") for suffix in LIBRARY_SUFFIXES}
    try:
        every = [file for file in folder.iterdir() if file.suffix in LIBRARY_SUFFIXES]
    except OSError:
        return _known()
    matching = [file for file in every if file.name in names or folder == path]
    return f"`ellc run` takes the library {matching[0]}" if len(matching) == 1 else _known()

"""Subjects of an evaluation: a network or chain of networks, with the engine that computes it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ellc.evaluate.samples import Preparation
from ellc.execute import Arrays, Network, is_library, open_library, reference
from ellc.ir.errors import EllcError
from ellc.ir.types import Array, TensorType
from ellc.models import ModelOptions
from ellc.pictures.images import dequantise
from ellc.pictures.pixels import Preprocessing
from ellc.pictures.preprocessing import PREPROCESSING_KEY, has_preprocessing
from ellc.progress import Progress

Engine = Literal["compiled", "reference", "onnxruntime", "litert"]
ENGINES: tuple[Engine, ...] = ("reference", "onnxruntime", "litert")
"""The engines that compute a model file without compiling it."""

Call = Callable[[Arrays], Arrays]


@dataclass(frozen=True, slots=True)
class Subject:
    """A chain of model files or compiled libraries, computed by one engine.

    The outputs of each file are the inputs of the next one.
    """

    files: tuple[Path, ...]
    engine: Engine
    options: ModelOptions
    target: str = "host"

    @property
    def name(self) -> str:
        """The name in reports: the files and, unless all are libraries, the engine or target."""
        how = self.target if self.engine == "compiled" else self.engine
        libraries = all(map(is_library, self.files))
        return " + ".join(file.name for file in self.files) + ("" if libraries else f" ({how})")

    def identity(self) -> str:
        """A hash of everything on which the answers of the subject depend."""
        digest = hashlib.sha256(repr((self.engine, self.target, self.options)).encode())
        for file in self.files:
            with file.open("rb") as content:
                digest.update(hashlib.file_digest(content, "sha256").digest())
        return digest.hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Interface:
    """How a sample becomes the input of a subject, and the type of the subject's output."""

    preparation: Preparation
    output: TensorType


def compiled(subject: Subject, folder: Path, report: Progress) -> Subject:
    """Compile the model files of a subject into `folder`; returns a subject with the libraries.

    A subject whose engine is not `compiled` is returned unchanged.
    """
    if subject.engine != "compiled":
        return subject
    from ellc.driver import CompileOptions, compile_model

    libraries = []
    for number, file in enumerate(subject.files):
        if is_library(file):
            libraries.append(file)
            continue
        # Only the first network of the chain gets pictures.
        options = subject.options if number == 0 else ModelOptions()
        chosen = CompileOptions(emit=("so", "obj"), threads=1, model=options)
        result = compile_model(file, subject.target, chosen, folder / f"{number}", report)
        assert result.library is not None
        libraries.append(result.library)
    return replace(subject, files=tuple(libraries))


def interface(subject: Subject, share: float) -> Interface:
    """Read the interface of a subject that gets the middle `share` of each side of a picture.

    Raises `EllcError` E772 if the first network does not have exactly one input, or if any network
    does not have exactly one output.
    """
    networks = [_network(subject, file) for file in subject.files]
    if any(len(n.outputs) != 1 for n in networks):
        names = ", ".join(name for n in networks if len(n.outputs) != 1 for name, _ in n.outputs)
        raise EllcError(
            f"the network has several outputs ({names}), but only one can have the scores",
            code="E772",
            where=subject.name,
            hint="name the output that has the scores of the classes: --outputs NAME",
        )
    (_, output_type) = networks[-1].outputs[0]
    return Interface(_preparation(subject, networks[0], share), output_type)


def preparation(subject: Subject, share: float) -> Preparation:
    """How a sample becomes the input of a subject; its networks may have several outputs.

    Raises `EllcError` E772 if the first network does not have exactly one input.
    """
    return _preparation(subject, _network(subject, subject.files[0]), share)


def _preparation(subject: Subject, first: Network, share: float) -> Preparation:
    if len(first.inputs) != 1:
        names = ", ".join(name for name, _ in first.inputs)
        raise EllcError(
            f"the network has {len(first.inputs)} inputs ({names}), but a sample fills only one",
            code="E772",
            where=subject.name,
            hint="give the other inputs a constant value: --set INPUT=VALUE",
        )
    ((_, input_type),) = first.inputs
    return Preparation(input_type, _preprocessing(subject, first.metadata), share)


def _network(subject: Subject, file: Path) -> Network:
    if is_library(file):
        return open_library(file).network
    plain = replace(subject.options, pixels=ModelOptions().pixels)
    return reference(file, plain if file == subject.files[0] else ModelOptions()).network


def _preprocessing(subject: Subject, metadata: Mapping[str, str]) -> Preprocessing:
    """The preprocessing to apply before a call, according to a network's metadata.

    The user's options override the metadata, but not for a library that preprocesses its inputs.
    """
    pixels = subject.options.pixels
    if PREPROCESSING_KEY in metadata or not pixels.is_given:
        return Preprocessing.from_metadata(metadata)
    return pixels.over_metadata(metadata)


@contextmanager
def opened(subject: Subject, output: TensorType) -> Iterator[Callable[[Array], Array]]:
    """Open the networks; the block gets a function that computes the scores [classes] of an input.

    `output` is the type of the last network's output. If it is quantised, the function dequantises
    the scores.
    """
    with ExitStack() as stack:
        calls = [_opened(stack, subject, file) for file in subject.files]

        def scores(values: Array) -> Array:
            results: Arrays = (values,)
            for call in calls:
                results = call(results)
            return dequantise(results[0], output).reshape(-1)

        yield scores


def _opened(stack: ExitStack, subject: Subject, file: Path) -> Call:
    if is_library(file):
        return stack.enter_context(open_library(file).session(threads=1))
    plain = replace(subject.options, pixels=ModelOptions().pixels)
    options = plain if file == subject.files[0] else ModelOptions()
    match subject.engine:
        case "onnxruntime":
            return _onnxruntime(file)
        case "litert":
            return _litert(file)
    return reference(file, options).call


def _onnxruntime(file: Path) -> Call:
    """Open a file in onnxruntime with its default optimisations, on one thread."""
    runtime = _imported("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    names = [port.name for port in session.get_inputs()]
    return lambda values: tuple(session.run(None, dict(zip(names, values, strict=True))))


def _litert(file: Path) -> Call:
    """Open a file in LiteRT with its default kernels, on one thread."""
    runtime = _imported("ai_edge_litert.interpreter")
    interpreter = runtime.Interpreter(model_path=str(file), num_threads=1)
    interpreter.allocate_tensors()
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()

    def call(values: Arrays) -> Arrays:
        for detail, value in zip(inputs, values, strict=True):
            interpreter.set_tensor(detail["index"], value)
        interpreter.invoke()
        return tuple(interpreter.get_tensor(detail["index"]) for detail in outputs)

    return call


def _imported(module: str) -> Any:
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0].replace("_", "-")
        raise EllcError(
            f"{package} is not installed: {error}",
            code="E773",
            hint=f"pip install {package}",
        ) from error


def other_subject(text: str, judged: Subject) -> Subject:
    """The subject that the option `--vs` names, for comparison with `judged`.

    `text` is an engine for the files of `judged`, or `FILE=ENGINE`, or a library or a model file to
    compile. Raises `EllcError` E713 if the system cannot resolve the path of the file.
    """
    for engine in ENGINES:
        if text == engine:
            return replace(judged, engine=engine)
    name, _, engine_text = text.rpartition("=")
    for engine in ENGINES:
        if name and engine_text == engine:
            return replace(judged, files=(_path(name),), engine=engine)
    return replace(judged, files=(_path(text),), engine="compiled")


def _path(text: str) -> Path:
    """Make a path; raises `EllcError` E713 if the system cannot resolve it."""
    path = Path(text)
    try:
        path.exists()
    except OSError as error:
        reason = error.strerror or str(error)
        raise EllcError(f"cannot be read: {reason}", code="E713", where=text) from error
    return path


def check_options(subject: Subject) -> None:
    """Raise `EllcError` E719 for preprocessing options if the library already preprocesses."""
    first = subject.files[0]
    if not is_library(first) or not subject.options.pixels.is_given:
        return
    if PREPROCESSING_KEY in open_library(first).network.metadata:
        raise has_preprocessing(str(first))


def all_files(subjects: Sequence[Subject]) -> tuple[Path, ...]:
    """The files of all subjects, each file once."""
    return tuple(dict.fromkeys(file for s in subjects for file in s.files))

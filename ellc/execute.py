"""Runs a network: with the reference in numpy, or as a compiled library here or in an emulator."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ellc.arrays import as_input
from ellc.codegen.machine.target import Target
from ellc.codegen.toolchain import emulate
from ellc.codegen.toolchain.load import (
    RunResult,
    call_library,
    library_abi,
    open_session,
    time_starts,
)
from ellc.codegen.toolchain.repeats import first_and_steady, repeated
from ellc.codegen.toolchain.system_root import has_c_library
from ellc.ir.errors import EllcError, InternalError
from ellc.ir.interp import evaluate
from ellc.ir.types import Array, DType, TensorType
from ellc.ir.work_folders import temporary_folder
from ellc.manifest import read_manifest
from ellc.models import DEFAULT_OPTIONS, LIBRARY_SUFFIXES, ModelOptions, read_model
from ellc.progress import Progress, silent

Arrays = tuple[Array, ...]


@dataclass(frozen=True)
class Network:
    """A network's name, inputs and outputs in order, metadata, and number of multiply-adds."""

    name: str
    inputs: tuple[tuple[str, TensorType], ...]
    outputs: tuple[tuple[str, TensorType], ...]
    metadata: Mapping[str, str]
    macs: int


@dataclass(frozen=True)
class Executable:
    """A network that can be run.

    `call` takes one array for each input and returns one array for each output. It converts the
    inputs with `ellc.arrays.as_input`. It raises `EllcError` for arrays that do not fit the inputs,
    and if the network cannot run on this machine.
    """

    network: Network
    call: Callable[[Arrays], Arrays]


@dataclass(frozen=True)
class Library:
    """A shared library with the facts from its manifest.

    `abi` is the hash of the interface; the hash in the library must equal that in its manifest.
    `object` is the object file with the same code, or None if it is not in the same folder.
    """

    path: Path
    prefix: str
    target: Target
    network: Network
    arena_bytes: int
    abi: int
    object: Path | None = None

    @property
    def output_bytes(self) -> tuple[int, ...]:
        """The size of each output in memory."""
        return tuple(_memory_bytes(type_) for _, type_ in self.network.outputs)

    def run(
        self, inputs: Arrays, *, threads: int = 0, repeat_ms: int = 0
    ) -> tuple[Arrays, tuple[int, ...]]:
        """Call the network, and repeat the call for `repeat_ms`.

        Returns the outputs of the first call, and the nanoseconds of each later call. The library
        runs in a separate process, in an emulator if necessary. If this machine lacks the target's
        C library and no call is repeated, a program without libc runs the object file instead.
        `threads` 0 means the library's default. Raises `EllcError` if the library cannot run here
        or returns an error.
        """
        if self.object is not None and not repeat_ms and not has_c_library(self.target):
            request = emulate.Request(0, self.bytes_of(inputs))
            (data,) = self._run_object(self.object, [request], threads)
            return self.arrays_of(data), ()
        answer = call_library(
            self.target,
            self.path,
            self.prefix,
            self.bytes_of(inputs),
            self.output_bytes,
            threads=threads,
            repeat_ms=repeat_ms,
        )
        return self.arrays_of(answer.outputs), answer.call_ns

    def starts(
        self, inputs: Arrays, *, threads: int = 0, count: int = 5, repeat_ms: int = 1
    ) -> list[RunResult]:
        """Start `count` new processes, and return the times of loading and of calls in each.

        The last process repeats the call for `repeat_ms`, the others for 1 ms. Raises `EllcError`
        as `run` does.
        """
        return time_starts(
            self.target,
            self.path,
            self.prefix,
            self.bytes_of(inputs),
            self.output_bytes,
            threads=threads,
            starts=count,
            repeat_ms=repeat_ms,
        )

    @contextmanager
    def session(self, *, threads: int = 0) -> Iterator[Callable[[Arrays], Arrays]]:
        """Open an instance in a separate process until the block ends.

        The block gets a function that calls the instance; states are reset before every call.
        Raises `EllcError` as `run` does.
        """
        sizes = (
            [_memory_bytes(t) for _, t in ports]
            for ports in (self.network.inputs, self.network.outputs)
        )
        with open_session(self.target, self.path, self.prefix, *sizes, threads=threads) as opened:
            yield lambda inputs: self.arrays_of(opened.call(self.bytes_of(inputs)))

    def run_in_junk(self, calls: Sequence[Arrays]) -> list[Arrays]:
        """Run calls in memory that is filled with junk bytes, and return their outputs.

        Each call starts with a new initialisation. The first call is repeated with other junk
        bytes, and again after another call and a reset. Raises `InternalError` if the results of
        these repetitions differ. The object file must exist; all calls run in one program that is
        linked with it.
        """
        assert self.object is not None
        encoded = [self.bytes_of(inputs) for inputs in calls]
        again = repeated(0, encoded[:1], encoded[-1])
        fresh = [
            emulate.Request(0, data, junk=i % emulate.JUNK_KINDS) for i, data in enumerate(encoded)
        ]
        answers = self._run_object(self.object, [*again, *fresh[1:]])
        (first,), steady = first_and_steady(answers[: len(again)], 1)
        if not steady:
            raise InternalError(f"{self.path.name}: results depend on what memory held before")
        return [self.arrays_of(data) for data in (first, *answers[len(again) :])]

    def _run_object(
        self, object: Path, requests: Sequence[emulate.Request], threads: int = 0
    ) -> list[tuple[bytes, ...]]:
        """Link the object into a static program without libc; return each request's outputs."""
        case = emulate.Case(
            self.prefix,
            tuple(_buffer(t) for _, t in self.network.inputs),
            tuple(_buffer(t) for _, t in self.network.outputs),
            arena_bytes=self.arena_bytes,
            is_model=True,
            threads=threads,
            abi=self.abi,
        )
        with temporary_folder("run") as folder:
            runner = emulate.build_runner(self.target, [object], [case], folder)
            return emulate.run_cases(runner, requests)

    def bytes_of(self, inputs: Arrays) -> tuple[bytes, ...]:
        """The bytes of the inputs in the library's memory layout.

        Raises `EllcError` for arrays that do not fit the inputs.
        """
        ports = zip(inputs, self.network.inputs, strict=True)
        return tuple(_to_memory(as_input(x, type_, name), type_) for x, (name, type_) in ports)

    def arrays_of(self, outputs: Sequence[bytes]) -> Arrays:
        """Convert the bytes of the outputs, in the library's memory layout, to arrays."""
        ports = zip(outputs, self.network.outputs, strict=True)
        return tuple(_from_memory(data, type_) for data, (_, type_) in ports)


def is_library(path: Path) -> bool:
    """Whether the suffix of a path is that of a compiled library."""
    return path.suffix.lower() in LIBRARY_SUFFIXES


def reference(path: Path, options: ModelOptions = DEFAULT_OPTIONS) -> Executable:
    """The network of a model file, computed by the reference in numpy.

    The reference is slow; it defines the right results.
    """
    graph = read_model(path, options)
    network = Network(
        graph.name,
        tuple((p.name, graph.types[p.value]) for p in graph.inputs),
        tuple((p.name, graph.types[p.value]) for p in graph.outputs),
        graph.metadata,
        sum(node.op.macs(*graph.node_types(node)) for node in graph.nodes),
    )

    def call(inputs: Arrays) -> Arrays:
        ports = zip(inputs, network.inputs, strict=True)
        fitting = tuple(as_input(x, type_, name) for x, (name, type_) in ports)
        return evaluate(graph, fitting).outputs

    return Executable(network, call)


@contextmanager
def compiled(
    path: Path,
    target: str,
    threads: int | None = None,
    options: ModelOptions = DEFAULT_OPTIONS,
    progress: Progress = silent,
) -> Iterator[Library]:
    """Open the library at `path`, or compile the model at `path` for `target`.

    `options` say how the model is read. Files that were compiled here are removed when the block
    ends.
    """
    if is_library(path):
        yield open_library(path)
        return
    from ellc.driver import CompileOptions, compile_model

    with temporary_folder("run") as folder:
        chosen = CompileOptions(emit=("so", "obj"), threads=threads, model=options)
        artifact = compile_model(path, target, chosen, folder / "out", progress)
        assert artifact.library is not None
        yield described_library(artifact.library)


def open_library(path: Path) -> Library:
    """Open a library; its manifest NAME.json must be in the same folder.

    Raises `EllcError`: E701 if there is no such file, E705 if the manifest is missing or belongs to
    another library. If this machine cannot load the library, the library is compared with the
    manifest later, by the program that runs its object file.
    """
    library = described_library(path)
    if library.target.os == "linux" and has_c_library(library.target):
        actual = library_abi(library.target, path, library.prefix)
        if actual != library.abi:
            raise EllcError(
                f"the manifest belongs to another library: its interface hash is "
                f"0x{library.abi:08x}, but the library has 0x{actual:08x}",
                code="E705",
                where=str(path),
                hint="keep the files of one `ellc compile` together",
            )
    return library


def described_library(path: Path) -> Library:
    """A library with the facts of its manifest, without comparing these with the library itself."""
    name = path.name[: -len(path.suffix)]
    name = name if path.suffix == ".dll" else name.removeprefix("lib")
    if not path.is_file():
        raise EllcError("no such file", code="E701", where=str(path))
    facts = read_manifest(path.with_name(f"{name}.json"), path)
    network = Network(facts.name, facts.inputs, facts.outputs, facts.metadata, facts.macs)
    object_path = path.with_name(f"{name}.o")
    object = object_path if object_path.is_file() else None
    return Library(path, facts.name, facts.target, network, facts.arena_bytes, facts.abi, object)


# --- the memory layout of arrays at the C interface ---


def _word_bytes(channels: int) -> int:
    """The bytes of one word of packed bits: 4 for up to 32 channels, otherwise 8."""
    return 4 if channels <= 32 else 8


def _bit_bytes(channels: int) -> int:
    """The bytes of one pixel's packed bits, which fill whole words."""
    word = _word_bytes(channels)
    return -(-channels // (8 * word)) * word


def _memory_bytes(type_: TensorType) -> int:
    if type_.dtype is DType.BIT:
        return math.prod(type_.shape[:-1]) * _bit_bytes(type_.shape[-1])
    return type_.elements * type_.dtype.item_bytes


def _buffer(type_: TensorType) -> emulate.PortMemory:
    bits = type_.dtype is DType.BIT
    align = _word_bytes(type_.shape[-1]) if bits else type_.dtype.item_bytes
    return emulate.PortMemory(_memory_bytes(type_), align)


def _to_memory(array: Array, type_: TensorType) -> bytes:
    if type_.dtype is not DType.BIT:
        return np.asarray(array, type_.dtype.numpy, order="C").tobytes()
    bits = np.packbits(array.reshape(type_.shape) > 0, axis=-1, bitorder="little")
    missing = _bit_bytes(type_.shape[-1]) - bits.shape[-1]
    return np.pad(bits, [(0, 0)] * (type_.rank - 1) + [(0, missing)]).tobytes()


def _from_memory(data: bytes, type_: TensorType) -> Array:
    if type_.dtype is not DType.BIT:
        return np.frombuffer(data, type_.dtype.numpy).reshape(type_.shape)
    pixels = np.frombuffer(data, np.uint8).reshape(*type_.shape[:-1], -1)
    signs: Array = np.unpackbits(pixels, axis=-1, bitorder="little")[..., : type_.shape[-1]]
    return signs.astype(np.bool_)

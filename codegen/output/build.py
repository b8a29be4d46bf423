"""Builds the files of a plan: libraries, object, header, C source, and kernels for inspection."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ellc.codegen.kir.assembly import assembly_functions, assembly_text, stack_bytes
from ellc.codegen.kir.ir import Kernel
from ellc.codegen.kir.llvm import llvm_module
from ellc.codegen.output.emit import compile_kernels, plan_kernels, weight_pieces
from ellc.codegen.output.glue import header_text, make_model, source_text
from ellc.codegen.output.model import Model
from ellc.codegen.output.runtime import compile_runtime, runtime_dir
from ellc.codegen.planning.plan import Plan
from ellc.codegen.toolchain import elf, link
from ellc.codegen.toolchain.compile_c import c_frames, compile_c
from ellc.codegen.toolchain.llvm import EmitKind, IrJob, LlvmPool
from ellc.codegen.toolchain.localize import localize
from ellc.ir.errors import EllcError
from ellc.ir.work_folders import temporary_folder

Progress = Callable[[str, int, int], None]

KINDS: dict[str, str] = {
    "so": "shared library",
    "obj": "one relocatable object",
    "lib": "static library",
    "h": "C header",
    "c": "C99 source of everything",
    "llvm": "LLVM IR of the kernels",
    "bitcode": "LLVM bitcode of the kernels",
    "asm": "assembly of the kernels",
}
"""The kinds of files that `build` can write, with descriptions."""

_RUNTIME_STACK_BYTES = 64
"""What a function of the compiler's runtime library takes on cores without an FPU. Painted stacks
show that with compiler-rt, calls of seven networks need up to 12 bytes more than without these."""
_GLUE_DEPTH = 4  # the longest chain of calls in the API: predict, predict_v, run, a step
_POOL_DEPTH = 4  # the same in the pool


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How a plan is built.

    `version` is the version of ellc, which is written into the files. If `threads` is 1, the code
    uses no threads. With `strip`, libraries have no local symbols. With `profile`, calls add
    up the times of their steps (`model.Counters`).
    """

    version: str
    threads: int = 1
    strip: bool = False
    tools: link.Tools = link.BUILT_IN
    profile: bool = False


@dataclass(frozen=True)
class BuildResult:
    """The result of `build`: files by kind, and facts about them.

    `stack_bytes` is the size of the stack that the deepest call needs. It is None if no objects
    were made (kinds `so`, `obj` and `lib` need them), or if they are not ELF objects.
    """

    model: Model
    files: dict[str, tuple[Path, ...]]
    stack_bytes: int | None


def silent(_stage: str, _done: int = 0, _total: int = 0) -> None:
    """A progress callback that does nothing."""


def build(
    plan: Plan,
    name: str,
    kinds: Sequence[str],
    folder: Path,
    options: BuildOptions,
    progress: Progress = silent,
) -> BuildResult:
    """Write files of these kinds for a plan.

    `name` is a valid identifier, with which the names of the plan's kernels start. The bytes depend
    only on plan, name and options. Raises `EllcError`: E310 for an unknown kind, E311 if the target
    has no threads but `options` ask for them, E315 if it has no clock but `options` ask for
    counters, and the errors of compiler and linker.
    """
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise EllcError(
            f"cannot emit {', '.join(unknown)}", code="E310", hint=f"kinds: {', '.join(KINDS)}"
        )
    if options.threads > 1 and not plan.target.has_os:
        raise EllcError(
            f"target {plan.target.name!r} has no threads", code="E311", hint="use --threads 1"
        )
    if options.profile and plan.target.os == "wasm":
        raise EllcError(f"target {plan.target.name!r} has no clock for --profile", code="E315")
    with temporary_folder("build") as work:
        builder = _Builder(plan, name, folder, work, options, progress)
        files = {kind: builder.make(kind) for kind in dict.fromkeys(kinds)}
        return BuildResult(builder.model, files, builder.stack_bytes)


class _Builder:
    """Writes each kind of file. Objects that several kinds need are compiled once."""

    def __init__(
        self,
        plan: Plan,
        name: str,
        folder: Path,
        work: Path,
        options: BuildOptions,
        progress: Progress,
    ) -> None:
        self._plan, self._name, self._target = plan, name, plan.target
        self._folder, self._work = folder, work
        self._options, self._progress = options, progress
        self._include = (work, runtime_dir())
        self.model = make_model(plan, name, options.threads, profile=options.profile)
        self.stack_bytes: int | None = None

    def make(self, kind: str) -> tuple[Path, ...]:
        """Write the files of one kind."""
        match kind:
            case "so":
                return (self._shared(),)
            case "obj":
                return (self._delivered(self._merged(self._work / f"{self._name}.o")),)
            case "lib":
                return (self._archive(),)
            case "h":
                return (self._header,)
            case "c":
                from ellc.codegen.output.c_package import write_c_package

                return write_c_package(
                    self._plan,
                    self._name,
                    self._folder,
                    self._options.version,
                    self._options.threads,
                    profile=self._options.profile,
                )
            case "llvm":
                text = llvm_module(self._kernels, self._target)
                return (self._write("ll", text.encode()), *self._assembly_functions())
            case "bitcode":
                module = self._whole_module(EmitKind.BITCODE)
                return (self._write("bc", module), *self._assembly_functions())
            case _:
                module = self._whole_module(EmitKind.ASM)
                return (self._write("s", module), *self._assembly_functions())

    # --- files ----------------------------------------------------------------------------------

    def _shared(self) -> Path:
        suffix = self._target.shared_suffix
        prefix = "lib" if suffix in (".so", ".dylib") else ""
        out = self._work / f"{prefix}{self._name}{suffix}"
        objects = self._objects
        self._progress("linking", 0, 0)
        link.link_shared(
            objects,
            self.model.exports,
            out.name,
            self._target,
            out,
            needed=self._needed,
            strip=self._options.strip,
            tools=self._options.tools,
        )
        return self._delivered(out)

    def _merged(self, out: Path) -> Path:
        """One object that contains all others. In ELF, only the API's symbols are global in it."""
        objects = self._objects
        self._progress("linking", 0, 0)
        link.link_relocatable(objects, self._target, out, tools=self._options.tools)
        if self._target.object_format == "elf":
            localize(out, self.model.exports)
        return out

    def _archive(self) -> Path:
        out = self._work / f"lib{self._name}.a"
        if self._target.object_format == "coff":  # COFF objects cannot be merged
            link.archive(self._objects, self._target, out)
        else:
            link.archive([self._merged(self._work / f"{self._name}.o")], self._target, out)
        return self._delivered(out)

    def _delivered(self, file: Path) -> Path:
        """Move a finished file to the user's folder. Returns its new path.

        Compilers and linkers never see this path, so that no byte of the file depends on it.
        """
        return Path(shutil.move(file, self._folder / file.name))

    @cached_property
    def _header(self) -> Path:
        path = self._folder / f"{self._name}.h"
        path.write_text(
            header_text(self.model, self._options.version), encoding="utf-8", newline="\n"
        )
        return path

    def _assembly_functions(self) -> tuple[Path, ...]:
        """Write the assembly functions that kernels call, if any. LLVM's text lacks them."""
        text = assembly_text(self._kernels, self._target)
        return (self._write("functions.s", text.encode()),) if text else ()

    def _write(self, ending: str, data: bytes) -> Path:
        path = self._folder / f"{self._name}.{ending}"
        path.write_bytes(data)
        return path

    # --- parts ----------------------------------------------------------------------------------

    @cached_property
    def _kernels(self) -> list[Kernel]:
        return plan_kernels(self._plan)

    @cached_property
    def _objects(self) -> list[Path]:
        """Every object of the network, in link order."""
        kernels, kernel_stack = self._kernel_objects()
        glue = self._glue_source()
        parts = [*kernels, self._c_object(glue)]
        stacks = [kernel_stack, self._c_stack(glue, _GLUE_DEPTH, self._include)]
        if self._options.threads > 1:
            parts.append(self._runtime_object("ellc_pool"))
            stacks.append(self._c_stack(runtime_dir() / "ellc_pool.c", _POOL_DEPTH, (), keep=True))
        if self._options.profile:
            parts.append(self._runtime_object("ellc_clock"))
        if self._target.calls_runtime:
            stacks.append(_RUNTIME_STACK_BYTES)
        if self._target.object_format == "elf":
            self.stack_bytes = sum(stacks)
        if self.model.weight_bytes:
            parts.append(self._weights_object())
        return parts

    def _kernel_objects(self) -> tuple[list[Path], int]:
        """(objects of the kernels, bytes of stack that the deepest call of a kernel takes)."""
        self._progress("compiling kernels", 0, 0)
        paths: list[Path] = []
        largest_frame = largest_function = 0
        for index, compiled in enumerate(compile_kernels(self._kernels, self._target)):
            paths.append(self._work / f"kernels{index:03d}.o")
            paths[-1].write_bytes(compiled.data)
            largest_frame = max(largest_frame, *compiled.frame_bytes.values(), 0)
        for kernel in self._kernels:
            for _, function in assembly_functions(kernel):
                needed = stack_bytes(function, self._target) + self._return_address_bytes
                largest_function = max(largest_function, needed)
        frames = largest_frame + largest_function
        return paths, frames + self._return_address_bytes + self._alignment_bytes

    def _glue_source(self) -> Path:
        shutil.copyfile(self._header, self._work / self._header.name)
        source = self._work / f"{self._name}_api.c"
        source.write_text(
            source_text(self.model, self._options.version), encoding="utf-8", newline="\n"
        )
        return source

    def _c_object(self, source: Path) -> Path:
        out = self._work / f"{source.stem}.o"
        compile_c(source, self._target, self._include, out, self._options.tools)
        return out

    def _c_stack(
        self, source: Path, depth: int, include: Sequence[Path], *, keep: bool = False
    ) -> int:
        """The largest stack, in bytes, that a chain of `depth` calls within a C file can take."""
        frames = c_frames(source, self._target, include, self._work, keep=keep)[:depth]
        return sum(frames) + depth * self._return_address_bytes

    @property
    def _needed(self) -> tuple[str, ...]:
        """The system libraries whose functions the shared library calls."""
        pool = ("pthread", "kernel") if self._options.threads > 1 else ()
        return (*pool, "clock") if self._options.profile else pool

    def _runtime_object(self, name: str) -> Path:
        (data,) = compile_runtime([f"{name}.c"], self._target, tools=self._options.tools)
        out = self._work / f"{name}.o"
        out.write_bytes(data)
        return out

    def _weights_object(self) -> Path:
        self._progress("writing weights", 0, 0)
        out = self._work / "weights.o"
        pieces = weight_pieces(self.model.weights, self._target)
        elf.write_constants(out, f"{self._name}_weights", pieces, self._target)
        return out

    def _whole_module(self, emit: EmitKind) -> bytes:
        job = IrJob(self._name, llvm_module(self._kernels, self._target), emit)
        with LlvmPool(1) as pool:
            return pool.compile([job], self._target)[0]

    @property
    def _return_address_bytes(self) -> int:
        """The bytes that a call pushes; the frame of the called function does not include them."""
        return self._target.isa.return_address_bytes

    @property
    def _alignment_bytes(self) -> int:
        """The largest number of bytes by which alignment to whole vectors extends a frame."""
        return max(0, self._target.vector_bytes - self._target.isa.stack_align_bytes)

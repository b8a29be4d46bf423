"""Compiles a model into a folder of files for a board."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import get_args

from ellc import __version__
from ellc.check.weights_change import change_of_weights
from ellc.codegen.blocks.calls import CodeGoal, Options
from ellc.codegen.kir.llvm import llvm_module
from ellc.codegen.kir.text import print_kernel
from ellc.codegen.languages.names import valid_name
from ellc.codegen.machine.budgets import Budget, budgets
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.machine.target import Target
from ellc.codegen.output.build import KINDS, BuildOptions, BuildResult, build
from ellc.codegen.output.emit import plan_kernels
from ellc.codegen.output.package import library_folders
from ellc.codegen.output.package.adapters import adapter_name, write_adapter
from ellc.codegen.output.package.manifest import Costs, FlashUse, manifest, write_manifest
from ellc.codegen.output.package.texts import (
    Linkable,
    write_cmake,
    write_demo,
    write_ell_names,
    write_ell_package,
    write_js_module,
    write_labels,
    write_python_module,
)
from ellc.codegen.output.package.version import PackageVersion
from ellc.codegen.output.package.wheel import platform_tags, write_wheel
from ellc.codegen.planning.plan import Plan
from ellc.codegen.planning.plan_text import print_plan
from ellc.codegen.planning.threads import plan_for_threads
from ellc.codegen.toolchain.elf_reader import ElfFile
from ellc.codegen.toolchain.link import BUILT_IN, Tools
from ellc.debug import Watch, difference, seconds_table, unwatched
from ellc.fast_code import write_fast_code
from ellc.folders import replaced_folder
from ellc.inspect import weight_bytes
from ellc.ir.errors import EllcError
from ellc.ir.file_interface import FileInterface, Runtime
from ellc.ir.files import write_text
from ellc.ir.graph import LABELS_KEY, Graph
from ellc.ir.pipeline import PipelineOptions, default_groups, run_pipeline
from ellc.memory_use import arena_memories, memory_use
from ellc.models import DEFAULT_OPTIONS, ModelOptions, default_name, file_interface, read_model
from ellc.progress import Progress, silent
from ellc.tuning import tuned_kernels


@dataclass(frozen=True)
class CompileOptions:
    """Options of a compilation; some defaults depend on the target.

    `emit` lists kinds of files (`emit_kinds`); the header and the manifest are always written. If
    `threads` is None, a call uses as many threads as it can, at most one for each core
    (`planning.threads`). `kernels` are pairs of a layer and the kernel to use for it
    (`planning.choice`). `chains` is `depth_first` of `codegen.blocks.calls.Options`, and
    `max_ram_bytes` and `code` are those of the same names. `memories` has pairs (name, bytes) of a
    microcontroller's memories that the network may use; without any pairs, they are those of the
    board (`machine.budgets`). `tuning` is a file with the fastest
    kernels (`ellc.tuning`); with `shipped_tuning`, those of the file in ellc's package are used as
    well.
    `labels` are the names of an output's classes; they replace the names in the model. With
    `profile`, the compiled code measures the time of each step. `version` is the version of the
    package, for pip and CMake. `model` has the options for reading a model file; it has no effect
    if the source is a graph.
    """

    emit: tuple[str, ...] = ()
    threads: int | None = None
    name: str = ""
    strip: bool = False
    paranoid: bool = False
    optimize: bool = True
    dump_dir: Path | None = None
    tools: Tools = BUILT_IN
    kernels: tuple[tuple[str, str], ...] = ()
    chains: bool = True
    max_ram_bytes: int | None = None
    memories: tuple[tuple[str, int], ...] | None = None
    code: CodeGoal | None = None
    tuning: Path | None = None
    shipped_tuning: bool = True
    model: ModelOptions = DEFAULT_OPTIONS
    labels: tuple[str, ...] = ()
    profile: bool = False
    version: PackageVersion = field(default_factory=PackageVersion)


@dataclass(frozen=True)
class Artifact:
    """The result of a compilation: files, costs on the device, and seconds of each stage."""

    name: str
    folder: Path
    files: tuple[Path, ...]
    library: Path | None
    costs: Costs
    manifest: dict[str, object]
    notes: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The files' names in the folder."""
        return tuple(path.relative_to(self.folder).as_posix() for path in self.files)


def emit_kinds() -> dict[str, str]:
    """Every kind of file that `emit` can name, with a description."""
    return {
        **KINDS,
        "py": "Python module for the shared library, and adapter for the model's own runtime",
        "litert": "adapter for Python programs written for LiteRT (TensorFlow Lite)",
        "onnxruntime": "adapter for Python programs written for ONNX Runtime",
        "mjs": "JavaScript module for the WebAssembly module, with types for TypeScript",
        "wheel": "Python package with the shared library, for pip",
        "ell": "the functions of Microsoft's ELL, as C source; with py also its package",
        "cmake": "CMakeLists.txt",
        "demo": "demo.c, an application to start from",
        **library_folders.KINDS,
    }


def default_emit(target: Target) -> tuple[str, ...]:
    """The kinds of files that are written for a target by default."""
    match target.os:
        case "none":
            return ("lib", "obj", "ell", "cmake")
        case "wasm":
            return ("so", "mjs")
        case "windows":
            return ("so", "lib", "py", "ell", "cmake", "demo")
        case _:
            return ("so", "obj", "py", "ell", "cmake", "demo")


def compile_model(
    source: Path | Graph,
    target: Target | str,
    options: CompileOptions | None = None,
    out_dir: Path | None = None,
    progress: Progress = silent,
    watch: Watch = unwatched,
) -> Artifact:
    """Compile a model file or a graph for a target.

    The files are written to `out_dir`, by default a folder with the name of the target. If the
    folder can be renamed, all files appear at once (`ellc.folders`). After an error in the
    compilation the folder is unchanged. Other files in the folder are kept. `watch` is called for
    each level, with a function that makes the level's text (`ellc.debug`). Raises `EllcError`,
    which lists all problems that the failing stage found.
    """
    chosen = options or CompileOptions()
    row = resolve(target) if isinstance(target, str) else target
    kinds = _checked_kinds(chosen.emit or default_emit(row))
    folder = out_dir or Path(row.name)
    clock = _Clock(progress)
    with clock.stage("reading the model"):
        graph = source if isinstance(source, Graph) else read_model(source, chosen.model)
        graph = _labelled(graph, chosen.labels)
    by_default = source.name if isinstance(source, Graph) else default_name(source)
    name = valid_name(chosen.name or by_default)
    file = None if isinstance(source, Graph) else _interface(source, chosen, kinds)
    plan = _planned(graph, row, chosen, name, clock, watch)
    document_name, needed = f"{name}.json", sum(w.bytes for w, _ in plan.weights)
    with replaced_folder(folder, document_name, needed_bytes=needed) as new_folder:
        files, built, costs = _write(plan, name, kinds, chosen, new_folder, clock, file)
        costs = _with_flash_use(costs, graph, plan)
        document = manifest(
            plan, built.model, costs, __version__, new_folder, files, chosen.version
        )
        files.append(new_folder / document_name)
        write_manifest(files[-1], document)
        if "wheel" in kinds:
            files.append(_wheel(built, new_folder, row, files, chosen.version))
        final = sorted(folder / path.relative_to(new_folder) for path in files)
    library = built.files.get("so", (None,))[0]
    watch("time", lambda: seconds_table(clock.seconds))
    notes = tuple(v for k, v in graph.metadata.items() if k.startswith("note.")) + plan.notes
    return Artifact(
        name,
        folder,
        tuple(final),
        folder / library.name if library else None,
        costs,
        document,
        notes,
        clock.seconds,
    )


_PYTHON: tuple[str, ...] = ("py", "wheel", *get_args(Runtime))


def _interface(
    source: Path, options: CompileOptions, kinds: tuple[str, ...]
) -> FileInterface | None:
    """The interface that the model's file declares, if the Python module or an adapter needs it."""
    return file_interface(source, options.model) if {*_PYTHON} & {*kinds} else None


def _labelled(graph: Graph, labels: tuple[str, ...]) -> Graph:
    """Add class names to a graph; raise E709 if no output has as many classes as names."""
    if not labels:
        return graph
    shapes = [graph.types[port.value].shape for port in graph.outputs]
    if not any(len(labels) == math.prod(shape) == max(shape, default=1) for shape in shapes):
        outputs = ", ".join(map(str, shapes))
        raise EllcError(
            f"the number of labels is {len(labels)}, but no output has as many classes; shapes "
            f"of the outputs: {outputs}",
            code="E709",
            hint="give one name per line, in the order of the classes",
        )
    return replace(graph, metadata={**graph.metadata, LABELS_KEY: "\n".join(labels)})


class _Clock:
    """Reports the current stage of a compilation and records the time of each stage."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, what: str) -> Iterator[None]:
        self.progress(what, 0, 0)
        start = time.perf_counter()
        yield
        self.seconds[what] = time.perf_counter() - start


def _checked_kinds(kinds: tuple[str, ...]) -> tuple[str, ...]:
    unknown = [kind for kind in kinds if kind not in emit_kinds()]
    if unknown:
        raise EllcError(
            f"cannot emit {', '.join(unknown)}",
            code="E310",
            hint=f"kinds: {', '.join(emit_kinds())}",
        )
    return tuple(dict.fromkeys(kinds))


def _planned(
    graph: Graph,
    target: Target,
    options: CompileOptions,
    name: str,
    clock: _Clock,
    watch: Watch,
) -> Plan:
    def passed(name: str, before: Graph, after: Graph) -> None:
        watch("passes", lambda: difference(name, before, after))

    with clock.stage("passes"):
        ready, report = run_pipeline(
            graph,
            default_groups(PipelineOptions(optimize=options.optimize)),
            dump_dir=options.dump_dir,
            paranoid=options.paranoid,
            watch=passed,
        )
    watch("time", report.table)
    with clock.stage("planning"):
        chosen = Options(
            kernels=options.kernels,
            depth_first=options.chains,
            max_ram_bytes=options.max_ram_bytes,
            memories=arena_memories(budgets(target, options.memories)),
            code=options.code,
        )
        tuned, notes = tuned_kernels(options.tuning, target, shipped=options.shipped_tuning)
        plan = plan_for_threads(ready, target, chosen, name, tuned, threads=options.threads)
        plan = replace(plan, notes=(*notes, *plan.notes))
    if plan.graph.constants != ready.constants:
        with clock.stage("accuracy"):
            change = change_of_weights(graph, plan.graph, seeds=1)
        plan = replace(plan, notes=(*plan.notes, str(change)))
    watch("plan", lambda: print_plan(plan))
    watch("kernels", lambda: "\n".join(map(print_kernel, plan_kernels(plan))))
    if options.dump_dir is not None:
        write_text(options.dump_dir / f"{name}.ll", llvm_module(plan_kernels(plan), target))
    return plan


def _write(
    plan: Plan,
    name: str,
    kinds: tuple[str, ...],
    options: CompileOptions,
    folder: Path,
    clock: _Clock,
    file: FileInterface | None,
) -> tuple[list[Path], BuildResult, Costs]:
    """Write all files except the manifest and the wheel."""
    coded = tuple(kind for kind in kinds if kind in KINDS)
    chosen = BuildOptions(
        __version__, plan.options.threads, options.strip, options.tools, options.profile
    )
    with clock.stage("code"):
        built = build(plan, name, ("h", *coded), folder, chosen, clock.progress)
    files = [path for paths in built.files.values() for path in paths]
    if built.model.labels:
        files.append(write_labels(built.model, __version__, folder))
    with clock.stage("package"):
        files += _package(built, kinds, folder, plan.target, file, options.version)
        for kind in (kind for kind in kinds if kind in library_folders.KINDS):
            files += library_folders.write_library_folder(
                kind, plan, built.model, __version__, folder, options.version
            )
    allowed = budgets(plan.target, options.memories)
    fast = write_fast_code(plan, built, allowed, folder)
    files += [fast[0]] if fast else []
    costs = _costs(plan, built, allowed, fast[1] if fast else None)
    return list(dict.fromkeys(files)), built, costs


def _package(
    built: BuildResult,
    kinds: tuple[str, ...],
    folder: Path,
    target: Target,
    file: FileInterface | None,
    own: PackageVersion,
) -> list[Path]:
    model, files = built.model, []
    # A program is linked with the DLL's import library, not with the DLL itself.
    order = ("lib", "c") if target.os == "windows" else ("so", "obj", "lib", "c")
    linkable = next((kind for kind in order if kind in built.files), None)
    if {*_PYTHON} & {*kinds}:
        platform_tags(target)  # raises E313 for a target without Python
        files += _python(built, kinds, folder, file, own)
    if "mjs" in kinds:
        files += _javascript(built, target)
    if "ell" in kinds or "cmake" in kinds:
        files += write_ell_names(model, __version__, folder)
    if {"ell", "py"} <= {*kinds}:
        files += write_ell_package(model, __version__, folder)
    if "demo" in kinds:
        files += write_demo(model, __version__, folder)
    if "cmake" in kinds and linkable is not None:
        chosen, demo = _linkable(built, linkable, target), "demo" in kinds
        files += write_cmake(model, chosen, __version__, folder, own, demo=demo)
    return files


def _python(
    built: BuildResult,
    kinds: tuple[str, ...],
    folder: Path,
    file: FileInterface | None,
    own: PackageVersion,
) -> list[Path]:
    """The Python module, and the adapters that `emit` names or that suit the model's format."""
    if "so" not in built.files:
        asked = ",".join(kind for kind in kinds if kind in _PYTHON)
        raise EllcError(
            "the Python module needs the shared library", code="E312", hint=f"--emit so,{asked}"
        )
    library, usual = built.files["so"][0].name, file.runtime if file else None
    adapters = [
        write_adapter(built.model, file, runtime, __version__, folder)
        for runtime in get_args(Runtime)
        if runtime in kinds or runtime == usual
    ]
    return [write_python_module(built.model, library, __version__, folder, own), *adapters]


def _javascript(built: BuildResult, target: Target) -> tuple[Path, Path]:
    """The JavaScript module and its types."""
    if target.os != "wasm" or "so" not in built.files:
        raise EllcError(
            "the JavaScript module needs the WebAssembly module",
            code="E322",
            hint="--target wasm --emit so,mjs",
        )
    return write_js_module(built.model, __version__, built.files["so"][0].parent)


def _linkable(built: BuildResult, kind: str, target: Target) -> Linkable:
    """The files that CMakeLists.txt names; the CMake target NAME links the file of this `kind`."""
    files = built.files
    shared = files["so"][0] if "so" in files and target.os != "windows" else None
    static = next((files[k][0] for k in ("obj", "lib") if k in files), None)
    labels = [files["h"][0].with_name(f"{built.model.name}_labels.h")] if built.model.labels else []
    headers = (*files["h"], *labels)
    return Linkable(kind, shared, static, tuple(files.get("c", ())), headers)


def _wheel(
    built: BuildResult, folder: Path, target: Target, files: list[Path], own: PackageVersion
) -> Path:
    """Write a wheel with the package NAME, and beside it the adapters, which import NAME."""
    model, (library,) = built.model, built.files["so"]
    name = model.name
    adapters = {adapter_name(name, runtime) for runtime in get_args(Runtime)}
    inside = {
        f"{name}/__init__.py": folder / f"{name}.py",
        f"{name}/{library.name}": library,
        f"{name}/{name}.h": folder / f"{name}.h",
        f"{name}/{name}.json": folder / f"{name}.json",
        **{path.name: path for path in files if path.name in adapters},
    }
    version = own.text or f"{__version__}+m{model.hash[:12]}"
    return write_wheel(folder, name, version, target, inside)


def _costs(
    plan: Plan, built: BuildResult, allowed: Sequence[Budget], code_bytes: int | None
) -> Costs:
    """The memory that the network needs. Raises `EllcError` E319 if a memory is too small."""
    flash = None
    for kind in ("so", "obj"):
        if kind in built.files and plan.target.object_format == "elf":
            elf = ElfFile.read(built.files[kind][0])
            flash = elf.read_only_bytes() + elf.writable_bytes()
            break
    uses = memory_use(allowed, built.model, flash, built.stack_bytes, code_bytes)
    return Costs(flash, built.model.ram_bytes, built.stack_bytes, uses)


def _with_flash_use(costs: Costs, graph: Graph, plan: Plan) -> Costs:
    """The costs, with what the flash contains. `graph` is the imported graph."""
    if costs.flash_bytes is None:
        return costs
    weights = weight_bytes(graph)
    code = costs.flash_bytes - plan.weight_bytes
    return replace(costs, flash=FlashUse(weights, plan.weight_bytes - weights, code))

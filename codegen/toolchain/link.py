"""Objects to shared libraries, relocatable objects and archives, for every object format.

All of it is done by the linkers inside zig, straight, without a C library of the target: what ellc
generates calls none, and the few thread functions it may call are linked against empty stand-ins
made here. Users may name a linker of their own for ELF targets (GNU ld and lld take the same
options).
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ellc.codegen.machine.target import Target
from ellc.codegen.toolchain import elf, elf_reader, system_libraries, zig
from ellc.ir.errors import EllcError, InternalError
from ellc.ir.work_folders import temporary_folder


@dataclass(frozen=True, slots=True)
class Tools:
    """The user's own programs; empty means what comes with ellc."""

    cc: tuple[str, ...] = ()
    """C compiler for the target with its options: ("arm-linux-gnueabihf-gcc", "-mcpu=...")."""
    linker: tuple[str, ...] = ()
    """Linker with GNU ld's options, for ELF targets only."""


BUILT_IN = Tools()


def link_shared(
    objects: Sequence[Path],
    exports: Sequence[str],
    soname: str,
    target: Target,
    out: Path,
    *,
    needed: Sequence[str] = (),
    strip: bool = False,
    tools: Tools = BUILT_IN,
) -> None:
    """Link what an operating system (or a wasm engine) loads, at `out`.

    `exports` are the only symbols it shows, in C spelling; on macOS, where the linker takes no
    list, other symbols must be hidden in the objects. `soname` is the name by which it is
    loaded. `needed` names system libraries of `system_libraries.LIBRARIES` ("pthread") whose
    functions may be called; one that is not called leaves no trace. Local symbols stay for
    profilers unless `strip`.

    Raises `EllcError`: `E612` when the linker refuses (an undefined symbol above all), `E613` for a
    target without shared libraries or a user's linker where it cannot serve. Raises `InternalError`
    when an object does not define one of the exports.
    """
    if tools.linker and target.object_format != "elf":
        raise EllcError(
            f"--linker cannot make {target.shared_suffix} files",
            code="E613",
            hint="it serves ELF targets (Linux and bare metal); leave it out for this target",
        )
    with temporary_folder("link") as folder:
        step = _Step(list(objects), tuple(sorted(exports)), soname, target, out, folder, strip)
        match target.os:
            case "linux":
                _shared_elf(step, needed, tools)
            case "windows":
                _shared_windows(step, needed)
            case "macos":
                _shared_macos(step)
            case "wasm":
                _wasm_module(step)
            case _:
                raise EllcError(
                    f"target {target.name!r} has no operating system to load a shared library",
                    code="E613",
                    hint="make an object or an archive for it: --emit obj or --emit lib",
                )


def link_relocatable(
    objects: Sequence[Path], target: Target, out: Path, *, tools: Tools = BUILT_IN
) -> None:
    """Merge the objects into one that a later link takes like any other (`ld -r`).

    Raises `EllcError`: `E612` when the linker refuses, `E613` for Windows, whose linkers cannot
    merge.
    """
    match target.object_format:
        case "elf":
            words = [*_ld(target, tools), "-r", "-o", str(out), *map(str, objects)]
            _run(words, f"merging objects into {out.name}", tools)
        case "wasm":
            words = ["wasm-ld", "-r", "-o", str(out), *map(str, objects)]
            _run(words, f"merging objects into {out.name}", BUILT_IN)
        case "macho":
            words = ["cc", "-r", "-nostdlib", "-target", target.c_target, "-o", str(out)]
            _run([*words, *map(str, objects)], f"merging objects into {out.name}", BUILT_IN)
        case _:
            raise EllcError(
                "Windows linkers cannot merge objects into one",
                code="E613",
                hint="make an archive instead: --emit lib",
            )


def archive(objects: Sequence[Path], target: Target, out: Path) -> None:
    """Put the objects into a static library. Raises `EllcError` (`E612`) when that fails."""
    out.unlink(missing_ok=True)  # `ar` would add to one that exists
    style = "darwin" if target.object_format == "macho" else "gnu"
    words = ["ar", f"--format={style}", "rcsD", str(out), *map(str, objects)]
    _run(words, f"making the archive {out.name}", BUILT_IN)


@dataclass(frozen=True, slots=True)
class _Step:
    """One link: what goes in, what comes out, and a folder for what is only needed meanwhile."""

    objects: list[Path]
    exports: tuple[str, ...]
    soname: str
    target: Target
    out: Path
    folder: Path
    strip: bool

    def file(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(text, encoding="ascii")
        return str(path)

    @property
    def what(self) -> str:
        return f"linking {self.out.name} for target {self.target.name!r}"


def _run(words: Sequence[str], what: str, tools: Tools) -> None:
    """Run a linker: the user's (`words` starts with it) or one of zig's (`words` is its
    arguments)."""
    if tools.linker:
        zig.run_tool(words, what=what, code="E612")
    else:
        zig.run(words, what=what, code="E612")


def _ld(target: Target, tools: Tools) -> list[str]:
    return [*(tools.linker or ("ld.lld",)), "-m", target.lld_emulation]


def _shared_elf(step: _Step, needed: Sequence[str], tools: Tools) -> None:
    shown = " ".join(f"{name};" for name in step.exports)
    words = [
        *_ld(step.target, tools),
        "-shared",
        *("-soname", step.soname),
        "--build-id=none",
        # glibc and musl both read the GNU hash table; the old one would only add bytes.
        "--hash-style=gnu",
        "--gc-sections",
        "--no-undefined",
        # Its own functions call each other directly and cannot be replaced from outside.
        "-Bsymbolic",
        *("-z", "now", "-z", "relro", "-z", "noexecstack", "-z", "text"),
        *_page_size(step.target),
        *(["-s"] if step.strip else []),
        "--version-script",
        step.file("exports.map", f"{{ global: {shown} local: *; }};\n"),
        *("-o", str(step.out)),
        *map(str, step.objects),
        "--as-needed",
        *(str(_stand_in(step, name, tools)) for name in needed),
    ]
    _run(words, step.what, tools)
    missing = sorted(set(step.exports) - set(elf_reader.ElfFile.read(step.out).exported))
    if missing:
        # A version script keeps quiet about names that do not exist or are hidden in the objects.
        raise InternalError(f"{step.what}: these cannot be exported: {', '.join(missing)}")


def _page_size(target: Target) -> list[str]:
    """Alignment of the loaded parts, where it is not the linker's own."""
    page_bytes = target.isa.elf_page_bytes
    return ["-z", f"max-page-size={page_bytes}"] if page_bytes else []


def _stand_in(step: _Step, library: str, tools: Tools) -> Path:
    """Make an empty shared library with the name, the functions and the versions of a system
    library.

    Why not link without: a library that calls `pthread_create` but names no library that has it
    loads only into programs that happen to have one, which before glibc 2.34 is not every program.
    Why not the target's own: it is not here. The versions matter on x86-64, where an unversioned
    reference to `pthread_cond_wait` binds to the incompatible one of 2002. At run time glibc loads
    its real `libpthread.so.0` (since 2.34 an empty file kept for exactly this) and musl takes every
    `libpthread.*` for itself and ignores versions.
    """
    described = system_libraries.LIBRARIES[library]
    versions = described.versions(step.target.arch)
    empty = step.folder / f"{library}.o"
    elf.write_constants(empty, f"ellc_stand_in_{library}", [], step.target)
    script = "".join(
        f"{version} {{ global: {' '.join(f'{name};' for name in names)} }};\n"
        for version, names in versions.items()
    )
    out = step.folder / f"lib{library}.so"
    words = [
        *_ld(step.target, tools),
        "-shared",
        *("-soname", described.elf_soname),
        "--version-script",
        step.file(f"{library}.map", script),
        *(f"--defsym={name}=0" for names in versions.values() for name in names),
        *("-o", str(out), str(empty)),
    ]
    _run(words, f"making a stand-in of {described.elf_soname}", tools)
    return out


def _shared_windows(step: _Step, needed: Sequence[str]) -> None:
    """Link a DLL without a C runtime: no entry point, and imports by name only."""
    exports = "".join(f"  {name}\n" for name in step.exports)
    listed = step.file("exports.def", f"LIBRARY {step.soname}\nEXPORTS\n{exports}")
    imports = []
    for name in needed:
        library = system_libraries.LIBRARIES[name]
        functions = "".join(f"  {function}\n" for function in library.windows_functions)
        source = step.file(f"{name}.def", f"LIBRARY {library.windows_dll}\nEXPORTS\n{functions}")
        made = str(step.folder / f"{name}.lib")
        _run(
            ["dlltool", "-m", "i386:x86-64", "-d", source, "-l", made],
            f"making the import library of {library.windows_dll}",
            BUILT_IN,
        )
        imports.append(made)
    words = [
        *("lld-link", "/dll", "/noentry", "/nodefaultlib", "/opt:ref"),
        "/Brepro",  # a hash of the contents where the time would be
        f"/def:{listed}",
        f"/implib:{step.folder / 'import.lib'}",
        f"/out:{step.out}",
        *map(str, step.objects),
        str(_stack_probe(step)),
        *imports,
    ]
    _run(words, step.what, BUILT_IN)


_STACK_PROBE = """
.section .text$chkstk,"xr",one_only,___chkstk_ms
.globl ___chkstk_ms
___chkstk_ms:
  pushq %rcx
  pushq %rax
  leaq 24(%rsp), %rcx
1:
  cmpq $4096, %rax
  jb 2f
  subq $4096, %rcx
  orl $0, (%rcx)
  subq $4096, %rax
  jmp 1b
2:
  subq %rax, %rcx
  orl $0, (%rcx)
  popq %rax
  popq %rcx
  ret
"""
"""What LLVM calls on Windows before it takes more than a page of stack: touches each page
downwards, because Windows grows a stack by one guard page at a time. rax holds the bytes; all
registers are kept."""


def _stack_probe(step: _Step) -> Path:
    source = step.file("chkstk.s", _STACK_PROBE)
    out = step.folder / "chkstk.o"
    words = ["cc", "-c", "-target", step.target.c_target, source, "-o", str(out)]
    _run(words, "assembling the stack probe", BUILT_IN)
    return out


def _shared_macos(step: _Step) -> None:
    # The name of the output goes into the code signature, so it is linked under its own name.
    made = step.folder / step.out.name
    words = [
        *("cc", "-shared", "-nostdlib", "-target", step.target.c_target),
        f"-Wl,-install_name,@rpath/{step.soname}",
        *(["-s"] if step.strip else []),
        *("-o", str(made)),
        *map(str, step.objects),
    ]
    _run(words, step.what, BUILT_IN)
    shutil.copyfile(made, step.out)


def _wasm_module(step: _Step) -> None:
    words = [
        *("wasm-ld", "--no-entry", "--gc-sections", "--stack-first", "-z", "stack-size=65536"),
        "--strip-all" if step.strip else "--strip-debug",
        *(f"--export={name}" for name in step.exports),
        *("-o", str(step.out)),
        *map(str, step.objects),
    ]
    _run(words, step.what, BUILT_IN)

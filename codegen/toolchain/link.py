"""Links objects to shared libraries, relocatable objects and archives, for every object format.

The linkers inside zig are called directly. They need no C library of the target: generated code
calls only a few system functions, for which this module makes stub libraries. For ELF targets,
users may name their own linker; GNU ld and lld take the same options.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ellc.codegen.machine.target import Target
from ellc.codegen.toolchain import elf, elf_reader, system_libraries, zig
from ellc.codegen.toolchain.system_libraries import SystemLibrary
from ellc.ir.errors import EllcError, InternalError
from ellc.ir.work_folders import temporary_folder


@dataclass(frozen=True, slots=True)
class Tools:
    """The user's own tools. An empty field means the tool that comes with ellc."""

    cc: tuple[str, ...] = ()
    """A C compiler for the target, with options: ("arm-linux-gnueabihf-gcc", "-mcpu=...")."""
    linker: tuple[str, ...] = ()
    """A linker that takes the options of GNU ld, for ELF targets only."""


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
    """Link the shared library `out`, which an operating system or a WebAssembly engine loads.

    It exports only the symbols `exports`, which are named as in C. On macOS, the linker does not
    get this list, and all other symbols must be hidden in the objects. `soname` is the name by
    which the library is loaded. `needed` names system libraries of `system_libraries.LIBRARIES`
    ("pthread") whose functions may be called; the file records only those that are used. Local
    symbols are kept for profilers unless `strip`.

    Raises `EllcError`: E612 if the linker fails, most often for an undefined symbol; E613 if the
    target has no shared libraries, or if `tools` has a linker and the target is not ELF. Raises
    `InternalError` if the library for Linux lacks one of the exports.
    """
    if tools.linker and target.object_format != "elf":
        raise EllcError(
            f"--linker cannot make {target.shared_suffix} files",
            code="E613",
            hint="use --linker only for ELF targets (Linux and bare metal)",
        )
    with temporary_folder("link") as folder:
        link = _Link(list(objects), tuple(sorted(exports)), soname, target, out, folder, strip)
        match target.os:
            case "linux":
                _shared_elf(link, needed, tools)
            case "windows":
                _shared_windows(link, needed)
            case "macos":
                _shared_macos(link)
            case "wasm":
                _wasm_module(link)
            case _:
                raise EllcError(
                    f"target {target.name!r} has no operating system to load a shared library",
                    code="E613",
                    hint="make an object or an archive for it: --emit obj or --emit lib",
                )


def link_relocatable(
    objects: Sequence[Path], target: Target, out: Path, *, tools: Tools = BUILT_IN
) -> None:
    """Merge the objects into one relocatable object (`ld -r`).

    Raises `EllcError`: E612 if the linker fails, E613 for Windows, whose linkers cannot do this.
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
    """Make a static library of the objects. Raises `EllcError` (E612) if that fails."""
    out.unlink(missing_ok=True)  # `ar` would add to an existing file
    style = "darwin" if target.object_format == "macho" else "gnu"
    words = ["ar", f"--format={style}", "rcsD", str(out), *map(str, objects)]
    _run(words, f"making the archive {out.name}", BUILT_IN)


@dataclass(frozen=True, slots=True)
class _Link:
    """The inputs and the output of one link, and a folder for temporary files."""

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
    """Run `words`: the command of the user's linker, or arguments of zig (`ar`, `ld.lld`, ...)."""
    if tools.linker:
        zig.run_tool(words, what=what, code="E612")
    else:
        zig.run(words, what=what, code="E612")


def _ld(target: Target, tools: Tools) -> list[str]:
    return [*(tools.linker or ("ld.lld",)), "-m", target.lld_emulation]


def _shared_elf(link: _Link, needed: Sequence[str], tools: Tools) -> None:
    names = " ".join(f"{name};" for name in link.exports)
    words = [
        *_ld(link.target, tools),
        "-shared",
        *("-soname", link.soname),
        "--build-id=none",
        # glibc and musl both use the GNU hash table. The old hash table would only add bytes.
        "--hash-style=gnu",
        "--gc-sections",
        "--no-undefined",
        # Functions of the library call each other directly; other libraries cannot replace them.
        "-Bsymbolic",
        *("-z", "now", "-z", "relro", "-z", "noexecstack", "-z", "text"),
        *_page_size(link.target),
        *(["-s"] if link.strip else []),
        "--version-script",
        link.file("exports.map", f"{{ global: {names} local: *; }};\n"),
        *("-o", str(link.out)),
        *map(str, link.objects),
        "--as-needed",
        *(str(_stub(link, library, tools)) for library in system_libraries.elf_libraries(needed)),
    ]
    _run(words, link.what, tools)
    missing = sorted(set(link.exports) - set(elf_reader.ElfFile.read(link.out).exported))
    if missing:
        # The linker ignores names in a version script that are hidden, or that no object defines.
        raise InternalError(f"{link.what}: cannot export {', '.join(missing)}")


def _page_size(target: Target) -> list[str]:
    """The option for the alignment of loaded segments; empty for the linker's default."""
    page_bytes = target.isa.elf_page_bytes
    return ["-z", f"max-page-size={page_bytes}"] if page_bytes else []


def _stub(link: _Link, described: SystemLibrary, tools: Tools) -> Path:
    """Make a stub of a system library: a library with its name, functions and symbol versions.

    The target's own library is not available here. Without a stub, the linked library would not
    record which library defines `pthread_create`, and could be loaded only by programs that
    themselves load that library. Before glibc 2.34, not all programs did.

    The symbol versions matter on x86-64. There, a reference to `pthread_cond_wait` without a
    version binds to the incompatible function of glibc 2.2.5.

    At run time, glibc loads the real `libpthread.so.0`, which has been an empty file since version
    2.34. musl contains these functions itself: it ignores the versions, and loads no file for names
    such as `libpthread.so.0`.
    """
    versions = described.versions(link.target.arch)
    library = described.elf_soname.partition(".")[0]
    empty = link.folder / f"{library}.o"
    elf.write_constants(empty, f"ellc_stub_{library}", [], link.target)
    script = "".join(
        f"{version} {{ global: {' '.join(f'{name};' for name in names)} }};\n"
        for version, names in versions.items()
    )
    out = link.folder / f"{library}.so"
    words = [
        *_ld(link.target, tools),
        "-shared",
        *("-soname", described.elf_soname),
        "--version-script",
        link.file(f"{library}.map", script),
        *(f"--defsym={name}=0" for names in versions.values() for name in names),
        *("-o", str(out), str(empty)),
    ]
    _run(words, f"making a stub of {described.elf_soname}", tools)
    return out


def _shared_windows(link: _Link, needed: Sequence[str]) -> None:
    """Link a DLL without a C runtime. It has no entry point, and imports functions by name."""
    exports = "".join(f"  {name}\n" for name in link.exports)
    listed = link.file("exports.def", f"LIBRARY {link.soname}\nEXPORTS\n{exports}")
    imports = []
    for name in needed:
        library = system_libraries.LIBRARIES[name]
        if not library.windows_functions:
            continue
        functions = "".join(f"  {function}\n" for function in library.windows_functions)
        source = link.file(f"{name}.def", f"LIBRARY {library.windows_dll}\nEXPORTS\n{functions}")
        import_library = str(link.folder / f"{name}.lib")
        _run(
            ["dlltool", "-m", "i386:x86-64", "-d", source, "-l", import_library],
            f"making the import library of {library.windows_dll}",
            BUILT_IN,
        )
        imports.append(import_library)
    words = [
        *("lld-link", "/dll", "/noentry", "/nodefaultlib", "/opt:ref"),
        "/Brepro",  # records a hash of the contents instead of the time
        f"/def:{listed}",
        f"/implib:{link.folder / 'import.lib'}",
        f"/out:{link.out}",
        *map(str, link.objects),
        str(_stack_probe(link)),
        *imports,
    ]
    _run(words, link.what, BUILT_IN)


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
"""LLVM's code for Windows calls this at the start of a function that needs a page of stack or more.
The probe touches every page from the top down, because Windows extends a stack by one guard page at
a time. rax holds the number of bytes. All registers are preserved."""


def _stack_probe(link: _Link) -> Path:
    source = link.file("chkstk.s", _STACK_PROBE)
    out = link.folder / "chkstk.o"
    words = ["cc", "-c", "-target", link.target.c_target, source, "-o", str(out)]
    _run(words, "assembling the stack probe", BUILT_IN)
    return out


def _shared_macos(link: _Link) -> None:
    # The code signature contains the name of the output, so the file is linked under its final
    # name.
    linked = link.folder / link.out.name
    words = [
        *("cc", "-shared", "-nostdlib", "-target", link.target.c_target),
        f"-Wl,-install_name,@rpath/{link.soname}",
        *(["-s"] if link.strip else []),
        *("-o", str(linked)),
        *map(str, link.objects),
    ]
    _run(words, link.what, BUILT_IN)
    shutil.copyfile(linked, link.out)


def _wasm_module(link: _Link) -> None:
    words = [
        *("wasm-ld", "--no-entry", "--gc-sections", "--stack-first", "-z", "stack-size=65536"),
        "--strip-all" if link.strip else "--strip-debug",
        *(f"--export={name}" for name in link.exports),
        *("-o", str(link.out)),
        *map(str, link.objects),
    ]
    _run(words, link.what, BUILT_IN)

"""Linking: every target gets the kind of file of its system, without unintended content."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from ellc.codegen.machine.resolve import fixed_targets, resolve
from ellc.codegen.machine.target import Target
from ellc.codegen.measure.testing import of_libraries
from ellc.codegen.toolchain import elf, link, zig
from ellc.codegen.toolchain.elf_reader import ElfFile
from ellc.codegen.toolchain.link import Tools
from ellc.codegen.toolchain.llvm import IrJob, LlvmPool
from ellc.ir.errors import EllcError, InternalError
from tests.toolchain.toolchain_samples import API, AXPY, WITH_THREADS, WITH_WEIGHTS

ROWS = (resolve("host"), *fixed_targets())
ELF_LINUX = tuple(row for row in ROWS if row.os == "linux")
WEIGHTS = np.arange(16, dtype=np.float32) * 1.5


@pytest.fixture(scope="module")
def pool() -> Iterator[LlvmPool]:
    with LlvmPool(2) as made:
        yield made


@pytest.fixture
def objects(pool: LlvmPool, tmp_path: Path) -> Callable[[Target], list[Path]]:
    """A function that compiles the code and the weights of the sample model for a target."""

    def make(row: Target) -> list[Path]:
        code, weights = tmp_path / "code.o", tmp_path / "weights.o"
        code.write_bytes(pool.compile([IrJob("model", WITH_WEIGHTS)], row)[0])
        elf.write_constants(weights, "nn_weights", [elf.Piece(64, WEIGHTS)], row)
        return [code, weights]

    return make


def build(row: Target, objects: list[Path], out: Path, **options: bool) -> None:
    link.link_shared(objects, API, "libnn.so.1", row, out, **options)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_target_links(row: Target, objects: Callable[[Target], list[Path]]) -> None:
    files = objects(row)
    folder = files[0].parent
    out = folder / f"libnn{row.shared_suffix}"
    if row.os == "none":
        with pytest.raises(EllcError, match="no operating system") as caught:
            build(row, files, out)
        assert caught.value.code == "E613"
        link.archive(files, row, out)
        assert out.read_bytes().startswith(b"!<arch>\n")
    else:
        build(row, files, out)
    magic = {"linux": b"\x7fELF", "macos": b"\xcf\xfa\xed\xfe", "windows": b"MZ", "wasm": b"\0asm"}
    assert out.read_bytes().startswith(magic.get(row.os, b"!<arch>\n"))
    again = folder / "elsewhere" / out.name
    again.parent.mkdir()
    moved = [Path(shutil.copy(file, again.parent)) for file in files]
    link.archive(moved, row, again) if row.os == "none" else build(row, moved, again)
    assert again.read_bytes() == out.read_bytes()


@pytest.mark.parametrize("row", ELF_LINUX, ids=lambda row: row.name)
def test_shared_library_is_clean(row: Target, objects: Callable[[Target], list[Path]]) -> None:
    files = objects(row)
    out = files[0].with_name("libnn.so")
    build(row, files, out)
    made = ElfFile.read(out)
    assert made.machine == row.elf_machine
    assert made.exported == API
    assert made.undefined == () and made.needed == ()
    assert made.soname == "libnn.so.1"
    assert not made.has_text_relocations and not made.has_executable_stack
    pages = 65536 if row.arch == "aarch64" else 4096
    assert {segment.align for segment in made.loaded} == {pages}
    assert "inner" in {s.name for s in made.symbols if s.is_local and s.is_function}
    build(row, files, out, strip=True)
    assert ElfFile.read(out).symbols == ()


def test_weights_are_read_back_on_the_host(objects: Callable[[Target], list[Path]]) -> None:
    host = resolve("host")
    files = objects(host)
    out = files[0].with_name("libnn.so")
    build(host, files, out)
    library = ctypes.CDLL(str(out))
    library.weight.restype = ctypes.c_float
    assert [library.weight(i) for i in range(16)] == WEIGHTS.tolist()


@pytest.mark.parametrize("row", ELF_LINUX, ids=lambda row: row.name)
def test_undefined_symbol_is_an_error(row: Target, pool: LlvmPool, tmp_path: Path) -> None:
    code = tmp_path / "code.o"
    code.write_bytes(pool.compile([IrJob("threads", WITH_THREADS)], row)[0])
    with pytest.raises(EllcError, match="undefined symbol: pthread_mutex_lock") as caught:
        link.link_shared([code], ["wait"], "libx.so", row, tmp_path / "libx.so")
    assert caught.value.code == "E612"
    assert not (tmp_path / "libx.so").exists()


@pytest.mark.parametrize("row", ELF_LINUX, ids=lambda row: row.name)
def test_thread_functions_name_their_library(row: Target, pool: LlvmPool, tmp_path: Path) -> None:
    code, out = tmp_path / "code.o", tmp_path / "libx.so"
    code.write_bytes(pool.compile([IrJob("threads", WITH_THREADS)], row)[0])
    link.link_shared([code], ["wait"], "libx.so", row, out, needed=["pthread"])
    made = ElfFile.read(out)
    assert made.needed == ("libpthread.so.0",)
    assert made.undefined == ("pthread_cond_wait", "pthread_mutex_lock")
    if row.arch == "x86_64":
        assert b"GLIBC_2.3.2\0" in out.read_bytes()
    code.write_bytes(pool.compile([IrJob("plain", AXPY)], row)[0])
    link.link_shared([code], ["axpy"], "libx.so", row, out, needed=["pthread"])
    assert ElfFile.read(out).needed == ()


def test_thread_functions_bind_on_the_host(pool: LlvmPool, tmp_path: Path) -> None:
    host = resolve("host")
    code, out = tmp_path / "code.o", tmp_path / "libx.so"
    code.write_bytes(pool.compile([IrJob("threads", WITH_THREADS)], host)[0])
    link.link_shared([code], ["wait"], "libx.so", host, out, needed=["pthread"])
    # With RTLD_NOW, loading fails if a symbol is missing.
    assert ctypes.CDLL(str(out), mode=2).wait


MERGING = tuple(row for row in ROWS if row.object_format != "coff")


@pytest.mark.parametrize("row", MERGING, ids=lambda row: row.name)
def test_merged_object_links_like_its_parts(
    row: Target, objects: Callable[[Target], list[Path]]
) -> None:
    files = objects(row)
    merged = files[0].with_name("nn.o")
    link.link_relocatable(files, row, merged)
    if row.object_format == "elf":
        made = ElfFile.read(merged)
        assert of_libraries(made.undefined, row) == set()
        data = next(s for s in made.sections if s.name.startswith(".rodata"))
        assert data.align == 64
    if row.has_os:
        build(row, [merged], files[0].with_name("libnn"))


def test_windows_cannot_merge(objects: Callable[[Target], list[Path]]) -> None:
    windows = resolve("windows")
    files = objects(windows)
    with pytest.raises(EllcError, match="cannot merge"):
        link.link_relocatable(files, windows, files[0].with_name("nn.o"))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_archive_holds_all_and_is_made_anew(
    row: Target, objects: Callable[[Target], list[Path]]
) -> None:
    files = objects(row)
    out = files[0].with_name("libnn.a")
    out.write_text("not an archive")
    link.archive(files, row, out)
    first = out.read_bytes()
    link.archive(files, row, out)
    assert out.read_bytes() == first
    assert b"code.o" in first and b"weights.o" in first


def test_large_windows_frame_finds_its_probe(pool: LlvmPool, tmp_path: Path) -> None:
    text = (
        "define void @deep(ptr %out) nounwind {\n  %a = alloca [9000 x i8], align 64\n"
        '  call void asm sideeffect "", "r,~{memory}"(ptr %a)\n  ret void\n}\n'
    )
    windows = resolve("windows")
    code, out = tmp_path / "code.o", tmp_path / "x.dll"
    code.write_bytes(pool.compile([IrJob("deep", text)], windows)[0])
    assert b"chkstk" in code.read_bytes()
    link.link_shared([code], ["deep"], "x.dll", windows, out)
    assert b"deep\0" in out.read_bytes()


@pytest.mark.skipif(shutil.which("ld") is None, reason="no ld")
def test_users_linker(objects: Callable[[Target], list[Path]]) -> None:
    host = resolve("host")
    files = objects(host)
    out, merged = files[0].with_name("libnn.so"), files[0].with_name("nn.o")
    tools = Tools(linker=("ld",))
    link.link_shared(files, API, "libnn.so.1", host, out, needed=["pthread"], tools=tools)
    made = ElfFile.read(out)
    assert made.exported == API and made.undefined == () and b"LLD" not in out.read_bytes()
    link.link_relocatable(files, host, merged, tools=tools)
    assert b"LLD" not in merged.read_bytes()


def test_users_linker_that_does_not_exist(objects: Callable[[Target], list[Path]]) -> None:
    host = resolve("host")
    files = objects(host)
    out = files[0].with_name("libnn.so")
    with pytest.raises(EllcError, match="no program 'no-such-ld'"):
        link.link_shared(files, API, "x", host, out, tools=Tools(linker=("no-such-ld",)))
    with pytest.raises(EllcError, match=r"cannot make \.dll"):
        link.link_shared(files, API, "x", resolve("windows"), out, tools=Tools(linker=("ld",)))


@pytest.mark.emulated
@pytest.mark.parametrize("name", ["pi0", "pi3", "pi3_64", "bpi_f3"])
def test_shared_library_loads_under_glibc_of_the_target(
    name: str, objects: Callable[[Target], list[Path]]
) -> None:
    row = resolve(name)
    system = "linux-gnueabihf" if row.arch == "arm" else "linux-gnu"
    root = Path(f"/usr/{row.arch}-{system}")
    if not root.is_dir():
        pytest.skip(f"no C library in {root}")
    files = objects(row)
    folder = files[0].parent
    build(row, files, folder / "libnn.so.1")
    (folder / "main.c").write_text(
        "#include <dlfcn.h>\n#include <stdio.h>\n"
        "int main(void) {\n"
        '  void *library = dlopen("./libnn.so.1", RTLD_NOW);\n'
        "  if (!library) { puts(dlerror()); return 1; }\n"
        '  float (*weight)(int) = (float (*)(int))dlsym(library, "weight");\n'
        '  for (int i = 0; i < 16; i++) printf("%g ", weight(i));\n  return 0;\n}\n'
    )
    words = ["cc", "-O1", "-g0", "-target", row.c_target, f"-mcpu={row.musl_cpu}"]
    ends = [folder / "main.c", "-o", folder / "main", "-ldl"]
    zig.build([*words, *ends], what="building a test program")
    assert row.emulator is not None
    # The pi0's CPU cannot run Debian's armhf C library, which needs ARMv7; this tests loading.
    emulator = ("qemu-arm", "-cpu", "max") if name == "pi0" else row.emulator
    ran = subprocess.run(
        [*emulator, "-L", str(root), "./main"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert [float(word) for word in ran.stdout.split()] == WEIGHTS.tolist()


def test_exports_that_cannot_be(objects: Callable[[Target], list[Path]]) -> None:
    pi3 = resolve("pi3")
    files = objects(pi3)
    out = files[0].with_name("libnn.so")
    with pytest.raises(EllcError, match="'missing' failed: symbol not defined"):
        link.link_shared(files, [*API, "missing"], "libnn.so", pi3, out)
    with pytest.raises(InternalError, match="cannot export inner"):
        link.link_shared(files, [*API, "inner"], "libnn.so", pi3, out)

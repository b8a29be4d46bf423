"""The thread pool: correct on every kind of machine and with sanitizers, and linked in packages."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ellc.codegen.machine.resolve import fixed_targets, resolve
from ellc.codegen.machine.target import Target
from ellc.codegen.output.runtime import compile_runtime, runtime_dir, runtime_text
from ellc.codegen.toolchain import emulate, link, zig
from ellc.codegen.toolchain.elf_reader import ElfFile
from ellc.codegen.toolchain.link import Tools
from ellc.codegen.toolchain.llvm import IrJob, compile_ir
from ellc.codegen.toolchain.programs import build_program, library_here
from ellc.codegen.toolchain.system_libraries import LIBRARIES
from ellc.ir.errors import EllcError

HERE = Path(__file__).resolve().parent
SOURCES = ("ellc_pool.c", "ellc_clock.c")
PATHS = [HERE / "pool_check.c", *(runtime_dir() / name for name in SOURCES)]
WITH_OS = tuple(row for row in (resolve("host"), *fixed_targets()) if row.has_os)
MODEL = """
declare i64 @ellc_clock_ns()
declare void @ellc_pool_run(ptr, ptr, i32, ptr, i32)
declare i32 @ellc_pool_init(ptr, iSIZE, i32)

define i64 @predict(ptr %pool, ptr %steps) nounwind {
  %s = call i32 @ellc_pool_init(ptr %pool, iSIZE 1024, i32 2)
  call void @ellc_pool_run(ptr %pool, ptr %steps, i32 2, ptr null, i32 0)
  %t = call i64 @ellc_clock_ns()
  ret i64 %t
}
"""
STRICT = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]
GCC = shutil.which("gcc")


def model_job(row: Target) -> IrJob:
    return IrJob("model", MODEL.replace("SIZE", str(row.word_bits)))


def run_check(words: list[str], folder: Path, effort: int) -> str:
    built = subprocess.run(
        [*words, f"-I{runtime_dir()}", *map(str, PATHS), "-pthread", "-o", "check"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    ran = subprocess.run(
        [folder / "check", str(effort)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "TSAN_OPTIONS": "halt_on_error=1", "UBSAN_OPTIONS": "halt_on_error=1"},
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.slow
@pytest.mark.skipif(GCC is None, reason="no gcc")
@pytest.mark.parametrize("sanitizer", ["", "address,undefined", "thread"])
def test_host_with_gcc(sanitizer: str, tmp_path: Path) -> None:
    assert GCC is not None
    options = [f"-fsanitize={sanitizer}", "-g"] if sanitizer else []
    words = [GCC, "-O2", "-D_DEFAULT_SOURCE", *options]
    assert run_check(words, tmp_path, 5 if sanitizer else 20).startswith("ok ")


@pytest.mark.skipif(GCC is None, reason="no gcc")
@pytest.mark.parametrize("source", SOURCES)
def test_sources_are_plain_c99(source: str, tmp_path: Path) -> None:
    assert GCC is not None
    words = [GCC, *STRICT, "-O2", "-c", str(runtime_dir() / source), "-o", str(tmp_path / "x.o")]
    subprocess.run(words, check=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["host", "pi0", "pi3", "pi3_64"])
def test_every_machine(name: str, tmp_path: Path) -> None:
    target = resolve(name)
    if not emulate.can_run(target):
        pytest.skip(f"no emulator for {name}")
    program = tmp_path / "check"
    objects = []
    for source, data in zip(SOURCES, compile_runtime(SOURCES, target), strict=True):
        objects.append(tmp_path / f"{source}.o")
        objects[-1].write_bytes(data)
    options = [f"-I{runtime_dir()}"]
    library = library_here(target)
    build_program(target, PATHS[:1], objects, program, options=options, library=library)
    assert emulate.run(target, [program, "2"]).startswith(b"ok ")


@pytest.mark.slow
@pytest.mark.parametrize("row", WITH_OS, ids=lambda row: row.name)
def test_links_into_a_shared_library(row: Target, tmp_path: Path) -> None:
    objects = []
    for source, data in zip(SOURCES, compile_runtime(SOURCES, row), strict=True):
        objects.append(tmp_path / f"{source}.o")
        objects[-1].write_bytes(data)
    out = tmp_path / f"libx{row.shared_suffix}"
    objects.append(tmp_path / "model.o")
    objects[-1].write_bytes(compile_ir([model_job(row)], row)[0])
    link.link_shared(
        objects, ["predict"], out.name, row, out, needed=["pthread", "kernel", "clock"]
    )
    if row.object_format == "elf":
        made = ElfFile.read(out)
        assert made.needed == ("libpthread.so.0", "libc.so.6")
        assert made.exported == ("predict",)
        known = {name for library in LIBRARIES.values() for name in library.elf_functions}
        assert set(made.undefined) <= known


MAIN_C = """
#include <dlfcn.h>
#include <stdio.h>
static int sum;
static void step(const void *frame, int begin, int end)
{
    (void)frame;
    __atomic_add_fetch(&sum, end - begin, __ATOMIC_SEQ_CST);
}
typedef struct { void (*run)(const void *, int, int); int extent, grain; } step_row;
int main(void)
{
    static char pool[1024] __attribute__((aligned(64)));
    step_row steps[2] = { { step, 1000, 1 }, { step, 50, 3 } };
    void *library = dlopen("./libx.so", RTLD_NOW);
    long long (*predict)(void *, void *);
    if (!library) { puts(dlerror()); return 1; }
    predict = (long long (*)(void *, void *))dlsym(library, "predict");
    long long ns = predict(pool, steps);
    printf("%d %d", sum, ns > 0);
    return 0;
}
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["host", "pi3", "pi3_64", "bpi_f3"])
def test_threads_of_a_loaded_library(name: str, tmp_path: Path) -> None:
    """The program does not link a thread library; the shared library has what it needs."""
    row = resolve(name)
    if not emulate.can_run(row):
        pytest.skip(f"no emulator for {name}")
    system = "linux-gnueabihf" if row.arch == "arm" else "linux-gnu"
    root = Path(f"/usr/{row.arch}-{system}" if row.emulator else "/")
    if not root.is_dir():
        pytest.skip(f"no C library in {root}")
    objects = [tmp_path / name for name in ("pool.o", "clock.o", "model.o")]
    made = [*compile_runtime(SOURCES, row), *compile_ir([model_job(row)], row)]
    for path, data in zip(objects, made, strict=True):
        path.write_bytes(data)
    out = tmp_path / "libx.so"
    link.link_shared(
        objects, ["predict"], out.name, row, out, needed=["pthread", "kernel", "clock"]
    )
    (tmp_path / "main.c").write_text(MAIN_C)
    words = ["cc", "-O1", "-g0", "-target", row.c_target]
    ends = [tmp_path / "main.c", "-o", tmp_path / "main", "-ldl"]
    zig.build([*words, *ends], what="building a test program")
    rooted = ("-L", str(root)) if row.emulator else ()
    ran = subprocess.run(
        [*emulate.prefix(row), *rooted, "./main"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.stdout == "1050 1", ran.stdout + ran.stderr


@pytest.mark.parametrize("name", ["host", "pi0", "pi3_64", "windows", "mac"])
def test_same_bytes_each_time(name: str) -> None:
    row = resolve(name)
    first = compile_runtime(SOURCES, row)
    assert compile_runtime(SOURCES, row) == first
    assert all(str(Path.cwd()).encode() not in data for data in first)
    assert all(str(runtime_dir()).encode() not in data for data in first)


@pytest.mark.skipif(GCC is None, reason="no gcc")
def test_users_compiler() -> None:
    host = resolve("host")
    (pool,) = compile_runtime(["ellc_pool.c"], host, tools=Tools(cc=(str(GCC),)))
    assert b"GCC" in pool
    with pytest.raises(EllcError, match="no program 'no-such-cc'"):
        compile_runtime(["ellc_pool.c"], host, tools=Tools(cc=("no-such-cc",)))


def test_two_packages_in_one_program_share_the_pool() -> None:
    symbols = ElfFile(compile_runtime(["ellc_pool.c"], resolve("pi3"))[0]).symbols
    shown = [s for s in symbols if s.is_defined and not s.is_local]
    assert {s.name for s in shown} == {
        f"ellc_pool_{word}" for word in ("bytes", "destroy", "init", "run", "threads")
    }
    weak, hidden = 2, 2
    assert {(s.info >> 4, s.visibility) for s in shown} == {(weak, hidden)}


def test_text_of_a_runtime_file() -> None:
    assert "ellc_pool_run" in runtime_text("ellc_pool.h")

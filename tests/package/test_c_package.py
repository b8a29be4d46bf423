"""The files for C and C++: header, portable source, CMake project, demo, ELL's functions."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from agreement import disagreement
from small_networks import convolution_network, inputs_of, reference_of, two_way_network

import ellc.codegen.output.c_package
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import of_libraries
from ellc.codegen.toolchain.elf_reader import ElfFile
from ellc.codegen.toolchain.emulate import Case, PortMemory, Request, build_runner, run_cases
from ellc.driver import CompileOptions, compile_model
from ellc.ir.graph import Graph
from ellc.manifest import read_manifest

C_FUNCTIONS = {"memcpy", "memset", "memmove", "memcmp"}
"""Functions that GCC may call in freestanding C code (its manual, "Standards")."""
STRICT = ("-Wall", "-Wextra", "-pedantic", "-Werror")
RUN_MAIN = r"""
#include <stdio.h>
#include "small.h"
static float in[small_INPUT0_SIZE], out[small_OUTPUT0_SIZE];
static unsigned char memory[small_ARENA_BYTES + small_ARENA_ALIGN];
int main(void)
{
    small_t model;
    size_t shift = small_ARENA_ALIGN - (uintptr_t)memory % small_ARENA_ALIGN;
    if (fread(in, sizeof in, 1, stdin) != 1)
        return 1;
    if (small_init(&model, memory + shift, small_ARENA_BYTES) != small_OK)
        return 2;
    if (small_predict(&model, in, out) != small_OK)
        return 3;
    small_destroy(&model);
    return fwrite(out, sizeof out, 1, stdout) != 1;
}
"""


def compiled(
    graph: Graph, folder: Path, *emit: str, threads: int = 1, target: str = "host"
) -> Path:
    compile_model(graph, target, CompileOptions(emit=emit, threads=threads), folder)
    return folder


def cc(*words: str | Path, compiler: str = "cc") -> None:
    ran = subprocess.run([compiler, *map(str, words)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def check_program(program: Path) -> None:
    inputs = inputs_of(convolution_network())
    (want,) = reference_of(convolution_network(), inputs)
    ran = subprocess.run([program], input=inputs[0].tobytes(), capture_output=True, check=True)
    got = np.frombuffer(ran.stdout, np.float32).reshape(want.shape)
    assert not disagreement(got, want)


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 3])
def test_portable_source_with_the_system_compiler(threads: int, tmp_path: Path) -> None:
    folder = compiled(convolution_network(), tmp_path, "c", threads=threads)
    (folder / "main.c").write_text(RUN_MAIN)
    sources = sorted(folder.glob("*.c"))
    assert [s.name for s in sources] == ["main.c", "small.c"] if threads == 1 else True
    standard = "-std=c99" if threads == 1 else "-std=gnu11"
    cc(standard, "-O2", *STRICT, *sources, "-lpthread", "-o", folder / "program")
    check_program(folder / "program")


@pytest.mark.slow
def test_portable_source_needs_nothing(tmp_path: Path) -> None:
    folder = compiled(convolution_network(), tmp_path, "c")
    out = folder / "small.out"
    cc("-std=c99", "-O2", *STRICT, "-c", folder / "small.c", "-o", out)
    assert set(ElfFile.read(out).undefined) <= {"memset", "memcpy", "_GLOBAL_OFFSET_TABLE_"}


def test_large_constants_have_their_own_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ellc.codegen.output.c_package, "SEPARATE_WEIGHT_BYTES", 1000)
    folder = compiled(convolution_network(), tmp_path, "c")
    (folder / "main.c").write_text(RUN_MAIN)
    assert (folder / "small_weights.c").stat().st_size > (folder / "small.h").stat().st_size
    cc("-std=c99", *STRICT, *sorted(folder.glob("*.c")), "-o", folder / "program")
    check_program(folder / "program")


@pytest.mark.parametrize("kind", ["so", "obj", "lib"])
def test_header_and_each_kind_of_library(kind: str, tmp_path: Path) -> None:
    folder = compiled(convolution_network(), tmp_path, kind)
    (folder / "main.c").write_text(RUN_MAIN)
    (library,) = [*folder.glob("*.so"), *folder.glob("*.o"), *folder.glob("*.a")]
    words = [folder / "main.c", library, f"-Wl,-rpath,{folder}", "-o", folder / "program"]
    cc("-std=c99", *STRICT, *words)
    check_program(folder / "program")


@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler")
def test_headers_in_cxx(tmp_path: Path) -> None:
    folder = compiled(two_way_network(), tmp_path, "obj", "ell", threads=2)
    source = folder / "main.cpp"
    source.write_text(
        '#include "two.h"\n#include "two_ell.h"\n'
        'static_assert(sizeof(two_t) <= 1024, "");\n'
        "static const char *const metadata[] = {two_HASH, two_VERSION, two_INPUT0_NAME};\n"
        "int main() { two_t m; (void)metadata;\n"
        "    return two_init(&m, nullptr, 0) != two_EARGUMENT; }\n"
    )
    words = ["-std=c++11", *STRICT, source, folder / "two.o", "-lpthread", "-o", folder / "program"]
    cc(*words, compiler="c++")
    assert subprocess.run([folder / "program"], check=False).returncode == 0


def test_names_that_collide_are_told_apart(tmp_path: Path) -> None:
    header = (compiled(two_way_network(), tmp_path, "h") / "two.h").read_text()
    assert re.search(
        r"two_predict\(\s+two_t \*m,\s+const float \*class_,\s+const float \*m_,", header
    )


def test_ell_functions(tmp_path: Path) -> None:
    folder = compiled(convolution_network(), tmp_path, "obj", "ell")
    main = folder / "main.c"
    main.write_text(
        r"""
#include <stdio.h>
#include "small_ell.h"
static float in[297], out[200], again[200];
int main(void)
{
    void *ins[1] = { in }, *outs[1] = { again };
    TensorShape shape;
    int i;
    for (i = 0; i < 297; i++)
        in[i] = (float)i;
    small_Predict(0, in, out);
    small_Predict_dispatch(0, ins, outs);
    small_Reset();
    for (i = 0; i < 200; i++)
        if (out[i] != again[i])
            return 1;
    small_GetInputShape(0, &shape);
    printf("%d %d %d %d %d ", shape.rows, shape.columns, shape.channels, small_GetInputSize(0),
        small_GetOutputSize(0));
    small_GetOutputShape(1, &shape);
    printf("%d %d %d %d [%s] [%s]\n", shape.rows, small_GetOutputSize(-1),
        small_GetSinkOutputSize(0), small_GetNumNodes() > 0, small_GetMetadata("labels"),
        small_GetMetadata("label"));
    return 0;
}
"""
    )
    words = [main, folder / "small_ell.c", folder / "small.o", "-o", folder / "program"]
    cc("-std=c99", *STRICT, *words)
    ran = subprocess.run([folder / "program"], capture_output=True, text=True, check=True)
    assert ran.stdout == '9 11 3 297 200 0 0 0 1 [cat\n"dog"] []\n'


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")
@pytest.mark.parametrize("emit", [("so",), ("obj",), ("lib",), ("c",)])
def test_cmake_builds_the_demo(emit: tuple[str, ...], tmp_path: Path) -> None:
    graph = convolution_network()
    folder = compiled(graph, tmp_path / "out", *emit, "cmake", "demo", "ell", threads=2)
    build = tmp_path / "build"
    for words in (
        ["cmake", "-S", folder, "-B", build, "-DCMAKE_C_FLAGS=-Wall -Wextra -Werror"],
        ["cmake", "--build", build, "--target", "small_demo", "small_ell"],
    ):
        ran = subprocess.run(words, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr
    inputs = inputs_of(graph)
    (tmp_path / "x.bin").write_bytes(inputs[0].tobytes())
    words = [build / "small_demo", "--bench", "3", "--threads", "2", tmp_path / "x.bin"]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    (want,) = reference_of(graph, inputs)
    first = re.search(r"^scores:\n  \[(\d+)\] (\S+)$", said, re.MULTILINE)
    assert first and int(first[1]) == int(want.argmax())
    assert abs(float(first[2]) - want.max()) < 1e-3
    assert re.search(r"latency of 3 runs: median \d+\.\d+ ms", said)
    (tmp_path / "x.bin").write_bytes(b"short")
    assert subprocess.run(words, capture_output=True, check=False).returncode == 1


@pytest.mark.slow
def test_bare_metal_archive_and_header(tmp_path: Path) -> None:
    made = compile_model(convolution_network(), "imxrt1050", out_dir=tmp_path)
    assert {"libsmall.a", "small.o", "small.h", "small.json"} <= {p.name for p in made.files}
    assert resolve("imxrt1050").os == "none" and made.costs.flash_bytes is not None


ARM_GCC, ARM_ABI = "arm-none-eabi-gcc", ("-mthumb", "-mfloat-abi=hard")


def by_gcc(target: str, compiler: str, *machine: str) -> object:
    """A case of the next test, which is skipped if the compiler or the emulator is missing."""
    emulator = resolve(target).emulator
    assert emulator
    marks = pytest.mark.emulated(emulator[0], compiler)
    return pytest.param(target, compiler, machine, id=target, marks=marks)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "compiler", "machine"),
    [
        by_gcc("imxrt1050", ARM_GCC, *ARM_ABI, "-mcpu=cortex-m7", "-mfpu=fpv5-d16"),
        by_gcc("mcxn947", ARM_GCC, *ARM_ABI, "-mcpu=cortex-m33", "-mfpu=fpv5-sp-d16"),
        by_gcc("nucleo_l4r5", ARM_GCC, *ARM_ABI, "-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16"),
        by_gcc("esp32c3", "riscv64-unknown-elf-gcc", "-march=rv32imc", "-mabi=ilp32"),
    ],
)
def test_portable_c_runs_on_a_board_by_gcc(
    target: str, compiler: str, machine: tuple[str, ...], tmp_path: Path
) -> None:
    graph = convolution_network()
    compiled(graph, tmp_path, "c", "h", target=target)
    words = [*machine, "-std=c99", "-O2", "-ffreestanding", *STRICT]
    cc(*words, "-c", tmp_path / "small.c", "-o", tmp_path / "small.o", compiler=compiler)
    called = ElfFile.read(tmp_path / "small.o").undefined
    assert of_libraries(called, resolve(target)) <= C_FUNCTIONS
    facts = read_manifest(tmp_path / "small.json", tmp_path / "small.json")
    inputs = inputs_of(graph)
    (want,) = reference_of(graph, inputs)
    case = Case(
        "small",
        tuple(PortMemory(x.nbytes) for x in inputs),
        (PortMemory(want.nbytes),),
        facts.arena_bytes,
        is_model=True,
    )
    runner = build_runner(resolve(target), [tmp_path / "small.o"], [case], tmp_path)
    ((data,),) = run_cases(runner, [Request(0, tuple(x.tobytes() for x in inputs))])
    assert not disagreement(np.frombuffer(data, np.float32).reshape(want.shape), want)

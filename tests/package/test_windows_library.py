"""Libraries for Windows: a program loads them and gets the results of the reference, in Wine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from agreement import disagreement
from small_networks import convolution_network, inputs_of, reference_of
from wine import find_wine, run_in_wine

from ellc.codegen.toolchain import zig
from ellc.driver import CompileOptions, compile_model

MAIN = r"""
#include <windows.h>
#include "small.h"
static float in[small_INPUT0_SIZE], out[small_OUTPUT0_SIZE];
static unsigned char memory[small_ARENA_BYTES + small_ARENA_ALIGN];
static int run(void)
{
    small_t model;
    DWORD given, written;
    size_t shift = small_ARENA_ALIGN - (uintptr_t)memory % small_ARENA_ALIGN;
    int (*init)(small_t *, void *, size_t, uint32_t);
    int (*predict)(small_t *, const float *, float *);
    void (*destroy)(small_t *);
    HMODULE library = LoadLibraryA("small.dll");
    if (!library)
        return 1;
    init = (void *)GetProcAddress(library, "small_init_abi");
    predict = (void *)GetProcAddress(library, "small_predict");
    destroy = (void *)GetProcAddress(library, "small_destroy");
    if (!init || !predict || !destroy)
        return 2;
    if (!ReadFile(GetStdHandle(STD_INPUT_HANDLE), in, sizeof in, &given, 0) || given != sizeof in)
        return 3;
    if (init(&model, memory + shift, small_ARENA_BYTES, small_ABI) != small_OK)
        return 4;
    if (predict(&model, in, out) != small_OK)
        return 5;
    destroy(&model);
    if (!FreeLibrary(library))
        return 6;
    return !WriteFile(GetStdHandle(STD_OUTPUT_HANDLE), out, sizeof out, &written, 0);
}
void start(void) { ExitProcess(run()); }
"""
FUNCTIONS = (
    *("LoadLibraryA", "GetProcAddress", "FreeLibrary", "ExitProcess"),
    *("GetStdHandle", "ReadFile", "WriteFile"),
)


def build_program(source: Path) -> Path:
    """Link a program that needs no C library: zig would build it, for three minutes."""
    folder = source.parent
    names = "".join(f"  {name}\n" for name in FUNCTIONS)
    (folder / "kernel32.def").write_text(f"LIBRARY kernel32.dll\nEXPORTS\n{names}")
    commands = (
        (
            "cc",
            "-target",
            "x86_64-windows-gnu",
            "-O1",
            "-ffreestanding",
            "-c",
            source.name,
            "-o",
            "main.o",
        ),
        ("dlltool", "-m", "i386:x86-64", "-d", "kernel32.def", "-l", "kernel32.lib"),
        (
            *("lld-link", "/subsystem:console", "/entry:start", "/nodefaultlib"),
            *("/out:main.exe", "main.o", "kernel32.lib"),
        ),
    )
    for command in commands:
        zig.run(command, what="a program for Windows", cwd=folder)
    return folder / "main.exe"


@pytest.mark.slow
@pytest.mark.skipif(find_wine() is None, reason="Wine is not installed (Debian's wine64)")
def test_results_are_those_of_the_reference(tmp_path: Path) -> None:
    """With threads, so that the library needs more of the system than memory."""
    graph = convolution_network()
    compile_model(graph, "windows", CompileOptions(emit=("so",), threads=3), tmp_path)
    source = tmp_path / "main.c"
    source.write_text(MAIN)
    given = inputs_of(graph)
    (want,) = reference_of(graph, given)
    written = run_in_wine(build_program(source), given[0].tobytes(), tmp_path / "system")
    assert not disagreement(np.frombuffer(written, np.float32).reshape(want.shape), want)

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
#include <fcntl.h>
#include <io.h>
#include <stdio.h>
#include <windows.h>
#include "small.h"
static float in[small_INPUT0_SIZE], out[small_OUTPUT0_SIZE];
static unsigned char memory[small_ARENA_BYTES + small_ARENA_ALIGN];
int main(void)
{
    small_t model;
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
    _setmode(_fileno(stdin), _O_BINARY);
    _setmode(_fileno(stdout), _O_BINARY);
    if (fread(in, sizeof in, 1, stdin) != 1)
        return 3;
    if (init(&model, memory + shift, small_ARENA_BYTES, small_ABI) != small_OK)
        return 4;
    if (predict(&model, in, out) != small_OK)
        return 5;
    destroy(&model);
    if (!FreeLibrary(library))
        return 6;
    return fwrite(out, sizeof out, 1, stdout) != 1;
}
"""


@pytest.mark.slow
@pytest.mark.skipif(find_wine() is None, reason="Wine is not installed (Debian's wine64)")
def test_results_are_those_of_the_reference(tmp_path: Path) -> None:
    """With threads, so that the library needs more of the system than memory."""
    graph = convolution_network()
    compile_model(graph, "windows", CompileOptions(emit=("so",), threads=3), tmp_path)
    (tmp_path / "main.c").write_text(MAIN)
    zig.run(
        ["cc", "-target", "x86_64-windows-gnu", "-O1", "main.c", "-o", "main.exe"],
        what="a program for Windows",
        cwd=tmp_path,
    )
    given = inputs_of(graph)
    (want,) = reference_of(graph, given)
    written = run_in_wine(tmp_path / "main.exe", given[0].tobytes(), tmp_path / "system")
    assert not disagreement(np.frombuffer(written, np.float32).reshape(want.shape), want)

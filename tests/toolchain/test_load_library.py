"""Shared libraries with the C API of a package, run on the host and in qemu."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ellc.codegen.machine.resolve import resolve
from ellc.codegen.toolchain import zig
from ellc.codegen.toolchain.load import RunResult, call_library
from ellc.ir.errors import EllcError

# A model written by hand, with two inputs, two outputs, an arena and threads.
SOURCE = """
#include <stddef.h>
struct nn { float *arena; int threads; };
size_t nn_arena_bytes(void) { return 64; }
int nn_init(struct nn *m, void *arena, size_t bytes)
{
    m->arena = arena;
    m->threads = 1;
    return bytes < 64 || (size_t)arena % 64 ? 7 : 0;
}
int nn_set_threads(struct nn *m, int threads) { m->threads = threads; return threads > 8; }
int nn_predict_v(struct nn *m, const void *const *in, void *const *out)
{
    const float *a = in[0];
    const signed char *b = in[1];
    for (int i = 0; i < 4; i++) m->arena[i] = a[i] * b[i % 2];
    for (int i = 0; i < 4; i++) ((float *)out[0])[i] = m->arena[i];
    *(int *)out[1] = m->threads;
    return b[0] == 99 ? 5 : 0;
}
void nn_destroy(struct nn *m) { m->arena = 0; }
"""

TARGETS = [
    "host",
    *(pytest.param(name, marks=pytest.mark.emulated) for name in ("pi0", "pi3", "pi3_64")),
]


def build(name: str, folder: Path, source: str = SOURCE) -> Path:
    row = resolve(name)
    written, library = folder / "nn.c", folder / "libnn.so"
    written.write_text(source)
    words = ["cc", "-shared", "-fPIC", "-O1", "-g0", "-target", row.c_target]
    zig.build([*words, written, "-o", library], what="building a test library")
    return library


def call(
    name: str, library: Path, first: int = 2, threads: int = 0, repeat_ms: int = 0
) -> RunResult:
    a = np.array([1, 2, 3, 4], np.float32).tobytes()
    b = np.array([first, -1], np.int8).tobytes()
    row = resolve(name)
    return call_library(row, library, "nn", [a, b], [16, 4], threads=threads, repeat_ms=repeat_ms)


@pytest.mark.parametrize("name", TARGETS)
def test_a_library_answers(name: str, tmp_path: Path) -> None:
    library = build(name, tmp_path)
    values, threads = call(name, library).outputs
    assert np.frombuffer(values, np.float32).tolist() == [2, -2, 6, -4]
    assert int.from_bytes(threads, "little") == 1
    assert call(name, library, threads=3).outputs[1] == b"\3\0\0\0"


def test_calls_are_timed_for_as_long_as_asked(tmp_path: Path) -> None:
    library = build("host", tmp_path)
    assert call("host", library).call_ns == ()
    answer = call("host", library, repeat_ms=50)
    assert np.frombuffer(answer.outputs[0], np.float32).tolist() == [2, -2, 6, -4]
    assert len(answer.call_ns) >= 3 and min(answer.call_ns) > 0
    assert sum(answer.call_ns) <= 60e6


def test_a_library_that_refuses_is_reported_in_its_words(tmp_path: Path) -> None:
    library = build("host", tmp_path)
    with pytest.raises(EllcError) as caught:
        call("host", library, first=99)
    assert caught.value.code == "E621"
    assert caught.value.problems == ("predict refuses: 5",)
    with pytest.raises(EllcError) as caught:
        call("host", library, threads=9)
    assert caught.value.problems == ("set_threads refuses: 1",)


def test_what_is_no_library_of_ours_is_reported(tmp_path: Path) -> None:
    with pytest.raises(EllcError) as caught:
        call("host", tmp_path / "libnn.so")
    assert "cannot be loaded" in caught.value.problems[0]
    library = build("host", tmp_path, "int x;")
    with pytest.raises(EllcError) as caught:
        call("host", library)
    assert "no function nn_arena_bytes" in caught.value.problems[0]


@pytest.mark.parametrize("name", ["mac", "windows", "imxrt1050", "wasm"])
def test_targets_that_cannot_be_run_here_say_so(name: str, tmp_path: Path) -> None:
    with pytest.raises(EllcError) as caught:
        call(name, tmp_path / "libnn.so")
    assert caught.value.code == "E620"

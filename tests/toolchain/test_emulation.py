"""Runners: many cases in one process on every kind of machine, with a report of every fault."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from ellc.codegen.machine.resolve import resolve
from ellc.codegen.toolchain import disassemble, emulate, zig
from ellc.codegen.toolchain.elf import Piece
from ellc.codegen.toolchain.emulate import Case, Guard, PortMemory, Request, Runner
from ellc.codegen.toolchain.guarded_constants import guard_symbols, write_guarded
from ellc.codegen.toolchain.llvm import EmitKind, IrJob, compile_ir
from ellc.codegen.toolchain.programs import build_program
from ellc.ir.errors import EllcError, InternalError
from tests.toolchain.toolchain_samples import AXPY

CASES_C = """
#include <stddef.h>
#include <stdint.h>
#define CASE(name) int name(unsigned char *arena, const float *const *in, float **out)
CASE(twice) { (void)arena; for (int i = 0; i < 5; i++) out[0][i] = 2 * in[0][i]; return 0; }
CASE(two_outputs) {
    (void)arena;
    for (int i = 0; i < 3; i++) out[0][i] = in[0][i] + in[1][i];
    for (int i = 0; i < 3; i++) out[1][i] = in[0][i] - in[1][i];
    return 0;
}
CASE(refuses) { (void)arena; (void)in; (void)out; return 7; }
CASE(crashes) { (void)arena; (void)in; (void)out; __builtin_trap(); }
CASE(writes_after) { (void)arena; (void)in; ((volatile float *)out[0])[5] = 1; return 0; }
CASE(writes_into_slack) { (void)arena; (void)in; ((volatile float *)out[0])[16] = 1; return 0; }
CASE(writes_far_after) { (void)arena; (void)in; ((volatile float *)out[0])[69] = 1; return 0; }
CASE(reads_far_after) { (void)arena; out[0][0] = ((const volatile float *)in[0])[69]; return 0; }
CASE(writes_before) { (void)arena; (void)in; ((volatile float *)out[0])[-1] = 1; return 0; }
CASE(changes_input) { (void)arena; (void)out; ((float *)in[0])[1] += 1; return 0; }
CASE(overruns_arena) { (void)in; (void)out; arena[100] = 1; return 0; }
CASE(counts) {
    (void)in;
    arena[0] = arena[0] == 0xFF ? 1 : arena[0] + 1;
    out[0][0] = arena[0];
    return 0;
}
CASE(alignments) {
    out[0][0] = (float)((uintptr_t)in[0] % 8);
    out[0][1] = (float)((uintptr_t)out[0] % 128);
    out[0][2] = (float)((uintptr_t)arena % 128);
    return 0;
}

typedef struct { float *scale; int threads; } model;
int net_init(model *m, void *arena, size_t bytes) {
    if (bytes != 32) return 2;
    m->scale = arena; m->scale[0] = 10; m->threads = 1;
    return 0;
}
int net_set_threads(model *m, int threads) { m->threads = threads; return 0; }
int net_predict_v(model *m, const float *const *in, float **out) {
    out[0][0] = in[0][0] * m->scale[0] + (float)m->threads; m->scale[0] += 1;
    return 0;
}
void net_reset(model *m) { m->scale[0] = 10; }
void net_destroy(model *m) { m->scale = 0; }
"""
READER_C = """
extern const int data[];
int reads_constant(void *arena, const int *const *in, int *const *out) {
    (void)arena; out[0][0] = data[in[0][0]]; return 0;
}
"""
FIVE, ONE = PortMemory(20), PortMemory(4)
PLAIN = (
    Case("twice", (FIVE,), (FIVE,)),
    Case("two_outputs", (PortMemory(12), PortMemory(12)), (PortMemory(12), PortMemory(12))),
    Case("counts", (), (ONE,), arena_bytes=100),
    Case("alignments", (FIVE,), (PortMemory(20, 64),)),
    Case("net", (ONE,), (ONE,), arena_bytes=32, is_model=True),
    Case("net", (ONE,), (ONE,), arena_bytes=32, is_model=True, threads=4),
    Case("net", (ONE,), (ONE,), arena_bytes=31, is_model=True),
    Case("refuses", (), ()),
    Case("crashes", (), ()),
    Case("writes_after", (), (FIVE,)),
    Case("writes_into_slack", (), (PortMemory(64, 32),)),
    Case("writes_far_after", (), (FIVE,)),
    Case("reads_far_after", (FIVE,), (FIVE,)),
    Case("writes_before", (), (FIVE,)),
    Case("changes_input", (FIVE,), ()),
    Case("overruns_arena", (), (), arena_bytes=100),
)
TWICE, TWO, COUNTS, ALIGNMENTS, NET, NET_4, NET_SMALL = range(7)
LINUX = ("host", "pi0", "pi3", "pi3_64", "bpi_f3")
NAMES = (*LINUX, "imxrt1050", "mcxn947", "nucleo_l4r5", "pico", "corstone300", "esp32c3", "wasm")
VALUES = np.arange(5, dtype=np.float32)


@pytest.fixture(scope="module", params=NAMES)
def runner(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    target = resolve(request.param)
    if not emulate.can_run(target):
        pytest.skip(f"no emulator for {target.name}")
    folder = tmp_path_factory.mktemp("runner")
    (folder / "cases.c").write_text(CASES_C)
    words = ["cc", "-c", "-O1", "-g0", "-target", target.c_target, f"-mcpu={target.zig_cpu}"]
    zig.run([*words, "cases.c", "-o", "cases.o"], what="compiling cases", cwd=folder)
    return emulate.build_runner(target, [folder / "cases.o"], PLAIN, folder)


def floats(answer: tuple[bytes, ...]) -> list[list[float]]:
    return [np.frombuffer(data, np.float32).tolist() for data in answer]


def one(value: float) -> tuple[bytes]:
    return (struct.pack("<f", value),)


def test_many_cases_in_one_process(runner: Runner) -> None:
    three = VALUES[1:4]
    answers = emulate.run_cases(
        runner,
        [
            Request(TWICE, (VALUES.tobytes(),)),
            Request(TWO, (three.tobytes(), (three * 3).tobytes())),
            Request(TWICE, ((VALUES + 1).tobytes(),)),
        ],
    )
    assert [floats(answer) for answer in answers] == [
        [[0, 2, 4, 6, 8]],
        [[4, 8, 12], [-2, -4, -6]],
        [[2, 4, 6, 8, 10]],
    ]


def test_state_lives_as_long_as_asked(runner: Runner) -> None:
    keep = [False, True, True, False, True]
    answers = emulate.run_cases(runner, [Request(COUNTS, (), keep_state=k) for k in keep])
    assert [floats(answer)[0][0] for answer in answers] == [1, 2, 3, 1, 2]


def test_new_memory_holds_the_junk_that_is_asked_for(runner: Runner) -> None:
    answers = emulate.run_cases(
        runner, [Request(COUNTS, (), junk=kind) for kind in range(emulate.JUNK_KINDS)]
    )
    first = [floats(answer)[0][0] for answer in answers]
    assert first[:3] == [1, 0x7F + 1, 0 + 1] and len(set(first)) >= 3


def test_a_model_is_reset_where_asked(runner: Runner) -> None:
    resets = [False, False, True, False]
    requests = [
        Request(NET, one(2), keep_state=i > 0, reset=reset) for i, reset in enumerate(resets)
    ]
    answers = emulate.run_cases(runner, requests)
    assert [floats(answer)[0][0] for answer in answers] == [21, 23, 21, 23]


def test_models_are_made_called_and_destroyed(runner: Runner) -> None:
    requests = [
        Request(NET, one(2)),
        Request(NET, one(2), keep_state=True),
        Request(NET_4, one(2)),
        Request(NET, one(3)),
    ]
    answers = emulate.run_cases(runner, requests)
    assert [floats(answer)[0][0] for answer in answers] == [21, 23, 24, 31]
    with pytest.raises(InternalError, match="returned 2"):
        emulate.run_cases(runner, [Request(NET_SMALL, one(1))])


def test_buffers_are_aligned_as_promised_and_not_more(runner: Runner) -> None:
    (answer,) = emulate.run_cases(runner, [Request(ALIGNMENTS, (VALUES.tobytes(),))])
    assert floats(answer)[0][:3] == [4, 64, 64]


@pytest.mark.parametrize(
    ("symbol", "said"),
    [
        ("refuses", "returned 7"),
        ("crashes", "signal"),
        ("writes_after", "signal"),
        ("writes_into_slack", "outside its buffers"),
        ("writes_far_after", "signal"),
        ("reads_far_after", "signal"),
        ("writes_before", "outside its buffers"),
        ("changes_input", "changed one of its inputs"),
        ("overruns_arena", "outside its buffers"),
    ],
)
def test_wrong_doing_is_told(runner: Runner, symbol: str, said: str) -> None:
    index = next(i for i, case in enumerate(PLAIN) if case.symbol == symbol)
    inputs = tuple(bytes(buffer.bytes) for buffer in PLAIN[index].inputs)
    good = Request(TWICE, (VALUES.tobytes(),))
    if runner.target.os == "wasm":  # It has no guard pages.
        other = "failed" if symbol == "crashes" else "outside its buffers"
        said = said.replace("signal", other)
        if symbol == "reads_far_after":
            return
    elif said == "signal" and runner.target.board:  # It has no guard pages.
        said = "fault: c" if symbol == "crashes" else "outside its buffers"
        if symbol == "reads_far_after":
            return
    with pytest.raises(InternalError, match=f"'{symbol}' for target.*{said}"):
        emulate.run_cases(runner, [good, Request(index, inputs), good])


def test_request_that_does_not_fit(runner: Runner) -> None:
    with pytest.raises(ValueError, match=r"takes inputs of \[20\] bytes, not \[4\]"):
        emulate.run_cases(runner, [Request(TWICE, one(1))])


def test_time_limit_and_failure(runner: Runner) -> None:
    with pytest.raises(EllcError, match="longer than") as caught:
        emulate.run(runner.target, [runner.program], stdin=bytes(8), limit_s=1e-4)
    assert caught.value.code == "E621"
    with pytest.raises(EllcError, match="failed \\(3\\)") as caught:
        emulate.run(runner.target, [runner.program], stdin=struct.pack("<II", 999, 0))
    assert "no such case" in caught.value.problems[0]


def test_targets_that_cannot_run() -> None:
    for name in ("mac", "windows"):
        with pytest.raises(EllcError, match="cannot be run") as caught:
            emulate.prefix(resolve(name))
        assert caught.value.code == "E620"
    with pytest.raises(EllcError, match="no static programs"):
        build_program(resolve("mac"), [], [], Path("x"))


def test_missing_emulator_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(EllcError, match="'qemu-arm' for target 'pi3' is not") as caught:
        emulate.prefix(resolve("pi3"))
    assert "qemu-user" in caught.value.hint


def test_program_for_a_board_has_no_library(tmp_path: Path) -> None:
    source = tmp_path / "calls.c"
    source.write_text("float expf(float); int main(void) { return (int)expf(1); }\n")
    with pytest.raises(EllcError) as caught:
        build_program(resolve("imxrt1050"), [source], [], tmp_path / "calls")
    assert caught.value.code == "E610"
    assert any("undefined symbol: expf" in line for line in caught.value.problems)


DOT_PRODUCT = """
declare <2 x i32> @llvm.arm.neon.sdot.v2i32.v8i8(<2 x i32>, <8 x i8>, <8 x i8>)
define <2 x i32> @dot(<2 x i32> %c, <8 x i8> %a, <8 x i8> %b) #0 {
  %r = call <2 x i32> @llvm.arm.neon.sdot.v2i32.v8i8(<2 x i32> %c, <8 x i8> %a, <8 x i8> %b)
  ret <2 x i32> %r
}
attributes #0 = { nounwind "target-features"="+neon,+vfp4,+dotprod" }
"""


def test_assembler_finds_instructions_above_the_target() -> None:
    pi3 = resolve("pi3")
    jobs = [IrJob("axpy", AXPY, EmitKind.ASM), IrJob("dot", DOT_PRODUCT, EmitKind.ASM)]
    plain, newer = (text.decode() for text in compile_ir(jobs, pi3))
    assert disassemble.reassemble(plain, pi3) == ()
    (complaint,) = disassemble.reassemble(newer, pi3)
    assert "dotprod" in complaint


@pytest.mark.skipif(disassemble.find_llvm_objdump() is None, reason="no llvm-objdump")
def test_disassembler_finds_instructions_above_the_target(tmp_path: Path) -> None:
    pi3 = resolve("pi3")
    jobs = [IrJob("axpy", AXPY), IrJob("dot", DOT_PRODUCT)]
    plain, newer = tmp_path / "plain.o", tmp_path / "newer.o"
    for path, data in zip((plain, newer), compile_ir(jobs, pi3), strict=True):
        path.write_bytes(data)
    assert disassemble.instructions_above(plain, pi3) == ()
    assert disassemble.instruction_count(plain, pi3) > 5
    assert len(disassemble.instructions_above(newer, pi3)) == 1


def test_missing_disassembler_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("llvm-objdump") is None
    with pytest.raises(EllcError) as caught:
        disassemble.instructions_above(tmp_path / "x.o", resolve("pi3"))
    assert caught.value.code == "E622" and "llvm" in caught.value.hint


@pytest.mark.parametrize("name", LINUX)
@pytest.mark.parametrize("guard", get_args(Guard))
def test_pages_around_constants_are_guarded(name: str, guard: Guard, tmp_path: Path) -> None:
    target = resolve(name)
    if not emulate.can_run(target):
        pytest.skip(f"no emulator for {target.name}")
    data = np.arange(1000, dtype=np.int32)
    pieces = [Piece(64, data.tobytes())]
    write_guarded(tmp_path / "data.o", {"data": pieces, "other": pieces}, target, guard)
    source = tmp_path / "cases.c"
    source.write_text(READER_C)
    words = ["cc", "-c", "-O1", "-g0", "-target", target.c_target, f"-mcpu={target.zig_cpu}"]
    zig.run([*words, source.name, "-o", "cases.o"], what="compiling cases", cwd=tmp_path)
    pages = (*guard_symbols("data"), *guard_symbols("other"))
    case = Case("reads_constant", (ONE,), (ONE,), guards=pages)
    objects = [tmp_path / "cases.o", tmp_path / "data.o"]
    runner = emulate.build_runner(target, objects, [case], tmp_path, guard=guard)

    def read(at: int) -> int:
        (answer,) = emulate.run_cases(runner, [Request(0, (struct.pack("<i", at),))])
        return int(struct.unpack("<i", answer[0])[0])

    assert [read(at) for at in (0, 1, 999)] == [0, 1, 999]
    # 4000 bytes in a page of 4096, aligned to 64; the rest of the page is at the other end.
    for at in (-1, -1008) if guard == "start" else (1008, 2000):
        with pytest.raises(InternalError, match="killed by signal 11"):
            read(at)

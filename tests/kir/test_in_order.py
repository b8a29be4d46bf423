"""Loop nests as scheduled assembly: proved, as fast as predicted, and with the same bits."""

from __future__ import annotations

import functools
import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from kernel_samples import moving, passing, product
from operator_graphs import samples
from parts import is_whole
from proved_nests import Case, how, translated
from scheduled_nests import differences
from tiles import Tile

from ellc.codegen.blocks.schedule import ordered_tiles
from ellc.codegen.kernels.tile_cycles import step_cycles
from ellc.codegen.kir.assembly import assembly_functions, assembly_text, frame
from ellc.codegen.kir.in_order.code import Code, Loop
from ellc.codegen.kir.in_order.predict import predicted_cycles, steady_loops, trip_cycles
from ellc.codegen.kir.in_order.translate import Translated, translate
from ellc.codegen.kir.ir import Kernel
from ellc.codegen.kir.scheduling import schedule
from ellc.codegen.kir.text import parse, print_kernel
from ellc.codegen.kir.types import Elem
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.machine.target import Target
from ellc.codegen.toolchain.assemble import assemble
from ellc.codegen.toolchain.programs import build_program
from ellc.ir.errors import InternalError
from ellc.ir.op import all_ops

PI, PI_32, A55 = resolve("pi3_64"), resolve("pi3"), resolve("imx93")
SHARE = 21  # one of so many samples is tested
FAULTS = 12 if is_whole() else 4  # of each kind, in each tile


SPECIFIED = {
    "8x8": Tile(8, 2),
    "7x8": Tile(7, 2),
    "6x8": Tile(6, 2),
    "4x16": Tile(4, 4),
    "4x8": Tile(4, 2),
    "3x16": Tile(3, 4),
    "8x8 in chains": Tile(8, 2, 128, chains=2),
    "8x8 with a sum in place": Tile(8, 2, residual=True),
    "4x8, 32 bits": Tile(4, 2),
    "5x8, 32 bits": Tile(5, 2),
    "6x4, 32 bits": Tile(6, 1),
    "4x8 in chains, 32 bits": Tile(4, 2, 128, chains=2),
    "4x8 with a sum in place, 32 bits": Tile(4, 2, residual=True),
    "8x8, A55": Tile(8, 2),
    "6x8, A55": Tile(6, 2),
    "4x16, A55": Tile(4, 4),
    "4x8, A55": Tile(4, 2),
    "8x8 in chains, A55": Tile(8, 2, 128, chains=2),
}
TILES = {name: tile.kernel() for name, tile in SPECIFIED.items()} | {
    "3x4": product(),
    "moving sums, 32 bits": moving(),
    "passed sums": passing(),
    "passed sums, 32 bits": passing(),
}


def target_of(name: str) -> Target:
    return {"32 bits": PI_32, "A55": A55}.get(name.partition(", ")[2], PI)


@functools.cache
def case(name: str) -> Case:
    return translated(TILES[name], target_of(name))


@functools.cache
def unequal(name: str) -> Case:
    """A tile no two of whose sums are equal, so that each exchange of registers is a fault."""
    return translated(replace(SPECIFIED[name], own_starts=True).kernel(), target_of(name))


# --- proofs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TILES)
def test_functions_are_proved_equal_to_their_nests(name: str) -> None:
    found = case(name)
    assert found.problem(found.translated.function) == ""
    again = translated(TILES[name], target_of(name))
    assert again.translated.function == found.translated.function
    lines = found.translated.function.lines
    assert not [line for line in lines if re.fullmatch(r"v?mov (\S+), \1", line)]


def test_values_that_do_not_fit_are_kept_in_the_frame() -> None:
    function = case("8x8 in chains").translated.function
    # The totals of 16 sums wait while another chain needs all registers.
    assert function.scratch_bytes >= 16 * 16
    kernel = schedule(TILES["8x8 in chains"], PI)
    assert "scratch" in print_kernel(kernel) and parse(print_kernel(kernel)) == kernel


Mutation = Callable[[list[str], random.Random], bool]
"""Changes one line; returns whether it could."""


def _drop(lines: list[str], rng: random.Random) -> bool:
    # A value that is loaded from its slot may still be in its register.
    at = _pick(lines, rng, r"(?!nop|prfm|pld|\.|.*\[[xr]0)")
    del lines[at]
    return True


def _substitute(pattern: str, change: Callable[[re.Match[str], random.Random], str]) -> Mutation:
    def mutate(lines: list[str], rng: random.Random) -> bool:
        at = _pick(lines, rng, f"(?!prfm|pld).*{pattern}")
        before = lines[at]
        found = rng.choice(list(re.finditer(pattern, before)))
        lines[at] = before[: found.start()] + change(found, rng) + before[found.end() :]
        return lines[at] != before

    return mutate


def _pick(lines: Sequence[str], rng: random.Random, pattern: str) -> int:
    return rng.choice([i for i, line in enumerate(lines) if re.match(pattern, line)])


def _other(limit: int) -> Callable[[re.Match[str], random.Random], str]:
    def change(found: re.Match[str], rng: random.Random) -> str:
        return found[0].replace(found[1], str((int(found[1]) + rng.randrange(1, limit)) % limit))

    return change


def _further(found: re.Match[str], rng: random.Random) -> str:
    return f"#{int(found[1]) + rng.choice((-16, -8, -4, 4, 8, 16))}"


def _above(reader: str, source: str, load: str) -> Mutation:
    """Move an instruction above the one that loads its operand, which the group of `source` is."""

    def mutate(lines: list[str], rng: random.Random) -> bool:
        at = _pick(lines, rng, reader)
        operand = re.search(source, lines[at])
        assert operand is not None
        writes = re.compile(load.format(operand[1]))
        earlier = [i for i in range(at) if writes.match(lines[i])]
        if not earlier or any(line.startswith(".L") for line in lines[earlier[-1] : at]):
            return False
        lines.insert(earlier[-1], lines.pop(at))
        return True

    return mutate


MUTATED = [
    f"{size}{rest}"
    for size in ("8x8", "4x8")
    for rest in ("", " in chains", " with a sum in place")
]
MUTATIONS: dict[str, Mutation | tuple[Mutation, Mutation]] = {
    "a dropped instruction": _drop,
    "another sum": (
        _substitute(r"(?<=fmla )v(\d+)", _other(32)),
        _substitute(r"(?<=vmla\.f32 )q(\d+)", _other(16)),
    ),
    "another factor": (
        _substitute(r"(?<=s, )v(\d+)(?=\.s\[)", _other(32)),
        _substitute(r"(?<=, )d(\d+)(?=\[)", _other(16)),
    ),
    "another vector": (
        _substitute(r"(?<=fmla v\d\.4s, )v(\d+)", _other(32)),
        _substitute(r"(?<=vmla\.f32 q\d, )q(\d+)", _other(16)),
    ),
    "another lane": (
        _substitute(r"(?<=\.s\[)(\d)", _other(4)),
        _substitute(r"(?<=\d\[)(\d)(?=\])", _other(2)),
    ),
    "another half": (
        _substitute(r"(?<=\.d\[1\], )x(\d+)", _other(29)),
        _substitute(r"(?<=vmov d\d, )r(\d+)", _other(12)),
    ),
    "another register to store": (
        # Several slots of the frame may contain the same value, such as the zero of several sums.
        _substitute(r"(?<=str )q(\d+)(?=, \[x[1-9])", _other(32)),
        _substitute(r"(?<=vstr )d(\d+)", _other(32)),
    ),
    "another offset, step or bound": _substitute(r"#(\d+)(?=[\]]|$)", _further),
    "another pointer": (
        _substitute(r"(?<=\[)x(\d+)(?=, #\d+\])", _other(29)),
        _substitute(r"(?<=\[)r(\d+)(?=, #\d+\])", _other(13)),
    ),
    "a use before its load": (
        _above(r"fmla v\d+\.4s, v\d+\.4s, v\d+\.s", r"v(\d+)\.s", r"ldr [qd]{},"),
        _above(r"vmla\.f32 .*\[", r" d(\d+)\[", r"(vldr|vmov) d{},"),
    ),
}
"""For each fault a change of code, or one of AArch64 code and one of ARM code."""


def _reads_a_copy(lines: Sequence[str], changed: Sequence[str]) -> bool:
    """Whether the only change is a base register that a `mov` has made equal to the right one."""
    pairs = [(a, b) for a, b in zip(lines, changed, strict=False) if a != b]
    bases = [re.findall(r"\[(\w+)", line) for pair in pairs for line in pair]
    return len(pairs) == 1 and any(
        a != b and {f"mov {a}, {b}", f"mov {b}, {a}"}.intersection(lines)
        for a, b in zip(*bases, strict=True)
    )


def _stores_a_copy(lines: Sequence[str], changed: Sequence[str]) -> bool:
    """Whether the only change is a register to store that still has the same value.

    The right register was loaded from the place in memory to which the other one had been stored.
    """
    at = [i for i, (a, b) in enumerate(zip(lines, changed, strict=False)) if a != b]
    pair = [re.match(r"str q(\d+), ", text[at[0]]) for text in (lines, changed)]
    if len(at) != 1 or not pair[0] or not pair[1]:
        return False
    right, other = (match[1] for match in pair if match)
    loaded = _last_write(lines, at[0], right)
    if right == other or loaded < 0:
        return False
    place = re.fullmatch(rf"ldr q{right}, (\[x\d+, #\d+\])", lines[loaded])
    if not place:
        return False
    stores = [
        i for i in range(loaded) if re.fullmatch(r"str q\d+, " + re.escape(place[1]), lines[i])
    ]
    return (
        bool(stores)
        and lines[stores[-1]] == f"str q{other}, {place[1]}"
        and _last_write(lines, at[0], other) < stores[-1]
    )


def _last_write(lines: Sequence[str], end: int, register: str) -> int:
    """The last line before `end` that writes a vector register."""
    writes = re.compile(rf"(?!str )\w+ [qv]{register}\b")
    return max((i for i in range(end) if writes.match(lines[i])), default=-1)


@pytest.mark.parametrize("what", MUTATIONS)
@pytest.mark.parametrize("name", [name for name in SPECIFIED if name.split(",")[0] in MUTATED])
def test_the_checker_catches_seeded_faults(name: str, what: str) -> None:
    found, rng, tried = unequal(name), random.Random(f"{name} {what}"), 0
    function, change = found.translated.function, MUTATIONS[what]
    if isinstance(change, tuple):
        change = change[found.target is PI_32]
    while tried < FAULTS:
        lines = list(function.lines)
        if not change(lines, rng):
            continue
        if _reads_a_copy(function.lines, lines) or _stores_a_copy(function.lines, lines):
            continue
        tried += 1
        changed = [(a, b) for a, b in zip(function.lines, lines, strict=False) if a != b][:2]
        assert found.problem(replace(function, lines=tuple(lines))), changed


@pytest.mark.parametrize(
    "change",
    [
        _substitute(r"(?<=vst1\.32 \{)d(\d+)", _other(32)),
        _substitute(r"(?<=\[)r(\d+)(?=\])", _other(13)),
        _substitute(r"(?<=ldrd )r(\d+)", _other(12)),
        MUTATIONS["another offset, step or bound"],
        _drop,
    ],
)
def test_the_checker_catches_faults_of_carried_pointers(change: Mutation) -> None:
    """The index that the loop carries is a pointer in the function, and loads are in parts."""
    found, rng = case("moving sums, 32 bits"), random.Random(0)
    function = found.translated.function
    (streams,) = [w.streams for w in found.translated.witnesses.values() if any(w.streams)]
    assert streams == ("x", "", "")
    for _ in range(12):
        lines = list(function.lines)
        if change(lines, rng):
            assert found.problem(replace(function, lines=tuple(lines)))


def test_the_checker_catches_dropped_spills() -> None:
    found = case("8x8 in chains")
    lines = found.translated.function.lines
    loop = lines.index(".p2align 4")
    spills = [at for at in range(loop) if re.match(r"str q\d+, \[x0", lines[at])]
    assert len(spills) == 16
    for at in spills:
        without = (*lines[:at], *lines[at + 1 :])
        assert found.problem(replace(found.translated.function, lines=without)), lines[at]


@pytest.mark.parametrize("size", ["8x8{}", "4x8{}, 32 bits"])
def test_the_checker_knows_the_calling_convention(size: str) -> None:
    found = case(size.format(""))
    function = found.translated.function
    assert function.saves
    for register in function.saves:
        rest = tuple(r for r in function.saves if r != register)
        assert "belongs to the caller" in found.problem(replace(function, saves=rest))
    chains = case(size.format(" in chains"))
    assert "belongs to the caller" in chains.problem(
        replace(chains.translated.function, scratch_bytes=0)
    )
    foreign = ("r0", "r13", "r14") if found.target is PI_32 else ("x0", "x18", "x29")
    for register in foreign:
        lines = (*function.lines, f"mov {register}, {register[0]}1")
        assert "belongs to the caller" in found.problem(replace(function, lines=lines))


def test_halves_of_vectors_must_be_stored_together() -> None:
    found = case("4x8, 32 bits")
    function = found.translated.function
    at = next(i for i, line in enumerate(function.lines) if line.startswith("vstr"))
    lines = [*function.lines[: at + 1], "nop", *function.lines[at + 1 :]]
    assert "half" in found.problem(replace(function, lines=tuple(lines)))


def test_a_function_without_a_proof_is_an_internal_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import ellc.codegen.kir.in_order.scheduler as module

    def wrong(*args: object) -> Translated:
        found = translate(*args)  # type: ignore[arg-type]
        lines = tuple(line.replace("s[2]", "s[1]") for line in found.function.lines)
        return replace(found, function=replace(found.function, lines=lines))

    monkeypatch.setattr(module, "translate", wrong)
    with pytest.raises(InternalError, match="not proved equal to its source"):
        schedule(TILES["8x8"], PI)


# --- speed ---------------------------------------------------------------------------------------

LEAST_CYCLES = {
    "8x8": 86,
    "7x8": 76,
    "6x8": 64,
    "4x16": 86,
    "4x8": 49,
    "3x16": 77,
    "8x8 in chains": 86,
    "4x8, 32 bits": 45,
    "5x8, 32 bits": 54,
    "8x8, A55": 64,
    "6x8, A55": 48,
    "4x16, A55": 64,
    "4x8, A55": 37,
    "8x8 in chains, A55": 64,
}
"""The cycles of four steps of each tile: one for each product, one for three of them, a branch. In
the tiles 4x8 and 3x16 there are more loads than that: each takes four cycles. In the 32-bit state,
trips have no whole number of groups: their gaps are four cycles apart, round and round. On the
Cortex-A55, loads take no cycles unless they are more than a third of the products."""


@pytest.mark.parametrize("name", LEAST_CYCLES)
def test_inner_loops_have_the_predicted_length(name: str) -> None:
    for loop in steady_loops(case(name).translated.nodes):
        (code,) = loop.body
        assert isinstance(code, Code)
        products = sum(op.kind == "multiply_add" for op in code.ops)
        cycles = trip_cycles(loop, *case(name).how)
        assert cycles <= LEAST_CYCLES[name]
        loads = sum(op.kind == "half_load" for op in code.ops)
        # At least 2.9 multiply-adds of a possible 3, or as many as the loads allow.
        assert cycles <= max(4 * products / 2.9, 4 * loads + 1)


def test_loops_of_all_tiles_are_as_long_as_the_planner_believes() -> None:
    """Above all those whose values fit in the registers only in the scheduler's order."""
    sizes = []
    for tile in ordered_tiles(PI_32, Elem.F32, 64, 64):
        cycles = step_cycles(PI_32, tile)
        if not cycles:
            continue
        made = translated(Tile(tile.pixels, tile.vectors).kernel(), PI_32).translated
        (loop,) = steady_loops(made.nodes)
        assert 0.97 * cycles <= trip_cycles(loop, *how(PI_32)) <= cycles, tile.note
        sizes.append(tile.note)
    assert {"5x8", "4x8", "3x12", "4x12"} <= set(sizes)


@pytest.mark.slow
@pytest.mark.needs_cycle_tool
@pytest.mark.parametrize(
    "target",
    [
        pytest.param(PI, marks=pytest.mark.emulated("qemu-aarch64")),
        pytest.param(PI_32, marks=pytest.mark.emulated("qemu-arm")),
    ],
    ids=lambda target: target.name,
)
def test_predictions_agree_with_the_model_of_the_core(target: Target, tmp_path: Path) -> None:
    names = [name for name in LEAST_CYCLES if target_of(name) is target]
    modelled = _modelled(target, [TILES[name] for name in names], tmp_path)
    for name, cycles in zip(names, modelled, strict=True):
        (panels,) = [n for n in case(name).translated.nodes if isinstance(n, Loop)]
        predicted = predicted_cycles([replace(panels, trips=1)], *how(target))
        # Branches, cold lines and prefetches behind the buffers add a little.
        assert predicted <= cycles <= 1.04 * predicted, (name, predicted, cycles)


def _modelled(target: Target, kernels: Sequence[Kernel], folder: Path) -> list[float]:
    """The cycles of a call of each kernel's function, with one panel and warm caches."""
    head, calls = "", ""
    done = [schedule(replace(k, name=f"tile{n}"), target) for n, k in enumerate(kernels)]
    text = assembly_text(done, target)
    for kernel, made in zip(kernels, done, strict=True):
        ((name, _),) = assembly_functions(made)
        head += f"void {name}(void *);\n"
        calls += f"{' '.join(_frame_values(kernel, target))} {name}(frame);\n"
    (folder / "tiles.o").write_bytes(assemble(text, target))
    (folder / "tiles.c").write_text(head + _PROGRAM.replace("{calls}", calls))
    program, answer = folder / "tiles", folder / "answer.json"
    build_program(target, [folder / "tiles.c"], [folder / "tiles.o"], program)
    words = [sys.executable, os.environ["ELLC_CYCLE_TOOL"], "--json", str(answer)]
    words += ["--roi", "forward", "--diff", "1", "9", "--", str(program), "{}"]
    subprocess.run(words, check=True, capture_output=True)
    cycles = {f["name"]: float(f["cycles"]) for f in json.loads(answer.read_text())["functions"]}
    return [cycles[f"tile{number}_assembly0"] for number in range(len(kernels))]


def _frame_values(kernel: Kernel, target: Target) -> Iterator[str]:
    """C statements that fill the frame of a kernel's only loop: buffers, and one trip."""
    layout = frame((kernel.body[0],), (), target.word_bits)
    for number, offset in enumerate(layout.params.values()):
        yield f"*(char **)(frame + {offset}) = memory + {number} * BUFFER_BYTES;"
    for name, value in ((kernel.begin.name, 0), (kernel.end.name, 1)):
        yield f"*(long *)(frame + {layout.inputs[name]}) = {value};"


_PROGRAM = """
/* Buffers that were a multiple of 8 KiB apart would replace each other's lines. */
enum { BUFFER_BYTES = 65536 + 24 * 64 };
static char memory[5 * BUFFER_BYTES] __attribute__((aligned(64)));
static char frame[4096] __attribute__((aligned(64)));
__attribute__((noinline)) static void forward(int calls)
{
    for (int i = 0; i < calls; i++) {
{calls}
    }
}
int main(int count, char **words)
{
    (void)count;
    forward(words[1][0] - '0');
    return 0;
}
"""


# --- the same bits -------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "share"),
    [
        pytest.param(PI, 0, marks=pytest.mark.emulated("qemu-aarch64")),
        pytest.param(PI_32, SHARE // 2, marks=pytest.mark.emulated("qemu-arm")),
        pytest.param(A55, SHARE - 1, marks=pytest.mark.emulated("qemu-aarch64")),
    ],
    ids=["pi3_64", "pi3", "imx93"],
)
def test_samples_through_scheduled_nests_have_the_same_bits(target: Target, share: int) -> None:
    """A part of the samples; `soak/scheduled.py` runs all of them."""
    every = [s for op in all_ops().values() for s in samples(op)][share::SHARE]
    found = differences([sample.trial for sample in every], target)
    assert sum(said is not None for said in found) > 6
    assert [(s.label, said) for s, said in zip(every, found, strict=True) if said] == []

"""`--memory`: arenas in several memories, and what does not fit."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from agreement import disagreement
from small_networks import convolution_network, inputs_of, two_way_network

from ellc import cli
from ellc.codegen.machine.boards import BOARDS
from ellc.codegen.machine.budgets import budgets
from ellc.codegen.planning.memories import plan_memories
from ellc.codegen.planning.memory import ArenaPlan, Lifetime, plan_arena
from ellc.codegen.toolchain.elf_reader import ElfFile
from ellc.driver import CompileOptions, compile_model
from ellc.ir.container import save
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate
from ellc.ir.types import Array
from ellc.memory_use import STACK_RESERVE_BYTES

# Reads the inputs of two calls from stdin, and writes the outputs. A byte behind each memory and
# between the structures must keep its value.
MAIN = r"""
#include <stdio.h>
#include <stdlib.h>
#include "NAME.h"
GUARDED
NAME_DEFINE_ARENAS
static NAME_t model;
int main(void)
{
    static unsigned char in_bytes[IN_BYTES], out_bytes[OUT_BYTES];
    const void *in[] = { INPUTS };
    void *out[] = { OUTPUTS };
    int call;
    FILL
    if (NAME_init(&model, NAME_ARENAS) != NAME_OK)
        return 2;
    if (NAME_init(&model, TOO_SMALL) != NAME_EARENA || NAME_init(&model, NULLS) != NAME_EARGUMENT)
        return 3;
    if (NAME_init(&model, ARGUMENTS) != NAME_OK)
        return 2;
    for (call = 0; call < 2; call++) {
        if (fread(in_bytes, sizeof in_bytes, 1, stdin) != 1)
            return 4;
        if (NAME_predict_v(&model, in, out) != NAME_OK)
            return 6;
        fwrite(out_bytes, sizeof out_bytes, 1, stdout);
    }
    CHECK
    return 0;
}
"""


def _main(name: str, graph: Graph, memories: list[str]) -> str:
    macros = [m.upper() for m in memories]
    pairs = list(zip(memories, macros, strict=True))
    types = [[graph.types[p.value] for p in ports] for ports in (graph.inputs, graph.outputs)]
    sizes = [[t.elements * 4 for t in part] for part in types]
    starts = [[sum(part[:i]) for i in range(len(part))] for part in sizes]
    words = {
        "GUARDED": "".join(
            f"static {name}_IN_{x} unsigned char {m}[{name}_{x}_BYTES + 64];\n" for m, x in pairs
        ),
        "FILL": "\n".join(
            f"for (call = 0; call < 64; call++) {m}[{name}_{x}_BYTES + call] = 0xA5;"
            for m, x in pairs
        ),
        "CHECK": "\n".join(
            f"for (call = 0; call < 64; call++) if ({m}[{name}_{x}_BYTES + call] != 0xA5) return 5;"
            for m, x in pairs
        ),
        "ARGUMENTS": ", ".join(f"{m}, {name}_{x}_BYTES" for m, x in pairs),
        "TOO_SMALL": ", ".join(
            f"{m}, {name}_{x}_BYTES - {int(m == memories[-1])}" for m, x in pairs
        ),
        "NULLS": ", ".join(
            f"{'0' if m == memories[-1] else m}, {name}_{x}_BYTES" for m, x in pairs
        ),
        "IN_BYTES": str(sum(sizes[0])),
        "OUT_BYTES": str(sum(sizes[1])),
        "INPUTS": ", ".join(f"in_bytes + {at}" for at in starts[0]),
        "OUTPUTS": ", ".join(f"out_bytes + {at}" for at in starts[1]),
    }
    text = MAIN
    for word, value in words.items():
        text = text.replace(word, value)
    return text.replace("NAME", name)


def _two_calls(graph: Graph) -> tuple[list[bytes], list[Array]]:
    """The inputs of two calls as bytes, and all outputs of the reference one after the other."""
    given: list[bytes] = []
    wanted: list[Array] = []
    states: Mapping[str, Array] | None = None
    for seed in (1, 2):
        inputs = inputs_of(graph, seed)
        result = evaluate(graph, inputs, states=states)
        states = result.states
        given += [np.asarray(x, order="C").tobytes() for x in inputs]
        wanted += result.outputs
    return given, wanted


@pytest.mark.parametrize(
    ("graph", "sizes"),
    [(convolution_network(), (1536, 2560, 8192)), (two_way_network(), (64, 192))],
)
def test_an_arena_in_several_memories_gives_the_reference(
    graph: Graph, sizes: tuple[int, ...], tmp_path: Path
) -> None:
    asked = tuple((f"part{i}", n) for i, n in enumerate(sizes))
    asked = ((asked[0][0], asked[0][1] + STACK_RESERVE_BYTES), *asked[1:])
    options = CompileOptions(emit=("c",), memories=asked, chains=False)
    made = compile_model(graph, "imxrt1050", options, tmp_path)
    used = [use.memory for use in made.costs.memories if use.bytes]
    assert len(used) > 1
    assert made.costs.arena_bytes == sum(use.bytes for use in made.costs.memories)
    (tmp_path / "main.c").write_text(_main(made.name, graph, used))
    sources = (tmp_path / "main.c", tmp_path / f"{made.name}.c")
    words = ["cc", "-std=gnu11", "-O1", "-Wall", "-Werror", *map(str, sources), "-lm"]
    built = subprocess.run(
        [*words, "-o", tmp_path / "program"], capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    given, wanted = _two_calls(graph)
    ran = subprocess.run(
        [tmp_path / "program"], input=b"".join(given), capture_output=True, check=True
    )
    got = np.frombuffer(ran.stdout, np.float32)
    want = np.concatenate([x.reshape(-1) for x in wanted])
    assert not disagreement(got, want)


@pytest.mark.parametrize("seed", range(20))
def test_buffers_that_live_together_share_no_bytes(seed: int) -> None:
    rng = random.Random(seed)
    items = []
    for number in range(rng.randrange(1, 40)):
        first = rng.randrange(20)
        size = rng.choice([1, 64, 100, 999, 4096])
        items.append(Lifetime(f"b{number}", size, first, first + rng.randrange(6)))
    density = {x.id: rng.random() for x in items}
    whole = plan_arena(items, 64).arena_bytes
    memories = [("a", whole // 3 // 64 * 64), ("b", whole // 2 // 64 * 64), ("c", whole)]
    arena = plan_memories(items, 64, memories[: rng.randrange(1, 4)], density)
    if arena is None:
        return
    _check(items, arena, dict(memories))


def _check(items: list[Lifetime], arena: ArenaPlan, sizes: dict[str, int]) -> None:
    assert arena.offsets.keys() == {x.id for x in items}
    assert all(region.bytes <= sizes[region.memory] for region in arena.regions)
    for x in items:
        start = arena.offsets[x.id]
        end = start + x.bytes
        assert any(r.start <= start and end <= r.start + r.bytes for r in arena.regions)
        for y in items:
            together = x.first <= y.last and y.first <= x.last
            if x.id < y.id and together:
                other = arena.offsets[y.id]
                assert end <= other or other + y.bytes <= start


def test_the_densest_buffer_lies_in_the_first_memory() -> None:
    items = [Lifetime("cold", 64, 0, 3), Lifetime("hot", 64, 0, 3), Lifetime("warm", 64, 0, 3)]
    density = {"cold": 1.0, "hot": 9.0, "warm": 5.0}
    arena = plan_memories(items, 64, [("fast", 64), ("slow", 128)], density)
    assert arena is not None
    assert arena.offsets["hot"] == 0
    assert [(r.memory, r.start, r.bytes) for r in arena.regions] == [
        ("fast", 0, 64),
        ("slow", 64, 128),
    ]
    assert plan_memories(items, 64, [("fast", 64), ("slow", 64)], density) is None


def test_most_cycles_lie_in_the_first_memory() -> None:
    """The denser buffer is the smaller one, and only one of both fits."""
    items = [Lifetime("dense", 64, 0, 3), Lifetime("large", 192, 0, 3)]
    arena = plan_memories(items, 64, [("fast", 192), ("slow", 256)], {"dense": 3.0, "large": 2.0})
    assert arena is not None
    assert arena.offsets == {"large": 0, "dense": 192}


def _compiled(model: Path, *options: str) -> int:
    words = ["compile", str(model), "--target", "imxrt1050", "-o", str(model.parent / "out")]
    return cli.run([*words, *options])


def test_every_memory_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "small.eir"
    save(convolution_network(), model)
    assert _compiled(model, "--memory", "dtcm=128K,ocram=256K,flash=1M") == 0
    printed = capsys.readouterr().out
    document = json.loads((tmp_path / "out" / "small.json").read_text())
    memories = {entry["name"]: entry for entry in document["memory"]["memories"]}
    assert memories["dtcm"]["arena_bytes"] == document["memory"]["arena_bytes"]
    assert memories["dtcm"]["stack_bytes"] == document["memory"]["stack_bytes"]
    assert memories["flash"]["image_bytes"] == document["memory"]["flash_bytes"]
    for name, entry in memories.items():
        assert f"{name} " in printed
        assert f"of {entry['most_bytes']:,} bytes" in printed
    assert '".bss.ellc.dtcm.small"' in (tmp_path / "out" / "small.h").read_text()


def test_the_hottest_kernels_that_fit_are_listed_for_fast_memory(tmp_path: Path) -> None:
    """The fragment's sections are in the object, and their sizes sum up to the printed bytes."""
    graph = convolution_network()
    options = CompileOptions(
        emit=("obj",), memories=(("itcm", 4096), ("dtcm", 1 << 16), ("flash", 1 << 20))
    )
    made = compile_model(graph, "imxrt1050", options, tmp_path)
    lines = (tmp_path / "small_code.ld").read_text().splitlines()[1:]
    sizes = {s.name: s.size for s in ElfFile.read(tmp_path / "small.o").sections}
    listed = [line.removeprefix("*(").removesuffix(")") for line in lines]
    (used,) = [use.bytes for use in made.costs.memories if use.memory == "itcm"]
    assert listed
    assert used == sum(sizes[name] for name in listed) <= 4096
    assert used < sum(size for name, size in sizes.items() if name.startswith(".text.small_"))


@pytest.mark.parametrize(
    ("memory", "code", "text"),
    [
        ("dtcm=1100,ocram=64", "E317", "bytes of a memory"),
        ("dtcm=64K,flash=4K", "E319", "flash has 4,096 bytes"),
        ("itcm=64K", "E318", "dtcm, ocram"),
    ],
)
def test_what_does_not_fit_is_an_error_with_a_next_step(
    memory: str, code: str, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "small.eir"
    save(convolution_network(), model)
    assert _compiled(model, "--memory", memory) == 2
    reported = capsys.readouterr().err
    assert f"[{code}]" in reported
    assert text in reported
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["dtcm", "dtcm=0", "dtcm=1K,dtcm=2K", "DTCM=1K", ""])
def test_a_text_that_names_no_memories_is_refused(text: str, tmp_path: Path) -> None:
    model = tmp_path / "small.eir"
    save(convolution_network(), model)
    assert _compiled(model, "--memory", text) == 2


def test_the_memories_of_boards_are_known() -> None:
    for board in BOARDS.values():
        if board.os != "none":
            with pytest.raises(EllcError, match="virtual memory"):
                budgets(board, ())
        elif board.memories:
            found = budgets(board, ())
            assert {m.kind for m in found} >= {"data", "flash"}
            assert budgets(board, None) == ()

"""`ellc explain`: golden files of all levels for a small network, and error messages."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from pathlib import Path

import pytest
from small_networks import convolution_network

from ellc.codegen.blocks.calls import BufferArg
from ellc.codegen.kir.issue_slots import issue_slots
from ellc.codegen.machine.resolve import resolve
from ellc.explain import cost_level
from ellc.explain.cycle_tool import VARIABLE, modelled_cycles
from ellc.explain.level_names import LEVEL_NAMES
from ellc.explain.levels import LEVELS, explanation
from ellc.explain.names import find, middle_out
from ellc.explain.study import Study, StudyOptions, study
from ellc.ir.builder import GraphBuilder
from ellc.ir.container import save
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph
from ellc.ir.ops.loop import Loop
from ellc.ir.ops.pointwise import Add, Mul, Relu
from ellc.ir.ops.shape import Reshape
from ellc.ir.types import DType, TensorType


@pytest.fixture(autouse=True)
def no_cycle_tool(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Unset the variable on which the output would depend."""
    if not request.node.get_closest_marker("needs_cycle_tool"):
        monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture(scope="module")
def small() -> Study:
    return study(convolution_network(), resolve("pi3_64"))


def test_every_level_has_a_name_for_the_command() -> None:
    assert tuple(LEVELS) == LEVEL_NAMES


@pytest.mark.parametrize("level", ["graph", "plan", "cost"])
def test_level_of_a_network(small: Study, golden, level: str) -> None:
    golden(f"explain/{level}.txt", explanation(small, levels=(level,)) + "\n")


@pytest.mark.parametrize("level", ["graph", "plan", "cost"])
def test_level_of_a_node(small: Study, golden, level: str) -> None:
    golden(f"explain/conv1_{level}.txt", explanation(small, "conv1", (level,)) + "\n")


@pytest.mark.parametrize("level", ["kernel", "llvm"])
def test_level_of_a_kernel(golden, level: str) -> None:
    b = GraphBuilder("little")
    b.output("y", b.add(Relu(), b.input("x", TensorType(DType.F32, (1, 8))), source="positive"))
    found = study(b.build(), resolve("pi3_64"))
    golden(f"explain/relu_{level}.txt", explanation(found, "positive", (level,)) + "\n")


def test_assembly_has_instructions_and_no_directives(small: Study) -> None:
    text = explanation(small, "pool1", ("asm",))
    assert text.startswith(f"{VARIABLE} is not set")
    assert re.search(r"^ {4}fmax?n?m? +v\d+\.4s", text, re.M) and re.search(
        r"^ {4}ret$", text, re.M
    )
    assert not re.search(r"^\s*\.(cfi|size|type|text|file|globl|p2align)", text, re.M)


def test_a_node_has_many_names(small: Study) -> None:
    (node,) = find(small, "relu1")
    for name in (f"%{node.value}", node.value, "conv1", node.steps[-1].name):
        assert find(small, name) == (node,)


def test_nodes_of_a_study_are_the_steps_of_its_plan(small: Study) -> None:
    steps = [step for node in small.nodes for step in node.steps]
    assert [*steps, *small.copies] == list(small.plan.steps)
    assert sum(map(cost_level.share, [small] * len(small.nodes), small.nodes)) == pytest.approx(1)


def test_unknown_node_names_near_ones(small: Study) -> None:
    with pytest.raises(EllcError) as caught:
        explanation(small, "convl")
    assert caught.value.code == "E750" and "conv1" in caught.value.problems


@pytest.mark.parametrize("level", [n for n, level in LEVELS.items() if level.of_network is None])
def test_level_of_a_node_without_one(small: Study, level: str) -> None:
    with pytest.raises(EllcError, match="most expensive nodes are %") as caught:
        explanation(small, levels=(level,))
    assert caught.value.code == "E751"


def test_a_view_has_no_kernel() -> None:
    b = GraphBuilder("views")
    x = b.input("x", TensorType(DType.F32, (2, 3)))
    y = b.add(Relu(), b.add(Reshape((3, 2)), x, source="flat"), source="positive")
    b.output("y", y)
    found = study(b.build(), resolve("pi3_64"), StudyOptions(optimize=False))
    assert "view of bytes" in explanation(found, "flat", ("plan",))
    assert "no kernel" in explanation(found, "flat", ("asm",))


def loop_graph(trips: int = 40) -> Graph:
    """A recurrent network whose loop is not unrolled."""
    body = GraphBuilder("body")
    state = body.input("s", TensorType(DType.F32, (1, 4)))
    gain = body.input("g", TensorType(DType.F32, (1, 4)))
    body.output("s", body.add(Mul(), body.add(Add(), state, gain), gain))
    b = GraphBuilder("loop")
    x = b.input("x", TensorType(DType.F32, (1, 4)))
    g = b.input("g", TensorType(DType.F32, (1, 4)))
    b.output("y", b.add_multi(Loop(body.build(), trips, 1, (), ()), x, g, source="again")[0])
    return b.build()


def test_steps_of_a_loop_count_all_trips() -> None:
    short, long = (study(loop_graph(n), resolve("pi3_64")) for n in (40, 80))
    assert 1.9 < long.all_slots / short.all_slots <= 2.0
    steps = [step for node in long.nodes for step in node.steps]
    assert [*steps, *long.copies] == list(long.plan.steps)
    assert "80 times by a loop" in explanation(long, "again", ("plan",))


def test_borders_come_after_what_computes() -> None:
    found = study(convolution_network(), resolve("pi0"))
    for node in found.nodes:
        borders = [step.op == "border" for step in node.steps]
        assert not borders[-1] and not node.kernels[0].name.count("_border")


def test_every_node_of_a_loop_has_every_level() -> None:
    found = study(loop_graph(), resolve("pi3_64"))
    for node in found.nodes:
        for name, level in LEVELS.items():
            assert level.of_node(found, node) or (name in ("kernel", "llvm", "asm"))
    assert "loop of 40 trips" in explanation(found, f"%{found.nodes[0].value}", ("graph",))


def test_slots_of_a_product_are_close_to_its_instructions(small: Study) -> None:
    """A convolution needs at least one slot for each vector multiply-add."""
    for layer in ("conv1", "conv2"):
        (node,) = find(small, layer)
        lanes = small.target.lanes(4)
        assert 1.0 <= small.node_slots[node.value] / (node.macs / lanes) < 6.0


def test_slots_follow_the_extent(small: Study) -> None:
    (node,) = find(small, "pool1")
    call = node.steps[-1].call
    one, two = (issue_slots(call.kernel, extent, small.target) for extent in (1, 2))
    assert 0 < one < two < 2.5 * one


def test_lifetimes_tell_what_a_step_reads_and_writes(small: Study) -> None:
    spans = {x.id: x for x in small.plan.arena.lifetimes}
    for index, step in enumerate(small.plan.steps):
        for arg in step.call.args:
            if isinstance(arg, BufferArg) and arg.buffer.id in spans:
                assert spans[arg.buffer.id].first <= index <= spans[arg.buffer.id].last


def test_names_keep_both_ends() -> None:
    assert middle_out("abcdefghij", 10) == "abcdefghij"
    assert middle_out("abcdefghijk", 10) == "abc…fghijk"


@pytest.mark.slow
def test_command(tmp_path: Path, ellc_command) -> None:
    save(convolution_network(), tmp_path / "m.eir")
    done = ellc_command("explain", "m.eir", "--target", "pi3_64", env={VARIABLE: None})
    assert done.returncode == 0, done.stderr
    assert "most expensive" in done.stdout and f"{VARIABLE} is not set" in done.stdout
    wrong = ellc_command("explain", "m.eir", "--level", "llvm", env={VARIABLE: None})
    assert wrong.returncode == 2 and wrong.stderr.startswith("error[E751]")


def fake_tool(folder: Path, said: str) -> str:
    """A fake cycle tool that writes the given document."""
    path = folder / "tool.py"
    path.write_text(
        "import sys\n"
        'place = sys.argv[sys.argv.index("--json") + 1]\n'
        f"open(place, 'w').write({said!r})\n"
    )
    return str(path)


def test_tool_that_fails_is_reported(small: Study, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("ellc.explain.cycle_tool.build_calls", lambda *_: None)
    for tool in (str(tmp_path / "none.py"), fake_tool(tmp_path, "{"), fake_tool(tmp_path, "[]")):
        with pytest.raises(EllcError) as caught:
            modelled_cycles(small.plan, small.name, {VARIABLE: tool})
        assert caught.value.code == "E623" and caught.value.problems


def test_cycles_stand_beside_their_instructions(small: Study, tmp_path: Path, monkeypatch) -> None:
    """Cycles by address are assigned to the instructions of a block in the middle of a kernel."""
    monkeypatch.setattr("ellc.explain.cycle_tool.build_calls", lambda *_: None)
    (node,) = find(small, "pool1")
    (kernel,) = node.kernels
    blocks = [
        {"function": kernel.name, "count": 1, "asm": [["0x1000", 2.0, "first"]]},
        {"function": kernel.name, "count": 10, "asm": [["0x1008", 1.5, "third"]]},
        {"function": "main", "count": 1, "asm": [["0x10", 9.0, "elsewhere"]]},
    ]
    functions = [{"name": kernel.name, "cycles": 17.0}, {"name": "main", "cycles": 9.0}]
    tool = fake_tool(tmp_path, json.dumps({"functions": functions, "blocks": blocks}))
    with_cycles = dataclasses.replace(small)
    monkeypatch.setenv(VARIABLE, tool)
    assert with_cycles.node_cycles(node) == pytest.approx(17.0)
    lines = explanation(with_cycles, "pool1", ("asm",)).splitlines()
    costs = [line.split()[:3] for line in lines if re.match(r" +\d+ +\d+ +\d", line)]
    assert costs == [["2", "1", "2.00"], ["15", "10", "1.50"]]
    assert "modelled cycles    17, " in explanation(with_cycles, "pool1", ("cost",))


def test_only_modelled_cores_have_cycles() -> None:
    found = study(convolution_network(), resolve("pi4"))
    missing = modelled_cycles(found.plan, found.name, {VARIABLE: sys.executable}).missing
    assert "not pi4" in missing


@pytest.mark.slow
@pytest.mark.needs_cycle_tool
@pytest.mark.emulated("qemu-aarch64")
def test_instructions_have_the_cycles_of_their_kernel(small: Study) -> None:
    """A kernel's instructions have all of its cycles, and its return instruction has run."""
    found = dataclasses.replace(small)
    (node,) = find(found, "conv2")
    (kernel,) = node.kernels
    (made,) = found.assemblies([kernel]).values()
    assert made.has_cycles
    counted = sum(line.cycles for line in made.lines)
    assert counted == pytest.approx(found.modelled.by_kernel[kernel.name], rel=1e-6)
    assert all(line.cost.runs >= 1 for line in made.lines if line.cost and "ret" in line.text)

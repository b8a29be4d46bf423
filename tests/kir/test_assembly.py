"""Schedulers may replace blocks and loops by assembly functions, with the same results."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from assembling import assemble_blocks, assembled_in
from interpreted_plan import run_plan
from kernel_samples import guarded, in_place, product, swapped
from operator_graphs import Sample, samples
from parts import quick_part

from ellc.codegen.blocks.calls import Options
from ellc.codegen.kir.assembly import assembly_functions, assembly_text, frame, kernel_name
from ellc.codegen.kir.c99 import c_kernels
from ellc.codegen.kir.ir import Assembled, AssemblyFunction, For, Kernel, Let, walk
from ellc.codegen.kir.scheduling import schedule
from ellc.codegen.kir.straight_line import SCHEDULERS, Block
from ellc.codegen.kir.text import parse, print_kernel
from ellc.codegen.kir.verify import problems
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.machine.target import Target
from ellc.codegen.measure.testing import run_trials
from ellc.codegen.output.build import BuildOptions, build
from ellc.codegen.planning.plan import Plan
from ellc.codegen.planning.planner import make_plan
from ellc.codegen.toolchain.elf_reader import ElfFile
from ellc.explain.assembly import assemble
from ellc.explain.cycle_tool import Cost, Modelled
from ellc.ir.builder import GraphBuilder
from ellc.ir.errors import EllcError, InternalError
from ellc.ir.op import all_ops
from ellc.ir.ops.pointwise import Add, Mul
from ellc.ir.types import Array, DType, TensorType

SHARE = 15  # every 15th sample is tested; `test_in_order.py` tests others, through real schedules
NOP = AssemblyFunction(("nop",))


@pytest.fixture(autouse=True)
def scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCHEDULERS, "assembling", assemble_blocks)


def assembling(name: str) -> Target:
    target = resolve(name)
    return replace(target, core=replace(target.core, scheduler="assembling"))


@functools.cache
def every_sample() -> tuple[Sample, ...]:
    return tuple(s for op in all_ops().values() for s in samples(op))[::SHARE]


def assembled(kernel: Kernel, target: str = "pi3_64") -> Kernel:
    done = schedule(kernel, assembling(target))
    assert any(assembled_in(done.body))
    return done


def assembled_calls(plan: Plan) -> list[Assembled]:
    kernels = {step.call.kernel.name: step.call.kernel for step in plan.steps}
    return [call for kernel in kernels.values() for call in assembled_in(kernel.body)]


def network(target: str = "pi3_64", scheduler: str = "assembling") -> Plan:
    """The plan of (x + y) * x, with assembly functions in its kernels."""
    row = resolve(target)
    row = replace(row, core=replace(row.core, scheduler=scheduler))
    b = GraphBuilder("small")
    x, y = (b.input(name, TensorType(DType.F32, (1, 37))) for name in "xy")
    b.output("z", b.add(Mul(), b.add(Add(), x, y), x))
    return make_plan(b.build(), row, Options(), "k")


# --- the same bits -------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("host", 0),
        pytest.param("pi3", 1, marks=pytest.mark.emulated),
        pytest.param("pi3_64", 2, marks=pytest.mark.emulated),
    ],
)
def test_samples_through_assembly_have_the_same_bits(name: str, number: int) -> None:
    target, other = resolve(name), assembling(name)
    every = quick_part(every_sample(), number, 3)
    chosen = [sample for sample in every if has_assembly(sample, other)]
    assert len(chosen) > 3
    trials = [sample.trial for sample in chosen]
    as_built, through = (run_trials(trials, t) for t in (target, other))
    for sample, a, b in zip(chosen, as_built, through, strict=True):
        assert isinstance(a, list) and isinstance(b, list), (sample.label, a, b)
        assert all(same(x, y) for x, y in zip(a, b, strict=True)), sample.label


def has_assembly(sample: Sample, target: Target) -> bool:
    """Whether a sample has a kernel that calls an assembly function."""
    try:
        plan = make_plan(sample.trial.graph, target, Options(), "k")
    except EllcError as error:
        assert error.code in ("E300", "E301")
        return False
    return any(any(assembled_in(step.call.kernel.body)) for step in plan.steps)


def same(a: Sequence[Array], b: Sequence[Array]) -> bool:
    return all(x.tobytes() == y.tobytes() for x, y in zip(a, b, strict=True))


def test_the_interpreter_runs_what_assembly_stands_for() -> None:
    plan = network()
    assert all(any(assembled_in(step.call.kernel.body)) for step in plan.steps)
    x, y = (np.linspace(-3, i, 37, dtype=np.float32).reshape(1, 37) for i in (3, 5))
    (z,) = run_plan(plan, (x, y))
    assert np.array_equal(z, (x + y) * x)


def test_c_code_and_text_contain_the_statements_that_assembly_stands_for() -> None:
    plain, kernel = in_place(), assembled(in_place())
    target = resolve("pi3_64")
    assert c_kernels([kernel], target) == c_kernels([plain], target)
    assert parse(print_kernel(kernel)) == kernel
    assert "code fmax v" in print_kernel(kernel)


# --- objects -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pi3_64", "pi3", "linux"])
def test_an_object_has_the_functions_with_unwinding_information(name: str, tmp_path: Path) -> None:
    plan = network(name)
    made = build(plan, "small", ("obj", "asm"), tmp_path, BuildOptions("test"))
    found = ElfFile.read(made.files["obj"][0])
    assert found.undefined == ()
    assert sorted(s.name for s in found.symbols if s.is_defined and not s.is_local) == sorted(
        made.model.exports
    )
    functions = [s.name for s in found.symbols if "_assembly" in s.name]
    assert len(functions) == len(assembled_calls(plan))
    assert ".debug_frame" in {section.name for section in found.sections}
    assert [path.name for path in made.files["asm"]] == ["small.s", "small.functions.s"]
    assert functions[0] in made.files["asm"][1].read_text()
    saved = 48 if name == "linux" else 16  # bytes of saved registers that frames must include
    assert made.stack_bytes is not None
    plainly = build(network("pi3_64", ""), "small", ("obj",), tmp_path, BuildOptions("test"))
    assert plainly.stack_bytes is not None and made.stack_bytes >= plainly.stack_bytes + saved


def test_cycles_stand_beside_the_instructions_of_functions() -> None:
    kernel = assembled(in_place())
    ((name, function),) = assembly_functions(kernel)
    assert kernel_name(name) == kernel_name(kernel.name) == kernel.name
    cost = Cost(3.0, 2.0)
    modelled = Modelled(instructions={kernel.name: {0: cost}, name: {0: cost}})
    lines = assemble([kernel], resolve("pi3_64"), modelled)[kernel.name].lines
    begin = [line.text for line in lines].index(f"{name}:")
    assert lines[begin + 1].cost == cost and lines[begin + 2].cost is None
    assert sum(line.cost == cost for line in lines) == 2
    assert len(lines) - begin > len(function.lines)


def test_targets_whose_objects_are_not_elf_refuse_assembly() -> None:
    kernel = assembled(in_place())
    for name in ("mac", "windows", "wasm"):
        with pytest.raises(InternalError, match=f"{name} cannot call assembly functions"):
            assembly_text([kernel], resolve(name))
        assert assembly_text([in_place()], resolve(name)) == ""


def test_a_register_that_need_not_be_saved_is_refused() -> None:
    with pytest.raises(InternalError, match="not preserved by the calling convention: x9"):
        assembly_text([with_function(saves=("x9",))], resolve("pi3_64"))


# --- frames --------------------------------------------------------------------------------------


def test_a_frame_contains_addresses_inputs_and_results_in_this_order() -> None:
    (loop,) = [s for s in walk(product().body) if isinstance(s, For) and s.carried]
    found = frame(loop.body, loop.yields, 32)  # type: ignore[arg-type]
    assert [*found.params] == ["w", "x"] and [*found.params.values()] == [0, 4]
    assert all(offset % 16 == 0 for offset in found.results.values())
    offsets = [*found.params.values(), *found.inputs.values(), *found.results.values()]
    assert offsets == sorted(offsets) and len(set(offsets)) == len(offsets)
    assert found.bytes % 16 == 0 and found.bytes > offsets[-1]


# --- what is refused -----------------------------------------------------------------------------


def with_function(
    lines: tuple[str, ...] = ("nop",), saves: tuple[str, ...] = (), *, results: bool = True
) -> Kernel:
    """The sample `swapped`, with its loop replaced by an assembly function of these lines."""
    kernel = swapped()
    (loop,) = [s for s in kernel.body if isinstance(s, For)]
    call = Assembled(AssemblyFunction(lines, saves), (loop,), loop.results if results else ())
    return replace(kernel, body=tuple(call if s is loop else s for s in kernel.body))


def test_rules_of_assembly_functions() -> None:
    assert problems(with_function()) == ()
    assert "is not defined" in problems(with_function(results=False))[0]
    assert problems(with_function(())) == ("an assembly function without instructions",)
    for line in ("", " nop", "nop\nnop"):
        assert problems(with_function((line,))) == (f"{line!r} is not one line of assembly",)
    assert problems(with_function(saves=("d8", "d8"))) == ("assembly saves a register twice",)
    assert problems(with_function(saves=("D 8",))) == ("'D 8' is not the name of a register",)
    (call, *rest) = with_function().body
    assert isinstance(call, Assembled)
    twice = replace(with_function(), body=(replace(call, source=(call,)), *rest))
    assert "assembly within the source of assembly" in problems(twice)


def test_masks_cannot_go_through_a_frame() -> None:
    kernel = guarded()
    (loop,) = [s for s in kernel.body if isinstance(s, For)]
    (mask,) = [s for s in loop.body if isinstance(s, Let) and s.op == "lt"]
    call = Assembled(NOP, (mask,), (mask.result,))
    body = tuple(call if s is mask else s for s in loop.body)
    found = problems(
        replace(
            kernel, body=tuple(replace(loop, body=body) if s is loop else s for s in kernel.body)
        )
    )
    assert any("assembly cannot have the mask" in p for p in found)


def test_a_scheduler_may_replace_only_what_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(block: Block, target: Target) -> Assembled:
        return Assembled(NOP, block.statements, ())

    monkeypatch.setitem(SCHEDULERS, "assembling", forgetful)
    with pytest.raises(InternalError, match="replaces statements that it was not given"):
        assembled(product())

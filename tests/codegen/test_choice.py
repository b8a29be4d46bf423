"""The planner chooses the cheapest candidate for a node, or the one that the user names."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from ellc.codegen.blocks.calls import CodeGoal, Options
from ellc.codegen.blocks.candidates import FAMILIES, Candidate, Family, Prediction
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.planning.choice import OFFERED, SLACK, families_of
from ellc.codegen.planning.plan import Plan, Step
from ellc.codegen.planning.plan_text import print_plan
from ellc.codegen.planning.planner import make_plan
from ellc.commands.compile import command
from ellc.ir.builder import GraphBuilder
from ellc.ir.container import save
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.shape import Transpose
from ellc.ir.pipeline import run_pipeline
from ellc.ir.types import DType, Padding, TensorType


def depthwise_network() -> Graph:
    b = GraphBuilder("net")
    value = b.input("x", TensorType(DType.F32, (1, 9, 9, 16)))
    weights = b.constant(np.ones((16, 3, 3, 1), np.float32))
    b.output("y", b.add(Conv2D(groups=16), value, weights, source="first"))
    return run_pipeline(b.build())[0]


def planned(*kernels: tuple[str, str]) -> Plan:
    return make_plan(depthwise_network(), resolve("pi3_64"), Options(kernels=kernels), "net")


def firsts(step: Step) -> dict[str, Prediction]:
    """The cheapest candidate in the plan of every family."""
    return {p.kernel: p for p in reversed(step.predictions)}


def test_the_cheapest_family_is_taken_and_the_plan_shows_all() -> None:
    plan = planned()
    (step,) = plan.steps
    chosen, *others = step.predictions
    assert chosen.kernel == "depthwise_columns" and step.call.note.startswith(chosen.kernel)
    assert chosen.known_cycles < min(p.known_cycles for p in others if p.kernel == "gemm")
    assert sorted(others, key=lambda p: p.known_cycles) == others
    assert [p.kernel for p in step.predictions].count("gemm") == OFFERED
    shown = [f"  candidate {p.name}, {p.cycles:.0f} cycles" for p in step.predictions]
    assert "\n".join(shown) in print_plan(plan)


def test_a_kernel_is_taken_by_name() -> None:
    for name in ("gemm", firsts(planned().steps[0])["gemm"].name):
        (step,) = planned(("first", name)).steps
        assert step.predictions[0].name.startswith(name) and step.call.note.startswith("gemm")


def test_a_layer_s_name_does_not_mean_the_copies_around_it() -> None:
    """Importers put transposes around NCHW layers, with the names of these layers."""
    b = GraphBuilder("planes")
    x = b.input("x", TensorType(DType.F32, (1, 8, 9, 9)))
    weights = b.constant(np.ones((8, 3, 3, 8), np.float32))
    pixels = b.add(Transpose((0, 2, 3, 1)), x, source="--conv")
    y = b.add(Conv2D(), pixels, weights, source="--conv")
    b.output("y", b.add(Transpose((0, 3, 1, 2)), y, source="--conv"))
    plan = make_plan(b.build(), resolve("host"), Options(kernels=(("--conv", "gemm"),)), "m")
    assert [s.predictions[0].kernel for s in plan.steps if s.predictions] == [
        "movement",
        "gemm",
        "movement",
    ]


def test_a_schedule_that_is_not_listed_is_taken_too() -> None:
    for name in ("gemm:1x4", "depthwise:2x1x8"):
        assert name not in {p.name for p in planned().steps[0].predictions}
        (step,) = planned(("first", name)).steps
        assert step.predictions[0].name == name
        assert step.call.note == name.replace(":", " ")


@pytest.mark.parametrize(
    ("layer", "kernel", "said"),
    [
        ("first", "dots", "candidates: depthwise:"),
        ("first", "gemm:33x4", "did you mean gemm:3x4"),
        ("first", "gemm:", "candidates: "),
        ("first", "depthwise:2x1x6", "did you mean depthwise:2x1x"),
        ("fist", "gemm", "first"),
    ],
)
def test_what_cannot_be_taken_is_an_error_that_says_what_can(
    layer: str, kernel: str, said: str
) -> None:
    with pytest.raises(EllcError) as caught:
        planned((layer, kernel))
    assert caught.value.code == "E305" and said in caught.value.message


def test_all_that_cannot_be_taken_is_in_one_report() -> None:
    with pytest.raises(EllcError) as caught:
        planned(("first", "dots"), ("second", "gemm"))
    assert caught.value.code == "E305" and caught.value.message.startswith(
        "2 of the requested kernels"
    )
    assert [line.split(":")[0] for line in caught.value.problems] == ["first", "second"]


def test_the_report_counts_the_operators_without_a_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FAMILIES, Conv2D, ())
    with pytest.raises(EllcError) as caught:
        planned(("second", "gemm"))
    said = "1 operator of this model has no kernel for target pi3_64"
    assert caught.value.code == "E300" and caught.value.message == said


def test_a_rival_is_one_more_family(monkeypatch: pytest.MonkeyPatch) -> None:
    (gemm,) = (f for f in families_of(Conv2D()) if f.name == "gemm")

    def offer(cycles: float, node: PlacedNode) -> Iterator[Candidate]:
        for candidate in gemm.offer(node):
            yield Candidate(Prediction("rival", "", cycles), candidate.make)

    for cycles, wanted in ((1.0, "rival"), (1e12, "depthwise_columns")):
        rival = Family("rival", partial(offer, cycles))
        monkeypatch.setitem(FAMILIES, Conv2D, (*families_of(Conv2D()), rival))
        (step,) = planned().steps
        assert step.predictions[0].kernel == wanted
        monkeypatch.undo()


def test_the_command_takes_kernels(tmp_path: Path) -> None:
    path = tmp_path / "net.eir"
    save(depthwise_network(), path)
    words = [str(path), "--target", "pi3_64", "--emit", "c", "-o", str(tmp_path / "made")]
    done = CliRunner().invoke(command, [*words, "--kernel", "first=gemm"], catch_exceptions=False)
    assert done.exit_code == 0
    for wrong in ("first", "=gemm", "first="):
        done = CliRunner().invoke(command, [*words, "--kernel", wrong])
        assert done.exit_code == 2 and "--kernel" in done.stderr


def test_short_code_has_small_tiles_and_is_the_default_of_microcontrollers() -> None:
    b = GraphBuilder("net")
    value = b.input("x", TensorType(DType.F32, (1, 24, 24, 16)))
    weights = b.constant(np.ones((16, 3, 3, 1), np.float32))
    b.output("y", b.add(Conv2D((1, 1), Padding.same(1), (1, 1), 16), value, weights))
    graph, _ = run_pipeline(b.build())

    def chosen(target: str, code: CodeGoal | None) -> Prediction:
        (step,) = make_plan(graph, resolve(target), Options(code=code), "net").steps
        return step.predictions[0]

    every = [chosen("imxrt1050", code) for code in ("speed", "balanced", "size")]
    sizes = [p.unrolled for p in every]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > 2 * sizes[2]
    fastest = every[0].known_cycles
    assert all(p.known_cycles <= SLACK[c] * fastest for p, c in zip(every, SLACK, strict=True))
    assert chosen("imxrt1050", None) == every[1]
    assert chosen("linux", None) == chosen("linux", "speed")

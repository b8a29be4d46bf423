"""Tuning files: their kernels are used, impossible kernels are reported, damage is an error."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import ellc.tune
import ellc.tuning
from ellc import __version__, cli
from ellc.codegen.blocks.calls import Options
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.planning.plan import Plan
from ellc.codegen.planning.planner import make_plan
from ellc.driver import CompileOptions, compile_model
from ellc.explain.cycle_tool import Modelled
from ellc.ir.builder import GraphBuilder
from ellc.ir.container import save
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph
from ellc.ir.ops.conv import Conv2D
from ellc.ir.pipeline import run_pipeline
from ellc.ir.types import DType, TensorType
from ellc.tuning import SHIPPED, Entry, merged, read_tuning, write_tuning

TARGET = resolve("pi3_64")


def network() -> Graph:
    b = GraphBuilder("net")
    value = b.input("x", TensorType(DType.F32, (1, 9, 9, 16)))
    weights = b.constant(np.ones((16, 3, 3, 1), np.float32))
    b.output("y", b.add(Conv2D(groups=16), value, weights, source="first"))
    return b.build()


def entry(kernel: str, version: str = __version__) -> Entry:
    plan = make_plan(run_pipeline(network())[0], TARGET, Options(), "net")
    layer = plan.steps[0].layer
    return Entry(layer, "cortex-a53", "aarch64", version, kernel, 12.5, "cycles", "by hand")


def variant(tuning: Path, out: Path, kernels: tuple[tuple[str, str], ...] = ()) -> tuple[str, str]:
    """(the manifest of a compilation with a tuning file, the notes)."""
    options = CompileOptions(emit=("c",), tuning=tuning, kernels=kernels)
    made = compile_model(network(), TARGET, options, out)
    return json.dumps(made.manifest), "\n".join(made.notes)


def test_a_measured_kernel_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "tuning.json"
    write_tuning(path, [entry("gemm:5x4"), replace(entry("gemm:1x4"), architecture="arm")])
    assert read_tuning(path)[0] == entry("gemm:5x4")
    kernel, notes = variant(path, tmp_path / "out")
    assert "gemm 5x4" in kernel and not notes
    kernel, _ = variant(path, tmp_path / "out", (("first", "depthwise"),))
    assert "depthwise" in kernel, "--kernel comes first"


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (entry("gemm:5x4", "0.0.9"), "measured with ellc 0.0.9, which ellc"),
        (entry("wobble:5x4"), "kernel 'wobble:5x4' cannot compute conv2d"),
        (entry("gemm:99x4"), "kernel 'gemm:99x4' cannot compute conv2d"),
    ],
)
def test_what_cannot_be_used_is_a_note(tmp_path: Path, made: Entry, said: str) -> None:
    path = tmp_path / "tuning.json"
    write_tuning(path, [made])
    kernel, notes = variant(path, tmp_path / "out")
    assert "depthwise" in kernel and said in notes


def damaged() -> Iterator[tuple[str, str]]:
    """(text of a damaged file, expected error)."""
    good = {"format": "ellc tuning 1", "entries": [json.loads(json.dumps(vars_of(entry("gemm"))))]}
    yield "", "Expecting value: line 1 column 1"
    yield "[" * 100_000, "nested too deeply"
    yield '{"format": 1, "format": 1}', "the same key appears twice"
    yield "[]", "format"
    yield json.dumps({**good, "format": "ellc tuning 2"}), "format"
    yield json.dumps({**good, "entries": {}}), "a list"
    yield json.dumps({**good, "entries": [5]}), "entries[0]: the entry must be an object"
    yield (
        json.dumps({**good, "entries": good["entries"] * 2}),
        "entries[0] is for the same layer and core",
    )
    for name, value in (("measured", True), ("measured", -1), ("unit", "s"), ("kernel", 7)):
        changed = {**good["entries"][0], name: value}  # type: ignore[dict-item]
        yield json.dumps({**good, "entries": [changed]}), f"entries[0].{name}: it must be"
    yield json.dumps(good).replace("12.5", "NaN"), "entries[0].measured"
    yield json.dumps(good).replace("12.5", "1" + "0" * 6000), "integer string"
    yield json.dumps(good).replace('"how"', '"who"'), "entries[0].who: is unknown"


def vars_of(made: Entry) -> dict[str, object]:
    return {name: getattr(made, name) for name in Entry.__slots__}


@pytest.mark.parametrize(("text", "said"), list(damaged()))
def test_a_damaged_file_is_an_error_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "tuning.json"
    path.write_text(text)
    with pytest.raises(EllcError) as caught:
        read_tuning(path)
    assert caught.value.code == "E760" and caught.value.where == str(path)
    assert said in caught.value.report()


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EllcError, match="E760"):
        read_tuning(tmp_path / "none.json")


def test_new_entries_take_the_place_of_old_ones() -> None:
    old, other = entry("gemm:5x4", "0.0.9"), replace(entry("gemm"), core="cortex-a72")
    assert merged([old, other], [entry("gemm:6x4")]) == (entry("gemm:6x4"), other)


@cache
def favourite() -> str:
    """The most promising candidate of the family `gemm`, which the planner does not choose."""
    (names,) = ellc.tune.tuned(run_pipeline(network())[0], TARGET).names.values()
    found = next(name for name in names if name.startswith("gemm:"))
    assert found != names[0]
    return found


@dataclass
class CycleModel:
    """A fake cycle model that prefers `favourite`, and is interrupted in run number `stops_at`.

    Another test runs the real tool.
    """

    stops_at: int = 0
    runs: int = 0

    def __call__(self, plan: Plan, prefix: str) -> Modelled:
        self.runs += 1
        if self.runs == self.stops_at:
            raise KeyboardInterrupt
        (step,) = plan.steps
        cycles = 10.0 if step.predictions[0].name == favourite() else 1000.0
        return Modelled({step.call.kernel.name: cycles})


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """The words of `ellc tune`, whose tuning file has an entry for another core."""
    save(network(), tmp_path / "net.eir")
    path = tmp_path / "tuning.json"
    write_tuning(path, [replace(entry("gemm"), core="cortex-a72")])
    return [str(tmp_path / "net.eir"), "--target", "pi3_64", "--tuning", str(path)]


def tune(monkeypatch: pytest.MonkeyPatch, model: CycleModel, *words: str) -> int:
    monkeypatch.setattr(ellc.tune, "modelled_cycles", model)
    return cli.run(["tune", *words])


@pytest.mark.slow
def test_the_command_keeps_the_fastest(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
) -> None:
    assert tune(monkeypatch, CycleModel(), *words) == 0
    printed = capsys.readouterr().out
    assert "layers with several kernels: 1, faster with another kernel: 1;" in printed
    path = tmp_path / "tuning.json"
    (made, kept) = sorted(read_tuning(path), key=lambda e: e.core)
    assert (made.kernel, made.measured, made.unit) == (favourite(), 10.0, "cycles")
    assert kept.core == "cortex-a72" and made.layer == entry("gemm").layer
    assert favourite().replace(":", " ") in variant(path, tmp_path / "out")[0]


def test_candidates_are_measured_in_the_order_of_predictions(
    monkeypatch: pytest.MonkeyPatch, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    ready = run_pipeline(network())[0]
    (few,) = ellc.tune.tuned(ready, TARGET, 3).names.values()
    (many,) = ellc.tune.tuned(ready, TARGET, 64).names.values()
    default = make_plan(ready, TARGET, Options(), "net").steps[0].predictions[0]
    assert len(few) == 3 < len(many) and many[: len(few)] == few and few[0] == default.name
    model = CycleModel()
    assert tune(monkeypatch, model, *words, "--candidates", "3") == 0
    assert model.runs == 3


@pytest.mark.slow
def test_an_interrupted_run_continues_from_its_journal(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
) -> None:
    journal = tmp_path / "journal"
    more = (*words, "--journal", str(journal))
    first, second, third = CycleModel(stops_at=3), CycleModel(), CycleModel()
    assert tune(monkeypatch, first, *more) == cli.EXIT_INTERRUPTED
    assert len(journal.read_text().splitlines()) == 3
    with journal.open("a") as file:
        file.write('{"group":2,"ti')
    assert tune(monkeypatch, second, *more) == 0
    assert first.runs - 1 + second.runs == ellc.tune.USUAL_CANDIDATES
    assert tune(monkeypatch, third, *more) == 0
    assert third.runs == 0
    for line in ('{"group":99,"times":[]}', '{"group":0,"times":[["a","b",-1]]}', "7"):
        damaged = tmp_path / "damaged"
        damaged.write_text(journal.read_text().splitlines()[0] + f"\n{line}\n")
        assert tune(monkeypatch, CycleModel(), *words, "--journal", str(damaged)) == 2
        assert "is not a journal of `ellc tune`" in capsys.readouterr().err
    assert tune(monkeypatch, CycleModel(), *more, "--candidates", "5") == 2
    assert "another model, other data or other options" in capsys.readouterr().err


@pytest.mark.slow
def test_without_a_journal_an_interrupted_run_continues_as_well(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
) -> None:
    """A journal of other options is replaced; a file that is no journal stays."""
    journal = tmp_path / "tuning.json.journal"
    assert tune(monkeypatch, CycleModel(stops_at=1), *words) == cli.EXIT_INTERRUPTED
    assert not journal.exists() and "continues" not in capsys.readouterr().err
    assert tune(monkeypatch, CycleModel(stops_at=2), *words, "--candidates", "3") != 0
    assert f"the same command continues from {journal}" in capsys.readouterr().err
    first, second = CycleModel(stops_at=3), CycleModel()
    assert tune(monkeypatch, first, *words) == cli.EXIT_INTERRUPTED
    assert tune(monkeypatch, second, *words) == 0
    assert first.runs - 1 + second.runs == ellc.tune.USUAL_CANDIDATES
    assert not journal.exists()
    journal.write_text("my notes\n")
    assert tune(monkeypatch, CycleModel(), *words) == 2
    assert journal.read_text() == "my notes\n" and "E775" in capsys.readouterr().err


def test_a_folder_that_is_missing_is_told_before_anything_is_measured(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
) -> None:
    model = CycleModel()
    missing = str(tmp_path / "none" / "tuning.json")
    assert tune(monkeypatch, model, *words[:-1], missing) == 2
    assert "E703" in capsys.readouterr().err and not model.runs


def test_times_of_several_groups_are_compared_with_the_first_build() -> None:
    """In the second group the machine is half as fast."""
    what = ellc.tune.tuned(run_pipeline(network())[0], TARGET, 5)
    ((_, names),) = what.names.items()
    speeds = {"": 1.0}

    def times(plans: Sequence[tuple[str, Plan]]) -> list[list[float]]:
        speeds[""] *= 2
        taken = {name: 100.0 + 10 * i for i, name in enumerate(names)}
        return [[speeds[""] * taken[p.steps[0].predictions[0].name]] for _, p in plans]

    method = ellc.tune.Method("ns", "by hand", times, together=3)
    assert method.groups(5) == [(0, 1, 2), (0, 3, 4)]
    measured = {m.kernel: m.time for m in ellc.tune.measure(what, method)}
    ratios = [measured[name] / measured[names[0]] for name in names]
    assert ratios == pytest.approx([1.0, 1.1, 1.2, 1.3, 1.4])


def test_all_steps_of_a_candidate_count() -> None:
    """Only the last step of a candidate names the layer."""

    class WithTwoSteps(ellc.tune.Tuned):
        def plan(self, number: int) -> Plan:
            plan = super().plan(number)
            (step,) = plan.steps
            return replace(plan, steps=(replace(step, values=(), layer=""), step))

    usual = ellc.tune.tuned(run_pipeline(network())[0], TARGET, 2)
    what = WithTwoSteps(usual.graph, usual.target, usual.names, usual.first)

    def times(plans: Sequence[tuple[str, Plan]]) -> list[list[float]]:
        return [[3.0, 1.0] for _ in plans]

    measured = ellc.tune.measure(what, ellc.tune.Method("ns", "by hand", times))
    assert {m.time for m in measured} == {4.0}


def test_a_target_that_nothing_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ELLC_CYCLE_TOOL", raising=False)
    method = ellc.tune.method_here(TARGET, 50)
    with pytest.raises(EllcError, match="E761"):
        ellc.tune.measure(ellc.tune.tuned(run_pipeline(network())[0], TARGET), method)


def test_the_file_of_the_package_is_used_unless_other_kernels_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped, own = tmp_path / "shipped.json", tmp_path / "own.json"
    monkeypatch.setattr(ellc.tuning, "SHIPPED", shipped)

    def made(**more: object) -> str:
        options = CompileOptions(emit=("c",), **more)  # type: ignore[arg-type]
        compiled = compile_model(network(), TARGET, options, tmp_path / "out")
        assert not compiled.notes
        return json.dumps(compiled.manifest)

    write_tuning(shipped, [entry("depthwise:2x7x4")])
    write_tuning(own, [entry("gemm:7x4")])
    assert "depthwise 2x7x4" in made()
    assert "gemm 7x4" in made(tuning=own), "a user may name any kernel"
    assert "depthwise_columns" in made(shipped_tuning=False)
    slow = entry("gemm:7x4")  # predicted to take nine times the cycles of the cheapest
    for useless in (entry("depthwise:2x7x4", "0.0.9"), entry("wobble:5x4"), slow):
        write_tuning(shipped, [useless])
        assert "depthwise_columns" in made()


def test_the_file_of_the_package_is_of_this_version() -> None:
    entries = read_tuning(SHIPPED)
    assert {e.compiler for e in entries} <= {__version__}, "run tests/benchmarks/shipped_tuning.py"
    assert all(e.unit == "cycles" for e in entries)
    assert SHIPPED.stat().st_size < 200_000

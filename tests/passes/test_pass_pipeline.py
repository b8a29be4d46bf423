"""The pass manager: verification, names of faulty passes, dumps, reports, options."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from parts import quick_seeds
from random_graphs import random_graph

from ellc.ir.builder import GraphBuilder
from ellc.ir.errors import EllcError, InternalError
from ellc.ir.graph import Graph, Port
from ellc.ir.ops.pointwise import Add, Neg, Relu
from ellc.ir.pipeline import (
    Pass,
    PipelineOptions,
    all_passes,
    default_passes,
    load_dump,
    parse_passes,
    run_pipeline,
)
from ellc.ir.types import DType, TensorType


@dataclass(frozen=True)
class Vandal(Pass):
    """A pass that damages a graph in a forbidden way."""

    name: ClassVar[str] = "vandal"
    deed: str = "nothing"

    def run(self, graph: Graph) -> Graph:
        match self.deed:
            case "raise":
                raise KeyError("v7")
            case "drop a node":
                return replace(graph, nodes=graph.nodes[1:])
            case "rename an output":
                first, *rest = graph.outputs
                return replace(graph, outputs=(Port("other", first.value), *rest))
            case "change an operator":
                *head, last = graph.nodes
                return replace(graph, nodes=(*head, replace(last, op=Neg())))
        return graph


def small_graph() -> Graph:
    b = GraphBuilder("small")
    x = b.input("x", TensorType(DType.F32, (1, 4, 4, 3)))
    y = b.add(Add(), x, b.constant(np.ones(3, np.float32)), source="bias")
    b.output("y", b.add(Relu(), y, source="relu"))
    return b.build()


@pytest.mark.parametrize(
    ("deed", "message"),
    [
        ("raise", "pass 'vandal(deed='raise')' failed: KeyError('v7')"),
        ("drop a node", "after pass 'vandal(deed='drop a node')'"),
        ("rename an output", "changes the interface"),
        ("change an operator", "changes output 'y' by"),
    ],
)
def test_a_pass_that_errs_is_named(deed: str, message: str, tmp_path: Path) -> None:
    graph = small_graph()
    with pytest.raises(InternalError) as caught:
        run_pipeline(
            graph, [*parse_passes("simplify"), Vandal(deed)], dump_dir=tmp_path, paranoid=True
        )
    assert message in str(caught.value)
    assert caught.value.reproducer == str(tmp_path / "01_simplify.txt")
    assert load_dump(Path(caught.value.reproducer)) == graph


def test_without_paranoia_only_the_form_is_checked() -> None:
    after, report = run_pipeline(small_graph(), [Vandal("change an operator")])
    assert isinstance(after.nodes[-1].op, Neg)
    assert report.records[0].difference is None


def test_a_malformed_graph_is_the_giver_s_mistake() -> None:
    graph = small_graph()
    with pytest.raises(EllcError, match="E110"):
        run_pipeline(replace(graph, nodes=graph.nodes[::-1]))


def test_dumps_hold_every_stage_and_one_file_of_weights(tmp_path: Path) -> None:
    (tmp_path / "31_old.txt").write_text("left from another run")
    stages = [random_graph(5)]
    ran = []

    def watch(name: str, before: Graph, made: Graph) -> None:
        ran.append(name)
        stages.append(made)

    after, _ = run_pipeline(random_graph(5), dump_dir=tmp_path, watch=watch)
    assert set(ran) == {p.name for p in default_passes()}
    names = [f"{i + 1:02d}_{name}.txt" for i, name in enumerate(ran)]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["00_input.txt", *names, "weights.eir"]
    for name, stage in zip(["00_input.txt", *names], stages, strict=True):
        loaded = load_dump(tmp_path / name)
        assert loaded == stage
        for value, array in stage.constant_arrays().items():
            np.testing.assert_array_equal(loaded.constant_arrays()[value], array, strict=True)
    assert after == replace(stages[-1], exact={})


def test_dumps_are_the_same_bytes_every_time(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        run_pipeline(random_graph(8), dump_dir=tmp_path / folder)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_a_damaged_dump_is_an_error(tmp_path: Path) -> None:
    run_pipeline(small_graph(), dump_dir=tmp_path)
    (tmp_path / "weights.eir").write_bytes(b"PK")
    with pytest.raises(EllcError, match="E140"):
        load_dump(tmp_path / "00_input.txt")


def test_the_report_says_what_each_pass_did() -> None:
    _, report = run_pipeline(small_graph(), parse_passes("simplify, fuse_epilogue"), paranoid=True)
    quiet, fuse = report.records
    assert (quiet.name, quiet.changed, quiet.nodes_before, quiet.nodes_after) == (
        "simplify",
        False,
        2,
        2,
    )
    assert (fuse.name, fuse.changed, fuse.nodes_before, fuse.nodes_after) == (
        "fuse_epilogue",
        True,
        2,
        1,
    )
    assert report.seconds == quiet.seconds + fuse.seconds > 0
    lines = report.table().splitlines()
    assert "unchanged" in lines[0] and "2 -> 1 nodes" in lines[1] and "0.0e+00" in lines[1]


def test_unrounded_constants_do_not_outlive_the_pipeline() -> None:
    graph, _ = run_pipeline(random_graph(3), parse_passes("lower_composites, fold_affine"))
    assert not graph.exact


def test_the_architecture_s_order() -> None:
    names = list(dict.fromkeys(p.name for p in default_passes()))
    wanted = ["fold_constants", "lower_composites", "fold_affine", "fuse_epilogue", "fold_padding"]
    assert [n for n in names if n in wanted] == wanted
    assert set(names) == set(all_passes())


def test_options() -> None:
    plain = default_passes(PipelineOptions(optimize=False))
    assert [p.name for p in plain] == ["unroll_nested_loops", "lower_composites", "eliminate_dead"]
    skipped = default_passes(PipelineOptions(skip=("fold_padding", "simplify")))
    assert {"fold_padding", "simplify"}.isdisjoint(p.name for p in skipped)
    with pytest.raises(EllcError, match="does not exist"):
        default_passes(PipelineOptions(skip=("fold_paddings",)))
    with pytest.raises(EllcError, match="needed by every kernel"):
        default_passes(PipelineOptions(skip=("lower_composites",)))


@pytest.mark.parametrize("seed", quick_seeds(30, 2, 3))
def test_without_optimisation_the_meaning_is_the_same(seed: int) -> None:
    passes = default_passes(PipelineOptions(optimize=False))
    graph, _ = run_pipeline(random_graph(seed), passes, paranoid=True)
    assert not any(n.op.composite for n in graph.nodes)


def test_passes_are_written_as_they_are_read() -> None:
    text = "simplify, fold_affine(growth_bytes=0), fuse_epilogue(max_stages=3)"
    assert ", ".join(map(str, parse_passes(text))) == text
    assert parse_passes("") == ()


@pytest.mark.parametrize(
    "text",
    [
        "simplfy",
        "simplify simplify",
        "fold_affine(growth=1)",
        "fold_affine(growth_bytes='a')",
        "fold_affine(growth_bytes)",
        "fold_affine(growth_bytes=__import__)",
        "fold_affine(",
    ],
)
def test_wrong_pass_text_is_an_error(text: str) -> None:
    with pytest.raises(EllcError, match="E150"):
        parse_passes(text)


@pytest.mark.slow
def test_ten_thousand_nodes_take_seconds_and_no_recursion() -> None:
    b = GraphBuilder("chain")
    x = b.input("x", TensorType(DType.F32, (2, 3)))
    for index in range(10_000):
        x = b.add(Neg() if index % 3 else Relu(), x, source=f"{index}")
    b.output("y", x)
    start = time.perf_counter()
    after, _ = run_pipeline(b.build())
    assert time.perf_counter() - start < 30
    assert len(after.nodes) < 1000


@pytest.mark.parametrize("seed", quick_seeds(60, 0, 3))
def test_one_run_does_all_there_is_to_do(seed: int) -> None:
    graph, _ = run_pipeline(random_graph(seed))
    _, report = run_pipeline(graph)
    assert not [r.name for r in report.records if r.changed]


def test_passes_do_not_depend_on_earlier_runs() -> None:
    first, _ = run_pipeline(random_graph(11))
    for seed in range(5):
        run_pipeline(random_graph(seed))
    assert run_pipeline(random_graph(11))[0] == first

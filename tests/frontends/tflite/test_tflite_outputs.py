"""Outputs of a file, including variable tensors, and their quantisation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from tflite_agreement import difference, every_case
from tflite_cases import TfliteCase, stored
from tflite_files import T, TFLiteFile, options, saved, stream

from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Trial, run_trials
from ellc.frontends.tflite.read import read_tflite
from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate
from ellc.ir.pipeline import run_pipeline
from ellc.ir.types import Array, Quant
from ellc.ir.verify import verify

STEPS = 3
CASES = every_case()


def first_of_each(cases: Sequence[TfliteCase]) -> Iterator[TfliteCase]:
    """The first case of every operator for each combination of element types."""
    known = set()
    for case in cases:
        key = (case.kind, *(t.dtype for t in case.operands if t), case.results[0].dtype)
        if key not in known:
            known.add(key)
            yield case


def with_variables(case: TfliteCase, *, alone: bool) -> bytes:
    """A file whose outputs are the variables and, unless `alone`, the results of the operator."""
    file = TFLiteFile()
    places = [-1 if t is None else file.add(t) for t in case.operands]
    results = [file.add(t) for t in case.results]
    file.apply(case.kind, places, results, case.options, [file.add(t) for t in case.intermediates])
    given = [(i, t) for i, t in zip(places, case.operands, strict=True) if t and t.data is None]
    inputs = [i for i, t in given if not t.variable]
    variables = [i for i, t in given if t.variable]
    return file.data(inputs, variables if alone else results + variables)


STATEFUL = [c for c in first_of_each(CASES) if any(t and t.variable for t in c.operands)]
FILES = {
    f"{case} {alone}": (with_variables(case, alone=alone), [case.inputs()] * STEPS)
    for case in STATEFUL
    for alone in (False, True)
}


def evaluated(graph: Graph, steps: Sequence[Sequence[Array]]) -> list[list[Array]]:
    states, results = None, []
    for inputs in steps:
        done = evaluate(graph, inputs, states=states)
        states = done.states
        results.append(list(done.outputs))
    return results


@pytest.mark.parametrize("name", FILES)
def test_a_variable_among_the_outputs_is_what_the_call_left_in_it(
    name: str, tmp_path: Path
) -> None:
    data, steps = FILES[name]
    graph = read_tflite(saved(data, tmp_path))
    verify(graph)
    pairs = zip(chain(*evaluated(graph, steps)), chain(*stream(data, steps)), strict=True)
    assert not [said for pair in pairs if (said := difference(*pair))]


@pytest.mark.slow
def test_compiled_variables_among_the_outputs(tmp_path: Path) -> None:
    graphs = [run_pipeline(read_tflite(saved(data, tmp_path)))[0] for data, _ in FILES.values()]
    trials = [Trial(g, tuple(steps)) for g, (_, steps) in zip(graphs, FILES.values(), strict=True)]
    for (data, steps), found in zip(
        FILES.values(), run_trials(trials, resolve("host")), strict=True
    ):
        assert not isinstance(found, Exception), found
        for ours, theirs in zip(chain(*found), chain(*stream(data, steps)), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * np.abs(theirs).max())


def a_choice(kind: str) -> bytes:
    """A computed condition that selects bytes."""
    file, like = TFLiteFile(), stored("int8", (3, 4))
    flag = file.add(T((1,) if kind == "IF" else (3, 4), "bool"))
    x, y, made = (file.add(like) for _ in range(3))
    if kind != "IF":
        file.apply(kind, [flag, x, y], [made])
        return file.data([flag, x, y], [made])
    for picked in (0, 1):
        branch = TFLiteFile([like, like])
        file.inner.append((branch, [0, 1], [picked]))
    chosen = options("IfOptions", thenSubgraphIndex=1, elseSubgraphIndex=2)
    file.apply("IF", [flag, x, y], [made], chosen)
    return file.data([flag, x, y], [made])


def declared(tensor: T) -> Quant:
    zeros = tuple(tensor.zero) or (0,) * len(tensor.scale)
    return Quant(tuple(float(np.float32(s)) for s in tensor.scale), zeros)


@pytest.mark.slow
def test_integers_at_the_outputs_keep_their_scale(tmp_path: Path) -> None:
    """Passes keep the scale, because the header, the manifest and the module read it afterwards."""
    files = {
        str(case): (case.data(), [declared(t) if t.scale else None for t in case.results])
        for case in first_of_each(CASES)
        if any(t.scale for t in case.results)
    }
    like = [declared(stored("int8", ()))]
    files |= {kind: (a_choice(kind), like) for kind in ("IF", "SELECT", "SELECT_V2")}
    wrong = {}
    for name, (data, wanted) in files.items():
        graph = read_tflite(saved(data, tmp_path))
        for stage in (graph, run_pipeline(graph)[0]):
            found = [type_.quant for type_ in stage.output_types()]
            if found != wanted:
                wrong[name] = f"{found} instead of {wanted}"
    assert not wrong

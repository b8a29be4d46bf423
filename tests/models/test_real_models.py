"""Every model in the data folder: imported, compiled for the Pi and for here, run, compared."""

from __future__ import annotations

from pathlib import Path

import pytest
from real_models import RealModel, disagreement, macs, real_models

from ellc.driver import CompileOptions, compile_model
from ellc.execute import open_library
from ir.graph import Graph
from ir.interp import evaluate
from ir.ops.shape import Transpose
from ir.pipeline import run_pipeline

MOST_EMULATED_MACS = 20_000_000
"""Larger models run on this machine only; code for other ones is compiled."""

# An empty list would be a test that is skipped without the reason.
MODELS = [
    pytest.param(model, id=str(model), marks=[pytest.mark.slow] if model.is_large else [])
    for model in real_models()
] or [pytest.param(None, id="none")]

pytestmark = pytest.mark.needs_data
each_model = pytest.mark.parametrize("model", MODELS)


def check(model: RealModel, run: object) -> None:
    """Compare what `run` makes of every sample with what is wanted."""
    assert callable(run)
    wrong = []
    for number, (inputs, want) in enumerate(model.samples()):
        if said := disagreement(model, run(inputs), want):
            wrong.append(f"sample {number}: {said}")
    assert not wrong, "\n".join(wrong)


@each_model
def test_imported_graph_has_the_model_s_ports(model: RealModel) -> None:
    graph = model.graph()
    inputs, want = next(model.samples())
    assert [(t.dtype.numpy, t.shape) for t in graph.input_types()] == [
        (x.dtype, x.shape) for x in inputs
    ]
    assert [(t.dtype.numpy, t.shape) for t in graph.output_types()] == [
        (y.dtype, y.shape) for y in want
    ]
    assert [port.name for port in graph.outputs] == model.output_names()


@each_model
def test_reference_computes_the_model(model: RealModel) -> None:
    graph = model.graph()
    if macs(graph) > MOST_EMULATED_MACS:
        pytest.skip("numpy takes long for it; the compiled model is compared")
    check(model, lambda inputs: evaluate(graph, inputs).outputs)


@pytest.mark.parametrize(
    "target",
    [
        "host",
        pytest.param("pi3", marks=pytest.mark.emulated("qemu-arm")),
        pytest.param("pi3_64", marks=pytest.mark.emulated("qemu-aarch64")),
    ],
)
@each_model
def test_compiled_model_agrees(model: RealModel, target: str, tmp_path: Path) -> None:
    graph = model.graph()
    options = CompileOptions(emit=("so", "obj"), threads=1, name="model")
    made = compile_model(graph, target, options, tmp_path / "out")
    assert made.library is not None
    if target == "host" or macs(graph) <= MOST_EMULATED_MACS:
        library = open_library(made.library)
        check(model, lambda inputs: library.run(inputs)[0])


@each_model
def test_no_transpose_stays_inside(model: RealModel) -> None:
    ready, _ = run_pipeline(model.graph())
    assert not [node.source for node in ready.nodes if _is_inner_transpose(ready, node)]


def _is_inner_transpose(graph: Graph, node: object) -> bool:
    """Whether a node moves data between two computed values: what ports are like is fixed."""
    ports = {port.value for port in (*graph.inputs, *graph.outputs)}
    op, inputs, outputs = (getattr(node, name) for name in ("op", "inputs", "outputs"))
    return isinstance(op, Transpose) and ports.isdisjoint((*inputs, *outputs))

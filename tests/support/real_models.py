"""Published models in the folder that ELLC_TEST_DATA names, with expected results.

For a model NAME, the file NAME.npz has `input` (or `input0`, `input1`, ...), and `output0`,
`output1`, ..., which the runtime of the format computed. All have an additional first axis of
samples.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from ellc.check.agreement import allowed_error
from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate, run_node
from ellc.ir.ops.conv import Conv2D
from ellc.ir.types import Array
from ellc.models import read_model

Arrays = tuple[Array, ...]

LARGE_FILE_BYTES = 600_000
"""Tests of models above this size take more than a few seconds."""

HYBRID = frozenset({"mlperf_kws_dscnn_float.tflite"})
"""Models with weights of 8 bits and float activations.

Before every convolution that is not depthwise, TFLite rounds the activations to 8 bits and
multiplies integers. In this model, the rounding changes the largest output by 0.004. A compiled
model computes in float32. So the stored outputs are compared with a reference that rounds in the
same way, and compiled code with a reference that does not round, both within the usual tolerance.
"""


@dataclass(frozen=True)
class RealModel:
    """A model file and its samples."""

    path: Path

    def __str__(self) -> str:
        return self.path.name

    @property
    def is_large(self) -> bool:
        """Whether tests of the model take more than a few seconds."""
        return self.path.stat().st_size > LARGE_FILE_BYTES

    def graph(self) -> Graph:
        """The imported graph; a process imports it only once."""
        return _graph(self.path)

    def samples(self) -> Iterator[tuple[Arrays, Arrays]]:
        """Inputs and stored outputs, sample by sample."""
        with np.load(f"{self.path}.npz") as stored:
            inputs = [stored["input"]] if "input" in stored else _numbered(stored, "input")
            outputs = _numbered(stored, "output")
        for number in range(len(inputs[0])):
            yield tuple(x[number] for x in inputs), tuple(y[number] for y in outputs)

    def computed_samples(self) -> Iterator[tuple[Arrays, Arrays]]:
        """Inputs and expected outputs of compiled code, sample by sample."""
        for inputs, stored in self.samples():
            is_hybrid = self.path.name in HYBRID
            yield inputs, evaluate(self.graph(), inputs).outputs if is_hybrid else stored

    def reference(self, inputs: Arrays) -> Arrays:
        """The outputs of the reference in numpy, which rounds like the runtime of the format."""
        if self.path.name in HYBRID:
            return _evaluate_rounding(self.graph(), inputs)
        return evaluate(self.graph(), inputs).outputs


@lru_cache(maxsize=4)
def _graph(path: Path) -> Graph:
    return read_model(path)


def _evaluate_rounding(graph: Graph, inputs: Arrays) -> Arrays:
    """Evaluate a network, rounding the inputs of ungrouped convolutions to symmetric 8 bits."""
    values = graph.constant_arrays()
    values.update((port.value, x) for port, x in zip(graph.inputs, inputs, strict=True))
    for node in graph.nodes:
        operands = dict(values)
        if isinstance(node.op, Conv2D) and node.op.groups == 1:
            x = values[node.inputs[0]]
            step = np.abs(x).max() / np.float32(127)
            operands[node.inputs[0]] = np.round(x / step) * step
        values.update(zip(node.outputs, run_node(node, operands), strict=True))
    return tuple(values[port.value] for port in graph.outputs)


def _numbered(stored: np.lib.npyio.NpzFile, stem: str) -> list[Array]:
    return [stored[f"{stem}{i}"] for i in range(len(stored.files)) if f"{stem}{i}" in stored]


def real_models() -> list[RealModel]:
    """All models with samples, smallest first; an empty list without the folder."""
    folder = Path(os.environ.get("ELLC_TEST_DATA", "")) / "models"
    found = [path.with_suffix("") for path in folder.glob("*.npz")]
    return sorted(map(RealModel, found), key=lambda m: (m.path.stat().st_size, m.path.name))


def macs(graph: Graph) -> int:
    """The multiply-adds of a call."""
    return sum(node.op.macs(*graph.node_types(node)) for node in graph.nodes)


# --- what is asked ------------------------------------------------------------------------------


def disagreement(model: RealModel, got: Arrays, want: Arrays) -> str:
    """A description of how outputs differ from the reference; empty if they agree.

    Integers of TFLite models must be equal. Quantised values of ONNX models may differ by one step,
    since two float computations may be on different sides of a rounding boundary. Floats must agree
    within the project's tolerance.
    """
    graph = model.graph()
    said = [
        f"output {number}: {text}"
        for number, (a, b) in enumerate(zip(got, want, strict=True))
        if (text := _difference(model, graph, number, a, b))
    ]
    return "; ".join(said)


def _difference(model: RealModel, graph: Graph, number: int, got: Array, want: Array) -> str:
    if got.dtype != want.dtype or got.shape != want.shape:
        return f"{got.dtype}{got.shape} instead of {want.dtype}{want.shape}"
    error = np.abs(got.astype(np.float64) - want)
    allowed = _allowed(model, graph, number, want)
    wrong = ~(error <= allowed)
    if not wrong.any():
        return ""
    place = tuple(int(i) for i in np.argwhere(wrong)[0])
    return (
        f"{wrong.sum()} of {wrong.size} elements differ by up to {error.max():.4g}, first at "
        f"{place}: {got[place]} instead of {want[place]}"
    )


def _allowed(model: RealModel, graph: Graph, number: int, want: Array) -> Array | float:
    if model.path.suffix == ".onnx" and (step := _step(graph, number, want)):
        return step * (1 + 1e-6)  # the product with the scale is rounded, too
    if np.issubdtype(want.dtype, np.integer):
        return 0.0
    return allowed_error(want)


def _step(graph: Graph, number: int, want: Array) -> float:
    """The step of an output: 1 for integers, the scale for dequantised values, else 0."""
    if np.issubdtype(want.dtype, np.integer):
        return 1.0
    made_by = {output: node for node in graph.nodes for output in node.outputs}
    node = made_by.get(graph.outputs[number].value)
    while node is not None and node.op.name in ("reshape", "transpose"):
        node = made_by.get(node.inputs[0])
    if node is None or node.op.name != "dequantize":
        return 0.0
    return float(graph.constant_arrays()[node.inputs[1]].max())

"""Models of other people in the folder that ELLC_TEST_DATA names, and what is asked of each.

Beside a model NAME lies NAME.npz: `input` (or `input0`, `input1`, ...) and `output0`, `output1`,
..., what the format's own runtime made of it; each with one leading axis more, the samples.
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
"""Models above this size take more than a few seconds."""

HYBRID = frozenset({"mlperf_kws_dscnn_float.tflite"})
"""Models with weights of 8 bits and float activations.

TFLite rounds the activations to 8 bits before every convolution that is not depthwise, and
multiplies integers: the largest output of this one moves by 0.004 for it. A compiled model
computes in float32. So two things are compared: the stored outputs with the reference that rounds
likewise, and compiled code with the reference that does not, each as closely as ever.
"""


@dataclass(frozen=True)
class RealModel:
    """A model file and its samples."""

    path: Path

    def __str__(self) -> str:
        return self.path.name

    @property
    def is_large(self) -> bool:
        """Whether it takes more than a few seconds."""
        return self.path.stat().st_size > LARGE_FILE_BYTES

    def graph(self) -> Graph:
        """The imported graph, read once in a process."""
        return _graph(self.path)

    def samples(self) -> Iterator[tuple[Arrays, Arrays]]:
        """Inputs and stored outputs, sample by sample."""
        with np.load(f"{self.path}.npz") as stored:
            inputs = [stored["input"]] if "input" in stored else _numbered(stored, "input")
            outputs = _numbered(stored, "output")
        for number in range(len(inputs[0])):
            yield tuple(x[number] for x in inputs), tuple(y[number] for y in outputs)

    def computed_samples(self) -> Iterator[tuple[Arrays, Arrays]]:
        """Inputs and what compiled code must make of them."""
        for inputs, stored in self.samples():
            is_hybrid = self.path.name in HYBRID
            yield inputs, evaluate(self.graph(), inputs).outputs if is_hybrid else stored

    def reference(self, inputs: Arrays) -> Arrays:
        """What the reference in numpy makes of inputs, rounding as the model's own runtime does."""
        if self.path.name in HYBRID:
            return _evaluate_rounding(self.graph(), inputs)
        return evaluate(self.graph(), inputs).outputs


@lru_cache(maxsize=4)
def _graph(path: Path) -> Graph:
    return read_model(path)


def _evaluate_rounding(graph: Graph, inputs: Arrays) -> Arrays:
    """The network with what its ungrouped convolutions read rounded to 8 bits, 0 in the middle."""
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
    """Every model with samples, smallest first; none where there is no such folder."""
    folder = Path(os.environ.get("ELLC_TEST_DATA", "")) / "models"
    found = [path.with_suffix("") for path in folder.glob("*.npz")]
    return sorted(map(RealModel, found), key=lambda m: (m.path.stat().st_size, m.path.name))


def macs(graph: Graph) -> int:
    """Multiply-adds of one call."""
    return sum(node.op.macs(*graph.node_types(node)) for node in graph.nodes)


# --- what is asked ------------------------------------------------------------------------------


def disagreement(model: RealModel, got: Arrays, want: Arrays) -> str:
    """Empty if outputs are what the model's reference allows, else what is wrong.

    TFLite: integers are equal. ONNX: quantised values differ by one step at most, since two float
    computations may lie on two sides of a rounding boundary. Floats: the project's tolerance.
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
        return step * (1 + 1e-6)  # the product with the scale is rounded itself
    if np.issubdtype(want.dtype, np.integer):
        return 0.0
    return allowed_error(want)


def _step(graph: Graph, number: int, want: Array) -> float:
    """The step of a quantised output: 1 for integers, the scale after dequantised ones, else 0."""
    if np.issubdtype(want.dtype, np.integer):
        return 1.0
    made_by = {output: node for node in graph.nodes for output in node.outputs}
    node = made_by.get(graph.outputs[number].value)
    while node is not None and node.op.name in ("reshape", "transpose"):
        node = made_by.get(node.inputs[0])
    if node is None or node.op.name != "dequantize":
        return 0.0
    return float(graph.constant_arrays()[node.inputs[1]].max())

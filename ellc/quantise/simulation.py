"""A float network in which the scales of all stored values are inputs.

It rounds values as the integer network does, so the damage of any choice of scales can be measured
without compiling again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ellc.execute import Arrays
from ellc.frontends.onnx.quantisation import Quantisation
from ellc.ir.graph import Graph, Node, Port
from ellc.ir.ops.quantised import Dequantize, Quantize
from ellc.ir.rewrite import Editor
from ellc.ir.types import Array, DType, TensorType
from ellc.progress import Progress
from ellc.quantise.layers import Layer
from ellc.quantise.observers import Watched, watched


@dataclass(frozen=True)
class Simulation:
    """Measures the damage of scales at the last layers and at the outputs, on some samples.

    The last layers are not enough: a softmax amplifies the noise of its largest operands. Nor are
    the outputs, which may be saturated. `wanted` has the float network's values for each sample.
    """

    call: Watched
    representatives: Sequence[str]
    samples: Sequence[Array]
    wanted: Sequence[Mapping[str, Array]]

    def damage(self, quantisations: Mapping[str, Quantisation]) -> float:
        """The noise relative to the signal, added over the last layers and the outputs."""
        parameters: Arrays = tuple(
            array
            for value in self.representatives
            for array in (
                quantisations[value].scale,
                quantisations[value].zero.astype(np.int32),
            )
        )
        noise: dict[str, float] = {}
        signal: dict[str, float] = {}
        for sample, wanted in zip(self.samples, self.wanted, strict=True):
            for value, got in self.call((sample, *parameters)).items():
                doubles = wanted[value].astype(np.float64)
                signal[value] = signal.get(value, 0.0) + float((doubles**2).sum())
                noise[value] = noise.get(value, 0.0) + float(((got - doubles) ** 2).sum())
        return sum(noise[v] / signal[v] for v in noise if signal[v])


@contextmanager
def simulation(
    graph: Graph,
    layers: Sequence[Layer],
    representatives: Mapping[str, str],
    weights: Mapping[str, Array],
    samples: Sequence[Array],
    folder: Path,
    report: Progress,
) -> Iterator[Simulation]:
    """Open the simulation of a float graph whose `layers` become integer layers.

    `representatives` has for each stored value the one whose scale it has, `weights` the rounded
    weights by the result of their layer.
    """
    outputs = (port.value for port in graph.outputs if graph.types[port.value].dtype is DType.F32)
    ends = tuple(dict.fromkeys((*last_results(graph, layers), *outputs)))
    with watched(graph, ends, folder / "float", report) as call:
        wanted = [call((sample,)) for sample in samples]
    known = graph.constant_arrays()
    chosen = tuple(dict.fromkeys(of for v, of in representatives.items() if v not in known))
    made = simulated(graph, layers, representatives, weights, chosen)
    with watched(made, ends, folder / "simulation", report) as call:
        yield Simulation(call, chosen, samples, wanted)


def last_results(graph: Graph, layers: Sequence[Layer]) -> tuple[str, ...]:
    """The results of layers on which no other layer depends."""
    feeding: set[str] = set()
    inner = {node.outputs[0] for layer in layers for node in layer.nodes}
    for node in reversed(graph.nodes):
        if node.outputs[0] in inner or feeding.intersection(node.outputs):
            feeding.update(node.inputs)
    return tuple(v for layer in layers for v in layer.results if v not in feeding)


def simulated(
    graph: Graph,
    layers: Sequence[Layer],
    representatives: Mapping[str, str],
    weights: Mapping[str, Array],
    chosen: Sequence[str],
) -> Graph:
    """The graph with further inputs: the scale and the zero point of each value in `chosen`."""
    ports = {v: (f"scale of {v}", f"zero of {v}") for v in chosen}
    types = dict(graph.types)
    for scale, zero in ports.values():
        types[scale], types[zero] = TensorType(DType.F32, (1,)), TensorType(DType.I32, (1,))
    added = tuple(
        Port(f"parameter{i}", v) for i, v in enumerate(v for p in ports.values() for v in p)
    )
    editor = Editor(replace(graph, inputs=(*graph.inputs, *added), types=types))
    writer = _Simulator(
        editor, {v: ports[of] for v, of in representatives.items() if of in ports}, {}
    )
    for layer in layers:
        writer.layer(layer, weights.get(layer.results[0]))
    return editor.graph()


@dataclass(frozen=True)
class _Simulator:
    """Inserts conversions to bytes and back; `rounded` has the values that are rounded already."""

    editor: Editor
    ports: Mapping[str, tuple[str, str]]
    rounded: dict[str, str]

    def layer(self, layer: Layer, weights: Array | None) -> None:
        head = self._read(layer, weights)
        last = head if len(layer.nodes) == 1 else layer.nodes[-1]
        if layer.kind == "moved":
            self.rounded.update({value: value for value in layer.results})
            return
        (result,) = layer.results
        raw = self.editor.insert(last, last.op, *last.inputs)
        stored = self._stored(last, raw, result)
        self.editor.replace(last, Dequantize(), stored, *self.ports[result])
        self.rounded[result] = result

    def _read(self, layer: Layer, weights: Array | None) -> Node:
        """Let the first node of a layer read rounded operands and weights."""
        head = layer.head
        inputs = [self._rounded(head, v) if v in layer.operands else v for v in head.inputs]
        if weights is not None:
            inputs[1] = self.editor.constant(weights)
        return self.editor.replace(head, head.op, *inputs)

    def _rounded(self, node: Node, value: str) -> str:
        if value not in self.ports:  # a constant
            return value
        if value not in self.rounded:
            stored = self._stored(node, value, value)
            self.rounded[value] = self.editor.insert(node, Dequantize(), stored, *self.ports[value])
        return self.rounded[value]

    def _stored(self, node: Node, value: str, like: str) -> str:
        return self.editor.insert(node, Quantize("half_even", DType.I8), value, *self.ports[like])

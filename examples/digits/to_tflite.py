"""Convert a trained network to a TensorFlow Lite file, quantised to 8-bit integers.

    python examples/digits/to_tflite.py [OUTPUT.tflite]

Needs scikit-learn, and tflite and flatbuffers (`pip install 'ellc-compiler[tflite]'`). The scale
and zero point of each tensor cover its range on some of the training digits. Each filter has a
separate scale. The network's input is pixels minus 128.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import tflite
from digits_data import Array, load_split

from ellc.frontends.ell.read import read_ell
from ellc.ir.graph import Graph, Node
from ellc.ir.interp import evaluate
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.dense import Dense
from ellc.ir.ops.pointwise import Relu
from ellc.ir.ops.pool import MaxPool2D
from ellc.ir.ops.reduce import Softmax
from ellc.ir.ops.shape import Reshape
from ellc.ir.pipeline import PipelineOptions, default_passes, run_pipeline

FOLDER = Path(__file__).resolve().parent
CALIBRATION_DIGITS = 100
VERSION = 3
KINDS = {np.int8: tflite.TensorType.INT8, np.int32: tflite.TensorType.INT32}
OPTIONS = {
    "CONV_2D": "Conv2DOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "RESHAPE": "ReshapeOptions",
    "SOFTMAX": "SoftmaxOptions",
}


@dataclass(frozen=True)
class Steps:
    """Quantisation parameters: real = scale * (stored - zero), one scale or one per filter."""

    scale: Array
    zero: int = 0

    @staticmethod
    def covering(low: float, high: float) -> Steps:
        """Parameters with which 8 bits cover `low` to `high` and represent 0.0 exactly."""
        low, high = min(low, 0.0), max(high, 0.0)
        scale = (high - low) / 255
        return Steps(np.array([scale], np.float32), round(-128 - low / scale))

    def stored(self, values: Array, dtype: type) -> Array:
        """The stored integers of real values."""
        limits, exact = np.iinfo(dtype), np.rint(values / self.scale) + self.zero
        stored: Array = np.clip(exact, limits.min, limits.max).astype(dtype)
        return stored


PIXELS = Steps(np.array([1 / 255], np.float32), -128)
SCORES = Steps(np.array([1 / 256], np.float32), -128)


class File:
    """A TensorFlow Lite model under construction."""

    def __init__(self) -> None:
        self.builder = flatbuffers.Builder(1 << 16)
        self.buffers = [self.table("Buffer")]  # by convention, buffer 0 is empty
        self.tensors: list[int] = []
        self.operators: list[int] = []
        self.codes: list[int] = []

    def table(self, kind: str, **values: Any) -> int:
        """Write a table of the schema, with fields by the schema's names. Returns its offset."""
        getattr(tflite, f"{kind}Start")(self.builder)
        for name, value in values.items():
            getattr(tflite, f"{kind}Add{name}")(self.builder, value)
        end: int = getattr(tflite, f"{kind}End")(self.builder)
        return end

    def tables(self, places: Sequence[int]) -> int:
        """Write a vector of tables. Returns its offset."""
        self.builder.StartVector(4, len(places), 4)
        for place in reversed(places):
            self.builder.PrependUOffsetTRelative(place)
        end: int = self.builder.EndVector()
        return end

    def numbers(self, values: Any, dtype: type) -> int:
        """Write a vector of numbers. Returns its offset."""
        end: int = self.builder.CreateNumpyVector(np.asarray(values, dtype).reshape(-1))
        return end

    def tensor(
        self, name: str, shape: Sequence[int], steps: Steps, data: Array | None = None
    ) -> int:
        """Add a constant if `data` is given, else an 8-bit activation. Returns its index."""
        if data is not None:
            content = self.numbers(data.reshape(-1).view(np.uint8), np.uint8)
            self.buffers.append(self.table("Buffer", Data=content))
        made = self.table(
            "Tensor",
            Shape=self.numbers(shape, np.int32),
            Type=KINDS[np.int8 if data is None else data.dtype.type],
            Buffer=0 if data is None else len(self.buffers) - 1,
            Name=self.builder.CreateString(name),
            Quantization=self.table(
                "QuantizationParameters",
                Scale=self.numbers(steps.scale, np.float32),
                ZeroPoint=self.numbers([steps.zero] * len(steps.scale), np.int64),
            ),
        )
        self.tensors.append(made)
        return len(self.tensors) - 1

    def operator(self, code: str, inputs: Sequence[int], result: int, **options: int) -> None:
        """Add an operator with one result. `options` use the names of the schema."""
        number = getattr(tflite.BuiltinOperator, code)
        if number not in self.codes:
            self.codes.append(number)
        kind = OPTIONS[code]
        self.operators.append(
            self.table(
                "Operator",
                OpcodeIndex=self.codes.index(number),
                Inputs=self.numbers(inputs, np.int32),
                Outputs=self.numbers([result], np.int32),
                BuiltinOptionsType=getattr(tflite.BuiltinOptions, kind),
                BuiltinOptions=self.table(kind, **options),
            )
        )

    def finished(self, source: int, result: int) -> bytes:
        """The bytes of the finished file."""
        graph = self.table(
            "SubGraph",
            Tensors=self.tables(self.tensors),
            Inputs=self.numbers([source], np.int32),
            Outputs=self.numbers([result], np.int32),
            Operators=self.tables(self.operators),
        )
        codes = [
            self.table("OperatorCode", DeprecatedBuiltinCode=c, BuiltinCode=c) for c in self.codes
        ]
        model = self.table(
            "Model",
            Version=VERSION,
            OperatorCodes=self.tables(codes),
            Subgraphs=self.tables([graph]),
            Buffers=self.tables(self.buffers),
        )
        self.builder.Finish(model, b"TFL3")
        return bytes(self.builder.Output())


def tflite_model(graph: Graph, digits: Array) -> bytes:
    """The network in 8 bits, quantised for its values' ranges on `digits` [n,rows,columns,1]."""
    passes = default_passes(PipelineOptions(skip=("fuse_epilogue", "fold_padding")))
    folded, _ = run_pipeline(graph, passes)
    (source,), (target,) = folded.inputs, folded.outputs
    network = Network(folded, _ranges(folded, digits))
    first = network.activation(source.value, PIXELS)
    for node, following in zip(folded.nodes, (*folded.nodes[1:], None), strict=True):
        if not isinstance(node.op, Relu):
            # In TensorFlow Lite, an activation is an attribute of the operator before it.
            merged = following is not None and isinstance(following.op, Relu)
            network.add(node, following.output if following and merged else node.output, merged)
    return network.file.finished(first, network.made[target.value][0])


class Network:
    """A graph with folded batch norms, and the tensors that have been written for its values."""

    def __init__(self, graph: Graph, ranges: Mapping[str, tuple[float, float]]) -> None:
        self.graph, self.ranges = graph, ranges
        self.arrays = graph.constant_arrays()
        self.file = File()
        self.made: dict[str, tuple[int, Steps]] = {}
        self.names = {p.value: p.name for p in (*graph.inputs, *graph.outputs)}

    def activation(self, value: str, steps: Steps) -> int:
        """Write a tensor for a value of the graph. Returns its index."""
        name = self.names.get(value, value)
        index = self.file.tensor(name, self.graph.types[value].shape, steps)
        self.made[value] = index, steps
        return index

    def add(self, node: Node, result: str, is_positive: bool) -> None:
        """Write one operator. With `is_positive`, the activation after it is Relu."""
        x, steps = self.made[node.inputs[0]]
        constants = [self.arrays[v] for v in node.inputs[1:]]
        positive = int(is_positive)  # ActivationFunctionType: NONE, RELU
        match node.op:
            case Conv2D(stride=(1, 1)):
                largest = np.abs(constants[0]).max(axis=(1, 2, 3))
                operands = [x, *self.weights(node, steps, largest / 127, *constants)]
                options = {"Padding": tflite.Padding.SAME, "StrideH": 1, "StrideW": 1}
                made = self.activation(result, Steps.covering(*self.ranges[result]))
                activated = {"FusedActivationFunction": positive}
                self.file.operator("CONV_2D", operands, made, **options, **activated)
            case Dense():
                largest = np.abs(constants[0]).max(keepdims=True).reshape(1)
                operands = [x, *self.weights(node, steps, largest / 127, *constants)]
                made = self.activation(result, Steps.covering(*self.ranges[result]))
                self.file.operator("FULLY_CONNECTED", operands, made)
            case MaxPool2D(window=(rows, columns), stride=(down, right)):
                made = self.activation(result, steps)
                sizes = {"FilterHeight": rows, "FilterWidth": columns}
                sizes |= {"Padding": tflite.Padding.VALID, "StrideH": down, "StrideW": right}
                self.file.operator("MAX_POOL_2D", [x], made, **sizes)
            case Reshape(shape=shape):
                made, wanted = self.activation(result, steps), self.file.numbers(shape, np.int32)
                self.file.operator("RESHAPE", [x], made, NewShape=wanted)
            case Softmax():
                made = self.activation(result, SCORES)
                self.file.operator("SOFTMAX", [x], made, Beta=1)
            case op:
                raise TypeError(f"no operator for {op.name}")

    def weights(
        self, node: Node, steps: Steps, scale: Array, weights: Array, bias: Array
    ) -> tuple[int, int]:
        """Write the tensors of weights and bias. `scale` has one element, or one per filter."""
        shape = (-1, *[1] * (weights.ndim - 1))
        stored = Steps(scale.reshape(shape)).stored(weights, np.int8)
        sums = Steps(scale * steps.scale)
        return (
            self.file.tensor(f"{node.output} weights", weights.shape, Steps(scale), stored),
            self.file.tensor(f"{node.output} bias", bias.shape, sums, sums.stored(bias, np.int32)),
        )


def _ranges(graph: Graph, digits: Array) -> dict[str, tuple[float, float]]:
    """The minimum and maximum of each value of the graph over `digits`."""
    found: dict[str, tuple[float, float]] = {}
    for digit in digits:
        for value, array in evaluate(graph, (digit[np.newaxis],), keep=True).values.items():
            low, high = found.get(value, (np.inf, -np.inf))
            found[value] = min(low, float(array.min())), max(high, float(array.max()))
    return found


if __name__ == "__main__":
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "digits.tflite")
    training, _ = load_split()
    data = tflite_model(read_ell(FOLDER / "digits_float.ell"), training.inputs[:CALIBRATION_DIGITS])
    path.write_bytes(data)
    print(f"{path}: {len(data):,} bytes")

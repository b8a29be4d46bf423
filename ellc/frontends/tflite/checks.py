"""Loads all families of handlers, and checks each operator before and after its handler runs."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from types import MappingProxyType

from ellc.frontends.graph_import.handlers import Handler, Inputs
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.tflite.model import NodeOptions, Option, Tensor, TfliteNode
from ellc.frontends.tflite.registry import TFLITE, TfliteRegistry
from ellc.frontends.tflite.versions import want_known_version
from ellc.ir.types import DType

_FAMILIES = (
    "activation",
    "arithmetic",
    "branches",
    "control",
    "convolution",
    "detection",
    "indexing",
    "larq",
    "mediapipe",
    "movement",
    "pooling",
    "quantised_movement",
    "recurrent",
    "reduce",
    "resize",
    "shapes",
    "signal",
    "signal_channels",
    "signal_loudness",
    "signal_streams",
    "spectrum",
    "strided_slice",
    "svdf",
    "variables",
    "volumes",
)
# Operators that update their variable tensors. The reader refuses a variable tensor of any other
# operator, because that operator would only see the initial values.
STATEFUL = (
    "BIDIRECTIONAL_SEQUENCE_LSTM",
    "RNN",
    "SVDF",
    "UNIDIRECTIONAL_SEQUENCE_LSTM",
    "UNIDIRECTIONAL_SEQUENCE_RNN",
)
# Operators that can read constants of fewer than 8 bits, as in the runtime. Any other operator
# would compute with the unpacked bytes, whose range is larger.
_PACKED_READERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "INT2": ("DEQUANTIZE", "EMBEDDING_LOOKUP", "FULLY_CONNECTED"),
        "INT4": (
            *("CAST", "CONV_2D", "DEPTHWISE_CONV_2D"),
            *("DEQUANTIZE", "EMBEDDING_LOOKUP", "FULLY_CONNECTED"),
        ),
        "UINT4": ("DEQUANTIZE",),
    }
)
# Options that handlers need not read, with the reasons.
REDUNDANT_OPTIONS = MappingProxyType(
    {
        "AsymmetricQuantizeInputs": "8-bit weights become floats, so inputs are not quantised",
        "BodySubgraphIndex": "the reader adds the graph to the node",
        "CondSubgraphIndex": "the reader adds the graph to the node",
        "DepthMultiplier": "it follows from the shapes of the image and the weights",
        "ElseSubgraphIndex": "the reader adds the graph to the node",
        "InDataType": "it is the type of the operand",
        "Num": "it follows from the shape of the operand",
        "NumSplits": "it is the length of the list of sizes, if there is one",
        "OutDataType": "it is the type of the result",
        "OutType": "it is the type of the result",
        "OutputType": "it is the type of the result",
        "PotScaleInt16": "scales that are powers of two are refused in any case",
        "QuantizedBiasType": "it is the type of the bias",
        "ThenSubgraphIndex": "the reader adds the graph to the node",
        "ValuesCount": "it is the number of operands",
    }
)


_SIGN_READERS = ("CUSTOM:LceBconv2d", "CUSTOM:LceBMaxPool2d", "CUSTOM:LceDequantize")
"""Operators that read signs, which the file stores in words of 32 and the graph as floats."""


class _TrackedOptions(Mapping[str, Option]):
    """The options of an operator, which record the names of those that a handler reads."""

    def __init__(self, values: Mapping[str, Option]) -> None:
        self._values = values
        self._names: set[str] = set()

    def __getitem__(self, name: str) -> Option:
        self._names.add(name)
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def unread(self) -> dict[str, Option]:
        """The options that the handler did not read."""
        return {name: self._values[name] for name in self if name not in self._names}


def operators() -> TfliteRegistry:
    """The table `TFLITE`, after the modules of all families have been imported."""
    for family in _FAMILIES:
        importlib.import_module(f"ellc.frontends.tflite.operators.{family}")
    return TFLITE


@cache
def checked_operators() -> TfliteRegistry:
    """The table of all supported operators, whose handlers also check operands and options."""
    checked = {kind: checked_handler(handler) for kind, handler in operators().handlers.items()}
    return TfliteRegistry(checked)


def _want_packed_constants(node: TfliteNode) -> None:
    """Raise `Unsupported` if a tensor of fewer than 8 bits may not be used here.

    Such a tensor must be a constant, and only the operators in `_PACKED_READERS` may read it.
    """
    for tensor in (*node.operands, *node.results):
        if tensor is None or tensor.kind not in _PACKED_READERS:
            continue
        if tensor.array is None:
            byte = tensor.dtype.numpy.name.upper()
            raise Unsupported(
                f"'{tensor.name}' is of type {tensor.kind} and not a constant; export activations "
                f"with 8 bits ({byte})"
            )
        if node.kind not in _PACKED_READERS[tensor.kind]:
            raise Unsupported(
                f"it reads '{tensor.name}' of type {tensor.kind}; insert a DEQUANTIZE before it"
            )


def is_packed_signs(tensor: Tensor, value: Value) -> bool:
    """Whether the file stores a tensor as words of signs, and the graph as floats."""
    return tensor.dtype is DType.I32 and value.dtype.is_float


def _want_no_packed_signs(node: TfliteNode, inputs: Inputs) -> None:
    if node.kind in _SIGN_READERS:
        return
    for tensor, value in zip(node.operands, inputs, strict=False):
        if tensor is not None and value is not None and is_packed_signs(tensor, value):
            raise Unsupported(f"it reads '{tensor.name}', which packs 32 signs in a word")


def checked_handler(handler: Handler[TfliteNode]) -> Handler[TfliteNode]:
    """Wrap a handler in checks of its node.

    The wrapped handler raises `Unsupported` for an unknown version, for tensors that no handler
    supports, and for options that have an effect (are not 0, false or empty) although the handler
    did not read them.
    """

    def call(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value | list[Value]:
        want_known_version(node.kind, node.version)
        for tensor in (*node.operands, *node.results):
            if tensor is None:
                continue
            _ = tensor.dtype
            if tensor.is_sparse:
                raise Unsupported(f"'{tensor.name}' is stored as a sparse tensor")
            if tensor.is_variable and node.kind not in STATEFUL:
                raise Unsupported(f"'{tensor.name}' is a variable tensor")
        _want_packed_constants(node)
        _want_no_packed_signs(node, inputs)
        options = _TrackedOptions(node.options.values)
        results = handler.function(emitter, replace(node, options=NodeOptions(options)), inputs)
        for name, value in options.unread().items():
            if value and name not in REDUNDANT_OPTIONS:
                reasons = [d.reason for d in TFLITE.declined[node.kind] if d.option == name]
                reason = f": {reasons[0]}" if reasons else ""
                raise Unsupported(f"its option {name} = {value} is not supported{reason}")
        return results if isinstance(results, Value) else list(results)

    return Handler(call, handler.limits)

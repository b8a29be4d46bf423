"""The operators as the reader calls them: what no handler takes is refused in one place."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from types import MappingProxyType

from ellc.frontends.graph_import.handlers import Handler, Inputs
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.tflite.model import Option, Options, TfliteNode
from ellc.frontends.tflite.registry import TFLITE, TfliteRegistry
from ellc.frontends.tflite.versions import want_known_version

_FAMILIES = (
    "activation",
    "arithmetic",
    "branches",
    "control",
    "convolution",
    "detection",
    "indexing",
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
# Operators that change their variables; anybody else would read what they held at first.
STATEFUL = (
    "BIDIRECTIONAL_SEQUENCE_LSTM",
    "RNN",
    "SVDF",
    "UNIDIRECTIONAL_SEQUENCE_LSTM",
    "UNIDIRECTIONAL_SEQUENCE_RNN",
)
# Operators that read constants of fewer than 8 bits, as in the runtime; others would compute with
# them as with bytes.
_OF_PACKED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "INT2": ("DEQUANTIZE", "EMBEDDING_LOOKUP", "FULLY_CONNECTED"),
        "INT4": (
            *("CAST", "CONV_2D", "DEPTHWISE_CONV_2D"),
            *("DEQUANTIZE", "EMBEDDING_LOOKUP", "FULLY_CONNECTED"),
        ),
        "UINT4": ("DEQUANTIZE",),
    }
)
# Options that may be left unread whatever they are, and why.
SAID_ELSEWHERE = MappingProxyType(
    {
        "AsymmetricQuantizeInputs": "8-bit weights become floats: their inputs are not quantised",
        "BodySubgraphIndex": "the reader puts the graph into the operator",
        "CondSubgraphIndex": "the reader puts the graph into the operator",
        "DepthMultiplier": "the shapes of image and weights say it",
        "ElseSubgraphIndex": "the reader puts the graph into the operator",
        "InDataType": "the operand says it",
        "Num": "the operand's shape says it",
        "NumSplits": "the list of sizes says it, if there is one",
        "OutDataType": "the result says it",
        "OutType": "the result says it",
        "OutputType": "the result says it",
        "PotScaleInt16": "scales that are powers of two are refused themselves",
        "QuantizedBiasType": "the bias says it",
        "ThenSubgraphIndex": "the reader puts the graph into the operator",
        "ValuesCount": "the number of operands says it",
    }
)


class _Read(Mapping[str, Option]):
    """An operator's options, which remembers those that a handler asks for."""

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
        """The options that no handler has read."""
        return {name: self._values[name] for name in self if name not in self._names}


def operators() -> TfliteRegistry:
    """Every supported operator."""
    for family in _FAMILIES:
        importlib.import_module(f"ellc.frontends.tflite.operators.{family}")
    return TFLITE


@cache
def checked_operators() -> TfliteRegistry:
    """The same, each after a check of its operands' declarations."""
    checked = {kind: checked_handler(handler) for kind, handler in operators().handlers.items()}
    return TfliteRegistry(checked)


def _want_packed_constants(node: TfliteNode) -> None:
    """Raise `Unsupported` where numbers of fewer than 8 bits are more than weights."""
    for tensor in (*node.operands, *node.results):
        if tensor is None or tensor.kind not in _OF_PACKED:
            continue
        if tensor.array is None:
            held = tensor.dtype.numpy.name.upper()
            raise Unsupported(
                f"'{tensor.name}' holds {tensor.kind} and is not a constant; {held} holds the same "
                "numbers: export activations with 8 bits"
            )
        if node.kind not in _OF_PACKED[tensor.kind]:
            raise Unsupported(
                f"it reads '{tensor.name}' of {tensor.kind}, which a DEQUANTIZE must read first"
            )


def checked_handler(handler: Handler[TfliteNode]) -> Handler[TfliteNode]:
    """A handler that refuses what no handler takes, and options that it does not read."""

    def call(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value | list[Value]:
        want_known_version(node.kind, node.version)
        for tensor in (*node.operands, *node.results):
            if tensor is None:
                continue
            _ = tensor.dtype
            if tensor.is_sparse:
                raise Unsupported(f"'{tensor.name}' is stored sparsely")
            if tensor.is_variable and node.kind not in STATEFUL:
                raise Unsupported(f"'{tensor.name}' is a variable")
        _want_packed_constants(node)
        options = _Read(node.options.values)
        made = handler.function(emitter, replace(node, options=Options(options)), inputs)
        for name, value in options.unread().items():
            if value and name not in SAID_ELSEWHERE:
                reasons = [d.reason for d in TFLITE.declined[node.kind] if d.option == name]
                said = f": {reasons[0]}" if reasons else ""
                raise Unsupported(f"its option {name} = {value} is not supported{said}")
        return made if isinstance(made, Value) else list(made)

    return Handler(call, handler.limits)

"""The operators as the reader calls them: what no handler takes is refused in one place."""

from __future__ import annotations

import importlib
from functools import cache

from ellc.frontends.graph_import.handlers import Handler, Inputs, Registry
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.tflite.model import TfliteNode
from ellc.frontends.tflite.registry import TFLITE

_FAMILIES = (
    "activation",
    "arithmetic",
    "convolution",
    "indexing",
    "movement",
    "pooling",
    "quantised_movement",
    "recurrent",
    "reduce",
    "resize",
    "shapes",
    "strided_slice",
)
# Operators that change their variables; anybody else would read what they held at first.
_STATEFUL = (
    "BIDIRECTIONAL_SEQUENCE_LSTM",
    "RNN",
    "SVDF",
    "UNIDIRECTIONAL_SEQUENCE_LSTM",
    "UNIDIRECTIONAL_SEQUENCE_RNN",
)


def operators() -> Registry[TfliteNode]:
    """Every supported operator."""
    for family in _FAMILIES:
        importlib.import_module(f"ellc.frontends.tflite.operators.{family}")
    return TFLITE


@cache
def checked_operators() -> Registry[TfliteNode]:
    """The same, each behind a check of its operands' declarations."""
    checked = {kind: _checked(handler) for kind, handler in operators().handlers.items()}
    return Registry(TFLITE.format, checked)


def _checked(handler: Handler[TfliteNode]) -> Handler[TfliteNode]:
    def call(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value | list[Value]:
        for tensor in (*node.operands, *node.results):
            if tensor is None:
                continue
            _ = tensor.dtype
            if tensor.is_sparse:
                raise Unsupported(f"'{tensor.name}' is stored sparsely")
            if tensor.is_variable and node.kind not in _STATEFUL:
                raise Unsupported(f"'{tensor.name}' is a variable")
        made = handler.function(emitter, node, inputs)
        return made if isinstance(made, Value) else list(made)

    return Handler(call, handler.limits)

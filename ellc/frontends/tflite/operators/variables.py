"""Resource variables. `without_handles` takes them out of the main graph, all but their reads."""

from __future__ import annotations

from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.tflite.common import operand
from ellc.frontends.tflite.model import TfliteNode
from ellc.frontends.tflite.registry import TFLITE

_LIMITS = "in the main graph or a branch, of one shape"


@TFLITE.imports("READ_VARIABLE", limits=_LIMITS)
def read_variable(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """What the variable holds, which the reader puts in place of its handle."""
    return operand(inputs, 0)


@TFLITE.imports("ASSIGN_VARIABLE", "CALL_ONCE", "VAR_HANDLE", limits=_LIMITS)
def handle(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Refused: one that is left is inside another graph."""
    raise Unsupported("a variable inside a loop")

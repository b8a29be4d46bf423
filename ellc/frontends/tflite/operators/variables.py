"""Imports the operators of resource variables that `without_handles` leaves.

Outside of loops, these are only the reads.
"""

from __future__ import annotations

from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.tflite.common import operand
from ellc.frontends.tflite.model import TfliteNode
from ellc.frontends.tflite.registry import TFLITE

_LIMITS = "in the main graph or a branch; the shape must not change"


@TFLITE.imports("READ_VARIABLE", limits=_LIMITS)
def read_variable(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Return the operand. `without_handles` has replaced the handle by the variable's value."""
    return operand(inputs, 0)


@TFLITE.imports("ASSIGN_VARIABLE", "CALL_ONCE", "VAR_HANDLE", limits=_LIMITS)
def handle(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Raise `Unsupported`: such an operator is removed unless it is inside a loop."""
    raise Unsupported("a variable inside a loop")

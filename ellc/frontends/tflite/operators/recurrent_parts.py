"""Reads the time axis and the states of recurrent layers, and refuses operands and options."""

from __future__ import annotations

from collections.abc import Iterable

from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.tflite.common import optional, tensor
from ellc.frontends.tflite.model import TfliteNode
from ellc.frontends.tflite.registry import ACTIVATION, DeclinedOption
from ellc.ir.ops.loop import Walk


def walk_of(node: TfliteNode, x: Value) -> Walk:
    """The walk over the time axis of an operand [time, batch, inputs] or [batch, time, inputs]."""
    if x.type.rank != 3:
        raise Unsupported(f"a sequence of shape {x.shape}")
    return Walk(0 if node.options.flag("TimeMajor") else 1)


def state_of(
    emitter: Emitter, node: TfliteNode, index: int, shape: tuple[int, ...], first: int = 0
) -> Value:
    """Add a state for a variable tensor and return its value; all elements start as `first`."""
    declared = tensor(node, index)
    if not declared.is_variable:
        raise Unsupported(f"its state '{declared.name}' is not a variable tensor")
    return emitter.state(declared.name, emitter.full(shape, first, declared.dtype.numpy))


NO_SUCH_CELL = DeclinedOption(ACTIVATION, "no cell has this activation")
NO_PROJECTION_CLIP = DeclinedOption("ProjClip", "a bound for projections")


def refuse(inputs: Inputs, indices: Iterable[int], what: str) -> None:
    """Raise `Unsupported` with the text `what` if the node has any of these operands."""
    if any(optional(inputs, i) is not None for i in indices):
        raise Unsupported(what)

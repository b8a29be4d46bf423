"""Which operators of each model format are read, from the very tables that read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Format = Literal["onnx", "tflite", "ell"]
FORMATS: tuple[Format, ...] = get_args(Format)
NAMES: dict[Format, str] = {"onnx": "ONNX", "tflite": "TensorFlow Lite", "ell": "ELL"}


@dataclass(frozen=True, slots=True)
class Supported:
    """An operator of a format; `limits` says what of it is not taken, or on which condition."""

    operator: str
    limits: str


def supported(format: Format) -> tuple[Supported, ...]:
    """The operators of a format that are read, by name."""
    match format:
        case "onnx":
            from ellc.frontends.onnx.registry import all_operators

            found = {kind: h.limits for kind, h in all_operators().handlers.items()}
        case "tflite":
            from ellc.frontends.tflite.checks import operators

            found = {kind: h.limits for kind, h in operators().handlers.items()}
        case "ell":
            from ellc.frontends.ell.layers import known_layers
            from ellc.frontends.ell.lower.driver import HANDLERS

            found = dict.fromkeys((*HANDLERS, *known_layers()), "")
    return tuple(Supported(kind, found[kind]) for kind in sorted(found))

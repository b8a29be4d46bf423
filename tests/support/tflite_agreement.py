"""Compare imported TensorFlow Lite operators with the results of the runtime."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import numpy as np
from tflite_byte_cases import byte_cases
from tflite_cases import TfliteCase
from tflite_files import saved
from tflite_float_cases import float_cases
from tflite_layer_cases import layer_cases
from tflite_movement_cases import movement_cases
from tflite_wide_cases import wide_cases

from ellc.frontends.tflite.read import read_tflite
from ellc.ir.interp import evaluate
from ellc.ir.types import Array
from ellc.ir.verify import verify


def every_case() -> list[TfliteCase]:
    """The cases of all families."""
    return list(chain(float_cases(), movement_cases(), byte_cases(), layer_cases(), wide_cases()))


def imported(case: TfliteCase, folder: Path) -> list[list[Array]]:
    """The results of the imported graph, call by call."""
    graph = read_tflite(saved(case.data(), folder))
    verify(graph)
    states, results = None, []
    for _ in range(case.calls):
        done = evaluate(graph, case.inputs(), states=states)
        states = done.states
        results.append(list(done.outputs))
    return results


def difference(found: Array, wanted: Array) -> str:
    """A description of a difference; empty if integers are equal and floats are within rounding."""
    if (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
        return f"{found.dtype}{found.shape} instead of {wanted.dtype}{wanted.shape}"
    if wanted.dtype.kind != "f":
        wrong = int((found != wanted).sum())
        return f"{wrong} of {wanted.size} differ" if wrong else ""
    far = np.abs(found - wanted).max(initial=0) / max(np.abs(wanted).max(initial=0), 1e-30)
    return f"differs by {far}" if far > 3e-6 else ""

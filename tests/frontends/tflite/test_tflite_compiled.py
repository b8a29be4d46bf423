"""Compiled code of imported operators, compared with TensorFlow Lite's reference kernels."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from parts import quick_part
from tflite_byte_cases import byte_cases
from tflite_cases import TfliteCase
from tflite_files import reference, saved
from tflite_float_cases import float_cases
from tflite_layer_cases import layer_cases
from tflite_movement_cases import movement_cases
from tflite_wide_cases import wide_cases

from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Trial, run_trials
from ellc.frontends.tflite.read import read_tflite
from ellc.ir.pipeline import run_pipeline
from ellc.ir.types import Array

pytestmark = pytest.mark.slow


def chosen() -> list[TfliteCase]:
    """The first and the last case of every operator and element type."""
    groups: dict[tuple[str, str], list[TfliteCase]] = {}
    for case in chain(float_cases(), movement_cases(), byte_cases(), layer_cases(), wide_cases()):
        free = [t for t in case.operands if t is not None and t.data is None]
        if free:  # otherwise nothing would be left to compile
            groups.setdefault((case.kind, free[0].dtype), []).append(case)
    return [case for group in groups.values() for case in (group[0], group[-1])[: len(group)]]


def trial(case: TfliteCase, folder: Path) -> Trial:
    graph, _ = run_pipeline(read_tflite(saved(case.data(), folder)))
    return Trial(graph, (case.inputs(),) * case.calls)


def agrees(found: Array, wanted: Array) -> bool:
    """Whether integers are equal, and floats are, up to the rounding of sums in another order."""
    if wanted.dtype.kind != "f":
        return bool(np.array_equal(found, wanted))
    return bool(np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max(initial=1e-30))


@pytest.mark.parametrize("target", ["host"])
def test_compiled_operators_agree_with_the_reference_kernels(target: str, tmp_path: Path) -> None:
    cases = quick_part(chosen(), 0, 2, covers=lambda case: (case.kind,))
    trials = [trial(case, tmp_path) for case in cases]
    wrong = {}
    for case, found in zip(cases, run_trials(trials, resolve(target)), strict=True):
        if isinstance(found, Exception):
            wrong[str(case)] = str(found)
            continue
        wanted = reference(case.data(), case.inputs(), case.calls)
        pairs = zip(chain(*found), chain(*wanted), strict=True)
        if not all(agrees(ours, theirs) for ours, theirs in pairs):
            wrong[str(case)] = "another result"
    assert not wrong

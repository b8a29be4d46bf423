"""Run samples as portable C code, compiled by GCC with a sanitizer that ends the program."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from agreement import disagreement
from operator_graphs import Sample

from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import run_trials

ADDRESS = ("gcc", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
THREAD = ("gcc", "-fsanitize=thread", "-pthread")


def sanitized(chosen: Sequence[Sample], cc: Sequence[str]) -> list[str]:
    """The problems of samples: reports of the sanitizer, and wrong results."""
    results = run_trials([sample.trial for sample in chosen], resolve("host"), "c", cc=cc)
    wrong = []
    for sample, result in zip(chosen, results, strict=True):
        if isinstance(result, Exception):
            wrong.append(f"{sample.label}: {result}")
            continue
        for outputs in result:
            pairs = zip(outputs, sample.want, strict=True)
            said = [disagreement(got, np.asarray(want)) for got, want in pairs]
            wrong += [f"{sample.label}: {difference}" for difference in said if difference]
    return wrong

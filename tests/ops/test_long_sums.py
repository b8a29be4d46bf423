"""Sums of thousands of products are accurate for all shapes."""

from __future__ import annotations

import numpy as np

from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Trial, run_trials
from ellc.ir.builder import GraphBuilder
from ellc.ir.op import Op
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.dense import Dense
from ellc.ir.types import Padding, type_of

CASES: dict[str, tuple[Op, tuple[int, ...], tuple[int, ...]]] = {
    "one dense chain": (Dense(), (1, 9216), (40, 9216)),
    "parts of a window row": (Conv2D(padding=Padding.same(1)), (1, 5, 5, 512), (16, 3, 3, 512)),
    "some window rows": (Conv2D((4, 4)), (1, 31, 31, 3), (16, 11, 11, 3)),
    "groups": (Conv2D(padding=Padding.same(2), groups=2), (1, 7, 7, 96), (16, 5, 5, 48)),
}


def test_error_of_long_sums() -> None:
    """Positive products are the worst case, since all partial sums grow and are rounded.

    In a chain of n equal products, the relative error is that of a random walk of n roundings,
    about 2^-24 * sqrt(n) / 4. Sums of up to 9,216 products must be as accurate as a chain of 256.
    (numpy's sums have this accuracy, because numpy adds in pairs.)
    """
    rng = np.random.default_rng(7)
    trials, truths = [], []
    for name, (op, x_shape, w_shape) in CASES.items():
        x = rng.uniform(0.5, 1.5, x_shape).astype(np.float32)
        w = rng.uniform(0.5, 1.5, w_shape).astype(np.float32)
        b = GraphBuilder(name)
        b.output("y", b.add(op, b.input("x", type_of(x)), b.constant(w)))
        trials.append(Trial(b.build(), ((x,),)))
        truths.append(op.reference(x.astype(np.float64), w.astype(np.float64))[0])
    errors = {}
    for name, got, truth in zip(CASES, run_trials(trials, resolve("host")), truths, strict=True):
        assert not isinstance(got, Exception), got
        errors[name] = float(np.sqrt(np.mean(((got[0][0] - truth) / truth) ** 2)))
    bound = 2.0**-24 * np.sqrt(256) / 4
    assert max(errors.values()) < bound, errors

"""Activations that exporters write as several operators; similar formulas are not changed."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from ellc.ir.builder import GraphBuilder, Ref
from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate
from ellc.ir.op import Op, attributes
from ellc.ir.ops.pointwise import (
    Abs,
    Add,
    Clip,
    Div,
    Erf,
    Exp,
    Gelu,
    HardSigmoid,
    HardSwish,
    LeakyRelu,
    Log,
    Log1p,
    Maximum,
    Minimum,
    Mish,
    Mul,
    Neg,
    Pow,
    PRelu,
    Relu,
    Sigmoid,
    Softplus,
    Softsign,
    Sub,
    Swish,
    Tanh,
)
from ellc.ir.ops.shape import Expand
from ellc.ir.passes.fold.recognise_activations import RecogniseActivations
from ellc.ir.pipeline import parse_passes, run_pipeline
from ellc.ir.types import DType, TensorType

SHAPE = (2, 3)
PASSES = "fold_constants, simplify, recognise_activations, eliminate_dead"


class Formula:
    """Short methods to build a formula of x."""

    def __init__(self) -> None:
        self.b = GraphBuilder("formula")
        self.x = self.b.input("x", TensorType(DType.F32, SHAPE))

    def __call__(self, op: Op, *operands: Ref | float) -> Ref:
        return self.b.add(op, *(v if isinstance(v, Ref) else self.number(v) for v in operands))

    def number(self, value: float, *shape: int) -> Ref:
        return self.b.constant(np.full(shape or (1,), value, np.float32))


Spelling = Callable[[Formula, Ref], Ref]


def tanh_gelu(f: Formula, x: Ref, cube: Ref) -> Ref:
    inner = f(Mul(), f(Add(), x, f(Mul(), cube, 0.044715)), math.sqrt(2 / math.pi))
    return f(Mul(), f(Mul(), x, 0.5), f(Add(), f(Tanh(), inner), 1.0))


def two_sides(f: Formula, x: Ref) -> Ref:
    """A PReLU as converted from Keras."""
    slopes = f.b.constant(np.array([0.1, 0.2, 0.3], np.float32))
    return f(Add(), f(Relu(), x), f(Mul(), f(Relu(), f(Neg(), x)), f(Neg(), slopes)))


KNOWN: list[tuple[str, Op, Spelling]] = [
    ("gate first", Swish(), lambda f, x: f(Mul(), f(Sigmoid(), x), x)),
    ("gate second", Swish(), lambda f, x: f(Mul(), x, f(Sigmoid(), x))),
    ("faster gate", Swish(1.702), lambda f, x: f(Mul(), x, f(Sigmoid(), f(Mul(), x, 1.702)))),
    (
        "all written out",
        Swish(),
        lambda f, x: f(
            Mul(), x, f(Div(), f.number(1, *SHAPE), f(Add(), f(Exp(), f(Neg(), x)), 1.0))
        ),
    ),
    (
        "divided at the end",
        HardSwish(),
        lambda f, x: f(Div(), f(Mul(), x, f(Clip(0.0, 6.0), f(Add(), x, 3.0))), 6.0),
    ),
    (
        "times a sixth",
        HardSwish(),
        lambda f, x: f(Mul(), f(Mul(), f(Clip(0.0, 6.0), f(Add(), x, 3.0)), 1 / 6), x),
    ),
    (
        "bounds as extremes",
        HardSwish(),
        lambda f, x: f(
            Mul(), x, f(Div(), f(Minimum(), f(Maximum(), f(Add(), x, 3.0), 0.0), 6.0), 6.0)
        ),
    ),
    (
        "hard sigmoid",
        HardSwish(),
        lambda f, x: f(Mul(), x, f(HardSigmoid(float(np.float32(1 / 6)), 0.5), x)),
    ),
    (
        "erf, half at the end",
        Gelu(),
        lambda f, x: f(Mul(), f(Mul(), x, f(Add(), f(Erf(), f(Div(), x, math.sqrt(2))), 1.0)), 0.5),
    ),
    (
        "erf, half in front",
        Gelu(),
        lambda f, x: f(
            Mul(), f(Mul(), x, 0.5), f(Add(), f(Erf(), f(Mul(), x, math.sqrt(0.5))), 1.0)
        ),
    ),
    ("tanh, power", Gelu(True), lambda f, x: tanh_gelu(f, x, f(Pow(), x, 3.0))),
    ("tanh, products", Gelu(True), lambda f, x: tanh_gelu(f, x, f(Mul(), f(Mul(), x, x), x))),
    ("logarithm", Softplus(), lambda f, x: f(Log(), f(Add(), f(Exp(), x), 1.0))),
    ("log1p", Softplus(), lambda f, x: f(Log1p(), f(Exp(), x))),
    ("softplus", Mish(), lambda f, x: f(Mul(), x, f(Tanh(), f(Softplus(), x)))),
    (
        "logarithm of a sum",
        Mish(),
        lambda f, x: f(Mul(), f(Tanh(), f(Log(), f(Add(), f(Exp(), x), 1.0))), x),
    ),
    ("quotient", Softsign(), lambda f, x: f(Div(), x, f(Add(), f(Abs(), x), 1.0))),
    (
        "reciprocal",
        Sigmoid(),
        lambda f, x: f(Div(), f(Expand(SHAPE), f.number(1)), f(Add(), f(Exp(), f(Neg(), x)), 1.0)),
    ),
    ("maximum", LeakyRelu(0.1), lambda f, x: f(Maximum(), f(Mul(), x, 0.1), x)),
    ("two sides", PRelu(), two_sides),
]
ALIKE: list[tuple[str, Spelling]] = [
    ("another gate", lambda f, x: f(Mul(), x, f(Sigmoid(), f(Add(), x, 0.5)))),
    ("another value", lambda f, x: f(Mul(), f(Abs(), x), f(Sigmoid(), x))),
    ("another bound", lambda f, x: f(Mul(), x, f(Clip(0.0, 5.0), f(Add(), x, 3.0)))),
    (
        "another factor",
        lambda f, x: f(Mul(), f(Mul(), x, f(Clip(0.0, 6.0), f(Add(), x, 3.0))), 0.16),
    ),
    (
        "another root",
        lambda f, x: f(Mul(), f(Mul(), x, 0.5), f(Add(), f(Erf(), f(Mul(), x, 0.7)), 1.0)),
    ),
    ("another cube", lambda f, x: tanh_gelu(f, x, f(Mul(), f(Mul(), x, x), f(Abs(), x)))),
    ("a steep slope", lambda f, x: f(Maximum(), f(Mul(), x, 1.5), x)),
    ("no slope", lambda f, x: f(Sub(), f(Relu(), x), f(Relu(), x))),
    ("another sum", lambda f, x: f(Log(), f(Add(), f(Exp(), x), 2.0))),
]


def graph_of(spelling: Spelling) -> Graph:
    f = Formula()
    f.b.output("y", spelling(f, f.x))
    return f.b.build()


def numbers(op: Op) -> list[float]:
    return [float(v) for v in attributes(op).values()]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "op", "spelling"), KNOWN, ids=[f"{k[1].name}-{k[0]}" for k in KNOWN]
)
def test_known_formulas(name: str, op: Op, spelling: Spelling) -> None:
    before = graph_of(spelling)
    after, _ = run_pipeline(before, parse_passes(PASSES), paranoid=True)
    (node,) = after.nodes
    assert type(node.op) is type(op)
    x = np.linspace(-7, 7, 6, dtype=np.float32).reshape(SHAPE)
    want, got = (evaluate(g, (x,), double=True).outputs[0] for g in (before, after))
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-7)
    for number, wanted in zip(numbers(node.op), numbers(op), strict=True):
        assert math.isclose(number, wanted, rel_tol=1e-6)


@pytest.mark.parametrize(("name", "spelling"), ALIKE, ids=[a[0] for a in ALIKE])
def test_formulas_that_only_look_alike(name: str, spelling: Spelling) -> None:
    before, _ = run_pipeline(graph_of(spelling), parse_passes("fold_constants, simplify"))
    kinds = {Swish, HardSwish, Gelu, Mish, Softplus, LeakyRelu, PRelu}
    after = RecogniseActivations().run(before)
    assert not [n for n in after.nodes if type(n.op) in kinds]

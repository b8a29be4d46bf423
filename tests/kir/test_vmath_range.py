"""Every elementary function on its whole range of arguments, interpreted and compiled.

The reference is numpy's `longdouble` (with a significand of 64 bits on the machines that run the
tests), whose sine is correct for any float64. The units of the comparison account for its own
errors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from kernel_cases import KernelCase, by_llvm, compiled_results
from special_values import flushes

from ellc.codegen.kir import vmath, vmath_hyperbolic, vmath_inverse, wide
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.types import Elem
from ellc.codegen.kir.vmath_formats import format_of
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.toolchain.llvm import LlvmPool
from ellc.ir.types import Array

COUNT = 1024
FORMATS = (Elem.F32, Elem.F64)


def sigmoid(x: Array) -> Array:
    """1 / (1 + e^-x)."""
    return np.asarray(np.where(x < 0, np.exp(x), 1.0) / (1.0 + np.exp(-np.abs(x))))


def softplus(x: Array) -> Array:
    """log(1 + e^x)."""
    return np.asarray(np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))))


def erf(x: Array) -> Array:
    """erf of the argument as float64."""
    return np.vectorize(math.erf, otypes=[np.longdouble])(x.astype(np.float64))


def gelu(x: Array) -> Array:
    """x erfc(-x / sqrt 2) / 2, with a first-order correction for rounding to float64."""
    exact = -x / np.sqrt(np.longdouble(2))
    t = exact.astype(np.float64)
    lost = np.where(np.isfinite(t), exact - t, 0)
    slope = -2 / np.sqrt(np.longdouble(np.pi)) * np.exp(-(t.astype(np.longdouble) ** 2))
    return np.asarray(x * 0.5 * (np.vectorize(math.erfc, otypes=[np.longdouble])(t) + slope * lost))


FUNCTIONS: dict[str, tuple[Callable[..., Array], float]] = {
    "exp": (np.exp, 1.01),
    "expm1_negative": (lambda x: np.expm1(np.minimum(x, 0)), 3),
    "tanh": (np.tanh, 3),
    "sigmoid": (sigmoid, 3),
    "log": (np.log, 2),
    "log10": (np.log10, 3),
    "softplus": (softplus, 4),
    "sin": (np.sin, 2),
    "cos": (np.cos, 2),
    "tan": (np.tan, 4),
    "floor": (np.floor, 0),
    "ceil": (np.ceil, 0),
    "round_even": (np.rint, 0),
    "erf": (erf, 3),
    "gelu": (gelu, 8),
    "pow": (np.power, 3),
    "expm1": (np.expm1, 3),
    "log1p": (np.log1p, 3),
    "sinh": (np.sinh, 4),
    "cosh": (np.cosh, 3),
    "asinh": (np.arcsinh, 5),
    "acosh": (np.arccosh, 5),
    "atanh": (np.arctanh, 5),
    "atan": (np.arctan, 3),
    "asin": (np.arcsin, 4),
    "acos": (np.arccos, 4),
    "fmod": (np.fmod, 0),
}
"""(reference, bound in units in the last place from the docstring) by function."""


def public_functions() -> dict[str, Callable[..., object]]:
    """The public functions of the modules, by name."""
    found = {
        name: function
        for module in (vmath, vmath_hyperbolic, vmath_inverse)
        for name, function in vars(module).items()
        if getattr(function, "__module__", "") == module.__name__ and name[0] != "_"
    }
    return found | {"fmod": wide.fmod}


# --- arguments -----------------------------------------------------------------------------------


def arguments(name: str, elem: Elem) -> tuple[Array, ...]:
    """Arguments of every magnitude and sign, the extremes, and numbers near ends of formulas."""
    rng = np.random.default_rng(len(name))
    if name in ("pow", "fmod"):
        x, y = _any_size(rng, elem), _any_size(rng, elem)
        ordinary = rng.random(COUNT) < 0.5
        x = np.where(ordinary, rng.uniform(-20, 20, COUNT), x)
        y = np.where(rng.random(COUNT) < 0.5, np.rint(rng.uniform(-40, 40, COUNT)), y)
        return x.astype(elem.numpy), y.astype(elem.numpy)
    x = _any_size(rng, elem)
    at = rng.permutation(COUNT)
    x[at[:400]] = rng.uniform(-120, 120, 400)
    quarters = np.rint(2.0 ** rng.uniform(0, 40 if elem is Elem.F64 else 22, 200))
    x[at[400:600]] = (quarters * (np.longdouble(np.pi) / 2)).astype(elem.numpy)
    edges = _edges(elem)
    x[at[600 : 600 + len(edges)]] = edges
    if name == "expm1_negative":
        x = -np.abs(x)
    return (x.astype(elem.numpy),)


def _any_size(rng: np.random.Generator, elem: Elem) -> Array:
    """Random bits except NaN: exponents are uniform and include denormal numbers."""
    info = np.finfo(elem.numpy)
    sizes = rng.uniform(info.minexp - info.nmant, info.maxexp, COUNT)
    return np.asarray(np.exp2(sizes).astype(elem.numpy) * rng.choice([-1.0, 1.0], COUNT))


def _edges(elem: Elem) -> Array:
    """Ends of the range, ends of formulas, and the floats that are nearest to multiples of pi/2."""
    info = np.finfo(elem.numpy)
    ends = [0.0, info.max, info.tiny, info.smallest_subnormal, np.inf, 1.0, 2.0**31, 2.0**63]
    hardest = 6381956970095103 * 2.0**797 if elem is Elem.F64 else 16367173 * 2.0**72
    limits = [format_of(elem).trig_limit, 40.0, 2.0**28, 11.0, 28.0, 0.5, hardest]
    values = np.array([*ends, *limits], elem.numpy)
    with np.errstate(over="ignore"):
        around = [values, np.nextafter(values, 0), np.nextafter(values, np.inf)]
    both = np.concatenate([*around, *(-v for v in around), np.array([np.nan], elem.numpy)])
    return both.astype(elem.numpy)


# --- comparison ----------------------------------------------------------------------------------


def wrong(name: str, elem: Elem, got: Array, args: tuple[Array, ...], flushed: bool) -> list[str]:
    """A line for the worst result whose error exceeds the bound; empty if there is none."""
    function, units = FUNCTIONS[name]
    with np.errstate(all="ignore"):
        choices = [function(*(a.astype(np.longdouble) for a in args))]
        if flushed:
            tiny = np.finfo(elem.numpy).tiny
            kept = (np.where(np.abs(a) < tiny, np.copysign(0, a), a) for a in args)
            choices.append(function(*(a.astype(np.longdouble) for a in kept)))
        errors = np.minimum.reduce([_units(name, elem, got, want, flushed) for want in choices])
    worst = int(np.argmax(errors))
    if errors[worst] <= units:
        return []
    at = ", ".join(repr(float(a[worst])) for a in args)
    said = f"{got[worst]!r} instead of {choices[0][worst]!r}, {errors[worst]:.4g} units"
    return [f"{name} of {elem.value}: at ({at}) {said}; {int((errors > units).sum())} are wrong"]


def _units(name: str, elem: Elem, got: Array, want: Array, flushed: bool) -> Array:
    """Distances in units in the last place; infinite if only one of two numbers is NaN."""
    info = np.finfo(elem.numpy)
    rounded = want.astype(elem.numpy)
    size = np.where(np.isfinite(rounded), np.abs(rounded), info.max)
    spacing = np.spacing(np.maximum(size, info.tiny)).astype(np.longdouble)
    if name in ("sin", "cos"):
        spacing = np.full_like(spacing, info.epsneg)  # below 1
    distance = np.abs(got.astype(np.longdouble) - want) / spacing
    same = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
    # A denormal result may be smaller or 0. A result near the largest number may be infinite. On
    # units that flush denormal numbers, a small result of `gelu`, which is a denormal number times
    # x, may also be smaller or 0.
    below = (np.abs(got) <= np.abs(rounded)) & (got * np.sign(rounded) >= 0)
    same |= (np.abs(rounded) < info.tiny * (16 if flushed and name == "gelu" else 1)) & below
    same |= (np.abs(want) >= info.max * (1 - 8 * info.eps)) & (np.abs(got) == np.inf)
    return np.where(same, 0, np.where(np.isnan(distance), np.inf, distance))


# --- kernels -------------------------------------------------------------------------------------


def cases() -> Iterator[tuple[str, Elem, KernelCase]]:
    """Cases of every function for both float types."""
    for name, function in public_functions().items():
        for elem in FORMATS:
            args = arguments(name, elem)
            yield name, elem, _case(name, function, elem, args, 8 if elem is Elem.F32 else 4)


def _case(
    name: str, function: Callable[..., object], elem: Elem, args: tuple[Array, ...], lanes: int
) -> KernelCase:
    b = KernelBuilder(f"{name}_{elem.value}")
    params = [b.param(f"x{i}", elem) for i in range(len(args))]
    y = b.param("y", elem, writable=True)
    with b.loop("i", b.begin, b.end) as loop:
        place = b.mul(loop.index, lanes)
        b.store(function(b, *(b.load(p, place, lanes) for p in params)), y, place)  # type: ignore[arg-type]
    arrays = {f"x{i}": a for i, a in enumerate(args)} | {"y": np.zeros(COUNT, elem.numpy)}
    return KernelCase(b.finish(), arrays, COUNT // lanes)


def test_every_function_is_surveyed() -> None:
    assert set(public_functions()) == set(FUNCTIONS)


def test_interpreted() -> None:
    found = []
    for name, function in public_functions().items():
        for elem in FORMATS:
            args = arguments(name, elem)
            (got,) = _case(name, function, elem, args, COUNT).interpreted.values()
            found += wrong(name, elem, got, args, flushed=False)
    assert not found, "\n".join(found)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["host", *(pytest.param(n, marks=pytest.mark.emulated) for n in ("pi3", "pi3_64"))]
)
def test_compiled(name: str, tmp_path: Path) -> None:
    target, made = resolve(name), tuple(cases())
    with LlvmPool() as pool:
        results = compiled_results([c for *_, c in made], target, by_llvm(pool, 2), tmp_path)
    found = []
    for (function, elem, case), got in zip(made, results, strict=True):
        args = tuple(case.arrays[p.name] for p in case.kernel.params if not p.writable)
        found += wrong(function, elem, got["y"], args, flushes(target))
    assert not found, "\n".join(found)

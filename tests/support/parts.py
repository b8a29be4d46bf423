"""Choose a part of many test cases for the suite; `pytest --whole` runs all of them.

A test that runs the same cases on several targets gives each target another part, so that every
case runs on some target. The choice depends only on the cases and their order. Never leave out the
case of an error that was found once: pass such cases by `always`, or test them by themselves.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")

WHOLE = "ELLC_TESTS_WHOLE"
"""The environment variable that `pytest --whole` sets, also for processes that tests start."""


def is_whole() -> bool:
    """Whether all cases shall run."""
    return bool(os.environ.get(WHOLE))


def quick_part(
    cases: Sequence[T],
    number: int = 0,
    parts: int = 1,
    *,
    covers: Callable[[T], Iterable[Hashable]] | None = None,
    always: Callable[[T], bool] | None = None,
) -> list[T]:
    """Part `number` of `parts` equal parts of the cases, or all cases with `pytest --whole`.

    The part consists of every `parts`-th case, or of the first one if there are too few. `covers`
    names what a case tests, for instance its operator and its kernels: the first case for anything
    that the part does not cover is added. Cases for which `always` holds are in every part. The
    order of cases is kept.
    """
    if is_whole() or parts == 1:
        return list(cases)
    every = range(len(cases))
    chosen = set(every[number % parts :: parts] or every[:1])
    if always is not None:
        chosen.update(i for i in every if always(cases[i]))
    if covers is not None:
        features = [frozenset(covers(case)) for case in cases]
        covered = {feature for i in chosen for feature in features[i]}
        for i in every:
            if not features[i] <= covered:
                chosen.add(i)
                covered |= features[i]
    return [cases[i] for i in sorted(chosen)]


def quick_seeds(count: int, number: int = 0, parts: int = 1) -> range:
    """Part `number` of `parts` consecutive parts of the seeds up to `count`, or all of them.

    The remainders of a seed often decide what is drawn, so a part has consecutive seeds.
    """
    if is_whole():
        return range(count)
    number, size = number % parts, -(-count // parts)
    return range(number * size, min(count, (number + 1) * size))

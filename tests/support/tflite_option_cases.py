"""Variants of test cases in which an option of the operator has another value."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from tflite_cases import TfliteCase

_ACTIVATION = "fusedActivationFunction"
_POSITIVE = ("stride", "dilation", "filter", "block", "multiplier", "num")


@dataclass(frozen=True)
class OptionCase:
    """A case of an operator in which one option has another value."""

    option: str
    value: object
    case: TfliteCase

    def __str__(self) -> str:
        return f"{self.case}: {self.option} = {self.value}"

    @property
    def name(self) -> str:
        """The name of the option in the schema and the importer."""
        return self.option[0].upper() + self.option[1:]

    @property
    def is_known(self) -> bool:
        """Whether the schema has such a value."""
        largest = {_ACTIVATION: 5, "padding": 1}.get(self.option)
        return largest is None or 0 <= int(str(self.value)) <= largest

    @property
    def is_judged(self) -> bool:
        """Whether the runtime implements the value; it ignores two activations."""
        return self.option != _ACTIVATION or self.value not in (4, 5)


def option_cases(cases: Iterable[TfliteCase]) -> Iterator[OptionCase]:
    """Other values for every option of the first case of each operator and element type."""
    for case in _first_of_each_type(cases):
        for option, value in sorted(vars(case.options).items()):
            for other in _others(option, value):
                changed = copy.copy(case.options)
                setattr(changed, option, other)
                yield OptionCase(option, other, replace(case, options=changed))


def _first_of_each_type(cases: Iterable[TfliteCase]) -> Iterator[TfliteCase]:
    known = set()
    for case in cases:
        if case.options is None or isinstance(case.options, dict):
            continue
        types = tuple(t.dtype for t in case.operands if t is not None)
        key = (case.kind, types[:1], case.options.__class__)
        if key not in known:
            known.add(key)
            yield case


def _others(option: str, value: object) -> list[object]:
    """Values that differ from the one that a case has."""
    if option == _ACTIVATION:
        every: list[object] = [*range(7)]
    elif isinstance(value, bool):
        every = [False, True]
    elif isinstance(value, int) and option.lower().startswith(_POSITIVE):
        every = [1, 2, 3]
    elif isinstance(value, int):
        every = [-1, 0, 1, 2, 3]
    elif isinstance(value, float):
        every = [0.5, 2.0]
    else:
        every = []
    return [v for v in every if v != value]

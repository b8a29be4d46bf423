"""Models with valid and invalid axes, for every operator that has an axis as a parameter.

Attributes, options and operands can name axes. Starting from valid axes, models are made with each
axis counted from the end, replaced by an axis that does not exist, or replaced by another axis of
the same list.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from onnx_schema_bases import Base, X
from onnx_schema_cases import BASES, VALUES, case_of, fitting, in_version, versions
from tflite_agreement import every_case
from tflite_cases import TfliteCase
from tflite_files import T

FAR = (2**31 - 1, -(2**31))
"""Axes that no tensor has, at the limits of int32."""
Axes = tuple[int, ...]


@dataclass(frozen=True)
class AxesCase:
    """A parameter of an operator that names axes of a tensor of `rank`; `axes` are valid.

    `model` makes the bytes of a file with given axes. `from_end` says whether an axis may be
    negative, `allows_rank` whether it may equal the rank.
    """

    label: str
    axes: Axes
    rank: int
    model: Callable[[Axes], bytes]
    from_end: bool = True
    allows_rank: bool = False

    def __str__(self) -> str:
        return self.label

    def negative(self) -> Iterator[Axes]:
        """The same axes, with one of them, and with all of them, counted from the end."""
        if self.from_end:
            for i in range(len(self.axes)):
                yield self._with(i, self.axes[i] - self.rank)
            if len(self.axes) > 1:
                yield tuple(a - self.rank for a in self.axes)

    def outside(self) -> Iterator[Axes]:
        """Lists of axes of which one does not exist."""
        for i in range(len(self.axes)):
            for wrong in (self.rank + self.allows_rank, -self.rank - 1):
                yield self._with(i, wrong)
        yield from (self._with(0, far) for far in FAR)

    def twice(self) -> Iterator[Axes]:
        """Lists of axes of which two are equal, also with one of the two counted from the end."""
        if len(self.axes) > 1:
            yield self._with(1, self.axes[0])
            if self.from_end:
                yield self._with(1, self.axes[0] - self.rank)

    def _with(self, index: int, axis: int) -> Axes:
        return (*self.axes[:index], axis, *self.axes[index + 1 :])


# ---- ONNX ---------------------------------------------------------------------------------------

_NAMES = re.compile(r"(\w+_)?axis|axes|scan_\w+_axes|perm")
# Operators whose axes are axes of the result, which may have more axes than the operand.
_OF_RESULT = {"OneHot": 1, "Unsqueeze": 1}
# Ranks of the sequences in the cases for Scan.
_SCANNED = {"scan_input_axes": 2, "scan_output_axes": 2}
_GIVEN = {"CenterCropPad": (2, 3), "Transpose": (1, 3, 0, 2)}


def onnx_axes_cases(operator: str) -> Iterator[AxesCase]:
    """A case for every attribute and operand that names axes, in every version of an operator."""
    every = versions(operator)
    for schema in every:
        base = in_version(BASES.get(operator, Base((X,))), schema, every[-1])
        for name in filter(_NAMES.fullmatch, schema.attributes):
            if name != "new_axis" and not name.startswith(("keep", "noop")):
                yield _attribute(schema, base, name)
        for index, formal in enumerate(schema.inputs[: len(base.operands)]):
            if _NAMES.fullmatch(formal.name):
                yield _operand(schema, base, index)


def _rank(schema: onnx.defs.OpSchema, base: Base, name: str, count: int) -> int:
    first = base.operands[0]
    if name in _SCANNED:
        return _SCANNED[name]
    more = _OF_RESULT.get(schema.name, 0) * (count if schema.name == "Unsqueeze" else 1)
    return np.ndim(first[0] if isinstance(first, tuple) else first) + more


def _attribute(schema: onnx.defs.OpSchema, base: Base, name: str) -> AxesCase:
    given = base.attributes[name] if name in base.attributes else _usual(schema, name)
    axes = tuple(given) if isinstance(given, list | tuple) else (given,)
    rank = _rank(schema, base, name, len(axes))

    def model(axes: Axes) -> bytes:
        value = list(axes) if isinstance(given, list | tuple) else axes[0]
        said = replace(base, attributes={**base.attributes, name: value})
        made = case_of(schema, fitting(schema.name, said, name, value), name)
        return made.proto.SerializeToString()

    axes = tuple(a % rank for a in axes)
    label = f"{schema.name}-{schema.since_version} {name}"
    return AxesCase(label, axes, rank, model, name != "perm", schema.name == "Flatten")


def _usual(schema: onnx.defs.OpSchema, name: str) -> Any:
    """Valid axes for an operator whose case has none."""
    given = VALUES.get(schema.name, {}).get(name)
    if given:
        return given[0]
    default = schema.attributes[name].default_value
    return onnx.helper.get_attribute_value(default) if default.name else _GIVEN[schema.name]


def _operand(schema: onnx.defs.OpSchema, base: Base, index: int) -> AxesCase:
    given = np.asarray(base.operands[index])

    def model(axes: Axes) -> bytes:
        operands = list(base.operands)
        operands[index] = np.array(axes, given.dtype).reshape(given.shape)
        made = case_of(schema, replace(base, operands=tuple(operands)), "axes")
        return made.proto.SerializeToString()

    axes = tuple(int(a) for a in given.reshape(-1))
    label = f"{schema.name}-{schema.since_version} operand {schema.inputs[index].name}"
    return AxesCase(label, axes, _rank(schema, base, "", len(axes)), model)


# ---- TensorFlow Lite ----------------------------------------------------------------------------

_OPTIONS = ("axis", "batchDim", "seqDim", "squeezeDims")
_OPERANDS = {
    **dict.fromkeys(("ARG_MAX", "ARG_MIN", "CUMSUM", "EXPAND_DIMS", "REVERSE_V2", "TRANSPOSE"), 1),
    **{f"REDUCE_{k}": 1 for k in ("ALL", "ANY", "MAX", "MIN", "PROD")},
    **dict.fromkeys(("MEAN", "SUM"), 1),
    "SPLIT": 0, "SPLIT_V": 2,
}  # fmt: skip
_ONE_MORE = ("EXPAND_DIMS", "ONE_HOT", "PACK")


def tflite_axes_cases() -> Iterator[AxesCase]:
    """Cases of every operator with axes: the most axes, for types with and without a scale."""
    found: dict[str, AxesCase] = {}
    for case in every_case():
        for axes_case in _axes_cases(case):
            kept = found.get(axes_case.label)
            if kept is None or len(kept.axes) < len(axes_case.axes):
                found[axes_case.label] = axes_case
    yield from found.values()


def names_axes(case: TfliteCase) -> bool:
    """Whether a parameter of the operator names axes."""
    return case.kind in _OPERANDS or any(name in vars(case.options or object) for name in _OPTIONS)


def _axes_cases(case: TfliteCase) -> Iterator[AxesCase]:
    kind, to = case.kind, "stored" if case.results[0].scale else "plain"
    index = _OPERANDS.get(kind)
    data = next(t for i, t in enumerate(case.operands) if t is not None and i != index)
    rank = len(data.shape) + (kind in _ONE_MORE)
    for name in _OPTIONS:
        given = vars(case.options or object).get(name)
        if given is not None and not (name == "axis" and index is not None):
            yield _axes_case(f"{kind} {to} {name}", given, rank, _with_option(case, name))
    if index is not None:
        held = case.operands[index]
        assert held is not None and held.data is not None
        yield _axes_case(f"{kind} {to}", held.data, rank, _with_operand(case, index))


def _axes_case(label: str, given: Any, rank: int, model: Callable[[Axes], bytes]) -> AxesCase:
    axes = tuple(int(a) % rank for a in np.atleast_1d(given))
    return AxesCase(label, axes, rank, model)


def _with_option(case: TfliteCase, name: str) -> Callable[[Axes], bytes]:
    def model(axes: Axes) -> bytes:
        options = copy.copy(case.options)
        several = isinstance(getattr(options, name), Sequence)
        setattr(options, name, list(axes) if several else axes[0])
        return replace(case, options=options).data()

    return model


def _with_operand(case: TfliteCase, index: int) -> Callable[[Axes], bytes]:
    def model(axes: Axes) -> bytes:
        operands = list(case.operands)
        held = operands[index]
        assert held is not None and held.data is not None
        operands[index] = T.of(np.array(axes if held.shape else axes[0], held.dtype))
        return replace(case, operands=tuple(operands)).data()

    return model

"""Matches the tensors of a file with the slots of a network, and converts their layout."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path

import numpy as np

from ellc.ir.errors import EllcError
from ellc.ir.types import Array
from ellc.zoo.weights.files import read_tensors
from ellc.zoo.weights.tensors import WEIGHT, NamedArray, Slot

_MOST_PROBLEMS = 20


@dataclass
class Supply:
    """Provides the trained weights of a network in the order of its layers.

    `folded` says that batch normalisation is folded into the weights. If `tensors` is None, the
    supply returns zeros. `asked` records all slots that were asked for.
    """

    folded: bool
    tensors: Sequence[Array] | None = None
    asked: list[Slot] = field(default_factory=list)

    def take(self, slot: Slot) -> Array:
        """The tensor for the next slot: float32 with the shape of `slot`."""
        self.asked.append(slot)
        if self.tensors is None:
            return np.broadcast_to(np.float32(0), slot.shape)
        return self.tensors[len(self.asked) - 1]


@dataclass(frozen=True, slots=True)
class _Match:
    folded: bool
    arrays: list[Array]
    problems: list[str]


def supply_for(path: Path, ask: Callable[[Supply], object]) -> Supply:
    """Read the weights of a file for a network; `ask` builds the network from a supply.

    The function tries the layouts of PyTorch, Keras and ellc, each with separate and with folded
    batch normalisation. Raises `EllcError` E744 with the problems of the best match if no layout
    fits, and the errors of `read_tensors`.
    """
    tensors = [tensor for tensor in read_tensors(path) if tensor.counts]
    matches = []
    for folded in (False, True):
        probe = Supply(folded)
        ask(probe)
        matches += [_matched(probe.asked, tensors, layout, folded) for layout in _LAYOUTS]
    best = min(matches, key=lambda match: len(match.problems))
    if best.problems:
        raise _misfit(path, best.problems)
    return Supply(best.folded, best.arrays)


def _misfit(path: Path, problems: list[str]) -> EllcError:
    more = len(problems) - _MOST_PROBLEMS
    shown = problems[:_MOST_PROBLEMS] + ([f"and {more} more"] if more > 0 else [])
    return EllcError(
        "the weights do not fit the network",
        code="E744",
        where=str(path),
        hint="weights are matched by role, shape and order: check the network and its width",
        problems=shown,
    )


def _matched(slots: list[Slot], tensors: list[NamedArray], layout: _Layout, folded: bool) -> _Match:
    # If one tensor has no role, the roles of all vectors are ignored; shapes and order decide.
    named = all(tensor.role for tensor in tensors)
    queues: dict[tuple[str, tuple[int, ...]], deque[NamedArray]] = defaultdict(deque)
    for tensor in tensors:
        queues[_kind(tensor.role, named), tensor.array.shape].append(tensor)
    arrays, problems = [], []
    for slot in slots:
        kind = _kind(slot.role, named)
        for shape, arrange in _forms(slot, layout):
            if queue := queues[kind, shape]:
                arrays.append(np.asarray(arrange(queue.popleft().array), np.float32, order="C"))
                break
        else:
            problems.append(f"missing: {slot}")
    unused = [tensor for queue in queues.values() for tensor in queue]
    problems += [f"superfluous: '{x.name}' {'x'.join(map(str, x.array.shape))}" for x in unused]
    problems += [
        f"'{slot}' is not finite"
        for slot, array in zip(slots, arrays, strict=False)
        if not problems and not np.isfinite(array).all()
    ]
    return _Match(folded, arrays, problems)


def _forms(slot: Slot, layout: _Layout) -> list[_Form]:
    """The forms that the array of a slot may have in a file.

    A file may store a 1x1 convolution as a dense layer, and a dense layer on a single pixel as a
    1x1 convolution.
    """
    if slot.role != WEIGHT:
        return [(slot.shape, np.asarray)]
    one_pixel = slot.shape[1] * slot.shape[2] == 1
    other = layout(replace(slot, dense=not slot.dense)) if one_pixel else []
    return [*layout(slot), *other]


def _kind(role: str, named: bool) -> str:
    return role if named or role == WEIGHT else ""


# ---- layouts -------------------------------------------------------------------------------------

_Form = tuple[tuple[int, ...], Callable[[Array], Array]]
"""The shape of an array in a file, and the function that converts it to the shape of a slot."""
_Layout = Callable[[Slot], list[_Form]]


def _pytorch(slot: Slot) -> list[_Form]:
    """PyTorch: [filters,channels,rows,columns]; dense: [filters,channels*rows*columns]."""
    filters, rows, columns, channels = slot.shape
    planes = (filters, channels, rows, columns)

    def arrange(array: Array) -> Array:
        return array.reshape(planes).transpose(0, 2, 3, 1)

    return [((filters, prod(planes[1:])) if slot.dense else planes, arrange)]


def _keras(slot: Slot) -> list[_Form]:
    """Keras: [rows,columns,channels,filters].

    Depthwise: [rows,columns,filters,1]. Dense: [rows*columns*channels,filters].
    """
    filters, rows, columns, channels = slot.shape
    if slot.dense:
        return [((prod(slot.shape[1:]), filters), lambda array: array.T.reshape(slot.shape))]
    forms: list[_Form] = [
        ((rows, columns, channels, filters), lambda array: array.transpose(3, 0, 1, 2))
    ]
    if channels == 1:
        forms.append(((rows, columns, filters, 1), lambda array: array.transpose(2, 0, 1, 3)))
    return forms


def _own(slot: Slot) -> list[_Form]:
    """The graph IR: [filters,rows,columns,channels]; dense: [filters,rows*columns*channels]."""
    shape = (slot.shape[0], prod(slot.shape[1:])) if slot.dense else slot.shape
    return [(shape, lambda array: array.reshape(slot.shape))]


_LAYOUTS: tuple[_Layout, ...] = (_pytorch, _keras, _own)

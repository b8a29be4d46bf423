"""Calls of compiled code whose results must not depend on what memory held before.

A case's calls are made in a row from init, again after another call and a reset in the memory that
is used by then, and the first of them from init in memory full of every kind of junk. All of
these must give the same bytes. So bytes that nothing wrote, and states that a reset forgets, show.
"""

from __future__ import annotations

from collections.abc import Sequence

from ellc.codegen.toolchain.emulate import JUNK_KINDS, Request

Call = tuple[bytes, ...]
"""The bytes of all inputs, or of all outputs."""


def repeated(case: int, calls: Sequence[Call], other: Call) -> list[Request]:
    """The requests for `calls`, with repetitions; `other` are inputs of the call between."""
    found = [Request(case, inputs, keep_state=i > 0) for i, inputs in enumerate(calls)]
    found.append(Request(case, other, keep_state=True, reset=True))
    found += [
        Request(case, inputs, keep_state=True, reset=i == 0, junk=1)
        for i, inputs in enumerate(calls)
    ]
    return found + [Request(case, calls[0], junk=kind) for kind in range(1, JUNK_KINDS)]


def first_and_steady(answers: Sequence[Call], count: int) -> tuple[list[Call], bool]:
    """The answers to the first `count` calls, and whether every repetition gave the same bytes."""
    first = list(answers[:count])
    again, fresh = list(answers[count + 1 : 2 * count + 1]), answers[2 * count + 1 :]
    return first, again == first and all(answer == first[0] for answer in fresh)

"""Repeats calls of compiled code, to check that results do not depend on what memory held before.

First, the calls of a case are made one after the other after `init`. Then the case is reset, and
another call is made. After a second reset, the calls are repeated in the same memory. Finally, the
first call is repeated after a new `init`, once for each other kind of junk in memory. All
repetitions must give the same bytes. This finds reads of bytes that nothing has written, and states
that a reset does not restore.
"""

from __future__ import annotations

from collections.abc import Sequence

from ellc.codegen.toolchain.emulate import JUNK_KINDS, Request

Call = tuple[bytes, ...]
"""The bytes of all inputs, or of all outputs."""


def repeated(case: int, calls: Sequence[Call], other: Call) -> list[Request]:
    """The requests for `calls` and their repetitions. `other` are the inputs of the other call."""
    requests = [Request(case, inputs, keep_state=i > 0) for i, inputs in enumerate(calls)]
    requests.append(Request(case, other, keep_state=True, reset=True))
    requests += [
        Request(case, inputs, keep_state=True, reset=i == 0, junk=1)
        for i, inputs in enumerate(calls)
    ]
    return requests + [Request(case, calls[0], junk=kind) for kind in range(1, JUNK_KINDS)]


def first_and_steady(answers: Sequence[Call], count: int) -> tuple[list[Call], bool]:
    """(answers to the first `count` calls, whether all repetitions gave the same bytes)."""
    first = list(answers[:count])
    again, fresh = list(answers[count + 1 : 2 * count + 1]), answers[2 * count + 1 :]
    return first, again == first and all(answer == first[0] for answer in fresh)

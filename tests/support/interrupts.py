"""Processes that tests interrupt with Ctrl-C."""

from __future__ import annotations

import signal


def take_interrupts() -> None:
    """Make a new process take SIGINT; an argument for `preexec_fn`.

    The tests may be a background job of a script. Such a job, and every process that it starts,
    ignores SIGINT from the start.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)

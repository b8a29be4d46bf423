"""The target for a board, and the check that code for it can run there."""

from __future__ import annotations

from collections.abc import Sequence

from ellc.codegen.machine.boards import target_for, unfit
from ellc.codegen.machine.target import Target
from ellc.codegen.toolchain.system_libraries import LIBRARIES, least_glibc
from ellc.ir.errors import EllcError
from ellc.remote.facts import BoardFacts, unknown_board

_LIBRARY_NEEDS = ("pthread",)
_LOADER_NEEDS = tuple(LIBRARIES)


def loader_glibc(target: Target) -> tuple[int, ...]:
    """The oldest glibc with which the program that runs libraries on a board can start."""
    return least_glibc(target.arch, _LOADER_NEEDS)


def library_glibc(target: Target) -> tuple[int, ...]:
    """The oldest glibc with which a library for the target can be loaded."""
    return least_glibc(target.arch, _LIBRARY_NEEDS)


def chosen_target(host: str, facts: BoardFacts, asked: Target | None) -> Target:
    """The target that was asked for, if it fits, or else the best one for the board.

    Raises `EllcError`: E633 if none is known, E634 if the CPU cannot run code for `asked`.
    """
    if asked is None:
        found = target_for(facts.machine) if facts.machine else None
        if found is None:
            raise unknown_board(host, facts)
        return found
    # If the board does not name its programs or CPUs, `asked` is taken; `NAME_init` checks again.
    machine = facts.machine
    reason = unfit(asked, machine) if machine is not None and machine.flags else ""
    if not reason and machine is None and facts.programs:
        reason = f"programs of the board are for {facts.programs}"
    if reason:
        raise EllcError(
            f"code for target {asked.name!r} does not run on this board: {reason}",
            code="E634",
            where=host,
            problems=facts.lines(),
            hint="leave out --target to have the target chosen",
        )
    return asked


def check_libc(host: str, facts: BoardFacts, target: Target, *, is_run: bool) -> None:
    """Raise `EllcError` E634 if the board's C library does not fit.

    A run needs glibc. A library alone runs with an older glibc, or with another C library. If the
    board cannot name its C library, the run itself shows whether it fits.
    """
    needed = loader_glibc(target) if is_run else library_glibc(target)
    if facts.glibc >= needed or not facts.libc or (not facts.glibc and not is_run):
        return
    raise EllcError(
        f"the board's C library is {facts.libc}, but glibc {_dotted(needed)} or newer is needed",
        code="E634",
        where=host,
        problems=facts.lines(),
        hint="use a newer system on the board; `ellc deploy` without --run only copies the files"
        if is_run
        else "use a newer system on the board",
    )


def _dotted(version: Sequence[int]) -> str:
    return ".".join(map(str, version))

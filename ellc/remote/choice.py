"""Chooses the target for a board, and checks that code for this target can run on the board."""

from __future__ import annotations

from collections.abc import Sequence

from ellc.codegen.machine.boards import target_for, unfit
from ellc.codegen.machine.target import Target
from ellc.codegen.toolchain.system_libraries import LIBRARIES, least_glibc
from ellc.ir.errors import EllcError
from ellc.remote.facts import BoardFacts, unknown_board

_LIBRARY_NEEDS = ("pthread", "kernel")
_LOADER_NEEDS = tuple(LIBRARIES)


def loader_glibc(target: Target) -> tuple[int, ...]:
    """The oldest glibc with which the loader, which calls a library on the board, can start."""
    return least_glibc(target.arch, _LOADER_NEEDS)


def library_glibc(target: Target) -> tuple[int, ...]:
    """The oldest glibc with which a library for the target can be loaded."""
    return least_glibc(target.arch, _LIBRARY_NEEDS)


def chosen_target(host: str, facts: BoardFacts, asked: Target | None) -> Target:
    """The target `asked`, or the best target for the board if `asked` is None.

    Raises `EllcError`: E633 if no target for the board is known, E634 if the board cannot run code
    for `asked`.
    """
    if asked is None:
        found = target_for(facts.machine) if facts.machine else None
        if found is None:
            raise unknown_board(host, facts)
        return found
    # A board may not report its program type or CPU flags. Then `asked` is accepted: the generated
    # function `NAME_init` checks the CPU again.
    machine = facts.machine
    reason = unfit(asked, machine) if machine is not None and machine.flags else ""
    if not reason and machine is None and facts.programs:
        reason = f"its system runs programs for {facts.programs}"
    if reason:
        raise EllcError(
            f"code for target {asked.name!r} does not run on this board: {reason}",
            code="E634",
            where=host,
            problems=facts.lines(),
            hint="leave out --target, and ellc chooses the target",
        )
    return asked


def check_libc(host: str, facts: BoardFacts, target: Target, *, is_run: bool) -> None:
    """Raise `EllcError` E634 if the board's C library is too old or is not glibc.

    Running the network (`is_run`) needs glibc, because the loader needs it. A library without the
    loader works with an older glibc, and perhaps with another C library. If the board does not
    report its C library, nothing is raised here: a run will show whether it fits.
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

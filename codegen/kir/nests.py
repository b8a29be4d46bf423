"""Loop nests of a kernel, and the registry of schedulers that replace whole nests by assembly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ellc.codegen.kir.ir import Assembled, AssemblyFunction, For, Var
from ellc.codegen.machine.target import Target


@dataclass(frozen=True, slots=True)
class Nest:
    """A loop with everything inside.

    `results` lists the results of the loop that later statements read. Two parameters may point to
    the same buffer only if `aliases` gives them the same name; it lists only such parameters.
    """

    loop: For
    results: tuple[Var, ...]
    aliases: Mapping[str, str]

    def assembled(self, function: AssemblyFunction) -> Assembled:
        """The statement that runs an assembly function instead of the nest."""
        return Assembled(function, (self.loop,), self.results)


NestScheduler = Callable[[Nest, Target], AssemblyFunction | None]
"""A scheduler of nests returns the function that computes a nest, or None if it declines."""

NEST_SCHEDULERS: dict[str, NestScheduler] = {}
"""The schedulers by name, as in `Core.scheduler`. The decorator `nest_scheduler` adds them."""


def nest_scheduler(name: str) -> Callable[[NestScheduler], NestScheduler]:
    """Decorator: registers a scheduler of nests under the name that `Core.scheduler` uses."""

    def register(function: NestScheduler) -> NestScheduler:
        NEST_SCHEDULERS[name] = function
        return function

    return register


def aliases(pairs: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """For each parameter of the pairs, one name for all that may point to the same buffer."""
    names: dict[str, str] = {}
    for a, b in pairs:
        first, second = names.setdefault(a, a), names.setdefault(b, b)
        for name, group in names.items():
            if group == second:
                names[name] = first
    return names

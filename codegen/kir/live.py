"""The live values of a kernel: those on which a store, prefetch, condition or bound depends."""

from __future__ import annotations

from ellc.codegen.kir.ir import (
    For,
    If,
    Kernel,
    Let,
    Load,
    Operand,
    Prefetch,
    Store,
    Var,
    walk,
)


def live_values(kernel: Kernel) -> frozenset[str]:
    """The names of the values on which a store, prefetch, condition or loop bound depends."""
    sources: dict[str, tuple[Operand, ...]] = {}
    wanted: list[Operand] = []
    for statement in walk(kernel.body):
        match statement:
            case Let(result, _, args, _):
                sources[result.name] = args
            case Load(result, _, index, _, _):
                sources[result.name] = (index,)
            case Store(value, _, index, _, _):
                wanted += (value, index)
            case Prefetch(_, index, _):
                wanted.append(index)
            case If(condition, _):
                wanted.append(condition)
            case For():
                wanted += (statement.start, statement.stop)
                _add_carried(statement, sources)
    live: set[str] = set()
    while wanted:
        operand = wanted.pop()
        if isinstance(operand, Var) and operand.name not in live:
            live.add(operand.name)
            wanted.extend(sources.get(operand.name, ()))
    return frozenset(live)


def used_names(kernel: Kernel, live: frozenset[str]) -> frozenset[str]:
    """The names of parameters, bounds and values that live statements read or write."""
    used = set(live)
    for statement in walk(kernel.body):
        match statement:
            case Load(result, param, _, _, _) if result.name in live:
                used.add(param.name)
            case Store(_, param, _, _, _) | Prefetch(param, _, _):
                used.add(param.name)
    return frozenset(used)


def _add_carried(loop: For, sources: dict[str, tuple[Operand, ...]]) -> None:
    """Add, for the carried values and results of a loop, the operands that they come from."""
    for carried, first, after, result in zip(
        loop.carried, loop.inits, loop.yields, loop.results, strict=True
    ):
        sources[carried.name] = (first, after)
        sources[result.name] = (carried,)

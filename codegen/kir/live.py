"""Which values of a kernel matter: those that something stored, compared or counted depends on."""

from __future__ import annotations

from collections.abc import Iterator

from ellc.codegen.kir.ir import (
    For,
    If,
    Kernel,
    Let,
    Load,
    Operand,
    Prefetch,
    Stmt,
    Store,
    Var,
    walk,
)


def live_values(kernel: Kernel) -> frozenset[str]:
    """Names of the values that a store, a condition or a loop bound depends on."""
    sources: dict[str, tuple[Operand, ...]] = {}
    wanted: list[Operand] = []
    for statement in walk(kernel.body):
        sources.update(_sources(statement))
        wanted.extend(_roots(statement))
    live: set[str] = set()
    while wanted:
        operand = wanted.pop()
        if isinstance(operand, Var) and operand.name not in live:
            live.add(operand.name)
            wanted.extend(sources.get(operand.name, ()))
    return frozenset(live)


def used_names(kernel: Kernel, live: frozenset[str]) -> frozenset[str]:
    """Names of parameters, bounds and values that the live part of the kernel reads or writes."""
    used = set(live)
    for statement in walk(kernel.body):
        match statement:
            case Load(result, param, _, _, _) if result.name in live:
                used.add(param.name)
            case Store(_, param, _, _, _) | Prefetch(param, _, _):
                used.add(param.name)
    return frozenset(used)


def _sources(statement: Stmt) -> Iterator[tuple[str, tuple[Operand, ...]]]:
    """(value, what it is made of) for every value that the statement itself defines."""
    match statement:
        case Let(result, _, args, _):
            yield result.name, args
        case Load(result, _, index, _, _):
            yield result.name, (index,)
        case For():
            for carried, first, after, result in zip(
                statement.carried, statement.inits, statement.yields, statement.results, strict=True
            ):
                yield carried.name, (first, after)
                yield result.name, (carried,)


def _roots(statement: Stmt) -> tuple[Operand, ...]:
    """What the statement needs for its effect."""
    match statement:
        case Store(value, _, index, _, _):
            return (value, index)
        case Prefetch(_, index, _):
            return (index,)
        case For():
            return (statement.start, statement.stop)
        case If(condition, _):
            return (condition,)
    return ()

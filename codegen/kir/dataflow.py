"""Finds the registers that statements read and define, and the parameters that they access."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ellc.codegen.kir.ir import (
    Assembled,
    For,
    If,
    Let,
    Load,
    Operand,
    Param,
    Prefetch,
    Stmt,
    Store,
    Var,
    walk,
)


def registers_read(statement: Stmt) -> tuple[Var, ...]:
    """The registers that a statement reads, in order. A register may occur more than once.

    If a statement contains others, their reads do not count. A loop itself reads its bounds,
    initial values and yielded values; an if reads its condition. The exception is a call of an
    assembly function, which reads the inputs of the statements that it replaces.
    """
    return tuple(o for o in _operands(statement) if isinstance(o, Var))


def registers_defined(statement: Stmt) -> tuple[Var, ...]:
    """The registers that a statement defines.

    A loop also defines its index and carried values, which only its body can read.
    """
    match statement:
        case Let() | Load():
            return (statement.result,)
        case For():
            return (statement.index, *statement.carried, *statement.results)
        case Assembled():
            return statement.results
    return ()


def inputs(body: Sequence[Stmt]) -> tuple[Var, ...]:
    """The registers that statements read but do not define, each once, in the order of reads."""
    statements = list(walk(tuple(body)))
    defined = {v.name for s in statements for v in registers_defined(s)}
    read = (v for s in statements for v in registers_read(s))
    return tuple(dict.fromkeys(v for v in read if v.name not in defined))


def params_accessed(body: Sequence[Stmt]) -> tuple[Param, ...]:
    """The parameters that statements load, store or prefetch, each once, in the order of use."""
    return tuple(dict.fromkeys(_params(body)))


def _params(body: Sequence[Stmt]) -> Iterator[Param]:
    for statement in walk(tuple(body)):
        if isinstance(statement, Load | Store | Prefetch):
            yield statement.param


def _operands(statement: Stmt) -> tuple[Operand, ...]:
    match statement:
        case Let():
            return statement.args
        case Load() | Prefetch():
            return (statement.index,)
        case Store():
            return (statement.value, statement.index)
        case For():
            return (statement.start, statement.stop, *statement.inits, *statement.yields)
        case If():
            return (statement.condition,)
        case Assembled():
            return inputs(statement.source)

"""Base class, registry and parser of passes, dataclasses that rewrite a graph."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Callable
from typing import ClassVar, TypeVar

from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph
from ellc.ir.meaning import TOLERANCE
from ellc.ir.nested import map_bodies
from ellc.ir.passes.properties import Property


class Pass:
    """Base of all passes. Subclasses are frozen dataclasses; each field, an option, has a default.

    A pass may change a result, computed in float64, by at most `tolerance` times the largest
    magnitude in it. The properties in `requires` must hold before the pass; those in `ensures`
    hold after it. A pass is idempotent: it does not change its own result.
    """

    name: ClassVar[str]
    tolerance: ClassVar[float] = TOLERANCE
    requires: ClassVar[tuple[Property, ...]] = ()
    ensures: ClassVar[tuple[Property, ...]] = ()

    def run(self, graph: Graph) -> Graph:
        """The rewritten graph, with the same meaning; an equal graph if the pass has no effect."""
        raise NotImplementedError(self.name)

    def refuse(self, graph: Graph) -> None:
        """Raise `EllcError` for a graph that the pass cannot handle; called before `run_nested`."""

    def __str__(self) -> str:
        """The form that `parse_passes` reads, with the options that differ from their defaults."""
        options = [
            f"{f.name}={getattr(self, f.name)!r}"
            for f in dataclasses.fields(self)  # type: ignore[arg-type]
            if getattr(self, f.name) != f.default
        ]
        return f"{self.name}({', '.join(options)})" if options else self.name


_PASSES: dict[str, type[Pass]] = {}
PassT = TypeVar("PassT", bound=type[Pass])


def register_pass(name: str) -> Callable[[PassT], PassT]:
    """Class decorator: registers a pass under a name."""

    def add(cls: PassT) -> PassT:
        if name in _PASSES:
            raise ValueError(f"two passes are called {name!r}")
        cls.name = name
        _PASSES[name] = cls
        return cls

    return add


def all_passes() -> dict[str, type[Pass]]:
    """Every registered pass by name, sorted."""
    import ellc.ir.passes  # noqa: F401  (fills the registry)

    return dict(sorted(_PASSES.items()))


def run_nested(step: Pass, graph: Graph) -> Graph:
    """Run a pass on every body, then on the graph around them."""
    return step.run(map_bodies(graph, lambda body: run_nested(step, body)))


_PASS = re.compile(r"\s*([a-z_]+)\s*(?:\(([^()]*)\))?\s*(?:,|$)")
_OPTION = re.compile(r"\s*([a-z_]+)\s*=\s*([^,]+?)\s*(?:,|$)")


def parse_passes(text: str) -> tuple[Pass, ...]:
    """The passes in text such as `simplify, fold_affine(growth_bytes=0)`.

    Raises `EllcError` (E150) for an unknown pass, an unknown option, an option whose value has
    another type than its default, or malformed text.
    """
    passes: list[Pass] = []
    position = 0
    while position < len(text.rstrip()):
        match = _PASS.match(text, position)
        if match is None:
            raise EllcError(f"expected a pass, found {text[position:]!r}", code="E150")
        position = match.end()
        cls = all_passes().get(match.group(1))
        if cls is None:
            known = ", ".join(all_passes())
            raise EllcError(
                f"no pass '{match.group(1)}'", code="E150", hint=f"the passes are: {known}"
            )
        passes.append(_with_options(cls, match.group(2) or ""))
    return tuple(passes)


def _with_options(cls: type[Pass], text: str) -> Pass:
    options: dict[str, object] = {}
    position = 0
    while position < len(text.rstrip()):
        match = _OPTION.match(text, position)
        if match is None:
            raise EllcError(f"{cls.name}: expected NAME=VALUE in {text!r}", code="E150")
        position = match.end()
        try:
            options[match.group(1)] = ast.literal_eval(match.group(2))
        except (ValueError, SyntaxError):
            raise EllcError(f"{cls.name}: {match.group(2)!r} is not a value", code="E150") from None
    known = {f.name: f.default for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for name, value in options.items():
        if name not in known or type(value) is not type(known[name]):
            raise EllcError(
                f"{cls.name}: no option {name}={value!r}",
                code="E150",
                hint=f"options: {', '.join(f'{k}={v!r}' for k, v in known.items()) or 'none'}",
            )
    return cls(**options)

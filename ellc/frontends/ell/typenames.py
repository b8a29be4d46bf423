"""Parses type names of the archive, such as `PoolingLayer<float,MaxPoolingFunction>`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

# A C++ integer of 64 bits is called `long` in archives from Linux and `longlong` in others.
INTEGERS = frozenset({"int", "int8", "uint8", "short", "uint", "long", "longlong", "bool"})


@dataclass(frozen=True, slots=True)
class TypeName:
    """A type name `base<arguments...>`; an argument is a text, and may itself have arguments."""

    base: str
    arguments: tuple[str, ...] = ()

    @property
    def element(self) -> str:
        """The element type, such as `float`: the first argument, or `""` without arguments."""
        return self.arguments[0] if self.arguments else ""

    def __str__(self) -> str:
        return f"{self.base}<{','.join(self.arguments)}>" if self.arguments else self.base


@lru_cache(maxsize=1024)
def parse_type_name(text: str) -> TypeName:
    """Split a type name at its outermost angle brackets.

    Text that is not of the form `base<...>` becomes a base name without arguments.
    """
    opening = text.find("<")
    if opening < 0 or not text.endswith(">"):
        return TypeName(text)
    arguments: list[str] = []
    depth = 0
    start = opening + 1
    for at in range(opening + 1, len(text) - 1):
        match text[at]:
            case "<":
                depth += 1
            case ">":
                depth -= 1
            case "," if depth == 0:
                arguments.append(text[start:at].strip())
                start = at + 1
    arguments.append(text[start:-1].strip())
    return TypeName(text[:opening], tuple(arguments))


def is_single_precision(type_text: str | None) -> bool:
    """Whether the numbers of an object with this type name are C++ floats (single precision)."""
    return type_text is not None and parse_type_name(type_text).element == "float"

"""Parses port references: `12.output`, `12.output[0:2]`, `{2.output[0:4], 3.output[2]}`, `{}`."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SLICE = re.compile(r"\[\s*([0-9]{1,10})\s*(?::\s*([0-9]{1,10})\s*)?\]\Z")

_MOST_RANGES = 1 << 20  # old files have a range for each element of a port


@dataclass(frozen=True, slots=True)
class PortRange:
    """The elements of an output port from `start` up to but not including `stop`.

    Both bounds are None if the range is the whole port.
    """

    node: str
    port: str = "output"
    start: int | None = None
    stop: int | None = None

    @property
    def is_whole(self) -> bool:
        """Whether the range is the whole port."""
        return self.start is None

    def __str__(self) -> str:
        name = f"{self.node}.{self.port}"
        if self.start is None or self.stop is None:
            return name
        if self.stop == self.start + 1:
            return f"{name}[{self.start}]"
        return f"{name}[{self.start}:{self.stop}]"


@dataclass(frozen=True, slots=True)
class PortReference:
    """The ranges that an input port reads and concatenates; empty if the port is not connected."""

    ranges: tuple[PortRange, ...]

    @property
    def is_empty(self) -> bool:
        """Whether the input port is not connected."""
        return not self.ranges

    @property
    def is_single(self) -> bool:
        """Whether the reference is one whole port."""
        return len(self.ranges) == 1 and self.ranges[0].is_whole

    def __str__(self) -> str:
        if len(self.ranges) == 1:
            return str(self.ranges[0])
        return "{" + ", ".join(map(str, self.ranges)) + "}"


def whole_port(node: str, port: str = "output") -> PortReference:
    """A reference to all of one port."""
    return PortReference((PortRange(node, port),))


def parse_port_reference(text: str) -> PortReference:
    """Parse a reference; raises `ValueError` with the reason."""
    body = text.strip()
    if body.startswith("{"):
        if not body.endswith("}"):
            raise ValueError(f"the reference '{_short(text)}' has no closing brace")
        inner = body[1:-1].strip()
        if inner.count(",") >= _MOST_RANGES:
            raise ValueError(f"the reference '{_short(text)}' has more than {_MOST_RANGES} ranges")
        parts = inner.split(",") if inner else []
    else:
        parts = [body]
    return PortReference(tuple(_parse_range(part.strip(), text) for part in parts))


def _parse_range(text: str, reference: str) -> PortRange:
    start: int | None = None
    stop: int | None = None
    bracket = _SLICE.search(text)
    if bracket:
        text = text[: bracket.start()].rstrip()
        start = int(bracket.group(1))
        stop = int(bracket.group(2)) if bracket.group(2) is not None else start + 1
        if stop <= start:
            raise ValueError(f"the reference '{_short(reference)}' selects nothing")
    node, dot, port = text.rpartition(".")
    if not dot or not node or not port or "[" in text or "]" in text:
        raise ValueError(f"'{_short(reference)}' is not of the form node.port[start:end]")
    return PortRange(node, port, start, stop)


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."

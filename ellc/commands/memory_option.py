"""The option `--memory`."""

from __future__ import annotations

import re

import click


def _memories(text: str) -> tuple[tuple[str, int], ...]:
    """Parse `NAME=BYTES,...`; `board` gives no pairs, which means the board's own memories."""
    if text == "board":
        return ()
    pairs = tuple(_memory(word) for word in text.split(","))
    names = [name for name, _ in pairs]
    if len({*names}) < len(names):
        raise click.BadParameter(f"{text!r} names a memory twice")
    return pairs


def _memory(text: str) -> tuple[str, int]:
    match = re.fullmatch(r"([a-z][a-z0-9_]*)=([1-9][0-9]*)([KM]?)", text.strip())
    if match is None:
        raise click.BadParameter(
            f"{text!r} is not a memory and its bytes, such as dtcm=128K; names have small letters"
        )
    name, count, unit = match.groups()
    return name, int(count) << {"": 0, "K": 10, "M": 20}[unit]


memory_option = click.option(
    "--memory",
    "memories",
    type=_memories,
    metavar="NAME=BYTES,...",
    help="Memories of a microcontroller that the network may use, such as dtcm=128K,ocram=256K, "
    "the preferred one first; `board` means those of the target with all their bytes. Buffers with "
    "most work lie in the first one. It is an error if something does not fit.",
)

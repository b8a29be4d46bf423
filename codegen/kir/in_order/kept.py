"""Keeps the answers of the scheduler between compilations, in files of the user's cache folder.

The key of an answer is a hash of everything on which it depends: the text of the nest, the target's
core with its table of instructions, and the source files of the scheduler. The same key has the
same answer, so that generated code does not depend on what is kept.

Nothing that is read is trusted. A function is proved equal to its nest like a new one, and each of
its lines must look like a line that the scheduler writes. A wrong answer is computed again.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ellc.codegen.kir.assembly import Frame
from ellc.codegen.kir.dataflow import params_accessed
from ellc.codegen.kir.in_order.write import Witness
from ellc.codegen.kir.ir import AssemblyFunction
from ellc.codegen.kir.nests import Nest
from ellc.codegen.kir.text import print_statement
from ellc.codegen.machine import pipeline
from ellc.codegen.machine.calling import Convention
from ellc.codegen.machine.pipeline import Issue
from ellc.codegen.machine.target import Target
from ellc.codegen.toolchain.kept import Shelf, user_cache_folders

VARIABLE = "ELLC_SCHEDULE_CACHE"
"""The environment variable that names another folder. If it is empty, nothing is kept."""
_MOST_SCRATCH_BYTES = 1 << 16
_IMPORTED_S = time.time()


@dataclass(frozen=True)
class Answer:
    """What the scheduler found for a nest.

    `function` is None if LLVM's code is predicted to be as fast. The proof needs `witnesses`.
    """

    function: AssemblyFunction | None
    witnesses: Mapping[str, Witness]


DECLINED = Answer(None, {})


def shelf() -> Shelf | None:
    """Where answers are kept; None if they are not."""
    named = os.environ.get(VARIABLE)
    if named is not None:
        return Shelf(Path(named)) if named else None
    for folder in user_cache_folders():
        return Shelf(folder / "ellc" / "schedules")
    return None


def kept(key: str, target: Target) -> Answer | None:
    """The answer with a key, if there is one; its function is not proved."""
    place = shelf() if key else None
    content = None if place is None else place.get(key)
    return None if content is None else _read(content, target.convention)


def keep(key: str, answer: Answer) -> None:
    """Keep an answer for later compilations."""
    place = shelf() if key else None
    if place is not None:
        function = None if answer.function is None else asdict(answer.function)
        witnesses = {label: asdict(witness) for label, witness in answer.witnesses.items()}
        content = {"function": function, "witnesses": witnesses}
        place.put(key, json.dumps(content, sort_keys=True).encode())


def key_of(nest: Nest, layout: Frame, target: Target, rows: Mapping[str, Issue]) -> str:
    """The key of a nest's answer; empty if the answer should not be kept."""
    sources = _sources()
    if not sources:
        return ""
    core = replace(target.core, features=frozenset())  # sets have no fixed order as text
    parts = (
        sources,
        repr((core, sorted(target.core.features), sorted(target.features))),
        repr((target.arch, target.triple, target.llvm_features)),
        repr(sorted(rows.items())),
        repr((layout, nest.results, sorted(nest.aliases.items()))),
        repr(tuple(params_accessed((nest.loop,)))),
        print_statement(nest.loop),
    )
    return _hash(part.encode() for part in parts)


@functools.cache
def _sources() -> str:
    """A hash of the source files on which schedules depend: a new version keeps its own ones.

    It is empty if there are none, or if they have been changed since Python has read them.
    """
    machine = Path(pipeline.__file__).parent
    files = sorted([*Path(__file__).parents[1].rglob("*.py"), *machine.glob("*.py")])
    try:
        if any(file.stat().st_mtime > _IMPORTED_S for file in files) or not files:
            return ""
        return _hash(part for file in files for part in (file.name.encode(), file.read_bytes()))
    except OSError:
        return ""


def _hash(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()


# --- reading -------------------------------------------------------------------------------------

_LINE = re.compile(
    r"(?!.*[0-9]{8})[a-z][a-z0-9.]*( [a-zA-Z0-9 ,.#\[\]{}-]+)?|\.L(loop|done)[0-9]+:|\.p2align 4"
)
"""A line of assembly without a comment, a string, a second instruction or a huge number."""


def _read(content: bytes, convention: Convention | None) -> Answer | None:
    """The answer; None if the content is none."""
    preserved = () if convention is None else convention.preserved
    try:
        match json.loads(content):
            case {"function": None}:
                return DECLINED
            case {"function": dict(function), "witnesses": dict(witnesses)}:
                places = {str(label): _witness(**witness) for label, witness in witnesses.items()}
                return Answer(_function(**function, preserved=preserved), places)
    except (ValueError, TypeError, RecursionError):
        pass
    return None


def _function(
    lines: list[Any], saves: list[Any], scratch_bytes: Any, preserved: Sequence[str]
) -> AssemblyFunction:
    if not all(_LINE.fullmatch(line) for line in lines):
        raise ValueError("not a line of assembly")
    if not all(register in preserved for register in saves):
        raise ValueError("not a register that a function saves")
    if type(scratch_bytes) is not int or scratch_bytes not in range(0, _MOST_SCRATCH_BYTES, 16):
        raise ValueError("not a size")
    return AssemblyFunction(tuple(lines), tuple(saves), scratch_bytes)


def _witness(carried: list[Any], streams: list[Any], index: Any, peeled: Any) -> Witness:
    if len(streams) != len(carried) or not all(type(name) is str for name in streams):
        raise ValueError("not the names of parameters")
    places = (*carried, *([] if index is None else [index]))
    if not all(type(place) in (str, int) for place in places) or type(peeled) is not bool:
        raise ValueError("not a place")
    return Witness(tuple(carried), tuple(streams), index, peeled)

"""The tuning database: a JSON file with the fastest measured kernel of each layer.

    {
      "format": "ellc tuning 1",
      "entries": [
        {
          "layer": "conv2d{stride=[1,1],...}(f32[1,8,8,16], const f32[32,3,3,16]) -> f32[1,6,6,32]",
          "core": "cortex-a53",
          "architecture": "aarch64",
          "compiler": "0.2.0",
          "kernel": "gemm:6x8",
          "measured": 81234.0,
          "unit": "cycles",
          "how": "modelled by ELLC_CYCLE_TOOL, the network's second call, one thread"
        }
      ]
    }

`layer` is the text that `codegen.planning.tuning.layer_key` gives for a layer. On this core and
architecture, every layer with the same text uses the kernel. Entries of other versions of ellc are
ignored with a note, and so are kernels that cannot compute the layer. The file need not be trusted:
it can only select among kernels that compute the same result.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any

from ellc import __version__
from ellc.codegen.machine.target import Target
from ellc.codegen.planning.tuning import TunedKernels
from ellc.ir.errors import EllcError
from ellc.ir.files import write_text
from ellc.ir.json_values import values_of

SHIPPED = Path(__file__).with_name("shipped_tuning.json")
"""Kernels for layers of networks in the zoo, which `tests/benchmarks/shipped_tuning.py` measured.
It has only layers for which the planner's own choice is slower."""
FORMAT = "ellc tuning 1"
MOST_BYTES = 16 << 20
UNITS = ("cycles", "ns")
_LONGEST_TEXT = 10_000
_MOST_PROBLEMS = 20


@dataclass(frozen=True, slots=True)
class Entry:
    """The fastest kernel of a layer on a core. `measured` is the time of one call in `unit`."""

    layer: str
    core: str
    architecture: str
    compiler: str
    kernel: str
    measured: float
    unit: str
    how: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What the entry is for; a file must not have two entries with the same key."""
        return self.layer, self.core, self.architecture, self.compiler


def read_tuning(path: Path) -> tuple[Entry, ...]:
    """Read the entries of a file; raises `EllcError` E760 with the first 20 problems."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise ValueError(f"the file has more than {MOST_BYTES:,} bytes")
        document = values_of(data, _object)
    except (OSError, ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise _damaged(path, [reason[:200]]) from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise _damaged(path, [f'format: it must be "{FORMAT}"'])
    listed = document.get("entries")
    if not isinstance(listed, list) or document.keys() != {"format", "entries"}:
        raise _damaged(
            path, ['it must have the keys "format" and "entries" (a list), and no other']
        )
    all_problems = (line for index, item in enumerate(listed) for line in _problems(index, item))
    if problems := list(islice(all_problems, _MOST_PROBLEMS + 1)):
        raise _damaged(path, problems)
    entries = tuple(Entry(**{**item, "measured": float(item["measured"])}) for item in listed)
    if duplicates := list(islice(_duplicates(entries), _MOST_PROBLEMS + 1)):
        raise _damaged(path, duplicates)
    return entries


def write_tuning(path: Path, entries: Iterable[Entry]) -> None:
    """Write the entries in sorted order, so that equal entries give equal files."""
    listed = [asdict(entry) for entry in sorted(entries, key=lambda e: e.key)]
    write_text(path, json.dumps({"format": FORMAT, "entries": listed}, indent=1) + "\n")


def merged(old: Iterable[Entry], new: Iterable[Entry]) -> tuple[Entry, ...]:
    """The old and the new entries.

    A new entry replaces an old entry for the same layer, core and architecture, even if the old one
    is of another version of ellc. Of several old entries for these three, only the last is kept.
    """
    entries = {e.key[:3]: e for e in old}
    entries.update({e.key[:3]: e for e in new})
    return tuple(entries.values())


def tuned_kernels(
    path: Path | None, target: Target, *, shipped: bool = True
) -> tuple[TunedKernels, tuple[str, ...]]:
    """The tuned kernels by layer for a target, and notes about entries of other versions.

    They come from a file, if given, and from the file in ellc's package, if `shipped`. Raises
    the errors of `read_tuning`.
    """
    own = _of_target(read_tuning(SHIPPED), target) if shipped else []
    of_target = _of_target(read_tuning(path), target) if path else []
    current = TunedKernels(_current(of_target), _current(own))
    others = sorted({e.compiler for e in of_target if e.compiler != __version__})
    if not others:
        return current, ()
    count = sum(e.compiler != __version__ for e in of_target)
    versions = ", ".join(others)[:100]
    return current, (
        f"tuning: entries measured with ellc {versions}, which ellc {__version__} does not use:"
        f" {count}; run `ellc tune` again",
    )


def _of_target(entries: Iterable[Entry], target: Target) -> list[Entry]:
    return [e for e in entries if (e.core, e.architecture) == (target.core.name, target.arch)]


def _current(entries: Iterable[Entry]) -> Mapping[str, str]:
    """The kernels by layer, of entries that this version of ellc measured."""
    return {e.layer: e.kernel for e in entries if e.compiler == __version__}


def _problems(index: int, item: object) -> Iterator[str]:
    """The problems of an entry, each with its position in the file."""
    if not isinstance(item, dict):
        yield f"entries[{index}]: the entry must be an object"
        return
    names = [field.name for field in fields(Entry)]
    for name in sorted({*names} ^ item.keys()):
        missing = "is missing" if name in names else "is unknown"
        yield f"entries[{index}].{name[:40]}: {missing}"
    for name in names:
        if name not in item:
            continue
        value = item[name]
        if name == "measured":
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not (number and 0 < value < 1e18 and math.isfinite(value)):
                yield f"entries[{index}].measured: it must be a number above 0"
        elif not (isinstance(value, str) and 0 < len(value) <= _LONGEST_TEXT):
            yield f"entries[{index}].{name}: it must be a text of 1 to {_LONGEST_TEXT} characters"
        elif name == "unit" and value not in UNITS:
            yield f"entries[{index}].unit: it must be {' or '.join(UNITS)}"


def _duplicates(entries: tuple[Entry, ...]) -> Iterator[str]:
    first: dict[tuple[str, ...], int] = {}
    for index, entry in enumerate(entries):
        if (other := first.setdefault(entry.key, index)) != index:
            yield f"entries[{index}]: entries[{other}] is for the same layer and core"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise ValueError("the same key appears twice in an object")
    return result


def _damaged(path: Path, problems: list[str]) -> EllcError:
    more = len(problems) > _MOST_PROBLEMS
    shown = problems[:_MOST_PROBLEMS] + (["and more"] if more else [])
    return EllcError(
        "this is not a tuning file" if len(problems) > 1 else f"not a tuning file: {problems[0]}",
        code="E760",
        where=str(path),
        problems=shown if len(problems) > 1 else (),
        hint="`ellc tune MODEL --target T --tuning FILE` writes a tuning file",
    )

"""Measures results again: runs the commands of their figures and writes the new values.

A result file may come from anybody, so its commands are restricted. The command of a figure must be
`ellc evaluate`, `bench`, `inspect`, `zoo inspect` or `explain`. It must not have an option that
writes a file or starts another program, and must not name a compiled library. The commands that
prepare the measurement must be `ellc zoo build` or `import`, and must write exactly one file, into
the result's folder. No command is run by a shell.
"""

from __future__ import annotations

import json
import platform
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ellc.execute import is_library
from ellc.gallery.load import read_results, refuse
from ellc.gallery.rows import Figure, Result
from ellc.ir.errors import EllcError
from ellc.ir.files import write_text
from ellc.progress import Progress, silent

_READERS = (("evaluate",), ("bench",), ("inspect",), ("zoo", "inspect"), ("explain",))
_WRITERS = (("zoo", "build"), ("import",))
_WRITING_OPTIONS = ("-o", "--output", "--html", "--journal", "--scheduler", "--workers")
_OUTPUT = ("-o", "--output")
_CPU = Path("/proc/cpuinfo")
_BOARD = Path("/proc/device-tree/model")
_LONGEST_OUTPUT = 2000
_Extract = Callable[[dict[str, Any], Result], object]


@dataclass(frozen=True, slots=True)
class Change:
    """The value of a figure before and after a measurement, or why the value was kept."""

    file: str
    of: str
    before: float | None
    now: float | None
    kept: str = ""


def measure(paths: Sequence[Path], progress: Progress = silent) -> tuple[Change, ...]:
    """Run the commands of all results, and write the files whose values changed.

    Times measured on another machine are kept, and so are figures whose command is not a command of
    ellc. Raises `EllcError`: E780 if a file is not a result, E781 with every command that failed.
    The values of the other commands are still written, except those of a result for which a command
    that prepares the measurement failed.
    """
    results = read_results(paths)
    problems: list[str] = []
    changes: list[Change] = []
    for number, result in enumerate(results):
        progress(f"measuring {result.path}", number, len(results))
        changes += _measure(result, problems)
    if problems:
        raise EllcError(
            "commands of results failed",
            code="E781",
            hint="run them by hand in the folder of the result",
            problems=problems,
        )
    return tuple(changes)


def _measure(result: Result, problems: list[str]) -> list[Change]:
    assert result.path is not None
    where, folder = str(result.path), result.path.parent
    machine = this_machine()
    foreign = bool(result.machine) and result.machine != machine
    commands = _commands(result, foreign)
    try:
        for line in result.prepare if commands else ():
            _call(_words(line, _WRITERS), folder)
    except (EllcError, ValueError) as error:
        problems.append(f"{where}: {_reason(error)}")
        return []
    values: dict[int, float] = {}
    for command, indices in commands.items():
        try:
            document = _call([*_words(command, _READERS), "--json"], folder)
            for index in indices:
                values[index] = _value(result.figures[index], document, result)
        except (EllcError, ValueError) as error:
            problems.append(f"{where}: {command}: {_reason(error)}")
    _write(result, values, "" if foreign else machine)
    changes = []
    for index, figure in enumerate(result.figures):
        if figure.provenance != "published":
            now = values.get(index, figure.value)
            kept = "" if index in values else _why_kept(figure, foreign)
            changes.append(Change(where, figure.of, figure.value, now, kept))
    return changes


def _commands(result: Result, foreign: bool) -> dict[str, list[int]]:
    """The commands to run, each with the indices of the figures that it measures."""
    commands: dict[str, list[int]] = {}
    for index, figure in enumerate(result.figures):
        if figure.command and not _why_kept(figure, foreign):
            commands.setdefault(figure.command, []).append(index)
    return commands


def _why_kept(figure: Figure, foreign: bool) -> str:
    if not figure.command.startswith("ellc "):
        return "kept: the command is not a command of ellc"
    if foreign and figure.of == "ms" and figure.provenance == "measured":
        return "kept: measured on another machine"
    return ""


def _words(command: str, allowed: Sequence[tuple[str, ...]]) -> list[str]:
    """The words of a command after `ellc`; raises `ValueError` if the command is not allowed."""
    program, *words = shlex.split(command) or [""]
    names = ", ".join("ellc " + " ".join(name) for name in allowed)
    if program != "ellc" or not any(tuple(words[: len(name)]) == name for name in allowed):
        raise ValueError(f"only these commands are run: {names}")
    if any(is_library(Path(word.rpartition("=")[2])) for word in words):
        raise ValueError("compiled libraries are not run: name the model instead")
    options = [word.partition("=")[0] for word in words if word.startswith("-")]
    short = [word for word in options if word.startswith("-o") and word != "-o"]
    if allowed is _READERS and (short or {*options} & {*_WRITING_OPTIONS}):
        raise ValueError("options that write files or start other programs are not allowed")
    if allowed is _WRITERS:
        indices = [i for i, word in enumerate(words) if word in _OUTPUT]
        names_file = len(indices) == 1 and indices[0] + 1 < len(words)
        if not names_file or short or any("=" in x and x.startswith("--output") for x in words):
            raise ValueError("the command must name its output exactly once, as -o FILE")
        if Path(words[indices[0] + 1]).name != words[indices[0] + 1]:
            raise ValueError("the file after -o must be a name without a folder")
    return words


def _call(words: Sequence[str], folder: Path) -> dict[str, Any]:
    """Run a command of ellc; returns the JSON object that it prints, an empty one without `--json`.

    Raises `ValueError` with the command's messages if it fails.
    """
    done = subprocess.run(
        [sys.executable, "-m", "ellc", *words],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        raise ValueError((done.stderr or done.stdout).strip()[-_LONGEST_OUTPUT:])
    document: object = json.loads(done.stdout) if "--json" in words else {}
    return document if isinstance(document, dict) else {}


def _reason(error: Exception) -> str:
    return error.report() if isinstance(error, EllcError) else str(error)


def _value(figure: Figure, document: dict[str, Any], result: Result) -> float:
    """The figure's value in the JSON that its command printed; raises `ValueError` if missing."""
    if figure.of == "ms" and "cycles" in document and figure.provenance != "modelled":
        raise ValueError("the command prints modelled cycles, but the figure is marked as measured")
    for extract in _EXTRACTS[figure.of]:
        try:
            value = extract(document, result)
        except (KeyError, IndexError, TypeError):
            continue
        if isinstance(value, int | float) and not isinstance(value, bool):
            return round(value, 6) if figure.of == "ms" else value
    missing = document.get("cycles_missing")
    raise ValueError(f"the command does not print {figure.of}{f': {missing}' if missing else ''}")


def _percent(rank: str) -> tuple[_Extract, ...]:
    return (lambda document, _: document["networks"][0][f"{rank}_percent"],)


def _entry(*keys: str) -> tuple[_Extract, ...]:
    return tuple(_reader(key) for key in keys)


def _reader(key: str) -> _Extract:
    return lambda document, _: document[key]


def _modelled_ms(document: dict[str, Any], result: Result) -> float:
    if result.clock_mhz is None:
        raise ValueError("the result needs clock_mhz to turn modelled cycles into milliseconds")
    cycles: float = document["cycles"]
    return cycles / result.clock_mhz / 1000


_EXTRACTS: dict[str, tuple[_Extract, ...]] = {
    "top1": _percent("top1"),
    "top5": _percent("top5"),
    "ms": (*_entry("median_ms"), _modelled_ms),
    "parameters": _entry("parameters"),
    "macs": _entry("macs"),
    "weight_bytes": _entry("constant_bytes", "parameter_bytes"),
    "file_bytes": (),
    "ram_bytes": _entry("arena_bytes", "peak_live_bytes"),
}
"""Gets each kind of figure from the JSON of `ellc evaluate`, `bench`, `explain` or `inspect`."""


def _write(result: Result, values: dict[int, float], machine: str) -> None:
    """Write new values, by the index of their figure, into a result's file.

    If any of them was measured, `machine` is also written unless it is empty. Nothing else changes.
    """
    assert result.path is not None
    try:
        document = json.loads(result.path.read_text(encoding="utf-8"))
        for index, value in values.items():
            document["figures"][index]["value"] = value
    except (OSError, ValueError, LookupError, TypeError):  # another program has changed the file
        refuse([f"{result.path}: the file changed while its commands ran"])
    measured = any(result.figures[index].provenance == "measured" for index in values)
    if machine and measured:
        document["machine"] = machine
    write_text(result.path, json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def this_machine() -> str:
    """The name of this board, or of its processor."""
    try:
        if _BOARD.is_file():
            return _BOARD.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
        for line in _CPU.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def summary(changes: Sequence[Change]) -> list[tuple[str, str, str, str]]:
    """Table rows: file, figure, old value, and the new value or why the old one was kept."""

    def text(value: float | None) -> str:
        return "" if value is None else f"{value:.10g}"

    return [(c.file, c.of, text(c.before), c.kept or text(c.now)) for c in changes]

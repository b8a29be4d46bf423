"""Detect changes of kernels, plans and C files, for every sample and class of machines.

A third of the programs are compared for each target, every program for two or three targets, and
all for all targets with `pytest --whole`, which is the test for a refactoring.
"""

from __future__ import annotations

import difflib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from parts import quick_part
from replay import ROOT, TARGETS, digests, programs, text_of

GOLDEN = ROOT / "tests" / "golden" / "replay"
MOST_NAMES = 40
MOST_DIFF_LINES = 200


@pytest.mark.parametrize("target", TARGETS)
def test_generated_code_is_as_recorded(target: str, request: pytest.FixtureRequest) -> None:
    path = GOLDEN / f"{target}.txt"
    now = digests(target, labels(target, whole=request.config.getoption("--update-golden")))
    if request.config.getoption("--update-golden"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{label} {line}\n" for label, line in now.items()))
    assert path.exists(), f"no golden file {path.name}: run pytest --update-golden"
    lines = (line.split(" ", 1) for line in path.read_text().splitlines())
    recorded = {label: line for label, line in lines if label in now or label not in programs()}
    if recorded != now:
        pytest.fail("\n".join(_report(target, path, recorded, now)))


def labels(target: str, *, whole: bool) -> list[str]:
    """The programs whose texts are compared for a target."""
    every = list(programs())
    return every if whole else quick_part(every, TARGETS.index(target), 6)


def _report(
    target: str, path: Path, recorded: Mapping[str, str], now: Mapping[str, str]
) -> Iterator[str]:
    """The programs that changed, and the difference for the first of them."""
    changed = [label for label in recorded if label in now and recorded[label] != now[label]]
    for said, labels in (
        ("changed", changed),
        ("no longer generated", [label for label in recorded if label not in now]),
        ("new", [label for label in now if label not in recorded]),
    ):
        if labels:
            more = f" and {len(labels) - MOST_NAMES} more" if len(labels) > MOST_NAMES else ""
            yield f"{target}: {len(labels)} {said}: {', '.join(labels[:MOST_NAMES])}{more}"
    if changed:
        yield from _difference(target, changed[0], path)


def _difference(target: str, label: str, path: Path) -> Iterator[str]:
    """A diff of a program's text from the commit that last changed the golden file to now."""
    commit = _git("log", "-1", "--format=%H", "--", str(path)).decode().strip()
    if not commit:
        yield "the golden file is not in any commit, so there is no older text to compare with"
        return
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["tar", "-x", "-C", folder], input=_git("archive", commit), check=True)
        script = Path(folder, "tests", "support", "replay.py")
        before = subprocess.run(
            [sys.executable, script, target, label],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": folder},
            check=False,
        )
    if before.returncode:
        yield f"the code at commit {commit[:12]} fails: {before.stderr.strip()[-400:]}"
        return
    lines = difflib.unified_diff(
        before.stdout.splitlines(),
        f"{text_of(target, label).whole()}".splitlines(),
        f"{label} at {commit[:12]}",
        f"{label} now",
        lineterm="",
    )
    for count, line in enumerate(lines):
        if count == MOST_DIFF_LINES:
            yield "..."
            return
        yield line


def _git(*words: str) -> bytes:
    """The output of git, or an empty string outside a checkout."""
    ran = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, check=False)
    return ran.stdout if ran.returncode == 0 else b""

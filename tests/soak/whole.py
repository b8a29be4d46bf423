"""Run test files with all of their cases (`pytest --whole`), of which the suite runs a part.

The inputs are the files that choose a part (`support/parts.py`). A batch tests the next file, and
the campaign ends with the last. Other campaigns run the samples of operators in all ways.
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from findings import Finding, Findings

ROOT = Path(__file__).resolve().parents[2]
_CHOOSES = re.compile(r"^from parts import ", re.MULTILINE)
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)(?: - (.*))?$", re.MULTILINE)
_ELSEWHERE = {"tests/project/test_parts.py", "tests/ops/test_compiled_ops.py"}
"""The test of `parts.py` itself, and tests of which another campaign runs all cases."""


@dataclass(frozen=True)
class WholeFiles:
    """The campaign."""

    name: str = "whole"
    batch: int = 1
    quick_count: int = 0
    quick: bool = False

    def run(self, seed: int, count: int, folder: Path) -> Findings:
        """Run the next `count` test files."""
        findings = Findings()
        for number, path in enumerate(self._chosen(seed, count)):
            words = ("-q", "-p", "no:cacheprovider", "--whole", path)
            command = [sys.executable, "-m", "pytest", *words]
            ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            again = f"--only {self.name} --seed {seed} --number {number}"
            for test, said in _FAILED.findall(ran.stdout):
                findings.add(Finding(test, said, again))
            if ran.returncode and not findings.found:
                findings.add(Finding(path, (ran.stdout + ran.stderr)[-2000:], again))
            findings.outcomes["different" if ran.returncode else "equal"] += 1
        return findings

    def input(self, seed: int, number: int, folder: Path) -> dict[str, bytes]:
        """The file of an input: the command that runs the test file."""
        path = self._chosen(seed, number + 1)[number]
        return {"command.txt": f"python -m pytest --whole {path}\n".encode()}

    def _chosen(self, seed: int, count: int) -> list[str]:
        first = (seed - 1) * self.batch
        return whole_files()[first : first + count]


def whole_files() -> list[str]:
    """The test files that choose a part of their cases."""
    paths = [p for p in (ROOT / "tests").rglob("test_*.py") if _CHOOSES.search(p.read_text())]
    return sorted({p.relative_to(ROOT).as_posix() for p in paths} - _ELSEWHERE)


CAMPAIGNS = (WholeFiles(),)

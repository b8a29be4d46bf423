"""The results of a campaign: counts of outcomes, and findings."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Finding:
    """An error in ellc. Findings with the same `place` are merged; `said` is that of the first.

    `files` reproduce it, by file name; `again` is the command that makes these files again.
    """

    place: str
    said: str
    again: str
    files: dict[str, bytes] = field(default_factory=dict)
    times: int = 1


@dataclass
class Findings:
    """`outcomes` counts the outcomes of inputs: `graph`, the code of an error, `equal`, ..."""

    outcomes: Counter[str] = field(default_factory=Counter)
    found: dict[str, Finding] = field(default_factory=dict)

    def add(self, finding: Finding) -> bool:
        """Add a finding; returns whether its place is new."""
        known = self.found.get(finding.place)
        if known is None:
            self.found[finding.place] = finding
            return True
        known.times += finding.times
        return False

    def merge(self, other: Findings) -> None:
        """Add the results of another batch."""
        self.outcomes.update(other.outcomes)
        for finding in other.found.values():
            self.add(finding)

    def save(self, folder: Path) -> None:
        """Write a folder for each finding, with its files, and its message in `finding.txt`."""
        for number, finding in enumerate(self.found.values()):
            own = folder / f"finding-{number}"
            own.mkdir(parents=True, exist_ok=True)
            for name, data in finding.files.items():
                (own / name).write_bytes(data)
            text = f"{finding.place}\n{finding.said}\n{finding.again}\n{finding.times} times\n"
            (own / "finding.txt").write_text(text, encoding="utf-8", errors="replace")

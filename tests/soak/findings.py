"""What a campaign hands back: counts of what came out, and one finding for each place."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Finding:
    """Something that must not happen. `place` folds equal ones; `said` is the first's message.

    `files` are what shows it, by file name; `again` says how the campaign makes it again.
    """

    place: str
    said: str
    again: str
    files: dict[str, bytes] = field(default_factory=dict)
    times: int = 1


@dataclass
class Findings:
    """`outcomes` counts what came of the inputs: `graph`, an error's code, `equal`, ..."""

    outcomes: Counter[str] = field(default_factory=Counter)
    found: dict[str, Finding] = field(default_factory=dict)

    def add(self, finding: Finding) -> bool:
        """Fold a finding in; whether its place is new."""
        known = self.found.get(finding.place)
        if known is None:
            self.found[finding.place] = finding
            return True
        known.times += finding.times
        return False

    def merge(self, other: Findings) -> None:
        """Take in another batch."""
        self.outcomes.update(other.outcomes)
        for finding in other.found.values():
            self.add(finding)

    def save(self, folder: Path) -> None:
        """One folder for each finding: its files and what was said."""
        for number, finding in enumerate(self.found.values()):
            own = folder / f"finding-{number}"
            own.mkdir(parents=True, exist_ok=True)
            for name, data in finding.files.items():
                (own / name).write_bytes(data)
            text = f"{finding.place}\n{finding.said}\n{finding.again}\n{finding.times} times\n"
            (own / "finding.txt").write_text(text, encoding="utf-8", errors="replace")

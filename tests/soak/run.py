"""Run the campaigns for long: `make soak`.

    python tests/soak/run.py                          every campaign for ten minutes together
    python tests/soak/run.py --count 1000000          so many inputs, spread over the campaigns
    python tests/soak/run.py --only onnx --seed 7     one campaign, from this seed on
    python tests/soak/run.py --only onnx --seed 7 --number 12 --keep DIR     one input again
    python tests/soak/run.py --quick                  seconds, as `make test` does

A campaign runs in batches, each with a seed of its own: SEED, SEED + 1, ... Findings are folded by
place, minimised, printed, and saved under `--keep`. Exit code 1 if there are any.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # threads do not survive a fork
sys.path.extend(str(Path(__file__).resolve().parents[1] / n) for n in ("support", "fuzz", ".."))

from findings import Findings

MODULES = ("mutants",)
"""Modules beside this one with a tuple `CAMPAIGNS`."""
QUICK_COUNT = 150


class Campaign(Protocol):
    """What a module puts into `CAMPAIGNS`: a frozen dataclass with these fields.

    `batch` inputs are one call of `run`, some minutes at most; `quick` asks for bases and a set-up
    that take a second.
    """

    @property
    def name(self) -> str: ...
    @property
    def batch(self) -> int: ...
    @property
    def quick(self) -> bool: ...
    def run(self, seed: int, count: int, folder: Path) -> Findings: ...


@dataclass
class _Progress:
    """A campaign under way."""

    campaign: Campaign
    findings: Findings
    seed: int
    inputs: int = 0
    seconds: float = 0.0

    def step(self, count: int, folder: Path) -> None:
        start = time.monotonic()
        found = self.campaign.run(self.seed, count, folder)
        for place, finding in found.found.items():
            if place not in self.findings.found:
                print(f"  {place}: {finding.said[:300]} ({finding.again})", flush=True)
        self.findings.merge(found)
        self.seconds += time.monotonic() - start
        self.inputs += count
        self.seed += 1

    def line(self, first_seed: int) -> str:
        counted = ", ".join(f"{k} {n}" for k, n in sorted(self.findings.outcomes.items()))
        rate = self.inputs / max(self.seconds, 1e-9)
        return (
            f"{self.campaign.name}: seeds {first_seed} to {self.seed - 1}, {self.inputs} inputs in "
            f"{self.seconds:.0f} s ({rate:.0f}/s): {counted}; {len(self.findings.found)} findings"
        )


def campaigns(only: str, quick: bool) -> list[Campaign]:
    """The registered campaigns whose names begin with `only`."""
    found: list[Any] = [c for m in MODULES for c in importlib.import_module(m).CAMPAIGNS]
    return [replace(c, quick=quick) for c in found if c.name.startswith(only)]


def soak(given: argparse.Namespace, folder: Path) -> list[_Progress]:
    """Run the campaigns in turns until the time or the count is used up."""
    chosen = campaigns(given.only, given.quick)
    share = given.count // len(chosen) if given.count else 0
    running = [_Progress(campaign, Findings(), given.seed) for campaign in chosen]
    done: list[_Progress] = []
    end = time.monotonic() + given.seconds
    while running:
        progress = running.pop(0)
        batch = progress.campaign.batch
        count = min(batch, share - progress.inputs) if share else batch
        progress.step(QUICK_COUNT if given.quick else count, folder)
        print(progress.line(given.seed), flush=True)
        left = progress.inputs < share if share else time.monotonic() < end
        (running if left and not given.quick else done).append(progress)
    return done


def main() -> None:
    """Parse, run, report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="campaigns whose names begin with this")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--count", type=int, default=0, help="inputs, instead of seconds")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--number", type=int, help="write this input of one campaign to --keep")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--keep", type=Path, default=Path("out/soak"), help="for what is found")
    given = parser.parse_args()
    if given.number is not None:
        (campaign,) = campaigns(given.only, given.quick)
        given.keep.mkdir(parents=True, exist_ok=True)
        made: Any = campaign
        data = made.mutant(made.bases(given.quick), given.seed, given.number)
        (given.keep / made.file).write_bytes(data)
        return
    with tempfile.TemporaryDirectory(prefix="ellc-soak-") as name:
        done = soak(given, Path(name))
    wrong = Findings()
    for progress in done:
        wrong.merge(progress.findings)
    for finding in sorted(wrong.found.values(), key=lambda f: f.place):
        print(f"  {finding.times} x {finding.place}: {finding.said[:300]} ({finding.again})")
    wrong.save(given.keep)
    sys.exit(1 if wrong.found else 0)


if __name__ == "__main__":
    main()

"""Run campaigns for a long time: `make soak`.

    python tests/soak/run.py                          all campaigns, ten minutes in total
    python tests/soak/run.py --only onnx --seed 7     one campaign, from this seed on
    python tests/soak/run.py --only onnx,tflite,eir,ell,pictures,npy,manifests --count 1000000
                                                      a million mutants, more of the cheaper ones
    python tests/soak/run.py --only onnx --seed 7 --number 12 --keep DIR     one input again
    python tests/soak/run.py --only guards            real models between guard pages, both ends
    python tests/soak/run.py --quick                  seconds, as `make test` does

A campaign runs in batches with the seeds SEED, SEED + 1, ... Findings with the same place are
merged. Findings are minimised, printed, and saved in the folder `--keep`. The exit code is 1 if
there are any.
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

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # a forked process does not have threads
sys.path.extend(str(Path(__file__).resolve().parents[1] / n) for n in ("support", "fuzz", ".."))

from findings import Findings

MODULES = (
    "mutants",
    "memory",
    "special",
    "graphs",
    "outputs",
    "scheduled",
    "binary_pages",
    "boards",
    "whole",
)
"""Modules in this folder with a tuple `CAMPAIGNS`."""


class Campaign(Protocol):
    """The members of an object in `CAMPAIGNS`, a frozen dataclass.

    A call of `run` tests `batch` inputs, in a few minutes at most. With `quick`, there is only one
    call, of `quick_count` inputs, which takes seconds; 0 leaves the campaign out. `run` returns an
    outcome for each input. Fewer outcomes than requested mean that all inputs have been tested.
    `input` makes the files of an input again.
    """

    @property
    def name(self) -> str: ...
    @property
    def batch(self) -> int: ...
    @property
    def quick_count(self) -> int: ...
    @property
    def quick(self) -> bool: ...
    def run(self, seed: int, count: int, folder: Path) -> Findings: ...
    def input(self, seed: int, number: int, folder: Path) -> dict[str, bytes]: ...


@dataclass
class _Progress:
    """The state of a running campaign."""

    campaign: Campaign
    findings: Findings
    seed: int
    inputs: int = 0
    seconds: float = 0.0
    is_over: bool = False

    def step(self, count: int, folder: Path) -> None:
        start = time.monotonic()
        found = self.campaign.run(self.seed, count, folder)
        for place, finding in found.found.items():
            if place not in self.findings.found:
                print(f"  {place}: {finding.said[:300]} ({finding.again})", flush=True)
        self.findings.merge(found)
        self.seconds += time.monotonic() - start
        tried = found.outcomes.total()
        self.inputs += tried
        self.seed += 1
        self.is_over = tried < count

    def line(self, first_seed: int) -> str:
        counted = ", ".join(f"{k} {n}" for k, n in sorted(self.findings.outcomes.items()))
        rate = self.inputs / max(self.seconds, 1e-9)
        return (
            f"{self.campaign.name}: seeds {first_seed} to {self.seed - 1}, {self.inputs} inputs in "
            f"{self.seconds:.0f} s ({rate:.0f}/s): {counted}; {len(self.findings.found)} findings"
        )


def campaigns(only: str, quick: bool) -> list[Campaign]:
    """For each word of `only`, the campaign of this name, or else all whose names begin with it.

    Exits with a message if there is none. Quick runs leave out campaigns without a quick part.
    """
    found: list[Any] = [c for m in MODULES for c in importlib.import_module(m).CAMPAIGNS]
    named = []
    for word in only.split(","):
        exactly = [c for c in found if c.name == word]
        meant = exactly or [c for c in found if c.name.startswith(word)]
        if not meant:
            sys.exit(f"no campaign {word!r}; there are {', '.join(c.name for c in found)}")
        named += [c for c in meant if c not in named]
    return [replace(c, quick=quick) for c in named if c.quick_count or not quick]


def soak(given: argparse.Namespace, folder: Path) -> list[_Progress]:
    """Run the campaigns in turn until the time or the number of inputs is reached."""
    chosen = campaigns(given.only, given.quick)
    batches = sum(campaign.batch for campaign in chosen)
    running = [_Progress(campaign, Findings(), given.seed) for campaign in chosen]
    done: list[_Progress] = []
    end = time.monotonic() + given.seconds
    while running:
        progress = running.pop(0)
        campaign = progress.campaign
        share = -(-given.count * campaign.batch // batches)
        count = min(campaign.batch, share - progress.inputs) if share else campaign.batch
        progress.step(campaign.quick_count if given.quick else count, folder)
        print(progress.line(given.seed), flush=True)
        left = progress.inputs < share if share else time.monotonic() < end
        goes_on = left and not given.quick and not progress.is_over
        (running if goes_on else done).append(progress)
    return done


def keep_input(given: argparse.Namespace, folder: Path) -> None:
    """Write the files of an input of a campaign."""
    (campaign,) = campaigns(given.only, given.quick)
    given.keep.mkdir(parents=True, exist_ok=True)
    for name, data in campaign.input(given.seed, given.number, folder).items():
        (given.keep / name).write_bytes(data)


def main() -> None:
    """Parse the arguments, run the campaigns, and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="campaigns whose names begin with one of these")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--count", type=int, default=0, help="inputs, instead of seconds")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--number", type=int, help="write this input of one campaign to --keep")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--keep", type=Path, default=Path("out/soak"), help="for what is found")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ellc-soak-") as name:
        if given.number is not None:
            keep_input(given, Path(name))
            return
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

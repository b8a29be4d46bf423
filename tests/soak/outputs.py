"""Interrupt commands at any point, and check that the old or the new result exists, complete.

An input is a command line with a kind of failure: the command is killed before each of its file
operations; the disk is full from each of them on; the disk is too small; the size of files is
limited. Then the same command is run without a failure. The new result must exist, with no other
files beside it or in the folder of temporary files.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from findings import Finding, Findings
from interrupted import (
    DONE,
    KILLED,
    REFUSED,
    full_from,
    killed_at,
    limited,
    on_small_disk,
    resize_disk,
    small_disk,
    tree,
)
from small_networks import convolution_network

from ellc.cli import run
from ellc.driver import emit_kinds
from ellc.ir.container import save
from ellc.ir.errors import EllcError

MACHINES = ("host", "pi3", "imxrt1050", "windows", "mac", "wasm")
"""A target for each kind of library or object file."""


@dataclass(frozen=True)
class Output:
    """A command that writes `{out}`, a file or folder called `name`, or only temporary files.

    With `by_file`, `{out}` is a folder whose files are replaced one after the other, each at once.
    A `quick` command is also part of quick runs.
    """

    label: str
    words: tuple[str, ...]
    name: str = "out"
    by_file: bool = False
    quick: bool = False


@cache
def outputs() -> tuple[Output, ...]:
    """Commands that together write every kind of result."""
    made = ("-o", "{out}")
    emitted = [
        Output(f"compile {kind}", ("compile", "{model}", "--emit", f"{kind}{also}", *made))
        for kind in emit_kinds()
        for also in (",so" if kind in ("py", "wheel") else "",)
    ]
    machines = [
        Output(f"compile for {name}", ("compile", "{model}", "-t", name, *made))
        for name in MACHINES
    ]
    printed = [
        Output(f"print {kind}", ("print", "{model}", "--format", kind, *made), f"out.{kind}")
        for kind in ("text", "dot", "svg")
    ]
    return (
        *emitted,
        *machines,
        *printed,
        Output("dump", ("compile", "{model}", "--emit", "c", "--dump-dir", "{out}",
                        "-o", "{scratch}"), by_file=True, quick=True),
        Output("import ell", ("import", "{model}", *made), "out.ell", quick=True),
        Output("import eir", ("import", "{model}", *made), "out.eir"),
        Output("zoo build", ("zoo", "build", "{zoo}", "--width", "1/16", "--seed", "{seed}",
                             *made), "out.eir"),
        Output("run", ("run", "{model}", "{input}", *made), "out.npy"),
        Output("run --reference", ("run", "{model}", "{input}", "--reference", *made), "out.npy",
               quick=True),
        Output("check", ("check", "{model}", "--seeds", "1")),
        Output("check --layers", ("check", "{model}", "--layers", "--seeds", "1")),
        Output("bench --layers", ("bench", "{model}", "--layers", "--seconds", "0.01")),
    )  # fmt: skip


@dataclass
class _Setup:
    """A folder with models, results and temporary files, and the results without a failure."""

    output: Output
    folder: Path
    others: Path

    def __post_init__(self) -> None:
        for folder in (self.folder, self.temporary, self.others):
            folder.mkdir(parents=True, exist_ok=True)
        for kind, seed in (("old", 1), ("new", 2)):
            (self.others / kind).mkdir(exist_ok=True)
            save(convolution_network(seed=seed), self.others / kind / "net.eir")
        np.save(self.others / "input.npy", np.ones((1, 9, 11, 3), np.float32))

    @property
    def temporary(self) -> Path:
        return self.folder / "tmp"

    @property
    def out(self) -> Path:
        return self.folder / self.output.name

    def write(self, kind: str) -> None:
        """Run the command for the old or the new model (`kind`).

        Raises `EllcError` with what the command printed if it fails.
        """
        places = {
            "model": self.others / kind / "net.eir",
            "zoo": "d_I160x160x3CMCMCMCMCMCMC1A",
            "seed": int(kind == "new"),
            "out": self.out,
            "scratch": self.others / "scratch",
            "input": self.others / "input.npy",
        }
        text = io.StringIO()
        with _temporary_files_at(self.temporary), redirect_stdout(text), redirect_stderr(text):
            code = run([word.format(**places) for word in self.output.words])
        if code:
            raise EllcError(text.getvalue(), code="E703" if code == 2 else "E000")

    def write_new(self) -> None:
        """Run the command for the new model: the run in which the failure occurs."""
        self.write("new")

    def result(self) -> dict[str, bytes]:
        """The files at `out`."""
        return {"": self.out.read_bytes()} if self.out.is_file() else tree(self.out)

    def is_whole(self, *kinds: dict[str, bytes]) -> bool:
        """Whether `out` is one of these results; with `by_file`, whether each file is in one.

        An incomplete file that a killed command left is ignored, since the next one overwrites it.
        """
        found = self.result()
        if self.output.by_file:
            found = {name: data for name, data in found.items() if not name.endswith(".part")}
            return all(any(data == k.get(name) for k in kinds) for name, data in found.items())
        return found in kinds

    def left(self) -> list[str]:
        """The names of files beside the result, and of temporary files."""
        beside = [p.name for p in self.folder.iterdir() if p not in (self.out, self.temporary)]
        return sorted(beside) + sorted(f"tmp/{p.name}" for p in self.temporary.iterdir())

    def start(self) -> None:
        """Remove everything, and write the old result."""
        for path in self.folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.temporary.mkdir()
        self.write("old")


@contextmanager
def _temporary_files_at(folder: Path) -> Iterator[None]:
    before, named = tempfile.tempdir, os.environ.get("TMPDIR")
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before
        if named is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = named


# ---- ways to fail -------------------------------------------------------------------------------

Try = Callable[[int], int]
"""Runs the command with failure 0, 1, ... and returns the outcome, `DONE` if it did not fail."""


@contextmanager
def _killed(setup: _Setup) -> Iterator[Try]:
    yield lambda count: killed_at(count, setup.write_new)


@contextmanager
def _full_disk(setup: _Setup) -> Iterator[Try]:
    yield lambda count: full_from(count, setup.write_new)


@contextmanager
def _short_files(setup: _Setup) -> Iterator[Try]:
    """Runs in which files are limited to 0, 1, 4, 16, ... bytes."""
    yield lambda count: limited(4**count // 4, setup.write_new)


@contextmanager
def _small_disk(setup: _Setup) -> Iterator[Try]:
    """Runs on a disk with 0, 4, 8, 16, ... kB of free space."""
    with small_disk(setup.folder, 1 << 30) as mounted:
        if not mounted:
            yield lambda _: DONE
            return
        setup.start()
        used_bytes = shutil.disk_usage(setup.folder).used

        def tried(count: int) -> int:
            resize_disk(setup.folder, used_bytes + (2048 << count if count else 0))
            try:
                return on_small_disk(setup.write_new)
            finally:
                resize_disk(setup.folder, 1 << 30)

        yield tried


WAYS = {
    "killed": _killed,
    "full disk": _full_disk,
    "short files": _short_files,
    "small disk": _small_disk,
}


@dataclass(frozen=True)
class Interrupted:
    """The campaign; its inputs are all pairs of a command and a kind of failure."""

    name: str = "outputs"
    batch: int = 4
    quick_count: int = 100
    quick: bool = False

    def run(self, seed: int, count: int, folder: Path) -> Findings:
        """Test the next `count` inputs."""
        findings = Findings()
        first = (seed - 1) * self.batch
        for number, (output, way) in enumerate(self._pairs()[first : first + count]):
            setup = _Setup(output, folder / "place", folder / "models")
            wrong = list(_wrong(setup, way, self.quick))
            findings.outcomes["WRONG" if wrong else "whole"] += 1
            if wrong:
                again = f"--only {self.name} --seed {seed} --number {number}"
                findings.add(Finding(f"{output.label}, {way}", "; ".join(wrong), again))
        return findings

    def input(self, seed: int, number: int, folder: Path) -> dict[str, bytes]:
        """A file with the kind of failure and the command line."""
        output, way = self._pairs()[(seed - 1) * self.batch + number]
        return {"command.txt": f"{way}: ellc {' '.join(output.words)}\n".encode()}

    def _pairs(self) -> list[tuple[Output, str]]:
        chosen = [o for o in outputs() if o.quick or not self.quick]
        return [(output, way) for output in chosen for way in WAYS]


def _wrong(setup: _Setup, way: str, quick: bool) -> Iterator[str]:
    """What is wrong after each run with a failure, and after the last run, which has none."""
    setup.start()
    setup.write("new")
    new = setup.result()
    setup.start()
    old = setup.result()
    with WAYS[way](setup) as tried:
        count = 0
        while (outcome := tried(count)) != DONE:
            if outcome not in (KILLED, REFUSED):
                yield f"try {count} ends with status {outcome}"
            if not setup.is_whole(old, new):
                yield f"after try {count}, neither the old nor the new result is there"
            if outcome == REFUSED and not (setup.is_whole(old) or setup.output.by_file):
                yield f"after try {count}, the old result is gone"
            if outcome == REFUSED and setup.left():
                yield f"after try {count}, these files are left: {', '.join(setup.left())}"
            count = 4 * count + 1 if quick else count + 1
        setup.write("new")
        if setup.result() != new:
            yield "at the end, the new result is not there"
        if setup.left():
            yield f"at the end, these files are left: {', '.join(setup.left())}"


CAMPAIGNS = (Interrupted(),)

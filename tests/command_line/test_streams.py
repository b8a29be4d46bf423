"""`ellc` in a shell: closed, full or broken streams, Ctrl-C, warnings of libraries."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from importlib.abc import MetaPathFinder
from pathlib import Path

import numpy as np
import pytest
from all_commands import all_commands
from interrupts import take_interrupts

from ellc import cli
from ellc.__main__ import main
from ellc.ir.builder import GraphBuilder
from ellc.ir.container import save
from ellc.ir.ops.arithmetic import Add, Mul
from ellc.ir.ops.dense import Dense
from ellc.ir.ops.functions import Exp
from ellc.ir.types import DType, TensorType
from ellc.streams import ClosedOutput

_ELLC = [sys.executable, "-m", "ellc"]


WITH_NETWORK = {("zoo", "fetch")}
"""Commands that download something; no test runs them."""
RESULT = """{
  "format": "ellc gallery 1", "model": "tiny", "precision": "fp32", "board": "b", "engine": "e",
  "input": [4], "colours": "none", "dataset": "d", "figures": [{"of": "ms", "value": 1,
  "provenance": "published", "source": {"title": "t", "url": "https://example.org"}}]
}"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The file of a network whose constants overflow when they are folded; beside it, dense.eir."""
    b = GraphBuilder("tiny")
    huge = b.constant(np.full((1, 4), 3e38, np.float32))
    x = b.add(Mul(), b.add(Mul(), b.input("x", TensorType(DType.F32, (1, 4))), huge), huge)
    b.output("y", b.add(Add(), x, b.add(Exp(), b.add(Mul(), huge, huge))))
    save(b.build(), tmp_path / "tiny.eir")
    b = GraphBuilder("dense")
    x = b.input("x", TensorType(DType.F32, (1, 4)))
    b.output("y", b.add(Dense(), x, b.constant(np.eye(4, dtype=np.float32))))
    save(b.build(), tmp_path / "dense.eir")
    return tmp_path / "tiny.eir"


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which `ellc` is the command."""
    ellc = " ".join(f"'{word}'" for word in _ELLC)
    program = f'set -o pipefail; ellc() {{ {ellc} "$@"; }}; {line}'
    return subprocess.run(
        ["bash", "-c", program],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
def test_closed_streams(model: Path) -> None:
    done = shell("ellc compile tiny.eir -o out <&- >&- 2>&-", model.parent)
    assert done.returncode == 0 and (model.parent / "out" / "tiny.json").is_file()
    assert shell("ellc inspect none.eir >&- 2>&-", model.parent).returncode == cli.EXIT_BAD_INPUT
    for command in ("import tiny.eir -o new.eir", "print tiny.eir -o new.txt"):
        assert shell(f"ellc {command} >&-", model.parent).returncode == 0, command


@pytest.mark.slow
@pytest.mark.parametrize("place", ["/dev/full", "&-"])
def test_nowhere_for_results(model: Path, place: str) -> None:
    """Every kind of output gives a clear error: results, documents, help pages and versions."""
    why = "standard output is closed" if place == "&-" else "no space left for standard output"
    commands = ("print tiny.eir", "inspect tiny.eir --json", "--help", "print --help", "--version")
    for command in commands:
        done = shell(f"ellc {command} >{place}", model.parent)
        assert (done.returncode, done.stderr) == (2, f"error[E703]: {why}\n"), command


@pytest.mark.slow
def test_a_document_that_nobody_can_read_is_an_error(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """This holds for every command. Files are written before the error occurs."""
    folder = model.parent
    np.save(folder / "x.npy", np.zeros((1, 4), np.float32))
    np.savez(folder / "data.npz", x=np.zeros((1, 1, 4), np.float32), y=np.zeros(1, np.int64))
    (folder / "result.json").write_text(RESULT)
    (folder / "ssh").write_text('#!/bin/sh\nfor last; do :; done; exec sh -c "$last"\n')
    (folder / "ssh").chmod(0o755)
    monkeypatch.chdir(folder)
    network = "d_I160x160x3CMCMCMCMCMCMC1A"
    lines = (
        "compile tiny.eir --emit c -o out", "explain tiny.eir", "inspect tiny.eir",
        "explain tiny.eir --ram-curve",
        "run tiny.eir x.npy --reference", "check tiny.eir", "import tiny.eir -o new.eir",
        "bench tiny.eir --seconds 0.05", "tune tiny.eir --tuning new.json --seconds 0.05",
        f"zoo build {network} --width 1/16 -o zoo.eir", "zoo list", "targets", "ops",
        f"zoo show {network}", f"zoo inspect {network}",
        f"zoo compile {network} --width 1/16 --emit c -o zoo",
        "evaluate tiny.eir --data data.npz --jobs 1",
        "gallery build result.json --no-published -o site", "gallery measure result.json",
        "profile tiny.eir --seconds 0.05",
        "quantize dense.eir --data data.npz --jobs 1",
        f"deploy tiny.eir --ssh here --ssh-command ./ssh --target host --to {folder}/board",
    )  # fmt: skip
    for words, command in all_commands():
        if words not in WITH_NETWORK and any("--json" in p.opts for p in command.params):
            assert any(line.startswith(" ".join(words)) for line in lines), words
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        monkeypatch.setattr(sys, "stdout", ClosedOutput(nowhere))
        for line in lines:
            assert cli.run([*line.split(), "--json"]) == cli.EXIT_BAD_INPUT, line
            assert capsys.readouterr().err.splitlines()[-1:] == [
                "error[E703]: standard output is closed"
            ], line
    for made in ("out/tiny.json", "new.eir", "new.json", "zoo.eir", "board/tiny.json"):
        assert (folder / made).is_file(), made


@pytest.mark.slow
def test_a_command_that_writes_a_file_needs_no_output(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = model.parent
    np.save(folder / "x.npy", np.zeros((1, 4), np.float32))
    np.savez(folder / "data.npz", x=np.zeros((1, 1, 4), np.float32), y=np.zeros(1, np.int64))
    (folder / "result.json").write_text(RESULT)
    (folder / "one").mkdir()
    shutil.copy(model, folder / "one")
    monkeypatch.chdir(folder)
    network = "d_I160x160x3CMCMCMCMCMCMC1A"
    lines = {
        "gallery measure --models one -t pi0 -o results": "results/tiny-eir-pi0.json",
        "compile tiny.eir --emit c -o out": "out/tiny.json",
        "explain tiny.eir --html page.html": "page.html",
        "import tiny.eir -o new.eir": "new.eir",
        "print tiny.eir -o new.txt": "new.txt",
        "run tiny.eir x.npy --reference -o y.npy": "y.npy",
        "tune tiny.eir --seconds 0.05 --tuning new.json": "new.json",
        f"zoo build {network} --width 1/16 -o zoo.eir": "zoo.eir",
        f"zoo compile {network} --width 1/16 --emit c -o zoo": "zoo",
        "evaluate tiny.eir --data data.npz --jobs 1 --html evaluation.html": "evaluation.html",
        "gallery build result.json --no-published -o site": "site/index.html",
        "profile tiny.eir --seconds 0.05 --html profile.html": "profile.html",
        "quantize dense.eir --data data.npz --jobs 1 -o q.eir --html q.html": "q.html",
    }
    writing = {"--output", "--html"}
    for words, command in all_commands():
        if words not in WITH_NETWORK and any(writing & {*p.opts} for p in command.params):
            assert any(line.startswith(" ".join(words)) for line in lines), words
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        monkeypatch.setattr(sys, "stdout", ClosedOutput(nowhere))
        for line, made in lines.items():
            assert cli.run(line.split()) == 0, (line, capsys.readouterr().err)
            assert (folder / made).exists(), line


@pytest.mark.slow
def test_nobody_reads_why(tmp_path: Path) -> None:
    for line in (
        "ellc inspect none.eir 2> /dev/full",
        "ellc inspect none.eir 2>&1 >/dev/null | true",
        "ellc inspect --none 2> /dev/full",
    ):
        done = shell(line, tmp_path)
        assert (done.returncode, done.stderr) == (cli.EXIT_BAD_INPUT, ""), line


@pytest.mark.slow
def test_the_reader_of_results_has_gone(model: Path) -> None:
    for command in ("print tiny.eir", "--help"):
        done = shell(f"ellc {command} | true", model.parent)
        assert (done.returncode, done.stderr) == (0, ""), command


@pytest.mark.slow
def test_no_folder_can_be_made(model: Path) -> None:
    for place in ("tiny.eir/out", "/proc/out"):
        done = shell(f"ellc compile tiny.eir -o {place}", model.parent)
        assert done.returncode == cli.EXIT_BAD_INPUT and done.stderr.startswith("error[E")


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2])
def test_control_c(model: Path, tmp_path: Path, times: int) -> None:
    """As a terminal does, send the signal to the process group, once a temporary folder exists."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    before = sorted(tmp_path.iterdir())
    process = subprocess.Popen(
        [*_ELLC, "compile", str(model), "-o", "out"],
        cwd=tmp_path, env={**os.environ, "TMPDIR": str(temporary)}, start_new_session=True,
        stderr=subprocess.PIPE, text=True,
        preexec_fn=take_interrupts,
    )  # fmt: skip
    # Before its first folder, Python writes and removes a file in TMPDIR, to see whether it can.
    while sorted(tmp_path.iterdir()) == before and not any(x.is_dir() for x in temporary.iterdir()):
        assert process.poll() is None
        time.sleep(0.01)
    for _ in range(times):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.02)
    assert "interrupted" in (said := process.communicate()[1]) and "Traceback" not in said
    assert process.returncode == cli.EXIT_INTERRUPTED
    assert sorted(tmp_path.iterdir()) == before and not [*temporary.iterdir()]
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_control_c_while_modules_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(MetaPathFinder):
        def find_spec(self, name: str, *_: object) -> None:
            if name == "ellc.cli":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "ellc.cli")
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == cli.EXIT_INTERRUPTED


@pytest.mark.slow
def test_warnings_are_not_for_users(model: Path) -> None:
    program = (
        "import warnings; from ellc import cli\n"
        "cli.run = lambda _: warnings.warn('of a library', RuntimeWarning) or 0\n"
        "cli.main()"
    )
    for flags, shown in ([], False), (["-W", "default"], True):
        words = [sys.executable, *flags, "-c", program]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        assert ("RuntimeWarning" in done.stderr) == shown
    done = shell("ellc compile tiny.eir -o out && ellc inspect tiny.eir", model.parent)
    assert done.returncode == 0 and done.stderr == ""
    with warnings.catch_warnings(action="error"):
        assert cli.run(["inspect", str(model)]) == 0

"""`ellc profile --ssh` and `ellc tune --ssh` with this machine as the board."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from interrupts import take_interrupts
from local_sshd import BOARD, LocalBoard, local_board, why_not
from small_networks import convolution_network, ready

from ellc.cli import EXIT_INTERRUPTED, run
from ellc.ir.container import save
from ellc.ir.errors import EllcError
from ellc.profile.on_board import _answers
from ellc.tuning import read_tuning

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBoard]:
    if reason := why_not():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("sshd")
    (folder / "home").mkdir()
    with local_board(folder, folder / "home") as running:
        yield running


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "net.eir"
    save(ready(convolution_network("net")), path)
    return path


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs `ellc profile` in this process: (exit code, stdout, stderr)."""

    def call(*words: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        status = run(["profile", *map(str, words)])
        return (status, *capsys.readouterr())

    return call


def left_in(board: LocalBoard) -> list[str]:
    return [path.name for path in (board.log.parent / "home").iterdir()]


@pytest.mark.slow
def test_layers_and_phases_are_measured_on_the_board(
    board: LocalBoard, model: Path, tmp_path: Path, command: Command
) -> None:
    page = tmp_path / "page.html"
    words = (*board.options, "--seconds", "0.05", "--html", page, "--json")
    status, out, err = command(model, *words)
    assert status == 0, err
    told = json.loads(out)
    assert told["measure"] == "time" and f"microseconds on {BOARD}" in told["label"]
    assert told["board"].startswith(BOARD) and BOARD in page.read_text(encoding="utf-8")
    names = [phase["name"] for phase in told["phases"]]
    assert names == ["compile", "load", "first call", "steady call"]
    assert all(0 < p["fastest_ms"] <= p["median_ms"] <= p["p90_ms"] for p in told["phases"])
    assert told["phases"][1]["samples"] == 5 and told["phases"][3]["samples"] >= 3
    spent = sum(layer["figures"]["cost"] for layer in told["layers"])
    assert 0.5 * told["whole"] < spent <= told["whole"]
    assert all(told["bounds"]["macs"][numbers] > 0 for numbers in ("float", "byte"))
    assert left_in(board) == []


@pytest.mark.slow
def test_kernels_are_tuned_on_the_board(board: LocalBoard, model: Path, tmp_path: Path) -> None:
    words = ["tune", str(model), *board.options, "--tuning", str(tmp_path / "tuning.json")]
    assert run([*words, "--seconds", "0.05", "--candidates", "2"]) == 0
    entries = read_tuning(tmp_path / "tuning.json")
    assert entries and all(f"median on {BOARD}" in e.how and e.unit == "ns" for e in entries)
    assert left_in(board) == []


@pytest.mark.slow
def test_an_interrupted_profile_leaves_nothing(board: LocalBoard, model: Path) -> None:
    words = [sys.executable, "-m", "ellc", "profile", str(model), *board.options]
    with subprocess.Popen(
        [*words, "--seconds", "2"],
        stderr=subprocess.PIPE,
        preexec_fn=take_interrupts,
    ) as running:
        end = time.monotonic() + 60
        while not left_in(board) and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(0.3)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate()
    assert running.returncode == EXIT_INTERRUPTED
    assert said.decode().split() == ["interrupted"]
    while left_in(board) and time.monotonic() < end:
        time.sleep(0.1)
    assert left_in(board) == []


def some_ssh(folder: Path, change: str) -> tuple[str, ...]:
    """An ssh that runs the board's commands here, after the shell command `change`."""
    script = f'cd {shlex.quote(str(folder))}; for last; do :; done; {change}; exec sh -c "$last"'
    return (
        "--ssh",
        "pi",
        "--ssh-command",
        shlex.join(("env", f"HOME={folder}", "sh", "-c", script, "ssh")),
    )


@pytest.mark.slow
@pytest.mark.parametrize("answered", [1, 2])
def test_a_board_that_is_gone_is_one_error(
    answered: int, model: Path, tmp_path: Path, command: Command
) -> None:
    """The connection fails after `answered` commands: 1 is a query, 2 the run of the layers."""
    counter = shlex.quote(str(tmp_path / "count"))
    change = f"echo x >> {counter}; [ $(wc -l < {counter}) -le {answered} ] || exit 255"
    (tmp_path / "home").mkdir()
    status, out, err = command(model, *some_ssh(tmp_path / "home", change), "--seconds", "0.01")
    assert (status, out) == (2, "")
    assert err.count("error[") == 1 and "error[E632]: pi: no connection to the board" in err
    assert list((tmp_path / "home").iterdir()) == []


def test_a_full_disk_is_one_error(model: Path, tmp_path: Path, command: Command) -> None:
    programs, home = tmp_path / "bin", tmp_path / "home"
    programs.mkdir()
    home.mkdir()
    (programs / "tar").write_text("#!/bin/sh\necho No space left on device >&2; exit 2\n")
    (programs / "tar").chmod(0o755)
    ssh = some_ssh(home, f"PATH={shlex.quote(str(programs))}:$PATH")
    status, out, err = command(model, *ssh, "--seconds", "0.01")
    assert (status, out) == (2, "")
    assert err.count("error[") == 1 and "E635" in err and "No space left on device" in err
    assert list(home.iterdir()) == []


def test_a_target_that_does_not_fit_and_a_library(model: Path, command: Command) -> None:
    ssh = some_ssh(Path("/"), ":")
    status, _, err = command(model, *ssh, "--target", "pi0")
    assert status == 2 and "error[E634]: pi: code for target 'pi0' does not run" in err
    assert "E706" in command("libnet.so", *ssh)[2]
    assert "E630" in command(model, "--ssh", "-oProxyCommand=x")[2]


def test_answers_of_another_program_are_refused() -> None:
    (answer,) = _answers(b" 20\n" + bytes(4) + b"\1" + bytes(15), [4])
    assert (answer.load_ns, answer.first_ns, answer.call_ns) == (1, 0, ())
    for printed in (b"hello", b"\n", b"3\nabc", b"-1\n"):
        with pytest.raises(EllcError) as caught:
            _answers(printed, [4])
        assert caught.value.code == "E621"

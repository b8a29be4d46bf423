"""`ellc deploy` and `ellc bench --ssh` with this machine as the board."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from local_sshd import BOARD, LocalBoard, local_board, why_not
from small_networks import convolution_network, inputs_of

from ellc.cli import run
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.toolchain.load import build_loader
from ellc.driver import CompileOptions, compile_model
from ellc.execute import open_library
from ellc.ir.container import save
from ellc.ir.errors import EllcError
from ellc.remote.choice import library_glibc, loader_glibc
from ellc.remote.connection import Connection
from ellc.remote.job import MARK, BoardProgram, copy_and_run
from ellc.remote.service import unit_text

Command = Callable[..., tuple[int, str, str]]

GRAPH = convolution_network("little")

ANY_SHELL = ("sh", "-c", 'for last; do :; done; exec sh -c "$last"', "ssh")
"""A command to use instead of ssh, which runs the remote command on this machine."""


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBoard]:
    if reason := why_not():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("sshd")
    home = folder / "home"
    home.mkdir()
    (home / ".bashrc").write_text("echo Welcome to this board!\n")  # printed before every answer
    with local_board(folder, home) as running:
        yield running


@pytest.fixture
def home(board: LocalBoard) -> Path:
    return board.log.parent / "home"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library for this machine."""
    options = CompileOptions(threads=2)
    made = compile_model(GRAPH, "host", options, out_dir=tmp_path_factory.mktemp("made") / "out")
    assert made.library is not None
    return made.library


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    (values,) = inputs_of(GRAPH)
    np.save(tmp_path / "picture.npy", values)
    return tmp_path / "picture.npy"


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """A function that runs `ellc` in this process; returns (exit code, stdout, stderr)."""

    def call(*words: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        status = run([str(word) for word in words])
        return (status, *capsys.readouterr())

    return call


def files_of(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.slow
def test_a_library_is_deployed_and_run(
    board: LocalBoard, home: Path, library: Path, picture: Path, command: Command
) -> None:
    status, out, err = command(
        "deploy", library, *board.options, "--run", picture, "--threads", 1, "--json"
    )
    assert status == 0, err
    told = json.loads(out)
    _, here, _ = command("run", library, picture, "--threads", 1, "--json")
    assert told["outputs"] == json.loads(here)
    assert told["target"] == "host"
    assert told["folder"] == str(home / "ellc" / "little")
    assert told["times"]["calls"] >= 3
    files = {MARK, library.name, "little.json", "little.h", "little.py"}
    assert files_of(home / "ellc") == {"little", *(f"little/{name}" for name in files)}

    # The deployed folder is replaced as a whole, and needs no other files.
    (home / "ellc" / "little" / "old").touch()
    assert command("deploy", library, *board.options)[0] == 0
    assert not (home / "ellc" / "little" / "old").exists()
    assert open_library(home / "ellc" / "little" / library.name).network.name == "little"


@pytest.mark.slow
def test_a_model_is_compiled_for_the_board(
    board: LocalBoard, home: Path, picture: Path, tmp_path: Path, command: Command
) -> None:
    save(GRAPH, tmp_path / "little.eir")
    camera = tmp_path / "camera.py"
    camera.write_text("print('smile')\n")
    folder = "a 'b' $(touch pwned) %n"
    words = ("--to", folder, "--with", camera, "--service", 'python3 camera.py > "$HOME"/log')
    status, out, err = command(
        "deploy", tmp_path / "little.eir", *board.options, "--run", picture, *words
    )
    assert status == 0, err
    assert f"{BOARD}: Linux {os.uname().machine}" in out
    assert "target linux" in out or os.uname().machine != "x86_64"
    assert "little on board: median" in out
    assert "loginctl enable-linger" in out
    place = home / folder
    assert {"liblittle.so", "demo.c", "camera.py", "little.service"} <= files_of(place)
    assert "pwned" not in files_of(home)
    unit = (place / "little.service").read_text()
    assert f"WorkingDirectory={str(place).replace('%', '%%')}\n" in unit
    assert 'ExecStart=/bin/sh -c "python3 camera.py > \\"$$HOME\\"/log"\n' in unit


@pytest.mark.slow
def test_bench_leaves_nothing(
    board: LocalBoard, home: Path, library: Path, command: Command
) -> None:
    before = files_of(home)
    status, out, err = command("bench", library, *board.options, "--seconds", 0.02, "--json")
    assert status == 0, err
    told = json.loads(out)
    assert told["calls"] >= 3
    assert told["target"] == f"{BOARD} (host)"
    assert files_of(home) == before


@pytest.mark.slow
def test_deploy_and_remove(
    board: LocalBoard, home: Path, library: Path, picture: Path, command: Command
) -> None:
    before = files_of(home)
    words = ("deploy", library, *board.options, "--run", picture)
    status, out, err = command(*words, "--remove", "--json")
    assert status == 0, err
    assert json.loads(out)["folder"] is None
    assert files_of(home) == before


@pytest.mark.slow
def test_no_folder_of_the_user_is_replaced(
    board: LocalBoard, home: Path, library: Path, command: Command
) -> None:
    (home / "mine").mkdir()
    (home / "mine" / "thesis").touch()
    status, _, err = command("deploy", library, *board.options, "--to", "mine")
    assert status == 2
    assert "error[E635]: board:" in err and "--to" in err
    assert files_of(home / "mine") == {"thesis"}
    assert not [name for name in files_of(home) if ".ellc-" in name and MARK not in name]
    for folder in ("", ".", "..", "/", "//", str(home), "x\ny"):
        status, _, err = command("deploy", library, *board.options, "--to", folder or "ellc/..")
        assert status == 2 and "E636" in err


def test_a_key_or_a_host_that_is_not_known(
    board: LocalBoard, library: Path, tmp_path: Path, command: Command
) -> None:
    (tmp_path / "none").touch()
    told = shlex.join((*board.command, "-o", f"UserKnownHostsFile={tmp_path / 'none'}"))
    status, _, err = command("deploy", library, "--ssh", BOARD, "--ssh-command", told)
    assert status == 2
    assert "error[E632]: board: no connection" in err and "accept the key: ssh board" in err
    told = shlex.join((*board.command, "-i", str(tmp_path / "none"), "-o", "IdentityFile=none"))
    told = told.replace("-F", "-o IdentityAgent=none -F") + " -o PubkeyAuthentication=no"
    status, _, err = command("deploy", library, "--ssh", BOARD, "--ssh-command", told)
    assert status == 2
    assert "E632" in err and "ssh-copy-id board" in err


def test_code_for_another_cpu_is_refused_before_anything_is_compiled(command: Command) -> None:
    if os.uname().machine.startswith("arm"):
        pytest.skip("this machine may run it")
    words = ("--ssh", "x", "--ssh-command", shlex.join(ANY_SHELL), "--target", "pi0")
    for name in ("deploy", "bench"):
        status, _, err = command(name, "no_such_model.onnx", *words)
        assert status == 2
        assert "error[E634]: x: code for target 'pi0' does not run" in err
        assert "C library: glibc" in err


@pytest.mark.parametrize("host", ["", "-oProxyCommand=touch pwned", "pi@a b", "a\x1bb", "-p"])
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(EllcError) as caught:
        Connection(host, ("false",))
    assert caught.value.code == "E630"
    assert "\x1b" not in caught.value.report()


def test_without_a_client_or_an_answer(command: Command, tmp_path: Path) -> None:
    status, _, err = command("bench", "x.onnx", "--ssh", "pi", "--ssh-command", "/no/such/ssh")
    assert status == 2 and "error[E631]" in err and "openssh-client" in err
    fake = shlex.join(("sh", "-c", r"printf 'a\033[31mb\n'; printf 'no\033[1m\n' >&2; exit 255"))
    status, _, err = command("bench", "x.onnx", "--ssh", "pi", "--ssh-command", fake)
    assert status == 2 and "error[E632]" in err
    assert r"no\u001b[1m" in err and "\x1b" not in err


def test_files_that_cannot_go_together(library: Path, tmp_path: Path, command: Command) -> None:
    told = ("--ssh", "x", "--ssh-command", shlex.join(("env", f"HOME={tmp_path}", *ANY_SHELL)))
    (tmp_path / "little.h").touch()
    (tmp_path / "folder").mkdir()
    before = files_of(tmp_path)
    for name, code in (("little.h", "E636"), ("folder", "E701"), ("none", "E713")):
        status, _, err = command("deploy", library, *told, "--with", tmp_path / name)
        assert status == 2
        assert f"error[{code}]: {tmp_path / name}:" in err
    assert files_of(tmp_path) == before


def test_no_newer_glibc_is_needed_than_is_checked(library: Path, tmp_path: Path) -> None:
    host = resolve("host")
    build_loader(host, tmp_path / "loader", loader_glibc(host))
    for program, needs in (
        (tmp_path / "loader", loader_glibc(host)),
        (library, library_glibc(host)),
    ):
        found = re.findall(rb"GLIBC_([0-9]+)\.([0-9]+)", program.read_bytes())
        assert found and max((int(a), int(b)) for a, b in found) <= needs


def test_options_that_exclude_each_other(command: Command) -> None:
    for words in (
        ("deploy", "x.onnx"),
        ("deploy", "x.onnx", "--ssh", "pi", "--remove"),
        ("bench", "x.onnx", "--target", "pi3"),
        ("bench", "x.onnx", "--ssh", "pi", "--layers"),
    ):
        status, _, err = command(*words)
        assert status == 2 and "Error:" in err
    status, _, err = command("deploy", "x.onnx", "--ssh", "pi", "--service", "a\nb")
    assert status == 2 and "E636" in err


def test_a_failing_program_and_a_full_disk_leave_nothing(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    home = f"HOME={tmp_path}"
    connection = Connection("pi", ("env", home, *ANY_SHELL))
    failing = BoardProgram(("sh", "-c", "cat >&2; exit 7"), b"what went wrong\n")
    for folder in (None, str(tmp_path / "place")):
        with pytest.raises(EllcError) as caught:
            copy_and_run(connection, {}, folder, failing)
        assert caught.value.code == "E621"
        assert caught.value.problems == ("what went wrong", "exit status 7")
    assert files_of(tmp_path) == {"bin", "place", f"place/{MARK}"}

    (tmp_path / "bin" / "tar").write_text("#!/bin/sh\necho No space left on device >&2; exit 2\n")
    (tmp_path / "bin" / "tar").chmod(0o755)
    full = Connection(
        "pi", ("env", home, f"PATH={tmp_path / 'bin'}:{os.environ['PATH']}", *ANY_SHELL)
    )
    before = files_of(tmp_path)
    with pytest.raises(EllcError) as caught:
        copy_and_run(full, {"other": b"new"}, str(tmp_path / "place"), None)
    assert caught.value.code == "E635"
    assert caught.value.problems == ("No space left on device",)
    assert files_of(tmp_path) == before


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("head -c 700 |", "E635"),
        ("head -c 5632 |", "E635"),  # cut off between two files
        ("head -c 6144 |", "E635"),  # cut off before the last file
        ("trap 'exit 255' EXIT;", "E632"),
    ],
)
def test_a_broken_connection_leaves_the_former_files(
    tmp_path: Path, change: str, code: str
) -> None:
    place, home = tmp_path / "place", f"HOME={tmp_path}"
    copy_and_run(Connection("pi", ("env", home, *ANY_SHELL)), {"old": b""}, str(place))
    shell = ("sh", "-c", f'for last; do :; done; {change} sh -c "$last"; exit', "ssh")
    files = {"new": bytes(5000), "newer": b""}
    with pytest.raises(EllcError) as caught:
        copy_and_run(Connection("pi", ("env", home, *shell)), files, str(place), None)
    assert caught.value.code == code
    kept = {"old"} if code == "E635" else {"new", "newer"}
    assert files_of(place) == {MARK, *kept}
    assert files_of(tmp_path) == {"place", *(f"place/{name}" for name in (MARK, *kept))}


def test_the_former_files_come_back_if_the_new_ones_cannot(tmp_path: Path) -> None:
    """The second of two renames fails."""
    (tmp_path / "bin").mkdir()
    place = tmp_path / "place"
    script = 'case $1 in *.old) ;; */place) ;; *) [ "$2" != "$WHERE" ] || exit 1 ;; esac\n'
    (tmp_path / "bin" / "mv").write_text(f'#!/bin/sh\n{script}exec /bin/mv "$@"\n')
    (tmp_path / "bin" / "mv").chmod(0o755)
    copy_and_run(Connection("pi", ANY_SHELL), {"old": b""}, str(place))
    path = f"PATH={tmp_path / 'bin'}:{os.environ['PATH']}"
    broken = Connection("pi", ("env", path, f"WHERE={place}", *ANY_SHELL))
    with pytest.raises(EllcError) as caught:
        copy_and_run(broken, {"new": b""}, str(place))
    assert caught.value.code == "E635"
    assert files_of(place) == {MARK, "old"}
    assert files_of(tmp_path) == {"bin", "bin/mv", "place", f"place/{MARK}", "place/old"}


def test_the_unit_runs_the_command(tmp_path: Path) -> None:
    command = r"""printf '%s|' "a b" \"c\" $HOME 100%"""
    text = unit_text("net", "/users/pi/100%", command).decode()
    (line,) = (line for line in text.splitlines() if line.startswith("ExecStart="))
    quoted = line.removeprefix("ExecStart=").replace("%%", "%").replace("$$", "$")
    # systemd quotes these characters as a shell does.
    words = shlex.split(quoted.replace("$", r"$"))
    assert words == ["/bin/sh", "-c", command]


def test_the_host_itself_fits(library: Path) -> None:
    """The check of a target names flags as /proc/cpuinfo does."""
    from ellc.remote.choice import chosen_target
    from ellc.remote.facts import ask

    facts = ask(Connection("here", ANY_SHELL))
    host = resolve("host")
    assert chosen_target("here", facts, host) == host
    assert facts.machine is not None and facts.machine.processors == os.cpu_count()
    assert facts.home == os.environ["HOME"]
    assert facts.glibc >= (2, 17)

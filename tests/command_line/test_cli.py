"""What all commands have in common: version, help, errors, exit codes, pipes."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from all_commands import all_commands

import ellc
from ellc import cli
from ellc.ir.errors import EllcError, InternalError
from ellc.ir.op import all_ops


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> object:
    """A command `fail` that raises the exception that a test sets."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("ELLC_DEBUG", raising=False)

    def install(error: BaseException) -> None:
        @click.command("fail")
        def command() -> None:
            raise error

        monkeypatch.setitem(cli.cli.commands, "fail", command)
        monkeypatch.setattr(
            type(cli.cli), "get_command", lambda self, ctx, name: self.commands.get(name)
        )

    return install


def test_version_names_llvm_and_the_linker(ellc_command) -> None:
    done = ellc_command("--version")
    assert done.returncode == 0
    assert done.stdout.startswith(f"ellc {ellc.__version__} ")
    assert re.search(r"LLVM \d+\.\d+", done.stdout)
    assert re.search(r"linker LLD \d+\.\d+", done.stdout)


def test_help_lists_every_command_and_the_exit_codes() -> None:
    context = click.Context(cli.cli, info_name="ellc")
    text = cli.cli.get_help(context)
    for name in cli.cli.list_commands(context):
        command = cli.cli.get_command(context, name)
        assert command is not None and command.get_short_help_str(), name
        assert re.search(rf"^  {name} ", text, re.MULTILINE)
    assert all(re.search(rf"^    {code} ", text, re.MULTILINE) for code in (0, 1, 2, 3, 130))


@pytest.mark.slow
def test_help_does_not_load_llvm() -> None:
    program = (
        "import sys; from ellc.cli import run; run(['--help']); print('llvmlite' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("False\n")


def test_no_arguments_shows_the_help(ellc_command) -> None:
    done = ellc_command()
    assert "Usage:" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("args", [["nonsense"], ["targets", "--nonsense"], ["targets", "extra"]])
def test_wrong_usage_is_exit_2(ellc_command, args: list[str]) -> None:
    done = ellc_command(*args)
    assert done.returncode == cli.EXIT_BAD_INPUT
    assert done.stdout == ""
    assert "Error:" in done.stderr and "Traceback" not in done.stderr


def test_nan_is_in_no_range() -> None:
    """`click.FloatRange` takes NaN, because it is neither below nor above a limit."""
    parameters = [p for _, command in all_commands() for p in command.params]
    ranges = [p for p in parameters if isinstance(p.type, click.FloatRange)]
    assert len(ranges) >= 4
    for parameter in ranges:
        with pytest.raises(click.BadParameter, match="nan is not in the range"):
            parameter.type.convert("nan", parameter, None)


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "the name of the file or folder is empty"), ("a" * 5000, "File name too long")],
)
def test_what_cannot_be_a_path_is_no_place(
    text: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise `-o "$UNSET"` would write to the current folder, because that is `Path("")`."""
    places = 0
    for words, command in all_commands():
        arguments = ["m.eir"] * sum(isinstance(p, click.Argument) for p in command.params)
        needed = [w for p in command.params if p.required for w in (p.opts[-1], "x")
                  if isinstance(p, click.Option)]  # fmt: skip
        for parameter in command.params:
            if isinstance(parameter.type, click.Path):
                places += 1
                given = [*arguments, *needed, parameter.opts[-1], text]
                if isinstance(parameter, click.Argument):
                    given = [*([text] * len(arguments)), *needed]
                assert cli.run([*words, *given]) == cli.EXIT_BAD_INPUT, words
                assert said in capsys.readouterr().err, (words, given)
    assert places > 20


def test_bad_input_is_one_report_with_all_problems(failing, capsys) -> None:
    failing(
        EllcError(
            "2 layers cannot be read",
            code="E1",
            where="m.ell",
            hint="do this",
            problems=("at 1: a", "at 2: b"),
        )
    )
    assert cli.run(["fail"]) == cli.EXIT_BAD_INPUT
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "error[E1]: m.ell: 2 layers cannot be read\n  at 1: a\n  at 2: b\nhint: do this\n"


def test_a_machine_with_too_little_memory_is_no_bug(failing, capsys) -> None:
    failing(MemoryError())
    assert cli.run(["fail"]) == cli.EXIT_BAD_INPUT
    assert capsys.readouterr().err.startswith("error[E304]: this needs more memory than there is")


@pytest.mark.parametrize(
    "error", [InternalError("bad code", reproducer="r.ll"), ValueError("oops")]
)
def test_a_bug_of_ours_is_exit_3_with_files_to_send(failing, capsys, tmp_path, error) -> None:
    failing(error)
    assert cli.run(["fail"]) == cli.EXIT_INTERNAL
    err = capsys.readouterr().err
    assert err.startswith("internal error: ") and "Traceback" not in err
    if isinstance(error, InternalError):
        assert "reproducer: r.ll" in err
    (details,) = tmp_path.glob("ellc-crash-*.txt")
    assert str(details) in err
    assert "Traceback" in details.read_text() and "['fail']" in details.read_text()


def test_a_developer_can_have_the_traceback(failing, monkeypatch) -> None:
    failing(ValueError("oops"))
    monkeypatch.setenv("ELLC_DEBUG", "traceback")
    with pytest.raises(ValueError, match="oops"):
        cli.run(["fail"])


def test_interrupt_is_exit_130(failing, capsys) -> None:
    failing(KeyboardInterrupt())
    assert cli.run(["fail"]) == cli.EXIT_INTERRUPTED
    assert "Traceback" not in capsys.readouterr().err


def test_a_closed_pipe_is_no_error(ellc_command) -> None:
    reader = subprocess.Popen([sys.executable, "-c", "pass"], stdin=subprocess.PIPE)
    reader.wait()
    assert reader.stdin is not None
    done = subprocess.run(
        [sys.executable, "-m", "ellc", "targets"],
        stdout=reader.stdin,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    reader.stdin.close()
    assert (done.returncode, done.stderr) == (0, "")


def test_a_full_disk_under_standard_output() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "ellc", "targets"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 2
    assert done.stderr == "error[E703]: no space left for standard output\n"


@pytest.mark.parametrize("name", ["ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EIO"])
def test_a_disk_that_refuses_is_no_mistake_of_ours(
    name: str, failing: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """A full disk can affect any file, even a temporary file of a compiler."""
    number = getattr(errno, name)
    failing(OSError(number, os.strerror(number), "somewhere/file"))
    assert cli.run(["fail"]) == cli.EXIT_BAD_INPUT
    assert capsys.readouterr().err.startswith("error[E703]: somewhere")


def test_targets_as_table_and_as_json(ellc_command) -> None:
    text = ellc_command("targets").stdout
    rows = json.loads(ellc_command("targets", "--json").stdout)
    assert {"host", "pi0", "pi3", "pi3_64", "mcxn947", "wasm"} <= {row["name"] for row in rows}
    for row in rows:
        assert re.search(rf"^{row['name']} .*{re.escape(row['description'])}$", text, re.MULTILINE)


@pytest.mark.parametrize(("shell", "words"), [("bash", "ellc tar"), ("zsh", "ellc tar")])
def test_shell_completion_knows_the_commands(ellc_command, shell: str, words: str) -> None:
    done = ellc_command(
        env={"_ELLC_COMPLETE": f"{shell}_complete", "COMP_WORDS": words, "COMP_CWORD": "1"}
    )
    assert "targets" in done.stdout


def test_shell_completion_knows_the_targets(ellc_command) -> None:
    words = "ellc compile m.ell --target pi"
    done = ellc_command(
        env={"_ELLC_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": "4"}
    )
    assert {"plain,pi0", "plain,pi3", "plain,pi3_64"} <= set(done.stdout.split())


@pytest.mark.slow
def test_ops_lists_the_whole_registry(ellc_command) -> None:
    text = ellc_command("ops").stdout
    rows = json.loads(ellc_command("ops", "--json").stdout)
    assert [row["name"] for row in rows] == list(all_ops())
    for row in rows:
        assert row["summary"], row["name"]
        assert re.search(rf"^{row['name']} +{row['kind']} ", text, re.MULTILINE)

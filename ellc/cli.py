"""The command line: the list of commands, and the reports of all errors.

Each command is a module of `ellc.commands` with one click command called `command`, which parses
its arguments, calls a function and prints the result. Heavy imports (llvmlite) are inside the
functions, so that `--help` is quick.

Exit codes: 0 success; 1 the command ran and its answer is no (`check` found a difference); 2 bad
input or usage, with a report of every problem; 3 an internal error of ellc; 130 interrupted.
Results go to stdout, error reports and progress to stderr.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import os
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import click

from ellc import __version__
from ellc.commands.output import echo
from ellc.ir.errors import EllcError, InternalError
from ellc.ir.files import cannot_write, refuses_to_write
from ellc.ir.printable import indented
from ellc.streams import open_standard_streams

EXIT_DIFFERENT = 1
EXIT_BAD_INPUT = 2
EXIT_INTERNAL = 3
EXIT_INTERRUPTED = 130

# In the order of the help page: commands that take a model, then commands that list facts.
_COMMANDS: tuple[str, ...] = (
    *("compile", "explain", "inspect", "run", "evaluate", "check", "bench", "profile", "deploy"),
    *("tune", "quantize", "print", "import", "zoo", "gallery", "targets", "ops"),
)
_MODULES = {"import": "import_model"}  # a module cannot have the name of a Python keyword

_TOO_LARGE = EllcError(
    "this needs more memory than there is", code="E304", hint="give smaller inputs (--shape)"
)

_EPILOG = """\b
Exit codes:
  0    success
  1    the answer is no: `check` found a difference
  2    bad input or usage; the report lists every problem found
  3    an internal error, a bug of ellc (ELLC_DEBUG=traceback shows where)
  130  interrupted

ELLC_DEBUG=passes,plan,kernels,time shows what `ellc compile` does, level by level.

Shell completion: eval "$(_ELLC_COMPLETE=bash_source ellc)" (or zsh_source; fish_source for fish).
"""


class _LazyGroup(click.Group):
    """A click group that imports the module of a command when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = import_module(f"ellc.commands.{_MODULES.get(cmd_name, cmd_name)}").command
        assert isinstance(command, click.Command)
        return command


def _show_version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from ellc.version import version_text

        echo(version_text())
        ctx.exit()


@click.group(
    cls=_LazyGroup,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the versions of ellc, LLVM and the linker, and exit.",
)
def cli() -> None:
    """Compile trained neural networks to native code for small boards."""


def _crash_report(error: BaseException, arguments: Sequence[str]) -> Path | None:
    """Write the traceback and the command line to a file; None if no file can be written."""
    text = "".join(
        [
            f"ellc {__version__}, Python {sys.version.split()[0]}\n",
            f"arguments: {list(arguments)!r}\n\n",
            *traceback.format_exception(error),
        ]
    )
    name = f"ellc-crash-{hashlib.sha256(text.encode()).hexdigest()[:12]}.txt"
    path = Path(tempfile.gettempdir()) / name
    try:
        path.write_text(text, encoding="utf-8")
    except OSError:
        return None
    return path


def _report(text: str) -> None:
    """Print an error on stderr; if stderr is closed or full, only the exit code reports it."""
    try:
        echo(text, err=True)
    except (OSError, EllcError):
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  (flushed at exit)


def _report_internal(error: BaseException, arguments: Sequence[str]) -> None:
    reproducer = error.reproducer if isinstance(error, InternalError) else ""
    what = str(error) if isinstance(error, InternalError) else f"{type(error).__name__}: {error}"
    _report(f"internal error: {indented(what)}")
    report = _crash_report(error, arguments)
    for label, path in (("reproducer", reproducer), ("details", report)):
        if path:
            _report(f"  {label}: {path}")
    _report("hint: this is a bug of ellc; please report it with the files named above")


def _report_usage(error: click.ClickException) -> None:
    """Print click's error about a command line, with control characters made visible.

    The message may quote arbitrary text of the user.
    """
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is not None:
        _report(context.get_usage())
        _report(f"Try '{context.command_path} --help' for help.\n")
    _report(f"Error: {indented(error.format_message())}")


def run(arguments: Sequence[str]) -> int:
    """Run one command line, report every error, and return the exit code."""
    if "traceback" in map(str.strip, os.environ.get("ELLC_DEBUG", "").split(",")):
        return int(cli.main(list(arguments), prog_name="ellc", standalone_mode=False) or 0)
    try:
        return int(cli.main(list(arguments), prog_name="ellc", standalone_mode=False) or 0)
    except EllcError as error:
        _report(error.report())
        return EXIT_BAD_INPUT
    except MemoryError:
        _report(_TOO_LARGE.report())
        return EXIT_BAD_INPUT
    except click.ClickException as error:
        _report_usage(error)
        return EXIT_BAD_INPUT
    except (click.Abort, KeyboardInterrupt):
        _report("interrupted")
        return EXIT_INTERRUPTED
    except SystemExit:
        # Click raises this, and nothing else does, when the program that reads our output has
        # ended, as in `ellc print MODEL | head`.
        return 0
    except Exception as error:
        if isinstance(error, OSError) and refuses_to_write(error):
            path = Path(error.filename or tempfile.gettempdir())
            _report(cannot_write(path, error).report())
            return EXIT_BAD_INPUT
        _report_internal(error, arguments)
        return EXIT_INTERNAL


def main() -> None:
    """The `ellc` command: the entry point of a process."""
    # A plan is many small objects that live as long as it does. With the default thresholds, the
    # garbage collector takes 5 to 10 % of the time to compile MobileNet V2 for pi3_64.
    gc.set_threshold(50_000, 20, 100)
    open_standard_streams()
    _find_temporary_folder()
    if (
        signal.getsignal(signal.SIGINT) is signal.default_int_handler
    ):  # unless the caller ignores it
        signal.signal(signal.SIGINT, _interrupt_once)
    if not sys.warnoptions:
        # Warnings of numpy or Pillow do not help a user. They are hidden here and not in `run`, so
        # that tests, which call `run`, see them.
        warnings.simplefilter("ignore")
    sys.exit(run(sys.argv[1:]))


def _find_temporary_folder() -> None:
    """Let Python choose the folder. To try one, it writes a file, which interrupts could leave."""
    if sys.platform == "win32":
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    with contextlib.suppress(OSError):  # the command that needs the folder says so
        tempfile.gettempdir()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _interrupt_once(_signal: int, _frame: object) -> None:
    """Handle the first Ctrl-C and ignore later ones, which must not interrupt the cleanup."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt

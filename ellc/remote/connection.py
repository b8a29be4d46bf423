"""Runs shell scripts on a board by the system's own `ssh`.

OpenSSH's client is on every machine and honours the user's configuration, keys and agent. It is
told never to ask a question, because nobody may be there to answer.
"""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import dataclass
from typing import IO

from ellc.ir.errors import EllcError

SSH = ("ssh",)
"""The command that is used unless the user names another one."""

_OPTIONS = (
    *("-T", "-x", "-a"),  # no terminal, no X11, no agent on the board
    *("-o", "BatchMode=yes"),
    *("-o", "ConnectTimeout=15"),
    *("-o", "ServerAliveInterval=10"),
    *("-o", "ServerAliveCountMax=3"),
    *("-o", "LogLevel=ERROR"),
)
_BEGIN = b"ellc: here begins the answer\n"
_MOST_LINES = 20

_HINTS = (
    ("Permission denied", "ellc asks for no password: set up a key with ssh-copy-id {host}"),
    ("Host key verification failed", "connect once by hand and accept the key: ssh {host}"),
    ("Could not resolve hostname", "check the name, or give the board's IP address"),
    ("Connection refused", "switch on SSH on the board (raspi-config, Interface Options)"),
)
_HINT = "`ssh {host}` must work without a password or a question"


@dataclass(frozen=True, slots=True)
class Ran:
    """The end of a script: its exit status, what it wrote, the last lines of its messages."""

    status: int
    output: bytes
    messages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Connection:
    """A way to a board. Raises `EllcError` E630 if `host` is no destination for ssh.

    `host` is what ssh takes: HOST, USER@HOST, a name of the user's configuration or
    ssh://USER@HOST:PORT. `command` is ssh, with the options that the user gave.
    """

    host: str
    command: tuple[str, ...] = SSH

    def __post_init__(self) -> None:
        text = self.host
        if not text or text.startswith("-") or not text.isprintable() or " " in text:
            raise EllcError(
                f"{text!r} is not the name of a board",
                code="E630",
                hint="for example pi@raspberrypi.local, or ssh://pi@192.168.1.7:2222",
            )

    def run(self, script: str, stdin: IO[bytes] | None = None, limit_s: float = 60.0) -> Ran:
        """Run a script of `sh` on the board, in the user's home folder.

        Only what the script writes is returned, not what the user's shell prints when it starts.
        Raises `EllcError`: E631 if there is no ssh, E632 if the script was not started or takes
        longer than `limit_s` seconds.
        """
        begin = _BEGIN.decode().strip()
        words = f"exec sh -c {shlex.quote(f'echo {shlex.quote(begin)}; {script}')}"
        try:
            ran = subprocess.run(
                [*self.command, *_OPTIONS, "--", self.host, words],
                stdin=stdin or subprocess.DEVNULL,
                capture_output=True,
                timeout=limit_s,
                check=False,
            )
        except OSError as error:
            raise EllcError(
                f"there is no ssh client {self.command[0]!r}: {error.strerror}",
                code="E631",
                hint="install OpenSSH's client (Debian: apt-get install openssh-client)",
            ) from error
        except subprocess.TimeoutExpired as error:
            raise EllcError(
                f"the board did not finish within {limit_s:.0f} s", code="E632", where=self.host
            ) from error
        messages = tuple(ran.stderr.decode(errors="replace").splitlines()[-_MOST_LINES:])
        _, found, output = ran.stdout.partition(_BEGIN)
        if not found:
            raise self._no_connection(messages)
        return Ran(ran.returncode, output, messages)

    def shown(self, *words: str) -> str:
        """The command line by which a user runs a command on the board."""
        return shlex.join([*self.command, self.host, shlex.join(words)])

    def _no_connection(self, messages: tuple[str, ...]) -> EllcError:
        printed = "\n".join(messages)
        hint = next((hint for sign, hint in _HINTS if sign in printed), _HINT)
        return EllcError(
            "no connection to the board",
            code="E632",
            where=self.host,
            problems=messages,
            hint=hint.format(host=shlex.quote(self.host)),
        )

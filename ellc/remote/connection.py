"""Runs shell scripts on a board through the system's own `ssh`.

The OpenSSH client is available on every system and uses the user's configuration, keys and agent.
Its batch mode is on, because a script that calls ellc must fail and not wait for a password.
"""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import dataclass
from typing import IO

from ellc.ir.errors import EllcError

SSH = ("ssh",)
"""The ssh command that is used unless the user gives another one."""

_OPTIONS = (
    *("-T", "-x", "-a"),  # no terminal, no X11 forwarding, no agent forwarding
    *("-o", "BatchMode=yes"),
    *("-o", "ConnectTimeout=15"),
    *("-o", "ServerAliveInterval=10"),
    *("-o", "ServerAliveCountMax=3"),
    *("-o", "LogLevel=ERROR"),
)
_BEGIN = b"ellc: here begins the answer\n"
_MOST_LINES = 20

_HINTS = (
    ("Permission denied", "ellc cannot ask for a password: set up a key with ssh-copy-id {host}"),
    ("Host key verification failed", "connect once by hand and accept the key: ssh {host}"),
    ("Could not resolve hostname", "check the name, or give the board's IP address"),
    ("Connection refused", "switch on SSH on the board (raspi-config, Interface Options)"),
)
_HINT = "`ssh {host}` must work without a password or a question"


@dataclass(frozen=True, slots=True)
class Ran:
    """The result of a script: exit status, standard output, last lines of standard error."""

    status: int
    output: bytes
    messages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach a board. Raises `EllcError` E630 if `host` is not a destination for ssh.

    `host` is HOST, USER@HOST, a name in the user's ssh configuration or ssh://USER@HOST:PORT.
    `command` is the ssh command with the user's options.
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
        """Run an `sh` script on the board, in the user's home folder.

        The result has only the output of the script. Output of the user's login shell is dropped.
        Raises `EllcError`: E631 if there is no ssh command, E632 if the script did not start or
        takes longer than `limit_s` seconds.
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
                f"the ssh client {self.command[0]!r} cannot be started: {error.strerror}",
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
        """The command line with which a user can run the command `words` on the board."""
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

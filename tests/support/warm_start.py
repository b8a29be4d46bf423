"""Run many command lines of ellc without importing ellc for each.

Importing takes a command 1.5 s of processor time, more than most tests need otherwise. So a process
imports ellc once, and forks for every command (`warm_server.py`). A launcher, a short program with
the name `ellc`, passes its arguments, streams and variables to this process, and ends with the
exit status of the command.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_SERVER = Path(__file__).resolve().with_name("warm_server.py")
_LAUNCHER = """\
#!{python} -IS
import json, os, signal, socket, sys
request = {{"arguments": sys.argv[1:], "folder": os.getcwd(), "variables": dict(os.environ)}}
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect({path!r})
    socket.send_fds(connection, [b" "], [0, 1, 2])
    connection.sendall(json.dumps(request).encode() + b"\\n")
    status = int(connection.recv(16) or 1)
if status < 0:
    signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)
sys.exit(status)
"""


@dataclass(frozen=True)
class WarmEllc:
    """A launcher of `ellc`, whose folder contains nothing else."""

    launcher: Path
    variables: Mapping[str, str]
    """The environment variables with which Python has started."""

    def suits(self, variables: Mapping[str, str]) -> bool:
        """Whether Python starts in the same way with these variables."""
        return _read_at_start(variables) == _read_at_start(self.variables)


def _read_at_start(variables: Mapping[str, str]) -> dict[str, str]:
    names = ("PYTHON", "LC_", "LANG", "OPENBLAS")
    return {name: value for name, value in variables.items() if name.startswith(names)}


@contextmanager
def warm_ellc(python: Path, variables: Mapping[str, str]) -> Iterator[WarmEllc]:
    """A launcher of the `ellc` that `python` imports."""
    given = dict(variables)
    with tempfile.TemporaryDirectory(prefix="ellc-warm-") as folder:
        path = f"{folder}/socket"
        launcher = Path(folder, "bin", "ellc")
        launcher.parent.mkdir()
        launcher.write_text(_LAUNCHER.format(python=sys.executable, path=path))
        launcher.chmod(0o755)
        server = subprocess.Popen(
            [python, "-P", _SERVER, path],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            cwd=folder,
            env=given,
        )
        assert server.stdout is not None
        try:
            assert server.stdout.readline() == b"ready\n"
            yield WarmEllc(launcher, given)
        finally:
            server.terminate()
            server.wait()
            server.stdout.close()

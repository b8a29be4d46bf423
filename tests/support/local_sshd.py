"""An ssh server on this machine, run by this user; it stands for the board in tests."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

BOARD = "board"
"""The host name of the server."""


@dataclass(frozen=True)
class LocalBoard:
    """A running server, and the ssh command that connects to it by the name `BOARD`."""

    command: tuple[str, ...]
    log: Path

    @property
    def options(self) -> tuple[str, ...]:
        """The options with which ellc connects to this board."""
        return ("--ssh", BOARD, "--ssh-command", shlex.join(self.command))


def find_sshd() -> str | None:
    """The path of `sshd`, which need not be in the search path; None if there is none."""
    return shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def why_not() -> str:
    """The reason why no server can be started; empty if one can be started."""
    missing = [name for name in ("ssh", "ssh-keygen") if shutil.which(name) is None]
    if find_sshd() is None or missing:
        return f"no {', '.join(missing) or 'sshd'} (Debian: openssh-server, openssh-client)"
    return ""


@contextmanager
def local_board(folder: Path, home: Path) -> Iterator[LocalBoard]:
    """A server on a free port of 127.0.0.1, with new keys in `folder` and the home `home`."""
    if os.getuid() == 0:  # Debian's sshd needs this folder, which only its service makes
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    for name in ("user", "host"):
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
    port = _free_port()
    settings = [
        f"ListenAddress 127.0.0.1:{port}",
        f"HostKey {folder / 'host'}",
        f"AuthorizedKeysFile {folder / 'user.pub'}",
        "PidFile none",
        "StrictModes no",
        "UsePAM no",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        f"SetEnv HOME={home}",
    ]
    (folder / "sshd_config").write_text("\n".join(settings) + "\n")
    kind, key, *_ = (folder / "host.pub").read_text().split()
    (folder / "known").write_text(f"[127.0.0.1]:{port} {kind} {key}\n")
    hosts = [
        f"Host {BOARD}",
        "  HostName 127.0.0.1",
        f"  Port {port}",
        f"  IdentityFile {folder / 'user'}",
        "  IdentitiesOnly yes",
        f"  UserKnownHostsFile {folder / 'known'}",
    ]
    (folder / "ssh_config").write_text("\n".join(hosts) + "\n")
    sshd = find_sshd()
    assert sshd is not None
    log = folder / "log"
    with log.open("wb") as errors:
        server = subprocess.Popen(
            [sshd, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=errors
        )
        try:
            _wait_for(port, server, log)
            yield LocalBoard(("ssh", "-F", str(folder / "ssh_config")), log)
        finally:
            server.terminate()
            server.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(200):
        if server.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"sshd does not listen: {log.read_text()}")

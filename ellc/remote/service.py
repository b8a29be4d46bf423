"""A systemd unit that starts a command in a deployed folder when the board starts."""

from __future__ import annotations

from ellc.ir.errors import EllcError
from ellc.remote.connection import Connection


def check_command(command: str) -> None:
    """Raise `EllcError` E636 for a command that is no single line."""
    if not command.strip() or not command.isprintable():
        raise EllcError(
            f"the command of a service is one line of text, not {command!r}",
            code="E636",
            hint="put a longer command into a script, and copy that by --with",
        )


def unit_text(name: str, folder: str, command: str) -> bytes:
    """The unit of a user's own systemd: no root is needed, and cameras work as for the user.

    Raises `EllcError` E636 as `check_command`.
    """
    check_command(command)
    quoted = command.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f"""\
# Made by `ellc deploy --service`.
[Unit]
Description={name}

[Service]
WorkingDirectory={folder.replace("%", "%%")}
ExecStart=/bin/sh -c "{quoted}"
Restart=on-failure
RestartSec=5

[Install]
WantedBy=default.target
""".encode()


def unit_name(name: str) -> str:
    """The file name of the unit for a network."""
    return f"{name}.service"


def start_commands(connection: Connection, folder: str, name: str) -> tuple[str, ...]:
    """The commands by which the user starts the service now and with every start of the board."""
    unit = unit_name(name)
    return (
        connection.shown("loginctl", "enable-linger"),
        connection.shown("systemctl", "--user", "enable", f"{folder}/{unit}"),
        connection.shown("systemctl", "--user", "restart", unit),
    )

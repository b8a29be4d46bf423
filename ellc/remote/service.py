"""A systemd unit that starts a command in a deployed folder when the board starts."""

from __future__ import annotations

from ellc.ir.errors import EllcError
from ellc.remote.connection import Connection


def check_command(command: str) -> None:
    """Raise `EllcError` E636 for a command that is empty or is not one line of printable text."""
    if not command.strip() or not command.isprintable():
        raise EllcError(
            f"the command of a service must be one line of text, not {command!r}",
            code="E636",
            hint="put a longer command into a script, and copy the script with --with",
        )


def unit_text(name: str, folder: str, command: str) -> bytes:
    """The text of a systemd unit that runs `command` in `folder`.

    It is a unit of the user's systemd instance, not of the system: root is not needed, and the
    command has the user's access to cameras. Raises `EllcError` E636 as `check_command`.
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
    """The commands with which a user starts the service now and at every boot."""
    unit = unit_name(name)
    return (
        connection.shown("loginctl", "enable-linger"),
        connection.shown("systemctl", "--user", "enable", f"{folder}/{unit}"),
        connection.shown("systemctl", "--user", "restart", unit),
    )

"""The process from which `warm_start.py` forks command lines: `python warm_server.py SOCKET`.

It imports all of ellc and reads the templates for generated code. Then it forks a process for each
connection. The other side sends its standard streams, and a line of JSON with the arguments, the
working folder and the environment variables; it receives the exit status. If it closes the
connection before, the process is killed.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import json
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import sys
from typing import Any

_MOST_BYTES = 1 << 20


def prepare() -> None:
    """Do what commands do whatever their arguments are."""
    import ellc

    for module in pkgutil.walk_packages(ellc.__path__, "ellc."):
        if not module.name.endswith("__main__"):
            with contextlib.suppress(ImportError):  # a package that is not installed
                importlib.import_module(module.name)
    from ellc.codegen.languages import foreign_text, render

    for language in (foreign_text.CCode, foreign_text.PythonCode, foreign_text.JsCode):
        templates = render.environment(language)
        for name in templates.list_templates(["j2"]):
            with contextlib.suppress(Exception):  # a template of another language
                templates.get_template(name)
    gc.collect()
    gc.freeze()


class Server:
    """Forks a process for each connection."""

    def __init__(self, path: str) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen()
        self._ready = selectors.DefaultSelector()
        self._ready.register(self._listener, selectors.EVENT_READ)
        self._running: dict[int, tuple[int, socket.socket]] = {}
        """The number and the connection of a process, by its descriptor."""

    def serve(self) -> None:
        """Wait for connections. Only forked processes return."""
        print("ready", flush=True)
        while True:
            for key, _ in self._ready.select():
                if key.fileobj is self._listener:
                    if self._forked():
                        return
                elif key.fd in self._running:
                    self._report(key.fd)
                else:  # nobody waits for this process any more
                    self._ready.unregister(key.fileobj)
                    os.kill(key.data, signal.SIGKILL)

    def _forked(self) -> bool:
        """Start a process for the next connection; whether this is that process."""
        connection, _ = self._listener.accept()
        streams, request = _request(connection)
        pid = os.fork()
        if pid == 0:
            self._close()
            connection.close()
            _become(streams, request)
            return True
        for stream in streams:
            os.close(stream)
        process = os.pidfd_open(pid)
        self._running[process] = pid, connection
        self._ready.register(process, selectors.EVENT_READ)
        self._ready.register(connection, selectors.EVENT_READ, pid)
        return False

    def _report(self, process: int) -> None:
        """Send the exit status of a process that has ended."""
        pid, connection = self._running.pop(process)
        _, status = os.waitpid(pid, 0)
        self._ready.unregister(process)
        with contextlib.suppress(KeyError):
            self._ready.unregister(connection)
        with contextlib.suppress(OSError):
            connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
        os.close(process)
        connection.close()

    def _close(self) -> None:
        self._ready.close()
        self._listener.close()
        for process, (_, connection) in self._running.items():
            os.close(process)
            connection.close()


def _request(connection: socket.socket) -> tuple[list[int], dict[str, Any]]:
    """The standard streams and the request of a connection."""
    text, streams, _, _ = socket.recv_fds(connection, _MOST_BYTES, 3)
    while not text.endswith(b"\n"):
        text += connection.recv(_MOST_BYTES)
    request = json.loads(text)
    assert isinstance(request, dict)
    return streams, request


def _become(streams: list[int], request: dict[str, Any]) -> None:
    """Make this process the one that a request describes."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    for name in ("stdin", "stdout", "stderr"):
        setattr(sys, f"__{name}__", _opened_like(getattr(sys, name)))
        setattr(sys, name, getattr(sys, f"__{name}__"))
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["variables"])
    sys.argv = ["ellc", *request["arguments"]]


def _opened_like(old: io.TextIOWrapper) -> io.TextIOWrapper:
    """A standard stream as Python opens it: the old object is for another kind of file."""
    mode = "r" if old.fileno() == 0 else "w"
    made = open(  # noqa: SIM115  (closed at exit)
        old.fileno(), mode, encoding=old.encoding, errors=old.errors, closefd=False
    )
    is_error = old.fileno() == 2
    made.reconfigure(
        line_buffering=is_error or made.line_buffering, write_through=old.write_through
    )
    return made


if __name__ == "__main__":
    prepare()
    Server(sys.argv[1]).serve()
    runpy.run_module("ellc", run_name="__main__", alter_sys=True)

"""A headless Chromium that is controlled through a pipe, with the DevTools protocol."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAMS = ("chromium-headless-shell", "chromium", "google-chrome", "chromium-browser")
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-quic"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--remote-debugging-pipe"),
)


def find_browser() -> str | None:
    """The path of a Chromium; None if there is none."""
    return next((path for name in PROGRAMS if (path := shutil.which(name))), None)


class Tab:
    """A page. `errors` collects errors on its console, `requests` all addresses that it loads."""

    def __init__(self, reader: int, writer: int) -> None:
        self._reader, self._writer = os.fdopen(reader, "rb"), os.fdopen(writer, "wb")
        self._number, self._session = 0, ""
        self.errors: list[str] = []
        self.requests: list[str] = []
        self._loaded = self._shown = False

    def open(self, address: str, width: int, height: int, colours: str = "light") -> None:
        """Show a page to a reader who prefers `light` or `dark`, and wait until it is loaded."""
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self._ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for part in ("Page", "Runtime", "Log", "Network"):
            self._ask(f"{part}.enable")
        self._ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        preferred = {"name": "prefers-color-scheme", "value": colours}
        self._ask("Emulation.setEmulatedMedia", features=[preferred])
        self._loaded = False
        self._ask("Page.navigate", url=address)
        while not self._loaded:
            self._receive()

    def leave(self, program: str) -> None:
        """Run JavaScript that opens another page, and wait until that page is loaded."""
        self._shown = False
        self._ask("Runtime.evaluate", expression=f"setTimeout(() => {{ {program} }})")
        while not self._shown:
            self._receive()

    def evaluate(self, program: str) -> Any:
        """The value of a JavaScript expression; a promise is awaited."""
        answer = self._ask(
            "Runtime.evaluate", expression=program, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            raise AssertionError(json.dumps(answer["exceptionDetails"], indent=1))
        return answer["result"].get("value")

    def click(self, selector: str) -> None:
        """Click in the middle of the first element that matches the selector."""
        where = self.evaluate(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center'}); const r = e.getBoundingClientRect();"
            "return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        place = {"x": where[0], "y": where[1], "button": "left", "clickCount": 1}
        for kind in ("mousePressed", "mouseReleased"):
            self._ask("Input.dispatchMouseEvent", type=kind, **place)

    def drag(self, selector: str, places: Sequence[tuple[float, float]]) -> None:
        """Drag the mouse along positions in an element: fractions of its width and height."""
        left, top, width, height = self.evaluate(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center'}); const r = e.getBoundingClientRect();"
            "return [r.x, r.y, r.width, r.height]; })()"
        )
        kinds = ["mousePressed", *["mouseMoved"] * (len(places) - 1), "mouseReleased"]
        for kind, (x, y) in zip(kinds, [*places, places[-1]], strict=True):
            place = {"x": left + x * width, "y": top + y * height}
            self._ask("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)

    def hover(self, selector: str) -> None:
        """Move the mouse over the middle of the first element that matches."""
        where = self.evaluate(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center'}); const r = e.getBoundingClientRect();"
            "return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        self._ask("Input.dispatchMouseEvent", type="mouseMoved", x=where[0], y=where[1])

    def resize(self, width: int, height: int) -> None:
        """Change the size of the window, and wait until the page has seen it."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._ask("Emulation.setDeviceMetricsOverride", **size)
        self.evaluate("new Promise((done) => setTimeout(done, 100))")

    def wait_until(self, condition: str) -> None:
        """Wait until a JavaScript expression is true; fails after ten seconds."""
        assert self.evaluate(
            "new Promise((done) => { const end = Date.now() + 10000; const look = () => {"
            f"if ({condition}) done(true); else if (Date.now() > end) done(false);"
            "else setTimeout(look, 10); }; look(); })"
        ), condition

    def choose_files(self, selector: str, paths: Sequence[Path]) -> None:
        """Choose files in a file input."""
        program = f"document.querySelector({json.dumps(selector)})"
        found = self._ask("Runtime.evaluate", expression=program)["result"]["objectId"]
        self._ask("DOM.setFileInputFiles", files=list(map(str, paths)), objectId=found)

    def press(self, key: str) -> None:
        """Press and release a key."""
        for kind in ("keyDown", "keyUp"):
            self._ask("Input.dispatchKeyEvent", type=kind, key=key)

    def screenshot(self, path: Path) -> None:
        """Write a PNG image of the page to a file."""
        path.write_bytes(base64.b64decode(self._ask("Page.captureScreenshot")["data"]))

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._writer.write(json.dumps(message).encode() + b"\0")
        self._writer.flush()
        while (answer := self._receive()).get("id") != self._number:
            pass
        assert "error" not in answer, f"{method}: {answer['error']}"
        result = answer["result"]
        assert isinstance(result, dict)
        return result

    def _receive(self) -> dict[str, Any]:
        text = bytearray()
        while (byte := self._reader.read(1)) != b"\0":
            assert byte, "the browser has ended"
            text += byte
        message: dict[str, Any] = json.loads(text)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, event: str, said: dict[str, Any]) -> None:
        match event:
            case "Page.loadEventFired":
                self._loaded = self._shown = True
            case "Page.frameNavigated" if said.get("type") == "BackForwardCacheRestore":
                self._shown = True
            case "Runtime.exceptionThrown":
                self.errors.append(json.dumps(said["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if said["type"] in ("error", "warning", "assert"):
                self.errors.append(json.dumps(said["args"]))
            case "Log.entryAdded" if said["entry"]["level"] in ("error", "warning"):
                self.errors.append(json.dumps(said["entry"]))
            case "Network.requestWillBeSent":
                self.requests.append(said["request"]["url"])

    def close(self) -> None:
        """Close the pipe."""
        with contextlib.suppress(BrokenPipeError):
            self._writer.close()
        self._reader.close()


@contextmanager
def browser_tab(program: str, folder: Path, limit_s: int = 120) -> Iterator[Tab]:
    """A tab of a new browser, with its profile in `folder`."""
    to_browser, writer = map(_high, os.pipe())
    reader, from_browser = map(_high, os.pipe())
    words = ["timeout", str(limit_s), program, *OPTIONS, f"--user-data-dir={folder}"]
    # The browser reads from file descriptor 3 and writes to file descriptor 4.
    actions = [
        (os.POSIX_SPAWN_DUP2, to_browser, 3),
        (os.POSIX_SPAWN_DUP2, from_browser, 4),
        (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
    ]
    process = os.posix_spawnp(words[0], words, os.environ, file_actions=actions)
    os.close(to_browser)
    os.close(from_browser)
    tab = Tab(reader, writer)
    try:
        yield tab
    finally:
        tab.close()
        os.kill(process, signal.SIGTERM)
        os.waitpid(process, 0)


def _high(descriptor: int) -> int:
    """A copy of a file descriptor with a number that nothing else uses."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return moved

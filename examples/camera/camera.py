"""Classify the pictures of a camera: print labels, frame rate, temperature and throttling as text.

    python3 camera.py NETWORK                       # the Pi's camera, or a USB camera
    python3 camera.py NETWORK --folder PICTURES     # no camera needed
    python3 camera.py NETWORK --clip FILE

NETWORK is the folder that `ellc compile` wrote. Ctrl-C ends the program.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
import signal
import statistics
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

try:
    from board import SYS, Board
    from frames import Frames, from_camera, from_clip, from_folder, from_picamera
    from picture_network import PictureNetwork
except ModuleNotFoundError as error:
    needed = "python3-numpy python3-cffi python3-pil"
    raise SystemExit(f"{error}: copy the whole folder, and sudo apt-get install {needed}") from None

RECENT = 30
"""The number of frames over which rates are averaged."""


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Classify the pictures of a camera.")
    parser.add_argument("network", type=Path, help="folder that `ellc compile` wrote, or NAME.py")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--picamera", action="store_true", help="the Raspberry Pi's own camera")
    source.add_argument("--camera", type=count_from(0), metavar="N", help="a USB camera, from 0")
    source.add_argument("--clip", type=Path, metavar="FILE", help="a video or animated picture")
    source.add_argument("--folder", type=Path, metavar="PICTURES", help="a folder of pictures")
    parser.add_argument("--labels", type=Path, metavar="FILE", help="class names, one a line")
    parser.add_argument("--top", type=count_from(1), default=3, metavar="N", help="labels shown")
    parser.add_argument("--threshold", type=number, default=0.15, help="lowest score shown")
    parser.add_argument("--frames", type=count_from(1), metavar="N", help="stop after N frames")
    parser.add_argument("--threads", type=count_from(1), metavar="N", help="threads of a call")
    parser.add_argument(
        "--interval", type=number, metavar="S", help="seconds between lines [cameras 1, files 0]"
    )
    parser.add_argument("--headless", action="store_true", help="no window, even with a display")
    parser.add_argument("--sys", type=Path, default=SYS, help=argparse.SUPPRESS)
    return parser.parse_args(words)


def number(text: str) -> float:
    """An argument type: a number, which NaN is not."""
    value = float(text)
    if math.isnan(value):
        raise argparse.ArgumentTypeError(f"{text}: not a number")
    return value


def count_from(least: int) -> Any:
    """An argument type: an integer that is at least `least`."""

    def count(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"{text}: at least {least}")
        return value

    return count


def open_source(options: argparse.Namespace) -> tuple[Frames, bool]:
    """The frames that the options ask for, and whether a camera provides them."""
    if options.folder:
        return from_folder(options.folder), False
    if options.clip:
        return from_clip(options.clip), False
    # By default, use the Pi's own camera if its library is installed, else the first other camera.
    own = options.camera is None and importlib.util.find_spec("picamera2") is not None
    if options.picamera or own:
        return from_picamera(), True
    return from_camera(options.camera or 0), True


class Window:
    """A window that shows frames and their labels. Without a display it does nothing."""

    def __init__(self, headless: bool) -> None:
        display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        self._cv2: Any = None
        if display and not headless and importlib.util.find_spec("cv2"):
            import cv2

            self._cv2 = cv2

    def show(self, frame: Any, text: str) -> bool:
        """Show a frame. Returns False once the user has pressed q or Esc."""
        if self._cv2 is None:
            return True
        picture = frame[:, :, ::-1].copy()
        font = self._cv2.FONT_HERSHEY_SIMPLEX
        self._cv2.putText(picture, text, (8, 24), font, 0.6, (0, 255, 0), 2)
        try:
            self._cv2.imshow("ellc camera", picture)
            return self._cv2.waitKey(1) & 0xFF not in (ord("q"), 27)
        except self._cv2.error:  # OpenCV was built without support for windows
            print("camera.py: this OpenCV shows no windows", file=sys.stderr)
            self._cv2 = None
            return True


class Rates:
    """Frames per second and milliseconds per call, both over the last `RECENT` frames."""

    def __init__(self) -> None:
        self._ends: deque[float] = deque([time.perf_counter()], RECENT + 1)
        self._calls: deque[float] = deque(maxlen=RECENT)

    def add(self, call_s: float) -> None:
        """Count a processed frame, whose call of the network took `call_s` seconds."""
        self._ends.append(time.perf_counter())
        self._calls.append(call_s)

    def text(self) -> str:
        """Both rates as text."""
        if not self._calls:
            return "no frames"
        seconds = max(self._ends[-1] - self._ends[0], 1e-9)
        milliseconds = 1e3 * statistics.median(self._calls)
        return f"{milliseconds:.2f} ms, {len(self._calls) / seconds:.1f} frames/s"


class BoardState:
    """Temperature and throttling in words. The sensors are read at most once per second."""

    def __init__(self, board: Board) -> None:
        self._board, self._asked_s, self._text = board, float("-inf"), ""

    def text(self, now_s: float) -> str:
        """The state as text, at most a second old."""
        if now_s - self._asked_s >= 1:
            self._asked_s, self._text = now_s, self._board.text()
        return self._text


def watch(options: argparse.Namespace, network: PictureNetwork, rates: Rates) -> int:
    """Classify frames until there are no more. Returns the number of frames."""
    state, window = BoardState(Board(options.sys)), Window(options.headless)
    frames, live = open_source(options)
    interval = options.interval if options.interval is not None else float(live)
    done, last = 0, -interval
    for name, frame in frames:
        pixels = network.pixels(frame)
        start = time.perf_counter()
        scores = network.scores(pixels)
        end = time.perf_counter()
        rates.add(end - start)
        done += 1
        best = network.best(scores, options.top, options.threshold)
        labels = ", ".join(f"{label} {score:.2f}" for label, score in best)
        labels = labels or f"no score reaches {options.threshold:g}"
        if end - last >= interval:
            print(f"{name}: {labels} | {rates.text()}, {state.text(end)}", flush=True)
            last = end
        if not window.show(frame, labels) or done == options.frames:
            break
    return done


def stop(signal_number: int, frame: Any) -> None:
    """Handle SIGTERM like Ctrl-C, since systemd stops programs with SIGTERM."""
    raise KeyboardInterrupt


def main() -> None:
    """Run the program."""
    options = parse_arguments()
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # end silently when `head` has enough
    network = PictureNetwork(options.network, options.labels, options.threads)
    rates = Rates()
    try:
        done = watch(options, network, rates)
        print(f"{done} frames")
    except KeyboardInterrupt:
        print(f"\nended: {rates.text()}")


if __name__ == "__main__":
    main()

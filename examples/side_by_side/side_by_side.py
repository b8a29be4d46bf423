"""Run two compiled networks on the same pictures, and print labels and times next to each other.

    python3 side_by_side.py NETWORK OTHER --folder PICTURES

For example, compare a float network with its 8-bit or binary version, a small network with a large
one, or the same network compiled with different options. NETWORK and OTHER are folders that
`ellc compile` wrote. Both networks must have the same classes. The folder `camera` of these
examples must be next to the folder of this program.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CAMERA = Path(__file__).resolve().parent.parent / "camera"
sys.path.append(str(CAMERA))
try:
    from frames import Frames, from_camera, from_clip, from_folder, from_picamera
    from picture_network import PictureNetwork
except ModuleNotFoundError as error:
    raise SystemExit(
        f"{error}: the folder {CAMERA} must exist, and numpy, cffi and Pillow must be installed:"
        " sudo apt-get install python3-numpy python3-cffi python3-pil"
    ) from None

WIDTH = 28
"""The width of a column, in characters."""


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Run two networks on the same pictures.")
    for name in ("network", "other"):
        parser.add_argument(name, type=Path, help="folder that `ellc compile` wrote, or NAME.py")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--folder", type=Path, metavar="PICTURES", help="a folder of pictures")
    source.add_argument("--clip", type=Path, metavar="FILE", help="a video or animated picture")
    source.add_argument("--camera", type=int, metavar="N", help="a USB camera, from 0")
    source.add_argument("--picamera", action="store_true", help="the Raspberry Pi's own camera")
    parser.add_argument("--labels", type=Path, metavar="FILE", help="class names, one a line")
    parser.add_argument("--frames", type=int, metavar="N", help="stop after N pictures")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads of a call")
    options = parser.parse_args(words)
    for name, least in (("camera", 0), ("frames", 1), ("threads", 1)):
        value = getattr(options, name)
        if value is not None and value < least:
            parser.error(f"--{name} {value}: at least {least}")
    return options


def source_of(options: argparse.Namespace) -> Frames:
    """The pictures that the options ask for."""
    if options.folder:
        return from_folder(options.folder)
    if options.clip:
        return from_clip(options.clip)
    return from_picamera() if options.picamera else from_camera(options.camera)


@dataclass
class Side:
    """One of the two networks and the milliseconds of its calls."""

    network: PictureNetwork
    times_ms: list[float] = field(default_factory=list)

    def look(self, frame: Any) -> tuple[str, str]:
        """Classify a picture. Returns its label, and the text of its column."""
        pixels = self.network.pixels(frame)
        start = time.perf_counter()
        scores = self.network.scores(pixels)
        self.times_ms.append(1e3 * max(time.perf_counter() - start, 1e-9))
        label, score = self.network.best(scores, 1, float("-inf"))[0]
        return label, f"{label[: WIDTH - 16]} {score:.2f}  {self.times_ms[-1]:.2f} ms"

    def median_ms(self) -> float:
        """The median time of a call, in milliseconds."""
        return statistics.median(self.times_ms)


@dataclass
class Tally:
    """The number of pictures so far, and the number on which both networks agree."""

    seen: int = 0
    agreed: int = 0

    def look(self, sides: tuple[Side, Side], frames: Frames, most: int | None) -> None:
        """Classify at most `most` pictures with both networks, and print and count the results."""
        for name, frame in frames:
            (first, left), (second, right) = (side.look(frame) for side in sides)
            self.seen, self.agreed = self.seen + 1, self.agreed + (first == second)
            mark = "" if first == second else "  differ"
            print(f"{name:<20.20}  {left:<{WIDTH}}  {right:<{WIDTH}}{mark}".rstrip(), flush=True)
            if self.seen == most:
                return


def summary(sides: tuple[Side, Side], tally: Tally) -> str:
    """The agreement and the median times as two lines of text."""
    if not tally.seen:
        return "no pictures"
    slow, quick = sorted(sides, key=Side.median_ms, reverse=True)
    times = ", ".join(f"{side.network.name} {side.median_ms():.3f} ms" for side in sides)
    factor = slow.median_ms() / quick.median_ms()
    return (
        f"they agree on {tally.agreed} of {tally.seen} ({100 * tally.agreed / tally.seen:.1f} %)\n"
        f"median of a call: {times}; {quick.network.name} is {factor:.1f} x as fast"
    )


def open_sides(options: argparse.Namespace) -> tuple[Side, Side]:
    """Load both networks, which must have the same classes."""
    first, second = (
        Side(PictureNetwork(path, options.labels, options.threads))
        for path in (options.network, options.other)
    )
    name, other = first.network.name, second.network.name
    if first.network.labels != second.network.labels:
        raise SystemExit(f"{name} and {other} name their classes differently: give --labels FILE")
    return first, second


def main() -> None:
    """Run the program."""
    options = parse_arguments()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # end silently when `head` has enough
    sides, tally = open_sides(options), Tally()
    names = [side.network.name for side in sides]
    print(f"{'':<20}  {names[0]:<{WIDTH}}  {names[1]}")
    try:
        tally.look(sides, source_of(options), options.frames)
    except KeyboardInterrupt:
        print()
    print(summary(sides, tally))


if __name__ == "__main__":
    main()

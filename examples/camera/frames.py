"""Sources of frames: a camera, a clip, or a folder of pictures.

For each frame, every source yields a name and the pixels: uint8 [rows, columns, 3], in the order
red, green, blue. If a source cannot be read, the program ends with a message that says what to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError

Frames = Iterator[tuple[str, Any]]
PICTURES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".webp")
ANIMATIONS = (".apng", ".gif", ".png", ".webp")
"""The suffixes of clips that Pillow reads. All other clips need OpenCV."""
CAPTURE_SIZE = (640, 480)
NEEDS_OPENCV = "needs OpenCV: sudo apt-get install python3-opencv"


def from_folder(folder: Path) -> Frames:
    """The pictures of a folder, sorted by name."""
    if not folder.is_dir():
        raise SystemExit(f"{folder}: no such folder")
    files = sorted(f for f in folder.iterdir() if f.suffix.lower() in PICTURES)
    if not files:
        raise SystemExit(f"{folder}: no pictures there ({', '.join(PICTURES)})")
    for file in files:
        yield file.name, picture(file)


def picture(file: Path) -> Any:
    """The pixels of a picture, rotated as its EXIF data says."""
    try:
        with Image.open(file) as opened:
            return np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise SystemExit(f"{file}: not a picture that can be read: {error}") from None


def from_clip(file: Path) -> Frames:
    """The frames of a video file or of an animated picture."""
    if not file.is_file():
        raise SystemExit(f"{file}: no such file")
    return _animation(file) if file.suffix.lower() in ANIMATIONS else _video(file)


def _animation(file: Path) -> Frames:
    try:
        with Image.open(file) as opened:
            for number, frame in enumerate(ImageSequence.Iterator(opened)):
                yield f"frame {number}", np.asarray(frame.convert("RGB"))
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise SystemExit(f"{file}: not a clip that can be read: {error}") from None


def _video(file: Path) -> Frames:
    cv2 = _opencv(f"{file}: a clip of this kind {NEEDS_OPENCV}")
    capture = cv2.VideoCapture(str(file))
    number = -1
    for number, frame in enumerate(_captured(capture)):
        yield f"frame {number}", frame
    if number < 0:
        raise SystemExit(f"{file}: OpenCV finds no frames in it")


def from_camera(index: int) -> Frames:
    """Frames of a camera that OpenCV supports, such as a USB camera or a laptop's."""
    cv2 = _opencv(f"a camera {NEEDS_OPENCV}")
    capture = cv2.VideoCapture(index)
    capture.set(cv2.CAP_PROP_FRAME_WIDTH, CAPTURE_SIZE[0])
    capture.set(cv2.CAP_PROP_FRAME_HEIGHT, CAPTURE_SIZE[1])
    number = -1
    for number, frame in enumerate(_captured(capture)):
        yield f"frame {number}", frame
    what = "no camera there" if number < 0 else "the camera gives no more frames"
    raise SystemExit(f"camera {index}: {what}; `--folder` and `--clip` need none")


def from_picamera() -> Frames:
    """Frames of the Raspberry Pi's own camera."""
    try:
        from picamera2 import Picamera2
    except ImportError:
        raise SystemExit(
            "the Pi's camera needs picamera2: sudo apt-get install python3-picamera2;"
            " `--camera 0` takes a USB camera"
        ) from None
    if not Picamera2.global_camera_info():
        raise SystemExit("picamera2 finds no camera: is its ribbon cable the right way round?")
    camera = Picamera2()
    # In the format that picamera2 calls BGR888, each pixel of the array begins with red.
    main = {"size": CAPTURE_SIZE, "format": "BGR888"}
    camera.configure(camera.create_video_configuration(main=main))
    camera.start()
    try:
        number = 0
        while True:
            yield f"frame {number}", camera.capture_array("main")
            number += 1
    finally:
        camera.stop()


def _opencv(otherwise: str) -> Any:
    try:
        import cv2
    except ImportError:
        raise SystemExit(otherwise) from None
    return cv2


def _captured(capture: Any) -> Iterator[Any]:
    try:
        while True:
            there, frame = capture.read()
            if not there:
                return
            yield frame[:, :, ::-1]  # OpenCV's pixels begin with blue
    finally:
        capture.release()

"""The camera example: its labels for recorded clips are those of the network's reference."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from board import Board, throttling_text
from digit_clips import Clip, Program
from PIL import Image
from readme import fenced_blocks

from ellc.driver import CompileOptions, compile_model

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "camera"
LINE = re.compile(
    r"(?P<name>[^:]+): (?P<label>\w+) (?P<score>[\d.]+)[^|]* \| [\d.]+ ms, [\d.]+ frames/s, "
    r"(?P<board>.+)"
)

pytestmark = pytest.mark.slow


def check(output: str, clip: Clip, names: list[str], tolerance: float = 0.006) -> list[str]:
    """Compare the label and score of every frame with the reference; returns texts on the board."""
    *lines, last = output.splitlines()
    assert last == f"{len(clip.labels)} frames"
    found = [LINE.fullmatch(line) for line in lines]
    assert all(found), output
    assert [m["name"] for m in found if m] == names
    assert tuple(m["label"] for m in found if m) == clip.labels
    scores = [float(m["score"]) for m in found if m]
    np.testing.assert_allclose(scores, clip.scores, atol=tolerance)  # two digits are printed
    return [m["board"] for m in found if m]


@pytest.fixture(scope="module")
def sys_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like /sys of a Raspberry Pi that is hot and has a weak power supply."""
    folder = tmp_path_factory.mktemp("sys")
    firmware = folder / "devices/platform/soc/soc:firmware"
    files = {
        "class/thermal/thermal_zone0/type": "bat",
        "class/thermal/thermal_zone0/temp": "21000",
        "class/thermal/thermal_zone1/type": "cpu-thermal",
        "class/thermal/thermal_zone1/temp": "81234",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{text}\n")
    firmware.mkdir(parents=True)
    (firmware / "get_throttled").write_text("50004\n")
    return folder


HOT = "81.2 °C, throttled, under-voltage earlier"


# ---- Python -------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [1, 5])
def test_a_folder_of_pictures(
    clip: Clip,
    digits_network: Path,
    sys_folder: Path,
    python_program: Program,
    tmp_path: Path,
    times: int,
) -> None:
    pictures = clip.save(tmp_path / "pictures", "png", times)
    words = ("--folder", pictures, "--sys", sys_folder)
    ran = python_program("camera/camera.py", digits_network, *words)
    assert ran.returncode == 0, ran.stderr
    names = [f"{i}.png" for i in range(len(clip.labels))]
    # Scaling down smooths the edges of the enlarged pixels slightly.
    said = check(ran.stdout, clip, names, tolerance=0.006 if times == 1 else 0.1)
    assert set(said) == {HOT}


def test_an_animation(
    clip: Clip, digits_network: Path, python_program: Program, tmp_path: Path
) -> None:
    file = tmp_path / "clip.png"
    first, *others = map(Image.fromarray, clip.frames)
    first.save(file, save_all=True, append_images=others)
    ran = python_program("camera/camera.py", digits_network, "--clip", file, "--sys", tmp_path)
    said = check(ran.stdout, clip, [f"frame {i}" for i in range(len(clip.labels))])
    assert set(said) == {"temperature not known, throttling not known"}
    few = python_program(
        *("camera/camera.py", digits_network, "--clip", file, "--frames", "2", "--top", "1")
    )
    assert len(few.stdout.splitlines()) == 3


def test_a_video(clip: Clip, digits_network: Path, python_program: Program, tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    file, size = tmp_path / "clip.avi", (64, 64)
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*"MJPG"), 5, size)
    for frame in clip.frames:
        writer.write(np.repeat(frame.repeat(8, 0).repeat(8, 1)[..., np.newaxis], 3, 2))
    writer.release()
    ran = python_program("camera/camera.py", digits_network, "--clip", file)
    check(ran.stdout, clip, [f"frame {i}" for i in range(len(clip.labels))], tolerance=0.1)


FAKE_LIBRARIES = {
    "cv2": """
import numpy
CAP_PROP_FRAME_WIDTH = CAP_PROP_FRAME_HEIGHT = 0
class VideoCapture:
    def __init__(self, index): self.frames = list(numpy.load("frames.npy"))
    def set(self, name, value): pass
    def release(self): pass
    def read(self):
        grey = self.frames.pop(0) if self.frames else None
        return grey is not None, None if grey is None else numpy.stack([grey] * 3, 2)
""",
    "picamera2": """
import numpy, os, signal
class Picamera2:
    @staticmethod
    def global_camera_info(): return [1]
    def create_video_configuration(self, main): return main
    def configure(self, main): assert main["format"] == "BGR888"
    def start(self): self.frames = list(numpy.load("frames.npy"))
    def stop(self): print("stopped")
    def capture_array(self, name):
        if not self.frames: os.kill(os.getpid(), signal.SIGTERM)
        return numpy.stack([self.frames.pop(0)] * 3, 2)
""",
}


@pytest.mark.parametrize("library", FAKE_LIBRARIES)
def test_cameras_give_frames_until_they_end_or_the_service_is_stopped(
    library: str, clip: Clip, digits_network: Path, python_program: Program, tmp_path: Path
) -> None:
    (tmp_path / f"{library}.py").write_text(FAKE_LIBRARIES[library])
    np.save(tmp_path / "frames.npy", clip.frames)
    ran = python_program(
        *("camera/camera.py", digits_network, "--interval", "0"), env={"PYTHONPATH": str(tmp_path)}
    )
    labels = [m["label"] for line in ran.stdout.splitlines() if (m := LINE.fullmatch(line))]
    assert tuple(labels) == clip.labels
    if library == "picamera2":
        assert ran.returncode == 0
        assert "stopped" in ran.stdout and "ended: " in ran.stdout.splitlines()[-1]
    else:
        assert ran.returncode == 1
        assert ran.stderr.startswith("camera 0: the camera gives no more frames")


def test_what_the_board_says(sys_folder: Path, tmp_path: Path) -> None:
    assert Board(sys_folder).text() == HOT
    nothing = Board(tmp_path)
    assert nothing.temperature_c() is None
    assert throttling_text(0) == "not throttled"
    assert throttling_text(None) == "throttling not known"
    assert throttling_text(0xF0000).count("earlier") == 4


def test_the_firmware_is_asked_where_no_file_says_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tool = tmp_path / "vcgencmd"
    tool.write_text('#!/bin/sh\n[ "$1" = get_throttled ] && echo throttled=0x1\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert Board(tmp_path).text() == "temperature not known, under-voltage"
    tool.write_text("#!/bin/sh\necho what >&2; exit 1\n")
    assert Board(tmp_path).throttled() is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nowhere", "--folder", "x"), "nowhere: not the NAME.py"),
        ((EXAMPLE, "--folder", "x"), "it must hold one compiled network"),
        (("NETWORK", "--folder", "nowhere"), "nowhere: no such folder"),
        (("NETWORK", "--folder", EXAMPLE), "no pictures there"),
        (("NETWORK", "--clip", "nowhere.avi"), "nowhere.avi: no such file"),
        (("NETWORK", "--clip", "damaged.gif"), "damaged.gif: not a clip"),
        (("NETWORK", "--picamera"), "apt-get install python3-picamera2"),
        (("NETWORK", "--labels", "nowhere", "--folder", "x"), "nowhere: No such file"),
        (("NETWORK", "--labels", "damaged.gif", "--folder", "x"), "10, but labels: 1"),
        (("NETWORK", "--labels", "empty", "--folder", "x"), "10, but labels: 0"),
        (("NETWORK", "--top", "0"), "argument --top: 0: at least 1"),
        (("NETWORK", "--folder", "x", "--clip", "y"), "not allowed with argument"),
    ],
)
def test_mistakes_are_said_in_words(
    words: tuple[str | Path, ...],
    said: str,
    digits_network: Path,
    python_program: Program,
    tmp_path: Path,
) -> None:
    (tmp_path / "damaged.gif").write_text("what")
    (tmp_path / "empty").touch()
    ran = python_program(
        "camera/camera.py", *(digits_network if w == "NETWORK" else w for w in words)
    )
    assert ran.returncode != 0
    assert said in ran.stderr and "Traceback" not in ran.stderr


def test_a_network_that_takes_no_pixels(python_program: Program, tmp_path: Path) -> None:
    compile_model(ROOT / "examples/digits/digits.onnx", "host", CompileOptions(), tmp_path / "out")
    ran = python_program("camera/camera.py", tmp_path / "out", "--folder", ".")
    assert "is float32 (1, 1, 8, 8), not pixels. Compile it so" in ran.stderr


def test_eight_bit_networks_take_pixels(
    clip: Clip, python_program: Program, tmp_path: Path
) -> None:
    model, out = ROOT / "examples/digits/digits8.tflite", tmp_path / "out"
    compile_model(model, "host", CompileOptions(), out)
    pictures = clip.save(tmp_path / "pictures", "png")
    labels = ROOT / "examples/digits/images/labels.txt"
    words = ("--folder", pictures, "--labels", labels)
    ran = python_program("camera/camera.py", out, *words)
    check(ran.stdout, clip, [f"{i}.png" for i in range(len(clip.labels))], tolerance=0.1)


def test_the_service_finds_what_the_readme_copies(
    clip: Clip, digits_network: Path, tmp_path: Path
) -> None:
    """Run the README's lines with `scp`, then the command of the service, in a fake home folder."""
    board = tmp_path / "home"
    for folder in (board, tmp_path / "out", tmp_path / "bin"):
        folder.mkdir()
    shutil.copytree(digits_network, tmp_path / "out" / "pi")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    scp = tmp_path / "bin" / "scp"
    scp.write_text(f'#!/bin/sh\ncp -rL "$2" "{board}/${{3#pi@raspberrypi.local:}}"\n')
    scp.chmod(0o755)
    readme = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    blocks = "".join(b.text for b in fenced_blocks(readme) if b.language == "sh")
    lines = "\n".join(line for line in blocks.splitlines() if line.startswith("scp "))
    subprocess.run(
        ["sh", "-euc", lines], cwd=tmp_path, env={"PATH": f"{scp.parent}:/usr/bin:/bin"}, check=True
    )

    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(board / "camera" / "camera.service")
    service = unit["Service"]
    python, *words = shlex.split(service["ExecStart"])
    assert python == "/usr/bin/python3"
    ran = subprocess.run(
        [sys.executable, *words, "--folder", clip.save(tmp_path / "seen", "png"), "--interval=0"],
        cwd=service["WorkingDirectory"].replace("%h", str(board)),
        capture_output=True,
        text=True,
        check=True,
    )
    check(ran.stdout, clip, [f"{i}.png" for i in range(len(clip.labels))])


# ---- C++ ----------------------------------------------------------------------------------------

needs_compilers = pytest.mark.skipif(
    not (shutil.which("cmake") and shutil.which("c++") and shutil.which("cc")),
    reason="cmake or a C++ compiler is not installed",
)


@pytest.fixture(scope="module")
def camera(digits_network: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The C++ program, built without OpenCV."""
    build = tmp_path_factory.mktemp("camera") / "build"
    flags = "-Wall -Wextra -Werror"
    words = (
        *("-DNETWORK=digits", f"-DCMAKE_PREFIX_PATH={digits_network}", "-DCAMERA_OPENCV=OFF"),
        *(f"-DCMAKE_CXX_FLAGS={flags}", "-DCMAKE_BUILD_TYPE=Debug"),
    )
    for command in (("-S", EXAMPLE, "-B", build, *words), ("--build", build)):
        ran = subprocess.run(["cmake", *command], capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr
    return build / "camera"


def call(camera: Path, *words: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    ran = subprocess.run(  # type: ignore[call-overload]
        [camera, *words], capture_output=True, check=False, **options
    )
    out, err = (text.decode() for text in (ran.stdout, ran.stderr))
    return subprocess.CompletedProcess(ran.args, ran.returncode, out, err)


@needs_compilers
@pytest.mark.parametrize("kind", ["pgm", "ppm"])
def test_cpp_a_folder_of_pictures(
    kind: str, clip: Clip, camera: Path, sys_folder: Path, tmp_path: Path
) -> None:
    pictures = clip.save(tmp_path / "pictures", kind, 3)
    ran = call(camera, "--folder", pictures, "--sys", sys_folder)
    assert ran.returncode == 0, ran.stderr
    said = check(ran.stdout, clip, [f"{i}.{kind}" for i in range(len(clip.labels))])
    assert set(said) == {HOT}


def luma(frames: np.ndarray) -> np.ndarray:
    """Grey levels in video's range, 16 to 235."""
    return np.rint(16 + frames * (219 / 255)).astype(np.uint8)


@needs_compilers
def test_cpp_raw_frames_from_a_pipe(clip: Clip, camera: Path) -> None:
    grey = bytes([128])
    film = b"".join(
        frame.repeat(2, 0).repeat(2, 1).tobytes() + grey * 128 for frame in luma(clip.frames)
    )
    names = [f"frame {i}" for i in range(len(clip.labels))]
    ran = call(camera, "--yuv420", "16x16", "--interval", "0", input=film)
    check(ran.stdout, clip, names, tolerance=0.02)
    cut = call(camera, "--yuv420", "16x16", "--interval", "0", input=film[:-1])
    assert cut.returncode == 1
    assert cut.stderr == "camera: standard input ends within a frame: is the size right?\n"


@needs_compilers
def test_cpp_a_camera_without_a_library(clip: Clip, camera: Path, tmp_path: Path) -> None:
    fake, film = tmp_path / "fake.so", tmp_path / "film"
    source = Path(__file__).with_name("fake_camera.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", source, "-o", fake, "-ldl"], check=True)
    large = luma(clip.frames).repeat(4, 1).repeat(4, 2)
    film.write_bytes(np.stack([large, np.full_like(large, 128)], -1).tobytes())
    variables = {
        "LD_PRELOAD": str(fake),
        "FAKE_CAMERA": str(film),
        "PATH": "/usr/bin:/bin",
        "FAKE_ROWS": "32",
        "FAKE_COLUMNS": "32",
    }
    ran = call(camera, "--camera", "7", "--interval", "0", env=variables)
    labels = [m["label"] for line in ran.stdout.splitlines() if (m := LINE.fullmatch(line))]
    assert tuple(labels) == clip.labels
    assert ran.stderr.startswith("camera: /dev/video7: the camera gives no more frames")
    other = call(camera, "--camera", "7", env={**variables, "FAKE_MJPEG": "1"})
    assert other.stderr.startswith("camera: /dev/video7: the camera has no YUYV")


@needs_compilers
def test_cpp_ends_by_a_signal_while_it_waits(camera: Path) -> None:
    with subprocess.Popen(
        [camera, "--yuv420", "16x16"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as program:
        assert program.stdin is not None and program.stdout is not None
        program.stdin.write(bytes(384))
        program.stdin.flush()
        assert program.stdout.readline().startswith(b"frame 0: ")
        time.sleep(0.2)
        program.send_signal(signal.SIGTERM)
        assert program.wait(10) == 0
        assert program.stdout.read() == b"1 frames\n"


@needs_compilers
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--folder", "nowhere"), "nowhere: no such folder"),
        (("--folder", "."), "built without OpenCV"),
        (("--clip", "x.avi"), "a clip needs OpenCV"),
        (("--camera", "63"), "/dev/video63: No such file or directory; is there a camera?"),
        (("--camera",), "--camera: unknown, or without a value"),
        (("--what", "1"), "--what: unknown"),
        (("--top", "0"), "--top 0: not a number that this option accepts"),
        (("--yuv420", "15x16"), "even numbers"),
        (("--yuv420", "16"), "COLUMNSxROWS"),
        (("--folder", ".", "--camera", "0"), "one source at a time"),
        (("--labels", "nowhere"), "nowhere: No such file"),
        (("--labels", "one"), "classes of the network: 10, but labels: 1"),
        (("--threads", "1000"), "the network cannot use that many threads"),
        (("--folder", "damaged"), "1.ppm: the file ends within the picture"),
        (("--folder", "wide"), "1.ppm: not a binary PPM or PGM picture"),
    ],
)
def test_cpp_mistakes_are_said_in_words(
    words: tuple[str, ...], said: str, camera: Path, tmp_path: Path
) -> None:
    (tmp_path / "one").write_text("one\n\n")
    for name, text in (("damaged", "P6 # here\n8 8\n255\nabc"), ("wide", "P6 99999 99999 255 ")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.ppm").write_text(text)
    ran = call(camera, *words, cwd=tmp_path)
    assert ran.returncode == 1 and ran.stderr.startswith("camera: ")
    assert said in ran.stderr


@needs_compilers
def test_cpp_a_network_that_takes_no_pixels(tmp_path: Path) -> None:
    model, out = ROOT / "examples/digits/digits_float.ell", tmp_path / "out"
    compile_model(model, "host", CompileOptions(emit=("obj",)), out)
    names = {"NETWORK": "digits_float", "NETWORK_HEADER": '"digits_float.h"'}
    names["NETWORK_LABELS"] = '"digits_float_labels.h"'
    words = [f"-D{key}={value}" for key, value in names.items()]
    ran = subprocess.run(
        ["c++", "-std=c++17", "-fsyntax-only", *words, "-I", out, EXAMPLE / "network.hpp"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode != 0
    assert "compile the network so that it takes pixels" in ran.stderr

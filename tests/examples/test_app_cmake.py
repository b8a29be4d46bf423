"""The CMake application: its error messages, and the 32-bit toolchain file.

`tests/project/test_pages.py` runs the README's commands, which build the application for this
machine, and for 64-bit Arm under an emulator.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from digits_data import LABELS

from ellc.driver import CompileOptions, compile_model

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "app_cmake"
MODEL = ROOT / "examples" / "digits" / "digits8.tflite"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (shutil.which("cmake") and shutil.which("cc")), reason="no cmake or C compiler"
    ),
]


def call(*words: str | Path) -> str:
    """Run a command that must succeed. Returns its standard output."""
    ran = subprocess.run(
        [str(w) for w in words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def application(folder: Path, target: str, *words: str) -> Path:
    """Build the application with a network for a target. Returns the build folder."""
    options = CompileOptions(emit=("so", "obj", "cmake"), labels=LABELS)
    compile_model(MODEL, target, options, folder / "network")
    build = folder / "build"
    call("cmake", "-S", EXAMPLE, "-B", build, f"-DCMAKE_PREFIX_PATH={folder / 'network'}", *words)
    call("cmake", "--build", build)
    return build


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    flags = "-DCMAKE_C_FLAGS=-Wall -Wextra -Werror"
    return application(tmp_path_factory.mktemp("host"), "host", flags)


@pytest.mark.parametrize("label", LABELS)
def test_pictures_binary_and_with_comments(label: str, host: Path, tmp_path: Path) -> None:
    from PIL import Image

    file = tmp_path / "picture.pgm"
    with Image.open(ROOT / "examples/digits/images" / f"{label}.png") as picture:
        pixels = picture.convert("L").tobytes()
    file.write_bytes(b"P5\n# one\n# two\n8 8\n255\n" + pixels)
    assert call(host / "application_static", file).split()[0] == label
    assert call(host / "application_shared", file).split()[0] == label


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "No such file or directory"),
        ("", "not a PGM picture of 8 x 8 pixels"),
        ("P2 8 8 255 " + "1 " * 63, "not a PGM picture"),
        ("P2 9 8 255 " + "1 " * 72, "not a PGM picture"),
        ("P5 8 8 65535 " + "1" * 128, "not a PGM picture"),
        ("P5 8 8 255\n" + "1" * 63, "not a PGM picture"),
        ("P2 #", "not a PGM picture"),
    ],
)
def test_what_is_no_picture(text: str | None, said: str, host: Path, tmp_path: Path) -> None:
    file = tmp_path / "picture.pgm"
    if text is not None:
        file.write_text(text)
    ran = subprocess.run(
        [host / "application_static", file], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1 and not ran.stdout
    assert ran.stderr.startswith(f"{file}: ") and said in ran.stderr


def test_it_says_how_it_is_called(host: Path) -> None:
    ran = subprocess.run([host / "application_static"], capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert ran.stderr.startswith("usage: ")


@pytest.mark.emulated("qemu-arm")
def test_the_32_bit_toolchain(tmp_path: Path) -> None:
    toolchain = f"-DCMAKE_TOOLCHAIN_FILE={EXAMPLE / 'toolchains' / 'pi3.cmake'}"
    python_words = f"-DZIG_PYTHON={sys.executable}"
    build = application(tmp_path, "pi3", toolchain, python_words)
    said = call("ctest", "--test-dir", build)
    assert "100% tests passed, 0 tests failed out of 2" in said


def test_without_zig_the_toolchain_says_what_to_install(tmp_path: Path) -> None:
    ran = subprocess.run(
        [
            *("cmake", "-S", EXAMPLE, "-B", tmp_path, "-DZIG_PYTHON=/bin/false"),
            *("-DZIG_PROGRAM=ZIG_PROGRAM-NOTFOUND", "-DCMAKE_FIND_USE_SYSTEM_ENVIRONMENT_PATH=OFF"),
            f"-DCMAKE_TOOLCHAIN_FILE={EXAMPLE / 'toolchains' / 'pi3_64.cmake'}",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode != 0
    assert "pip install ziglang" in " ".join(ran.stderr.split())

"""What the examples' programs for boards may use: Python 3.9, and the files of their own folder."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("camera", "keyword_spotter", "side_by_side")
PROGRAMS = sorted(p for name in FOLDERS for p in (ROOT / "examples" / name).glob("*.py"))
MAKES_A_MODEL = "whistles.py"
"""This program does not run on boards; it writes an ONNX file."""


@pytest.mark.parametrize("file", PROGRAMS, ids=lambda p: p.name)
def test_the_language_is_that_of_old_systems(file: Path) -> None:
    ast.parse(file.read_text(encoding="utf-8"), feature_version=(3, 9))


@pytest.mark.parametrize("file", PROGRAMS, ids=lambda p: p.name)
def test_nothing_is_imported_from_ellc(file: Path) -> None:
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    names = {n.name for node in nodes if isinstance(node, ast.Import) for n in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    outside = {n.split(".")[0] for n in names} - set(sys.stdlib_module_names)
    outside -= {p.stem for p in PROGRAMS}
    allowed = {"numpy", "PIL", "cv2", "picamera2", "sounddevice"}
    assert outside <= allowed | ({"onnx"} if file.name == MAKES_A_MODEL else set())


@pytest.mark.slow
@pytest.mark.parametrize(
    "program",
    ["camera/camera.py", "keyword_spotter/keyword_spotter.py", "side_by_side/side_by_side.py"],
)
def test_a_program_copied_alone_says_what_it_needs(program: str, tmp_path: Path) -> None:
    copy = tmp_path / "alone" / Path(program).name
    copy.parent.mkdir()
    shutil.copy(ROOT / "examples" / program, copy)
    ran = subprocess.run([sys.executable, "-I", copy], capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "apt-get install python3-numpy" in ran.stderr
    assert "folder" in ran.stderr and len(ran.stderr.splitlines()) == 1

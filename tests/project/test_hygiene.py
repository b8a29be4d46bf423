"""Check the files of the checkout: ruff, mypy, and no paths of the author's machine."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Absolute paths of home folders and work folders.
MACHINE_PATH = re.compile(rb"(?<![\w.$}~-])/(?:home|root|Users|work|scratch)/[\w.-]+")
OUTSIDE_FOLDER = re.compile(rb"\.\./shared\b")
MAY_NAME_THE_OUTSIDE_FOLDER = {".ci/run"}
LINKS = {"codegen/runtime_c", "ellc/codegen", "ellc/ir"}
"""The folders of the fixed top level, where Python and the wheel look for them."""


def listed() -> list[Path]:
    """The paths under version control; all paths if there is no git."""
    try:
        listing = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        ).stdout.decode()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listing.split("\0") if name]


def tracked_files() -> list[Path]:
    """The files under version control; all files if there is no git."""
    return [path for path in listed() if path.is_file()]


def test_no_file_names_a_path_of_the_machine_it_was_written_on() -> None:
    found = []
    for path in tracked_files():
        name, data = path.relative_to(ROOT).as_posix(), path.read_bytes()
        if name == Path(__file__).relative_to(ROOT).as_posix():
            continue
        found += [f"{name}: {m.decode()}" for m in MACHINE_PATH.findall(data)]
        if name not in MAY_NAME_THE_OUTSIDE_FOLDER and OUTSIDE_FOLDER.search(data):
            found.append(f"{name}: names a folder outside the checkout")
    assert not found


def test_links_are_the_known_ones() -> None:
    """A link into another folder, made by `ln -s` for a quick trial, is easily committed."""
    found = {p.relative_to(ROOT).as_posix() for p in listed() if p.is_symlink()}
    assert found == LINKS


def test_the_search_sees_such_a_path() -> None:
    assert MACHINE_PATH.search(b'open("/home/me/model.ell")')
    assert not MACHINE_PATH.search(b"see https://example.org/work/page and ~/home/x and a/work/b")


def test_committed_files_are_small() -> None:
    large = [p.relative_to(ROOT) for p in tracked_files() if p.stat().st_size > 2**20]
    assert not large, "models of more than 1 MiB must be built, or be in the folder ELLC_TEST_DATA"


@pytest.mark.parametrize("args", [["check"], ["format", "--check"]], ids=["check", "format"])
def test_ruff(args: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *args, "--quiet", "."],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_mypy_strict() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mypy"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr

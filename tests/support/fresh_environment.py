"""A virtual environment with exactly what a `pip install` line of the documentation installs.

The wheel is built and installed as a user would do it. Its dependencies are links to the
environment that runs the tests, so nothing is downloaded. Packages that only the tests need, such
as scikit-learn, are missing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = "ellc-compiler"


def run(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> str:
    """Run a command that must succeed; return its output."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def source_files() -> list[Path]:
    """The files and links of a clone, tracked or new, relative to the root."""
    names = run(
        *("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"), cwd=ROOT
    ).split("\0")
    return [Path(name) for name in names if name and (ROOT / name).exists()]


def build_wheel(folder: Path) -> Path:
    """Build the wheel in a folder, from a copy of the sources: the checkout does not change."""
    for name in source_files():
        copy = folder / "source" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy, follow_symlinks=False)
    run(
        *(sys.executable, "-m", "build", "--wheel", "--no-isolation"),
        *("--outdir", folder / "dist", folder / "source"),
        cwd=folder,
    )
    (built,) = (folder / "dist").glob("ellc_compiler-*.whl")
    return built


@dataclass(frozen=True)
class Environment:
    """A virtual environment in which ellc is installed."""

    folder: Path

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables with which `ellc` and `python` are those of this environment."""
        outside = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
        return {**outside, "PATH": f"{self.folder / 'bin'}{os.pathsep}{outside['PATH']}"}

    def call(self, program: str, *args: str | Path, cwd: Path) -> str:
        """Run a program of the environment, which must succeed; return its output."""
        return run(self.folder / "bin" / program, *args, cwd=cwd, env=self.variables)


def fresh_environment(folder: Path, wheel: Path, extras: Iterable[str]) -> Environment:
    """A new environment with the wheel and some of its extras."""
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = folder / "lib" / version / "site-packages"
    for name in sorted(needed(PROJECT, extras)):
        for place in _top_level(metadata.distribution(name)):
            if not (site / place.name).exists():
                (site / place.name).symlink_to(place)
    run(
        *(sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install"),
        *("--quiet", "--no-deps", "--no-index", wheel),
        cwd=folder,
    )
    return Environment(folder)


def needed(project: str, extras: Iterable[str]) -> set[str]:
    """The names of all distributions that pip would install for a project, without the project."""
    found: set[str] = set()
    open_: list[tuple[str, frozenset[str]]] = [(project, frozenset(extras))]
    while open_:
        name, wanted = open_.pop()
        for line in metadata.requires(name) or ():
            requirement = Requirement(line)
            applies = requirement.marker is None or any(
                requirement.marker.evaluate({"extra": extra}) for extra in (*wanted, "")
            )
            other = canonicalize_name(requirement.name)
            if applies and other not in found:
                found.add(other)
                open_.append((other, frozenset(requirement.extras)))
    return found - {project}


def _top_level(distribution: metadata.Distribution) -> set[Path]:
    """The files and folders in site-packages that belong to a distribution."""
    files = distribution.files or ()
    return {Path(str(distribution.locate_file(f.parts[0]))) for f in files if f.parts[0] != ".."}


def extras_of(command: str) -> list[str]:
    """The extras in an install line such as `pipx install '.[onnx,tflite]'`."""
    named = re.search(r"\[([\w,]+)\]", command)
    return named[1].split(",") if named else []

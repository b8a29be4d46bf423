"""An environment that holds what a `pip install` line of the documentation installs, and no more.

The wheel is built and installed as a user's would be. Its dependencies are links into the
environment that runs the tests, so nothing is downloaded; a package that is there for the tests
only, such as scikit-learn, is not.
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
    """Run a command that must succeed; return what it printed."""
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
    """What a clone would hold: tracked and new files and links, relative to the root."""
    names = run(
        *("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"), cwd=ROOT
    ).split("\0")
    return [Path(name) for name in names if name and (ROOT / name).exists()]


def build_wheel(folder: Path) -> Path:
    """The wheel, built in a folder from a copy of the sources: the checkout stays as it is."""
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
    """A virtual environment with ellc in it."""

    folder: Path

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables under which `ellc` and `python` are this environment's."""
        outside = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
        return {**outside, "PATH": f"{self.folder / 'bin'}{os.pathsep}{outside['PATH']}"}

    def call(self, program: str, *args: str | Path, cwd: Path) -> str:
        """Run a program of the environment that must succeed; return what it printed."""
        return run(self.folder / "bin" / program, *args, cwd=cwd, env=self.variables)


def fresh_environment(folder: Path, wheel: Path, extras: Iterable[str]) -> Environment:
    """Install the wheel with some of its extras in a new environment."""
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
    """The names of all distributions that pip would install for a project, without itself."""
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
    """Files and folders of site-packages that belong to a distribution."""
    files = distribution.files or ()
    return {Path(str(distribution.locate_file(f.parts[0]))) for f in files if f.parts[0] != ".."}


def extras_of(command: str) -> list[str]:
    """The extras that an install line names: `pipx install '.[onnx,tflite]'`."""
    named = re.search(r"\[([\w,]+)\]", command)
    return named[1].split(",") if named else []

"""Run every command and program in README.md, docs/ and the examples.

The blocks of a page are run in order in an empty folder, as a reader would do it, in an environment
that contains what the page "Getting started" installs. Lines with `make` are run as `make -n` in
the checkout, since `make` itself runs this test. `support/readme.py` describes the notes that a
block can have.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fresh_environment import Environment, extras_of, fresh_environment
from readme import Block, fenced_blocks
from warm_start import warm_ellc

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    path.relative_to(ROOT).as_posix(): list(fenced_blocks(path.read_text(encoding="utf-8")))
    for path in (
        *(ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))),
        *sorted((ROOT / "examples").rglob("*.md")),
    )
}
RUNNABLE = ("sh", "python")
MARKERS = ("slow", "emulated")
TRAINING = "ELLC_TRAINING_PYTHON"
"""The variable that names a Python with torch, or with TensorFlow and keras, for some pages."""


def is_run(block: Block) -> bool:
    skipped = block.after("not run") or "install" in block.notes
    return block.language in RUNNABLE and not skipped and not block.file


def cases() -> list[object]:
    """A test for each page with commands, with the markers of all its blocks."""
    found = []
    for page, blocks in PAGES.items():
        if any(map(is_run, blocks)):
            named = sorted({note for block in blocks for note in block.notes} & {*MARKERS})
            marks = [getattr(pytest.mark, name) for name in named]
            found.append(pytest.param(blocks, id=page, marks=marks))
    return found


def install_lines() -> list[str]:
    """All lines in pages that install ellc."""
    blocks = [block for blocks in PAGES.values() for block in blocks]
    return [b.text.strip() for b in blocks if "install" in b.notes]


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The environment that the install line makes."""
    folder = tmp_path_factory.mktemp("reader") / "venv"
    return fresh_environment(folder, wheel, extras_of(install_lines()[0]))


@pytest.fixture(scope="module")
def reader(environment: Environment) -> Iterator[dict[str, str]]:
    """Environment variables with which `ellc` and `python` are those of the environment.

    A command `ellc` is forked from a process that has imported the installed ellc.
    """
    variables = environment.variables
    with warm_ellc(environment.folder / "bin" / "python", variables) as warm:
        path = f"{warm.launcher.parent}{os.pathsep}{variables['PATH']}"
        yield {**variables, "PATH": path}


def program(block: Block, environment: Environment) -> list[str | Path]:
    """The command that runs a block: with Python, or with a shell in which `make` is `make -n`."""
    if block.language == "python":
        outside = block.after("needs") in ("torch", "tensorflow")
        python = os.environ[TRAINING] if outside else environment.folder / "bin" / "python"
        return [python, "-c", block.text]
    lines = block.text.splitlines()
    text = "\n".join(f"make -C '{ROOT}' -n {x[5:]}" if x.startswith("make ") else x for x in lines)
    return ["bash", "-euo", "pipefail", "-c", text]


def checkout_variables() -> dict[str, str]:
    """Environment variables with which `ellc` and `python` are those of `make install`."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def is_missing(needed: str) -> bool:
    """Whether a program or package that a block needs is missing."""
    if needed not in ("torch", "tensorflow"):
        return bool(needed) and any(shutil.which(name) is None for name in needed.split(", "))
    python = os.environ.get(TRAINING, "")
    found = python and subprocess.run(
        [python, "-c", f"import importlib.util as u; assert u.find_spec('{needed}')"],
        capture_output=True,
        check=False,
    )
    return not found or found.returncode != 0


@pytest.mark.slow
@pytest.mark.parametrize("blocks", cases())
def test_the_commands_of_a_page_work(
    blocks: list[Block], environment: Environment, reader: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    missing = {needed for needed in {b.after("needs") for b in blocks} if is_missing(needed)}
    for block in blocks:
        if block.file:
            (tmp_path / block.file).write_text(block.text)
        if not is_run(block) or block.after("needs") in missing:
            continue
        done = subprocess.run(
            program(block, environment),
            cwd=tmp_path / block.after("in "),
            env=checkout_variables() if "checkout" in block.notes else reader,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"line {block.line}\n{done.stdout}{done.stderr}"
    if missing:
        pytest.skip(f"all but the blocks that need {', '.join(sorted(missing))} were run")


def test_every_block_says_what_it_is() -> None:
    known = (*RUNNABLE, "text")
    for page, blocks in PAGES.items():
        wrong = [b.line for b in blocks if b.language not in known and not b.file]
        assert not wrong, page
        vague = [
            b.line for b in blocks if "not run" in " ".join(b.notes) and not b.after("not run")
        ]
        assert not vague, f"{page}: these blocks need a reason in brackets for `not run`"


def test_there_is_one_way_to_install() -> None:
    assert {extras for line in install_lines() if (extras := tuple(extras_of(line)))} == {
        ("onnx", "tflite")
    }


@pytest.mark.slow
def test_the_environment_holds_nothing_else(environment: Environment, tmp_path: Path) -> None:
    found = environment.call(
        "python", "-c", "import onnx, tflite, ellc; print(ellc.__file__)", cwd=tmp_path
    )
    assert not Path(found.strip()).is_relative_to(ROOT)
    assert environment.call("ellc", "--version", cwd=tmp_path).startswith("ellc ")
    with pytest.raises(AssertionError, match="No module named 'sklearn'"):
        environment.call("python", "-c", "import sklearn", cwd=tmp_path)


def test_the_readme_is_short_and_its_figures_are_in_the_tables() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    tables = (ROOT / "docs/reference/benchmarks.md").read_text(encoding="utf-8")
    section = text.split("## Speed")[1].split("\n## ")[0]
    figures = re.findall(r"\*\*([\d.]+)", section)
    assert len(figures) >= 3
    cells = {cell.strip().rstrip("%") for row in tables.splitlines() for cell in row.split("|")}
    assert not [figure for figure in figures if figure not in cells]


def test_blocks_are_found_with_what_is_said_of_them() -> None:
    shell = "<!-- test: slow; needs cmake -->\n```sh\na\n\nb\n```\n"
    first, second = fenced_blocks(shell + "<!-- file: m.c -->\n```c\nc\n```\n")
    assert first == Block(2, "sh", "a\n\nb\n", ("slow", "needs cmake"))
    assert second == Block(8, "c", "c\n", file="m.c")
    assert (first.after("needs"), second.after("needs")) == ("cmake", "")
    with pytest.raises(ValueError, match="line 1"):
        list(fenced_blocks("```sh\nx"))

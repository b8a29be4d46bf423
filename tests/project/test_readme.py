"""What the README shows is true: every fenced command and program in it is run.

The blocks of one section run one after the other in one empty folder, as a reader would. `make`
lines are run with `make -n` in the checkout: the real ones are what runs this test.
"""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import pytest
from readme import Block, fenced_blocks

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = list(fenced_blocks((ROOT / "README.md").read_text(encoding="utf-8")))
RUNNABLE = ("sh", "python")


def sections() -> list[object]:
    """One test case per section that shows commands, with the markers of all its blocks."""
    cases = []
    for name, group in groupby(BLOCKS, key=lambda block: block.section):
        blocks = list(group)
        markers = sorted({marker for block in blocks for marker in block.markers})
        cases.append(
            pytest.param(blocks, id=name, marks=[getattr(pytest.mark, m) for m in markers])
        )
    return cases


def script(block: Block) -> str:
    """What to run: Python by this interpreter, shell as it stands but for `make`."""
    lines = block.text.splitlines()
    return "\n".join(f"make -C '{ROOT}' -n {x[5:]}" if x.startswith("make ") else x for x in lines)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A PATH on which `ellc` is this checkout and `python` this interpreter."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for name, command in (
        ("ellc", f"'{sys.executable}' -m ellc"),
        ("python", f"'{sys.executable}'"),
    ):
        (bin_folder / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        (bin_folder / name).chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }


@pytest.mark.parametrize("blocks", sections())
def test_the_commands_shown_work(
    blocks: list[Block], environment: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "reader"
    folder.mkdir()
    (folder / "examples").symlink_to(ROOT / "examples")
    for block in blocks:
        program = (
            [sys.executable, "-c", block.text]
            if block.language == "python"
            else ["bash", "-euo", "pipefail", "-c", script(block)]
        )
        done = subprocess.run(
            program, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"README.md:{block.line}\n{done.stdout}{done.stderr}"


def test_every_block_says_what_it_is() -> None:
    assert BLOCKS
    assert not [f"line {b.line}: {b.language!r}" for b in BLOCKS if b.language not in RUNNABLE]


def test_every_command_of_ellc_is_in_the_table() -> None:
    from ellc.cli import cli

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    missing = [name for name in cli.list_commands(None) if f"`ellc {name}" not in text]  # type: ignore[arg-type]
    assert not missing


def test_blocks_are_found_with_section_and_markers() -> None:
    page = "## One\n<!-- test: slow emulated -->\n```sh\na\n\nb\n```\n```python\nc\n```\n## Two\n"
    assert list(fenced_blocks(page)) == [
        Block("One", 3, "sh", "a\n\nb\n", ("slow", "emulated")),
        Block("One", 8, "python", "c\n"),
    ]
    with pytest.raises(ValueError, match="line 1"):
        list(fenced_blocks("```sh\nx"))

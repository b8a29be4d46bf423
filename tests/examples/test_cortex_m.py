"""The project for microcontrollers: builds for all boards, and runs where QEMU has the memory.

`tests/project/test_pages.py` runs the README's commands, for two boards.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ellc.codegen.toolchain.elf_reader import ElfFile

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "cortex_m"

needs_qemu = pytest.mark.skipif(
    not shutil.which("qemu-system-arm"), reason="qemu-system-arm is not installed"
)
needs_gcc = pytest.mark.skipif(
    not shutil.which("arm-none-eabi-gcc"), reason="arm-none-eabi-gcc is not installed"
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("make"), reason="make is not installed"),
]


def make(out: Path, board: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run make in the example's folder, with this Python and its ellc."""
    tools = (f"PYTHON={sys.executable}", f"ELLC={sys.executable} -m ellc", f"OUT={out}")
    return subprocess.run(
        ["make", "-C", EXAMPLE, f"BOARD={board}", *tools, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,  # where QEMU writes what programs print
        text=True,
        check=False,
        env=os.environ,
    )


@needs_qemu
@pytest.mark.parametrize("board", ["an386", "an505"])
def test_it_prints_the_label_and_compares_with_the_reference(board: str, tmp_path: Path) -> None:
    ran = make(tmp_path, board, "run")
    assert ran.returncode == 0, ran.stdout
    assert "\nseven\n" in ran.stdout
    assert "same scores as the reference" in ran.stdout
    assert "  itcm " in ran.stdout  # what the network takes of each memory, before it runs
    header = tmp_path / "test_data.h"
    header.write_text(
        header.read_text().replace("test_output[10] = {\n    ", "test_output[10] = {\n    1 + ")
    )
    ran = make(tmp_path, board, "run")
    assert ran.returncode != 0
    assert "DIFFER" in ran.stdout


@needs_qemu
@needs_gcc
def test_the_compiler_of_the_sdk_builds_it_as_well(tmp_path: Path) -> None:
    """With an arena in two memories, and kernels that lie partly in the flash."""
    memory = "MEMORY=itcm=4K,dtcm=3K,ocram=64K"
    ran = make(tmp_path, "imxrt1050", "run", "TOOLCHAIN=gcc", memory)
    assert ran.returncode == 0, ran.stdout
    assert "same scores as the reference" in ran.stdout
    sections = {s.name: s for s in ElfFile.read(tmp_path / "program.elf").sections}
    assert 0 < sections[".arena_dtcm"].size <= 2048
    assert sections[".arena_ocram"].size > 0
    assert 0 < sections[".fast_code"].size <= 4096


@pytest.mark.parametrize(
    ("board", "places"),
    [
        (
            "imxrt1170",
            {
                ".flash_config": 0x3000_0400,
                ".boot_table": 0x3000_1000,
                ".vectors": 0x3000_2000,
                ".fast_code": 0,
                ".arena_dtcm": 0x2000_0000,
            },
        ),
        ("mcxn947", {".vectors": 0, ".fast_code": 0x0400_0000, ".arena": 0x2000_0000}),
    ],
)
def test_a_program_for_a_board_lies_where_the_board_expects_it(
    board: str, places: dict[str, int], tmp_path: Path
) -> None:
    ran = make(tmp_path, board)
    assert ran.returncode == 0, ran.stdout
    sections = {s.name: s for s in ElfFile.read(tmp_path / "program.elf").sections}
    assert {name: sections[name].address for name in places} == places
    assert sections[".fast_code"].size > 1024
    ran = make(tmp_path, board, "run")
    assert "QEMU does not emulate" in ran.stdout

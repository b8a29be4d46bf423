"""Objects of constant data: layout, alignment, formats, and large sizes with little memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ellc.codegen.machine.resolve import fixed_targets, resolve
from ellc.codegen.machine.target import Target
from ellc.codegen.toolchain import elf
from ellc.codegen.toolchain.elf import Piece
from ellc.codegen.toolchain.elf_reader import ElfFile

ROWS = fixed_targets()
FOREIGN = tuple(row for row in ROWS if row.object_format != "elf")
SUPPORT = str(Path(__file__).resolve().parents[1] / "support")


def test_layout_aligns_each_piece() -> None:
    pieces = [Piece(4, np.zeros(3, np.float32)), Piece(64, b"abc"), Piece(1, b"d"), Piece(16, b"")]
    where = elf.layout(pieces)
    assert where.offsets == (0, 64, 67, 80)
    assert where.total_bytes == 80


@pytest.mark.parametrize("alignment", [0, 3, 128, -4])
def test_wrong_alignment_is_refused(alignment: int) -> None:
    with pytest.raises(ValueError, match="not a power of two"):
        elf.layout([Piece(alignment, b"")])


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_format_holds_the_bytes(row: Target, tmp_path: Path) -> None:
    values = np.arange(100, dtype=np.float32).reshape(4, 25)
    pieces = [Piece(1, b"x"), Piece(32, values), Piece(64, np.zeros((0, 3)))]
    out = tmp_path / "data.o"
    where = elf.write_constants(out, "nn_weights", pieces, row)
    data = out.read_bytes()
    assert b"x" + bytes(31) + values.tobytes() in data
    assert b"nn_weights" in data
    if row.object_format == "elf":
        made = ElfFile(data)
        section = made.sections[1]
        assert (section.name, section.align) == (".rodata.nn_weights", 64)
        assert (section.size, section.offset % 64) == (where.total_bytes, 0)
        symbol = made.symbols[1]
        assert (symbol.name, symbol.size) == ("nn_weights", where.total_bytes)
        assert symbol.visibility == 2 and not symbol.is_local
        assert made.machine == row.elf_machine and made.is_64_bit == (row.word_bits == 64)


@pytest.mark.parametrize("row", FOREIGN, ids=lambda row: row.name)
def test_assembled_object_follows_its_data(row: Target, tmp_path: Path) -> None:
    out = tmp_path / "data.o"
    for fill in (b"first bytes", b"other bytes"):
        elf.write_constants(out, "w", [Piece(1, fill)], row)
        assert fill in out.read_bytes()


def test_large_data_needs_no_memory_of_its_own(tmp_path: Path) -> None:
    program = (
        "import numpy as np\n"
        "from pathlib import Path\n"
        "from peak_memory import peak_bytes\n"
        "from ellc.codegen.machine.resolve import resolve\n"
        "from ellc.codegen.toolchain.elf import Piece, write_constants\n"
        "data = np.lib.format.open_memmap('big.npy', 'w+', np.float32, (16_000_000,))\n"
        "before = peak_bytes()\n"
        "write_constants(Path('big.o'), 'w', [Piece(64, data)] * 4, resolve('pi3'))\n"
        "print(peak_bytes() - before)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.append({SUPPORT!r})\n{program}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (tmp_path / "big.o").stat().st_size > 256_000_000
    # The pages of the mapped input file count once; a copy of the output would add 256 MB.
    assert int(ran.stdout) < 80_000_000
    (tmp_path / "big.o").unlink()


def test_bytes_depend_on_contents_only(tmp_path: Path) -> None:
    out = tmp_path / "data.o"
    host = resolve("host")
    elf.write_constants(out, "w", [Piece(64, b"abc")], host)
    first = out.read_bytes()
    elf.write_constants(out, "w", [Piece(64, bytearray(b"abc"))], host)
    assert out.read_bytes() == first

"""Write the first two words of a program's vector table, from which QEMU's board starts, to a file.

python vectors.py PROGRAM.elf FILE
"""

from __future__ import annotations

import sys
from pathlib import Path

from ellc.codegen.toolchain.elf_reader import ElfFile


def main() -> None:
    """Write the file that the command line names."""
    program, out = map(Path, sys.argv[1:])
    section = next(s for s in ElfFile.read(program).sections if s.name == ".vectors")
    out.write_bytes(program.read_bytes()[section.offset : section.offset + 8])


main()

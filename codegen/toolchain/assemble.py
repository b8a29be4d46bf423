"""Assembles source text for a target with zig's assembler."""

from __future__ import annotations

from ellc.codegen.machine.target import Target
from ellc.codegen.toolchain import zig
from ellc.ir.work_folders import temporary_folder


def assemble(text: str, target: Target) -> bytes:
    """The object that the assembler makes from assembly text.

    Raises `EllcError` (E610) with the assembler's messages if the assembler rejects the text.
    """
    with temporary_folder("assemble") as folder:
        source, out = folder / "functions.s", folder / "functions.o"
        source.write_text(text, encoding="ascii", newline="\n")
        # Without -g0 the object has the name of the temporary folder in its debug information.
        words = ["cc", "-target", target.c_target, f"-mcpu={target.zig_cpu}", "-g0", "-c"]
        zig.run([*words, source, "-o", out], what=f"assembling for target {target.name!r}")
        return out.read_bytes()

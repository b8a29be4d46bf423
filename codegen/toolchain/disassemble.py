"""Checks that code has no instructions that its target's CPU lacks, and counts instructions.

qemu-arm has no 32-bit Cortex-A53, so tests run `pi3` code on a CPU that has all instructions. This
module finds instructions that the Cortex-A53 lacks, with one of two tools: `llvm-objdump`, which is
optional, marks them when it disassembles an object; zig's assembler, which is always installed,
rejects them in assembly text.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from ellc.codegen.machine.target import Target
from ellc.codegen.toolchain import zig
from ellc.ir.errors import EllcError
from ellc.ir.work_folders import temporary_folder

_ARCH_DIRECTIVE = re.compile(r"^\s*\.(cpu|fpu|arch|arch_extension|eabi_attribute)\b.*$", re.M)
_INSTRUCTION = re.compile(r"^\s*[0-9a-f]+:\s")


def find_llvm_objdump() -> str | None:
    """Return the path of the newest llvm-objdump, or None."""
    numbered = sorted(
        {
            entry
            for folder in os.get_exec_path()
            if Path(folder).is_dir()
            for entry in os.listdir(folder)
            if re.fullmatch(r"llvm-objdump-\d+", entry)
        },
        key=lambda entry: -int(entry.rsplit("-", 1)[1]),
    )
    for name in (*numbered, "llvm-objdump"):
        path = shutil.which(name)
        if path:
            return path
    return None


def instructions_above(path: Path, target: Target) -> tuple[str, ...]:
    """Return the lines of the disassembly that have instructions which the target's CPU lacks.

    `path` is an ELF object or library. Raises `EllcError` (E622) if there is no llvm-objdump or if
    it fails.
    """
    text = _disassembly(path, target)
    return tuple(line.strip() for line in text.splitlines() if "<unknown>" in line)


def instruction_count(path: Path, target: Target) -> int:
    """Return the number of instructions in a file. Raises the errors of `instructions_above`."""
    lines = _disassembly(path, target).splitlines()
    return sum(bool(_INSTRUCTION.match(line)) for line in lines)


def _disassembly(path: Path, target: Target) -> str:
    tool = find_llvm_objdump()
    if tool is None:
        raise EllcError(
            "llvm-objdump, which disassembles objects, is not installed",
            code="E622",
            hint="on Debian and Ubuntu: apt-get install llvm",
        )
    words = [tool, "-d", "--no-show-raw-insn", f"--triple={target.triple}", f"--mcpu={target.cpu}"]
    if target.llvm_features:
        words.append(f"--mattr={target.llvm_features}")
    out = zig.run_tool([*words, str(path)], what=f"disassembling {path.name}", code="E622")
    return out.decode(errors="replace")


def reassemble(assembly: str, target: Target) -> tuple[str, ...]:
    """Return the errors of the assembler about instructions that the target's CPU lacks.

    `assembly` is the output of `EmitKind.ASM`. Directives that name an architecture are removed
    first, because they would allow the instructions of that architecture.
    """
    with temporary_folder("asm") as folder:
        source = folder / "code.s"
        source.write_text(_ARCH_DIRECTIVE.sub("", assembly))
        words = ["cc", "-c", "-target", target.c_target, f"-mcpu={target.zig_cpu}", "code.s"]
        try:
            zig.run([*words, "-o", "code.o"], what="assembling", cwd=folder)
        except EllcError as error:
            return tuple(line for line in error.problems if "error:" in line) or error.problems
    return ()

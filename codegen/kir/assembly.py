"""Assembly functions that kernels call: their frames, and the source text that defines them.

Through llvmlite, LLVM can assemble text only for its own machine. Therefore the functions are not
inline assembly, but a source file that an assembler turns into an object. A function gets and
returns values in a frame, so that its interface does not depend on how a machine's calling
convention passes vectors.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ellc.codegen.kir.dataflow import inputs, params_accessed
from ellc.codegen.kir.ir import Assembled, AssemblyFunction, Kernel, Stmt, Var, walk
from ellc.codegen.kir.types import INDEX, Elem, VType
from ellc.codegen.machine.calling import Convention
from ellc.codegen.machine.target import Target
from ellc.ir.errors import InternalError

FRAME_ALIGN_BYTES = 16
_NUMBERED = re.compile(r"_assembly\d+$")
_LABEL = re.compile(r"\.L\w+")


@dataclass(frozen=True, slots=True)
class Frame:
    """The memory through which a kernel and an assembly function exchange values.

    It contains the addresses of parameters, then the inputs, then the results. The fields map names
    of parameters and registers to byte offsets. Addresses and indices have the width of a pointer.
    Other values are stored lane by lane, lane 0 first, at multiples of `FRAME_ALIGN_BYTES`. The
    frame has the same alignment.
    """

    params: Mapping[str, int]
    inputs: Mapping[str, int]
    results: Mapping[str, int]
    bytes: int


def frame(source: Sequence[Stmt], results: Sequence[Var], word_bits: int) -> Frame:
    """The frame of an assembly function that replaces `source` and defines `results`."""
    word_bytes = word_bits // 8
    end = 0

    def slot(type_: VType) -> int:
        nonlocal end
        is_word = type_.elem is Elem.INDEX
        start = _aligned(end, word_bytes if is_word else FRAME_ALIGN_BYTES)
        end = start + (word_bytes if is_word else type_.elem.bytes) * type_.lanes
        return start

    params = {p.name: slot(INDEX) for p in params_accessed(source)}
    taken = {v.name: slot(v.type) for v in inputs(source)}
    given = {v.name: slot(v.type) for v in results}
    return Frame(params, taken, given, _aligned(end, FRAME_ALIGN_BYTES))


def _aligned(offset: int, align_bytes: int) -> int:
    return -(-offset // align_bytes) * align_bytes


def function_name(kernel: str, number: int) -> str:
    """The name of a kernel's assembly function. Numbers count from 0 in the order of `walk`."""
    return f"{kernel}_assembly{number}"


def kernel_name(function: str) -> str:
    """The kernel that calls an assembly function; the name of a kernel is returned as it is."""
    return _NUMBERED.sub("", function)


def assembly_functions(kernel: Kernel) -> Iterator[tuple[str, AssemblyFunction]]:
    """Pairs (name, function) of the assembly functions that a kernel calls."""
    called = [s for s in walk(kernel.body) if isinstance(s, Assembled)]
    for number, statement in enumerate(called):
        yield function_name(kernel.name, number), statement.function


def stack_bytes(function: AssemblyFunction, target: Target) -> int:
    """The bytes of stack that a call of the function takes, without the return address."""
    return _convention(target).saved_bytes(function.saves)


def assembly_text(kernels: Iterable[Kernel], target: Target) -> str:
    """The source text that defines the assembly functions of these kernels; may be empty.

    Unless it is empty, raises `InternalError` if the target's objects are not ELF, or if its
    calling convention is unknown.
    """
    functions = [named for kernel in kernels for named in assembly_functions(kernel)]
    if not functions:
        return ""
    convention = _convention(target)
    lines = [*convention.file_directives, "\t.cfi_sections\t.debug_frame", "\t.text"]
    for name, function in functions:
        lines += _function_lines(name, function, convention)
    lines.append(f'\t.section\t.note.GNU-stack,"",{convention.type_sign}progbits')
    return "\n".join([*lines, ""])


def _function_lines(name: str, function: AssemblyFunction, how: Convention) -> Iterator[str]:
    """The lines of a hidden function, with unwinding information for debuggers and profilers."""
    yield from (f"\t.globl\t{name}", f"\t.hidden\t{name}", f"\t.p2align\t{how.align_log2}")
    yield from (f"\t.type\t{name}, {how.type_sign}function", f"{name}:", "\t.cfi_startproc")
    yield from (f"\t{line}" for line in how.prologue(function.saves))
    for line in function.lines:
        unique = _LABEL.sub(rf"\g<0>_{name}", line)
        yield unique if line.endswith(":") else "\t" + unique.replace(" ", "\t", 1)
    yield from (f"\t{line}" for line in how.epilogue(function.saves))
    yield from ("\t.cfi_endproc", f"\t.size\t{name}, . - {name}")


def _convention(target: Target) -> Convention:
    convention = target.convention
    if target.object_format != "elf" or convention is None:
        raise InternalError(f"target {target.name} cannot call assembly functions")
    return convention

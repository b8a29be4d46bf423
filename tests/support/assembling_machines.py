"""Three architectures for `assembling`: their registers, and operations on elements of 4 bytes."""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from ellc.codegen.kir.ir import Imm, Let
from ellc.codegen.kir.types import INDEX, Elem, VType
from ellc.codegen.machine.core import Arch

Lines = list[str]


class Unknown(Exception):
    """An operation or a type is not supported, or there are too few registers."""


class Machine(ABC):
    """The registers and the assembly syntax of an architecture."""

    words: tuple[str, ...]
    """Registers for indices and pointers. Here, as in `vectors`, registers that a C function must
    preserve come first, so that the generated functions have to save them."""
    vectors: tuple[str, ...]
    scratch: str
    """The register in which `address` stores its result."""
    lanes: tuple[int, ...]
    """The supported numbers of lanes of 4 bytes."""
    at_end: tuple[str, ...] = ()
    operations: ClassVar[dict[tuple[str, str], tuple[str, ...]]]
    """Lines by operation and kind of element. {0} is the result; {1}, {2}, .. are the operands."""

    def check(self, type_: VType) -> None:
        """Raise `Unknown` if no register can hold a value of this type."""
        four_bytes = type_.elem in (Elem.F32, Elem.I32, Elem.U32)
        if type_ != INDEX and not (four_bytes and type_.lanes in self.lanes):
            raise Unknown

    def operation(self, let: Let, result: str, operands: Sequence[str]) -> Lines:
        """The lines that compute a statement's operation."""
        type_ = let.result.type
        kind = "index" if type_ == INDEX else "float" if type_.elem.is_float else "integer"
        lines = self.operations.get((let.op, kind))
        if lines is None or {a.type for a in let.args} != {type_}:
            raise Unknown
        names = [self.name(register, type_) for register in (result, *operands)]
        return [line.format(*names, lane=let.attrs[0] if let.attrs else 0) for line in lines]

    def literal(self, register: str, value: Imm) -> Lines:
        """The lines that set a register to a literal."""
        if value.type == INDEX:
            return self.constant(register, int(value.value))
        if value.type.elem.is_float:
            (bits,) = struct.unpack("<I", struct.pack("<f", value.value))
        else:
            bits = int(value.value) & 0xFFFF_FFFF
        return self.splat(register, bits, value.type)

    def name(self, register: str, type_: VType) -> str:
        """The name of a register in an operation on values of this type."""
        return register

    def halves(self, register: str) -> tuple[str, ...]:
        """The parts of a register that a C function must preserve."""
        return (register,)

    @abstractmethod
    def load_word(self, register: str, base: str, offset: int) -> Lines: ...
    @abstractmethod
    def store_word(self, register: str, base: str, offset: int) -> Lines: ...
    @abstractmethod
    def load(self, register: str, type_: VType, base: str, offset: int) -> Lines: ...
    @abstractmethod
    def store(self, register: str, type_: VType, base: str, offset: int) -> Lines: ...
    @abstractmethod
    def address(self, base: str, index: str, offset: int) -> Lines:
        """The lines that compute `scratch = base + 4 * index + offset`."""

    @abstractmethod
    def constant(self, register: str, value: int) -> Lines: ...
    @abstractmethod
    def splat(self, register: str, bits: int, type_: VType) -> Lines: ...
    @abstractmethod
    def move(self, to: str, register: str, type_: VType) -> Lines: ...
    @abstractmethod
    def add_constant(self, register: str, value: int) -> Lines: ...
    @abstractmethod
    def leave_unless_less(self, a: str, b: str, label: str) -> Lines: ...
    @abstractmethod
    def jump(self, label: str) -> Lines: ...


class _Aarch64(Machine):
    words = ("x19", "x20", *(f"x{n}" for n in range(1, 16)))
    vectors = ("v8", "v9", *(f"v{n}" for n in (*range(8), *range(10, 31))))
    scratch = "x16"
    lanes = (1, 4)
    operations: ClassVar = {
        ("add", "index"): ("add {0}, {1}, {2}",),
        ("mul", "index"): ("mul {0}, {1}, {2}",),
        ("add", "float"): ("fadd {0}.4s, {1}.4s, {2}.4s",),
        ("sub", "float"): ("fsub {0}.4s, {1}.4s, {2}.4s",),
        ("mul", "float"): ("fmul {0}.4s, {1}.4s, {2}.4s",),
        ("mul_add", "float"): (
            "mov v31.16b, {3}.16b",
            "fmla v31.4s, {1}.4s, {2}.4s",
            "mov {0}.16b, v31.16b",
        ),
        ("max", "float"): ("fmax {0}.4s, {1}.4s, {2}.4s",),
        ("splat_lane", "float"): ("dup {0}.4s, {1}.s[{lane}]",),
        ("add", "integer"): ("add {0}.4s, {1}.4s, {2}.4s",),
        ("mul", "integer"): ("mul {0}.4s, {1}.4s, {2}.4s",),
    }

    def halves(self, register: str) -> tuple[str, ...]:
        return (register.replace("v", "d"),)

    def load_word(self, register: str, base: str, offset: int) -> Lines:
        return [f"ldr {register}, [{base}, #{offset}]"]

    def store_word(self, register: str, base: str, offset: int) -> Lines:
        return [f"str {register}, [{base}, #{offset}]"]

    def load(self, register: str, type_: VType, base: str, offset: int) -> Lines:
        return [f"ldr {self._sized(register, type_)}, [{base}, #{offset}]"]

    def store(self, register: str, type_: VType, base: str, offset: int) -> Lines:
        return [f"str {self._sized(register, type_)}, [{base}, #{offset}]"]

    def address(self, base: str, index: str, offset: int) -> Lines:
        start = [f"ldr x17, ={offset}", f"add x16, {base}, {index}, lsl #2"]
        return [*start, "add x16, x16, x17"]

    def constant(self, register: str, value: int) -> Lines:
        return [f"ldr {register}, ={value}"]

    def splat(self, register: str, bits: int, type_: VType) -> Lines:
        return [f"ldr w16, ={bits}", f"dup {register}.4s, w16"]

    def move(self, to: str, register: str, type_: VType) -> Lines:
        return [f"mov {to}, {register}" if type_ == INDEX else f"mov {to}.16b, {register}.16b"]

    def add_constant(self, register: str, value: int) -> Lines:
        return [f"add {register}, {register}, #{value}"]

    def leave_unless_less(self, a: str, b: str, label: str) -> Lines:
        return [f"cmp {a}, {b}", f"b.ge {label}"]

    def jump(self, label: str) -> Lines:
        return [f"b {label}"]

    def _sized(self, register: str, type_: VType) -> str:
        return f"{'s' if type_.lanes == 1 else 'q'}{register[1:]}"


class _Arm(Machine):
    words = ("r4", "r5", "r1", "r2", "r3", *(f"r{n}" for n in range(6, 12)))
    vectors = ("q4", "q5", *(f"q{n}" for n in (0, 1, 2, 3, *range(8, 16))))
    scratch = "r12"
    lanes = (4,)
    operations: ClassVar = {
        ("add", "index"): ("add {0}, {1}, {2}",),
        ("mul", "index"): ("mul {0}, {1}, {2}",),
        ("add", "float"): ("vadd.f32 {0}, {1}, {2}",),
        ("sub", "float"): ("vsub.f32 {0}, {1}, {2}",),
        ("mul", "float"): ("vmul.f32 {0}, {1}, {2}",),
        ("max", "float"): ("vmax.f32 {0}, {1}, {2}",),
        ("add", "integer"): ("vadd.i32 {0}, {1}, {2}",),
        ("mul", "integer"): ("vmul.i32 {0}, {1}, {2}",),
    }

    def halves(self, register: str) -> tuple[str, ...]:
        if register.startswith("r"):
            return (register,)
        number = int(register[1:])
        return (f"d{2 * number}", f"d{2 * number + 1}")

    def load_word(self, register: str, base: str, offset: int) -> Lines:
        return [f"ldr {register}, [{base}, #{offset}]"]

    def store_word(self, register: str, base: str, offset: int) -> Lines:
        return [f"str {register}, [{base}, #{offset}]"]

    def load(self, register: str, type_: VType, base: str, offset: int) -> Lines:
        return [f"add r12, {base}, #{offset}", f"vld1.32 {{{self._pair(register)}}}, [r12]"]

    def store(self, register: str, type_: VType, base: str, offset: int) -> Lines:
        return [f"add r12, {base}, #{offset}", f"vst1.32 {{{self._pair(register)}}}, [r12]"]

    def address(self, base: str, index: str, offset: int) -> Lines:
        start = [f"ldr r12, ={offset}", f"add r12, r12, {base}"]
        return [*start, f"add r12, r12, {index}, lsl #2"]

    def constant(self, register: str, value: int) -> Lines:
        return [f"ldr {register}, ={value}"]

    def splat(self, register: str, bits: int, type_: VType) -> Lines:
        return [f"ldr r12, ={bits}", f"vdup.32 {register}, r12"]

    def move(self, to: str, register: str, type_: VType) -> Lines:
        return [f"{'mov' if type_ == INDEX else 'vmov'} {to}, {register}"]

    def add_constant(self, register: str, value: int) -> Lines:
        return [f"add {register}, {register}, #{value}"]

    def leave_unless_less(self, a: str, b: str, label: str) -> Lines:
        return [f"cmp {a}, {b}", f"bge {label}"]

    def jump(self, label: str) -> Lines:
        return [f"b {label}"]

    def _pair(self, register: str) -> str:
        return ", ".join(self.halves(register))


class _X86(Machine):
    words = ("rbx", "r12", "rsi", "rdx", "rcx", "r8", "r9", "r10", "r11")
    vectors = tuple(f"{n}" for n in range(15))
    scratch = "rax"
    lanes = (1, 4, 8)
    at_end = ("vzeroupper",)
    operations: ClassVar = {
        ("add", "index"): ("lea {0}, [{1} + {2}]",),
        ("mul", "index"): ("mov rax, {1}", "imul rax, {2}", "mov {0}, rax"),
        ("add", "float"): ("vaddps {0}, {1}, {2}",),
        ("sub", "float"): ("vsubps {0}, {1}, {2}",),
        ("mul", "float"): ("vmulps {0}, {1}, {2}",),
        ("mul_add", "float"): (
            "vmovaps ymm15, {3:y}",
            "vfmadd231ps ymm15, {1:y}, {2:y}",
            "vmovaps {0:y}, ymm15",
        ),
        ("splat_lane", "float"): ("vpermilps {0}, {1}, {lane} * 0x55",),
        ("add", "integer"): ("vpaddd {0}, {1}, {2}",),
        ("mul", "integer"): ("vpmulld {0}, {1}, {2}",),
    }

    def name(self, register: str, type_: VType) -> str:
        return register if type_ == INDEX else _Vector(register, type_.lanes)

    def load_word(self, register: str, base: str, offset: int) -> Lines:
        return [f"mov {register}, qword ptr [{base} + {offset}]"]

    def store_word(self, register: str, base: str, offset: int) -> Lines:
        return [f"mov qword ptr [{base} + {offset}], {register}"]

    def load(self, register: str, type_: VType, base: str, offset: int) -> Lines:
        name, size = _Vector(register, type_.lanes), _SIZES[type_.lanes]
        return [f"{_move(type_)} {name}, {size} ptr [{base} + {offset}]"]

    def store(self, register: str, type_: VType, base: str, offset: int) -> Lines:
        name, size = _Vector(register, type_.lanes), _SIZES[type_.lanes]
        return [f"{_move(type_)} {size} ptr [{base} + {offset}], {name}"]

    def address(self, base: str, index: str, offset: int) -> Lines:
        return [f"lea rax, [{base} + 4*{index} + {offset}]"]

    def constant(self, register: str, value: int) -> Lines:
        return [f"mov {register}, {value}"]

    def splat(self, register: str, bits: int, type_: VType) -> Lines:
        return [
            f"mov eax, {bits}",
            f"vmovd xmm{register}, eax",
            f"vbroadcastss ymm{register}, xmm{register}",
        ]

    def move(self, to: str, register: str, type_: VType) -> Lines:
        return [f"mov {to}, {register}" if type_ == INDEX else f"vmovaps ymm{to}, ymm{register}"]

    def add_constant(self, register: str, value: int) -> Lines:
        return [f"add {register}, {value}"]

    def leave_unless_less(self, a: str, b: str, label: str) -> Lines:
        return [f"cmp {a}, {b}", f"jge {label}"]

    def jump(self, label: str) -> Lines:
        return [f"jmp {label}"]


class _Vector(str):
    """The name of an x86 vector register: ymm for 8 lanes or the format `y`, else xmm."""

    def __new__(cls, number: str, lanes: int) -> _Vector:
        return super().__new__(cls, f"{'y' if lanes == 8 else 'x'}mm{number}")

    def __format__(self, spec: str) -> str:
        return f"y{self[1:]}" if spec == "y" else str(self)


_SIZES = {1: "dword", 4: "xmmword", 8: "ymmword"}


def _move(type_: VType) -> str:
    return "vmovss" if type_.lanes == 1 else "vmovups"


MACHINES: dict[Arch, Machine] = {"aarch64": _Aarch64(), "arm": _Arm(), "x86_64": _X86()}
"""The machine for each architecture."""

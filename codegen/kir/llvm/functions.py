"""Writes kernels as functions of an LLVM module: loops, conditions, loads and stores."""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from ellc.codegen.kir.assembly import FRAME_ALIGN_BYTES, frame, function_name
from ellc.codegen.kir.dataflow import inputs
from ellc.codegen.kir.ir import (
    Assembled,
    For,
    If,
    Imm,
    Kernel,
    Let,
    Load,
    Operand,
    Param,
    Prefetch,
    Stmt,
    Store,
    Var,
)
from ellc.codegen.kir.llvm import helpers
from ellc.codegen.kir.llvm.operations import write
from ellc.codegen.kir.llvm.writer import InstructionWriter, scalar_type
from ellc.codegen.kir.types import Elem
from ellc.codegen.kir.verify import verify
from ellc.codegen.machine.target import Target


def llvm_module(kernels: Iterable[Kernel], target: Target) -> str:
    """The text of an LLVM module that defines every kernel as a hidden function with its name.

    Raises `InternalError` if `verify` rejects a kernel.
    """
    emitters = [_LlvmFunction(kernel, target) for kernel in kernels]
    bodies = [e.text() for e in emitters]
    texts, needed = helpers.with_needed({h for e in emitters for h in e.helpers})
    declared = sorted({d for e in emitters for d in e.declarations} | needed)
    width = target.vector_bytes * 8
    attributes = (
        'noredzone nounwind "no-builtins" "no-trapping-math"="true" "warn-stack-size"="0" '
        f'"prefer-vector-width"="{width}" "min-legal-vector-width"="{width}"'
    )
    return "\n".join(
        [
            f'target datalayout = "{target.datalayout}"',
            f'target triple = "{target.triple}"',
            "",
            *bodies,
            *texts,
            *declared,
            "",
            f"attributes #0 = {{ {attributes} }}",
            "",
        ]
    )


class _LlvmFunction(InstructionWriter):
    """Writes one kernel as an LLVM function."""

    def __init__(self, kernel: Kernel, target: Target) -> None:
        verify(kernel)
        super().__init__(target)
        self._kernel = kernel
        self._block = "entry"
        self._frames: list[str] = []

    def text(self) -> str:
        """The whole definition of the function."""
        self._body(self._kernel.body)
        aliased = {n for pair in self._kernel.in_place for n in pair}
        word = scalar_type(Elem.INDEX, self.target.word_bits)
        params = [self._param(p, p.name in aliased) for p in self._kernel.params]
        bounds = (self._kernel.begin, self._kernel.end)
        head = ", ".join([*params, *(f"{word} %{b.name}" for b in bounds)])
        return "\n".join(
            [
                f"define hidden void @{self._kernel.name}({head}) #0{self._section()} {{",
                "entry:",
                *self._frames,
                *self.lines,
                "  ret void",
                "}",
                "",
            ]
        )

    def _section(self) -> str:
        """A section of its own on a microcontroller, so that a linker script can place it."""
        return f' section ".text.{self._kernel.name}"' if self.target.os == "none" else ""

    def _param(self, param: Param, aliased: bool) -> str:
        words = ["ptr", *(() if aliased else ("noalias",)), "captures(none)"]
        words += [] if param.writable else ["readonly"]
        # A parameter does not say whether it points to a constant, which may be aligned to less.
        align_bytes = min(param.align_bytes, self.target.constant_align_bytes)
        return " ".join([*words, f"align {align_bytes}", f"%{param.name}"])

    # --- statements --------------------------------------------------------------------------

    def _body(self, body: tuple[Stmt, ...]) -> None:
        for statement in body:
            match statement:
                case Let():
                    write(self, statement)
                case Load(result, param, index, offset, align):
                    self._load(result, self._address(param, index, offset), align)
                case Store(value, param, index, offset, align):
                    pointer = self._address(param, index, offset)
                    self.append_line(f"store {self.typed(value)}, ptr {pointer}, align {align}")
                case Prefetch(param, index, offset):
                    self.declarations.add("declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
                    pointer = self._address(param, index, offset)
                    self.append_line(
                        f"call void @llvm.prefetch.p0(ptr {pointer}, i32 0, i32 3, i32 1)"
                    )
                case For():
                    self._for(statement)
                case If(condition, inner):
                    self._if(condition, inner)
                case Assembled():
                    self._assembled(statement)
                case _:
                    assert_never(statement)

    def _load(self, result: Var, pointer: str, align: int) -> None:
        type_, narrow = self.type(result.type), result.type.elem.bytes < 4
        align = min(align, self.target.constant_align_bytes)
        text = f"load {type_}, ptr {pointer}, align {align}"
        if narrow and result.type.lanes > 1 and self.target.isa.freezes_narrow_loads:
            # Without `freeze`, LLVM combines this load with the instruction that widens the loaded
            # vector, and passes the vector through the stack.
            text = f"freeze {type_} {self.let(text)}"
        self.append_line(f"%{result.name} = {text}")

    def _for(self, loop: For) -> None:
        head, body, done = (self.label(k) for k in ("head", "body", "done"))
        before = self._block
        word = self.type(loop.index.type)
        following = self.temporary()
        self.append_line(f"br label %{head}")
        start = len(self.lines)  # phis are inserted here as soon as the name of the latch is known
        self._open(head)
        test = self.temporary()
        self.append_line(f"{test} = icmp slt {word} %{loop.index.name}, {self.value(loop.stop)}")
        self.append_line(f"br i1 {test}, label %{body}, label %{done}")
        self._open(body)
        self._body(loop.body)
        self.append_line(f"{following} = add nsw {word} %{loop.index.name}, {loop.step}")
        self.append_line(f"br label %{head}")
        latch = self._block
        phis = [
            f"  %{loop.index.name} = phi {word} [ {self.value(loop.start)}, %{before} ], "
            f"[ {following}, %{latch} ]"
        ]
        for carried, first, after in zip(loop.carried, loop.inits, loop.yields, strict=True):
            phis.append(
                f"  %{carried.name} = phi {self.type(carried.type)} "
                f"[ {self.value(first)}, %{before} ], [ {self.value(after)}, %{latch} ]"
            )
        self.lines[start + 1 : start + 1] = phis
        self._open(done)
        for result, carried in zip(loop.results, loop.carried, strict=True):
            self.names[result.name] = f"%{carried.name}"

    def _assembled(self, statement: Assembled) -> None:
        """Fill a frame, call the assembly function, and load its results from the frame."""
        layout = frame(statement.source, statement.results, self.target.word_bits)
        name = function_name(self._kernel.name, len(self._frames))
        memory = self.temporary()
        # The frame is allocated in the entry block: in a loop, every trip would take more stack.
        size = layout.bytes + statement.function.scratch_bytes
        shape = f"[{size} x i8], align {FRAME_ALIGN_BYTES}"
        self._frames.append(f"  {memory} = alloca {shape}")
        for param, offset in layout.params.items():
            self.append_line(f"store ptr %{param}, ptr {self._slot(memory, offset)}")
        for value in inputs(statement.source):
            pointer = self._slot(memory, layout.inputs[value.name])
            self.append_line(
                f"store {self.typed(value)}, ptr {pointer}, align {self._frame_align(value)}"
            )
        self.declarations.add(f"declare hidden void @{name}(ptr) nounwind")
        self.append_line(f"call void @{name}(ptr {memory})")
        for result in statement.results:
            pointer = self._slot(memory, layout.results[result.name])
            loaded = f"load {self.type(result.type)}, ptr {pointer}"
            self.append_line(f"%{result.name} = {loaded}, align {self._frame_align(result)}")

    def _frame_align(self, value: Var) -> int:
        is_word = value.type.elem is Elem.INDEX
        return self.target.word_bits // 8 if is_word else FRAME_ALIGN_BYTES

    def _slot(self, memory: str, offset: int) -> str:
        return self.let(f"getelementptr i8, ptr {memory}, i64 {offset}") if offset else memory

    def _if(self, condition: Operand, inner: tuple[Stmt, ...]) -> None:
        then, done = self.label("then"), self.label("done")
        self.append_line(f"br i1 {self.value(condition)}, label %{then}, label %{done}")
        self._open(then)
        self._body(inner)
        self.append_line(f"br label %{done}")
        self._open(done)

    def _address(self, param: Param, index: Operand, offset: int) -> str:
        elem = scalar_type(param.elem, self.target.word_bits)
        word = scalar_type(Elem.INDEX, self.target.word_bits)
        pointer = f"%{param.name}"
        if not (isinstance(index, Imm) and index.value == 0):
            pointer = self.let(f"getelementptr {elem}, ptr {pointer}, {word} {self.value(index)}")
        if offset:
            pointer = self.let(f"getelementptr {elem}, ptr {pointer}, {word} {offset}")
        return pointer

    def _open(self, label: str) -> None:
        self.open_block(label)
        self._block = label

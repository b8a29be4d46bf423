"""Translates kernel IR to C99: for toolchains that cannot link object files, and for readers.

The code needs <stddef.h> and <stdint.h> but no library, has no undefined behaviour for any input,
and compiles without a warning under -Wall -Wextra -pedantic. Results in integers and bits equal
those of the LLVM emitter. Floats may differ where a product and a sum are fused by only one of the
two: the C compiler or LLVM.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from ellc.codegen.kir.c_operations import expression
from ellc.codegen.kir.c_prelude import C_TYPES, Prelude
from ellc.codegen.kir.c_writer import CWriter
from ellc.codegen.kir.ir import (
    Assembled,
    For,
    If,
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
from ellc.codegen.kir.live import live_values, used_names
from ellc.codegen.kir.types import VType
from ellc.codegen.kir.verify import verify
from ellc.codegen.languages.foreign_text import CCode
from ellc.codegen.machine.target import Target

LINE_LENGTH = 100


def c_kernels(kernels: Iterable[Kernel], target: Target, *, static: bool = True) -> CCode:
    """One C file that contains a function for each kernel, and the helpers that these need.

    A function is `void NAME(const T0 *restrict p0, ..., ptrdiff_t begin, ptrdiff_t end)`, with the
    parameters of the kernel in order. Parameters that may point to the same buffer are not
    `restrict`. With `static` the functions are `static`, for a file that also contains their
    callers. `target` has no effect, because kernels are already written for it. Raises
    `InternalError` if `verify` rejects a kernel.
    """
    prelude = Prelude()
    functions = [_CFunction(kernel, prelude).text(static) for kernel in kernels]
    return CCode("\n".join([prelude.text(), *functions]))  # `verify` has checked every name


class _CFunction(CWriter):
    """Writes one kernel as a C function."""

    def __init__(self, kernel: Kernel, prelude: Prelude) -> None:
        verify(kernel)
        super().__init__(prelude)
        self._kernel = kernel
        self._bounds = (kernel.begin.name, kernel.end.name)
        self._live = live_values(kernel)

    def text(self, static: bool) -> str:
        """The whole definition of the function."""
        used = used_names(self._kernel, self._live)
        names = [*(p.name for p in self._kernel.params), *self._bounds]
        for name in names:
            if name not in used:
                self.append_line(f"(void){name};")
        self._body(self._kernel.body)
        return "\n".join([self._head(static), "{", *self.lines, "}", ""])

    def _head(self, static: bool) -> str:
        aliased = {name for pair in self._kernel.in_place for name in pair}
        params = [self._param(p, p.name in aliased) for p in self._kernel.params]
        params += [f"ptrdiff_t {name}" for name in self._bounds]
        start = f"{'static ' if static else ''}void {self._kernel.name}("
        line = f"{start}{', '.join(params)})"
        if len(line) <= LINE_LENGTH:
            return line
        return start + "\n    " + ",\n    ".join(params) + ")"

    def _param(self, param: Param, aliased: bool) -> str:
        constant = "" if param.writable else "const "
        return f"{constant}{C_TYPES[param.elem]} *{'' if aliased else 'restrict '}{param.name}"

    # --- statements --------------------------------------------------------------------------

    def _body(self, body: tuple[Stmt, ...]) -> None:
        for statement in body:
            match statement:
                case Let(result, _, _, _):
                    if result.name in self._live:
                        self._define(result, expression(self, statement))
                case Load(result, param, index, offset, _):
                    if result.name in self._live:
                        self._define(result, self._load(result.type, param, index, offset))
                case Store(value, param, index, offset, _):
                    self._store(value, param, index, offset)
                case Prefetch(param, index, offset):
                    element = _sum(self.value(index), offset)
                    what = f"({element}) * (ptrdiff_t)sizeof(*{param.name})"
                    self.append_line(self.prelude.need(f"ELLC_PREFETCH({param.name}, {what});"))
                case For():
                    self._for(statement)
                case If(condition, inner):
                    self.append_line(f"if ({self.value(condition)}) {{")
                    self._indented(inner)
                    self.append_line("}")
                case Assembled(_, source, _):  # a C compiler gets portable code
                    self._body(source)
                case _:
                    assert_never(statement)

    def _for(self, loop: For) -> None:
        live = [i for i, c in enumerate(loop.carried) if c.name in self._live]
        for i in live:
            carried = loop.carried[i]
            self.append_line(
                f"{self.type(carried.type)} {carried.name} = {self.value(loop.inits[i])};"
            )
        index = loop.index.name
        step = f"{index}++" if loop.step == 1 else f"{index} += {loop.step}"
        start, stop = self.value(loop.start), self.value(loop.stop)
        self.append_line(f"for (ptrdiff_t {index} = {start}; {index} < {stop}; {step}) {{")
        self.depth += 1
        self._body(loop.body)
        self._carry([(loop.carried[i], loop.yields[i]) for i in live])
        self.depth -= 1
        self.append_line("}")
        for i in live:
            self.names[loop.results[i].name] = loop.carried[i].name

    def _carry(self, pairs: list[tuple[Var, Operand]]) -> None:
        """Assign the carried values of the next trip.

        All must change at the same time: no assignment may read the new value of another one.
        """
        carried = {c.name for c, _ in pairs}
        assigned: list[tuple[Var, str]] = []
        for target, value in pairs:
            text = self.value(value)
            if text == target.name:
                continue
            if text in carried:
                self.append_line(f"const {self.type(target.type)} {target.name}_next = {text};")
                text = f"{target.name}_next"
            assigned.append((target, text))
        for target, text in assigned:
            self.append_line(f"{target.name} = {text};")

    def _indented(self, body: tuple[Stmt, ...]) -> None:
        self.depth += 1
        self._body(body)
        self.depth -= 1

    def _load(self, type_: VType, param: Param, index: Operand, offset: int) -> str:
        element = _sum(self.value(index), offset)
        if type_.lanes == 1:
            return f"{param.name}[{element}]"
        return f"{self.prelude.load(type_)}({_pointer(param, element)})"

    def _store(self, value: Operand, param: Param, index: Operand, offset: int) -> None:
        element = _sum(self.value(index), offset)
        if value.type.lanes == 1:
            self.append_line(f"{param.name}[{element}] = {self.value(value)};")
        else:
            store = self.prelude.store(value.type)
            self.append_line(f"{store}({_pointer(param, element)}, {self.value(value)});")

    # --- text ----------------------------------------------------------------------------------

    def _define(self, var: Var, expression: str) -> None:
        self.append_line(f"const {self.type(var.type)} {var.name} = {expression};")


def _sum(index: str, offset: int) -> str:
    """`index + offset` as C text; a zero is left out."""
    if index == "0":
        return str(offset)
    if offset == 0:
        return index
    return f"{index} {'+' if offset > 0 else '-'} {abs(offset)}"


def _pointer(param: Param, element: str) -> str:
    return param.name if element == "0" else f"{param.name} + {element}"

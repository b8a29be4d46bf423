"""The nodes of kernel IR. A kernel is a tree of loops and ifs around code on virtual registers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Union

from ellc.codegen.kir.types import INDEX, Elem, VType


@dataclass(frozen=True, slots=True)
class Var:
    """A virtual register. Exactly one statement assigns it, unless it is a bound of the kernel."""

    name: str
    type: VType


@dataclass(frozen=True, slots=True, eq=False)
class Imm:
    """A literal. A vector literal has the same value in every lane.

    Two literals are equal if they have equal types and texts, so that 0.0 differs from -0.0, and
    NaN equals NaN.
    """

    value: int | float
    type: VType = INDEX

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Imm) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[str, VType]:
        return self.text, self.type

    @property
    def text(self) -> str:
        """The exact value as text."""
        return repr(float(self.value)) if self.type.elem.is_float else str(int(self.value))


Operand = Union[Var, Imm]  # noqa: UP007  (a name usable at run time in annotations)


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter that points to elements. The pointer is aligned to `align_bytes`.

    The memory of two parameters never overlaps, unless `Kernel.in_place` lists the pair.
    """

    name: str
    elem: Elem
    align_bytes: int
    writable: bool = False


@dataclass(frozen=True, slots=True)
class Let:
    """`result = op(args; attrs)`. The row of `op` in `operations.OPERATIONS` defines `op`."""

    result: Var
    op: str
    args: tuple[Operand, ...]
    attrs: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Load:
    """Load consecutive elements from `param[index + offset]` on."""

    result: Var
    param: Param
    index: Operand
    offset: int
    align_bytes: int


@dataclass(frozen=True, slots=True)
class Store:
    """Store consecutive elements from `param[index + offset]` on."""

    value: Operand
    param: Param
    index: Operand
    offset: int
    align_bytes: int


@dataclass(frozen=True, slots=True)
class Prefetch:
    """A hint that `param[index + offset]`, which may be outside the buffer, will be read soon."""

    param: Param
    index: Operand
    offset: int


@dataclass(frozen=True, slots=True)
class For:
    """`for index in range(start, stop, step)`, with values carried in registers.

    `carried[i]` is `inits[i]` on the first trip and becomes `yields[i]` after every trip. After the
    loop, `results[i]` is the last value of `carried[i]`, which is `inits[i]` if there was no trip.
    `step` is a positive constant.
    """

    index: Var
    start: Operand
    stop: Operand
    step: int
    carried: tuple[Var, ...]
    inits: tuple[Operand, ...]
    body: tuple[Stmt, ...]
    yields: tuple[Operand, ...]
    results: tuple[Var, ...]


@dataclass(frozen=True, slots=True)
class If:
    """Run `body` if the scalar mask `condition` is true."""

    condition: Operand
    body: tuple[Stmt, ...]


@dataclass(frozen=True, slots=True)
class AssemblyFunction:
    """The body of a function in assembly, with physical registers.

    Its only argument is the address of its frame (`kir.assembly.Frame`), in the first argument
    register of the C calling convention. The body reads its inputs from the frame and writes its
    results there. It neither moves the stack pointer nor returns: the function's prologue saves
    `saves`, and its epilogue restores them and returns.
    """

    lines: tuple[str, ...]
    """Instructions and labels, one in each line. Labels begin with `.L`; in the source file each
    has the function's name after it, so that other functions may have the same labels."""
    saves: tuple[str, ...] = ()
    """Registers that the body overwrites and that the calling convention preserves."""
    scratch_bytes: int = 0
    """Memory behind the values in the frame that the body may use."""


@dataclass(frozen=True, slots=True)
class Assembled:
    """A call of an assembly function that computes what `source` computes.

    `source` stands for the function wherever it is not called: in the interpreter and in C. Of the
    values that it defines, later statements may read only `results`.
    """

    function: AssemblyFunction
    source: tuple[Stmt, ...]
    results: tuple[Var, ...]


Stmt = Union[Let, Load, Store, Prefetch, For, If, Assembled]  # noqa: UP007


@dataclass(frozen=True, slots=True)
class Kernel:
    """A function of pointers and a range of the outermost, parallel loop.

    A call runs the trips [begin, end) of that loop. Calls for any partition of the loop give the
    same bytes. `in_place` lists the pairs of parameters that may point to the same buffer.
    """

    name: str
    params: tuple[Param, ...]
    begin: Var
    end: Var
    body: tuple[Stmt, ...]
    in_place: tuple[tuple[str, str], ...] = ()


def walk(body: tuple[Stmt, ...]) -> Iterator[Stmt]:
    """Every statement of a body. Outer statements come before the statements inside them.

    The source statements of an assembly function count as well.
    """
    for statement in body:
        yield statement
        match statement:
            case For() | If():
                yield from walk(statement.body)
            case Assembled():
                yield from walk(statement.source)

"""Values that loops carry from trip to trip, and the pointers of the addresses in loops."""

from __future__ import annotations

from collections.abc import Sequence

from ellc.codegen.kir.dataflow import registers_read
from ellc.codegen.kir.in_order.affine import Affine, Writer
from ellc.codegen.kir.in_order.allocate import renamed
from ellc.codegen.kir.in_order.code import Op, Reg, Unsupported
from ellc.codegen.kir.in_order.encoding import Encoding
from ellc.codegen.kir.ir import For, Imm, Let, Load, Param, Prefetch, Store, walk
from ellc.codegen.kir.types import INDEX

VECTOR_BYTES = 16


def stream_of(nest: For, loop: For, number: int) -> Param | None:
    """The parameter that a carried index belongs to, if it only serves for addresses in it.

    It may be changed by numbers, from trip to trip and in the loop.
    """
    names = {loop.carried[number].name, loop.results[number].name}
    params: dict[str, Param] = {}
    for statement in walk((nest,)):
        uses = sum(v.name in names for v in registers_read(statement))
        match statement:
            case Let(result, "opaque", (_,), ()) | Let(result, "add", (_, Imm()), ()) if uses:
                names.add(result.name)
            case Load(_, param, _, _, _) | Prefetch(param, _, _) if uses:
                params[param.name] = param
            case Store(value, param, _, _, _) if uses and value.type != INDEX:
                params[param.name] = param
            case _ if uses:
                return None
    return next(iter(params.values())) if len(params) == 1 else None


def split(address: Affine, encoding: Encoding) -> tuple[Affine, int]:
    """A pointer near an address, and a displacement that loads of vectors can have."""
    if address.constant in encoding.near:
        return Affine(address.terms), address.constant
    displacement = address.constant % encoding.reach_bytes
    displacement -= displacement % VECTOR_BYTES
    return Affine(address.terms, address.constant - displacement), displacement


def advance(writer: Writer, cell: Reg, value: Affine, size: int) -> Op:
    """Add a number to the register of a carried index, of which a unit is `size` bytes.

    Raises `Unsupported` if the next trip's `value` is not the present one plus a number.
    """
    by = value.plus(writer.atom(cell), -1)
    if by.terms:
        raise Unsupported("a carried index that does not advance by a number")
    step = writer.encoding.immediate(abs(by.constant * size))
    sign, reads = "add" if by.constant > 0 else "sub", tuple[Reg, ...]()
    if not step:
        step, reads = "{1}", (writer.index(Affine((), abs(by.constant * size))),)
    return Op("integer", f"{sign} {{0}}, {{0}}, {step}", (), (cell,), reads)


def coalesced(ops: Sequence[Op], reg: Reg, cell: Reg) -> list[Op]:
    """The body of a loop in which a carried value is computed in the register that carries it.

    `reg` is the register where the next trip's value is computed. Empty if the present trip's value
    is still read then.
    """
    before = [n for n, op in enumerate(ops) if cell in op.registers]
    inside = [n for n, op in enumerate(ops) if reg in op.registers]
    if not inside or reg not in ops[inside[0]].writes or max(before, default=-1) >= inside[0]:
        return []
    return [renamed(op, {reg: cell}) for op in ops]

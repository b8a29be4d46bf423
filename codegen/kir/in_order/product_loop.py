"""Recognises the loops of register tiles: loads, products of vectors and lanes, and sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ellc.codegen.kir.ir import For, Imm, Let, Load, Operand, Prefetch, Stmt, Var
from ellc.codegen.kir.types import INDEX, Elem, VType

Uses = tuple[tuple[int, ...], ...]
"""For each load, or for each half, the products that read it."""
_F32X4 = VType(Elem.F32, 4)


@dataclass(frozen=True, slots=True)
class Product:
    """`accumulator += vector * other`; of `other` one lane counts, or all if `lane` is None.

    `accumulator` is the number of a carried value; `vector` and `other` are numbers of loads.
    """

    accumulator: int
    vector: int
    other: int
    lane: int | None


@dataclass(frozen=True, slots=True)
class ProductLoop:
    """A loop that only loads vectors of 4 floats and adds products of them to carried values."""

    start: int
    stop: int
    step: int
    indices: tuple[Let, ...]
    loads: tuple[Load, ...]
    products: tuple[Product, ...]
    prefetches: tuple[Prefetch, ...]

    @property
    def trips(self) -> int:
        """How often the body runs."""
        return len(range(self.start, self.stop, self.step))

    @property
    def uses(self) -> Uses:
        """For each load the numbers of the products that read it."""
        return uses_of(self.products, len(self.loads))

    def by_vector(self) -> ProductLoop:
        """The loop with its products in the order of `by_vector`."""
        return replace(self, products=tuple(by_vector(self.products)))


def by_vector(products: Sequence[Product]) -> list[Product]:
    """The products of each vector in a row, so that its register is soon free.

    The products of each sum keep their order; if that is not possible, all do.
    """
    first: dict[int, int] = {}
    for number, product in enumerate(products):
        first.setdefault(product.vector, number)
    ordered = sorted(products, key=lambda product: first[product.vector])
    return ordered if _of_sums(ordered) == _of_sums(products) else list(products)


def _of_sums(products: Sequence[Product]) -> dict[int, list[Product]]:
    sums: dict[int, list[Product]] = {}
    for product in products:
        sums.setdefault(product.accumulator, []).append(product)
    return sums


def uses_of(products: Sequence[Product], loads: int, half: int | None = None) -> Uses:
    """For each load the numbers of the products that read it, or its low or high half."""
    lanes = range(4) if half is None else range(2 * half, 2 * half + 2)

    def reads(product: Product, load: int) -> bool:
        of_half = product.lane is None or product.lane in lanes
        return load == product.vector or (load == product.other and of_half)

    return tuple(
        tuple(i for i, product in enumerate(products) if reads(product, load))
        for load in range(loads)
    )


def product_loop(loop: For) -> ProductLoop | None:
    """The loop as loads and products in the order of its statements; None if it has other ones."""
    if not (isinstance(loop.start, Imm) and isinstance(loop.stop, Imm)):
        return None
    reader = _Reader(loop)
    if not all(reader.reads(statement) for statement in loop.body):
        return None
    return reader.finished()


class _Reader:
    """Reads the statements of a loop in order."""

    def __init__(self, loop: For) -> None:
        self._loop = loop
        self._indices: list[Let] = []
        self._loads: list[Load] = []
        self._prefetches: list[Prefetch] = []
        self._load_of: dict[str, int] = {}
        self._lanes: dict[str, tuple[int, int]] = {}
        self._sums = {c.name: number for number, c in enumerate(loop.carried)}
        self._latest = [c.name for c in loop.carried]
        self._products: list[Product] = []

    def reads(self, statement: Stmt) -> bool:
        """Read a statement; returns whether it belongs to such a loop."""
        match statement:
            case Let(result, "add" | "sub", (_, _), ()) if result.type == INDEX:
                self._indices.append(statement)
            case Let(result, "mul", (_, Imm()) | (Imm(), _), ()) if result.type == INDEX:
                self._indices.append(statement)
            case Let(result, "splat_lane", (Var(name),), (lane, 4)) if name in self._load_of:
                self._lanes[result.name] = (self._load_of[name], lane)
            case Let(result, "mul_add", (a, b, Var(total)), ()):
                return self._product(result, a, b, total)
            case Load(result, _, _, _, _) if result.type == _F32X4:
                self._load_of[result.name] = len(self._loads)
                self._loads.append(statement)
            case Prefetch():
                self._prefetches.append(statement)
            case _:
                return False
        return True

    def finished(self) -> ProductLoop | None:
        """The loop, unless it yields anything but its sums."""
        yields = tuple(v.name for v in self._loop.yields if isinstance(v, Var))
        if yields != tuple(self._latest) or not self._products:
            return None
        start, stop = self._loop.start, self._loop.stop
        assert isinstance(start, Imm) and isinstance(stop, Imm)
        found = ProductLoop(
            int(start.value),
            int(stop.value),
            self._loop.step,
            tuple(self._indices),
            tuple(self._loads),
            tuple(self._products),
            tuple(self._prefetches),
        )
        return found if all(found.uses) else None

    def _product(self, result: Var, a: Operand, b: Operand, total: str) -> bool:
        number = self._sums.get(total)
        if number is None or total != self._latest[number]:
            return False
        if isinstance(a, Var) and a.name in self._lanes:
            a, b = b, a
        if not (isinstance(a, Var) and isinstance(b, Var)) or a.name not in self._load_of:
            return False
        if b.name in self._lanes:
            other, lane = self._lanes[b.name][0], self._lanes[b.name][1]
            self._products.append(Product(number, self._load_of[a.name], other, lane))
        elif b.name in self._load_of:
            self._products.append(
                Product(number, self._load_of[a.name], self._load_of[b.name], None)
            )
        else:
            return False
        self._sums[result.name] = number
        self._latest[number] = result.name
        return True

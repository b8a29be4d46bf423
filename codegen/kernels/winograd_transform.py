"""Winograd's transforms as exact matrices, derived from interpolation points.

A correlation of r taps that gives m results is a product of polynomials, which is known once its
values at m + r - 1 points are known (A. L. Toom 1963, S. Winograd 1980; for convolutional layers
A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural Networks", 2016). In one dimension,

    results = A^T ((G filter) * (B^T data)),    * element by element,

with one row of G and B^T, and one column of A^T, for each point. One point is infinity, which
stands for the leading coefficient. In two dimensions each transform is applied to rows and columns.
For a point p among the others q, the row of B^T has the coefficients of the product of all (x - q),
the row of G has the powers of p divided by the product of all (p - q), and the column of A^T has
the powers of p.

The points decide how large rounding errors become. Points of both signs halve the work, because
the even and the odd part of a polynomial serve both of them. For 4x4 results, this table has the
largest error and the mean error (rms) relative to the largest result, in units of 1e-7, for drawn
filters and positive images of 32 channels, summed in one chain:

| points besides 0 and infinity | largest | mean |
|-------------------------------|--------:|-----:|
| 1, -1, 2, -2                  |      47 |  2.7 |
| 1, -1, 1/2, -1/2              |      33 |  2.6 |
| 1, -1, 1/2, -2                |      11 |  1.8 |
| 5/8, -5/8, 3/2, -3/2          |      12 |  1.2 |
| 3/4, -3/4, 3/2, -3/2          |      11 |  1.3 |

The last row is used: as few operations as any points of both signs need, and every coefficient is
a float32. The third row, one of those that B. Barabasz et al. recommend ("Error Analysis and
Improving the Accuracy of Winograd Convolution for Deep Neural Networks", 2020), has no two pairs.
For 2x2 results, the largest error is 2.7.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, partial, reduce
from itertools import combinations

import numpy as np

from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Operand
from ellc.codegen.kir.types import Elem
from ellc.ir.types import Array

Row = tuple[Fraction, ...]
Matrix = tuple[Row, ...]

_POINTS: dict[int, tuple[Fraction, ...]] = {
    2: tuple(map(Fraction, ("0", "1", "-1"))),
    4: tuple(map(Fraction, ("0", "3/4", "-3/4", "3/2", "-3/2"))),
}
"""The finite points for m results of three taps."""
TAPS = 3


@dataclass(frozen=True, slots=True)
class Winograd:
    """The matrices for `results` results of `TAPS` taps: B^T, G and A^T."""

    results: int
    data: Matrix
    filters: Matrix
    sums: Matrix

    @property
    def points(self) -> int:
        """The number of points, and of values that a tile reads, in one dimension."""
        return self.results + TAPS - 1

    @property
    def products(self) -> int:
        """The number of products of matrices in two dimensions."""
        return self.points**2

    def transformed(self, weights: Array) -> Array:
        """Filters [F,3,3,C] in float64 -> [points, points, F, C]. They are not rounded."""
        g, exact = as_floats(self.filters), weights.astype(np.float64)
        return np.asarray(np.einsum("ia,fabc,jb->ijfc", g, exact, g, optimize=True))


@cache
def winograd(results: int) -> Winograd:
    """The transforms for 2 or 4 results in one dimension."""
    points = _POINTS[results]
    count = results + TAPS - 1
    data, filters = [], []
    for point in points:
        others = [q for q in points if q != point]
        divisor = reduce(Fraction.__mul__, (point - q for q in others), Fraction(1))
        data.append(_padded(_product_of(others), count))
        filters.append(tuple(point**k / divisor for k in range(TAPS)))
    data.append(_padded(_product_of(points), count))
    filters.append(_unit(TAPS, TAPS - 1))
    columns = [tuple(point**k for k in range(results)) for point in points]
    columns.append(_unit(results, results - 1))
    return Winograd(results, tuple(data), tuple(filters), tuple(zip(*columns, strict=True)))


def _product_of(roots: Sequence[Fraction]) -> Row:
    """The coefficients of the product of all (x - root), the constant one first."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *coefficients]
        scaled = [root * c for c in (*coefficients, Fraction(0))]
        coefficients = [a - b for a, b in zip(shifted, scaled, strict=True)]
    return tuple(coefficients)


def _padded(row: Row, length: int) -> Row:
    return (*row, *(Fraction(0),) * (length - len(row)))


def _unit(length: int, place: int) -> Row:
    return tuple(Fraction(int(k == place)) for k in range(length))


def as_floats(matrix: Matrix) -> Array:
    """A matrix in float64."""
    return np.array([[float(x) for x in row] for row in matrix])


def data_transform(b: KernelBuilder, rows: Matrix, values: Sequence[Operand]) -> list[Operand]:
    """`rows @ values`. Two rows of opposite points share their even part and their odd part.

    All parts are computed at the same time, so that none waits for another. The odd part includes
    its factor: a sum and a difference of registers keep both operands, which most instructions for
    multiply-adds do not.
    """
    pairs, single = _paired(rows)
    halves = [half for i, j in pairs for half in _halves(rows[i], rows[j])]
    found = b.interleaved(
        [partial(combined, b, part, values) for part in (*halves, *(rows[i] for i in single))]
    )
    made = dict(zip(single, found[len(halves) :], strict=True))
    for number, (i, j) in enumerate(pairs):
        even, odd = found[2 * number : 2 * number + 2]
        made[i], made[j] = b.add(even, odd), b.sub(even, odd)
    return [made[i] for i in range(len(rows))]


def sum_transform(
    b: KernelBuilder, rows: Matrix, values: Sequence[Operand], start: Operand | None = None
) -> list[Operand]:
    """`rows @ values`, plus `start` for every row.

    Two values of opposite points are first added and subtracted: rows of even powers read the sum,
    the others the difference.
    """
    columns: Matrix = tuple(zip(*rows, strict=True))
    pairs, single = _paired(columns)
    terms = [(columns[i], values[i]) for i in single]
    for i, j in pairs:
        even, odd = _halves(columns[i], columns[j])
        terms.append((even, b.add(values[i], values[j])))
        terms.append((odd, b.sub(values[i], values[j])))
    operands = [value for _, value in terms]
    made = [tuple(column[k] for column, _ in terms) for k in range(len(rows))]
    return b.interleaved([partial(combined, b, row, operands, start) for row in made])


def _paired(rows: Matrix) -> tuple[list[tuple[int, int]], list[int]]:
    """The pairs of rows of opposite points, and the other rows, by number."""
    pairs = [
        (i, j) for i, j in combinations(range(len(rows)), 2) if _are_opposite(rows[i], rows[j])
    ]
    return pairs, [i for i in range(len(rows)) if all(i not in pair for pair in pairs)]


def _are_opposite(first: Row, second: Row) -> bool:
    """Whether two rows differ only in the signs of some, but not all of their coefficients."""
    even, odd = _halves(first, second)
    return any(even) and any(odd) and not any(a and c for a, c in zip(even, odd, strict=True))


def _halves(first: Row, second: Row) -> tuple[Row, Row]:
    """Half the sum and half the difference of two rows."""
    pairs = list(zip(first, second, strict=True))
    return tuple((a + c) / 2 for a, c in pairs), tuple((a - c) / 2 for a, c in pairs)


def combined(
    b: KernelBuilder, factors: Row, values: Sequence[Operand], start: Operand | None = None
) -> Operand:
    """`start` plus the sum of `factors` times `values`. At least one factor must not be 0.

    Without `start`, the sum begins with a value whose factor is 1, if there is one.
    """
    terms = [(c, v) for c, v in zip(factors, values, strict=True) if c]
    total = start
    if total is None:
        first = next((i for i, (c, _) in enumerate(terms) if c == 1), 0)
        factor, value = terms.pop(first)
        total = value if factor == 1 else b.mul(value, b.const(float(factor), value))
    for factor, value in terms:
        if abs(factor) == 1:
            total = b.add(total, value) if factor > 0 else b.sub(total, value)
        else:
            total = b.mul_add(value, b.const(float(factor), value), total)
    return total


@cache
def operations(results: int) -> tuple[int, int]:
    """The vector operations of the two transforms in one dimension: of data, and of sums."""
    transform = winograd(results)
    counts = []
    for write, matrix in ((data_transform, transform.data), (sum_transform, transform.sums)):
        b = KernelBuilder("count")
        x = b.param("x", Elem.F32)
        values = [b.load(x, 0, offset=i) for i in range(transform.points)]
        write(b, matrix, values)
        counts.append(len(b.finish().body) - transform.points)
    return counts[0], counts[1]

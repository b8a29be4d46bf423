"""Undoes Winograd's filter transform: refined models hold transformed filters."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ellc.frontends.ell.layers import FloatArray
from ellc.frontends.ell.lower.context import Refused

# The matrix G of F(tile, filter): the transform of a filter g is G g G'. (Lavin and Gray, 2015.)
_FILTER_TRANSFORMS: dict[tuple[int, int], list[list[float]]] = {
    (2, 3): [[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]],
    (4, 3): [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ],
}


def filter_transform(tile: int, field: int) -> NDArray[np.float64]:
    """The matrix G [tile + field - 1, field]; raises `Refused` for sizes that ELL does not have."""
    rows = _FILTER_TRANSFORMS.get((tile, field))
    if rows is None:
        raise Refused(f"Winograd with tiles of {tile} and filters of {field} is not supported")
    return np.array(rows, np.float64)


def original_filters(
    stored: FloatArray, filters: int, tile: int, field: int, order: str
) -> FloatArray:
    """The original filters [filters * field, field, depth] of transformed filters.

    `stored` is flat. Its order is [filter, channel, window] for `filtersFirst` and [window, filter,
    channel] for `tilesFirst`. G has full column rank, so its pseudo-inverse undoes the transform.
    """
    transform = filter_transform(tile, field)
    window = transform.shape[0]
    if not filters or stored.size % (filters * window * window):
        raise Refused(f"{stored.size} transformed weights for {filters} filters")
    match order:
        case "filtersFirst":
            spread = stored.reshape(filters, -1, window, window)
        case "tilesFirst":
            spread = stored.reshape(window, window, filters, -1).transpose(2, 3, 0, 1)
        case _:
            raise Refused(f"unknown order '{order}'", "order")
    inverse = np.linalg.pinv(transform)
    plain = inverse @ spread.astype(np.float64) @ inverse.T
    result: FloatArray = plain.transpose(0, 2, 3, 1).astype(np.float32)
    return result.reshape(filters * field, field, -1)

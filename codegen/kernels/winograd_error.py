"""How large the rounding errors of a Winograd convolution become, computed from its weights.

The rounding error of an operation has the variance e^2 * x^2, where x is its result and
e = 2^-24 / sqrt(3); errors are independent of each other. The pixels of the image are taken as
independent, with equal mean squares q. Then all that follows is a sum of variances. Let b[i] be the
sum of the squares of row i of B^T. For plane (i, j) and a filter f with transformed weights U,

    square[i,j] = q * b[i] * b[j] * (sum over channels of U[i,j]^2)

is the mean square of the sum in M. Its error has the variance e^2 * square * K, where

    K = 1 for U, which is rounded once
      + 6 for V, because a path through either pass of its transform has at most three operations
      + 6 for the two passes that transform the sums, likewise
      + min(C, 256) / 2 + C / 256 for a chain of C products: its partial sums grow evenly, and
        chains are cut after 256 products (`gemm.CHAIN`).

An error in plane (i, j) reaches result (k, l) of the tile with the factor A^T[k,i] * A^T[l,j]. So

    error[k,l]^2 = e^2 * K * sum over (i, j) of (A^T[k,i] * A^T[l,j])^2 * square[i,j]
    result^2 = q * (sum of the squares of the filter's weights)

and the quotient of the largest error over all filters and places in a tile, and of the largest
result over all filters, does not depend on q. The largest of many errors and the largest of as many
results exceed their root mean squares by about the same factor, which cancels out. `SAFETY` stands
for data that are not like that.

For F(4x4) with 128 channels, this quotient and the largest error relative to the largest result of
150 tiles and 8 filters, in units of 1e-6 (drawn weights, and windows that are all multiples of one
window; pixels are normal, normal but at least 0, sums of their neighbours, or almost constant):

| filters           | predicted | normal | positive | smooth | constant |
|-------------------|----------:|-------:|---------:|-------:|---------:|
| normal            |       2.7 |    2.6 |      1.6 |    0.8 |      1.0 |
| worst window      |       6.2 |    5.5 |      4.0 |    1.2 |      0.9 |
| 1 2 1 x 1 2 1     |       2.4 |    2.6 |      1.3 |    0.4 |      0.5 |
| positive          |       3.3 |    2.4 |      0.8 |    0.5 |      0.5 |
| Laplace operator  |       1.6 |    1.3 |      1.2 |    1.5 |      1.3 |
| only the centre   |       1.3 |    0.8 |      1.1 |    0.4 |      0.4 |
"""

from __future__ import annotations

import numpy as np

from ellc.codegen.kernels.gemm import CHAIN
from ellc.codegen.kernels.winograd_transform import TAPS, Winograd, as_floats
from ellc.ir.types import Array

SAFETY = 3.0
"""The bound is this many times the expected error. With it, normal filters of 256 and more channels
have a bound of 1.1e-5, and filters that all have the worst window one of 2.5e-5."""
_ROUNDING = 2.0**-24 / np.sqrt(3.0)
_TRANSFORMS = 1 + 6 + 6
_LEAST, _MOST = 2.0**-60, 2.0**60
"""Weights must lie between these magnitudes, so that no product of weights in a transform comes
near the smallest or the largest float."""


def error_bound(transform: Winograd, weights: Array, scales: Array | None = None) -> float:
    """The largest error to expect, relative to the largest result; weights are [F,3,3,C].

    `scales` [F] are factors by which stages multiply the filters' results. The bound is infinite if
    it does not hold for these weights: if filters are 0, NaN, infinite or of extreme magnitudes.
    """
    filters, channels = weights.shape[0], weights.shape[3]
    windows = weights.reshape(filters, TAPS * TAPS, channels).astype(np.float64)
    size = float(np.abs(windows).max(initial=0.0))
    if not _LEAST < size < _MOST:
        return float(np.inf)
    # For each filter, the sums over channels of products of two taps.
    products = windows @ windows.swapaxes(1, 2)
    if scales is not None:
        products *= (scales**2)[:, None, None]
    g, data, sums = map(as_floats, (transform.filters, transform.data, transform.sums))
    rows = np.einsum("ia,jb->ijab", g, g).reshape(transform.points, transform.points, -1)
    squares = np.einsum("ijp,fpq,ijq->ijf", rows, products, rows, optimize=True)
    norms = (data**2).sum(axis=1)
    squares *= norms[:, None, None] * norms[None, :, None]
    errors = np.einsum("ki,lj,ijf->klf", sums**2, sums**2, squares, optimize=True)
    largest = np.trace(products, axis1=1, axis2=2).max()
    if not 0 < largest < np.inf:
        return float(np.inf)
    chain = min(channels, CHAIN) / 2 + channels / CHAIN
    return float(SAFETY * _ROUNDING * np.sqrt((_TRANSFORMS + chain) * errors.max() / largest))

"""Products with the adjoint of a dense matrix, one column after the other: at the speed of memory."""

from __future__ import annotations

import numpy as np

from sparseinv.kernels.jit import kernel

REDUCE = {"reassoc", "contract"}
_MODULUS = np.int64(0x7FFF_FFFF_FFFF_FFFF)  # all bits but the sign


@kernel(fastmath=REDUCE)
def adjoint_product(dense, y, out):
    """Write a_j^T y of every column into out; real data."""
    for j in range(dense.shape[1]):
        total = 0.0
        for i in range(dense.shape[0]):
            total += dense[i, j] * y[i]
        out[j] = total


@kernel(fastmath=REDUCE)
def surveying_product(dense, bits, y, out):
    """Do the same, and return the bits of the largest modulus in the matrix.

    ``bits`` is the matrix seen as integers: without the sign they are ordered like the moduli, with NaN
    and infinity above all others.
    """
    largest = np.int64(0)
    for j in range(dense.shape[1]):
        total = 0.0
        top = np.int64(0)
        for i in range(dense.shape[0]):
            total += dense[i, j] * y[i]
            top = max(top, bits[i, j] & _MODULUS)
        out[j] = total
        largest = max(largest, top)
    return largest

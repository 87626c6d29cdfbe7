"""Products with matrices of real numbers, one column after the other: at the speed of memory."""

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


@kernel(fastmath=REDUCE)
def surveying_sparse_product(data, bits, indices, indptr, y, out):
    """Do the same for a CSC matrix; return -1 where its indices are out of order or out of range."""
    largest = np.int64(0)
    if indptr[0] != 0 or indptr[-1] > data.size:
        return np.int64(-1)
    for j in range(indptr.size - 1):
        if indptr[j + 1] < indptr[j]:
            return np.int64(-1)
        total = 0.0
        top = np.int64(0)
        before = -1
        for k in range(indptr[j], indptr[j + 1]):
            i = indices[k]
            if i <= before or i >= y.size:
                return np.int64(-1)
            before = i
            total += data[k] * y[i]
            top = max(top, bits[k] & _MODULUS)
        out[j] = total
        largest = max(largest, top)
    return largest


@kernel()
def add_columns(layout, index, x, r):
    """Add sum_k x_k a_index[k] to r; ``layout`` is (dense, data, indices, indptr), one half empty.

    The column behind the last one holds ones, the one behind that minus ones.
    """
    dense, data, indices, indptr = layout
    width = dense.shape[1] if indptr.size == 0 else indptr.size - 1
    for k in range(index.size):
        j = index[k]
        if j >= width:
            for i in range(r.size):
                r[i] += x[k] if j == width else -x[k]
        elif indptr.size == 0:
            for i in range(r.size):
                r[i] += x[k] * dense[i, j]
        else:
            for i in range(indptr[j], indptr[j + 1]):
                r[indices[i]] += x[k] * data[i]


@kernel(fastmath=REDUCE)
def sparse_gram(layout, index, old, work, out):
    """Write a_index[i]^T a_index[old + k] into out[i, k] for the columns of a CSC matrix.

    ``work`` has as many zeros as the matrix has rows; it comes back as it was. The column behind the last one
    holds ones, the one behind that minus ones.
    """
    _, data, indices, indptr = layout
    width = indptr.size - 1
    for k in range(index.size - old):
        j = index[old + k]
        if j < width:
            for i in range(indptr[j], indptr[j + 1]):
                work[indices[i]] = data[i]
        else:
            work[:] = 1.0 if j == width else -1.0
        for p in range(old + k + 1):
            other = index[p]
            total = 0.0
            if other < width:
                for i in range(indptr[other], indptr[other + 1]):
                    total += data[i] * work[indices[i]]
            else:
                for i in range(work.size):
                    total += work[i]
                if other > width:
                    total = -total
            out[p, k] = total
            if p >= old:
                out[old + k, p - old] = total
        if j < width:
            for i in range(indptr[j], indptr[j + 1]):
                work[indices[i]] = 0.0
        else:
            work[:] = 0.0

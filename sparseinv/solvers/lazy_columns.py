"""Columns of a matrix-free A, written down when a working set first asks for them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparseinv.counted_operator import CountedOperator
from sparseinv.operators.matrix import DenseMatrix, ExplicitMatrix, SparseMatrix
from sparseinv.problem import Problem
from sparseinv.stopping import Budget

Array = np.ndarray[Any, Any]

BYTES = 1 << 29  # what the columns of one run may take; beyond it the run goes on without them
LARGEST_LAZY = 3000  # active columns where those of A are written down one by one, at most
_BLOCK_BYTES = 1 << 24  # columns are asked for in dense blocks of at most this size
_BLOCK = 256  # and of at most so many
_LONG = 1 << 16  # a column of more entries is no cheaper than a product by a fast transform
_SPARSE = 0.1  # share of non-zeros in the first block up to which columns are kept in sparse form
_GROWTH = 1.5  # arrays grow by this factor
_WAIT = 60  # products without half the gap before a first-order method is given up for columns
_SPARE = 60  # columns beside the support that the rest of a run takes
_ADVANTAGE = 2.0  # the factor by which columns must be expected to need fewer products


def are_cheap(problem: Problem) -> bool:
    """Tell whether columns of A are at hand or cost far less than products."""
    return problem.explicit or (problem.operator.inner.closed_columns and problem.m <= _LONG)


class LazyColumns:
    """Keep every column that was ever asked for, dense or sparse, up to a fixed amount of memory.

    Attributes
    ----------
    operator : CountedOperator
        A; counts the columns as what they are, products or columns in closed form.
    closed : bool
        Whether columns make no product with A.
    full : bool
        Whether columns had to be left out for want of memory.
    """

    def __init__(self, problem: Problem) -> None:
        self.operator: CountedOperator = problem.operator
        self.closed = bool(problem.operator.inner.closed_columns)
        self.full = False
        self._m = problem.m
        self._place = np.full(problem.n, -1, dtype=np.int64)  # where each column of A is kept
        self._k = 0
        self._sparse: bool | None = None  # decided by the first block
        self._rows = np.empty((0, problem.m))  # dense columns, one a row
        self._data, self._indices = np.empty(0), np.empty(0, dtype=np.int32)
        self._indptr = np.zeros(1, dtype=np.int32)

    def known(self, index: Array) -> Array:
        """Return those of the columns that are at hand, or can be had without a product."""
        return index if self.closed else index[self._place[index] >= 0]

    def affordable(self, index: Array) -> Array:
        """Write down the columns that are missing; return those of index for which memory suffices."""
        missing = index[self._place[index] < 0]
        block = max(1, min(_BLOCK, _BLOCK_BYTES // (8 * max(self._m, 1))))
        start = 0
        while start < missing.size:
            chosen = missing[start : start + min(block, self._room())]
            if chosen.size == 0:
                self.full = True
                break
            self._add(chosen, self.operator.columns(chosen))
            start += chosen.size
        return index[self._place[index] >= 0]

    def take(self, index: Array) -> tuple[ExplicitMatrix, Array]:
        """Return (matrix, place): column index[i] of A is column place[i] of the matrix."""
        return self._matrix(), self._place[index]

    def _room(self) -> int:
        """Return how many more columns fit, judged by those at hand; they are held twice while active."""
        each = 12.0 * int(self._indptr[self._k]) / self._k if self._sparse else 8.0 * self._m
        return max(0, int(BYTES / max(2.0 * each, 1.0)) - self._k)

    def _matrix(self) -> ExplicitMatrix:
        if not self._sparse:
            return DenseMatrix(self._rows[: self._k].T)
        from scipy.sparse import csc_array

        filled = self._indptr[self._k]
        parts = (self._data[:filled], self._indices[:filled], self._indptr[: self._k + 1])
        return SparseMatrix(csc_array(parts, shape=(self._m, self._k)))

    def _add(self, index: Array, columns: Array) -> None:
        rows = np.ascontiguousarray(columns.real.T, dtype=np.float64)
        if self._sparse is None:
            self._sparse = bool(np.count_nonzero(rows) <= _SPARSE * rows.size)
        old, new = self._k, self._k + index.size
        if self._sparse:
            column, row = np.nonzero(rows)
            first = int(self._indptr[old])
            last = first + row.size
            self._data = _longer(self._data, last)
            self._indices = _longer(self._indices, last)
            self._indptr = _longer(self._indptr, new + 1)
            self._data[first:last], self._indices[first:last] = rows[column, row], row
            counts = np.bincount(column, minlength=index.size)
            self._indptr[old + 1 : new + 1] = first + np.cumsum(counts)
        else:
            self._rows = _longer(self._rows, new)
            self._rows[old:new] = rows
        self._k = new
        self._place[index] = np.arange(old, new)


def _longer(array: Array, size: int) -> Array:
    """Return the array, copied into a larger one where it is shorter than size."""
    if size <= array.shape[0]:
        return array
    out = np.zeros((max(size, int(_GROWTH * array.shape[0])), *array.shape[1:]), dtype=array.dtype)
    out[: array.shape[0]] = array
    return out


@dataclass(slots=True)
class Patience:
    """Tell when a first-order method is expected to take more products than the columns of its support."""

    target: float = math.inf  # half of the gap that counts as progress
    since: int = 0  # products spent when it was reached

    def exhausted(self, budget: Budget, spent: int, price: float) -> bool:
        """Judge by the gap, the products so far and the price of the support in products."""
        if budget.gap <= self.target:
            self.target, self.since = 0.5 * budget.gap, spent
        waited = spent - self.since
        if waited < _WAIT or not math.isfinite(self.target):
            return False
        halvings = math.log2(max(2.0 * self.target / max(budget.tol, 1e-15), 2.0))
        return waited * halvings > _ADVANTAGE * (price + _SPARE)

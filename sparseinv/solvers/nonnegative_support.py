"""The fit of b by nonnegative multiples of a few columns, among which none is kept for nothing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sparseinv.nonnegative import nonnegative_fit
from sparseinv.problem import Problem, squared

Array = np.ndarray[Any, Any]

_ROUNDING = 4e-15  # of ||b||, times the root of the number of columns: what is left of an exact fit
_PULL = 1e-12  # cosine between a column and what is left of b below which it is rounding


class NonnegativeSupport:
    """Hold the nonnegative least-squares fit on a support; columns that get no weight leave it.

    Minimises ``1/2 ||A_S x_S - b||^2 + sum ridge_j x_j^2 / 2`` over x_S >= 0; real data. A column costs a
    product with A^T and a fit of its own.

    Parameters
    ----------
    problem : Problem
        A and b in working units.
    ridge : ndarray, shape (n,)
        Levels of x_j^2 / 2.
    most : int
        Largest support.
    """

    def __init__(self, problem: Problem, ridge: Array, most: int) -> None:
        self.problem, self.most = problem, min(most, problem.n)
        self.root = np.sqrt(ridge)
        self.squares = problem.column_norms**2 + ridge
        self.support: list[int] = []
        self.inside = ~(self.squares > 0.0)
        self._columns = np.zeros((problem.m, 0), order="F")
        self._w = np.zeros(0)
        self._tried = (np.zeros(0, dtype=np.int64), self._columns)  # what the last fit was made of
        self.c = problem.gradient(problem.b)
        self._left = math.sqrt(2.0 * problem.scale)

    @property
    def k(self) -> int:
        """Number of columns in the support."""
        return len(self.support)

    @property
    def size(self) -> float:
        """Euclidean norm of the residual, ridge rows included."""
        return self._left

    @property
    def value(self) -> float:
        """1/2 ||A x - b||^2 + sum ridge_j x_j^2 / 2."""
        return 0.5 * self._left * self._left

    @property
    def exact(self) -> bool:
        """Whether nothing but rounding is left of b."""
        return self._left <= _ROUNDING * math.sqrt((self.k + 1) * 2.0 * self.problem.scale)

    @property
    def x(self) -> Array:
        """The coefficients (n,) of the fit."""
        out = np.zeros(self.problem.n)
        out[self.support] = self._w
        return out

    @property
    def pull(self) -> Array:
        """Squares of the part of a_j^T r that asks for more of column j."""
        return np.asarray(np.maximum(self.c, 0.0) ** 2)

    def usable(self) -> Array:
        """Return the mask of the columns outside that more of would lower the value."""
        return ~self.inside & (self.c > _PULL * self._left * np.sqrt(self.squares))

    def add(self, j: int, promise: Array | None = None) -> bool:
        """Let column j in and fit anew; return False where it gets no weight."""
        column = self.problem.operator.columns(np.array([j]))
        columns = np.concatenate([self._columns, column], axis=1)
        live = self._fit(np.array([*self.support, j]), columns)
        if not live[-1]:
            self.inside[j] = True
        return bool(live[-1])

    def remove(self, place: int) -> None:
        """Let the column at a place out and fit anew, with those that the last one to come had pushed out."""
        index, columns = self._tried
        stays = index != self.support[place]
        self._fit(index[stays], columns[:, stays])

    def _fit(self, index: Array, columns: Array) -> Array:
        """Fit b by columns; return the mask of those that get weight, which are the new support."""
        problem, m = self.problem, self.problem.m
        norms = np.sqrt(self.squares[index])
        rows = m + (index.size if self.root[index].any() else 0)
        scaled = np.zeros((rows, index.size), order="F")
        scaled[:m] = columns / norms
        if rows > m:
            scaled[m + np.arange(index.size), np.arange(index.size)] = self.root[index] / norms
        target = np.concatenate([problem.b, np.zeros(rows - m)])
        w = nonnegative_fit(scaled, target)
        live = np.asarray(w > 0)
        r = target - scaled @ w
        self._left = math.sqrt(squared(r))
        self.support, self._tried = [int(i) for i in index[live]], (index, columns)
        self._columns, self._w = np.asfortranarray(columns[:, live]), (w / norms)[live]
        self.inside = ~(self.squares > 0.0)
        self.inside[self.support] = True
        self.c = problem.gradient(np.ascontiguousarray(r[:m]))
        return live

"""The active coefficients of a matrix-free A over C, known by the entries of its Gram matrix alone.

No column is formed: entries of ``A^H A`` are looked up, and what is asked of all columns comes from the
product with A^H that certified the last point. The matrix-free counterpart of `active_blocks`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sparseinv.operators.base import Entries
from sparseinv.penalties.separable import Separable
from sparseinv.problem import Problem
from sparseinv.solvers.active_blocks import FILTER_SWEEPS, ActiveBlocks
from sparseinv.solvers.lazy_columns import LARGEST_LAZY

Array = np.ndarray[Any, Any]


def are_known(problem: Problem) -> bool:
    """Tell whether coefficients over C have costs of their own and entries of A^H A a closed form."""
    return (
        not problem.explicit
        and isinstance(problem.penalty, Separable)
        and problem.operator.gram_entries() is not None
        and "c" in (problem.operator.dtype.kind, problem.b.dtype.kind)
    )


@dataclass(frozen=True, eq=False)
class Places:
    """Hold the places of some coefficients, each a block of one."""

    index: Array

    @property
    def sizes(self) -> Array:
        """Ones."""
        return np.ones(self.index.size, dtype=np.int64)

    def spread(self, y: Array, n: int) -> Array:
        """Return x (n,), y at these places."""
        x = np.zeros(n, dtype=y.dtype)
        x[self.index] = y
        return x

    def gather(self, v: Array) -> Array:
        """Return v at these places."""
        return np.asarray(v[self.index])


class Unwritten:
    """Answer `LazyColumns`' questions where no column is ever written down."""

    closed = True
    full = False

    def known(self, index: Array) -> Array:
        """Return none: to look at some columns takes a product with all of them."""
        return index[:0]

    def __init__(self) -> None:
        self.room = LARGEST_LAZY + 1  # one more than may be active, for another method to take over

    def affordable(self, index: Array) -> Array:
        """Return as many as the Gram matrix has room for."""
        return index[: self.room]


class ActiveEntries(ActiveBlocks):
    """Hold the active coefficients, their Gram matrix, and the gradient at all places.

    Two products a round: A with the new coefficients, A^H with the residual.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.lazy = Unwritten()
        entries = problem.operator.gram_entries()
        assert entries is not None
        self._entries: Entries = entries
        self._all = np.zeros(problem.n, dtype=problem.dtype)  # A^H r at the last point that was looked at
        self._last: tuple[Array, Array] | None = None  # coordinates and their residual

    def _no_columns(self, rows: Array, weight: Array) -> Places:
        return Places(np.empty(0, dtype=np.int64))

    def _is_wide(self, live: int) -> bool:
        return False  # there are no rows to treat

    def survivors(self, index: Array, level: float, r: Array) -> Array:
        """Sweep over newcomers alone; return those that become non-zero."""
        from sparseinv.kernels.descent import gram_group_descent

        gram = np.asfortranarray(self._entries(index, index))
        index = index[gram.diagonal().real > 0.0]
        if index.size < gram.shape[0]:
            gram = np.asfortranarray(self._entries(index, index))
        g, y = self._all[index], np.zeros(index.size, dtype=self.problem.dtype)
        starts = np.arange(index.size + 1)
        scratch = (np.empty(1), *np.empty((2, 1), dtype=g.dtype))
        lam, ridge = level * self.blocks.level[index], self.blocks.ridge[index]
        gram_group_descent(gram, starts, lam, ridge, y, g, FILTER_SWEEPS, 0.0, scratch)
        return np.asarray(index[y != 0])

    def extend(self, index: Array, correlations: Array | None = None) -> None:
        """Add coefficients, given A^H b at their places."""
        assert self.gram is not None
        assert correlations is not None
        old, new = self.k, self.k + index.size
        if new > self._x.size:
            self._grow(max(new, old + old // 2, 128))
        every = np.concatenate([self.columns.index, index])
        self.gram[:new, old:new] = block = self._entries(every, index)
        self.gram[old:new, :old] = block[:old].conj().T
        self.q[old:new] = correlations
        self._squares = np.concatenate([self._squares, block[old:].diagonal().real])
        self._x[old:new] = 0.0
        self._g[old:new] = self._all[index]
        self.columns = Places(every)
        self.lazy.room = max(LARGEST_LAZY + 1 - new, 0)
        self._lay_out()

    def _room_for_rows(self, capacity: int) -> None:
        """Nothing: there are none."""

    def start(self, index: Array, correlations: Array, x: Array) -> None:
        """Add the first coefficients, with their values in x (n,), given all of A^H b."""
        self._all = -correlations
        self.extend(index, correlations[index])
        self.place(x)

    def place(self, x: Array) -> None:
        """Go on from x (n,)."""
        assert self.gram is not None
        k = self.k
        self.x[:] = self.columns.gather(x)
        self.g[:] = self.gram[:k, :k] @ self.x - self.q[:k]

    def residual(self) -> Array:
        """Return A x - b."""
        if self._last is None or not np.array_equal(self._last[0], self.x):
            self._last = (self.x.copy(), self.problem.residual(self.solution()))
        return self._last[1].copy()

    def refresh(self, g: Array) -> None:
        """Take over the gradient A^H r (n,)."""
        self._all = g
        super().refresh(g)

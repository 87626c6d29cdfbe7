"""Products A^T r of vectors that lie close to the span of earlier ones, with a proof of how close."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_MOST = 32  # vectors kept
_SHARE = 16  # of the order of A to that number, at least
_SMALLEST = 1 << 20  # entries of A below which a product costs less than the bound
_FRESH = 1e-4  # a vector closer to the span than this, relative, would add rounding errors only
_EPS = 2.3e-16  # relative error of one rounding
_NO_NORM = 1e-140  # columns with shorter norms are read: their squares underflow


class ProductSpan:
    """Keep orthonormal vectors q_i with their products A^T q_i.

    With r = sum_i alpha_i q_i + d, every column obeys
    ``|a_j^T r - sum_i alpha_i a_j^T q_i| <= ||a_j|| (||d|| + sum_i |alpha_i| e_i)`` where e_i bounds the
    rounding errors of the products kept, which grow from one vector to the next. Residuals along a path
    of solutions are piecewise linear in lambda, so that d is much shorter than the step between levels.

    Parameters
    ----------
    norms : ndarray, shape (n,)
        Column norms of A.
    m : int
        Rows of A.
    """

    def __init__(self, norms: Array, m: int) -> None:
        most = min(_MOST, min(m, norms.size) // _SHARE)
        self.norms = norms
        self._vectors, self._products = np.zeros((most, m)), np.zeros((most, norms.size))
        self._errors = np.zeros(most)  # of the products, relative to ||a_j||
        self._unknown = norms < _NO_NORM
        self._next = 0
        self._columns = 0  # read one by one and not yet counted as a product

    @staticmethod
    def pays(m: int, n: int) -> bool:
        """Tell whether a bound is much cheaper than a product."""
        return n >= m >= 2 * _SHARE and m * n >= _SMALLEST

    def estimate(self, r: Array) -> tuple[Array, Array]:
        """Return (estimates of a_j^T r, how far each may be off)."""
        alpha, d = self._split(r)
        length = float(np.linalg.norm(d)) * (1.0 + 1e-12) + self._error(r, alpha)
        return alpha @ self._products, length * self.norms

    def _error(self, r: Array, alpha: Array) -> float:
        """Return what rounding may do to a sum of the products kept, or to a product with r, over ||a_j||."""
        own = _EPS * (r.size + alpha.size) * float(np.linalg.norm(r))
        return own + float(np.abs(alpha) @ self._errors)

    def bound(self, r: Array, exact: Array, level: Array, nonnegative: bool) -> tuple[Array, Array, Array]:
        """Return (bounds with a sign, estimates, mask of the columns that must be read) for A^T r.

        A column must be read if it is marked in ``exact`` or if its bound reaches its level. Of a nonnegative
        penalty only -a_j^T r counts, so that its bound is the least value that a_j^T r can have.
        """
        estimate, off = self.estimate(r)
        if nonnegative:
            g = estimate - off
            return g, estimate, exact | (-g >= level) | self._unknown
        g = np.copysign(np.abs(estimate) + off, estimate)
        return g, estimate, exact | (np.abs(g) >= level) | self._unknown

    def read(self, layout: Any, index: Array, r: Array, g: Array, estimate: Array) -> int:
        """Write a_j^T r of the columns ``index`` into g and estimate; return how many products that makes."""
        from sparseinv.kernels.descent import selected_gradient

        products = np.empty(index.size)
        selected_gradient(layout, index, r, products)
        g[index] = estimate[index] = products
        whole, self._columns = divmod(self._columns + index.size, self.norms.size)
        return whole

    def add(self, r: Array, g: Array) -> None:
        """Keep the direction of r, given g = A^T r; it takes the place of the oldest one."""
        if not float(np.linalg.norm(self._split(r)[1])) > _FRESH * float(np.linalg.norm(r)):
            return
        place = self._next % len(self._vectors)
        # first, so that r itself lies in the new span
        self._vectors[place] = self._products[place] = self._errors[place] = 0.0
        alpha, d = self._split(r)
        length = float(np.linalg.norm(d))
        self._vectors[place], self._products[place] = d / length, (g - alpha @ self._products) / length
        self._errors[place] = self._error(r, alpha) / length
        self._next += 1

    def _split(self, r: Array) -> tuple[Array, Array]:
        alpha = self._vectors @ r
        d = r - alpha @ self._vectors
        again = self._vectors @ d  # what rounding left of them
        return alpha + again, d - again @ self._vectors

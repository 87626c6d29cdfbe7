"""What a support leaves of columns that nearly depend on it, to full relative precision.

Of a column a = A_S t + c with a tiny c, products of columns know c only up to rounding of a. Here A_S t is
taken off in twice the working precision, for a t that is itself only good to rounding: what is left is exact
but for its own last digits and spans, with A_S, the same space as a.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]

_SPLIT = 2.0**27 + 1.0  # halves the digits of a number (Dekker)
_ROUNDS = 3  # projections, each of what the one before has left
SAME = 1e-13  # of its length: a column of which less is left is the same as others but for rounding


class Left(NamedTuple):
    """What is left of a column, and the coefficients of what was taken off."""

    column: Array  # (m,)
    square: float  # its squared norm, 0 where the column is the same as others but for rounding
    shares: Array  # t (k,)


class Basis:
    """An orthonormal basis of columns that may be nearly dependent, in the order in which they are given."""

    def __init__(self, columns: Array) -> None:
        m, k = columns.shape
        self.columns = columns
        self.norms = np.linalg.norm(columns, axis=0)
        self.q, self.upper = np.zeros((m, k), dtype=columns.dtype), np.zeros((k, k), dtype=columns.dtype)
        self.size = 0
        for j in range(k):
            left, along = self._parts(columns[:, j])
            size = float(np.linalg.norm(left))
            if not size > SAME * self.norms[j]:
                break
            self.upper[:j, j], self.upper[j, j] = along, size
            self.q[:, j] = left / size
            self.size += 1

    @property
    def complete(self) -> bool:
        """Whether no column is the same as others but for rounding."""
        return self.size == self.columns.shape[1]

    def _parts(self, a: Array) -> tuple[Array, Array]:
        """Return (what the basis so far leaves of a, coefficients of the rest in the basis)."""
        from scipy.linalg import solve_triangular

        k = self.size
        q, upper, held = self.q[:, :k], self.upper[:k, :k], self.columns[:, :k]
        left, along = np.array(a), np.zeros(k, dtype=self.q.dtype)
        for number in range(_ROUNDS if k else 0):
            part = q.conj().T @ left
            along += part
            if number == 0:  # in terms of the columns themselves, whose entries are exact
                t = solve_triangular(upper, part, check_finite=False)
                left = difference(a, held, t)
                along = upper @ t
            else:
                left = left - q @ part
        return left, along

    def left(self, a: Array) -> Left:
        """Return what the columns leave of a."""
        from scipy.linalg import solve_triangular

        norm = float(np.linalg.norm(a))
        column, along = self._parts(a)
        size = float(np.linalg.norm(column))
        shares = solve_triangular(self.upper[: self.size, : self.size], along, check_finite=False)
        return Left(column, size * size if size > SAME * norm else 0.0, shares)

    def fit(self, b: Array) -> Array:
        """Return the coefficients of the least-squares fit of b, refined with its own residual."""
        from scipy.linalg import solve_triangular

        upper, q = self.upper[: self.size, : self.size], self.q[:, : self.size]
        x = solve_triangular(upper, q.conj().T @ b, check_finite=False)
        for _ in range(2):
            x = x + solve_triangular(upper, q.conj().T @ difference(b, self.columns, x), check_finite=False)
        return np.asarray(x)


def difference(a: Array, columns: Array, t: Array) -> Array:
    """Return a - columns @ t rounded once, as if computed in twice the working precision."""
    if np.iscomplexobj(a) or np.iscomplexobj(columns) or np.iscomplexobj(t):
        a, columns, t = np.asarray(a, complex), np.asarray(columns, complex), np.asarray(t, complex)
        both = np.concatenate([columns.real, columns.imag], axis=1)
        turned = np.concatenate([columns.imag, columns.real], axis=1)
        real = difference(a.real, both, np.concatenate([t.real, -t.imag]))
        return real + 1j * difference(a.imag, turned, np.concatenate([t.real, t.imag]))
    high, low = np.array(a, dtype=np.float64), np.zeros(a.shape)
    for column, share in zip(columns.T, t, strict=True):
        product, lost = _product(column, -float(share))
        total = high + product
        shift = total - high
        low += ((high - (total - shift)) + (product - shift)) + lost
        high = total
    return np.asarray(high + low)


def _product(x: Array, y: float) -> tuple[Array, Array]:
    """Return (x y rounded, what rounding took)."""
    product = x * y
    c = _SPLIT * x
    x_high = c - (c - x)
    d = _SPLIT * y
    y_high = d - (d - y)
    x_low, y_low = x - x_high, y - y_high
    return product, ((x_high * y_high - product) + x_high * y_low + x_low * y_high) + x_low * y_low

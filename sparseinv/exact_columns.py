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
_ROUNDS = 2  # projections of what was left in twice the working precision
_PLAIN = 1e-3  # of its length: what is left of a column has enough digits in working precision
SAME = 1e-13  # of its length: a column of which less is left is the same as others but for rounding


class Left(NamedTuple):
    """What is left of a column, and the coefficients of what was taken off."""

    column: Array  # (m,)
    square: float  # its squared norm, 0 where the column is the same as others but for rounding
    shares: Array  # t (k,)


class Basis:
    """An orthonormal basis of columns that may be nearly dependent, in the order in which they are given.

    Columns that are the same as earlier ones but for rounding have no part in it, and coefficients of zero.
    """

    def __init__(self, columns: Array) -> None:
        m, k = columns.shape
        self.columns, self.kept = np.empty((m, k), dtype=columns.dtype, order="F"), np.zeros(k, dtype=bool)
        self.q, self.upper = np.zeros((m, k), dtype=columns.dtype, order="F"), np.zeros((k, k), columns.dtype)
        self.size = 0
        for j in range(k):
            left, along = self._parts(columns[:, j])
            length, at = float(np.linalg.norm(left)), self.size
            if not length > SAME * float(np.linalg.norm(columns[:, j])):
                continue
            self.upper[:at, at], self.upper[at, at] = along, length
            self.q[:, at], self.columns[:, at] = left / length, columns[:, j]
            self.kept[j] = True
            self.size += 1

    @property
    def complete(self) -> bool:
        """Whether no column is the same as others but for rounding."""
        return bool(self.kept.all())

    def _solved(self, along: Array) -> Array:
        """Return the coefficients of the columns kept for those of their basis."""
        from scipy.linalg import solve_triangular

        return np.asarray(
            solve_triangular(self.upper[: self.size, : self.size], along, check_finite=False)
            if self.size
            else along
        )

    def _spread(self, t: Array) -> Array:
        """Return the coefficients of all columns."""
        out = np.zeros(self.kept.size, dtype=self.q.dtype)
        out[self.kept] = t
        return out

    def _parts(self, a: Array) -> tuple[Array, Array]:
        """Return (what the basis so far leaves of a, coefficients of the rest in the basis)."""
        k = self.size
        q, upper, held = self.q[:, :k], self.upper[:k, :k], self.columns[:, :k]
        along = q.conj().T @ a
        left = a - q @ along
        again = q.conj().T @ left
        left = left - q @ again
        if not k or np.linalg.norm(left) > _PLAIN * np.linalg.norm(a):
            return left, along + again
        # in terms of the columns themselves, whose entries are exact
        t = self._solved(along)
        left, along = difference(a, held, t), upper @ t
        for _ in range(_ROUNDS):
            part = q.conj().T @ left
            along += part
            left = left - q @ part
        return left, along

    def left(self, a: Array) -> Left:
        """Return what the columns leave of a."""
        column, along = self._parts(a)
        length = float(np.linalg.norm(column))
        there = length > SAME * float(np.linalg.norm(a))
        return Left(column, length * length if there else 0.0, self._spread(self._solved(along)))

    def fit(self, b: Array) -> Array:
        """Return the coefficients of the least-squares fit of b, refined with its own residual."""
        q, held = self.q[:, : self.size], self.columns[:, : self.size]
        x = self._solved(q.conj().T @ b)
        for _ in range(2):
            x = x + self._solved(q.conj().T @ difference(b, held, x))
        return self._spread(x)


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

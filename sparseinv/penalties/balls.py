"""Balls: sets that x must lie in, in place of a level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.penalties.base import Penalty

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Ball(Penalty):
    """The set of vectors of n coefficients with at most k of them not zero; what solvers see."""

    k: int
    n: int

    convex = False
    nonnegative = False
    quadratic = False

    @property
    def excluded(self) -> Array:
        """Mask of the coefficients held at zero: none."""
        return np.zeros(self.n, dtype=bool)

    @property
    def unpenalised(self) -> Array:
        """Mask of the coefficients that are free whatever the others are: none."""
        return np.zeros(self.n, dtype=bool)

    def value(self, x: Array) -> float:
        """Return 0 in the ball and infinity outside."""
        return 0.0 if np.count_nonzero(x) <= self.k else np.inf

    def prox(self, v: Array, step: Any) -> Array:
        """Return v with all but the k largest moduli at zero; of equal ones the first stay."""
        out = np.zeros_like(v)
        if self.k >= v.size:
            return v.copy()
        if self.k > 0:
            kept = np.argsort(-np.abs(v), kind="stable")[: self.k]
            out[kept] = v[kept]
        return out

    def in_units(self, b_exponent: int, a_exponent: int) -> Ball:
        """Return the same set: it knows no scale."""
        return self


@dataclass(frozen=True, eq=False, repr=False)
class L0Ball(Penalty):
    """Allow at most k non-zero coefficients: R(x) = 0 if ||x||_0 <= k, else infinity.

    Parameters
    ----------
    k : int
        Most non-zero coefficients, >= 0.

    Notes
    -----
    Nonconvex, and without a scale: b -> s b takes x to s x. prox: the k largest moduli stay.

    Examples
    --------
    >>> L0Ball(1).prox(np.array([1.0, -3.0]), 1.0)
    array([ 0., -3.])
    """

    k: int

    def __post_init__(self) -> None:
        """Check k."""
        object.__setattr__(self, "k", validation.count(self.k, "k"))

    def bind(self, n: int) -> Ball:
        """Return the set of vectors of n coefficients."""
        return Ball(self.k, n)

    def value(self, x: Array) -> float:
        """Return 0 in the ball and infinity outside."""
        return self.bind(np.size(x)).value(np.asarray(x))

    def prox(self, v: Array, step: float) -> Array:
        """Return v with all but the k largest moduli at zero."""
        return self.bind(np.size(v)).prox(np.asarray(v), step)

    def __repr__(self) -> str:
        return f"L0Ball({self.k})"

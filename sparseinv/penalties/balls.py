"""Balls: sets that x must lie in, in place of a level."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.penalties.base import Penalty

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Ball(Penalty):
    """The set of vectors of n coefficients with at most k of them not zero; what solvers see.

    ``weights``, shape (n,), is 1 where a coefficient counts, 0 where it is free and inf where it is excluded.
    """

    k: int
    n: int
    weights: Any = None
    nonnegative: bool = False

    convex = False
    quadratic = False

    @cached_property
    def excluded(self) -> Array:
        """Mask of the coefficients held at zero."""
        return np.zeros(self.n, dtype=bool) if self.weights is None else np.isinf(self.weights)

    @cached_property
    def unpenalised(self) -> Array:
        """Mask of the coefficients that are free whatever the others are."""
        return np.zeros(self.n, dtype=bool) if self.weights is None else self.weights == 0.0

    def value(self, x: Array) -> float:
        """Return 0 in the ball and infinity outside."""
        if self.excluded[x != 0].any() or (self.nonnegative and bool((x.real < 0).any())):
            return np.inf
        return 0.0 if np.count_nonzero(x[~self.unpenalised]) <= self.k else np.inf

    def prox(self, v: Array, step: Any) -> Array:
        """Return v with all but the k largest moduli that count at zero; of equal ones the first stay."""
        size = np.maximum(v.real, 0.0) if self.nonnegative else np.abs(v)
        size[self.excluded] = 0.0
        kept = self.unpenalised.copy()
        counts = np.flatnonzero(~kept)
        kept[counts[np.argsort(-size[counts], kind="stable")[: self.k]]] = True
        return np.asarray(np.where(kept & (size > 0), v, 0.0).astype(v.dtype, copy=False))

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
    weights : array_like, shape (n,), optional
        1: the coefficient counts; 0: it is free and does not count; inf: it is excluded, x_i = 0.
    nonnegative : bool
        Also require x >= 0 (real data only).

    Notes
    -----
    Nonconvex, and without a scale: b -> s b takes x to s x. prox: the k largest moduli stay.

    Examples
    --------
    >>> L0Ball(1).prox(np.array([1.0, -3.0]), 1.0)
    array([ 0., -3.])
    """

    k: int
    weights: Any = dataclasses.field(default=None, kw_only=True)
    nonnegative: bool = dataclasses.field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        """Check the fields."""
        object.__setattr__(self, "k", validation.count(self.k, "k"))
        weights = validation.lambdas(self.weights, "weights")
        if weights is not None and not np.isin(weights, (0.0, 1.0, np.inf)).all():
            raise ValueError("weights of L0Ball must be 1 (counts), 0 (free) or inf (excluded)")
        object.__setattr__(self, "weights", weights)
        if not isinstance(self.nonnegative, (bool, np.bool_)):
            raise TypeError(f"nonnegative is {self.nonnegative!r}, but True or False is needed")

    def bind(self, n: int) -> Ball:
        """Return the set of vectors of n coefficients."""
        weights = self.weights
        if weights is not None:
            weights = validation.broadcast(weights, n, None, 0, "weights")
        return Ball(self.k, n, weights, bool(self.nonnegative))

    def value(self, x: Array) -> float:
        """Return 0 in the ball and infinity outside."""
        return self.bind(np.size(x)).value(np.asarray(x))

    def prox(self, v: Array, step: float) -> Array:
        """Return v with all but the k largest moduli at zero."""
        return self.bind(np.size(v)).prox(np.asarray(v), step)

    def __repr__(self) -> str:
        weights = "" if self.weights is None else f", weights=<{np.size(self.weights)} values>"
        return f"L0Ball({self.k}{weights}{', nonnegative=True' if self.nonnegative else ''})"

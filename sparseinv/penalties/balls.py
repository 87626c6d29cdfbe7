"""Balls: sets that x must lie in, in place of a level."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.penalties.base import Penalty
from sparseinv.penalties.separable import L1, Separable

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


@dataclass(frozen=True, eq=False)
class CrossPolytope(Penalty):
    """The set of x with sum_j weights_j |x_j| <= radius; what solvers and certificates see.

    A weight of 0 leaves a coefficient free, one of inf excludes it; at least one is neither.
    """

    radius: float
    weights: Array
    nonnegative: bool = False

    convex = True
    quadratic = False

    @property
    def n(self) -> int:
        """Number of coefficients."""
        return int(self.weights.size)

    @cached_property
    def excluded(self) -> Array:
        """Mask of the coefficients held at zero."""
        return np.isinf(self.weights)

    @cached_property
    def unpenalised(self) -> Array:
        """Mask of the coefficients that the set leaves free."""
        return self.weights == 0

    @cached_property
    def _bound(self) -> Array:
        return np.flatnonzero((self.weights > 0) & np.isfinite(self.weights))

    def magnitude(self, c: Array) -> Array:
        """Return the part of a correlation that can push a coefficient away from zero."""
        return np.maximum(c.real, 0.0) if self.nonnegative else np.abs(c)

    def size(self, x: Array) -> float:
        """Return sum_j weights_j |x_j|, excluded coefficients left out."""
        return float((self.weights[self._bound] * np.abs(x[self._bound])).sum())

    def value(self, x: Array) -> float:
        """Return 0 in the set, of which rounding may miss the edge, and infinity outside."""
        x = np.asarray(x)
        room = self.radius * (1.0 + 1e-14 + 4.0 * np.finfo(np.float64).eps * self.n)
        outside = bool(x[self.excluded].any()) or (self.nonnegative and bool((x.real < 0).any()))
        return np.inf if outside or not self.size(x) <= room else 0.0

    def prox(self, v: Array, step: Any = 1.0) -> Array:
        """Return the point of the set that is nearest to v.

        Moduli shrink by theta * weights_j, for the least theta >= 0 that leads into the set. It is found by
        sorting the levels |v_j| / weights_j at which coefficients reach zero.
        """
        out = np.array(v)
        if self.nonnegative:
            out = np.maximum(out.real, 0.0)
        out[self.excluded] = 0.0
        index = self._bound
        if self.size(out) <= self.radius:
            return out
        size, w = np.abs(out[index]), self.weights[index]
        order = np.argsort(-(size / w), kind="stable")
        inner, square = np.cumsum((w * size)[order]), np.cumsum((w * w)[order])
        theta = (inner - self.radius) / square
        # the last coefficient that the level of those up to it leaves alive
        alive = np.flatnonzero((size / w)[order] > theta)
        level = max(float(theta[alive[-1]]), 0.0) if alive.size else np.inf
        with np.errstate(invalid="ignore"):
            kept = np.where(np.isinf(level), 0.0, np.maximum(size - level * w, 0.0))
        total = float((w * kept).sum())
        if total > self.radius:  # by rounding
            kept *= self.radius / total
        out[index] *= np.divide(kept, size, out=np.zeros_like(size), where=size > 0)
        return out

    def conjugate(self, u: Array) -> float:
        """Return R*(u) = radius * max_j |u_j| / weights_j; inf where a free coefficient is pulled."""
        if self.magnitude(u)[self.unpenalised].any():
            return np.inf
        return self.radius * self._steepest(u)

    def _steepest(self, c: Array) -> float:
        index = self._bound
        return float((self.magnitude(c[index]) / self.weights[index]).max(initial=0.0))

    def best_scale(self, c: Array, correlation: float, squared_norm: float, *, sign: float = 1.0) -> float:
        """Return the s >= 0 that maximises the dual value of s nu, for sign * c = A^H nu."""
        slope = correlation - self.radius * self._steepest(sign * c)
        if not slope > 0.0 or not squared_norm > 0.0:
            return 0.0
        s = slope / squared_norm
        return s if math.isfinite(s) else 1.0

    def fenchel_young(self, x: Array, c: Array, scale: float = 1.0) -> float:
        """Return R(x) + R*(s c) - Re<x, s c> for s = scale; free coefficients are taken not to be pulled."""
        if math.isinf(self.value(x)):
            return np.inf
        index = self._bound
        inner = float((np.conj(x[index]) * (scale * c[index])).real.sum())
        return max(self.radius * self._steepest(scale * c) - inner, 0.0)

    def in_units(self, b_exponent: int, a_exponent: int) -> CrossPolytope:
        """Return the set for b / 2**b_exponent and A / 2**a_exponent."""
        with np.errstate(over="ignore", under="ignore"):
            radius = float(np.ldexp(self.radius, a_exponent - b_exponent))
        return dataclasses.replace(self, radius=radius)


@dataclass(frozen=True, eq=False, repr=False)
class L1Ball(Penalty):
    """Bound the sum of moduli: R(x) = 0 if sum_i weights_i |x_i| <= radius, else infinity.

    Parameters
    ----------
    radius : float
        >= 0, finite.
    groups : array_like, shape (n,), optional
        A label per coefficient; coefficients of one group share a weight.
    weights : float or array_like, optional
        Factors on the moduli, one, one per coefficient (n,), or one per group (K,) in the order of
        ``numpy.unique(groups)``. 0 leaves a coefficient free, inf excludes it.
    nonnegative : bool
        Also require x >= 0 (real data only).

    Notes
    -----
    Convex, with R*(u) = radius * max |u_j| / weights_j, so that answers come with a duality gap. prox is the
    projection: soft thresholding by the level that leads to the edge, found by sorting [1]_, O(n log n);
    on complex x the modulus shrinks and the phase is free. A solution is one of `L1` for some lam, which
    auto looks for where A is in memory.

    References
    ----------
    .. [1] J. Duchi, S. Shalev-Shwartz, Y. Singer, T. Chandra, Efficient projections onto the l1-ball for
       learning in high dimensions, ICML 2008, 272-279, doi:10.1145/1390156.1390191.

    Examples
    --------
    >>> L1Ball(2.0).prox(np.array([1.0, -3.0]), 1.0)
    array([ 0., -2.])
    """

    radius: float
    groups: Any = dataclasses.field(default=None, kw_only=True)
    weights: Any = dataclasses.field(default=None, kw_only=True)
    nonnegative: bool = dataclasses.field(default=False, kw_only=True)

    convex = True

    def __post_init__(self) -> None:
        """Check the radius and what spreads the weights."""
        radius = validation.real_number(self.radius, "radius")
        if not 0 <= radius < math.inf:
            raise ValueError(f"radius is {radius}, but it must be a finite number >= 0")
        object.__setattr__(self, "radius", radius)
        spread = L1(weights=self.weights, groups=self.groups, nonnegative=self.nonnegative)
        object.__setattr__(self, "weights", spread.weights)
        object.__setattr__(self, "groups", spread.groups)

    def bind(self, n: int) -> Any:
        """Return the set with its weights spread over n coefficients."""
        spread = L1(1.0, weights=self.weights, groups=self.groups, nonnegative=self.nonnegative).bind(n)
        level = spread.l1
        if not ((level > 0) & np.isfinite(level)).any():  # nothing is bounded
            return spread
        return CrossPolytope(self.radius, np.ascontiguousarray(level), bool(self.nonnegative))

    def value(self, x: Array) -> float:
        """Return 0 in the ball and infinity outside."""
        return float(self.bind(np.size(x)).value(np.asarray(x)))

    def prox(self, v: Array, step: float) -> Array:
        """Return the point of the ball that is nearest to v."""
        bound = self.bind(np.size(v))
        return np.asarray(bound.prox(np.asarray(v), step if isinstance(bound, Separable) else 1.0))

    def conjugate(self, u: Array) -> float:
        """Return radius * max |u_j| / weights_j."""
        return float(self.bind(np.size(u)).conjugate(np.asarray(u)))

    def __repr__(self) -> str:
        parts = [f"{self.radius:.6g}"]
        for name in ("groups", "weights"):
            value = getattr(self, name)
            if value is not None:
                shown = repr(value) if np.ndim(value) == 0 else f"<{np.size(value)} values>"
                parts.append(f"{name}={shown}")
        if self.nonnegative:
            parts.append("nonnegative=True")
        return f"L1Ball({', '.join(parts)})"

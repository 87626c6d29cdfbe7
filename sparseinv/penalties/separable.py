"""L0, L1, L2 and the elastic net: one family, sum_j l0_j [x_j != 0] + l1_j |x_j| + l2_j |x_j|^2 / 2."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.penalties.base import Leveled, Penalty

Array = np.ndarray[Any, Any]

_TINY = np.finfo(np.float64).tiny
_NONE = np.empty(0, dtype=np.int64)
_NO_LEVELS = np.empty(0)
_SHARP = 1e-15  # what is smaller than this, relative to s, counts as rounding of s


@dataclass(frozen=True, eq=False)
class Separable(Penalty):
    """The family with its levels spread over n coefficients; what solvers and certificates see.

    A coefficient with all three levels zero is unpenalised; one with an infinite level is excluded
    (x_j = 0).
    """

    l0: Array
    l1: Array
    l2: Array
    nonnegative: bool = False

    @property
    def n(self) -> int:
        """Number of coefficients."""
        return int(self.l1.size)

    @property
    def terms(self) -> tuple[Any, ...]:
        """Arrays for the kernels."""
        return (self.l0, self.l1, self.l2, self.nonnegative, _NONE, _NONE)

    @cached_property
    def single_level(self) -> float:
        """The one level of a plain L1 penalty: finite, positive, equal everywhere; otherwise 0."""
        if not self.l1.size or self.l0.any() or self.l2.any():
            return 0.0
        level = float(self.l1[0])
        return level if 0.0 < level < np.inf and level == self.l1.min() == self.l1.max() else 0.0

    @cached_property
    def excluded(self) -> Array:
        """Mask of the coefficients held at zero."""
        if self.single_level:
            return np.zeros(self.n, dtype=bool)
        return np.isinf(self.l0) | np.isinf(self.l1) | np.isinf(self.l2)

    @cached_property
    def unpenalised(self) -> Array:
        """Mask of the coefficients without any level."""
        if self.single_level:
            return np.zeros(self.n, dtype=bool)
        return (self.l0 == 0) & (self.l1 == 0) & (self.l2 == 0)

    @cached_property
    def convex(self) -> bool:
        """Whether R is convex: no finite l0 level is left."""
        return bool(self.single_level) or not bool(((self.l0 > 0) & ~self.excluded).any())

    @cached_property
    def quadratic(self) -> bool:
        """Whether R is a ridge penalty, so that one linear system gives the answer."""
        if self.single_level:
            return False
        free = ~self.excluded
        return not self.nonnegative and not bool((self.l0[free] > 0).any() or (self.l1[free] > 0).any())

    @cached_property
    def _smooth(self) -> bool:
        return bool(self.l2.any())

    def magnitude(self, c: Array) -> Array:
        """Return the part of a correlation that can push a coefficient away from zero."""
        return np.maximum(c.real, 0.0) if self.nonnegative else np.abs(c)

    def largest(self, c: Array) -> float:
        """Return the largest entry of `magnitude`, without an array in between for real c."""
        if c.dtype.kind == "c":
            return float(np.abs(c).max(initial=0.0))
        low = 0.0 if self.nonnegative else -float(c.min(initial=0.0))
        return max(float(c.max(initial=0.0)), low)

    def values(self, x: Array) -> Array:
        """Return the penalty of every coefficient."""
        out = np.zeros(x.size)
        live = np.flatnonzero(x)
        size = np.abs(x[live])
        with np.errstate(over="ignore"):
            out[live] = self.l0[live] + size * (self.l1[live] + 0.5 * self.l2[live] * size)
        if self.nonnegative:
            out[x.real < 0] = np.inf
        return out

    def value(self, x: Array) -> float:
        """Return R(x)."""
        if self.single_level:
            xs = x[support(x)]
            if self.nonnegative and (xs.real < 0).any():
                return np.inf
            with np.errstate(over="ignore"):
                return self.single_level * float(np.abs(xs).sum())
        live = np.flatnonzero(x)
        part, size = x[live], np.abs(x[live])
        if self.nonnegative and (part.real < 0).any():
            return np.inf
        with np.errstate(over="ignore"):
            terms = self.l0[live] + size * (self.l1[live] + 0.5 * self.l2[live] * size)
        return float(terms.sum())

    def prox(self, v: Array, step: Any) -> Array:
        """Return the minimiser of |x_j - v_j|^2 / 2 + step_j R_j(x_j), coordinate by coordinate."""
        size = self.magnitude(v)
        with np.errstate(invalid="ignore", over="ignore"):
            kept = np.maximum(size - step * self.l1, 0.0)
            grown = 1.0 + step * self.l2
            kept[kept * kept <= 2.0 * step * self.l0 * grown] = 0.0
            factor = np.divide(kept / grown, size, out=np.zeros_like(size), where=size > 0)
        return np.asarray(v * factor)

    def conjugate(self, u: Array) -> float:
        """Return R*(u); inf where it is unbounded."""
        if not self.convex:
            raise ValueError("the conjugate of a nonconvex penalty certifies nothing; L0 has none here")
        free = ~self.excluded
        over = np.maximum(self.magnitude(u)[free] - self.l1[free], 0.0)
        smooth = self.l2[free] > 0
        if (over[~smooth] > 0).any():
            return np.inf
        return float((over[smooth] ** 2 / (2.0 * self.l2[free][smooth])).sum())

    def best_scale(self, c: Array, correlation: float, squared_norm: float, *, sign: float = 1.0) -> float:
        """Return the s >= 0 that maximises the dual value of s nu, for sign * c = A^H nu.

        correlation = Re<b, nu>, squared_norm = ||nu||^2, sign is 1 or -1; unpenalised coefficients are
        left out.
        """
        if self.single_level and not (self.nonnegative and sign < 0.0):
            largest = self.largest(c)
            limit = self.single_level / largest if largest > 0.0 else np.inf
            return _concave_argmax(_NO_LEVELS, _NO_LEVELS, _NO_LEVELS, correlation, squared_norm, limit)
        if self.l1.size and not self._smooth and self.l1.min() > 0.0 and not self.l0.any():  # without copies
            size = self.magnitude(sign * c)
            with np.errstate(divide="ignore", over="ignore"):
                limit = float(np.divide(self.l1, size, out=size).min())
            return _concave_argmax(_NO_LEVELS, _NO_LEVELS, _NO_LEVELS, correlation, squared_norm, limit)
        free = ~self.excluded & ~self.unpenalised
        size, l1, l2 = self.magnitude(sign * c)[free], self.l1[free], self.l2[free]
        hard = l2 == 0
        ratios = np.divide(l1[hard], size[hard], out=np.full(int(hard.sum()), np.inf), where=size[hard] > 0)
        limit = float(ratios.min(initial=np.inf))
        return _concave_argmax(size[~hard], l1[~hard], l2[~hard], correlation, squared_norm, limit)

    def fenchel_young(self, x: Array, c: Array, scale: float = 1.0) -> float:
        """Return sum_j R_j(x_j) + R_j*(s c_j) - Re(conj(x_j) s c_j) for s = scale and feasible s c.

        Every term is >= 0; with a plain L1 penalty only the support of x is looked at.
        """
        if self.single_level:
            index = support(x)
            xs = x[index]
            terms = self.single_level * np.abs(xs) - (np.conj(xs) * (scale * c[index])).real
            broken = self.nonnegative and bool((xs.real < 0).any())
            return np.inf if broken else float(np.maximum(terms, 0.0).sum())
        touched = x != 0
        broken = bool(self.excluded[touched].any()) or (self.nonnegative and bool((x.real < 0).any()))
        if self._smooth:
            touched |= self.l2 > 0
        index = np.flatnonzero(touched & ~self.excluded)
        xs, cs, l1, l2 = x[index], scale * c[index], self.l1[index], self.l2[index]
        size = np.abs(xs)
        over = np.maximum(self.magnitude(cs) - l1, 0.0)
        smooth = np.divide(over**2, 2.0 * l2, out=np.zeros_like(over), where=l2 > 0)
        terms = size * (l1 + 0.5 * l2 * size) + smooth - (np.conj(xs) * cs).real
        gap = float(np.maximum(terms, 0.0).sum())
        return np.inf if broken else gap

    def lam_max(self, c: Array, norms: Array | None) -> float:
        """Return the factor on lam from which on x = 0, c = A^H b with b projected.

        Convex: a factor on all levels. With l0 levels on these alone, l1 and l2 stay, and no single
        coefficient is worth its charge; norms: of columns without what unpenalised ones explain.
        """
        if self.single_level:
            with np.errstate(over="ignore"):
                return float(np.divide(self.largest(c), self.single_level))
        free = ~self.excluded & ~self.unpenalised
        size = self.magnitude(c)[free]
        l0, l1, l2 = self.l0[free], self.l1[free], self.l2[free]
        gain, price = size, l1
        if (l0 > 0).any():
            if norms is None:
                raise ValueError("lam_max of an L0 penalty needs the column norms of A")
            over = np.maximum(size - l1, 0.0)
            curvature = norms[free] ** 2 + l2
            gain = np.divide(over**2, 2.0 * curvature, out=np.zeros_like(over), where=curvature > 0)
            price = l0
        with np.errstate(divide="ignore", over="ignore"):
            ratio = np.divide(gain, price, out=np.zeros_like(gain), where=gain > 0)
        return float(ratio.max(initial=0.0))

    def tilted(self, factor: float) -> Separable:
        """Return the penalty with every level times factor."""
        return dataclasses.replace(self, l0=self.l0 * factor, l1=self.l1 * factor, l2=self.l2 * factor)

    def in_units(self, b_exponent: int, a_exponent: int) -> Separable:
        """Return the penalty for b / 2**b_exponent and A / 2**a_exponent."""
        return dataclasses.replace(
            self,
            l0=_level(self.l0, -2 * b_exponent),
            l1=_level(self.l1, -b_exponent - a_exponent),
            l2=_level(self.l2, -2 * a_exponent),
        )

    def quadratic_weights(self, x: Array, eps: float, p: float, size: float) -> Array:
        """Return w such that sum w_j |x_j|^2 / 2 majorises the smoothed penalty at x, up to a constant.

        With u = |x| / size: l0 is smoothed as (u^2 + eps)^(p/2), l1 |x| as l1 size (u^2 + eps)^(1/2);
        l2 stays.
        """
        square = (np.abs(x) / size) ** 2 + eps
        w = self.l2.copy()
        concave, absolute = (self.l0 > 0) & ~self.excluded, (self.l1 > 0) & ~self.excluded
        w[concave] += self.l0[concave] * p * square[concave] ** (0.5 * p - 1.0) / size**2
        w[absolute] += self.l1[absolute] / (size * np.sqrt(square[absolute]))
        w[self.excluded] = np.inf
        return w


def support(x: Array) -> Array:
    """Return the indices of the entries of x that are not zero."""
    return np.flatnonzero(x != 0)  # several times faster than of the numbers themselves


def _level(values: Array, exponent: int) -> Array:
    if exponent == 0 or not values.any():
        return values
    if values.size > 1 and 0.0 < values.min() == values.max():
        return np.full(values.size, _level(values[:1], exponent)[0])
    with np.errstate(over="ignore", under="ignore"):
        out = np.ldexp(values, exponent)
    # a positive level stays positive: underflow must not unpenalise a coefficient
    return np.where((values > 0) & (out == 0), _TINY, out)


def _concave_argmax(size: Array, l1: Array, l2: Array, slope: float, curvature: float, limit: float) -> float:
    """Maximise slope s - curvature s^2 / 2 - sum (s size - l1)_+^2 / (2 l2) over 0 <= s <= limit."""
    if slope <= 0.0:
        return 0.0
    # past the kink s = l1 / size of a ridge so small the maximum is by less than rounding, which l2 would
    # magnify beyond all bounds: the kink is a limit
    with np.errstate(over="ignore"):
        steep = slope * l2 <= _SHARP * size * l1
    if steep.any():
        limit = min(limit, (1.0 - _SHARP) * float((l1[steep] / size[steep]).min()))
        size, l1, l2 = size[~steep], l1[~steep], l2[~steep]
    s = min(slope / curvature, limit) if curvature > 0 else limit
    if not np.isfinite(s):
        s = 1.0
    if size.size == 0:
        return s
    # Newton's method from above: the derivative is concave and piecewise linear, so s falls to its root in
    # finitely many steps. The root of a piece is formed without the derivative, whose terms cancel.
    for _ in range(100):
        active = s * size > l1
        with np.errstate(over="ignore"):
            second = curvature + float((size[active] ** 2 / l2[active]).sum())
        following = (slope + float((l1[active] * size[active] / l2[active]).sum())) / second if second else s
        if not following < (1.0 - _SHARP) * s:
            break
        s = following
    return s


@dataclass(frozen=True, eq=False, repr=False)
class Signed(Leveled):
    """Add nonnegativity to a separable penalty with one level per coefficient."""

    nonnegative: bool = dataclasses.field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.nonnegative, (bool, np.bool_)):
            raise TypeError(f"nonnegative is {self.nonnegative!r}, but True or False is needed")

    def _bound(self, n: int, l0: Any, l1: Any, l2: Any) -> Separable:
        zero = np.zeros(n)
        l0, l1, l2 = (zero if level is None else np.ascontiguousarray(level) for level in (l0, l1, l2))
        return Separable(l0, l1, l2, bool(self.nonnegative))


class L1(Signed):
    """Penalise moduli: R(x) = sum_i lam_i |x_i|.

    Parameters
    ----------
    lam : float or array_like, optional
        One level, one per coefficient (n,), or one per group (K,) in the order of
        ``numpy.unique(groups)``. 0 leaves a coefficient unpenalised, inf excludes it. None: chosen
        from the data by `solve`.
    groups : array_like, shape (n,), optional
        A label per coefficient; coefficients of one group share a level.
    weights : float or array_like, optional
        Relative factors, lam_i = lam * weights_i, never rescaled.
    nonnegative : bool
        Also require x >= 0 (real data only).

    Notes
    -----
    Sum convention: no 1/m. scikit-learn's Lasso(alpha) is lam = m * alpha. On complex x the modulus
    shrinks and the phase is free. Replacing the columns a_i by a_i / lam_i turns lam_i into 1.
    prox: soft thresholding of |v_i| by step * lam_i.

    Examples
    --------
    >>> L1(1.0).prox(np.array([3.0, -0.5]), 1.0)
    array([ 2., -0.])
    """

    def bind(self, n: int) -> Separable:
        """Return the penalty with its levels spread over n coefficients."""
        return self._bound(n, None, self.levels(n), None)


class L2(Signed):
    """Penalise energy (ridge, Tikhonov): R(x) = sum_i lam_i |x_i|^2 / 2.

    Parameters
    ----------
    lam, groups, weights, nonnegative
        As for `L1`.

    Notes
    -----
    With the 1/2: scikit-learn's Ridge(alpha) is lam = alpha. Replacing the columns a_i by
    a_i / sqrt(lam_i) turns lam_i into 1.

    Examples
    --------
    >>> L2([1.0, 3.0]).prox(np.array([2.0, 4.0]), 1.0)
    array([1., 1.])
    """

    def bind(self, n: int) -> Separable:
        """Return the penalty with its levels spread over n coefficients."""
        return self._bound(n, None, None, self.levels(n))


@dataclass(frozen=True, eq=False, repr=False)
class L0(Signed):
    """Charge every non-zero coefficient: R(x) = sum_i lam_i [x_i != 0] + l1_i |x_i| + l2_i |x_i|^2 / 2.

    Parameters
    ----------
    lam, groups, weights, nonnegative
        As for `L1`.
    l1, l2 : float or array_like, optional
        Levels that are added to |x_i| and |x_i|^2 / 2, one or one per coefficient; lam, weights and paths do
        not touch them.

    Notes
    -----
    Nonconvex: solvers return local minima and the certificate says of which kind. No rescaling of
    columns changes lam_i: the penalty does not see sizes. prox: v_i is kept where
    |v_i|^2 > 2 step lam_i (l1 = l2 = 0); a tie goes to zero.

    Examples
    --------
    >>> L0(0.5).prox(np.array([1.5, 1.0]), 1.0)
    array([1.5, 0. ])
    """

    l1: Any = dataclasses.field(default=None, kw_only=True)
    l2: Any = dataclasses.field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("l1", "l2"):
            level = validation.lambdas(getattr(self, name), name)
            if level is not None and not np.isfinite(level).all():
                raise ValueError(f"{name} holds inf; exclude a coefficient by lam = inf")
            object.__setattr__(self, name, level)

    def bind(self, n: int) -> Separable:
        """Return the penalty with its levels spread over n coefficients."""
        l1, l2 = (
            None if level is None else validation.broadcast(level, n, None, 0, name)
            for name, level in (("l1", self.l1), ("l2", self.l2))
        )
        return self._bound(n, self.levels(n), l1, l2)


@dataclass(frozen=True, eq=False, repr=False)
class ElasticNet(Signed):
    """Mix L1 and L2: R(x) = sum_i lam_i (l1_ratio |x_i| + (1 - l1_ratio) |x_i|^2 / 2).

    Parameters
    ----------
    lam, groups, weights, nonnegative
        As for `L1`.
    l1_ratio : float
        Share of the L1 part, in (0, 1].
    ridge_weights : float or array_like, optional
        Relative factors of the L2 part, where they differ from ``weights``: columns that are divided by d
        take weights d and ridge_weights d^2.

    Examples
    --------
    >>> ElasticNet(1.0, l1_ratio=0.5).value(np.array([2.0]))
    2.0
    """

    l1_ratio: float = 0.5
    ridge_weights: Any = dataclasses.field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        ratio = validation.real_number(self.l1_ratio, "l1_ratio")
        if not 0 < ratio <= 1:
            raise ValueError(f"l1_ratio is {ratio}, but it must lie in (0, 1]; use L2 for a pure ridge")
        object.__setattr__(self, "l1_ratio", ratio)
        ridge = validation.lambdas(self.ridge_weights, "ridge_weights")
        if ridge is not None and not np.isfinite(ridge).all():
            raise ValueError("ridge_weights holds inf; exclude a coefficient by weights = inf or lam = inf")
        object.__setattr__(self, "ridge_weights", ridge)

    def at(self, lam: Any) -> Leveled:
        """Return a copy at a level of a path, where an infinite weight excludes at the level 0 as well."""
        changed = super().at(lam)
        return changed if changed.weights is self.weights else changed.replace(ridge_weights=None)

    def bind(self, n: int) -> Separable:
        """Return the penalty with its levels spread over n coefficients."""
        level = self.levels(n)
        ridge = level if self.ridge_weights is None else self.replace(weights=self.ridge_weights).levels(n)
        with np.errstate(invalid="ignore"):
            ridge = np.where(np.isinf(level), 0.0, (1.0 - self.l1_ratio) * ridge)
        return self._bound(n, None, self.l1_ratio * level, ridge)

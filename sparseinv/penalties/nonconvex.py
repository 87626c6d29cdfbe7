"""Penalties that are concave in the modulus: Lp, log-sum, MCP and SCAD."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.penalties.base import Penalty
from sparseinv.penalties.separable import Separable, Signed

Array = np.ndarray[Any, Any]

_TINY, _HUGE = float(np.finfo(np.float64).tiny), float(np.finfo(np.float64).max)
_LP, _LOGSUM, _MCP, _SCAD = 1, 2, 3, 4  # the codes of sparseinv.kernels.nonconvex


@dataclass(frozen=True, eq=False)
class Concave(Penalty):
    """One of the four with its levels spread over n coefficients; what solvers and certificates see.

    ``shape`` is p, eps, gamma or a; ``unit`` converts a level of SCAD into a size of x (1 in the user's
    units). At least one level is neither 0 nor inf.
    """

    code: int
    lam: Array
    shape: float
    unit: float = 1.0
    nonnegative: bool = False

    convex = False
    quadratic = False

    @property
    def n(self) -> int:
        """Number of coefficients."""
        return int(self.lam.size)

    @cached_property
    def curve(self) -> tuple[Any, ...]:
        """Arrays and numbers for the kernels."""
        return (self.code, self.lam, np.full(self.n, self.shape), self.unit, self.nonnegative)

    @cached_property
    def excluded(self) -> Array:
        """Mask of the coefficients held at zero."""
        return np.isinf(self.lam)

    @cached_property
    def unpenalised(self) -> Array:
        """Mask of the coefficients without a level."""
        return self.lam == 0

    def magnitude(self, c: Array) -> Array:
        """Return the part of a correlation that can push a coefficient away from zero."""
        return np.maximum(c.real, 0.0) if self.nonnegative else np.abs(c)

    def values(self, x: Array) -> Array:
        """Return the penalty of every coefficient."""
        out = np.zeros(x.size)
        live = np.flatnonzero((x != 0) & (self.lam > 0))
        with np.errstate(over="ignore", invalid="ignore"):
            out[live] = self._values(np.abs(x[live]), self.lam[live])
        out[live[np.isinf(self.lam[live])]] = np.inf
        if self.nonnegative:
            out[x.real < 0] = np.inf
        return out

    def _values(self, size: Array, lam: Array) -> Array:
        if self.code == _LP:
            return lam * size**self.shape
        if self.code == _LOGSUM:
            return lam * np.log1p(size / self.shape)
        if self.code == _MCP:
            inside = np.minimum(size, self.shape * lam)
            return inside * (lam - 0.5 * (inside / self.shape))
        # sizes and levels in the same units; below the first kink the bent part is nothing
        size, a = size / self.unit, self.shape
        bent = np.minimum(np.maximum(size - lam, 0.0), (a - 1.0) * lam)
        return self.unit * (np.minimum(size, lam) * lam + bent * (lam - 0.5 * (bent / (a - 1.0))))

    def value(self, x: Array) -> float:
        """Return R(x)."""
        return float(self.values(np.asarray(x)).sum())

    def slope(self, x: Array) -> Array:
        """Return the derivative of R with respect to the modulus of every coefficient; inf for Lp at zero."""
        size, lam = np.abs(x), self.lam
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            if self.code == _LP:
                out = lam * self.shape * size ** (self.shape - 1.0)
            elif self.code == _LOGSUM:
                out = lam / (size + self.shape)
            elif self.code == _MCP:
                out = np.maximum(lam - size / self.shape, 0.0)
            else:
                out = np.clip((self.shape * lam - size / self.unit) / (self.shape - 1.0), 0.0, lam)
        return np.where(self.unpenalised, 0.0, np.where(self.excluded, np.inf, out))

    def majorant(self, x: Array, squares: Array) -> Array:
        """Return the weights of the L1 penalty that touches R from above at x, up to a constant.

        Below the size at which a coefficient alone could have a minimum other than zero, for columns of
        squared norm ``squares``, the weight is that of this size: a finite one at zero for Lp.
        """
        lam = np.where(self.excluded, 0.0, self.lam)
        d = np.where(squares > 0, squares, 1.0)
        if self.code == _LP:
            p = self.shape
            out = self.slope(np.maximum(np.abs(x), (lam * p * (1.0 - p) / d) ** (1.0 / (2.0 - p))))
        elif self.code == _LOGSUM:
            out = np.minimum(self.slope(x), np.sqrt(lam * d))
        else:
            curve = self.shape if self.code == _MCP else self.unit * (self.shape + 1.0)
            out = np.minimum(self.slope(x), lam * np.minimum(np.sqrt(curve) * np.sqrt(d), 1.0))
        return np.where(self.excluded, np.inf, out)

    def surrogate(self, weights: Array) -> Separable:
        """Return the L1 penalty with these levels."""
        zero = np.zeros(weights.size)
        return Separable(zero, weights, zero, self.nonnegative)

    def prox(self, v: Array, step: Any) -> Array:
        """Return the minimiser of |x_j - v_j|^2 / 2 + step_j R_j(x_j), coordinate by coordinate."""
        from sparseinv.kernels.nonconvex import prox

        dtype = np.complex128 if np.iscomplexobj(v) else np.float64
        v = np.ascontiguousarray(v, dtype=dtype)
        out = np.empty_like(v)
        steps = np.ascontiguousarray(np.broadcast_to(np.asarray(step, dtype=np.float64), v.shape))
        prox(self.curve, v, steps.copy(), out)
        return out

    def conjugate(self, u: Array) -> float:
        """Refuse: it is that of a convex function below R."""
        raise ValueError("the conjugate of a nonconvex penalty certifies nothing; this one has none here")

    def thresholds(self, c: Array, norms: Array) -> Array:
        """Return t_j such that under t_j R_j a coefficient alone stays zero for |a_j^H b| = |c_j|."""
        size = self.magnitude(c)
        out = np.zeros(self.n)
        live = np.flatnonzero((self.lam > 0) & np.isfinite(self.lam) & (size > 0) & (norms > 0))
        c, lam, d = size[live], self.lam[live], norms[live] ** 2
        if self.code == _LP:
            p = self.shape
            level = d * (2.0 * (1.0 - p) / (2.0 - p) * c / d) ** (2.0 - p) / (2.0 * (1.0 - p))
        elif self.code == _LOGSUM:
            level = _logsum_level(c, d, self.shape)
        else:
            # charges of up to lam^2 curve / 2 in all, so flat that they can be cheaper than the first slope
            curve = self.shape if self.code == _MCP else self.unit * (self.shape + 1.0)
            level = c / np.minimum(np.sqrt(curve) * norms[live], 1.0)
        with np.errstate(over="ignore"):
            out[live] = level / lam
        return out

    def lam_max(self, c: Array, norms: Array | None) -> float:
        """Return the factor on all levels from which on no single coefficient improves on x = 0."""
        if norms is None:
            raise ValueError("lam_max of a nonconvex penalty needs the column norms of A")
        return float(self.thresholds(c, norms).max(initial=0.0))

    def tilted(self, factor: float) -> Concave:
        """Return the penalty with every level times factor."""
        return dataclasses.replace(self, lam=self.lam * factor)

    def in_units(self, b_exponent: int, a_exponent: int) -> Concave:
        """Return the penalty for b / 2**b_exponent and A / 2**a_exponent."""
        shape, unit = self.shape, self.unit
        if self.code == _LP:
            power = (b_exponent - a_exponent) * shape - 2.0 * b_exponent
            whole = int(np.floor(power))
            lam = _scaled(self.lam * 2.0 ** (power - whole), whole)
        elif self.code == _LOGSUM:
            lam, shape = _scaled(self.lam, -2 * b_exponent), _scale(shape, a_exponent - b_exponent)
        else:
            lam = _scaled(self.lam, -b_exponent - a_exponent)
            if self.code == _MCP:
                shape = _scale(shape, 2 * a_exponent)
            else:
                unit = _scale(unit, 2 * a_exponent)
        return dataclasses.replace(self, lam=lam, shape=shape, unit=unit)


def _scaled(lam: Array, exponent: int) -> Array:
    with np.errstate(over="ignore", under="ignore"):
        out = np.ldexp(lam, exponent)
    # a positive level stays positive: underflow must not unpenalise a coefficient
    return np.where((lam > 0) & (out == 0), _TINY, out)


def _scale(value: float, exponent: int) -> float:
    with np.errstate(over="ignore", under="ignore"):
        return float(np.clip(np.ldexp(value, exponent), _TINY, _HUGE))


def _logsum_level(c: Array, d: Array, eps: float) -> Array:
    """Return max over x of (c x - d x^2 / 2) / log(1 + x / eps), by Dinkelbach's method.

    From a level below the maximum, the x that minimises d x^2 / 2 - c x + level log(1 + x / eps) gives a
    quotient that is higher; the sequence rises and its end is quadratic.
    """
    level = c * eps
    for _ in range(100):
        z = c / d
        inside = (z + eps) ** 2 - 4.0 * level / d
        x = np.maximum(0.5 * (z - eps + np.sqrt(np.maximum(inside, 0.0))), 0.0)
        better = (inside > 0.0) & (x > 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            quotient = np.where(better, (c * x - 0.5 * d * x**2) / np.log1p(x / eps), level)
        following = np.maximum(level, quotient)
        settled = bool((following <= level * (1.0 + 1e-15)).all())
        level = following
        if settled:
            break
    return level


class _Concave(Signed):
    """Share what the four have in common; ``_code`` and ``_shape`` say which one it is."""

    _code = 0

    def _shape(self) -> float:
        raise TypeError(f"{type(self).__name__} must define its shape")

    def bind(self, n: int) -> Any:
        """Return the penalty with its levels spread over n coefficients."""
        level = np.ascontiguousarray(self.levels(n))
        if not ((level > 0) & np.isfinite(level)).any():  # nothing nonconvex is left
            return Separable(np.zeros(n), level, np.zeros(n), bool(self.nonnegative))
        return Concave(self._code, level, self._shape(), nonnegative=bool(self.nonnegative))


@dataclass(frozen=True, eq=False, repr=False)
class Lp(_Concave):
    """Penalise powers of the modulus below one: R(x) = sum_i lam_i |x_i|^p, 0 < p < 1.

    Parameters
    ----------
    lam, groups, weights, nonnegative
        As for `L1`.
    p : float
        The power, in (0, 1).

    Notes
    -----
    Nonconvex: what is certified is a local minimum. prox with u = step * lam: zero up to
    |v| = (2 - p) / (2 (1 - p)) (2 u (1 - p))^(1 / (2 - p)), beyond it the larger root of
    x - |v| + u p x^(p - 1) = 0, in closed form for p = 1/2 [1]_ and p = 2/3 and by Newton's method
    otherwise. `lam_max` is the level from which on no single coefficient improves on x = 0.

    References
    ----------
    .. [1] Z. Xu, X. Chang, F. Xu, H. Zhang, L1/2 regularization: a thresholding representation theory and a
       fast solver, IEEE Trans. Neural Netw. Learn. Syst. 23 (2012) 1013-1027,
       doi:10.1109/TNNLS.2012.2197412.

    Examples
    --------
    >>> Lp(1.0, 0.5).value(np.array([4.0, 0.0]))
    2.0
    >>> Lp(1.0, 0.5).prox(np.array([1.5, 4.0]), 1.0).round(4)
    array([0.    , 3.7415])
    """

    p: float = 0.5

    _code = _LP

    def __post_init__(self) -> None:
        super().__post_init__()
        p = validation.real_number(self.p, "p")
        if not 0 < p < 1:
            raise ValueError(f"p is {p}, but it must lie between 0 and 1; use L1 for p = 1 and L0 for p = 0")
        object.__setattr__(self, "p", p)

    def _shape(self) -> float:
        return self.p


@dataclass(frozen=True, eq=False, repr=False)
class LogSum(_Concave):
    """Penalise logarithms of the modulus: R(x) = sum_i lam_i log(1 + |x_i| / eps).

    Parameters
    ----------
    lam, groups, weights, nonnegative
        As for `L1`.
    eps : float
        Size of x, > 0, from which on a coefficient counts as large; R is about lam |x| / eps below.

    Notes
    -----
    Nonconvex: what is certified is a local minimum. It is what reweighted L1 descends [1]_. prox with
    u = step * lam: the larger root of x^2 + (eps - |v|) x + u - eps |v| = 0 where that is positive and
    better than zero, else zero. `lam_max` is the level from which on no single coefficient improves on
    x = 0.

    References
    ----------
    .. [1] E. Candes, M. Wakin, S. Boyd, Enhancing sparsity by reweighted l1 minimization, J. Fourier
       Anal. Appl. 14 (2008) 877-905, doi:10.1007/s00041-008-9045-x.

    Examples
    --------
    >>> LogSum(1.0, 0.5).prox(np.array([1.5, 4.0]), 1.0).round(4)
    array([0.    , 3.7656])
    """

    eps: Any = None

    _code = _LOGSUM

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.eps is None:
            raise ValueError("eps is missing: LogSum(lam, eps) needs the size of x that counts as large")
        object.__setattr__(self, "eps", validation.positive(self.eps, "eps"))

    def _shape(self) -> float:
        return float(self.eps)


@dataclass(frozen=True, eq=False, repr=False)
class MCP(_Concave):
    """Penalise moduli up to a plateau, the minimax concave penalty.

    R(x) = sum_i lam_i |x_i| - |x_i|^2 / (2 gamma) up to |x_i| = gamma lam_i, gamma lam_i^2 / 2 beyond.

    Parameters
    ----------
    lam, groups, nonnegative
        As for `L1`.
    gamma : float
        > 0; R is flat beyond gamma * lam. The default suits columns of unit norm; columns of norm c behave
        like those under gamma / c^2. Large values approach L1, and below 1 / ||a_j||^2 a coefficient is
        either zero or not shrunk at all.
    weights : float or array_like, optional
        Relative factors on the threshold: lam_i = lam * weights_i.

    Notes
    -----
    Nonconvex: what is certified is a local minimum. Coefficients beyond the plateau are not biased [1]_.
    prox: (|v| - step lam) / (1 - step / gamma) between step * lam and gamma * lam, v beyond and 0 below; for
    step >= gamma v is kept where |v| > lam sqrt(gamma step). `lam_max` is the level from which on no single
    coefficient improves on x = 0: max |a_j^H b| / min(1, sqrt(gamma) ||a_j||).

    References
    ----------
    .. [1] C.-H. Zhang, Nearly unbiased variable selection under minimax concave penalty, Ann. Stat. 38
       (2010) 894-942, doi:10.1214/09-AOS729.

    Examples
    --------
    >>> MCP(1.0, 3.0).prox(np.array([0.5, 2.0, 4.0]), 1.0)
    array([0. , 1.5, 4. ])
    """

    gamma: float = 3.0

    _code = _MCP

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "gamma", validation.positive(self.gamma, "gamma"))

    def _shape(self) -> float:
        return self.gamma


@dataclass(frozen=True, eq=False, repr=False)
class SCAD(_Concave):
    """Penalise moduli up to a plateau that is reached late, smoothly clipped absolute deviation.

    R'(|x_i|) = lam_i up to lam_i, falls to zero at a lam_i and stays there; the plateau is
    (a + 1) lam_i^2 / 2.

    Parameters
    ----------
    lam, groups, nonnegative
        As for `L1`.
    a : float
        > 2; 3.7 is the value of Fan and Li [1]_.
    weights : float or array_like, optional
        Relative factors on the threshold: lam_i = lam * weights_i.

    Notes
    -----
    Nonconvex: what is certified is a local minimum. lam is a slope and a size of x at once, so that the
    penalty is meant for columns of norm about 1 and does not follow a rescaling of A. prox: soft
    thresholding up to |v| = (1 + step) lam, v from a lam on, a straight line between; for step >= a - 1 the
    better of soft thresholding and v. `lam_max` is the level from which on no single coefficient improves on
    x = 0: max |a_j^H b| / min(1, sqrt(a + 1) ||a_j||).

    References
    ----------
    .. [1] J. Fan, R. Li, Variable selection via nonconcave penalized likelihood and its oracle properties,
       J. Am. Stat. Assoc. 96 (2001) 1348-1360, doi:10.1198/016214501753382273.

    Examples
    --------
    >>> SCAD(1.0, 3.0).prox(np.array([0.5, 1.5, 2.5, 4.0]), 1.0)
    array([0. , 0.5, 2. , 4. ])
    """

    a: float = 3.7

    _code = _SCAD

    def __post_init__(self) -> None:
        super().__post_init__()
        a = validation.positive(self.a, "a")
        if not a > 2:
            raise ValueError(f"a is {a}, but it must be > 2")
        object.__setattr__(self, "a", a)

    def _shape(self) -> float:
        return self.a

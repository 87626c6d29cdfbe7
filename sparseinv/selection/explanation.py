"""What a lambda does at a solution: how near it is to lam_max, degrees of freedom, every group's part."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.intercept import Intercept, intercept_value
from sparseinv.operators.adapt import system
from sparseinv.penalties.base import Leveled, Penalty
from sparseinv.penalties.group import Grouped
from sparseinv.penalties.separable import Separable
from sparseinv.problem import Problem, squared
from sparseinv.result import Result
from sparseinv.selection.freedom import Freedom
from sparseinv.selection.theory import level_of_zero

Array = np.ndarray[Any, Any]

_LARGEST = 3000  # coefficients on the support up to which the degrees of freedom are computed


@dataclass(frozen=True, eq=False)
class Explanation:
    """Say what lam means at a solution; printed, it is a table of the groups.

    Attributes
    ----------
    lam : float or ndarray
        The level(s), in the unit of the penalty.
    lam_ratio : float
        lam / lam_max: 1 is where x becomes zero; 0 for L2, which never gives x = 0.
    df : float
        Degrees of freedom used (see `degrees_of_freedom`); nan where the support is too large to tell.
    residual_norm, sigma : float
        ||A x - b||, and the noise level that it suggests: its square over what is left of m, the root of that
        (complex: E|e|^2); nan where nothing is left.
    groups : ndarray, shape (K,)
        The labels.
    size, n_nonzero : ndarray, shape (K,)
        Coefficients of the group, and how many of them are not zero.
    level : ndarray, shape (K, 2)
        Smallest and largest level, weights included, in the unit of A as it is.
    share : ndarray, shape (K,)
        The group's part of R(x); the parts sum to 1, or are all 0.
    kkt : ndarray, shape (K,)
        How hard the data pull at the group, relative to what holds it, at most 1 at a solution. L1, elastic
        net, GroupL1: 1 where something is not zero, and how near the group is to coming in where nothing is.
        L2: 1. L0: the largest gain of a zero coefficient over its charge. nan: nothing holds it, or it is
        excluded; nan also for L0 where no coefficient is zero.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> print(si.explain(np.eye(2), np.array([3.0, 1.0]), si.L1(1.5), np.array([1.5, 0.0])))
    lam is 0.5 of lam_max; 1 degrees of freedom, ||A x - b|| = 1.803, sigma about 1.803
             group    size  not zero                   level   share      kkt
                 0       2         1                     1.5   1.000  1.00000
    """

    lam: Any
    lam_ratio: float
    df: float
    residual_norm: float
    sigma: float
    groups: Array
    size: Array
    n_nonzero: Array
    level: Array
    share: Array
    kkt: Array

    def __repr__(self) -> str:
        lines = [
            f"lam is {self.lam_ratio:.4g} of lam_max; {self.df:.4g} degrees of freedom, "
            f"||A x - b|| = {self.residual_norm:.4g}, sigma about {self.sigma:.4g}",
            f"  {'group':>12} {'size':>7} {'not zero':>9} {'level':>23} {'share':>7} {'kkt':>8}",
        ]
        for k, label in enumerate(self.groups):
            low, high = self.level[k]
            level = f"{low:.5g}" if low == high else f"{low:.5g} to {high:.5g}"
            lines.append(
                f"  {label!s:>12} {self.size[k]:7d} {self.n_nonzero[k]:9d} {level:>23} "
                f"{self.share[k]:7.3f} {self.kkt[k]:8.5f}"
            )
        return "\n".join(lines)


def explain(
    A: Any, b: Any, penalty: Penalty, x: Any, *, groups: Any = None, intercept: Any = None
) -> Explanation:
    """Explain what lam does at x: lam / lam_max, degrees of freedom, noise, and every group's part.

    Parameters
    ----------
    A, b, penalty
        As for `solve`. Where lam was chosen from the data, pass the penalty as it was and the Result.
    x : Result or array_like, shape (n,)
        What `solve` returned, or a point.
    groups : array_like, shape (n,), optional
        Labels to report by; those of the penalty if None, or all coefficients together.
    intercept : float, optional
        The constant that belongs to x, None where there is none; a Result brings its own. It counts among the
        degrees of freedom and in the residual, and is of no group.

    Returns
    -------
    Explanation
        Fields lam, lam_ratio, df, residual_norm, sigma, groups, size, n_nonzero, level, share, kkt.

    Raises
    ------
    ValueError, TypeError
        Bad input; a penalty without levels.

    Notes
    -----
    Degrees of freedom are those of `degrees_of_freedom`, sigma = ||A x - b|| / sqrt(m - df). Cost: three
    products, the columns of the support with one factorisation, for L0 the column norms.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> A, b, layers = np.eye(4), np.array([3.0, 1.0, 0.5, 0.1]), np.array(["a", "a", "b", "b"])
    >>> penalty = si.L1(0.75, groups=layers)
    >>> seen = si.explain(A, b, penalty, si.solve(A, b, penalty))
    >>> seen.lam_ratio, seen.df, seen.share.tolist(), seen.kkt.round(3).tolist()
    (0.25, 2.0, [1.0, 0.0], [1.0, 0.667])
    """
    validation.refuse_class(penalty, Penalty, "penalty", "...")
    if not isinstance(penalty, Leveled):
        raise TypeError(f"penalty is {penalty!r}, which has no level to explain")
    if isinstance(x, Result):
        if intercept is not None:
            raise ValueError("intercept is given, but x is a Result, which brings its own")
        penalty = penalty.replace(lam=x.lam) if x.lam is not None else penalty
        x, intercept = x.x, x.intercept
    if penalty.lam is None:
        raise ValueError("lam is missing: pass the Result, or the penalty with the level that x belongs to")
    operator, vector = system(A, b)
    n = operator.shape[1]
    point = validation.candidate(x, n)
    if np.iscomplexobj(point) and operator.dtype.kind != "c" and vector.dtype.kind != "c":
        vector = vector.astype(np.complex128)
    constant = intercept_value(intercept)
    added = Intercept.of(constant is not None, penalty, vector, n)
    if constant is not None:
        point, vector = added.point(point, constant), added.data(vector)
    whole: Any = added.penalty(penalty)
    problem = Problem(added.operator(operator), vector, whole, check_operator=False)
    if not isinstance(problem.penalty, (Separable, Grouped)):
        raise TypeError(f"penalty is {penalty!r}, but L0, L1, L2, ElasticNet or GroupL1 is needed")
    z = np.ascontiguousarray(problem.units.working(point), dtype=problem.dtype)
    labels = np.zeros(n, dtype=int)
    if groups is not None or penalty.groups is not None:
        labels = validation.group_labels(penalty.groups if groups is None else groups, n)
    names, index = np.unique(labels, return_inverse=True)
    r = problem.residual(z)
    factor = level_of_zero(problem) if problem.scale > 0.0 else 0.0
    large = int(np.count_nonzero(z)) > _LARGEST
    df = math.nan if large else Freedom(problem, problem.rng).df(problem, z)
    left = problem.m - df
    misfit = math.ldexp(math.sqrt(squared(r)), problem.units.b_exponent)
    raw = penalty.bind(n)
    level = np.asarray(raw.level if isinstance(raw, Grouped) else penalty.levels(n))
    values, kkt = _values(problem.penalty, z)[:n], _kkt(problem, z, r)[:n]
    total = float(values.sum())
    return Explanation(
        lam=penalty.lam,
        lam_ratio=math.inf if factor == 0.0 else 1.0 / factor,
        df=df,
        residual_norm=misfit,
        sigma=misfit / math.sqrt(left) if left > 0.5 else math.nan,
        groups=names,
        size=np.bincount(index, minlength=names.size),
        n_nonzero=np.bincount(index[z[:n] != 0], minlength=names.size),
        level=np.array([[level[index == k].min(), level[index == k].max()] for k in range(names.size)]),
        share=np.bincount(index, weights=values / total if total > 0 else values, minlength=names.size),
        kkt=np.array([_largest(kkt[index == k]) for k in range(names.size)]),
    )


def _largest(values: Array) -> float:
    known = values[~np.isnan(values)]
    return float(known.max()) if known.size else math.nan


def _values(bound: Any, x: Array) -> Array:
    """Return every coefficient's part of R(x); a norm is divided by the squares."""
    if isinstance(bound, Separable):
        return bound.values(x)
    norms = bound.norms(x)
    live = norms > 0
    share = np.abs(x) ** 2 / bound.spread(np.where(live, norms, 1.0))
    return np.asarray(np.where(share > 0, bound.level, 0.0) * share)


def _kkt(problem: Problem, x: Array, r: Array) -> Array:
    """Return pull over hold, one number a coefficient; nan where nothing is to be compared."""
    bound = problem.penalty
    g = problem.gradient(r)
    held = ~bound.excluded & ~bound.unpenalised
    out = np.full(problem.n, np.nan)
    if isinstance(bound, Grouped):
        with np.errstate(divide="ignore", invalid="ignore"):
            out[held] = bound.spread(bound.norms(g) / bound.lam)[held]
        return out
    if not bound.convex:
        zero = held & (x == 0) & (bound.l0 > 0)
        gain = np.maximum(bound.magnitude(-g) - bound.l1, 0.0) ** 2
        curvature = 2.0 * (problem.column_norms**2 + bound.l2)
        gain = np.divide(gain, curvature, out=np.zeros_like(gain), where=curvature > 0)
        out[zero] = gain[zero] / bound.l0[zero]
        return out
    pull = bound.magnitude(-g - bound.l2 * x)
    sharp = held & (bound.l1 > 0)
    out[sharp] = pull[sharp] / bound.l1[sharp]
    smooth = held & (bound.l1 == 0) & (x != 0)
    out[smooth] = np.abs(g[smooth]) / (bound.l2[smooth] * np.abs(x[smooth]))
    return out

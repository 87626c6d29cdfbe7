"""The standard deviation of the noise in b, estimated from the data."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.driver import run
from sparseinv.operators.algebra import Composition
from sparseinv.operators.matrix import ExplicitMatrix
from sparseinv.operators.sampling import Restriction
from sparseinv.penalties.separable import L0, L1
from sparseinv.problem import Problem, squared
from sparseinv.selection.defaults import at_level, null_levels, pivotal, pivotal_share
from sparseinv.selection.theory import build, level_of_zero
from sparseinv.solvers.auto import choose
from sparseinv.stopping import Stopping

Array = np.ndarray[Any, Any]

_METHODS = ("residual", "differences", "refitted", "organic")
_HALVINGS = 40


def estimate_sigma(A: Any, b: Any, *, method: str = "residual", rng: Any = None) -> float:
    """Estimate the standard deviation of the noise in b.

    Parameters
    ----------
    A : array_like, sparse container or operator, shape (m, n)
        The matrix or linear operator.
    b : array_like, shape (m,)
        The data.
    method : str
        "residual": fits L1 at the pivotal level and returns ||A x - b|| / sqrt(m - number of non-zeros)
        [1]_. "differences": the median modulus of second differences of b, over its value for white noise
        of standard deviation one; for data sampled finely enough that A x is smooth between neighbours; A
        is not looked at. "refitted": half of the rows choose columns, the other half estimates the residual
        variance by least squares on them, and the other way round [2]_. "organic": the least
        ||A x - b||^2 / m + 2 (log n / m) ||x||_1^2 over x, columns scaled to norm sqrt(m), whose value
        estimates sigma^2 [3]_, too high by up to 2 (log n / m) ||x||_1^2, which is much for strong signals.
    rng : None, int or Generator
        Seed of the null draws and of the halves; None is seed 0.

    Returns
    -------
    float
        sigma, in the units of b; for complex data sigma^2 = E|e|^2.

    Raises
    ------
    ValueError, TypeError
        Bad input; fewer than 8 data for "differences" and "refitted".

    References
    ----------
    .. [1] S. Reid, R. Tibshirani, J. Friedman, A study of error variance estimation in lasso regression,
       Stat. Sinica 26 (2016) 35-67, doi:10.5705/ss.2014.042.
    .. [2] J. Fan, S. Guo, N. Hao, Variance estimation using refitted cross-validation in ultrahigh
       dimensional regression, J. R. Stat. Soc. B 74 (2012) 37-65, doi:10.1111/j.1467-9868.2011.01005.x.
    .. [3] G. Yu, J. Bien, Estimating the error variance in a high-dimensional linear model, Biometrika 106
       (2019) 533-546, doi:10.1093/biomet/asz017.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> rng = np.random.default_rng(0)
    >>> A = rng.standard_normal((200, 50))
    >>> b = 3 * A[:, 0] + 0.5 * rng.standard_normal(200)
    >>> 0.4 < si.estimate_sigma(A, b) < 0.6
    True
    """
    if method not in _METHODS:
        raise ValueError(f"method is {method!r}, but one of {', '.join(map(repr, _METHODS))} is needed")
    generator = validation.generator(rng)
    problem = build(A, b, L1(1.0), rng=rng)
    if method in ("differences", "refitted") and problem.m < 8:
        raise ValueError(f"method {method!r} needs at least 8 data, but b has {problem.m}")
    unit = 2.0**problem.units.b_exponent
    if method == "differences":
        return unit * _differences(problem.b)
    if problem.scale == 0.0 or problem.n == 0:
        return unit * math.sqrt(2.0 * problem.scale / max(problem.m, 1))
    if method == "refitted":
        return unit * _refitted(problem, generator)
    if method == "organic":
        return unit * _organic(problem)
    return pivotal(problem, L1())[1]


def _differences(b: Array) -> float:
    """Return the noise level from the median modulus of second differences."""
    bend = np.abs(b[:-2] - 2.0 * b[1:-1] + b[2:]) / math.sqrt(6.0)
    # the median modulus of N(0, 1), and of CN(0, 1)
    return float(np.median(bend)) / (math.sqrt(math.log(2.0)) if b.dtype.kind == "c" else 0.6744897501960817)


def _refitted(problem: Problem, rng: np.random.Generator) -> float:
    parts = np.array_split(rng.permutation(problem.m), 2)
    found = []
    for one, other in ((0, 1), (1, 0)):
        first = _on_rows(problem, np.sort(parts[one]))
        if first.scale == 0.0:
            continue
        support = np.flatnonzero(_pivotal_solution(first))
        rows = np.sort(parts[other])
        columns = problem.operator.columns(support)[rows]
        rank, left = _least_squares_rest(columns, problem.b[rows])
        if rows.size > rank:
            found.append(left / (rows.size - rank))
    return math.sqrt(float(np.mean(found))) if found else math.sqrt(2.0 * problem.scale / problem.m)


def _least_squares_rest(columns: Array, b: Array) -> tuple[int, float]:
    """Return (rank of the columns, what they leave of ||b||^2)."""
    if columns.shape[1] == 0:
        return 0, squared(b)
    norms = np.linalg.norm(columns, axis=0)
    u, s, _ = np.linalg.svd(columns / np.where(norms > 0, norms, 1.0), full_matrices=False)
    u = u[:, s > 1e-12 * max(columns.shape) * s[0]]
    return u.shape[1], squared(b - u @ (u.conj().T @ b))


def _on_rows(problem: Problem, rows: Array) -> Problem:
    inner = problem.operator.inner
    if isinstance(inner, ExplicitMatrix):
        kept: Any = inner.rows(rows)
    else:
        kept = Composition(Restriction(problem.m, rows), inner)
    return Problem(kept, problem.b[rows], L1(1.0), check_operator=False)


def _pivotal_solution(problem: Problem) -> Array:
    lam = pivotal(problem, L1())[0]
    at = at_level(problem, L1(), lam)
    return run(at, choose(at)[0], stopping=Stopping(tol=1e-4, max_iter=2000)).x


def _organic(problem: Problem) -> float:
    """Return sqrt of min ||A x - b||^2 / m + 2 mu ||W x||_1^2.

    mu = log n / m and W holds the column norms over sqrt(m). Its solution is that of L1 with weights W at
    the level 2 m mu ||W x||_1, which is found by bisection.
    """
    m, n = problem.m, problem.n
    weights = np.ldexp(problem.column_norms, problem.units.a_exponent) / math.sqrt(m)
    weights = np.where(weights > 0, weights, np.inf)
    mu = math.log(max(n, 2)) / m
    penalty = L1(weights=weights)
    inner = problem.with_penalty(
        penalty.replace(lam=1.0).bind(n).in_units(problem.units.b_exponent, problem.units.a_exponent)
    )
    high = level_of_zero(inner)
    low = 1e-6 * high
    solver, x, value = choose(inner)[0], None, 0.0
    unit = 2.0**problem.units.b_exponent
    for _ in range(_HALVINGS):
        lam = math.sqrt(low) * math.sqrt(high)
        at = at_level(inner, penalty, lam)
        x = run(at, solver, x0=x, stopping=Stopping(tol=1e-5, max_iter=2000)).x
        working = at.units.working(x)
        size = float((weights[x != 0] * np.abs(x[x != 0])).sum())
        value = squared(at.residual(working)) / m + 2.0 * mu * (size / unit) ** 2
        # the exact minimiser is wanted to a percent only: the value is flat around it
        if high <= 1.02 * low:
            break
        low, high = (lam, high) if 2.0 * m * mu * size > lam else (low, lam)
    return math.sqrt(value)


def sigma_of(trail: Any) -> float:
    """Return the noise level, in working units, that rules without one of their own take from a path.

    L2: residual and degrees of freedom where generalised cross-validation is least. Otherwise those of the
    first level at or below the pivotal one; for L0 those of a pivotal L1 fit.
    """
    if "sigma" not in trail.kept:
        trail.kept["sigma"] = _sigma(trail)
    return float(trail.kept["sigma"])


def _sigma(trail: Any) -> float:
    problem = trail.problem
    m = problem.m
    if problem.scale == 0.0 or problem.n == 0:
        return math.sqrt(2.0 * problem.scale / max(m, 1))
    if getattr(problem.penalty, "quadratic", False):
        found = [(level.rss / (m - df) ** 2, level.rss / (m - df)) for level, df in trail.unsaturated()]
        return math.sqrt(min(found)[1]) if found else math.sqrt(2.0 * problem.scale / m)
    penalty = trail.task.penalty
    if isinstance(penalty, L0) or not getattr(problem.penalty, "convex", False):
        levels = penalty.levels(problem.n)
        charges = np.where(np.isfinite(levels) & (levels > 0), 1.0, levels)
        pilot = L1(weights=charges, nonnegative=getattr(penalty, "nonnegative", False))
        return math.ldexp(pivotal(problem, pilot, trail.task.deadline)[1], -problem.units.b_exponent)
    level = pivotal_level(trail, pivotal_quantile(trail))
    return math.sqrt(level.rss / max(m - trail.df(level), 0.1 * m))


def pivotal_quantile(trail: Any) -> float:
    """Return the share of the median level that noise of unit norm would enter at; see `pivotal_share`."""
    if "null" not in trail.kept:
        trail.kept["null"] = null_levels(trail.at_level(1.0))
    return pivotal_share(trail.problem) * float(np.median(trail.kept["null"]))


def pivotal_level(trail: Any, q: float) -> Any:
    """Return the first level of a path with lam <= q ||A x - b||, or the last one read."""
    last = None
    for level in trail:
        last = level
        if level.lam <= q * math.sqrt(squared(trail.problem.project(level.r))):
            break
    return last

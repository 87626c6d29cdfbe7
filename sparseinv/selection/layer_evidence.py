"""Lambdas of layers from the evidence of a Gaussian model, by the generalised Fellner-Schall iteration."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from sparseinv.penalties.group import Grouped
from sparseinv.problem import Problem, squared

Array = np.ndarray[Any, Any]

_ITERATIONS, _SETTLED = 200, 1e-3  # change of log lam at which the iteration ends
_RANGE = 1e8  # of lam over the first one: a layer without signal ends here
_LARGEST = 4000  # order of the systems


class Evidence(NamedTuple):
    """Variances of layers: x_j ~ N(0, variance[g] / w_j), noise ~ N(0, sigma^2), in working units."""

    variance: Array
    sigma: float
    size: Array  # coefficients per layer
    n_iter: int


def is_affordable(problem: Problem) -> bool:
    """Tell whether the systems of the iteration fit."""
    return problem.explicit and min(problem.m, problem.n) <= _LARGEST


def maximise_evidence(
    problem: Problem, index: Array, count: int, weights: Array | None = None, limit: int = _ITERATIONS
) -> Evidence:
    """Return the variances of ``count`` layers and the noise that make b most likely.

    x_j ~ N(0, t_g / w_j) for j in layer g, e ~ N(0, sigma^2): the fixed point [1]_ of
    sigma^2 / t_g = sigma^2 gamma_g / sum_g w_j |x_j|^2, sigma^2 = ||A x - b||^2 / (m - sum gamma), with
    gamma_g the degrees of freedom of layer g. Unpenalised columns are projected out.

    Parameters
    ----------
    problem : Problem
        Columns in memory.
    index : ndarray, shape (n,)
        Layer of every coefficient, 0 to count - 1; -1 leaves a coefficient out.
    weights : ndarray, shape (n,), optional
        w, 1 by default.
    limit : int
        Most iterations, each a factorisation of order min(m, n).

    References
    ----------
    .. [1] S. Wood, M. Fasiolo, A generalized Fellner-Schall method for smoothing parameter optimization with
       application to Tweedie location, scale and shape models, Biometrics 73 (2017) 1071-1081,
       doi:10.1111/biom.12666.
    """
    from scipy.linalg import qr

    kept = np.flatnonzero(index >= 0)
    group = index[kept]
    A, b = problem.reduced_columns(kept), problem.project(problem.b)
    freedom = float(problem.m - problem.unpenalised.size)
    if weights is not None:
        A = A / np.sqrt(weights[kept])
    rest = 0.0
    if A.shape[0] > A.shape[1]:  # the same in fewer rows
        q, A = qr(A, mode="economic", check_finite=False)
        inside = q.conj().T @ b
        rest, b = max(squared(b) - squared(inside), 0.0), inside
    sizes = np.bincount(group, minlength=count).astype(float)
    energy = np.bincount(group, weights=(np.abs(A) ** 2).sum(axis=0), minlength=count)
    total = squared(b) + rest
    # to begin with every layer explains as much as the noise
    shares = max(int((energy > 0).sum()), 1)
    t = np.divide(total, 2.0 * shares * energy, out=np.zeros(count), where=energy > 0)
    variance = total / (2.0 * max(freedom, 1.0))
    first, n_iter, moved = t.copy(), 0, math.inf
    while n_iter < limit and moved >= _SETTLED:
        n_iter += 1
        gamma, squares, misfit = _moments(A, b, t[group] / variance, group, count)
        t_new = np.where(gamma > 0, squares / np.where(gamma > 0, gamma, 1.0), t)
        variance_new = max((misfit + rest) / max(freedom - gamma.sum(), 1.0), 1e-12 * total / freedom)
        t_new = np.maximum(t_new, first / _RANGE)
        moved = max(
            float(np.abs(np.log(t_new[t > 0] / t[t > 0])).max(initial=0.0)),
            abs(math.log(variance_new / variance)),
        )
        t, variance = t_new, variance_new
    return Evidence(t, math.sqrt(variance), sizes, n_iter)


def _moments(A: Array, b: Array, ratio: Array, group: Array, count: int) -> tuple[Array, Array, float]:
    """Return (gamma_g, sum |x_j|^2 per layer, ||A x - b||^2) at x = E(x | b) for t_g / sigma^2 = ratio."""
    from scipy.linalg import cho_solve, cholesky, solve_triangular

    scaled = A * np.sqrt(ratio)
    C = scaled @ scaled.conj().T
    C[np.diag_indices_from(C)] += 1.0
    L = cholesky(C, lower=True, check_finite=False)
    inner = solve_triangular(L, scaled, lower=True, check_finite=False)
    gamma = np.bincount(group, weights=(np.abs(inner) ** 2).sum(axis=0), minlength=count)
    dual = cho_solve((L, True), b, check_finite=False)  # = b - A x
    x = ratio * (A.conj().T @ dual)
    return gamma, np.bincount(group, weights=np.abs(x) ** 2, minlength=count), squared(dual)


def matched_levels(found: Evidence, penalty: Any, complex_data: bool) -> Array:
    """Return the levels whose prior has the variances of the evidence, in working units.

    L2: sigma^2 / t, exactly. L1 and groups: the density exp(-lam ||x_g|| / sigma^2) with the same second
    moment, so sigma^2 sqrt((p + 1) / t) for groups of p and sigma^2 sqrt(2 / t) for single coefficients.
    """
    square = found.sigma**2
    t = np.maximum(found.variance, np.finfo(float).tiny)
    if not isinstance(penalty, Grouped) and not penalty.l1.any():
        return square / t
    p = np.maximum(found.size, 1.0) if isinstance(penalty, Grouped) else np.ones(t.size)
    if complex_data:  # 2 p real unknowns of half the variance, and noise of exp(-|r|^2 / sigma^2)
        return 0.5 * square * np.sqrt(2.0 * (2.0 * p + 1.0) / t)
    return square * np.sqrt((p + 1.0) / t)

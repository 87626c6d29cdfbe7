"""Least squares on a few columns of A, whatever their rank and wherever they lie."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sparseinv.problem import Problem, squared

Array = np.ndarray[Any, Any]

_RANK = 1e-10  # of the largest diagonal entry: below, a column counts as dependent and gets no weight
_ENOUGH = 1e-13  # of ||A_S^H b||: where conjugate gradients end
_ROUNDS = 3  # products with A and A^H per column of the support, at most, and as many more
_MORE = 50


def fit_support(problem: Problem, index: Array, x: Array | None = None) -> Array:
    """Return the coefficients (k,) that minimise ||A_S x_S - b|| over S = index.

    Columns in memory or in closed form: a QR factorisation with pivoting, in which columns that depend on
    others get zero. Otherwise conjugate gradients from x[index], two products a round.
    """
    if index.size == 0 or not problem.scale > 0.0:
        return np.zeros(index.size, problem.dtype)
    if problem.explicit or problem.operator.inner.closed_columns:
        return _direct(problem, index)
    return _iterative(problem, index, x)


def _direct(problem: Problem, index: Array) -> Array:
    from scipy.linalg import qr, solve_triangular

    from sparseinv.threads import single_threaded_lapack

    columns = problem.operator.columns(index).astype(problem.dtype, copy=False)
    norms = np.linalg.norm(columns, axis=0)
    scaled = columns / np.where(norms > 0, norms, 1.0)
    with single_threaded_lapack():
        q, upper, order = qr(scaled, mode="economic", pivoting=True, check_finite=False, overwrite_a=True)
    diagonal = np.abs(np.diag(upper))
    rank = int((diagonal > _RANK * diagonal[:1]).sum())
    y = q[:, :rank].conj().T @ problem.b
    out = np.zeros(index.size, problem.dtype)
    out[order[:rank]] = solve_triangular(upper[:rank, :rank], y, check_finite=False)
    return np.asarray(out / np.where(norms > 0, norms, 1.0))


def _iterative(problem: Problem, index: Array, x: Array | None) -> Array:
    full = np.zeros(problem.n, problem.dtype)
    if x is not None:
        full[index] = x[index]
    r = -problem.residual(full)
    s = problem.gradient(r)[index]
    target = _ENOUGH * math.sqrt(squared(problem.gradient(problem.b)[index]))
    p, gamma = s.copy(), squared(s)
    image = np.zeros(problem.n, problem.dtype)
    for _ in range(_ROUNDS * index.size + _MORE):
        if math.sqrt(gamma) <= target:
            break
        image[index] = p
        q = problem.operator.matvec(image)
        curvature = squared(q)
        if not curvature > 0.0:
            break
        step = gamma / curvature
        full[index] += step * p
        r = r - step * q
        s = problem.gradient(r)[index]
        before, gamma = gamma, squared(s)
        p = s + (gamma / before) * p
    return full[index]

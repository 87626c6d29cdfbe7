"""Weighted least squares, the linear algebra that ridge and reweighted solvers share.

Every function minimises ``1/2 ||A x - b||^2 + 1/2 sum_j w_j |x_j|^2`` with w_j = 0 for unpenalised and
inf for excluded coefficients.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sparseinv.dual_points import solve_symmetric
from sparseinv.problem import Problem, squared

Array = np.ndarray[Any, Any]

_DIRECT = 4000  # largest order of a Cholesky factorisation
_DIVERGED = 1e30  # growth of the squared gradient at which conjugate gradients have lost all accuracy
_DENSE_BYTES = 2 << 30  # a sparse A is laid out densely up to this size


def is_direct(problem: Problem) -> bool:
    """Tell whether a factorisation is affordable: columns in memory and min(m, n) small enough."""
    fits = problem.m * problem.n * problem.dtype.itemsize <= _DENSE_BYTES
    return problem.explicit and min(problem.m, problem.n) <= _DIRECT and fits


class DirectSystem:
    """Solve by Cholesky: n x n if n <= m, else m x m in the dual form.

    ``index`` lists the columns that may have a part in the solution, all of them by default; those that
    ``known``, another system, holds are not formed anew. The weights of all others are taken for infinite.

    Unpenalised columns are projected out first and their coefficients fitted last, by least squares of
    minimum norm, so that rank-deficient sets of them do no harm. Iterative refinement with the true
    residual removes what squaring the condition number cost.
    """

    def __init__(
        self, problem: Problem, index: Array | None = None, known: DirectSystem | None = None
    ) -> None:
        self.problem = problem
        self.index = np.arange(problem.n) if index is None else index
        self.whole = self.index.size == problem.n
        self.matrix = self._columns(known)
        self.work = 0.0  # multiplications of factorisations so far
        self._gram: Array | None = None

    def _columns(self, known: DirectSystem | None) -> Array:
        if known is None:
            return self.problem.operator.columns(self.index)
        place = np.full(self.problem.n, -1)
        place[known.index] = np.arange(known.index.size)
        at = place[self.index]
        matrix = np.empty((self.problem.m, self.index.size), dtype=known.matrix.dtype, order="F")
        matrix[:, at >= 0] = known.matrix[:, at[at >= 0]]
        if (at < 0).any():
            matrix[:, at < 0] = self.problem.operator.columns(self.index[at < 0])
        return matrix

    def residual(self, x: Array) -> Array:
        """Return A x - b for an x that is zero but for the columns held."""
        if self.whole:
            return self.problem.residual(x)
        return np.asarray(self.matrix @ x[self.index] - self.problem.b)

    def solve(self, w: Array, b: Array | None = None) -> Array:
        """Return the minimiser for the weights w, shape (n,); b may hold one right-hand side a column."""
        b = self.problem.b if b is None else b
        x = np.zeros((self.index.size, *b.shape[1:]), dtype=self.problem.dtype)
        w = w if self.whole else w[self.index]
        weighted, loose = np.flatnonzero((w > 0) & np.isfinite(w)), np.flatnonzero(w == 0)
        basis = orthonormal(self.matrix[:, loose]) if loose.size else None
        if weighted.size:
            x[weighted] = self._penalised(weighted, w[weighted], b, basis)
        if loose.size:
            from scipy.linalg import lstsq

            rest = b - self.matrix[:, weighted] @ x[weighted]
            x[loose] = lstsq(self.matrix[:, loose], rest, check_finite=False)[0]
        if self.whole:
            return x
        full = np.zeros((self.problem.n, *b.shape[1:]), dtype=self.problem.dtype)
        full[self.index] = x
        return full

    def _penalised(self, index: Array, w: Array, b: Array, basis: Array | None) -> Array:
        everything = index.size == self.index.size
        A = self.matrix if everything else self.matrix[:, index]
        if basis is not None:
            A = A - basis @ (basis.conj().T @ A)
            b = b - basis @ (basis.conj().T @ b)
        tall = A.shape[1] <= A.shape[0]
        small, large = sorted(A.shape)
        again = tall and everything and basis is None and self._gram is not None
        self.work += small**3 / 3.0 + (0.0 if again else float(small) ** 2 * large)
        per_row = (-1,) + (1,) * (b.ndim - 1)
        weights = w.reshape(per_row)
        if tall:
            if everything and basis is None:
                if self._gram is None:
                    self._gram = A.conj().T @ A
                gram = self._gram
            else:
                gram = A.conj().T @ A
            # scaling to unit diagonal keeps weights of 1e-12 and 1e12 in one factorisation apart
            diagonal = np.sqrt(np.diag(gram).real + w)
            inverse = _inverse(gram / np.outer(diagonal, diagonal), w / diagonal**2)
            diagonal = diagonal.reshape(per_row)
            x = inverse(A.conj().T @ b / diagonal) / diagonal
        else:
            D = 1.0 / w
            inverse = _inverse((A * D) @ A.conj().T, np.ones(A.shape[0]))
            D = D.reshape(per_row)
            x = D * (A.conj().T @ inverse(b))
        for _ in range(2):
            g = A.conj().T @ (A @ x - b) + weights * x
            if tall:
                step = inverse(g / diagonal) / diagonal
            else:
                step = D * g - D * (A.conj().T @ inverse(A @ (D * g)))
            trial = x - step
            if not _energy(A, b, weights, trial) < _energy(A, b, weights, x):
                break
            x = trial
        return np.asarray(x)


def _energy(A: Array, b: Array, w: Array, x: Array) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        return squared(A @ x - b) + float((w * np.abs(x) ** 2).sum())


def _inverse(H: Array, diagonal: Array) -> Any:
    """Return the map rhs -> (H + diag)^{-1} rhs."""
    from scipy.linalg import LinAlgError, cho_factor, cho_solve

    H = H + np.diag(diagonal.astype(H.dtype))
    try:
        factor = cho_factor(H, lower=True, check_finite=False)
    except LinAlgError:
        return lambda rhs: solve_symmetric(H, rhs)
    return lambda rhs: cho_solve(factor, rhs, check_finite=False)


def orthonormal(columns: Array) -> Array:
    """Return an orthonormal basis of the span of the columns."""
    from scipy.linalg import qr

    norms = np.linalg.norm(columns, axis=0)
    columns = columns[:, norms > 0] / norms[norms > 0]
    if columns.shape[1] == 0:
        return columns
    q, upper, _ = qr(columns, mode="economic", pivoting=True)
    diagonal = np.abs(np.diag(upper))
    return np.asarray(q[:, diagonal > 1e-13 * max(columns.shape) * diagonal[0]])


class ConjugateGradients:
    """Solve by preconditioned CGLS with products of A; keeps its state between calls.

    The preconditioner is the diagonal w_j + mean ||a_j||^2, so that strongly penalised coefficients
    do not slow the others down.
    """

    def __init__(self, problem: Problem, w: Array, x: Array, mean_square: float) -> None:
        self.problem = problem
        self.free = np.isfinite(w)
        self.w = np.where(self.free, w, 0.0)
        self.inverse = np.where(self.free, 1.0 / (self.w + max(mean_square, 1e-300)), 0.0)
        self.x = np.where(self.free, x, 0.0)
        self.restart()

    def restart(self) -> None:
        """Form residual and gradient afresh (two products)."""
        self.r = -self.problem.residual(self.x)
        self.s = self.problem.gradient(self.r) - self.w * self.x
        self.p = self.inverse * self.s
        self.gamma = float(np.vdot(self.s, self.p).real)
        self.first = max(getattr(self, "first", 0.0), self.gamma)

    def run(self, iterations: int, tol: float = 0.0) -> int:
        """Iterate until the preconditioned gradient falls below tol times the first; return the count."""
        for k in range(iterations):
            if self.gamma <= tol * tol * self.first or self.gamma == 0.0:
                return k
            q = self.problem.operator.matvec(self.p)
            curvature = squared(q) + float((self.w * np.abs(self.p) ** 2).sum())
            if not (curvature > 0.0 and self.gamma < _DIVERGED * self.first):
                return k
            step = self.gamma / curvature
            self.x = self.x + step * self.p
            self.r = self.r - step * q
            self.s = self.problem.gradient(self.r) - self.w * self.x
            scaled = self.inverse * self.s
            previous, self.gamma = self.gamma, float(np.vdot(self.s, scaled).real)
            self.p = scaled + (self.gamma / previous) * self.p
        return iterations


def mean_square(problem: Problem) -> float:
    """Return the mean squared column norm, estimated from one seeded product if norms are unknown."""
    if problem.operator.column_norms() is not None:
        return float((problem.column_norms**2).mean()) if problem.n else 0.0
    probe = problem.rng.standard_normal(problem.m)
    return squared(problem.gradient(probe.astype(problem.dtype))) / max(problem.n, 1)

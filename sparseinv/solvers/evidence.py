"""The marginal likelihood of b under x_j ~ N(0, gamma_j), and updates of gamma that raise it.

With M = A diag(gamma) A^H + s2 I, the covariance of b, every method here works with
u_j = a_j^H M^{-1} b and s_j = a_j^H M^{-1} a_j: the posterior has mean gamma_j u_j and variance
gamma_j - gamma_j^2 s_j. Unpenalised columns have a flat prior and are projected out (restricted likelihood).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from sparseinv.operators.matrix import squared
from sparseinv.problem import Problem
from sparseinv.solvers.least_squares import orthonormal

Array = np.ndarray[Any, Any]

_FLOOR = 1e-8  # smallest noise variance, relative to the mean of |b|^2
_NOTHING = 1e-60  # the same where nothing of b is left, working units
_EXPLAINED = 1e-24  # share of a squared norm below which projection has left nothing but rounding
_SMALLEST = 1e-120  # squared norm of a column, working units, below which it counts as zero
_LOST = 1e-6  # of a pivot: what updates of an inverse do not survive
_LARGEST = 1e12  # gamma_j ||a_j||^2 / s2 beyond which the noise is lost in M
_ROUNDING = 1e-14  # smallest s_j relative to that of an empty model
_FIRST = 1e-2  # noise variance at which learning starts, relative to the mean of |b|^2
_REST = 1e-3  # smallest gamma_j ||a_j||^2 / s2: without effect on M, but not zero, so that it can come back
_SETTLED = 1e-4  # relative change of the mean from one iteration to the next at which a method has ended
_MOST = 500  # iterations


class Fit(NamedTuple):
    """What M says about every column, and about b."""

    u: Array  # a_j^H M^{-1} b
    s: Array  # a_j^H M^{-1} a_j
    misfit: float  # ||b - A mean||^2
    log_evidence: float  # in the user's units


class Evidence:
    """Hold the columns with a prior, projected off the unpenalised ones; shrunk to n rows where m > n."""

    def __init__(self, problem: Problem) -> None:
        penalty = problem.penalty
        self.problem = problem
        self.loose = np.flatnonzero(penalty.unpenalised)
        index = np.flatnonzero(~penalty.excluded & ~penalty.unpenalised)
        matrix, b = problem.operator.columns(index), problem.b
        self.rows = problem.m
        squares = (np.abs(matrix) ** 2).sum(axis=0)
        least = np.full(squares.size, _SMALLEST)
        if self.loose.size:
            basis = orthonormal(problem.operator.columns(self.loose))
            matrix = matrix - basis @ (basis.conj().T @ matrix)
            b = b - basis @ (basis.conj().T @ b)
            if squared(b) <= _EXPLAINED * squared(problem.b):
                b = np.zeros_like(b)
            self.rows -= basis.shape[1]
            least = np.maximum(least, _EXPLAINED * squares)
            squares = (np.abs(matrix) ** 2).sum(axis=0)
        seen = squares > least
        self.index, self.squares = index[seen], squares[seen]
        self.b2 = squared(b)
        self.mean_b2 = self.b2 / max(self.rows, 1)
        self.matrix, self.b = np.asfortranarray(matrix[:, seen]), b
        if self.index.size < self.b.size:
            # A = Q R: the rows outside the range of Q see nothing but noise
            from scipy.linalg import qr

            q, self.matrix = qr(self.matrix, mode="economic", check_finite=False)
            self.b = q.conj().T @ b
        self.outside = max(self.b2 - squared(self.b), 0.0)
        self.blind = self.rows - self.b.size  # negative where projection has taken rows from a full basis

    @property
    def floor(self) -> float:
        """The smallest noise variance that is told from none."""
        return max(_FLOOR * self.mean_b2, _NOTHING)

    @property
    def flat(self) -> Array:
        """Start of all gamma: every coefficient explains its share of b."""
        return self.b2 / (max(self.index.size, 1) * self.squares)

    def fit(self, gamma: Array, s2: float) -> Fit:
        """Return u, s, misfit and evidence; columns with gamma = 0 are left out of M."""
        from scipy.linalg import solve_triangular

        active = np.flatnonzero(gamma)
        columns = self.matrix[:, active]
        M = (columns * gamma[active]) @ columns.conj().T
        M.flat[:: M.shape[0] + 1] += s2
        factor = factored(M)
        both = np.concatenate([self.matrix, self.b[:, None]], axis=1)
        W = solve_triangular(factor, both, lower=True, check_finite=False)
        z = W[:, -1]
        u, s = W[:, :-1].conj().T @ z, (np.abs(W[:, :-1]) ** 2).sum(axis=0)
        y = solve_triangular(factor, z, lower=True, trans="C", check_finite=False)
        logdet = 2.0 * float(np.log(np.diag(factor).real).sum()) + self.blind * math.log(s2)
        quadratic = squared(z) + self.outside / s2
        return Fit(u, s, s2 * s2 * squared(y) + self.outside, self.log_density(logdet, quadratic))

    def log_density(self, logdet: float, quadratic: float) -> float:
        """Return log p(b) in the user's units from log |M| and b^H M^{-1} b in working units."""
        unit = self.problem.units.b_exponent * math.log(2.0)
        if self.problem.dtype.kind == "c":
            return -(self.rows * math.log(math.pi) + logdet + quadratic) - 2.0 * self.rows * unit
        return -0.5 * (self.rows * math.log(2.0 * math.pi) + logdet + quadratic) - self.rows * unit

    def mean(self, x: Array) -> Array:
        """Return the posterior mean of all coefficients, x being that of those with a prior."""
        out = np.zeros(self.problem.n, dtype=self.problem.dtype)
        out[self.index] = x
        if self.loose.size:
            from scipy.linalg import lstsq

            operator = self.problem.operator
            rest = self.problem.b - operator.columns(self.index) @ x
            out[self.loose] = lstsq(operator.columns(self.loose), rest, check_finite=False)[0]
        return out

    def loose_variance(self, gamma: Array, s2: float) -> Array:
        """Return the posterior variances of the unpenalised coefficients."""
        Z = self.problem.operator.columns(self.loose)
        active = self.index[gamma > 0]
        A = self.problem.operator.columns(active)
        # Z^H M^{-1} Z for M = A diag(gamma) A^H + s2 I, by a system of the order of the active set
        root = np.sqrt(gamma[gamma > 0])
        inner = (A.conj().T @ A) * np.multiply.outer(root, root) + s2 * np.eye(active.size)
        cross = root[:, None] * (A.conj().T @ Z)
        try:
            H = (Z.conj().T @ Z - cross.conj().T @ np.linalg.solve(inner, cross)) / s2
        except np.linalg.LinAlgError:
            return np.full(self.loose.size, np.inf)
        norms = np.sqrt(np.maximum(np.diag(H).real, 0.0))
        if (
            not np.isfinite(norms).all()
            or not norms.all()
            or np.linalg.matrix_rank(H / np.outer(norms, norms), hermitian=True) < norms.size
        ):
            return np.full(norms.size, np.inf)
        return np.asarray(np.diag(np.linalg.inv(H)).real)


def factored(M: Array) -> Array:
    """Return the lower Cholesky factor of M, plus as little of its diagonal as takes it there."""
    from scipy.linalg import LinAlgError, cholesky

    ridge = np.finfo(np.float64).eps * float(np.diag(M).real.max(initial=0.0))
    for _ in range(8):
        try:
            return np.asarray(cholesky(M, lower=True, check_finite=False))
        except LinAlgError:
            M = M + ridge * np.eye(M.shape[0])
            ridge *= 100.0
    return np.full_like(M, np.nan)  # not finite, which ends a run


def mm_update(gamma: Array, u: Array, s: Array) -> Array:
    """Return gamma from the tangent of log |M|: |mean_j| / sqrt(s_j)."""
    return np.asarray(gamma * np.abs(u) / np.sqrt(s))


def em_update(gamma: Array, u: Array, s: Array) -> Array:
    """Return the posterior mean of |x_j|^2."""
    return np.asarray(np.abs(gamma * u) ** 2 + gamma * np.maximum(1.0 - gamma * s, 0.0))


class Annealed:
    """Iterate an update of gamma while the noise variance falls to its target, or is learned.

    At a noise variance that stays, neither update ever lowers the evidence.
    """

    def __init__(
        self, evidence: Evidence, update: Any, target: float, decay: float, learn: bool = False
    ) -> None:
        self.evidence, self.update, self.decay, self.learn = evidence, update, decay, learn
        self.target = max(target, evidence.floor)
        self.s2 = max(self.target, _FIRST * evidence.mean_b2)
        self.gamma = evidence.flat
        self.x = np.zeros(evidence.index.size, dtype=evidence.problem.dtype)
        self.count = 0

    @property
    def work(self) -> float:
        """Multiplications of an iteration."""
        rows, n = self.evidence.matrix.shape
        return float(2 * rows * rows * n + rows**3)

    def advance(self) -> bool:
        """Take one iteration; tell whether the method has ended."""
        evidence, s2 = self.evidence, self.s2
        least = _REST * s2 / evidence.squares
        gamma = np.maximum(self.gamma, least)
        held = np.where(gamma > 1.001 * least, gamma, 0.0)
        fit = evidence.fit(held, s2)
        # a column at rest is not in M; this is how s and u would look if it were
        inside = np.where(held > 0, 1.0, 1.0 + gamma * fit.s)
        u, s = fit.u / inside, fit.s / inside
        self.gamma = self.update(gamma, u, s)
        old, self.x = self.x, gamma * u
        self.count += 1
        if self.learn:
            learned = (fit.misfit + s2 * float((held * fit.s).sum())) / max(evidence.rows, 1)
            self.s2 = max(learned, self.decay * s2, evidence.floor)
        else:
            self.s2 = max(self.decay * s2, self.target)
        still = squared(self.x - old) <= _SETTLED**2 * squared(self.x)
        return self.count >= _MOST or (still and abs(self.s2 - s2) <= _SETTLED * s2)

    def pruned(self) -> Array:
        """Return gamma with what is at rest at zero."""
        least = _REST * self.s2 / self.evidence.squares
        return np.where(self.gamma > 1.001 * least, self.gamma, 0.0)


class Greedy:
    """Raise the evidence by the best change of a single gamma_j, from an empty model, at a given noise.

    With s, q being s_j and u_j of the model without column j, the evidence is highest at
    gamma_j = (|q|^2 - s) / s^2, or at 0 where this is negative. A change updates M^{-1} by a rank-one term:
    O(m n) multiplications.
    """

    def __init__(self, evidence: Evidence, s2: float) -> None:
        self.evidence, self.s2 = evidence, max(s2, evidence.floor)
        self.gamma = np.zeros(evidence.index.size)
        self.x = np.zeros(evidence.index.size, dtype=evidence.problem.dtype)
        self.count = 0
        self.least, self.most = _ROUNDING * evidence.squares / self.s2, _LARGEST * self.s2 / evidence.squares
        self.inverse, self.u, self.s = self._exact()

    @property
    def work(self) -> float:
        """Multiplications of a change."""
        rows, n = self.evidence.matrix.shape
        return float(rows * (rows + n))

    def advance(self) -> bool:
        """Make the best change; tell whether none is left that matters."""
        evidence, gamma = self.evidence, self.gamma
        if gamma.size == 0:
            return True
        inside = np.maximum(1.0 - gamma * self.s, 1e-12)
        s, q2 = self.s / inside, np.abs(self.u / inside) ** 2
        best = np.maximum(q2 - s, 0.0) / s / s  # s^2 may be too small for a number
        best = np.minimum(best, self.most)
        gain = _single(best, s, q2) - _single(gamma, s, q2)
        j = int(np.argmax(gain))
        if not gain[j] > 1e-6 or self.count >= 20 * evidence.rows + 100:
            self.inverse, self.u, self.s = self._exact()
            self.x = gamma * self.u
            return True
        step = float(best[j] - gamma[j])
        gamma[j] = best[j]
        self.count += 1
        sound = 1.0 + step * self.s[j] > _LOST
        if sound:
            self._change(j, step)
        if not sound or self.count % 50 == 0:
            self.inverse, self.u, self.s = self._exact()
        self.x = gamma * self.u
        return False

    def _change(self, j: int, step: float) -> None:
        A = self.evidence.matrix
        w = self.inverse @ A[:, j]
        c = A.conj().T @ w
        factor = step / (1.0 + step * self.s[j])
        self.u = self.u - factor * c * self.u[j]
        self.s = np.maximum(self.s - factor * np.abs(c) ** 2, self.least)
        self.inverse -= factor * np.outer(w, w.conj())

    def _exact(self) -> tuple[Array, Array, Array]:
        """Return M^{-1}, u and s formed anew."""
        from scipy.linalg import cho_solve

        A, live = self.evidence.matrix, np.flatnonzero(self.gamma)
        M = (A[:, live] * self.gamma[live]) @ A[:, live].conj().T
        M.flat[:: M.shape[0] + 1] += self.s2
        identity = np.eye(M.shape[0], dtype=M.dtype)
        inverse = cho_solve((factored(M), True), identity, check_finite=False)
        product = inverse @ A
        u, s = product.conj().T @ self.evidence.b, (A.conj() * product).sum(axis=0).real
        return inverse, u, np.maximum(s, self.least)

    def pruned(self) -> Array:
        """Return gamma."""
        return self.gamma


def _single(gamma: Array, s: Array, q2: Array) -> Array:
    """Return the part of the evidence (times two for real data) that depends on one gamma."""
    grown = 1.0 + gamma * s
    return np.asarray(q2 * gamma / grown - np.log(grown))

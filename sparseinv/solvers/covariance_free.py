"""Expectation maximisation without a covariance: means by conjugate gradients, variances by probing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sparseinv.problem import Problem, squared

Array = np.ndarray[Any, Any]

_FLOOR = 1e-6  # smallest noise variance, relative to the mean of |b|^2: below, the systems cost too much
_FIRST = 1e-2
_DECAY = 0.6  # of the noise variance from one iteration to the next, until it is at its target
_STEPS, _PROBE_STEPS = 100, 30  # of conjugate gradients
_TOL, _PROBE_TOL = 1e-4, 1e-2
_LAST_STEPS, _LAST_TOL = 2000, 1e-8
_EXACT = 32  # coefficients whose variances are computed at the end
_LOOSE = 1e6  # variance of an unpenalised coefficient, over that at the start
_SETTLED, _MOST = 1e-3, 60


class CovarianceFree:
    """Iterate gamma_j = |mean_j|^2 + variance_j with products of A alone.

    With G = diag(gamma)^{1/2} and C = (I + G A^H A G / s2)^{-1} the mean is G C G A^H b / s2 and the
    variances are gamma_j C_jj. C_jj is the mean of v_j (C v)_j over fixed sign vectors v, which is unbiased;
    C has eigenvalues in (0, 1], and at most m of them are not 1.
    """

    def __init__(
        self, problem: Problem, target: float, probes: int, mean_square: float, learn: bool = False
    ) -> None:
        penalty = problem.penalty
        self.problem, self.learn = problem, learn
        self.mean_b2 = squared(problem.b) / max(problem.m, 1)
        self.floor = _FLOOR * self.mean_b2
        self.target = max(target, self.floor)
        self.s2 = max(self.target, _FIRST * self.mean_b2)
        self.free, self.loose = ~penalty.excluded, penalty.unpenalised
        flat = self.mean_b2 * problem.m / (max(problem.n, 1) * max(mean_square, 1e-300))
        self.gamma = np.where(self.free, flat, 0.0)
        self.gamma[self.loose] = _LOOSE * flat
        rng = np.random.default_rng(0)
        self.probes = np.where(rng.random((probes, problem.n)) < 0.5, -1.0, 1.0)
        self.correlations = problem.gradient(problem.b)
        self.x = np.zeros(problem.n, dtype=problem.dtype)
        self.shares = np.ones(problem.n)  # C_jj
        self.count = 0

    @property
    def work(self) -> float:
        """Multiplications of an iteration, a product being counted as m + n."""
        steps = _STEPS + self.probes.shape[0] * _PROBE_STEPS
        return float(2 * steps * (self.problem.m + self.problem.n))

    def advance(self) -> bool:
        """Take one iteration; tell whether the method has ended."""
        old, s2 = self.x, self.s2
        self._infer()
        updated = np.abs(self.x) ** 2 + self.gamma * self.shares
        self.gamma = np.where(self.loose, self.gamma, np.where(self.free, updated, 0.0))
        self.count += 1
        if self.learn:
            misfit = squared(self.problem.residual(self.x))
            explained = float((1.0 - self.shares[self.free]).sum())
            self.s2 = max((misfit + s2 * explained) / self.problem.m, _DECAY * s2, self.floor)
        else:
            self.s2 = max(_DECAY * s2, self.target)
        still = squared(self.x - old) <= _SETTLED**2 * squared(self.x)
        return self.count >= _MOST or (still and abs(self.s2 - s2) <= _SETTLED * s2)

    def finish(self) -> None:
        """Replace the probed variances of the largest coefficients by exact ones, a system each.

        Probing is accurate to a share of the average C_jj, and that of a coefficient which the data determine
        well is a thousandth of it.
        """
        root = np.sqrt(self.gamma)
        # the mean that belongs to the last variances
        start = np.divide(self.x, root, out=np.zeros_like(self.x), where=root > 0)
        self.x = root * self._solve(root, root * self.correlations / self.s2, start, _LAST_STEPS, _LAST_TOL)
        for j in np.argsort(-np.abs(self.x), kind="stable")[:_EXACT]:
            if root[j] > 0.0 and self.shares[j] < 0.5:
                unit = np.zeros(self.problem.n, dtype=self.problem.dtype)
                unit[j] = 1.0
                self.shares[j] = float(self._solve(root, unit, unit.copy(), _STEPS, _TOL)[j].real)
        self.shares = np.clip(self.shares, 0.0, 1.0)

    def _infer(self) -> None:
        root = np.sqrt(self.gamma)
        start = np.divide(self.x, root, out=np.zeros_like(self.x), where=root > 0)
        self.x = root * self._solve(root, root * self.correlations / self.s2, start, _STEPS, _TOL)
        total = np.zeros(self.problem.n)
        for v in self.probes:
            rhs = np.asarray(np.where(self.free, v, 0.0), dtype=self.problem.dtype)
            total += (v * self._solve(root, rhs, rhs.copy(), _PROBE_STEPS, _PROBE_TOL)).real
        self.shares = np.clip(total / len(self.probes), 0.0, 1.0)

    def _solve(self, root: Array, rhs: Array, x: Array, steps: int, tol: float) -> Array:
        """Return (I + G A^H A G / s2)^{-1} rhs by conjugate gradients from x."""
        problem = self.problem

        def apply(z: Array) -> Array:
            return z + root * problem.gradient(problem.operator.matvec(root * z)) / self.s2

        r = rhs - apply(x) if x.any() else rhs.copy()
        p, gamma = r, squared(r)
        goal = tol * tol * squared(rhs)
        for _ in range(steps):
            if gamma <= goal or gamma == 0.0:
                break
            q = apply(p)
            curvature = float(np.vdot(p, q).real)
            if not curvature > 0.0 or not math.isfinite(curvature):
                break
            step = gamma / curvature
            x, r = x + step * p, r - step * q
            previous, gamma = gamma, squared(r)
            p = r + (gamma / previous) * p
        return x

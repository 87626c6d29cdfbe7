"""The problem restricted to the columns that were ever active, held as a small dense quadratic.

Minimises ``1/2 x^T G x - q^T x + sum_j l1_j |x_j| + l2_j x_j^2 / 2`` over k coefficients, G = A_T^T A_T,
by coordinate sweeps, sign-fixed Newton steps and, where supports churn, a semismooth Newton method.
Columns far longer or shorter than the first are taken times a power of two, so that no system is worse
conditioned than its directions make it.
Real data; the Gram matrix grows by the new columns only, and the Cholesky factor of the support is kept.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from sparseinv.operators.matrix import ExplicitMatrix
from sparseinv.problem import Problem
from sparseinv.solvers.lazy_columns import LazyColumns
from sparseinv.solvers.semismooth_newton import semismooth_newton
from sparseinv.solvers.support_factor import SupportFactor

Array = np.ndarray[Any, Any]

# thresholds tuned on the benchmark grid, in one place
_SWEEPS = 8  # Gram sweeps before a Newton step
_FILTER_SWEEPS = 3  # sweeps over newcomers alone; those left at zero do not enter the Gram matrix
_SWEEP_RATIO = 0.1  # a round of sweeps ends when changes fall below this fraction of the first
_CLIP = 0.3  # share of the model decrease that clipping flipped signs must reach
_SCHUR = 0.3  # share of the support that may be dropped through the same factor
_ACCURACY = 1e-6  # what a Newton step may leave of the slope before the factor counts as worn out
_CROWDED = 0.7  # with as many non-zeros as rows in sight every level brings in and drops many columns
_ALIKE, _BEYOND = 1.0, 400.0  # binary orders between columns that are left as they are, and that are too far
_GROWTH = 1.5  # arrays grow by this factor
_MULTIPLIED = 1 << 20  # entries times columns up to which inner products beat a sparse product


class ActiveColumns:
    """Hold the active columns, their Gram matrix and the coefficients on them.

    Attributes
    ----------
    index : ndarray, shape (k,)
        Column numbers in A, in the order in which they came.
    unit : ndarray, shape (k,)
        Powers of two by which the columns are multiplied.
    x, g : ndarray, shape (k,)
        Coefficients of those, and A_T^T (A_T x - b) for them.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.b2 = 2.0 * problem.scale
        self.index = np.empty(0, dtype=np.int64)
        self._capacity = 0
        self.gram = np.empty((0, 0), order="F")
        self._x = self._g = self.q = self.l1 = self.l2 = self._unit = np.empty(0)
        self.factor = SupportFactor()
        self.lazy = None if problem.explicit else LazyColumns(problem)
        self._last = (np.empty(0), -problem.b)  # coefficients and residual of the last call
        self._rows = np.empty((0, problem.m))  # the active columns of a dense A, one a row
        self._grow(256)

    @property
    def k(self) -> int:
        """Number of active columns."""
        return int(self.index.size)

    @property
    def x(self) -> Array:
        """Coefficients on the active columns."""
        return self._x[: self.k]

    @property
    def g(self) -> Array:
        """Gradient of the smooth part on the active columns."""
        return self._g[: self.k]

    @property
    def unit(self) -> Array:
        """Factors on the columns."""
        return self._unit[: self.k]

    def _grow(self, capacity: int) -> None:
        k = self.k
        gram = np.empty((capacity, capacity), order="F")
        vectors = [np.zeros(capacity) for _ in range(6)]
        gram[:k, :k] = self.gram[:k, :k]
        for new, old in zip(vectors, (self._x, self._g, self.q, self.l1, self.l2, self._unit), strict=True):
            new[:k] = old[:k]
        self.gram = gram
        self._x, self._g, self.q, self.l1, self.l2, self._unit = vectors
        self._capacity = capacity

    def follow(self, problem: Problem) -> bool:
        """Go over to other levels of the same penalty; tell whether zeros and infinities stay in place."""
        before, penalty = self.problem.penalty, problem.penalty
        same = np.array_equal(before.excluded, penalty.excluded) and np.array_equal(
            before.unpenalised, penalty.unpenalised
        )
        if same:
            if not np.array_equal(before.l2, penalty.l2):
                self.factor.forget()
            self.problem = problem
            if self.lazy is not None:
                self.lazy.operator = problem.operator
            self.l1[: self.k] = self.unit * penalty.l1[self.index]
            self.l2[: self.k] = self.unit**2 * penalty.l2[self.index]
        return same

    # --- what WorkingSet asks of all columns -----------------------------------------------------------

    @property
    def levels(self) -> Array:
        """Levels of all coefficients of the problem."""
        return np.asarray(self.problem.penalty.l1)

    @property
    def crowded(self) -> float:
        """Largest factor between two levels on account of many non-zeros."""
        return _CROWDED

    def limit(self, columns: int) -> int:
        """Return how many newcomers so many columns are."""
        return columns

    def excluded(self) -> Array:
        """Return the mask of the columns that never join."""
        return np.array(self.problem.penalty.excluded)

    def first(self, x: Array) -> Array:
        """Return the mask of the columns to begin with: unpenalised, or with a coefficient in x."""
        penalty, live = self.problem.penalty, x != 0
        if penalty.single_level:
            return np.asarray(live)
        return np.asarray((penalty.unpenalised | live) & ~penalty.excluded)

    def size(self, g: Array) -> Array:
        """Return the part of the gradient g = A^T r (n,) that can move a coefficient away from zero."""
        return np.maximum(-g, 0.0) if self.problem.penalty.nonnegative else np.abs(g)

    def size_at(self, index: Array, r: Array) -> Array:
        """Return the same for the columns ``index`` only, for the residual r."""
        from sparseinv.kernels.descent import selected_gradient

        out = np.empty(index.size)
        matrix, place = self.matrix(index)
        selected_gradient(matrix.layout, place, r, out)
        return self.size(out)

    def survivors(self, index: Array, level: float, r: Array) -> Array:
        """Sweep over newcomers alone; return those that become non-zero."""
        from sparseinv.kernels.descent import descend_columns

        penalty = self.problem.penalty
        x = np.zeros(index.size)
        matrix, place = self.matrix(index)
        descend_columns(
            matrix.layout, place, level * penalty.l1[index], penalty.l2[index], penalty.nonnegative,
            r.copy(), _FILTER_SWEEPS, 0.0, x, np.full(index.size, -1.0),
        )  # fmt: skip
        return index[x != 0]

    def solution(self) -> Array:
        """Return x (n,)."""
        x = np.zeros(self.problem.n)
        x[self.index] = self.unit * self.x
        return x

    def extend(self, index: Array, q: Array) -> None:
        """Add columns, given their products q = A^T b."""
        penalty = self.problem.penalty
        old, new = self.k, self.k + index.size
        if new > self._capacity:
            self._grow(max(new, int(_GROWTH * self._capacity)))
        block = self._append(index)
        unit = self._units(np.diagonal(block, -old))
        block *= np.concatenate([self.unit, unit])[:, None] * unit
        self.gram[:new, old:new] = block
        self.gram[old:new, :old] = block[:old].T
        self.index = np.concatenate([self.index, index])
        self._unit[old:new], self.q[old:new] = unit, unit * q
        self.l1[old:new], self.l2[old:new] = unit * penalty.l1[index], unit**2 * penalty.l2[index]
        self._x[old:new] = 0.0
        live = np.flatnonzero(self._x[:old])
        self._g[old:new] = self.gram[old:new, live] @ self._x[live] - self.q[old:new]

    def _units(self, squares: Array) -> Array:
        """Return powers of two that take columns of these squared norms near the length of the first."""
        first = self.gram[0, 0] if self.k else float(squares.max(initial=0.0))
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            exponents = 0.5 * (np.log2(first) - np.log2(squares))
        far = (np.abs(exponents) > _ALIKE) & (np.abs(exponents) < _BEYOND)
        return np.exp2(np.where(far, np.round(exponents), 0.0))

    def start(self, index: Array, correlations: Array, x: Array) -> None:
        """Add the first columns, with their coefficients in x (n,), given all of A^T b."""
        self.extend(index, correlations[index])
        self.x[:] = x[index] / self.unit
        self.g[:] = self.gram[: self.k, : self.k] @ self.x - self.q[: self.k]

    def _append(self, index: Array) -> Array:
        """Copy the columns beside those at hand; return the new columns of the Gram matrix."""
        inner, place = self.matrix(index)
        if inner.sparse:
            return self._sparse_gram(*self.matrix(np.concatenate([self.index, index])))
        old, new = self.k, self.k + index.size
        if new > self._rows.shape[0]:
            rows = np.empty((max(new, int(_GROWTH * old)), self.problem.m))
            rows[:old] = self._rows[:old]
            self._rows = rows
        inner.take(place, self._rows[old:new])
        return self._rows[:new] @ self._rows[old:new].T

    def _sparse_gram(self, inner: ExplicitMatrix, every: Array) -> Array:
        """Return the new columns of the Gram matrix of sparse columns ``every``, which are not copied."""
        from sparseinv.kernels.products import sparse_gram

        if inner.entries(every) * (every.size - self.k) > _MULTIPLIED:
            part = inner.picked(every)
            return np.asarray((part.T @ part[:, self.k :]).toarray())
        out = np.empty((every.size, every.size - self.k))
        sparse_gram(inner.layout, every, self.k, np.zeros(self.problem.m), out)
        return out

    def matrix(self, index: Array) -> tuple[ExplicitMatrix, Array]:
        """Return (matrix, place): column index[i] of A is column place[i] of the matrix."""
        if self.lazy is not None:
            return self.lazy.take(index)
        inner = self.problem.operator.inner
        assert isinstance(inner, ExplicitMatrix)
        return inner, index

    def residual(self) -> Array:
        """Return A_T x - b."""
        from sparseinv.kernels.products import add_columns

        if not np.array_equal(self._last[0], self.x):
            live = np.flatnonzero(self.x)
            r = -self.problem.b
            if live.size:
                matrix, place = self.matrix(self.index[live])
                add_columns(matrix.layout, place, self.unit[live] * self.x[live], r)
            self._last = (self.x.copy(), r)
        return self._last[1].copy()

    def minimise(self, level: float, target: float, rounds: int) -> tuple[float, float]:
        """Sweep and take Newton steps until the gap is below target; return (gap, last share of flips)."""
        from sparseinv.kernels.descent import gram_descent, gram_gap

        k, nonnegative = self.k, self.problem.penalty.nonnegative
        l1, l2 = level * self.l1[:k], self.l2[:k]
        none = np.empty(0, dtype=np.int64)
        terms = (np.zeros(k), l1, l2, nonnegative, none, none)
        gap, flips = np.inf, 0.0
        for _ in range(rounds):
            if time.perf_counter() > self.problem.operator.deadline:
                break
            gram_descent(self.gram, k, terms, self._x, self._g, _SWEEPS, _SWEEP_RATIO)
            flips = self.newton(level)
            gap = gram_gap(k, self._x, self._g, self.q, self.b2, l1, l2, nonnegative)
            if gap <= target:
                break
        return float(gap), flips

    def gap(self, level: float) -> float:
        """Return the duality gap on the active columns."""
        from sparseinv.kernels.descent import gram_gap

        k = self.k
        l1, nonnegative = level * self.l1[:k], self.problem.penalty.nonnegative
        return float(gram_gap(k, self._x, self._g, self.q, self.b2, l1, self.l2[:k], nonnegative))

    def value(self, x: Array, g: Array, level: float) -> float:
        """Return the objective less 1/2 ||b||^2, for g = G x - q."""
        k = self.k
        size = np.abs(x)
        penalty = size @ (level * self.l1[:k] + 0.5 * self.l2[:k] * size)
        return float(0.5 * (x @ (g - self.q[:k])) + penalty)

    def newton(self, level: float) -> float:
        """Take one Newton step with the signs held fixed; return the share of signs that flipped.

        Flipped coefficients are clipped to zero if that keeps a fair share of the decrease; else they are
        dropped and the rest is solved again through the same factor; else the exact minimiser along the
        step is taken. The lowest objective wins, so the step never rises.
        """
        k = self.k
        live = np.flatnonzero(self.x)
        free = (self.l1[:k] == 0.0) & (self.l2[:k] == 0.0)
        if free.any() and not self.problem.penalty.nonnegative:
            live = np.union1d(live, np.flatnonzero(free))
        if live.size == 0:
            return 0.0
        l1, l2 = level * self.l1[live], self.l2[live]
        x = self.x[live]
        sign = np.ones_like(x) if self.problem.penalty.nonnegative else np.sign(x)
        slope = self.g[live] + l1 * sign + l2 * x
        step = self._newton_step(live, slope)
        if step is None:
            return 1.0
        z = x + step
        bound = (l1 > 0.0) | self.problem.penalty.nonnegative
        flipped = np.flatnonzero(bound & (z * sign < 0.0))
        if flipped.size == 0:
            self.x[:], self.g[:] = self._spread(live, z)
            # a step through borders of the factor that has lost its accuracy is not to be repeated
            left = float(np.abs(self.g[live] + l1 * sign + l2 * z).max())
            if left > _ACCURACY * float(np.abs(slope).max()):
                self.factor.forget()
            return 0.0
        before = self.value(self.x, self.g, level)
        model = -0.5 * float(slope @ step)
        clipped = z.copy()
        clipped[flipped] = 0.0
        best = self._trial(live, clipped, level)
        if best[0] > before - _CLIP * model:
            for candidate in self._repairs(live, x, z, step, sign, flipped, l1, slope, bound):
                trial = self._trial(live, candidate, level)
                best = min(best, trial, key=lambda t: t[0])
        if best[0] < before:
            self.x[:], self.g[:] = best[1], best[2]
        else:
            self.factor.forget()
        return flipped.size / live.size

    def _newton_step(self, live: Array, slope: Array) -> Array | None:
        """Return -(G_SS + diag(l2))^{-1} slope."""
        y = self.factor.solve(self.gram, self.l2, live, slope)
        return None if y is None else -y

    def _repairs(
        self, live: Array, x: Array, z: Array, step: Array, sign: Array, flipped: Array,
        l1: Array, slope: Array, bound: Array,
    ) -> list[Array]:  # fmt: skip
        """Return what to try when clipping does not help: drop and re-solve, and the exact line search."""
        from sparseinv.kernels.descent import exact_step

        found = []
        dropped = np.zeros(live.size, dtype=bool)
        wrong = flipped
        for _ in range(3):
            dropped[wrong] = True
            if dropped.sum() > _SCHUR * live.size:
                break
            kept = ~dropped
            pull = self.gram[np.ix_(live[kept], live[dropped])] @ x[dropped]
            rest = self._newton_step(live[kept], slope[kept] - pull)
            if rest is None:
                break
            y = np.zeros(live.size)
            y[kept] = x[kept] + rest
            wrong = np.flatnonzero(bound & (y * sign < 0.0))
            if wrong.size == 0:
                found.append(y)
                break
        else:
            y[wrong] = 0.0
            found.append(y)
        smooth = slope - l1 * sign
        curvature = -float(slope @ step)  # the step solves a linear system with this right-hand side
        t, j = exact_step(x, step, float(smooth @ step), curvature, l1)
        if self.problem.penalty.nonnegative:
            down = step < 0.0
            t = min(t, float((-x[down] / step[down]).min(initial=1.0)))
        y = x + t * step
        if j >= 0:
            y[j] = 0.0
        if self.problem.penalty.nonnegative:
            np.maximum(y, 0.0, out=y)
        found.append(y)
        return found

    def _trial(self, live: Array, y: Array, level: float) -> tuple[float, Array, Array]:
        x, g = self._spread(live, y)
        return self.value(x, g, level), x, g

    def _spread(self, live: Array, y: Array) -> tuple[Array, Array]:
        """Return (x, g) of coefficients y at the places live and zero elsewhere."""
        k = self.k
        x = np.zeros(k)
        x[live] = y
        # copying the columns that count costs three times as much as reading them
        image = self.gram[:k, live] @ y if 4 * live.size < k else self.gram[:k, :k] @ x
        return x, image - self.q[:k]

    def semismooth(self, level: float, target: float) -> None:
        """Run the semismooth Newton method, whose cost does not depend on how the signs churn."""
        k, nonnegative = self.k, self.problem.penalty.nonnegative
        gram, q = self.gram[:k, :k], self.q[:k]
        _, x = semismooth_newton(
            gram, q, self.b2, level * self.l1[:k], self.l2[:k], nonnegative, self.x, target,
            self.problem.operator.deadline,
        )  # fmt: skip
        g = gram @ x - q
        if self.value(x, g, level) < self.value(self.x, self.g, level):
            self.x[:], self.g[:] = x, g

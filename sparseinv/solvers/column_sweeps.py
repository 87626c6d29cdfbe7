"""Coordinate sweeps of the working set where a Gram matrix would cost more: tall matrices, large supports.

``state`` is the state of `WorkingSet`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sparseinv.certificate import DualPair
from sparseinv.operators.matrix import ExplicitMatrix
from sparseinv.problem import Problem
from sparseinv.solvers.active_blocks import ActiveBlocks
from sparseinv.solvers.active_columns import ActiveColumns
from sparseinv.solvers.base import Outcome
from sparseinv.stopping import Budget

Array = np.ndarray[Any, Any]

# thresholds tuned on the benchmark grid, in one place
TALL = 3  # rows over columns from which sweeps are tried before a Gram matrix is formed
_DESCEND_SWEEPS = 12  # sweeps per round there
_DESCEND_RATIO = 1e-2  # a round ends when changes have fallen by this factor
_DESCEND_ALL = 0.3  # share of the columns from which all are swept over
_DESCEND_SLOW = 0.4  # factor per sweep above which the Gram matrix takes over
_TINY = 1e-300  # a squared norm below has no inverse
_TURNED = 0.03  # share of the signs that may have turned in the sweeps before a Newton step is tried
_CG_TOL, _CG_MOST, _CG_LEAST = 1e-2, 100, 10  # accuracy and iterations of conjugate gradients for it
_CG_WORK = (
    3e8  # multiplications that they may take: with fewer than _CG_LEAST iterations in that, none are made
)
# active columns beyond which sweeps cost less than a Gram matrix and its factors: dense A, CSC
_LARGEST, _LARGEST_SPARSE = 5000, 2000


def descend(problem: Problem, state: Any, budget: Budget) -> Outcome:
    """Sweep over the columns that matter until their changes are small, then look at all columns.

    On tall matrices, whose columns are far from parallel, a few sweeps cost less than a Gram matrix;
    where they turn out to converge slowly, the Gram matrix takes over.
    """
    assert state.dual is not None
    assert state.watched is not None
    penalty = problem.penalty
    pressed = penalty.magnitude(-state.dual.Ahv) > penalty.l1
    grown = bool((pressed & (state.x == 0.0)).any())
    state.watched |= pressed & ~penalty.excluded
    if state.watched.mean() > _DESCEND_ALL:
        state.watched = ~penalty.excluded
    state.x, state.r = state.x.copy(), state.r.copy()
    # the gap of the scaled residual falls in proportion to the changes
    wanted = 0.1 * budget.tol / budget.gap if budget.gap > 0.0 else 0.0
    ratio = _DESCEND_RATIO if grown else max(1e-8, min(_DESCEND_RATIO, wanted))
    state.rounds += 1
    if state.rounds == 1:  # most of what comes in at first goes again
        _sweep_over(problem, state, np.flatnonzero(state.watched), 1, 0.0)
        _sweep_over(problem, state, np.flatnonzero(state.x), 2, 0.0)
    if grown:
        _sweep_over(problem, state, np.flatnonzero(state.watched), 1, 0.0)
    first, last, done = _sweep_over(problem, state, np.flatnonzero(state.x), _DESCEND_SWEEPS, ratio)
    state.dual = DualPair(state.r, problem.gradient(state.r))
    if done > 1 and last > _DESCEND_SLOW ** (done - 1) * first:
        materialise(state)
    return Outcome.FLOOR if not grown and first <= 1e-16 * np.linalg.norm(problem.b) else Outcome.MOVED


def _sweep_over(
    problem: Problem, state: Any, index: Array, sweeps: int, ratio: float
) -> tuple[float, float, int]:
    """Sweep over some columns; return (first change of A x, last one, sweeps)."""
    from sparseinv.kernels.descent import descend_columns

    assert state.squares is not None
    penalty = problem.penalty
    x, squares = state.x[index], state.squares[index]
    first, last, done = descend_columns(
        problem.layout, index, penalty.l1[index], penalty.l2[index], penalty.nonnegative, state.r,
        sweeps, ratio, x, squares,
    )  # fmt: skip
    state.x[index], state.squares[index] = x, squares
    problem.operator.charge(forward=round(done * index.size / max(problem.n, 1)))
    return first, last, done


def materialise(state: Any) -> None:
    """Go over to the Gram matrix of the columns that are not zero."""
    index = np.flatnonzero(state.x)
    state.watched = state.squares = None
    if index.size > largest(state.active):
        state.sweeping = True
        return
    state.active.start(index, state.correlations, state.x)
    state.member[index] = True


def sweep(problem: Problem, state: Any) -> Outcome:
    """Descend by coordinates where the active set has outgrown a Gram matrix."""
    from sparseinv.kernels.descent import coordinate_descent

    scratch, before = np.empty(problem.n, dtype=np.int64), np.sign(state.x)
    change, inner, kept = coordinate_descent(
        problem.layout, problem.penalty.terms, state.x, state.r, problem.column_norms**2, scratch, 10, 0.1
    )
    share = round(inner * kept / max(problem.n, 1))
    problem.operator.charge(forward=1 + share, adjoint=1 + share)
    state.level = 1.0
    turned = np.count_nonzero(np.sign(state.x) != before)
    if isinstance(state.active, ActiveColumns) and turned <= _TURNED * np.count_nonzero(state.x):
        state.x = _newton(problem, state.x, problem.residual(state.x))
    state.r = problem.residual(state.x)
    state.dual = DualPair(state.r, problem.gradient(state.r))
    return Outcome.FLOOR if change <= 1e-16 * np.linalg.norm(problem.b) else Outcome.MOVED


def _newton(problem: Problem, x: Array, r: Array) -> Array:
    """Return x after a Newton step with the signs held fixed, by conjugate gradients; x if that is higher."""
    from scipy.sparse.linalg import LinearOperator, cg

    matrix, penalty = problem.operator.inner, problem.penalty
    assert isinstance(matrix, ExplicitMatrix)
    live = np.flatnonzero(x)
    most = int(min(_CG_MOST, _CG_WORK / (2.0 * max(matrix.entries(live), 1))))
    if live.size == 0 or most < _CG_LEAST:
        return x
    l1, l2, sign = penalty.l1[live], penalty.l2[live], np.sign(x[live])
    part = matrix.picked(live)
    slope = part.T @ r + l1 * sign + l2 * x[live]
    diagonal = problem.column_norms[live] ** 2 + l2
    scale = np.divide(1.0, diagonal, out=np.ones(live.size), where=diagonal > _TINY)
    done = 0

    def curvature(v: Array) -> Array:
        nonlocal done
        done += 1
        return np.asarray(part.T @ (part @ v) + l2 * v)

    shape = (live.size, live.size)
    step, _ = cg(
        LinearOperator(shape, curvature, dtype=np.float64), -slope, rtol=_CG_TOL, maxiter=most,
        M=LinearOperator(shape, lambda v: scale * v, dtype=np.float64),
    )  # fmt: skip
    share = round(done * live.size / max(problem.n, 1))
    problem.operator.charge(forward=share, adjoint=share)
    y = np.zeros_like(x)
    y[live] = x[live] + step
    y[live[(y[live] * sign < 0.0) & ((l1 > 0.0) | penalty.nonnegative)]] = 0.0
    return y if problem.objective(y, problem.residual(y)) < problem.objective(x, r) else x


def largest(active: ActiveColumns | ActiveBlocks) -> int:
    """Return how many columns the active set may have."""
    problem = active.problem
    if isinstance(active, ActiveBlocks) or not problem.explicit:
        return problem.n  # blocks go on without a Gram matrix; columns written down have their own limit
    inner = problem.operator.inner
    assert isinstance(inner, ExplicitMatrix)
    return _LARGEST_SPARSE if inner.sparse else _LARGEST

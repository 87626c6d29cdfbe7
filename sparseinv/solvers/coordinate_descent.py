"""Cyclic coordinate descent on matrices in memory, by columns or by the Gram matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from sparseinv.certificate import Kind
from sparseinv.problem import Problem
from sparseinv.solvers.base import Outcome, Solver, State, chunk, cost_of_pass, refuse, start_point
from sparseinv.stopping import Budget

Array = np.ndarray[Any, Any]

_INNER = 10  # sweeps over the non-zeros after each full sweep
_GRAM_SWEEPS = 20
_CONTINUATION = 0.5  # factor between two levels while a nonconvex problem is approached


@dataclass(slots=True, eq=False, kw_only=True)
class DescentState(State):
    """Carry the residual and the curvatures."""

    squares: Array  # ||a_j||^2, or a bound of ||A_g||^2 for groups
    active: Array  # scratch: coordinates or groups that are not zero
    gram: Array | None  # A^H A, F-ordered
    level: float = 1.0  # factor on the penalty while the problem is approached; 1 is the problem itself


@dataclass(frozen=True, repr=False)
class CoordinateDescent(Solver):
    """Minimise over one coefficient at a time: x_j <- prox(x_j - a_j^H r / ||a_j||^2).

    Parameters
    ----------
    gram : bool or None
        Work on A^H A (n x n) instead of columns; None: if m >= 3 n and n <= 2000.
    continuation : bool
        For nonconvex penalties without x0: approach the problem through a falling sequence of levels,
        which finds far better minima than a cold start.

    Notes
    -----
    Every update is exact, so the objective never rises and column scales do not matter. After each
    full sweep only non-zero coefficients are swept until they settle. Groups take one proximal step
    with ||A_g||^2. For L0 the limit is a coordinate-wise minimum; a tie goes to zero. Cost: a full
    sweep reads A once (counted as one product with A and one with A^H). Dense and CSC; storage A
    (column-major), the residual, and A^H A where it is used.

    References
    ----------
    J. Friedman, T. Hastie, R. Tibshirani, J. Stat. Softw. 33 (2010) 1-22, doi:10.18637/jss.v033.i01.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> si.solve(np.eye(2), np.array([2.0, 0.1]), si.L1(0.5), solver=si.CoordinateDescent()).x
    array([1.5, 0. ])
    """

    gram: bool | None = None
    continuation: bool = True

    local_kind: ClassVar[Kind] = Kind.COORDINATE_MINIMUM
    refit: ClassVar[bool] = True

    def check(self, problem: Problem) -> None:
        """Refuse matrix-free operators and penalties that kernels do not know."""
        if not problem.explicit:
            raise refuse(self, "needs columns of A in memory (dense or CSC)", "FISTA, ISTA, IRLS or Ridge")
        if problem.penalty.terms is None:
            raise refuse(self, f"does not know the penalty {type(problem.penalty).__name__}", "ISTA or FISTA")
        if self.gram and problem.penalty.terms[5].size:
            raise refuse(self, "with gram=True has no groups", "CoordinateDescent()")

    def start(self, problem: Problem, x0: Array | None) -> DescentState:
        """Return the state at x0 (zero by default)."""
        problem.operator.phase = "setup"
        x = start_point(problem, x0)
        order, starts = problem.penalty.terms[4:]
        squares = _group_squares(problem, order, starts) if starts.size else problem.column_norms**2
        wanted = self.gram
        if wanted is None:
            wanted = not starts.size and problem.m >= 3 * problem.n and 0 < problem.n <= 2000
        gram = np.asfortranarray(problem.operator.gram(), dtype=problem.dtype) if wanted else None
        state = DescentState(
            x, problem.residual(x), squares=squares, active=np.empty(squares.size, dtype=np.int64), gram=gram
        )
        if x0 is None and not problem.penalty.convex and self.continuation:
            g = problem.gradient(state.r)
            level = problem.penalty.lam_max(-g, problem.column_norms)
            state.level = max(1.0, level * _CONTINUATION) if np.isfinite(level) else 1.0
            state.settled = state.level <= 1.0
        return state

    def resume(self, problem: Problem, state: DescentState) -> DescentState:
        """Go on from the last iterate; curvatures and Gram matrix are kept."""
        state.r = problem.residual(state.x)
        state.level, state.settled = 1.0, True
        return state

    def step(self, problem: Problem, state: DescentState, budget: Budget) -> Outcome:
        """Sweep over all coefficients, then over the non-zero ones."""
        from sparseinv.kernels.descent import coordinate_descent, gram_descent

        penalty = problem.penalty if state.level <= 1.0 else problem.penalty.tilted(state.level)
        size = float(np.linalg.norm(problem.b))
        if state.gram is not None:
            # the gradient is formed afresh, so that rounding in A^H A cannot accumulate
            g = problem.gradient(state.r)
            sweeps = int(np.clip(1e8 / max(problem.n, 1) ** 2, 1, min(_GRAM_SWEEPS, budget.iterations)))
            change, done = gram_descent(state.gram, problem.n, penalty.terms, state.x, g, sweeps, 1e-3)
            state.r = problem.residual(state.x)
            state.n_iter += done
        else:
            done = 0
            for _ in range(min(chunk(problem, 1.0, 4), budget.iterations)):
                change, inner, kept = coordinate_descent(
                    problem.layout, penalty.terms, state.x, state.r, state.squares, state.active,
                    self._inner(problem, state), 0.1,
                )  # fmt: skip
                done += 1
                share = inner * kept / max(state.active.size, 1)
                problem.operator.charge(forward=1 + round(share), adjoint=1 + round(share))
                if change <= 1e-16 * size:
                    break
            state.n_iter += done
            # columns are added to r thousands of times: start again from a fresh one now and then
            if state.n_iter // 50 != (state.n_iter - done) // 50:
                state.r = problem.residual(state.x)
        if state.level > 1.0:
            state.level = max(1.0, state.level * _CONTINUATION)
            state.settled = state.level <= 1.0
            return Outcome.MOVED
        return Outcome.FLOOR if change <= 1e-16 * size else Outcome.MOVED

    @staticmethod
    def _inner(problem: Problem, state: DescentState) -> int:
        """Return how many sweeps over the non-zeros keep a call below about a tenth of a second."""
        density = np.count_nonzero(state.x) / max(problem.n, 1)
        work = cost_of_pass(problem) * max(density, 1.0 / max(problem.n, 1))
        return int(np.clip(1e8 / work, 1, _INNER))


def _group_squares(problem: Problem, order: Array, starts: Array) -> Array:
    """Return ||A_g||^2 of every group, slightly raised; the sum of squares for groups beyond 200."""
    squares = np.empty(starts.size - 1)
    for g in range(squares.size):
        index = order[starts[g] : starts[g + 1]]
        if index.size == 1 or index.size > 200:
            squares[g] = float((problem.column_norms[index] ** 2).sum())
        else:
            columns = problem.operator.columns(index)
            squares[g] = 1.0001 * float(np.linalg.norm(columns.conj().T @ columns, 2))
    return squares

"""Ridge regression: one linear system."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from sparseinv.certificate import DualPair
from sparseinv.problem import Problem
from sparseinv.solvers.base import Outcome, Solver, State, refuse, start_point
from sparseinv.solvers.least_squares import ConjugateGradients, DirectSystem, is_direct, mean_square
from sparseinv.stopping import Budget
from sparseinv.threads import single_threaded_lapack

Array = np.ndarray[Any, Any]

_SMALL = 1000  # order up to which one thread factorises as fast as several


@dataclass(slots=True, eq=False)
class RidgeState(State):
    """Carry the linear system, or the conjugate-gradient iteration of a matrix-free run."""

    cg: ConjugateGradients | None = None
    system: DirectSystem | None = None  # A and its Gram matrix, for one level after another


@dataclass(frozen=True, repr=False)
class Ridge(Solver):
    """Minimise 1/2 ||A x - b||^2 + sum_j lam_j |x_j|^2 / 2 exactly.

    Parameters
    ----------
    direct : bool or None
        Factorise (True), iterate (False), or decide by size (None).

    Notes
    -----
    Dense and sparse A with min(m, n) <= 4000: Cholesky of A^H A + diag(lam) (n x n), or of
    I + A diag(1/lam) A^H (m x m) when m < n [1]_, both refined with the true residual; coefficients
    with lam_j = 0 are projected out first. Otherwise preconditioned CGLS: one product with A and one
    with A^H per iteration. Cost of the direct form: m n min(m, n) + min(m, n)^3 / 3.

    References
    ----------
    .. [1] C. Saunders, A. Gammerman, V. Vovk, Ridge regression learning algorithm in dual variables,
       ICML 1998, 515-521.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> si.solve(np.eye(2), np.array([2.0, 1.0]), si.L2([1.0, 0.0])).x
    array([1., 1.])
    """

    direct: bool | None = None
    refit: ClassVar[bool] = True

    def check(self, problem: Problem) -> None:
        """Refuse anything but L2 without sign constraint."""
        if not getattr(problem.penalty, "quadratic", False):
            convex = problem.penalty.convex
            others = "CoordinateDescent, FISTA" if convex else "ISTA, CoordinateDescent, IRLS or IRL1"
            raise refuse(self, "needs a pure L2 penalty without nonnegative=True", others)
        if self.direct and not problem.explicit:
            raise refuse(self, "with direct=True needs A in memory", "Ridge()")

    def start(self, problem: Problem, x0: Array | None) -> RidgeState:
        """Return the state at x0 (zero by default)."""
        problem.operator.phase = "setup"
        x = start_point(problem, x0)
        return RidgeState(x, problem.residual(x))

    def resume(self, problem: Problem, state: RidgeState) -> RidgeState:
        """Go on from the last x; the Gram matrix is kept."""
        return RidgeState(state.x, problem.residual(state.x), system=state.system)

    def step(self, problem: Problem, state: RidgeState, budget: Budget) -> Outcome:
        """Solve the system, or run a few iterations of conjugate gradients."""
        penalty = problem.penalty
        w = np.where(penalty.excluded, np.inf, penalty.l2)
        if is_direct(problem) if self.direct is None else self.direct:
            if state.system is None:
                state.system = DirectSystem(problem)
                problem.operator.charge(forward=min(problem.m, problem.n), adjoint=1)
            else:
                problem.operator.charge(forward=3, adjoint=3)
            small = min(problem.m, problem.n) <= _SMALL
            with single_threaded_lapack() if small else nullcontext():
                state.x = state.system.solve(w)
            state.r = problem.residual(state.x)
            state.n_iter += 1
            return Outcome.EXHAUSTED
        if state.cg is None:
            state.cg = ConjugateGradients(problem, w, state.x, mean_square(problem))
        elif state.n_iter % 50 == 0:
            state.cg.restart()
        count = min(10, budget.iterations)
        done = state.cg.run(count)
        state.n_iter += max(done, 1)
        state.x, state.r = state.cg.x, -state.cg.r
        # the recursion holds A^H (b - A x) - w x
        state.dual = DualPair(state.r, -(state.cg.s + state.cg.w * state.x))
        return Outcome.MOVED if done == count else Outcome.FLOOR

"""Smoothed L0: projected gradient steps on a Gaussian count of coefficients that narrows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.penalties.separable import Separable
from sparseinv.problem import Problem, squared
from sparseinv.solvers.base import Outcome, refuse, start_point
from sparseinv.solvers.discrete_answer import Smoothed, SmoothedState
from sparseinv.solvers.least_squares import ConjugateGradients, is_direct, mean_square
from sparseinv.stopping import Budget

Array = np.ndarray[Any, Any]

_FIRST, _LAST = 2.0, 1e-4  # widths at the start and at the end, relative to the largest coefficient
_KEPT = 0.25  # the last width, relative to the smallest coefficient that L0 keeps
_INDEPENDENT = 1e-6  # smallest over largest diagonal entry of a factor from which rows are independent
_RANK = 1e-12  # singular values below this, relative to the largest, count as zero
_DAMPING = 1e-12  # of a projection by products, relative to the mean squared column norm
_CG_STEPS = 100
_CG_SHARE, _CG_TOL = 1e-2, 1e-7  # accuracy of a projection: relative to the width, and at best


@dataclass(slots=True, eq=False, kw_only=True)
class SL0State(SmoothedState):
    """Carry the width and what projects on the solutions of A x = b."""

    width: float  # sigma: moduli far above it count as 1, far below as 0
    first: float  # its start
    last: float  # width at which smoothing ends
    share: Array  # lam_j / max lam, 0 for unpenalised coefficients
    free: Array  # mask of the coefficients that are not excluded
    rows: Array | None  # orthonormal basis of the row space of A, (n, rank); None matrix-free
    fitted: Array  # least-squares solution of minimum norm
    mean_square: float  # mean squared column norm


@dataclass(frozen=True, repr=False)
class SL0(Smoothed):
    """Minimise a smoothed number of non-zeros among the solutions of A x = b (data without much noise).

    [x_j != 0] is smoothed as 1 - exp(-|x_j|^2 / (2 sigma^2)). For a width sigma that falls geometrically, x
    takes a few steps down this count and is projected back on the least-squares solutions of A x = b.

    Parameters
    ----------
    decrease : float
        Factor from one width to the next, in (0, 1).
    steps : int
        Steps per width.
    mu : float
        Length of a step, in units of sigma^2.
    polish : Solver or None
        Solver that descends the objective asked for in the end; None: chosen like `solve` would.

    Notes
    -----
    sigma starts at twice the largest modulus of the least-squares solution of minimum norm, and ends at
    a quarter of the smallest coefficient that L0(lam) would keep, (2 lam_j)^(1/2) / ||a_j||, or at 1e-4 of
    the largest. Then the answer is thresholded, refitted, relieved of what does not pay, polished and
    judged as one of the L0 problem. Levels lam_j enter the count as relative factors; lam = 0 leaves a
    coefficient out of the count. All of b is fitted on the way, noise included, so that this is a method
    for data with little noise; with m >= n there is one least-squares solution, and nothing to look for. The
    minimum norm, and with it the answer, depends on the units of single columns: let them have about one
    norm. A run that is cut off returns the best of what thresholds and refits make of its last point.
    Cost: one QR factorisation (of dependent rows a singular value decomposition) and two products with its
    basis per step; for operators a projection is up to 100 steps of conjugate gradients, and the width falls
    twice as fast.

    References
    ----------
    H. Mohimani, M. Babaie-Zadeh, C. Jutten, IEEE Trans. Signal Process. 57 (2009) 289-301,
    doi:10.1109/TSP.2008.2007606.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> A = np.random.default_rng(0).standard_normal((10, 20))
    >>> si.solve(A, A[:, 3] - 2 * A[:, 11], si.L0(1e-6), solver=si.SL0()).support
    array([ 3, 11])
    """

    decrease: float = 0.95
    steps: int = 3
    mu: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.fraction(self.decrease, "decrease")
        validation.count(self.steps, "steps", least=1)
        if not 0 < validation.real_number(self.mu, "mu") < np.inf:
            raise ValueError(f"mu is {self.mu}, but a positive number is needed")

    def check(self, problem: Problem) -> None:
        """Refuse everything but an L0 penalty without a sign constraint."""
        penalty = problem.penalty
        if not isinstance(penalty, Separable) or penalty.convex:
            raise refuse(self, "needs an L0 penalty", "IRLS, FISTA, ISTA")
        if penalty.nonnegative:
            raise refuse(self, "does not handle nonnegative=True", "IRL1, CoordinateDescent, ISTA")
        self._check_polish(problem)

    def start(self, problem: Problem, x0: Array | None) -> SL0State:
        """Return the state at the least-squares solution of minimum norm."""
        problem.operator.phase = "setup"
        penalty, average = problem.penalty, mean_square(problem)
        free = ~penalty.excluded
        charged = free & (penalty.l0 > 0)
        rows: Array | None = None
        zero = start_point(problem, None)
        if is_direct(problem):
            rows, fitted = _row_space(problem, free)
        else:
            fitted = _projected(problem, free, zero, average, _CG_TOL)
        largest = float(np.abs(fitted[charged]).max(initial=0.0))
        kept = float(np.sqrt(2.0 * penalty.l0[charged].min() / average)) if average > 0 else 0.0
        share = np.where(charged, penalty.l0, 0.0)
        return SL0State(
            fitted.copy(), problem.residual(fitted), settled=False,
            width=_FIRST * largest, first=_FIRST * largest,
            given=None if x0 is None else start_point(problem, x0),
            last=max(_LAST * largest, min(_KEPT * kept, largest)), share=share / share.max(),
            free=free, rows=rows, fitted=fitted, mean_square=average,
        )  # fmt: skip

    def step(self, problem: Problem, state: SL0State, budget: Budget) -> Outcome:
        """Take the steps of one width, or polish once the last width is done."""
        if state.polishing:
            return self._polish_step(problem, state, budget)
        state.n_iter += 1
        if state.width > state.last:
            x, width = state.x, state.width
            tol = max(_CG_SHARE * width / state.first, _CG_TOL)
            for _ in range(self.steps):
                # np.exp underflows to zero for large coefficients: those stay
                with np.errstate(under="ignore"):
                    x = x - self.mu * state.share * x * np.exp(-0.5 * (np.abs(x) / width) ** 2)
                if state.rows is None:
                    x = _projected(problem, state.free, x, state.mean_square, tol)
                else:
                    x = state.fitted + (x - state.rows @ (state.rows.conj().T @ x))
            if state.rows is not None:
                problem.operator.charge(forward=self.steps, adjoint=self.steps)
            state.x = np.where(state.free, x, 0.0)
            state.r = problem.residual(state.x)
            # a projection by products is dear: half as many widths then, which has cost no recovery so far
            state.width *= self.decrease if state.rows is not None else self.decrease**2
        if not state.width > state.last:
            self._begin_polish(problem, state)
        return Outcome.MOVED


def _row_space(problem: Problem, free: Array) -> tuple[Array, Array]:
    """Return (orthonormal basis of the row space of the free columns, least-squares solution in it)."""
    from scipy.linalg import qr, solve_triangular, svd

    index = np.flatnonzero(free)
    columns = problem.operator.columns(index)
    problem.operator.charge(forward=min(problem.m, problem.n), adjoint=1)
    if 0 < columns.shape[0] <= columns.shape[1]:  # independent rows, most of the time: a fifth of the price
        q, upper = qr(columns.conj().T, mode="economic", check_finite=False)
        diagonal = np.abs(np.diag(upper))
        if diagonal.min() > _INDEPENDENT * diagonal.max():
            rows = np.zeros((problem.n, columns.shape[0]), dtype=problem.dtype)
            rows[index] = q
            return rows, rows @ solve_triangular(upper, problem.b, trans="C", check_finite=False)
    u, s, vh = svd(columns, full_matrices=False, check_finite=False)
    rank = int((s > _RANK * max(problem.m, problem.n) * s.max(initial=0.0)).sum())
    rows = np.zeros((problem.n, rank), dtype=problem.dtype)
    rows[index] = vh[:rank].conj().T
    return rows, rows @ ((u[:, :rank].conj().T @ problem.b) / s[:rank])


def _projected(problem: Problem, free: Array, x: Array, average: float, tol: float) -> Array:
    """Return the least-squares solution nearest to x, by conjugate gradients from there."""
    damping = max(_DAMPING * average, 1e-300)
    w = np.where(free, damping, np.inf)
    cg = ConjugateGradients(problem, w, x, average)
    cg.first = max(cg.first, squared(problem.b))
    cg.run(_CG_STEPS, tol)
    return cg.x

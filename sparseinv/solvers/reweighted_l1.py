"""Iteratively reweighted L1."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.certificate import certify_problem
from sparseinv.penalties.separable import Separable
from sparseinv.problem import Problem, squared
from sparseinv.solvers.base import Outcome, Solver, refuse, start_point
from sparseinv.solvers.discrete_answer import Smoothed, SmoothedState
from sparseinv.solvers.evidence import factored
from sparseinv.solvers.least_squares import mean_square
from sparseinv.stopping import Budget

Array = np.ndarray[Any, Any]

_WEIGHTINGS = ("level", "modulus", "evidence")
_SHARE = 1e-3  # smallest eps of "modulus", relative to the largest coefficient
_ROUNDING = 1e-14  # no gap is asked to be smaller, relative to 1/2 ||b||^2


@dataclass(slots=True, eq=False, kw_only=True)
class IRL1State(SmoothedState):
    """Carry the inner solver's state and the weights."""

    surrogate: Problem  # weighted L1 problem of this round
    inner: Any  # state of the inner solver
    floor: Array  # epsilon_j of the weights, per coefficient
    previous: Array  # solution of the round before
    roots: Array | None = None  # (a_j^H M^{-1} a_j)^{1/2} of the round before ("evidence")
    rounds: int = 0  # reweightings done


@dataclass(frozen=True, repr=False)
class IRL1(Smoothed):
    """Solve a sequence of weighted L1 problems whose weights follow the last solution.

    Parameters
    ----------
    inner : Solver or None
        Solver of the weighted problems; None: chosen like `solve` would.
    weighting : {"level", "modulus", "evidence"}
        How an L0 level lam_j becomes the L1 level of the next round (see Notes).
    rounds : int
        Most reweightings.
    polish : Solver or None
        Solver that descends a nonconvex objective in the end; None: coordinate descent or ISTA.

    Notes
    -----
    "level": lam_j / (|x_j| + eps_j), eps_j = sqrt(lam_j / (2 ||a_j||^2)), half the smallest coefficient that
    L0 would keep. "modulus" [1]_: the level of the first round times eps / (|x_j| + eps), eps being the
    modulus of rank m / (4 log(n / m)) in x or, if larger, 1e-3 of the largest one; for data without noise,
    where lam says nothing about sizes. "evidence"
    [2]_: sigma_j^2 (a_j^H M^{-1} a_j)^{1/2}, sigma_j^2 = lam_j / log n, M = sigma^2 I + A diag(|x_j| / w_j)
    A^H, sigma^2 the median of sigma_j^2 and w_j the root of the round before: weights that see correlated
    columns; columns in memory only, one Cholesky factorisation of order m a round. The first
    round is then plain L1 with the threshold of L0. L1 and L2 levels pass through, so that a convex
    penalty is solved in one round. Each round starts from the last solution. A nonconvex penalty ends
    with a refit on the support and a polish of the objective that was asked for.

    References
    ----------
    .. [1] E. Candes, M. Wakin, S. Boyd, Enhancing sparsity by reweighted l1 minimization, J. Fourier
       Anal. Appl. 14 (2008) 877-905, doi:10.1007/s00041-008-9045-x.
    .. [2] D. Wipf, S. Nagarajan, IEEE J. Sel. Top. Signal Process. 4 (2010) 317-329,
       doi:10.1109/JSTSP.2010.2042413.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> si.solve(np.eye(2), np.array([2.0, 0.1]), si.L0(0.5), solver=si.IRL1()).x
    array([2., 0.])
    """

    inner: Solver | None = None
    rounds: int = 8
    weighting: str = "level"

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.count(self.rounds, "rounds", least=1)
        if self.weighting not in _WEIGHTINGS:
            raise ValueError(
                f"weighting is {self.weighting!r}, but one of {', '.join(_WEIGHTINGS)} is needed"
            )
        if self.inner is not None and not isinstance(self.inner, Solver):
            raise TypeError(f"inner is {self.inner!r}, but a solver such as FISTA() is needed")

    def check(self, problem: Problem) -> None:
        """Refuse penalties other than the separable ones."""
        if not isinstance(problem.penalty, Separable):
            raise refuse(self, "treats L0, L1, L2 and ElasticNet only", "FISTA, ISTA")
        if self.weighting == "evidence" and not (problem.penalty.convex or problem.explicit):
            reason = "with weighting='evidence' needs columns of A in memory"
            raise refuse(self, reason, "weighting='level'")
        if self.inner is not None:
            self.inner.check(problem.with_penalty(_surrogate(problem.penalty, None, None)))
        self._check_polish(problem)

    def start(self, problem: Problem, x0: Array | None) -> IRL1State:
        """Return the state at x0 (zero by default)."""
        problem.operator.phase = "setup"
        assert self.inner is not None, "filled in by solvers.auto"
        x = start_point(problem, x0)
        known = problem.operator.column_norms() is not None
        squares = problem.reduced_norms**2 if known else np.full(problem.n, mean_square(problem))
        penalty = problem.penalty
        charged = (penalty.l0 > 0) & np.isfinite(penalty.l0) & (squares > 0)
        floor = np.ones(problem.n)
        floor[charged] = np.sqrt(penalty.l0[charged] / (2.0 * squares[charged]))
        surrogate = problem.with_penalty(_surrogate(penalty, None if x0 is None else x, floor))
        inner = self.inner.start(surrogate, None if x0 is None else x.copy())
        return IRL1State(
            inner.x, inner.r, settled=penalty.convex, given=None if x0 is None else x, surrogate=surrogate,
            inner=inner, floor=floor, previous=x,
        )  # fmt: skip

    def resume(self, problem: Problem, state: IRL1State) -> IRL1State:
        """Go on from the last x where R is convex; otherwise keep it as a candidate and reweight anew.

        Weights that follow the solution of the last level hold on to its support, which ends higher.
        """
        if problem.penalty.convex:
            return self.start(problem, state.x.copy())
        fresh = self.start(problem, None)
        fresh.given = state.x.copy()
        return fresh

    def step(self, problem: Problem, state: IRL1State, budget: Budget) -> Outcome:
        """Take one step of the inner solver; reweight once its problem is solved."""
        assert self.inner is not None
        if state.polishing:
            return self._polish_step(problem, state, budget)
        before = state.inner.n_iter
        outcome = self.inner.step(state.surrogate, state.inner, budget)
        state.n_iter += state.inner.n_iter - before
        state.x, state.r, state.dual = state.inner.x, state.inner.r, state.inner.dual
        if problem.penalty.convex:
            return outcome
        gap = certify_problem(state.surrogate, state.x, r=state.r, dual=state.inner.dual).relative
        state.dual = None
        # a level so small that the objective is a tiny part of 1/2 ||b||^2 asks for a smaller gap
        worth = problem.relative(state.surrogate.objective(state.x, state.r))
        if outcome is Outcome.MOVED and gap > max(min(max(1e-4, budget.tol), 1e-2 * worth), _ROUNDING):
            return Outcome.MOVED
        state.rounds += 1
        change = np.sqrt(squared(state.x - state.previous))
        if state.rounds >= self.rounds or change <= 1e-3 * np.sqrt(squared(state.x)):
            self._begin_polish(problem, state)
            return Outcome.MOVED
        state.previous = state.x.copy()
        # from the last surrogate, which knows ||A|| by now
        state.surrogate = state.surrogate.with_penalty(self._next(problem, state))
        state.inner = self.inner.start(state.surrogate, state.x.copy())
        return Outcome.MOVED

    def _next(self, problem: Problem, state: IRL1State) -> Separable:
        """Return the weighted L1 penalty of the next round."""
        size = np.abs(state.x)
        if self.weighting == "modulus":
            spread = math.log(max(problem.n / max(problem.m, 1), 1.0))
            rank = int(problem.m / (4.0 * spread)) if spread > 0 else problem.n
            ranked = np.sort(size)[::-1]
            eps = max(float(ranked[min(rank, problem.n - 1)]), _SHARE * float(ranked[0]))
            first = _surrogate(problem.penalty, None, state.floor)
            if eps > 0:  # otherwise nothing is left of x
                bare = first.l1 - problem.penalty.l1
                first = dataclasses.replace(first, l1=problem.penalty.l1 + bare * (eps / (size + eps)))
            return first
        if self.weighting == "evidence":
            return _evidence_weights(problem, state, size)
        return _surrogate(problem.penalty, state.x, state.floor)


def _evidence_weights(problem: Problem, state: IRL1State, size: Array) -> Separable:
    from scipy.linalg import solve_triangular

    penalty = problem.penalty
    charged = (penalty.l0 > 0) & ~penalty.excluded
    log_n = math.log(max(int(charged.sum()), 3))
    s2 = max(float(np.median(penalty.l0[charged])) / log_n, 1e-10 * squared(problem.b) / max(problem.m, 1))
    index = np.flatnonzero(charged)
    columns = problem.operator.columns(index)
    problem.operator.charge(forward=1, adjoint=1)
    roots = problem.column_norms / math.sqrt(s2) if state.roots is None else state.roots
    gamma = np.divide(size, roots, out=np.zeros(problem.n), where=roots > 0)[index]
    live = gamma > 0
    M = (columns[:, live] * gamma[live]) @ columns[:, live].conj().T
    M.flat[:: problem.m + 1] += s2
    half = solve_triangular(factored(M), columns, lower=True, check_finite=False)
    state.roots = np.zeros(problem.n)
    state.roots[index] = np.sqrt((np.abs(half) ** 2).sum(axis=0))
    level = np.zeros(problem.n)
    level[index] = np.maximum(penalty.l0[index] / log_n * state.roots[index], np.finfo(float).tiny)
    excluded = np.where(np.isinf(penalty.l0), np.inf, 0.0)
    return Separable(excluded, penalty.l1 + level, penalty.l2, penalty.nonnegative)


def _surrogate(penalty: Separable, x: Array | None, floor: Array | None) -> Separable:
    """Return the weighted L1 penalty that stands in for L0 at x."""
    if penalty.convex:
        return penalty
    size = np.zeros_like(penalty.l0) if x is None else np.abs(x)
    floor = np.ones_like(penalty.l0) if floor is None else floor
    return Separable(
        np.where(np.isinf(penalty.l0), np.inf, 0.0),
        penalty.l1 + penalty.l0 / (size + floor),
        penalty.l2,
        penalty.nonnegative,
    )

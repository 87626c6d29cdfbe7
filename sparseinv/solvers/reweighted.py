"""Iteratively reweighted least squares and iteratively reweighted L1."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from sparseinv import validation
from sparseinv.certificate import Kind, certify_problem
from sparseinv.dual_points import solve_symmetric
from sparseinv.penalties.separable import Separable
from sparseinv.problem import Problem, squared
from sparseinv.solvers.base import Outcome, Solver, State, refuse, start_point
from sparseinv.solvers.least_squares import ConjugateGradients, DirectSystem, is_direct, mean_square
from sparseinv.stopping import Budget

Array = np.ndarray[Any, Any]

_LAST_EPS = 1e-9  # smoothing of |x|^2, relative to the mean square of the start
_CG_STEPS = 40
_PATIENCE = 100  # iterations on one smoothing at most: inexact products may never let x settle
_THRESHOLDS = (3e-5, 1e-3, 1e-2, 3e-2, 1e-1, 3e-1)  # relative to the largest coefficient


@dataclass(slots=True, eq=False, kw_only=True)
class _ReweightedState(State):
    """Carry the solver that polishes the final point."""

    polisher: Any = None  # its state; None while reweighting goes on
    given: Array | None = None  # x0: the result must not be worse


@dataclass(frozen=True, repr=False)
class _Reweighted(Solver):
    """Share the last phase: descend the objective that was asked for, from a sparse point."""

    polish: Solver | None = dataclasses.field(default=None, kw_only=True)

    local_kind: ClassVar[Kind] = Kind.COORDINATE_MINIMUM
    refit: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.polish is not None and not isinstance(self.polish, Solver):
            raise TypeError(f"polish is {self.polish!r}, but a solver such as CoordinateDescent() is needed")

    def _begin_polish(self, problem: Problem, state: Any) -> None:
        assert self.polish is not None, "filled in by solvers.auto"
        _sparsify(problem, state)
        state.polisher = self.polish.start(problem, state.x)
        state.settled = True

    def _polish_step(self, problem: Problem, state: Any, budget: Budget) -> Outcome:
        assert self.polish is not None
        before = state.polisher.n_iter
        outcome = self.polish.step(problem, state.polisher, budget)
        state.n_iter += max(state.polisher.n_iter - before, 1)
        state.x, state.r, state.dual = state.polisher.x, state.polisher.r, state.polisher.dual
        if problem.penalty.convex or not problem.explicit or outcome is not Outcome.MOVED:
            return outcome
        refitted = _refit(problem, state.x)
        r = problem.residual(refitted)
        if problem.objective(refitted, r) < problem.objective(state.x, state.r):
            state.polisher = self.polish.start(problem, refitted)
            state.x, state.r, state.dual = state.polisher.x, state.polisher.r, None
        return outcome


@dataclass(slots=True, eq=False, kw_only=True)
class IRLSState(_ReweightedState):
    """Carry the smoothing and the linear system."""

    size: float  # typical modulus of a coefficient
    mean_square: float  # mean squared column norm, for the preconditioner
    system: DirectSystem | None  # None where conjugate gradients are used
    eps: float = 1.0  # smoothing, relative to size^2
    waited: int = 0  # iterations with this smoothing


@dataclass(frozen=True, repr=False)
class IRLS(_Reweighted):
    """Solve a sequence of weighted ridge problems whose weights follow the last solution.

    Parameters
    ----------
    p : float
        Exponent that stands in for L0 while smoothing, 0 < p <= 1: [x != 0] ~ (|x|^2 + eps)^(p/2).
    polish : Solver or None
        Solver that descends the objective asked for in the end; None: chosen like `solve` would.

    Notes
    -----
    |x_j| is smoothed as (|x_j|^2 + eps)^(1/2), and each step minimises the quadratic that touches the
    smoothed penalty from above, so the smoothed objective never rises. eps falls by ten each time x
    settles (schedule of [1]_). A sparse penalty ends with thresholding, refit, and coordinate descent
    (dense, CSC) or proximal steps (matrix-free) on the objective that was asked for; the certificate
    is that of this objective. Cost per iteration: one Cholesky of order min(m, n), or up to 40
    conjugate-gradient steps for operators.

    References
    ----------
    .. [1] R. Chartrand, W. Yin, Iteratively reweighted algorithms for compressive sensing, ICASSP 2008,
       3869-3872, doi:10.1109/ICASSP.2008.4518498.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> si.solve(np.eye(2), np.array([2.0, 0.1]), si.L0(0.5), solver=si.IRLS()).x
    array([2., 0.])
    """

    p: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < validation.real_number(self.p, "p") <= 1:
            raise ValueError(f"p is {self.p}, but it must lie in (0, 1]")

    def check(self, problem: Problem) -> None:
        """Refuse sign constraints and penalties without quadratic majorisers."""
        if not hasattr(problem.penalty, "quadratic_weights"):
            raise refuse(self, f"has no weights for {type(problem.penalty).__name__}", "ISTA or FISTA")
        if problem.penalty.nonnegative:
            raise refuse(self, "does not handle nonnegative=True", "CoordinateDescent, FISTA, ISTA")

    def start(self, problem: Problem, x0: Array | None) -> IRLSState:
        """Return the state at x0, by default at a slightly damped least-squares solution."""
        problem.operator.phase = "setup"
        direct = is_direct(problem)
        average = mean_square(problem)
        system = DirectSystem(problem) if direct else None
        zero = start_point(problem, None)
        if problem.penalty.convex and certify_problem(problem, zero, r=-problem.b).relative <= 1e-15:
            x = zero  # nothing to find: lam is at least lam_max
        elif x0 is None or not np.any(x0):
            damping = np.where(problem.penalty.excluded, np.inf, max(1e-6 * problem.n * average, 1e-300))
            damping[problem.penalty.unpenalised] = 0.0
            if system is not None:
                x = system.solve(damping)
                problem.operator.charge(forward=min(problem.m, problem.n), adjoint=1)
            else:
                x = _iterate(problem, damping, zero, average, _CG_STEPS, 1e-3)
        else:
            x = start_point(problem, x0)
        size = float(np.sqrt(squared(x) / max(problem.n, 1))) or 1.0
        r, settled = problem.residual(x), problem.penalty.convex
        given = None if x0 is None else start_point(problem, x0)
        return IRLSState(x, r, settled=settled, given=given, size=size, mean_square=average, system=system)

    def step(self, problem: Problem, state: IRLSState, budget: Budget) -> Outcome:
        """Solve one weighted problem, or polish once smoothing is over."""
        if state.polisher is not None:
            return self._polish_step(problem, state, budget)
        state.n_iter += 1
        if problem.penalty.quadratic:
            state.eps = _LAST_EPS
        w = problem.penalty.quadratic_weights(state.x, state.eps, self.p, state.size)
        old = state.x
        if state.system is not None:
            state.x = state.system.solve(w)
            problem.operator.charge(forward=1, adjoint=1)
        else:
            tol = 0.1 * np.sqrt(state.eps)
            state.x = _iterate(problem, w, old, state.mean_square, _CG_STEPS, float(np.clip(tol, 1e-8, 1e-2)))
        state.r = problem.residual(state.x)
        moved = np.sqrt(squared(state.x - old))
        state.waited += 1
        settled = moved < 0.01 * np.sqrt(state.eps) * state.size * np.sqrt(problem.n)
        if settled or state.waited >= _PATIENCE:
            state.eps *= 0.1
            state.waited = 0
        if state.eps < _LAST_EPS * (1 - 1e-9):
            if problem.penalty.quadratic:
                return Outcome.EXHAUSTED
            self._begin_polish(problem, state)
        return Outcome.MOVED


@dataclass(slots=True, eq=False, kw_only=True)
class IRL1State(_ReweightedState):
    """Carry the inner solver's state and the weights."""

    surrogate: Problem  # weighted L1 problem of this round
    inner: Any  # state of the inner solver
    floor: Array  # epsilon_j of the weights, per coefficient
    previous: Array  # solution of the round before
    rounds: int = 0  # reweightings done


@dataclass(frozen=True, repr=False)
class IRL1(_Reweighted):
    """Solve a sequence of weighted L1 problems whose weights follow the last solution.

    Parameters
    ----------
    inner : Solver or None
        Solver of the weighted problems; None: chosen like `solve` would.
    rounds : int
        Most reweightings.
    polish : Solver or None
        Solver that descends a nonconvex objective in the end; None: coordinate descent or ISTA.

    Notes
    -----
    An L0 level lam_j becomes the L1 level lam_j / (|x_j| + eps_j) [1]_ with
    eps_j = sqrt(lam_j / (2 ||a_j||^2)), half the smallest coefficient that L0 would keep; the first
    round is then plain L1 with the threshold of L0. L1 and L2 levels pass through, so that a convex
    penalty is solved in one round. Each round starts from the last solution. A nonconvex penalty ends
    with a refit on the support and a polish of the objective that was asked for.

    References
    ----------
    .. [1] E. Candes, M. Wakin, S. Boyd, Enhancing sparsity by reweighted l1 minimization, J. Fourier
       Anal. Appl. 14 (2008) 877-905, doi:10.1007/s00041-008-9045-x.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> si.solve(np.eye(2), np.array([2.0, 0.1]), si.L0(0.5), solver=si.IRL1()).x
    array([2., 0.])
    """

    inner: Solver | None = None
    rounds: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.count(self.rounds, "rounds", least=1)
        if self.inner is not None and not isinstance(self.inner, Solver):
            raise TypeError(f"inner is {self.inner!r}, but a solver such as FISTA() is needed")

    def check(self, problem: Problem) -> None:
        """Refuse penalties other than the separable ones."""
        if not isinstance(problem.penalty, Separable):
            raise refuse(self, "treats L0, L1, L2 and ElasticNet only", "FISTA, ISTA")
        if self.inner is not None:
            self.inner.check(problem.with_penalty(_surrogate(problem.penalty, None, None)))

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
        inner = self.inner.start(surrogate, x.copy())
        return IRL1State(
            x, inner.r, settled=penalty.convex, given=None if x0 is None else x, surrogate=surrogate,
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
        if state.polisher is not None:
            return self._polish_step(problem, state, budget)
        before = state.inner.n_iter
        outcome = self.inner.step(state.surrogate, state.inner, budget)
        state.n_iter += state.inner.n_iter - before
        state.x, state.r, state.dual = state.inner.x, state.inner.r, state.inner.dual
        if problem.penalty.convex:
            return outcome
        gap = certify_problem(state.surrogate, state.x, r=state.r, dual=state.inner.dual).relative
        state.dual = None
        if outcome is Outcome.MOVED and gap > max(1e-4, budget.tol):
            return Outcome.MOVED
        state.rounds += 1
        change = np.sqrt(squared(state.x - state.previous))
        if state.rounds >= self.rounds or change <= 1e-3 * np.sqrt(squared(state.x)):
            self._begin_polish(problem, state)
            return Outcome.MOVED
        state.previous = state.x.copy()
        # from the last surrogate, which knows ||A|| by now
        state.surrogate = state.surrogate.with_penalty(_surrogate(problem.penalty, state.x, state.floor))
        state.inner = self.inner.start(state.surrogate, state.x.copy())
        return Outcome.MOVED


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


def _iterate(problem: Problem, w: Array, x: Array, average: float, steps: int, tol: float) -> Array:
    cg = ConjugateGradients(problem, w, x, average)
    cg.run(steps, tol)
    return cg.x


def _sparsify(problem: Problem, state: Any) -> None:
    """Replace x by the best of several thresholded and refitted versions of it."""
    penalty, x = problem.penalty, state.x
    largest = float(np.abs(x).max(initial=0.0))
    candidates = [x, np.zeros_like(x)]
    if state.given is not None:
        candidates.append(state.given)
    seen = set()
    for level in _THRESHOLDS:
        keep = (np.abs(x) > level * largest) | penalty.unpenalised
        if penalty.terms[5].size:  # whole groups
            keep = penalty.spread(penalty.norms(keep.astype(float)) > 0)
        if keep.tobytes() in seen or not keep.any():
            continue
        seen.add(keep.tobytes())
        trimmed = np.where(keep, x, 0.0)
        candidates.append(trimmed)
        if not penalty.convex:
            candidates.append(_refit(problem, trimmed))
    residuals = [problem.residual(c) for c in candidates]
    values = [problem.objective(c, r) for c, r in zip(candidates, residuals, strict=True)]
    best = int(np.argmin(values))
    state.x, state.r = candidates[best].copy(), residuals[best]


def _refit(problem: Problem, x: Array) -> Array:
    """Minimise the convex part of the objective over the support of x, signs of l1 terms held fixed."""
    penalty = problem.penalty
    index = np.flatnonzero(x)
    out = np.zeros_like(x)
    if index.size == 0:
        return out
    l1, l2 = penalty.l1[index], penalty.l2[index]
    phase = np.divide(x[index], np.abs(x[index]))
    if problem.explicit and index.size <= 2000:
        columns = problem.operator.columns(index)
        gram = columns.conj().T @ columns + np.diag(l2)
        fitted = solve_symmetric(gram, columns.conj().T @ problem.b - l1 * phase)
    else:
        w = np.full(problem.n, np.inf)
        w[index] = l2
        cg = ConjugateGradients(problem, w, x, mean_square(problem))
        if l1.any():
            return x
        cg.run(_CG_STEPS, 1e-10)
        fitted = cg.x[index]
    if penalty.nonnegative and (fitted.real < 0).any():
        return x
    out[index] = fitted
    return out

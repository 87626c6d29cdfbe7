"""Working sets with second-order steps: the default for convex problems in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from sparseinv.certificate import DualPair, certify_problem
from sparseinv.penalties.group import Grouped
from sparseinv.penalties.separable import Separable
from sparseinv.problem import Problem
from sparseinv.solvers.active_blocks import ActiveBlocks
from sparseinv.solvers.active_columns import ActiveColumns
from sparseinv.solvers.base import Outcome, Solver, State, refuse, start_point
from sparseinv.stopping import Budget
from sparseinv.threads import single_threaded_lapack

Array = np.ndarray[Any, Any]

# thresholds tuned on the benchmark grid, in one place
_LEVEL = 0.5  # first factor between two levels on the way down to the penalty itself
_FASTEST, _SLOWEST = 0.3, 0.8  # range of that factor
_CROWDING = 8.0  # the factor rises with the non-zeros per row, up to a value of the active set's own
_FEW, _MANY = 0.03, 0.12  # shares of flipped signs at which the descent is sped up or slowed down
_SNAP = 1.1  # a level below this counts as 1
_NEWCOMERS = 400  # columns looked at per round, at least
_INNER_ROUNDS = 8
_INNER_LOOSE, _INNER_TIGHT = 0.3, 0.1  # inner gap over outer gap, above and at the final level
_NEAR = 0.5  # columns with |a_j^T r| above this share of their level are watched between full passes
_WATCHED = 200  # watched columns, at least
_LOCAL_ROUNDS = 1
_WATCHED_SHARE = 0.3  # share of the columns up to which they are watched from one level of a path to the next
_RESUMED = 1e-8  # relative gap on the active columns there
_STALL = 0.7  # a round at the final level that keeps more than this share of the gap has stalled
_LARGEST = 6000  # beyond this many active columns a Gram matrix no longer pays


@dataclass(slots=True, eq=False, kw_only=True)
class WorkingSetState(State):
    """Carry the active columns and the level on the way down."""

    active: ActiveColumns | ActiveBlocks
    member: Array  # mask of the columns or blocks that are active or never join
    correlations: Array  # A^T b
    level: float  # factor on the penalty; 1 is the problem itself
    factor: float = _LEVEL  # between this level and the next
    gap: float = np.inf  # relative gap after the last full pass at the final level
    rounds: int = 0  # rounds at the final level


@dataclass(frozen=True, repr=False)
class WorkingSet(Solver):
    """Solve on a growing set of columns by Newton steps, and check all columns once per round.

    The level falls by halves to the one asked for. In each round the columns that violate optimality are
    filtered by a few coordinate sweeps, the survivors join the active set, and the problem on the active
    set is minimised through its Gram matrix: coordinate sweeps, then Newton steps with the signs held
    fixed and an exact line search, then, where supports churn, a semismooth Newton augmented Lagrangian
    method. One product with A^T closes the round and certifies it.

    Notes
    -----
    L1, L2 and elastic-net levels and group norms with zeros and infinities, dense and CSC, real and complex;
    nonnegative or not where the data are real and separate. With groups or complex data blocks take the
    place of columns: exact block sweeps, then Newton steps on the blocks that are not zero, where the
    objective is smooth, damped by a search along the step; their end is quadratic.
    The final Newton step is exact, so the gap usually drops to rounding level at once. Cost: about one
    pass over A per halving of the level plus two to five; m k^2 for the Gram matrix of k active columns,
    s^3 / 3 per Newton step on a support of s. Storage: A, the k active columns, k^2.

    References
    ----------
    M. Massias, A. Gramfort, J. Salmon, Celer: a fast solver for the lasso with dual extrapolation, ICML
    2018 (working sets). H. Lee, A. Battle, R. Raina, A. Ng, Efficient sparse coding algorithms, NIPS 2006
    (sign-fixed steps). X. Li, D. Sun, K.-C. Toh, SIAM J. Optim. 28 (2018) 433-458,
    doi:10.1137/16M1097572 (semismooth Newton).

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> si.solve(np.eye(2), np.array([2.0, 0.1]), si.L1(0.5), solver=si.WorkingSet()).x
    array([1.5, 0. ])
    """

    default_max_iter: ClassVar[int] = 500

    def check(self, problem: Problem) -> None:
        """Refuse what is not convex, built in and in memory."""
        if not problem.explicit:
            raise refuse(self, "needs columns of A in memory (dense or CSC)", "FISTA, ISTA, IRLS or Ridge")
        if not isinstance(problem.penalty, (Separable, Grouped)):
            others = "FISTA, ISTA" if problem.penalty.convex else "ISTA"
            raise refuse(self, f"does not treat {type(problem.penalty).__name__}", others)
        if not problem.penalty.convex:
            raise refuse(self, "needs a convex penalty", "IRL1, CoordinateDescent, IRLS or ISTA")

    def start(self, problem: Problem, x0: Array | None) -> WorkingSetState:
        """Return the state at x0 (zero by default); reads A once."""
        problem.operator.phase = "setup"
        penalty = problem.penalty
        correlations = problem.gradient(problem.b)
        active = _engine(problem)
        member = active.excluded()  # never to join
        x = start_point(problem, x0)
        first = active.first(x)
        level = 1.0
        if first.any():
            index = np.flatnonzero(first)
            active.extend(index, correlations[index])
            active.place(x)
            member[index] = True
            if x0 is None:
                active.newton(0.0)
            x = active.solution()
        r = active.residual() if first.any() else -problem.b
        g = problem.gradient(r) if first.any() else -correlations
        if x0 is None:
            top = penalty.lam_max(-g, None)
            level = top * _LEVEL if np.isfinite(top) else 1.0
            level = 1.0 if level < _SNAP else level
        state = WorkingSetState(x, r, active=active, member=member, correlations=correlations, level=level)
        state.dual = DualPair(r, g)
        return state

    def resume(self, problem: Problem, state: WorkingSetState) -> WorkingSetState:
        """Go on after the levels of the penalty have changed, with the columns and the factor at hand.

        One Newton step with the signs held fixed follows the path of solutions; the columns that were
        near their level are looked at before the product with A^T that certifies the new point.
        """
        before = state.active.levels
        if _outgrown(state) or not state.active.follow(problem):
            return self.start(problem, state.x.copy())
        with single_threaded_lapack():
            return self._follow(problem, state, before)

    def _follow(self, problem: Problem, state: WorkingSetState, before: Array) -> WorkingSetState:
        problem.operator.phase = "iterations"
        assert state.dual is not None
        active = state.active
        state.level, state.gap, state.rounds = 1.0, np.inf, 0
        active.newton(1.0)
        # what moves as fast as its level falls can reach it at the new one (the strong rule)
        with np.errstate(invalid="ignore"):
            reach = active.size(state.dual.Ahv) + np.maximum(before - active.levels, 0.0)
            watched = np.flatnonzero((reach > active.levels) & ~state.member)
        if 0 < watched.size <= max(_WATCHED, _WATCHED_SHARE * state.member.size):
            state.r = active.residual()
            self._admit(state, self._pressed(state, watched, state.r))
        active.minimise(1.0, _RESUMED * problem.scale, 2)
        self._adopt(problem, state)
        return state

    def _adopt(self, problem: Problem, state: WorkingSetState) -> None:
        """Take the coefficients of the active columns over, and look at all columns."""
        state.x = state.active.solution()
        state.r = state.active.residual()
        state.dual = DualPair(state.r, problem.gradient(state.r))
        state.active.refresh(state.dual.Ahv)

    def step(self, problem: Problem, state: WorkingSetState, budget: Budget) -> Outcome:
        """Add the columns that violate optimality, minimise over the active ones, check all columns."""
        with single_threaded_lapack():
            return self._round(problem, state, budget)

    def _round(self, problem: Problem, state: WorkingSetState, budget: Budget) -> Outcome:
        assert state.dual is not None
        state.n_iter += 1
        if _outgrown(state):
            return self._sweep(problem, state)
        active, g = state.active, state.dual.Ahv
        gap = budget.gap
        if not np.isfinite(gap):
            gap = certify_problem(problem, state.x, r=state.r, dual=state.dual).relative
        final = state.level <= 1.0
        absolute = problem.scale
        joined = -active.k
        self._admit(state, self._violators(state, g))
        joined += active.k
        if final:
            target = max(_INNER_TIGHT * gap, 0.3 * budget.tol) * absolute
            state.rounds += 1
            stalled = state.rounds >= 2 and gap > _STALL * state.gap
            state.gap = gap
            reached, flips = active.minimise(1.0, target, _INNER_ROUNDS)
            if stalled and flips > 0.0 and reached > target:
                active.semismooth(1.0, target)
                active.minimise(1.0, target, 2)
            self._close_nearby(state, g, target)
        else:
            active.minimise(state.level, _INNER_LOOSE * gap * absolute, _INNER_ROUNDS)
            state.level *= state.factor
            if state.level < _SNAP:
                state.level = 1.0
            # one Newton step at the next level: the pass then sees where the solution is going
            flips = active.newton(state.level)
            if flips > _MANY:
                state.factor = min(_SLOWEST, state.factor**0.5)
            elif flips < _FEW:
                state.factor = max(_FASTEST, state.factor**1.5)
            # with as many non-zeros as rows in sight every level brings in and drops many columns
            crowding = 0.0 if joined == 0 and flips == 0.0 else np.count_nonzero(active.x) / max(problem.m, 1)
            state.factor = max(state.factor, min(active.crowded, _FASTEST + _CROWDING * crowding))
        before = state.x
        self._adopt(problem, state)
        unchanged = final and np.array_equal(before, state.x)
        return Outcome.FLOOR if unchanged else Outcome.MOVED

    def _sweep(self, problem: Problem, state: WorkingSetState) -> Outcome:
        """Descend by coordinates where the active set has outgrown a Gram matrix."""
        from sparseinv.kernels.descent import coordinate_descent

        scratch = np.empty(problem.n, dtype=np.int64)
        change, inner, kept = coordinate_descent(
            problem.layout, problem.penalty.terms, state.x, state.r, problem.column_norms**2, scratch, 10, 0.1
        )
        share = round(inner * kept / max(problem.n, 1))
        problem.operator.charge(forward=1 + share, adjoint=1 + share)
        state.level = 1.0
        state.r = problem.residual(state.x)
        state.dual = DualPair(state.r, problem.gradient(state.r))
        return Outcome.FLOOR if change <= 1e-16 * np.linalg.norm(problem.b) else Outcome.MOVED

    def _violators(self, state: WorkingSetState, g: Array) -> Array:
        """Return the inactive columns that violate optimality most, at the present level."""
        levels = state.active.levels
        with np.errstate(invalid="ignore"):
            pressure = state.active.size(g) - state.level * levels
        pressure[state.member] = -np.inf
        found = np.flatnonzero(pressure > 0.0)
        limit = int(max(_NEWCOMERS, int(np.count_nonzero(state.active.x))) / state.active.width) + 1
        if found.size > limit:
            with np.errstate(divide="ignore"):
                rank = -pressure[found] / np.maximum(levels[found], 1e-300)
            found = found[np.argpartition(rank, limit)[:limit]]
        return found[np.argsort(pressure[found])[::-1]]

    def _admit(self, state: WorkingSetState, index: Array) -> None:
        """Let those join that become non-zero when the newcomers alone are swept over."""
        if index.size:
            self._join(state, state.active.survivors(index, state.level, state.r))

    @staticmethod
    def _join(state: WorkingSetState, index: Array) -> None:
        if index.size:
            state.active.extend(index, state.correlations[index])
            state.member[index] = True

    def _close_nearby(self, state: WorkingSetState, g: Array, target: float) -> None:
        """Repeat on the columns that were near the boundary before spending a full pass."""
        active = state.active
        size = active.size(g)
        watched = np.flatnonzero((size > _NEAR * active.levels) & ~state.member)
        limit = int((_WATCHED + 3 * np.count_nonzero(active.x)) / active.width) + 1
        if watched.size > limit:
            watched = watched[np.argpartition(-size[watched], limit)[:limit]]
        for _ in range(_LOCAL_ROUNDS):
            pressed = self._pressed(state, watched, active.residual())
            if pressed.size == 0:
                return
            self._join(state, pressed)
            watched = np.setdiff1d(watched, pressed, assume_unique=True)
            active.minimise(1.0, target, _INNER_ROUNDS)

    @staticmethod
    def _pressed(state: WorkingSetState, watched: Array, r: Array) -> Array:
        """Return those of the watched columns or blocks that violate optimality at r."""
        if watched.size == 0:
            return watched
        active = state.active
        size = active.size_at(watched, r)
        active.problem.operator.charge(adjoint=round(watched.size / state.member.size))
        return watched[size > active.levels[watched] * (1.0 + 1e-9)]


def _outgrown(state: WorkingSetState) -> bool:
    """Tell whether there are too many active columns for the Gram matrix without which there is no step."""
    return isinstance(state.active, ActiveColumns) and state.active.k > _LARGEST


def _engine(problem: Problem) -> ActiveColumns | ActiveBlocks:
    """Return the active set that fits: signs held fixed over the reals, norms of blocks otherwise."""
    real = problem.dtype.kind != "c" and isinstance(problem.penalty, Separable)
    return ActiveColumns(problem) if real else ActiveBlocks(problem)

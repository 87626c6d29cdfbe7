"""Working sets with second-order steps: the default for convex problems in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sparseinv.certificate import DualPair, certify_problem
from sparseinv.penalties.group import Grouped
from sparseinv.penalties.separable import Separable
from sparseinv.problem import Problem
from sparseinv.solvers.active_blocks import ActiveBlocks
from sparseinv.solvers.active_columns import ActiveColumns
from sparseinv.solvers.active_entries import are_known
from sparseinv.solvers.active_sets import are_signed, empty_set, price
from sparseinv.solvers.base import Outcome, Solver, State, called, refuse, start_point
from sparseinv.solvers.column_sweeps import TALL, descend, largest, materialise, sweep
from sparseinv.solvers.lazy_columns import LARGEST_LAZY, Patience, are_cheap
from sparseinv.stopping import Budget
from sparseinv.threads import single_threaded_lapack

Array = np.ndarray[Any, Any]

# thresholds tuned on the benchmark grid, in one place
_LEVEL = 0.5  # first factor between two levels on the way down to the penalty itself
_FASTEST, _SLOWEST = 0.3, 0.8  # range of that factor
_CROWDING = 8.0  # the factor rises with the non-zeros per row, up to a value of the active set's own
_FEW, _MANY = 0.03, 0.12  # shares of flipped signs at which the descent is sped up or slowed down
_DIRECT = 400  # the first level is low enough for as many columns to exceed it at x = 0
_SNAP = 1.1  # a level below this counts as 1
_NEWCOMERS = 400  # columns looked at per round, at least
_INNER_ROUNDS = 8
_INNER_LOOSE, _INNER_TIGHT = 0.3, 0.1  # inner gap over outer gap, above and at the final level
_NEAR = 0.5  # columns with |a_j^T r| above this share of their level are watched between full passes
_WATCHED = 200  # watched columns, at least
_LOCAL_ROUNDS = 2  # looks at them before all columns are looked at
_WATCHED_SHARE = 0.3  # share of the columns up to which they are watched from one level of a path to the next
_RESUMED = 1e-8  # relative gap on the active columns there
_STALL = 0.7  # a round at the final level that keeps more than this share of the gap has stalled
_FEW_PRODUCTS = 20  # columns looked at per round where each costs a product, at least


@dataclass(slots=True, eq=False, kw_only=True)
class WorkingSetState(State):
    """Carry the active columns and the level on the way down."""

    active: ActiveColumns | ActiveBlocks
    member: Array  # mask of the columns or blocks that are active or never join
    correlations: Array  # A^T b
    level: float  # factor on the penalty; 1 is the problem itself
    factor: float = _LEVEL  # between this level and the next
    watched: Array | None = None  # mask of the columns swept over while there is no Gram matrix
    squares: Array | None = None  # their ||a_j||^2, -1 where not yet formed
    gap: float = np.inf  # relative gap after the last full pass at the final level
    sweeping: bool = False  # the active set has outgrown a Gram matrix
    rounds: int = 0  # rounds at the final level
    estimate: Array | None = None  # of A^T r on a path, where dual.Ahv may hold bounds
    rest: Any = None  # state of the first-order method while that does the work
    patience: Patience | None = None  # how long it may, None where columns can no longer take over


@dataclass(frozen=True, repr=False)
class WorkingSet(Solver):
    """Solve on a growing set of columns by Newton steps, and check all columns once per round.

    The level falls to the one asked for by factors of 0.3 to 0.8. In each round the columns that violate
    optimality are filtered by a few coordinate sweeps, the survivors join the active set, and the problem
    on the active set is minimised through its Gram matrix: coordinate sweeps, then Newton steps with the
    signs held fixed and an exact line search, then, where supports churn, a semismooth Newton augmented
    Lagrangian method. One product with A^T closes the round and certifies it.

    Parameters
    ----------
    first_order : Solver or None
        For a matrix-free A: the method that goes ahead where columns cost products, and takes over where
        they need too much memory. None: BarzilaiBorwein (by way of `solve`).
    first_order_leads : bool
        Whether it goes ahead. False: columns, or entries of A^H A where those have a closed form, from the
        start: the fewest products, at the price of more work beside them.

    Notes
    -----
    L1, L2 and elastic-net levels and group norms with zeros and infinities, dense and CSC, real and complex;
    nonnegative or not, and matrix-free, where the penalty is separable. With groups or complex data blocks
    take the place of columns: exact block sweeps, then Newton steps on the blocks that are not zero, where
    the objective is smooth, damped by a search along the step; their end is quadratic.

    Columns of a matrix-free A are written down when they are first asked for, 512 MiB and 3000 active ones
    at most. Where they have a closed form (convolutions, selections, diagonals and what is made of them)
    they are no products with A and are counted apart; elsewhere ``first_order`` runs until it is expected
    to take more products than the columns of its support. Complex coefficients of a matrix-free A are treated
    where entries of A^H A have a closed form (plane waves at selected or irregular positions): no column is
    formed, a round takes two products, and ``first_order`` runs until its products are expected to cost more.

    The final Newton step is exact, so the gap usually drops to rounding level at once. Cost: about one
    pass over A per level on the way plus two to five; m k^2 for the Gram matrix of k active columns,
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

    first_order: Solver | None = None
    first_order_leads: bool = True

    def __post_init__(self) -> None:
        """Check the hyper-parameters."""
        if not isinstance(self.first_order_leads, (bool, np.bool_)):
            raise TypeError(f"first_order_leads is {self.first_order_leads!r}, but True or False is needed")
        if self.first_order is not None and not isinstance(self.first_order, Solver):
            raise TypeError(
                f"first_order is {self.first_order!r}, but a solver such as BarzilaiBorwein() is needed"
            )

    def check(self, problem: Problem) -> None:
        """Refuse what is not convex and built in, and operators with groups or complex data."""
        if not isinstance(problem.penalty, (Separable, Grouped)):
            others = "FISTA, ISTA" if problem.penalty.convex else "ISTA"
            raise refuse(self, f"does not treat {called(problem.penalty)}", others)
        if not problem.penalty.convex:
            raise refuse(self, "needs a convex penalty", "IRL1, CoordinateDescent, IRLS or ISTA")
        if not problem.explicit and not are_signed(problem) and not are_known(problem):
            raise refuse(
                self, "needs real data without groups, or known entries of A^H A, for a matrix-free A",
                "BarzilaiBorwein, FISTA",
            )  # fmt: skip

    def start(self, problem: Problem, x0: Array | None) -> WorkingSetState:
        """Return the state at x0 (zero by default); reads A once."""
        problem.operator.phase = "setup"
        if self.first_order is not None and self.first_order_leads and not are_cheap(problem):
            state = self._bare(problem, start_point(problem, x0))
            self._hand_over(problem, state, x0)
            single = getattr(problem.operator.inner, "single", False)
            if not single and (are_signed(problem) or are_known(problem)):
                state.patience = Patience()
            return state
        return self._first(problem, x0)

    @staticmethod
    def _bare(problem: Problem, x: Array) -> WorkingSetState:
        """Return a state without columns."""
        none = np.empty(0)
        return WorkingSetState(x, active=ActiveColumns(problem), member=none, correlations=none, level=1.0)

    def _first(self, problem: Problem, x0: Array | None) -> WorkingSetState:
        penalty = problem.penalty
        correlations = problem.gradient(problem.b)
        active = empty_set(problem)
        member = active.excluded()  # never to join
        x = start_point(problem, x0)
        first = active.first(x)
        level, sweeping = 1.0, active.lazy is None and int(first.sum()) > largest(active)
        if active.lazy is not None and first.any():
            count = int(first.sum())
            if count > LARGEST_LAZY or active.lazy.affordable(np.flatnonzero(first)).size < count:
                state = self._bare(problem, x)
                assert state.active.lazy is not None
                state.active.lazy.full = True
                self._hand_over(problem, state, x0)
                return state
        if first.any() and not sweeping:
            index = np.flatnonzero(first)
            active.start(index, correlations, x)
            member[index] = True
            if x0 is None:
                active.newton(0.0)
            x = active.solution()
        r = -problem.b
        if x.any():
            r = active.residual() if isinstance(active, ActiveBlocks) else problem.residual(x)
        g = problem.gradient(r) if first.any() else -correlations
        if isinstance(active, ActiveBlocks):
            active.refresh(g)
        if x0 is None:
            top = penalty.lam_max(-g, None)
            level = min(top * _LEVEL, self._crowded(active, g)) if np.isfinite(top) else 1.0
            level = 1.0 if level < _SNAP else level
        state = WorkingSetState(x, r, active=active, member=member, correlations=correlations, level=level)
        state.sweeping = sweeping
        state.dual = DualPair(r, g)
        tall = problem.explicit and problem.m >= TALL * problem.n
        if tall and isinstance(active, ActiveColumns) and not first.any():
            state.level = 1.0
            state.watched = np.zeros(problem.n, dtype=bool)
            state.squares = np.full(problem.n, -1.0)
        return state

    @staticmethod
    def _crowded(active: ActiveColumns | ActiveBlocks, g: Array) -> float:
        """Return the level that _DIRECT columns exceed at x = 0; blocks do not start low."""
        if isinstance(active, ActiveBlocks):
            return np.inf
        if active.problem.n <= _DIRECT:
            return 1.0
        size, levels, single = active.size(g), active.levels, active.problem.penalty.single_level
        if single:
            return _largest_but(_DIRECT - 1, size) / single
        ratio = np.divide(size, levels, out=np.zeros(size.size), where=levels > 0)
        return _largest_but(_DIRECT - 1, ratio)

    def resume(self, problem: Problem, state: WorkingSetState) -> WorkingSetState:
        """Go on after the levels of the penalty have changed, with the columns and the factor at hand.

        One Newton step with the signs held fixed follows the path of solutions; the columns that were
        near their level are looked at before the product with A^T that certifies the new point.
        """
        if state.watched is not None:
            materialise(state)
        if state.rest is not None:
            assert self.first_order is not None
            state.rest = self.first_order.resume(problem, state.rest)
            state.patience = None if state.patience is None else Patience()
            self._take_over(state)
            return state
        before = state.active.levels
        if state.sweeping or not state.active.follow(problem):
            return self.start(problem, state.x.copy())
        with single_threaded_lapack():
            return self._follow(problem, state, before)

    def _follow(self, problem: Problem, state: WorkingSetState, before: Array) -> WorkingSetState:
        problem.operator.phase = "iterations"
        assert state.dual is not None
        active = state.active
        state.level, state.gap, state.rounds = 1.0, np.inf, 0
        flips = active.newton(1.0)
        # what moves as fast as its level falls can reach it at the new one (the strong rule)
        with np.errstate(invalid="ignore"):
            g = state.dual.Ahv if state.estimate is None else state.estimate
            reach = active.size(g) + np.maximum(before - active.levels, 0.0)
            watched = np.flatnonzero((reach > active.levels) & ~state.member)
        if active.lazy is not None:
            watched = active.lazy.known(watched)
        few = 0 < watched.size <= max(_WATCHED, _WATCHED_SHARE * state.member.size)
        rounds = _LOCAL_ROUNDS if few else 0
        for _ in range(rounds):
            before_k = active.k
            state.r = active.residual()
            self._admit(state, self._pressed(state, watched, state.r))
            if flips or active.k > before_k:
                active.minimise(1.0, _RESUMED * problem.scale, 2)
            if active.k == before_k:
                break
            flips, watched = 0.0, watched[~state.member[watched]]
        if (flips and not rounds) or active.gap(1.0) > _RESUMED * problem.scale:
            active.minimise(1.0, _RESUMED * problem.scale, 2)
        self._adopt(problem, state, follows=True)
        return state

    def _adopt(self, problem: Problem, state: WorkingSetState, follows: bool = False) -> None:
        """Take the coefficients of the active columns over, and look at all columns."""
        state.x = state.active.solution()
        state.r = state.active.residual()
        if state.active.lazy is None and isinstance(state.active, ActiveColumns):
            problem.keep_residual(state.x, state.r)  # so that the last certificate is free
        else:
            follows = False
        if follows or state.estimate is not None:
            g, state.estimate = problem.gradient_bound(state.r, state.x != 0, problem.penalty.l1)
        else:
            g = problem.gradient(state.r)
        if isinstance(state.active, ActiveBlocks):
            state.active.refresh(g)
        state.dual = DualPair(state.r, g)

    def step(self, problem: Problem, state: WorkingSetState, budget: Budget) -> Outcome:
        """Add the columns that violate optimality, minimise over the active ones, check all columns."""
        lazy = state.active.lazy
        if lazy is not None and state.rest is None and (lazy.full or state.active.k > LARGEST_LAZY):
            if self.first_order is None:
                return Outcome.EXHAUSTED
            self._hand_over(problem, state, state.x)
        if state.rest is not None:
            return self._go_on(problem, state, budget)
        with single_threaded_lapack():
            return self._round(problem, state, budget)

    def _round(self, problem: Problem, state: WorkingSetState, budget: Budget) -> Outcome:
        assert state.dual is not None
        state.n_iter += 1
        if state.watched is not None:
            return descend(problem, state, budget)
        if state.sweeping:
            return sweep(problem, state)
        active, g = state.active, state.dual.Ahv
        gap = budget.gap
        if not np.isfinite(gap):
            gap = certify_problem(problem, state.x, r=state.r, dual=state.dual).relative
        final = state.level <= 1.0
        absolute = problem.scale
        before = active.k
        if not self._admit(state, self._violators(state, g)):
            return sweep(problem, state)
        joined = active.k - before
        if final:
            target = max(_INNER_TIGHT * gap, 0.3 * budget.tol) * absolute
            state.rounds += 1
            stalled = state.rounds >= 2 and gap > _STALL * state.gap
            state.gap = gap
            reached, flips = active.minimise(1.0, target, _INNER_ROUNDS)
            if stalled and flips > 0.0 and reached > target:
                active.semismooth(1.0, target)
                active.minimise(1.0, target, 2)
            if state.estimate is None:  # else few columns are read anyway
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
        last = state.x
        self._adopt(problem, state)
        waiting = active.lazy is not None and active.lazy.full  # for another method to take over
        unchanged = final and not waiting and np.array_equal(last, state.x)
        return Outcome.FLOOR if unchanged else Outcome.MOVED

    def _hand_over(self, problem: Problem, state: WorkingSetState, x: Array | None) -> None:
        """Let the first-order method, if there is one, go on from x, and give the columns up."""
        if self.first_order is not None:
            state.rest = self.first_order.start(problem, None if x is None else x.copy())
            state.active = ActiveColumns(problem)
            self._take_over(state)

    def _go_on(self, problem: Problem, state: WorkingSetState, budget: Budget) -> Outcome:
        assert self.first_order is not None
        before, spent = state.rest.n_iter, problem.operator.products.total
        nonzeros = int(np.count_nonzero(state.x))
        patience = state.patience if state.settled and nonzeros <= LARGEST_LAZY else None
        if patience is not None and patience.exhausted(budget, spent, price(problem, nonzeros)):
            with single_threaded_lapack():
                return self._write_columns(problem, state)
        outcome = self.first_order.step(problem, state.rest, budget)
        self._take_over(state)
        state.n_iter += state.rest.n_iter - before
        return outcome

    def _write_columns(self, problem: Problem, state: WorkingSetState) -> Outcome:
        """Go over from the first-order method to the columns of its support, each at a product."""
        fresh = self._first(problem, state.x)
        for name in ("x", "r", "dual", "active", "member", "correlations", "level", "rest"):
            setattr(state, name, getattr(fresh, name))
        state.patience = None
        state.n_iter += 1
        return Outcome.MOVED

    @staticmethod
    def _take_over(state: WorkingSetState) -> None:
        """Show the driver the point of the first-order method."""
        rest = state.rest
        state.x, state.r, state.dual, state.settled = rest.x, rest.r, rest.dual, rest.settled

    def _violators(self, state: WorkingSetState, g: Array) -> Array:
        """Return the inactive columns or blocks that violate optimality most, at the present level."""
        levels = state.active.levels
        with np.errstate(invalid="ignore"):
            pressure = state.active.size(g) - state.level * levels
        pressure[state.member] = -np.inf
        found = np.flatnonzero(pressure > 0.0)
        lazy = state.active.lazy
        fewest = _NEWCOMERS if lazy is None or lazy.closed else _FEW_PRODUCTS
        limit = state.active.limit(max(fewest, int(np.count_nonzero(state.active.x))))
        if found.size > limit:
            with np.errstate(divide="ignore"):
                rank = -pressure[found] / np.maximum(levels[found], 1e-300)
            found = found[np.argpartition(rank, limit)[:limit]]
        return found[np.argsort(pressure[found])[::-1]]

    def _admit(self, state: WorkingSetState, index: Array) -> bool:
        """Let those join that become non-zero when the newcomers alone are swept over, if there is room."""
        if state.active.lazy is not None:
            index = state.active.lazy.affordable(index)
        if index.size == 0:
            return True
        return self._join(state, state.active.survivors(index, state.level, state.r))

    @staticmethod
    def _join(state: WorkingSetState, index: Array) -> bool:
        """Add columns to the active set; tell whether it had room."""
        if state.active.k + index.size > largest(state.active):
            state.sweeping = True
            return False
        if index.size:
            state.active.extend(index, state.correlations[index])
            state.member[index] = True
        return True

    def _close_nearby(self, state: WorkingSetState, g: Array, target: float) -> None:
        """Repeat on the columns that were near the boundary before spending a full pass."""
        active = state.active
        size = active.size(g)
        watched = np.flatnonzero((size > _NEAR * active.levels) & ~state.member)
        limit = active.limit(_WATCHED + 3 * int(np.count_nonzero(active.x)))
        if watched.size > limit:
            watched = watched[np.argpartition(-size[watched], limit)[:limit]]
        if active.lazy is not None:
            watched = active.lazy.known(watched)
        pressed = self._pressed(state, watched, active.residual())
        if pressed.size:
            self._join(state, pressed)
            active.minimise(1.0, target, _INNER_ROUNDS)

    @staticmethod
    def _pressed(state: WorkingSetState, watched: Array, r: Array) -> Array:
        """Return those of the watched columns or blocks that violate optimality at r."""
        active = state.active
        if active.lazy is not None:
            watched = active.lazy.affordable(watched)
        if watched.size == 0:
            return watched
        size = active.size_at(watched, r)
        active.problem.operator.charge(adjoint=round(watched.size / state.member.size))
        return watched[size > active.levels[watched] * (1.0 + 1e-9)]


def _largest_but(count: int, values: Array) -> float:
    """Return the largest of the values when ``count`` of them are left out."""
    sample = values[:: max(1, values.size // (20 * count))]
    if 4 * sample.size < values.size:  # most of many values need not be sorted
        guess = np.sort(sample)[-1 - 2 * count * sample.size // values.size]
        upper = values[values > guess]
        values = upper if upper.size > count else values
    return float(np.partition(values, -1 - count)[-1 - count])

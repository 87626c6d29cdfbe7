"""Local search over supports: add, remove, exchange, each judged after a full refit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from sparseinv import validation
from sparseinv.certificate import Kind, certify_problem
from sparseinv.group_moves import GroupMoves, fits, judges_groups
from sparseinv.hidden_groups import after_hidden_groups
from sparseinv.hidden_moves import INEXACT, after_hidden_move, defect
from sparseinv.penalties.balls import Ball
from sparseinv.penalties.group_l0 import CountedGroups
from sparseinv.penalties.separable import Separable
from sparseinv.problem import Problem
from sparseinv.signed_moves import is_complex, judges, moves_of
from sparseinv.solvers.base import Outcome, Solver, State, called, refuse, start_point
from sparseinv.stopping import Budget
from sparseinv.support_moves import DEPENDENT, ROUNDING, SupportMoves

Array = np.ndarray[Any, Any]

_SMALL, _MIDDLE = 100_000, 2_000_000  # entries of A up to which starts are many, and a few
_MANY, _FEW = 16, 4  # starts there
_ALONE = 24  # the same in place of _MANY where no solver's answer is started from
_EXCHANGES = 8  # exchanges that do not improve from which a local minimum is left
_STRIDE = 20  # moves made together
_CHAIN = 3  # moves that each of them may be followed by
_WORK = 1e8  # multiplications after which a step returns
_MOVE = 3e4  # what a move takes beside its loops over columns, in multiplications
_ENOUGH = 2e9  # multiplications from which on no random start is made unless their number was given
_LARGER, _EXTRA = 2, 6  # a random start has up to so many times the best number of columns, and so many more
_POOL, _LEAST = 4, 40  # promising columns it is drawn from: per column of its own, and at least
_INNER_STEPS = 10_000  # steps of a solver whose answer the search starts from
_HIDDEN = 20  # of the last moves at most
_LAST = 0.2  # seconds before a time limit at which a search that has a minimum ends with it
_EXACT = 1e-24  # of 1/2 ||b||^2: a fit within rounding, which no other support betters


@dataclass(slots=True, eq=False, kw_only=True)
class LocalSearchState(State):
    """Carry the present support, the best one and what is left to try."""

    moves: Any  # SupportMoves or GroupMoves
    rng: np.random.Generator
    best: float = np.inf  # objective of x
    support: Array | None = None  # of x
    hidden: bool = False  # whether columns are almost in the span of that support, or of its others
    left: int = 0  # random starts
    work: float = 0.0  # multiplications so far, about
    descending: bool = True
    seen: set[bytes]  # supports from which the search has gone on already
    path: set[bytes]  # supports since the descent began
    waiting: list[Solver]  # solvers whose answers are still to be started from
    inner: Any = None  # state of the one that runs, and its problem; None while moves are made
    surrogate: Any = None
    inner_steps: int = 0


@dataclass(frozen=True, repr=False)
class LocalSearch(Solver):
    """Minimise with an L0 penalty, or with at most k non-zeros, by exact moves between supports.

    Minimises ``1/2 ||A x - b||^2 + sum_j lam_j [x_j != 0] + l1_j |x_j| + l2_j |x_j|^2 / 2``, also for x >= 0.
    The support grows from nothing by the column that lowers the objective most. Then the best of all
    additions, removals and exchanges is made, each judged after a full refit, until none improves: the
    answer is swap-optimal, and its certificate says so. From there exchanges that make things worse are
    tried with up to three moves after them, and the search begins again, from the answers of other solvers
    and from random supports. The best answer is returned: it is never above that of a solver in ``starts``.

    Parameters
    ----------
    restarts : int, optional
        Random supports from which the search begins again; None: 16 for up to 1e5 entries of A (24 without
        starts), 4 for up to 2e6, none beyond, and none after 2e9 multiplications. With many, ``max_time``
        of `solve` is a budget: shortly before it the search ends.
    seed : int
        Of the random supports.
    starts : sequence of Solver, optional
        Solvers such as IRL1() and IRLS() that run first, for an L0Ball at the level at which the number of
        non-zeros is k; None: where they take about as long as the search both for L0 penalties, IRL1() for
        an L0Ball with more than 4000 entries of A, none else.

    Notes
    -----
    With S the support, H = (A_S^T A_S + diag(l2_S))^{-1}, T = H A_S^T A, beta the fitted coefficients, g =
    A^T (b - A_S beta) and d_j = ||a_j||^2 + l2_j - sum_i (A_S^T a_j)_i T_ij, the objective falls by

    - adding j: g_j^2 / (2 d_j) - lam_j,
    - removing i: lam_i - beta_i^2 / (2 H_ii),
    - exchanging i for j: (g_j + beta_i T_ij / H_ii)^2 / (2 (d_j + T_ij^2 / H_ii)) - lam_j + lam_i
      - beta_i^2 / (2 H_ii).

    All |S| n exchanges cost O(|S| n), a move as much and, for a column that enters for the first time, one
    product with A^T. Storage: |S| n numbers, and up to 512 MiB of products that are kept. A support that
    would take more than 2 GiB is not let grow and is certified as a minimum along coordinates only. Columns
    of a matrix-free A are formed one by one, the norms of all of them included where the operator does not
    know them. Complex data: moduli in place of squares, conjugates where they belong.

    With levels l1 or with x >= 0 the formulas, |g_j| - l1_j in place of g_j, bound from above what a move
    gains and are exact where the refit turns no sign. Moves are taken in the order of their bounds and
    refitted by an active-set method, O(|S|^2) a step, until no bound is above the best gain found. A
    coefficient that the refit of a move puts to zero leaves the support, too. Complex data cannot have l1.
    Columns of which the support leaves less than 1e-10 of the square are passed over by the search; the last
    moves and the certificate look at them one by one, in twice the working precision. Columns that differ by
    less than 1e-13 of their length count as one.
    Coefficients with lam_j = 0 are free from the start, those with lam_j = inf stay zero.

    References
    ----------
    C. Soussen, J. Idier, D. Brie, J. Duan, IEEE Trans. Signal Process. 59 (2011) 4572-4584,
    doi:10.1109/TSP.2011.2160633 (additions and removals). H. Hazimeh, R. Mazumder, Oper. Res. 68 (2020)
    1517-1537, doi:10.1287/opre.2019.1919 (exchanges).

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> A = np.random.default_rng(0).standard_normal((20, 50))
    >>> result = si.solve(A, A[:, 3] - 2 * A[:, 40], si.L0(0.1), solver=si.LocalSearch())
    >>> result.support, result.certificate.kind.name
    (array([ 3, 40]), 'SWAP_MINIMUM')
    """

    restarts: int | None = None
    seed: int = 0
    starts: tuple[Solver, ...] | None = None

    local_kind: ClassVar[Kind] = Kind.SWAP_MINIMUM

    def __post_init__(self) -> None:
        """Check the hyper-parameters."""
        if self.restarts is not None:
            validation.count(self.restarts, "restarts")
        validation.count(self.seed, "seed")
        if self.starts is not None:
            given: Any = self.starts
            given = (given,) if isinstance(given, Solver) else tuple(given) if np.iterable(given) else (None,)
            if not all(isinstance(solver, Solver) for solver in given):
                raise TypeError(f"starts is {self.starts!r}, but solvers such as (IRL1(), IRLS()) are needed")
            object.__setattr__(self, "starts", given)

    def check(self, problem: Problem) -> None:
        """Refuse what has no charge per non-zero coefficient, and moduli of complex coefficients."""
        penalty = problem.penalty
        if isinstance(penalty, CountedGroups):
            if not fits(problem):
                raise refuse(self, "needs groups of about one size and columns of A in memory", "ISTA")
            return
        if not isinstance(penalty, (Separable, Ball)):
            raise refuse(self, f"does not treat {called(penalty)}", "FISTA, ISTA")
        if isinstance(penalty, Separable) and penalty.convex:
            raise refuse(self, "needs an L0 penalty or L0Ball", "WorkingSet, IRLS, FISTA")
        signed = isinstance(penalty, Separable) and (penalty.l1[~penalty.excluded] > 0).any()
        if signed and is_complex(problem):
            raise refuse(self, "does not treat levels of |x| with complex data", "IRL1, CoordinateDescent")

    def start(self, problem: Problem, x0: Array | None) -> LocalSearchState:
        """Return the state with the support of x0 (none by default); forms the column norms and A^T b."""
        problem.operator.phase = "setup"
        moves: Any = GroupMoves(problem) if isinstance(problem.penalty, CountedGroups) else moves_of(problem)
        moves.restart(_ranked(problem, start_point(problem, x0)))
        entries = problem.m * problem.n
        many = _MANY if self.starts else _ALONE
        given = many if entries <= _SMALL else _FEW if entries <= _MIDDLE else 0
        state = LocalSearchState(
            moves.x, moves=moves, rng=np.random.default_rng(self.seed), seen=set(), path=set(),
            left=given if self.restarts is None else int(self.restarts), waiting=list(self.starts or ()),
        )  # fmt: skip
        if problem.scale == 0.0:
            state.left, state.waiting = 0, []
        state.settled = False
        return state

    def step(self, problem: Problem, state: LocalSearchState, budget: Budget) -> Outcome:
        """Move between supports for about a tenth of a second; end when nothing is left to try."""
        moves, most, last = state.moves, state.work + _WORK, state.n_iter + budget.iterations
        while state.work < most and state.n_iter < last:
            state.n_iter += 1
            if state.support is not None and budget.seconds < _LAST:
                state.note = "The time limit ended LocalSearch before all its starts were tried."
                return self._end(problem, state)
            if state.inner is not None:
                if self._step_inner(problem, state, budget):
                    break
                state.descending = True
            if state.descending:
                before = moves.made
                ended = moves.descend(min(_STRIDE, last - state.n_iter + 1) if moves.swift else 1)
                state.descending = not ended and self._is_new(state)
                state.n_iter += max(moves.made - before - 1, 0)
                state.work += max(moves.made - before, 1) * (moves.price * problem.n * (moves.k + 1) + _MOVE)
                if state.descending:
                    continue
            if self._accept(problem, state) and self._chain(problem, state):
                state.descending = True
                state.path.clear()
                continue
            state.work += _CHAIN * _EXCHANGES * (moves.price * problem.n * (moves.k + 1) + _MOVE)
            if not self._begin(problem, state):
                return self._end(problem, state)
        if state.support is None:
            state.x = moves.x
        return Outcome.MOVED

    @staticmethod
    def _is_new(state: LocalSearchState) -> bool:
        """Tell whether this descent has not been here before, which rounding alone can make happen."""
        before = len(state.path)
        state.path.add(np.sort(state.moves.support).tobytes())
        return len(state.path) > before

    @staticmethod
    def _end(problem: Problem, state: LocalSearchState) -> Outcome:
        """End with the best answer, after moves with columns that are almost in the span of its support."""
        grouped = isinstance(problem.penalty, CountedGroups)
        hidden = judges_groups(problem, state.x) if grouped else state.hidden and judges(problem, state.x)
        for _ in range(_HIDDEN if hidden else 0):
            better = (after_hidden_groups if grouped else after_hidden_move)(problem, state.x)
            if better is None:
                break
            state.x = better
        state.settled = True
        return Outcome.EXHAUSTED

    def _begin(self, problem: Problem, state: LocalSearchState) -> bool:
        """Go over to another start; return False where none is left, or where nothing can be lower."""
        state.path.clear()
        if isinstance(problem.penalty, Ball) and state.best <= _EXACT * problem.scale:
            return False
        if state.waiting:
            solver = state.waiting.pop(0)
            state.surrogate = _leveled(problem, state) if isinstance(problem.penalty, Ball) else problem
            solver.check(state.surrogate)
            state.inner = (solver, solver.start(state.surrogate, None))
            problem.operator.phase = "iterations"
            state.inner_steps = 0
            return True
        if state.left == 0 or (self.restarts is None and state.work > _ENOUGH):
            return False
        state.left -= 1
        state.moves.restart(self._random(state))
        state.descending = True
        return True

    @staticmethod
    def _step_inner(problem: Problem, state: LocalSearchState, budget: Budget) -> bool:
        """Take a step of the solver that runs first; when it has ended go over to its support."""
        solver, inner = state.inner
        state.inner_steps += 1
        allowed = Budget(tol=budget.tol, iterations=_INNER_STEPS, seconds=budget.seconds, gap=math.inf)
        outcome = solver.step(state.surrogate, inner, allowed)
        if outcome is Outcome.MOVED and state.inner_steps < _INNER_STEPS:
            if not inner.settled:
                return True
            local = Kind.COORDINATE_MINIMUM
            if not certify_problem(state.surrogate, inner.x, r=inner.r, local=local).relative <= budget.tol:
                return True
        state.moves.restart(_ranked(problem, inner.x))
        state.inner = None
        return False

    def _accept(self, problem: Problem, state: LocalSearchState) -> bool:
        """Keep the support if it is the best so far; tell whether it has not been here before."""
        moves = state.moves
        name = np.sort(moves.support).tobytes()
        fresh = name not in state.seen
        state.seen.add(name)
        if moves.value < state.best - ROUNDING * moves.scale:
            moves.restart(moves.support.copy())  # free of what many moves leave of rounding
            x = moves.refined(moves.x)
            # nearly dependent columns can make what moves add up to better than it is
            value = problem.objective(x, problem.residual(x))
            if value < state.best - ROUNDING * moves.scale:
                state.best, state.support, state.x = value, moves.support.copy(), x
                state.hidden = isinstance(moves, SupportMoves) and (
                    bool((~moves.inside & ~(moves.d > DEPENDENT * moves.squares)).any())
                    or defect(moves) > INEXACT
                )
        return fresh

    @staticmethod
    def _chain(problem: Problem, state: LocalSearchState) -> bool:
        """Try exchanges that do not improve, followed by a few moves; tell whether that led lower."""
        moves = state.moves
        if moves.swift and moves.room >= 0:
            return bool(moves.chain(_EXCHANGES, _CHAIN))
        before, value = moves.saved(), moves.value
        for move in moves.exchanges(_EXCHANGES):
            moves.make(move)
            moves.descend(_CHAIN)
            if moves.value < value - ROUNDING * moves.scale and moves.room >= 0:
                return True
            moves.back_to(before)
        return False

    @staticmethod
    def _random(state: LocalSearchState) -> Array:
        """Return a support that holds a part of the best one, the rest drawn from promising columns.

        It may be much larger than the best one: columns that are of use only together come in together.
        """
        moves, rng = state.moves, state.rng
        best = np.empty(0, dtype=np.int64) if state.support is None else state.support
        size = min(int(rng.integers(1, _LARGER * best.size + _EXTRA)), moves.largest)
        pool = moves.by_promise[: max(_POOL * size, _LEAST)]
        kept = rng.permutation(best)[: int(rng.integers(0, min(best.size, size) + 1))]
        drawn = rng.permutation(pool[~(pool[:, None] == kept).any(axis=1)])[: max(size - kept.size, 0)]
        return np.concatenate([kept, drawn]).astype(np.int64)


def _ranked(problem: Problem, x: Array) -> Array:
    """Return the columns or groups of a point, the largest first."""
    penalty = problem.penalty
    grouped = isinstance(penalty, CountedGroups)
    size = penalty.blocks.norms(x) if grouped else np.abs(x)
    found = np.flatnonzero(size)
    found = found[np.argsort(-size[found], kind="stable")]
    if grouped:  # as many columns as rows explain everything
        filled = np.cumsum(np.diff(penalty.starts)[found])
        found = found[: max(int(np.searchsorted(filled, problem.m, side="right")), 1)]
    return found


def _leveled(problem: Problem, state: LocalSearchState) -> Problem:
    """Return the problem with an L0 level at which the best number of non-zeros is that of the ball."""
    moves, penalty = state.moves, problem.penalty
    gain, loss = moves.marginal()
    level = math.sqrt(gain * loss) if gain > 0.0 and loss > 0.0 else max(gain, loss, 1e-12 * problem.scale)
    l0 = np.where(penalty.excluded, np.inf, np.where(penalty.unpenalised, 0.0, level))
    none = np.zeros(problem.n)
    return problem.with_penalty(Separable(l0, none, none, penalty.nonnegative))

"""Local search over supports: add, remove, exchange, each judged after a full refit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from sparseinv.certificate import Kind
from sparseinv.penalties.balls import Ball
from sparseinv.penalties.separable import Separable
from sparseinv.problem import Problem
from sparseinv.solvers.base import Outcome, Solver, State, refuse, start_point
from sparseinv.stopping import Budget
from sparseinv.support_moves import SupportMoves

Array = np.ndarray[Any, Any]

_SMALL, _MIDDLE = 100_000, 2_000_000  # entries of A up to which starts are many, and a few
_MANY, _FEW = 24, 4  # starts there
_EXCHANGES = 8  # exchanges that do not improve from which a local minimum is left
_CHAIN = 3  # moves that each of them may be followed by
_WORK = 1e8  # multiplications after which a step returns
_BETTER = 1e-12  # what counts as better, relative to 1/2 ||b||^2
_LARGER, _EXTRA = 2, 6  # a random start has up to so many times the best number of columns, and so many more
_POOL, _LEAST = 4, 40  # promising columns it is drawn from: per column of its own, and at least


@dataclass(slots=True, eq=False, kw_only=True)
class LocalSearchState(State):
    """Carry the present support, the best one and what is left to try."""

    moves: SupportMoves
    rng: np.random.Generator
    best: float = np.inf  # objective of x
    support: Array | None = None  # of x
    left: int = 0  # starts
    descending: bool = True
    seen: set[bytes]  # supports from which the search has gone on already


@dataclass(frozen=True, repr=False)
class LocalSearch(Solver):
    """Minimise with an L0 penalty, or with at most k non-zeros, by exact moves between supports.

    Minimises ``1/2 ||A x - b||^2 + sum_j lam_j [x_j != 0] (+ l2_j |x_j|^2 / 2)``. The support grows from
    nothing by the column that lowers the objective most. Then the best of all additions, removals and
    exchanges is made, each judged after a full refit, until none improves: the answer is swap-optimal, and
    its certificate says so. From there exchanges that make things worse are tried with up to three moves
    after them, and the search begins again from random supports.

    Parameters
    ----------
    restarts : int, optional
        Random supports from which the search begins again; None: 24 for up to 1e5 entries of A, 4 for up to
        2e6, none beyond.
    seed : int
        Of the random supports.

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
    would take more than 2 GiB is not let grow and is certified as a minimum along coordinates only. Real
    data; columns of a matrix-free A are formed one by one.

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

    local_kind: ClassVar[Kind] = Kind.SWAP_MINIMUM

    def __post_init__(self) -> None:
        """Check the hyper-parameters."""
        for name in ("restarts", "seed"):
            value = getattr(self, name)
            if value is None and name == "restarts":
                continue
            if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)) or value < 0:
                raise ValueError(f"{name} is {value!r}, but a whole number >= 0 is needed")

    def check(self, problem: Problem) -> None:
        """Refuse what has no charge per non-zero coefficient, and complex data."""
        penalty = problem.penalty
        if not isinstance(penalty, (Separable, Ball)):
            raise refuse(self, f"does not treat {type(penalty).__name__}", "FISTA, ISTA")
        if isinstance(penalty, Separable) and penalty.convex:
            raise refuse(self, "needs an L0 penalty or L0Ball", "WorkingSet, IRLS, FISTA")
        if isinstance(penalty, Separable) and (penalty.l1[~penalty.excluded] > 0).any():
            raise refuse(self, "does not treat levels of |x|", "IRL1, IRLS, CoordinateDescent")
        if penalty.nonnegative:
            raise refuse(self, "does not treat nonnegative=True", "IRL1, CoordinateDescent")
        if "c" in (problem.operator.dtype.kind, problem.b.dtype.kind):
            raise refuse(self, "needs real data", "IRL1, CoordinateDescent")

    def start(self, problem: Problem, x0: Array | None) -> LocalSearchState:
        """Return the state with the support of x0 (none by default); forms the column norms and A^T b."""
        problem.operator.phase = "setup"
        moves = SupportMoves.of(problem)
        x = start_point(problem, x0)
        moves.restart(np.flatnonzero(x))
        entries = problem.m * problem.n
        given = _MANY if entries <= _SMALL else _FEW if entries <= _MIDDLE else 0
        left = given if self.restarts is None else self.restarts
        state = LocalSearchState(
            moves.x, moves=moves, rng=np.random.default_rng(self.seed), left=left, seen=set()
        )
        state.settled = False
        return state

    def step(self, problem: Problem, state: LocalSearchState, budget: Budget) -> Outcome:
        """Move between supports for about a tenth of a second; end when nothing is left to try."""
        spent = 0.0
        moves = state.moves
        while spent < _WORK:
            state.n_iter += 1
            if state.n_iter > budget.iterations:
                break
            if state.descending:
                state.descending = not moves.descend(1)
                spent += 6.0 * problem.n * (moves.k + 1) + 2e3
                if state.descending:
                    continue
            if self._accept(problem, state) and self._chain(problem, state):
                state.descending = True
                continue
            spent += _CHAIN * _EXCHANGES * 6.0 * problem.n * (moves.k + 1)
            if state.left == 0:
                state.settled = True
                return Outcome.EXHAUSTED
            state.left -= 1
            moves.restart(self._random(problem, state))
            state.descending = True
        if state.support is None:
            state.x = moves.x
        return Outcome.MOVED

    def _accept(self, problem: Problem, state: LocalSearchState) -> bool:
        """Keep the support if it is the best so far; tell whether it has not been here before."""
        moves = state.moves
        name = np.sort(moves.support).tobytes()
        fresh = name not in state.seen
        state.seen.add(name)
        if moves.value < state.best - _BETTER * problem.scale:
            moves.restart(moves.support.copy())  # free of what many moves leave of rounding
            state.best, state.support, state.x = moves.value, moves.support.copy(), moves.x
        return fresh

    @staticmethod
    def _chain(problem: Problem, state: LocalSearchState) -> bool:
        """Try exchanges that do not improve, followed by a few moves; tell whether that led lower."""
        moves = state.moves
        before, value = moves.saved(), moves.value
        for move in moves.exchanges(_EXCHANGES):
            moves.make(move)
            moves.descend(_CHAIN)
            if moves.value < value - _BETTER * problem.scale:
                return True
            moves.back_to(before)
        return False

    @staticmethod
    def _random(problem: Problem, state: LocalSearchState) -> Array:
        """Return a support that holds a part of the best one, the rest drawn from promising columns.

        It may be much larger than the best one: columns that are of use only together come in together.
        """
        moves, rng = state.moves, state.rng
        best = np.empty(0, dtype=np.int64) if state.support is None else state.support
        size = min(int(rng.integers(1, _LARGER * best.size + _EXTRA)), moves.most)
        with np.errstate(divide="ignore", invalid="ignore"):
            promise = np.where(moves.squares > 0, moves.correlations**2 / moves.squares, 0.0)
        promise[np.isinf(moves.cost)] = -1.0
        pool = np.argsort(promise)[::-1][: max(_POOL * size, _LEAST)]
        kept = rng.permutation(best)[: int(rng.integers(0, min(best.size, size) + 1))]
        drawn = rng.permutation(np.setdiff1d(pool, kept))[: max(size - kept.size, 0)]
        return np.concatenate([kept, drawn]).astype(np.int64)

"""Greedy methods: OMP, OLS and their kin, which build a support column by column on a QR factorisation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from sparseinv import validation
from sparseinv.certificate import Kind
from sparseinv.penalties.separable import Separable
from sparseinv.problem import Problem
from sparseinv.solvers.base import (
    Outcome,
    Solver,
    State,
    called,
    cost_of_pass,
    refuse,
    refuse_convex,
    start_point,
)
from sparseinv.solvers.nonnegative_support import NonnegativeSupport
from sparseinv.solvers.support_qr import SupportQR
from sparseinv.stopping import Budget

Array = np.ndarray[Any, Any]

_WORK = 1e8  # multiplications after which a step returns
_PRODUCT = 1e7  # multiplications that a product with a matrix-free A counts for
_NOTHING = 1e-28  # gain that is none, relative to 1/2 ||b||^2
_BETTER = 1e-12  # what a removal has to gain, so that rounding takes and adds no column for ever


@dataclass(slots=True, eq=False, kw_only=True)
class GreedyState(State):
    """Carry the fits that are extended, best first, and what they were made for."""

    fits: list[Any]  # SupportQR or NonnegativeSupport: one, or as many as the beam is wide
    cost: Array  # charge per non-zero coefficient, inf where excluded
    ridge: Array  # levels of |x_j|^2 / 2
    lowest: dict[int, float]  # lowest value met at each number of columns, where columns also leave


class _Greedy(Solver):
    """Share what OMP and OLS have in common."""

    local_kind: ClassVar[Kind] = Kind.SWAP_MINIMUM
    finite: ClassVar[bool] = True

    beam: int
    residual: float

    def __post_init__(self) -> None:
        """Check the hyper-parameters."""
        validation.count(self.beam, "beam", least=1)
        if not 0.0 <= validation.real_number(self.residual, "residual") < 1.0:
            raise ValueError(f"residual is {self.residual}, but a share of ||b|| in [0, 1) is needed")

    def check(self, problem: Problem) -> None:
        """Refuse what has no charge per non-zero coefficient."""
        penalty = problem.penalty
        if hasattr(penalty, "k"):
            return
        if not isinstance(penalty, Separable):
            raise refuse(self, f"does not treat {called(penalty)}", "FISTA, ISTA")
        if penalty.convex:
            raise refuse_convex(self, penalty)
        if (penalty.l1[~penalty.excluded] > 0).any():
            raise refuse(self, "does not treat levels of |x|", "IRL1, IRLS, CoordinateDescent")

    def start(self, problem: Problem, x0: Array | None) -> GreedyState:
        """Return the state with the support of x0 (none by default); forms the column norms and A^H b."""
        x = start_point(problem, x0)
        given = np.flatnonzero(x)
        if given.size:
            given = given[np.argsort(-np.abs(x[given]) * problem.column_norms[given], kind="stable")]
        return self._begin(problem, [int(j) for j in given])

    def _begin(self, problem: Problem, support: list[int]) -> GreedyState:
        """Return the state with a support, of which columns that depend on earlier ones are left out."""
        problem.operator.phase = "setup"
        cost, ridge, most = _charges(problem)
        fit: Any
        if problem.penalty.nonnegative:
            fit = NonnegativeSupport(problem, ridge, most)
        else:
            fit = SupportQR(problem, ridge, most, ahead=self.beam == 1)
        free = [int(j) for j in problem.unpenalised]
        for j in [*free, *(j for j in support if j not in set(free))]:
            if not fit.inside[j] and (fit.k < _room(problem, fit) or j in free):
                fit.add(j)
        state = GreedyState(fit.x, fits=[fit], cost=cost, ridge=ridge, lowest={fit.k: fit.value})
        state.settled = False
        return state

    def resume(self, problem: Problem, state: GreedyState) -> GreedyState:
        """Go on from the support reached; begin with its first columns where fewer are allowed."""
        cost, ridge, most = _charges(problem)
        fit = state.fits[0]
        fits = isinstance(fit, SupportQR) and fit.k <= min(most, _room(problem, fit))
        if not fits or not np.array_equal(ridge, state.ridge):
            return self._begin(problem, fit.support[:most])
        for each in state.fits:
            each.allow(problem, most)
        state.cost, state.settled = cost, False
        return state

    def step(self, problem: Problem, state: GreedyState, budget: Budget) -> Outcome:
        """Choose columns for about a tenth of a second; end when none is left that helps."""
        spent, passes = 0.0, 20.0 * problem.n + (cost_of_pass(problem) if problem.explicit else _PRODUCT)
        ended = False
        for _ in range(budget.iterations):
            ended = not self._advance(problem, state)
            if ended:
                break
            state.n_iter += 1
            spent += len(state.fits) * (passes + 8.0 * problem.m * (state.fits[0].k + 1))
            if spent > _WORK:
                break
        state.x = state.fits[0].x
        state.settled = ended
        return Outcome.EXHAUSTED if ended else Outcome.MOVED

    def _advance(self, problem: Problem, state: GreedyState) -> bool:
        """Change the support once; return False where nothing helps or is allowed."""
        if self.beam > 1:
            return self._widen(problem, state)
        fit = state.fits[0]
        if not self._may_grow(problem, fit):
            return False
        return self._extend(problem, fit, self._scores(fit, state.cost), 1)

    def _may_grow(self, problem: Problem, fit: Any) -> bool:
        reached = fit.size <= self.residual * math.sqrt(2.0 * problem.scale)
        return not (fit.k >= _room(problem, fit) or fit.exact or reached)

    def _extend(self, problem: Problem, fit: Any, scores: Array, count: int) -> bool:
        """Let in the columns of highest score, at most count."""
        count = min(count, scores.size)
        if count <= 1:
            best = np.array([int(np.argmax(scores))]) if scores.size else np.empty(0, dtype=np.int64)
        else:
            best = np.argpartition(scores, -count)[-count:]
            best = best[np.argsort(-scores[best], kind="stable")]
        best = best[scores[best] > _NOTHING * problem.scale]
        charged = not hasattr(problem.penalty, "k")
        for place, j in enumerate(best):
            if fit.k < _room(problem, fit):
                before, cost = fit.value, float(problem.penalty.l0[j]) if charged else 0.0
                # what entered along with it may have explained a column, which then is not worth its price
                if fit.add(int(j), scores) and place and fit.value + cost > before and hasattr(fit, "remove"):
                    fit.remove(fit.k - 1)
        return bool(best.size)

    def _scores(self, fit: Any, cost: Array) -> Array:
        """Return by how much every column is expected to lower the objective, -inf where it may not enter."""
        raise TypeError(f"{type(self).__name__} must define _scores(fit, cost)")

    def _widen(self, problem: Problem, state: GreedyState) -> bool:
        """Extend every support by its best columns and keep the best of all, each support once."""
        cost = state.cost
        children: dict[frozenset[int], tuple[float, int, int]] = {}
        for place, fit in enumerate(state.fits):
            if not self._may_grow(problem, fit) or not problem.n:
                continue
            scores = self._scores(fit, cost)
            count = min(self.beam, scores.size)
            total, before = fit.value + float(cost[fit.support].sum()), frozenset(fit.support)
            for j in map(int, np.argpartition(scores, -count)[-count:]):
                if scores[j] > _NOTHING * problem.scale:
                    value = total + float(cost[j] - 0.5 * fit.pull[j] / fit.d[j])
                    child = (value, place, j)
                    children[before | {j}] = min(children.get(before | {j}, child), child)
        best = sorted(children.values())[: self.beam]
        first = state.fits[0]
        if not best or not best[0][0] < first.value + float(cost[first.support].sum()):
            return False
        grown = []
        for _, place, j in best:
            fit = state.fits[place].copy()
            if fit.add(j):
                grown.append(fit)
            else:
                state.fits[place].inside[j] = True
        if grown:
            state.fits = sorted(grown, key=lambda fit: fit.value + float(cost[fit.support].sum()))
        return True


def _charges(problem: Problem) -> tuple[Array, Array, int]:
    """Return (charge per non-zero, levels of |x|^2 / 2, largest support if all free columns enter)."""
    penalty, none = problem.penalty, np.zeros(problem.n)
    if hasattr(penalty, "k"):
        return np.where(penalty.excluded, np.inf, 0.0), none, penalty.k + problem.unpenalised.size
    cost = np.where(penalty.excluded, np.inf, penalty.l0)
    return cost, np.where(penalty.excluded, 0.0, penalty.l2), problem.n


def _room(problem: Problem, fit: Any) -> int:
    """Return the largest support beside the free columns that did enter: dependent ones give no room."""
    free = problem.unpenalised
    if free.size == 0 or not hasattr(problem.penalty, "k"):
        return int(fit.most)
    return min(int(fit.most), problem.penalty.k + int(np.isin(free, fit.support).sum()))


@dataclass(frozen=True, repr=False)
class OMP(_Greedy):
    """Choose columns one by one, by their correlation with the residual, and refit (matching pursuit).

    Minimises ``1/2 ||A x - b||^2`` with at most k non-zeros, or with ``sum_j lam_j [x_j != 0]``, greedily:
    the next column maximises ``|a_j^H r|^2 / (2 ||a_j||^2) - lam_j``, then all coefficients are fitted anew.
    It ends at k columns, at an exact fit, at ``residual``, or where no single coefficient pays.

    Parameters
    ----------
    atoms_per_step : int
        Columns that enter at a time, >= 1 (generalised OMP).
    beam : int
        Supports that are extended side by side, >= 1; each support counts once. With 1 it is plain OMP.
    residual : float
        Also stop once ||A x - b|| <= residual ||b||, in [0, 1).

    Notes
    -----
    Columns are compared at equal norms, beside free ones (lam_j = 0, entered first) at equal norms of what
    these leave of them; columns of zeros, and those that the support explains (but for 1e-10 of their squared
    norm), never enter, so that no refit is singular; nor does lam_j = inf. A column costs one product with
    A^H and O(k m); where A is large and in memory most columns cost none, because products are formed for
    32 promising columns in one pass over A. With a matrix-free A a column is one more product, and so
    are the n column norms without closed form.
    Storage: k (m + n) numbers at most. ``nonnegative=True`` refits by nonnegative least squares.

    The method promises no minimum: what it ends with is judged by the best single addition, removal or
    exchange, and the status is EXHAUSTED where one would lower the objective. Complex data and
    ``nonnegative=True`` are judged along single coefficients (L0), or to first order (L0Ball).

    References
    ----------
    Y. C. Pati, R. Rezaiifar, P. S. Krishnaprasad, Asilomar Conf. (1993), doi:10.1109/ACSSC.1993.342465.
    B. Sturm, M. Christensen, EUSIPCO (2012) 220-224 (QR recursions). J. Wang, S. Kwon, B. Shim, IEEE Trans.
    Signal Process. 60 (2012) 6202-6216, doi:10.1109/TSP.2012.2218810 (generalised OMP).

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> A = np.random.default_rng(0).standard_normal((20, 50))
    >>> result = si.solve(A, A[:, 3] - 2 * A[:, 40], si.L0Ball(2), solver=si.OMP())
    >>> result.support, result.status.name
    (array([ 3, 40]), 'CONVERGED')
    """

    atoms_per_step: int = 1
    beam: int = 1
    residual: float = 0.0

    def __post_init__(self) -> None:
        """Check the hyper-parameters."""
        super().__post_init__()
        validation.count(self.atoms_per_step, "atoms_per_step", least=1)
        if self.atoms_per_step > 1 and self.beam > 1:
            raise ValueError("atoms_per_step and beam are above 1; a beam extends by one column at a time")

    def check(self, problem: Problem) -> None:
        """Refuse what has no charge per non-zero coefficient, and signs in a beam."""
        super().check(problem)
        if self.beam > 1 and problem.penalty.nonnegative:
            raise refuse(self, "with beam > 1 does not treat nonnegative=True", "OMP()")

    def _advance(self, problem: Problem, state: GreedyState) -> bool:
        if self.beam > 1:
            return self._widen(problem, state)
        fit = state.fits[0]
        if not self._may_grow(problem, fit):
            return False
        return self._extend(problem, fit, self._scores(fit, state.cost), self.atoms_per_step)

    def _scores(self, fit: Any, cost: Array) -> Array:
        usable, squares = fit.usable(), fit.squares
        if fit.problem.unpenalised.size and isinstance(fit, SupportQR):
            # what free columns explain of a column is no part of it
            squares = fit.problem.reduced_norms**2 + (0.0 if fit.root is None else fit.root**2)
            usable &= squares > 0.0
        return np.where(usable, 0.5 * fit.pull / np.where(usable, squares, 1.0) - cost, -np.inf)


@dataclass(frozen=True, repr=False)
class OLS(_Greedy):
    """Choose columns one by one, each the one that lowers the refitted objective most.

    Minimises ``1/2 ||A x - b||^2`` with at most k non-zeros, or with ``sum_j lam_j [x_j != 0] (+ l2_j
    |x_j|^2 / 2)``, greedily: the next column maximises ``|a_j^H r|^2 / (2 d_j) - lam_j``, where d_j is the
    squared norm of what the support leaves of column j.

    Parameters
    ----------
    backward : bool
        Columns also leave. With L0 the best addition or removal is made until none lowers the objective
        (single best replacement); with L0Ball a column leaves where the objective is then lower than ever
        before with so few columns (floating search).
    beam : int
        Supports that are extended side by side, >= 1; not with ``backward``.
    residual : float
        Also stop once ||A x - b|| <= residual ||b||, in [0, 1).

    Notes
    -----
    One product with A^H and O(k m) per column, as for OMP, and O(n) for the norms; a removal costs the
    same. In noise and among correlated columns the better choice of the two; without noise OMP may be.
    Otherwise as OMP, signs excepted; the result is judged in the same way.

    References
    ----------
    S. Chen, S. A. Billings, W. Luo, Int. J. Control 50 (1989) 1873-1896, doi:10.1080/00207178908953472.
    C. Soussen, J. Idier, D. Brie, J. Duan, IEEE Trans. Signal Process. 59 (2011) 4572-4584,
    doi:10.1109/TSP.2011.2160633 (single best replacement). P. Pudil, J. Novovicova, J. Kittler, Pattern
    Recognit. Lett. 15 (1994) 1119-1125, doi:10.1016/0167-8655(94)90127-9 (floating search).

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> A = np.random.default_rng(0).standard_normal((20, 50))
    >>> result = si.solve(A, A[:, 3] - 2 * A[:, 40], si.L0(0.1), solver=si.OLS(backward=True))
    >>> result.support, result.status.name
    (array([ 3, 40]), 'CONVERGED')
    """

    backward: bool = False
    beam: int = 1
    residual: float = 0.0

    def __post_init__(self) -> None:
        """Check the hyper-parameters."""
        super().__post_init__()
        if not isinstance(self.backward, (bool, np.bool_)):
            raise TypeError(f"backward is {self.backward!r}, but True or False is needed")
        if self.backward and self.beam > 1:
            raise ValueError("backward is True and beam is above 1; choose one of the two")

    def check(self, problem: Problem) -> None:
        """Refuse what has no charge per non-zero coefficient, and signs."""
        super().check(problem)
        if problem.penalty.nonnegative:
            raise refuse(self, "does not treat nonnegative=True", "OMP, IRL1, CoordinateDescent")

    def _advance(self, problem: Problem, state: GreedyState) -> bool:
        if self.beam > 1 or not self.backward:
            return super()._advance(problem, state)
        fit, cost = state.fits[0], state.cost
        scores = self._scores(fit, cost)
        least = _BETTER * problem.scale
        if hasattr(problem.penalty, "k"):
            if fit.k > 1:
                losses = np.where(np.isin(fit.support, problem.unpenalised), np.inf, fit.losses())
                place = int(np.argmin(losses))
                if fit.value + losses[place] < state.lowest.get(fit.k - 1, np.inf) - least:
                    fit.remove(place)
                    state.lowest[fit.k] = fit.value
                    return True
            grew = self._may_grow(problem, fit) and self._extend(problem, fit, scores, 1)
            state.lowest[fit.k] = min(fit.value, state.lowest.get(fit.k, np.inf))
            return grew
        leaving = cost[fit.support] - fit.losses() if fit.k else np.empty(0)
        entering = float(scores.max(initial=-np.inf)) if self._may_grow(problem, fit) else -np.inf
        if leaving.size and leaving.max() > max(entering, least):
            fit.remove(int(np.argmax(leaving)))
            return True
        return entering > least and self._extend(problem, fit, scores, 1)

    def _scores(self, fit: Any, cost: Array) -> Array:
        usable = fit.usable()
        return np.where(usable, 0.5 * fit.pull / np.where(usable, fit.d, 1.0) - cost, -np.inf)

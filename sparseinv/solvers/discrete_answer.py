"""From a vector of large and small coefficients to a sparse answer: threshold, refit, eliminate, polish.

Methods that smooth or reweight a discrete penalty end with many small coefficients in place of zeros. What
they found is turned into candidates for the objective that was asked for, and the best one is descended.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from sparseinv.certificate import Kind
from sparseinv.counted_operator import OutOfTime
from sparseinv.dual_points import solve_symmetric
from sparseinv.problem import Problem
from sparseinv.solvers.base import Outcome, Solver, State
from sparseinv.solvers.least_squares import ConjugateGradients, mean_square
from sparseinv.stopping import Budget

Array = np.ndarray[Any, Any]

_THRESHOLDS = (3e-5, 1e-3, 1e-2, 3e-2, 1e-1, 3e-1)  # relative to the largest coefficient
_CG_STEPS = 40
_LARGEST = 2000  # coefficients fitted by a factorisation
_ELIMINATED = 1000  # coefficients among which the least useful are looked for
_WORK = 1e8  # multiplications after which a step returns
_DOWNDATE = 5.0  # what an entry of a matrix that is changed in memory takes, in multiplications


@dataclass(slots=True, eq=False, kw_only=True)
class SmoothedState(State):
    """Carry what turns the smoothed answer into a sparse one, and the solver that polishes it."""

    polisher: Any = None  # its state; None while the method itself goes on
    given: Array | None = None  # x0: the result must not be worse
    candidates: Any = None  # sparse versions of x that are still to be judged, once the method is over
    best: Candidate | None = None  # the best of those judged

    @property
    def polishing(self) -> bool:
        """Whether the method itself is over."""
        return self.polisher is not None or self.candidates is not None


class Candidate(NamedTuple):
    """A point, its residual and its objective."""

    value: float
    x: Array
    r: Array


@dataclass(frozen=True, repr=False)
class Smoothed(Solver):
    """Share the last phase: descend the objective that was asked for, from a sparse point."""

    polish: Solver | None = dataclasses.field(default=None, kw_only=True)

    local_kind: ClassVar[Kind] = Kind.COORDINATE_MINIMUM
    refit: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.polish is not None and not isinstance(self.polish, Solver):
            raise TypeError(f"polish is {self.polish!r}, but a solver such as CoordinateDescent() is needed")

    def _check_polish(self, problem: Problem) -> None:
        """Refuse what the solver that polishes a nonconvex problem refuses."""
        if self.polish is not None and not problem.penalty.convex:
            self.polish.check(problem)

    def _begin_polish(self, problem: Problem, state: Any, supports: Iterable[Array] = ()) -> None:
        """Go over to the best candidate; ``supports`` are masks worth a try beside the thresholds."""
        state.candidates = sparse_versions(problem, state.x, state.given, supports)
        self._choose(problem, state)

    def _choose(self, problem: Problem, state: Any) -> None:
        """Judge candidates for about a tenth of a second; begin to polish the best once none is left."""
        assert self.polish is not None, "filled in by solvers.auto"
        spent = 0.0
        for x, work in state.candidates:
            if x is not None:
                _offer(problem, state, x)
            spent += work
            if spent > _WORK:
                return
        state.candidates = None
        assert state.best is not None
        _, state.x, state.r = state.best
        state.best = None
        self._follow(state, self.polish.start(problem, state.x), problem)
        state.settled = True

    def _polish_step(self, problem: Problem, state: Any, budget: Budget) -> Outcome:
        assert self.polish is not None
        if state.candidates is not None:
            self._choose(problem, state)
            return Outcome.MOVED
        before = state.polisher.n_iter
        outcome = self.polish.step(problem, state.polisher, budget)
        state.n_iter += max(state.polisher.n_iter - before, 1)
        state.settled = state.polisher.settled
        self._follow(state, state.polisher, problem)
        if problem.penalty.convex or not problem.explicit or outcome is not Outcome.MOVED:
            return outcome
        refitted = refit(problem, state.x)
        r = problem.residual(refitted)
        if problem.objective(refitted, r) < problem.objective(state.x, state.r):
            self._follow(state, self.polish.start(problem, refitted), problem)
            state.dual = None
        return outcome

    def salvage(self, problem: Problem, state: Any) -> bool:
        """Replace a smoothed x by the best sparse version of it that costs little."""
        if state.polisher is not None or not np.isfinite(state.x).all():
            return False
        try:
            for x, _ in sparse_versions(problem, state.x, state.given, hurried=True):
                if x is not None:
                    _offer(problem, state, x)
            if not (problem.penalty.convex or problem.explicit) and state.best is not None:
                _offer(problem, state, refit(problem, state.best.x))
        except OutOfTime:
            pass
        if state.best is None:
            return False
        _, state.x, state.r = state.best
        state.best = state.dual = state.candidates = None
        return True

    @staticmethod
    def _follow(state: Any, polisher: Any, problem: Problem) -> None:
        state.polisher = polisher
        state.x, state.dual = polisher.x, polisher.dual
        state.r = problem.residual(polisher.x) if polisher.r is None else polisher.r


def _offer(problem: Problem, state: Any, x: Array) -> None:
    """Keep a candidate if it is the best so far."""
    r = problem.residual(x)
    value = problem.objective(x, r)
    if state.best is None or value < state.best.value:
        state.best = Candidate(value, x.copy(), r)


def sparse_versions(
    problem: Problem, x: Array, given: Array | None, supports: Iterable[Array] = (), *, hurried: bool = False
) -> Iterator[tuple[Array | None, float]]:
    """Yield thresholded and refitted versions of x, and zero, ``given`` and x itself, with what each cost.

    None in place of a point stands for work that is not done yet. In a hurry ``given`` comes first, then
    versions by rising cost, and fits that would take more than about a tenth of a second, or products with
    a matrix-free A, are left out.
    """
    penalty = problem.penalty
    largest = float(np.abs(x).max(initial=0.0))
    plain = [x, np.zeros_like(x)] if given is None else [x, np.zeros_like(x), given]
    levels = _THRESHOLDS[::-1] if hurried else _THRESHOLDS
    for y in plain[::-1] if hurried else plain:
        yield y, 0.0
    seen = set()
    spent = 0.0
    for mask in [*(np.abs(x) > level * largest for level in levels), *supports]:
        keep = mask | penalty.unpenalised
        if penalty.terms is not None and penalty.terms[5].size:  # whole groups
            keep = penalty.spread(penalty.norms(keep.astype(float)) > 0)
        if keep.tobytes() in seen or not keep.any():
            continue
        seen.add(keep.tobytes())
        trimmed = np.where(keep, x, 0.0)
        yield trimmed, 0.0
        work = float(keep.sum()) ** 2 * (problem.m + keep.sum() / 3.0)
        if penalty.convex or (hurried and (spent + work > _WORK or not problem.explicit)):
            continue
        spent += work
        yield refit(problem, trimmed), work
    if not penalty.convex:
        most = _ELIMINATED
        if hurried:
            left = max(_WORK - spent, 0.0)
            most = min(most, int(np.sqrt(0.5 * left / max(problem.m, 1))), int((0.1 * left) ** (1.0 / 3.0)))
        yield from _elimination(problem, x, most)


def refit(problem: Problem, x: Array) -> Array:
    """Minimise the convex part of the objective over the support of x, signs of l1 terms held fixed.

    x itself where the penalty is no sum of levels of [x_j != 0], |x_j| and |x_j|^2.
    """
    penalty = problem.penalty
    if not hasattr(penalty, "l0"):
        return x
    index = np.flatnonzero(x)
    out = np.zeros_like(x)
    if index.size == 0:
        return out
    l1, l2 = penalty.l1[index], penalty.l2[index]
    phase = np.divide(x[index], np.abs(x[index]))
    if problem.explicit and index.size <= _LARGEST:
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


def eliminate(problem: Problem, x: Array) -> Array:
    """Refit the largest coefficients of x and remove, one at a time, those whose removal pays most.

    Removing i raises the refitted objective by |beta_i|^2 / (2 H_ii) - lam_i with H the inverse of
    A_S^H A_S + diag(l2_S). Unpenalised coefficients stay. x itself where columns are not in memory, where a
    level of |x| or a sign is asked for, and where the columns are dependent.
    """
    for found, _ in _elimination(problem, x, _ELIMINATED):
        if found is not None:
            return found
    return x


def _elimination(problem: Problem, x: Array, most: int) -> Iterator[tuple[Array | None, float]]:
    """Do the work of `eliminate` piece by piece: yield (None, work) on the way and (answer, work) last."""
    penalty = problem.penalty
    size = np.where(penalty.unpenalised, np.inf, np.abs(x))
    most = min(int((size > 0).sum()), problem.m, most)
    if most <= 0 or not _is_eliminable(problem):
        yield x, 0.0
        return
    index = np.argsort(-size, kind="stable")[:most]
    columns = problem.operator.columns(index)
    gram = columns.conj().T @ columns + np.diag(penalty.l2[index])
    scale = np.sqrt(np.diag(gram).real)
    H = _inverse(gram / np.outer(scale, scale)) if scale.all() else None
    if H is None:
        yield x, 0.0
        return
    H /= np.outer(scale, scale)
    yield None, float(most) ** 2 * (problem.m + most)
    beta = H @ (columns.conj().T @ problem.b)
    charge = penalty.l0[index].copy()
    left = np.ones(most, dtype=bool)
    while left.any():
        worth = np.divide(np.abs(beta) ** 2, 2.0 * np.diag(H).real, out=np.full(most, np.inf), where=left)
        gain = np.where(left, charge - worth, -np.inf)
        i = int(np.argmax(gain))
        if not gain[i] > 0.0:
            break
        row = H[:, i] / H[i, i]
        beta = beta - row * beta[i]
        H -= np.outer(row, H[i])
        left[i] = False
        beta[i], H[i], H[:, i] = 0.0, 0.0, 0.0
        yield None, _DOWNDATE * float(most) ** 2
    out = np.zeros_like(x)
    out[index[left]] = beta[left]
    yield refit(problem, out), float(left.sum()) ** 2 * problem.m


def _is_eliminable(problem: Problem) -> bool:
    penalty = problem.penalty
    if not (problem.explicit and hasattr(penalty, "l0")) or penalty.nonnegative:
        return False
    return not bool((penalty.l1[~penalty.excluded] > 0).any())


def _inverse(gram: Array) -> Array | None:
    """Return the inverse of a matrix of unit diagonal; None where it is too nearly singular."""
    from scipy.linalg import LinAlgError, cho_factor, cho_solve

    try:
        factor = cho_factor(gram, lower=True, check_finite=False)
    except LinAlgError:
        return None
    if not np.abs(np.diag(factor[0])).min() > 1e-6:
        return None
    return np.asarray(cho_solve(factor, np.eye(gram.shape[0], dtype=gram.dtype), check_finite=False))

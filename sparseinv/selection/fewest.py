"""The fewest non-zero coefficients with which the residual norm stays within a target."""

from __future__ import annotations

import dataclasses
import math
import time
from typing import Any

import numpy as np

from sparseinv.driver import Run
from sparseinv.nonnegative import nonnegative_fit
from sparseinv.penalties.balls import Ball
from sparseinv.penalties.separable import Separable
from sparseinv.problem import Problem, squared
from sparseinv.result import Result, Selection, Status
from sparseinv.selection.ball_path import SupportPath
from sparseinv.solvers.local_search import LocalSearch
from sparseinv.stopping import Progress, Stopping

Array = np.ndarray[Any, Any]

_ROUNDING = 1e-9  # of the target, by which a residual may exceed it
_ENTRIES = 1 << 26  # of A up to which a target is proved to be out of reach by least squares
_FLOOR = 1e-13  # of ||b||: a residual below it is zero


def fewest_nonzeros(
    problem: Problem,
    residual_norm: float,
    *,
    solver: LocalSearch | None = None,
    stopping: Stopping | None = None,
    single: bool = False,
    began: float | None = None,
) -> Result:
    """Minimise the number of non-zeros of x subject to ||A x - b|| <= residual_norm.

    Parameters
    ----------
    problem : Problem
        Bound with an L0 penalty: coefficients with lam_i = 0 are free and not counted, those with lam_i = inf
        stay zero, all others count once and must have one level. Without l1 and l2; x >= 0 if it says so.
    residual_norm : float
        The target, user's units, >= 0.
    solver : LocalSearch, optional
        The search that tries to do with one column less.
    stopping : Stopping, optional
        tol of the certificate, iterations per search, seconds for everything.
    single : bool
        Return x in single precision.
    began : float, optional
        Reading of ``time.perf_counter()`` from which seconds count.

    Returns
    -------
    Result
        Of the ball with k non-zeros, k the fewest found. Its certificate says that no exchange lowers
        ||A x - b|| at this k; that fewer do not suffice is not proved, ``detail`` says what was tried.
        Where the target is not met, with the x of least residual found: UNREACHABLE if least squares on all
        columns miss it by more than rounding, PRECISION_FLOOR if they do not or are too large: residuals
        below about 1e-6 ||b|| are beyond what the search resolves once the support is large.

    Raises
    ------
    ValueError
        For levels that differ, l1, l2, or a target that is negative or not finite.

    Notes
    -----
    The support grows until the target is met, exchanges at every size; then passes down and up (see
    `SupportPath`), then a full local search with one column less, as long as it meets the target.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> from sparseinv.operators.adapt import system
    >>> from sparseinv.problem import Problem
    >>> A = np.random.default_rng(0).standard_normal((20, 50))
    >>> problem = Problem(*system(A, A[:, 3] - 2 * A[:, 40]), si.L0(1.0))
    >>> fewest_nonzeros(problem, 0.1).support
    array([ 3, 40])
    """
    began = time.perf_counter() if began is None else began
    stopping = stopping or Stopping()
    ball = counting_ball(problem)
    if not (math.isfinite(residual_norm) and residual_norm >= 0.0):
        raise ValueError(f"residual_norm is {residual_norm}, but a finite number >= 0 is needed")
    goal = _Goal(problem.with_penalty(ball), residual_norm, stopping, began)
    problem.operator.deadline = goal.deadline
    least = goal.problem.scale
    supports = SupportPath(goal.problem, goal.ended)
    supports.rise(lambda k: goal.met(supports, k))
    while goal.k is not None and goal.k > 0 and not goal.ended():
        before = goal.k
        supports.fall()
        supports.rise(lambda k: goal.met(supports, k))
        if goal.k == before and not goal.searched(supports, solver or LocalSearch()):
            break
    k = len(supports.values) - 1 if goal.k is None else goal.k
    result = goal.result(supports, k, single)
    least = supports.values[k - 1] - supports.values[k] if k > 0 else least
    selection = Selection(
        lam=problem.units.objective(max(least, 0.0)), sigma=None, lams=np.empty(0), criterion=np.empty(0),
        rule=f"fewest non-zeros with ||A x - b|| <= {residual_norm:.6g}",
        n_products=problem.operator.products.total,
    )  # fmt: skip
    return dataclasses.replace(result, selection=selection)


def counting_ball(problem: Problem) -> Ball:
    """Return the ball that counts the non-zeros which an L0 penalty charges; refuse other penalties."""
    penalty = problem.penalty
    if not isinstance(penalty, Separable) or penalty.convex:
        raise ValueError("the fewest non-zeros within a residual need the penalty L0()")
    free = ~penalty.excluded
    if (penalty.l1[free] > 0).any() or (penalty.l2[free] > 0).any():
        raise ValueError("l1 and l2 of L0 have no meaning where non-zeros are counted; leave them out")
    levels = penalty.l0[free & (penalty.l0 > 0)]
    if levels.max() > levels.min():
        raise ValueError(
            "lam and weights differ between coefficients, but non-zeros are counted: use 0 for free, inf for "
            "excluded and one number for all others"
        )
    weights = np.where(penalty.excluded, np.inf, np.where(penalty.l0 > 0, 1.0, 0.0))
    return Ball(problem.n, problem.n, weights, penalty.nonnegative)


class _Goal:
    """Hold the target and the smallest number of non-zeros that meets it so far."""

    def __init__(self, problem: Problem, residual_norm: float, stopping: Stopping, began: float) -> None:
        self.problem, self.stopping, self.began = problem, stopping, began
        self.deadline = began + stopping.max_time
        self.outer = residual_norm
        size = math.sqrt(2.0 * problem.scale)
        target = math.ldexp(residual_norm, -problem.units.b_exponent)
        self.target = max(target * (1.0 + _ROUNDING), _FLOOR * size)
        self.k: int | None = None
        self.tried = ""

    def ended(self) -> bool:
        return time.perf_counter() >= self.deadline

    def met(self, supports: SupportPath, k: int) -> bool:
        """Tell whether k columns meet the target; remember the smallest k that does."""
        close = supports.values[k] <= 0.5 * self.target**2 + 1e-12 * self.problem.scale
        if not close:
            return False
        moves = supports.moves
        x = moves.refined(moves.x)
        if math.sqrt(squared(self.problem.residual(x))) > self.target:
            return False
        if self.k is None or k < self.k:
            self.k = k
        return True

    def searched(self, supports: SupportPath, solver: LocalSearch) -> bool:
        """Search for one column less; tell whether that meets the target, and keep the support."""
        assert self.k is not None
        k = self.k - 1
        units, bound = self.problem.units, units_value(self.problem, self.target)

        def enough(progress: Progress) -> None:
            if progress.objective <= bound:
                raise StopIteration

        x = supports.x(k)
        assert x is not None
        drive = self._run(k, solver, units.solution(x))
        result = drive.finish(callback=enough)
        support = np.flatnonzero(result.x)
        supports.moves.limit = k
        supports.moves.restart(support)
        value = supports.moves.value
        self.tried = (
            f"With {k} non-zeros the least residual norm found is {math.sqrt(2 * result.objective):.6g}."
        )
        if value < supports.values[k]:
            supports.values[k], supports.supports[k] = value, support
        return self.met(supports, k)

    def result(self, supports: SupportPath, k: int, single: bool) -> Result:
        """Return the result for k, certified; UNREACHABLE where it misses the target."""
        x = supports.x(k)
        start = None if x is None else self.problem.units.solution(x)
        hurried = self.ended()
        result = self._run(k, LocalSearch(restarts=0), start).finish(single=single)
        reached = math.sqrt(2.0 * result.objective)
        # judged at the x that is returned: rounding to single precision may have moved it off the target,
        # and among nearly dependent columns the last search may have met what the sums of moves did not see
        meets = result.objective <= units_value(self.problem, self.target)
        if meets:
            status, detail = result.status, f"||A x - b|| = {reached:.6g}. {self.tried}".strip()
        else:
            proven = self.k is None and not hurried and self._least() > self.target
            status = Status.MAX_TIME if hurried and self.k is None else Status.PRECISION_FLOOR
            status = Status.UNREACHABLE if proven else status
            detail = f"The least residual norm found is {reached:.6g}, the target {self.outer:.6g}."
        return dataclasses.replace(result, status=status, detail=f"{detail} {result.detail}".strip())

    def _least(self) -> float:
        """Return what least squares on all columns surely leave of b, 0 where that would take too long."""
        problem, penalty = self.problem, self.problem.penalty
        index = np.flatnonzero(~penalty.excluded & (problem.column_norms > 0))
        if problem.m * index.size > _ENTRIES:
            return 0.0
        columns = problem.operator.columns(index) / problem.column_norms[index]
        if penalty.nonnegative:
            x = nonnegative_fit(columns, problem.b)
        else:
            x = np.linalg.lstsq(columns, problem.b, rcond=None)[0]
        # coefficients of nearly dependent columns are so large that what is left may be their rounding alone
        size = float(np.abs(x).sum()) + math.sqrt(2.0 * problem.scale)
        rounding = np.finfo(np.float64).eps * sum(columns.shape) * size
        return max(math.sqrt(squared(columns @ x - problem.b)) - rounding, 0.0)

    def _run(self, k: int, solver: LocalSearch, x0: Array | None) -> Run:
        at = self.problem.with_penalty(dataclasses.replace(self.problem.penalty, k=k))
        left = max(self.deadline - time.perf_counter(), 0.0)
        stopping = Stopping(self.stopping.tol, self.stopping.max_iter, left)
        return Run(at, solver, x0, stopping)


def units_value(problem: Problem, norm: float) -> float:
    """Return 1/2 norm^2 in the user's units for a residual norm in working units."""
    return problem.units.objective(0.5 * norm**2)

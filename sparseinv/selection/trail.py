"""One stored path that several rules read, solved as far as they read it."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sparseinv.counted_operator import OperatorFailure, Products
from sparseinv.driver import Run
from sparseinv.problem import Problem, squared
from sparseinv.result import Interrupted, Path, Result, Selection, Status
from sparseinv.selection.curvature import moving
from sparseinv.selection.defaults import at_level
from sparseinv.selection.freedom import Freedom, Hat
from sparseinv.selection.path import Follower, _misfit, factored, goes_on
from sparseinv.selection.selector import Selector, Task
from sparseinv.selection.theory import level_of_zero
from sparseinv.solvers.base import Solver
from sparseinv.stopping import Stopping

Array = np.ndarray[Any, Any]

_SHARPNESS = 1e-6  # of the misfit at the level before: what a criterion needs to tell levels apart
_SATURATED = 0.9  # share of the rows from which on degrees of freedom leave nothing to judge by
_EQUAL = 1e-13  # of the largest criterion: a difference that says nothing
_FURTHER, _LOWEST = 25, 1e-4  # levels added at a time below an automatic grid, and how far down


@dataclass(frozen=True)
class Level:
    """Hold what rules read at one level.

    Attributes
    ----------
    lam : float
        The level, in the user's units; a factor where the penalty has a lam of its own.
    result : Result
        The solution.
    x, r : ndarray
        The solution and A x - b in working units.
    """

    lam: float
    result: Result
    x: Array
    r: Array

    @cached_property
    def rss(self) -> float:
        """||A x - b||^2 in working units."""
        return squared(self.r)

    @cached_property
    def n_nonzero(self) -> int:
        """Number of non-zero coefficients."""
        return int(np.count_nonzero(self.x))


class Trail:
    """Solve at falling levels, each from the one before, when they are first asked for.

    Parameters
    ----------
    task : Task
        What to solve, and with what limits.
    problem : Problem, optional
        Other data with the same penalty; those of the task if None.
    sharpness : float
        A solution may miss its optimum by this times the misfit at the level before; at the default
        the tolerance of the task must be met as well.
    """

    def __init__(self, task: Task, problem: Problem | None = None, sharpness: float = _SHARPNESS) -> None:
        self.task, self.sharpness = task, sharpness
        self.problem = task.problem if problem is None else problem
        self.lams = task.lams
        self.began = time.perf_counter()
        self.seconds = 0.0
        self.late = False
        self._levels: list[Level] = []
        self._state: Any = None
        self._method: Solver | None = None
        self._at, self._relative = self.problem, 1e-3
        self._freedom = Freedom(self.problem)
        self._dfs: dict[float, float] = {}
        #: what rules keep here so that another rule need not compute it again
        self.kept: dict[Any, Any] = {}

    @property
    def solved(self) -> list[Level]:
        """The levels solved so far."""
        return list(self._levels)

    @property
    def n_solved(self) -> int:
        """Levels solved so far."""
        return len(self._levels)

    def __iter__(self) -> Iterator[Level]:
        k = 0
        while (level := self.level(k)) is not None:
            yield level
            k += 1

    def level(self, k: int) -> Level | None:
        """Return level k, solving for all down to it; None beyond the last one or after the deadline."""
        while len(self._levels) <= k:
            if len(self._levels) >= self.lams.size:
                return None
            if self._levels and time.perf_counter() >= self.task.deadline:
                self.late = True
                return None
            start = time.perf_counter()
            found = self._solve(float(self.lams[len(self._levels)]))
            self.seconds += time.perf_counter() - start
            if found.result.status is Status.MAX_TIME and self._levels:
                self.late = True
                return None
            self._levels.append(found)
        return self._levels[k]

    def at(self, lam: float) -> Level:
        """Return the solution at any level; the nearest one solved is where it starts."""
        for level in self._levels:
            if level.lam == lam:
                return level
        if ("at", lam) not in self.kept:
            state = (self._state, self._method, self._at, self._relative)
            self._state = None
            before = self._levels[:]
            if before:
                near = int(np.argmin([abs(math.log(max(v.lam, 1e-300) / max(lam, 1e-300))) for v in before]))
                self._levels = before[: near + 1]
            try:
                self.kept["at", lam] = self._solve(lam)
            finally:
                self._levels = before
                self._state, self._method, self._at, self._relative = state
        found: Level = self.kept["at", lam]
        return found

    def at_level(self, lam: float) -> Problem:
        """Return the problem at a level."""
        return at_level(self.problem, self.task.penalty, factored(self.task.penalty.lam, lam))

    def df(self, level: Level) -> float:
        """Return the degrees of freedom at a level."""
        if level.lam not in self._dfs:
            self._dfs[level.lam] = self._freedom.df(self.at_level(level.lam), level.x)
        return self._dfs[level.lam]

    def hat(self, level: Level) -> Hat:
        """Return the derivative of the fitted data at a level."""
        return self._freedom.hat(self.at_level(level.lam), level.x)

    def moving(self, level: Level) -> Array:
        """Return the coefficients that follow small changes of the data at a level."""
        return moving(self.at_level(level.lam), level.x)

    def refit(self, support: Array, level: Level) -> tuple[float, float]:
        """Return (rank, ||r||^2 in working units) of the least-squares fit on a support.

        Where the columns are too many to be written down: the number of coefficients, and what conjugate
        gradients started at the level's x leave.
        """
        return self._freedom.refit(support, level.x, level.r)

    def unsaturated(self) -> Iterator[tuple[Level, float]]:
        """Yield levels with their degrees of freedom until those reach nine tenths of the rows."""
        for level in self:
            df = self.df(level)
            if df >= _SATURATED * self.problem.m and level is not self._levels[0]:
                return
            yield level, df

    @cached_property
    def constant(self) -> bool:
        """Whether x cannot depend on the level."""
        problem, bound = self.problem, self.problem.penalty
        if problem.n == 0 or problem.scale == 0.0:
            return True
        mask = getattr(bound, "unpenalised", None)
        return mask is not None and bool((mask | bound.excluded).all())

    @cached_property
    def top(self) -> float:
        """Smallest level with x = 0; inf for L2."""
        return level_of_zero(self.at_level(1.0)) if self.problem.scale > 0.0 and self.problem.n else 0.0

    def extend(self) -> bool:
        """Go further down where the levels were not the caller's; False where that is no option."""
        if not self.task.open_ended or self.late or self.lams.size < 2 or not self.lams[-1] > 0.0:
            return False
        step = self.lams[-1] / self.lams[-2]
        if not step < 1.0 or self.lams[-1] <= _LOWEST * self.lams[0]:
            return False
        self.lams = np.append(self.lams, self.lams[-1] * step ** np.arange(1, _FURTHER + 1))
        return True

    def path(self) -> Path:
        """Return the path over all levels, completed by the last x where time ran out."""
        for _ in self:
            pass
        task = self.task
        results = [level.result for level in self._levels]
        if len(results) < self.lams.size:
            follower = Follower(task.method, Stopping(task.tol), task.max_iter)
            results += follower._rest(
                self._at, task.penalty, self.lams, results, Status.MAX_TIME, self._method
            )
        return Path(results, self.lams)

    def _solve(self, lam: float) -> Level:
        task = self.task
        own = factored(task.penalty.lam, lam)
        self._at = at = at_level(self._at, task.penalty, own)
        following, reason = task.method(at)
        state = self._state if following == self._method else None
        self._method = following
        x0 = self._levels[-1].result.x.astype(at.dtype) if self._levels else None
        tol = self.sharpness * self._relative
        tol = min(task.tol, tol) if self.sharpness <= _SHARPNESS else tol
        limit = following.default_max_iter if task.max_iter is None else task.max_iter
        left = max(task.deadline - time.perf_counter(), 0.0)
        operator = at.operator
        before, operator.products = operator.products, Products()
        try:
            drive = Run(at, following, x0, Stopping(tol, limit, left), state=state)
            result = drive.finish(lam=own, reason=reason)
        except Interrupted:
            raise KeyboardInterrupt from None
        finally:
            spent, operator.products = operator.products, before
            operator.phase, operator.deadline = "setup", math.inf
            operator.charge(spent.forward, spent.adjoint)
            operator.products.columns += spent.columns
        if result.status is Status.NUMERICAL_FAILURE:
            raise OperatorFailure(result.detail)
        if not result.success and result.certificate.relative <= task.tol:
            result = dataclasses.replace(result, status=Status.CONVERGED, tol=task.tol, detail="")
        self._state = drive.state if goes_on(drive, result) else None
        self._relative = _misfit(at, result)
        x = np.ascontiguousarray(at.units.working(result.x), dtype=at.dtype)
        return Level(lam, result, x, at.residual(x))


@dataclass(frozen=True)
class Reading:
    """What a rule read from a trail.

    Attributes
    ----------
    lam : float
        The level chosen.
    rule : str
        The rule in words.
    criterion : ndarray
        Its value at the first levels of the trail, in the user's units.
    at_edge, too_short : bool
        Whether another range of levels could do better, and whether that is one further down.
    sigma, standard_error, probabilities
        As in `Selection`.
    """

    lam: float
    rule: str
    criterion: Array
    at_edge: bool = False
    too_short: bool = False
    sigma: float | None = None
    standard_error: Array | None = None
    probabilities: Array | None = None


class PathRule(Selector):
    """Describe a rule that reads one stored path; `compare_selectors` shares it between several."""

    ridge_levels = True
    stores_path = True

    def new_trail(self, task: Task) -> Trail:
        """Return an unread path for a task."""
        return Trail(task)

    def read(self, trail: Trail) -> Reading:
        """Return the choice; levels of the trail are solved as they are asked for."""
        raise TypeError(f"{type(self).__name__} must define read(trail)")

    def choose(self, task: Task) -> Selection:
        """Return the level chosen for a task."""
        trail = Trail(task) if task.trail is None else task.trail
        before = task.problem.operator.products.total
        if trail.constant:
            rule = "x is the same for every lam (b is zero, A is empty or nothing has a finite level > 0)"
            first = float(trail.lams[0])
            nothing = np.zeros(0)
            return Selection(first, rule, None, nothing, nothing, result=trail.at(first).result)
        reading = self.read(trail)
        while reading.too_short and trail.extend():
            reading = self.read(trail)
        # below the level of x = 0 the first level leaves larger ones untried
        first = reading.lam == trail.lams[0] and reading.lam < trail.top * (1.0 - 1e-9)
        at_edge = reading.at_edge or bool(first)
        spent = task.problem.operator.products.total - before
        rule = reading.rule
        if at_edge:
            rule += f", at the edge of the {reading.criterion.size} levels read"
        if trail.late:
            rule += f"; time for {trail.n_solved} of {trail.lams.size} levels only"
        return Selection(
            lam=reading.lam, rule=rule, sigma=reading.sigma, lams=trail.lams[: reading.criterion.size],
            criterion=reading.criterion, n_products=spent, standard_error=reading.standard_error,
            at_edge=at_edge, result=trail.at(reading.lam).result, probabilities=reading.probabilities,
        )  # fmt: skip


def least(trail: Trail, criterion: Array, rule: str, **more: Any) -> Reading:
    """Choose the largest level with the least criterion."""
    values = np.where(np.isfinite(criterion), criterion, np.inf)
    if values.size == 0 or not np.isfinite(values).any():
        # nothing to judge by: the sparsest solution, said to be at the edge
        first = trail.level(0)
        assert first is not None
        return Reading(first.lam, rule + " (no level could be judged)", criterion, True, **more)
    finite = values[np.isfinite(values)]
    # levels of one solution differ by rounding
    best = int(np.argmax(values <= finite.min() + _EQUAL * np.abs(finite).max()))
    ended = best == trail.lams.size - 1
    at_edge = best in (0, values.size - 1)
    return Reading(float(trail.lams[best]), rule, criterion, at_edge, ended, **more)

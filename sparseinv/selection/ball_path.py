"""Solutions with 0, 1, 2, ... non-zero coefficients from one run, each polished from its neighbours."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from sparseinv.counted_operator import OperatorFailure, OutOfTime, Products
from sparseinv.penalties.balls import Ball
from sparseinv.problem import Problem
from sparseinv.result import Interrupted, Path, Result, Status
from sparseinv.selection.path import Follower, seen
from sparseinv.signed_moves import moves_of
from sparseinv.solvers.local_search import LocalSearch
from sparseinv.stopping import PathBar
from sparseinv.support_moves import ROUNDING

Array = np.ndarray[Any, Any]

_ROUNDS = 4  # passes down and up again, at most


class SupportPath:
    """Hold the best support found for every number of non-zeros.

    ``values[k]`` is 1/2 ||A x - b||^2 in working units with at most k non-zeros among the coefficients that
    count, ``supports[k]`` where they are. A pass up adds the best column to the support for k - 1 and makes
    the best exchanges; a pass down removes the column that matters least from the support for k + 1 and does
    the same. Each keeps what is better. The cost of a pass is that of about 2 k moves.
    """

    def __init__(self, problem: Problem, ended: Callable[[], bool] = lambda: False) -> None:
        self.moves, self.ended = moves_of(problem), ended
        self.most: int = min(problem.penalty.k, problem.n)
        self.gap = ROUNDING * self.moves.scale
        self.values: list[float] = []
        self.supports: list[Array] = []

    def rise(self, until: Callable[[int], bool] = lambda k: False) -> bool:
        """Pass from k = 0 up to the last k, or the first for which ``until`` holds; tell what changed."""
        moves, changed = self.moves, False
        moves.limit = 0
        moves.restart(np.empty(0, dtype=np.int64))
        for k in range(self.most + 1):
            moves.limit = k
            if not self._descend():
                break
            changed |= self._keep(k)
            if until(k):
                break
        return changed

    def fall(self) -> bool:
        """Pass from the last k down to 0; tell whether anything changed."""
        moves, changed = self.moves, False
        top = len(self.values) - 1
        moves.limit = max(top, 0)
        moves.restart(self.supports[top])
        for k in range(top - 1, -1, -1):
            moves.limit = k
            moves.trim()
            if not self._descend():
                break
            changed |= self._keep(k)
        return changed

    def improve(self) -> None:
        """Pass up and down until no support gets better."""
        self.rise()
        for _ in range(_ROUNDS):
            if self.ended() or not (self.fall() and self.rise()):
                break

    def x(self, k: int) -> Array | None:
        """Return the coefficients for k, or those for the largest number below that was reached."""
        if not self.values:
            return None
        k = min(k, len(self.values) - 1)
        self.moves.limit = k
        self.moves.restart(self.supports[k])
        return self.moves.x

    def _descend(self) -> bool:
        while not self.moves.descend(1):
            if self.ended():
                return False
        return True

    def _keep(self, k: int) -> bool:
        """Keep the support of the moves if it is the best for k; otherwise let them go on from the best."""
        moves, value = self.moves, self.moves.value
        if k == len(self.values):
            self.values.append(value)
            self.supports.append(moves.support.copy())
            return True
        if value < self.values[k] - self.gap:
            self.values[k], self.supports[k] = value, moves.support.copy()
            return True
        if value > self.values[k] + self.gap:
            moves.restart(self.supports[k])
        return False


def follow_balls(follower: Follower, problem: Problem, began: float) -> Path:
    """Solve with at most 0, 1, ..., k non-zeros; see `sparseinv.solve_path`."""
    ball: Ball = problem.penalty
    ks = np.arange(min(ball.k, problem.n) + 1)
    deadline = began + follower.stopping.max_time
    supports = SupportPath(problem, lambda: time.perf_counter() >= deadline)
    results: list[Result] = []
    bar = PathBar(follower.stopping.tol) if follower.progress else None
    ended: Status | None = None
    try:
        if isinstance(follower.method(problem)[0], LocalSearch):
            problem.operator.deadline = deadline
            _improve(supports)
        for k in ks:
            results.append(_solved(follower, problem, supports, int(k), results, began))
            progress = seen(results[-1], float(k), len(results), ks.size)
            if bar is not None:
                bar.update(progress)
            if follower.callback is not None:
                follower.callback(progress)
    except StopIteration:
        ended = Status.STOPPED_BY_CALLBACK
    except KeyboardInterrupt as stop:
        ended = Status.INTERRUPTED
        if isinstance(stop, Interrupted):
            results.append(stop.result)
            problem.operator.products = Products()
    finally:
        if bar is not None:
            bar.close()
    if ended is not None:
        hurried = dataclasses.replace(
            follower, stopping=dataclasses.replace(follower.stopping, max_time=0.0), max_iter=None
        )
        for k in ks[len(results) :]:
            rest = _solved(hurried, problem, supports, int(k), results, began)
            results.append(rest if rest.success else dataclasses.replace(rest, status=ended))
    path = Path(results, ks)
    if ended is Status.INTERRUPTED:
        reached = next((r for r in results if r.status is Status.INTERRUPTED), results[-1])
        raise Interrupted(reached, path) from None
    return path


def _improve(supports: SupportPath) -> None:
    # what fails here fails again in the runs that follow, which say so in their status
    with contextlib.suppress(OperatorFailure, OutOfTime):
        supports.improve()


def _solved(
    follower: Follower, problem: Problem, supports: SupportPath, k: int, results: list[Result], began: float
) -> Result:
    """Run the solver for k from the support that is known for it."""
    at = problem.with_penalty(dataclasses.replace(problem.penalty, k=k))
    at.operator.deadline = math.inf
    method, reason = follower.method(at)
    if reason and isinstance(method, LocalSearch):
        method = dataclasses.replace(method, restarts=0)
    x = supports.x(k)
    x0 = None if x is None else problem.units.solution(x)
    if x0 is None and results:
        x0 = results[-1].x.astype(problem.dtype)
    drive = follower.run(at, method, x0, began)
    result = drive.finish(callback=follower.watch, reason=reason, single=follower.single)
    at.operator.products = Products()
    return result

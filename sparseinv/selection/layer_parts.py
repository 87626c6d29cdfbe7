"""Criteria for many lambdas at once: their values, and their gradients through the solutions."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from sparseinv.counted_operator import CountedOperator, OperatorFailure
from sparseinv.operators.matrix import ldexp
from sparseinv.penalties.base import Leveled
from sparseinv.penalties.separable import L1
from sparseinv.problem import Problem
from sparseinv.result import Interrupted, Path, Result, Status
from sparseinv.selection.cross_validation import _fold_problem, _rows
from sparseinv.selection.defaults import at_level, choose_lam
from sparseinv.selection.fold_gram import FoldGrams, pays
from sparseinv.selection.hypergradient import ActiveSystem
from sparseinv.selection.layer_levels import Layers
from sparseinv.selection.path import Follower, _misfit, goes_on
from sparseinv.selection.selector import Selector, Task
from sparseinv.stopping import Stopping
from sparseinv.threads import available_cores, single_threaded_blas

Array = np.ndarray[Any, Any]

_GRID_TOL = 1e-4  # of the misfit, on the path of the single lambda
_PROBES = 3  # of Stein's estimate: the search follows the noise of a single one


class Part:
    """Solve for many lambdas, one after the other, on one set of rows, and predict others.

    Parameters
    ----------
    problem : Problem
        The rows that are solved on.
    seen : CountedOperator
        The rows that are predicted, in the user's units.
    exponent : int
        Predictions are divided by 2 to this.
    """

    def __init__(self, problem: Problem, seen: CountedOperator, exponent: int) -> None:
        self.problem, self.seen, self.exponent = problem, seen, exponent
        self.at = problem
        self.x: Array | None = None
        self.result: Result | None = None
        self.missed = 0
        self._state: Any = None
        self._method: Any = None
        self._misfit = 1.0

    def path(self, follower: Follower, penalty: Leveled, lams: Array) -> tuple[Path, Array]:
        """Return the solutions for levels of all layers together, and their predictions."""
        path = follower.follow(self.problem, penalty, lams, time.perf_counter())
        _refuse_failure(path.results)
        self.missed += sum(not result.success for result in path)
        return path, ldexp(self.seen.matmat(path.X), -self.exponent)

    def begin(self, x: Array) -> None:
        """Let the next solution start from x."""
        self.x, self._state, self._method = x, None, None

    def solve(self, layers: Layers, logs: Array, follower: Follower) -> Array:
        """Return the prediction of the solution for the lambdas, started from the last one."""
        self.at = layers.at(self.problem, logs)
        method, _ = follower.method(self.at)
        state = self._state if method == self._method else None
        drive = follower.run(self.at, method, self.x, time.perf_counter(), state, self._misfit)
        result = drive.finish(callback=follower.watch, lam=None)
        _refuse_failure([result])
        self.missed += not result.success
        self.x, self.result, self._method = result.x, result, method
        self._state = drive.state if goes_on(drive, result) else None
        self._misfit = _misfit(self.at, result)
        return ldexp(self.seen.matvec(result.x), -self.exponent)

    def working(self) -> Array:
        """Return the last solution in working units."""
        assert self.x is not None
        return self.at.units.working(self.x)

    def system(self) -> tuple[ActiveSystem, int]:
        """Return the conditions at the last solution, and the power of two of its predictions."""
        units = self.at.units
        return ActiveSystem(self.at, self.working()), units.b_exponent - units.a_exponent - self.exponent

    def gradient(self, layers: Layers, slope: Array) -> Array:
        """Return dC/dlog lam of every layer, for slope = dC/dprediction."""
        system, unit = self.system()
        back = ldexp(self.seen.rmatvec(slope), unit)[system.index]
        back = back if self.at.dtype.kind == "c" else back.real
        return layers.per_layer(system.gradient(back), system.index)

    def motion(self, layers: Layers, share: Array) -> Array:
        """Return dprediction/da, shape (rows, q), for logs that move by share a."""
        system, unit = self.system()
        moved = np.zeros((self.at.n, share.shape[1]), dtype=self.at.dtype)
        moved[system.index] = system.motion(share[layers.index[system.index]])
        return ldexp(self.seen.matmat(moved), unit)


class Grade(NamedTuple):
    """What a criterion says of predictions: its value, and derivatives with respect to them."""

    value: float
    slopes: list[Array]
    per_row: list[Array]  # contributions of every row and part, whose sum is the value


class HeldOutError:
    """Grade predictions of held-out rows by their mean squared error."""

    def __init__(self, targets: list[Array], parts: int) -> None:
        self.targets = targets
        self.count = sum(target.size for target in targets)
        self.words = f"{parts}-fold cross-validation" if parts > 1 else f"error of {self.count} rows held out"

    def grade(self, predictions: list[Array]) -> Grade:
        """Return the grade."""
        errors = [p - target for p, target in zip(predictions, self.targets, strict=True)]
        rows = [np.abs(error) ** 2 / self.count for error in errors]
        return Grade(sum(float(r.sum()) for r in rows), [2.0 * e / self.count for e in errors], rows)


class UnbiasedRisk:
    """Grade predictions of all rows, from b and from b + eps d_k, by Stein's estimate over m, plus sigma^2.

    The degrees of freedom are the mean over k of <d_k, A x(b + eps d_k) - A x(b)> / eps.
    """

    def __init__(self, b: Array, probes: list[Array], eps: float, sigma: float) -> None:
        self.b, self.count = b, b.size
        # per degree of freedom; complex: sigma^2 = E|e|^2, real degrees, d of unit variance in each part
        self.price = (1.0 if b.dtype.kind == "c" else 2.0) * sigma**2
        self.slopes = [self.price / eps / len(probes) / self.count * d for d in probes]
        self.words = f"Stein's unbiased risk estimate with {len(probes)} probes"

    def grade(self, predictions: list[Array]) -> Grade:
        """Return the grade."""
        r = predictions[0] - self.b
        rows = np.abs(r) ** 2 / self.count
        for slope, moved in zip(self.slopes, predictions[1:], strict=True):
            rows = rows + (np.conj(slope) * (moved - predictions[0])).real
        first = 2.0 * r / self.count - np.sum(self.slopes, axis=0)
        return Grade(float(rows.sum()), [first, *self.slopes], [rows])


class Criterion:
    """Evaluate a criterion and its gradient over all parts, several at a time."""

    def __init__(self, parts: list[Part], judge: HeldOutError | UnbiasedRisk, task: Task) -> None:
        self.parts, self.judge, self.task = parts, judge, task
        self.threads = min(available_cores() if task.n_threads is None else task.n_threads, len(parts))
        self._stop = threading.Event()
        self.n_evaluations = 0

    def each(self, work: Callable[[int], Any]) -> list[Any]:
        """Return work(k) for every part; Ctrl-C ends all of them."""
        try:
            with single_threaded_blas():
                if self.threads <= 1:
                    return [work(k) for k in range(len(self.parts))]
                with ThreadPoolExecutor(self.threads) as pool:
                    jobs = [pool.submit(work, k) for k in range(len(self.parts))]
                    try:
                        return [job.result() for job in jobs]
                    except BaseException:
                        self._stop.set()
                        for job in jobs:
                            job.cancel()
                        raise
        except Interrupted:
            raise KeyboardInterrupt from None  # what a fold has is of no use to anybody

    def follower(self, loose: float, shares: int = 1) -> Follower:
        """Return how a part is solved, with a share of what is left of the time."""
        left = max(self.task.deadline - time.perf_counter(), 0.0) / shares
        return Follower(
            self.task.method, Stopping(0.0, max_time=left), self.task.max_iter, callback=self._watch,
            watch=self._watch, loose=loose,
        )  # fmt: skip

    def _watch(self, _: Any) -> None:
        if self._stop.is_set():
            raise StopIteration

    def grid(self, penalty: Leveled, lams: Array) -> tuple[Array, list[Grade], list[Array]]:
        """Return (values, grades, solutions per part) for levels that all layers share."""

        def path(k: int) -> tuple[Path, Array]:
            # the rest is for the parts to come and for what follows
            shares = 1 + math.ceil((len(self.parts) - k) / self.threads)
            return self.parts[k].path(self.follower(_GRID_TOL, shares), penalty, lams)

        found = self.each(path)
        grades = [self.judge.grade([f[1][:, j] for f in found]) for j in range(lams.size)]
        return np.array([grade.value for grade in grades]), grades, [f[0].X for f in found]

    def begin(self, starts: list[Array]) -> None:
        """Let every part go on from a solution."""
        for part, x in zip(self.parts, starts, strict=True):
            part.begin(x)

    def value(self, layers: Layers, logs: Array, tol: float) -> Grade:
        """Return the grade of the lambdas."""
        self.n_evaluations += 1
        return self.judge.grade(self.each(lambda k: self.parts[k].solve(layers, logs, self.follower(tol))))

    def gradient(self, layers: Layers, grade: Grade) -> list[Array]:
        """Return dC/dlog lam, one vector per part, at the lambdas of the last value."""
        return self.each(lambda k: self.parts[k].gradient(layers, grade.slopes[k]))

    def motions(self, layers: Layers, share: Array) -> list[Array]:
        """Return dprediction/da of every part."""
        return self.each(lambda k: self.parts[k].motion(layers, share))

    @property
    def missed(self) -> int:
        """Solutions that missed their tolerance."""
        return sum(part.missed for part in self.parts)


def check_criterion(criterion: Any, m: int) -> None:
    """Refuse a criterion that has no gradient here."""
    known = isinstance(criterion, Selector) and not isinstance(criterion, type)
    if not known or not (hasattr(criterion, "split") or hasattr(criterion, "rows") or _is_risk(criterion)):
        raise TypeError(
            f"criterion is {criterion!r}, but CrossValidation(5), HoldOut(0.2) or SURE() is needed"
        )
    criterion.check(m)


def _is_risk(criterion: Any) -> bool:
    return hasattr(criterion, "sigma") and hasattr(criterion, "probes")


def build(criterion: Any, task: Task) -> Criterion:
    """Return the criterion with its parts for a task."""
    whole, exponent = task.problem, task.problem.units.b_exponent
    if _is_risk(criterion):
        return _risk(criterion, task)
    rows = criterion.split(whole.m) if hasattr(criterion, "split") else [criterion.rows(whole.m)]
    grams = None
    if len(rows) > 1 and pays(whole, rows):
        with single_threaded_blas():
            grams = FoldGrams(whole, rows)
    parts, targets = [], []
    for k, out in enumerate(rows):
        gram = None if grams is None else (grams, k)
        seen = CountedOperator(_rows(task.operator, out) if grams is None else grams.parts[k])
        parts.append(Part(_fold_problem(task, out, gram), seen, exponent))
        targets.append(ldexp(task.b[out], -exponent))
    return Criterion(parts, HeldOutError(targets, len(parts)), task)


def _risk(criterion: Any, task: Task) -> Criterion:
    """Return Stein's estimate with Monte-Carlo probes, the same for all lambdas."""
    problem, exponent = task.problem, task.problem.units.b_exponent
    sigma = criterion.sigma
    if sigma is None:
        pilot = L1()
        sigma = choose_lam(at_level(problem, pilot, 1.0), pilot, task.deadline).sigma
        assert sigma is not None
    sigma = math.ldexp(sigma, -exponent)
    rng = np.random.default_rng(getattr(criterion, "seed", 0))
    eps = 2.0 * sigma / problem.m**0.3
    own = 1.0 if task.penalty.lam is None else task.penalty.lam
    bound = task.penalty.at(own).bind(problem.n)
    probes, problems = [], [problem]
    for _ in range(criterion.probes or _PROBES):
        d: Array = rng.standard_normal(problem.m)
        if problem.dtype.kind == "c":
            d = d + 1j * rng.standard_normal(problem.m)
        probes.append(d)
        problems.append(problem.with_data(ldexp(problem.b + eps * d, exponent), bound))
    parts = [Part(at, CountedOperator(task.operator), exponent) for at in problems]
    return Criterion(parts, UnbiasedRisk(problem.b, probes, eps, sigma), task)


def _refuse_failure(results: list[Result]) -> None:
    for result in results:
        if result.status is Status.NUMERICAL_FAILURE:
            raise OperatorFailure(f"{result.detail} (on a part of the rows)")

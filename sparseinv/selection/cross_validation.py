"""Cross-validation: the lambda that predicts best the rows that were left out."""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from sparseinv import validation
from sparseinv.counted_operator import CountedOperator, OperatorFailure
from sparseinv.operators.algebra import Composition
from sparseinv.operators.base import Operator
from sparseinv.operators.matrix import ExplicitMatrix, ldexp
from sparseinv.operators.sampling import Restriction
from sparseinv.problem import Problem
from sparseinv.result import Interrupted, Selection, Status
from sparseinv.selection.fold_gram import FoldGrams, pays
from sparseinv.selection.path import Follower, unit_penalty
from sparseinv.selection.selector import Selector, Task
from sparseinv.stopping import Stopping
from sparseinv.threads import available_cores, single_threaded_blas

Array = np.ndarray[Any, Any]

_RULES = ("min", "1se")
_MISSING = (Status.MAX_TIME, Status.STOPPED_BY_CALLBACK, Status.INTERRUPTED)


class _Fold(NamedTuple):
    """What one fold has to say: squared errors per level, levels done, solves that missed the tolerance."""

    errors: Array
    done: int
    missed: int
    forward: int
    adjoint: int


@dataclass(frozen=True, eq=False)
class CrossValidation(Selector):
    """Choose the lambda whose solutions predict best the rows of A and b that they did not see.

    For every fold f a path of solutions x_f(lam) is computed from the rows outside f, and
    CV(lam) = sum_f ||A_f x_f(lam) - b_f||^2 / m, with standard error [1]_
    sqrt(sum_f (m_f / m) (MSE_f - CV)^2 / (folds - 1)).

    Parameters
    ----------
    folds : int or array_like, shape (m,)
        How many folds (2 to m), or a label per row that says in which fold it is left out.
    rule : "min" or "1se"
        "min": the largest lam with the least CV. "1se": the largest lam with
        CV(lam) <= min CV + its standard error, which is sparser and predicts a little worse.
    groups : array_like, shape (m,), optional
        A label per row; rows of one label stay together. Needed for repeated measurements, and for
        rows whose noise is correlated (traces, blocks of time).
    seed : int
        Decides which rows form a fold; the same seed gives the same folds.
    tol : float
        A fold's solution may miss its optimum by tol times the misfit 1/2 ||A x - b||^2 at the lambda
        before (not times 1/2 ||b||^2: small noise needs more digits); the choice of lambda needs no more,
        whatever tolerance the final solution has.

    Notes
    -----
    The folds use the lambdas of the problem on all rows, unscaled: in the sum convention the best lam
    of L2 and L0 does not depend on the number of rows, that of L1 grows like its square root.
    Packages that divide the misfit by m scale lam by the share of rows instead.
    Cost: ``folds`` paths; those of (n + 1) x n factors, for one Gram matrix of all rows, where A is dense and
    real with at least max(3, folds) n rows without any one fold. Other explicit matrices are cut by rows.
    Folds run in threads with one BLAS thread each; a matrix-free A is followed by a `Restriction`, one fold
    after another, because nothing is known about its being thread-safe. The choice is the same for every
    number of threads.

    References
    ----------
    .. [1] J. Friedman, T. Hastie, R. Tibshirani, Regularization paths for generalized linear models via
       coordinate descent, J. Stat. Softw. 33 (2010), doi:10.18637/jss.v033.i01.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> rng = np.random.default_rng(0)
    >>> A = rng.standard_normal((60, 30))
    >>> b = 2 * A[:, 4] + rng.standard_normal(60)
    >>> result = si.solve(A, b, si.L1(), select=si.CrossValidation(5, rule="1se"))
    >>> result.support, result.selection.at_edge
    (array([ 4, 14]), False)
    """

    folds: Any = 5
    rule: str = dataclasses.field(default="min", kw_only=True)
    groups: Any = dataclasses.field(default=None, kw_only=True)
    seed: int = dataclasses.field(default=0, kw_only=True)
    tol: float = dataclasses.field(default=1e-4, kw_only=True)

    def __post_init__(self) -> None:
        if np.ndim(self.folds) == 0:
            validation.count(self.folds, "folds", least=2)
        elif self.groups is not None:
            raise ValueError("folds holds one label per row, which leaves nothing for groups to decide")
        if self.rule not in _RULES:
            raise ValueError(f"rule is {self.rule!r}, but 'min' or '1se' is needed")
        validation.count(self.seed, "seed")
        validation.tolerance(self.tol)

    def __repr__(self) -> str:
        """Name the folds, and what differs from the defaults."""
        parts = [str(self.folds) if np.ndim(self.folds) == 0 else f"<{np.size(self.folds)} labels>"]
        parts += [f"rule={self.rule!r}"] if self.rule != "min" else []
        parts += [f"groups=<{np.size(self.groups)} labels>"] if self.groups is not None else []
        parts += [f"seed={self.seed}"] if self.seed else []
        parts += [f"tol={self.tol:g}"] if self.tol != 1e-4 else []
        return f"CrossValidation({', '.join(parts)})"

    def split(self, m: int) -> list[Array]:
        """Return the rows that each fold leaves out, increasing; every row is left out once."""
        if np.ndim(self.folds) != 0:
            labels = _row_labels(self.folds, "folds", m)
            distinct, place = np.unique(labels, return_inverse=True)
            if distinct.size < 2:
                raise ValueError("folds has one label only, which leaves no row to learn from")
            return [np.flatnonzero(place == k) for k in range(distinct.size)]
        rng = np.random.default_rng(self.seed)
        if self.groups is None:
            if self.folds > m:
                raise ValueError(f"folds is {self.folds}, but A has {m} rows: at most one fold per row")
            return [np.sort(part) for part in np.array_split(rng.permutation(m), self.folds)]
        labels = _row_labels(self.groups, "groups", m)
        sizes = np.unique(labels, return_counts=True)[1]
        place = np.unique(labels, return_inverse=True)[1]
        if sizes.size < self.folds:
            raise ValueError(
                f"groups has {sizes.size} distinct labels, but folds is {self.folds}: "
                "at most one fold per label"
            )
        # the largest first, each to the smallest fold so far; chance decides between equals
        shuffled = rng.permutation(sizes.size)
        fold_of, filled = np.empty(sizes.size, dtype=np.int64), np.zeros(self.folds)
        for label in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
            fold_of[label] = int(np.argmin(filled))
            filled[fold_of[label]] += sizes[label]
        return [np.flatnonzero(fold_of[place] == k) for k in range(self.folds)]

    def check(self, m: int) -> None:
        """Refuse folds that m rows do not allow."""
        self.split(m)

    def choose(self, task: Task) -> Selection:
        """Return the level chosen for a task."""
        rows = self.split(task.problem.m)
        found = _run_folds(self, task, rows)
        sizes = np.array([part.size for part in rows], dtype=float)
        done = min(fold.done for fold in found)
        means = np.array([fold.errors[: max(done, 1)] for fold in found]) / sizes[:, None]
        share = sizes / sizes.sum()
        criterion = share @ means
        spread = np.sqrt(share @ (means - criterion) ** 2 / (len(rows) - 1))
        best = int(np.argmin(criterion))
        chosen = best
        if self.rule == "1se":
            chosen = int(np.argmax(criterion <= criterion[best] + spread[best]))
        forward, adjoint = sum(f.forward for f in found), sum(f.adjoint for f in found)
        task.problem.operator.charge(forward=forward, adjoint=adjoint)
        at_edge = best in (0, criterion.size - 1) or chosen == 0
        rule = f"{len(rows)}-fold cross-validation, {_in_words(self.rule)}"
        if at_edge:
            rule += f", at the edge of the {criterion.size} levels tried"
        if done < task.lams.size:
            rule += f"; time for {done} of {task.lams.size} levels only"
        missed = sum(fold.missed for fold in found)
        if missed:
            rule += f"; {missed} of {len(rows) * task.lams.size} solutions on folds missed their tolerance"
        unit = 2 * task.problem.units.b_exponent
        return Selection(
            lam=float(task.lams[chosen]), rule=rule, sigma=None, lams=task.lams[: criterion.size],
            criterion=ldexp(criterion, unit), n_products=forward + adjoint,
            standard_error=ldexp(spread, unit), at_edge=at_edge,
        )  # fmt: skip


def _in_words(rule: str) -> str:
    if rule == "min":
        return "least squared error"
    return "largest lam within one standard error of the least"


def _row_labels(labels: Any, name: str, m: int) -> Array:
    array = np.asarray(labels)
    if array.shape != (m,):
        raise ValueError(f"{name} has shape {array.shape}, but one label per row is needed, shape ({m},)")
    if array.dtype.kind not in "biuUS" and not (array.dtype.kind == "f" and np.isfinite(array).all()):
        raise TypeError(f"{name} has dtype {array.dtype} or holds NaN; use integer or string labels")
    return array


def _run_folds(selector: CrossValidation, task: Task, rows: list[Array]) -> list[_Fold]:
    """Run the folds, several at a time where A lies in memory; Ctrl-C ends all of them."""
    explicit = task.problem.explicit
    threads = 1
    if explicit:
        threads = min(available_cores() if task.n_threads is None else task.n_threads, len(rows))
    grams = None
    if pays(task.problem, rows):
        with single_threaded_blas():  # so that the sums do not depend on the number of cores
            grams = FoldGrams(task.problem, rows)
        task.problem.operator.charge(adjoint=task.problem.n)
    stop = threading.Event()

    def watch(_: Any) -> None:
        if stop.is_set():
            raise StopIteration

    def fold(k: int) -> _Fold:
        waves = math.ceil((len(rows) - k) / threads)
        # what is left is shared with the folds to come and with the final solution
        limit = max(task.deadline - time.perf_counter(), 0.0) / (waves + 1)
        follower = Follower(
            task.method, Stopping(0.0, max_time=limit), task.max_iter, callback=watch, watch=watch,
            loose=selector.tol,
        )  # fmt: skip
        return _run_fold(follower, task, rows[k], None if grams is None else (grams, k))

    if threads == 1:
        with single_threaded_blas() if explicit else nullcontext():
            return [fold(k) for k in range(len(rows))]
    with single_threaded_blas(), ThreadPoolExecutor(threads) as pool:
        jobs = [pool.submit(fold, k) for k in range(len(rows))]
        try:
            return [job.result() for job in jobs]
        except BaseException:
            stop.set()
            for job in jobs:
                job.cancel()
            raise


def _run_fold(follower: Follower, task: Task, out: Array, gram: tuple[FoldGrams, int] | None) -> _Fold:
    problem = _fold_problem(task, out, gram)
    try:
        path = follower.follow(problem, task.penalty, task.lams, time.perf_counter())
    except Interrupted:
        raise KeyboardInterrupt from None  # the path of a fold is of no use to anybody
    for result in path:
        if result.status is Status.NUMERICAL_FAILURE:
            raise OperatorFailure(f"{result.detail} (on a fold of the cross-validation)")
    done = next((k for k, result in enumerate(path) if result.status in _MISSING), len(path))
    seen = CountedOperator(_rows(task.operator, out) if gram is None else gram[0].parts[gram[1]])
    predicted = seen.matmat(path.X[:, : max(done, 1)])
    # in working units, so that squares of extreme data neither overflow nor vanish
    exponent = task.problem.units.b_exponent
    differences = ldexp(predicted, -exponent) - ldexp(task.b[out], -exponent)[:, None]
    products = seen.products.total
    if task.problem.explicit:  # a fold's rows make a part of a product
        products = round(products * out.size / task.problem.m)
    share = problem.m / (task.problem.m - out.size)  # of the rows, where they were reduced
    return _Fold(
        (np.abs(differences) ** 2).sum(axis=0), done, sum(not r.success for r in path.results[:done]),
        round(share * path.n_matvec) + products, round(share * path.n_rmatvec),
    )  # fmt: skip


def _fold_problem(task: Task, out: Array, gram: tuple[FoldGrams, int] | None) -> Problem:
    """Return the problem on the rows that are kept, or one with the same objective and fewer rows."""
    penalty = unit_penalty(task.penalty)
    reduced = None if gram is None else gram[0].reduced(gram[1])
    if reduced is not None:
        b = ldexp(reduced[1], task.problem.units.b_exponent)
        if np.isfinite(b).all():
            return Problem(reduced[0], b, penalty)
    kept = np.setdiff1d(np.arange(task.problem.m), out, assume_unique=True)
    problem = Problem(_rows(task.operator, kept), task.b[kept], penalty, check_operator=False)
    _refuse_lost_rank(task.problem, problem, out)
    return problem


def _rows(operator: Operator, index: Array) -> Operator:
    """Return A with the rows of index only."""
    if isinstance(operator, ExplicitMatrix):
        return operator.rows(index)
    restricted = Composition(Restriction(operator.shape[0], index), operator)
    # judged by the standards of the map that it contains
    restricted.single = operator.single
    return restricted


def _refuse_lost_rank(whole: Problem, fold: Problem, out: Array) -> None:
    """Refuse a fold whose rows alone tell what an unpenalised coefficient is."""
    if whole.unpenalised.size == 0:
        return
    before, after = whole._basis[0], fold._basis[0]
    if before is None or after is None or after.shape[1] == before.shape[1]:
        return
    raise ValueError(
        f"folds: without the {out.size} rows of the fold of row {int(out[0])}, the unpenalised columns of A "
        f"have rank {after.shape[1]} instead of {before.shape[1]}, so that their coefficients cannot be "
        "told; use other folds or fewer unpenalised coefficients"
    )

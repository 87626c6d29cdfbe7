"""Many right-hand sides, one operator: what they share is computed once, the columns run in threads."""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import Any

import numpy as np

from sparseinv import threads
from sparseinv.certificate import Certificate, DualPair, Kind, certify_problem
from sparseinv.counted_operator import OperatorFailure, OutOfTime, Products
from sparseinv.driver import Run, in_single_precision, run
from sparseinv.gram_batch import WIDTH, GramNewton, SharedGram, fits
from sparseinv.penalties.base import Leveled, Penalty
from sparseinv.penalties.separable import Separable
from sparseinv.problem import Problem
from sparseinv.result import Batch, Interrupted, Result, Selection, Status
from sparseinv.selection.defaults import at_level, choose_lam
from sparseinv.solvers.auto import choose, complete
from sparseinv.solvers.base import Solver, start_point
from sparseinv.solvers.least_squares import DirectSystem, is_direct
from sparseinv.solvers.ridge import Ridge
from sparseinv.stopping import ColumnBar, History, Progress, Stopping

Array = np.ndarray[Any, Any]

_RIDGE_WIDTH = 256  # right-hand sides per factorisation of a ridge problem


@dataclass(eq=False)
class Columns:
    """The right-hand sides, what they share, and the answers so far.

    Attributes
    ----------
    problem : Problem
        A with everything that depends on A alone; its own b and level belong to no column.
    B : ndarray, shape (m, k)
        The right-hand sides, user's units.
    penalty : Penalty
        As the user passed it.
    lams : ndarray or None, shape (k,)
        One level per column.
    solver : Solver or "auto"
        As for `solve`.
    stopping : Stopping
        tol and limits; max_time is that of all columns together.
    X0 : ndarray or None, shape (n, k)
        Where to start, user's units.
    single : bool
        Whether x comes back in single precision.
    X : ndarray, shape (n, k)
        The answers, user's units, column-major.
    results : list
        The result of every column, None until there is one.
    """

    problem: Problem
    B: Array
    penalty: Penalty
    lams: Array | None
    solver: Solver | str
    stopping: Stopping
    X0: Array | None
    single: bool
    max_iter: int | None  # None: the solver's own default
    began: float
    X: Array = field(init=False)
    results: list[Result | None] = field(init=False)
    stop: Event = field(default_factory=Event)
    wide: bool = False  # whether a column came back in double precision
    _gram: SharedGram | None = None
    _lock: Any = field(default_factory=Lock)

    def __post_init__(self) -> None:
        self.X = np.zeros((self.problem.n, self.B.shape[1]), dtype=self.problem.dtype, order="F")
        self.results = [None] * self.B.shape[1]

    @property
    def deadline(self) -> float:
        """Reading of ``time.perf_counter()`` from which on no column is begun."""
        return self.began + self.stopping.max_time

    @property
    def ended(self) -> bool:
        """Whether no further column is to be begun."""
        return self.stop.is_set() or time.perf_counter() >= self.deadline

    @property
    def chooses(self) -> bool:
        """Whether the levels are left to the data."""
        return self.lams is None and isinstance(self.penalty, Leveled) and self.penalty.lam is None

    def leveled(self, j: int, selection: Selection | None = None) -> Penalty:
        """Return the penalty of column j at its level (1 where that is still to be chosen)."""
        if selection is not None:
            return leveled(self.penalty, selection.lam)
        return self.penalty if self.lams is None else leveled(self.penalty, float(self.lams[j]))

    def start(self, j: int) -> Array | None:
        """Return where column j starts, user's units."""
        return None if self.X0 is None else np.ascontiguousarray(self.X0[:, j])

    def column(self, j: int, selection: Selection | None = None) -> tuple[Problem, Penalty]:
        """Return the problem of column j and its penalty in the user's units."""
        penalty = self.leveled(j, selection)
        bound = penalty.bind(self.problem.n)
        problem = self.problem.with_data(np.ascontiguousarray(self.B[:, j]), bound)
        problem.rng = copy.deepcopy(self.problem.rng)  # random numbers do not depend on who came before
        return problem, penalty

    def shared_gram(self) -> SharedGram:
        """Return A^T A with its companions, formed once."""
        with self._lock:
            if self._gram is None:
                unit = self.penalty.bind(self.problem.n)
                assert isinstance(unit, Separable)
                self._gram = SharedGram(self.problem, unit)
            return self._gram

    def keep(self, j: int, result: Result) -> None:
        """Store the result of column j."""
        self.X[:, j] = result.x
        self.wide |= result.x.dtype.itemsize == self.X.dtype.itemsize
        self.results[j] = dataclasses.replace(result, x=self.X[:, j])


def leveled(penalty: Penalty, level: float) -> Penalty:
    """Return the penalty with lam times level (lam = None counts as 1)."""
    assert isinstance(penalty, Leveled)
    lam = level if penalty.lam is None else penalty.lam * level
    return penalty.replace(lam=lam)


def check_levels(penalty: Penalty, lams: Array, n: int) -> None:
    """Refuse levels that make 0 * inf with the penalty's own factors."""
    if not isinstance(penalty, Leveled):
        raise TypeError(f"lams is given, but penalty is {penalty!r}, which has no level")
    own = np.asarray(1.0 if penalty.lam is None else penalty.lam)
    for level in (lams.min(initial=math.inf), lams.max(initial=0.0)):
        if lams.size and ((level == 0.0 and np.isinf(own).any()) or (level == math.inf and (own == 0).any())):
            raise ValueError(
                "lams times penalty.lam is 0 * inf; use 0 to leave free or inf to exclude, not both"
            )
        if lams.size:
            leveled(penalty, float(level)).bind(n)


def solve_columns(columns: Columns, n_threads: int | None, progress: bool) -> Batch:
    """Solve all columns; see `sparseinv.solve_many`."""
    k = columns.B.shape[1]
    bar = ColumnBar(k) if progress else None
    width, work = _regime(columns)
    count = min(threads.available_cores() if n_threads is None else n_threads, math.ceil(k / width))

    def counted(part: range) -> None:
        work(part)
        if bar is not None:
            bar.add(len(part))

    parts = (range(first, min(first + width, k)) for first in range(0, k, width))
    try:
        if columns.problem.explicit:
            with threads.single_threaded_blas():
                interrupted = threads.spread(parts, counted, count, columns.stop)
        else:
            # an operator of the user's need not bear to be called from several threads, or from another
            interrupted = threads.spread(parts, counted, 0, columns.stop)
    finally:
        if bar is not None:
            bar.close()
    status = Status.INTERRUPTED if interrupted or columns.stop.is_set() else Status.MAX_TIME
    for j in range(k):
        if columns.results[j] is None:
            columns.keep(j, unsolved(columns, j, status))
    batch = _collected(columns)
    if status is Status.INTERRUPTED:
        raise Interrupted(batch)
    return batch


def _regime(columns: Columns) -> tuple[int, Callable[[range], None]]:
    """Return how many columns are taken together, and what solves them."""
    if columns.solver == "auto" and fits(columns.problem, columns.B.shape[1]):
        return WIDTH, lambda part: _by_gram(columns, part)
    if columns.solver == "auto" and _is_one_ridge(columns):
        return _RIDGE_WIDTH, lambda part: _by_ridge(columns, part)
    return 1, lambda part: one_by_one(columns, part)


def _is_one_ridge(columns: Columns) -> bool:
    """Tell whether one factorisation serves all columns."""
    if not getattr(columns.problem.penalty, "quadratic", False) or not is_direct(columns.problem):
        return False
    same = columns.lams is None or bool((columns.lams == columns.lams[:1]).all())
    return same and not columns.chooses and columns.max_iter != 0 and not columns.single


def _by_ridge(columns: Columns, part: range) -> None:
    """Solve columns by one factorisation; what it misses is solved by itself."""
    if columns.ended:
        return
    began = time.perf_counter()
    pairs = [columns.column(j) for j in part]
    penalty = pairs[0][0].penalty
    w = np.where(penalty.excluded, np.inf, penalty.l2)
    data = np.stack([problem.b for problem, _ in pairs], axis=1)
    X = DirectSystem(pairs[0][0]).solve(w, data)
    matrix = columns.problem.operator.inner
    R = matrix.matmat(X) - data
    C = matrix.rmatmat(R)
    if columns.problem.dtype.kind != "c":
        C = C.real
    seconds = (time.perf_counter() - began) / len(part)
    for c, j in enumerate(part):
        problem, own = pairs[c]
        x, r = np.ascontiguousarray(X[:, c]), np.ascontiguousarray(R[:, c])
        pair = DualPair(r, np.ascontiguousarray(C[:, c]))
        tol = columns.stopping.tol
        problem.operator.charge(forward=1, adjoint=1)
        certificate = certify_problem(problem, x, r=r, dual=pair, refit=True, target=tol)
        outer = problem.units.solution(x)
        if certificate.relative <= tol and np.isfinite(outer).all():
            columns.keep(j, Result(
                x=outer, status=Status.CONVERGED, certificate=certificate, objective=certificate.objective,
                lam=getattr(own, "lam", None), n_iter=1, products=problem.operator.products, seconds=seconds,
                history=History(), solver=Ridge(), reason="auto: one factorisation for all columns", tol=tol,
            ))  # fmt: skip
        elif not columns.ended:
            columns.keep(j, solve_one(columns, j))


def _by_gram(columns: Columns, part: range) -> None:
    """Solve columns through the shared Gram matrix; what it misses goes to the solver of `solve`."""
    if columns.ended:
        return
    began = time.perf_counter()
    gram = columns.shared_gram()
    selections: list[Selection | None] = [None] * len(part)
    if columns.chooses:
        for c, j in enumerate(part):
            if not columns.ended:
                penalty: Any = columns.penalty
                selections[c] = choose_lam(columns.column(j)[0], penalty, columns.deadline)
        levels = np.array([np.nan if s is None else s.lam for s in selections])
    else:
        levels = np.ones(len(part)) if columns.lams is None else columns.lams[part.start : part.stop]

    def problem_of(c: int) -> Problem:
        return columns.column(part.start + c, selections[c])[0]

    found = gram.solve(
        columns.B[:, part.start : part.stop], levels,
        None if columns.X0 is None else columns.X0[:, part.start : part.stop],
        columns.stopping.tol, columns.max_iter, in_single_precision if columns.single else None,
        lambda: columns.ended, problem_of,
    )  # fmt: skip
    seconds = (time.perf_counter() - began) / len(part)
    for c, j in enumerate(part):
        certificate, rounds = found.certificates[c], int(found.n_iter[c])
        ended, status = columns.ended, Status.CONVERGED
        proven = certificate is not None and certificate.relative <= columns.stopping.tol
        if not proven:
            status = Status.INTERRUPTED if columns.stop.is_set() else Status.MAX_TIME
        if certificate is not None and (proven or ended):
            x = in_single_precision(found.X[:, c]) if columns.single else found.X[:, c]
            penalty = columns.leveled(j, selections[c])
            columns.keep(j, Result(
                x=x, status=status, certificate=certificate,
                objective=certificate.objective, lam=getattr(penalty, "lam", None), n_iter=rounds,
                products=Products(setup=1, certificate=2, forward=1, adjoint=2), seconds=seconds,
                history=History(), solver=GramNewton(), reason="auto: all columns share A^T A",
                selection=selections[c], tol=columns.stopping.tol,
            ))  # fmt: skip
        elif not ended and not (columns.chooses and selections[c] is None):
            # from the start: a support that was hard to settle is found sooner on the way down in lambda
            columns.keep(j, solve_one(columns, j, selections[c], rounds))


def one_by_one(columns: Columns, part: range) -> None:
    """Solve columns like `solve` does, each by itself."""
    for j in part:
        if columns.ended:
            return
        columns.keep(j, solve_one(columns, j))


def solve_one(columns: Columns, j: int, selection: Selection | None = None, spent: int = 0) -> Result:
    """Solve column j by the solver given, or chosen for it; spent: iterations done elsewhere."""
    problem, penalty = columns.column(j, selection)
    start = columns.start(j)
    if columns.chooses and selection is None:
        assert isinstance(penalty, Leveled)
        try:
            selection = choose_lam(problem, penalty, columns.deadline)
        except (KeyboardInterrupt, OperatorFailure, OutOfTime) as stop:
            return _without_level(columns, problem, start, stop)
        penalty = penalty.replace(lam=selection.lam)
        problem = at_level(problem, penalty, selection.lam)
    method, reason = _method(problem, columns.solver)
    stopping = columns.stopping
    limit = method.default_max_iter if columns.max_iter is None else max(columns.max_iter - spent, 0)
    left = max(columns.deadline - time.perf_counter(), 0.0)
    try:
        result = run(
            problem, method, x0=start, stopping=Stopping(stopping.tol, limit, left), callback=_watch(columns),
            lam=getattr(penalty, "lam", None), reason=reason, selection=selection, single=columns.single,
        )  # fmt: skip
    except Interrupted as interrupted:
        columns.stop.set()
        return interrupted.result
    if result.status is Status.STOPPED_BY_CALLBACK:
        return dataclasses.replace(result, status=Status.INTERRUPTED)
    return result


def _watch(columns: Columns) -> Callable[[Progress], None]:
    """Return a callback that ends a run once the batch is to end."""

    def watch(_: Progress) -> None:
        if columns.stop.is_set():
            raise StopIteration

    return watch


def _method(problem: Problem, solver: Solver | str) -> tuple[Solver, str]:
    if isinstance(solver, Solver):
        return complete(solver, problem), ""
    return choose(problem)


def _without_level(columns: Columns, problem: Problem, x0: Array | None, stop: BaseException) -> Result:
    """Return what there is when the level of a column could not be chosen."""
    drive = Run(problem, _method(problem, columns.solver)[0], x0, columns.stopping)
    if isinstance(stop, OperatorFailure):
        drive.status, drive.detail = Status.NUMERICAL_FAILURE, f"{stop} (while lam was chosen)"
    elif isinstance(stop, OutOfTime):
        drive.status, drive.detail = Status.MAX_TIME, "lam was not chosen yet."
    else:
        columns.stop.set()
        drive.status, drive.detail = Status.INTERRUPTED, "lam was not chosen yet."
    return drive.result(lam=None, reason="", selection=None, single=columns.single)


def unsolved(columns: Columns, j: int, status: Status) -> Result:
    """Return where column j starts, judged as it is, without the refit that would solve it."""
    problem, penalty = columns.column(j)
    start = columns.start(j)
    x = start_point(problem, None if start is None or problem.scale == 0.0 else problem.units.working(start))
    outer = problem.units.solution(x)
    if columns.single:
        outer = in_single_precision(outer)
        x = problem.units.working(outer.astype(problem.dtype))
    method = _method(problem, columns.solver)[0]
    problem.operator.phase = "certificate"
    lam, detail = getattr(penalty, "lam", None), ""
    if columns.chooses:
        lam, detail = None, "lam was not chosen yet."
    try:
        certificate = certify_problem(problem, x, local=method.local_kind)
    except OperatorFailure as failure:
        status, detail = Status.NUMERICAL_FAILURE, str(failure)
        value = problem.units.objective(problem.scale)
        certificate = Certificate(Kind.PROX_STATIONARITY, math.inf, value, math.inf, value, -math.inf)
    if certificate.relative <= columns.stopping.tol and not columns.chooses:
        status = Status.CONVERGED
    return Result(
        x=outer, status=status, certificate=certificate, objective=certificate.objective, lam=lam, n_iter=0,
        products=problem.operator.products, seconds=0.0, history=History(), solver=method, detail=detail,
        tol=columns.stopping.tol,
    )  # fmt: skip


def _collected(columns: Columns) -> Batch:
    results = [result for result in columns.results if result is not None]
    X = columns.X
    if columns.single and not columns.wide:
        X = X.astype(np.complex64 if X.dtype.kind == "c" else np.float32)
        results = [dataclasses.replace(result, x=X[:, j]) for j, result in enumerate(results)]
    lam = getattr(columns.penalty, "lam", None)
    if columns.chooses:
        lams = np.array([np.nan if r.selection is None else r.selection.lam for r in results])
    else:
        lams = np.ones(len(results)) if columns.lams is None else columns.lams
        if isinstance(lam, float):
            lams = lam * lams
    seconds = time.perf_counter() - columns.began
    return Batch(X, tuple(results), lams, seconds, columns.stopping.tol)

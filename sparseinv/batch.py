"""Many right-hand sides, one operator: what they share is computed once, the columns run in threads."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from sparseinv import greedy_batch, threads
from sparseinv.certificate import Certificate, DualPair, Kind, certify_problem
from sparseinv.columns import Columns as Columns
from sparseinv.columns import leveled
from sparseinv.counted_operator import OperatorFailure, OutOfTime, Products
from sparseinv.driver import Run, run, unknown
from sparseinv.gram_batch import WIDTH, Found, GramNewton, Levels, fits
from sparseinv.kept_columns import KeptColumns
from sparseinv.late_results import Results
from sparseinv.number_range import in_single_precision
from sparseinv.penalties.base import Leveled, Penalty
from sparseinv.penalties.group import Grouped
from sparseinv.penalties.separable import Separable
from sparseinv.problem import Problem
from sparseinv.result import Batch, Interrupted, Result, Selection, Status
from sparseinv.selection.defaults import at_level, choose_lam
from sparseinv.solvers.auto import choose, complete
from sparseinv.solvers.base import Solver, start_point
from sparseinv.solvers.least_squares import DirectSystem, is_direct
from sparseinv.solvers.local_search import LocalSearch
from sparseinv.solvers.ridge import Ridge
from sparseinv.stopping import ColumnBar, History, Progress, Stopping

Array = np.ndarray[Any, Any]

_RIDGE_WIDTH = 256  # right-hand sides per factorisation of a ridge problem
_SEVERAL = 8  # columns that were not begun are judged together from here on, which needs a kernel
_JUDGED = 256  # as many at a time
_NUMBERS = 1 << 21  # and fewer where their parts of B and X would hold more numbers than this


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
    if k > 1 and isinstance(_method(columns.problem, columns.solver)[0], LocalSearch):
        KeptColumns.share(columns.problem)
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
    except KeyboardInterrupt:  # once more, while threads finished what they had in hand
        columns.stop.set()
        interrupted = True
    finally:
        if bar is not None:
            bar.close()
    interrupted = _judge_rest(columns, interrupted or columns.stop.is_set())
    batch = _collected(columns)
    if interrupted:
        raise Interrupted(batch)
    return batch


def _judge_rest(columns: Columns, interrupted: bool) -> bool:
    """Judge the columns that were not begun; return whether Ctrl-C has come, now or before."""
    rest = np.array([j for j, result in enumerate(columns.results) if result is None], dtype=np.int64)
    try:
        status = Status.INTERRUPTED if interrupted else Status.MAX_TIME
        if rest.size >= _SEVERAL and _judged_together(columns):
            width = max(1, min(_JUDGED, _NUMBERS // (columns.problem.m + columns.problem.n)))
            for first in range(0, rest.size, width):
                _judge_together(columns, rest[first : first + width], status)
        for j in rest:
            if columns.results[j] is None:
                columns.keep(j, unsolved(columns, j, status))
        return interrupted
    except KeyboardInterrupt:
        pass
    while True:  # whoever asks again does not wait for certificates
        try:
            for j in rest:
                if columns.results[j] is None:
                    columns.keep(j, _unjudged(columns, j))
            return True
        except KeyboardInterrupt:
            continue


def _judged_together(columns: Columns) -> bool:
    """Tell whether starting points can be judged by products with several columns at once."""
    problem, penalty = columns.problem, columns.problem.penalty
    real = problem.explicit and problem.dtype.kind != "c" and isinstance(penalty, Separable)
    return real and penalty.convex and problem.unpenalised.size == 0


def _judge_together(columns: Columns, index: Array, status: Status) -> None:
    """Keep where columns start, judged as `unsolved` does; leave out those out of range."""
    unit = columns.penalty.bind(columns.problem.n)
    assert isinstance(unit, Separable)
    shared = Levels(columns.problem, unit)
    levels = np.ones(index.size) if columns.lams is None else columns.lams[index]
    block = shared.block(columns.B[:, index], levels, None if columns.X0 is None else columns.X0[:, index])
    outer = shared.outer(block, in_single_precision if columns.single else None)
    shared.judge(block)
    method, forward = _method(columns.problem, columns.solver)[0], int(block.X.any())
    for c in map(int, np.flatnonzero(block.sane)):
        j, certificate = int(index[c]), shared.certificate(block, c)
        proven = certificate.relative <= columns.stopping.tol and not columns.chooses
        columns.keep(j, Result(
            x=in_single_precision(outer[:, c]) if columns.single else outer[:, c],
            status=Status.CONVERGED if proven else status, certificate=certificate,
            objective=certificate.objective, n_iter=0, seconds=0.0, history=History(), solver=method,
            lam=columns.lam(j),
            products=Products(certificate=1 + forward, forward=forward, adjoint=1),
            detail="lam was not chosen yet." if columns.chooses else "", tol=columns.stopping.tol,
        ))  # fmt: skip


def _unjudged(columns: Columns, j: int) -> Result:
    """Return x = 0 for column j, nothing proved."""
    problem, _ = columns.column(j, random=False)
    x, certificate = unknown(problem)
    return Result(
        x=x, status=Status.INTERRUPTED, certificate=certificate, objective=certificate.objective,
        lam=columns.lam(j), n_iter=0,
        products=problem.operator.products, seconds=0.0, history=History(),
        solver=_method(problem, columns.solver)[0], detail="x was not judged.", tol=columns.stopping.tol,
    )  # fmt: skip


def _regime(columns: Columns) -> tuple[int, Callable[[range], None]]:
    """Return how many columns are taken together, and what solves them."""
    if columns.solver == "auto" and columns.max_iter != 0 and fits(columns.problem, columns.B.shape[1]):
        return WIDTH, lambda part: _by_gram(columns, part)
    if greedy_batch.fits(columns):
        pursuit = greedy_batch.GreedyGram(columns)
        return greedy_batch.WIDTH, lambda part: _by_pursuit(columns, pursuit, part)
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
    pairs = [columns.column(j, random=False) for j in part]
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
            columns.keep(j, solve_one(columns, j, start=columns.start(j)))


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
        return columns.column(part.start + c, selections[c], random=False)[0]

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
            columns.keep(j, Result(
                x=x, status=status, certificate=certificate,
                objective=certificate.objective, lam=columns.lam(j, selections[c]), n_iter=rounds,
                products=Products(setup=1, certificate=2, forward=1, adjoint=2), seconds=seconds,
                history=History(), solver=GramNewton(), reason="auto: all columns share A^T A",
                selection=selections[c], tol=columns.stopping.tol,
            ))  # fmt: skip
        elif not ended and not (columns.chooses and selections[c] is None):
            columns.keep(j, solve_one(columns, j, selections[c], rounds, _start(columns, j, found, c)))


def _by_pursuit(columns: Columns, pursuit: greedy_batch.GreedyGram, part: range) -> None:
    """Pursue columns on the shared Gram matrix; those it is too coarse for one by one."""
    if columns.ended:
        return
    for j in pursuit.solve(part):
        if not columns.ended:
            columns.keep(j, solve_one(columns, j))


def _start(columns: Columns, j: int, found: Found, c: int) -> Array | None:
    """Return where the solver of `solve` starts: at what was found where that is lower than zero."""
    if not found.sane[c]:
        return columns.start(j)
    return np.ascontiguousarray(found.X[:, c]) if found.better[c] else None


def one_by_one(columns: Columns, part: range) -> None:
    """Solve columns like `solve` does, each by itself."""
    for j in part:
        if columns.ended:
            return
        columns.keep(j, solve_one(columns, j, start=columns.start(j)))


def solve_one(
    columns: Columns, j: int, selection: Selection | None = None, spent: int = 0, start: Array | None = None
) -> Result:
    """Solve column j by the solver given, or chosen for it; spent: iterations done elsewhere."""
    problem, penalty = columns.column(j, selection)
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
    status = Status.INTERRUPTED if result.status is Status.STOPPED_BY_CALLBACK else result.status
    return dataclasses.replace(result, status=status, n_iter=result.n_iter + spent)


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
    # the certificates of convex penalties need no random numbers, unless they are of the user's own
    known = isinstance(columns.problem.penalty, (Separable, Grouped)) and columns.problem.penalty.convex
    problem, penalty = columns.column(j, random=not known)
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
    results = Results([result for result in columns.results if result is not None])
    X = columns.X
    if columns.single and not columns.wide:
        X = X.astype(np.complex64 if X.dtype.kind == "c" else np.float32)
        results = Results([dataclasses.replace(result, x=X[:, j]) for j, result in enumerate(results)])
    lam = getattr(columns.penalty, "lam", None)
    if columns.chooses:
        lams = np.array([np.nan if r.selection is None else r.selection.lam for r in results])
    else:
        lams = np.ones(len(results)) if columns.lams is None else columns.lams
        if isinstance(lam, float):
            lams = lam * lams
    seconds = time.perf_counter() - columns.began
    return Batch(X, results, lams, seconds, columns.stopping.tol)

"""The front door: solve, solve_path, solve_many, iterate, certify."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.certificate import Certificate, Kind, certify_problem
from sparseinv.counted_operator import OperatorFailure
from sparseinv.driver import Run, run
from sparseinv.intercept import Intercept, intercept_value
from sparseinv.operators.adapt import as_operator, system
from sparseinv.operators.base import Operator
from sparseinv.penalties.balls import L0Ball
from sparseinv.penalties.base import Leveled, Penalty
from sparseinv.penalties.group_l0 import CountedGroups
from sparseinv.problem import Problem
from sparseinv.result import Batch, Interrupted, Path, Result, Selection, Status
from sparseinv.selection.ball_path import follow_balls
from sparseinv.selection.defaults import at_level, choose_lam
from sparseinv.selection.discrepancy import Discrepancy
from sparseinv.selection.path import Follower, check_levels, factored, grid, unit_penalty
from sparseinv.selection.selector import Selector, Task, check_selector
from sparseinv.selection.tall_path import follow
from sparseinv.solvers.auto import complete, resolve
from sparseinv.solvers.base import Solver
from sparseinv.stopping import PathProgress, Progress, Stopping

Array = np.ndarray[Any, Any]


def solve(
    A: Any,
    b: Any,
    penalty: Penalty,
    *,
    solver: Solver | str = "auto",
    select: Selector | None = None,
    x0: Any = None,
    tol: float = 1e-6,
    max_iter: int | None = None,
    max_time: float | None = None,
    callback: Callable[[Progress], Any] | None = None,
    progress: bool = False,
    intercept: bool = False,
    check_operator: bool = True,
    rng: Any = None,
) -> Result:
    """Minimise 1/2 ||A x - b||^2 + R(x) and certify the answer.

    Parameters
    ----------
    A : array_like, scipy.sparse container, or operator with shape, matvec and rmatvec, shape (m, n)
        Real or complex. Dense input is used column-major and copied only if it is not.
    b : array_like, shape (m,)
        The data.
    penalty : Penalty
        L1, L2, L0, ElasticNet, GroupL1, Lp, LogSum, MCP, SCAD, L0Ball, L1Ball, or your own. With lam=None
        the level is chosen from the data (see Notes), and ``result.selection`` says how.
    solver : Solver or "auto"
        A solver object such as FISTA(), or "auto"; ``result.reason`` says why.
    select : Selector, optional
        A rule, such as CrossValidation(5), SURE() or Discrepancy(sigma=0.1), that chooses lam from the levels
        of `solve_path` or finds it, in place of the default rule; a lam that is set is then taken as relative
        factors. Rules that read a path may go on below its last level. `select_lam` also returns the path and
        offers other levels.
    x0 : array_like, shape (n,), optional
        Where to start; zero is taken where the objective at x0 is not finite or beyond 1/eps times that
        at zero, and ``result.detail`` says so.
    tol : float
        Stop once certificate.relative = value / (1/2 ||b||^2) is at most tol.
    max_iter : int, optional
        Most iterations; the solver's own default if None.
    max_time : float, optional
        Most seconds; unlimited if None.
    callback : callable, optional
        Called with a `Progress` after each certificate; StopIteration ends the run.
    progress : bool
        Show a progress bar (tqdm where installed).
    intercept : bool
        Minimise over a constant c as well, 1/2 ||A x + c - b||^2 + R(x): ``result.intercept``. It is not
        penalised and of any sign; A is not copied. Tolerance and certificate are then relative to
        1/2 ||b - mean(b)||^2, so that an offset of b changes nothing but c.
    check_operator : bool
        Test the adjoint of a matrix-free A first (two products).
    rng : None, int or Generator
        Seed for the adjoint test and norm estimates; None is seed 0, so runs repeat.

    Returns
    -------
    Result
        x with status, certificate, objective and cost. A run that does not converge says so in
        ``status`` and never raises.

    Raises
    ------
    ValueError, TypeError
        Bad input, before any work: the message names the argument, what is wrong and what would be
        right.
    Interrupted
        On Ctrl-C; ``.result`` holds the best point so far with its certificate.

    Notes
    -----
    lam=None: L1, ElasticNet and GroupL1 take the pivotal level (half the median level that noise of
    the residual's size would reach; for complex data and groups the share of it that as many noise
    coefficients pass), L2 exact leave-one-out (generalised cross-validation for
    operators), L0 sigma^2 log n with sigma estimated; Lp, LogSum, MCP and SCAD let a coefficient enter where
    L1 at its pivotal level would.
    Convex penalties are certified by a duality gap, a bound on the distance to the global minimum; others by
    the best decrease that adding, removing or exchanging a coefficient gives (L0 by LocalSearch), that
    changing one gives (columns in memory) or by first-order stationarity (matrix-free).

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> rng = np.random.default_rng(0)
    >>> A = rng.standard_normal((50, 100))
    >>> x = np.zeros(100); x[[3, 40]] = 2.0, -1.0
    >>> result = si.solve(A, A @ x, si.L1(0.5), tol=1e-8)
    >>> result.success, result.support
    (True, array([ 3, 40]))
    """
    began = time.perf_counter()
    stopping, solver = _settings(penalty, solver, tol, max_iter, max_time, callback)
    operator, vector = system(A, b)
    added = Intercept.of(intercept, penalty, vector, operator.shape[1])
    start, vector = added.start(_start(x0, operator, vector)), added.data(vector)
    single = _is_single(A, operator, b)
    operator, penalty = added.operator(operator), added.penalty(penalty)
    if select is not None:
        check_selector(select, "select").check(operator.shape[0])
        remedy = "solve has no argument for them: use select_lam with lams"
        select.accept(check_levels(penalty, None, operator.shape[1], remedy, select.ridge_levels), solver)
    selection: Selection | None = None
    problem = _problem(operator, vector, penalty, solver, rng, check_operator)
    if isinstance(penalty, Leveled) and (penalty.lam is None or select is not None):
        deadline = began + stopping.max_time
        if isinstance(select, Discrepancy):
            task = Task(
                operator, vector, problem, penalty, np.zeros(0), lambda at: resolve(at, solver),
                None if max_iter is None else stopping.max_iter, deadline, None, stopping.tol, start=start,
                callback=added.callback(callback), single=single, began=began, progress=progress,
            )  # fmt: skip
            try:
                with added.unwrapping():
                    return added.result(select.solve(task))
            except OperatorFailure as stop:
                return _without_level(problem, solver, start, stopping, stop, began, added)
        try:
            if select is None:
                selection = choose_lam(problem, penalty, deadline)
            else:
                limit = None if max_iter is None else stopping.max_iter
                selection = select.choose(
                    Task(
                        operator, vector, problem, penalty, grid(problem),
                        lambda at: resolve(at, solver), limit, deadline, None, stopping.tol, True,
                    )
                )  # fmt: skip
                if selection.result is not None:
                    start = selection.result.x if start is None else start
                    selection = dataclasses.replace(selection, result=None, path=None)
        except (KeyboardInterrupt, OperatorFailure) as stop:
            return _without_level(problem, solver, start, stopping, stop, began, added)
        penalty = penalty.replace(lam=factored(penalty.lam, selection.lam))
        problem.operator.phase = "setup"
        problem = at_level(problem, penalty, penalty.lam)
    method, reason = resolve(problem, solver)
    limit = method.default_max_iter if max_iter is None else stopping.max_iter
    with added.unwrapping():
        return added.result(
            run(
                problem, method, x0=start, stopping=Stopping(stopping.tol, limit, stopping.max_time),
                callback=added.callback(callback), progress=progress, lam=getattr(penalty, "lam", None),
                reason=reason, selection=selection, single=single, began=began,
            )
        )  # fmt: skip


def solve_path(
    A: Any,
    b: Any,
    penalty: Penalty,
    *,
    lams: Any = None,
    n_lams: int = 100,
    ratio: float = 1e-2,
    solver: Solver | str = "auto",
    tol: float = 1e-6,
    max_iter: int | None = None,
    max_time: float | None = None,
    callback: Callable[[PathProgress], Any] | None = None,
    progress: bool = False,
    intercept: bool = False,
    check_operator: bool = True,
    rng: Any = None,
) -> Path:
    """Solve for a falling sequence of lambdas, each run started where the one before ended.

    Parameters
    ----------
    A, b
        As for `solve`.
    penalty : Penalty
        One with a level. With ``lam=None`` a level t is lam itself; a lam that is set is taken as
        relative factors, lam_j = t * lam_j. Weights, groups, zero and infinite levels are respected.
        `L0Ball` (k): solutions with at most 0, 1, ..., k non-zeros; ``lams`` of the path holds these numbers.
    lams : array_like, shape (K,), optional
        Levels, finite and >= 0; sorted decreasingly, repeated ones kept.
    n_lams : int
        How many levels where ``lams`` is None.
    ratio : float
        Smallest level over the largest, in (0, 1), where ``lams`` is None: they fall geometrically from
        ``lam_max(A, b, penalty)``.
    solver : Solver or "auto"
        As for `solve`; "auto" chooses at every level.
    tol : float
        For every level: certificate.relative = value / (1/2 ||b||^2) at most tol.
    max_iter : int, optional
        Most iterations per level; the solver's own default if None.
    max_time : float, optional
        Most seconds for the whole path; unlimited if None.
    callback : callable, optional
        Called after each level with a `Progress` that also has lam, number and total (levels done and
        asked for); StopIteration ends the path.
    progress : bool
        Show a progress bar over the levels.
    intercept : bool
        As for `solve`; every result has its own.
    check_operator, rng
        As for `solve`; the test and the norm estimate are made once.

    Returns
    -------
    Path
        One result per level, as many as were asked for, each with its own status, certificate and cost
        (set-up counts for the first). Levels that were not begun carry the last x, an honest
        certificate, and MAX_TIME or STOPPED_BY_CALLBACK.

    Raises
    ------
    ValueError, TypeError
        Bad input, before any work; L2 without ``lams``, because no lam gives x = 0 there.
    Interrupted
        On Ctrl-C; ``.path`` holds the path as far as it came, completed by the last x.

    Notes
    -----
    Convex penalties: every result is a minimiser as proved by its certificate, whatever the start. For
    L0 the start matters. LocalSearch (auto at moderate sizes) begins at the support of the level before and
    then elsewhere; IRL1 reweights anew at every level and keeps that solution as a candidate. The other
    solvers end in the local minimum that is reached from the solution of the level before, which can differ
    from that of `solve` at the same lam, for better or worse.
    For `L0Ball` one run finds all supports: on the way up each grows from the one before, on the way down
    each shrinks from the one after, exchanges lower it, and the better one is kept until nothing changes.
    Cost: the checks of input and operator, column norms and the norm of A are paid once; a matrix-free
    A with an L0 penalty also pays its column norms for lam_max. A tall dense real A (m >= 3 n, n <= 2000)
    with a convex penalty is replaced by the factor of its Gram matrix for 8 levels or more; every answer is
    judged on A.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> A = np.random.default_rng(0).standard_normal((30, 60))
    >>> path = si.solve_path(A, A[:, 3] - A[:, 7], si.L1(), n_lams=20)
    >>> path.success, path.X.shape, int(path.n_nonzero[0]), int(path.n_nonzero[5])
    (True, (60, 20), 0, 2)
    """
    began = time.perf_counter()
    stopping, solver = _settings(penalty, solver, tol, max_iter, max_time, callback)
    levels = None if lams is None else validation.path_levels(lams)
    n_lams, ratio = validation.count(n_lams, "n_lams", least=1), validation.fraction(ratio, "ratio")
    operator, vector = system(A, b)
    added, single = Intercept.of(intercept, penalty, vector, operator.shape[1]), _is_single(A, operator, b)
    operator, vector, penalty = added.operator(operator), added.data(vector), added.penalty(penalty)
    follower = Follower(
        lambda at: resolve(at, solver), stopping, None if max_iter is None else stopping.max_iter,
        added.callback(callback), progress, single,
    )  # fmt: skip
    if isinstance(penalty, L0Ball) and levels is None:
        problem = _problem(operator, vector, penalty, solver, rng, check_operator)
        with added.unwrapping():
            return added.path(follow_balls(follower, problem, began))
    leveled = check_levels(penalty, levels, operator.shape[1])
    problem = _problem(operator, vector, unit_penalty(leveled), solver, rng, check_operator)
    levels = grid(problem, n_lams, ratio) if levels is None else levels
    with added.unwrapping():
        return added.path(follow(follower, problem, leveled, levels, began))


def solve_many(
    A: Any,
    B: Any,
    penalty: Penalty,
    *,
    lams: Any = None,
    solver: Solver | str = "auto",
    X0: Any = None,
    tol: float = 1e-6,
    max_iter: int | None = None,
    max_time: float | None = None,
    n_threads: int | None = None,
    progress: bool = False,
    intercept: bool = False,
    check_operator: bool = True,
    rng: Any = None,
) -> Batch:
    """Minimise 1/2 ||A x - b_j||^2 + R_j(x) for every column b_j of B and certify every answer.

    Parameters
    ----------
    A : array_like, scipy.sparse container, or operator with shape, matvec and rmatvec, shape (m, n)
        As for `solve`.
    B : array_like, shape (m, k)
        The right-hand sides, one a column.
    penalty : Penalty
        The penalty of all columns. With lam=None and lams=None every column's level is chosen from its
        own data, as `solve` does.
    lams : array_like, shape (k,), optional
        One level per column; it is lam where the penalty has none, else a factor on the penalty's lam.
    solver : Solver or "auto"
        As for `solve`.
    X0 : array_like, shape (n, k), optional
        Where to start.
    tol : float
        A column has converged once its certificate.relative is at most tol.
    max_iter : int, optional
        Most iterations per column; the solver's own default if None.
    max_time : float, optional
        Most seconds for all columns together; unlimited if None.
    n_threads : int, optional
        Threads that share the columns where A is in memory; all processors if None. The numbers do not
        depend on it.
    progress : bool
        Show a progress bar over the columns (tqdm where installed).
    intercept : bool
        As for `solve`; every column has its own, ``batch.intercept``.
    check_operator : bool
        Test the adjoint of a matrix-free A first (two products).
    rng : None, int or Generator
        As for `solve`.

    Returns
    -------
    Batch
        x (n, k) with a `Result` per column. Columns that do not converge say so in their status; columns
        that were never begun come back at X0 or zero, judged as they are.

    Raises
    ------
    ValueError, TypeError
        Bad input, before any work.
    Interrupted
        On Ctrl-C; ``.result`` holds the Batch so far.

    Notes
    -----
    Every certificate stands on a fresh residual and is judged as in `solve`. Real L1 and elastic-net
    problems with A in memory, k >= 32 columns and n <= min(3000, 40 k) share A^T A (n x n): per column a
    few Cholesky factorisations of its support's Gram matrix, n times the support per round, and three
    products with A or A^T, 32 columns at a time. Columns whose support exceeds 320, or that take too many
    rounds, go on by themselves from where they are; where most do, the rest is spared the attempt. L2
    problems of one level share a factorisation; all others run one by one. Storage beyond A, B and x: the
    n^2 numbers of A^T A, and per thread 32 columns of about 6 n + 3 m numbers and 2 x 320^2.
    max_time and Ctrl-C are seen between calls of 0.05 seconds; then columns not begun are judged, real
    data with separate convex penalties by a few products with many columns at once. Ctrl-C again ends
    that, too: what is left comes back as x = 0, nothing proved. BLAS is held to one thread while threads
    share the columns. Matrix-free operators are called from the calling thread only.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> rng = np.random.default_rng(0)
    >>> A, B = rng.standard_normal((30, 60)), rng.standard_normal((30, 5))
    >>> lams = [0.1 * si.lam_max(A, b, si.L1()) for b in B.T]
    >>> batch = si.solve_many(A, B, si.L1(), lams=lams)
    >>> batch.success, batch.x.shape, bool(batch.relative.max() <= 1e-6)
    (True, (60, 5), True)
    """
    from sparseinv.batch import Columns, check_levels, solve_columns

    began = time.perf_counter()
    stopping, solver = _settings(penalty, solver, tol, max_iter, max_time, None)
    if n_threads is not None:
        n_threads = validation.count(n_threads, "n_threads", least=1)
    operator = as_operator(A)
    matrix = validation.right_hand_sides(B, operator.shape[0])
    n, k = operator.shape[1], matrix.shape[1]
    levels = None
    if lams is not None:
        levels = validation.column_levels(lams, k)
        check_levels(penalty, levels, n)
    start = None
    if X0 is not None:
        real = matrix.dtype.kind != "c" and np.iscomplexobj(X0) and operator.dtype.kind != "c"
        start = validation.start_matrix(X0, n, k, complex_allowed=not real)
    single, added = _is_single(A, operator, B), Intercept.of(intercept, penalty, matrix, n)
    operator, matrix, penalty = added.operator(operator), added.data(matrix), added.penalty(penalty)
    start = None if start is None else added.start(start)
    first = np.ascontiguousarray(matrix[:, 0]) if k else np.zeros(matrix.shape[0], dtype=matrix.dtype)
    problem = _problem(operator, first, penalty, solver, rng, check_operator)
    columns = Columns(problem, matrix, penalty, levels, solver, stopping, start, single, max_iter, began)
    with added.unwrapping():
        return added.batch(solve_columns(columns, n_threads, bool(progress)))


def iterate(
    A: Any,
    b: Any,
    penalty: Penalty,
    *,
    solver: Solver | str = "auto",
    x0: Any = None,
    intercept: bool = False,
    check_operator: bool = True,
    rng: Any = None,
) -> Iterator[Progress]:
    """Yield the state of a run after each step, for those who own their loop.

    Parameters
    ----------
    A, b, penalty, solver, x0, intercept, check_operator, rng
        As for `solve`; lam must be given.

    Yields
    ------
    Progress
        n_iter, seconds, objective, relative (the certificate's), n_matvec, n_rmatvec and x. The first
        one describes the start; the generator ends when the method has nothing left to do.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> for state in si.iterate(np.eye(2), np.array([2.0, 1.0]), si.L1(0.5)):
    ...     if state.relative <= 1e-9:
    ...         break
    >>> state.x
    array([1.5, 0.5])
    """
    if isinstance(penalty, Leveled) and penalty.lam is None:
        raise ValueError("lam is missing: iterate() needs a level, for example L1(0.1 * lam_max(A, b, L1()))")
    _, solver = _settings(penalty, solver, 0.0, None, None, None)
    operator, vector = system(A, b)
    added = Intercept.of(intercept, penalty, vector, operator.shape[1])
    start, vector = added.start(_start(x0, operator, vector)), added.data(vector)
    operator, penalty = added.operator(operator), added.penalty(penalty)
    problem = _problem(operator, vector, penalty, solver, rng, check_operator)
    method, _ = resolve(problem, solver)

    def states() -> Iterator[Progress]:
        drive = Run(problem, method, start, Stopping(tol=0.0, max_iter=2**62))
        drive.start()
        while True:
            if drive.status is Status.NUMERICAL_FAILURE:
                raise OperatorFailure(drive.detail)
            yield added.progress(drive.progress())
            if drive.status is not None:
                return
            drive.step()

    return states()


def certify(
    A: Any, b: Any, penalty: Penalty, x: Any, *, intercept: Any = None, check_operator: bool = True
) -> Certificate:
    """Judge any x, from any solver: bound how much the objective could still go down.

    Parameters
    ----------
    A, b, penalty
        As for `solve`; lam must be given.
    x : array_like, shape (n,)
        The point to judge.
    intercept : float, optional
        The constant c of a point (x, c) that is meant to minimise over both; None where there is no constant.
    check_operator : bool
        Test the adjoint of a matrix-free A first.

    Returns
    -------
    Certificate
        Convex penalties: a duality gap, never below the true suboptimality; several dual points are
        tried, among them those of the problem solved on the support of x, so that near the optimum
        the gap is of the size of the suboptimality. L0: the best decrease by changing one coefficient.
        GroupL0, A in memory: that by adding, removing or exchanging one group.

    Raises
    ------
    ValueError, TypeError
        Bad input.

    Notes
    -----
    Cost: one product with A, up to ten with A^H, and at most eight solutions of the problem on the support
    by Newton steps, each a Cholesky factorisation of its Gram matrix (supports up to 2000; matrix-free up
    to 500, one product a column); no more than three of them if they prove nothing.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> print(si.certify(np.eye(2), np.array([2.0, 1.0]), si.L1(0.5), [1.5, 0.5]))
    global within 0.0e+00 of 1/2||b||^2
    """
    _check_penalty(penalty)
    if isinstance(penalty, Leveled) and penalty.lam is None:
        raise ValueError("lam is missing: a certificate needs the level that x was computed for")
    operator, vector = system(A, b)
    point = validation.candidate(x, operator.shape[1])
    if np.iscomplexobj(point) and operator.dtype.kind != "c" and vector.dtype.kind != "c":
        vector = vector.astype(np.complex128)
    constant = intercept_value(intercept)
    added = Intercept.of(constant is not None, penalty, vector, operator.shape[1])
    if constant is not None:
        point, vector = added.point(point, constant), added.data(vector)
        operator, penalty = added.operator(operator), added.penalty(penalty)
    problem = Problem(operator, vector, penalty, check_operator=check_operator)
    working = np.ascontiguousarray(problem.units.working(point), dtype=problem.dtype)
    local = Kind.SWAP_MINIMUM if isinstance(problem.penalty, CountedGroups) else Kind.COORDINATE_MINIMUM
    return certify_problem(problem, working, refit=True, local=local)


def _settings(
    penalty: Any, solver: Any, tol: Any, max_iter: Any, max_time: Any, callback: Any
) -> tuple[Stopping, Solver | str]:
    _check_penalty(penalty)
    validation.refuse_class(solver, Solver, "solver")
    if not isinstance(solver, Solver) and solver != "auto":
        raise TypeError(f"solver is {solver!r}, but 'auto' or a solver object such as FISTA() is needed")
    if callback is not None and not callable(callback):
        raise TypeError(f"callback is {callback!r}, but a function of one argument is needed")
    limit = 2**62 if max_iter is None else validation.count(max_iter, "max_iter")
    seconds = math.inf if max_time is None else validation.real_number(max_time, "max_time")
    if not seconds >= 0:
        raise ValueError(f"max_time is {seconds}, but it must be >= 0 seconds")
    return Stopping(validation.tolerance(tol), limit, seconds), solver


def _check_penalty(penalty: Any) -> None:
    validation.refuse_class(penalty, Penalty, "penalty", "...")
    if not isinstance(penalty, Penalty):
        raise TypeError(
            f"penalty is {penalty!r}, but a penalty object is needed: L1(lam), L2(lam), L0(lam), "
            "ElasticNet(lam), GroupL1(lam, groups=labels) or your own subclass of Penalty"
        )


def _start(x0: Any, operator: Any, b: Array) -> Array | None:
    if x0 is None:
        return None
    # only a complex x0 makes the question worth a product with a matrix-free A
    complex_allowed = b.dtype.kind == "c" or not np.iscomplexobj(x0) or operator.dtype.kind == "c"
    return validation.start_vector(x0, operator.shape[1], complex_allowed=complex_allowed)


def _is_single(A: Any, operator: Any, b: Any) -> bool:
    """Tell whether x should come back in single precision: both A and b are stored in it."""
    stored = validation.is_single(A) or bool(getattr(operator, "single", False))
    return stored and validation.is_single(b)


def _problem(
    operator: Operator, b: Array, penalty: Penalty, solver: Solver | str, rng: Any, check_operator: bool
) -> Problem:
    """Return the problem; a solver that cannot treat it says so before the first product with A."""
    problem = Problem(operator, b, penalty, rng=rng, probe=False)
    if isinstance(solver, Solver):
        complete(solver, problem).check(problem)
    problem.probe(check_operator)
    return problem


def _without_level(
    problem: Problem,
    solver: Solver | str,
    x0: Array | None,
    stopping: Stopping,
    stop: BaseException,
    began: float,
    added: Intercept,
) -> Result:
    """Return what there is when lam could not be chosen: x0 or zero, with nothing proved about it."""
    drive = Run(problem, resolve(problem, solver)[0], x0, stopping, began)
    failed = isinstance(stop, OperatorFailure)
    drive.status = Status.NUMERICAL_FAILURE if failed else Status.INTERRUPTED
    drive.detail = f"{stop} (while lam was chosen)" if failed else "lam was not chosen yet."
    result = added.result(drive.result(lam=None, reason="", selection=None, single=False))
    if failed:
        return result
    raise Interrupted(result) from None

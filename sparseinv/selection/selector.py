"""What a rule that chooses lambda must offer, and what it is told; `select_lam`."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from sparseinv import validation
from sparseinv.intercept import Intercept
from sparseinv.operators.adapt import system
from sparseinv.operators.base import Operator
from sparseinv.penalties.base import Leveled, Penalty
from sparseinv.problem import Problem
from sparseinv.result import Selection
from sparseinv.selection.path import Follower, check_levels, grid, unit_penalty
from sparseinv.selection.tall_path import follow
from sparseinv.solvers.auto import complete, resolve
from sparseinv.solvers.base import Solver
from sparseinv.stopping import Stopping

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Task:
    """Hold what every fold of a cross-validation reads and none writes.

    Attributes
    ----------
    operator, b : Operator, ndarray
        A and b in the user's units.
    problem : Problem
        The problem on all rows, which is charged for the products.
    penalty : Leveled
        Without lam, or with relative factors.
    lams : ndarray, shape (K,)
        Levels, decreasing.
    method : callable
        From a problem to (solver, reason).
    max_iter : int or None
        Iterations per level.
    deadline : float
        Reading of ``time.perf_counter()`` at which folds end with what they have.
    n_threads : int or None
        Folds at a time; as many as there are cores if None.
    tol : float
        Tolerance of solutions on all rows.
    open_ended : bool
        Whether a rule may go on below the last level.
    trail : Trail or None
        The stored path that rules share; a rule that reads one makes its own if None.
    start, callback, single, began, progress
        Of the run, for a rule that returns the solution itself.
    """

    operator: Operator
    b: Array
    problem: Problem
    penalty: Leveled
    lams: Array
    method: Callable[[Problem], tuple[Solver, str]]
    max_iter: int | None = None
    deadline: float = math.inf
    n_threads: int | None = None
    tol: float = 1e-6
    open_ended: bool = False
    trail: Any = None
    start: Array | None = None
    callback: Callable[[Any], Any] | None = None
    single: bool = False
    began: float | None = None
    progress: bool = False


class Selector:
    """Describe a rule that chooses lambda by its parameters."""

    #: whether it chooses among the levels of a path; a rule that does not finds its own, and the solution
    on_grid: ClassVar[bool] = True
    #: whether the rule can be applied to L2, whose levels have no largest one to start from
    ridge_levels = False
    #: whether the rule reads one path on all rows, which `select_lam` then hands out
    stores_path = False

    def new_trail(self, task: Task) -> Any:
        """Return an unread path for a task."""
        raise TypeError(f"{type(self).__name__} reads no path")

    def accept(self, penalty: Leveled, solver: Any = "auto") -> None:
        """Raise TypeError or ValueError if the rule has no meaning for a penalty, or with a solver."""

    def check(self, m: int) -> None:
        """Raise ValueError or TypeError if the rule cannot be applied to m rows; makes no product."""

    def __repr__(self) -> str:
        """Name what differs from the defaults."""
        parts: list[str] = []
        own: Any = self
        for field in dataclasses.fields(own) if dataclasses.is_dataclass(own) else ():
            value = getattr(self, field.name)
            if value != field.default:
                said = f"{value:.6g}" if isinstance(value, float) else repr(value)
                parts.append(f"{field.name}={said}" if field.kw_only else said)
        return f"{type(self).__name__}({', '.join(parts)})"

    def choose(self, task: Task) -> Selection:
        """Return the level chosen for a task; charge ``task.problem.operator`` for what it cost."""
        raise TypeError(f"{type(self).__name__} must define choose(task)")


def check_selector(selector: Any, name: str) -> Selector:
    """Return the selector; refuse anything else, naming the argument."""
    validation.refuse_class(selector, Selector, name)
    if not isinstance(selector, Selector):
        raise TypeError(f"{name} is {selector!r}, but a selector such as CrossValidation(5) is needed")
    return selector


def select_lam(
    A: Any,
    b: Any,
    penalty: Penalty,
    selector: Selector,
    *,
    lams: Any = None,
    n_lams: int = 100,
    ratio: float = 1e-2,
    solver: Solver | str = "auto",
    tol: float = 1e-6,
    max_iter: int | None = None,
    max_time: float | None = None,
    n_threads: int | None = None,
    intercept: bool = False,
    check_operator: bool = True,
    rng: Any = None,
    path: bool = True,
) -> Selection:
    """Choose lambda from the data by a rule, and solve for all lambdas tried.

    Parameters
    ----------
    A, b, penalty, lams, n_lams, ratio
        As for `solve_path`: the levels among which to choose.
    selector : Selector
        The rule, such as CrossValidation(5) or SURE().
    solver, tol, max_iter, intercept, check_operator, rng
        As for `solve_path`; tol is that of the path on all rows.
    max_time : float, optional
        Most seconds for everything; the rule leaves a share to the path on all rows.
    n_threads : int, optional
        Most threads that the rule may use; as many as there are cores if None.
    path : bool
        False: return the choice alone, without the solutions on all rows (``path`` and ``result`` are
        then None, unless the rule itself needs them). For large problems.

    Returns
    -------
    Selection
        ``lam``, with ``result`` (the solution for it on all rows), ``path`` (those for all levels),
        ``criterion`` with ``standard_error`` for ``lams``, and ``at_edge``, which is True where a wider
        range of levels could do better. `Discrepancy` finds levels of its own: ``lams`` are those it tried
        and ``path`` is None.

    Raises
    ------
    ValueError, TypeError
        Bad input, before any work.
    Interrupted
        On Ctrl-C during the path on all rows; before it a plain KeyboardInterrupt, but for `HoldOut`.

    See Also
    --------
    solve : ``solve(A, b, penalty, select=selector)`` solves for the lambda chosen only.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> rng = np.random.default_rng(0)
    >>> A = rng.standard_normal((60, 30))
    >>> b = 2 * A[:, 4] + rng.standard_normal(60)
    >>> choice = si.select_lam(A, b, si.L1(), si.CrossValidation(5), n_lams=20)
    >>> choice.result.success, choice.at_edge, choice.path.X.shape
    (True, False, (30, 20))
    """
    began = time.perf_counter()
    selector = check_selector(selector, "selector")
    task, single, added = prepare(
        A, b, penalty, (selector,), lams=lams, n_lams=n_lams, ratio=ratio, solver=solver, tol=tol,
        max_iter=max_iter, max_time=max_time, n_threads=n_threads, intercept=intercept,
        check_operator=check_operator, rng=rng,
    )  # fmt: skip
    with added.unwrapping():
        if path or not selector.on_grid:
            return added.selection(_chosen(selector, task, single, began))
        return added.selection(selector.choose(task))


def _chosen(selector: Selector, task: Task, single: bool, began: float) -> Selection:
    """Return the choice with the solutions on all rows."""
    problem, levels = task.problem, task.lams
    if selector.stores_path and not single:
        task = dataclasses.replace(task, trail=selector.new_trail(task))
    before = dataclasses.replace(problem.operator.products)
    selection = selector.choose(task)
    if not selector.on_grid:
        return selection
    if task.trail is not None:
        at = task.trail.at(selection.lam).result
        return dataclasses.replace(selection, path=task.trail.path(), result=at)
    problem.operator.products = before  # what the choice cost is told by n_products
    if not (levels == selection.lam).any():
        levels = np.sort(np.append(levels, selection.lam))[::-1]  # a rule of theory names its own level
    stopping = Stopping(task.tol, max_time=task.deadline - began)
    follower = Follower(task.method, stopping, task.max_iter, single=single)
    path = follow(follower, problem, task.penalty, levels, began)
    chosen = int(np.argmax(levels == selection.lam))
    return dataclasses.replace(selection, path=path, result=path[chosen])


def prepare(
    A: Any, b: Any, penalty: Any, selectors: tuple[Selector, ...], *, lams: Any, n_lams: Any, ratio: Any,
    solver: Any, tol: Any, max_iter: Any, max_time: Any, n_threads: Any, intercept: Any, check_operator: bool,
    rng: Any,
) -> tuple[Task, bool, Intercept]:  # fmt: skip
    """Return (what rules are given, whether x is wanted in single precision, the constant), all checked."""
    began = time.perf_counter()
    levels = None if lams is None else validation.path_levels(lams)
    n_lams, ratio = validation.count(n_lams, "n_lams", least=1), validation.fraction(ratio, "ratio")
    validation.refuse_class(solver, Solver, "solver")
    if not isinstance(solver, Solver) and solver != "auto":
        raise TypeError(f"solver is {solver!r}, but 'auto' or a solver object such as FISTA() is needed")
    limit = None if max_iter is None else validation.count(max_iter, "max_iter")
    seconds = math.inf if max_time is None else validation.real_number(max_time, "max_time")
    if not seconds >= 0:
        raise ValueError(f"max_time is {seconds}, but it must be >= 0 seconds")
    tol = validation.tolerance(tol)
    threads = None if n_threads is None else validation.count(n_threads, "n_threads", least=1)
    operator, vector = system(A, b)
    ridge = all(rule.ridge_levels for rule in selectors)
    stored = validation.is_single(A) or bool(getattr(operator, "single", False))
    added = Intercept.of(intercept, penalty, vector, operator.shape[1])
    operator, vector = added.operator(operator), added.data(vector)
    leveled = check_levels(added.penalty(penalty), levels, operator.shape[1], ridge=ridge)
    for rule in selectors:
        rule.check(operator.shape[0])
        rule.accept(leveled, solver)
    problem = Problem(operator, vector, unit_penalty(leveled), rng=rng, probe=False)
    if isinstance(solver, Solver):
        complete(solver, problem).check(problem)
    problem.probe(check_operator)
    if levels is None:
        levels = grid(problem, n_lams, ratio) if any(rule.on_grid for rule in selectors) else np.zeros(0)
    task = Task(
        operator, vector, problem, leveled, levels, lambda at: resolve(at, solver), limit,
        began + seconds, threads, tol,
    )  # fmt: skip
    return task, stored and validation.is_single(b), added

"""One lambda per layer, learned from the data: `tune_lams`."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.counted_operator import Products
from sparseinv.driver import run
from sparseinv.intercept import Intercept
from sparseinv.operators.adapt import system
from sparseinv.penalties.base import Leveled
from sparseinv.problem import Problem
from sparseinv.result import Result
from sparseinv.selection.cross_validation import CrossValidation
from sparseinv.selection.defaults import at_level
from sparseinv.selection.layer_levels import Layers, check_layers
from sparseinv.selection.layer_parts import Criterion, build, check_criterion
from sparseinv.selection.layer_search import Baseline, Proposal, by_gradient, by_rule, gain_over
from sparseinv.selection.path import unit_penalty
from sparseinv.selection.selector import Task
from sparseinv.solvers.auto import resolve
from sparseinv.stopping import Stopping

Array = np.ndarray[Any, Any]

_METHODS = ("hypergradient", "evidence", "balancing", "rms")
_ROWS_PER_NUMBER = 20  # rows of data from which on a number can be learned


@dataclass(frozen=True, eq=False)
class Tuning:
    """Hold the lambdas of layers, with what they gain over one lambda.

    Attributes
    ----------
    lams : ndarray
        One per layer, in the order of ``labels``; one per coefficient where the penalty has no groups.
    gain, gain_error : float
        Share by which the estimated error of prediction is lower than with the single lambda, corrected for
        the choice of the lambdas, and its standard error.
    result : Result
        The solution for ``lams`` on all rows.
    penalty : Leveled
        The penalty with these lambdas.
    single_lam : float
        The single lambda, chosen by the same criterion; a factor where the penalty has a lam of its own.
    fell_back : bool
        Whether the gain was not there, so that ``lams`` is the single lambda.
    proposed : ndarray
        The lambdas that the method found, also where they were not taken.
    dead : ndarray
        Labels of the layers whose coefficients are all zero in ``result``.
    labels : ndarray
        Labels of the layers.
    rule : str
        What was done, in words.
    criterion, single_criterion : float
        Values for the proposed lambdas and for the single one, not corrected, in the unit of |b_i|^2.
    n_evaluations : int
        How often the criterion was evaluated beside the path of the single lambda.
    seconds : float
        Wall time.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> rng = np.random.default_rng(0)
    >>> A = rng.standard_normal((60, 20))
    >>> b = A[:, 0] + rng.standard_normal(60)
    >>> tuning = si.tune_lams(A, b, si.L1(groups=np.arange(20) // 10), method="rms")
    >>> tuning.lams.shape, tuning.result.success
    ((2,), True)
    """

    lams: Array
    gain: float
    gain_error: float
    result: Result
    penalty: Leveled
    single_lam: float
    fell_back: bool
    proposed: Array
    dead: Array
    labels: Array
    rule: str
    criterion: float
    single_criterion: float
    n_evaluations: int
    seconds: float

    def __repr__(self) -> str:
        lines = [
            f"{self.lams.size} lambdas: {self.rule}",
            f"  gain        {self.gain:.1%} +- {self.gain_error:.1%} of the error of prediction with the "
            f"single lambda {self.single_lam:.6g}",
        ]
        for k in range(min(self.lams.size, _SHOWN)):
            note = ", all its coefficients zero" if self.labels[k] in self.dead else ""
            lines.append(f"  layer {self.labels[k]!s:<6}lam {self.lams[k]:.6g}{note}")
        if self.lams.size > _SHOWN:
            lines.append(f"  ... and {self.lams.size - _SHOWN} more")
        lines.append(f"  result      {self.result.status.name}: {self.result.certificate}")
        return "\n".join(lines)


_SHOWN = 8


def tune_lams(
    A: Any,
    b: Any,
    penalty: Leveled,
    *,
    criterion: Any = None,
    method: str = "hypergradient",
    codata: Any = None,
    hyper_ridge: float | None = None,
    max_evaluations: int = 40,
    tol: float = 1e-6,
    max_time: float | None = None,
    n_threads: int | None = None,
    intercept: bool = False,
    rng: Any = None,
) -> Tuning:
    """Learn one lambda per layer, and keep the single lambda unless they predict better.

    Minimises C(x(lam)) over log lam, where x(lam) minimises 1/2 ||A x - b||^2 + R_lam(x) and C is the error
    of prediction on rows left out, or an estimate of the risk. The gradient takes one linear system on the
    coefficients that are not zero, whatever the number of layers [1]_.

    Parameters
    ----------
    A : array_like or scipy.sparse container, shape (m, n)
        Real or complex, columns in memory.
    b : array_like, shape (m,)
        The data.
    penalty : L1, L2, ElasticNet or GroupL1
        With ``groups=labels``: a layer per label (GroupL1: a block per label). A lam that is set is taken as
        relative factors; weights are respected.
    criterion : CrossValidation, HoldOut or SURE, optional
        What is minimised; CrossValidation(5) by default, of which the folds are used. SURE takes three probes
        where it has none: exact degrees of freedom have no gradient.
    method : str
        "hypergradient": L-BFGS-B on the criterion. The others propose lambdas that the criterion only judges.
        "evidence": the most likely variances of a Gaussian model, exact for L2, matched by variance for the
        others. "rms": lam_g inverse to the root mean square of the layer's coefficients. "balancing": equal
        shares of the penalty, lam_g inverse to R_g(x). Both start from the single lambda, whose scale the
        criterion chooses anew.
    codata : array_like, shape (number of layers, q), optional
        What is known of the layers: log lam = a_0 + Z a is learned in place of free lambdas. Without
        groups, one row per coefficient. Membership of a coarser layer is one column of zeros and ones each.
    hyper_ridge : float, optional
        rho of rho / 2 sum (log lam_g - mean)^2, added to the criterion relative to that of the single
        lambda; number of layers / m by default, 0 for none. It keeps many layers from following the noise of
        the criterion.
    max_evaluations : int
        Most evaluations of the criterion by the optimiser.
    tol : float
        Of the final solution, as for `solve`.
    max_time : float, optional
        Most seconds; the search ends with what it has.
    n_threads, intercept, rng
        As for `select_lam`.

    Returns
    -------
    Tuning
        ``lams`` with ``gain``, ``gain_error`` and the final ``result``.

    Raises
    ------
    ValueError, TypeError
        Bad input, before any work; a matrix-free A.

    Notes
    -----
    The gain is corrected for the lambdas having been chosen on the same rows. With folds, those of fold f are
    what one Newton step makes of them when f is left out, on which f is then predicted; of rows held out the
    same to second order; of a risk estimate the degrees of freedom of the lambdas are paid for. Lambdas whose
    gain is not above its standard error are not taken: ``fell_back``. More than one lambda per 20 rows rarely
    pays; ``rule`` says so.

    A layer whose coefficients are all zero has no gradient. It is restarted at 0.9 of the level from which on
    it is zero, and the restart is kept where the criterion falls. log lam stays between that level for x = 0
    (or the single lambda, if that is larger) and 7 less (16 for L2).

    Cost: one path for the single lambda; then, per evaluation, a warm-started solution and a system with the
    active columns for every fold. L0 has no gradient.

    References
    ----------
    .. [1] Q. Bertrand, Q. Klopfenstein, M. Massias, M. Blondel, S. Vaiter, A. Gramfort, J. Salmon, Implicit
       differentiation for fast hyperparameter selection in non-smooth convex learning, J. Mach. Learn. Res.
       23 (2022) 149.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> rng = np.random.default_rng(0)
    >>> A = rng.standard_normal((80, 120))
    >>> x = np.zeros(120); x[:15] = rng.standard_normal(15)
    >>> labels = np.repeat([0, 1], [20, 100])  # all the signal is in the small layer
    >>> tuning = si.tune_lams(A, A @ x + rng.standard_normal(80), si.L1(groups=labels))
    >>> bool(tuning.lams[0] < tuning.lams[1]), tuning.fell_back
    (True, False)
    """
    began = time.perf_counter()
    if method not in _METHODS:
        raise ValueError(f"method is {method!r}, but one of {', '.join(map(repr, _METHODS))} is needed")
    rho = None if hyper_ridge is None else _nonnegative(hyper_ridge, "hyper_ridge")
    budget = validation.count(max_evaluations, "max_evaluations", least=1)
    seconds = math.inf if max_time is None else _nonnegative(max_time, "max_time")
    stopping = Stopping(validation.tolerance(tol), max_time=seconds)
    threads = None if n_threads is None else validation.count(n_threads, "n_threads", least=1)
    operator, vector = system(A, b)
    n = operator.shape[1]
    given = check_layers(penalty, n, codata)
    criterion = CrossValidation(max(min(5, operator.shape[0]), 2)) if criterion is None else criterion
    check_criterion(criterion, operator.shape[0])
    index, labels = given.grouping(n)
    labels = np.arange(n) if index is None else labels
    table = _codata(codata, labels.size, index is not None, method)
    if not operator.explicit:
        raise TypeError(
            "A is matrix-free, but tune_lams solves systems with its active columns; pass a dense or sparse "
            "matrix, or choose a single lambda by select_lam"
        )
    added = Intercept.of(intercept, given, vector, n)
    operator, vector, extended = added.operator(operator), added.data(vector), added.penalty(given)
    if table is not None and added.signs:
        table = np.vstack([table, np.zeros((len(added.signs), table.shape[1]))])
    problem = Problem(operator, vector, unit_penalty(extended), rng=rng)
    task = Task(
        operator, vector, problem, extended, np.zeros(0), lambda at: resolve(at, "auto"), None,
        began + seconds, threads, stopping.tol,
    )  # fmt: skip
    layers = Layers(extended, problem, table)
    with added.unwrapping():
        ridge = layers.size / max(problem.m, 1) if rho is None else rho
        found = _tune(task, layers, criterion, method, ridge, budget)
        at = at_level(problem, extended, found.lams)
        at.operator.products = Products()  # what the search cost is told by n_evaluations
        solver, reason = resolve(at, "auto")
        left = max(began + seconds - time.perf_counter(), 0.0)
        result = run(
            at, solver, lam=found.lams, reason=reason,
            stopping=Stopping(stopping.tol, solver.default_max_iter, left),
        )  # fmt: skip
    result = added.result(result)
    lams = found.lams[: labels.size]
    unit = 2 * task.problem.units.b_exponent
    return Tuning(
        lams=lams, gain=found.gain, gain_error=found.error, result=result, penalty=given.replace(lam=lams),
        single_lam=found.single, fell_back=found.fell_back, proposed=found.proposed[: labels.size],
        dead=_dead(result.x, index, labels), labels=labels, rule=found.rule,
        criterion=math.ldexp(found.value, unit), single_criterion=math.ldexp(found.single_value, unit),
        n_evaluations=found.n_evaluations, seconds=time.perf_counter() - began,
    )  # fmt: skip


@dataclass(frozen=True)
class _Found:
    """What the search ended with, in the units of the penalty."""

    lams: Array
    proposed: Array
    single: float
    gain: float
    error: float
    fell_back: bool
    rule: str
    value: float
    single_value: float
    n_evaluations: int


def _tune(task: Task, layers: Layers, criterion: Any, method: str, rho: float, budget: int) -> _Found:
    """Find the single lambda and those of the layers, and decide between them."""
    problem = task.problem
    if problem.scale == 0.0 or layers.size == 0:
        why = "b is zero" if problem.scale == 0.0 else "no coefficient has a level that could be tuned"
        logs = np.where(layers.free, layers.high, 0.0)
        lams = layers.lams(logs)
        return _Found(lams, lams, 1.0, 0.0, 0.0, True, why, 0.0, 0.0, 0)
    evaluator: Criterion = build(criterion, task)
    baseline = Baseline.of(evaluator, layers)
    layers.admit(baseline.logs)
    if method == "hypergradient":
        proposal: Proposal = by_gradient(evaluator, layers, baseline, rho, budget)
    else:
        proposal = by_rule(method, evaluator, layers, baseline)
    gain, error = gain_over(baseline, proposal, evaluator, layers, rho)
    fell_back = not gain > error
    proposed = layers.lams(proposal.logs)
    # one lambda is one number, not what a logarithm leaves of it
    lams = np.where(layers.free, layers.own * baseline.lam, layers.own) if fell_back else proposed
    words = f"{proposal.words}, judged by {evaluator.judge.words}"
    if fell_back:
        words += "; the gain is not above its standard error, so the single lambda is kept"
    if layers.size > max(problem.m // _ROWS_PER_NUMBER, 1):
        words += (
            f"; {layers.size} numbers from {problem.m} rows are more than one per {_ROWS_PER_NUMBER} rows"
        )
    if baseline.at_edge:
        words += "; the single lambda lies at the edge of the levels tried"
    if evaluator.missed:
        words += f"; {evaluator.missed} solutions on parts of the rows missed their tolerance"
    return _Found(
        lams, proposed, baseline.lam, gain, error, fell_back, words,
        proposal.grade.value, baseline.grade.value, evaluator.n_evaluations,
    )  # fmt: skip


def _dead(x: Array, index: Array | None, labels: Array) -> Array:
    groups = np.arange(labels.size) if index is None else index
    return np.asarray(np.delete(labels, np.unique(groups[np.flatnonzero(x)])))


def _nonnegative(value: Any, name: str) -> float:
    number = validation.real_number(value, name)
    if not number >= 0:
        raise ValueError(f"{name} is {number}, but it must be >= 0")
    return number


def _codata(codata: Any, count: int, grouped: bool, method: str) -> Array | None:
    """Return the co-data as a finite real matrix with a row per layer."""
    if codata is None:
        return None
    if method != "hypergradient":
        raise ValueError(f"codata is given, but method={method!r} learns no dependence; use 'hypergradient'")
    array = validation.numeric(codata, "codata")
    if np.iscomplexobj(array):
        raise TypeError("codata is complex, but log lam = a_0 + Z a is real")
    array = array[:, None] if array.ndim == 1 else array
    unit = "layer (distinct label)" if grouped else "coefficient"
    if array.ndim != 2 or array.shape[0] != count or array.shape[1] == 0:
        raise ValueError(
            f"codata has shape {np.shape(codata)}, but one row per {unit} is needed, shape ({count}, q)"
        )
    validation.finite(array, "codata")
    return array

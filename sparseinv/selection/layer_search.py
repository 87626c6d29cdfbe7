"""The search for lambdas of layers, and what they gain over a single lambda."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparseinv.driver import run
from sparseinv.penalties.group import Grouped
from sparseinv.penalties.separable import L2
from sparseinv.selection.layer_evidence import is_affordable, matched_levels, maximise_evidence
from sparseinv.selection.layer_levels import Layers
from sparseinv.selection.layer_parts import Criterion, Grade, HeldOutError, UnbiasedRisk
from sparseinv.solvers.auto import resolve
from sparseinv.stopping import Stopping

Array = np.ndarray[Any, Any]

_LEVELS, _RATIO, _EXTENSIONS = (
    100,
    1e-2,
    2,
)  # of the single lambda's path, as in select_lam; then further down
_LOOSE, _TIGHT, _FALL = 1e-2, 1e-5, 0.4  # tolerances of evaluations, and the factor from one to the next
_DECREASE, _SLOPE = 1e-4, 1e-3  # of the criterion and its gradient, at which the search ends
_REVIVALS = 2  # restarts of layers that are zero
_LARGEST_START = 1000  # order up to which evidence offers a start
_START_LIMIT = 8  # iterations for that
_FARTHEST = 1.5  # change of log lam that leaving a fold out may make
_FLOOR = 1e-2  # of the largest layer: what a layer counts in the rules, at least
_ROUNDS = 3  # of balancing
_PILOT = 1e-4  # tolerance of the solution from which rules start


@dataclass(frozen=True)
class Baseline:
    """The single lambda that the criterion chooses, with the solutions of every part."""

    lam: float
    logs: Array
    grade: Grade
    starts: list[Array]
    at_edge: bool

    @classmethod
    def of(cls, evaluator: Criterion, layers: Layers, factors: Array | None = None) -> Baseline:
        """Return the best scale of lam_g = scale * factor_g (all 1 by default)."""
        shift = np.zeros(layers.own.size) if factors is None else np.log(factors)
        penalty = layers.penalty.replace(lam=layers.lams(shift))
        top = float(np.exp(np.max((layers.high - shift)[layers.free])))
        ratio = _RATIO**3 if isinstance(penalty, L2) else _RATIO
        best: Baseline | None = None
        for extension in range(1 + _EXTENSIONS):
            levels = _LEVELS if extension == 0 else _LEVELS // 2
            lams = top * np.geomspace(1.0, ratio, levels)
            values, grades, starts = evaluator.grid(penalty, lams)
            at = int(np.argmin(values))
            edge = at in (0, levels - 1)
            if best is None or values[at] < best.grade.value:
                logs = np.where(layers.free, shift + math.log(lams[at]), 0.0)
                best = cls(float(lams[at]), logs, grades[at], [X[:, at] for X in starts], edge)
            if at < levels - 1 or time.perf_counter() > evaluator.task.deadline:
                break
            top, ratio = float(lams[-1]), 0.1
        assert best is not None
        return best


@dataclass(frozen=True)
class Proposal:
    """The lambdas that a method found; ``numbers`` where they follow the criterion."""

    logs: Array
    grade: Grade
    words: str
    numbers: Array | None = None


class _OutOfTime(Exception):
    """End the optimiser."""


class _Search:
    """Evaluate the objective of the optimiser and remember the best point."""

    def __init__(self, evaluator: Criterion, layers: Layers, baseline: Baseline, rho: float) -> None:
        self.evaluator, self.layers = evaluator, layers
        self.scale = baseline.grade.value if baseline.grade.value > 0.0 else 1.0
        self.ridge = ridge_matrix(layers, rho)
        self.best: tuple[float, Array, Grade, list[Array]] | None = None
        self.gradient: Array = np.zeros(layers.size)  # at the last point

    def __call__(self, a: Array) -> tuple[float, Array]:
        """Return the criterion, relative to that of the single lambda, plus ridge; and the gradient."""
        evaluator, layers = self.evaluator, self.layers
        if self.best is not None and time.perf_counter() > evaluator.task.deadline:
            raise _OutOfTime
        tol = max(_LOOSE * _FALL**evaluator.n_evaluations, _TIGHT)
        grade = evaluator.value(layers, layers.logs(a), tol)
        each = np.sum(evaluator.gradient(layers, grade), axis=0)
        value = grade.value / self.scale + 0.5 * float(a @ self.ridge @ a)
        self.gradient = layers.share(a).T @ each / self.scale + self.ridge @ a
        if self.best is None or value < self.best[0]:
            xs = [part.x for part in evaluator.parts if part.x is not None]
            self.best = (value, a.copy(), grade, xs)
        return value, self.gradient

    def revived(self, a: Array) -> Array:
        """Return a with the layers that are zero in every part where they just are not, at the last point."""
        layers, parts = self.layers, self.evaluator.parts
        found = self.evaluator.each(lambda k: layers.revived(parts[k].at, parts[k].working()))
        change = np.min(found, axis=0)
        dead = np.isfinite(np.array(found)).all(axis=0) & layers.free
        if not dead.any():
            return a
        logs = layers.logs(a)
        return layers.numbers(
            np.where(dead, np.maximum(logs + np.where(dead, change, 0.0), layers.low), logs)
        )


def ridge_matrix(layers: Layers, rho: float) -> Array:
    """Return R with a^T R a = rho q / K sum_g (log lam_g - mean)^2."""
    V = layers.spread()
    return np.asarray(rho * layers.size / max(V.shape[0], 1) * (V.T @ V))


def by_gradient(
    evaluator: Criterion, layers: Layers, baseline: Baseline, rho: float, budget: int
) -> Proposal:
    """Minimise the criterion over log lam by L-BFGS-B, started at the single lambda or at the evidence."""
    from scipy.optimize import minimize

    search = _Search(evaluator, layers, baseline, rho)
    ended = ""
    try:
        a = _start(search, baseline)
        for _ in range(1 + _REVIVALS):
            assert search.best is not None
            before = search.best[0]
            left = budget - evaluator.n_evaluations
            if left <= 0:
                break
            options = {"maxfun": left, "ftol": _DECREASE, "gtol": _SLOPE}
            minimize(search, a, jac=True, method="L-BFGS-B", bounds=layers.box(), options=options)
            evaluator.begin(search.best[3])
            if search.best[0] == before or evaluator.n_evaluations >= budget:
                break
            search(search.best[1])
            a = search.revived(search.best[1])
            if a is search.best[1]:
                break
        if evaluator.n_evaluations >= budget:
            ended = f", stopped after {evaluator.n_evaluations} evaluations"
    except _OutOfTime:
        ended = ", stopped by max_time"
    assert search.best is not None
    _, a, grade, xs = search.best
    evaluator.begin(xs)
    if not ended.endswith("max_time"):
        grade = evaluator.value(layers, layers.logs(a), _TIGHT)
    return Proposal(layers.logs(a), grade, f"hypergradients and L-BFGS-B{ended}", a)


def _start(search: _Search, baseline: Baseline) -> Array:
    """Return the better of the single lambda and the evidence, with every layer alive."""
    evaluator, layers = search.evaluator, search.layers
    evaluator.begin(baseline.starts)
    a = layers.numbers(baseline.logs)
    a = np.clip(a, *_sides(layers))
    value, _ = search(a)
    problem = evaluator.task.problem
    if layers.own.size < problem.n and is_affordable(problem) and min(problem.m, problem.n) <= _LARGEST_START:
        other = np.clip(layers.numbers(_evidence_logs(evaluator, layers, _START_LIMIT)), *_sides(layers))
        if search(other)[0] < value:
            a = other
        else:
            evaluator.begin(baseline.starts)
            search(a)
    return search.revived(a)


def _sides(layers: Layers) -> tuple[Array, Array]:
    low, high = zip(*layers.box(), strict=True)
    return (
        np.array([-np.inf if side is None else side for side in low]),
        np.array([np.inf if side is None else side for side in high]),
    )


def _evidence_logs(evaluator: Criterion, layers: Layers, limit: int = 200) -> Array:
    """Return log lam by the evidence of a Gaussian model, matched to the penalty by its variance."""
    problem = evaluator.task.problem
    bound = problem.penalty
    grouped = isinstance(bound, Grouped)
    ridge = isinstance(layers.penalty, L2)
    strength = bound.level if grouped else (bound.l2 if ridge else bound.l1)
    moving = (strength > 0) & np.isfinite(strength)
    # squares of extreme levels would leave the range of floating point
    unit = float(np.exp(np.log(strength[moving]).mean()))
    weights = np.where(moving, strength / unit, 1.0)
    found = maximise_evidence(
        problem, np.where(moving, layers.index, -1), layers.own.size, weights if ridge else weights**2, limit
    )
    levels = matched_levels(found, bound, problem.dtype.kind == "c")
    with np.errstate(divide="ignore"):
        return np.where(layers.free, np.clip(np.log(levels) - math.log(unit), layers.low, layers.high), 0.0)


def by_rule(method: str, evaluator: Criterion, layers: Layers, baseline: Baseline) -> Proposal:
    """Return the lambdas of a rule, whose scale the criterion chooses (that of the evidence is its own)."""
    if method == "evidence":
        logs = _evidence_logs(evaluator, layers)
        evaluator.begin(baseline.starts)
        grade = evaluator.value(layers, logs, _TIGHT)
        return Proposal(logs, grade, "evidence of a Gaussian model (generalised Fellner-Schall)")
    best, logs = None, baseline.logs
    for _ in range(_ROUNDS if method == "balancing" else 1):
        sizes = _sizes(method, evaluator, layers, logs)
        live = sizes[layers.free]
        if not live.any():
            break
        factors = np.ones(layers.own.size)
        factors[layers.free] = 1.0 / np.maximum(live, _FLOOR * live.max())
        factors[layers.free] /= np.exp(np.log(factors[layers.free]).mean())
        found = Baseline.of(evaluator, layers, factors)
        if best is not None and found.grade.value >= best.grade.value:
            break
        best, logs = found, found.logs
    words = "lam inverse to the root mean square" if method == "rms" else "equal shares of the penalty"
    if best is None:
        return Proposal(baseline.logs, baseline.grade, f"{words} (no layer is alive)")
    return Proposal(best.logs, best.grade, words)


def _sizes(method: str, evaluator: Criterion, layers: Layers, logs: Array) -> Array:
    """Return the size of every layer's coefficients at the lambdas, on all rows."""
    problem = evaluator.task.problem
    at = layers.at(problem, logs)
    left = max(evaluator.task.deadline - time.perf_counter(), 0.0)
    solver, _ = resolve(at, "auto")
    x = run(at, solver, stopping=Stopping(_PILOT, solver.default_max_iter, left)).x
    bound = problem.penalty
    live = np.flatnonzero(x)
    count = np.maximum(np.bincount(layers.index, minlength=layers.own.size), 1)
    if isinstance(bound, Grouped):
        squares = layers.per_layer((bound.level[live] * np.abs(x[live])) ** 2, live)
        return np.sqrt(squares / count) if method == "rms" else np.sqrt(squares)
    if isinstance(layers.penalty, L2):
        energy = layers.per_layer(bound.l2[live] * np.abs(x[live]) ** 2, live)
        return energy / count if method == "rms" else energy
    sizes = bound.l1[live] * np.abs(x[live])
    if method == "rms":
        return np.sqrt(layers.per_layer(sizes**2, live) / count)
    return layers.per_layer(sizes, live)


def gain_over(
    baseline: Baseline, proposal: Proposal, evaluator: Criterion, layers: Layers, rho: float
) -> tuple[float, float]:
    """Return (gain, standard error), relative to the criterion of the single lambda.

    Corrected for the lambdas following the criterion: they are moved by one Gauss-Newton step to where they
    would be without the rows of a fold, or of one row, that they are judged on.
    """
    scale = baseline.grade.value
    if not scale > 0.0:
        return 0.0, 0.0
    before, after = baseline.grade.per_row, proposal.grade.per_row
    judge = evaluator.judge
    folds = isinstance(judge, HeldOutError) and len(evaluator.parts) > 1
    late = time.perf_counter() > evaluator.task.deadline
    if proposal.numbers is not None and not late:
        after = _corrected(proposal, evaluator, layers, ridge_matrix(layers, rho), scale, folds)
    saved = [(one - other) / scale for one, other in zip(before, after, strict=True)]
    gain = float(sum(part.sum() for part in saved))
    rows = np.concatenate(saved)
    if not folds:
        return gain, float(math.sqrt(rows.size) * rows.std(ddof=1)) if rows.size > 1 else math.inf
    share = np.array([part.size for part in saved]) / rows.size
    means = np.array([part.mean() * rows.size for part in saved])
    return gain, float(math.sqrt(share @ (means - gain) ** 2 / (len(saved) - 1)))


def _corrected(
    proposal: Proposal, evaluator: Criterion, layers: Layers, ridge: Array, scale: float, folds: bool
) -> list[Array]:
    """Return the contributions of the rows under lambdas that have not seen them."""
    a = proposal.numbers
    assert a is not None
    motions = evaluator.motions(layers, layers.share(a))
    count, grade = evaluator.judge.count, proposal.grade
    if folds:
        slopes = [(J.conj().T @ v).real / scale for J, v in zip(motions, grade.slopes, strict=True)]
        bends = [2.0 * (J.conj().T @ J).real / count / scale for J in motions]
        whole = np.sum(bends, axis=0) + ridge

        def without(k: int) -> Array:
            step = np.linalg.lstsq(whole - bends[k], slopes[k], rcond=1e-10)[0]
            step *= min(1.0, _FARTHEST / max(float(np.abs(layers.basis @ step).max(initial=0.0)), 1e-300))
            part = evaluator.parts[k]
            return part.solve(layers, layers.logs(a + step), evaluator.follower(_TIGHT))

        return evaluator.judge.grade(evaluator.each(without)).per_row
    bend = 2.0 * (motions[0].conj().T @ motions[0]).real / count / scale
    inverse = np.linalg.pinv(bend + ridge, rcond=1e-10, hermitian=True)
    if isinstance(evaluator.judge, UnbiasedRisk):
        # lambdas that follow the data are degrees of freedom as well; the single one is one of them
        freedom = max(float(np.sum(inverse * bend)) - 1.0, 0.0)
        return [grade.per_row[0] + evaluator.judge.price * freedom / count**2]
    per_row = (np.conj(grade.slopes[0])[:, None] * motions[0]).real / scale
    return [grade.per_row[0] + scale * ((per_row @ inverse) * per_row).sum(axis=1)]

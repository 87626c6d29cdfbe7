"""Solutions for a falling sequence of levels, each started from the one before."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.certificate import Certificate, DualPair, Kind, certify_problem
from sparseinv.counted_operator import OperatorFailure, Products
from sparseinv.driver import Run, unknown
from sparseinv.penalties.base import Leveled, Penalty
from sparseinv.penalties.separable import L2, Separable
from sparseinv.problem import Problem
from sparseinv.result import Interrupted, Path, Result, Status
from sparseinv.selection.defaults import at_level
from sparseinv.selection.freedom import ridge_values
from sparseinv.selection.theory import level_of_zero
from sparseinv.solvers.base import Solver
from sparseinv.stopping import History, PathBar, PathProgress, Stopping

Array = np.ndarray[Any, Any]

_LEAST_MISFIT = 1e-3  # of the objective: what a loose tolerance is relative to, at least
# a run that ended so leaves a state from which the next level may go on
_WHOLE = (Status.CONVERGED, Status.MAX_ITER, Status.PRECISION_FLOOR, Status.EXHAUSTED)


def check_levels(
    penalty: Any, lams: Array | None, n: int, remedy: str = "pass lams to solve_path or select_lam",
    ridge: bool = False,
) -> Leveled:  # fmt: skip
    """Return the penalty; refuse what has no level, or no level to start from."""
    validation.refuse_class(penalty, Penalty, "penalty", "...")
    if not isinstance(penalty, Leveled):
        raise TypeError(
            f"penalty is {penalty!r}, which has no level; L1, L2, L0, ElasticNet, GroupL0, GroupL1, Lp, "
            "LogSum, MCP, SCAD and GroupConcave have one"
        )
    if lams is None and isinstance(penalty, L2) and not ridge:
        raise ValueError(
            "lams is missing: an L2 penalty never gives x = 0, so there is no largest lam to start from; "
            f"{remedy}, for example numpy.geomspace(1e2, 1e-4, 50) times the mean of ||a_j||^2"
        )
    if lams is not None:
        for t in {lams[0], lams[-1]}:
            penalty.at(factored(penalty.lam, float(t))).bind(n)
    return penalty


def factored(lam: Any, t: float) -> Any:
    """Return t times the penalty's own lam (t itself where it has none); excluded stays excluded."""
    if lam is None:
        return t
    own = np.asarray(lam, dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        scaled = np.where(np.isinf(own), np.inf, t * own)
    if (np.isinf(scaled) & np.isfinite(own)).any():
        raise ValueError(f"lams holds {t:g}, which times the penalty's own lam overflows; use smaller lams")
    # a positive level stays positive: underflow must not unpenalise a coefficient
    scaled = np.where((own > 0) & (scaled == 0) & (t > 0), np.finfo(np.float64).tiny, scaled)
    return float(scaled) if scaled.ndim == 0 else scaled


def grid(problem: Problem, n_lams: int = 100, ratio: float = 1e-2) -> Array:
    """Return n_lams levels from the one that gives x = 0 down to ratio times that.

    The problem is bound with the penalty's own lam, or 1. Where x = 0 for every level the levels start at 1.
    """
    top = level_of_zero(problem) if problem.scale > 0.0 and problem.n else 0.0
    if top == math.inf and isinstance(problem.penalty, Separable) and problem.penalty.l2.any():
        return ridge_grid(problem, n_lams)
    if not math.isfinite(top):
        raise ValueError(f"lams is missing: the largest level would be {top}; pass lams")
    return np.asarray((top or 1.0) * np.geomspace(1.0, ratio, n_lams))


def ridge_grid(problem: Problem, n_lams: int) -> Array:
    """Return levels of L2 between which the fit goes from almost nothing to almost all that A can do."""
    spectrum = ridge_values(problem)
    if spectrum is None:
        levels = problem.penalty.l2
        live = levels[(levels > 0) & np.isfinite(levels)]
        top = problem.lipschitz[0] / float(live.min(initial=np.inf))
        return np.geomspace(1e1 * top, 1e-8 * top, n_lams) if top > 0.0 else np.geomspace(1.0, 1e-2, n_lams)
    if not spectrum.size:
        return np.geomspace(1.0, 1e-2, n_lams)
    grid = np.geomspace(1e4, 1e-12, 400) * spectrum[0]
    share = np.array([(spectrum / (spectrum + t)).mean() for t in grid])
    inside = grid[(share >= 0.01) & (share <= 0.99)]
    top, bottom = (inside[0], inside[-1]) if inside.size > 1 else (1e2 * spectrum[0], 1e-4 * spectrum[0])
    return np.geomspace(top, bottom, n_lams)


@dataclasses.dataclass(frozen=True)
class Follower:
    """Say how every level of a path is solved.

    Attributes
    ----------
    method : callable
        From the problem at a level to (solver, reason).
    stopping : Stopping
        tol per level, max_time for the whole path.
    max_iter : int or None
        Iterations per level; the solver's own default if None.
    callback, progress, single
        As for `sparseinv.solve_path`; single returns x in single precision.
    loose : float
        Where a gap of this times the misfit at the level before is larger than that of tol, it is
        enough; a misfit below a thousandth of the objective counts as that.
    watch : callable, optional
        Called after every certificate of every run; StopIteration ends that run.
    """

    method: Callable[[Problem], tuple[Solver, str]]
    stopping: Stopping
    max_iter: int | None = None
    callback: Callable[[PathProgress], Any] | None = None
    progress: bool = False
    single: bool = False
    loose: float = 0.0
    watch: Callable[[Any], Any] | None = None

    def follow(self, problem: Problem, penalty: Leveled, lams: Array, began: float) -> Path:
        """Solve at every level, from the first to the last; see `sparseinv.solve_path`."""
        results: list[Result] = []
        bar = PathBar(self.stopping.tol) if self.progress else None
        state: Any = None
        method: Solver | None = None
        ended: Status | None = None
        at, misfit = problem, _LEAST_MISFIT  # nothing is known of the misfit at the first level
        try:
            for t in lams:
                if results and time.perf_counter() - began >= self.stopping.max_time:
                    ended = Status.MAX_TIME
                    break
                level = factored(penalty.lam, float(t))
                # from the level before, which knows the column norms and ||A|| by now
                at = at_level(at, penalty, level)
                following, reason = self.method(at)
                state, method = state if following == method else None, following
                x0 = results[-1].x.astype(at.dtype) if results else None
                drive = self.run(at, method, x0, began, state, misfit)
                result = drive.finish(callback=self.watch, lam=level, reason=reason, single=self.single)
                results.append(result)
                at.operator.products = Products()
                state = drive.state if goes_on(drive, result) else None
                misfit = _misfit(at, result) if self.loose else 1.0
                progress = seen(result, float(t), len(results), lams.size)
                if bar is not None:
                    bar.update(progress)
                if self.callback is not None:
                    self.callback(progress)
        except StopIteration:
            ended = Status.STOPPED_BY_CALLBACK
        except KeyboardInterrupt as stop:
            ended = Status.INTERRUPTED
            if isinstance(stop, Interrupted):
                results.append(stop.result)
                at.operator.products = Products()
        finally:
            if bar is not None:
                bar.close()
        if ended is not None:
            results += self._rest(at, penalty, lams, results, ended, method)
        path = Path(results, lams)
        if ended is Status.INTERRUPTED:
            reached = next((r for r in results if r.status is Status.INTERRUPTED), results[-1])
            raise Interrupted(reached, path) from None
        return path

    def run(
        self, at: Problem, method: Solver, x0: Array | None, began: float, state: Any = None,
        misfit: float = 1.0,
    ) -> Run:  # fmt: skip
        """Return the run at one level, with what is left of the time."""
        left = max(self.stopping.max_time - (time.perf_counter() - began), 0.0)
        limit = method.default_max_iter if self.max_iter is None else self.max_iter
        tol = self.stopping.tol
        if self.loose:
            tol = max(tol, self.loose * misfit)
        return Run(at, method, x0, Stopping(tol, limit, left), state=state)

    def _rest(
        self, problem: Problem, penalty: Leveled, lams: Array, results: list[Result], ended: Status,
        method: Any,
    ) -> list[Result]:  # fmt: skip
        """Judge the last x at the levels that were left; all of them share its residual and gradient."""
        problem.operator.phase, problem.operator.deadline = "certificate", math.inf
        last = results[-1].x if results else np.zeros(problem.n, dtype=problem.dtype)
        x = np.ascontiguousarray(problem.units.working(last.astype(problem.dtype)))
        judge = _Judge(x, self.stopping.tol, getattr(method, "local_kind", Kind.COORDINATE_MINIMUM))
        rest = []
        for t in lams[len(results) :]:
            began = time.perf_counter()
            level = factored(penalty.lam, float(t))
            problem = at_level(problem, penalty, level)
            certificate = judge(problem)
            met = ended is Status.MAX_TIME and certificate.relative <= self.stopping.tol
            rest.append(
                Result(
                    x=last, status=Status.CONVERGED if met else ended, certificate=certificate,
                    objective=certificate.objective, lam=level, n_iter=0,
                    products=problem.operator.products, seconds=time.perf_counter() - began,
                    history=History(), solver=method, tol=self.stopping.tol,
                    detail="" if met else "This level was not begun; x is that of the level before.",
                )
            )  # fmt: skip
            problem.operator.products = Products()
        return rest


class _Judge:
    """Certify one x at many levels, with one product with A and as few as can be with A^H."""

    def __init__(self, x: Array, tol: float, local: Kind) -> None:
        self.x, self.tol, self.local = x, tol, local
        self.r: Array | None = None
        self.dual: DualPair | None = None
        self.failed = False

    def __call__(self, problem: Problem) -> Certificate:
        """Return the certificate; one that proves nothing once A has failed or Ctrl-C came again."""
        if not self.failed:
            try:
                if self.r is None:
                    self.r = problem.residual(self.x)
                if self.dual is None and problem.penalty.convex and problem.unpenalised.size == 0:
                    self.dual = DualPair(self.r, problem.gradient(self.r))
                return certify_problem(
                    problem, self.x, r=self.r, dual=self.dual, target=self.tol, local=self.local
                )
            except (OperatorFailure, KeyboardInterrupt):
                self.failed = True
        value = math.inf if self.r is None else problem.objective(self.x, self.r)
        return dataclasses.replace(unknown(problem)[1], objective=problem.units.objective(value))


def _misfit(problem: Problem, result: Result) -> float:
    """Return 1/2 ||A x - b||^2 over 1/2 ||b||^2, at least a thousandth of the objective and at most 1."""
    total = result.objective / result.certificate.scale if 0.0 < result.certificate.scale < math.inf else 1.0
    x = problem.units.working(result.x)
    share = problem.relative(float(problem.penalty.value(x)))
    return float(np.clip(total - share, _LEAST_MISFIT * total, 1.0))


def goes_on(drive: Run, result: Result) -> bool:
    """Tell whether the state of a run stands at the point that the run returned."""
    if drive.state is None or result.status not in _WHOLE:
        return False
    outer = drive.problem.units.solution(drive.state.x)
    return np.array_equal(outer.astype(result.x.dtype, copy=False), result.x)


def seen(result: Result, lam: float, number: int, total: int) -> PathProgress:
    """Return what a callback sees after a level."""
    x = result.x.view()
    x.flags.writeable = False
    certificate = result.certificate
    return PathProgress(
        result.n_iter, result.seconds, certificate.objective, certificate.relative, result.n_matvec,
        result.n_rmatvec, x, lam, number, total,
    )  # fmt: skip


def unit_penalty(penalty: Leveled) -> Penalty:
    """Return the penalty at the level 1, or at its own lam where it has one."""
    return penalty if penalty.lam is not None else penalty.replace(lam=1.0)

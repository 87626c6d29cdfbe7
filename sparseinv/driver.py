"""The one loop: start, step, certify, stop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from sparseinv.certificate import Certificate, DualPair, Kind, certify_problem, unproven
from sparseinv.counted_operator import OperatorFailure, OutOfTime
from sparseinv.number_range import in_single_precision, is_finite, within_range
from sparseinv.problem import Problem, squared
from sparseinv.result import Interrupted, Result, Selection, Status
from sparseinv.solvers.base import Outcome, Solver, State, start_point
from sparseinv.stopping import Bar, Budget, History, Progress, Stopping

Array = np.ndarray[Any, Any]

_REFIT_WORK = 20.0  # a refit may cost this many passes over A during a run
_STALL = 200  # certificates without any progress after which a run has reached its floor
_LATE, _LATER = 0.05, 0.05  # seconds, and share of the time so far, to make the most of a run cut off
_ENDS = (Status.PRECISION_FLOOR, Status.EXHAUSTED, Status.MAX_ITER, Status.MAX_TIME)  # perhaps within tol
_ORDINARY = 200  # exponents of x's unit down to minus this take no entry that matters below 2^-1022
_LARGE = 1e30  # norm of a start from which on it is judged before a solver sees it
_WORSE = 1.0 / float(np.finfo(np.float64).eps)  # times the objective at zero: a start beyond is no help
_FAR = "The objective at x0 is not finite or beyond 1/eps times that at zero, so the run began at zero."
_CUT = "x overflows in the units of A and b and was cut to the range of floating point."
_STALLED = (
    f"Nothing has improved in {_STALL} certificates, which may be a stall of the method and no floor: "
    "columns of A scaled to equal norms, with weights=1/norms for the same problem, are easier to solve for."
)


class _Best(NamedTuple):
    """The point to return if the run ends without converging."""

    x: Array
    certificate: Certificate
    settled: bool


class Run:
    """Drive a solver step by step; `solve` and `iterate` both use it.

    Parameters
    ----------
    problem : Problem
        Data and penalty in working units.
    solver : Solver
        The method.
    x0 : ndarray or None
        Start in the user's units.
    stopping : Stopping
        Limits.
    began : float, optional
        Reading of ``time.perf_counter()`` at which the run began; now if None.
    state : State, optional
        Where a run of the same solver on the same data ended, at another level of the penalty: go on
        from there. x0 is then not used.
    """

    def __init__(
        self,
        problem: Problem,
        solver: Solver,
        x0: Array | None,
        stopping: Stopping,
        began: float | None = None,
        state: State | None = None,
    ) -> None:
        self.problem, self.solver, self.stopping = problem, solver, stopping
        self.began = time.perf_counter() if began is None else began
        problem.operator.deadline = self.began + stopping.max_time
        self.history = History()
        self.status: Status | None = None
        self.detail = ""
        self.state: State | None = None
        # b = 0: x = 0 is the answer, wherever a run might start
        trivial = problem.scale == 0.0 and hasattr(problem.penalty, "in_units")
        self._x0 = None if x0 is None or trivial else problem.units.working(x0)
        self._previous = None if trivial else state
        if self._previous is not None:
            self._x0 = self._previous.x.copy()
        self._best: _Best | None = None
        self._last: Certificate | None = None
        self._lowest = math.inf  # smallest certificate.relative so far
        self._idle = 0  # certificates since the last progress
        self._nonzeros = -1
        self._stalled = False

    def start(self) -> None:
        """Set the solver up and judge the point it starts from; begin at zero where x0 is of no use."""
        self.state = self._guarded(self._first_state)
        if self.status is None:
            self._judge(Outcome.MOVED)
        state = self.state
        if state is None or self._x0 is None or self._previous is not None or self.status is not None:
            return
        if not self._guarded(lambda: self._helps(state)) and self.status is None:
            self._x0, self.detail = None, _FAR
            self.history, self._best, self._lowest, self._nonzeros = History(), None, math.inf, -1
            self.start()

    def _helps(self, state: State) -> bool:
        """Tell whether the objective at a start is finite and not out of all proportion to that at zero."""
        problem = self.problem
        r = problem.residual(state.x) if state.r is None else state.r
        value = problem.objective(state.x, r)
        if hasattr(problem.penalty, "in_units"):
            return value <= _WORSE * problem.scale
        # zero may be infeasible for a penalty of the user's, and x0 a point that its prox will mend
        zero = problem.scale + float(problem.penalty.value(np.zeros_like(state.x)))
        return not (math.isfinite(value) and 0.0 < zero < value / _WORSE)

    def _is_sane(self, x0: Array) -> bool:
        """Tell whether a start does without being judged first, or stands it."""
        if squared(x0) <= _LARGE**2:
            return True
        with np.errstate(all="ignore"):
            x = start_point(self.problem, x0.copy())
            try:
                return is_finite(x) and self._helps(State(x))
            except (OperatorFailure, OutOfTime):
                return False

    def _first_state(self) -> State:
        if self._previous is None:
            if self._x0 is not None and not self._is_sane(self._x0):
                self._x0, self.detail = None, _FAR
            state: State = self.solver.start(self.problem, self._x0)
        else:
            self.problem.operator.phase = "setup"
            state = self.solver.resume(self.problem, self._previous)
            state.n_iter = 0
        return state

    def step(self) -> None:
        """Take one step of the solver and judge where it led."""
        assert self.state is not None
        budget = Budget(
            tol=self.stopping.tol,
            iterations=self.stopping.max_iter - self.state.n_iter,
            seconds=self.stopping.max_time - self.seconds,
            gap=self.history.rows[-1][3],
        )
        if budget.iterations <= 0:
            self.status = Status.MAX_ITER
            return
        self.problem.operator.phase = "iterations"
        outcome = self._guarded(lambda: self.solver.step(self.problem, self.state, budget))
        if self.status is None:
            self._judge(outcome)

    @property
    def seconds(self) -> float:
        """Seconds since the run began."""
        return time.perf_counter() - self.began

    def progress(self) -> Progress:
        """Return what a callback sees."""
        assert self.state is not None
        x = np.array(self.problem.units.solution(self.state.x))
        x.flags.writeable = False
        products = self.problem.operator.products
        row = self.history.rows[-1]
        return Progress(row[0], row[1], row[2], row[3], products.forward, products.adjoint, x)

    def _guarded(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except OperatorFailure as failure:
            self.status, self.detail = Status.NUMERICAL_FAILURE, str(failure)
        except OutOfTime:
            self.status = Status.MAX_TIME
        return None

    def _judge(self, outcome: Outcome) -> None:
        state, problem = self.state, self.problem
        assert state is not None
        if not is_finite(state.x):
            self.status, self.detail = Status.NUMERICAL_FAILURE, "The iterate became non-finite."
            return
        problem.operator.phase = "certificate"
        last = outcome is not Outcome.MOVED
        refit = last or self._refit_pays(state)
        tol, kind = self.stopping.tol, self.solver.proves(problem)
        certificate = self._guarded(
            (lambda: unproven(problem, state.x, kind, state.r))
            # on the way not worth a product per non-zero, or one at all
            if not state.settled and (kind is Kind.SWAP_MINIMUM or self.solver.finite)
            else lambda: certify_problem(
                problem,
                state.x,
                r=state.r,
                dual=state.dual,
                refit=refit,
                target=tol,
                local=kind,
                floor=state.lower_bound,
                provided=state.provided,
            )
        )
        if certificate is None:
            return
        self._last = certificate
        spent = problem.operator.products.total
        self.history.add(state.n_iter, self.seconds, certificate.objective, certificate.relative, spent)
        stalled = self._remember(state, certificate)
        # a global proof ends a run even on a detour
        if (state.settled or certificate.kind.is_global) and certificate.relative <= tol:
            self.status = Status.CONVERGED
        elif outcome is Outcome.LIMIT:
            self.status = Status.MAX_NODES
        elif outcome is Outcome.EXHAUSTED and self.solver.finite:
            self.status = Status.EXHAUSTED
        elif last or stalled:
            self.status, self._stalled = Status.PRECISION_FLOOR, not last
        elif self.seconds >= self.stopping.max_time:
            self.status = Status.MAX_TIME

    def _refit_pays(self, state: State) -> bool:
        """Tell whether the support has settled and is small enough for a refit to cost a few passes."""
        if not (self.solver.refit and self.problem.explicit):
            return False
        before, self._nonzeros = self._nonzeros, int(np.count_nonzero(state.x))
        return self._nonzeros == before and self._refit_is_cheap(state.x)

    def _refit_is_cheap(self, x: Array) -> bool:
        problem = self.problem
        if not problem.explicit:
            return False
        k = float(np.count_nonzero(x))
        cost = k * k * problem.m + k**3 / 3
        return cost <= _REFIT_WORK * max(problem.m * problem.n, 1)

    def _remember(self, state: State, certificate: Certificate) -> bool:
        """Keep the point of lowest objective; tell whether nothing has improved for a long time.

        An unsettled state works on another problem: its points count only until there is a settled one.
        """
        best = self._best
        first = best is None or (state.settled and not best.settled)
        better = first or (
            best is not None
            and state.settled == best.settled
            and not certificate.objective > best.certificate.objective
        )
        scale = certificate.scale if math.isfinite(certificate.scale) else 0.0
        # what rounding alone can do to the objective is no progress
        crumb = 1e-9 if getattr(self.problem.operator.inner, "single", False) else 1e-15
        progress = (
            first
            or best is None
            or certificate.objective < best.certificate.objective - crumb * scale
            or certificate.relative < 0.99 * self._lowest
        )
        if first:
            self._lowest = math.inf
        self._lowest = min(self._lowest, certificate.relative)
        # a tree of nodes ends by itself, however long its bound stands still
        endless = state.settled and state.lower_bound == -math.inf
        self._idle = 0 if progress or not endless else self._idle + 1
        if better:
            x = np.empty_like(state.x) if best is None else best.x
            x[:] = state.x
            self._best = _Best(x, certificate, state.settled)
        return self._idle >= _STALL

    def _is_better(self, state: State) -> bool:
        """Tell whether the point at which a run was cut off has a lower objective than the best one."""
        best, problem = self._best, self.problem
        if best is None or not np.isfinite(state.x).all():
            return best is None
        try:
            value = problem.objective(state.x, problem.residual(state.x))
        except OperatorFailure:
            return False
        return problem.units.objective(value) < best.certificate.objective

    def _salvaged(self, status: Status) -> bool:
        """Let the solver make the most of a run that was cut off; tell whether there is another point."""
        state, cut = self.state, (Status.MAX_TIME, Status.INTERRUPTED)
        if (
            state is None
            or state.settled
            or status not in (*cut, Status.MAX_ITER, Status.STOPPED_BY_CALLBACK)
        ):
            return False
        operator = self.problem.operator
        if status in cut:  # somebody waits
            operator.deadline = (
                time.perf_counter() + _LATE + _LATER * min(self.stopping.max_time, self.seconds)
            )
        try:
            return self.solver.salvage(self.problem, state)
        except OperatorFailure:
            return False
        finally:
            operator.deadline = math.inf

    def finish(
        self,
        *,
        callback: Callable[[Progress], Any] | None = None,
        progress: bool = False,
        lam: Any = None,
        reason: str = "",
        selection: Selection | None = None,
        single: bool = False,
    ) -> Result:
        """Step until something ends the run; raise Interrupted with the result on Ctrl-C."""
        bar = Bar(self.stopping.tol) if progress else None
        try:
            self.start()
            while self.status is None:
                if callback is not None:
                    try:
                        callback(self.progress())
                    except StopIteration:
                        self.status = Status.STOPPED_BY_CALLBACK
                        break
                if bar is not None:
                    bar.update(self.progress())
                self.step()
        except KeyboardInterrupt:
            self.status = Status.INTERRUPTED
        finally:
            if bar is not None:
                bar.close()
        try:
            result = self.result(lam=lam, reason=reason, selection=selection, single=single)
        except KeyboardInterrupt:  # while x was judged, which is not lost for that
            self.status = Status.INTERRUPTED
            result = self.result(lam=lam, reason=reason, selection=selection, single=single)
        if result.status is Status.INTERRUPTED:
            raise Interrupted(result)
        return result

    def result(self, *, lam: Any, reason: str, selection: Selection | None, single: bool) -> Result:
        """Return the result with a certificate from a fresh residual."""
        problem, state = self.problem, self.state
        status, best = self.status or Status.INTERRUPTED, self._best
        problem.operator.phase, problem.operator.deadline = "certificate", math.inf
        hurried = status in (Status.MAX_TIME, Status.INTERRUPTED)
        hurried = self._salvaged(status) or hurried
        x = best.x if best is not None else start_point(problem, self._x0)
        if state is not None and (status is Status.CONVERGED or (hurried and self._is_better(state))):
            x = state.x
        outer, x, lost = self._outward(x, single)
        if lost is _CUT:
            status = Status.NUMERICAL_FAILURE
        # nobody waits for a costly refit after a run that did not get to its end
        refit = status in (Status.CONVERGED, Status.PRECISION_FLOOR) or self._refit_is_cheap(x)
        tol, local = self.stopping.tol, self.solver.proves(problem)
        try:
            dual, certificate = None, None
            if state is not None and not single and status in (Status.CONVERGED, Status.EXHAUSTED):
                # judged at this x with nothing but products of our own
                own = state.r is None and state.dual is None and state.settled
                certificate = self._last if own and np.array_equal(x, state.x) else None
            proven = state is not None and status is Status.CONVERGED and certificate is None
            if proven and state is not None and state.dual is not None:
                if not single and problem.vouches(x, state.r, state.dual.v, state.dual.Ahv):
                    certificate = self._last  # judged with products of our own already
                else:
                    # a product of our own: what a solver says about its dual vector proves nothing
                    dual = DualPair(state.dual.v, problem.gradient(state.dual.v))
            if certificate is None:
                floor, provided = (-math.inf, "") if state is None else (state.lower_bound, state.provided)
                certificate = certify_problem(
                    problem, x, dual=dual, refit=refit, target=tol, local=local, floor=floor,
                    provided=provided,
                )  # fmt: skip
            if dual is not None and certificate.relative > tol:
                certificate = certify_problem(problem, x, refit=refit, target=tol, local=local)
        except OperatorFailure as failure:
            x, certificate = (best.x, best.certificate) if best is not None else unknown(problem)
            outer, _, lost = self._outward(x, False)
            if lost:  # what is known of x is not known of what is left of it
                outer, certificate = unknown(problem)
            if self.status is not Status.NUMERICAL_FAILURE:
                self.detail = f"{self.detail} {failure}".strip()
            status = Status.NUMERICAL_FAILURE
        settled = state is None or state.settled
        if status is Status.CONVERGED and certificate.relative > self.stopping.tol:
            status = Status.PRECISION_FLOOR
        elif settled and status in _ENDS and certificate.relative <= self.stopping.tol:
            status = Status.CONVERGED
        learned, proof = getattr(state, "posterior", None), getattr(state, "proof", None)
        notes = [self.detail, "" if state is None else getattr(state, "note", "")]
        if status is Status.PRECISION_FLOOR and self._stalled:
            notes.append(_STALLED)
        if status is Status.EXHAUSTED:
            notes.append(left_undone(self.solver, int(np.count_nonzero(x)), certificate))
        if status is Status.PRECISION_FLOOR or lost is _CUT:
            notes.append(lost)
        return Result(
            x=outer, status=status, certificate=certificate, objective=certificate.objective, lam=lam,
            n_iter=state.n_iter if state is not None else 0, products=problem.operator.products,
            seconds=self.seconds, history=self.history, solver=self.solver, reason=reason,
            selection=selection, detail=" ".join(filter(None, notes)), tol=self.stopping.tol,
            posterior=None if learned is None else learned.outward(problem.units),
            proof=None if proof is None else proof.outward(problem.units),
        )  # fmt: skip

    def _outward(self, x: Array, single: bool) -> tuple[Array, Array, str]:
        """Return x in the user's units, the point in working units that this is, and what the range took."""
        units, lost = self.problem.units, ""
        outer = units.solution(x)
        if self.state is not None and outer is self.state.x:  # a run that goes on from there writes into it
            outer = x.copy()
        if not is_finite(outer):
            outer, lost = within_range(outer), _CUT
        elif units.b_exponent - units.a_exponent < -_ORDINARY and not np.array_equal(units.working(outer), x):
            lost = "x underflows in the units of A and b."
        if single:
            # rounding must not leave a set that is bounded
            outer = in_single_precision(outer, inward=hasattr(self.problem.penalty, "radius"))
        if single or lost:
            x = units.working(outer.astype(self.problem.dtype))
        return outer, x, lost


def left_undone(solver: Solver, count: int, certificate: Certificate) -> str:
    """Return what a method that promises no minimum has left undone."""
    change = {
        Kind.SWAP_MINIMUM: "adding, removing or exchanging one of them",
        Kind.COORDINATE_MINIMUM: "changing one coefficient",
    }.get(certificate.kind, "a proximal step")
    chosen = f"{count} column{'' if count == 1 else 's'}"
    return (
        f"{type(solver).__name__} chose {chosen}; {change} would lower the objective by "
        f"{certificate.relative:.1e} of 1/2||b||^2."
    )


def unknown(problem: Problem) -> tuple[Array, Certificate]:
    """Return what a run has that could not even judge its start: x = 0, nothing proved."""
    value = problem.units.objective(problem.scale)
    certificate = Certificate(Kind.PROX_STATIONARITY, math.inf, value, math.inf, value, -math.inf)
    return np.zeros(problem.n, dtype=problem.dtype), certificate


def run(
    problem: Problem,
    solver: Solver,
    *,
    x0: Array | None = None,
    stopping: Stopping | None = None,
    callback: Callable[[Progress], Any] | None = None,
    progress: bool = False,
    lam: Any = None,
    reason: str = "",
    selection: Selection | None = None,
    single: bool = False,
    began: float | None = None,
) -> Result:
    """Solve the problem; see `sparseinv.solve`.

    Raises
    ------
    Interrupted
        On Ctrl-C, with the best result so far in ``.result``.
    """
    return Run(problem, solver, x0, stopping or Stopping(), began).finish(
        callback=callback, progress=progress, lam=lam, reason=reason, selection=selection, single=single
    )

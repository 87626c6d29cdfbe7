"""The one loop: how runs start, stop, fail and are interrupted, and what they leave behind.

Of the known classes of bugs: B14 (no exception for a run that does not converge), B18 (a callback cannot
corrupt a run), B19 (operators that fail at call k), B20 (pickles), B21 (Ctrl-C).
"""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparseinv as si
from sparseinv.certificate import DualPair
from sparseinv.solvers.base import Outcome, State

ROOT = Path(__file__).resolve().parent.parent

EYE = np.eye(3)
B = np.array([2.0, 1.0, -0.5])
PENALTY = si.L1(0.25)
OPTIMUM = np.array([1.75, 0.75, -0.25])


@dataclass(frozen=True)
class Scripted(si.Solver):
    """Goes where it is told: points[k] after step k + 1, the last one from then on."""

    points: tuple[Any, ...]
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    settled_from: int = 0
    pause: float = 0.0
    budgets: list[Any] = field(default_factory=list)
    dual: DualPair | None = None

    def start(self, problem, x0):
        x = np.zeros(problem.n) if x0 is None else np.array(x0)
        return State(x, settled=self.settled_from == 0)

    def step(self, problem, state, budget):
        self.budgets.append(budget)
        time.sleep(self.pause)
        state.n_iter += 1
        point = self.points[min(state.n_iter, len(self.points)) - 1]
        state.x = problem.units.working(np.array(point, dtype=float))
        state.settled = state.n_iter >= self.settled_from
        state.dual = self.dual
        return self.outcomes.get(state.n_iter, Outcome.MOVED)


def run(*points, penalty=PENALTY, **settings):
    script = {key: settings.pop(key) for key in list(settings) if key in Scripted.__dataclass_fields__}
    return si.solve(EYE, B, penalty, solver=Scripted(points, **script), **settings)


class MatrixFree:
    """A map by its products; `fault(call)` may act before any of them, calls counted from 1."""

    def __init__(self, A, fault=None, pause=0.0):
        self.array, self.shape, self.fault, self.pause, self.calls = A, A.shape, fault, pause, 0

    def _product(self, A, v, name):
        self.calls += 1
        time.sleep(self.pause)
        out = A @ v
        if self.fault is not None:
            self.fault(self.calls, name, out)
        return out

    def matvec(self, x):
        return self._product(self.array, x, "matvec")

    def rmatvec(self, y):
        return self._product(self.array.conj().T, y, "rmatvec")


def lasso(m=30, n=50, seed=0):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((m, n))
    x = np.zeros(n)
    x[[3, n // 3, n - 10]] = 2.0, -1.5, 1.0
    b = A @ x + 0.01 * rng.standard_normal(m)
    return A, b, 0.1 * float(np.abs(A.T @ b).max())


def assert_honest(A, b, penalty, result):
    """The certificate belongs to the x that comes with it."""
    assert np.isfinite(result.x).all()
    r = A @ result.x - b
    objective = 0.5 * float(np.vdot(r, r).real) + penalty.value(result.x)
    assert result.objective == pytest.approx(objective, rel=1e-9)
    assert result.certificate.objective == result.objective
    if result.certificate.kind is si.Kind.DUALITY_GAP:
        best = si.solve(A, b, penalty, tol=1e-10)
        assert best.success
        assert result.certificate.bound <= best.objective * (1 + 1e-9)


# --- how a run ends -----------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 2, 7])
def test_converges_at_step_k(k):
    result = run(*[np.zeros(3)] * (k - 1), OPTIMUM, tol=1e-12)
    assert result.status is si.Status.CONVERGED
    assert result.success
    assert result.n_iter == k
    assert len(result.history) == k + 1
    assert np.allclose(result.x, OPTIMUM)
    assert result.certificate.kind is si.Kind.DUALITY_GAP
    assert result.message == si.Status.CONVERGED.value


def test_converged_at_the_start():
    result = run(np.full(3, np.nan), x0=OPTIMUM)
    assert (result.status, result.n_iter) == (si.Status.CONVERGED, 0)
    assert np.array_equal(result.x, OPTIMUM)


@pytest.mark.parametrize("k", [0, 1, 5])
def test_iteration_limit(k):
    result = run(np.zeros(3), [0.1, 0, 0], max_iter=k)
    assert result.status is si.Status.MAX_ITER
    assert not result.success
    assert result.n_iter == k
    assert len(result.history) == k + 1
    assert "raise max_iter" in result.message
    assert_honest(EYE, B, PENALTY, result)


def test_time_limit():
    result = run(np.zeros(3), pause=0.02, max_time=0.1)
    assert result.status is si.Status.MAX_TIME
    assert 0.1 <= result.seconds < 0.5
    assert 3 <= result.n_iter <= 7
    assert "raise max_time" in result.message


def test_default_limit_is_the_solvers_own():
    class Short(Scripted):
        default_max_iter = 4

    assert si.solve(EYE, B, PENALTY, solver=Short((np.zeros(3),))).n_iter == 4
    assert si.solve(EYE, B, PENALTY, solver=Short((np.zeros(3),)), max_iter=6).n_iter == 6


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_iterate_that_is_not_finite(value):
    result = run([1.0, 0, 0], [1.5, 0.5, 0], [value, 0, 0], [1.75, 0.75, -0.25])
    assert result.status is si.Status.NUMERICAL_FAILURE
    assert np.array_equal(result.x, [1.5, 0.5, 0])
    assert "non-finite" in result.message
    assert result.n_iter == 3
    assert_honest(EYE, B, PENALTY, result)


@pytest.mark.parametrize("outcome", [Outcome.EXHAUSTED, Outcome.FLOOR])
def test_a_method_that_has_nothing_left_to_do(outcome):
    missed = run([1.0, 0, 0], [1.5, 0, 0], outcomes={2: outcome})
    assert missed.status is si.Status.PRECISION_FLOOR
    assert missed.n_iter == 2
    assert "No further progress" in missed.message
    assert_honest(EYE, B, PENALTY, missed)
    reached = run([1.0, 0, 0], OPTIMUM, outcomes={2: outcome})
    assert reached.status is si.Status.CONVERGED


def test_a_method_that_never_moves_is_stopped():
    result = run(np.zeros(3))
    assert result.status is si.Status.PRECISION_FLOOR
    assert result.n_iter < 1000


def test_the_best_point_comes_back_not_the_last():
    result = run([1.7, 0.7, -0.2], [5.0, 5.0, 5.0], max_iter=4)
    assert np.allclose(result.x, [1.7, 0.7, -0.2])
    assert result.objective == pytest.approx(result.history.objective.min())


def test_a_point_on_a_detour_is_not_accepted():
    """L0 proves local minima only, and x = 0 can be one long before the method has settled."""
    penalty = si.L0(0.3)
    good, lesser = [2.0, 1.0, 0.0], [2.0, 0.0, 0.0]
    assert si.certify(EYE, B, penalty, good).value == 0.0
    result = run(good, good, good, penalty=penalty, settled_from=3)
    assert (result.status, result.n_iter) == (si.Status.CONVERGED, 3)
    # a detour that is cut short says so, and its points count for want of better ones
    cut = run(good, penalty=penalty, settled_from=9, max_iter=2)
    assert cut.status is si.Status.MAX_ITER
    assert np.array_equal(cut.x, good)
    # a settled point wins over a better one from the detour
    settled = run(good, lesser, penalty=penalty, settled_from=2, max_iter=4)
    assert np.array_equal(settled.x, lesser)
    # a global proof needs no settling
    assert run(OPTIMUM, settled_from=99).n_iter == 1


def test_a_solver_cannot_forge_the_certificate():
    """The final certificate forms its own product for a dual pair that a solver claims."""
    forged = DualPair(np.zeros(3), np.zeros(3))
    assert run(OPTIMUM, dual=forged).success
    # at x = 0 the pair (v, A^T v) with v = -b / 2 in working units and A^T v = 0 would "prove" optimality
    pair = DualPair(np.array([-0.5, -0.25, 0.125]), np.zeros(3))
    result = run([0.0, 0, 0], [1e-9, 0, 0], dual=pair, max_iter=5)
    assert not result.success
    assert result.certificate.bound <= 1.625 < result.objective


def test_budgets():
    solver = Scripted((np.zeros(3),))
    si.solve(EYE, B, PENALTY, solver=solver, tol=1e-3, max_iter=4, max_time=50.0)
    assert [budget.iterations for budget in solver.budgets] == [4, 3, 2, 1]
    assert {budget.tol for budget in solver.budgets} == {1e-3}
    seconds = [budget.seconds for budget in solver.budgets]
    assert seconds == sorted(seconds, reverse=True)
    assert 45.0 < seconds[-1] < 50.0


def test_a_solver_that_is_not_finished():
    class Empty(si.Solver):
        pass

    with pytest.raises(TypeError, match=r"Empty must define start\(problem, x0\)"):
        si.solve(EYE, B, PENALTY, solver=Empty())


@pytest.mark.parametrize("status", list(si.Status))
def test_every_status_is_a_sentence(status):
    assert status.value[0].isupper()
    assert status.value.endswith(".")


# --- history, progress, report ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "solver",
    ["auto", si.FISTA(), si.ISTA(), si.IRLS(), si.WorkingSet(), si.CoordinateDescent(gram=True)],
    ids=str,
)
def test_history(solver):
    A, b, lam = lasso()
    result = si.solve(A, b, si.L1(lam), solver=solver)
    history = result.history
    columns = (history.n_iter, history.seconds, history.objective, history.relative, history.products)
    assert {len(column) for column in columns} == {len(history)}
    assert history.n_iter[0] == 0
    assert history.n_iter[-1] == result.n_iter
    for column in (history.n_iter, history.seconds, history.products):
        assert (np.diff(column) >= 0).all()
    assert history.products[-1] <= result.n_matvec + result.n_rmatvec
    assert history.relative[-1] <= 1e-6
    assert (history.relative >= 0).all()
    assert history.seconds[-1] <= result.seconds
    assert repr(history) == f"History({len(history)} rows)"


def test_report():
    A, b, lam = lasso()
    lines = repr(si.solve(A, b, si.L1(lam))).splitlines()
    assert lines[0].startswith("CONVERGED: global within ")
    assert "of 1/2||b||^2" in lines[0]
    text = "\n".join(lines)
    assert "coefficients not zero" in text
    assert "auto: columns in memory" in text
    assert "products with A" in text
    assert "set-up" in text
    missed = repr(si.solve(A, b, si.L1(lam), max_iter=1, solver=si.ISTA()))
    assert missed.startswith("MAX_ITER: ")
    assert "raise max_iter" in missed
    assert "tol = 1.0e-06" in missed
    assert "pivotal" in repr(si.solve(A, b, si.L1()))
    local = repr(si.solve(A, b, si.L0(0.1)))
    assert "local" in local
    assert len(max(text.splitlines(), key=len)) < 200


def test_callbacks_see_every_certificate():
    A, b, lam = lasso()
    seen = []
    result = si.solve(A, b, si.L1(lam), solver=si.FISTA(), callback=seen.append)
    assert len(seen) == len(result.history) - 1  # the last certificate ends the run
    for state, n_iter, relative in zip(seen, result.history.n_iter, result.history.relative, strict=False):
        assert (state.n_iter, state.relative) == (n_iter, relative)
        r = A @ state.x - b
        assert state.objective == pytest.approx(0.5 * r @ r + lam * np.abs(state.x).sum(), rel=1e-9)
        assert "x=" not in repr(state)


@pytest.mark.parametrize(
    "solver",
    ["auto", si.FISTA(), si.BarzilaiBorwein(), si.ISTA(), si.WorkingSet(), si.IRLS(), si.IRL1()],
    ids=str,
)
def test_a_callback_cannot_corrupt_a_run(solver):
    A, b, lam = lasso()
    kept = []

    def vandal(state):
        with pytest.raises(ValueError, match="read-only"):
            state.x[:] = np.nan
        state.x.flags.writeable = True
        kept.append((state.x, state.x.copy()))
        state.x[:] = np.nan
        with pytest.raises(AttributeError):
            state.relative = 0.0

    expected = si.solve(A, b, si.L1(lam), solver=solver)
    result = si.solve(A, b, si.L1(lam), solver=solver, callback=vandal)
    assert np.array_equal(result.x, expected.x)
    assert result.n_iter == expected.n_iter
    assert not any(np.shares_memory(result.x, x) for x, _ in kept)


def test_what_a_callback_keeps_does_not_change_later():
    A, b, lam = lasso()
    kept = []
    si.solve(A, b, si.L1(lam), solver=si.FISTA(), callback=kept.append)
    for state in kept:
        r = A @ state.x - b
        assert state.objective == pytest.approx(0.5 * r @ r + lam * np.abs(state.x).sum(), rel=1e-9)


def test_stop_iteration_stops():
    A, b, lam = lasso()
    calls = []

    def stop(state):
        calls.append(state.n_iter)
        if len(calls) == 3:
            raise StopIteration

    result = si.solve(A, b, si.L1(lam), solver=si.ISTA(), callback=stop)
    assert result.status is si.Status.STOPPED_BY_CALLBACK
    assert not result.success
    assert result.n_iter == calls[-1]
    assert len(calls) == 3
    assert_honest(A, b, si.L1(lam), result)


def test_other_exceptions_of_a_callback_come_through():
    def broken(state):
        raise KeyError("mine")

    for progress in (False, True):
        with pytest.raises(KeyError, match="mine"):
            si.solve(EYE, B, PENALTY, solver=si.ISTA(), callback=broken, progress=progress)


@pytest.mark.parametrize("installed", [True, False])
def test_progress_bar(installed, capsys, monkeypatch):
    if not installed:
        monkeypatch.setitem(sys.modules, "tqdm", None)
        monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    A, b, lam = lasso()
    result = si.solve(A, b, si.L1(lam), solver=si.ISTA(), progress=True, tol=1e-10)
    assert result.success
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "gap" in captured.err
    assert captured.err.endswith("\n")
    assert np.array_equal(result.x, si.solve(A, b, si.L1(lam), solver=si.ISTA(), tol=1e-10).x)


def test_progress_bar_without_a_finite_certificate(capsys):
    """A penalty that is infinite at the start gives no number to show."""

    class Above(si.Penalty):
        convex = True

        def value(self, x):
            return 0.0 if (x >= 1).all() else np.inf

        def prox(self, v, step):
            return np.maximum(v, 1.0)

    result = si.solve(EYE, B, Above(), solver=si.FISTA(), progress=True)
    assert np.allclose(result.x, [2.0, 1.0, 1.0])
    assert result.success
    assert si.solve(EYE, 0 * B, PENALTY, x0=B, progress=True).success
    assert "nan" not in capsys.readouterr().err


# --- operators that fail (B19) ------------------------------------------------------------------------


def raising(k):
    def fault(call, name, out):
        if call >= k:
            raise ZeroDivisionError("boom")

    return fault


def poisoned(k, value=np.nan):
    def fault(call, name, out):
        if call >= k:
            out[0] = value

    return fault


def recovering(k):
    def fault(call, name, out):
        if call == k:
            out[:] = np.inf

    return fault


FAILING = [
    (si.L1(2.0), si.FISTA()),
    (si.L1(2.0), si.FISTA(monotone=True)),
    (si.L1(2.0), si.BarzilaiBorwein()),
    (si.GroupL1(2.0, groups=np.arange(50) // 5), si.BarzilaiBorwein()),
    (si.L1(2.0), si.IRLS()),
    (si.L1(2.0), si.IRL1()),
    (si.L2(0.5), si.Ridge()),
    (si.L0(0.1), si.ISTA()),
    (si.L0(0.1), si.IRL1()),
    (si.GroupL1(2.0, groups=np.arange(50) // 5), si.FISTA()),
]


@pytest.mark.parametrize(("penalty", "solver"), FAILING, ids=str)
@pytest.mark.parametrize("fault", [raising, poisoned, recovering], ids=lambda f: f.__name__)
def test_operator_that_fails_during_a_run(penalty, solver, fault):
    A, b, _ = lasso()
    healthy = MatrixFree(A)
    expected = si.solve(healthy, b, penalty, solver=solver, tol=1e-10)
    assert expected.success
    for k in (5, expected.products.setup + 3, (expected.products.setup + healthy.calls) // 2):
        result = si.solve(MatrixFree(A, fault(k)), b, penalty, solver=solver, tol=1e-10)
        assert result.status is si.Status.NUMERICAL_FAILURE
        assert not result.success
        assert np.isfinite(result.x).all()
        what = "raised ZeroDivisionError: boom" if fault is raising else "returned a non-finite value"
        assert what in result.message
        assert "A.matvec " in result.message or "A.rmatvec " in result.message
        r = A @ result.x - b
        objective = 0.5 * r @ r + penalty.value(result.x)
        assert result.objective == pytest.approx(objective, rel=1e-9)
        assert objective <= 0.5 * b @ b * (1 + 1e-12)


@pytest.mark.parametrize("name", ["matvec", "rmatvec"])
def test_the_call_that_failed_is_named(name):
    A, b, lam = lasso()

    def fault(call, which, out):
        if call > 12 and which == name:
            out[3] = -np.inf

    result = si.solve(MatrixFree(A, fault), b, si.L1(lam), tol=1e-12)
    assert f"A.{name} returned a non-finite value" in result.message
    assert si.Status.NUMERICAL_FAILURE.value in result.message


def test_the_last_finite_point_is_close_to_where_the_failure_came():
    A, b, lam = lasso()
    whole = si.solve(MatrixFree(A), b, si.L1(lam), solver=si.FISTA(), tol=1e-10)
    late = si.solve(
        MatrixFree(A, raising(whole.n_matvec + whole.n_rmatvec - 10)),
        b,
        si.L1(lam),
        solver=si.FISTA(),
        tol=1e-10,
    )
    assert late.certificate.relative <= 1e-3
    assert np.allclose(late.x, whole.x, atol=0.1)


def test_memory_errors_are_not_swallowed():
    A, b, lam = lasso()

    def fault(call, name, out):
        if call == 20:
            raise MemoryError

    with pytest.raises(MemoryError):
        si.solve(MatrixFree(A, fault), b, si.L1(lam))


def test_operator_that_fails_while_lambda_is_chosen():
    A, b, _ = lasso()
    result = si.solve(MatrixFree(A, raising(5)), b, si.L1())
    assert result.status is si.Status.NUMERICAL_FAILURE
    assert "raised ZeroDivisionError: boom (while lam was chosen)" in result.message
    assert not result.x.any()


# --- time limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("penalty", "solver"), FAILING, ids=str)
def test_slow_operator_with_a_time_limit(penalty, solver):
    """The limit holds between products, also while the norm is being estimated."""
    A, b, _ = lasso()
    for limit in (0.03, 0.15):
        operator = MatrixFree(A, pause=0.01)
        start = time.perf_counter()
        result = si.solve(operator, b, penalty, solver=solver, tol=1e-14, max_time=limit)
        assert result.status is si.Status.MAX_TIME
        assert np.isfinite(result.x).all()
        r = A @ result.x - b
        objective = 0.5 * r @ r + penalty.value(result.x)
        assert result.objective == pytest.approx(objective, rel=1e-9)
        # the products of the final certificate come on top, as do those of a nonconvex one's step length
        extra = 0.15 if getattr(penalty, "convex", True) and not isinstance(penalty, si.L0) else 0.6
        assert time.perf_counter() - start < limit + extra


def test_a_point_reached_between_certificates_counts():
    """Ten iterations of FISTA lie between two certificates; a limit in between does not lose them."""
    A, b, lam = lasso()
    operator = MatrixFree(A, pause=0.01)
    result = si.solve(operator, b, si.L1(lam), solver=si.FISTA(norm=12.0), tol=1e-14, max_time=0.15)
    assert result.status is si.Status.MAX_TIME
    assert len(result.history) == 1
    assert result.objective < 0.5 * result.history.objective[0]


@pytest.mark.parametrize("kind", ["dense", "csc", "gram"])
def test_time_limit_of_compiled_solvers(kind):
    A, b, _ = lasso(300, 3000)
    solver = si.CoordinateDescent(gram=True) if kind == "gram" else si.FISTA()
    given = sp.csc_array(A) if kind == "csc" else A[:, :1000] if kind == "gram" else A
    start = time.perf_counter()
    result = si.solve(given, b, si.L1(1e-9), solver=solver, tol=0.0, max_time=0.2, max_iter=10**9)
    assert result.status in (si.Status.MAX_TIME, si.Status.PRECISION_FLOOR)
    assert time.perf_counter() - start < 3.0


# --- Ctrl-C (B21) -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("penalty", "solver"), FAILING, ids=str)
def test_interrupt_inside_a_product(penalty, solver):
    A, b, _ = lasso()

    def fault(call, name, out):
        if call == 16:
            raise KeyboardInterrupt

    with pytest.raises(si.Interrupted) as caught:
        si.solve(MatrixFree(A, fault), b, penalty, solver=solver, tol=1e-14)
    result = caught.value.result
    assert isinstance(caught.value, KeyboardInterrupt)
    assert result.status is si.Status.INTERRUPTED
    assert not result.success
    assert_honest(A, b, penalty, result)
    assert result.objective <= 0.5 * b @ b * (1 + 1e-12)
    assert "pass it as x0" in result.message
    # and going on from there arrives
    assert si.solve(A, b, penalty, x0=result.x).success


def test_interrupt_during_the_set_up_keeps_the_start():
    A, b, lam = lasso()
    x0 = np.linspace(0, 0.1, 50)

    def fault(call, name, out):
        if call == 4:
            raise KeyboardInterrupt

    with pytest.raises(si.Interrupted) as caught:
        si.solve(MatrixFree(A, fault), b, si.L1(lam), x0=x0)
    assert np.array_equal(caught.value.result.x, x0)
    assert_honest(A, b, si.L1(lam), caught.value.result)


def test_interrupt_while_the_answer_is_judged_keeps_it():
    A, b, lam = lasso()
    calls = []
    si.solve(MatrixFree(A, lambda call, name, out: calls.append(call)), b, si.L1(lam), tol=1e-10, max_iter=20)

    def fault(call, name, out):
        if call == calls[-1]:  # of the certificate that goes with x
            raise KeyboardInterrupt

    with pytest.raises(si.Interrupted) as caught:
        si.solve(MatrixFree(A, fault), b, si.L1(lam), tol=1e-10, max_iter=20)
    result = caught.value.result
    assert result.status is si.Status.INTERRUPTED
    assert result.objective < 0.9 * (0.5 * b @ b)
    assert_honest(A, b, si.L1(lam), result)


def test_interrupt_from_a_callback_and_its_pickle():
    def stop(state):
        if state.n_iter > 20:
            raise KeyboardInterrupt

    A, b, lam = lasso()
    with pytest.raises(si.Interrupted) as caught:
        si.solve(A, b, si.L1(lam), solver=si.ISTA(), callback=stop, progress=True)
    again = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(again, si.Interrupted)
    assert np.array_equal(again.result.x, caught.value.result.x)


SIGNAL = """
import json, os, signal, sys, threading, time
import numpy as np, sparseinv as si

rng = np.random.default_rng(0)
A, b = rng.standard_normal((600, 3000)), rng.standard_normal(600)

class Products:
    shape = A.shape
    def matvec(self, x): return A @ x
    def rmatvec(self, y): return A.T @ y

def fire():
    time.sleep(0.3)
    sent.append(time.perf_counter())
    os.kill(os.getpid(), signal.SIGINT)

walks = np.cumsum(A, axis=0)  # so correlated that coordinate descent takes many seconds for L0
report = {}
for name, given, penalty, solver in (
    ("coordinate descent", A, si.L1(1e-3), si.CoordinateDescent()),
    ("FISTA", A, si.L1(1e-3), si.FISTA(norm=90.0)),
    ("operator", Products(), si.L1(1e-3), si.FISTA(norm=90.0)),
    ("L0", walks, si.L0(1e-4), si.CoordinateDescent()),
):
    si.solve(A[:40, :50], b[:40], penalty, solver=solver, max_iter=50)  # compiled, or taken from disk
    sent = []
    threading.Thread(target=fire).start()
    try:
        result = si.solve(given, b, penalty, solver=solver, tol=0.0, max_iter=10**9)
        sys.exit(f"{name} ended before the signal: {result.status.name} after {result.seconds:.2f} s")
    except si.Interrupted as interrupted:
        latency = time.perf_counter() - sent[0]
        result = interrupted.result
    matrix = A if name == "operator" else given
    r = matrix @ result.x - b
    judged = si.certify(matrix, b, penalty, result.x)
    report[name] = dict(
        latency=latency, status=result.status.name, finite=bool(np.isfinite(result.x).all()),
        objective=result.objective, fresh=0.5 * r @ r + penalty.value(result.x), start=0.5 * b @ b,
        value=result.certificate.value, judged=judged.value, is_global=judged.kind.is_global,
    )
print(json.dumps(report))
"""


def test_signal_in_a_long_run():
    """SIGINT after 0.3 s of a run that never ends: noticed within a second, nothing lost."""
    command = [sys.executable, "-W", "error", "-c", SIGNAL]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert len(report) == 4
    for name, seen in report.items():
        assert seen["status"] == "INTERRUPTED", name
        assert seen["finite"], name
        assert seen["latency"] < 1.0, name
        assert seen["objective"] == pytest.approx(seen["fresh"], rel=1e-9), name
        assert seen["objective"] <= seen["start"], name
        if seen["is_global"]:
            # both are upper bounds; the thorough one says at most what the quick one says, up to rounding
            assert seen["judged"] <= seen["value"] * (1 + 1e-6), name


# --- concurrency, determinism, pickles ----------------------------------------------------------------


def jobs():
    A, b, lam = lasso()
    groups = np.arange(50) // 5
    return [
        (A, b, si.L1(lam), "auto"),
        (sp.csc_array(A), b, si.L1(0.5 * lam), si.FISTA()),
        (MatrixFree(A), b, si.L1(lam), "auto"),
        (A, b * (1 + 1j), si.L1(lam), "auto"),
        (A, b, si.L0(0.1), "auto"),
        (MatrixFree(A), b, si.L0(0.1), si.ISTA()),
        (A, b, si.L2(0.1), "auto"),
        (A, b, si.GroupL1(lam, groups=groups), "auto"),
        (A, b, si.L1(), "auto"),
        (A, b, si.L1(lam), si.IRL1()),
        (A, b, si.L1(lam), si.WorkingSet()),
    ]


def solved(job):
    A, b, penalty, solver = job
    return si.solve(A, b, penalty, solver=solver, tol=1e-9)


def same(one, two):
    rows = ([row[:1] + row[2:] for row in result.history.rows] for result in (one, two))
    return (
        np.array_equal(one.x, two.x)
        and one.status is two.status
        and one.certificate == two.certificate
        and (one.n_iter, one.n_matvec, one.n_rmatvec) == (two.n_iter, two.n_matvec, two.n_rmatvec)
        and next(rows) == next(rows)
    )


def test_two_runs_are_the_same_to_the_bit():
    for job in jobs():
        assert same(solved(job), solved(job)), job[2:]


def test_four_threads_do_what_one_does():
    serial = [solved(job) for job in jobs()]
    with ThreadPoolExecutor(4) as pool:
        parallel = list(pool.map(solved, 3 * jobs()))
    for k, result in enumerate(parallel):
        assert same(result, serial[k % len(serial)]), jobs()[k % len(serial)][2:]


def test_threads_may_share_operator_and_penalty():
    A, b, lam = lasso()
    operator, penalty = si.as_operator(A), si.L1(lam)
    expected = si.solve(A, b, penalty)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: si.solve(operator, b, penalty), range(8)))
    assert all(same(result, expected) for result in results)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickles(protocol):
    """B20: a result survives the way to another process."""
    for job in jobs():
        result = solved(job)
        again = pickle.loads(pickle.dumps(result, protocol=protocol))
        assert same(again, result)
        assert repr(again) == repr(result)
        assert again.success is result.success
        assert again.message == result.message
    for value in (
        si.L1([1.0, 2.0], groups=[0, 1, 1]),
        si.FISTA(norm=2.0),
        si.IRL1(inner=si.ISTA()),
        si.Status.CONVERGED,
    ):
        assert repr(pickle.loads(pickle.dumps(value, protocol=protocol))) == repr(value)


def test_results_can_be_copied():
    result = solved(jobs()[0])
    assert same(copy.deepcopy(result), result)
    assert same(copy.copy(result), result)


# --- iterate ------------------------------------------------------------------------------------------


def test_iterate_passes_the_states_of_a_run():
    A, b, lam = lasso()
    result = si.solve(A, b, si.L1(lam), solver=si.FISTA(), tol=1e-8)
    states = []
    for state in si.iterate(A, b, si.L1(lam), solver=si.FISTA()):
        states.append(state)
        if state.relative <= 1e-8:
            break
    assert [state.n_iter for state in states] == result.history.n_iter.tolist()
    assert [state.relative for state in states] == result.history.relative.tolist()
    assert np.array_equal(states[-1].x, result.x)
    assert not states[0].x.any()
    for state in states:  # kept states describe themselves, not the latest one
        r = A @ state.x - b
        assert state.objective == pytest.approx(0.5 * r @ r + lam * np.abs(state.x).sum(), rel=1e-9)


@pytest.mark.parametrize("kind", ["dense", "operator"])
@pytest.mark.parametrize("penalty", [si.L1(2.0), si.L2(1.0), si.L0(0.1)], ids=str)
def test_iterate_ends_when_nothing_is_left_to_do(penalty, kind):
    A, b, _ = lasso()
    states = list(si.iterate(A if kind == "dense" else MatrixFree(A), b, penalty))
    assert 1 < len(states) < 3000
    assert states[-1].relative <= 1e-10


def test_iterate_refuses_at_once_and_makes_no_product_before():
    A, b, lam = lasso()
    with pytest.raises(ValueError, match="lam is missing"):
        si.iterate(A, b, si.L1())
    with pytest.raises(ValueError, match="b has 3 entries"):
        si.iterate(A, b[:3], si.L1(lam))
    operator = MatrixFree(A)
    generator = si.iterate(operator, b, si.L1(lam))
    tested = operator.calls
    assert tested <= 2
    next(generator)
    generator.close()
    assert operator.calls > tested


def test_iterate_raises_where_solve_reports():
    A, b, lam = lasso()
    generator = si.iterate(MatrixFree(A, raising(12)), b, si.L1(lam))
    assert not next(generator).x.any()
    with pytest.raises(ValueError, match=r"A\.r?matvec raised ZeroDivisionError: boom"):
        list(generator)
    with pytest.raises(ValueError, match="non-finite"):
        list(si.iterate(EYE, B, PENALTY, solver=Scripted(([np.nan, 0, 0],))))
    with pytest.raises(ValueError, match="boom"):
        list(si.iterate(MatrixFree(A, raising(4)), b, si.L1(lam)))


# --- own penalties ------------------------------------------------------------------------------------


class Absolute(si.Penalty):
    """lam sum |x_j|, as a user would write it."""

    def __init__(self, lam, convex=True):
        self.lam, self.convex = lam, convex

    def value(self, x):
        return self.lam * np.abs(x).sum()

    def prox(self, v, step):
        return np.sign(v) * np.maximum(np.abs(v) - step * self.lam, 0)


class Certified(Absolute):
    """The same with its conjugate."""

    def conjugate(self, u):
        return 0.0 if np.abs(u).max(initial=0.0) <= self.lam * (1 + 1e-12) else np.inf


@pytest.mark.parametrize("kind", ["dense", "csc", "operator"])
@pytest.mark.parametrize(
    "solver", ["auto", si.FISTA(), si.BarzilaiBorwein(), si.ISTA(), si.FISTA(monotone=True)], ids=str
)
def test_own_penalty_with_a_conjugate(kind, solver):
    A, b, lam = lasso()
    given = {"dense": A, "csc": sp.csc_array(A), "operator": MatrixFree(A)}[kind]
    result = si.solve(given, b, Certified(lam), solver=solver, tol=1e-9)
    expected = si.solve(A, b, si.L1(lam), tol=1e-12)
    assert result.success
    assert result.certificate.kind is si.Kind.DUALITY_GAP
    assert np.allclose(result.x, expected.x, atol=1e-4)
    excess = result.objective - expected.objective
    assert -1e-10 <= excess <= result.certificate.value + 1e-12 * result.certificate.scale


@pytest.mark.parametrize("convex", [True, False])
def test_own_penalty_without_a_conjugate(convex):
    A, b, lam = lasso()
    penalty = Absolute(lam, convex=convex)
    result = si.solve(A, b, penalty, tol=1e-9)
    assert result.success
    assert result.certificate.kind is si.Kind.PROX_STATIONARITY
    assert not result.certificate.kind.is_global
    assert result.certificate.bound == -np.inf
    assert isinstance(result.solver, si.FISTA if convex else si.ISTA)
    assert "known by its prox" in result.reason
    assert np.allclose(result.x, si.solve(A, b, si.L1(lam), tol=1e-12).x, atol=1e-2)
    if not convex:
        with pytest.raises(ValueError, match="FISTA needs a convex penalty"):
            si.solve(A, b, penalty, solver=si.FISTA())


def test_own_penalty_that_fails():
    A, b, _ = lasso()

    class Broken(Absolute):
        def prox(self, v, step):
            raise ArithmeticError("mine")

    with pytest.raises(ArithmeticError, match="mine"):
        si.solve(A, b, Broken(1.0))

    class Poisoned(Absolute):
        count = 0

        def prox(self, v, step):
            self.count += 1
            return super().prox(v, step) * (np.nan if self.count > 30 else 1.0)

    result = si.solve(A, b, Poisoned(0.1), tol=1e-14)
    assert result.status is si.Status.NUMERICAL_FAILURE
    assert "non-finite" in result.message
    assert np.isfinite(result.x).all()

    class Empty(si.Penalty):
        pass

    with pytest.raises(TypeError, match=r"Empty must define (value|prox)"):
        si.solve(A, b, Empty())


# --- what FISTA costs ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["dense", "csc", "operator"])
@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("solver", [si.FISTA, si.ISTA])
@pytest.mark.parametrize(
    "penalty", [si.L1(0.3), si.ElasticNet(0.5), si.GroupL1(0.3, groups=np.arange(150) // 5)], ids=str
)
def test_two_products_an_iteration(kind, given, solver, penalty):
    """(products - set-up - final certificate) / iterations = 2, the duality gap of the run included."""
    A, b, _ = lasso(80, 150)
    matrix = {"dense": A, "csc": sp.csc_array(A), "operator": MatrixFree(A)}[kind]
    norm = 1.001 * np.linalg.norm(A, 2) if given else None
    result = si.solve(matrix, b, penalty, solver=solver(norm=norm), tol=1e-9, max_iter=200)
    p = result.products
    assert result.n_iter >= 50
    assert p.iterations == 2 * result.n_iter
    # the first point costs one product with A^H; the last one a fresh residual and dual, at most a few more
    assert p.setup + p.certificate <= (0 if given else 2 * 20) + (2 if kind == "operator" else 0) + 7
    if kind == "operator":
        assert matrix.calls == result.n_matvec + result.n_rmatvec


@pytest.mark.parametrize("kind", ["dense", "operator"])
@pytest.mark.parametrize("solver", [si.FISTA, si.ISTA])
@pytest.mark.parametrize("fraction", [0.5, 0.1, 1e-3, 1e-6])
def test_a_norm_that_is_too_small_is_repaired(fraction, solver, kind):
    """Each repair costs one product, and a few of them are enough."""
    A, b, lam = lasso()
    given = MatrixFree(A) if kind == "operator" else A
    true = np.linalg.norm(A, 2)
    result = si.solve(given, b, si.L1(lam), solver=solver(norm=fraction * true), tol=1e-9)
    assert result.success
    expected = si.solve(given, b, si.L1(lam), solver=solver(norm=true), tol=1e-9)
    assert np.allclose(result.x, expected.x, atol=1e-4)
    extra = result.products.iterations - 2 * result.n_iter
    assert 0 < extra <= 40
    assert result.n_iter <= 2 * expected.n_iter


def test_a_norm_that_is_too_large_only_costs_iterations():
    A, b, lam = lasso()
    result = si.solve(A, b, si.L1(lam), solver=si.FISTA(norm=10 * np.linalg.norm(A, 2)), tol=1e-9)
    assert result.success
    assert result.products.iterations == 2 * result.n_iter

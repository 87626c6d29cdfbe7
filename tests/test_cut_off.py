"""Runs that a limit cuts off: sparse and refitted points, honest certificates, little time after it."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest

import sparseinv as si
from cases import Products, generator
from sparseinv import counted_operator, driver
from sparseinv.operators.adapt import system
from sparseinv.problem import Problem
from sparseinv.solvers import discrete_answer
from sparseinv.solvers.auto import complete

SMOOTHED = [
    si.IRLS(),
    si.SL0(),
    si.SparseBayesian(),
    si.SparseBayesian("greedy"),
    si.MessagePassing(),
    si.IRL1(),
]


def instance(key, m, n, k, noise=0.02):
    rng = generator(91, key)
    A, x = rng.standard_normal((m, n)), np.zeros(n)
    x[rng.permutation(n)[:k]] = rng.choice([-1.0, 1.0], k) * rng.uniform(0.5, 2.0, k)
    return A, A @ x + noise * rng.standard_normal(m), x


def assert_honest(result, A, b, lam):
    """The certificate is that of the point, which nobody calls converged without one."""
    value = 0.5 * np.sum((A @ result.x - b) ** 2) + lam * np.count_nonzero(result.x)
    assert result.objective == pytest.approx(value, rel=1e-9)
    again = si.certify(A, b, si.L0(lam), result.x)
    assert result.certificate.relative == pytest.approx(again.relative, rel=1e-6, abs=1e-14)
    assert not result.success or result.certificate.relative <= 1e-6


def assert_fitted(result, A, b, rtol=1e-6):
    """The coefficients on the support are those of least squares."""
    S = result.support
    fit = np.linalg.lstsq(A[:, S], b, rcond=None)[0]
    np.testing.assert_allclose(result.x[S], fit, rtol=rtol, atol=rtol * np.abs(fit).max())


@pytest.mark.parametrize("kind", ["dense", "operator"])
@pytest.mark.parametrize("solver", [si.IRLS(), si.SL0()], ids=repr)
def test_a_point_on_the_way_is_thresholded_and_refitted(solver, kind):
    A, b, truth = instance(1, 60, 120, 5)
    lam = 0.02
    given = A if kind == "dense" else Products(A)
    for limit in (25, 60):
        result = si.solve(given, b, si.L0(lam), solver=solver, max_iter=limit)
        assert result.status in (si.Status.MAX_ITER, si.Status.CONVERGED)
        np.testing.assert_array_equal(result.support, np.flatnonzero(truth))
        assert_fitted(result, A, b, 1e-6 if kind == "dense" else 1e-3)
        if kind == "dense":
            assert_honest(result, A, b, lam)


@pytest.mark.parametrize("solver", SMOOTHED, ids=repr)
def test_a_run_of_one_iteration_has_a_point_worth_having(solver):
    A, b, _ = instance(2, 40, 80, 4)
    lam = 0.01 * (b @ b) / 4
    result = si.solve(A, b, si.L0(lam), solver=solver, max_iter=1)
    assert result.status in (si.Status.MAX_ITER, si.Status.CONVERGED)
    assert result.support.size < 40
    assert result.objective < 0.9 * (0.5 * b @ b)
    assert_fitted(result, A, b)
    assert_honest(result, A, b, lam)


@pytest.mark.parametrize("solver", SMOOTHED, ids=repr)
def test_callbacks_and_ctrl_c_find_the_same(solver):
    A, b, _ = instance(3, 40, 80, 4)
    lam = 0.01 * (b @ b) / 4

    def stop(progress):
        raise StopIteration

    def interrupt(progress):
        raise KeyboardInterrupt

    stopped = si.solve(A, b, si.L0(lam), solver=solver, callback=stop)
    assert stopped.status is si.Status.STOPPED_BY_CALLBACK
    with pytest.raises(si.Interrupted) as caught:
        si.solve(A, b, si.L0(lam), solver=solver, callback=interrupt)
    assert caught.value.result.status is si.Status.INTERRUPTED
    for result in (stopped, caught.value.result):
        assert result.support.size < 40
        assert_honest(result, A, b, lam)


def test_convex_penalties_keep_their_best_point():
    A, b, _ = instance(4, 40, 80, 4)
    lam = 0.1 * np.abs(A.T @ b).max()
    best = si.solve(A, b, si.L1(lam), tol=1e-10).objective
    cut = si.solve(A, b, si.L1(lam), solver=si.IRLS(), max_iter=30)
    assert cut.certificate.kind is si.Kind.DUALITY_GAP
    assert cut.certificate.bound <= best <= cut.objective


class Ticking(Products):
    """A map whose products move a clock on."""

    def __init__(self, A, clock, price):
        super().__init__(A)
        self.clock, self.price = clock, price

    def matvec(self, x):
        self.clock.now += self.price
        return super().matvec(x)

    def rmatvec(self, y):
        self.clock.now += self.price
        return super().rmatvec(y)


@pytest.mark.parametrize("solver", [si.IRLS(), si.SL0()], ids=repr)
@pytest.mark.parametrize("limit", [1.0, 3.0])
def test_products_after_the_limit(solver, limit, monkeypatch):
    """With a clock that only products move, their number after the limit is known."""
    clock = SimpleNamespace(now=0.0)
    clock.perf_counter = lambda: clock.now
    monkeypatch.setattr(driver, "time", clock)
    monkeypatch.setattr(counted_operator, "time", clock)
    A, b, truth = instance(5, 40, 80, 4)
    price = 0.01
    problem = Problem(*system(Ticking(A, clock, price), b), si.L0(0.02))
    clock.now = 0.0
    method = complete(solver, problem)
    result = driver.run(problem, method, stopping=driver.Stopping(max_time=limit))
    assert result.status is si.Status.MAX_TIME
    # one product under way, five per cent for a sparse point, and the certificate of what is returned
    certificate = 4 + problem.operator.products.certificate - result.products.certificate
    assert clock.now <= 1.1 * limit + 0.2 + certificate * price
    assert np.isfinite(result.certificate.value)
    assert result.support.size < 80
    assert result.objective < 0.9 * (0.5 * b @ b)
    if limit > 2.0:
        assert set(np.flatnonzero(truth)) <= set(result.support)


@pytest.mark.parametrize("solver", SMOOTHED[:5], ids=repr)
def test_time_after_the_limit(solver, monkeypatch):
    """Seconds of this thread: what other processes take does not count."""
    clock = SimpleNamespace(perf_counter=time.thread_time)
    A, b, _ = instance(6, 200, 800, 20)
    penalty = si.L0(0.02)
    si.solve(A[:50], b[:50], penalty, solver=solver, max_iter=5)  # imports and compiles
    monkeypatch.setattr(driver, "time", clock)
    monkeypatch.setattr(counted_operator, "time", clock)
    problem = Problem(*system(A, b), penalty)
    method = complete(solver, problem)
    driver.run(problem, method, stopping=driver.Stopping(max_time=0.02))  # compiles what only a cut-off needs
    for limit in (0.02, 0.2):
        began = time.thread_time()
        result = driver.run(problem, method, stopping=driver.Stopping(max_time=limit))
        assert time.thread_time() - began <= 1.1 * limit + 0.6
        assert np.isfinite(result.certificate.value)
        assert result.objective <= 0.5 * b @ b
        if result.support.size:
            assert_honest(result, A, b, 0.02)


def test_candidates_are_judged_piece_by_piece(monkeypatch):
    """Where judging all sparse versions of x takes long, a run can be stopped in between, with the best."""
    A, b, _ = instance(7, 40, 80, 4)
    whole = si.solve(A, b, si.L0(0.02), solver=si.IRLS())
    monkeypatch.setattr(discrete_answer, "_WORK", 1e3)
    pieces = []
    piecewise = si.solve(A, b, si.L0(0.02), solver=si.IRLS(), callback=lambda p: pieces.append(p.n_iter))
    np.testing.assert_array_equal(piecewise.x, whole.x)
    repeated = [n for n in set(pieces) if pieces.count(n) > 1]
    assert len(repeated) == 1  # all pieces belong to the iteration that ended the smoothing
    count = pieces.index(repeated[0]) + 1

    def stop(progress):
        stop.calls += 1
        if stop.calls == count + 2:
            raise StopIteration

    stop.calls = 0
    cut = si.solve(A, b, si.L0(0.02), solver=si.IRLS(), callback=stop)
    assert cut.support.size < 40
    assert_honest(cut, A, b, 0.02)


def test_a_solver_without_a_better_point_keeps_its_own():
    A, b, _ = instance(8, 40, 80, 4)
    solver = si.CoordinateDescent()
    problem = Problem(*system(A, b), si.L0(0.02))
    assert not solver.salvage(problem, solver.start(problem, None))
    assert si.solve(A, b, si.L0(0.02), solver=solver, max_iter=1).status is not si.Status.NUMERICAL_FAILURE

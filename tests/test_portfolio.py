"""Portfolio: never above its starts, what it recovers, when it stops, what it says."""

import itertools

import numpy as np
import pytest
import scipy.sparse as sp

import cases
import sparseinv as si
from reference import plain
from sparseinv.operators.adapt import as_operator
from sparseinv.problem import Problem
from sparseinv.solvers.auto import complete
from sparseinv.stopping import Budget
from test_message_passing import instance, nmse, tiny

STARTS = (si.MessagePassing(), si.OLS(), si.IRL1(), si.IRLS(), si.SparseBayesian(), si.LocalSearch(starts=()))
WRAP = {"dense": np.asarray, "csc": sp.csc_array, "operator": cases.Products}


def coherent(seed, m=24, n=60, k=8, noise=0.1):
    """Return (A, b) with columns that lie close together."""
    rng = cases.generator(75, seed)
    A = np.cumsum(rng.standard_normal((m, n)), axis=1) / np.sqrt(np.arange(1, n + 1))
    x = np.zeros(n)
    x[rng.permutation(n)[:k]] = rng.standard_normal(k)
    b = A @ x
    return A, b + noise * np.linalg.norm(b) / np.sqrt(m) * rng.standard_normal(m)


def enumerated(A, b, lam, most):
    """Return the lowest objective over all supports with at most so many columns."""
    best = 0.5 * b @ b
    for k in range(1, most + 1):
        for S in itertools.combinations(range(A.shape[1]), k):
            r = A[:, S] @ np.linalg.lstsq(A[:, S], b, rcond=None)[0] - b
            best = min(best, 0.5 * r @ r + lam * k)
    return best


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("share", [0.003, 0.03])
def test_never_above_any_of_its_starts(seed, share):
    A, b = coherent(seed)
    lam = share * 0.5 * float(b @ b) / 4
    result = si.solve(A, b, si.L0(lam), solver=si.Portfolio())
    alone = [si.solve(A, b, si.L0(lam), solver=start).objective for start in STARTS]
    assert result.objective <= min(alone) * (1 + 1e-12)
    assert result.objective == pytest.approx(plain(A, b, l0=lam).objective(result.x), rel=1e-12)
    assert result.success
    assert result.certificate.kind is si.Kind.SWAP_MINIMUM
    assert "best of 6 starts" in result.detail


def test_reaches_the_minimum_over_all_supports():
    for seed in range(3):
        A, b = coherent(10 + seed, 10, 12, 3, 0.2)
        lam = 0.02 * float(b @ b)
        result = si.solve(A, b, si.L0(lam), solver=si.Portfolio())
        assert result.objective == pytest.approx(enumerated(A, b, lam, 4), rel=1e-10)


@pytest.mark.parametrize("is_complex", [False, True])
@pytest.mark.parametrize(("coef", "rho"), [("gauss", 0.48), ("signs", 0.35)])
def test_recovers_planted_supports_without_being_told_k(coef, rho, is_complex):
    wins = 0
    for seed in range(5):
        A, b, truth = instance(20 + seed, 80, 160, round(80 * rho), coef, is_complex=is_complex)
        result = si.solve(A, b, tiny(b), solver=si.Portfolio())
        won = nmse(result.x, truth) < 1e-4
        wins += won
        assert not won or ("fits b exactly" in result.detail and result.success)
    assert wins >= 4


@pytest.mark.parametrize("kind", WRAP)
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_a_ball_holds_what_was_planted(kind, noise):
    A, b, truth = instance(30, 40, 80, 8, "signs", noise)
    result = si.solve(WRAP[kind](A), b, si.L0Ball(8), solver=si.Portfolio())
    np.testing.assert_array_equal(result.support, np.flatnonzero(truth))
    fit = np.linalg.lstsq(A[:, truth != 0], b, rcond=None)[0]
    np.testing.assert_allclose(result.x[truth != 0], fit, rtol=1e-6)


def test_a_ball_at_the_transition_uses_a_start_that_needs_a_level():
    A, b, truth = instance(31, 100, 200, 48)
    result = si.solve(A, b, si.L0Ball(48), solver=si.Portfolio())
    assert nmse(result.x, truth) < 1e-12
    assert "MessagePassing()" in result.detail
    # half as many cannot fit: the answers are cut to the ball, and the best is no worse than a search's
    few = si.solve(A, b, si.L0Ball(12), solver=si.Portfolio())
    assert few.support.size <= 12
    search = si.solve(A, b, si.L0Ball(12), solver=si.LocalSearch(restarts=0))
    assert few.objective <= search.objective * (1 + 1e-9)


def test_free_and_excluded_coefficients_and_signs():
    A, b, _ = instance(32, 30, 60, 5, "signs", 0.02)
    level = np.full(60, 0.02 * float(b @ b))
    level[3], level[4] = 0.0, np.inf
    free = si.solve(A, b, si.L0(level), solver=si.Portfolio())
    assert free.x[3] != 0
    assert free.x[4] == 0
    assert free.success
    ball = si.solve(A, b, si.L0Ball(4, weights=np.r_[0.0, np.inf, np.ones(58)]), solver=si.Portfolio())
    assert ball.x[0] != 0
    assert ball.x[1] == 0
    assert np.count_nonzero(ball.x[2:]) == 4
    for penalty in (si.L0(0.02, nonnegative=True), si.L0Ball(4, nonnegative=True)):
        assert (si.solve(A, b, penalty, solver=si.Portfolio()).x >= 0).all()
    both = si.solve(A, b, si.L0(0.02, l1=0.1, l2=0.3), solver=si.Portfolio())
    assert both.objective == pytest.approx(plain(A, b, l0=0.02, l1=0.1, l2=0.3).objective(both.x), rel=1e-12)


@pytest.mark.parametrize("factor", [2.0**-40, 3e12])
def test_scale(factor):
    A, b = coherent(2)
    lam = 0.01 * float(b @ b)
    one = si.solve(A, b, si.L0(lam), solver=si.Portfolio())
    other = si.solve(A, factor * b, si.L0(lam * factor**2), solver=si.Portfolio())
    np.testing.assert_array_equal(one.support, other.support)
    np.testing.assert_allclose(other.x, factor * one.x, rtol=1e-7)
    assert one.detail == other.detail


def test_a_start_given_is_never_lost():
    A, b = coherent(3)
    lam = 0.004 * float(b @ b)
    best = si.solve(A, b, si.L0(lam), solver=si.LocalSearch(restarts=40))
    poor = si.Portfolio(starts=(si.OMP(),), polish=si.CoordinateDescent())
    assert si.solve(A, b, si.L0(lam), solver=poor, x0=best.x).objective <= best.objective * (1 + 1e-12)
    assert "x0" in si.solve(A, b, si.L0(lam), solver=poor, x0=best.x).detail


def test_stops_at_an_exact_answer_unless_thorough():
    A, b, truth = instance(33, 40, 80, 10)
    short = si.solve(A, b, tiny(b), solver=si.Portfolio())
    long = si.solve(A, b, tiny(b), solver=si.Portfolio(thorough=True))
    np.testing.assert_array_equal(short.support, np.flatnonzero(truth))
    np.testing.assert_array_equal(long.support, short.support)
    assert "no other was tried" in short.detail
    assert "best of 6 starts" in long.detail
    # a level that matters asks for more than an exact fit
    coarse = si.solve(A, b, si.L0(0.01 * float(b @ b)), solver=si.Portfolio())
    assert "no other was tried" not in coarse.detail


def test_the_time_limit_is_a_budget():
    A, b = coherent(5, 60, 150, 20)
    result = si.solve(A, b, si.L0(1e-4 * float(b @ b)), solver=si.Portfolio(), max_time=0.0)
    assert result.status.name in ("MAX_TIME", "CONVERGED")
    seen = []

    def watch(progress):
        seen.append(progress.objective)
        if len(seen) == 5:
            raise StopIteration

    stopped = si.solve(A, b, si.L0(1e-4 * float(b @ b)), solver=si.Portfolio(), callback=watch)
    assert stopped.status.name == "STOPPED_BY_CALLBACK"
    assert stopped.objective <= seen[0]
    limited = si.solve(A, b, si.L0(1e-4 * float(b @ b)), solver=si.Portfolio(), max_iter=20)
    assert limited.n_iter <= 60
    assert limited.status.name in ("MAX_ITER", "CONVERGED")


def test_starts_for_which_no_time_is_left_are_named():
    A, b = coherent(6)

    class Slow(si.OMP):
        """Take the time of all."""

        def step(self, problem, state, budget):
            import time

            time.sleep(0.4)
            return super().step(problem, state, budget)

    solver = si.Portfolio(starts=(si.OLS(), Slow(), si.IRLS()))
    result = si.solve(A, b, si.L0(0.004 * float(b @ b)), solver=solver, max_time=0.5)
    assert "No time was left for IRLS(): raise max_time" in result.detail
    first = si.solve(A, b, si.L0(0.004 * float(b @ b)), solver=si.OLS())
    assert result.objective <= first.objective * (1 + 1e-12)


def test_ctrl_c_keeps_the_best_answer():
    A, b = coherent(7)
    calls = []

    class Interrupting(si.OMP):
        """Behave as if the user had had enough."""

        def step(self, problem, state, budget):
            calls.append(1)
            raise KeyboardInterrupt

    solver = si.Portfolio(starts=(si.OLS(), Interrupting()))
    lam = 0.004 * float(b @ b)
    with pytest.raises(si.Interrupted) as caught:
        si.solve(A, b, si.L0(lam), solver=solver)
    assert calls
    first = si.solve(A, b, si.L0(lam), solver=si.OLS())
    assert caught.value.result.objective <= first.objective * (1 + 1e-12)


def test_repr_is_what_a_user_would_write():
    assert repr(si.Portfolio()) == "Portfolio()"
    given = si.Portfolio(starts=(si.IRLS(p=0.2), si.OLS()), polish=si.LocalSearch(restarts=0), thorough=True)
    text = "Portfolio(starts=(IRLS(p=0.2), OLS(),), polish=LocalSearch(restarts=0), thorough=True)"
    assert repr(given) == text
    A, b, _ = instance(34, 20, 40, 3)
    solved = si.solve(A, b, tiny(b), solver=si.Portfolio())
    assert "starts=(MessagePassing(), OLS(), IRL1()" in repr(solved.solver)


def test_bits_are_the_same_twice():
    A, b = coherent(8)
    first, second = (si.solve(A, b, si.L0(0.002 * float(b @ b)), solver=si.Portfolio()) for _ in range(2))
    np.testing.assert_array_equal(first.x, second.x)
    assert first.detail == second.detail


def test_a_path_goes_through_it():
    A, b = coherent(9)
    lams = 0.1 * float(b @ b) * 0.5 ** np.arange(4)
    path = si.solve_path(A, b, si.L0(), lams=lams, solver=si.Portfolio())
    for lam, result in zip(lams, path.results, strict=True):
        alone = si.solve(A, b, si.L0(lam), solver=si.Portfolio())
        assert result.objective <= alone.objective * (1 + 1e-9)


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda: si.Portfolio(starts=("IRLS",)), TypeError, ["starts", "(IRL1(), IRLS())"]),
        (lambda: si.Portfolio(starts=()), TypeError, ["starts"]),
        (lambda: si.Portfolio(starts=3), TypeError, ["starts is 3", "(IRL1(), IRLS())"]),
        (lambda: si.Portfolio(polish="cd"), TypeError, ["polish", "LocalSearch()"]),
        (lambda: si.Portfolio(polished=0), ValueError, ["polished"]),
        (lambda: si.Portfolio(thorough=1), TypeError, ["thorough", "True or False"]),
    ],
)
def test_refused_settings(make, kind, words):
    with pytest.raises(kind) as error:
        make()
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize(
    ("solver", "penalty", "words"),
    [
        (si.Portfolio(), si.L1(1.0), "needs an L0 penalty or L0Ball"),
        (si.Portfolio(), si.GroupL1(1.0, groups=np.zeros(20, dtype=int)), "does not treat"),
        (si.Portfolio(starts=(si.SL0(),)), si.L0(1.0, nonnegative=True), "SL0 does not handle nonnegative"),
        (si.Portfolio(starts=(si.HTP(),)), si.L0(1.0), "HTP"),
        (si.Portfolio(polish=si.FISTA()), si.L0(1.0), "FISTA"),
    ],
)
def test_refused_problems(solver, penalty, words):
    A, b, _ = instance(9, 10, 20, 2)
    with pytest.raises(ValueError, match=words):
        si.solve(A, b, penalty, solver=solver)


def test_without_time_for_a_start_none_is_named_as_the_first():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((40, 100))
    problem = Problem(as_operator(A), A[:, :5].sum(axis=1) + rng.standard_normal(40), si.L0(2.0))
    solver = complete(si.Portfolio(starts=(si.OLS(),)), problem)
    state = solver.start(problem, None)
    state.seconds = 1.0
    solver.step(problem, state, Budget(tol=1e-6, iterations=100, seconds=0.1, gap=0.0))
    assert state.note == "The answer comes from x = 0. No time was left for OLS(): raise max_time."


def test_a_start_that_does_not_end_leaves_iterations_to_the_others():
    rng = np.random.default_rng(1)
    A = rng.standard_normal((10, 1)) + 1e-5 * rng.standard_normal((10, 12))
    b = A[:, 0] - A[:, 1] + 1e-3 * rng.standard_normal(10)
    result = si.solve(cases.Products(A), b, si.L0Ball(2), solver=si.Portfolio())
    assert result.status is not si.Status.MAX_ITER
    assert "best of 6 starts" in result.detail


def test_a_ball_of_nothing_needs_no_start():
    A, b = coherent(3)
    for wrap in WRAP.values():
        result = si.solve(wrap(A), b, si.L0Ball(0), solver=si.Portfolio())
        assert result.success
        assert not result.x.any()
        assert result.n_iter < 5


def test_columns_in_wild_units_end_no_start_in_overflow():
    rng = np.random.default_rng(7)
    A = rng.standard_normal((8, 12)) * 10.0 ** rng.integers(-60, 60, 12)
    b = rng.standard_normal(8)
    result = si.solve(cases.Products(A), b, si.L0Ball(2), solver=si.Portfolio())
    assert result.status is not si.Status.NUMERICAL_FAILURE
    assert result.objective < 0.5 * (b @ b)

"""All numbers of non-zeros from one run, and the fewest within a residual, against enumeration."""

import itertools

import numpy as np
import pytest

import sparseinv as si
from sparseinv.operators.adapt import system
from sparseinv.problem import Problem
from sparseinv.selection.fewest import fewest_nonzeros
from sparseinv.stopping import Stopping


def coherent(seed, m, n, rho=0.9, noise=0.3):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((m, n))
    for j in range(1, n):
        A[:, j] = rho * A[:, j - 1] + np.sqrt(1 - rho**2) * A[:, j]
    x = np.zeros(n)
    x[rng.choice(n, 4, replace=False)] = rng.standard_normal(4)
    b = A @ x
    return A, b + noise * b.std() * rng.standard_normal(m)


def residual_norms(A, b, nonnegative=False):
    """Return the least ||A x - b|| with 0, 1, ..., n non-zeros by enumeration."""
    from scipy.optimize import nnls

    n = A.shape[1]
    least = [np.linalg.norm(b)]
    for k in range(1, n + 1):
        best = np.inf
        for S in map(list, itertools.combinations(range(n), k)):
            x = nnls(A[:, S], b)[0] if nonnegative else np.linalg.lstsq(A[:, S], b, rcond=None)[0]
            best = min(best, np.linalg.norm(A[:, S] @ x - b))
        least.append(best)
    return np.array(least)


def bound(A, b, penalty=None):
    return Problem(*system(A, b), penalty or si.L0(1.0))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("mode", ["real", "nonnegative", "complex"])
def test_path_holds_the_best_support_of_every_size(mode, seed):
    A, b = coherent(seed, 15, 9)
    if mode == "complex":
        A, b = A + 1j * coherent(seed + 30, 15, 9)[0], b + 1j * coherent(seed + 60, 15, 9)[1]
    path = si.solve_path(A, b, si.L0Ball(9, nonnegative=mode == "nonnegative"))
    assert path.success
    assert len(path) == 10
    np.testing.assert_array_equal(path.lams, np.arange(10))
    assert (path.n_nonzero <= path.lams).all()
    least = residual_norms(A, b, mode == "nonnegative")
    reached = np.array([np.linalg.norm(A @ result.x - b) for result in path])
    assert (np.diff(reached) <= 1e-9).all()
    # single runs from both sides, no restarts: one miss in sixty is tolerated by this bound
    assert (reached <= least * (1 + 1e-9)).sum() >= 9
    assert (reached >= least * (1 - 1e-9)).all()


def test_path_says_what_time_and_callbacks_cut_off():
    A, b = coherent(1, 40, 60)
    seen = []

    def callback(progress):
        seen.append(progress.lam)
        if len(seen) == 3:
            raise StopIteration

    path = si.solve_path(A, b, si.L0Ball(8), callback=callback)
    assert seen == [0.0, 1.0, 2.0]
    assert len(path) == 9
    assert all(result.success for result in path.results[:3])
    assert path[8].status in (si.Status.STOPPED_BY_CALLBACK, si.Status.CONVERGED)
    rushed = si.solve_path(A, b, si.L0Ball(8), max_time=0.0)
    assert len(rushed) == 9
    assert all(np.isfinite(result.objective) for result in rushed)
    with pytest.raises(TypeError, match="has no level"):
        si.solve_path(A, b, si.L0Ball(8), lams=[1.0])


def test_path_takes_other_solvers_and_operators():
    from scipy.sparse.linalg import aslinearoperator

    A, b = coherent(2, 30, 20)
    exact = si.solve_path(A, b, si.L0Ball(5))
    steps = si.solve_path(A, b, si.L0Ball(5), solver=si.ISTA())
    free = si.solve_path(aslinearoperator(A), b, si.L0Ball(5), solver=si.LocalSearch(restarts=0))
    assert (steps.n_nonzero <= np.arange(6)).all()
    for k in range(6):
        assert steps[k].objective >= exact[k].objective * (1 - 1e-9)
        assert free[k].objective == pytest.approx(exact[k].objective, rel=1e-9)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("nonnegative", [False, True])
def test_fewest_nonzeros_are_those_of_the_enumeration(seed, nonnegative):
    A, b = coherent(seed, 15, 9)
    least = residual_norms(A, b, nonnegative)
    for share in (0.25, 0.4, 0.7):
        target = share * np.linalg.norm(b)
        result = fewest_nonzeros(bound(A, b, si.L0(3.0, nonnegative=nonnegative)), target)
        if target < least[-1]:
            assert result.status is si.Status.UNREACHABLE
            assert np.linalg.norm(A @ result.x - b) == pytest.approx(least[-1], rel=1e-9)
            continue
        assert result.success
        assert np.linalg.norm(A @ result.x - b) <= target * (1 + 1e-8)
        assert result.support.size == int(np.argmax(least <= target))
        assert "fewest non-zeros" in result.selection.rule


@pytest.mark.parametrize("factor", [1e-9, 1.0, 1e9])
def test_fewest_nonzeros_know_no_scale(factor):
    A, b = coherent(3, 25, 40)
    plain = fewest_nonzeros(bound(A, b), 0.3 * np.linalg.norm(b))
    scaled = fewest_nonzeros(bound(A, b * factor), 0.3 * np.linalg.norm(b * factor))
    np.testing.assert_array_equal(plain.support, scaled.support)
    assert scaled.selection.lam == pytest.approx(plain.selection.lam * factor**2, rel=1e-6)


def test_fewest_nonzeros_leave_free_coefficients_uncounted_and_excluded_ones_out():
    A, b = coherent(4, 20, 12)
    lam = np.ones(12)
    lam[3], lam[7] = 0.0, np.inf
    target = 0.35 * np.linalg.norm(b)
    result = fewest_nonzeros(bound(A, b, si.L0(lam)), target)
    others = [j for j in range(12) if j not in (3, 7)]

    def reaches(k):
        for S in itertools.combinations(others, k):
            T = [3, *S]
            x = np.linalg.lstsq(A[:, T], b, rcond=None)[0]
            if np.linalg.norm(A[:, T] @ x - b) <= target:
                return True
        return False

    fewest = next(k for k in range(11) if reaches(k))
    assert result.success
    assert result.x[7] == 0
    assert np.count_nonzero(np.delete(result.x, 3)) == fewest


def test_fewest_nonzeros_of_exact_data_with_a_residual_of_zero():
    A, _ = coherent(5, 30, 60, rho=0.2)
    x = np.zeros(60)
    x[[4, 20, 41]] = 1.0, -2.0, 0.5
    result = fewest_nonzeros(bound(A, A @ x), 0.0)
    assert result.success
    np.testing.assert_array_equal(result.support, [4, 20, 41])
    assert fewest_nonzeros(bound(A, A @ x), 2 * np.linalg.norm(A @ x)).support.size == 0
    assert not fewest_nonzeros(bound(A, np.zeros(30)), 0.0).x.any()


def test_a_target_that_arithmetic_misses_is_not_called_unreachable():
    A, b = coherent(8, 60, 200, rho=0.5)
    result = fewest_nonzeros(bound(A, b), 0.0)
    assert result.status in (si.Status.PRECISION_FLOOR, si.Status.CONVERGED)
    assert np.linalg.norm(A @ result.x - b) <= 1e-5 * np.linalg.norm(b)


def test_fewest_nonzeros_within_no_time_say_so():
    A, b = coherent(6, 60, 300)
    result = fewest_nonzeros(bound(A, b), 0.05 * np.linalg.norm(b), stopping=Stopping(max_time=0.0))
    assert result.status is si.Status.MAX_TIME
    assert "least residual norm found" in result.detail


def test_fewest_nonzeros_refuse_what_has_no_count():
    A, b = coherent(7, 10, 6)
    for penalty, words in (
        (si.L1(1.0), r"need the penalty L0\(\)"),
        (si.L0(1.0, l2=0.1), "l1 and l2 of L0"),
        (si.L0([1.0, 2.0, 1.0, 1.0, 1.0, 1.0]), "lam and weights differ"),
    ):
        with pytest.raises(ValueError, match=words):
            fewest_nonzeros(bound(A, b, penalty), 1.0)
    for target in (-1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="residual_norm is"):
            fewest_nonzeros(bound(A, b), target)


@pytest.mark.parametrize("share", [0.0, 1e-9])
def test_single_precision_meets_no_target_below_its_rounding(share):
    A, b = coherent(4, 8, 14)
    A, b = A.astype(np.float32), b.astype(np.float32)
    target = share * float(np.linalg.norm(b))
    result = si.solve(A, b, si.L0(), select=si.Discrepancy(residual_norm=target))
    assert np.linalg.norm(A.astype(float) @ result.x.astype(float) - b) > target
    assert result.status is si.Status.PRECISION_FLOOR
    single = float(np.linalg.norm(b)) * 1e-3
    assert si.solve(A, b, si.L0(), select=si.Discrepancy(residual_norm=single)).success


def test_a_target_that_is_met_is_not_called_missed():
    rng = np.random.default_rng(1)
    A = rng.standard_normal((10, 1)) + 1e-9 * rng.standard_normal((10, 12))
    b = A[:, 0] - A[:, 1] + 1e-12 * rng.standard_normal(10)
    target = 0.05 * np.linalg.norm(b)
    result = si.solve(A, b, si.L0(), select=si.Discrepancy(residual_norm=target))
    assert "the target" not in result.detail
    assert np.linalg.norm(A @ result.x - b) <= target * (1 + 1e-6)


@pytest.mark.parametrize("free", [0, 2])
def test_a_target_that_rounding_hides_is_not_called_out_of_reach(free):
    """A is invertible: every target can be reached, though least squares cannot show it in floating point."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        half = rng.standard_normal((30, 15))
        A = np.hstack([half, half + 1e-9 * rng.standard_normal((30, 15))])
        b = 1e9 * (A[:, 3] - A[:, 18]) + A[:, 6]
        weights = np.ones(30)
        weights[[3, 18][:free]] = 0.0
        target = si.Discrepancy(residual_norm=1e-10 * np.linalg.norm(b))
        result = si.solve(A, b, si.L0(weights=weights), select=target)
        assert result.status is not si.Status.UNREACHABLE
        assert result.success == (np.linalg.norm(A @ result.x - b) <= 1.001e-10 * np.linalg.norm(b))
        tall = np.vstack([A, np.zeros((1, 30))])
        beside = np.append(b, 0.5 * np.linalg.norm(b))
        beyond = si.solve(tall, beside, si.L0(weights=weights), select=si.Discrepancy(residual_norm=0.4))
        assert beyond.status is si.Status.UNREACHABLE

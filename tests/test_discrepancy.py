"""Discrepancy: basis pursuit denoising against cvxpy, targets out of reach, limits, other penalties."""

import itertools

import cvxpy as cp
import numpy as np
import pytest
from scipy import sparse

import cases
import sparseinv as si


def problem(key, m, n, number="real"):
    rng = cases.generator(91, key)
    A = rng.standard_normal((m, n))
    if number == "complex":
        A = A + 1j * rng.standard_normal((m, n))
    x = np.zeros(n)
    x[rng.choice(n, max(n // 15, 3), replace=False)] = rng.choice([-1, 1], max(n // 15, 3)) * 2.0
    e = 0.2 * rng.standard_normal(m)
    return A, A @ x + e, float(np.linalg.norm(e)), x


def least(A, b, target, w=None, groups=None, nonnegative=False):
    """Return min R(x) subject to ||A x - b|| <= target."""
    x = cp.Variable(A.shape[1], complex=np.iscomplexobj(A), nonneg=nonnegative)
    if groups is not None:
        cost = sum(cp.norm(x[np.flatnonzero(groups == g)]) for g in np.unique(groups))
    else:
        cost = cp.norm1(x if w is None else cp.multiply(w, x))
    bound = [cp.norm(A @ x - b) <= target] if target > 0 else [A @ x == b]
    task = cp.Problem(cp.Minimize(cost), bound)
    task.solve(solver=cp.CLARABEL, tol_gap_abs=1e-9, tol_gap_rel=1e-9, tol_feas=1e-9)
    return float(task.value)


def judge(A, b, target, result, tol=1e-6):
    """Check what a converged result says about itself."""
    assert result.success, result
    norm = np.linalg.norm(A @ result.x - b)
    assert abs(norm - target) <= 0.5 * tol * np.linalg.norm(b)
    certificate = result.certificate
    assert certificate.relative <= tol
    assert certificate.relative >= 2 * abs(norm - target) / np.linalg.norm(b) * (1 - 1e-6) - 1e-14
    assert result.selection.lams.size == result.selection.criterion.size


@pytest.mark.parametrize(
    ("number", "shape", "share"),
    list(itertools.product(["real", "complex"], [(30, 60), (60, 25)], [0.9, 0.4, 1.0])),
)
def test_basis_pursuit_denoising(number, shape, share):
    A, b, noise, _ = problem(shape[0], *shape, number)
    size = np.linalg.norm(b)
    target = 1.05 * noise if share == 1.0 else share * size
    for given in (A, sparse.csc_array(A), cases.Products(A)):
        result = si.solve(given, b, si.L1(), select=si.Discrepancy(residual_norm=target))
        judge(A, b, target, result)
        assert np.abs(result.x).sum() == pytest.approx(least(A, b, target), rel=2e-6)
    assert result.lam == pytest.approx(np.abs(A.conj().T @ (A @ result.x - b)).max(), rel=1e-4)


def test_few_solves():
    A, b, noise, _ = problem(1, 60, 150)
    result = si.solve(A, b, si.L1(), select=si.Discrepancy(residual_norm=1.05 * noise))
    assert result.selection.lams.size <= 10
    assert abs(np.linalg.norm(A @ result.x - b) - 1.05 * noise) <= 1e-9 * np.linalg.norm(b)


@pytest.mark.parametrize("number", ["real", "complex"])
def test_basis_pursuit(number):
    A, _, _, x = problem(2, 40, 80, number)
    b = A @ x
    result = si.solve(A, b, si.L1(), select=si.Discrepancy(residual_norm=0.0))
    judge(A, b, 0.0, result)
    np.testing.assert_allclose(result.x, x, atol=1e-9)
    noisy = b + cases.generator(92).standard_normal(40)
    result = si.solve(A, noisy, si.L1(), select=si.Discrepancy(residual_norm=0.0))
    judge(A, noisy, 0.0, result)
    assert np.abs(result.x).sum() == pytest.approx(least(A, noisy, 0.0), rel=3e-6)
    free = si.solve(cases.Products(A), b, si.L1(), select=si.Discrepancy(residual_norm=0.0))
    judge(A, b, 0.0, free)
    np.testing.assert_allclose(free.x, x, atol=1e-4)


def test_weights_factors_and_signs():
    A, b, noise, _ = problem(3, 30, 60)
    w = 10.0 ** cases.generator(93).uniform(-0.5, 0.5, 60)
    target = 2 * noise
    select = si.Discrepancy(residual_norm=target)
    weighted = si.solve(A, b, si.L1(weights=w), select=select)
    judge(A, b, target, weighted)
    assert (w * np.abs(weighted.x)).sum() == pytest.approx(least(A, b, target, w), rel=2e-6)
    factors = si.solve(A, b, si.L1(7.0 * w), select=select)
    np.testing.assert_allclose(factors.x, weighted.x, atol=1e-7)
    np.testing.assert_allclose(factors.lam, weighted.lam * w, rtol=1e-6)
    forced = si.solve(A, b, si.L1(nonnegative=True), select=si.Discrepancy(residual_norm=0.8 * 10))
    judge(A, b, 8.0, forced)
    assert forced.x.min() >= 0
    assert np.abs(forced.x).sum() == pytest.approx(least(A, b, 8.0, nonnegative=True), rel=2e-6)
    w[[0, 5]], w[[1, 7]] = 0.0, np.inf
    some = si.solve(A, b, si.L1(weights=w), select=select)
    judge(A, b, target, some)
    assert not some.x[[1, 7]].any()
    kept = np.isfinite(w)
    best = least(A[:, kept], b, target, w[kept])
    assert (w[kept] * np.abs(some.x[kept])).sum() == pytest.approx(best, rel=2e-6)


def test_groups():
    A, b, noise, _ = problem(4, 30, 60)
    labels = np.arange(60) // 3
    target = 1.5 * noise
    result = si.solve(A, b, si.GroupL1(groups=labels), select=si.Discrepancy(residual_norm=target))
    judge(A, b, target, result)
    size = sum(np.linalg.norm(result.x[labels == g]) for g in range(20))
    assert size == pytest.approx(least(A, b, target, groups=labels), rel=2e-6)


@pytest.mark.parametrize(("m", "n"), [(30, 60), (60, 25)])
@pytest.mark.parametrize("share", [0.999, 0.7, 0.3])
def test_ridge(m, n, share):
    A, b, _, _ = problem(5, m, n)
    target = share * np.linalg.norm(b)
    for given in (A, cases.Products(A)):
        result = si.solve(given, b, si.L2(), select=si.Discrepancy(residual_norm=target))
        judge(A, b, target, result)
    exact = np.linalg.solve(A.T @ A + result.lam * np.eye(n), A.T @ b)
    np.testing.assert_allclose(result.x, exact, atol=1e-4)


def test_least_norm_is_the_limit_of_ridge():
    A, b, _, _ = problem(6, 20, 40)
    result = si.solve(A, b, si.L2(), select=si.Discrepancy(residual_norm=0.0))
    judge(A, b, 0.0, result)
    np.testing.assert_allclose(result.x, np.linalg.pinv(A) @ b, atol=1e-5)


def test_elastic_net():
    A, b, noise, _ = problem(7, 30, 60)
    result = si.solve(
        A, b, si.ElasticNet(l1_ratio=0.7), select=si.Discrepancy(residual_norm=1.5 * noise)
    )  # fmt: skip
    judge(A, b, 1.5 * noise, result)
    x = cp.Variable(60)
    cost = 0.7 * cp.norm1(x) + 0.15 * cp.sum_squares(x)
    task = cp.Problem(cp.Minimize(cost), [cp.norm(A @ x - b) <= 1.5 * noise])
    task.solve(solver=cp.CLARABEL)
    mine = 0.7 * np.abs(result.x).sum() + 0.15 * (result.x**2).sum()
    assert mine == pytest.approx(task.value, rel=1e-5)


@pytest.mark.parametrize("solver", [si.FISTA, si.BarzilaiBorwein, si.CoordinateDescent, si.WorkingSet])
def test_with_the_solver_asked_for(solver):
    A, b, noise, _ = problem(8, 40, 60)
    result = si.solve(A, b, si.L1(), solver=solver(), select=si.Discrepancy(residual_norm=1.2 * noise))
    judge(A, b, 1.2 * noise, result)
    assert isinstance(result.solver, solver)


def test_out_of_reach():
    for number in ("real", "complex"):
        A, b, _, _ = problem(9, 60, 20, number)
        fit = np.linalg.lstsq(A, b, rcond=None)[0]
        lowest = np.linalg.norm(A @ fit - b)
        for given in (A, cases.Products(A)):
            for target in (0.0, 0.5 * lowest, 0.999 * lowest):
                result = si.solve(given, b, si.L1(), select=si.Discrepancy(residual_norm=target))
                assert result.status is si.Status.UNREACHABLE
                assert not result.success
                assert "The least residual norm is" in result.message
                np.testing.assert_allclose(result.x, fit, atol=1e-5)
            judge(A, b, 1.001 * lowest, si.solve(given, b, si.L1(),
                  select=si.Discrepancy(residual_norm=1.001 * lowest)))  # fmt: skip
    A, b, _, _ = problem(9, 20, 40)
    excluded = si.L1(weights=np.full(40, np.inf))
    result = si.solve(A, b, excluded, select=si.Discrepancy(residual_norm=0.5 * np.linalg.norm(b)))
    assert result.status is si.Status.UNREACHABLE
    assert not result.x.any()
    nothing = si.solve(A[:, :0], b, si.L1(), select=si.Discrepancy(residual_norm=0.5 * np.linalg.norm(b)))
    assert nothing.status is si.Status.UNREACHABLE
    A[:, :] = 0.0
    result = si.solve(A, b, si.L1(), select=si.Discrepancy(residual_norm=0.5 * np.linalg.norm(b)))
    assert result.status is si.Status.UNREACHABLE


@pytest.mark.parametrize(
    "penalty", [si.L1(), si.L2(), si.ElasticNet(), si.GroupL1(groups=np.arange(40) // 2)]
)
def test_data_within_the_target(penalty):
    A, b, _, _ = problem(10, 30, 40)
    for target in (np.linalg.norm(b) * (1 + 1e-12), 2 * np.linalg.norm(b)):
        result = si.solve(A, b, penalty, select=si.Discrepancy(residual_norm=target))
        assert result.success
        assert np.abs(result.x).max() <= 1e-12
        assert np.linalg.norm(A @ result.x - b) <= target
    assert not si.solve(A, 0 * b, penalty, select=si.Discrepancy(residual_norm=0.0)).x.any()


def test_sigma_is_per_datum():
    A, b, _, _ = problem(11, 50, 100)
    result = si.solve(A, b, si.L1(), select=si.Discrepancy(sigma=0.2))
    judge(A, b, 0.2 * np.sqrt(50), result)
    assert result.selection.sigma == 0.2
    assert "residual norm" in result.selection.rule
    choice = si.select_lam(A, b, si.L1(), si.Discrepancy(sigma=0.2))
    assert choice.lam == pytest.approx(result.selection.lam, rel=1e-6)
    assert choice.path is None
    np.testing.assert_allclose(choice.result.x, result.x, atol=1e-6)


def test_scales():
    A, b, noise, _ = problem(12, 30, 60)
    expected = si.solve(A, b, si.L1(), select=si.Discrepancy(residual_norm=noise))
    for s in (2.0**300, 2.0**-300):
        result = si.solve(A, s * b, si.L1(), select=si.Discrepancy(residual_norm=s * noise))
        np.testing.assert_array_equal(result.x, s * expected.x)
        assert result.selection.criterion[-1] == s * expected.selection.criterion[-1]
    result = si.solve(1e-130 * A, b, si.L1(), select=si.Discrepancy(residual_norm=noise))
    np.testing.assert_allclose(1e-130 * result.x, expected.x, atol=1e-7)


def test_single_precision():
    A, b, noise, _ = problem(13, 30, 60)
    A, b = A.astype(np.float32), b.astype(np.float32)
    result = si.solve(A, b, si.L1(), select=si.Discrepancy(residual_norm=1.2 * noise), tol=1e-5)
    assert result.x.dtype == np.float32
    judge(A.astype(float), b.astype(float), 1.2 * noise, result, tol=1e-5)


def test_what_ends_a_search():
    A, b, noise, _ = problem(14, 40, 80)
    select = si.Discrepancy(residual_norm=noise)
    late = si.solve(A, b, si.L1(), select=select, max_time=0.0)
    assert late.status is si.Status.MAX_TIME
    short = si.solve(A, b, si.L1(), solver=si.FISTA(), select=select, max_iter=15)
    assert short.status is si.Status.MAX_ITER
    assert short.certificate.relative > 1e-6

    def stop(_):
        raise StopIteration

    halted = si.solve(A, b, si.L1(), solver=si.FISTA(), select=select, callback=stop)
    assert halted.status is si.Status.STOPPED_BY_CALLBACK

    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(si.Interrupted) as caught:
        si.solve(A, b, si.L1(), solver=si.FISTA(), select=select, callback=interrupt)
    assert caught.value.result.status is si.Status.INTERRUPTED
    broken = cases.Products(A)
    broken.rmatvec = lambda y: np.full(80, np.nan)
    failed = si.solve(broken, b, si.L1(), select=select, check_operator=False)
    assert failed.status is si.Status.NUMERICAL_FAILURE


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: si.Discrepancy(), ValueError, "needs residual_norm or sigma, and not both"),
        (lambda: si.Discrepancy(1.0, sigma=1.0), ValueError, "and not both"),
        (lambda: si.Discrepancy(residual_norm=-1.0), ValueError, "residual_norm is -1.0"),
        (lambda: si.Discrepancy(residual_norm=np.nan), ValueError, "residual_norm is nan"),
        (lambda: si.Discrepancy(sigma="a"), TypeError, "sigma is 'a'"),
        (
            lambda: si.solve(
                np.eye(2), np.ones(2), si.L0(), select=si.Discrepancy(residual_norm=1.0), solver=si.IRLS()
            ),
            ValueError,
            "found by LocalSearch only",
        ),
        (
            lambda: si.solve(np.eye(2), np.ones(2), si.MCP(), select=si.Discrepancy(residual_norm=1.0)),
            ValueError,
            "not MCP",
        ),
        (
            lambda: si.solve(np.eye(2), np.ones(2), si.L1Ball(1.0), select=si.Discrepancy(residual_norm=1.0)),
            TypeError,
            "has no level",
        ),
    ],
)
def test_bad_input(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_fewest_nonzeros_within_a_residual_agree_with_enumeration():
    rng = np.random.default_rng(11)
    for _ in range(10):
        A = rng.standard_normal((12, 10)) + 0.8 * rng.standard_normal((12, 1))
        b = A[:, :3] @ np.array([2.0, -1.5, 1.0]) + 0.3 * rng.standard_normal(12)
        target = 1.2 * 0.3 * np.sqrt(12)
        least = next(
            k
            for k in range(11)
            if any(
                np.linalg.norm(b - A[:, S] @ np.linalg.lstsq(A[:, S], b, rcond=None)[0]) <= target
                for S in map(list, itertools.combinations(range(10), k))
            )
        )
        result = si.solve(A, b, si.L0(), select=si.Discrepancy(residual_norm=target))
        assert result.support.size == least
        assert np.linalg.norm(A @ result.x - b) <= target * (1 + 1e-8)
        assert result.certificate.kind is si.Kind.SWAP_MINIMUM
        assert "fewest non-zeros" in result.selection.rule


def test_fewest_nonzeros_with_a_constant_and_out_of_reach():
    rng = np.random.default_rng(12)
    A = rng.standard_normal((30, 50))
    b = 2 * A[:, 4] - A[:, 7] + 100.0 + 0.01 * rng.standard_normal(30)
    result = si.solve(A, b, si.L0(), select=si.Discrepancy(sigma=0.02), intercept=True)
    np.testing.assert_array_equal(result.support, [4, 7])
    assert result.intercept == pytest.approx(100.0, abs=0.1)
    constrained = si.solve(A, b, si.L1(), select=si.Discrepancy(residual_norm=0.5), intercept=True)
    r = A @ constrained.x + constrained.intercept - b
    assert np.linalg.norm(r) == pytest.approx(0.5, rel=1e-3)
    tall = rng.standard_normal((40, 5))
    beyond = si.solve(tall, rng.standard_normal(40), si.L0(), select=si.Discrepancy(residual_norm=1e-3))
    assert beyond.status is si.Status.UNREACHABLE


def test_rounding_does_not_put_zero_out_of_reach():
    """More columns than rows fit any b; what rounding leaves of the residual proves nothing against 0."""
    rng = np.random.default_rng(29)
    A = rng.standard_normal((20, 60))
    b = A @ rng.standard_normal(60)
    result = si.solve(A, b, si.L1(weights=8.0 ** (np.arange(60) // 12)), select=si.Discrepancy(0.0))
    assert result.success
    assert np.linalg.norm(A @ result.x - b) < 1e-9 * np.linalg.norm(b)

"""What other solvers of L1 problems are known to have stumbled over, kept as regression tests.

A number in a test's name is a row of this list. The named packages are good ones, and many of these defects
are mended there by now. Every answer is judged by a duality gap in plain NumPy (`proved_excess`).

Rows that are covered elsewhere:

2, 3 (spgl1, skglm: b scaled by 1e-6 or 1e-5 gives x = 0 because a tolerance is absolute):
test_adversarial.py test_any_scale_gives_the_same_answer, test_powers_of_two_change_no_bit, test_table.
5 (skglm: the prox of MCP where the step is long): test_penalties.py test_prox_minimises for the penalties
that exist, test_equivalences.py test_l0_descent_does_not_see_column_lengths.
18 (scikit-learn: lambda = 1e-8 is wrong without a warning): test_adversarial.py test_tiny_lambda.
26 (scikit-learn, celer, tabmat: 64-bit indices, unsorted indices, explicit zeros): test_adversarial.py
test_indices_of_64_bits, test_operator_traps.py test_untidy_sparse_matrices.
30 (python-glmnet raises if it does not converge): test_adversarial.py
test_status_follows_the_final_certificate.
31 (skglm: a combination of defaults warns): test_crosscheck.py test_zoo; warnings are errors in this suite.

Without a counterpart: 6 (paths cut short), 29 in its form for many right-hand sides, 25 in its form for LARS.

Of the general list: zero columns, A = 0, b = 0, one row, one column, extreme scales, layouts, float32 and
threads are in test_adversarial.py, test_operator_traps.py and test_driver.py; lambda at and above its
maximum, bad starts and bad adjoints in test_bad_input.py. The rest is at the end of this file.
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp

import sparseinv as si
from reference import LONG, dual_value, judged_gap, newton, plain, realified

# func_only: compiling kernels happens in the fixture below and does not count
pytestmark = pytest.mark.timeout(4, func_only=True)

ROUNDING = 1e-14  # of 1/2 ||b||^2


class MatrixFree:
    """A map that shows nothing but its products."""

    def __init__(self, A):
        self.array, self.shape, self.dtype = A, A.shape, A.dtype
        self.calls = 0

    def matvec(self, x):
        self.calls += 1
        return self.array @ x

    def rmatvec(self, y):
        self.calls += 1
        return self.array.conj().T @ y


WRAP = {"dense": np.asarray, "csc": sp.csc_array, "operator": MatrixFree}
IN_MEMORY = [si.CoordinateDescent(), si.CoordinateDescent(gram=True), si.WorkingSet()]
CONVEX = ["auto", si.ISTA(), si.FISTA(), si.FISTA(monotone=True), *IN_MEMORY, si.IRL1()]


@pytest.fixture(scope="module", autouse=True)
def compiled_kernels():
    """Compile what the tests call, so that their time limits are about solving."""
    rng = np.random.default_rng(1)
    A, b = rng.standard_normal((6, 8)), rng.standard_normal(6)
    for wrap in WRAP.values():
        for matrix, data in ((A, b), (A + 1j * A, b + 1j * b), (A, b + 1j * b)):
            for penalty in (si.L1(0.1), si.GroupL1(0.1, groups=np.arange(8) // 2)):
                si.solve(wrap(matrix), data, penalty)
                si.solve(wrap(matrix), data, penalty, solver=si.FISTA())
                si.solve(wrap(matrix), data, penalty, solver=si.BarzilaiBorwein())
                if wrap is not MatrixFree:
                    si.solve(wrap(matrix), data, penalty, solver=si.CoordinateDescent())
        if wrap is not MatrixFree:
            for solver in CONVEX:
                si.solve(wrap(A), b, si.L1(0.1), solver=solver)
    A, b = correlated(40, 120)
    si.solve(A, b, si.L1(1e-4 * lam_max(A, b)))


def lam_max(A, b):
    return float(np.abs(A.conj().T @ b).max())


def correlated(m, n, rho=0.9, seed=0, spikes=8):
    """Neighbouring columns correlate by rho; a sparse truth and noise."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((m, n))
    for j in range(1, n):
        A[:, j] = rho * A[:, j - 1] + np.sqrt(1.0 - rho**2) * A[:, j]
    x = np.zeros(n)
    x[:: max(n // spikes, 1)] = rng.choice([-1.0, 1.0], x[:: max(n // spikes, 1)].size)
    noise = rng.standard_normal(m)
    b = A @ x + 0.1 * np.linalg.norm(A @ x) / np.linalg.norm(noise) * noise
    return A, b


def proved_excess(problem, x):
    """Return F(x) minus a lower bound of the minimum, relative to 1/2 ||b||^2, from NumPy alone.

    Dual points: the residual of x, and that of x after Newton's method on its support.
    """
    if problem.scale == 0.0:
        return float(problem.objective(x))
    real = realified(problem)
    z = x[real.kept]
    z = np.concatenate([z.real, z.imag]) if real.is_complex else z.real
    polished = newton(real, z)
    nu = real.b.astype(LONG) - real.A.astype(LONG) @ polished.astype(LONG)
    lower = dual_value(real, nu, real.norms(polished))
    return min(float(problem.objective(x) - lower), judged_gap(problem, x)) / problem.scale


def assert_solved(result, problem, tol):
    """The status, the certificate and the independent gap say that x is optimal within tol."""
    x = np.asarray(result.x)
    assert result.status is si.Status.CONVERGED, result
    assert result.certificate.relative <= tol
    assert proved_excess(problem, x) <= tol + ROUNDING


def judge_honestly(result, problem, tol):
    """Return the independent excess of x after testing that nothing is claimed beyond it."""
    excess = proved_excess(problem, np.asarray(result.x, dtype=np.result_type(result.x, float)))
    assert result.success == (result.certificate.relative <= tol)
    assert result.status in (si.Status.CONVERGED, si.Status.PRECISION_FLOOR, si.Status.MAX_ITER)
    assert not result.success or excess <= tol + ROUNDING
    return excess


# --- the rows -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["dense", "csc"])
@pytest.mark.parametrize("solver", CONVEX, ids=str)
@pytest.mark.parametrize("start", ["empty", "emptied", "wrong"])
def test_01_warm_start_without_support(start, solver, kind):
    """celer sized its working set by the start's support, and an empty one never grew."""
    A, b = correlated(30, 60)
    lam = 0.02 * lam_max(A, b)
    # a start that the level empties, the empty start itself, and one on columns that do not belong
    cold = si.solve(A, b, si.L1(lam), tol=1e-10)
    x0 = np.zeros(60)
    if start == "emptied":
        x0 = si.solve(A, b, si.L1(lam_max(A, b)), x0=cold.x, solver=solver, tol=1e-10, max_iter=3).x
    elif start == "wrong":
        x0[np.flatnonzero(cold.x == 0)[:3]] = 100.0
    result = si.solve(WRAP[kind](A), b, si.L1(lam), solver=solver, x0=x0, tol=1e-8, max_iter=30_000)
    assert_solved(result, plain(A, b, l1=lam), 1e-8)
    assert result.support.size >= 8


@pytest.mark.parametrize("scale", [1e-4, 3e-9, 1e-120, 1e120])
@pytest.mark.parametrize("kind", WRAP)
def test_04_norm_of_a_matrix_of_any_scale(kind, scale):
    """skglm's power iteration stopped by an absolute tolerance: a step twice too long, F = inf."""
    A, b = correlated(30, 50, rho=0.99)
    A[np.abs(A) < 0.5] = 0.0
    norm = np.linalg.norm(A, 2)
    bound = si.norm_bound(WRAP[kind](scale * A))[0] / scale
    assert 0.98 * norm <= bound <= 1.05 * norm
    lam = 0.1 * lam_max(A, b)
    result = si.solve(WRAP[kind](scale * A), b, si.L1(scale * lam), solver=si.FISTA(), tol=1e-7)
    assert result.success
    assert proved_excess(plain(A, b, l1=lam), result.x * scale) <= 1e-7 + ROUNDING


@pytest.mark.parametrize("solver", ["auto", si.CoordinateDescent(), si.FISTA()], ids=str)
def test_07_tolerance_is_about_the_objective_not_about_changes_of_x(solver):
    """adelie asked for 1e-14 stops by changes of coefficients, at a gap of 1e-9."""
    A, b = correlated(40, 80, rho=0.99)
    lam = 0.01 * lam_max(A, b)
    result = si.solve(A, b, si.L1(lam), solver=solver, tol=1e-14, max_iter=100_000)
    excess = judge_honestly(result, plain(A, b, l1=lam), 1e-14)
    assert excess <= 3e-14


@pytest.mark.parametrize("scale", [1.0, 1e-9, 1e9])
def test_08_no_floor_above_that_of_the_arithmetic(scale):
    """blitz gives up at an absolute "machine precision", a gap of 1.4e-9."""
    A, b = correlated(40, 80, rho=0.95)
    lam = 0.02 * lam_max(A, b)
    result = si.solve(A * scale, b, si.L1(lam * scale), tol=1e-13)
    assert result.success
    assert proved_excess(plain(A, b, l1=lam), result.x * scale) <= 1e-13 + ROUNDING


@pytest.mark.parametrize("solver", CONVEX, ids=str)
def test_09_small_data_with_a_small_level_are_not_zero(solver):
    """celer and scikit-learn took x = 0 for the answer where b is about 1e-2 and lambda 1e-4."""
    rng = np.random.default_rng(9)
    A = rng.standard_normal((20, 2)) / np.sqrt(20)
    b = 1e-2 * (A @ [0.6, 0.0] + 0.01 * rng.standard_normal(20))
    problem = plain(A, b, l1=1e-5)
    result = si.solve(A, b, si.L1(1e-5), solver=solver)
    assert_solved(result, problem, 1e-6)
    assert result.x[0] == pytest.approx(6e-3, rel=0.1)


@pytest.mark.parametrize("solver", CONVEX, ids=str)
def test_10_weight_zero(solver):
    """celer, spgl1 and scikit-learn refuse unpenalised coefficients or once gave wrong answers."""
    A, b = correlated(30, 50)
    b += 5.0 * A[:, 7]
    weights = np.linspace(0.5, 2.0, 50)
    weights[[7, 8, 31]] = 0.0
    lam = 0.2 * lam_max(A, b)
    penalty = si.L1(lam, weights=weights)
    result = si.solve(A, b, penalty, solver=solver, tol=1e-8, max_iter=50_000)
    assert_solved(result, plain(A, b, l1=lam * weights), 1e-8)
    # unpenalised: the residual is orthogonal to these columns
    r = A @ result.x - b
    assert np.abs(A[:, [7, 8, 31]].T @ r).max() <= 1e-3 * lam


@pytest.mark.parametrize("solver", CONVEX, ids=str)
def test_11_weight_infinite_and_weights_not_rescaled(solver):
    """glmnet rescales weights to the sum n; celer once left excluded columns in the objective."""
    A, b = correlated(30, 50)
    weights = np.full(50, 3.0)
    weights[[0, 6, 7]] = np.inf
    lam = 0.02 * lam_max(A, b)
    result = si.solve(A, b, si.L1(lam, weights=weights), solver=solver, tol=1e-8, max_iter=50_000)
    problem = plain(A, b, l1=lam * weights)
    assert_solved(result, problem, 1e-8)
    assert not result.x[[0, 6, 7]].any()
    assert result.objective == pytest.approx(float(problem.objective(result.x)), rel=1e-12)


@pytest.mark.parametrize("ratio", [1e-3, 1e-5])
@pytest.mark.parametrize("solver", ["auto", si.WorkingSet()], ids=str)
def test_12_weights_and_a_small_level(solver, ratio):
    """celer's inner solver did not converge with weights below a thousandth of the largest level."""
    rng = np.random.default_rng(12)
    A, b = correlated(60, 150)
    weights = 10.0 ** rng.uniform(-2.0, 2.0, 150)
    lam = ratio * float((np.abs(A.T @ b) / weights).max())
    result = si.solve(A, b, si.L1(lam, weights=weights), solver=solver, tol=1e-9)
    assert_solved(result, plain(A, b, l1=lam * weights), 1e-9)
    assert result.n_iter <= 100


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("solver", ["auto", si.WorkingSet(), si.CoordinateDescent()], ids=str)
def test_13_no_coefficient_is_lost(solver, seed):
    """Screening of celer has removed coefficients that are not zero."""
    rng = np.random.default_rng([13, seed])
    A, b = correlated(25, 100, rho=(0.5, 0.9, 0.99)[seed % 3], seed=seed)
    A *= np.exp(rng.standard_normal(100))
    lam = 10.0 ** rng.uniform(-3, -0.5) * lam_max(A, b)
    x0 = rng.standard_normal(100) if seed % 2 else None
    result = si.solve(A, b, si.L1(lam), solver=solver, tol=1e-11, x0=x0, max_iter=100_000)
    assert_solved(result, plain(A, b, l1=lam), 1e-11)
    # a column whose correlation exceeds its level was left out
    assert np.abs(A.T @ (A @ result.x - b)).max() <= lam * (1 + 1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_13_no_group_is_lost(seed):
    """Screening of celer has removed groups that are not zero."""
    A, b = correlated(25, 60, seed=seed)
    groups = np.arange(60) // 4
    lam = (0.02, 0.2)[seed % 2] * lam_max(A, b)
    result = si.solve(A, b, si.GroupL1(lam, groups=groups), tol=1e-10, max_iter=100_000)
    assert_solved(result, plain(A, b, l1=lam, groups=groups), 1e-10)
    g = A.T @ (A @ result.x - b)
    assert np.sqrt(np.bincount(groups, weights=g**2)).max() <= lam * (1 + 1e-3)


@pytest.mark.parametrize("n", [1, 2, 3, 9, 40])
@pytest.mark.parametrize("solver", [*IN_MEMORY, si.IRL1()], ids=str)
def test_14_every_column_is_active(solver, n):
    """celer's selection of columns failed where the working set was all of them."""
    rng = np.random.default_rng(n)
    A = rng.standard_normal((60, n))
    b = A @ (2.0 + rng.random(n)) + 0.1 * rng.standard_normal(60)
    for start in (None, np.ones(n)):
        result = si.solve(A, b, si.L1(0.1), solver=solver, tol=1e-10, x0=start)
        assert_solved(result, plain(A, b, l1=0.1), 1e-10)
        assert result.support.size == n


@pytest.mark.parametrize("solver", CONVEX, ids=str)
def test_15_the_gap_reported_is_that_of_the_x_returned(solver):
    """celer's gap once belonged to another dual point than the one returned."""
    A, b = correlated(30, 60)
    lam = 0.05 * lam_max(A, b)
    problem = plain(A, b, l1=lam)
    best = float(problem.objective(si.solve(A, b, si.L1(lam), tol=1e-13).x))
    for limit in (1, 2, 5, 1000):
        result = si.solve(A, b, si.L1(lam), solver=solver, tol=1e-7, max_iter=limit)
        value = float(problem.objective(result.x))
        certificate = result.certificate
        assert result.objective == certificate.objective == pytest.approx(value, rel=1e-13)
        assert certificate.bound == pytest.approx(value - certificate.value, rel=1e-13)
        assert certificate.bound <= best * (1 + 1e-12)
        assert result.success == (certificate.relative <= 1e-7)


@pytest.mark.parametrize("solver", CONVEX, ids=str)
def test_16_no_negative_gap(solver):
    """Gaps of scikit-learn's graphical lasso and of sparse-ho have come out negative."""
    rng = np.random.default_rng(16)
    q, _ = np.linalg.qr(rng.standard_normal((20, 20)))
    for A, b in (correlated(20, 40), (q, q @ np.linspace(-2, 2, 20)), (np.eye(20), np.ones(20))):
        lam = 0.3 * lam_max(A, b)
        result = si.solve(A, b, si.L1(lam), solver=solver, tol=0.0, max_iter=300)
        assert (result.history.relative >= 0).all()
        assert result.certificate.value >= 0
        # a bound may not pass what is known to be reached
        exact = float(plain(A, b, l1=lam).objective(si.solve(A, b, si.L1(lam), tol=1e-14).x))
        assert result.certificate.bound <= exact * (1 + 1e-14)


@pytest.mark.parametrize("make", [np.asarray, sp.csc_array, MatrixFree], ids=lambda f: f.__name__)
@pytest.mark.parametrize("factor", [1.0, 1e-3, 1e6])
def test_17_the_gap_has_the_units_of_the_objective(factor, make):
    """scikit-learn's dual_gap_ was m times the gap of the documented objective."""
    A, b = correlated(30, 60)
    b = factor * b
    lam = 0.5 * lam_max(A, b)
    certificate = si.certify(make(A), b, si.L1(lam), np.zeros(60))
    assert certificate.objective == pytest.approx(0.5 * b @ b, rel=1e-13)
    # at x = 0 the best multiple of the residual is 1/2, its gap 1/2 ||b||^2 / 4; other dual points may
    # do better
    assert certificate.value <= b @ b / 8 * (1 + 1e-12)
    problem = plain(A, b, l1=lam)
    best = problem.objective(si.solve(A, b, si.L1(lam), tol=1e-12).x)
    assert certificate.value >= float(problem.objective(np.zeros(60)) - best) * (1 - 1e-10)
    assert certificate.scale == pytest.approx(0.5 * b @ b, rel=1e-13)
    twice = si.certify(make(np.vstack([A, A])), np.tile(b, 2), si.L1(2 * lam), np.zeros(60))
    assert twice.value == pytest.approx(2 * certificate.value, rel=1e-12)


@pytest.mark.parametrize("solver", ["auto", si.CoordinateDescent(gram=True), si.FISTA()], ids=str)
@pytest.mark.parametrize("ratio", [1e-7, 1e-30, 0.0])
def test_19_single_precision_and_a_level_near_zero(ratio, solver):
    """scikit-learn refused its own Gram matrix in single precision, or failed there with lambda near 0."""
    rng = np.random.default_rng(19)
    A = (10.0 + rng.standard_normal((60, 8))).astype(np.float32)  # the mean dominates the Gram matrix
    b = (A @ np.arange(8.0) + rng.standard_normal(60)).astype(np.float32)
    problem = plain(A.astype(float), b.astype(float), l1=ratio * lam_max(A, b))
    result = si.solve(A, b, si.L1(ratio * lam_max(A, b)), solver=solver, tol=1e-6)
    assert result.x.dtype == np.float32
    x = result.x.astype(float)
    assert np.isfinite(x).all()
    assert result.success == (result.certificate.relative <= 1e-6)
    # least squares in double precision, up to what single precision of x can express
    fit = np.linalg.lstsq(A.astype(float), b.astype(float), rcond=None)[0]
    assert float(problem.objective(x) - problem.objective(fit)) <= 1e-6 * problem.scale


@pytest.mark.parametrize("l1_ratio", [0.01, 0.5, 0.99])
def test_20_gap_of_an_elastic_net_near_the_optimum(l1_ratio):
    """scikit-learn's gap treats the ridge part as rows of A: too large by far, so runs hit max_iter."""
    A, b = correlated(50, 100)
    lam = 0.05 * lam_max(A, b)
    level, ridge = l1_ratio * lam, (1 - l1_ratio) * lam
    problem = plain(A, b, l1=level, l2=ridge)
    best = si.solve(A, b, si.ElasticNet(lam, l1_ratio=l1_ratio), tol=1e-13)
    assert_solved(best, problem, 1e-13)
    x = best.x * (1 + 1e-4 * np.random.default_rng(20).standard_normal(100))
    # the gap of the augmented lasso, from its scaled residual
    r = b - A @ x
    c = A.T @ r - ridge * x
    s = min(1.0, level / np.abs(c).max())
    augmented = 0.5 * (r @ r + ridge * x @ x) * (1 + s * s) + level * np.abs(x).sum() - s * (b @ r)
    excess = float(problem.objective(x) - problem.objective(best.x))
    value = si.certify(A, b, si.ElasticNet(lam, l1_ratio=l1_ratio), x).value
    assert excess <= value + ROUNDING * problem.scale
    assert value <= 0.05 * augmented
    assert si.solve(A, b, si.ElasticNet(lam, l1_ratio=l1_ratio), tol=1e-9).n_iter <= 50


@pytest.mark.parametrize("kind", WRAP)
@pytest.mark.parametrize("solver", ["auto", si.FISTA(), si.CoordinateDescent()], ids=str)
def test_21_products_of_complex_vectors_are_conjugated(solver, kind):
    """spgl1 forms b.b without conjugation, which is zero for b = (1, i)."""
    if kind == "operator" and isinstance(solver, si.CoordinateDescent):
        with pytest.raises(ValueError, match="FISTA"):
            si.solve(MatrixFree(np.eye(2)), np.ones(2), si.L1(0.1), solver=solver)
        return
    rng = np.random.default_rng(21)
    half = rng.standard_normal((10, 30)) + 1j * rng.standard_normal((10, 30))
    A = np.vstack([half, 1j * half])  # A^T A = 0
    y = rng.standard_normal(10)
    b = np.concatenate([y, 1j * y])
    assert abs(b @ b) < 1e-14
    assert np.abs(A.T @ A).max() < 1e-13
    lam = 0.1 * lam_max(A, b)
    result = si.solve(WRAP[kind](A), b, si.L1(lam), solver=solver, tol=1e-9)
    assert_solved(result, plain(A, b, l1=lam), 1e-9)
    assert result.certificate.scale == pytest.approx(y @ y, rel=1e-13)


@pytest.mark.parametrize("kind", WRAP)
def test_21_complex_matrix_and_real_data(kind):
    """A real b once made the arrays of a complex problem real."""
    rng = np.random.default_rng(22)
    A = rng.standard_normal((15, 30)) + 1j * rng.standard_normal((15, 30))
    b = rng.standard_normal(15)
    lam = 0.1 * lam_max(A, b)
    result = si.solve(WRAP[kind](A), b, si.L1(lam), tol=1e-9)
    assert_solved(result, plain(A, b, l1=lam), 1e-9)
    assert np.iscomplexobj(result.x)
    turned = si.solve(WRAP[kind](A), 1j * b, si.L1(lam), tol=1e-9)
    assert turned.objective == pytest.approx(result.objective, rel=1e-8)


@pytest.mark.parametrize("kind", WRAP)
@pytest.mark.parametrize("solver", [si.ISTA(), si.FISTA()], ids=str)
def test_22_threshold_of_complex_numbers(solver, kind):
    """pylops shrank real and imaginary parts apart, and its threshold has another factor of two."""
    b = np.array([3.0 + 4.0j, -1.0j, 0.3 + 0.3j, -2.0, 0.0])
    size = np.maximum(np.abs(b), 1e-300)
    for lam in (0.5, 1.0, 2.5):
        expected = np.maximum(1 - lam / size, 0.0) * b
        result = si.solve(WRAP[kind](np.eye(5, dtype=complex)), b, si.L1(lam), solver=solver, tol=1e-14)
        np.testing.assert_allclose(result.x, expected, atol=1e-7)
        assert_solved(result, plain(np.eye(5), b, l1=lam), 1e-14)


@pytest.mark.parametrize("kind", WRAP)
@pytest.mark.parametrize("solver", [si.ISTA(), si.FISTA(), si.FISTA(monotone=True)], ids=str)
def test_23_a_norm_that_positive_vectors_do_not_see(solver, kind):
    """Power iterations of pylops and TIGRE start from positive vectors: the step was far too long."""
    rng = np.random.default_rng(23)
    alternating = np.resize([1.0, -1.0], 40) / np.sqrt(40)
    A = 0.3 * np.abs(rng.standard_normal((30, 40)))
    A -= np.outer(A @ alternating, alternating)
    A += 10.0 * np.outer(rng.standard_normal(30), alternating)  # the largest singular vector changes signs
    b = A @ np.eye(40)[3] + 0.1 * rng.standard_normal(30)
    lam = 0.1 * lam_max(A, b)
    assert np.linalg.norm(A @ np.ones(40)) < 0.5 * np.linalg.norm(A, 2) * np.sqrt(40)
    assert si.norm_bound(WRAP[kind](A))[0] >= 0.98 * np.linalg.norm(A, 2)
    result = si.solve(WRAP[kind](A), b, si.L1(lam), solver=solver, tol=1e-5, max_iter=30_000)
    assert_solved(result, plain(A, b, l1=lam), 1e-5)


@pytest.mark.parametrize("kind", WRAP)
@pytest.mark.parametrize("solver", CONVEX, ids=str)
def test_24_what_a_state_remembers_is_true(solver, kind):
    """pyproximal stored the two histories of its extrapolation in exchanged places."""
    from sparseinv.operators.adapt import as_operator
    from sparseinv.problem import Problem
    from sparseinv.solvers.auto import choose, complete
    from sparseinv.stopping import Budget

    A, b = correlated(30, 60)
    penalty = si.L1(0.05 * lam_max(A, b))
    problem = Problem(as_operator(WRAP[kind](A)), b, penalty)
    method = choose(problem)[0] if solver == "auto" else complete(solver, problem)
    try:
        method.check(problem)
    except ValueError:
        assert kind == "operator"
        return
    for x0 in (None, np.linspace(-1.0, 1.0, 60)):
        state = method.start(problem, x0)
        state.check(problem)
        for _ in range(10):
            method.step(problem, state, Budget(1e-9, 1000, np.inf))
            state.check(problem)
            if state.dual is not None:
                np.testing.assert_allclose(state.dual.Ahv, A.T @ state.dual.v, atol=1e-9)
        assert state.n_iter > 0


@pytest.mark.parametrize("solver", CONVEX, ids=str)
@pytest.mark.parametrize("ratio", [1e-1, 1e-3])
def test_25_nonnegative_means_nonnegative(ratio, solver):
    """scikit-learn's LARS gave negative coefficients with positive=True, imprecise ones at small levels."""
    A, b = correlated(40, 30)
    lam = ratio * float((A.T @ b).max())
    penalty = si.L1(lam, nonnegative=True)
    for x0 in (None, -np.ones(30)):
        result = si.solve(A, b, penalty, solver=solver, tol=1e-8, x0=x0, max_iter=50_000)
        assert (result.x >= 0).all()
        assert_solved(result, plain(A, b, l1=lam, nonnegative=True), 1e-8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("gram", [True, False])
def test_27_a_gram_matrix_with_negative_eigenvalues(gram, dtype):
    """glum and cuML returned NaN after many sweeps where rounding makes A^H A indefinite."""
    rng = np.random.default_rng(27)
    A = np.repeat(rng.standard_normal((60, 4)), 3, axis=1)
    A = (A + 1e-8 * rng.standard_normal((60, 12))).astype(dtype)
    assert np.linalg.eigvalsh(A.T @ A).min() < 1e-6
    b = (A @ np.linspace(-1, 1, 12) + rng.standard_normal(60)).astype(dtype)
    lam = 1e-6 * lam_max(A.astype(float), b.astype(float))
    solver = si.CoordinateDescent(gram=gram)
    result = si.solve(A, b, si.L1(lam), solver=solver, tol=0.0, max_iter=20_000)
    assert np.isfinite(result.x).all()
    assert (np.diff(result.history.objective) <= 1e-13 * result.history.objective[:-1]).all()
    problem = plain(A.astype(float), b.astype(float), l1=lam)
    assert judge_honestly(result, problem, 0.0) <= 1e-5


def test_28_nothing_is_set_up_twice():
    """A second initialisation made skglm six times slower; here set-up is counted."""
    A, b = correlated(30, 60)
    lam = 0.05 * lam_max(A, b)
    assert si.solve(A, b, si.L1(lam), solver=si.CoordinateDescent(gram=False)).products.setup <= 1
    assert si.solve(A, b, si.L1(lam), solver=si.CoordinateDescent(gram=True)).products.setup <= 61
    assert si.solve(A, b, si.L1(lam), solver=si.WorkingSet()).products.setup <= 2
    operator = MatrixFree(A)
    result = si.solve(operator, b, si.L1(lam), solver=si.FISTA())
    assert operator.calls == result.n_matvec + result.n_rmatvec
    norm = MatrixFree(A)
    si.norm_bound(norm)
    assert result.products.setup <= norm.calls + 6


def test_29_the_working_set_saves_work():
    """scikit-learn's screening was silently switched off for years: the counters must move."""
    A, b = correlated(60, 600, rho=0.5)
    lam = 0.1 * lam_max(A, b)
    settings = {"tol": 1e-9, "max_iter": 50_000}
    working = si.solve(A, b, si.L1(lam), solver=si.WorkingSet(), **settings)
    plainly = si.solve(A, b, si.L1(lam), solver=si.FISTA(), **settings)
    assert_solved(working, plain(A, b, l1=lam), 1e-9)
    assert plainly.success
    total = working.n_matvec + working.n_rmatvec
    assert total <= 0.2 * (plainly.n_matvec + plainly.n_rmatvec)
    assert total <= 40


@pytest.mark.parametrize("kind", WRAP)
def test_32_largest_level_with_an_intercept(kind):
    """skglm's largest level ignored the intercept, so whole paths were zero."""
    A, b = correlated(30, 50)
    A, b = np.hstack([A + 3.0, np.ones((30, 1))]), b + 100.0
    weights = np.append(np.ones(50), 0.0)
    expected = np.abs(A[:, :50].T @ (b - b.mean())).max()
    found = si.lam_max(WRAP[kind](A), b, si.L1(weights=weights))
    assert found == pytest.approx(expected, rel=1e-10)
    assert expected < 0.1 * lam_max(A, b)
    for factor, some in ((1.0 + 1e-9, False), (0.99, True)):
        # of 1/2 ||b||^2, nearly all of which is the mean
        result = si.solve(
            WRAP[kind](A), b, si.L1(factor * expected, weights=weights), tol=1e-9, max_iter=50_000
        )
        assert result.success
        assert proved_excess(plain(A, b, l1=factor * expected * weights), result.x) <= 1e-9 + ROUNDING
        if kind != "operator":  # gradients move many coefficients before they find the mean
            assert result.x[:50].any() == some


# --- the general list ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", WRAP)
def test_opposite_columns(kind):
    """a and -a: x is not unique, the objective is."""
    A, b = correlated(20, 15)
    twice = np.hstack([A, -A])
    lam = 0.1 * lam_max(A, b)
    result = si.solve(WRAP[kind](twice), b, si.L1(lam), tol=1e-10)
    assert_solved(result, plain(twice, b, l1=lam), 1e-10)
    assert proved_excess(plain(A, b, l1=lam), result.x[:15] - result.x[15:]) <= 1e-10 + ROUNDING


@pytest.mark.parametrize("kind", WRAP)
def test_data_outside_the_range(kind):
    """b in the null space of A^H: x = 0, however small lambda is."""
    A, b = correlated(30, 10)
    q, _ = np.linalg.qr(A)
    b = b - q @ (q.T @ b)
    b = b - q @ (q.T @ b)
    for lam in (1.0, 1e-6):
        result = si.solve(WRAP[kind](A), b, si.L1(lam), tol=1e-12)
        assert result.success
        assert np.linalg.norm(result.x) <= 1e-6
        assert result.objective == pytest.approx(0.5 * b @ b, rel=1e-12)


@pytest.mark.parametrize("solver", [si.CoordinateDescent(), si.WorkingSet(), "auto"], ids=str)
def test_columns_over_sixteen_decades(solver):
    """Norms from 1e-8 to 1e8, and levels that treat all columns alike."""
    A, b = correlated(30, 50, rho=0.5)
    spread = np.geomspace(1e-8, 1e8, 50)
    lam = 0.05 * lam_max(A, b)
    result = si.solve(A * spread, b, si.L1(lam, weights=spread), solver=solver, tol=1e-9, max_iter=20_000)
    assert result.success
    assert proved_excess(plain(A, b, l1=lam), result.x * spread) <= 1e-9 + ROUNDING


def test_no_drift_after_many_updates():
    """A residual that is only ever updated walks away from A x - b; here it is formed anew."""
    A, b = correlated(20, 40, rho=0.99)
    lam = 1e-4 * lam_max(A, b)
    x0 = 1e6 * np.random.default_rng(3).standard_normal(40)  # cancels to rounding of 1e6 in r
    solver = si.CoordinateDescent(gram=False)
    result = si.solve(A, b, si.L1(lam), solver=solver, tol=0.0, max_iter=5_000, x0=x0)
    problem = plain(A, b, l1=lam)
    assert result.objective == pytest.approx(float(problem.objective(result.x)), rel=1e-10)
    floor = si.solve(A, b, si.L1(lam), tol=1e-12)
    assert floor.success
    missing = float(problem.objective(result.x) - problem.objective(floor.x))
    assert missing <= result.certificate.value * (1 + 1e-9) + ROUNDING * problem.scale


@pytest.mark.parametrize("noise", [1e-3, 1e-9])
def test_an_operator_that_is_not_deterministic(noise):
    """Products with noise: no exception, no endless run, and nothing is claimed that is not so."""
    A, b = correlated(30, 60)
    lam = 0.1 * lam_max(A, b)
    rng = np.random.default_rng(24)

    class Shaky(MatrixFree):
        def matvec(self, x):
            y = super().matvec(x)
            return y + noise * np.linalg.norm(y) * rng.standard_normal(30) / np.sqrt(30)

    result = si.solve(Shaky(A), b, si.L1(lam), tol=1e-10, max_iter=2000, check_operator=False)
    assert np.isfinite(result.x).all()
    assert result.success == (result.certificate.relative <= 1e-10)
    assert proved_excess(plain(A, b, l1=lam), result.x) <= result.certificate.relative + 3 * noise


@pytest.mark.timeout(60)
@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="no fork on this system")
def test_fork_after_a_solve():
    """Parallel runtimes of compiled code abort in a forked child; none is started here."""
    program = """
import os, warnings, numpy as np, sparseinv as si
warnings.simplefilter("ignore")
A = np.random.default_rng(0).standard_normal((20, 40))
b = A[:, 3] - A[:, 7]
first = si.solve(A, b, si.L1(0.1))
child = os.fork()
if child == 0:
    again = si.solve(A, b, si.L1(0.1))
    os._exit(0 if again.success and np.array_equal(again.x, first.x) else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50)
    assert done.stdout.strip() == "0", done.stderr

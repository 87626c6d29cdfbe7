"""Hard thresholding, HTP, CoSaMP and subspace pursuit against the textbook and in the same answers."""

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.linalg import aslinearoperator

import sparseinv as si
from sparseinv.operators.adapt import system
from sparseinv.problem import Problem
from sparseinv.solvers.support_fit import fit_support

SOLVERS = [
    si.IterativeHardThresholding(), si.IterativeHardThresholding(conjugate=False), si.HTP(), si.CoSaMP(),
    si.SubspacePursuit(),
]  # fmt: skip


def data(seed, m=80, n=200, k=8, noise=0.02, is_complex=False):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((m, n)) + (1j * rng.standard_normal((m, n)) if is_complex else 0.0)
    support = np.sort(rng.choice(n, k, replace=False))
    x = np.zeros(n, A.dtype)
    x[support] = rng.choice([-1.0, 1.0], k) * rng.uniform(0.5, 2.0, k)
    b = A @ x
    return A, b + noise * np.linalg.norm(b) / np.sqrt(m) * rng.standard_normal(m), support


def fit(A, b, S):
    x = np.zeros(A.shape[1], np.result_type(A, b))
    x[S] = np.linalg.lstsq(A[:, S], b, rcond=None)[0]
    return x


def largest(v, k):
    return np.sort(np.argsort(-abs(v), kind="stable")[:k])


def textbook_subspace_pursuit(A, b, k):
    S = largest(A.conj().T @ b, k)
    x = fit(A, b, S)
    while True:
        T = np.union1d(S, largest(A.conj().T @ (b - A @ x), k))
        following = largest(fit(A, b, T), k)
        new = fit(A, b, following)
        if np.linalg.norm(A @ new - b) >= np.linalg.norm(A @ x - b) * (1 - 1e-12):
            return x
        S, x = following, new


def textbook_cosamp(A, b, k):
    """The variant that fits the k coefficients kept anew, until a support repeats; the best of all."""
    x, seen, best = np.zeros(A.shape[1], np.result_type(A, b)), set(), None
    while True:
        g = A.conj().T @ (b - A @ x)
        g[np.flatnonzero(x)] = 0.0
        T = np.union1d(np.flatnonzero(x), largest(g, 2 * k))
        S = largest(fit(A, b, T), k)
        if tuple(S) in seen:
            return best
        seen.add(tuple(S))
        x = fit(A, b, S)
        if best is None or np.linalg.norm(A @ x - b) < np.linalg.norm(A @ best - b):
            best = x


@pytest.mark.parametrize("is_complex", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_pursuits_are_the_textbook_methods_at_equal_norms(seed, is_complex):
    A, b, _ = data(seed, m=30, n=60, k=6, noise=0.5, is_complex=is_complex)  # too hard to agree by luck
    norms = np.linalg.norm(A, axis=0)
    for solver, textbook in (
        (si.SubspacePursuit(), textbook_subspace_pursuit),
        (si.CoSaMP(), textbook_cosamp),
    ):
        x = textbook(A / norms, b, 6) / norms
        result = si.solve(A, b, si.L0Ball(6), solver=solver)
        np.testing.assert_array_equal(result.support, np.flatnonzero(x))
        np.testing.assert_allclose(result.x, x, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("is_complex", [False, True])
@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_easy_supports_are_found_and_fitted_exactly(solver, is_complex):
    for seed in range(8):
        A, b, support = data(seed, is_complex=is_complex)
        scale = 10.0 ** np.random.default_rng(seed).uniform(-4, 4, 200)
        result = si.solve(A * scale, b, si.L0Ball(8), solver=solver)
        np.testing.assert_array_equal(result.support, support)
        np.testing.assert_allclose(result.x * scale, fit(A, b, support), rtol=1e-9, atol=1e-12)
        assert result.success
        exact = si.solve(A, A @ fit(A, b, support), si.L0Ball(8), solver=solver)
        assert exact.objective <= 1e-24 * exact.certificate.scale


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_the_answer_is_always_a_fit_and_the_status_honest(solver):
    """Problems beyond what these methods solve: they end, and say what an exchange would gain."""
    ends = set()
    for seed in range(10):
        A, b, _ = data(seed, m=20, n=60, k=8, noise=0.5)
        result = si.solve(A, b, si.L0Ball(8), solver=solver)
        assert result.support.size <= 8
        np.testing.assert_allclose(result.x, fit(A, b, result.support), rtol=1e-6, atol=1e-9)
        before = 0.5 * np.linalg.norm(A @ result.x - b) ** 2
        S = list(result.support)
        others = np.setdiff1d(np.arange(60), S)
        swaps = [fit(A, b, [*(i for i in S if i != out), j]) for out in S for j in others]
        gain = max(before - min(0.5 * np.linalg.norm(A @ x - b) ** 2 for x in swaps), 0.0)
        assert result.certificate.value == pytest.approx(gain, abs=1e-9 * (b @ b))
        assert result.status is (
            si.Status.CONVERGED if result.certificate.relative <= 1e-6 else si.Status.EXHAUSTED
        )
        ends.add(result.status)
    assert si.Status.EXHAUSTED in ends


def test_normalised_steps_never_raise_the_misfit():
    for seed in range(5):
        A, b, _ = data(seed, m=30, n=60, k=6, noise=0.5)
        result = si.solve(A, b, si.L0Ball(6), solver=si.IterativeHardThresholding(conjugate=False))
        assert (np.diff(result.history.objective) <= 1e-12 * (b @ b)).all()


def test_conjugate_steps_need_fewer_iterations():
    plain = conjugate = 0
    for seed in range(10):
        A, b, _ = data(seed, m=100, n=300, k=25, noise=0.0)
        one = si.solve(A, b, si.L0Ball(25), solver=si.IterativeHardThresholding(conjugate=False))
        other = si.solve(A, b, si.L0Ball(25), solver=si.IterativeHardThresholding())
        plain, conjugate = plain + one.n_iter, conjugate + other.n_iter
    assert conjugate <= plain


@pytest.mark.parametrize("kind", ["csc", "operator", "float32"])
@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_what_A_is_makes_no_difference(kind, solver):
    A, b, support = data(3)
    if kind == "csc":
        given = sparse.csc_array(A)
    elif kind == "operator":
        given = aslinearoperator(A)
    else:
        given, b = A.astype(np.float32), b.astype(np.float32)
    result = si.solve(given, b, si.L0Ball(8), solver=solver)
    np.testing.assert_array_equal(result.support, support)
    np.testing.assert_allclose(result.x, fit(A, b, support), rtol=1e-4)
    assert result.success
    if kind == "operator":
        assert result.certificate.kind is si.Kind.PROX_STATIONARITY  # columns would cost products
        assert result.products.total < 400


@pytest.mark.parametrize("factor", [1e-9, 1e-3, 1e3, 1e9, 1e150])
@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_scale_of_the_data_does_not_change_the_support(solver, factor):
    A, b, _ = data(5, m=40, n=100, k=8, noise=0.3)
    plain = si.solve(A, b, si.L0Ball(8), solver=solver)
    scaled = si.solve(A, factor * b, si.L0Ball(8), solver=solver)
    np.testing.assert_array_equal(scaled.support, plain.support)
    np.testing.assert_allclose(scaled.x / factor, plain.x, rtol=1e-8)
    assert scaled.status is plain.status


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_dependent_and_empty_columns_and_large_k_are_no_trouble(solver):
    rng = np.random.default_rng(7)
    A = rng.standard_normal((20, 6)) @ rng.standard_normal((6, 40))
    A[:, 3], A[:, 7], A[:, 9] = A[:, 2], -2 * A[:, 2], 0.0
    b = rng.standard_normal(20)
    for k in (0, 1, 10, 40, 60):
        result = si.solve(A, b, si.L0Ball(k), solver=solver)
        assert result.support.size <= k
        assert result.x[9] == 0
        assert result.objective <= 0.5 * b @ b
        assert abs(result.x).max() < 1e6
    assert not si.solve(A, 0 * b, si.L0Ball(3), solver=solver, x0=np.ones(40)).x.any()


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_starts_and_limits(solver):
    A, b, support = data(9)
    x0 = fit(A, b, support)
    result = si.solve(A, b, si.L0Ball(8), solver=solver, x0=x0)
    np.testing.assert_array_equal(result.support, support)
    assert result.n_iter <= 10
    cut = si.solve(A, b, si.L0Ball(8), solver=solver, max_iter=1)
    assert cut.n_iter == 1
    assert cut.objective < 0.5 * b @ b
    assert si.solve(A, b, si.L0Ball(8), solver=solver, max_time=0.0).status is si.Status.MAX_TIME


@pytest.mark.parametrize("is_complex", [False, True])
def test_fits_by_products_and_by_columns_agree(is_complex):
    A, b, support = data(11, is_complex=is_complex)
    direct = fit_support(Problem(*system(A, b), si.L0Ball(8)), support)
    problem = Problem(*system(aslinearoperator(A), b), si.L0Ball(8))
    before = problem.operator.products.total
    np.testing.assert_allclose(fit_support(problem, support), direct, rtol=1e-10)
    assert problem.operator.products.total - before <= 2 * 8 + 10


def test_thresholding_refuses_what_it_cannot_treat():
    A, b, _ = data(0, 10, 12, 2)
    for solver in SOLVERS:
        for penalty in (si.L0(0.1), si.L1(0.1)):
            with pytest.raises(ValueError, match=r"needs L0Ball\(k\)"):
                si.solve(A, b, penalty, solver=solver)
    with pytest.raises(TypeError, match="conjugate is 1"):
        si.IterativeHardThresholding(conjugate=1)


def test_cosamp_ends_far_from_recovery():
    """With 3k near m it would walk over new supports for ever."""
    A, b, _ = data(0, m=60, n=200, k=30)
    result = si.solve(A, b, si.L0Ball(20), solver=si.CoSaMP())
    assert result.status is si.Status.EXHAUSTED
    assert result.n_iter < 1000  # 6963 until a support repeats
    assert result.objective < 0.5 * np.linalg.norm(b) ** 2


def test_an_intercept_is_refused_in_plain_words():
    A = np.random.default_rng(0).standard_normal((20, 30))
    with pytest.raises(ValueError, match="intercept=True"):
        si.solve(A, A[:, 0] + 1.0, si.L0Ball(2), solver=si.HTP(), intercept=True)

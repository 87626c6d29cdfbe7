"""Working sets on columns: what one pass over A tells, factors that grow, columns of any length."""

import numpy as np
import pytest
from scipy import sparse

import sparseinv as si
from sparseinv.operators.adapt import system
from sparseinv.solvers.support_factor import SupportFactor


def correlated(seed, m=60, n=240):
    rng = np.random.default_rng(seed)
    A = np.cumsum(rng.standard_normal((m, n)), axis=1) / 3
    return A, A[:, :10] @ rng.standard_normal(10) + 0.3 * rng.standard_normal(m)


def large(kind, seed=0, m=150, n=400):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((m, n))
    if kind == "csc":
        A[rng.random((m, n)) > 0.7] = 0.0
        return sparse.csc_array(A), rng.standard_normal(m)
    return np.asfortranarray(A), rng.standard_normal(m)


@pytest.mark.parametrize("orders", [2, 4, 6])
def test_rounds_do_not_depend_on_the_lengths_of_columns(orders):
    for seed in range(3):
        A, b = correlated(seed)
        lam = 1e-3 * si.lam_max(A, b, si.L1())
        plain = si.solve(A, b, si.L1(lam), solver=si.WorkingSet(), tol=1e-8)
        d = 10.0 ** np.random.default_rng(seed).uniform(-orders, orders, A.shape[1])
        scaled = si.solve(A * d, b, si.L1(lam, weights=d), solver=si.WorkingSet(), tol=1e-8)
        assert scaled.success
        assert scaled.n_iter <= 3 * plain.n_iter
        assert scaled.objective == pytest.approx(plain.objective, rel=1e-7)


def test_a_column_whose_square_underflows_is_judged_without_warnings():
    rng = np.random.default_rng(1)
    A, b, w = rng.standard_normal((20, 10)), rng.standard_normal(20), np.ones(10)
    A[:, 9] *= 2.0**-520
    w[9] *= 0.2 * 2.0**-520
    result = si.solve(A, b, si.L1(0.5, weights=w))
    assert result.certificate.relative == pytest.approx(
        si.certify(A, b, si.L1(0.5, weights=w), result.x).relative, abs=1e-6
    )


def test_the_bound_of_a_column_without_a_norm_is_not_believed():
    rng = np.random.default_rng(1)
    m, n = 512, 2304
    A = rng.standard_normal((m, n))
    x = np.zeros(n)
    x[:20] = 3 * rng.standard_normal(20)
    b = A @ x + 0.5 * rng.standard_normal(m)
    A[:, -1] = 0
    lams = si.lam_max(A, b, si.L1()) * np.geomspace(1, 0.3, 12)
    before = si.solve_path(A, b, si.L1(), lams=lams)
    R = np.array([A @ result.x - b for result in before.results])
    q = np.linalg.qr(R[:8].T)[0]
    away = R[8] - q @ (q.T @ R[8])
    away /= np.linalg.norm(away)
    w = np.ones(n)
    w[-1] = 0.02 * abs(away @ R[8]) / lams[8] * 2.0**-600
    A[:, -1] = away * 2.0**-600  # its squared norm is zero in this arithmetic
    for result, lam in zip(si.solve_path(A, b, si.L1(weights=w), lams=lams).results, lams, strict=True):
        r = A @ result.x - b
        with np.errstate(divide="ignore"):
            s = min(1.0, float((w * lam / np.abs(A.T @ r)).min()))
        gap = 0.5 * r @ r + lam * (w * np.abs(result.x)).sum() + s * (r @ b) + 0.5 * s * s * (r @ r)
        assert result.certificate.relative >= 0.99 * gap / (0.5 * b @ b) - 1e-12


@pytest.mark.parametrize("kind", ["dense", "csc"])
def test_one_pass_finds_the_product_and_the_scale(kind):
    A, b = large(kind)
    operator, vector = system(A, b)
    np.testing.assert_array_equal(vector, b)
    np.testing.assert_allclose(operator.known[1], A.T @ b, rtol=0, atol=1e-12)
    assert operator.max_abs() == np.abs(A if kind == "dense" else A.data).max()


@pytest.mark.parametrize("kind", ["dense", "csc"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_pass_finds_what_is_not_finite(kind, value):
    A, b = large(kind)
    (A.data if kind == "csc" else A.reshape(-1, order="F"))[777] = value
    with pytest.raises(ValueError, match=r"A contains -?(nan|inf) at A\["):
        si.solve(A, b, si.L1(1.0))


@pytest.mark.parametrize("trouble", ["unsorted", "duplicates"])
def test_one_pass_notices_columns_out_of_order(trouble):
    A, b = large("csc")
    expected = si.solve(A.toarray(), b, si.L1(5.0), tol=1e-12).x
    data, indices, indptr = A.data.copy(), A.indices.copy(), A.indptr.copy()
    if trouble == "unsorted":
        data[:2], indices[:2] = data[1::-1].copy(), indices[1::-1].copy()
    else:
        data[0] *= 0.5
        data, indices = np.insert(data, 0, data[0]), np.insert(indices, 0, indices[0])
        indptr[1:] += 1
    messy = sparse.csc_array((data, indices, indptr), shape=A.shape)
    np.testing.assert_allclose(si.solve(messy, b, si.L1(5.0), tol=1e-12).x, expected, atol=1e-10)


@pytest.mark.parametrize("kind", ["dense", "csc"])
@pytest.mark.parametrize("exponents", [(0, 300), (0, -700), (200, 0), (300, -500)])
def test_one_pass_gives_the_same_bits_in_all_units(kind, exponents):
    A, b = large(kind)
    of_a, of_b = exponents
    plain = si.solve(A, b, si.L1(5.0))
    scaled = si.solve(A * 2.0**of_a, np.ldexp(b, of_b), si.L1(np.ldexp(5.0, of_a + of_b)))
    np.testing.assert_array_equal(scaled.x, np.ldexp(plain.x, of_b - of_a))


@pytest.mark.parametrize("seed", range(5))
def test_a_factor_that_grows_and_shrinks_solves_the_system(seed):
    rng = np.random.default_rng(seed)
    k = 400
    B = rng.standard_normal((600, k))
    gram, ridge = np.asfortranarray(B.T @ B), rng.random(k)
    factor = SupportFactor()
    inside = rng.random(k) < 0.4
    for step in range(12):
        came, went = rng.random(k) < 0.06, rng.random(k) < 0.04 * (step % 3)
        inside = (inside | came) & ~went
        live, c = np.flatnonzero(inside), rng.standard_normal(int(inside.sum()))
        y = factor.solve(gram, ridge, live, c)
        H = gram[np.ix_(live, live)] + np.diag(ridge[live])
        np.testing.assert_allclose(H @ y, c, atol=1e-9)


@pytest.mark.parametrize("kind", ["csc", "dense"])
@pytest.mark.parametrize("extra", ["L1", "weights", "elastic net", "nonnegative"])
def test_supports_too_large_for_a_gram_matrix_end_by_newton_steps(kind, extra, monkeypatch):
    from sparseinv.solvers import column_sweeps

    monkeypatch.setattr(column_sweeps, "_LARGEST", 20)
    monkeypatch.setattr(column_sweeps, "_LARGEST_SPARSE", 20)
    A, b = large(kind, m=300, n=500)
    lam = 0.1 * si.lam_max(A, b, si.L1())
    w = np.ones(500)
    w[:3], w[3:6] = 0.0, np.inf
    penalty = {
        "L1": si.L1(lam), "weights": si.L1(lam, weights=w), "elastic net": si.ElasticNet(lam, l1_ratio=0.7),
        "nonnegative": si.L1(lam, nonnegative=True),
    }[extra]  # fmt: skip
    result = si.solve(A, b, penalty, solver=si.WorkingSet(), tol=1e-12)
    reference = si.solve(A, b, penalty, solver=si.CoordinateDescent(), tol=1e-10)
    assert result.success
    assert result.support.size > 20
    assert result.n_iter < 40
    assert si.certify(A, b, penalty, result.x).relative <= 1e-11
    assert result.objective <= reference.objective * (1 + 1e-10)


def test_large_supports_do_without_newton_steps_where_those_would_take_long(monkeypatch):
    from sparseinv.solvers import column_sweeps

    monkeypatch.setattr(column_sweeps, "_LARGEST", 20)
    A, b = large("dense", m=300, n=500)
    penalty = si.L1(0.2 * si.lam_max(A, b, si.L1()))
    expected = si.solve(A, b, penalty, tol=1e-10)
    monkeypatch.setattr(column_sweeps, "_CG_WORK", 0.0)
    result = si.solve(A, b, penalty, tol=1e-10)
    assert result.success
    assert result.objective == pytest.approx(expected.objective, rel=1e-9)

"""What a path and its folds save (Gram matrices for rows, bounds for products), and that nothing is lost."""

import numpy as np
import pytest

import sparseinv as si
from sparseinv import problem as problem_module
from sparseinv import product_span
from sparseinv.operators.matrix import DenseMatrix
from sparseinv.problem import Problem
from sparseinv.product_span import ProductSpan
from sparseinv.selection import cross_validation, fold_gram
from sparseinv.selection.fold_gram import FoldGrams


def wide(seed, m=64, n=600, rho=0.6):
    rng = np.random.default_rng(seed)
    A = np.asfortranarray(rng.standard_normal((m, n)))
    for j in range(1, n):
        A[:, j] = rho * A[:, j - 1] + np.sqrt(1 - rho**2) * A[:, j]
    return A, A[:, ::100].sum(axis=1) + 0.5 * rng.standard_normal(m)


def tall(seed, m=300, n=12):
    rng = np.random.default_rng(seed)
    A = np.asfortranarray(rng.standard_normal((m, n)))
    return A, A[:, :3] @ np.array([2.0, -1.0, 0.5]) + rng.standard_normal(m)


def exact_gap(A, b, x, lam, nonnegative=False):
    r = b - A @ x
    c = A.T @ r
    size = float(np.max(c if nonnegative else np.abs(c)))
    s = min(lam / size if size > 0 else np.inf, float(b @ r) / float(r @ r))
    gap = 0.5 * r @ r + lam * np.abs(x).sum() - (0.5 * b @ b - 0.5 * (b - s * r) @ (b - s * r))
    return gap / (0.5 * b @ b)


@pytest.fixture
def bounds_for_small_problems(monkeypatch):
    monkeypatch.setattr(product_span, "_SMALLEST", 1)


@pytest.mark.parametrize("seed", range(3))
def test_bounds_hold_for_every_column(seed):
    rng = np.random.default_rng(seed)
    A, b = wide(seed)
    norms = np.linalg.norm(A, axis=0)
    span = ProductSpan(norms, A.shape[0])
    step, r = rng.standard_normal(b.size), b.copy()
    for k in range(20):
        estimate, off = span.estimate(r)
        assert np.all(np.abs(estimate - A.T @ r) <= off)
        for nonnegative in (False, True):
            none, level = np.zeros(norms.size, dtype=bool), np.full(norms.size, 5.0)
            g, _, read = span.bound(r, none, level, nonnegative)
            true = -A.T @ r if nonnegative else np.abs(A.T @ r)
            assert np.all(true <= (-g if nonnegative else np.abs(g)))
            assert read[true >= 5.0].all()
        if k % 3 == 0:
            span.add(r, A.T @ r)
            estimate, off = span.estimate(2.0 * r)
            np.testing.assert_allclose(estimate, 2.0 * (A.T @ r), atol=1e-9 * np.abs(A.T @ r).max())
            assert off.max() <= 1e-8 * np.linalg.norm(r) * norms.max()
        r = r + 0.02 * step + 1e-3 * rng.standard_normal(b.size)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("nonnegative", [False, True])
def test_a_path_with_bounds_is_the_path_without(seed, nonnegative, bounds_for_small_problems, monkeypatch):
    A, b = wide(seed)
    lams = np.abs(A.T @ b).max() * np.geomspace(1, 1e-2, 40)
    penalty = si.L1(nonnegative=nonnegative)
    skipping = si.solve_path(A, b, penalty, lams=lams, tol=1e-9)
    monkeypatch.setattr(problem_module, "_READ", -1.0)
    reading = si.solve_path(A, b, penalty, lams=lams, tol=1e-9)
    assert skipping.success
    assert reading.success
    assert skipping.n_rmatvec < 0.8 * reading.n_rmatvec
    for with_bounds, without, lam in zip(skipping, reading, lams, strict=True):
        assert with_bounds.objective == pytest.approx(without.objective, rel=1e-8)
        true = exact_gap(A, b, with_bounds.x, lam, nonnegative)
        assert true <= with_bounds.certificate.relative + 1e-12
        assert true <= 1e-9 + 1e-12


def test_bounds_serve_elastic_nets(bounds_for_small_problems):
    A, b = wide(5)
    top = np.abs(A.T @ b).max()
    path = si.solve_path(A, b, si.ElasticNet(l1_ratio=0.9), lams=top * np.geomspace(1, 0.02, 25), tol=1e-8)
    assert path.success
    for result in path:
        again = si.certify(A, b, si.ElasticNet(result.lam, l1_ratio=0.9), result.x)
        assert again.relative <= 1.0001e-8


def test_a_claim_about_a_product_that_was_not_made_is_not_vouched_for():
    A, b = wide(0)
    problem = Problem(DenseMatrix(A), b, si.L1(1.0))
    x = np.zeros(problem.n)
    x[3] = 0.1
    r = problem.residual(x)
    g = problem.gradient(r)
    assert problem.vouches(x, r, r, g)
    wrong = g.copy()
    wrong[0] *= 0.5
    other = x.copy()
    other[3] = 0.2
    assert not problem.vouches(x, r, r, wrong)
    assert not problem.vouches(other, r, r, g)
    assert not problem.vouches(x, 0.5 * r, r, g)


def test_a_repeated_residual_costs_nothing_and_cannot_be_spoilt():
    A, b = wide(1)
    problem = Problem(DenseMatrix(A), b, si.L1(1.0))
    x = np.zeros(problem.n)
    x[:2] = 1.0
    first = problem.residual(x)
    first[:] = 0.0
    before = problem.operator.products.forward
    np.testing.assert_allclose(problem.residual(x), A @ x - problem.b, atol=1e-12)
    assert problem.operator.products.forward == before
    x[0] = 2.0  # in place, as solvers do
    np.testing.assert_allclose(problem.residual(x), A @ x - problem.b, atol=1e-12)


@pytest.mark.parametrize("exponent", [0, 40])
def test_gram_matrices_of_folds_are_those_of_their_rows(exponent):
    A, b = tall(0)
    b = np.ldexp(b, exponent)
    problem = Problem(DenseMatrix(A), b, si.L1(1.0))
    rows = si.CrossValidation(4).split(b.size)
    assert fold_gram.pays(problem, rows)
    grams = FoldGrams(problem, rows)
    rng = np.random.default_rng(1)
    for k, out in enumerate(rows):
        kept = np.setdiff1d(np.arange(b.size), out)
        gram, q, square = grams.kept(k)
        np.testing.assert_allclose(gram, A[kept].T @ A[kept], rtol=1e-12, atol=1e-11)
        np.testing.assert_allclose(q, A[kept].T @ problem.b[kept], rtol=1e-12, atol=1e-11)
        assert square == pytest.approx(problem.b[kept] @ problem.b[kept])
        operator, c = grams.reduced(k)
        x = rng.standard_normal(A.shape[1])
        expected = np.linalg.norm(A[kept] @ x - problem.b[kept])
        assert np.linalg.norm(operator.matvec(x) - c) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("penalty", [si.L1(), si.L1(nonnegative=True), si.ElasticNet(l1_ratio=0.5)])
def test_folds_through_gram_matrices_choose_as_folds_of_rows(penalty, monkeypatch):
    A, b = tall(2)
    A[:, 5] = 0.0
    selector = si.CrossValidation(5, tol=1e-9)
    short = si.select_lam(A, b, penalty, selector, n_lams=12, n_threads=1)
    monkeypatch.setattr(cross_validation, "pays", lambda problem, rows: False)
    rows = si.select_lam(A, b, penalty, selector, n_lams=12, n_threads=1)
    assert short.lam == rows.lam
    np.testing.assert_allclose(short.criterion, rows.criterion, rtol=1e-6)
    np.testing.assert_allclose(short.standard_error, rows.standard_error, rtol=1e-4)


def test_columns_that_a_fold_cannot_tell_apart_are_left_to_its_rows():
    A, b = tall(3)
    A[:, 1] = A[:, 0] * (1 + 1e-9)
    problem = Problem(DenseMatrix(A), b, si.L1(1.0))
    grams = FoldGrams(problem, si.CrossValidation(5).split(b.size))
    assert all(grams.reduced(k) is None for k in range(5))
    chosen = si.select_lam(A, b, si.L1(), si.CrossValidation(5), n_lams=10)
    assert chosen.result.success


def test_a_column_that_lives_in_one_fold_is_empty_in_the_others():
    A, b = tall(4)
    selector = si.CrossValidation(5)
    rows = selector.split(b.size)
    A[:, 7] = 0.0
    A[rows[2], 7] = 1e6
    problem = Problem(DenseMatrix(A), b, si.L1(1.0))
    operator, _ = FoldGrams(problem, rows).reduced(2)
    assert not operator.array[:, 7].any()


def many(seed, m=400, n=20):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((m, n)) * 10.0 ** rng.uniform(-2, 2, n)
    return A, A[:, 0] / np.linalg.norm(A[:, 0]) * 9 + 0.5 * rng.standard_normal(m)


@pytest.mark.parametrize("scale", [1.0, 2.0**-300])
@pytest.mark.parametrize("penalty", [si.L1(), si.L1(nonnegative=True), si.ElasticNet(l1_ratio=0.5)])
def test_a_tall_path_goes_through_the_gram_matrix_and_is_judged_without(penalty, scale):
    A, b = many(1)
    b = b * scale
    path = si.solve_path(A, b, penalty, n_lams=12, tol=1e-9)
    assert path.success
    assert len(path) == 12
    for result in path:
        assert "Gram matrix of a tall A" in result.reason
        level = penalty.replace(lam=result.lam)
        alone = si.solve(A, b, level, tol=1e-11)
        assert result.certificate.relative <= 1e-9
        assert si.certify(A, b, level, result.x).relative <= 1e-9
        assert result.objective == pytest.approx(alone.objective, rel=1e-8)
        assert result.n_matvec == 1
    assert path[0].n_rmatvec == 1 + A.shape[1]


def test_a_tall_path_that_the_gram_matrix_blurs_is_finished_on_the_rows():
    rng = np.random.default_rng(2)
    A = rng.standard_normal((300, 12))
    A[:, 6:] = A[:, :6] + 3e-4 * rng.standard_normal((300, 6))  # squares keep half of the digits
    b = A @ rng.standard_normal(12) + 0.1 * rng.standard_normal(300)
    path = si.solve_path(A, b, si.L1(), n_lams=12, ratio=1e-6, tol=1e-13)
    for result in path:
        judged = si.certify(A, b, si.L1(result.lam), result.x).relative
        assert judged <= max(2.0 * result.certificate.relative, 1e-13)
    assert path.success


def test_a_tall_path_keeps_its_promises_when_it_is_cut_short():
    A, b = many(3)
    path = si.solve_path(A, b, si.L1(), n_lams=10, max_time=0.0)
    assert len(path) == 10
    assert all(r.status is si.Status.MAX_TIME or r.success for r in path)
    seen = []
    si.solve_path(A, b, si.L1(), n_lams=10, callback=lambda progress: seen.append(progress.number))
    assert seen == list(range(1, 11))

"""Closed-form entries of A^H A, and the working set that lives on them alone."""

import numpy as np
import pytest

import sparseinv as si
from sparseinv.operators import FFT, NUFFT, DenseMatrix, Diagonal, Restriction


def waves(seed=0, dims=(12, 10), sizes=(16, 20), kept=7):
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(dims[0], kept, replace=False))
    return Restriction(dims, rows, axis=0) @ FFT(dims, sizes=sizes).H


def dense(A):
    return np.asarray(A.matmat(np.eye(A.shape[1], dtype=complex)))


def operators():
    rng = np.random.default_rng(1)
    places = rng.random((11, 2))
    yield FFT((5, 6)).H
    yield FFT((5, 6), sizes=(8, 11)).H
    yield FFT((5, 6), axes=1, sizes=9).H
    yield FFT((3, 5, 6), axes=(0, 2), sizes=(4, 9)).H
    yield waves()
    yield Restriction((5, 6), [0, 2, 3], axis=0) @ FFT((5, 6), axes=0, sizes=9).H
    yield 2j * (Restriction(30, [3, 4, 17], axis=None) @ FFT((5, 6)).H)
    yield Diagonal(rng.standard_normal(30) + 1j * rng.standard_normal(30)) @ FFT((5, 6)).H
    yield NUFFT(places[:, 0], 8)
    yield NUFFT(places, (5, 4))
    yield NUFFT(places, (5, 4), leading=3)


@pytest.mark.parametrize("A", list(operators()), ids=repr)
def test_entries_are_those_of_the_gram_matrix(A):
    rng = np.random.default_rng(2)
    i, j = rng.permutation(A.shape[1])[:13], rng.permutation(A.shape[1])[:17]
    D = dense(A)
    for weights in (None, rng.random(A.shape[0])):
        w = np.ones(A.shape[0]) if weights is None else weights
        gram = D.conj().T @ (w[:, None] * D)
        np.testing.assert_allclose(
            A.gram_entries(weights)(i, j), gram[np.ix_(i, j)], atol=1e-13 * abs(gram).max()
        )


def test_there_are_none_where_no_closed_form_is_known():
    assert DenseMatrix(np.eye(3)).gram_entries() is None
    assert (FFT(4) @ FFT(4).H).gram_entries() is None
    assert FFT(4).gram_entries() is None


def data(A, seed, k=6, noise=0.05):
    rng = np.random.default_rng(seed)
    x = np.zeros(A.shape[1], dtype=complex)
    x[rng.choice(x.size, k, replace=False)] = rng.standard_normal(k) + 1j * rng.standard_normal(k)
    b = A @ x
    return b + noise * (rng.standard_normal(b.size) + 1j * rng.standard_normal(b.size)) * np.abs(b).mean()


def penalties(n, top):
    rng = np.random.default_rng(3)
    weights = rng.uniform(0.5, 2.0, n)
    weights[5], weights[9] = 0.0, np.inf
    return {
        "one level": si.L1(0.1 * top),
        "low": si.L1(0.003 * top),
        "weights": si.L1(0.1 * top, weights=weights),
        "elastic net": si.ElasticNet(0.1 * top, 0.02),
    }


@pytest.mark.parametrize("which", ["one level", "low", "weights", "elastic net"])
@pytest.mark.parametrize("A", [waves(), NUFFT(np.random.default_rng(5).random((40, 2)), (8, 8))], ids=repr)
def test_minimisers_are_those_of_the_matrix_written_down(A, which):
    b = data(A, 0)
    penalty = penalties(A.shape[1], si.lam_max(A, b, si.L1(1.0)))[which]
    lean = si.solve(A, b, penalty, tol=1e-11, solver=si.WorkingSet(first_order_leads=False))
    full = si.solve(dense(A), b, penalty, tol=1e-11)
    assert lean.success
    assert lean.objective == pytest.approx(full.objective, rel=1e-9)
    assert lean.products.columns <= 1  # the unpenalised one, which the certificate asks for
    first_order = si.solve(A, b, penalty, tol=1e-11, solver=si.BarzilaiBorwein(), max_iter=100_000)
    assert lean.products.total < 0.5 * first_order.products.total


def test_a_warm_start_a_path_and_real_data():
    A = waves()
    b = data(A, 1)
    top = si.lam_max(A, b, si.L1(1.0))
    solver = si.WorkingSet(first_order_leads=False)
    cold = si.solve(A, b, si.L1(0.1 * top), tol=1e-10, solver=solver)
    warm = si.solve(A, b, si.L1(0.1 * top), tol=1e-10, solver=solver, x0=cold.x)
    assert warm.success
    assert warm.products.total < cold.products.total
    np.testing.assert_allclose(A @ warm.x, A @ cold.x, atol=1e-6)
    path = si.solve_path(A, b, si.L1(), n_lams=12, tol=1e-8, solver=solver)
    for result in path.results:
        assert result.success
    real = si.solve(A, b.real.copy(), si.L1(0.1 * top), tol=1e-10, solver=solver)
    other = si.solve(dense(A), b.real.copy(), si.L1(0.1 * top), tol=1e-10)
    assert real.objective == pytest.approx(other.objective, rel=1e-8)


@pytest.mark.parametrize("scale", [1e-150, 1e120])
def test_extreme_scales_change_nothing(scale):
    A = waves()
    b = data(A, 2)
    top = si.lam_max(A, b, si.L1(1.0))
    solver = si.WorkingSet(first_order_leads=False)
    plain = si.solve(A, b, si.L1(0.1 * top), tol=1e-9, solver=solver)
    scaled = si.solve(scale * A, b, si.L1(0.1 * top * scale), tol=1e-9, solver=solver)
    assert scaled.success
    np.testing.assert_allclose(scaled.x * scale, plain.x, atol=1e-7 * np.abs(plain.x).max())


def test_the_first_order_method_leads_and_hands_over_where_it_stalls():
    A = waves(dims=(30, 24), sizes=(64, 64), kept=12)
    b = data(A, 3, k=40, noise=0.1)
    penalty = si.L1(0.02 * si.lam_max(A, b, si.L1(1.0)))
    both = si.solve(A, b, penalty, tol=1e-11)
    assert "entries of A^H A" in both.reason
    alone = si.solve(A, b, penalty, tol=1e-11, solver=si.BarzilaiBorwein(), max_iter=100_000)
    assert both.success
    assert both.products.total < 0.7 * alone.products.total
    assert both.objective == pytest.approx(alone.objective, rel=1e-9)


def test_what_has_no_entries_is_refused():
    class Bare(si.Operator):
        def _matvec(self, x):
            return 1j * x

        def _rmatvec(self, y):
            return -1j * y

    with pytest.raises(ValueError, match="known entries"):
        si.solve(Bare((4, 4), complex), np.ones(4, dtype=complex), si.L1(0.1), solver=si.WorkingSet())
    with pytest.raises(TypeError, match="first_order_leads"):
        si.WorkingSet(first_order_leads=2)


@pytest.mark.parametrize("scale", [1e-200, 1e-165, 1e170])
def test_scales_whose_squares_are_no_numbers_go_without_entries(scale):
    A = waves()
    b = data(A, 2)
    level = 0.1 * si.lam_max(A, b, si.L1(1.0))
    plain = si.solve(A, b, si.L1(level), tol=1e-9)
    scaled = si.solve(scale * A, b, si.L1(level * scale), tol=1e-9)
    assert (scale * A).gram_entries() is None
    assert scaled.success
    assert scaled.objective == pytest.approx(plain.objective, rel=1e-8)
    mixed = scale * (Diagonal(np.full(A.shape[0], 1.0 / scale)) @ A)
    assert si.solve(mixed, b, si.L1(level), tol=1e-9).objective == pytest.approx(plain.objective, rel=1e-8)


def test_no_more_coefficients_join_than_the_gram_matrix_may_have(monkeypatch):
    from sparseinv.solvers import active_entries, working_set

    for module in (active_entries, working_set):
        monkeypatch.setattr(module, "LARGEST_LAZY", 20)
    looked_up = []
    entries = active_entries.ActiveEntries.extend

    def extend(self, index, correlations=None):
        entries(self, index, correlations)
        looked_up.append(self.k)

    monkeypatch.setattr(active_entries.ActiveEntries, "extend", extend)
    A = waves()
    b = data(A, 4, k=60)
    penalty = si.L1(0.01 * si.lam_max(A, b, si.L1(1.0)))
    result = si.solve(A, b, penalty, tol=1e-9, solver=si.WorkingSet(first_order_leads=False))
    assert result.success
    assert result.support.size > 21 >= max(looked_up)
    alone = si.solve(A, b, penalty, tol=1e-9, solver=si.BarzilaiBorwein(), max_iter=100_000)
    assert result.objective == pytest.approx(alone.objective, rel=1e-8)

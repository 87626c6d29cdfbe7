"""OMP, OLS and their kin against the textbook, beams, removals, many right-hand sides, peers' defects."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import nnls
from scipy.sparse.linalg import aslinearoperator

import sparseinv as si
from sparseinv.operators import Convolution
from sparseinv.operators.adapt import system
from sparseinv.problem import Problem
from sparseinv.solvers.support_qr import SupportQR
from sparseinv.stopping import Budget

GREEDY = [
    si.OMP(), si.OMP(atoms_per_step=3), si.OMP(beam=3), si.OLS(), si.OLS(backward=True), si.OLS(beam=3)
]  # fmt: skip


def data(seed, m=30, n=60, k=5, noise=0.3, is_complex=False, spread=0.0):
    """Return A with correlated columns of many scales, b, and the true support."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((m, n)) + 0.5 * rng.standard_normal((m, 1))
    if is_complex:
        A = A + 1j * rng.standard_normal((m, n))
    A = A * 10.0 ** rng.uniform(-spread, spread, n)
    support = np.sort(rng.choice(n, k, replace=False))
    x = np.zeros(n, A.dtype)
    x[support] = rng.choice([-1.0, 1.0], k) * rng.uniform(0.5, 2.0, k) / np.linalg.norm(A[:, support], axis=0)
    if is_complex:
        x = x * np.exp(1j * rng.uniform(0, 6, n))
    b = A @ x
    e = rng.standard_normal(m) + (1j * rng.standard_normal(m) if is_complex else 0.0)
    return A, b + noise * np.linalg.norm(b) / np.sqrt(m) * e, support


def fit(A, b, S):
    return np.linalg.lstsq(A[:, S], b, rcond=None)[0] if len(S) else np.zeros(0)


def misfit(A, b, S):
    S = list(S)
    return 0.5 * np.linalg.norm(A[:, S] @ fit(A, b, S) - b) ** 2


def textbook_omp(A, b, k, at_once=1):
    norms, S = np.linalg.norm(A, axis=0), []
    while len(S) < k:
        r = b - A[:, S] @ fit(A, b, S)
        score = abs(A.conj().T @ r) / norms
        score[S] = -1
        S += [int(j) for j in np.argsort(-score)[: min(at_once, k - len(S))]]
    return S


def textbook_ols(A, b, k):
    S = []
    while len(S) < k:
        values = {j: misfit(A, b, [*S, j]) for j in range(A.shape[1]) if j not in S}
        S.append(min(values, key=values.get))
    return S


def textbook_sbr(A, b, lam):
    S = []
    while True:
        now = misfit(A, b, S) + lam * len(S)
        moves = [[*S, j] for j in range(A.shape[1]) if j not in S] + [[i for i in S if i != j] for j in S]
        best = min(moves, key=lambda T: misfit(A, b, T) + lam * len(T))
        if misfit(A, b, best) + lam * len(best) >= now - 1e-10:
            return S
        S = best


@pytest.mark.parametrize("is_complex", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_omp_is_the_textbook_method_at_equal_norms(seed, is_complex):
    A, b, _ = data(seed, is_complex=is_complex, spread=3.0)
    for k, at_once in ((1, 1), (6, 1), (12, 1), (7, 3)):
        S = textbook_omp(A / np.linalg.norm(A, axis=0), b, k, at_once)
        result = si.solve(A, b, si.L0Ball(k), solver=si.OMP(atoms_per_step=at_once))
        assert sorted(S) == list(result.support)
        np.testing.assert_allclose(result.x[S], fit(A, b, S), rtol=1e-8)
        assert result.n_iter == -(-k // at_once)


@pytest.mark.parametrize("is_complex", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_ols_is_the_textbook_method(seed, is_complex):
    A, b, _ = data(seed, m=20, n=25, is_complex=is_complex, spread=2.0)
    S = textbook_ols(A, b, 7)
    result = si.solve(A, b, si.L0Ball(7), solver=si.OLS())
    assert sorted(S) == list(result.support)
    np.testing.assert_allclose(result.x[S], fit(A, b, S), rtol=1e-8)


@pytest.mark.parametrize("is_complex", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_columns_that_leave_make_single_best_replacement(seed, is_complex):
    rng = np.random.default_rng(seed)
    A = np.cumsum(rng.standard_normal((20, 14)), axis=1)  # highly correlated: removals occur
    if is_complex:
        A = A + 1j * np.cumsum(rng.standard_normal((20, 14)), axis=1)
    b = A[:, [2, 7, 11]] @ np.array([1.0, -1.0, 1.0]) + 0.3 * rng.standard_normal(20)
    lam = 0.02 * np.linalg.norm(b) ** 2
    S = textbook_sbr(A, b, lam)
    result = si.solve(A, b, si.L0(lam), solver=si.OLS(backward=True))
    assert sorted(S) == list(result.support)
    assert result.objective == pytest.approx(misfit(A, b, S) + lam * len(S), rel=1e-9)


@pytest.mark.parametrize("nonnegative", [False, True])
def test_steps_of_several_columns_never_end_above_nothing(nonnegative):
    """Columns that look alike all promise the same gain, which only the first of them brings."""
    for seed in range(60):
        rng = np.random.default_rng(seed)
        A = rng.standard_normal((12, 20)) + rng.uniform(0, 3) * rng.standard_normal((12, 1))
        b = 2 * A[:, rng.integers(20)] + 0.1 * rng.standard_normal(12)
        nothing = 0.5 * (b @ b)
        penalty = si.L0(10 ** rng.uniform(-2, 0) * nothing, nonnegative=nonnegative)
        for at_once in (3, 5):
            result = si.solve(A, b, penalty, solver=si.OMP(atoms_per_step=at_once))
            assert result.objective <= nothing * (1 + 1e-12)
            S = result.support
            if not nonnegative:
                np.testing.assert_allclose(result.x[S], np.linalg.lstsq(A[:, S], b, rcond=None)[0], rtol=1e-8)
            else:
                best = nnls(A[:, S], b)[0]
                np.testing.assert_allclose(result.x[S], best, rtol=1e-8)


def test_removals_do_occur_and_help():
    better = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        A = np.cumsum(rng.standard_normal((20, 30)), axis=1)
        b = A[:, [2, 9, 15, 21]] @ np.array([1.0, -1.0, 1.0, -1.0]) + 0.1 * rng.standard_normal(20)
        forward = si.solve(A, b, si.L0Ball(4), solver=si.OLS())
        floating = si.solve(A, b, si.L0Ball(4), solver=si.OLS(backward=True))
        assert floating.support.size == 4
        assert floating.objective <= forward.objective * (1 + 1e-9)
        better += floating.objective < forward.objective * (1 - 1e-6)
    assert better >= 5


def test_a_wide_beam_is_exhaustive_and_supports_count_once():
    for seed in range(8):
        A, b, _ = data(seed, m=12, n=8, noise=1.0)
        best = min(misfit(A, b, S) for S in itertools.combinations(range(8), 3))
        for solver in (si.OMP(beam=60), si.OLS(beam=60)):
            result = si.solve(A, b, si.L0Ball(3), solver=solver)
            assert result.objective == pytest.approx(best, rel=1e-10)
        assert si.solve(A, b, si.L0Ball(3), solver=si.OLS(beam=1)).objective >= best * (1 - 1e-12)


@pytest.mark.parametrize("ridged", [False, True])
@pytest.mark.parametrize("is_complex", [False, True])
def test_recursions_stay_exact_as_columns_come_and_go(ridged, is_complex):
    A, b, _ = data(3, m=18, n=25, is_complex=is_complex, spread=1.0)
    rng = np.random.default_rng(0)
    ridge = rng.random(25) * np.linalg.norm(A, axis=0) ** 2 if ridged else np.zeros(25)
    problem = Problem(*system(A, b), si.L0(1.0))
    held = SupportQR(problem, ridge, 12, ahead=False)
    full = np.concatenate([A, np.diag(np.sqrt(ridge))])
    target = np.concatenate([problem.b, np.zeros(25)])
    for _ in range(80):
        if held.k and (held.k == 12 or rng.random() < 0.4):
            losses, place = held.losses(), int(rng.integers(held.k))
            S = list(held.support)
            without = [j for j in S if j != S[place]]
            rise = misfit(full, target, without) - misfit(full, target, S)
            assert losses[place] == pytest.approx(rise, rel=1e-6, abs=1e-12)
            held.remove(place)
        else:
            held.add(int(rng.choice(np.flatnonzero(held.usable()))))
        S = held.support
        x = fit(full, target, S)
        r = target - full[:, S] @ x
        assert held.value == pytest.approx(0.5 * np.linalg.norm(r) ** 2, rel=1e-9)
        np.testing.assert_allclose(held.x[S], x, rtol=1e-8, atol=1e-10)
        outside = np.setdiff1d(np.arange(25), S)
        scale = np.linalg.norm(full, axis=0)[outside]
        np.testing.assert_allclose(held.c[outside] / scale, (full.conj().T @ r)[outside] / scale, atol=1e-10)
        Q = np.linalg.qr(full[:, S])[0]
        left = np.linalg.norm(full - Q @ (Q.conj().T @ full), axis=0)[outside]
        np.testing.assert_allclose(held.d[outside] / scale**2, (left / scale) ** 2, atol=1e-10)


def test_products_formed_ahead_change_no_answer(monkeypatch):
    from sparseinv.solvers import support_qr

    A, b, _ = data(5, m=200, n=600, k=30, noise=0.1)
    plain = si.solve(A, b, si.L0Ball(40), solver=si.OMP())
    monkeypatch.setattr(support_qr, "_LARGE", 0)
    ahead = si.solve(A, b, si.L0Ball(40), solver=si.OMP())
    np.testing.assert_array_equal(ahead.support, plain.support)
    np.testing.assert_allclose(ahead.x, plain.x, atol=1e-10)
    monkeypatch.setattr(support_qr, "_PAID", 100)  # never worth it: the pauses double
    seldom = si.solve(A, b, si.L0Ball(40), solver=si.OLS())
    monkeypatch.setattr(support_qr, "_LARGE", 1 << 40)
    np.testing.assert_allclose(seldom.x, si.solve(A, b, si.L0Ball(40), solver=si.OLS()).x, atol=1e-10)


# --- penalties ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", GREEDY, ids=repr)
def test_a_charge_per_coefficient_with_free_and_excluded_ones(solver):
    A, b, _ = data(7, m=40, n=20, spread=1.0)
    lam = np.full(20, 0.02 * (b @ b))
    lam[3], lam[8:12] = 0.0, np.inf
    result = si.solve(A, b, si.L0(lam), solver=solver)
    assert result.x[3] != 0
    assert not result.x[8:12].any()
    S = list(result.support)
    charge = lam[S].sum()
    assert result.objective == pytest.approx(misfit(A, b, S) + charge, rel=1e-10)
    additions = [misfit(A, b, [*S, j]) + charge + lam[j] for j in range(20) if j not in S]
    norms = np.linalg.norm(A, axis=0)
    slope = A.T @ (A @ result.x - b)
    assert (slope**2 / (2 * norms**2) <= lam * (1 + 1e-9))[np.setdiff1d(np.arange(20), S)].all()
    if isinstance(solver, si.OLS):
        assert min(additions) >= result.objective * (1 - 1e-9)


def test_levels_of_squares_go_into_every_refit():
    A, b, _ = data(9, m=25, n=15)
    l2 = np.linspace(0.0, 20.0, 15)
    full, target = np.concatenate([A, np.diag(np.sqrt(l2))]), np.concatenate([b, np.zeros(15)])
    lam = 0.01 * (b @ b)
    for solver in GREEDY:
        result = si.solve(A, b, si.L0(lam, l2=l2), solver=solver)
        S = list(result.support)
        assert result.objective == pytest.approx(misfit(full, target, S) + lam * len(S), rel=1e-10)
    sbr = si.solve(A, b, si.L0(lam, l2=l2), solver=si.OLS(backward=True))
    assert sorted(textbook_sbr(full, target, lam)) == list(sbr.support)


def test_nonnegative_pursuit_is_the_fit_on_its_support_and_no_column_would_help():
    for seed in range(6):
        A, b, _ = data(seed, m=40, n=30, noise=0.2, spread=1.0)
        A, b = abs(A), abs(b)
        lam = 1e-3 * (b @ b)
        result = si.solve(A, b, si.L0(lam, nonnegative=True), solver=si.OMP())
        assert (result.x >= 0).all()
        S = result.support
        np.testing.assert_allclose(result.x[S], fit(A, b, list(S)), rtol=1e-7)
        pull = np.maximum(-A.T @ (A @ result.x - b), 0.0)
        outside = np.setdiff1d(np.arange(30), S)
        assert (pull[outside] ** 2 / (2 * (A[:, outside] ** 2).sum(axis=0)) <= lam * (1 + 1e-9)).all()


@pytest.mark.parametrize("kind", ["csc", "operator", "float32", "convolution"])
@pytest.mark.parametrize("solver", [si.OMP(), si.OLS(), si.OLS(backward=True)], ids=repr)
def test_what_A_is_makes_no_difference(kind, solver):
    A, b, _ = data(11, m=40, n=50)
    given = A
    if kind == "csc":
        A = A * (abs(A) > 0.5)
        given = sparse.csc_array(A)
    elif kind == "operator":
        given = aslinearoperator(A)
    elif kind == "float32":
        given, b = A.astype(np.float32), b.astype(np.float32)
    else:
        given = Convolution(50, np.array([1.0, -2.0, 0.5]), offset=1)
        A = given @ np.eye(50)
        b = np.random.default_rng(0).standard_normal(A.shape[0])
    expected = si.solve(A, np.asarray(b, dtype=float), si.L0Ball(5), solver=solver)
    result = si.solve(given, b, si.L0Ball(5), solver=solver)
    np.testing.assert_array_equal(result.support, expected.support)
    np.testing.assert_allclose(result.x, expected.x, rtol=1e-4)
    assert result.status is expected.status


# --- ends ---------------------------------------------------------------------------------------------


def best_exchange(A, b, S):
    """Return the lowest misfit that exchanging one column reaches."""
    others = [j for j in range(A.shape[1]) if j not in S]
    return min(misfit(A, b, [*(i for i in S if i != out), j]) for out in S for j in others)


@pytest.mark.parametrize("seed", range(10))
def test_status_and_certificate_tell_what_an_exchange_would_gain(seed):
    A, b, _ = data(seed, m=15, n=25, noise=1.0)
    result = si.solve(A, b, si.L0Ball(4), solver=si.OMP())
    S = list(result.support)
    gain = max(misfit(A, b, S) - best_exchange(A, b, S), 0.0)
    assert result.certificate.kind is si.Kind.SWAP_MINIMUM
    assert result.certificate.value == pytest.approx(gain, abs=1e-9 * (b @ b))
    assert result.status is (si.Status.CONVERGED if gain <= 1e-6 * 0.5 * (b @ b) else si.Status.EXHAUSTED)
    if not result.success:
        assert "OMP chose 4 columns; adding, removing or exchanging one of them would lower" in result.message
        assert "LocalSearch" in result.message
        better = si.solve(A, b, si.L0Ball(4), solver=si.LocalSearch(), x0=result.x)
        assert better.objective < result.objective


def test_some_of_these_points_are_no_minimum():
    ends = {
        si.solve(*data(s, 15, 25, noise=1.0)[:2], si.L0Ball(4), solver=si.OMP()).status for s in range(10)
    }
    assert ends == {si.Status.CONVERGED, si.Status.EXHAUSTED}


@pytest.mark.parametrize("solver", GREEDY, ids=repr)
def test_relative_residual_ends_a_run_early(solver):
    A, b, _ = data(13, m=50, n=80, k=10, noise=0.0)
    loose = si.solve(A, b, si.L0Ball(30), solver=replace(solver, residual=0.3))
    assert np.linalg.norm(A @ loose.x - b) <= 0.3 * np.linalg.norm(b)
    exact = si.solve(A, b, si.L0Ball(30), solver=solver)
    assert loose.support.size < exact.support.size
    assert np.linalg.norm(A @ exact.x - b) <= 1e-12 * np.linalg.norm(b)


def test_more_columns_follow_from_the_same_run():
    A, b, _ = data(15, m=60, n=90, k=12)
    for solver in (si.OMP(), si.OLS(), si.OMP(beam=2)):
        problem = Problem(*system(A, b), si.L0Ball(3))
        budget = Budget(0.0, 100, np.inf)
        state = solver.start(problem, None)
        solver.step(problem, state, budget)
        before = problem.operator.products.total
        for k in (3, 5, 9, 4):
            at = problem.with_penalty(si.L0Ball(k).bind(90))
            state = solver.resume(at, state)
            solver.step(at, state, budget)
            expected = si.solve(A, b, si.L0Ball(k), solver=solver)
            np.testing.assert_array_equal(np.flatnonzero(state.x), expected.support)
            if k == 9 and solver.beam == 1:
                assert problem.operator.products.total - before == 6


def test_a_path_of_falling_levels_goes_on_from_the_support_before():
    A, b, _ = data(17, m=60, n=40, k=8)
    path = si.solve_path(A, b, si.L0(), n_lams=15, ratio=1e-3, solver=si.OLS())
    for result in path:
        single = si.solve(A, b, si.L0(result.lam), solver=si.OLS())
        assert result.objective == pytest.approx(single.objective, rel=1e-9)
    assert path.n_rmatvec < 250


def test_start_and_limits():
    A, b, _ = data(19, m=60, n=90, k=12)
    x0 = np.zeros(90)
    x0[[4, 8]] = 1e-3, -2.0
    result = si.solve(A, b, si.L0Ball(5), solver=si.OMP(), x0=x0)
    assert {4, 8} <= set(result.support)
    assert result.n_iter == 3
    cut = si.solve(A, b, si.L0Ball(12), solver=si.OMP(), max_iter=4)
    assert cut.status is si.Status.MAX_ITER
    assert sorted(textbook_omp(A, b, 4)) == list(cut.support)
    assert si.solve(A, b, si.L0Ball(0), solver=si.OMP()).support.size == 0
    assert si.solve(A, 0.0 * b, si.L0Ball(3), solver=si.OLS()).objective == 0.0


# --- peers' defects -----------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [1e-9, 1e-5, 1e-1, 1e3, 1e9, 1e-150, 1e150])
@pytest.mark.parametrize("solver", GREEDY, ids=repr)
def test_scale_of_the_data_does_not_change_the_support(solver, factor):
    A, b, _ = data(21, m=50, n=100, k=8, noise=0.1)
    plain = si.solve(A, b, si.L0Ball(8), solver=solver)
    scaled = si.solve(A, factor * b, si.L0Ball(8), solver=solver)
    np.testing.assert_array_equal(scaled.support, plain.support)
    np.testing.assert_allclose(scaled.x / factor, plain.x, rtol=1e-9)
    assert scaled.status is plain.status
    charged = si.solve(A, b, si.L0(0.01 * b @ b), solver=solver)
    if 1e-100 < factor < 1e100:
        other = si.solve(A, factor * b, si.L0(0.01 * (b @ b) * factor**2), solver=solver)
        np.testing.assert_array_equal(other.support, charged.support)


@pytest.mark.parametrize("solver", GREEDY, ids=repr)
def test_a_column_that_is_orthogonal_to_the_data_is_found_when_it_is_needed(solver):
    """A peer looks at A^T b once and stops where a needed column is orthogonal to b."""
    A = np.zeros((4, 3))
    A[:, 0] = [1, 0, 0, 0]
    A[:, 1] = [0.6, 0.8, 0, 0]
    A[:, 2] = [0, 0, 0, 1.0]
    x = np.array([1.0, 0.0, 0.0])
    b = A @ x - 0.6 * A[:, 1]  # b is orthogonal to column 1
    assert abs(A[:, 1] @ b) < 1e-15
    result = si.solve(A, b, si.L0Ball(2), solver=solver)
    np.testing.assert_array_equal(result.support, [0, 1])
    np.testing.assert_allclose(A @ result.x, b, atol=1e-14)


@pytest.mark.parametrize("solver", GREEDY, ids=repr)
def test_norms_of_columns_do_not_decide(solver):
    """Peers compare bare correlations, so that long columns win."""
    A, b, support = data(23, m=60, n=100, k=5, noise=0.01)
    scale = 10.0 ** np.random.default_rng(1).uniform(-6, 6, 100)
    scale[np.setdiff1d(np.arange(100), support)] *= 1e3
    result = si.solve(A * scale, b, si.L0Ball(5), solver=solver)
    np.testing.assert_array_equal(result.support, si.solve(A, b, si.L0Ball(5), solver=solver).support)


@pytest.mark.parametrize("solver", GREEDY, ids=repr)
def test_more_columns_than_the_rank_never_make_it_worse(solver):
    """Peers' deviance rises by a factor of ten beyond the rank."""
    rng = np.random.default_rng(25)
    A = rng.standard_normal((20, 6)) @ rng.standard_normal((6, 40))
    A[:, 3], A[:, 7], A[:, 9] = A[:, 2], -2 * A[:, 2], 0.0
    b = rng.standard_normal(20)
    values = [si.solve(A, b, si.L0Ball(k), solver=solver).objective for k in range(1, 15)]
    if solver != si.OMP(atoms_per_step=3):  # whose steps of three do not nest
        assert (np.diff(values) <= 1e-9 * values[0]).all()
    floor = misfit(A, b, range(40))
    assert values[-1] == pytest.approx(floor, rel=1e-8)
    result = si.solve(A, b, si.L0Ball(14), solver=solver)
    assert result.x[9] == 0
    assert np.count_nonzero(result.x[[2, 3, 7]]) <= 1
    assert abs(result.x).max() < 1e6


def test_sizes_do_not_depend_on_how_they_were_reached():
    """A peer gives another answer for two columns when it passes by one."""
    A, b, _ = data(27, m=40, n=70)
    for k in range(1, 8):
        alone = si.solve(A, b, si.L0Ball(k), solver=si.OMP())
        onward = si.solve(A, b, si.L0Ball(k), solver=si.OMP(), x0=si.solve(A, b, si.L0Ball(1)).x)
        if k > 1 and textbook_omp(A, b, 1) == list(si.solve(A, b, si.L0Ball(1)).support):
            np.testing.assert_array_equal(alone.support, onward.support)


def test_two_close_opposite_spikes_mislead_omp_but_not_exchanges():
    """Omp picks what lies between; the exchange certificate says so, and LocalSearch repairs it."""
    from sparseinv.seismic import ricker

    wavelet, _, center = ricker(25.0, 0.002)
    n = 160
    A = Convolution(n, wavelet, offset=center)
    x = np.zeros(n)
    x[[70, 73]] = 1.0, -0.8
    b = A @ x
    omp = si.solve(A, b, si.L0Ball(2), solver=si.OMP())
    assert not omp.success
    assert not np.array_equal(omp.support, [70, 73])
    assert omp.certificate.relative > 1e-3
    search = si.solve(A, b, si.L0Ball(2), solver=si.LocalSearch())
    np.testing.assert_array_equal(search.support, [70, 73])
    assert search.success


# --- many right-hand sides ----------------------------------------------------------------------------


def many(seed, m=40, n=90, k=5, count=150, spread=0.0):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((m, n)) * 10.0 ** rng.uniform(-spread, spread, n)
    X = np.zeros((n, count))
    for j in range(count):
        S = rng.choice(n, k, replace=False)
        X[S, j] = rng.standard_normal(k) / np.linalg.norm(A[:, S], axis=0)
    B = A @ X
    return A, B + 0.1 * B.std() * rng.standard_normal(B.shape)


@pytest.mark.parametrize("kind", ["dense", "csc", "scaled"])
def test_many_right_hand_sides_are_pursued_as_each_alone(kind):
    A, B = many(0, spread=3.0 if kind == "scaled" else 0.0)
    if kind == "csc":
        A = A * (abs(A) > 0.7)
    if kind == "scaled":
        B = B * 10.0 ** np.random.default_rng(1).uniform(-150, 150, B.shape[1])
    B[:, 7] = 0.0
    given = sparse.csc_array(A) if kind == "csc" else A
    batch = si.solve_many(given, B, si.L0Ball(6), solver=si.OMP(), n_threads=2)
    again = si.solve_many(given, B, si.L0Ball(6), solver=si.OMP(), n_threads=1)
    np.testing.assert_array_equal(batch.x, again.x)
    assert batch[0].reason == "all columns share A^T A"
    for j in range(0, B.shape[1], 7):
        single = si.solve(given, B[:, j], si.L0Ball(6), solver=si.OMP())
        size = max(abs(single.x).max(), 1e-300)
        np.testing.assert_allclose(batch.x[:, j] / size, single.x / size, atol=1e-9)
        assert batch[j].status is single.status
        assert batch[j].certificate.kind is single.certificate.kind
        assert batch[j].certificate.relative == pytest.approx(single.certificate.relative, abs=1e-11)
        assert batch[j].objective == pytest.approx(single.objective, rel=1e-8)
        assert batch[j].detail == single.detail
    assert {result.status.name for result in batch} == {"CONVERGED", "EXHAUSTED"}


def test_columns_too_dependent_for_a_gram_matrix_are_pursued_singly():
    A, B = many(3, count=60)
    A[:, 1] = A[:, 0] + 1e-4 * A[:, 2]
    B[:, :20] = (A[:, 0] + A[:, 1] + 1e3 * (A[:, 1] - A[:, 0]))[:, None] + 0.0 * B[:, :20]
    B[:, 5] += 1e-3 * A[:, 4]
    batch = si.solve_many(A, B, si.L0Ball(6), solver=si.OMP())
    for j in (0, 5, 19, 30):
        single = si.solve(A, B[:, j], si.L0Ball(6), solver=si.OMP())
        assert batch[j].objective == pytest.approx(single.objective, abs=1e-12 * (B[:, j] @ B[:, j]))


def test_few_columns_other_fields_and_exact_fits_go_their_own_way():
    A, B = many(5, count=40)
    assert si.solve_many(A, B[:, :5], si.L0Ball(3), solver=si.OMP())[0].reason == ""
    beam = si.solve_many(A, B, si.L0Ball(3), solver=si.OMP(beam=2))
    assert beam[0].objective <= si.solve(A, B[:, 0], si.L0Ball(3), solver=si.OMP()).objective * (1 + 1e-12)
    exact = np.zeros((90, 40))
    exact[[3, 50]] = np.random.default_rng(0).standard_normal((2, 40))
    batch = si.solve_many(A, A @ exact, si.L0Ball(8), solver=si.OMP())
    np.testing.assert_allclose(batch.x, exact, atol=1e-11)
    assert batch.success


# --- input --------------------------------------------------------------------------------------------


def test_greedy_methods_refuse_what_they_cannot_treat():
    A, b, _ = data(0, 10, 8, 2)
    for solver, penalty, words in (
        (si.OMP(), si.L1(0.1), "OMP needs an L0 penalty or L0Ball"),
        (si.OLS(), si.GroupL1(0.1, groups=np.arange(8) // 2), "does not treat"),
        (si.OLS(), si.L0(0.1, l1=0.2), "levels of .x."),
        (si.OLS(), si.L0(0.1, nonnegative=True), "OLS does not treat nonnegative=True"),
        (si.OMP(beam=2), si.L0(0.1, nonnegative=True), "beam > 1 does not treat nonnegative=True"),
    ):
        with pytest.raises(ValueError, match=words):
            si.solve(A, b, penalty, solver=solver)
    for make, words in (
        (lambda: si.OMP(atoms_per_step=0), "atoms_per_step is 0"),
        (lambda: si.OMP(beam=0), "beam is 0"),
        (lambda: si.OMP(residual=1.0), r"residual is 1.0, but a share of \|\|b\|\|"),
        (lambda: si.OMP(atoms_per_step=2, beam=2), "atoms_per_step and beam"),
        (lambda: si.OLS(backward=True, beam=2), "choose one of the two"),
        (lambda: si.OLS(backward=1), "backward is 1"),
    ):
        with pytest.raises((ValueError, TypeError), match=words):
            make()


@pytest.mark.parametrize("solver", [si.OMP(), si.OLS()])
def test_a_constant_beside_a_ball_does_not_count(solver):
    rng = np.random.default_rng(2)
    A = rng.standard_normal((40, 60)) + 2.0
    b = 3 * A[:, 5] - 2 * A[:, 9] + 7.0
    result = si.solve(A, b, si.L0Ball(2), solver=solver, intercept=True)
    np.testing.assert_array_equal(result.support, [5, 9])
    assert result.intercept == pytest.approx(7.0)


def test_thresholding_refuses_weights_and_batches_respect_them():
    rng = np.random.default_rng(2)
    A, B = rng.standard_normal((30, 40)), rng.standard_normal((30, 64))
    weights = np.ones(40)
    weights[3], weights[4] = 0.0, np.inf
    with pytest.raises(ValueError, match="treats neither"):
        si.solve(A, B[:, 0], si.L0Ball(3, weights=weights), solver=si.HTP())
    batch = si.solve_many(A, B, si.L0Ball(3, weights=weights), solver=si.OMP())
    assert (batch.x[3] != 0).all()
    assert not batch.x[4].any()
    assert (np.count_nonzero(batch.x, axis=0) == 4).all()


@pytest.mark.parametrize("solver", [si.OMP(), si.OLS(), si.OLS(backward=True), si.OMP(beam=2)])
@pytest.mark.parametrize("free", [np.zeros(3), np.array([1.0, 0.0, 0.0])])
def test_free_columns_that_cannot_enter_give_no_room(solver, free):
    A = np.c_[[1.0, 0.0, 0.0], free, np.eye(3)[:, 1:]]
    weights = [1.0, 0.0, 1.0, 1.0] if not free.any() else [0.0, 0.0, 1.0, 1.0]
    penalty = si.L0Ball(1, weights=weights)
    result = si.solve(A, np.array([3.0, 2.0, 1.0]), penalty, solver=solver)
    assert np.isfinite(result.objective)
    assert np.count_nonzero(result.x[np.array(weights) > 0]) == 1
    again = si.solve(A, np.array([3.0, 2.0, 1.0]), penalty, solver=solver, x0=np.array([1.0, 0.0, 2.0, 1.0]))
    assert np.isfinite(again.objective)


def test_a_free_column_of_the_wrong_sign_gives_no_room():
    A, b = np.eye(4), np.array([-1.0, 3.0, 2.0, 1.0])
    penalty = si.L0Ball(1, weights=[0.0, 1.0, 1.0, 1.0], nonnegative=True)
    result = si.solve(A, b, penalty, solver=si.OMP())
    np.testing.assert_array_equal(result.x, [0.0, 3.0, 0.0, 0.0])


@pytest.mark.parametrize("offset", [0.0, 3.0, 100.0])
@pytest.mark.parametrize("solver", [si.OMP(), si.OMP(beam=2), si.OLS()])
def test_an_intercept_takes_offsets_out_of_the_comparison(solver, offset):
    A = np.random.default_rng(0).standard_normal((30, 5))
    A -= A.mean(axis=0)
    result = si.solve(A + offset, 2 * A[:, 0], si.L0(2.0), solver=solver, intercept=True)
    np.testing.assert_array_equal(result.support, [0])


@pytest.mark.parametrize("solver", [si.OMP(), si.OLS(), si.BranchAndBound()])
def test_levels_that_leave_no_choice_are_named(solver):
    with pytest.raises(ValueError, match="all levels are 0 or inf"):
        si.solve(np.eye(3), np.ones(3), si.L0([0.0, np.inf, 0.0]), solver=solver)
    with pytest.raises(ValueError, match="beam is True, no number"):
        si.OMP(beam=True)


def test_columns_that_enter_together_do_not_end_above_zero():
    rng = np.random.default_rng(0)
    for _ in range(20):
        A = rng.standard_normal((12, 1)) + 0.05 * rng.standard_normal((12, 6))
        b = A[:, 0] + 0.01 * rng.standard_normal(12)
        lam = 0.2 * float(b @ b)
        result = si.solve(A, b, si.L0(lam), solver=si.OMP(atoms_per_step=3))
        assert result.objective <= 0.5 * float(b @ b) * (1 + 1e-12)
        assert result.support.size == 1


def test_the_bound_of_the_batch_judges_as_a_single_run_does():
    rng = np.random.default_rng(4)
    A = rng.standard_normal((30, 60)) + rng.standard_normal((30, 1))
    B = A[:, :40] - A[:, 20:60] + 0.5 * rng.standard_normal((30, 40))
    batch = si.solve_many(A, B, si.L0Ball(4), solver=si.OMP())
    assert any(result.certificate.value > 0 for result in batch)
    for j, result in enumerate(batch):
        single = si.solve(A, B[:, j], si.L0Ball(4), solver=si.OMP())
        assert np.array_equal(result.support, single.support)
        assert result.certificate.value == pytest.approx(single.certificate.value, rel=1e-8, abs=1e-10)
    assert batch.results[1:3] == (batch[1], batch[2])

"""Sparse Bayesian learning: textbook formulas, monotone evidence, scale, and what comes back."""

from __future__ import annotations

import math

import numpy as np
import pytest

import cases
import sparseinv as si
from sparseinv.problem import Problem
from sparseinv.solvers.evidence import Annealed, Evidence, Greedy, em_update, mm_update


def data(key, m=30, n=50, k=5, number="real", noise=0.05):
    rng = cases.generator(71, key)

    def normal(*shape):
        v = rng.standard_normal(shape)
        return v + 1j * rng.standard_normal(shape) if number == "complex" else v

    A, x = normal(m, n) / np.sqrt(m), np.zeros(n, dtype=complex if number == "complex" else float)
    phase = np.exp(1j * rng.uniform(0, 2 * np.pi, k))
    if number == "real":
        phase = np.where(phase.real < 0, -1.0, 1.0)
    x[rng.permutation(n)[:k]] = (1.0 + rng.random(k)) * phase
    return A, A @ x + noise * normal(m), x


def problem(A, b, penalty):
    from sparseinv.operators.adapt import system

    operator, vector = system(A, b)
    return Problem(operator, vector, penalty)


def log_evidence(A, b, gamma, s2):
    """log p(b) by dense formulas."""
    M = (A * gamma) @ A.conj().T + s2 * np.eye(A.shape[0])
    quadratic = float((b.conj() @ np.linalg.solve(M, b)).real)
    logdet = np.linalg.slogdet(M)[1]
    if np.iscomplexobj(A):
        return -(b.size * math.log(math.pi) + logdet + quadratic)
    return -0.5 * (b.size * math.log(2 * math.pi) + logdet + quadratic)


def restricted(A, Z, b, gamma, s2):
    """log p of b in an orthonormal basis of what Z does not span."""
    q = np.linalg.qr(Z, mode="complete")[0][:, Z.shape[1] :]
    return log_evidence(q.conj().T @ A, q.conj().T @ b, gamma, s2)


@pytest.mark.parametrize("number", ["real", "complex"])
@pytest.mark.parametrize(("m", "n"), [(12, 20), (20, 12), (15, 15)])
@pytest.mark.parametrize("loose", [0, 2])
def test_fit_is_the_textbook(number, m, n, loose):
    A, b, _ = data(1, m, n, 3, number)
    b = 1000.0 * b  # working units then differ from the user's
    lam = np.where(np.arange(n) < loose, 0.0, 0.1)
    evidence = Evidence(problem(A, b, si.L0(lam)))
    unit = 2.0 ** (evidence.problem.units.b_exponent)
    gamma = cases.generator(72).uniform(0, 1, n - loose)
    gamma[::4] = 0.0
    s2 = 0.01
    fit = evidence.fit(gamma, s2)
    Z, rest, w = A[:, :loose], A[:, loose:], b / unit
    M = (rest * gamma) @ rest.conj().T + s2 * np.eye(m)
    P = np.linalg.inv(M)
    if loose:
        P = P - P @ Z @ np.linalg.solve(Z.conj().T @ P @ Z, Z.conj().T @ P)
    np.testing.assert_allclose(fit.u, rest.conj().T @ P @ w, atol=1e-9 * np.abs(fit.u).max())
    np.testing.assert_allclose(fit.s, np.diag(rest.conj().T @ P @ rest).real, rtol=1e-8)
    mean = evidence.mean(gamma * fit.u)
    np.testing.assert_allclose(fit.misfit, np.linalg.norm(w - A @ mean) ** 2, rtol=1e-8)
    scale = unit**2
    exact = (
        restricted(rest, Z, b, gamma * scale, s2 * scale)
        if loose
        else log_evidence(A, b, gamma * scale, s2 * scale)
    )
    assert fit.log_evidence == pytest.approx(exact, rel=1e-9)
    if loose:
        variance = np.diag(np.linalg.inv(Z.conj().T @ np.linalg.solve(M, Z))).real
        np.testing.assert_allclose(evidence.loose_variance(gamma, s2), variance, rtol=1e-8)


@pytest.mark.parametrize("number", ["real", "complex"])
def test_gradient_of_the_evidence(number):
    """d log p / d gamma_j = (|u_j|^2 - s_j) / 2 for real data, twice that for complex data."""
    A, b, _ = data(2, 10, 16, 3, number)
    evidence = Evidence(problem(A, b, si.L0(0.1)))
    gamma, s2, h = cases.generator(73).uniform(0.1, 1, 16), 0.02, 1e-6
    fit = evidence.fit(gamma, s2)
    for j in range(16):
        step = np.where(np.arange(16) == j, h, 0.0)
        slope = evidence.fit(gamma + step, s2).log_evidence - evidence.fit(gamma - step, s2).log_evidence
        exact = (abs(fit.u[j]) ** 2 - fit.s[j]) * (1.0 if number == "complex" else 0.5)
        assert slope / (2 * h) == pytest.approx(exact, rel=1e-5, abs=1e-4)


@pytest.mark.parametrize("update", [mm_update, em_update])
@pytest.mark.parametrize("number", ["real", "complex"])
def test_updates_never_lower_the_evidence(update, number):
    A, b, _ = data(3, 20, 40, 6, number)
    evidence = Evidence(problem(A, b, si.L0(0.1)))
    gamma, s2, values = evidence.flat, 1e-3, []
    for _ in range(60):
        fit = evidence.fit(gamma, s2)
        values.append(fit.log_evidence)
        gamma = update(gamma, fit.u, fit.s)
    assert (np.diff(values) >= -1e-9 * np.abs(values[0])).all()
    assert values[-1] > values[0] + 10


def test_em_is_the_textbook():
    """One iteration against the E-step by the n x n covariance."""
    A, b, _ = data(4, 25, 12, 3)
    evidence = Evidence(problem(A, b, si.L0(0.1)))
    gamma, s2 = np.linspace(0.1, 1.0, 12), 0.01
    w = b / 2.0**evidence.problem.units.b_exponent
    covariance = np.linalg.inv(A.T @ A / s2 + np.diag(1.0 / gamma))
    mean = covariance @ A.T @ w / s2
    fit = evidence.fit(gamma, s2)
    np.testing.assert_allclose(em_update(gamma, fit.u, fit.s), mean**2 + np.diag(covariance), rtol=1e-9)


def test_annealing_ends_where_the_evidence_is_stationary():
    A, b, _ = data(5)
    evidence = Evidence(problem(A, b, si.L0(0.1)))
    learner = Annealed(evidence, mm_update, 0.01 * evidence.mean_b2, 0.95)
    while not learner.advance():
        pass
    gamma = learner.pruned()
    fit = evidence.fit(gamma, learner.s2)
    live = gamma > 1e-2 * gamma.max()
    np.testing.assert_allclose(np.abs(fit.u[live]) ** 2, fit.s[live], rtol=0.05)
    assert (np.abs(fit.u[gamma == 0]) ** 2 <= 1.05 * fit.s[gamma == 0]).all()


@pytest.mark.parametrize("number", ["real", "complex"])
def test_greedy_ends_at_a_maximum_along_every_coefficient(number):
    A, b, _ = data(6, number=number)
    evidence = Evidence(problem(A, b, si.L0(0.1)))
    learner = Greedy(evidence, 0.005 * evidence.mean_b2)
    values = [evidence.fit(learner.gamma, learner.s2).log_evidence]
    while not learner.advance():
        values.append(evidence.fit(learner.gamma, learner.s2).log_evidence)
    assert (np.diff(values) > 0).all()
    fit = evidence.fit(learner.gamma, learner.s2)
    np.testing.assert_allclose(learner.u, fit.u, atol=1e-9 * np.abs(fit.u).max())
    for j in range(evidence.index.size):
        for other in (0.0, 0.5 * learner.gamma[j], 2.0 * learner.gamma[j] + 1e-3, 0.1):
            gamma = learner.gamma.copy()
            gamma[j] = other
            assert evidence.fit(gamma, learner.s2).log_evidence <= fit.log_evidence + 1e-5


@pytest.mark.parametrize("method", ["auto", "mm", "em", "greedy", "probing"])
@pytest.mark.parametrize("number", ["real", "complex"])
def test_finds_a_planted_support(method, number):
    A, b, x = data(7, 40, 80, 6, number)
    result = si.solve(A, b, si.L0(0.05), solver=si.SparseBayesian(method=method))
    np.testing.assert_array_equal(result.support, np.flatnonzero(x))
    assert result.success
    exact = np.linalg.lstsq(A[:, x != 0], b, rcond=None)[0]
    np.testing.assert_allclose(result.x[x != 0], exact, rtol=1e-6)


@pytest.mark.parametrize("method", ["auto", "mm", "em", "greedy"])
def test_posterior_is_that_of_its_lam(method):
    A, b, _ = data(8)
    lam = np.full(50, 0.05)
    lam[3], lam[7] = 0.0, np.inf
    posterior = si.solve(A, b, si.L0(lam), solver=si.SparseBayesian(method=method, sigma=0.05)).posterior
    assert posterior.lam[3] == 0
    assert posterior.lam[7] == np.inf
    assert posterior.sigma == pytest.approx(0.05)
    ridge = si.solve(A, b, si.L2(posterior.lam), tol=1e-13)
    assert ridge.certificate.kind.is_global
    np.testing.assert_allclose(posterior.mean, ridge.x, atol=1e-7)
    live = np.isfinite(posterior.lam)
    H = np.linalg.inv(A[:, live].T @ A[:, live] + np.diag(posterior.lam[live])) * posterior.sigma**2
    np.testing.assert_allclose(posterior.variance[live], np.diag(H), rtol=1e-6)
    assert (posterior.variance[~live] == 0).all()


def test_learned_lam_are_weights():
    """Weighted L1 with the learned levels keeps the support of the prior, or a part of it."""
    A, b, x = data(9, 40, 80, 6)
    posterior = si.solve(A, b, si.L0(0.05), solver=si.SparseBayesian()).posterior
    weighted = si.solve(A, b, si.L1(1e-3, weights=posterior.lam))
    assert set(weighted.support) <= set(np.flatnonzero(np.isfinite(posterior.lam)))
    assert set(np.flatnonzero(x)) <= set(weighted.support)


@pytest.mark.parametrize("factor", [1e-9, 1e-3, 1e9, 2.0**40])
@pytest.mark.parametrize("method", ["auto", "greedy", "probing"])
def test_equivariant_to_scale(factor, method):
    A, b, _ = data(10)
    solver = si.SparseBayesian(method=method)
    one = si.solve(A, b, si.L0(0.05), solver=solver)
    other = si.solve(A, factor * b, si.L0(0.05 * factor**2), solver=solver)
    np.testing.assert_array_equal(one.support, other.support)
    np.testing.assert_allclose(other.x, factor * one.x, rtol=1e-7)
    rtol = 0.2 if method == "probing" else 1e-2  # conjugate gradients may stop a step earlier
    np.testing.assert_allclose(other.posterior.sigma, factor * one.posterior.sigma, rtol=1e-12)
    np.testing.assert_allclose(other.posterior.variance, factor**2 * one.posterior.variance, rtol=rtol)
    live = np.isfinite(one.posterior.lam)
    np.testing.assert_allclose(other.posterior.lam[live], one.posterior.lam[live], rtol=rtol)
    if factor == 2.0**40:
        np.testing.assert_array_equal(other.x, factor * one.x)
        np.testing.assert_array_equal(other.posterior.lam, one.posterior.lam)
        if method != "probing":
            shift = -b.size * math.log(factor)
            assert other.posterior.log_evidence == pytest.approx(one.posterior.log_evidence + shift)


def test_far_out_matrix():
    A, b, _ = data(11)
    one = si.solve(A, b, si.L0(0.05), solver=si.SparseBayesian())
    far = si.solve(A * 2.0**200, b, si.L0(0.05), solver=si.SparseBayesian())
    np.testing.assert_array_equal(far.x * 2.0**200, one.x)
    np.testing.assert_array_equal(far.posterior.mean * 2.0**200, one.posterior.mean)
    np.testing.assert_array_equal(far.posterior.variance * 2.0**400, one.posterior.variance)
    np.testing.assert_array_equal(far.posterior.lam, one.posterior.lam * 2.0**400)


def test_noise_is_learned_where_rows_are_many():
    A, b, x = data(12, 200, 30, 5, noise=0.1)
    result = si.solve(A, b, si.L0(0.1), solver=si.SparseBayesian(learn_sigma=True))
    np.testing.assert_array_equal(result.support, np.flatnonzero(x))
    assert result.posterior.sigma == pytest.approx(0.1, rel=0.15)
    probed = si.solve(A, b, si.L0(0.1), solver=si.SparseBayesian("probing", learn_sigma=True, probes=30))
    assert probed.posterior.sigma == pytest.approx(0.1, rel=0.15)


def test_probing_agrees_with_the_covariance():
    A, b, x = data(13, 40, 60, 4)
    dense = si.solve(A, b, si.L0(0.05), solver=si.SparseBayesian("em", sigma=0.05)).posterior
    probed = si.solve(cases.Products(A), b, si.L0(0.05), solver=si.SparseBayesian(probes=64, sigma=0.05))
    big = x != 0
    np.testing.assert_array_equal(probed.support, np.flatnonzero(x))
    np.testing.assert_allclose(probed.posterior.mean[big], dense.mean[big], rtol=0.02)
    H = 0.05**2 * np.linalg.inv(A.T @ A + np.diag(probed.posterior.lam))
    np.testing.assert_allclose(probed.posterior.variance[big], np.diag(H)[big], rtol=0.1)
    np.testing.assert_allclose(probed.posterior.variance.sum(), np.trace(H), rtol=0.2)
    assert math.isnan(probed.posterior.log_evidence)


def test_containers_agree():
    from scipy.sparse import csc_array

    A, b, _ = data(14)
    A = A * (cases.generator(74).random(A.shape) < 0.5)
    dense = si.solve(A, b, si.L0(0.05), solver=si.SparseBayesian())
    sparse = si.solve(csc_array(A), b, si.L0(0.05), solver=si.SparseBayesian())
    np.testing.assert_array_equal(dense.support, sparse.support)
    np.testing.assert_allclose(dense.posterior.mean, sparse.posterior.mean, atol=1e-8)


def test_sigma_follows_the_level():
    A, b, _ = data(15)
    posterior = si.solve(A, b, si.L0(0.05), solver=si.SparseBayesian("mm")).posterior
    assert posterior.sigma == pytest.approx(math.sqrt(0.05 / math.log(50)), rel=1e-6)
    chosen = si.solve(A, b, si.L0(), solver=si.SparseBayesian("mm"))
    assert chosen.posterior.sigma == pytest.approx(chosen.selection.sigma, rel=1e-6)


def test_moduli_that_are_equal_need_mm():
    """delta = 1/2, +-1: m = 100, 37 non-zeros, where L1 has begun to fail."""
    found = 0
    for seed in range(6):
        rng = np.random.default_rng([3, seed])
        A, x = rng.standard_normal((100, 200)), np.zeros(200)
        x[rng.permutation(200)[:36]] = rng.choice([-1.0, 1.0], 36)
        b = A @ x
        result = si.solve(A, b, si.L0(1e-8 * b @ b / 200), solver=si.SparseBayesian("mm"))
        found += np.linalg.norm(result.x - x) < 1e-2 * np.linalg.norm(x)
    assert found >= 4


def test_only_zero_or_excluded_is_left():
    A, b, _ = data(16)
    zero = si.solve(A, b, si.L0(1e3), solver=si.SparseBayesian())
    assert not zero.x.any()
    assert zero.success
    dark = A.copy()
    dark[:, 5] = 0.0
    result = si.solve(dark, b, si.L0(0.05), solver=si.SparseBayesian())
    assert result.x[5] == 0
    assert result.posterior.lam[5] == np.inf
    assert result.success
    silent = si.solve(A, np.zeros(30), si.L0(0.05), solver=si.SparseBayesian())
    assert not silent.x.any()
    assert silent.success


def test_report_shows_the_posterior():
    A, b, _ = data(17)
    text = repr(si.solve(A, b, si.L0(0.05), solver=si.SparseBayesian("mm")))
    assert "posterior" in text
    assert "log evidence" in text
    assert "kept by the prior" in text


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda: si.SparseBayesian("MM"), ValueError, ["method is 'MM'", "probing"]),
        (lambda: si.SparseBayesian(sigma=-1.0), ValueError, ["sigma is -1", ">= 0"]),
        (lambda: si.SparseBayesian(learn_sigma=1), TypeError, ["learn_sigma is 1", "True or False"]),
        (lambda: si.SparseBayesian("greedy", learn_sigma=True), ValueError, ["greedy works at a given"]),
        (lambda: si.SparseBayesian(sigma=1.0, learn_sigma=True), ValueError, ["exclude each other"]),
        (lambda: si.SparseBayesian(probes=0), ValueError, ["probes is 0"]),
        (lambda: si.SparseBayesian(decay=1.5), ValueError, ["decay is 1.5"]),
    ],
)
def test_refusals(make, kind, words):
    with pytest.raises(kind) as error:
        make()
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize(
    ("solver", "penalty", "operator", "words"),
    [
        (si.SparseBayesian(), si.L2(1.0), False, ["needs an L0 penalty", "Ridge"]),
        (si.SparseBayesian(), si.L0(1.0, nonnegative=True), False, ["nonnegative=True", "IRL1"]),
        (si.SparseBayesian("mm"), si.L0(1.0), True, ["method='mm'", "columns of A in memory", "auto"]),
    ],
)
def test_refused_problems(solver, penalty, operator, words):
    A, b, _ = data(18)
    with pytest.raises(ValueError, match=words[0]) as error:
        si.solve(cases.Products(A) if operator else A, b, penalty, solver=solver)
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize("free", [False, True])
def test_probing_ends_with_the_mean_of_its_own_levels(free):
    rng = np.random.default_rng(0)
    A = rng.standard_normal((40, 80))
    b = A[:, :4].sum(axis=1) * 2 + 0.1 * rng.standard_normal(40)
    lam = np.full(80, 0.05)
    lam[0] = 0.0 if free else 0.05
    result = si.solve(A, b, si.L0(lam), solver=si.SparseBayesian(method="probing"))
    ridge = si.solve(A, b, si.L2(result.posterior.lam), tol=1e-12).x
    np.testing.assert_allclose(result.posterior.mean, ridge, atol=1e-4)


def test_free_coefficients_that_the_data_cannot_tell_have_infinite_variance():
    A = np.array([[1.0, 1.0, 1.0, 2.0], [0.0, 1.0, 1.0, 1.0]])
    result = si.solve(A, 2 * A[:, 1], si.L0([np.inf, 0.0045, 0.0, np.inf]), solver=si.SparseBayesian())
    assert np.isfinite(result.x).all()
    assert result.objective <= 0.0045 + 1e-9


@pytest.mark.parametrize("settings", [{}, {"sigma": 0.0}, {"learn_sigma": True}, {"method": "greedy"}])
def test_free_coefficients_that_explain_all_of_the_data_leave_nothing_to_learn(settings):
    A, weights = np.array([[2.0, 1.0, -1.0, 0.5]]), np.array([0.0, 1.0, 1.0, 1.0])
    result = si.solve(A, np.array([3.0]), si.L0(0.1, weights=weights), solver=si.SparseBayesian(**settings))
    assert result.success
    np.testing.assert_allclose(result.x, [1.5, 0.0, 0.0, 0.0], rtol=1e-12)


@pytest.mark.parametrize("gap", [1e-4, 1e-5, 1e-6])
@pytest.mark.parametrize("settings", [{}, {"sigma": 0.0}, {"method": "greedy"}, {"weighting": "evidence"}])
def test_columns_that_are_nearly_one_end_no_run(gap, settings):
    rng = np.random.default_rng(1)
    A = rng.standard_normal((10, 1)) + gap * rng.standard_normal((10, 12))
    b = A[:, 0] - A[:, 1] + 1e-3 * rng.standard_normal(10)
    solver = (si.IRL1 if "weighting" in settings else si.SparseBayesian)(**settings)
    result = si.solve(A, b, si.L0(1e-9 * 0.5 * (b @ b)), solver=solver, max_iter=300)
    assert np.isfinite(result.x).all()
    assert result.objective <= 0.5 * (b @ b)


@pytest.mark.parametrize("solver", [si.SparseBayesian(), si.SparseBayesian(method="greedy")])
def test_a_column_in_other_units_is_seen(solver):
    A = np.random.default_rng(5).standard_normal((25, 50))
    b = 2.0 * A[:, 3] - A[:, 11]
    A[:, 3] *= 1e-14
    assert si.solve(A, b, si.L0(0.02), solver=solver).support.tolist() == [3, 11]

"""Three-term AVO inversion: the linearised coefficients, the minimum, the refit, and problem A1."""

from __future__ import annotations

import math

import numpy as np
import pytest

import sparseinv as si
from sparseinv.problems import load_problem, run_problem
from sparseinv.seismic import avo_coefficients, invert_avo, ricker, snr_db

DT = 0.004
WAVELET, _, CENTER = ricker(30.0, DT)
ANGLES = np.linspace(0.0, 40.0, 6)
COVARIANCE = np.array([[1.0, 0.8, 0.32], [0.8, 1.44, 0.3], [0.32, 0.3, 0.16]]) * 0.01


def matrix(angles, samples, vs_vp=0.5):
    """Return the map from (3, samples) to the gather, written out from the equations."""
    W = np.zeros((samples, samples))
    for i in range(samples):
        for j in range(max(0, i - CENTER), min(samples, i + CENTER + 1)):
            W[i, j] = WAVELET[i - j + CENTER]
    g = np.broadcast_to(vs_vp, samples)
    rows = []
    for theta in np.deg2rad(angles):
        a = np.full(samples, 1 + np.tan(theta) ** 2)
        b = -8 * g**2 * np.sin(theta) ** 2
        c = 4 * g**2 * np.sin(theta) ** 2 - np.tan(theta) ** 2
        rows.append(np.hstack([W * a, W * b, W * c]))
    return np.vstack(rows)


def gather(samples=40, sigma=0.02, seed=0, vs_vp=0.5):
    rng = np.random.default_rng(seed)
    truth = np.zeros((3, samples))
    at = [8, 17, 20, 31]
    truth[:, at] = np.linalg.cholesky(COVARIANCE) @ rng.standard_normal((3, 4))
    clean = (matrix(ANGLES, samples, vs_vp) @ truth.ravel()).reshape(ANGLES.size, samples)
    return truth, clean + sigma * rng.standard_normal(clean.shape)


def test_coefficients_are_those_of_aki_and_richards():
    """The terms of Fatti in impedances are the classical ones in velocities and density."""
    rng = np.random.default_rng(0)
    dvp, dvs, drho = rng.standard_normal((3, 20))  # relative changes
    for g in (0.3, 0.5, 0.65):
        theta = np.deg2rad(ANGLES)[:, None]
        classical = (
            0.5 * (1 + np.tan(theta) ** 2) * dvp
            - 4 * g**2 * np.sin(theta) ** 2 * dvs
            + 0.5 * (1 - 4 * g**2 * np.sin(theta) ** 2) * drho
        )
        triples = 0.5 * np.stack([dvp + drho, dvs + drho, drho])
        np.testing.assert_allclose(avo_coefficients(ANGLES, g) @ triples, classical, atol=1e-13)
    per_sample = avo_coefficients(ANGLES, np.array([0.3, 0.5]))
    np.testing.assert_array_equal(per_sample[:, :, 1], avo_coefficients(ANGLES, 0.5))


@pytest.mark.parametrize("vs_vp", [0.5, "per sample"])
def test_reaches_the_minimum_of_cvxpy(vs_vp):
    cp = pytest.importorskip("cvxpy")
    ratio = np.linspace(0.4, 0.6, 30) if vs_vp == "per sample" else vs_vp
    _, data = gather(40, vs_vp=0.5)
    data = data[:, :30]
    lam = 0.02
    answer = invert_avo(data, WAVELET, DT, ANGLES, si.L1(lam), covariance=COVARIANCE, vs_vp=ratio, tol=1e-10)
    A, inverse_root = matrix(ANGLES, 30, ratio), np.linalg.inv(np.linalg.cholesky(COVARIANCE))
    Y = cp.Variable((3, 30))  # of unit covariance
    whitened = A @ np.kron(np.linalg.cholesky(COVARIANCE), np.eye(30))
    misfit = 0.5 * cp.sum_squares(whitened @ cp.vec(Y, order="C") - data.ravel())
    problem = cp.Problem(cp.Minimize(misfit + lam * cp.sum(cp.norm(Y, 2, axis=0))))
    tight = dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), 1e-10)
    least = problem.solve(solver="CLARABEL", **tight)
    x = answer.reflectivity
    value = 0.5 * np.sum((A @ x.ravel() - data.ravel()) ** 2)
    value += lam * np.linalg.norm(inverse_root @ x, axis=0).sum()
    assert answer.success
    assert value <= least * (1 + 1e-7)
    assert answer.rule == "given"
    np.testing.assert_array_equal(answer.lam, [lam])


def test_gaussian_prior_is_one_linear_system():
    _, data = gather()
    answer = invert_avo(
        data, WAVELET, DT, ANGLES, si.L2(0.3), coupled=False, covariance=COVARIANCE, refit=False, tol=1e-12
    )
    A = matrix(ANGLES, 40)
    precision = np.kron(np.linalg.inv(COVARIANCE), np.eye(40))
    expected = np.linalg.solve(A.T @ A + 0.3 * precision, A.T @ data.ravel())
    np.testing.assert_allclose(answer.reflectivity.ravel(), expected, rtol=1e-6, atol=1e-8)


def test_triples_share_their_times_and_the_refit_is_the_conditional_mean():
    _, data = gather()
    answer = invert_avo(data, WAVELET, DT, ANGLES, covariance=COVARIANCE, select=si.Pivotal(alpha=0.05))
    live = answer.reflectivity != 0
    np.testing.assert_array_equal(live, np.broadcast_to(live[0], live.shape))
    index = np.flatnonzero(live)
    A = matrix(ANGLES, 40)[:, index]
    precision = np.kron(np.linalg.inv(COVARIANCE), np.eye(int(live[0].sum())))
    expected = np.linalg.solve(A.T @ A + answer.sigma[0] ** 2 * precision, A.T @ data.ravel())
    np.testing.assert_allclose(answer.refitted.ravel()[index], expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(answer.fit.ravel(), A @ expected, atol=1e-6)
    np.testing.assert_array_equal(answer.rs, answer.reflectivity[1])
    assert answer.sigma[0] == pytest.approx(0.02, rel=0.3)


def test_exact_data_come_back_and_many_gathers_are_each_their_own():
    truth, data = gather(sigma=0.0)
    other = gather(sigma=0.0, seed=1)[1]
    answer = invert_avo(np.stack([data, other]), WAVELET, DT, ANGLES, covariance=COVARIANCE, tol=1e-9)
    assert answer.reflectivity.shape == (2, 3, 40)
    assert answer.fit.shape == (2, 6, 40)
    assert answer.success
    assert snr_db(truth[0], answer.rp[0]) > 20.0
    assert min(map(snr_db, truth, answer.refitted[0])) > 15.0  # density too
    alone = invert_avo(other, WAVELET, DT, ANGLES, covariance=COVARIANCE, tol=1e-9)
    np.testing.assert_allclose(answer.reflectivity[1], alone.reflectivity, atol=1e-6)


def test_a_wavelet_for_each_angle_and_no_matrix(monkeypatch):
    _, data = gather()
    stretched = np.stack([WAVELET] * ANGLES.size)
    first = invert_avo(data, WAVELET, DT, ANGLES, si.L1(0.05), offset=CENTER)
    monkeypatch.setattr("sparseinv.seismic.avo._LARGEST", 0)
    second = invert_avo(data, stretched, DT, ANGLES, si.L1(0.05), offset=CENTER)
    assert second.success
    assert second.results[0].products.columns == 0
    assert second.results[0].objective == pytest.approx(first.results[0].objective, rel=1e-5)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"traces": np.ones(9)}, ValueError, "traces has shape"),
        ({"traces": np.ones((2, 9)) * 1j}, TypeError, "traces is complex"),
        ({"angles": [0.0]}, ValueError, "angles has 1 entries"),
        ({"angles": [0.0, 95.0]}, ValueError, "outside 0 <= theta < 90"),
        ({"vs_vp": 1.5}, ValueError, "vs_vp must lie"),
        ({"vs_vp": [0.5, 0.5]}, ValueError, "vs_vp has 2 entries"),
        ({"wavelet": np.zeros(3)}, ValueError, "wavelet is zero"),
        ({"wavelet": np.ones((3, 3))}, ValueError, "wavelet has shape"),
        ({"covariance": [[1, 2], [2, 1]]}, ValueError, "covariance has shape"),
        ({"covariance": np.triu(np.ones((3, 3)))}, ValueError, "not symmetric"),
        ({"covariance": [1.0, -1.0, 1.0]}, ValueError, "not positive definite"),
        ({"penalty": si.L2()}, ValueError, "norms of triples need L1"),
        ({"penalty": si.L0Ball(2)}, TypeError, "with a level"),
        ({"dt": -1.0}, ValueError, "dt is -1"),
    ],
)
def test_refusals(change, error, words):
    good = {"traces": np.ones((2, 9)), "wavelet": np.ones(3), "dt": DT, "angles": [0.0, 20.0]}
    with pytest.raises(error, match=words):
        invert_avo(**(good | change))


def test_numbered_problem():
    demo = run_problem("A1", size="s")
    assert demo.certified
    assert all(goal.met for goal in demo.goals), [str(goal) for goal in demo.goals]
    case = load_problem("A1", size="s")
    result = si.solve(case.A, case.b, case.penalty)
    assert result.success
    assert case.score(result.x)["Rrho [dB]"] > 2.0
    assert min(case.score(case.truth).values()) > 200.0
    assert case.truth.size == math.prod(case.dims)


def test_a_level_that_time_did_not_allow_to_choose_is_not_called_given() -> None:
    gather = np.random.default_rng(0).standard_normal((2, 4, 60))
    gather[0] = 0.0
    angles = np.linspace(0.0, 30.0, 4)
    wavelet = ricker(30.0, 0.004)[0]
    assert "not chosen yet" in invert_avo(gather, wavelet, 0.004, angles, max_time=1e-9).rule
    assert "gather by gather; the strongest: pivotal" in invert_avo(gather, wavelet, 0.004, angles).rule
    assert invert_avo(gather, wavelet, 0.004, angles, si.L1(0.1)).rule == "given"

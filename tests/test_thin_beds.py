"""Layers of two reflectors: the dictionary, its inversion, and the wedge problem."""

from __future__ import annotations

import math

import numpy as np
import pytest

import sparseinv as si
from sparseinv.problems import load_problem, run_problem
from sparseinv.seismic import LayerPairs, deconvolve, deconvolve_layers, ricker, snr_db

DT = 0.002
WAVELET, _, CENTER = ricker(30.0, DT)


def dictionary(samples, thickest):
    """Return the pairs of spikes one by one."""
    out = np.zeros((samples, 2, thickest, samples))
    for n in range(1, thickest + 1):
        for top in range(samples):
            for kind, sign in ((0, 1.0), (1, -1.0)):
                out[top, kind, n - 1, top] = 1.0
                if top + n < samples:
                    out[top + n, kind, n - 1, top] = sign
    return out.reshape(samples, -1)


def blurred(r):
    return np.convolve(r, WAVELET)[CENTER : CENTER + r.size]


@pytest.mark.parametrize(("samples", "thickest"), [(9, 3), (7, 6), (2, 1)])
def test_operator_is_its_dictionary(samples, thickest):
    P, dense = LayerPairs(samples, thickest), dictionary(samples, thickest)
    n = dense.shape[1]
    np.testing.assert_array_equal(P.matmat(np.eye(n)), dense)
    np.testing.assert_array_equal(P.rmatmat(np.eye(samples)), dense.T)
    np.testing.assert_array_equal(P.columns(np.arange(n)), dense)
    np.testing.assert_array_equal(P.columns(np.array([-1])), dense[:, -1:])
    np.testing.assert_allclose(P.column_norms(), np.linalg.norm(dense, axis=0))
    norm = np.linalg.norm(dense, 2)
    assert norm <= P.norm_bound() * (1 + 1e-12)
    rng = np.random.default_rng(0)
    for dtype in (np.float32, np.float64, np.complex64, np.complex128):
        x, y = rng.standard_normal(n).astype(dtype), rng.standard_normal(samples).astype(dtype)
        if np.iscomplexobj(x):
            x, y = x * dtype(1 + 2j), y * dtype(2 - 1j)
        assert (P @ x).dtype == dtype == (P.H @ y).dtype
        assert np.vdot(y, P @ x) == pytest.approx(np.vdot(P.H @ y, x), rel=1e-5, abs=1e-5)


def test_norm_bound_is_reached_by_long_traces():
    assert np.linalg.norm(dictionary(80, 5), 2) == pytest.approx(LayerPairs(80, 5).norm_bound(), rel=0.01)


def test_reaches_the_minimum_of_cvxpy_with_weights_by_what_layers_show():
    cp = pytest.importorskip("cvxpy")
    r = np.zeros(40)
    r[[12, 15, 30]] = 1.0, -1.0, 0.5
    data = blurred(r) + 0.02 * np.random.default_rng(0).standard_normal(40)
    answer = deconvolve_layers(data, WAVELET, DT, 0.010, si.L1(0.05), tol=1e-9)
    W = np.stack([blurred(row) for row in np.eye(40)], axis=1)
    A = W @ dictionary(40, 5)
    g = np.linalg.norm(A, axis=0) / np.linalg.norm(WAVELET)
    z = cp.Variable(A.shape[1])
    problem = cp.Problem(cp.Minimize(0.5 * cp.sum_squares(A @ z - data) + 0.05 * (g @ cp.abs(z))))
    tight = dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), 1e-10)
    least = problem.solve(solver="CLARABEL", **tight)
    x = answer.coefficients.ravel()
    value = 0.5 * np.sum((A @ x - data) ** 2) + 0.05 * g @ np.abs(x)
    assert answer.success
    assert value <= least * (1 + 1e-6)
    np.testing.assert_allclose(answer.reflectivity, dictionary(40, 5) @ x, atol=1e-10)
    assert answer.coefficients.shape == (1, 2, 5, 40)


def test_layers_resolve_a_bed_that_spikes_do_not():
    truth = np.zeros((2, 80))
    truth[0, [40, 41]] = 1.0, -1.0
    truth[1, [40, 42]] = 1.0, 1.0
    clean = np.stack([blurred(r) for r in truth])
    noise = 0.01 * np.abs(clean).max(axis=1, keepdims=True)
    data = clean + noise * np.random.default_rng(1).standard_normal(clean.shape)
    layers = deconvolve_layers(data, WAVELET, DT, 0.012)
    spikes = deconvolve(data, WAVELET, DT)
    assert layers.success
    assert min(map(snr_db, truth, layers.reflectivity)) > 10.0
    assert snr_db(truth[0], spikes.reflectivity[0]) < 5.0
    assert layers.reflectivity.shape == layers.refitted.shape == layers.fit.shape == (2, 80)


def test_without_a_matrix_the_answer_is_the_same(monkeypatch):
    r = np.zeros(60)
    r[[25, 28]] = 1.0, -0.7
    data = blurred(r) + 0.05 * np.random.default_rng(2).standard_normal(60)
    first = deconvolve_layers(data, WAVELET, DT, 0.008, si.L1(0.2))
    monkeypatch.setattr("sparseinv.seismic.thin_beds._LARGEST", 1000)
    second = deconvolve_layers(data, WAVELET, DT, 0.008, si.L1(0.2))
    assert second.success
    assert second.results[0].objective == pytest.approx(first.results[0].objective, rel=1e-5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"thickest": 0.0}, "thickest is 0"),
        ({"thickest": 1.0}, "holds layers up to 8"),
        ({"penalty": si.L1(weights=np.ones(36))}, "would replace them"),
        ({"traces": np.zeros((1, 2, 3))}, "traces has shape"),
    ],
)
def test_refusals(change, words):
    good = {"traces": np.ones((2, 9)), "wavelet": np.ones(3), "dt": DT, "thickest": 0.004}
    with pytest.raises(ValueError, match=words):
        deconvolve_layers(**(good | change))
    for samples, thickest in ((1, 1), (4, 4), (4, 0)):
        with pytest.raises(ValueError, match=r"samples is|thickest is"):
            LayerPairs(samples, thickest)


def test_numbered_problem():
    demo = run_problem("W1", size="s")
    assert demo.certified
    assert all(goal.met for goal in demo.goals), [str(goal) for goal in demo.goals]
    case = load_problem("W1", size="s")
    result = si.solve(case.A, case.b, case.penalty, tol=1e-5)
    assert result.success
    assert math.isfinite(case.score(result.x)["SNR [dB]"])

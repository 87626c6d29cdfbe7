"""Sparse-spike deconvolution of gathers, noise of a colour, and the numbered problems built on them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import sparseinv as si
from sparseinv.operators import Convolution
from sparseinv.problems import load_problem, run_problem
from sparseinv.seismic import (
    blind_deconvolve,
    colored_noise,
    deconvolve,
    match_wavelets,
    read_su,
    ricker,
    score_spikes,
    snr_db,
    sparse_spikes,
    statistical_wavelet,
)

DATA = Path(__file__).resolve().parent.parent / "../shared/data"
DT = 0.004
WAVELET, _, CENTER = ricker(30.0, DT)


def gather(traces, samples, spikes, sigma, seed=0):
    rng = np.random.default_rng(seed)
    truth = sparse_spikes(samples, spikes, traces, min_gap=5, rng=rng)
    clean = np.stack([np.convolve(r, WAVELET)[CENTER : CENTER + samples] for r in truth])
    return truth, clean + sigma * rng.standard_normal(clean.shape)


def matrix(samples, wavelet=WAVELET, offset=CENTER):
    """Return the convolution as a plain matrix, entry by entry."""
    out = np.zeros((samples, samples))
    for i in range(samples):
        for j in range(samples):
            if 0 <= i - j + offset < wavelet.size:
                out[i, j] = wavelet[i - j + offset]
    return out


def cvxpy_minimum(expression):
    cp = pytest.importorskip("cvxpy")
    problem = cp.Problem(cp.Minimize(expression))
    tight = dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), 1e-12)
    return problem.solve(solver="CLARABEL", **tight)


# ------------------------------------------------------------------------------------------ separate traces


def test_each_trace_reaches_the_minimum_of_cvxpy():
    cp = pytest.importorskip("cvxpy")
    _, data = gather(3, 60, 4, 0.1)
    lams = np.array([0.3, 0.6, 0.2])
    answer = deconvolve(data, WAVELET, DT, lams=lams, tol=1e-10)
    W = matrix(60)
    for trace, x, lam, result in zip(data, answer.reflectivity, lams, answer.results, strict=True):
        z = cp.Variable(60)
        least = cvxpy_minimum(0.5 * cp.sum_squares(W @ z - trace) + lam * cp.norm1(z))
        value = 0.5 * np.sum((W @ x - trace) ** 2) + lam * np.abs(x).sum()
        assert value <= least * (1 + 1e-8)
        assert result.objective == pytest.approx(value, rel=1e-12)
    assert answer.success
    np.testing.assert_allclose(answer.lam, lams)
    assert answer.rule == "given, one level per trace"


def test_level_per_sample_and_zero_weights():
    _, data = gather(2, 80, 4, 0.1)
    lam = np.full(80, 0.4)
    lam[:20], lam[60:] = math.inf, 0.0
    answer = deconvolve(data, WAVELET, DT, si.L1(lam))
    assert not answer.reflectivity[:, :20].any()
    W = matrix(80)
    for x, trace in zip(answer.reflectivity, data, strict=True):
        pull = np.abs(W.T @ (W @ x - trace))
        assert pull[20:60].max() <= 0.4 + 1e-4
        assert pull[60:].max() <= 1e-3  # what is not penalised is fitted by least squares
    np.testing.assert_array_equal(answer.lam, [1.0, 1.0])


def test_refit_is_least_squares_with_the_signs_of_the_answer():
    cp = pytest.importorskip("cvxpy")
    _, data = gather(2, 70, 5, 0.15)
    answer = deconvolve(data, WAVELET, DT, si.L1(0.3))
    W = matrix(70)
    for x, y, trace in zip(answer.reflectivity, answer.refitted, data, strict=True):
        live = np.flatnonzero(x)
        assert not y[x == 0].any()
        assert (y[live] * np.sign(x[live]) >= 0).all()
        z = cp.Variable(live.size, nonneg=True)
        least = cvxpy_minimum(cp.sum_squares((W[:, live] * np.sign(x[live])) @ z - trace))
        assert np.sum((W @ y - trace) ** 2) <= least * (1 + 1e-7)
    np.testing.assert_allclose(answer.fit, answer.refitted @ W.T, atol=1e-12)


def test_refit_beyond_the_reach_of_the_wavelet_is_local():
    """Spikes that do not meet are fitted apart: the same numbers as all at once."""
    truth = np.zeros(5000)
    truth[[0, 3, 700, 702, 3300, 4999]] = 2.0, -1.0, 1.0, 1.5, -2.0, 1.0
    A = Convolution(5000, WAVELET, offset=CENTER)
    data = A @ truth
    answer = deconvolve(data, WAVELET, DT, si.L1(0.05))
    live = np.flatnonzero(answer.reflectivity)
    assert set(np.flatnonzero(truth)) <= set(live)
    np.testing.assert_allclose(answer.fit, data, atol=1e-6)


def test_exact_data_come_back():
    truth, data = gather(4, 120, 5, 0.0)
    answer = deconvolve(data, WAVELET, DT)
    assert answer.success
    assert snr_db(truth, answer.refitted) > 60.0
    assert score_spikes(truth, answer.refitted, tolerance=0, threshold=1e-3).f1 == 1.0


def test_l0_finds_fewer_and_better_spikes_than_l1():
    truth, data = gather(4, 128, 6, 0.05)
    few, many = deconvolve(data, WAVELET, DT, si.L0()), deconvolve(data, WAVELET, DT)
    assert np.count_nonzero(few.reflectivity) < np.count_nonzero(many.reflectivity)
    assert snr_db(truth, few.reflectivity) > snr_db(truth, many.reflectivity)
    np.testing.assert_allclose(few.refitted, few.reflectivity, rtol=1e-6, atol=1e-9)
    assert np.isfinite(few.sigma).all()
    assert few.sigma == pytest.approx(0.05, rel=0.4)


def test_one_level_for_all_traces_and_dead_traces():
    _, data = gather(6, 100, 4, 0.1)
    data[2] = 0.0
    own, one = deconvolve(data, WAVELET, DT), deconvolve(data, WAVELET, DT, common=True)
    live = np.arange(6) != 2
    assert one.lam == pytest.approx(np.full(6, np.median(own.lam[live])))
    assert "median of the levels of 5 traces" in one.rule
    assert not one.reflectivity[2].any()
    assert one.success
    silent = deconvolve(np.zeros((2, 50)), WAVELET, DT, common=True)
    assert not silent.reflectivity.any()
    assert silent.success


def test_a_rule_of_the_users():
    _, data = gather(3, 100, 4, 0.2)
    answer = deconvolve(data, WAVELET, DT, select=si.Discrepancy(sigma=0.2), refit=False)
    misfit = np.linalg.norm(answer.fit - data, axis=1)
    np.testing.assert_allclose(misfit, 0.2 * math.sqrt(100), rtol=1e-4)
    assert answer.refitted is not None
    np.testing.assert_array_equal(answer.refitted, answer.reflectivity)
    assert "trace by trace" in answer.rule


@pytest.mark.parametrize("scale", [1e-20, 1e20])
def test_amplitudes_carry_no_meaning(scale):
    _, data = gather(2, 80, 4, 0.1)
    first, second = deconvolve(data, WAVELET, DT), deconvolve(scale * data, WAVELET, DT)
    np.testing.assert_allclose(second.refitted, scale * first.refitted, rtol=1e-6, atol=1e-9 * scale)


def test_one_trace_keeps_its_shape_and_offset_its_meaning():
    truth = np.zeros(60)
    truth[[20, 40]] = 1.0, -2.0
    causal = np.array([1.0, 0.6, 0.2])
    answer = deconvolve(np.convolve(truth, causal)[:60], causal, DT, offset=0)
    assert answer.reflectivity.shape == answer.fit.shape == (60,)
    np.testing.assert_allclose(answer.refitted, truth, atol=1e-9)
    assert "spikes in 1 traces" in repr(answer)


@pytest.mark.skipif(not DATA.is_dir(), reason="no field data at ../shared/data")
def test_a_stacked_section_from_the_field():
    section, source = read_su(DATA / "small_stack.su"), read_su(DATA / "wavelet_for_small_stack.su")
    wavelet = source.traces[0].astype(float)
    answer = deconvolve(section.traces, wavelet, section.dt, si.L1(0.55))
    assert answer.success
    assert answer.reflectivity.dtype == np.float32  # as the file holds
    total = sum(result.objective for result in answer.results)
    assert total <= 31.54  # where twenty iterations of reweighted least squares end
    W = matrix(section.traces.shape[1], wavelet, wavelet.size // 2)
    x = np.stack([result.x for result in answer.results])
    value = 0.5 * np.sum((x @ W.T - section.traces) ** 2) + 0.55 * np.abs(x).sum()
    assert value == pytest.approx(total, rel=1e-9)
    np.testing.assert_array_equal(answer.reflectivity, x.astype(np.float32))


# ------------------------------------------------------------------------------------------- coupled traces


def test_coupled_traces_reach_the_minimum_of_cvxpy():
    cp = pytest.importorskip("cvxpy")
    _, data = gather(3, 40, 3, 0.1)
    lam = np.linspace(0.4, 0.8, 40)
    answer = deconvolve(data, WAVELET, DT, si.L1(lam), coupled=True, tol=1e-9)
    W, Z = matrix(40), cp.Variable((3, 40))
    misfit = 0.5 * cp.sum_squares(Z @ W.T - data)
    least = cvxpy_minimum(misfit + cp.sum(cp.multiply(lam, cp.norm(Z, 2, axis=0))))
    x = answer.reflectivity
    value = 0.5 * np.sum((x @ W.T - data) ** 2) + lam @ np.linalg.norm(x, axis=0)
    assert answer.success
    assert value <= least * (1 + 1e-7)
    shared = (x != 0).any(axis=0)
    assert ((x != 0) == shared).all()  # a reflector is in all traces or in none


def test_coupling_finds_what_single_traces_miss_and_delays_flatten():
    rng = np.random.default_rng(3)
    place, delays = np.array([20, 50, 57, 90]), np.arange(12) * 2
    truth = np.zeros((12, 128))
    for trace, delay in zip(truth, delays, strict=True):
        trace[place + delay] = rng.uniform(0.5, 1.5, 4) * [1, -1, 1, 1]
    clean = Convolution(128, WAVELET, offset=CENTER).matmat(truth.T).T
    data = clean + 0.3 * rng.standard_normal(clean.shape)
    single = deconvolve(data, WAVELET, DT)
    bent = deconvolve(data, WAVELET, DT, coupled=True)
    flat = deconvolve(data, WAVELET, DT, coupled=True, delays=delays * DT)
    assert snr_db(truth, flat.reflectivity) > snr_db(truth, single.reflectivity) + 1.0
    assert snr_db(truth, flat.reflectivity) > snr_db(truth, bent.reflectivity) + 1.0
    assert len(flat.results) == 1
    assert flat.lam.shape == (12,)
    # delaying all traces by the same time changes nothing
    later = deconvolve(data, WAVELET, DT, coupled=True, delays=delays * DT + 0.1)
    np.testing.assert_array_equal(later.reflectivity, flat.reflectivity)


# --------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"traces": np.zeros((2, 3, 4))}, ValueError, "traces has shape"),
        ({"traces": np.full((1, 9), np.nan)}, ValueError, "traces contains nan"),
        ({"traces": np.ones(9) * 1j}, TypeError, "traces is complex"),
        ({"wavelet": np.zeros(3)}, ValueError, "wavelet is zero"),
        ({"wavelet": np.ones(3) * 1j}, TypeError, "wavelet is complex"),
        ({"dt": 0.0}, ValueError, "dt is 0"),
        ({"offset": 7}, ValueError, "offset is 7"),
        ({"penalty": si.L0Ball(2)}, TypeError, "one with a level"),
        ({"penalty": si.L1}, TypeError, "penalty is the class"),
        ({"penalty": si.GroupL1(1.0, groups=[0, 1])}, ValueError, "coupled=True"),
        ({"penalty": si.L0(), "coupled": True}, ValueError, "coupled traces need L1"),
        ({"coupled": True, "common": True}, ValueError, "share one level"),
        ({"coupled": True, "delays": [0.0]}, ValueError, "delays has shape"),
        ({"delays": [0.0, 0.0]}, ValueError, "only coupled traces"),
        ({"common": True, "penalty": si.L1(0.1)}, ValueError, "the level is given"),
        ({"lams": [0.1, 0.1], "select": si.SURE()}, ValueError, "both set the levels"),
        ({"select": "sure"}, TypeError, "select"),
    ],
)
def test_refusals(change, error, words):
    good = {"traces": np.ones((2, 9)), "wavelet": np.ones(3), "dt": DT}
    with pytest.raises(error, match=words):
        deconvolve(**(good | change))


# ------------------------------------------------------------------------------------------------------ noise


def test_noise_has_the_stated_deviation_everywhere_and_the_spectrum_asked_for():
    noise = colored_noise((4000, 50), DT, wavelet=WAVELET, sigma=0.3, rng=1)
    np.testing.assert_allclose(noise.std(axis=0), 0.3, rtol=0.06)  # the ends like the middle
    lag = noise[:, :-3] * noise[:, 3:]
    expected = 0.09 * np.sum(WAVELET[:-3] * WAVELET[3:]) / np.sum(WAVELET**2)
    assert lag.mean() == pytest.approx(expected, abs=0.004)
    band = colored_noise((20, 2000), DT, band=(10, 15, 30, 40), rng=2)
    power = np.abs(np.fft.rfft(band * np.hanning(2000), axis=-1)) ** 2
    f = np.fft.rfftfreq(2000, DT)
    outside = power[:, (f < 8) | (f > 42)].sum() / power.sum()
    assert outside < 2e-3
    assert band.std() == pytest.approx(1.0, rel=0.05)
    np.testing.assert_array_equal(colored_noise(9, DT, band=(1, 2, 3, 4), rng=5).shape, (9,))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "pass one of the two"),
        ({"wavelet": WAVELET, "band": (1, 2, 3, 4)}, "pass one of the two"),
        ({"wavelet": np.zeros(4)}, "not zero"),
        ({"band": (1, 2, 3)}, "four corner"),
        ({"wavelet": WAVELET, "sigma": -1.0}, "sigma is -1"),
    ],
)
def test_noise_refuses(options, words):
    with pytest.raises(ValueError, match=words):
        colored_noise((2, 3), DT, **options)


# ----------------------------------------------------------------------------------------- unknown wavelets


def blind_case(sigma, seed=0, traces=6, samples=80):
    rng = np.random.default_rng(seed)
    truth = sparse_spikes(samples, 4, traces, min_gap=4, rng=rng)
    wavelet = np.convolve(ricker(30.0, DT, 0.1)[0], [1.0, -0.6])  # neither symmetric nor of minimum phase
    clean = np.stack([np.convolve(r, wavelet)[13 : 13 + samples] for r in truth])
    scale = np.sqrt(np.mean(clean**2))
    return truth, wavelet, clean + sigma * scale * rng.standard_normal(clean.shape)


def test_blind_finds_the_wavelet_and_says_so():
    truth, wavelet, data = blind_case(0.05)
    answer = blind_deconvolve(data, DT, 0.12)
    match = match_wavelets(wavelet, answer.wavelet)
    # the two have different middles: only a shift is left to be found
    assert match.correlation > 0.97
    assert answer.trusted, answer.verdict
    assert answer.deconvolution.success
    assert answer.wavelet.max() == 1.0
    assert answer.wavelet.size == 2 * answer.center + 1 == 31
    assert answer.snr == pytest.approx(26.0, abs=4.0)
    shift = match.shift + answer.center - 13
    found = np.roll(answer.deconvolution.refitted, -shift, axis=1) / match.factor
    assert snr_db(truth[:, 10:-10], found[:, 10:-10]) > 8.0
    assert "trusted" in repr(answer)


def test_blind_turns_down_what_it_cannot_know():
    _, _, noisy = blind_case(1.2)
    answer = blind_deconvolve(noisy, DT, 0.12, max_iter=20)
    assert not answer.trusted
    assert "SNR" in answer.verdict or "correlate" in answer.verdict
    noise = np.random.default_rng(1).standard_normal((6, 80))
    assert not blind_deconvolve(noise, DT, 0.12, max_iter=20).trusted
    _, _, data = blind_case(0.05)
    one = blind_deconvolve(data[:1], DT, 0.12, max_iter=20)
    assert not one.trusted
    assert math.isnan(one.stability)
    assert "one trace" in one.verdict


def test_blind_depends_on_nothing_but_the_shape_of_the_traces():
    _, _, data = blind_case(0.1)
    first = blind_deconvolve(data, DT, 0.12, max_iter=10)
    second = blind_deconvolve(-1e6 * data, DT, 0.12, max_iter=10)
    assert second.stability == pytest.approx(first.stability, abs=1e-6)
    np.testing.assert_allclose(second.wavelet, first.wavelet, atol=1e-6)
    np.testing.assert_allclose(second.objectives, 1e12 * first.objectives, rtol=1e-6)


def test_wavelets_match_but_for_shift_sign_and_size():
    rng = np.random.default_rng(0)
    w = np.concatenate([np.zeros(5), rng.standard_normal(9), np.zeros(5)])
    match = match_wavelets(w, -3.0 * np.roll(w, 4))
    assert match.correlation == pytest.approx(1.0)
    assert match.shift == -4
    assert match.factor == pytest.approx(-1.0 / 3.0)
    r = rng.standard_normal((2, 30))
    r[:, :6] = r[:, -6:] = 0.0
    # d = w * r = other * (other's r): aligned gives r back
    np.testing.assert_allclose(match.aligned(np.roll(r, -4, axis=1) * match.factor), r)
    for bad in (np.zeros(3), np.ones((2, 2)), np.ones(3) * 1j):
        with pytest.raises(ValueError, match="truth has shape"):
            match_wavelets(bad, w)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"traces": np.zeros((2, 80))}, "all zero"),
        ({"duration": 0.4}, "shorter than a trace"),
        ({"duration": -1.0}, "duration is -1"),
        ({"phases": ()}, "at least one finite angle"),
        ({"ridge": 0.0}, "ridge is 0"),
        ({"max_iter": 0}, "max_iter is 0"),
    ],
)
def test_blind_refuses(change, words):
    good = {"traces": np.ones((2, 80)), "dt": DT, "duration": 0.1}
    with pytest.raises(ValueError, match=words):
        blind_deconvolve(**(good | change))
    if "traces" in change:
        with pytest.raises(ValueError, match=words):
            statistical_wavelet(change["traces"], DT, 0.1)


# ---------------------------------------------------------------------------------------- numbered problems


@pytest.mark.parametrize("number", ["D5", "D6"])
def test_numbered_problem(number):
    demo = run_problem(number, size="s")
    assert demo.certified
    assert all(goal.met for goal in demo.goals), [str(goal) for goal in demo.goals]
    case = load_problem(number, size="s")
    result = si.solve(case.A, case.b, case.penalty, tol=1e-5)
    assert case.truth is not None
    assert result.success
    assert case.score(result.x)["SNR [dB]"] > 3.0
    assert case.score(case.truth)["SNR [dB]"] == math.inf
    assert case.truth.size == math.prod(case.dims) == case.A.shape[1]

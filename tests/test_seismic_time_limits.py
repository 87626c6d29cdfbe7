"""Methods of the seismic package that a limit of time cuts off: the best so far, and nothing called more."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

import sparseinv as si
from sparseinv.operators import Blending, Convolution, RealFFT
from sparseinv.seismic import (
    antileakage,
    blind_deconvolve,
    deblend,
    fill_traces,
    linear_events,
    mwni,
    ricker,
    robust_deconvolve,
    snr_db,
    sparse_spikes,
    time_frequency,
    time_limit,
)

DT = 0.004
WAVELET, _, CENTER = ricker(30.0, DT)
EVENT = {"times": [0.08], "slopes": [3e-4], "amplitudes": [1.0], "f0": 25.0}
GATHER = linear_events(64, DT, 10.0 * np.arange(32), **EVENT)
LIVE = np.random.default_rng(0).random(32) < 0.7
FIRED = 0.08 + 0.2 * np.arange(8) + np.random.default_rng(0).uniform(-0.08, 0.08, 8)
SHOTS = linear_events(100, DT, range(8), times=[0.1], slopes=[0.0], amplitudes=[1], f0=25)
RECORD = Blending((8, 100), FIRED, DT) @ SHOTS.ravel()
T = DT * np.arange(150)
BURSTS = sum(
    np.exp(-0.5 * ((T - at) / 0.04) ** 2) * np.cos(2 * np.pi * f * T) for at, f in ((0.2, 20.0), (0.4, 35.0))
)


def traces(count=6, samples=100):
    truth = sparse_spikes(samples, 4, n_traces=count, min_gap=8, rng=0)
    clean = np.array([np.convolve(r, WAVELET)[CENTER : CENTER + samples] for r in truth])
    return clean + 0.01 * np.random.default_rng(1).standard_normal(clean.shape)


PLACES = np.random.default_rng(0).uniform(0.0, 310.0, 24)
SCATTERED = linear_events(64, DT, PLACES, **EVENT)

#: name of each method: a call that takes its limit
METHODS = {
    "robust": lambda **limit: robust_deconvolve(traces(), WAVELET, DT, offset=CENTER, **limit),
    "blind": lambda **limit: blind_deconvolve(traces(), DT, 0.1, phases=(0.0, 90.0), **limit),
    "deblend": lambda **limit: deblend(RECORD, FIRED, DT, 100, window=(8, 50), **limit),
    "deblend at a level": lambda **limit: deblend(RECORD, FIRED, DT, 100, window=(8, 50), lam=0.01, **limit),
    "antileakage": lambda **limit: antileakage(
        SCATTERED, PLACES, DT, np.arange(10.0, 300.0, 10.0), max_wavenumber=0.02, **limit
    ),
    "mwni": lambda **limit: mwni(GATHER, LIVE, DT, **limit),
    "fill": lambda **limit: fill_traces(GATHER, LIVE, RealFFT(GATHER.shape, sizes=(64, 64)).H, **limit),
    "bursts": lambda **limit: time_frequency(BURSTS, DT, np.arange(10.0, 60.0, 5.0), **limit),
    "bursts at a level": lambda **limit: time_frequency(
        BURSTS, DT, np.arange(10.0, 60.0, 5.0), lam=0.1, **limit
    ),
}


def results_of(answer):
    """Return the last result of every problem that an answer consists of."""
    if hasattr(answer, "result"):
        return [answer.result]
    results = answer.deconvolution.results if hasattr(answer, "deconvolution") else answer.results
    return [each[-1] if isinstance(each, tuple) else each for each in results]


def arrays_of(answer):
    names = ("reflectivity", "outliers", "fit", "estimate", "coefficients", "wavelet")
    found = [getattr(answer, name) for name in names if hasattr(answer, name)]
    return found + (arrays_of(answer.deconvolution) if hasattr(answer, "deconvolution") else [])


@pytest.fixture
def clock(monkeypatch):
    """Let time stand still for a number of readings, and be over from then on."""
    found = SimpleNamespace(readings=math.inf, taken=0)

    def perf_counter():
        found.taken += 1
        return 0.0 if found.taken <= found.readings else 1e9

    monkeypatch.setattr(time_limit, "time", SimpleNamespace(perf_counter=perf_counter))
    return found


@pytest.mark.parametrize("name", METHODS)
def test_without_time_the_start_comes_back_and_says_so(name):
    answer = METHODS[name](max_time=1e-9)
    assert not answer.success
    for result in results_of(answer):
        assert result.status is si.Status.MAX_TIME
        assert result.certificate.relative > 1e-3
    assert all(np.isfinite(array).all() for array in arrays_of(answer))


@pytest.mark.parametrize("name", METHODS)
def test_a_limit_that_is_not_reached_changes_nothing(name):
    for one, other in zip(arrays_of(METHODS[name]()), arrays_of(METHODS[name](max_time=1e4)), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("wrong", [0.0, -1.0, math.nan, "1"])
def test_a_limit_that_is_none_is_refused(name, wrong):
    with pytest.raises((ValueError, TypeError), match="max_time"):
        METHODS[name](max_time=wrong)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("readings", [2, 4, 7, 12])
def test_time_that_ends_anywhere_raises_nothing(name, readings, clock):
    clock.readings = readings
    answer = METHODS[name](max_time=1e3)
    assert all(np.isfinite(array).all() for array in arrays_of(answer))
    for result in results_of(answer):
        assert result.success == (result.certificate.relative <= result.tol)
    if name == "blind":
        assert not answer.trusted
        assert "time ended the search" in answer.verdict


def test_outliers_of_the_first_traces_only(clock):
    """The certificate of a trace that was not begun is that of its start, in plain NumPy."""
    data = traces()
    data[:, 70] += 9.0
    clock.readings = 4  # the limit, its half, its reading, and one trace
    answer = robust_deconvolve(data, WAVELET, DT, offset=CENTER, max_time=1e3)
    assert [r.success for r in answer.results] == [True] + 5 * [False]
    assert abs(answer.outliers[0, 70]) > 5.0
    W = Convolution(100, WAVELET, CENTER).columns(np.arange(100))
    for d, result in zip(data, answer.results, strict=True):
        r, e = result.x[:100], result.x[100:]
        value = 0.5 * np.sum((W @ r + e - d) ** 2) + result.lam @ np.abs(result.x)
        assert result.objective == pytest.approx(value, rel=1e-9)
    done = robust_deconvolve(data, WAVELET, DT, offset=CENTER)
    for cut, whole in zip(answer.results, done.results, strict=True):
        np.testing.assert_allclose(cut.lam, whole.lam)
        assert cut.certificate.bound <= whole.objective * (1 + 1e-9)


def test_frequencies_that_time_did_not_reach_are_zero_in_dead_traces(clock):
    clock.readings = 20
    answer = mwni(GATHER, LIVE, DT, max_time=1e3)
    statuses = [result.status for result in results_of(answer)]
    reached = statuses.index(si.Status.MAX_TIME)
    assert 2 < reached < 12
    assert set(statuses[reached:]) == {si.Status.MAX_TIME}
    np.testing.assert_array_equal(answer.estimate[LIVE], GATHER[LIVE])
    spectra = np.abs(np.fft.rfft(answer.estimate[~LIVE], axis=1)).max(axis=0)
    assert spectra[reached + 1 :].max() < 1e-12 * spectra.max()
    whole = mwni(GATHER, LIVE, DT)
    np.testing.assert_array_equal(answer.coefficients[:reached], whole.coefficients[:reached])


def test_a_round_that_is_cut_off_does_not_undo_the_one_before(clock):
    """The second round starts at what the first one found, where it did not come further itself."""
    seen = 0
    for readings in range(3, 12):
        clock.readings, clock.taken = readings, 0
        for first, *second in mwni(GATHER, LIVE, DT, max_time=1e3).results:
            if second and second[0].status is si.Status.MAX_TIME:
                seen += 1
                assert first.success
                # x = 0, where a round begins, has all of the energy of the data
                assert second[0].objective < 0.1 * second[0].certificate.scale
    assert seen


def test_what_a_blind_search_had_when_time_ended(clock):
    clock.readings = 60
    answer = blind_deconvolve(traces(), DT, 0.1, phases=(0.0, 90.0), max_time=1e3)
    assert math.isnan(answer.stability)
    assert not answer.trusted
    assert "one trace alone" not in answer.verdict
    assert 0 < answer.n_iter < 20


def test_lambda_of_few_levels_names_them(clock):
    answer = METHODS["deblend"](max_time=1e-9)
    assert "time for 1 of 7 levels only" in answer.rule
    assert answer.selection.lams.size == 1
    clock.readings, clock.taken = 14, 0
    late = METHODS["bursts"](max_time=1e3)
    assert "time ended the search for it" in late.rule
    assert late.misfit == pytest.approx(0.05, abs=1e-4)
    clock.readings, clock.taken = 8, 0
    early = METHODS["bursts"](max_time=1e3)
    assert "time ended before that" in early.rule
    assert early.misfit > 0.05
    assert snr_db(BURSTS, early.fit) > 10.0

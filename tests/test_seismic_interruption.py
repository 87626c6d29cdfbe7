"""Ctrl-C in the methods of the seismic package: nothing found is lost."""

from __future__ import annotations

import dataclasses
import importlib
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import sparseinv as si
from sparseinv.counted_operator import CountedOperator
from sparseinv.operators import FFT, Blending, RealFFT
from sparseinv.seismic import (
    antileakage,
    blind_deconvolve,
    deblend,
    deconvolution,
    deconvolve,
    deconvolve_layers,
    demultiple,
    fill_traces,
    in_windows,
    interpolate_traces,
    invert_avo,
    linear_events,
    mwni,
    off_grid_tones,
    parabolic_events,
    pocs,
    radon_panel,
    ricker,
    robust_deconvolve,
    snr_db,
    sparse_spikes,
    time_frequency,
)

Array = np.ndarray[Any, Any]
DT = 0.004
WAVELET, _, CENTER = ricker(30.0, DT)
TRUTH = sparse_spikes(80, 3, n_traces=5, min_gap=8, rng=0)
TRACES = np.array([np.convolve(r, WAVELET)[CENTER : CENTER + 80] for r in TRUTH])
TRACES += 0.01 * np.random.default_rng(1).standard_normal(TRACES.shape)
OFFSETS = np.linspace(50.0, 800.0, 12)
FLAT = parabolic_events(80, DT, OFFSETS, times=[0.12], moveouts=[0.0], amplitudes=[1], f0=25)
BENT = parabolic_events(80, DT, OFFSETS, times=[0.08], moveouts=[0.12], amplitudes=[1], f0=25)
MOVEOUTS = np.linspace(-0.05, 0.2, 11)
SECTION = linear_events(64, DT, 10.0 * np.arange(24), times=[0.08], slopes=[3e-4], amplitudes=[1], f0=25)
LIVE = np.random.default_rng(0).random(24) < 0.7
FIRED = 0.08 + 0.2 * np.arange(8) + np.random.default_rng(0).uniform(-0.08, 0.08, 8)
SHOTS = linear_events(100, DT, range(8), times=[0.1], slopes=[0.0], amplitudes=[1], f0=25)
RECORD = Blending((8, 100), FIRED, DT) @ SHOTS.ravel()
PLACES = np.sort(np.random.default_rng(0).uniform(0.0, 230.0, 18))
SCATTERED = linear_events(64, DT, PLACES, times=[0.08], slopes=[3e-4], amplitudes=[1], f0=25)
T = DT * np.arange(100)
BURST = np.exp(-0.5 * ((T - 0.2) / 0.04) ** 2) * np.cos(2 * np.pi * 20.0 * T) + 0.3 * np.sin(90.0 * T)
GATHERS = np.stack([TRACES, TRACES[::-1]])
TIMES = np.random.default_rng(0).random(30)
TONES = 2.0 * np.cos(2 * np.pi * 31.27 * TIMES) - np.sin(2 * np.pi * 90.64 * TIMES)
TONES += 0.05 * np.random.default_rng(1).standard_normal(30)

#: name of each method: what it is called with
METHODS: dict[str, Any] = {
    "decon": lambda: deconvolve(TRACES, WAVELET, DT),
    "decon, own rule": lambda: deconvolve(
        TRACES, WAVELET, DT, select=si.Discrepancy(sigma=0.01), common=False
    ),
    "decon, common": lambda: deconvolve(TRACES, WAVELET, DT, common=True),
    "decon, coupled": lambda: deconvolve(TRACES, WAVELET, DT, coupled=True),
    "layers": lambda: deconvolve_layers(TRACES[:2], WAVELET, DT, 0.012),
    "interpolate": lambda: interpolate_traces(SECTION, LIVE, dictionary="fk"),
    "interpolate, L0": lambda: interpolate_traces(SECTION, LIVE, dictionary="fk", penalty=si.L0(0.01)),
    "radon": lambda: demultiple(FLAT + BENT, OFFSETS, DT, MOVEOUTS, 0.05, band=(1, 80), reweight=1),
    "radon, L0": lambda: radon_panel(FLAT + BENT, OFFSETS, DT, MOVEOUTS, penalty=si.L0(), band=(1, 80)),
    "radon, refit": lambda: radon_panel(
        FLAT + BENT, OFFSETS, DT, MOVEOUTS, penalty=si.L1(0.05), refit=True, band=(1, 80)
    ),
    "deblend": lambda: deblend(RECORD, FIRED, DT, 100, window=(8, 50)),
    "robust": lambda: robust_deconvolve(TRACES, WAVELET, DT, offset=CENTER),
    "mwni": lambda: mwni(SECTION, LIVE, DT, band=(5, 60)),
    "antileakage": lambda: antileakage(
        SCATTERED, PLACES, DT, np.arange(5.0, 225.0, 10.0), max_wavenumber=0.02, band=(5, 60)
    ),
    "fill": lambda: fill_traces(SECTION, LIVE, RealFFT(SECTION.shape, sizes=(48, 64)).H),
    "avo": lambda: invert_avo(GATHERS, WAVELET, DT, np.linspace(0.0, 40.0, 5), covariance=np.eye(3)),
    "avo, own rule": lambda: invert_avo(
        GATHERS, WAVELET, DT, np.linspace(0.0, 40.0, 5), select=si.Pivotal(alpha=0.1)
    ),
    "bursts": lambda: time_frequency(BURST, DT, np.arange(10.0, 40.0, 5.0), lam=0.05),
}


@pytest.fixture
def ctrl_c(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Let Ctrl-C come in the product of a given number, once."""
    found = SimpleNamespace(at=math.inf, taken=0)
    product = CountedOperator.matvec

    def matvec(self: CountedOperator, x: Array) -> Array:
        found.taken += 1
        if found.taken == found.at:
            raise KeyboardInterrupt
        return product(self, x)

    monkeypatch.setattr(CountedOperator, "matvec", matvec)
    monkeypatch.setattr(deconvolution, "_LARGEST", 10)  # traces one by one, by products
    monkeypatch.setattr("sparseinv.seismic.thin_beds._LARGEST", 10)
    monkeypatch.setattr("sparseinv.seismic.avo._LARGEST", 10)
    monkeypatch.setattr("sparseinv.seismic.robust_deconvolution._IN_MEMORY", 10)
    monkeypatch.setattr("sparseinv.seismic.anti_leakage._DENSE", 10)
    return found


def results_of(answer: Any) -> list[Any]:
    answer = getattr(answer, "radon", answer)
    if hasattr(answer, "result"):
        return [answer.result]
    results = answer.deconvolution.results if hasattr(answer, "deconvolution") else answer.results
    return [each[-1] if isinstance(each, tuple) else each for each in results]


def estimate_of(answer: Any) -> Array:
    names = ("reflectivity", "rp", "estimate", "multiples", "panel", "fit")
    return np.asarray(next(getattr(answer, name) for name in names if hasattr(answer, name)))


@pytest.mark.parametrize("name", METHODS)
def test_the_answer_so_far_is_in_the_interruption(name: str, ctrl_c: SimpleNamespace) -> None:
    whole = METHODS[name]()
    total = ctrl_c.taken
    sizes, said, nothing = [], set(), 0
    for at in np.unique(np.linspace(2, total - 1, 4).astype(int)):
        ctrl_c.at, ctrl_c.taken = int(at), 0
        try:
            with pytest.raises(KeyboardInterrupt) as caught:
                METHODS[name]()
        finally:
            ctrl_c.at = math.inf
        if not isinstance(caught.value, si.Interrupted):
            nothing += 1
            continue
        answer = caught.value.result
        assert type(answer) is type(whole)
        assert estimate_of(answer).shape == estimate_of(whole).shape
        assert np.isfinite(estimate_of(answer)).all()
        for result in results_of(answer):
            said.add(result.status)
            assert not result.success or result.certificate.relative <= result.tol
            assert result.status is not si.Status.MAX_TIME
        sizes.append(float(np.linalg.norm(estimate_of(answer))))
    assert nothing <= 2, at  # set-up, and levels of which not one had been tried
    assert si.Status.INTERRUPTED in said or "refit" in name
    assert sizes[-1] > 0.3 * np.linalg.norm(estimate_of(whole))


def test_traces_that_were_done_stay_done(ctrl_c: SimpleNamespace) -> None:
    for name in ("decon", "decon, own rule"):
        ctrl_c.taken = 0
        whole = METHODS[name]()
        ctrl_c.at, ctrl_c.taken = ctrl_c.taken // 2, 0
        with pytest.raises(si.Interrupted) as caught:
            METHODS[name]()
        ctrl_c.at = math.inf
        answer = caught.value.result
        statuses = [result.status for result in answer.results]
        done = statuses.index(si.Status.INTERRUPTED)
        assert 0 < done < 4
        np.testing.assert_array_equal(answer.reflectivity[:done], whole.reflectivity[:done])
        np.testing.assert_array_equal(answer.refitted[:done], whole.refitted[:done])
        assert not answer.reflectivity[done + 1 :].any()
        assert len(answer.results) == answer.lam.size == 5


def test_a_level_is_kept_that_hold_out_had_tried(ctrl_c: SimpleNamespace) -> None:
    METHODS["deblend"]()
    ctrl_c.at, ctrl_c.taken = int(0.4 * ctrl_c.taken), 0
    with pytest.raises(si.Interrupted) as caught:
        METHODS["deblend"]()
    answer = caught.value.result
    assert "interrupted after" in answer.rule
    assert 0 < answer.selection.lams.size < 7
    assert answer.result.status is si.Status.INTERRUPTED
    assert snr_db(SHOTS, answer.estimate) > 3.0
    value = 0.5 * np.sum((Blending((8, 100), FIRED, DT) @ answer.estimate.ravel() - RECORD) ** 2)
    value += answer.lam * np.abs(answer.coefficients).sum()
    assert answer.result.objective == pytest.approx(value, rel=1e-9)


def test_ctrl_c_in_the_refit_leaves_the_shrunken_amplitudes(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(deconvolution, "nonnegative_fit", interrupt)
    with pytest.raises(si.Interrupted) as caught:
        deconvolve(TRACES, WAVELET, DT)
    answer = caught.value.result
    assert answer.success
    np.testing.assert_array_equal(answer.refitted, answer.reflectivity)


def interrupt_at(monkeypatch: pytest.MonkeyPatch, target: str, at: int, *, plain: bool = True) -> None:
    """Let Ctrl-C come in the call of a given number, before it (plain) or with its answer."""
    module, name = target.rsplit(".", 1)
    called = getattr(importlib.import_module(module), name)
    calls = []

    def call(*arguments: Any, **options: Any) -> Any:
        calls.append(name)
        if len(calls) == at and plain:
            raise KeyboardInterrupt
        found = called(*arguments, **options)
        if len(calls) == at:
            raise si.Interrupted(dataclasses.replace(found, status=si.Status.INTERRUPTED))
        return found

    monkeypatch.setattr(target, call)


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("at", [1, 30, 10**9])
def test_a_wavelet_whose_search_was_interrupted_is_not_trusted(
    at: int, plain: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = at == 10**9
    target = "sparseinv.seismic.blind.deconvolve" if last else "sparseinv.seismic.blind.solve"
    # two estimates of the noise come before the last reflectivity
    interrupt_at(monkeypatch, target, 3 if last else at, plain=plain or last)
    with pytest.raises(si.Interrupted) as caught:
        blind_deconvolve(TRACES, DT, 0.08, phases=(0.0,), max_iter=12)
    answer = caught.value.result
    assert answer.wavelet.size == 21
    assert np.isfinite(answer.wavelet).all()
    assert {result.status for result in results_of(answer)} <= {si.Status.INTERRUPTED, si.Status.CONVERGED}
    assert not answer.success
    if not last:
        assert not answer.trusted
        assert "Ctrl-C ended the search" in answer.verdict


@pytest.mark.parametrize(
    ("at", "words"),
    [(1, "Ctrl-C came before that"), (6, "Ctrl-C ended the search"), (10, "residual of 0.05 times")],
)
def test_wavelets_found_before_ctrl_c_are_kept(at: int, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt_at(monkeypatch, "sparseinv.seismic.time_frequency_map.solve", at)
    with pytest.raises(si.Interrupted) as caught:
        time_frequency(BURST, DT, np.arange(10.0, 40.0, 5.0), misfit=0.05)
    answer = caught.value.result
    assert words in answer.rule
    # the last solve starts at an answer
    assert answer.result.status is (si.Status.CONVERGED if at == 10 else si.Status.INTERRUPTED)
    assert answer.misfit < 0.7


def test_tones_found_before_ctrl_c_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = off_grid_tones(TIMES, TONES, (0, 150))
    assert whole.complete
    interrupt_at(monkeypatch, "sparseinv.seismic.tone_search.refine", 4)
    with pytest.raises(si.Interrupted) as caught:
        off_grid_tones(TIMES, TONES, (0, 150))
    answer = caught.value.result
    assert not answer.complete
    assert "the search was cut off" in str(answer)
    np.testing.assert_allclose(answer.frequencies, whole.frequencies, atol=0.1)
    interrupt_at(monkeypatch, "sparseinv.seismic.tone_search.refine", 1)
    with pytest.raises(KeyboardInterrupt) as nothing:
        off_grid_tones(TIMES, TONES, (0, 150))
    assert not isinstance(nothing.value, si.Interrupted)


@pytest.mark.parametrize("max_time", [1e-9, 1e4])
def test_tones_within_a_limit_of_time(max_time: float) -> None:
    whole = off_grid_tones(TIMES, TONES, (0, 150))
    found = off_grid_tones(TIMES, TONES, (0, 150), max_time=max_time)
    assert found.complete == (max_time > 1.0)
    np.testing.assert_array_equal(found.frequencies, whole.frequencies if found.complete else [])


def test_projections_end_after_the_last_complete_iteration() -> None:
    S = FFT(SECTION.shape, sizes=(48, 64)).H

    def impatient(k: int, _: Array) -> None:
        if k == 6:
            raise KeyboardInterrupt

    whole = pocs(SECTION, LIVE[:, None], S, n_iter=20)
    with pytest.raises(si.Interrupted) as caught:
        pocs(SECTION, LIVE[:, None], S, n_iter=20, callback=impatient)
    answer = caught.value.result
    same = pocs(SECTION, LIVE[:, None], S, thresholds=whole.thresholds[:7])
    assert whole.complete
    assert same.complete
    assert not answer.complete
    assert "7 iterations (ended early)" in repr(answer)
    assert answer.objective == same.objective
    np.testing.assert_array_equal(answer.estimate, same.estimate)
    np.testing.assert_array_equal(answer.x, same.x)
    first = pocs(SECTION, LIVE[:, None], S, n_iter=20, max_time=1e-9)
    assert (first.n_iter, first.complete) == (1, False)
    assert pocs(SECTION, LIVE[:, None], S, n_iter=20, max_time=1e4).complete


@pytest.mark.parametrize("plain", [True, False])
def test_windows_filled_before_ctrl_c_are_kept(plain: bool) -> None:
    calls = []

    def fill(traces: Array, live: Array) -> Array:
        calls.append(live)
        mean = np.broadcast_to(traces[live].mean(axis=0), traces.shape)
        if len(calls) == 3:
            raise KeyboardInterrupt if plain else si.Interrupted(mean)
        return mean

    with pytest.raises(si.Interrupted) as caught:
        in_windows(fill, SECTION, LIVE, window=8)
    answer = caught.value.result
    assert len(answer.pieces) == len(answer.corners) == (2 if plain else 3)
    assert not answer.complete
    assert not answer.success
    np.testing.assert_array_equal(answer.estimate[LIVE], SECTION[LIVE])
    reached = answer.corners[-1][0] + 8
    dead = ~LIVE
    assert answer.estimate[:reached][dead[:reached]].any()
    assert not answer.estimate[reached:][dead[reached:]].any()

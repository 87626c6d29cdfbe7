"""Tones of any frequency from few irregular samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import sparseinv.seismic.tone_model as tone_model
from sparseinv.operators import adjoint_test
from sparseinv.seismic import off_grid_tones
from sparseinv.seismic.tone_model import (
    RealWaves,
    Samples,
    Spectrum,
    Waves,
    derivatives,
    fit_amplitudes,
    refine,
)

Array = np.ndarray[Any, Any]


def signal(
    seed: int, *, m: int = 48, tones: int = 4, real: bool = False, noise: float = 0.1
) -> tuple[Array, ...]:
    """Return (times, samples, frequencies, amplitudes); one second, 300 Hz wide, cells of 1 Hz."""
    rng = np.random.default_rng(seed)
    t = rng.random(m)
    f = (
        (2 if real else -148)
        + np.sort(rng.uniform(0, (146 if real else 290) - 3 * tones, tones))
        + 3 * np.arange(tones)
    )
    a = rng.uniform(0.5, 2, tones) * np.exp(2j * np.pi * rng.random(tones))
    y = np.exp(2j * np.pi * np.outer(t, f)) @ a
    y = y.real if real else y
    e = rng.standard_normal(m) + 1j * rng.standard_normal(m)
    scale = noise * np.linalg.norm(y) / np.sqrt(m)
    return t, y + scale * (e.real if real else e / np.sqrt(2)), f, a


def samples(t: Array, y: Array) -> Samples:
    real = not np.iscomplexobj(y)
    return Samples(t - 0.5, y, real, 0.5, 0.0 if real else -150.0, 150.0)


@pytest.mark.parametrize("real", [False, True])
def test_tones_are_found_and_counted(real: bool) -> None:
    for seed in range(4):
        t, y, f, a = signal(seed, real=real)
        tones = off_grid_tones(t, y, (0, 150) if real else (-150, 150))
        assert tones.frequencies.size == f.size, str(tones)
        error = np.abs(tones.frequencies - f)
        assert error.max() < 0.25
        # six standard errors, and the amplitudes at t = 0
        assert (error < 6 * tones.frequency_errors).all()
        assert (np.abs(np.abs(tones.amplitudes) - np.abs(a)) < 6 * tones.amplitude_errors).all()
        assert (tones.chances < 0.01).all()
        assert tones.grid is not None
        assert tones.grid.success


@pytest.mark.parametrize("real", [False, True])
def test_without_noise_the_signal_is_exact_everywhere(real: bool) -> None:
    t, y, f, a = signal(5, real=real, noise=0.0)
    tones = off_grid_tones(t, y, (0, 150) if real else (-150, 150), thorough=False)
    np.testing.assert_allclose(tones.frequencies, f, atol=1e-8)
    np.testing.assert_allclose(tones.amplitudes, a, atol=1e-6)
    when = np.linspace(0, 1, 77).reshape(7, 11)
    wanted = np.exp(2j * np.pi * np.multiply.outer(when, f)) @ a
    np.testing.assert_allclose(tones.at(when), wanted.real if real else wanted, atol=1e-6)
    np.testing.assert_allclose(tones.residual, tones.at(t) - y, atol=1e-10)


def test_standard_errors_are_those_of_many_draws() -> None:
    rng = np.random.default_rng(0)
    t, clean, f, _ = signal(6, noise=0.0)
    sigma, when = 0.1, np.array([0.2, 0.9])
    errors, signals = [], []
    for _ in range(12):
        e = rng.standard_normal(t.size) + 1j * rng.standard_normal(t.size)
        tones = off_grid_tones(
            t, clean + sigma / np.sqrt(2) * e, (-150, 150), sigma=sigma, thorough=False, max_tones=4
        )
        errors.append(tones.frequencies - f)
        signals.append(
            np.abs(tones.at(when) - off_grid_tones(t, clean, (-150, 150), thorough=False).at(when)) ** 2
        )
    ratio = np.sqrt(np.mean(np.square(errors), axis=0)) / tones.frequency_errors
    assert ((ratio > 0.4) & (ratio < 1.8)).all()
    ratio = np.sqrt(np.mean(signals, axis=0)) / tones.error_at(when)
    assert ((ratio > 0.4) & (ratio < 1.8)).all()


@pytest.mark.parametrize("sigma", [None, 1.0])
def test_noise_alone_brings_tones_at_the_level_asked_for(sigma: float | None) -> None:
    found = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        e = (rng.standard_normal(24) + 1j * rng.standard_normal(24)) / np.sqrt(2)
        tones = off_grid_tones(
            rng.random(24), e, (-40, 40), sigma=sigma, false_alarm=0.2, thorough=False, max_tones=3
        )
        found += tones.frequencies.size > 0
    assert 3 <= found <= 24  # of 60, 12 expected: three standard deviations and what the formula leaves


def test_close_tones_are_told_apart_and_a_band_is_kept() -> None:
    rng = np.random.default_rng(1)
    t = rng.random(60)
    y = np.exp(2j * np.pi * 30.0 * t) + np.exp(2j * np.pi * 31.2 * t + 1j)
    e = rng.standard_normal(60) + 1j * rng.standard_normal(60)
    tones = off_grid_tones(t, y + 0.03 * e, (0, 60))
    np.testing.assert_allclose(tones.frequencies, [30.0, 31.2], atol=0.1)
    outside = off_grid_tones(t, y + 0.03 * e, (40, 60), thorough=False)
    assert ((outside.frequencies >= 40) & (outside.frequencies <= 60)).all()


def test_derivatives_are_those_of_differences() -> None:
    for real in (False, True):
        t, y, f, _ = signal(2, real=real)
        data = samples(t, y)
        fit = fit_amplitudes(data, f)
        J, h = derivatives(data, fit), 1e-6

        def model(f: Array, a: Array, data: Samples = data) -> Array:
            return data.stacked(np.exp(2j * np.pi * np.outer(data.t, f)) @ a)

        for k in range(f.size):
            step = h * np.eye(f.size)[k]
            for block, change in (
                (0, model(f + step, fit.a) - model(f - step, fit.a)),
                (1, model(f, fit.a + step) - model(f, fit.a - step)),
                (2, model(f, fit.a + 1j * step) - model(f, fit.a - 1j * step)),
            ):
                np.testing.assert_allclose(J[:, block * f.size + k], change / (2 * h), rtol=1e-5, atol=1e-4)


def test_gains_are_those_of_refits() -> None:
    """What a tone would bring, to first order in the frequencies of the others, against least squares."""
    for real in (False, True):
        t, y, f, _ = signal(3, real=real)
        data = samples(t, y)
        fit = refine(data, f[:2])
        spectrum = Spectrum(data, 2.0)
        gains = spectrum.gains(fit)
        for j in (10, int(np.argmax(gains))):
            wave = np.exp(2j * np.pi * data.t * spectrum.grid[j])[:, None]
            columns = np.hstack((derivatives(data, fit), data.stacked(np.hstack((wave, 1j * wave)))))
            target = data.stacked(fit.r)
            left = target - columns @ np.linalg.lstsq(columns, target)[0]
            assert gains[j] == pytest.approx(fit.rss - left @ left, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("real", [False, True])
def test_transforms_and_matrix_give_the_same_answer(real: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    t, y, *_ = signal(4, real=real)
    band = (0, 150) if real else (-150, 150)
    dense = off_grid_tones(t, y, band)
    monkeypatch.setattr(tone_model, "_DENSE", 0)
    matrix_free = off_grid_tones(t, y, band)
    np.testing.assert_allclose(dense.frequencies, matrix_free.frequencies, atol=1e-6)
    assert dense.grid is not None
    assert matrix_free.grid is not None
    assert dense.grid.objective == pytest.approx(matrix_free.grid.objective, rel=1e-3)


def test_waves_are_operators() -> None:
    t = np.random.default_rng(0).uniform(-1, 1, 9)
    W = Waves(t, 3.0, 0.25, 14)
    np.testing.assert_allclose(W.columns(np.arange(14)), W.matmat(np.eye(14)), atol=1e-12)
    np.testing.assert_allclose(W.column_norms(), np.linalg.norm(W.columns(np.arange(14)), axis=0))
    R = RealWaves(W)
    np.testing.assert_allclose(R.columns(np.arange(28)), R.matmat(np.eye(28)), atol=1e-12)
    assert adjoint_test(W) < 1e-13
    assert adjoint_test(R) < 1e-13
    np.testing.assert_allclose(R @ (1j * np.ones(28)), 1j * (R @ np.ones(28)), atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 1, 2], [1, 2, 3], (0, 1)), "at least 4"),
        (([0, 1, 2, 3], [1, 2, 3], (0, 1)), r"t has shape \(4,\) and y \(3,\)"),
        (([0, 0, 0, 0], [1, 2, 3, 4], (0, 1)), "all entries of t are equal"),
        (([0, 1, 2, 3], [1, 2, 3, 4], (1, 1)), "low < high"),
        (([0, 1, 2, 3], [1, 2, 3, 4], (-1, 1)), "frequencies >= 0"),
        (([0, 1, 2, 3], [1, 2, 3, 4], (1,)), "two frequencies"),
        (([0, 1, 2, np.nan], [1, 2, 3, 4], (0, 1)), "t contains nan"),
    ],
)
def test_bad_input_is_refused(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        off_grid_tones(*arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"false_alarm": 0.0}, "false_alarm is 0"),
        ({"sigma": -1.0}, "sigma is -1"),
        ({"oversampling": 0.5}, "oversampling is 0.5"),
        ({"max_tones": -1}, "max_tones is -1"),
    ],
)
def test_bad_options_are_refused(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        off_grid_tones([0, 1, 2, 3], [1, 2, 3, 4], (0, 1), **options)


def test_nothing_is_found_where_there_is_nothing() -> None:
    tones = off_grid_tones(np.arange(8.0) ** 1.1, np.zeros(8), (0, 3))
    assert tones.frequencies.size == 0
    np.testing.assert_array_equal(tones.at([0.0, 1.0]), [0.0, 0.0])
    np.testing.assert_array_equal(tones.error_at([0.0, 1.0]), [0.0, 0.0])

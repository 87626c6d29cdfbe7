"""Wavelets through lossy media: the formula, its limits and its causality; and the problem Q1."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparseinv.operators import Convolution, NonstationaryConvolution, adjoint_test
from sparseinv.problems import load_problem, run_problem
from sparseinv.problems.report import save
from sparseinv.seismic import attenuated_wavelets, attenuating_convolution, ricker

Array = np.ndarray[Any, Any]

DT = 0.002


def spectrum(row: Array, offset: int, f: Array) -> Array:
    """Return the Fourier transform of samples at the frequencies f [Hz], by its definition."""
    t = (np.arange(row.size) - offset) * DT
    return np.exp(-2j * np.pi * np.outer(f, t)) @ row


@pytest.mark.parametrize("Q", [30.0, 100.0])
@pytest.mark.parametrize("reference", [None, 20.0, 250.0])
def test_spectra_follow_the_formula(Q: float, reference: float | None) -> None:
    t = np.array([0.0, 0.3, 1.0])
    aged = attenuated_wavelets(40.0, DT, t, Q, reference=reference)
    wavelet, _, center = ricker(40.0, DT)
    f = np.arange(10.0, 90.0, 5.0)
    f_r = aged.reference
    assert f_r == (pytest.approx(40.0, abs=1.0) if reference is None else reference)
    late = t[:, None] * ((f / f_r) ** (-1.0 / (np.pi * Q)) - 1.0)
    expected = spectrum(wavelet, center, f) * np.exp(-np.pi * f * t[:, None] / Q - 2j * np.pi * f * late)
    for row, wanted in zip(aged.wavelets, expected, strict=True):
        found = spectrum(row, aged.offset, f)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=3e-3 * np.abs(wanted).max())


def test_without_dispersion_it_stays_symmetric() -> None:
    aged = attenuated_wavelets(40.0, DT, [0.0, 0.5], 50.0, dispersion=False)
    assert np.isnan(aged.reference)
    half = min(aged.offset, aged.wavelets.shape[1] - 1 - aged.offset)
    middle = aged.wavelets[:, aged.offset - half : aged.offset + half + 1]
    np.testing.assert_allclose(middle, middle[:, ::-1], atol=1e-12)


def test_dispersion_is_causal() -> None:
    """With the Nyquist frequency as reference an impulse does not arrive before its time."""
    t, Q = 1.0, 30.0
    energy = {}
    for dispersion in (True, False):
        aged = attenuated_wavelets([1.0], DT, t, Q, dispersion, reference=0.5 / DT)
        power = aged.wavelets[0] ** 2
        energy[dispersion] = power[: aged.offset].sum() / power.sum()
    assert energy[True] < 1e-4
    assert energy[False] > 0.3


def test_no_loss_changes_nothing() -> None:
    wavelet, _, center = ricker(30.0, DT)
    aged = attenuated_wavelets(wavelet, DT, [0.0, 2.0], np.inf)
    start = center - aged.offset
    np.testing.assert_allclose(aged.wavelets[1], wavelet[start : start + aged.wavelets.shape[1]], atol=1e-12)
    A = attenuating_convolution((2, 80), wavelet, DT, 1e9)
    x = np.random.default_rng(0).standard_normal(160)
    np.testing.assert_allclose(A @ x, Convolution((2, 80), wavelet, center) @ x, atol=2e-3)


def test_interval_quality_accumulates() -> None:
    t = np.array([0.2, 0.5, 1.1])
    constant = attenuated_wavelets(40.0, DT, t, 60.0)
    same = attenuated_wavelets(40.0, DT, t, np.full(3, 60.0))
    np.testing.assert_allclose(constant.wavelets, same.wavelets, atol=1e-12)
    lossless_below = attenuated_wavelets(40.0, DT, t, np.array([60.0, np.inf, np.inf]))
    np.testing.assert_allclose(lossless_below.wavelets, lossless_below.wavelets[[0, 0, 0]], atol=1e-12)
    # harmonic mean: as much is lost at 30 and at 90 as twice at 45
    mixed = attenuated_wavelets(40.0, DT, [0.3, 0.6], [30.0, 90.0], dispersion=False)
    equal = attenuated_wavelets(40.0, DT, [0.3, 0.6], 45.0, dispersion=False)
    a, b = np.linalg.norm(mixed.wavelets[1]), np.linalg.norm(equal.wavelets[1])
    assert a == pytest.approx(b, rel=1e-6)


def test_operator_has_the_wavelets_as_columns() -> None:
    A = attenuating_convolution((120, 2), 40.0, DT, np.linspace(30, 90, 120), t0=0.5, axis=0)
    assert isinstance(A, NonstationaryConvolution)
    assert adjoint_test(A) < 1e-13
    t = 0.5 + np.arange(120) * DT
    aged = attenuated_wavelets(40.0, DT, t, np.linspace(30, 90, 120))
    column = (A @ np.eye(240)[2 * 60]).reshape(120, 2)
    assert not column[:, 1].any()
    taps = np.arange(aged.wavelets.shape[1]) - aged.offset + 60
    inside = (taps >= 0) & (taps < 120)
    np.testing.assert_allclose(column[taps[inside], 0], aged.wavelets[60, inside], atol=1e-13)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_q1(seed: int, tmp_path: Path) -> None:
    """One lambda loses the deepest third, lambdas that follow the column norms keep it; all is certified."""
    demo = run_problem("Q1", size="s", seed=seed)
    assert demo.certified
    assert [str(goal) for goal in demo.goals if not goal.met] == []
    if seed == 0:
        written = save(demo, tmp_path)
        assert all(path.stat().st_size > 1000 for path in written)
    case = load_problem("Q1", size="s", seed=seed)
    assert case.score(case.truth)["F1 deep"] == 1.0
    assert case.score(0 * case.truth)["F1 deep"] == 0.0
    misfit = np.linalg.norm(case.A @ case.truth - case.b) / (case.sigma * np.sqrt(case.b.size))
    assert misfit == pytest.approx(1.0, abs=0.15)


REFUSALS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: attenuated_wavelets(40.0, DT, -1.0, 50.0), ValueError, "t contains -1 s, but traveltimes are"),
    (lambda: attenuated_wavelets(40.0, DT, 1.0, 0.0), ValueError, "Q must be positive"),
    (lambda: attenuated_wavelets(40.0, DT, 1.0, np.nan), ValueError, "Q must be positive"),
    (lambda: attenuated_wavelets(40.0, DT, [0.0, 1.0], [1.0]), ValueError, r"Q has shape \(1,\), but t"),
    (lambda: attenuated_wavelets(40.0, DT, [1.0, 1.0], [9.0, 9.0]), ValueError, "t does not rise"),
    (lambda: attenuated_wavelets(40.0, DT, [], 9.0), ValueError, r"t has shape \(0,\)"),
    (lambda: attenuated_wavelets(400.0, DT, 1.0, 9.0), ValueError, "f0 is 400 Hz"),
    (lambda: attenuated_wavelets(40.0, 0.0, 1.0, 9.0), ValueError, "dt is 0"),
    (lambda: attenuated_wavelets(40.0, DT, 1.0, 9.0, offset=1), ValueError, "offset belongs to a sampled"),
    (lambda: attenuated_wavelets([1.0], DT, 1.0, 9.0, offset=1), ValueError, "offset is 1, but the wavelet"),
    (lambda: attenuated_wavelets([1j], DT, 1.0, 9.0), ValueError, "a real vector is needed"),
    (lambda: attenuated_wavelets(40.0, DT, 1.0, 9.0, reference=0.0), ValueError, "reference is 0"),
    (lambda: attenuating_convolution(9, 40.0, DT, [50.0]), ValueError, r"Q has shape \(1,\), but one number"),
]


@pytest.mark.parametrize(("call", "error", "sentence"), REFUSALS)
def test_bad_input_is_refused(call: Callable[[], Any], error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        call()

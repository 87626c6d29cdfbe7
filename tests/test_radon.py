"""Radon operators against their definition, PyLops, and each other."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sparseinv.operators import FrequencyRadon, Radon, adjoint_test

Array = np.ndarray[Any, Any]

DT = 0.004
OFFSETS = np.array([-120.0, 0.0, 35.0, 80.0, 300.0])
PARAMETERS = {
    "linear": np.array([-3e-4, 0.0, 1.3e-4]),
    "parabolic": np.array([-0.031, 0.0, 0.044, 0.2]),
    "hyperbolic": np.array([900.0, 2000.0, 4100.0]),
}


def arrival(curve: str, tau: float, h: float, q: float) -> float:
    if curve == "linear":
        return tau + q * h
    return tau + q * (h / 300.0) ** 2 if curve == "parabolic" else float(np.sqrt(tau**2 + (h / q) ** 2))


def by_definition(curve: str, samples: int, t0: float) -> Array:
    """Return the matrix entry by entry: hat((t - T) / dt)."""
    t = t0 + np.arange(samples) * DT
    q = PARAMETERS[curve]
    out = np.zeros((OFFSETS.size, samples, q.size, samples))
    for i, h in enumerate(OFFSETS):
        for j, value in enumerate(q):
            for s, tau in enumerate(t):
                distance = (t - arrival(curve, tau, h, value)) / DT
                out[i, :, j, s] = np.maximum(0.0, 1.0 - np.abs(distance))
    return out.reshape(OFFSETS.size * samples, -1)


@pytest.mark.parametrize("curve", PARAMETERS)
@pytest.mark.parametrize("t0", [0.0, 0.05])
def test_radon_is_its_formula(curve: str, t0: float) -> None:
    A = Radon((5, 30), OFFSETS, DT, PARAMETERS[curve], curve, t0=t0)
    matrix = by_definition(curve, 30, t0)
    np.testing.assert_allclose(A @ np.eye(A.shape[1]), matrix, atol=1e-11)
    np.testing.assert_allclose(A.rmatmat(np.eye(A.shape[0])), matrix.T, atol=1e-11)
    bound, norm = A.norm_bound(), np.linalg.norm(matrix, 2)
    assert norm <= bound <= 1.05 * norm
    assert adjoint_test(A) < 1e-14


@pytest.mark.parametrize("curve", ["linear", "parabolic", "hyperbolic"])
def test_bound_is_close_for_long_traces(curve: str) -> None:
    h = np.linspace(0.0, 1000.0, 8)
    q = {
        "linear": np.linspace(-5e-5, 5e-5, 6),
        "parabolic": np.linspace(-0.03, 0.06, 6),
        "hyperbolic": np.linspace(1500.0, 3000.0, 6),
    }[curve]
    operators: list[Any] = [Radon((8, 150), h, DT, q, curve)]
    if curve != "hyperbolic":
        operators.append(FrequencyRadon((8, 150), h, DT, q, curve, band=(4.0, 70.0)))
    for A in operators:
        norm = np.linalg.norm(A.columns(np.arange(A.shape[1])), 2)
        assert norm <= A.norm_bound() <= 1.05 * norm


@pytest.mark.parametrize("curve", ["linear", "parabolic"])
def test_what_leaves_the_trace_does_not_come_back_by_frequencies(curve: str) -> None:
    for samples in (10.0, 19.0, 24.0, 30.0, 48.0, -24.0, -30.0, 1e9):
        A = FrequencyRadon((2, 10), [0.0, 1.0], 1.0, [samples], curve)
        image = (A @ np.ones(10)).reshape(2, 10)
        np.testing.assert_allclose(image, [np.ones(10), np.zeros(10)], atol=1e-13)
        np.testing.assert_allclose(A.columns(np.arange(10)), A @ np.eye(10), atol=1e-14)
        assert adjoint_test(A) < 1e-14


def test_delays_beyond_the_trace_leave_nothing() -> None:
    for q in (-1.0, 1.0, 1e300):
        A = Radon((2, 6), [0.0, 10.0], DT, [q])
        np.testing.assert_array_equal((A @ np.ones(6)).reshape(2, 6), [np.ones(6), np.zeros(6)])
        assert A.norm_bound() >= 1.0
    # a hyperbola so slow that it never arrives
    A = Radon((1, 6), [1e5], DT, [1e-200], "hyperbolic")
    np.testing.assert_array_equal(A @ np.ones(6), np.zeros(6))
    assert A.norm_bound() == 0.0


@pytest.mark.parametrize("curve", ["linear", "parabolic", "hyperbolic"])
def test_radon_equals_that_of_pylops(curve: str) -> None:
    """PyLops drops events that arrive behind the last but one sample; nothing else differs."""
    pylops = pytest.importorskip("pylops")
    nh, nt, dh = 6, 50, 10.0
    h, t = np.arange(nh) * dh, np.arange(nt) * DT
    q = {"linear": [1e-4, 4e-4], "parabolic": [0.01, 0.03], "hyperbolic": [1500.0, 2500.0]}[curve]
    theirs = np.array(q) * {"linear": 1.0, "parabolic": dh / 50.0**2, "hyperbolic": (DT / dh) ** 2}[curve]
    P = pylops.signalprocessing.Radon2D(t, h, theirs, kind=curve, centeredh=False, interp=True)
    A = Radon((nh, nt), h, DT, q, curve)
    m = np.random.default_rng(0).standard_normal(A.dims)
    m[:, 35:] = 0.0
    if curve == "hyperbolic":
        # their parameter is used as a velocity in units of dh / dt
        P = pylops.signalprocessing.Radon2D(
            t, h, np.array(q) * (DT / dh) ** 2, kind=curve, centeredh=False, interp=True
        )
    np.testing.assert_allclose(A @ m.ravel(), P @ m.ravel(), atol=1e-5)


# ------------------------------------------------------------------------------------- by frequencies


@pytest.mark.parametrize("band", [None, (5.0, 60.0)])
def test_frequency_radon_is_its_formula(band: Any) -> None:
    """A pulse with a flat spectrum over the band, delayed exactly; summed term by term."""
    q = PARAMETERS["parabolic"]
    A = FrequencyRadon((5, 24), OFFSETS, DT, q, band=band)
    P, t = A.padded, np.arange(24) * DT
    matrix = np.zeros((5, 24, q.size, 24))
    for f in A.frequencies:
        twin = 1.0 if round(f * P * DT) in (0, P / 2) else 2.0
        for i, h in enumerate(OFFSETS):
            for j, value in enumerate(q):
                delay = value * (h / 300.0) ** 2
                if abs(delay) > (P - 24) * DT:  # it has left the trace and would come back at its other end
                    continue
                if round(2 * f * P * DT) == P:  # at Nyquist only the cosine of the delay is seen
                    wave = np.cos(2 * np.pi * f * (t[:, None] - t[None, :])) * np.cos(2 * np.pi * f * delay)
                else:
                    wave = np.cos(2 * np.pi * f * (t[:, None] - t[None, :] - delay))
                matrix[i, :, j] += twin / P * wave
    matrix = matrix.reshape(A.shape)
    np.testing.assert_allclose(A @ np.eye(A.shape[1]), matrix, atol=1e-11)
    np.testing.assert_allclose(A.columns(np.arange(A.shape[1])), matrix, atol=1e-11)
    norm = np.linalg.norm(matrix, 2)
    assert norm <= A.norm_bound() <= 1.1 * norm  # of 24 samples, delays of which reach to 50


def test_frequency_bound_is_the_largest_norm_of_all_frequencies() -> None:
    A = FrequencyRadon((5, 40), OFFSETS, DT, PARAMETERS["linear"], "linear", band=(3.0, 110.0))
    norms = [
        np.linalg.norm(np.exp(-2j * np.pi * f * np.outer(OFFSETS, A.parameters)), 2) for f in A.frequencies
    ]
    assert A.norm_bound() == pytest.approx(max(norms), rel=1e-10)


def test_both_domains_agree_below_half_nyquist() -> None:
    """For smooth panels linear interpolation and exact delays differ little."""
    q = np.linspace(-0.05, 0.08, 5)
    h = np.linspace(0.0, 500.0, 7)
    panel = np.zeros((5, 100))
    t = np.arange(100) * DT
    panel[[1, 3]] = np.exp(-(((t - 0.2) / 0.03) ** 2))
    time = Radon((7, 100), h, DT, q, "parabolic") @ panel.ravel()
    frequency = FrequencyRadon((7, 100), h, DT, q) @ panel.ravel()
    assert np.linalg.norm(time - frequency) <= 0.01 * np.linalg.norm(time)


def test_nothing_wraps_around() -> None:
    panel = np.zeros((1, 60))
    panel[0, 45:58] = np.hanning(13)
    for q in (0.1, -0.2):
        A = FrequencyRadon((2, 60), [0.0, 100.0], DT, [q])
        d = (A @ (panel if q > 0 else panel[:, ::-1]).ravel()).reshape(2, 60)
        assert np.abs(d[0]).max() > 0.9
        assert np.abs(d[1]).max() < 0.01


def test_frequency_radon_equals_that_of_pylops() -> None:
    pylops = pytest.importorskip("pylops")
    h, t = np.arange(6) * 20.0, np.arange(64) * DT
    q = np.array([-0.02, 0.01, 0.03])
    A = FrequencyRadon((6, 64), h, DT, q, reference=100.0)
    P = pylops.signalprocessing.FourierRadon2D(t, h, q / 100.0**2, A.padded, kind="parabolic")
    m = np.random.default_rng(0).standard_normal(A.shape[1])
    if A.padded % 2:
        np.testing.assert_allclose(A @ m, P @ m, atol=1e-10)
    else:  # theirs keeps a complex factor at Nyquist, where ours is real
        B = FrequencyRadon((6, 64), h, DT, q, reference=100.0, band=(0.0, 0.49 / DT))
        limits = (0, B.frequencies.size)
        P = pylops.signalprocessing.FourierRadon2D(
            t, h, q / 100.0**2, B.padded, flims=limits, kind="parabolic"
        )
        np.testing.assert_allclose(B @ m, P @ m, atol=1e-10)


# ----------------------------------------------------------------------------------------- bad input

REFUSALS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: Radon(5, [1.0], DT, [1.0]), ValueError, "dims is (5,), but data of shape (offsets, samples)"),
    (lambda: Radon((2, 5), [1.0], DT, [1.0]), ValueError, "offsets has 1 entries, but dims (2, 5) has 2"),
    (
        lambda: Radon((1, 5), [1.0], DT, []),
        ValueError,
        "parameters has shape (0,), but a vector with at least",
    ),
    (lambda: Radon((1, 5), [1.0], DT, [np.nan]), ValueError, "parameters contains nan"),
    (lambda: Radon((1, 5), [1j], DT, [1.0]), TypeError, "offsets is complex"),
    (lambda: Radon((1, 5), [1.0], 0.0, [1.0]), ValueError, "dt is 0.0"),
    (
        lambda: Radon((1, 5), [1.0], DT, [1.0], "bent"),
        ValueError,
        "curve is 'bent', but it must be one of 'linear'",
    ),
    (lambda: Radon((1, 5), [1.0], DT, [0.0], "hyperbolic"), ValueError, "velocities [m/s] must be positive"),
    (lambda: Radon((1, 5), [1.0], DT, [1.0], t0=-1.0), ValueError, "t0 is -1.0, but the time of the first"),
    (lambda: Radon((1, 5), [1.0], DT, [1.0], reference=1.0), ValueError, "reference is for parabolas"),
    (
        lambda: Radon((1, 5), [1.0], DT, [1.0], "hyperbolic", reference=1.0),
        ValueError,
        "reference is for parabolas",
    ),
    (
        lambda: Radon((1, 5), [1.0], DT, [1.0], "parabolic", reference=-1.0),
        ValueError,
        "reference is -1.0, but it must be a finite number > 0",
    ),
    (
        lambda: FrequencyRadon((1, 5), [1.0], DT, [1.0], "hyperbolic"),
        ValueError,
        "curve is 'hyperbolic', but only lines and parabolas",
    ),
    (lambda: FrequencyRadon((1, 5), [1.0], DT, [1.0], band=3.0), ValueError, "band is 3.0, but the lowest"),
    (lambda: FrequencyRadon((1, 5), [1.0], DT, [1.0], band=(5, 2)), ValueError, "0 <= lowest < highest"),
    (lambda: FrequencyRadon((1, 5), [1.0], DT, [1.0], band=(1, 2)), ValueError, "holds no frequency"),
]


@pytest.mark.parametrize(("call", "error", "sentence"), REFUSALS)
def test_bad_input_is_refused(call: Callable[[], Any], error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=re.escape(sentence)):
        call()

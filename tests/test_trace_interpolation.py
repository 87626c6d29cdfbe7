"""Dead traces filled by plane waves: minimum weighted norm, anti-leakage, windows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sparseinv.problems.catalogue import load_problem, run_problem
from sparseinv.seismic import antileakage, in_windows, linear_events, mwni, parabolic_events, snr_db

Array = np.ndarray[Any, Any]

DT = 0.004
EVENTS: dict[str, Any] = {
    "times": [0.06, 0.15], "slopes": [3e-4, -1.5e-4], "amplitudes": [1.0, -0.7], "f0": 25.0,
}  # fmt: skip
GRID = 10.0 * np.arange(40)


def gather(h: Array) -> Array:
    return linear_events(64, DT, h, **EVENTS)


def live(share: float, seed: int = 0, count: int = 40) -> Array:
    return np.random.default_rng(seed).random(count) < share


# ----------------------------------------------------------------------------- minimum weighted norm


def test_mwni_fills_straight_events_and_keeps_what_was_recorded() -> None:
    mask = live(0.5)
    filled = mwni(np.where(mask[:, None], gather(GRID), np.nan), mask, DT)
    np.testing.assert_array_equal(filled.estimate[mask], gather(GRID)[mask])
    assert snr_db(gather(GRID)[~mask], filled.estimate[~mask]) > 10
    assert filled.worst is not None
    assert all(each[-1].success for each in filled.results)
    assert filled.worst.certificate.relative <= 1e-3
    assert "slices: CONVERGED" in repr(filled)


def test_mwni_rounds_are_weighted_least_squares() -> None:
    """One slice by dense algebra: x = P^2 A^H (A P^2 A^H + lam)^-1 d, twice."""
    mask = live(0.5, seed=1)
    wave = np.zeros((40, 16))
    wave[:] = np.cos(2 * np.pi * (3 * np.arange(16) / 16 - 0.11 * np.arange(40)[:, None]))
    found = mwni(wave, mask, DT, noise=0.1, rounds=2, tol=1e-12)
    d = np.fft.rfft(wave, axis=1)[mask, 3]
    A = np.exp(2j * np.pi * np.outer(np.flatnonzero(mask), np.arange(80)) / 80) / np.sqrt(80)
    power = np.vdot(d, d).real / d.size
    variances = np.full(80, power * 40 / 80)
    x = np.zeros(80, dtype=complex)
    for _ in range(2):
        x = variances * (
            A.conj().T @ np.linalg.solve((A * variances) @ A.conj().T + 0.01 * power * np.eye(d.size), d)
        )
        variances = np.abs(x) ** 2 + 1e-5 * (np.abs(x) ** 2).max()
    place = int(np.argmin(np.abs(found.frequencies - 3 / (16 * DT))))
    np.testing.assert_allclose(found.coefficients[place], x, atol=1e-4 * np.abs(x).max())


def test_mwni_takes_cubes_and_a_band() -> None:
    x, y = np.meshgrid(np.arange(12), np.arange(10), indexing="ij")
    t = np.arange(32) * DT
    truth = np.cos(2 * np.pi * 31.25 * (t - 1e-3 * x[..., None] + 2e-3 * y[..., None]))
    mask = live(0.5, count=120).reshape(12, 10)
    filled = mwni(truth, mask, DT, band=(20, 40))
    assert snr_db(truth[~mask], filled.estimate[~mask]) > 10
    assert (filled.frequencies >= 20).all()
    assert (filled.frequencies <= 40).all()
    nothing = mwni(truth, mask, DT, band=(80, 120))
    assert np.abs(nothing.estimate[~mask]).max() < 1e-6


def test_data_of_zeros_stay_zeros() -> None:
    mask = live(0.5)
    filled = mwni(np.zeros((40, 16)), mask, DT)
    np.testing.assert_array_equal(filled.estimate, 0.0)
    assert filled.worst is None
    found = antileakage(np.zeros((5, 16)), np.arange(5.0), DT, [0.5], max_wavenumber=1.0)
    np.testing.assert_array_equal(found.estimate, np.zeros((1, 16)))


# --------------------------------------------------------------------------------------- anti-leakage


def test_antileakage_uses_the_true_positions() -> None:
    h = np.sort(np.random.default_rng(0).uniform(0, 390, 28))
    found = antileakage(gather(h), h, DT, GRID, max_wavenumber=0.03)
    binned = antileakage(gather(h), 10.0 * np.rint(h / 10.0), DT, GRID, max_wavenumber=0.03)
    assert snr_db(gather(GRID), found.estimate) > 15
    assert snr_db(gather(GRID), found.estimate) > snr_db(gather(GRID), binned.estimate) + 5


def test_antileakage_beats_aliasing_where_positions_are_irregular() -> None:
    """An event of 6 ms a trace on average: aliased above 83 Hz / 6 on a regular grid of that spacing."""
    event: dict[str, Any] = {"times": [0.03], "slopes": [1.2e-3], "amplitudes": [1.0], "f0": 30.0}
    h = np.sort(np.random.default_rng(1).uniform(0, 150, 24))
    wanted = np.linspace(5, 145, 60)
    truth = linear_events(64, DT, wanted, **event)
    found = antileakage(linear_events(64, DT, h, **event), h, DT, wanted, max_wavenumber=0.12, band=(2, 90))
    assert snr_db(truth, found.estimate) > 10


def test_antileakage_in_two_dimensions_at_its_own_positions() -> None:
    rng = np.random.default_rng(2)
    places = rng.uniform(0, 100, (30, 2))
    t = np.arange(32) * DT
    traces = np.cos(2 * np.pi * 31.25 * (t - places @ [[2e-4], [-3e-4]]))
    found = antileakage(traces, places, DT, places, max_wavenumber=0.02, noise=0.02, max_waves=25)
    assert snr_db(traces, found.estimate) > 30
    assert found.coefficients.ndim == 3
    assert found.products > 0


def test_antileakage_stops_at_its_limits() -> None:
    h = np.sort(np.random.default_rng(3).uniform(0, 390, 20))
    found = antileakage(gather(h), h, DT, GRID, max_wavenumber=0.03, max_waves=3)
    assert all((slices != 0).sum() <= 3 for slices in found.coefficients)


# -------------------------------------------------------------------------------------------- windows


def test_windows_help_where_events_are_curved() -> None:
    h = 10.0 * np.arange(60)
    truth = parabolic_events(64, DT, h, times=[0.04], moveouts=[0.15], amplitudes=[1.0], f0=30.0)
    mask = live(0.5, count=60)
    whole = antileakage(truth[mask], h[mask], DT, h, max_wavenumber=0.05).estimate

    def fill(traces: Array, alive: Array) -> Any:
        place = 10.0 * np.arange(alive.size)
        return antileakage(traces[alive], place[alive], DT, place, max_wavenumber=0.05)

    pieces = in_windows(fill, truth, mask, window=20, overlap=0.5)
    assert len(pieces.pieces) == len(pieces.corners) == 5
    np.testing.assert_array_equal(pieces.estimate[mask], truth[mask])
    assert snr_db(truth[~mask], pieces.estimate[~mask]) > snr_db(truth[~mask], whole[~mask]) + 1


def test_windows_blend_to_what_they_agree_on() -> None:
    rng = np.random.default_rng(0)
    truth, mask = rng.standard_normal((13, 9, 4)), rng.random((13, 9)) < 0.5
    corners = []

    def fill(traces: Array, alive: Array) -> Array:
        corners.append(traces.shape)
        np.testing.assert_array_equal(traces[~alive], 0.0)
        return np.full(traces.shape, 2.5)

    filled = in_windows(fill, truth, mask, window=(5, 20))
    np.testing.assert_allclose(filled.estimate[~mask], 2.5)
    assert set(corners) == {(5, 9, 4)}
    one_side = np.zeros((30, 1), dtype=bool)
    one_side[0] = True
    alone = in_windows(
        lambda traces, _: np.ones(traces.shape), np.ones((30, 1, 4)), one_side, window=(10, 1 + 1)
    )
    assert alone.estimate[9].max() == 1.0
    np.testing.assert_array_equal(alone.estimate[10:], 0.0)


# --------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mwni(np.ones((4, 8)), np.ones(3, bool), DT), r"mask has shape \(3,\)"),
        (lambda: mwni(np.ones((4, 8)), np.zeros(4, bool), DT), "mask is False everywhere"),
        (lambda: mwni(np.full((4, 8), np.nan), np.ones(4, bool), DT), r"traces\[mask\] contains nan"),
        (lambda: mwni(np.ones((4, 8)), np.ones(4, bool), DT, band=(200, 300)), "band is"),
        (lambda: mwni(np.ones((4, 8)), np.ones(4, bool), DT, noise=0.0), "noise is 0"),
        (lambda: mwni(np.ones((4, 8)), np.ones(4, bool), DT, padding=0.5), "padding is 0.5"),
        (lambda: mwni(np.ones((4, 8)), np.ones(4, bool), DT, memory=1.0), "memory is 1"),
        (lambda: mwni(np.ones(8), np.ones((), bool), DT), "traces has shape"),
        (
            lambda: antileakage(np.ones((2, 8)), [0.0], DT, [0.5], max_wavenumber=1),
            "there are 2 traces, 1 pos",
        ),
        (
            lambda: antileakage(np.ones((2, 8)), [0.0, 0.0], DT, [0.0], max_wavenumber=1),
            "do not extend along every axis",
        ),
        (
            lambda: antileakage(np.ones((2, 8)), [0, 1], DT, [0], max_wavenumber=(1, 1)),
            "max_wavenumber has 2",
        ),
        (lambda: antileakage(np.ones((2, 8)), [0, 1], DT, [0], max_wavenumber=0), "max_wavenumber is 0"),
        (lambda: antileakage(np.ones((2, 8)), [0, 1], DT, [0], max_wavenumber=1, noise=0), "noise is 0"),
        (lambda: in_windows(np.add, np.ones((4, 8)), np.ones(3, bool), window=2), "mask has shape"),
        (
            lambda: in_windows(np.add, np.ones((4, 8)), np.ones(4, bool), window=(2, 2)),
            "window has 2 entries",
        ),
        (
            lambda: in_windows(lambda a, _: a[:1], np.ones((4, 8)), np.ones(4, bool), window=2),
            "fill returned",
        ),
    ],
)
def test_bad_input_is_refused(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


# ------------------------------------------------------------------------------------- numbered problems


@pytest.mark.parametrize("id", ["I4", "I5"])
def test_numbered_problems_reach_their_goals(id: str) -> None:
    demo = run_problem(id, size="s")
    assert demo.certified
    assert all(goal.met for goal in demo.goals), [str(goal) for goal in demo.goals]
    case = load_problem(id, size="s")
    assert case.A.shape[0] == case.b.size
    assert case.score(case.A.conj().T @ case.b if id == "I4" else case.A.H @ case.b)["SNR [dB]"] < 20

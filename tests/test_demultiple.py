"""Radon panels of gathers, the removal of multiples, normal moveout, and their numbered problems."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sparseinv as si
from sparseinv.problems import load_problem, run_problem
from sparseinv.problems.report import Missing
from sparseinv.seismic import (
    demultiple,
    gini,
    hyperbolic_events,
    normal_moveout,
    parabolic_events,
    radon_panel,
    ricker,
    snr_db,
)

Array = np.ndarray[Any, Any]

DT = 0.004
H = np.linspace(100.0, 2000.0, 16)
Q = np.linspace(-0.06, 0.2, 21)
DATA = Path(os.environ.get("SPARSEINV_DATA", Path(__file__).parents[2] / "shared" / "data"))
field_data = pytest.mark.skipif(
    not (DATA / "syn_cmp_mult.su").is_file(), reason="no field data: set SPARSEINV_DATA to their folder"
)


def events(times: list[float], moveouts: list[float]) -> Array:
    amplitudes = [(-1.0) ** k for k in range(len(times))]
    return parabolic_events(90, DT, H, times=times, moveouts=moveouts, amplitudes=amplitudes, f0=25.0)


FLAT, BENT = events([0.1, 0.2], [0.0, 0.01]), events([0.07, 0.13], [0.1, 0.17])


def test_panel_is_the_minimiser_it_claims_to_be() -> None:
    """Optimality in plain NumPy: |A^T r| <= lam everywhere, and the gap of the scaled residual."""
    found = radon_panel(FLAT + BENT, H, DT, Q, penalty=si.L1(0.3), domain="time", tol=1e-6)
    A, x, b = found.operator, found.panel.ravel(), (FLAT + BENT).ravel()
    r = b - A @ x
    g = A.rmatvec(r)
    assert np.abs(g).max() <= 0.3 * 1.05
    y = r * min(1.0, 0.3 / np.abs(g).max())
    gap = 0.5 * r @ r + 0.3 * np.abs(x).sum() - (y @ b - 0.5 * y @ y)
    # the library proves 1e-6 by a better dual point than this one
    assert gap <= 2e-5 * 0.5 * float(b @ b)
    np.testing.assert_allclose(found.gather().ravel(), A @ x)
    assert found.lam == 0.3
    assert found.rule == "given"


def test_level_by_held_out_traces_is_near_the_best() -> None:
    rng = np.random.default_rng(0)
    noisy = FLAT + BENT + 0.1 * rng.standard_normal(FLAT.shape)
    chosen = demultiple(noisy, H, DT, Q, 0.05, band=(1, 90))
    assert "predicting 3 traces" in chosen.radon.rule
    assert chosen.radon.result.success
    noise = noisy - FLAT - BENT
    reached = snr_db(FLAT, chosen.primaries - noise)
    tried = [
        demultiple(noisy, H, DT, Q, 0.05, band=(1, 90), penalty=si.L1(chosen.radon.lam * factor))
        for factor in (0.2, 0.5, 2.0, 5.0)
    ]
    assert reached >= max(snr_db(FLAT, other.primaries - noise) for other in tried) - 2.0


def test_sparse_panels_beat_least_squares_and_keep_amplitudes() -> None:
    rng = np.random.default_rng(1)
    noise = 0.05 * rng.standard_normal(FLAT.shape)
    data = FLAT + BENT + noise
    damped = demultiple(data, H, DT, Q, 0.05, band=(1, 90), penalty=si.L2())
    sparse = demultiple(data, H, DT, Q, 0.05, band=(1, 90), reweight=1)
    assert snr_db(FLAT, sparse.primaries - noise) > snr_db(FLAT, damped.primaries - noise) + 5.0
    assert gini(sparse.radon.panel) > gini(damped.radon.panel) + 0.2
    shrunk = demultiple(data, H, DT, Q, 0.05, band=(1, 90), penalty=si.L1(1.0))
    fitted = demultiple(data, H, DT, Q, 0.05, band=(1, 90), penalty=si.L1(1.0), refit=True)
    share = [np.vdot(BENT, split.multiples) / np.vdot(BENT, BENT) for split in (shrunk, fitted)]
    assert share[0] < 0.9
    assert abs(share[1] - 1.0) < 0.03
    assert fitted.radon.refit is not None
    assert fitted.radon.refit.success


def test_l0_starts_from_l1_and_is_stationary() -> None:
    split = demultiple(FLAT + BENT, H, DT, Q, 0.05, band=(1, 90), penalty=si.L0())
    assert split.radon.result.certificate.kind.name == "PROX_STATIONARITY"
    assert split.radon.result.success
    assert "charge" in split.radon.rule
    assert snr_db(FLAT, split.primaries) > 15.0


def test_a_selector_of_the_library_can_choose() -> None:
    rng = np.random.default_rng(2)
    data = FLAT + BENT + 0.1 * rng.standard_normal(FLAT.shape)
    found = radon_panel(data, H, DT, Q, domain="time", select=si.Discrepancy(sigma=0.1))
    misfit = np.linalg.norm(data - found.gather())
    assert misfit == pytest.approx(0.1 * np.sqrt(data.size), rel=0.01)
    assert "sigma" in found.rule or "residual" in found.rule


def test_mutes_come_back_and_are_not_fitted() -> None:
    data = FLAT + BENT
    muted = data.copy()
    for trace, first in zip(muted, np.linspace(0, 40, H.size).astype(int), strict=True):
        trace[:first] = 0.0
    muted[5] = 0.0
    live = np.logical_or.accumulate(muted != 0, axis=1)
    split = demultiple(muted, H, DT, Q, 0.05, band=(1, 90), penalty=si.L1(0.05))
    np.testing.assert_array_equal(split.radon.live, live)
    assert not split.primaries[~live].any()
    assert not split.multiples[~live].any()
    np.testing.assert_allclose((split.primaries + split.multiples)[live], muted[live], atol=1e-12)
    # fitted as zeros, the muted samples would tear holes into the events
    as_zeros = demultiple(muted, H, DT, Q, 0.05, band=(1, 90), penalty=si.L1(0.05), live=np.ones_like(live))
    truth = np.where(live, FLAT, 0.0)
    assert snr_db(truth, split.primaries) > snr_db(truth, np.where(live, as_zeros.primaries, 0.0)) + 3.0


def test_hyperbolas_focus_on_their_velocity_with_a_wavelet() -> None:
    wavelet = ricker(20.0, DT)[0]
    v = np.linspace(1500.0, 3300.0, 10)
    h = np.arange(20.0, 1020.0, 50.0)
    d = hyperbolic_events(
        150, DT, h, times=[0.2, 0.32], velocities=[v[3], v[6]], amplitudes=[1.0, -1.0], f0=20.0
    )
    found = radon_panel(d, h, DT, v, "hyperbolic", wavelet=wavelet)
    for tau, k in ((0.2, 3), (0.32, 6)):
        near = np.abs(found.panel[:, round(tau / DT) - 2 : round(tau / DT) + 3]).max(axis=1)
        assert near.argmax() == k
    assert snr_db(d, found.gather()) > 20.0


def test_moveout_flattens_and_bends_back() -> None:
    h = np.arange(0.0, 1000.0, 100.0)
    d = hyperbolic_events(
        300, DT, h, times=[0.4, 0.8], velocities=[1800.0, 2200.0], amplitudes=[1.0, 1.0], f0=15.0
    )
    flat = normal_moveout(d, h, DT, [0.4, 0.8], [1800.0, 2200.0])
    for tau in (0.4, 0.8):
        place = round(tau / DT)
        peaks = flat[:, place - 10 : place + 11].argmax(axis=1)
        assert np.abs(peaks - 10).max() <= 1
    back = normal_moveout(flat, h, DT, [0.4, 0.8], [1800.0, 2200.0], inverse=True)
    inner = (slice(None), slice(150, 270))
    assert snr_db(d[inner], back[inner]) > 30.0
    muted = normal_moveout(d, h, DT, [0.4, 0.8], [1800.0, 2200.0], stretch=0.3)
    tau = np.arange(300) * DT
    expected = np.hypot(tau, h[:, None] / np.interp(tau, [0.4, 0.8], [1800.0, 2200.0])) > 1.3 * tau
    assert not muted[expected].any()
    np.testing.assert_array_equal(muted[~expected], flat[~expected])
    np.testing.assert_allclose(normal_moveout(d[:1], [0.0], DT, [0.0], [2000.0]), d[:1], atol=1e-12)


@pytest.mark.parametrize("id", ["R1", "R2"])
def test_numbered_problems_reach_their_goals(id: str) -> None:
    demo = run_problem(id, size="s")
    assert all(goal.met for goal in demo.goals), [str(goal) for goal in demo.goals]
    assert demo.certified
    for draw in demo.figures.values():
        assert draw()[0] is not None


@field_data
@pytest.mark.parametrize("id", ["R3", "R4"])
def test_field_problems_reach_their_goals(id: str) -> None:
    demo = run_problem(id, size="s", data=DATA)
    assert all(goal.met for goal in demo.goals), [str(goal) for goal in demo.goals]
    assert demo.certified
    for draw in demo.figures.values():
        assert draw()[0] is not None


def test_absent_field_data_are_named(tmp_path: Path) -> None:
    with pytest.raises(Missing, match=re.escape("syn_cmp_mult.su (SeismicLab) is needed: it is not in")):
        run_problem("R3", size="s", data=tmp_path)


def test_case_is_ready_for_any_solver() -> None:
    case = load_problem("R1", size="s")
    result = si.solve(case.A, case.b, case.penalty, solver=si.FISTA(), tol=1e-3)
    assert result.success
    assert case.score(result.x)["primaries [dB]"] > 20.0


REFUSALS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: radon_panel(FLAT[0], H, DT, Q), ValueError, "traces has shape (90,), but a gather"),
    (lambda: radon_panel(FLAT, H[:3], DT, Q), ValueError, "offsets has shape (3,)"),
    (lambda: radon_panel(0 * FLAT, H, DT, Q), ValueError, "traces is zero"),
    (lambda: radon_panel(FLAT[:3], H[:3], DT, Q), ValueError, "traces has 3 live traces, too few"),
    (lambda: radon_panel(FLAT, H, DT, Q, penalty=si.MCP(1.0)), TypeError, "but L1, L0 or L2"),
    (lambda: radon_panel(FLAT, H, DT, Q, penalty=si.L2(1.0), reweight=1), ValueError, "only L1 can be"),
    (lambda: radon_panel(FLAT, H, DT, Q, domain="tau"), ValueError, "domain is 'tau'"),
    (lambda: radon_panel(FLAT, H, DT, Q, domain="time", band=(1, 2)), ValueError, "band needs domain="),
    (lambda: radon_panel(FLAT, H, DT, Q, wavelet=[1.0, 2.0]), ValueError, "an odd number of samples"),
    (lambda: radon_panel(FLAT, H, DT, Q, live=np.ones(3)), ValueError, "one bool for each sample"),
    (
        lambda: radon_panel(FLAT, H, DT, Q, penalty=si.L1(1.0), select=si.Discrepancy(sigma=1.0)),
        ValueError,
        "select and a penalty with a lambda exclude each other",
    ),
    (lambda: demultiple(FLAT, H, DT, Q, 1.0), ValueError, "cut is 1.0, but moveouts"),
    (
        lambda: demultiple(FLAT, H, DT, Q, 0.1, "hyperbolic"),
        ValueError,
        "curve is 'hyperbolic', but multiples",
    ),
    (lambda: normal_moveout(FLAT, H, DT, [0.0, 0.0], [1.0, 2.0]), ValueError, "times does not increase"),
    (lambda: normal_moveout(FLAT, H, DT, [0.0], [-1.0]), ValueError, "velocities contains -1.0"),
    (lambda: normal_moveout(FLAT, H, DT, [0.0], [1.0, 2.0]), ValueError, "one velocity a time is needed"),
    (lambda: normal_moveout(FLAT, H, DT, [0.0], [1.0], t0=-1), ValueError, "t0 is -1"),
    (lambda: normal_moveout(1j * FLAT, H, DT, [0.0], [1.0]), TypeError, "traces is complex"),
]


@pytest.mark.parametrize(("call", "error", "sentence"), REFUSALS)
def test_bad_input_is_refused(call: Callable[[], Any], error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=re.escape(sentence)):
        call()


def _bent() -> tuple[Array, Array, Array]:
    h, q = np.linspace(0, 1000, 12), np.linspace(-0.05, 0.15, 9)
    d = parabolic_events(60, 0.004, h, times=[0.1], moveouts=[0.075], amplitudes=[1], f0=25)
    return d + 0.01 * np.random.default_rng(0).standard_normal(d.shape), h, q


def test_weights_and_signs_of_the_penalty_hold_in_every_step() -> None:
    d, h, q = _bent()
    dear = np.repeat([1.0, 1.0, 1.0, 1.0, 1.0, np.inf, 1.0, 1.0, 1.0], 60)
    plain = radon_panel(d, h, 0.004, q, band=(1, 80))
    assert plain.panel[5].any()
    for options in ({}, {"reweight": 1}, {"penalty": si.L0(weights=dear)}):
        found = radon_panel(d, h, 0.004, q, band=(1, 80), **({"penalty": si.L1(weights=dear)} | options))
        assert not found.panel[5].any()
        # the level is chosen with the curve left out, too, and it predicts worse
        assert found.rule != plain.rule
    positive = si.L1(nonnegative=True)
    assert radon_panel(d, h, 0.004, q, band=(1, 80), penalty=positive, reweight=1).panel.min() == 0.0


def test_l0_may_be_asked_for_a_residual() -> None:
    d, h, q = _bent()
    rule = si.Discrepancy(sigma=0.05)
    found = radon_panel(d, h, 0.004, q, band=(1, 80), penalty=si.L0(), select=rule, tol=1e-2)
    assert np.isnan(found.lam)
    assert found.rule != "given"
    assert found.success == found.result.success


def test_the_order_of_traces_does_not_choose_the_level() -> None:
    d, h, q = _bent()
    mixed = np.random.default_rng(3).permutation(h.size)
    sorted_, shuffled = (radon_panel(d[i], h[i], 0.004, q, band=(1, 80)) for i in (slice(None), mixed))
    assert shuffled.rule == sorted_.rule
    assert shuffled.lam == pytest.approx(sorted_.lam, rel=1e-9)

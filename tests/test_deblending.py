"""Deblending: shots come back, levels are chosen without the truth, records of all shapes are taken."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sparseinv as si
from sparseinv.operators import Blending
from sparseinv.problems import Missing, load_problem, run_problem
from sparseinv.seismic import deblend, hyperbolic_events, local_plane_waves, snr_db

DT = 0.004
FIELD = Path(os.environ.get("SPARSEINV_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")


def shots(count: int = 16, samples: int = 120) -> np.ndarray:
    h = 20.0 * np.arange(count)
    return hyperbolic_events(
        samples, DT, h, times=[0.1, 0.25], velocities=[1800, 2200], amplitudes=[1, -0.7], f0=25
    )


def fired(count: int, samples: int, seed: int = 0) -> np.ndarray:
    half = 0.5 * samples * DT
    times = half * np.arange(count) + np.random.default_rng(seed).uniform(-0.4, 0.4, count) * half
    return times - times.min()


def test_overlapping_shots_are_separated() -> None:
    truth = shots()
    times = fired(*truth.shape)
    record = Blending(truth.shape, times, DT) @ truth.ravel()
    found = deblend(record, times, DT, truth.shape[1], window=(8, 40))
    assert snr_db(truth, found.estimate) > 12
    assert found.result.success
    # the certificate belongs to the problem as it is stated
    blending = Blending(truth.shape, times, DT)
    S = local_plane_waves(blending, (8, 40))
    certificate = si.certify(blending @ S, record, si.L1(found.lam), found.result.x)
    assert certificate.relative <= 5e-3  # by the plainest dual point, the scaled residual
    np.testing.assert_allclose((S @ found.result.x).reshape(truth.shape), found.estimate)
    assert found.coefficients.shape == S.dims
    assert found.selection is not None
    assert "held out" in found.rule


def test_the_level_chosen_is_close_to_the_best() -> None:
    truth = shots(24, 160)
    times = fired(*truth.shape, seed=5)
    blending = Blending(truth.shape, times, DT)
    record = blending @ truth.ravel()
    record += 0.02 * np.random.default_rng(1).standard_normal(record.size)
    chosen = deblend(record, times, DT, truth.shape[1], window=(8, 40))
    assert chosen.selection is not None
    ratios = [
        snr_db(truth, deblend(record, times, DT, truth.shape[1], window=(8, 40), lam=float(lam)).estimate)
        for lam in chosen.selection.lams
    ]
    assert snr_db(truth, chosen.estimate) >= max(ratios) - 0.5


def test_single_precision_several_receivers_and_sources() -> None:
    one = shots(8, 80)
    pair = np.stack([one, one[:, ::-1] * 0.5])
    wait = np.stack([np.zeros(8), np.random.default_rng(0).uniform(0.0, 0.2, 8)])
    labels = np.tile(np.arange(8), (2, 1))
    record = (Blending(pair.shape, wait, DT, records=labels) @ pair.ravel()).reshape(8, -1)
    found = deblend(record, wait, DT, 80, records=labels, window=(8, 40), lam=0.01)
    assert found.estimate.shape == pair.shape
    assert snr_db(pair, found.estimate) > snr_db(pair, pseudo(pair, wait, labels)) + 3
    # receivers are separated one by one
    times = fired(8, 80)
    gathers = np.stack([one, -2.0 * one], axis=1)
    record = (Blending(gathers.shape, times, DT) @ gathers.ravel()).reshape(2, -1)
    both = deblend(record.astype(np.float32), times, DT, 80, window=(8, 40), lam=0.01, tol=1e-8)
    assert both.estimate.dtype == np.float32
    alone = deblend(record[1], times, DT, 80, window=(8, 40), lam=0.01, tol=1e-8)
    assert snr_db(alone.estimate, both.estimate[:, 1]) > 25


def pseudo(pair: np.ndarray, wait: np.ndarray, labels: np.ndarray) -> np.ndarray:
    B = Blending(pair.shape, wait, DT, records=labels)
    return (B.H @ (B @ pair.ravel())).reshape(pair.shape)


def test_silence_and_a_single_shot() -> None:
    silent = deblend(np.zeros(100), [0.0, 0.1], DT, 50)
    assert silent.result.success
    assert not silent.estimate.any()
    one = deblend(np.sin(np.arange(60.0)), 0.02, DT, 50, lam=1e-3, tol=1e-6)
    np.testing.assert_allclose(one.estimate[0], np.sin(np.arange(60.0))[5:55], atol=1e-2)


def test_bad_records_are_refused() -> None:
    good: dict[str, Any] = {"record": np.ones(60), "times": [0.0, 0.1], "dt": DT, "n_samples": 30, "lam": 0.1}
    for change, error, message in (
        ({"record": 1.0}, ValueError, "record is a number"),
        ({"record": np.full(60, np.nan)}, ValueError, "record"),
        ({"record": np.ones(60) * 1j}, TypeError, "record is complex"),
        ({"record": np.ones(20)}, ValueError, "times: shot 1"),
        ({"select": si.HoldOut()}, ValueError, "lam and select are both given"),
        ({"window": (2, 3, 4)}, ValueError, "window has 3 entries"),
        ({"records": [0, 1]}, ValueError, "record has shape"),
    ):
        with pytest.raises(error, match=message):
            deblend(**{**good, **change})


def test_choice_alone_is_that_of_the_whole_selection() -> None:
    rng = np.random.default_rng(0)
    A = rng.standard_normal((40, 20))
    b = A[:, 3] + 0.3 * rng.standard_normal(40)
    rule = si.HoldOut(0.25)
    whole = si.select_lam(A, b, si.L1(), rule, n_lams=10)
    alone = si.select_lam(A, b, si.L1(), rule, n_lams=10, path=False)
    assert alone.lam == whole.lam
    assert alone.path is None
    assert alone.result is None
    np.testing.assert_array_equal(alone.criterion, whole.criterion)


def test_margin_takes_the_largest_level_that_predicts_nearly_as_well() -> None:
    rng = np.random.default_rng(0)
    A = rng.standard_normal((40, 20))
    b = A[:, 3] + 0.3 * rng.standard_normal(40)
    plain = si.select_lam(A, b, si.L1(), si.HoldOut(0.25), n_lams=30, path=False)
    for margin in (0.0, 0.05, 0.3):
        rule = si.HoldOut(0.25, margin=margin)
        choice = si.select_lam(A, b, si.L1(), rule, n_lams=30, path=False)
        error = dict(zip(choice.lams, choice.criterion, strict=True))
        allowed = [lam for lam in error if error[lam] <= (1 + margin) * min(error.values())]
        assert choice.lam == max(allowed)
        assert (f"margin={margin:g}" in repr(rule)) == (margin > 0)
    assert choice.lam > plain.lam
    for bad in (-0.1, 1.0, np.nan):
        with pytest.raises(ValueError, match="margin"):
            si.HoldOut(margin=bad)


def test_two_sources_of_the_catalogue() -> None:
    demo = run_problem("B2", size="s")
    assert demo.certified
    assert all(goal.met for goal in demo.goals), [str(goal) for goal in demo.goals]
    case = load_problem("B2", size="s")
    assert case.A.shape == (case.b.size, np.prod(case.dims))


def test_marine_gather_of_the_catalogue() -> None:
    try:
        demo = run_problem("B1", size="s", data=FIELD)
    except Missing as missing:
        pytest.skip(str(missing))
    assert demo.certified
    assert all(goal.met for goal in demo.goals), [str(goal) for goal in demo.goals]

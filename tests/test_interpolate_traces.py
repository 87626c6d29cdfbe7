"""Interpolation of missing traces: certified answers, hold-out, one lambda per plane wave, problems."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sparseinv as si
from sparseinv.operators import DCT, FFT, adjoint_test
from sparseinv.problems import CATALOGUE, load_problem, run_problem
from sparseinv.problems.report import Missing
from sparseinv.seismic import interpolate_traces, linear_events, low_frequency_weights, pocs, snr_db
from sparseinv.seismic.balanced_path import BalancedFrame, training_masks

Array = np.ndarray[Any, Any]

SHAPE = (16, 24)
SYNTHESIS = FFT(SHAPE, sizes=(24, 32)).H


def section(noise: float = 0.0, seed: int = 0) -> tuple[Array, Array]:
    truth = linear_events(
        24, 0.004, np.arange(16.0), times=[0.03, 0.07], slopes=[1e-3, -2e-3], amplitudes=[1.0, -0.7], f0=30.0
    )
    rng = np.random.default_rng(seed)
    mask = np.ones(16, dtype=bool)
    mask[1 + rng.choice(14, 5, replace=False)] = False
    return truth + noise * rng.standard_normal(SHAPE), mask


def balanced(mask: Array, kappa: float = 1.0) -> BalancedFrame:
    return BalancedFrame(SYNTHESIS, np.repeat(mask, SHAPE[1]), kappa)


@pytest.mark.parametrize("kappa", [0.0, 0.3, 1.0])
def test_the_balanced_map_is_its_formula_and_has_norm_one(kappa: float) -> None:
    mask = section()[1]
    A = balanced(mask, kappa)
    assert adjoint_test(A) < 1e-13
    rng = np.random.default_rng(0)
    x = rng.standard_normal(A.shape[1]) + 1j * rng.standard_normal(A.shape[1])
    image = SYNTHESIS.matvec(x).real
    parts = [image.reshape(SHAPE)[mask].ravel()]
    if kappa:
        parts.append(kappa * (x - SYNTHESIS.rmatvec(image)))
    np.testing.assert_allclose(A.matvec(x), np.concatenate(parts), atol=1e-13)
    for _ in range(40):
        x = A.rmatvec(A.matvec(x))
        x /= np.linalg.norm(x)
    norm = np.linalg.norm(A.matvec(x))
    assert 0.95 < norm <= A.norm_bound() * (1 + 1e-12)


def test_a_unitary_dictionary_has_nothing_to_balance() -> None:
    assert BalancedFrame(DCT(SHAPE).H, np.ones(384, dtype=bool)).shape == (384, 384)


@pytest.mark.parametrize("kappa", [0.0, 1.0])
def test_at_a_given_level_l1_meets_the_optimality_conditions(kappa: float) -> None:
    truth, mask = section(0.02)
    lam = 0.05
    found = interpolate_traces(
        truth, mask, dictionary=SYNTHESIS, penalty=si.L1(lam), reweight=False, kappa=kappa, tol=1e-5
    )
    assert found.result.success
    A = balanced(mask, kappa)
    g = A.rmatvec(A.matvec(found.x) - A.data(truth[mask].ravel()))
    assert (np.abs(g) <= lam * (1 + 1e-2)).all()
    live = np.abs(found.x) > 0.05 * np.abs(found.x).max()
    assert live.any()
    np.testing.assert_allclose(g[live], -lam * found.x[live] / np.abs(found.x[live]), atol=0.02 * lam)
    assert (found.rule, found.lam, found.lams.size) == ("given", lam, 0)


def test_hard_thresholds_end_where_pocs_does_or_lower() -> None:
    truth, mask = section(0.02)
    level = 0.1
    found = interpolate_traces(truth, mask, dictionary=SYNTHESIS, penalty=si.L0(0.5 * level**2), tol=1e-4)
    run = pocs(truth, mask[:, None], SYNTHESIS, last=0.02, n_iter=200)
    again = pocs(truth, mask[:, None], SYNTHESIS, thresholds=[*run.thresholds[run.thresholds > level], level])
    assert found.result.objective <= 1.05 * again.objective
    # a point to which the step of length 1 returns is one that POCS does not move
    A = balanced(mask)
    x = found.x
    v = x - A.rmatvec(A.matvec(x) - A.data(truth[mask].ravel()))
    back = np.where(np.abs(v) > level, v, 0)
    assert np.linalg.norm(back - x) < 0.05 * np.linalg.norm(x)


def test_the_level_is_the_one_that_hold_out_of_the_library_chooses() -> None:
    truth, mask = section(0.05, seed=3)
    found = interpolate_traces(truth, mask, dictionary=SYNTHESIS, reweight=False, tol=1e-3, held=0.3)
    A = balanced(mask)
    b = A.data(truth[mask].ravel())
    size, squares = 0.0, []
    parts = training_masks(mask, 0.3, 0)
    for part in parts:
        rows = np.repeat(~part[mask], SHAPE[1])
        rows = np.concatenate([rows, np.zeros(b.size - rows.size, dtype=bool)])
        choice = si.select_lam(A, b, si.L1(), si.HoldOut(rows), lams=found.lams, tol=1e-4)
        # the library reports mean squares, this function relative norms
        squares.append(choice.criterion * rows.sum())
        size += np.linalg.norm(truth[mask & ~part]) ** 2
    count = min(map(len, squares))
    total = sum(each[:count] for each in squares)
    assert found.errors.argmin() == np.flatnonzero(found.lams == found.lam)[0] == total.argmin()
    np.testing.assert_allclose(found.errors[:count] ** 2 * size, total, rtol=0.1)
    assert f"{3 * len(parts)} recorded traces held out in {len(parts)} parts" in found.rule


@pytest.mark.parametrize("seed", range(5))
def test_traces_held_out_leave_no_gap_wider_than_there_is(seed: int) -> None:
    live = np.random.default_rng(seed).random(64) < 0.6
    live[[0, 20, 21, 63]] = [True, False, False, True]
    widest = np.diff(np.flatnonzero(live)).max()
    parts = training_masks(live, 0.2, seed)
    held = [np.flatnonzero(live & ~part) for part in parts]
    count = round(0.2 * live.sum())
    assert [each.size for each in held] == [count] * len(parts)
    assert np.unique(np.concatenate(held)).size == count * len(parts) >= 20 > count
    for part in parts:
        assert part[[0, 63]].all()
        assert not (part & ~live).any()
        assert np.diff(np.flatnonzero(part)).max() <= widest


def test_many_traces_are_held_out_in_one_part_and_few_in_what_there_is() -> None:
    assert len(training_masks(np.ones(200, dtype=bool), 0.2, 0)) == 1
    (part,) = training_masks(np.array([True, False, True, False, True]), 0.2, 0)
    np.testing.assert_array_equal(np.flatnonzero(part), [0, 4])


@pytest.mark.parametrize("options", [{}, {"reweight": False}, {"penalty": si.L0()}])
def test_gaps_are_filled_and_recorded_traces_left_alone(options: dict[str, Any]) -> None:
    truth, mask = section()
    found = interpolate_traces(np.where(mask[:, None], truth, np.nan), dictionary="fk", **options)
    np.testing.assert_array_equal(found.mask, mask)
    np.testing.assert_array_equal(found.estimate[mask], truth[mask])
    assert found.result.success
    assert snr_db(truth, found.estimate) > snr_db(truth, np.where(mask[:, None], truth, 0)) + 3.0
    assert f"5 of 16 traces interpolated from {found.result.support.size} of" in repr(found)
    assert found.n_products > found.result.products.total


def test_missing_traces_may_be_nan_zero_or_masked() -> None:
    truth, mask = section()
    runs = [
        interpolate_traces(np.where(mask[:, None], truth, np.nan), dictionary="fk", penalty=si.L1(0.05)),
        interpolate_traces(np.where(mask[:, None], truth, 0.0), dictionary="fk", penalty=si.L1(0.05)),
        interpolate_traces(truth, mask, dictionary="fk", penalty=si.L1(0.05)),
    ]
    for run in runs[1:]:
        np.testing.assert_array_equal(run.estimate, runs[0].estimate)


def test_denoised_traces_are_those_of_the_coefficients() -> None:
    noisy, mask = section(0.1)
    clean = section()[0]
    found = interpolate_traces(noisy, mask, dictionary="fk", keep="denoised")
    np.testing.assert_allclose(found.estimate, (found.synthesis @ found.x).real.reshape(SHAPE), atol=1e-12)
    assert snr_db(clean[mask], found.estimate[mask]) > snr_db(clean[mask], noisy[mask])


def test_reweighting_lowers_what_large_coefficients_pay() -> None:
    truth, mask = section()
    plain = interpolate_traces(truth, mask, dictionary=SYNTHESIS, penalty=si.L1(0.05), reweight=False)
    found = interpolate_traces(truth, mask, dictionary=SYNTHESIS, penalty=si.L1(0.05))
    assert np.shape(found.result.lam) in [(), (SYNTHESIS.shape[1],)]
    assert found.result.support.size < plain.result.support.size
    assert snr_db(truth, found.estimate) > snr_db(truth, plain.estimate)


def test_scale_and_precision() -> None:
    truth, mask = section(0.02)
    found = interpolate_traces(truth, mask, dictionary="fk")
    scaled = interpolate_traces(2.0**40 * truth, mask, dictionary="fk")
    np.testing.assert_allclose(scaled.estimate, 2.0**40 * found.estimate, rtol=1e-9)
    assert scaled.lam == pytest.approx(2.0**40 * found.lam)
    double = interpolate_traces(truth, mask, dictionary="fk", penalty=si.L1(0.02))
    single = interpolate_traces(truth.astype(np.float32), mask, dictionary="fk", penalty=si.L1(0.02))
    assert single.estimate.dtype == np.float32
    assert snr_db(double.estimate, single.estimate.astype(float)) > 40.0


def test_the_callback_sees_every_level_of_the_final_path() -> None:
    truth, mask = section()
    seen: list[tuple[float, Array]] = []
    found = interpolate_traces(
        truth, mask, dictionary="fk", penalty=si.L1(0.1), callback=lambda lam, y: seen.append((lam, y))
    )
    levels = np.array([lam for lam, _ in seen])
    assert (np.diff(levels) < 0).all()
    assert levels[-1] == found.lam == 0.1
    np.testing.assert_array_equal(seen[-1][1][~mask], found.estimate[~mask])


def test_silence_stays_silence() -> None:
    found = interpolate_traces(np.zeros(SHAPE), np.ones(16, dtype=bool), dictionary="fk")
    assert not found.estimate.any()


def test_low_frequencies_name_the_slownesses_of_aliased_events() -> None:
    slopes = [5e-3, -3e-3]
    truth = linear_events(
        96, 0.004, np.arange(32.0), times=[0.05, 0.2], slopes=slopes, amplitudes=[1.0, 0.8], f0=35.0
    )
    mask = np.arange(32) % 2 == 0
    weights, waves, low = low_frequency_weights(truth, mask, 0.004, 40.0)
    assert low.result.success
    assert (weights.min(), weights.shape) == (pytest.approx(1.0, abs=0.02), (waves.shape[0],))
    table = weights.reshape(waves.dimsd)
    k, f = np.fft.fftfreq(table.shape[0]), np.fft.fftfreq(96, 0.004)
    for slope in slopes:
        ratios = []
        for column in np.flatnonzero((f > 30) & (f < 90)):
            # exp(-2 pi i f (t0 + p h)) is the plane wave of wavenumber -f p
            true = np.abs((k + f[column] * slope + 0.5) % 1.0 - 0.5).argmin()
            alias = np.abs((k + f[column] * slope) % 1.0 - 0.5).argmin()
            ratios.append(table[true, column] / table[alias, column])
        # an alias of one event may fall onto the line of the other
        assert np.median(ratios) < 0.5
    found = interpolate_traces(
        truth, mask, dictionary=waves.H, penalty=si.L1(weights=weights), reweight=False
    )
    plain = interpolate_traces(truth, mask, dictionary=waves.H, reweight=False)
    assert snr_db(truth, plain.estimate) < 3.5
    assert snr_db(truth, found.estimate) > 9.0


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"traces": np.zeros(5)}, ValueError, "traces has shape"),
        ({"traces": np.ones((16, 24), complex)}, TypeError, "traces is complex"),
        ({"traces": np.zeros(SHAPE)}, ValueError, "traces has 0 recorded ones"),
        ({"mask": np.ones(3, bool)}, ValueError, r"mask has shape \(3,\)"),
        ({"dictionary": "seislet"}, ValueError, "dictionary is 'seislet'"),
        ({"dictionary": FFT((4, 4)).H}, ValueError, "dictionary has 16 rows, but traces has 384"),
        ({"penalty": "l1"}, TypeError, "penalty is 'l1', but L1 or L0 is needed"),
        ({"penalty": si.L2()}, TypeError, "L1 or L0 is needed"),
        ({"penalty": si.L1}, TypeError, "penalty is the class L1"),
        ({"penalty": si.L1(nonnegative=True)}, ValueError, "only lam, one number, and weights"),
        ({"penalty": si.L1([1.0, 2.0])}, ValueError, "penalty has 2 levels"),
        ({"penalty": si.L0(), "reweight": True}, ValueError, "only L1 can be reweighted"),
        ({"keep": "both"}, ValueError, "keep is 'both'"),
        ({"penalty": si.L1(0.0)}, ValueError, "penalty.lam is 0.0"),
        ({"held": 1.0}, ValueError, "held is 1.0"),
        ({"kappa": 2.0}, ValueError, "kappa is 2.0"),
        ({"penalty": si.L1(weights=np.ones(3))}, ValueError, r"weights has shape \(3,\)"),
    ],
)
def test_bad_input_is_refused(arguments: dict[str, Any], error: type[Exception], sentence: str) -> None:
    call = {"traces": section()[0], "dictionary": "fk"} | arguments
    with pytest.raises(error, match=sentence):
        interpolate_traces(call.pop("traces"), call.pop("mask", None), **call)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"f_low": 1.0}, "f_low is 1.0 Hz, but"),
        ({"spacing": 0}, "spacing is 0"),
        ({"n_wavenumbers": 3}, "n_wavenumbers is 3"),
        ({"traces": np.zeros(4)}, "traces has shape"),
    ],
)
def test_bad_low_bands_are_refused(arguments: dict[str, Any], sentence: str) -> None:
    truth, mask = section()
    call = {"traces": truth, "mask": mask, "dt": 0.004, "f_low": 60.0} | arguments
    with pytest.raises(ValueError, match=sentence):
        low_frequency_weights(call.pop("traces"), call.pop("mask"), call.pop("dt"), call.pop("f_low"), **call)


@pytest.mark.parametrize("id", ["I1", "I2", "I7"])
def test_problems_reach_their_goals_at_the_small_size(id: str) -> None:
    if CATALOGUE[id].module == "sigmoid":
        pytest.importorskip("curvelets")
    demo = run_problem(id, size="s")
    assert demo.certified
    assert demo.goals
    for goal in demo.goals:
        assert goal.met, str(goal)
    case = load_problem(id, size="s")
    start = case.score(np.zeros(case.A.shape[1]))
    result = si.solve(case.A, case.b, case.penalty, tol=1e-3)
    assert result.success
    if id != "I2":
        assert case.score(result.x)["all [dB]"] > start["all [dB]"] + 3.0


def test_absent_field_data_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPARSEINV_DATA", raising=False)
    with pytest.raises(Missing, match=r"sigmoid.npz was not found"):
        load_problem("I2", size="m", data=tmp_path)
    with pytest.raises(Missing, match="SPARSEINV_DATA"):
        run_problem("I2", size="m")


def test_l0_reports_its_charge_and_takes_weights_as_charges() -> None:
    truth, mask = section(0.02)
    found = interpolate_traces(truth, mask, dictionary=SYNTHESIS, penalty=si.L0())
    assert found.lam == pytest.approx(float(np.max(found.result.lam)))
    assert found.lam in found.lams
    again = interpolate_traces(truth, mask, dictionary=SYNTHESIS, penalty=si.L0(found.lam))
    np.testing.assert_allclose(again.estimate, found.estimate, atol=1e-12)
    dear = np.where(np.arange(SYNTHESIS.shape[1]) % 2, 1.0, np.inf)
    half = interpolate_traces(truth, mask, dictionary=SYNTHESIS, penalty=si.L0(0.005, weights=dear))
    assert not half.x[::2].any()
    assert half.x[1::2].any()

"""Dead traces: predicted from the live ones, at a level that whole traces choose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sparseinv as si
from sparseinv.operators import Radon, RealFFT, Restriction, Windows
from sparseinv.problems import load_problem, run_problem
from sparseinv.problems.curved_events import shot
from sparseinv.seismic import fill_traces, held_traces, hyperbolic_events, linear_events, snr_db

DT = 0.004


def gather(count: int = 24, samples: int = 80) -> tuple[np.ndarray, np.ndarray, Any]:
    d = linear_events(
        samples, DT, np.arange(count), times=[0.06, 0.25], slopes=[0.006, -0.004], amplitudes=[1, 0.8], f0=25
    )
    live = np.ones(count, dtype=bool)
    live[1 + np.random.default_rng(1).choice(count - 2, count // 3, replace=False)] = False
    return d, live, RealFFT(d.shape, sizes=(2 * count, samples)).H


def test_dead_traces_come_back_and_live_ones_stay() -> None:
    d, live, S = gather()
    hidden = np.where(live[:, None], d, np.nan)  # what is dead is not looked at
    filled = fill_traces(hidden, live, S)
    np.testing.assert_array_equal(filled.estimate[live], d[live])
    np.testing.assert_array_equal(filled.estimate[~live], filled.predicted[~live])
    assert snr_db(d[~live], filled.estimate[~live]) > 10
    assert filled.result.success
    A = Restriction(d.shape, live, axis=0) @ S
    certificate = si.certify(A, d[live].ravel(), si.L1(filled.lam), filled.result.x)
    assert certificate.relative <= 5e-3  # by the plainest dual point, the scaled residual
    np.testing.assert_allclose((S @ filled.result.x).reshape(d.shape), filled.predicted)
    assert filled.coefficients.shape == S.dims


def test_the_level_of_whole_traces_is_close_to_the_best() -> None:
    d, live, S = gather()
    noisy = d + 0.1 * np.random.default_rng(0).standard_normal(d.shape)
    chosen = fill_traces(noisy, live, S)
    assert chosen.selection is not None
    ratios = [
        snr_db(d, fill_traces(noisy, live, S, si.L1(float(lam))).predicted) for lam in chosen.selection.lams
    ]
    assert snr_db(d, chosen.predicted) >= max(ratios) - 0.3
    assert max(ratios) - min(ratios) > 1.0  # the choice matters


def test_held_traces_are_whole_and_inside() -> None:
    live = np.random.default_rng(0).random(40) < 0.6
    held = held_traces(live, 7).reshape(-1, 7)
    assert held.shape[0] == live.sum()
    assert (held.all(axis=1) == held.any(axis=1)).all()
    assert not held[[0, -1]].any()
    assert 0.1 <= held.mean() <= 0.3
    for count in (4, 5, 6, 9):
        assert held_traces([True] * count, 1).any()
    with pytest.raises(ValueError, match="mask names 3 traces"):
        held_traces([True] * 3, 4)


def test_given_levels_and_other_penalties() -> None:
    d, live, S = gather()
    given = fill_traces(d, live, S, si.L1(0.05))
    assert given.lam == 0.05
    assert given.rule == "given"
    assert given.selection is None
    ridge = fill_traces(d, live, S, si.L2(), lams=[1.0, 0.1, 0.01])
    assert ridge.lam in (1.0, 0.1, 0.01)
    with pytest.raises(ValueError, match="lams is missing: L2 has no largest level"):
        fill_traces(d, live, S, si.L2())
    single = fill_traces(d.astype(np.float32), live, S, si.L1(0.05))
    assert single.estimate.dtype == single.predicted.dtype == np.float32
    np.testing.assert_allclose(single.predicted, given.predicted, atol=0.05)
    silent = fill_traces(np.zeros_like(d), live, S)
    assert silent.result.success
    assert not silent.estimate.any()


def test_bad_sections_are_refused() -> None:
    d, live, S = gather()
    for arguments, message in (
        ((d[0], live, S), "traces has shape"),
        ((d * 1j, live, S), "traces has shape .* complex128"),
        ((d, live[1:], S), "mask has shape"),
        ((d, live.astype(int), S), "mask has shape .* int"),
        ((d, live, RealFFT((3, 4)).H), "synthesis makes 12 samples"),
        ((np.where(live[:, None], np.nan, d), live, S), "traces"),
        ((d, np.zeros(24, dtype=bool), S), "mask is False for every trace"),
    ):
        with pytest.raises(ValueError, match=message):
            fill_traces(*arguments)


def test_local_slopes_beat_a_line_between_traces() -> None:
    d = hyperbolic_events(
        100, DT, 20.0 * (np.arange(21) - 10), times=[0.1], velocities=[1500], amplitudes=[1], f0=20
    )
    live = np.ones(21, dtype=bool)
    live[[3, 4, 8, 14, 16, 17]] = False
    inner = Radon((9, 100), 20.0 * (np.arange(9) - 4), DT, np.linspace(-1, 1, 21) / 1400)
    filled = fill_traces(d, live, Windows(d.shape, 9, axes=0, inner=inner.H).H)
    straight = np.array([np.interp(np.arange(21), np.flatnonzero(live), row) for row in d[live].T]).T
    assert snr_db(d, filled.estimate) > snr_db(d, straight) + 5


def test_curved_events_of_the_catalogue() -> None:
    demo = run_problem("I6", size="s")
    assert demo.certified
    assert all(goal.met for goal in demo.goals), [str(goal) for goal in demo.goals]
    case = load_problem("I6", size="s")
    assert case.A.shape == (case.b.size, np.prod(case.dims))


def test_simulated_shot_is_taken_where_it_is_found(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    R = rng.standard_normal((51, 11, 24))
    np.savez(
        tmp_path / "input.npz", R=R, t=0.005 * np.arange(24), r=np.array([np.arange(11) * 10.0, np.zeros(11)])
    )
    held = shot("m", 0, tmp_path)
    np.testing.assert_allclose(held.truth, R[50, :, ::2] / np.abs(R[50, :, ::2]).max())
    assert held.dt == pytest.approx(0.01)
    assert held.dx == 10.0
    np.testing.assert_array_equal(held.section, held.truth)


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"penalty": si.L0Ball(3)}, TypeError, "one with a level"),
        ({"penalty": "l1"}, TypeError, "penalty is 'l1', but one with a level"),
        ({"penalty": si.L1(0.1), "select": si.Pivotal()}, ValueError, "penalty has a lam, so that select"),
        ({"penalty": si.L1(0.1), "lams": [1.0, 0.1]}, ValueError, "penalty has a lam, so that select"),
        ({"select": "pivotal"}, TypeError, "select is"),
    ],
)
def test_what_would_be_ignored_or_fail_inside_is_refused(
    options: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    d, live, S = gather()
    with pytest.raises(error, match=sentence):
        fill_traces(d, live, S, **options)

"""Projection onto convex sets against its formula and against ISTA of the library."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import sparseinv as si
from sparseinv.operators import DCT, FFT, DenseMatrix, Operator, Restriction
from sparseinv.seismic import POCSResult, pocs, snr_db

Array = np.ndarray[Any, Any]

SHAPE = (12, 20)
FRAMES = {
    "dct": lambda: DCT(SHAPE).H,
    "fft": lambda: FFT(SHAPE).H,
    "fft-padded": lambda: FFT(SHAPE, sizes=(16, 24)).H,
    "curvelet": lambda: curvelet(),
}


def curvelet() -> Operator:
    pytest.importorskip("curvelets")
    from sparseinv.operators import Curvelet

    return Curvelet(SHAPE, scales=2).H


def section(seed: int = 0) -> tuple[Array, Array]:
    """Two plane waves with a little noise, and a mask of whole traces."""
    rng = np.random.default_rng(seed)
    traces, samples = SHAPE
    i, t = np.arange(traces)[:, None], np.arange(samples)
    waves = np.cos(2 * np.pi * (3 * i / traces + 2 * t / samples))
    waves += 0.5 * np.sin(2 * np.pi * (5 * t / samples - i / traces))
    mask = np.ones((traces, 1), dtype=bool)
    mask[1 + rng.choice(traces - 2, traces // 3, replace=False)] = False
    return waves + 0.05 * rng.standard_normal(waves.shape), mask


class RealLinear(Operator):
    """[M S; (I - S^H S) / sqrt(a)], the map of the balanced problem; S may be linear over the reals only."""

    def __init__(self, S: Operator, mask: Array, weight: float) -> None:
        self.S, self.rows = S, np.flatnonzero(np.broadcast_to(mask, SHAPE).ravel())
        self.factor = weight**-0.5
        super().__init__((self.rows.size + S.shape[1], S.shape[1]), S.dtype)
        self.clinear = False

    def _matvec(self, x: Array) -> Array:
        image = self.S.matvec(x).real
        return np.concatenate([image[self.rows], self.factor * (x - self.S.rmatvec(image))])

    def _rmatvec(self, y: Array) -> Array:
        back = np.zeros(self.S.shape[0])
        back[self.rows] = y[: self.rows.size].real
        rest = y[self.rows.size :]
        out_of_range = rest - self.S.rmatvec(self.S.matvec(rest).real)
        return self.S.rmatvec(back) + self.factor * out_of_range


def penalty_of(kind: str, level: float, weight: float) -> Any:
    return si.L1(level / weight) if kind == "soft" else si.L0(level**2 / (2 * weight))


def steps(A: Any, b: Array, penalty: Any, weight: float, count: int, x0: Array | None = None) -> si.Result:
    """Some proximal gradient steps of length a."""
    solver = si.ISTA(norm=weight**-0.5, continuation=False)
    return si.solve(A, b, penalty, solver=solver, max_iter=count, tol=0.0, x0=x0)


@pytest.mark.parametrize("kind", ["soft", "hard"])
@pytest.mark.parametrize("weight", [1.0, 0.4])
@pytest.mark.parametrize("transform", ["dct", "fft"])
def test_with_a_unitary_transform_it_is_ista_and_iterative_hard_thresholding(
    kind: str, weight: float, transform: str
) -> None:
    data, mask = section()
    S, level = FRAMES[transform](), 0.3
    A, b = Restriction(SHAPE, mask.ravel(), axis=0) @ S, data[mask.ravel()].ravel()
    penalty = penalty_of(kind, level, weight)
    first = pocs(data, mask, S, threshold=kind, weight=weight, thresholds=[level])
    for count in (2, 3, 8):
        ours = pocs(data, mask, S, threshold=kind, weight=weight, thresholds=[level] * count)
        theirs = steps(A, b, penalty, weight, count - 1, x0=first.x)
        np.testing.assert_allclose(ours.x, theirs.x, atol=1e-12)
        assert 0 < np.count_nonzero(ours.x) < ours.x.size
        assert ours.lam == pytest.approx(penalty.lam, rel=1e-14)
        assert ours.objective == pytest.approx(theirs.objective, rel=1e-12)


@pytest.mark.parametrize("kind", ["soft", "hard"])
@pytest.mark.parametrize("weight", [1.0, 0.4])
@pytest.mark.parametrize("transform", list(FRAMES))
def test_with_a_tight_frame_it_is_ista_on_the_balanced_problem(
    kind: str, weight: float, transform: str
) -> None:
    data, mask = section()
    S, level = FRAMES[transform](), 0.25
    A = RealLinear(S, mask, weight)
    b = np.concatenate([data[mask.ravel()].ravel(), np.zeros(S.shape[1])])
    penalty = penalty_of(kind, level, weight)
    first = pocs(data, mask, S, threshold=kind, weight=weight, thresholds=[level])
    for count in (2, 3, 8):
        ours = pocs(data, mask, S, threshold=kind, weight=weight, thresholds=[level] * count)
        theirs = steps(A, b, penalty, weight, count - 1, x0=first.x)
        np.testing.assert_allclose(ours.x, theirs.x, atol=1e-12)
        assert ours.objective == pytest.approx(theirs.objective, rel=1e-12)
        assert ours.objective <= first.objective


def test_the_first_iterate_is_a_step_from_zero() -> None:
    data, mask = section()
    S = FRAMES["fft-padded"]()
    A = RealLinear(S, mask, 1.0)
    b = np.concatenate([data[mask.ravel()].ravel(), np.zeros(S.shape[1])])
    theirs = steps(A, b, si.L0(0.02), 1.0, 4).x
    np.testing.assert_allclose(pocs(data, mask, S, thresholds=[0.2] * 4).x, theirs, atol=1e-12)


def test_the_hard_level_is_the_square_root_of_twice_lambda() -> None:
    # a coefficient just above the level stays, one just below goes; so does prox of L0(level^2 / 2)
    mask, S = np.ones(4, dtype=bool), DenseMatrix(np.eye(4))
    data = np.array([3.0, 0.5001, 0.4999, -0.5001])
    kept = pocs(data, mask, S, thresholds=[0.5])
    np.testing.assert_array_equal(kept.x, [3.0, 0.5001, 0.0, -0.5001])
    assert kept.lam == 0.125
    np.testing.assert_array_equal(si.L0(kept.lam).bind(4).prox(data, 1.0), kept.x)
    soft = pocs(data, mask, S, thresholds=[0.5], threshold="soft")
    np.testing.assert_allclose(soft.x, [2.5, 0.0001, 0.0, -0.0001], atol=1e-15)


@pytest.mark.parametrize("schedule", ["exponential", "linear", "data"])
def test_schedules_fall_from_first_to_last_and_fill_the_gaps(schedule: str) -> None:
    data, mask = section()
    S = FRAMES["fft"]()
    peak = float(np.abs(S.rmatvec(np.where(mask, data, 0).ravel())).max())
    run = pocs(data, mask, S, schedule=schedule, first=0.9, last=0.05, n_iter=40)
    levels = run.thresholds
    assert levels.size == run.n_iter == 40
    assert (np.diff(levels) <= 0).all()
    assert levels[0] <= 0.9 * peak * (1 + 1e-12)
    assert levels[-1] >= 0.05 * peak * (1 - 1e-12)
    if schedule != "data":
        assert levels[[0, -1]] == pytest.approx([0.9 * peak, 0.05 * peak])
    missing = ~mask.ravel()
    assert snr_db(data[missing], run.estimate[missing]) > 15.0
    # the recorded samples are put back bit by bit
    np.testing.assert_array_equal(run.estimate[~missing], data[~missing])
    assert (run.n_matvec, run.n_rmatvec) == (40, 41)


def test_a_weight_below_one_denoises_the_recorded_traces() -> None:
    clean, mask = section()
    noisy = clean + 0.3 * np.random.default_rng(1).standard_normal(SHAPE)
    live = mask.ravel()
    run = pocs(noisy, mask, FRAMES["fft"](), weight=0.3, last=0.15)
    assert snr_db(clean[live], run.estimate[live]) > snr_db(clean[live], noisy[live]) + 2.0


def test_complex_slices_single_precision_nan_and_one_dimension() -> None:
    rng = np.random.default_rng(2)
    line = np.exp(2j * np.pi * 3 * np.arange(16) / 16)
    mask = np.ones(16, dtype=bool)
    mask[rng.choice(16, 5, replace=False)] = False
    run = pocs(np.where(mask, line, np.nan), mask, FFT(16).H, n_iter=60)
    np.testing.assert_allclose(run.estimate, line, atol=1e-3)
    single = pocs(line.astype(np.complex64), mask, FFT(16).H, n_iter=60)
    assert single.estimate.dtype == single.x.dtype == np.complex64
    np.testing.assert_allclose(single.estimate, run.estimate, atol=1e-5)
    real = pocs(section()[0].astype(np.float32), section()[1], FRAMES["fft"](), n_iter=5)
    assert real.estimate.dtype == np.float32
    assert "POCS: 5 iterations" in repr(real)


def test_the_callback_sees_every_iterate_and_may_stop() -> None:
    data, mask = section()
    seen: list[Array] = []

    def watch(k: int, y: Array) -> None:
        assert not y.flags.writeable
        seen.append(y.copy())
        if k == 3:
            raise StopIteration

    run = pocs(data, mask, FRAMES["dct"](), callback=watch)
    assert isinstance(run, POCSResult)
    assert (len(seen), run.n_iter, run.changes.size) == (4, 4, 4)
    np.testing.assert_array_equal(seen[-1], run.estimate)


def test_no_signal_stays_no_signal() -> None:
    run = pocs(np.zeros(SHAPE), section()[1], FRAMES["fft"](), schedule="data", n_iter=3)
    assert not run.estimate.any()
    assert run.objective == 0.0


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"threshold": "firm"}, ValueError, 'threshold is \'firm\', but "hard" or "soft"'),
        ({"schedule": "cosine"}, ValueError, "schedule is 'cosine', but one of"),
        ({"weight": 1.5}, ValueError, r"weight is 1.5, but it must lie in \(0, 1\]"),
        ({"last": 2.0}, ValueError, "last is 2.0, but thresholds fall"),
        ({"n_iter": 0}, ValueError, "n_iter is 0"),
        ({"thresholds": []}, ValueError, "thresholds has shape"),
        ({"thresholds": [-1.0]}, ValueError, "thresholds holds a level"),
        ({"mask": np.zeros((12, 1), bool)}, ValueError, "mask is False everywhere"),
        ({"mask": np.ones((5, 1), bool)}, ValueError, "does not broadcast"),
        ({"mask": np.ones((12, 1))}, TypeError, "mask has dtype float64"),
        ({"synthesis": FFT((4, 4)).H}, ValueError, "synthesis has 16 rows, but data has 240"),
        ({"data": np.full(SHAPE, np.nan)}, ValueError, r"data\[mask\] contains nan"),
    ],
)
def test_bad_input_is_refused(arguments: dict[str, Any], error: type[Exception], sentence: str) -> None:
    data, mask = section()
    call = {"data": data, "mask": mask, "synthesis": FFT(SHAPE).H} | arguments
    with pytest.raises(error, match=sentence):
        pocs(call.pop("data"), call.pop("mask"), call.pop("synthesis"), **call)

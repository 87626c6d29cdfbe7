"""Blending against formulas, PyLops and its own dense matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sparseinv.operators import Blending, Operator, adjoint_test

RNG = np.random.default_rng(4)
CASES: dict[str, dict[str, Any]] = {
    "on the grid": {"dims": (4, 12), "times": [0.0, 0.1, 0.13, 0.21]},
    "one shot": {"dims": (1, 7), "times": [0.02]},
    "one sample": {"dims": (3, 1), "times": [0.0, 0.015, 0.02], "shift": "linear"},
    "phase": {"dims": (4, 12), "times": [0.0, 0.103, 0.1345, 0.21]},
    "phase, odd": {"dims": (2, 7), "times": [0.004, 0.033]},
    "linear": {"dims": (4, 12), "times": [0.0, 0.103, 0.1345, 0.21], "shift": "linear"},
    "receivers": {"dims": (3, 2, 9), "times": [0.0, 0.043, 0.051]},
    "cut": {"dims": (4, 3, 13), "times": [-0.023, 0.103, 0.1345, 0.21], "n_record": 28},
    "cut, linear": {"dims": (3, 13), "times": [-0.023, 0.103, 0.2345], "n_record": 28, "shift": "linear"},
    "groups": {"dims": (4, 9), "times": [0.0, 0.034, 0.0, 0.021], "records": [0, 0, 1, 1]},
    "two sources": {
        "dims": (2, 3, 12), "times": RNG.uniform(0, 0.1, (2, 3)), "records": [[0, 1, 2], [0, 1, 2]],
    },
    "two sources and receivers": {
        "dims": (2, 3, 2, 13), "times": RNG.uniform(0, 0.1, (2, 3)), "records": [[0, 1, 2], [1, 0, 2]],
    },
}  # fmt: skip


@pytest.fixture(params=CASES)
def blending(request: pytest.FixtureRequest) -> Blending:
    return Blending(dt=0.01, **CASES[request.param])


def dense(op: Operator) -> np.ndarray:
    return np.array([op.matvec(unit) for unit in np.eye(op.shape[1])]).T


def draw(n: int, dtype: Any = np.float64, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    v = rng.standard_normal(n)
    return (v + 1j * rng.standard_normal(n) if np.dtype(dtype).kind == "c" else v).astype(dtype)


def test_adjoint_norm_columns_and_batches(blending: Blending) -> None:
    matrix = dense(blending)
    m, n = blending.shape
    assert adjoint_test(blending) < 1e-14
    x, y = draw(n, complex), draw(m, complex, seed=1)
    assert np.vdot(y, blending @ x) == pytest.approx(np.vdot(blending.rmatvec(y), x), abs=1e-12)
    assert blending.norm_bound() >= np.linalg.norm(matrix, 2) * (1 - 1e-13)
    index = np.arange(n)
    columns = blending.columns(index)
    np.testing.assert_allclose(columns, matrix, atol=1e-14)
    assert columns.flags.f_contiguous
    np.testing.assert_allclose(blending.columns(np.array([-1, 0])), matrix[:, [-1, 0]], atol=1e-14)
    np.testing.assert_allclose(blending.column_norms(), np.linalg.norm(matrix, axis=0), atol=1e-13)
    X, Y = draw(3 * n).reshape(n, 3), draw(3 * m).reshape(m, 3)
    np.testing.assert_allclose(blending.matmat(X), matrix @ X, atol=1e-13)
    np.testing.assert_allclose(blending.rmatmat(Y), matrix.T @ Y, atol=1e-13)
    np.testing.assert_allclose(blending @ np.arange(n), matrix @ np.arange(n), atol=1e-11)


def test_precision_is_kept_and_arguments_are_left_alone(blending: Blending) -> None:
    m, n = blending.shape
    for dtype in (np.float32, np.complex64, np.float64, np.complex128):
        x, y = draw(n, dtype), draw(m, dtype, seed=1)
        x.flags.writeable = y.flags.writeable = False
        image, back = blending @ x, blending.rmatvec(y)
        assert image.dtype == back.dtype == dtype
        tol = 1e-5 if np.dtype(dtype).itemsize <= 8 and dtype is not np.float64 else 1e-13
        assert abs(np.vdot(y, image) - np.vdot(back, x)) <= tol * np.linalg.norm(x) * np.linalg.norm(y) * 2
        assert not np.shares_memory(back, y)


def test_bound_is_the_norm_on_the_grid_and_close_to_it_off_the_grid() -> None:
    on = Blending((4, 12), [0.0, 0.1, 0.13, 0.21], 0.01)
    assert on.norm_bound() == pytest.approx(np.linalg.norm(dense(on), 2), rel=1e-13)
    for shift in ("fourier", "linear"):
        off = Blending((3, 60), [0.0, 0.203, 0.3345], 0.01, shift=shift)
        assert off.norm_bound() <= 1.05 * np.linalg.norm(dense(off), 2)


def test_shots_are_shifted_and_added() -> None:
    # smooth pulses, whose shifts are known in closed form
    dt, n = 0.004, 120
    times = np.array([0.0, 0.2013, 0.3302])
    centers = np.array([0.2, 0.25, 0.15])
    t = np.arange(n) * dt
    shots = np.exp(-(((t - centers[:, None]) / 0.02) ** 2))
    for shift, tol in (("fourier", 1e-9), ("linear", 1e-2)):
        B = Blending(shots.shape, times, dt, shift=shift)
        at = np.arange(B.n_record) * dt
        expected = sum(np.exp(-(((at - s - c) / 0.02) ** 2)) for s, c in zip(times, centers, strict=True))
        np.testing.assert_allclose(B @ shots.ravel(), expected, atol=tol)
        # cut out again, every shot shows itself where no other one was
        cut = (B.H @ (B @ shots.ravel())).reshape(B.dims)
        np.testing.assert_allclose(cut[0][:40], shots[0][:40], atol=tol)


def test_groups_are_records_of_their_own() -> None:
    x = draw(2 * 3 * 8).reshape(2, 3, 8)
    times = np.array([[0.0, 0.01, 0.02], [0.03, 0.0, 0.05]])
    B = Blending(x.shape, times, 0.01, records=[[0, 1, 2], [0, 1, 2]])
    records = (B @ x.ravel()).reshape(B.dimsd)
    for k in range(3):
        single = Blending((2, 8), times[:, k], 0.01, n_record=B.n_record)
        np.testing.assert_allclose(records[k], single @ x[:, k].ravel(), atol=1e-14)
    # the sources may stand on one axis as well
    flat = Blending((6, 8), times.ravel(), 0.01, records=[0, 1, 2, 0, 1, 2])
    np.testing.assert_array_equal(flat @ x.ravel(), records.ravel())


def test_continuous_blending_agrees_with_pylops() -> None:
    pylops = pytest.importorskip("pylops")
    dt, n = 0.004, 100
    times = np.array([0.0, 0.1313, 0.3302])
    theirs = pylops.waveeqprocessing.blending.BlendingContinuous(n, 1, 3, dt, times)
    ours = Blending((3, n), times, dt)
    t = np.arange(n) * dt
    x = np.exp(-(((t - 0.2) / 0.02) ** 2)) * np.array([[1.0], [-2.0], [0.5]])
    np.testing.assert_allclose(ours @ x.ravel(), (theirs @ x.ravel())[: ours.n_record], atol=1e-9)
    # on the grid nothing is interpolated, and both are the same map
    times = dt * np.array([0, 30, 80])
    theirs = pylops.waveeqprocessing.blending.BlendingContinuous(n, 1, 3, dt, times + 1e-12)
    ours = Blending((3, n), times, dt)
    x = draw(3 * n)
    np.testing.assert_allclose(ours @ x, (theirs @ x)[: ours.n_record], atol=1e-6)


def test_bad_blending_is_refused() -> None:
    good: dict[str, Any] = {"dims": (2, 8), "times": [0.0, 0.1], "dt": 0.01}
    for change, error, message in (
        ({"dims": (8,)}, ValueError, "must begin with that shape"),
        ({"dims": (3, 8)}, ValueError, "times has shape"),
        ({"times": [0.0, np.nan]}, ValueError, "times"),
        ({"times": [0.0, 1j]}, TypeError, "times is complex"),
        ({"times": [0.0, 1e30]}, ValueError, "times reaches beyond"),
        ({"dt": 0.0}, ValueError, "dt"),
        ({"records": [0, 2]}, ValueError, "records names"),
        ({"records": [0]}, ValueError, "records has shape"),
        ({"records": [0.0, 1.0]}, TypeError, "records has dtype"),
        ({"shift": "cubic"}, ValueError, "shift is 'cubic'"),
        ({"n_record": 5}, ValueError, "shot 1 starts at sample 10 and lies outside"),
    ):
        with pytest.raises(error, match=message):
            Blending(**{**good, **change})

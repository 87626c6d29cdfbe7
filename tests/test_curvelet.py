"""The curvelet operator: exact adjoint over the reals, tight frame, layout, precision, refusals."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import sparseinv as si
from sparseinv.operators import Restriction, adjoint_test, norm_bound

pytest.importorskip("curvelets")

from sparseinv.operators import Curvelet

Array = np.ndarray[Any, Any]

SHAPES = [((12, 20), 2, 3), ((16, 16), 3, 3), ((20, 33), 3, 3), ((31, 10), 2, 6), ((24, 40), 4, 3)]


def draw(size: int, dtype: Any = np.complex128, seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    v = rng.standard_normal(size)
    return (
        (v + 1j * rng.standard_normal(size)).astype(dtype) if np.dtype(dtype).kind == "c" else v.astype(dtype)
    )


@pytest.fixture(params=SHAPES, ids=str)
def C(request: pytest.FixtureRequest) -> Curvelet:
    dims, scales, wedges = request.param
    return Curvelet(dims, scales, wedges)


def test_analysis_and_synthesis_are_adjoint_over_the_reals(C: Curvelet) -> None:
    x, y = draw(C.shape[1], np.float64), draw(C.shape[0])
    assert np.vdot(y, C.matvec(x)).real == pytest.approx(np.vdot(C.rmatvec(y), x), rel=1e-12)
    assert adjoint_test(C) < 1e-13
    assert adjoint_test(C.H) < 1e-13
    assert not C.clinear
    assert not C.H.clinear
    assert not (Restriction(C.dims, np.arange(3), axis=0) @ C.H).clinear


def test_it_is_linear_over_the_reals_only(C: Curvelet) -> None:
    y = draw(C.shape[0])
    assert C.rmatvec(y).dtype == np.float64
    assert np.linalg.norm(C.rmatvec(1j * y) - 1j * C.rmatvec(y)) > 0.1 * np.linalg.norm(C.rmatvec(y))
    z = draw(C.shape[0], seed=1)
    np.testing.assert_allclose(C.rmatvec(2 * y - 3 * z), 2 * C.rmatvec(y) - 3 * C.rmatvec(z), atol=1e-12)
    x = draw(C.shape[1])
    np.testing.assert_array_equal(C.matvec(x), C.matvec(x.real))


def test_synthesis_after_analysis_is_the_identity(C: Curvelet) -> None:
    x = draw(C.shape[1], np.float64)
    c = C.matvec(x)
    np.testing.assert_allclose(C.rmatvec(c), x, atol=1e-13)
    assert np.linalg.norm(c) == pytest.approx(np.linalg.norm(x), rel=1e-13)


def test_the_norm_is_one(C: Curvelet) -> None:
    assert C.norm_bound() == C.H.norm_bound() == 1.0
    assert norm_bound(C.H) == (1.0, True)
    y = draw(C.shape[0])
    for _ in range(30):
        y = C.matvec(C.rmatvec(y))
        y /= np.linalg.norm(y)
    assert np.linalg.norm(C.rmatvec(y)) == pytest.approx(1.0, rel=1e-10)


def test_many_sections_at_once_are_the_sections_one_by_one() -> None:
    C = Curvelet((12, 20), 2)
    X, Y = draw(C.shape[1] * 3, np.float64).reshape(-1, 3), draw(C.shape[0] * 3).reshape(-1, 3)
    np.testing.assert_allclose(C.matmat(X), np.array([C.matvec(x) for x in X.T]).T)
    np.testing.assert_allclose(C.rmatmat(Y), np.array([C.rmatvec(y) for y in Y.T]).T)
    assert C.matmat(np.empty((C.shape[1], 0))).shape == (C.shape[0], 0)
    assert C.rmatmat(np.empty((C.shape[0], 0))).shape == (C.shape[1], 0)


def test_single_precision_is_kept() -> None:
    C = Curvelet((12, 20), 2)
    x = draw(C.shape[1], np.float32)
    c = C.matvec(x)
    assert c.dtype == np.complex64
    back = C.rmatvec(c)
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, x, atol=2e-6)
    np.testing.assert_allclose(c, C.matvec(x.astype(float)), atol=2e-6)
    assert C.matvec(np.arange(C.shape[1])).dtype == np.complex128
    assert C.rmatvec(np.arange(float(C.shape[0]))).dtype == np.float64


def test_products_do_not_write_into_their_argument() -> None:
    C = Curvelet((12, 20), 2)
    x, y = draw(C.shape[1], np.float64), draw(C.shape[0])
    x.flags.writeable = y.flags.writeable = False
    C.matvec(x)
    C.rmatvec(y)


def test_the_layout_names_scale_and_direction_of_every_coefficient() -> None:
    C = Curvelet((32, 32), 3)
    ends = [wedge.coefficients.stop for wedge in C.layout]
    assert [wedge.coefficients.start for wedge in C.layout] == [0, *ends[:-1]]
    assert ends[-1] == C.shape[0] == C.labels.size == C.scales.size
    assert set(C.scales) == {0, 1, 2}
    for number, wedge in enumerate(C.layout):
        assert (C.labels[wedge.coefficients] == number).all()
        assert (C.scales[wedge.coefficients] == wedge.scale).all()
        assert wedge.coefficients.stop - wedge.coefficients.start == np.prod(wedge.shape)
    # a slowly varying section lives in the low pass, waves along an axis in wedges of that direction
    i = np.arange(32)
    smooth = np.cos(2 * np.pi * i / 32)[:, None] * np.ones(32)
    energy = np.abs(C.matvec(smooth.ravel())) ** 2
    assert energy[C.scales == 0].sum() > 0.99 * energy.sum()
    for direction in (0, 1):
        wave = np.cos(2 * np.pi * 13 * i / 32) * np.ones((32, 1))
        section = wave.T if direction == 0 else wave
        energy = np.abs(C.matvec(section.ravel())) ** 2
        there = np.array([wedge.direction == direction and wedge.scale == 2 for wedge in C.layout])
        assert energy[there[C.labels]].sum() > 0.9 * energy.sum()


def test_one_lambda_per_scale_and_a_certified_answer() -> None:
    C = Curvelet((16, 16), 3)
    b = draw(C.shape[1], np.float64)
    penalty = si.L1([0.1, 0.3, 0.6], groups=C.scales)
    result = si.solve(C.H, b, penalty, tol=1e-8)
    assert result.success
    assert result.x.dtype == np.complex128
    lam = np.array([0.1, 0.3, 0.6])[C.scales]
    # optimality over the reals: g_j = -lam_j x_j / |x_j| on the support, |g_j| <= lam_j elsewhere
    g = C.matvec(C.rmatvec(result.x) - b)
    live = np.abs(result.x) > 1e-3
    assert live.any()
    np.testing.assert_allclose(g[live], -(lam * result.x)[live] / np.abs(result.x[live]), atol=2e-3)
    assert (np.abs(g) <= lam + 1e-3).all()


def test_padding_makes_room() -> None:
    C = Curvelet((14, 18), 2, sizes=(24, 29))
    assert C.sizes == (24, 32)
    x = draw(C.shape[1], np.float64)
    np.testing.assert_allclose(C.rmatvec(C.matvec(x)), x, atol=1e-13)


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"dims": (8,)}, ValueError, r"dims is \(8,\), but a section"),
        ({"scales": 1}, ValueError, "scales is 1"),
        ({"wedges": 4}, ValueError, "wedges is 4, but a multiple of 3"),
        ({"wedges": 2}, ValueError, "wedges is 2"),
        ({"sizes": (8, 32)}, ValueError, "padding cannot cut it"),
        ({"sizes": (32,)}, ValueError, "sizes has 1 entries, but dims has 2"),
        ({"scales": 2.5}, TypeError, "scales is 2.5, but a whole number"),
    ],
)
def test_bad_input_is_refused(arguments: dict[str, Any], error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        Curvelet(**({"dims": (16, 16)} | arguments))


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "curvelets.numpy", None)
    with pytest.raises(ImportError, match=r'python -m pip install "sparseinv\[curvelets\]"'):
        Curvelet((16, 16))

"""Irregular samples: the non-uniform Fourier transform and interpolation, against their formulas."""

from __future__ import annotations

import pickle
import sys
from typing import Any

import numpy as np
import pytest

import sparseinv as si
import sparseinv.operators.interpolation as interpolation
import sparseinv.operators.nufft as nufft
from sparseinv.operators import FFT, NUFFT, Interpolation, adjoint_test

Array = np.ndarray[Any, Any]


def waves(positions: Array, sizes: tuple[int, ...], period: Any = 1.0) -> Array:
    """Return the matrix of the transform, one wavenumber after the other."""
    places = positions.reshape(positions.shape[0], -1)
    axes = [np.fft.fftfreq(size, 1 / size) for size in sizes]
    grid = np.stack([k.ravel() for k in np.meshgrid(*axes, indexing="ij")])
    return np.exp(2j * np.pi * (places / period) @ grid) / np.sqrt(grid.shape[1])


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use finufft whatever the size."""
    pytest.importorskip("finufft")
    monkeypatch.setattr(nufft, "_DENSE", 0)


@pytest.mark.usefixtures("plans")
@pytest.mark.parametrize("sizes", [(17,), (64,), (8, 9), (7, 6), (5, 4, 6)])
def test_plans_are_the_formula(sizes: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    positions, period = rng.uniform(-3, 5, (23, len(sizes))), rng.uniform(1, 4, len(sizes))
    A = NUFFT(positions, sizes, period=period)
    matrix = waves(positions, sizes, period)
    assert not A.direct
    for k in (1, 3, 19):  # one by one, and in blocks with a remainder
        X = rng.standard_normal((A.shape[1], k)) + 1j * rng.standard_normal((A.shape[1], k))
        Y = rng.standard_normal((23, k)) + 1j * rng.standard_normal((23, k))
        np.testing.assert_allclose(A.matmat(X), matrix @ X, rtol=0, atol=1e-12 * np.linalg.norm(X))
        np.testing.assert_allclose(A.rmatmat(Y), matrix.conj().T @ Y, rtol=0, atol=1e-12 * np.linalg.norm(Y))
    assert adjoint_test(A, tol=1e-14) < 1e-14


@pytest.mark.usefixtures("plans")
@pytest.mark.parametrize("eps", [1e-3, 1e-14])
def test_the_adjoint_is_exact_at_any_accuracy(eps: float) -> None:
    rng = np.random.default_rng(1)
    for sizes in ((4096,), (32, 48), (8, 16, 12)):
        A = NUFFT(rng.random((300, len(sizes))), sizes, eps=eps)
        x = rng.standard_normal(A.shape[1]) + 1j * rng.standard_normal(A.shape[1])
        y = rng.standard_normal(300) + 1j * rng.standard_normal(300)
        mismatch = abs(np.vdot(y, A @ x) - np.vdot(A.H @ y, x))
        assert mismatch <= 1e-12 * np.linalg.norm(x) * np.linalg.norm(y)


@pytest.mark.usefixtures("plans")
@pytest.mark.parametrize("size", [256, 5000])
def test_single_precision(size: int) -> None:
    rng = np.random.default_rng(2)
    A = NUFFT(rng.random(100), size)
    x = (rng.standard_normal(size) + 1j * rng.standard_normal(size)).astype(np.complex64)
    image = A @ x
    assert image.dtype == np.complex64
    assert (A.H @ image).dtype == np.complex64
    assert (A @ x.real).dtype == np.complex64
    exact = A @ x.astype(complex)
    assert np.linalg.norm(image - exact) < 1e-4 * np.linalg.norm(exact)


@pytest.mark.usefixtures("plans")
def test_pickled_and_leading_axes() -> None:
    rng = np.random.default_rng(3)
    A = NUFFT(rng.random(11), 16, leading=(2, 5))
    x = rng.standard_normal((2, 5, 16))
    image = (A @ x.ravel()).reshape(A.dimsd)
    np.testing.assert_allclose(image, x @ waves(A.positions, (16,)).T, atol=1e-12)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(A)) @ x.ravel(), image.ravel())
    np.testing.assert_allclose(A.columns(np.array([37]))[:, 0], A @ np.eye(160)[37], atol=1e-13)


def test_on_the_grid_it_is_the_inverse_transform() -> None:
    rng = np.random.default_rng(4)
    x = rng.standard_normal(30) + 1j * rng.standard_normal(30)
    grid = np.stack(np.meshgrid(np.arange(5) / 5, np.arange(6) / 6, indexing="ij"), axis=-1).reshape(-1, 2)
    np.testing.assert_allclose(NUFFT(grid, (5, 6)) @ x, FFT((5, 6)).H @ x, atol=1e-13)


@pytest.mark.parametrize(
    ("m", "sizes"), [(20, (50,)), (60, (13,)), (40, (4, 6)), (30, (3, 4, 3)), (9, (4, 6))]
)
def test_the_norm_is_exact(m: int, sizes: tuple[int, ...]) -> None:
    positions = np.random.default_rng(5).random((m, len(sizes)))
    truth = np.linalg.norm(waves(positions, sizes), 2)
    assert NUFFT(positions, sizes).norm_bound() == pytest.approx(truth, rel=1e-8)
    assert NUFFT(positions, sizes).norm_bound() >= truth


def test_the_norm_is_unknown_for_large_sizes_only() -> None:
    rng = np.random.default_rng(6)
    assert NUFFT(rng.random(600), 700).norm_bound() is None
    assert NUFFT(rng.choice(700, 600, replace=False) / 700, 700).norm_bound() == pytest.approx(1.0)


def test_without_finufft_sums_serve_up_to_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "finufft", None)
    t = np.random.default_rng(7).random(200)
    A = NUFFT(t, 1000)
    assert A.direct
    np.testing.assert_allclose(A.matvec(np.eye(1000)[3]), waves(t, (1000,))[:, 3], atol=1e-13)
    with pytest.raises(ImportError, match=r"needs finufft .*: .*sparseinv.nufft"):
        NUFFT(t, 200_000)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.0, np.nan], 4), r"positions contains nan at positions\[1"),
        (([[0.0, 1.0]], 4), r"positions has shape \(1, 2\), but sizes has 1 axes"),
        (([], 4), "m >= 1"),
        ((np.zeros((3, 4)), (2, 2, 2, 2)), "one, two and three dimensions"),
        (([0.0], 0), "dims"),
    ],
)
def test_bad_input_is_refused(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NUFFT(*arguments)


def test_bad_options_are_refused() -> None:
    with pytest.raises(ValueError, match="period is 0"):
        NUFFT([0.0], 4, period=0.0)
    with pytest.raises(ValueError, match="period has 2 entries"):
        NUFFT([0.0], 4, period=(1.0, 2.0))
    with pytest.raises(ValueError, match="eps is 1"):
        NUFFT([0.0], 4, eps=1.0)
    with pytest.raises(TypeError, match="positions is complex"):
        NUFFT([1j], 4)


def test_solved_by_the_front_door() -> None:
    """Three plane waves on the grid of wavenumbers from 40 irregular samples, certified."""
    rng = np.random.default_rng(8)
    A = NUFFT(rng.uniform(0, 300.0, 40), 128, period=300.0)
    truth = np.zeros(128, dtype=complex)
    truth[[5, 40, 90]] = [1.0, 1j, -0.7]
    result = si.solve(A, A @ truth, si.L1(1e-4))
    assert result.success
    np.testing.assert_allclose(result.x, truth, atol=1e-3)


# ------------------------------------------------------------------------------------------ interpolation


def test_interpolation_is_numpys_where_numpy_has_it() -> None:
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal(30), rng.uniform(100.0, 100.0 + 29 * 2.5, 50)
    A = Interpolation(30, t, start=100.0, step=2.5)
    np.testing.assert_allclose(A @ x, np.interp(t, 100.0 + 2.5 * np.arange(30), x), atol=1e-12)
    near = Interpolation(30, t, kind="nearest", start=100.0, step=2.5)
    np.testing.assert_array_equal(near @ x, x[np.rint((t - 100.0) / 2.5).astype(int)])


def test_sinc_reads_waves_between_samples() -> None:
    t = np.random.default_rng(1).uniform(40, 160, 300)
    for half_width, error in ((8, 5e-4), (16, 3e-6)):
        A = Interpolation(200, t, kind="sinc", half_width=half_width)
        for share in (0.1, 0.4, 0.7):
            wave = np.exp(1j * np.pi * share * np.arange(200))
            np.testing.assert_allclose(A @ wave, np.exp(1j * np.pi * share * t), atol=error)


@pytest.mark.parametrize("kind", ["nearest", "linear", "sinc"])
def test_samples_are_read_without_error(kind: str) -> None:
    x = np.random.default_rng(2).standard_normal(12)
    A = Interpolation(12, 0.1 + 0.3 * np.arange(12), kind=kind, start=0.1, step=0.3)
    np.testing.assert_allclose(A @ x, x, atol=1e-12)


@pytest.mark.parametrize("kind", ["nearest", "linear", "sinc"])
def test_bounds_of_short_and_long_axes(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    t = np.random.default_rng(3).uniform(0, 79, 60)
    matrix = Interpolation(80, t, kind=kind).columns(np.arange(80))
    truth = np.linalg.norm(matrix, 2) * (1 - 1e-14)
    assert truth <= Interpolation(80, t, kind=kind).norm_bound() <= truth * (1 + 1e-8)
    monkeypatch.setattr(interpolation, "_BANDED", 0)
    assert truth <= Interpolation(80, t, kind=kind).norm_bound() <= 1.05 * truth


def test_interpolation_refuses() -> None:
    with pytest.raises(ValueError, match="positions reach from 0 to 10, but the grid from 0 to 9"):
        Interpolation(10, [0.0, 10.0])
    with pytest.raises(ValueError, match="kind is 'cubic'"):
        Interpolation(10, [0.0], kind="cubic")
    with pytest.raises(ValueError, match=r"positions has shape \(1, 1\)"):
        Interpolation(10, [[0.0]])
    with pytest.raises(ValueError, match="step is 0"):
        Interpolation(10, [0.0], step=0.0)

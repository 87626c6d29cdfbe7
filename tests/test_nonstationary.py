"""Convolution with several axes and with changing wavelets: formulas, bounds, PyLops, bad input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.signal import convolve

import sparseinv as si
from sparseinv.operators import Convolution, NonstationaryConvolution, adjoint_test

Array = np.ndarray[Any, Any]


def draw(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


def by_hand(wavelets: Array, offset: int) -> Array:
    """Return the matrix whose column j is the wavelet of j, sample by sample."""
    n, taps = wavelets.shape
    A = np.zeros((n, n), dtype=wavelets.dtype)
    for j in range(n):
        for k in range(taps):
            if 0 <= j + k - offset < n:
                A[j + k - offset, j] = wavelets[j, k]
    return A


@pytest.mark.parametrize(("n", "taps", "offset"), [(1, 1, 0), (7, 3, 1), (6, 4, 0), (5, 9, 8), (300, 21, 4)])
def test_nonstationary_is_its_formula(n: int, taps: int, offset: int) -> None:
    wavelets = draw(n, taps) + 1j * draw(n, taps, seed=1)
    for W in (wavelets.real, wavelets):
        A, truth = NonstationaryConvolution(n, W, offset=offset), by_hand(W, offset)
        scale = 1e-13 * np.abs(truth).sum()
        np.testing.assert_allclose(A.columns(np.arange(n)), truth, rtol=0, atol=0)
        np.testing.assert_allclose(A.matmat(np.eye(n)), truth, rtol=0, atol=scale)
        np.testing.assert_allclose(A.rmatmat(np.eye(n)), truth.conj().T, rtol=0, atol=scale)
        norm = np.linalg.norm(truth, 2)
        assert norm * (1 - 1e-12) <= A.norm_bound() <= 1.021 * norm
        np.testing.assert_allclose(A.column_norms(), np.linalg.norm(truth, axis=0), rtol=1e-13)
        np.testing.assert_allclose(A.row_norms(), np.linalg.norm(truth, axis=1), rtol=1e-13)


def test_knots_interpolate_and_go_on_flat() -> None:
    W = draw(3, 4)
    A = NonstationaryConvolution(10, W, knots=[2, 4.5, 7])
    np.testing.assert_allclose(A.wavelets[3], 0.6 * W[0] + 0.4 * W[1], rtol=1e-14)
    np.testing.assert_allclose(A.wavelets[6], 0.4 * W[1] + 0.6 * W[2], rtol=1e-14)
    np.testing.assert_array_equal(A.wavelets[2], W[0])
    np.testing.assert_array_equal(A.wavelets[7], W[2])
    outer = NonstationaryConvolution(10, W[:1], knots=[3])
    np.testing.assert_allclose(outer @ draw(10), Convolution(10, W[0]) @ draw(10), atol=1e-13)


def test_equal_wavelets_are_a_convolution() -> None:
    w, x = draw(11), draw(2, 40, 3)
    A = NonstationaryConvolution(x.shape, np.tile(w, (40, 1)), axis=1, offset=3)
    B = Convolution(x.shape, w, offset=3, axis=1)
    np.testing.assert_allclose(A @ x.ravel(), B @ x.ravel(), atol=1e-12)
    np.testing.assert_allclose(A.H @ x.ravel(), B.H @ x.ravel(), atol=1e-12)
    np.testing.assert_allclose(A.column_norms(), B.column_norms(), rtol=1e-12)


def test_bound_of_a_long_axis_costs_no_factorisation() -> None:
    wavelets = draw(11_000, 200)
    A = NonstationaryConvolution(11_000, wavelets)
    v = draw(11_000)
    for _ in range(5):
        v = A.H @ (A @ (v / np.linalg.norm(v)))
    assert A.norm_bound() >= np.sqrt(np.linalg.norm(v))


def test_scale_of_the_wavelets_does_not_matter() -> None:
    W = draw(6, 3)
    for scale in (2.0**-700, 2.0**700):
        A, B = NonstationaryConvolution(6, W * scale), NonstationaryConvolution(6, W)
        assert A.norm_bound() == B.norm_bound() * scale
        np.testing.assert_array_equal(A.column_norms(), B.column_norms() * scale)
    assert NonstationaryConvolution(6, 0 * W).norm_bound() == 0.0


def test_solved_with_closed_columns() -> None:
    W = np.exp(-0.02 * np.arange(60))[:, None] * np.array([-0.5, 1.0, -0.5])
    A = NonstationaryConvolution(60, W)
    x = np.zeros(60)
    x[[10, 30, 50]] = [1.0, -1.0, 1.0]
    result = si.solve(A, A @ x, si.L1(1e-3, weights=A.column_norms()), tol=1e-10)
    dense = si.solve(by_hand(W, 1), A @ x, si.L1(1e-3, weights=A.column_norms()), tol=1e-10)
    np.testing.assert_allclose(result.x, dense.x, atol=1e-6)
    assert result.success


@pytest.mark.parametrize(
    ("dims", "shape", "axis"),
    [((9, 8), (3, 4), (0, 1)), ((8, 9), (5, 2), (1, 0)), ((3, 9, 8), (3, 20), (1, 2))],
)
def test_convolution_of_two_axes_is_that_of_scipy(dims: Any, shape: Any, axis: Any) -> None:
    w, x = draw(*shape), draw(*dims, seed=1)
    A = Convolution(dims, w, axis=axis)
    kernel = w if axis[0] < axis[1] else w.T
    kernel = kernel.reshape((1,) * (x.ndim - 2) + kernel.shape)
    full = convolve(x, kernel, method="direct")
    first = [n // 2 for n in kernel.shape]
    expected = full[tuple(slice(f, f + n) for f, n in zip(first, dims, strict=True))]
    np.testing.assert_allclose((A @ x.ravel()).reshape(dims), expected, atol=1e-12)
    assert adjoint_test(A) < 1e-13
    matrix = A.matmat(np.eye(A.shape[1]))
    np.testing.assert_allclose(A.columns(np.arange(A.shape[1])), matrix, atol=1e-12)
    np.testing.assert_allclose(A.column_norms(), np.linalg.norm(matrix, axis=0), rtol=1e-11)
    np.testing.assert_allclose(A.row_norms(), np.linalg.norm(matrix, axis=1), rtol=1e-11)
    assert A.norm_bound() >= np.linalg.norm(matrix, 2) * (1 - 1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
@pytest.mark.parametrize(("dims", "axis"), [((600,), 0), ((5, 70, 2), 1)])
def test_sums_and_transforms_agree(dtype: Any, dims: Any, axis: int) -> None:
    """A wavelet of 70 samples is summed up for a short x and transformed for a long one."""
    x = draw(*dims) + 1j * draw(*dims, seed=1)
    x = (x if np.dtype(dtype).kind == "c" else x.real).astype(dtype)
    w = draw(70)
    A = Convolution(dims, w, offset=9, axis=axis)
    many = np.repeat(x.reshape(1, -1), 50_000 // x.size + 1, axis=0).T
    assert A._is_short(x.size)
    assert not A._is_short(many.size)
    loose = 1e-3 if x.dtype.char in "fF" else 1e-11
    for one, several in ((A.matvec, A.matmat), (A.rmatvec, A.rmatmat)):
        assert one(x.ravel()).dtype == dtype
        np.testing.assert_allclose(one(x.ravel()), several(many)[:, 0], rtol=0, atol=loose)


def test_equal_to_pylops() -> None:
    pylops = pytest.importorskip("pylops")
    hs, ih = draw(4, 5), np.array([2, 6, 10, 14])
    theirs = pylops.signalprocessing.NonStationaryConvolve1D((3, 20), hs, ih=tuple(ih), axis=-1)
    ours = NonstationaryConvolution((3, 20), hs, knots=ih)
    x = draw(60)
    np.testing.assert_allclose(ours @ x, theirs @ x, atol=1e-12)
    np.testing.assert_allclose(ours.H @ x, theirs.H @ x, atol=1e-12)
    w = draw(3, 5)
    theirs = pylops.signalprocessing.Convolve2D((8, 9), w, offset=(1, 2))
    ours_2d = Convolution((8, 9), w, offset=(1, 2), axis=(0, 1))
    np.testing.assert_allclose(ours_2d @ draw(72), theirs @ draw(72), atol=1e-12)


REFUSALS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: NonstationaryConvolution(5, draw(5)), ValueError, r"wavelets has shape \(5,\), but one row for"),
    (lambda: NonstationaryConvolution(5, draw(4, 3)), ValueError, "wavelets has 4 rows, but the axis has 5"),
    (lambda: NonstationaryConvolution(5, np.full((5, 2), np.inf)), ValueError, "wavelets contains inf"),
    (lambda: NonstationaryConvolution(5, draw(2, 3), [0]), ValueError, r"knots has shape \(1,\)"),
    (lambda: NonstationaryConvolution(5, draw(2, 3), [3, 3]), ValueError, "knots do not rise"),
    (lambda: NonstationaryConvolution(5, draw(2, 3), [0, np.nan]), ValueError, "knots contains nan"),
    (lambda: NonstationaryConvolution(5, draw(5, 3), offset=3), ValueError, "offset is 3, but the wavelets"),
    (lambda: NonstationaryConvolution(5, draw(5, 3), axis=1), ValueError, "axis contains 1"),
    (lambda: Convolution((5, 5), draw(3), axis=(0, 1)), ValueError, r"shape \(3,\), but an array of 2"),
    (lambda: Convolution((5, 5), draw(3, 3), 1, axis=(0, 1)), ValueError, "offset has 1 entries, but"),
    (lambda: Convolution((5, 5), draw(3, 3), (1, 3), axis=(0, 1)), ValueError, "0 to 2 along dimension 1"),
]


@pytest.mark.parametrize(("call", "error", "sentence"), REFUSALS)
def test_bad_input_is_refused(call: Callable[[], Any], error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        call()

"""Windows against a loop over windows, the frame they form, and the Fourier transform of real data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import sparseinv as si
from sparseinv.operators import FFT, BlockDiagonal, DenseMatrix, Operator, RealFFT, Windows, adjoint_test

CASES: dict[str, tuple[Any, ...]] = {
    "one axis": (23, 7, 3),
    "default step": (23, 7),
    "steps that do not fit": (24, 7, 5),
    "touching": (20, 5, 5),
    "one window": (6, 6, 2),
    "single samples": (5, 1, 1),
    "every sample": (9, 4, 1),
    "traces": ((10, 4), 3, 2, 0),
    "patches": ((7, 12), (3, 6), (2, 3)),
    "first and last axis": ((6, 3, 8), (4, 5), (2, 4), (0, 2)),
    "axes in another order": ((6, 9), (4, 3), None, (1, 0)),
}


def draw(n: int, dtype: Any = np.float64, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    v = rng.standard_normal(n)
    return (v + 1j * rng.standard_normal(n) if np.dtype(dtype).kind == "c" else v).astype(dtype)


def dense(op: Operator) -> np.ndarray:
    return np.array([op.matvec(unit) for unit in np.eye(op.shape[1])]).T


def by_hand(W: Windows, x: np.ndarray) -> np.ndarray:
    """Cut windows one after another."""
    out = np.empty(W.dimsd)
    for number in np.ndindex(W.counts):
        place = [slice(None)] * x.ndim
        taper = np.ones(W.window)
        for k, axis, starts, tapers in zip(number, W.axes, W.starts, W.tapers, strict=True):
            start = int(starts[k])
            place[axis] = slice(start, start + W.window[axis])
            shape = [1] * x.ndim
            shape[axis] = W.window[axis]
            taper = taper * tapers[k].reshape(shape)
        out[number] = x[tuple(place)] * taper
    return out


@pytest.mark.parametrize("taper", ["sine", "flat"])
@pytest.mark.parametrize("name", CASES)
def test_windows_form_a_tight_frame(name: str, taper: str) -> None:
    W = Windows(*CASES[name], taper=taper)
    matrix = dense(W)
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(W.shape[1]), atol=1e-14)
    assert W.norm_bound() == 1.0
    np.testing.assert_allclose(np.linalg.norm(matrix, 2), 1.0, rtol=1e-14)
    np.testing.assert_allclose(W.column_norms(), np.linalg.norm(matrix, axis=0), rtol=1e-14)
    np.testing.assert_allclose(W.H.column_norms(), np.linalg.norm(matrix, axis=1), rtol=1e-14)
    x = draw(W.shape[1])
    np.testing.assert_allclose(W @ x, by_hand(W, x.reshape(W.dims)).ravel(), atol=1e-15)
    # from end to end, no further apart than asked, and every window inside
    for axis, starts in zip(W.axes, W.starts, strict=True):
        assert starts[0] == 0
        assert starts[-1] + W.window[axis] == W.dims[axis]
    given = CASES[name][2] if len(CASES[name]) > 2 else None
    if given is not None:
        for step, starts in zip(np.broadcast_to(given, len(W.axes)), W.starts, strict=True):
            assert np.diff(starts).max(initial=0) <= step


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kind", ["none", "fft", "real fft"])
def test_windows_are_adjoint_keep_precision_and_take_batches(name: str, kind: str) -> None:
    window = Windows(*CASES[name]).window
    padded = tuple(s + 2 for s in window)
    inner = {"none": None, "fft": FFT(window, sizes=padded), "real fft": RealFFT(window, sizes=padded)}[kind]
    W = Windows(*CASES[name], inner=inner)
    assert adjoint_test(W) < 1e-14
    assert adjoint_test(W.H) < 1e-14
    assert W.clinear == (kind != "real fft")
    x = draw(W.shape[1])
    np.testing.assert_allclose(W.H @ (W @ x), x, atol=1e-13)
    assert W.norm_bound() == 1.0
    for dtype in (np.float32, np.float64):
        y = W @ x.astype(dtype)
        wanted = np.result_type(dtype, np.complex64 if kind != "none" else dtype)
        assert y.dtype == wanted
        back = W.rmatvec(y)
        assert back.dtype == (wanted if kind == "fft" else dtype)
        np.testing.assert_allclose(back.real, x, atol=1e-5)
    X = draw(3 * W.shape[1], seed=1).reshape(-1, 3)
    Y = W @ X
    np.testing.assert_allclose(Y, np.stack([W @ column for column in X.T], axis=1), atol=1e-14)
    np.testing.assert_allclose(W.rmatmat(Y), X, atol=1e-13)
    frozen = x.copy()
    frozen.flags.writeable = False
    assert not np.shares_memory(W @ frozen, frozen)
    np.testing.assert_array_equal(W @ (x * 2.0**30), (W @ x) * 2.0**30)
    np.testing.assert_allclose(W.columns(np.array([0, -1])), dense(W)[:, [0, -1]], atol=1e-15)


def test_windows_take_any_operator_as_their_transform() -> None:
    matrix = np.asfortranarray(draw(5 * 4).reshape(5, 4))
    W = Windows(10, 4, 3, inner=DenseMatrix(matrix))
    plain = Windows(10, 4, 3)
    apart = BlockDiagonal([DenseMatrix(matrix)] * 3) @ plain
    np.testing.assert_allclose(dense(W), dense(apart), atol=1e-14)
    assert W.dimsd == (3, 5)
    assert W.norm_bound() is None
    assert W.column_norms() is None
    assert W.H.column_norms() is None
    scaled = Windows(10, 4, 3, inner=0.5 * FFT(4))
    assert scaled.norm_bound() == pytest.approx(np.linalg.norm(dense(scaled), 2), rel=1e-13)


def test_tapers_are_flat_where_windows_do_not_overlap_and_symmetric() -> None:
    W = Windows(30, 12, 9)
    np.testing.assert_array_equal(W.tapers[0][0][:9], 1.0)
    np.testing.assert_allclose(W.tapers[0], W.tapers[0][::-1, ::-1], atol=1e-15)
    assert (np.diff(W.tapers[0][0][9:]) < 0).all()
    # where windows overlap by half they are the sine window
    sine = np.sin(np.pi * (np.arange(8) + 0.5) / 8)
    np.testing.assert_allclose(Windows(40, 8, 4).tapers[0][3], sine, atol=1e-15)


def test_real_fft_is_the_fft_of_real_data() -> None:
    for dims, axes, sizes in (
        ((5, 6), None, None),
        ((5, 7), (0, 1), (6, 9)),
        ((4, 3, 6), (2, 0), (8, 5)),
        (9, None, 9),
    ):
        F, G = RealFFT(dims, axes, sizes), FFT(dims, axes, sizes)
        x = draw(F.shape[1])
        last, size = F.axes[-1], F.sizes[-1]
        half = np.moveaxis((G @ x).reshape(G.dimsd), last, -1)[..., : size // 2 + 1]
        factor = np.full(size // 2 + 1, np.sqrt(2.0))
        factor[0] = 1.0
        if size % 2 == 0:
            factor[-1] = 1.0
        np.testing.assert_allclose(np.moveaxis((F @ x).reshape(F.dimsd), last, -1), factor * half, atol=1e-14)
        # an isometry of real arrays, whose adjoint is real for any coefficients
        np.testing.assert_allclose(F.H @ (F @ x), x, atol=1e-14)
        c = draw(F.shape[0], complex, seed=1)
        assert (F.H @ c).dtype == np.float64
        assert np.vdot(c, F @ x).real == pytest.approx(np.vdot(F.H @ c, x), rel=1e-12)
        assert np.linalg.norm(F.H @ c) <= np.linalg.norm(c) * (1 + 1e-14)
        assert adjoint_test(F) < 1e-14


def test_half_of_the_coefficients_give_the_same_section_as_all_of_them() -> None:
    rng = np.random.default_rng(0)
    x = np.cos(2 * np.pi * 3.3 * np.arange(24) / 24) + 0.1 * rng.standard_normal(24)
    half, full = RealFFT(24, sizes=32).H, FFT(24, sizes=32).H
    lam = np.full(17, 0.4)
    weights = np.where(np.isin(np.arange(17), (0, 16)), 1.0, np.sqrt(2.0))
    a = si.solve(half, x, si.L1(lam * weights), tol=1e-12)
    b = si.solve(full, x, si.L1(0.4), tol=1e-12)
    assert a.success
    assert b.success
    assert a.objective == pytest.approx(b.objective, rel=1e-9)
    np.testing.assert_allclose(half @ a.x, (full @ b.x).real, atol=1e-5)


def test_bad_windows_are_refused() -> None:
    for arguments, message in (
        (((5, 5), 6), "size asks for windows of 6 samples along an axis of 5"),
        ((9, 4, 5), "step is 5, which leaves gaps"),
        ((9, 0), "size"),
        (((5, 5), (3, 3, 3)), "size has 3 entries, but 2 axes are cut"),
        (((5, 5), 3, (1, 1, 1)), "step has 3 entries"),
        (((5, 5), 3, 2, 2), "axes contains 2"),
    ):
        with pytest.raises(ValueError, match=message):
            Windows(*arguments)
    with pytest.raises(ValueError, match="taper is 'hanning'"):
        Windows(9, 4, taper="hanning")
    with pytest.raises(ValueError, match="inner takes arrays of shape"):
        Windows(9, 4, inner=FFT(4, sizes=8).H)
    matrix: Any = np.eye(4)
    with pytest.raises(TypeError, match="inner is a ndarray"):
        Windows(9, 4, inner=matrix)

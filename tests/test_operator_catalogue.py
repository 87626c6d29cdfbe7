"""Every operator against its own dense matrix, its formula, and PyLops."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparseinv.operators import (
    DCT,
    FFT,
    NUFFT,
    Blending,
    BlockDiagonal,
    Composition,
    Convolution,
    DenseMatrix,
    Diagonal,
    FrequencyRadon,
    HStack,
    Interpolation,
    NonstationaryConvolution,
    Operator,
    Radon,
    Restriction,
    Scaled,
    Sum,
    VStack,
    Wavelet,
    Windows,
    adjoint_test,
)

Array = np.ndarray[Any, Any]


def draw(shape: Any, *, dtype: Any = np.float64, seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    v = rng.standard_normal(shape)
    return (
        (v + 1j * rng.standard_normal(shape)).astype(dtype)
        if np.dtype(dtype).kind == "c"
        else v.astype(dtype)
    )


def dense(op: Operator) -> Array:
    """Return the matrix of an operator, one product with a unit vector at a time."""
    return np.array([op.matvec(unit) for unit in np.eye(op.shape[1])]).T


def size(op: Operator) -> float:
    return float(np.linalg.norm(dense(op), 2))


class RealPart(Operator):
    """Map complex coefficients to a real section: linear over the reals only."""

    clinear = False

    def __init__(self, matrix: Array) -> None:
        super().__init__(matrix.shape, np.float64)
        self.matrix = matrix

    def _matvec(self, x: Array) -> Array:
        return (self.matrix @ x).real

    def _rmatvec(self, y: Array) -> Array:
        return self.matrix.conj().T @ y.real


class OwnBuffer(Operator):
    """Return the same array at each call, as the contract allows."""

    def __init__(self, matrix: Array) -> None:
        super().__init__(matrix.shape, matrix.dtype)
        self.matrix = matrix
        self.image, self.back = np.empty(matrix.shape[0]), np.empty(matrix.shape[1])

    def _matvec(self, x: Array) -> Array:
        np.matmul(self.matrix, x, out=self.image)
        return self.image

    def _rmatvec(self, y: Array) -> Array:
        np.matmul(self.matrix.T, y, out=self.back)
        return self.back


WAVELET = draw(7, seed=1)
COMPLEX_WAVELET = draw(6, dtype=complex, seed=2)
MASK = np.random.default_rng(3).random((4, 6)) < 0.5

CATALOGUE: dict[str, Callable[[], Operator]] = {
    "restriction-samples": lambda: Restriction((3, 5), [4, 0, -3]),
    "restriction-traces": lambda: Restriction((4, 3, 2), [True, False, True, True], axis=0),
    "restriction-middle": lambda: Restriction((2, 5, 3), [3, 1], axis=1),
    "restriction-scattered": lambda: Restriction((4, 6), MASK, axis=None),
    "dct": lambda: DCT(9),
    "dct-one-axis": lambda: DCT((3, 8), axes=0),
    "dct-2d": lambda: DCT((3, 4, 2), axes=(0, -1)),
    "fft": lambda: FFT(7),
    "fft-2d": lambda: FFT((4, 5)),
    "fft-padded": lambda: FFT((3, 5), axes=1, sizes=8),
    "fft-padded-2d": lambda: FFT((3, 5), axes=(1, 0), sizes=(9, 4)),
    "fft-synthesis": lambda: FFT((3, 5), sizes=(4, 9)).H,
    "wavelet": lambda: Wavelet(32, "db2", level=3),
    "wavelet-2d": lambda: Wavelet((4, 8), "haar"),
    "wavelet-one-axis": lambda: Wavelet((2, 12, 2), "db3", axes=1),
    "wavelet-synthesis": lambda: Wavelet((8, 8), "db2").H,
    "windows": lambda: Windows((5, 9), (3, 4), (2, 3)),
    "windows-one-axis": lambda: Windows((7, 3), 4, axes=0, taper="flat").H,
    "windows-fft": lambda: Windows((4, 9), (2, 4), inner=FFT((2, 4), sizes=(3, 8))),
    "blending": lambda: Blending((3, 6), [0.0, 0.013, 0.04], 0.01),
    "blending-groups": lambda: Blending((4, 2, 5), [0.0, 0.02, 0.0, 0.03], 0.01, records=[0, 0, 1, 1]),
    "convolution": lambda: Convolution(20, WAVELET),
    "convolution-causal": lambda: Convolution(20, WAVELET, offset=0),
    "convolution-last": lambda: Convolution((2, 9), WAVELET, offset=6),
    "convolution-long": lambda: Convolution(4, WAVELET, offset=2),
    "convolution-one-sample": lambda: Convolution(1, WAVELET, offset=5),
    "convolution-axis": lambda: Convolution((2, 8, 3), WAVELET, offset=1, axis=1),
    "convolution-complex": lambda: Convolution((8, 2), COMPLEX_WAVELET, offset=4, axis=0),
    "radon-lines": lambda: Radon((4, 8), [-20.0, 0.0, 5.0, 30.0], 0.004, [-3e-4, 0.0, 5e-4], "linear"),
    "radon-parabolas": lambda: Radon((3, 9), [0.0, 50.0, 70.0], 0.004, [-0.01, 0.013], "parabolic"),
    "radon-hyperbolas": lambda: Radon(
        (3, 9), [0.0, 15.0, 40.0], 0.004, [1500.0, 2600.0], "hyperbolic", t0=0.01
    ),
    "frequency-radon": lambda: FrequencyRadon((3, 10), [0.0, 50.0, 70.0], 0.004, [-0.01, 0.013]),
    "frequency-radon-lines": lambda: FrequencyRadon(
        (4, 9), [-20.0, 0.0, 5.0, 30.0], 0.004, [-3e-4, 0.0, 5e-4], "linear", band=(5.0, 70.0)
    ),
    "interpolation-nearest": lambda: Interpolation(6, [0.2, 4.9, 5.0, 2.5], kind="nearest"),
    "interpolation-linear": lambda: Interpolation((2, 5, 3), [3.9, 0.3, 0.3], axis=1),
    "interpolation-sinc": lambda: Interpolation(
        (12, 2), [0.0, 3.3, 7.9, 10.6], axis=0, kind="sinc", half_width=3
    ),
    "nufft": lambda: NUFFT([0.1, 0.35, -0.2, 7.33], 6),
    "nufft-2d": lambda: NUFFT(draw((5, 2)), (3, 4), period=(2.0, 3.5)),
    "nufft-3d": lambda: NUFFT(draw((4, 3)), (2, 3, 2)),
    "nufft-leading": lambda: NUFFT([0.0, 0.4, 0.9], 5, leading=2),
    "nufft-on-grid": lambda: NUFFT(np.array([0, 3, 3, 4]) / 5, 5),
    "convolution-two-axes": lambda: Convolution((2, 5, 6), draw((3, 4)), offset=(2, 0), axis=(1, 2)),
    "convolution-swapped-axes": lambda: Convolution((4, 2, 5), draw((3, 9)), axis=(-1, 0)),
    "convolution-two-axes-complex": lambda: Convolution((4, 3), draw((2, 3), dtype=complex), axis=(0, 1)),
    "convolution-fft": lambda: Convolution((2, 300), draw(801)),
    "nonstationary": lambda: NonstationaryConvolution(12, draw((12, 5))),
    "nonstationary-knots": lambda: NonstationaryConvolution((2, 9), draw((3, 4)), [1.5, 4, 7], offset=0),
    "nonstationary-axis": lambda: NonstationaryConvolution((2, 5, 3), draw((2, 9)), [0, 4], axis=1, offset=7),
    "nonstationary-complex": lambda: NonstationaryConvolution((5, 2), draw((5, 4), dtype=complex), axis=0),
    "diagonal": lambda: Diagonal(draw(7)),
    "diagonal-complex": lambda: Diagonal(draw(5, dtype=complex)),
    "adjoint": lambda: Convolution(10, COMPLEX_WAVELET, offset=4).H,
    "composition": lambda: Restriction((4, 6), MASK, axis=None) @ FFT((4, 6), sizes=(5, 8)).H,
    "composition-deep": lambda: Restriction(16, [1, 5, 6]) @ Convolution(16, WAVELET) @ Wavelet(16, "haar").H,
    "scaled": lambda: (2.0 - 1.5j) * Convolution(9, WAVELET),
    "scaled-real": lambda: -0.25 * DCT(6),
    "sum": lambda: DCT(8) - 0.5 * Convolution(8, WAVELET) + FFT(8),
    "hstack": lambda: HStack([DCT((2, 4)).H, Restriction((2, 4), np.arange(4)), 3j * FFT((2, 4)).H]),
    "hstack-unequal": lambda: HStack([FFT(6, sizes=9).H, DenseMatrix(draw((6, 3)))]),
    "vstack": lambda: VStack([Convolution(8, WAVELET), FFT(8)]),
    "vstack-unequal": lambda: VStack([Restriction(8, [1, 2]), DCT(8)]),
    "block-diagonal": lambda: BlockDiagonal([DCT(4), DenseMatrix(draw((2, 5))), FFT(3, sizes=4)]),
    "nested": lambda: VStack([HStack([DCT(4), FFT(4)]), BlockDiagonal([Restriction(4, [0]), DCT(4)])]),
}
# orthonormal rows or columns: the bound is the norm
TIGHT = [n for n in CATALOGUE if n.startswith(("restriction", "dct", "fft", "wavelet", "scaled-real"))]


@pytest.fixture(params=CATALOGUE)
def op(request: pytest.FixtureRequest) -> Operator:
    return CATALOGUE[request.param]()


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_rmatvec_is_the_adjoint(op: Operator, dtype: Any) -> None:
    x, y = draw(op.shape[1], dtype=dtype), draw(op.shape[0], dtype=dtype, seed=1)
    forward, backward = np.vdot(y, op.matvec(x)), np.vdot(op.rmatvec(y), x)
    assert abs(forward - backward) <= 1e-13 * np.linalg.norm(x) * np.linalg.norm(y) * size(op)
    assert adjoint_test(op) < 1e-13


def test_shapes_and_dtype(op: Operator) -> None:
    assert op.shape == (np.prod(op.dimsd), np.prod(op.dims))
    assert op.matvec(draw(op.shape[1])).dtype == op.dtype
    assert op.rmatvec(draw(op.shape[0])).dtype == op.dtype


@pytest.mark.parametrize("complex_data", [False, True])
def test_precision_is_kept_and_met(op: Operator, complex_data: bool) -> None:
    """Single stays single and passes the dot test at 1e-5, double at 1e-12, one vector and several."""
    # a dense matrix is held in double precision, and so is what it takes part in
    dense_part = "DenseMatrix" in repr(getattr(op, "parts", ""))
    complex_image = complex_data or op.dtype.kind == "c"
    for single, tol in ((True, 1e-5), (False, 1e-12)):
        dtype = np.dtype(
            ("complex" if complex_data else "float") + str((32 if single else 64) << complex_data)
        )
        wanted = np.dtype(
            ("complex" if complex_image else "float") + str((32 if single else 64) << complex_image)
        )
        x, y = draw(op.shape[1], dtype=dtype), draw(op.shape[0], dtype=dtype, seed=1)
        images = op.matvec(x), op.matmat(np.stack((x, x), axis=1))[:, 1]
        backs = op.rmatvec(y), op.rmatmat(np.stack((y, y), axis=1))[:, 1]
        for image, back in zip(images, backs, strict=True):
            assert dense_part or image.dtype == back.dtype == wanted
            mismatch = abs(np.vdot(y, image) - np.vdot(back, x))
            assert mismatch <= tol * np.linalg.norm(x) * np.linalg.norm(y) * size(op)
        exact = op.matvec(x.astype(np.result_type(dtype, np.float64)))
        np.testing.assert_allclose(images[0], exact, rtol=0, atol=10 * tol * np.linalg.norm(x) * size(op))


def test_norm_bound_is_an_upper_bound(op: Operator) -> None:
    bound = op.norm_bound()
    # a dense matrix states no bound, so neither does what contains one
    assert (bound is None) == ("DenseMatrix" in repr(getattr(op, "parts", "")))
    assert bound is None or bound >= size(op) * (1 - 1e-13)
    assert op.H.norm_bound() == bound


@pytest.mark.parametrize("name", TIGHT)
def test_norm_bound_is_the_norm_where_it_can_be(name: str) -> None:
    op = CATALOGUE[name]()
    assert op.norm_bound() == pytest.approx(size(op), rel=1e-13)


def test_columns_equal_the_dense_matrix(op: Operator) -> None:
    n = op.shape[1]
    matrix = dense(op)
    for index in (np.arange(n), np.array([n - 1, 0, n // 2]), np.array([n // 3])):
        columns = op.columns(index)
        np.testing.assert_allclose(columns, matrix[:, index], rtol=0, atol=1e-13 * size(op))
        assert columns.flags.f_contiguous
    with pytest.raises(IndexError):
        op.columns(np.array([n]))


def test_column_norms_are_exact(op: Operator) -> None:
    for a, matrix in ((op, dense(op)), (op.H, dense(op).conj().T)):
        norms = a.column_norms()
        if norms is not None:
            np.testing.assert_allclose(norms, np.linalg.norm(matrix, axis=0), rtol=1e-13, atol=1e-14)


def test_simple_operators_know_their_column_norms() -> None:
    for name, make in CATALOGUE.items():
        if name.startswith(
            (
                "restriction",
                "dct",
                "fft",
                "wavelet",
                "convolution",
                "interpolation",
                "nufft",
                "nonstationary",
                "hstack",
                "vstack",
                "block",
            )
        ):
            assert make().column_norms() is not None, name
        if name.startswith(
            ("restriction", "dct", "fft", "wavelet", "convolution", "interpolation", "nonstationary", "nufft")
        ):
            assert make().H.column_norms() is not None, name


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize("k", [0, 1, 3])
def test_matmat_equals_a_loop(op: Operator, dtype: Any, k: int) -> None:
    for product, loop, entries in (
        (op.matmat, op.matvec, op.shape[1]),
        (op.rmatmat, op.rmatvec, op.shape[0]),
    ):
        X = draw((entries, k), dtype=dtype)
        for given_X in (X, np.asfortranarray(X)):
            Y = product(given_X)
            assert Y.shape == (sum(op.shape) - entries, k)
            for j in range(k):
                np.testing.assert_allclose(Y[:, j], loop(X[:, j]), rtol=0, atol=1e-12)


def test_arguments_are_left_alone(op: Operator) -> None:
    for product, entries in ((op.matvec, op.shape[1]), (op.rmatvec, op.shape[0])):
        v = draw(2 * entries, dtype=complex)[::2]
        v.flags.writeable = False
        np.testing.assert_allclose(product(v), product(v.copy()), rtol=0, atol=1e-14)
        integers = np.arange(entries)
        np.testing.assert_allclose(product(integers), product(integers.astype(float)), atol=1e-12)


@pytest.mark.parametrize("kind", ["f4", "f8", "c8", "c16", "i2"])
def test_either_byte_order_is_read(op: Operator, kind: str) -> None:
    """Samples that were read from seismic files are big-endian."""
    for product, many, entries in (
        (op.matvec, op.matmat, op.shape[1]),
        (op.rmatvec, op.rmatmat, op.shape[0]),
    ):
        v = draw(entries).astype(kind) if kind != "i2" else np.arange(entries, dtype=kind)
        expected = product(v).copy()
        for other in (">", "<"):
            turned = v.astype(v.dtype.newbyteorder(other))
            assert product(turned).dtype == expected.dtype
            np.testing.assert_array_equal(product(turned), expected)
            np.testing.assert_allclose(many(turned[:, None])[:, 0], expected, rtol=1e-4, atol=1e-4)


def test_positions_in_single_precision_reach_the_last_sample() -> None:
    t = np.arange(1000, dtype=np.float32) * np.float32(0.004)
    x = draw(1000)
    np.testing.assert_allclose(Interpolation(1000, t, step=0.004) @ x, x, atol=5e-3)
    with pytest.raises(ValueError, match="nothing is known outside"):
        Interpolation(1000, t + np.float32(1e-4), step=0.004)


def test_a_diagonal_is_a_vector() -> None:
    with pytest.raises(ValueError, match="diagonal has shape"):
        Diagonal(np.eye(2))


def test_results_are_not_views_of_arguments(op: Operator) -> None:
    for product, entries in ((op.matvec, op.shape[1]), (op.rmatvec, op.shape[0])):
        v = draw(entries)
        assert not np.shares_memory(product(v), v)


def test_powers_of_two_change_no_bit(op: Operator) -> None:
    x = draw(op.shape[1])
    np.testing.assert_array_equal(op.matvec(x * 2.0**40), op.matvec(x) * 2.0**40)


def test_wrong_sizes_are_refused(op: Operator) -> None:
    m, n = op.shape
    with pytest.raises(ValueError, match=rf"x has shape .* needs \({n},\)"):
        op.matvec(np.ones(n + 1))
    with pytest.raises(ValueError, match=rf"y has shape .* needs \({m},\)"):
        op.rmatvec(np.ones(m + 1))
    if not isinstance(op, Scaled | Composition):
        with pytest.raises(ValueError, match=rf"X has shape .* needs \({n}, k\)|Y has shape"):
            op.matmat(np.ones((n + 1, 2)))
        with pytest.raises(ValueError, match=rf"Y has shape .* needs \({m}, k\)|X has shape"):
            op.rmatmat(np.ones((m + 1, 2)))


def test_adjoint_of_the_adjoint_is_the_operator(op: Operator) -> None:
    assert op.H.H is op or op.H.H.operator is op.H
    assert op.H.shape == op.shape[::-1]
    assert (op.H.dims, op.H.dimsd) == (op.dimsd, op.dims)
    np.testing.assert_allclose(dense(op.H), dense(op).conj().T, atol=1e-13)


# --------------------------------------------------------------------------------------------- formulas


def test_restriction_selects() -> None:
    x = draw((3, 4, 5))
    R = Restriction(x.shape, [2, 0], axis=1)
    assert R.dimsd == (3, 2, 5)
    np.testing.assert_array_equal(R.matvec(x.ravel()).reshape(R.dimsd), x[:, [2, 0]])
    mask = draw(x.shape, seed=1) > 0.5
    S = Restriction(x.shape, mask, axis=None)
    assert S.dimsd == (mask.sum(),)
    np.testing.assert_array_equal(S.matvec(x.ravel()), x[mask])
    np.testing.assert_array_equal(dense(R @ R.H), np.eye(R.shape[0]))


def test_dct_is_its_formula_and_orthogonal() -> None:
    N = 8
    k, i = np.mgrid[:N, :N]
    formula = np.sqrt(2 / N) * np.cos(np.pi * k * (2 * i + 1) / (2 * N))
    formula[0] /= np.sqrt(2)
    np.testing.assert_allclose(dense(DCT(N)), formula, atol=1e-14)
    C = dense(DCT((4, 3)))
    np.testing.assert_allclose(C @ C.T, np.eye(12), atol=1e-14)


def test_fft_is_its_formula() -> None:
    n, N = 5, 8
    k, i = np.mgrid[:N, :n]
    formula = np.exp(-2j * np.pi * k * i / N) / np.sqrt(N)
    np.testing.assert_allclose(dense(FFT(n, sizes=N)), formula, atol=1e-14)


def test_padded_fft_is_a_tight_frame() -> None:
    F = FFT((3, 4), sizes=(5, 8))
    assert F.dimsd == (5, 8)
    S = dense(F.H)
    np.testing.assert_allclose(S @ S.conj().T, np.eye(12), atol=1e-14)
    G = dense(FFT((3, 4)))
    np.testing.assert_allclose(G @ G.conj().T, np.eye(12), atol=1e-14)


@pytest.mark.parametrize(
    ("dims", "wavelet", "axes"), [(64, "db4", None), ((16, 32), "db2", None), ((3, 24), "sym2", -1)]
)
def test_wavelet_equals_pywavelets(dims: Any, wavelet: str, axes: Any) -> None:
    pywt = pytest.importorskip("pywt")
    W = Wavelet(dims, wavelet, axes=axes)
    x = draw(W.dims)
    coefficients = pywt.wavedecn(x, wavelet, "periodization", level=W.level, axes=W.axes)
    expected, _ = pywt.coeffs_to_array(coefficients, axes=W.axes)
    np.testing.assert_allclose(W.matvec(x.ravel()).reshape(W.dims), expected, atol=1e-13)
    np.testing.assert_allclose(W.H @ (W @ x.ravel()), x.ravel(), atol=1e-11)


@pytest.mark.parametrize("wavelet", ["haar", "db4", "db38", "sym20", "coif17"])
def test_orthogonal_wavelets_are_orthogonal(wavelet: str) -> None:
    W = Wavelet(256, wavelet)
    np.testing.assert_allclose((W @ W.H).matmat(np.eye(256)), np.eye(256), atol=1e-9)


def test_wavelet_levels_label_the_scales() -> None:
    W = Wavelet((8, 4), "haar", level=2)
    labels = W.levels().reshape(8, 4)
    np.testing.assert_array_equal(labels[:3], [[0, 1, 2, 2], [0, 1, 2, 2], [1, 1, 2, 2]])
    assert np.bincount(W.levels()).tolist() == [2, 6, 24]
    # a constant lives on scale 0 alone
    constant = np.abs(W.matvec(np.ones(32)))
    assert constant[W.levels() > 0].max() < 1e-14


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(n=st.integers(1, 40), nw=st.integers(1, 60), offset=st.integers(0, 59), seed=st.integers(0, 9))
def test_convolution_is_its_formula(n: int, nw: int, offset: int, seed: int) -> None:
    offset %= nw
    w, x = draw(nw, seed=seed), draw(n, seed=seed + 1)
    A = Convolution(n, w, offset)
    full = np.convolve(w, x)
    # entry i of the result is entry i + offset of the full convolution
    expected = np.concatenate((full, np.zeros(n)))[offset : offset + n]
    np.testing.assert_allclose(A.matvec(x), expected, rtol=0, atol=1e-12 * np.abs(w).sum())
    matrix = dense(A)
    np.testing.assert_allclose(A.column_norms(), np.linalg.norm(matrix, axis=0), rtol=1e-12, atol=1e-14)
    assert A.norm_bound() >= np.linalg.norm(matrix, 2) * (1 - 1e-13)


def test_convolution_bound_is_close_for_long_traces() -> None:
    A = Convolution(100, WAVELET)
    assert A.norm_bound() <= 1.01 * np.linalg.norm(dense(A), 2)


def test_convolution_column_norms_keep_small_ends() -> None:
    # the first samples of the wavelet are tiny: running sums from one side only would lose them
    w = np.array([1e-12, 1e-9, 1.0, 0.5])
    A = Convolution(4, w, offset=0)
    assert A.column_norms()[-1] == pytest.approx(1e-12, rel=1e-12)
    for scale in (1e-200, 1e200):
        np.testing.assert_allclose(
            Convolution(4, w * scale).column_norms(), Convolution(4, w).column_norms() * scale
        )
    np.testing.assert_array_equal(Convolution(3, [0.0]).column_norms(), np.zeros(3))


# ---------------------------------------------------------------------------------------------- algebra


def test_algebra_is_that_of_dense_matrices() -> None:
    A, B, C = draw((3, 4)), draw((4, 5), dtype=complex, seed=1), draw((3, 4), seed=2)
    a, b, c = (DenseMatrix(np.asfortranarray(M)) for M in (A, B, C))
    zero = np.zeros((3, 5))
    pairs: list[tuple[Operator, Array]] = [
        (a @ b, A @ B),
        (a + c, A + C),
        (a - c, A - C),
        (-a, -A),
        (2.5 * a, 2.5 * A),
        (b * (1 - 2j), (1 - 2j) * B),
        (np.float64(2.0) * a, 2 * A),
        (Sum(a, c, a), 2 * A + C),
        (Composition(a, b).H, (A @ B).conj().T),
        (HStack([a, a @ b]), np.hstack([A, A @ B])),
        (VStack([a, c, 1j * a]), np.vstack([A, C, 1j * A])),
        (BlockDiagonal([a, b]), np.block([[A, zero], [np.zeros((4, 4)), B]])),
        ((a + c).H @ a, (A + C).T @ A),
    ]
    for op, matrix in pairs:
        np.testing.assert_allclose(dense(op), matrix, atol=1e-14)
        np.testing.assert_allclose(op.rmatmat(np.eye(matrix.shape[0])), matrix.conj().T, atol=1e-14)
        np.testing.assert_allclose(op @ np.eye(matrix.shape[1]), matrix, atol=1e-14)
        assert op.norm_bound() is None  # dense matrices state none, so neither do their combinations
    np.testing.assert_allclose(HStack([a, c]).column_norms(), np.linalg.norm(np.hstack([A, C]), axis=0))
    np.testing.assert_allclose(VStack([a, c]).column_norms(), np.linalg.norm(np.vstack([A, C]), axis=0))
    np.testing.assert_allclose((-3j * a).column_norms(), 3 * np.linalg.norm(A, axis=0))
    assert (a + c).column_norms() is None
    assert (a @ b).column_norms() is None


def test_natural_shapes_follow() -> None:
    W, F = Wavelet((8, 8), "haar"), FFT((8, 8), sizes=(8, 16))
    assert (F @ W.H).dims == (8, 8)
    assert (F @ W.H).dimsd == (8, 16)
    assert HStack([W.H, DCT((8, 8)).H]).dims == (2, 8, 8)
    assert HStack([W.H, DCT((8, 8)).H]).dimsd == (8, 8)
    assert VStack([W, DCT((8, 8))]).dimsd == (2, 8, 8)
    assert VStack([W, F]).dimsd == (64 + 128,)
    assert BlockDiagonal([W, W, W]).dims == (3, 8, 8)
    assert (2 * W).dims == (W + W).dims == (8, 8)


def test_parts_that_reuse_their_buffer_are_safe() -> None:
    matrix = draw((3, 3))
    a = OwnBuffer(matrix)
    np.testing.assert_allclose(dense_of_copies(HStack([a, a])), np.hstack([matrix, matrix]))
    np.testing.assert_allclose(dense_of_copies(BlockDiagonal([a, a])), np.kron(np.eye(2), matrix))
    np.testing.assert_allclose(dense_of_copies(VStack([a, a @ a])), np.vstack([matrix, matrix @ matrix]))
    np.testing.assert_allclose(dense_of_copies(a + a @ a), matrix + matrix @ matrix)


def dense_of_copies(op: Operator) -> Array:
    return np.array([op.matvec(unit).copy() for unit in np.eye(op.shape[1])]).T


def test_real_linear_maps_stay_adjoint() -> None:
    part = RealPart(draw((4, 3), dtype=complex))
    inner = DenseMatrix(draw((3, 5), dtype=complex, seed=1))
    for op in (
        (2 - 3j) * part,
        part @ inner,
        HStack([part, part @ inner]),
        VStack([part, 1j * part]),
        BlockDiagonal([part, inner]),
        part + part,
    ):
        assert not op.clinear
        x, y = draw(op.shape[1], dtype=complex, seed=2), draw(op.shape[0], dtype=complex, seed=3)
        forward, backward = np.vdot(y, op.matvec(x)).real, np.vdot(op.rmatvec(y), x).real
        assert forward == pytest.approx(backward, rel=1e-12)
    assert not part.H.clinear
    assert (2 * DCT(3)).clinear


# ----------------------------------------------------------------------------------------------- PyLops


def test_operators_equal_those_of_pylops() -> None:
    pylops = pytest.importorskip("pylops")
    signal = pylops.signalprocessing
    pairs = [
        (Restriction((4, 5), [3, 1], axis=0), pylops.Restriction((4, 5), [3, 1], axis=0)),
        (DCT((4, 6), axes=1), signal.DCT((4, 6), type=2, axes=1)),
        (FFT((4, 5), axes=0, sizes=7), signal.FFT((4, 5), axis=0, nfft=7, norm="ortho", dtype=complex)),
        (FFT((4, 5), sizes=(6, 8)), signal.FFT2D((4, 5), nffts=(6, 8), norm="ortho", dtype=complex)),
        (Convolution((3, 9), WAVELET, 2), signal.Convolve1D((3, 9), WAVELET, offset=2, axis=-1)),
        (Wavelet((4, 16), "haar", 2, axes=1), signal.DWT((4, 16), axis=1, wavelet="haar", level=2)),
    ]
    for ours, theirs in pairs:
        assert ours.shape == theirs.shape
        x, y = draw(ours.shape[1], dtype=ours.dtype), draw(ours.shape[0], dtype=ours.dtype, seed=1)
        np.testing.assert_allclose(ours.matvec(x), theirs.matvec(x), atol=1e-12)
        np.testing.assert_allclose(ours.rmatvec(y), theirs.rmatvec(y), atol=1e-12)


# -------------------------------------------------------------------------------------------- bad input

REFUSALS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: Restriction((3, 4), []), ValueError, "index selects nothing"),
    (lambda: Restriction((3, 4), [False] * 4), ValueError, "index selects nothing"),
    (
        lambda: Restriction((3, 4), [4]),
        ValueError,
        "index reaches from 4 to 4, but positions from 0 to 3 exist",
    ),
    (lambda: Restriction((3, 4), [-5]), ValueError, "index reaches from -5"),
    (lambda: Restriction((3, 4), [1, 2, 1]), ValueError, "index repeats position 1"),
    (lambda: Restriction((3, 4), [1, -3]), ValueError, "index repeats position 1"),
    (
        lambda: Restriction((3, 4), [0.5]),
        TypeError,
        "index has dtype float64, but whole numbers or a boolean",
    ),
    (lambda: Restriction((3, 4), [[0, 1]]), ValueError, r"index has shape \(1, 2\), but one dimension"),
    (
        lambda: Restriction((3, 4), [True] * 3),
        ValueError,
        r"mask of shape \(3,\), but shape \(4,\) is needed",
    ),
    (
        lambda: Restriction((3, 4), [0], axis=2),
        ValueError,
        r"axis contains 2, but dims \(3, 4\) has axes 0 to 1",
    ),
    (lambda: Restriction((3, 4), [0], axis=1.0), TypeError, "axis is 1.0, but a whole number"),
    (lambda: DCT(()), ValueError, "dims is empty"),
    (lambda: DCT(0), ValueError, "dims is 0, but it must be a whole number >= 1"),
    (lambda: DCT((3, 2.5)), TypeError, "an entry of dims is 3.0|an entry of dims is 2.5"),
    (lambda: DCT((3, 4), axes=(0, -2)), ValueError, "each axis must appear once"),
    (lambda: DCT((3, 4), axes=()), ValueError, "at least one is needed"),
    (lambda: FFT((3, 4), sizes=8), ValueError, "sizes has 1 entries, but 2 axes are transformed"),
    (lambda: FFT((3, 4), axes=1, sizes=3), ValueError, "sizes asks for 3 samples along an axis of 4"),
    (lambda: Convolution(5, []), ValueError, r"wavelet has shape \(0,\)"),
    (lambda: Convolution(5, [[1.0]]), ValueError, r"wavelet has shape \(1, 1\)"),
    (lambda: Convolution(5, [1.0, np.nan]), ValueError, r"wavelet contains nan at wavelet\[1\]"),
    (lambda: Convolution(5, ["a"]), TypeError, "wavelet has dtype"),
    (lambda: Convolution(5, [1.0, 2.0], 2), ValueError, "offset is 2, but the wavelet has samples 0 to 1"),
    (lambda: Convolution(5, [1.0], -1), ValueError, "offset is -1"),
    (lambda: Convolution((5, 2), [1.0], axis=2), ValueError, "axis contains 2"),
    (lambda: DCT(4) @ DCT(5), ValueError, "it takes 4 entries, not 5"),
    (
        lambda: DCT(4) + DCT(5),
        ValueError,
        "the parts of a sum have different numbers of rows: 4 in part 0, 5 in",
    ),
    (lambda: DCT(4) + np.eye(4), TypeError, "part 1 of a sum is a ndarray, but an Operator is needed"),
    (lambda: HStack([DCT(4), DCT(5)]), ValueError, "HStack have different numbers of rows"),
    (lambda: VStack([DCT(4), DCT(5)]), ValueError, "VStack have different numbers of columns"),
    (lambda: HStack([]), ValueError, "HStack needs at least one operator"),
    (lambda: BlockDiagonal(DCT(4)), TypeError, r"BlockDiagonal takes a sequence of operators"),
    (lambda: DCT(4) * np.nan, ValueError, "factor is nan, but a finite number"),
    (lambda: DCT(4) * [1.0, 2.0], TypeError, "multiplied by one number, not by list"),
    (lambda: DCT(4) * "2", TypeError, "multiplied by one number, not by str"),
    (
        lambda: HStack([DCT(4)]).columns(np.array([-5])),
        IndexError,
        "index reaches from -5 to -5, but there are 4",
    ),
]
WAVELET_REFUSALS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: Wavelet(16, "bior2.2"), ValueError, "wavelet 'bior2.2' is not orthogonal"),
    (lambda: Wavelet(256, "dmey"), ValueError, "wavelet 'dmey' is not orthogonal"),
    (lambda: Wavelet(16, "nonsense"), ValueError, "wavelet is 'nonsense', but the name of an orthogonal"),
    (lambda: Wavelet(16, 4), ValueError, "wavelet is 4, but the name of an orthogonal"),
    (lambda: Wavelet(15, "haar"), ValueError, r"transformed axes of \[15\] samples, but each must be even"),
    (lambda: Wavelet(4, "db4"), ValueError, "at least 14 for a filter of 8"),
    (lambda: Wavelet(12, "haar", level=3), ValueError, "level is 3, .* allow at most 2"),
    (lambda: Wavelet((16, 6), "haar", level=2), ValueError, r"axes of \[16, 6\] samples .* at most 1"),
    (lambda: Wavelet(16, "haar", level=0), ValueError, "level is 0, but it must be a whole number >= 1"),
]


@pytest.mark.parametrize(("call", "error", "sentence"), REFUSALS)
def test_bad_input_is_refused_with_a_sentence(
    call: Callable[[], Any], error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        call()


@pytest.mark.parametrize(("call", "error", "sentence"), WAVELET_REFUSALS)
def test_bad_wavelets_are_refused_with_a_sentence(
    call: Callable[[], Any], error: type[Exception], sentence: str
) -> None:
    pytest.importorskip("pywt")
    with pytest.raises(error, match=sentence):
        call()


def test_missing_pywavelets_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pywt", None)
    with pytest.raises(ImportError, match=r'python -m pip install "sparseinv\[demo\]"'):
        Wavelet(16)


def test_the_operators_load_numpy_and_nothing_heavier() -> None:
    code = (
        "import sys, sparseinv.operators as o\n"
        "[getattr(o, name) for name in o.__all__ if name != 'Wavelet']\n"
        "R = o.Restriction(4, [1, 2]); (R.H @ R).matvec([1.0, 2, 3, 4])\n"
        "heavy = {'scipy', 'pywt', 'numba', 'matplotlib', 'pylops'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert set(o.__all__) <= set(dir(o))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_unknown_names_are_attribute_errors() -> None:
    import sparseinv.operators

    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = sparseinv.operators.Nonsense

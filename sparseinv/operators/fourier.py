"""Cosine and Fourier transforms with orthonormal scaling; synthesis is the adjoint ``.H``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sparseinv.operators.grid import GridOperator, grid_axes, grid_dims, whole_numbers
from sparseinv.operators.wave_gram import WaveGram

Array = np.ndarray[Any, Any]


class DCT(GridOperator):
    """Analyse x by the orthonormal cosine transform of type II along axes: c = C x.

    ``c_k = s_k sqrt(2/N) sum_i x_i cos(pi k (2 i + 1) / (2 N))`` with s_0 = 1/sqrt(2), s_k = 1
    otherwise. C is orthogonal: ``DCT(dims).H`` is the inverse and the synthesis x = C^T c.

    Parameters
    ----------
    dims : int or tuple of int
        Shape of x and of the coefficients.
    axes : int or tuple of int, optional
        Axes to transform; all by default.

    Notes
    -----
    Norm 1 exactly, all columns of norm 1. Cost: one FFT of the same size a product.

    Examples
    --------
    >>> import numpy as np
    >>> C = DCT(8)
    >>> constant = C.H @ np.eye(8)[0]
    >>> bool(np.allclose(constant, 1 / np.sqrt(8)))
    True
    """

    def __init__(self, dims: int | Sequence[int], axes: int | Sequence[int] | None = None) -> None:
        grid = grid_dims(dims)
        #: transformed axes, counted from the end
        self.axes = grid_axes(axes, grid)
        super().__init__(grid, grid)

    def _forward(self, x: Array) -> Array:
        from scipy.fft import dctn

        return np.asarray(dctn(x, axes=self.axes, norm="ortho"))

    def _backward(self, y: Array) -> Array:
        from scipy.fft import idctn

        return np.asarray(idctn(y, axes=self.axes, norm="ortho"))

    def norm_bound(self) -> float:
        """Return 1, the norm itself."""
        return 1.0

    def column_norms(self) -> Array:
        """Return ones."""
        return np.ones(self.shape[1])

    def row_norms(self) -> Array:
        """Return ones."""
        return np.ones(self.shape[0])


class FFT(GridOperator):
    """Analyse x by the unitary Fourier transform along axes, with zero padding if asked: c = F P x.

    ``c_k = (1/sqrt(N)) sum_i x_i exp(-2 pi i k i / N)`` along each axis, N the (padded) size. The
    synthesis, for data made of plane waves with sparse complex coefficients c, is
    ``FFT(dims, ...).H``: c -> x = P^T F^H c.

    Parameters
    ----------
    dims : int or tuple of int
        Shape of x.
    axes : int or tuple of int, optional
        Axes to transform; all by default.
    sizes : int or tuple of int, optional
        Padded size N of each transformed axis, in the order of ``axes``; at least dims of that axis.
        No padding by default.

    Raises
    ------
    ValueError, TypeError
        axes or sizes do not fit dims.

    Notes
    -----
    Without padding F is unitary and ``.H`` is its inverse. With padding, analysis is an isometry
    (``F.H @ F`` is the identity) and synthesis ``F.H`` a redundant tight frame: its product with its
    own adjoint is the identity, so its norm is 1, but it has more columns than rows and the analysis
    coefficients F x are only one of the many c with x = F^H c. Padding refines the grid of
    frequencies; it adds no resolution. Norm 1 exactly; the columns of F have norm 1, those of
    ``F.H`` sqrt(prod(dims / sizes)).

    The coefficients are complex, also for real data. Where the penalty is convex and treats mirror
    images (k and -k) alike, some solution of a synthesis problem with real data has complex conjugate
    mirror images, that is a real F^H c; the real part of F^H c fits the data no worse in any case.
    Frequencies come in the order of numpy.fft.fftfreq. Cost: one FFT of prod(sizes) a product.

    Examples
    --------
    Plane-wave coefficients on a padded grid for a gather of 4 traces of 6 samples:

    >>> import numpy as np
    >>> F = FFT((4, 6), sizes=(8, 12))
    >>> S = F.H                                  # synthesis: (96,) coefficients to (24,) samples
    >>> S.shape, S.norm_bound()
    ((24, 96), 1.0)
    >>> x = np.arange(24.0)
    >>> bool(np.allclose(S @ (F @ x), x))
    True
    """

    def __init__(
        self,
        dims: int | Sequence[int],
        axes: int | Sequence[int] | None = None,
        sizes: int | Sequence[int] | None = None,
    ) -> None:
        grid = grid_dims(dims)
        #: transformed axes, counted from the end
        self.axes = grid_axes(axes, grid)
        padded = list(grid)
        if sizes is not None:
            wanted = whole_numbers(sizes, "sizes", least=1)
            if len(wanted) != len(self.axes):
                raise ValueError(
                    f"sizes has {len(wanted)} entries, but {len(self.axes)} axes are transformed; "
                    "pass one size for each"
                )
            for axis, size in zip(self.axes, wanted, strict=True):
                if size < grid[axis]:
                    raise ValueError(
                        f"sizes asks for {size} samples along an axis of {grid[axis]}; padding cannot cut it"
                    )
                padded[axis] = size
        super().__init__(grid, tuple(padded), np.complex128)
        #: padded sizes of the transformed axes
        self.sizes = tuple(padded[axis] for axis in self.axes)
        self._crop = (slice(None), *(slice(0, size) for size in grid))

    def _forward(self, x: Array) -> Array:
        from scipy.fft import fft, fftn

        if len(self.axes) == 1:  # less of SciPy's own work, which short transforms feel
            return np.asarray(fft(x, self.sizes[0], self.axes[0], norm="ortho"))
        return np.asarray(fftn(x, s=self.sizes, axes=self.axes, norm="ortho"))

    def _backward(self, y: Array) -> Array:
        from scipy.fft import ifft, ifftn

        if len(self.axes) == 1:
            return np.asarray(ifft(y, axis=self.axes[0], norm="ortho")[self._crop])
        return np.asarray(ifftn(y, axes=self.axes, norm="ortho")[self._crop])

    def norm_bound(self) -> float:
        """Return 1, the norm itself."""
        return 1.0

    def column_norms(self) -> Array:
        """Return ones."""
        return np.ones(self.shape[1])

    def row_norms(self) -> Array:
        """Return sqrt(prod(dims / sizes)) for each row: the column norms of the synthesis."""
        return np.full(self.shape[0], math.sqrt(self.shape[1] / self.shape[0]))

    def row_gram_entries(self, weights: Array | None = None) -> WaveGram:
        """Return entries of F diag(weights) F^H, which are sums of waves over the weights."""
        w = np.ones(self.dims) if weights is None else np.reshape(weights, self.dims)

        def sums() -> Array:
            from scipy.fft import ifftn

            return np.asarray(ifftn(w, s=self.sizes, axes=self.axes))

        return WaveGram(sums, self.dimsd, self.dimsd, self.axes)

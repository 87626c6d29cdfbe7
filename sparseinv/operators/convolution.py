"""Convolution with one wavelet along one axis: the forward model of sparse-spike deconvolution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.operators.grid import GridOperator, column_index, grid_axes, grid_dims

Array = np.ndarray[Any, Any]


class Convolution(GridOperator):
    """Convolve x with a wavelet along one axis and keep the samples of x: y = w * x.

    ``y_i = sum_j w[i - j + offset] x_j`` with w = 0 outside its samples: a spike at sample j becomes
    a wavelet whose zero time lies at sample j, cut at the ends of the axis. Nothing wraps around.

    Parameters
    ----------
    dims : int or tuple of int
        Shape of x and of A x, for example (traces, samples).
    wavelet : array_like, shape (nw,)
        Samples at the sampling interval of x; real or complex, finite.
    offset : int, optional
        Index of the wavelet's zero time, 0 <= offset < nw; by default nw // 2, the middle of a
        zero-phase wavelet of odd length. Use 0 for a causal one.
    axis : int
        Axis along which to convolve.

    Raises
    ------
    ValueError, TypeError
        The wavelet is empty, not one-dimensional, not finite or not numeric; offset or axis out of
        range.

    Notes
    -----
    Cost: two FFTs a trace of N + max(offset, nw - 1 - offset) samples or a little more (the adjoint
    alike); storage: the spectrum of the wavelet. A is a circulant matrix on that padded length P,
    cut to N rows and columns, hence ``||A|| <= max_k abs(W_k)``, k = 0 ... P - 1: the bound of
    `norm_bound`, found without products. Columns and column norms are in closed form.

    Examples
    --------
    >>> import numpy as np
    >>> A = Convolution(5, [1.0, 2.0, 0.5], offset=1)
    >>> np.round(A @ np.array([0.0, 0, 1, 0, 0]), 12) + 0.0
    array([0. , 1. , 2. , 0.5, 0. ])
    >>> float(np.linalg.norm(A.columns(np.arange(5)), 2)) <= A.norm_bound()
    True
    """

    closed_columns = True

    def __init__(
        self, dims: int | Sequence[int], wavelet: Any, offset: int | None = None, axis: int = -1
    ) -> None:
        grid = grid_dims(dims)
        (self.axis,) = grid_axes(axis, grid, "axis")
        w = validation.numeric(wavelet, "wavelet")
        if w.ndim != 1 or w.size == 0:
            raise ValueError(f"wavelet has shape {w.shape}, but a vector with at least one sample is needed")
        validation.finite(w, "wavelet")
        zero = w.size // 2 if offset is None else validation.count(offset, "offset")
        if zero >= w.size:
            raise ValueError(f"offset is {zero}, but the wavelet has samples 0 to {w.size - 1}")
        super().__init__(grid, grid, w.dtype)
        self._length = grid[self.axis]
        # samples further than N - 1 from the zero time never meet the data
        first, last = max(0, zero - self._length + 1), min(w.size, zero + self._length)
        #: the samples that matter, and the index of zero time among them
        self.wavelet, self.offset = w[first:last].copy(), zero - first
        self._spectrum = self._transfer()

    def _transfer(self) -> Array:
        """Return the spectrum of the wavelet with its zero time moved to sample 0."""
        from scipy.fft import fft, next_fast_len

        reach = max(self.offset, self.wavelet.size - 1 - self.offset)
        padded = next_fast_len(self._length + reach, real=self.dtype.kind != "c")
        circular = np.zeros(padded, dtype=self.dtype)
        circular[np.arange(self.wavelet.size) - self.offset] = self.wavelet
        return np.asarray(fft(circular))

    def _filter(self, x: Array, spectrum: Array) -> Array:
        from scipy import fft

        if x.dtype.kind not in "fc":
            x = x.astype(np.float64)
        P, axis = spectrum.size, self.axis
        if x.dtype.kind == "f" and self.dtype.kind == "f":
            forward, inverse, spectrum = fft.rfft, fft.irfft, spectrum[: P // 2 + 1]
        else:
            forward, inverse = fft.fft, fft.ifft
        z = forward(x, P, axis=axis)
        z *= spectrum.astype(z.dtype, copy=False).reshape(-1, *(1,) * (-1 - axis))
        keep = (Ellipsis, slice(0, self._length), *(slice(None),) * (-1 - axis))
        return np.asarray(inverse(z, P, axis=axis)[keep])

    def _forward(self, x: Array) -> Array:
        return self._filter(x, self._spectrum)

    def _backward(self, y: Array) -> Array:
        return self._filter(y, self._spectrum.conj())

    def columns(self, index: Array) -> Array:
        """Return shifted wavelets, cut at the ends of the axis."""
        j = column_index(index, self.shape[1])
        stride = math.prod(self.dims[len(self.dims) + self.axis + 1 :])
        lag = np.arange(self.wavelet.size) - self.offset
        position = (j // stride % self._length)[:, None] + lag
        inside = (position >= 0) & (position < self._length)
        column, tap = np.nonzero(inside)
        out = np.zeros((self.shape[0], j.size), dtype=self.dtype, order="F")
        out[j[column] + lag[tap] * stride, column] = self.wavelet[tap]
        return out

    def norm_bound(self) -> float:
        """Return max abs(W_k) over the padded frequencies."""
        return float(np.abs(self._spectrum).max())

    def column_norms(self) -> Array:
        """Return the norms of the cut wavelets, from running sums of abs(w)^2."""
        return self._along_axis(_cut_norms(self.wavelet, self.offset, self._length))

    def row_norms(self) -> Array:
        """Return the norms of the rows: those of the columns of the reversed wavelet."""
        reverse = self.wavelet[::-1]
        return self._along_axis(_cut_norms(reverse, reverse.size - 1 - self.offset, self._length))

    def _along_axis(self, profile: Array) -> Array:
        shaped = profile.reshape(-1, *(1,) * (-1 - self.axis))
        return np.broadcast_to(shaped, self.dims).reshape(-1)


def _cut_norms(wavelet: Array, offset: int, length: int) -> Array:
    """Return norm2(w[lower : upper]) for a zero time at each of the samples 0 ... length - 1."""
    peak = float(np.abs(wavelet).max())
    if peak == 0.0:
        return np.zeros(length)
    energy = np.abs(wavelet / peak) ** 2
    sample = np.arange(length)
    lower = np.maximum(offset - sample, 0)
    upper = np.minimum(offset - sample + length, wavelet.size)
    head = np.concatenate(([0.0], np.cumsum(energy)))
    tail = np.concatenate((np.cumsum(energy[::-1])[::-1], [0.0]))
    # a difference of running sums loses the small ends, so it serves only where both ends are cut
    middle = np.maximum(head[upper] - head[lower], energy[offset])
    squares = np.where(lower == 0, head[upper], np.where(upper == wavelet.size, tail[lower], middle))
    return np.asarray(peak * np.sqrt(squares))

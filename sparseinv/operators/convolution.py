"""Convolution with one wavelet along one axis or several: the forward model of sparse-spike deconvolution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.operators.grid import GridOperator, column_index, grid_axes, grid_dims, whole_numbers

Array = np.ndarray[Any, Any]


class Convolution(GridOperator):
    """Convolve x with a wavelet along axes and keep the samples of x: y = w * x.

    ``y_i = sum_j w[i - j + offset] x_j`` with w = 0 outside its samples: a spike at sample j becomes
    a wavelet whose zero time lies at sample j, cut at the ends of the axis. Nothing wraps around. With
    several axes i, j and offset are tuples, and w has as many dimensions as there are axes.

    Parameters
    ----------
    dims : int or tuple of int
        Shape of x and of A x, for example (traces, samples).
    wavelet : array_like, shape (nw,), or (nw_1, nw_2, ...) for several axes
        Samples at the sampling interval of x; real or complex, finite.
    offset : int or tuple of int, optional
        Index of the wavelet's zero time along each axis, 0 <= offset < nw; by default nw // 2, the
        middle of a zero-phase wavelet of odd length. Use 0 for a causal one.
    axis : int or tuple of int
        Axes along which to convolve, in the order of the wavelet's dimensions.

    Raises
    ------
    ValueError, TypeError
        The wavelet is empty, has another number of dimensions than there are axes, is not finite or not
        numeric; offset or axis out of range.

    Notes
    -----
    Cost: two FFTs a trace of N + max(offset, nw - 1 - offset) samples or a little more (the adjoint
    alike), of real numbers where x and w are real. A real wavelet along one axis that is shorter than
    about 64 samples, or 500 where x has no more than 500 entries, is summed up sample by sample instead,
    which is then up to eight times as fast. Storage: the spectrum of the wavelet. A is a circulant matrix
    on that padded length P, cut to N rows and columns, hence ``||A|| <= max_k abs(W_k)``,
    k = 0 ... P - 1: the bound of `norm_bound`, found without products. Columns and column norms are in
    closed form. All of it holds axis by axis.

    Examples
    --------
    >>> import numpy as np
    >>> A = Convolution(5, [1.0, 2.0, 0.5], offset=1)
    >>> np.round(A @ np.array([0.0, 0, 1, 0, 0]), 12) + 0.0
    array([0. , 1. , 2. , 0.5, 0. ])
    >>> float(np.linalg.norm(A.columns(np.arange(5)), 2)) <= A.norm_bound()
    True
    >>> blur = Convolution((4, 6), np.ones((3, 3)) / 9, axis=(0, 1))
    >>> float(np.round(blur.column_norms().max(), 6))
    0.333333
    """

    closed_columns = True

    def __init__(
        self,
        dims: int | Sequence[int],
        wavelet: Any,
        offset: int | Sequence[int] | None = None,
        axis: int | Sequence[int] = -1,
    ) -> None:
        grid = grid_dims(dims)
        axes = grid_axes(axis, grid, "axis")
        w = _wavelet(wavelet, len(axes))
        zero = _zero_times(offset, w.shape)
        super().__init__(grid, grid, w.dtype)
        # the order of the grid is that of every loop below
        order = sorted(range(len(axes)), key=lambda k: axes[k])
        #: convolved axes, counted from the end, in the order of the grid
        self.axes = tuple(axes[k] for k in order)
        lengths = tuple(grid[a] for a in self.axes)
        # samples further than N - 1 from the zero time never meet the data
        first = [max(0, zero[k] - n + 1) for k, n in zip(order, lengths, strict=True)]
        last = [min(w.shape[k], zero[k] + n) for k, n in zip(order, lengths, strict=True)]
        kept = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
        #: samples that can meet the data
        self.wavelet = np.ascontiguousarray(w.transpose(order)[kept])
        self.offset = tuple(zero[k] - a for k, a in zip(order, first, strict=True))
        self._lengths = lengths
        self._spectra: dict[str, Array] = {}  # and samples, each in the precisions asked for
        self._padded, self._bound = self._prepare()
        self._keep = tuple(slice(0, grid[a]) if a in self.axes else slice(None) for a in range(-len(grid), 0))

    def _prepare(self) -> tuple[tuple[int, ...], float]:
        """Keep the spectrum of the wavelet, its zero time moved to sample 0; return padded sizes, bound."""
        from scipy import fft

        real = self.dtype.kind != "c"
        reach = [max(o, n - 1 - o) for o, n in zip(self.offset, self.wavelet.shape, strict=True)]
        padded = tuple(fft.next_fast_len(n + r, real=real) for n, r in zip(self._lengths, reach, strict=True))
        circular = np.zeros(padded, dtype=self.dtype)
        taps = [np.arange(n) - o for n, o in zip(self.wavelet.shape, self.offset, strict=True)]
        circular[np.ix_(*taps)] = self.wavelet
        full = np.asarray(fft.fftn(circular))
        self._spectra["c"] = self._aligned(full)
        if real:
            self._spectra["f"] = self._aligned(full[..., : padded[-1] // 2 + 1])
        return padded, float(np.abs(full).max())

    def _aligned(self, spectrum: Array) -> Array:
        """Give the spectrum the axes of x that are not convolved, of size one."""
        shape = [1] * len(self.dims)
        for axis, size in zip(self.axes, spectrum.shape, strict=True):
            shape[axis] = size
        return np.ascontiguousarray(spectrum.reshape(shape))

    def _spectrum(self, x: Array, adjoint: bool) -> Array:
        """Return the spectrum for the kind and the precision of x; each is made once."""
        half = "f" if x.dtype.kind == "f" and self.dtype.kind == "f" else "c"
        single = x.dtype.itemsize < (8 if x.dtype.kind == "f" else 16)
        name = half + "1" * single + "*" * adjoint
        if name not in self._spectra:
            spectrum = self._spectra[half].astype(np.complex64 if single else np.complex128)
            self._spectra[name] = spectrum.conj() if adjoint else spectrum
        return self._spectra[name]

    def _filter(self, x: Array, *, adjoint: bool) -> Array:
        from scipy import fft

        if x.dtype.char not in "fdFD":
            x = x.astype(np.float64 if x.dtype.kind != "c" else np.complex128)
        if self._is_short(x.size):
            return self._summed(x, adjoint=adjoint)
        spectrum = self._spectrum(x, adjoint)
        if x.dtype.kind == "f" and self.dtype.kind == "f":
            forward, inverse = fft.rfftn, fft.irfftn
        else:
            forward, inverse = fft.fftn, fft.ifftn
        z = forward(x, self._padded, axes=self.axes)
        z *= spectrum
        return np.asarray(inverse(z, self._padded, axes=self.axes)[:, *self._keep])

    def _is_short(self, size: int) -> bool:
        """Tell whether sums over the wavelet are faster than FFTs, which cost 20 microseconds at least."""
        return (
            len(self.axes) == 1
            and self.dtype.kind != "c"
            and self.wavelet.size <= 64 + 250_000 // max(size, 1)
        )

    def _summed(self, x: Array, *, adjoint: bool) -> Array:
        from sparseinv.kernels.convolution import convolve_lines

        axis, batch = self.axes[0], x.shape[0]
        inner = math.prod(self.dims[len(self.dims) + axis + 1 :])
        real = np.float32 if x.dtype.itemsize == (4 if x.dtype.kind == "f" else 8) else np.float64
        if x.dtype.kind == "c":  # real and imaginary parts are neighbours in memory
            inner *= 2
        lines = np.require(x, requirements=["C", "W"]).view(real).reshape(-1, self._lengths[0] * inner)
        wavelet = self._taps(real, adjoint)
        offset = wavelet.size - 1 - self.offset[0] if adjoint else self.offset[0]
        out = np.empty_like(lines)
        convolve_lines(lines, wavelet, offset, inner, out)
        return out.view(x.dtype).reshape(batch, *self.dims)

    def _taps(self, real: Any, adjoint: bool) -> Array:
        """Return the samples of the wavelet, reversed for the adjoint; each version is made once."""
        name = f"{np.dtype(real)}{'*' * adjoint}"
        if name not in self._spectra:
            taps = self.wavelet[::-1] if adjoint else self.wavelet
            self._spectra[name] = np.array(taps, dtype=real, order="C")
        return self._spectra[name]

    def _forward(self, x: Array) -> Array:
        return self._filter(x, adjoint=False)

    def _backward(self, y: Array) -> Array:
        return self._filter(y, adjoint=True)

    def columns(self, index: Array) -> Array:
        """Return shifted wavelets, cut at the ends of the axes."""
        j = column_index(index, self.shape[1])
        lags = np.unravel_index(np.arange(self.wavelet.size), self.wavelet.shape)
        inside, shift = (
            np.ones((j.size, self.wavelet.size), dtype=bool),
            np.zeros(lags[0].size, dtype=np.intp),
        )
        for axis, length, lag, offset in zip(self.axes, self._lengths, lags, self.offset, strict=True):
            stride = math.prod(self.dims[len(self.dims) + axis + 1 :])
            position = (j // stride % length)[:, None] + (lag - offset)
            inside &= (position >= 0) & (position < length)
            shift += (lag - offset) * stride
        column, tap = np.nonzero(inside)
        out = np.zeros((self.shape[0], j.size), dtype=self.dtype, order="F")
        out[j[column] + shift[tap], column] = self.wavelet.ravel()[tap]
        return out

    def norm_bound(self) -> float:
        """Return max abs(W_k) over the padded frequencies."""
        return self._bound

    def column_norms(self) -> Array:
        """Return the norms of the cut wavelets, from running sums of abs(w)^2."""
        return self._on_grid(_cut_norms(self.wavelet, self.offset, self._lengths))

    def row_norms(self) -> Array:
        """Return the norms of the rows: those of the columns of the reversed wavelet."""
        reverse = np.flip(self.wavelet)
        offset = tuple(n - 1 - o for n, o in zip(reverse.shape, self.offset, strict=True))
        return self._on_grid(_cut_norms(reverse, offset, self._lengths))

    def _on_grid(self, profile: Array) -> Array:
        return np.broadcast_to(self._aligned(profile), self.dims).reshape(-1)


def _wavelet(wavelet: Any, ndim: int) -> Array:
    w = validation.numeric(wavelet, "wavelet")
    if w.ndim != ndim or w.size == 0:
        wanted = "a vector" if ndim == 1 else f"an array of {ndim} dimensions, one for each axis,"
        raise ValueError(f"wavelet has shape {w.shape}, but {wanted} with at least one sample is needed")
    validation.finite(w, "wavelet")
    return w


def _zero_times(offset: int | Sequence[int] | None, shape: tuple[int, ...]) -> tuple[int, ...]:
    if offset is None:
        return tuple(n // 2 for n in shape)
    zero = whole_numbers(offset, "offset", least=0)
    if len(zero) != len(shape):
        raise ValueError(f"offset has {len(zero)} entries, but the wavelet has {len(shape)} dimensions")
    for k, (o, n) in enumerate(zip(zero, shape, strict=True)):
        if o >= n:
            along = f" along dimension {k}" if len(shape) > 1 else ""
            raise ValueError(f"offset is {o}, but the wavelet has samples 0 to {n - 1}{along}")
    return zero


def _cut_norms(wavelet: Array, offset: tuple[int, ...], lengths: tuple[int, ...]) -> Array:
    """Return the norm of what is left of the wavelet for a zero time at each sample of the grid."""
    peak = float(np.abs(wavelet).max())
    if peak == 0.0:
        return np.zeros(lengths)
    sums = np.abs(wavelet / peak) ** 2
    for axis, (zero, length) in enumerate(zip(offset, lengths, strict=True)):
        sums = np.moveaxis(_cut_sums(np.moveaxis(sums, axis, 0), zero, length), 0, axis)
    return np.asarray(peak * np.sqrt(sums))


def _cut_sums(energy: Array, offset: int, length: int) -> Array:
    """Return energy[lower : upper].sum(axis=0) for a zero time at each of the samples 0 ... length - 1."""
    sample = np.arange(length)
    lower = np.maximum(offset - sample, 0)
    upper = np.minimum(offset - sample + length, energy.shape[0])
    none = np.zeros((1, *energy.shape[1:]))
    head = np.concatenate((none, np.cumsum(energy, axis=0)))
    tail = np.concatenate((np.cumsum(energy[::-1], axis=0)[::-1], none))
    # a difference of running sums loses the small ends, so it serves only where both ends are cut
    middle = np.maximum(head[upper] - head[lower], energy[offset])
    start, end = (
        (edge).reshape(-1, *(1,) * (energy.ndim - 1)) for edge in (lower == 0, upper == len(energy))
    )
    return np.where(start, head[upper], np.where(end, tail[lower], middle))

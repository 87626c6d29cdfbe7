"""Convolution with a wavelet that changes along the axis: attenuation, and whatever else ages a wavelet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.operators.grid import GridOperator, column_index, grid_axes, grid_dims

Array = np.ndarray[Any, Any]

_CLOSE = 1.02  # the bound of the norm is found by bisection up to this factor
_MOST_WORK = 4e9  # multiplications of the bisection, beyond which a coarser bound does


class NonstationaryConvolution(GridOperator):
    """Convolve x along one axis with a wavelet of its own for each sample: y = sum_j w_j(. - j) x_j.

    ``y_i = sum_j w_j[i - j + offset] x_j``: a spike at sample j becomes the wavelet of sample j, its zero
    time at j, cut at the ends of the axis. Between knots the wavelets are interpolated linearly,
    ``w_j = (1 - s) W_k + s W_(k+1)``, s = (j - knots[k]) / (knots[k+1] - knots[k]); outside they are those
    of the first and of the last knot.

    Parameters
    ----------
    dims : int or tuple of int
        Shape of x and of A x, for example (traces, samples).
    wavelets : array_like, shape (N, nw) or (number of knots, nw)
        One wavelet for each sample of the axis, or one for each knot; real or complex, finite.
    knots : array_like, shape (number of knots,), optional
        Positions of the wavelets along the axis in samples, rising; they need not be whole numbers.
    offset : int, optional
        Index of the zero time of every wavelet, 0 <= offset < nw; nw // 2 by default.
    axis : int
        Axis along which to convolve.

    Raises
    ------
    ValueError, TypeError
        The number of wavelets is neither that of the samples nor that of the knots, the knots do not
        rise, something is not finite or not numeric, offset or axis out of range.

    Notes
    -----
    Cost: N nw multiplications a trace, for A and for A^H alike; storage: N nw numbers, again for each
    precision and for the adjoint of complex wavelets. Columns and their norms are in closed form. The
    bound of the norm is found when it is asked for, once: by bisection, a number t is proven to be one by
    the Cholesky factorisation of the banded matrix t^2 I - A^H A, and the bound is at most 2 % above the
    norm; cost: about ten factorisations of N nw^2 operations. Beyond 4e9 operations it is
    sqrt(||A||_1 ||A||_inf), which is larger.

    References
    ----------
    .. [1] G. Margrave, Theory of nonstationary linear filtering in the Fourier domain with application to
       time-variant filtering, Geophysics 63 (1998) 244-259, doi:10.1190/1.1444318, equation 3 in its
       discrete form.

    Examples
    --------
    A wavelet that loses half of its amplitude:

    >>> import numpy as np
    >>> A = NonstationaryConvolution(5, [[1.0, 2.0, 1.0], [0.5, 1.0, 0.5]], knots=[0, 4])
    >>> np.round(A @ np.array([0.0, 0, 1, 0, 0]), 12)
    array([0.  , 0.75, 1.5 , 0.75, 0.  ])
    >>> bool(np.linalg.norm(A.columns(np.arange(5)), 2) <= A.norm_bound())
    True
    """

    closed_columns = True

    def __init__(
        self,
        dims: int | Sequence[int],
        wavelets: Any,
        knots: Any = None,
        *,
        offset: int | None = None,
        axis: int = -1,
    ) -> None:
        grid = grid_dims(dims)
        #: convolved axis, counted from the end
        (self.axis,) = grid_axes(axis, grid, "axis")
        length = grid[self.axis]
        W = _wavelets(wavelets, length, knots)
        zero = W.shape[1] // 2 if offset is None else validation.count(offset, "offset")
        if zero >= W.shape[1]:
            raise ValueError(f"offset is {zero}, but the wavelets have samples 0 to {W.shape[1] - 1}")
        super().__init__(grid, grid, W.dtype)
        # samples further than N - 1 from the zero time never meet the data
        first, last = max(0, zero - length + 1), min(W.shape[1], zero + length)
        #: index of the zero time in `wavelets`
        self.offset = zero - first
        table = W[:, first:last] if knots is None else _interpolated(W[:, first:last], knots, length)
        position = np.arange(length)[:, None] + (np.arange(last - first) - self.offset)
        #: wavelet of each sample, shape (N, samples of a wavelet), 0 where it leaves the axis
        self.wavelets = np.where((position >= 0) & (position < length), table, 0)
        self._tables: dict[str, Array] = {}
        self._bound: float | None = None

    def _table(self, dtype: Any, adjoint: bool) -> Array:
        """Return the wavelets as the kernels read them; each version is made once."""
        conjugated = adjoint and self.dtype.kind == "c"
        name = f"{np.dtype(dtype)}{'*' * conjugated}"
        if name not in self._tables:
            length, taps = self.wavelets.shape
            table = np.zeros((taps, length + 2 * (taps - 1)), dtype=dtype)
            table[:, taps - 1 : taps - 1 + length] = self.wavelets.T
            self._tables[name] = table.conj() if conjugated else table
        return self._tables[name]

    def _applied(self, x: Array, *, adjoint: bool) -> Array:
        from sparseinv.kernels.convolution import correlate_wavelets, spread_wavelets

        if x.dtype.kind == "c" and self.dtype.kind != "c":
            parts = np.concatenate((x.real, x.imag))
            real, imaginary = np.split(self._applied(parts, adjoint=adjoint), 2)
            return np.asarray(real + 1j * imaginary)
        single = x.dtype.char in "fF"
        if self.dtype.kind == "c":
            dtype: Any = np.complex64 if single else np.complex128
        else:
            dtype = np.float32 if single else np.float64
        moved = np.moveaxis(x, self.axis, -1)
        lines = np.require(moved, dtype=dtype, requirements=["C", "W"]).reshape(-1, moved.shape[-1])
        out = np.empty_like(lines)
        kernel = correlate_wavelets if adjoint else spread_wavelets
        kernel(lines, self._table(dtype, adjoint), self.offset, out)
        return np.moveaxis(out.reshape(moved.shape), -1, self.axis)

    def _forward(self, x: Array) -> Array:
        return self._applied(x, adjoint=False)

    def _backward(self, y: Array) -> Array:
        return self._applied(y, adjoint=True)

    def columns(self, index: Array) -> Array:
        """Return the wavelets in their places, cut at the ends of the axis."""
        j = column_index(index, self.shape[1])
        length, taps = self.wavelets.shape
        stride = math.prod(self.dims[len(self.dims) + self.axis + 1 :])
        sample = j // stride % length
        lag = np.arange(taps) - self.offset
        position = sample[:, None] + lag
        column, tap = np.nonzero((position >= 0) & (position < length))
        out = np.zeros((self.shape[0], j.size), dtype=self.dtype, order="F")
        out[j[column] + lag[tap] * stride, column] = self.wavelets[sample[column], tap]
        return out

    def norm_bound(self) -> float:
        """Return a bound at most 2 % above the norm; found at the first call."""
        if self._bound is None:
            self._bound = _norm_bound(self.wavelets, self.offset)
        return self._bound

    def column_norms(self) -> Array:
        """Return the norms of the cut wavelets."""
        return self._along_axis(_norms(self.wavelets, axis=1))

    def row_norms(self) -> Array:
        """Return the norms of the rows."""
        return self._along_axis(_norms(_rows(self.wavelets, self.offset), axis=1))

    def _along_axis(self, profile: Array) -> Array:
        shaped = profile.reshape(-1, *(1,) * (-1 - self.axis))
        return np.broadcast_to(shaped, self.dims).reshape(-1)


def _wavelets(wavelets: Any, length: int, knots: Any) -> Array:
    W = validation.numeric(wavelets, "wavelets")
    if W.ndim != 2 or W.size == 0:
        raise ValueError(f"wavelets has shape {W.shape}, but one row for each wavelet is needed")
    validation.finite(W, "wavelets")
    if knots is None and W.shape[0] != length:
        raise ValueError(
            f"wavelets has {W.shape[0]} rows, but the axis has {length} samples; pass one wavelet for each, "
            "or knots to interpolate between"
        )
    return W


def _interpolated(W: Array, knots: Any, length: int) -> Array:
    """Return one wavelet for each sample of the axis."""
    at = validation.numeric(knots, "knots")
    if at.shape != (W.shape[0],) or at.dtype.kind == "c":
        raise ValueError(
            f"knots has shape {at.shape} and dtype {at.dtype}, but {W.shape[0]} real positions are needed, "
            "one for each wavelet"
        )
    validation.finite(at, "knots")
    if (np.diff(at) <= 0).any():
        raise ValueError("knots do not rise; sort them together with the wavelets, each position once")
    if at.size == 1:
        return np.repeat(W, length, axis=0)
    sample = np.clip(np.arange(length), at[0], at[-1])
    left = np.searchsorted(at, sample, side="right").clip(1, at.size - 1) - 1
    share = ((sample - at[left]) / (at[left + 1] - at[left]))[:, None]
    return np.asarray((1.0 - share) * W[left] + share * W[left + 1])


def _rows(wavelets: Array, offset: int) -> Array:
    """Return the table by rows of A: entry k of row i is w_j[k] of the column j = i - k + offset."""
    length, taps = wavelets.shape
    j = np.arange(length)[:, None] - np.arange(taps) + offset
    inside = (j >= 0) & (j < length)
    return np.where(inside, wavelets[np.where(inside, j, 0), np.arange(taps)], 0)


def _norms(table: Array, axis: int) -> Array:
    """Return the norms, those of tiny and huge numbers too."""
    peak = float(np.abs(table).max(initial=0.0)) or 1.0
    return np.asarray(peak * np.linalg.norm(table / peak, axis=axis))


def _norm_bound(wavelets: Array, offset: int) -> float:
    peak = float(np.abs(wavelets).max())
    if peak == 0.0:
        return 0.0
    scaled = wavelets / peak
    rows = np.abs(_rows(scaled, offset)).sum(axis=1).max()
    upper = float(np.sqrt(np.abs(scaled).sum(axis=1).max() * rows))
    if 10.0 * scaled.size * scaled.shape[1] > _MOST_WORK:
        return peak * upper
    gram = _banded_gram(scaled)
    lower = float(np.sqrt(gram[0].real.max()))
    while upper > _CLOSE * lower:
        middle = math.sqrt(lower * upper)
        if _dominates(gram, middle):
            upper = middle
        else:
            lower = middle
    return peak * upper


def _banded_gram(wavelets: Array) -> Array:
    """Return A^H A by diagonals, entry (d, j) = a_(j+d)^H a_j, as `scipy.linalg.cholesky_banded` reads it."""
    length, taps = wavelets.shape
    gram = np.zeros((min(taps, length), length), dtype=wavelets.dtype)
    for d in range(gram.shape[0]):
        below, above = wavelets[d:, : taps - d], wavelets[: length - d, d:]
        gram[d, : length - d] = np.einsum("jk,jk->j", below.conj(), above)
    return gram


def _dominates(gram: Array, t: float) -> bool:
    """Tell whether t^2 I - A^H A is positive definite, which proves ||A|| < t."""
    from scipy.linalg import LinAlgError, cholesky_banded

    shifted = -gram
    shifted[0] += t**2
    try:
        cholesky_banded(shifted, lower=True, check_finite=False)
    except LinAlgError:
        return False
    return True

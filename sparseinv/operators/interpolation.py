"""Values between the samples of a regular axis: nearest, linear and windowed-sinc interpolation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.operators.grid import GridOperator, column_index, grid_axes, grid_dims

Array = np.ndarray[Any, Any]

_KINDS = ("nearest", "linear", "sinc")
_BETA = 0.75  # Kaiser parameter for each sample of half width
_ROUNDS = 60  # products that sharpen the bound of a long axis
_BANDED = 2048  # length of the axis up to which the largest eigenvalue is computed


class Interpolation(GridOperator):
    """Read values at any positions along one axis of a regular grid: y_j = sum_i w(t_j - i) x_i.

    With u = t_j - i in samples, ``w(u)`` is 1 for the nearest sample ("nearest"), ``max(1 - abs(u), 0)``
    ("linear"), or ``sinc(u) K(u / half_width)`` with the Kaiser window K ("sinc").

    Parameters
    ----------
    dims : int or tuple of int
        Shape of x.
    positions : array_like, shape (m,)
        Where to read, in the unit of ``step``; from ``start`` to ``start + (dims[axis] - 1) step``, in any
        order, repetitions allowed.
    axis : int
        Axis along which the positions lie; all others are carried along.
    kind : {"linear", "nearest", "sinc"}
        Weights. Halfway between two samples "nearest" takes the later one.
    start, step : float
        Position of the first sample, and distance of two samples, > 0 [m or s, for example].
    half_width : int
        Samples on either side that "sinc" reads, >= 1; more make it exact closer to the Nyquist
        wavenumber. The others ignore it.

    Raises
    ------
    ValueError, TypeError
        A position lies outside the grid, or an argument is out of range.

    Notes
    -----
    A product is one with a sparse matrix of 1, 2 or 2 half_width non-zeros a row, and its adjoint one with
    the transpose; columns and column norms are read from it. "sinc" takes x as zero beyond its ends, and
    with 8 samples a side its error is 4e-4 up to 0.7 of the Nyquist wavenumber (16: 2e-6), inside the
    axis; a position on a sample is read without error by every kind. The bound of the norm is the norm
    itself for "nearest" and for axes of up to 2048 samples (an eigenvalue of a banded matrix), and beyond
    them for "linear" to a percent or so (Collatz's quotient for the non-negative W^T W); for long "sinc"
    axes it is the norm of abs(W), usually a few percent more. It is computed when asked for.

    References
    ----------
    .. [1] J. F. Kaiser, R. W. Schafer, On the use of the I0-sinh window
       for spectrum analysis, IEEE Trans. Acoust. Speech Signal Process. 28 (1980) 105-107,
       doi:10.1109/TASSP.1980.1163349.

    Examples
    --------
    >>> import numpy as np
    >>> A = Interpolation(4, [0.5, 20.0, 25.0], step=10.0)
    >>> A @ np.array([0.0, 1.0, 4.0, 9.0])
    array([0.05, 4.  , 6.5 ])
    """

    closed_columns = True

    def __init__(
        self,
        dims: int | Sequence[int],
        positions: Any,
        axis: int = -1,
        *,
        kind: str = "linear",
        start: float = 0.0,
        step: float = 1.0,
        half_width: int = 8,
    ) -> None:
        grid = grid_dims(dims)
        (self.axis,) = grid_axes(axis, grid, "axis")
        if kind not in _KINDS:
            raise ValueError(f"kind is {kind!r}, but one of {', '.join(map(repr, _KINDS))} is needed")
        cut = self.axis + len(grid)
        length = grid[cut]
        #: positions in samples, shape (m,)
        self.nodes = _nodes(
            positions, length, validation.real_number(start, "start"), validation.positive(step, "step")
        )
        self.kind = kind
        self._weights = _weights(
            self.nodes, length, kind, validation.count(half_width, "half_width", least=1)
        )
        self._single: Any = None
        self._norm: float | None = None
        super().__init__(grid, (*grid[:cut], self.nodes.size, *grid[cut + 1 :]))

    def _along(self, x: Array, matrix: Any) -> Array:
        """Apply a sparse matrix along the axis of a stack of arrays."""
        moved = np.moveaxis(x, self.axis, 0)
        columns = math.prod(moved.shape[1:])
        out = np.asarray(matrix @ np.ascontiguousarray(moved).reshape(moved.shape[0], columns))
        return np.moveaxis(out.reshape(out.shape[0], *moved.shape[1:]), 0, self.axis)

    def _matrix(self, dtype: np.dtype[Any]) -> Any:
        if dtype not in (np.float32, np.complex64):
            return self._weights
        if self._single is None:
            self._single = self._weights.astype(np.float32)
        return self._single

    def _forward(self, x: Array) -> Array:
        return np.ascontiguousarray(self._along(x, self._matrix(x.dtype)))

    def _backward(self, y: Array) -> Array:
        return np.ascontiguousarray(self._along(y, self._matrix(y.dtype).T))

    def columns(self, index: Array) -> Array:
        """Return the weights with which each sample enters."""
        j = column_index(index, self.shape[1])
        inner = math.prod(self.dims[len(self.dims) + self.axis + 1 :])
        outside, within = np.divmod(j, self._weights.shape[1] * inner)
        sample, inside = np.divmod(within, inner)
        m = self.nodes.size
        profiles = np.asarray(self._weights[:, sample].todense())
        rows = (outside * m + np.arange(m)[:, None]) * inner + inside
        out = np.zeros((self.shape[0], j.size), order="F")
        out[rows, np.arange(j.size)] = profiles
        return out

    def norm_bound(self) -> float:
        """Return an upper bound of the norm of W; see the notes."""
        if self._norm is None:
            self._norm = self._bound()
        return self._norm

    def _bound(self) -> float:
        if self.kind == "nearest":
            return math.sqrt(float(self._weights.sum(axis=0).max()))
        gram = (self._weights.T @ self._weights).tocsr()
        if gram.shape[0] <= _BANDED:
            return _banded_norm(gram)
        # for any v > 0 the largest quotient bounds the spectral radius of a non-negative matrix
        gram = abs(gram)
        v = np.ones(gram.shape[0])
        best = math.inf
        for _ in range(_ROUNDS):
            image = gram @ v
            best = min(best, float((image / v).max()))
            # samples that no position reads would decay to zero
            v = np.maximum(image / image.max(), 1e-8)
        return math.sqrt(best * (1.0 + 1e-9))

    def column_norms(self) -> Array:
        """Return the norms of the columns of W, spread over the other axes."""
        return self._spread(np.sqrt(np.asarray((self._weights**2).sum(axis=0)).ravel()), self.dims)

    def row_norms(self) -> Array:
        """Return the norms of the rows of W, spread over the other axes."""
        return self._spread(np.sqrt(np.asarray((self._weights**2).sum(axis=1)).ravel()), self.dimsd)

    def _spread(self, profile: Array, dims: tuple[int, ...]) -> Array:
        shaped = profile.reshape(-1, *(1,) * (-1 - self.axis))
        return np.broadcast_to(shaped, dims).reshape(-1)


def _banded_norm(gram: Any) -> float:
    """Return the root of the largest eigenvalue of a banded positive semidefinite matrix."""
    from scipy.linalg import eigvals_banded

    rows, columns = gram.nonzero()
    width = int(np.abs(rows - columns).max(initial=0))
    bands = np.zeros((width + 1, gram.shape[0]))
    for lag in range(width + 1):
        bands[lag, : gram.shape[0] - lag] = gram.diagonal(lag)
    top = gram.shape[0] - 1
    largest = float(eigvals_banded(bands, lower=True, select="i", select_range=(top, top))[0])
    return math.sqrt(max(largest, 0.0) * (1.0 + 1e-9))


def _nodes(positions: Any, length: int, start: float, step: float) -> Array:
    places = validation.numeric(positions, "positions")
    if places.dtype.kind == "c":
        raise TypeError("positions is complex, but real numbers are needed")
    if places.ndim != 1 or places.size == 0:
        raise ValueError(
            f"positions has shape {places.shape}, but a vector with at least one entry is needed"
        )
    validation.finite(places, "positions")
    nodes = (places - start) / step
    # rounding of start + i step, in the precision given, must not put the last sample outside
    given = np.asarray(positions).dtype
    unit = float(np.finfo(given).eps) if given.kind == "f" else 0.0
    slack = max(1e-9 * length, 4.0 * unit * float(np.abs(places).max()) / step)
    if nodes.min() < -slack or nodes.max() > length - 1 + slack:
        raise ValueError(
            f"positions reach from {places.min():g} to {places.max():g}, but the grid from {start:g} to "
            f"{start + (length - 1) * step:g}; nothing is known outside it"
        )
    return np.asarray(np.clip(nodes, 0.0, length - 1.0))


def _weights(nodes: Array, length: int, kind: str, half_width: int) -> Any:
    """Return W as a sparse matrix, shape (m, length)."""
    from scipy.sparse import csr_array

    if kind == "nearest":
        lags, below = np.array([0]), np.floor(nodes + 0.5)
    else:
        reach = 1 if kind == "linear" else half_width
        lags, below = np.arange(1 - reach, reach + 1), np.floor(nodes)
    sample = below.astype(np.intp)[:, None] + lags
    u = nodes[:, None] - sample
    if kind == "nearest":
        values = np.ones(u.shape)
    elif kind == "linear":
        values = np.maximum(1.0 - np.abs(u), 0.0)
    else:
        inside = np.sqrt(np.maximum(1.0 - (u / half_width) ** 2, 0.0))
        values = np.sinc(u) * np.i0(_BETA * half_width * inside) / np.i0(_BETA * half_width)
        # sinc at whole numbers is rounding, not zero
        values[u == np.round(u)] = 0.0
        values[u == 0.0] = 1.0
    row = np.broadcast_to(np.arange(nodes.size)[:, None], sample.shape)
    kept = (sample >= 0) & (sample < length) & (values != 0.0)
    return csr_array((values[kept], (row[kept], sample[kept])), shape=(nodes.size, length))

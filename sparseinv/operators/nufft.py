"""Fourier synthesis at irregular positions: uniform wavenumbers, samples wherever they were measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.operators.grid import GridOperator, column_index, grid_dims, whole_numbers
from sparseinv.operators.wave_gram import WaveGram

Array = np.ndarray[Any, Any]

_DENSE = 1 << 17  # entries of A up to which sums beat plans, and are exact to rounding
_MOST = 20_000_000  # entries of A up to which sums are bearable where finufft is missing
_CHUNK = 8  # vectors that one plan transforms together
_SMALL = 512  # order of the Gram matrix up to which its largest eigenvalue is computed
_SINGLE_EPS = 1e-6  # accuracy that single precision can hold
_SINGLE_SIZE = 1024  # wavenumbers of an axis up to which positions in single precision are good enough


class NUFFT(GridOperator):
    """Synthesise irregular samples from uniform Fourier coefficients (non-uniform transform of type 2).

    ``y_j = N^(-1/2) sum_k x_k exp(2 pi i k . t_j / period)`` over a grid of N = prod(sizes) integer
    wavenumbers k; t_j is any real position. The adjoint is the transform of type 1,
    ``(A^H y)_k = N^(-1/2) sum_j y_j exp(-2 pi i k . t_j / period)``.

    Parameters
    ----------
    positions : array_like, shape (m,) or (m, d)
        Where the samples lie, d = 1, 2 or 3 coordinates each, in the unit of ``period``; finite. The
        model is periodic, so positions count modulo the period.
    sizes : int or tuple of int
        Number of wavenumbers along each of the d axes. Along an axis they are k = 0, 1, ...,
        -2, -1 in the order of numpy.fft.fftfreq, that is -(N // 2) to (N - 1) // 2, and
        ``wavenumbers`` holds k / period.
    period : float or tuple of float
        Length after which the model repeats, along each axis; longer than the data extend, or their
        ends are tied together.
    leading : int or tuple of int
        Leading axes of x and of A x that are transformed one by one, temporal frequencies for example:
        x has shape (*leading, *sizes), A x (*leading, m).
    eps : float
        Relative accuracy of finufft, 1e-15 to 1e-2; in single precision at least 1e-6. Plain sums do
        not use it.
    threads : int
        Threads of finufft.

    Attributes
    ----------
    wavenumbers : tuple of ndarray
        Cycles per unit of position, one vector for each axis.
    positions : ndarray, shape (m, d)
        As given.

    Raises
    ------
    ImportError
        A has more than 2e7 entries and finufft (the extra ``nufft``) is not installed.
    ValueError, TypeError
        positions, sizes or period do not fit one another or are out of range.

    Notes
    -----
    Rows have norm 1, columns norm sqrt(m / N). At positions i period / N, i = 0 ... N - 1, this is
    ``FFT(N).H``, and unitary. A product costs O(N log N + m log(1/eps)^d) with finufft, whose plans are
    made once for each precision, and O(m N) where A has at most 131072 entries, for which sums are faster, or
    finufft is missing; storage O(m + N), or m (prod(sizes[:-1]) + sizes[-1]) numbers for the sums.
    Adjoint to rounding whatever eps is, because both types use the same weights. The norm is exact at
    positions of the grid (the square root of the largest number of samples in one place) and where m or
    N is at most 512 (an eigenvalue, computed when asked for); it is not known otherwise. Columns are in
    closed form. Plans are not shared between threads: one object belongs to one thread at a time.

    References
    ----------
    .. [1] A. Dutt, V. Rokhlin, Fast Fourier transforms for nonequispaced data, SIAM J. Sci. Comput. 14
       (1993) 1368-1393, doi:10.1137/0914081.
    .. [2] A. H. Barnett, J. Magland, L. af Klinteberg, A parallel nonuniform fast Fourier transform
       library based on an "exponential of semicircle" kernel, SIAM J. Sci. Comput. 41 (2019) C479-C504,
       doi:10.1137/18M120885X.

    Examples
    --------
    >>> import numpy as np
    >>> A = NUFFT([0.0, 12.5, 30.0], 4, period=50.0)      # positions in m, wavenumbers in 1/m
    >>> A.wavenumbers[0]
    array([ 0.  ,  0.02, -0.04, -0.02])
    >>> np.round(A @ np.array([0.0, 1, 0, 0]), 3)
    array([ 0.5  +0.j   ,  0.   +0.5j  , -0.405-0.294j])
    """

    closed_columns = True

    def __init__(
        self,
        positions: Any,
        sizes: int | Sequence[int],
        *,
        period: float | Sequence[float] = 1.0,
        leading: int | Sequence[int] = (),
        eps: float = 1e-14,
        threads: int = 1,
    ) -> None:
        grid = grid_dims(sizes)
        places = _positions(positions, len(grid))
        periods = _periods(period, len(grid))
        before = whole_numbers(leading, "leading", least=1)
        #: accuracy asked for, and threads, of finufft
        self.eps, self.threads = _accuracy(eps), validation.count(threads, "threads", least=1)
        self.positions, self.sizes, self.period = places, grid, periods
        super().__init__((*before, *grid), (*before, places.shape[0]), np.complex128)
        self._number, self._kept = math.prod(grid), places.shape[0]
        #: positions in periods, in [-1/2, 1/2)
        turns = places / periods
        self._turns = turns - np.round(turns)
        counts = [np.rint(np.fft.fftfreq(size, 1.0 / size)) for size in grid]
        self.wavenumbers = tuple(k / length for k, length in zip(counts, periods, strict=True))
        self._counts = counts
        self._plans: dict[Any, Any] = {}
        self._norm: float | None = None
        entries = self._number * self._kept
        #: whether products are plain sums, exact to rounding
        self.direct = entries <= _DENSE or not _has_finufft(entries)
        self._factors = _factors(self._turns, counts) if self.direct else None

    def __getstate__(self) -> dict[str, Any]:
        """Leave plans, which live outside Python, behind."""
        return {**self.__dict__, "_plans": {}}

    def _forward(self, x: Array) -> Array:
        stack = _complex(x).reshape(-1, *self.sizes)
        out = self._sum(stack) if self.direct else self._transform(stack, 2)
        return out.reshape(-1, *self.dimsd)

    def _backward(self, y: Array) -> Array:
        stack = _complex(y).reshape(-1, self._kept)
        out = self._sum_adjoint(stack) if self.direct else self._transform(stack, 1)
        return out.reshape(-1, *self.dims)

    def _sum(self, x: Array) -> Array:
        first, last = self._in(x.dtype)
        count = x.shape[0]
        inner = (x.reshape(-1, last.shape[1]) @ last.T).reshape(count, first.shape[1], self._kept)
        return np.asarray(np.einsum("cpm,mp->cm", inner, first))

    def _sum_adjoint(self, y: Array) -> Array:
        first, last = self._in(y.dtype)
        spread = y[:, None, :] * first.conj().T
        return np.asarray(spread.reshape(-1, self._kept) @ last.conj())

    def _in(self, dtype: np.dtype[Any]) -> tuple[Array, Array]:
        """Return the two factors of A in a precision."""
        assert self._factors is not None
        if dtype == np.complex128:
            return self._factors
        if dtype not in self._plans:
            self._plans[dtype] = tuple(factor.astype(dtype) for factor in self._factors)
        first, last = self._plans[dtype]
        return first, last

    def _transform(self, stack: Array, kind: int) -> Array:
        count, precision = stack.shape[0], stack.dtype
        if max(self.sizes) > _SINGLE_SIZE:
            stack = stack.astype(np.complex128, copy=False)
        shape = self.sizes if kind == 1 else (self._kept,)
        out = np.empty((count, *shape), dtype=precision)
        whole = count - count % _CHUNK
        for start in range(0, whole, _CHUNK):
            out[start : start + _CHUNK] = self._plan(kind, stack.dtype, _CHUNK).execute(
                np.ascontiguousarray(stack[start : start + _CHUNK])
            )
        for place in range(whole, count):
            out[place] = self._plan(kind, stack.dtype, 1).execute(np.ascontiguousarray(stack[place]))
        out *= 1.0 / math.sqrt(self._number)
        return out

    def _plan(self, kind: int, dtype: np.dtype[Any], many: int) -> Any:
        from finufft import Plan

        key = kind, dtype, many
        if key not in self._plans:
            eps = max(self.eps, _SINGLE_EPS) if dtype == np.complex64 else self.eps
            plan = Plan(
                kind, self.sizes, n_trans=many, eps=eps, isign=1 if kind == 2 else -1, dtype=dtype.name,
                nthreads=self.threads, modeord=1,
            )  # fmt: skip
            real = np.float32 if dtype == np.complex64 else np.float64
            plan.setpts(*(np.ascontiguousarray(2.0 * math.pi * t, dtype=real) for t in self._turns.T))
            self._plans[key] = plan
        return self._plans[key]

    def columns(self, index: Array) -> Array:
        """Return plane waves at the positions, of norm sqrt(m / N)."""
        j = column_index(index, self.shape[1])
        block, within = np.divmod(j, self._number)
        wave = np.unravel_index(within, self.sizes)
        phase = np.zeros((self._kept, j.size))
        for turns, counts, at in zip(self._turns.T, self._counts, wave, strict=True):
            phase += turns[:, None] * counts[at]
        values = np.exp(2j * math.pi * phase) / math.sqrt(self._number)
        out = np.zeros((self.shape[0], j.size), dtype=np.complex128, order="F")
        rows = block * self._kept + np.arange(self._kept)[:, None]
        out[rows, np.arange(j.size)] = values
        return out

    def norm_bound(self) -> float | None:
        """Return the norm where positions are on the grid or m or N is at most 512; None otherwise."""
        if self._norm is None:
            self._norm = self._exact_norm()
        return self._norm

    def _exact_norm(self) -> float | None:
        nodes = self._turns * np.array(self.sizes)
        whole = np.round(nodes)
        if np.abs(nodes - whole).max() <= 1e-12 * max(self.sizes):
            _, repeats = np.unique(whole % np.array(self.sizes), axis=0, return_counts=True)
            return math.sqrt(float(repeats.max())) * (1.0 + 1e-9)
        if min(self._kept, self._number) > _SMALL:
            return None
        from scipy.linalg import eigh

        gram = self._rows_gram() if self._kept <= self._number else self._columns_gram()
        order = gram.shape[0]
        largest = float(eigh(gram, eigvals_only=True, subset_by_index=(order - 1, order - 1))[0])
        # rounding of an eigenvalue must not make a bound of the norm fall below it
        return math.sqrt(largest * (1.0 + 1e-9))

    def _rows_gram(self) -> Array:
        """Return A A^H: products of Dirichlet kernels at the differences of the positions."""
        gram = np.ones((self._kept, self._kept), dtype=np.complex128)
        for turns, counts in zip(self._turns.T, self._counts, strict=True):
            waves = np.exp(2j * math.pi * np.outer(turns, counts))
            gram *= waves @ waves.conj().T / counts.size
        return gram

    def _columns_gram(self) -> Array:
        """Return A^H A of one block."""
        one = self if self.dims == self.sizes else NUFFT(self._turns, self.sizes, eps=self.eps)
        every = np.arange(self._number)
        return one.gram_entries()(every, every)

    def gram_entries(self, weights: Array | None = None) -> WaveGram:
        """Return entries of A^H diag(weights) A, sums of waves over the weighted positions."""
        before = self.dims[: len(self.dims) - len(self.sizes)]
        periods = [2 * size for size in self.sizes]
        w = np.ones(self.shape[0]) if weights is None else np.asarray(weights)

        def sums() -> Array:
            twice = NUFFT(self._turns, periods, leading=before, eps=self.eps, threads=self.threads)
            # conj: the adjoint sums waves of the other sign over real weights
            return np.conj(twice.rmatvec(w)) * (math.sqrt(math.prod(periods)) / self._number)

        return WaveGram(sums, (*before, *periods), self.dims, tuple(range(-len(self.sizes), 0)))

    def column_norms(self) -> Array:
        """Return sqrt(m / N) for each column."""
        return np.full(self.shape[1], math.sqrt(self._kept / self._number))

    def row_norms(self) -> Array:
        """Return ones."""
        return np.ones(self.shape[0])


def _complex(values: Array) -> Array:
    return values.astype(np.result_type(values.dtype, np.complex64), copy=False)


def _factors(turns: Array, counts: list[Array]) -> tuple[Array, Array]:
    """Return A as a row-wise product of waves along all axes but the last, and along the last one."""
    waves = [
        np.exp(2j * math.pi * np.outer(t, c)) / math.sqrt(c.size)
        for t, c in zip(turns.T, counts, strict=True)
    ]
    first = np.ones((turns.shape[0], 1), dtype=np.complex128)
    for wave in waves[:-1]:
        first = (first[:, :, None] * wave[:, None, :]).reshape(turns.shape[0], -1)
    return first, waves[-1]


def _has_finufft(entries: int) -> bool:
    """Tell whether finufft can be imported; refuse to go without where sums would take too long."""
    try:
        import_module("finufft")
    except ImportError:
        if entries > _MOST:
            raise ImportError(
                f"NUFFT with {entries:.2g} entries needs finufft (sums are taken up to {_MOST:.0e}): "
                'python -m pip install "sparseinv[nufft]"'
            ) from None
        return False
    return True


def _positions(positions: Any, d: int) -> Array:
    array = validation.numeric(positions, "positions")
    if array.dtype.kind == "c":
        raise TypeError("positions is complex, but real coordinates are needed")
    validation.finite(array, "positions")
    array = array[:, None] if array.ndim == 1 else array
    if d > 3:
        raise ValueError(f"sizes has {d} axes, but transforms of one, two and three dimensions exist")
    if array.ndim != 2 or array.shape[1] != d or array.shape[0] == 0:
        raise ValueError(
            f"positions has shape {np.shape(positions)}, but sizes has {d} axes: "
            f"(m, {d}){' or (m,)' if d == 1 else ''} is needed, m >= 1"
        )
    return array.copy()


def _periods(period: float | Sequence[float], d: int) -> Array:
    if np.ndim(period) == 0:
        return np.full(d, validation.positive(period, "period"))
    lengths = [validation.positive(length, "an entry of period") for length in np.asarray(period).tolist()]
    if len(lengths) != d:
        raise ValueError(f"period has {len(lengths)} entries, but sizes has {d} axes")
    return np.array(lengths)


def _accuracy(eps: float) -> float:
    value = validation.positive(eps, "eps")
    if not 1e-15 <= value <= 1e-2:
        raise ValueError(f"eps is {value:g}, but an accuracy from 1e-15 to 1e-2 is needed")
    return value

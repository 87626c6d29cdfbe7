"""Blending: shots that are fired before the last one has died away, added up in one record."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.operators.grid import GridOperator, column_index, grid_dims

Array = np.ndarray[Any, Any]

_SHIFTS = ("fourier", "linear")
_PAD = 8  # samples beyond a trace into which its shifted end may ring before it would wrap around
_ON_GRID = 1e-9  # fraction of a sample that is taken for rounding of the ignition times


class Blending(GridOperator):
    """Shift every shot to the time at which it was fired, and add up what one record holds.

    ``d[g, ..., t] = sum_{s in g} x[s, ..., t - times[s]]``; the adjoint cuts the record into shots
    again ("pseudo-deblending"), which leaves the other shots on each as noise. Where sources fire at
    irregular times this noise is incoherent from shot to shot, and sparsity tells the two apart.

    Parameters
    ----------
    dims : tuple of int
        Shape of x, ``(*shape of times, ..., samples)``: shots first, time last, and for example
        receivers between.
    times : array_like
        Ignition times [s], counted from the first sample of the record, of shape (shots,), or of
        several axes such as (sources, shots).
    dt : float
        Sampling interval [s].
    records : array_like of int, optional
        For each shot the record that holds it, 0 to the number of records - 1, in the shape of times. One
        record for all by default (continuous recording). ``[0, 0, 1, 1, ...]`` blends in groups,
        ``[[0, 1, ...], [0, 1, ...]]`` several sources that are fired together.
    n_record : int, optional
        Samples of a record; what would lie before its first or behind its last sample is not recorded.
        By default long enough for all.
    shift : {"fourier", "linear"}
        How fractions of a sample are shifted: by phase, exact for band-limited traces, or by linear
        interpolation, which is local and damps high frequencies.

    Raises
    ------
    ValueError, TypeError
        Numbers out of range, shapes that do not fit, or a shot that no record holds any sample of.

    Notes
    -----
    Of a shot of n samples whose time is no multiple of dt, n + 1 samples are kept; its phase shift is made
    on n + 8 samples or a little more, so that nothing wraps around. No shot is amplified, so that
    ``||B||^2 <= max_t sum_s w_s(t)`` with w_s = 1 while s is recorded [1]_ (for "linear" 1 - f and f at its
    first and last sample, f the fraction): the bound of `norm_bound`. It is the norm itself for times on the
    grid, since B B^H is then diagonal and holds that sum, and close to it where shots overlap by more than a
    few samples. Columns and their norms are in closed form. Cost: two FFTs a trace, none for times on
    the grid.

    References
    ----------
    .. [1] A. J. Berkhout, Changing the mindset in seismic data acquisition, Lead. Edge 27 (2008) 924-938,
       doi:10.1190/1.2954035.

    Examples
    --------
    Two shots of four samples, the second fired after the third sample of the first:

    >>> import numpy as np
    >>> B = Blending((2, 4), [0.0, 0.012], dt=0.004)
    >>> d = B @ np.array([1.0, 1, 1, 1, 5, 5, 5, 5])
    >>> d
    array([1., 1., 1., 6., 5., 5., 5.])
    >>> (B.H @ d).reshape(B.dims)
    array([[1., 1., 1., 6.],
           [6., 5., 5., 5.]])
    >>> round(B.norm_bound() ** 2, 12)
    2.0
    """

    closed_columns = True

    def __init__(
        self,
        dims: Sequence[int],
        times: Any,
        dt: float,
        *,
        records: Any = None,
        n_record: int | None = None,
        shift: str = "fourier",
    ) -> None:
        grid = grid_dims(dims)
        dt = validation.positive(dt, "dt")
        fired = _fired(times, grid)
        if shift not in _SHIFTS:
            raise ValueError(f"shift is {shift!r}, but 'fourier' or 'linear' is needed")
        shots, samples = fired.size, grid[-1]
        #: axis of x along which shots follow one another: the last one of times
        self.shot_axis = fired.ndim - 1
        #: record of each shot, shape (shots,)
        self.records = _records(records, fired)
        whole, self._fraction = _on_grid(fired.ravel() / dt)
        fractional = self._fraction > 0.0
        # one sample more where a fraction pushes the last one over the edge
        length = samples + int(fractional.any())
        last = int((whole + samples + fractional).max())
        #: samples of a record
        self.n_record = last if n_record is None else validation.count(n_record, "n_record", least=1)
        #: first sample of each shot in its record, the fraction left out; shape (shots,)
        self.first = whole
        # the part of each shot that is recorded
        self._low = np.clip(-whole, 0, None)
        self._high = np.minimum(length, self.n_record - whole)
        lost = np.flatnonzero(self._high <= self._low)
        if lost.size:
            raise ValueError(
                f"times: shot {lost[0]} starts at sample {whole[lost[0]]} and lies outside of the record of "
                f"{self.n_record} samples; drop it, or record longer"
            )
        self._shots, self._length, self._linear = shots, length, shift == "linear"
        self._between = grid[fired.ndim : -1]
        count = int(self.records.max()) + 1
        out = (self.n_record,) if records is None else (count, self.n_record)
        super().__init__(grid, (*out[:-1], *self._between, out[-1]))
        self._count = count
        self._phase: Array | None = None
        if fractional.any() and not self._linear:
            from scipy.fft import next_fast_len

            self._padded = int(next_fast_len(samples + _PAD, real=True))
            frequency = np.arange(self._padded // 2 + 1) / self._padded
            self._phase = np.exp(-2j * np.pi * frequency * self._fraction[:, None])

    def _forward(self, x: Array) -> Array:
        shots = self._shifted(self._split(x))
        batch = shots.shape[0]
        out = np.zeros((batch, self._count, *self._between, self.n_record), dtype=shots.dtype)
        for s, (record, first, low, high) in enumerate(self._places()):
            out[:, record, ..., first + low : first + high] += shots[:, s, ..., low:high]
        return out.reshape(batch, *self.dimsd)

    def _backward(self, y: Array) -> Array:
        y = y.reshape(-1, self._count, *self._between, self.n_record)
        shape = (y.shape[0], self._shots, *self._between, self._length)
        floating = np.result_type(y, np.float32) if y.dtype.kind in "fc" else np.float64
        shots = np.zeros(shape, dtype=floating)
        for s, (record, first, low, high) in enumerate(self._places()):
            shots[:, s, ..., low:high] = y[:, record, ..., first + low : first + high]
        return self._shifted_back(shots).reshape(-1, *self.dims)

    def _split(self, x: Array) -> Array:
        return x.reshape(x.shape[0], self._shots, *self._between, self.dims[-1])

    def _places(self) -> Any:
        return zip(
            self.records.tolist(), self.first.tolist(), self._low.tolist(), self._high.tolist(), strict=True
        )

    def _shifted(self, x: Array) -> Array:
        """Return shots of shape (k, shots, ..., samples), moved by fractions of a sample."""
        samples = self.dims[-1]
        if self._length == samples:
            return x if x.dtype.kind in "fc" else x.astype(np.float64)
        if self._phase is None:
            f = self._factors(x)
            out = np.zeros((*x.shape[:-1], self._length), dtype=np.result_type(x, f))
            out[..., :samples] = (1 - f) * x
            out[..., 1:] += f * x
            return out
        return self._turned(x, self._padded)[..., : self._length]

    def _shifted_back(self, y: Array) -> Array:
        samples = self.dims[-1]
        if self._length == samples:
            return y
        if self._phase is None:
            f = self._factors(y)
            return np.asarray((1 - f) * y[..., :samples] + f * y[..., 1:])
        return self._turned(y, self._padded, back=True)[..., :samples]

    def _turned(self, x: Array, size: int, back: bool = False) -> Array:
        """Return x times the phases, padded to size; real and imaginary parts by themselves."""
        from scipy.fft import irfft, rfft

        if x.dtype.kind == "c":
            return np.asarray(self._turned(x.real, size, back) + 1j * self._turned(x.imag, size, back))
        spectrum = rfft(x, size, axis=-1)
        assert self._phase is not None
        phase = self._phase.conj() if back else self._phase
        spectrum *= phase.astype(spectrum.dtype).reshape(-1, *(1,) * len(self._between), phase.shape[1])
        return np.asarray(irfft(spectrum, size, axis=-1, overwrite_x=True))

    def _factors(self, x: Array) -> Array:
        wanted = np.float32 if x.dtype in (np.float32, np.complex64) else np.float64
        return self._fraction.astype(wanted).reshape(-1, *(1,) * (len(self._between) + 1))

    def _responses(self) -> Array:
        """Return what a spike at sample 0 becomes, on a circle; shape (shots, circle)."""
        if self._phase is not None:
            from scipy.fft import irfft

            return np.asarray(irfft(self._phase, self._padded, axis=-1))
        circle = np.zeros((self._shots, self._length + 1))
        circle[:, 0], circle[:, 1] = 1.0 - self._fraction, self._fraction
        return circle

    def columns(self, index: Array) -> Array:
        """Return columns: a shifted spike each, in the record of its shot."""
        j = column_index(index, self.shape[1])
        samples, between = self.dims[-1], math.prod(self._between)
        trace, sample = np.divmod(j, samples)
        shot, place = np.divmod(trace, between)
        responses = self._responses()
        out = np.zeros((self._count, between, self.n_record, j.size), order="F")
        for k, (s, p, i) in enumerate(zip(shot.tolist(), place.tolist(), sample.tolist(), strict=True)):
            low, high = int(self._low[s]), int(self._high[s])
            first = int(self.first[s])
            spike = responses[s, (np.arange(low, high) - i) % responses.shape[1]]
            out[self.records[s], p, first + low : first + high, k] = spike
        return np.asfortranarray(out.reshape(self.shape[0], j.size))

    def column_norms(self) -> Array:
        """Return the energy that each sample leaves in the record, as a norm."""
        samples = self.dims[-1]
        responses = self._responses()
        circle = responses.shape[1]
        # the energy of a response from any sample on, twice around the circle
        sums = np.zeros((self._shots, 2 * circle + 1))
        np.cumsum(np.tile(responses**2, 2), axis=1, out=sums[:, 1:])
        j = np.arange(samples)
        rows = np.arange(self._shots)[:, None]
        begin = (self._low[:, None] - j) % circle
        squares = sums[rows, begin + (self._high - self._low)[:, None]] - sums[rows, begin]
        norms = np.sqrt(np.maximum(squares, 0.0))
        between = (self._shots, math.prod(self._between), samples)
        return np.broadcast_to(norms[:, None], between).reshape(-1)

    def norm_bound(self) -> float:
        """Return the root of the largest number of shots that one sample of a record holds."""
        held = np.zeros((self._count, self.n_record))
        fraction = self._fraction if self._linear else np.zeros(self._shots)
        for s, (record, first, low, high) in enumerate(self._places()):
            weight = np.ones(self._length)
            if self._fraction[s] == 0.0:
                weight[self.dims[-1] :] = 0.0
            elif self._linear:
                weight[0], weight[-1] = 1.0 - fraction[s], fraction[s]
            held[record, first + low : first + high] += weight[low:high]
        return math.sqrt(float(held.max()))


def _fired(times: Any, grid: tuple[int, ...]) -> Array:
    """Return the ignition times; refuse those that do not fit dims."""
    fired = np.atleast_1d(validation.numeric(times, "times"))
    if fired.dtype.kind == "c":
        raise TypeError("times is complex, but real numbers are needed")
    validation.finite(fired, "times")
    if len(grid) <= fired.ndim or grid[: fired.ndim] != fired.shape:
        raise ValueError(
            f"times has shape {fired.shape}, but dims {grid} must begin with that shape and end with samples"
        )
    return fired.astype(np.float64)


def _records(records: Any, fired: Array) -> Array:
    if records is None:
        return np.zeros(fired.size, dtype=np.intp)
    labels = np.asarray(records)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"records has dtype {labels.dtype}, but whole numbers are needed")
    if labels.shape != fired.shape:
        raise ValueError(f"records has shape {labels.shape}, but one for each of the times is needed")
    found = np.unique(labels)
    if not np.array_equal(found, np.arange(found.size)):
        raise ValueError(f"records names {found.tolist()}, but every number from 0 on must appear")
    return labels.ravel().astype(np.intp)


def _on_grid(places: Array) -> tuple[Array, Array]:
    """Return (sample, fraction) of times in samples."""
    # no memory holds such a record, but clocks that count from 1970 ask for it
    if np.abs(places).max() > 2.0**34:
        raise ValueError("times reaches beyond 2^34 samples; count it from the first sample of the record")
    nearest = np.round(places)
    rounding = np.maximum(_ON_GRID, 8.0 * np.finfo(np.float64).eps * np.abs(places))
    aligned = np.abs(places - nearest) <= rounding
    whole = np.where(aligned, nearest, np.floor(places))
    return whole.astype(np.intp), np.where(aligned, 0.0, places - whole)

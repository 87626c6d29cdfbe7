"""Radon transforms by frequencies: exact delays and a band limit, one matrix a frequency."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.operators.grid import GridOperator, column_index
from sparseinv.operators.radon import checked_geometry, moveout_times

Array = np.ndarray[Any, Any]


class FrequencyRadon(GridOperator):
    """Build band-limited data d(h, t) from a panel m(q, tau) of events along lines or parabolas.

    ``D(h, w) = sum_q exp(-i w T(h, q)) M(q, w)`` for the frequencies w of the band, zero outside, with
    the delay ``T = q h`` of a line or ``T = q (h / h_ref)^2`` of a parabola. The unknown is the panel in
    time, real for real data, so that it can be sparse in tau as well as in q; an entry of it is a pulse
    with a flat zero-phase spectrum over the band, delayed exactly.

    Parameters
    ----------
    dims : (int, int)
        Shape of the data, (offsets, samples).
    offsets : array_like, shape (dims[0],)
        Offset h [m] of each trace.
    dt : float
        Sampling interval [s].
    parameters : array_like, shape (k,)
        Slopes [s/m] or moveouts [s] at the reference offset.
    curve : {"linear", "parabolic"}
        The family of curves. Hyperbolas change with tau: for these see `Radon`.
    band : (float, float), optional
        Lowest and highest frequency [Hz], both included; 0 to 1 / (2 dt) by default.
    reference : float, optional
        h_ref [m], for parabolas only; by default the largest abs(h).

    Raises
    ------
    ValueError, TypeError
        As for `Radon`; or the band holds no frequency.

    Notes
    -----
    Traces are padded with zeros by the largest delay, at most their own length, and delays beyond that leave
    nothing, so that no event comes back at the other end; the faint tails of the pulses, endless for any
    sharp band, do. Cost of a product: one real FFT of each trace
    of data and panel and a product with an offsets x k matrix for each frequency, which a batch of panels
    shares. Storage: offsets k frequencies complex numbers.

    The map is a cut of a block-circulant one, so ``||A|| <= max_w ||exp(-i w T)||_2``, close to the norm
    for traces that are long against the delays; it is found exactly, at the price of a few small
    eigenvalue problems. A column costs one FFT of each trace.

    References
    ----------
    Hampson 1986, Inverse velocity stacking for multiple elimination, Canadian Journal of Exploration
    Geophysics 22, 44-55. Sacchi and Ulrych 1995, High-resolution velocity gathers and offset space
    reconstruction, Geophysics 60, 1169-1177, doi:10.1190/1.1443845. Trad, Ulrych and Sacchi 2003, Latest
    views of the sparse Radon transform, Geophysics 68, 386-399, doi:10.1190/1.1543224.

    Examples
    --------
    >>> import numpy as np
    >>> h = np.arange(0.0, 500.0, 50.0)
    >>> A = FrequencyRadon((10, 50), h, 0.004, np.linspace(-0.05, 0.1, 7), "parabolic", band=(2.0, 60.0))
    >>> A.dims, A.dimsd
    ((7, 50), (10, 50))
    >>> bool(np.linalg.norm(A @ np.eye(350), 2) <= A.norm_bound())
    True
    """

    def __init__(
        self,
        dims: Sequence[int],
        offsets: Any,
        dt: float,
        parameters: Any,
        curve: str = "parabolic",
        *,
        band: tuple[float, float] | None = None,
        reference: float | None = None,
    ) -> None:
        grid, h, q, step = checked_geometry(dims, offsets, dt, parameters, curve)
        if curve == "hyperbolic":
            raise ValueError(
                "curve is 'hyperbolic', but only lines and parabolas keep their shape; use Radon"
            )
        super().__init__((q.size, grid[1]), grid)
        #: the family of curves, the offsets [m], the parameters and the sampling interval [s]
        self.curve, self.offsets, self.parameters, self.dt = curve, h, q, step
        delays = moveout_times(h, q, curve, reference)
        self.padded = _padded(grid[1], delays / step)
        frequency = np.arange(self.padded // 2 + 1) / (self.padded * step)
        low, high = _checked_band(band, step)
        inside = np.flatnonzero((frequency >= low - 1e-9 / step) & (frequency <= high + 1e-9 / step))
        if inside.size == 0:
            raise ValueError(
                f"band is ({low}, {high}), but it holds no frequency: {self.padded} samples of {step} s have "
                f"one every {1 / (self.padded * step):.3g} Hz"
            )
        self._inside = slice(int(inside[0]), int(inside[-1]) + 1)
        #: the frequencies used [Hz]
        self.frequencies = frequency[self._inside]
        # so far that the whole trace has left, and would come back at its other end
        gone = np.abs(delays) > (self.padded - grid[1]) * step
        phase = 2 * np.pi * self.frequencies[:, None, None] * np.where(gone, 0.0, delays)
        matrices = np.exp(-1j * phase)
        # a real signal has real values at zero and at the Nyquist frequency
        for at in np.flatnonzero((inside == 0) | (2 * inside == self.padded)):
            matrices[at] = np.cos(phase[at])
        matrices[:, gone] = 0.0
        #: exp(-i w T), shape (frequencies, offsets, k), in each precision that was asked for
        self._matrices: dict[str, Array] = {"d": matrices}
        self._norm: float | None = None

    def _forward(self, x: Array) -> Array:
        return self._through(x, self.dimsd[0], adjoint=False)

    def _backward(self, y: Array) -> Array:
        return self._through(y, self.dims[0], adjoint=True)

    def _through(self, v: Array, rows: int, adjoint: bool) -> Array:
        from scipy.fft import irfft, rfft

        v = np.asarray(v)
        if v.dtype.kind == "c":
            parts = self._through(np.concatenate((v.real, v.imag)), rows, adjoint)
            return np.asarray(parts[: len(v)] + 1j * parts[len(v) :])
        single = v.dtype == np.float32 or v.dtype == np.float16
        v = v.astype(np.float32 if single else np.float64, copy=False)
        matrices = self._in_precision(v.dtype.char)
        spectrum = rfft(v, self.padded, axis=-1)[..., self._inside]
        if adjoint:
            image = np.matmul(matrices.transpose(0, 2, 1), spectrum.conj().transpose(2, 1, 0)).conj()
        else:
            image = np.matmul(matrices, spectrum.transpose(2, 1, 0))
        out = np.zeros((len(v), rows, self.padded // 2 + 1), dtype=image.dtype)
        out[..., self._inside] = image.transpose(2, 1, 0)
        return np.ascontiguousarray(irfft(out, self.padded, axis=-1)[..., : self.dims[1]])

    def _in_precision(self, char: str) -> Array:
        if char not in self._matrices:
            self._matrices[char] = self._matrices["d"].astype(np.complex64)
        return self._matrices[char]

    def columns(self, index: Array) -> Array:
        """Return the delayed pulses, cut at the ends of the traces; one FFT of each trace a column."""
        from scipy.fft import irfft

        j = column_index(index, self.shape[1])
        out = np.empty((self.shape[0], j.size), order="F")
        spectrum = np.zeros((self.dimsd[0], self.padded // 2 + 1), dtype=np.complex128)
        turns = np.arange(self.padded // 2 + 1)[self._inside] / self.padded
        for column, (q, tau) in enumerate(zip(*np.divmod(j, self.dims[1]), strict=True)):
            pulse = np.exp(-2j * np.pi * ((turns * tau) % 1.0))
            spectrum[:, self._inside] = (self._matrices["d"][:, :, q] * pulse[:, None]).T
            out[:, column] = irfft(spectrum, self.padded, axis=-1)[:, : self.dims[1]].reshape(-1)
        return out

    def norm_bound(self) -> float:
        """Return the largest spectral norm of the matrices of all frequencies."""
        if self._norm is None:
            self._norm = _largest_norm(self._matrices["d"])
        return self._norm


def _padded(length: int, shifts: Array) -> int:
    """Return a convenient length at which no event, delayed by ``shifts`` samples, wraps around."""
    from scipy.fft import next_fast_len

    # what leaves the trace is gone however far it goes
    reach = math.ceil(min(float(np.abs(shifts).max()), length)) + 1
    return int(next_fast_len(length + reach, real=True))


def _checked_band(band: tuple[float, float] | None, dt: float) -> tuple[float, float]:
    if band is None:
        return 0.0, 0.5 / dt
    if np.ndim(band) != 1 or len(band) != 2:
        raise ValueError(f"band is {band!r}, but the lowest and the highest frequency [Hz] are needed")
    low, high = (validation.real_number(value, "an entry of band") for value in band)
    if not 0 <= low < high < math.inf:
        raise ValueError(f"band is ({low}, {high}), but 0 <= lowest < highest [Hz] is needed")
    return low, high


def _largest_norm(matrices: Array) -> float:
    """Return max_k ||matrices[k]||_2; only those whose row sums allow it are decomposed."""
    wide = matrices.shape[1] <= matrices.shape[2]
    adjoint = matrices.conj().transpose(0, 2, 1)
    grams = matrices @ adjoint if wide else adjoint @ matrices
    bounds = np.abs(grams).sum(axis=2).max(axis=1)
    largest = 0.0
    for k in np.argsort(-bounds):
        if bounds[k] <= largest:
            break
        largest = max(largest, float(np.linalg.eigvalsh(grams[k])[-1]))
    # rounding of the eigenvalues
    return math.sqrt(largest) * (1 + 1e-12)

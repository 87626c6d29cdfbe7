"""A bank of complex Morlet wavelets: real traces from complex time-frequency coefficients."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.operators.grid import GridOperator, column_index

Array = np.ndarray[Any, Any]

_REACH = 4.0  # standard deviations from the middle of a wavelet to what counts as its end


class MorletBank(GridOperator):
    """Add up Morlet wavelets of given frequencies: y(t) = Re sum_f sum_u x(f, u) g_f(t - u).

    ``g_f(t) proportional to exp(-t^2 / (2 s^2)) exp(2 pi i f t)``, s = w0 / (2 pi f), scaled so that
    Re(c g_f) has norm abs(c) whatever the phase of c: abs(x) is an amplitude and arg(x) the phase of the
    wavelet. The wavelets have no negative frequencies, are centred at each of the samples, and are cut at
    the ends of the trace.

    Parameters
    ----------
    n_samples : int
        Samples of the trace.
    dt : float
        Sampling interval [s].
    frequencies : array_like, shape (k,)
        Centres f of the wavelets [Hz], 0 < f < 1 / (2 dt).
    w0 : float or array_like, shape (k,)
        2 pi f s, >= 4: 6 is customary; larger values resolve frequency better and time worse.

    Raises
    ------
    ValueError, TypeError
        A frequency is out of range, or w0 is less than 4 or has another shape.

    Notes
    -----
    x has shape (k, n_samples) and is complex, y is real: the map is linear over the reals only
    (``clinear`` is False), and `rmatvec` is its adjoint for the inner product Re(u^H v). The norm is at
    most sqrt(max_nu sum_f abs(G_f(nu))^2 / 2), G_f the spectrum of g_f. A product costs k complex FFTs of
    n_samples plus 4 s of the longest wavelet, and one real one; storage: k spectra.

    References
    ----------
    .. [1] J. Morlet, G. Arens, E. Fourgeau, D. Giard, Wave propagation and sampling theory, part II,
       Geophysics 47 (1982) 222-236, doi:10.1190/1.1441329.

    Examples
    --------
    >>> import numpy as np
    >>> A = MorletBank(100, 0.004, [20.0, 30.0, 40.0])
    >>> x = np.zeros(A.dims, dtype=complex)
    >>> x[1, 50] = 2j                              # amplitude 2, phase of 90 degrees
    >>> y = A @ x.ravel()
    >>> y.dtype.name, round(float(np.linalg.norm(y)), 6), A.clinear
    ('float64', 2.0, False)
    """

    clinear = False
    closed_columns = True

    def __init__(self, n_samples: int, dt: float, frequencies: Any, w0: Any = 6.0) -> None:
        from scipy.fft import next_fast_len

        n = validation.count(n_samples, "n_samples", least=1)
        dt = validation.positive(dt, "dt")
        #: centres of the wavelets [Hz]
        self.frequencies = _frequencies(frequencies, 0.5 / dt)
        width = _widths(w0, self.frequencies)
        super().__init__((self.frequencies.size, n), (n,), np.complex128)
        reach = math.ceil(_REACH * float(width.max()) / dt)
        self._padded = int(next_fast_len(max(n + reach, 2 * reach)))
        nu = np.fft.rfftfreq(self._padded, dt)
        bank = np.exp(-2.0 * (math.pi * width[:, None] * (nu - self.frequencies[:, None])) ** 2)
        # frequency 0 and the Nyquist frequency have no phase
        bank[:, 0] = 0.0
        if self._padded % 2 == 0:
            bank[:, -1] = 0.0
        bank *= np.sqrt(2.0 * self._padded / np.sum(bank**2, axis=1, keepdims=True))
        self._bank = {np.dtype(np.complex128): bank, np.dtype(np.complex64): bank.astype(np.float32)}

    def _forward(self, x: Array) -> Array:
        from scipy import fft

        z = fft.fft(_complex(x), self._padded, axis=-1)[..., : self._padded // 2 + 1]
        # real and one-sided: half of each frequency is that of its mirror image
        spectrum = np.einsum("bfk,fk->bk", z, 0.5 * self._bank[z.dtype])
        return np.asarray(fft.irfft(spectrum, self._padded, axis=-1)[..., : self.dimsd[0]])

    def _backward(self, y: Array) -> Array:
        from scipy import fft

        z = fft.rfft(_real(y), self._padded, axis=-1)
        spectrum = z[:, None, :] * self._bank[z.dtype]
        return np.asarray(fft.ifft(spectrum, self._padded, axis=-1)[..., : self.dims[1]])

    def atoms(self, index: Array) -> Array:
        """Return g_f(t - u) of the coefficients with these flat indices as columns, complex, cut."""
        from scipy.fft import ifft

        f, u = np.divmod(column_index(index, self.shape[1]), self.dims[1])
        bank = self._bank[np.dtype(np.complex128)]
        spectra = np.zeros((bank.shape[0], self._padded))
        spectra[:, : bank.shape[1]] = bank
        wavelets = ifft(spectra, axis=1)
        lag = (np.arange(self.shape[0])[:, None] - u) % self._padded
        return np.asfortranarray(wavelets[f, lag])

    def columns(self, index: Array) -> Array:
        """Return the products with real unit vectors, Re g_f(t - u)."""
        return np.asfortranarray(self.atoms(index).real.astype(np.complex128))

    def norm_bound(self) -> float:
        """Return sqrt(max_nu sum_f abs(G_f(nu))^2 / 2)."""
        energy = np.sum(self._bank[np.dtype(np.complex128)] ** 2, axis=0)
        return float(np.sqrt(0.5 * energy.max()))


def _frequencies(frequencies: Any, nyquist: float) -> Array:
    f = np.atleast_1d(validation.numeric(frequencies, "frequencies"))
    if f.ndim != 1 or f.size == 0 or f.dtype.kind == "c":
        raise ValueError(f"frequencies has shape {f.shape} and dtype {f.dtype}, but real numbers are needed")
    if not ((f > 0) & (f < nyquist)).all():
        raise ValueError(
            f"frequencies reach from {f.min():g} to {f.max():g} Hz, but must lie between 0 and the Nyquist "
            f"frequency {nyquist:g} Hz"
        )
    return f.astype(np.float64)


def _widths(w0: Any, frequencies: Array) -> Array:
    """Return the standard deviation of each wavelet [s]."""
    number = validation.numeric(w0, "w0")
    if number.shape not in ((), frequencies.shape) or number.dtype.kind == "c":
        raise ValueError(f"w0 has shape {number.shape}, but one number or {frequencies.size} are needed")
    # below 4 the wavelet would have a mean, which is left out here
    if not ((number >= 4.0) & np.isfinite(number)).all():
        raise ValueError(f"w0 is {np.min(number):g}, but it must be a finite number >= 4")
    return np.asarray(number / (2.0 * math.pi * frequencies))


def _complex(x: Array) -> Array:
    return x.astype(np.complex64 if x.dtype.char in "fF" else np.complex128, copy=False)


def _real(y: Array) -> Array:
    """Return the part of y that real data can see."""
    return y.real.astype(np.float32 if y.dtype.char in "fF" else np.float64, copy=False)

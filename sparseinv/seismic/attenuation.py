"""Wavelets that lose high frequencies on their way: constant Q, with the dispersion that goes with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.operators.nonstationary import NonstationaryConvolution
from sparseinv.seismic.wavelets import ricker

Array = np.ndarray[Any, Any]

_CUT = 1e-4  # of a wavelet's largest modulus: samples beyond the last one above it are left out
_TAIL = 25.0  # lengths t / Q after which the response of the filter to a wavelet counts as ended


@dataclass(frozen=True, eq=False)
class AttenuatedWavelets:
    """Hold one wavelet for each time.

    Attributes
    ----------
    wavelets : ndarray, shape (number of times, nw)
        Samples; each row is the wavelet that arrives at its time.
    offset : int
        Index of the zero time, common to all rows: the ``offset`` of
        `sparseinv.operators.NonstationaryConvolution`.
    reference : float
        Frequency at which nothing is delayed [Hz]; NaN without dispersion.
    """

    wavelets: Array
    offset: int
    reference: float


def attenuated_wavelets(
    wavelet: Any,
    dt: float,
    t: Any,
    Q: Any,
    dispersion: bool = True,
    *,
    offset: int | None = None,
    reference: float | None = None,
) -> AttenuatedWavelets:
    """Return a wavelet as it is after travelling for the times t through a medium of constant Q.

    ``W_t(f) = W(f) exp(-pi f t / Q) exp(-2 pi i f t ((f / f_r)^(-gamma) - 1))``, gamma = 1 / (pi Q), for
    f > 0 and the conjugate for f < 0: Kjartansson's velocity (f / f_r)^gamma [1]_, to first order in 1 / Q
    Futterman's [2]_. Time zero of a row is the arrival of the frequency f_r; lower frequencies are slower.

    Parameters
    ----------
    wavelet : float or array_like, shape (nw,)
        Peak frequency of a Ricker wavelet [Hz], or the samples of a real wavelet.
    dt : float
        Sampling interval [s].
    t : float or array_like, shape (k,)
        Traveltimes [s], >= 0; rising where Q is one number per time.
    Q : float or array_like, shape (k,)
        Quality factor, > 0, inf for no loss. One number per time is an interval Q: Q[i] holds from t[i-1]
        to t[i], Q[0] from 0 to t[0], and the losses and delays of the intervals add up.
    dispersion : bool
        False for the losses alone, which leave a zero-phase wavelet symmetric and are not causal.
    offset : int, optional
        Index of the wavelet's zero time; nw // 2 by default.
    reference : float, optional
        f_r [Hz]; by default the frequency at which the amplitude spectrum of the wavelet is largest, so
        that reflections stay about where they are. With the Nyquist frequency 1 / (2 dt) every frequency
        is late, and the response begins at time zero.

    Returns
    -------
    AttenuatedWavelets
        The wavelets, on the samples where any of them exceeds 1e-4 of its largest modulus.

    Raises
    ------
    ValueError, TypeError
        The wavelet is not real, finite and one-dimensional, dt, Q or the reference is not positive, t is
        negative or does not rise, or the lengths of t and Q differ.

    Notes
    -----
    Losses and delays are a causal pair to first order in 1 / Q: with the Nyquist frequency as reference
    less than 1e-4 of the energy of an impulse arrives before time zero once t / Q is 16 dt, from where on
    the end of the band is no longer seen. Cost: k FFTs of nw + 50 max(t / Q) / dt samples; storage: as many
    numbers, so for long records take the wavelets at some times and let `NonstationaryConvolution`
    interpolate between these knots.

    References
    ----------
    .. [1] E. Kjartansson, Constant Q-wave propagation and attenuation, J. Geophys. Res. 84 (1979)
       4737-4748, doi:10.1029/JB084iB09p04737.
    .. [2] W. Futterman, Dispersive body waves, J. Geophys. Res. 67 (1962) 5279-5291,
       doi:10.1029/JZ067i013p05279.

    Examples
    --------
    A Ricker wavelet of 40 Hz after 0, 0.5 and 1 s at Q = 50:

    >>> aged = attenuated_wavelets(40.0, 0.002, [0.0, 0.5, 1.0], 50.0)
    >>> aged.wavelets.max(axis=1).round(2)
    array([1.  , 0.27, 0.09])
    """
    dt = validation.positive(dt, "dt")
    w, zero = _samples(wavelet, dt, offset)
    at = np.atleast_1d(validation.numeric(t, "t"))
    lost, gamma, steps = _losses(at, Q)
    length = w.size + 2 * math.ceil(_TAIL * float(lost.max(initial=0.0)) / dt + 4)
    spectrum, f = _spectrum(w, zero, dt, length)
    if reference is None:
        f_r = float(f[int(np.abs(spectrum).argmax())]) or float(f[1])
    else:
        f_r = validation.positive(reference, "reference")
    exponent = -math.pi * np.outer(lost, f) + 0j
    if dispersion:
        exponent -= 2j * math.pi * f * _delays(steps, gamma, f / f_r)
    rows = np.fft.irfft(spectrum * np.exp(exponent), length)
    wavelets, first = _cut(np.roll(rows, length // 2, axis=1))
    return AttenuatedWavelets(wavelets, length // 2 - first, f_r if dispersion else math.nan)


def attenuating_convolution(
    dims: int | Sequence[int],
    wavelet: Any,
    dt: float,
    Q: Any,
    dispersion: bool = True,
    *,
    offset: int | None = None,
    reference: float | None = None,
    t0: float = 0.0,
    axis: int = -1,
) -> NonstationaryConvolution:
    """Return the map from reflectivity to traces recorded through a medium of constant Q.

    Column j is the wavelet of `attenuated_wavelets` for the traveltime t0 + j dt. Deep columns are short:
    an L1 problem with one lambda asks deep reflections to be many times as strong as shallow ones, so pass
    ``weights=A.column_norms()``.

    Parameters
    ----------
    dims : int or tuple of int
        Shape of the reflectivity and of the data, for example (traces, samples).
    wavelet, dt, dispersion, offset, reference
        As for `attenuated_wavelets`.
    Q : float or array_like, shape (samples,)
        Quality factor, one number or one for each sample: Q[j] holds between the samples j - 1 and j.
    t0 : float
        Traveltime of the first sample [s], >= 0.
    axis : int
        Axis of time.

    Returns
    -------
    NonstationaryConvolution
        The operator; columns, column norms and a bound of the norm come with it.

    Raises
    ------
    ValueError, TypeError
        As `attenuated_wavelets`.

    Examples
    --------
    >>> A = attenuating_convolution(501, 40.0, 0.002, 60.0)
    >>> norms = A.column_norms()
    >>> bool(norms[30] > 3 * norms[470])
    True
    """
    from sparseinv.operators.grid import grid_axes, grid_dims

    grid = grid_dims(dims)
    (along,) = grid_axes(axis, grid, "axis")
    t = validation.real_number(t0, "t0") + np.arange(grid[along]) * validation.positive(dt, "dt")
    if np.ndim(Q) > 0 and np.shape(Q) != t.shape:
        raise ValueError(f"Q has shape {np.shape(Q)}, but one number or {t.size} of them are needed")
    aged = attenuated_wavelets(wavelet, dt, t, Q, dispersion, offset=offset, reference=reference)
    return NonstationaryConvolution(grid, aged.wavelets, offset=aged.offset, axis=axis)


def _samples(wavelet: Any, dt: float, offset: int | None) -> tuple[Array, int]:
    """Return the wavelet and the index of its zero time."""
    if np.ndim(wavelet) == 0:
        if offset is not None:
            raise ValueError("offset belongs to a sampled wavelet; that of a Ricker wavelet is known")
        samples, _, center = ricker(wavelet, dt)
        return samples, center
    w = validation.numeric(wavelet, "wavelet")
    if w.ndim != 1 or w.size == 0 or w.dtype.kind == "c":
        raise ValueError(f"wavelet has shape {w.shape} and dtype {w.dtype}, but a real vector is needed")
    validation.finite(w, "wavelet")
    zero = w.size // 2 if offset is None else validation.count(offset, "offset")
    if zero >= w.size:
        raise ValueError(f"offset is {zero}, but the wavelet has samples 0 to {w.size - 1}")
    return w, zero


def _losses(t: Array, Q: Any) -> tuple[Array, Array, Array]:
    """Return t / Q accumulated, and gamma and the length of each interval (one interval for one Q)."""
    if t.ndim != 1 or t.size == 0 or t.dtype.kind == "c":
        raise ValueError(f"t has shape {t.shape} and dtype {t.dtype}, but real times are needed")
    validation.finite(t, "t")
    if t.min() < 0:
        raise ValueError(f"t contains {t.min():g} s, but traveltimes are >= 0")
    quality = validation.numeric(Q, "Q")
    if quality.dtype.kind == "c" or not (quality > 0).all():
        raise ValueError("Q must be positive; use inf where nothing is lost")
    if quality.ndim == 0:
        return t / quality, np.array([1.0 / (math.pi * float(quality))]), t[:, None]
    if quality.shape != t.shape:
        raise ValueError(f"Q has shape {quality.shape}, but t has shape {t.shape}; pass one Q, or one a time")
    steps = np.diff(t, prepend=0.0)
    if (steps[1:] <= 0).any():
        raise ValueError("t does not rise, so that an interval Q has no meaning; sort the times")
    return np.cumsum(steps / quality), 1.0 / (math.pi * quality), steps


def _spectrum(w: Array, zero: int, dt: float, length: int) -> tuple[Array, Array]:
    """Return the spectrum of the wavelet with its zero time at sample 0, and the frequencies [Hz]."""
    circular = np.zeros(length)
    circular[np.arange(w.size) - zero] = w
    return np.fft.rfft(circular), np.fft.rfftfreq(length, dt)


def _delays(steps: Array, gamma: Array, ratio: Array) -> Array:
    """Return how late each frequency is at each time [s]."""
    logarithm = np.log(np.where(ratio > 0, ratio, 1.0))
    if steps.ndim == 2:  # one Q: times are multiples of one curve
        return np.asarray(steps * np.expm1(-gamma[0] * logarithm))
    return np.cumsum(steps[:, None] * np.expm1(-np.outer(gamma, logarithm)), axis=0)


def _cut(rows: Array) -> tuple[Array, int]:
    """Return the samples that matter in any row, and the index of the first."""
    modulus = np.abs(rows)
    needed = np.flatnonzero((modulus > _CUT * modulus.max(axis=1, keepdims=True)).any(axis=0))
    if needed.size == 0:
        return rows[:, :1], 0
    return rows[:, needed[0] : needed[-1] + 1], int(needed[0])

"""Wavelets estimated from the spectrum of traces, and wavelets compared but for time, sign and size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.seismic.deconvolution import checked_model

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class WaveletMatch:
    """Say how well one wavelet matches another but for time, sign and size.

    ``truth[i]`` is about ``factor * estimate[i - shift]``.

    Attributes
    ----------
    correlation : float
        Modulus of the normalised correlation at that shift, in [0, 1].
    shift : int
        Samples by which the estimate must be delayed.
    factor : float
        What it must be multiplied by.
    """

    correlation: float
    shift: int
    factor: float

    def aligned(self, reflectivity: Any) -> Array:
        """Return the reflectivity found with the estimate as it would be with the truth, time last."""
        r = validation.numeric(reflectivity, "reflectivity")
        return np.asarray(shifted(r, -self.shift) / self.factor)


def match_wavelets(truth: Any, estimate: Any) -> WaveletMatch:
    """Compare two wavelets at the shift where their normalised correlation is largest in modulus.

    Parameters
    ----------
    truth, estimate : array_like, shape (nw,)
        Real wavelets at one sampling interval whose zero times have the same index.

    Returns
    -------
    WaveletMatch
        Correlation, shift in samples and factor; blind deconvolution leaves the last two undetermined.

    Raises
    ------
    ValueError, TypeError
        A wavelet is zero or no real vector.

    Examples
    --------
    >>> match = match_wavelets([0.0, 1.0, 2.0, 0.0], [-2.0, -4.0, 0.0, 0.0])
    >>> round(match.correlation, 6), match.shift, round(match.factor, 6)
    (1.0, 1, -0.5)
    """
    pair = []
    for values, name in ((truth, "truth"), (estimate, "estimate")):
        w = validation.numeric(values, name)
        if w.ndim != 1 or w.dtype.kind == "c" or not w.any():
            raise ValueError(f"{name} has shape {w.shape}, but a real vector that is not zero is needed")
        validation.finite(w, name)
        pair.append(w / np.abs(w).max())
    (a, b), sizes = pair, [float(np.abs(np.asarray(w)).max()) for w in (truth, estimate)]
    products = np.correlate(a, b, "full")
    at = int(np.argmax(np.abs(products)))
    norms = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    factor = products[at] / norms[1] ** 2 * sizes[0] / sizes[1]
    correlation = min(1.0, abs(float(products[at])) / (norms[0] * norms[1]))
    return WaveletMatch(correlation, at - (b.size - 1), float(factor))


def statistical_wavelet(traces: Any, dt: float, duration: float, phase: float = 0.0) -> tuple[Array, int]:
    """Estimate a wavelet from the spectrum of the traces, its phase being assumed.

    The amplitude spectrum is the root of the Fourier transform of the traces' mean autocorrelation, tapered
    to half the wavelet's length on either side, as if the reflectivity were white; the phase is constant.

    Parameters
    ----------
    traces : array_like, shape (n_traces, n_samples)
        Real traces that share one wavelet.
    dt : float
        Sampling interval [s].
    duration : float
        Length of the wavelet [s], rounded up to an odd number of samples that fits into a trace.
    phase : float
        Constant phase [degrees]; 0 makes it symmetric.

    Returns
    -------
    wavelet : ndarray, shape (2 center + 1,)
        Its largest sample in modulus is 1 in modulus.
    center : int
        Index of its zero time.

    Raises
    ------
    ValueError, TypeError
        Bad input, or traces that are all zero.

    Examples
    --------
    >>> import numpy as np
    >>> from sparseinv.seismic import ricker, statistical_wavelet
    >>> trace = np.convolve(np.random.default_rng(0).standard_normal(2000), ricker(25.0, 0.004)[0])
    >>> wavelet, center = statistical_wavelet(trace, 0.004, 0.12)
    >>> bool(np.abs(np.correlate(wavelet, ricker(25.0, 0.004)[0])).max() > 0.9)
    True
    """
    data, _, center = checked_length(traces, dt, duration)
    size = float(np.abs(data).max())
    angle = validation.real_number(phase, "phase")
    if size == 0.0 or not math.isfinite(angle):
        raise ValueError("traces are all zero, or phase is not finite; a spectrum and an angle are needed")
    wavelet = with_phase(data / size, center, angle)
    return wavelet / np.abs(wavelet).max(), center


def checked_length(traces: Any, dt: float, duration: float) -> tuple[Array, float, int]:
    """Return the traces, dt, and the index of the middle of the wavelet."""
    step = validation.positive(dt, "dt")
    center = math.ceil(validation.positive(duration, "duration") / (2.0 * step) - 1e-9)
    data, _ = checked_model(traces, [1.0], step, 0)
    if 2 * center + 1 >= data.shape[1]:
        raise ValueError(
            f"duration is {duration:g} s, {2 * center + 1} samples, but the traces have {data.shape[1]}; a "
            "wavelet shorter than a trace is needed"
        )
    return data, step, center


def with_phase(d: Array, center: int, angle: float) -> Array:
    """Return a wavelet of norm 1 with the smoothed amplitude spectrum of the traces and a constant phase."""
    width = 2 * center + 1
    padded = 1 << (2 * d.shape[1] - 1).bit_length()
    power = np.mean(np.abs(np.fft.rfft(d, padded, axis=1)) ** 2, axis=0)
    lags = np.fft.irfft(power)
    # the autocorrelation beyond the wavelet's length is that of the reflectivity
    taper = np.zeros(padded)
    taper[: center + 1] = np.cos(0.5 * np.pi * np.arange(center + 1) / (center + 1)) ** 2
    taper[padded - center :] = taper[center:0:-1]
    amplitude = np.sqrt(np.maximum(np.fft.rfft(lags * taper).real, 0.0))
    whole = np.fft.irfft(amplitude * np.exp(1j * math.radians(angle)))
    w = np.roll(whole, center)[:width] * np.hanning(width + 2)[1:-1]
    return np.asarray(w / np.linalg.norm(w))


def shifted(r: Array, lag: int) -> Array:
    """Return r delayed by a number of samples along its last axis; zeros come in."""
    out = np.zeros_like(r)
    n = r.shape[-1]
    if abs(lag) < n:
        out[..., max(lag, 0) : n + min(lag, 0)] = r[..., max(-lag, 0) : n - max(lag, 0)]
    return out

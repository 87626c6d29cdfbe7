"""Zero-phase source wavelets, sampled in seconds and hertz, with value 1 at time zero."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sparseinv import validation

Array = np.ndarray[Any, Any]


def ricker(f0: float, dt: float, duration: float | None = None) -> tuple[Array, Array, int]:
    """Return a Ricker wavelet.

    ``w(t) = (1 - 2 a) exp(-a)``, ``a = (pi f0 t)^2``.

    Parameters
    ----------
    f0 : float
        Peak frequency [Hz], 0 < f0 < 1/(2 dt).
    dt : float
        Sampling interval [s].
    duration : float, optional
        Length [s]; 3/f0 by default, where the ends are below 1e-7.

    Returns
    -------
    wavelet : ndarray, shape (2 center + 1,)
        Samples.
    t : ndarray, same shape
        Times [s], t[center] = 0.
    center : int
        Index of time zero: the ``offset`` of `sparseinv.operators.Convolution`.

    Raises
    ------
    ValueError, TypeError
        A number is not positive, or f0 is not below the Nyquist frequency.

    References
    ----------
    .. [1] Y. Wang, Frequencies of the Ricker wavelet, Geophysics 80 (2015) A31-A37,
       doi:10.1190/geo2014-0441.1, equation 1.

    Examples
    --------
    >>> wavelet, t, center = ricker(25.0, 0.004)
    >>> wavelet.size, center, float(wavelet[center])
    (31, 15, 1.0)
    """
    dt, _ = _sampling(dt, f0, "f0")
    t, center = _times(3.0 / f0 if duration is None else duration, dt)
    return ricker_at(t, f0), t, center


def ricker_at(t: Array, f0: float) -> Array:
    """Return the Ricker wavelet of peak frequency f0 [Hz] at any times t [s]."""
    a = (math.pi * f0 * np.asarray(t)) ** 2
    return np.asarray((1.0 - 2.0 * a) * np.exp(-a))


def ormsby(
    f1: float, f2: float, f3: float, f4: float, dt: float, duration: float | None = None
) -> tuple[Array, Array, int]:
    """Return an Ormsby wavelet: a trapezoid of amplitudes over frequency.

    ``w(t) proportional to (f4^2 s(f4 t)^2 - f3^2 s(f3 t)^2)/(f4 - f3) - (f2^2 s(f2 t)^2 -
    f1^2 s(f1 t)^2)/(f2 - f1)`` with ``s(u) = sin(pi u)/(pi u)``, scaled to w(0) = 1.

    Parameters
    ----------
    f1, f2, f3, f4 : float
        Corner frequencies [Hz], 0 <= f1 < f2 <= f3 < f4 <= 1/(2 dt): zero up to f1, flat from f2 to
        f3, zero from f4.
    dt : float
        Sampling interval [s].
    duration : float, optional
        Length [s]; 4 over the width of the narrower slope by default. The wavelet decays as 1/t^2.

    Returns
    -------
    wavelet, t, center
        As for `ricker`.

    Raises
    ------
    ValueError, TypeError
        The corners are not in this order, or exceed the Nyquist frequency.

    References
    ----------
    .. [1] H. Ryan, Ricker, Ormsby, Klauder, Butterworth - a choice of wavelets, CSEG Recorder 19 (7)
       (1994) 8-9.

    Examples
    --------
    >>> wavelet, t, center = ormsby(5.0, 10.0, 50.0, 60.0, 0.004)
    >>> wavelet.size, float(wavelet[center])
    (201, 1.0)
    """
    f1, f2, f3, f4 = (
        validation.real_number(f, name) for f, name in ((f1, "f1"), (f2, "f2"), (f3, "f3"), (f4, "f4"))
    )
    dt, nyquist = _sampling(dt, f4, "f4", closed=True)
    if not 0.0 <= f1 < f2 <= f3 < f4:
        raise ValueError(
            f"the corners are {f1:g}, {f2:g}, {f3:g}, {f4:g} Hz, but 0 <= f1 < f2 <= f3 < f4 <= {nyquist:g} "
            "is needed"
        )
    t, center = _times(4.0 / min(f2 - f1, f4 - f3) if duration is None else duration, dt)
    high = ((f4 * np.sinc(f4 * t)) ** 2 - (f3 * np.sinc(f3 * t)) ** 2) / (f4 - f3)
    low = ((f2 * np.sinc(f2 * t)) ** 2 - (f1 * np.sinc(f1 * t)) ** 2) / (f2 - f1)
    wavelet = high - low
    return wavelet / wavelet[center], t, center


def klauder(
    f1: float, f2: float, sweep: float, dt: float, duration: float | None = None
) -> tuple[Array, Array, int]:
    """Return a Klauder wavelet: the autocorrelation of a linear vibroseis sweep.

    ``w(t) = (1 - u) sinc(k t (T - abs(t))) cos(2 pi f t)`` with u = abs(t)/T, k = (f2 - f1)/T and
    f = (f1 + f2)/2: the autocorrelation of the real sweep without its term at twice the frequency.

    Parameters
    ----------
    f1, f2 : float
        First and last frequency of the sweep [Hz], 0 <= f1 < f2 <= 1/(2 dt).
    sweep : float
        Length T of the sweep [s].
    dt : float
        Sampling interval [s].
    duration : float, optional
        Length [s], at most 2 T; 20/(f2 - f1) by default.

    Returns
    -------
    wavelet, t, center
        As for `ricker`.

    Raises
    ------
    ValueError, TypeError
        The frequencies are not in this order or exceed the Nyquist frequency, or duration exceeds the
        autocorrelation.

    References
    ----------
    .. [1] J. R. Klauder, A. C. Price, S. Darlington, W. J. Albersheim, The theory and design of chirp
       radars, Bell Syst. Tech. J. 39 (1960) 745-808, doi:10.1002/j.1538-7305.1960.tb03942.x.

    Examples
    --------
    >>> wavelet, t, center = klauder(8.0, 80.0, 10.0, 0.002)
    >>> wavelet.size, float(wavelet[center])
    (141, 1.0)
    """
    f1, T = validation.real_number(f1, "f1"), validation.positive(sweep, "sweep")
    dt, nyquist = _sampling(dt, f2, "f2", closed=True)
    if not 0.0 <= f1 < f2:
        raise ValueError(
            f"the sweep runs from {f1:g} to {f2:g} Hz, but 0 <= f1 < f2 <= {nyquist:g} is needed"
        )
    t, center = _times(min(20.0 / (f2 - f1), 2.0 * T) if duration is None else duration, dt)
    left = np.maximum(T - np.abs(t), 0.0)
    if t[-1] > T + dt:
        raise ValueError(f"duration is {duration} s, but the autocorrelation lasts 2 sweep = {2.0 * T} s")
    wavelet = left / T * np.sinc((f2 - f1) / T * t * left) * np.cos(math.pi * (f1 + f2) * t)
    return wavelet, t, center


def _sampling(dt: float, highest: float, name: str, *, closed: bool = False) -> tuple[float, float]:
    """Return dt and the Nyquist frequency; refuse a highest frequency that dt cannot represent."""
    dt = validation.positive(dt, "dt")
    frequency, nyquist = validation.positive(highest, name), 0.5 / dt
    if frequency > nyquist * (1.0 + 1e-12) or (not closed and frequency >= nyquist):
        raise ValueError(
            f"{name} is {frequency:g} Hz, but samples every {dt:g} s represent frequencies up to "
            f"{nyquist:g} Hz; use a smaller dt"
        )
    return dt, nyquist


def _times(duration: float, dt: float) -> tuple[Array, int]:
    half = math.ceil(validation.positive(duration, "duration") / (2.0 * dt) - 1e-9)
    return np.arange(-half, half + 1) * dt, half

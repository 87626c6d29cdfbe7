"""Noise with the spectrum of a wavelet or of a band, of a stated standard deviation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.operators.grid import grid_dims
from sparseinv.seismic.wavelets import ormsby

Array = np.ndarray[Any, Any]


def colored_noise(
    shape: int | Sequence[int],
    dt: float,
    *,
    wavelet: Any = None,
    band: Sequence[float] | None = None,
    sigma: float = 1.0,
    rng: Any = None,
) -> Array:
    """Return Gaussian noise with the amplitude spectrum of a wavelet, or of a trapezoid of frequencies.

    White noise is convolved with the wavelet, ``e = sigma (w / ||w||_2) * n``, along the last axis and
    before both ends of it, so that every sample has the same distribution.

    Parameters
    ----------
    shape : int or tuple of int
        Shape of the noise, time along the last axis.
    dt : float
        Sampling interval [s].
    wavelet : array_like, shape (nw,), optional
        Real samples at the interval dt, not all zero. Give it or ``band``, and not both.
    band : sequence of four floats, optional
        Corner frequencies [Hz] of a trapezoid, as for `ormsby`.
    sigma : float
        Standard deviation of each sample, >= 0: that of the distribution, not of the sample drawn.
    rng : None, int or Generator
        Source of randomness; None is seed 0.

    Returns
    -------
    ndarray, shape ``shape``
        Noise, independent from trace to trace.

    Raises
    ------
    ValueError, TypeError
        Both or neither of wavelet and band, or numbers out of range.

    Notes
    -----
    Such noise lies where the signal does: a least-squares or sparse fit cannot tell it from reflections by
    its spectrum, and rules that take the noise for white choose levels that are too low.

    Examples
    --------
    >>> from sparseinv.seismic import colored_noise
    >>> noise = colored_noise((50, 1000), 0.004, band=(5, 10, 40, 60), sigma=0.2)
    >>> noise.shape, bool(abs(noise.std() - 0.2) < 0.01)
    ((50, 1000), True)
    """
    dims = grid_dims(shape)
    validation.positive(dt, "dt")
    level = validation.real_number(sigma, "sigma")
    if not 0.0 <= level < math.inf:
        raise ValueError(f"sigma is {level}, but a finite number >= 0 is needed")
    if (wavelet is None) == (band is None):
        raise ValueError("colored_noise needs the spectrum of a wavelet or of a band: pass one of the two")
    if band is not None:
        corners = validation.numeric(band, "band")
        if corners.shape != (4,) or corners.dtype.kind == "c":
            raise ValueError(f"band is {band!r}, but four corner frequencies [Hz] are needed")
        f1, f2, f3, f4 = (float(f) for f in corners)
        wavelet = ormsby(f1, f2, f3, f4, dt)[0]
    w = validation.numeric(wavelet, "wavelet")
    if w.ndim != 1 or w.dtype.kind == "c" or not w.any():
        raise ValueError(f"wavelet has shape {w.shape}, but a real vector that is not zero is needed")
    validation.finite(w, "wavelet")
    w = w / np.abs(w).max()
    return level * _filtered(dims, w / float(np.linalg.norm(w)), validation.generator(rng))


def _filtered(dims: tuple[int, ...], w: Array, rng: np.random.Generator) -> Array:
    from scipy.signal import oaconvolve

    white = rng.standard_normal((*dims[:-1], dims[-1] + w.size - 1))
    taps = w.reshape((1,) * (len(dims) - 1) + (-1,))
    return np.asarray(oaconvolve(white, taps, mode="valid", axes=-1))

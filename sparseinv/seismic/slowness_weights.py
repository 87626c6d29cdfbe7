"""One lambda per plane wave, from the slownesses that low frequencies show: for data aliased in space."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.operators.fourier import FFT
from sparseinv.penalties import L1
from sparseinv.seismic.interpolation import InterpolatedTraces, interpolate_traces

Array = np.ndarray[Any, Any]

_FINER = 4  # slownesses tried per wavenumber
_LOWEST = 0.25  # of the low band: below, wavenumbers hardly tell slownesses apart


def low_frequency_weights(
    traces: Any,
    mask: Any,
    dt: float,
    f_low: float,
    *,
    n_wavenumbers: int | None = None,
    spacing: int = 2,
    floor: float = 1e-2,
) -> tuple[Array, FFT, InterpolatedTraces]:
    """Return a weight for every plane wave: small where low frequencies hold energy at its slowness.

    Below ``f_low`` the kept traces are not aliased, so that wavenumbers abs(k) < 1 / (2 spacing) suffice and
    are found by sparse interpolation. Their energy per slowness p = k / f, e(p) with maximum 1, sets
    ``w(f, k) = (1 + floor) / (max_j e((k + j) / f) + floor)`` at all frequencies, whole numbers j standing
    for the aliases of k on the grid of all traces.

    Parameters
    ----------
    traces : array_like, shape (n_traces, n_samples)
        Real, on the grid of all traces.
    mask : array_like of bool, shape (n_traces,)
        True for the traces that were recorded.
    dt : float
        Sampling interval [s].
    f_low : float
        Frequency [Hz] up to which every event satisfies abs(p) f < 1 / (2 spacing), p in s/trace.
    n_wavenumbers : int, optional
        Wavenumbers of the plane waves, >= n_traces; twice the number of traces if None.
    spacing : int
        Distance of recorded traces: 2 where every other one is missing.
    floor : float
        Weight of a slowness that low frequencies show over that of one they do not; in (0, 1).

    Returns
    -------
    weights : ndarray, shape (n,)
        For `interpolate_traces` or ``L1(lam, weights=weights)``; at least 1, 1 for the strongest slowness.
    plane_waves : FFT
        The analysis they belong to; ``plane_waves.H`` is the synthesis.
    low : InterpolatedTraces
        The interpolation of the low band.

    Raises
    ------
    ValueError, TypeError
        Numbers out of range, or what `interpolate_traces` refuses.

    Notes
    -----
    Events that are straight over the section share a slowness at all frequencies, which is the only thing
    assumed; curved ones are straight in small windows. The frequencies decouple, since only traces are
    missing and time is not padded.

    References
    ----------
    .. [1] N. Gulunay, Seismic trace interpolation in the Fourier transform domain, Geophysics 68 (2003)
       355-369, doi:10.1190/1.1543221.
    .. [2] S. Spitz, Seismic trace interpolation in the F-X domain, Geophysics 56 (1991) 785-794,
       doi:10.1190/1.1443096.

    Examples
    --------
    >>> import numpy as np
    >>> import sparseinv as si
    >>> from sparseinv.seismic import linear_events
    >>> section = linear_events(64, 0.004, np.arange(24.0), times=[0.05], slopes=[4e-3],
    ...                         amplitudes=[1.0], f0=40.0)
    >>> mask = np.arange(24) % 2 == 0
    >>> weights, waves, _ = low_frequency_weights(section, mask, 0.004, 40.0)
    >>> found = interpolate_traces(section, mask, dictionary=waves.H, penalty=si.L1(weights=weights))
    >>> plain = interpolate_traces(section, mask, dictionary=waves.H)
    >>> bool(np.linalg.norm(found.estimate - section) < 0.5 * np.linalg.norm(plain.estimate - section))
    True
    """
    data = validation.numeric(traces, "traces")
    if data.ndim != 2:
        raise ValueError(f"traces has shape {data.shape}, but (n_traces, n_samples) is needed")
    dt, f_low = validation.positive(dt, "dt"), validation.positive(f_low, "f_low")
    spacing = validation.count(spacing, "spacing", least=1)
    floor = validation.fraction(floor, "floor")
    count, samples = data.shape
    waves = 2 * count if n_wavenumbers is None else validation.count(n_wavenumbers, "n_wavenumbers", count)
    F = FFT((count, samples), sizes=(waves, samples))
    k = np.fft.fftfreq(waves)[:, None]
    f = np.fft.fftfreq(samples, dt)
    if not _LOWEST * f_low > 1.0 / (samples * dt):
        raise ValueError(
            f"f_low is {f_low} Hz, but with {samples} samples of {dt} s at least "
            f"{1.0 / (_LOWEST * samples * dt):.3g} Hz is needed"
        )
    largest = 0.5 / spacing
    inside = (np.abs(f) <= f_low) & (np.abs(k) <= largest)
    low = interpolate_traces(
        traces, mask, dictionary=F.H, penalty=L1(weights=np.where(inside, 1.0, np.inf).ravel())
    )
    slowness = np.linspace(-largest / f_low, largest / f_low, _FINER * waves + 1)
    energy = _energy(np.abs(low.x.reshape(waves, samples)), f, f_low, slowness)
    peak = float(energy.max())
    if not peak > 0.0:
        return np.ones(F.shape[0]), F, low
    share = np.zeros((waves, samples))
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = int(np.ceil(np.abs(f).max() * slowness[-1] + 0.5))
        for alias in range(-reach, reach + 1):
            at = np.where(f == 0.0, 0.0, (k + alias) / f)
            share = np.maximum(share, np.interp(at, slowness, energy / peak, left=0.0, right=0.0))
    share[:, f == 0.0] = 1.0
    return ((1.0 + floor) / (share + floor)).ravel(), F, low


def _energy(moduli: Array, f: Array, f_low: float, slowness: Array) -> Array:
    """Return the sum of squared moduli along k = p f over the low band, for every slowness."""
    waves = moduli.shape[0]
    order = np.argsort(np.fft.fftfreq(waves))
    k = np.fft.fftfreq(waves)[order]
    energy = np.zeros(slowness.size)
    for column in np.flatnonzero((f >= _LOWEST * f_low) & (f <= f_low)):
        energy += np.interp(slowness * f[column], k, moduli[order, column], left=0.0, right=0.0) ** 2
    return energy

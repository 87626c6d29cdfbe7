"""Synthetic truths: sparse reflectivity, and gathers of linear, parabolic and hyperbolic events."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.seismic.wavelets import ricker_at

Array = np.ndarray[Any, Any]


def sparse_spikes(
    n_samples: int,
    n_spikes: int,
    n_traces: int | None = None,
    *,
    min_gap: int = 1,
    min_amplitude: float = 0.1,
    rng: Any = None,
) -> Array:
    """Return reflectivity traces with a given number of spikes at random positions.

    The amplitudes are ``s (min_amplitude + abs(N(0, 1)))`` with random signs s.

    Parameters
    ----------
    n_samples : int
        Samples of a trace.
    n_spikes : int
        Spikes of a trace.
    n_traces : int, optional
        Number of traces, drawn independently; one trace without a trace axis if None.
    min_gap : int
        Smallest distance of two spikes in samples, >= 1.
    min_amplitude : float
        Smallest modulus of a spike, >= 0.
    rng : None, int or Generator
        Source of randomness; None is seed 0.

    Returns
    -------
    ndarray, shape (n_samples,) or (n_traces, n_samples)
        Reflectivity.

    Raises
    ------
    ValueError, TypeError
        The spikes do not fit, or a number is out of range.

    Notes
    -----
    All admissible sets of positions are equally probable.

    Examples
    --------
    >>> r = sparse_spikes(100, 5, min_gap=4, rng=1)
    >>> r.shape, int((r != 0).sum()), bool(abs(r[r != 0]).min() >= 0.1)
    ((100,), 5, True)
    """
    n_samples = validation.count(n_samples, "n_samples", least=1)
    n_spikes = validation.count(n_spikes, "n_spikes")
    min_gap = validation.count(min_gap, "min_gap", least=1)
    least = validation.real_number(min_amplitude, "min_amplitude")
    if not 0.0 <= least < math.inf:
        raise ValueError(f"min_amplitude is {least}, but a finite number >= 0 is needed")
    rng = validation.generator(rng)
    # without the forced gaps, positions are a plain choice; putting the gaps back keeps it uniform
    room = n_samples - max(n_spikes - 1, 0) * (min_gap - 1)
    if n_spikes > room:
        raise ValueError(f"{n_spikes} spikes {min_gap} samples apart do not fit into {n_samples} samples")
    traces = 1 if n_traces is None else validation.count(n_traces, "n_traces", least=1)
    out = np.zeros((traces, n_samples))
    for trace in out:
        at = np.sort(rng.choice(room, n_spikes, replace=False)) + np.arange(n_spikes) * (min_gap - 1)
        sign = rng.choice([-1.0, 1.0], n_spikes)
        trace[at] = sign * (least + np.abs(rng.standard_normal(n_spikes)))
    return out[0] if n_traces is None else out


def linear_events(
    n_samples: int,
    dt: float,
    offsets: Any,
    *,
    times: Sequence[float],
    slopes: Sequence[float],
    amplitudes: Sequence[float],
    f0: float,
) -> Array:
    """Return a gather of events with straight moveout, t(h) = times + slopes h.

    Parameters
    ----------
    n_samples : int
        Samples of a trace; the first is time 0.
    dt : float
        Sampling interval [s].
    offsets : array_like, shape (n_traces,)
        Offset h of each trace [m].
    times : sequence of float
        Time of each event at h = 0 [s].
    slopes : sequence of float
        Slope of each event [s/m].
    amplitudes : sequence of float
        Peak amplitude of each event.
    f0 : float
        Peak frequency of the Ricker wavelet [Hz], below 1/(2 dt).

    Returns
    -------
    ndarray, shape (n_traces, n_samples)
        Gather.

    Raises
    ------
    ValueError, TypeError
        Lists of different lengths, or numbers out of range.

    Notes
    -----
    The wavelet is evaluated at the exact arrival times, without interpolation.

    Examples
    --------
    >>> d = linear_events(100, 0.004, [0.0, 40.0], times=[0.2], slopes=[1e-3], amplitudes=[1], f0=20)
    >>> d.argmax(axis=1) * 0.004
    array([0.2 , 0.24])
    """
    t0, p, amplitude = _events(times=times, slopes=slopes, amplitudes=amplitudes)
    return _gather(n_samples, dt, t0[:, None] + p[:, None] * _offsets(offsets), amplitude, f0)


def parabolic_events(
    n_samples: int,
    dt: float,
    offsets: Any,
    *,
    times: Sequence[float],
    moveouts: Sequence[float],
    amplitudes: Sequence[float],
    f0: float,
    reference: float | None = None,
) -> Array:
    """Return a gather of events with parabolic moveout, t(h) = times + moveouts (h / reference)^2.

    Parameters
    ----------
    n_samples, dt, offsets, times, amplitudes, f0
        As for `linear_events`.
    moveouts : sequence of float
        Moveout of each event at the reference offset [s].
    reference : float, optional
        Reference offset [m]; the largest abs(offset) by default.

    Returns
    -------
    ndarray, shape (n_traces, n_samples)
        Gather.

    Raises
    ------
    ValueError, TypeError
        Lists of different lengths, or numbers out of range.

    Examples
    --------
    >>> far = [0.0, 1000.0]
    >>> d = parabolic_events(200, 0.002, far, times=[0.1], moveouts=[0.2], amplitudes=[1], f0=20)
    >>> d.argmax(axis=1) * 0.002
    array([0.1, 0.3])
    """
    t0, q, amplitude = _events(times=times, moveouts=moveouts, amplitudes=amplitudes)
    h = _offsets(offsets)
    far = validation.positive(float(np.abs(h).max()) if reference is None else reference, "reference")
    return _gather(n_samples, dt, t0[:, None] + q[:, None] * (h / far) ** 2, amplitude, f0)


def hyperbolic_events(
    n_samples: int,
    dt: float,
    offsets: Any,
    *,
    times: Sequence[float],
    velocities: Sequence[float],
    amplitudes: Sequence[float],
    f0: float,
) -> Array:
    """Return a gather of reflections, t(h) = sqrt(times^2 + (h / velocities)^2).

    Parameters
    ----------
    n_samples, dt, offsets, times, amplitudes, f0
        As for `linear_events`; times are two-way times at zero offset, >= 0.
    velocities : sequence of float
        Root-mean-square velocity of each event [m/s], > 0.

    Returns
    -------
    ndarray, shape (n_traces, n_samples)
        Gather.

    Raises
    ------
    ValueError, TypeError
        Lists of different lengths, or numbers out of range.

    Examples
    --------
    >>> h = [0.0, 800.0]
    >>> d = hyperbolic_events(200, 0.004, h, times=[0.3], velocities=[2000], amplitudes=[1], f0=20)
    >>> d.argmax(axis=1) * 0.004
    array([0.3, 0.5])
    """
    t0, v, amplitude = _events(times=times, velocities=velocities, amplitudes=amplitudes)
    if (v <= 0).any():
        raise ValueError(f"velocities contains {v.min()}, but each must be > 0")
    if (t0 < 0).any():
        raise ValueError(f"times contains {t0.min()}, but two-way times are >= 0")
    return _gather(n_samples, dt, np.hypot(t0[:, None], _offsets(offsets) / v[:, None]), amplitude, f0)


def _events(**lists: Any) -> tuple[Array, ...]:
    """Return the lists that describe the events as real vectors of one length."""
    vectors = {name: np.atleast_1d(_real(values, name)).ravel() for name, values in lists.items()}
    sizes = {name: v.size for name, v in vectors.items()}
    if len(set(sizes.values())) > 1:
        described = ", ".join(f"{size} {name}" for name, size in sizes.items())
        raise ValueError(f"each event needs one entry in each list, but there are {described}")
    if 0 in sizes.values():
        raise ValueError("times is empty, but at least one event is needed")
    return tuple(vectors.values())


def _offsets(offsets: Any) -> Array:
    h = _real(offsets, "offsets")
    if h.ndim != 1 or h.size == 0:
        raise ValueError(f"offsets has shape {h.shape}, but a vector with one offset [m] a trace is needed")
    return h


def _real(values: Any, name: str) -> Array:
    array = validation.numeric(values, name)
    if array.dtype.kind == "c":
        raise TypeError(f"{name} is complex, but real numbers are needed")
    validation.finite(array, name)
    return array


def _gather(n_samples: int, dt: float, arrivals: Array, amplitudes: Array, f0: float) -> Array:
    """Add up one wavelet for each event (row of arrivals) and trace (column)."""
    dt, f0 = validation.positive(dt, "dt"), validation.positive(f0, "f0")
    if f0 >= 0.5 / dt:
        raise ValueError(f"f0 is {f0:g} Hz, but it must be below the Nyquist frequency {0.5 / dt:g} Hz")
    t = np.arange(validation.count(n_samples, "n_samples", least=1)) * dt
    out = np.zeros((arrivals.shape[1], t.size))
    for arrival, amplitude in zip(arrivals, amplitudes, strict=True):
        out += amplitude * ricker_at(t - arrival[:, None], f0)
    return out

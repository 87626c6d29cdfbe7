"""Normal moveout: reflections flattened by a velocity function, and bent back."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparseinv import validation

Array = np.ndarray[Any, Any]


def normal_moveout(
    traces: Any,
    offsets: Any,
    dt: float,
    times: Any,
    velocities: Any,
    *,
    t0: float = 0.0,
    stretch: float | None = None,
    inverse: bool = False,
) -> Array:
    """Return a gather with normal moveout removed, m(h, tau) = d(h, sqrt(tau^2 + h^2 / v(tau)^2)).

    Parameters
    ----------
    traces : array_like, shape (offsets, samples)
        The gather d; with ``inverse=True`` a corrected one, m.
    offsets : array_like, shape (offsets,)
        Offset h of each trace [m].
    dt : float
        Sampling interval [s].
    times, velocities : array_like, shape (k,)
        Points of the velocity function: increasing two-way times at zero offset [s] and root-mean-square
        velocities [m/s] > 0; linear between them, constant beyond the ends.
    t0 : float
        Time of the first sample [s], >= 0.
    stretch : float, optional
        Samples where t / tau - 1 exceeds this are muted (set to 0), for example 0.5; none by default. The
        inverse does not mute.
    inverse : bool
        Bend a corrected gather back, d(h, t) = m(h, tau(t, h)).

    Returns
    -------
    ndarray, shape (offsets, samples)
        The gather, in single precision where the traces are; 0 where the sample it needs was not recorded.

    Raises
    ------
    ValueError, TypeError
        Shapes that do not fit, or numbers out of range.

    Notes
    -----
    Traces are interpolated by cubic splines; the error of a sine of unit amplitude is 0.0004 at 10 samples a
    period, 0.004 at 6 and 0.03 at 4. What is stretched beyond the ends or muted does not come
    back: the inverse restores the rest. Where a later tau arrives first (large offsets, velocities that
    rise fast), the inverse takes the later tau.

    Examples
    --------
    >>> from sparseinv.seismic import hyperbolic_events
    >>> h = [0.0, 400.0, 800.0]
    >>> d = hyperbolic_events(200, 0.004, h, times=[0.3], velocities=[2000], amplitudes=[1], f0=20)
    >>> normal_moveout(d, h, 0.004, [0.0], [2000.0]).argmax(axis=1) * 0.004
    array([0.3, 0.3, 0.3])
    """
    from scipy.interpolate import CubicSpline

    d, h, step = checked_gather(traces, offsets, dt)
    t, v = _velocity_points(times, velocities)
    start = validation.real_number(t0, "t0")
    if not 0 <= start < np.inf:
        raise ValueError(f"t0 is {t0}, but the time of the first sample [s] must be finite and >= 0")
    most = 0.0 if stretch is None else validation.positive(stretch, "stretch")
    axis = start + np.arange(d.shape[1]) * step
    velocity = np.interp(axis, t, v)
    out = np.zeros_like(d)
    if d.shape[1] == 1:
        raise ValueError("traces has one sample a trace, but an interpolation needs at least two")
    for trace, offset, target in zip(d, h, out, strict=True):
        arrival = np.hypot(axis, offset / velocity)
        if inverse:
            # running minimum from the end: an increasing function where events cross
            arrival = np.minimum.accumulate(arrival[::-1])[::-1]
            steps = np.concatenate(([True], np.diff(arrival) > 0))
            place = np.interp(axis, arrival[steps], axis[steps], left=np.nan, right=np.nan)
        else:
            place = arrival if stretch is None else np.where(arrival <= (1.0 + most) * axis, arrival, np.nan)
        known = (place >= axis[0]) & (place <= axis[-1])
        target[known] = CubicSpline(axis, trace)(place[known])
    return out.astype(np.float32) if validation.is_single(traces) else out


def checked_gather(traces: Any, offsets: Any, dt: float) -> tuple[Array, Array, float]:
    """Return the traces as (offsets, samples), the offsets and dt, all checked."""
    d = validation.numeric(traces, "traces")
    if d.dtype.kind == "c":
        raise TypeError("traces is complex, but real data are needed")
    if d.ndim != 2 or d.size == 0:
        raise ValueError(f"traces has shape {d.shape}, but a gather of shape (offsets, samples) is needed")
    validation.finite(d, "traces")
    h = validation.numeric(offsets, "offsets")
    if h.dtype.kind == "c" or h.shape != (d.shape[0],):
        raise ValueError(
            f"offsets has shape {h.shape}, but one real number [m] for each of {d.shape[0]} traces is needed"
        )
    validation.finite(h, "offsets")
    return d, h, validation.positive(dt, "dt")


def _velocity_points(times: Any, velocities: Any) -> tuple[Array, Array]:
    t = np.atleast_1d(validation.numeric(times, "times"))
    v = np.atleast_1d(validation.numeric(velocities, "velocities"))
    validation.finite(t, "times")
    validation.finite(v, "velocities")
    if t.ndim != 1 or t.shape != v.shape or t.size == 0:
        raise ValueError(
            f"times has shape {t.shape} and velocities {v.shape}, but one velocity a time is needed"
        )
    if not (np.diff(t) > 0).all():
        raise ValueError("times does not increase; sort the points of the velocity function by time")
    if not (v > 0).all():
        raise ValueError(f"velocities contains {v.min()}, but each must be > 0")
    return t, v

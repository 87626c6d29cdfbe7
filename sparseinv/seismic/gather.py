"""What a file of seismic traces holds: samples, sampling interval, offsets and trace headers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sparseinv import validation

Array = np.ndarray[Any, Any]

# what a time coordinate may be measured in
_SECONDS = {
    "s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0,
    "ms": 1e-3, "msec": 1e-3, "millisecond": 1e-3, "milliseconds": 1e-3,
    "us": 1e-6, "microsecond": 1e-6, "microseconds": 1e-6,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Gather:
    """Hold traces that share one sampling interval.

    Attributes
    ----------
    traces : ndarray, shape (n_traces, n_samples)
        Samples; time runs along the last axis.
    dt : float
        Sampling interval [s].
    offsets : ndarray of shape (n_traces,), or None
        Source-receiver offset of each trace [m], as the file states it; None if it does not.
    headers : ndarray of uint8, shape (n_traces, 240), or None
        Trace headers, byte for byte as in the file; None where it has none (npy, npz).
    preamble : bytes
        What a SEG-Y file holds before its first trace: textual, binary and extended headers.

    Examples
    --------
    >>> import numpy as np
    >>> gather = Gather(np.zeros((3, 5)), 0.004, offsets=np.array([100.0, 200.0, 300.0]))
    >>> gather.with_traces(np.ones((3, 5))).offsets
    array([100., 200., 300.])
    """

    traces: Array
    dt: float
    offsets: Array | None = None
    headers: Array | None = None
    preamble: bytes = b""

    @property
    def t(self) -> Array:
        """Time of each sample [s], from 0."""
        return np.arange(self.traces.shape[1]) * self.dt

    def with_traces(self, traces: Any) -> Gather:
        """Return other samples in the same geometry: headers, offsets and dt are kept.

        Parameters
        ----------
        traces : array_like, shape (n_traces, n_samples)
            The shape of the traces that it replaces; single precision is kept.

        Raises
        ------
        ValueError
            The shape differs.
        """
        new = validation.numeric(traces, "traces")
        if new.shape != self.traces.shape:
            raise ValueError(f"traces has shape {new.shape}, but the gather has {self.traces.shape}")
        return replace(self, traces=new.astype(np.float32) if validation.is_single(traces) else new)

    def on_grid(self, spacing: float) -> tuple[Gather, Array]:
        """Return the gather with an empty trace at every offset of a regular grid where there is none.

        Parameters
        ----------
        spacing : float
            Distance of neighbouring offsets [m], > 0; from the smallest offset to the largest one.

        Returns
        -------
        gather : Gather
            Traces in the order of offsets; the header of a new one is that of its nearest neighbour, with its
            own offset.
        mask : ndarray of bool, shape (n_traces,)
            True for the traces that were there.

        Raises
        ------
        ValueError
            There are no offsets, one does not lie on the grid, or two fall on one point.

        Examples
        --------
        >>> import numpy as np
        >>> gather = Gather(np.ones((3, 5)), 0.004, offsets=np.array([0.0, 50.0, 150.0]))
        >>> full, mask = gather.on_grid(50.0)
        >>> full.offsets, mask
        (array([  0.,  50., 100., 150.]), array([ True,  True, False,  True]))
        """
        spacing = validation.positive(spacing, "spacing")
        if self.offsets is None:
            raise ValueError("the gather states no offsets, so that there is no grid of them")
        validation.finite(np.asarray(self.offsets), "offsets")
        steps = (self.offsets - self.offsets.min()) / spacing
        place = np.rint(steps).astype(np.int64)
        off = np.abs(steps - place) > 0.01
        if off.any():
            raise ValueError(
                f"offset {self.offsets[np.argmax(off)]:g} m lies on no multiple of spacing {spacing:g} m "
                f"from the smallest one, {self.offsets.min():g} m"
            )
        values, repeats = np.unique(place, return_counts=True)
        if (repeats > 1).any():
            twice = self.offsets.min() + spacing * values[np.argmax(repeats > 1)]
            raise ValueError(f"offset {twice:g} m occurs more than once")
        count = int(place.max()) + 1
        mask = np.zeros(count, dtype=bool)
        mask[place] = True
        traces = np.zeros((count, self.traces.shape[1]), dtype=self.traces.dtype)
        traces[place] = self.traces
        offsets = self.offsets.min() + spacing * np.arange(count)
        offsets[place] = self.offsets
        headers = None
        if self.headers is not None:
            order = np.argsort(place)
            nearest = np.rint(np.interp(np.arange(count), place[order], np.arange(order.size)))
            headers = self.headers[order[nearest.astype(np.intp)]]
        return replace(self, traces=traces, offsets=offsets, headers=headers), mask

    @classmethod
    def from_xarray(cls, array: Any) -> Gather:
        """Take traces, sampling interval and offsets from an xarray.DataArray.

        Parameters
        ----------
        array : xarray.DataArray
            Two dimensions, one of them named ``time``, ``t``, ``twt`` or ``z``, with an evenly spaced
            coordinate: in seconds, or in milliseconds or microseconds where its attribute ``units`` says
            so ("ms", "us"). A coordinate ``offset`` or ``offsets`` along the other dimension becomes
            offsets [m].

        Raises
        ------
        ValueError, TypeError
            This is no such array.
        """
        if not hasattr(array, "dims") or not hasattr(array, "coords"):
            raise TypeError(f"array is {type(array).__name__}, but an xarray.DataArray is needed")
        names = [name for name in array.dims if name in ("time", "t", "twt", "z")]
        if array.ndim != 2 or len(names) != 1:
            raise ValueError(
                f"array has dimensions {tuple(array.dims)}, but two are needed, one of them named time, t, "
                "twt or z"
            )
        (time,) = names
        if time not in array.coords or array.sizes[time] < 2:
            raise ValueError(f"array states no sampling interval: dimension {time!r} needs a coordinate")
        units = str(array.coords[time].attrs.get("units", "s"))
        if units not in _SECONDS:
            raise ValueError(
                f"coordinate {time!r} is in {units!r}, but one of {', '.join(map(repr, _SECONDS))} is needed"
            )
        stored = np.asarray(array.coords[time])
        if stored.dtype.kind not in "iuf":
            raise ValueError(f"coordinate {time!r} has dtype {stored.dtype}, but numbers are needed")
        t = stored.astype(float)
        steps = np.diff(t)
        mean = float(t[-1] - t[0]) / steps.size
        # times in single precision are rounded to parts of the last one, not of a step
        rounding = np.finfo(stored.dtype).eps * np.abs(t).max() if stored.dtype.kind == "f" else 0.0
        if not (steps > 0).all() or np.abs(steps - mean).max() > 1e-6 * mean + 2.0 * rounding:
            raise ValueError(f"coordinate {time!r} is not evenly spaced and increasing")
        other = next(name for name in array.dims if name != time)
        found = [name for name in ("offset", "offsets") if name in array.coords]
        offsets = np.asarray(array.coords[found[0]], dtype=float) if found else None
        if offsets is not None and offsets.shape != (array.sizes[other],):
            raise ValueError(f"coordinate {found[0]!r} does not run along dimension {other!r}")
        return cls(np.asarray(array.transpose(other, time)), mean * _SECONDS[units], offsets)

    def to_xarray(self) -> Any:
        """Return an xarray.DataArray with dimensions trace and time [s], and offset [m] where known."""
        import xarray

        coords: dict[str, Any] = {"time": ("time", self.t, {"units": "s"})}
        if self.offsets is not None:
            coords["offset"] = ("trace", self.offsets, {"units": "m"})
        return xarray.DataArray(self.traces, dims=("trace", "time"), coords=coords)

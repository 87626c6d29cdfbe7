"""Gathers from and to files: Seismic Unix (SU), npy and npz."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sparseinv import validation

Array = np.ndarray[Any, Any]

_HEADER = 240
# name, type and position of the fields read and written here; the others are skipped, or written as zero
_FIELDS = [
    ("tracl", ">i4", 0),
    ("tracr", ">i4", 4),
    ("trid", ">i2", 28),
    ("offset", ">i4", 36),
    ("ns", ">u2", 114),
    ("dt", ">u2", 116),
]


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
    """

    traces: Array
    dt: float
    offsets: Array | None = None

    @property
    def t(self) -> Array:
        """Time of each sample [s], from 0."""
        return np.arange(self.traces.shape[1]) * self.dt


def read_su(path: str | Path) -> Gather:
    """Read a Seismic Unix file.

    Parameters
    ----------
    path : str or Path
        Big-endian traces without a textual header: 240 bytes of trace header (number of samples at
        byte 114, interval in microseconds at 116, offset at 36), then float32 samples.

    Returns
    -------
    Gather
        Traces as native float32, dt [s], offsets [m].

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file is truncated, has traces of different lengths or intervals, states no interval, or
        is in another byte order or format.

    Examples
    --------
    >>> import numpy as np, tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "gather.su"
    >>> write_su(path, Gather(np.ones((2, 50), dtype=np.float32), 0.004, np.array([100, 200])))
    >>> gather = read_su(path)
    >>> gather.traces.shape, gather.dt, gather.offsets
    ((2, 50), 0.004, array([100., 200.]))
    """
    raw = Path(path).read_bytes()
    name = Path(path).name
    if len(raw) < _HEADER:
        raise ValueError(f"{name} has {len(raw)} bytes, fewer than one trace header of {_HEADER}")
    first = np.frombuffer(raw[:_HEADER], dtype=_trace(0))[0]
    ns, step = int(first["ns"]), int(first["dt"])
    size = _HEADER + 4 * ns
    if ns == 0 or size > len(raw):
        raise ValueError(
            f"{name} announces {ns} samples a trace at byte 114, but holds {len(raw)} bytes; it is "
            "truncated, or no big-endian SU file (SEG-Y files have a textual header and are read with segyio)"
        )
    if len(raw) % size:
        raise ValueError(
            f"{name} holds {len(raw)} bytes, not a multiple of the {size} bytes of a trace of {ns} samples; "
            f"it ends inside trace {len(raw) // size} (from 0) or has traces of different lengths"
        )
    data = np.frombuffer(raw, dtype=_trace(ns))
    for key, what in (("ns", "numbers of samples"), ("dt", "sampling intervals")):
        different = np.flatnonzero(data[key] != data[key][0])
        if different.size:
            k = int(different[0])
            raise ValueError(
                f"{name} has traces of different {what}: {data[key][0]} in trace 0, but {data[key][k]} in "
                f"trace {k}"
            )
    if step == 0:
        raise ValueError(f"{name} states no sampling interval (0 microseconds at byte 116)")
    return Gather(data["samples"].astype(np.float32), step / 1e6, data["offset"].astype(np.float64))


def write_su(path: str | Path, gather: Gather) -> None:
    """Write a Seismic Unix file that `read_su` and Seismic Unix read.

    Parameters
    ----------
    path : str or Path
        File to write; an existing one is replaced.
    gather : Gather
        Real traces of at most 65535 samples, stored as float32; dt a whole number of microseconds up
        to 65535; offsets whole metres, or None for zeros.

    Raises
    ------
    ValueError, TypeError
        The format cannot hold the gather; nothing is written.

    Notes
    -----
    Seismic Unix itself reads the number of samples and the interval as unsigned 16-bit numbers;
    some programs take them as signed and stop at 32767.

    Examples
    --------
    >>> import numpy as np
    >>> write_su("gather.su", Gather(np.zeros((2, 50)), 1 / 300))
    Traceback (most recent call last):
    ValueError: dt is 0.00333333 s, but SU stores whole microseconds from 1 to 65535; resample the traces
    """
    traces = validation.numeric(gather.traces, "traces")
    if traces.dtype.kind == "c":
        raise TypeError("traces is complex, but SU stores real samples; write real and imaginary parts apart")
    if traces.ndim != 2 or not 0 < traces.shape[1] <= 65535 or traces.shape[0] == 0:
        raise ValueError(f"traces has shape {traces.shape}, but (n_traces, 1 to 65535 samples) is needed")
    if np.abs(traces).max() > np.finfo(np.float32).max:
        raise ValueError("traces exceeds the range of float32, in which SU stores samples; scale it")
    step = validation.positive(gather.dt, "dt") * 1e6
    if abs(step - round(step)) > 1e-6 * step or not 1 <= round(step) <= 65535:
        raise ValueError(
            f"dt is {gather.dt:g} s, but SU stores whole microseconds from 1 to 65535; resample the traces"
        )
    n = traces.shape[0]
    offsets = validation.numeric(np.zeros(n) if gather.offsets is None else gather.offsets, "offsets")
    if offsets.shape != (n,):
        raise ValueError(f"offsets has shape {offsets.shape}, but there are {n} traces")
    if not (np.rint(offsets) == offsets).all() or np.abs(offsets).max() >= 2**31:
        raise ValueError("offsets must be whole metres, as SU stores them; pass numpy.rint(offsets) to round")
    data = np.zeros(n, dtype=_trace(traces.shape[1]))
    data["tracl"] = data["tracr"] = np.arange(1, n + 1)
    data["trid"], data["ns"], data["dt"] = 1, traces.shape[1], round(step)
    data["offset"], data["samples"] = offsets, traces
    Path(path).write_bytes(data.tobytes())


def load_gather(path: str | Path, *, dt: float | None = None, key: str | None = None) -> Gather:
    """Read a gather from a .su, .npy or .npz file.

    Parameters
    ----------
    path : str or Path
        The ending decides. An npz file may hold ``dt`` [s] and ``offsets`` [m] beside the traces.
    dt : float, optional
        Sampling interval [s]; needed where the file does not state one, and overrides it otherwise.
    key : str, optional
        Name of the traces in an npz file; by default ``traces``, or the only array in it.

    Returns
    -------
    Gather
        Traces (a single trace becomes one row), dt and offsets.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError, TypeError
        Unknown ending, no sampling interval, or contents that are no gather.

    Examples
    --------
    >>> import numpy as np, tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "gather.npz"
    >>> np.savez(path, traces=np.zeros((3, 10)), dt=0.002)
    >>> load_gather(path).traces.shape, load_gather(path).dt
    ((3, 10), 0.002)
    """
    path = Path(path)
    ending = path.suffix.lower()
    offsets: Array | None = None
    if ending == ".su":
        gather = read_su(path)
        return gather if dt is None else Gather(gather.traces, validation.positive(dt, "dt"), gather.offsets)
    if ending == ".npy":
        traces = np.load(path, allow_pickle=False)
    elif ending == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            traces = archive[_traces_key(archive.files, key, path.name)]
            if dt is None and "dt" in archive.files:
                dt = float(archive["dt"])
            offsets = archive["offsets"] if "offsets" in archive.files else None
    else:
        raise ValueError(f"{path.name} ends with {ending!r}, but .su, .npy or .npz is needed")
    if dt is None:
        raise ValueError(f"{path.name} states no sampling interval; pass dt= in seconds")
    if traces.dtype.kind not in "iufc" or traces.ndim not in (1, 2):
        raise ValueError(
            f"{path.name} holds an array of shape {traces.shape} and dtype {traces.dtype}, but numbers of "
            "shape (n_traces, n_samples) are needed"
        )
    traces = np.atleast_2d(traces)
    if offsets is not None and offsets.shape != (traces.shape[0],):
        raise ValueError(f"{path.name} holds {offsets.size} offsets for {traces.shape[0]} traces")
    return Gather(traces, validation.positive(dt, "dt"), offsets)


def _trace(ns: int) -> np.dtype[Any]:
    """Describe one trace of ns samples on disk."""
    fields: list[tuple[str, Any, int]] = [*_FIELDS, ("samples", (">f4", (ns,)), _HEADER)]
    names, formats, offsets = (list(column) for column in zip(*fields, strict=True))
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": _HEADER + 4 * ns})


def _traces_key(names: list[str], key: str | None, file: str) -> str:
    if key is not None:
        if key not in names:
            raise ValueError(f"{file} has no array {key!r}; it holds {', '.join(names)}")
        return key
    if "traces" in names:
        return "traces"
    arrays = [name for name in names if name not in ("dt", "offsets")]
    if len(arrays) != 1:
        raise ValueError(f"{file} holds {', '.join(names)}; pass key= to name the traces")
    return arrays[0]

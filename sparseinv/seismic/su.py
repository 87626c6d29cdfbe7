"""Seismic Unix (SU) files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sparseinv import validation
from sparseinv.seismic.gather import Gather
from sparseinv.seismic.trace_headers import HEADER, fields_of, trace_headers, traces_on_disk
from sparseinv.seismic.trace_offsets import read_offsets
from sparseinv.seismic.whole_file import whole_file


def read_su(path: str | Path, *, dt: float | None = None) -> Gather:
    """Read a Seismic Unix file.

    Parameters
    ----------
    path : str or Path
        Big-endian traces without a textual header: 240 bytes of trace header (number of samples at
        byte 114, interval in microseconds at 116, offset at 36), then float32 samples.
    dt : float, optional
        Sampling interval [s]; needed where the file states none, and overrides it otherwise.

    Returns
    -------
    Gather
        Traces as native float32, dt [s], offsets [m], and the trace headers byte for byte. Offsets are whole
        metres, or the distance of source and receiver where their coordinates (with the scalar in bytes
        71-72) lie along x and tell it more finely.

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
    if len(raw) < HEADER:
        raise ValueError(f"{name} has {len(raw)} bytes, fewer than one trace header of {HEADER}")
    ns = int.from_bytes(raw[114:116], "big")
    size = HEADER + 4 * ns
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
    data = np.frombuffer(raw, dtype=traces_on_disk(ns))
    headers = data["header"].copy()
    fields = fields_of(headers)
    stated = [("ns", "numbers of samples")] + [("dt", "sampling intervals")] * (dt is None)
    for key, what in stated:
        different = np.flatnonzero(fields[key] != fields[key][0])
        if different.size:
            k = int(different[0])
            raise ValueError(
                f"{name} has traces of different {what}: {fields[key][0]} in trace 0, but "
                f"{fields[key][k]} in trace {k}"
            )
    if dt is None and fields["dt"][0] == 0:
        raise ValueError(
            f"{name} states no sampling interval (0 microseconds at byte 116); pass dt= in seconds"
        )
    return Gather(
        data["samples"].astype(np.float32),
        int(fields["dt"][0]) / 1e6 if dt is None else validation.positive(dt, "dt"),
        read_offsets(headers),
        headers,
    )


def write_su(path: str | Path, gather: Gather) -> None:
    """Write a Seismic Unix file that `read_su` and Seismic Unix read.

    Parameters
    ----------
    path : str or Path
        File to write; an existing one is replaced.
    gather : Gather
        Real traces of at most 65535 samples, stored as float32; dt a whole number of microseconds up
        to 65535; offsets multiples of 0.0001 m, or None to leave them as in the headers (zero where there
        are none). Trace headers that the gather carries are kept byte for byte but for the number of
        samples, the interval and the offset, which follow the gather. The field of the offset holds whole
        metres; for a fraction the x of the receiver is put at that distance from the source, with the
        scalar -10 to -10000 of coordinates that it needs.

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
    headers = trace_headers(gather, "SU")
    data = np.zeros(headers.shape[0], dtype=traces_on_disk(gather.traces.shape[1]))
    data["header"], data["samples"] = headers, gather.traces
    with whole_file(path) as place:
        place.write_bytes(data.tobytes())

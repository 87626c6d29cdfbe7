"""SEG-Y files, through the package segyio; headers travel byte for byte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.seismic.gather import Gather
from sparseinv.seismic.trace_headers import HEADER, fields_of, trace_headers
from sparseinv.seismic.trace_offsets import read_offsets
from sparseinv.seismic.whole_file import whole_file

Array = np.ndarray[Any, Any]

_TEXT, _BINARY = 3200, 400
# sample formats that are read: code in the binary header, bytes a sample, name
_FORMATS = {
    1: (4, "IBM float"), 2: (4, "32-bit integer"), 3: (2, "16-bit integer"), 5: (4, "IEEE float"),
    8: (1, "8-bit integer"),
}  # fmt: skip
# positions of big-endian 16-bit words before the first trace
_DT, _NS, _FORMAT, _EXTENDED = 3216, 3220, 3224, 3504
# in revision 2: number of samples in four bytes, and the revision itself
_LONG, _REVISION = 3268, 3500


def read_segy(path: str | Path, *, dt: float | None = None) -> Gather:
    """Read a SEG-Y file as one gather, in the order of its traces.

    Parameters
    ----------
    path : str or Path
        Revision 0 to 1, big-endian; samples as IBM or IEEE float32, or as integers of 8, 16 or 32 bits.
        No geometry is assumed: inline and crossline numbers are neither needed nor looked at.
    dt : float, optional
        Sampling interval [s]; needed where the file states none, and overrides it otherwise.

    Returns
    -------
    Gather
        Traces as float32, dt [s], offsets [m], trace headers and what precedes them byte for byte. Offsets
        are whole metres, or the distance of source and receiver where their coordinates (with the scalar in
        bytes 71-72) lie along x and tell it more finely.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ImportError
        The package segyio is missing.
    ValueError
        The file is truncated, has no traces or no samples, another sample format or byte order, traces
        of different lengths, or no sampling interval.

    Notes
    -----
    Storage: the file twice, once as bytes of headers and once as samples.

    Examples
    --------
    >>> import numpy as np, tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "gather.sgy"
    >>> write_segy(path, Gather(np.ones((2, 50), dtype=np.float32), 0.004, np.array([100, 200])))
    >>> gather = read_segy(path)
    >>> gather.traces.shape, gather.dt, gather.offsets
    ((2, 50), 0.004, array([100., 200.]))
    """
    path = Path(path)
    preamble, ns = _preamble(path)
    segyio = _segyio()
    with segyio.open(str(path), ignore_geometry=True) as file:
        headers = np.frombuffer(
            b"".join(bytes(header.buf) for header in file.header), dtype=np.uint8
        ).reshape(-1, HEADER).copy()  # fmt: skip
        traces = np.array(file.trace.raw[:], dtype=np.float32)
    fields = fields_of(headers)
    stated = fields["ns"]
    different = np.flatnonzero((stated != 0) & (stated != ns % 65536))
    if different.size:
        k = int(different[0])
        raise ValueError(
            f"{path.name} has traces of different lengths: trace {k} (from 0) states {stated[k]} samples, "
            f"the file {ns}"
        )
    if not np.isfinite(traces).all():
        k = int(np.flatnonzero(~np.isfinite(traces).all(axis=1))[0])
        raise ValueError(f"{path.name} has samples that are not finite in trace {k} (from 0)")
    step = _interval(path.name, preamble, fields, dt)
    return Gather(traces, step, read_offsets(headers), headers, preamble)


def write_segy(path: str | Path, gather: Gather) -> None:
    """Write a SEG-Y file: the headers the gather carries, and its traces.

    Parameters
    ----------
    path : str or Path
        File to write; an existing one is replaced, once the new one is complete.
    gather : Gather
        As for `write_su`. What preceded the traces in the file that it was read from is kept byte for
        byte but for the number of samples and the interval; samples are written in the format of that
        file if it was a float, as IEEE float32 (with the format code changed) if it was an integer.
        Without it a textual header is written that says so.

    Raises
    ------
    ValueError, TypeError
        The format cannot hold the gather; nothing is written.
    ImportError
        The package segyio is missing and the samples are to be IBM floats.

    Examples
    --------
    >>> import numpy as np
    >>> write_segy("gather.sgy", Gather(np.zeros((2, 50)), 1 / 300))
    Traceback (most recent call last):
    ValueError: dt is 0.00333333 s, but SEG-Y stores whole microseconds from 1 to 65535; resample the traces
    """
    headers = trace_headers(gather, "SEG-Y")
    traces = np.asarray(gather.traces, dtype=np.float32)
    preamble = bytearray(gather.preamble or _new_preamble())
    code = int.from_bytes(preamble[_FORMAT : _FORMAT + 2], "big")
    if code not in (1, 5):
        preamble[_FORMAT : _FORMAT + 2] = (5).to_bytes(2, "big")
    preamble[_NS : _NS + 2] = traces.shape[1].to_bytes(2, "big")
    preamble[_DT : _DT + 2] = round(gather.dt * 1e6).to_bytes(2, "big")
    rows = np.zeros(traces.shape[0], dtype=[("header", "u1", (HEADER,)), ("samples", ">f4", traces.shape[1])])
    rows["header"] = headers
    if code != 1:
        rows["samples"] = traces
    segyio = _segyio() if code == 1 else None
    with whole_file(path) as place:
        place.write_bytes(bytes(preamble) + rows.tobytes())
        if segyio is not None:
            with segyio.open(str(place), "r+", ignore_geometry=True) as file:
                file.trace.raw[:] = traces


def _preamble(path: Path) -> tuple[bytes, int]:
    """Return what precedes the traces and the number of samples, or say what is wrong with the file."""
    size, name = path.stat().st_size, path.name
    if size < _TEXT + _BINARY:
        raise ValueError(
            f"{name} has {size} bytes, fewer than the {_TEXT + _BINARY} of the SEG-Y file headers"
        )
    with path.open("rb") as file:
        head = file.read(_TEXT + _BINARY)
        extended = int.from_bytes(head[_EXTENDED : _EXTENDED + 2], "big", signed=True)
        if extended < 0:
            raise ValueError(f"{name} announces a variable number of extended textual headers: not supported")
        preamble = head + file.read(_TEXT * extended)
    code, ns = (int.from_bytes(head[at : at + 2], "big") for at in (_FORMAT, _NS))
    if code not in _FORMATS:
        swapped = int.from_bytes(head[_FORMAT : _FORMAT + 2], "little")
        known = ", ".join(f"{key} ({text})" for key, (_, text) in _FORMATS.items())
        hint = "; the file seems to be little-endian" if swapped in _FORMATS else ""
        raise ValueError(f"{name} has sample format {code}, but one of {known} is needed{hint}")
    long = int.from_bytes(head[_LONG : _LONG + 4], "big")
    if head[_REVISION] >= 2 and long not in (0, ns):
        raise ValueError(
            f"{name} is of revision {head[_REVISION]} with {long} samples a trace; at most 65535 are read"
        )
    if ns == 0:
        raise ValueError(f"{name} announces 0 samples a trace in its binary header (byte 3221)")
    trace = HEADER + ns * _FORMATS[code][0]
    rest = size - len(preamble)
    if rest <= 0 or len(preamble) < _TEXT * (1 + extended) + _BINARY:
        raise ValueError(f"{name} holds no traces: {size} bytes, of which {len(preamble)} are file headers")
    if rest % trace:
        raise ValueError(
            f"{name} is truncated or has traces of different lengths: {rest} bytes follow its headers, no "
            f"multiple of the {trace} bytes of a trace of {ns} samples in format {code} "
            f"({_FORMATS[code][1]}); it ends inside trace {rest // trace} (from 0)"
        )
    return preamble, ns


def _interval(name: str, preamble: bytes, fields: Array, dt: float | None) -> float:
    if dt is not None:
        return validation.positive(dt, "dt")
    steps = fields["dt"][fields["dt"] != 0]
    if steps.size and (steps != steps[0]).any():
        raise ValueError(
            f"{name} has traces of different sampling intervals: {steps.min()} to {steps.max()} microseconds"
        )
    step = int(steps[0]) if steps.size else int.from_bytes(preamble[_DT : _DT + 2], "big")
    if step == 0:
        raise ValueError(f"{name} states no sampling interval; pass dt= in seconds")
    return step / 1e6


def _new_preamble() -> bytes:
    """Return file headers for a gather that came without: EBCDIC text and a binary header."""
    lines = ["SEG-Y REVISION 1, IEEE FLOAT32, WRITTEN BY SPARSEINV"] + [""] * 37 + ["SEG Y REV1"]
    lines.append("END TEXTUAL HEADER")
    text = "".join(f"C{number:2d} {line}".ljust(80) for number, line in enumerate(lines, start=1))
    binary = bytearray(_BINARY)
    for at, value in ((_FORMAT, 5), (3500, 256), (3502, 1)):
        binary[at - _TEXT : at - _TEXT + 2] = value.to_bytes(2, "big")
    return text.encode("cp037") + bytes(binary)


def _segyio() -> Any:
    try:
        import segyio
    except ImportError:
        raise ImportError(
            'SEG-Y files need the package segyio: python -m pip install "sparseinv[seismic]"'
        ) from None
    return segyio

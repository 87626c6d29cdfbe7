"""Trace headers of 240 bytes, the same in SU and SEG-Y: the fields read and written, and their checks."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.seismic.gather import Gather
from sparseinv.seismic.trace_offsets import write_offsets

Array = np.ndarray[Any, Any]

#: bytes of a trace header
HEADER = 240

# name, type and position of the fields read and written here; the other bytes are kept as they are
_FIELDS = [
    ("tracl", ">i4", 0),
    ("tracr", ">i4", 4),
    ("trid", ">i2", 28),
    ("ns", ">u2", 114),
    ("dt", ">u2", 116),
]


def traces_on_disk(ns: int) -> np.dtype[Any]:
    """Describe a trace of ns big-endian float32 samples behind its header."""
    return np.dtype([("header", "u1", (HEADER,)), ("samples", ">f4", (ns,))])


def fields_of(headers: Array) -> Array:
    """Return the known fields of headers, shape (n_traces, 240) of uint8, as a view with names."""
    names, formats, offsets = (list(column) for column in zip(*_FIELDS, strict=True))
    kind = np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": HEADER})
    return headers.view(kind)[:, 0]


def trace_headers(gather: Gather, name: str) -> Array:
    """Check a gather against what SU and SEG-Y can hold and return the headers to write.

    Headers that the gather carries are kept but for the number of samples, the interval and, where the
    gather states others, the offsets (see `write_offsets`); without any, traces are numbered from 1.
    """
    traces = validation.numeric(gather.traces, "traces")
    if traces.dtype.kind == "c":
        raise TypeError(
            f"traces is complex, but {name} stores real samples; write real and imaginary parts apart"
        )
    if traces.ndim != 2 or not 0 < traces.shape[1] <= 65535 or traces.shape[0] == 0:
        raise ValueError(f"traces has shape {traces.shape}, but (n_traces, 1 to 65535 samples) is needed")
    if validation.finite(traces, "traces") > float(np.finfo(np.float32).max):
        raise ValueError(f"traces exceeds the range of float32, in which {name} stores samples; scale it")
    step = validation.positive(gather.dt, "dt") * 1e6
    if abs(step - round(step)) > 1e-6 * step or not 1 <= round(step) <= 65535:
        raise ValueError(
            f"dt is {gather.dt:g} s, but {name} stores whole microseconds from 1 to 65535; resample the "
            "traces"
        )
    n = traces.shape[0]
    headers = np.zeros((n, HEADER), dtype=np.uint8) if gather.headers is None else gather.headers.copy()
    if headers.shape != (n, HEADER) or headers.dtype != np.uint8:
        raise ValueError(f"headers has shape {headers.shape}, but {n} traces need ({n}, {HEADER}) of uint8")
    fields = fields_of(headers)
    if gather.headers is None:
        fields["tracl"] = fields["tracr"] = np.arange(1, n + 1)
        fields["trid"] = 1
    fields["ns"], fields["dt"] = traces.shape[1], round(step)
    if gather.offsets is not None:
        offsets = validation.numeric(gather.offsets, "offsets")
        if offsets.shape != (n,):
            raise ValueError(f"offsets has shape {offsets.shape}, but there are {n} traces")
        validation.finite(offsets, "offsets")
        if offsets.dtype.kind == "c":
            raise TypeError("offsets is complex, but real numbers [m] are needed")
        write_offsets(headers, offsets.astype(np.float64), name)
    return headers

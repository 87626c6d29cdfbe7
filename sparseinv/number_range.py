"""What floating point makes of an answer: is it finite, within the range there is, in single precision."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sparseinv.operators.matrix import squared

Array = np.ndarray[Any, Any]


def within_range(x: Array) -> Array:
    """Return x with infinite parts at the largest number there is."""
    largest = float(np.finfo(np.float64).max)
    parts = [np.clip(part, -largest, largest) for part in ((x.real, x.imag) if x.dtype.kind == "c" else (x,))]
    return np.asarray(parts[0] + 1j * parts[1] if len(parts) > 1 else parts[0])


def is_finite(x: Array) -> bool:
    """Tell whether all entries are finite, in most cases by one sum of squares."""
    return math.isfinite(squared(x)) or bool(np.isfinite(x).all())


def in_single_precision(x: Array, inward: bool = False) -> Array:
    """Return x in single precision, towards zero if inward, or as it is where that cannot hold its size."""
    largest, limits = float(np.abs(x).max(initial=0.0)), np.finfo(np.float32)
    if largest > 0.0 and not float(limits.tiny) <= largest <= float(limits.max):
        return x
    out = x.astype(np.complex64 if x.dtype.kind == "c" else np.float32)
    if inward:
        for part, exact in ((out.real, x.real), (out.imag, x.imag)) if x.dtype.kind == "c" else ((out, x),):
            grown = np.abs(part.astype(np.float64)) > np.abs(exact)
            part[grown] = np.nextafter(part[grown], np.float32(0.0))
    return out

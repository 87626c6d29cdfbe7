"""Traces as slices of one temporal frequency each, which methods of trace interpolation treat one by one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.result import Result

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class SliceInterpolation:
    """Hold traces interpolated one temporal frequency after the other.

    Attributes
    ----------
    estimate : ndarray, shape (..., n_samples)
        Interpolated traces.
    frequencies : ndarray, shape (n_slices,)
        Temporal frequencies that were solved for [Hz].
    coefficients : ndarray, shape (n_slices, ...)
        Coefficients over wavenumber of each slice.
    results : tuple of tuple of Result
        Of each slice, every problem that was solved, the last one last.
    rule : str
        How levels were chosen, in words.
    seconds : float
        Wall time.
    """

    estimate: Array
    frequencies: Array
    coefficients: Array
    results: tuple[tuple[Result, ...], ...]
    rule: str
    seconds: float

    @property
    def success(self) -> bool:
        """Whether the last problem of every slice is certified to its tolerance.

        Greedy answers (`antileakage`) end where the residual is small enough and seldom are a success in this
        sense; their certificates say what an exchange would gain.
        """
        return all(each[-1].success for each in self.results)

    @property
    def lam(self) -> Array:
        """Level of the last problem of each slice, shape (n_slices,); NaN where there is none (greedy)."""
        return np.array([np.nan if each[-1].lam is None else np.max(each[-1].lam) for each in self.results])

    @property
    def products(self) -> int:
        """Products with the maps of all slices and their adjoints."""
        return sum(result.products.total for each in self.results for result in each)

    @property
    def worst(self) -> Result | None:
        """The last result of the slice whose certificate is worst; None if there is no slice."""
        last = [each[-1] for each in self.results]
        return max(last, key=lambda result: result.certificate.relative, default=None)

    def __repr__(self) -> str:
        statuses = sorted({each[-1].status.name for each in self.results})
        worst = "-" if self.worst is None else f"{self.worst.certificate}"
        return (
            f"{len(self.results)} slices: {', '.join(statuses)}, worst certificate {worst}, "
            f"{self.products} products, {self.seconds:.3g} s"
        )


def forward(traces: Array, dt: float, band: Sequence[float] | None) -> tuple[Array, Array, Array]:
    """Return (spectra along the last axis, frequencies [Hz], index of those inside the band)."""
    from scipy.fft import rfft, rfftfreq

    step = validation.positive(dt, "dt")
    frequencies = np.asarray(rfftfreq(traces.shape[-1], step))
    low, high = 0.0, math.inf
    if band is not None:
        if np.size(band) != 2:
            raise ValueError(f"band is {band!r}, but two frequencies (low, high) [Hz] are needed")
        low, high = (validation.real_number(f, "an entry of band") for f in band)
    inside = np.flatnonzero((frequencies >= low) & (frequencies <= high))
    if inside.size == 0:
        raise ValueError(
            f"band is ({low:g}, {high:g}) Hz, but the data have frequencies from 0 to {frequencies[-1]:g} Hz"
        )
    return np.asarray(rfft(traces, axis=-1)), frequencies, inside


def inverse(slices: Array, inside: Array, n_samples: int) -> Array:
    """Return traces from slices (one a row) at some of the frequencies, zero at the others."""
    from scipy.fft import irfft

    spectra = np.zeros((*slices.shape[1:], n_samples // 2 + 1), dtype=slices.dtype)
    spectra[..., inside] = np.moveaxis(slices, 0, -1)
    return np.asarray(irfft(spectra, n_samples, axis=-1))


def real_traces(traces: Any, name: str) -> Array:
    """Return traces as a real array with at least two axes, time last."""
    array = validation.numeric(traces, name)
    if array.dtype.kind == "c":
        raise TypeError(f"{name} is complex, but real traces are needed")
    if array.ndim < 2 or 0 in array.shape:
        raise ValueError(f"{name} has shape {array.shape}, but (..., n_samples) with some traces is needed")
    return array

"""A sum of tones with any frequencies: its derivatives, its least squares, and what one more would bring."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparseinv.operators.base import Operator
from sparseinv.operators.nufft import NUFFT

Array = np.ndarray[Any, Any]

_STEPS = 60  # Levenberg-Marquardt steps of one refinement
_SETTLED = 1e-7  # movement of a frequency, in cells, that ends it
_DENSE = 2_000_000  # entries of the dictionary up to which it is held in memory
_OWN_SHARE = 0.05  # of a new tone's energy that the tones at hand must leave


@dataclass(frozen=True, eq=False)
class Samples:
    """Hold the data: times from the middle of the interval, values, and what the tones are.

    Attributes
    ----------
    t : ndarray, shape (m,)
        Times from ``middle`` [s].
    y : ndarray, shape (m,)
        Values; complex data are a sum of a_k exp(2 pi i f_k t), real data of its real parts.
    real : bool
        Which of the two.
    middle : float
        Time that t is counted from, so that frequencies and phases are nearly independent [s].
    low, high : float
        Band in which frequencies lie [Hz].
    """

    t: Array
    y: Array
    real: bool
    middle: float
    low: float
    high: float

    @property
    def span(self) -> float:
        """Length of the interval that the samples cover [s]; 1/span is a cell of frequency."""
        return float(np.ptp(self.t))

    @property
    def numbers(self) -> int:
        """Real numbers that the data hold."""
        return self.t.size * (1 if self.real else 2)

    def stacked(self, values: Array) -> Array:
        """Return columns as real vectors: real parts, above imaginary parts unless the data are real."""
        return values.real if self.real else np.concatenate((values.real, values.imag))


@dataclass(frozen=True, eq=False)
class Fit:
    """Hold tones with their amplitudes refitted.

    Attributes
    ----------
    f : ndarray, shape (K,)
        Frequencies [Hz].
    a : ndarray, shape (K,)
        Complex amplitudes at ``Samples.middle``.
    r : ndarray, shape (m,)
        Data less model.
    rss : float
        ||r||^2.
    """

    f: Array
    a: Array
    r: Array
    rss: float


def fit_amplitudes(data: Samples, f: Array) -> Fit:
    """Return the least-squares amplitudes of tones at given frequencies."""
    waves = np.exp(2j * math.pi * np.outer(data.t, f))
    if f.size == 0:
        return Fit(f, np.zeros(0, dtype=complex), data.y.copy(), squared(data.y))
    if data.real:
        pair, *_ = np.linalg.lstsq(np.hstack((waves.real, -waves.imag)), data.y, rcond=1e-10)
        a = pair[: f.size] + 1j * pair[f.size :]
    else:
        a, *_ = np.linalg.lstsq(waves, data.y, rcond=1e-10)
    image = waves @ a
    r = data.y - (image.real if data.real else image)
    return Fit(f, a, r, squared(r))


def squared(r: Array) -> float:
    """Return ||r||^2."""
    return float(np.vdot(r, r).real)


def derivatives(data: Samples, fit: Fit, t: Array | None = None) -> Array:
    """Return the derivatives of the model by (f, Re a, Im a), as real columns; shape (numbers, 3 K)."""
    t = data.t if t is None else t
    waves = np.exp(2j * math.pi * np.outer(t, fit.f))
    slopes = 2j * math.pi * t[:, None] * waves * fit.a
    return data.stacked(np.hstack((slopes, waves, 1j * waves)))


def refine(data: Samples, f: Array) -> Fit:
    """Return the tones at a minimum of the misfit near frequencies f, all of them moving together.

    Levenberg-Marquardt on (f, Re a, Im a) with the damping in proportion to the squared columns of the
    Jacobian; amplitudes are refitted at every point, so that the search is over frequencies alone.
    """
    fit = fit_amplitudes(data, f)
    damping, K = 1e-3, f.size
    for _ in range(_STEPS if K else 0):
        J = derivatives(data, fit)
        scale = np.linalg.norm(J, axis=0)
        scale[scale == 0.0] = 1.0
        J /= scale
        gram, slope = J.T @ J, J.T @ data.stacked(fit.r)
        moved = math.inf
        while damping < 1e8:
            system = gram + damping * np.eye(3 * K)
            step = np.linalg.solve(system, slope)[:K] / scale[:K]
            step = np.clip(step, -0.5 / data.span, 0.5 / data.span)
            trial = fit_amplitudes(data, np.clip(fit.f + step, data.low, data.high))
            if trial.rss <= fit.rss:
                moved = float(np.abs(trial.f - fit.f).max()) * data.span
                fit, damping = trial, max(0.1 * damping, 1e-12)
                break
            damping *= 10.0
        if moved <= _SETTLED or moved == math.inf:
            break
    return fit


class Spectrum:
    """Products of the data with waves on a fine grid of frequencies.

    Parameters
    ----------
    data : Samples
        Times and band.
    oversampling : float
        Grid points for each cell 1/span.
    """

    def __init__(self, data: Samples, oversampling: float) -> None:
        self.data = data
        step = 1.0 / (oversampling * data.span)
        count = max(math.ceil((data.high - data.low) / step - 1e-9) + 1, 2)
        self._waves = Waves(data.t, 0.5 * (data.low + data.high), step, count)
        #: frequencies of the grid [Hz]; the outermost may lie half a step outside the band
        self.grid = self._waves.grid
        self._dense = self._waves.columns(np.arange(count)) if data.t.size * count <= _DENSE else None
        if data.real:
            doubled = Waves(2.0 * data.t, 0.5 * (data.low + data.high), step, count)
            z = doubled.rmatvec(np.ones(data.t.size)).conj()
            self._gram = 0.5 * (data.t.size + z.real), 0.5 * (data.t.size - z.real), -0.5 * z.imag
        else:
            full = np.full(count, float(data.t.size))
            self._gram = full, full, np.zeros(count)

    @property
    def dictionary(self) -> Any:
        """The waves as columns, complex; for real data cosines, then negative sines."""
        if self._dense is None:
            return RealWaves(self._waves) if self.data.real else self._waves
        return (
            np.asfortranarray(np.hstack((self._dense.real, -self._dense.imag)))
            if self.data.real
            else self._dense
        )

    def _products(self, columns: Array) -> Array:
        """Return the inner products of all waves with each column."""
        if self._dense is None:
            return self._waves.rmatmat(columns)
        return (columns.conj().T @ self._dense).conj().T

    def gains(self, fit: Fit) -> Array:
        """Return by how much a tone at each grid frequency would lower ||r||^2, all others refitted.

        The tones at hand are linearised, so that their frequencies are refitted as well.
        """
        data, m = self.data, self.data.t.size
        first, second, mixed = (part.copy() for part in self._gram)
        p = self._products(fit.r[:, None].astype(complex))[:, 0]
        if fit.f.size:
            basis = _orthonormal(derivatives(data, fit))
            columns = basis.astype(complex) if data.real else basis[:m] + 1j * basis[m:]
            seen = self._products(columns)
            first -= (seen.real**2).sum(axis=1)
            second -= (seen.imag**2).sum(axis=1)
            mixed -= (seen.real * seen.imag).sum(axis=1)
        least = 0.5 * (first + second) - np.hypot(0.5 * (first - second), mixed)
        usable = least > _OWN_SHARE * m * (0.5 if data.real else 1.0)
        determinant = np.where(usable, first * second - mixed**2, 1.0)
        energy = second * p.real**2 - 2.0 * mixed * p.real * p.imag + first * p.imag**2
        return np.where(usable, energy / determinant, 0.0)


class Waves(Operator):
    """Sum waves on a grid of frequencies: y_i = sum_k x_k exp(2 pi i f_k t_i).

    Parameters
    ----------
    t : ndarray, shape (m,)
        Times [s].
    middle, step : float
        Middle of the grid and distance of its frequencies [Hz].
    count : int
        Number of frequencies, in the order of numpy.fft.fftfreq from the middle.
    """

    closed_columns = True

    def __init__(self, t: Array, middle: float, step: float, count: int) -> None:
        super().__init__((t.size, count), np.complex128)
        self._t, self._scale = t, math.sqrt(count)
        self._transform = NUFFT(t * step, count)
        self.grid = middle + step * self._transform.wavenumbers[0]
        self._turn = np.exp(2j * math.pi * middle * t)[:, None]

    def _matvec(self, x: Array) -> Array:
        return self.matmat(x[:, None])[:, 0]

    def _rmatvec(self, y: Array) -> Array:
        return self.rmatmat(y[:, None])[:, 0]

    def matmat(self, X: Array) -> Array:
        """Return the sums for each column of coefficients."""
        return self._scale * self._turn * self._transform.matmat(X)

    def rmatmat(self, Y: Array) -> Array:
        """Return the inner products of the waves with each column."""
        return self._scale * self._transform.rmatmat(self._turn.conj() * Y)

    def columns(self, index: Array) -> Array:
        """Return waves, all of norm sqrt(m)."""
        return np.asfortranarray(np.exp(2j * math.pi * np.outer(self._t, self.grid[index])))

    def column_norms(self) -> Array:
        """Return sqrt(m) for each column."""
        return np.full(self.shape[1], math.sqrt(self.shape[0]))


class RealWaves(Operator):
    """Sum cosines, and sines with the sign turned: y = Re W (p + i q) for x = (p, q)."""

    closed_columns = True

    def __init__(self, waves: Waves) -> None:
        super().__init__((waves.shape[0], 2 * waves.shape[1]))
        self._waves = waves

    def _matvec(self, x: Array) -> Array:
        n = self._waves.shape[1]
        if x.dtype.kind == "c":
            return self._matvec(x.real) + 1j * self._matvec(x.imag)
        return self._waves.matvec(x[:n] + 1j * x[n:]).real

    def _rmatvec(self, y: Array) -> Array:
        if y.dtype.kind == "c":
            return self._rmatvec(y.real) + 1j * self._rmatvec(y.imag)
        image = self._waves.rmatvec(y)
        return np.concatenate((image.real, image.imag))

    def columns(self, index: Array) -> Array:
        """Return cosines and negative sines."""
        n = self._waves.shape[1]
        index = np.asarray(index)
        waves = self._waves.columns(index % n)
        return np.asfortranarray(np.where(index < n, waves.real, -waves.imag))


def _orthonormal(J: Array) -> Array:
    """Return an orthonormal basis of the columns, directions within rounding of the others left out."""
    J = J / np.maximum(np.linalg.norm(J, axis=0), 1e-300)
    u, s, _ = np.linalg.svd(J, full_matrices=False)
    return u[:, s > 1e-8 * s[0]]

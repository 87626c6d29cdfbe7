"""What a phase transition is measured with: paired random instances, the staircase, the fit.

An instance is a function of (matrix, coefficients, n, delta, trial, seed): every solver meets the same A, and
x with k non-zeros is x with k - 1 and one more, so that solvers are compared on pairs.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import problems

Array = np.ndarray[Any, Any]
NMSE = 1e-4  # ||x - truth||^2 / ||truth||^2 below which the truth counts as recovered


# --- instances ------------------------------------------------------------------------------------------


def _gaussian(m: int, n: int, rng: np.random.Generator) -> Array:
    return rng.standard_normal((m, n)) / np.sqrt(m)


def _unit_columns(m: int, n: int, rng: np.random.Generator) -> Array:
    A = rng.standard_normal((m, n))
    return A / np.linalg.norm(A, axis=0)


def _partial_dct(m: int, n: int, rng: np.random.Generator) -> Array:
    rows = np.sort(rng.choice(n, m, replace=False))
    A = np.cos(np.pi * np.outer(rows, np.arange(n) + 0.5) / n) * np.sqrt(2 / m)
    A[rows == 0] /= np.sqrt(2)
    return A


def _autoregressive(m: int, n: int, rng: np.random.Generator, rho: float) -> Array:
    A = rng.standard_normal((m, n)) / np.sqrt(m)
    for j in range(1, n):
        A[:, j] = rho * A[:, j - 1] + np.sqrt(1 - rho**2) * A[:, j]
    return A


def _ricker(m: int, n: int, rng: np.random.Generator) -> Array:
    """Convolve with a Ricker wavelet (25 Hz, 4 ms) and keep m of the n samples."""
    wavelet = problems.ricker(dt=0.004, half=25)
    half = wavelet.size // 2
    rows = np.sort(rng.choice(n, m, replace=False))
    lag = rows[:, None] - np.arange(n)
    inside = np.abs(lag) <= half
    return np.where(inside, wavelet[np.where(inside, lag + half, 0)], 0.0)


MATRICES: dict[str, Callable[[int, int, np.random.Generator], Array]] = {
    "gaussian": _gaussian,
    "unit columns": _unit_columns,
    "partial DCT": _partial_dct,
    "AR(0.5)": lambda m, n, rng: _autoregressive(m, n, rng, 0.5),
    "AR(0.9)": lambda m, n, rng: _autoregressive(m, n, rng, 0.9),
    "Ricker": _ricker,
}
COEFS: dict[str, Callable[[int, np.random.Generator], Array]] = {
    "gauss": lambda n, rng: rng.standard_normal(n),
    "signs": lambda n, rng: rng.choice([-1.0, 1.0], n),
    "uniform": lambda n, rng: rng.uniform(-1.0, 1.0, n),
    "laplace": lambda n, rng: rng.laplace(size=n),
}


@dataclass(frozen=True)
class Cell:
    """Name what one staircase is run for, but for the solver."""

    n: int
    matrix: str
    coef: str
    delta: float

    @property
    def m(self) -> int:
        return max(round(self.delta * self.n), 1)

    def draw(self, k: int, trial: int, seed: int) -> tuple[Array, Array, Array]:
        """Return (A, b, truth), A in Fortran order and b = A truth, with k non-zeros."""
        words = f"{self.matrix}/{self.coef}".encode()
        rng = np.random.default_rng([seed, self.n, round(1e6 * self.delta), trial, zlib.crc32(words)])
        A = np.asfortranarray(MATRICES[self.matrix](self.m, self.n, rng))
        used = rng.permutation(self.n)[:k]
        truth = np.zeros(self.n)
        truth[used] = COEFS[self.coef](self.n, rng)[:k]
        return A, A @ truth, truth


def nmse(x: Array, truth: Array) -> float:
    """Return ||x - truth||^2 / ||truth||^2, inf where x is not finite."""
    error = float(np.sum(np.abs(x - truth) ** 2) / np.sum(np.abs(truth) ** 2))
    return error if np.isfinite(error) else float("inf")


# --- the staircase --------------------------------------------------------------------------------------


@dataclass
class Staircase:
    """Choose k for the next trial: up after a success, down after a failure, in steps halved at each turn."""

    m: int
    k: int
    step: int
    least: int = 1  # smallest step
    last: bool | None = field(default=None, init=False)

    def record(self, success: bool) -> None:
        """Take the outcome of the trial at k, and move."""
        if self.last is not None and success != self.last:
            self.step = max(self.step // 2, self.least)
        self.last = success
        self.k = min(max(self.k + (self.step if success else -self.step), 1), self.m)


def staircase(m: int, guess: float = 0.4) -> Staircase:
    """Start at rho = guess with steps of 1/8 in rho, which fall to 1/100."""
    return Staircase(m, min(max(round(guess * m), 1), m), max(m // 8, 1), max(round(m / 100), 1))


def climb(stairs: Staircase, trials: Sequence[int], succeeds: Callable[[int, int], bool]) -> None:
    """Run succeeds(k, trial) for every trial along the staircase."""
    for trial in trials:
        stairs.record(succeeds(stairs.k, trial))


# --- the fit --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fit:
    """Hold the logistic curve of success against rho: P = 1 / (1 + exp((rho - rho50) / width))."""

    rho50: float
    error: float  # standard deviation of rho50
    width: float
    trials: int

    def quantile(self, share: float) -> float:
        """Return the rho at which that share succeeds."""
        return float(np.clip(self.rho50 + self.width * np.log(1 / share - 1), 0, 1))


def fit(rhos: Sequence[float], successes: Sequence[bool]) -> Fit:
    """Fit P(success) by the mean of its posterior, which exists where successes and failures separate.

    rho50 is uniform on (0, 1) beforehand, log(width) on (0.002, 0.1).
    """
    if not len(rhos):
        raise ValueError("rhos is empty, but at least one trial is needed")
    levels = np.linspace(0.0, 1.0, 1001)
    widths = np.geomspace(0.002, 0.1, 25)
    log_likelihood = np.zeros((levels.size, widths.size))
    for rho, success in zip(rhos, successes, strict=True):
        score = (rho - levels[:, None]) / widths
        log_likelihood -= np.logaddexp(0.0, score if success else -score)
    weights = np.exp(log_likelihood - log_likelihood.max())
    weights /= weights.sum()
    by_level, by_width = weights.sum(axis=1), weights.sum(axis=0)
    middle = float(by_level @ levels)
    error = float(np.sqrt(by_level @ (levels - middle) ** 2))
    return Fit(middle, error, float(np.exp(by_width @ np.log(widths))), len(rhos))

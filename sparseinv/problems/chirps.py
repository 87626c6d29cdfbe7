"""T1: two chirps that cross, in one noisy trace: time-frequency maps of few and of many coefficients."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sparseinv.entry import solve as solve_problem
from sparseinv.operators.morlet import MorletBank
from sparseinv.penalties import L1, L2
from sparseinv.problems.catalogue import Case
from sparseinv.problems.report import Demo, Goal, Table
from sparseinv.seismic.time_frequency_map import TimeFrequency, time_frequency
from sparseinv.selection.discrepancy import Discrepancy
from sparseinv.selection.theory import lam_max

Array = np.ndarray[Any, Any]

_NOISE = 0.03  # norm of the noise over that of the chirps
_MISFIT = 0.045  # of the norm of the data
_ASKED = 0.05
_W0 = 12.0
_TAPER = 0.1  # of the trace, at each end
_NEAR = 2.0  # grid steps within which a coefficient belongs to a chirp
_SCORES = ("misfit", "ridge err [Hz]", "on ridges")


@dataclass(frozen=True)
class Size:
    """Hold what differs between the sizes."""

    samples: int
    dt: float  # [s]
    frequencies: tuple[float, float, int]  # first and last [Hz], and how many
    chirps: tuple[tuple[float, float], ...]  # frequency at the start and at the end [Hz]


_SIZES = {
    "s": Size(128, 0.004, (8.0, 83.0, 16), ((20.0, 70.0), (65.0, 25.0))),
    "m": Size(500, 0.002, (10.0, 128.0, 60), ((20.0, 105.0), (95.0, 30.0))),
    "l": Size(2000, 0.002, (10.0, 128.0, 120), ((20.0, 105.0), (95.0, 30.0))),
}


@dataclass(frozen=True, eq=False)
class Trace:
    """Hold a trace of chirps.

    Attributes
    ----------
    data, clean : ndarray, shape (n_samples,)
        With noise and without.
    t, frequencies : ndarray
        Samples [s] and the grid of frequencies [Hz].
    ridges : ndarray, shape (number of chirps, n_samples)
        Frequency of each chirp [Hz].
    sigma : float
        Standard deviation of the noise.
    """

    data: Array
    clean: Array
    t: Array
    frequencies: Array
    ridges: Array
    sigma: float

    @property
    def dt(self) -> float:
        """Sampling interval [s]."""
        return float(self.t[1])

    def distance(self, frequencies: Array, t: Array) -> Array:
        """Return how far each point of a map is from the nearest chirp [Hz]."""
        at = np.stack([np.interp(t, self.t, ridge) for ridge in self.ridges])
        return np.abs(frequencies[:, None] - at[:, None, :]).min(axis=0)

    def ridge_scores(self, values: Array, frequencies: Array, t: Array) -> tuple[float, float]:
        """Return the mean distance to the nearest chirp [Hz] and the share near one, weighted by energy."""
        energy = np.abs(values) ** 2
        if not energy.any():
            return math.nan, math.nan
        energy = energy / energy.sum()
        far = self.distance(frequencies, t)
        step = float(self.frequencies[1] - self.frequencies[0])
        return float((energy * far).sum()), float(energy[far <= _NEAR * step].sum())


def trace(size: str, seed: int) -> Trace:
    """Build the chirps, tapered at the ends of the trace, and the noise."""
    given, rng = _SIZES[size], np.random.default_rng(seed)
    t = np.arange(given.samples) * given.dt
    ridges = np.array([first + (last - first) * t / t[-1] for first, last in given.chirps])
    phases = 2.0 * np.pi * np.array([f * t + 0.5 * (g - f) * t**2 / t[-1] for f, g in given.chirps])
    amplitude = np.clip(np.minimum(t, t[-1] - t) / (_TAPER * t[-1]), 0.0, 1.0)
    clean = amplitude * np.cos(phases + rng.uniform(0.0, 2.0 * np.pi, (2, 1))).sum(axis=0)
    noise = rng.standard_normal(t.size)
    noise *= _NOISE * np.linalg.norm(clean) / np.linalg.norm(noise)
    sigma = _NOISE * float(np.linalg.norm(clean)) / np.sqrt(t.size)
    return Trace(clean + noise, clean, t, np.linspace(*given.frequencies), ridges, sigma)


def load(id: str, *, size: str, seed: int, data: Path | None) -> Case:
    """Return the problem; see `sparseinv.problems.load_problem`."""
    given = trace(size, seed)
    bank = MorletBank(given.t.size, given.dt, given.frequencies, _W0)
    lam = 0.02 * lam_max(bank, given.data, L1())

    def score(x: Array) -> dict[str, float]:
        far, near = given.ridge_scores(x.reshape(bank.dims), given.frequencies, given.t)
        return {_SCORES[0]: _misfit(given, bank.matvec(x)), _SCORES[1]: far, _SCORES[2]: near}

    rule = "2 % of the level at which x = 0"
    return Case(id, size, seed, bank, given.data, L1(lam), rule, given.sigma, score, None, bank.dims)


def run(id: str, *, size: str, seed: int, data: Path | None, echo: bool) -> Demo:
    """Compare the maps; see `sparseinv.problems.run_problem`."""
    given = trace(size, seed)
    bank = MorletBank(given.t.size, given.dt, given.frequencies, _W0)
    table = Table(
        f"two crossing chirps, {given.t.size} samples, {given.dt * 1e3:g} ms, {given.frequencies.size} "
        f"frequencies, {bank.shape[1]} complex coefficients, noise of {_NOISE:.0%} of the norm",
        _SCORES,
        echo,
    )
    f, t, short = _stft(given)
    maps = {"STFT": (f, t, short)}
    table.baseline("STFT", None, *given.ridge_scores(short, f, t))
    transform = bank.rmatvec(given.data).reshape(bank.dims)
    maps["Morlet transform"] = (given.frequencies, given.t, transform)
    table.baseline("Morlet transform", None, *given.ridge_scores(transform, given.frequencies, given.t))
    rule = Discrepancy(residual_norm=_MISFIT * float(np.linalg.norm(given.data)))
    ridge = solve_problem(bank, given.data, L2(), select=rule, tol=1e-4)
    spread = ridge.x.reshape(bank.dims)
    maps["L2"] = (given.frequencies, given.t, spread)
    table.solved(
        "L2", ridge, _misfit(given, bank.matvec(ridge.x)),
        *given.ridge_scores(spread, given.frequencies, given.t),
    )  # fmt: skip
    sparse = time_frequency(given.data, given.dt, given.frequencies, w0=_W0, misfit=_MISFIT)
    maps["L1"] = (given.frequencies, given.t, sparse.coefficients)
    scores = given.ridge_scores(sparse.coefficients, given.frequencies, given.t)
    table.solved("L1", sparse.result, sparse.misfit, *scores)
    table.note(
        f"Lambda of L1 and L2: a residual of {_MISFIT:g} of the norm of the data. Ridge error: distance of a "
        f"coefficient from the nearest chirp; on ridges: the share within {_NEAR:g} steps of the grid; both "
        "weighted by energy. The windowed and the Morlet transform are as wide as their wavelets, and L2 at "
        "the same misfit spreads as widely. L1 explains the trace by "
        f"{sparse.result.support.size} wavelets of {bank.shape[1]}; products are those on the whole bank."
    )
    step = float(given.frequencies[1] - given.frequencies[0])
    goals = (
        Goal("residual over the norm of the data, L1", sparse.misfit, _ASKED, at_least=False),
        Goal("ridge error of L1 over that of the Morlet transform",
             scores[0] / table.score("Morlet transform", _SCORES[1]), 0.5, at_least=False),
        Goal("ridge error of L1 in steps of the grid", scores[0] / step, 1.0, at_least=False),
    )  # fmt: skip
    return Demo(id, (table,), {"chirps": partial(_draw, given, maps, sparse, table)}, goals)


def _misfit(given: Trace, fit: Array) -> float:
    return float(np.linalg.norm(fit - given.data) / np.linalg.norm(given.data))


def _stft(given: Trace) -> tuple[Array, Array, Array]:
    """Return frequencies, times and the transform in Hann windows of about five periods of the middle."""
    from scipy.signal import ShortTimeFFT
    from scipy.signal.windows import hann

    middle = float(given.frequencies.mean())
    length = round(2.0 * _W0 / np.pi / middle / given.dt)
    short = ShortTimeFFT(hann(length, sym=False), hop=1, fs=1.0 / given.dt, mfft=512)
    values = short.stft(given.data, p0=0, p1=given.t.size)
    inside = (short.f >= given.frequencies[0]) & (short.f <= given.frequencies[-1])
    return short.f[inside], given.t, values[inside]


def _draw(given: Trace, maps: dict[str, Any], sparse: TimeFrequency, table: Table) -> Any:
    from sparseinv.plotting import figure

    drawing, axes = figure(1, 1 + len(maps), size=(14.0, 6.0), sharey=True, width_ratios=(0.6, 1, 1, 1, 1))
    first = axes[0]
    first.plot(given.data, given.t, color="black", linewidth=0.8, label="data")
    first.plot(given.data - sparse.fit, given.t, color="tab:red", linewidth=0.8, label="data - fit of L1")
    first.set_ylim(given.t[-1], given.t[0])
    first.set_ylabel("time [s]")
    first.set_xlabel("amplitude")
    first.legend(fontsize=7, loc="lower left", bbox_to_anchor=(0.0, 1.0), frameon=False)
    for axis, (name, (f, t, values)) in zip(axes[1:], maps.items(), strict=True):
        modulus = np.abs(values)
        if name == "L1":
            k, i = np.nonzero(modulus)
            size = 60.0 * modulus[k, i] / modulus.max()
            axis.scatter(f[k], t[i], s=size, color="black", linewidth=0)
        else:
            axis.pcolormesh(f, t, modulus.T, cmap="gray_r", vmin=0.0, vmax=modulus.max(), shading="nearest")
        for ridge in given.ridges:
            axis.plot(ridge, given.t, color="tab:red", linewidth=0.7, linestyle="--")
        axis.set_xlim(given.frequencies[0], given.frequencies[-1])
        axis.set_xlabel("frequency [Hz]")
        count = f", {k.size} wavelets" if name == "L1" else ""
        axis.set_title(f"{name}{count}: {table.score(name, _SCORES[1]):.1f} Hz from the chirps", fontsize=9)
    return drawing, axes

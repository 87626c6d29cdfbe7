"""Complex exponentials of any frequency from a few samples at random times (problem I4)."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sparseinv.entry import solve
from sparseinv.penalties import L0, L1, L2
from sparseinv.problems.catalogue import Case
from sparseinv.problems.report import Demo, Goal, Row, Table
from sparseinv.result import Result
from sparseinv.seismic.metrics import snr_db
from sparseinv.seismic.off_grid import Tones, off_grid_tones
from sparseinv.seismic.tone_model import Waves
from sparseinv.solvers.greedy import OMP

Array = np.ndarray[Any, Any]

# samples, tones, cells of the band; the grid has two points a cell
_SIZES = {"s": (60, 5, 256), "m": (200, 10, 2048), "l": (400, 20, 8192)}
_APART = 3.0  # least distance of two tones [cells of 1/T]
_SNR = 20.0  # signal to noise in the samples [dB]
_OVERSAMPLING = 2
_CLOSE = 0.25  # cells within which a tone counts as found


@dataclass(frozen=True, eq=False)
class Experiment:
    """Hold samples of a sum of tones over one second, and the truth.

    Attributes
    ----------
    t, y : ndarray, shape (m,)
        Times [s] and noisy samples.
    f, a : ndarray, shape (K,)
        Frequencies [Hz], complex amplitudes.
    sigma : float
        Standard deviation of the noise.
    cells : int
        Width of the band [Hz], which is centred on zero.
    """

    t: Array
    y: Array
    f: Array
    a: Array
    sigma: float
    cells: int

    @property
    def fine(self) -> Array:
        """Times at which a continuous signal is scored: inside the interval of the samples."""
        return np.linspace(self.t.min(), self.t.max(), 4 * self.cells)

    def signal(self, t: Array) -> Array:
        """Return the true signal at any time."""
        return np.asarray(np.exp(2j * math.pi * np.outer(t, self.f)) @ self.a)

    def dictionary(self) -> Waves:
        """Return waves on the grid, two frequencies a cell."""
        return Waves(self.t, -0.5 / _OVERSAMPLING, 1.0 / _OVERSAMPLING, _OVERSAMPLING * self.cells)

    def found(self, frequencies: Array) -> tuple[int, float]:
        """Return how many tones have a frequency within a quarter of a cell, and the largest distance."""
        if frequencies.size == 0:
            return 0, math.inf
        distance = np.abs(self.f[:, None] - frequencies).min(axis=1)
        return int((distance < _CLOSE).sum()), float(distance.max())


def experiment(size: str, seed: int) -> Experiment:
    """Draw times, tones and noise."""
    m, K, cells = _SIZES[size]
    rng = np.random.default_rng(seed)
    t = np.sort(rng.random(m))
    room = cells - 2.0 - _APART * (K - 1)
    f = -0.5 * cells + 1.0 + np.sort(rng.uniform(0.0, room, K)) + _APART * np.arange(K)
    a = rng.uniform(0.5, 2.0, K) * np.exp(2j * math.pi * rng.random(K))
    clean = np.exp(2j * math.pi * np.outer(t, f)) @ a
    sigma = float(np.linalg.norm(clean)) / math.sqrt(m) * 10.0 ** (-_SNR / 20.0)
    e = (rng.standard_normal(m) + 1j * rng.standard_normal(m)) / math.sqrt(2.0)
    return Experiment(t, clean + sigma * e, f, a, sigma, cells)


def _universal(made: Experiment, n: int) -> L1:
    """Return L1 at the level that the largest of n inner products with noise reaches."""
    return L1(made.sigma * math.sqrt(made.t.size * math.log(n)))


def load(id: str, *, size: str, seed: int, data: Path | None) -> Case:
    """Build the problem on the grid of frequencies; see `sparseinv.problems.catalogue.load_problem`."""
    made = experiment(size, seed)
    A = made.dictionary()
    dense = A.columns(np.arange(A.shape[1]))

    def score(x: Array) -> Mapping[str, float]:
        fine = Waves(made.fine, -0.5 / _OVERSAMPLING, 1.0 / _OVERSAMPLING, A.shape[1])
        return {"SNR [dB]": snr_db(made.signal(made.fine), fine.matvec(x))}

    return Case(
        id=id, size=size, seed=seed, A=dense, b=made.y, penalty=_universal(made, A.shape[1]),
        rule="sigma sqrt(m log n), sigma known: what noise reaches in A^H e", sigma=made.sigma, score=score,
        dims=(A.shape[1],),
    )  # fmt: skip


def run(id: str, *, size: str, seed: int, data: Path | None, echo: bool) -> Demo:
    """Compare solutions on the grid with tones of any frequency."""
    made = experiment(size, seed)
    A = made.dictionary()
    n, K = A.shape[1], made.f.size
    dense = A.columns(np.arange(n))
    fine = Waves(made.fine, -0.5 / _OVERSAMPLING, 1.0 / _OVERSAMPLING, n)
    truth = made.signal(made.fine)
    table = Table(
        f"{made.t.size} samples at random times of 1 s, {K} complex tones at least {_APART:g} cells of 1 Hz "
        f"apart in a band of {made.cells} Hz, SNR {_SNR:g} dB; grid of {n} frequencies",
        ("SNR [dB]", "tones found", "worst [cell]"),
        echo,
    )
    table.baseline("linear in time", snr_db(truth, _linear(made)), None, None)
    results: dict[str, Result] = {}
    for method, penalty, solver in (
        ("L2", L2(), "auto"),
        ("L1", _universal(made, n), "auto"),
        ("L0, OMP", L0(made.sigma**2 * math.log(n)), OMP()),
    ):
        result = solve(dense, made.y, penalty, solver=solver)
        results[method] = result
        count, worst = made.found(A.grid[_peaks(A.grid, np.abs(result.x), K)])
        table.solved(method, result, snr_db(truth, fine.matvec(result.x)), count, worst)
    support = results["L1"].support
    refitted = np.zeros(n, dtype=complex)
    refitted[support], *_ = np.linalg.lstsq(dense[:, support], made.y)
    count, worst = made.found(A.grid[_peaks(A.grid, np.abs(refitted), K)])
    table.baseline("L1, refitted", snr_db(truth, fine.matvec(refitted)), count, worst)
    began = time.perf_counter()
    tones = off_grid_tones(made.t, made.y, (-0.5 * made.cells, 0.5 * made.cells), oversampling=_OVERSAMPLING)
    seconds = time.perf_counter() - began
    count, worst = made.found(tones.frequencies)
    scores = dict(zip(table.scores, (snr_db(truth, tones.at(made.fine)), count, worst), strict=True))
    table.row(
        Row(
            "off-grid tones", scores, tones.frequencies.size, seconds=seconds,
            certificate="a local minimum; every tone passes the test",
        )
    )  # fmt: skip
    _notes(table, made, tones)
    goals = (
        Goal("tones within a quarter of a cell", count, K),
        Goal("largest frequency error [cells]", worst, _CLOSE, at_least=False),
        Goal("tones in the answer", tones.frequencies.size, K, at_least=False),
        Goal("gain over the best answer on the grid [dB]", _gain(table), 3.0),
    )
    name = f"{id.lower()}_off_grid"
    return Demo(name, (table,), {name: partial(_draw, made, A.grid, results["L1"], tones, table)}, goals)


def _notes(table: Table, made: Experiment, tones: Tones) -> None:
    expected = float(np.median(tones.frequency_errors)) if tones.frequencies.size else math.nan
    table.note(
        "SNR is that of the signal between the samples, on a fine time axis. L1: lam = sigma sqrt(m log n) "
        "with sigma known; L0: sigma^2 log n, greedily; L2: generalised cross-validation. Of answers on the "
        f"grid the {made.f.size} largest peaks are compared with the tones, which is help that the off-grid "
        "method does not get: it finds number, frequencies and noise from the samples, at 1 % false alarms."
    )
    table.note(
        "A tone between two grid frequencies needs many of them, and L1 shrinks them all; L2 spreads the "
        "signal over the whole band and says nothing between samples. Off the grid a tone is two numbers and "
        f"a frequency: the errors that the method states for frequencies are {expected:.3f} Hz (median), "
        f"noise {tones.sigma:.3f} (true {made.sigma:.3f}). Its misfit is a local minimum over all tones "
        "together, without a global certificate; the L1 problem that it also starts from is certified."
    )


def _gain(table: Table) -> float:
    on_grid = max(table.score(name) for name in ("L2", "L1", "L0, OMP", "L1, refitted"))
    return table.score("off-grid tones") - on_grid


def _linear(made: Experiment) -> Array:
    parts = (np.interp(made.fine, made.t, part) for part in (made.y.real, made.y.imag))
    return np.asarray(next(parts) + 1j * next(parts))


def _peaks(grid: Array, sizes: Array, count: int) -> Array:
    """Return the places of the largest coefficients, no two of them closer than a cell."""
    chosen: list[int] = []
    for j in np.argsort(-sizes):
        if len(chosen) == count or sizes[j] == 0.0:
            break
        if all(abs(grid[j] - grid[i]) >= 1.0 for i in chosen):
            chosen.append(int(j))
    return np.array(chosen, dtype=np.intp)


def _draw(made: Experiment, grid: Array, sparse: Result, tones: Tones, table: Table) -> Any:
    from sparseinv.plotting import figure

    drawing, axes = figure(3, 1, size=(11.0, 9.0), height_ratios=(1.1, 1.0, 1.0))
    top, middle, bottom = axes
    top.vlines(tones.frequencies, 0, np.abs(tones.amplitudes), color="tab:blue", label="off-grid tones")
    used = sparse.support
    top.plot(grid[used], np.abs(sparse.x[used]), ".", color="tab:orange", label="L1 on the grid, non-zeros")
    top.plot(made.f, np.abs(made.a), "o", color="black", fillstyle="none", label="truth")
    top.set_xlabel("frequency [Hz]")
    top.set_ylabel("amplitude")
    top.set_title(
        f"{made.t.size} samples at random times: {tones.frequencies.size} tones found, {made.f.size} true",
        fontsize=9, loc="left",
    )  # fmt: skip
    top.legend(fontsize=8, ncols=3, loc="lower right", bbox_to_anchor=(1.0, 1.0), frameon=False)
    if tones.frequencies.size:
        nearest = np.abs(made.f[:, None] - tones.frequencies).argmin(axis=1)
        middle.errorbar(
            made.f, (tones.frequencies - made.f[:, None])[np.arange(made.f.size), nearest],
            2.0 * tones.frequency_errors[nearest], fmt="o", color="tab:blue", capsize=3,
            label="off-grid tones, ±2 standard errors",
        )  # fmt: skip
    places = grid[_peaks(grid, np.abs(sparse.x), made.f.size)]
    if places.size:
        distance = (places - made.f[:, None])[
            np.arange(made.f.size), np.abs(made.f[:, None] - places).argmin(axis=1)
        ]
        middle.plot(made.f, np.clip(distance, -0.5, 0.5), "x", color="tab:orange", label="peaks of L1")
    middle.axhspan(-_CLOSE, _CLOSE, color="0.9", label="a quarter of a cell")
    middle.set_xlabel("frequency [Hz]")
    middle.set_ylabel("error of frequency [Hz]")
    middle.set_ylim(-0.55, 0.55)
    middle.sharex(top)
    middle.legend(fontsize=8, ncols=3, loc="lower right", bbox_to_anchor=(1.0, 1.0), frameon=False)
    start = made.t[made.t.size // 2]
    width = 12.0 / made.t.size
    inside = (made.fine >= start) & (made.fine <= start + width)
    when = made.fine[inside]
    value, error = tones.at(when).real, 2.0 * tones.error_at(when)
    bottom.plot(when, _linear(made).real[inside], color="0.6", linewidth=1.0, label="linear")
    bottom.plot(when, made.signal(when).real, color="black", linewidth=2.2, label="truth")
    bottom.fill_between(when, value - error, value + error, color="tab:blue", alpha=0.3, linewidth=0)
    score = table.score("off-grid tones")
    bottom.plot(when, value, color="tab:blue", linewidth=1.0, label=f"off-grid tones: {score:.1f} dB")
    shown = (made.t >= start) & (made.t <= start + width)
    bottom.plot(made.t[shown], made.y.real[shown], "o", color="tab:red", markersize=5, label="samples")
    bottom.set_xlabel("time [s]")
    bottom.set_ylabel("real part")
    bottom.legend(fontsize=8, ncols=4, loc="lower right", bbox_to_anchor=(1.0, 1.0), frameon=False)
    return drawing, axes

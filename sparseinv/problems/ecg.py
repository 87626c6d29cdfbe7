"""A real electrocardiogram from 30 % of its samples, sparse in shifted copies of an orthogonal wavelet."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sparseinv.entry import solve as solve_problem
from sparseinv.operators.algebra import HStack
from sparseinv.operators.base import Operator
from sparseinv.operators.sampling import Restriction
from sparseinv.operators.wavelet import Wavelet
from sparseinv.penalties import L0, L1, L2
from sparseinv.problems.report import Demo, Missing, Table, best_level
from sparseinv.seismic.metrics import snr_db
from sparseinv.selection.theory import lam_max
from sparseinv.solvers.coordinate_descent import CoordinateDescent
from sparseinv.solvers.reweighted_l1 import IRL1
from sparseinv.solvers.working_set import WorkingSet

Array = np.ndarray[Any, Any]

_SHIFTS = 4
_SHARE = 0.3
_STEEPNESS = 1.5  # lam of a scale is 2**(steepness * scale): fine details are rarer than coarse ones
_LEVELS = (0.01, 0.003, 0.001)  # tried, relative to lam_max


@dataclass(frozen=True, eq=False)
class Dictionary:
    """Synthesise signals of n samples from wavelets at every scale, at shifts of 0, 1, ... samples."""

    n: int

    @property
    def wavelet(self) -> Wavelet:
        """The orthogonal transform that is shifted."""
        return Wavelet(self.n, "sym8", level=3)

    @property
    def scales(self) -> Array:
        """Scale of every coefficient, 0 (coarsest) to 3."""
        return np.tile(self.wavelet.levels(), _SHIFTS)

    def sampled_at(self, index: Array) -> Operator:
        """Return the map from coefficients to the samples named by index; its norm is at most 1.

        A signal shifted by k samples and sampled at i is the signal sampled at i + k, so one
        Restriction a shift is all it takes.
        """
        synthesis = self.wavelet.H
        shifted = [Restriction(self.n, (index + k) % self.n) @ synthesis for k in range(_SHIFTS)]
        return HStack(shifted) * (1.0 / np.sqrt(_SHIFTS))


def sample_positions(n: int, share: float, rng: np.random.Generator, *, jittered: bool = True) -> Array:
    """Return sorted random positions: one in each of equal intervals, or anywhere at all."""
    count = round(share * n)
    if not jittered:
        return np.sort(rng.choice(n, count, replace=False))
    edges = np.arange(count) * n / count
    return np.unique((edges + rng.random(count) * (n / count - 1.0)).round().astype(int))


def solve(*, data: Path | None, size: str, seed: int, echo: bool) -> Demo:
    """Run the demo; see `sparseinv.problems.solve_demo`."""
    try:
        from pywt.data import ecg
    except ImportError:
        raise Missing('PyWavelets is not installed; python -m pip install "sparseinv[demo]"') from None
    signal = np.asarray(ecg(), dtype=np.float64)[: 512 if size == "s" else 1024]
    dictionary = Dictionary(signal.size)
    tables, answers = [], {}
    for jittered in (True, False):
        kept = sample_positions(signal.size, _SHARE, np.random.default_rng(seed), jittered=jittered)
        where = "one in each interval" if jittered else "anywhere, gaps and clusters included"
        table = Table(f"{kept.size} of {signal.size} samples kept, {where}", ("SNR [dB]",), echo)
        answers[jittered] = (kept, _compare(table, dictionary, signal, kept, full=jittered))
        tables.append(table)
    tables[0].note(
        "lambda without the truth: L1's level, and L2's level and weights, by predicting every fifth kept "
        "sample from the others; for L0 and reweighted L1 the charge at which a coefficient must exceed "
        "three times the level of L1. One lambda a scale: 2^(1.5 scale) times the level for L1, its square "
        "for L0; for L2 the best of 1 and (2^scale)^2, ^3, ^4. The SNR is that of the signal without its "
        "mean."
    )
    sparse, smooth = tables[1].score("L1"), max(tables[1].score(name) for name in ("linear", "L2"))
    tables[1].note(
        "Purely random positions leave gaps as wide as the peak of a heartbeat, and what falls into them no "
        f"method can know: sparsity gets {sparse:.1f} dB and smoothness {smooth:.1f} dB, far below the table "
        "above, and chance decides between them. One sample in each interval, still random, bounds the gaps."
    )
    kept, estimates = answers[True]
    draw = partial(_draw, signal, kept, estimates, tables[0])
    return Demo("ecg", tuple(tables), {"ecg": draw})


def _compare(
    table: Table, dictionary: Dictionary, signal: Array, kept: Array, *, full: bool
) -> dict[str, Array]:
    n = signal.size
    everything = dictionary.sampled_at(np.arange(n))
    A = np.asfortranarray(dictionary.sampled_at(kept).columns(np.arange(everything.shape[1])))
    b = signal[kept]
    folds = [np.arange(kept.size) % 5 == k for k in (1, 3)]
    steps = 2.0**dictionary.scales
    weights = steps**_STEEPNESS
    estimates: dict[str, Array] = {}

    def judge(x: Array) -> float:
        return snr_db(signal - signal.mean(), x - signal.mean())

    def failure(penalty: Any) -> float:
        answers = [(held, solve_problem(A[~held], b[~held], penalty, tol=1e-4).x) for held in folds]
        return float(sum(np.abs(A[held] @ x - b[held]).sum() for held, x in answers))

    def run(method: str, penalty: Any, solver: Any = "auto") -> None:
        result = solve_problem(A, b, penalty, solver=solver)
        estimates[method] = everything @ result.x
        table.solved(method, result, judge(estimates[method]))

    filled = np.zeros(n)
    filled[kept] = b
    table.baseline("zero-fill", judge(filled))
    estimates["linear"] = np.interp(np.arange(n), kept, b)
    table.baseline("linear", judge(estimates["linear"]))

    ridges = [L2(level, weights=steps**power) for power in (0, 2, 3, 4) for level in (1e-1, 1e-3)]
    run("L2", min(ridges, key=failure))
    largest = lam_max(A, b, L1(weights=weights))
    lam = best_level(
        (share * largest for share in _LEVELS), lambda level: failure(L1(level, weights=weights))
    )
    run("L1", L1(lam, weights=weights))
    if full:
        charge = L0(0.5 * (3.0 * lam) ** 2, weights=weights**2)
        run("L0", charge, CoordinateDescent())
        run("reweighted L1", charge, IRL1(inner=WorkingSet()))
    return estimates


def _draw(signal: Array, kept: Array, estimates: dict[str, Array], table: Table) -> Any:
    from sparseinv.plotting import figure

    peak = int(np.argmax(signal))
    window = slice(max(peak - 45, 0), min(peak + 55, signal.size))
    names = ["linear", "L2", "L1", "reweighted L1"]
    drawing, axes = figure(2, 4, size=(13.0, 6.4))
    grid = axes[0, 0].get_gridspec()
    for panel in axes[0]:
        panel.remove()
    wide = drawing.add_subplot(grid[0, :])
    t = np.arange(signal.size)
    wide.plot(t, signal, color="0.65", linewidth=2.5, label="truth")
    wide.plot(t, estimates["L1"], color="tab:blue", linewidth=1.0, label="L1")
    wide.plot(kept, signal[kept], ".", color="tab:red", markersize=4, label="kept samples")
    wide.set_title(
        f"{table.title}: L1 recovers {table.score('L1'):.1f} dB, linear interpolation "
        f"{table.score('linear'):.1f} dB", fontsize=10,
    )  # fmt: skip
    wide.set_xlim(0, signal.size - 1)
    wide.set_xlabel("sample")
    wide.set_ylabel("amplitude [recorder units]")
    wide.legend(fontsize=8, loc="upper right", ncols=3)
    inside = kept[(kept >= window.start) & (kept < window.stop)]
    for panel, name in zip(axes[1], names, strict=True):
        panel.plot(t[window], signal[window], color="0.65", linewidth=2.5)
        panel.plot(t[window], estimates[name][window], color="tab:blue", linewidth=1.2)
        panel.plot(inside, signal[inside], ".", color="tab:red", markersize=5)
        panel.set_title(f"{name}: {table.score(name):.1f} dB", fontsize=10)
        panel.set_ylim(signal[window].min() - 40, signal[window].max() + 40)
        panel.set_xlabel("sample")
    axes[1, 0].set_ylabel("amplitude [recorder units]")
    return drawing, axes

"""How often tones of any frequency are recovered from few irregular samples, and how close they may be.

    python benchmarks/off_grid.py                 a table and a figure in benchmarks/results; a few minutes
    python benchmarks/off_grid.py --smoke         small, to see that it runs

64 of 1024 places of an interval of one second, at random; 6 tones, amplitudes 0.5 to 2, random phases, in a
band of 1024 cells (real signals: 512) of 1 Hz; white noise, 20 dB. Recovered: each of the 6 has an estimate
within a quarter of a cell. `off_grid_tones` is given times, samples and band, nothing else; methods on the
grid of two points a cell are given the noise (L1) or the number of tones (OMP), and are judged by their 6
largest peaks. At least 3 cells apart: as asked; in pairs: three pairs, each with exactly the distance named.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from latency import machine
from threadpoolctl import threadpool_limits

import sparseinv as si
from sparseinv.seismic import off_grid_tones

RESULTS = Path(__file__).resolve().parent / "results" / "off_grid.md"
PLACES, SAMPLES, TONES, SNR = 1024, 64, 6, 20.0
DISTANCES = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0)
METHODS = ("off-grid tones", "L1, grid", "OMP, grid")


def draw(seed: int, apart: float, *, pairs: bool, real: bool) -> tuple[Any, ...]:
    """Return (times, samples, frequencies, sigma)."""
    rng = np.random.default_rng(seed)
    t = np.sort(rng.choice(PLACES, SAMPLES, replace=False)) / PLACES
    low, high = (2.0, PLACES / 2 - 2.0) if real else (2.0 - PLACES / 2, PLACES / 2 - 2.0)
    groups = TONES // 2 if pairs else TONES
    gap = 12.0 + apart if pairs else apart
    f = low + np.sort(rng.uniform(0.0, high - low - gap * groups, groups)) + gap * np.arange(groups)
    f = np.sort(np.concatenate((f, f + apart))) if pairs else f
    a = rng.uniform(0.5, 2.0, TONES) * np.exp(2j * math.pi * rng.random(TONES))
    y = np.exp(2j * math.pi * np.outer(t, f)) @ a
    y = y.real if real else y
    sigma = float(np.linalg.norm(y)) / math.sqrt(SAMPLES) * 10.0 ** (-SNR / 20.0)
    e = rng.standard_normal(SAMPLES) + 1j * rng.standard_normal(SAMPLES)
    return t, y + sigma * (e.real if real else e / math.sqrt(2.0)), f, sigma


def peaks(grid: Any, sizes: Any) -> Any:
    """Return the frequencies of the largest coefficients, half a cell apart at least."""
    chosen: list[float] = []
    for j in np.argsort(-sizes)[: 20 * TONES]:
        if sizes[j] > 0 and len(chosen) < TONES and all(abs(grid[j] - f) > 0.5 for f in chosen):
            chosen.append(float(grid[j]))
    return np.array(chosen)


def on_grid(t: Any, y: Any, sigma: float) -> dict[str, Any]:
    """Return frequencies of the peaks of sparse solutions on the grid (complex data)."""
    grid = np.arange(-PLACES, PLACES) / 2.0
    A = np.asfortranarray(np.exp(2j * math.pi * np.outer(t, grid)))
    lam = sigma * math.sqrt(t.size * math.log(grid.size))
    sparse = si.solve(A, y, si.L1(lam), tol=1e-4).x
    greedy = si.solve(A, y, si.L0Ball(TONES), solver=si.OMP()).x
    return {"L1, grid": peaks(grid, np.abs(sparse)), "OMP, grid": peaks(grid, np.abs(greedy))}


def distance(f: Any, estimate: Any) -> float:
    """Return the largest distance of a tone from an estimate [cells]."""
    return float(np.abs(f[:, None] - estimate).min(axis=1).max()) if estimate.size else math.inf


def trial(seed: int, apart: float, *, pairs: bool, real: bool) -> dict[str, Any]:
    """Return the largest frequency error of each method, and what the off-grid method says of itself."""
    t, y, f, sigma = draw(seed, apart, pairs=pairs, real=real)
    began = time.process_time()
    tones = off_grid_tones(t, y, (0 if real else -PLACES / 2, PLACES / 2))
    seen: dict[str, Any] = {
        "off-grid tones": distance(f, tones.frequencies), "seconds": time.process_time() - began,
        "count": tones.frequencies.size,
    }  # fmt: skip
    if seen["off-grid tones"] < 0.25 and tones.frequencies.size == TONES:
        seen["normal"] = (tones.frequencies - f) / tones.frequency_errors
    if not real:
        seen |= {name: distance(f, g) for name, g in on_grid(t, y, sigma).items()}
    return seen


def summary(trials: list[dict[str, Any]], method: str = METHODS[0]) -> tuple[float, float]:
    """Return (share of recoveries, its standard error)."""
    share = float(np.mean([seen[method] < 0.25 for seen in trials]))
    return share, math.sqrt(max(share * (1.0 - share), 0.25 / len(trials) ** 2) / len(trials))


def row(name: str, trials: list[dict[str, Any]]) -> str:
    """Return a line of the table."""
    count = len(trials)
    exact = sum(seen["count"] == TONES and seen[METHODS[0]] < 0.25 for seen in trials)
    normal = [seen["normal"] for seen in trials if "normal" in seen]
    spread = f"{np.sqrt(np.mean(np.square(normal))):.2f}" if normal else "-"
    shares = [f"{sum(seen[m] < 0.25 for seen in trials)}" if m in trials[0] else "-" for m in METHODS]
    seconds = np.median([seen["seconds"] for seen in trials])
    return f"| {name} | {count} | {' | '.join(shares)} | {exact} | {spread} | {seconds:.2f} |"


def picture(curve: dict[float, list[dict[str, Any]]], path: Path) -> None:
    """Draw the share of recoveries against the distance of the tones of a pair."""
    from sparseinv.plotting import figure

    drawing, axes = figure(size=(6.5, 4.2))
    where = np.array(list(curve))
    for method, color in zip(METHODS, ("tab:blue", "tab:orange", "tab:green"), strict=True):
        pairs = np.array([summary(trials, method) for trials in curve.values()])
        axes.errorbar(where, pairs[:, 0], pairs[:, 1], marker="o", capsize=3, color=color, label=method)
    axes.axhline(0.95, color="0.6", linewidth=0.8, linestyle="--")
    axes.set_xlabel("distance of the two tones of each pair [cells of 1/T]")
    axes.set_ylabel("all six within a quarter of a cell")
    axes.set_ylim(-0.03, 1.05)
    axes.set_title(
        f"{SAMPLES} irregular samples, three pairs of complex tones, {SNR:g} dB", fontsize=9, loc="left"
    )
    axes.legend(fontsize=8)
    drawing.savefig(path)


def write(rows: list[str], out: Path) -> None:
    """Write the table of what is done so far."""
    about = ", ".join(f"{key} {value}" for key, value in machine().items())
    lines = [
        "# Tones of any frequency from few irregular samples", "",
        f"`python benchmarks/off_grid.py`: {about}. {SAMPLES} of {PLACES} places in one second, {TONES} "
        f"tones, {SNR:g} dB. Recovered: all {TONES} within a quarter of a cell of 1/T. Asked: at least 95 % "
        "of 50 draws of complex tones at least 3 cells apart. The off-grid method knows neither noise nor "
        "number of tones; L1 on the grid knows the noise, OMP the number, and both are judged by their "
        "largest peaks.", "",
        f"| tones | draws | {' | '.join(f'recovered by {m}' for m in METHODS)} | off-grid: recovered, and no "
        "tone too many | frequency error over stated standard error (rms) | processor s |",
        "|---" * 8 + "|", *rows, "", "![share of recoveries](off_grid.png)",
    ]  # fmt: skip
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the trials, print and write the table and the figure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    count = 2 if options.smoke else 50
    rows: list[str] = []

    def done(name: str, trials: list[dict[str, Any]]) -> None:
        rows.append(row(name, trials))
        print(rows[-1], flush=True)
        write(rows, options.out)

    with threadpool_limits(limits=1, user_api="blas"):
        for name, real in (("complex", False), ("real", True)):
            trials = [trial(seed, 3.0, pairs=False, real=real) for seed in range(count)]
            done(f"{name}, at least 3 cells apart", trials)
        curve = {}
        for apart in DISTANCES[:: 4 if options.smoke else 1]:
            curve[apart] = [trial(1000 + seed, apart, pairs=True, real=False) for seed in range(count)]
            done(f"complex, pairs {apart:g} cells apart", curve[apart])
    picture(curve, options.out.with_suffix(".png"))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Thin beds: pairs of close reflectors, where greedy choices go wrong and exchanges put them right."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sparseinv.certificate import Kind
from sparseinv.entry import solve as solve_problem
from sparseinv.operators.convolution import Convolution
from sparseinv.penalties import L0Ball
from sparseinv.problems.report import Demo, Table
from sparseinv.result import Result
from sparseinv.seismic.metrics import score_spikes, snr_db
from sparseinv.seismic.wavelets import ricker
from sparseinv.solvers.greedy import OLS, OMP
from sparseinv.solvers.local_search import LocalSearch

Array = np.ndarray[Any, Any]

_DT = 0.002
_F0 = 25.0
_APART = 40  # samples between two beds: a little less than the wavelet is long
_METHODS: dict[str, Any] = {
    "OMP": OMP(), "OLS": OLS(), "OLS with removals": OLS(backward=True), "LocalSearch": LocalSearch(),
}  # fmt: skip


def thin_beds(beds: int, rng: np.random.Generator) -> Array:
    """Return a reflectivity with two spikes per bed, 4 to 7 samples apart, signs opposite or equal."""
    truth = np.zeros(_APART * (beds + 1))
    for bed in range(beds):
        top = _APART * (bed + 1) + int(rng.integers(-8, 9)) - 3
        base = top + int(rng.integers(4, 8))
        truth[top] = rng.choice([-1.0, 1.0]) * rng.uniform(0.6, 1.0)
        truth[base] = -truth[top] * rng.uniform(0.8, 1.0) * (1.0 if bed % 3 else -1.0)
    return truth


def solve(*, data: Path | None, size: str, seed: int, echo: bool) -> Demo:
    """Run the demo; see `sparseinv.problems.solve_demo`."""
    rng = np.random.default_rng(seed)
    truth = thin_beds(3 if size == "s" else 6, rng)
    wavelet, _, center = ricker(_F0, _DT)
    A = Convolution(truth.size, wavelet, offset=center)
    clean = A @ truth
    sigma = 0.002 * float(np.abs(clean).max())
    b = clean + sigma * rng.standard_normal(clean.size)
    count = int(np.count_nonzero(truth))
    table = Table(
        f"thin beds: a trace of {truth.size} samples, {_DT * 1e3:g} ms, Ricker {_F0:g} Hz, {count} spikes in "
        f"pairs, noise of 0.2 % of the largest amplitude, L0Ball({count})",
        ("SNR [dB]", "in place", "misfit/noise"),
        echo,
    )
    results = {}
    for name, method in _METHODS.items():
        result = solve_problem(A, b, L0Ball(count), solver=method)
        results[name] = result
        placed = score_spikes(truth, result.x, threshold=0.0, tolerance=0).f1
        table.solved(name, result, snr_db(truth, result.x), placed, _misfit(A, b, result, sigma))
    omp, search = results["OMP"], results["LocalSearch"]
    table.note(
        "Two reflectors closer than the wavelet resolves look like one wavelet somewhere else. OMP and OLS "
        "take that one, and later choices, removals included, seldom undo it. LocalSearch exchanges columns "
        "until no exchange lowers the misfit, and begins again elsewhere."
    )
    table.note(f"What the certificates say. OMP: {_said(omp)} LocalSearch: {_said(search)}")
    draw = partial(_draw, truth, A, b, sigma, results)
    return Demo("ricker", (table,), {"ricker": draw})


def _misfit(A: Any, b: Array, result: Result, sigma: float) -> float:
    """Return ||A x - b|| over the norm that the noise is expected to have."""
    return float(np.linalg.norm(A @ result.x - b)) / (sigma * math.sqrt(b.size))


def _said(result: Result) -> str:
    relative = result.certificate.relative
    if result.success and result.certificate.kind is Kind.SWAP_MINIMUM:
        return "no addition, removal or exchange of a column lowers the objective; that is no global proof."
    return f"exchanging one of its columns would lower the objective by {relative:.1e} of 1/2||b||²."


def _draw(truth: Array, A: Any, b: Array, sigma: float, results: dict[str, Result]) -> Any:
    from sparseinv.plotting import figure

    shown = ["OMP", "OLS with removals", "LocalSearch"]
    drawing, axes = figure(
        len(shown) + 2, 1, size=(9.0, 9.0), sharex=True, height_ratios=(1.0, 1.0, 1.0, 1.1, 0.8)
    )
    t = np.arange(truth.size) * _DT
    where = np.flatnonzero(truth)
    level = 1.2 * max(float(np.abs(result.x).max()) for result in results.values())
    for panel, name in zip(axes, shown, strict=False):
        x = results[name].x
        hit = (x != 0) & (truth != 0)
        for mask, color, label in (
            (hit, "tab:blue", "in place"), ((x != 0) & ~hit, "tab:orange", "out of place"),
        ):  # fmt: skip
            panel.vlines(t[mask], 0, x[mask], color=color, linewidth=2.0, label=label)
        panel.plot(
            t[where], truth[where], "o", color="black", markersize=5, fillstyle="none", label="truth",
            clip_on=False,
        )  # fmt: skip
        panel.axhline(0, color="black", linewidth=0.5)
        panel.set_ylim(-level, level)
        placed, relative = int(hit.sum()), results[name].certificate.relative
        gain = "no exchange helps" if results[name].success else f"an exchange gains {relative:.1e} of ½‖b‖²"
        panel.set_title(f"{name}: {placed} of {where.size} spikes in place; {gain}", fontsize=9, loc="left")
    axes[1].set_ylabel("reflectivity")
    fits, residuals = axes[-2], axes[-1]
    fits.plot(t, b[: t.size], color="black", linewidth=2.2, label="data")
    for name, color in (("OMP", "tab:orange"), ("LocalSearch", "tab:blue")):
        image = A @ results[name].x
        label = f"{name}: {_misfit(A, b, results[name], sigma):.1f} sigma"
        fits.plot(t, image[: t.size], color=color, linewidth=1.1, label=f"fit of {name}")
        residuals.plot(t, (b - image)[: t.size], color=color, linewidth=1.0, label=label)
    residuals.axhspan(-2 * sigma, 2 * sigma, color="0.85", label="noise, ±2 sigma")
    fits.set_title("data and fits", fontsize=9, loc="left")
    residuals.set_title("residuals", fontsize=9, loc="left")
    for panel in (axes[0], fits, residuals):  # above the frame, where nothing is drawn
        panel.legend(fontsize=7, ncols=3, loc="lower right", bbox_to_anchor=(1.0, 1.0), frameon=False)
    fits.set_ylabel("amplitude")
    residuals.set_xlabel("time [s]")
    residuals.set_xlim(t[0], t[-1])
    return drawing, axes

"""Sparco 903: spikes behind a long one-sided wavelet, exact data and a matrix of condition 1e18."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sparseinv.entry import solve as solve_problem
from sparseinv.operators.convolution import Convolution
from sparseinv.penalties import L0, L1, L2
from sparseinv.problems.catalogue import Case, noiseless_case
from sparseinv.problems.report import Demo, Goal, Table
from sparseinv.result import Result
from sparseinv.seismic.metrics import score_spikes, snr_db
from sparseinv.seismic.reflectivity import sparse_spikes
from sparseinv.selection.discrepancy import Discrepancy
from sparseinv.solvers.greedy import OLS, OMP
from sparseinv.solvers.local_search import LocalSearch

Array = np.ndarray[Any, Any]

_SIZES = {"s": (256, 4, 256), "m": (1024, 12, 1024), "l": (16384, 200, 1024)}
_SCALE = 0.05  # of the Gaussian, on an interval from -1 to 1
_SEEN = 1e-6  # of the largest spike: below, a coefficient counts as zero
_ASKED = 43.0  # [dB], what SPGL1 reached
# SPGL1 0.0.3, spg_bp with 3000 iterations at most, on the same data (seed 0): SNR [dB], and products with A
# and A^T; at size m it stops at the limit, line searches failing
_REFERENCE = {"s": (83.9, 669), "m": (33.3, 9074)}


def one_sided_wavelet(n: int) -> Array:
    """Return the second derivative of a Gaussian on n points of [-1, 1] from its first maximum on.

    Scaled to 1 there, so that the convolution is causal with a unit diagonal.
    """
    t = np.linspace(-1.0, 1.0, n) / _SCALE
    w = (t**2 - 1.0) * np.exp(-0.5 * t**2)
    first = int(np.argmax(w[: n // 2]))
    return np.asarray(w[first:] / w[first])


def make(size: str, seed: int) -> tuple[Convolution, Array]:
    """Return the map and the spikes."""
    n, count, taps = _SIZES[size]
    truth = sparse_spikes(n, count, rng=np.random.default_rng(seed))
    return Convolution(n, one_sided_wavelet(taps), offset=0), truth


def load(id: str, *, size: str, seed: int, data: Path | None) -> Case:
    """Build the problem; see `sparseinv.problems.load_problem`."""
    A, truth = make(size, seed)
    return noiseless_case(id, size, seed, A, truth)


def run(id: str, *, size: str, seed: int, data: Path | None, echo: bool) -> Demo:
    """Compare the methods; see `sparseinv.problems.run_problem`."""
    A, truth = make(size, seed)
    b = np.asarray(A @ truth)
    n = truth.size
    table = Table(
        f"{np.count_nonzero(truth)} spikes in {n} samples, a wavelet of {A.wavelet.size} samples, no noise",
        ("SNR [dB]", "in place"),
        echo,
    )
    answers: dict[str, Array] = {}

    def add(method: str, result: Result) -> Result:
        x = answers[method] = result.x
        threshold = _SEEN * float(np.abs(x).max())
        placed = score_spikes(truth, x, threshold=threshold, tolerance=0).f1
        table.solved(method, result, snr_db(truth, x), placed, nonzeros=int((np.abs(x) > threshold).sum()))
        return result

    table.baseline("data as they are", snr_db(truth, b), None)
    tiny = L0(1e-10 * float(b @ b) / n)
    add("L2", solve_problem(A, b, L2(1e-6 * A.norm_bound() ** 2), max_iter=3000))
    if size != "l":
        add("L1", solve_problem(A, b, L1(), select=Discrepancy(0.0)))
    add("OMP", solve_problem(A, b, tiny, solver=OMP()))
    chosen = add("OLS with removals", solve_problem(A, b, tiny, solver=OLS(backward=True)))
    if size != "l":
        add("LocalSearch", solve_problem(A, b, tiny, solver=LocalSearch()))
    reached = table.score("OLS with removals")
    table.note(
        "No noise: L1 is basis pursuit, the L0 methods explain b to the last digit with as few spikes as "
        "they can. Columns of a convolution are written down, not computed, and count as no products."
    )
    goals = [Goal("SNR of OLS with removals [dB]", reached, _ASKED)]
    if size in _REFERENCE:
        peer, products = _REFERENCE[size]
        table.note(
            f"SPGL1 0.0.3 ends at {peer:.1f} dB after {products} products (seed 0): neighbouring columns are "
            "almost the same, which gradients feel and least squares on a few columns does not. OLS takes "
            f"{chosen.products.total} products and writes down {chosen.products.columns} columns."
        )
        goals.append(
            Goal(
                "products of OLS with removals against SPGL1 on seed 0",
                float(chosen.products.total),
                products,
                False,
            )
        )
    figures = {id: partial(_draw, truth, b, answers, table)}
    return Demo(id, (table,), figures, tuple(goals))


def _draw(truth: Array, b: Array, answers: dict[str, Array], table: Table) -> Any:
    from sparseinv.plotting import figure

    names = [name for name in ("L2", "L1", "OLS with removals") if name in answers]
    drawing, axes = figure(len(names) + 1, 1, size=(9.0, 1.9 * (len(names) + 1)), sharex=True)
    axes[0].plot(b, color="black", linewidth=1.0)
    axes[0].set_title("data", fontsize=9, loc="left")
    where = np.flatnonzero(truth)
    for panel, name in zip(axes[1:], names, strict=True):
        x = np.abs(answers[name])
        seen = np.flatnonzero(x > 1e-7)
        panel.vlines(seen, 1e-7, x[seen], color="tab:blue", linewidth=1.0)
        panel.plot(
            where, np.abs(truth[where]), "o", color="tab:red", markersize=4, fillstyle="none", label="truth"
        )
        panel.set_yscale("log")
        panel.set_ylim(1e-7, 10.0)
        panel.set_title(f"{name}: {table.score(name):.0f} dB", fontsize=9, loc="left")
        panel.set_ylabel("modulus")
    axes[1].legend(fontsize=7, loc="upper right")
    axes[0].set_ylabel("amplitude")
    axes[-1].set_xlabel("sample")
    axes[-1].set_xlim(-1, truth.size)
    return drawing, axes

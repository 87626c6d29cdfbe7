"""Sparco 902: three cosines from every fifth sample, jittered, random or regular."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sparseinv.entry import solve as solve_problem
from sparseinv.operators.fourier import DCT
from sparseinv.penalties import L0, L1, L2
from sparseinv.problems.catalogue import Case, noiseless_case
from sparseinv.problems.report import Demo, Goal, Table
from sparseinv.seismic.metrics import snr_db
from sparseinv.seismic.sampling import undersample
from sparseinv.selection.discrepancy import Discrepancy
from sparseinv.solvers.greedy import OMP

Array = np.ndarray[Any, Any]

_N, _COUNT, _FACTOR = 1000, 3, 5.0
_SCHEMES = ("jittered", "random", "regular")
_ASKED = 123.0  # [dB], what SPGL1 reached with jittered samples
_FAILED = 10.0  # [dB] that regular sampling must not exceed
_EXACT = 80.0  # [dB] from which a recovery counts
_SWEEP = {  # samples, cosines, problems a point, undersampling factors
    "s": (315, 6, 3, (3.0, 7.0)),
    "m": (315, 6, 20, (3.0, 5.0, 7.0, 9.0, 15.0)),
}


def make(n: int, count: int, factor: float, scheme: str, seed: Any) -> tuple[Array, Array, Array]:
    """Return the matrix from cosine coefficients to samples, the coefficients, and the positions."""
    rng = np.random.default_rng(seed)
    truth = np.zeros(n)
    truth[rng.choice(n, count, replace=False)] = rng.choice([-1.0, 1.0], count) * (
        1.0 + np.abs(rng.standard_normal(count))
    )
    kept = undersample(n, factor, scheme, rng=rng)
    # row i of the inverse transform is the transform of a spike at i
    unit = np.zeros((n, kept.size))
    unit[kept, np.arange(kept.size)] = 1.0
    return np.asfortranarray((DCT(n) @ unit).T), truth, kept


def load(id: str, *, size: str, seed: int, data: Path | None) -> Case:
    """Build the jittered problem; see `sparseinv.problems.load_problem`."""
    A, truth, _ = make(_N, _COUNT, _FACTOR, "jittered", seed)
    return noiseless_case(id, size, seed, A, truth)


def run(id: str, *, size: str, seed: int, data: Path | None, echo: bool) -> Demo:
    """Compare sampling schemes and methods; see `sparseinv.problems.run_problem`."""
    tables, drawn = [], {}
    for scheme in _SCHEMES:
        table, shown = _compare(scheme, seed, echo)
        tables.append(table)
        drawn[scheme] = shown
    tables[-1].note(
        "No noise, so no level to choose: L1 is basis pursuit, OMP adds cosines until nothing is left, L2 "
        "is the shortest x, which is zero between the samples. With equal steps each cosine equals others "
        "at the samples, and no method can know which was meant; chance positions tell them apart. Purely "
        "random positions are as good here, where a cosine fills the whole trace; jittered ones also bound "
        "the gaps."
    )
    rates, curve = _sweep(size, seed, echo)
    tables.append(curve)
    goals = (
        Goal("SNR of L1, jittered samples [dB]", tables[0].score("L1"), _ASKED),
        Goal("SNR of L1, regular samples [dB]", tables[2].score("L1"), _FAILED, at_least=False),
    )
    figures = {
        id: partial(_draw, drawn, {s: t.score("L1") for s, t in zip(_SCHEMES, tables, strict=False)}),
        f"{id}-recovery": partial(_draw_rates, size, rates),
    }
    return Demo(id, tuple(tables), figures, goals)


def _compare(scheme: str, seed: int, echo: bool) -> tuple[Table, tuple[Array, Array, Array, Array]]:
    A, truth, kept = make(_N, _COUNT, _FACTOR, scheme, seed)
    b = A @ truth
    synthesis = DCT(_N).H
    signal = np.asarray(synthesis @ truth)
    table = Table(
        f"{kept.size} of {_N} samples, {scheme}, of {_COUNT} cosines, no noise", ("SNR [dB]",), echo
    )
    filled = np.zeros(_N)
    filled[kept] = b
    table.baseline("zero-fill", snr_db(signal, filled))
    table.baseline("linear", snr_db(signal, np.interp(np.arange(_N), kept, b)))
    energy = float(b @ b)
    last = np.zeros(_N)
    for method, penalty, options in (
        ("L2", L2(1e-9), {}),
        ("OMP", L0(1e-10 * energy / _N), {"solver": OMP()}),
        ("L1", L1(), {"select": Discrepancy(0.0)}),
    ):
        result = solve_problem(A, b, penalty, **options)
        last = result.x
        seen = int((np.abs(last) > 1e-6 * np.abs(last).max()).sum())
        table.solved(method, result, snr_db(truth, last), nonzeros=seen)
    return table, (truth, last, kept, signal)


def _sweep(size: str, seed: int, echo: bool) -> tuple[dict[str, Array], Table]:
    """Return the share of problems recovered for each scheme and undersampling factor."""
    n, count, trials, factors = _SWEEP[size]
    table = Table(
        f"share of {trials} problems of {n} samples and {count} cosines that L1 recovers exactly",
        tuple(f"1 in {factor:g}" for factor in factors),
        echo,
    )
    rates = {}
    for scheme in _SCHEMES:
        found = np.zeros(len(factors))
        for k, factor in enumerate(factors):
            for trial in range(trials):
                A, truth, _ = make(n, count, factor, scheme, [seed, k, trial])
                x = solve_problem(A, A @ truth, L1(), select=Discrepancy(0.0)).x
                found[k] += snr_db(truth, x) > _EXACT
        rates[scheme] = found / trials
        table.baseline(scheme, *rates[scheme].tolist())
    table.note(
        "Odd factors that divide the number of samples: with others, equal steps lie off the symmetry of the "
        "cosines, and the ends of the record tell aliases apart, which no one should count on in noise."
    )
    return rates, table


def _draw(drawn: dict[str, tuple[Array, Array, Array, Array]], scores: dict[str, float]) -> Any:
    from sparseinv.plotting import figure

    drawing, axes = figure(len(drawn), 2, size=(11.0, 2.5 * len(drawn)), sharex="col", sharey="col")
    window = slice(400, 500)
    for row, (scheme, (truth, x, kept, signal)) in zip(axes, drawn.items(), strict=True):
        where = np.flatnonzero(truth)
        row[0].vlines(np.arange(x.size), 0.0, x, color="tab:blue", linewidth=1.0)
        row[0].plot(where, truth[where], "o", color="tab:red", markersize=5, fillstyle="none", label="truth")
        row[0].axhline(0.0, color="black", linewidth=0.5)
        row[0].set_title(f"{scheme}: L1 {scores[scheme]:.0f} dB", fontsize=9, loc="left")
        row[0].set_ylabel("cosine coefficient")
        place = np.arange(window.start, window.stop)
        row[1].plot(place, signal[window], color="black", linewidth=1.8, label="signal")
        row[1].plot(
            place, np.asarray(DCT(x.size).H @ x)[window], "--", color="tab:blue", linewidth=1.2, label="L1"
        )
        seen = kept[(kept >= window.start) & (kept < window.stop)]
        row[1].plot(seen, signal[seen], "o", color="tab:orange", markersize=4, label="samples")
        row[1].set_ylabel("amplitude")
    axes[0, 0].legend(fontsize=7, loc="upper right")
    axes[0, 1].legend(fontsize=7, loc="upper right", ncols=3)
    axes[-1, 0].set_xlabel("frequency [half cycles per record]")
    axes[-1, 1].set_xlabel("sample")
    return drawing, axes


def _draw_rates(size: str, rates: dict[str, Array]) -> Any:
    from sparseinv.plotting import figure

    n, count, trials, factors = _SWEEP[size]
    drawing, axes = figure(1, 1, size=(5.6, 3.8))
    for (scheme, share), mark in zip(rates.items(), ("o-", "s--", "^-"), strict=True):
        axes.plot(factors, 100.0 * share, mark, label=scheme, markersize=5)
    axes.set_xlabel("undersampling: one sample kept out of")
    axes.set_ylabel("recovered exactly [% of problems]")
    axes.set_ylim(-4, 104)
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize=8)
    axes.set_title(f"{count} cosines in {n} samples, {trials} problems a point", fontsize=9, loc="left")
    return drawing, axes

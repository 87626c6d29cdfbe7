"""Waves and spikes, 003 to 005: where a lambda of their own for the waves helps, and where it does not."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from sparseinv.entry import solve as solve_problem
from sparseinv.penalties import L1
from sparseinv.problems.report import Goal, Table
from sparseinv.problems.sparco_cases import Generic, cosines_and_spikes
from sparseinv.seismic.metrics import snr_db
from sparseinv.selection.criteria import SURE
from sparseinv.selection.discrepancy import Discrepancy
from sparseinv.selection.layers import tune_lams

Array = np.ndarray[Any, Any]

_SIGMA = 0.2  # of the noise; the spikes have standard deviation 1
_EXACT = 80.0  # [dB] from which a recovery counts
_METHODS = ("one lambda", "lambda by block")
_SHARES = {  # spikes over samples (003, 004) or over data (005), by size
    "003": {"s": (0.3, 0.47), "m": (0.3, 0.4, 0.45, 0.52, 0.6, 0.7)},
    "004": {"s": (0.5,), "m": (0.3, 0.4, 0.5, 0.55, 0.6, 0.7)},
    "005": {"s": (0.13, 0.2), "m": (0.1, 0.13, 0.17, 0.2, 0.25)},
}


def compare_blocks(
    id: str, size: str, seed: int, echo: bool
) -> tuple[list[Table], dict[str, Callable[[], Any]], list[Goal]]:
    """Return the success rates over the number of spikes, and the scores in noise."""
    n, trials = (128, 3) if size == "s" else (256, 10)
    mixed = id == "005"
    make = partial(
        cosines_and_spikes, n, m=round(300 * n / 1024) if mixed else None,
        waves="waves" if id == "004" else "cosines",
    )  # fmt: skip
    shares = _SHARES[id][size]
    rates, table = _success(id, make, shares, trials, seed, echo)
    noisy = _noise(id, make, size, seed, echo)
    goals = []
    if id == "003":
        gain = float((rates["lambda by block"] - rates["one lambda"]).max())
        goals.append(Goal("largest gain in the share recovered, lambda by block over one lambda", gain, 0.3))
    return [table, noisy], {f"{id}-recovery": partial(_draw, id, shares, rates, n, trials)}, goals


def _success(
    id: str, make: Callable[..., Generic], shares: tuple[float, ...], trials: int, seed: int, echo: bool
) -> tuple[dict[str, Array], Table]:
    """Return the share of problems recovered for each number of spikes."""
    counts = {method: np.zeros(len(shares)) for method in _METHODS}
    certified = total = 0
    for k, share in enumerate(shares):
        for trial in range(trials):
            rng = np.random.default_rng([seed, k, trial])
            g = make(max(round(share * _rows(make)), 1), rng)
            for method, weights in zip(_METHODS, (None, g.weights), strict=True):
                result = solve_problem(g.A, g.b, L1(weights=weights), select=Discrepancy(0.0))
                counts[method][k] += snr_db(g.truth, result.x) > _EXACT
                certified, total = certified + result.success, total + 1
    rates = {method: found / trials for method, found in counts.items()}
    of = "data" if id == "005" else "samples"
    table = Table(
        f"share of {trials} problems of {_rows(make)} {of} that are recovered exactly, without noise",
        tuple(f"{share:.0%} spikes" for share in shares),
        echo,
    )
    for method in _METHODS:
        table.baseline(method, *rates[method].tolist())
    helps = float((rates["lambda by block"] - rates["one lambda"]).sum())
    table.note(f"{g.weights_rule}. {_verdict(id, helps)} {certified} of {total} solves are certified.")
    return rates, table


def _verdict(id: str, helps: float) -> str:
    if helps > 0.0:
        return (
            "Where spikes fill half of the samples, cheap waves are used to imitate them; made dear, they "
            "are used for what only they can do."
        )
    if id == "005":
        return (
            "Mixed data see every coefficient alike, waves and spikes are both few, and dear waves are given "
            "up for many spikes: one lambda is better."
        )
    return "One lambda is no worse here."


def _rows(make: Any) -> int:
    return int(make.keywords["m"] or make.args[0])


def _noise(id: str, make: Any, size: str, seed: int, echo: bool) -> Table:
    """Compare one lambda with lambdas learned per block, in noise."""
    rng = np.random.default_rng([seed, 99])
    g = make(round(0.12 * _rows(make)), rng)
    clean = g.b
    noise = rng.standard_normal(clean.shape)
    if np.iscomplexobj(clean):
        noise = (noise + 1j * rng.standard_normal(clean.shape)) / np.sqrt(2.0)
    b = clean + _SIGMA * noise
    table = Table(
        f"the same in noise: {clean.size} data, standard deviation {_SIGMA:g} for spikes of 1",
        ("fit [dB]", "SNR [dB]"),
        echo,
    )
    table.baseline("data as they are", snr_db(clean, b), None)
    one = solve_problem(g.A, b, L1(), select=SURE(sigma=_SIGMA))
    table.solved("one lambda", one, snr_db(clean, g.A @ one.x), snr_db(g.truth, one.x))
    tuning = tune_lams(
        g.A, b, L1(groups=g.labels), criterion=SURE(sigma=_SIGMA), max_evaluations=10 if size == "s" else 20
    )
    learned = tuning.result
    table.solved("lambda by block", learned, snr_db(clean, g.A @ learned.x), snr_db(g.truth, learned.x))
    gain = table.score("lambda by block") - table.score("one lambda")
    kept = "they promise no gain, so one for both is kept" if tuning.fell_back else "they promise a gain"
    table.note(
        "Levels by Stein's estimate of the risk, sigma known; fit is that to data without noise. Learned per "
        f"block, {tuning.lams[0]:.3g} for waves and {tuning.lams[1]:.3g} for spikes ({kept}), against "
        f"{float(np.ravel(one.lam)[0]):.3g} for one lambda on a grid of levels: {gain:+.1f} dB. White noise "
        "reaches all columns of unit norm alike, so the blocks have little to disagree about."
    )
    return table


def _draw(id: str, shares: tuple[float, ...], rates: dict[str, Array], n: int, trials: int) -> Any:
    from sparseinv.plotting import figure

    drawing, axes = figure(1, 1, size=(5.6, 3.8))
    for (method, share), mark in zip(rates.items(), ("o-", "s-"), strict=True):
        axes.plot(100 * np.array(shares), 100 * share, mark, label=method, markersize=5)
    axes.set_xlabel(f"spikes [% of {'data' if id == '005' else 'samples'}]")
    axes.set_ylabel("recovered exactly [% of problems]")
    axes.set_ylim(-4, 104)
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize=8)
    axes.set_title(f"{id}: n = {n}, {trials} problems a point, no noise", fontsize=9, loc="left")
    return drawing, axes

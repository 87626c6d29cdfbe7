"""A1: three-term AVO inversion, with the three reflectivities apart and together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sparseinv.operators.convolution import Convolution
from sparseinv.operators.matrix import DenseMatrix
from sparseinv.penalties import L1, L2, GroupL1
from sparseinv.penalties.base import Leveled
from sparseinv.problems.catalogue import Case
from sparseinv.problems.report import Demo, Goal, Table, together
from sparseinv.seismic.avo import AVOInversion, avo_coefficients, invert_avo
from sparseinv.seismic.metrics import snr_db
from sparseinv.seismic.reflectivity import sparse_spikes
from sparseinv.seismic.wavelets import ricker
from sparseinv.selection.thresholds import Pivotal

Array = np.ndarray[Any, Any]

_DT, _F0, _SNR = 0.004, 30.0, 10.0
_SIZES = {"s": (8, 10, 60), "m": (3, 20, 300)}  # gathers, angles, samples
_DENSITY = 0.06
_VS_VP = 0.5
# standard deviations and correlations of Rp, Rs, Rrho; 0.8 between Rp and Rrho is what Gardner's rule leaves
_DEVIATION = np.array([0.10, 0.12, 0.04])
_CORRELATION = np.array([[1.0, 0.8, 0.8], [0.8, 1.0, 0.6], [0.8, 0.6, 1.0]])
COVARIANCE = _CORRELATION * np.outer(_DEVIATION, _DEVIATION)
_NAMES = ("Rp", "Rs", "Rrho")
_SCORES = tuple(f"{name} [dB]" for name in _NAMES)


@dataclass(frozen=True, eq=False)
class Gathers:
    """Hold reflectivities, (n_gathers, 3, n_samples), and data, (n_gathers, n_angles, n_samples)."""

    truth: Array
    data: Array
    angles: Array
    sigma: float


def build(size: str, seed: int) -> Gathers:
    """Return the gathers of a size: interfaces whose three reflectivities are correlated."""
    gathers, count, samples = _SIZES[size]
    rng = np.random.default_rng(seed)
    angles = np.linspace(0.0, 40.0, count)
    spikes = max(3, round(_DENSITY * samples))
    places = sparse_spikes(samples, spikes, gathers, min_gap=2, rng=rng)
    truth = np.zeros((gathers, 3, samples))
    for reflectivity, place in zip(truth, places, strict=True):
        triples = np.linalg.cholesky(COVARIANCE) @ rng.standard_normal((3, spikes))
        reflectivity[:, np.flatnonzero(place)] = triples
    wavelet, _, center = ricker(_F0, _DT)
    r = avo_coefficients(angles, _VS_VP) @ truth
    W = Convolution(r.shape, wavelet, offset=center)
    clean = (W @ r.ravel()).reshape(r.shape)
    sigma = float(np.linalg.norm(clean)) / math.sqrt(clean.size) * 10.0 ** (-_SNR / 20.0)
    return Gathers(truth, clean + sigma * rng.standard_normal(clean.shape), angles, sigma)


def load(id: str, *, size: str, seed: int, data: Path | None) -> Case:
    """Build that of the first gather, C made the identity; see `sparseinv.problems.load_problem`."""
    case = build(size, seed)
    wavelet, _, center = ricker(_F0, _DT)
    answer = _inverted(case, L1(), COVARIANCE)
    samples = case.data.shape[2]
    root = np.linalg.cholesky(COVARIANCE)
    W = Convolution(samples, wavelet, offset=center).columns(np.arange(samples))
    A = DenseMatrix(np.asfortranarray(np.kron(avo_coefficients(case.angles, _VS_VP) @ root, W)))
    truth = np.linalg.solve(root, case.truth[0]).ravel()

    def score(x: Array) -> dict[str, float]:
        return dict(
            zip(_SCORES, _scores(case.truth[:1], (root @ np.reshape(x, (3, samples)))[None]), strict=True)
        )

    penalty = GroupL1(float(answer.lam[0]), groups=np.tile(np.arange(samples), 3))
    return Case(
        id, size, seed, A, case.data[0].ravel(), penalty, answer.rule, case.sigma, score, truth, (3, samples)
    )


def run(id: str, *, size: str, seed: int, data: Path | None, echo: bool) -> Demo:
    """Run the problem; see `sparseinv.problems.run_problem`."""
    case = build(size, seed)
    gathers, count, samples = case.data.shape
    table = Table(
        f"{gathers} gathers, {count} angles from 0 to 40 degrees, {samples} samples, {_DT * 1e3:g} ms, "
        f"Ricker {_F0:g} Hz, white noise at {_SNR:g} dB",
        _SCORES,
        echo,
    )
    variances = _DEVIATION**2
    full: dict[str, Any] = {"select": Pivotal(alpha=0.05), "refit": True}
    ways: dict[str, tuple[Leveled, Array, dict[str, Any]]] = {
        "L2, C": (L2(), COVARIANCE, {"coupled": False}),
        "L1, variances": (L1(), variances, {"coupled": False}),
        "L1, C": (L1(), COVARIANCE, {"coupled": False}),
        "group, variances": (L1(), variances, {}),
        "group, C": (L1(), COVARIANCE, {}),
        "group, C, refit": (L1(), COVARIANCE, full),
    }
    estimates = {}
    for method, (penalty, covariance, options) in ways.items():
        answer = _inverted(case, penalty, covariance, **options)
        estimates[method] = answer.refitted if "refit" in method else answer.reflectivity
        nonzeros = sum(result.support.size for result in answer.results)
        scores = _scores(case.truth, estimates[method])
        table.solved(method, together(answer.results), *scores, nonzeros=nonzeros)
    rs, rrho = ({method: table.score(method, name) for method in ways} for name in _SCORES[1:])
    table.note(
        "lambda without the truth: L2 by generalised cross-validation or leave-one-out, L1 and group by "
        "the pivotal rule. C is the covariance of the three reflectivities, variances its diagonal; both "
        "are what well logs would tell, not the truth at these interfaces. L1 and L2 with C act after the "
        "change of variables that makes C the identity. Refit: support from Pivotal(alpha=0.05), then the "
        "conditional mean on it."
    )
    table.note(
        "Up to 40 degrees density hardly shows in the data: small changes of Rp and Rs make up for a wrong "
        "Rrho. What gives it a size is its correlation with the other two, and what makes this count is "
        f"sparsity: {rrho['group, C']:.1f} dB for triples with C, {rrho['L2, C']:.1f} dB for the Gaussian "
        f"prior with the same C, {rrho['L1, variances']:.1f} dB for L1 and {rrho['group, variances']:.1f} "
        "dB for triples without correlations. L1 in coordinates that C makes independent finds about as much "
        f"of it ({rrho['L1, C']:.1f} dB). Rp and Rs are in the data; Rs is {rs['L1, C']:.1f} dB for L1 with "
        f"C, {rs['group, C']:.1f} for triples and {rs['group, C, refit']:.1f} after the refit, which gains "
        "where reflectors stand apart and may lose where they are closer than the wavelet resolves."
    )
    goals = (
        Goal("Rrho SNR of group L21 [dB], against L2", rrho["group, C"], rrho["L2, C"]),
        Goal("Rrho SNR of group L21 [dB], against L1", rrho["group, C"], rrho["L1, variances"]),
    )
    return Demo(id, (table,), {id: partial(_draw, case, estimates, table)}, goals)


def _inverted(case: Gathers, penalty: Leveled, covariance: Array, **options: Any) -> AVOInversion:
    wavelet, _, center = ricker(_F0, _DT)
    options = {"refit": False} | options
    return invert_avo(
        case.data, wavelet, _DT, case.angles, penalty, covariance=covariance, vs_vp=_VS_VP, offset=center,
        **options,
    )  # fmt: skip


def _scores(truth: Array, estimate: Array) -> list[float]:
    return [round(snr_db(truth[:, k], estimate[:, k]), 6) + 0.0 for k in range(3)]


def _draw(case: Gathers, estimates: dict[str, Array], table: Table) -> Any:
    from sparseinv.plotting import figure, section

    shown = ["L2, C", "L1, variances", "group, C", "group, C, refit"]
    drawing, axes = figure(1, 4, size=(14.0, 7.0), sharey=True, width_ratios=(1.2, 1.0, 1.0, 1.0))
    section(
        case.data[0], _DT, axes=axes[0], x=case.angles, kind="wiggle", xlabel="angle [degrees]",
        title=f"first gather, SNR {_SNR:g} dB",
    )  # fmt: skip
    t = np.arange(case.data.shape[2]) * _DT
    for k, (panel, name) in enumerate(zip(axes[1:], _NAMES, strict=True)):
        step = 2.2 * float(np.abs(case.truth[0, k]).max())
        at = np.flatnonzero(case.truth[0, k])
        for column, method in enumerate(shown):
            x = estimates[method][0, k]
            panel.hlines(t, column * step, column * step + x, color="tab:blue", linewidth=1.2)
            panel.plot(
                column * step + case.truth[0, k][at],
                t[at],
                "o",
                color="tab:red",
                markersize=3,
                fillstyle="none",
            )
            panel.axvline(column * step, color="black", linewidth=0.5)
        labels = [f"{method}\n{table.score(method, f'{name} [dB]'):.1f} dB" for method in shown]
        panel.set_xticks(np.arange(len(shown)) * step, labels, fontsize=7, rotation=30, ha="right")
        panel.set_title(f"{name}: blue estimate, red truth; spacing {step:.2g}", fontsize=9)
    return drawing, axes

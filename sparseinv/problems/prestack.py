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
_SIZES = {"s": (10, 60), "m": (20, 300)}
_DENSITY = 0.06
_VS_VP = 0.5
# standard deviations and correlations of Rp, Rs, Rrho; 0.8 between Rp and Rrho is what Gardner's rule leaves
_DEVIATION = np.array([0.10, 0.12, 0.04])
_CORRELATION = np.array([[1.0, 0.8, 0.8], [0.8, 1.0, 0.6], [0.8, 0.6, 1.0]])
COVARIANCE = _CORRELATION * np.outer(_DEVIATION, _DEVIATION)
_NAMES = ("Rp", "Rs", "Rrho")
_SCORES = tuple(f"{name} [dB]" for name in _NAMES)


@dataclass(frozen=True, eq=False)
class Gather:
    """Hold true reflectivities, shape (3, n_samples), and the angle gather, (n_angles, n_samples)."""

    truth: Array
    data: Array
    angles: Array
    sigma: float


def build(size: str, seed: int) -> Gather:
    """Return the gather of a size: interfaces whose three reflectivities are correlated."""
    count, samples = _SIZES[size]
    rng = np.random.default_rng(seed)
    angles = np.linspace(0.0, 40.0, count)
    spikes = max(3, round(_DENSITY * samples))
    at = np.flatnonzero(sparse_spikes(samples, spikes, min_gap=2, rng=rng))
    truth = np.zeros((3, samples))
    truth[:, at] = np.linalg.cholesky(COVARIANCE) @ rng.standard_normal((3, spikes))
    wavelet, _, center = ricker(_F0, _DT)
    r = avo_coefficients(angles, _VS_VP) @ truth
    clean = Convolution(samples, wavelet, offset=center).matmat(r.T).T
    sigma = float(np.linalg.norm(clean)) / math.sqrt(clean.size) * 10.0 ** (-_SNR / 20.0)
    return Gather(truth, clean + sigma * rng.standard_normal(clean.shape), angles, sigma)


def load(id: str, *, size: str, seed: int, data: Path | None) -> Case:
    """Build the problem in coordinates of unit covariance; see `sparseinv.problems.load_problem`."""
    case = build(size, seed)
    wavelet, _, center = ricker(_F0, _DT)
    answer = _inverted(case, L1(), COVARIANCE)
    samples = case.data.shape[1]
    root = np.linalg.cholesky(COVARIANCE)
    W = Convolution(samples, wavelet, offset=center).columns(np.arange(samples))
    A = DenseMatrix(np.asfortranarray(np.kron(avo_coefficients(case.angles, _VS_VP) @ root, W)))
    truth = np.linalg.solve(root, case.truth).ravel()

    def score(x: Array) -> dict[str, float]:
        return dict(zip(_SCORES, _scores(case.truth, root @ np.reshape(x, (3, samples))), strict=True))

    penalty = GroupL1(float(answer.lam[0]), groups=np.tile(np.arange(samples), 3))
    return Case(
        id, size, seed, A, case.data.ravel(), penalty, answer.rule, case.sigma, score, truth, (3, samples)
    )


def run(id: str, *, size: str, seed: int, data: Path | None, echo: bool) -> Demo:
    """Run the problem; see `sparseinv.problems.run_problem`."""
    case = build(size, seed)
    count, samples = case.data.shape
    table = Table(
        f"{count} angles from 0 to 40 degrees, {samples} samples, {_DT * 1e3:g} ms, Ricker {_F0:g} Hz, white "
        f"noise at {_SNR:g} dB",
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
        table.solved(method, together(answer.results), *_scores(case.truth, estimates[method]))
    rrho = {method: table.score(method, "Rrho [dB]") for method in ways}
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
        "dB for triples without correlations. L1 in coordinates that C makes independent finds as much of "
        f"the density ({rrho['L1, C']:.1f} dB). Rp and Rs are in the data, there triples and the refit "
        f"count: Rs {table.score('L1, C', 'Rs [dB]'):.1f}, {table.score('group, C', 'Rs [dB]'):.1f} and "
        f"{table.score('group, C, refit', 'Rs [dB]'):.1f} dB."
    )
    goals = (
        Goal("Rrho SNR of group L21 [dB], against L2", rrho["group, C"], rrho["L2, C"]),
        Goal("Rrho SNR of group L21 [dB], against L1", rrho["group, C"], rrho["L1, variances"]),
    )
    return Demo(id, (table,), {id: partial(_draw, case, estimates, table)}, goals)


def _inverted(case: Gather, penalty: Leveled, covariance: Array, **options: Any) -> AVOInversion:
    wavelet, _, center = ricker(_F0, _DT)
    options = {"refit": False} | options
    return invert_avo(
        case.data, wavelet, _DT, case.angles, penalty, covariance=covariance, vs_vp=_VS_VP, offset=center,
        **options,
    )  # fmt: skip


def _scores(truth: Array, estimate: Array) -> list[float]:
    return [round(snr_db(t, x), 6) + 0.0 for t, x in zip(truth, estimate, strict=True)]


def _draw(case: Gather, estimates: dict[str, Array], table: Table) -> Any:
    from sparseinv.plotting import figure, section

    shown = ["L2, C", "L1, variances", "group, C", "group, C, refit"]
    drawing, axes = figure(1, 4, size=(14.0, 7.0), sharey=True, width_ratios=(1.2, 1.0, 1.0, 1.0))
    section(
        case.data, _DT, axes=axes[0], x=case.angles, kind="wiggle", xlabel="angle [degrees]",
        title=f"angle gather, SNR {_SNR:g} dB",
    )  # fmt: skip
    t = np.arange(case.data.shape[1]) * _DT
    for k, (panel, name) in enumerate(zip(axes[1:], _NAMES, strict=True)):
        step = 2.2 * float(np.abs(case.truth[k]).max())
        at = np.flatnonzero(case.truth[k])
        for column, method in enumerate(shown):
            x = estimates[method][k]
            panel.hlines(t, column * step, column * step + x, color="tab:blue", linewidth=1.2)
            panel.plot(
                column * step + case.truth[k][at], t[at], "o", color="tab:red", markersize=3, fillstyle="none"
            )
            panel.axvline(column * step, color="black", linewidth=0.5)
        labels = [f"{method}\n{table.score(method, f'{name} [dB]'):.1f} dB" for method in shown]
        panel.set_xticks(np.arange(len(shown)) * step, labels, fontsize=7, rotation=30, ha="right")
        panel.set_title(f"{name}: blue estimate, red truth; spacing {step:.2g}", fontsize=9)
    return drawing, axes

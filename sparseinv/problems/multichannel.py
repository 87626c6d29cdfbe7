"""D5: layered reflectivity in strong noise, trace by trace and with the traces coupled."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sparseinv.entry import solve
from sparseinv.operators.convolution import Convolution
from sparseinv.penalties import L0, L1, L2, GroupL1
from sparseinv.penalties.base import Leveled
from sparseinv.problems.catalogue import Case
from sparseinv.problems.report import Demo, Goal, Table, together
from sparseinv.seismic.deconvolution import deconvolve
from sparseinv.seismic.metrics import score_spikes, snr_db
from sparseinv.seismic.wavelets import ricker
from sparseinv.selection.thresholds import Pivotal

Array = np.ndarray[Any, Any]

_DT, _F0, _SNR = 0.004, 30.0, 5.0
_SIZES = {"s": (10, 128), "m": (40, 400), "l": (500, 1000)}
_DENSITY = 0.04  # reflectors a sample
_TOLERANCE = 1e-5
_SCORES = ("SNR [dB]", "refit [dB]", "spike F1")


@dataclass(frozen=True, eq=False)
class Layers:
    """Hold a section of layers with a fold, and what was recorded of it.

    Attributes
    ----------
    truth, data : ndarray, shape (n_traces, n_samples)
        Reflectivity and noisy traces.
    delays : ndarray, shape (n_traces,)
        How much later the fold makes the layers of a trace [s].
    sigma : float
        Standard deviation of the noise.
    """

    truth: Array
    data: Array
    delays: Array
    sigma: float


def build(size: str, seed: int) -> Layers:
    """Return the section of a size: times common to all traces up to the fold, amplitudes that vary."""
    traces, samples = _SIZES[size]
    rng = np.random.default_rng(seed)
    truth = np.zeros((traces, samples))
    place = np.arange(traces) / max(traces - 1, 1)
    shifts = np.rint(0.05 * samples * np.sin(math.pi * place)).astype(int)
    times = np.sort(rng.choice(samples // 3, round(_DENSITY * samples), replace=False)) * 3
    for time in times:
        amplitude = rng.choice([-1.0, 1.0]) * (0.2 + abs(rng.standard_normal()))
        lateral = amplitude * (
            1.0 + 0.5 * np.sin(2.0 * math.pi * (rng.random() + 1.5 * rng.random() * place))
        )
        if rng.random() < 0.25:  # a layer that pinches out
            end = rng.uniform(0.2, 0.8)
            lateral = np.where(place < end, lateral, 0.0)
        row = np.flatnonzero(time + shifts < samples)
        truth[row, time + shifts[row]] = lateral[row]
    wavelet, _, center = ricker(_F0, _DT)
    clean = Convolution(samples, wavelet, offset=center).matmat(truth.T).T
    sigma = float(np.linalg.norm(clean)) / math.sqrt(clean.size) * 10.0 ** (-_SNR / 20.0)
    return Layers(truth, clean + sigma * rng.standard_normal(clean.shape), shifts * _DT, sigma)


def load(id: str, *, size: str, seed: int, data: Path | None) -> Case:
    """Build the problem; see `sparseinv.problems.load_problem`."""
    layers = build(size, seed)
    wavelet, _, center = ricker(_F0, _DT)
    answer = deconvolve(
        layers.data, wavelet, _DT, coupled=True, delays=layers.delays, refit=False, tol=_TOLERANCE
    )
    samples = layers.data.shape[1]
    labels = np.arange(samples) - np.rint(layers.delays / _DT).astype(int)[:, None]
    return Case(
        id, size, seed, Convolution(layers.data.shape, wavelet, offset=center), layers.data.ravel(),
        GroupL1(float(answer.lam[0]), groups=labels.ravel()), answer.rule, layers.sigma,
        partial(_score, layers.truth), layers.truth.ravel(), layers.truth.shape,
    )  # fmt: skip


def run(id: str, *, size: str, seed: int, data: Path | None, echo: bool) -> Demo:
    """Run the problem; see `sparseinv.problems.run_problem`."""
    layers = build(size, seed)
    wavelet, _, center = ricker(_F0, _DT)
    traces, samples = layers.data.shape
    table = Table(
        f"{traces} traces of {samples} samples, {_DT * 1e3:g} ms, Ricker {_F0:g} Hz, a folded stack of "
        f"layers, white noise at an SNR of {_SNR:g} dB",
        _SCORES,
        echo,
    )
    table.baseline("data as they are", snr_db(layers.truth, layers.data), None, None)
    flat = solve(
        Convolution(layers.data.shape, wavelet, offset=center), layers.data.ravel(), L2(), tol=_TOLERANCE
    )
    estimates = {"L2": flat.x.reshape(layers.data.shape)}
    table.solved("L2", flat, snr_db(layers.truth, estimates["L2"]), None, None)
    flattened: dict[str, Any] = {"coupled": True, "delays": layers.delays}
    ways: dict[str, tuple[Leveled, dict[str, Any]]] = {
        "L1": (L1(), {}),
        "group, not flat": (L1(), {"coupled": True}),
        "group": (L1(), flattened),
        "L0": (L0(), {}),
        "L1, sparse": (L1(), {"select": Pivotal(alpha=0.05)}),
        "group, sparse": (L1(), flattened | {"select": Pivotal(alpha=0.05)}),
    }
    for method, (penalty, options) in ways.items():
        answer = deconvolve(layers.data, wavelet, _DT, penalty, tol=_TOLERANCE, **options)
        estimates[method] = answer.refitted if "sparse" in method else answer.reflectivity
        scores = (
            snr_db(layers.truth, answer.reflectivity), snr_db(layers.truth, answer.refitted),
            score_spikes(layers.truth, answer.refitted).f1,
        )  # fmt: skip
        count = int(np.count_nonzero(answer.reflectivity))
        table.solved(method, together(answer.results), *scores, nonzeros=count)
    single, coupled = table.score("L1"), table.score("group")
    refitted = [table.score(name, "refit [dB]") for name in ("L1, sparse", "group, sparse")]
    table.note(
        "lambda without the truth: L2 by generalised cross-validation; L1 and group by the pivotal rule, "
        "which predicts best; sparse means its full level, Pivotal(alpha=0.05), which noise passes in one "
        "of twenty cases; L0 sigma^2 log n with sigma estimated. Refit: least squares on the support with "
        "its signs; it helps at the full level only, because at half of it noise is in the support. A "
        "spike counts as found within one sample, in the refit."
    )
    table.note(
        f"What one trace cannot tell from noise, {traces} traces can: coupling gains {coupled - single:.1f} "
        f"dB over L1 trace by trace, {refitted[1] - refitted[0]:.1f} dB after the refit, although the "
        "amplitudes of a layer vary by a factor of three and some layers end within the section. The "
        "traces must be flat, or their delays known: with the fold left in, groups mix layers and reach "
        f"{table.score('group, not flat'):.1f} dB. L0, trace by trace, reaches {table.score('L0'):.1f} dB."
    )
    goals = (
        Goal("reflectivity SNR of coupled traces [dB], against L1 trace by trace", coupled, single),
        Goal("the same after a refit at the full level [dB]", refitted[1], refitted[0]),
    )
    draw = partial(_draw, layers, estimates, table)
    return Demo(id, (table,), {id: draw}, goals)


def _score(truth: Array, x: Array) -> dict[str, float]:
    estimate = np.asarray(x).reshape(truth.shape)
    return {"SNR [dB]": snr_db(truth, estimate), "spike F1": score_spikes(truth, estimate).f1}


def _draw(layers: Layers, estimates: dict[str, Array], table: Table) -> Any:
    from sparseinv.plotting import clip_level, figure, section

    names = ["L2", "L1", "group, sparse"]
    drawing, axes = figure(1, 5, size=(15.0, 6.0), sharey=True)
    section(layers.data, _DT, axes=axes[0], signed=False, title=f"data, SNR {_SNR:g} dB")
    level = clip_level(layers.truth[layers.truth != 0], 80.0)
    section(layers.truth, _DT, axes=axes[1], clip=level, title="true reflectivity")
    for panel, name in zip(axes[2:], names, strict=True):
        refit = "sparse" in name
        score = table.score(name, "refit [dB]") if refit else table.score(name)
        title = f"{name}{', refit' if refit else ''}: {score:.1f} dB"
        section(estimates[name], _DT, axes=panel, clip=level, title=title)
    for panel in axes[1:]:
        panel.set_ylabel("")
    drawing.colorbar(axes[4].images[0], ax=axes[4], label="reflectivity")
    return drawing, axes

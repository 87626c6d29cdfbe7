"""W1: wedges that thin out below tuning, inverted for spikes and for layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sparseinv.entry import solve
from sparseinv.operators.convolution import Convolution
from sparseinv.penalties import L0, L1, L2
from sparseinv.problems.catalogue import Case
from sparseinv.problems.report import Demo, Goal, Table, together
from sparseinv.seismic.deconvolution import Deconvolution, deconvolve
from sparseinv.seismic.metrics import snr_db
from sparseinv.seismic.thin_beds import LayerPairs, deconvolve_layers
from sparseinv.seismic.wavelets import ricker

Array = np.ndarray[Any, Any]

_DT, _F0, _SNR = 0.002, 30.0, 25.0
_TUNING = math.sqrt(6.0) / (2.0 * math.pi * _F0)  # [s] two-way time of the largest amplitude of a bed
# samples of a trace, thickest bed (also the number of traces), top of the first wedge, step to the next
_SIZES = {"s": (116, 8, 26, 32), "m": (200, 20, 32, 58)}
_WEDGES = {"odd": (1.0, -1.0), "even": (1.0, 1.0), "unequal": (1.0, -0.6)}  # top and base
_SCORES = (*(f"{name} [dB]" for name in _WEDGES), "thin [dB]")


@dataclass(frozen=True, eq=False)
class Section:
    """Hold wedges below one another, trace k with beds of k + 1 samples, and the noisy traces."""

    truth: Array
    data: Array
    sigma: float
    windows: dict[str, slice]


def build(size: str, seed: int) -> Section:
    """Return the section of a size."""
    samples, thickest, top, step = _SIZES[size]
    rng = np.random.default_rng(seed)
    truth, windows = np.zeros((thickest, samples)), {}
    for number, (name, (above, below)) in enumerate(_WEDGES.items()):
        place = top + number * step
        windows[name] = slice(place - step // 4, place + thickest + step // 4)
        truth[:, place] = above
        truth[np.arange(thickest), place + 1 + np.arange(thickest)] = below
    wavelet, _, center = ricker(_F0, _DT)
    clean = Convolution(samples, wavelet, offset=center).matmat(truth.T).T
    sigma = float(np.linalg.norm(clean)) / math.sqrt(clean.size) * 10.0 ** (-_SNR / 20.0)
    return Section(truth, clean + sigma * rng.standard_normal(clean.shape), sigma, windows)


def load(id: str, *, size: str, seed: int, data: Path | None) -> Case:
    """Build the problem of the thinnest beds in layers; see `sparseinv.problems.load_problem`."""
    section = build(size, seed)
    wavelet, _, center = ricker(_F0, _DT)
    samples, thickest, *_ = _SIZES[size]
    pairs = LayerPairs(samples, thickest)
    answer = deconvolve_layers(section.data[0], wavelet, _DT, thickest * _DT, offset=center, refit=False)
    A = Convolution(samples, wavelet, offset=center) @ pairs
    weights = np.linalg.norm(A.matmat(np.eye(A.shape[1])), axis=0) / float(np.linalg.norm(wavelet))
    return Case(
        id, size, seed, A, section.data[0], L1(float(answer.lam[0]), weights=weights), answer.rule,
        section.sigma, lambda x: {"SNR [dB]": snr_db(section.truth[0], pairs @ x)}, None, pairs.dims,
    )  # fmt: skip


def run(id: str, *, size: str, seed: int, data: Path | None, echo: bool) -> Demo:
    """Run the problem; see `sparseinv.problems.run_problem`."""
    section = build(size, seed)
    samples, thickest, *_ = _SIZES[size]
    wavelet, _, center = ricker(_F0, _DT)
    A = Convolution(section.data.shape, wavelet, offset=center)
    columns = 2 * thickest * samples
    table = Table(
        f"three wedges, beds of 1 to {thickest} samples of {_DT * 1e3:g} ms, Ricker {_F0:g} Hz (tuning at "
        f"{_TUNING * 1e3:.0f} ms), noise at {_SNR:g} dB; {samples} spikes or {columns} layers a trace",
        _SCORES,
        echo,
    )
    flat = solve(A, section.data.ravel(), L2())
    estimates = {"L2": flat.x.reshape(section.data.shape)}
    table.solved("L2", flat, *_scores(section, estimates["L2"]))
    length = thickest * _DT
    ways: dict[str, Callable[..., Deconvolution]] = {
        "L1 spikes": partial(deconvolve, penalty=L1()),
        "L1 layers, g = 1": partial(deconvolve_layers, thickest=length, normalize=False),
        "L1 layers": partial(deconvolve_layers, thickest=length),
        "L0 spikes": partial(deconvolve, penalty=L0()),
    }
    for method, way in ways.items():
        answer = way(section.data, wavelet, _DT, offset=center, refit=False)
        estimates[method] = answer.reflectivity
        count = sum(result.support.size for result in answer.results)
        table.solved(method, together(answer.results), *_scores(section, answer.reflectivity), nonzeros=count)
    odd, even, unequal = ({name: table.score(name, f"{wedge} [dB]") for name in ways} for wedge in _WEDGES)
    table.note(
        "SNR of the reflectivity of each wedge: top and base 1 and -1 (odd), 1 and 1 (even), 1 and -0.6 "
        "(unequal); thin: of the odd and even beds below tuning. lambda without the truth: L2 by generalised "
        "cross-validation, L1 by the pivotal rule, L0 by sigma^2 log n with sigma estimated. Layers are "
        "charged by the norm g of what they show, or all alike (g = 1)."
    )
    table.note(
        "A dictionary is a prior. Where top and base are equally strong, one layer explains a bed, and L1 "
        f"finds it far below tuning: odd {odd['L1 layers']:.1f} dB against {odd['L1 spikes']:.1f} dB for "
        f"spikes, even {even['L1 layers']:.1f} against {even['L1 spikes']:.1f} dB. Where they differ, two "
        "layers are needed, one of them all but invisible and cheap because of it: "
        f"{unequal['L1 layers']:.1f} dB, spikes {unequal['L1 spikes']:.1f} dB. L0 on spikes, a search over "
        f"supports with a local certificate only, needs no such prior: {odd['L0 spikes']:.1f}, "
        f"{even['L0 spikes']:.1f} and {unequal['L0 spikes']:.1f} dB."
    )
    goals = tuple(
        Goal(
            f"SNR of L1 on layers, {name} [dB], against L1 on spikes", wedge["L1 layers"], wedge["L1 spikes"]
        )
        for name, wedge in (("odd beds", odd), ("even beds", even))
    )
    return Demo(id, (table,), {id: partial(_draw, section, estimates, table)}, goals)


def _scores(section: Section, estimate: Array) -> list[float]:
    scores = [snr_db(section.truth[:, window], estimate[:, window]) for window in section.windows.values()]
    below = math.floor(_TUNING / _DT)
    parts = [section.windows["odd"], section.windows["even"]]
    true, found = (
        np.concatenate([x[:below, part].ravel() for part in parts]) for x in (section.truth, estimate)
    )
    return [round(score, 6) + 0.0 for score in [*scores, snr_db(true, found)]]


def _draw(section: Section, estimates: dict[str, Array], table: Table) -> Any:
    from sparseinv.plotting import figure
    from sparseinv.plotting import section as draw

    names = ["L1 spikes", "L1 layers", "L0 spikes"]
    drawing, axes = figure(1, 5, size=(15.0, 6.5), sharey=True)
    thickness = (1 + np.arange(section.data.shape[0])) * _DT * 1e3
    label = "thickness [ms]"
    draw(section.data, _DT, axes=axes[0], x=thickness, kind="wiggle", xlabel=label, title="data")
    draw(section.truth, _DT, axes=axes[1], x=thickness, clip=1.0, xlabel=label, title="true reflectivity")
    for panel, name in zip(axes[2:], names, strict=True):
        title = f"{name}: below tuning {table.score(name, 'thin [dB]'):.1f} dB"
        draw(estimates[name], _DT, axes=panel, x=thickness, clip=1.0, xlabel=label, title=title)
    for panel in axes:
        panel.axvline(_TUNING * 1e3, color="tab:green", linewidth=1.0, linestyle="--")
    for panel in axes[1:]:
        panel.set_ylabel("")
    drawing.colorbar(axes[4].images[0], ax=axes[4], label="reflectivity")
    drawing.suptitle("wedges; the dashed line is the tuning thickness")
    return drawing, axes

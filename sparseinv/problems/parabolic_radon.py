"""Multiples removed from a gather after moveout correction: sparse parabolic Radon against least squares."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sparseinv.operators.frequency_radon import FrequencyRadon
from sparseinv.penalties import L0, L1, L2
from sparseinv.problems.catalogue import Case
from sparseinv.problems.report import Demo, Goal, Table
from sparseinv.result import Result
from sparseinv.seismic.metrics import gini, snr_db
from sparseinv.seismic.radon_filter import Demultiple, demultiple
from sparseinv.seismic.radon_fit import largest_column
from sparseinv.seismic.reflectivity import parabolic_events

Array = np.ndarray[Any, Any]

_DT = 0.004
_F0 = 20.0
_BAND = (1.0, 60.0)
_CUT = 0.05  # [s] between the moveouts of primaries and multiples
_NOISE = 0.2  # standard deviation over the rms of the gather
#: traces, samples, curves, primaries, multiples
_SIZES = {"s": (20, 100, 30, 2, 3), "m": (49, 1001, 60, 10, 14), "l": (92, 1751, 180, 20, 30)}
_BOTH = "reweighted L1, refit"
_SCORES = ("primaries [dB]", "Gini", "primaries x", "multiples x")


class Model:
    """A gather whose primaries and multiples are known.

    Attributes
    ----------
    primaries, multiples, noise : ndarray, shape (offsets, samples)
        The parts; their sum is `data`.
    offsets, moveouts : ndarray
        Offsets [m] and the moveouts [s] of the panel.
    """

    def __init__(self, size: str, seed: int) -> None:
        traces, samples, curves, flat, bent = _SIZES[size]
        rng = np.random.default_rng(seed)
        end = samples * _DT
        self.offsets = np.linspace(100.0, 2500.0, traces)
        self.moveouts = np.linspace(-0.3, 0.8, curves) if size != "s" else np.linspace(-0.06, 0.23, curves)
        steepest = 0.65 if size != "s" else 0.2
        self.primaries = self._events(rng, flat, samples, (0.15 * end, 0.85 * end), (-0.02, 0.02))
        self.multiples = self._events(rng, bent, samples, (0.1 * end, 0.7 * end), (0.08, steepest))
        clean = self.primaries + self.multiples
        self.sigma = _NOISE * float(np.sqrt(np.mean(clean**2)))
        self.noise = self.sigma * rng.standard_normal(clean.shape)
        self.data = clean + self.noise

    def _events(
        self, rng: np.random.Generator, count: int, samples: int, window: tuple[float, float],
        moveouts: tuple[float, float],
    ) -> Array:  # fmt: skip
        """Return events spread evenly over the window, give or take, with random moveouts and amplitudes."""
        start, end = window
        place = (np.arange(count) + rng.uniform(0.2, 0.8, count)) / count
        return parabolic_events(
            samples, _DT, self.offsets, times=(start + place * (end - start)).tolist(),
            moveouts=rng.uniform(*moveouts, count).tolist(),
            amplitudes=(rng.choice([-1.0, 1.0], count) * rng.uniform(0.4, 1.0, count)).tolist(), f0=_F0,
        )  # fmt: skip

    def scores(self, primaries: Array, multiples: Array, panel: Array | None) -> tuple[float | None, ...]:
        """Return the scores of a separation; noise that stays in the primaries is not held against it."""
        return (
            snr_db(self.primaries, primaries - self.noise),
            None if panel is None else gini(panel),
            _share(self.primaries, primaries),
            _share(self.multiples, multiples),
        )


def load(id: str, *, size: str, seed: int, data: Path | None) -> Case:
    """Build the problem; see `sparseinv.problems.load_problem`."""
    model = Model(size, seed)
    A = FrequencyRadon(model.data.shape, model.offsets, _DT, model.moveouts, band=_BAND)
    found = _separated(model)

    def score(x: Array) -> dict[str, float]:
        panel = x.reshape(A.dims) * (model.moveouts > _CUT)[:, None]
        multiples = (A @ panel.ravel()).reshape(model.data.shape)
        return {
            "primaries [dB]": snr_db(model.primaries, model.data - multiples - model.noise),
            "Gini": gini(x) if x.any() else math.nan,
        }

    return Case(
        id, size, seed, A, model.data.ravel(), L1(found.radon.lam), found.radon.rule, model.sigma, score,
        dims=A.dims,
    )  # fmt: skip


def _separated(model: Model, **options: Any) -> Demultiple:
    return demultiple(model.data, model.offsets, _DT, model.moveouts, _CUT, band=_BAND, **options)


def run(id: str, *, size: str, seed: int, data: Path | None, echo: bool) -> Demo:
    """Run the comparison; see `sparseinv.problems.run_problem`."""
    model = Model(size, seed)
    traces, samples = model.data.shape
    table = Table(
        f"parabolic Radon: {traces} traces of {samples} samples, {model.moveouts.size} moveouts, primaries "
        f"within 20 ms of flat, multiples from 80 ms on, cut at {_CUT * 1e3:g} ms, noise {_NOISE:.0%} of the "
        "rms",
        _SCORES,
        echo,
    )
    table.baseline("data as they are", *model.scores(model.data, np.zeros_like(model.data), None))
    splits: dict[str, Demultiple] = {}

    def row(method: str, split: Demultiple, result: Result) -> Demultiple:
        splits[method] = split
        table.solved(method, result, *model.scores(split.primaries, split.multiples, split.radon.panel))
        return split

    def add(method: str, **options: Any) -> Demultiple:
        split = _separated(model, **options)
        return row(method, split, split.radon.result)

    def add_both(method: str, **options: Any) -> Demultiple:
        """Add a sparse answer as it is, and refitted."""
        split = _separated(model, refit=True, **options)
        assert split.radon.refit is not None
        row(method, unrefitted(model, split), split.radon.result)
        return row(f"{method}, refit", split, split.radon.refit)

    damped = add("L2", penalty=L2())
    chosen = add_both("L1")
    add_both("reweighted L1", penalty=L1(chosen.radon.lam), reweight=1)
    add("L0", penalty=L0((chosen.radon.lam / largest_column(chosen.radon.operator)) ** 2 / 2.0))
    table.note(
        f"lambda: {chosen.radon.rule} (L1); {damped.radon.rule} (L2). Reweighting and refits take over the "
        "level of L1, L0 the charge that goes with it. Primaries are the data minus the modelled multiples; "
        "their noise is not counted as an error. 'x' is the share of the true amplitude: 1 is preserved."
    )
    kept = {method: table.score(method, "multiples x") for method in splits}
    table.note(
        "Least squares spread each event over the neighbouring moveouts, across the cut: a part of the "
        "multiples stays in and a part of the primaries goes with them. Sparse panels put an event where it "
        f"belongs. L1 keeps {kept['L1']:.3f} of the amplitude of the multiples, refitted on its support "
        f"{kept['L1, refit']:.3f}, reweighted {kept['reweighted L1']:.3f}, both {kept[_BOTH]:.3f}. A refit "
        "undoes the shrinkage but fits the noise with every coefficient that is left: it costs decibels, "
        "fewer on the smaller support of reweighted L1, which is nearly unbiased by itself."
    )
    best = "reweighted L1"
    goals = (
        Goal("SNR of primaries, reweighted L1 [dB], against L2", table.score(best), table.score("L2")),
        Goal("SNR of primaries, L1 [dB], against L2", table.score("L1"), table.score("L2")),
        Goal("Gini index of the panel, L1, against L2", table.score("L1", "Gini"), table.score("L2", "Gini")),
        Goal(
            "error of the amplitude of multiples, reweighted and refitted",
            abs(1.0 - table.score(_BOTH, "multiples x")), 0.03, at_least=False,
        ),
    )  # fmt: skip
    shown = {name: splits[name] for name in ("L2", "L1", best)}
    figures = {
        f"{id}-gathers": partial(draw_gathers, model, shown),
        f"{id}-panels": partial(draw_panels, model, shown),
    }
    return Demo(id, (table,), figures, goals)


def unrefitted(model: Model, split: Demultiple) -> Demultiple:
    """Return the separation by the panel before its refit."""
    radon = split.radon
    before = replace(radon, panel=radon.result.x.reshape(radon.panel.shape), refit=None)
    multiples = before.gather(model.moveouts > split.cut)
    return replace(split, primaries=model.data - multiples, multiples=multiples, radon=before)


def _share(truth: Array, estimate: Array) -> float:
    """Return the factor by which the truth is contained in an estimate, by least squares."""
    return float(np.vdot(truth, estimate) / np.vdot(truth, truth))


def draw_gathers(model: Model, splits: dict[str, Demultiple]) -> Any:
    """Draw data, true primaries, and for each method the estimate and its error."""
    from sparseinv.plotting import clip_level, figure, section

    drawing, axes = figure(2, 1 + len(splits), size=(3.4 * (1 + len(splits)), 9.0), sharex=True, sharey=True)
    level = clip_level(model.data, 99.0)
    show = partial(section, dt=_DT, x=model.offsets, clip=level, xlabel="offset [m]")
    show(model.data, axes=axes[0, 0], signed=False, title="data")
    show(model.primaries, axes=axes[1, 0], signed=False, title="true primaries")
    for column, (name, split) in zip(axes[:, 1:].T, splits.items(), strict=True):
        score = snr_db(model.primaries, split.primaries - model.noise)
        show(split.primaries, axes=column[0], signed=False, title=f"{name}: primaries, {score:.1f} dB")
        error = split.primaries - model.noise - model.primaries
        show(error, axes=column[1], clip=0.2 * level, title=f"{name}: error, a fifth of the clip")
    for panel in axes[:, 1:].ravel():
        panel.set_ylabel("")
    for panel in axes[0]:
        panel.set_xlabel("")
    drawing.colorbar(axes[0, -1].images[0], ax=axes[0, -1], label="amplitude")
    drawing.colorbar(axes[1, -1].images[0], ax=axes[1, -1], label="error")
    return drawing, axes


def draw_panels(model: Model, splits: dict[str, Demultiple]) -> Any:
    """Draw the panels, smoothed over a few samples of tau so that single coefficients can be seen."""
    from sparseinv.plotting import figure

    drawing, axes = figure(1, len(splits), size=(4.0 * len(splits), 6.0), sharex=True, sharey=True)
    q = model.moveouts
    step = (q[-1] - q[0]) / (q.size - 1)
    for axis, (name, split) in zip(axes, splits.items(), strict=True):
        m = np.abs(split.radon.panel)
        m = np.sqrt(np.apply_along_axis(np.convolve, 1, m**2, np.ones(5), mode="same"))
        level = np.percentile(m[m > 0], 99.5) if (m > 0).any() else 1.0
        image = axis.imshow(
            (m / level).T, cmap="magma", vmin=0.0, vmax=1.0, aspect="auto", interpolation="none",
            extent=(q[0] - step / 2, q[-1] + step / 2, (m.shape[1] - 0.5) * _DT, -0.5 * _DT),
        )  # fmt: skip
        axis.axvline(_CUT, color="white", linewidth=0.8, linestyle="--")
        axis.set_title(f"{name}: Gini {gini(split.radon.panel):.3f}", fontsize=9)
        axis.set_xlabel("moveout at the far offset [s]")
    axes[0].set_ylabel("tau [s]")
    drawing.colorbar(image, ax=axes[-1], label="modulus over its 99.5th percentile")
    return drawing, axes

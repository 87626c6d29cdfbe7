"""I7: aliased linear events, every other trace missing; one lambda per plane wave."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sparseinv.penalties import L1
from sparseinv.problems.catalogue import Case
from sparseinv.problems.missing_traces import Comparison, Gaps
from sparseinv.problems.report import Demo, Goal
from sparseinv.seismic.balanced_path import BalancedFrame
from sparseinv.seismic.reflectivity import linear_events
from sparseinv.seismic.slowness_weights import low_frequency_weights
from sparseinv.selection.theory import lam_max

Array = np.ndarray[Any, Any]

_DT, _F0 = 0.004, 30.0
_F_LOW = 30.0  # [Hz]: at the steepest slope, 6 ms per trace, up to here k stays below 1/4 per trace
_TRACES = {"s": 48, "m": 96, "l": 384}
_ASKED = 9.0  # [dB] over plane waves with one lambda


def load(id: str, *, size: str, seed: int, data: Path | None) -> Case:
    """Return the problem with the weights from the low frequencies."""
    gaps = _gaps(size)
    weights, waves, _ = low_frequency_weights(gaps.truth, gaps.mask, _DT, _F_LOW)
    S = waves.H
    kept = np.broadcast_to(gaps.mask[:, None], gaps.truth.shape).ravel()
    A = BalancedFrame(S, kept)
    b = A.data(gaps.truth.ravel()[kept])

    def score(x: Array) -> Any:
        filled = (S @ x).real.reshape(gaps.truth.shape)
        return gaps.score(np.where(gaps.mask[:, None], gaps.truth, filled))

    penalty = L1(1e-3 * lam_max(A, b, L1(weights=weights)), weights=weights)
    rule = "1e-3 of lam_max, weights from the low frequencies"
    return Case(id, size, seed, A, b, penalty, rule, 0.0, score, None, waves.dimsd)


def run(id: str, *, size: str, seed: int, data: Path | None, echo: bool) -> Demo:
    """Run the problem."""
    gaps = _gaps(size)
    count, samples = gaps.truth.shape
    both = Comparison(
        gaps,
        f"three linear events on {count} traces of {samples} samples, up to 6 ms per trace, Ricker {_F0:g} "
        "Hz; every other trace missing",
        echo,
    )
    both.baselines()
    weights, waves, low = low_frequency_weights(gaps.truth, gaps.mask, _DT, _F_LOW)
    S = waves.H
    both.project("POCS f-k", S, n_iter=60)
    both.interpolate("L1", S, reweight=False)
    both.interpolate("reweighted L1", S)
    both.interpolate("L1, lam_j", S, penalty=L1(weights=weights), reweight=False)
    table = both.table
    plain = max(table.score(name) for name in ("POCS f-k", "L1", "reweighted L1"))
    table.note(
        "With every other trace missing a plane wave (f, k) and its alias (f, k + 1/2) fit the kept traces "
        "equally well and cost the same, so that sparsity with one lambda splits the energy between them and "
        f"the gaps stay empty ({plain:.1f} dB, zero-fill {table.score('zero-fill'):.1f} dB). Below "
        f"{_F_LOW:g} Hz nothing is aliased: the slownesses found there ({low.rule}) make lam_j small along "
        "their lines k = p f at all frequencies, 1 to 100 times the smallest. Lambda itself by hold-out."
    )
    reached = table.score("L1, lam_j")
    goals = (Goal("lam_j over the best with one lambda [dB]", reached - plain, _ASKED),)
    shown = ["linear", "L1", "L1, lam_j"]
    title = "every other trace missing, events aliased on the kept ones"
    figures = {
        id: partial(both.draw, shown, title),
        f"{id}_fk": partial(_draw_spectra, both, weights.reshape(waves.dimsd)),
    }
    return Demo(id, (table,), figures, goals)


def _gaps(size: str) -> Gaps:
    count = _TRACES[size]
    truth = linear_events(
        128 if size == "s" else 160, _DT, np.arange(float(count)), times=[0.06, 0.12, 0.012 + 5e-3 * count],
        slopes=[4e-3, 1e-3, -6e-3], amplitudes=[1.0, -0.8, 0.7], f0=_F0,
    )  # fmt: skip
    return Gaps(truth, np.arange(count) % 2 == 0, _DT)


def _draw_spectra(both: Comparison, weights: Array) -> Any:
    from sparseinv.plotting import figure

    gaps = both.gaps
    sections = {
        "truth": gaps.truth, "kept traces": both.estimates["zero-fill"], "L1": both.estimates["L1"],
        "L1, lam_j": both.estimates["L1, lam_j"],
    }  # fmt: skip
    drawing, axes = figure(1, 5, size=(15.0, 4.2), sharex=True, sharey=True)
    f = np.fft.rfftfreq(gaps.truth.shape[1], _DT)
    peak = 0.0
    for panel, (name, section) in zip(axes, sections.items(), strict=False):
        spectrum = np.fft.fftshift(np.abs(np.fft.rfft2(section, axes=(0, 1))), axes=0)
        peak = peak or float(spectrum.max())
        panel.imshow(
            spectrum.T, cmap="gray_r", vmin=0, vmax=0.6 * peak, aspect="auto", extent=(-0.5, 0.5, f[-1], f[0])
        )
        panel.set_title(name, fontsize=9)
    half = np.fft.fftshift(weights[:, : f.size], axes=0)
    image = axes[-1].imshow(np.log10(half).T, cmap="viridis", aspect="auto", extent=(-0.5, 0.5, f[-1], f[0]))
    axes[-1].set_title("lam_j over its smallest", fontsize=9)
    drawing.colorbar(image, ax=axes[-1], label="log10(lam_j / smallest)")
    for panel in axes:
        panel.axhline(_F_LOW, color="tab:orange", linewidth=0.8, linestyle="--")
        panel.set_xlabel("wavenumber [1/trace]")
    axes[0].set_ylabel("frequency [Hz]")
    drawing.suptitle(f"f-k amplitudes; dashed: {_F_LOW:g} Hz, below which nothing is aliased")
    return drawing, axes

"""Multiples in recorded and modelled gathers, without a known truth: judged by traces that were left out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sparseinv.operators.frequency_radon import FrequencyRadon
from sparseinv.operators.sampling import Restriction
from sparseinv.penalties import L1, L2
from sparseinv.problems.catalogue import Case
from sparseinv.problems.report import Demo, Goal, Missing, Table, data_folder
from sparseinv.seismic.su import read_su
from sparseinv.seismic.metrics import gini, snr_db
from sparseinv.seismic.moveout import normal_moveout
from sparseinv.seismic.radon_filter import RadonPanel, radon_panel

Array = np.ndarray[Any, Any]

_FILES = {"R3": "syn_cmp_mult.su", "R4": "gom_cdp_nmo.su"}
_TOL = 3e-3  # recorded events are no parabolas: far below what the curves leave unexplained
_SCORES = ("left out [dB]", "fitted [dB]", "removed [%]", "Gini")


@dataclass(frozen=True, eq=False)
class Gather:
    """Hold a gather after moveout correction, and what to look for in it.

    Attributes
    ----------
    traces : ndarray, shape (offsets, samples)
        The data; zeros where muted.
    offsets : ndarray, shape (offsets,)
        As stated in the headers, without sign.
    dt, start : float
        Sampling interval and time of the first sample [s].
    moveouts : ndarray
        Of the panel, at the far offset [s].
    cut : float
        Moveout beyond which events are multiples [s].
    band : (float, float)
        Of the panel [Hz].
    title, unit : str
        What it is, and the unit of the offsets.
    """

    traces: Array
    offsets: Array
    dt: float
    start: float
    moveouts: Array
    cut: float
    band: tuple[float, float]
    title: str
    unit: str

    @property
    def live(self) -> Array:
        """Samples that are not muted."""
        return np.logical_or.accumulate(self.traces != 0, axis=1)

    @property
    def judges(self) -> Array:
        """Traces that no method sees: every seventh."""
        chosen = np.zeros(self.offsets.size, dtype=bool)
        chosen[3:-1:7] = True
        return chosen

    def panel(self, **options: Any) -> RadonPanel:
        """Return the panel of the traces that may be seen."""
        seen = self.live & ~self.judges[:, None]
        return radon_panel(
            self.traces, self.offsets, self.dt, self.moveouts, band=self.band, live=seen, tol=_TOL, **options
        )

    def modelled(self, found: RadonPanel, curves: Array | None = None) -> Array:
        """Return what a panel stands for at all traces, the unseen ones included, with the mutes applied."""
        m = found.panel if curves is None else found.panel * curves[:, None]
        image = np.asarray(found.operator @ m.ravel()).reshape(self.traces.shape)
        return np.where(self.live, image, 0.0)

    def multiples(self, found: RadonPanel) -> Array:
        """Return the model of the multiples."""
        return self.modelled(found, self.moveouts > self.cut)

    def scores(self, found: RadonPanel) -> tuple[float, float, float, float]:
        """Return fit at unseen and seen traces, share of the energy removed, and sparsity."""
        fit, unseen = self.modelled(found), self.judges
        removed = 100.0 * float(np.sum(self.multiples(found) ** 2) / np.sum(self.traces**2))
        return (
            snr_db(self.traces[unseen], fit[unseen]), snr_db(self.traces[~unseen], fit[~unseen]), removed,
            gini(found.panel),
        )  # fmt: skip


def _read(id: str, size: str, data: Path | None) -> Gather:
    """Return the gather of a problem."""
    name, folder = _FILES[id], data_folder(data)
    file = folder / name if folder is not None and folder.is_dir() else folder
    if file is None or not file.is_file() or file.name != name:
        where = "pass --data FOLDER, or set SPARSEINV_DATA" if folder is None else f"it is not in {folder}"
        raise Missing(f"{name} (SeismicLab) is needed: {where}")
    su = read_su(file)
    assert su.offsets is not None
    traces, offsets, dt = su.traces.astype(np.float64), np.abs(su.offsets), su.dt
    every, small = (2, True) if size == "s" else (1, False)
    if id == "R3":
        flat = normal_moveout(traces, offsets, dt, [1.0, 2.0], [1500.0, 2000.0], stretch=0.5)
        window = slice(450, 578) if small else slice(0, traces.shape[1])
        return Gather(
            flat[::every, window], offsets[::every], dt, window.start * dt,
            np.linspace(-0.3, 0.8, 40 if small else 60), 0.1, (1.0, 60.0),
            "modelled gather with multiples, moveout removed (1 s: 1500 m/s, 2 s: 2000 m/s)", "m",
        )  # fmt: skip
    window = slice(930, 1058) if small else slice(800, 1200)
    return Gather(
        traces[::every, window], offsets[::every], dt, window.start * dt,
        np.linspace(-0.4, 1.0, 45 if small else 90), 0.2, (4.0, 60.0),
        "Gulf of Mexico, recorded, moveout removed", "ft",
    )  # fmt: skip


def load(id: str, *, size: str, seed: int, data: Path | None) -> Case:
    """Build the problem; see `sparseinv.problems.load_problem`."""
    gather = _read(id, size, data)
    found = gather.panel()
    seen = found.live
    A = FrequencyRadon(gather.traces.shape, gather.offsets, gather.dt, gather.moveouts, band=gather.band)

    def score(x: Array) -> dict[str, float]:
        image = np.where(gather.live, (A @ x).reshape(gather.traces.shape), 0.0)
        return {"left out [dB]": snr_db(gather.traces[gather.judges], image[gather.judges])}

    return Case(
        id, size, seed, Restriction(seen.shape, seen, axis=None) @ A, gather.traces[seen], L1(found.lam),
        found.rule, float("nan"), score, dims=A.dims,
    )  # fmt: skip


def run(id: str, *, size: str, seed: int, data: Path | None, echo: bool) -> Demo:
    """Run the comparison; see `sparseinv.problems.run_problem`."""
    gather = _read(id, size, data)
    traces, samples = gather.traces.shape
    table = Table(
        f"{gather.title}: {traces} traces of {samples} samples, {gather.moveouts.size} moveouts, "
        f"{gather.band[0]:g} to {gather.band[1]:g} Hz, cut at {gather.cut:g} s; {int(gather.judges.sum())} "
        "traces left out",
        _SCORES,
        echo,
    )
    panels: dict[str, RadonPanel] = {}

    def add(method: str, **options: Any) -> RadonPanel:
        panels[method] = found = gather.panel(**options)
        table.solved(method, found.result, *gather.scores(found))
        return found

    damped = add("L2", penalty=L2())
    chosen = add("L1")
    add("reweighted L1", penalty=L1(chosen.lam), reweight=1)
    table.note(
        f"lambda: {chosen.rule} (L1); {damped.rule} (L2), all among the traces that were not left out; the "
        "reweighted row takes over the level of L1. Removed: energy of the modelled multiples over that of "
        "the gather."
    )
    gain = table.score("L1") - table.score("L2")
    table.note(
        "No truth is known, so every seventh trace is hidden from all methods and predicted: L1 does so by "
        f"{gain:.1f} dB better than least squares. Traces that were fitted cannot tell the methods apart, "
        "least squares fit them at least as well. What no parabola describes (stretched shallow events, "
        "diffractions, noise) limits all of them, and the subtraction leaves it in the primaries."
    )
    goals = (
        Goal("traces left out, L1 [dB], against L2", table.score("L1"), table.score("L2")),
        Goal("Gini index of the panel, L1, against L2", table.score("L1", "Gini"), table.score("L2", "Gini")),
    )
    figures = {
        f"{id}-gathers": partial(draw_gathers, gather, panels),
        f"{id}-panels": partial(draw_panels, gather, panels),
    }
    return Demo(id, (table,), figures, goals)


def draw_gathers(gather: Gather, panels: dict[str, RadonPanel]) -> Any:
    """Draw the gather, and below each other primaries and multiples of least squares and L1."""
    from sparseinv.plotting import clip_level, figure, section

    names = ["L2", "reweighted L1"]
    drawing, axes = figure(1, 5, size=(16.0, 7.0), sharex=True, sharey=True)
    level = clip_level(gather.traces[gather.live], 98.0)
    position = np.arange(gather.offsets.size)
    show = partial(
        section, dt=gather.dt, x=position, clip=level, signed=False, t0=gather.start, xlabel="trace"
    )
    show(gather.traces, axes=axes[0], title="gather after moveout correction")
    for k, name in enumerate(names):
        multiples = gather.multiples(panels[name])
        show(gather.traces - multiples, axes=axes[1 + k], title=f"{name}: primaries")
        show(multiples, axes=axes[3 + k], title=f"{name}: multiples, subtracted")
    ends = f"trace ({gather.offsets[0]:g} to {gather.offsets[-1]:g} {gather.unit})"
    for axis in axes:
        axis.set_xlabel(ends)
    for axis in axes[1:]:
        axis.set_ylabel("")
    drawing.colorbar(axes[-1].images[0], ax=axes[-1], label="amplitude")
    return drawing, axes


def draw_panels(gather: Gather, panels: dict[str, RadonPanel]) -> Any:
    """Draw the moduli of the panels, smoothed over 5 samples of tau, with the cut."""
    from sparseinv.plotting import figure

    drawing, axes = figure(1, len(panels), size=(4.2 * len(panels), 6.5), sharex=True, sharey=True)
    q = gather.moveouts
    half = float(q[1] - q[0]) / 2
    for axis, (name, found) in zip(axes, panels.items(), strict=True):
        m = np.sqrt(np.apply_along_axis(np.convolve, 1, found.panel**2, np.ones(5), mode="same"))
        axis.imshow(
            (m / np.percentile(m[m > 1e-9 * m.max()], 98.0)).T, cmap="magma", vmin=0.0, vmax=1.0,
            aspect="auto", interpolation="none",
            extent=(
                q[0] - half, q[-1] + half, gather.start + (m.shape[1] - 0.5) * gather.dt,
                gather.start - 0.5 * gather.dt,
            ),
        )  # fmt: skip
        axis.axvline(gather.cut, color="white", linewidth=0.8, linestyle="--")
        axis.set_title(f"{name}: Gini {gini(found.panel):.3f}", fontsize=9)
        axis.set_xlabel("moveout at the far offset [s]")
    axes[0].set_ylabel("tau [s]")
    drawing.colorbar(axes[-1].images[0], ax=axes[-1], label="modulus over its 98th percentile")
    return drawing, axes

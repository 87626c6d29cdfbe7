"""Velocity panels: a sparse hyperbolic Radon transform focuses reflections on their velocities."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sparseinv.operators.algebra import Composition
from sparseinv.operators.convolution import Convolution
from sparseinv.operators.radon import Radon
from sparseinv.penalties import L0, L1, L2
from sparseinv.problems.catalogue import Case
from sparseinv.problems.report import Demo, Goal, Table
from sparseinv.result import Result
from sparseinv.seismic.metrics import gini, snr_db
from sparseinv.seismic.radon_filter import RadonPanel, radon_panel
from sparseinv.seismic.radon_fit import largest_column
from sparseinv.seismic.reflectivity import hyperbolic_events
from sparseinv.seismic.wavelets import ricker

Array = np.ndarray[Any, Any]

_DT = 0.004
_F0 = 20.0
_NOISE = 0.2  # standard deviation over the rms of the gather
_NEAR = 3  # samples around the time of an event that count as its neighbourhood
#: traces, samples, velocities; times [s] and velocities [m/s] of the events
_SIZES: dict[str, tuple[int, int, int, tuple[float, ...], tuple[float, ...]]] = {
    "s": (20, 100, 20, (0.1, 0.2), (1800.0, 2500.0)),
    "m": (50, 300, 60, (0.3, 0.5, 0.8), (2000.0, 2500.0, 3000.0)),
}
_SCORES = ("data [dB]", "focus [cells]", "peak [cells]", "Gini")


class Model:
    """A gather of reflections whose times and velocities are known.

    Attributes
    ----------
    clean, data : ndarray, shape (offsets, samples)
        The reflections without and with noise of standard deviation `sigma`.
    offsets, velocities : ndarray
        Offsets [m] and the velocities of the panel [m/s].
    times, true : ndarray, shape (events,)
        Two-way times at zero offset [s] and velocities [m/s] of the events, not on the grid.
    """

    def __init__(self, size: str, seed: int) -> None:
        traces, samples, count, times, speeds = _SIZES[size]
        rng = np.random.default_rng(seed)
        self.offsets = np.linspace(20.0, 1000.0, traces)
        self.velocities = np.linspace(1400.0, 3600.0, count)
        self.cell = float(self.velocities[1] - self.velocities[0])
        self.times = np.array(times)
        self.true = np.array(speeds) + rng.uniform(-100.0, 100.0, len(speeds))
        self.clean = hyperbolic_events(
            samples, _DT, self.offsets, times=times, velocities=self.true.tolist(),
            amplitudes=[(-1.0) ** k for k in range(len(times))], f0=_F0,
        )  # fmt: skip
        self.sigma = _NOISE * float(np.sqrt(np.mean(self.clean**2)))
        self.data = self.clean + self.sigma * rng.standard_normal(self.clean.shape)
        self.wavelet: Array = ricker(_F0, _DT)[0]

    def focus(self, panel: Array) -> tuple[float, float]:
        """Return how far the energy near an event lies from its velocity (rms), and its peak.

        Both of the worst event, in cells of the velocity grid; near is 3 samples of time either side.
        """
        rms, peaks = [], []
        for time, velocity in zip(self.times, self.true, strict=True):
            place = round(time / _DT)
            energy = (panel[:, place - _NEAR : place + _NEAR + 1] ** 2).sum(axis=1)
            if not energy.any():
                return np.inf, np.inf
            distance = (self.velocities - velocity) / self.cell
            rms.append(float(np.sqrt(energy @ distance**2 / energy.sum())))
            peaks.append(abs(float(distance[energy.argmax()])))
        return max(rms), max(peaks)

    def scores(self, panel: Array, fit: Array) -> tuple[float, float, float, float]:
        """Return the scores of a panel and the data that it stands for."""
        return (snr_db(self.clean, fit), *self.focus(panel), gini(panel))


def load(id: str, *, size: str, seed: int, data: Path | None) -> Case:
    """Build the problem; see `sparseinv.problems.load_problem`."""
    model = Model(size, seed)
    found = _panel(model, wavelet=model.wavelet)
    dims = model.data.shape
    A = Composition(
        Convolution(dims, model.wavelet), Radon(dims, model.offsets, _DT, model.velocities, "hyperbolic")
    )

    def score(x: Array) -> dict[str, float]:
        panel = x.reshape(A.dims)
        worst, peak = model.focus(panel)
        ratio = snr_db(model.clean, (A @ x).reshape(dims))
        return {"data [dB]": ratio, "focus [cells]": worst, "peak [cells]": peak}

    return Case(
        id, size, seed, A, model.data.ravel(), L1(found.lam), found.rule, model.sigma, score, dims=A.dims
    )


def _panel(model: Model, **options: Any) -> RadonPanel:
    return radon_panel(model.data, model.offsets, _DT, model.velocities, "hyperbolic", **options)


def run(id: str, *, size: str, seed: int, data: Path | None, echo: bool) -> Demo:
    """Run the comparison; see `sparseinv.problems.run_problem`."""
    model = Model(size, seed)
    traces, samples = model.data.shape
    table = Table(
        f"hyperbolic Radon: {traces} traces of {samples} samples, {model.velocities.size} velocities "
        f"{model.cell:.0f} m/s apart, {model.true.size} reflections off the grid, noise {_NOISE:.0%} of the "
        "rms",
        _SCORES,
        echo,
    )
    panels: dict[str, Array] = {}
    stack = Radon(model.data.shape, model.offsets, _DT, model.velocities, "hyperbolic")
    panels["stack"] = stack.rmatvec(model.data.ravel()).reshape(stack.dims)
    table.baseline("stack (A^T d)", None, *model.focus(panels["stack"]), gini(panels["stack"]))

    def add(method: str, **options: Any) -> RadonPanel:
        found = _panel(model, **options)
        panels[method] = found.panel
        result: Result = found.result
        table.solved(method, result, *model.scores(found.panel, found.gather()))
        return found

    add("L2", penalty=L2())
    add("L1", penalty=L1())
    chosen = add("L1, wavelet", wavelet=model.wavelet)
    sharp = add("reweighted L1", wavelet=model.wavelet, penalty=L1(chosen.lam), reweight=1)
    charge = (chosen.lam / largest_column(chosen.operator)) ** 2 / 2.0
    add("L0, wavelet", wavelet=model.wavelet, penalty=L0(charge))
    table.note(
        f"lambda: {chosen.rule}, for each method by itself; reweighting and L0 take over the level of L1 "
        "with the wavelet. Focus is the rms distance of the energy near an event from its true velocity, "
        "peak the distance of the strongest velocity; both of the worst event."
    )
    blur, sharpest = (table.score(method, "focus [cells]") for method in ("L2", "reweighted L1"))
    table.note(
        "A stack or damped least squares smear a reflection along neighbouring velocities, the more the "
        f"later it arrives ({blur:.1f} cells with L2). With the wavelet in the operator the panel holds "
        f"spikes, and reweighted L1 gathers them within {sharpest:.2f} cells, half a cell being what the "
        "grid itself leaves. Peaks alone are found by all methods in this noise: it is the resolution that "
        "differs."
    )
    goals = (
        Goal(
            "distance of the energy of the worst event from its velocity, reweighted L1 [cells]",
            table.score("reweighted L1", "focus [cells]"), 1.0, at_least=False,
        ),
        Goal(
            "SNR of the data, reweighted L1 [dB], against L2",
            table.score("reweighted L1"), table.score("L2"),
        ),
    )  # fmt: skip
    figures = {
        f"{id}-panels": partial(draw_panels, model, panels),
        f"{id}-gathers": partial(draw_gathers, model, sharp),
    }
    return Demo(id, (table,), figures, goals)


def draw_panels(model: Model, panels: dict[str, Array]) -> Any:
    """Draw the moduli of the panels with the true times and velocities."""
    from sparseinv.plotting import figure

    names = ["stack", "L2", "L1", "reweighted L1"]
    drawing, axes = figure(1, len(names), size=(3.6 * len(names), 5.5), sharex=True, sharey=True)
    half = model.cell / 2
    for axis, name in zip(axes, names, strict=True):
        m = np.abs(panels[name])
        axis.imshow(
            (m / m.max()).T, cmap="magma", vmin=0.0, vmax=0.8, aspect="auto", interpolation="none",
            extent=(
                model.velocities[0] - half, model.velocities[-1] + half, (m.shape[1] - 0.5) * _DT, -0.5 * _DT,
            ),
        )  # fmt: skip
        axis.plot(
            model.true, model.times, "o", color="cyan", markersize=14, fillstyle="none", markeredgewidth=0.8
        )
        axis.set_title(f"{name}: {model.focus(m)[0]:.2f} cells", fontsize=9)
        axis.set_xlabel("velocity [m/s]")
    axes[0].set_ylabel("time at zero offset [s]")
    drawing.colorbar(axes[-1].images[0], ax=axes[-1], label="modulus over its maximum")
    return drawing, axes


def draw_gathers(model: Model, found: RadonPanel) -> Any:
    """Draw data, fit and residual as wiggles."""
    from sparseinv.plotting import figure, section

    drawing, axes = figure(1, 3, size=(13.0, 6.0), sharex=True, sharey=True)
    fit = found.gather()
    every = slice(None, None, max(1, model.offsets.size // 25))
    level = 0.7 * float(np.abs(model.clean).max())
    for axis, gather, title in zip(
        axes, (model.data, fit, model.data - fit),
        ("data", "what the panel stands for", "residual"), strict=True,
    ):  # fmt: skip
        section(
            gather[every], _DT, axes=axis, x=model.offsets[every], kind="wiggle", clip=level,
            xlabel="offset [m]", title=title,
        )  # fmt: skip
    for axis in axes[1:]:
        axis.set_ylabel("")
    return drawing, axes

"""I6: a shot with strongly curved events and half of its traces, by local slopes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sparseinv.entry import solve
from sparseinv.operators.base import Operator
from sparseinv.operators.radon import Radon
from sparseinv.operators.real_fourier import RealFFT
from sparseinv.operators.sampling import Restriction
from sparseinv.operators.windows import Windows
from sparseinv.penalties import L1, L2
from sparseinv.problems.catalogue import Case
from sparseinv.problems.report import Demo, Goal, Table, data_folder
from sparseinv.problems.shots import linear_interpolation
from sparseinv.seismic.metrics import snr_db
from sparseinv.seismic.reflectivity import hyperbolic_events
from sparseinv.seismic.trace_filling import FilledTraces, fill_traces
from sparseinv.solvers.barzilai_borwein import BarzilaiBorwein

Array = np.ndarray[Any, Any]

_SHOT = "input.npz"  # a shot by finite differences, in the test data of PyLops
_SHARE = 1e-2  # level over lam_max, for the case that others solve
_ASKED = 9.9  # [dB] by PyLops on that shot, where linear interpolation reaches 5.6
_SIGMA = 0.02  # noise of the synthetic shot, whose largest event has amplitude 1
_TOL = 5e-3  # of 1/2 ||b||^2, far below what the score can see
_SLOPES = 31
_SLOWEST = 1400.0  # [m/s] apparent velocity of the steepest slope


@dataclass(frozen=True, eq=False)
class Shot:
    """Hold a shot of which some traces are dead.

    Attributes
    ----------
    truth, section : ndarray, shape (n_traces, n_samples)
        Without and with noise.
    live : ndarray of bool, shape (n_traces,)
        Traces that are data.
    dt, dx : float
        Sampling interval [s] and distance of traces [m].
    """

    truth: Array
    section: Array
    live: Array
    dt: float
    dx: float

    def scores(self, estimate: Array) -> tuple[float, float]:
        """Return the SNR of the dead traces and of all of them [dB], 0 where nothing was filled in."""
        dead = ~self.live
        return round(snr_db(self.truth[dead], estimate[dead]), 6) + 0.0, snr_db(self.truth, estimate)

    def local_slopes(self, size: int = 15) -> Operator:
        """Return the synthesis from a linear Radon panel for every window of traces."""
        traces, samples = self.truth.shape
        offsets = (np.arange(size) - size // 2) * self.dx
        slopes = np.linspace(-1.0, 1.0, _SLOPES) / _SLOWEST
        panel = Radon((size, samples), offsets, self.dt, slopes)
        return Windows((traces, samples), size, axes=0, inner=panel.H).H

    def local_waves(self, size: int = 15) -> Operator:
        """Return the synthesis from plane waves for every window of traces."""
        samples = self.truth.shape[1]
        inner = RealFFT((size, samples), sizes=(2 * size, samples))
        return Windows(self.truth.shape, size, axes=0, inner=inner).H

    def plane_waves(self) -> Operator:
        """Return the synthesis from plane waves that cross the whole shot."""
        traces, samples = self.truth.shape
        return RealFFT(self.truth.shape, sizes=(2 * traces, samples)).H


def shot(size: str, seed: int, data: Path | None) -> Shot:
    """Return the shot: that of the test data where it is found, else reflections and noise."""
    found = _simulated(data) if size == "m" else None
    if found is None:
        traces, samples = (101, 400) if size == "m" else (41, 160)
        dt, dx = 0.004, 15.0 if size == "m" else 25.0
        scale = samples / 400
        h = (np.arange(traces) - traces // 2) * dx
        truth = hyperbolic_events(
            samples, dt, h, times=(scale * np.array([0.15, 0.25, 0.4, 0.5, 0.75, 1.0, 1.2])).tolist(),
            velocities=[1500, 1500, 1700, 1500, 2000, 2300, 2100],
            amplitudes=[1, 0.8, -0.9, 0.6, 0.8, -0.7, 0.6], f0=20,
        )  # fmt: skip
        sigma = _SIGMA
    else:
        truth, dt, dx = found
        traces, sigma = truth.shape[0], 0.0
    rng = np.random.default_rng(seed)
    live = np.ones(traces, dtype=bool)
    live[1 + rng.choice(traces - 2, traces // 2, replace=False)] = False
    return Shot(truth, truth + sigma * rng.standard_normal(truth.shape), live, dt, dx)


def _simulated(data: Path | None) -> tuple[Array, float, float] | None:
    """Return (shot, dt, dx) of the simulated shot where the data folder has it."""
    folder = data_folder(data)
    if folder is None:
        return None
    for file in (folder / _SHOT, folder / "marchenko" / _SHOT):
        if file.is_file():
            with np.load(file, allow_pickle=False) as held:
                truth = np.asarray(held["R"][50, :, ::2], dtype=np.float64)
                step, places = 2.0 * float(held["t"][1] - held["t"][0]), np.asarray(held["r"][0])
            return truth / np.abs(truth).max(), step, float(abs(places[1] - places[0]))
    return None


def load(id: str, *, size: str, seed: int, data: Path | None) -> Case:
    """Build the problem; see `sparseinv.problems.load_problem`."""
    held = shot(size, seed, data)
    S = held.local_slopes()
    A = Restriction(held.truth.shape, held.live, axis=0) @ S
    b = held.section[held.live].ravel()
    lam = _SHARE * float(np.abs(A.rmatvec(b)).max())
    sigma = _SIGMA if held.section is not held.truth else 0.0

    def score(x: Array) -> dict[str, float]:
        missing, everything = held.scores((S @ x).reshape(held.truth.shape))
        return {"missing [dB]": missing, "all [dB]": everything}

    return Case(
        id=id, size=size, seed=seed, A=A, b=b, penalty=L1(lam), rule=f"{_SHARE:g} of lam_max", sigma=sigma,
        score=score, dims=S.dims,
    )  # fmt: skip


def run(id: str, *, size: str, seed: int, data: Path | None, echo: bool) -> Demo:
    """Compare the methods; see `sparseinv.problems.run_problem`."""
    held = shot(size, seed, data)
    dead = int((~held.live).sum())
    title = f"{id}: {dead} of {held.live.size} traces of a shot missing, curved events, {held.dx:g} m apart"
    table = Table(title, ("missing [dB]", "all [dB]"), echo)
    estimates = {
        "zero-fill": np.where(held.live[:, None], held.section, 0.0),
        "linear": linear_interpolation(held.section, held.live),
    }
    for name, estimate in estimates.items():
        table.baseline(name, *held.scores(estimate))
    dictionaries = {
        "L1, global f-k": held.plane_waves(),
        "L1, local f-k": held.local_waves(),
        "L1, local slopes": held.local_slopes(),
    }
    damped = dictionaries["L1, local slopes"]
    ridge = float(damped.norm_bound() or 1.0) ** 2 * np.geomspace(1.0, 1e-4, 5)
    found = {"L2, local slopes": fill_traces(held.section, held.live, damped, L2(), lams=ridge, tol=_TOL)}
    for name, S in dictionaries.items():
        found[name] = fill_traces(held.section, held.live, S, solver=BarzilaiBorwein(), tol=_TOL)
    for name, filled in found.items():
        estimates[name] = filled.predicted
        table.solved(name, filled.result, *held.scores(filled.predicted))
    best = found["L1, local slopes"]
    loss = _loss(held, damped, best)
    assert best.selection is not None
    table.note(
        "Local slopes: a linear Radon panel for every window of 15 traces that overlap by half. lambda by "
        "predicting every fifth live trace from the others, for every dictionary by itself; for "
        f"local slopes {best.lam:.3g} of levels from {best.selection.lams[0]:.3g} to "
        f"{best.selection.lams[-1]:.3g}, {loss:.2f} dB below the level that the truth would choose. Nearby "
        "traces see straight events even where a shot sees hyperbolas: a window of 15 traces needs a few "
        "slopes, the whole shot many plane waves, whose aliases fill gaps as well as they do. L2 takes all "
        "slopes at once."
    )
    goals = _goals(size, table, loss)
    return Demo(id, (table,), {f"{id}_shot": partial(_draw, held, estimates, table)}, goals)


def _loss(held: Shot, S: Operator, chosen: FilledTraces) -> float:
    """Return how much better the best of the levels would have been [dB]."""
    A = Restriction(held.truth.shape, held.live, axis=0) @ S
    b, reached = held.section[held.live].ravel(), held.scores(chosen.predicted)[1]
    best, x = reached, None
    assert chosen.selection is not None
    for lam in chosen.selection.lams:
        result = solve(A, b, L1(float(lam)), solver=BarzilaiBorwein(), x0=x, tol=_TOL, max_iter=100)
        x = result.x
        best = max(best, held.scores((S @ x).reshape(held.truth.shape))[1])
    return best - reached


def _goals(size: str, table: Table, loss: float) -> tuple[Goal, ...]:
    reached = table.score("L1, local slopes", "all [dB]")
    goals = [
        Goal("gain over linear interpolation [dB]", reached - table.score("linear", "all [dB]"), 4.0),
        Goal("lambda: below the best of the levels [dB]", loss, 0.3, at_least=False),
    ]
    if size == "m":
        goals.insert(0, Goal("SNR of the shot [dB]", reached, _ASKED))
    return tuple(goals)


def _draw(held: Shot, estimates: dict[str, Array], table: Table) -> Any:
    from sparseinv.plotting import clip_level, figure, section

    names = ["linear", "L2, local slopes", "L1, global f-k", "L1, local f-k", "L1, local slopes"]
    drawing, axes = figure(2, len(names) + 1, size=(16.0, 8.0), sharex=True, sharey=True)
    level = clip_level(held.truth, 98.0)
    x = (np.arange(held.live.size) - held.live.size // 2) * held.dx
    options: dict[str, Any] = {"x": x, "clip": level, "signed": False, "xlabel": "offset [m]"}
    section(held.truth, held.dt, axes=axes[0, 0], title="shot", **options)
    title = f"live: {int(held.live.sum())} of {held.live.size} traces"
    section(estimates["zero-fill"], held.dt, axes=axes[1, 0], title=title, **options)
    for column, name in zip(axes[:, 1:].T, names, strict=True):
        score = table.score(name, "all [dB]")
        section(estimates[name], held.dt, axes=column[0], title=f"{name}: {score:.1f} dB", **options)
        section(estimates[name] - held.truth, held.dt, axes=column[1], title="error, same clip", **options)
    for panel in axes[0]:
        panel.set_xlabel("")
    for panel in axes[:, 1:].ravel():
        panel.set_ylabel("")
    drawing.colorbar(axes[0, -1].images[0], ax=axes[:, -1], label="amplitude")
    return drawing, axes

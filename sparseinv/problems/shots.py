"""A real marine gather with 40 % of its shots missing, interpolated in the f-k domain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sparseinv.entry import solve as solve_problem
from sparseinv.operators.base import Operator
from sparseinv.operators.fourier import FFT
from sparseinv.operators.sampling import Restriction
from sparseinv.penalties import L0, L1, L2
from sparseinv.problems.report import Demo, Missing, Table, best_level
from sparseinv.result import Result
from sparseinv.seismic.field_data import mobil_gather
from sparseinv.seismic.gather import Gather
from sparseinv.seismic.metrics import snr_db
from sparseinv.selection.theory import lam_max
from sparseinv.solvers.proximal_gradient import ISTA

Array = np.ndarray[Any, Any]

_FIRST = 300  # sample at which the window starts, just before the first arrival
_DROPPED = 0.4
_SLOPE = 2  # samples from shot to shot in the second experiment
_TOL = 1e-4  # the data are noisy: a gap of 1e-4 of their energy is far below what the score can see
_CORNER = 0.05  # [cycles per shot] wavenumber from which the weights of the first experiment rise
_SCORES = ("missing [dB]", "all [dB]")


@dataclass(frozen=True, eq=False)
class Experiment:
    """Hold a window of a gather of which only some shots are kept.

    Attributes
    ----------
    window : ndarray, shape (n_shots, n_samples)
        The truth.
    kept : ndarray of bool, shape (n_shots,)
        Shots that are used.
    """

    window: Array
    kept: Array

    @property
    def plane_waves(self) -> Operator:
        """Synthesis of the window from f-k coefficients; the shots are padded to about twice their number."""
        shots, samples = self.window.shape
        return FFT((shots, samples), sizes=(_padded(shots), samples)).H

    def wavenumbers(self) -> Array:
        """Return abs(k) of every coefficient [cycles per shot]."""
        shots, samples = self.window.shape
        return np.repeat(np.abs(np.fft.fftfreq(_padded(shots))), samples)

    def equations(self, shots: Array) -> tuple[Operator, Array]:
        """Return (A, b) of the given shots, a mask."""
        return Restriction(self.window.shape, shots, axis=0) @ self.plane_waves, self.window[shots].ravel()

    def predicted(self, x: Array) -> Array:
        """Return the window that coefficients x stand for."""
        return np.asarray((self.plane_waves @ x).real.reshape(self.window.shape))

    def interpolated(self, x: Array) -> Array:
        """Return the window with the missing shots as predicted and the kept ones as they are."""
        return np.where(self.kept[:, None], self.window, self.predicted(x))

    def scores(self, estimate: Array) -> tuple[float, float]:
        """Return the SNR of the missing shots and of all of them [dB]."""
        missing = ~self.kept
        ratios = snr_db(self.window[missing], estimate[missing]), snr_db(self.window, estimate)
        return round(ratios[0], 6) + 0.0, round(ratios[1], 6) + 0.0  # no "-0.0" where nothing was filled in


def solve(*, data: Path | None, size: str, seed: int, echo: bool) -> Demo:
    """Run the demo; see `sparseinv.problems.solve_demo`."""
    traces = _field_data(data, echo).traces.astype(np.float64)
    if size == "s":
        traces = traces[:30]
    samples = 128 if size == "s" else 320
    kept = drop_shots(traces.shape[0], _DROPPED, np.random.default_rng(seed))
    flat = Experiment(_window(traces, samples, 0), kept)
    steep = Experiment(_window(traces, samples, _SLOPE), kept)
    dropped = f"{int((~kept).sum())} of {kept.size} shots missing"
    first = Table(f"{dropped}, events flat as recorded", _SCORES, echo)
    _flat(first, flat)
    second = Table(f"{dropped}, artificial slope of {_SLOPE * 4} ms per shot", _SCORES, echo)
    estimates = _steep(second, steep)
    return Demo("shots", (first, second), {"shots": partial(_draw, steep, estimates, second)})


def drop_shots(count: int, share: float, rng: np.random.Generator) -> Array:
    """Return a mask of the shots kept: a random choice that includes the first and the last."""
    kept = np.ones(count, dtype=bool)
    kept[1 + rng.choice(count - 2, round(share * count), replace=False)] = False
    return kept


def _padded(shots: int) -> int:
    return int(2 ** np.ceil(np.log2(1.5 * shots)))


def _window(traces: Array, samples: int, slope: int) -> Array:
    """Cut the window that starts ``slope`` samples earlier from shot to shot."""
    starts = _FIRST - slope * np.arange(traces.shape[0])
    return np.stack([trace[start : start + samples] for trace, start in zip(traces, starts, strict=True)])


def _field_data(data: Path | None, echo: bool) -> Gather:
    try:
        return mobil_gather(data)
    except FileNotFoundError as absent:
        if data is not None:
            raise Missing(f"{absent}; without --data it is taken from the package index") from None
    if echo:
        print("   fetching the gather from the package index: 50 MB, once ...", flush=True)
    try:
        return mobil_gather(download=True)
    except (OSError, ValueError) as failure:
        raise Missing(f"{failure}; or pass --data FOLDER, or set SPARSEINV_DATA") from None


def linear_interpolation(window: Array, kept: Array) -> Array:
    """Return the window with its missing shots interpolated linearly between the nearest kept ones."""
    place = np.arange(window.shape[0])
    known = np.flatnonzero(kept)
    after = np.searchsorted(known, place).clip(1, known.size - 1)
    left, right = known[after - 1], known[after]
    share = ((place - left) / (right - left))[:, None]
    return np.asarray((1.0 - share) * window[left] + share * window[right])


# --- the two experiments -------------------------------------------------------------------------------


def _judge(experiment: Experiment) -> Callable[..., float]:
    """Return the error of a penalty in predicting some kept shots from the other ones."""
    tested = np.zeros_like(experiment.kept)
    tested[np.flatnonzero(experiment.kept)[1:-1][2::5]] = True
    A, b = experiment.equations(experiment.kept & ~tested)

    def error(penalty: Any, solver: Any = "auto") -> float:
        estimate = experiment.predicted(solve_problem(A, b, penalty, solver=solver, tol=10 * _TOL).x)
        return float(np.linalg.norm(estimate[tested] - experiment.window[tested]))

    return error


def _baselines(table: Table, experiment: Experiment) -> dict[str, Array]:
    estimates = {
        "zero-fill": np.where(experiment.kept[:, None], experiment.window, 0.0),
        "linear": linear_interpolation(experiment.window, experiment.kept),
    }
    for method, estimate in estimates.items():
        table.baseline(method, *experiment.scores(estimate))
    return estimates


def _runner(table: Table, experiment: Experiment, estimates: dict[str, Array]) -> Callable[..., Result]:
    A, b = experiment.equations(experiment.kept)

    def run(method: str, penalty: Any, solver: Any = "auto", x0: Array | None = None) -> Result:
        result = solve_problem(A, b, penalty, solver=solver, x0=x0, tol=_TOL)
        estimates[method] = experiment.interpolated(result.x)
        table.solved(method, result, *experiment.scores(estimates[method]))
        return result

    return run


def _flat(table: Table, experiment: Experiment) -> None:
    """Compare where smoothness is the right prior: one lambda per coefficient, rising with wavenumber."""
    error = _judge(experiment)
    run = _runner(table, experiment, _baselines(table, experiment))
    rising = 1.0 + (experiment.wavenumbers() / _CORNER) ** 2
    A, b = experiment.equations(experiment.kept)
    run("L2", L2(1e-2))
    smooth = best_level((3e-2, 1e-2, 3e-3), lambda lam: error(L2(lam, weights=rising**2)))
    run("L2, lam_j", L2(smooth, weights=rising**2))
    largest = lam_max(A, b, L1(weights=rising))
    lam = best_level((s * largest for s in (2e-3, 1e-3)), lambda t: error(L1(t, weights=rising)))
    run("L1, lam_j", L1(lam, weights=rising))
    table.note(
        "lam_j rises with wavenumber, 1 + (k / 0.05)^2 (squared for L2); lambda by predicting every fifth "
        "kept shot from the others. Flat events that change little from shot to shot are what linear "
        "interpolation assumes, and what remains differs at random from shot to shot, so nothing gets far "
        f"beyond it. With this knowledge in lam_j L1 reaches {table.score('L1, lam_j'):.1f} dB, linear "
        f"interpolation {table.score('linear'):.1f} dB and L2 {table.score('L2, lam_j'):.1f} dB: here "
        "smoothness is enough. Without it L2 fills in nothing. Below: the same shots where smoothness is "
        "wrong."
    )


def _steep(table: Table, experiment: Experiment) -> dict[str, Array]:
    """Compare where it is wrong: sloping events, one lambda for all coefficients."""
    error = _judge(experiment)
    estimates = _baselines(table, experiment)
    run = _runner(table, experiment, estimates)
    A, b = experiment.equations(experiment.kept)
    run("L2", L2(1e-2))
    largest = lam_max(A, b, L1())
    lam = best_level((s * largest for s in (2e-2, 1e-2, 5e-3)), lambda t: error(L1(t)))
    first = run("L1", L1(lam)).x
    cuts = (4e-2 * largest, 2.5e-2 * largest)
    charge = best_level((0.5 * cut**2 for cut in cuts), lambda t: error(L0(t), ISTA()))
    run("L0", L0(charge), ISTA())
    cheaper = 2.0 * lam / (np.abs(first) + 2.0 * lam)
    run("reweighted L1", L1(2.0 * lam, weights=cheaper), x0=first)
    best = max(("L1", "L0", "reweighted L1"), key=table.score)
    table.note(
        "One lambda for all coefficients, by predicting every fifth kept shot from the others; L0 is hard "
        "thresholding with falling levels; the reweighted row charges coefficient j 2 lam / (1 + |x_j| / (2 "
        "lam)) for the x of L1. The slope is artificial, a linear moveout applied to the real shots; in the "
        f"geometry as recorded (above) sparsity gains nothing over a smooth L2. No slope is assumed: {best} "
        f"recovers the missing shots to {table.score(best):.1f} dB, where linear interpolation "
        f"({table.score('linear'):.1f} dB) mixes crests with troughs and L2, which spreads energy over all "
        f"wavenumbers, leaves the gaps empty ({table.score('L2'):.1f} dB)."
    )
    return estimates


def _draw(experiment: Experiment, estimates: dict[str, Array], table: Table) -> Any:
    from sparseinv.plotting import clip_level, figure, section

    dt, start = 0.004, _FIRST * 0.004
    names = ["linear", "L2", "L1", "L0"]
    drawing, axes = figure(2, 5, size=(15.0, 8.5), sharex=True, sharey=True)
    level = clip_level(experiment.window, 97.0)
    section(experiment.window, dt, axes=axes[0, 0], clip=level, signed=False, title="all shots", t0=start)
    section(
        estimates["zero-fill"], dt, axes=axes[1, 0], clip=level, signed=False, t0=start,
        title=f"kept: {int(experiment.kept.sum())} of {experiment.kept.size}",
    )  # fmt: skip
    for column, name in zip(axes[:, 1:].T, names, strict=True):
        score = table.score(name)
        section(
            estimates[name], dt, axes=column[0], clip=level, signed=False, t0=start,
            title=f"{name}: missing shots {score:.1f} dB",
        )  # fmt: skip
        error = estimates[name] - experiment.window
        section(error, dt, axes=column[1], clip=level, title=f"{name}: error, same clip", t0=start)
    for panel in axes[0]:
        panel.set_xlabel("")
    for panel in axes[1]:
        panel.set_xlabel("shot")
    for panel in axes[:, 1:].ravel():
        panel.set_ylabel("")
    drawing.colorbar(axes[0, 4].images[0], ax=axes[0, 4], label="pressure [recorder units]")
    drawing.colorbar(axes[1, 4].images[0], ax=axes[1, 4], label="error [recorder units]")
    drawing.suptitle(f"a real gather with an artificial slope of {_SLOPE * 4} ms per shot")
    return drawing, axes

"""Q1: reflections that fade with depth: one lambda loses the deep ones, lambdas tied to norms keep them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sparseinv.entry import solve as solve_problem
from sparseinv.operators.nonstationary import NonstationaryConvolution
from sparseinv.penalties import L0, L1, L2
from sparseinv.problems.catalogue import Case
from sparseinv.problems.report import Demo, Goal, Table
from sparseinv.result import Result
from sparseinv.seismic.attenuation import attenuating_convolution
from sparseinv.seismic.metrics import score_spikes, snr_db
from sparseinv.seismic.reflectivity import sparse_spikes
from sparseinv.selection.discrepancy import Discrepancy
from sparseinv.selection.thresholds import Universal

Array = np.ndarray[Any, Any]

_F0 = 40.0  # [Hz]
_NOISE = 0.02  # of the largest amplitude of the data
_WEAKEST, _STRONGEST = 0.3, 1.0  # reflection coefficients
_SEEN = 0.1  # smallest estimate that counts as a spike, a third of the weakest reflection
_SHALLOWEST = 0.1  # of the record: depth at which weights of 1 / depth stop to rise
_TOL = 1e-6
_SCORES = ("F1 deep", "F1 all", "SNR [dB]")


@dataclass(frozen=True)
class Size:
    """Hold what differs between the sizes."""

    samples: int
    traces: int
    dt: float  # [s]
    Q: tuple[float, float]  # at the top and at the bottom
    spikes: int  # of a trace


_SIZES = {
    "s": Size(201, 3, 0.004, (50.0, 50.0), 14),
    "m": Size(501, 8, 0.002, (30.0, 100.0), 18),
    "l": Size(501, 200, 0.002, (30.0, 100.0), 18),
}


@dataclass(frozen=True, eq=False)
class Section:
    """Hold a section recorded through a lossy medium.

    Attributes
    ----------
    A : NonstationaryConvolution, shape (n, n)
        The map from reflectivity to data.
    b, truth : ndarray, shape (n,)
        Data with noise, and the reflectivity.
    sigma : float
        Standard deviation of the noise.
    dt : float
        Sampling interval [s].
    """

    A: NonstationaryConvolution
    b: Array
    truth: Array
    sigma: float
    dt: float

    @property
    def depth(self) -> Array:
        """Time of every coefficient over the length of the record, in (0, 1]."""
        traces, samples = self.A.dims
        return np.tile(np.arange(1, samples + 1) / samples, traces)

    def weights(self) -> dict[str, Array]:
        """Return the relative lambdas that are compared."""
        return {
            "one lambda": np.ones(self.truth.size),
            "lam_j ~ norm": self.A.column_norms(),
            "lam_j ~ 1/depth": 1.0 / self.depth.clip(_SHALLOWEST),
        }

    def scores(self, x: Array) -> Mapping[str, float]:
        """Return F1 in the deepest third and everywhere, within two samples, and the SNR."""
        traces, samples = self.A.dims
        truth, found = self.truth.reshape(traces, samples), np.abs(x).reshape(traces, samples)
        deep = slice(2 * samples // 3, samples)
        values = [
            score_spikes(truth[:, part], found[:, part], tolerance=2, threshold=_SEEN).f1
            for part in (deep, slice(None))
        ]
        return dict(zip(_SCORES, (*values, snr_db(self.truth, x)), strict=True))


def section(size: str, seed: int) -> Section:
    """Build reflectors with gentle dips, their reflections through the lossy medium, and the noise."""
    given, rng = _SIZES[size], np.random.default_rng(seed)
    quality = np.linspace(*given.Q, given.samples)
    A = attenuating_convolution((given.traces, given.samples), _F0, given.dt, quality)
    # a little less than the record, so that dips neither leave it nor cross one another
    trace = sparse_spikes(
        given.samples * 19 // 20, given.spikes, min_gap=round(0.016 / given.dt) + 2, min_amplitude=_WEAKEST,
        rng=rng,
    )  # fmt: skip
    at = np.flatnonzero(trace)
    amplitude = np.sign(trace[at]) * np.minimum(np.abs(trace[at]), _STRONGEST)
    dip = 1.0 + 0.03 * np.sin(np.linspace(0.0, math.pi, given.traces))
    truth = np.zeros(A.dims)
    for row, stretch in zip(truth, dip, strict=True):
        row[np.round(at * stretch).astype(int)] = amplitude
    clean = A @ truth.ravel()
    sigma = _NOISE * float(np.abs(clean).max())
    b = clean + sigma * rng.standard_normal(clean.size)
    return Section(A, b, truth.ravel(), sigma, given.dt)


def load(id: str, *, size: str, seed: int, data: Path | None) -> Case:
    """Return the problem; see `sparseinv.problems.load_problem`."""
    given = section(size, seed)
    lam = given.sigma * math.sqrt(2.0 * math.log(given.truth.size))
    penalty = L1(lam, weights=given.A.column_norms())
    rule = "lam_j = sigma ||a_j|| sqrt(2 log n), sigma that of the noise"
    return Case(
        id, size, seed, given.A, given.b, penalty, rule, given.sigma, given.scores, given.truth, given.A.dims
    )


def run(id: str, *, size: str, seed: int, data: Path | None, echo: bool) -> Demo:
    """Solve by every choice of lambdas; see `sparseinv.problems.run_problem`."""
    given = section(size, seed)
    traces, samples = given.A.dims
    top, bottom = _SIZES[size].Q
    norms = given.A.column_norms()
    shrink = norms.max() / norms[: samples - round(0.03 / given.dt)].min()
    heading = (
        f"{traces} traces of {samples} samples, {given.dt * 1e3:g} ms, Ricker {_F0:g} Hz, Q {top:g} to "
        f"{bottom:g}, noise of {_NOISE:.0%} of the largest amplitude, columns {shrink:.1f} times as long at "
        "the top as at the bottom; "
    )
    universal = Table(heading + "universal level, sigma known", _SCORES, echo)
    ridge = solve_problem(given.A, given.b, L2(), select=Discrepancy(sigma=given.sigma), tol=_TOL)
    universal.solved("L2, discrepancy", ridge, *given.scores(ridge.x).values())
    answers = _compare(universal, given, Universal(sigma=given.sigma))
    level = L0(given.sigma**2 * math.log(given.truth.size))
    counted = solve_problem(given.A, given.b, level, x0=answers["lam_j ~ norm"].x, tol=_TOL)
    universal.solved("L0, one lambda", counted, *given.scores(counted.x).values())
    _explain(universal)
    tables = [universal]
    if size != "l":  # levels found by search take minutes there, and say the same
        others = {
            "discrepancy principle, sigma known": Discrepancy(sigma=given.sigma),
            "default rule, sigma unknown": None,
        }
        for rule, select in others.items():
            tables.append(Table(f"The same; {rule}", _SCORES, echo))
            _compare(tables[-1], given, select)
        tables[-1].note(
            "The residual of the norm of the noise asks for a level so low that even one lambda reaches the "
            "deep spikes, and all let false ones in: there the weights matter less. The default rule, made "
            "for prediction, lies between the two."
        )
    one, weighted = universal.score("one lambda"), universal.score("lam_j ~ norm")
    goals = (
        Goal("F1 of the deepest third, lam_j ~ norm minus one lambda, universal level", weighted - one, 0.2),
        Goal("F1 of the deepest third, lam_j ~ norm, universal level", weighted, 0.75),
    )
    draw = partial(_draw, given, answers, universal)
    return Demo(id, tuple(tables), {"depth": draw}, goals)


def _compare(table: Table, given: Section, select: Any) -> dict[str, Result]:
    """Add one row for each kind of weights, with lambda chosen by the same rule."""
    answers = {}
    for name, factors in given.weights().items():
        result = solve_problem(given.A, given.b, L1(weights=factors), select=select, tol=_TOL)
        answers[name] = result
        table.solved(name, result, *given.scores(result.x).values())
    return answers


def _explain(table: Table) -> None:
    table.note(
        "F1 counts spikes above 0.1 within two samples; the weakest reflection is 0.3. The universal level "
        "is the one that noise hardly ever reaches: sigma ||a_j|| sqrt(2 log n) for every column where lam_j "
        "follows the norms, that of the longest column where there is one lambda. L0: sigma^2 log n."
    )
    table.note(
        "A level that is safe for the long columns at the top is several times too high for the short ones "
        "at the bottom. 1 / depth needs no column norms and does about as well here, because what is lost "
        "follows the depth. L0 asks what a column explains, whatever its length, and needs no weights."
    )


def _draw(given: Section, answers: dict[str, Result], table: Table) -> Any:
    from sparseinv.plotting import clip_level, figure
    from sparseinv.plotting import section as draw_section

    traces, samples = given.A.dims
    shown = {"one lambda": "one lambda", "lam_j ~ column norms": "lam_j ~ norm"}
    drawing, axes = figure(2, 4, size=(12.0, 8.0), height_ratios=(1.2, 1.0))
    panels = {"data": given.b, "truth": given.truth}
    panels |= {f"{name}, F1 deep {table.score(key):.2f}": answers[key].x for name, key in shown.items()}
    for k, (axis, (title, values)) in enumerate(zip(axes[0], panels.items(), strict=True)):
        image = values.reshape(traces, samples)
        clip = clip_level(image, 99.0) if k == 0 else _WEAKEST
        draw_section(image, given.dt, axes=axis, clip=clip, signed=k > 0, title=title)
        axis.axhline(2 * samples // 3 * given.dt, color="tab:green", linewidth=0.8)
    middle = slice(traces // 2 * samples, (traces // 2 + 1) * samples)
    t = np.arange(samples) * given.dt
    level, norms = 1.1 * _STRONGEST, given.A.column_norms()[middle]
    data, model = axes[1, 0], axes[1, 1]
    data.plot(given.b[middle], t, color="black", linewidth=0.7)
    data.set_title("data, middle trace", fontsize=9)
    data.set_xlabel("amplitude")
    for name, key in shown.items():
        lam = answers[key].lam * given.weights()[key][middle]
        model.plot(lam / norms**2, t, label=name)
    model.set_title("bias lam_j / ||a_j||² of a lone spike", fontsize=9)
    model.set_xlabel("reflectivity")
    model.set_xlim(0.0, 1.0)
    model.legend(fontsize=7)
    for axis, (name, key) in zip(axes[1, 2:], shown.items(), strict=True):
        where = np.flatnonzero(given.truth[middle])
        axis.hlines(t, 0.0, answers[key].x[middle], color="tab:blue", linewidth=1.5)
        axis.plot(given.truth[middle][where], t[where], "o", color="tab:red", markersize=4, fillstyle="none")
        axis.set_xlim(-level, level)
        axis.set_title(f"{name}, middle trace", fontsize=9)
        axis.set_xlabel("reflectivity (circles: truth)")
    for axis in axes[1]:
        axis.set_ylim(t[-1], t[0])
        axis.axhline(2 * samples // 3 * given.dt, color="tab:green", linewidth=0.8)
        axis.set_ylabel("time [s]")
    return drawing, axes

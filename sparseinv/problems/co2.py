"""Weekly carbon dioxide with real gaps, half years held out: a trend and a few lines of a spectrum."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sparseinv.entry import solve as solve_problem
from sparseinv.penalties import L1, L2
from sparseinv.problems.catalogue import Case
from sparseinv.problems.report import Demo, Goal, Missing, Table
from sparseinv.result import Result
from sparseinv.selection.cross_validation import CrossValidation
from sparseinv.selection.selector import select_lam

Array = np.ndarray[Any, Any]

_WEEKS = 365.25 / 7.0  # a year
_BLOCK = 26  # weeks held out at a time
_HIGHEST = 4.2  # [cycles per year]
_FINER = 2  # lines a resolution width
_TREND = 3  # constant, slope and curvature, not penalised
_LEVELS: dict[str, Any] = {"n_lams": 40, "ratio": 1e-3}
_SIZES = {"s": (800, 3), "m": (None, 6)}  # weeks, blocks held out


@dataclass(frozen=True, eq=False)
class Series:
    """Hold weekly values with gaps, some of them held out.

    Attributes
    ----------
    values : ndarray, shape (n,)
        Concentration [ppm]; NaN where nothing was measured.
    held : ndarray of bool, shape (n,)
        Weeks held out, in blocks.
    """

    values: Array
    held: Array

    @property
    def known(self) -> Array:
        """Weeks that are used."""
        return ~np.isnan(self.values) & ~self.held

    @property
    def tested(self) -> Array:
        """Weeks that are predicted and were measured."""
        return ~np.isnan(self.values) & self.held

    @property
    def years(self) -> Array:
        """Time of every week since the first [years]."""
        return np.arange(self.values.size) / _WEEKS

    def dictionary(self) -> tuple[Array, Array]:
        """Return the columns at all weeks, and the frequency of each [cycles per year], 0 for the trend."""
        n, t = self.values.size, self.years
        u = np.linspace(-1.0, 1.0, n)
        step = 1.0 / (_FINER * n / _WEEKS)
        lines = step * np.arange(1, int(_HIGHEST / step) + 1)
        phase = 2.0 * np.pi * np.outer(t, lines)
        waves = np.sqrt(2.0) * np.stack([np.cos(phase), np.sin(phase)], axis=2).reshape(n, -1)
        trend = np.stack([np.ones(n), u, u**2], axis=1)
        return np.hstack([trend, waves]), np.concatenate([np.zeros(_TREND), np.repeat(lines, 2)])

    def error(self, estimate: Array) -> float:
        """Return the root mean square error at the weeks held out [ppm]."""
        return float(np.sqrt(np.mean((estimate - self.values)[self.tested] ** 2)))


def series(size: str, seed: int) -> Series:
    """Return the series of Mauna Loa with one block held out in each of equal intervals."""
    try:
        from statsmodels.datasets import co2
    except ImportError:
        raise Missing("statsmodels is not installed; python -m pip install statsmodels") from None
    weeks, blocks = _SIZES[size]
    values = np.asarray(co2.load_pandas().data["co2"].to_numpy(), dtype=np.float64)[:weeks]
    held = np.zeros(values.size, dtype=bool)
    rng = np.random.default_rng(seed)
    edges = np.linspace(_BLOCK, values.size - 2 * _BLOCK, blocks + 1).astype(int)
    for first, last in zip(edges[:-1], edges[1:] - _BLOCK, strict=True):
        start = int(rng.integers(first, last))
        held[start : start + _BLOCK] = True
    return Series(values, held)


def _equations(s: Series) -> tuple[Array, Array, Array, Array]:
    """Return the columns at all weeks, A, b and the relative lambdas."""
    D, frequency = s.dictionary()
    return D, np.asfortranarray(D[s.known]), s.values[s.known], (frequency > 0.0).astype(float)


def _by_half_years(s: Series) -> CrossValidation:
    """Return folds that leave out half years as a whole, as the blocks are."""
    return CrossValidation(5, groups=np.floor(2.0 * s.years[s.known]).astype(int))


def load(id: str, *, size: str, seed: int, data: Path | None) -> Case:
    """Build the problem; see `sparseinv.problems.load_problem`."""
    s = series(size, seed)
    D, A, b, weights = _equations(s)
    chosen = select_lam(A, b, L1(weights=weights), _by_half_years(s), **_LEVELS)
    return Case(
        id, size, seed, A, b, L1(chosen.lam, weights=weights),
        "predicting half years left out of what is known; the trend is not penalised", float("nan"),
        lambda x: {"error [ppm]": s.error(D @ x)}, None, (D.shape[1],),
    )  # fmt: skip


def run(id: str, *, size: str, seed: int, data: Path | None, echo: bool) -> Demo:
    """Compare the methods; see `sparseinv.problems.run_problem`."""
    s = series(size, seed)
    D, A, b, weights = _equations(s)
    place = np.arange(s.values.size)
    table = Table(
        f"{int(s.known.sum())} of {s.values.size} weeks known, {int(np.isnan(s.values).sum())} never "
        f"measured, {int(s.tested.sum())} held out in half years; {D.shape[1]} columns",
        ("error [ppm]",),
        echo,
    )  # fmt: skip
    answers = {"linear": np.interp(place, np.flatnonzero(s.known), b)}
    table.baseline("linear", s.error(answers["linear"]))
    table.baseline("a year earlier", s.error(_a_year_earlier(s)))
    coefficients: dict[str, Array] = {}

    def add(method: str, result: Result) -> None:
        coefficients[method], answers[method] = result.x, D @ result.x
        table.solved(method, result, s.error(answers[method]))

    folds = _by_half_years(s)
    smooth = select_lam(A, b, L2(weights=weights), folds, lams=np.geomspace(1e4, 1e-1, 16) * b.size / 1e3)
    assert smooth.result is not None
    add("L2", smooth.result)
    add("L1", solve_problem(A, b, L1(weights=weights)))
    sparse = select_lam(A, b, L1(weights=weights), folds, **_LEVELS)
    assert sparse.result is not None
    add("L1, half years", sparse.result)
    best = table.score("L1, half years")
    table.note(
        "Constant, slope and curvature have lambda 0, the waves (up to four cycles a year, twice as fine "
        "as the record resolves, no period is given) one lambda: by the pivotal rule, or, as for L2, by "
        "predicting half years left out of what is known, since neighbouring weeks would predict each "
        "other whatever lambda is."
    )
    table.note(
        f"Linear interpolation cuts through the season ({table.score('linear'):.2f} ppm). L1 finds the year "
        f"and its harmonics and misses held-out weeks by {best:.2f} ppm; L2 spreads the season over the "
        "lines beside it, which cancel where there are data and drift apart in a gap "
        f"({table.score('L2'):.2f} ppm)."
    )
    goals = (
        Goal("error of linear interpolation over that of L1", table.score("linear") / best, 1.0),
        Goal("error of L2 over that of L1", table.score("L2") / best, 1.0),
    )
    frequency = s.dictionary()[1]
    return Demo(id, (table,), {id: partial(_draw, s, answers, coefficients, frequency, table)}, goals)


def _a_year_earlier(s: Series) -> Array:
    """Return the value of a year before, raised by the mean growth of a year."""
    place = np.arange(s.values.size)
    known = np.flatnonzero(s.known)
    filled = np.interp(place, known, s.values[known])
    growth = np.polyfit(s.years[known], s.values[known], 1)[0]
    return np.asarray(np.interp(place - _WEEKS, place, filled) + growth)


def _draw(
    s: Series, answers: dict[str, Array], coefficients: dict[str, Array], frequency: Array, table: Table
) -> Any:
    from sparseinv.plotting import figure

    names = ("linear", "L2", "L1, half years")
    colors = ("tab:green", "tab:orange", "tab:blue")
    drawing, axes = figure(2, 2, size=(12.0, 7.0), width_ratios=(1.4, 1.0))
    first = 1958.24 + s.years
    observed = np.where(s.known, s.values, np.nan)
    truth = np.where(s.tested, s.values, np.nan)
    starts = np.flatnonzero(np.diff(s.held.astype(int)) == 1)
    windows = [slice(0, s.values.size), *(slice(at - 40, at + 40 + _BLOCK) for at in starts[1:3])]
    for panel, window in zip((axes[0, 0], axes[0, 1], axes[1, 1]), windows, strict=True):
        t = first[window]
        panel.plot(t, observed[window], ".", color="0.55", markersize=2.5, label="known")
        panel.plot(t, truth[window], ".", color="black", markersize=4.0, label="held out")
        for name, color in zip(names, colors, strict=True):
            line = np.where(s.held, answers[name], np.nan)
            panel.plot(t, line[window], color=color, linewidth=1.3, label=name)
        panel.set_ylabel("CO2 [ppm]")
        panel.set_xlabel("year")
        panel.locator_params(axis="x", nbins=5)
    scores = ", ".join(f"{name} {table.score(name):.2f}" for name in names)
    axes[0, 0].set_title(f"Mauna Loa, weekly; error [ppm]: {scores}", fontsize=9, loc="left")
    axes[0, 1].legend(fontsize=7)
    lines = frequency[_TREND::2]
    for name, color, mark in zip(names[1:], colors[1:], ("-", "."), strict=True):
        x = coefficients[name][_TREND:]
        size = np.sqrt(2.0) * np.hypot(x[::2], x[1::2])
        size[size < 1e-4] = np.nan
        axes[1, 0].semilogy(lines, size, mark, color=color, linewidth=0.8, markersize=5, label=name)
    axes[1, 0].set_xlabel("frequency [cycles per year]")
    axes[1, 0].set_ylabel("amplitude [ppm]")
    axes[1, 0].legend(fontsize=7)
    return drawing, axes

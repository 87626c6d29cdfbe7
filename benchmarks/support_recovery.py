"""Which coefficients are found in noise, and how well they predict: the settings of the best-subset studies.

    python benchmarks/support_recovery.py                  two repetitions of every setting, two hours at most
    python benchmarks/support_recovery.py --smoke          a few of them, below three minutes
    python benchmarks/support_recovery.py --reps 10 --settings high-5 --rhos 0.35 --betas 2
    python benchmarks/support_recovery.py --report         table and figures from the rows that are there

Rows of A are Gaussian with correlation rho^|i - j| between columns, signal-to-noise ratios run from 0.05 to 6
(Hastie, Tibshirani, Tibshirani, doi:10.1214/19-STS733). "ricker" stands beside them: a spike train behind a
wavelet, found to within a sample. Each method offers a list of candidates from A and b alone; the one that
predicts a second set of m noisy data best is judged. Risk is relative to the variance of the signal, RTE
is the test error over that of the truth, PVE the share of the variance explained, F1 that of the support.
Rows are JSON lines of --out/support_recovery.jsonl; a run that is stopped goes on from there. Beside it:
support_recovery.md and support_recovery-*.png.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import problems
from latency import machine
from phase_transition import read
from threadpoolctl import threadpool_limits

import sparseinv as si

Array = np.ndarray[Any, Any]
Row = dict[str, Any]
RESULTS = Path(__file__).resolve().parent / "results"
SNRS = tuple(round(float(snr), 3) for snr in np.geomspace(0.05, 6.0, 10))
CAP = 60.0  # seconds for the candidates of one method
METRICS = ("risk", "rte", "pve", "nnz", "f1")


# --- data -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Setting:
    """Hold rows m, columns n, planted coefficients s and the largest number that methods try."""

    m: int
    n: int
    s: int
    most: int


SETTINGS = {
    "low": Setting(100, 10, 5, 10),
    "medium": Setting(500, 100, 5, 50),
    "high-5": Setting(50, 1000, 5, 50),
    "high-10": Setting(100, 1000, 10, 50),
    "ricker": Setting(300, 300, 12, 40),
}
RHOS, BETAS = (0.0, 0.35, 0.7), (1, 2, 3, 5)


@dataclass(frozen=True)
class Data:
    """Hold one data set: what methods see, what tunes them, what judges them."""

    A: Array
    b: Array
    A_validation: Array
    b_validation: Array
    truth: Array
    planted: Array  # indices
    covariance: Array  # of the rows of A
    variance: float  # of the noise
    tolerance: int = 0  # samples that a found coefficient may be off


def coefficients(kind: int, n: int, s: int) -> tuple[Array, Array]:
    """Return (x, indices of the s planted coefficients) of one of the five types of the study."""
    x = np.zeros(n)
    planted = np.arange(s)
    if kind == 1:  # equispaced ones
        planted = np.round(np.linspace(0, n - 1, s)).astype(int)
        x[planted] = 1.0
    elif kind == 2:
        x[planted] = 1.0
    elif kind == 3:
        x[planted] = np.linspace(10.0, 0.5, s)
    elif kind == 4:
        planted = np.arange(6)
        x[planted] = (-10.0, -6.0, -2.0, 2.0, 6.0, 10.0)
    elif kind == 5:  # ones, and a tail that is never zero
        x[planted] = 1.0
        x[s:] = 0.5 ** np.arange(1, n - s + 1)
    else:
        raise ValueError(f"kind is {kind}, but it must be one of 1 to 5")
    return x, planted


def draw(name: str, rho: float, kind: int, snr: float, rep: int, seed: int) -> Data:
    """Return a data set; A and the noise before scaling depend on (name, rho, rep, seed) alone."""
    setting = SETTINGS[name]
    m, n, s = setting.m, setting.n, setting.s
    rng = np.random.default_rng([seed, rep, list(SETTINGS).index(name), round(1000 * rho)])
    if name == "ricker":
        A = A_validation = problems.convolution_matrix(n)
        slots = np.sort(rng.choice(n // 5, s, replace=False))  # at least three samples between spikes
        planted = 5 * slots + rng.integers(0, 3, s)
        truth = np.zeros(n)
        truth[planted] = rng.choice([-1.0, 1.0], s) * (0.5 + rng.random(s))
        covariance = A.T @ A / m
    else:
        truth, planted = coefficients(kind, n, s)
        A, A_validation = (np.asfortranarray(_correlated(m, n, rho, rng)) for _ in range(2))
        lag = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
        covariance = np.where(lag == 0, 1.0, rho ** np.maximum(lag, 1))
    variance = float(truth @ covariance @ truth) / snr
    noise, other = np.sqrt(variance) * rng.standard_normal((2, m))
    return Data(
        A, A @ truth + noise, A_validation, A_validation @ truth + other, truth, planted, covariance,
        variance, 1 if name == "ricker" else 0,
    )  # fmt: skip


def _correlated(m: int, n: int, rho: float, rng: np.random.Generator) -> Array:
    A = rng.standard_normal((m, n))
    for j in range(1, n):
        A[:, j] = rho * A[:, j - 1] + np.sqrt(1 - rho**2) * A[:, j]
    return A


# --- methods --------------------------------------------------------------------------------------------


def lasso(A: Array, b: Array, most: int, n_lams: int = 100) -> list[Array]:
    """Return the solutions along an L1 path."""
    return list(si.solve_path(A, b, si.L1(), n_lams=n_lams, ratio=1e-3, max_time=CAP).X.T)


def relaxed_lasso(A: Array, b: Array, most: int) -> list[Array]:
    """Return mixtures of lasso solutions and least-squares fits on their supports."""
    found = []
    for x in lasso(A, b, most, 50):
        support = np.flatnonzero(x)
        fitted = np.zeros_like(x)
        if support.size:
            fitted[support] = np.linalg.lstsq(A[:, support], b, rcond=None)[0]
        found += [share * x + (1 - share) * fitted for share in np.linspace(0, 1, 10)]
    return found


def by_size(name: str, **settings: Any) -> Callable[[Array, Array, int], list[Array]]:
    """Return a method that runs the named solver with at most k = 0, 1, ... non-zeros."""

    def run(A: Array, b: Array, most: int) -> list[Array]:
        solver, found, ends = getattr(si, name)(**settings), [np.zeros(A.shape[1])], time.monotonic() + CAP
        for k in range(1, min(most, *A.shape) + 1):
            if time.monotonic() < ends:
                found.append(si.solve(A, b, si.L0Ball(k), solver=solver).x)
        return found

    return run


def l0_paths(solver: Any, ridges: Sequence[float] = (0.0,)) -> Callable[[Array, Array, int], list[Array]]:
    """Return a method that follows L0 from lam_max down, for each ridge relative to the mean ||a_j||^2."""

    def run(A: Array, b: Array, most: int) -> list[Array]:
        found = []
        for ridge in ridges:
            penalty = si.L0(l2=ridge * float(np.mean(np.sum(A * A, axis=0))))
            path = si.solve_path(
                A, b, penalty, n_lams=30, ratio=1e-3, solver=solver, max_time=CAP / len(ridges)
            )
            found += list(path.X.T)
        return found

    return run


def paths_of(name: str) -> Callable[[Array, Array, int], list[Array]]:
    """Return a method that follows the named penalty from lam_max down."""
    return lambda A, b, most: list(
        si.solve_path(A, b, getattr(si, name)(), n_lams=50, ratio=1e-3, max_time=CAP).X.T
    )


RIDGES = (0.0, 1e-2, 1e-1, 1.0, 10.0)
#: name: (candidates(A, b, most), how, names in sparseinv without which it is absent)
METHODS: dict[str, tuple[Callable[[Array, Array, int], list[Array]], str, tuple[str, ...]]] = {
    "lasso": (lasso, "`L1` path, 100 levels", ()),
    "relaxed lasso": (relaxed_lasso, "50 levels, ten mixtures with the fit on the support", ()),
    "forward stepwise": (by_size("OLS"), "`L0Ball(k)`, `OLS()`, k up to 50", ("OLS",)),
    "OMP": (by_size("OMP"), "`L0Ball(k)`, `OMP()`, k up to 50", ("OMP",)),
    "best subset": (by_size("LocalSearch", restarts=0), "`L0Ball(k)`, `LocalSearch(restarts=0)`", ()),
    "L0": (l0_paths(si.LocalSearch(restarts=0)), "`L0` path, 30 levels, `LocalSearch(restarts=0)`", ()),
    "L0L2": (l0_paths(si.LocalSearch(restarts=0), RIDGES), "the same for five ridges `l2`", ()),
    "IRL1": (l0_paths(si.IRL1()), "`L0` path, 30 levels, `IRL1()`", ()),
    "MCP": (paths_of("MCP"), "`MCP` path, 50 levels", ("MCP",)),
    "SCAD": (paths_of("SCAD"), "`SCAD` path, 50 levels", ("SCAD",)),
}


def missing(name: str) -> list[str]:
    """Return what sparseinv lacks for a method."""
    return [needed for needed in METHODS[name][2] if not hasattr(si, needed)]


# --- one trial ------------------------------------------------------------------------------------------


def chosen(candidates: Sequence[Array], data: Data) -> Array:
    """Return the candidate that predicts the validation data best, the earliest of equals."""
    errors = np.sum(
        (data.A_validation @ np.column_stack(candidates) - data.b_validation[:, None]) ** 2, axis=0
    )
    return candidates[int(np.argmin(errors))]


def judge(x: Array, data: Data) -> dict[str, float]:
    """Return the metrics of x."""
    error = x - data.truth
    signal = float(data.truth @ data.covariance @ data.truth)
    risk = float(error @ data.covariance @ error)
    found = np.flatnonzero(x)
    distance = np.abs(np.subtract.outer(found, data.planted))
    hits = int(np.sum(distance.min(axis=1, initial=x.size) <= data.tolerance))
    covered = int(np.sum(distance.min(axis=0, initial=x.size) <= data.tolerance))
    precision, recall = hits / max(found.size, 1), covered / data.planted.size
    return {
        "risk": risk / signal,
        "rte": (risk + data.variance) / data.variance,
        "pve": 1 - (risk + data.variance) / (signal + data.variance),
        "nnz": float(found.size),
        "f1": 2 * precision * recall / (precision + recall) if precision + recall else 0.0,
    }


def attempt(method: str, point: tuple[str, float, int, float, int], seed: int) -> Row:
    """Run one method on one data set."""
    name, rho, kind, snr, rep = point
    data = draw(name, rho, kind, snr, rep, seed)
    row: Row = {
        "seed": seed, "setting": name, "rho": rho, "beta": kind, "snr": snr, "rep": rep, "method": method,
    }  # fmt: skip
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            candidates = METHODS[method][0](data.A, data.b, SETTINGS[name].most)
    except Exception as refusal:
        return {**row, "error": f"{type(refusal).__name__}: {refusal}"[:200]}
    row |= {"seconds": round(time.perf_counter() - wall, 4), "cpu": round(time.process_time() - cpu, 4)}
    return row | {key: float(f"{value:.5g}") for key, value in judge(chosen(candidates, data), data).items()}


def key_of(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("seed", "method", "setting", "rho", "beta", "snr", "rep"))


def points(
    settings: Iterable[str], rhos: Iterable[float], betas: Iterable[int], snrs: Sequence[float], reps: int
) -> list[tuple[str, float, int, float, int]]:
    """List the data sets, repetitions outermost so that a run that is cut short is even."""
    listed = []
    for rep, name in itertools.product(range(reps), settings):
        # spikes behind a wavelet have neither correlation nor type
        ways = [(0.0, 0)] if name == "ricker" else list(itertools.product(rhos, betas))
        listed += [(name, rho, kind, snr, rep) for (rho, kind), snr in itertools.product(ways, snrs)]
    return listed


# --- table and figures ----------------------------------------------------------------------------------


def averages(rows: Iterable[Row]) -> dict[tuple[str, float, str], dict[str, float]]:
    """Return the means of the metrics by (setting, snr, method), with the number of data sets.

    Only data sets that every method of the setting has been through count: the comparison is paired. A
    method that ended in an error there is left out of the setting.
    """
    rows = list(rows)
    failed = {(row["setting"], row["method"]) for row in rows if "error" in row}
    done: dict[str, dict[tuple[Any, ...], dict[str, Row]]] = {}
    for row in rows:
        if (row["setting"], row["method"]) not in failed:
            place = (row["seed"], row["rho"], row["beta"], row["snr"], row["rep"])
            done.setdefault(row["setting"], {}).setdefault(place, {})[row["method"]] = row
    means: dict[tuple[str, float, str], dict[str, float]] = {}
    for setting, places in done.items():
        methods = set().union(*places.values())
        complete = [entries for entries in places.values() if set(entries) == methods]
        for snr, method in itertools.product({row["snr"] for e in complete for row in e.values()}, methods):
            mine = [entries[method] for entries in complete if entries[method]["snr"] == snr]
            means[setting, snr, method] = {
                name: float(np.mean([row[name] for row in mine])) for name in (*METRICS, "cpu")
            } | {"sets": len(mine)}
    return means


def markdown(machines: Sequence[Row], rows: Sequence[Row], absent: dict[str, str]) -> str:
    """Return the report."""
    means = averages(rows)
    lines = ["# Support recovery in noise", ""]
    lines += [
        "Means over correlations, types of coefficients and repetitions, on data sets that every method met.",
        "Each method was tuned on as many further data as it was given. RTE: test error over that of the",
        "truth, 1 at best. F1: of the support, 1 at best; in `ricker` a sample off counts as found. No",
        "method is told the number of non-zeros.",
        "",
        *(f"- {', '.join(f'{key} {value}' for key, value in entry.items())}" for entry in machines),
    ]
    for setting in SETTINGS:
        snrs = sorted({snr for name, snr, _ in means if name == setting})
        if not snrs:
            continue
        size = SETTINGS[setting]
        sets = int(sum(means[key]["sets"] for key in means if key[0] == setting and key[2] == "lasso"))
        lines += ["", f"## {setting}: m {size.m}, n {size.n}, {size.s} planted; {sets} data sets", ""]
        lines.append(
            "| RTE / F1 | " + " | ".join(f"SNR {snr:.2g}" for snr in snrs) + " | non-zeros | CPU s |"
        )
        lines.append("|---" * (len(snrs) + 3) + "|")
        for method in METHODS:
            mine = [means.get((setting, snr, method)) for snr in snrs]
            if all(mine):
                cells = [f"{mean['rte']:.2f} / {mean['f1']:.2f}" for mean in mine]
                extra = [f"{np.mean([mean[name] for mean in mine]):.2g}" for name in ("nnz", "cpu")]
                lines.append(f"| {method} | " + " | ".join(cells + extra) + " |")
    lines += ["", "| method | candidates |", "|---|---|"]
    lines += [f"| {name} | {how} |" for name, (_, how, _) in METHODS.items() if name not in absent]
    errors = {row["method"]: row["error"] for row in rows if "error" in row}
    remarks = [f"- {name}: absent, {why}" for name, why in absent.items()]
    remarks += [f"- {name}: left out where it ended in an error, such as {e}" for name, e in errors.items()]
    return "\n".join([*lines, *(["", *remarks] if remarks else [])]) + "\n"


def figures(rows: Sequence[Row], stem: Path) -> list[Path]:
    """Draw test error and F1 against the signal-to-noise ratio, and F1 as a heat map."""
    from matplotlib.figure import Figure

    means = averages(rows)
    settings = [name for name in SETTINGS if any(key[0] == name for key in means)]
    if not settings:
        return []
    lines = Figure(figsize=(3.4 * len(settings) + 1.6, 6.2), layout="constrained")
    grid = lines.subplots(2, len(settings), sharex=True, squeeze=False)
    maps = Figure(figsize=(3.2 * len(settings) + 2.0, 3.6), layout="constrained")
    row_of_maps = maps.subplots(1, len(settings), sharey=True, squeeze=False)[0]
    names = [name for name in METHODS if any(key[2] == name for key in means)]
    image = None
    for i, setting in enumerate(settings):
        snrs = sorted({snr for name, snr, _ in means if name == setting})
        for j, method in enumerate(names):
            mine = [means.get((setting, snr, method)) for snr in snrs]
            if not all(mine):
                continue
            for axes, metric in zip(grid[:, i], ("rte", "f1"), strict=True):
                axes.semilogx(
                    snrs, [mean[metric] for mean in mine], marker="osD^v<>PX*"[j % 10], ms=4, lw=1.2,
                    color=f"C{j % 10}", label=method,
                )  # fmt: skip
                axes.grid(alpha=0.3)
        grid[0, i].set_title(setting)
        grid[1, i].set(ylim=(0, 1.02), xlabel="signal-to-noise ratio")
        shown = snrs[:: max(len(snrs) // 4, 1)]
        grid[1, i].set_xticks(shown, [f"{snr:.2g}" for snr in shown])
        grid[1, i].minorticks_off()
        table = [
            [means.get((setting, snr, method), {"f1": np.nan})["f1"] for snr in snrs] for method in names
        ]
        axes = row_of_maps[i]
        image = axes.pcolormesh(
            range(len(snrs)), range(len(names)), table, shading="nearest", cmap="cividis", vmin=0, vmax=1
        )
        axes.set(title=setting, xlabel="signal-to-noise ratio")
        axes.set_xticks(range(len(snrs)), [f"{snr:.2g}" for snr in snrs], rotation=60)
        axes.set_yticks(range(len(names)), names)
    grid[0, 0].set_ylabel("test error / that of the truth")
    grid[1, 0].set_ylabel("F1 of the support")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    lines.legend(handles, labels, loc="outside right center", fontsize="small")
    maps.colorbar(image, ax=row_of_maps, label="F1")
    drawn = [stem.with_name(f"{stem.name}-{name}.png") for name in ("lines", "heat")]
    lines.savefig(drawn[0], dpi=110)
    maps.savefig(drawn[1], dpi=110)
    return drawn


# --- the run --------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write the table and the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="a few data sets: does it all work?")
    parser.add_argument("--settings", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), metavar="NAME", default=list(METHODS))
    parser.add_argument("--rhos", nargs="+", type=float, default=list(RHOS))
    parser.add_argument("--betas", nargs="+", type=int, choices=range(1, 6), default=list(BETAS))
    parser.add_argument("--reps", type=int, default=2, help="repetitions (default 2; the study has 10)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hours", type=float, default=1.9, help="no data set is begun later (default 1.9)")
    parser.add_argument("--report", action="store_true", help="only table and figures, from rows that exist")
    parser.add_argument("--out", type=Path, help="folder (default benchmarks/results; smoke: bench-output)")
    options = parser.parse_args(arguments)
    if options.reps < 1:
        parser.error("--reps must be at least 1")
    if not all(0 <= rho < 1 for rho in options.rhos):
        parser.error("--rhos must lie in [0, 1)")
    folder = options.out or (Path("bench-output") if options.smoke else RESULTS)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ("support_recovery-smoke.jsonl" if options.smoke else "support_recovery.jsonl")
    absent = {
        name: f"sparseinv has no {', '.join(missing(name))}" for name in options.methods if missing(name)
    }
    methods = [name for name in options.methods if name not in absent]
    todo = points(options.settings, options.rhos, options.betas, SNRS, options.reps)
    if options.smoke:
        todo = points(options.settings, [0.35], [2], [SNRS[4], SNRS[8]], 1)
    left = 0
    if not options.report:
        about = {**machine(), "threads": 1, "date": str(datetime.date.today())}
        print(", ".join(f"{key} {value}" for key, value in about.items()))
        print("".join(f"{name}: absent, {why}\n" for name, why in absent.items()), end="", flush=True)
        left = run(todo, methods, path, about, options.seed, time.monotonic() + 3600 * options.hours)
    machines, rows = read(path)
    path.with_suffix(".md").write_text(markdown(machines, rows, absent), encoding="utf-8")
    for figure in figures(rows, path.with_suffix("")):
        print(f"wrote {figure}")
    if left:
        print(f"the time was up with {left} data sets to do; the same command goes on from here")
    return 0


def run(
    todo: Sequence[tuple[str, float, int, float, int]], methods: Sequence[str], path: Path, about: Row,
    seed: int, deadline: float,
) -> int:  # fmt: skip
    """Add the rows that are missing; return how many data sets were left when the time was up."""
    machines, rows = read(path)
    have = {key_of(row) for row in rows}
    with path.open("a", encoding="utf-8") as file, threadpool_limits(1):
        if about not in machines:
            file.write(json.dumps({"machine": about}) + "\n")
        for done, point in enumerate(todo):
            if time.monotonic() > deadline:
                return len(todo) - done
            new = [method for method in methods if (seed, method, *point) not in have]
            for method in new:
                file.write(json.dumps(attempt(method, point, seed)) + "\n")
                file.flush()
            if new:
                print(f"{done + 1} of {len(todo)}: {point}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

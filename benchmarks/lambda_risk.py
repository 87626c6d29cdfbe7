"""How well rules choose lambda: risk at the chosen level over the least risk on the path.

    python benchmarks/lambda_risk.py               50 seeds a cell: table, JSONL and machine in results/
    python benchmarks/lambda_risk.py --smoke       two seeds, small problems, nothing written unless --out
    python benchmarks/lambda_risk.py --report      the table of an existing JSONL file anew

The risk is ||A (x - x0)||^2 for a planted x0; the ratio to the least risk on a path of 60 levels of L1 is
1 for a rule that knew the truth. Cross-validation and the peers run on the first --fold-seeds seeds.
Designs: iid normal entries, autoregressive columns (correlation 0.9 between neighbours), deconvolution of a
Ricker wavelet, irregularly sampled Fourier series (complex). SNR is ||A x0||^2 / E||e||^2. Rules that read
a path share one; the seconds of each are its own plus those of that path as far as all rules together read
it, and those of a peer are its whole fit. Peers solve the same data with their default grids, without an
intercept, real data only; those that cannot be imported are named.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from latency import machine
from threadpoolctl import threadpool_limits

import sparseinv as si

RESULTS = Path(__file__).resolve().parent / "results"
DESIGNS = ("iid", "ar", "deconvolution", "fourier")
SNRS = (0.3, 1.0, 5.0)
N_LAMS = 60
RATIO = 5e-3  # lowest level of the path over the largest; the best one lies well above in every cell
GOALS = {"lam=None": (1.12, 1.2), "best rule": (1.06, None)}
PEERS = {"sklearn": "sklearn.linear_model", "celer": "celer", "adelie": "adelie"}

Array = np.ndarray[Any, Any]


def data(design: str, snr: float, seed: int, small: bool = False) -> tuple[Array, Array, Array, float]:
    """Return (A, b, x0, sigma)."""
    rng = np.random.default_rng([DESIGNS.index(design), int(10 * snr), seed])
    m, n, k = (40, 60, 4) if small else (100, 200, 10)
    if design in ("iid", "ar"):
        A = rng.standard_normal((m, n))
        if design == "ar":
            for j in range(1, n):
                A[:, j] = 0.9 * A[:, j - 1] + np.sqrt(1.0 - 0.81) * A[:, j]
    elif design == "deconvolution":
        m = n = 60 if small else 160
        t = np.subtract.outer(np.arange(m), np.arange(n)) / 4.0
        A = (1.0 - 2.0 * t**2) * np.exp(-(t**2))
    else:
        m, n, k = (30, 60, 3) if small else (80, 160, 5)
        times = np.sort(rng.uniform(0.0, n, m))
        A = np.exp(2j * np.pi * np.outer(times, np.arange(n)) / n)
    x0 = np.zeros(n, dtype=A.dtype)
    place = rng.permutation(n)[:k]
    x0[place] = rng.uniform(0.5, 1.5, k) * rng.choice([-1.0, 1.0], k)
    noise = rng.standard_normal(m)
    if A.dtype.kind == "c":
        x0[place] *= np.exp(2j * np.pi * rng.uniform(size=k))
        noise = (noise + 1j * rng.standard_normal(m)) / np.sqrt(2.0)
    sigma = float(np.linalg.norm(A @ x0) / np.sqrt(snr * m))
    return A, A @ x0 + sigma * noise, x0, sigma


def rules(sigma: float, folds: bool) -> dict[str, si.Selector]:
    """Return the rules by the names of the table."""
    known = {
        "SURE, sigma known": si.SURE(sigma=sigma),
        "SURE": si.SURE(),
        "GCV": si.GCV(),
        "GCV, robust": si.GCV(robust=True),
        "leave-one-out": si.LeaveOneOut(),
        "AIC, sigma known": si.InformationCriterion("aic", refit=False, sigma=sigma),
        "AICc": si.InformationCriterion("aicc", refit=False),
        "BIC of the refit": si.InformationCriterion("bic"),
        "EBIC of the refit": si.InformationCriterion("ebic"),
        "target misfit, sigma known": si.TargetMisfit(sigma=sigma),
        "pivotal, half median": si.Pivotal(),
        "pivotal, 0.95": si.Pivotal(alpha=0.05),
        "universal, sigma known": si.Universal(sigma=sigma),
        "quantile universal, sigma known": si.QuantileUniversal(sigma=sigma),
        "whiteness": si.Whiteness(),
        "L-curve": si.LCurve(),
        "hold-out 20 %": si.HoldOut(0.2),
    }
    if folds:
        known |= {"CV5": si.CrossValidation(5), "CV5, 1-SE": si.CrossValidation(5, rule="1se")}
    return known


def risk(A: Array, x: Array, x0: Array) -> float:
    return float(np.linalg.norm(A @ (x - x0)) ** 2)


def own(A: Array, b: Array, x0: Array, sigma: float, folds: bool) -> tuple[dict[str, Any], float]:
    """Return ({name: (risk, seconds, lam / lam_max, at_edge)}, the least risk on the path)."""
    top = si.lam_max(A, b, si.L1())
    start = time.perf_counter()
    default = si.solve(A, b, si.L1())
    seconds = time.perf_counter() - start
    found = {"lam=None": (risk(A, default.x, x0), seconds, float(default.lam) / top, False)}
    named = rules(sigma, folds)
    together = si.compare_selectors(A, b, si.L1(), list(named.values()), n_lams=N_LAMS, ratio=RATIO)
    best = min(risk(A, result.x, x0) for result in together.path)  # L-curve and whiteness read all of it
    for name, selection, spent in zip(named, together.selections, together.seconds, strict=True):
        assert selection.result is not None
        reads = isinstance(named[name], (si.CrossValidation, si.HoldOut))
        spent = float(spent) + (0.0 if reads else together.path_seconds)
        found[name] = (risk(A, selection.result.x, x0), spent, selection.lam / top, selection.at_edge)
    return found, best


def peers(present: dict[str, Any], sigma: float) -> Iterator[tuple[str, Callable[[Array, Array], Array]]]:
    """Yield (name, fit) of the peers at hand; fit returns x."""
    if "sklearn" in present:
        linear = present["sklearn"]
        yield "sklearn LassoCV", lambda A, b: linear.LassoCV(cv=5, fit_intercept=False).fit(A, b).coef_
        for kind in ("aic", "bic"):  # with fewer rows than columns it asks for the variance
            rule = linear.LassoLarsIC(kind, fit_intercept=False, noise_variance=sigma**2)
            yield f"sklearn LassoLarsIC {kind}, sigma known", lambda A, b, rule=rule: rule.fit(A, b).coef_
    if "celer" in present:
        celer = present["celer"]
        yield "celer, folds of LassoCV", lambda A, b: _celer(celer, A, b)
    if "adelie" in present:
        yield "adelie cv_grpnet", lambda A, b: _adelie(present["adelie"], A, b)


def _celer(celer: Any, A: Array, b: Array) -> Array:
    """Do what LassoCV does, whose class in celer 0.7.4 does not know newer versions of scikit-learn."""
    levels = np.abs(A.T @ b).max() / b.size * np.geomspace(1.0, 1e-3, 100)
    errors = np.zeros(levels.size)
    for left in np.array_split(np.arange(b.size), 5):
        seen = np.setdiff1d(np.arange(b.size), left)
        X = celer.celer_path(np.asfortranarray(A[seen]), b[seen], "lasso", alphas=levels)[1]
        errors += ((A[left] @ X - b[left, None]) ** 2).sum(axis=0)
    model = celer.Lasso(alpha=float(levels[errors.argmin()]), fit_intercept=False)
    return np.asarray(model.fit(np.asfortranarray(A), b).coef_)


def _adelie(adelie: Any, A: Array, b: Array) -> Array:
    design = np.asfortranarray(A)
    found = adelie.cv_grpnet(
        design, adelie.glm.gaussian(b), n_folds=5, intercept=False, progress_bar=False, min_ratio=1e-2
    )
    state = found.fit(design, adelie.glm.gaussian(b), intercept=False, progress_bar=False)
    betas = state.betas
    return np.asarray(betas[-1].todense() if hasattr(betas[-1], "todense") else betas[-1]).ravel()


def measure(seeds: range, small: bool, fold_seeds: int, present: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield one record a data set, its rules in ``rules``; all cells for a seed before the next seed."""
    for seed, design, snr in itertools.product(seeds, DESIGNS, SNRS):
        folds = seed < fold_seeds
        A, b, x0, sigma = data(design, snr, seed, small)
        found, best = own(A, b, x0, sigma, folds)
        said: dict[str, Any] = {
            name: {
                "ratio": round(value / best, 5), "seconds": round(seconds, 4), "lam_rel": round(relative, 5),
                "at_edge": at_edge,
            }
            for name, (value, seconds, relative, at_edge) in found.items()
        }  # fmt: skip
        for name, fit in peers(present, sigma):
            if np.iscomplexobj(A) or not folds:
                break
            start = time.perf_counter()
            try:
                x = fit(A, b)
            except Exception as error:  # a peer that refuses the data is reported, not hidden
                said[name] = {"refused": f"{type(error).__name__}: {error}"[:200]}
                continue
            seconds = time.perf_counter() - start
            said[name] = {"ratio": round(risk(A, x, x0) / best, 5), "seconds": round(seconds, 4)}
        yield {"design": design, "snr": snr, "seed": seed, "m": A.shape[0], "n": A.shape[1], "rules": said}


def spread(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one row a rule from records of one data set each."""
    return [
        {key: value for key, value in record.items() if key != "rules"} | {"rule": name} | said
        for record in records
        for name, said in record["rules"].items()
    ]


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Return the table in Markdown: medians over seeds and SNR by design, quantiles over everything."""
    names = list(dict.fromkeys(row["rule"] for row in rows))
    heading = "| rule | data | median | 90 % | " + " | ".join(DESIGNS) + " | worst cell | at edge | seconds |"
    lines = [heading, "|" + "---|" * (len(DESIGNS) + 7)]
    done = []
    for name in names:
        mine = [row for row in rows if row["rule"] == name and "ratio" in row]
        refused = sum(row["rule"] == name and "refused" in row for row in rows)
        if not mine:
            lines.append(f"| {name} | {refused} | refused |" + " |" * (len(DESIGNS) + 4))
            continue
        ratios = [row["ratio"] for row in mine]
        by = {d: [row["ratio"] for row in mine if row["design"] == d] for d in DESIGNS}
        cells: dict[tuple[str, float], list[float]] = {}
        for row in mine:
            cells.setdefault((row["design"], row["snr"]), []).append(row["ratio"])
        worst = max(cells, key=lambda cell: statistics.median(cells[cell]))
        middle = statistics.median(ratios)
        edge = sum(bool(row.get("at_edge")) for row in mine) / len(mine)
        text = [f"{statistics.median(by[d]):.3f}" if by[d] else "-" for d in DESIGNS]
        done.append(
            (
                middle,
                f"| {name}{f' (refused {refused})' if refused else ''} | {len(mine)} | {middle:.3f} | "
                f"{np.quantile(ratios, 0.9):.2f} | {' | '.join(text)} | "
                f"{statistics.median(cells[worst]):.2f} ({worst[0]}, {worst[1]:g}) | {edge:.0%} | "
                f"{statistics.median(row['seconds'] for row in mine):.3f} |",
            )
        )
    return lines + [line for _, line in sorted(done)]


def verdicts(rows: list[dict[str, Any]]) -> list[str]:
    """Compare with the goals."""

    def medians(name: str) -> tuple[float, float]:
        mine = [row for row in rows if row["rule"] == name and "ratio" in row]
        each = [[row["ratio"] for row in mine if row["design"] == d] for d in DESIGNS]
        return statistics.median(row["ratio"] for row in mine), max(statistics.median(e) for e in each)

    overall, design = medians("lam=None")
    goal, per_design = GOALS["lam=None"]
    own_names = {row["rule"] for row in rows if "lam_rel" in row} - {"lam=None"}
    best = min(own_names, key=lambda name: medians(name)[0])
    aim = GOALS["best rule"][0]
    return [
        f"lam=None: median {overall:.3f} (goal {goal}: {'met' if overall <= goal else 'missed'}), largest "
        f"median of a design {design:.3f} (goal {per_design}: "
        f"{'met' if design <= per_design else 'missed'}).",
        f"Best rule: {best}, median {medians(best)[0]:.3f} (goal {aim}: "
        f"{'met' if medians(best)[0] <= aim else 'missed'}).",
    ]


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--first", type=int, default=0, help="first seed; parts can be put together")
    parser.add_argument("--fold-seeds", type=int, default=50, help="of them with cross-validation and peers")
    parser.add_argument("--smoke", action="store_true", help="two seeds of small problems")
    parser.add_argument("--report", action="store_true", help="measure nothing, read the JSONL file")
    parser.add_argument("--out", type=Path, help="the JSONL file; the table goes beside it as .md")
    options = parser.parse_args(arguments)
    seeds = 2 if options.smoke else options.seeds
    if seeds < 1:
        parser.error("--seeds must be at least 1")
    out = options.out or (None if options.smoke else RESULTS / "lambda_risk.jsonl")
    if options.report:
        about, *records = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
        report(about, spread(records), out)
        return 0
    present, absent = {}, []
    for name, module in PEERS.items():
        try:
            present[name] = importlib.import_module(module)
        except ImportError:
            absent.append(name)
    about = {**machine(), "absent": absent}
    for design in ("iid", "fourier"):  # compile before anything is timed
        own(*data(design, 1.0, 10**6, True), folds=True)
    records = []
    file = None if out is None else out.open("w", encoding="utf-8")
    with threadpool_limits(1, user_api="blas"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # convergence warnings of peers
        if file:
            file.write(json.dumps(about) + "\n")
        try:
            wanted = range(options.first, options.first + seeds)
            for record in measure(wanted, options.smoke, options.fold_seeds, present):
                records.append(record)
                if file:
                    file.write(json.dumps(record) + "\n")
                    file.flush()
        except KeyboardInterrupt:
            print("interrupted: the table holds what was measured", file=sys.stderr)
    if file:
        file.close()
    report(about, spread(records), out)
    return 0


def report(about: dict[str, Any], rows: list[dict[str, Any]], out: Path | None) -> None:
    """Print the table; write it beside the JSONL file."""
    seeds = len({row["seed"] for row in rows})
    refusals = sorted({f"{row['rule']}: {row['refused']}" for row in rows if "refused" in row})
    text = [
        "# Rules that choose lambda: risk at the chosen level over the least on the path",
        "",
        f"{seeds} seeds x {len(DESIGNS)} designs x SNR {SNRS}, L1; `python benchmarks/lambda_risk.py`.",
        f"Machine: {', '.join(f'{key} {value}' for key, value in about.items() if key != 'absent')}.",
        f"Absent peers: {', '.join(about['absent']) or 'none'}. Peers fit the real designs only.",
        "The column data tells on how many data sets: cross-validation and peers may run on fewer seeds.",
        "Seconds are wall time of one thread on a machine that others used at the same time.",
        "",
        *verdicts(rows),
        "",
        *table(rows),
        *([""] if refusals else []),
        *(f"Refused by {line}  " for line in refusals[:6]),
    ]
    print("\n".join(text))
    if out is not None:
        out.with_suffix(".md").write_text("\n".join(text) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())

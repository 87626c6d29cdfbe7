"""How the cost of one solve grows with n: seconds, and passes over A.

    python benchmarks/scaling.py                     print the table, write benchmarks/results/scaling.json
    python benchmarks/scaling.py --plots FOLDER      also draw it: scaling.png, log-log

A pass is one product A^T r with the same A, timed right after each solve: nothing that reads all of A can
take less than one. "passes" is the time of si.solve(A, b, si.L1(lam_max / 10)) at tol = 1e-6, checks of the
input included, over the time of a pass; "products" are those that the result counts. Before anything else
the machine is measured: the plain pass over a matrix that no cache holds, and a copy of such an array,
with one thread and with two. Seconds are medians; a machine that others share makes them too long.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import problems
from latency import machine
from threadpoolctl import threadpool_limits

import sparseinv as si

RESULTS = Path(__file__).resolve().parent / "results" / "scaling.json"
GOAL = 8  # passes over A at lam_max / 10, dense wide
FACTOR, TOL = 10, 1e-6
SHAPES = {  # series: (m, n) of every point; the rows of a sparse matrix follow from its columns
    "s": {
        "csc": [(0, 300), (0, 1000)],
        "wide": [(50, 100), (50, 400)],
        "square": [(60, 60)],
        "tall": [(200, 40)],
    },
    "m": {
        "csc": [(0, 10_000), (0, 30_000), (0, 100_000), (0, 300_000), (0, 1_000_000)],
        "wide": [(1000, 1000), (1000, 3000), (1000, 10_000), (1000, 30_000)],
        "square": [(500, 500), (1000, 1000), (2000, 2000), (4000, 4000)],
        "tall": [(3000, 300), (10_000, 1000), (20_000, 2000)],
    },
}
STREAM = {"s": 2**20, "m": 2**25}  # numbers in the arrays of the bandwidth test
HEADING = (
    f"{'series':<8}{'m':>9}{'n':>9}{'MB':>8}{'pass ms':>10}{'solve ms':>10}{'passes':>8}{'by CPU':>8}"
    f"{'products':>9}{'nnz':>6}{'gap':>9}"
)


def documents(n: int) -> int:
    """Return how many rows give the Zipf-like generator about 30 entries a column."""
    return round(9 * n**0.8)


def make(series: str, m: int, n: int) -> tuple[Any, Any]:
    if series == "csc":
        return problems.text(documents(n), n)
    return problems.gaussian(m, n, min(m, n) // 20 + 1)


def stored(A: Any) -> int:
    """Return the bytes that A takes."""
    if isinstance(A, np.ndarray):
        return int(A.nbytes)
    return int(A.data.nbytes + A.indices.nbytes + A.indptr.nbytes)


def clock(action: Callable[[], Any]) -> tuple[float, float]:
    """Return (seconds, seconds of processors) that the action takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - wall, time.process_time() - cpu


def bandwidth(numbers: int, repeats: int) -> dict[str, dict[str, float]]:
    """Measure GB/s of the plain pass A^T r and of a copy (bytes read + written), by threads."""
    rows = 1000
    A = np.ones((rows, max(numbers // rows, 1)), order="F")
    r = np.ones(rows)
    source, target = np.ones(numbers), np.ones(numbers)
    found: dict[str, dict[str, float]] = {"pass": {}, "copy": {}}
    for threads in (1, 2):
        parts = list(zip(np.array_split(target, threads), np.array_split(source, threads), strict=True))
        with threadpool_limits(threads, user_api="blas"), ThreadPoolExecutor(threads) as pool:
            product = min(clock(lambda: r @ A)[0] for _ in range(repeats + 1))
            copies = (
                clock(lambda pool=pool, parts=parts: list(pool.map(lambda part: np.copyto(*part), parts)))[0]
                for _ in range(repeats + 1)
            )
            found["pass"][str(threads)] = round(A.nbytes / product / 1e9, 2)
            found["copy"][str(threads)] = round(2 * source.nbytes / min(copies) / 1e9, 2)
    return found


def measure(series: str, m: int, n: int, repeats: int) -> dict[str, Any]:
    """Solve one problem and time the pass over its A, in turn."""
    A, b = make(series, m, n)
    penalty = si.L1(si.lam_max(A, b, si.L1()) / FACTOR)
    result = si.solve(A, b, penalty, tol=TOL)  # compiles, where that was not done yet
    r = A @ result.x - b
    transposed = A.T
    solves, passes = [], []
    for _ in range(repeats):
        solves.append(clock(lambda: si.solve(A, b, penalty, tol=TOL)))
        few = int(np.clip(0.2 / solves[-1][0], 1, 20))  # short ones are timed together
        total = clock(lambda few=few: [transposed @ r for _ in range(few)])
        passes.append((total[0] / few, total[1] / few))
    middle = statistics.median
    by_wall, by_cpu = (
        round(middle(solve[k] / max(one[k], 1e-9) for solve, one in zip(solves, passes, strict=True)), 2)
        for k in (0, 1)
    )
    return {
        "series": series, "m": A.shape[0], "n": n, "entries": int(getattr(A, "nnz", A.size)),
        "bytes": stored(A), "pass": middle(p[0] for p in passes), "seconds": middle(s[0] for s in solves),
        "passes": by_wall, "cpu_passes": by_cpu,
        "products": result.products.total, "nonzeros": int(np.count_nonzero(result.x)),
        "n_iter": result.n_iter, "gap": result.certificate.relative, "status": result.status.name,
    }  # fmt: skip


def text_of(row: dict[str, Any]) -> str:
    """Return one line of the table."""
    note = "" if row["status"] == "CONVERGED" else f"   {row['status']}"
    return (
        f"{row['series']:<8}{row['m']:>9}{row['n']:>9}{row['bytes'] / 1e6:>8.1f}{1e3 * row['pass']:>10.3f}"
        f"{1e3 * row['seconds']:>10.2f}{row['passes']:>8.1f}{row['cpu_passes']:>8.1f}{row['products']:>9}"
        f"{row['nonzeros']:>6}{row['gap']:>9.0e}{note}"
    )


def verdict(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Compare the dense wide series with the goal."""
    wide = [row for row in rows if row["series"] == "wide"]
    met = [row["n"] for row in wide if row["passes"] <= GOAL]
    return {"passes": GOAL, "series": "wide", "met_at_n": met, "met": len(met) == len(wide) > 0}


def growth(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Say how seconds grow with the bytes of A, one line a series: the slope of a log-log line."""
    for series in dict.fromkeys(row["series"] for row in rows):
        points = [(row["bytes"], row["seconds"]) for row in rows if row["series"] == series]
        if len(points) > 1:
            size, seconds = np.log(np.array(points)).T
            yield f"{series}: time grows like bytes^{np.polyfit(size, seconds, 1)[0]:.2f}"


def plot(rows: Sequence[dict[str, Any]], rates: dict[str, Any], folder: Path) -> Path:
    """Draw seconds against n for every series, with one pass, eight passes and the bandwidth limit."""
    from matplotlib.figure import Figure

    series = list(dict.fromkeys(row["series"] for row in rows))
    figure = Figure(figsize=(4 * len(series), 4), layout="constrained")
    panels = figure.subplots(1, len(series), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, series, strict=True):
        points = [row for row in rows if row["series"] == name]
        n = [row["n"] for row in points]
        one = np.array([row["pass"] for row in points])
        axes.loglog(n, [row["seconds"] for row in points], "o-", label="solve")
        axes.loglog(n, one, "s-", color="0.5", label="one pass")
        axes.loglog(n, GOAL * one, "--", color="0.5", label=f"{GOAL} passes")
        for threads, rate in rates["pass"].items():
            limit = [row["bytes"] / (1e9 * rate) for row in points]
            axes.loglog(n, limit, ":", label=f"A at {rate:.3g} GB/s ({threads} thr.)")
        axes.set(title=name, xlabel="columns n")
        axes.legend(fontsize="small")
    figure.axes[0].set_ylabel(f"seconds, L1 at lam_max / {FACTOR}, tol {TOL:.0e}")
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "scaling.png", dpi=120)
    return folder / "scaling.png"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", choices=list(SHAPES), default="m")
    parser.add_argument("--series", nargs="+", choices=list(SHAPES["m"]), default=list(SHAPES["m"]))
    parser.add_argument("--repeats", type=int, default=5, help="solves a point (default 5)")
    parser.add_argument("--threads", type=int, default=1, help="threads of the BLAS (default 1)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the JSON file to write")
    parser.add_argument("--plots", type=Path, help="folder for scaling.png")
    options = parser.parse_args(arguments)
    if options.repeats < 1 or options.threads < 1:
        parser.error("--repeats and --threads must be at least 1")
    about = {**machine(), "threads": options.threads}
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    rates = bandwidth(STREAM[options.size], options.repeats)
    for what, by_threads in rates.items():
        listed = ", ".join(f"{rate:.1f} GB/s with {k} thread(s)" for k, rate in by_threads.items())
        print(f"{what}: {listed}")
    print(f"\n{HEADING}", flush=True)
    rows = []
    with threadpool_limits(options.threads, user_api="blas"):
        for series in options.series:
            for m, n in SHAPES[options.size][series]:
                rows.append(measure(series, m, n, options.repeats))
                print(text_of(rows[-1]), flush=True)
    goal = verdict(rows)
    print("\n" + "\n".join(growth(rows)))
    if "wide" in options.series:
        sizes = ", ".join(map(str, goal["met_at_n"])) or "none"
        word = "met" if goal["met"] else "MISSED"
        print(f"goal, dense wide at lam_max / {FACTOR}: at most {GOAL} passes   {word} (met at n = {sizes})")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    record = {"machine": about, "size": options.size, "bandwidth": rates, "rows": rows, "goal": goal}
    options.out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    if options.plots is not None:
        plot(rows, rates, options.plots)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""How many non-zeros each solver recovers: phase transitions without noise, on paired random instances.

    python benchmarks/phase_transition.py                    all of it: two hours at most, see --hours
    python benchmarks/phase_transition.py --smoke            the same at toy size, below three minutes
    python benchmarks/phase_transition.py --solvers OMP IRLS --parts contours --deltas 0.5
    python benchmarks/phase_transition.py --report           tables and figures from the rows that are there

With delta = m / n and rho = k / m, a trial succeeds if ||x - truth||^2 < 1e-4 ||truth||^2. For each solver,
matrix, law of the coefficients and delta a staircase walks to the rho at which half of the trials succeed;
rho50 comes from a logistic fit. Three parts: "contours" (Gaussian matrices, three deltas, with the curves of
theory), "matrices" (unit columns, partial DCT, correlated columns, Ricker wavelets) and "heat" (success over
the plane of delta and rho). Solvers are those of phase_solvers.py; a name that sparseinv lacks is listed as
absent. Every trial is one JSON line of --out/phase_transition.jsonl; a run that is stopped goes on from
there. Delete the file, or name solvers with --again, to measure anew. Beside it: phase_transition.md and
phase_transition-*.png.
"""

from __future__ import annotations

import argparse
import datetime
import json
import multiprocessing
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import phase_design as design
import phase_report
import phase_solvers
from latency import machine
from phase_design import Cell
from phase_report import MAPPED, SWEPT, TIMED
from threadpoolctl import threadpool_limits

RESULTS = Path(__file__).resolve().parent / "results"
PARTS = ("contours", "matrices", "heat")
GIVE_UP = 3  # solves that end in an error, after which the solver is left alone; empty heat-map cells too

Key = tuple[Any, ...]
Row = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """Hold the sizes of a run."""

    n: int = 800  # of the contours
    n_matrices: int = 400
    n_heat: int = 200
    deltas: tuple[float, ...] = (0.25, 0.5, 0.75)
    delta_matrices: float = 0.5
    trials: int = 36  # of a staircase of the contours
    trials_matrices: int = 24  # and of the other matrices
    timed: int = 3  # solves at 0.8 rho50
    sweep: int = 0  # trials at each of 20 rho within 0.1 of rho50
    heat_deltas: tuple[float, ...] = tuple(round(0.1 * i, 1) for i in range(1, 10))
    heat_rhos: tuple[float, ...] = tuple(round(0.05 * i, 2) for i in range(1, 20))
    heat_trials: int = 4
    seed: int = 0


SMOKE = Plan(
    n=100, n_matrices=60, n_heat=60, trials=8, trials_matrices=4, timed=1, heat_deltas=(0.2, 0.4, 0.6, 0.8),
    heat_rhos=(0.1, 0.3, 0.5, 0.7, 0.9), heat_trials=2,
)  # fmt: skip


@dataclass(frozen=True)
class Task:
    """Hold one staircase, or one column of a heat map."""

    solver: str
    cell: Cell
    plan: Plan
    trials: int  # of the staircase; 0 for a heat map


def tasks(plan: Plan, solvers: Sequence[str], parts: Iterable[str]) -> Iterator[Task]:
    """List the work, what the acceptance rests on first."""
    wanted = set(parts)
    if "contours" in wanted:
        for delta in sorted(plan.deltas, key=lambda delta: abs(delta - 0.5)):
            for coef in ("gauss", "signs"):
                for solver in solvers:
                    yield Task(solver, Cell(plan.n, "gaussian", coef, delta), plan, plan.trials)
    if "heat" in wanted:
        for solver in solvers:
            for delta in plan.heat_deltas:
                yield Task(solver, Cell(plan.n_heat, "gaussian", "gauss", delta), plan, 0)
    if "matrices" in wanted:
        for matrix in design.MATRICES:
            for coef in ("gauss", "signs"):
                for solver in solvers:
                    cell = Cell(plan.n_matrices, matrix, coef, plan.delta_matrices)
                    yield Task(solver, cell, plan, plan.trials_matrices)


# --- one trial, one task --------------------------------------------------------------------------------


def key_of(row: Row) -> Key:
    return tuple(row[name] for name in ("seed", "solver", "n", "matrix", "coef", "delta", "k", "trial"))


def attempt(solver: str, cell: Cell, k: int, trial: int, seed: int, **notes: float) -> Row:
    """Solve one instance; an exception is a failure whose sentence is kept."""
    A, b, truth = cell.draw(k, trial, seed)
    row: Row = {
        "seed": seed, "solver": solver, "n": cell.n, "matrix": cell.matrix, "coef": cell.coef,
        "delta": cell.delta, "k": k, "trial": trial, **notes,
    }  # fmt: skip
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            x = phase_solvers.METHODS[solver].run(A, b, k, np.random.default_rng([seed, trial]))
        error = design.nmse(x, truth)
    except Exception as refusal:
        error = float("inf")
        row["error"] = f"{type(refusal).__name__}: {refusal}"[:200]
    row["seconds"] = round(time.perf_counter() - wall, 4)
    row["cpu"] = round(time.process_time() - cpu, 4)
    row["nmse"] = float(f"{error:.3g}") if np.isfinite(error) else None
    row["ok"] = bool(error < design.NMSE)
    return row


class Refused(Exception):
    """The solver ends every solve in an error."""


class Ledger:
    """Answer trials from the rows that are there, and write the others down as they come."""

    def __init__(self, path: Path, known: Iterable[Row]) -> None:
        self.path = path
        self.rows = {key_of(row): row for row in known}

    def succeeds(self, solver: str, cell: Cell, k: int, trial: int, seed: int, **notes: float) -> bool:
        key = (seed, solver, cell.n, cell.matrix, cell.coef, cell.delta, k, trial)
        if key not in self.rows:
            row = attempt(solver, cell, k, trial, seed, **notes)
            self.rows[key] = row
            # one short write at the end of the file: processes may share it
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        errors = [row for row in self.rows.values() if "error" in row]
        if len(errors) >= GIVE_UP and len(errors) == len(self.rows):
            raise Refused(f"{solver}: {errors[-1]['error']}")
        return bool(self.rows[key]["ok"])


def work(task: Task, path: Path, known: Sequence[Row]) -> str:
    """Do one task; return what to print, empty where every row was there already."""
    ledger = Ledger(path, known)
    before, started = len(ledger.rows), time.perf_counter()
    cell, plan = task.cell, task.plan

    def succeeds(k: int, trial: int, **notes: float) -> bool:
        return ledger.succeeds(task.solver, cell, k, trial, plan.seed, **notes)

    name = f"{task.solver}, {cell.matrix}, {cell.coef}, n {cell.n}, delta {cell.delta}"
    try:
        with threadpool_limits(1):
            if task.trials:
                said = staircase_and_more(task, ledger, succeeds)
            else:
                said = heat_column(cell, plan, succeeds)
    except Refused as refusal:
        said = f"left alone after {GIVE_UP} errors ({refusal})"
    if len(ledger.rows) == before:
        return ""
    return f"{name}: {said}, {len(ledger.rows) - before} trials, {time.perf_counter() - started:.0f} s"


def staircase_and_more(task: Task, ledger: Ledger, succeeds: Any) -> str:
    """Walk to rho50, sweep around it if asked to, and time solves at 0.8 rho50."""
    plan, m = task.plan, task.cell.m
    design.climb(design.staircase(m), range(task.trials), succeeds)
    found = phase_report.fit_rows(ledger.rows.values())
    if plan.sweep:
        for rho in np.linspace(found.rho50 - 0.1, found.rho50 + 0.1, 20):
            k = round(rho * m)
            if 1 <= k <= m:
                for trial in range(plan.sweep):
                    succeeds(k, SWEPT + trial)
        found = phase_report.fit_rows(ledger.rows.values())
    timed_at = next((row["k"] for row in ledger.rows.values() if row["trial"] == TIMED), None)
    timed_at = timed_at or max(round(0.8 * found.rho50 * m), 1)
    for trial in range(plan.timed):
        succeeds(timed_at, TIMED + trial)
    return f"rho50 {found.rho50:.3f} +- {found.error:.3f}"


def heat_column(cell: Cell, plan: Plan, succeeds: Any) -> str:
    """Fill the cells of one delta upwards, until nothing has succeeded in a few of them."""
    empty = 0
    for rho in plan.heat_rhos:
        k = max(round(rho * cell.m), 1)
        wins = sum(succeeds(k, MAPPED + trial, rho=rho) for trial in range(plan.heat_trials))
        empty = 0 if wins else empty + 1
        if empty == GIVE_UP:
            return f"nothing from rho {rho} on"
    return "done"


# --- the run --------------------------------------------------------------------------------------------


def read(path: Path) -> tuple[list[dict[str, Any]], list[Row]]:
    """Return (machines, rows) of a file of rows; a line cut short by the end of a run is dropped."""
    machines, rows = [], []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if "machine" in record:
            machines.append(record["machine"])
        else:
            rows.append(record)
    return machines, rows


def run(todo: Sequence[Task], path: Path, jobs: int, deadline: float) -> int:
    """Do the tasks, in order; return how many were left undone when the time was up."""
    by_task: dict[tuple[Any, ...], list[Row]] = {}
    for row in read(path)[1]:
        cell = Cell(row["n"], row["matrix"], row["coef"], row["delta"])
        by_task.setdefault((row["seed"], row["solver"], cell), []).append(row)

    def known(task: Task) -> list[Row]:
        return by_task.get((task.plan.seed, task.solver, task.cell), [])

    def say(text: str) -> None:
        if text:
            print(text, flush=True)

    if jobs == 1:
        for done, task in enumerate(todo):
            if time.monotonic() > deadline:
                return len(todo) - done
            say(work(task, path, known(task)))
        return 0
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(_in_time, task, path, known(task), deadline) for task in todo]
        late = 0
        for future in as_completed(futures):
            text = future.result()
            late += text is None
            say(text or "")
    return late


def _in_time(task: Task, path: Path, known: Sequence[Row], deadline: float) -> str | None:
    return None if time.monotonic() > deadline else work(task, path, known)


def forget(path: Path, solvers: Sequence[str]) -> None:
    """Drop the rows of the named solvers."""
    machines, rows = read(path)
    kept: list[dict[str, Any]] = [{"machine": entry} for entry in machines]
    kept += [row for row in rows if row["solver"] not in solvers]
    path.write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write the table and the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="toy sizes: does it all work?")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--solvers", nargs="+", choices=list(phase_solvers.METHODS), metavar="NAME")
    parser.add_argument("--again", nargs="+", default=[], metavar="NAME", help="measure these anew")
    parser.add_argument("--deltas", nargs="+", type=float, help="of the contours (default 0.25 0.5 0.75)")
    parser.add_argument("--n", type=int, help="columns in the contours (default 800)")
    parser.add_argument("--trials", type=int, help="of a staircase (default 36)")
    parser.add_argument("--sweep", type=int, help="trials at each of 20 rho around rho50 (default none)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="processes, each with one thread (default 1)")
    parser.add_argument("--hours", type=float, default=1.9, help="no task starts later (default 1.9)")
    parser.add_argument("--report", action="store_true", help="only tables and figures, from rows that exist")
    parser.add_argument("--out", type=Path, help="folder (default benchmarks/results; smoke: bench-output)")
    options = parser.parse_args(arguments)
    plan = replace(SMOKE if options.smoke else Plan(), seed=options.seed)
    for name in ("n", "trials", "sweep"):
        if (value := getattr(options, name)) is not None:
            if value < 1:
                parser.error(f"--{name} must be at least 1")
            plan = replace(plan, **{name: value})
    if options.deltas:
        if not all(0 < delta < 1 for delta in options.deltas):
            parser.error("--deltas must lie between 0 and 1")
        plan = replace(plan, deltas=tuple(options.deltas))
    if options.jobs < 1:
        parser.error("--jobs must be at least 1")
    folder = options.out or (Path("bench-output") if options.smoke else RESULTS)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ("phase_transition-smoke.jsonl" if options.smoke else "phase_transition.jsonl")
    solvers, absent = phase_solvers.present(options.solvers)
    left = 0
    if not options.report:
        if options.again:
            forget(path, options.again)
        about = {**machine(), "threads": 1, "jobs": options.jobs, "date": str(datetime.date.today())}
        if about not in read(path)[0]:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"machine": about}) + "\n")
        print(", ".join(f"{key} {value}" for key, value in about.items()))
        for name, why in absent.items():
            print(f"{name}: absent, {why}", flush=True)
        todo = list(tasks(plan, solvers, options.parts))
        left = run(todo, path, options.jobs, time.monotonic() + 3600 * options.hours)
    machines, rows = read(path)
    text = phase_report.markdown(machines, rows, absent)
    (path.with_suffix(".md")).write_text(text, encoding="utf-8")
    print("\n" + "\n".join(phase_report.goals(rows)))
    for figure in phase_report.figures(rows, path.with_suffix("")):
        print(f"wrote {figure}")
    if left:
        print(f"the time was up with {left} tasks to do; the same command goes on from here")
    return 0


if __name__ == "__main__":
    sys.exit(main())

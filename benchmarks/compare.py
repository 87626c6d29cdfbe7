"""Compare sparseinv with its Python peers at equal, independently judged accuracy.

    python benchmarks/compare.py single                     36 cells, gaps 1e-6 and 1e-10
    python benchmarks/compare.py single --cells 'ar*/100' decon --only sparseinv celer
    python benchmarks/compare.py path cv batch free --threads 2 --repeats 3

Every solver climbs a ladder of tolerances. Each x is judged by `sparseinv.certify` (the better of scaled
residual and support refit), outside the timed part; a solver's time to a gap is that of its loosest
tolerance whose judged gap, relative to 1/2 ||b||^2, meets it. Those runs are then repeated in turn with those
of the other solvers, each on fresh copies of the data, and the median counts; a solver that took more than
twice as long as the best peer is not timed again. Every solver works in a process
of its own, whose thread pools are limited before anything is imported: a crash, or a run that takes more than
--cap seconds, is recorded and ends that solver's climb only. The first call of each process, compilation
included, has a column of its own. --out is written as JSON lines, one a solver, cell and gap.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import platform
import re
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import peers
import problems
import worker

HERE = Path(__file__).resolve().parent
GAPS = {"single": (1e-6, 1e-10), "path": (1e-5,), "cv": (1e-5,), "batch": (1e-6,), "free": (1e-6,)}
CAPS = {"single": 20.0, "path": 60.0, "cv": 120.0, "batch": 60.0, "free": 20.0}
COMPILING = 90.0  # allowed to the first call on top of the cap [s]
JUDGING = 300.0  # allowed to the judge [s]
BUDGET = 4  # caps a climb may take in all
CONTENDS = 2.0  # times the best peer's first time within which a solver is timed again
PACKAGES = (
    "sparseinv", "numpy", "scipy", "numba", "scikit-learn", "celer", "skglm", "adelie", "pylops",
    "pyproximal", "spgl1", "sigpy", "cvxpy", "clarabel",
)  # fmt: skip


# --- the ladder -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """Hold one judged run."""

    tol: float
    seconds: float
    gap: float
    extra: dict[str, Any] = field(default_factory=dict)


class Failed(Exception):
    """A run was ended by an error, a crash or the time limit; the text says which."""


class TooSlow(Failed):
    """A run was ended by the time limit."""


@dataclass
class Climb:
    """Hold what a ladder found: every run, the tolerance chosen for each gap, and why it ended early."""

    runs: dict[float, Run] = field(default_factory=dict)
    chosen: dict[float, float] = field(default_factory=dict)
    ended: str | None = None
    slow: bool = False  # it ended for want of time


def climb(
    run: Callable[[float], Run], gaps: Iterable[float], ladder: Sequence[float], *,
    starts_at_gap: bool = False, budget: float = math.inf,
) -> Climb:  # fmt: skip
    """Find, for each gap, the loosest tolerance whose judged gap meets it.

    `ladder` falls. With starts_at_gap no tolerance looser than the gap is tried for it. A run that raises
    Failed ends the climb, as do runs of more than `budget` seconds together.
    """
    found = Climb()
    for gap in sorted(gaps, reverse=True):
        for tol in ladder:
            if starts_at_gap and tol > gap * (1 + 1e-9):
                continue
            if tol not in found.runs:
                if found.ended is None and sum(r.seconds for r in found.runs.values()) > budget:
                    found.ended, found.slow = "the ladder took too long", True
                if found.ended is not None:
                    break
                try:
                    found.runs[tol] = run(tol)
                except Failed as failed:
                    found.ended, found.slow = str(failed), isinstance(failed, TooSlow)
                    break
            if found.runs[tol].gap <= gap:
                found.chosen[gap] = tol
                break
    return found


# --- workers --------------------------------------------------------------------------------------------


class Worker:
    """Talk to the process of one solver in one cell; start it again when it had to be ended."""

    def __init__(self, job: dict[str, Any], threads: int) -> None:
        self.job, self.threads = job, threads
        self.process: subprocess.Popen[bytes] | None = None
        self.rest = b""
        self.version = ""
        self.first: float | None = None  # seconds of the first call, compilation included
        self.memory: float | None = None  # what the first call added to the largest memory [MB]
        self.floor = 0.0

    def start(self) -> None:
        environment = dict(os.environ)
        for name in ("OMP", "OPENBLAS", "MKL", "NUMBA", "BLIS", "VECLIB_MAXIMUM"):
            environment[f"{name}_NUM_THREADS".replace("MAXIMUM_NUM", "MAXIMUM")] = str(self.threads)
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "worker.py")], env=environment, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.rest = b""
        self._send(self.job)

    def ready(self) -> str | None:
        """Wait until package and data are there; return why not (the solver is absent), or None."""
        message = self._receive(300.0)
        if "absent" in message:
            self.close()
            return str(message["absent"])
        if "error" in message:
            self.close()
            raise Failed(clean(message["error"]))
        self.version, self.floor = message["version"], message["memory"]
        return None

    def warm(self, tol: float) -> None:
        """Make the first call."""
        done = self.run(tol, -math.inf, extra_time=COMPILING)
        if self.first is None:
            self.first, self.memory = done.seconds, done.extra["memory"] - self.floor

    def run(self, tol: float, enough: float, extra_time: float = 0.0) -> Run:
        """Run at a tolerance, within the cap, and have the answer judged."""
        if self.process is None:
            self.start()
            self.ready()
            self.warm(tol)
        cap = self.job["cap"] * (1 if self.job["suite"] != "free" else 6)  # there the judge works inside
        self._send({"tol": tol, "enough": enough, "limit": cap + extra_time, "judging": JUDGING})
        timed = self._receive(cap + extra_time)
        if "error" in timed:
            late = timed["error"].startswith("TimeoutError")
            raise (TooSlow if late else Failed)(clean(timed["error"]))
        try:
            judged = self._receive(JUDGING)
        except TooSlow:
            raise Failed("the judge ran out of time") from None  # which is not the solver's fault
        if "error" in judged:
            raise Failed(clean(judged["error"]))
        gap = judged.pop("gap")
        extra = {k: v for k, v in {**timed, **judged}.items() if k != "seconds"}
        return Run(tol, timed["seconds"], math.inf if math.isnan(gap) else gap, extra)

    def close(self) -> None:
        """End the process."""
        if self.process is None:
            return
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        self.process = None

    def _send(self, message: dict[str, Any]) -> None:
        assert self.process is not None
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            self._crashed()

    def _receive(self, limit: float) -> dict[str, Any]:
        assert self.process is not None
        assert self.process.stdout is not None
        end = time.monotonic() + limit
        pipe = self.process.stdout.fileno()
        while b"\n" not in self.rest:
            if not select.select([pipe], [], [], max(0.0, end - time.monotonic()))[0]:
                self.close()
                raise TooSlow(f"took more than {limit:.0f} s")
            chunk = os.read(pipe, 65536)
            if not chunk:
                self._crashed()
            self.rest += chunk
        line, _, self.rest = self.rest.partition(b"\n")
        message = json.loads(line)
        assert isinstance(message, dict)
        return message

    def _crashed(self) -> None:
        assert self.process is not None
        code = self.process.wait()
        self.close()
        raise Failed(f"the process died of signal {-code}" if code < 0 else f"the process ended with {code}")


def clean(text: str) -> str:
    """Take paths out of a message."""
    return re.sub(r"(?<![\w.])/[\w.+-]+(/[\w.+-]+)*", "...", text)


# --- one cell -------------------------------------------------------------------------------------------


@dataclass
class Entry:
    """Hold one solver in one cell."""

    peer: peers.Peer
    worker: Worker
    climb: Climb = field(default_factory=Climb)
    absent: str | None = None
    repeats: dict[float, list[Run]] = field(default_factory=dict)


def measure(job: dict[str, Any], names: Sequence[str], threads: int, repeats: int) -> list[dict[str, Any]]:
    """Run every solver on one cell; return its rows."""
    gaps = GAPS[job["suite"]]
    entries = []
    for peer in peers.PEERS[job["suite"]]:
        if (not names or peer.name in names) and job["name"].startswith(peer.cells):
            entries.append(Entry(peer, Worker({**job, "solver": peer.name}, threads)))
    try:
        for entry in entries:  # importing and loading, side by side
            entry.worker.start()
        for entry in entries:
            try:
                entry.absent = entry.worker.ready()
            except Failed as failed:
                entry.climb.ended = str(failed)
        for entry in entries:
            if entry.absent is None and entry.climb.ended is None:
                _climb(entry, gaps)
        contenders = _contenders(entries, gaps)
        for turn in range(repeats):
            for entry in _rotated(entries, turn):
                _repeat(entry, gaps, contenders)
    finally:
        for entry in entries:
            entry.worker.close()
    return [row for entry in entries for row in rows_of(entry, gaps)]


def _climb(entry: Entry, gaps: Sequence[float]) -> None:
    peer, process = entry.peer, entry.worker
    ladder = [tol for tol in peer.ladder if not peer.starts_at_gap or tol <= max(gaps) * (1 + 1e-9)]
    try:
        process.warm(ladder[0])
    except Failed as failed:
        entry.climb.ended, entry.climb.slow = f"first call: {failed}", isinstance(failed, TooSlow)
        return
    entry.climb = climb(
        lambda tol: process.run(tol, max(gaps)), gaps, ladder,
        starts_at_gap=peer.starts_at_gap, budget=BUDGET * process.job["cap"],
    )  # fmt: skip


def _contenders(entries: Sequence[Entry], gaps: Sequence[float]) -> set[tuple[str, float]]:
    """Return (solver, gap) of the runs that are repeated; far slower ones count as they were."""
    found = set()
    for gap in gaps:
        seconds = {
            entry.peer.name: entry.climb.runs[entry.climb.chosen[gap]].seconds
            for entry in entries
            if gap in entry.climb.chosen
        }
        peers_best = min((s for name, s in seconds.items() if name != "sparseinv"), default=math.inf)
        found |= {(n, gap) for n, s in seconds.items() if n == "sparseinv" or s <= CONTENDS * peers_best}
    return found


def _repeat(entry: Entry, gaps: Sequence[float], contenders: set[tuple[str, float]]) -> None:
    tols = {tol for gap, tol in entry.climb.chosen.items() if (entry.peer.name, gap) in contenders}
    for tol in sorted(set(entry.climb.chosen.values()), reverse=True):
        if (entry.climb.ended or "").startswith("repeat"):
            return
        done = entry.repeats.setdefault(tol, [])
        if tol not in tols:
            done[:] = [entry.climb.runs[tol]]
            continue
        try:
            done.append(entry.worker.run(tol, max(gaps)))
        except Failed as failed:
            entry.climb.ended = f"repeat: {failed}"


def _rotated(entries: list[Entry], turn: int) -> list[Entry]:
    first = turn % max(1, len(entries))
    return entries[first:] + entries[:first]


def rows_of(entry: Entry, gaps: Sequence[float]) -> list[dict[str, Any]]:
    """Return one row a gap: "reached", "not reached", "failed" or "absent"."""
    job, process = entry.worker.job, entry.worker
    common = {
        "suite": job["suite"], "cell": job["name"], "size": job["size"], "threads": process.threads,
        "solver": entry.peer.name, "version": process.version,
    }  # fmt: skip
    if entry.absent is not None:
        return [{**common, "gap": gap, "status": "absent", "note": entry.absent} for gap in gaps]
    ladder = [[r.tol, _round(r.seconds), _finite(r.gap)] for r in entry.climb.runs.values()]
    rows = []
    for gap in gaps:
        tol = entry.climb.chosen.get(gap)
        runs = entry.repeats.get(tol, []) if tol is not None else []
        row = {**common, "gap": gap, "first": _round(process.first), "ladder": ladder}
        if runs:
            seconds = [r.seconds for r in runs]
            row |= {
                "status": "reached", "tol": tol, "seconds": _round(statistics.median(seconds)),
                "fastest": _round(min(seconds)), "slowest": _round(max(seconds)), "repeats": len(runs),
                "judged": _finite(max(r.gap for r in runs)), "added_memory": _round(process.memory),
                **{k: v for k, v in runs[-1].extra.items() if k != "memory"},
            }  # fmt: skip
        else:
            row["status"] = "not reached" if entry.climb.runs or entry.climb.slow else "failed"
        if entry.climb.ended is not None:
            row["note"] = entry.climb.ended
        rows.append(row)
    return rows


def _round(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def _finite(value: float) -> float | None:
    return float(f"{value:.3g}") if math.isfinite(value) else None


# --- cells of the suites --------------------------------------------------------------------------------


def cells(suite: str, patterns: Sequence[str]) -> list[str]:
    """List the cells of a suite that match, perhaps none; no pattern: its core."""
    every, core = {
        "single": (problems.cell_names(core=False), problems.cell_names()),
        "batch": (["traces"], ["traces"]),
        "free": (list(problems.FREE), list(problems.FREE)),
    }.get(suite, ([*problems.CORE, *problems.EXTENDED], list(problems.CORE)))
    return problems.select(every, patterns) if patterns else core


def prepare(suite: str, name: str, size: str, cap: float, folder: Path) -> dict[str, Any]:
    """Write the data of a cell (once a problem) and return what a worker has to know."""
    cell, _, factor = name.partition("/")
    job = {"suite": suite, "name": name, "cell": cell, "size": size, "cap": cap, "data": None, "lam": None}
    if suite == "free":
        return {**job, "factor": 100}
    place = folder / f"{suite if suite == 'batch' else 'matrix'}-{cell}-{size}"
    if not place.exists():
        for other in folder.iterdir():  # one problem at a time on disk
            for file in other.iterdir():
                file.unlink()
            other.rmdir()
        if suite == "batch":
            A = problems.convolution_matrix({"s": 200, "m": 1000}[size])
            b = problems.traces(A, {"s": 20, "m": 1000}[size])
        else:
            A, b = problems.make(cell, size)
        worker.save(place, A, b)
    A, b = worker.load(place)
    job["data"] = str(place)
    largest = np.abs(A.T @ b).max(axis=0)
    if suite == "single":
        job["lam"] = float(largest) / float(factor)
    elif suite == "batch":
        job["lam"] = (largest / 10).tolist()
    else:
        job["lam"] = (largest * np.geomspace(1, 1e-2, 100)).tolist()
    return job


def machine(threads: int) -> dict[str, Any]:
    """Describe the machine without naming it."""
    cpu = platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        cpu = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "absent"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": cpu, "cores": cores, "threads": threads, "system": platform.system(),
        "python": platform.python_version(), "date": datetime.date.today().isoformat(),
        "run": int(time.time()), **versions,
    }  # fmt: skip


# --- output ---------------------------------------------------------------------------------------------


def text_of(row: dict[str, Any]) -> str:
    """Return one line of the printed table."""
    head = f"  {row['solver']:<22}{row['gap']:>7.0e}  "
    first = f"{row['first']:>9.3f}" if row.get("first") is not None else f"{'-':>9}"
    if row["status"] != "reached":
        return f"{head}{row['status']:>12}{'':>7}{first}   {row.get('note', '')}".rstrip()
    rest = f"{row['tol']:>9.0e}{row['judged'] or 0:>9.0e}{row['nonzeros']:>8}"
    line = f"{head}{1e3 * row['seconds']:>12.2f}{row['slowest'] / max(row['fastest'], 1e-12):>7.2f}{first}"
    more = [
        f"{row['products']} products, {100 * row['outside']:.0f} % outside" if "products" in row else "",
        f"{row['columns']} columns in closed form" if row.get("columns") else "",
        f"lam_max x {row['chosen']:.4f}" if "chosen" in row else "",
        f"+{row['added_memory']:.0f} MB" if row["suite"] == "batch" else "",
        row.get("note", ""),
    ]
    return f"{line}{rest}   {', '.join(m for m in more if m)}".rstrip()


HEADING = (
    f"  {'solver':<22}{'gap':>7}  {'median ms':>12}{'spread':>7}{'first s':>9}{'tol':>9}{'judged':>9}"
    f"{'nnz':>8}"
)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("suites", nargs="+", choices=peers.SUITES)
    parser.add_argument("--cells", nargs="+", default=[], help="gauss/10, text, 'ar*/100', text1M ...")
    parser.add_argument("--only", nargs="+", default=[], help="solvers, by name")
    parser.add_argument("--size", choices=["s", "m"], default="m")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cap", type=float, help="seconds a run may take (default 20; paths more)")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "peers.jsonl")
    options = parser.parse_args(arguments)
    known = {peer.name for suite in options.suites for peer in peers.PEERS[suite]}
    unknown = sorted(set(options.only) - known)
    if unknown:
        parser.error(f"no solver {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    if options.repeats < 1 or options.threads < 1:
        parser.error("--repeats and --threads must be at least 1")
    for pattern in options.cells:
        if not any(cells(suite, [pattern]) for suite in options.suites):
            parser.error(f"no cell of {', '.join(options.suites)} is called {pattern!r}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suites, print the tables, write the rows."""
    options = parse(arguments)
    about = machine(options.threads)
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with options.out.open("w", encoding="utf-8") as out, tempfile.TemporaryDirectory() as folder:
        out.write(json.dumps({"machine": about}) + "\n")
        for suite in options.suites:
            print(f"\n{suite}\n{HEADING}", flush=True)
            for name in cells(suite, options.cells):
                print(name, flush=True)
                cap = options.cap or CAPS[suite]
                try:
                    job = prepare(suite, name, options.size, cap, Path(folder))
                except ImportError as error:
                    rows = [{"suite": suite, "cell": name, "solver": "(data)", "size": options.size,
                             "threads": options.threads, "version": "", "gap": gap, "status": "absent",
                             "note": clean(str(error))} for gap in GAPS[suite]]  # fmt: skip
                else:
                    rows = measure(job, options.only, options.threads, options.repeats)
                for row in rows:
                    out.write(json.dumps({**row, "run": about["run"]}) + "\n")
                    print(text_of(row), flush=True)
                out.flush()
    print(f"\nwrote {options.out.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

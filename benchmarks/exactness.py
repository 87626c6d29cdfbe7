"""Exactness and time to a proven optimum of BranchAndBound, beside el0ps and l0bnb.

    python benchmarks/exactness.py                        500 enumerated problems, then the five instances
    python benchmarks/exactness.py --peers VENV/bin/python  the same with el0ps and l0bnb installed there
    python benchmarks/exactness.py --only instances --seconds 15

Seconds are CPU seconds of the process, also in the time limits. The peers run in an environment of their own,
one process each: el0ps asks for an MPI library (pip install el0ps
mpich), and l0bnb 1.0.0 names np.Inf, which NumPy 2 no longer has, so the worker puts it back. Compilation
is excluded for all (two small problems are solved first) and reported for ours. Everybody stops at the same
absolute gap. Results go to benchmarks/results/exactness.jsonl and exactness.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
GAP = 1e-4  # absolute, of the objective; 1/2 ||b||^2 = 1/2
SNR = 5.0
#: (rows, columns, non-zeros of the truth, rho, ridge b of b x^2, level): the level is that of l0bnb's own
#: path at which the minimum first has as many non-zeros as the truth
INSTANCES = [
    (200, 1000, 5, 0.1, 0.05, 0.037088339677593236),
    (500, 5000, 10, 0.1, 0.05, 0.013129959330538907),
    (100, 1000, 5, 0.1, 0.005, 0.02730631915364499),
    (200, 1000, 10, 0.1, 0.05, 0.011447854925695609),
    (200, 1000, 5, 0.6, 0.05, 0.003618997049861139),
]


def instance(m: int, n: int, k: int, rho: float) -> tuple[Any, Any]:
    """Return the data of l0bnb's generator (seed 1) with columns and b of unit norm."""
    rng = np.random.RandomState(1)
    truth = np.zeros(n)
    truth[[int(i * (n / k)) for i in range(k)]] = 1.0
    A = rng.normal(size=(m, n)) + np.sqrt(rho / (1 - rho)) * rng.normal(size=(m, 1))
    signal = A @ truth
    b = signal + rng.normal(size=m, scale=np.std(signal, ddof=1) / np.sqrt(SNR))
    return np.asfortranarray(A / np.linalg.norm(A, axis=0)), b / np.linalg.norm(b)


def objective(A: Any, b: Any, x: Any, lam: float, ridge: float) -> float:
    r = A @ x - b
    return float(0.5 * r @ r + lam * np.count_nonzero(x) + ridge * x @ x)


# --- the solvers, each in a process of its own ------------------------------------------------------------


def ours(A: Any, b: Any, lam: float, ridge: float, seconds: float) -> dict[str, Any]:
    import sparseinv as si

    tol = GAP / (0.5 * float(b @ b))
    result = si.solve(A, b, si.L0(lam, l2=2 * ridge), solver=si.BranchAndBound(), tol=tol, max_time=seconds)
    return {"x": result.x, "bound": result.certificate.bound, "nodes": result.n_iter,
            "proven": result.success}  # fmt: skip


def el0ps(A: Any, b: Any, lam: float, ridge: float, seconds: float) -> dict[str, Any]:
    from el0ps.datafit import Leastsquares
    from el0ps.penalty import L2norm
    from el0ps.solver import BnbSolver

    class Keeping(BnbSolver):
        """Keep the bound, which its result leaves out."""

        def package_results(self, problem: Any, results: Any) -> Any:
            self.bound = float(results.bound)
            return super().package_results(problem, results)

    # its relative gap is that of max(1, objective), so here an absolute one
    solver = Keeping(relative_gap=GAP, time_limit=seconds)
    result = solver.solve(Leastsquares(b), L2norm(ridge), A, lam)
    return {"x": result.x, "bound": solver.bound, "nodes": int(result.iter_count),
            "proven": result.status.name == "OPTIMAL"}  # fmt: skip


def l0bnb(A: Any, b: Any, lam: float, ridge: float, seconds: float) -> dict[str, Any]:
    vars(np)["Inf"] = np.inf  # the name that NumPy 2 has no longer
    from l0bnb import BNBTree

    k = 1.5 * REFERENCE_SIZE  # its big-M: half as much again as the largest coefficient of the optimum
    tree = BNBTree(A, b)
    found = tree.solve(lam, ridge, k, gap_tol=GAP / REFERENCE, time_limit=seconds)
    x = np.asarray(found.beta)
    value = objective(A, b, x, lam, ridge)
    bound = float(found.cost) * (1 - float(found.gap))
    return {"x": x, "bound": min(bound, value), "nodes": int(tree.number_of_nodes),
            "proven": float(found.sol_time) < seconds}  # fmt: skip


REFERENCE, REFERENCE_SIZE = 1.0, 1.0


def work(name: str, seconds: float, references: list[list[float]]) -> None:
    """Solve a small problem, then the instances; print a line of JSON for each."""
    global REFERENCE, REFERENCE_SIZE
    # limits and clocks of all count the seconds of this process: others may keep the machine busy
    time.time = time.perf_counter = time.monotonic = time.process_time
    solve = {"sparseinv": ours, "el0ps": el0ps, "l0bnb": l0bnb}[name]
    A, b = instance(50, 60, 3, 0.1)
    began = time.process_time()
    solve(A, b, 0.02, 0.05, 300.0)
    A, b = instance(200, 1000, 2, 0.1)  # what is compiled for large matrices only
    solve(A, b, 0.2, 0.05, 300.0)
    print(json.dumps({"compile": time.perf_counter() - began}), flush=True)
    for (m, n, k, rho, ridge, lam), known in zip(INSTANCES, references, strict=True):
        REFERENCE, REFERENCE_SIZE = known
        A, b = instance(m, n, k, rho)
        began = time.process_time()
        answer = solve(A, b, lam, ridge, seconds)
        row = {"seconds": time.process_time() - began}
        x = answer.pop("x")
        row |= answer | {"objective": objective(A, b, x, lam, ridge), "nonzeros": int(np.count_nonzero(x))}
        print(json.dumps(row), flush=True)


def references() -> list[list[float]]:
    """Return (best objective, largest coefficient) of each instance, by a local search."""
    import sparseinv as si

    found = []
    for m, n, k, rho, ridge, lam in INSTANCES:
        A, b = instance(m, n, k, rho)
        result = si.solve(A, b, si.L0(lam, l2=2 * ridge), solver=si.LocalSearch())
        found.append([result.objective, float(np.abs(result.x).max())])
    return found


# --- enumerated problems ----------------------------------------------------------------------------------


def enumerated(count: int) -> dict[str, Any]:
    """Compare with enumeration on ``count`` coherent problems of up to 16 columns."""
    import sparseinv as si

    worst, closed, wrong, began = 0.0, 0, 0, time.perf_counter()
    for seed in range(count):
        A, b, lam, l2 = coherent(seed)
        best = lowest(A, b, lam, l2)
        result = si.solve(A, b, si.L0(lam, l2=l2), solver=si.BranchAndBound(), tol=1e-10)
        scale = 0.5 * float(b @ b)
        error = abs(result.objective - best) / scale
        worst = max(worst, error)
        closed += result.success and result.certificate.kind is si.Kind.GLOBAL_BOUND
        wrong += result.certificate.bound > best + 1e-10 * scale
    return {"problems": count, "worst": worst, "closed": int(closed), "bounds_too_high": int(wrong),
            "seconds": time.perf_counter() - began}  # fmt: skip


def coherent(seed: int) -> tuple[Any, Any, Any, Any]:
    """Return a problem of 8 to 16 columns, each like the one before, with a level per coefficient."""
    rng = np.random.default_rng(seed)
    m, n = int(rng.integers(8, 41)), int(rng.integers(8, 17))
    rho = rng.choice([0.5, 0.9, 0.99])
    A = rng.standard_normal((m, n))
    for j in range(1, n):
        A[:, j] = rho * A[:, j - 1] + np.sqrt(1 - rho**2) * A[:, j]
    x = np.where(rng.random(n) < 0.3, rng.standard_normal(n), 0.0)
    b = A @ x + 0.3 * rng.standard_normal(m)
    lam = 0.03 * float(b @ b) * rng.choice([0.1, 1.0]) * (0.1 + rng.random(n))
    # without a ridge where there are rows enough for a proof that assumes nothing
    l2 = np.zeros(n) if seed % 2 and n <= m else 0.1 * rng.random(n) * (A**2).sum(axis=0) + 1e-3
    return A, b, lam, l2


def lowest(A: Any, b: Any, lam: Any, l2: Any) -> float:
    """Return the minimum over all supports: Cholesky solves in batches of one size."""
    n = A.shape[1]
    H, q = A.T @ A + np.diag(l2), A.T @ b
    best = 0.5 * float(b @ b)
    for k in range(1, n + 1):
        index = np.array(list(itertools.combinations(range(n), k)))
        fitted = np.linalg.solve(H[index[:, :, None], index[:, None, :]], q[index][:, :, None])[:, :, 0]
        values = 0.5 * float(b @ b) - 0.5 * (fitted * q[index]).sum(axis=1) + lam[index].sum(axis=1)
        best = min(best, float(values.min()))
    return best


# --- the command ------------------------------------------------------------------------------------------


def run(name: str, python: str, seconds: float, known: list[list[float]]) -> list[dict[str, Any]]:
    one = {key: "1" for key in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    command = [python, __file__, "--work", name, "--seconds", str(seconds), "--known", json.dumps(known)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | one, check=False)
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode:
        rows.append({"error": done.stderr.strip().splitlines()[-1:] or ["no message"]})
    return rows


def machine() -> dict[str, Any]:
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text(encoding="utf-8").splitlines() if "model name" in line]
        cpu = names[0].split(":")[1].strip() if names else cpu
    return {"cpu": cpu, "cores": os.cpu_count(), "python": platform.python_version(),
            "numpy": np.__version__, "date": datetime.now(UTC).date().isoformat(), "threads": 1}  # fmt: skip


def table(records: list[dict[str, Any]], seconds: float) -> str:
    lines = ["# Exactness and time to a proven optimum", ""]
    for record in records:
        if "machine" in record:
            m = record["machine"]
            lines += [f"{m['cpu']}, {m['cores']} cores, one thread, Python {m['python']}, NumPy {m['numpy']},"
                      f" {m['date']}. Written by `python benchmarks/exactness.py`.", ""]  # fmt: skip
        if "enumerated" in record:
            e = record["enumerated"]
            lines += [f"{e['problems']} enumerated problems (8 to 16 columns, levels per coefficient): the "
                      f"objective is off by at most {e['worst']:.1e} of 1/2||b||^2, {e['closed']} bounds "
                      f"close, {e['bounds_too_high']} bounds are too high.", ""]  # fmt: skip
    lines += [
        f"Data of l0bnb's generator (seed 1, SNR 5), unit columns and b, absolute gap {GAP:g}, limit "
        f"{seconds:g} s; CPU seconds of the process, in the limit too, compilation excluded.", "",
        "| m, n, k, rho, ridge | lam | solver | seconds | nodes | objective | gap | proven |",
        "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for number, (m, n, k, rho, ridge, lam) in enumerate(INSTANCES):
        found = [record["row"]["objective"] for record in records if record.get("instance") == number]
        for record in records:
            if record.get("instance") == number:
                row = record["row"]
                gap = row["objective"] - row["bound"]
                shown = "unknown" if not math.isfinite(gap) else f"{gap:.1e}"
                if row["bound"] > min(found) + 1e-9:
                    shown += ", but a better x exists"
                lines.append(
                    f"| {m}, {n}, {k}, {rho}, {ridge} | {lam:.5f} | {record['solver']} | "
                    f"{row['seconds']:.3g} | {row['nodes']} | {row['objective']:.6f} | {shown} | "
                    f"{'yes' if row['proven'] else 'no'} |"
                )
    for record in records:
        if "compile" in record:
            lines += ["", f"First solve of a process, {record['solver']}: {record['compile']:.1f} s."]
        if "error" in record:
            lines += ["", f"{record['solver']} failed: {record['error']}"]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", choices=["enumerated", "instances"])
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--peers", help="interpreter of an environment with el0ps and l0bnb")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--known", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work, options.seconds, json.loads(options.known))
        return
    target = options.out / "exactness.jsonl"
    records: list[dict[str, Any]] = [{"machine": machine()}]
    if options.only == "instances" and target.exists():  # keep what was enumerated before
        old = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
        records += [record for record in old if "enumerated" in record]
    if options.only != "instances":
        records.append({"enumerated": enumerated(options.count)})
        print(records[-1], flush=True)
    if options.only != "enumerated":
        known = references()
        solvers = [("sparseinv", sys.executable)]
        if options.peers:
            solvers += [("el0ps", options.peers), ("l0bnb", options.peers)]
        for name, python in solvers:
            number = 0
            for row in run(name, python, options.seconds, known):
                if "seconds" in row:
                    records.append({"solver": name, "instance": number, "row": row})
                    number += 1
                else:
                    records.append({"solver": name} | row)
                print(records[-1], flush=True)
    target.write_text("\n".join(json.dumps(record) for record in records) + "\n", encoding="utf-8")
    (options.out / "exactness.md").write_text(table(records, options.seconds), encoding="utf-8")


if __name__ == "__main__":
    main()

"""Time what a user waits for: the import, and the first solve of a new process, compiled or not.

    python benchmarks/latency.py            print the table, write benchmarks/results/latency.json
    python benchmarks/latency.py --check    the same, and fail when a limit is missed

Every figure comes from new processes. "warm" finds the compiled kernels of an earlier process in numba's
cache, "cold" starts from an empty one; both use a folder of their own, so the cache of the checkout neither
helps nor suffers. The limits of the solves hold from the start of the process until the first answer:
interpreter, imports, making the data, lam_max, the first solve. "process" adds what the interpreter takes
to end, mostly Python's last garbage collections among numba's objects.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

M, N = 1000, 3000
LIMITS = {"import": 0.2, "warm": 1.2, "cold": 4.0}
RESULTS = Path(__file__).resolve().parent / "results" / "latency.json"

IMPORT = """
import json, time
start = time.perf_counter()
import {module}
print(json.dumps({{"inside": time.perf_counter() - start}}))
"""

# a planted 50-sparse x, 1 % noise: an ordinary first problem
SOLVE = """
import json, os, time
t0 = time.perf_counter()
import sparseinv as si
t1 = time.perf_counter()
import numpy as np
rng = np.random.default_rng(0)
A = rng.standard_normal(({m}, {n}))
truth = np.zeros({n})
truth[rng.choice({n}, 50, replace=False)] = rng.standard_normal(50)
b = A @ truth
b += 0.01 * np.linalg.norm(b) / np.sqrt({m}) * rng.standard_normal({m})
t2 = time.perf_counter()
lam = 0.1 * si.lam_max(A, b, si.L1())
t3 = time.perf_counter()
res = si.solve(A, b, si.L1(lam))
t4 = time.perf_counter()
answer = time.time() - float(os.environ["STARTED"])
si.solve(A, b, si.L1(lam))
t5 = time.perf_counter()
print(json.dumps({{
    "import": t1 - t0, "data": t2 - t1, "lam_max": t3 - t2, "solve": t4 - t3, "again": t5 - t4,
    "answer": answer, "success": bool(res.success), "relative_gap": float(res.certificate.relative),
    "solver": str(res.solver),
}}))
"""


def run(code: str, cache: str | None = None) -> dict[str, Any]:
    """Run `code` in a new process; return what it prints, and the seconds from its start to its end."""
    environment = dict(os.environ)
    if cache is not None:
        environment["NUMBA_CACHE_DIR"] = cache
    start = time.perf_counter()
    environment["STARTED"] = repr(time.time())
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"the timed process failed:\n{done.stderr}")
    return {"process": seconds, **(json.loads(done.stdout) if done.stdout.strip() else {})}


def median(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Take the median of every number over the runs, and anything else from the last one."""
    numbers = {
        key: round(statistics.median(one[key] for one in runs), 4)
        for key, value in runs[-1].items()
        if isinstance(value, float) and key != "relative_gap"
    }
    return {**runs[-1], **numbers}


def measure(repeats: int, cold_repeats: int) -> dict[str, Any]:
    solve = SOLVE.format(m=M, n=N)
    timings: dict[str, Any] = {}
    run(IMPORT.format(module="sparseinv"))  # writes the byte code, reads the disk
    timings["interpreter"] = median([run("pass") for _ in range(repeats)])
    timings["numpy"] = median([run(IMPORT.format(module="numpy")) for _ in range(repeats)])
    timings["import"] = median([run(IMPORT.format(module="sparseinv")) for _ in range(repeats)])
    cold = []
    for _ in range(cold_repeats):
        with tempfile.TemporaryDirectory() as cache:
            cold.append(run(solve, cache))
    timings["cold"] = median(cold)
    with tempfile.TemporaryDirectory() as cache:
        run(solve, cache)
        timings["warm"] = median([run(solve, cache) for _ in range(repeats)])
    for name in ("numpy", "import"):
        timings[name]["less_interpreter"] = round(
            timings[name]["process"] - timings["interpreter"]["process"], 4
        )
    for name in ("cold", "warm"):
        one = timings[name]
        one["after_import"] = round(one["lam_max"] + one["solve"], 4)
        # the second solve shows what compiling and loading cost the first; nobody waits for it
        one["process"] = round(one["process"] - one["again"], 4)
        if not one["success"]:
            sys.exit(f"the {name} solve did not converge: {one}")
    return timings


def machine() -> dict[str, Any]:
    """Describe the machine without naming it."""
    cpu = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        cpu = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    packages = {name: version(name) for name in ("sparseinv", "numpy", "scipy", "numba", "llvmlite")}
    return {
        "cpu": cpu,
        "cores": cores,
        "system": platform.system(),
        "python": platform.python_version(),
        **packages,
    }


def verdicts(timings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Compare with the limits: the import as seen from inside, the solves as whole processes."""
    seconds = {
        "import": timings["import"]["inside"],
        "warm": timings["warm"]["answer"],
        "cold": timings["cold"]["answer"],
    }
    return {
        name: {"seconds": value, "limit": LIMITS[name], "met": value <= LIMITS[name]}
        for name, value in seconds.items()
    }


def report(timings: dict[str, Any], met: dict[str, dict[str, Any]], about: dict[str, Any]) -> None:
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    print(f"\n{'seconds, medians':<28}{'inside':>9}{'process':>9}{'less interpreter':>18}")
    print(f"{'python, nothing else':<28}{'':>9}{timings['interpreter']['process']:>9.3f}")
    for name, label in (("numpy", "import numpy"), ("import", "import sparseinv")):
        one = timings[name]
        print(f"{label:<28}{one['inside']:>9.3f}{one['process']:>9.3f}{one['less_interpreter']:>18.3f}")
    columns = ("import", "data", "lam_max", "solve", "again", "after_import", "answer", "process")
    heading = f"first solve, {M} x {N}, L1"
    print(f"\n{heading:<28}" + "".join(f"{column:>13}" for column in columns))
    for name in ("warm", "cold"):
        print(f"{name + ' kernels':<28}" + "".join(f"{timings[name][column]:>13.3f}" for column in columns))
    one = timings["warm"]
    print(f"solver {one['solver']}, relative gap {one['relative_gap']:.1e}\n")
    for name, verdict in met.items():
        word = "met" if verdict["met"] else "MISSED"
        print(f"limit {name:<8}{verdict['seconds']:>7.3f} s of {verdict['limit']:.1f} s   {word}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Time the import and the first solve of a new process.")
    parser.add_argument("--repeats", type=int, default=7, help="new processes a figure (default 7)")
    parser.add_argument("--cold-repeats", type=int, default=3, help="the same for cold ones (default 3)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the JSON file to write")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a limit is missed")
    options = parser.parse_args()
    timings = measure(options.repeats, options.cold_repeats)
    met, about = verdicts(timings), machine()
    report(timings, met, about)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    record = {"machine": about, "timings": timings, "limits": met}
    options.out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return int(options.check and not all(verdict["met"] for verdict in met.values()))


if __name__ == "__main__":
    sys.exit(main())

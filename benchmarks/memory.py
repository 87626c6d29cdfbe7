"""What one solve adds to the memory that A takes: the peak resident set over what was held before it.

    python benchmarks/memory.py              print the table, write benchmarks/results/memory.json
    python benchmarks/memory.py --check      the same, and fail when the limit is missed

Every problem is built in a process of its own, in place and without temporaries, after a small solve of the
same kind has loaded the libraries. The limit: a solve may add 15 % of A. The dense A is column-major
(Fortran order); a C-ordered A costs one copy of A more, by design, which --order C shows.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from latency import machine

RESULTS = Path(__file__).resolve().parent / "results" / "memory.json"
LIMIT = 0.15  # of the bytes of A
FACTOR, TOL = 10, 1e-6
PER_COLUMN = 30  # entries of a sparse column
SHAPES = {
    "s": {"dense": (400, 2000), "csc": (5000, 20_000)},
    "m": {"dense": (4000, 65_536), "csc": (1_000_000, 3_333_333)},
}
HEADING = (
    f"{'A':<8}{'m':>9}{'n':>9}{'A MB':>9}{'before MB':>11}{'after MB':>10}{'added MB':>10}{'of A':>8}"
    f"{'products':>9}{'nnz':>6}"
)


def dense(m: int, n: int, order: str) -> Any:
    """Fill A by blocks of columns (rows where it is C-ordered), so that nothing else is held."""
    rng = np.random.default_rng(0)
    A = np.empty((m, n), order=order)
    lines = A.T if order == "F" else A
    for start in range(0, lines.shape[0], 64):
        rng.standard_normal(out=lines[start : start + 64])
    return A


def csc(m: int, n: int) -> Any:
    """Draw one entry in each of 30 ranges of rows for every column: sorted, without repeats."""
    from scipy import sparse

    rng = np.random.default_rng(0)
    stride = m // PER_COLUMN
    data, rows = np.empty(n * PER_COLUMN), np.empty(n * PER_COLUMN, dtype=np.int32)
    first = stride * np.arange(PER_COLUMN, dtype=np.int32)
    by_column = rows.reshape(n, PER_COLUMN)
    for start in range(0, n, 4096):
        block = by_column[start : start + 4096]
        block[:] = first + rng.integers(stride, size=block.shape, dtype=np.int32)
        rng.standard_normal(out=data[start * PER_COLUMN : (start + len(block)) * PER_COLUMN])
    pointers = PER_COLUMN * np.arange(n + 1, dtype=np.int32)
    return sparse.csc_array((data, rows, pointers), shape=(m, n), copy=False)


def make(kind: str, m: int, n: int, order: str) -> tuple[Any, Any]:
    """Return A and the data of a planted x with noise."""
    A = dense(m, n, order) if kind == "dense" else csc(m, n)
    rng = np.random.default_rng(1)
    used = np.sort(rng.choice(n, min(m // 20, 300), replace=False))
    b = A[:, used] @ rng.standard_normal(used.size)
    return A, b + 0.3 * b.std() * rng.standard_normal(m)


def resident(peak: bool) -> float:
    """Return the resident set of this process in MB: the peak so far, or what is held now."""
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:" if peak else "VmRSS:"):
                return float(line.split()[1]) * 1024 / 1e6
    except OSError:
        pass
    import resource  # which knows the peak alone

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def stored(A: Any) -> float:
    """Return the MB that A takes."""
    arrays = (A,) if isinstance(A, np.ndarray) else (A.data, A.indices, A.indptr)
    return sum(array.nbytes for array in arrays) / 1e6


def solve(kind: str, m: int, n: int, order: str) -> dict[str, Any]:
    """Build A, solve, and say how the peak moved; to be called in a new process."""
    import sparseinv as si

    small = make(kind, *SHAPES["s"][kind], order)
    si.solve(*small, si.L1(si.lam_max(*small, si.L1()) / FACTOR), tol=TOL)
    A, b = make(kind, m, n, order)
    before = resident(peak=False)
    result = si.solve(A, b, si.L1(si.lam_max(A, b, si.L1()) / FACTOR), tol=TOL)
    after = resident(peak=True)
    return {
        "kind": kind if order == "F" else "dense C", "m": m, "n": n, "matrix": stored(A), "before": before,
        "after": after, "added": after - before, "share": (after - before) / stored(A),
        "products": result.products.total, "nonzeros": int(np.count_nonzero(result.x)),
        "status": result.status.name,
    }  # fmt: skip


def apart(kind: str, m: int, n: int, order: str) -> dict[str, Any]:
    """Call `solve` in a new process."""
    command = [sys.executable, __file__, "--child", kind, str(m), str(n), order]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"the measured process failed:\n{done.stderr}")
    row: dict[str, Any] = json.loads(done.stdout)
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}


def text_of(row: dict[str, Any]) -> str:
    """Return one line of the table."""
    note = "" if row["status"] == "CONVERGED" else f"   {row['status']}"
    return (
        f"{row['kind']:<8}{row['m']:>9}{row['n']:>9}{row['matrix']:>9.1f}{row['before']:>11.1f}"
        f"{row['after']:>10.1f}{row['added']:>10.1f}{100 * row['share']:>6.1f} %{row['products']:>9}"
        f"{row['nonzeros']:>6}{note}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", choices=list(SHAPES), default="m")
    parser.add_argument("--kinds", nargs="+", choices=list(SHAPES["m"]), default=list(SHAPES["m"]))
    parser.add_argument("--order", choices=["F", "C"], default="F", help="storage of the dense A")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the JSON file to write")
    parser.add_argument("--check", action="store_true", help="exit with 1 when the limit is missed")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        kind, m, n, order = options.child
        print(json.dumps(solve(kind, int(m), int(n), order)))
        return 0
    about = machine()
    print(", ".join(f"{key} {value}" for key, value in about.items()) + f"\n\n{HEADING}", flush=True)
    rows = []
    for kind in options.kinds:
        order = options.order if kind == "dense" else "F"
        rows.append(apart(kind, *SHAPES[options.size][kind], order))
        print(text_of(rows[-1]), flush=True)
    met = all(row["share"] <= LIMIT + (row["kind"] == "dense C") for row in rows)
    print(f"limit: a solve adds at most {100 * LIMIT:.0f} % of A   {'met' if met else 'MISSED'}")
    print("a C-ordered dense A costs one copy of A more")
    for row in rows:
        if row["kind"] == "csc":
            added, matrix = (row[key] / (8e-6 * row["n"]) for key in ("added", "matrix"))
            print(f"csc: the solve added {added:.1f} vectors of n numbers; A is {matrix:.1f} of them")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    record = {"machine": about, "size": options.size, "limit": LIMIT, "rows": rows, "met": met}
    options.out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return int(options.check and not met)


if __name__ == "__main__":
    sys.exit(main())

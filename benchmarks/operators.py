"""Judge every operator: dot tests, how close the bound of the norm is, and speed beside PyLops.

``python benchmarks/operators.py`` writes results/operators.md and .jsonl; ``--only NAME`` runs the entries
whose name contains NAME, and writes files only where ``--out`` says so. Times are processor time of one
thread, the median of interleaved repeats of one product with A and one with A^H; compilation is done before.
A ratio above 1 means that PyLops is slower.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from operator_pairs import PAIRS, Pair
from threadpoolctl import threadpool_limits

RESULTS = Path(__file__).resolve().parent / "results"
KINDS = {"float64": np.float64, "float32": np.float32, "complex128": np.complex128, "complex64": np.complex64}


def draw(size: int, dtype: Any, seed: int) -> np.ndarray:
    """Return a random vector of a dtype."""
    rng = np.random.default_rng(seed)
    v = rng.standard_normal(size)
    return (
        (v + 1j * rng.standard_normal(size)).astype(dtype) if np.dtype(dtype).kind == "c" else v.astype(dtype)
    )


def dot_test(A: Any, dtype: Any) -> tuple[float, bool]:
    """Return |<y, A x> - <A^H y, x>| over the norms, and whether the precision was kept."""
    x, y = draw(A.shape[1], dtype, 0), draw(A.shape[0], dtype, 1)
    image, back = A.matvec(x), A.rmatvec(y)
    difference = np.vdot(y, image).astype(complex) - np.vdot(back, x)
    if not A.clinear:
        difference = difference.real
    scale = np.linalg.norm(y) * np.linalg.norm(image) + np.linalg.norm(back) * np.linalg.norm(x)
    single = np.dtype(dtype).char in "fF"
    kept = (image.dtype.char in "fF") == single and (back.dtype.char in "fF") == single
    return float(abs(difference) / scale), bool(kept)


def true_norm(A: Any) -> float:
    """Return the norm by Lanczos steps on A^H A, in real and imaginary parts of real-linear maps."""
    from scipy.sparse.linalg import LinearOperator, eigsh

    n = A.shape[1]
    if A.clinear:
        gram = LinearOperator((n, n), matvec=lambda x: A.rmatvec(A.matvec(x.ravel())), dtype=A.dtype)
    else:

        def parts(x: np.ndarray) -> np.ndarray:
            back = np.asarray(A.rmatvec(A.matvec(x.ravel()[:n] + 1j * x.ravel()[n:])))
            return np.concatenate((back.real, back.imag))

        gram = LinearOperator((2 * n, 2 * n), matvec=parts, dtype=float)
    start = draw(gram.shape[1], gram.dtype, 2)
    largest = eigsh(gram, k=1, tol=1e-7, v0=start, return_eigenvectors=False, ncv=min(24, gram.shape[1]))
    return float(np.sqrt(largest[0]))


def once(A: Any, x: np.ndarray, y: np.ndarray) -> Callable[[], None]:
    """Return one product with A and one with A^H, as something to time."""

    def both() -> None:
        A.matvec(x)
        A.rmatvec(y)

    return both


def timed(run: Callable[[], None], count: int) -> float:
    """Return seconds of processor time a run."""
    start = time.thread_time()
    for _ in range(count):
        run()
    return (time.thread_time() - start) / count


def speeds(runs: list[Callable[[], None]], repeats: int) -> list[float]:
    """Return the median seconds of each of several things, timed in turn."""
    counts = []
    for run in runs:
        run()
        counts.append(max(1, min(1000, int(2e-3 / max(timed(run, 3), 1e-7)))))
    taken = np.empty((repeats, len(runs)))
    for k in range(repeats):
        for i in range(len(runs))[:: 1 if k % 2 else -1]:  # what comes second finds other data in the cache
            taken[k, i] = timed(runs[i], counts[i])
    return [float(value) for value in np.median(taken, axis=0)]


def judge(name: str, pair: Pair, repeats: int) -> dict[str, Any]:
    """Return the row of one operator."""
    A = pair.ours()
    row: dict[str, Any] = {"operator": name, "shape": list(A.shape), "dtype": str(A.dtype)}
    for kind, dtype in KINDS.items():
        error, kept = dot_test(A, dtype)
        row[f"dot {kind}"], row[f"kept {kind}"] = error, kept
    norm, bound = true_norm(A), A.norm_bound()
    row["norm"], row["bound / norm"] = norm, None if bound is None else bound / norm
    # products as a solver makes them: complex only where the map or its argument must be
    kind = np.complex128 if A.dtype.kind == "c" or name.startswith("RealFFT") else np.float64
    x = draw(A.shape[1], np.float64 if name.startswith("RealFFT") else kind, 3)
    y = draw(A.shape[0], np.float64 if name == "MorletBank" else kind, 4)
    row["ours [us]"] = row["pylops [us]"] = row["ratio"] = row["difference"] = None
    if pair.theirs is None:
        row["ours [us]"] = 1e6 * speeds([once(A, x, y)], repeats)[0]
        return row
    B = pair.theirs()
    u = x if B.shape[1] == A.shape[1] else draw(B.shape[1], x.dtype, 3)
    v = y if B.shape[0] == A.shape[0] else draw(B.shape[0], y.dtype, 4)
    if pair.same:
        image = np.asarray(A.matvec(x))
        row["difference"] = float(np.linalg.norm(image - B.matvec(u)) / np.linalg.norm(image))
    ours, theirs = speeds([once(A, x, y), once(B, u, v)], repeats)
    row["ours [us]"], row["pylops [us]"], row["ratio"] = 1e6 * ours, 1e6 * theirs, theirs / ours
    return row


def written(number: float | None, form: str) -> str:
    """Return a number as text."""
    return "-" if number is None else format(number, form)


def table(rows: list[dict[str, Any]]) -> str:
    """Return the table in Markdown."""
    lines = [
        "# Operators",
        "",
        "Made by `python benchmarks/operators.py`. Dot test: |<y, A x> - <A^H y, x>| over ||y|| ||A x|| + "
        "||A^H y|| ||x||, asked at most 1e-12 (double) and 1e-5 (single); * says that single precision is "
        "not kept, as is meant for matrices, which are held in double. Times are of one product with A and "
        "one with A^H, processor time of one thread, medians of interleaved repeats. PyLops / ours above 1: "
        "PyLops is slower.",
        "",
        "| operator | shape | dot float64 | complex128 | float32 | complex64 | bound / norm | ours [us] "
        "| PyLops [us] | PyLops / ours | difference |",
        "|---" * 11 + "|",
    ]
    for row in rows:
        order = ("float64", "complex128", "float32", "complex64")
        dots = [written(row[f"dot {kind}"], ".0e") + ("" if row[f"kept {kind}"] else "*") for kind in order]
        numbers = [
            written(row[key], form)
            for key, form in (
                ("bound / norm", ".4f"), ("ours [us]", ".0f"), ("pylops [us]", ".0f"), ("ratio", ".2f"),
                ("difference", ".0e"),
            )
        ]  # fmt: skip
        lines.append(
            "| " + " | ".join([row["operator"], "x".join(map(str, row["shape"])), *dots, *numbers]) + " |"
        )
    notes = [
        f"- {row['operator']}: {PAIRS[row['operator']].note}." for row in rows if PAIRS[row["operator"]].note
    ]
    if notes:
        lines += ["", "Notes:", "", *notes]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run what is asked for and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="entries whose name contains this")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument(
        "--out", type=Path, help="folder of operators.md and operators.jsonl (benchmarks/results)"
    )
    given = parser.parse_args()
    rows = []
    with threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyLops, on single precision and deprecated NumPy calls
        for name, pair in PAIRS.items():
            if given.only not in name:
                continue
            rows.append(judge(name, pair, given.repeats))
            print(table(rows[-1:]).splitlines()[6], flush=True)
    if given.only and given.out is None:  # some rows must not take the place of all
        return
    out = given.out or RESULTS
    machine = {"machine": platform.processor() or platform.machine(), "python": platform.python_version()}
    out.mkdir(parents=True, exist_ok=True)
    (out / "operators.md").write_text(table(rows), encoding="utf-8")
    records = "".join(json.dumps({**machine, **row}) + "\n" for row in rows)
    (out / "operators.jsonl").write_text(records, encoding="utf-8")


if __name__ == "__main__":
    main()

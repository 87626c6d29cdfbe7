"""How often the best subset is found, how long a search takes, and who ends lower.

    python benchmarks/best_subset.py              three tables, benchmarks/results/best_subset.md (minutes)
    python benchmarks/best_subset.py --size s     small, to see that it runs

1. 150 problems of each of three designs with 28 columns, correlated like rho^|i - j|, 4 of them used: the
   share in which the best of all 20475 supports of four columns is found.
2. k = 30 columns of 10000 and of 100000, 1000 rows.
3. 50 problems with 200 to 400 columns, k columns to be chosen: in how many nobody else ends lower, and the
   mean excess of 1/2 ||A x - b||^2 over the lowest. Every support is refitted by least squares first.

All are told k. abess is scale-dependent and is given 100 b; it and scikit-learn are left out where they are
missing. Seconds are those of the processor with one thread of linear algebra.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from latency import machine
from threadpoolctl import threadpool_limits

import sparseinv as si

Array = np.ndarray[Any, Any]
RESULTS = Path(__file__).resolve().parent / "results" / "best_subset.md"
DESIGNS = ((0.8, 40, 0.98), (0.95, 20, 0.90), (0.9, 15, 0.85))  # rho, rows, share asked
GOAL_MS = 10.0
GOAL_SECONDS = {10_000: 0.3, 100_000: 3.0}
SIZES: dict[str, dict[str, Any]] = {
    "s": {"draws": 3, "large": ((100, 1000, 5),), "duels": 2},
    "m": {"draws": 150, "large": ((1000, 10_000, 30), (1000, 100_000, 30)), "duels": 50},
}


def correlated(seed: int, m: int, n: int, rho: float, k: int = 4, noise: float = 0.33) -> tuple[Array, Array]:
    """Draw columns with correlation rho^|i - j|, k of them used, and noise, a share of the signal's size."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((m, n))
    for j in range(1, n):
        A[:, j] = rho * A[:, j - 1] + np.sqrt(1 - rho**2) * A[:, j]
    used = rng.choice(n, k, replace=False)
    b = A[:, used] @ (rng.choice([-1.0, 1.0], k) * (1 + np.abs(rng.standard_normal(k))))
    return np.asfortranarray(A), b + noise * np.linalg.norm(b) / np.sqrt(m) * rng.standard_normal(m)


def misfit(A: Array, b: Array, support: Array) -> float:
    """Return the least 1/2 ||A x - b||^2 on a support."""
    support = np.asarray(support, dtype=int)
    if not support.size:
        return 0.5 * float(b @ b)
    r = A[:, support] @ np.linalg.lstsq(A[:, support], b, rcond=None)[0] - b
    return 0.5 * float(r @ r)


def enumerated(A: Array, b: Array, k: int) -> float:
    """Return the least misfit of all supports of k columns."""
    G, q = A.T @ A, A.T @ b
    index = np.array(list(itertools.combinations(range(A.shape[1]), k)))
    fitted = np.linalg.solve(G[index[:, :, None], index[:, None, :]], q[index][:, :, None])[:, :, 0]
    return 0.5 * float(b @ b) - 0.5 * float((fitted * q[index]).sum(axis=1).max())


def solvers() -> dict[str, Callable[[Array, Array, int], Array]]:
    """Return what is compared: functions of A, b and k that return a support."""

    def ours(solver: Any) -> Callable[[Array, Array, int], Array]:
        return lambda A, b, k: si.solve(A, b, si.L0Ball(k), solver=solver).support

    found: dict[str, Callable[[Array, Array, int], Array]] = {
        "LocalSearch": ours(si.LocalSearch()),
        "OLS": ours(si.OLS()),
        "OMP": ours(si.OMP()),
        "SubspacePursuit": ours(si.SubspacePursuit()),
    }
    try:
        import abess

        def splicing(A: Array, b: Array, k: int) -> Array:
            model = abess.LinearRegression(support_size=k, fit_intercept=False)
            return np.flatnonzero(model.fit(A, 100 * b).coef_)

        found[f"abess {abess.__version__}"] = splicing
    except ImportError:
        pass
    try:
        import sklearn
        from sklearn.linear_model import orthogonal_mp

        name = f"scikit-learn {sklearn.__version__} OMP"
        found[name] = lambda A, b, k: np.flatnonzero(orthogonal_mp(A, b, n_nonzero_coefs=k))
    except ImportError:
        pass
    return found


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return (processor seconds, answer)."""
    began = time.process_time()
    answer = call()
    return time.process_time() - began, answer


def hits(draws: int) -> list[str]:
    """Return the rows of the table of hit rates."""
    rows = []
    for rho, m, asked in DESIGNS:
        cases = [correlated(seed, m, 28, rho) for seed in range(draws)]
        best = [enumerated(A, b, 4) for A, b in cases]
        for name, solve in solvers().items():
            solve(*cases[0], 4)
            runs = [timed(lambda A=A, b=b, solve=solve: solve(A, b, 4)) for A, b in cases]
            share = np.mean(
                [
                    misfit(A, b, support) <= least * (1 + 1e-9)
                    for (A, b), (_, support), least in zip(cases, runs, best, strict=True)
                ]
            )
            median = 1e3 * float(np.median([seconds for seconds, _ in runs]))
            goal = f"{100 * asked:.0f} %, {GOAL_MS:.0f} ms" if name == "LocalSearch" else ""
            rows.append(f"| AR({rho}), {m} rows | {name} | {100 * share:.1f} % | {median:.2f} | {goal} |")
            print(rows[-1], flush=True)
    return rows


def large(sizes: Sequence[tuple[int, int, int]]) -> list[str]:
    """Return the rows of the table of large problems."""
    rows = []
    for m, n, k in sizes:
        rng = np.random.default_rng(0)
        A = np.asfortranarray(rng.standard_normal((m, n)))
        used = rng.choice(n, k, replace=False)
        b = A[:, used] @ rng.standard_normal(k)
        b += 0.1 * np.linalg.norm(b) / np.sqrt(m) * rng.standard_normal(m)
        for name, solve in solvers().items():
            solve(A[:, :200], b, 3)
            runs = [timed(lambda A=A, b=b, k=k, solve=solve: solve(A, b, k)) for _ in range(3)]
            seconds = float(np.median([seconds for seconds, _ in runs]))
            goal = f"{GOAL_SECONDS[n]} s" if name == "LocalSearch" and n in GOAL_SECONDS else ""
            value = misfit(A, b, runs[0][1])
            rows.append(f"| {m} x {n}, k = {k} | {name} | {seconds:.3f} | {value:.6g} | {goal} |")
            print(rows[-1], flush=True)
        del A
    return rows


def duels(count: int) -> list[str]:
    """Return the rows of the table of objectives."""
    values: dict[str, list[float]] = {}
    seconds: dict[str, list[float]] = {}
    for seed in range(count):
        rho, k = (0.5, 0.8, 0.95)[seed % 3], (8, 15, 25)[seed // 3 % 3]
        A, b = correlated(1000 + seed, (80, 120, 200)[seed % 3], (200, 300, 400)[seed // 2 % 3], rho, k)
        for name, solve in solvers().items():
            spent, support = timed(lambda A=A, b=b, k=k, solve=solve: solve(A, b, k))
            values.setdefault(name, []).append(misfit(A, b, support))
            seconds.setdefault(name, []).append(spent)
    least = np.min(list(values.values()), axis=0)
    rows = []
    for name, found in values.items():
        lowest = int((np.array(found) <= least * (1 + 1e-9)).sum())
        excess = 100 * float((np.array(found) / least - 1).mean())
        median = 1e3 * float(np.median(seconds[name]))
        rows.append(f"| {name} | {lowest} of {count} | {excess:.2f} % | {median:.1f} |")
        print(rows[-1], flush=True)
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", choices=sorted(SIZES), default="m")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    size = SIZES[options.size]
    with threadpool_limits(1):
        parts = [
            "# Best subsets: found, how fast, and how low\n\n" + "\n".join(__doc__.splitlines()[5:]).strip(),
            f"\nMachine: {json.dumps(machine())}\n",
            "| design | solver | found | median ms | asked |\n|---|---|---|---|---|",
            *hits(size["draws"]),
            "\n| size | solver | s | 1/2 ‖r‖² | asked |\n|---|---|---|---|---|",
            *large(size["large"]),
            "\n| solver | nobody lower | mean excess | median ms |\n|---|---|---|---|",
            *duels(size["duels"]),
        ]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text("\n".join(parts) + "\n", encoding="utf-8")
    print(f"wrote {options.out.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

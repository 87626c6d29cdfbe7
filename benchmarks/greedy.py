"""Greedy methods against scikit-learn, and against the floor of bare products.

    python benchmarks/greedy.py                   print the tables, write benchmarks/results/greedy.md
    python benchmarks/greedy.py --size s          small, to see that it runs

One right-hand side: A (1000 x 10000), k = 100 columns. The floor is 100 bare products A^T r with the same A,
the faster of BLAS and of the loop that this package uses. Ours is si.solve with everything: the check of the
input, column norms, and the certificate by the best exchange. Data: 100 columns with 10 % noise, and noise
alone. Many right-hand sides: dictionary 512 x 1000, 8 columns per signal; the Gram matrix and the products
A^T B are included, ours with a certificate per signal.

Seconds are those of the processor, one thread of linear algebra, the least of several repeats: a machine that
others share makes wall clocks too long. scikit-learn is left out where it is missing.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from latency import machine
from threadpoolctl import threadpool_limits

import sparseinv as si

RESULTS = Path(__file__).resolve().parent / "results" / "greedy.md"
SIZES = {"s": ((60, 300, 6), (32, 60, 3, 64)), "m": ((1000, 10_000, 100), (512, 1000, 8, 8000))}
GOAL_RATIO, GOAL_SIGNAL = 1.3, 60.0  # times the floor; microseconds per signal


def least(call: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Return (least processor seconds of several calls, the last answer); the first call is not counted."""
    call()
    best, answer = np.inf, None
    for _ in range(repeats):
        began = time.process_time()
        answer = call()
        best = min(best, time.process_time() - began)
    return best, answer


def peers() -> tuple[Any, str]:
    """Return scikit-learn's module of linear models and its version, (None, "") where it is missing."""
    try:
        import sklearn
        from sklearn import linear_model
    except ImportError:
        return None, ""
    return linear_model, sklearn.__version__


def one(m: int, n: int, k: int, repeats: int) -> list[str]:
    """Return the rows of the table of single right-hand sides."""
    from sparseinv.kernels.products import adjoint_product

    rng = np.random.default_rng(0)
    A = np.asfortranarray(rng.standard_normal((m, n)))
    A /= np.linalg.norm(A, axis=0)
    truth = np.zeros(n)
    truth[rng.choice(n, k, replace=False)] = rng.standard_normal(k)
    clean = A @ truth
    noise = rng.standard_normal(m)
    cases = {
        f"{k} columns and 10 % noise": clean + 0.1 * np.linalg.norm(clean) / np.sqrt(m) * noise,
        "noise alone": noise,
    }
    out = np.empty(n)
    linear, _ = peers()
    rows = []
    for name, b in cases.items():
        blas = k * least(lambda b=b: b @ A, 3 * repeats)[0]
        loop = k * least(lambda b=b: adjoint_product(A, b, out), 3 * repeats)[0]
        floor = min(blas, loop)
        rows.append(f"| {name} | {k} products A^T r, the floor (BLAS {blas:.3f} s) | {floor:.3f} | 1.00 | |")
        for solver in (si.OMP(), si.OLS()):
            seconds, result = least(lambda b=b, s=solver: si.solve(A, b, si.L0Ball(k), solver=s), repeats)
            said = f"{result.objective:.6g}, {result.certificate}".replace("||", "‖")
            rows.append(f"| {name} | `{solver!r}` | {seconds:.3f} | {seconds / floor:.2f} | {said} |")
        if linear is not None:
            seconds, x = least(lambda b=b: linear.orthogonal_mp(A, b, n_nonzero_coefs=k), repeats)
            value = 0.5 * float(np.sum((A @ x - b) ** 2))
            ratio = seconds / floor
            rows.append(
                f"| {name} | scikit-learn orthogonal_mp | {seconds:.3f} | {ratio:.2f} | {value:.6g} |"
            )
    return rows


def many(m: int, n: int, k: int, count: int, repeats: int) -> list[str]:
    """Return the rows of the table of many right-hand sides."""
    rng = np.random.default_rng(1)
    A = rng.standard_normal((m, n))
    A /= np.linalg.norm(A, axis=0)
    X = np.zeros((n, count))
    for j in range(count):
        X[rng.choice(n, k, replace=False), j] = rng.standard_normal(k)
    B = A @ X + 0.01 * rng.standard_normal((m, count))
    rows = []
    for threads in (1, 2):
        seconds, batch = least(
            lambda threads=threads: si.solve_many(A, B, si.L0Ball(k), solver=si.OMP(), n_threads=threads),
            repeats,
        )
        began = time.perf_counter()
        si.solve_many(A, B, si.L0Ball(k), solver=si.OMP(), n_threads=threads)
        wall = (time.perf_counter() - began) / count * 1e6
        met = sum(result.success for result in batch)
        each = seconds / count * 1e6
        rows.append(
            f"| `solve_many(..., solver=OMP())`, threads: {threads} | {each:.0f} | {wall:.0f} | "
            f"{met} of {count} swap-optimal, the others say what an exchange gains |"
        )
    linear, _ = peers()
    if linear is not None:
        began = time.perf_counter()
        seconds, _ = least(lambda: linear.orthogonal_mp_gram(A.T @ A, A.T @ B, n_nonzero_coefs=k), 1)
        wall = (time.perf_counter() - began) / 2 / count * 1e6
        rows.append(
            f"| scikit-learn orthogonal_mp_gram | {seconds / count * 1e6:.0f} | {wall:.0f} | no certificate |"
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=sorted(SIZES), default="m")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    (m, n, k), (rows, columns, few, count) = SIZES[options.size]
    with threadpool_limits(limits=1, user_api="blas"):
        single = one(m, n, k, options.repeats)
        batch = many(rows, columns, few, count, options.repeats)
    about = ", ".join(f"{key} {value}" for key, value in machine().items())
    version = peers()[1]
    lines = [
        "# Greedy methods", "",
        f"`python benchmarks/greedy.py`: {about}{', scikit-learn ' + version if version else ''}. Processor "
        "seconds, least of several; one thread of linear algebra.", "",
        f"## One right-hand side: {m} x {n}, {k} columns", "",
        f"Aim: at most {GOAL_RATIO} times the floor.", "",
        "| data | method | s | over the floor | objective, certificate |",
        "|---|---|---|---|---|", *single, "",
        f"## Many right-hand sides: {rows} x {columns}, {few} columns each, {count} signals", "",
        f"Aim: at most {GOAL_SIGNAL:g} microseconds per signal.", "",
        "| method | processor us per signal | wall us per signal | |", "|---|---|---|---|", *batch,
    ]  # fmt: skip
    text = "\n".join(lines) + "\n"
    print(text)
    options.out.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Many lambdas or rescaled columns? The same for L1, L2 and groups, not for L0; normalising is weights."""

from __future__ import annotations

from itertools import combinations

import numpy as np

import sparseinv as si


def draw(k: int, m: int = 25, n: int = 18) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return A, b and lambdas spread over two decades."""
    rng = np.random.default_rng([1, k])
    A = rng.standard_normal((m, n))
    b = A[:, ::4] @ rng.standard_normal(A[:, ::4].shape[1]) + 0.5 * rng.standard_normal(m)
    return A, b, 0.1 * np.abs(A.T @ b).max() * 10.0 ** rng.uniform(-1, 1, n)


def excess(A: np.ndarray, b: np.ndarray, penalty: si.Penalty, x: np.ndarray) -> float:
    """Return how far x is above the minimum, relative to the minimum."""
    best = si.solve(A, b, penalty, tol=1e-13).objective
    return abs(0.5 * float(np.sum((A @ x - b) ** 2)) + penalty.value(x) - best) / best


def best_support(A: np.ndarray, b: np.ndarray, lam: np.ndarray) -> tuple[int, ...]:
    """Return the global minimum of weighted L0 by trying every support."""
    found = []
    for size in range(A.shape[1] + 1):
        for S in map(list, combinations(range(A.shape[1]), size)):
            r = b - A[:, S] @ np.linalg.lstsq(A[:, S], b, rcond=None)[0] if S else b
            found.append((0.5 * float(r @ r) + lam[S].sum(), tuple(S)))
    return min(found)[1]


def theorem(trials: int) -> dict[str, float]:
    """Divide columns by lam_i^(1/q), solve with one lambda, map back: how wrong is the objective?"""
    worst = {"L1, columns / lam": 0.0, "L2, columns / sqrt(lam)": 0.0, "GroupL1, columns / lam_g": 0.0}
    wrong = []
    for k in range(trials):
        A, b, lam = draw(k)
        group = si.GroupL1(lam[:6], groups=np.arange(18) // 3)
        for name, penalty in zip(worst, (si.L1(lam), si.L2(lam), group), strict=True):
            one = si.rescale_problem(A, penalty)
            x = one.recover(si.solve(one.A, b, one.penalty, tol=1e-13).x)
            worst[name] = max(worst[name], excess(A, b, penalty, x))
        y = si.solve(A / np.sqrt(lam), b, si.L1(1.0), tol=1e-13).x
        wrong.append(excess(A, b, si.L1(lam), y / np.sqrt(lam)))
    return {**worst, "L1, columns / sqrt(lam) (median)": float(np.median(wrong))}


def counter_example(trials: int) -> tuple[int, int]:
    """Return how often the best L0 support changes when lambdas become lengths, and when lengths change."""
    by_lambda = by_length = 0
    for k in range(trials):
        A, b, lam = draw(100 + k, 12, 7)
        lam, d = lam**2 / 40, 10.0 ** np.random.default_rng(k).uniform(-1.5, 1.5, 7)
        truth, mean = best_support(A, b, lam), np.exp(np.log(lam).mean())
        by_lambda += best_support(A / np.sqrt(lam / mean), b, np.full(7, mean)) != truth
        by_length += best_support(A * d, b, lam) != truth
    return by_lambda, by_length


def main(size: int = 60) -> dict[str, float]:
    """Print what holds and what does not."""
    errors = theorem(size)
    for name, error in errors.items():
        print(f"{name:34s} objective off by {error:.1e}")
    by_lambda, by_length = counter_example(size)
    print(f"L0: best support changed in {by_lambda} of {size} by lambdas turned into lengths, "
          f"in {by_length} by lengths alone")  # fmt: skip

    A, b, _ = draw(0)
    d = 10.0 ** np.random.default_rng(0).uniform(-1.5, 1.5, 18)
    penalty = si.scale_penalty(A * d, si.L1(0.01), scaling="mean", normalize="columns")
    raw = si.solve(A * d, b, penalty, tol=1e-14)
    unit = si.solve(A / np.linalg.norm(A, axis=0), b, si.L1(0.01 * 25), tol=1e-14)
    gap = np.abs(raw.x * d * np.linalg.norm(A, axis=0) - unit.x).max() / np.abs(unit.x).max()
    print(f"normalised columns as weights: {raw.status.name}, {raw.certificate}; x differs by {gap:.1e}")
    print(si.explain(A * d, b, penalty, raw, groups=np.arange(18) // 6))

    for to in ("sklearn.Lasso", "pylops", "spgl1.sigma", "spgl1.tau"):
        print(f"lam = 5 here is {si.convert_lam(5.0, 'sparseinv', to, A=A, b=b):.6g} as {to}")
    for text, m, n in (("", 100, 1000), ("4 times the rows", 400, 1000), ("n squared", 100, 10**6)):
        levels = (si.theory_lam(R, sigma=0.5, m=m, n=n, prior_std=2.0 if R is ridge else None)
                  for ridge in [si.L2()] for R in (si.L1(), si.L0(), ridge))  # fmt: skip
        print(f"theory, sigma 0.5, m {m}, n {n}: " + ", ".join(f"{v:.4g}" for v in levels), text)
    return {
        **errors,
        "changed by lambda": by_lambda,
        "changed by length": by_length,
        "normalised": float(gap),
    }


if __name__ == "__main__":
    main()

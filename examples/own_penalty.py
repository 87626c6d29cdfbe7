"""A penalty of your own in twenty lines: coefficients between 0 and 1, few of them away from zero."""

from __future__ import annotations

import numpy as np

import sparseinv as si


class SparseBox(si.Penalty):
    """R(x) = lam sum x_i for 0 <= x_i <= 1, infinite outside."""

    convex = True

    def __init__(self, lam: float) -> None:
        self.lam = lam

    def value(self, x: np.ndarray) -> float:
        """Return R(x)."""
        inside = np.all((x >= 0) & (x <= 1))
        return self.lam * float(x.sum()) if inside else np.inf

    def prox(self, v: np.ndarray, step: float) -> np.ndarray:
        """Return the minimiser of |x - v|^2 / 2 + step R(x)."""
        return np.clip(v - step * self.lam, 0.0, 1.0)

    def conjugate(self, u: np.ndarray) -> float:
        """Return R*(u); with it the answer carries a duality gap."""
        return float(np.maximum(u - self.lam, 0.0).sum())


def main(size: int = 300) -> float:
    """Recover a 0-1 signal from half as many measurements; return the share of right entries."""
    rng = np.random.default_rng(0)
    A = rng.standard_normal((size // 2, size))
    truth = (rng.random(size) < 0.1).astype(float)
    b = A @ truth + 0.1 * rng.standard_normal(size // 2)
    result = si.solve(A, b, SparseBox(1.0), tol=1e-8)
    right = float(np.mean((result.x > 0.5) == (truth > 0.5)))
    print(f"{result.status.name}, {result.certificate}, {right:.1%} of the entries right")
    return right


if __name__ == "__main__":
    main()

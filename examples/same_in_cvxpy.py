"""The same weighted problem in cvxpy and here: objectives and times side by side."""

from __future__ import annotations

import time

import numpy as np

import sparseinv as si


def main(size: int = 400) -> float:
    """Return the relative difference of the two objectives."""
    import cvxpy as cp

    rng = np.random.default_rng(0)
    A = rng.standard_normal((size // 2, size))
    truth = np.where(rng.random(size) < 0.05, rng.standard_normal(size), 0.0)
    b = A @ truth + 0.1 * rng.standard_normal(size // 2)
    lam = 0.05 * np.abs(A.T @ b).max() * rng.uniform(0.5, 2.0, size)  # one lambda per coefficient
    lam[:3] = 0.0  # three coefficients without penalty

    start = time.perf_counter()
    x = cp.Variable(size)
    objective = cp.sum_squares(A @ x - b) / 2 + lam @ cp.abs(x)
    theirs = cp.Problem(cp.Minimize(objective)).solve(solver=cp.CLARABEL)
    between = time.perf_counter()
    result = si.solve(A, b, si.L1(lam), tol=1e-9)
    end = time.perf_counter()

    difference = abs(theirs - result.objective) / result.objective
    print(f"cvxpy     objective {theirs:.10g} in {between - start:.2f} s")
    print(f"sparseinv objective {result.objective:.10g} in {end - between:.2f} s")
    print(f"{result.status.name}, {result.certificate}, relative difference {difference:.1e}")
    return difference


if __name__ == "__main__":
    main()

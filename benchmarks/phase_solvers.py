"""The solvers of the phase transitions: a name, and a callable (A, b, k, rng) -> x.

To add one takes one line in `METHODS`. b is free of noise. Those told k get the true number of non-zeros, as
in the literature; the others know nothing of the truth: where they need a lambda it is a fixed share of what
b gives (`CHARGE`, `LEVEL`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import sparseinv as si

Array = np.ndarray[Any, Any]
Run = Callable[[Array, Array, int, np.random.Generator], Array]
CAP = 30.0  # seconds after which a solve ends with what it has
CHARGE = 1e-8  # L0 level of one non-zero, relative to 1/2 ||b||^2 / m
LEVEL = 1e-5  # L1 level, relative to lam_max
CONSISTENT = 1e-4  # ||A x - b|| / ||b|| of an x that explains noise-free data


@dataclass(frozen=True)
class Method:
    """Hold a solver and what the table says of it."""

    run: Run
    told_k: bool
    how: str
    needs: tuple[str, ...] = ()  # names in sparseinv without which it is absent

    @property
    def missing(self) -> list[str]:
        return [name for name in self.needs if not hasattr(si, name)]


def _solve(A: Array, b: Array, penalty: Any, solver: Any = "auto", **settings: Any) -> Array:
    return np.asarray(si.solve(A, b, penalty, solver=solver, max_time=CAP, **settings).x)


def told_k(name: str, **settings: Any) -> Method:
    """Run the named solver with at most k non-zeros."""

    def run(A: Array, b: Array, k: int, rng: np.random.Generator) -> Array:
        return _solve(A, b, si.L0Ball(k), getattr(si, name)(**settings))

    return Method(run, True, f"`L0Ball(k)`, `{name}()`", (name,))


def blind(name: str, **settings: Any) -> Method:
    """Run the named solver with a tiny charge for each non-zero."""

    def run(A: Array, b: Array, k: int, rng: np.random.Generator) -> Array:
        lam = CHARGE * 0.5 * float(b @ b) / b.size
        return _solve(A, b, si.L0(lam), getattr(si, name)(**settings))

    return Method(run, False, f"`L0({CHARGE:.0e} * norm(b)**2 / (2 m))`, `{name}()`", (name,))


def basis_pursuit(A: Array, b: Array, weights: Array | None = None) -> Array:
    """Return the minimiser of (weighted) L1 at a level so low that A x = b to about 1e-5."""
    lam = LEVEL * si.lam_max(A, b, si.L1(1.0, weights=weights))
    return _solve(A, b, si.L1(lam, weights=weights), tol=1e-10)


def reweighted_l1(A: Array, b: Array, rounds: int = 5) -> Array:
    """Return the last of a few L1 problems with weights 1 / (|x| + eps) (Candes, Wakin, Boyd 2008)."""
    m, n = A.shape
    x = basis_pursuit(A, b)
    rank = max(int(m / (4 * np.log(n / m))), 1) if n > m else n // 2
    for _ in range(rounds - 1):
        size = np.abs(x)
        eps = max(np.sort(size)[::-1][min(rank, n - 1)], 1e-3 * size.max())
        weights = eps / (size + eps)
        x = basis_pursuit(A, b, weights)
    return x


def sparsest(answers: list[Array], A: Array, b: Array) -> Array:
    """Return the consistent answer with the fewest non-zeros, or the one with the least residual."""

    def rank(x: Array) -> tuple[float, float]:
        misfit = float(np.linalg.norm(A @ x - b) / np.linalg.norm(b))
        big = np.abs(x) > 1e-6 * np.abs(x).max(initial=0.0)
        return (np.count_nonzero(big), misfit) if misfit <= CONSISTENT else (np.inf, misfit)

    return min(answers, key=rank)


def union(A: Array, b: Array, k: int, rng: np.random.Generator) -> Array:
    """Run those that are not told k, and return the sparsest consistent answer."""
    names = ("L1", "reweighted L1", "IRLS", "SL0", "SparseBayesian")
    return sparsest([METHODS[name].run(A, b, k, rng) for name in names if not METHODS[name].missing], A, b)


METHODS: dict[str, Method] = {
    "OMP": told_k("OMP"),
    "OLS": told_k("OLS"),
    "CoSaMP": told_k("CoSaMP"),
    "SubspacePursuit": told_k("SubspacePursuit"),
    "HTP": told_k("HTP"),
    "IterativeHardThresholding": told_k("IterativeHardThresholding"),
    "LocalSearch": told_k("LocalSearch"),
    "L1": Method(
        lambda A, b, k, rng: basis_pursuit(A, b), False, f"`L1({LEVEL:.0e} * lam_max)`, `WorkingSet()`"
    ),
    "reweighted L1": Method(
        lambda A, b, k, rng: reweighted_l1(A, b), False, "5 rounds of `L1` with weights 1 / (abs(x) + eps)"
    ),
    "SL0": blind("SL0"),
    "IRL1": blind("IRL1"),
    "IRLS": blind("IRLS"),
    "SparseBayesian": blind("SparseBayesian"),
    "MessagePassing": blind("MessagePassing"),
    "union": Method(union, False, "the sparsest consistent answer of those not told k"),
    "Portfolio": blind("Portfolio"),
}


def present(names: list[str] | None = None) -> tuple[list[str], dict[str, str]]:
    """Split names (all by default) into those that can run and {name: why not}."""
    # the union stands in for Portfolio, as long as that is wanting
    asked = [n for n in METHODS if n != "union" or not hasattr(si, "Portfolio")] if names is None else names
    absent = {
        name: "not in this version of sparseinv: " + ", ".join(METHODS[name].missing)
        for name in asked
        if METHODS[name].missing
    }
    return [name for name in asked if name not in absent], absent

"""Our solvers on three seeded problems, timed: what ``sparseinv bench`` runs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import sparseinv as si
from sparseinv.seismic.wavelets import ricker

Array = np.ndarray[Any, Any]
MAX_TIME = 10.0  # a solve may take [s]


@dataclass(frozen=True)
class Timing:
    """Hold what one solver needed for one problem.

    Attributes
    ----------
    problem, solver : str
        What was solved, and by what.
    first : float
        Wall time [s] of the first solve, with the loading (or compiling) of loops.
    seconds : float
        Median wall time [s] of the solves after it.
    products : int
        Products with A and A^H, those for certificates included.
    nonzeros : int
        Coefficients that are not zero.
    status, certificate : str
        How the solver ended, and what its certificate proves.
    """

    problem: str
    solver: str
    first: float
    seconds: float
    products: int
    nonzeros: int
    status: str
    certificate: str

    def __str__(self) -> str:
        return (
            f"{self.problem:<26}{self.solver:<20}{self.first:>9.3f}{1e3 * self.seconds:>12.2f}"
            f"{self.products:>10}{self.nonzeros:>10}  {self.status:<10}  {self.certificate}"
        )


HEADING = (
    f"{'problem':<26}{'solver':<20}{'first s':>9}{'median ms':>12}{'products':>10}{'non-zeros':>10}"
    f"  {'status':<10}  certificate"
)


def time_solvers(*, size: str = "m", seed: int = 0, repeats: int = 3) -> Iterator[Timing]:
    """Time four solvers on three L1 problems, one row after the other.

    Every problem is minimise ``1/2 ||A x - b||^2 + lam ||x||_1`` at a tenth of lam_max ("gaussian", random
    and dense; "deconvolution", a Ricker wavelet of 25 Hz at 2 ms; "sparse", a random sparse matrix), every
    solve runs to the default tolerance with the threads the process has.

    Parameters
    ----------
    size : {"s", "m"}
        Milliseconds a solve, or tenths of a second.
    seed : int
        Seed of matrices and data.
    repeats : int
        Solves after the first one, of which the median is taken.

    Yields
    ------
    Timing
        One row a problem and solver.

    Examples
    --------
    >>> from sparseinv.problems.timing import time_solvers
    >>> rows = list(time_solvers(size="s", repeats=1))
    >>> len(rows), {row.status for row in rows}
    (12, {'CONVERGED'})
    """
    if size not in _SIZES:
        raise ValueError(f"size is {size!r}, but 's' or 'm' is needed")
    if repeats < 1:
        raise ValueError(f"repeats is {repeats}, but it must be at least 1")
    solvers: list[si.Solver | str] = ["auto", si.WorkingSet(), si.FISTA(), si.CoordinateDescent()]
    for name, make in _PROBLEMS.items():
        A, b = make(_SIZES[size], np.random.default_rng(seed))
        penalty = si.L1(0.1 * si.lam_max(A, b, si.L1()))
        for solver in solvers:
            runs = [si.solve(A, b, penalty, solver=solver, max_time=MAX_TIME) for _ in range(repeats + 1)]
            last = runs[-1]
            yield Timing(
                f"{name} {A.shape[0]} x {A.shape[1]}",
                f"auto: {last.solver!r}" if solver == "auto" else repr(solver),
                runs[0].seconds,
                statistics.median(run.seconds for run in runs[1:]),
                last.products.total,
                int(last.support.size),
                last.status.name,
                str(last.certificate),
            )


def _gaussian(size: int, rng: np.random.Generator) -> tuple[Any, Array]:
    m, n = size // 3, size
    A = np.asfortranarray(rng.standard_normal((m, n)))
    return A, _data(A, n // 50, rng)


def _deconvolution(size: int, rng: np.random.Generator) -> tuple[Any, Array]:
    from scipy.linalg import toeplitz

    n = size // 3
    wavelet = ricker(25.0, 0.002)[0]
    half = wavelet.size // 2
    column = np.zeros(n)
    column[: half + 1] = wavelet[half:]
    A = np.asfortranarray(toeplitz(column))
    return A, _data(A, n // 20, rng)


def _sparse(size: int, rng: np.random.Generator) -> tuple[Any, Array]:
    from scipy import sparse

    m, n = size // 2, 4 * size
    count = 10 * n
    entries = (rng.standard_normal(count), (rng.integers(m, size=count), np.arange(count) // 10))
    A = sparse.csc_array(entries, shape=(m, n))
    return A, _data(A, n // 100, rng)


def _data(A: Any, nonzeros: int, rng: np.random.Generator) -> Array:
    m, n = A.shape
    x = np.zeros(n)
    x[rng.choice(n, nonzeros, replace=False)] = rng.standard_normal(nonzeros)
    b = A @ x
    return np.asarray(b + 0.1 * np.linalg.norm(b) / math.sqrt(m) * rng.standard_normal(m))


_SIZES = {"s": 300, "m": 3000}
_PROBLEMS: dict[str, Callable[[int, np.random.Generator], tuple[Any, Array]]] = {
    "gaussian": _gaussian,
    "deconvolution": _deconvolution,
    "sparse": _sparse,
}

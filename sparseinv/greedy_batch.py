"""Orthogonal matching pursuit of many right-hand sides on one Gram matrix (Batch-OMP)."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from sparseinv.certificate import Certificate, Kind
from sparseinv.columns import Columns
from sparseinv.counted_operator import Products
from sparseinv.driver import left_undone
from sparseinv.exact_columns import SAME
from sparseinv.operators.matrix import ExplicitMatrix
from sparseinv.problem import Units
from sparseinv.result import Result, Status
from sparseinv.solvers.greedy import OMP
from sparseinv.stopping import History
from sparseinv.support_moves import DEPENDENT

Array = np.ndarray[Any, Any]

WIDTH = 128  # columns taken together: enough for matrix products, few enough to share among threads

_LARGEST = 4000  # largest n whose Gram matrix is formed
_FEW = 32  # fewer columns are solved one by one, which needs no further kernel
_PAYS = 40  # the Gram matrix pays from n / _PAYS columns on
_MOST = 320  # largest support
_BLOCK = 256  # columns that are compared with all others at once
_PAIRS = 2000  # of almost equal columns among them and all others that are looked at one by one
_WORK = 1e8  # multiplications after which a call of the kernel ends
_EXACT = 1e-13  # of ||b||: correlations below are rounding, because those of the Gram matrix are of b's size


def fits(columns: Columns) -> bool:
    """Tell whether the columns are best pursued through one Gram matrix."""
    problem, count = columns.problem, columns.B.shape[1]
    most = getattr(problem.penalty, "k", 0)
    plain = columns.solver == OMP() and not columns.single and columns.X0 is None and columns.lams is None
    enough = columns.max_iter is None or columns.max_iter >= most
    if not plain or not enough or not 0 < most <= _MOST or problem.penalty.nonnegative:
        return False
    if problem.unpenalised.size or problem.penalty.excluded.any():
        return False
    real = problem.explicit and problem.dtype.kind != "c"
    return real and problem.m > 0 and count >= _FEW and 0 < problem.n <= min(_LARGEST, _PAYS * count)


@dataclass(eq=False)
class _Found:
    """What the kernel found for a few columns, in the working units of each."""

    counts: Array  # columns chosen
    exponents: Array  # powers of two between the data and B
    misfits: Array  # 1/2 ||A x - b||^2
    gains: Array  # what the best exchange gains
    squares: Array  # ||b||^2
    seconds: float  # per column

    def certificate(self, c: int, a_exponent: int) -> Certificate:
        """Return what the best exchange says of a column."""
        units = Units(int(self.exponents[c]), a_exponent)
        misfit, gain, square = float(self.misfits[c]), float(self.gains[c]), float(self.squares[c])
        kind = Kind.SWAP_MINIMUM if misfit > 0.0 else Kind.DUALITY_GAP
        gain = gain if misfit > 0.0 else 0.0
        relative = 0.0 if gain == 0.0 else gain / (0.5 * square) if square > 0.0 else math.inf
        total = units.objective(misfit)
        bound = total if kind is Kind.DUALITY_GAP else -math.inf
        return Certificate(kind, units.objective(gain), units.objective(0.5 * square), relative, total, bound)


class GreedyGram:
    """Hold A^T A and what else all columns share."""

    def __init__(self, columns: Columns) -> None:
        problem = columns.problem
        assert isinstance(problem.operator.inner, ExplicitMatrix)
        self.columns, self.problem, self.matrix = columns, problem, problem.operator.inner
        gram = np.asarray(problem.operator.gram())
        self.gram = gram.T if gram.flags.c_contiguous else np.asfortranarray(gram)
        self.norms = problem.column_norms
        self.squares = self.norms**2
        positive = self.squares > 0.0
        self.inverse = np.where(positive, 1.0 / np.where(positive, self.squares, 1.0), 0.0)
        self.most = min(problem.penalty.k, problem.m, problem.n)
        self.twins = self._twins()

    def _twins(self) -> Array:
        """Return the mask of the columns that are almost another one, which the Gram matrix takes for one."""
        from sparseinv.kernels.greedy import near_pairs

        n, twins = self.squares.size, np.zeros(self.squares.size, dtype=bool)
        share, pairs = 1.0 - DEPENDENT, np.empty((_PAIRS, 2), dtype=np.int64)
        for low in range(0, n, _BLOCK):
            high = min(low + _BLOCK, n)
            found = near_pairs(self.gram, self.norms, low, high, share, pairs)
            if found > _PAIRS:  # too many to look at: all of them are taken for twins
                at = np.arange(low, high)
                both = self.norms[at, None] * self.norms
                near = (np.abs(self.gram[at]) >= share * both) & (both > 0.0) & (at[:, None] < np.arange(n))
                twins[at] |= near.any(axis=1)
                twins |= near.any(axis=0)
                continue
            for i, j in pairs[:found]:
                if not (twins[i] and twins[j]):
                    first, second = self.matrix.columns(np.array([i, j])).T
                    left = second - (first @ second) / (first @ first) * first
                    if np.linalg.norm(left) > SAME * np.linalg.norm(second):
                        twins[[i, j]] = True
        return twins

    def solve(self, part: range) -> list[int]:
        """Solve a few columns and keep their results; return those that are left to be solved singly."""
        from sparseinv.kernels.greedy import BLOCK, LANES, pursue

        columns, began = self.columns, time.perf_counter()
        m, n, count, most = self.problem.m, self.problem.n, len(part), self.most
        B = columns.B[:, part.start : part.stop]
        exponents = np.frexp(np.abs(B).max(axis=0, initial=0.0))[1].astype(np.int64)
        with np.errstate(under="ignore"):
            data = np.asfortranarray(np.ldexp(B, -exponents), dtype=np.float64)
        squares = np.einsum("ij,ij->j", data, data)
        C = np.ascontiguousarray(data.T @ self.matrix.array, dtype=np.float64)
        supports, values = np.zeros((count, most), dtype=np.int64), np.zeros((count, most))
        counts, misfits, gains = np.zeros(count, dtype=np.int64), np.zeros(count), np.zeros(count)
        scratch = (
            np.empty(n), np.empty(n), np.empty((most, n)), np.empty(most), np.empty((most, most)),
            np.empty(BLOCK), np.empty(n), np.empty(LANES), np.empty(m),
        )  # fmt: skip
        done, inside = 0, np.zeros(n, dtype=np.bool_)
        while done < count and not columns.ended:
            done = pursue(
                self.gram, self.norms, self.squares, self.inverse, C, data, self.matrix.layout, most,
                _EXACT * np.sqrt(squares), done, count, _WORK, scratch, inside, supports, values,
                counts, misfits, gains,
            )  # fmt: skip
        a_exponent = self.problem.units.a_exponent
        with np.errstate(under="ignore", over="ignore"):
            outer = np.ldexp(values, (exponents - a_exponent)[:, None])
        used = np.arange(most) < counts[:, None]
        sane = (
            (counts >= 0)
            & ~(self.twins[supports] & used).any(axis=1)
            & np.isfinite(outer).all(axis=1)
            & np.isfinite(C).all(axis=1)
        )
        left = [part[c] for c in np.flatnonzero(~sane[:done])]
        found = _Found(
            counts, exponents, misfits, gains, squares, (time.perf_counter() - began) / max(done, 1)
        )
        with columns._keeping:
            kept = [c for c in np.flatnonzero(sane[:done]).tolist() if columns.results[part[c]] is None]
            at, places = np.array(kept, dtype=np.int64), np.nonzero(used[kept])
            chosen = at[places[0]], places[1]
            columns.X[supports[chosen], part.start + chosen[0]] = outer[chosen]
            for c in kept:
                columns.results[part[c]] = partial(self._result, found, c, part[c])
        return left

    def _result(self, found: _Found, c: int, j: int) -> Result:
        columns, tol = self.columns, self.columns.stopping.tol
        certificate, k = found.certificate(c, self.problem.units.a_exponent), int(found.counts[c])
        proven, solver = certificate.relative <= tol, columns.solver
        assert isinstance(solver, OMP)
        return Result(
            x=columns.X[:, j], status=Status.CONVERGED if proven else Status.EXHAUSTED,
            certificate=certificate, objective=certificate.objective, lam=None, n_iter=k,
            seconds=found.seconds, history=History(),
            products=Products(setup=1, certificate=1, forward=1, adjoint=1), solver=solver,
            reason="all columns share A^T A", tol=tol,
            detail="" if proven else left_undone(solver, k, certificate),
        )  # fmt: skip

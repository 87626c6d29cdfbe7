"""The fast regime of many right-hand sides: real data, L1 or elastic net, one Gram matrix for all."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sparseinv.certificate import Certificate, DualPair, Kind, certify_problem
from sparseinv.operators.matrix import ExplicitMatrix
from sparseinv.penalties.separable import Separable
from sparseinv.problem import Problem, Units
from sparseinv.solvers.base import Solver, refuse

Array = np.ndarray[Any, Any]

WIDTH = 32  # columns taken together: enough for matrix products, few enough to share among threads

_LARGEST = 3000  # largest n whose Gram matrix is formed
_FEW = 32  # fewer columns are solved one by one, which needs no further kernel
_PAYS = 40  # the Gram matrix pays from n / _PAYS columns on
_MOST = 320  # largest support the kernel treats
_WORK = 1e8  # multiplications (10 ms) after which a call of the kernel ends; one column takes 4e8 at most
_PROBED = 4  # if the kernel gives up on most of as many, it is spared the rest of those taken together
_ROUNDS = 100
_GOAL = 0.3  # share of the tolerance at which the kernel stops


@dataclass(frozen=True, repr=False)
class GramNewton(Solver):
    """Name the method in results: entry by steepest gain and sign-fixed Newton steps on A^T A."""

    def check(self, problem: Problem) -> None:
        """Refuse: `solve_many` alone runs it, by itself."""
        raise refuse(self, "is how solve_many treats many columns at once by itself", "WorkingSet")


@dataclass(eq=False)
class Found:
    """What the kernel found for a few columns.

    X holds the answers (user's units), or starts where a column was not tried; n_iter tells what was done,
    sane whether all numbers lie in the range of floating point, better also that X has a lower objective
    than zero. Certificates are None where a column is not sane or was not tried.
    """

    X: Array
    n_iter: Array
    sane: Array
    better: Array
    certificates: list[Certificate | None]


@dataclass(eq=False)
class Block:
    """A few columns, each in its own working units, and what fresh products say about X.

    data (m, k), X (n, k); factors (2, k): levels over those of the unit penalty; exponents: powers of two
    between data and B; squares: ||b||^2; sane: whether all of this lies in the range of floating point.
    R = A X - data, C = A^T R, objective and gap are filled in by `Levels.judge`.
    """

    data: Array
    X: Array
    factors: Array
    exponents: Array
    squares: Array
    sane: Array
    R: Array = field(init=False)
    C: Array = field(init=False)
    objective: Array = field(init=False)
    gap: Array = field(init=False)


def fits(problem: Problem, k: int) -> bool:
    """Tell whether k columns are best solved through one Gram matrix."""
    penalty = problem.penalty
    if not problem.explicit or problem.dtype.kind == "c" or not isinstance(penalty, Separable):
        return False
    if k < _FEW or not penalty.convex or not 0 < problem.n <= min(_LARGEST, _PAYS * k):
        return False
    held = penalty.excluded | penalty.unpenalised
    free = int(np.count_nonzero(penalty.unpenalised))
    return bool((penalty.l1[~held] > 0).all()) and not bool(held.all()) and free <= _MOST // 2


class Levels:
    """Judge several columns at once: a matrix in memory, real data, a separable convex penalty.

    Parameters
    ----------
    problem : Problem
        A and the penalty at level 1, in working units.
    unit : Separable
        The penalty at level 1, user's units.
    """

    def __init__(self, problem: Problem, unit: Separable) -> None:
        assert isinstance(problem.operator.inner, ExplicitMatrix)
        self.problem, self.matrix = problem, problem.operator.inner
        self.unit1 = np.where(unit.excluded, np.inf, unit.l1)
        self.unit2 = np.where(unit.excluded, 0.0, unit.l2)
        self.nonnegative = unit.nonnegative

    def block(self, B: Array, levels: Array, X0: Array | None) -> Block:
        """Return the columns of B, user's units, at ``levels`` times the unit penalty."""
        n, k, a_exponent = self.problem.n, B.shape[1], self.problem.units.a_exponent
        exponents = np.frexp(np.abs(B).max(axis=0, initial=0.0))[1].astype(np.int64)
        with np.errstate(under="ignore", over="ignore"):
            first = np.ldexp(levels, -exponents - a_exponent)
            factors = np.stack([first, np.ldexp(levels, np.full(k, -2 * a_exponent))])
            data = np.asfortranarray(np.ldexp(B, -exponents), dtype=np.float64)
            X = np.zeros((n, k), order="F")
            if X0 is not None:
                X[:] = np.where(np.isinf(self.unit1)[:, None], 0.0, np.ldexp(X0, a_exponent - exponents))
                if self.nonnegative:
                    np.maximum(X, 0.0, out=X)
        sane = np.isfinite(factors).all(axis=0) & (factors > 0).all(axis=0) & np.isfinite(X).all(axis=0)
        squares = np.where(sane, np.einsum("ij,ij->j", data, data), 0.0)
        factors[:, ~sane] = 1.0
        X[:, squares == 0.0] = 0.0
        return Block(data, X, factors, exponents, squares, sane)

    def outer(self, block: Block, single: Callable[[Array], Array] | None) -> Array:
        """Return X in the user's units; single: casts a column, which X then follows."""
        a_exponent = self.problem.units.a_exponent
        with np.errstate(under="ignore", over="ignore"):
            outer = np.ldexp(block.X, block.exponents - a_exponent)
            if single is not None:
                for c in range(block.X.shape[1]):
                    outer[:, c] = single(outer[:, c])
                    block.X[:, c] = np.ldexp(outer[:, c], int(a_exponent - block.exponents[c]))
        block.sane &= np.isfinite(outer).all(axis=0)
        return np.asarray(outer)

    def judge(self, block: Block) -> None:
        """Form residuals, gradients, objectives and gaps; gaps are infinite if columns are unpenalised."""
        from sparseinv.kernels.judge import judge_traces

        moved = block.X.any()
        block.R = np.asfortranarray(self.matrix.matmat(block.X) - block.data if moved else -block.data)
        block.C = np.asfortranarray(self.matrix.rmatmat(block.R))
        block.objective, block.gap = np.zeros(block.sane.size), np.full(block.sane.size, np.inf)
        judge_traces(
            block.X, block.R, block.C, block.data, self.unit1, self.unit2, block.factors, self.nonnegative,
            block.objective, block.gap,
        )  # fmt: skip
        if self.problem.unpenalised.size:
            block.gap[:] = np.inf

    def certificate(self, block: Block, c: int) -> Certificate:
        """Return the certificate of column c with the residual scaled as its dual point."""
        units = Units(int(block.exponents[c]), self.problem.units.a_exponent)
        gap, objective, scale = float(block.gap[c]), float(block.objective[c]), 0.5 * float(block.squares[c])
        relative = gap / scale if gap > 0.0 and scale > 0.0 else (0.0 if gap == 0.0 else math.inf)
        outer, total = units.objective(gap), units.objective(objective)
        bound = total - outer if math.isfinite(outer) else -math.inf
        return Certificate(Kind.DUALITY_GAP, outer, units.objective(scale), relative, total, bound)


class SharedGram(Levels):
    """Hold A^T A and what else all columns share; parameters as for `Levels`."""

    def __init__(self, problem: Problem, unit: Separable) -> None:
        super().__init__(problem, unit)
        gram = np.asarray(problem.operator.gram())
        self.gram = gram.T if gram.flags.c_contiguous else np.asfortranarray(gram)
        norms = problem.column_norms
        self.inverse = np.divide(1.0, norms, out=np.zeros(problem.n), where=norms > 0)

    def solve(
        self, B: Array, levels: Array, X0: Array | None, tol: float, limit: int | None,
        single: Callable[[Array], Array] | None, ended: Callable[[], bool], at: Callable[[int], Problem],
    ) -> Found:  # fmt: skip
        """Solve the columns of B, user's units, at ``levels`` times the unit penalty.

        limit: most rounds. single: casts an answer to single precision. ended: whether to stop early.
        at(c): the problem of column c, for the certificates that need more than the scaled residual.
        """
        from sparseinv.kernels.batch import solve_traces

        k, block = B.shape[1], self.block(B, levels, X0)
        block.X[:, ~block.sane] = 0.0
        rounds = np.zeros(k, dtype=np.int64)
        most = min(_MOST, self.problem.n + 1)
        Q = np.asfortranarray(self.matrix.rmatmat(block.data))
        goals = _GOAL * tol * 0.5 * block.squares
        following, last = 0, min(_PROBED, k)
        while following < last and not ended():
            following = solve_traces(
                self.gram, self.inverse, self.unit1, self.unit2, self.nonnegative, Q, block.squares,
                block.factors, goals, block.X, rounds, following, last, _WORK, most,
                _ROUNDS if limit is None else min(limit, _ROUNDS),
            )  # fmt: skip
            if following == last < k:
                hopeless = (rounds < 0) & (rounds > (-math.inf if limit is None else -limit))
                last = k if 2 * np.count_nonzero(hopeless) <= _PROBED else last
        outer = self.outer(block, single)
        self.judge(block)
        certificates = [
            self._judged(block, c, bool(rounds[c] < 0), tol, ended, at)
            if block.sane[c] and c < following
            else None
            for c in range(k)
        ]
        better = block.sane & (block.objective < 0.5 * block.squares)
        return Found(outer, np.abs(rounds), block.sane, better, certificates)

    def _judged(
        self, block: Block, c: int, given_up: bool, tol: float, ended: Callable[[], bool],
        at: Callable[[int], Problem],
    ) -> Certificate | None:  # fmt: skip
        """Return the certificate of column c; a refit, which is costly, only where it may help."""
        certificate = self.certificate(block, c)
        if certificate.relative <= tol:
            return certificate
        hurried = given_up or ended()
        if hurried and self.problem.unpenalised.size == 0:
            return certificate
        x, r = np.ascontiguousarray(block.X[:, c]), np.ascontiguousarray(block.R[:, c])
        pair = DualPair(r, np.ascontiguousarray(block.C[:, c]))
        return certify_problem(at(c), x, r=r, dual=pair, refit=not hurried, target=tol)

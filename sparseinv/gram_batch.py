"""The fast regime of many right-hand sides: real data, L1 or elastic net, one Gram matrix for all."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparseinv.certificate import Certificate, DualPair, Kind, certify_problem
from sparseinv.operators.matrix import ExplicitMatrix
from sparseinv.penalties.separable import Separable
from sparseinv.problem import Problem, Units

Array = np.ndarray[Any, Any]

WIDTH = 32  # columns taken together: enough for matrix products, few enough to share among threads

_LARGEST = 3000  # largest n whose Gram matrix is formed
_FEW = 32  # fewer columns are solved one by one, which needs no further kernel
_PAYS = 40  # the Gram matrix pays from n / _PAYS columns on
_MOST = 320  # largest support the kernel treats
_WORK = 1e8  # multiplications per call of the kernel: about a tenth of a second
_ROUNDS = 100
_GOAL = 0.3  # share of the tolerance at which the kernel stops


@dataclass(frozen=True)
class GramNewton:
    """Name the method in results: entry by steepest gain and sign-fixed Newton steps on A^T A."""


@dataclass(eq=False)
class Found:
    """What the kernel found for a few columns.

    X holds the answers (user's units), tried and n_iter what was done, certificates None where a column
    was not tried or its numbers leave the range of floating point.
    """

    X: Array
    tried: Array
    n_iter: Array
    certificates: list[Certificate | None]


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


class SharedGram:
    """Hold A^T A and what else all columns share.

    Parameters
    ----------
    problem : Problem
        A and the penalty at level 1, in working units.
    """

    def __init__(self, problem: Problem, unit: Separable) -> None:
        assert isinstance(problem.operator.inner, ExplicitMatrix)
        self.problem, self.matrix = problem, problem.operator.inner
        gram = np.asarray(problem.operator.gram())
        self.gram = gram.T if gram.flags.c_contiguous else np.asfortranarray(gram)
        norms = problem.column_norms
        self.inverse = np.divide(1.0, norms, out=np.zeros(problem.n), where=norms > 0)
        excluded = unit.excluded
        self.unit1 = np.where(excluded, np.inf, unit.l1)
        self.unit2 = np.where(excluded, 0.0, unit.l2)
        self.nonnegative = unit.nonnegative

    def solve(
        self, B: Array, levels: Array, X0: Array | None, tol: float, limit: int | None,
        single: Callable[[Array], Array] | None, ended: Callable[[], bool], at: Callable[[int], Problem],
    ) -> Found:  # fmt: skip
        """Solve the columns of B, user's units, at ``levels`` times the unit penalty.

        limit: most rounds. single: casts an answer to single precision. ended: whether to stop early.
        at(c): the problem of column c, for the certificates that need more than the scaled residual.
        """
        from sparseinv.kernels.batch import solve_traces

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
        X[:, ~sane] = 0.0
        rounds = np.zeros(k, dtype=np.int64)
        most = min(_MOST, n + 1)
        Q = np.asfortranarray(self.matrix.rmatmat(data))
        goals = _GOAL * tol * 0.5 * squares
        following = 0
        while following < k and not ended():
            following = solve_traces(
                self.gram, self.inverse, self.unit1, self.unit2, self.nonnegative, Q, squares, factors, goals,
                X0 is not None, X, rounds, following, _WORK, most,
                _ROUNDS if limit is None else min(limit, _ROUNDS),
            )  # fmt: skip
        tried = sane & (np.arange(k) < following)
        with np.errstate(under="ignore", over="ignore"):
            outer = np.ldexp(X, exponents - a_exponent)
            if single is not None:
                for c in range(k):
                    outer[:, c] = single(outer[:, c])
                    X[:, c] = np.ldexp(outer[:, c], int(a_exponent - exponents[c]))
        tried &= np.isfinite(outer).all(axis=0)
        certificates = self._judge(X, data, factors, exponents, squares, tried, tol, at)
        return Found(outer, tried, np.abs(rounds), certificates)

    def _judge(
        self, X: Array, data: Array, factors: Array, exponents: Array, squares: Array, tried: Array,
        tol: float, at: Callable[[int], Problem],
    ) -> list[Certificate | None]:  # fmt: skip
        """Return the certificates, from fresh residuals."""
        from sparseinv.kernels.judge import judge_traces

        R = np.asfortranarray(self.matrix.matmat(X) - data)
        C = np.asfortranarray(self.matrix.rmatmat(R))
        objective, gap = np.zeros(tried.size), np.full(tried.size, np.inf)
        if self.problem.unpenalised.size == 0:
            judge_traces(X, R, C, data, self.unit1, self.unit2, factors, self.nonnegative, objective, gap)
        certificates: list[Certificate | None] = []
        for c in range(tried.size):
            certificate = None
            if tried[c]:
                certificate = _certificate(
                    float(objective[c]), float(gap[c]), 0.5 * float(squares[c]),
                    Units(int(exponents[c]), self.problem.units.a_exponent),
                )  # fmt: skip
                if not certificate.relative <= tol:
                    x, r = np.ascontiguousarray(X[:, c]), np.ascontiguousarray(R[:, c])
                    pair = DualPair(r, np.ascontiguousarray(C[:, c]))
                    certificate = certify_problem(at(c), x, r=r, dual=pair, refit=True, target=tol)
            certificates.append(certificate)
        return certificates


def _certificate(objective: float, gap: float, scale: float, units: Units) -> Certificate:
    """Return the certificate of a gap in working units."""
    relative = gap / scale if gap > 0.0 and scale > 0.0 else (0.0 if gap == 0.0 else math.inf)
    outer, total = units.objective(gap), units.objective(objective)
    bound = total - outer if math.isfinite(outer) else -math.inf
    return Certificate(Kind.DUALITY_GAP, outer, units.objective(scale), relative, total, bound)

"""Folds of a tall matrix without its rows: for all x ``||A_f x - b_f|| = ||R_f x - c_f||``, n + 1 rows.

One Gram matrix of (A, b) per fold is formed from the rows that it leaves out. Those of the other folds add
up, without cancellation, to the Gram matrix of the rows that it keeps, whose Cholesky factor is R_f.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sparseinv.operators.base import Operator
from sparseinv.operators.matrix import DenseMatrix
from sparseinv.problem import Problem

Array = np.ndarray[Any, Any]

TALL = 3  # rows per column from which on the factor pays
WIDEST = 2000  # columns up to which
_MOST_FOLDS = 32
_INDEPENDENT = 1e-4  # least pivot of the factor of columns of norm one; squares lose twice its digits


def pays(problem: Problem, rows: list[Array]) -> bool:
    """Tell whether a fold is better solved through its Gram matrix than on a copy of its rows."""
    penalty, count = problem.penalty, len(rows)
    return (
        isinstance(problem.operator.inner, DenseMatrix)
        and problem.dtype.kind != "c"
        and problem.units.a_exponent == 0
        and 0 < problem.n <= WIDEST
        and min(problem.m - part.size for part in rows) >= max(TALL, count) * problem.n
        and count <= _MOST_FOLDS
        and bool(getattr(penalty, "convex", False))
        and problem.unpenalised.size == 0
    )


class FoldGrams:
    """Hold the Gram matrices (A_k, b_k)^T (A_k, b_k) of the rows that each fold leaves out.

    Parameters
    ----------
    problem : Problem
        All rows, in working units.
    rows : list of ndarray
        The rows that each fold leaves out.
    """

    def __init__(self, problem: Problem, rows: list[Array]) -> None:
        inner = problem.operator.inner
        assert isinstance(inner, DenseMatrix)
        self.parts = [inner.rows(part) for part in rows]
        self._grams = [part.array.T @ part.array for part in self.parts]
        left = [problem.b[part] for part in rows]
        self._products = [part.array.T @ b for part, b in zip(self.parts, left, strict=True)]
        self._squares = [float(b @ b) for b in left]

    def kept(self, k: int) -> tuple[Array, Array, float]:
        """Return (A^T A, A^T b, ||b||^2) of the rows that fold k keeps."""
        others = [j for j in range(len(self._grams)) if j != k]
        gram = self._grams[others[0]].copy()
        for j in others[1:]:
            gram += self._grams[j]
        q = np.sum([self._products[j] for j in others], axis=0)
        return gram, q, sum(self._squares[j] for j in others)

    def reduced(self, k: int) -> tuple[Operator, Array] | None:
        """Return (R, c) of fold k, shapes (n + 1, n) and (n + 1,).

        None where the columns are too close to dependent for squares of their entries.
        """
        found = triangular(*self.kept(k))
        return None if found is None else (DenseMatrix(found[0]), found[1])


def triangular(gram: Array, q: Array, square: float) -> tuple[Array, Array] | None:
    """Return (R, c), shapes (n + 1, n) and (n + 1,), with ||R x - c|| = ||A x - b|| for all x.

    ``gram`` = A^T A, which is overwritten, q = A^T b, ``square`` = ||b||^2. None where the columns are too
    close to dependent for squares of their entries.
    """
    from scipy.linalg.lapack import dpotrf, dtrtrs

    n = q.size
    norms = np.sqrt(np.diag(gram))
    unit = np.where(norms > 0, norms, 1.0)
    gram /= unit
    gram /= unit[:, None]
    gram[np.arange(n), np.arange(n)] = 1.0  # also for empty columns
    upper, info = dpotrf(gram, lower=0, clean=1, overwrite_a=0)
    if info != 0 or np.diag(upper).min() < _INDEPENDENT:
        return None
    c = dtrtrs(upper, q / unit, lower=0, trans=1)[0]
    R = np.zeros((n + 1, n), order="F")
    np.multiply(upper, norms, out=R[:n])
    rest = np.sqrt(max(square - float(c @ c), 0.0))
    return R, np.append(c, rest)

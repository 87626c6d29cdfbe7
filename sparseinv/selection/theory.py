"""The largest useful lambda, and when per-coefficient lambdas are a rescaling of columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.intercept import Intercept
from sparseinv.operators.adapt import as_operator, system
from sparseinv.operators.base import Operator
from sparseinv.operators.matrix import DenseMatrix, ExplicitMatrix
from sparseinv.penalties.base import Leveled, Penalty
from sparseinv.penalties.nonconvex import Concave
from sparseinv.penalties.separable import L1, L2, Separable
from sparseinv.problem import Problem

Array = np.ndarray[Any, Any]


def lam_max(A: Any, b: Any, penalty: Penalty, *, intercept: bool = False) -> float:
    """Return the smallest lam from which on all penalised coefficients are zero.

    Parameters
    ----------
    A : array_like, sparse container or operator, shape (m, n)
        The matrix or linear operator.
    b : array_like, shape (m,)
        The data.
    penalty : Penalty
        With ``lam=None`` the level itself is returned; with lam set, the factor t for which t * lam is
        the threshold. Weights, groups, zero and infinite levels and signs are respected.
    intercept : bool
        Whether a constant is fitted as well, as by ``solve(..., intercept=True)``: b counts without its mean.

    Returns
    -------
    float
        L1: max |a_j^H b| / w_j with b projected off the unpenalised columns; ElasticNet: the same over
        l1_ratio; GroupL1: by group norms; nonnegative: max(0, a_j^T b) / w_j; L2: inf; L0: the
        coordinate-wise max |a_j^H b|^2 / (2 ||a_j||^2 w_j), from which on no *single* coefficient
        improves on x = 0 (a pair of them still can); Lp, LogSum, MCP, SCAD: the same, by their own rules.

    Raises
    ------
    TypeError
        The penalty has no level (your own penalties, balls).

    Notes
    -----
    Cost: one product with A^H; for nonconvex penalties also the column norms, n products where a
    matrix-free A does not know them.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> si.lam_max(np.eye(2), np.array([3.0, -4.0]), si.L1())
    4.0
    """
    validation.refuse_class(penalty, Penalty, "penalty", "...")
    if not isinstance(penalty, Leveled):
        raise TypeError(
            f"penalty is {penalty!r}, which has no level; L1, L2, L0, ElasticNet and GroupL1 have one"
        )
    operator, vector = system(A, b)
    added = Intercept.of(intercept, penalty, operator.shape[1])
    problem = Problem(added.operator(operator), vector, added.penalty(penalty))
    if problem.scale == 0.0:
        return 0.0
    return level_of_zero(problem)


def level_of_zero(problem: Problem) -> float:
    """Return the factor on the problem's penalty from which on x = 0, in the user's units."""
    bound = problem.penalty
    c = problem.gradient(problem.project(problem.b))
    alone = isinstance(bound, Concave) or (isinstance(bound, Separable) and not bound.convex)
    norms = problem.reduced_norms if alone else None
    if norms is not None:
        c = np.where(norms > 0.0, c, 0.0)  # rounding, where unpenalised columns explain one entirely
    return float(bound.lam_max(c, norms))


def build(A: Any, b: Any, penalty: Penalty, *, rng: Any = None, check_operator: bool = True) -> Problem:
    """Validate the data and return the problem."""
    operator, b = system(A, b)
    return Problem(operator, b, penalty, rng=rng, check_operator=check_operator)


@dataclass(frozen=True)
class Rescaled:
    """A problem with one common level that has the same minimiser as the one with many.

    Attributes
    ----------
    A : ndarray, sparse container or Operator
        The matrix with its columns divided.
    penalty : Penalty
        The same penalty with lam = 1.
    factors : ndarray, shape (n,)
        x = factors * y recovers the original solution from the rescaled one.
    """

    A: Any
    penalty: Penalty
    factors: Array

    def recover(self, y: Array) -> Array:
        """Return the solution of the original problem from the rescaled one's."""
        return np.asarray(self.factors * np.asarray(y))


def rescale_problem(A: Any, penalty: Penalty) -> Rescaled:
    """Turn one lambda per coefficient into one common lambda by dividing columns.

    ``sum_i lam_i |x_i|^q`` becomes ``sum_i |y_i|^q`` with y_i = lam_i^(1/q) x_i, so column i is divided
    by lam_i for L1 and by sqrt(lam_i) for L2.

    Parameters
    ----------
    A : array_like, sparse container or operator, shape (m, n)
        The matrix or linear operator.
    penalty : L1 or L2
        With finite, positive levels.

    Returns
    -------
    Rescaled
        With fields A, penalty, factors and the method recover(y).

    Raises
    ------
    ValueError
        The equivalence is false: L0 does not see sizes, so no rescaling changes its levels; a level of
        0 or inf has no finite factor; elastic nets and groups tie two levels to one scale.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> A, b = np.array([[2.0, 1.0], [0.0, 3.0]]), np.array([1.0, 2.0])
    >>> one = si.rescale_problem(A, si.L2([4.0, 0.25]))
    >>> y = si.solve(one.A, b, one.penalty).x
    >>> np.allclose(one.recover(y), si.solve(A, b, si.L2([4.0, 0.25])).x)
    True
    """
    if not isinstance(penalty, (L1, L2)):
        raise ValueError(
            f"penalty is {type(penalty).__name__}, for which levels are no rescaling of columns: only L1 "
            "(1/lam) and L2 (1/sqrt(lam)) have that equivalence; L0 counts coefficients whatever their size"
        )
    operator = as_operator(A)
    level = penalty.levels(operator.shape[1])
    bad = ~((level > 0) & np.isfinite(level))
    if bad.any():
        j = int(np.argmax(bad))
        raise ValueError(f"lam is {level[j]} for coefficient {j}, but only finite lam > 0 is a rescaling")
    factors = 1.0 / level if isinstance(penalty, L1) else 1.0 / np.sqrt(level)
    common = penalty.replace(lam=1.0, groups=None, weights=None)
    return Rescaled(_divided(operator, factors), common, factors)


def _divided(operator: Operator, factors: Array) -> Any:
    if isinstance(operator, DenseMatrix):
        return operator.array * factors
    if isinstance(operator, ExplicitMatrix):
        scaled = operator.array.copy()
        scaled.data = scaled.data * np.repeat(factors, np.diff(scaled.indptr))
        return scaled
    from sparseinv.operators.algebra import Composition
    from sparseinv.operators.matrix import Diagonal

    return Composition(operator, Diagonal(factors))

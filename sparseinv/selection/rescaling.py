"""The same problem in other units: lambdas as column lengths; normalised columns, mean losses as lambdas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.operators.adapt import as_operator
from sparseinv.operators.base import Operator
from sparseinv.operators.matrix import DenseMatrix, ExplicitMatrix
from sparseinv.penalties.balls import L0Ball
from sparseinv.penalties.base import Leveled, Penalty
from sparseinv.penalties.group import Grouped, GroupL1
from sparseinv.penalties.separable import L0, L1, L2, ElasticNet, Separable
from sparseinv.problem import Problem

Array = np.ndarray[Any, Any]

_SAME = 1e-12  # relative difference of numbers that count as equal
_CANCELLED = 1e-3  # share of the mean square at which a variance, formed as a difference, is too inexact
_BLOCK = 64  # columns looked at together


@dataclass(frozen=True)
class Rescaled:
    """A problem with one common level that has the same minimiser as the one with many.

    Attributes
    ----------
    A : ndarray, sparse container or Operator
        The matrix with its columns divided.
    penalty : Penalty
        The same kind of penalty with one level: lam = 1, or for elastic nets an L1 part of level 1.
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
    """Turn many lambdas into one common lambda by dividing columns, where that is the same problem.

    ``sum_i lam_i |x_i|^q`` becomes ``sum_i |y_i|^q`` with y_i = lam_i^(1/q) x_i, so column i is divided
    by lam_i for L1 and by sqrt(lam_i) for L2; all columns of a group of GroupL1 by lam_g. An elastic net has
    two levels and one length: only where l2_i = c l1_i^2 for one c does 1 / l1_i suit both.

    Parameters
    ----------
    A : array_like, sparse container or operator, shape (m, n)
        The matrix or linear operator.
    penalty : L1, L2, GroupL1 or ElasticNet
        With finite, positive levels: one, one per coefficient, or one per group.

    Returns
    -------
    Rescaled
        With fields A (a copy), penalty, factors and the method recover(y).

    Raises
    ------
    ValueError
        The equivalence is false: L0 does not see sizes, so no rescaling changes its levels; a level of
        0 or inf has no finite factor; the two levels of an elastic net ask for different factors.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> A, b = np.array([[2.0, 1.0], [0.0, 3.0]]), np.array([1.0, 2.0])
    >>> one = si.rescale_problem(A, si.L2([4.0, 0.25]))
    >>> y = si.solve(one.A, b, one.penalty).x
    >>> np.allclose(one.recover(y), si.solve(A, b, si.L2([4.0, 0.25])).x)
    True
    """
    validation.refuse_class(penalty, Penalty, "penalty", "...")
    if not isinstance(penalty, (L1, L2, GroupL1, ElasticNet)):
        raise ValueError(
            f"penalty is {type(penalty).__name__}, for which levels are no rescaling of columns: only L1 "
            "(1/lam), L2 (1/sqrt(lam)), GroupL1 (1/lam_g) and elastic nets with l2 = c l1^2 have that "
            "equivalence; L0 counts coefficients whatever their size"
        )
    operator = as_operator(A)
    bound = penalty.bind(operator.shape[1])
    level = _levels(penalty, bound)
    bad = ~((level > 0) & np.isfinite(level))
    if bad.any():
        j = int(np.argmax(bad))
        raise ValueError(f"lam is {level[j]} for coefficient {j}, but only finite lam > 0 is a rescaling")
    factors = 1.0 / np.sqrt(level) if isinstance(penalty, L2) else 1.0 / level
    common = penalty.replace(lam=1.0, weights=None)
    if isinstance(penalty, ElasticNet) and isinstance(bound, Separable):
        ridge = _common_ridge(level, bound.l2)
        common = common.replace(lam=1.0 + ridge, l1_ratio=1.0 / (1.0 + ridge), ridge_weights=None)
    if not isinstance(penalty, GroupL1):
        common = common.replace(groups=None)
    return Rescaled(_divided(operator, factors), common, factors)


def _levels(penalty: Leveled, bound: Separable | Grouped) -> Array:
    if isinstance(bound, Grouped):
        return bound.level
    return bound.l2 if isinstance(penalty, L2) else bound.l1


def _common_ridge(l1: Array, l2: Array) -> float:
    """Return the c of l2 = c l1^2, or refuse."""
    ratio = l2 / l1 / l1
    if ratio.size and ratio.max() - ratio.min() > _SAME * ratio.max():
        j, k = int(np.argmin(ratio)), int(np.argmax(ratio))
        raise ValueError(
            "penalty is an ElasticNet whose levels are no rescaling of columns: that takes l2 = c l1^2 with "
            f"one c, but l2 / l1^2 is {ratio[j]:.6g} for coefficient {j} and {ratio[k]:.6g} for {k}"
        )
    return float(ratio[0]) if ratio.size else 0.0


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


def scale_penalty(A: Any, penalty: Leveled, *, scaling: str = "sum", normalize: str = "none") -> Leveled:
    """Return the penalty whose lam is meant for a mean loss or for normalised columns, without touching A.

    With y the coefficients of the columns a_j / d_j, x_j = y_j / d_j: the problem in y is that in x with
    weights d_j (L1), d_j^2 (L2), both (elastic net), or none (L0). A loss 1/(2 m) ||A x - b||^2 is the
    problem with all weights times m. The solution x, the residual and the certificate are those of A as it
    is; lam stays in the unit it was given in.

    Parameters
    ----------
    A : array_like, sparse container or operator, shape (m, n)
        The matrix or linear operator.
    penalty : L0, L1, L2, ElasticNet, GroupL1 or L0Ball
        With or without lam; its own weights stay as further factors, on the normalised columns.
    scaling : "sum" or "mean"
        "mean": lam is meant for 1/(2 m) ||A x - b||^2, as in scikit-learn's Lasso.
    normalize : "none", "columns" or "std"
        "columns": lam is meant for columns of length one, d_j = ||a_j||. "std": for columns of standard
        deviation one, d_j^2 = mean |a_ij - mean_i a_ij|^2.

    Returns
    -------
    Penalty
        A penalty of the same kind for A as it is, to be given to any function of this package.

    Raises
    ------
    ValueError
        GroupL1 with columns of different lengths in a group: norms of normalised groups are no multiples of
        norms of groups, so divide the columns of A.

    Notes
    -----
    d_j = 0 counts as 1: such a column is zero, or constant. "std" divides only. Packages that standardise
    also subtract means, which with an intercept (a column of ones whose lam is 0) changes nothing but the
    intercept, and without one would be another problem. Cost: the column norms (n products where a
    matrix-free A does not know them); "std" one product with A^H more, and columns whose mean exceeds
    thirty times their deviation are read.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> A, b = np.array([[3.0, 0.0], [4.0, 0.1]]), np.array([1.0, 2.0])
    >>> on_unit_columns = si.solve(A / [5.0, 0.1], b, si.L1(0.5)).x / [5.0, 0.1]
    >>> np.allclose(si.solve(A, b, si.scale_penalty(A, si.L1(0.5), normalize="columns")).x, on_unit_columns)
    True
    """
    _one_of(scaling, ("sum", "mean"), "scaling")
    _one_of(normalize, ("none", "columns", "std"), "normalize")
    validation.refuse_class(penalty, Penalty, "penalty", "...")
    if isinstance(penalty, L0Ball):
        return penalty
    if not isinstance(penalty, (L0, L1, L2, ElasticNet, GroupL1)):
        raise TypeError(
            f"penalty is {penalty!r}, but L0, L1, L2, ElasticNet or GroupL1 is needed: their levels follow A"
        )
    operator = as_operator(A)
    m, n = operator.shape
    penalty.bind(n)
    factor = float(max(m, 1)) if scaling == "mean" else 1.0
    d = np.ones(n) if normalize == "none" else _lengths(operator, normalize)
    if isinstance(penalty, GroupL1):
        return penalty.replace(weights=_own(penalty.weights) * factor * _per_group(penalty, d))
    if isinstance(penalty, L0):
        weights = penalty.weights if factor == 1.0 else _own(penalty.weights) * factor
        l1 = None if penalty.l1 is None else penalty.l1 * (factor * d)
        l2 = None if penalty.l2 is None else penalty.l2 * (factor * d**2)
        return penalty.replace(weights=weights, l1=l1, l2=l2)
    if normalize == "none":
        own: Any = {"weights": _own(penalty.weights) * factor}
        if isinstance(penalty, ElasticNet) and penalty.ridge_weights is not None:
            own["ridge_weights"] = penalty.ridge_weights * factor
        return penalty.replace(**own)
    weights = _spread(penalty, penalty.weights, n)
    if isinstance(penalty, ElasticNet):
        ridge = weights if penalty.ridge_weights is None else _spread(penalty, penalty.ridge_weights, n)
        ridge = np.where(np.isfinite(ridge), ridge, 0.0) * (factor * d**2)
        return penalty.replace(weights=weights * (factor * d), ridge_weights=ridge)
    return penalty.replace(weights=weights * (factor * (d**2 if isinstance(penalty, L2) else d)))


def _one_of(value: Any, allowed: tuple[str, ...], name: str) -> None:
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} is {value!r}, but one of {', '.join(map(repr, allowed))} is needed")


def _own(weights: Any) -> Any:
    return 1.0 if weights is None else np.asarray(weights)


def _spread(penalty: Leveled, weights: Any, n: int) -> Array:
    """Return the weights, one per coefficient."""
    return penalty.replace(lam=None, weights=weights).levels(n)


def _per_group(penalty: GroupL1, d: Array) -> Array | float:
    """Return the one length of the columns of every group, or refuse."""
    index, labels = penalty.grouping(d.size)
    assert index is not None
    low, high = np.full(labels.size, np.inf), np.zeros(labels.size)
    np.minimum.at(low, index, d)
    np.maximum.at(high, index, d)
    mixed = high - low > _SAME * high
    if mixed.any():
        k = int(np.argmax(mixed))
        raise ValueError(
            f"normalize is no weight for GroupL1: group {labels[k]!s} holds columns of lengths {low[k]:.6g} "
            f"to {high[k]:.6g}; divide the columns of A, or give every group one weight"
        )
    return high


def _lengths(operator: Operator, normalize: str) -> Array:
    """Return the length or standard deviation of every column, 1 in place of 0."""
    m, n = operator.shape
    if m == 0 or n == 0:
        return np.ones(n)
    problem = Problem(operator, np.zeros(m), L1(1.0), check_operator=False)
    length = problem.column_norms
    if normalize == "std":
        mean = np.conj(problem.operator.rmatvec(np.ones(m))) / m
        square = length**2 / m
        variance = np.maximum(square - np.abs(mean) ** 2, 0.0)
        doubtful = np.flatnonzero((variance <= _CANCELLED * square) & (square > 0))
        for start in range(0, doubtful.size, _BLOCK):
            index = doubtful[start : start + _BLOCK]
            variance[index] = np.var(problem.operator.columns(index), axis=0)
        # what is left of a constant column is rounding
        constant = variance <= (m * np.finfo(np.float64).eps) ** 2 * square
        length = np.sqrt(np.where(constant, 0.0, variance))
    length = np.ldexp(length, problem.units.a_exponent)
    return np.where(length > 0, length, 1.0)

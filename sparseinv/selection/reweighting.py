"""Second looks at a solution: weights that follow it, and coefficients that are no longer shrunk."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.operators.adapt import as_operator
from sparseinv.result import Result

Array = np.ndarray[Any, Any]


def adaptive_weights(x: Any, *, power: float = 1.0, floor: float = 0.01, groups: Any = None) -> Array:
    """Return weights 1 / (|x_j| / max |x| + floor)^power, times a constant that makes the least one 1.

    ``solve(A, b, L1(weights=adaptive_weights(first.x)))`` is the adaptive lasso [1]_: coefficients that were
    large are shrunk less, so that fewer remain. Repeated, it is reweighted L1.

    Parameters
    ----------
    x : array_like, shape (n,), or Result
        A first solution.
    power : float
        Larger: sharper.
    floor : float
        Weight of what was zero: 1 / floor^power at most, however small the others are.
    groups : array_like, shape (n,), optional
        A label per coefficient: weights of shape (K,) from the norms of the groups over sqrt(size).

    Returns
    -------
    ndarray
        Weights >= 1, all 1 for x = 0; they do not depend on the scale of x.

    References
    ----------
    .. [1] H. Zou, The adaptive lasso and its oracle properties, J. Am. Stat. Assoc. 101 (2006) 1418-1429,
       doi:10.1198/016214506000000735.

    Examples
    --------
    >>> adaptive_weights([2.0, 1.0, 0.0], floor=0.1)
    array([ 1.        ,  1.833...,  11.        ])
    """
    first = validation.numeric(x.x if isinstance(x, Result) else x, "x")
    first = validation.candidate(first, first.size)
    power, floor = validation.positive(power, "power"), validation.positive(floor, "floor")
    size = np.abs(first)
    if groups is not None:
        labels, index = np.unique(validation.group_labels(groups, first.size), return_inverse=True)
        counts = np.bincount(index, minlength=labels.size)
        largest = float(size.max(initial=0.0)) or 1.0
        size = np.sqrt(np.bincount(index, weights=(size / largest) ** 2, minlength=labels.size) / counts)
    largest = float(size.max(initial=0.0))
    if largest == 0.0:
        return np.ones(size.size)
    return np.asarray(((1.0 + floor) / (size / largest + floor)) ** power)


def refit(A: Any, b: Any, x: Any, *, share: float = 1.0) -> Array:
    """Return share times the least-squares fit on the support of x, plus 1 - share times x.

    Takes the shrinkage of L1 off again (debiasing; between 0 and 1 the relaxed lasso [1]_). The support is
    not tested, and the fit has the minimum norm where its columns are dependent.

    Parameters
    ----------
    A : array_like, sparse container or operator, shape (m, n)
        The matrix; the columns of the support are laid out densely.
    b : array_like, shape (m,)
        The data.
    x : array_like, shape (n,), or Result
        The solution.
    share : float
        From 0, x itself, to 1, the fit.

    References
    ----------
    .. [1] T. Hastie, R. Tibshirani, R. Tibshirani, Best subset, forward stepwise or lasso? Stat. Sci. 35
       (2020) 579-592, doi:10.1214/19-STS733.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> A, b = np.eye(3), np.array([3.0, 0.2, -1.0])
    >>> refit(A, b, si.solve(A, b, si.L1(0.5)))
    array([ 3.,  0., -1.])
    """
    from scipy.linalg import lstsq

    operator = as_operator(A)
    vector = validation.right_hand_side(b, operator.shape[0])
    first = validation.candidate(x.x if isinstance(x, Result) else x, operator.shape[1])
    part = validation.real_number(share, "share")
    if not 0.0 <= part <= 1.0:
        raise ValueError(f"share is {part}, but it must lie in [0, 1]")
    support = np.flatnonzero(first)
    out = (1.0 - part) * first
    if support.size:
        fitted = lstsq(operator.columns(support), vector, check_finite=False)[0]
        out = out.astype(np.result_type(out, fitted))
        out[support] += part * fitted
    return np.asarray(out)

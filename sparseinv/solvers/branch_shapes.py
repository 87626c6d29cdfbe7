"""How the curvature of a quadratic is shared out to its coefficients, and how large these can be."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_LIMIT = 1e8  # of the inverse of H at equal norms, beyond which bounds would lose too many digits
_MARGIN = 1e-9  # what is taken off the diagonal and added to the sizes, against rounding
_STEPS = 30  # of Newton's method
_LAST = 1e-3  # weight of the barrier at the end
_SHRINK = 0.15  # of the weight, when a level of it is done
_WHOLE = 400  # connected coefficients up to which the share of each is optimised


class Shape:
    """Curvatures d and sizes top for the coefficients K of a node, with a bound from least squares.

    H_KK - diag(d) is positive semidefinite, and every point of the node that is better than the incumbent
    has |x_j| <= top_j.
    """

    def __init__(self, d: Array, top: Array, floor: float) -> None:
        self.d, self.top, self.floor = d, top, floor


def shape(H: Array, c: Array, scale: float, lam: Array, inside: Array, upper: float) -> Shape | None:
    """Return the shape of a node; None where H is not positive definite.

    Parameters
    ----------
    H : ndarray, shape (k, k)
        A_K^T A_K + diag(l2_K) for the coefficients that are not excluded.
    c : ndarray, shape (k,)
        A_K^T b.
    scale : float
        1/2 ||b||^2.
    lam, inside : ndarray, shape (k,)
        What a non-zero costs, and the mask of those that have to be non-zero.
    upper : float
        The objective of the incumbent.
    """
    from scipy.linalg.lapack import dpotri

    if not (np.diag(H) > 0.0).all():
        return None
    size = np.sqrt(np.diag(H))
    normed = H / np.outer(size, size)
    factor = _factor(normed, np.zeros(len(H)))
    if factor is None:
        return None
    inverse = dpotri(factor, lower=1)[0]
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    if not inverse.diagonal().max(initial=0.0) < _LIMIT:
        return None
    t = inverse @ (c / size)
    t += inverse @ (c / size - normed @ t)
    floor = scale - 0.5 * float(t @ (c / size)) + float(lam[inside].sum())
    left = upper * (1.0 + 1e-12) - floor + _MARGIN * scale - np.where(inside, 0.0, lam)
    reach = np.sqrt(2.0 * np.maximum(left, 0.0) * inverse.diagonal())
    top = (np.abs(t) + reach) * (1.0 + _MARGIN)
    top[left <= 0.0] = 0.0
    d = curvatures(normed, np.where(inside, 0.02, 1.0))
    return Shape(d * size**2, top / size, floor)


def curvatures(H: Array, weights: Array) -> Array:
    """Return d >= 0 with H - diag(d) positive semidefinite and sum weights_j d_j about as large as it can be.

    H has a unit diagonal. Coefficients that H does not connect are treated apart.
    """
    d = np.zeros(weights.size)
    for part in components(H):
        d[part] = _shares(H[np.ix_(part, part)], weights[part])
    return d


def components(H: Array) -> list[Array]:
    """Return the sets of coefficients that H connects."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    # what is left out is made up for by the margin
    linked = np.abs(H) > 0.01 * _MARGIN / max(len(H), 1)
    if linked[:1].all():
        return [np.arange(len(H))]
    number, label = connected_components(csr_array(linked), directed=False)
    order = np.argsort(label, kind="stable")
    return np.split(order, np.cumsum(np.bincount(label, minlength=number))[:-1])


def _shares(H: Array, weights: Array) -> Array:
    k = weights.size
    if k == 1:
        return np.array([1.0 - _MARGIN])
    lowest = float(np.linalg.eigvalsh(H)[0]) - _MARGIN
    if not lowest > 0.0:
        return np.zeros(k)
    d = np.full(k, lowest)
    if k > _WHOLE:
        return d
    # Newton's method on sum w d + mu (log det(H - diag(d)) + sum log d), mu falling
    from scipy.linalg.lapack import dposv, dpotri

    d *= 0.5
    w = weights / weights.mean()
    mu = 1.0
    factor = _factor(H, d)
    assert factor is not None, "half of the lowest eigenvalue leaves a definite rest"
    above = np.triu_indices(k, 1)
    for _ in range(_STEPS):
        S = dpotri(factor, lower=1)[0]
        S[above] = S.T[above]
        gradient = w - mu * S.diagonal() + mu / d
        curvature = mu * (S * S)
        curvature.ravel(order="K")[:: k + 1] += mu / d**2
        step, failed = dposv(curvature, gradient, lower=1)[1:]
        if failed:
            break
        decrement = float(step @ gradient)
        length, factor = _length(H, d, step, factor)
        d = d + length * step
        if decrement < 0.3 * mu * k or length < 0.05:
            if mu <= _LAST:
                break
            mu *= _SHRINK
    return np.maximum(d - _MARGIN, 0.0)


def _factor(H: Array, d: Array) -> Array | None:
    """Return the lower Cholesky factor of H - diag(d), F-ordered; None where that is not definite."""
    from scipy.linalg.lapack import dpotrf

    rest = np.array(H, order="F")
    rest.ravel(order="K")[:: d.size + 1] -= d
    factor, failed = dpotrf(rest, lower=1, clean=1, overwrite_a=1)
    return None if failed else factor


def _length(H: Array, d: Array, step: Array, factor: Array) -> tuple[float, Array]:
    """Return how far a step may go with H - diag(d) definite and d positive, and the factor there."""
    length = 1.0
    for _ in range(40):
        trial = d + length * step
        if (trial > 0.0).all():
            found = _factor(H, trial)
            if found is not None:
                return length, found
        length *= 0.6
    return 0.0, factor

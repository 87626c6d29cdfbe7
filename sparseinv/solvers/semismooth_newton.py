"""Semismooth Newton augmented Lagrangian method for the lasso in terms of its Gram matrix."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

# thresholds tuned on the benchmark grid, in one place
_SIGMA_START, _SIGMA_GROWTH = 100.0, 10.0  # proximal parameter
_REFUSALS = 4  # steps that raise the objective after which it gives up
_OUTER, _INNER = 30, 50  # most steps


def semismooth_newton(
    gram: Array, q: Array, b2: float, l1: Array, l2: Array, nonnegative: bool, start: Array,
    target: float, deadline: float,
) -> tuple[float, Array]:  # fmt: skip
    """Minimise ``1/2 x^T G x - q^T x + sum_j l1_j |x_j| + l2_j x_j^2 / 2``; return (gap, x).

    ``b2`` is ||b||^2, of which the gap is made up. The cost depends on how many coefficients are active,
    not on how their signs churn [1]_.

    References
    ----------
    .. [1] X. Li, D. Sun, K.-C. Toh, SIAM J. Optim. 28 (2018) 433-458, doi:10.1137/16M1097572.
    """
    from scipy.linalg.lapack import dposv

    from sparseinv.kernels.descent import gram_gap

    k = q.size
    sigma = _SIGMA_START / max(float(np.median(np.diag(gram))), 1e-300)
    x, w = start.copy(), start.copy()
    gap, lowest, refused = np.inf, _value(x, gram @ x, q, l1, l2), 0
    for _ in range(_OUTER):
        if time.perf_counter() > deadline:
            break
        # u = b - A_T w is the dual variable, so A_T^T u = q - G w
        for _ in range(_INNER):
            h = q - gram @ w
            v = x + sigma * h
            size = v if nonnegative else np.abs(v)
            kept = np.maximum(size - sigma * l1, 0.0) / (1.0 + sigma * l2)
            z = np.sign(v) * kept
            e = z - w
            image = gram @ e
            # A_T e is the (negative) gradient of the dual function; its norm is e^T G e
            if e @ image <= 1e-4 * max(float((z - x) @ (z - x)) / sigma, 1e-30 * b2):
                break
            live = np.flatnonzero(kept > 0.0)
            direction = e
            if live.size:
                H = np.asfortranarray(gram[np.ix_(live, live)])
                H[np.arange(live.size), np.arange(live.size)] += 1.0 / sigma + l2[live]
                _, y, info = dposv(H, image[live], lower=1, overwrite_a=1)
                if info != 0:
                    break
                direction = e.copy()
                direction[live] -= y
            moved = gram @ direction
            before = _dual_value(q, w, h, x, sigma, l1, l2, nonnegative)
            slope = -float(image @ direction)
            t = 1.0
            for _ in range(20):
                trial = _dual_value(q, w + t * direction, h - t * moved, x, sigma, l1, l2, nonnegative)
                if trial <= before + 1e-4 * t * slope + 1e-15 * abs(before):
                    break
                t *= 0.5
            w = w + t * direction
        image = gram @ z
        value = _value(z, image, q, l1, l2)
        if not value <= lowest + 1e-15 * b2:
            # the inner system has become too ill-conditioned for this sigma
            refused += 1
            if refused == _REFUSALS:
                break
            sigma /= _SIGMA_GROWTH**2
            w = x.copy()
            continue
        x, lowest = z, value
        gap = gram_gap(k, x, image - q, q, b2, l1, l2, nonnegative)
        if gap <= target:
            break
        sigma *= _SIGMA_GROWTH
    return float(gap), x


def _value(x: Array, image: Array, q: Array, l1: Array, l2: Array) -> float:
    size = np.abs(x)
    return float(x @ (0.5 * image - q) + size @ (l1 + 0.5 * l2 * size))


def _dual_value(
    q: Array, w: Array, h: Array, x: Array, sigma: float, l1: Array, l2: Array, nonnegative: bool
) -> float:
    """Return 1/2 ||u||^2 - b^T u + the Moreau term, less constants, for u = b - A_T w, h = A_T^T u."""
    v = x + sigma * h
    size = v if nonnegative else np.abs(v)
    kept = np.maximum(size - sigma * l1, 0.0)
    # ||b - A w||^2 / 2 - b^T (b - A w) = w^T G w / 2 - const, and G w = q - h
    moreau = float((kept**2 / (1.0 + sigma * l2)).sum()) / (2.0 * sigma)
    return 0.5 * float(w @ (q - h)) + moreau

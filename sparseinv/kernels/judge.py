"""Duality gaps of many columns at once, from residuals and gradients formed by matrix products."""

from __future__ import annotations

import numpy as np

from sparseinv.kernels.jit import kernel

FAST = {"reassoc", "contract", "nsz"}


@kernel(fastmath=FAST)
def dual_scale(x, c, bar, ridge, slope, curvature, nonnegative):
    """Return the s in [0, limit] that maximises the dual value of -s r; c = A^T r, bar and ridge are levels.

    The dual value is slope s - curvature s^2 / 2 - sum (s size_j - bar_j)_+^2 / (2 ridge_j).
    """
    if not slope > 0.0:
        return 0.0
    n = x.size
    limit = np.inf
    smooth = False
    for j in range(n):
        size = max(-c[j], 0.0) if nonnegative else abs(c[j])
        if ridge[j] > 0.0:
            smooth = True
        elif bar[j] > 0.0 and size * limit > bar[j]:
            limit = bar[j] / size
    s = min(slope / curvature, limit) if curvature > 0.0 else limit
    if not s < np.inf:
        s = 1.0
    if not smooth:
        return s
    low, high = 0.0, s
    for _ in range(60):
        derivative, second = slope - curvature * s, curvature
        for j in range(n):
            if ridge[j] > 0.0:
                size = max(-c[j], 0.0) if nonnegative else abs(c[j])
                over = s * size - bar[j]
                if over > 0.0:
                    derivative -= over * size / ridge[j]
                    second += size * size / ridge[j]
        if derivative >= 0.0:
            low = s
            if s == high:
                break
        else:
            high = s
        following = s + derivative / second if second > 0.0 else high
        if not (low <= following <= high):
            following = 0.5 * (low + high)
        if abs(following - s) <= 1e-15 * s:
            break
        s = following
    return s


@kernel()
def judge_traces(X, R, C, B, unit1, unit2, factors, nonnegative, objective, gap):
    """Write the objective and the duality gap of every column of X, for R = A X - B and C = A^T R.

    The dual point is the residual scaled; all terms of the gap are >= 0. Levels of column c
    are factors[0, c] * unit1 (inf: excluded) and factors[1, c] * unit2; no column of A is unpenalised.
    """
    n, total = X.shape
    bar, ridge = np.empty(n), np.empty(n)
    for c in range(total):
        x, g, r, b = X[:, c], C[:, c], R[:, c], B[:, c]
        slope, curvature = 0.0, 0.0
        for i in range(r.size):
            slope -= b[i] * r[i]
            curvature += r[i] * r[i]
        broken = False
        penalty = 0.0
        for j in range(n):
            bar[j], ridge[j] = factors[0, c] * unit1[j], factors[1, c] * unit2[j]
            if x[j] != 0.0:
                size = abs(x[j])
                penalty += size * (bar[j] + 0.5 * ridge[j] * size)
                broken = broken or not bar[j] < np.inf or (nonnegative and x[j] < 0.0)
        objective[c] = 0.5 * curvature + penalty
        if broken:
            gap[c] = np.inf
            continue
        s = dual_scale(x, g, bar, ridge, slope, curvature, nonnegative)
        value = 0.5 * (1.0 - s) ** 2 * curvature
        for j in range(n):
            size = s * (max(-g[j], 0.0) if nonnegative else abs(g[j]))
            term = 0.0
            if x[j] != 0.0:
                term = abs(x[j]) * (bar[j] + 0.5 * ridge[j] * abs(x[j])) + s * x[j] * g[j]
            if ridge[j] > 0.0 and size > bar[j]:
                term += (size - bar[j]) ** 2 / (2.0 * ridge[j])
            if not term <= 0.0:  # a NaN must not pass for zero
                value += term
        gap[c] = min(value, objective[c]) if value == value else np.inf

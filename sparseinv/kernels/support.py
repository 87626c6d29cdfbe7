"""Exact changes of the objective when a support gains, loses or exchanges one coefficient.

For a support S with k places, H = (A_S^H A_S + diag(ridge))^{-1}, ``T`` = H A_S^H A, ``beta`` the
coefficients fitted to S, ``g`` = A^H (b - A_S beta) and ``d`` the squared norms of what S leaves of every
column, ridge included. Rows of T beyond k are free places. Real and complex data.
"""

from __future__ import annotations

import numpy as np

from sparseinv.kernels.jit import kernel

REDUCE = {"reassoc", "contract"}
BLOCK = 512  # columns looked at together: their gains stay in the nearest cache
DEPENDENT = 1e-10  # share of its squared norm below which a column counts as explained by the support


@kernel()
def square(z):
    """Return |z|^2."""
    return (z * np.conj(z)).real


@kernel()
def best_move(T, H, beta, g, d, squares, cost, support, inside, stays, k, may_add, may_remove, gains, which):
    """Return (gain, i, j) of the best move: place i leaves (-1: none does), column j enters (-1: none does).

    gain is by how much the objective falls after a full refit; -inf where no move is allowed. Columns that
    ``stays`` marks do not leave. ``gains`` and ``which`` are scratch of BLOCK entries.
    """
    best = -np.inf
    leaves = -1
    enters = -1
    if may_remove:
        for i in range(k):
            if stays[support[i]]:
                continue
            gain = cost[support[i]] - 0.5 * square(beta[i]) / H[i, i].real
            if gain > best:
                best, leaves = gain, i
    for low in range(0, g.size, BLOCK):
        high = min(low + BLOCK, g.size)
        gs, ds, full, costs = g[low:high], d[low:high], squares[low:high], cost[low:high]
        for j in range(gs.size):
            free = may_add and ds[j] > DEPENDENT * full[j]
            gains[j] = 0.5 * square(gs[j]) / ds[j] - costs[j] if free else -np.inf
            which[j] = -1
        for i in range(k):
            if stays[support[i]]:
                continue
            bend = 1.0 / H[i, i].real
            turn = beta[i] * bend
            base = cost[support[i]] - 0.5 * square(beta[i]) * bend
            ts = T[i, low:high]
            for j in range(gs.size):
                t = ts[j]
                left = ds[j] + bend * square(t)
                slope = gs[j] + turn * np.conj(t)
                gain = 0.5 * square(slope) / left + base - costs[j]
                better = left > DEPENDENT * full[j] and gain > gains[j]
                gains[j] = gain if better else gains[j]
                which[j] = i if better else which[j]
        for j in range(gs.size):
            if gains[j] > best and not inside[low + j]:
                best, leaves, enters = gains[j], which[j], low + j
    return best, leaves, enters


@kernel(fastmath=REDUCE)
def insert(T, H, beta, g, d, k, j, column, at, shift):
    """Let column j enter at place k.

    ``column`` = A^H a_j with ridge_j added to entry j, and ``at`` its entries on S; both are overwritten.
    The coefficient is fitted to a_j^H b - ``shift``.
    """
    p = g.size
    for i in range(k):
        ts = T[i]
        a = at[i]
        for q in range(p):
            column[q] -= a * np.conj(ts[q])
    pivot = column[j].real
    slope = g[j] - shift
    for q in range(p):
        column[q] /= pivot
    for i in range(k):
        ts = T[i]
        share = ts[j]
        at[i] = share
        for q in range(p):
            ts[q] -= share * np.conj(column[q])
    last = T[k]
    for q in range(p):
        t = column[q]
        last[q] = np.conj(t)
        g[q] -= slope * t
        d[q] -= pivot * (t * np.conj(t)).real
    for i in range(k):
        for u in range(k):
            H[i, u] += at[i] * np.conj(at[u]) / pivot
        H[i, k] = -at[i] / pivot
        H[k, i] = np.conj(H[i, k])
        beta[i] -= at[i] * slope / pivot
    H[k, k] = 1.0 / pivot
    beta[k] = slope / pivot


@kernel(fastmath=REDUCE)
def delete(T, H, beta, g, d, k, i):
    """Let place i leave; the last place moves into it."""
    p = g.size
    h = H[i, i].real
    turn = beta[i] / h
    gone = T[i]
    for q in range(p):
        t = gone[q]
        g[q] += turn * np.conj(t)
        d[q] += (t * np.conj(t)).real / h
    for u in range(k):
        if u != i:
            share = H[u, i] / h
            ts = T[u]
            for q in range(p):
                ts[q] -= share * gone[q]
            beta[u] -= H[u, i] * turn
    for u in range(k):
        if u != i:
            for q in range(k):
                if q != i:
                    H[u, q] -= H[u, i] * H[i, q] / h
    last = k - 1
    if i != last:
        T[i, :] = T[last, :]
        beta[i] = beta[last]
        for u in range(k):
            H[i, u] = H[last, u]
        for u in range(k):
            H[u, i] = H[u, last]

"""Exact changes of the objective when a support gains, loses or exchanges one coefficient.

For a support S with k places, H = (A_S^H A_S + diag(ridge))^{-1}, ``T`` = H A_S^H A, ``beta`` the
coefficients fitted to S, ``g`` = A^H (b - A_S beta) and ``d`` the squared norms of what S leaves of every
column, ridge included. Rows of T beyond k are free places. Real and complex data.

Walks make moves on a Gram matrix, where every coefficient counts: ``fit`` = (T, H, beta, g, d, support,
inside) changes; ``fixed`` = (gram, squares, ridge, cost, correlations, stays), row j of gram being A^H a_j;
``scratch`` = (column, at, gains, which).
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


@kernel()
def make(fit, fixed, scratch, k, leaves, enters):
    """Change the support and return its size; -1 stands for no column."""
    T, H, beta, g, d, support, inside = fit
    gram, _squares, ridge, _cost, _correlations, _stays = fixed
    column, at, _gains, _which = scratch
    if leaves >= 0:
        delete(T, H, beta, g, d, k, leaves)
        inside[support[leaves]] = False
        k -= 1
        support[leaves] = support[k]
    if enters >= 0:
        column[:] = gram[enters]
        column[enters] += ridge[enters]
        for i in range(k):
            at[i] = column[support[i]]
        insert(T, H, beta, g, d, k, enters, column, at, 0.0)
        support[k] = enters
        inside[enters] = True
        k += 1
    return k


@kernel()
def descend(fit, fixed, scratch, k, limit, largest, least, rounds):
    """Make up to ``rounds`` best moves that gain over ``least``; return (k, moves made, none is left)."""
    T, H, beta, g, d, support, inside = fit
    _gram, squares, _ridge, cost, _correlations, stays = fixed
    _column, _at, gains, which = scratch
    for made in range(rounds):
        gain, leaves, enters = best_move(
            T, H, beta, g, d, squares, cost, support, inside, stays, k, k < limit and k < largest, True,
            gains, which,
        )  # fmt: skip
        if not gain > least:
            return k, made, True
        k = make(fit, fixed, scratch, k, leaves, enters)
    return k, rounds, False


@kernel()
def trim(fit, fixed, scratch, k, limit):
    """Remove what costs least until no more than ``limit`` are inside; return how many are."""
    _T, H, beta, _g, _d, support, _inside = fit
    _gram, _squares, _ridge, cost, _correlations, stays = fixed
    while k > limit:
        best, place = -np.inf, -1
        for i in range(k):
            gain = cost[support[i]] - 0.5 * square(beta[i]) / H[i, i].real
            if not stays[support[i]] and gain > best:
                best, place = gain, i
        if place < 0:
            break
        k = make(fit, fixed, scratch, k, place, -1)
    return k


@kernel()
def level(fit, fixed, k):
    """Return the objective less 1/2 ||b||^2."""
    _T, _H, beta, _g, _d, support, _inside = fit
    _gram, _squares, _ridge, cost, correlations, _stays = fixed
    total = 0.0
    for i in range(k):
        j = support[i]
        total += cost[j] - 0.5 * (np.conj(correlations[j]) * beta[i]).real
    return total


@kernel()
def best_exchanges(fit, fixed, k, gains, enters):
    """Write the best exchange for every place: what it gains, -inf for none, and the column that enters."""
    T, H, beta, g, d, support, inside = fit
    _gram, squares, _ridge, cost, _correlations, stays = fixed
    for i in range(k):
        gains[i], enters[i] = -np.inf, -1
        if stays[support[i]]:
            continue
        bend = 1.0 / H[i, i].real
        turn, ts = beta[i] * bend, T[i]
        for j in range(g.size):
            if inside[j]:
                continue
            left = d[j] + bend * square(ts[j])
            if left > DEPENDENT * squares[j]:
                gain = 0.5 * square(g[j] + turn * np.conj(ts[j])) / left - cost[j]
                if gain > gains[i]:
                    gains[i], enters[i] = gain, j
        gains[i] += cost[support[i]] - 0.5 * square(beta[i]) * bend


@kernel()
def copied(k, source, target):
    """Copy a fit."""
    for i in range(k):
        target[0][i], target[2][i], target[5][i] = source[0][i], source[2][i], source[5][i]
        target[1][i, :k] = source[1][i, :k]
    target[3][:], target[4][:], target[6][:] = source[3], source[4], source[6]


@kernel()
def chain(fit, saved, fixed, scratch, k, order, enters, limit, largest, least, rounds):
    """Try exchanges in turn, each followed by a few moves; return (k, moves made).

    ``order`` holds the places that leave. Where none led lower the fit is as before, and no move was made.
    """
    before = level(fit, fixed, k)
    copied(k, fit, saved)
    for place in order:
        reached = make(fit, fixed, scratch, k, place, enters[place])
        reached, made, _ = descend(fit, fixed, scratch, reached, limit, largest, least, rounds)
        if level(fit, fixed, reached) < before - least:
            return reached, made + 1
        copied(k, saved, fit)
    return k, 0

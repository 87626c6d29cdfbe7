"""Moves between supports whose coefficients have levels l1 |x| or must not be negative.

The problem on few coefficients is solved by pivots on the tableau of its Gram matrix G: with B the
coefficients that are not zero, N the others, W_BB = G_BB^{-1}, W_BN = G_BB^{-1} G_BN and W_NN = G_NN -
G_NB G_BB^{-1} G_BN. A pivot moves one coefficient from N to B or back at K^2 multiplications. The tableau
of a support with one more column lies ready: H, a column of T and an entry of d, in the names of
`sparseinv.kernels.support`.

With the signs of the fitted coefficients held fixed, l1 |x| is replaced by a linear function below it. So
the gain of a move judged by the quadratic alone bounds the true one from above, and is the true one where
the signs stay: few moves need a fit of their own.
"""

from __future__ import annotations

import numpy as np

from sparseinv.kernels.jit import kernel

BLOCK = 512  # columns looked at together: their gains stay in the nearest cache
DEPENDENT = 1e-10  # share of its squared norm below which a column counts as explained by the support
ROUNDING = 1e-13  # violations of the optimality conditions below this, relative, are none


@kernel()
def pivot(W, inside, p, size):
    """Move coefficient p into the support, or out of it."""
    w = W[p, p]
    entering = not inside[p]
    sign = 1.0 if entering else -1.0
    for u in range(size):
        if u == p:
            continue
        share = W[u, p] / w
        for v in range(size):
            if v == p:
                continue
            if inside[u] and inside[v]:
                W[u, v] += sign * share * W[p, v]
            elif inside[u] or inside[v]:
                W[u, v] -= share * W[p, v]
            else:
                W[u, v] -= sign * share * W[p, v]
    for u in range(size):
        if u != p:
            W[u, p] = -W[u, p] / w if inside[u] else W[u, p] / w
            W[p, u] = W[u, p]
    W[p, p] = 1.0 / w
    inside[p] = entering


@kernel()
def fit(W, inside, barred, full, q, l1, nonnegative, signs, x, z, tol, size):
    """Minimise x^T G x / 2 - q^T x + sum_u l1_u |x_u| over the coefficients that are not barred.

    x starts feasible, with signs_u x_u >= 0 on the support and 0 elsewhere, and ends at the minimum; W,
    inside, signs and barred follow. ``full`` is the diagonal of G, ``tol`` the residual norm that is
    rounding. An active-set method: exact, and the objective never rises.
    """
    enters = -1
    for _ in range(20 * size + 20):
        while True:
            t, blocks = 1.0, -1
            for u in range(size):
                if inside[u]:
                    total = 0.0
                    for v in range(size):
                        if inside[v]:
                            total += W[u, v] * (q[v] - l1[v] * signs[v])
                    z[u] = total
                    if total * signs[u] <= 0.0:
                        reach = x[u] / (x[u] - total) if x[u] != total else 0.0
                        if reach < t or blocks < 0:
                            t, blocks = min(reach, t), u
            for u in range(size):
                if inside[u]:
                    x[u] += t * (z[u] - x[u])
            if blocks < 0:
                break
            if blocks == enters and t == 0.0:
                barred[blocks] = True  # rounding lets it in and out again
            x[blocks] = 0.0
            pivot(W, inside, blocks, size)
        enters, most = -1, tol * tol
        for r in range(size):
            if inside[r] or barred[r] or not W[r, r] > DEPENDENT * full[r]:
                continue
            slope = q[r]
            for v in range(size):
                if inside[v]:
                    slope -= W[v, r] * (q[v] - l1[v] * signs[v])
            excess = (slope if nonnegative else abs(slope)) - l1[r]
            if excess > 0.0 and excess * excess / W[r, r] > most:
                enters, most = r, excess * excess / W[r, r]
                signs[r] = 1.0 if slope > 0.0 else -1.0
        if enters < 0:
            return
        pivot(W, inside, enters, size)


@kernel()
def refit(
    T,
    H,
    beta,
    d,
    squares,
    correlations,
    l1,
    nonnegative,
    support,
    k,
    leaves,
    enters,
    tol,
    W,
    inside,
    barred,
    full,
    q,
    levels,
    signs,
    x,
    z,
):
    """Fit the support after a move, entry k of x being the column that enters; return the new objective.

    The objective lacks ``scale`` and the costs. The arguments from W on are scratch of k + 1 places.
    """
    size = k
    for u in range(k):
        j = support[u]
        for v in range(k):
            W[u, v] = H[u, v]
        inside[u], barred[u] = True, False
        full[u], q[u], levels[u], x[u] = squares[j], correlations[j], l1[j], beta[u]
        signs[u] = 1.0 if beta[u] > 0.0 else -1.0
    if enters >= 0:
        for u in range(k):
            W[u, k] = T[u, enters]
            W[k, u] = T[u, enters]
        W[k, k] = d[enters]
        inside[k], barred[k] = False, False
        full[k], q[k], levels[k], x[k] = squares[enters], correlations[enters], l1[enters], 0.0
        size = k + 1
    if leaves >= 0:
        x[leaves] = 0.0
        barred[leaves] = True
        pivot(W, inside, leaves, size)
    fit(W, inside, barred, full, q, levels, nonnegative, signs, x, z, tol, size)
    value = 0.0
    for u in range(size):
        if inside[u]:
            value -= 0.5 * (q[u] - levels[u] * signs[u]) * x[u]
    return value


@kernel()
def charged(cost, support, x, k, enters):
    """Return the cost of the coefficients that are not zero after a refit."""
    total = 0.0
    for u in range(k):
        if x[u] != 0.0:
            total += cost[support[u]]
    if enters >= 0 and x[k] != 0.0:
        total += cost[enters]
    return total


@kernel()
def bound(H, beta, g, d, squares, cost, l1, nonnegative, support, t, i, j):
    """Return what exchanging place i for column j (i < 0: adding j) gains at most; t = T[i, j]."""
    slope, left, base = g[j], d[j], -cost[j]
    if i >= 0:
        h = H[i, i]
        slope += beta[i] * t / h
        left += t * t / h
        base += cost[support[i]] - 0.5 * beta[i] * beta[i] / h
    if not left > DEPENDENT * squares[j]:
        return -np.inf
    excess = (slope if nonnegative else abs(slope)) - l1[j]
    if excess <= 0.0:
        return -np.inf  # the column would stay at zero: removing i is no worse
    return 0.5 * excess * excess / left + base


@kernel()
def bounds(T, H, beta, g, d, squares, cost, l1, nonnegative, support, inside, counted, room, k, gains, most):
    """Put into ``most`` what the best move that brings in each column gains at most.

    ``gains`` is scratch of BLOCK entries.
    """
    for low in range(0, g.size, BLOCK):
        high = min(low + BLOCK, g.size)
        gs, ds, full, levels, out = g[low:high], d[low:high], squares[low:high], l1[low:high], most[low:high]
        for j in range(gs.size):
            excess = max((gs[j] if nonnegative else abs(gs[j])) - levels[j], 0.0)
            free = ds[j] > DEPENDENT * full[j] and (room > 0 or not counted[low + j])
            out[j] = 0.5 * excess * excess / ds[j] if free else -np.inf
        for i in range(k):
            bend = 1.0 / H[i, i]
            turn = beta[i] * bend
            base = cost[support[i]] - 0.5 * beta[i] * turn
            everything = room > 0 or counted[support[i]]
            ts = T[i, low:high]
            for j in range(gs.size):
                t = ts[j]
                left = ds[j] + bend * t * t
                slope = gs[j] + turn * t
                excess = max((slope if nonnegative else abs(slope)) - levels[j], 0.0)
                free = left > DEPENDENT * full[j] and (everything or not counted[low + j])
                gains[j] = 0.5 * excess * excess / left + base if free else -np.inf
            for j in range(gs.size):
                out[j] = max(out[j], gains[j])
        for j in range(gs.size):
            out[j] = -np.inf if inside[low + j] else out[j] - cost[low + j]


@kernel()
def best_signed_move(
    T,
    H,
    beta,
    g,
    d,
    squares,
    cost,
    l1,
    nonnegative,
    correlations,
    support,
    inside,
    counted,
    room,
    k,
    least,
    tol,
    order,
    most,
    scratch,
):
    """Return (gain, i, j) of the best move by more than ``least``, or (-inf, -1, -1).

    Moves are refitted in the order of what they gain at most, until no bound is above the best gain found.
    ``order`` holds the columns by falling ``most``. A move is charged what is not zero after the refit.
    """
    W, flags, barred, full, q, levels, signs, x, z = scratch
    best, leaves, enters = -np.inf, -1, -1
    now = 0.0
    for u in range(k):
        sign = 1.0 if beta[u] > 0.0 else -1.0
        now += cost[support[u]] - 0.5 * (correlations[support[u]] - l1[support[u]] * sign) * beta[u]
    for i in range(k):
        if cost[support[i]] - 0.5 * beta[i] * beta[i] / H[i, i] > max(best, least):
            value = refit(
                T,
                H,
                beta,
                d,
                squares,
                correlations,
                l1,
                nonnegative,
                support,
                k,
                i,
                -1,
                tol,
                W,
                flags,
                barred,
                full,
                q,
                levels,
                signs,
                x,
                z,
            )
            gain = now - value - charged(cost, support, x, k, -1)
            if gain > max(best, least):
                best, leaves, enters = gain, i, -1
    for place in range(order.size):
        j = order[place]
        if not most[j] > max(best, least):
            break
        for i in range(-1, k):
            own = counted[support[i]] if i >= 0 else False
            if not (room > 0 or own or not counted[j]):
                continue
            t = T[i, j] if i >= 0 else 0.0
            if not bound(H, beta, g, d, squares, cost, l1, nonnegative, support, t, i, j) > max(best, least):
                continue
            value = refit(
                T,
                H,
                beta,
                d,
                squares,
                correlations,
                l1,
                nonnegative,
                support,
                k,
                i,
                j,
                tol,
                W,
                flags,
                barred,
                full,
                q,
                levels,
                signs,
                x,
                z,
            )
            gain = now - value - charged(cost, support, x, k, j)
            if gain > max(best, least):
                best, leaves, enters = gain, i, j
    return best, leaves, enters

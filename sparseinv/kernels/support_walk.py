"""Walks over supports without Python, for problems whose Gram matrix is at hand: every coefficient counts.

Notation as in `sparseinv.kernels.support`. ``fit`` = (T, H, beta, g, d, support, inside), which a walk
changes; ``fixed`` = (gram, squares, ridge, cost, correlations, stays), row j of gram being A^H a_j;
``scratch`` = (column, at, gains, which).
"""

from __future__ import annotations

import numpy as np

from sparseinv.kernels.jit import kernel
from sparseinv.kernels.support import DEPENDENT, best_move, delete, insert, square


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

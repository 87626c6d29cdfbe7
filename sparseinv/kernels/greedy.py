"""Orthogonal matching pursuit of many right-hand sides on one Gram matrix, each judged by exact exchanges.

For a support S = QR with k places, row i of ``U`` is q_i^T A, so that R_ij = U[i, S_j]; ``c`` = A^T r and
``d`` the squared norms of what S leaves of every column.
"""

from __future__ import annotations

import numpy as np

from sparseinv.kernels.jit import kernel

REDUCE = {"reassoc", "contract"}
DEPENDENT = 1e-10  # share of its squared norm below which a column counts as explained by the support
FINITE = REDUCE | {"nnan", "nsz"}  # for loops over numbers known to be finite
FAINT = 1e-6  # share below which the Gram matrix has too few digits left
BLOCK = 512  # columns looked at together


@kernel(fastmath=FINITE)
def best_score(c, inverse, line):
    """Return the largest c_j^2 inverse_j of a block; ``line`` is scratch.

    By halves, entry by entry: a running maximum would wait for itself.
    """
    size = c.size
    for j in range(size):
        line[j] = c[j] * c[j] * inverse[j]
    while size > 8:
        half = (size + 1) // 2
        upper = line[half:size]
        for j in range(upper.size):
            line[j] = upper[j] if upper[j] > line[j] else line[j]
        size = half
    top = 0.0
    for j in range(size):
        top = max(top, line[j])
    return top


@kernel(fastmath=FINITE)
def highest(c, inverse, tops, line):
    """Write the best score of every block of columns into tops."""
    for low in range(0, c.size, BLOCK):
        high = min(low + BLOCK, c.size)
        tops[low // BLOCK] = best_score(c[low:high], inverse[low:high], line)


@kernel(fastmath=FINITE)
def take_in(column, U, t, chosen, c, d, inverse, gamma, scale, tops, line):
    """Write row t of U for a column of the Gram matrix, take it out of c and d, and note the best scores.

    Block by block, so that everything stays in the nearest cache.
    """
    n = c.size
    for low in range(0, n, BLOCK):
        high = min(low + BLOCK, n)
        new, cs, ds, inv = U[t, low:high], c[low:high], d[low:high], inverse[low:high]
        new[:] = column[low:high]
        i = 0
        while i + 4 <= t:
            w, x, y, z = U[i, low:high], U[i + 1, low:high], U[i + 2, low:high], U[i + 3, low:high]
            p, q, r, s = U[i, chosen], U[i + 1, chosen], U[i + 2, chosen], U[i + 3, chosen]
            for j in range(new.size):
                new[j] -= p * w[j] + q * x[j] + r * y[j] + s * z[j]
            i += 4
        while i < t:
            w = U[i, low:high]
            p = U[i, chosen]
            for j in range(new.size):
                new[j] -= p * w[j]
            i += 1
        for j in range(new.size):
            u = new[j] * scale
            new[j] = u
            cs[j] -= gamma * u
            ds[j] -= u * u
        tops[low // BLOCK] = best_score(cs, inv, line)


@kernel(fastmath=REDUCE)
def extend(gram, squares, inverse, c, d, U, inside, support, y, most, floor, tops, line):
    """Let columns in one by one; return their number, or -1 where the Gram matrix is not exact enough.

    c, d, inside start as A^T b, the squared norms and zeros. It ends at ``most`` columns, or where no
    |a_j^T r| / ||a_j|| exceeds ``floor``; ``inverse`` is 1 / ||a_j||^2, 0 for columns of zeros. Scratch:
    ``tops`` has a place for every block of columns, ``line`` one for every column of a block.
    """
    n = c.size
    highest(c, inverse, tops, line)
    for t in range(most):
        best = floor * floor
        chosen = -1
        for block in range(tops.size):
            if tops[block] > best:
                for j in range(block * BLOCK, min((block + 1) * BLOCK, n)):
                    score = c[j] * c[j] * inverse[j]
                    if score > best and not inside[j] and d[j] > DEPENDENT * squares[j]:
                        best, chosen = score, j
        if chosen < 0:
            return t
        if d[chosen] < FAINT * squares[chosen]:
            return -1
        rho = np.sqrt(d[chosen])
        gamma = c[chosen] / rho
        take_in(gram[:, chosen], U, t, chosen, c, d, inverse, gamma, 1.0 / rho, tops, line)
        support[t] = chosen
        y[t] = gamma
        inside[chosen] = True
    return most


@kernel(fastmath=REDUCE)
def best_change(squares, c, d, U, inside, support, y, x, k, may_add, work, gains):
    """Write the coefficients of the fit into x and return by how much the best single change lowers it.

    Changes are all exchanges of a column of the support for one outside, with ``may_add`` also additions,
    each after a full refit. U is overwritten; ``work`` (k, k) and ``gains`` (BLOCK) are scratch.
    """
    n = c.size
    for j in range(k):  # work = R^{-1}, upper triangular
        work[j, j] = 1.0 / U[j, support[j]]
        for i in range(j - 1, -1, -1):
            total = 0.0
            for p in range(i + 1, j + 1):
                total += U[i, support[p]] * work[p, j]
            work[i, j] = -total / U[i, support[i]]
    for i in range(k):
        total = 0.0
        for j in range(i, k):
            total += work[i, j] * y[j]
        x[i] = total
    best = 0.0
    for low in range(0, n, BLOCK):
        high = min(low + BLOCK, n)
        cs, ds, full = c[low:high], d[low:high], squares[low:high]
        for j in range(cs.size):
            free = may_add and ds[j] > DEPENDENT * full[j]
            gains[j] = cs[j] * cs[j] / ds[j] if free else 0.0
        for i in range(k):
            bend = 0.0
            for j in range(i, k):
                bend += work[i, j] * work[i, j]
            bend = 1.0 / bend
            turn = x[i] * bend
            loss = x[i] * turn
            row = U[i, low:high]
            share = work[i, i]
            for j in range(row.size):
                row[j] *= share
            for p in range(i + 1, k):
                share = work[i, p]
                other = U[p, low:high]
                for j in range(row.size):
                    row[j] += share * other[j]
            for j in range(row.size):
                t = row[j]
                left = ds[j] + bend * t * t
                slope = cs[j] + turn * t
                gain = slope * slope / left - loss
                gains[j] = gain if left > DEPENDENT * full[j] and gain > gains[j] else gains[j]
        for j in range(cs.size):
            if gains[j] > best and not inside[low + j]:
                best = gains[j]
    return 0.5 * best


@kernel()
def pursue(
    gram, squares, inverse, C, data, layout, most, floors, first, last, work_limit,
    scratch, inside, supports, values, counts, misfits, gains,
):  # fmt: skip
    """Run orthogonal matching pursuit for the rows first to last of C = B^T A; return the next row.

    ``scratch`` = (c, d, U, y, work, gains, tops, r). Writes supports, coefficients and numbers of columns (-1
    where the Gram matrix is not exact enough), the misfits 1/2 ||A x - b||^2 from fresh residuals, and by how
    much the objective is above the lowest that one exchange or addition reaches.
    """
    c, d, U, y, work, line, tops, r = scratch
    dense, entries, indices, indptr = layout
    spent = 0.0
    n = c.size
    for s in range(first, last):
        if spent > work_limit:
            return s
        for j in range(n):
            c[j] = C[s, j]
            d[j] = squares[j]
            inside[j] = False
        k = extend(gram, squares, inverse, c, d, U, inside, supports[s], y, most, floors[s], tops, line)
        counts[s] = k
        spent += n * (k + 4.0) * (k + 4.0) + r.size * (k + 1.0)
        if k < 0:
            continue
        gain = best_change(
            squares, c, d, U, inside, supports[s], y, values[s], k, k < most and k < r.size, work, line
        )
        total, fit = 0.0, 0.0
        for i in range(r.size):
            r[i] = -data[i, s]
            total += r[i] * r[i]
        for i in range(k):
            fit += y[i] * y[i]
            j, x = supports[s, i], values[s, i]
            if indptr.size == 0:
                for q in range(r.size):
                    r[q] += x * dense[q, j]
            else:
                for q in range(indptr[j], indptr[j + 1]):
                    r[indices[q]] += x * entries[q]
        left = 0.0
        for i in range(r.size):
            left += r[i] * r[i]
        misfits[s] = 0.5 * left
        gains[s] = max(0.5 * left - (0.5 * (total - fit) - gain), 0.0)
    return last

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
LANES = 64  # running maxima side by side


@kernel()
def near_pairs(gram, size, low, high, share, pairs):
    """Count the pairs low <= i < high, i < j with |a_i^T a_j| >= share ||a_i|| ||a_j|| > 0; note some."""
    found = 0
    for i in range(low, high):
        row, bar = gram[i + 1 :, i], share * size[i]
        if not bar > 0.0:
            continue
        near = 0
        for j in range(row.size):
            near += abs(row[j]) >= bar * size[i + 1 + j]
        if near == 0:
            continue
        for j in range(row.size):
            if abs(row[j]) >= bar * size[i + 1 + j] and size[i + 1 + j] > 0.0:
                if found < pairs.shape[0]:
                    pairs[found, 0], pairs[found, 1] = i, i + 1 + j
                found += 1
    return found


@kernel(fastmath=FINITE)
def score(c, inverse, scores):
    """Write c_j^2 inverse_j into scores."""
    for j in range(c.size):
        scores[j] = c[j] * c[j] * inverse[j]


@kernel(fastmath=FINITE)
def highest(scores, lanes):
    """Return the largest score; ``lanes`` is scratch of LANES entries.

    By lanes, then by halves: a running maximum would wait for itself.
    """
    lanes[:] = 0.0
    low = 0
    while low + LANES <= scores.size:
        part = scores[low : low + LANES]
        for i in range(LANES):
            lanes[i] = part[i] if part[i] > lanes[i] else lanes[i]
        low += LANES
    for i in range(scores.size - low):
        lanes[i] = scores[low + i] if scores[low + i] > lanes[i] else lanes[i]
    half = LANES // 2
    while half >= 8:
        for i in range(half):
            lanes[i] = lanes[i + half] if lanes[i + half] > lanes[i] else lanes[i]
        half //= 2
    top = 0.0
    for i in range(2 * half):
        top = max(top, lanes[i])
    return top


@kernel()
def best_column(scores, d, squares, inside, floor, lanes):
    """Return the first column of the best score above ``floor`` that may come in, -1 if there is none."""
    top = highest(scores, lanes)
    if not top > floor:
        return -1
    for j in range(scores.size):
        if scores[j] == top:
            if not inside[j] and d[j] > DEPENDENT * squares[j]:
                return j
            break
    best, chosen = floor, -1
    for j in range(scores.size):
        if scores[j] > best and not inside[j] and d[j] > DEPENDENT * squares[j]:
            best, chosen = scores[j], j
    return chosen


@kernel(fastmath=FINITE)
def take_in(column, U, t, chosen, c, d, inverse, gamma, scale, scores):
    """Write row t of U for a column of the Gram matrix, take it out of c and d, and note the scores.

    Block by block, so that everything stays in the nearest cache.
    """
    n = c.size
    for low in range(0, n, BLOCK):
        high = min(low + BLOCK, n)
        new, col = U[t, low:high], column[low:high]
        i = t % 4
        if i == 0:
            for j in range(new.size):
                new[j] = scale * col[j]
        elif i == 1:
            w, p = U[0, low:high], scale * U[0, chosen]
            for j in range(new.size):
                new[j] = scale * col[j] - p * w[j]
        elif i == 2:
            w, x = U[0, low:high], U[1, low:high]
            p, q = scale * U[0, chosen], scale * U[1, chosen]
            for j in range(new.size):
                new[j] = scale * col[j] - (p * w[j] + q * x[j])
        else:
            w, x, y = U[0, low:high], U[1, low:high], U[2, low:high]
            p, q, r = scale * U[0, chosen], scale * U[1, chosen], scale * U[2, chosen]
            for j in range(new.size):
                new[j] = scale * col[j] - (p * w[j] + q * x[j] + r * y[j])
        while i < t:
            w, x, y, z = U[i, low:high], U[i + 1, low:high], U[i + 2, low:high], U[i + 3, low:high]
            p, q = scale * U[i, chosen], scale * U[i + 1, chosen]
            r, s = scale * U[i + 2, chosen], scale * U[i + 3, chosen]
            for j in range(new.size):
                new[j] -= p * w[j] + q * x[j] + r * y[j] + s * z[j]
            i += 4
        cs, ds, inv, out = c[low:high], d[low:high], inverse[low:high], scores[low:high]
        for j in range(new.size):
            u = new[j]
            v = cs[j] - gamma * u
            cs[j] = v
            ds[j] -= u * u
            out[j] = v * v * inv[j]


@kernel(fastmath=REDUCE)
def extend(gram, squares, inverse, c, d, U, inside, support, y, most, floor, scores, lanes):
    """Let columns in one by one; return their number, or -1 where the Gram matrix is not exact enough.

    c, d, inside start as A^T b, the squared norms and zeros. It ends at ``most`` columns, or where no
    |a_j^T r| / ||a_j|| exceeds ``floor``; ``inverse`` is 1 / ||a_j||^2, 0 for columns of zeros. Scratch:
    ``scores`` has a place for every column, ``lanes`` LANES places.
    """
    score(c, inverse, scores)
    for t in range(most):
        chosen = best_column(scores, d, squares, inside, floor * floor, lanes)
        if chosen < 0:
            return t
        if d[chosen] < FAINT * squares[chosen]:
            return -1
        rho = np.sqrt(d[chosen])
        gamma = c[chosen] / rho
        take_in(gram[:, chosen], U, t, chosen, c, d, inverse, gamma, 1.0 / rho, scores)
        support[t] = chosen
        y[t] = gamma
        inside[chosen] = True
    return most


@kernel(fastmath=REDUCE)
def best_change(squares, c, d, U, inside, x, k, may_add, work, gains):
    """Return by how much the best single change lowers the fit.

    Changes are all exchanges of a column of the support for one outside, with ``may_add`` also additions,
    each after a full refit. U is overwritten; ``work`` (k, k) and ``gains`` (BLOCK) are scratch.
    """
    n = c.size
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


@kernel(fastmath=REDUCE)
def invert(U, support, y, x, k, work):
    """Write the inverse of R into work and the coefficients of the fit into x.

    Returns the least w_i = |x_i| / sqrt(H_ii), H = (A_S^T A_S)^{-1}: w_i^2 / 2 is what removing i costs.
    """
    for j in range(k):
        work[j, j] = 1.0 / U[j, support[j]]
        for i in range(j - 1, -1, -1):
            total = 0.0
            for p in range(i + 1, j + 1):
                total += U[i, support[p]] * work[p, j]
            work[i, j] = -total / U[i, support[i]]
    least = np.inf
    for i in range(k):
        total, bend = 0.0, 0.0
        for j in range(i, k):
            total += work[i, j] * y[j]
            bend += work[i, j] * work[i, j]
        x[i] = total
        least = min(least, total * total / bend)
    return np.sqrt(least)


@kernel(fastmath=FINITE)
def doubtful(norms, squares, c, d, least):
    """Return the largest excess of a block of columns; columns with none gain nothing in any exchange.

    For i of the support let u_i be the unit vector of what the others leave of a_i, and w_i = |u_i^T b|.
    Exchanging i for j gains (|c_j + w_i s|^2 / (d_j + s^2) - w_i^2) / 2 with s = u_i^T a_j, s^2 <= e_j =
    ||a_j||^2 - d_j: nothing if |c_j| <= w_i (||a_j|| - sqrt(e_j)). The excess e_j - (||a_j|| - |c_j| / w)^2
    is that test without a root.
    """
    top = -np.inf
    steep = 1.0 / least
    for j in range(c.size):
        reach = norms[j] - steep * abs(c[j])
        top = max(top, squares[j] - d[j] - reach * abs(reach))
    return top


@kernel(fastmath=REDUCE)
def gain_of(j, squares, c, d, U, x, k, work):
    """Return what the best exchange that lets column j in gains, at least 0."""
    best = 0.0
    for i in range(k):
        t, bend = 0.0, 0.0
        for p in range(i, k):
            t += work[i, p] * U[p, j]
            bend += work[i, p] * work[i, p]
        left = d[j] + t * t / bend
        if left > DEPENDENT * squares[j]:
            slope = c[j] + x[i] * t / bend
            best = max(best, 0.5 * (slope * slope / left - x[i] * x[i] / bend))
    return best


@kernel()
def best_exchange(norms, squares, c, d, U, inside, support, x, k, least, work):
    """Return by how much the best exchange of a column lowers the fit.

    Only columns that may gain anything are looked at one by one. c and d of the support are overwritten.
    """
    for i in range(k):
        c[support[i]], d[support[i]] = 0.0, squares[support[i]]
    best = 0.0
    steep = 1.0 / least
    for low in range(0, c.size, BLOCK):
        high = min(low + BLOCK, c.size)
        if doubtful(norms[low:high], squares[low:high], c[low:high], d[low:high], least) > 0.0:
            for j in range(low, high):
                reach = norms[j] - steep * abs(c[j])
                if squares[j] - d[j] - reach * abs(reach) > 0.0:
                    best = max(best, gain_of(j, squares, c, d, U, x, k, work))
    return best


@kernel()
def pursue(
    gram, norms, squares, inverse, C, data, layout, most, floors, first, last, work_limit,
    scratch, inside, supports, values, counts, misfits, gains,
):  # fmt: skip
    """Run orthogonal matching pursuit for the rows first to last of C = B^T A; return the next row.

    ``scratch`` = (c, d, U, y, work, gains, scores, lanes, r). Writes supports, coefficients and numbers of
    columns (-1 where the Gram matrix is not exact enough), the misfits 1/2 ||A x - b||^2 from fresh
    residuals, and by how much the objective is above the lowest that one exchange or addition reaches.
    """
    c, d, U, y, work, line, scores, lanes, r = scratch
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
        k = extend(gram, squares, inverse, c, d, U, inside, supports[s], y, most, floors[s], scores, lanes)
        counts[s] = k
        spent += n * (k + 4.0) * (k + 4.0) + r.size * (k + 1.0)
        if k < 0:
            continue
        least = invert(U, supports[s], y, values[s], k, work)
        may_add = k < most and k < r.size
        if may_add or not least > 0.0:
            gain = best_change(squares, c, d, U, inside, values[s], k, may_add, work, line)
        else:
            gain = best_exchange(norms, squares, c, d, U, inside, supports[s], values[s], k, least, work)
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

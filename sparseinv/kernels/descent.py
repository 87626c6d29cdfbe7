"""Proximal-gradient and coordinate-descent loops for dense, CSC and matrix-free problems.

One call tree, one file: editing a kernel here invalidates the compiled code of all its callers.

Every kernel speaks of the penalty as ``terms = (l0, l1, l2, nonnegative, order, starts)``:
sum_j l0_j [x_j != 0] + l1_j |x_j| + l2_j |x_j|^2 / 2, or, when ``starts`` is not empty, block norms
sum_g l1_g ||x_g|| with group g = order[starts[g]:starts[g + 1]]. A matrix is
``layout = (dense, data, indices, indptr)`` with the dense half or the CSC half empty. The column behind its
last one holds ones, the one behind that minus ones: an intercept takes no memory.
Reductions may be reassociated; no kernel assumes that numbers are finite.
"""

from __future__ import annotations

import numpy as np

from sparseinv.kernels.jit import kernel

REDUCE = {"reassoc", "contract"}
ROUNDING = 1e-15  # of ||b||^2: a squared residual below it is rounding


@kernel()
def shrink(v, step, l0, l1, l2, nonnegative):
    """Return the prox of step * penalty at the scalar v; ties of l0 go to zero."""
    if nonnegative and v.real <= 0.0:
        return 0.0 * v
    size = abs(v)
    kept = size - step * l1
    if not kept > 0.0:
        return 0.0 * v
    if l0 > 0.0 and kept * kept <= 2.0 * step * l0 * (1.0 + step * l2):
        return 0.0 * v
    return v * (kept / (1.0 + step * l2) / size)


@kernel(fastmath=REDUCE)
def column_dot(layout, j, r):
    """Return a_j^H r."""
    dense, data, indices, indptr = layout
    total = 0.0 * r[0]
    behind = j - (dense.shape[1] if indptr.size == 0 else indptr.size - 1)
    if behind >= 0:
        for i in range(r.size):
            total += r[i]
        return total if behind == 0 else -total
    if indptr.size == 0:
        for i in range(r.size):
            total += np.conj(dense[i, j]) * r[i]
    else:
        for k in range(indptr[j], indptr[j + 1]):
            total += np.conj(data[k]) * r[indices[k]]
    return total


@kernel(fastmath=REDUCE)
def column_add(layout, j, factor, r):
    """Add factor * a_j to r in place."""
    dense, data, indices, indptr = layout
    behind = j - (dense.shape[1] if indptr.size == 0 else indptr.size - 1)
    if behind >= 0:
        for i in range(r.size):
            r[i] += factor if behind == 0 else -factor
    elif indptr.size == 0:
        for i in range(r.size):
            r[i] += factor * dense[i, j]
    else:
        for k in range(indptr[j], indptr[j + 1]):
            r[indices[k]] += factor * data[k]


@kernel()
def residual(layout, x, b, r):
    """Write A x - b into r, skipping zero coefficients."""
    for i in range(b.size):
        r[i] = -b[i]
    for j in range(x.size):
        if x[j] != 0.0:
            column_add(layout, j, x[j], r)


@kernel()
def gradient(layout, r, g):
    """Write A^H r into g."""
    for j in range(g.size):
        g[j] = column_dot(layout, j, r)


@kernel(fastmath=REDUCE)
def distance2(u, v):
    """Return ||u - v||^2."""
    total = 0.0
    for i in range(u.size):
        d = u[i] - v[i]
        total += d.real * d.real + d.imag * d.imag
    return total


@kernel(fastmath=REDUCE)
def norm2(u):
    """Return ||u||^2."""
    total = 0.0
    for i in range(u.size):
        total += u[i].real * u[i].real + u[i].imag * u[i].imag
    return total


@kernel()
def penalty_value(terms, x):
    """Return R(x)."""
    l0, l1, l2, _, order, starts = terms
    total = 0.0
    if starts.size > 0:
        for g in range(starts.size - 1):
            size = 0.0
            for k in range(starts[g], starts[g + 1]):
                v = x[order[k]]
                size += v.real * v.real + v.imag * v.imag
            if size > 0.0:
                total += l1[g] * np.sqrt(size)
        return total
    for j in range(x.size):
        if x[j] != 0.0:
            size = abs(x[j])
            total += l0[j] + size * (l1[j] + 0.5 * l2[j] * size)
    return total


@kernel()
def forward_backward(terms, z, g, step, out):
    """Write prox(z - step g) into out."""
    l0, l1, l2, nonnegative, order, starts = terms
    if starts.size > 0:
        for b in range(starts.size - 1):
            size = 0.0
            for k in range(starts[b], starts[b + 1]):
                j = order[k]
                v = z[j] - step * g[j]
                out[j] = v
                size += v.real * v.real + v.imag * v.imag
            size = np.sqrt(size)
            kept = size - step * l1[b]
            factor = kept / size if kept > 0.0 else 0.0
            for k in range(starts[b], starts[b + 1]):
                out[order[k]] *= factor
        return
    for j in range(z.size):
        out[j] = shrink(z[j] - step * g[j], step, l0[j], l1[j], l2[j], nonnegative)


@kernel(fastmath=REDUCE)
def turn(z, new, old):
    """Return Re <z - new, new - old>: positive when momentum points uphill."""
    total = 0.0
    for j in range(z.size):
        a = z[j] - new[j]
        d = new[j] - old[j]
        total += a.real * d.real + a.imag * d.imag
    return total


@kernel()
def extrapolate(new, old, beta, z):
    """Write new + beta (new - old) into z."""
    for j in range(z.size):
        z[j] = new[j] + beta * (new[j] - old[j])


@kernel()
def proximal_gradient(layout, terms, b, buffers, t, lipschitz, accelerated, monotone, iterations):
    """Run ISTA or FISTA on a matrix in memory; all buffers are updated in place.

    buffers = (x, r, z, rz, x_new, r_new, g, rz_dual): iterate, its residual, extrapolated point, its
    residual, two scratch vectors, and the pair (rz_dual, g = A^H rz_dual) from which the dual point
    is made. Returns (t, Lipschitz constant, extra products with A, squared movement of the last step).
    """
    x, r, z, rz, x_new, r_new, g, rz_dual = buffers
    extra = 0
    moved = 0.0
    value = 0.5 * norm2(r) + penalty_value(terms, x) if monotone else 0.0
    for _ in range(iterations):
        gradient(layout, rz, g)
        rz_dual[:] = rz
        while True:
            forward_backward(terms, z, g, 1.0 / lipschitz, x_new)
            residual(layout, x_new, b, r_new)
            gap = distance2(x_new, z)
            curvature = distance2(r_new, rz)
            # below rounding level the quotient says nothing about the norm of A
            # (written so that a NaN ends the loop)
            if not (curvature > lipschitz * gap * (1.0 + 1e-9) and gap > 1e-24 * norm2(z)):
                break
            lipschitz = max(1.02 * curvature / gap, 1.05 * lipschitz)
            extra += 1
        moved = distance2(x_new, x)
        if not accelerated:
            x[:] = x_new
            z[:] = x_new
            r[:] = r_new
            rz[:] = r_new
            continue
        if turn(z, x_new, x) > 0.0:
            t = 1.0
        t_next = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * t * t))
        if monotone:
            candidate = 0.5 * norm2(r_new) + penalty_value(terms, x_new)
            if candidate > value:
                # the point is refused, but the next extrapolation still leans towards it
                extrapolate(x, x_new, -t / t_next, z)
                extrapolate(r, r_new, -t / t_next, rz)
                t = t_next if moved > 0.0 else 1.0
                continue
            value = candidate
        beta = (t - 1.0) / t_next
        extrapolate(x_new, x, beta, z)
        extrapolate(r_new, r, beta, rz)
        x[:] = x_new
        r[:] = r_new
        t = t_next
    return t, lipschitz, extra, moved


@kernel()
def sweep_coordinate(layout, terms, x, r, squares, j):
    """Minimise over coordinate j, update r; return the change of A x in norm."""
    l0, l1, l2, nonnegative, _, _ = terms
    d = squares[j]
    old = x[j]
    if d > 0.0:
        new = shrink(old - column_dot(layout, j, r) / d, 1.0 / d, l0[j], l1[j], l2[j], nonnegative)
    elif l0[j] + l1[j] + l2[j] > 0.0:
        new = 0.0 * old
    else:
        return 0.0
    if new == old:
        return 0.0
    x[j] = new
    if d > 0.0:
        column_add(layout, j, new - old, r)
    return abs(new - old) * np.sqrt(d)


@kernel()
def coordinate_descent(layout, terms, x, r, squares, active, inner, ratio):
    """Sweep once over everything, then up to ``inner`` times over what is not zero.

    The inner sweeps end once no change exceeds ``ratio`` times the first one. Returns (largest change
    of A x in the full sweep, inner sweeps done, number of active coordinates). ``active`` is scratch of
    shape (n,).
    """
    largest = 0.0
    kept = 0
    for j in range(x.size):
        largest = max(largest, sweep_coordinate(layout, terms, x, r, squares, j))
        if x[j] != 0.0:
            active[kept] = j
            kept += 1
    first = 0.0
    done = 0
    for s in range(inner):
        worst = 0.0
        for k in range(kept):
            worst = max(worst, sweep_coordinate(layout, terms, x, r, squares, active[k]))
        done += 1
        if s == 0:
            first = worst
        if worst <= ratio * first:
            break
    return largest, done, kept


@kernel(fastmath=REDUCE)
def into_basis(vectors, lo, k, v, work):
    """Replace v (k,) by V^H v, where column i of V is vectors[lo + i k:lo + (i + 1) k]."""
    for i in range(k):
        total = 0.0 * v[0]
        for j in range(k):
            total += np.conj(vectors[lo + i * k + j]) * v[j]
        work[i] = total
    for i in range(k):
        v[i] = work[i]


@kernel(fastmath=REDUCE)
def out_of_basis(vectors, lo, k, v, work):
    """Replace v (k,) by V v."""
    for i in range(k):
        work[i] = v[i]
        v[i] = 0.0
    for i in range(k):
        for j in range(k):
            v[j] += work[i] * vectors[lo + i * k + j]


@kernel()
def block_norm(curvatures, lo, k, lam, z, slope):
    """Return the norm of the minimiser of sum_i s_i |y_i|^2 / 2 - Re(conj(c_i) y_i) + lam ||y||, lam > 0.

    s = curvatures[lo:lo + k], c_i = s_i z_i - slope_i; directions without curvature (s_i = 0) take no part.
    The norm t solves q(t) = (sum_i |c_i|^2 / (s_i t + lam)^2)^(1/2) = 1. 1 / q is concave and increasing, so
    Newton's method on 1 / q = 1 comes to the left of the root at once and then rises to it.
    """
    push = 0.0
    steepest = 0.0
    t = 0.0
    for i in range(k):
        s = curvatures[lo + i]
        t += z[i].real * z[i].real + z[i].imag * z[i].imag
        if s > 0.0:
            c = s * z[i] - slope[i]
            push += c.real * c.real + c.imag * c.imag
            steepest = max(steepest, s)
    push = np.sqrt(push)
    if not push > lam:
        return 0.0
    least = (push - lam) / steepest
    t = max(np.sqrt(t), least)
    for _ in range(100):
        q2 = 0.0
        decay = 0.0
        for i in range(k):
            s = curvatures[lo + i]
            if s > 0.0:
                c = s * z[i] - slope[i]
                shrunk = 1.0 / (s * t + lam)
                size = (c.real * c.real + c.imag * c.imag) * shrunk * shrunk
                q2 += size
                decay += size * s * shrunk
        following = max(t + (np.sqrt(q2) - 1.0) * q2 / decay, least)
        if not abs(following - t) > 4e-16 * t:
            break
        t = following
    return t


@kernel()
def sweep_group(layout, terms, x, r, curvatures, basis, g):
    """Minimise over group g, update r; return (change of A x in norm, whether the group is not zero).

    ``basis = (vectors, offsets, empty, slope, z, work)``: vectors[offsets[g]:offsets[g + 1]] holds the
    columns of V with A_g^H A_g = V diag(s) V^H and s = curvatures[starts[g]:starts[g + 1]]. A group without
    vectors has V = 1 and s_i >= ||A_g||^2, which makes this a proximal step. empty marks zero columns, in
    the order of the groups; the last three are scratch as long as the largest group.
    """
    _, l1, _, _, order, starts = terms
    vectors, offsets, empty, slope, z, work = basis
    lam, lo, k = l1[g], starts[g], starts[g + 1] - starts[g]
    steepness = 0.0
    zero = True
    for i in range(k):
        j = order[lo + i]
        pull = column_dot(layout, j, r)
        slope[i] = pull
        steepness += pull.real * pull.real + pull.imag * pull.imag
        z[i] = x[j]
        zero = zero and x[j] == 0.0
    if zero and not np.sqrt(steepness) > lam:
        return 0.0, False
    rotated = offsets[g + 1] > offsets[g]
    if rotated:
        into_basis(vectors, offsets[g], k, slope, work)
        into_basis(vectors, offsets[g], k, z, work)
    t = block_norm(curvatures, lo, k, lam, z, slope) if lam > 0.0 else 1.0
    change = 0.0
    for i in range(k):
        s = curvatures[lo + i]
        # a difference, not a new point: what rounding takes from V does not move the fixed point
        if s > 0.0 and t > 0.0:
            delta = -(slope[i] * t + lam * z[i]) / (s * t + lam)
        elif lam > 0.0:
            delta = -z[i]
        else:
            delta = 0.0 * z[i]
        z[i] = delta
        change += s * (delta.real * delta.real + delta.imag * delta.imag)
    if rotated:
        out_of_basis(vectors, offsets[g], k, z, work)
    alive = False
    for i in range(k):
        j = order[lo + i]
        old = x[j]
        new = old + z[i] if t > 0.0 else 0.0 * old
        if empty[lo + i]:  # V does not leave its coefficient alone to the last bit
            new = 0.0 * old if lam > 0.0 else old
        if new != old:
            column_add(layout, j, new - old, r)
            x[j] = new
        alive = alive or new != 0.0
    return np.sqrt(change), alive


@kernel()
def group_descent(layout, terms, x, r, curvatures, basis, active, inner, ratio):
    """Do what `coordinate_descent` does group by group; active has shape (number of groups,).

    A kernel of its own, so that problems without groups need not wait for its compilation.
    """
    largest = 0.0
    kept = 0
    for g in range(terms[5].size - 1):
        change, alive = sweep_group(layout, terms, x, r, curvatures, basis, g)
        largest = max(largest, change)
        if alive:
            active[kept] = g
            kept += 1
    first = 0.0
    done = 0
    for s in range(inner):
        worst = 0.0
        for k in range(kept):
            worst = max(worst, sweep_group(layout, terms, x, r, curvatures, basis, active[k])[0])
        done += 1
        if s == 0:
            first = worst
        if worst <= ratio * first:
            break
    return largest, done, kept


@kernel()
def block_move(lo, k, lam, ridge, x, scratch):
    """Minimise over the block x[lo:lo + k] of uncorrelated columns; return the change of A x in norm.

    ``scratch`` holds squared column norms and gradient; the new point goes into its last vector.
    """
    curvatures, slope, z = scratch
    steepness = 0.0
    zero = True
    for i in range(k):
        z[i] = x[lo + i]
        slope[i] += ridge * z[i]
        curvatures[i] += ridge
        steepness += slope[i].real * slope[i].real + slope[i].imag * slope[i].imag
        zero = zero and z[i] == 0.0
    if zero and not np.sqrt(steepness) > lam:
        return 0.0
    t = block_norm(curvatures, 0, k, lam, z, slope) if lam > 0.0 else 1.0
    change = 0.0
    for i in range(k):
        d = curvatures[i]
        if t > 0.0:
            z[i] -= (slope[i] * t + lam * z[i]) / (d * t + lam)
        else:
            z[i] = 0.0
        delta = z[i] - x[lo + i]
        change += d * (delta.real * delta.real + delta.imag * delta.imag)
    return np.sqrt(change)


@kernel(fastmath=REDUCE)
def gram_group_descent(gram, starts, lam, ridge, x, g, sweeps, ratio, scratch):
    """Do what `gram_descent` does block by block, where every block has uncorrelated columns.

    Block b is starts[b]:starts[b + 1] and costs lam_b ||x_b|| + ridge_b ||x_b||^2 / 2. ``scratch`` is three
    vectors (curvatures, slope, z) as long as the largest block.
    """
    curvatures, slope, z = scratch
    count = starts[starts.size - 1]
    first = 0.0
    done = 0
    for s in range(sweeps):
        worst = 0.0
        for b in range(starts.size - 1):
            lo, k = starts[b], starts[b + 1] - starts[b]
            for i in range(k):
                slope[i] = g[lo + i]
                curvatures[i] = gram[lo + i, lo + i].real
            worst = max(worst, block_move(lo, k, lam[b], ridge[b], x, scratch))
            for i in range(k):
                delta = z[i] - x[lo + i]
                if delta != 0.0:
                    x[lo + i] = z[i]
                    for j in range(count):
                        g[j] += gram[j, lo + i] * delta
        done += 1
        if s == 0:
            first = worst
        if worst <= ratio * first:
            break
    return first, done


@kernel(fastmath=REDUCE)
def row_group_descent(layout, squares, starts, lam, ridge, x, r, sweeps, ratio, scratch):
    """Do the same with the columns themselves; r = A x - b is kept current.

    ``layout`` is (rows, data, indices, indptr): the columns one a row, or in CSC form with rows empty.
    """
    rows, data, indices, indptr = layout
    curvatures, slope, z = scratch
    first = 0.0
    done = 0
    for s in range(sweeps):
        worst = 0.0
        for b in range(starts.size - 1):
            lo, k = starts[b], starts[b + 1] - starts[b]
            for i in range(k):
                total = 0.0 * r[0]
                if indptr.size == 0:
                    for j in range(r.size):
                        total += np.conj(rows[lo + i, j]) * r[j]
                else:
                    for j in range(indptr[lo + i], indptr[lo + i + 1]):
                        total += np.conj(data[j]) * r[indices[j]]
                slope[i] = total
                curvatures[i] = squares[lo + i]
            worst = max(worst, block_move(lo, k, lam[b], ridge[b], x, scratch))
            for i in range(k):
                delta = z[i] - x[lo + i]
                if delta != 0.0:
                    x[lo + i] = z[i]
                    if indptr.size == 0:
                        for j in range(r.size):
                            r[j] += rows[lo + i, j] * delta
                    else:
                        for j in range(indptr[lo + i], indptr[lo + i + 1]):
                            r[indices[j]] += data[j] * delta
        done += 1
        if s == 0:
            first = worst
        if worst <= ratio * first:
            break
    return first, done


@kernel()
def bend(H, starts, copies, directions, weight):
    """Add weight_b (I - u_b u_b^T) to the rows and columns of every block b, in place.

    With two copies a block is its real parts and, ``starts[-1]`` places further, its imaginary parts.
    """
    half = starts[starts.size - 1]
    for b in range(starts.size - 1):
        for q in range(copies):
            for j in range(starts[b] + q * half, starts[b + 1] + q * half):
                H[j, j] += weight[b]
                for p in range(copies):
                    for i in range(starts[b] + p * half, starts[b + 1] + p * half):
                        H[i, j] -= weight[b] * directions[i] * directions[j]


@kernel(fastmath=REDUCE)
def gram_descent(gram, count, terms, x, g, sweeps, ratio):
    """Sweep over the first ``count`` coordinates with the Gram matrix; g = A^H (A x - b) is kept current.

    Ends early once no change exceeds ``ratio`` times the first sweep's. Returns (largest change of A x
    in the first sweep, sweeps done).
    """
    l0, l1, l2, nonnegative, _, _ = terms
    first = 0.0
    done = 0
    for s in range(sweeps):
        worst = 0.0
        for j in range(count):
            d = gram[j, j].real
            old = x[j]
            if d > 0.0:
                new = shrink(old - g[j] / d, 1.0 / d, l0[j], l1[j], l2[j], nonnegative)
            elif l0[j] + l1[j] + l2[j] > 0.0:
                new = 0.0 * old
            else:
                continue
            if new == old:
                continue
            x[j] = new
            delta = new - old
            for i in range(count):
                g[i] += gram[i, j] * delta
            worst = max(worst, abs(delta) * np.sqrt(d))
        done += 1
        if s == 0:
            first = worst
        if worst <= ratio * first:
            break
    return first, done


@kernel(fastmath=REDUCE)
def column_square(layout, j, m):
    """Return ||a_j||^2 of a real column of m entries."""
    dense, data, _, indptr = layout
    if j >= (dense.shape[1] if indptr.size == 0 else indptr.size - 1):
        return float(m)
    total = 0.0
    if indptr.size == 0:
        for i in range(m):
            total += dense[i, j] * dense[i, j]
    else:
        for i in range(indptr[j], indptr[j + 1]):
            total += data[i] * data[i]
    return total


@kernel(fastmath=REDUCE)
def descend_columns(layout, index, l1, l2, nonnegative, r, sweeps, ratio, x, squares):
    """Sweep over the columns ``index`` only; x, l1, l2 and squares are theirs, r = A x - b is kept current.

    Entries of squares below zero are formed here. Ends once no change of A x exceeds ``ratio`` times the
    largest of the first sweep. Returns (that largest change, the one of the last sweep, sweeps done).
    """
    first = 0.0
    worst = 0.0
    done = 0
    for s in range(sweeps):
        worst = 0.0
        for k in range(index.size):
            if squares[k] < 0.0:
                squares[k] = column_square(layout, index[k], r.size)
            d = squares[k]
            if not d > 0.0:
                continue
            old = x[k]
            new = shrink(old - column_dot(layout, index[k], r) / d, 1.0 / d, 0.0, l1[k], l2[k], nonnegative)
            if new != old:
                x[k] = new
                column_add(layout, index[k], new - old, r)
                worst = max(worst, abs(new - old) * np.sqrt(d))
        done += 1
        if s == 0:
            first = worst
        if worst <= ratio * first:
            break
    return first, worst, done


@kernel()
def selected_gradient(layout, index, r, out):
    """Write a_j^H r for the columns ``index`` into out."""
    for k in range(index.size):
        out[k] = column_dot(layout, index[k], r)


@kernel(fastmath=REDUCE)
def gram_gap(count, x, g, q, b2, l1, l2, nonnegative):
    """Return the duality gap of the problem on the first ``count`` columns.

    g = A^H (A x - b), q = A^H b and b2 = ||b||^2; the dual point is the residual scaled into the feasible
    set. Unpenalised coefficients are taken to be refitted (g_j = 0).
    """
    xq = 0.0
    xg = 0.0
    scale = np.inf
    for j in range(count):
        xq += x[j] * q[j]
        xg += x[j] * g[j]
        size = -g[j] if nonnegative else abs(g[j])
        if l2[j] == 0.0 and l1[j] > 0.0 and size * scale > l1[j]:
            scale = l1[j] / size
    r2 = max(b2 - xq + xg, 0.0)
    # the best multiple of a residual that is rounding means nothing; at the optimum it is 1
    scale = min(scale, (b2 - xq) / r2 if r2 > ROUNDING * b2 else 1.0)
    scale = max(scale, 0.0)
    gap = 0.5 * (1.0 - scale) ** 2 * r2
    for j in range(count):
        size = -scale * g[j] if nonnegative else abs(scale * g[j])
        term = abs(x[j]) * (l1[j] + 0.5 * l2[j] * abs(x[j])) + scale * x[j] * g[j]
        if l2[j] > 0.0 and size > l1[j]:
            term += (size - l1[j]) ** 2 / (2.0 * l2[j])
        gap += max(term, 0.0)
    return gap


@kernel()
def exact_step(x, direction, slope, curvature, l1):
    """Minimise slope t + curvature t^2 / 2 + sum_j l1_j |x_j + t d_j| over 0 <= t <= 1.

    ``slope`` and ``curvature`` belong to the smooth part. Returns (t, j) where j is the coordinate that
    sits at zero there, or -1.
    """
    n = x.size
    times = np.empty(n)
    which = np.empty(n, dtype=np.int64)
    count = 0
    for j in range(n):
        sign = np.sign(x[j]) if x[j] != 0.0 else np.sign(direction[j])
        slope += l1[j] * sign * direction[j]
        if x[j] * direction[j] < 0.0 and -x[j] / direction[j] < 1.0:
            times[count] = -x[j] / direction[j]
            which[count] = j
            count += 1
    order = np.argsort(times[:count])
    for k in order:
        t, j = times[k], which[k]
        if slope + t * curvature >= 0.0:
            return max(min(-slope / curvature, t), 0.0), -1
        slope += 2.0 * l1[j] * abs(direction[j])
        if slope + t * curvature >= 0.0:
            return t, j
    if curvature <= 0.0:
        return 1.0, -1
    return min(max(-slope / curvature, 0.0), 1.0), -1

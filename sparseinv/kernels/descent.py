"""Proximal-gradient and coordinate-descent loops for dense, CSC and matrix-free problems.

One call tree, one file: editing a kernel here invalidates the compiled code of all its callers.

Every kernel speaks of the penalty as ``terms = (l0, l1, l2, nonnegative, order, starts)``:
sum_j l0_j [x_j != 0] + l1_j |x_j| + l2_j |x_j|^2 / 2, or, when ``starts`` is not empty, block norms
sum_g l1_g ||x_g|| with group g = order[starts[g]:starts[g + 1]]. A matrix is
``layout = (dense, data, indices, indptr)`` with the dense half or the CSC half empty.
Reductions may be reassociated; no kernel assumes that numbers are finite.
"""

from __future__ import annotations

import numpy as np

from sparseinv.kernels.jit import kernel

REDUCE = {"reassoc", "contract"}


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
    if indptr.size == 0:
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
def sweep_group(layout, terms, x, r, squares, g):
    """Take one proximal step on group g (squares[g] >= ||A_g||^2), update r; return the change."""
    _, l1, _, _, order, starts = terms
    d = squares[g]
    lo, hi = starts[g], starts[g + 1]
    if not d > 0.0:
        if l1[g] > 0.0:
            for k in range(lo, hi):
                x[order[k]] = 0.0
        return 0.0
    size = 0.0
    trial = np.empty(hi - lo, dtype=x.dtype)
    for k in range(lo, hi):
        j = order[k]
        trial[k - lo] = x[j] - column_dot(layout, j, r) / d
        v = trial[k - lo]
        size += v.real * v.real + v.imag * v.imag
    size = np.sqrt(size)
    kept = size - l1[g] / d
    factor = kept / size if kept > 0.0 else 0.0
    change = 0.0
    for k in range(lo, hi):
        j = order[k]
        delta = trial[k - lo] * factor - x[j]
        if delta != 0.0:
            x[j] += delta
            column_add(layout, j, delta, r)
            change += delta.real * delta.real + delta.imag * delta.imag
    return np.sqrt(change * d)


@kernel()
def coordinate_descent(layout, terms, x, r, squares, active, inner, ratio):
    """Sweep once over everything, then up to ``inner`` times over what is not zero.

    The inner sweeps end once no change exceeds ``ratio`` times the first one. Returns (largest change
    of A x in the full sweep, inner sweeps done, number of active coordinates or groups). ``active``
    is scratch of shape (n,) or (number of groups,).
    """
    starts, order = terms[5], terms[4]
    blocks = starts.size > 0
    count = starts.size - 1 if blocks else x.size
    largest = 0.0
    kept = 0
    for j in range(count):
        if blocks:
            change = sweep_group(layout, terms, x, r, squares, j)
            alive = x[order[starts[j]]] != 0.0
        else:
            change = sweep_coordinate(layout, terms, x, r, squares, j)
            alive = x[j] != 0.0
        largest = max(largest, change)
        if alive:
            active[kept] = j
            kept += 1
    first = 0.0
    done = 0
    for s in range(inner):
        worst = 0.0
        for k in range(kept):
            if blocks:
                change = sweep_group(layout, terms, x, r, squares, active[k])
            else:
                change = sweep_coordinate(layout, terms, x, r, squares, active[k])
            worst = max(worst, change)
        done += 1
        if s == 0:
            first = worst
        if worst <= ratio * first:
            break
    return largest, done, kept


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
def filter_columns(layout, index, l1, l2, nonnegative, r, sweeps, x):
    """Sweep over the columns ``index`` only, x starting at zero; r is kept current, norms are formed here."""
    dense, data, _, indptr = layout
    squares = np.zeros(index.size)
    for k in range(index.size):
        j = index[k]
        total = 0.0
        if indptr.size == 0:
            for i in range(r.size):
                total += dense[i, j] * dense[i, j]
        else:
            for i in range(indptr[j], indptr[j + 1]):
                total += data[i] * data[i]
        squares[k] = total
    for _ in range(sweeps):
        for k in range(index.size):
            d = squares[k]
            if not d > 0.0:
                continue
            old = x[k]
            new = shrink(old - column_dot(layout, index[k], r) / d, 1.0 / d, 0.0, l1[k], l2[k], nonnegative)
            if new != old:
                x[k] = new
                column_add(layout, index[k], new - old, r)


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
    if r2 > 0.0:
        scale = min(scale, (b2 - xq) / r2)
    scale = min(max(scale, 0.0), 1e300)
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

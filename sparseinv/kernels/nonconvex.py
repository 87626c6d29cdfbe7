"""Coordinate descent and prox for penalties that are concave in the modulus: Lp, log-sum, MCP, SCAD.

Every kernel speaks of the penalty as ``curve = (code, lam, shape, unit, nonnegative)``: which function (the
codes below), the level and shape of every coefficient, and, for SCAD, what converts a level into a size of x.
One call tree, one file, as in `sparseinv.kernels.descent`; a matrix is (dense, data, indices, indptr) there
and here.
"""

from __future__ import annotations

import numpy as np

from sparseinv.kernels.jit import kernel

REDUCE = {"reassoc", "contract"}
LP, LOGSUM, MCP, SCAD = 1, 2, 3, 4


@kernel()
def lp_threshold(size, u, p):
    """Minimise (x - size)^2 / 2 + u x^p over x >= 0; a tie goes to zero."""
    # x = size * y leaves one parameter: (y - 1)^2 / 2 + w y^p
    w = u * size ** (p - 2.0)
    least = 2.0 * (1.0 - p) / (2.0 - p)  # the smallest y that is not zero
    if not w < least ** (2.0 - p) / (2.0 * (1.0 - p)):
        return 0.0
    steps = 50
    y = 1.0
    if p == 0.5:
        y = 2.0 / 3.0 * (1.0 + np.cos(2.0 / 3.0 * np.arccos(-0.75 * np.sqrt(3.0) * w)))
        steps = 1
    elif p == 2.0 / 3.0:
        first = np.cbrt(1.0 / 16.0 + np.sqrt(max(1.0 / 256.0 - 8.0 * w**3 / 729.0, 0.0)))
        root = np.sqrt(2.0 * (first + 2.0 * w / 9.0 / first))
        y = (root + np.sqrt(max(2.0 / root - root * root, 0.0))) ** 3 / 8.0
        steps = 1
    # the derivative is convex in y, so Newton's method from the right never passes the larger root
    for _ in range(steps):
        pull = w * p * y ** (p - 1.0)
        following = y - (y - 1.0 + pull) / (1.0 - (1.0 - p) * pull / y)
        done = abs(following - y) <= 2e-16 * y
        y = max(following, least)
        if done:
            break
    return size * y


@kernel()
def logsum_threshold(size, u, eps):
    """Minimise (x - size)^2 / 2 + u log(1 + x / eps) over x >= 0; a tie goes to zero."""
    total = size + eps
    inside = 1.0 - 4.0 * (u / total) / total
    if not inside >= 0.0:
        return 0.0
    root = total * np.sqrt(inside)
    # the larger root of x^2 + (eps - size) x + u - eps size, without cancellation
    x = 0.5 * (size - eps + root) if size >= eps else 2.0 * (eps * size - u) / (eps - size + root)
    if not x > 0.0 or u * np.log1p(x / eps) >= x * (size - 0.5 * x):
        return 0.0
    return x


@kernel()
def mcp_threshold(size, step, lam, gamma):
    """Minimise (x - size)^2 / 2 + step MCP(x) over x >= 0; a tie goes to zero."""
    if step >= gamma:  # concave up to the plateau: all or nothing
        return size if size > lam * np.sqrt(gamma) * np.sqrt(step) else 0.0
    if size >= gamma * lam:
        return size
    return max(size - step * lam, 0.0) / ((gamma - step) / gamma)


@kernel()
def scad_threshold(size, step, lam, a, unit):
    """Minimise (x - size)^2 / 2 + step SCAD(x) over x >= 0; a tie goes to the smaller x."""
    soft = max(size - step * lam, 0.0)
    if step < (a - 1.0) * unit:
        if soft <= unit * lam:
            return soft
        if size >= a * unit * lam:
            return size
        return (size * (a - 1.0) - step * a * lam) / (a - 1.0 - step / unit)
    # the bent part is concave: a minimum lies in front of it or on the plateau
    if soft > 0.0:
        return size if size > 0.5 * lam * (step + (a + 1.0) * unit) else soft
    return size if size > lam * np.sqrt((a + 1.0) * unit) * np.sqrt(step) else 0.0


@kernel()
def threshold(code, v, step, lam, shape, unit, nonnegative):
    """Return the prox of step * penalty at the scalar v."""
    if lam == 0.0:
        return 0.0 * v if nonnegative and v.real < 0.0 else v
    if (nonnegative and v.real <= 0.0) or v == 0.0 or not lam < np.inf:
        return 0.0 * v
    size = abs(v)
    if code == LP:
        kept = lp_threshold(size, step * lam, shape)
    elif code == LOGSUM:
        kept = logsum_threshold(size, step * lam, shape)
    elif code == MCP:
        kept = mcp_threshold(size, step, lam, shape)
    else:
        kept = scad_threshold(size, step, lam, shape, unit)
    return v * (kept / size)


@kernel()
def prox(curve, v, step, out):
    """Write the prox of step_j * penalty_j at v_j into out."""
    code, lam, shape, unit, nonnegative = curve
    for j in range(v.size):
        out[j] = threshold(code, v[j], step[j], lam[j], shape[j], unit, nonnegative)


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
def sweep_coordinate(layout, curve, x, r, squares, j):
    """Minimise over coordinate j, update r; return the change of A x in norm."""
    code, lam, shape, unit, nonnegative = curve
    d = squares[j]
    old = x[j]
    if d > 0.0:
        v = old - column_dot(layout, j, r) / d
        new = threshold(code, v, 1.0 / d, lam[j], shape[j], unit, nonnegative)
    elif lam[j] > 0.0:
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
def concave_descent(layout, curve, x, r, squares, active, inner, ratio):
    """Sweep once over everything, then up to ``inner`` times over what is not zero.

    The inner sweeps end once no change exceeds ``ratio`` times the first one. Returns (largest change of
    A x in the full sweep, inner sweeps done, number of active coordinates).
    """
    largest = 0.0
    kept = 0
    for j in range(x.size):
        largest = max(largest, sweep_coordinate(layout, curve, x, r, squares, j))
        if x[j] != 0.0:
            active[kept] = j
            kept += 1
    first = 0.0
    done = 0
    for s in range(inner):
        worst = 0.0
        for k in range(kept):
            worst = max(worst, sweep_coordinate(layout, curve, x, r, squares, active[k]))
        done += 1
        if s == 0:
            first = worst
        if worst <= ratio * first:
            break
    return largest, done, kept

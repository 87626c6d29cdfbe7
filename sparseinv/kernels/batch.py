"""L1 and elastic-net problems that share one Gram matrix, solved one after the other without Python.

Minimises ``1/2 x^T G x - q^T x + sum_j l1_j |x_j| + l2_j x_j^2 / 2`` for G = A^T A, q = A^T b of each column.
The level falls by halves to the one asked for. At each level columns enter one by one, the one whose
entry lowers the objective most first; then the problem on the columns that entered is minimised by a few
coordinate sweeps and Newton steps with the signs held fixed. The full gradient G x - q is formed afresh
from the support after each round: n |S| multiplications.

Vectors of active coefficients are compact; ``index`` holds their column numbers. Nothing is allocated
inside the loops over columns of B.
"""

from __future__ import annotations

import numpy as np

from sparseinv.kernels.jit import kernel

FAST = {"reassoc", "contract", "nsz"}

RIDGE = 1e-14  # relative ridge of the Cholesky factor
SWEEPS = 10  # sweeps before a Newton step, at most
SWEEP_RATIO = 0.1  # they end once changes fall below this share of the first sweep's
INNER = 8  # rounds of sweeps and Newton steps on the same columns
ENTRY_SHARE = 0.1  # columns enter until the best one promises less than this share of the first one's step
NEWCOMERS = 40  # columns that may enter in one round, at least; more where the support is larger
CLIP = 0.3  # share of the model decrease that clipping flipped signs must reach
FACTOR = 0.5  # between two levels
SNAP = 1.1  # a level below this counts as 1
HEAVY = 4.0  # work of a column alone, over that of a call, at which it is given up


@kernel(fastmath=FAST)
def full_gradient(gram, q, index, count, values, g):
    """Write G x - q into g, for x with the given values on ``index`` and zero elsewhere."""
    n = q.size
    for i in range(n):
        g[i] = -q[i]
    k = 0
    while k + 4 <= count:
        a, b, c, d = values[k], values[k + 1], values[k + 2], values[k + 3]
        u, v, w, z = gram[:, index[k]], gram[:, index[k + 1]], gram[:, index[k + 2]], gram[:, index[k + 3]]
        for i in range(n):
            g[i] += a * u[i] + b * v[i] + c * w[i] + d * z[i]
        k += 4
    while k < count:
        a = values[k]
        u = gram[:, index[k]]
        for i in range(n):
            g[i] += a * u[i]
        k += 1


@kernel(fastmath=FAST)
def enter(gram, g, bar, inverse, unit2, factor2, nonnegative, index, count, most, x):
    """Let columns enter, best first, each by its own minimisation; return the new count.

    bar_j is the level that |g_j| must exceed, inf for columns that are active or excluded; inverse_j is
    1 / ||a_j||. g is kept current.
    """
    n = g.size
    first = 0.0
    delta = 0.0
    j = -1
    while count < most:
        best = -1
        top = ENTRY_SHARE * first
        if j >= 0:
            column = gram[:, j]
            for i in range(n):
                g[i] += delta * column[i]
        for i in range(n):
            size = -g[i] if nonnegative else abs(g[i])
            gain = (size - bar[i]) * inverse[i]
            if gain > top:
                top = gain
                best = i
        if best < 0:
            return count
        if j < 0:
            first = top
        j = best
        size = -g[j] if nonnegative else abs(g[j])
        delta = (size - bar[j]) / (gram[j, j] + factor2 * unit2[j])
        if g[j] > 0.0:
            delta = -delta
        bar[j] = np.inf
        index[count] = j
        x[count] = delta
        count += 1
    if j >= 0:
        column = gram[:, j]
        for i in range(n):
            g[i] += delta * column[i]
    return count


@kernel(fastmath=FAST)
def sweep(part, count, x, g, l1, l2, nonnegative):
    """Minimise over each active coefficient in turn, at most SWEEPS times over."""
    first = 0.0
    for s in range(SWEEPS):
        worst = 0.0
        for j in range(count):
            d = part[j, j]
            if not d > 0.0:
                continue
            old = x[j]
            v = d * old - g[j]
            size = abs(v) - l1[j]
            if size <= 0.0 or (nonnegative and v <= 0.0):
                new = 0.0
            else:
                new = size / (d + l2[j])
                if v < 0.0:
                    new = -new
            if new == old:
                continue
            delta = new - old
            x[j] = new
            row = part[j]
            for i in range(count):
                g[i] += delta * row[i]
            worst = max(worst, delta * delta * d)
        if s == 0:
            first = worst
        if worst <= SWEEP_RATIO * SWEEP_RATIO * first:
            break


@kernel(fastmath=FAST)
def factorise(H, k):
    """Overwrite the lower triangle of H by its Cholesky factor; return whether H is positive definite."""
    for i in range(k):
        row = H[i]
        for j in range(i):
            other = H[j]
            total = 0.0
            for p in range(j):
                total += row[p] * other[p]
            row[j] = (row[j] - total) * other[j]
        total = 0.0
        for p in range(i):
            total += row[p] * row[p]
        pivot = row[i] - total
        if not pivot > 0.0:
            return False
        row[i] = 1.0 / np.sqrt(pivot)  # the diagonal holds reciprocals
    return True


@kernel(fastmath=FAST)
def substitute(H, k, y):
    """Solve L L^T y = y in place."""
    for i in range(k):
        row = H[i]
        total = 0.0
        for p in range(i):
            total += row[p] * y[p]
        y[i] = (y[i] - total) * row[i]
    for i in range(k - 1, -1, -1):
        row = H[i]
        y[i] *= row[i]
        value = y[i]
        for p in range(i):
            y[p] -= row[p] * value


@kernel(fastmath=FAST)
def solve_signed(part, live, k, slope, l2, H, step):
    """Write -(G_SS + diag(l2))^{-1} slope into step; return whether a factor was found."""
    trace = 0.0
    for i in range(k):
        trace += part[live[i], live[i]] + l2[live[i]]
    for attempt in range(3):
        ridge = RIDGE if attempt == 0 else (1e-10 if attempt == 1 else 1e-7)
        ridge *= trace / k
        for i in range(k):
            row, source = H[i], part[live[i]]
            for j in range(i + 1):
                row[j] = source[live[j]]
            row[i] += l2[live[i]] + ridge
        if factorise(H, k):
            for i in range(k):
                step[i] = -slope[i]
            substitute(H, k, step)
            return True
    return False


@kernel(fastmath=FAST)
def value(count, x, g, q, l1, l2):
    """Return the objective less 1/2 ||b||^2 for g = G x - q."""
    total = 0.0
    for j in range(count):
        size = abs(x[j])
        if size > 0.0:
            total += 0.5 * x[j] * (g[j] - q[j]) + size * (l1[j] + 0.5 * l2[j] * size)
    return total


@kernel(fastmath=FAST)
def part_gradient(part, count, x, q, g):
    """Write G x - q on the active columns into g."""
    for i in range(count):
        g[i] = -q[i]
    for j in range(count):
        v = x[j]
        if v != 0.0:
            row = part[j]
            for i in range(count):
                g[i] += v * row[i]


@kernel()
def copy(count, source, target):
    """Copy the first entries."""
    for i in range(count):
        target[i] = source[i]


@kernel(fastmath=FAST)
def line_search(k, live, x, step, l1, smooth, curvature, nonnegative):
    """Minimise smooth t + curvature t^2 / 2 + sum_j l1_j |x_j + t d_j| over 0 <= t <= 1 exactly.

    Returns (t, j) where j is the place in ``live`` of the coefficient that sits at zero there, or -1.
    """
    slope = smooth
    for i in range(k):
        v = x[live[i]]
        sign = 1.0 if v > 0.0 or (v == 0.0 and step[i] > 0.0) else -1.0
        slope += l1[live[i]] * sign * step[i]
    done = 0.0
    while True:
        t, at = 1.0, -1
        for i in range(k):
            v = x[live[i]]
            if v * step[i] < 0.0:
                reach = -v / step[i]
                if reach > done and reach < t:
                    t, at = reach, i
        if at < 0 or slope + t * curvature >= 0.0:
            if slope + t * curvature < 0.0 or curvature <= 0.0:
                return 1.0, -1
            return max(min(-slope / curvature, t), 0.0), -1
        if nonnegative:
            return t, at
        slope += 2.0 * l1[live[at]] * abs(step[at])
        if slope + t * curvature >= 0.0:
            return t, at
        done = t


@kernel(fastmath=FAST)
def keep_lower(part, count, trial, trial_g, q, l1, l2, lowest, best, best_g):
    """Form G trial - q; copy trial to best if its objective is below ``lowest``; return the lower one."""
    part_gradient(part, count, trial, q, trial_g)
    reached = value(count, trial, trial_g, q, l1, l2)
    if not reached < lowest:
        return lowest
    copy(count, trial, best)
    copy(count, trial_g, best_g)
    return reached


@kernel(fastmath=FAST)
def newton(part, count, x, g, q, l1, l2, nonnegative, live, H, slope, step, trial, trial_g, best, best_g):
    """Take a Newton step with the signs held fixed; return how many signs flipped, -1 without a factor.

    Flipped coefficients are clipped to zero if that keeps a fair share of the decrease; else they are
    dropped and the rest is solved again, and the exact minimiser along the step is tried as well. The
    lowest objective wins, so the step never rises.
    """
    k = 0
    for j in range(count):
        if x[j] != 0.0 or (l1[j] == 0.0 and not nonnegative):
            live[k] = j
            k += 1
    if k == 0:
        return 0
    for i in range(k):
        j = live[i]
        sign = 1.0 if x[j] > 0.0 or nonnegative else (-1.0 if x[j] < 0.0 else 0.0)
        slope[i] = g[j] + l1[j] * sign + l2[j] * x[j]
    if not solve_signed(part, live, k, slope, l2, H, step):
        return -1
    before = value(count, x, g, q, l1, l2)
    model = 0.0
    flips = 0
    for j in range(count):
        trial[j] = 0.0
    for i in range(k):
        j = live[i]
        model -= 0.5 * slope[i] * step[i]
        z = x[j] + step[i]
        bound = l1[j] > 0.0 or nonnegative
        if bound and z * (1.0 if nonnegative else x[j]) < 0.0:
            flips += 1
            z = 0.0
        trial[j] = z
    lowest = keep_lower(part, count, trial, trial_g, q, l1, l2, np.inf, best, best_g)
    if flips == 0:
        copy(count, trial, x)
        copy(count, trial_g, g)
        return 0
    if lowest > before - CLIP * model:
        smooth, curvature = 0.0, 0.0
        for i in range(k):
            j = live[i]
            smooth += (g[j] + l2[j] * x[j]) * step[i]
            total = l2[j] * step[i]
            row = part[j]
            for p in range(k):
                total += row[live[p]] * step[p]
            curvature += total * step[i]
        t, at = line_search(k, live, x, step, l1, smooth, curvature, nonnegative)
        for i in range(k):
            trial[live[i]] = x[live[i]] + t * step[i]
            if nonnegative and trial[live[i]] < 0.0:
                trial[live[i]] = 0.0
        if at >= 0:
            trial[live[at]] = 0.0
        lowest = keep_lower(part, count, trial, trial_g, q, l1, l2, lowest, best, best_g)
        # drop what flipped and solve for the rest
        kept = 0
        for i in range(k):
            j = live[i]
            bound = l1[j] > 0.0 or nonnegative
            if not (bound and (x[j] + step[i]) * (1.0 if nonnegative else x[j]) < 0.0):
                live[kept] = j
                kept += 1
        for i in range(kept):
            j = live[i]
            sign = 1.0 if x[j] > 0.0 or nonnegative else (-1.0 if x[j] < 0.0 else 0.0)
            slope[i] = l1[j] * sign - q[j]
        if kept > 0 and solve_signed(part, live, kept, slope, l2, H, step):
            for j in range(count):
                trial[j] = 0.0
            for i in range(kept):
                j = live[i]
                bound = l1[j] > 0.0 or nonnegative
                if not (bound and step[i] * (1.0 if nonnegative else x[j]) < 0.0):
                    trial[j] = step[i]
            lowest = keep_lower(part, count, trial, trial_g, q, l1, l2, lowest, best, best_g)
    if lowest < before:
        copy(count, best, x)
        copy(count, best_g, g)
    return flips


@kernel(fastmath=FAST)
def gap_of(count, x, g, q, b2, l1, l2, factor1, factor2, nonnegative):
    """Return the duality gap from the gradient, for levels factor * l; unpenalised: taken as refitted.

    x, g, q, l1 and l2 run over the same columns, all of them or the active ones.
    """
    xq, xg = 0.0, 0.0
    scale, largest = np.inf, 1e300
    for j in range(count):
        if l2[j] > 0.0:
            largest = 1.0  # the best scale is no quotient then, but it tends to 1
        if x[j] != 0.0:
            xq += x[j] * q[j]
            xg += x[j] * g[j]
        size = -g[j] if nonnegative else abs(g[j])
        bar = factor1 * l1[j]
        if l2[j] == 0.0 and bar > 0.0 and size * scale > bar:
            scale = bar / size
    r2 = max(b2 - xq + xg, 0.0)
    if r2 > 0.0:
        scale = min(scale, (b2 - xq) / r2)
    scale = min(max(scale, 0.0), largest)
    gap = 0.5 * (1.0 - scale) ** 2 * r2
    for j in range(count):
        bar, ridge = factor1 * l1[j], factor2 * l2[j]
        term = 0.0
        if x[j] != 0.0:
            term = abs(x[j]) * (bar + 0.5 * ridge * abs(x[j])) + scale * x[j] * g[j]
        if ridge > 0.0:
            size = -scale * g[j] if nonnegative else scale * abs(g[j])
            if size > bar:
                term += (size - bar) ** 2 / (2.0 * ridge)
        gap += max(term, 0.0)
    return gap


@kernel(fastmath=FAST)
def top_level(q, unit1, nonnegative):
    """Return the factor on the l1 levels from which on x = 0 (without unpenalised columns)."""
    top = 0.0
    for j in range(q.size):
        size = q[j] if nonnegative else abs(q[j])
        if unit1[j] > 0.0 and size > top * unit1[j]:
            top = size / unit1[j]
    return top


@kernel(fastmath=FAST)
def solve_traces(
    gram, inverse, unit1, unit2, nonnegative, Q, b2, factors, targets, X, rounds, first, last, work, most,
    limit,
):  # fmt: skip
    """Solve columns first, ..., last - 1 of Q until ``work`` multiplications are spent; return the next one.

    Parameters: gram (n, n) column-major; inverse_j = 1 / ||a_j||, 0 for zero columns; levels of column c
    are factors[0, c] * unit1 and factors[1, c] * unit2 (unit1 inf: excluded; both 0: unpenalised); Q and
    X (n, c) column-major; targets the gaps to reach. X holds the starts; one that is no better than zero
    is left aside. rounds[c] becomes the rounds done (at most ``limit``), negative where the target was
    missed: then X holds the last point. Given up are supports of ``most`` columns, and columns that take
    more than HEAVY * ``work`` by themselves.
    """
    n = Q.shape[0]
    g = np.empty(n)
    bar = np.empty(n)
    index = np.empty(most, dtype=np.int64)
    live = np.empty(most, dtype=np.int64)
    part = np.empty((most, most))
    H = np.empty((most, most))
    x, ga, qa = np.empty(most), np.empty(most), np.empty(most)
    l1, l2 = np.empty(most), np.empty(most)
    slope, step = np.empty(most), np.empty(most)
    trial, trial_g = np.empty(most), np.empty(most)
    best, best_g = np.empty(most), np.empty(most)
    c = first
    spent = 0.0
    while c < last and spent < work:
        before = spent
        q, out = Q[:, c], X[:, c]
        f1, f2, goal = factors[0, c], factors[1, c], targets[c]
        if not b2[c] > 0.0:  # x = 0 is the answer, wherever a run might start
            for j in range(n):
                out[j] = 0.0
            rounds[c] = 0
            c += 1
            continue
        count = 0
        for j in range(n):
            free = unit1[j] == 0.0 and inverse[j] > 0.0
            if (free or out[j] != 0.0) and count < most:
                index[count] = j
                x[count] = out[j]
                count += 1
        full_gradient(gram, q, index, count, x, g)
        for k in range(count):
            j = index[k]
            ga[k], qa[k], l1[k], l2[k] = g[j], q[j], f1 * unit1[j], f2 * unit2[j]
        level = 1.0
        if not value(count, x, ga, qa, l1, l2) < 0.0:
            kept = 0
            for k in range(count):
                if unit1[index[k]] == 0.0:
                    index[kept], x[kept] = index[k], 0.0
                    kept += 1
            count = kept
            for j in range(n):
                out[j], g[j] = 0.0, -q[j]
            level = max(1.0, FACTOR * top_level(q, unit1, nonnegative) / f1)
            if level < SNAP:
                level = 1.0
        rounds[c] = -1
        lowest = np.inf
        for r in range(1, limit + 1):
            rounds[c] = -r
            for j in range(n):
                bar[j] = level * f1 * unit1[j] if inverse[j] > 0.0 else np.inf
            for k in range(count):
                bar[index[k]] = np.inf
            room = min(most, count + max(NEWCOMERS, count // 2))
            held = count
            count = enter(gram, g, bar, inverse, unit2, f2, nonnegative, index, count, room, x)
            spent += 4.0 * n * (count - held)
            for k in range(count):
                j = index[k]
                ga[k], qa[k] = g[j], q[j]
                l1[k], l2[k] = level * f1 * unit1[j], f2 * unit2[j]
                column = gram[:, j]
                row = part[k]
                for i in range(count):
                    row[i] = column[index[i]]
            inner = INNER if level == 1.0 else 1
            for _ in range(inner):
                sweep(part, count, x, ga, l1, l2, nonnegative)
                flips = newton(
                    part, count, x, ga, qa, l1, l2, nonnegative, live, H, slope, step, trial, trial_g, best,
                    best_g,
                )  # fmt: skip
                spent += count * (count * (0.4 * count + 40.0))
                if flips == 0 or (
                    inner > 1 and gap_of(count, x, ga, qa, b2[c], l1, l2, 1.0, 1.0, nonnegative) <= 0.1 * goal
                ):
                    break
            kept = 0
            for k in range(count):
                if x[k] != 0.0 or l1[k] == 0.0:
                    index[kept], x[kept] = index[k], x[k]
                    kept += 1
            count = kept
            for j in range(n):
                out[j] = 0.0
            for k in range(count):
                out[index[k]] = x[k]
            if count == most or spent - before > HEAVY * work:
                break
            full_gradient(gram, q, index, count, x, g)
            spent += n * (4.0 * count + 20.0)
            if level > 1.0:
                level *= FACTOR
                if level < SNAP:
                    level = 1.0
                continue
            gap = gap_of(n, out, g, q, b2[c], unit1, unit2, f1, f2, nonnegative)
            if gap <= goal:
                rounds[c] = r
                break
            if r > 30 and not gap < lowest:
                break
            lowest = min(lowest, gap)
        c += 1
    return c

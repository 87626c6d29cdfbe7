"""Branch and bound over supports in Gram form: relaxations, bounds, fixings and the queue of open nodes.

One call tree, one file: an edit elsewhere must not leave old compiled code. With H = G + diag(l2) for the
Gram matrix G, a shape is a pair (d, top) with H - diag(d) positive semidefinite and |x_j| <= top_j for the
points that are looked for. A coefficient then pays lam_j [x_j != 0] + d_j x_j^2 / 2, |x_j| <= top_j, whose
convex envelope and conjugate are known, and for every x, with v = c - (H - diag(d)) x,

    scale - 1/2 x^T (H - diag(d)) x - sum_free max(h_j(v_j) - lam_j, 0) - sum_in (h_j(v_j) - lam_j)

is a lower bound of the node. h_j is the conjugate of d_j x^2 / 2 on |x| <= top_j.
"""

from __future__ import annotations

import numpy as np

from sparseinv.kernels.jit import kernel

REDUCE = {"reassoc", "contract"}
# why `explore` returns
EMPTY, SPENT, ROWS, ROOM, SHAPE, WIDE, LEAF = range(7)
_DIVE = 16  # of so many nodes one begins a dive
ROUNDS = 60  # enlargements of a working set
_TUNED = 30  # of them after which the charge that stands for a limit on the non-zeros is adapted
_SWEEPS = 60  # sweeps between two bounds
_PATIENCE = 3  # sweeps before a Newton step is tried
_NEWTONS = 12  # of them between two bounds
_ROUGH = 0.3  # the same where it cannot close the node
_SHARE = 0.1  # of the distance to the incumbent: a relaxation solved that well is good enough
PRICE = 10.0  # multiplications of a shape, per cube of its coefficients
_ENTER = 0.6  # of the largest excess lets a column enter, where many would
_PART = 0.15  # of the work goes into shapes, at most
_SPARSE = 3  # with less than a n-th of the coefficients free, products are formed one by one
_DEPENDENT = 1e-8  # share of a squared norm below which products of columns have too few digits for a refit


@kernel()
def conjugate(v, d, top):
    """Return sup of v x - d x^2 / 2 over |x| <= top."""
    size = abs(v)
    if size <= d * top:
        return 0.5 * v * v / d if d > 0.0 else 0.0
    return size * top - 0.5 * d * top * top


@kernel()
def envelope(level, d, top):
    """Return (slope, limit): the convex envelope is slope |x| up to limit and the charge itself beyond."""
    if d > 0.0:
        edge = np.sqrt(2.0 * level / d)
        if edge <= top:
            return np.sqrt(2.0 * level * d), edge
    if top == np.inf:
        return 0.0, np.inf
    if top == 0.0:
        return np.inf, 0.0
    return level / top + 0.5 * d * top, top


@kernel()
def minimiser(z, q, d, top, slope, limit):
    """Minimise q x^2 / 2 - z x + slope |x| up to limit, d x^2 / 2 (shifted to be continuous) beyond."""
    t = abs(z)
    if t <= slope:
        return 0.0
    x = limit
    if q > 0.0:
        x = (t - slope) / q
    if x >= limit:
        x = max(limit, t / (q + d)) if q + d > 0.0 else top
        x = min(x, top)
    return x if z > 0.0 else -x


@kernel(fastmath=REDUCE)
def subtract(v, factor, row):
    """Subtract factor * row from v."""
    for j in range(v.size):
        v[j] -= factor * row[j]


@kernel(fastmath=REDUCE)
def correlate(v, c, W, w, x, Q, rows, slot, l2, d, free, frees):
    """Write v = c - (H - diag(d)) x, where few are free at these and at W only; return the work done."""
    spent = 0.0
    if _SPARSE * frees > v.size:
        v[:] = c
        for i in range(w):
            if x[i] != 0.0:
                j = W[i]
                subtract(v, x[i], rows[slot[j]])
                v[j] -= (l2[j] - d[j]) * x[i]
                spent += v.size
        return spent
    for k in range(frees):
        v[free[k]] = c[free[k]]
    for i in range(w):
        if x[i] != 0.0:
            row = rows[slot[W[i]]]
            for k in range(frees):
                v[free[k]] -= x[i] * row[free[k]]
            spent += _SPARSE * frees
    for i in range(w):
        at = c[W[i]]
        for k in range(w):
            at -= Q[i, k] * x[k]
        v[W[i]] = at
    return spent + w * w


@kernel(fastmath=REDUCE)
def refit(index, size, rows, slot, c, l2, L, y):
    """Fit the columns index[:size]; return half of what they explain, -1 where products are too inexact."""
    total = 0.0
    for i in range(size):
        row = rows[slot[index[i]]]
        own = row[index[i]] + l2[index[i]]
        left = own
        at = c[index[i]]
        for k in range(i):
            s = row[index[k]]
            for u in range(k):
                s -= L[i, u] * L[k, u]
            s /= L[k, k]
            L[i, k] = s
            left -= s * s
            at -= s * y[k]
        if not left > _DEPENDENT * own:
            return -1.0
        L[i, i] = np.sqrt(left)
        y[i] = at / L[i, i]
        total += 0.5 * y[i] * y[i]
    return total


@kernel()
def push(heap, size, keys, node):
    """Add a node to the heap; return the new size."""
    i = size
    while i > 0:
        up = (i - 1) >> 1
        if keys[heap[up]] <= keys[node]:
            break
        heap[i] = heap[up]
        i = up
    heap[i] = node
    return size + 1


@kernel()
def pop(heap, size, keys):
    """Take the node of lowest key off the heap; return it. The size is then one less."""
    first = heap[0]
    last = heap[size - 1]
    size -= 1
    i = 0
    while True:
        child = 2 * i + 1
        if child >= size:
            break
        if child + 1 < size and keys[heap[child + 1]] < keys[heap[child]]:
            child += 1
        if keys[heap[child]] >= keys[last]:
            break
        heap[i] = heap[child]
        i = child
    heap[i] = last
    return first


@kernel()
def sweep(W, w, x, v, Q, d, top, slope, limit, fixed):
    """Pass once over the working set W[:w], whose entries of x and v are in place order.

    Return the largest change, in units of what it alters in the relaxed objective.
    """
    largest = 0.0
    for i in range(w):
        j = W[i]
        old = x[i]
        q = Q[i, i]
        z = v[i] + q * old
        if fixed[j] == 1:
            new = z / (q + d[j]) if q + d[j] > 0.0 else 0.0
            new = min(max(new, -top[j]), top[j])
        elif fixed[j] == -1:
            new = 0.0
        else:
            new = minimiser(z, q, d[j], top[j], slope[j], limit[j])
        delta = new - old
        if delta != 0.0:
            x[i] = new
            subtract(v[:w], delta, Q[i, :w])
            largest = max(largest, (q + d[j]) * delta * delta)
    return largest


@kernel()
def judged(W, w, x, v, c, level, d, top, slope, limit, fixed):
    """Return (relaxed objective, its distance to the bound) if there were no columns but W[:w]."""
    value = 0.0
    distance = 0.0
    for i in range(w):
        j = W[i]
        size = abs(x[i])
        value -= 0.5 * x[i] * (c[j] + v[i])
        if fixed[j] == -1:
            continue
        h = conjugate(v[i], d[j], top[j])
        if fixed[j] == 1:
            charge = 0.5 * d[j] * size * size
        else:
            h = max(h - level[j], 0.0)
            charge = slope[j] * size if size <= limit[j] else level[j] + 0.5 * d[j] * size * size
            if size == 0.0:
                charge = 0.0
        value += charge
        distance += charge + h - x[i] * v[i]
    return value, distance


@kernel(fastmath=REDUCE)
def factorise(M, size, L):
    """Write the Cholesky factor of M[:size, :size] into L; return False where a pivot is not positive."""
    for i in range(size):
        for k in range(i):
            s = M[i, k]
            for u in range(k):
                s -= L[i, u] * L[k, u]
            L[i, k] = s / L[k, k]
        left = M[i, i]
        for u in range(i):
            left -= L[i, u] * L[i, u]
        if not left > 1e-13 * M[i, i]:
            return False
        L[i, i] = np.sqrt(left)
    return True


@kernel(fastmath=REDUCE)
def solved(L, size, y):
    """Overwrite y with the solution of L L^T t = y."""
    for i in range(size):
        s = y[i]
        for u in range(i):
            s -= L[i, u] * y[u]
        y[i] = s / L[i, i]
    for i in range(size - 1, -1, -1):
        t = y[i] / L[i, i]
        y[i] = t
        for u in range(i):
            y[u] -= L[i, u] * t


@kernel()
def newton(W, w, x, v, Q, c, level, d, top, slope, limit, fixed, M, L, y, index, xn, vn):
    """Take one Newton step on the coefficients between kinks, each held in its piece; False if it failed."""
    size = 0
    for i in range(w):
        j = W[i]
        a = abs(x[i])
        if a == 0.0 or fixed[j] == -1 or a >= top[j] or (fixed[j] == 0 and a == limit[j]):
            continue
        sign = 1.0 if x[i] > 0.0 else -1.0
        curved = fixed[j] == 1 or a > limit[j]
        y[size] = v[i] - (d[j] * x[i] if curved else slope[j] * sign)
        for k in range(size):
            M[size, k] = Q[i, index[k]]
        M[size, size] = Q[i, i] + (d[j] if curved else 0.0)
        index[size] = i
        size += 1
    if size == 0 or not factorise(M, size, L):
        return False
    solved(L, size, y)
    before, _ = judged(W, w, x, v, c, level, d, top, slope, limit, fixed)
    length = 1.0
    for _ in range(4):
        xn[:w] = x[:w]
        vn[:w] = v[:w]
        for k in range(size):
            i = index[k]
            j = W[i]
            new = x[i] + length * y[k]
            if fixed[j] == 1:
                new = min(max(new, -top[j]), top[j])
            else:
                a = abs(x[i])
                low, high = (limit[j], top[j]) if a > limit[j] else (0.0, limit[j])
                new = min(max(new, low), high) if x[i] > 0.0 else min(max(new, -high), -low)
            xn[i] = new
            if new != x[i]:
                subtract(vn[:w], new - x[i], Q[i, :w])
        after, _ = judged(W, w, xn, vn, c, level, d, top, slope, limit, fixed)
        if after < before:
            x[:w] = xn[:w]
            v[:w] = vn[:w]
            return True
        length *= 0.4
    return False


@kernel()
def settle(W, w, x, v, Q, c, level, d, top, slope, limit, fixed, enough, M, L, y, index, xn, vn):
    """Minimise over the working set until the distance to its bound is enough; return the work done."""
    spent = 0.0
    tries = 0
    for number in range(_SWEEPS):
        change = sweep(W, w, x, v, Q, d, top, slope, limit, fixed)
        spent += 1.0 * w * w
        if change <= enough:
            _, distance = judged(W, w, x, v, c, level, d, top, slope, limit, fixed)
            if distance <= enough:
                break
        if number >= _PATIENCE and tries < _NEWTONS:
            tries += 1
            spent += w * w * w / 6.0
            if not newton(W, w, x, v, Q, c, level, d, top, slope, limit, fixed, M, L, y, index, xn, vn):
                tries = _NEWTONS
    return spent


@kernel()
def enter(j, W, w, place, xs, Q, rows, slot, l2, d):
    """Let column j enter the working set at place w."""
    row = rows[slot[j]]
    for i in range(w):
        Q[w, i] = row[W[i]]
        Q[i, w] = row[W[i]]
    Q[w, w] = max(row[j] + l2[j] - d[j], 0.0)
    W[w] = j
    place[j] = w
    xs[w] = 0.0


@kernel()
def largest_of(values, size, count):
    """Return the sum of the count largest of values[:size], the last of them and the next; values is spoiled.

    With fewer than that, what lacks counts as zero.
    """
    if count <= 0:
        top = 0.0
        for i in range(size):
            top = max(top, values[i])
        return 0.0, np.inf, top
    if size <= count:
        total = 0.0
        last = np.inf
        for i in range(size):
            total += values[i]
            last = min(last, values[i])
        return total, (0.0 if size < count else last), 0.0
    low, high = 0, size - 1
    while low < high:
        pivot = values[(low + high) >> 1]
        i, k = low, high
        while i <= k:
            while values[i] > pivot:
                i += 1
            while values[k] < pivot:
                k -= 1
            if i <= k:
                values[i], values[k] = values[k], values[i]
                i += 1
                k -= 1
        if count - 1 <= k:
            high = k
        elif count - 1 >= i:
            low = i
        else:
            break
    total = 0.0
    for i in range(count):
        total += values[i]
    following = 0.0
    for i in range(count, size):
        following = max(following, values[i])
    return total, values[count - 1], following


@kernel()
def bound(x, v, W, w, c, scale, level, d, top, fixed, free, frees, most, h, scratch):
    """Return (bound, last, next): the lower bound at x; h receives the conjugates of free coefficients.

    With at most ``most`` non-zeros (-1: any number), last and next are the smallest conjugate that counts and
    the largest that does not.
    """
    quadratic = 0.0
    value = scale
    ones = 0
    for i in range(w):
        j = W[i]
        quadratic += x[i] * (c[j] - v[j])
        if fixed[j] == 1:
            ones += 1
            value -= conjugate(v[j], d[j], top[j])
            if most < 0:
                value += level[j]
    value -= 0.5 * quadratic
    if most < 0:
        for i in range(frees):
            j = free[i]
            h[j] = conjugate(v[j], d[j], top[j])
            if h[j] > level[j]:
                value -= h[j] - level[j]
        return value, 0.0, 0.0
    for i in range(frees):
        j = free[i]
        h[j] = conjugate(v[j], d[j], top[j])
        scratch[i] = h[j]
    total, last, following = largest_of(scratch, frees, most - ones)
    return value - total, last, following


@kernel()
def relaxed(x, v, W, w, c, scale, level, d, slope, limit, fixed, most, charge):
    """Return the relaxed objective at x; with at most ``most`` non-zeros less what charge pays for them."""
    value = scale
    for i in range(w):
        j = W[i]
        value -= 0.5 * x[i] * (c[j] + v[j])
        size = abs(x[i])
        if fixed[j] == 1 or size > limit[j]:
            value += level[j] + 0.5 * d[j] * size * size
        elif size > 0.0:
            value += slope[j] * size
    return value - charge * most if most >= 0 else value


# columns of the table of nodes
PARENT, FORM, FIRST, FIXED, START, LIVE, ASKED = 0, 1, 2, 3, 4, 5, 6
# places in the counters
NODES, OPEN, FIXES, KEPT, DONE, TURN, DIVING, WANTED, NODE, BEST, SEEN, LIMIT = range(12)
LOGGED, NOTED, TURNED = 12, 13, 14
# places in the numbers
UPPER, SLACK, CLOSED, WORK, TOTAL, SHAPED = range(6)


@kernel()
def gather(node, nodes, fixes, always, fixed, free, W):
    """Read what is fixed in a node; return (number of free coefficients, number of those that are in).

    fixed is 1 (in), -1 (out) or 0; free lists the free ones, W begins with those that are in.
    """
    fixed[:] = always
    w = 0
    while node >= 0:
        for i in range(nodes[node, FIRST], nodes[node, FIRST] + nodes[node, FIXED]):
            j = fixes[i]
            if j > 0:
                fixed[j - 1] = 1
                W[w] = j - 1
                w += 1
            else:
                fixed[-j - 1] = -1
        node = nodes[node, PARENT]
    frees = 0
    for j in range(fixed.size):
        if fixed[j] == 0:
            free[frees] = j
            frees += 1
    return frees, w


@kernel()
def keep(node, nodes, fixes, kept, values, counts, fresh, news, W, w, x, fixed):
    """Store what a node has learned: coefficients fixed on the way and the relaxed solution."""
    if news:
        start, count = nodes[node, FIRST], nodes[node, FIXED]
        at = counts[FIXES]
        for i in range(count):
            fixes[at + i] = fixes[start + i]
        for i in range(news):
            fixes[at + count + i] = fresh[i]
        nodes[node, FIRST], nodes[node, FIXED] = at, count + news
        counts[FIXES] = at + count + news
    at = counts[KEPT]
    nodes[node, START] = at
    for i in range(w):
        if x[i] != 0.0 and fixed[W[i]] >= 0:
            kept[at], values[at] = W[i], x[i]
            at += 1
    nodes[node, LIVE] = at - counts[KEPT]
    counts[KEPT] = at


@kernel()
def note(proof, counts, node, W, w, x, fresh, before, news, again):
    """Record a point and what it fixes; ``again`` puts it in the place of the last record."""
    log, columns, points, turned = proof
    if again:
        counts[LOGGED] -= 1
        counts[NOTED] = log[counts[LOGGED], 1]
    record, at, to = counts[LOGGED], counts[NOTED], counts[TURNED]
    log[record, 0], log[record, 1], log[record, 2], log[record, 3] = node, at, to, -1
    for i in range(w):
        if x[i] != 0.0:
            columns[at], points[at] = W[i], x[i]
            at += 1
    for i in range(before, news):
        turned[to] = fresh[i]
        to += 1
    counts[LOGGED], counts[NOTED], counts[TURNED] = record + 1, at, to


@kernel()
def shut(numbers, value):
    """Close a node, or a half of one, whose bound is value."""
    numbers[CLOSED] = min(numbers[CLOSED], value)


@kernel()
def fix(value, last, following, h, level, free, frees, fixed, most, numbers, fresh, news):
    """Fix what cannot be otherwise in a point better than the incumbent; return (news, free ones left)."""
    goal = numbers[UPPER] - numbers[SLACK]
    left = 0
    for i in range(frees):
        j = free[i]
        if most < 0:
            out, inside = value + max(h[j] - level[j], 0.0), value + max(level[j] - h[j], 0.0)
        else:
            out, inside = value + max(h[j] - following, 0.0), value + max(last - h[j], 0.0)
        if inside >= goal:
            fixed[j] = -1
            fresh[news] = -(j + 1)
            news += 1
            shut(numbers, inside)
        elif out >= goal:
            fixed[j] = 1
            fresh[news] = j + 1
            news += 1
            shut(numbers, out)
        else:
            free[left] = j
            left += 1
    return news, left


@kernel()
def improve(W, w, x, fixed, limit, rows, slot, c, scale, cost, l2, L, y, most, index, counts, numbers, best):
    """Refit the support that a relaxed solution suggests; keep it if it is better than the incumbent."""
    size = 0
    total = 0.0
    name = 0
    for i in range(w):
        j = W[i]
        if fixed[j] == 1 or (fixed[j] == 0 and x[i] != 0.0 and abs(x[i]) >= 0.5 * limit[j]):
            if size == y.size or size == most:
                return
            index[size] = j
            total += cost[j]
            name += (j + 1) * 2654435761 + (j + 1) * (j + 1) * 40503
            size += 1
    if total >= numbers[UPPER] or name == counts[SEEN]:
        return
    counts[SEEN] = name
    explained = refit(index, size, rows, slot, c, l2, L, y)
    if explained >= 0.0 and scale - explained + total < numbers[UPPER]:
        numbers[UPPER] = scale - explained + total
        best[:size] = index[:size]
        counts[BEST] = size


@kernel()
def choose(W, w, x, fixed, limit, free, frees, v, slope, weight):
    """Return the coefficient to branch on: the fractional one that explains most, or what comes next."""
    chosen, score = -1, -1.0
    for i in range(w):
        j = W[i]
        if fixed[j] == 0 and x[i] != 0.0:
            z = min(abs(x[i]) / limit[j], 1.0)
            mark = weight[j] * x[i] * x[i] * (1.0 if z < 1.0 - 1e-9 else 1e-6)
            if mark > score:
                chosen, score = j, mark
    if chosen >= 0:
        return chosen
    for i in range(frees):
        j = free[i]
        mark = v[j] * v[j] / weight[j]
        if mark > score:
            chosen, score = j, mark
    return chosen


@kernel()
def explore(data, shapes, store, proof, work, counts, numbers, budget):
    """Treat open nodes until ``budget`` multiplications are spent or something is needed; say what.

    EMPTY: no node is left. ROWS: the Gram rows work.wanted[:counts[WANTED]] are missing. ROOM: the store or
    the proof, where one is kept, is full. WIDE: working sets are larger than the scratch. SHAPE: node
    counts[NODE] has so few coefficients left that a shape of its own would pay. LEAF: node counts[NODE], no
    longer open, has a support whose refit takes the columns themselves.
    """
    c, cost, l2, weight, rows, slot, scale, most, always = data
    forms, tops, usable, few, rank, shrunk = shapes
    nodes, keys, charges, heap, fixes, kept, values = store
    fixed, free, W, place, xs, vs, v, h, scratch, level, slope, limit, fresh = work[:13]
    Q, M, L, y, xn, vn, index, best, wanted = work[13:]
    n, capacity = c.size, Q.shape[0]
    spent = 0.0
    level[:] = cost
    form, charge = -1, -1.0
    proving = proof[0].shape[0] > 0
    while spent < budget and counts[DONE] < counts[LIMIT]:
        if counts[DIVING] < 0 and counts[OPEN] == 0:
            return EMPTY
        full = nodes.shape[0] - counts[NODES] < 4 or fixes.size - counts[FIXES] < 2 * n + 8
        full = full or kept.size - counts[KEPT] < 2 * capacity + 8
        if proving and (
            proof[0].shape[0] - counts[LOGGED] < ROUNDS + 2
            or proof[1].size - counts[NOTED] < (ROUNDS + 2) * capacity
            or proof[3].size - counts[TURNED] < n + 8
        ):
            full = True
        if full:
            numbers[WORK] += spent
            numbers[TOTAL] += spent
            return ROOM
        if counts[DIVING] >= 0:
            node = counts[DIVING]
            counts[DIVING] = -1
        else:
            node = pop(heap, counts[OPEN], keys)
            counts[OPEN] -= 1
            counts[TURN] += 1
        goal = numbers[UPPER] - numbers[SLACK]
        if keys[node] >= goal:
            shut(numbers, keys[node])
            continue
        counts[DONE] += 1
        frees, w = gather(node, nodes, fixes, always, fixed, free, W)
        spent += 4.0 * n
        lowest = keys[node]
        shape = nodes[node, FORM]
        ones = w
        left = frees + ones
        asked = nodes[node, ASKED]
        if usable[shape]:
            pays = 0 < left <= few and (asked == 0 or left <= shrunk * asked)
            price = PRICE * left * left * left
            pays = pays and numbers[SHAPED] + price <= _PART * (numbers[TOTAL] + spent)
        else:
            pays = 0 < left <= rank and (asked == 0 or left < asked)
        if pays:
            nodes[node, ASKED] = left
            counts[NODE] = node
            counts[DONE] -= 1
            numbers[WORK] += spent
            numbers[TOTAL] += spent
            return SHAPE
        if ones + 8 > capacity and capacity < n:
            counts[DIVING] = node
            counts[DONE] -= 1
            return WIDE
        missing = 0
        for i in range(w):
            if slot[W[i]] < 0 and missing < wanted.size:
                wanted[missing] = W[i]
                missing += 1
        for i in range(nodes[node, LIVE]):
            j = kept[nodes[node, START] + i]
            if slot[j] < 0 and missing < wanted.size and fixed[j] == 0:
                wanted[missing] = j
                missing += 1
        if missing:
            counts[WANTED], counts[DIVING] = missing, node
            counts[DONE] -= 1
            numbers[WORK] += spent
            numbers[TOTAL] += spent
            return ROWS
        if most >= 0 and ones >= most:
            for i in range(frees):
                fixed[free[i]] = -1
            frees = 0
        d, top = forms[shape], tops[shape]
        if shape != form or (most >= 0 and charge != charges[node]):
            charge = charges[node]
            if most >= 0:
                level[:] = charge
            for j in range(n):
                slope[j], limit[j] = envelope(level[j], d[j], top[j])
            form = shape
        news = 0
        if frees == 0:
            size = w
            total = 0.0
            for i in range(w):
                total += cost[W[i]]
            explained = refit(W, size, rows, slot, c, l2, L, y) if size <= y.size else -1.0
            if explained < 0.0:
                counts[NODE] = node
                numbers[WORK] += spent
                numbers[TOTAL] += spent
                return LEAF
            exact = scale - explained + total
            if exact < numbers[UPPER]:
                numbers[UPPER] = exact
                best[:size] = W[:size]
                counts[BEST] = size
            shut(numbers, max(exact, lowest))
            continue
        closed = False
        charged = 0.0
        for i in range(w):
            charged += cost[W[i]]
        lowest = max(lowest, charged)
        value, last, following = lowest, np.inf, 0.0
        if usable[shape]:
            place[:] = -1
            ones_only = w
            w = 0
            for i in range(ones_only):
                enter(W[i], W, w, place, xs, Q, rows, slot, l2, d)
                w += 1
            for i in range(nodes[node, LIVE]):
                j = kept[nodes[node, START] + i]
                if place[j] < 0 and fixed[j] == 0 and w < capacity:
                    enter(j, W, w, place, xs, Q, rows, slot, l2, d)
                    w += 1
                if place[j] >= 0:
                    xs[place[j]] = values[nodes[node, START] + i]
            scratch[:] = 0.0
            enough = np.inf
            noted, again = -np.inf, False
            for number in range(ROUNDS):
                spent += correlate(v, c, W, w, xs, Q, rows, slot, l2, d, free, frees)
                value, last, following = bound(
                    xs, v, W, w, c, scale, level, d, top, fixed, free, frees, most, h, scratch
                )
                spent += 6.0 * n
                lowest = max(lowest, value)
                before = news
                if lowest < goal:
                    news, frees = fix(
                        value, last, following, h, level, free, frees, fixed, most, numbers, fresh, news
                    )
                if proving:
                    # of the points that fix nothing only the best and the last count
                    note(proof, counts, node, W, w, xs, fresh, before, news, again and value >= noted)
                    noted, again = value, news == before
                if lowest >= goal:
                    closed = True
                    break
                for i in range(before, news):
                    j = fresh[i]
                    if j > 0:
                        ones += 1
                        charged += cost[j - 1]
                        if place[j - 1] < 0:
                            if slot[j - 1] < 0 or w == capacity:
                                wanted[0] = j - 1
                                missing = 1
                            else:
                                enter(j - 1, W, w, place, xs, Q, rows, slot, l2, d)
                                w += 1
                    elif place[-j - 1] >= 0:
                        xs[place[-j - 1]] = 0.0
                if missing:
                    break
                changed = news > before
                if changed and frees == 0:
                    break
                primal = relaxed(xs, v, W, w, c, scale, level, d, slope, limit, fixed, most, charge)
                # those that would enter, the strongest first
                strongest = 1.0
                outside = 0
                for i in range(frees):
                    j = free[i]
                    if place[j] < 0 and abs(v[j]) > slope[j] * (1.0 + 1e-10):
                        strongest = max(strongest, abs(v[j]) / slope[j])
                        outside += 1
                distance = max(numbers[UPPER] - lowest, numbers[SLACK])
                gap = primal - value
                share = _SHARE if outside == 0 and primal > goal else _ROUGH
                if number > 0 and not changed and gap <= share * distance:
                    break
                if outside:
                    threshold = 1.0 if outside <= 8 else 1.0 + _ENTER * (strongest * (1.0 - 1e-9) - 1.0)
                    for i in range(frees):
                        j = free[i]
                        if place[j] >= 0 or not abs(v[j]) > slope[j] * max(threshold, 1.0 + 1e-10):
                            continue
                        if slot[j] < 0:
                            if missing < wanted.size:
                                wanted[missing] = j
                                missing += 1
                        elif w < capacity:
                            enter(j, W, w, place, xs, Q, rows, slot, l2, d)
                            w += 1
                        elif capacity < n:
                            missing = 1
                    if missing:
                        break
                elif gap <= 1e-15 * scale:
                    break
                if number == 0 or outside == 0:
                    enough = max(0.3 * _SHARE * distance if number == 0 else 0.1 * enough, 1e-17 * scale)
                for i in range(w):
                    vs[i] = v[W[i]]
                spent += settle(
                    W, w, xs, vs, Q, c, level, d, top, slope, limit, fixed, enough, M, L, y, index, xn, vn
                )
                if most >= 0 and number < _TUNED:
                    ratio = 0.0
                    for i in range(w):
                        j = W[i]
                        if fixed[j] == 0 and xs[i] != 0.0:
                            ratio += min(abs(xs[i]) / limit[j], 1.0)
                    ratio = ratio / (most - ones)
                    if abs(ratio - 1.0) > 0.01:
                        charge = max(charge * min(max(ratio, 0.5), 2.0), 1e-12 * scale)
                        level[:] = charge
                        for j in range(n):
                            slope[j], limit[j] = envelope(charge, d[j], top[j])
        charges[node] = charge
        if missing:
            keys[node] = lowest
            keep(node, nodes, fixes, kept, values, counts, fresh, news, W, w, xs, fixed)
            counts[WANTED], counts[DIVING] = missing, node
            counts[DONE] -= 1
            numbers[WORK] += spent
            numbers[TOTAL] += spent
            return WIDE if w == capacity else ROWS
        if closed:
            shut(numbers, lowest)
            continue
        keys[node] = lowest
        keep(node, nodes, fixes, kept, values, counts, fresh, news, W, w, xs, fixed)
        if frees == 0:
            counts[DIVING] = node
            continue
        if usable[shape]:
            improve(
                W, w, xs, fixed, limit, rows, slot, c, scale, cost, l2, L, y,
                most, index, counts, numbers, best,
            )  # fmt: skip
            if lowest >= numbers[UPPER] - numbers[SLACK]:
                shut(numbers, lowest)
                continue
        else:
            v[:] = c
            w = 0
        chosen = choose(W, w, xs, fixed, limit, free, frees, v, slope, weight)
        if not usable[shape]:
            inside, out = lowest, lowest
        elif most < 0:
            out = max(lowest, value + max(h[chosen] - level[chosen], 0.0))
            inside = max(lowest, value + max(level[chosen] - h[chosen], 0.0))
        else:
            out = max(lowest, value + max(h[chosen] - following, 0.0))
            inside = max(lowest, value + max(last - h[chosen], 0.0))
        if not usable[shape]:
            inside = max(inside, charged + cost[chosen])
        for side in range(2):
            child = counts[NODES]
            counts[NODES] += 1
            nodes[child, PARENT], nodes[child, FORM] = node, shape
            nodes[child, FIRST], nodes[child, FIXED] = counts[FIXES], 1
            fixes[counts[FIXES]] = -(chosen + 1) if side == 0 else chosen + 1
            counts[FIXES] += 1
            nodes[child, START], nodes[child, LIVE] = nodes[node, START], nodes[node, LIVE]
            nodes[child, ASKED] = nodes[node, ASKED]
            keys[child] = out if side == 0 else inside
            charges[child] = charges[node]
            if side == 1 and counts[TURN] % _DIVE == 0 and usable[shape]:
                counts[DIVING] = child
            else:
                counts[OPEN] = push(heap, counts[OPEN], keys, child)
    numbers[WORK] += spent
    numbers[TOTAL] += spent
    return SPENT

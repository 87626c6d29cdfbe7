"""Vector work of the matrix-free solver: a search in the plane of two directions, and the free gap.

``terms`` is the convex penalty as in `sparseinv.kernels.descent`. With image inner products known, the
objective at z + a d + c p costs no product with A. Only blocks (coordinates or groups) that move are
visited; ``live[:count]`` lists them. No kernel allocates. Sums that may be reassociated stand in loops of
their own: next to a store, their order would depend on where the arrays happen to lie in memory.
"""

from __future__ import annotations

import numpy as np

from sparseinv.kernels.jit import kernel

REDUCE = {"reassoc", "contract"}
KINK = 1e-8  # what is smaller than this, relative to the largest coefficient, counts as zero


@kernel()
def difference(terms, y, z, p, d, live):
    """Write y - z into d and list the blocks in which d or p is not zero; return (count, ||d||^2)."""
    order, starts = terms[4], terms[5]
    total = 0.0
    count = 0
    if starts.size > 0:
        for b in range(starts.size - 1):
            moving = False
            for k in range(starts[b], starts[b + 1]):
                j = order[k]
                d[j] = y[j] - z[j]
                total += d[j].real * d[j].real + d[j].imag * d[j].imag
                moving = moving or d[j] != 0.0 or p[j] != 0.0
            if moving:
                live[count] = b
                count += 1
        return count, total
    for j in range(z.size):
        v = y[j] - z[j]
        d[j] = v
        total += v.real * v.real + v.imag * v.imag
        live[count] = j
        count += int((v != 0.0) | (p[j] != 0.0))
    return count, total


@kernel()
def gather(terms, barrier, live, count, z, d, p, vectors, numbers):
    """Copy what `along` needs of single coefficients next to one another."""
    _, l1, l2, nonnegative, _, _ = terms
    for i in range(count):
        j = live[i]
        v = z[j]
        size = abs(v)
        vectors[0, i] = v
        vectors[1, i] = d[j]
        vectors[2, i] = p[j]
        numbers[0, i] = l1[j]
        numbers[1, i] = l2[j]
        level = barrier if nonnegative and v.real < 0.0 else l1[j]
        numbers[2, i] = size * (level + 0.5 * l2[j] * size)


@kernel(fastmath=REDUCE)
def image_products(r, Ad, Ap, r_y):
    """Write r + Ad into r_y; return Re <r, Ad>, Re <r, Ap>, ||Ad||^2, Re <Ad, Ap>, ||Ap||^2."""
    rd = 0.0
    rp = 0.0
    dd = 0.0
    dp = 0.0
    pp = 0.0
    for i in range(r.size):
        r_y[i] = r[i] + Ad[i]
    for i in range(r.size):
        u, v, w = r[i], Ad[i], Ap[i]
        rd += u.real * v.real + u.imag * v.imag
        rp += u.real * w.real + u.imag * w.imag
        dd += v.real * v.real + v.imag * v.imag
        dp += v.real * w.real + v.imag * w.imag
        pp += w.real * w.real + w.imag * w.imag
    return rd, rp, dd, dp, pp


@kernel()
def along_groups(terms, live, count, tiny, z, d, p, a, c):
    """Do what `along` does for block norms."""
    _, l1, _, _, order, starts = terms
    value = 0.0
    ga = 0.0
    gc = 0.0
    haa = 0.0
    hac = 0.0
    hcc = 0.0
    for i in range(count):
        b = live[i]
        uu = 0.0
        zz = 0.0
        ud = 0.0
        up = 0.0
        dd = 0.0
        dp = 0.0
        pp = 0.0
        for k in range(starts[b], starts[b + 1]):
            j = order[k]
            v, s, t = z[j], d[j], p[j]
            u = v + a * s + c * t
            uu += u.real * u.real + u.imag * u.imag
            zz += v.real * v.real + v.imag * v.imag
            ud += u.real * s.real + u.imag * s.imag
            up += u.real * t.real + u.imag * t.imag
            dd += s.real * s.real + s.imag * s.imag
            dp += s.real * t.real + s.imag * t.imag
            pp += t.real * t.real + t.imag * t.imag
        size = np.sqrt(uu)
        value += l1[b] * (size - np.sqrt(zz))
        if size > tiny:
            slope = l1[b] / size
            ga += slope * ud
            gc += slope * up
            haa += slope * max(dd - ud * ud / uu, 0.0)
            hac += slope * (dp - ud * up / uu)
            hcc += slope * max(pp - up * up / uu, 0.0)
    return value, ga, gc, haa, hac, hcc


@kernel(fastmath=REDUCE)
def along_real(barrier, count, tiny, vectors, numbers, a, c):
    """Do what `along` does for real coefficients, in a loop without branches."""
    value = 0.0
    ga = 0.0
    gc = 0.0
    haa = 0.0
    hac = 0.0
    hcc = 0.0
    for i in range(count):
        s, t, ridge = vectors[1, i].real, vectors[2, i].real, numbers[1, i]
        u = vectors[0, i].real + a * s + c * t
        below = barrier if barrier > 0.0 else numbers[0, i]
        level = numbers[0, i] if u >= 0.0 else below
        sign = (1.0 if u > tiny else 0.0) - (1.0 if u < -tiny else 0.0)
        value += level * abs(u) + 0.5 * ridge * u * u - numbers[2, i]
        slope = level * sign + ridge * u
        ga += slope * s
        gc += slope * t
        haa += ridge * s * s
        hac += ridge * s * t
        hcc += ridge * t * t
    return value, ga, gc, haa, hac, hcc


@kernel(fastmath=REDUCE)
def along_complex(count, tiny, vectors, numbers, a, c):
    """Do what `along` does for complex coefficients."""
    value = 0.0
    ga = 0.0
    gc = 0.0
    haa = 0.0
    hac = 0.0
    hcc = 0.0
    for i in range(count):
        s, t, ridge = vectors[1, i], vectors[2, i], numbers[1, i]
        u = vectors[0, i] + a * s + c * t
        size = np.sqrt(u.real * u.real + u.imag * u.imag)
        value += size * (numbers[0, i] + 0.5 * ridge * size) - numbers[2, i]
        over = 1.0 / size if size > tiny else 0.0
        slope = numbers[0, i] * over
        ga += (slope + ridge) * (u.real * s.real + u.imag * s.imag)
        gc += (slope + ridge) * (u.real * t.real + u.imag * t.imag)
        # only the part across u bends the modulus
        across = (s.real * u.imag - s.imag * u.real) * over
        beside = (t.real * u.imag - t.imag * u.real) * over
        haa += slope * across * across + ridge * (s.real * s.real + s.imag * s.imag)
        hac += slope * across * beside + ridge * (s.real * t.real + s.imag * t.imag)
        hcc += slope * beside * beside + ridge * (t.real * t.real + t.imag * t.imag)
    return value, ga, gc, haa, hac, hcc


@kernel()
def along(terms, barrier, live, count, tiny, z, d, p, vectors, numbers, a, c):
    """Return R(u) - R(z) at u = z + a d + c p, its two slopes and three second derivatives.

    Blocks of size at most ``tiny`` sit at the kink and add no slope. A coefficient that must not be
    negative has the level ``barrier`` below zero.
    """
    if terms[5].size > 0:
        return along_groups(terms, live, count, tiny, z, d, p, a, c)
    if np.iscomplexobj(z):
        return along_complex(count, tiny, vectors, numbers, a, c)
    return along_real(barrier if terms[3] else 0.0, count, tiny, vectors, numbers, a, c)


@kernel()
def search(terms, barrier, live, count, z, d, p, vectors, numbers, products, safe, flat, rounds):
    """Minimise the objective over z + a d + c p by Newton steps from (1, 0); return (a, c).

    ``products`` are those of `image_products`. z + a d with a <= min(1, safe) is below z for sure:
    the steps begin there where (1, 0) is above z. Directions that are parallel up to ``flat`` count as one.
    """
    rd, rp, dd, dp, pp = products
    order, starts = terms[4], terms[5]
    tiny = 0.0
    for i in range(count):
        b = live[i]
        tiny = max(tiny, abs(z[order[starts[b]] if starts.size > 0 else b]))
    tiny *= KINK
    if starts.size == 0:
        gather(terms, barrier, live, count, z, d, p, vectors, numbers)
    a = 1.0
    c = 0.0
    value, ga, gc, haa, hac, hcc = along(terms, barrier, live, count, tiny, z, d, p, vectors, numbers, a, c)
    value += rd + 0.5 * dd
    if not value <= 0.0:
        a = min(1.0, safe)
        value, ga, gc, haa, hac, hcc = along(
            terms, barrier, live, count, tiny, z, d, p, vectors, numbers, a, c
        )
        value += a * rd + 0.5 * a * a * dd
    for _ in range(rounds):
        ga += rd + a * dd + c * dp
        gc += rp + a * dp + c * pp
        haa += dd
        hac += dp
        hcc += pp
        det = haa * hcc - hac * hac
        if det > flat * haa * hcc:
            sa = (hac * gc - hcc * ga) / det
            sc = (hac * ga - haa * gc) / det
        elif haa > 0.0:
            sa = -ga / haa
            sc = 0.0
        else:
            break
        t = 1.0
        found = False
        while t > 1e-3:
            u = a + t * sa
            v = c + t * sc
            trial, ga, gc, haa, hac, hcc = along(
                terms, barrier, live, count, tiny, z, d, p, vectors, numbers, u, v
            )
            trial += u * rd + v * rp + 0.5 * (u * u * dd + 2.0 * u * v * dp + v * v * pp)
            if trial < value:
                found = True
                break
            t *= 0.5
        if not found:
            break
        done = value - trial <= 1e-6 * abs(trial)
        a, c, value = u, v, trial
        if done:
            break
    return a, c


@kernel()
def move(terms, live, count, a, c, z, d, p):
    """Write a d + c p into p, add it to z; return ||p||^2."""
    order, starts = terms[4], terms[5]
    total = 0.0
    for i in range(count):
        b = live[i]
        lo, hi = (starts[b], starts[b + 1]) if starts.size > 0 else (b, b + 1)
        for k in range(lo, hi):
            j = order[k] if starts.size > 0 else b
            v = a * d[j] + c * p[j]
            p[j] = v
            z[j] += v
            total += v.real * v.real + v.imag * v.imag
    return total


@kernel(fastmath=REDUCE)
def move_image(a, c, r, Ad, Ap):
    """Write a Ad + c Ap into Ap, add it to r; return ||Ap||^2."""
    for i in range(r.size):
        v = a * Ad[i] + c * Ap[i]
        Ap[i] = v
        r[i] += v
    total = 0.0
    for i in range(r.size):
        total += Ap[i].real * Ap[i].real + Ap[i].imag * Ap[i].imag
    return total


@kernel(fastmath=REDUCE)
def renew(g, new):
    """Copy new into g; return the squared distance between the two and the largest square in new."""
    total = 0.0
    largest = 0.0
    for j in range(g.size):
        w = new[j]
        v = w - g[j]
        total += v.real * v.real + v.imag * v.imag
        largest = max(largest, w.real * w.real + w.imag * w.imag)
    for j in range(g.size):
        g[j] = new[j]
    return total, largest


@kernel(fastmath=REDUCE)
def free_gap(terms, x, r, v, g, b, step):
    """Return the duality gap at x, r = A x - b, for a multiple of -v, where g = A^H v.

    An unpenalised coefficient, which no multiple makes feasible, is charged the gain of a step of the
    length ``step``: an estimate, where the rest is a bound.
    """
    _, l1, l2, nonnegative, order, starts = terms
    vv = 0.0
    bv = 0.0
    for i in range(b.size):
        vv += v[i].real * v[i].real + v[i].imag * v[i].imag
        bv -= b[i].real * v[i].real + b[i].imag * v[i].imag
    ratio = 0.0  # most that a correlation exceeds its level
    grouped = starts.size > 0
    soft = False
    for k in range(starts.size - 1 if grouped else x.size):
        if grouped:
            square = 0.0
            for i in range(starts[k], starts[k + 1]):
                w = g[order[i]]
                square += w.real * w.real + w.imag * w.imag
        else:
            if l2[k] > 0.0:
                soft = True
                continue
            w = g[k]
            square = w.real * w.real + w.imag * w.imag
            if nonnegative and w.real > 0.0:
                square = 0.0
        limit = ratio * l1[k]
        if square > limit * limit and l1[k] > 0.0:
            ratio = np.sqrt(square) / l1[k]
    # with a ridge the best multiple has no closed form, but 1 is as good in the end
    s = max(bv, 0.0) / vv if vv > 0.0 and not soft else 1.0
    if s * ratio > 1.0:
        s = 1.0 / ratio
    gap = 0.0
    for i in range(r.size):
        w = r[i] - s * v[i]
        gap += w.real * w.real + w.imag * w.imag
    gap *= 0.5
    for k in range(starts.size - 1 if grouped else x.size):
        if grouped:
            square = 0.0
            inner = 0.0
            size = 0.0
            for i in range(starts[k], starts[k + 1]):
                u, w = x[order[i]], g[order[i]]
                size += u.real * u.real + u.imag * u.imag
                square += w.real * w.real + w.imag * w.imag
                inner += u.real * w.real + u.imag * w.imag
            if l1[k] == 0.0:
                gap += 0.5 * step * square
            elif size > 0.0:
                gap += max(l1[k] * np.sqrt(size) + s * inner, 0.0)
            continue
        u, w = x[k], g[k]
        ridge = l2[k]
        if ridge == 0.0 and l1[k] == 0.0:
            if not (nonnegative and w.real > 0.0 and u.real == 0.0):
                gap += 0.5 * step * (w.real * w.real + w.imag * w.imag)
            continue
        if ridge == 0.0 and u == 0.0:
            continue
        size = abs(u)
        term = size * (l1[k] + 0.5 * ridge * size) + s * (u.real * w.real + u.imag * w.imag)
        if 0.0 < ridge < np.inf:
            large = s * abs(w) - l1[k]
            if large > 0.0 and not (nonnegative and w.real > 0.0):
                term += 0.5 * large * large / ridge
        if l1[k] < np.inf:
            gap += max(term, 0.0)
    return gap

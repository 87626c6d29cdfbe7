"""Vector work of the matrix-free solver: proximal step, search in the plane of two directions, free gap.

``levels = (l1, l2, nonnegative)`` is a convex penalty as in `sparseinv.kernels.descent`, times ``factor``
(where all coefficients have one level, a strip as long as ``marks`` stands for all);
``blocks`` is None for single coefficients or the pair (order, starts) of groups. A vector of n entries is
read at full length only by `renew`, which lists in ``live[:count]`` the blocks that can be or become
other than zero; all else visits those alone. With image inner products known, the objective at
z + a d + c p costs no product with A. No kernel allocates. Sums that may be reassociated stand in loops of
their own: next to a store, their order would depend on where the arrays happen to lie in memory.
"""

from __future__ import annotations

import numpy as np

from sparseinv.kernels.jit import kernel

REDUCE = {"reassoc", "contract", "nsz"}
KINK = 1e-8  # what is smaller than this, relative to the largest coefficient, counts as zero
STRIP = 1024  # entries that several loops in a row find in the nearest cache


@kernel(fastmath=REDUCE)
def renew(levels, blocks, factor, new, g, held, live, marks, words):
    """Copy new into g and list the blocks with held != 0 or a gradient above the level.

    Return (count, squared distance of the two, ||new||^2). The list may hold a block too many, never one
    too few. ``marks`` is scratch, as many bytes as entries are treated at a time, and ``words``
    the same memory as 64-bit words.
    """
    l1, _, nonnegative = levels
    change = 0.0
    size = 0.0
    count = 0
    for low in range(0, g.size, marks.size):
        # views, because a loop that does not begin at zero is not run on several entries at once
        high = min(low + marks.size, g.size)
        ours, theirs = g[low:high], new[low:high]
        for j in range(ours.size):
            w = theirs[j]
            v = w - ours[j]
            change += v.real * v.real + v.imag * v.imag
            size += w.real * w.real + w.imag * w.imag
        for j in range(ours.size):
            ours[j] = theirs[j]
        if blocks is None:
            first = low if l1.size == g.size else 0
            bars, kept = l1[first : first + high - low], held[low:high]
            for j in range(ours.size):
                w = ours[j]
                over = -w.real if nonnegative else abs(w.real) + abs(w.imag)
                marks[j] = kept[j] | np.uint8(over > factor * bars[j])
            for j in range(ours.size, marks.size):
                marks[j] = 0
            for k in range(words.size):
                if words[k] != 0:
                    for j in range(8 * k, 8 * k + 8):
                        live[count] = low + j
                        count += marks[j]
    if blocks is not None:
        order, starts = blocks
        for b in range(starts.size - 1):
            square = 0.0
            for k in range(starts[b], starts[b + 1]):
                w = g[order[k]]
                square += w.real * w.real + w.imag * w.imag
            live[count] = b
            count += int((held[b] != 0) | (np.sqrt(square) > (1.0 - 1e-12) * factor * l1[b]))
    return count, change, size


@kernel()
def proximal(levels, blocks, factor, barrier, step, z, g, p, d, live, count, vectors, numbers):
    """Write prox(z - step g) - z into d; return (||d||^2, ||z||^2, largest modulus in z).

    For single coefficients, also lay out next to one another what `search` and `free_gap` need.
    """
    l1, l2, nonnegative = levels
    length = 0.0
    size = 0.0
    largest = 0.0
    for j in range(d.size):
        d[j] = 0.0
    if blocks is None:
        many = int(l1.size == z.size)
        for i in range(count):
            j = live[i]
            v = z[j]
            w = v - step * g[j]
            level = factor * l1[many * j]
            ridge = factor * l2[many * j]
            modulus = abs(w)
            kept = modulus - step * level
            if nonnegative and w.real <= 0.0:
                kept = 0.0
            # a choice between numbers, not between paths: which one is taken cannot be foreseen
            over = 1.0 / modulus if kept > 0.0 else 0.0
            s = w * (max(kept, 0.0) / (1.0 + step * ridge) * over) - v
            d[j] = s
            vectors[0, i] = v
            vectors[1, i] = s
            vectors[2, i] = p[j]
            vectors[3, i] = g[j]
            numbers[0, i] = level
            numbers[1, i] = ridge
            modulus = abs(v)
            below = barrier if nonnegative and v.real < 0.0 else level
            numbers[2, i] = modulus * (below + 0.5 * ridge * modulus)
            length += s.real * s.real + s.imag * s.imag
            size += v.real * v.real + v.imag * v.imag
            largest = max(largest, modulus)
    else:
        order, starts = blocks
        for i in range(count):
            b = live[i]
            square = 0.0
            for k in range(starts[b], starts[b + 1]):
                j = order[k]
                v = z[j] - step * g[j]
                d[j] = v
                square += v.real * v.real + v.imag * v.imag
            modulus = np.sqrt(square)
            kept = modulus - step * factor * l1[b]
            shrunk = kept / modulus if kept > 0.0 else 0.0
            for k in range(starts[b], starts[b + 1]):
                j = order[k]
                v = z[j]
                s = shrunk * d[j] - v
                d[j] = s
                length += s.real * s.real + s.imag * s.imag
                size += v.real * v.real + v.imag * v.imag
                largest = max(largest, abs(v))
    return length, size, largest


@kernel(fastmath=REDUCE)
def image(r, new, Ap, b, Ad):
    """Copy new into Ad; return inner products.

    Re <r, Ad>, Re <r, Ap>, ||Ad||^2, Re <Ad, Ap>, ||Ap||^2, ||r||^2, Re <r, b>.
    """
    rd = 0.0
    rp = 0.0
    dd = 0.0
    dp = 0.0
    pp = 0.0
    rr = 0.0
    rb = 0.0
    for low in range(0, r.size, STRIP):
        high = min(low + STRIP, r.size)
        rs, news, Aps, bs, Ads = r[low:high], new[low:high], Ap[low:high], b[low:high], Ad[low:high]
        for i in range(rs.size):
            u, v, w, t = rs[i], news[i], Aps[i], bs[i]
            rd += u.real * v.real + u.imag * v.imag
            rp += u.real * w.real + u.imag * w.imag
            dd += v.real * v.real + v.imag * v.imag
            dp += v.real * w.real + v.imag * w.imag
            pp += w.real * w.real + w.imag * w.imag
            rr += u.real * u.real + u.imag * u.imag
            rb += u.real * t.real + u.imag * t.imag
        for i in range(rs.size):
            Ads[i] = news[i]
    return rd, rp, dd, dp, pp, rr, rb


@kernel()
def along_groups(levels, blocks, factor, live, count, tiny, z, d, p, a, c):
    """Do what `along` does for block norms."""
    l1 = levels[0]
    order, starts = blocks
    value = 0.0
    ga = 0.0
    gc = 0.0
    haa = 0.0
    hac = 0.0
    hcc = 0.0
    for i in range(count):
        b = live[i]
        level = factor * l1[b]
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
        value += level * (size - np.sqrt(zz))
        if size > tiny:
            slope = level / size
            ga += slope * ud
            gc += slope * up
            haa += slope * max(dd - ud * ud / uu, 0.0)
            hac += slope * (dp - ud * up / uu)
            hcc += slope * max(pp - up * up / uu, 0.0)
    return value, ga, gc, haa, hac, hcc


@kernel(fastmath=REDUCE)
def along(barrier, count, tiny, vectors, numbers, a, c):
    """Return R(u) - R(z) at u = z + a d + c p, its two slopes and three second derivatives.

    Coefficients of size at most ``tiny`` sit at the kink and add no slope. One that must not be negative
    has the level ``barrier`` > 0 below zero. No branches, so that the loop runs on several entries at once.
    """
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
        level = barrier if barrier > 0.0 and u.real < 0.0 else numbers[0, i]
        value += size * (level + 0.5 * ridge * size) - numbers[2, i]
        over = 1.0 / size if size > tiny else 0.0
        slope = level * over
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
def search(
    levels, blocks, factor, barrier, live, count, largest, z, d, p, held, vectors, numbers, products, safe,
    flat, rounds,
):  # fmt: skip
    """Minimise the objective over z + a d + c p by Newton steps from (1, 0), and go there.

    ``products`` are those of `image`. z + a d with a <= min(1, safe) is below z for sure: the steps begin
    there where (1, 0) is above z. Directions that are parallel up to ``flat`` count as one. The movement
    a d + c p is written into p and added to z; return (a, c, ||p||^2).
    """
    rd, rp, dd, dp, pp = products[:5]
    tiny = KINK * largest
    below = barrier if levels[2] else 0.0
    a = 0.0
    c = 0.0
    value = 0.0
    begun = False
    u = 1.0
    v = 0.0
    sa = 0.0
    sc = 0.0
    t = 1.0
    while True:
        if blocks is None:
            trial, ga, gc, haa, hac, hcc = along(below, count, tiny, vectors, numbers, u, v)
        else:
            trial, ga, gc, haa, hac, hcc = along_groups(
                levels, blocks, factor, live, count, tiny, z, d, p, u, v
            )
        trial += u * rd + v * rp + 0.5 * (u * u * dd + 2.0 * u * v * dp + v * v * pp)
        if begun:
            if not trial < value:
                t *= 0.5
                if not t > 1e-3:
                    break
                u = a + t * sa
                v = c + t * sc
                continue
            rounds = 0 if value - trial <= 1e-6 * abs(trial) else rounds - 1
        elif not trial <= 0.0 and u > min(1.0, safe):
            u = min(1.0, safe)
            continue
        begun = True
        a, c, value = u, v, trial
        if rounds == 0:
            break
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
        u = a + sa
        v = c + sc
    total = 0.0
    for i in range(count):
        k = live[i]
        low, high = k, k + 1
        if blocks is not None:
            low, high = blocks[1][k], blocks[1][k + 1]
        moving = False
        for q in range(low, high):
            j = q if blocks is None else blocks[0][q]
            w = a * d[j] + c * p[j]
            if blocks is None:
                w = a * vectors[1, i] + c * vectors[2, i]
            p[j] = w
            z[j] += w
            moving = moving or w != 0.0 or z[j] != 0.0
            total += w.real * w.real + w.imag * w.imag
        held[k] = moving
    return a, c, total


@kernel(fastmath=REDUCE)
def move_image(a, c, r, Ad, Ap, lent):
    """Write a Ad + c Ap into Ap, add it to r, copy r into lent; return ||Ap||^2."""
    total = 0.0
    for low in range(0, r.size, STRIP):
        high = min(low + STRIP, r.size)
        rs, Ads, Aps, copies = r[low:high], Ad[low:high], Ap[low:high], lent[low:high]
        for i in range(rs.size):
            v = a * Ads[i] + c * Aps[i]
            Aps[i] = v
            v += rs[i]
            rs[i] = v
            copies[i] = v
        for i in range(rs.size):
            total += Aps[i].real * Aps[i].real + Aps[i].imag * Aps[i].imag
    return total


@kernel()
def free_gap(levels, blocks, factor, soft, live, count, z, d, g, vectors, numbers, products, step):
    """Return (duality gap, objective) at x = z + d for a multiple of -v, v = A z - b and g = A^H v.

    ``products`` are those of `image`, ``soft`` tells whether any l2 is positive. An unpenalised
    coefficient, which no multiple makes feasible, is charged the gain of a step of the length ``step``:
    an estimate, where the rest is a bound.
    """
    rd, dd, vv, bv = products[0], products[2], products[5], -products[6]
    nonnegative = levels[2]
    ratio = 1.0  # most that a correlation exceeds its level; blocks that are not listed do not
    penalty = 0.0
    s = 1.0
    gap = 0.0
    for sweep in range(2):
        for i in range(count):
            positive = False
            if blocks is None:
                x, w = vectors[0, i] + vectors[1, i], vectors[3, i]
                level, ridge = numbers[0, i], numbers[1, i]
                inner = x.real * w.real + x.imag * w.imag
                positive = nonnegative and w.real > 0.0
                size, slope = abs(x), abs(w)
            else:
                order, starts = blocks
                level, ridge = factor * levels[0][live[i]], 0.0
                size, slope, inner = 0.0, 0.0, 0.0
                for k in range(starts[live[i]], starts[live[i] + 1]):
                    x, w = z[order[k]] + d[order[k]], g[order[k]]
                    size += x.real * x.real + x.imag * x.imag
                    slope += w.real * w.real + w.imag * w.imag
                    inner += x.real * w.real + x.imag * w.imag
                size, slope = np.sqrt(size), np.sqrt(slope)
            if positive and size == 0.0:
                slope = 0.0
            if sweep == 0:
                if size > 0.0:
                    penalty += size * (level + 0.5 * ridge * size)
                if ridge == 0.0 and not positive and slope > ratio * level and level > 0.0:
                    ratio = slope / level
                continue
            if ridge == 0.0 and level == 0.0:
                gap += 0.5 * step * slope * slope
                continue
            term = 0.0
            if size > 0.0:
                term = size * (level + 0.5 * ridge * size) + s * inner
            if ridge > 0.0:
                large = s * slope - level
                if large > 0.0 and not positive:
                    term += 0.5 * large * large / ridge
            if level < np.inf:
                gap += max(term, 0.0)
        if sweep == 0:
            # with a ridge the best multiple has no closed form, but 1 is as good in the end
            if not soft:
                s = min(max(bv, 0.0) / vv, 1.0) if vv > 0.0 else 1.0
            if s * ratio > 1.0:
                s = 1.0 / ratio
            gap = max(0.5 * ((1.0 - s) * (1.0 - s) * vv + 2.0 * (1.0 - s) * rd + dd), 0.0)
    return gap, 0.5 * (vv + 2.0 * rd + dd) + penalty

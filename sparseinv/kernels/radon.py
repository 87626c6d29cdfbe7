"""Spreading and stacking along curves: lines and parabolas as shifts, hyperbolas sample by sample."""

from __future__ import annotations

import math

import numpy as np

from sparseinv.kernels.jit import kernel


@kernel(fastmath={"contract"})
def add_shifted(source, whole, near, far, out):
    """Add to out[b, i] the sum over j of source[b, j] delayed by the shift of the pair (i, j).

    A sample that arrives between two samples is shared out: ``whole[i, j]`` samples later it adds with weight
    ``near[i, j]``, one sample later still with ``far[i, j]``. What leaves the trace is lost.
    """
    batch, rows, length = out.shape
    for b in range(batch):
        for i in range(rows):
            for j in range(source.shape[1]):
                k, u, v = whole[i, j], near[i, j], far[i, j]
                if k <= -length - 1 or k >= length:
                    continue
                if k >= 0:
                    out[b, i, k] += u * source[b, j, 0]
                first = max(k + 1, 0)
                last = min(length, length + k)
                if last > first:
                    target = out[b, i, first:last]
                    here = source[b, j, first - k : last - k]
                    before = source[b, j, first - k - 1 : last - k - 1]
                    for t in range(target.size):
                        target[t] += u * here[t] + v * before[t]
                if k < 0:
                    out[b, i, length + k] += v * source[b, j, length - 1]


@kernel(fastmath={"contract"})
def hyperbola(start, square, length, whole, far):
    """Write when the samples of a panel arrive, whole[s] + far[s] = sqrt((start + s)^2 + square) - start.

    Returns how many of them arrive before sample ``length``: the first ones.
    """
    # first all times, without a branch, so that they are computed several at once
    for s in range(length):
        place = min(math.sqrt((start + s) * (start + s) + square) - start, float(length))
        whole[s] = np.int32(place)
        far[s] = place - np.int32(place)
    inside = length
    while inside > 0 and whole[inside - 1] >= length:
        inside -= 1
    return inside


@kernel(fastmath={"contract"})
def spread_hyperbolas(panel, start, squares, square_weights, out):
    """Add panel[b, j, s] to out[b, i] at the time sqrt((start + s)^2 + squares[i, j]) - start, in samples.

    Traces of ``out`` are one sample longer than those of the panel: the last one takes what is cut off.
    """
    batch, curves, length = panel.shape
    whole, far = np.empty(length, np.int32), np.empty(length, panel.dtype)
    one = panel.dtype.type(1)
    for i in range(out.shape[1]):
        for j in range(curves):
            inside = hyperbola(start, squares[i, j], length, whole, far)
            for b in range(batch):
                source, target = panel[b, j], out[b, i]
                for s in range(inside):
                    t, v = np.uint32(whole[s]), far[s]
                    u = one - v
                    if square_weights:
                        u, v = u * u, v * v
                    target[t] += u * source[s]
                    target[t + np.uint32(1)] += v * source[s]


@kernel(fastmath={"contract"})
def stack_hyperbolas(data, start, squares, square_weights, out):
    """Add to out[b, j, s] the sum over i of data[b, i] at the same times; the adjoint of the above.

    Traces of ``data`` are one sample longer than those of the panel, with a zero there.
    """
    batch, curves, length = out.shape
    whole, far = np.empty(length, np.int32), np.empty(length, data.dtype)
    one = data.dtype.type(1)
    for i in range(data.shape[1]):
        for j in range(curves):
            inside = hyperbola(start, squares[i, j], length, whole, far)
            for b in range(batch):
                source, target = data[b, i], out[b, j]
                for s in range(inside):
                    t, v = np.uint32(whole[s]), far[s]
                    u = one - v
                    if square_weights:
                        u, v = u * u, v * v
                    target[s] += u * source[t] + v * source[t + np.uint32(1)]

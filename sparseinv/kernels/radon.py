"""Spreading and stacking along curves: lines and parabolas as shifts, hyperbolas sample by sample."""

from __future__ import annotations

import math

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


@kernel()
def spread_hyperbolas(panel, start, squares, square_weights, out):
    """Add panel[b, j, s] to out[b, i] at the time sqrt((start + s)^2 + squares[i, j]) - start, in samples."""
    batch, rows, length = out.shape
    for b in range(batch):
        for i in range(rows):
            for j in range(panel.shape[1]):
                square = squares[i, j]
                for s in range(length):
                    place = math.sqrt((start + s) * (start + s) + square) - start
                    if place >= length:
                        break
                    t = int(place)
                    far = place - t
                    near = 1.0 - far
                    if square_weights:
                        near, far = near * near, far * far
                    out[b, i, t] += near * panel[b, j, s]
                    if t + 1 < length:
                        out[b, i, t + 1] += far * panel[b, j, s]


@kernel()
def stack_hyperbolas(data, start, squares, square_weights, out):
    """Add to out[b, j, s] the sum over i of data[b, i] at the same time: the adjoint of `spread_hyperbolas`."""
    batch, rows, length = data.shape
    for b in range(batch):
        for i in range(rows):
            for j in range(out.shape[1]):
                square = squares[i, j]
                for s in range(length):
                    place = math.sqrt((start + s) * (start + s) + square) - start
                    if place >= length:
                        break
                    t = int(place)
                    far = place - t
                    near = 1.0 - far
                    if square_weights:
                        near, far = near * near, far * far
                    total = near * data[b, i, t]
                    if t + 1 < length:
                        total += far * data[b, i, t + 1]
                    out[b, j, s] += total

"""Convolution by sums over the samples of short wavelets: faster there than Fourier transforms."""

from __future__ import annotations

import numpy as np

from sparseinv.kernels.jit import kernel

REDUCE = {"reassoc", "contract"}
_BLOCK = 1024  # samples that stay in the first cache while a wavelet passes over them
_SHORT_BLOCK = 256  # the same where the wavelet changes, so that its samples stay in the second cache


@kernel(fastmath=REDUCE)
def convolve_lines(x, wavelet, offset, inner, out):
    """Write sum_k wavelet[k] x[line, p - (k - offset) inner] into out[line, p], x = 0 outside the line.

    ``inner`` is the distance of neighbouring samples of a trace in a line.
    """
    lines, length = x.shape
    taps = wavelet.size
    before, after = (taps - 1 - offset) * inner, offset * inner
    # zeros at both ends, so that no loop asks where a line ends
    padded = np.zeros(length + before + after, dtype=x.dtype)
    for line in range(lines):
        padded[before : before + length] = x[line]
        for start in range(0, length, _BLOCK):
            y = out[line, start : min(start + _BLOCK, length)]
            y[:] = 0
            k = 0
            while k + 4 <= taps:
                w0, w1, w2, w3 = wavelet[k], wavelet[k + 1], wavelet[k + 2], wavelet[k + 3]
                # sample p of x lies at p + before; the one that tap k needs is k - offset earlier
                first = start + (taps - 1 - k) * inner
                x0 = padded[first : first + y.size]
                x1 = padded[first - inner : first - inner + y.size]
                x2 = padded[first - 2 * inner : first - 2 * inner + y.size]
                x3 = padded[first - 3 * inner : first - 3 * inner + y.size]
                for p in range(y.size):
                    y[p] += w0 * x0[p] + w1 * x1[p] + w2 * x2[p] + w3 * x3[p]
                k += 4
            while k < taps:
                w0 = wavelet[k]
                first = start + (taps - 1 - k) * inner
                x0 = padded[first : first + y.size]
                for p in range(y.size):
                    y[p] += w0 * x0[p]
                k += 1


@kernel(fastmath=REDUCE)
def spread_wavelets(x, table, offset, out):
    """Write sum_k table[k, i - k + offset] x[line, i - k + offset] into out[line, i].

    ``table[k, j]``, sample k of the wavelet of j, has zeros for taps - 1 more j at each end.
    """
    lines, length = x.shape
    taps = table.shape[0]
    margin = taps - 1
    padded = np.zeros((lines, length + 2 * margin), dtype=x.dtype)
    padded[:, margin : margin + length] = x
    for start in range(0, length, _SHORT_BLOCK):
        for line in range(lines):
            y = out[line, start : min(start + _SHORT_BLOCK, length)]
            y[:] = 0
            k = 0
            while k + 4 <= taps:
                a = start + margin - k + offset
                b = a + y.size
                w0, x0 = table[k, a:b], padded[line, a:b]
                w1, x1 = table[k + 1, a - 1 : b - 1], padded[line, a - 1 : b - 1]
                w2, x2 = table[k + 2, a - 2 : b - 2], padded[line, a - 2 : b - 2]
                w3, x3 = table[k + 3, a - 3 : b - 3], padded[line, a - 3 : b - 3]
                for p in range(y.size):
                    y[p] += w0[p] * x0[p] + w1[p] * x1[p] + w2[p] * x2[p] + w3[p] * x3[p]
                k += 4
            while k < taps:
                a = start + margin - k + offset
                w0, x0 = table[k, a : a + y.size], padded[line, a : a + y.size]
                for p in range(y.size):
                    y[p] += w0[p] * x0[p]
                k += 1


@kernel(fastmath=REDUCE)
def correlate_wavelets(y, table, offset, out):
    """Write sum_k table[k, j] y[line, j + k - offset] into out[line, j]; the table is conjugated already.

    It is laid out as in `spread_wavelets`.
    """
    lines, length = y.shape
    taps = table.shape[0]
    margin = taps - 1
    padded = np.zeros((lines, length + 2 * margin), dtype=y.dtype)
    padded[:, margin : margin + length] = y
    for start in range(0, length, _SHORT_BLOCK):
        for line in range(lines):
            g = out[line, start : min(start + _SHORT_BLOCK, length)]
            g[:] = 0
            c = start + margin
            d = c + g.size
            k = 0
            while k + 4 <= taps:
                a = c + k - offset
                b = a + g.size
                w0, y0 = table[k, c:d], padded[line, a:b]
                w1, y1 = table[k + 1, c:d], padded[line, a + 1 : b + 1]
                w2, y2 = table[k + 2, c:d], padded[line, a + 2 : b + 2]
                w3, y3 = table[k + 3, c:d], padded[line, a + 3 : b + 3]
                for p in range(g.size):
                    g[p] += w0[p] * y0[p] + w1[p] * y1[p] + w2[p] * y2[p] + w3[p] * y3[p]
                k += 4
            while k < taps:
                a = c + k - offset
                w0, y0 = table[k, c:d], padded[line, a : a + g.size]
                for p in range(g.size):
                    g[p] += w0[p] * y0[p]
                k += 1

"""Newton systems of block norms: H = G + diag(ridge) + weight_g (I - u_g u_g^T) in every block, over R.

u_g = y_g / ||y_g|| and weight_g = lam_g / ||y_g||. A complex coordinate counts as two real ones, all real
parts before all imaginary ones, because the curvature of a modulus is not linear over C.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_RIDGES = (1e-14, 1e-11, 1e-8)  # relative ridges of a matrix that cannot be factorised, tried in turn
_RADIAL = 1e-7  # curvature lent to the radial direction, as a share of the one that the columns give it


def by_gram(
    gram: Array, starts: Array, unit: Array, weight: Array, ridge: Array, c: Array, damping: float = 0.0
) -> Array | None:
    """Return (H + damping diag(H))^{-1} c, for the Gram matrix of the columns; None where H is indefinite."""
    from scipy.linalg.lapack import dpotrf, dpotrs

    from sparseinv.kernels.descent import bend

    s, copies = c.size, 1
    if gram.dtype.kind == "c":
        H = np.empty((2 * s, 2 * s), order="F")
        H[:s, :s] = H[s:, s:] = gram.real
        H[s:, :s], H[:s, s:] = gram.imag, -gram.imag
        copies, unit, c, ridge = 2, stacked(unit), stacked(c), np.tile(ridge, 2)
    else:
        H = gram.T  # symmetric, and this way round column-major
    diagonal = np.arange(H.shape[0])
    H[diagonal, diagonal] += ridge
    bend(H, starts, copies, unit, weight)
    # unit diagonal: columns of very different size must not decide what counts as singular
    d = np.sqrt(np.maximum(H[diagonal, diagonal], 0.0))
    d = np.divide(1.0, d, out=np.ones_like(d), where=d > 0.0)
    H *= d
    H *= d[:, None]
    H[diagonal, diagonal] += damping
    for small in _RIDGES:
        H[diagonal, diagonal] += small
        factor, info = dpotrf(H, lower=1, clean=0)
        if info == 0:
            return unstacked(d * dpotrs(factor, d * c, lower=1)[0], copies)
    return None


def by_rows(
    rows: Array, starts: Array, unit: Array, weight: Array, ridge: Array, c: Array, damping: float = 0.0
) -> Array | None:
    """Return about (H + damping diag(H))^{-1} c for more columns than A has rows, in the space of the rows.

    ``rows`` holds the columns, one a row, (s, m). With D = H - G, made definite by a little curvature along
    every u_g, (D + A^T A)^{-1} = D^{-1} - D^{-1} A^T (I + A D^{-1} A^T)^{-1} A D^{-1}. All weights are > 0.
    """
    from scipy.linalg.blas import dsyrk
    from scipy.linalg.lapack import dpotrf, dpotrs

    copies = 1
    block = np.repeat(np.arange(starts.size - 1), np.diff(starts))
    radial = np.add.reduceat(np.conj(unit)[:, None] * rows.conj(), starts[:-1], axis=0)
    curvature = np.einsum("ij,ij->i", radial.real, radial.real) + np.einsum(
        "ij,ij->i", radial.imag, radial.imag
    )
    floor = 1e-12 * max(float(curvature.max(initial=0.0)), 1e-300)
    more = ridge[starts[:-1]]
    if damping > 0.0:
        squares = np.einsum("ij,ij->i", rows.real, rows.real) + np.einsum("ij,ij->i", rows.imag, rows.imag)
        more = more + damping * (weight + np.add.reduceat(squares, starts[:-1]) / np.diff(starts))
    lent = _RADIAL * np.maximum(curvature, floor) + more
    weight = weight + more
    if rows.dtype.kind == "c":
        rows = np.block([[rows.real, rows.imag], [-rows.imag, rows.real]])
        copies, unit, c = 2, stacked(unit), stacked(c)
        block = np.tile(block, 2)

    def scaled(v: Array, power: float) -> Array:
        """Return D^power v."""
        along: Array = unit * v if v.ndim == 1 else unit[:, None] * v
        half = int(starts[-1])
        inner = np.add.reduceat(along[:half], starts[:-1], axis=0)
        if copies == 2:
            inner = inner + np.add.reduceat(along[half:], starts[:-1], axis=0)
        flat, steep = weight**power, lent**power
        if v.ndim == 1:
            return np.asarray(flat[block] * v + unit * ((steep - flat) * inner)[block])
        return np.asarray(flat[block][:, None] * v + unit[:, None] * ((steep - flat)[:, None] * inner)[block])

    B = scaled(rows, -0.5)
    M = dsyrk(1.0, B.T, lower=1)
    diagonal = np.arange(M.shape[0])
    M[diagonal, diagonal] += 1.0
    factor, info = dpotrf(M, lower=1, overwrite_a=1, clean=0)
    if info != 0:
        return None
    step = np.zeros_like(c)
    left = c
    for _ in range(2):  # the second time against what the large entries of D^{-1} lost
        e = scaled(left, -0.5)
        e -= B @ dpotrs(factor, B.T @ e, lower=1)[0]
        step = step + scaled(e, -0.5)
        left = c - scaled(step, 1.0) - rows @ (rows.T @ step)
    return unstacked(step, copies)


def stacked(v: Array) -> Array:
    """Return the real parts, then the imaginary ones."""
    return np.concatenate([v.real, v.imag])


def unstacked(v: Array, copies: int) -> Array:
    """Undo `stacked` where there are two copies."""
    s = v.size // copies
    return v[:s] + 1j * v[s:] if copies == 2 else np.asarray(v)

"""The generic problems that Sparco made common, 001 to 012, built from their published descriptions."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from sparseinv.operators.algebra import HStack
from sparseinv.operators.base import Operator
from sparseinv.operators.fourier import DCT, FFT
from sparseinv.operators.matrix import DenseMatrix
from sparseinv.operators.sampling import Restriction
from sparseinv.operators.wavelet import Wavelet

Array = np.ndarray[Any, Any]

_BREAKS = (0.1, 0.13, 0.15, 0.23, 0.25, 0.40, 0.44, 0.65, 0.76, 0.78, 0.81)
_HEIGHTS = (4.0, -5.0, 3.0, -4.0, 5.0, -4.2, 2.1, 4.3, -3.1, 5.1, -4.2)


@dataclass(frozen=True, eq=False)
class Generic:
    """Hold a problem without noise, b = A truth, and what its coefficients stand for.

    Attributes
    ----------
    A : operator or ndarray, shape (m, n)
        The map from coefficients to data.
    truth : ndarray, shape (n,)
        The coefficients.
    blocks : dict
        Name of each block of coefficients and its number of coefficients, in their order.
    signal : Operator or None
        The synthesis of the signal from the coefficients; None where they are the signal.
    weights : ndarray of shape (n,), or None
        Relative lambdas that are tried beside one lambda.
    weights_rule : str
        Where the weights come from.
    recommended : bool
        Whether the weights are better than one lambda.
    """

    A: Any
    truth: Array
    blocks: dict[str, int]
    signal: Operator | None = None
    weights: Array | None = None
    weights_rule: str = ""
    recommended: bool = False

    @property
    def b(self) -> Array:
        """The data."""
        return np.asarray(self.A @ self.truth)

    @property
    def labels(self) -> Array:
        """Number of the block of every coefficient."""
        return np.repeat(np.arange(len(self.blocks)), list(self.blocks.values()))


# --- signals -------------------------------------------------------------------------------------------


def blocks_signal(n: int) -> Array:
    """Return the piecewise constant signal "blocks" of Donoho and Johnstone, with eleven jumps.

    D. L. Donoho, I. M. Johnstone, Ideal spatial adaptation by wavelet shrinkage, Biometrika 81 (1994)
    425-455, doi:10.1093/biomet/81.3.425, table 1.
    """
    t = np.arange(n) / n
    return np.asarray(sum(h * (t >= at) for at, h in zip(_BREAKS, _HEIGHTS, strict=True)))


def cubic_pieces(n: int, pieces: int, rng: np.random.Generator) -> Array:
    """Return a signal of random cubic polynomials, each piece at least n / 16 samples long."""
    inner = n // 16 + np.sort(rng.choice(n - (pieces + 1) * (n // 16), pieces - 1, replace=False))
    bounds = [0, *(inner + (n // 16) * np.arange(pieces - 1)).tolist(), n]
    out = np.zeros(n)
    for first, last in pairwise(bounds):
        out[first:last] = np.polyval(rng.standard_normal(4), np.linspace(-1.0, 1.0, last - first))
    return out


def spikes_at_random(n: int, count: int, rng: np.random.Generator, values: Array | None = None) -> Array:
    """Return n coefficients of which count are not zero, normal unless values are given."""
    at = rng.choice(n, count, replace=False)
    chosen = rng.standard_normal(count) if values is None else values
    out = np.zeros(n, dtype=chosen.dtype)
    out[at] = chosen
    return out


def steps(n: int, *, normalised: bool) -> Array:
    """Return the matrix whose column j is 0 before sample j and constant from there on."""
    H = np.tril(np.ones((n, n)))
    return np.asfortranarray(H / np.sqrt(np.arange(n, 0, -1)) if normalised else H)


def gaussian(m: int, n: int, rng: np.random.Generator, *, orthonormal: bool = False) -> Array:
    """Return a matrix of normal numbers with columns of norm about 1, or with orthonormal rows."""
    G = rng.standard_normal((m, n)) / math.sqrt(m)
    if orthonormal:
        from scipy.linalg import qr

        G = qr(G.T, mode="economic")[0].T
    return np.asfortranarray(G)


# --- problems ------------------------------------------------------------------------------------------


def _sine_and_steps(n: int, rng: np.random.Generator) -> Generic:
    """001: a sine with two jumps, 4 sin(4 pi t) - sign(t - .3) - sign(.72 - t)."""
    t = np.arange(n) / n
    jumps = -np.sign(t - 0.3) - np.sign(0.72 - t)
    waves = np.asarray(FFT(n) @ (4.0 * np.sin(4.0 * np.pi * t)))
    waves[np.abs(waves) < 1e-9 * np.abs(waves).max()] = 0.0
    truth = np.concatenate([waves, np.diff(jumps, prepend=0.0) * np.sqrt(np.arange(n, 0, -1))])
    union = HStack([FFT(n).H, DenseMatrix(steps(n, normalised=True))])
    return Generic(_in_memory(union), truth, {"waves": n, "steps": n}, union)


def _blocks(n: int, rng: np.random.Generator) -> Generic:
    """002: eleven jumps in the Haar basis, every sample known."""
    W = Wavelet(n, "haar")
    c = W @ blocks_signal(n)
    return Generic(_in_memory(W.H), np.where(np.abs(c) > 1e-10 * np.abs(c).max(), c, 0.0), {"Haar": n}, W.H)


def cosines_and_spikes(
    n: int, count: int, rng: np.random.Generator, *, m: int | None = None, waves: str = "cosines"
) -> Generic:
    """Return cosines plus spikes, every sample known, or m mixtures of the samples.

    003 (cosines), 004 (their Fourier coefficients) and 005 (three cosines, mixed).
    """
    cosines = {4: 2.0, 10: 3.0, 21: -1.0} if m is not None else {5: 4.0, 13: 2.0}
    if waves == "cosines":
        basis: Any = DCT(n)
        c = np.zeros(n)
        for k, height in cosines.items():
            c[k - 1] = height * math.sqrt(n / 2)
    else:
        basis = FFT(n)
        c = np.zeros(n, dtype=complex)
        for k, height in cosines.items():
            c[[k - 1, n - k + 1]] = height * math.sqrt(n) / 2.0
    union = HStack([basis.H, Restriction(n, np.arange(n))])
    A = _in_memory(union)
    if m is not None:
        A = np.asfortranarray(gaussian(m, n, rng) @ A)
    truth = np.concatenate([c, spikes_at_random(n, count, rng)])
    # the largest of n standard normal numbers, real or complex
    dear = math.sqrt((2.0 if waves == "cosines" else 1.0) * math.log(n))
    return Generic(
        A, truth, {waves: n, "spikes": n}, union, np.repeat([dear, 1.0], n),
        f"lambda of {waves} {dear:.2f} times that of the spikes, which is what spikes with random signs send "
        f"into the largest of n {waves}",
        recommended=m is None,
    )  # fmt: skip


def _cubic(n: int, rng: np.random.Generator) -> Generic:
    """006: five cubic pieces from Gaussian mixtures, in Daubechies wavelets with four moments."""
    W = Wavelet(n, "db4")
    c = W @ cubic_pieces(n, max(round(5 * n / 2048), 2), rng)
    truth = np.where(np.abs(c) > 1e-9 * np.abs(c).max(), c, 0.0)
    A = np.asfortranarray(np.asarray(W @ gaussian(_rows(600, n, 2048), n, rng).T).T)
    levels = W.levels()
    sizes = np.bincount(levels)
    return Generic(
        A, truth, {f"scale {k}": int(size) for k, size in enumerate(sizes)}, W.H, 2.0 ** (0.5 * levels),
        "lambda rising by sqrt(2) from a scale to the next finer one, as the coefficients of a jump fall",
        recommended=True,
    )  # fmt: skip


def _signs(n: int, rng: np.random.Generator) -> Generic:
    """007: twenty signs, Gaussian with orthonormal rows."""
    count = max(round(20 * n / 2560), 3)
    truth = spikes_at_random(n, count, rng, rng.choice([-1.0, 1.0], count))
    return Generic(gaussian(_rows(600, n, 2560), n, rng, orthonormal=True), truth, {"spikes": n})


def _phases(n: int, rng: np.random.Generator) -> Generic:
    """008: twenty numbers of modulus one, Gaussian with orthonormal rows."""
    count = max(round(20 * n / 2560), 3)
    truth = spikes_at_random(n, count, rng, np.exp(2j * np.pi * rng.random(count)))
    return Generic(gaussian(_rows(600, n, 2560), n, rng, orthonormal=True), truth, {"spikes": n})


def _jumps(n: int, rng: np.random.Generator, *, normalised: bool) -> Generic:
    """009, 010: the jumps of a piecewise constant signal from its samples."""
    scale = np.sqrt(np.arange(n, 0, -1)) if normalised else 1.0
    truth = np.diff(blocks_signal(n), prepend=0.0) * scale
    H = steps(n, normalised=normalised)
    return Generic(H, truth, {"steps": n}, DenseMatrix(H))


def _normal(n: int, rng: np.random.Generator) -> Generic:
    """011: 32 normal spikes from Gaussian mixtures."""
    truth = spikes_at_random(n, max(round(32 * n / 1024), 3), rng)
    return Generic(gaussian(_rows(256, n, 1024), n, rng), truth, {"spikes": n})


def _range(n: int, rng: np.random.Generator) -> Generic:
    """012: 300 spikes over three decades from a quarter of their cosine coefficients, matrix-free."""
    count = max(round(300 * n / 8192), 3)
    heights = np.exp(np.linspace(math.log(1000.0), 0.0, count)) * rng.choice([-1.0, 1.0], count)
    truth = spikes_at_random(n, count, rng, heights)
    rows = np.sort(rng.choice(n, _rows(2000, n, 8192), replace=False))
    return Generic(Restriction(n, rows) @ DCT(n), truth, {"spikes": n})


def _rows(m: int, n: int, full: int) -> int:
    return round(m * n / full)


def _in_memory(A: Operator) -> Array:
    """Return the matrix: a fit on the coefficients found, and its proof, need columns."""
    return np.asfortranarray(A.columns(np.arange(A.shape[1])))


_Builder = Callable[[int, np.random.Generator], Generic]


def _few_spikes(n: int) -> int:
    """Return the number of spikes of 005: 60 as published, and where n is small such that L1 can find them.

    The three cosines stay three, and the number of coefficients at which L1 ceases to be exact is blurred the
    more the smaller a problem is: of 75 data, 15 spikes are found for one seed in four, 8 for all of twenty.
    """
    return 60 * n // 1024 if n >= 1024 else n // 32


#: n at sizes s, m and l, and what builds the problem; 0 where there is no size l
BUILDERS: dict[str, tuple[int, int, int, _Builder]] = {
    "001": (256, 1024, 0, _sine_and_steps),
    "002": (256, 1024, 0, _blocks),
    "003": (256, 1024, 0, lambda n, rng: cosines_and_spikes(n, round(120 * n / 1024), rng)),
    "004": (256, 1024, 0, lambda n, rng: cosines_and_spikes(n, round(120 * n / 1024), rng, waves="waves")),
    "005": (
        256, 1024, 0, lambda n, rng: cosines_and_spikes(n, _few_spikes(n), rng, m=_rows(300, n, 1024)),
    ),
    "006": (512, 2048, 0, _cubic),
    "007": (640, 2560, 10240, _signs),
    "008": (640, 2560, 0, _phases),
    "009": (32, 128, 0, lambda n, rng: _jumps(n, rng, normalised=False)),
    "010": (256, 1024, 0, lambda n, rng: _jumps(n, rng, normalised=True)),
    "011": (256, 1024, 8192, _normal),
    "012": (2048, 8192, 0, _range),
}  # fmt: skip


def build(id: str, size: str, seed: int) -> Generic:
    """Return a problem of `BUILDERS` at size "s" (a quarter), "m" (as published) or "l" (larger)."""
    small, full, large, builder = BUILDERS[id]
    return builder({"s": small, "m": full, "l": large}[size], np.random.default_rng(seed))

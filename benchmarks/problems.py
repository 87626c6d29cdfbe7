"""Seeded problems of the comparison with other packages.

Every problem is a function of a size ("s": fractions of a second, for tests; "m": what the tables show) that
returns (A, b): A dense in Fortran order or CSC, b a vector, both float64. `CORE` with `FACTORS` is the grid
of the tables, `EXTENDED` holds the sizes that are run on demand. A cell is named "problem/factor" and
stands for lam = lam_max / factor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
FACTORS = (5, 10, 100, 1000)


def gaussian(m: int, n: int, nonzeros: int, *, rho: float = 0.0, snr: float = 3.0, seed: int = 0):
    """Draw rows with correlation rho^|i - j| between columns i and j (AR(1); 0: independent)."""
    rng = np.random.default_rng(seed)
    A = np.asfortranarray(rng.standard_normal((m, n)))
    fresh = np.sqrt(1 - rho**2)
    if rho:
        for j in range(1, n):
            A[:, j] = rho * A[:, j - 1] + fresh * A[:, j]
    return A, _observed(A, nonzeros, snr, rng)


def equicorrelated(m: int, n: int, nonzeros: int, *, rho: float = 0.9, snr: float = 3.0, seed: int = 0):
    """Draw columns of which every pair has correlation rho: the worst case of screening."""
    rng = np.random.default_rng(seed)
    A = np.asfortranarray(rng.standard_normal((m, n)))
    A *= np.sqrt(1 - rho)
    A += np.sqrt(rho) * rng.standard_normal((m, 1))
    return A, _observed(A, nonzeros, snr, rng)


def lead_field(m: int, n: int, *, sources: int = 3, seed: int = 0):
    """Place m sensors around n dipoles on a sphere: smooth columns, neighbours almost equal."""
    rng = np.random.default_rng(seed)

    def on_sphere(count: int, radius: float) -> Array:
        points = rng.standard_normal((count, 3))
        return radius * points / np.linalg.norm(points, axis=1, keepdims=True)

    sensors, dipoles, moments = on_sphere(m, 1.1), on_sphere(n, 0.85), on_sphere(n, 1.0)
    A = np.empty((m, n), order="F")
    for i, sensor in enumerate(sensors):
        away = sensor - dipoles
        A[i] = np.einsum("jk,jk->j", away, moments) / np.linalg.norm(away, axis=1) ** 3
    A /= np.linalg.norm(A, axis=0)
    x = np.zeros(n)
    x[rng.choice(n, sources, replace=False)] = rng.choice([-1.0, 1.0], sources) * (1 + rng.random(sources))
    b = A @ x
    return A, b + 0.1 * np.linalg.norm(b) / np.sqrt(m) * rng.standard_normal(m)


def text(m: int, n: int, *, hard: bool = False, seed: int = 0):
    """Draw a CSC matrix of m documents and n words whose frequencies follow Zipf's law.

    Values are log(1 + count) * idf with rows of norm one. With hard=True every twentieth column is empty
    and every twentieth repeats its left neighbour.
    """
    from scipy import sparse

    rng = np.random.default_rng(seed)
    frequency = (0.6 * m / np.arange(1, n + 1) ** 0.8).astype(np.int64) + rng.geometric(0.4, n)
    rng.shuffle(frequency)
    frequency = np.minimum(frequency, m)
    rows = rng.integers(m, size=frequency.sum())
    columns = np.repeat(np.arange(n), frequency)
    counts = rng.geometric(0.5, rows.size).astype(np.float64)
    A = sparse.csc_array((counts, (rows, columns)), shape=(m, n))
    A.sum_duplicates()
    in_column = np.diff(A.indptr)
    A.data = np.log1p(A.data) * np.repeat(np.log((m + 1) / np.maximum(in_column, 1)), in_column)
    if hard:
        index = np.arange(n)
        index[1::20] = index[0::20][: index[1::20].size]
        A = A[:, index]
        keep = np.ones(n)
        keep[2::20] = 0.0
        A = sparse.csc_array(A @ sparse.diags_array(keep))
        A.eliminate_zeros()
    norms = np.sqrt(A.multiply(A).sum(axis=1))
    A = sparse.csc_array(sparse.diags_array(1 / np.where(norms > 0, norms, 1.0)) @ A)
    A.sort_indices()
    A.indices, A.indptr = A.indices.astype(np.int32), A.indptr.astype(np.int32)
    x = np.zeros(n)
    used = rng.choice(np.flatnonzero(np.diff(A.indptr) > 5), min(100, n // 20), replace=False)
    x[used] = 3 * rng.standard_normal(used.size)
    b = A @ x
    return A, b + 0.3 * b.std() * rng.standard_t(4, m)


def ricker(dt: float = 0.002, f0: float = 25.0, half: int = 40) -> Array:
    """Return a Ricker wavelet of peak frequency f0 [Hz], 2 half + 1 samples dt [s] apart."""
    a = (np.pi * f0 * np.arange(-half, half + 1) * dt) ** 2
    return (1 - 2 * a) * np.exp(-a)


def deconvolution(n: int, *, seed: int = 0):
    """Return the dense matrix of a convolution with a Ricker wavelet, and a noisy trace."""
    A = convolution_matrix(n)
    return A, traces(A, 1, seed=seed)[:, 0]


def convolution_matrix(n: int) -> Array:
    """Write the convolution with `ricker()` ("same" length) as a matrix of shape (n, n)."""
    wavelet = ricker()
    half = wavelet.size // 2
    A = np.zeros((n, n), order="F")
    for j in range(n):
        first, last = max(0, j - half), min(n, j + half + 1)
        A[first:last, j] = wavelet[first - j + half : last - j + half]
    return A


def traces(A: Array, count: int, *, noise: float = 0.05, seed: int = 0) -> Array:
    """Draw reflectivities with spikes at one sample in twenty and return their noisy traces as columns."""
    rng = np.random.default_rng(seed)
    n = A.shape[1]
    X = np.zeros((n, count))
    for x in X.T:
        spikes = rng.choice(n, n // 20, replace=False)
        x[spikes] = rng.standard_normal(spikes.size)
    B = A @ X
    return B + noise * B.std(axis=0) * rng.standard_normal(B.shape)


def polynomial(degree: int):
    """Expand scikit-learn's diabetes data (442 patients) in polynomials: real, and badly conditioned."""
    from sklearn.datasets import load_diabetes
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler

    A, b = load_diabetes(return_X_y=True)
    A = PolynomialFeatures(degree, include_bias=False).fit_transform(StandardScaler().fit_transform(A))
    return np.asfortranarray(StandardScaler().fit_transform(A)), b - b.mean()


def partial_dct(n: int, *, nonzeros: float = 0.03, noise: float = 0.05, seed: int = 0):
    """Return (kept rows of an orthonormal DCT, data) of a spiky vector: m = n / 4, no matrix."""
    from scipy.fft import dct

    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(n, n // 4, replace=False))
    x = np.zeros(n)
    used = rng.choice(n, max(1, int(nonzeros * n)), replace=False)
    x[used] = rng.standard_normal(used.size)
    b = dct(x, norm="ortho")[rows]
    return rows, b + noise * b.std() * rng.standard_normal(b.size)


def shot_gather(nt: int, nx: int, *, noise: float = 0.05, seed: int = 0):
    """Return (kept traces, data) of three straight events: half of nx traces of nt samples, irregularly."""
    rng = np.random.default_rng(seed)
    kept = np.sort(rng.choice(nx, nx // 2, replace=False))
    wavelet = ricker(dt=0.004)
    section = np.zeros((nt, nx))
    for start, slope, amplitude in ((0.25, 0.2, 1.0), (0.4, -0.15, -0.8), (0.6, 0.05, 0.6)):
        for j in range(nx):
            section[int((start + slope * j / nx) * nt), j] += amplitude
    section = np.apply_along_axis(np.convolve, 0, section, wavelet, "same")[:, kept]
    return kept, (section + noise * section.std() * rng.standard_normal(section.shape)).ravel()


def _observed(A: Array, nonzeros: int, snr: float, rng: np.random.Generator) -> Array:
    m, n = A.shape
    x = np.zeros(n)
    used = rng.choice(n, nonzeros, replace=False)
    x[used] = rng.choice([-1.0, 1.0], nonzeros) * (1 + np.abs(rng.standard_normal(nonzeros)))
    b = A @ x
    return b + rng.standard_normal(m) * np.linalg.norm(b) / np.sqrt(m) / snr


def _sized(small: Callable[[], Any], medium: Callable[[], Any]) -> Callable[[str], Any]:
    return lambda size: {"s": small, "m": medium}[size]()


#: problems of the tables
CORE: dict[str, Callable[[str], tuple[Any, Array]]] = {
    "gauss": _sized(lambda: gaussian(100, 400, 10), lambda: gaussian(1000, 10_000, 100)),
    "ar50": _sized(lambda: gaussian(100, 400, 10, rho=0.5), lambda: gaussian(1000, 10_000, 100, rho=0.5)),
    "ar95": _sized(lambda: gaussian(100, 400, 10, rho=0.95), lambda: gaussian(1000, 10_000, 100, rho=0.95)),
    "ar99": _sized(lambda: gaussian(100, 400, 10, rho=0.99), lambda: gaussian(1000, 10_000, 100, rho=0.99)),
    "leadfield": _sized(lambda: lead_field(40, 300), lambda: lead_field(300, 7500)),
    "text": _sized(lambda: text(200, 1000), lambda: text(10_000, 100_000)),
    "tall": _sized(lambda: gaussian(600, 50, 10), lambda: gaussian(20_000, 500, 50)),
    "decon": _sized(lambda: deconvolution(200), lambda: deconvolution(1000)),
    "poly": _sized(lambda: polynomial(2), lambda: polynomial(3)),
}
#: run on demand, by name
EXTENDED: dict[str, Callable[[str], tuple[Any, Array]]] = {
    "text1M": _sized(lambda: text(200, 3000, hard=True), lambda: text(16_000, 1_000_000, hard=True)),
    "tall90": _sized(lambda: gaussian(2000, 20, 5), lambda: gaussian(100_000, 90, 30)),
    "equi90": _sized(lambda: equicorrelated(100, 400, 10), lambda: equicorrelated(1000, 10_000, 100)),
    "decon4096": _sized(lambda: deconvolution(400), lambda: deconvolution(4096)),
}
#: problems of the suite without matrices: kind and length (of f-k interpolation: samples and traces)
FREE: dict[str, tuple[str, dict[str, int]]] = {
    "dct12": ("dct", {"s": 2**9, "m": 2**12}),
    "dct14": ("dct", {"s": 2**10, "m": 2**14}),
    "conv4096": ("conv", {"s": 512, "m": 4096}),
    "fk": ("fk", {"s": 96, "m": 256}),
    "dct18": ("dct", {"s": 2**11, "m": 2**18}),
}


def make(name: str, size: str = "m") -> tuple[Any, Array]:
    """Return (A, b) of the problem `name` at size "s" or "m"."""
    return {**CORE, **EXTENDED}[name](size)


def cell_names(*, core: bool = True, factors: Iterable[int] = FACTORS) -> list[str]:
    """List "problem/factor" of the core grid, or of every problem."""
    names = CORE if core else {**CORE, **EXTENDED}
    return [f"{name}/{factor}" for name in names for factor in factors]


def select(names: list[str], patterns: Iterable[str]) -> list[str]:
    """Return the names that match one of the patterns ("a/10", "a*/10", "a" for all of a), in their order."""
    patterns = list(patterns)
    return [
        name
        for name in names
        if any(fnmatchcase(name, p) or fnmatchcase(name.partition("/")[0], p) for p in patterns)
    ]

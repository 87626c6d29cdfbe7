"""Every operator of the library at a size of practice, and its counterpart in PyLops where there is one.

A new operator takes one entry: a name, how it is built, how the counterpart is built, and whether both are
the same map (then their products are compared, too).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import random_array

from sparseinv import operators as so
from sparseinv.seismic import ricker

RNG = np.random.default_rng(0)
DT = 0.004
WAVELET = ricker(25.0, DT)[0]
PSF = np.outer(np.hanning(11), WAVELET)
KNOTS = np.arange(25, 1000, 50)
AGED = WAVELET * np.linspace(1.0, 0.2, KNOTS.size)[:, None]
LIVE = np.sort(RNG.choice(200, 120, replace=False))
POSITIONS = np.sort(RNG.random(400)) * 498.0
TIMES = np.cumsum(RNG.uniform(1.0, 2.0, 20))
SHOT_TIMES = np.round(TIMES / DT) * DT + DT * RNG.random(20)
OFFSETS = 25.0 * np.arange(60)
SLOPES = np.linspace(0.0, 6e-4, 61)
VELOCITIES = np.linspace(1500.0, 4000.0, 61)
MATRIX = RNG.standard_normal((300, 800))
SPARSE = random_array((2000, 4000), density=0.01, format="csc", rng=np.random.default_rng(1))


@dataclass(frozen=True)
class Pair:
    """Hold an operator and its counterpart, both built when called.

    ``same`` says that both are one map; ``note`` says what differs otherwise.
    """

    ours: Callable[[], Any]
    theirs: Callable[[], Any] | None = None
    same: bool = True
    note: str = ""


def lops() -> Any:
    """Return PyLops' signal processing, imported late: the registry is read without it, too."""
    from pylops import signalprocessing

    return signalprocessing


def base() -> Any:
    """Return PyLops itself."""
    import pylops

    return pylops


def _blending() -> Any:
    from pylops.waveeqprocessing import BlendingContinuous

    return BlendingContinuous(500, 4, 20, DT, SHOT_TIMES)


def _slide() -> Any:
    waves = lops().FFT2D((20, 500), norm="ortho", dtype=complex, engine="scipy").H
    return lops().Sliding2D(waves, (19 * 20, 500), (200, 500), 20, 10, "cosine")


def _convolve() -> Any:
    return lops().Convolve1D(4096, WAVELET, WAVELET.size // 2)


PAIRS: dict[str, Pair] = {
    "Restriction, traces": Pair(
        lambda: so.Restriction((200, 500), LIVE, axis=0),
        lambda: base().Restriction((200, 500), LIVE, axis=0),
    ),
    "Restriction, samples": Pair(
        lambda: so.Restriction(100_000, np.arange(0, 100_000, 3)),
        lambda: base().Restriction(100_000, np.arange(0, 100_000, 3)),
    ),
    "Diagonal": Pair(
        lambda: so.Diagonal(np.linspace(1, 2, 100_000)), lambda: base().Diagonal(np.linspace(1, 2, 100_000))
    ),
    "DenseMatrix": Pair(
        lambda: so.as_operator(MATRIX),
        lambda: base().MatrixMult(MATRIX),
        note="looks for zeros in x before it multiplies, which pays off for the sparse x of solvers",
    ),
    "SparseMatrix": Pair(lambda: so.as_operator(SPARSE), lambda: base().MatrixMult(SPARSE)),
    "DCT": Pair(lambda: so.DCT((200, 500)), lambda: lops().DCT((200, 500), type=2)),
    "FFT, 1-D": Pair(
        lambda: so.FFT(4096), lambda: lops().FFT(4096, norm="ortho", dtype=complex, engine="scipy")
    ),
    "FFT, 2-D padded": Pair(
        lambda: so.FFT((200, 500), sizes=(256, 512)),
        lambda: lops().FFT2D((200, 500), nffts=(256, 512), norm="ortho", dtype=complex, engine="scipy"),
    ),
    "RealFFT": Pair(
        lambda: so.RealFFT((200, 500), axes=1),
        lambda: lops().FFT((200, 500), axis=1, real=True, norm="ortho", engine="scipy"),
    ),
    "NUFFT": Pair(lambda: so.NUFFT(POSITIONS / 500.0, 512)),
    "Wavelet": Pair(
        lambda: so.Wavelet((64, 512), "db4", level=3, axes=1),
        lambda: lops().DWT((64, 512), axis=1, wavelet="db4", level=3),
    ),
    "Curvelet": Pair(lambda: so.Curvelet((128, 128))),
    "MorletBank": Pair(lambda: so.MorletBank(500, 0.002, np.linspace(10, 128, 60))),
    "Convolution, trace": Pair(
        lambda: so.Convolution(1000, WAVELET), lambda: lops().Convolve1D(1000, WAVELET, WAVELET.size // 2)
    ),
    "Convolution, long wavelet": Pair(
        lambda: so.Convolution(4096, np.hanning(801)), lambda: lops().Convolve1D(4096, np.hanning(801), 400)
    ),
    "Convolution, gather": Pair(
        lambda: so.Convolution((200, 500), WAVELET),
        lambda: lops().Convolve1D((200, 500), WAVELET, WAVELET.size // 2, axis=1),
    ),
    "Convolution, first axis": Pair(
        lambda: so.Convolution((500, 200), WAVELET, axis=0),
        lambda: lops().Convolve1D((500, 200), WAVELET, WAVELET.size // 2, axis=0),
    ),
    "Convolution, 2-D": Pair(
        lambda: so.Convolution((200, 500), PSF, axis=(0, 1)),
        lambda: lops().Convolve2D((200, 500), PSF, offset=(5, WAVELET.size // 2)),
    ),
    "NonstationaryConvolution": Pair(
        lambda: so.NonstationaryConvolution(1000, AGED, KNOTS),
        lambda: lops().NonStationaryConvolve1D(1000, AGED, tuple(KNOTS)),
    ),
    "NonstationaryConvolution, gather": Pair(
        lambda: so.NonstationaryConvolution((100, 1000), AGED, KNOTS),
        lambda: lops().NonStationaryConvolve1D((100, 1000), AGED, tuple(KNOTS)),
    ),
    "Interpolation, linear": Pair(
        lambda: so.Interpolation((200, 500), POSITIONS),
        lambda: lops().Interp((200, 500), POSITIONS, axis=1, kind="linear")[0],
    ),
    "Radon, linear": Pair(
        lambda: so.Radon((60, 400), OFFSETS, DT, SLOPES),
        lambda: lops().Radon2D(
            np.arange(400) * DT, OFFSETS, SLOPES, kind="linear", centeredh=False, interp=True, engine="numba"
        ),
        same=False,
        note="only the last sample of the traces differs",
    ),
    "Radon, hyperbolic": Pair(
        lambda: so.Radon((60, 400), OFFSETS, DT, VELOCITIES, "hyperbolic"),
        lambda: lops().Radon2D(
            np.arange(400) * DT, OFFSETS, VELOCITIES * (DT / 25.0) ** 2, kind="hyperbolic",
            centeredh=False, interp=True, engine="numba",
        ),
        same=False, note="only the last sample of the traces differs",
    ),
    "FrequencyRadon": Pair(
        lambda: so.FrequencyRadon((60, 400), OFFSETS, DT, SLOPES, "linear"),
        lambda: lops().FourierRadon2D(np.arange(400) * DT, OFFSETS, SLOPES, 512, engine="numba"),
        same=False,
        note="padded otherwise, so that what leaves the record comes back elsewhere",
    ),
    "Windows of plane waves": Pair(
        lambda: so.Windows((200, 500), 20, 10, axes=0, inner=so.FFT((20, 500))).H,
        _slide,
        same=False,
        note="other tapers",
    ),
    "Blending": Pair(
        lambda: so.Blending((20, 4, 500), SHOT_TIMES, DT),
        _blending,
        same=False,
        note="fractions of a sample are shifted with another padding",
    ),
    "Composition": Pair(
        lambda: so.Restriction((200, 500), LIVE, axis=0) @ so.FFT((200, 500)).H,
        lambda: base().Restriction((200, 500), LIVE, axis=0, dtype=complex)
        @ lops().FFT2D((200, 500), norm="ortho", dtype=complex, engine="scipy").H,
    ),
    "Adjoint": Pair(lambda: so.Convolution(4096, WAVELET).H, lambda: _convolve().H),
    "Scaled": Pair(lambda: 2.0 * so.Convolution(4096, WAVELET), lambda: 2.0 * _convolve()),
    "Sum": Pair(
        lambda: so.DCT(4096) + so.Convolution(4096, WAVELET),
        lambda: lops().DCT(4096, type=2) + _convolve(),
    ),
    "HStack": Pair(
        lambda: so.HStack([so.DCT(4096).H, so.Convolution(4096, WAVELET)]),
        lambda: base().HStack([lops().DCT(4096, type=2).H, _convolve()]),
    ),
    "VStack": Pair(
        lambda: so.VStack([so.DCT(4096), so.Convolution(4096, WAVELET)]),
        lambda: base().VStack([lops().DCT(4096, type=2), _convolve()]),
    ),
    "BlockDiagonal": Pair(
        lambda: so.BlockDiagonal([so.DCT(4096), so.Convolution(4096, WAVELET)]),
        lambda: base().BlockDiag([lops().DCT(4096, type=2), _convolve()]),
    ),
}  # fmt: skip

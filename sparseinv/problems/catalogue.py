"""The numbered problems: which there are, where each is built, and how it is loaded and run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from sparseinv.penalties import L1
from sparseinv.problems.report import Demo
from sparseinv.seismic.metrics import snr_db
from sparseinv.selection.theory import lam_max
from sparseinv.threads import single_threaded_blas

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Entry:
    """Describe a numbered problem without building it.

    Attributes
    ----------
    title : str
        What is recovered from what, in one line.
    module : str
        Module of `sparseinv.problems` with ``load(id, *, size, seed, data)``, which returns a `Case`,
        and ``run(id, *, size, seed, data, echo)``, which returns a `Demo`.
    sizes : str
        Sizes it comes in, of "s" (a second), "m" (at most fifteen seconds) and "l" (for benchmarks).
    largest : str
        Why there is no size l; empty if there is.
    needs : str
        Field data or optional package without which it is skipped; empty if none.
    """

    title: str
    module: str
    sizes: str = "sm"
    needs: str = ""
    largest: str = ""


# why a problem has no size l
_DETERMINED = "every sample is known, so that a larger one is no harder"
_PUBLISHED = "published at one size, which is the point of it"
_FIELD = "real data of one size"
_LONG = "none is known to end in two minutes"
_MEAN = "a mean over many short traces"

#: every numbered problem, in the order in which they are listed
CATALOGUE: dict[str, Entry] = {
    "001": Entry("a sine and two jumps in waves plus steps", "sparco", largest=_DETERMINED),
    "002": Entry("blocks in the Haar basis", "sparco", largest=_DETERMINED),
    "003": Entry("cosines plus spikes", "sparco", largest=_DETERMINED),
    "004": Entry("cosines plus spikes, in complex waves", "sparco", largest=_DETERMINED),
    "005": Entry("cosines plus spikes from mixtures", "sparco", largest=_LONG),
    "006": Entry("cubic pieces from mixtures, in Daubechies wavelets", "sparco", largest=_LONG),
    "007": Entry("signs from orthonormal mixtures", "sparco", sizes="sml"),
    "008": Entry("complex phases from orthonormal mixtures", "sparco", largest=_LONG),
    "009": Entry("jumps of a blocky signal in steps", "sparco", largest=_DETERMINED),
    "010": Entry("jumps of a blocky signal in normalised steps", "sparco", largest=_DETERMINED),
    "011": Entry("normal spikes from Gaussian mixtures", "sparco", sizes="sml"),
    "012": Entry("spikes of high dynamic range from cosine coefficients", "sparco", largest=_LONG),
    "902": Entry(
        "three cosines from every fifth sample, jittered, random or regular", "jitter", largest=_PUBLISHED
    ),
    "903": Entry("spikes behind a long one-sided wavelet, a matrix of condition 1e18", "spike_train", "sml"),
    "C1": Entry(
        "weekly carbon dioxide with gaps, from a trend and a spectrum",
        "co2",
        needs="statsmodels",
        largest=_FIELD,
    ),
    "D1": Entry("spikes from a blurred trace in white noise", "deconvolution", "sml"),
    "D3": Entry(
        "spikes from a real stacked section",
        "deconvolution",
        "s",
        "small_stack.su and its wavelet",
        largest=_FIELD,
    ),
    "D4": Entry("spikes from a blurred trace in erratic noise", "deconvolution", largest=_MEAN),
    "D5": Entry("layers in strong noise, with the traces of a gather coupled", "multichannel", "sml"),
    "D6": Entry(
        "reflectivity and wavelet from the traces alone, and when not to believe them",
        "unknown_wavelet",
        largest=_LONG,
    ),
    "W1": Entry("wedges thinner than the wavelet resolves, in layers and in spikes", "wedge", largest=_LONG),
    "Q1": Entry("reflectivity through a lossy medium, one lambda per coefficient", "depth", sizes="sml"),
    "I1": Entry(
        "three linear events from 60 % of the traces, in plane waves", "plane_waves", largest=_PUBLISHED
    ),
    "I2": Entry(
        "a section with curved beds from 70 and 50 % of its traces, in curvelets",
        "sigmoid",
        needs="sigmoid.npz for size m, the package curvelets",
        largest=_FIELD,
    ),
    "I4": Entry("tones of any frequency from samples at random times", "off_grid", sizes="sml"),
    "I5": Entry(
        "dead traces of a cube filled by three methods on plane waves", "trace_interpolation", sizes="sml"
    ),
    "I6": Entry("half of the traces of a shot with curved events", "curved_events", largest=_LONG),
    "I7": Entry(
        "aliased linear events, every other trace missing, one lambda per coefficient", "aliased", sizes="sml"
    ),
    "R1": Entry("multiples removed by a sparse parabolic Radon transform", "parabolic_radon", "sml"),
    "R2": Entry(
        "reflections focused on their velocities by a hyperbolic Radon transform",
        "hyperbolic_radon",
        largest=_LONG,
    ),
    "R3": Entry(
        "multiples removed from a modelled gather",
        "field_multiples",
        needs="syn_cmp_mult.su of SeismicLab",
        largest=_FIELD,
    ),
    "R4": Entry(
        "multiples removed from a marine gather",
        "field_multiples",
        needs="gom_cdp_nmo.su of SeismicLab",
        largest=_FIELD,
    ),
    "B1": Entry("deblending a marine gather", "blended_shots", needs="mobil.npy", largest=_FIELD),
    "B2": Entry("deblending two sources", "blended_shots", sizes="sml"),
    "T1": Entry("two crossing chirps as the sum of few Morlet wavelets", "chirps", sizes="sml"),
    "A1": Entry(
        "P, S and density reflectivity from an angle gather, sparse at the same times",
        "prestack",
        largest=_LONG,
    ),
}


@dataclass(frozen=True, eq=False)
class Case:
    """Hold one problem of the catalogue, ready for any solver.

    Attributes
    ----------
    id, size : str
        Number and size.
    seed : int
        Seed of masks, spikes and noise.
    A : operator or ndarray, shape (m, n)
        The map.
    b : ndarray, shape (m,)
        The data.
    penalty : penalty
        The one recommended, with its lambda.
    rule : str
        How that lambda was chosen, in words.
    sigma : float
        Standard deviation of the noise in b; 0 for exact data, NaN where it is not known.
    score : callable
        Maps x, shape (n,), to named scores, for example ``{"SNR [dB]": 17.2}``.
    truth : ndarray of shape (n,), or None
        The coefficients from which b was made, where there are such.
    dims : tuple of int
        Natural shape of x.
    """

    id: str
    size: str
    seed: int
    A: Any
    b: Array
    penalty: Any
    rule: str
    sigma: float
    score: Callable[[Array], Mapping[str, float]]
    truth: Array | None = None
    dims: tuple[int, ...] = ()


def noiseless_case(id: str, size: str, seed: int, A: Any, truth: Array) -> Case:
    """Return the problem of exact data of real coefficients, scored by the SNR of the coefficients."""
    b = A @ truth
    rule = "1e-6 of lam_max, close to basis pursuit: there is no noise"

    def score(x: Array) -> dict[str, float]:
        return {"SNR [dB]": snr_db(truth, x)}

    return Case(
        id, size, seed, A, b, L1(1e-6 * lam_max(A, b, L1())), rule, 0.0, score, truth, (truth.size,)
    )  # fmt: skip


def load_problem(id: str, *, size: str = "m", seed: int = 0, data: Path | None = None) -> Case:
    """Build a numbered problem: map, data, truth, noise, recommended penalty and how answers are scored.

    Parameters
    ----------
    id : str
        A key of `CATALOGUE`; ``sparseinv problems`` lists them.
    size : {"s", "m", "l"}
        One of the sizes that the problem comes in.
    seed : int
        Seed of masks, spikes and noise.
    data : Path, optional
        File or folder with field data; by default that of the environment variable SPARSEINV_DATA.

    Returns
    -------
    Case
        Everything a solver needs, and what judges its answer.

    Raises
    ------
    ValueError
        There is no such problem, or not in this size.
    Missing
        Field data or an optional package is not there; the text says what to do.
    """
    case = _module(id, size).load(id, size=size, seed=seed, data=data)
    assert isinstance(case, Case)
    return case


def run_problem(
    id: str, *, size: str = "m", seed: int = 0, data: Path | None = None, echo: bool = False
) -> Demo:
    """Solve a numbered problem by the methods that are compared on it; return tables, figures and goals.

    Parameters
    ----------
    id, size, seed, data
        As for `load_problem`.
    echo : bool
        Print each row of a table as it is computed.

    Raises
    ------
    ValueError, Missing
        As `load_problem`.
    """
    module = _module(id, size)
    # one thread: comparable everywhere, and repeats bit by bit
    with single_threaded_blas():
        demo = module.run(id, size=size, seed=seed, data=data, echo=echo)
    assert isinstance(demo, Demo)
    return demo


def _module(id: str, size: str) -> Any:
    if id not in CATALOGUE:
        raise ValueError(f"there is no problem {id!r}; choose from {', '.join(CATALOGUE) or 'none'}")
    entry = CATALOGUE[id]
    if size not in tuple(entry.sizes):
        raise ValueError(f"problem {id} comes in size {' or '.join(entry.sizes)}, not {size!r}")
    return import_module(f"sparseinv.problems.{entry.module}")

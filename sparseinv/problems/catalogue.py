"""The numbered problems: which there are, where each is built, and how it is loaded and run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from sparseinv.problems.report import Demo

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
    needs : str
        Field data or optional package without which it is skipped; empty if none.
    """

    title: str
    module: str
    sizes: str = "sm"
    needs: str = ""


#: every numbered problem, in the order in which they are listed
CATALOGUE: dict[str, Entry] = {
    "A1": Entry("P, S and density reflectivity from an angle gather, sparse at the same times", "prestack"),
    "D5": Entry("layers in strong noise, with the traces of a gather coupled", "multichannel", "sml"),
    "D6": Entry(
        "reflectivity and wavelet from the traces alone, and when not to believe them", "unknown_wavelet"
    ),
    "W1": Entry("wedges thinner than the wavelet resolves, in layers and in spikes", "wedge"),
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
    import scipy.linalg  # noqa: F401  (only libraries that are loaded can be limited)
    from threadpoolctl import threadpool_limits

    module = _module(id, size)
    # one thread: comparable everywhere, and repeats bit by bit
    with threadpool_limits(limits=1, user_api="blas"):
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

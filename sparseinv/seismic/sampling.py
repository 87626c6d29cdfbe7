"""Where to sample: regular, random and jittered subsets of a regular grid."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparseinv import validation

Array = np.ndarray[Any, Any]

_SCHEMES = ("regular", "random", "jittered")


def undersample(n: int, factor: float, scheme: str = "jittered", *, rng: Any = None) -> Array:
    """Choose about n / factor of the positions 0 ... n - 1 of a grid.

    Parameters
    ----------
    n : int
        Positions of the grid: samples of a trace, shots or receivers of a line.
    factor : float
        Undersampling, 1 <= factor <= n: one position is kept out of this many.
    scheme : {"regular", "random", "jittered"}
        Equal steps; any subset with equal probability; or one position drawn from each of equal intervals.
    rng : None, int or Generator
        Source of randomness; None is seed 0.

    Returns
    -------
    ndarray of int, shape (round(n / factor),)
        Positions, rising: the index of `sparseinv.operators.Restriction`.

    Raises
    ------
    ValueError, TypeError
        A number out of range, or an unknown scheme.

    Notes
    -----
    A regular subset turns a plane wave into exact copies of others (aliases) that no penalty can tell apart.
    A random one turns it into noise, at the price of wide gaps. Jittered positions do the same and never lie
    further apart than twice the step: the gap must not exceed the support of the elements of a local
    dictionary [1]_.

    References
    ----------
    .. [1] G. Hennenfent, F. J. Herrmann, Simply denoise: wavefield reconstruction via jittered undersampling,
       Geophysics 73 (2008) V19-V28, doi:10.1190/1.2841038.

    Examples
    --------
    >>> undersample(20, 5, "regular")
    array([ 2,  7, 12, 17])
    >>> kept = undersample(1000, 5, rng=1)
    >>> kept.size, int(np.diff(kept).max()) < 10
    (200, True)
    """
    n = validation.count(n, "n", least=1)
    factor = validation.real_number(factor, "factor")
    if not 1.0 <= factor <= n:
        raise ValueError(f"factor is {factor}, but a number from 1 to n = {n} is needed")
    if scheme not in _SCHEMES:
        raise ValueError(f"scheme is {scheme!r}, but one of {', '.join(map(repr, _SCHEMES))} is needed")
    rng = validation.generator(rng)
    count = round(n / factor)
    edges = np.arange(count + 1) * n // count
    if scheme == "regular":
        return np.asarray((edges[:-1] + edges[1:]) // 2)
    if scheme == "random":
        return np.sort(rng.choice(n, count, replace=False))
    return np.asarray(rng.integers(edges[:-1], edges[1:]))

"""Thin beds: deconvolution in a dictionary of layers, pairs of reflectors of equal or opposite sign."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.operators.convolution import Convolution
from sparseinv.operators.grid import GridOperator
from sparseinv.penalties import L1, Penalty
from sparseinv.seismic.deconvolution import (
    Deconvolution,
    as_traces,
    checked_model,
    checked_penalty,
    levels_of,
    refit_signs,
    rule_in_words,
    solve_each,
    strongest,
)
from sparseinv.seismic.interruption import answered, kept
from sparseinv.selection.selector import Selector

Array = np.ndarray[Any, Any]

_LARGEST = 20_000_000  # entries of the matrix of a trace up to which it is written down
_ROUNDING = 1e-12  # of the largest reflectivity, which two coefficients leave where they cancel


class LayerPairs(GridOperator):
    """Represent reflectivity as a sum of layers: pairs of spikes of equal (even) or opposite (odd) sign.

    ``r_i = sum_n (e_ni + o_ni) + (e_n,i-n - o_n,i-n)`` for thicknesses n = 1 ... N samples: x = (e, o). Any
    two spikes a and b, n samples apart, are one layer with e = (a + b)/2, o = (a - b)/2.

    Parameters
    ----------
    samples : int
        Length of r.
    thickest : int
        N, below ``samples``.

    Notes
    -----
    A product takes 4 N additions a sample; ``dims`` is (2, N, samples). Bases below the last sample are cut.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.zeros((2, 3, 8))
    >>> x[1, 2, 4] = 1.0  # odd, 3 samples thick, its top at sample 4
    >>> LayerPairs(8, 3) @ x.ravel()
    array([ 0.,  0.,  0.,  0.,  1.,  0.,  0., -1.])
    """

    closed_columns = True

    def __init__(self, samples: int, thickest: int) -> None:
        n = validation.count(samples, "samples", least=2)
        #: largest thickness in samples
        self.thickest = validation.count(thickest, "thickest", least=1)
        if self.thickest >= n:
            raise ValueError(
                f"thickest is {self.thickest} samples, but a trace of {n} holds layers up to {n - 1}"
            )
        super().__init__((2, self.thickest, n), (n,))

    def _forward(self, x: Array) -> Array:
        even, odd = x[:, 0], x[:, 1]
        out = np.asarray((even + odd).sum(axis=1))
        base = even - odd
        for n in range(1, self.thickest + 1):
            out[:, n:] += base[:, n - 1, :-n]
        return out

    def _backward(self, y: Array) -> Array:
        out = np.empty((y.shape[0], *self.dims), dtype=y.dtype)
        out[:] = y[:, None, None, :]
        for n in range(1, self.thickest + 1):
            out[:, 0, n - 1, :-n] += y[:, n:]
            out[:, 1, n - 1, :-n] -= y[:, n:]
        return out

    def columns(self, index: Array) -> Array:
        """Return pairs of spikes, or single ones where the base is cut."""
        _, thickest, n = self.dims
        j = np.atleast_1d(np.asarray(index)) % self.shape[1]
        sign, rest = 1.0 - 2.0 * (j // (thickest * n)), j % (thickest * n)
        top, base = rest % n, rest % n + rest // n + 1
        out = np.zeros((n, j.size), order="F")
        out[top, np.arange(j.size)] = 1.0
        held = np.flatnonzero(base < n)
        out[base[held], held] = sign[held]
        return out

    def column_norms(self) -> Array:
        """Return sqrt(2), or 1 where the base is cut."""
        out = np.full(self.dims, np.sqrt(2.0))
        for n in range(1, self.thickest + 1):
            out[:, n - 1, self.dims[2] - n :] = 1.0
        return out.ravel()

    def norm_bound(self) -> float:
        """Return 2 sqrt(N), the norm of A A^T = sum_n 2 (I + part of I) being at most 4 N."""
        return 2.0 * float(np.sqrt(self.thickest))


@dataclass(frozen=True, eq=False)
class LayerDeconvolution(Deconvolution):
    """Hold reflectivity found by `deconvolve_layers`; the attributes of `Deconvolution`, and these.

    Attributes
    ----------
    coefficients : ndarray, shape (n_traces, 2, N, n_samples)
        Even and odd layers of 1 to N samples with their tops at each sample.
    """

    coefficients: Array = field(repr=False)


def deconvolve_layers(
    traces: Any,
    wavelet: Any,
    dt: float,
    thickest: float,
    penalty: Penalty | None = None,
    *,
    normalize: bool = True,
    offset: int | None = None,
    select: Selector | None = None,
    refit: bool = True,
    tol: float = 1e-6,
    max_time: float | None = None,
    n_threads: int | None = None,
) -> LayerDeconvolution:
    """Explain traces by few layers instead of few spikes (basis pursuit inversion).

    Minimises ``1/2 ||w * (P x) - d||^2 + lam sum_j g_j abs(x_j)`` for each trace, P as in `LayerPairs`,
    2 N n_samples coefficients a trace.

    Parameters
    ----------
    traces, wavelet, dt, offset, select, refit, tol, max_time, n_threads
        As for `deconvolve`.
    thickest : float
        Two-way time of the thickest layer of the dictionary [s], at least dt; thicker ones are two
        layers.
    penalty : Penalty, optional
        L1() by default, or another one with a level; its weights are used as they are if ``normalize`` is
        False.
    normalize : bool
        Make g_j the norm of w * P_j over that of the wavelet, so that layers of all thicknesses cost what
        they show; g_j = 1 otherwise. Only for L1.

    Returns
    -------
    LayerDeconvolution
        Reflectivity P x, refit, fit (in single precision where the traces are), coefficients, levels with
        their rule, and one certified `Result` per trace.

    Raises
    ------
    ValueError, TypeError
        Bad input, before any work.
    Interrupted
        On Ctrl-C; ``.result`` holds the answer as far as it came, every certificate included.

    Notes
    -----
    The dictionary states a prior, and is as good as it is true. A bed whose top and base are equally strong
    is one atom; with ``normalize`` it is found far below the tuning thickness, sqrt(6)/(2 pi f0) for a Ricker
    wavelet, where L1 on spikes fails. A bed whose reflections differ takes two atoms, one of which is almost
    invisible when thin, and normalisation makes that one cheap: there spikes do better. Without it the cost
    of a pair (a, b) is max(abs(a), abs(b)), and the answers are close to those of spikes.
    Cost: the matrix of a trace, n_samples x 2 N n_samples, is written down where it has at most 2e7 entries.

    References
    ----------
    .. [1] R. Zhang, J. Castagna, Seismic sparse-layer reflectivity inversion using basis pursuit
       decomposition, Geophysics 76 (2011) R147-R158, doi:10.1190/geo2011-0103.1.

    Examples
    --------
    >>> import numpy as np
    >>> from sparseinv.seismic import deconvolve_layers, ricker
    >>> wavelet, _, center = ricker(30.0, 0.002)
    >>> r = np.zeros(80); r[[40, 42]] = 1.0, -1.0  # 4 ms, a third of the tuning thickness
    >>> answer = deconvolve_layers(np.convolve(r, wavelet)[center:center + 80], wavelet, 0.002, 0.016)
    >>> np.flatnonzero(np.abs(answer.reflectivity) > 0.5)
    array([40, 42])
    """
    data, A = checked_model(traces, wavelet, dt, offset)
    samples = data.shape[1]
    pairs = LayerPairs(samples, max(1, round(validation.positive(thickest, "thickest") / float(dt))))
    chosen = checked_penalty(penalty, select)
    small = samples * pairs.shape[1] <= _LARGEST
    matrix: Any = A @ pairs
    if small:
        spikes = A.columns(np.arange(samples))
        matrix = np.asfortranarray(pairs.rmatmat(np.ascontiguousarray(spikes.T)).T)
    if normalize and isinstance(chosen, L1):
        if chosen.weights is not None:
            raise ValueError(
                "penalty has weights, and normalize=True would replace them; pass normalize=False"
            )
        norms = np.linalg.norm(matrix, axis=0) if small else _image_norms(A, pairs)
        chosen = chosen.replace(weights=norms / float(np.linalg.norm(A.wavelet)))
    results, stopped = kept(
        solve_each, matrix, data, chosen, None, select, max_time,
        {"tol": tol, "check_operator": False, "progress": False, "n_threads": n_threads},
    )  # fmt: skip
    x = np.stack([result.x for result in results])
    r = pairs.matmat(x.T).T
    r[np.abs(r) <= _ROUNDING * np.abs(r).max()] = 0.0
    refitted, unfinished = kept(refit_signs, A, data, r) if refit else (r, False)
    shown = as_traces(traces, r, refitted, A.matmat(refitted.T).T)
    levels, sigma = levels_of(results, None, data.shape[0])
    rule = rule_in_words(results[strongest(data)], chosen, select, None, data.shape[0])
    answer = LayerDeconvolution(*shown, float(dt), levels, rule, results, sigma, x.reshape(-1, *pairs.dims))
    return answered(answer, stopped or unfinished)


def _image_norms(A: Convolution, pairs: LayerPairs) -> Array:
    """Return the norms of w * P_j, a few columns at a time."""
    width = max(1, _LARGEST // pairs.shape[0])
    parts = [
        np.arange(first, min(first + width, pairs.shape[1])) for first in range(0, pairs.shape[1], width)
    ]
    return np.concatenate([np.linalg.norm(A.matmat(pairs.columns(part)), axis=0) for part in parts])

"""Sparse-spike deconvolution of traces with erratic noise: samples that are wrong altogether."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.entry import solve, solve_many
from sparseinv.operators.algebra import HStack
from sparseinv.operators.base import Operator
from sparseinv.operators.sampling import Restriction
from sparseinv.penalties import L1
from sparseinv.result import Result
from sparseinv.seismic.deconvolution import as_traces, checked_model
from sparseinv.seismic.interruption import answered, as_interrupted
from sparseinv.seismic.time_limit import TimeLimit

Array = np.ndarray[Any, Any]

_IN_MEMORY = 4000  # samples up to which the convolution is held as a matrix
_HALF = 0.5  # of the level that the largest of n correlations with noise reaches: as in the pivotal rule
_DEARER = 2.0  # least price of outliers in place of a spike, over that of the spike
_FIRST = 0.5  # of the time that the deconvolution without outliers may take
_NORMAL = 1.4826  # standard deviation over median modulus of normal noise


@dataclass(frozen=True, eq=False)
class RobustDeconvolution:
    """Hold reflectivity and outliers with the proof of every trace.

    Attributes
    ----------
    reflectivity : ndarray, shape of the traces
        Spikes r with wavelet * r close to the traces but for outliers.
    outliers : ndarray, shape of the traces
        What was taken for erratic noise.
    fit : ndarray, shape of the traces
        wavelet * r.
    results : tuple of Result
        One per trace: status, certificate, cost; x holds spikes, then outliers.
    lam : ndarray, shape (n_traces,)
        Level of the spikes of every trace.
    rule : str
        How it was chosen.
    """

    reflectivity: Array
    outliers: Array
    fit: Array
    results: tuple[Result, ...]
    lam: Array
    rule: str

    @property
    def success(self) -> bool:
        """Whether all certificates meet the tolerance."""
        return all(result.success for result in self.results)


def robust_deconvolve(
    traces: Any, wavelet: Any, dt: float, *, offset: int | None = None, lam: float | None = None,
    tol: float = 1e-6, max_time: float | None = None,
) -> RobustDeconvolution:  # fmt: skip
    """Find sparse reflectivity r that explains traces d but for outliers e.

    Minimises ``1/2 ||w * r + e - d||^2 + lam ||r||_1 + mu ||e||_1`` for every trace, w the wavelet.

    Parameters
    ----------
    traces : array_like, shape (n_samples,) or (n_traces, n_samples)
        Data d, real and finite.
    wavelet : array_like, shape (nw,)
        w, at the sampling interval of the traces.
    dt : float
        Sampling interval [s].
    offset : int, optional
        Index of the wavelet's zero time; nw // 2 by default, 0 for a causal one.
    lam : float, optional
        Level of the spikes for all traces, > 0; chosen for each trace if None.
    tol : float
        Relative accuracy of each certificate.
    max_time : float, optional
        Most seconds, roughly, for everything. The answer is then the best so far: traces that were not
        solved say so in their status and are judged as they are.

    Returns
    -------
    RobustDeconvolution
        Reflectivity and outliers with certificates (duality gaps: the problem is convex); in single precision
        where the traces are.

    Raises
    ------
    ValueError, TypeError
        traces or wavelet are empty, not finite, complex or of another shape; lam is not positive.
    Interrupted
        On Ctrl-C; ``.result`` holds the answer as far as it came, every certificate included.

    Notes
    -----
    mu is the standard deviation of the residual of a first, ordinary deconvolution (`deconvolve`) as its
    median modulus tells it, which outliers do not move, and at least 2 lam / norm1(w), so that outliers in
    place of a spike are dearer than the spike; lam=None takes half of the level that this residual,
    its outliers cut off at mu, reaches: rms * norm2(w) * sqrt(2 log n) / 2.

    Minimised over e, the objective is Huber's misfit [1]_ [2]_, quadratic up to mu and linear beyond; with
    one lambda for spikes and another for outliers it is an ordinary L1 problem, certified as such.
    Up to 4000 samples the convolution matrix is held in memory (8 n^2 bytes); two solves a trace.

    References
    ----------
    .. [1] P. J. Huber, Robust estimation of a location parameter, Ann. Math. Stat. 35 (1964) 73-101,
       doi:10.1214/aoms/1177703732.
    .. [2] A. Guitton, W. W. Symes, Robust inversion of seismic data using the Huber norm, Geophysics 68
       (2003) 1310-1319, doi:10.1190/1.1598124.

    Examples
    --------
    >>> import numpy as np
    >>> from sparseinv.seismic import ricker, robust_deconvolve
    >>> wavelet, _, center = ricker(25.0, 0.004)
    >>> d = np.zeros(100); d[15:46] = 2.0 * wavelet; d[70] = 9.0   # a spike at sample 30, a wrong sample
    >>> found = robust_deconvolve(d, wavelet, 0.004, offset=center)
    >>> int(found.reflectivity.argmax()), int(found.outliers.argmax()), found.success
    (30, 70, True)
    """
    data, convolution = checked_model(traces, wavelet, dt, offset)
    level = None if lam is None else validation.positive(lam, "lam")
    limit = TimeLimit(max_time)
    n = data.shape[1]
    A: Any = convolution
    if n <= _IN_MEMORY:
        A = np.asfortranarray(convolution.columns(np.arange(n)))
    first = limit.first(_FIRST).run(solve_many, A, data.T, L1(level), tol=tol)
    w = convolution.wavelet
    found = [_robust(A, row, result.x, w, level, tol, limit) for row, result in zip(data, first, strict=True)]
    spikes = np.stack([result.x[:n] for result, _ in found])
    outliers = np.stack([result.x[n:] for result, _ in found])
    fit = np.stack([convolution @ row for row in spikes])
    rule = "given" if lam is not None else "half the level that the residual, cut off at mu, reaches"
    answer = RobustDeconvolution(
        *as_traces(traces, spikes, outliers, fit),
        tuple(result for result, _ in found), np.array([level for _, level in found]), rule,
    )  # fmt: skip
    return answered(answer, limit.stopped)


def _robust(
    A: Any, d: Array, spikes: Array, w: Array, lam: float | None, tol: float, limit: TimeLimit
) -> tuple[Result, float]:
    """Solve for spikes and outliers together, starting from a fit without outliers."""
    n = d.size
    r = d - A @ spikes
    size = _NORMAL * float(np.median(np.abs(r)))
    if size == 0.0:  # half of the samples fit exactly
        size = float(np.abs(r).max(initial=0.0)) or 1.0
    cut = float(np.sqrt(np.mean(np.clip(r, -size, size) ** 2)))
    if lam is None:
        lam = _HALF * cut * float(np.linalg.norm(w)) * math.sqrt(2.0 * math.log(max(n, 2))) or size
    if isinstance(A, Operator):
        union: Any = HStack([A, Restriction(n, np.arange(n))])
    else:
        union = np.asfortranarray(np.hstack([A, np.eye(n)]))
    # a spike must cost less than outliers that do the same, lam < mu ||w||_1
    size = max(size, _DEARER * lam / float(np.abs(w).sum()))
    level = np.repeat([lam, size], n)
    start = np.concatenate([spikes, np.zeros(n)])
    result = limit.run(solve, union, d, L1(level), x0=start, tol=tol)
    return as_interrupted(result) if limit.stopped else result, lam

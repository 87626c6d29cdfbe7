"""Minimum weighted norm interpolation: fill dead traces by reweighted least squares over wavenumber."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.entry import solve
from sparseinv.operators.base import Operator
from sparseinv.operators.fourier import FFT
from sparseinv.operators.matrix import Diagonal
from sparseinv.operators.sampling import Restriction
from sparseinv.penalties import L2
from sparseinv.result import Result, Status
from sparseinv.seismic.frequency_slices import SliceInterpolation, forward, inverse, real_traces
from sparseinv.seismic.interruption import answered, as_interrupted
from sparseinv.seismic.time_limit import TimeLimit

Array = np.ndarray[Any, Any]

_FLOOR = 1e-5  # smallest variance of a coefficient, relative to the largest


def mwni(
    traces: Any,
    mask: Any,
    dt: float,
    *,
    band: Sequence[float] | None = None,
    noise: float = 0.05,
    padding: float = 2.0,
    rounds: int = 2,
    memory: float = 0.5,
    tol: float = 1e-3,
    max_iter: int = 200,
    max_time: float | None = None,
) -> SliceInterpolation:
    """Fill dead traces so that the spectrum over wavenumber is as concentrated as the data allow.

    For each temporal frequency, with the recorded samples d, their sampling R and waves F^H on the
    (padded) grid of traces, x = P z and::

        minimise over z:   1/2 ||R F^H P z - d||^2 + (lam / 2) ||z||^2,   P^2 = abs(x)^2 of the last round

    Parameters
    ----------
    traces : array_like, shape (*grid, n_samples)
        Real traces on a regular grid of one or more axes, time last; dead ones are not read.
    mask : array_like of bool, shape grid
        True where a trace was recorded.
    dt : float
        Sampling interval [s].
    band : (low, high), optional
        Temporal frequencies to interpolate [Hz], all by default; the others are zero in dead traces.
    noise : float
        Noise over signal in a slice, in amplitude: P^2 are variances of coefficients, hence
        ``lam = noise**2 ||d||^2 / m`` is the variance of the noise.
    padding : float
        Wavenumbers over traces, along each axis, >= 1: events that are not periodic need about 2.
    rounds : int
        Reweightings of a slice, >= 1.
    memory : float
        Weights of a slice begin as those that the slice below ended with, this much of them, and flat for
        the rest, in [0, 1): the wavenumbers of low frequencies, which are not aliased, lead the others.
    tol, max_iter : float, int
        Of `solve` for each problem.
    max_time : float, optional
        Most seconds, roughly, for everything. The answer is then the best so far: slices that were not
        solved, those of high frequency, say so in their status, and hold zeros in dead traces.

    Returns
    -------
    SliceInterpolation
        ``estimate`` holds recorded traces as they are, in single precision if ``traces`` have it.

    Raises
    ------
    ValueError, TypeError
        Shapes that do not fit, no recorded trace, or numbers out of range.
    Interrupted
        On Ctrl-C; ``.result`` holds the answer as far as it came, every certificate included.

    Notes
    -----
    Every weighted problem is certified by its duality gap; the sequence as a whole descends
    ``1/2 ||R F^H x - d||^2 + (lam / 2) sum log abs(x)^2`` but is stopped after a few rounds and proves no
    minimum of it. Where half of the energy lies in wavenumbers that change from slice to slice (strongly
    curved events, wide apertures) interpolate windows one by one. Cost: about 30 to 60 products (a
    transform of the padded grid each) a round and slice.

    References
    ----------
    .. [1] B. Liu, M. D. Sacchi, Minimum weighted norm interpolation of seismic records, Geophysics 69
       (2004) 1560-1568, doi:10.1190/1.1836829.
    .. [2] D. Trad, Five-dimensional interpolation: recovering from acquisition constraints, Geophysics 74
       (2009) V123-V132, doi:10.1190/1.3245216.

    Examples
    --------
    >>> import numpy as np
    >>> from sparseinv.seismic import linear_events, snr_db
    >>> h = 10.0 * np.arange(40)
    >>> gather = linear_events(64, 0.004, h, times=[0.05], slopes=[3e-4], amplitudes=[1.0], f0=25.0)
    >>> mask = np.random.default_rng(0).random(40) < 0.6
    >>> filled = mwni(gather, mask, 0.004)
    >>> snr_db(gather, gather * mask[:, None]) < 5, snr_db(gather, filled.estimate) > 15
    (True, True)
    """
    limit = TimeLimit(max_time)
    recorded, live = _live_traces(traces, mask)
    level, factor = validation.positive(noise, "noise"), validation.real_number(padding, "padding")
    if not 1.0 <= factor < math.inf:
        raise ValueError(f"padding is {factor}, but at least one wavenumber a trace is needed")
    rounds = validation.count(rounds, "rounds", least=1)
    kept = validation.real_number(memory, "memory")
    if not 0.0 <= kept < 1.0:
        raise ValueError(f"memory is {kept}, but a share in [0, 1) is needed")
    spectra, frequencies, inside = forward(np.where(live[..., None], recorded, 0.0), dt, band)
    grid = live.shape
    synthesis = FFT(grid, sizes=[math.ceil(factor * n) for n in grid]).H
    A = Restriction(grid, live, axis=None) @ synthesis
    coefficients = np.zeros((inside.size, *synthesis.dims), dtype=complex)
    slices = np.zeros((inside.size, *grid), dtype=complex)
    results: list[tuple[Result, ...]] = []
    before: Array | None = None
    loudest = float(np.linalg.norm(spectra[live][:, inside], axis=0).max())
    for place, j in enumerate(inside):
        d = spectra[..., j][live]
        power = float(np.vdot(d, d).real) / d.size
        if math.sqrt(power * d.size) <= 1e-12 * loudest:
            results.append(())
            continue
        # the variances of all coefficients add up to the energy of the complete slice
        flat = power * live.size / A.shape[1]
        variances = np.full(A.shape[1], flat)
        if before is not None:
            variances = kept * power * before + (1.0 - kept) * variances
        x, solved = _slice(A, d, variances, level**2 * power, rounds, tol, max_iter, limit)
        before = np.abs(x) ** 2 / power
        coefficients[place] = x.reshape(synthesis.dims)
        slices[place] = (synthesis @ x).reshape(grid)
        results.append(tuple(map(as_interrupted, solved)) if limit.stopped else solved)
    estimate = inverse(slices, inside, recorded.shape[-1])
    estimate = estimate.astype(np.float32) if validation.is_single(traces) else estimate
    estimate[live] = recorded[live]
    rule = f"lam = (noise/signal)^2 ||d||^2 / m in each slice, noise/signal = {level:g}"
    used = np.array([bool(each) for each in results])
    answer = SliceInterpolation(
        estimate, frequencies[inside][used], coefficients[used], tuple(filter(None, results)), rule,
        limit.spent,
    )  # fmt: skip
    return answered(answer, limit.stopped)


def _slice(
    A: Operator, d: Array, variances: Array, lam: float, rounds: int, tol: float, max_iter: int,
    limit: TimeLimit,
) -> tuple[Array, tuple[Result, ...]]:  # fmt: skip
    """Return the coefficients of one slice after some rounds, and the problems that were solved."""
    results = []
    x = np.zeros(A.shape[1], dtype=complex)
    for _ in range(rounds):
        P = np.sqrt(variances)
        weighted = A @ Diagonal(P)
        options: dict[str, Any] = {"tol": tol, "max_iter": max_iter, "check_operator": False}
        result = limit.run(solve, weighted, d, L2(lam), **options)
        if result.status in (Status.MAX_TIME, Status.INTERRUPTED) and x.any():
            # a round that was cut off may be worse than what the round before has left
            before = solve(weighted, d, L2(lam), x0=x / P, max_time=0.0, **options)
            result = min(before, result, key=lambda each: each.objective)
        results.append(result)
        x = P * result.x
        if limit.ended():
            break
        energy = np.abs(x) ** 2
        variances = energy + _FLOOR * float(energy.max())
    return x, tuple(results)


def _live_traces(traces: Any, mask: Any) -> tuple[Array, Array]:
    """Return the traces and the mask, checked; recorded traces are finite."""
    data = real_traces(traces, "traces")
    live = np.asarray(mask)
    if live.dtype != bool or live.shape != data.shape[:-1]:
        raise ValueError(
            f"mask has shape {live.shape} and dtype {live.dtype}, but one boolean for each trace, shape "
            f"{data.shape[:-1]}, is needed"
        )
    if not live.any():
        raise ValueError("mask is False everywhere, so there is nothing to interpolate from")
    validation.finite(data[live], "traces[mask]")
    return data, live

"""Anti-leakage Fourier interpolation: plane waves picked one by one at the true positions of the traces."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.entry import solve
from sparseinv.operators.nufft import NUFFT
from sparseinv.penalties import L0Ball
from sparseinv.result import Result
from sparseinv.seismic.frequency_slices import SliceInterpolation, forward, inverse, real_traces
from sparseinv.seismic.interruption import answered, as_interrupted
from sparseinv.seismic.time_limit import TimeLimit
from sparseinv.solvers.greedy import OMP

Array = np.ndarray[Any, Any]

_DENSE = 2_000_000  # entries of the map up to which it is held in memory


def antileakage(
    traces: Any,
    positions: Any,
    dt: float,
    targets: Any,
    *,
    max_wavenumber: float | Sequence[float],
    band: Sequence[float] | None = None,
    noise: float = 0.05,
    max_waves: int | None = None,
    oversampling: float = 2.0,
    max_time: float | None = None,
) -> SliceInterpolation:
    """Interpolate traces from irregular positions to any others, by few plane waves a frequency.

    For each temporal frequency the wave with the largest correlation with the residual is added, and the
    amplitudes of all waves so far are fitted anew at the true positions, until
    ``||residual|| <= noise ||d||``: orthogonal matching pursuit on the non-uniform Fourier transform.

    Parameters
    ----------
    traces : array_like, shape (n_traces, n_samples)
        Real traces.
    positions : array_like, shape (n_traces,) or (n_traces, d)
        Where they were recorded [m], d = 1, 2 or 3; any places, in any order.
    dt : float
        Sampling interval [s].
    targets : array_like, shape (n_targets,) or (n_targets, d)
        Where traces are wanted [m].
    max_wavenumber : float or tuple of float
        Largest abs(wavenumber) along each axis [1/m]. Irregular positions allow more than 1 / (2 spacing);
        events of slope p need ``p * f`` at frequency f.
    band : (low, high), optional
        Temporal frequencies [Hz], all by default; the others are zero.
    noise : float
        Residual over data at which a slice is done, in (0, 1).
    max_waves : int, optional
        Most waves of a slice; a third of the traces by default.
    oversampling : float
        Wavenumbers for each cell 1/extent, >= 1; the model repeats after ``oversampling`` extents of
        positions and targets together.
    max_time : float, optional
        Most seconds, roughly, for everything. The answer is then the best so far: slices that were not
        solved, those of high frequency, say so in their status and are zero.

    Returns
    -------
    SliceInterpolation
        ``estimate`` has shape (n_targets, n_samples), in single precision if the traces have it;
        ``coefficients`` belong to
        ``NUFFT(...).wavenumbers`` for the period and sizes named in the notes.

    Raises
    ------
    ValueError, TypeError
        Shapes that do not fit, or numbers out of range.
    Interrupted
        On Ctrl-C; ``.result`` holds the answer as far as it came, every certificate included.

    Notes
    -----
    Along each axis the period is oversampling (max - min), the number of wavenumbers
    2 ceil(max_wavenumber period) + 1. Fitting all amplitudes anew is what keeps the leakage of strong
    waves into others out; the original method [1]_ subtracts without refitting. Greedy choices promise no
    minimum: status EXHAUSTED is the usual one, and the certificate of a slice says what exchanging one wave
    would gain. Cost: per wave and slice one product with the adjoint, and its column.

    References
    ----------
    .. [1] S. Xu, Y. Zhang, D. Pham, G. Lambaré, Antileakage Fourier transform for seismic data
       regularization, Geophysics 70 (2005) V87-V95, doi:10.1190/1.1993713.

    Examples
    --------
    >>> import numpy as np
    >>> from sparseinv.seismic import linear_events, snr_db
    >>> event = dict(times=[0.08], slopes=[2e-4], amplitudes=[1.0], f0=25.0)
    >>> h, wanted = np.random.default_rng(0).uniform(0, 400, 30), np.linspace(20.0, 380.0, 50)
    >>> recorded = linear_events(64, 0.004, h, **event)
    >>> found = antileakage(recorded, h, 0.004, wanted, max_wavenumber=0.02)
    >>> snr_db(linear_events(64, 0.004, wanted, **event), found.estimate) > 15
    True
    """
    limit = TimeLimit(max_time)
    recorded = real_traces(traces, "traces")
    if recorded.ndim != 2:
        raise ValueError(f"traces has shape {recorded.shape}, but (n_traces, n_samples) is needed")
    validation.finite(recorded, "traces")
    places, wanted = _places(positions, "positions"), _places(targets, "targets")
    count, d = places.shape
    if count != recorded.shape[0] or wanted.shape[1] != d:
        raise ValueError(
            f"there are {recorded.shape[0]} traces, {count} positions with {d} and targets with "
            f"{wanted.shape[1]} coordinates; one position a trace and equal numbers of coordinates are needed"
        )
    level = validation.fraction(noise, "noise")
    most = max(1, count // 3) if max_waves is None else validation.count(max_waves, "max_waves", least=1)
    A, synthesis = _maps(places, wanted, max_wavenumber, oversampling)
    dense = A.columns(np.arange(A.shape[1])) if A.shape[0] * A.shape[1] <= _DENSE else A
    spectra, frequencies, inside = forward(recorded, dt, band)
    loudest = float(np.linalg.norm(spectra[:, inside], axis=0).max())
    inside = inside[np.linalg.norm(spectra[:, inside], axis=0) > 1e-12 * loudest]
    solver, penalty = OMP(residual=level), L0Ball(min(most, A.shape[1]))
    results: list[tuple[Result, ...]] = []
    for j in inside:
        found = limit.run(solve, dense, spectra[:, j], penalty, solver=solver, check_operator=False)
        results.append((as_interrupted(found) if limit.stopped else found,))
    X = np.array([each[-1].x for each in results]).reshape(inside.size, A.shape[1])
    estimate = inverse(synthesis.matmat(X.T).T, inside, recorded.shape[1])
    estimate = estimate.astype(np.float32) if validation.is_single(traces) else estimate
    rule = f"waves until ||r|| <= {level:g} ||d||, at most {most}"
    answer = SliceInterpolation(
        estimate, frequencies[inside], X.reshape(-1, *A.sizes),
        tuple(results), rule, limit.spent,
    )  # fmt: skip
    return answered(answer, limit.stopped)


def _maps(
    places: Array, wanted: Array, max_wavenumber: float | Sequence[float], oversampling: float
) -> tuple[NUFFT, NUFFT]:
    """Return the transforms from one grid of wavenumbers to the positions and to the targets."""
    d = places.shape[1]
    factor = validation.real_number(oversampling, "oversampling")
    if not 1.0 <= factor < math.inf:
        raise ValueError(f"oversampling is {factor}, but at least 1 wavenumber a cell is needed")
    highest = [validation.positive(k, "max_wavenumber") for k in np.atleast_1d(max_wavenumber).tolist()]
    if len(highest) not in (1, d):
        raise ValueError(f"max_wavenumber has {len(highest)} entries, but positions have {d} coordinates")
    both = np.concatenate((places, wanted))
    extent = np.ptp(both, axis=0)
    if not (extent > 0).all():
        raise ValueError(
            "positions and targets do not extend along every axis; leave out the axis that is constant"
        )
    period = factor * extent
    sizes = [
        2 * math.ceil(k * length) + 1 for k, length in zip(np.broadcast_to(highest, d), period, strict=True)
    ]
    return NUFFT(places, sizes, period=period.tolist()), NUFFT(wanted, sizes, period=period.tolist())


def _places(values: Any, name: str) -> Array:
    array = validation.numeric(values, name)
    if array.dtype.kind == "c":
        raise TypeError(f"{name} is complex, but real coordinates are needed")
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"{name} has shape {np.shape(values)}, but (n,) or (n, d) is needed")
    validation.finite(array, name)
    return array

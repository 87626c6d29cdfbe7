"""Deblending: the single shots of a record in which they overlap, by sparsity in local plane waves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.entry import solve
from sparseinv.operators.adapt import as_operator
from sparseinv.operators.base import Operator
from sparseinv.operators.blending import Blending
from sparseinv.operators.grid import whole_numbers
from sparseinv.operators.real_fourier import RealFFT
from sparseinv.operators.windows import Windows
from sparseinv.penalties import L1
from sparseinv.result import Interrupted, Result, Selection
from sparseinv.seismic.interruption import answered, as_interrupted, kept
from sparseinv.seismic.time_limit import TimeLimit
from sparseinv.selection.hold_out import HoldOut
from sparseinv.selection.selector import Selector, select_lam
from sparseinv.solvers.barzilai_borwein import BarzilaiBorwein
from sparseinv.solvers.base import Solver

Array = np.ndarray[Any, Any]

_MARGIN = 5e-3  # errors of prediction closer than this are alike; the larger level is taken
_HELD = 0.15  # share of the record that is held out to choose lambda
_BLOCK = 0.05  # [s] held out at a time: a wavelet, so that neighbours in time do not tell
_LEVELS = (0.1, 1e-3, 7)  # first and last level over lam_max, and how many
_CHOICE = 0.5  # of the time that the choice of lambda may take
_TRIAL = 50  # iterations on each level; with far fewer, low levels are not reached and look good


@dataclass(frozen=True, eq=False)
class Deblended:
    """Hold separated shots.

    Attributes
    ----------
    estimate : ndarray, shape of the shots
        The shots; single precision if the record had it.
    coefficients : ndarray
        Plane waves of every window, complex, shape (windows along shots and time, wavenumbers and
        frequencies of a window).
    synthesis : Operator
        From the flat coefficients to the flat estimate.
    result : Result
        The solve with its certificate.
    lam : float
        The level of L1.
    rule : str
        How it was chosen.
    selection : Selection or None
        What the rule measured; None for a level that was given.
    """

    estimate: Array
    coefficients: Array
    synthesis: Operator
    result: Result
    lam: float
    rule: str
    selection: Selection | None

    @property
    def success(self) -> bool:
        """Whether the certificate meets the tolerance."""
        return self.result.success


def deblend(
    record: Any,
    times: Any,
    dt: float,
    n_samples: int,
    *,
    records: Any = None,
    window: int | Sequence[int] = (20, 80),
    step: int | Sequence[int] | None = None,
    sizes: int | Sequence[int] | None = None,
    shift: str = "fourier",
    lam: float | None = None,
    select: Selector | None = None,
    solver: Solver | None = None,
    tol: float = 1e-3,
    max_iter: int = 200,
    max_time: float | None = None,
) -> Deblended:
    """Separate the shots of a blended record.

    ``minimise 1/2 ||B S c - d||^2 + lam ||c||_1``, B the `Blending` of shots fired at ``times``, S the
    synthesis of shots from plane waves in overlapping windows over shots and time (`Windows`,
    `RealFFT`); the estimate is S c. Other shots that fire at irregular times are incoherent from trace
    to trace, and no window explains them by few plane waves.

    Parameters
    ----------
    record : array_like, shape (n_record,), (..., n_record) or (n_records, ..., n_record)
        The blended data: one continuous record, with receivers before the time axis if there are several, and
        with the records of groups in front where ``records`` is given.
    times : array_like, shape (shots,) or (sources, shots)
        Ignition times [s] from the first sample of the record.
    dt : float
        Sampling interval [s].
    n_samples : int
        Samples of a shot.
    records, shift
        As for `Blending`.
    window : (int, int)
        Shots and samples of a window; cut to what there is.
    step : (int, int), optional
        Distance of windows; half of a window by default.
    sizes : (int, int), optional
        Padded sizes of the Fourier transform of a window; not padded by default.
    lam : float, optional
        The level, in the unit of the data.
    select : Selector, optional
        The rule that chooses among seven levels from 0.1 down to 1e-3 of the largest sensible one. By
        default blocks of 0.05 s, 15 % of the record, are held out, and the largest level is taken that
        predicts them within half a percent of the best: their shots are known from neighbouring shots
        only.
    solver : Solver, optional
        `BarzilaiBorwein` by default.
    tol, max_iter
        As for `sparseinv.solve`; the data are field data, and a gap of 1e-3 of their energy is small.
    max_time : float, optional
        Most seconds, roughly, for everything, at most half of them for the choice of lambda. The answer is
        then the best so far, and its status and rule say so.

    Returns
    -------
    Deblended
        The shots, their coefficients, the certified result, the level and its rule.

    Raises
    ------
    ValueError, TypeError
        Shapes do not fit, or a number is out of range.
    Interrupted
        On Ctrl-C; ``.result`` holds the answer as far as it came, every certificate included.

    Notes
    -----
    Pseudo-deblending, the adjoint B^H d, is what is left without the penalty. Cost: two products with A = B S
    an iteration, each one FFT of every window and of every shot.

    References
    ----------
    .. [1] R. Abma, T. Manning, M. Tanis, J. Yu, M. Foster, High quality separation of simultaneous sources by
       sparse inversion, EAGE (2010), doi:10.3997/2214-4609.201400603.

    Examples
    --------
    Eight shots of one flat event, each fired before the last one has died away:

    >>> import numpy as np
    >>> from sparseinv.operators import Blending
    >>> from sparseinv.seismic import deblend, linear_events, snr_db
    >>> shots = linear_events(100, 0.004, range(8), times=[0.1], slopes=[0.0], amplitudes=[1], f0=25)
    >>> fired = 0.2 * np.arange(8) + np.random.default_rng(0).uniform(-0.08, 0.08, 8) + 0.08
    >>> record = Blending((8, 100), fired, 0.004) @ shots.ravel()
    >>> found = deblend(record, fired, 0.004, 100, window=(8, 50), lam=0.01)
    >>> snr_db(shots, found.estimate) > 20
    True
    """
    data = validation.numeric(record, "record")
    validation.finite(data, "record")
    if data.dtype.kind == "c":
        raise TypeError("record is complex, but real samples are needed")
    blending = _blending(data, times, dt, n_samples, records, shift)
    synthesis = local_plane_waves(blending, window, step, sizes)
    A = blending @ synthesis
    b = data.reshape(-1).astype(np.float64)
    method = BarzilaiBorwein() if solver is None else solver
    if lam is not None and select is not None:
        raise ValueError("lam and select are both given; pass the level, or the rule that chooses it")
    limit = TimeLimit(max_time)
    selection, stopped, start = None, False, None
    if lam is None:
        rule = select or HoldOut(_HELD, groups=_blocks(data.shape, dt), margin=_MARGIN)
        found, stopped = kept(_chosen, A, b, rule, method, limit.first(_CHOICE).left)
        selection, start = found
        lam = selection.lam
    left = 0.0 if stopped else limit.left
    result, again = kept(
        solve, A, b, L1(lam), solver=method, x0=start, tol=tol, max_iter=max_iter, max_time=left
    )
    result = as_interrupted(result) if stopped else result
    estimate = (synthesis @ result.x).reshape(blending.dims)
    answer = Deblended(
        estimate.astype(np.float32) if validation.is_single(record) else estimate,
        result.x.reshape(synthesis.dims), synthesis, result, float(lam),
        "given" if selection is None else selection.rule, selection,
    )  # fmt: skip
    return answered(answer, stopped or again)


def _blending(data: Array, times: Any, dt: float, n_samples: int, records: Any, shift: str) -> Blending:
    """Return the map from shots to the record; refuse a record of another shape."""
    if data.ndim == 0:
        raise ValueError("record is a number, but samples along the last axis are needed")
    fired = np.atleast_1d(validation.numeric(times, "times"))
    n_samples = validation.count(n_samples, "n_samples", least=1)
    between = data.shape[:-1] if records is None else data.shape[1:-1]
    dims = (*fired.shape, *between, n_samples)
    blending = Blending(dims, fired, dt, records=records, n_record=data.shape[-1], shift=shift)
    if blending.dimsd != data.shape:
        raise ValueError(f"record has shape {data.shape}, but these times and records need {blending.dimsd}")
    return blending


def local_plane_waves(
    blending: Blending,
    window: int | Sequence[int] = (20, 80),
    step: int | Sequence[int] | None = None,
    sizes: int | Sequence[int] | None = None,
) -> Operator:
    """Return the synthesis of shots from plane waves in windows over shots and time.

    Parameters
    ----------
    blending : Blending
        Whose shots; windows run along the last axis of its times and along time, for every source and
        receiver by itself.
    window, step, sizes
        As for `deblend`.

    Returns
    -------
    Operator
        Norm 1 and orthonormal rows; real-linear, see `RealFFT`.

    Examples
    --------
    >>> from sparseinv.operators import Blending
    >>> S = local_plane_waves(Blending((40, 200), [0.4 * k for k in range(40)], 0.004), (20, 80))
    >>> S.dims, S.dimsd
    ((3, 4, 20, 41), (40, 200))
    """
    dims = blending.dims
    axis = blending.shot_axis
    size = _pair(window, "window")
    full = [1] * len(dims)
    full[axis], full[-1] = min(size[0], dims[axis]), min(size[1], dims[-1])
    steps: list[int] | None = None
    if step is not None:
        distance = _pair(step, "step")
        steps = [1] * len(dims)
        steps[axis], steps[-1] = min(distance[0], full[axis]), min(distance[1], full[-1])
    padded = None if sizes is None else _pair(sizes, "sizes")
    inner = RealFFT(tuple(full), axes=(axis, len(dims) - 1), sizes=padded)
    return Windows(dims, full, steps, inner=inner).H


def _pair(values: int | Sequence[int], name: str) -> tuple[int, int]:
    numbers = whole_numbers(values, name, least=1)
    if len(numbers) == 1:
        numbers *= 2
    if len(numbers) != 2:
        raise ValueError(f"{name} has {len(numbers)} entries, but two are needed: shots and samples")
    return numbers[0], numbers[1]


def _blocks(shape: tuple[int, ...], dt: float) -> Array:
    """Return a label for every sample: the block of its trace in which it lies."""
    length = max(round(_BLOCK / dt), 1)
    blocks = np.arange(shape[-1]) // length
    traces = np.arange(math.prod(shape[:-1]))[:, None]
    return np.asarray(traces * (blocks[-1] + 1) + blocks).reshape(-1)


def _chosen(
    A: Operator, b: Array, rule: Selector, method: Solver, max_time: float | None
) -> tuple[Selection, Array | None]:
    """Return what a rule chooses among a few levels, each solved roughly from the one before.

    Interrupted, on Ctrl-C, holds the choice so far with the coefficients there.
    """
    top = float(np.abs(A.rmatvec(b)).max())
    first, last, count = _LEVELS
    lams = (top or 1.0) * np.geomspace(first, last, count)
    try:
        selection = select_lam(
            as_operator(A), b, L1(), rule, lams=lams, solver=method, tol=1e-3, max_iter=_TRIAL,
            max_time=max_time, check_operator=False, path=False,
        )  # fmt: skip
    except Interrupted as stop:
        if stop.result.selection is None:
            raise KeyboardInterrupt from None  # no level is known
        raise Interrupted((stop.result.selection, stop.result.x)) from None
    return selection, None

"""Missing traces, predicted by the sparse coefficients of the live ones in any dictionary."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.entry import solve
from sparseinv.operators.adapt import as_operator
from sparseinv.operators.sampling import Restriction
from sparseinv.penalties import L1
from sparseinv.penalties.base import Leveled, Penalty
from sparseinv.result import Interrupted, Result, Selection
from sparseinv.seismic.interruption import answered, as_interrupted
from sparseinv.seismic.time_limit import TimeLimit
from sparseinv.selection.hold_out import HoldOut
from sparseinv.selection.selector import Selector, check_selector, select_lam
from sparseinv.selection.theory import lam_max
from sparseinv.solvers.base import Solver

Array = np.ndarray[Any, Any]

_EVERY = 5  # one live trace of so many is held out to choose lambda
_LEVELS = (0.1, 1e-3, 7)  # first and last level over lam_max, and how many
_CHOICE = 0.5  # of the time that the choice of lambda may take
_TRIAL = 60  # iterations on each of these levels


@dataclass(frozen=True, eq=False)
class FilledTraces:
    """Hold a section whose dead traces have been predicted.

    Attributes
    ----------
    estimate : ndarray, shape (n_traces, n_samples)
        Live traces as they are, dead ones as predicted.
    predicted : ndarray, shape (n_traces, n_samples)
        What the coefficients stand for, on all traces.
    coefficients : ndarray, shape of the dictionary's ``dims``
        The coefficients.
    result : Result
        The solve with its certificate.
    lam : float
        The level.
    rule : str
        How it was chosen.
    selection : Selection or None
        What the rule measured; None for a level that was given.
    """

    estimate: Array
    predicted: Array
    coefficients: Array
    result: Result
    lam: float
    rule: str
    selection: Selection | None

    @property
    def success(self) -> bool:
        """Whether the certificate meets the tolerance."""
        return self.result.success


def fill_traces(
    traces: Any,
    mask: Any,
    synthesis: Any,
    penalty: Leveled | None = None,
    *,
    select: Selector | None = None,
    lams: Any = None,
    solver: Solver | str = "auto",
    tol: float = 1e-3,
    max_iter: int | None = 300,
    max_time: float | None = None,
) -> FilledTraces:
    """Predict the dead traces of a section from the live ones, in any dictionary and by any penalty.

    ``minimise 1/2 ||M S c - d||^2 + R(c)``, S the synthesis of sections from coefficients, M the choice
    of the live traces d. The dead traces of S c are the prediction.

    Parameters
    ----------
    traces : array_like, shape (n_traces, n_samples)
        Real samples; those of dead traces are not looked at.
    mask : array_like of bool, shape (n_traces,)
        True for the traces that are data.
    synthesis : operator, shape (n_traces n_samples, n)
        S, for example plane waves ``FFT(dims, sizes=...).H`` or, for events that are curved, a linear
        Radon panel for every window: ``Windows(dims, size, axes=0, inner=Radon(...).H).H``.
    penalty : penalty, optional
        R, ``L1()`` by default. With a lam of its own that level is used, without one it is chosen; one with a
        level.
    select : Selector, optional
        The rule. By default every fifth live trace is held out, and the level is the one that predicts these
        from the others: whole traces, because the samples of a trace tell about each other.
    lams : array_like, optional
        Levels to choose from; seven from 0.1 to 1e-3 of lam_max by default. Needed for `L2`.
    solver, tol, max_iter
        As for `sparseinv.solve`.
    max_time : float, optional
        Most seconds, roughly, for everything, at most half of them for the choice of lambda. The answer is
        then the best so far, and its status and rule say so.

    Returns
    -------
    FilledTraces
        Section, coefficients, certified result, level and rule.

    Raises
    ------
    ValueError, TypeError
        Shapes do not fit, no trace is live, or too few to hold any out.
    Interrupted
        On Ctrl-C; ``.result`` holds the answer as far as it came, every certificate included.

    Notes
    -----
    Take this function for dictionaries that are no tight frames, such as local slopes of curved events, or
    for another penalty, selector or solver, and `interpolate_traces` for curvelets or plane waves of a whole
    section.

    The levels are tried with at most 60 iterations each, from the largest down. Cost: two products with
    M S an iteration.

    Examples
    --------
    A plane event on twelve traces, three of them dead:

    >>> import numpy as np
    >>> from sparseinv.operators import RealFFT
    >>> from sparseinv.seismic import fill_traces, linear_events, snr_db
    >>> d = linear_events(64, 0.004, range(12), times=[0.08], slopes=[0.004], amplitudes=[1], f0=25)
    >>> live = np.ones(12, dtype=bool)
    >>> live[[3, 4, 8]] = False
    >>> S = RealFFT(d.shape, sizes=(24, 64)).H
    >>> snr_db(d, fill_traces(d, live, S).estimate) > 15
    True
    """
    data = validation.numeric(traces, "traces")
    if data.ndim != 2 or data.dtype.kind == "c":
        raise ValueError(f"traces has shape {data.shape} and dtype {data.dtype}, but real traces are needed")
    live = np.asarray(mask)
    if live.dtype != bool or live.shape != data.shape[:1]:
        raise ValueError(
            f"mask has shape {live.shape} and dtype {live.dtype}, but one bool a trace is needed, "
            f"shape {data.shape[:1]}"
        )
    if not live.any():
        raise ValueError("mask is False for every trace, so that there is nothing to predict from")
    penalty = checked_penalty(penalty, select, lams)
    S = as_operator(synthesis)
    if S.shape[0] != data.size:
        raise ValueError(f"synthesis makes {S.shape[0]} samples, but traces has {data.size}")
    A = Restriction(data.shape, live, axis=0) @ S
    b = data[live].astype(np.float64).ravel()
    validation.finite(b, "traces[mask]")
    selection = start = None
    limit = TimeLimit(max_time)
    if penalty.lam is None:
        rule = HoldOut(held_traces(live, data.shape[1])) if select is None else select
        if lams is None:
            top = lam_max(A, b, penalty) or 1.0
            if not math.isfinite(top):
                raise ValueError(f"lams is missing: {type(penalty).__name__} has no largest level; pass lams")
            lams = top * np.geomspace(*_LEVELS[:2], num=_LEVELS[2])
        try:
            selection = select_lam(
                A, b, penalty, rule, lams=lams, solver=solver, tol=tol, max_iter=_TRIAL,
                max_time=limit.first(_CHOICE).left, path=False,
            )  # fmt: skip
        except Interrupted as stop:
            selection, start = stop.result.selection, stop.result.x
            if selection is None:  # no level is known
                raise KeyboardInterrupt from None
            limit.stop()
        penalty = penalty.replace(lam=selection.lam)
    result = limit.run(solve, A, b, penalty, x0=start, solver=solver, tol=tol, max_iter=max_iter)
    result = as_interrupted(result) if limit.stopped else result
    predicted = (S @ result.x).real.reshape(data.shape)
    single = np.float32 if validation.is_single(traces) else np.float64
    predicted, data = predicted.astype(single), data.astype(single)
    level = result.lam if selection is None else selection.lam
    answer = FilledTraces(
        np.where(live[:, None], data, predicted), predicted, result.x.reshape(S.dims), result,
        float(np.max(level)), "given" if selection is None else selection.rule, selection,
    )  # fmt: skip
    return answered(answer, limit.stopped)


def checked_penalty(penalty: Any, select: Selector | None, lams: Any) -> Leveled:
    """Return the penalty, L1 by default; refuse one without a level, and a rule beside a level."""
    validation.refuse_class(penalty, Penalty, "penalty")
    kind = L1() if penalty is None else penalty
    if not isinstance(kind, Leveled):
        raise TypeError(f"penalty is {penalty!r}, but one with a level, such as L1() or L0(), is needed")
    if select is not None:
        check_selector(select, "select")
    if kind.lam is not None and (select is not None or lams is not None):
        raise ValueError("penalty has a lam, so that select and lams have nothing to choose; leave them out")
    return kind


def held_traces(mask: Any, n_samples: int) -> Array:
    """Return the samples of every fifth live trace, the first and the last one not among them.

    Parameters
    ----------
    mask : array_like of bool, shape (n_traces,)
        True for the traces that are data.
    n_samples : int
        Samples of a trace.

    Returns
    -------
    ndarray of bool, shape (live traces times n_samples,)
        For `HoldOut`, rows in the order of the live traces.

    Raises
    ------
    ValueError
        Fewer than four traces are live.

    Examples
    --------
    >>> held_traces([True, True, False, True, True, True], 2).astype(int)
    array([0, 0, 0, 0, 1, 1, 0, 0, 0, 0])
    """
    count = int(np.count_nonzero(mask))
    if count < 4:
        raise ValueError(f"mask names {count} traces, but at least 4 are needed to hold one out")
    out = np.zeros(count, dtype=bool)
    out[min(_EVERY // 2, count - 2) : -1 : _EVERY] = True
    return np.repeat(out, n_samples)

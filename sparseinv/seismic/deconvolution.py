"""Sparse-spike deconvolution of a gather whose wavelet is known."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.entry import solve, solve_many
from sparseinv.nonnegative import nonnegative_fit
from sparseinv.operators.convolution import Convolution
from sparseinv.penalties import L1, GroupL1, Penalty
from sparseinv.penalties.base import Leveled
from sparseinv.result import Interrupted, Result
from sparseinv.seismic.interruption import answered, as_interrupted, kept
from sparseinv.selection.path import factored
from sparseinv.selection.selector import Selector, check_selector

Array = np.ndarray[Any, Any]

_LARGEST = 3000  # samples of a trace up to which the matrix of a trace is written down
_SAMPLED = 51  # traces that choose a common level
_LIVE = 1e-9  # largest amplitude of a trace, over that of the gather, up to which it counts as dead


@dataclass(frozen=True, eq=False)
class Deconvolution:
    """Hold reflectivity found by `deconvolve` with the proof of how good it is.

    Attributes
    ----------
    reflectivity : ndarray, shape (n_traces, n_samples) or (n_samples,)
        Minimiser of the penalised misfit; L1 and group norms shrink its amplitudes.
    refitted : ndarray, same shape
        Least squares on the support of ``reflectivity`` with its signs, which undoes the shrinkage;
        ``reflectivity`` itself where no refit was asked for.
    fit : ndarray, same shape
        Wavelet convolved with ``refitted``: what of the traces is explained.
    dt : float
        Sampling interval [s].
    lam : ndarray, shape (n_traces,)
        Level of each trace; the factor on the penalty's lam where that is a vector.
    rule : str
        How the levels were chosen, in words.
    results : tuple of Result
        One per trace, or a single one of all traces where they are coupled: status, certificate, cost.
    sigma : ndarray, shape (n_traces,)
        Standard deviation of the noise that the rule estimated; NaN where it knows none.
    """

    reflectivity: Array
    refitted: Array
    fit: Array
    dt: float
    lam: Array
    rule: str
    results: tuple[Result, ...] = field(repr=False)
    sigma: Array = field(repr=False)

    @property
    def success(self) -> bool:
        """Whether every certificate meets the tolerance."""
        return all(result.success for result in self.results)

    @property
    def relative(self) -> Array:
        """certificate.relative of every result."""
        return np.array([result.certificate.relative for result in self.results])

    @property
    def n_products(self) -> int:
        """Products with A and A^T, all results together, without those for the choice of lambda."""
        return sum(result.products.total for result in self.results)

    def __repr__(self) -> str:
        met, total = sum(result.success for result in self.results), len(self.results)
        spikes, worst = int(np.count_nonzero(self.reflectivity)), int(np.argmax(self.relative))
        low, high = float(self.lam.min()), float(self.lam.max())
        level = f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
        return "\n".join([
            f"{met} of {total} problems converged, {spikes} spikes in {self.lam.size} traces",
            f"  worst       {self.results[worst].certificate}",
            f"  lam         {level}: {self.rule}",
        ])  # fmt: skip


def deconvolve(
    traces: Any,
    wavelet: Any,
    dt: float,
    penalty: Penalty | None = None,
    *,
    offset: int | None = None,
    coupled: bool = False,
    delays: Any = None,
    lams: Any = None,
    common: bool = False,
    select: Selector | None = None,
    refit: bool = True,
    tol: float = 1e-6,
    max_time: float | None = None,
    n_threads: int | None = None,
    progress: bool = False,
) -> Deconvolution:
    """Find the sparse reflectivity r whose convolution with a wavelet w explains the traces d.

    Each trace minimises ``1/2 ||w * r - d||^2 + R(r)`` [1]_; coupled traces minimise together
    ``1/2 sum_j ||w * r_j - d_j||^2 + lam sum_i (sum_j r_ji^2)^(1/2)`` [2]_: they share the times of
    their reflectors, not the amplitudes.

    Parameters
    ----------
    traces : array_like, shape (n_traces, n_samples) or (n_samples,)
        Real amplitudes d, time along the last axis. Dead traces (zeros) are allowed.
    wavelet : array_like, shape (nw,)
        Real samples w at the interval dt.
    dt : float
        Sampling interval [s].
    penalty : Penalty, optional
        L1, L0 or another one with a level, lam one number or one per sample; L1() by default. Without lam
        the level is chosen from the data, trace by trace (see Notes).
    offset : int, optional
        Index of the wavelet's zero time; nw // 2, the middle of a zero-phase wavelet, by default.
    coupled : bool
        Couple the traces by group norms; the penalty must be L1, whose lam and weights then belong to
        samples. Events must be flat, or ``delays`` must say how they are not.
    delays : array_like, shape (n_traces,), optional
        Time by which the events of each trace come later than those of a flat gather [s], rounded to
        whole samples; only with ``coupled``. No trace is interpolated.
    lams : array_like, shape (n_traces,), optional
        One level per trace, as in `sparseinv.solve_many`; not with ``coupled``.
    common : bool
        Use one level for all traces where it is chosen from the data: the median over (at most 51) live
        traces of the levels that they choose for themselves.
    select : Selector, optional
        Rule that chooses the level of each trace, or of all coupled ones, such as Discrepancy(sigma=0.1);
        a lam that is set then holds relative factors.
    refit : bool
        Compute ``refitted``.
    tol : float
        As for `sparseinv.solve`, for each trace.
    max_time : float, optional
        Most seconds for the solutions (lambda and refit not included); traces that were not solved say so.
    n_threads : int, optional
        Threads that share the traces; all processors if None.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Deconvolution
        Reflectivity, refitted reflectivity, fit, levels with their rule, and one certified `Result` per
        trace (one in all for coupled traces). In single precision where the traces are.

    Raises
    ------
    ValueError, TypeError
        Bad input, before any work.
    Interrupted
        On Ctrl-C; ``.result`` holds the answer as far as it came, every certificate included.

    Notes
    -----
    Lambda from the data: L1 and groups take the pivotal level, half the median level that noise of the
    residual's size would reach; L0 sigma^2 log n with sigma estimated. Both assume white noise; noise with
    the spectrum of the wavelet passes for signal, there give lam, or select=Discrepancy(sigma=...).
    These levels predict best and let some noise into the support. For few spikes, and for the refit, take
    the full level, select=Pivotal(alpha=0.05), or L0, which is fitted without shrinkage.
    The refit keeps signs, because L1 marks a reflector by two or three neighbouring samples, between which
    unconstrained least squares would share it out with huge amplitudes of opposite sign.
    Cost: up to 3000 samples a trace the matrix of one trace is written down once for all traces; longer
    ones go through FFTs. Numbers are computed in double precision, and `Result.x` holds them so.

    References
    ----------
    .. [1] H. L. Taylor, S. C. Banks, J. F. McCoy, Deconvolution with the l1 norm, Geophysics 44 (1979)
       39-52, doi:10.1190/1.1440921.
    .. [2] M. Yuan, Y. Lin, Model selection and estimation in regression with grouped variables, J. R.
       Stat. Soc. B 68 (2006) 49-67, doi:10.1111/j.1467-9868.2005.00532.x.

    Examples
    --------
    >>> import numpy as np
    >>> from sparseinv.seismic import deconvolve, ricker, sparse_spikes
    >>> wavelet, _, center = ricker(30.0, 0.004)
    >>> truth = sparse_spikes(100, 4, min_gap=8, rng=0)
    >>> answer = deconvolve(np.convolve(truth, wavelet)[center : center + 100], wavelet, 0.004)
    >>> answer.success, bool(np.abs(answer.refitted - truth).max() < 1e-3)
    (True, True)
    """
    data, A = checked_model(traces, wavelet, dt, offset)
    penalty = checked_penalty(penalty, select)
    shifts = _shifts(delays, dt, data.shape[0])
    if coupled:
        if lams is not None or common:
            raise ValueError("coupled traces share one level; leave lams and common out")
        joint = _across(penalty, shifts, data.shape[1])
        gather = Convolution(data.shape, A.wavelet, A.offset)
        together, stopped = kept(
            solve, gather, data.ravel(), joint, select=select, tol=tol, max_time=max_time, progress=progress,
            check_operator=False,
        )  # fmt: skip
        results: tuple[Result, ...] = (together,)
        x = results[0].x.reshape(data.shape)
        rule = rule_in_words(results[0], penalty, select)
    else:
        if delays is not None:
            raise ValueError("delays is given, but only coupled traces need it; pass coupled=True")
        matrix: Any = A.columns(np.arange(A.shape[1])) if A.shape[1] <= _LARGEST else A
        options = {"tol": tol, "check_operator": False, "progress": progress, "n_threads": n_threads}
        if common:
            if lams is not None or (penalty.lam is not None and select is None):
                raise ValueError("common is for a level chosen from the data, but the level is given")
            (results, rule), stopped = kept(
                _at_common_level, matrix, data, penalty, select, max_time, options
            )
        else:
            results, stopped = kept(solve_each, matrix, data, penalty, lams, select, max_time, options)
            rule = rule_in_words(results[strongest(data)], penalty, select, lams, data.shape[0])
        x = np.stack([result.x for result in results])
    refitted, unfinished = kept(refit_signs, A, data, x) if refit else (x, False)
    fit = A.matmat(refitted.T).T
    shown = as_traces(traces, x, refitted, fit)
    levels, sigma = levels_of(results, lams, data.shape[0])
    answer = Deconvolution(*shown, float(dt), levels, rule, results, sigma)
    return answered(answer, stopped or unfinished)


def checked_model(traces: Any, wavelet: Any, dt: float, offset: int | None) -> tuple[Array, Convolution]:
    """Return traces as a float64 array (n_traces, n_samples) and the convolution of one of them."""
    data, w = validation.numeric(traces, "traces"), validation.numeric(wavelet, "wavelet")
    for array, name in ((data, "traces"), (w, "wavelet")):
        if array.dtype.kind == "c":
            raise TypeError(f"{name} is complex, but real samples are needed; pass {name}.real")
    if data.ndim not in (1, 2) or data.size == 0:
        raise ValueError(
            f"traces has shape {data.shape}, but (n_traces, n_samples) or (n_samples,) is needed"
        )
    validation.finite(data, "traces")
    validation.positive(dt, "dt")
    A = Convolution(data.shape[-1], w, offset=offset)
    if not A.wavelet.any():
        raise ValueError("wavelet is zero at every sample that meets the traces; pass one that is not")
    return data.reshape(-1, data.shape[-1]), A


def as_traces(traces: Any, first: Array, second: Array, third: Array) -> tuple[Array, Array, Array]:
    """Return arrays in the shape of the traces, in single precision if they are stored in it."""
    kind, shape = np.float32 if validation.is_single(traces) else np.float64, np.shape(traces)
    a, b, c = (answer.astype(kind, copy=False).reshape(shape) for answer in (first, second, third))
    return a, b, c


def refit_signs(A: Convolution, data: Array, x: Array) -> Array:
    """Return, trace by trace, least squares on the support of x whose signs are those of x, or zero.

    Parameters
    ----------
    A : Convolution
        Of one trace.
    data, x : ndarray, shape (n_traces, n_samples)
        Traces and a sparse estimate.

    Raises
    ------
    Interrupted
        On Ctrl-C; ``.result`` holds x itself.
    """
    try:
        return _refitted(A, data, x)
    except KeyboardInterrupt:
        raise Interrupted(x) from None


def _refitted(A: Convolution, data: Array, x: Array) -> Array:
    """Return what `refit_signs` does."""
    out = np.zeros_like(x)
    before = A.offset[0]
    after = A.wavelet.size - 1 - before
    for trace, estimate, answer in zip(data, x, out, strict=True):
        support = np.flatnonzero(estimate)
        # spikes further apart than the wavelet is long do not meet
        for part in np.split(support, np.flatnonzero(np.diff(support) > before + after) + 1):
            if part.size:
                first, last = max(part[0] - before, 0), min(part[-1] + after + 1, trace.size)
                near = Convolution(int(last - first), A.wavelet, A.offset)
                columns = near.columns(part - first) * np.sign(estimate[part])
                norms = np.linalg.norm(columns, axis=0)
                norms = np.where(norms > 0.0, norms, 1.0)
                size = nonnegative_fit(np.asfortranarray(columns / norms), trace[first:last])
                answer[part] = np.sign(estimate[part]) * size / norms
    return out


def checked_penalty(penalty: Penalty | None, select: Selector | None) -> Leveled:
    """Return the penalty, L1() by default; refuse one without a level, and groups."""
    validation.refuse_class(penalty, Penalty, "penalty")
    if select is not None:
        check_selector(select, "select")
    penalty = L1() if penalty is None else penalty
    if not isinstance(penalty, Leveled):
        raise TypeError(f"penalty is {penalty!r}, but one with a level, such as L1() or L0(), is needed")
    if isinstance(penalty, GroupL1):
        raise ValueError("penalty is GroupL1, but groups across traces are made by coupled=True with L1")
    return penalty


def _shifts(delays: Any, dt: float, count: int) -> Array:
    """Return delays in whole samples."""
    if delays is None:
        return np.zeros(count, dtype=np.int64)
    times = validation.numeric(delays, "delays")
    if times.shape != (count,) or times.dtype.kind == "c":
        raise ValueError(
            f"delays has shape {times.shape}, but one real number [s] per trace, ({count},), is needed"
        )
    validation.finite(times, "delays")
    return np.rint(times / dt).astype(np.int64)


def _across(penalty: Leveled, shifts: Array, samples: int) -> GroupL1:
    """Return the penalty whose groups are the samples of one time after the delays are taken away."""
    if not isinstance(penalty, L1) or penalty.groups is not None or penalty.nonnegative:
        raise ValueError(f"penalty is {penalty!r}, but coupled traces need L1 without groups or nonnegative")
    labels = (np.arange(samples) - shifts[:, None]).ravel()
    return GroupL1(penalty.lam, groups=labels, weights=penalty.weights)


def strongest(data: Array) -> int:
    """Return the trace of largest amplitude, whose rule is quoted."""
    return int(np.argmax(np.abs(data).max(axis=1)))


def solve_each(
    matrix: Any, data: Array, penalty: Leveled, lams: Any, select: Selector | None, max_time: float | None,
    options: dict[str, Any],
) -> tuple[Result, ...]:  # fmt: skip
    """Return one result per trace; a rule of the user's is asked trace by trace.

    Interrupted, on Ctrl-C, holds one result per trace, too.
    """
    if select is None:
        batch, stopped = kept(solve_many, matrix, data.T, penalty, lams=lams, max_time=max_time, **options)
        return answered(batch.results, stopped)
    if lams is not None:
        raise ValueError("lams and select both set the levels; pass one of them")
    end = math.inf if max_time is None else time.perf_counter() + validation.positive(max_time, "max_time")
    results: list[Result] = []
    for trace in data:
        left = None if max_time is None else max(end - time.perf_counter(), 1e-3)
        try:
            result = solve(
                matrix, trace, penalty, select=select, tol=options["tol"], max_time=left, check_operator=False
            )
        except KeyboardInterrupt as stop:
            if isinstance(stop, Interrupted):
                results.append(stop.result)
            rest = data[len(results) :]
            if rest.size:
                results += _judged(matrix, rest, penalty.replace(lam=None), options)
            raise Interrupted(tuple(results)) from None
        results.append(result)
    return tuple(results)


def _judged(
    matrix: Any, data: Array, penalty: Leveled, options: dict[str, Any], X0: Array | None = None
) -> tuple[Result, ...]:
    """Return estimates, zeros by default, with their certificates after an interruption."""
    batch, _ = kept(solve_many, matrix, data.T, penalty, X0=X0, max_time=0.0, **options)
    return tuple(map(as_interrupted, batch.results))


def _at_common_level(
    matrix: Any, data: Array, penalty: Leveled, select: Selector | None, max_time: float | None,
    options: dict[str, Any],
) -> tuple[tuple[Result, ...], str]:  # fmt: skip
    """Return results at the median of the levels that some live traces choose, and the rule in words.

    Interrupted, on Ctrl-C, holds such a pair, too.
    """
    size = np.abs(data).max(axis=1)
    live = np.flatnonzero(size > _LIVE * size.max())
    if live.size == 0:
        rule = "all traces are zero, so r = 0 for every lam"
        return solve_each(matrix, data, penalty.replace(lam=1.0), None, None, max_time, options), rule
    chosen = live[np.unique(np.linspace(0, live.size - 1, min(live.size, _SAMPLED)).round().astype(int))]
    results, stopped = kept(
        solve_each, matrix, data[chosen], penalty, None, select, None, options | {"progress": False}
    )
    factors = [result.selection.lam for result in results if result.selection is not None]
    rule = rule_in_words(results[strongest(data[chosen])], penalty, select)
    words = f"the median of the levels of {chosen.size} traces; the strongest: {rule}"
    level = factored(penalty.lam, float(np.median(factors))) if factors else None
    penalty = penalty.replace(lam=level)
    if stopped:
        words = f"interrupted after {len(factors)} of {chosen.size} traces had chosen a level"
    X0 = np.zeros((matrix.shape[1], data.shape[0]))
    X0[:, chosen] = np.stack([result.x for result in results], axis=1)
    known = partial(_judged, matrix, data, penalty, options, X0)
    if stopped:
        raise Interrupted((known(), words))
    results, stopped = kept(solve_each, matrix, data, penalty, None, None, max_time, options, instead=known)
    return answered((results, words), stopped)


def rule_in_words(
    result: Result,
    penalty: Leveled,
    select: Selector | None,
    lams: Any = None,
    parts: int = 1,
    apart: str = "trace by trace",
) -> str:
    """Return how levels were chosen, in the words of the result that is quoted."""
    if lams is not None:
        return "given, one level per trace"
    if penalty.lam is not None and select is None:
        return "given"
    rule = "not chosen yet" if result.selection is None else result.selection.rule
    return rule if parts == 1 else f"{apart}; the strongest: {rule}"


def levels_of(results: tuple[Result, ...], lams: Any, count: int) -> tuple[Array, Array]:
    """Return the level of each trace and the noise that its rule estimated."""
    levels, sigma = np.full(len(results), np.nan), np.full(len(results), np.nan)
    factors = np.ones(len(results)) if lams is None else np.asarray(lams, dtype=np.float64)
    for j, result in enumerate(results):
        chosen = result.selection
        if chosen is not None and chosen.sigma is not None:
            sigma[j] = chosen.sigma
        if np.ndim(result.lam) == 0:
            levels[j] = np.nan if result.lam is None else float(result.lam)
        else:
            levels[j] = factors[j] if chosen is None else chosen.lam
    return np.broadcast_to(levels, count).copy(), np.broadcast_to(sigma, count).copy()

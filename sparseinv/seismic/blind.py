"""Blind deconvolution: reflectivity and wavelet from the traces alone, and whether to believe them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.entry import solve
from sparseinv.operators.convolution import Convolution
from sparseinv.penalties import L1
from sparseinv.seismic.deconvolution import Deconvolution, deconvolve
from sparseinv.seismic.estimated_wavelets import checked_length, match_wavelets, shifted, with_phase
from sparseinv.seismic.interruption import answered, as_interrupted
from sparseinv.seismic.time_limit import TimeLimit

Array = np.ndarray[Any, Any]

_TOL = 1e-4  # of the reflectivity within an alternation; the last one is solved to 1e-6
_SETTLED = 1e-3  # change of the wavelet, norm 1, at which starts and halves end; the last run goes on to
_STILL = 1e-4  # this one
_FIRST = 4.0  # levels begin at this times the last one,
_SHARE = 0.5  # at most this share of lam_max,
_SEARCH = 0.75  # of the time that the search for the wavelet may take; the last reflectivity has the rest
_FALLING = 8  # and reach it after as many alternations
_LEAST_SNR = 4.0  # [dB] below which blind deconvolution is known to fail
_STABLE = (
    0.8  # correlation of the wavelets from two halves of the traces: promises (3 + 0.8) / 4 for all traces
)
_EQUAL = 0.95  # correlation of wavelets that count as the same
_NEAR = 0.01  # relative excess of the objective up to which a start counts as good as the best


@dataclass(frozen=True, eq=False)
class BlindDeconvolution:
    """Hold a wavelet and a reflectivity found together, and the grounds on which to believe them.

    Attributes
    ----------
    wavelet : ndarray, shape (2 center + 1,)
        Its largest sample is +1. Time, sign and size are conventions: the data do not determine them.
    center : int
        Index of its zero time, the centre of its energy.
    deconvolution : Deconvolution
        Reflectivity with this wavelet: certified, its lambda with the rule, the refit and the fit.
    trusted : bool
        Whether nothing speaks against the answer, see ``verdict``.
    verdict : str
        The grounds in words.
    snr : float
        Signal-to-noise ratio of the traces that the fit implies [dB]; NaN where time ended before that.
    stability : float
        Correlation of the wavelets that two halves of the traces give, but for time and sign; NaN for one
        trace, and where time ended before that.
    agreement : float
        Least correlation between the wavelet and those of other starts that end about as low.
    objectives : ndarray, shape (n_starts,)
        1/2 ||w * r - d||^2 + lam ||r||_1, ||w|| = 1, where each start ended, after the stage at one level.
    lam : float
        Level of the alternation, for ||w|| = 1.
    n_iter : int
        Alternations, all starts and halves together.
    """

    wavelet: Array
    center: int
    deconvolution: Deconvolution
    trusted: bool
    verdict: str
    snr: float
    stability: float
    agreement: float
    objectives: Array = field(repr=False)
    lam: float
    n_iter: int

    @property
    def success(self) -> bool:
        """Whether every reflectivity is certified for the wavelet; ``trusted`` judges the wavelet."""
        return self.deconvolution.success

    @property
    def rule(self) -> str:
        """How the levels of the reflectivity were chosen."""
        return self.deconvolution.rule

    def __repr__(self) -> str:
        trust = "trusted" if self.trusted else "NOT TO BE TRUSTED"
        return f"wavelet of {self.wavelet.size} samples, {trust}: {self.verdict}\n{self.deconvolution!r}"


def blind_deconvolve(
    traces: Any,
    dt: float,
    duration: float,
    *,
    phases: Sequence[float] = (0.0, 45.0, 90.0, 135.0),
    ridge: float = 1e-3,
    max_iter: int = 40,
    tol: float = 1e-6,
    max_time: float | None = None,
) -> BlindDeconvolution:
    """Find a wavelet and sparse reflectivity whose convolution explains the traces.

    Alternates [1]_ between two convex problems, each solved to the end: ``min_r 1/2 ||w * r - d||^2 + lam
    ||r||_1`` for w of norm 1, and ``min_w 1/2 ||w * r - d||^2 + mu/2 ||w||^2`` over wavelets of the
    given length, in closed form.

    Parameters
    ----------
    traces : array_like, shape (n_traces, n_samples)
        Real traces that share one wavelet.
    dt : float
        Sampling interval [s].
    duration : float
        Length of the wavelet [s], rounded up to an odd number of samples that fits into a trace.
    phases : sequence of float
        Constant phases [degrees] of the starting wavelets, whose amplitude spectrum is the smoothed one of
        the traces; a sign makes no difference, so 0 to 180 are all.
    ridge : float
        mu over the mean of the diagonal of the normal equations, > 0.
    max_iter : int
        Most alternations of the last run; starts and halves of the traces take half as many.
    tol : float
        Of the last reflectivity, as for `sparseinv.solve`.
    max_time : float, optional
        Most seconds, roughly, for everything. The answer is then the best so far: a wavelet whose search was
        cut off is not trusted, and reflectivities that were not solved say so in their status.

    Returns
    -------
    BlindDeconvolution
        Wavelet, certified reflectivity (in single precision where the traces are), and whether they can be
        trusted: low signal, wavelets that change with the choice of traces, or different wavelets that
        explain the data as well speak against it.

    Raises
    ------
    ValueError, TypeError
        Bad input, before any work.
    Interrupted
        On Ctrl-C; ``.result`` holds the answer as far as it came, every certificate included.

    Notes
    -----
    The problem is not convex: each reflectivity carries a global certificate for its wavelet, the pair
    carries none. Several phases are tried and the lowest objective is taken; levels fall from four times
    the last one, lam = sigma sqrt(2 log n_samples), sigma estimated from the residual, so that strong
    reflectors shape the wavelet first. With ||w|| = 1 the true wavelet is preferred to a spike because
    convolution increases the sum of moduli.
    Not trusted: an implied SNR below 4 dB, under which such methods are reported to fail [2]_; a
    correlation c below 0.8 between wavelets of the odd and of the even traces (0.8 promises (3 + c) / 4 =
    0.95 for all traces if errors are independent); one below 0.95 between the wavelet and that of a start
    which ends within 1 % of its objective. All three are computed from the data. Noise with the spectrum of
    the wavelet counts as signal in the first, for it looks like reflectivity.
    Cost: about 20 alternations a start, each as much as `deconvolve` and a system of the wavelet's length.

    References
    ----------
    .. [1] N. Iqbal et al., Sparse multichannel blind deconvolution of seismic data via spectral
       projected-gradient (2016), doi:10.48550/arXiv.1611.03754 (the alternation).
    .. [2] N. Kazemi, M. D. Sacchi, Sparse multichannel blind deconvolution, Geophysics 79 (2014) V143-V152,
       doi:10.1190/geo2013-0465.1.

    Examples
    --------
    >>> import numpy as np
    >>> from sparseinv.seismic import blind_deconvolve, match_wavelets, ricker, sparse_spikes
    >>> wavelet, _, center = ricker(30.0, 0.004)
    >>> truth = sparse_spikes(80, 3, n_traces=6, min_gap=6, rng=0)
    >>> traces = np.array([np.convolve(r, wavelet)[center:center + 80] for r in truth])
    >>> answer = blind_deconvolve(traces, 0.004, 0.1)
    >>> match_wavelets(wavelet, answer.wavelet).correlation > 0.98
    True
    """
    data, dt, center = checked_length(traces, dt, duration)
    angles = [validation.real_number(p, "an entry of phases") for p in phases]
    if not angles or not all(map(math.isfinite, angles)):
        raise ValueError(f"phases is {phases!r}, but at least one finite angle in degrees is needed")
    mu, most = validation.positive(ridge, "ridge"), validation.count(max_iter, "max_iter", least=1)
    size = float(np.abs(data).max())
    if size == 0.0:
        raise ValueError("traces are all zero, so there is no wavelet to be found")
    d = data / size
    limit = TimeLimit(max_time)
    search = limit.first(_SEARCH)
    starts = [with_phase(d, center, angle) for angle in angles]
    sigma = _noise(d, starts[0], dt, search)
    reach = math.sqrt(2.0 * math.log(max(d.shape[1], 2)))
    few = -(-most // 2)
    last = reach * (sigma if math.isfinite(sigma) else float(np.sqrt(np.mean(d**2))))
    runs = [_alternate(d, w, last, mu, few, search) for w in starts]
    best = min(range(len(runs)), key=lambda k: runs[k].objective)
    # with the wrong wavelet part of the signal counted as noise
    sigma = min(sigma, _noise(d, runs[best].wavelet, dt, search))
    last = min(last, sigma * reach)
    final = _alternate(d, runs[best].wavelet, last, mu, most, search, _STILL)
    if final.n_iter == 0:
        final = runs[best]
    halves = [_alternate(part, starts[best], last, mu, few, search) for part in _halves(d)]
    stability = math.nan
    if halves and not any(half.cut for half in halves):
        stability = match_wavelets(halves[0].wavelet, halves[1].wavelet).correlation
    near = [run for run in runs if run.objective <= (1.0 + _NEAR) * runs[best].objective]
    agreement = min(match_wavelets(final.wavelet, run.wavelet).correlation for run in near)
    snr = _implied_snr(d, sigma)
    cut = any(run.cut for run in [*runs, final, *halves])
    reasons = _objections(final, snr, stability, agreement, cut, limit.stopped)
    wavelet = final.wavelet / final.wavelet[np.argmax(np.abs(final.wavelet))]
    recorded = data.astype(np.float32) if validation.is_single(traces) else data
    answer = limit.run(deconvolve, recorded, wavelet, dt, offset=center, tol=tol)
    if limit.stopped:
        answer = replace(answer, results=tuple(map(as_interrupted, answer.results)))
    verdict = "; ".join(reasons) or (
        f"implied SNR {snr:.1f} dB, wavelets of two halves correlate by {stability:.3f}, those of equal "
        f"starts by {agreement:.3f}"
    )
    found = BlindDeconvolution(
        wavelet, center, answer, not reasons, verdict, snr, stability, agreement,
        np.array([run.objective for run in runs]) * size**2, final.lam * size,
        sum(run.n_iter for run in [*runs, final, *halves]),
    )  # fmt: skip
    return answered(found, limit.stopped)


@dataclass(frozen=True, eq=False)
class _Run:
    """Hold where an alternation ended: wavelet of norm 1, objective at its last level, spikes found."""

    wavelet: Array
    objective: float
    n_spikes: int
    lam: float
    n_iter: int
    cut: bool  # by the limit of time


def _alternate(
    d: Array, wavelet: Array, last: float, ridge: float, most: int, limit: TimeLimit,
    settled: float = _SETTLED,
) -> _Run:  # fmt: skip
    """Alternate from a wavelet of norm 1, at levels that fall to ``last``."""
    samples, center = d.shape[1], wavelet.size // 2
    w, r = wavelet, np.zeros_like(d)
    objective, spikes, n_iter = 0.5 * float(np.sum(d**2)), 0, 0
    for k in range(most):
        if limit.ended():
            return _Run(w, objective, spikes, last, n_iter, True)
        n_iter += 1
        A = Convolution(samples, w, offset=center).columns(np.arange(samples))
        largest = float(np.abs(d @ A).max())
        raised = last * _FIRST ** max(0.0, 1.0 - k / _FALLING)
        lam = max(last, min(raised, _SHARE * largest))
        # a few traces, many times over: threads would cost more than they save
        results = [limit.run(solve, A, trace, L1(lam), x0=x, tol=_TOL) for trace, x in zip(d, r, strict=True)]
        r = np.stack([result.x for result in results])
        objective, spikes = math.fsum(result.objective for result in results), int(np.count_nonzero(r))
        if spikes == 0:
            break
        new = _fitted_wavelet(r, d, center, ridge)
        new, moved = _centred(new / np.linalg.norm(new))
        r = shifted(r, moved)
        change = float(np.linalg.norm(new - w))
        w = new
        if lam == last and change <= settled:
            break
    return _Run(w, objective, spikes, last, n_iter, limit.ended())


def _fitted_wavelet(r: Array, d: Array, center: int, ridge: float) -> Array:
    """Return the wavelet of 2 center + 1 samples that fits d = w * r best, with a ridge."""
    from scipy.linalg import solve

    lags = range(-center, center + 1)
    delayed = np.stack([shifted(r, lag).ravel() for lag in lags], axis=1)
    normal = delayed.T @ delayed
    normal[np.diag_indices_from(normal)] += ridge * np.trace(normal) / normal.shape[0]
    return np.asarray(solve(normal, delayed.T @ d.ravel(), assume_a="pos", check_finite=False))


def _centred(w: Array) -> tuple[Array, int]:
    """Return the wavelet of norm 1 with the centre of its energy in the middle, and by how much it moved."""
    energy = w**2
    lag = round(w.size // 2 - float(energy @ np.arange(w.size)) / float(energy.sum()))
    if lag == 0:
        return w, 0
    moved = shifted(w, lag)
    return moved / np.linalg.norm(moved), -lag


def _noise(d: Array, w: Array, dt: float, limit: TimeLimit) -> float:
    """Return sigma estimated with a wavelet; positive, so that lambda is, and inf without time for it."""
    answer = limit.run(deconvolve, d, w, dt, offset=w.size // 2, refit=False, tol=_TOL, n_threads=1)
    live = np.isfinite(answer.sigma)
    if limit.ended() and not live.any():
        return math.inf
    sigma = float(np.sqrt(np.mean(answer.sigma[live] ** 2))) if live.any() else 0.0
    return max(sigma, 1e-4 * float(np.sqrt(np.mean(d**2))))


def _halves(d: Array) -> list[Array]:
    parts = [d[0::2], d[1::2]]
    return parts if d.shape[0] > 1 and all(part.any() for part in parts) else []


def _implied_snr(d: Array, sigma: float) -> float:
    """Return the SNR [dB] of traces whose noise has the standard deviation sigma; NaN if that is inf."""
    if math.isinf(sigma):
        return math.nan
    ratio = float(np.mean(d**2)) / sigma**2 - 1.0
    return 10.0 * math.log10(max(ratio, 1e-3))


def _objections(
    final: _Run, snr: float, stability: float, agreement: float, cut: bool, stopped: bool
) -> list[str]:
    """Return what speaks against an answer, in words."""
    reasons = [f"{'Ctrl-C' if stopped else 'time'} ended the search for the wavelet"] if cut else []
    if final.n_spikes == 0 and final.n_iter > 0:
        reasons.append("no reflector stands out of the noise")
    if snr < _LEAST_SNR:
        reasons.append(f"the implied SNR is {snr:.1f} dB, and below {_LEAST_SNR:g} dB such methods fail")
    if math.isnan(stability) and not cut:
        reasons.append("one trace alone does not show whether its wavelet is that of others")
    elif stability < _STABLE:
        reasons.append(f"the wavelets of two halves of the traces correlate by {stability:.2f} only")
    if agreement < _EQUAL:
        reasons.append(f"wavelets that explain the traces equally well correlate by {agreement:.2f} only")
    return reasons

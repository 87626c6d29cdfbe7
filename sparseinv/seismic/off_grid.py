"""A continuous signal from few irregular samples: a sum of tones whose frequencies lie on no grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.result import Result
from sparseinv.seismic.interruption import answered, as_interrupted
from sparseinv.seismic.time_limit import TimeLimit
from sparseinv.seismic.tone_model import (
    Fit,
    Samples,
    Spectrum,
    derivatives,
    fit_amplitudes,
    refine,
    squared,
)
from sparseinv.seismic.tone_search import Alarm, Search

Array = np.ndarray[Any, Any]

_UNEXPLAINED = 0.25  # share of ||y||^2 in a residual that may hold most of the tones
_LOUD = 0.03  # of the variance of such a residual: what is taken for noise then


@dataclass(frozen=True, eq=False)
class Tones:
    """Hold a sum of tones, which can be evaluated at any time.

    Attributes
    ----------
    frequencies : ndarray, shape (K,)
        Ascending [Hz].
    amplitudes : ndarray, shape (K,)
        Complex amplitudes a: the signal is the sum of a_k exp(2 pi i f_k t), for real data of its real
        parts, abs(a_k) cos(2 pi f_k t + angle(a_k)).
    frequency_errors, amplitude_errors : ndarray, shape (K,)
        Standard errors of the frequencies [Hz] and of abs(amplitudes), to first order.
    chances : ndarray, shape (K,)
        Probability that white noise alone would have brought a tone of this strength somewhere in the
        band, the others given.
    sigma : float
        Standard deviation of the noise, ``sigma**2 = E abs(e)**2``: the one given, or that of the
        residual over its degrees of freedom.
    residual : ndarray, shape (m,)
        Model less data.
    real : bool
        Whether the signal is real.
    grid : Result or None
        The certified sparse solution on the grid of frequencies that the search was compared with, and
        its frequencies in ``grid_frequencies``; None where it was not asked for or nothing was found.
    grid_frequencies : ndarray, shape (n,)
        Frequencies of the grid [Hz].
    complete : bool
        Whether the search came to its end; where time or Ctrl-C cut it off, tones may be missing, and
        ``chances`` tell which of those here would have been removed.
    """

    frequencies: Array
    amplitudes: Array
    frequency_errors: Array
    amplitude_errors: Array
    chances: Array
    sigma: float
    residual: Array
    real: bool
    grid: Result | None
    grid_frequencies: Array
    complete: bool
    _data: Samples
    _fit: Fit
    _covariance: Array

    def at(self, t: Any) -> Array:
        """Return the signal at any times t [s]."""
        values = np.exp(2j * math.pi * np.multiply.outer(np.asarray(t), self.frequencies)) @ self.amplitudes
        return np.asarray(values.real if self.real else values)

    def error_at(self, t: Any) -> Array:
        """Return the standard error of the signal at times t [s], to first order, if the tones are right."""
        times = np.asarray(t, dtype=float)
        J = derivatives(self._data, self._fit, times.ravel() - self._data.middle)
        variance = np.einsum("ij,jk,ik->i", J, self._covariance, J)
        if not self.real:
            variance = variance[: times.size] + variance[times.size :]
        return np.sqrt(np.maximum(variance, 0.0)).reshape(times.shape)

    def __str__(self) -> str:
        cut = "" if self.complete else "; the search was cut off"
        lines = [f"{self.frequencies.size} tones, noise {self.sigma:.3g}{cut}"]
        rows = zip(
            self.frequencies,
            self.frequency_errors,
            self.amplitudes,
            self.amplitude_errors,
            self.chances,
            strict=True,
        )
        for f, df, a, da, chance in rows:
            lines.append(
                f"  {f:12.5f} Hz ± {df:.5f}   amplitude {abs(a):.4g} ± {da:.2g}   phase {np.angle(a):+.3f}   "
                f"chance {chance:.1e}"
            )
        return "\n".join(lines)


def off_grid_tones(
    t: Any,
    y: Any,
    band: Sequence[float],
    *,
    sigma: float | None = None,
    false_alarm: float = 0.01,
    max_tones: int | None = None,
    oversampling: float = 2.0,
    thorough: bool = True,
    max_time: float | None = None,
) -> Tones:
    """Recover a sum of tones with real-valued frequencies from samples at irregular times.

    ``y_i = sum_k a_k exp(2 pi i f_k t_i) + e_i`` with white noise e; for real data the real part of the
    sum. The number of tones is found from the data: a tone belongs to the answer if noise alone would
    bring one as strong, anywhere in the band, with a probability below ``false_alarm``.

    Parameters
    ----------
    t : array_like, shape (m,)
        Times in any order [s] (or positions [m]; frequencies are then wavenumbers [1/m]).
    y : array_like, shape (m,)
        Samples, real or complex; at least four.
    band : (low, high)
        Frequencies that can occur [Hz]; low >= 0 for real data. Irregular times have no Nyquist frequency:
        the band may exceed m / (2 span) by far.
    sigma : float, optional
        Standard deviation of the noise (``E abs(e)**2 = sigma**2``); taken from the residual by default.
    false_alarm : float
        Level of the test, in (0, 1).
    max_tones : int, optional
        Most tones; at most (real numbers in y - 4) / 3, which is the default.
    oversampling : float
        Grid points for each cell 1/span of frequency, >= 1.
    thorough : bool
        Also begin from sparse solutions on the grid (L1, certified), go back from the end of the greedy
        search, and try exchanges of tones; the answer with the lower criterion counts. False is a third of
        the work or less.
    max_time : float, optional
        Most seconds, roughly; the answer is then the best so far, and its ``complete`` is False.

    Returns
    -------
    Tones
        Frequencies, amplitudes, standard errors, and the signal at any time.

    Raises
    ------
    ValueError, TypeError
        Arguments of wrong shape or range.
    Interrupted
        On Ctrl-C once a tone is known; ``.result`` holds the best answer so far.

    Notes
    -----
    1. Greedy search: the grid frequency whose tone lowers the misfit most, with all amplitudes and
       (to first order) frequencies of the earlier tones refitted; then all tones are refined together
       (Levenberg-Marquardt over frequencies and amplitudes); then the test.
       The search looks eight tones ahead, because tones of equal strength pass only together, and then
       takes them away again one by one.
    2. Sparse solution on the grid: L1 (groups of cosine and sine for real data) at the level that noise
       passes with probability ``false_alarm``, and, where 1 left much unexplained, at a sixth of it;
       neighbouring coefficients are one tone; refinement, removal one by one, then additions as in 1.
    3. Of both, the lower ``N log(||r||^2 / N) + K c`` (``||r||^2 / s^2 + K c`` with sigma given), N real
       numbers, noise s per real number, c the least decrease that passes the test; then exchanges of
       single tones as long as they lower the misfit, and a last look for tones that do not pass.

    The test is the formula of [1]_ for the largest value of a periodogram over a band, with the degrees of
    freedom that the other tones leave. The answer is a local minimum of the misfit over all
    frequencies and amplitudes together; nothing proves it to be the global one. Where tones are closer than
    about one cell 1/span, one tone may stand for two. Errors are those of the linearised model.

    Cost: per tone 3 K + 1 products with the waves on the grid and a few least-squares problems of m x 3 K.
    Up to 2e6 entries the waves are held in memory; beyond, products are non-uniform transforms (extra
    ``nufft``).

    References
    ----------
    .. [1] R. V. Baluev, Assessing the statistical significance of periodogram peaks, Mon. Not. R. Astron.
       Soc. 385 (2008) 1279-1285, doi:10.1111/j.1365-2966.2008.12689.x, equations 5-8.
    .. [2] B. Mamandipoor, D. Ramasamy, U. Madhow, Newtonized orthogonal matching pursuit: frequency
       estimation over the continuum, IEEE Trans. Signal Process. 64 (2016) 5066-5081,
       doi:10.1109/TSP.2016.2580523.
    .. [3] G. Tang, B. N. Bhaskar, P. Shah, B. Recht, Compressed sensing off the grid, IEEE Trans. Inf.
       Theory 59 (2013) 7465-7490, doi:10.1109/TIT.2013.2277451.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> t = rng.random(40)                                        # 40 times in one second
    >>> y = 2 * np.cos(2 * np.pi * 31.27 * t) - np.sin(2 * np.pi * 90.64 * t)
    >>> tones = off_grid_tones(t, y + 0.1 * rng.standard_normal(40), (0, 200))
    >>> np.round(tones.frequencies, 1), np.round(abs(tones.amplitudes), 1)
    (array([31.3, 90.6]), array([2., 1.]))
    """
    data = _samples(t, y, band)
    level = validation.real_number(false_alarm, "false_alarm")
    if not 0.0 < level < 1.0:
        raise ValueError(f"false_alarm is {level}, but a probability between 0 and 1 is needed")
    noise = None if sigma is None else validation.positive(sigma, "sigma")
    density = validation.real_number(oversampling, "oversampling")
    if not 1.0 <= density < math.inf:
        raise ValueError(f"oversampling is {density}, but at least 1 grid point for each cell is needed")
    most = (data.numbers - 4) // 3
    if max_tones is not None:
        most = min(most, validation.count(max_tones, "max_tones"))
    limit = TimeLimit(max_time)
    search = Search(data, Spectrum(data, density), Alarm(data, noise, level), most, limit)
    grids: list[Result] = []
    try:
        fit = _found(search, thorough, grids)
    except KeyboardInterrupt:
        if search.best.f.size == 0:
            raise
        limit.stop()
    complete = not limit.ended()
    answer = _answer(search, fit if complete else search.best, grids[0] if grids else None, complete)
    return answered(answer, limit.stopped)


def _found(search: Search, thorough: bool, grids: list[Result]) -> Fit:
    """Return the tones, and put the sparse solutions on the grid into a list."""
    fit = search.settle(search.grown(there_and_back=thorough))
    if not thorough or search.most == 0:
        return fit
    data = search.data
    # a residual as large as this holds tones that were not found: its variance is not that of noise
    loud = search.alarm.variance is None and fit.rss > _UNEXPLAINED * squared(data.y)
    for share in (1.0, _LOUD) if loud else (1.0,):
        if search.limit.ended():
            return fit
        result, start = search.sparse_start(fit, share)
        grids.append(as_interrupted(result) if search.limit.stopped else result)
        fit = search.better(fit, search.settle(start))
    return search.exchange(fit)


def _answer(search: Search, fit: Fit, grid: Result | None, complete: bool) -> Tones:
    data, alarm, K = search.data, search.alarm, fit.f.size
    order = np.argsort(fit.f)
    fit = fit_amplitudes(data, fit.f[order])
    freedom = search.freedom(K)
    variance = alarm.variance if alarm.variance is not None else fit.rss / max(freedom, 1)
    J = derivatives(data, fit)
    scale = np.maximum(np.linalg.norm(J, axis=0), 1e-300)
    covariance = (
        variance * np.linalg.pinv((J / scale).T @ (J / scale), hermitian=True) / np.outer(scale, scale)
    )
    unit = np.exp(-1j * np.angle(fit.a))
    inner, outer = np.arange(K, 2 * K), np.arange(2 * K, 3 * K)
    modulus = (
        unit.real**2 * covariance[inner, inner]
        - 2.0 * unit.real * unit.imag * covariance[inner, outer]
        + unit.imag**2 * covariance[outer, outer]
    )
    chances = []
    for k in range(K):
        others = refine(data, np.delete(fit.f, k))
        chances.append(alarm.chance(others.rss - fit.rss, others.rss, search.freedom(K - 1)))
    return Tones(
        frequencies=fit.f,
        amplitudes=fit.a * np.exp(-2j * math.pi * fit.f * data.middle),
        frequency_errors=np.sqrt(np.maximum(np.diag(covariance)[:K], 0.0)),
        amplitude_errors=np.sqrt(np.maximum(modulus, 0.0)),
        chances=np.array(chances),
        sigma=math.sqrt(variance * (1.0 if data.real else 2.0)),
        residual=-fit.r,
        real=data.real,
        grid=grid,
        grid_frequencies=search.spectrum.grid,
        complete=complete,
        _data=data,
        _fit=fit,
        _covariance=covariance,
    )


def _samples(t: Any, y: Any, band: Sequence[float]) -> Samples:
    times, values = validation.numeric(t, "t"), validation.numeric(y, "y")
    if times.dtype.kind == "c":
        raise TypeError("t is complex, but real times are needed")
    if times.ndim != 1 or values.shape != times.shape or times.size < 4:
        raise ValueError(
            f"t has shape {times.shape} and y {values.shape}, but vectors of one size, at least 4, are needed"
        )
    validation.finite(times, "t")
    validation.finite(values, "y")
    if np.size(band) != 2:
        raise ValueError(f"band is {band!r}, but two frequencies (low, high) are needed")
    low, high = (validation.real_number(f, "an entry of band") for f in band)
    real = values.dtype.kind != "c"
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"band is ({low}, {high}), but two finite frequencies low < high are needed")
    if real and low < 0:
        raise ValueError(f"band begins at {low}, but tones of real data have frequencies >= 0")
    middle = 0.5 * float(times.min() + times.max())
    data = Samples(times - middle, values, real, middle, low, high)
    if not data.span > 0.0:
        raise ValueError("all entries of t are equal, but an interval is needed to tell frequencies apart")
    return data

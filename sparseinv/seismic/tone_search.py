"""Which tones belong to the data: additions, removals, exchanges, judged by what noise alone would bring."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from sparseinv.entry import solve
from sparseinv.penalties import L1, GroupL1
from sparseinv.result import Result
from sparseinv.seismic.time_limit import TimeLimit
from sparseinv.seismic.tone_model import Fit, Samples, Spectrum, fit_amplitudes, refine, squared

Array = np.ndarray[Any, Any]

_AHEAD = 8  # tones that the greedy search adds beyond the best number so far
_START = 25  # tones of a sparse start, where the greedy search has found fewer
_ROUNDS = 50  # additions and removals of one search: tones that come and go must not do so for ever
_NOTHING = 1e-13  # residual that is rounding, relative to ||y||
_NEAR = 1.5  # cells within which grid coefficients belong to one tone


class Alarm:
    """Tell how likely noise alone brings a tone of some strength, anywhere in the band."""

    def __init__(self, data: Samples, sigma: float | None, level: float) -> None:
        self.level = level
        #: variance of the noise of each real number, where it is known
        self.variance = None if sigma is None else sigma**2 * (1.0 if data.real else 0.5)
        # effective number of independent frequencies, up to a factor
        self.width = (data.high - data.low) * math.sqrt(4.0 * math.pi * float(np.var(data.t)))
        # decrease of ||r||^2 over 2 s^2 that passes at the level, s known
        self.least = self._threshold(lambda g: self._passed(math.exp(-g), math.sqrt(g)), 700.0)

    def chance(self, gain: float, before: float, freedom: int) -> float:
        """Return the probability of a decrease of ||r||^2 by gain or more, from ``before``.

        ``freedom`` is the number of real numbers in the data less that of the parameters fitted before.
        """
        if gain <= 0.0 or before <= 0.0:
            return 1.0
        if self.variance is not None:
            strength = gain / (2.0 * self.variance)
            return self._passed(math.exp(-min(strength, 700.0)), math.sqrt(strength))
        left = max(1.0 - gain / before, 0.0)
        if left == 0.0:
            return 0.0
        factor = math.sqrt(2.0 / freedom) * math.exp(
            math.lgamma(0.5 * freedom) - math.lgamma(0.5 * freedom - 0.5)
        )
        single = left ** (0.5 * freedom - 1.0)
        return self._passed(single, factor * math.sqrt(0.5 * freedom * (1.0 - left) / left))

    def _passed(self, single: float, rise: float) -> float:
        """Return 1 - (1 - single) exp(-width rise single), without cancellation."""
        return -math.expm1(math.log1p(-single) - self.width * rise * single) if single < 1.0 else 1.0

    def cost(self, numbers: int, tones: int) -> float:
        """Return by how much twice the log likelihood must rise for one tone more to pass at the level."""
        freedom = numbers - 3 * tones
        if self.variance is not None:
            return 2.0 * self.least
        if freedom < 4:
            return math.inf
        share = self._threshold(lambda gain: self.chance(gain, 1.0, freedom), 1.0)
        return -numbers * math.log1p(-share) if share < 1.0 else math.inf

    def _threshold(self, chance: Callable[[float], float], high: float) -> float:
        """Return the least gain, up to ``high``, of which noise brings no larger one at the level."""
        low = 0.0
        for _ in range(60):
            middle = 0.5 * (low + high)
            if chance(middle) > self.level:
                low = middle
            else:
                high = middle
        return high


class Search:
    """Add, remove and exchange tones until the test is content."""

    def __init__(self, data: Samples, spectrum: Spectrum, alarm: Alarm, most: int, limit: TimeLimit) -> None:
        self.data, self.spectrum, self.alarm, self.most, self.limit = data, spectrum, alarm, most, limit
        self.floor = _NOTHING**2 * squared(data.y)
        #: the best answer that is known, for a search that is cut off
        self.best = fit_amplitudes(data, np.empty(0))
        self._costs = np.cumsum([0.0, *(alarm.cost(data.numbers, tones) for tones in range(most))])

    def freedom(self, tones: int) -> int:
        """Return real numbers in the data less parameters of the tones."""
        return self.data.numbers - 3 * tones

    def better(self, *fits: Fit) -> Fit:
        """Return the fit with the lowest criterion, and remember it if it is the best one so far."""
        fit = min(fits, key=self.criterion)
        self.best = min((self.best, fit), key=self.criterion)
        return fit

    def criterion(self, fit: Fit) -> float:
        """Return misfit and number of tones on one scale, that of twice the log likelihood."""
        cost = float(self._costs[fit.f.size])
        if self.alarm.variance is not None:
            return fit.rss / self.alarm.variance + cost
        return self.data.numbers * math.log(max(fit.rss, self.floor, 1e-300)) + cost

    def grown(self, *, there_and_back: bool) -> Fit:
        """Return the best fit on the greedy path, and on the way back where asked to.

        Tones of equal strength, none of which stands out of the others, pass the test only together; and
        where early choices were wrong, the right ones may come later.
        """
        fit = best = fit_amplitudes(self.data, np.empty(0))
        while fit.f.size < min(self.most, best.f.size + _AHEAD) and not self.limit.ended():
            larger = self._with_best(fit)
            if larger is None:
                break
            fit = larger
            best = self.better(best, fit)
        return self.better(best, self.shrunk(fit)) if there_and_back else best

    def shrunk(self, fit: Fit) -> Fit:
        """Return the best fit met when the weakest tones are taken away one by one."""
        best = fit
        while fit.f.size and not self.limit.ended():
            fit = self._weaker(fit)
            best = self.better(best, fit)
        return best

    def settle(self, fit: Fit) -> Fit:
        """Remove tones that do not pass the test and add those that do, until nothing changes."""
        for _ in range(_ROUNDS):
            if self.limit.ended():
                return fit
            smaller = self._without_least(fit) if fit.f.size else None
            if smaller is not None:
                fit = smaller
                continue
            larger = self._with_best(fit)
            if larger is None or not self._passes(fit, larger):
                break
            fit = larger
        while (smaller := self._without_least(fit) if fit.f.size else None) is not None:
            fit = smaller
        return self.better(fit)

    def _with_best(self, fit: Fit) -> Fit | None:
        """Return the tones and the one that helps most, None where there is nothing to add."""
        if fit.f.size >= self.most or fit.rss <= self.floor:
            return None
        gains = self.spectrum.gains(fit)
        best = int(np.argmax(gains))
        if gains[best] <= 0.0:
            return None
        return refine(self.data, np.append(fit.f, self._inside(self.spectrum.grid[best])))

    def _passes(self, smaller: Fit, larger: Fit) -> bool:
        chance = self.alarm.chance(smaller.rss - larger.rss, smaller.rss, self.freedom(smaller.f.size))
        return chance <= self.alarm.level

    def _without_least(self, fit: Fit) -> Fit | None:
        """Return the tones but the weakest, None where it passes the test."""
        smaller = self._weaker(fit)
        return None if self._passes(smaller, fit) else smaller

    def _weaker(self, fit: Fit) -> Fit:
        """Return the tones but the one that is missed least."""
        weakest = int(np.argmin([self._without(fit, k).rss for k in range(fit.f.size)]))
        return refine(self.data, np.delete(fit.f, weakest))

    def _without(self, fit: Fit, k: int) -> Fit:
        return fit_amplitudes(self.data, np.delete(fit.f, k))

    def _inside(self, f: Any) -> Any:
        return np.clip(f, self.data.low, self.data.high)

    def exchange(self, fit: Fit) -> Fit:
        """Replace single tones as long as that lowers the misfit; then look for others once more."""
        changed, spectrum = True, self.spectrum
        for _ in range(_ROUNDS):
            if not changed:
                break
            changed = False
            for k in range(fit.f.size):
                if self.limit.ended():
                    return fit
                others = refine(self.data, np.delete(fit.f, k))
                best = spectrum.grid[int(np.argmax(spectrum.gains(others)))]
                if abs(best - fit.f[k]) * self.data.span < 1.0:
                    continue
                trial = refine(self.data, np.append(others.f, self._inside(best)))
                if trial.rss < fit.rss * (1.0 - 1e-6):
                    fit, changed = self.better(trial), True
                    break
        return self.settle(fit)

    def sparse_start(self, fit: Fit, share: float) -> tuple[Result, Fit]:
        """Return the L1 solution on the grid and the tones that its clusters suggest.

        ``share`` is that of the variance of the residual of ``fit`` which is taken for noise.
        """
        m, n = self.data.t.size, self.spectrum.grid.size
        variance = self.alarm.variance
        if variance is None:
            variance = share * fit.rss / max(self.freedom(fit.f.size), 1)
        # the inner product of noise with a wave passes this with the probability of a false alarm
        waves = float(m) * (0.5 if self.data.real else 1.0)
        lam = math.sqrt(2.0 * self.alarm.least * max(variance, self.floor / m) * waves)
        if self.data.real:
            penalty: Any = GroupL1(lam, groups=np.tile(np.arange(n), 2))
        else:
            penalty = L1(lam)
        result = self.limit.run(solve, self.spectrum.dictionary, self.data.y, penalty, tol=1e-4)
        sizes = np.hypot(result.x[:n], result.x[n:]) if self.data.real else np.abs(result.x)
        # the weakest of many clusters are what a gap of 1e-4 leaves
        count = min(self.most, self.data.numbers // 5, max(_START, fit.f.size + 2 * _AHEAD))
        centers = self._clusters(sizes)[:count]
        return result, self.shrunk(refine(self.data, self._inside(centers)))

    def _clusters(self, sizes: Array) -> Array:
        """Return the centres of neighbouring grid coefficients, the largest first."""
        order = np.argsort(self.spectrum.grid)
        f, weight = self.spectrum.grid[order], sizes[order]
        used = np.flatnonzero(weight)
        if used.size == 0:
            return np.empty(0)
        breaks = np.flatnonzero(np.diff(f[used]) * self.data.span > _NEAR) + 1
        groups = np.split(used, breaks)
        total = np.array([weight[g].sum() for g in groups])
        centers = np.array([weight[g] @ f[g] for g in groups]) / total
        return np.asarray(centers[np.argsort(-total)])

"""Rules that compare lambda with what noise alone would reach, or count what is left."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.penalties.base import Leveled
from sparseinv.penalties.group import Grouped, GroupL1
from sparseinv.penalties.separable import L0, L1, L2, ElasticNet
from sparseinv.problem import squared
from sparseinv.result import Selection
from sparseinv.selection.defaults import in_words, null_levels, pivotal, pivotal_share
from sparseinv.selection.noise import pivotal_level, pivotal_quantile, sigma_of
from sparseinv.selection.selector import Selector, Task
from sparseinv.selection.trail import PathRule, Reading, Trail

Array = np.ndarray[Any, Any]

_HALVINGS = 25


def _refuse_ridge(rule: str, penalty: Leveled) -> None:
    if isinstance(penalty, L2):
        raise TypeError(
            f"select is {rule}, but no level of L2 gives x = 0, so there is none that noise alone would "
            "reach: use LeaveOneOut, GCV, SURE or TargetMisfit"
        )


@dataclass(frozen=True, eq=False, repr=False)
class Pivotal(PathRule):
    """Choose the largest level with lam <= q ||A x(lam) - b||, which needs no sigma and no folds.

    q is a quantile of the level from which on x = 0 for noise of unit norm: the level of the square-root
    lasso [1]_, whose solution is that of L1 at q ||A x - b||.

    Parameters
    ----------
    alpha : float, optional
        None: q is half the median, for prediction; for complex data and groups the share of it that lets as
        many noise coefficients pass as half does for real ones. Otherwise q is the quantile of 1 - alpha, at
        which noise alone gives x = 0 with that probability: for the support, with shrinkage to be undone by
        a refit.
    draws : int
        Noise vectors drawn where alpha is given.
    seed : int
        Seed of the draws.

    Notes
    -----
    The path is solved down to the level chosen and no further. Cost: that, and one product with A^H for
    every draw (100, or 20 for operators, where alpha is None).

    References
    ----------
    .. [1] A. Belloni, V. Chernozhukov, L. Wang, Square-root lasso: pivotal recovery of sparse signals via
       conic programming, Biometrika 98 (2011) 791-806, doi:10.1093/biomet/asr043.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> rng = np.random.default_rng(0)
    >>> A = rng.standard_normal((60, 30))
    >>> b = 2 * A[:, 4] + rng.standard_normal(60)
    >>> si.solve(A, b, si.L1(), select=si.Pivotal(alpha=0.05)).support
    array([4])
    """

    alpha: float | None = dataclasses.field(default=None, kw_only=True)
    draws: int = dataclasses.field(default=300, kw_only=True)
    seed: int = dataclasses.field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        if self.alpha is not None:
            validation.fraction(self.alpha, "alpha")
        validation.count(self.draws, "draws", least=10)
        validation.count(self.seed, "seed")

    def accept(self, penalty: Leveled, solver: Any = "auto") -> None:
        """Refuse L2 and penalties whose level is not one of the modulus."""
        _refuse_ridge(repr(self), penalty)
        if not isinstance(penalty, (L1, ElasticNet, GroupL1)):
            raise TypeError(
                f"select is {self!r}, which holds for L1, ElasticNet and GroupL1, not for "
                f"{type(penalty).__name__}, whose level is no multiple of the size of the noise: "
                "use QuantileUniversal"
            )

    def read(self, trail: Trail) -> Reading:
        """Return the choice."""
        if self.alpha is None:
            share = in_words(pivotal_share(trail.problem))
            q, name = pivotal_quantile(trail), f"{share} the median level"
        else:
            found = null_levels(trail.at_level(1.0), self.draws, rng=self.seed)
            q, name = float(np.quantile(found, 1.0 - self.alpha)), f"the {1.0 - self.alpha:g} quantile"
        level = pivotal_level(trail, q)
        seen = [v for v in trail.solved if v.lam >= level.lam]
        sizes = np.array([q * math.sqrt(squared(trail.problem.project(v.r))) for v in seen])
        met = bool(sizes.size and level.lam <= sizes[-1])
        rule = f"pivotal: {name} that noise of the residual's size would reach"
        return Reading(level.lam, rule, sizes, not met, not met)


@dataclass(frozen=True, eq=False, repr=False)
class _Universal(Selector):
    """What the rules share that name a level without solving for any."""

    ridge_levels = True  # so that L2 is refused in words of its own
    sigma: float | None = dataclasses.field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.sigma is not None:
            validation.positive(self.sigma, "sigma")

    def accept(self, penalty: Leveled, solver: Any = "auto") -> None:
        """Refuse L2, and penalties of several levels."""
        _refuse_ridge(repr(self), penalty)
        if not isinstance(penalty, (L0, L1, ElasticNet, GroupL1)):
            raise TypeError(
                f"select is {self!r}, which is known for L0, L1, ElasticNet and GroupL1, not for "
                f"{type(penalty).__name__}"
            )

    def _sigma(self, task: Task) -> tuple[float, str]:
        """Return sigma in working units and how it was come by."""
        unit = task.problem.units.b_exponent
        if self.sigma is not None:
            return math.ldexp(self.sigma, -unit), f"sigma = {self.sigma:.4g}"
        if task.trail is not None:
            sigma = sigma_of(task.trail)
        elif task.problem.scale == 0.0 or task.problem.n == 0:
            sigma = 0.0
        else:
            penalty = task.penalty
            if isinstance(penalty, L0):
                levels = penalty.levels(task.problem.n)
                charges = np.where(np.isfinite(levels) & (levels > 0), 1.0, levels)
                penalty = L1(weights=charges, nonnegative=penalty.nonnegative)
            sigma = math.ldexp(pivotal(task.problem, penalty, task.deadline)[1], -unit)
        return sigma, f"sigma = {math.ldexp(sigma, unit):.4g} (estimated)"

    def _selection(self, task: Task, lam: float, rule: str, sigma: float, before: int) -> Selection:
        if not lam > 0.0:
            lam, rule = float(task.lams[0]), rule + " (zero: nothing to choose by, the largest level taken)"
        spent = task.problem.operator.products.total - before
        said = math.ldexp(sigma, task.problem.units.b_exponent)
        return Selection(lam, rule, said, np.array([lam]), np.zeros(1), spent)


@dataclass(frozen=True, eq=False, repr=False)
class Universal(_Universal):
    """Take the universal level, above which noise hardly ever reaches: sigma ||a_j|| sqrt(2 log n) [1]_.

    The largest of sigma ||a_j|| c / w_j over the coefficients with c = sqrt(2 log n) for real and
    sqrt(log n) for complex data, divided by l1_ratio for the elastic net; for L0 sigma^2 c^2 / 2 over the
    least weight; for groups sigma ||A_g||_F (1 + sqrt(2 log K) / sqrt(size)) / w_g, a bound.

    Parameters
    ----------
    sigma : float, optional
        Standard deviation of the noise; None: from a fit at the pivotal level.

    Notes
    -----
    For the support, not for prediction: the level is about twice the one that predicts best, and the
    solution wants a refit. Columns that resemble one another make it needlessly large; `QuantileUniversal`
    takes them into account. Cost: column norms, and the fit where sigma is None.

    References
    ----------
    .. [1] D. Donoho, I. Johnstone, Ideal spatial adaptation by wavelet shrinkage, Biometrika 81 (1994)
       425-455, doi:10.1093/biomet/81.3.425.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> b = np.array([9.0, 0.5, -0.3, 0.1])
    >>> result = si.solve(np.eye(4), b, si.L1(), select=si.Universal(sigma=1.0))
    >>> f"{result.lam:.4f}"  # sqrt(2 log 4)
    '1.6651'
    """

    def choose(self, task: Task) -> Selection:
        """Return the level."""
        before = task.problem.operator.products.total
        sigma, said = self._sigma(task)
        bound = task.problem.penalty
        norms = task.problem.column_norms
        complex_data = task.problem.dtype.kind == "c"
        if isinstance(bound, Grouped):
            levels, squares = bound.lam, np.add.reduceat(norms[bound.order] ** 2, bound.starts[:-1])
            live = (levels > 0) & np.isfinite(levels)
            sizes = np.diff(bound.starts)
            c = math.sqrt((1.0 if complex_data else 2.0) * math.log(max(int(live.sum()), 2)))
            reach = np.sqrt(squares)[live] * (1.0 + c / np.sqrt(sizes[live])) / levels[live]
            lam = sigma * float(reach.max(initial=0.0))
        else:
            levels = bound.l0 if isinstance(task.penalty, L0) else bound.l1
            live = (levels > 0) & np.isfinite(levels)
            square = (1.0 if complex_data else 2.0) * math.log(max(int(live.sum()), 2))
            if isinstance(task.penalty, L0):
                lam = sigma**2 * square / 2.0 / float(levels[live].min(initial=math.inf))
            else:
                lam = sigma * math.sqrt(square) * float((norms[live] / levels[live]).max(initial=0.0))
        return self._selection(task, lam, f"universal level, {said}", sigma, before)


@dataclass(frozen=True, eq=False, repr=False)
class QuantileUniversal(_Universal):
    """Take the level at which noise alone gives x = 0 with probability 1 - alpha [1]_.

    The quantile of lam_max(A, e) over noise e of standard deviation sigma, off the span of the unpenalised
    columns: correlated columns, weights, groups, signs and complex data are accounted for.

    Parameters
    ----------
    alpha : float
        Probability that noise alone gives a non-zero coefficient, in (0, 1).
    sigma : float, optional
        Standard deviation of the noise; None: from a fit at the pivotal level.
    draws : int
        Noise vectors drawn.
    seed : int
        Seed of the draws.

    Notes
    -----
    For the support, not for prediction; the solution wants a refit. Cost: ``draws`` products with A^H.

    References
    ----------
    .. [1] C. Giacobino, S. Sardy, J. Diaz-Rodriguez, N. Hengartner, Quantile universal threshold, Electron.
       J. Stat. 11 (2017) 4701-4722, doi:10.1214/17-EJS1366.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> rng = np.random.default_rng(0)
    >>> A = rng.standard_normal((60, 30))
    >>> b = 2 * A[:, 4] + rng.standard_normal(60)
    >>> si.solve(A, b, si.L1(), select=si.QuantileUniversal(sigma=1.0)).support
    array([4])
    """

    alpha: float = 0.05
    draws: int = dataclasses.field(default=300, kw_only=True)
    seed: int = dataclasses.field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.fraction(self.alpha, "alpha")
        validation.count(self.draws, "draws", least=10)
        validation.count(self.seed, "seed")

    def choose(self, task: Task) -> Selection:
        """Return the level."""
        before = task.problem.operator.products.total
        sigma, said = self._sigma(task)
        found = null_levels(task.problem, self.draws, sigma, self.seed) if sigma > 0.0 else np.zeros(1)
        lam = float(np.quantile(found, 1.0 - self.alpha))
        rule = f"quantile universal level, alpha = {self.alpha:g}, {said}"
        return self._selection(task, lam, rule, sigma, before)


@dataclass(frozen=True, eq=False, repr=False)
class TargetSparsity(PathRule):
    """Choose the smallest level, on the way down, before more than k coefficients are non-zero.

    Parameters
    ----------
    k : int
        How many penalised coefficients (groups for GroupL1) may be non-zero.

    Notes
    -----
    Once a level has more than k, the gap to the one before is halved until a level has exactly k, or the
    gap is below a part in ten million (two coefficients can enter together). The path is solved no further
    than needed. ``at_edge`` says that the last level still had fewer than k.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> b = np.array([9.0, 5.0, -3.0, 0.1])
    >>> si.solve(np.eye(4), b, si.L1(), select=si.TargetSparsity(2)).support
    array([0, 1])
    """

    k: int

    def __post_init__(self) -> None:
        validation.count(self.k, "k")

    def accept(self, penalty: Leveled, solver: Any = "auto") -> None:
        """Refuse L2, whose solutions have no zeros."""
        if isinstance(penalty, L2):
            raise TypeError(f"select is {self!r}, but the solutions of L2 have no zeros: use L1 or L0")

    def read(self, trail: Trail) -> Reading:
        """Return the choice."""
        counts: list[int] = []
        last = None
        for level in trail:
            counts.append(self._count(trail, level.x))
            if counts[-1] > self.k:
                break
            last = level
        criterion = np.array(counts, dtype=float)
        rule = f"at most {self.k} non-zero " + ("groups" if self._grouped(trail) else "coefficients")
        if last is None:  # even the largest level has more
            first = trail.level(0)
            assert first is not None
            return Reading(first.lam, f"{rule} (the largest level has {counts[0]})", criterion, True)
        if counts[-1] <= self.k:
            return Reading(last.lam, rule, criterion, counts[-1] < self.k, counts[-1] < self.k)
        low = float(trail.lams[len(counts) - 1])
        for _ in range(_HALVINGS):
            reached = self._count(trail, last.x)
            if reached == self.k or last.lam - low <= 1e-7 * last.lam or not low > 0.0 or trail.late:
                break
            middle = trail.at(math.sqrt(last.lam) * math.sqrt(low))
            if self._count(trail, middle.x) > self.k:
                low = middle.lam
            else:
                last = middle
        return Reading(last.lam, f"{rule}: {self._count(trail, last.x)}", criterion)

    def _grouped(self, trail: Trail) -> bool:
        return isinstance(trail.problem.penalty, Grouped)

    def _count(self, trail: Trail, x: Array) -> int:
        bound = trail.problem.penalty
        if isinstance(bound, Grouped):
            return int(((bound.norms(x) > 0) & (bound.lam > 0)).sum())
        live = x != 0
        live[trail.problem.unpenalised] = False
        return int(live.sum())


@dataclass(frozen=True, eq=False, repr=False)
class TargetMisfit(PathRule):
    """Cool lambda until ||A x - b||^2 <= chi2 m sigma^2, and stop there.

    The rule of geophysical inversion: start at a lambda that is too large, lower it, each solution starting
    from the one before, until the data are explained as well as their errors allow.

    Parameters
    ----------
    chi2 : float
        Misfit per datum that is aimed at.
    sigma : float, optional
        Standard deviation of the noise; for complex data sigma^2 = E|e|^2. None: estimated as for `SURE`;
        for data with errors of different size divide the rows of A and b by them and pass sigma=1.

    Notes
    -----
    One path down to the level chosen and no further. Explains a little of the noise: the misfit of the
    truth exceeds the target half of the time. ``at_edge`` says that no level reached the target.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> rng = np.random.default_rng(0)
    >>> A = rng.standard_normal((60, 30))
    >>> b = 2 * A[:, 4] + rng.standard_normal(60)
    >>> result = si.solve(A, b, si.L1(), select=si.TargetMisfit(sigma=1.0))
    >>> bool(np.mean((A @ result.x - b) ** 2) <= 1.0)
    True
    """

    chi2: float = 1.0
    sigma: float | None = dataclasses.field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        validation.positive(self.chi2, "chi2")
        if self.sigma is not None:
            validation.positive(self.sigma, "sigma")

    def read(self, trail: Trail) -> Reading:
        """Return the choice."""
        unit, m = trail.problem.units.b_exponent, trail.problem.m
        sigma = sigma_of(trail) if self.sigma is None else math.ldexp(self.sigma, -unit)
        values, last = [], None
        for level in trail:
            last = level
            values.append(level.rss / m / sigma**2 if sigma > 0.0 else math.inf)
            if values[-1] <= self.chi2:
                break
        assert last is not None
        met = values[-1] <= self.chi2
        said = math.ldexp(sigma, unit)
        rule = f"misfit {values[-1]:.4g} per datum, aim {self.chi2:g}, sigma = {said:.4g}"
        rule += " (estimated)" if self.sigma is None else ""
        return Reading(last.lam, rule, np.array(values), not met, not met, said)

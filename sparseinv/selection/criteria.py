"""Rules that minimise an estimate of the prediction error over one stored path."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.operators.matrix import ldexp
from sparseinv.penalties.base import Leveled
from sparseinv.penalties.group import GroupL1
from sparseinv.penalties.separable import L0, L1, L2, ElasticNet
from sparseinv.problem import Problem
from sparseinv.selection.curvature import monte_carlo
from sparseinv.selection.noise import sigma_of
from sparseinv.selection.trail import PathRule, Reading, Trail, least

Array = np.ndarray[Any, Any]

# of the data: with more parameters the residual, and with it log ||r||^2, falls without bound, noise or not
_LARGEST_SHARE = 0.5
_CRITERIA = ("aic", "aicc", "bic", "ebic")


def require_known_freedom(rule: str, penalty: Leveled) -> None:
    """Refuse a penalty whose degrees of freedom are not known."""
    if not isinstance(penalty, (L0, L1, L2, ElasticNet, GroupL1)):
        raise TypeError(
            f"select is {rule}, which needs degrees of freedom; they are known for L0, L1, L2, "
            f"ElasticNet and GroupL1, not for {type(penalty).__name__}: use CrossValidation or HoldOut"
        )


@dataclass(frozen=True, eq=False, repr=False)
class SURE(PathRule):
    """Minimise Stein's unbiased estimate of the risk ||A (x - x_true)||^2.

    SURE(lam) = ||r||^2 - m sigma^2 + 2 sigma^2 df, with the exact degrees of freedom [1]_ or, with
    probes, their Monte-Carlo estimate <d, A x(b + eps d) - A x(b)> / eps, the same d for all levels,
    eps = 2 sigma m^(-0.3) [2]_.

    Parameters
    ----------
    sigma : float, optional
        Standard deviation of the noise (white; whiten A and b otherwise); for complex data sigma^2 = E|e|^2.
        None: estimated, see Notes.
    probes : int
        0: exact degrees of freedom (of operators without cheap columns: Hutchinson's estimate). Otherwise
        the number of perturbed paths that are solved in addition.
    seed : int
        Seed of the probes.

    Notes
    -----
    sigma=None takes the residual of the first level at or below the pivotal one; for L2 that of the level
    with the least generalised cross-validation; for L0 that of a pivotal L1 fit. The path ends where df
    reaches nine tenths of the rows. For L0 the estimate is not unbiased: the search for the support is not
    counted.
    Cost: one path and its degrees of freedom; with probes as many paths more.

    References
    ----------
    .. [1] C. Stein, Estimation of the mean of a multivariate normal distribution, Ann. Stat. 9 (1981)
       1135-1151, doi:10.1214/aos/1176345632.
    .. [2] C.-A. Deledalle, S. Vaiter, J. Fadili, G. Peyre, Stein Unbiased GrAdient estimator of the Risk
       (SUGAR) for multiple parameter selection, SIAM J. Imaging Sci. 7 (2014) 2448-2487,
       doi:10.1137/140968045.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> rng = np.random.default_rng(0)
    >>> A = rng.standard_normal((60, 30))
    >>> b = 2 * A[:, 4] + rng.standard_normal(60)
    >>> result = si.solve(A, b, si.L1(), select=si.SURE(sigma=1.0))
    >>> result.selection.at_edge, 4 in result.support
    (False, True)
    """

    sigma: float | None = dataclasses.field(default=None, kw_only=True)
    probes: int = dataclasses.field(default=0, kw_only=True)
    seed: int = dataclasses.field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        if self.sigma is not None:
            validation.positive(self.sigma, "sigma")
        validation.count(self.probes, "probes")
        validation.count(self.seed, "seed")

    def accept(self, penalty: Leveled, solver: Any = "auto") -> None:
        """Refuse penalties without known degrees of freedom, unless they are probed."""
        if not (self.probes and self.sigma is not None):
            require_known_freedom(repr(self), penalty)

    def read(self, trail: Trail) -> Reading:
        """Return the choice."""
        unit, m = trail.problem.units.b_exponent, trail.problem.m
        sigma = sigma_of(trail) if self.sigma is None else math.ldexp(self.sigma, -unit)
        values = []
        if self.probes:
            slopes = self._probed(trail, sigma)
            values = [
                level.rss - m * sigma**2 + 2.0 * sigma**2 * df
                for level, df in zip(trail, slopes, strict=False)
            ]
        else:
            for level, df in trail.unsaturated():
                values.append(level.rss - m * sigma**2 + 2.0 * sigma**2 * df)
        how = f"{self.probes} Monte-Carlo probes" if self.probes else "exact degrees of freedom"
        said = math.ldexp(sigma, unit)
        rule = f"Stein's unbiased risk estimate, sigma = {said:.4g}"
        rule += " (estimated)" if self.sigma is None else ""
        rule += f", {how}" if self.probes else ""
        return least(trail, ldexp(np.array(values), 2 * unit), rule, sigma=said)

    def _probed(self, trail: Trail, sigma: float) -> Array:
        """Return Monte-Carlo estimates of the degrees of freedom for all levels."""
        problem, rng = trail.problem, np.random.default_rng(self.seed)
        eps = 2.0 * sigma / problem.m**0.3
        task, total = trail.task, np.zeros(0)
        base = [level.r for level in trail]
        for probe in range(self.probes):
            key = ("probe", self.seed, probe, sigma, trail.lams.size)
            d: Array = rng.standard_normal(problem.m)
            if problem.dtype.kind == "c":
                d = d + 1j * rng.standard_normal(problem.m)
            if key not in trail.kept:
                b = ldexp(problem.b + eps * d, problem.units.b_exponent)
                bound = task.penalty.at(1.0 if task.penalty.lam is None else task.penalty.lam)
                other = problem.with_data(b, bound.bind(problem.n))
                moved = Trail(dataclasses.replace(task, trail=None), other)
                moved.lams = trail.lams
                shift = moved.problem.units.b_exponent - problem.units.b_exponent
                slopes = [
                    # r = A x - b: what the data moved by is added again
                    monte_carlo(ldexp(level.r, shift) + eps * d, r, d, eps)
                    for level, r in zip(moved, base, strict=False)
                ]
                spent = moved.problem.operator.products
                problem.operator.charge(spent.forward, spent.adjoint)
                trail.kept[key] = np.array(slopes)
            slopes = trail.kept[key]
            total = slopes if probe == 0 else total[: slopes.size] + slopes[: total.size]
        return total / self.probes


@dataclass(frozen=True, eq=False, repr=False)
class GCV(PathRule):
    """Minimise generalised cross-validation, V(lam) = (||r||^2 / m) / (1 - df / m)^2 [1]_.

    Parameters
    ----------
    robust : bool
        Multiply by gamma + (1 - gamma) trace(H^2) / m, H the derivative of A x with respect to b, which
        keeps the rule from choosing much too small a level by chance [2]_.
    gamma : float
        Weight of plain GCV in the robust rule, in (0, 1).

    Notes
    -----
    No sigma is needed; the noise must be white. The path ends where df reaches nine tenths of the rows,
    beyond which V means nothing. Cost: one path and its degrees of freedom; robust: and the factor of H.

    References
    ----------
    .. [1] G. Golub, M. Heath, G. Wahba, Generalized cross-validation as a method for choosing a good ridge
       parameter, Technometrics 21 (1979) 215-223, doi:10.1080/00401706.1979.10489751.
    .. [2] M. Lukas, Robust generalized cross-validation for choosing the regularization parameter, Inverse
       Problems 22 (2006) 1883-1902, doi:10.1088/0266-5611/22/5/021.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> rng = np.random.default_rng(0)
    >>> A = rng.standard_normal((60, 30))
    >>> b = 2 * A[:, 4] + rng.standard_normal(60)
    >>> si.solve(A, b, si.L1(), select=si.GCV()).selection.at_edge
    False
    """

    robust: bool = dataclasses.field(default=False, kw_only=True)
    gamma: float = dataclasses.field(default=0.9, kw_only=True)

    def __post_init__(self) -> None:
        validation.fraction(self.gamma, "gamma")

    def accept(self, penalty: Leveled, solver: Any = "auto") -> None:
        """Refuse penalties without known degrees of freedom."""
        require_known_freedom(repr(self), penalty)

    def read(self, trail: Trail) -> Reading:
        """Return the choice."""
        m, values = trail.problem.m, []
        for level, df in trail.unsaturated():
            value = level.rss / m / (1.0 - df / m) ** 2
            if self.robust:
                value *= self.gamma + (1.0 - self.gamma) * trail.hat(level).square / m
            values.append(value)
        rule = "generalised cross-validation"
        rule += f", robust with gamma = {self.gamma:g}" if self.robust else ""
        return least(trail, ldexp(np.array(values), 2 * trail.problem.units.b_exponent), rule)


@dataclass(frozen=True, eq=False, repr=False)
class LeaveOneOut(PathRule):
    """Minimise the leave-one-out error, sum_i |r_i / (1 - h_i)|^2 / m, h_i the leverages.

    Exact for L2 [1]_; for L1, elastic net, groups and complex data the approximate leave-one-out formula
    with the leverages of the coefficients that move [2]_.

    Notes
    -----
    For complex data with a kink at zero h_i is a 2 x 2 block over real and imaginary parts. Rows must be
    exchangeable: for repeated or correlated rows use CrossValidation(groups=...). Cost: one path and at
    every level a factorisation of order |S| and m |S|^2 multiplications; the columns of S in memory.

    References
    ----------
    .. [1] D. Allen, The relationship between variable selection and data augmentation and a method for
       prediction, Technometrics 16 (1974) 125-127, doi:10.1080/00401706.1974.10489157.
    .. [2] K. Rahnama Rad, A. Maleki, A scalable estimate of the out-of-sample prediction error via
       approximate leave-one-out cross-validation, J. R. Stat. Soc. B 82 (2020) 965-996,
       doi:10.1111/rssb.12374.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> rng = np.random.default_rng(0)
    >>> A = rng.standard_normal((60, 30))
    >>> b = 2 * A[:, 4] + rng.standard_normal(60)
    >>> si.solve(A, b, si.L1(), select=si.LeaveOneOut()).selection.rule
    'approximate leave-one-out cross-validation'
    """

    def accept(self, penalty: Leveled, solver: Any = "auto") -> None:
        """Refuse penalties without known leverages."""
        require_known_freedom(repr(self), penalty)

    def read(self, trail: Trail) -> Reading:
        """Return the choice."""
        values, errors = [], []
        for level, _ in trail.unsaturated():
            squares = np.abs(trail.hat(level).left_out(level.r)) ** 2
            values.append(float(squares.mean()))
            errors.append(float(squares.std(ddof=1)) / math.sqrt(squares.size) if squares.size > 1 else 0.0)
        exact = isinstance(trail.task.penalty, L2)
        rule = ("exact" if exact else "approximate") + " leave-one-out cross-validation"
        unit = 2 * trail.problem.units.b_exponent
        spread = ldexp(np.array(errors), unit)
        return least(trail, ldexp(np.array(values), unit), rule, standard_error=spread)


@dataclass(frozen=True, eq=False, repr=False)
class InformationCriterion(PathRule):
    """Minimise an information criterion over the path.

    With N data (2 m for complex b), D parameters (twice as many for complex x) and, unless sigma is given,
    the likelihood term N log(||r||^2 / N): "aic" adds 2 D, "aicc" 2 D N / (N - D - 1), "bic" D log N,
    "ebic" D log N + 2 gamma log binomial(n, k) for k of n coefficients [1]_.

    Parameters
    ----------
    kind : str
        "aic", "aicc", "bic" or "ebic".
    refit : bool
        Judge the least-squares fit on the support instead of the penalised solution, whose shrinkage the
        last two criteria mistake for misfit. Not for L2, which has no support.
    sigma : float, optional
        Standard deviation of the noise; the likelihood term is then ||r||^2 / sigma^2 (twice that for
        complex data).
    gamma : float
        Of "ebic", in [0, 1].

    Notes
    -----
    Only the choice is made on the refit; the solution returned is the penalised one. The path ends where
    the degrees of freedom reach nine tenths of the rows; unless sigma is given, fits with half as many
    parameters as data or more are left out, because the estimated likelihood grows there without bound.

    References
    ----------
    .. [1] J. Chen, Z. Chen, Extended Bayesian information criteria for model selection with large model
       spaces, Biometrika 95 (2008) 759-771, doi:10.1093/biomet/asn034.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> rng = np.random.default_rng(0)
    >>> A = rng.standard_normal((60, 30))
    >>> b = 2 * A[:, 4] + rng.standard_normal(60)
    >>> si.solve(A, b, si.L1(), select=si.InformationCriterion("ebic")).support
    array([4])
    """

    kind: str = "bic"
    refit: bool = dataclasses.field(default=True, kw_only=True)
    sigma: float | None = dataclasses.field(default=None, kw_only=True)
    gamma: float = dataclasses.field(default=1.0, kw_only=True)

    def __post_init__(self) -> None:
        if self.kind not in _CRITERIA:
            raise ValueError(f"kind is {self.kind!r}, but one of {', '.join(map(repr, _CRITERIA))} is needed")
        if self.sigma is not None:
            validation.positive(self.sigma, "sigma")
        gamma = validation.real_number(self.gamma, "gamma")
        if not 0.0 <= gamma <= 1.0:
            raise ValueError(f"gamma is {gamma}, but it must lie in [0, 1]")

    def accept(self, penalty: Leveled, solver: Any = "auto") -> None:
        """Refuse penalties without known degrees of freedom."""
        require_known_freedom(repr(self), penalty)

    def read(self, trail: Trail) -> Reading:
        """Return the choice."""
        problem, refit = trail.problem, self.refit and not isinstance(trail.task.penalty, L2)
        parts = 2 if problem.dtype.kind == "c" else 1
        N = parts * problem.m
        floor = 1e-24 * 2.0 * problem.scale
        fits: dict[bytes, tuple[float, float]] = trail.kept.setdefault("refits", {})
        values = []
        for level, df in trail.unsaturated():
            rss = level.rss
            if refit:
                support = trail.moving(level)
                key = support.tobytes()
                if key not in fits:
                    fits[key] = trail.refit(support, level)
                df, rss = fits[key]
            k = trail.moving(level).size
            values.append(self._value(max(rss, floor), parts * df, N, k, problem))
        name = {"aic": "AIC", "aicc": "AICc", "bic": "BIC", "ebic": "EBIC"}[self.kind]
        rule = f"{name} of the {'refit' if refit else 'penalised solution'}"
        return least(trail, np.array(values), rule, sigma=self.sigma)

    def _value(self, rss: float, D: float, N: int, k: int, problem: Problem) -> float:
        unit, parts = problem.units.b_exponent, 2 if problem.dtype.kind == "c" else 1
        if D >= _LARGEST_SHARE * N and self.sigma is None:
            return math.inf
        if self.sigma is None:
            misfit = N * (math.log(rss / N) + 2 * unit * math.log(2.0)) if rss > 0.0 else -math.inf
        else:
            misfit = parts * rss / math.ldexp(self.sigma, -unit) ** 2
        if self.kind == "aic":
            return misfit + 2.0 * D
        if self.kind == "aicc":
            return misfit + 2.0 * D * N / (N - D - 1.0) if N - D > 1.0 else math.inf
        value = misfit + D * math.log(N)
        if self.kind == "ebic":
            n = problem.n
            choices = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
            value += 2.0 * self.gamma * choices
        return value

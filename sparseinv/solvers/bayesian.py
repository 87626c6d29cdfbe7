"""Sparse Bayesian learning: one variance per coefficient, learned from the marginal likelihood."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.penalties.separable import Separable
from sparseinv.posterior import Posterior
from sparseinv.problem import Problem
from sparseinv.solvers.base import Outcome, refuse, start_point
from sparseinv.solvers.covariance_free import CovarianceFree
from sparseinv.solvers.discrete_answer import Smoothed, SmoothedState
from sparseinv.solvers.evidence import Annealed, Evidence, Greedy, em_update, mm_update
from sparseinv.solvers.least_squares import is_direct, mean_square
from sparseinv.stopping import Budget

Array = np.ndarray[Any, Any]

_METHODS = ("auto", "mm", "em", "greedy", "probing")
_WORK = 1e8  # multiplications after which a step returns


@dataclass(slots=True, eq=False, kw_only=True)
class SparseBayesianState(SmoothedState):
    """Carry the method that learns, those that come after it, and the best posterior so far."""

    evidence: Evidence | None  # None where columns are not in memory
    learner: Any  # Annealed, Greedy or CovarianceFree
    waiting: list[str]  # methods still to be run, each from a flat start
    target: float  # noise variance, working units
    posterior: Posterior | None = None  # working units
    supports: list[Array]  # masks that the methods found significant


@dataclass(frozen=True, repr=False)
class SparseBayesian(Smoothed):
    """Learn a variance for every coefficient from the data (automatic relevance determination).

    The model is b = A x + e with x_j ~ N(0, gamma_j) and e ~ N(0, sigma^2); gamma maximises

        log p(b | gamma) = -1/2 (m log 2 pi + log |M| + b^H M^{-1} b),   M = A diag(gamma) A^H + sigma^2 I

    (twice that with pi for complex data). Most gamma_j end at zero. ``result.posterior`` holds what was
    learned: mean, variance, lam_j = sigma^2 / gamma_j, sigma. ``result.x`` is the L0 answer reached from it.

    Parameters
    ----------
    method : {"auto", "mm", "em", "greedy", "probing"}
        "mm": majorisation-minimisation [1]_, gamma_j = |mean_j| / s_j^(1/2) with s_j = a_j^H M^{-1} a_j, best
        for coefficients of equal modulus. "em": gamma_j = |mean_j|^2 + variance_j, best for moduli that
        differ. "greedy": one gamma_j at a time from an empty model [2]_, O(m n) each. "probing": em with
        conjugate gradients and random signs in place of a covariance [3]_. "auto": mm, then em, each from a
        flat start, and the higher evidence is kept; probing for operators.
    sigma : float, optional
        Standard deviation of the noise, in the units of b, >= 0. None: the one for which the level is the
        default level of L0, lam = sigma^2 log n (the median of the levels); L0() estimates it from the data.
    learn_sigma : bool
        Learn sigma as well, starting from 0.1 times the size of b. For m well above n; with m < n the
        evidence has its maximum at sigma = 0, whatever the data. Not for "greedy".
    decay : float
        Factor by which the noise variance of mm and em falls from one iteration to the next until it is
        sigma^2, in (0, 1).
    probes : int
        Sign vectors for the variances of "probing".
    polish : Solver or None
        Solver that descends the L0 objective in the end; None: chosen like `solve` would.

    Notes
    -----
    The penalty must be L0: lam = 0 gives a coefficient a flat prior, lam = inf excludes it, levels in
    between enter through sigma (above) and in the end, when the answer is thresholded, refitted, relieved of
    what does not pay, polished and judged as one of the L0 problem. The certificate is about that objective
    and says nothing about the evidence, which has local maxima. For the posterior mean with a certificate of
    its own solve with ``L2(result.posterior.lam)``. At given sigma neither mm nor em ever lowers the
    evidence; they work at larger noise first, against poor local maxima. No noise means a sigma of 1e-4 of
    the size of b (1e-3 for probing). Cost: 2 m^2 n + m^3 multiplications per iteration (n in place of m after
    a QR factorisation where m > n), at most 500 iterations; storage m^2 + 2 m n numbers. Probing: at most
    100 + 30 probes pairs of products per iteration, at most 60 iterations, and in the end a system each for
    the variances of the 32 largest coefficients; storage of (probes + 10) n numbers; log_evidence is nan.

    References
    ----------
    .. [1] D. Wipf, S. Nagarajan, Iterative reweighted l1 and l2 methods for finding sparse solutions, IEEE J.
       Sel. Top. Signal Process. 4 (2010) 317-329, doi:10.1109/JSTSP.2010.2042413.
    .. [2] M. Tipping, A. Faul, Fast marginal likelihood maximisation for sparse Bayesian models, Proc.
       Artificial Intelligence and Statistics, 2003.
    .. [3] A. Lin, A. Song, B. Bilgic, D. Ba, Covariance-free sparse Bayesian learning, IEEE Trans. Signal
       Process. 70 (2022) 3818-3831, doi:10.1109/TSP.2022.3186185.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> A = np.random.default_rng(0).standard_normal((20, 40))
    >>> result = si.solve(A, A[:, 3] - 2 * A[:, 11], si.L0(1e-6), solver=si.SparseBayesian())
    >>> result.support, np.flatnonzero(np.isfinite(result.posterior.lam))
    (array([ 3, 11]), array([ 3, 11]))
    """

    method: str = "auto"
    sigma: float | None = None
    learn_sigma: bool = False
    decay: float = 0.9
    probes: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.method not in _METHODS:
            raise ValueError(f"method is {self.method!r}, but one of {', '.join(_METHODS)} is needed")
        if self.sigma is not None and not 0 <= validation.real_number(self.sigma, "sigma") < math.inf:
            raise ValueError(f"sigma is {self.sigma}, but a finite number >= 0 is needed")
        if not isinstance(self.learn_sigma, (bool, np.bool_)):
            raise TypeError(f"learn_sigma is {self.learn_sigma!r}, but True or False is needed")
        if self.learn_sigma and self.method == "greedy":
            raise ValueError(
                "learn_sigma is for the methods mm, em and probing; greedy works at a given sigma"
            )
        if self.learn_sigma and self.sigma is not None:
            raise ValueError("sigma and learn_sigma=True exclude each other; leave sigma out to learn it")
        validation.fraction(self.decay, "decay")
        validation.count(self.probes, "probes", least=1)

    def check(self, problem: Problem) -> None:
        """Refuse everything but an L0 penalty without a sign constraint."""
        penalty = problem.penalty
        if not isinstance(penalty, Separable) or penalty.convex:
            raise refuse(self, "needs an L0 penalty", "WorkingSet, IRLS, Ridge")
        if penalty.nonnegative:
            raise refuse(self, "does not handle nonnegative=True", "IRL1, CoordinateDescent, ISTA")
        if self.method in ("mm", "em", "greedy") and not problem.explicit:
            reason = f"with method={self.method!r} needs columns of A in memory"
            raise refuse(self, reason, "method='auto', IRL1, IRLS")
        self._check_polish(problem)

    def start(self, problem: Problem, x0: Array | None) -> SparseBayesianState:
        """Return the state at zero with a flat prior; x0 is a candidate in the end, no start."""
        problem.operator.phase = "setup"
        direct = self.method in ("mm", "em", "greedy") or (self.method == "auto" and is_direct(problem))
        chosen = ["mm", "em"] if direct else ["probing"]
        waiting = chosen if self.method == "auto" else [self.method]
        evidence = Evidence(problem) if direct else None
        if evidence is not None:
            problem.operator.charge(forward=1)
        x = start_point(problem, None)
        state = SparseBayesianState(
            x, -problem.b, settled=False, given=None if x0 is None else start_point(problem, x0),
            evidence=evidence, learner=None, waiting=waiting, target=self._noise(problem), supports=[],
        )  # fmt: skip
        state.learner = self._learner(problem, state)
        return state

    def _noise(self, problem: Problem) -> float:
        """Return the variance of the noise in working units, 0 where it is to be learned."""
        if self.learn_sigma:
            return 0.0
        if self.sigma is not None:
            return float(np.ldexp(self.sigma, -problem.units.b_exponent)) ** 2
        charges = problem.penalty.l0[(problem.penalty.l0 > 0) & ~problem.penalty.excluded]
        return float(np.median(charges)) / math.log(max(charges.size, 3))

    def _learner(self, problem: Problem, state: SparseBayesianState) -> Any:
        method = state.waiting.pop(0)
        if state.evidence is None:
            average = mean_square(problem)
            return CovarianceFree(problem, state.target, self.probes, average, self.learn_sigma)
        if method == "greedy":
            return Greedy(state.evidence, state.target)
        update = mm_update if method == "mm" else em_update
        return Annealed(state.evidence, update, state.target, self.decay, self.learn_sigma)

    def step(self, problem: Problem, state: SparseBayesianState, budget: Budget) -> Outcome:
        """Take iterations of the method at work; go over to the next one, or polish, once it has ended."""
        if state.polishing:
            return self._polish_step(problem, state, budget)
        learner, done = state.learner, False
        for _ in range(max(1, min(int(_WORK / (learner.work + 1.0)), 50, int(min(budget.iterations, 50))))):
            done = learner.advance()
            state.n_iter += 1
            if state.evidence is not None:
                problem.operator.charge(forward=1, adjoint=1)
            if done:
                break
        if not done:
            x = learner.x if state.evidence is None else state.evidence.mean(learner.x)
            state.x, state.r = x, problem.residual(x)
            return Outcome.MOVED
        posterior, support = _concluded(problem, state)
        state.supports.append(support)
        before = state.posterior
        if before is None or not posterior.log_evidence <= before.log_evidence:
            state.posterior = posterior
        assert state.posterior is not None
        state.x = state.posterior.mean.copy()
        state.r = problem.residual(state.x)
        if state.waiting:
            state.learner = self._learner(problem, state)
        else:
            self._begin_polish(problem, state, state.supports)
        return Outcome.MOVED


def _concluded(problem: Problem, state: SparseBayesianState) -> tuple[Posterior, Array]:
    """Return the posterior that a method has reached, and the mask of its significant coefficients.

    Significant: |q_j|^2 / s_j > 2 log n for s_j, q_j of the model without coefficient j, which under noise
    alone is the square of a standard normal variable.
    """
    learner, n = state.learner, problem.n
    loose = problem.penalty.unpenalised
    variance, lam, keep = np.zeros(n), np.full(n, np.inf), loose.copy()
    lam[loose] = 0.0
    bar = 2.0 * math.log(max(n, 3))
    with np.errstate(divide="ignore", over="ignore"):
        if state.evidence is None:
            learner.finish()
            gamma, mean = learner.gamma, learner.x
            variance = np.where(learner.free, gamma * learner.shares, 0.0)
            lam = np.where(loose, 0.0, learner.s2 / gamma)
            keep |= np.abs(mean) ** 2 > bar * np.maximum(variance, 1e-300)
            return Posterior(mean.copy(), variance, lam, math.sqrt(learner.s2), math.nan), keep
        evidence, s2 = state.evidence, learner.s2
        gamma = learner.pruned()
        fit = evidence.fit(gamma, s2)
        mean = evidence.mean(gamma * fit.u)
        lam[evidence.index] = np.where(gamma > 0, s2 / gamma, np.inf)
    left = np.maximum(1.0 - gamma * fit.s, 1e-12)
    variance[evidence.index] = gamma * left
    keep[evidence.index] = (gamma > 0) & (np.abs(fit.u) ** 2 > bar * fit.s * left)
    if loose.any():
        variance[loose] = evidence.loose_variance(gamma, s2)
    return Posterior(mean, variance, lam, math.sqrt(s2), fit.log_evidence), keep

"""Vector approximate message passing: a prior with mass at zero, learned on the way."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.penalties.separable import Separable
from sparseinv.problem import Problem, squared
from sparseinv.solvers.base import Outcome, refuse, start_point
from sparseinv.solvers.discrete_answer import Smoothed, SmoothedState
from sparseinv.solvers.evidence import Evidence
from sparseinv.stopping import Budget

Array = np.ndarray[Any, Any]

_MODULI = ("auto", "spread", "equal")
_SHARE = 0.3  # non-zeros at the start, relative to the rank of A
_SPREAD = 0.02  # share of E|x|^2 that is spread at the start where moduli are taken for equal
_UNEQUAL = 2.0  # ratio of column norms from which on columns are compared at equal norms
_RANK = 1e-10  # singular values below this, relative to the largest, count as zero
_QUIET = 1e-12  # smallest noise variance, relative to the mean of |b|^2
_EXACT = 1e-16  # variance, relative to the first one, from which on nothing is left to learn
_NONE = 0.01  # probability of a non-zero below which, for all coefficients, there is none
_STILL = 1e-6  # relative change of x at which an iteration has settled
_MOST = 300  # iterations
_WORK = 1e8  # multiplications after which a step returns


class Prior:
    """Hold x_j = 0 with probability 1 - share, else a modulus near ``centre`` with variance ``spread``.

    A non-zero is centre * s + e with s a sign (a phase, for complex data) that is equally likely everywhere
    and e normal; centre = 0 is the Bernoulli-Gaussian prior.
    """

    def __init__(self, share: float, energy: float, *, equal: bool, is_complex: bool, most: float) -> None:
        self.share, self.equal, self.is_complex, self.most = share, equal, is_complex, most
        self.centre = math.sqrt((1.0 - _SPREAD) * energy) if equal else 0.0
        self.spread = _SPREAD * energy if equal else energy
        self.least = _QUIET * energy

    def posterior(self, r: Array, v: float) -> tuple[Array, float, Array]:
        """Return (mean, average variance, probability of a non-zero) given x + noise of variance v = r.

        The parameters follow: one step of expectation-maximisation.
        """
        weight = 1.0 if self.is_complex else 0.5
        size, total = np.abs(r), self.spread + v
        turn, log_turn = self._turn(2.0 * weight * self.centre / total * size)
        odds = math.log(self.share / (1.0 - self.share)) + weight * math.log(v / total)
        fit = -weight * (size**2 + self.centre**2) / total + log_turn + weight * size**2 / v
        inside = 1.0 / (1.0 + np.exp(-np.clip(odds + fit, -700.0, 700.0)))
        keep = self.spread / total
        along = keep * size * turn + (1.0 - keep) * self.centre  # E of x along its own sign
        mean_size = keep * size + (1.0 - keep) * self.centre * turn
        square = self.spread * v / total + keep * size * mean_size + (1.0 - keep) * self.centre * along
        phase = np.divide(r, size, out=np.zeros_like(r), where=size > 0)
        mean = inside * mean_size * phase
        variance = float(np.maximum(inside * square - (inside * mean_size) ** 2, 0.0).mean())
        self._learn(inside, along, square)
        return mean, variance, inside

    def _turn(self, c: Array) -> tuple[Array, Array]:
        """Return the mean of the sign given r, relative to that of r, and the log of its normaliser."""
        if not self.equal:
            return np.zeros_like(c), np.zeros_like(c)
        if not self.is_complex:
            return np.tanh(c), np.logaddexp(c, -c) - math.log(2.0)
        from scipy.special import i0e, i1e

        zeroth = i0e(c)
        return i1e(c) / zeroth, np.log(zeroth) + c

    def _learn(self, inside: Array, along: Array, square: Array) -> None:
        many = float(inside.sum())
        self.share = float(np.clip(many / inside.size, 1e-6, self.most))
        if not many > 0.0:
            return
        if self.equal:
            self.centre = max(float(inside @ along) / many, 0.0)
        energy = float(inside @ square) / many
        about = 2.0 * self.centre * float(inside @ along) / many - self.centre**2
        self.spread = max(energy - about, self.least)


class Passing:
    """Pass means and variances between the prior and the data until they agree.

    With A = U diag(s) V^H a Gaussian message r2 of variance v2 meets the data in closed form, O(m n).
    """

    def __init__(self, evidence: Evidence, noise: float, damping: float) -> None:
        from scipy.linalg import svd

        self.evidence, self.damping = evidence, damping
        lengths = np.sqrt(evidence.squares)
        uneven = lengths.size > 0 and lengths.max() > _UNEQUAL * lengths.min()
        self.n, self.lengths = lengths.size, lengths if uneven else np.ones(lengths.size)
        u, s, vh = svd(evidence.matrix / self.lengths, full_matrices=False, check_finite=False)
        rank = int((s > _RANK * s.max(initial=0.0)).sum())
        self.rows, s = vh[:rank], s[:rank]
        self.fitted = u[:, :rank].conj().T @ evidence.b / s
        self.trust = s**2 / max(noise, _QUIET * evidence.mean_b2, np.finfo(np.float64).tiny)
        self.first = evidence.b2 / float((s**2).sum()) if s.size else 0.0
        self.begin(equal=False)

    def begin(self, *, equal: bool) -> None:
        """Forget all messages; begin with another prior."""
        share = _SHARE * self.filled
        self.prior = Prior(
            share, self.first / share, equal=equal, is_complex=self.rows.dtype.kind == "c",
            most=min(0.999, self.filled),
        )  # fmt: skip
        self.count = 0
        self.x, self.inside = np.zeros(self.n, dtype=self.rows.dtype), np.zeros(self.n)
        self.r, self.v = self._meet(self.x, self.first)

    @property
    def filled(self) -> float:
        """The rank of A relative to the number of coefficients, never zero."""
        return max(self.rows.shape[0], 1) / max(self.n, 1)

    @property
    def work(self) -> float:
        """Multiplications of an iteration."""
        return float(2 * self.rows.size + 50 * self.n)

    def _meet(self, r: Array, v: float) -> tuple[Array, float]:
        """Return what the data say about x, given x ~ N(r, v), without what the message itself said."""
        gain = self.trust * v / (1.0 + self.trust * v)
        x = r + self.rows.conj().T @ (gain * (self.fitted - self.rows @ r))
        left = float(np.clip(1.0 - gain.sum() / max(self.n, 1), 1e-12, 1.0 - 1e-12))
        return (x - left * r) / (1.0 - left), v * left / (1.0 - left)

    def advance(self) -> bool:
        """Take one iteration; tell whether the method has ended."""
        if self.n == 0 or not self.first > 0.0:
            return True
        self.count += 1
        old = self.x
        mean, variance, inside = self.prior.posterior(self.r, self.v)
        if not math.isfinite(squared(mean)):
            return True
        self.x, self.inside = mean, inside
        left = float(np.clip(variance / self.v, 1e-9, 1.0 - 1e-6))
        r, v = self._meet((mean - left * self.r) / (1.0 - left), self.v * left / (1.0 - left))
        self.r = self.damping * r + (1.0 - self.damping) * self.r
        self.v = (self.damping * math.sqrt(v) + (1.0 - self.damping) * math.sqrt(self.v)) ** 2
        still = squared(self.x - old) <= _STILL**2 * squared(self.x) or inside.max() <= _NONE
        exact = not self.v > _EXACT * self.first
        return still or exact or self.count >= _MOST

    def answer(self) -> tuple[Array, Array]:
        """Return (x, mask of the coefficients that are rather not zero), for all coefficients."""
        problem = self.evidence.problem
        keep = problem.penalty.unpenalised.copy()
        keep[self.evidence.index] = self.inside > 0.5
        return self.evidence.mean(np.where(self.inside > 0.5, self.x / self.lengths, 0.0)), keep


@dataclass(slots=True, eq=False, kw_only=True)
class MessagePassingState(SmoothedState):
    """Carry what passes messages, what is still to be tried, and what was found."""

    passing: Passing
    waiting: list[bool]  # priors still to be tried: are moduli equal?
    answers: list[tuple[Array, Array]]  # (x, mask)


@dataclass(frozen=True, repr=False)
class MessagePassing(Smoothed):
    """Estimate x under a prior with mass at zero by vector approximate message passing.

    The model is b = A x + e with e ~ N(0, sigma^2), x_j = 0 with probability 1 - share and otherwise normal,
    about zero or about a common modulus. Messages r of variance v go between the posterior of x_j given
    r_j = x_j + N(0, v), coefficient by coefficient, and the posterior given the data of x ~ N(r, v) [1]_;
    share, modulus and spread are learned by expectation-maximisation on the way [2]_.

    Parameters
    ----------
    moduli : {"auto", "spread", "equal"}
        "spread": non-zeros are normal about zero. "equal": they lie about a common modulus, which is learned.
        "auto": one after the other.
    damping : float
        Share of the new message in each iteration, in (0, 1].
    polish : Solver or None
        Solver that descends the L0 objective in the end; None: chosen like `solve` would.

    Notes
    -----
    The penalty must be L0; sigma^2 = lam / log n as for SparseBayesian, the median of the levels. lam = 0
    leaves a coefficient to least squares, lam = inf excludes it. Columns whose norms differ by more than a
    factor of two are compared at equal norms. In the end the answer is thresholded, refitted, relieved of
    what does not pay, polished, and judged as one of the L0 problem; the certificate says nothing about the
    messages. For matrices whose right singular vectors point anywhere (random ones, with any singular values)
    the variances of the messages are exact in the limit of many rows and columns [1]_, and no other solver
    here recovers as many non-zeros without noise, at a fraction of their cost. On strongly correlated
    columns messages may fail to settle, and what comes out is no better than a guess. Cost: one singular
    value decomposition of order min(m, n), then 4 m n multiplications for each of at most 300 iterations;
    storage 2 m n numbers. ``max_time`` does not interrupt the decomposition.

    References
    ----------
    .. [1] S. Rangan, P. Schniter, A. Fletcher, Vector approximate message passing, IEEE Trans. Inf. Theory 65
       (2019) 6664-6684, doi:10.1109/TIT.2019.2916359.
    .. [2] J. Vila, P. Schniter, Expectation-maximization Gaussian-mixture approximate message passing, IEEE
       Trans. Signal Process. 61 (2013) 4658-4672, doi:10.1109/TSP.2013.2272287.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> A = np.random.default_rng(0).standard_normal((20, 40))
    >>> si.solve(A, A[:, 3] - 2 * A[:, 11], si.L0(1e-6), solver=si.MessagePassing()).support
    array([ 3, 11])
    """

    moduli: str = "auto"
    damping: float = 0.7

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.moduli not in _MODULI:
            raise ValueError(f"moduli is {self.moduli!r}, but one of {', '.join(_MODULI)} is needed")
        if not 0 < validation.real_number(self.damping, "damping") <= 1:
            raise ValueError(f"damping is {self.damping}, but it must lie in (0, 1]")

    def check(self, problem: Problem) -> None:
        """Refuse everything but an L0 penalty without a sign constraint and columns in memory."""
        penalty = problem.penalty
        if not isinstance(penalty, Separable) or penalty.convex:
            raise refuse(self, "needs an L0 penalty", "WorkingSet, IRLS, Ridge")
        if penalty.nonnegative:
            raise refuse(self, "does not handle nonnegative=True", "IRL1, CoordinateDescent, ISTA")
        if not problem.explicit:
            raise refuse(self, "needs columns of A in memory", "SL0, IRL1, IRLS")
        self._check_polish(problem)

    def start(self, problem: Problem, x0: Array | None) -> MessagePassingState:
        """Return the state at zero; x0 is a candidate in the end, no start."""
        problem.operator.phase = "setup"
        penalty = problem.penalty
        evidence = Evidence(problem)
        charges = penalty.l0[(penalty.l0 > 0) & ~penalty.excluded]
        noise = float(np.median(charges)) / math.log(max(charges.size, 3)) if charges.size else 0.0
        waiting = {"auto": [False, True], "spread": [False], "equal": [True]}[self.moduli]
        passing = Passing(evidence, noise, self.damping)
        passing.begin(equal=waiting[0])
        problem.operator.charge(forward=min(problem.m, problem.n), adjoint=1)
        return MessagePassingState(
            start_point(problem, None), -problem.b, settled=False, waiting=waiting[1:],
            given=None if x0 is None else start_point(problem, x0), answers=[],
            passing=passing,
        )  # fmt: skip

    def step(self, problem: Problem, state: MessagePassingState, budget: Budget) -> Outcome:
        """Pass messages for a tenth of a second; go over to the next prior, or polish, once they agree."""
        if state.polishing:
            return self._polish_step(problem, state, budget)
        passing, done = state.passing, False
        for _ in range(max(1, min(int(_WORK / (passing.work + 1.0)), 50, budget.iterations))):
            done = passing.advance()
            state.n_iter += 1
            problem.operator.charge(forward=1, adjoint=1)
            if done:
                break
        x, keep = passing.answer()
        state.x, state.r = x, problem.residual(x)
        if not done:
            return Outcome.MOVED
        state.answers.append((x, keep))
        if state.waiting:
            passing.begin(equal=state.waiting.pop(0))
            return Outcome.MOVED
        values = [problem.objective(y, problem.residual(y)) for y, _ in state.answers]
        state.x = state.answers[int(np.argmin(values))][0]
        self._begin_polish(problem, state, [mask for _, mask in state.answers])
        return Outcome.MOVED

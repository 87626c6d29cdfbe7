"""L1Ball through L1: the level whose solution has the wanted sum of moduli."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sparseinv.certificate import DualPair, certify_problem
from sparseinv.penalties.balls import CrossPolytope
from sparseinv.penalties.separable import Separable
from sparseinv.problem import Problem
from sparseinv.solvers.base import Outcome, Solver, State, refuse, start_point
from sparseinv.stopping import Budget

Array = np.ndarray[Any, Any]

_FIRST = 0.3  # first level, relative to the one that gives x = 0
_DEEPER = 0.1  # least factor between two levels while no lower end of the bracket is known
_SHARPER = 0.01  # gap of the L1 problems over that asked for
_FINEST = 1e-14
_SLOW = 0.5  # two steps that leave more than this share of the bracket are followed by bisection


@dataclass(slots=True)
class Bracket:
    """Look for the zero of a function that rises, by secants kept inside a bracket.

    On a piecewise linear function the secant is exact once two points share a piece. Arguments are > 0; the
    zero may be at 0.
    """

    high: float = math.inf  # the smallest argument so far at which the function is >= 0
    low: float = 0.0  # the largest one with a negative value so far
    deeper: float = _DEEPER  # least factor between two arguments as long as one end is not known
    points: list[tuple[float, float]] = field(default_factory=list)  # (argument, value), all so far
    widths: list[float] = field(default_factory=list)  # of the bracket, logarithmic

    def add(self, u: float, value: float) -> None:
        """Take note of a value."""
        self.points.append((u, value))
        if value >= 0.0:
            self.high = min(self.high, u)
        else:
            self.low = max(self.low, u)
        bounded = 0.0 < self.low <= self.high < math.inf
        self.widths.append(math.log(self.high) - math.log(self.low) if bounded else math.inf)

    @property
    def closed(self) -> bool:
        """Whether no number is left between the ends."""
        return self.low > 0.0 and not self.high > self.low * (1.0 + 4e-16)

    def following(self) -> float:
        """Return the argument to look at next."""
        last, value = self.points[-1]
        u = math.nan
        if len(self.points) > 1:
            before, other = self.points[-2]
            if value != other:
                u = last - value * (last - before) / (value - other)
        slow = len(self.widths) > 3 and not self.widths[-1] <= _SLOW * self.widths[-3] and self.low > 0.0
        steady = len(self.points) > 2 and abs(value) <= 0.1 * abs(self.points[-3][1])
        if math.isinf(self.high):
            return min(u, last / self.deeper) if u > last else last / self.deeper**0.5
        if self.low == 0.0:
            return max(u, self.deeper * last) if u < self.high else self.deeper * min(last, self.high)
        if not self.low < u < self.high or (slow and not steady):
            u = math.sqrt(self.low) * math.sqrt(self.high)
        return u


@dataclass(slots=True, eq=False, kw_only=True)
class LevelState(State):
    """Carry the level and the solver of the L1 problem."""

    bracket: Bracket | None  # None: the start is the answer
    level: float  # of the present L1 problem
    surrogate: Problem  # the L1 problem
    inner: Any  # state of its solver


@dataclass(frozen=True, repr=False)
class LevelSearch(Solver):
    """Solve a problem with an L1Ball as L1 problems whose level is found by secants.

    Parameters
    ----------
    inner : Solver or None
        Solver of the L1 problems; None: chosen like `solve` would.

    Notes
    -----
    With x(t) the solution for the levels t * weights, sum_j weights_j |x_j(t)| falls in t and, over the real
    numbers, is piecewise linear, so secants end at the level exactly; each problem starts from the solution
    of the one before. What is returned lies in the ball and is judged by the ball's own duality gap.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> si.solve(np.eye(2), np.array([2.0, 0.1]), si.L1Ball(1.5)).x
    array([1.5, 0. ])
    """

    inner: Solver | None = None

    def __post_init__(self) -> None:
        if self.inner is not None and not isinstance(self.inner, Solver):
            raise TypeError(f"inner is {self.inner!r}, but a solver such as WorkingSet() is needed")

    def check(self, problem: Problem) -> None:
        """Refuse everything but L1Ball."""
        if not isinstance(problem.penalty, CrossPolytope):
            raise refuse(self, "treats L1Ball only", "WorkingSet for L1")
        if self.inner is not None:
            self.inner.check(problem.with_penalty(_levels(problem.penalty, 1.0)))

    def start(self, problem: Problem, x0: Array | None) -> LevelState:
        """Return the state at x0, moved into the ball (zero by default)."""
        problem.operator.phase = "setup"
        assert self.inner is not None, "filled in by solvers.auto"
        ball = problem.penalty
        x = ball.prox(start_point(problem, x0))
        unit = problem.with_penalty(_levels(ball, 1.0))
        top = float(unit.penalty.lam_max(problem.gradient(problem.project(problem.b)), None))
        # with radius 0 that level is the answer
        level = (_FIRST if ball.radius > 0.0 else 1.0) * top
        bracket = Bracket(top) if top > 0.0 else None
        if bracket is not None:
            bracket.add(top, ball.radius)
        surrogate = problem.with_penalty(_levels(ball, level or 1.0))
        inner = self.inner.start(surrogate, None if x0 is None else x.copy())
        return LevelState(
            x, problem.residual(x), bracket=bracket, level=level, surrogate=surrogate, inner=inner
        )

    def step(self, problem: Problem, state: LevelState, budget: Budget) -> Outcome:
        """Take a step of the L1 solver; once its problem is solved, move on to the next level."""
        assert self.inner is not None
        before = state.inner.n_iter
        outcome = self.inner.step(state.surrogate, state.inner, budget)
        state.n_iter += max(state.inner.n_iter - before, 1)
        inner = state.inner
        certificate = certify_problem(state.surrogate, inner.x, r=inner.r, dual=inner.dual)
        # x stays where it is until a level is done, which is no stall
        state.settled = outcome is not Outcome.MOVED or certificate.relative <= max(
            _SHARPER * budget.tol, _FINEST
        )
        if not state.settled:
            return Outcome.MOVED
        ball = problem.penalty
        state.x = ball.prox(inner.x)
        state.r = problem.residual(state.x)
        state.dual = DualPair(state.r, problem.gradient(state.r))
        if state.bracket is None:
            return Outcome.FLOOR
        state.bracket.add(state.level, ball.radius - ball.size(inner.x))
        following = state.bracket.following()
        if state.bracket.closed or following == state.level or ball.size(inner.x) == ball.radius:
            return Outcome.FLOOR
        state.level = following
        # from the last surrogate, which knows ||A|| by now
        state.surrogate = state.surrogate.with_penalty(_levels(ball, state.level))
        inner.n_iter = 0
        state.inner = self.inner.resume(state.surrogate, inner)
        return Outcome.MOVED


def _levels(ball: CrossPolytope, level: float) -> Separable:
    zero = np.zeros(ball.n)
    with np.errstate(over="ignore", under="ignore"):
        lam = np.where(ball.weights > 0.0, np.maximum(level * ball.weights, np.finfo(np.float64).tiny), 0.0)
    return Separable(zero, lam, zero, ball.nonnegative)

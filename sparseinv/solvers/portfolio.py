"""Several solvers one after the other, the best answer polished; says which start it came from."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from sparseinv import validation
from sparseinv.certificate import Kind, certify_problem
from sparseinv.penalties.balls import Ball
from sparseinv.penalties.separable import Separable
from sparseinv.problem import Problem, squared
from sparseinv.signed_moves import moves_of
from sparseinv.solvers.base import Outcome, Solver, State, called, refuse, start_point
from sparseinv.solvers.support_fit import fit_support
from sparseinv.stopping import Budget
from sparseinv.support_moves import ROUNDING

Array = np.ndarray[Any, Any]

_EXACT = 1e-9  # ||A x - b|| / ||b|| of an answer that fits but for rounding
_CHEAP = 1e-4  # objective, relative to 1/2 ||b||^2, below which levels say no more than "as few as can be"
_WORTHLESS = 1e-4  # of the smallest level: what 1/2 ||A x - b||^2 of such an answer is at most
_FINE = 1e-8  # level, relative to 1/2 ||b||^2 / m, that stands in for a ball around exact fits
_SHARE = 0.75  # of the time there was for the starts; the rest is for polishing
_STILL, _STILL_STEPS = 1e-6, 100  # relative change of x, and steps of no more than it that end a start
_SETTLED_STEPS = 50  # of them in which a start that is above the best answer may still descend


class Answer(NamedTuple):
    """A point, its objective and where it came from."""

    value: float
    x: Array
    name: str


@dataclass(slots=True, eq=False, kw_only=True)
class PortfolioState(State):
    """Carry the answers so far, what is still to be run and what runs."""

    answers: list[Answer]
    waiting: list[tuple[Solver, bool]]  # (solver, at the fine level?), a level being asked for by balls only
    left_out: list[str]  # starts for which there was no time
    done: int = 0  # starts that ran to their ends
    inner: Any = None  # (solver, its state, its problem); None between two
    steps: int = 0  # of the one that runs
    descents: int = 0  # of them after it was settled
    still: int = 0  # the last of them that moved next to nothing
    point: Any = None  # x before
    seconds: float = math.nan  # left at the first step
    certain: str = ""  # why no other start was needed
    to_polish: list[Answer]
    polisher: Any = None
    polishing: bool = False


@dataclass(frozen=True, repr=False)
class Portfolio(Solver):
    """Minimise with an L0 penalty or with at most k non-zeros by several methods; polish the best answers.

    The starts run in turn: message passing, orthogonal least squares, reweighted L1, reweighted least
    squares, sparse Bayesian learning, local search. From the best answers exact moves between supports then
    descend. ``result.detail`` says which start the answer came from, and what polishing took off.

    Parameters
    ----------
    starts : sequence of Solver, optional
        Solvers that run, in this order. None: those above that accept the problem and whose cost is in
        proportion; methods with a factorisation per iteration up to min(m, n)^2 max(m, n) = 1e9.
    polish : Solver or None
        Solver that descends from the best answers; None: `LocalSearch` where columns of A are at hand, else
        a descent by proximal or thresholding steps.
    polished : int
        Answers that are polished, the best first, >= 1.
    thorough : bool
        Run all starts, even after an answer that leaves nothing to look for (below).

    Notes
    -----
    The answer is never above that of a start that ran to its end (a start is cut short where, already
    descending the objective asked for, it has been above the best answer for 50 steps, and after as many
    iterations as it would be allowed by itself). With an L0Ball the
    starts that need a level are given one at which about k coefficients pay; the first of them also runs at a
    level next to none, for data without noise. Their answers are cut to the k largest coefficients and
    refitted.

    The starts end early where an answer fits b but for rounding, ||A x - b|| <= 1e-9 ||b||, and lies in the
    ball, where nothing is better; with L0 where it also has fewer than m non-zeros, costs at most 1e-4 of
    1/2 ||b||^2 and leaves a residual that is not worth 1e-4 of the smallest level. Where the columns of A and
    the non-zeros of x are in general position, such an x is the sparsest exact fit with probability one;
    where they are not (integers, repeated or coherent columns), ``thorough=True`` goes on looking. Data with
    noise never fit so well, and all starts run.

    ``max_time`` of `solve` is a budget: the starts have three quarters of it, the best answers are polished
    with the rest, and ``result.detail`` names what was left out. Cost and storage: the sum and the most of
    those of the starts. The certificate is that of the solver that polishes; for `LocalSearch` it says that
    no addition, removal or exchange improves.

    References
    ----------
    Of each start: see `MessagePassing`, `OLS`, `LocalSearch`, `IRL1`, `IRLS`, `SparseBayesian`.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> A = np.random.default_rng(0).standard_normal((20, 50))
    >>> result = si.solve(A, A[:, 3] - 2 * A[:, 40], si.L0(1e-6), solver=si.Portfolio())
    >>> result.support, result.certificate.kind.name
    (array([ 3, 40]), 'SWAP_MINIMUM')
    >>> result.detail.split(",")[0]
    'The answer comes from MessagePassing()'
    """

    starts: tuple[Solver, ...] | None = None
    polish: Solver | None = None
    polished: int = 3
    thorough: bool = False

    default_max_iter: ClassVar[int] = 100_000
    local_kind: ClassVar[Kind] = Kind.SWAP_MINIMUM

    def __post_init__(self) -> None:
        """Check the hyper-parameters."""
        if self.starts is not None:
            given: Any = self.starts
            given = (given,) if isinstance(given, Solver) else tuple(given) if np.iterable(given) else ()
            if not given or not all(isinstance(solver, Solver) for solver in given):
                raise TypeError(f"starts is {self.starts!r}, but solvers such as (IRL1(), IRLS()) are needed")
            object.__setattr__(self, "starts", given)
        if self.polish is not None and not isinstance(self.polish, Solver):
            raise TypeError(f"polish is {self.polish!r}, but a solver such as LocalSearch() is needed")
        validation.count(self.polished, "polished", least=1)
        if not isinstance(self.thorough, (bool, np.bool_)):
            raise TypeError(f"thorough is {self.thorough!r}, but True or False is needed")

    def __repr__(self) -> str:
        """Name what differs from the defaults; starts and polish without the solvers filled into them."""
        parts = []
        if self.starts is not None:
            parts.append(f"starts=({', '.join(map(name_of, self.starts))},)")
        if self.polish is not None:
            parts.append(f"polish={name_of(self.polish)}")
        parts += [f"polished={self.polished}"] * (self.polished != 3) + ["thorough=True"] * self.thorough
        return f"Portfolio({', '.join(parts)})"

    def check(self, problem: Problem) -> None:
        """Refuse what has no charge per non-zero coefficient, and what a start or the polish refuses."""
        penalty = problem.penalty
        if not isinstance(penalty, (Separable, Ball)):
            raise refuse(self, f"does not treat {called(penalty)}", "FISTA, ISTA")
        if isinstance(penalty, Separable) and penalty.convex:
            raise refuse(self, "needs an L0 penalty or L0Ball", "WorkingSet, IRLS, FISTA")
        for solver in self.starts or ():
            if not isinstance(penalty, Ball):
                solver.check(problem)
            elif not treats_ball(solver, problem):
                solver.check(leveled(problem, 1.0))
        if self.polish is not None:
            self.polish.check(problem)

    def proves(self, problem: Problem) -> Kind:
        """Return what the solver that polishes proves."""
        return self.local_kind if self.polish is None else self.polish.proves(problem)

    def start(self, problem: Problem, x0: Array | None) -> PortfolioState:
        """Return the state at x0 (zero by default), with all starts waiting."""
        problem.operator.phase = "setup"
        zero = np.zeros(problem.n, dtype=problem.dtype)
        answers = [Answer(problem.scale, zero, "x = 0")]
        if x0 is not None and np.any(x0):
            answers.append(_answer(problem, start_point(problem, x0), "x0"))
        best = min(answers, key=lambda answer: answer.value)
        waiting: list[tuple[Solver, bool]] = []
        fine = False
        for solver in self.starts or ():
            if treats_ball(solver, problem):
                waiting.append((solver, False))
                continue
            if not fine and isinstance(problem.penalty, Ball):
                waiting.insert(0, (solver, True))
                fine = True
            waiting.append((solver, False))
        none = isinstance(problem.penalty, Ball) and problem.penalty.k == 0 and not problem.unpenalised.size
        if none or problem.scale == 0.0 or not problem.gradient(problem.b).any():
            waiting, answers = [], answers[:1]  # x = 0: all there is, or no column has a part of b
            best = answers[0]
        return PortfolioState(
            best.x, settled=False, answers=answers, waiting=waiting, left_out=[], to_polish=[]
        )

    def step(self, problem: Problem, state: PortfolioState, budget: Budget) -> Outcome:
        """Take a step of the start that runs, or of the polish; go over to what comes next."""
        if math.isnan(state.seconds):
            state.seconds = budget.seconds
        if state.polishing:
            return self._step_polish(problem, state, budget)
        late = budget.seconds < (1.0 - _SHARE) * state.seconds
        if late or (state.inner is None and not state.waiting):
            self._end_starts(problem, state)
            return Outcome.MOVED
        if state.inner is None:
            solver, fine = state.waiting.pop(0)
            own = problem
            if not treats_ball(solver, problem):
                own = leveled(problem, _level(problem, state, fine))
            state.inner = (solver, solver.start(own, None), own)
            state.steps = state.descents = state.still = 0
            state.point = state.inner[1].x.copy()
            return Outcome.MOVED
        if self._step_inner(problem, state, budget):
            self._conclude(problem, state)
        return Outcome.MOVED

    @staticmethod
    def _step_inner(problem: Problem, state: PortfolioState, budget: Budget) -> bool:
        """Take a step of the start that runs; tell whether it has ended."""
        solver, inner, own = state.inner
        before = inner.n_iter
        state.steps += 1
        allowed = Budget(tol=budget.tol, iterations=budget.iterations, seconds=budget.seconds, gap=math.inf)
        problem.operator.phase = "iterations"
        outcome = solver.step(own, inner, allowed)
        state.n_iter += max(inner.n_iter - before, 1)
        moved = squared(inner.x - state.point) > _STILL**2 * squared(inner.x)
        state.still, state.point = 0 if moved else state.still + 1, inner.x.copy()
        # a start that does not end by itself must leave iterations to the others
        spent = max(inner.n_iter, state.steps) >= solver.default_max_iter
        if outcome is not Outcome.MOVED or spent or state.still >= _STILL_STEPS:
            return True
        if not inner.settled:
            return False
        # what matters beyond this is for the polish
        local = Kind.COORDINATE_MINIMUM
        certificate = certify_problem(own, inner.x, r=inner.r, local=local)
        if certificate.relative <= budget.tol:
            return True
        state.descents += 1
        value = problem.objective(inner.x, problem.residual(inner.x)) if own is problem else math.inf
        return state.descents >= _SETTLED_STEPS and value > min(a.value for a in state.answers)

    def _conclude(self, problem: Problem, state: PortfolioState) -> None:
        """Take down the answer of the start that has ended; drop the other starts where none is needed."""
        solver, inner, _ = state.inner
        state.inner = None
        state.done += 1
        if not np.isfinite(inner.x).all():
            return
        answer = _answer(problem, inner.x, name_of(solver))
        state.answers.append(answer)
        if answer.value < min(other.value for other in state.answers[:-1]):
            state.x = answer.x
            state.r = None
        if not self.thorough and state.waiting:
            state.certain = _certain(problem, answer)
            if state.certain:
                state.waiting = []

    def _end_starts(self, problem: Problem, state: PortfolioState) -> None:
        """Go over to polishing the best answers, each support once."""
        if state.inner is not None:
            solver, inner, _ = state.inner
            state.left_out.append(name_of(solver))
            if inner.settled and np.isfinite(inner.x).all():
                state.answers.append(_answer(problem, inner.x, name_of(solver)))
            state.inner = None
        state.left_out += [name_of(solver) for solver, _ in state.waiting]
        state.waiting, state.polishing = [], True
        seen = set()
        for answer in sorted(state.answers, key=lambda answer: answer.value):
            support = np.flatnonzero(answer.x).tobytes()
            if support not in seen and math.isfinite(answer.value):
                seen.add(support)
                state.to_polish.append(answer)
        most = 1 if state.certain or problem.scale == 0.0 else self.polished
        del state.to_polish[most:]
        self._tell(state, state.to_polish[0], state.to_polish[0])
        state.x = state.to_polish[0].x

    def _step_polish(self, problem: Problem, state: PortfolioState, budget: Budget) -> Outcome:
        """Take a step of the descent from an answer; end when the last one has been polished."""
        assert self.polish is not None, "filled in by solvers.auto"
        if state.polisher is None:
            if not state.to_polish:
                return Outcome.EXHAUSTED
            state.polisher = self.polish.start(problem, state.to_polish[0].x.copy())
            return Outcome.MOVED
        polisher, origin = state.polisher, state.to_polish[0]
        before = polisher.n_iter
        outcome = self.polish.step(problem, polisher, budget)
        state.n_iter += max(polisher.n_iter - before, 1)
        ended = outcome is not Outcome.MOVED
        if not ended and polisher.settled:
            local = self.polish.proves(problem)
            ended = certify_problem(problem, polisher.x, r=polisher.r, local=local).relative <= budget.tol
        if ended:
            state.to_polish.pop(0)
            state.polisher = None
            reached = _answer(problem, polisher.x.copy(), origin.name)
            best = problem.objective(state.x, problem.residual(state.x))
            if reached.value < best - ROUNDING * problem.scale:
                state.x = reached.x
                self._tell(state, origin, reached)
        state.settled = ended and not state.to_polish
        return Outcome.EXHAUSTED if state.settled else Outcome.MOVED

    @staticmethod
    def _tell(state: PortfolioState, origin: Answer, reached: Answer) -> None:
        """Write down where the answer comes from."""
        starts = {0: "", 1: ", the first start"}.get(state.done, f", best of {state.done} starts")
        note = f"The answer comes from {origin.name}{starts}"
        if reached is not origin:
            share = (origin.value - reached.value) / max(origin.value, np.finfo(np.float64).tiny)
            note += f"; polishing lowered it by {100.0 * share:.2g} %"
        note += f"; {state.certain}." if state.certain else "."
        if state.left_out:
            note += f" No time was left for {', '.join(state.left_out)}: raise max_time."
        state.note = note


def treats_ball(solver: Solver, problem: Problem) -> bool:
    """Tell whether a solver needs no level in place of the penalty asked for."""
    if not isinstance(problem.penalty, Ball):
        return True
    try:
        solver.check(problem)
    except ValueError:
        return False
    return True


def leveled(problem: Problem, level: float) -> Problem:
    """Return the problem with an L0 level in place of a ball."""
    penalty, none = problem.penalty, np.zeros(problem.n)
    l0 = np.where(penalty.excluded, np.inf, np.where(penalty.unpenalised, 0.0, level))
    return problem.with_penalty(Separable(l0, none, none, penalty.nonnegative))


def _level(problem: Problem, state: PortfolioState, fine: bool) -> float:
    """Return a level at which about as many coefficients pay as the ball holds, or one next to none."""
    least = _FINE * problem.scale / max(problem.m, 1)
    best = min(state.answers, key=lambda answer: answer.value)
    if fine or not problem.explicit:
        return least
    moves = moves_of(problem)
    moves.restart(np.flatnonzero(best.x))
    gain, loss = moves.marginal()
    return max(math.sqrt(gain) * math.sqrt(loss) if gain > 0.0 and loss > 0.0 else max(gain, loss), least)


def _answer(problem: Problem, x: Array, name: str) -> Answer:
    """Return x, moved into the ball and refitted there where it lies outside, with its objective."""
    penalty = problem.penalty
    if isinstance(penalty, Ball) and not math.isfinite(penalty.value(x)):
        cut = penalty.prox(x, 1.0)
        if not penalty.nonnegative:
            index = np.flatnonzero(cut)
            refitted = np.zeros_like(cut)
            refitted[index] = fit_support(problem, index, cut)
            cut = refitted
        x = cut
    return Answer(problem.objective(x, problem.residual(x)), x, name)


def _certain(problem: Problem, answer: Answer) -> str:
    """Return why nothing better is to be expected, empty if it is."""
    misfit = math.sqrt(squared(problem.residual(answer.x)) / (2.0 * problem.scale))
    if not misfit <= _EXACT:
        return ""
    if isinstance(problem.penalty, Ball):
        return "it fits b exactly, so that no other was tried"
    if np.count_nonzero(answer.x) >= problem.m or not answer.value <= _CHEAP * problem.scale:
        return ""
    charges = problem.penalty.l0[problem.penalty.l0 > 0.0]
    if misfit**2 * problem.scale > _WORTHLESS * charges.min():
        return ""  # nearly dependent columns can fit anything as well as the level asks for
    return "it fits b exactly with fewer non-zeros than rows, so that no other was tried"


def name_of(solver: Solver) -> str:
    """Return the solver as a user would write it, without the inner solvers that were filled in."""
    fields: tuple[Any, ...] = dataclasses.fields(solver) if dataclasses.is_dataclass(solver) else ()
    values = [(field.name, getattr(solver, field.name), field.default) for field in fields]
    shown = [
        f"{name}={value!r}"
        for name, value, default in values
        if value != default and name != "starts" and not isinstance(value, Solver)
    ]
    return f"{type(solver).__name__}({', '.join(shown)})"

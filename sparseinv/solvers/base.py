"""What a solver and its state must offer; a solver moves x and never decides to stop."""

from __future__ import annotations

import dataclasses
import enum
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from sparseinv.certificate import DualPair, Kind
from sparseinv.problem import Problem
from sparseinv.stopping import Budget

Array = np.ndarray[Any, Any]


class Outcome(enum.Enum):
    """Say what a step did."""

    MOVED = "x changed; call again"
    EXHAUSTED = "the method has finished; another step changes nothing"
    FLOOR = "x no longer changes in this arithmetic"
    LIMIT = "a limit of the method's own came first"


@dataclass(slots=True, eq=False)
class State:
    """Hold what a run carries from step to step, in working units."""

    x: Array  # current point, shape (n,)
    r: Any = None  # A x - b, shape (m,), where the method holds it
    dual: DualPair | None = None  # a vector and its product with A^H: a dual point at no cost
    n_iter: int = 0  # iterations done
    # False while the method works on a neighbouring problem (continuation, smoothing), so that a
    # certificate of the present x must not end the run
    settled: bool = True
    lower_bound: float = -np.inf  # proven for the objective, where the method holds one
    provided: str = ""  # what that proof assumes, in words
    note: str = ""  # a sentence for the report

    def check(self, problem: Problem, tol: float = 1e-9) -> None:
        """Raise AssertionError unless r equals A x - b and the dual pair is consistent."""
        size = 1.0 + float(np.linalg.norm(problem.b))
        if self.r is not None:
            assert np.linalg.norm(self.r - problem.residual(self.x)) <= tol * size, "r is not A x - b"
        if self.dual is not None:
            exact = problem.gradient(self.dual.v)
            distance = np.linalg.norm(self.dual.Ahv - exact)
            assert distance <= tol * (size + np.linalg.norm(exact)), "A^H v is stale"


class Solver:
    """Describe a method by its hyper-parameters; every solver constructs without arguments.

    A solver of your own defines ``start`` and ``step``; the driver certifies what it reaches.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> from sparseinv.solvers.base import Outcome, State
    >>> class SteepestDescent(si.Solver):
    ...     def start(self, problem, x0):
    ...         return State(np.zeros(problem.n))
    ...     def step(self, problem, state, budget):
    ...         state.x = state.x - 0.5 * problem.gradient(problem.residual(state.x))
    ...         state.n_iter += 1
    ...         return Outcome.MOVED
    >>> si.solve(np.eye(2), np.array([2.0, 1.0]), si.L1(0.0), solver=SteepestDescent(), tol=1e-12).success
    True
    """

    #: iterations allowed where the user sets no limit
    default_max_iter: ClassVar[int] = 10_000
    #: what a run proves about a nonconvex problem
    local_kind: ClassVar[Kind] = Kind.PROX_STATIONARITY
    #: whether the method ends where it ends and promises no minimum; its status may then be EXHAUSTED
    finite: ClassVar[bool] = False
    #: whether refitting the support for a certificate is worth its price during the run
    refit: ClassVar[bool] = False

    def check(self, problem: Problem) -> None:
        """Raise ValueError if the problem is not one the solver can treat; name those that can."""

    def proves(self, problem: Problem) -> Kind:
        """Return what a run proves about a nonconvex problem."""
        return self.local_kind

    def start(self, problem: Problem, x0: Array | None) -> Any:
        """Return the initial state; x0 is in working units and may be written to."""
        raise TypeError(f"{type(self).__name__} must define start(problem, x0)")

    def resume(self, problem: Problem, state: Any) -> Any:
        """Return the state from which a run goes on after the level of the penalty has changed.

        ``state`` is where a run on the same data ended; it may be changed and handed back.
        """
        return self.start(problem, state.x.copy())

    def step(self, problem: Problem, state: Any, budget: Budget) -> Outcome:
        """Move state.x; return after about a tenth of a second of work at most."""
        raise TypeError(f"{type(self).__name__} must define step(problem, state, budget)")

    def salvage(self, problem: Problem, state: Any) -> bool:
        """Make of a run that was cut off what little work can; tell whether state.x was replaced.

        For methods whose points on the way are not yet of the kind that was asked for: dense ones, say.
        """
        return False

    def __repr__(self) -> str:
        """Name the method and the hyper-parameters that differ from their defaults."""
        fields: tuple[Any, ...] = dataclasses.fields(self) if dataclasses.is_dataclass(self) else ()
        values = [(f.name, getattr(self, f.name), f.default) for f in fields]
        shown = [f"{name}={value!r}" for name, value, default in values if value != default]
        return f"{type(self).__name__}({', '.join(shown)})"


def refuse(solver: Solver, reason: str, alternatives: str) -> ValueError:
    """Return the error for a problem that a solver cannot treat."""
    return ValueError(f"{type(solver).__name__} {reason}; use {alternatives} or solver='auto'")


def called(penalty: Any) -> str:
    """Return the name of a penalty in a message: the one its user knows, where it says so."""
    return str(getattr(penalty, "called", type(penalty).__name__))


def refuse_convex(solver: Solver, penalty: Any) -> ValueError:
    """Return the error for a convex penalty where supports are to be chosen."""
    there = ~penalty.excluded
    if not penalty.l1[there].any() and not penalty.l2[there].any():
        return refuse(
            solver, "has nothing to choose, as all levels are 0 or inf", "Ridge, WorkingSet, IRLS, FISTA"
        )
    return refuse(solver, "needs an L0 penalty or L0Ball", "WorkingSet, IRLS, FISTA")


def cost_of_pass(problem: Problem) -> float:
    """Return about how many multiplications a product with A takes (explicit matrices)."""
    dense, data, _, _ = problem.layout
    return float(max(dense.size, data.size, problem.m, problem.n, 1))


def chunk(problem: Problem, passes_per_iteration: float, most: int, target: float = 1e8) -> int:
    """Return how many iterations fit about a tenth of a second; counts work, never seconds."""
    return int(np.clip(target / (cost_of_pass(problem) * passes_per_iteration), 1, most))


def start_point(problem: Problem, x0: Array | None) -> Array:
    """Return x0 in the working precision with excluded coefficients at zero; zeros if it is None."""
    if x0 is None:
        return np.zeros(problem.n, dtype=problem.dtype)
    x = np.ascontiguousarray(x0, dtype=problem.dtype)
    excluded = getattr(problem.penalty, "excluded", None)
    if excluded is not None:
        x[excluded] = 0.0
    if getattr(problem.penalty, "nonnegative", False):
        np.maximum(x, 0.0, out=x)
    return x

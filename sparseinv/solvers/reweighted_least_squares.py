"""Iteratively reweighted least squares."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.certificate import certify_problem
from sparseinv.problem import Problem, squared
from sparseinv.solvers.base import Outcome, refuse, start_point
from sparseinv.solvers.discrete_answer import Smoothed, SmoothedState
from sparseinv.solvers.least_squares import ConjugateGradients, DirectSystem, is_direct, mean_square
from sparseinv.stopping import Budget

Array = np.ndarray[Any, Any]

_LAST_EPS = 1e-9  # smoothing of |x|^2, relative to the mean square of the start
_CG_STEPS = 40
_PATIENCE = 100  # iterations on one smoothing at most: inexact products may never let x settle
_SETTLED = 0.01  # movement at which eps falls, relative to sqrt(eps n) size
_ANNEALED = 1e-4  # smoothing at which p has come down from 1 to its value


@dataclass(slots=True, eq=False, kw_only=True)
class IRLSState(SmoothedState):
    """Carry the smoothing and the linear system."""

    size: float  # typical modulus of a coefficient
    mean_square: float  # mean squared column norm, for the preconditioner
    system: DirectSystem | None  # None where conjugate gradients are used
    eps: float = 1.0  # smoothing, relative to size^2
    waited: int = 0  # iterations with this smoothing


@dataclass(frozen=True, repr=False)
class IRLS(Smoothed):
    """Solve a sequence of weighted ridge problems whose weights follow the last solution.

    Parameters
    ----------
    p : float
        Exponent that stands in for L0 while smoothing, 0 < p <= 1: [x != 0] ~ (|x|^2 + eps)^(p/2).
    anneal : bool
        Let the exponent fall from 1 to p while eps falls to 1e-4, so that the first problems are nearly
        convex; for coefficients of equal modulus.
    polish : Solver or None
        Solver that descends the objective asked for in the end; None: chosen like `solve` would.

    Notes
    -----
    |x_j| is smoothed as (|x_j|^2 + eps)^(1/2), and each step minimises the quadratic that touches the
    smoothed penalty from above, so that the smoothed objective never rises. eps falls by ten each time x
    settles (schedule of [1]_). A sparse penalty ends with thresholding, refit, elimination of what does
    not pay, and coordinate descent (dense, CSC) or proximal steps (matrix-free) on the objective that was
    asked for; the certificate is that of this objective. Cost per iteration: one Cholesky of order
    min(m, n), or up to 40 conjugate-gradient steps for operators.

    Data without noise, A x = b: pass an L0 level far below what the smallest coefficient is worth,
    ``L0(1e-8 * norm(b)**2 / n)`` for example; the steps are then those of the constrained problem.

    References
    ----------
    .. [1] R. Chartrand, W. Yin, Iteratively reweighted algorithms for compressive sensing, ICASSP 2008,
       3869-3872, doi:10.1109/ICASSP.2008.4518498.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> si.solve(np.eye(2), np.array([2.0, 0.1]), si.L0(0.5), solver=si.IRLS()).x
    array([2., 0.])
    """

    p: float = 0.5
    anneal: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < validation.real_number(self.p, "p") <= 1:
            raise ValueError(f"p is {self.p}, but it must lie in (0, 1]")
        if not isinstance(self.anneal, (bool, np.bool_)):
            raise TypeError(f"anneal is {self.anneal!r}, but True or False is needed")

    def check(self, problem: Problem) -> None:
        """Refuse sign constraints and penalties without quadratic majorisers."""
        if not (hasattr(problem.penalty, "quadratic_weights") or hasattr(problem.penalty, "slope")):
            raise refuse(self, f"has no weights for {type(problem.penalty).__name__}", "ISTA or FISTA")
        if problem.penalty.nonnegative:
            raise refuse(self, "does not handle nonnegative=True", "CoordinateDescent, FISTA, ISTA")

    def start(self, problem: Problem, x0: Array | None) -> IRLSState:
        """Return the state at x0, by default at a slightly damped least-squares solution."""
        problem.operator.phase = "setup"
        direct = is_direct(problem)
        average = mean_square(problem)
        system = DirectSystem(problem) if direct else None
        zero = start_point(problem, None)
        if problem.penalty.convex and certify_problem(problem, zero, r=-problem.b).relative <= 1e-15:
            x = zero  # nothing to find: lam is at least lam_max
        elif x0 is None or not np.any(x0):
            damping = np.where(problem.penalty.excluded, np.inf, max(1e-6 * problem.n * average, 1e-300))
            damping[problem.penalty.unpenalised] = 0.0
            if system is not None:
                x = system.solve(damping)
                problem.operator.charge(forward=min(problem.m, problem.n), adjoint=1)
            else:
                x = _iterate(problem, damping, zero, average, _CG_STEPS, 1e-3)
        else:
            x = start_point(problem, x0)
        size = float(np.sqrt(squared(x) / max(problem.n, 1))) or 1.0
        r, settled = problem.residual(x), problem.penalty.convex
        given = None if x0 is None else start_point(problem, x0)
        return IRLSState(x, r, settled=settled, given=given, size=size, mean_square=average, system=system)

    def step(self, problem: Problem, state: IRLSState, budget: Budget) -> Outcome:
        """Solve one weighted problem, or polish once smoothing is over."""
        if state.polisher is not None:
            return self._polish_step(problem, state, budget)
        state.n_iter += 1
        if problem.penalty.quadratic:
            state.eps = _LAST_EPS
        w = self.weights(problem, state)
        old = state.x
        if state.system is not None:
            state.x = state.system.solve(w)
            problem.operator.charge(forward=1, adjoint=1)
        else:
            tol = 0.1 * np.sqrt(state.eps)
            state.x = _iterate(problem, w, old, state.mean_square, _CG_STEPS, float(np.clip(tol, 1e-8, 1e-2)))
        state.r = problem.residual(state.x)
        moved = np.sqrt(squared(state.x - old))
        state.waited += 1
        settled = moved < _SETTLED * np.sqrt(state.eps) * state.size * np.sqrt(problem.n)
        if settled or state.waited >= _PATIENCE:
            state.eps *= 0.1
            state.waited = 0
        if state.eps < _LAST_EPS * (1 - 1e-9):
            if problem.penalty.quadratic:
                return Outcome.EXHAUSTED
            self._begin_polish(problem, state)
        return Outcome.MOVED

    def weights(self, problem: Problem, state: IRLSState) -> Array:
        """Return w of the quadratic sum w_j |x_j|^2 / 2 that touches the smoothed penalty from above at x.

        A penalty offers ``quadratic_weights`` or, concave in the modulus t, ``slope`` = R'(t): then
        w = R'(s) / s at s = (|x|^2 + eps)^(1/2).
        """
        penalty = problem.penalty
        if hasattr(penalty, "quadratic_weights"):
            w: Array = penalty.quadratic_weights(state.x, state.eps, self.exponent(state.eps), state.size)
        else:
            s = np.sqrt(np.abs(state.x) ** 2 + state.eps * state.size**2)
            w = penalty.slope(s) / s
        return w

    def exponent(self, eps: float) -> float:
        """Return the exponent at a smoothing."""
        if not self.anneal:
            return self.p
        return 1.0 - (1.0 - self.p) * min(1.0, math.log(min(eps, 1.0)) / math.log(_ANNEALED))


def _iterate(problem: Problem, w: Array, x: Array, average: float, steps: int, tol: float) -> Array:
    cg = ConjugateGradients(problem, w, x, average)
    cg.run(steps, tol)
    return cg.x

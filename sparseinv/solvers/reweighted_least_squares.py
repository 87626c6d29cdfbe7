"""Iteratively reweighted least squares."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.certificate import certify_problem
from sparseinv.problem import Problem, squared
from sparseinv.solvers.base import Outcome, called, refuse, start_point
from sparseinv.solvers.discrete_answer import Smoothed, SmoothedState
from sparseinv.solvers.least_squares import ConjugateGradients, DirectSystem, is_direct, mean_square
from sparseinv.stopping import Budget

Array = np.ndarray[Any, Any]

_LAST_EPS = 1e-9  # smoothing of |x|^2, relative to the mean square of the start
_CG_STEPS = 40
_PATIENCE = 100  # iterations on one smoothing at most: inexact products may never let x settle
_SETTLED = 0.01  # movement at which eps falls, relative to sqrt(eps n) size
_SHRINKING = 1e-4  # smoothing from which on coefficients far below its size are left out
_NEGLIGIBLE = 0.7  # modulus that is far below, relative to eps^(1/2) size
_WANTED = 1.0  # modulus, in the same unit, that the next step would give one to let it come back
_RETURNS = 3  # how often the end may be put off for some; the last time all come back
_WRITTEN = 2000  # columns of a matrix-free A that are written down to do without products, at most
_WRITTEN_BYTES = 1 << 29  # and what they may take
_ANNEALED = 1e-4  # smoothing at which p has come down from 1 to its value


@dataclass(slots=True, eq=False, kw_only=True)
class IRLSState(SmoothedState):
    """Carry the smoothing and the linear system."""

    size: float  # typical modulus of a coefficient
    mean_square: float  # mean squared column norm, for the preconditioner
    system: DirectSystem | None  # of the columns that are alive; None where conjugate gradients are used
    whole: DirectSystem | None  # of all columns
    alive: Array  # mask of the coefficients that the weighted problems hold
    eps: float = 1.0  # smoothing, relative to size^2
    waited: int = 0  # iterations with this smoothing
    products: int = 0  # made when it began
    returns: int = 0  # times that smoothing had to go on because coefficients wanted to come back
    work: float = 0.0  # multiplications of the factorisations with columns that were alive


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
    asked for; the certificate is that of this objective. The answer to an L0 problem depends on the units of
    single columns, which L0 itself does not: let them have about one norm. Cost per iteration: one Cholesky
    of order min(m, n), or up to 40 conjugate-gradient steps for operators.

    Once eps is 1e-4, coefficients far below eps^(1/2) are left out (not those of groups), so that systems
    shrink to the order of what is left. Each time eps falls the gradient tells whether one of them wants to
    come back, and the last weighted problem is solved with all of them. Of operators the columns that are
    left are written down (at most 2000, 512 MiB) where that takes fewer products than going on without. A run
    that is cut off returns the best of what thresholds and refits make of its last point.

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
            raise refuse(self, f"has no weights for {called(problem.penalty)}", "ISTA or FISTA")
        if problem.penalty.nonnegative:
            raise refuse(self, "does not handle nonnegative=True", "CoordinateDescent, FISTA, ISTA")
        self._check_polish(problem)

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
        return IRLSState(
            x, r, settled=settled, given=given, size=size, mean_square=average, system=system,
            whole=system, alive=np.ones(problem.n, dtype=bool),
        )  # fmt: skip

    def step(self, problem: Problem, state: IRLSState, budget: Budget) -> Outcome:
        """Solve one weighted problem, or polish once smoothing is over."""
        if state.polishing:
            return self._polish_step(problem, state, budget)
        state.n_iter += 1
        if problem.penalty.quadratic:
            state.eps = _LAST_EPS
        old = state.x
        self._solve(problem, state)
        moved = np.sqrt(squared(state.x - old))
        state.waited += 1
        settled = moved < _SETTLED * np.sqrt(state.eps) * state.size * np.sqrt(problem.n)
        if not settled and state.waited < _PATIENCE:
            return Outcome.MOVED
        state.waited = 0
        if problem.penalty.quadratic:
            return Outcome.EXHAUSTED
        if 0.1 * state.eps >= _LAST_EPS * (1 - 1e-9):
            if state.eps <= _SHRINKING * (1 + 1e-9) and not _has_groups(problem):
                self._shrink(problem, state)
            state.eps *= 0.1
            state.products = problem.operator.products.total
        elif self._is_complete(problem, state):
            self._begin_polish(problem, state)
        return Outcome.MOVED

    def _solve(self, problem: Problem, state: IRLSState) -> None:
        """Go over to the solution of the weighted problem in the coefficients that are alive."""
        w, old = np.where(state.alive, self.weights(problem, state), np.inf), state.x
        if state.system is not None:
            state.x = state.system.solve(w)
            if problem.explicit:
                problem.operator.charge(forward=1, adjoint=1)
            state.r = state.system.residual(state.x)
        else:
            tol = 0.1 * np.sqrt(state.eps)
            state.x = _iterate(problem, w, old, state.mean_square, _CG_STEPS, float(np.clip(tol, 1e-8, 1e-2)))
            state.r = problem.residual(state.x)

    def _shrink(self, problem: Problem, state: IRLSState) -> None:
        """Leave out what has become negligible at this smoothing, let in what wants to come back.

        x is zero where a coefficient was left out; the next step would take it to about |g_j| / w_j.
        """
        unit, alive = math.sqrt(state.eps) * state.size, state.alive
        kept = problem.penalty.unpenalised | (np.abs(state.x) > _NEGLIGIBLE * unit)
        if not alive.all():
            wanted = _WANTED * unit * self.weights(problem, state)
            kept |= ~alive & (np.abs(problem.gradient(state.r)) > wanted)
        kept &= ~problem.penalty.excluded
        if not np.array_equal(kept, alive):
            self._narrow(problem, state, kept)

    def _is_complete(self, problem: Problem, state: IRLSState) -> bool:
        """Solve once with all coefficients, whose small ones rank what may be kept; tell whether that is all.

        It is not where one that was left out becomes large: smoothing then goes on with it.
        """
        alive, unit = state.alive, math.sqrt(state.eps) * state.size
        if alive.all():
            return True
        self._narrow(problem, state, np.ones_like(alive))
        self._solve(problem, state)
        back = ~alive & (np.abs(state.x) > _WANTED * unit)
        if not back.any():
            return True
        state.returns += 1
        if state.returns < _RETURNS:  # else all stay
            self._narrow(problem, state, alive | back)
        return False

    @staticmethod
    def _pays(problem: Problem, state: IRLSState, count: int) -> bool:
        """Tell whether columns of a matrix-free A cost fewer products than the smoothings that are left."""
        if count > _WRITTEN or count * problem.m * problem.dtype.itemsize > _WRITTEN_BYTES:
            return False
        left = math.log10(state.eps / _LAST_EPS)
        before = problem.operator.products.total - state.products
        return bool(problem.operator.inner.closed_columns) or count <= left * before

    def _narrow(self, problem: Problem, state: IRLSState, alive: Array) -> None:
        """Go over to systems of the columns that are alive, where these lie in memory or pay."""
        index, system = np.flatnonzero(alive), state.system
        state.alive = alive
        state.x = np.where(alive, state.x, 0.0)
        if system is not None and system is not state.whole:
            state.work += system.work
        if alive.all():
            state.system = state.whole
        elif state.whole is not None:
            state.system = DirectSystem(problem, index, state.whole)
        elif system is not None or self._pays(problem, state, index.size):
            state.system = DirectSystem(problem, index, system)
        state.r = problem.residual(state.x) if state.system is None else state.system.residual(state.x)

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


def _has_groups(problem: Problem) -> bool:
    """Tell whether the penalty is one of block norms: small parts of large blocks matter."""
    terms = getattr(problem.penalty, "terms", None)
    return terms is not None and bool(terms[5].size)


def _iterate(problem: Problem, w: Array, x: Array, average: float, steps: int, tol: float) -> Array:
    cg = ConjugateGradients(problem, w, x, average)
    cg.run(steps, tol)
    return cg.x

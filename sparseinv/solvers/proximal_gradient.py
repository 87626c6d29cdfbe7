"""ISTA and FISTA: proximal gradient steps, plain and accelerated.

One iteration costs one product with A and one with A^H: A is applied to the proximal point, and the
residual of the extrapolated point follows by linearity. The descent check compares two residuals that
are at hand, so a step that is too long is noticed at the price of one more product.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from sparseinv import validation
from sparseinv.certificate import DualPair
from sparseinv.penalties.group_l0 import CountedGroups
from sparseinv.penalties.group_nonconvex import ConcaveNorms
from sparseinv.penalties.nonconvex import Concave
from sparseinv.problem import Problem, squared
from sparseinv.solvers.base import Outcome, Solver, State, chunk, refuse, start_point
from sparseinv.stopping import Budget

Array = np.ndarray[Any, Any]

_CHECK_EVERY = 10  # iterations between two certificates of a matrix-free run
_CONTINUATION = 0.7  # factor between two levels while a nonconvex problem is approached
_LEVEL_STEPS = 5  # iterations on each of those levels


@dataclass(slots=True, eq=False, kw_only=True)
class ProximalState(State):
    """Carry two points, their residuals, and the last gradient."""

    z: Array  # extrapolated point
    rz: Array  # residual of z
    rz_dual: Array  # residual whose gradient g is
    g: Array  # A^H rz_dual
    spare_x: Array  # scratch (n,)
    spare_r: Array  # scratch (m,)
    lipschitz: float  # current estimate of ||A||^2
    inertia: float = 1.0  # FISTA's t; 1 right after a restart
    level: float = 1.0  # factor on the penalty while the problem is approached; 1 is the problem itself


@dataclass(frozen=True, repr=False)
class _ProximalGradient(Solver):
    """Share the iteration of ISTA and FISTA."""

    accelerated: ClassVar[bool] = False

    def start(self, problem: Problem, x0: Array | None) -> ProximalState:
        """Return the state at x0 (zero by default); estimates ||A||^2 unless it is known."""
        problem.operator.phase = "setup"
        x = start_point(problem, x0)
        norm = getattr(self, "norm", None)
        known = math.ldexp(float(norm), -problem.units.a_exponent) ** 2 if norm is not None else None
        lipschitz = known if known is not None else problem.lipschitz[0]
        r = problem.residual(x)
        state = ProximalState(
            x, r, z=x.copy(), rz=r.copy(), rz_dual=r.copy(), g=problem.gradient(r),
            spare_x=np.empty_like(x), spare_r=np.empty_like(r), lipschitz=lipschitz if lipschitz > 0 else 1.0,
        )  # fmt: skip
        state.dual = DualPair(state.rz_dual, state.g)
        if x0 is None and not problem.penalty.convex and getattr(self, "continuation", False):
            state.level = self._first_level(problem, state)
            state.settled = state.level <= 1.0
        return state

    def resume(self, problem: Problem, state: ProximalState) -> ProximalState:
        """Go on from the last iterate without momentum; the norm and the last gradient are kept."""
        state.z[:], state.rz[:] = state.x, state.r
        state.inertia, state.level, state.settled = 1.0, 1.0, True
        return state

    def step(self, problem: Problem, state: ProximalState, budget: Budget) -> Outcome:
        """Run a chunk of iterations."""
        penalty = problem.penalty
        count = _CHECK_EVERY
        if state.level > 1.0:
            penalty = penalty.tilted(state.level)
            count = _LEVEL_STEPS
        count = min(count, budget.iterations)
        if problem.explicit and penalty.terms is not None:
            moved = self._run_compiled(problem, penalty, state, min(count, chunk(problem, 2.0, count)))
        else:
            moved = self._run_products(problem, penalty, state, count)
        state.dual = DualPair(state.rz_dual, state.g)
        if state.level > 1.0:
            state.level = max(1.0, state.level * _CONTINUATION**2)  # L0 levels go with squares
            state.settled = state.level <= 1.0
            return Outcome.MOVED
        return Outcome.FLOOR if moved <= 1e-32 * squared(state.x) else Outcome.MOVED

    def _run_compiled(self, problem: Problem, penalty: Any, state: ProximalState, count: int) -> float:
        from sparseinv.kernels.descent import proximal_gradient

        buffers = (
            state.x, state.r, state.z, state.rz, state.spare_x, state.spare_r, state.g, state.rz_dual,
        )  # fmt: skip
        state.inertia, state.lipschitz, extra, moved = proximal_gradient(
            problem.layout, penalty.terms, problem.b, buffers, state.inertia, state.lipschitz,
            self.accelerated, bool(getattr(self, "monotone", False)), count,
        )  # fmt: skip
        problem.operator.charge(forward=count + extra, adjoint=count)
        state.n_iter += count
        return float(moved)

    def _run_products(self, problem: Problem, penalty: Any, state: ProximalState, count: int) -> float:
        """Do the same with products of a matrix-free A, or with a penalty that only Python knows."""
        from sparseinv.kernels import descent

        monotone = bool(getattr(self, "monotone", False))
        value = problem.objective(state.x, state.r) if monotone else 0.0
        # below the rounding of its products an operator says nothing about its norm
        floor = 1e-8 if getattr(problem.operator.inner, "single", False) else 1e-24
        moved = 0.0
        for _ in range(count):
            state.g = problem.gradient(state.rz)
            state.rz_dual[:] = state.rz
            new, r_new = state.spare_x, state.spare_r
            while True:
                if penalty.terms is not None:
                    descent.forward_backward(penalty.terms, state.z, state.g, 1.0 / state.lipschitz, new)
                else:
                    new[:] = penalty.prox(state.z - state.g / state.lipschitz, 1.0 / state.lipschitz)
                r_new[:] = problem.residual(new)
                gap = descent.distance2(new, state.z)
                curvature = descent.distance2(r_new, state.rz)
                # written so that a NaN ends the loop
                too_long = curvature > state.lipschitz * gap * (1.0 + 1e-9) and gap > floor * squared(state.z)
                if not too_long:
                    break
                state.lipschitz = max(1.02 * curvature / gap, 1.05 * state.lipschitz)
            state.n_iter += 1
            moved = descent.distance2(new, state.x)
            if not self.accelerated:
                self._accept(state, new, r_new)
                state.z[:], state.rz[:] = state.x, state.r
                continue
            if descent.turn(state.z, new, state.x) > 0.0:
                state.inertia = 1.0
            t = state.inertia
            t_next = 0.5 * (1.0 + math.sqrt(1.0 + 4.0 * t * t))
            if monotone:
                candidate = 0.5 * squared(r_new) + float(penalty.value(new))
                if candidate > value:
                    descent.extrapolate(state.x, new, -t / t_next, state.z)
                    descent.extrapolate(state.r, r_new, -t / t_next, state.rz)
                    state.inertia = t_next if moved > 0.0 else 1.0
                    continue
                value = candidate
            beta = (t - 1.0) / t_next
            descent.extrapolate(new, state.x, beta, state.z)
            descent.extrapolate(r_new, state.r, beta, state.rz)
            state.inertia = t_next
            self._accept(state, new, r_new)
        return float(moved)

    @staticmethod
    def _accept(state: ProximalState, new: Array, r_new: Array) -> None:
        """Make the proximal point the iterate and its old buffers the scratch ones."""
        state.x, state.spare_x = new, state.x
        state.r, state.spare_r = r_new, state.r

    def _first_level(self, problem: Problem, state: ProximalState) -> float:
        """Return the factor on the penalty at which the first step leaves x = 0."""
        if not hasattr(problem.penalty, "tilted"):
            return 1.0
        if isinstance(problem.penalty, (Concave, ConcaveNorms, CountedGroups)):
            norms = np.full(problem.n, math.sqrt(state.lipschitz))
            return (1.0 - 1e-9) * problem.penalty.lam_max(-state.g, norms)
        l0, free = problem.penalty.l0, problem.penalty.l0 > 0
        free &= np.isfinite(l0)
        squares = problem.penalty.magnitude(-state.g)[free] ** 2
        # a hair below the tie, which rounding would decide one way or the other
        return (1.0 - 1e-9) * float((squares / (2.0 * state.lipschitz * l0[free])).max(initial=0.0))


@dataclass(frozen=True, repr=False)
class ISTA(_ProximalGradient):
    """Iterate x <- prox(x - A^H (A x - b) / L): iterative soft thresholding, and for L0 hard thresholding.

    Parameters
    ----------
    norm : float, optional
        The spectral norm of A, L = norm^2; estimated if None. Too small a value is noticed and raised.
    continuation : bool
        For nonconvex penalties without x0: approach the problem through a falling sequence of levels,
        which finds far better minima than a cold start.

    Notes
    -----
    The objective never rises. For L0 this is iterative hard thresholding [2]_; its fixed points keep
    |x_j| >= sqrt(2 lam_j / L). Cost: one product with A and one with A^H per iteration; storage 4
    vectors (n,) and 5 vectors (m,). Guarantee: convergence of the objective like O(1/k) for convex
    penalties [1]_; nonconvex ones end stationary to first order.

    References
    ----------
    .. [1] I. Daubechies, M. Defrise, C. De Mol, Comm. Pure Appl. Math. 57 (2004) 1413-1457,
       doi:10.1002/cpa.20042.
    .. [2] T. Blumensath, M. Davies, J. Fourier Anal. Appl. 14 (2008) 629-654,
       doi:10.1007/s00041-008-9035-z.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> si.solve(np.eye(2), np.array([2.0, 0.1]), si.L0(0.5), solver=si.ISTA()).x.round(3)
    array([2., 0.])
    """

    norm: float | None = None
    continuation: bool = True

    def __post_init__(self) -> None:
        if self.norm is not None:
            validation.positive(self.norm, "norm")


@dataclass(frozen=True, repr=False)
class FISTA(_ProximalGradient):
    """Accelerate ISTA by extrapolation, restarted whenever momentum points uphill.

    Parameters
    ----------
    norm : float, optional
        The spectral norm of A, L = norm^2; estimated if None. Too small a value is noticed and raised.
    monotone : bool
        Refuse points that raise the objective (the extrapolation still leans towards them).

    Notes
    -----
    y_k = x_k + (t_k - 1) / t_{k+1} (x_k - x_{k-1}), t_{k+1} = (1 + sqrt(1 + 4 t_k^2)) / 2 [1]_, with
    t = 1 after every step for which <y - x_{k+1}, x_{k+1} - x_k> > 0 (gradient restart [2]_). Convex
    penalties only. Cost: exactly one product with A and one with A^H per iteration, the duality gap
    included; storage 5 vectors (n,) and 6 vectors (m,).

    References
    ----------
    .. [1] A. Beck, M. Teboulle, SIAM J. Imaging Sci. 2 (2009) 183-202, doi:10.1137/080716542, eq. 4.1-4.3.
    .. [2] B. O'Donoghue, E. Candes, Found. Comput. Math. 15 (2015) 715-732,
       doi:10.1007/s10208-013-9150-3.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> si.solve(np.eye(2), np.array([2.0, 0.1]), si.L1(0.5), solver=si.FISTA()).x
    array([1.5, 0. ])
    """

    accelerated: ClassVar[bool] = True
    norm: float | None = None
    monotone: bool = False

    def __post_init__(self) -> None:
        if self.norm is not None:
            validation.positive(self.norm, "norm")

    def check(self, problem: Problem) -> None:
        """Refuse nonconvex penalties."""
        if not problem.penalty.convex:
            raise refuse(self, "needs a convex penalty", "ISTA, CoordinateDescent, IRLS or IRL1")

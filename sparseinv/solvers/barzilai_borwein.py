"""Proximal steps of Barzilai-Borwein length, improved by a search in a plane, for products with A only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from sparseinv.certificate import DualPair
from sparseinv.problem import Problem, squared
from sparseinv.solvers.base import Outcome, Solver, State, refuse, start_point
from sparseinv.stopping import Budget

Array = np.ndarray[Any, Any]

# Tuned on counted products: partial cosine and Fourier transforms, random sparse maps, deconvolution.
_CHECK_EVERY = 10  # iterations between two certificates, unless the free gap meets the tolerance before
_LEVEL = 0.3  # factor between two levels of the continuation
_LOOSE = 0.1  # gap, relative to the objective, at which a level ends
_ROUNDS = 6  # Newton steps in the plane
_RETRY = 0.5  # the free gap is offered again once it has fallen by this factor
_REFRESH = 500  # iterations after which the residual is formed anew


@dataclass(slots=True, eq=False, kw_only=True)
class PlaneState(State):
    """Carry a proximal point x, the point z that it was made from, and the last movement of z."""

    z: Array  # point whose gradient is known, shape (n,)
    rz: Array  # A z - b
    g: Array  # A^H rz
    d: Array  # x - z
    Ad: Array
    p: Array  # last movement of z
    Ap: Array
    live: Array  # blocks in which d or p is not zero, in front
    products: tuple[float, ...] = ()  # inner products of rz, Ad, Ap while a step is pending
    count: int = 0  # length of live
    step: float = 1.0
    level: float = 1.0  # factor on the penalty while the problem is approached
    barrier: float = 0.0  # level of a nonnegative coefficient below zero
    offered: float = math.inf  # free gap at the last certificate that it asked for


@dataclass(frozen=True, repr=False)
class BarzilaiBorwein(Solver):
    """Doc."""

    continuation: bool = True

    def check(self, problem: Problem) -> None:
        """Refuse nonconvex penalties."""
        if not problem.penalty.convex:
            raise refuse(self, "needs a convex penalty", "ISTA, CoordinateDescent, IRLS or IRL1")

    def start(self, problem: Problem, x0: Array | None) -> Any:
        """Return the state at x0 (zero by default)."""
        problem.operator.phase = "setup"
        z = start_point(problem, x0)
        rz = problem.residual(z)
        g = problem.gradient(rz).copy()
        length = squared(g)
        state = PlaneState(
            z.copy(), rz.copy(), z=z, rz=rz, g=g, d=np.zeros_like(z), Ad=np.zeros_like(rz),
            p=np.zeros_like(z), Ap=np.zeros_like(rz), live=np.empty(problem.n, dtype=np.int64),
            step=squared(rz) / length if length > 0.0 else 1.0,
            barrier=2.0 * float(np.abs(g).max(initial=0.0)),
        )  # fmt: skip
        state.dual = DualPair(state.rz, state.g)
        if self.continuation and x0 is None and hasattr(problem.penalty, "lam_max"):
            top = _LEVEL * problem.penalty.lam_max(-g, None)
            if 1.0 < top < math.inf:
                state.level, state.settled = top, False
        return state

    def step(self, problem: Problem, state: Any, budget: Budget) -> Outcome:
        from sparseinv.kernels import descent, plane

        target = budget.tol * problem.scale
        penalty = problem.penalty
        tilted = penalty.tilted(state.level) if state.level > 1.0 else penalty
        for _ in range(min(_CHECK_EVERY, budget.iterations)):
            terms = tilted.terms
            if state.products:
                a, c = plane.search(
                    terms, state.barrier, state.live, state.count, state.z, state.d, state.p,
                    state.products, _ROUNDS,
                )  # fmt: skip
                moved = plane.move(terms, state.live, state.count, a, c, state.z, state.d, state.p)
                image = plane.move_image(a, c, state.rz, state.Ad, state.Ap)
                change = plane.renew(state.g, problem.gradient(state.rz))
                state.step = _length(moved, image, change, state.step)
                if state.level > 1.0:
                    gap = plane.free_gap(terms, state.x, state.r, state.rz, state.g, problem.b, state.step)
                    if gap <= _LOOSE * (0.5 * squared(state.r) + tilted.value(state.x)):
                        state.level = max(1.0, state.level * _LEVEL)
                        state.settled = state.level <= 1.0
                        tilted = penalty.tilted(state.level) if state.level > 1.0 else penalty
                        terms = tilted.terms
            descent.forward_backward(terms, state.z, state.g, state.step, state.x)
            state.count, length = plane.difference(terms, state.x, state.z, state.p, state.d, state.live)
            if length <= 1e-32 * squared(state.z):
                state.r[:] = state.rz
                state.x[:] = state.z
                state.products = ()
                return Outcome.FLOOR
            state.Ad[:] = problem.operator.matvec(state.d)
            state.products = plane.image_products(state.rz, state.Ad, state.Ap, state.r)
            state.n_iter += 1
            gap = plane.free_gap(penalty.terms, state.x, state.r, state.rz, state.g, problem.b, state.step)
            if gap <= min(target, _RETRY * state.offered):
                state.offered = gap
                break
        return Outcome.MOVED


def _length(moved: float, image: float, change: float, before: float) -> float:
    """Return the adaptive Barzilai-Borwein step of a movement."""
    if not (image > 0.0 and change > 0.0):
        return before
    steepest, residual = moved / image, image / change
    return residual if 2.0 * residual > steepest else steepest - 0.5 * residual

"""Choose a solver for a problem and say why."""

from __future__ import annotations

import dataclasses

from sparseinv.problem import Problem
from sparseinv.solvers.base import Solver
from sparseinv.solvers.coordinate_descent import CoordinateDescent
from sparseinv.solvers.least_squares import is_direct
from sparseinv.solvers.proximal_gradient import FISTA, ISTA
from sparseinv.solvers.reweighted import IRL1, IRLS
from sparseinv.solvers.ridge import Ridge


def choose(problem: Problem) -> tuple[Solver, str]:
    """Return (solver, reason) for a problem."""
    penalty = problem.penalty
    if getattr(penalty, "quadratic", False):
        how = "one linear system" if is_direct(problem) else "a linear system solved by conjugate gradients"
        return Ridge(), f"auto: an L2 penalty is {how}"
    if penalty.terms is None:
        name = type(penalty).__name__
        if penalty.convex:
            return FISTA(), f"auto: {name} is a convex penalty known by its prox"
        return ISTA(), f"auto: {name} is a penalty known by its prox, convexity not declared"
    if not penalty.convex:
        return complete(IRL1(), problem), "auto: nonconvex penalty, approached through reweighted L1"
    if problem.explicit:
        return CoordinateDescent(), "auto: columns in memory, convex penalty"
    return FISTA(), "auto: matrix-free operator, convex penalty"


def complete(solver: Solver, problem: Problem) -> Solver:
    """Return the solver with the inner solver it needs."""
    if isinstance(solver, IRL1) and solver.inner is None:
        solver = dataclasses.replace(solver, inner=CoordinateDescent() if problem.explicit else FISTA())
    if isinstance(solver, (IRLS, IRL1)) and solver.polish is None:
        proximal = FISTA() if problem.penalty.convex else ISTA()
        solver = dataclasses.replace(solver, polish=CoordinateDescent() if problem.explicit else proximal)
    return solver

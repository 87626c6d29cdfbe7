"""Choose a solver for a problem and say why."""

from __future__ import annotations

import dataclasses

import numpy as np

from sparseinv.penalties.balls import Ball
from sparseinv.penalties.group import Grouped
from sparseinv.penalties.separable import Separable
from sparseinv.problem import Problem
from sparseinv.solvers.barzilai_borwein import BarzilaiBorwein
from sparseinv.solvers.base import Solver
from sparseinv.solvers.branch_and_bound import BranchAndBound
from sparseinv.solvers.coordinate_descent import CoordinateDescent
from sparseinv.solvers.lazy_columns import are_cheap
from sparseinv.solvers.least_squares import is_direct
from sparseinv.solvers.local_search import LocalSearch
from sparseinv.solvers.proximal_gradient import FISTA, ISTA
from sparseinv.solvers.reweighted import IRL1, IRLS
from sparseinv.solvers.ridge import Ridge
from sparseinv.solvers.working_set import WorkingSet

_LARGEST_GROUP = 200  # what WorkingSet decomposes at once; a larger group takes proximal steps elsewhere


def choose(problem: Problem) -> tuple[Solver, str]:
    """Return (solver, reason) for a problem."""
    penalty = problem.penalty
    if getattr(penalty, "quadratic", False):
        how = "one linear system" if is_direct(problem) else "a linear system solved by conjugate gradients"
        return Ridge(), f"auto: an L2 penalty is {how}"
    if isinstance(penalty, Ball) and problem.explicit and _real(problem):
        return LocalSearch(), "auto: at most k non-zeros, columns in memory, real data"
    if penalty.terms is None:
        name = type(penalty).__name__
        if penalty.convex:
            return FISTA(), f"auto: {name} is a convex penalty known by its prox"
        return ISTA(), f"auto: {name} is a penalty known by its prox, convexity not declared"
    if not penalty.convex:
        return complete(IRL1(), problem), "auto: nonconvex penalty, approached through reweighted L1"
    if not problem.explicit and _real(problem) and isinstance(penalty, Separable):
        closed = problem.operator.inner.closed_columns
        how = "columns in closed form" if closed else "first-order steps, columns where those stall"
        return complete(WorkingSet(), problem), f"auto: matrix-free operator, separable convex penalty, {how}"
    solver = _convex(problem)
    if isinstance(solver, WorkingSet):
        kind = "real data" if _real(problem) else "complex data"
        shape = "groups" if isinstance(penalty, Grouped) else "separable convex penalty"
        return solver, f"auto: columns in memory, {kind}, {shape}"
    if problem.explicit:
        return solver, "auto: columns in memory, groups too large for second-order steps"
    return solver, "auto: matrix-free operator, convex penalty, fewest products"


def resolve(problem: Problem, solver: Solver | str) -> tuple[Solver, str]:
    """Return (solver, reason): the one given, completed and checked, or a choice for "auto"."""
    if isinstance(solver, Solver):
        method = complete(solver, problem)
        method.check(problem)
        return method, ""
    return choose(problem)


def _convex(problem: Problem) -> Solver:
    """Return the solver for the problem, or for a convex surrogate of it with the same levels."""
    if not problem.explicit:
        # in this order: to learn the type of an operator that does not declare it takes a product
        lazy = isinstance(problem.penalty, Separable) and are_cheap(problem) and _real(problem)
        return complete(WorkingSet(), problem) if lazy else BarzilaiBorwein()
    starts = problem.penalty.terms[5]
    largest = int(np.diff(starts).max(initial=1))
    return WorkingSet() if largest <= _LARGEST_GROUP else CoordinateDescent()


def _real(problem: Problem) -> bool:
    return "c" not in (problem.operator.dtype.kind, problem.b.dtype.kind)


def complete(solver: Solver, problem: Problem) -> Solver:
    """Return the solver with the inner solver it needs."""
    if isinstance(solver, IRL1) and solver.inner is None:
        solver = dataclasses.replace(solver, inner=_convex(problem))
    if isinstance(solver, WorkingSet) and solver.first_order is None and not problem.explicit:
        solver = dataclasses.replace(solver, first_order=BarzilaiBorwein())
    if isinstance(solver, BranchAndBound) and solver.incumbent is None:
        solver = dataclasses.replace(solver, incumbent=LocalSearch())
    if isinstance(solver, (IRLS, IRL1)) and solver.polish is None:
        proximal = FISTA() if problem.penalty.convex else ISTA()
        solver = dataclasses.replace(solver, polish=CoordinateDescent() if problem.explicit else proximal)
    return solver

"""Choose a solver for a problem and say why."""

from __future__ import annotations

import dataclasses

import numpy as np

from sparseinv.group_moves import fits
from sparseinv.penalties.balls import Ball, CrossPolytope
from sparseinv.penalties.group import Grouped
from sparseinv.penalties.group_l0 import CountedGroups
from sparseinv.penalties.group_nonconvex import ConcaveNorms
from sparseinv.penalties.nonconvex import Concave
from sparseinv.penalties.separable import Separable
from sparseinv.problem import Problem
from sparseinv.solvers.active_entries import are_known
from sparseinv.solvers.barzilai_borwein import BarzilaiBorwein
from sparseinv.solvers.base import Solver
from sparseinv.solvers.bayesian import SparseBayesian
from sparseinv.solvers.branch_and_bound import BranchAndBound
from sparseinv.solvers.coordinate_descent import CoordinateDescent
from sparseinv.solvers.discrete_answer import Smoothed
from sparseinv.solvers.greedy import OLS, OMP
from sparseinv.solvers.lazy_columns import are_cheap
from sparseinv.solvers.least_squares import is_direct
from sparseinv.solvers.level_search import LevelSearch
from sparseinv.solvers.local_search import LocalSearch
from sparseinv.solvers.majorised import Majorised
from sparseinv.solvers.message_passing import MessagePassing
from sparseinv.solvers.portfolio import Portfolio, leveled, treats_ball
from sparseinv.solvers.proximal_gradient import FISTA, ISTA
from sparseinv.solvers.reweighted_l1 import IRL1
from sparseinv.solvers.reweighted_least_squares import IRLS
from sparseinv.solvers.ridge import Ridge
from sparseinv.solvers.smoothed_l0 import SL0
from sparseinv.solvers.thresholding import IterativeHardThresholding
from sparseinv.solvers.working_set import WorkingSet

_LARGEST_GROUP = 200  # what WorkingSet decomposes at once; a larger group takes proximal steps elsewhere

_ENTRIES = 2_000_000  # of A up to which a local search starts from reweighted L1 as well
_TINY = 4000  # the same up to which random supports find more in the time, for a ball
_MOVES = 2e9  # n k^2 up to which a larger problem is searched for k non-zeros
_ITERATED = 1e9  # the same for a factorisation in each of some hundred iterations of a portfolio
_CUBE = 2e7  # min(m, n)^2 max(m, n) up to which it starts from reweighted least squares, too


def choose(problem: Problem) -> tuple[Solver, str]:
    """Return (solver, reason) for a problem."""
    penalty = problem.penalty
    if getattr(penalty, "quadratic", False):
        how = "one linear system" if is_direct(problem) else "a linear system solved by conjugate gradients"
        return Ridge(), f"auto: an L2 penalty is {how}"
    if isinstance(penalty, Ball) and are_cheap(problem):
        return complete(LocalSearch(), problem), "auto: at most k non-zeros, columns of A at hand"
    if isinstance(penalty, CrossPolytope):
        if problem.explicit:
            reason = "auto: columns in memory, L1Ball by the level of its L1 problem"
            return complete(LevelSearch(), problem), reason
        return BarzilaiBorwein(), "auto: matrix-free operator, L1Ball by projections, fewest products"
    if isinstance(penalty, Concave):
        return complete(Majorised(), problem), "auto: concave in the modulus, majorised by weighted L1"
    if isinstance(penalty, CountedGroups):
        if fits(problem):
            return complete(LocalSearch(), problem), "auto: L0 of groups, exact moves between sets of groups"
        return ISTA(), "auto: L0 of groups, matrix-free or of very uneven sizes, by hard thresholding"
    if isinstance(penalty, ConcaveNorms):
        return complete(Majorised(), problem), "auto: concave in group norms, majorised by GroupL1"
    if penalty.terms is None:
        name = type(penalty).__name__
        if penalty.convex:
            return FISTA(), f"auto: {name} is a convex penalty known by its prox"
        return ISTA(), f"auto: {name} is a penalty known by its prox, convexity not declared"
    if not penalty.convex and are_cheap(problem) and _is_searched(problem):
        reason = "auto: L0, columns of A at hand, small enough for exact moves between supports"
        return complete(LocalSearch(starts=(IRL1(),) if problem.explicit else ()), problem), reason
    if not penalty.convex:
        return complete(IRL1(), problem), "auto: nonconvex penalty, approached through reweighted L1"
    if not problem.explicit and _real(problem) and isinstance(penalty, Separable):
        closed = problem.operator.inner.closed_columns
        how = "columns in closed form" if closed else "first-order steps, columns where those stall"
        return complete(WorkingSet(), problem), f"auto: matrix-free operator, separable convex penalty, {how}"
    if are_known(problem):
        how = "first-order steps, entries of A^H A where those stall"
        return complete(WorkingSet(), problem), f"auto: matrix-free operator, complex data, {how}"
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
        separable = isinstance(problem.penalty, (Separable, Concave, CrossPolytope))
        lazy = separable and are_cheap(problem) and _real(problem)
        return complete(WorkingSet(), problem) if lazy else BarzilaiBorwein()
    penalty = problem.penalty
    starts = getattr(penalty, "starts", ()) if penalty.terms is None else penalty.terms[5]
    largest = int(np.diff(starts).max(initial=1))
    return WorkingSet() if largest <= _LARGEST_GROUP else CoordinateDescent()


def _is_searched(problem: Problem) -> bool:
    """Tell whether exact moves between supports take seconds at most, for an L0 penalty and real data.

    No minimiser has more non-zeros than 1/2 ||b||^2 over the smallest level, and all moves that lead to k of
    them take a few times n k^2 multiplications.
    """
    penalty = problem.penalty
    if not isinstance(penalty, Separable) or not _real(problem):
        return False
    if problem.m * problem.n <= _ENTRIES:
        return True
    most = float(min(problem.m, problem.n))
    smallest = float(penalty.l0.min(initial=np.inf))
    if smallest > 0.0:
        most = min(most, problem.scale / smallest)
    return problem.n * most**2 <= _MOVES


def _starts(solver: LocalSearch, problem: Problem) -> tuple[Solver, ...]:
    """Return the solvers whose answers a local search starts from, each with what it needs."""
    given, penalty = solver.starts, problem.penalty
    if given is None:
        given = ()
        if isinstance(penalty, CountedGroups):
            return given
        least = _TINY if isinstance(penalty, Ball) else -1
        if problem.explicit and least < problem.m * problem.n <= _ENTRIES:
            single = isinstance(penalty, Ball) or penalty.nonnegative or not is_quick(problem)
            given = (IRL1(),) if single else (IRL1(), IRLS())
    return tuple(complete(start, problem) for start in given)


def _portfolio(solver: Portfolio, problem: Problem) -> Portfolio:
    """Return a portfolio with its starts, those by default where they accept the problem, and its polish."""
    cheap, ball = are_cheap(problem), isinstance(problem.penalty, Ball)
    starts = solver.starts
    if starts is None:
        few, many = sorted((problem.m, problem.n))
        iterated = not problem.explicit or float(few) ** 2 * many <= _ITERATED
        offered: list[Solver] = [MessagePassing()] if iterated else []
        offered += [OMP() if problem.penalty.nonnegative else OLS()]
        offered.append(IRL1())
        if not problem.explicit:
            offered.append(SL0())
        if iterated:
            offered += [IRLS(), SparseBayesian()]
        if cheap and (ball or problem.m * problem.n <= _ENTRIES):
            offered.append(LocalSearch(starts=()))
        starts = tuple(start for start in offered if _is_accepted(start, problem))
    polish = solver.polish
    if polish is None and cheap and _is_accepted(LocalSearch(), problem):
        polish = LocalSearch(restarts=0, starts=())
    elif polish is None:
        polish = IterativeHardThresholding() if ball else CoordinateDescent() if problem.explicit else ISTA()
    return dataclasses.replace(
        solver,
        starts=tuple(_completed_start(start, problem) for start in starts),
        polish=complete(polish, problem),
    )


def _completed_start(start: Solver, problem: Problem) -> Solver:
    fits = treats_ball(start, problem)
    return complete(start, problem if fits else leveled(problem, 1.0))


def _is_accepted(solver: Solver, problem: Problem) -> bool:
    if isinstance(problem.penalty, (Ball, Separable)):
        own = problem if treats_ball(solver, problem) else leveled(problem, 1.0)
        try:
            solver.check(own)
        except ValueError:
            return False
        return True
    return False


def is_quick(problem: Problem) -> bool:
    """Tell whether reweighted least squares take about as long as reweighted L1."""
    few, many = sorted((problem.m, problem.n))
    return float(few) ** 2 * many <= _CUBE


def _real(problem: Problem) -> bool:
    return "c" not in (problem.operator.dtype.kind, problem.b.dtype.kind)


def complete(solver: Solver, problem: Problem) -> Solver:
    """Return the solver with the inner solver it needs."""
    if isinstance(solver, (IRL1, LevelSearch, Majorised)):
        inner = _convex(problem) if solver.inner is None else complete(solver.inner, problem)
        solver = dataclasses.replace(solver, inner=inner)
    if isinstance(solver, WorkingSet) and solver.first_order is None and not problem.explicit:
        solver = dataclasses.replace(solver, first_order=BarzilaiBorwein())
    if isinstance(solver, BranchAndBound):
        first, incumbent = solver.first, solver.incumbent
        if first is None and incumbent is None:
            first = LocalSearch(restarts=0, starts=())
        solver = dataclasses.replace(
            solver, incumbent=complete(incumbent or LocalSearch(), problem),
            first=None if first is None else complete(first, problem),
        )  # fmt: skip
    if isinstance(solver, LocalSearch):
        solver = dataclasses.replace(solver, starts=_starts(solver, problem))
    if isinstance(solver, Portfolio) and isinstance(problem.penalty, (Separable, Ball)):
        solver = _portfolio(solver, problem)
    if isinstance(solver, (Smoothed, Majorised)):
        proximal = FISTA() if problem.penalty.convex else ISTA()
        coordinates = problem.explicit and not isinstance(problem.penalty, ConcaveNorms)
        usual = CoordinateDescent() if coordinates else proximal
        polish = usual if solver.polish is None else complete(solver.polish, problem)
        solver = dataclasses.replace(solver, polish=polish)
    return solver

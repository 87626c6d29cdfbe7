"""Which active set a problem needs, and what it costs to go over to it."""

from __future__ import annotations

import math

from sparseinv.penalties.separable import Separable
from sparseinv.problem import Problem
from sparseinv.solvers.active_blocks import ActiveBlocks
from sparseinv.solvers.active_columns import ActiveColumns
from sparseinv.solvers.active_entries import ActiveEntries

# time of the Newton systems of a run where s^3 = n log2(n), in products by fast transforms
_FACTORS = 2.5


def are_signed(problem: Problem) -> bool:
    """Tell whether signs can be held fixed: real coefficients, each with a level of its own."""
    real = "c" not in (problem.operator.dtype.kind, problem.b.dtype.kind)
    return real and isinstance(problem.penalty, Separable)


def empty_set(problem: Problem) -> ActiveColumns | ActiveBlocks:
    """Return an active set of the kind that the problem needs, with nothing in it."""
    if are_signed(problem):
        return ActiveColumns(problem)
    return ActiveBlocks(problem) if problem.explicit else ActiveEntries(problem)


def price(problem: Problem, nonzeros: int) -> float:
    """Return what a run from a support of this size costs beside its rounds, in products with A."""
    if are_signed(problem):
        return float(nonzeros)  # one for each column
    # Newton systems of twice the size, against a fast transform
    return _FACTORS * nonzeros**3 / (problem.n * math.log2(max(problem.n, 2)))

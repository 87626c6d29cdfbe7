"""The proof that comes with every answer, a bound on how much the objective could still go down.

For a convex problem any nu with a finite dual value proves a gap, evaluated as a sum of Fenchel-Young
terms that are all >= 0::

    F(x) - D(nu) = 1/2 ||b - A x - nu||^2 + sum_j [R_j(x_j) + R_j*(a_j^H nu) - Re(conj(x_j) a_j^H nu)]

Several nu are tried: the scaled residual, the one of the solver, and the one of the problem solved on
the support of x. For a nonconvex problem the value is the best decrease in a stated neighbourhood.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparseinv.dual_points import refits
from sparseinv.group_moves import judges_groups
from sparseinv.hidden_groups import group_decrease
from sparseinv.hidden_moves import swap_decrease
from sparseinv.operators.matrix import inner
from sparseinv.problem import Problem, squared
from sparseinv.signed_moves import judges

Array = np.ndarray[Any, Any]

_IDLE = 3  # refits in a row that do not help after which no more are made


class Kind(enum.Enum):
    """Say what a certificate proves; each value is the phrase a report uses.

    Examples
    --------
    >>> Kind.DUALITY_GAP.is_global, Kind.COORDINATE_MINIMUM.is_global
    (True, False)
    """

    DUALITY_GAP = "global within {relative:.1e} of 1/2||b||^2"
    GLOBAL_BOUND = "global within {relative:.1e} of 1/2||b||^2 (branch and bound)"
    SWAP_MINIMUM = "swap-optimal within {relative:.1e} of 1/2||b||^2, a local statement"
    COORDINATE_MINIMUM = "no single coefficient improves it by over {relative:.1e} of 1/2||b||^2 (local)"
    PROX_STATIONARITY = "stationary to first order within {relative:.1e} of 1/2||b||^2 (local)"

    @property
    def is_global(self) -> bool:
        """Whether the value bounds the distance to the global minimum."""
        return self in (Kind.DUALITY_GAP, Kind.GLOBAL_BOUND)


@dataclass(frozen=True)
class Certificate:
    """Say how good a point is, in units of the objective.

    Attributes
    ----------
    kind : Kind
        What is proved. DUALITY_GAP and GLOBAL_BOUND bound the distance to the global minimum; the
        other kinds give the best decrease found in the stated neighbourhood and are no global bound.
    value : float
        How much the objective could still go down.
    scale : float
        1/2 ||b||^2.
    relative : float
        value / scale, 0/0 = 0; this is what ``tol`` is compared with.
    objective : float
        The objective at the point.
    bound : float
        objective - value: a lower bound of the minimum for the global kinds, -inf for the others.
    provided : str
        What the proof assumes, in words; empty where it assumes nothing.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> certificate = si.solve(np.eye(2), np.array([2.0, 1.0]), si.L1(0.5)).certificate
    >>> certificate.kind.name, certificate.value, certificate.bound
    ('DUALITY_GAP', 0.0, 1.25)
    """

    kind: Kind
    value: float
    scale: float
    relative: float
    objective: float
    bound: float
    provided: str = ""

    def __str__(self) -> str:
        proof = self.kind.value.format(relative=self.relative)
        return f"{proof}, provided {self.provided}" if self.provided else proof


@dataclass(frozen=True)
class DualPair:
    """A vector v (m,) with A^H v (n,), kept by a solver: -v is a candidate for the dual point."""

    v: Array
    Ahv: Array


def certify_problem(
    problem: Problem,
    x: Array,
    *,
    r: Array | None = None,
    dual: DualPair | None = None,
    refit: bool = False,
    target: float = 0.0,
    local: Kind = Kind.COORDINATE_MINIMUM,
    floor: float = -math.inf,
    provided: str = "",
) -> Certificate:
    """Judge x, in working units.

    Parameters
    ----------
    problem : Problem
        What x is meant to minimise.
    x : ndarray, shape (n,)
        The point, working units.
    r : ndarray, shape (m,), optional
        A x - b if it is at hand (one product saved); recomputed if None.
    dual : DualPair, optional
        A candidate whose adjoint product is known: it costs nothing, and the residual's own adjoint
        product is then not formed.
    refit : bool
        Also try the dual points of the problem solved on the support (convex problems).
    target : float
        Stop trying candidates once the relative value is at most this.
    local : Kind
        What to prove where the problem is nonconvex and columns are available.
    floor, provided : float, str
        A lower bound that a branch and bound has proven, working units, and what its proof assumes.

    Returns
    -------
    Certificate
        In the user's units.

    Notes
    -----
    Products: one with A unless r is given, one with A^H unless dual is given, one more with A^H per
    projection on unpenalised columns and per refit, one more with A for first-order stationarity.
    """
    if r is None:
        r = problem.residual(x)
    objective = problem.objective(x, r)
    if objective == 0.0 and hasattr(problem.penalty, "in_units"):
        kind, value, provided = Kind.DUALITY_GAP, 0.0, ""  # no objective of this family is ever negative
    elif floor > -math.inf:
        kind, value = Kind.GLOBAL_BOUND, max(objective - floor, 0.0)
    elif not getattr(problem.penalty, "convex", False) or not _has_dual(problem.penalty):
        kind, value = _local(problem, x, r, local)
    else:
        kind, value = Kind.DUALITY_GAP, _gap(problem, x, r, dual, refit, target)
        if hasattr(problem.penalty, "in_units"):
            value = min(value, objective)  # again because it is never negative
    units = problem.units
    relative = problem.relative(value)
    outer = units.objective(value)
    total = units.objective(objective)
    bound = total - outer if kind.is_global and math.isfinite(outer) else -math.inf
    return Certificate(kind, outer, units.objective(problem.scale), relative, total, bound, provided)


def unproven(problem: Problem, x: Array, kind: Kind, r: Array | None = None) -> Certificate:
    """Return the objective at x, in working units, with a certificate that proves nothing."""
    units = problem.units
    total = units.objective(problem.objective(x, problem.residual(x) if r is None else r))
    return Certificate(kind, math.inf, units.objective(problem.scale), math.inf, total, -math.inf)


def _has_dual(penalty: Any) -> bool:
    return hasattr(penalty, "fenchel_young") or hasattr(penalty, "conjugate")


def _gap(problem: Problem, x: Array, r: Array, dual: DualPair | None, refit: bool, target: float) -> float:
    best = math.inf
    g = None
    free = None if dual is None else (dual.v, dual.Ahv)
    if dual is not None and problem.unpenalised.size:
        free = problem.projected(dual.v, dual.Ahv)
    if free is not None:
        best = _value(problem, x, r, *free, sign=-1.0)
    else:
        nu = problem.project(-r, x)
        minus_g = problem.gradient(nu)
        g = -minus_g
        best = _value(problem, x, r, nu, minus_g)
    known = problem.penalty.terms is not None  # other penalties say nothing about levels on a support
    if refit and known and problem.relative(best) > target and math.isfinite(best):
        idle = 0
        for nu, c in refits(problem, x, r, g):
            value = _value(problem, x, r, nu, c)
            idle = 0 if value < 0.9 * best else idle + 1
            best = min(best, value)
            if problem.relative(best) <= target or idle == _IDLE:
                break
    return best


def _value(problem: Problem, x: Array, r: Array, nu: Array, c: Array, *, sign: float = 1.0) -> float:
    """Return the gap between F(x) and the dual value of the best multiple of sign * nu, for c = A^H nu."""
    penalty = problem.penalty
    if not hasattr(penalty, "best_scale"):
        return _custom_value(problem, x, r, sign * nu, sign * c)
    correlation = sign * inner(problem.b, nu).real
    s = sign * penalty.best_scale(c, correlation, squared(nu), sign=sign)
    difference = r + s * nu
    return 0.5 * squared(difference) + penalty.fenchel_young(x, c, s)


def _custom_value(problem: Problem, x: Array, r: Array, nu: Array, c: Array) -> float:
    """Do the same with nothing but the conjugate of a user's penalty: halve s until it is finite."""
    penalty = problem.penalty
    primal = penalty.value(x)
    best = problem.objective(x, r) if penalty.value(np.zeros_like(x)) == 0.0 else math.inf
    for k in range(60):
        s = 0.5**k
        conjugate = penalty.conjugate(s * c)
        if math.isfinite(conjugate):
            coupling = primal + conjugate - float(np.vdot(x, s * c).real)
            best = min(best, 0.5 * squared(r + s * nu) + max(coupling, 0.0))
            if k > 0:
                break
    return best


# --- nonconvex problems ------------------------------------------------------------------------------


def _local(problem: Problem, x: Array, r: Array, wanted: Kind) -> tuple[Kind, float]:
    penalty = problem.penalty
    if wanted is Kind.SWAP_MINIMUM and judges_groups(problem, x):
        decrease = group_decrease(problem, x, r)
        if decrease is not None:
            return wanted, decrease
    if wanted is Kind.SWAP_MINIMUM and judges(problem, x):
        return wanted, swap_decrease(problem, x, r)
    g = problem.gradient(r)
    if (
        wanted in (Kind.COORDINATE_MINIMUM, Kind.SWAP_MINIMUM)
        and problem.explicit
        and hasattr(penalty, "values")
    ):
        return Kind.COORDINATE_MINIMUM, _coordinate_decrease(problem, x, g)
    before = float(penalty.value(x))
    if not math.isfinite(before):
        return Kind.PROX_STATIONARITY, math.inf
    lipschitz = problem.lipschitz[0]
    if not lipschitz > 0.0:
        lipschitz = 1.0
    while True:
        y = penalty.prox(x - g / lipschitz, 1.0 / lipschitz)
        s = y - x
        length = squared(s)
        if length <= 1e-28 * squared(x):
            return Kind.PROX_STATIONARITY, 0.0
        # the norm of A is an estimate: where the step is too long, its gain would be too good to be true
        curvature = squared(problem.operator.matvec(s))
        if not curvature > lipschitz * length * (1.0 + 1e-9):
            break
        lipschitz = max(1.02 * curvature / length, 1.05 * lipschitz)
    decrease = before - float(penalty.value(y)) - float(np.vdot(g, s).real) - 0.5 * curvature
    return Kind.PROX_STATIONARITY, max(decrease, 0.0)


def _coordinate_decrease(problem: Problem, x: Array, g: Array) -> float:
    """Return the exact best decrease of the objective by changing one coefficient."""
    penalty = problem.penalty
    d = problem.column_norms**2
    step = np.divide(1.0, d, out=np.ones_like(d), where=d > 0)
    target = np.where(d > 0, x - step * g, np.where(penalty.unpenalised, x, 0.0))
    y = penalty.prox(target, step)
    with np.errstate(invalid="ignore"):
        before = 0.5 * d * np.abs(x - target) ** 2 + penalty.values(x)
        after = 0.5 * d * np.abs(y - target) ** 2 + penalty.values(y)
        decrease = np.where(np.isinf(before) & np.isinf(after), 0.0, before - after)
    return float(np.maximum(decrease, 0.0).max(initial=0.0))

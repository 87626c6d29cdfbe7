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
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparseinv.problem import Problem, squared

Array = np.ndarray[Any, Any]

_LARGEST_REFIT = 2000  # a support beyond this is not refitted for the sake of a certificate
_ROUNDS = 8  # repairs of the support while refitting


class Kind(enum.Enum):
    """Say what a certificate proves; each value is the phrase a report uses."""

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
    """

    kind: Kind
    value: float
    scale: float
    relative: float
    objective: float
    bound: float

    def __str__(self) -> str:
        return self.kind.value.format(relative=self.relative)


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

    Returns
    -------
    Certificate
        In the user's units.

    Notes
    -----
    Products: one with A unless r is given, one with A^H unless dual is given, one more with A^H per
    projection on unpenalised columns and per refit.
    """
    if r is None:
        r = problem.residual(x)
    objective = problem.objective(x, r)
    if objective == 0.0 and hasattr(problem.penalty, "in_units"):
        kind, value = Kind.DUALITY_GAP, 0.0  # no objective of this family is ever negative
    elif not getattr(problem.penalty, "convex", False) or not _has_dual(problem.penalty):
        kind, value = _local(problem, x, r, local)
    else:
        kind, value = Kind.DUALITY_GAP, _gap(problem, x, r, dual, refit, target)
    units = problem.units
    relative = problem.relative(value)
    outer = units.objective(value)
    total = units.objective(objective)
    bound = total - outer if kind.is_global and math.isfinite(outer) else -math.inf
    return Certificate(kind, outer, units.objective(problem.scale), relative, total, bound)


def _has_dual(penalty: Any) -> bool:
    return hasattr(penalty, "fenchel_young") or hasattr(penalty, "conjugate")


def _gap(
    problem: Problem, x: Array, r: Array, dual: DualPair | None, refit: bool, target: float
) -> float:
    best = math.inf
    g = None
    if dual is not None and problem.unpenalised.size == 0:
        best = _value(problem, x, r, -dual.v, -dual.Ahv)
    else:
        nu = problem.project(-r)
        minus_g = problem.gradient(nu)
        g = -minus_g
        best = _value(problem, x, r, nu, minus_g)
    if refit and problem.relative(best) > target and math.isfinite(best):
        for nu, c in _refits(problem, x, r, g):
            best = min(best, _value(problem, x, r, nu, c))
            if problem.relative(best) <= target:
                break
    return best


def _value(problem: Problem, x: Array, r: Array, nu: Array, c: Array) -> float:
    """Return the gap between F(x) and the dual value of the best multiple of nu, for c = A^H nu."""
    penalty = problem.penalty
    if not hasattr(penalty, "best_scale"):
        return _custom_value(problem, x, r, nu, c)
    s = penalty.best_scale(c, float(np.vdot(problem.b, nu).real), squared(nu))
    difference = r + s * nu
    return 0.5 * squared(difference) + penalty.fenchel_young(x, s * c)


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


# --- the problem solved on the support --------------------------------------------------------------


def _refits(problem: Problem, x: Array, r: Array, g: Array | None) -> Iterator[tuple[Array, Array]]:
    """Yield dual candidates (nu, A^H nu) of an active-set solve that starts from the support of x.

    At the solution of the problem restricted to the right support S with the right signs, a_j^H nu
    equals the penalty's slope on S, so that only the other columns can force nu to be scaled down.
    """
    penalty = problem.penalty
    if g is None:
        g = problem.gradient(r)
    if not problem.explicit and int(np.count_nonzero(x)) > 500:
        return
    working = _first_support(problem, x, g)
    free = ~penalty.excluded
    for _ in range(_ROUNDS):
        index = np.flatnonzero(working)
        if not 0 < index.size <= _LARGEST_REFIT:
            return
        columns = problem.operator.columns(index)
        y = _solve_on(problem, columns, index, x[index])
        nu = problem.project(problem.b - columns @ y)
        c = problem.gradient(nu)
        yield nu, c
        pressed = _pressure(penalty, c) > 1.0 + 1e-10
        violators = np.flatnonzero(pressed & ~working & free)
        following = np.zeros_like(working)
        following[index[y != 0]] = True
        following |= penalty.unpenalised
        if violators.size:
            order = np.argsort(_pressure(penalty, c)[violators])[::-1]
            following[violators[order[: max(10, index.size // 2)]]] = True
        if (following == working).all():
            return
        working = following


def _first_support(problem: Problem, x: Array, g: Array) -> Array:
    """Guess the support by one coordinate-wise proximal step from x (x itself where norms are costly)."""
    penalty = problem.penalty
    if problem.explicit and hasattr(penalty, "l1"):
        squares = problem.column_norms**2
        step = np.divide(1.0, squares, out=np.zeros_like(squares), where=squares > 0)
        guess = penalty.prox(x - step * g, step) != 0
    else:
        guess = x != 0
    if hasattr(penalty, "lam"):  # whole groups
        guess = penalty.spread(penalty.norms(guess.astype(float)) > 0)
    return np.asarray((guess | penalty.unpenalised) & ~penalty.excluded)


def _pressure(penalty: Any, c: Array) -> Array:
    """Return |a_j^H nu| over the level that a zero coefficient withstands."""
    if hasattr(penalty, "l1"):
        size, level = penalty.magnitude(c), penalty.l1
    else:
        size, level = penalty.spread(penalty.norms(c)), penalty.level
    return np.divide(size, level, out=np.where(size > 0, np.inf, 0.0), where=level > 0)


def _solve_on(problem: Problem, columns: Array, index: Array, start: Array) -> Array:
    """Minimise the objective over the given columns, starting from start; zeros drop out on the way."""
    penalty = problem.penalty
    gram = columns.conj().T @ columns
    q = columns.conj().T @ problem.b
    if hasattr(penalty, "l1") and problem.dtype.kind != "c":
        return _sign_fixed(gram, q, penalty.l1[index], penalty.l2[index], start, penalty.nonnegative)
    return _smooth_newton(problem, gram, q, index, start)


def _sign_fixed(gram: Array, q: Array, l1: Array, l2: Array, start: Array, nonnegative: bool) -> Array:
    """Solve G y + l2 y = q - l1 sign(y), dropping coordinates whose sign turns out wrong."""
    sign = np.where(start != 0, np.sign(start), np.sign(q - gram @ start))
    if nonnegative:
        sign = np.ones_like(sign)
    alive = np.ones(q.size, dtype=bool)
    constrained = (l1 > 0) | nonnegative
    y = np.zeros(q.size)
    for _ in range(_ROUNDS):
        live = np.flatnonzero(alive)
        y[:] = 0.0
        if live.size == 0:
            break
        H = gram[np.ix_(live, live)] + np.diag(l2[live])
        y[live] = solve_symmetric(H, q[live] - l1[live] * sign[live])
        wrong = alive & constrained & (y * sign < 0)
        if not wrong.any():
            break
        alive &= ~wrong
    y[constrained & (y * sign < 0)] = 0.0
    return y


def _smooth_newton(problem: Problem, gram: Array, q: Array, index: Array, start: Array) -> Array:
    """Newton's method on moduli or group norms, which are smooth away from zero.

    Complex coordinates count as two real ones; a block that shrinks below 1e-9 of the largest drops out.
    """
    penalty = problem.penalty
    is_complex = problem.dtype.kind == "c"
    if is_complex:
        gram = np.block([[gram.real, -gram.imag], [gram.imag, gram.real]])
        q = np.concatenate([q.real, q.imag])
        start = np.concatenate([start.real, start.imag])
    if hasattr(penalty, "l1"):
        level, ridge = penalty.l1[index], penalty.l2[index]
        block = np.arange(index.size)
    else:
        level, ridge = penalty.level[index], np.zeros(index.size)
        place = np.empty(penalty.n, dtype=np.int64)
        place[penalty.order] = np.repeat(np.arange(penalty.lam.size), np.diff(penalty.starts))
        block = np.unique(place[index], return_inverse=True)[1]
    if is_complex:
        level, ridge, block = np.tile(level, 2), np.tile(ridge, 2), np.tile(block, 2)
    y = start.copy()
    gradient = gram @ y - q
    fresh = y == 0
    y[fresh] = -1e-3 * gradient[fresh] / np.maximum(np.diag(gram)[fresh], 1e-300)
    for _ in range(12):
        size = np.sqrt(np.bincount(block, weights=y * y))
        alive = (size > 1e-9 * size.max(initial=0.0))[block]
        y[~alive] = 0.0
        live = np.flatnonzero(alive)
        if live.size == 0:
            break
        norm = size[block[live]]
        unit = y[live] / norm
        slope = level[live]
        gradient = gram[np.ix_(live, live)] @ y[live] - q[live] + ridge[live] * y[live] + slope * unit
        same = block[live][:, None] == block[live][None, :]
        curved = np.where(same, -np.outer(unit, unit), 0.0) + np.eye(live.size)
        H = gram[np.ix_(live, live)] + np.diag(ridge[live]) + (slope / norm)[:, None] * curved
        step = -solve_symmetric(H, gradient)
        # a block must not jump across zero: its norm is not smooth there
        along = np.bincount(block[live], weights=step * unit, minlength=size.size)[block[live]]
        damping = np.divide(0.9 * norm, -along, out=np.ones_like(norm), where=along < -0.9 * norm)
        y[live] += float(damping.min(initial=1.0)) * step
        if np.abs(step).max() <= 1e-15 * np.abs(y).max():
            break
    if is_complex:
        half = y.size // 2
        return np.asarray(y[:half] + 1j * y[half:])
    return y


def solve_symmetric(H: Array, rhs: Array) -> Array:
    """Solve H y = rhs for Hermitian H >= 0; least squares where H is singular."""
    from scipy.linalg import LinAlgError, cho_factor, cho_solve, lstsq

    try:
        factor = cho_factor(H, lower=True, check_finite=False)
        diagonal = np.abs(np.diag(factor[0]))
        if diagonal.min() > 1e-7 * diagonal.max():
            return np.asarray(cho_solve(factor, rhs, check_finite=False))
    except LinAlgError:
        pass
    try:
        return np.asarray(lstsq(H, rhs, cond=1e-14, check_finite=False, lapack_driver="gelsd")[0])
    except LinAlgError:
        return np.zeros_like(rhs)


# --- nonconvex problems ------------------------------------------------------------------------------


def _local(problem: Problem, x: Array, r: Array, wanted: Kind) -> tuple[Kind, float]:
    penalty = problem.penalty
    g = problem.gradient(r)
    if wanted is Kind.COORDINATE_MINIMUM and problem.explicit and hasattr(penalty, "values"):
        return Kind.COORDINATE_MINIMUM, _coordinate_decrease(problem, x, g)
    lipschitz = problem.lipschitz[0]
    if not lipschitz > 0.0:
        lipschitz = 1.0
    y = penalty.prox(x - g / lipschitz, 1.0 / lipschitz)
    s = y - x
    before = float(penalty.value(x))
    if not math.isfinite(before):
        return Kind.PROX_STATIONARITY, math.inf
    decrease = before - float(penalty.value(y)) - float(np.vdot(g, s).real) - 0.5 * lipschitz * squared(s)
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



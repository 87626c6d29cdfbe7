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
_LARGEST_PRODUCTS = 500  # the same where every column costs a product
_ROUNDS = 8  # repairs of the support while refitting


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
    projection on unpenalised columns and per refit, one more with A for first-order stationarity.
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
        if hasattr(problem.penalty, "in_units"):
            value = min(value, objective)  # again because it is never negative
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
        nu = problem.project(-r, x)
        minus_g = problem.gradient(nu)
        g = -minus_g
        best = _value(problem, x, r, nu, minus_g)
    known = hasattr(problem.penalty, "excluded")  # a user's penalty says nothing about supports
    if refit and known and problem.relative(best) > target and math.isfinite(best):
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
    working = _first_support(problem, x, r, g)
    free = ~penalty.excluded
    loose = working & penalty.unpenalised
    current = x.copy()
    for _ in range(_ROUNDS):
        index = np.flatnonzero(working)
        if not 0 < index.size <= (_LARGEST_REFIT if problem.explicit else _LARGEST_PRODUCTS):
            return
        columns = problem.operator.columns(index)
        y = _solve_on(problem, columns, index, current[index])
        current[:] = 0.0
        current[index] = y
        nu = problem.project(problem.b - columns @ y, current)
        c = problem.gradient(nu)
        yield nu, c
        pressed = _pressure(penalty, c) > 1.0 + 1e-10
        violators = np.flatnonzero(pressed & ~working & free)
        following = np.zeros_like(working)
        following[index[y != 0]] = True
        following |= loose
        if violators.size:
            order = np.argsort(_pressure(penalty, c)[violators])[::-1]
            following[violators[order[: max(10, index.size // 2)]]] = True
        if (following == working).all():
            return
        working = following


def _first_support(problem: Problem, x: Array, r: Array, g: Array) -> Array:
    """Guess the support by one proximal step from x; x itself where column norms are not at hand."""
    penalty = problem.penalty
    if problem.explicit and hasattr(penalty, "l1"):
        squares = problem.column_norms**2
        step = np.divide(1.0, squares, out=np.zeros_like(squares), where=squares > 0)
        guess = np.asarray(penalty.prox(x - step * g, step) != 0)
    else:
        guess = x != 0
        if int(guess.sum()) > problem.m:  # no solution needs as many
            length = squared(x) / (squared(r + problem.b) or math.inf)  # the curvature along x, at no cost
            guess &= penalty.unpenalised | (penalty.prox(x - length * g, length) != 0)
    if hasattr(penalty, "lam"):  # whole groups
        guess = penalty.spread(penalty.norms(guess.astype(float)) > 0)
    if not penalty.nonnegative:
        guess |= penalty.unpenalised
    return np.asarray(guess & ~penalty.excluded)


def _pressure(penalty: Any, c: Array) -> Array:
    """Return |a_j^H nu| over the level that a zero coefficient withstands."""
    if hasattr(penalty, "l1"):
        size, level = penalty.magnitude(c), penalty.l1
    else:
        size, level = penalty.spread(penalty.norms(c)), penalty.level
    # the projection leaves nothing but rounding where there is no level
    return np.divide(size, level, out=np.zeros(size.size), where=level > 0)


def _solve_on(problem: Problem, columns: Array, index: Array, start: Array) -> Array:
    """Minimise the objective over the given columns, starting from start; zeros drop out on the way.

    Moduli and group norms are norms of blocks of real coordinates, a complex number counting as two.
    """
    penalty = problem.penalty
    gram = columns.conj().T @ columns
    q = columns.conj().T @ problem.b
    if hasattr(penalty, "l1"):
        level, ridge = penalty.l1[index], penalty.l2[index]
        block = np.arange(index.size)
        if problem.dtype.kind != "c":
            return _along_signs(gram, q, level, ridge, start.copy(), bool(penalty.nonnegative))
    else:
        place = np.empty(penalty.n, dtype=np.int64)
        place[penalty.order] = np.repeat(np.arange(penalty.lam.size), np.diff(penalty.starts))
        groups, block = np.unique(place[index], return_inverse=True)
        level, ridge = penalty.lam[groups], np.zeros(groups.size)
    if problem.dtype.kind != "c":
        return _along_norms(gram, q, block, level, ridge, start.copy())
    gram = np.block([[gram.real, -gram.imag], [gram.imag, gram.real]])
    q, y = np.concatenate([q.real, q.imag]), np.concatenate([start.real, start.imag])
    y = _along_norms(gram, q, np.tile(block, 2), level, ridge, y)
    return np.asarray(y[: index.size] + 1j * y[index.size :])


def _along_signs(gram: Array, q: Array, l1: Array, l2: Array, y: Array, nonnegative: bool) -> Array:
    """Minimise y' G y / 2 - q' y + sum_j l1_j |y_j| + l2_j y_j^2 / 2 from y, for real y.

    With signs held fixed the minimiser solves one linear system. The way to it ends where the first
    coefficient reaches zero, which then drops out.
    """
    slope = gram @ y + l2 * y - q
    sign = np.ones_like(y) if nonnegative else np.sign(np.where(y == 0, -slope, y))
    cornered = (l1 > 0) | nonnegative
    alive = (y != 0) | (-sign * slope > l1) | ~cornered
    for left in reversed(range(_ROUNDS if y.size > 800 else 3 * _ROUNDS)):
        live = np.flatnonzero(alive)
        if live.size == 0:
            break
        part = gram[np.ix_(live, live)] + np.diag(l2[live])
        step, endless = _newton_step(part, part @ y[live] - q[live] + l1[live] * sign[live], q[live])
        falling = cornered[live] & (sign[live] * step < 0)
        reach = np.divide(np.abs(y[live]), np.abs(step), out=np.full(live.size, np.inf), where=falling)
        t = float(reach.min())
        if t >= 1.0 and not endless:
            y[live] += step
            break
        if not np.isfinite(t):
            break
        if left == 0 and not endless:  # out of rounds: what turned around is taken for zero
            y[live] += step
            y[live[reach < 1.0]] = 0.0
            break
        y[live] += t * step
        # one at a time: the others may turn back without it
        first = live[int(np.argmin(np.where(reach <= t, sign[live] * step, np.inf)))]
        y[first], alive[first] = 0.0, False
    return y


def _along_norms(gram: Array, q: Array, block: Array, level: Array, ridge: Array, y: Array) -> Array:
    """Minimise y' G y / 2 - q' y + sum_k level_k ||y_k|| + ridge_k ||y_k||^2 / 2 from y.

    Proximal steps find which blocks are zero, and Newton's method, on the others, the rest.
    """
    count = level.size
    curvature = np.bincount(block, weights=np.diag(gram), minlength=count) + ridge
    # blocks of one curvature: columns may differ by any factor
    unit = np.where(curvature > 0, np.sqrt(curvature), 1.0)
    scale = unit[block]
    gram, q, y = gram / np.outer(scale, scale) + np.diag((ridge / unit**2)[block]), q / scale, y * scale
    level = np.asarray(level / unit)
    lipschitz = float(np.abs(gram).sum(axis=1).max(initial=0.0)) or 1.0

    def norms(v: Array) -> Array:
        return np.sqrt(np.bincount(block, weights=v * v, minlength=count))

    def objective(v: Array) -> float:
        return float(0.5 * v @ (gram @ v) - q @ v + level @ norms(v))

    still = 0
    for _ in range(3 * _ROUNDS):
        for _ in range(5):
            v = y - (gram @ y - q) / lipschitz
            size = norms(v)
            kept = np.maximum(size - level / lipschitz, 0.0)
            y = v * np.divide(kept, size, out=np.zeros(count), where=size > 0)[block]
        size = norms(y)
        live = np.flatnonzero((size > 0)[block])
        if live.size == 0:
            break
        which = block[live]
        direction = y[live] / size[which]
        part = gram[np.ix_(live, live)]
        slope = part @ y[live] - q[live] + level[which] * direction
        same = which[:, None] == which[None, :]
        curved = np.where(same, np.eye(live.size) - np.outer(direction, direction), 0.0)
        part += (level[which] / size[which])[:, None] * curved
        step, endless = _newton_step(part, slope, q[live])
        along: Array = np.bincount(which, weights=step * direction, minlength=count)
        if endless:  # down to where the first block vanishes
            falling = (along < 0) & (level > 0)
            reach = float(np.divide(size, -along, out=np.full(count, np.inf), where=falling).min())
            if not np.isfinite(reach):
                break
            step, along = reach * step, reach * along
        value = objective(y)
        floor = 1e-15 * (abs(value) + float(np.abs(q * y).sum()))
        for halvings in range(12):
            t = 0.5**halvings
            trial = y.copy()
            trial[live] += t * step
            trial[((size + t * along <= 1e-12 * size) & (level > 0))[block]] = 0.0
            if objective(trial) <= value + 1e-4 * t * float(slope @ step) + floor:
                y = trial
                break
        if (still := still + 1 if value - objective(y) <= floor else 0) == 2:
            break
    return y / scale


def _newton_step(H: Array, slope: Array, size: Array) -> tuple[Array, bool]:
    """Return -H^{-1} slope; (a way down the null space, True) where H is singular and has one."""
    # unit diagonal: columns of very different size must not decide what counts as singular
    d = np.divide(1.0, np.sqrt(np.diag(H)), out=np.ones(slope.size), where=np.diag(H) > 0)
    step = -d * solve_symmetric(H * np.outer(d, d), d * slope)
    lost = d * (slope + H @ step)
    if np.abs(lost).max() > max(1e-7 * np.abs(d * slope).max(), 1e-11 * np.abs(d * size).max()):
        return -d * lost, True
    return step, False


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



"""Dual points of the problem solved on the support of a given x.

At the solution of the problem restricted to the right columns S with the right signs, a_j^H nu equals the
penalty's slope on S, so that only the other columns can force nu to be scaled down: the gap of any x near
the optimum is then of the size of its suboptimality.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from sparseinv.problem import Problem, squared

Array = np.ndarray[Any, Any]

_LARGEST_REFIT = 2000  # a support beyond this is not refitted for the sake of a certificate
_LARGEST_PRODUCTS = 500  # the same where every column costs a product
_LARGEST_BYTES = 1 << 29  # and the same for columns that take more memory than this
_RIDGES = (0.0, 1e-12, 1e-10)  # relative ridges of singular systems, tried in turn
_TINY = 1e-300  # a squared column norm below has no inverse
_ROUNDS = 8  # repairs of the support while refitting


def refits(problem: Problem, x: Array, r: Array, g: Array | None) -> Iterator[tuple[Array, Array]]:
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
        if index.size * problem.m * problem.dtype.itemsize > _LARGEST_BYTES:
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
        step = np.divide(1.0, squares, out=np.zeros_like(squares), where=squares > _TINY)
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
        # where solutions are not unique, Newton's method must not run far along the flat direction
        part += np.eye(live.size) * (np.abs(slope).max() / np.abs(y).max())
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
    step = -d * _solve_singular(H * d[:, None] * d, d * slope)
    lost = d * (slope + H @ step)
    if np.abs(lost).max() > max(1e-7 * np.abs(d * slope).max(), 1e-11 * np.abs(d * size).max()):
        return -d * lost, True
    return step, False


def _solve_singular(H: Array, rhs: Array) -> Array:
    """Solve H y = rhs for H >= 0 with a unit diagonal, up to a ridge where H is singular.

    What the ridge leaves of rhs then lies in the null space; a Cholesky factor costs a hundredth of an SVD.
    """
    from scipy.linalg.lapack import dpotrf, dpotrs

    for ridge in _RIDGES:
        G = np.asfortranarray(H)
        if ridge:
            G = G.copy(order="F")
            G[np.arange(rhs.size), np.arange(rhs.size)] += ridge
        factor, info = dpotrf(G, lower=1)
        diagonal = np.diag(factor)
        if info == 0 and (ridge or diagonal.min() > 1e-7 * diagonal.max()):
            return np.asarray(dpotrs(factor, rhs, lower=1)[0])
    return solve_symmetric(H, rhs)


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
    except (LinAlgError, ValueError):
        return np.zeros_like(rhs)

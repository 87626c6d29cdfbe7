"""The slow truths that the library is judged by: plain NumPy, extended precision, cvxpy and enumeration.

Nothing here uses the package. A problem is a `Plain`: arrays and nothing else. Complex problems become
real ones with twice the columns, and every convex penalty of the package becomes a sum over blocks of
coefficients, ``level_k ||z_k|| + ridge_k ||z_k||^2 / 2``, blocks of one being moduli.

A minimum is never believed: `truth` returns the objective of a point (an upper bound) and a dual value
(a lower bound, by weak duality), and both are evaluated in extended precision.
"""

from __future__ import annotations

import itertools
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

LONG = np.longdouble
CLONG = np.clongdouble


@dataclass(frozen=True, eq=False)
class Plain:
    """1/2 ||A x - b||^2 + sum_j l0_j [x_j != 0] + l1_j |x_j| + l2_j |x_j|^2 / 2 in plain arrays.

    With ``groups`` (labels 0..K-1, one per coefficient) l1 has K entries and multiplies block norms.
    """

    A: Array
    b: Array
    l1: Array
    l2: Array
    l0: Array
    groups: Array | None = None
    nonnegative: bool = False

    @property
    def n(self) -> int:
        return int(self.A.shape[1])

    @property
    def scale(self) -> float:
        return float(0.5 * (np.abs(self.b.astype(CLONG)) ** 2).sum())

    @property
    def level(self) -> Array:
        """The l1 level of every coefficient or of its group."""
        return self.l1 if self.groups is None else self.l1[self.groups]

    @property
    def excluded(self) -> Array:
        return np.isinf(self.level) | np.isinf(self.l2) | np.isinf(self.l0)

    @property
    def is_complex(self) -> bool:
        return np.iscomplexobj(self.A) or np.iscomplexobj(self.b)

    def residual(self, x: Array) -> Array:
        return long(self.A) @ long(x) - long(self.b)

    def penalty(self, x: Array) -> Any:
        x = long(x)
        live = np.flatnonzero(x)
        if self.nonnegative and (np.asarray(x).real < 0).any():
            return LONG(np.inf)
        size = np.abs(x[live])
        total = self.l0[live].astype(LONG).sum() + (self.l2[live] * size**2).sum() / 2
        if self.groups is None:
            return total + (self.l1[live] * size).sum()
        for k in range(self.l1.size):
            block = np.sqrt((np.abs(x[self.groups == k]) ** 2).sum())
            if block > 0:
                total = total + self.l1[k] * block
        return total

    def objective(self, x: Array) -> Any:
        """Return F(x) in extended precision."""
        return (np.abs(self.residual(x)) ** 2).sum() / 2 + self.penalty(x)

    def rounding(self, x: Array) -> float:
        """Return what forming A x - b in double precision may change in F(x)."""
        summands = np.abs(self.A) @ np.abs(x) + np.abs(self.b)
        return 4e-16 * float(np.linalg.norm(summands) * np.linalg.norm(self.residual(x).astype(complex)))


def plain(A: Any, b: Any, *, l0: Any = 0.0, l1: Any = 0.0, l2: Any = 0.0, groups: Any = None,
          nonnegative: bool = False) -> Plain:  # fmt: skip
    """Return the problem with numbers spread over the coefficients (l1 over the groups)."""
    A, b = np.asarray(A), np.asarray(b)
    n = A.shape[1]
    if groups is not None:
        groups = np.unique(groups, return_inverse=True)[1]
    blocks = n if groups is None else int(groups.max()) + 1

    def spread(values: Any, size: int) -> Array:
        return np.broadcast_to(np.asarray(values, dtype=float), (size,)).copy()

    return Plain(A, b, spread(l1, blocks), spread(l2, n), spread(l0, n), groups, nonnegative)


def long(v: Array) -> Array:
    v = np.asarray(v)
    return v.astype(CLONG if np.iscomplexobj(v) else LONG)


# --- convex problems as real block problems ----------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Blocks:
    """1/2 ||A z - b||^2 + sum_k level_k ||z_k|| + ridge_k ||z_k||^2 / 2, real, nothing excluded."""

    A: Array
    b: Array
    block: Array
    level: Array
    ridge: Array
    nonnegative: bool
    kept: Array  # coefficients of the Plain that are not excluded
    n: int
    is_complex: bool

    def norms(self, v: Array) -> Array:
        return np.sqrt(np.array([(v[self.block == k] ** 2).sum() for k in range(self.level.size)]))

    def magnitudes(self, c: Array) -> Array:
        return np.maximum(c, 0) if self.nonnegative else self.norms(c)

    def objective(self, z: Array) -> Any:
        z = z.astype(LONG)
        r = self.A.astype(LONG) @ z - self.b
        size = self.norms(z)
        return (r**2).sum() / 2 + (self.level * size).sum() + (self.ridge * size**2).sum() / 2

    def back(self, z: Array) -> Array:
        """Return x, the coefficients of the Plain."""
        half = self.kept.size
        x = np.zeros(self.n, dtype=complex if self.is_complex else float)
        x[self.kept] = z[:half] + 1j * z[half:] if self.is_complex else z
        return x


def realified(problem: Plain) -> Blocks:
    """Return a convex problem as a real one over blocks."""
    assert not (problem.l0[~problem.excluded] > 0).any(), "an L0 problem has no convex form"
    kept = np.flatnonzero(~problem.excluded)
    A, b = problem.A[:, kept], problem.b
    labels = kept if problem.groups is None else problem.groups[kept]
    distinct, block = np.unique(labels, return_inverse=True)
    first = np.array([int(np.flatnonzero(labels == k)[0]) for k in distinct], dtype=int)
    level, ridge = problem.level[kept][first], problem.l2[kept][first]
    if problem.is_complex:
        A = np.block([[A.real, -A.imag], [A.imag, A.real]])
        b = np.concatenate([b.real, b.imag])
        block = np.concatenate([block, block])
    return Blocks(
        A.astype(float), b.astype(float), block, level, ridge, problem.nonnegative, kept, problem.n,
        problem.is_complex,
    )  # fmt: skip


def _orthonormal(columns: Array) -> Array:
    """Gram-Schmidt twice in extended precision; columns that depend on the others drop out."""
    basis: list[Array] = []
    for column in columns.T:
        v = column.astype(LONG)
        size = np.sqrt((v**2).sum())
        if size == 0:
            continue
        v = v / size
        for _ in range(3):
            for q in basis:
                v = v - (q @ v) * q
        size = np.sqrt((v**2).sum())
        if size > 1e-12:
            basis.append(v / size)
    return np.array(basis).T if basis else np.zeros((columns.shape[0], 0), dtype=LONG)


def _cone_residual(columns: Array, v: Array) -> Array:
    """Return v minus its projection on the cone of nonnegative combinations, by trying all faces.

    It is the point nearest to v among those that no column pulls on, and lies normal to a face.
    """
    sizes = np.linalg.norm(columns, axis=0)
    columns, sizes = columns[:, sizes > 0], sizes[sizes > 0]
    assert sizes.size <= 8, "2^n faces"
    rounding = 1e-17 * np.sqrt((v**2).sum())
    nearest, distance = np.zeros_like(v), (v**2).sum()
    for face in itertools.product((False, True), repeat=sizes.size):
        q = _orthonormal(columns[:, np.array(face, dtype=bool)])
        nu = v - q @ (q.T @ v)
        nu = nu - q @ (q.T @ nu)
        pull = (columns.astype(LONG).T @ nu / sizes).max(initial=-np.inf)
        if pull <= rounding and ((v - nu) ** 2).sum() < distance:
            nearest, distance = nu, ((v - nu) ** 2).sum()
    return nearest


def dual_value(problem: Blocks, nu: Array, size: Array) -> Any:
    """Return a lower bound of the minimum from any nu (m,), in extended precision.

    nu is projected off the unpenalised columns and scaled. ``size`` (the norms of the blocks of a near
    optimal point) prices what rounding leaves of the projection: ``<a_j, nu> x_j`` is taken off.
    """
    A, nu = problem.A.astype(LONG), nu.astype(LONG)
    free = (problem.level == 0) & (problem.ridge == 0)
    columns = problem.A[:, free[problem.block]]
    if problem.nonnegative:
        nu = _cone_residual(columns, nu)
    else:
        q = _orthonormal(columns)
        for _ in range(2):
            nu = nu - q @ (q.T @ nu)
    c = problem.magnitudes(A.T @ nu)
    correlation, square = problem.b.astype(LONG) @ nu, (nu**2).sum()
    if correlation <= 0:
        return LONG(0)
    hard = (problem.ridge == 0) & ~free & (c > 0)
    limit = (problem.level[hard] / c[hard]).min(initial=np.inf)
    ridged = problem.ridge > 0
    level, ridge, pressed = problem.level[ridged], problem.ridge[ridged], c[ridged]
    low, high = LONG(0), min(limit, correlation / square)

    def slope(s: Any) -> Any:
        return correlation - s * square - (pressed * np.maximum(s * pressed - level, 0) / ridge).sum()

    if slope(high) < 0:
        for _ in range(120):
            middle = (low + high) / 2
            low, high = (middle, high) if slope(middle) >= 0 else (low, middle)
    else:
        low = high
    value = low * correlation - low**2 * square / 2
    value = value - (np.maximum(low * pressed - level, 0) ** 2 / (2 * ridge)).sum()
    return value - low * (c[free] * size[free]).sum()


def clarabel(problem: Blocks) -> Array:
    """Return the point that CLARABEL finds with the tightest tolerances it accepts."""
    import cvxpy as cp

    # columns of one size and ||b|| = 1: an interior-point method resolves no more than that
    unit = float(np.linalg.norm(problem.b)) or 1.0
    widest = np.array(
        [np.linalg.norm(problem.A[:, problem.block == k], axis=0).max() for k in range(problem.level.size)]
    )
    d = 1.0 / np.where(widest > 0, widest, 1.0)
    spread = d[problem.block]
    level, ridge = problem.level * d / unit, problem.ridge * d**2
    z = cp.Variable(problem.A.shape[1], nonneg=problem.nonnegative)
    cost = 0.5 * cp.sum_squares((problem.A * spread) @ z - problem.b / unit)
    if ridge.any():
        cost = cost + 0.5 * cp.sum_squares(cp.multiply(np.sqrt(ridge[problem.block]), z))
    sizes = np.bincount(problem.block, minlength=level.size)
    if (sizes == 1).all():
        order = np.argsort(problem.block)
        cost = cost + level @ (z[order] if problem.nonnegative else cp.abs(z[order]))
    elif problem.is_complex and (sizes == 2).all():
        half = z.size // 2
        order = np.argsort(problem.block[:half])
        cost = cost + level @ cp.norm(cp.vstack([z[:half][order], z[half:][order]]), 2, axis=0)
    else:
        for k in np.flatnonzero(level > 0):
            cost = cost + level[k] * cp.norm(z[np.flatnonzero(problem.block == k)], 2)
    program = cp.Problem(cp.Minimize(cost))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "may be inaccurate": the bounds of `truth` decide that
        for tol in (1e-12, 1e-9, 1e-7):
            try:
                program.solve(solver="CLARABEL", tol_gap_abs=tol, tol_gap_rel=tol, tol_feas=tol, max_iter=200)
            except cp.error.SolverError:
                continue
            if z.value is not None and np.isfinite(z.value).all():
                break
    point = np.zeros(z.size) if z.value is None else np.asarray(z.value)
    if problem.nonnegative:
        point = np.maximum(point, 0.0)
    return point * spread * unit


def newton(problem: Blocks, start: Array) -> Array:
    """Minimise over the non-zero blocks of ``start`` by Newton's method; blocks that reach zero drop out."""
    A = problem.A.astype(LONG)
    z = start.astype(LONG)
    loose = (problem.level == 0) & ~np.array(problem.nonnegative)
    value = problem.objective(z)
    still = 0  # steps that changed the objective by rounding only: two of them make the gradient vanish
    for _ in range(60):
        size = problem.norms(z)
        index = np.flatnonzero(((size > 0) | loose)[problem.block])
        if index.size == 0:
            break
        which = problem.block[index]
        norm = np.where(size[which] > 0, size[which], 1)
        unit = np.where(problem.level[which] > 0, z[index] / norm, 0)
        slope, ridge = problem.level[which], problem.ridge[which]
        gradient = A[:, index].T @ (A @ z - problem.b) + ridge * z[index] + slope * unit
        same = which[:, None] == which[None, :]
        curved = (np.eye(index.size) - np.outer(unit, unit).astype(float)) * same
        H = problem.A[:, index].T @ problem.A[:, index] + np.diag(ridge)
        H = H + (slope / norm).astype(float)[:, None] * curved
        d = np.sqrt(np.where(np.diag(H) > 0, np.diag(H), 1.0))
        rhs = (gradient / d).astype(float)
        step = -(np.linalg.lstsq(H / np.outer(d, d), rhs, rcond=1e-13)[0] / d).astype(LONG)
        limit, leaving = LONG(1), -1
        for j, k in enumerate(which):  # a block of one must not cross zero
            single = (which == k).sum() == 1
            if single and (slope[j] > 0 or problem.nonnegative) and z[index[j]] * (z[index[j]] + step[j]) < 0:
                reach = -z[index[j]] / step[j]
                if reach < limit:
                    limit, leaving = reach, index[j]
        t = limit
        for _ in range(40):
            trial = z.copy()
            trial[index] += t * step
            if leaving >= 0 and t == limit:
                trial[leaving] = 0
            following = problem.objective(trial)
            if following <= value * (1 + LONG(1e-18)):
                break
            t = t / 2
        else:
            break
        still = still + 1 if leaving < 0 and value - following <= 1e-18 * value else 0
        z, value = trial, following
        if still == 3:
            break
    return z.astype(float)


def descend(problem: Blocks, z: Array, sweeps: int) -> Array:
    """Block coordinate descent: slow, and right whatever the geometry."""
    z = z.copy()
    r = problem.A @ z - problem.b
    members = [np.flatnonzero(problem.block == k) for k in range(problem.level.size)]
    squares = [np.linalg.norm(problem.A[:, index], 2) ** 2 for index in members]
    for _ in range(sweeps):
        for k, index in enumerate(members):
            if squares[k] == 0:
                continue
            v = z[index] - problem.A[:, index].T @ r / squares[k]
            v = np.maximum(v, 0) if problem.nonnegative else v
            size = np.linalg.norm(v)
            kept = max(size - problem.level[k] / squares[k], 0.0) / (1 + problem.ridge[k] / squares[k])
            new = v * (kept / size) if size > 0 else v
            r += problem.A[:, index] @ (new - z[index])
            z[index] = new
    return z


@dataclass(frozen=True)
class Truth:
    """What is known about the minimum: lower <= min F <= upper."""

    x: Array
    upper: Any
    lower: Any


def truth(problem: Plain, accuracy: float = 2e-15) -> Truth:
    """Return the minimum of a convex problem, by CLARABEL, an active-set refit, and weak duality.

    The refit is tried from several thresholds of the interior point, until the two bounds differ by
    less than ``accuracy * 1/2 ||b||^2``.
    """
    real = realified(problem)
    if real.kept.size == 0:
        value = LONG(problem.scale)
        return Truth(np.zeros(problem.n), value, value)
    point = clarabel(real)
    enough = LONG(accuracy) * problem.scale
    loose = (real.level == 0) & ~np.array(real.nonnegative)
    best = (problem.objective(np.zeros(problem.n)), np.zeros(real.A.shape[1]))
    lower = LONG(0)
    for attempt in (0, 300, 5000):
        if attempt:
            point = descend(real, best[1], attempt)
        size = real.norms(point) * np.sqrt(np.bincount(real.block, weights=(real.A**2).sum(axis=0)))
        for threshold in (1e-6, 1e-5, 1e-4, 1e-7, 1e-3, 1e-8, 0.0):
            keep = (size > threshold * size.max(initial=0.0)) | loose
            z = newton(real, np.where(keep[real.block], point, 0.0))
            value = problem.objective(real.back(z))
            if value < best[0]:
                best = (value, z)
            nu = real.b.astype(LONG) - real.A.astype(LONG) @ z.astype(LONG)
            lower = max(lower, dual_value(real, nu, real.norms(z)))
            if best[0] - lower <= enough:
                return Truth(real.back(best[1]), best[0], lower)
    return Truth(real.back(best[1]), best[0], lower)


def judged_gap(problem: Plain, x: Array) -> float:
    """Return a duality gap of x from its own residual: P - D, extended precision, no Fenchel-Young terms."""
    real = realified(problem)
    z = x[real.kept]
    z = np.concatenate([z.real, z.imag]) if real.is_complex else z.real
    r = problem.residual(x)
    nu = -np.concatenate([r.real, r.imag]) if real.is_complex else -r
    return float(problem.objective(x) - dual_value(real, nu, real.norms(z)))


# --- L0 -----------------------------------------------------------------------------------------------


def enumerate_l0(problem: Plain) -> tuple[float, Array]:
    """Return (minimum, minimiser) by least squares on every support; at most 12 coefficients in play."""
    loose = np.flatnonzero((problem.l0 == 0) & ~problem.excluded)
    charged = np.flatnonzero((problem.l0 > 0) & ~problem.excluded)
    # with a sign constraint the unpenalised coefficients may be zero too
    always, optional = loose, charged
    if problem.nonnegative:
        always, optional = loose[:0], np.concatenate([loose, charged])
    assert optional.size <= 12, "2^n supports"
    best, winner = np.inf, np.zeros(problem.n)
    for size in range(min(optional.size, problem.A.shape[0]) + 1):  # larger supports are dependent
        for support in itertools.combinations(optional, size):
            index = np.concatenate([always, np.array(support, dtype=int)]).astype(int)
            columns = problem.A[:, index]
            y = np.linalg.lstsq(columns, problem.b, rcond=1e-12)[0] if index.size else np.zeros(0)
            if problem.nonnegative and (y < 0).any():
                continue
            r = columns @ y - problem.b
            value = 0.5 * float(np.vdot(r, r).real) + float(problem.l0[list(support)].sum())
            if value < best:
                best = value
                winner = np.zeros(problem.n, dtype=np.result_type(problem.A, problem.b, float))
                winner[index] = y
    return best, winner


def best_coordinate_decrease(problem: Plain, x: Array) -> float:
    """Return the best decrease of F by changing one coefficient of x, by trying every coefficient."""
    value = problem.objective(x)
    best = value
    for j in np.flatnonzero(~problem.excluded):
        a = long(problem.A[:, j])
        square = (np.abs(a) ** 2).sum()
        rest = long(problem.b) - long(problem.A) @ long(x) + a * x[j]
        for t in (0.0, (np.conj(a) @ rest) / square if square > 0 else 0.0):
            trial = x.astype(CLONG if problem.is_complex else LONG)
            trial[j] = max(t, 0.0) if problem.nonnegative else t
            best = min(best, problem.objective(trial))
    return float(value - best)

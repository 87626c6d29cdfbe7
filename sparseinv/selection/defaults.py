"""The lambda that `solve` takes when none is given."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from sparseinv.driver import run
from sparseinv.penalties.base import Leveled
from sparseinv.penalties.group import ByGroup, Grouped, GroupL1
from sparseinv.penalties.group_l0 import GroupL0
from sparseinv.penalties.group_nonconvex import ConcaveNorms, GroupConcave
from sparseinv.penalties.nonconvex import MCP, SCAD, Concave
from sparseinv.penalties.separable import L0, L1, L2
from sparseinv.problem import Problem, squared
from sparseinv.result import Selection
from sparseinv.selection.theory import level_of_zero
from sparseinv.solvers.auto import choose
from sparseinv.solvers.least_squares import is_direct, mean_square
from sparseinv.stopping import Stopping

Array = np.ndarray[Any, Any]

_TINY, _HUGE = float(np.finfo(np.float64).tiny), float(np.finfo(np.float64).max)
_ROUNDING = 1e-14  # of ||b||: what is left of b by projection where nothing should be
_FLOOR = 1e-4  # smallest lam / lam_max: data without noise would send lam to zero
_DRAWS_EXPLICIT, _DRAWS_PRODUCTS = 100, 20
_LARGEST_SVD = 1500  # leave-one-out needs a singular value decomposition; beyond this order, quadrature
_SETTLED = 0.01  # relative change of lam at which the fixed point counts as found
_LANCZOS, _PROBES = (40, 80, 160), 4
_REACH = 10.0  # a level below this times the smallest Ritz value is not resolved by the quadrature


def choose_lam(problem: Problem, penalty: Leveled, deadline: float = math.inf) -> Selection:
    """Choose the level of a penalty with lam = None; the problem is bound with lam = 1.

    deadline is a reading of ``time.perf_counter()`` from which on the search ends with what it has.
    """
    before = problem.operator.products.total
    n = problem.n
    levels = penalty.blocks(n).level if isinstance(penalty, ByGroup) else penalty.levels(n)
    if problem.scale == 0.0 or problem.n == 0:
        rule = "b is zero or A is empty, so x = 0 for every lam"
        selection = Selection(1.0, rule, None, np.zeros(0), np.zeros(0))
    elif np.isinf(levels).all():
        rule = "every coefficient is excluded, so x = 0 for every lam"
        selection = Selection(1.0, rule, None, np.zeros(0), np.zeros(0))
    elif _explained(problem):
        rule = "the unpenalised coefficients explain b, so x = 0 elsewhere for every lam"
        selection = Selection(1.0, rule, None, np.zeros(0), np.zeros(0))
    elif isinstance(penalty, L2):
        exact = is_direct(problem) and min(problem.m, problem.n) <= _LARGEST_SVD
        # weights are taken in working units, so that no power of the scale of A can overflow in them
        selection = (_leave_one_out if exact else _generalised_cv)(problem, levels)
        unit = 2 * problem.units.a_exponent
        with np.errstate(over="ignore", under="ignore"):
            exact_lam = float(np.ldexp(selection.lam, unit))
            lam = min(max(exact_lam, _TINY), _HUGE)
            rule = selection.rule + ("" if lam == exact_lam else "; cut to the range of floating point")
            selection = dataclasses.replace(
                selection, lam=lam, rule=rule, lams=np.ldexp(selection.lams, unit)
            )
    elif isinstance(penalty, L0):
        # the pilot must leave free and exclude the same coefficients
        charges = np.where(np.isfinite(levels) & (levels > 0), 1.0, levels)
        pilot = L1(weights=charges, nonnegative=penalty.nonnegative)
        sigma = pivotal(problem, pilot, deadline)[1]
        charged = int((problem.penalty.l0 > 0).sum())
        # sigma^2 log n below rounding level would call noise-free data noisy
        sigma = max(sigma, 1e-8 * math.sqrt(2.0 * problem.units.objective(problem.scale) / max(problem.m, 1)))
        lam = sigma**2 * math.log(max(charged, 2))
        rule = f"sigma^2 log n with sigma = {sigma:.4g} estimated from the residual of a pivotal L1 fit"
        selection = Selection(lam, rule, sigma, np.array([lam]), np.zeros(1))
    elif isinstance(penalty, GroupL0):
        selection = _group_price(problem, penalty, deadline)
    elif isinstance(problem.penalty, (Concave, ConcaveNorms)):
        selection = _as_l1(problem, penalty, levels, deadline)
    else:
        lam, sigma, lams, found, floored = pivotal(problem, penalty, deadline)
        share = in_words(pivotal_share(problem))
        rule = (
            f"pivotal: lam = {share} the median level that noise of the residual's size would reach "
            f"(sigma about {sigma:.4g})"
        )
        if floored:
            rule += f"; the data look noise-free, stopped at {_FLOOR:g} lam_max"
        selection = Selection(lam, rule, sigma, lams, found, at_edge=floored)
    spent = problem.operator.products.total - before
    return dataclasses.replace(selection, n_products=spent)


def _explained(problem: Problem) -> bool:
    """Tell whether nothing but rounding is left of b without what unpenalised columns explain."""
    if problem.unpenalised.size == 0:
        return False
    return squared(problem.project(problem.b)) <= _ROUNDING**2 * 2.0 * problem.scale


def _group_price(problem: Problem, penalty: GroupL0, deadline: float) -> Selection:
    """Return the price that pure noise makes one of all groups worth, with a probability of about 1 - 1/e."""
    from scipy.special import chdtri

    blocks = penalty.blocks(problem.n)
    priced = (blocks.lam > 0) & np.isfinite(blocks.lam)
    charges = np.where(priced, 1.0, blocks.lam)
    sigma = pivotal(problem, GroupL1(weights=charges, groups=penalty.groups), deadline)[1]
    sigma = max(sigma, 1e-8 * math.sqrt(2.0 * problem.units.objective(problem.scale) / max(problem.m, 1)))
    parts = 2 if problem.dtype.kind == "c" else 1  # each with a share of sigma^2
    size, count = float(np.median(np.diff(blocks.starts)[priced])), max(int(priced.sum()), 2)
    lam = 0.5 * sigma**2 / parts * float(chdtri(parts * size, 1.0 / count))
    rule = (
        f"what one of {count} groups of {size:g} gains in noise of sigma = {sigma:.4g}, estimated from the "
        "residual of a pivotal GroupL1 fit"
    )
    return Selection(lam, rule, sigma, np.array([lam]), np.zeros(1))


def _as_l1(problem: Problem, penalty: Leveled, levels: Array, deadline: float) -> Selection:
    """Return the level at which a coefficient alone, or a group, enters where the pivotal L1 level lets it.

    For MCP and SCAD this is the L1 level itself; Lp and LogSum measure lam otherwise, and take the median
    over the coefficients or groups.
    """
    blocks = penalty.blocks(problem.n) if isinstance(penalty, GroupConcave) else None
    levels = levels if blocks is None else blocks.lam
    direct = isinstance(getattr(penalty, "curve", penalty), (MCP, SCAD))
    own = levels if direct else np.where(np.isfinite(levels) & (levels > 0), 1.0, levels)
    pilot: Leveled = L1(weights=own, nonnegative=bool(getattr(penalty, "nonnegative", False)))
    if blocks is not None:
        pilot = GroupL1(weights=own, groups=penalty.groups)
    lam, sigma, lams, found, floored = pivotal(problem, pilot, deadline)
    kind = "L1" if blocks is None else "GroupL1"
    rule = f"that of {kind} by the pivotal rule (sigma about {sigma:.4g})"
    if not direct:
        units = problem.units
        charged = np.isfinite(levels) & (levels > 0)
        known = problem.operator.column_norms() is not None
        norms = problem.column_norms if known else np.full(problem.n, math.sqrt(mean_square(problem)))
        c = np.where(charged, math.ldexp(lam, -units.b_exponent - units.a_exponent), 0.0)
        if blocks is not None:
            c = blocks.spread(c / np.sqrt(np.diff(blocks.starts)))
        factors = at_level(problem, penalty, 1.0).penalty.thresholds(c, norms)
        factors = factors[charged & (factors > 0.0)]
        alone = "coefficient" if blocks is None else "group"
        rule = f"a {alone} alone enters where it would for {kind} at {lam:.6g}, " + rule
        lam = float(np.median(factors)) if factors.size else 1.0
    if floored:
        rule += f"; the data look noise-free, stopped at {_FLOOR:g} lam_max"
    return Selection(lam, rule, sigma, lams, found, at_edge=floored)


def in_words(share: float) -> str:
    """Return a share as it is said before "the median level"."""
    return "half" if share == 0.5 else f"{share:.2f} of"


def at_level(problem: Problem, penalty: Leveled, lam: Any) -> Problem:
    """Return the same data with the penalty at another level."""
    bound = penalty.at(lam).bind(problem.n)
    units = problem.units
    return problem.with_penalty(bound.in_units(units.b_exponent, units.a_exponent))


def pivotal(
    problem: Problem, penalty: Leveled, deadline: float = math.inf
) -> tuple[float, float, Array, Array, bool]:
    """Solve lam = q ||A x(lam) - b|| from above.

    q is half the median (see `pivotal_share`) over noise draws e of max_j |a_j^H e| / (w_j ||e||), with e
    projected off the unpenalised columns; this is the level of the square-root lasso and needs no sigma.
    """
    unit = at_level(problem, penalty, 1.0)
    q = _null_level(unit)
    largest = level_of_zero(unit)
    size = math.sqrt(squared(problem.project(problem.b)))
    lam = min(q * size, largest)
    lams, levels = [], []
    solver, _ = choose(unit)
    x = None
    residual, nonzeros = size, 0
    floored = lam <= _FLOOR * largest
    for _ in range(30):
        lam = max(lam, _FLOOR * largest)
        at = at_level(problem, penalty, lam)
        left = max(deadline - time.perf_counter(), 0.0)
        result = run(at, solver, x0=x, stopping=Stopping(tol=1e-4, max_iter=2000, max_time=left))
        x = result.x
        inner = at.units.working(x)
        residual = math.sqrt(squared(at.residual(inner)))
        nonzeros = int(np.count_nonzero(inner))
        lams.append(lam)
        levels.append(q * residual)
        following = q * residual
        floored = lam <= _FLOOR * largest
        if floored or time.perf_counter() >= deadline or abs(following - lam) <= _SETTLED * lam:
            break
        lam = following
    freedom = max(problem.m - nonzeros, max(problem.m // 10, 1))
    sigma = math.ldexp(residual / math.sqrt(freedom), problem.units.b_exponent)
    return lam, sigma, np.array(lams), np.array(levels), floored


def null_levels(
    unit: Problem, draws: int | None = None, sigma: float | None = None, rng: Any = None
) -> Array:
    """Return the levels from which on x = 0 for draws of noise; unit has the level 1.

    The noise is projected off the unpenalised columns, then brought to unit norm; with sigma it has that
    standard deviation instead (working units).
    """
    if draws is None:
        draws = _DRAWS_EXPLICIT if unit.explicit else _DRAWS_PRODUCTS
    rng = np.random.default_rng(0 if rng is None else rng)
    noise: Array = rng.standard_normal((unit.m, draws))
    if unit.dtype.kind == "c":
        noise = noise + 1j * rng.standard_normal((unit.m, draws))
    if unit.unpenalised.size:
        noise = np.stack([unit.project(e) for e in noise.T], axis=1)
    size = np.linalg.norm(noise, axis=0)  # what rounding leaves of a projection is no noise
    noise = noise[:, size > 1e-8 * math.sqrt(unit.m)]
    if noise.shape[1] == 0:
        return np.zeros(1)
    if sigma is None:
        noise /= np.linalg.norm(noise, axis=0)
    else:
        noise *= sigma / (math.sqrt(2.0) if unit.dtype.kind == "c" else 1.0)
    correlations = unit.operator.rmatmat(noise)
    if unit.dtype.kind != "c":
        correlations = correlations.real
    norms = None
    if not getattr(unit.penalty, "convex", True):
        norms = unit.column_norms
    return np.array([unit.penalty.lam_max(c, norms) for c in correlations.T])


def pivotal_share(unit: Problem) -> float:
    """Return the share of the median null level at which prediction is best: a half for real coefficients.

    At half of sqrt(2 log n) a certain share of noise coefficients passes. Moduli of complex coefficients and
    norms of groups vary less from one to the next than moduli of real ones, so that half of their median
    lets many more pass; there the level that lets the same share pass is taken.
    """
    bound, parts = unit.penalty, 2 if unit.dtype.kind == "c" else 1
    if isinstance(bound, Grouped):
        sizes = parts * np.diff(bound.starts)[(bound.lam > 0) & np.isfinite(bound.lam)]
    else:
        sizes = np.full(int((~bound.excluded & ~bound.unpenalised).sum()), parts)
    if sizes.size == 0 or sizes.max() == 1:
        return 0.5
    from scipy.special import chdtri

    freedom, reached = float(np.median(sizes)), math.log(2.0) / sizes.size
    passing = math.erfc(math.sqrt(float(chdtri(1.0, reached)) / 8.0))
    return math.sqrt(float(chdtri(freedom, passing) / chdtri(freedom, reached)))


def _null_level(unit: Problem) -> float:
    """Return the level of the square-root lasso: a share of the median at which noise of unit norm enters."""
    return pivotal_share(unit) * float(np.median(null_levels(unit)))


def _leave_one_out(problem: Problem, weights: Array) -> Selection:
    """Minimise the exact leave-one-out error of ridge regression, by one singular value decomposition."""
    from scipy.linalg import svd

    index = np.flatnonzero(np.isfinite(weights) & (weights > 0))
    matrix = problem.operator.columns(index) / np.sqrt(weights[index])
    b, occupied = problem.b, np.zeros(problem.m)
    if problem.unpenalised.size:
        q = problem._basis[0]
        assert q is not None
        matrix = matrix - q @ (q.conj().T @ matrix)
        b = problem.project(b)
        occupied = (np.abs(q) ** 2).sum(axis=1)
    u, s, _ = svd(matrix, full_matrices=False, check_finite=False)
    problem.operator.charge(forward=min(problem.m, problem.n), adjoint=min(problem.m, problem.n))
    coefficients, shares = u.conj().T @ b, np.abs(u) ** 2
    if s.size == 0 or s[0] == 0.0:
        return Selection(1.0, "A explains nothing, so x = 0 for every lam", None, np.zeros(0), np.zeros(0))

    def error(t: float) -> float:
        kept = s**2 / (s**2 + t)
        r = b - u @ (kept * coefficients)
        free = np.maximum(1.0 - occupied - shares @ kept, 1e-10)
        return float((np.abs(r / free) ** 2).mean())

    lams, errors, best = _minimise(error, float(s[0]) ** 2)
    return _named("exact leave-one-out cross-validation", lams, errors, best)


def _generalised_cv(problem: Problem, weights: Array) -> Selection:
    """Minimise generalised cross-validation for operators, by Lanczos quadrature.

    With K = A diag(1/w) A^H, ||r(t)||^2 = t^2 b^H (K + t)^{-2} b and trace(I - H) = t trace (K + t)^{-1}
    (G. Golub, U. von Matt, J. Comput. Graph. Stat. 6 (1997) 1-34, doi:10.1080/10618600.1997.10474725).
    """
    live = np.isfinite(weights) & (weights > 0)
    inverse = np.divide(1.0, weights, out=np.zeros_like(weights), where=live)

    def apply(v: Array) -> Array:
        return problem.project(problem.operator.matvec(inverse * problem.gradient(v)))

    rng = np.random.default_rng(0)
    starts = [problem.project(problem.b)]
    for _ in range(_PROBES):
        probe = np.where(rng.random(problem.m) < 0.5, -1.0, 1.0).astype(problem.dtype)
        starts.append(problem.project(probe))
    for steps in _LANCZOS:
        nodes, masses = zip(*(_quadrature(apply, v, steps) for v in starts), strict=True)
        top = max(float(theta.max(initial=0.0)) for theta in nodes)
        if not top > 0.0:
            rule = "A explains nothing, so x = 0 for every lam"
            return Selection(1.0, rule, None, np.zeros(0), np.zeros(0))
        # below the smallest Ritz value the criterion falls without end, whatever the data
        bottom = _REACH * max(float(theta.min()) if theta.size == steps else 0.0 for theta in nodes)

        def error(t: float, nodes: Any = nodes, masses: Any = masses) -> float:
            misfit = float((masses[0] * (t / (nodes[0] + t)) ** 2).sum())
            pairs = zip(nodes[1:], masses[1:], strict=True)
            free = np.mean([(w * t / (theta + t)).sum() for theta, w in pairs])
            return misfit / problem.m / max(float(free) / problem.m, 1e-10) ** 2

        lams, errors, best = _minimise(error, top, bottom)
        if best > 2.0 * lams[0]:
            break
    rule = "generalised cross-validation (Lanczos quadrature, seeded probes)"
    return _named(rule, lams, errors, best)


def _named(rule: str, lams: Array, errors: Array, best: float) -> Selection:
    """Return the choice, told apart where it lies at the edge of the levels tried."""
    at_edge = not lams[0] < best < lams[-1]
    rule += f", at the edge of the {lams.size} levels tried" if at_edge else ""
    return Selection(best, rule, None, lams, errors, at_edge=at_edge)


def _minimise(error: Callable[[float], float], top: float, bottom: float = 0.0) -> tuple[Array, Array, float]:
    """Search a grid of factors on the penalty, then refine around the best one."""
    lams = np.geomspace(max(1e-10 * top, min(bottom, top)), 1e2 * top, 121)
    errors = np.array([error(t) for t in lams])
    k = int(np.argmin(errors))
    fine = np.geomspace(lams[max(k - 1, 0)], lams[min(k + 1, lams.size - 1)], 41)
    return lams, errors, float(fine[int(np.argmin([error(t) for t in fine]))])


def _quadrature(apply: Callable[[Array], Array], start: Array, steps: int) -> tuple[Array, Array]:
    """Return nodes and masses of the Lanczos quadrature of K seen from start."""
    size2 = squared(start)
    if size2 == 0.0:
        return np.zeros(1), np.zeros(1)
    q = start / math.sqrt(size2)
    basis, alphas, betas = [q], [], []
    for _ in range(min(steps, start.size)):
        w = apply(q)
        alphas.append(float(np.vdot(q, w).real))
        for v in basis:
            w = w - np.vdot(v, w) * v
        beta = math.sqrt(squared(w))
        if beta <= 1e-12 * max(abs(a) for a in alphas):
            break
        betas.append(beta)
        q = w / beta
        basis.append(q)
    k = len(alphas)
    T = np.diag(alphas) + np.diag(betas[: k - 1], 1) + np.diag(betas[: k - 1], -1)
    theta, vectors = np.linalg.eigh(T)
    return np.maximum(theta, 0.0), size2 * vectors[0] ** 2

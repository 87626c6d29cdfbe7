"""Proximal steps of Barzilai-Borwein length, each improved by a search in a plane that costs no product.

One iteration takes one product with A (the image of the proximal step) and one with A^H (the gradient).
All else follows by linearity: the objective anywhere in the plane of the step and the last movement, the
residual of every point there, and a duality gap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparseinv.certificate import DualPair
from sparseinv.problem import Problem, squared
from sparseinv.solvers.base import Outcome, Solver, State, refuse, start_point
from sparseinv.stopping import Budget

Array = np.ndarray[Any, Any]

# Tuned on counted products: partial cosine and Fourier transforms, random sparse maps, deconvolution.
_CHECK_EVERY = 10  # iterations between two certificates, unless the free gap meets the tolerance before
_LEVEL = 0.3  # factor between two levels of the continuation
_LOOSE = 0.1  # gap, relative to the objective, at which a level ends
_ROUNDS = 4  # Newton steps in the plane
_FAR = 1e3  # free gap over the tolerance from which on only every fourth iteration forms it
_AGAIN = 0.5  # a free gap that a certificate did not confirm is offered again at this fraction
_FLAT, _FLAT_SINGLE = 1e-12, 1e-4  # 1 - cos^2 below which two directions are taken for parallel
_REFRESH = 100  # iterations after which the residual is formed anew
_REFRESH_SINGLE = 10  # the same where products are in single precision
_NOISE, _NOISE_SINGLE = 1e-14, 1e-6  # error of a product, relative to its norm
_DOUBT = 1e-2  # error of the image of the last movement, relative to it, at which both are dropped
_IDLE_SINGLE = 100  # iterations there without a better gap that are taken for the floor
_STRIP = 1024  # entries that are listed at a time
_WINDOW = 10  # objectives that a step of a penalty known by its prox may rise to
_SHRINK = 0.3  # smallest factor on such a step that was too long
_PATIENCE = 4  # certificates within which the gap must halve
_GREEDY = 1.3  # greedy FISTA's step times the Lipschitz constant
_WILD = 5.0  # growth of greedy FISTA's movements at which its step shrinks
_CALM = 0.96  # the factor by which it does


@dataclass(slots=True, eq=False, kw_only=True)
class PlaneState(State):
    """Carry the point z that x was made from, and the last movement of z; x and r are formed on demand."""

    z: Array  # point with the gradient g, shape (n,)
    rz: Array  # A z - b
    g: Array  # A^H rz
    d: Array  # x - z, lent to A where vectors holds a copy
    Ad: Array
    p: Array  # last movement of z
    Ap: Array
    lent: Array  # copy of rz, lent to A
    held: Array  # 1 for blocks in which z or p is not zero
    live: Array  # blocks in which z, d or p is not zero, in front
    marks: Array  # scratch of the listing, in bytes
    vectors: Array  # z, d, p, g at the live coefficients, shape (4, n); empty for groups
    numbers: Array  # their levels and penalties, shape (3, n)
    levels: tuple[Any, ...]  # the penalty, see sparseinv.kernels.plane
    blocks: Any  # its groups
    soft: bool  # whether it has a ridge
    products: tuple[float, ...] = ()  # inner products of rz, Ad, Ap, b; empty where x is z
    count: int = 0  # entries of live
    largest: float = 0.0  # modulus in z
    safe: float = 1.0  # z + min(1, safe) d is not above z
    step: float = 1.0  # length of the proximal step
    doubt: float = 0.0  # how wrong Ap may be, in norm
    level: float = 1.0  # factor on the penalty while the problem is approached; 1 is the problem itself
    listed: float = 0.0  # the factor that live was made for
    barrier: float = 0.0  # level of a nonnegative coefficient below zero
    offered: float = math.inf  # free gap that was offered to the driver last
    lowest: float = math.inf  # lowest free gap
    idle: int = 0  # iterations since


@dataclass(slots=True, eq=False, kw_only=True)
class PlainState(State):
    """Carry what a penalty needs that is known by its prox alone."""

    g: Array  # A^H r
    step: float
    window: list[float]  # last values of 1/2 ||r||^2
    lipschitz: float = 0.0  # largest curvature seen
    rejected: int = 0
    target: float = math.inf  # half of the best gap when the patience began
    waited: int = 0  # certificates since then
    z: Any = None  # extrapolated point of greedy FISTA, None before the hand-over
    rz: Any = None
    gz: Any = None
    first: float = 0.0  # its first movement, squared


@dataclass(frozen=True, repr=False)
class BarzilaiBorwein(Solver):
    """Take proximal steps of Barzilai-Borwein length and search the plane of step and last movement.

    d_k = prox(z_k - tau_k g_k, tau_k) - z_k, z_{k+1} = argmin F over z_k + a d_k + c (z_k - z_{k-1}).

    Parameters
    ----------
    continuation : bool
        Without x0, approach the problem through falling levels of lam.

    Notes
    -----
    Made for matrix-free operators. The adaptive step tau_k (the residual one, ||d||_A^2 over its image,
    or the mean of both) follows [1]_ and [2]_; the plane is that of [3]_, searched here by Newton's method
    with inner products that are at hand, so that on a settled support the iteration becomes conjugate
    gradients. No norm of A is needed and no step is rejected; F(z_k) never rises. The answer is the
    proximal point, with exact zeros. A penalty of your own, known by value and prox, is treated with a
    nonmonotone acceptance over ten values instead, and by greedy FISTA [4]_ once the gap no longer halves
    within 40 iterations. Convex penalties only.

    Cost: one product with A and one with A^H per iteration, the duality gap included, one more with A
    every 100 iterations; set-up one product with A^H. Storage 6 vectors (n,), 7 more of which only as much
    is touched as x has non-zeros, and 5 vectors (m,).

    References
    ----------
    .. [1] S. Wright, R. Nowak, M. Figueiredo, Sparse reconstruction by separable approximation, IEEE
       Trans. Signal Process. 57 (2009) 2479-2493, doi:10.1109/TSP.2009.2016892.
    .. [2] B. Zhou, L. Gao, Y.-H. Dai, Gradient methods with adaptive step-sizes, Comput. Optim. Appl. 35
       (2006) 69-86, doi:10.1007/s10589-006-6446-0.
    .. [3] M. Zibulevsky, M. Elad, L1-L2 optimization in signal and image processing, IEEE Signal Process.
       Mag. 27 (2010) 76-88, doi:10.1109/MSP.2010.936023.
    .. [4] J. Liang, T. Luo, C.-B. Schoenlieb, Improving "fast iterative shrinkage-thresholding
       algorithm": faster, smarter and greedier, SIAM J. Sci. Comput. 44 (2022),
       doi:10.48550/arXiv.1811.01430.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> si.solve(np.eye(2), np.array([2.0, 0.1]), si.L1(0.5), solver=si.BarzilaiBorwein()).x
    array([1.5, 0. ])
    """

    continuation: bool = True

    def check(self, problem: Problem) -> None:
        """Refuse nonconvex penalties."""
        if not problem.penalty.convex:
            raise refuse(self, "needs a convex penalty", "ISTA, CoordinateDescent, IRLS or IRL1")

    def start(self, problem: Problem, x0: Array | None) -> PlaneState | PlainState:
        """Return the state at x0 (zero by default)."""
        problem.operator.phase = "setup"
        x = start_point(problem, x0)
        r = problem.residual(x)
        g = problem.gradient(r).copy()
        size, length = squared(r), squared(g)
        # not below 1 / ||A||^2, free, and right for an A with orthonormal rows
        step = size / length if size > 0.0 and length > 0.0 else 1.0
        if problem.penalty.terms is None:
            plain = PlainState(x, r, g=g, step=step, window=[0.5 * size])
            plain.dual = DualPair(r, g)
            return plain
        penalty: Any = problem.penalty
        l0, l1, l2, nonnegative, order, starts = penalty.terms
        grouped, soft = starts.size > 0, bool(l2.max(initial=0.0) > 0.0)
        if l0.max(initial=0.0) > 0.0:  # convex: infinite where it is not zero
            l1 = np.where(l0 > 0.0, np.inf, l1)
        if soft and np.isinf(l2).any():
            l1, l2 = np.where(np.isinf(l2), np.inf, l1), np.where(np.isinf(l2), 0.0, l2)
        blocks = l1.size
        if problem.n > _STRIP and getattr(penalty, "single_level", False):
            l1, l2 = l1[:_STRIP].copy(), l2[:_STRIP].copy()
        rows = 0 if grouped else problem.n
        state = PlaneState(
            x, r, z=x.copy() if x0 is not None else np.zeros_like(x), rz=r.copy(), g=g,
            d=np.empty_like(x), Ad=np.zeros_like(r), p=np.zeros_like(x), Ap=np.zeros_like(r),
            lent=np.empty_like(r), held=np.zeros(blocks, dtype=np.uint8),
            live=np.empty(blocks + 1, dtype=np.int64), marks=np.empty(_STRIP, dtype=np.uint8),
            vectors=np.empty((4, rows), dtype=problem.dtype), numbers=np.empty((3, rows)),
            levels=(l1, l2, bool(nonnegative)), blocks=(order, starts) if grouped else None, soft=soft,
            step=step,
        )  # fmt: skip
        if x0 is not None and grouped:
            state.held[:] = np.logical_or.reduceat(x[order] != 0, starts[:-1]) if x.size else 0
        elif x0 is not None:
            state.held[:] = x != 0
        state.barrier = 2.0 * math.sqrt(length)
        state.dual = DualPair(state.rz, state.g)
        if self.continuation and x0 is None:
            top = _LEVEL * float(problem.penalty.lam_max(-g, None))
            if 1.0 < top < math.inf:
                state.level, state.settled = top, False
        return state

    def resume(self, problem: Problem, state: Any) -> PlaneState | PlainState:
        """Go on from the last x with the step length at hand: one product with A and one with A^H."""
        fresh = self.start(problem, state.x.copy())
        fresh.step = state.step
        return fresh

    def step(self, problem: Problem, state: Any, budget: Budget) -> Outcome:
        """Run ten iterations, or fewer where the free gap meets the tolerance."""
        count = min(_CHECK_EVERY, budget.iterations)
        if isinstance(state, PlainState):
            return _run_plain(problem, state, budget.gap, count)
        try:
            return _run(problem, state, budget.tol * problem.scale, count)
        finally:
            _form(state)


# --- penalties that the kernels know ------------------------------------------------------------------


def _single(problem: Problem) -> bool:
    """Tell whether products are made in single precision, so that what follows by linearity drifts."""
    return bool(getattr(problem.operator.inner, "single", False))


def _run(problem: Problem, state: PlaneState, target: float, count: int) -> Outcome:
    """Iterate until the free gap meets the target."""
    for _ in range(count):
        if state.products:
            _search(problem, state)
        moved = _proximal_step(problem, state)
        if state.level > 1.0:
            gap, value = _free_gap(state) if moved else (0.0, 0.0)
            if gap <= _LOOSE * value:
                _lower(state)
            continue
        if not moved:
            return Outcome.FLOOR
        if state.lowest > _FAR * target and state.n_iter % 4 and not _single(problem):
            continue
        gap, _ = _free_gap(state)
        state.idle = 0 if gap < 0.99 * state.lowest else state.idle + 1
        state.lowest = min(state.lowest, gap)
        if state.idle >= _IDLE_SINGLE and _single(problem):
            return Outcome.FLOOR
        if gap <= min(target, _AGAIN * state.offered):
            state.offered = gap
            break
    return Outcome.MOVED


def _form(state: PlaneState) -> None:
    """Write out x and its residual."""
    index = state.live[: state.count]
    if state.blocks is None:
        state.x.fill(0.0)
        state.x[index] = state.vectors[0, : state.count] + state.vectors[1, : state.count]
    elif state.products:
        np.add(state.z, state.d, out=state.x)
    else:
        state.x[:] = state.z
    np.add(state.rz, state.Ad, out=state.r)


def _free_gap(state: PlaneState) -> tuple[float, float]:
    from sparseinv.kernels.plane import free_gap

    gap, value = free_gap(
        state.levels, state.blocks, state.level, state.soft, state.live, state.count, state.z, state.d,
        state.g, state.vectors, state.numbers, state.products, state.step,
    )  # fmt: skip
    return float(gap), float(value)


def _search(problem: Problem, state: PlaneState) -> None:
    """Move z to the minimum in the plane; form the gradient there, the next step length and level."""
    from sparseinv.kernels import plane

    single = _single(problem)
    flat, noise = (_FLAT_SINGLE, _NOISE_SINGLE) if single else (_FLAT, _NOISE)
    a, c, moved = plane.search(
        state.levels, state.blocks, state.listed, state.barrier,
        state.live, state.count, state.largest, state.z, state.d, state.p, state.held, state.vectors,
        state.numbers, state.products, state.safe, flat, _ROUNDS,
    )  # fmt: skip
    image = plane.move_image(a, c, state.rz, state.Ad, state.Ap, state.lent)
    state.doubt = abs(a) * noise * math.sqrt(state.products[2]) + abs(c) * state.doubt
    if state.doubt > _DOUBT * math.sqrt(image):
        state.p[:], state.Ap[:], state.doubt = 0.0, 0.0, 0.0
    if state.n_iter % (_REFRESH_SINGLE if single else _REFRESH) == 0:
        state.rz[:] = problem.residual(state.z)
        state.lent[:] = state.rz
    change = _renew(state, problem.lent_gradient(state.lent), problem)
    state.step = _length(moved, image, change, state.step)


def _renew(state: PlaneState, new: Array, problem: Problem) -> float:
    """Take a new gradient and list what it moves; return its squared distance to the last one."""
    from sparseinv.kernels.plane import renew

    state.count, change, size = renew(
        state.levels, state.blocks, state.level, new, state.g, state.held, state.live, state.marks,
        state.marks.view(np.uint64),
    )  # fmt: skip
    if not math.isfinite(size):
        problem.operator.require_finite("rmatvec", new)
    state.barrier = max(state.barrier, 2.0 * math.sqrt(size))
    state.listed = state.level
    return float(change)


def _lower(state: PlaneState) -> None:
    """Go on to the next level."""
    state.level = max(1.0, state.level * _LEVEL)
    state.settled = state.level <= 1.0


def _proximal_step(problem: Problem, state: PlaneState) -> bool:
    """Form d = x - z from z, and its image; return False where x and z are equal to rounding."""
    from sparseinv.kernels import plane

    if state.listed != state.level:
        _renew(state, state.g, problem)
    length, size, state.largest = plane.proximal(
        state.levels, state.blocks, state.level, state.barrier, state.step, state.z, state.g, state.p,
        state.d, state.live, state.count, state.vectors, state.numbers,
    )  # fmt: skip
    state.n_iter += 1
    if not length > 1e-32 * size:
        state.vectors[1, : state.count], state.Ad[:] = 0.0, 0.0
        state.products = ()
        return False
    lent = state.d
    if state.blocks is not None:  # d itself is read again; x is written anew after the step
        lent = state.x
        lent[:] = state.d
    new = problem.lent_image(lent)
    state.products = plane.image(state.rz, new, state.Ap, problem.b, state.Ad)
    image = state.products[2]
    if not math.isfinite(image):
        problem.operator.require_finite("matvec", new)
    state.safe = length / (state.step * image) if image > 0.0 else 1.0
    return True


def _length(moved: float, image: float, change: float, before: float) -> float:
    """Return the adaptive Barzilai-Borwein step after a movement d: ||d||^2, ||A d||^2, ||A^H A d||^2."""
    if not image > 0.0:
        return 10.0 * before  # A does not see the movement: nothing limits the step
    if not change > 0.0:
        return before
    steepest, residual = moved / image, image / change
    return residual if 2.0 * residual > steepest else steepest - 0.5 * residual


# --- penalties known by value and prox ----------------------------------------------------------------


def _run_plain(problem: Problem, state: PlainState, gap: float, count: int) -> Outcome:
    """Iterate with the user's prox; hand over to greedy FISTA where the gap no longer halves."""
    state.waited += 1
    if gap <= state.target:
        state.target, state.waited = 0.5 * gap, 0
    tired = state.waited >= _PATIENCE or state.rejected > 2 * max(state.n_iter, _CHECK_EVERY)
    if state.z is None and tired and state.lipschitz > 0.0:
        state.z, state.rz, state.gz = state.x, state.r, state.g
        state.step = _GREEDY / state.lipschitz
    advance = _descend if state.z is None else _extrapolate
    for _ in range(count):
        moved = advance(problem, state)
        state.n_iter += 1
        state.dual = DualPair(state.r, state.g)
        if not moved > 1e-32 * squared(state.x):
            return Outcome.FLOOR
    return Outcome.MOVED


def _descend(problem: Problem, state: PlainState) -> float:
    """Take a proximal step from x, shortened until the nonmonotone test holds."""
    # what rounding alone can do to 1/2 ||r||^2 rejects no step
    crumb = 1e-6 if _single(problem) else 1e-12
    ceiling = (1.0 + crumb) * max(state.window) - state.window[-1]
    while True:
        x = problem.penalty.prox(state.x - state.step * state.g, state.step)
        r = problem.residual(x)
        moved, image = squared(x - state.x), squared(r - state.r)
        # written so that a NaN ends the loop
        if not 0.5 * (image - moved / state.step) > ceiling:
            break
        state.rejected += 1
        state.step = max(_SHRINK * state.step, 0.9 * moved / image)
    g = problem.gradient(r).copy()
    if moved > 0.0:
        state.lipschitz = max(state.lipschitz, image / moved)
        state.step = _length(moved, image, squared(g - state.g), state.step)
    state.x, state.r, state.g = np.ascontiguousarray(x, dtype=problem.dtype), r, g
    state.window = [*state.window[1 - _WINDOW :], 0.5 * squared(r)]
    return moved


def _extrapolate(problem: Problem, state: PlainState) -> float:
    """Take a step of greedy FISTA from z = x + (x - before); all but the new x follows by linearity."""
    x = np.ascontiguousarray(
        problem.penalty.prox(state.z - state.step * state.gz, state.step), dtype=problem.dtype
    )
    r = problem.residual(x)
    g = problem.gradient(r).copy()
    moved, away = squared(x - state.x), squared(x - state.z)
    if away > 1e-24 * squared(x):
        curvature = squared(r - state.rz) / away
        if curvature > state.lipschitz:
            state.lipschitz = 1.02 * curvature
            state.step = min(state.step, _GREEDY / state.lipschitz)
    state.first = state.first or moved
    if moved > _WILD**2 * state.first:
        state.step = max(1.0 / state.lipschitz, _CALM * state.step)
    if float(np.vdot(state.z - x, x - state.x).real) >= 0.0:
        state.z, state.rz, state.gz = x, r, g
    else:
        state.z, state.rz, state.gz = 2.0 * x - state.x, 2.0 * r - state.r, 2.0 * g - state.g
    state.x, state.r, state.g = x, r, g
    return max(moved, away)

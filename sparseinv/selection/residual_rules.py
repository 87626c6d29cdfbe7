"""Rules that look at the residual and the solution alone: whiteness and the corner of the L-curve."""

from __future__ import annotations

import dataclasses
import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.penalties.base import Leveled
from sparseinv.penalties.separable import L0
from sparseinv.selection.trail import PathRule, Reading, Trail, least

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False, repr=False)
class Whiteness(PathRule):
    """Choose the level whose residual resembles white noise most.

    W(lam) = sum_k |R_k|^4 / (sum_k |R_k|^2)^2 with R the Fourier transform of the residual: the energy of
    its normalised circular autocorrelation, up to a constant [1]_. No sigma is needed.

    Parameters
    ----------
    axis : int, optional
        Axis of the data along which the noise is white; W is then the average over all lines of data,
        weighted by their energy. None: all axes.
    shape : tuple of int, optional
        Shape of the data; that of ``A.dimsd`` for an operator that has one, otherwise (m,).

    Notes
    -----
    The order of the rows carries the information: samples in time, pixels in space. Rows without an order
    make it a lottery. The path ends where 1 in 10^6 of the energy of b is left. Cost: one path and
    a Fourier transform per level.

    References
    ----------
    .. [1] A. Lanza, M. Pragliola, F. Sgallari, Residual whiteness principle for parameter-free image
       restoration, Electron. Trans. Numer. Anal. 53 (2020) 329-351, doi:10.1553/etna_vol53s329.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> rng = np.random.default_rng(0)
    >>> t = np.arange(100)
    >>> A = np.exp(-0.5 * ((t[:, None] - t[None, ::4]) / 3.0) ** 2)
    >>> b = 3 * A[:, 5] - 2 * A[:, 15] + 0.1 * rng.standard_normal(100)
    >>> si.solve(A, b, si.L1(), select=si.Whiteness()).selection.at_edge
    False
    """

    axis: int | None = dataclasses.field(default=None, kw_only=True)
    shape: tuple[int, ...] | None = dataclasses.field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        whole = isinstance(self.axis, (int, np.integer)) and not isinstance(self.axis, bool)
        if self.axis is not None and not whole:
            raise TypeError(f"axis is {self.axis!r}, but an integer or None is needed")
        if self.shape is not None:
            try:
                sizes = tuple(self.shape)
            except TypeError:
                raise TypeError(f"shape is {self.shape!r}, but a tuple of integers is needed") from None
            object.__setattr__(self, "shape", tuple(validation.count(s, "shape", least=1) for s in sizes))

    def check(self, m: int) -> None:
        """Refuse a shape that does not hold m data."""
        if self.shape is not None and math.prod(self.shape) != m:
            held = math.prod(self.shape)
            raise ValueError(f"shape is {self.shape}, which holds {held} data, but A has {m} rows")

    def read(self, trail: Trail) -> Reading:
        """Return the choice."""
        problem = trail.problem
        shape: tuple[int, ...] = self.shape or problem.operator.inner.dimsd
        if math.prod(shape) != problem.m:
            shape = (problem.m,)
        if self.axis is not None and not -len(shape) <= self.axis < len(shape):
            raise ValueError(f"axis is {self.axis}, but the data have shape {shape}; pass shape")
        axes = tuple(range(len(shape))) if self.axis is None else (self.axis % len(shape),)
        values = []
        for level in trail:
            if level.rss <= 1e-6 * 2.0 * problem.scale:
                break
            power = np.abs(np.fft.fftn(level.r.reshape(shape), axes=axes)) ** 2
            energy = power.sum(axis=axes)
            white = np.divide((power**2).sum(axis=axes), energy, out=np.zeros_like(energy), where=energy > 0)
            values.append(float(white.sum() / energy.sum()) if energy.sum() > 0 else math.inf)
        return least(trail, np.array(values), "whitest residual")


@dataclass(frozen=True, eq=False, repr=False)
class LCurve(PathRule):
    """Choose the corner of the curve (log ||A x - b||, log R(x)) by adaptive pruning [1]_.

    R is sum w |x| for L1, the sum of group norms, sqrt(sum w |x|^2) for L2, the mixture of the elastic net.

    Notes
    -----
    Offered because people ask for it: it needs no sigma and stands correlated noise, but only ill-posed
    problems have a corner, and even there it is a worse guide than `GCV` or `SURE`. Where the curve has no
    convex corner the level nearest to the origin of the plot is taken, and the rule says so.

    References
    ----------
    .. [1] P. C. Hansen, T. K. Jensen, G. Rodriguez, An adaptive pruning algorithm for the discrete L-curve
       criterion, J. Comput. Appl. Math. 198 (2007) 483-492, doi:10.1016/j.cam.2005.09.026.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> rng = np.random.default_rng(0)
    >>> t = np.arange(60)
    >>> A = np.exp(-0.5 * ((t[:, None] - t[None, :]) / 4.0) ** 2)
    >>> b = A @ np.exp(-0.01 * (t - 30.0) ** 2) + 0.01 * rng.standard_normal(60)
    >>> si.solve(A, b, si.L2(), select=si.LCurve()).selection.rule
    'corner of the L-curve'
    """

    def accept(self, penalty: Leveled, solver: Any = "auto") -> None:
        """Refuse L0, whose curve is a staircase."""
        if isinstance(penalty, L0):
            raise TypeError("select is LCurve(), but L0's curve is a staircase: use InformationCriterion")

    def read(self, trail: Trail) -> Reading:
        """Return the choice."""
        unit = trail.at_level(1.0).penalty
        rho, eta, place = [], [], []
        for k, level in enumerate(trail):
            size = float(unit.value(level.x))
            if size > 0.0 and level.rss > 1e-24 * 2.0 * trail.problem.scale:
                rho.append(0.5 * math.log10(level.rss))
                eta.append(math.log10(size) / (2.0 if getattr(unit, "quadratic", False) else 1.0))
                place.append(k)
        criterion = np.full(trail.n_solved, math.nan)
        criterion[place] = rho
        if len(place) < 3:
            first = trail.level(0)
            assert first is not None
            return Reading(first.lam, "L-curve of less than three points", criterion, True)
        found, clear = corner(np.array(rho), np.array(eta))
        k = place[found]
        rule = "corner of the L-curve" + ("" if clear else " (no convex corner: point nearest to the origin)")
        at_edge = found in (0, len(place) - 1) or not clear
        return Reading(float(trail.lams[k]), rule, criterion, at_edge, False)


def corner(rho: Array, eta: Array) -> tuple[int, bool]:
    """Return (index of the corner, whether it is convex) of a discrete L-curve, from large to small lambda.

    Along the curve rho falls and eta grows. For several numbers p the p longest steps are kept; two
    candidates of each are the sharpest turn between consecutive steps and the point nearest to where the
    flattest and the steepest step would meet. Of all the last one before the curve turns upright is taken.
    """
    # from small to large lambda, as the algorithm is written: down the steep part, along the flat one
    rho, eta = rho[::-1], eta[::-1]
    dx, dy = np.diff(rho), np.diff(eta)
    length = np.hypot(dx, dy)
    moved = length > 1e-12 * max(float(length.max()), 1e-300)
    total = rho.size
    order = np.argsort(-length, kind="stable")
    order = order[moved[order]]
    count, candidates = min(5, order.size), [total - 1]
    while order.size >= 2:
        kept = np.sort(order[:count])
        candidates += _turn(dx[kept] / length[kept], dy[kept] / length[kept], kept)
        candidates += _meeting(rho, eta, dx[kept], dy[kept], length[kept], kept)
        if count >= min(order.size, 2 * (total - 1)):
            break
        count = min(2 * count, order.size)
    points = sorted(set(candidates))
    chosen = _last_before_upright(rho, eta, points)
    if chosen is None:
        span_r, span_e = max(float(np.ptp(rho)), 1e-300), max(float(np.ptp(eta)), 1e-300)
        near = int(np.argmin(((rho - rho.min()) / span_r) ** 2 + ((eta - eta.min()) / span_e) ** 2))
        return total - 1 - near, False
    return total - 1 - chosen, True


def _turn(u: Array, v: Array, kept: Array) -> list[int]:
    """Return the point of the sharpest turn to the left between consecutive kept steps."""
    wedge = u[:-1] * v[1:] - u[1:] * v[:-1]
    if wedge.size == 0 or not wedge.max() > 0.0:
        return []
    return [int(kept[int(np.argmax(wedge)) + 1])]


def _meeting(rho: Array, eta: Array, dx: Array, dy: Array, length: Array, kept: Array) -> list[int]:
    """Return the point nearest to where the line of the flattest step meets that of the steepest one."""
    slope = np.abs(dy) / length
    flat, steep = int(np.argmin(slope)), int(np.argmax(slope))
    if kept[flat] <= kept[steep]:
        return []  # the flat part must come after the steep one
    i, j = int(kept[flat]), int(kept[steep])
    direction = np.array([[dx[flat], -dx[steep]], [dy[flat], -dy[steep]]])
    if abs(np.linalg.det(direction)) <= 1e-12 * length[flat] * length[steep]:
        return []
    step = np.linalg.solve(direction, np.array([rho[j] - rho[i], eta[j] - eta[i]]))
    x, y = rho[i] + step[0] * dx[flat], eta[i] + step[0] * dy[flat]
    return [int(np.argmin((rho - x) ** 2 + (eta - y) ** 2))]


def _last_before_upright(rho: Array, eta: Array, points: list[int]) -> int | None:
    """Return the first candidate, from large lambda on, after which the curve is steep, at a convex turn.

    The last candidate if there is no such turn, None where there is no candidate but the first point.
    """
    if len(points) < 2:
        return None
    steps = [(rho[b] - rho[a], eta[b] - eta[a]) for a, b in itertools.pairwise(points)]
    for k in range(len(points) - 2, 0, -1):
        (px, py), (qx, qy) = steps[k - 1], steps[k]
        if abs(py) >= abs(px) and px * qy - qx * py > 0.0:
            return points[k]
    return points[0]

"""Penalties that are concave in the norms of groups."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparseinv.penalties.group import ByGroup, Grouped, NonconvexGroups
from sparseinv.penalties.nonconvex import MCP, SCAD, Concave, LogSum, Lp

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class ConcaveNorms(NonconvexGroups):
    """The penalty of group norms spread over n coefficients; what solvers and certificates see.

    ``each`` is that of the norms, one entry per group.
    """

    each: Concave
    order: Array
    starts: Array

    called = "GroupConcave"

    @property
    def lam(self) -> Array:
        """Levels of the groups."""
        return self.each.lam

    def value(self, x: Array) -> float:
        """Return R(x)."""
        return self.each.value(self.blocks.norms(np.asarray(x)))

    def prox(self, v: Array, step: float) -> Array:
        """Return v with the norm of every group replaced by its prox."""
        norms = self.blocks.norms(v)
        kept = self.each.prox(norms, step)
        factor = np.divide(kept, norms, out=np.zeros_like(norms), where=norms > 0)
        return np.asarray(v * self.blocks.spread(factor))

    def majorant(self, x: Array, squares: Array) -> Array:
        """Return the levels of the group norms that touch R from above at x, up to a constant."""
        mean = np.add.reduceat(squares[self.order], self.starts[:-1]) / np.diff(self.starts)
        return self.each.majorant(self.blocks.norms(x), mean)

    def surrogate(self, weights: Array) -> Grouped:
        """Return the convex penalty of group norms with these levels."""
        return Grouped(weights, self.order, self.starts)

    def thresholds(self, c: Array, norms: Array) -> Array:
        """Return t_g such that under t_g R_g a group alone, moved along c = A^H b, stays zero."""
        size = self.blocks.norms(c)
        live = np.where(size > 0, size, 1.0)
        return self.each.thresholds(size, self.blocks.norms(np.abs(c) * norms) / live)

    def lam_max(self, c: Array, norms: Array | None) -> float:
        """Return the factor on all levels from which on no group, moved along A^H b, improves on x = 0."""
        if norms is None:
            raise ValueError("lam_max of a nonconvex penalty needs the column norms of A")
        return float(self.thresholds(c, norms).max(initial=0.0))

    def tilted(self, factor: float) -> ConcaveNorms:
        """Return the penalty with every level times factor."""
        return dataclasses.replace(self, each=self.each.tilted(factor))

    def in_units(self, b_exponent: int, a_exponent: int) -> ConcaveNorms:
        """Return the penalty for b / 2**b_exponent and A / 2**a_exponent."""
        return dataclasses.replace(self, each=self.each.in_units(b_exponent, a_exponent))


@dataclass(frozen=True, eq=False, repr=False)
class GroupConcave(ByGroup):
    """Penalise group norms by a concave curve: R(x) = sum_g lam_g phi(||x_g||_2).

    Parameters
    ----------
    lam : float or array_like, optional
        One level or one per group (K,), in the order of ``numpy.unique(groups)``, in the unit that the curve
        gives it. 0 leaves a group unpenalised, inf excludes it. None: chosen from the data by `solve`.
    curve : Lp, LogSum, MCP or SCAD
        The curve of one norm, without lam, weights, groups or nonnegative of its own.
    groups : array_like, shape (n,)
        A label per coefficient.
    weights : float or array_like, shape (K,), optional
        Relative factors per group, as those of the curve act on a coefficient.

    Notes
    -----
    Groups come and go as a whole, as with `GroupL1`, and those that stay are shrunk less or, beyond the
    plateau of MCP and SCAD, not at all [1]_. Nonconvex: what is certified is stationarity to first order.
    prox takes the norm of every group to the prox of the curve and keeps its direction. `lam_max` is the
    level from which on no single group, moved along its part of A^H b, improves on x = 0; where the columns
    of a group are orthogonal and of one length that is the best it could do. MCP with gamma below
    1 / ||A_g||^2 charges gamma lam_g^2 / 2 for a group that is not zero and nothing else, which makes it an
    L0 penalty of groups.

    References
    ----------
    .. [1] J. Huang, P. Breheny, S. Ma, A selective review of group selection in high-dimensional models,
       Stat. Sci. 27 (2012) 481-499, doi:10.1214/12-STS392.

    Examples
    --------
    >>> R = GroupConcave(1.0, MCP(gamma=3.0), groups=[0, 0, 1])
    >>> R.prox(np.array([3.0, 4.0, 0.5]), 1.0)
    array([3., 4., 0.])
    >>> R.value(np.array([3.0, 4.0, 0.0]))
    1.5
    """

    curve: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        curve = self.curve
        if not isinstance(curve, (Lp, LogSum, MCP, SCAD)):
            raise TypeError(f"curve is {curve!r}, but Lp(), LogSum(eps=...), MCP() or SCAD() is needed")
        if curve.nonnegative or any(v is not None for v in (curve.lam, curve.weights, curve.groups)):
            raise ValueError(
                f"curve is {curve!r}; lam, weights and groups belong to GroupConcave, and a norm has no sign"
            )

    def bind(self, n: int) -> ConcaveNorms | Grouped:
        """Return the penalty with its groups laid out over n coefficients."""
        blocks = self.blocks(n)
        each = self.curve.replace(lam=blocks.lam).bind(blocks.lam.size)
        if not isinstance(each, Concave):  # no level is left that is neither 0 nor inf
            return blocks
        return ConcaveNorms(each, blocks.order, blocks.starts)

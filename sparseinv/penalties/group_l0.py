"""Group L0: a price for every group that is not zero."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparseinv.penalties.group import ByGroup, Grouped, NonconvexGroups

Array = np.ndarray[Any, Any]

_TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True, eq=False)
class CountedGroups(NonconvexGroups):
    """The price of groups spread over n coefficients; what solvers and certificates see."""

    lam: Array
    order: Array
    starts: Array

    called = "GroupL0"

    def value(self, x: Array) -> float:
        """Return R(x)."""
        return float(self.lam[self.blocks.norms(np.asarray(x)) > 0].sum())

    def prox(self, v: Array, step: float) -> Array:
        """Return v with the groups set to zero whose square is at most 2 step lam_g."""
        kept = self.blocks.norms(v) ** 2 > 2.0 * step * self.lam
        return np.where(self.blocks.spread(kept), v, 0.0)

    def lam_max(self, c: Array, norms: Array | None) -> float:
        """Return the factor on all prices from which on no group, moved along A^H b, improves on x = 0."""
        if norms is None:
            raise ValueError("lam_max of a nonconvex penalty needs the column norms of A")
        size, along = self.blocks.norms(c), self.blocks.norms(np.abs(c) * norms)
        live = (self.lam > 0) & np.isfinite(self.lam) & (along > 0)
        return float((size[live] ** 4 / (2.0 * along[live] ** 2 * self.lam[live])).max(initial=0.0))

    def tilted(self, factor: float) -> CountedGroups:
        """Return the penalty with every price times factor."""
        return dataclasses.replace(self, lam=self.lam * factor)

    def in_units(self, b_exponent: int, a_exponent: int) -> CountedGroups:
        """Return the penalty for b / 2**b_exponent and A / 2**a_exponent."""
        with np.errstate(over="ignore", under="ignore"):
            lam = np.ldexp(self.lam, -2 * b_exponent)
        return dataclasses.replace(self, lam=np.where((self.lam > 0) & (lam == 0), _TINY, lam))


class GroupL0(ByGroup):
    """Price groups that are not zero: R(x) = sum_g lam_g [x_g != 0].

    Parameters
    ----------
    lam : float or array_like, optional
        One level or one per group (K,), in the order of ``numpy.unique(groups)``. 0 leaves a group
        unpenalised, inf excludes it. None: chosen from the data by `solve`.
    groups : array_like, shape (n,)
        A label per coefficient.
    weights : float or array_like, shape (K,), optional
        Relative factors per group; the sizes of the groups price every coefficient alike.

    Notes
    -----
    Nonconvex. `LocalSearch` (auto, for dense and sparse A) adds, removes and exchanges whole groups, each
    judged after a full refit, and certifies that none of these would help [1]_. `lam_max` is the level from
    which on no single group improves on x = 0.

    References
    ----------
    .. [1] H. Hazimeh, R. Mazumder, P. Radchenko, Grouped variable selection with discrete optimization:
       computational and statistical perspectives, Ann. Stat. 51 (2023) 1-32, doi:10.1214/21-AOS2155.

    Examples
    --------
    >>> GroupL0(1.0, groups=[0, 0, 1]).prox(np.array([3.0, 4.0, 0.5]), 1.0)
    array([3., 4., 0.])
    """

    def bind(self, n: int) -> CountedGroups | Grouped:
        """Return the penalty with its groups laid out over n coefficients."""
        blocks = self.blocks(n)
        if not ((blocks.lam > 0) & np.isfinite(blocks.lam)).any():  # nothing nonconvex is left
            return blocks
        return CountedGroups(blocks.lam, blocks.order, blocks.starts)

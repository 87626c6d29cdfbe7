"""Group lasso: R(x) = sum_g lam_g ||x_g||."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.penalties.base import Leveled, Penalty

Array = np.ndarray[Any, Any]

_TINY = np.finfo(np.float64).tiny


@dataclass(frozen=True, eq=False)
class Grouped(Penalty):
    """The group penalty spread over n coefficients; what solvers and certificates see.

    Group g is ``order[starts[g]:starts[g + 1]]`` and has the level ``lam[g]``.
    """

    lam: Array
    order: Array
    starts: Array

    convex = True
    nonnegative = False
    quadratic = False

    @property
    def n(self) -> int:
        """Number of coefficients."""
        return int(self.order.size)

    @property
    def terms(self) -> tuple[Any, ...]:
        """Arrays for the kernels."""
        none = np.empty(0)
        return (none, self.lam, none, False, self.order, self.starts)

    @property
    def level(self) -> Array:
        """Level of the group of every coefficient, shape (n,)."""
        out = np.empty(self.n)
        out[self.order] = np.repeat(self.lam, np.diff(self.starts))
        return out

    @property
    def excluded(self) -> Array:
        """Mask of the coefficients held at zero."""
        return np.isinf(self.level)

    @property
    def unpenalised(self) -> Array:
        """Mask of the coefficients without a level."""
        return self.level == 0

    def norms(self, x: Array) -> Array:
        """Return the Euclidean norm of every group."""
        squares = np.abs(x[self.order]) ** 2
        return np.sqrt(np.add.reduceat(squares, self.starts[:-1])) if squares.size else np.zeros(0)

    def spread(self, per_group: Array) -> Array:
        """Return one number per coefficient from one per group."""
        out = np.empty(self.n, dtype=per_group.dtype)
        out[self.order] = np.repeat(per_group, np.diff(self.starts))
        return out

    def value(self, x: Array) -> float:
        """Return R(x)."""
        norms = self.norms(x)
        live = norms > 0
        return float((self.lam[live] * norms[live]).sum())

    def prox(self, v: Array, step: float) -> Array:
        """Return v with every group's norm shrunk by step * lam_g."""
        norms = self.norms(v)
        kept = np.maximum(norms - step * self.lam, 0.0)
        factor = np.divide(kept, norms, out=np.zeros_like(norms), where=norms > 0)
        return np.asarray(v * self.spread(factor))

    def conjugate(self, u: Array) -> float:
        """Return 0 where every group's norm is at most lam_g, inf elsewhere."""
        return 0.0 if (self.norms(u) <= self.lam).all() else np.inf

    def best_scale(self, c: Array, correlation: float, squared_norm: float, *, sign: float = 1.0) -> float:
        """Return the s >= 0 that maximises the dual value of s nu, for sign * c = A^H nu."""
        if correlation <= 0.0:
            return 0.0
        norms = self.norms(c)
        bound = (norms > 0) & (self.lam > 0)
        limit = float((self.lam[bound] / norms[bound]).min(initial=np.inf))
        s = min(correlation / squared_norm, limit) if squared_norm > 0 else limit
        return s if np.isfinite(s) else 1.0

    def fenchel_young(self, x: Array, c: Array, scale: float = 1.0) -> float:
        """Return sum_g lam_g ||x_g|| - Re<x_g, s c_g> for s = scale, feasible s c; every term is >= 0."""
        if (self.excluded & (x != 0)).any():
            return np.inf
        norms = self.norms(x)
        each = scale * (np.conj(x) * c).real
        inner = np.add.reduceat(each[self.order], self.starts[:-1]) if x.size else norms
        live = norms > 0
        return float(np.maximum(self.lam[live] * norms[live] - inner[live], 0.0).sum())

    def lam_max(self, c: Array, norms: Array | None) -> float:
        """Return the factor on all levels from which on x = 0, c = A^H b with b projected."""
        bound = (self.lam > 0) & np.isfinite(self.lam)
        return float((self.norms(c)[bound] / self.lam[bound]).max(initial=0.0))

    def tilted(self, factor: float) -> Grouped:
        """Return the penalty with every level times factor."""
        return dataclasses.replace(self, lam=self.lam * factor)

    def in_units(self, b_exponent: int, a_exponent: int) -> Grouped:
        """Return the penalty for b / 2**b_exponent and A / 2**a_exponent."""
        with np.errstate(over="ignore", under="ignore"):
            lam = np.ldexp(self.lam, -b_exponent - a_exponent)
        return dataclasses.replace(self, lam=np.where((self.lam > 0) & (lam == 0), _TINY, lam))

    def quadratic_weights(self, x: Array, eps: float, p: float, size: float) -> Array:
        """Return w such that sum w_j |x_j|^2 / 2 majorises the smoothed penalty at x, up to a constant.

        ||x_g|| is smoothed as size (||x_g / size||^2 + eps)^(1/2).
        """
        return self.spread(self.lam / (size * np.sqrt((self.norms(x) / size) ** 2 + eps)))


class NonconvexGroups(Penalty):
    """Share what the nonconvex penalties of groups say of coefficients; group g has the level ``lam[g]``.

    Group g is ``order[starts[g]:starts[g + 1]]``.
    """

    lam: Any
    order: Array
    starts: Array

    convex = False
    nonnegative = False
    quadratic = False

    @cached_property
    def blocks(self) -> Grouped:
        """The groups, with the same levels."""
        return Grouped(self.lam, self.order, self.starts)

    @property
    def n(self) -> int:
        """Number of coefficients."""
        return int(self.order.size)

    @cached_property
    def excluded(self) -> Array:
        """Mask of the coefficients held at zero."""
        return self.blocks.excluded

    @cached_property
    def unpenalised(self) -> Array:
        """Mask of the coefficients without a level."""
        return self.blocks.unpenalised

    def conjugate(self, u: Array) -> float:
        """Refuse: it is that of a convex function below R."""
        raise ValueError("the conjugate of a nonconvex penalty certifies nothing; this one has none here")


class ByGroup(Leveled):
    """Share what the penalties of group norms have in common: one level per group."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.groups is None:
            raise ValueError(
                f"groups is missing: {type(self).__name__} needs one label per coefficient (L1 needs none)"
            )

    def blocks(self, n: int) -> Grouped:
        """Return the groups laid out over n coefficients, with their levels."""
        index, labels = self.grouping(n)
        assert index is not None
        lam = 1.0 if self.lam is None else self.lam
        blocks = np.arange(labels.size)
        level = validation.broadcast(lam, labels.size, blocks, labels.size, "lam")
        if self.weights is not None:
            with np.errstate(invalid="ignore"):
                level = level * validation.broadcast(
                    self.weights, labels.size, blocks, labels.size, "weights"
                )
        if np.isnan(level).any():
            raise ValueError("lam * weights is 0 * inf for a group; use 0 or inf, not both")
        order = np.argsort(index, kind="stable").astype(np.int64)
        starts = np.concatenate([[0], np.cumsum(np.bincount(index, minlength=labels.size))]).astype(np.int64)
        return Grouped(np.ascontiguousarray(level, dtype=np.float64), order, starts)


class GroupL1(ByGroup):
    """Penalise group norms: R(x) = sum_g lam_g ||x_g||_2, without a hidden sqrt(group size).

    Parameters
    ----------
    lam : float or array_like, optional
        One level or one per group (K,), in the order of ``numpy.unique(groups)``. 0 leaves a group
        unpenalised, inf excludes it. None: chosen from the data by `solve`.
    groups : array_like, shape (n,)
        A label per coefficient.
    weights : float or array_like, shape (K,), optional
        Relative factors per group; ``numpy.sqrt(sizes)`` gives the rule of Yuan and Lin [1]_.

    References
    ----------
    .. [1] M. Yuan, Y. Lin, Model selection and estimation in regression with grouped variables, J. R.
       Stat. Soc. B 68 (2006) 49-67, doi:10.1111/j.1467-9868.2005.00532.x.

    Examples
    --------
    >>> GroupL1(1.0, groups=[0, 0, 1]).prox(np.array([3.0, 4.0, 0.5]), 1.0)
    array([2.4, 3.2, 0. ])
    """

    def bind(self, n: int) -> Grouped:
        """Return the penalty with its groups laid out over n coefficients."""
        return self.blocks(n)

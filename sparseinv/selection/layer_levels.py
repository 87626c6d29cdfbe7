"""The lambdas of layers as a function of few numbers, and the range they may take."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.penalties.base import Leveled
from sparseinv.penalties.group import Grouped, GroupL1
from sparseinv.penalties.separable import L1, L2, ElasticNet
from sparseinv.problem import Problem
from sparseinv.selection.defaults import at_level

Array = np.ndarray[Any, Any]

_REACH, _RIDGE_REACH = 7.0, 16.0  # how far below its largest level a layer's log lam may fall
_ALIVE = 0.9  # of the level from which on a layer is zero


def check_layers(penalty: Any, n: int, codata: Any) -> Leveled:
    """Refuse a penalty whose lambdas cannot be tuned by layers."""
    validation.refuse_class(penalty, Leveled, "penalty", "groups=labels")
    if type(penalty) not in (L1, L2, ElasticNet, GroupL1):
        raise TypeError(
            f"penalty is {penalty!r}, but tune_lams needs L1, L2, ElasticNet or GroupL1 with groups=labels"
        )
    if penalty.groups is None and codata is None:
        raise ValueError(
            "penalty has no groups: pass one label per coefficient, for example L1(groups=labels), or "
            "codata, shape (n, q); a free lambda for every coefficient fits the noise of the criterion"
        )
    penalty.bind(n)
    return penalty


class Layers:
    """Map a, shape (q,), to one lambda per layer: lam = own * exp(B a), within a box.

    Without co-data a is log lam itself. Co-data are replaced by an orthogonal basis of their columns and
    the constant, scaled so that entries of B are about 1.

    Parameters
    ----------
    penalty : Leveled
        Bound to the problem; its own lam are factors, 1 if None.
    problem : Problem
        All rows, at a = 0.
    codata : ndarray, shape (K, z), or None
        One row per layer (or coefficient, without groups).

    Attributes
    ----------
    own : ndarray, shape (K,)
        The penalty's own lam; layers where it, or every weight, is 0 or inf keep it.
    index : ndarray, shape (n,)
        Layer of every coefficient.
    tops : ndarray, shape (K,)
        Level from which on a layer alone is zero, as a factor on ``own``.
    """

    def __init__(self, penalty: Leveled, problem: Problem, codata: Array | None) -> None:
        self.penalty, n = penalty, problem.n
        index, labels = penalty.grouping(n)
        self.index = np.arange(n) if index is None else index
        count = n if index is None else labels.size
        lam = 1.0 if penalty.lam is None else penalty.lam
        self.own = np.array(np.broadcast_to(np.asarray(lam, dtype=float), (count,)))
        bound = problem.penalty
        strength = bound.level if isinstance(bound, Grouped) else bound.l1 + bound.l2
        moving = (strength > 0) & np.isfinite(strength)
        free = np.zeros(count, dtype=bool)
        free[self.index[moving]] = True
        self.tops = self._largest(problem, bound, moving, count)
        self.free = free & (self.tops > 0)
        reach = _RIDGE_REACH if isinstance(penalty, L2) else _REACH
        self.high = np.log(np.where(self.free, self.tops, 1.0))
        self.low = self.high - reach
        self.plain = codata is None
        if codata is None:
            self.basis = np.eye(count)[:, self.free]
        else:
            self.basis = _basis(codata, self.free)

    def _largest(self, problem: Problem, bound: Any, moving: Array, count: int) -> Array:
        """Return the factor from which on each layer is zero; for a ridge one that is far too much."""
        if isinstance(self.penalty, L2):
            squares = np.where(moving, problem.column_norms**2 / np.where(moving, bound.l2, 1.0), 0.0)
            mean = squares[moving].sum() / max(min(problem.m, problem.n), 1) if moving.any() else 1.0
            return np.full(count, 1e3 * (mean or 1.0))
        c = problem.gradient(problem.project(problem.b))
        return self._by_layer(bound, c, moving, count)

    def _by_layer(self, bound: Any, c: Array, moving: Array, count: int) -> Array:
        tops = np.zeros(count)
        if isinstance(bound, Grouped):
            norms = bound.spread(bound.norms(c))[moving] / bound.level[moving]
            np.maximum.at(tops, self.index[moving], norms)
        else:
            np.maximum.at(tops, self.index[moving], bound.magnitude(c)[moving] / bound.l1[moving])
        return tops

    def revived(self, at: Problem, x: Array) -> Array:
        """Return log lam at which layers that are zero at x would just not be so, inf for the others."""
        bound = at.penalty
        if isinstance(self.penalty, L2):
            return np.full(self.own.size, np.inf)
        level = bound.level if isinstance(bound, Grouped) else bound.l1
        moving = (level > 0) & np.isfinite(level)
        # factors on the present levels
        ratio = self._by_layer(bound, at.gradient(at.residual(x)), moving, self.own.size)
        alive = np.zeros(self.own.size, dtype=bool)
        alive[self.index[x != 0]] = True
        with np.errstate(divide="ignore"):
            return np.where(alive | (ratio == 0), np.inf, np.log(_ALIVE * ratio))

    def admit(self, logs: Array) -> None:
        """Widen the box so that it holds these logs: cut, a shared lambda would be shared no more."""
        self.low, self.high = np.minimum(self.low, logs), np.maximum(self.high, logs)

    @property
    def size(self) -> int:
        """How many numbers the lambdas depend on."""
        return int(self.basis.shape[1])

    def logs(self, a: Array) -> Array:
        """Return log(lam / own), shape (K,), within the box."""
        return np.clip(self.basis @ a, self.low, self.high)

    def lams(self, logs: Array) -> Array:
        """Return lam, shape (K,)."""
        return np.where(self.free, self.own * np.exp(np.where(self.free, logs, 0.0)), self.own)

    def numbers(self, logs: Array) -> Array:
        """Return the a whose lambdas come nearest to the logarithms."""
        return np.asarray(np.linalg.lstsq(self.basis[self.free], logs[self.free], rcond=None)[0])

    def share(self, a: Array) -> Array:
        """Return dlogs/da, shape (K, q): zero for layers at the edge of the box."""
        raw = self.basis @ a
        inside = self.free & (raw >= self.low) & (raw <= self.high)
        return np.where(inside[:, None], self.basis, 0.0)

    def box(self) -> list[tuple[float | None, float | None]]:
        """Return the bounds of a for the optimiser."""
        if not self.plain:
            return [(None, None)] * self.size
        return list(zip(self.low[self.free], self.high[self.free], strict=True))

    def spread(self) -> Array:
        """Return V, shape (K', q), with ||V a||^2 = sum (log lam - their mean)^2 over the free layers."""
        rows = self.basis[self.free]
        return np.asarray(rows - rows.mean(axis=0, keepdims=True))

    def at(self, problem: Problem, logs: Array) -> Problem:
        """Return the problem at the lambdas."""
        return at_level(problem, self.penalty, self.lams(logs))

    def per_layer(self, values: Array, index: Array) -> Array:
        """Return sums over the layers of numbers that belong to the coefficients of index."""
        return np.bincount(self.index[index], weights=values, minlength=self.own.size)


def _basis(codata: Array, free: Array) -> Array:
    """Return an orthogonal basis of the constant and the columns of the co-data, entries about 1."""
    rows = codata[free]
    scale = np.abs(rows).max(axis=0, initial=0.0)
    rows = rows / np.where(scale > 0, scale, 1.0)
    rows = np.column_stack([np.ones(rows.shape[0]), rows])
    q, upper = np.linalg.qr(rows)
    diagonal = np.abs(np.diag(upper))
    q = q[:, diagonal > 1e-10 * math.sqrt(max(rows.shape[0], 1))]
    out = np.zeros((codata.shape[0], q.shape[1]))
    out[free] = q * math.sqrt(max(rows.shape[0], 1))
    return out

"""What a penalty must offer; it must not know problems, solvers or the data."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from sparseinv import validation

Array = np.ndarray[Any, Any]


class Penalty:
    """Represent the penalty R of ``1/2 ||A x - b||^2 + R(x)``.

    Your own penalty is one subclass with two methods, ``value`` and ``prox``; the proximal solvers
    (ISTA, FISTA) use it at once. Set ``convex = True`` where it holds: FISTA asks for it. With
    ``conjugate`` as well, the answer comes with a duality gap instead of first-order stationarity.

    See Also
    --------
    L1, L2, L0, ElasticNet, GroupL1 : the built-in penalties, usable by every solver.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> class Box(si.Penalty):
    ...     convex = True
    ...     def value(self, x):
    ...         return 0.0 if np.all(np.abs(x) <= 1.0) else np.inf
    ...     def prox(self, v, step):
    ...         return np.clip(v, -1.0, 1.0)
    >>> si.solve(np.eye(2), np.array([3.0, 0.5]), Box(), solver=si.FISTA()).x
    array([1. , 0.5])
    """

    #: whether R is convex
    convex: Any = False
    #: arrays for the kernels; None for a penalty that only Python knows
    terms: Any = None

    def value(self, x: Array) -> float:
        """Return R(x)."""
        raise TypeError(f"{type(self).__name__} must define value(x)")

    def prox(self, v: Array, step: float) -> Array:
        """Return argmin_x 1/2 ||x - v||^2 + step R(x)."""
        raise TypeError(f"{type(self).__name__} must define prox(v, step)")

    def bind(self, n: int) -> Penalty:
        """Return the penalty with everything spread over n coefficients."""
        return self


@dataclasses.dataclass(frozen=True, eq=False)
class Leveled(Penalty):
    """Carry lam, weights and groups for the penalties that have a level.

    Subclasses define ``bind``, which spreads the levels, and inherit value, prox and conjugate.
    """

    lam: Any = None
    groups: Any = dataclasses.field(default=None, kw_only=True)
    weights: Any = dataclasses.field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "lam", validation.lambdas(self.lam))
        object.__setattr__(self, "weights", validation.lambdas(self.weights, "weights"))
        if self.groups is not None:
            labels = validation.group_labels(self.groups).copy()
            labels.flags.writeable = False
            object.__setattr__(self, "groups", labels)

    def bind(self, n: int) -> Any:
        """Return the penalty with its levels spread over n coefficients (Separable or Grouped)."""
        raise TypeError(f"{type(self).__name__} must define bind(n)")

    def replace(self, **changes: Any) -> Leveled:
        """Return a copy with some fields changed, for example ``penalty.replace(lam=0.2)``."""
        return dataclasses.replace(self, **changes)

    def at(self, lam: Any) -> Leveled:
        """Return a copy at a level of a path: an infinite weight excludes at the level 0 as at any other."""
        weights = self.weights
        if weights is None or not np.isinf(weights).any() or np.any(lam):
            return self.replace(lam=lam)
        return self.replace(lam=1.0, weights=np.where(np.isinf(weights), np.inf, 0.0))

    def levels(self, n: int) -> Array:
        """Return lam_i * weights_i, one per coefficient, shape (n,); lam = None counts as 1."""
        index, labels = self.grouping(n)
        lam = 1.0 if self.lam is None else self.lam
        level = validation.broadcast(lam, n, index, labels.size, "lam")
        if self.weights is None:
            return level
        weights = np.asarray(self.weights, dtype=np.float64)
        # weights may be one per coefficient even where lam is one per group
        per_group = index is not None and weights.size == labels.size != n
        spread = validation.broadcast(weights, n, index if per_group else None, labels.size, "weights")
        clash = ((level == 0) & np.isinf(spread)) | (np.isinf(level) & (spread == 0))
        if clash.any():
            raise ValueError(
                f"lam * weights is 0 * inf at coefficient {int(np.argmax(clash))}; "
                "use 0 to leave it unpenalised or inf to exclude it, not both"
            )
        return level * spread

    def grouping(self, n: int) -> tuple[Array | None, Array]:
        """Return (index of each coefficient's label, distinct labels); (None, empty) without groups."""
        if self.groups is None:
            return None, np.empty(0)
        labels = validation.group_labels(self.groups, n)
        distinct, index = np.unique(labels, return_inverse=True)
        return index, distinct

    def value(self, x: Array) -> float:
        """Return R(x)."""
        x = np.asarray(x)
        return self.bind(x.size).value(x)

    def prox(self, v: Array, step: float) -> Array:
        """Return argmin_x 1/2 ||x - v||^2 + step R(x)."""
        v = np.asarray(v)
        return self.bind(v.size).prox(v, step)

    def conjugate(self, u: Array) -> float:
        """Return R*(u) = sup_x Re<x, u> - R(x); inf where it is unbounded."""
        u = np.asarray(u)
        return float(self.bind(u.size).conjugate(u))

    def __repr__(self) -> str:
        parts = [_short(self.lam)]
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name != "lam" and value is not field.default:
                parts.append(f"{field.name}={_short(value)}")
        return f"{type(self).__name__}({', '.join(parts)})"


def _short(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"<{value.size} values>"
    return f"{value:.6g}" if isinstance(value, float) else repr(value)

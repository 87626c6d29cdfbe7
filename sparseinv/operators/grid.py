"""Maps between arrays of shape dims and dimsd, many at once, and the checks that they share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.operators.base import Operator, native

Array = np.ndarray[Any, Any]


class GridOperator(Operator):
    """Represent a map between arrays of shape dims and dimsd that takes many of them at once.

    A subclass defines ``_forward`` and ``_backward`` for arrays with one leading batch axis, that is
    of shape (k, *dims) and (k, *dimsd); products with one vector and with a matrix both use them.
    The precision of the input is kept.

    Parameters
    ----------
    dims, dimsd : tuple of int
        Shapes of x and of A x.
    dtype : dtype
        As in `Operator`.
    """

    def __init__(self, dims: tuple[int, ...], dimsd: tuple[int, ...], dtype: Any = np.float64) -> None:
        super().__init__((math.prod(dimsd), math.prod(dims)), dtype, dims=dims, dimsd=dimsd)

    def _forward(self, x: Array) -> Array:
        raise TypeError(f"{type(self).__name__} must define _forward(x)")

    def _backward(self, y: Array) -> Array:
        raise TypeError(f"{type(self).__name__} must define _backward(y)")

    def _matvec(self, x: Array) -> Array:
        return self._forward(x.reshape(1, *self.dims)).reshape(-1)

    def _rmatvec(self, y: Array) -> Array:
        return self._backward(y.reshape(1, *self.dimsd)).reshape(-1)

    def matmat(self, X: Array) -> Array:
        """Return A X for X of shape (n, k), all columns in one pass."""
        return self._batch(self._forward, X, "X", self.dims)

    def rmatmat(self, Y: Array) -> Array:
        """Return A^H Y for Y of shape (m, k), all columns in one pass."""
        return self._batch(self._backward, Y, "Y", self.dimsd)

    def _batch(self, apply: Callable[[Array], Array], X: Array, name: str, dims: tuple[int, ...]) -> Array:
        X = matrix_argument(X, math.prod(dims), name, self)
        k = X.shape[1]
        out = apply(X.T.reshape(k, *dims))
        return out.reshape(k, math.prod(out.shape[1:])).T


def matrix_argument(X: Array, rows: int, name: str, operator: Operator) -> Array:
    """Return X as an array of shape (rows, k); refuse other shapes."""
    X = np.asarray(X)
    if X.ndim != 2 or X.shape[0] != rows:
        raise ValueError(f"{name} has shape {X.shape}, but {operator!r} needs ({rows}, k)")
    return native(X)


def whole_numbers(values: int | Sequence[int], name: str, least: int) -> tuple[int, ...]:
    """Return one whole number or several as a tuple of int, each >= least."""
    several = np.ndim(values) > 0
    entries = np.atleast_1d(np.asarray(values)).tolist()
    return tuple(validation.count(v, f"an entry of {name}" if several else name, least) for v in entries)


def grid_dims(dims: int | Sequence[int]) -> tuple[int, ...]:
    """Return dims as a tuple of whole numbers >= 1."""
    sizes = whole_numbers(dims, "dims", least=1)
    if not sizes:
        raise ValueError("dims is empty, but the shape of x needs at least one axis")
    return sizes


def grid_axes(axes: int | Sequence[int] | None, dims: tuple[int, ...], name: str = "axes") -> tuple[int, ...]:
    """Return axes counted from the end (negative), so that they survive a leading batch axis."""
    ndim = len(dims)
    if axes is None:
        return tuple(range(-ndim, 0))
    out = []
    for number in whole_numbers(axes, name, least=-ndim):
        if number >= ndim:
            raise ValueError(f"{name} contains {number}, but dims {dims} has axes 0 to {ndim - 1}")
        out.append(number - ndim if number >= 0 else number)
    if len(set(out)) != len(out) or not out:
        raise ValueError(f"{name} is {axes!r}, but each axis must appear once and at least one is needed")
    return tuple(out)


def column_index(index: Array, n: int) -> Array:
    """Return column numbers as integers in [0, n); negative ones count from the end."""
    index = np.atleast_1d(np.asarray(index))
    if index.size and not (-n <= int(index.min()) and int(index.max()) < n):
        raise IndexError(f"index reaches from {index.min()} to {index.max()}, but there are {n} columns")
    return np.where(index < 0, index + n, index).astype(np.intp)

"""Sampling: keep some entries of an array, drop the others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sparseinv.operators.grid import GridOperator, column_index, grid_axes, grid_dims

Array = np.ndarray[Any, Any]


class Restriction(GridOperator):
    """Keep the samples, or the whole traces, named by index along one axis: y = x[..., index, ...].

    Parameters
    ----------
    dims : int or tuple of int
        Shape of x.
    index : array_like of int, or boolean mask
        Positions along ``axis`` in the order in which they are kept, each at most once, from
        -dims[axis] to dims[axis] - 1; or a mask of shape (dims[axis],). With ``axis=None``: flat
        positions in the C-ordered grid, or a mask of shape dims.
    axis : int or None
        Axis along which to select; None selects single samples of the whole grid.

    Raises
    ------
    ValueError, TypeError
        index is empty, out of range, repeated, not one-dimensional, or neither whole numbers nor a
        mask.

    Notes
    -----
    The rows are distinct unit vectors: R R^H = I, norm 1 exactly. A product costs O(m); its adjoint
    O(n), and fills what was not kept with zeros.

    Examples
    --------
    >>> import numpy as np
    >>> R = Restriction((3, 4), [0, 2])          # samples 0 and 2 of three traces
    >>> R.matvec(np.arange(12)).reshape(R.dimsd)
    array([[ 0,  2],
           [ 4,  6],
           [ 8, 10]])
    >>> R = Restriction((3, 4), [True, False, True], axis=0)   # two live traces
    >>> R.shape
    (8, 12)
    """

    closed_columns = True
    entrywise = True

    def __init__(self, dims: int | Sequence[int], index: Any, axis: int | None = -1) -> None:
        grid = grid_dims(dims)
        if axis is None:
            outer, length, inner = 1, math.prod(grid), 1
        else:
            (axis,) = grid_axes(axis, grid, "axis")
            cut = axis + len(grid)
            outer, length, inner = math.prod(grid[:cut]), grid[cut], math.prod(grid[cut + 1 :])
        mask_shape = grid if axis is None else (length,)
        #: kept positions along the axis, shape (number kept,)
        self.index = _selection(index, length, mask_shape)
        self._length, self._inner, self._outer = length, inner, outer
        kept = self.index.size
        super().__init__(grid, (kept,) if axis is None else (*grid[:cut], kept, *grid[cut + 1 :]))

    def _forward(self, x: Array) -> Array:
        # an axis of one sample would cost a third of the time
        lines = (-1, self._length, self._inner) if self._inner > 1 else (-1, self._length)
        # positions were checked: "clip" spares a second look at them
        return x.reshape(lines).take(self.index, axis=1, mode="clip").reshape(-1, *self.dimsd)

    def _backward(self, y: Array) -> Array:
        lines = (self.index.size, self._inner) if self._inner > 1 else (self.index.size,)
        kept = y.reshape(-1, *lines)
        out = np.zeros((kept.shape[0], self._length, *lines[1:]), dtype=y.dtype)
        if kept.ndim == 2 and kept.shape[0] == 1:  # one axis less takes half the time
            out[0][self.index] = kept[0]
        else:
            out[:, self.index] = kept
        return out.reshape(-1, *self.dims)

    def columns(self, index: Array) -> Array:
        """Return unit vectors for kept samples, zeros for the others."""
        j = column_index(index, self.shape[1])
        place = np.full(self._length, -1)
        place[self.index] = np.arange(self.index.size)
        outside, within = np.divmod(j, self._length * self._inner)
        position, inside = np.divmod(within, self._inner)
        row = (outside * self.index.size + place[position]) * self._inner + inside
        out = np.zeros((self.shape[0], j.size), order="F")
        kept = place[position] >= 0
        out[row[kept], np.flatnonzero(kept)] = 1.0
        return out

    def norm_bound(self) -> float:
        """Return 1, the norm itself."""
        return 1.0

    def column_norms(self) -> Array:
        """Return 1 for kept samples, 0 for the others."""
        return self._rmatvec(np.ones(self.shape[0]))

    def row_norms(self) -> Array:
        """Return ones."""
        return np.ones(self.shape[0])


def _selection(index: Any, length: int, mask_shape: tuple[int, ...]) -> Array:
    chosen = np.asarray(index)
    if chosen.dtype == bool:
        if chosen.shape != mask_shape:
            raise ValueError(f"index is a mask of shape {chosen.shape}, but shape {mask_shape} is needed")
        chosen = np.flatnonzero(chosen)
    if chosen.size == 0:
        raise ValueError("index selects nothing; at least one sample must be kept")
    if chosen.dtype.kind not in "iu":
        raise TypeError(f"index has dtype {chosen.dtype}, but whole numbers or a boolean mask are needed")
    if chosen.ndim != 1:
        raise ValueError(f"index has shape {chosen.shape}, but one dimension is needed")
    if not (-length <= int(chosen.min()) and int(chosen.max()) < length):
        raise ValueError(
            f"index reaches from {chosen.min()} to {chosen.max()}, but positions from 0 to {length - 1} exist"
        )
    chosen = np.where(chosen < 0, chosen + length, chosen).astype(np.intp)
    values, repeats = np.unique(chosen, return_counts=True)
    if values.size != chosen.size:
        raise ValueError(
            f"index repeats position {values[np.argmax(repeats > 1)]}; each sample can be kept once "
            "(average repeated measurements, or stack two Restrictions with VStack)"
        )
    return chosen
